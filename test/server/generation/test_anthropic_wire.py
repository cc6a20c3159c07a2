"""The provider anthropic: what it is sent, and what becomes of its answers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from humanloop.model import ChatResponse

from ..chatting import HI, events
from .serving import Chats, chats, event, message, streamed, typed

TOOL = {"name": "get_weather", "description": "d", "parameters": {"type": "object"}}
USE = {"type": "tool_use", "id": "toolu_1", "name": "get_weather", "input": {"city": "Oslo"}}
START = typed("message_start", message=message(stop_reason=None))
STOP = typed("message_delta", delta={"stop_reason": "end_turn"}, usage={"output_tokens": 9})
END = typed("message_stop")


def begins(index: int, **block: Any) -> bytes:
    return typed("content_block_start", index=index, content_block=block)


def goes_on(index: int, **delta: Any) -> bytes:
    return typed("content_block_delta", index=index, delta=delta)


TEXT = begins(0, type="text", text="")
HEL = goes_on(0, type="text_delta", text="Hel")


@pytest.fixture(scope="module")
def anthropic() -> Iterator[Chats]:
    """A server with a provider that speaks as Anthropic does."""
    with chats("anthropic") as found:
        yield found


class TestRequests:
    """What the provider is sent."""

    def test_it_is_what_was_set_and_nothing_else(self, anthropic: Chats) -> None:
        anthropic.provider.answer(message("Hello"))
        anthropic.ok(provider_api_keys={"anthropic": "sk-ant-0123456789"})
        assert anthropic.sent == {"model": "m", "max_tokens": 4096, **HI}
        request = anthropic.provider.requests[-1]
        assert request.target == "/v1/messages"
        assert request.headers["anthropic-version"] == "2023-06-01"
        assert request.headers["x-api-key"] == "sk-ant-0123456789"
        assert "Authorization" not in request.headers

    def test_parameters(self, anthropic: Chats) -> None:
        anthropic.provider.answer(message("Hello"))
        config = {
            "temperature": 0.25,
            "top_p": 0.5,
            "max_tokens": 7,
            "stop": "a",
            "tools": [TOOL, {"name": "t"}],
            "other": {"top_k": 5, "tool_choice": {"type": "any"}},
        }
        anthropic.ok(config=config, user="ada")
        schema = {"type": "object", "properties": {}}
        assert anthropic.sent == {
            "model": "m",
            **HI,
            "temperature": 0.25,
            "top_p": 0.5,
            "max_tokens": 7,
            "stop_sequences": ["a"],
            "metadata": {"user_id": "ada"},
            "top_k": 5,
            "tool_choice": {"type": "any"},
            "tools": [
                {"name": "get_weather", "description": "d", "input_schema": {"type": "object"}},
                {"name": "t", "input_schema": schema},
            ],
        }
        assert anthropic.log["provider_request"] == anthropic.sent

    def test_what_anthropic_lacks_is_its_own_to_refuse(self, anthropic: Chats) -> None:
        text = "presence_penalty: Extra inputs are not permitted"
        error = {"type": "invalid_request_error", "message": text}
        anthropic.provider.answer({"type": "error", "error": error}, 400)
        said = anthropic.failed(config={"presence_penalty": 1})
        assert said == f"400 Bad Request: {text}"
        assert anthropic.sent["presence_penalty"] == 1

    def test_system_messages_and_tools_that_were_called(self, anthropic: Chats) -> None:
        anthropic.provider.answer(message("Cold."))
        call = {"name": "get_weather", "arguments": '{"city": "Oslo"}'}
        function = {"name": "t", "arguments": "{no json"}
        config = {"chat_template": [{"role": "system", "content": "Be {{ how }}."}]}
        messages = [
            {"role": "user", "content": "Cold?"},
            {"role": "system", "content": "Really."},
            {"role": "assistant", "content": "I look.", "tool_call": {**call, "id": "toolu_1"}},
            {"role": "tool", "content": "-3"},
            {
                "role": "assistant",
                "tool_calls": [
                    {"id": "a", "type": "function", "function": function},
                    {"id": "b", "type": "function", "function": function},
                ],
            },
            {"role": "tool", "name": "t", "content": "1"},
            {"role": "tool", "tool_call_id": "b", "content": "2"},
        ]
        anthropic.ok(config=config, inputs={"how": "brief"}, messages=messages)
        assert anthropic.sent["system"] == "Be brief.\n\nReally."

        def use(id_: str) -> dict[str, Any]:
            return {"type": "tool_use", "id": id_, "name": "t", "input": {}}

        def result(id_: str, text: str) -> dict[str, Any]:
            return {"type": "tool_result", "tool_use_id": id_, "content": text}

        assert anthropic.sent["messages"] == [
            {"role": "user", "content": "Cold?"},
            {"role": "assistant", "content": [{"type": "text", "text": "I look."}, USE]},
            {"role": "user", "content": [result("toolu_1", "-3")]},
            {"role": "assistant", "content": [use("a"), use("b")]},
            {"role": "user", "content": [result("a", "1"), result("b", "2")]},
        ]

    def test_a_completion_is_one_message_of_a_user(self, anthropic: Chats) -> None:
        anthropic.provider.answer(message(" upon a time"))
        config = {"model": "m", "provider": "anthropic", "prompt_template": "Once"}
        answer = anthropic.api.ok("POST", "/completion", {"project": "p", "model_config": config})
        assert anthropic.sent["messages"] == [{"role": "user", "content": "Once"}]
        assert answer["data"][0]["output"] == "upon a time"

    def test_each_sample_is_asked_for_by_itself(self, anthropic: Chats) -> None:
        anthropic.provider.answer(message("x"))
        before = len(anthropic.provider.requests)
        answer = anthropic.ok(num_samples=3)
        assert len(anthropic.provider.requests) == before + 3
        assert answer["usage"]["total_tokens"] == 21


class TestAnswers:
    """What becomes of an answer."""

    def test_text_and_calls_of_tools(self, anthropic: Chats) -> None:
        thinking = {"type": "thinking", "thinking": "hm", "signature": "s"}
        usage = {"input_tokens": 5, "cache_read_input_tokens": 3, "output_tokens": 2}
        body = message(thinking, "I ", "look.", USE, stop_reason="tool_use", usage=usage)
        anthropic.provider.answer(body)
        answer = anthropic.ok()
        ChatResponse(answer)
        [data] = answer["data"]
        call = {"name": "get_weather", "arguments": '{"city":"Oslo"}', "id": "toolu_1"}
        assert data["tool_call"] == call
        assert (data["output"], data["finish_reason"]) == ("I look.", "tool_calls")
        assert answer["usage"]["prompt_tokens"] == 8
        assert answer["provider_responses"] == [body]
        assert anthropic.log["provider_response"] == body

    @pytest.mark.parametrize(
        ("reason", "ours"),
        [
            ("end_turn", "stop"),
            ("stop_sequence", "stop"),
            ("max_tokens", "length"),
            ("refusal", "refusal"),
        ],
    )
    def test_the_reason_for_the_end(self, anthropic: Chats, reason: str, ours: str) -> None:
        anthropic.provider.answer(message("x", stop_reason=reason))
        assert anthropic.ok()["data"][0]["finish_reason"] == ours

    @pytest.mark.parametrize("body", [{}, [], {"content": "x"}])
    def test_an_answer_without_content_is_an_error(self, anthropic: Chats, body: Any) -> None:
        anthropic.provider.answer(body)
        assert anthropic.failed().startswith("the answer has no content")


class TestStreams:
    """Answers that come in parts."""

    def test_pieces_and_the_end(self, anthropic: Chats) -> None:
        anthropic.provider.send_raw(
            streamed(
                START,
                begins(0, type="thinking", thinking=""),
                goes_on(0, type="thinking_delta", thinking="hm"),
                goes_on(0, type="signature_delta", signature="s"),
                typed("content_block_stop", index=0),
                typed("ping"),
                begins(1, type="text", text=""),
                goes_on(1, type="text_delta", text="I "),
                goes_on(1, type="text_delta", text="look."),
                typed("unheard_of"),
                begins(2, type="tool_use", id="toolu_1", name="get_weather", input={}),
                goes_on(2, type="input_json_delta", partial_json=""),
                goes_on(2, type="input_json_delta", partial_json='{"city":'),
                goes_on(2, type="input_json_delta", partial_json='"Oslo"}'),
                typed(
                    "message_delta", delta={"stop_reason": "tool_use"}, usage={"output_tokens": 9}
                ),
                END,
            )
        )
        found = events(anthropic.chat(stream=True))
        assert anthropic.sent["stream"] is True
        assert [each["data"][0]["output"] for each in found] == ["I ", "look.", ""]
        [data] = found[-1]["data"]
        assert data["tool_call"]["arguments"] == '{"city":"Oslo"}'
        assert data["finish_reason"] == "tool_calls"
        assert found[-1]["usage"] == {
            "prompt_tokens": 5,
            "generation_tokens": 9,
            "total_tokens": 14,
        }
        [whole] = found[-1]["provider_responses"]
        assert whole["content"] == [
            {"type": "thinking", "thinking": "hm", "signature": "s"},
            {"type": "text", "text": "I look."},
            USE,
        ]
        assert anthropic.log["output"] == "I look."

    @pytest.mark.parametrize(
        ("data", "error"),
        [
            (
                typed("error", error={"type": "overloaded_error", "message": "Overloaded"}),
                "Overloaded",
            ),
            (STOP[:0], "the stream ended before the answer was complete"),
            (
                event("nothing", "content_block_delta"),
                "an event of the stream is not JSON: nothing",
            ),
        ],
        ids=["error", "ended", "malformed"],
    )
    def test_a_stream_that_fails_keeps_what_came(
        self, anthropic: Chats, data: bytes, error: str
    ) -> None:
        anthropic.provider.send_raw(streamed(START, TEXT, HEL, *([data] if data else [])))
        anthropic.chat(stream=True)
        assert (anthropic.log["output"], anthropic.log["error"]) == ("Hel", error)

    def test_the_end_of_the_message_is_enough(self, anthropic: Chats) -> None:
        anthropic.provider.send_raw(streamed(START, TEXT, HEL, STOP))
        assert events(anthropic.chat(stream=True))[-1]["data"][0]["finish_reason"] == "stop"
