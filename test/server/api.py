"""A small client of the API, with which the tests call a server."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import urllib3

API_KEY = "hl_key-of-the-tests"


@dataclass(frozen=True)
class Answer:
    """The answer to a call."""

    status: int
    headers: urllib3.HTTPHeaderDict
    text: str

    @property
    def body(self) -> Any:
        """The JSON body."""
        return json.loads(self.text)

    @property
    def places(self) -> list[list[str | int]]:
        """The places in a 422's problems."""
        assert self.status == 422, self.text
        return [problem["loc"] for problem in self.body["detail"]]


class Api:
    """Calls one server with one key."""

    def __init__(self, url: str, key: str | None = API_KEY) -> None:
        self.url = url
        self.key = key
        self.pool = urllib3.PoolManager(maxsize=16, retries=False, timeout=60)

    def send(self, method: str, path: str, data: bytes | None = None, **headers: str) -> Answer:
        """Send bytes as they are; underscores in header names are hyphens."""
        names = {name.replace("_", "-"): value for name, value in headers.items()}
        if self.key is not None:
            names.setdefault("X-API-KEY", self.key)
        answer = self.pool.request(method, self.url + path, body=data, headers=names)
        return Answer(answer.status, answer.headers, answer.data.decode())

    def call(self, method: str, path: str, body: Any = None) -> Answer:
        """Send a JSON body, where there is one."""
        if body is None:
            return self.send(method, path)
        return self.send(method, path, json.dumps(body).encode(), content_type="application/json")

    def ok(self, method: str, path: str, body: Any = None) -> Any:
        """Call, expect success, and return the answer's body."""
        answer = self.call(method, path, body)
        assert answer.status in {200, 201}, answer.text
        return answer.body

    def places(self, method: str, path: str, body: Any = None) -> list[list[str | int]]:
        """Call, expect a 422, and return its places."""
        return self.call(method, path, body).places

    def log(self, project: str, **keys: Any) -> Any:
        """Log a datapoint, by default of the model `m`."""
        if "trial_id" not in keys:
            keys.setdefault("config", {"model": "m"})
        return self.ok("POST", "/logs", {"project": project, **keys})

    def export(self, project_id: str, query: str = "?size=100") -> Any:
        """A page of a project's logs."""
        return self.ok("POST", f"/projects/{project_id}/export{query}")
