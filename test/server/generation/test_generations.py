"""Chats and completions: what the model is asked, what is answered, streamed and kept."""

from __future__ import annotations

import asyncio
import itertools
import json
import logging
import random
import sqlite3
import threading
from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import urllib3
from sqlalchemy import Engine, event

from humanloop.model import ChatResponse, CompletionResponse, LogResponse
from humanloop.server import EmbeddedServer, Settings, create_app
from humanloop.server.generation.mock import Mock
from humanloop.server.generation.providers import (
    Ending,
    ProviderError,
    ProviderRequest,
    redact_data,
)

from ..api import API_KEY, Answer, Api

HI: dict[str, Any] = {"messages": [{"role": "user", "content": "Hi"}]}
SECRET = "sk-provider-secret-0123456789"
SYSTEM = [{"role": "system", "content": "Talk of {{ topic }}."}]


def config(**keys: Any) -> dict[str, Any]:
    """A config of the provider mock."""
    return {"provider": "mock", "model": "m", **keys}


def chat(name: str, *, other: Any = None, **keys: Any) -> dict[str, Any]:
    """A body for POST /chat."""
    model_config = config() if other is None else config(other=other)
    return {"project": name, "model_config": model_config, **HI, **keys}


def complete(name: str, template: str, *, inputs: Any = None, **keys: Any) -> dict[str, Any]:
    """A body for POST /completion."""
    model_config = config(prompt_template=template, **keys)
    return {"project": name, "model_config": model_config, "inputs": inputs or {}}


def output(body: Any) -> str:
    """The only output of a response."""
    [data] = body["data"]
    return str(data["output"])


def sent(body: Any, index: int = 0) -> Any:
    """What the provider mock was asked, as it says itself."""
    return body["provider_responses"][index]["request"]


def records(api: Api, name: str) -> Any:
    """A project's logs, oldest first; none when there is no such project."""
    found = api.ok("GET", f"/projects?size=100&filter={name.replace(' ', '%20')}")["records"]
    ids = [each["id"] for each in found if each["name"] == name]
    return [each for each_id in ids for each in api.export(each_id)["records"][::-1]]


def events(answer: Answer) -> list[Any]:
    """The data of a stream's events, each of them one line and an empty line."""
    assert answer.status == 200, answer.text
    assert answer.headers["Content-Type"] == "text/event-stream"
    *blocks, rest = answer.text.split("\n\n")
    assert rest == ""
    assert all(block.startswith("data: ") and "\n" not in block for block in blocks), answer.text
    return [json.loads(block.removeprefix("data: ")) for block in blocks]


@pytest.fixture
def deployed(api: Api, name: str) -> Any:
    """A project whose first config, now active, talks of a topic and completes it."""
    keys = config(endpoint="chat", chat_template=SYSTEM, prompt_template="On {{ topic }}:")
    return api.ok("POST", "/model-configs", {"project": name, **keys})


class Experiment:
    """An experiment on two configs of a project, which is active."""

    def __init__(self, api: Api, name: str) -> None:
        registered = [
            api.ok("POST", "/model-configs", {"project": name, **config(**keys)})
            for keys in (
                {"prompt_template": "p", "temperature": 0},
                {"prompt_template": "p", "temperature": 0.5},
            )
        ]
        self.project_id = registered[0]["project_id"]
        self.configs = [each["config"]["id"] for each in registered]
        body = {
            "name": "e",
            "positive_labels": [{"type": "rating", "value": "good"}],
            "config_ids": self.configs,
            "set_active": True,
        }
        self.path = f"/projects/{self.project_id}/experiments"
        self.id = api.ok("POST", self.path, body)["id"]


Step = str | Ending | Exception


class Scripted:
    """A provider that waits for the test to say each next step."""

    def __init__(self) -> None:
        self.requests: list[ProviderRequest] = []
        self.started = threading.Semaphore(0)
        self._steps: list[Step] = []
        self._ready = threading.Semaphore(0)
        self._lock = threading.Lock()

    def step(self, step: Step) -> Step:
        """Let it go one step further."""
        self.steps_ready(step)
        return step

    def steps_ready(self, *steps: Step) -> None:
        """Let it go some steps further."""
        self._steps += steps
        for _ in steps:
            self._ready.release()

    def generate(self, request: ProviderRequest) -> Generator[str, None, Ending]:
        """Do the steps."""
        self.requests.append(request)
        self.started.release()
        with self._lock:  # the steps of one call are not another's
            while True:
                assert self._ready.acquire(timeout=20), "the test gave no step"
                step = self._steps.pop(0)
                if isinstance(step, Exception):
                    raise step
                if isinstance(step, Ending):
                    return step
                yield step


class Endless:
    """A provider that goes on until it is closed."""

    def __init__(self) -> None:
        self.calls = 0
        self.closed = threading.Event()

    def generate(self, request: ProviderRequest) -> Generator[str, None, Ending]:
        """Yield for ever."""
        self.calls += 1
        try:
            while True:
                yield " piece"
        finally:
            self.closed.set()


class Own:
    """A server of the test's own, with a scripted provider in place of the mock."""

    def __init__(self, server: EmbeddedServer, provider: Scripted) -> None:
        self.server, self.provider, self.api = server, provider, Api(server.url)

    def open(self, path: str = "/chat", **keys: Any) -> Iterator[Any]:
        """The events of a stream, as they come; the request is sent right away."""
        body = chat("p", stream=True, **keys)
        if body["model_config"] is None:
            del body["model_config"]
        self._answers: list[urllib3.BaseHTTPResponse] = []
        thread = threading.Thread(
            target=lambda: self._answers.append(post(self.server, body, path))
        )
        thread.start()
        return self._events(thread)

    def _events(self, thread: threading.Thread) -> Iterator[Any]:
        thread.join(20)  # the head of the answer comes with the first event
        [answer] = self._answers
        for line in answer:
            if line.strip():
                yield json.loads(line.removeprefix(b"data: "))


def post(server: EmbeddedServer, body: Any, path: str = "/chat") -> urllib3.BaseHTTPResponse:
    """Send a body; the answer's own body is still to be read."""
    headers = {"X-API-KEY": API_KEY, "Content-Type": "application/json"}
    return urllib3.PoolManager(retries=False, timeout=20).request(
        "POST",
        server.url + path,
        body=json.dumps(body).encode(),
        headers=headers,
        preload_content=False,
    )


@pytest.fixture
def own(database_url: str) -> Iterator[Own]:
    """A server that the test scripts."""
    provider = Scripted()
    settings = Settings(providers={"mock": provider}, randomness=random.Random(1))
    with EmbeddedServer(database_url, api_key=API_KEY, settings=settings) as server:
        yield Own(server, provider)


class TestOperations:
    """Which config each of the eight operations takes."""

    @pytest.mark.parametrize("project_key", ["project", "project_id"])
    def test_chat(self, api: Api, name: str, project: Any, project_key: str) -> None:
        body = chat(name, user="u", metadata={"a": 1}, source="tests", inputs={"x": 1})
        del body["project"]
        body[project_key] = {"project": name, "project_id": project["id"]}[project_key]
        answer = ChatResponse(api.ok("POST", "/chat", body)).to_primitive()
        [record] = records(api, name)
        LogResponse(record)
        assert answer == {
            "data": [
                {
                    "id": record["id"],
                    "index": 0,
                    "output": "Mock answer to: Hi",
                    "raw_output": "Mock answer to: Hi",
                    "model_config_id": record["config"]["id"],
                    "finish_reason": "stop",
                    "inputs": {"x": 1},
                    **HI,
                }
            ],
            "provider_responses": [record["provider_response"]],
            "project_id": project["id"],
            "num_samples": 1,
            "usage": {"prompt_tokens": 1, "generation_tokens": 4, "total_tokens": 5},
            "user": "u",
            "metadata": {"a": 1},
        }
        assert record.pop("provider_latency") >= 0
        kept = {"inputs", "messages", "user", "metadata", "source", "finish_reason"}
        kept |= {"output", "raw_output", "provider_response"}
        assert {key: record[key] for key in kept} == {
            "inputs": {"x": 1},
            "output": "Mock answer to: Hi",
            "raw_output": "Mock answer to: Hi",
            "finish_reason": "stop",
            "user": "u",
            "metadata": {"a": 1},
            "source": "tests",
            "provider_response": answer["provider_responses"][0],
            **HI,
        }
        assert not record.keys() & {"error", "trial_id", "session_id", "parent_id"}

    def test_completion(self, api: Api, name: str) -> None:
        body = complete(name, "Once {{when}}", inputs={"when": "upon "}) | {"suffix": "!"}
        answer = CompletionResponse(api.ok("POST", "/completion", body)).to_primitive()
        [record] = records(api, name)
        [data] = answer["data"]
        assert data.pop("model_config_id") == record["config"]["id"]
        assert data == {
            "id": record["id"],
            "index": 0,
            "output": "Mock completion of: Once upon",
            "raw_output": "Mock completion of: Once upon ",
            "finish_reason": "stop",
            "inputs": {"when": "upon "},
        }
        assert answer["suffix"] == sent(answer)["suffix"] == "!"
        assert sent(answer)["prompt"] == "Once upon "
        assert record["raw_output"] == "Mock completion of: Once upon "
        assert record["output"] == "Mock completion of: Once upon"

    def test_the_config_is_registered_and_becomes_active(self, api: Api, name: str) -> None:
        one, two = (api.ok("POST", "/chat", chat(name)) for _ in range(2))
        path = f"/projects/{one['project_id']}"
        [only] = api.ok("GET", f"{path}/configs")
        assert only["config"]["endpoint"] == "chat"
        assert only["num_datapoints"] == 2
        assert {only["config"]["id"]} == {each["data"][0]["model_config_id"] for each in (one, two)}
        assert api.ok("GET", f"{path}/active-config")["config"] == only["config"]

    @pytest.mark.parametrize(
        ("path", "messages", "said"),
        [
            ("chat", HI, "Mock answer to: Hi"),
            ("completion", {}, "Mock answer to: On tea:"),
        ],
    )
    def test_deployed_and_by_id(
        self, api: Api, name: str, deployed: Any, path: str, messages: Any, said: str
    ) -> None:
        config_id = deployed["config"]["id"]
        body = {"project": name, "inputs": {"topic": "tea"}, **messages}
        by_id = api.ok("POST", f"/{path}-model-config", {**body, "model_config_id": config_id})
        active = api.ok("POST", f"/{path}-deployed", body)
        named = api.ok("POST", f"/{path}-deployed", {**body, "environment": "production"})
        for answer in (by_id, active, named):
            assert output(answer) == said
            assert answer["data"][0]["model_config_id"] == config_id
        assert len(records(api, name)) == 3

    @pytest.mark.parametrize(("path", "messages"), [("chat", HI), ("completion", {})])
    @pytest.mark.parametrize("way", ["experiment", "deployed"])
    def test_an_experiment_draws_for_each_sample(
        self, api: Api, name: str, path: str, messages: Any, way: str
    ) -> None:
        experiment = Experiment(api, name)
        body = {"project": name, "num_samples": 12, **messages}
        if way == "experiment":
            body["experiment_id"] = experiment.id
        answer = api.ok("POST", f"/{path}-{way}", body)
        logged = records(api, name)
        assert [each["id"] for each in answer["data"]] == [each["id"] for each in logged]
        assert len({each["trial_id"] for each in logged}) == 12
        drawn = [each["model_config_id"] for each in answer["data"]]
        assert drawn == [each["config"]["id"] for each in logged]
        assert set(drawn) == set(experiment.configs)
        [now] = api.ok("GET", experiment.path)
        assert now["status"] == "In progress"

    def test_only_active_configs_are_drawn(self, api: Api, name: str) -> None:
        experiment = Experiment(api, name)
        gone, left = experiment.configs
        path = f"/experiments/{experiment.id}"
        api.ok("PATCH", path, {"config_ids_to_deregister": [gone]})
        body = {"project": name, "experiment_id": experiment.id, "num_samples": 10, **HI}
        answer = api.ok("POST", "/chat-experiment", body)
        assert {each["model_config_id"] for each in answer["data"]} == {left}
        api.ok("PATCH", path, {"config_ids_to_deregister": [left]})
        assert api.call("POST", "/chat-experiment", body).status == 404
        assert len(records(api, name)) == 10

    @pytest.mark.parametrize("path", ["/chat-deployed", "/completion-deployed"])
    def test_nothing_deployed_is_404(self, api: Api, name: str, path: str) -> None:
        body = {"project": name, **(HI if "chat" in path else {})}
        answer = api.call("POST", path, body)
        assert answer.status == 404
        assert "no active config in the environment 'production'" in answer.body["detail"]
        assert api.ok("GET", f"/projects?filter={name.replace(' ', '%20')}")["total"] == 0

    def test_tools_and_parameters_go_to_the_provider(self, api: Api, name: str) -> None:
        tool = {"name": "t", "description": "d", "parameters": {"type": "object"}}
        keys = config(tools=[tool], max_tokens=9, stop=["x"], temperature=0.5, other={"seed": 7})
        asked = sent(api.ok("POST", "/chat", {"project": name, "model_config": keys, **HI}))
        assert asked["tools"] == [tool]
        wanted = {"max_tokens": 9, "stop": ["x"], "temperature": 0.5, "top_p": 1, "seed": 7}
        assert {key: asked[key] for key in wanted} == wanted
        assert "max_tokens" not in sent(api.ok("POST", "/chat", chat(name)))


class TestRefusals:
    """What is refused before anything is stored, and where."""

    @pytest.mark.parametrize(
        ("path", "keys", "place"),
        [
            ("/chat", {"num_samples": 0}, "num_samples"),
            ("/chat", {"num_samples": -1}, "num_samples"),
            ("/chat", {"num_samples": 101}, "num_samples"),
            ("/chat", {"project": ""}, "project"),
            ("/chat", {"project_id": "pr_x"}, "project_id"),
            ("/chat", {"session_id": "sesh_x"}, "session_id"),
            (
                "/chat",
                {"session_id": "x", "session_reference_id": "x"},
                "session_reference_id",
            ),
            ("/chat", {"parent_id": "data_x"}, "parent_id"),
            ("/chat", {"parent_reference_id": "x"}, "parent_reference_id"),
            ("/chat", {"model_config": {"model": "gpt-4"}}, "model_config"),
            ("/chat", {"model_config": config(provider="anthropic")}, "model_config"),
            (
                "/completion",
                {"model_config": {"model": "x", "prompt_template": ""}},
                "model_config",
            ),
            ("/chat-experiment", {"experiment_id": "exp_x"}, "experiment_id"),
            ("/completion-experiment", {"experiment_id": "exp_x"}, "experiment_id"),
            ("/chat-model-config", {"model_config_id": "config_x"}, "model_config_id"),
            ("/completion-model-config", {"model_config_id": "config_x"}, "model_config_id"),
            ("/chat-deployed", {"environment": "mars"}, "environment"),
        ],
    )
    @pytest.mark.parametrize("stream", [False, True])
    def test_it_is_refused_at_its_place(
        self, api: Api, name: str, path: str, keys: dict[str, Any], place: str, stream: bool
    ) -> None:
        base = chat(name) if path == "/chat" else {"project": name}
        if path.startswith("/chat-"):
            base |= HI
        body = {**base, **keys, "stream": stream}
        assert api.places("POST", path, body) == [["body", place]]
        assert api.ok("GET", f"/projects?filter={name.replace(' ', '%20')}")["total"] == 0

    def test_a_huge_number_of_samples_is_refused_at_once(self, api: Api, name: str) -> None:
        data = json.dumps(chat(name, num_samples=7)).replace("7", "1e999999999").encode()
        answer = api.send("POST", "/chat", data, content_type="application/json")
        assert answer.places == [["body", "num_samples"]]

    def test_a_project_is_needed(self, api: Api) -> None:
        body = {"model_config": config(), **HI}
        assert api.places("POST", "/chat", body) == [["body", "project"]]

    def test_a_provider_without_adapter_says_so(self, api: Api, name: str) -> None:
        answer = api.call("POST", "/chat", {**chat(name), "model_config": {"model": "gpt-4"}})
        [problem] = answer.body["detail"]
        assert problem["msg"] == (
            "provider 'openai' has no adapter in the embedded server; use provider 'mock'"
        )

    def test_what_belongs_to_another_project_is_refused(self, api: Api, name: str) -> None:
        experiment = Experiment(api, f"{name} b")
        body = {"project": name, **HI}
        by_id = {**body, "model_config_id": experiment.configs[0]}
        place = ["body", "model_config_id"]
        assert api.places("POST", "/chat-model-config", by_id) == [place]
        drawn = {**body, "experiment_id": experiment.id}
        assert api.places("POST", "/chat-experiment", drawn) == [["body", "experiment_id"]]

    def test_only_a_model_config_generates(self, api: Api, name: str) -> None:
        api.log(name, config={"type": "generic"})
        answer = api.call("POST", "/chat-deployed", {"project": name, **HI})
        assert answer.places == [["body", "project"]]
        assert "not a model config but of the type 'generic'" in answer.text

    def test_a_completion_needs_a_prompt_template(self, api: Api, name: str) -> None:
        api.ok("POST", "/chat", chat(name))
        answer = api.call("POST", "/completion-deployed", {"project": name})
        assert answer.places == [["body", "project"]]
        assert "prompt_template" in answer.text


class TestTemplates:
    """How inputs get into templates."""

    def fill(self, api: Api, name: str, template: str, inputs: Any) -> Any:
        """A prompt template with its variables filled in."""
        body = complete(name, template, inputs=inputs)
        return sent(api.ok("POST", "/completion", body))["prompt"]

    @pytest.mark.parametrize(
        ("template", "inputs", "prompt"),
        [
            ("", {}, ""),
            ("no variable", {"x": "y"}, "no variable"),
            ("{{x}}{{ x }}{{  y}}", {"x": "1", "y": "2"}, "112"),
            ("{{x}}", {"x": "{{y}}", "y": "never"}, "{{y}}"),
            ("{{x}} {{y}}", {"x": "{{y}}", "y": "{{x}}"}, "{{y}} {{x}}"),
            ("{{{x}}}", {"x": "1"}, "{1}"),
            ("{{x}}", {"x": "\\1 \\g<0>"}, "\\1 \\g<0>"),
            ("{{ a b }} {{}} {{ x-y }} {x}", {"x": "1"}, "{{ a b }} {{}} {{ x-y }} {x}"),
            ("{{x}}", {"x": 1.50}, "1.5"),
            ("{{x}}", {"x": True}, "true"),
            ("{{x}}", {"x": [1, "a"]}, '[1,"a"]'),
            ("{{x}}", {"x": {"a": "\u00eb"}}, '{"a":"\u00eb"}'),
            ("{{\u00eb}}", {"\u00eb": "e"}, "e"),
            ("{{user.name}}", {"user.name": "exact", "user": {"name": "path"}}, "exact"),
            ("{{user.name}}", {"user": {"name": "path"}}, "path"),
            ("{{list[1].a}}", {"list": [0, {"a": "b"}]}, "b"),
            ("{{map[key]}}", {"map": {"key": "v"}}, "v"),
            ("{{map.0}}", {"map": {"0": "v"}}, "v"),
        ],
    )
    def test_variables(self, api: Api, name: str, template: str, inputs: Any, prompt: str) -> None:
        assert self.fill(api, name, template, inputs) == prompt

    def test_numbers_keep_their_digits(self, api: Api, name: str) -> None:
        body = json.dumps(complete(name, "{{x}}", inputs={"x": 7})).replace("7", "1.50")
        answer = api.send("POST", "/completion", body.encode(), content_type="application/json")
        assert sent(answer.body)["prompt"] == "1.50"

    @pytest.mark.parametrize("stream", [False, True])
    def test_all_missing_variables_are_named(self, api: Api, name: str, stream: bool) -> None:
        template = "{{a}} {{b}} {{b}} {{list[3]}} {{list.x}} {{text.x}} {{..}} {{c.d}}"
        inputs = {"b2": "", "list": [1], "text": "t", "c": {}}
        body = {**complete(name, template, inputs=inputs), "stream": stream}
        answer = api.call("POST", "/completion", body)
        names = ["a", "b", "list[3]", "list.x", "text.x", "..", "c.d"]
        assert answer.places == [["body", "inputs", each] for each in names]
        assert {each["type"] for each in answer.body["detail"]} == {"required"}
        assert records(api, name) == []

    def test_a_chat_template_goes_before_the_messages(self, api: Api, name: str) -> None:
        template = [
            *SYSTEM,
            {"role": "assistant", "tool_call": {"name": "t"}},
            {"role": "user", "name": "{{ topic }}", "content": "{{ topic }}?"},
        ]
        messages = [{"role": "user", "content": "{{ topic }} stays"}]
        model_config = config(chat_template=template)
        body = {"project": name, "model_config": model_config, "messages": messages}
        answer = api.ok("POST", "/chat", {**body, "inputs": {"topic": "tea"}})
        assert sent(answer)["messages"] == [
            {"role": "system", "content": "Talk of tea."},
            {"role": "assistant", "tool_call": {"name": "t"}},
            {"role": "user", "name": "{{ topic }}", "content": "tea?"},
            {"role": "user", "content": "{{ topic }} stays"},
        ]
        [record] = records(api, name)
        assert record["messages"] == answer["data"][0]["messages"] == messages
        assert api.places("POST", "/chat", body) == [["body", "inputs", "topic"]]

    def test_a_completion_of_a_chat_model_is_one_message(self, api: Api, name: str) -> None:
        body = complete(name, "Say {{x}}", inputs={"x": "it"}, endpoint="chat")
        answer = api.ok("POST", "/completion", body)
        assert sent(answer)["messages"] == [{"role": "user", "content": "Say it"}]
        assert "prompt" not in sent(answer)

    def test_what_grows_too_large_is_refused(self, api: Api, name: str) -> None:
        body = complete(name, "{{x}}" * 60_000, inputs={"x": "long" * 50})
        assert api.places("POST", "/completion", body) == [["body", "inputs"]]


class TestSessions:
    """Sessions and parents, as for logs."""

    def test_samples_share_the_session_and_the_parent(self, api: Api, name: str) -> None:
        parent = api.log(name, session_reference_id=f"{name} s", reference_id=f"{name} p")
        body = chat(name, num_samples=2, parent_reference_id=f"{name} p")
        api.ok("POST", "/chat", body)
        for record in records(api, name)[1:]:
            assert record["session_id"] == parent["session_id"]
            assert record["parent_id"] == parent["id"]

    def test_the_first_use_of_a_reference_creates_the_session(self, api: Api, name: str) -> None:
        body = chat(name, num_samples=2, session_reference_id=f"{name} s")
        api.ok("POST", "/chat", body)
        api.ok("POST", "/chat", body)
        [session_id] = {record["session_id"] for record in records(api, name)}
        session = api.ok("GET", f"/sessions/{session_id}")
        assert session["datapoints_count"] == 4
        assert session["last_output"] == "Mock answer 2 to: Hi"

    def test_a_child_in_another_session_is_refused(self, api: Api, name: str) -> None:
        parent = api.log(name, session_reference_id=f"{name} s")
        session_id = api.ok("POST", "/sessions")["id"]
        body = chat(name, parent_id=parent["id"], session_id=session_id)
        assert api.places("POST", "/chat", body) == [["body", "session_id"]]


class TestMock:
    """What the provider mock promises."""

    def test_the_same_request_gets_the_same_answer(self, api: Api, name: str) -> None:
        one, two = (api.ok("POST", "/chat", chat(name, num_samples=3)) for _ in range(2))
        assert [each["output"] for each in one["data"]] == [
            "Mock answer to: Hi",
            "Mock answer 2 to: Hi",
            "Mock answer 3 to: Hi",
        ]
        for answer in (one, two):
            for data in answer["data"]:
                del data["id"]
        assert one == two
        assert [each["index"] for each in one["data"]] == [0, 1, 2]
        assert one["usage"] == {"prompt_tokens": 3, "generation_tokens": 14, "total_tokens": 17}
        assert one["num_samples"] == 3

    @pytest.mark.parametrize(
        ("keys", "said", "reason"),
        [
            ({"max_tokens": 2}, "Mock answer", "length"),
            ({"max_tokens": 4}, "Mock answer to: Hi", "stop"),
            ({"max_tokens": 0}, "", "length"),
            ({"max_tokens": -1}, "Mock answer to: Hi", "stop"),
            ({"stop": " to"}, "Mock answer", "stop"),
            ({"stop": ["Hi", "answer", "absent", ""]}, "Mock ", "stop"),
            ({"stop": "to", "max_tokens": 1}, "Mock", "length"),
            ({"other": {"output": "one\ntwo"}}, "one\ntwo", "stop"),
            ({"other": {"output": "again", "repeat": 3}}, "again again again", "stop"),
            ({"other": {"output": ""}}, "", "stop"),
            ({"other": {"delay": 0.001, "output": "a b"}}, "a b", "stop"),
        ],
    )
    @pytest.mark.parametrize("stream", [False, True])
    def test_limits_and_options(
        self, api: Api, name: str, keys: Any, said: str, reason: str, stream: bool
    ) -> None:
        body = {"project": name, "model_config": config(**keys), **HI, "stream": stream}
        answer = api.call("POST", "/chat", body)
        found = events(answer) if stream else [answer.body]
        assert "".join(each["data"][0]["raw_output"] for each in found) == said
        assert found[-1]["data"][0]["finish_reason"] == reason
        [record] = records(api, name)
        assert (record["raw_output"], record["finish_reason"]) == (said, reason)
        assert record["output"] == said.strip()

    def test_a_long_output_is_cut(self, api: Api, name: str) -> None:
        other = {"output": "x" * 99, "repeat": 100_000}
        [data] = api.ok("POST", "/chat", chat(name, other=other))["data"]
        assert len(data["raw_output"]) == 1_000_000
        assert data["finish_reason"] == "length"

    def test_without_messages_there_is_nothing_to_repeat(self, api: Api, name: str) -> None:
        assert output(api.ok("POST", "/chat", chat(name, messages=[]))) == "Mock answer to:"

    @pytest.mark.parametrize(
        "other", [{"repeat": 0}, {"repeat": "x"}, {"delay": 11}, {"output": 1}, {"delay": True}]
    )
    def test_options_that_make_no_sense_fail(self, api: Api, name: str, other: Any) -> None:
        answer = api.call("POST", "/chat", chat(name, other=other))
        assert answer.status == 503
        [key] = other
        assert f"`other.{key}` must be" in answer.body["detail"]


class TestStreams:
    """Answers that are streams of events."""

    @pytest.mark.parametrize("path", ["/chat", "/completion"])
    def test_pieces_and_the_end_of_each_sample(self, api: Api, name: str, path: str) -> None:
        body = chat(name) if path == "/chat" else complete(name, "Hi ")
        body |= {"num_samples": 2, "user": "u", "inputs": {"x": 1}}
        schema = {"/chat": ChatResponse, "/completion": CompletionResponse}[path]
        whole = api.ok("POST", path, body)
        found = events(api.call("POST", path, {**body, "stream": True}))
        for each in found:
            schema(each)
            assert len(each["data"]) == 1
        logged = records(api, name)[2:]
        groups = [
            list(group) for _, group in itertools.groupby(found, lambda e: e["data"][0]["id"])
        ]
        assert len(groups) == len(logged) == 2
        for group, record, expected in zip(groups, logged, whole["data"], strict=True):
            pieces = [each["data"][0] for each in group]
            assert {each["id"] for each in pieces} == {record["id"]}
            assert len([each for each in pieces if each["output"]]) >= 4
            assert [each.get("finish_reason") for each in pieces] == [
                *[None] * (len(pieces) - 1),
                "stop",
            ]
            for key in ("output", "raw_output"):
                assert "".join(each[key] for each in pieces) == record["raw_output"]
            assert record["raw_output"] == expected["raw_output"]
            assert record["output"] == expected["output"]
            assert record["provider_response"] == group[-1]["provider_responses"][0]
            for key in ("inputs", "index", "messages"):
                assert pieces[-1].get(key) == expected.get(key)
        assert found[-1]["user"] == "u"
        assert found[-1]["num_samples"] == 2
        assert found[-1]["project_id"] == whole["project_id"]
        usages = [group[-1]["usage"]["total_tokens"] for group in groups]
        assert sum(usages) == whole["usage"]["total_tokens"]

    def test_it_is_not_to_be_cached(self, api: Api, name: str) -> None:
        answer = api.call("POST", "/chat", chat(name, stream=True))
        assert answer.headers["Cache-Control"] == "no-store"

    @pytest.mark.parametrize("path", ["chat", "completion"])
    @pytest.mark.parametrize("way", ["-deployed", "-experiment", "-model-config"])
    def test_every_operation_streams(self, api: Api, name: str, path: str, way: str) -> None:
        experiment = Experiment(api, name)
        body: dict[str, Any] = {"project": name, "stream": True}
        body |= HI if path == "chat" else {}
        body |= {"experiment_id": experiment.id} if way == "-experiment" else {}
        body |= {"model_config_id": experiment.configs[0]} if way == "-model-config" else {}
        found = events(api.call("POST", f"/{path}{way}", body))
        [record] = records(api, name)
        assert "".join(each["data"][0]["output"] for each in found) == record["output"]
        assert ("trial_id" in record) == (way != "-model-config")

    def test_clients_of_the_0_5_line_lose_no_event(self, api: Api, name: str) -> None:
        text = "data: a\n\ndata: b \u00dadata: c \\data: \u2028 \x85 \u2029 event: x"
        messages = [{"role": "user", "content": text}]
        body = chat(name, messages=messages, metadata={"data: ": ["data: "]}, stream=True)
        answer = api.call("POST", "/chat", body)
        found = events(answer)
        for block in answer.text.removesuffix("\n\n").split("\n\n"):
            assert block.count("data: ") == 1
        assert "\\u003a " in answer.text
        assert not set(answer.text) & set("\u2028\u2029\x85\r")
        assert found[-1]["data"][0]["messages"] == messages
        assert found[-1]["metadata"] == {"data: ": ["data: "]}
        assert "".join(each["data"][0]["output"] for each in found).endswith(text)

    def test_an_event_is_sent_when_it_is_there(self, own: Own) -> None:
        stream = own.open()
        assert own.provider.step("one") == "one"
        assert next(stream)["data"][0]["output"] == "one"
        # The writer is free while the provider takes its time.
        own.api.log("other")
        own.provider.step("two")
        assert next(stream)["data"][0]["output"] == "two"
        own.provider.step(Ending("stop"))
        assert next(stream)["data"][0]["finish_reason"] == "stop"
        [record] = records(own.api, "p")
        assert record["output"] == "onetwo"
        assert list(stream) == []

    def test_a_log_is_there_from_the_start(self, own: Own) -> None:
        stream = own.open(num_samples=2)
        own.provider.step("one")
        log_id = next(stream)["data"][0]["id"]
        first, second = records(own.api, "p")
        assert first["id"] == log_id
        assert not (first.keys() | second.keys()) & {"output", "error", "finish_reason"}
        feedback = {"data_id": log_id, "type": "rating", "value": "good"}
        own.api.ok("POST", "/feedback", feedback)
        own.provider.step(Ending("stop"))
        own.provider.step(Ending("stop"))
        assert [each["data"][0]["index"] for each in stream] == [0, 1]

    def test_a_reader_that_leaves_keeps_what_came(self, tmp_path: Path) -> None:
        url = f"sqlite:///{tmp_path / 'own.db'}"
        provider = Endless()
        settings = Settings(providers={"mock": provider})
        with EmbeddedServer(url, api_key=API_KEY, settings=settings) as server:
            answer = post(server, chat("p", stream=True, num_samples=2))
            head = next(answer.stream(64))
            assert head.startswith(b"data: ")
            answer.close()
            assert provider.closed.wait(20)
            assert provider.calls == 1
        with EmbeddedServer(url, api_key=API_KEY) as server:
            first, second = records(Api(server.url), "p")
        assert first["raw_output"] == " piece" * first["raw_output"].count(" piece") != ""
        assert first["output"] == first["raw_output"].strip()
        assert not first.keys() & {"error", "finish_reason"}
        assert second["error"] == "Not generated: the call ended before this sample."
        assert "output" not in second


class TestFailures:
    """Providers that fail."""

    @pytest.mark.parametrize("stream", [False, True])
    def test_at_the_start_it_is_an_error_and_a_log(self, api: Api, name: str, stream: bool) -> None:
        body = chat(name, other={"error": "out of \u00e4ther"}, stream=stream, num_samples=2)
        answer = api.call("POST", "/chat", body)
        assert answer.status == 503
        assert answer.headers["Content-Type"] == "application/json"
        assert answer.body == {"detail": "The provider 'mock' failed: out of \u00e4ther"}
        first, second = records(api, name)
        assert first["error"] == "out of \u00e4ther"
        assert first["provider_latency"] >= 0
        assert second["error"] == "Not generated: the call ended before this sample."
        assert not (first.keys() | second.keys()) & {"output", "raw_output", "finish_reason"}

    def test_in_the_middle_the_part_is_kept(self, api: Api, name: str) -> None:
        body = chat(name, other={"error": "cut", "error_after": 2})
        answer = api.call("POST", "/chat", body)
        assert (answer.status, answer.body["detail"]) == (503, "The provider 'mock' failed: cut")
        [record] = records(api, name)
        assert (record["error"], record["raw_output"]) == ("cut", "Mock answer")
        assert "finish_reason" not in record

    def test_in_mid_stream_it_is_an_event(self, api: Api, name: str) -> None:
        other = {"error": "cut data: x", "error_after": 2}
        answer = api.call("POST", "/chat", chat(name, other=other, stream=True))
        assert answer.status == 200
        *pieces, last, rest = answer.text.split("\n\n")
        assert len(pieces) == 2
        assert rest == ""
        kind, data = last.split("\n")
        assert kind == "event: error"
        assert data.count("data: ") == 1
        assert json.loads(data.removeprefix("data: ")) == {
            "detail": "The provider 'mock' failed: cut data: x"
        }
        [record] = records(api, name)
        assert (record["error"], record["output"]) == ("cut data: x", "Mock answer")

    def test_a_later_sample_leaves_the_earlier_ones(self, own: Own) -> None:
        answers: list[Answer] = []
        body = chat("p", num_samples=3)
        thread = threading.Thread(
            target=lambda: answers.append(own.api.call("POST", "/chat", body))
        )
        thread.start()
        own.provider.step("fine")
        own.provider.step(Ending("stop"))
        own.provider.step(ProviderError("no more"))
        thread.join(20)
        assert answers[0].status == 503
        first, second, third = records(own.api, "p")
        assert (first["output"], first["finish_reason"]) == ("fine", "stop")
        assert second["error"] == "no more"
        assert "output" not in second
        assert third["error"].startswith("Not generated")

    @pytest.mark.parametrize("stream", [False, True])
    def test_a_faulty_adapter_is_500_and_kept(
        self, own: Own, stream: bool, caplog: pytest.LogCaptureFixture
    ) -> None:
        key = "sk-not-to-be-shown\n"
        own.provider.steps_ready(ZeroDivisionError(f"Invalid header value {key!r}"))
        body = chat("p", stream=stream, provider_api_keys={"mock": key, "beside": 5})
        answer = own.api.call("POST", "/chat", body)
        assert answer.status == 500
        assert answer.body == {"detail": "internal error: see the server's log"}
        assert "ZeroDivisionError: Invalid header value '[redacted]'" in caplog.text
        assert key.strip() not in caplog.text
        [record] = records(own.api, "p")
        assert record["error"] == "internal error"

    @pytest.mark.parametrize(
        "step", [Ending("stop", response={"x": object()}), 5, None], ids=["ending", "piece", "none"]
    )
    def test_what_came_before_an_adapter_goes_wrong_is_kept(self, own: Own, step: Any) -> None:
        own.provider.steps_ready("some text", step)
        assert own.api.call("POST", "/chat", chat("p")).status == 500
        [record] = records(own.api, "p")
        assert (record["output"], record["error"]) == ("some text", "internal error")

    def test_halves_of_a_surrogate_pair_can_be_kept(self, own: Own) -> None:
        own.provider.steps_ready("a\ud83d", "\ude00b", "\ud83d\ude00", Ending("stop"))
        answer = own.api.ok("POST", "/chat", chat("p"))
        assert answer["data"][0]["output"] == "a\ufffd\ufffdb\U0001f600"

    def test_keys_that_begin_alike_are_redacted_and_words_are_not(self, own: Own) -> None:
        keys = {"mock": "sk-SECRET", "openai": "sk-SECRETSECRET", "cohere": "o"}
        own.provider.steps_ready(ProviderError("no key sk-SECRETSECRET for you"))
        answer = own.api.call("POST", "/chat", chat("p", provider_api_keys=keys))
        assert answer.status == 503
        assert "no key [redacted] for you" in answer.body["detail"]

    def test_usage_that_is_not_told_is_left_out(self, own: Own) -> None:
        own.provider.steps_ready(" x ", Ending("stop"))
        answer = own.api.ok("POST", "/chat", chat("p"))
        assert "usage" not in answer
        assert answer["provider_responses"] == [{}]

    def test_a_deleted_experiment_takes_nothing_along(self, own: Own) -> None:
        experiment = Experiment(own.api, "p")
        stream = own.open("/chat-experiment", experiment_id=experiment.id, model_config=None)
        own.provider.step("one")
        next(stream)
        assert own.api.call("DELETE", f"/experiments/{experiment.id}").status == 204
        own.provider.step(Ending("stop"))
        assert next(stream)["data"][0]["finish_reason"] == "stop"
        [record] = records(own.api, "p")
        assert record["output"] == "one"
        assert "trial_id" not in record


class TestKeys:
    """Provider keys go to the provider and nowhere else."""

    def test_they_are_kept_nowhere(
        self, tmp_path: Path, database_url: str, caplog: pytest.LogCaptureFixture
    ) -> None:
        keys = {"mock": SECRET, "openai": SECRET + "o"}
        caplog.set_level(logging.DEBUG)
        answers: list[str] = []
        with EmbeddedServer(database_url, api_key=API_KEY) as server:
            api = Api(server.url)
            for extra in ({}, {"stream": True}, {"num_samples": 0}):
                body = chat("p", provider_api_keys=keys, **extra)
                answers.append(api.call("POST", "/chat", body).text)
            failing = chat("p", other={"error": "e"}, provider_api_keys=keys)
            answers.append(api.call("POST", "/chat", failing).text)
            files = [path.read_bytes() for path in tmp_path.iterdir()]
        files += [path.read_bytes() for path in tmp_path.iterdir()]
        assert any(b"Mock answer" in data for data in files)
        assert all(SECRET.encode() not in data for data in files)
        assert all(SECRET not in text for text in [*answers, caplog.text])

    def test_a_provider_gets_them_and_can_t_give_them_away(self, own: Own) -> None:
        own.provider.steps_ready(
            "x", Ending("stop", response={"key": [SECRET]}), ProviderError(f"bad key {SECRET}!")
        )
        body = chat("p", provider_api_keys={"mock": SECRET})
        answer = own.api.ok("POST", "/chat", body)
        assert answer["provider_responses"] == [{"key": ["[redacted]"]}]
        failed = own.api.call("POST", "/chat", body)
        assert failed.body["detail"] == "The provider 'mock' failed: bad key [redacted]!"
        assert [each.api_keys for each in own.provider.requests] == [{"mock": SECRET}] * 2
        assert SECRET not in repr(own.provider.requests)
        first, second = records(own.api, "p")
        assert first["provider_response"] == {"key": ["[redacted]"]}
        assert second["error"] == "bad key [redacted]!"

    def test_what_is_no_key_is_left_alone(self) -> None:
        value = {"a": [1, None, "text"], "b": {"c": True}}
        assert redact_data(value, ["", "absent"]) == value


def test_the_writer_is_free_while_a_provider_works(own: Own) -> None:
    """Nothing is written between the two short transactions of a call."""
    begun: list[bool] = []

    def note(connection: Any) -> None:
        begun.append(bool(connection.get_execution_options().get("writes")))

    event.listen(Engine, "begin", note)
    try:
        own.provider.steps_ready("x", Ending("stop"))
        own.api.ok("POST", "/chat", chat("p", num_samples=1))
    finally:
        event.remove(Engine, "begin", note)
    assert begun == [True, True]


def test_slow_providers_don_t_hold_up_other_requests(own: Own) -> None:
    count = 45  # more than the threads of either kind
    answers: list[int] = []

    def run() -> None:
        answers.append(Api(own.server.url).call("POST", "/chat", chat("p")).status)

    threads = [threading.Thread(target=run) for _ in range(count)]
    for thread in threads:
        thread.start()
    assert own.provider.started.acquire(timeout=20)
    assert own.api.ok("GET", "/projects")["total"] == 1
    own.provider.steps_ready(*[step for _ in range(count) for step in ("x", Ending("stop"))])
    for thread in threads:
        thread.join(20)
    assert answers == [200] * count


async def call_app(
    app: Any, body: Any, sent_to: Callable[[dict[str, Any]], None] = lambda message: None
) -> int:
    """Call an application without a socket; `sent_to` sees what it sends, before it goes on."""
    requests = iter([{"type": "http.request", "body": json.dumps(body).encode()}])
    statuses: list[int] = []

    async def receive() -> Any:
        for request in requests:
            return request
        await asyncio.Event().wait()  # the reader stays

    async def send(message: Any) -> None:
        statuses.extend([message["status"]] if "status" in message else [])
        sent_to(message)

    headers = [(b"x-api-key", API_KEY.encode()), (b"content-type", b"application/json")]
    scope = {"type": "http", "method": "POST", "path": "/v4/chat", "headers": headers}
    await app({**scope, "query_string": b""}, receive, send)
    [status] = statuses
    return status


def test_more_chats_at_once_than_threads(tmp_path: Path) -> None:
    path, count = tmp_path / "own.db", 200

    async def main() -> list[int]:
        app = create_app(f"sqlite:///{path}", [API_KEY])
        async with app.router.lifespan_context(app):
            return await asyncio.gather(*(call_app(app, chat("p")) for _ in range(count)))

    assert asyncio.run(main()) == [200] * count
    with closing(sqlite3.connect(path)) as connection:
        statement = "SELECT count(*), count(DISTINCT id), count(finish_reason) FROM logs"
        assert connection.execute(statement).fetchall() == [(count, count, count)]


def test_a_sample_is_kept_before_its_last_event_is_sent(tmp_path: Path) -> None:
    path = tmp_path / "own.db"
    kept: list[int] = []

    def look(message: dict[str, Any]) -> None:
        if b"finish_reason" in message.get("body", b""):
            with closing(sqlite3.connect(path)) as connection:
                statement = "SELECT count(*) FROM logs WHERE finish_reason IS NOT NULL"
                kept.append(connection.execute(statement).fetchone()[0])

    async def main() -> None:
        app = create_app(f"sqlite:///{path}", [API_KEY])
        async with app.router.lifespan_context(app):
            await call_app(app, chat("p", stream=True, num_samples=3), look)

    asyncio.run(main())
    assert kept == [1, 2, 3]


def test_the_mock_needs_no_server() -> None:
    pieces = Mock().generate(ProviderRequest("m", prompt="x" * 250))
    found = list(pieces)
    assert "".join(found) == "Mock completion of: " + "x" * 250
    assert max(map(len, found)) == 101
