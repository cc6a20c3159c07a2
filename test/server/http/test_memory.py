"""Memory: what large bodies, many of them, large pages and slow readers may take."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from typing import Any

import pytest

from humanloop.server import EmbeddedServer, Settings

from ..api import API_KEY, Api

JSON = "application/json"
MIB = 1024 * 1024
LOG = {"project": "p", "config": {"model": "m"}}
SETTINGS = Settings(max_body_values=1000)


@pytest.fixture(scope="module")
def few() -> Iterator[Api]:
    """A server that takes 1,000 values in a body."""
    with EmbeddedServer(api_key=API_KEY, settings=SETTINGS) as server:
        yield Api(server.url)


class TestValues:
    """How many values a body may hold."""

    @pytest.mark.parametrize(
        "value",
        [
            [[]] * 20_000,
            [{}] * 20_000,
            [1] * 40_000,
            ["a"] * 20_000,
            {str(number): 1 for number in range(10_000)},
            ["\\", '"', '\\"', ","] * 10_000,
            [[1, "x"]] * 20_000,
        ],
        ids=lambda value: repr(value)[:20],
    )
    def test_too_many_are_413(self, few: Api, value: Any) -> None:
        body = json.dumps({**LOG, "inputs": {"x": value}}).encode()
        answer = few.send("POST", "/logs", body, content_type=JSON)
        assert answer.status == 413
        assert answer.body == {"detail": "The body holds over 1,000 values; send it in parts."}

    @pytest.mark.parametrize(
        "text", ["a, [b], {c}" * 10_000, '\\",[{\\' * 20_000, '"' * 80_000, "\\" * 80_001, "x"]
    )
    def test_what_is_in_a_string_is_not_counted(self, few: Api, text: str) -> None:
        padding = "y" * 100_000
        few.ok("POST", "/logs", {**LOG, "output": text, "inputs": {text[:99]: text, "p": padding}})

    def test_as_many_as_allowed_are_taken(self, few: Api) -> None:
        few.ok("POST", "/logs", {**LOG, "output": "x" * 100_000, "inputs": {"x": [1] * 990}})


def test_a_body_with_very_many_errors_tells_of_a_thousand(api: Api) -> None:
    body = [{**LOG, "output": 1, "messages": [{}]}] * 3000
    assert len(api.places("POST", "/logs", body)) == 1000
