"""Requests for the tests of chats and completions, and scripted providers."""

from __future__ import annotations

import json
import threading
from collections.abc import Generator, Iterator
from typing import Any

import urllib3

from humanloop.server import EmbeddedServer
from humanloop.server.generation.providers import (
    Ending,
    ProviderRequest,
)

from .api import API_KEY, Answer, Api

HI: dict[str, Any] = {"messages": [{"role": "user", "content": "Hi"}]}
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
    """The request that the provider mock got, as it repeats it."""
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
    """A provider whose next step the test decides."""

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
        with self._lock:  # a call's steps must not mix with another's
            while True:
                assert self._ready.acquire(timeout=60), "the test gave no step"
                step = self._steps.pop(0)
                if isinstance(step, Exception):
                    raise step
                if isinstance(step, Ending):
                    return step
                yield step


class Endless:
    """A provider that continues until it is closed."""

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

    def __init__(self, server: EmbeddedServer, provider: Scripted, database: str) -> None:
        self.server, self.provider, self.database = server, provider, database
        self.api = Api(server.url)

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
        thread.join(60)  # the head of the answer comes with the first event
        [answer] = self._answers
        for line in answer:
            if line.strip():
                yield json.loads(line.removeprefix(b"data: "))


def post(server: EmbeddedServer, body: Any, path: str = "/chat") -> urllib3.BaseHTTPResponse:
    """Send a body; the answer's own body is still to be read."""
    headers = {"X-API-KEY": API_KEY, "Content-Type": "application/json"}
    return urllib3.PoolManager(retries=False, timeout=60).request(
        "POST",
        server.url + path,
        body=json.dumps(body).encode(),
        headers=headers,
        preload_content=False,
    )
