"""Evaluations from the client: waiting, runs of functions, reports; on a real server."""

from __future__ import annotations

import asyncio
import copy
import itertools
import json
import pickle
import sys
import threading
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from decimal import Decimal
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from humanloop import (
    ApiTypeError,
    ApiValueError,
    EvaluationFailedError,
    EvaluationTimeoutError,
    Humanloop,
    NotFoundError,
    SchemaValidationError,
    UnauthorizedError,
    UnprocessableEntityError,
)
from humanloop.evaluations import EvaluationReport, EvaluationRow
from humanloop.model import EvaluationResponse
from humanloop.server import EmbeddedServer, Ending, ProviderError, ProviderRequest, Settings

NUMBERS = itertools.count(1)
SAME = "def same(log, testcase):\n    return log['output'] == testcase['target']['output']\n"
LENGTH = "def length(log):\n    return len(log['output'])\n"
PATIENCE = 30  # seconds for what takes a moment


class Talker:
    """A provider that says its last message in capitals, as often as it may."""

    def __init__(self) -> None:
        self.turns = threading.Semaphore(0)

    def generate(self, request: ProviderRequest) -> Generator[str, None, Ending]:
        """Say it, in its turn; fail where the message is `fail`."""
        while not self.turns.acquire(timeout=0.02):
            yield ""  # so that a server that stops need not wait
        text = request.messages[-1]["content"]
        if text == "fail":
            raise ProviderError("no more")
        yield text.upper()
        return Ending("stop")


@dataclass
class Place:
    """A project with a testset, on a server of the module's."""

    client: Humanloop
    talker: Talker
    project_id: str = ""
    testset_id: str = ""
    testcase_ids: list[str] = field(default_factory=list)

    def say(self, *texts: str, **keys: Any) -> None:
        """Add a testcase for each question, of which the answer is the same in capitals."""
        body: list[Any] = [
            {
                "inputs": {"question": text},
                "messages": [{"role": "user", "content": text}],
                "target": {"output": text.upper()},
                **keys,
            }
            for text in texts
        ]
        made = self.client.testsets.create_testcase(testset_id=self.testset_id, body=body).body
        self.testcase_ids += [str(each["id"]) for each in made]

    def evaluator(self, code: str = SAME, returns: Any = "boolean", name: str = "") -> str:
        """Add an evaluator to the server."""
        pytest.importorskip("pydantic_monty", reason="the extra `evaluators` is not installed")
        made = self.client.evaluators.create(
            name=f"{name or 'evaluator'} {next(NUMBERS)}",
            description="",
            code=code,
            arguments_type="target_required" if ", testcase" in code else "target_free",
            return_type=returns,
        )
        return str(made.body["id"])

    def start(self, *evaluator_ids: str) -> str:
        """Let the server evaluate a config that chats."""
        registered = self.client.model_configs.register(
            project_id=self.project_id, name="shouting", model="m", provider="mock", endpoint="chat"
        )
        return str(
            self.client.evaluations.create(
                config_id=registered.body["config"]["id"],
                evaluator_ids=evaluator_ids or [self.evaluator()],
                testset_id=self.testset_id,
                project_id=self.project_id,
            ).body["id"]
        )

    def logs(self) -> list[Any]:
        """All datapoints of the project, oldest first."""
        found = self.client.projects.iterate_export(id=self.project_id)
        return list(reversed(list(found)))


@pytest.fixture(scope="module")
def talker() -> Talker:
    return Talker()


@pytest.fixture(scope="module")
def client(talker: Talker) -> Iterator[Humanloop]:
    settings = Settings(providers={"mock": talker})
    with (
        EmbeddedServer(settings=settings) as server,
        Humanloop(api_key=server.api_key, host=server.url) as made,
    ):
        yield made


@pytest.fixture
def place(client: Humanloop, talker: Talker) -> Iterator[Place]:
    made = Place(client, talker)
    made.project_id = client.projects.create(name=f"project {next(NUMBERS)}").body["id"]
    made.testset_id = client.testsets.create(
        project_id=made.project_id, name="questions", description=""
    ).body["id"]
    yield made
    talker.turns.release(100)  # let go of what the test has left
    for evaluation in client.evaluations.list_all_for_project(project_id=made.project_id).body:
        if evaluation["status"] in {"pending", "running"}:
            client.evaluations.wait(evaluation["id"], timeout=PATIENCE)
    while talker.turns.acquire(blocking=False):
        pass


class Kind:
    """Calls helpers in one of the two ways."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __call__(self, client: Humanloop, method: str, *args: Any, **kwargs: Any) -> Any:
        if self.name == "sync":
            return getattr(client.evaluations, method)(*args, **kwargs)

        async def call() -> Any:
            twin = {"wait": "await_"}.get(method, f"a{method}")
            try:
                return await getattr(client.evaluations, twin)(*args, **kwargs)
            finally:
                await client.aclose()

        return asyncio.run(call())


@pytest.fixture(params=["sync", "async"])
def kind(request: pytest.FixtureRequest) -> Kind:
    return Kind(request.param)


# -- wait -----------------------------------------------------------------------------------------


def test_wait_returns_the_finished_evaluation(place: Place, kind: Kind) -> None:
    place.say("a", "b")
    place.talker.turns.release(2)
    ended: EvaluationResponse = kind(place.client, "wait", place.start(), timeout=PATIENCE)
    assert ended["status"] == "completed"
    assert [each["aggregate_value"] for each in ended["evaluator_aggregates"]] == [1]
    assert isinstance(ended, EvaluationResponse)


def test_wait_returns_plain_bodies_to_who_wants_them(place: Place) -> None:
    place.say("a")
    place.talker.turns.release(1)
    started = place.start()
    plain = place.client.with_options(bodies="plain")
    ended: Any = plain.evaluations.wait(started, timeout=PATIENCE)
    assert type(ended) is dict
    assert type(ended["status"]) is str


def test_the_time_limit_says_the_status_and_how_far_it_is(place: Place, kind: Kind) -> None:
    place.say("a", "b", "c")
    started = place.start()
    place.talker.turns.release(1)
    with pytest.raises(EvaluationTimeoutError, match=r"0\.001 s") as soon:
        kind(place.client, "wait", started, timeout=0.001)
    assert isinstance(soon.value, TimeoutError)
    done = ""
    while "1 of 3 testcases are done" not in done:
        assert "0 of 3" in done or not done
        with pytest.raises(EvaluationTimeoutError) as caught:
            kind(place.client, "wait", started, timeout=0.2)
        done = str(caught.value)
    assert done == f"evaluation {started} is still running after 0.2 s: 1 of 3 testcases are done"
    assert caught.value.evaluation["status"] == "running"
    assert pickle.loads(pickle.dumps(caught.value)).evaluation["id"] == started


def test_a_failed_evaluation_is_an_error_with_the_reason(place: Place, kind: Kind) -> None:
    place.say("fail")
    place.talker.turns.release(1)
    started = place.start()
    with pytest.raises(EvaluationFailedError, match=f"{started} has failed: .*no more") as caught:
        kind(place.client, "wait", started, timeout=PATIENCE)
    assert caught.value.evaluation["status"] == "failed"


def test_wait_goes_on_when_the_server_has_restarted(tmp_path: Path, talker: Talker) -> None:
    pytest.importorskip("pydantic_monty", reason="the extra `evaluators` is not installed")
    url, key = f"sqlite:///{tmp_path / 'humanloop.db'}", "hl_key"
    settings = Settings(providers={"mock": talker})
    ended: list[EvaluationResponse] = []
    with EmbeddedServer(url, api_key=key, settings=settings) as first:
        port = int(first.url.split(":")[2].split("/")[0])
        looked, away = threading.Event(), threading.Event()
        hooks: Any = {"response": [lambda *_: looked.set()], "error": [lambda *_: away.set()]}
        client = Humanloop(api_key=key, host=first.url, event_hooks=hooks)
        place = Place(client, talker)
        place.project_id = client.projects.create(name="restart").body["id"]
        place.testset_id = client.testsets.create(
            project_id=place.project_id, name="t", description=""
        ).body["id"]
        place.say("a")
        started = place.start()
        looked.clear()
        waiter = threading.Thread(
            target=lambda: ended.append(client.evaluations.wait(started, timeout=PATIENCE))
        )
        waiter.start()
        assert looked.wait(PATIENCE)
    assert away.wait(PATIENCE)
    talker.turns.release(1)
    with client, EmbeddedServer(url, api_key=key, port=port, settings=settings):
        waiter.join()
    assert [each["status"] for each in ended] == ["completed"]


def test_wait_for_what_is_not_there(client: Humanloop, kind: Kind) -> None:
    with pytest.raises(NotFoundError):
        kind(client, "wait", "ev_" + "0" * 21)


@pytest.mark.parametrize("timeout", ["5", True, [1]])
def test_the_time_limit_is_a_number(client: Humanloop, kind: Kind, timeout: Any) -> None:
    with pytest.raises(ApiTypeError, match=r"timeout must be a number, not (str|bool|list)"):
        kind(client, "wait", "ev_", timeout=timeout)
    with pytest.raises(ApiTypeError, match=r"id must be text, not int"):
        kind(client, "wait", 5)


@pytest.mark.parametrize("timeout", [-1, float("nan"), float("inf")])
def test_the_time_limit_is_a_number_of_seconds(client: Humanloop, timeout: float) -> None:
    with pytest.raises(ApiValueError, match="timeout must be seconds"):
        client.evaluations.wait("ev_", timeout=timeout)


class FakeBar:
    """tqdm's bar, as far as it is used."""

    made: list[FakeBar] = []  # noqa: RUF012

    def __init__(self, total: int, desc: str | None, unit: str) -> None:
        self.log: list[Any] = [(total, desc, unit)]
        self.made.append(self)

    def update(self, count: int) -> None:
        self.log.append(count)

    def close(self) -> None:
        self.log.append("closed")


@pytest.fixture
def bars(monkeypatch: pytest.MonkeyPatch) -> list[FakeBar]:
    package, auto = ModuleType("tqdm"), ModuleType("tqdm.auto")
    auto.tqdm = FakeBar  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "tqdm", package)
    monkeypatch.setitem(sys.modules, "tqdm.auto", auto)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    FakeBar.made = []
    return FakeBar.made


def test_wait_shows_a_bar_on_a_terminal(place: Place, bars: list[FakeBar]) -> None:
    place.say("a", "b")
    place.talker.turns.release(2)
    started = place.start()
    place.client.evaluations.wait(started, timeout=PATIENCE)
    [bar] = bars
    assert bar.log[0] == (2, "evaluation", " testcases")
    assert sum(bar.log[1:-1]) == 2
    assert bar.log[-1] == "closed"
    place.client.evaluations.wait(started, progress=False)
    assert len(bars) == 1


def test_elsewhere_there_is_no_bar(
    place: Place, bars: list[FakeBar], monkeypatch: pytest.MonkeyPatch
) -> None:
    place.say("a")
    place.talker.turns.release(1)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: False)
    place.client.evaluations.wait(place.start(), timeout=PATIENCE)
    assert bars == []


# -- run ------------------------------------------------------------------------------------------


def shout(inputs: Mapping[str, Any]) -> str:
    """What is evaluated: right for all but one question."""
    question: str = inputs["question"]
    return question if question == "quiet" else question.upper()


async def ashout(inputs: Mapping[str, Any]) -> str:
    await asyncio.sleep(0)
    return shout(inputs)


def exact(log: Mapping[str, Any], testcase: Mapping[str, Any]) -> bool:
    return bool(log["output"] == testcase["target"]["output"])


def length(log: Mapping[str, Any]) -> int:
    return len(log["output"])


async def aexact(log: Mapping[str, Any], testcase: Mapping[str, Any]) -> bool:
    return exact(log, testcase)


@pytest.mark.parametrize("function", [shout, ashout, partial(shout)], ids=["def", "async", "part"])
def test_a_run_scores_and_logs_each_output(place: Place, kind: Kind, function: Any) -> None:
    place.say("a", "quiet", "cc")
    report: EvaluationReport = kind(
        place.client, "run", function, place.testset_id, [exact, length], workers=2
    )
    assert [row.testcase_id for row in report.rows] == place.testcase_ids
    assert [row.output for row in report.rows] == ["A", "quiet", "CC"]
    assert [row.scores["exact"] for row in report.rows] == [True, False, True]
    means = {name: (score.mean, score.count) for name, score in report.scores.items()}
    assert means == {"exact": (pytest.approx(2 / 3), 3), "length": (pytest.approx(8 / 3), 3)}
    assert report.scores["exact"].is_share
    assert not report.scores["length"].is_share
    kept = {log["id"]: log for log in place.logs()}
    for row in report.rows:
        assert row.log_id is not None
        log = kept[row.log_id]
        assert (log["output"], log["inputs"], log["source"]) == (
            row.output,
            row.inputs,
            "evaluation",
        )
        assert log["metadata"]["testcase_id"] == row.testcase_id
        assert log["config"]["type"] == "generic"
        feedback = {each["type"]: each["value"] for each in log["feedback"]}
        assert feedback == {"exact": int(row.scores["exact"]), "length": row.scores["length"]}


def test_coroutine_evaluators_judge_too(place: Place, kind: Kind) -> None:
    place.say("a")
    report = kind(place.client, "run", shout, place.testset_id, {"good": aexact})
    assert report.scores["good"].mean == 1


@pytest.mark.parametrize("function", [shout, ashout])
def test_evaluators_of_the_server_judge_too(place: Place, kind: Kind, function: Any) -> None:
    place.say("a", "quiet")
    ids = [place.evaluator(), place.evaluator(LENGTH, "number")]
    report = kind(place.client, "run", function, place.testset_id, [length], evaluator_ids=ids)
    names = {each["id"]: each["name"] for each in place.client.evaluators.list().body}
    assert list(report.scores) == ["length", *map(names.get, ids)]
    assert [score.mean for score in report.scores.values()] == [3, 0.5, 3]


def test_errors_of_an_evaluator_of_the_server_are_counted(place: Place) -> None:
    place.say("a")
    broken = place.evaluator("def broken(log):\n    return 1 / 0\n", "number")
    needs = place.evaluator()
    inputs = {"question": "b"}
    place.client.testsets.create_testcase(testset_id=place.testset_id, inputs=inputs)
    report = place.client.evaluations.run(shout, place.testset_id, evaluator_ids=[broken, needs])
    first, second = report.scores.values()
    assert (first.mean, first.errors) == (None, 2)
    assert (second.mean, second.errors) == (1, 1)
    assert "ZeroDivisionError" in report.rows[0].errors[first.evaluator]
    assert "needs a target" in report.rows[1].errors[second.evaluator]


def test_the_sandbox_needs_its_extras(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    place.say("a")
    evaluator = place.evaluator()
    monkeypatch.setitem(sys.modules, "pydantic_monty", None)
    monkeypatch.delitem(sys.modules, "humanloop.server.evaluation.monty", raising=False)
    with pytest.raises(ImportError, match=r"install the extra `server,evaluators`"):
        place.client.evaluations.run(shout, place.testset_id, evaluator_ids=[evaluator])
    assert place.logs() == []


def test_an_error_of_the_function_is_logged_and_counted(place: Place, kind: Kind) -> None:
    place.say("a", "bad")

    def function(inputs: Mapping[str, Any]) -> str:
        if inputs["question"] == "bad":
            raise LookupError("no answer with sk-1234567890abcdef")
        return "A"

    report = kind(place.client, "run", function, place.testset_id, [exact])
    [failed] = report.failed
    assert failed.error == "LookupError: no answer with ***"
    assert failed.errors == {"exact": f"Not evaluated, since there is no output: {failed.error}"}
    assert (report.scores["exact"].mean, report.scores["exact"].errors) == (1, 1)
    errors = [log.get("error") for log in place.logs()]
    assert sorted(errors, key=str) == [failed.error, None]


def test_errors_and_wrong_scores_of_evaluators_are_counted(place: Place, kind: Kind) -> None:
    place.say("a")
    evaluators: dict[str, Callable[..., Any]] = {
        "broken": lambda log: 1 / 0,
        "text": lambda log: "good",
        "nothing": lambda log: None,
        "nan": lambda log: float("nan"),
        "infinite": lambda log: Decimal("-Infinity"),
        "large": lambda log: 10**400,
        "large decimal": lambda log: Decimal("-1e400"),
        "decimal": lambda log: Decimal("0.25"),
        "third": lambda log: Decimal(1) / 3,
    }
    report = kind(place.client, "run", shout, place.testset_id, evaluators)
    [row] = report.rows
    assert row.scores == {"decimal": 0.25, "third": 1 / 3}
    assert row.errors["broken"] == "ZeroDivisionError: division by zero"
    assert row.errors["text"] == (
        "TypeError: the evaluator must return a boolean or a number, not str"
    )
    assert "not NoneType" in row.errors["nothing"]
    assert row.errors["nan"] == "ValueError: the evaluator must return a finite number, not nan"
    assert "finite number, not -Infinity" in row.errors["infinite"]
    too_large = "OverflowError: the evaluator returned a number that is too large"
    assert row.errors["large"] == row.errors["large decimal"] == too_large
    assert "large" in str(report)
    assert {name for name, score in report.scores.items() if score.errors} == set(row.errors)


@pytest.mark.parametrize(
    ("returned", "output"),
    [
        ("text", "text"),
        ({"answer": 1}, '{"answer":1}'),
        ({"output": "o", "answer": 1}, '{"output":"o","answer":1}'),
        ({"output": {"a": 1}}, '{"a":1}'),
        ([1, 2], "[1,2]"),
        (True, "true"),
        (3, "3"),
    ],
)
def test_what_a_function_may_return(place: Place, returned: Any, output: str) -> None:
    place.say("a")
    report = place.client.evaluations.run(lambda inputs: returned, place.testset_id)
    found = report.rows[0].output
    assert found == output or json.loads(str(found)) == json.loads(output)


def test_a_function_may_return_keys_of_a_log(place: Place) -> None:
    place.say("a")
    keys = {"output": "o", "duration": 2.5, "metadata": {"model": "mine"}}
    report = place.client.evaluations.run(lambda inputs: keys, place.testset_id)
    assert report.rows[0].duration == 2.5
    [log] = place.logs()
    assert (log["duration"], log["metadata"]["model"]) == (2.5, "mine")
    assert log["metadata"]["testcase_id"] == place.testcase_ids[0]


@pytest.mark.parametrize("returned", [None, {"output": None}, object()])
def test_no_output_is_an_error(place: Place, returned: Any) -> None:
    place.say("a")
    report = place.client.evaluations.run(lambda inputs: returned, place.testset_id)
    assert len(report.failed) == 1


def test_messages_are_given_to_who_takes_them(place: Place) -> None:
    place.say("a")
    given: list[Any] = []

    def named(inputs: Any, *, messages: Any) -> str:
        given.append(messages)
        return "x"

    def second(inputs: Any, history: Any) -> str:
        given.append(history)
        return "x"

    def optional(inputs: Any, other: Any = "default") -> str:
        given.append(other)
        return "x"

    class Callee:
        async def __call__(self, inputs: Any, messages: Any) -> str:
            given.append(messages)
            return "x"

    for function in (named, second, Callee(), optional):
        place.client.evaluations.run(function, place.testset_id)
    messages = [{"role": "user", "content": "a"}]
    assert given == [messages, messages, messages, "default"]
    assert type(given[0][0]) is dict


def test_functions_that_can_not_be_called_so_are_refused(place: Place) -> None:
    run: Any = place.client.evaluations.run
    with pytest.raises(ApiTypeError, match=r"must take \(inputs\) or \(inputs, messages\)"):
        run(lambda: "x", place.testset_id)
    with pytest.raises(ApiTypeError, match=r"must take \(log\) or \(log, testcase\)"):
        run(shout, place.testset_id, [lambda a, b, c: True])
    with pytest.raises(ApiTypeError, match="expected a function to evaluate, got str"):
        run("shout", place.testset_id)
    with pytest.raises(ApiValueError, match="workers must be 1 or more"):
        run(shout, place.testset_id, workers=0)
    with pytest.raises(ApiValueError, match="two evaluators are called '<lambda>'"):
        run(shout, place.testset_id, [lambda log: 1, lambda log: 2])
    with pytest.raises(ApiValueError, match="there is no evaluator 'evfn_x'"):
        run(shout, place.testset_id, evaluator_ids=["evfn_x"])
    with pytest.raises(NotFoundError):
        run(shout, "evts_" + "0" * 21)


WRONG: list[tuple[dict[str, Any], type[Exception], str]] = [
    ({"evaluators": exact}, ApiTypeError, "evaluators must be a list of functions.*not function"),
    ({"evaluators": "exact"}, ApiTypeError, "evaluators must be a list of functions.*not str"),
    ({"evaluators": None}, ApiTypeError, "evaluators must be .* not NoneType"),
    ({"evaluators": {1: exact}}, ApiTypeError, "name of an evaluator must be text, not int"),
    ({"evaluators": {"": exact}}, ApiValueError, "can't be called ''"),
    ({"evaluators": {" ": exact}}, ApiValueError, "can't be called ' '"),
    ({"evaluators": {"a\nb": exact}}, ApiValueError, r"can't be called 'a\\nb'"),
    ({"evaluators": {"a\u2028b": exact}}, ApiValueError, "name on one line"),
    ({"evaluator_ids": "evfn_x"}, ApiTypeError, "evaluator_ids must be a list of IDs, not str"),
    ({"evaluator_ids": [1]}, ApiTypeError, "each of evaluator_ids must be text, not int"),
    ({"config": "gpt-4"}, ApiTypeError, "config must be a mapping, not str"),
    ({"workers": "4"}, ApiTypeError, "workers must be an integer, not str"),
    ({"workers": 1.5}, ApiTypeError, "workers must be an integer, not float"),
    ({"workers": True}, ApiTypeError, "workers must be an integer, not bool"),
    ({"name": 5}, ApiTypeError, "name must be text, not int"),
    ({"baseline": 5}, ApiTypeError, "baseline must be an EvaluationReport.*not int"),
    ({"baseline": {"status": "x"}}, ApiTypeError, "baseline must be an EvaluationReport.*not dict"),
    ({"testset_id": None}, ApiTypeError, "testset_id must be text, not NoneType"),
]


@pytest.mark.parametrize(("arguments", "error", "message"), WRONG)
def test_wrong_arguments_are_told_before_anything_is_called(
    place: Place, kind: Kind, arguments: dict[str, Any], error: type[Exception], message: str
) -> None:
    place.say("a")
    called: list[Any] = []
    given = {"testset_id": place.testset_id, **arguments}
    with pytest.raises(error, match=message):
        kind(place.client, "run", called.append, **given)
    assert called == []


def test_an_empty_testset_is_refused(place: Place, kind: Kind) -> None:
    with pytest.raises(ApiValueError, match=f"the testset {place.testset_id} has no testcases"):
        kind(place.client, "run", shout, place.testset_id, [exact])


def test_an_evaluator_of_the_server_is_to_be_renamed(place: Place) -> None:
    place.say("a")
    id = place.evaluator()
    place.client.evaluators.update(id=id, name="rating")
    with pytest.raises(ApiValueError, match="another kind of feedback called 'rating'") as caught:
        place.client.evaluations.run(shout, place.testset_id, evaluator_ids=[id])
    place.client.evaluators.update(id=id, name=f"rating {id}")
    assert f"client.evaluators.update(id={id!r}, name='rating score')" in str(caught.value)


def test_a_name_that_the_project_uses_otherwise_is_refused(place: Place) -> None:
    place.say("a")
    with pytest.raises(UnprocessableEntityError, match="the class of 'rating' is 'select'"):
        place.client.evaluations.run(shout, place.testset_id, {"rating": exact})
    assert place.logs() == []


@pytest.mark.parametrize("function", ["def", "async"])
def test_as_many_at_a_time_as_there_are_workers(place: Place, kind: Kind, function: str) -> None:
    place.say(*(f"question {number}" for number in range(6)))
    together = threading.Barrier(3, timeout=PATIENCE)
    at_once, most = 0, 0

    def plain(inputs: Any) -> str:
        together.wait()  # breaks unless three are there
        return "x"

    async def coroutine(inputs: Any) -> str:
        nonlocal at_once, most
        at_once += 1
        most = max(most, at_once)
        while most < 3:
            await asyncio.sleep(0)
        await asyncio.sleep(0.01)
        at_once -= 1
        return "x"

    subject = plain if function == "def" else coroutine
    report = kind(place.client, "run", subject, place.testset_id, workers=3)
    assert len(report.rows) == 6
    assert not report.failed
    assert most in {0, 3}


def test_an_error_of_logging_ends_the_run(place: Place, kind: Kind) -> None:
    place.say(*(f"question {number}" for number in range(8)))
    called: list[Any] = []

    def function(inputs: Any) -> str:
        called.append(inputs)
        return "x"

    config = {"type": "model", "model": "m", "endpoint": "chat", "chat_template": 7}
    with pytest.raises(SchemaValidationError):
        kind(place.client, "run", function, place.testset_id, config=config, workers=1)
    assert len(called) == 1
    assert not [each for each in threading.enumerate() if "humanloop-evaluation-" in each.name]


@pytest.mark.parametrize(
    ("returned", "reason"),
    [
        ("a\0", "U+0000"),
        ("\ud800", "surrogate"),
        ({"output": "o", "duration": "long"}, "expected a number, got the string 'long'"),
        ({"output": "o", "metadata": {"a\0": 1}}, "U+0000"),
        ({"output": "o", "error": 5}, "expected a string"),
        ({"output": "o", "session_id": "sesh_x"}, "there is no session 'sesh_x'"),
        ({"output": "o", "reference_id": "taken"}, "reference id 'taken'"),
        (LookupError("bad \0\ud800"), r"LookupError: bad \x00\ud800"),
    ],
)
def test_an_output_that_is_refused_is_an_error_of_its_row(
    place: Place, kind: Kind, returned: Any, reason: str
) -> None:
    place.say("a", "bad", "c")

    def function(inputs: Mapping[str, Any]) -> Any:
        if inputs["question"] != "bad":
            return shout(inputs)
        if isinstance(returned, Exception):
            raise returned
        return returned

    if "taken" in reason:
        taken: Any = {"reference_id": "taken", "config": {"model": "m"}, "output": "o"}
        with suppress(UnprocessableEntityError):
            place.client.log(project=f"other {place.project_id}", **taken)
    report = kind(place.client, "run", function, place.testset_id, [exact], workers=1)
    assert [row.output for row in report.rows] == ["A", None, "C"]
    [failed] = report.failed
    assert reason in str(failed.error)
    assert list(failed.errors) == ["exact"]
    assert report.scores["exact"].mean == 1
    errors = {log["id"]: log["error"] for log in place.logs() if "error" in log}
    assert errors == {failed.log_id: failed.error}


def test_a_key_that_is_refused_ends_the_run(place: Place) -> None:
    place.say(*(f"question {number}" for number in range(8)))
    called: list[Any] = []
    configuration = copy.deepcopy(place.client.api_client.configuration)

    def function(inputs: Any) -> str:
        called.append(inputs)
        configuration.api_key["APIKeyHeader"] = "hl_revoked"
        return "x"

    with Humanloop(configuration=configuration) as own, pytest.raises(UnauthorizedError):
        own.evaluations.run(function, place.testset_id, workers=1)
    assert len(called) == 1
    assert place.logs() == []


def test_the_config_may_be_given(place: Place) -> None:
    place.say("a")
    config = {"type": "model", "model": "mine", "temperature": 0.5}
    place.client.evaluations.run(shout, place.testset_id, config=config)
    [log] = place.logs()
    assert log["config"]["model"] == "mine"


def test_different_functions_have_different_configs(place: Place) -> None:
    place.say("a")
    for function in (shout, ashout, shout):
        place.client.evaluations.run(function, place.testset_id)
    ids = [log["config"]["id"] for log in place.logs()]
    assert ids[0] == ids[2] != ids[1]


# -- reports --------------------------------------------------------------------------------------


def test_a_table_with_the_change_against_an_earlier_run(place: Place) -> None:
    place.say("a", "quiet", "cc")
    earlier = place.client.evaluations.run(
        lambda inputs: "A", place.testset_id, [exact, length], name="always A"
    )
    report = place.client.evaluations.run(
        shout, place.testset_id, [exact, length], baseline=earlier
    )
    score = report.scores["exact"]
    assert (score.baseline, score.change) == (pytest.approx(1 / 3), pytest.approx(1 / 3))
    assert (score.higher, score.lower) == (1, 0)
    head, compared, _, titles, *lines = str(report).splitlines()
    assert head.startswith("shout on questions: 3 testcases, ")
    assert compared == "compared with always A"
    words = "evaluator score values errors baseline change higher lower"
    assert titles.split() == words.split()
    assert lines[0].split() == ["exact", "66.7%", "3", "0", "33.3%", "+33.3%", "1", "0"]
    assert lines[1].split() == ["length", "2.667", "3", "0", "1", "+1.667", "2", "0"]


def test_an_evaluation_of_the_server_is_a_baseline(place: Place, kind: Kind) -> None:
    place.say("a", "quiet")
    place.talker.turns.release(2)
    evaluator = place.evaluator()
    started = place.start(evaluator)
    ended = place.client.evaluations.wait(started, timeout=PATIENCE)
    same = ended["evaluators"][0]["name"]
    report = kind(
        place.client, "run", shout, place.testset_id, evaluator_ids=[evaluator], baseline=started
    )
    assert (report.scores[same].mean, report.scores[same].change) == (0.5, -0.5)
    response = kind(place.client, "run", shout, place.testset_id, [exact], baseline=ended)
    assert response.baseline.evaluation_id == started
    summary = kind(place.client, "summarize", started, baseline=report)
    assert summary.evaluation_id == started
    assert [row.output for row in summary.rows] == ["A", "QUIET"]
    assert summary.scores[same].change == 0.5
    assert summary.scores[same].higher == 1


def test_many_testcases_are_read_page_by_page(place: Place) -> None:
    place.say(*(f"question {number}" for number in range(130)))
    report = place.client.evaluations.run(shout, place.testset_id, workers=8)
    assert [row.testcase_id for row in report.rows] == place.testcase_ids


def test_rows_become_a_dataframe(place: Place) -> None:
    pytest.importorskip("pandas")
    place.say("a", "quiet")
    report = place.client.evaluations.run(shout, place.testset_id, [exact])
    frame = report.to_dataframe()
    assert list(frame["scores.exact"]) == [True, False]
    assert list(frame["output"]) == ["A", "quiet"]
    assert report.to_records()[0]["inputs.question"] == "a"


def rows(*scores: Any) -> Sequence[EvaluationRow]:
    return [
        EvaluationRow(f"evtc_{number}", scores={"e": score}) for number, score in enumerate(scores)
    ]


def test_other_testcases_and_kinds_of_scores_are_told() -> None:
    before = EvaluationReport("f", "old", ["e"], rows(True, False))
    other = [replace(row, testcase_id=f"other {row.testcase_id}") for row in rows(True, True)]
    text = str(EvaluationReport("f", "new", ["e"], other, baseline=before))
    assert "other testcases: 0 of 2 are in the baseline, which has 2 on old" in text
    report = EvaluationReport("f", "old", ["e"], rows(0.75, 0.5), baseline=before)
    score = report.scores["e"]
    assert (score.baseline, score.change, score.higher, score.lower) == (0.5, None, 0, 0)
    assert "e: numbers here, booleans in the baseline" in str(report)
    assert str(report).splitlines()[-1].split() == ["e", "0.625", "2", "0", "50.0%", "-", "0", "0"]
    same = str(EvaluationReport("f", "old", ["e"], rows(True, True), baseline=before))
    assert same.splitlines()[:3] == ["f on old: 2 testcases", "compared with f", ""]


def test_reports_of_one_name_are_told_apart_by_their_configs() -> None:
    first, second, third = (
        EvaluationReport("f", "t", ["e"], rows(1), evaluation_id=f"ev_{run}", config_id=config)
        for run, config in ((1, "config_a"), (2, "config_b"), (3, "config_b"))
    )
    lines = str(replace(second, baseline=first)).splitlines()
    assert lines[:2] == ["f (config_b) on t: 1 testcase", "compared with f (config_a)"]
    lines = str(replace(third, baseline=second)).splitlines()
    assert lines[:2] == ["f (ev_3) on t: 1 testcase", "compared with f (ev_2)"]


def test_means_of_large_numbers_and_of_none() -> None:
    assert EvaluationReport("f", "t", ["e"], rows(1e308, 1e308)).scores["e"].mean == 1e308
    empty = EvaluationReport("f", "t", ["e"], [])
    assert empty.scores["e"].mean is None
    assert str(empty).splitlines()[-1].split() == ["e", "-", "0", "0"]
    assert str(EvaluationReport("f", "t", [], rows())) == "f on t: 0 testcases"


def test_a_run_shows_a_bar_on_a_terminal(place: Place, bars: list[FakeBar]) -> None:
    place.say("a", "b")
    place.client.evaluations.run(shout, place.testset_id)
    assert [bar.log for bar in bars] == [[(2, "shout", " testcases"), 1, 1, "closed"]]


def test_coroutines_may_use_the_client_that_runs_them(place: Place) -> None:
    place.say("a", "b")
    client = place.client

    async def function(inputs: Mapping[str, Any]) -> str:
        projects = await client.projects.aget(id=place.project_id)
        return str(projects.body["id"])

    for _ in range(2):
        report = client.evaluations.run(function, place.testset_id)
        assert {row.output for row in report.rows} == {place.project_id}


def test_a_run_inside_of_an_event_loop_that_waits_for_it(place: Place) -> None:
    place.say("a")

    async def notebook() -> EvaluationReport:
        return place.client.evaluations.run(ashout, place.testset_id)

    assert asyncio.run(notebook()).rows[0].output == "A"


@pytest.mark.parametrize("settings", [{"bodies": "plain"}, {"skip_deserialization": True}])
def test_settings_of_the_client_change_nothing(place: Place, settings: Any) -> None:
    place.say("a")
    place.talker.turns.release(1)
    client = place.client.with_options(**settings)
    started = place.start()
    client.evaluations.wait(started, timeout=PATIENCE)
    report = client.evaluations.run(shout, place.testset_id, [exact], baseline=started)
    assert report.scores["exact"].mean == 1


def test_a_coroutine_that_is_cancelled_leaves_nothing(place: Place) -> None:
    place.say("a", "b")
    client = place.client

    async def main() -> None:
        begun = asyncio.Event()

        async def function(inputs: Any) -> str:
            begun.set()
            await asyncio.Event().wait()
            return "x"

        running = asyncio.create_task(client.evaluations.arun(function, place.testset_id))
        await begun.wait()
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        assert asyncio.all_tasks() == {asyncio.current_task()}
        await client.aclose()

    asyncio.run(main())
    assert place.logs() == []
