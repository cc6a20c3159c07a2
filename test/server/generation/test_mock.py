"""The provider mock."""

from __future__ import annotations

from typing import Any

import pytest

from humanloop.server.generation.mock import Mock
from humanloop.server.generation.providers import (
    ProviderRequest,
)

from ..api import Api
from ..chatting import (
    HI,
    chat,
    config,
    events,
    output,
    records,
)


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


def test_the_mock_needs_no_server() -> None:
    pieces = Mock().generate(ProviderRequest("m", prompt="x" * 250))
    found = list(pieces)
    assert "".join(found) == "Mock completion of: " + "x" * 250
    assert max(map(len, found)) == 101
