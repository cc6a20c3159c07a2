"""Evaluations: what they generate, keep, sum up, and go on with after a restart."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import Any

import pytest

from humanloop.model import EvaluationResponse, EvaluationTestcaseSnapshotResponse
from humanloop.server import EmbeddedServer, Ending, ProviderError, ProviderRequest, Settings

from ..api import API_KEY, Api

pytest.importorskip("pydantic_monty", reason="the extra `evaluators` is not installed here")

LENGTH = "def length(log):\n    return len(log['output'])\n"
SAME = "def same(log, testcase):\n    return log['output'] == testcase['target']['output']\n"
BROKEN = "def broken(log):\n    return 1 / 0\n"
SECONDS = 120


class Talker:
    """A provider that says its last message, once it may, and notes what it was asked."""

    def __init__(self) -> None:
        self.requests: list[ProviderRequest] = []
        self.asked = threading.Semaphore(0)
        self.may_speak = threading.Event()
        self.may_speak.set()

    def generate(self, request: ProviderRequest) -> Generator[str, None, Ending]:
        """Say it; fail where the message is `fail`."""
        self.requests.append(request)
        self.asked.release()
        while not self.may_speak.wait(0.05):
            yield ""  # so that a server that stops needs not wait
        text = request.messages[-1]["content"] if request.messages else str(request.prompt)
        if text == "fail":
            raise ProviderError("no more")
        yield text
        return Ending("stop")


class Setup:
    """A project with a config, a testset and evaluators."""

    def __init__(self, api: Api, name: str, **config: Any) -> None:
        self.api, self.name = api, name
        config = {"provider": "mock", "model": "m", "endpoint": "chat", **config}
        made = api.ok("POST", "/model-configs", {"project": name, **config})
        self.project_id, self.config_id = made["project_id"], made["config"]["id"]
        self.path = f"/projects/{self.project_id}/evaluations"
        body = {"name": "t", "description": ""}
        testset = api.ok("POST", f"/projects/{self.project_id}/testsets", body)
        self.testset_id = testset["id"]
        self.evaluator_ids: list[str] = []

    def say(self, *texts: str, **keys: Any) -> list[Any]:
        """Add a testcase for each message."""
        body = [{"messages": [{"role": "user", "content": text}], **keys} for text in texts]
        return list(self.api.ok("POST", f"/testsets/{self.testset_id}/testcases", body))

    def evaluator(self, code: str = LENGTH, returns: str = "number") -> str:
        """Add an evaluator."""
        body = {
            "name": f"{self.name} {len(self.evaluator_ids)}",
            "description": "",
            "code": code,
            "arguments_type": "target_required" if ", testcase" in code else "target_free",
            "return_type": returns,
        }
        self.evaluator_ids.append(self.api.ok("POST", "/evaluators", body)["id"])
        return self.evaluator_ids[-1]

    def body(self, **keys: Any) -> dict[str, Any]:
        """What creates an evaluation."""
        return {
            "config_id": self.config_id,
            "testset_id": self.testset_id,
            "evaluator_ids": self.evaluator_ids,
            **keys,
        }

    def start(self, **keys: Any) -> str:
        """Create an evaluation."""
        return str(self.api.ok("POST", self.path, self.body(**keys))["id"])

    def ended(self, evaluation_id: str) -> Any:
        """The evaluation, once it has ended."""
        return wait_for(self.api, evaluation_id)

    def cases(self, evaluation_id: str, query: str = "?size=100") -> Any:
        """What came of the testcases of a page."""
        return self.api.ok("GET", f"/evaluations/{evaluation_id}/testcases{query}")["records"]


def wait_for(api: Api, evaluation_id: str) -> Any:
    """An evaluation, once it has ended."""
    until = time.monotonic() + SECONDS
    found: Any = None
    while time.monotonic() < until:
        found = api.ok("GET", f"/evaluations/{evaluation_id}?evaluator_aggregates=true")
        if found["status"] in {"completed", "failed"}:
            return found
        time.sleep(0.02)
    raise AssertionError(f"it has not ended: {found}")


@pytest.fixture
def setup(api: Api, name: str) -> Setup:
    """On the shared server, whose provider repeats what it is asked."""
    return Setup(api, name)


@pytest.fixture
def talker() -> Talker:
    """The provider of the server of the test's own."""
    return Talker()


Serve = Callable[..., EmbeddedServer]


@pytest.fixture
def serve(database_url: str, talker: Talker) -> Iterator[Serve]:
    """Starts servers on the test's own database, one after another."""
    running: list[EmbeddedServer] = []

    def start(url: str = database_url, provider: Talker = talker, **keys: Any) -> EmbeddedServer:
        settings = Settings(providers={"mock": provider}, **keys)
        running.append(EmbeddedServer(url, api_key=API_KEY, settings=settings))
        running[-1].start()
        return running[-1]

    yield start
    for server in running:
        server.stop()


@pytest.fixture
def own(serve: Serve) -> Setup:
    """On a server of the test's own, with that provider."""
    return Setup(Api(serve().url), "own")


class TestRun:
    """One that goes through."""

    def test_it_begins_pending(self, own: Setup, talker: Talker) -> None:
        talker.may_speak.clear()
        own.say("a", "b")
        own.evaluator()
        made = EvaluationResponse(own.api.ok("POST", own.path, own.body()))
        assert made["id"].startswith("ev_")
        assert made["status"] == "pending"
        assert made["config"]["id"] == own.config_id
        assert [each["id"] for each in made["evaluators"]] == own.evaluator_ids
        assert made["testset"] == made["testset_snapshot"]
        assert made["testset"]["testcase_count"] == 2
        assert "evaluator_aggregates" not in made
        assert talker.asked.acquire(timeout=SECONDS)
        assert own.api.ok("GET", f"/evaluations/{made['id']}")["status"] == "running"
        talker.may_speak.set()
        ended = own.ended(str(made["id"]))
        assert ended["status"] == "completed"
        assert ended["updated_at"] > made["updated_at"]

    def test_each_testcase_gets_one_log_and_a_result_of_each_evaluator(self, setup: Setup) -> None:
        made = setup.say("a", "bc", target={"output": "Mock answer to: a"}, inputs={"x": "y"})
        length, same = setup.evaluator(), setup.evaluator(SAME, "boolean")
        evaluation = setup.ended(setup.start())
        cases = setup.cases(evaluation["id"])
        assert [each["testcase"] for each in cases] == made
        values = [{r["evaluator_id"]: r["value"] for r in c["evaluation_results"]} for c in cases]
        assert values == [{length: 17, same: True}, {length: 18, same: False}]
        logs = setup.api.export(setup.project_id)["records"]
        assert sorted(each["id"] for each in logs) == sorted(c["datapoint"]["id"] for c in cases)
        for case in cases:
            EvaluationTestcaseSnapshotResponse(case)
            log = case["datapoint"]
            assert log in logs
            assert log["messages"] == case["testcase"]["messages"]
            assert (log["inputs"], log["source"]) == ({"x": "y"}, "evaluation")
            assert log["config"]["id"] == setup.config_id
            assert log["finish_reason"] == "stop"
            for result in case["evaluation_results"]:
                assert result["project_data_id"] == log["id"]
                assert result["evaluation_id"] == evaluation["id"]

    def test_an_evaluator_gets_the_log_and_the_testcase(self, setup: Setup) -> None:
        [case] = setup.say("a", target={"output": "b"}, inputs={"x": "y"})
        keys = (
            "id", "model_config", "inputs", "output", "provider_latency", "metadata",
            "created_at", "feedback",
        )  # fmt: skip
        setup.evaluator(
            f"def f(log, testcase):\n"
            f"    assert sorted(log) == {sorted(keys)}, sorted(log)\n"
            f"    assert log['model_config']['id'] == '{setup.config_id}'\n"
            f"    assert log['inputs'] == testcase['inputs'] == {{'x': 'y'}}\n"
            f"    assert testcase['id'] == '{case['id']}'\n"
            f"    assert testcase['messages'][0]['content'] == 'a'\n"
            f"    return log['feedback'] == [] and testcase['target'] == {{'output': 'b'}}\n",
            "boolean",
        )
        [found] = setup.cases(setup.ended(setup.start())["id"])
        assert found["evaluation_results"][0].get("value") is True, found

    def test_values_keep_their_digits(self, setup: Setup) -> None:
        setup.say("a")
        values = ["0.1", "2 / 3", "2**53", "1e300", "-0.5", "1e-7"]
        for each in values:
            setup.evaluator(f"def f(log):\n    return {each}\n")
        [case] = setup.cases(setup.ended(setup.start())["id"])
        found = [each["value"] for each in case["evaluation_results"]]
        assert found == [0.1, 2 / 3, 2**53, 1e300, -0.5, 1e-7]

    def test_a_completion_fills_its_template(self, api: Api, name: str) -> None:
        setup = Setup(api, name, endpoint="complete", prompt_template="On {{ topic }}:")
        setup.say("ignored", inputs={"topic": "tea"})
        setup.evaluator()
        [case] = setup.cases(setup.ended(setup.start())["id"])
        assert case["datapoint"]["output"] == "Mock completion of: On tea:"

    def test_a_chat_has_its_template_before_the_messages(self, api: Api, name: str) -> None:
        template = [{"role": "system", "content": "Talk of {{ topic }}."}]
        setup = Setup(api, name, chat_template=template)
        setup.say("Hi", inputs={"topic": "tea"})
        setup.evaluator()
        [case] = setup.cases(setup.ended(setup.start())["id"])
        sent = case["datapoint"]["provider_response"]["request"]["messages"]
        assert [each["content"] for each in sent] == ["Talk of tea.", "Hi"]

    def test_an_evaluator_that_is_named_twice_runs_once(self, setup: Setup) -> None:
        setup.say("a")
        setup.evaluator()
        evaluation = setup.ended(setup.start(evaluator_ids=setup.evaluator_ids * 2))
        [case] = setup.cases(evaluation["id"])
        assert len(case["evaluation_results"]) == len(evaluation["evaluators"]) == 1

    def test_several_run_side_by_side(self, own: Setup, talker: Talker) -> None:
        own.say(*"ab")
        own.evaluator()
        talker.may_speak.clear()
        ids = [own.start() for _ in range(3)]
        talker.may_speak.set()
        assert {own.ended(each)["status"] for each in ids} == {"completed"}
        assert own.api.export(own.project_id)["total"] == 6
        listed = own.api.ok("GET", own.path)
        assert [each["id"] for each in listed] == ids[::-1]
        assert "evaluator_aggregates" not in listed[0]


class TestErrors:
    """Errors are reported at their place."""

    def test_an_error_of_an_evaluator_is_its_result(self, setup: Setup) -> None:
        setup.say("a", "b")
        length, broken = setup.evaluator(), setup.evaluator(BROKEN)
        wrong = setup.evaluator("def f(log):\n    return 'x'\n")
        evaluation = setup.ended(setup.start())
        assert evaluation["status"] == "completed"
        for case in setup.cases(evaluation["id"]):
            results = {each["evaluator_id"]: each for each in case["evaluation_results"]}
            assert results[length]["value"] == 17
            assert "ZeroDivisionError" in results[broken]["error"]
            assert "must return a number, not str" in results[wrong]["error"]
            assert "value" not in results[broken]

    def test_an_endless_evaluator_ends(self, setup: Setup) -> None:
        setup.say("a")
        setup.evaluator("def f(log):\n    while True:\n        pass\n")
        [case] = setup.cases(setup.ended(setup.start())["id"])
        assert "error" in case["evaluation_results"][0]

    def test_an_error_of_the_provider_is_a_log(self, own: Setup) -> None:
        own.say("a", "fail")
        own.evaluator()
        evaluation = own.ended(own.start())
        assert evaluation["status"] == "completed"
        good, bad = own.cases(evaluation["id"])
        assert good["evaluation_results"][0]["value"] == 1
        assert bad["datapoint"]["error"] == "no more"
        assert "output" not in bad["datapoint"]
        assert "no more" in bad["evaluation_results"][0]["error"]
        assert own.api.export(own.project_id)["total"] == 2

    def test_without_any_output_it_has_failed(self, own: Setup) -> None:
        own.say("fail", "fail")
        own.evaluator()
        evaluation = own.ended(own.start())
        assert evaluation["status"] == "failed"
        assert [each["datapoint"]["error"] for each in own.cases(evaluation["id"])] == [
            "no more"
        ] * 2

    def test_a_missing_variable_is_an_error_of_its_testcase(self, api: Api, name: str) -> None:
        setup = Setup(api, name, endpoint="complete", prompt_template="On {{ topic }}:")
        setup.say("a", inputs={"topic": "tea"})
        setup.say("a", inputs={"tropic": "tea"})
        setup.evaluator()
        good, bad = setup.cases(setup.ended(setup.start())["id"])
        assert "error" not in good["datapoint"]
        assert "'topic'" in bad["datapoint"]["error"]

    def test_a_missing_target_is_told(self, setup: Setup) -> None:
        setup.say("a")
        setup.evaluator(SAME, "boolean")
        [case] = setup.cases(setup.ended(setup.start())["id"])
        assert "target" in case["evaluation_results"][0]["error"]

    @pytest.mark.parametrize(
        ("config", "message"),
        [
            ({"type": "tool", "name": "t"}, "not a model config"),
            ({"type": "generic"}, "not a model config"),
            ({"model": "m", "provider": "cohere"}, "no provider 'cohere'"),
            ({"model": "m", "provider": "mock", "endpoint": "edit"}, "'edit'"),
            ({"model": "m", "provider": "mock"}, "no template"),
        ],
    )
    def test_a_config_that_cannot_generate_is_refused(
        self, setup: Setup, config: Any, message: str
    ) -> None:
        log = setup.api.log(setup.name, config=config)
        records = setup.api.export(log["project_id"])["records"]
        body = setup.body(config_id=records[0]["config"]["id"])
        path = f"/testsets/{setup.testset_id}/testcases"
        setup.api.ok("POST", path, {"inputs": {"a": "b"}})
        setup.evaluator()
        answer = setup.api.call("POST", setup.path, {**body, "evaluator_ids": setup.evaluator_ids})
        assert answer.places == [["body", "config_id"]]
        assert message in answer.text

    def test_what_is_not_there_is_named(self, setup: Setup, name: str) -> None:
        assert setup.api.places("POST", setup.path, setup.body()) == [["body", "testset_id"]]
        setup.say("a")
        assert setup.api.places("POST", setup.path, setup.body()) == [["body", "evaluator_ids"]]
        first = setup.evaluator()
        other = Setup(setup.api, f"{name} other")
        for keys, place in (
            ({"config_id": "config_x"}, ["config_id"]),
            ({"config_id": other.config_id}, ["config_id"]),
            ({"testset_id": "evts_x"}, ["testset_id"]),
            ({"testset_id": other.testset_id}, ["testset_id"]),
            ({"evaluator_ids": [first, "evfn_x"]}, ["evaluator_ids", 1]),
            ({"evaluator_ids": [first] * 101}, ["evaluator_ids"]),
        ):
            body = setup.body(**keys)
            assert setup.api.places("POST", setup.path, body) == [["body", *place]]
        assert setup.api.ok("GET", setup.path) == []
        for path in ("/projects/pr_x/evaluations", "/evaluations/ev_x"):
            assert setup.api.call("GET", path).status == 404
        assert setup.api.call("GET", "/evaluations/ev_x/testcases").status == 404
        assert setup.api.call("POST", "/projects/pr_x/evaluations", setup.body()).status == 404


class TestSnapshot:
    """Later changes do not affect an evaluation."""

    def test_of_the_testcases(self, own: Setup, talker: Talker) -> None:
        made = own.say(*"abcd", target={"output": "x"})
        own.evaluator(SAME, "boolean")
        talker.may_speak.clear()
        evaluation_id = own.start()
        for each in made[:2]:
            own.api.ok("PATCH", f"/testcases/{each['id']}", {"messages": None, "target": None})
        assert own.api.call("DELETE", "/testcases", [made[2]["id"]]).status == 204
        own.say("e")
        before = own.api.ok("GET", f"/testsets/{own.testset_id}")
        talker.may_speak.set()
        evaluation = own.ended(evaluation_id)
        assert evaluation["testset"] == before
        assert evaluation["testset_snapshot"]["testcase_count"] == 4
        assert [each["testcase"] for each in own.cases(evaluation_id)] == made
        asked = [(each.messages or [{}])[-1].get("content") for each in talker.requests]
        assert sorted(map(str, asked)) == list("abcd")

    def test_of_a_testset_that_is_deleted(self, own: Setup, talker: Talker) -> None:
        made = own.say(*"ab")
        own.evaluator()
        talker.may_speak.clear()
        evaluation_id = own.start()
        deleted = own.api.ok("DELETE", f"/testsets/{own.testset_id}")
        talker.may_speak.set()
        evaluation = own.ended(evaluation_id)
        assert evaluation["status"] == "completed"
        assert evaluation["testset"] == evaluation["testset_snapshot"] == deleted
        assert [each["testcase"] for each in own.cases(evaluation_id)] == made
        assert own.api.call("GET", f"/testcases/{made[0]['id']}").status == 404

    def test_a_version_that_two_have_changes_in_neither(self, own: Setup) -> None:
        [made] = own.say("a")
        own.evaluator()
        first = own.ended(own.start())["id"]
        changed = own.api.ok("PATCH", f"/testcases/{made['id']}", {"target": {"n": 1}})
        second = own.ended(own.start())["id"]
        again = own.api.ok("PATCH", f"/testcases/{made['id']}", {"target": {"n": 2}})
        found = [own.cases(each)[0]["testcase"] for each in (first, second)]
        assert found == [made, changed]
        assert own.api.ok("GET", f"/testcases/{made['id']}") == again

    def test_of_the_evaluators(self, own: Setup, talker: Talker) -> None:
        own.say("abc")
        first, second = own.evaluator(), own.evaluator()
        talker.may_speak.clear()
        evaluation_id = own.start()
        own.api.ok("PATCH", f"/evaluators/{first}", {"code": "def f(log): return 0", "name": "n"})
        assert own.api.call("DELETE", f"/evaluators/{second}").status == 204
        talker.may_speak.set()
        evaluation = own.ended(evaluation_id)
        assert [each["code"] for each in evaluation["evaluators"]] == [LENGTH] * 2
        assert [each["aggregate_value"] for each in evaluation["evaluator_aggregates"]] == [3, 3]

    def test_a_page_shows_what_is_there_while_it_runs(self, own: Setup, talker: Talker) -> None:
        own.say(*(str(n) for n in range(25)))
        own.evaluator()
        talker.may_speak.clear()
        evaluation_id = own.start()
        assert talker.asked.acquire(timeout=SECONDS)
        page = own.api.ok("GET", f"/evaluations/{evaluation_id}/testcases")
        assert (page["page"], page["size"], page["total"]) == (1, 10, 25)
        assert all(case["evaluation_results"] == [] for case in page["records"])
        assert not any("datapoint" in case for case in page["records"])
        talker.may_speak.set()
        own.ended(evaluation_id)
        texts = [
            case["datapoint"]["output"]
            for number in (1, 2, 3, 4)
            for case in own.cases(evaluation_id, f"?page={number}")
        ]
        assert texts == [str(n) for n in range(25)]
        path = f"/evaluations/{evaluation_id}/testcases?page=0"
        assert own.api.places("GET", path) == [["query", "page"]]


class TestAggregates:
    """The results of each evaluator, taken together."""

    def test_means_leave_errors_out_and_count_them(self, own: Setup) -> None:
        own.say("a", "bb", "fail", "cccc", target={"output": "a"})
        own.evaluator()
        own.evaluator(SAME, "boolean")
        own.evaluator("def f(log):\n    return 0.1 if len(log['output']) < 3 else 1 / 0\n")
        own.evaluator(BROKEN)
        evaluation = own.ended(own.start())
        found = [
            (each["results_count"], each["errors_count"], each.get("aggregate_value"))
            for each in evaluation["evaluator_aggregates"]
        ]
        assert found == [(3, 1, 7 / 3), (3, 1, 1 / 3), (2, 2, 0.1), (0, 4, None)]
        ids = [each["evaluator_id"] for each in evaluation["evaluator_aggregates"]]
        assert ids == own.evaluator_ids
        path = f"{own.path}?evaluator_aggregates=true"
        assert own.api.ok("GET", path) == [evaluation]
        configs = own.api.ok("GET", f"/projects/{own.project_id}/configs")
        assert "evaluation_aggregates" not in configs[0]
        path = f"/projects/{own.project_id}/configs?evaluation_aggregates=true"
        [config] = own.api.ok("GET", path)
        assert config["evaluation_aggregates"] == evaluation["evaluator_aggregates"]
        active = own.api.ok("GET", f"/projects/{own.project_id}/active-config")
        assert active["evaluation_aggregates"] == evaluation["evaluator_aggregates"]

    def test_a_config_has_those_of_its_newest_evaluation(self, own: Setup) -> None:
        own.say("a")
        own.evaluator()
        own.ended(own.start())
        own.say("bbb")
        own.ended(own.start())
        path = f"/projects/{own.project_id}/configs?evaluation_aggregates=true"
        [aggregate] = own.api.ok("GET", path)[0]["evaluation_aggregates"]
        assert aggregate["aggregate_value"] == 2
        assert aggregate["model_config_id"] == own.config_id

    def test_large_values_have_a_mean(self, setup: Setup) -> None:
        setup.say(*"ab")
        setup.evaluator("def f(log):\n    return 1.5e308\n")
        [aggregate] = setup.ended(setup.start())["evaluator_aggregates"]
        assert aggregate["aggregate_value"] == 1.5e308

    def test_they_grow_while_it_runs(self, own: Setup, talker: Talker) -> None:
        own.say("a")
        own.evaluator()
        talker.may_speak.clear()
        evaluation_id = own.start()
        path = f"/evaluations/{evaluation_id}?evaluator_aggregates=true"
        [aggregate] = own.api.ok("GET", path)["evaluator_aggregates"]
        assert (aggregate["results_count"], aggregate["errors_count"]) == (0, 0)
        assert "aggregate_value" not in aggregate
        talker.may_speak.set()
        own.ended(evaluation_id)


class TestKeys:
    """Provider keys that come with an evaluation."""

    KEYS = {"mock": "sk-secret-of-the-caller", "openai": "sk-another"}  # noqa: RUF012

    def test_the_provider_gets_them_and_nothing_keeps_them(
        self, own: Setup, talker: Talker, tmp_path: Path
    ) -> None:
        own.say("a")
        own.evaluator()
        assert own.ended(own.start(provider_api_keys=self.KEYS))["status"] == "completed"
        assert talker.requests[0].api_keys == self.KEYS
        files = b"".join(path.read_bytes() for path in tmp_path.iterdir())
        assert b"secret-of-the-caller" not in files

    def test_after_a_restart_what_needs_them_fails(self, serve: Serve, talker: Talker) -> None:
        first = serve()
        setup = Setup(Api(first.url), "p")
        setup.say("a", "b")
        setup.evaluator()
        talker.may_speak.clear()
        evaluation_id = setup.start(provider_api_keys=self.KEYS)
        assert talker.asked.acquire(timeout=SECONDS)
        first.stop()
        talker.may_speak.set()
        asked = len(talker.requests)
        setup.api = Api(serve().url)
        assert setup.ended(evaluation_id)["status"] == "failed"
        for case in setup.cases(evaluation_id):
            assert "keys" in case["datapoint"]["error"]
            assert "keys" in case["evaluation_results"][0]["error"]
        assert len(talker.requests) == asked

    def test_others_are_not_needed(self, serve: Serve, talker: Talker) -> None:
        first = serve()
        setup = Setup(Api(first.url), "p")
        setup.say("a")
        setup.evaluator()
        talker.may_speak.clear()
        evaluation_id = setup.start(provider_api_keys={"openai": "sk-of-another-provider"})
        assert talker.asked.acquire(timeout=SECONDS)
        first.stop()
        talker.may_speak.set()
        setup.api = Api(serve().url)
        assert setup.ended(evaluation_id)["status"] == "completed"


def test_a_restart_goes_on_where_it_was(serve: Serve, talker: Talker) -> None:
    first = serve(evaluation_workers=2)
    setup = Setup(Api(first.url), "p")
    setup.say(*(str(n) for n in range(20)))
    setup.evaluator()
    setup.evaluator(BROKEN)
    evaluation_id = setup.start()
    for _ in range(5):
        assert talker.asked.acquire(timeout=SECONDS)
    talker.may_speak.clear()
    first.stop()
    talker.may_speak.set()
    setup.api = Api(serve().url)
    evaluation = setup.ended(evaluation_id)
    assert evaluation["status"] == "completed"
    assert setup.api.export(setup.project_id)["total"] == 20
    assert [each["errors_count"] for each in evaluation["evaluator_aggregates"]] == [0, 20]
    assert len(talker.requests) <= 20 + 2 * 2  # unfinished requests are repeated


def test_requests_do_not_wait_for_evaluations(own: Setup) -> None:
    runs, answered = 5, 0
    own.say(*(str(n) for n in range(runs)))
    own.evaluator("def f(log):\n    while True:\n        pass\n")
    evaluation_id = own.start()
    while own.api.ok("GET", f"/evaluations/{evaluation_id}")["status"] in {"pending", "running"}:
        own.api.log("other")
        answered += 1
    assert answered > runs  # so none waited for a run


def test_without_workers_others_do_the_work(serve: Serve) -> None:
    first = serve(evaluation_workers=0)
    setup = Setup(Api(first.url), "p")
    setup.say("a")
    setup.evaluator()
    body = setup.body(provider_api_keys={"mock": "sk-secret"})
    place = ["body", "provider_api_keys", "mock"]
    assert setup.api.places("POST", setup.path, body) == [place]
    evaluation_id = setup.start()
    assert setup.api.ok("GET", f"/evaluations/{evaluation_id}")["status"] == "pending"
    first.stop()
    setup.api = Api(serve().url)
    assert setup.ended(evaluation_id)["status"] == "completed"


@pytest.mark.postgresql
def test_servers_on_one_postgresql_share_the_work(postgres_url: str, serve: Serve) -> None:
    talkers = [Talker(), Talker()]
    apis = [Api(serve(postgres_url, each, evaluation_workers=2).url) for each in talkers]
    setup = Setup(apis[0], "p")
    setup.say(*(str(n) for n in range(60)))
    setup.evaluator()
    for each in talkers:
        each.may_speak.clear()
    evaluation_id = setup.start()
    for each in talkers:
        assert each.asked.acquire(timeout=SECONDS)
    for each in talkers:
        each.may_speak.set()
    evaluation = wait_for(apis[1], evaluation_id)
    assert evaluation["status"] == "completed"
    assert setup.api.export(setup.project_id)["total"] == 60
    assert evaluation["evaluator_aggregates"][0]["results_count"] == 60


@pytest.mark.postgresql
def test_on_postgresql_the_work_of_a_dead_server_is_taken_over(
    postgres_url: str, serve: Serve, talker: Talker
) -> None:
    first = serve(postgres_url, takeover_seconds=1)
    setup = Setup(Api(first.url), "p")
    setup.say(*"abc")
    setup.evaluator()
    talker.may_speak.clear()
    evaluation_id = setup.start()
    assert talker.asked.acquire(timeout=SECONDS)
    second = Api(serve(postgres_url, takeover_seconds=1).url)
    assert second.ok("GET", f"/evaluations/{evaluation_id}")["status"] == "running"
    first.stop()
    talker.may_speak.set()
    assert wait_for(second, evaluation_id)["status"] == "completed"
