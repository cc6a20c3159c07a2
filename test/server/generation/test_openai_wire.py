"""The provider openai: what it is sent, and what becomes of its answers."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from humanloop.model import ChatResponse

from ..chatting import HI, Experiment, events, records
from .serving import (
    DONE,
    HEAD,
    HELLO,
    USAGE,
    Chats,
    chats,
    chunk,
    completed,
    delta,
    event,
    response,
    streamed,
)

TOOL = {"name": "get_weather", "description": "d", "parameters": {"type": "object"}}
CALL = {
    "id": "call_a",
    "type": "function",
    "function": {"name": "get_weather", "arguments": '{"city":"Oslo"}'},
}


@pytest.fixture(scope="module")
def openai() -> Iterator[Chats]:
    """A server with a provider that speaks as OpenAI does."""
    with chats() as found:
        yield found


def said(text: str, status: int = 400, **error: Any) -> bytes:
    """A refusal."""
    return response(json.dumps({"error": {"message": text, **error}}).encode(), status)


class TestRequests:
    """What the provider is sent."""

    def test_it_is_what_was_set_and_nothing_else(self, openai: Chats) -> None:
        openai.provider.answer(completed("Hello"))
        openai.ok()
        assert openai.sent == {"model": "m", **HI}
        request = openai.provider.requests[-1]
        assert (request.method, request.target) == ("POST", "/v1/chat/completions")
        assert "Authorization" not in request.headers
        assert request.headers["Accept-Encoding"] == "identity"

    def test_parameters(self, openai: Chats) -> None:
        openai.provider.answer(completed("Hello"))
        parameters: dict[str, Any] = {
            "temperature": 0.25,
            "top_p": 0.5,
            "max_tokens": 7,
            "stop": ["a", "b"],
            "presence_penalty": -0.5,
            "frequency_penalty": 2,
        }
        other = {"seed": 7, "response_format": {"type": "json_object"}, "tool_choice": "none"}
        config = {**parameters, "other": other, "tools": [TOOL]}
        openai.ok(config=config, user="ada")
        assert openai.sent == {
            "model": "m",
            **HI,
            **parameters,
            **other,
            "user": "ada",
            "tools": [{"type": "function", "function": TOOL}],
        }
        log = openai.log
        assert log["provider_request"] == openai.sent
        assert log["provider_latency"] > 0

    def test_no_limit_is_not_sent(self, openai: Chats) -> None:
        openai.provider.answer(completed("Hello"))
        openai.ok(config={"max_tokens": -1, "stop": "x"})
        assert openai.sent == {"model": "m", **HI, "stop": "x"}

    def test_the_chat_template_and_tools_that_were_called(self, openai: Chats) -> None:
        openai.provider.answer(completed("Cold."))
        call = {"name": "get_weather", "arguments": {"city": "Oslo"}}
        config = {"chat_template": [{"role": "system", "content": "Be {{ how }}."}]}
        messages = [
            {"role": "user", "content": "Cold?", "name": "ada"},
            {"role": "assistant", "tool_call": call},
            {"role": "tool", "name": "get_weather", "content": "-3"},
            {"role": "assistant", "content": "", "tool_calls": [CALL]},
            {"role": "tool", "content": "-4", "name": None},
        ]
        openai.ok(config=config, inputs={"how": "brief"}, messages=messages)
        first = {"name": "get_weather", "arguments": '{"city":"Oslo"}'}
        assert openai.sent["messages"] == [
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": "Cold?", "name": "ada"},
            {
                "role": "assistant",
                "tool_calls": [{"id": "call_2", "type": "function", "function": first}],
            },
            {"role": "tool", "tool_call_id": "call_2", "content": "-3"},
            {"role": "assistant", "content": "", "tool_calls": [CALL]},
            {"role": "tool", "tool_call_id": "call_a", "content": "-4"},
        ]

    def test_a_completion(self, openai: Chats) -> None:
        choice = {"index": 0, "text": " upon a time", "finish_reason": "length"}
        openai.provider.answer({"object": "text_completion", "choices": [choice]})
        config = {"model": "m", "prompt_template": "Once", "max_tokens": 3}
        body = {"project": "p", "model_config": config, "logprobs": 2, "suffix": "."}
        answer = openai.api.ok("POST", "/completion", body)
        assert openai.provider.requests[-1].target == "/v1/completions"
        assert openai.sent == {
            "model": "m",
            "prompt": "Once",
            "max_tokens": 3,
            "logprobs": 2,
            "suffix": ".",
        }
        assert answer["data"][0]["output"] == "upon a time"
        assert answer["data"][0]["finish_reason"] == "length"
        config["endpoint"] = "chat"
        openai.provider.answer(completed("x"))
        openai.api.ok("POST", "/completion", {**body, "stream": False})
        assert openai.sent["messages"] == [{"role": "user", "content": "Once"}]
        assert (openai.sent["logprobs"], openai.sent["top_logprobs"]) == (True, 2)

    @pytest.mark.parametrize("key", ["stream", "model", "messages", "n"])
    def test_other_can_t_set_what_the_server_decides(self, openai: Chats, key: str) -> None:
        count = len(openai.provider.requests)
        assert (
            openai.failed(config={"other": {key: 1}}) == f"the config's `other` can't set {key!r}"
        )
        assert len(openai.provider.requests) == count


class TestSamples:
    """Several samples of one call."""

    def test_they_are_asked_for_at_once(self, openai: Chats) -> None:
        openai.provider.answer(completed("one", "two", "three"))
        before = len(openai.provider.requests)
        answer = openai.ok(num_samples=3)
        assert len(openai.provider.requests) == before + 1
        assert openai.sent["n"] == 3
        assert [each["output"] for each in answer["data"]] == ["one", "two", "three"]
        assert [each["index"] for each in answer["data"]] == [0, 1, 2]
        assert answer["usage"] == {
            "prompt_tokens": 5,
            "generation_tokens": 6,
            "total_tokens": 11,
        }
        logs = records(openai.api, "p")[-3:]
        assert [each["output"] for each in logs] == ["one", "two", "three"]
        assert all(each["provider_request"] == openai.sent for each in logs)
        texts = [each["provider_response"]["choices"][0]["message"]["content"] for each in logs]
        assert texts == ["one", "two", "three"]

    def test_what_does_not_come_at_once_is_asked_for_again(self, openai: Chats) -> None:
        openai.provider.answer_in_turn(
            *[openai.provider.sending(response(json.dumps(completed(t)).encode())) for t in "ab"]
        )
        answer = openai.ok(num_samples=2)
        assert [each["output"] for each in answer["data"]] == ["a", "b"]
        assert "n" not in openai.sent

    def test_a_model_that_refuses_n_is_asked_one_by_one(self, openai: Chats) -> None:
        one = openai.provider.sending(response(json.dumps(completed("x")).encode()))
        refusal = said("'n' : number must be at most 1", param="n")
        openai.provider.answer_in_turn(openai.provider.sending(refusal), one)
        before = len(openai.provider.requests)
        assert len(openai.ok(num_samples=2, config={"model": "one"})["data"]) == 2
        assert len(openai.provider.requests) == before + 3

    def test_an_experiment_asks_for_those_of_each_config(self, openai: Chats) -> None:
        openai.provider.answer(completed(*"abcdefgh"))
        experiment = Experiment(openai.api, "e")
        body = {"project": "e", "experiment_id": experiment.id, "num_samples": 4}
        assert len(openai.api.ok("POST", "/completion-experiment", body)["data"]) == 4


class TestAnswers:
    """What becomes of an answer."""

    def test_a_call_of_a_tool(self, openai: Chats) -> None:
        body = completed("", tool_calls=[CALL, {**CALL, "id": "call_b"}])
        body["choices"][0]["message"]["content"] = None
        body["choices"][0]["finish_reason"] = "tool_calls"
        openai.provider.answer(body)
        answer = openai.ok(config={"tools": [TOOL]})
        ChatResponse(answer)
        [data] = answer["data"]
        call = {"name": "get_weather", "arguments": '{"city":"Oslo"}', "id": "call_a"}
        assert data["tool_call"] == call
        assert data["tool_calls"] == [call, {**call, "id": "call_b"}]
        assert (data["output"], data["finish_reason"]) == ("", "tool_calls")
        openai.provider.answer(completed("Cold."))
        told = [
            *HI["messages"],
            {"role": "assistant", "tool_call": data["tool_call"]},
            {"role": "tool", "name": "get_weather", "content": "-3"},
        ]
        openai.ok(messages=told)
        assert openai.sent["messages"][1]["tool_calls"] == [CALL]
        assert openai.sent["messages"][2]["tool_call_id"] == "call_a"

    def test_a_refusal_and_parts_are_text(self, openai: Chats) -> None:
        openai.provider.answer(completed("", refusal="I can't."))
        assert openai.ok()["data"][0]["output"] == "I can't."
        parts: Any = [{"type": "text", "text": "a"}, {"type": "x"}, {"type": "text", "text": "b"}]
        openai.provider.answer(completed(parts))
        assert openai.ok()["data"][0]["output"] == "ab"

    def test_usage_that_is_not_told_is_left_out(self, openai: Chats) -> None:
        body = completed("x")
        del body["usage"]
        openai.provider.answer(body)
        assert "usage" not in openai.ok()

    @pytest.mark.parametrize(
        "body", [{}, [], "x", None, {"choices": []}, {"choices": None}, {"choices": "x"}]
    )
    def test_an_answer_without_choices_is_an_error(self, openai: Chats, body: Any) -> None:
        openai.provider.answer(json.dumps(body).encode())
        assert openai.failed().startswith("the answer has no choices")

    @pytest.mark.parametrize(
        "choice", [{}, {"message": None}, {"message": {"content": 5, "tool_calls": [1, {}]}}, 5]
    )
    def test_what_is_odd_in_a_choice_is_passed_over(self, openai: Chats, choice: Any) -> None:
        openai.provider.answer({"choices": [choice]})
        assert openai.ok()["data"][0]["output"] == ""


class TestAnotherWay:
    """Refusals after which a model is asked in another way."""

    def test_the_limit_of_models_that_reason(self, openai: Chats) -> None:
        text = "Unsupported parameter: 'max_tokens' is not supported with this model. Use"
        refusal = said(f"{text} 'max_completion_tokens' instead.", code="unsupported_parameter")
        fine = openai.provider.sending(response(json.dumps(completed("x")).encode()))
        openai.provider.answer_in_turn(openai.provider.sending(refusal), fine)
        before = len(openai.provider.requests)
        config = {"model": "o9", "max_tokens": 5}
        assert openai.ok(config=config)["data"][0]["output"] == "x"
        wanted = {"model": "o9", **HI, "max_completion_tokens": 5}
        assert openai.sent == openai.log["provider_request"] == wanted
        openai.ok(config=config)
        assert openai.sent == wanted
        assert len(openai.provider.requests) == before + 3
        openai.ok(config={"max_tokens": 5})
        assert openai.sent["max_tokens"] == 5

    def test_a_chat_model_that_is_to_complete(self, openai: Chats) -> None:
        text = "This is a chat model. Did you mean to use v1/chat/completions?"
        fine = openai.provider.sending(response(json.dumps(completed("x")).encode()))
        openai.provider.answer_in_turn(openai.provider.sending(said(text, 404)), fine)
        config = {"model": "gpt-4", "prompt_template": "Once"}
        body = {"project": "p", "model_config": config}
        assert openai.api.ok("POST", "/completion", body)["data"][0]["output"] == "x"
        assert openai.sent["messages"] == [{"role": "user", "content": "Once"}]

    def test_a_server_that_does_not_know_stream_options(self, openai: Chats) -> None:
        refusal = openai.provider.sending(said("unknown field stream_options", 422))
        openai.provider.answer_in_turn(refusal, openai.provider.sending(HELLO))
        found = events(openai.chat(stream=True, config={"model": "old"}))
        assert [each["data"][0]["output"] for each in found] == ["Hel", "lo", ""]

    def test_another_refusal_is_final(self, openai: Chats) -> None:
        openai.provider.send_raw(said("Unsupported value: 'temperature'", param="temperature"))
        before = len(openai.provider.requests)
        text = openai.failed(config={"temperature": 0.1, "max_tokens": 3})
        assert text == "400 Bad Request: Unsupported value: 'temperature'"
        assert len(openai.provider.requests) == before + 1
        assert openai.log["provider_request"] == openai.sent


class TestStreams:
    """Answers that come in parts."""

    def test_pieces_and_the_end(self, openai: Chats) -> None:
        openai.provider.send_raw(
            streamed(
                event({"choices": [], "prompt_filter_results": []}),
                delta("", role="assistant"),
                b": a comment\n\n",
                delta("Hel"),
                delta("lo"),
                delta(reasoning_content="hm"),
                delta(finish="length"),
                USAGE,
                DONE,
            )
        )
        found = events(openai.chat(stream=True))
        assert [each["data"][0]["output"] for each in found] == ["Hel", "lo", ""]
        assert openai.sent["stream"] is True
        assert openai.sent["stream_options"] == {"include_usage": True}
        assert found[-1]["usage"] == {
            "prompt_tokens": 5,
            "generation_tokens": 2,
            "total_tokens": 7,
        }
        [whole] = found[-1]["provider_responses"]
        [choice] = whole["choices"]
        assert choice["message"] == {
            "role": "assistant",
            "content": "Hello",
            "reasoning_content": "hm",
        }
        assert (whole["object"], choice["finish_reason"]) == ("chat.completion", "length")
        log = openai.log
        assert (log["output"], log["finish_reason"]) == ("Hello", "length")
        assert log["provider_response"] == whole

    def test_calls_of_tools_in_parts(self, openai: Chats) -> None:
        first = {"index": 0, "id": "call_a", "type": "function"}
        openai.provider.send_raw(
            streamed(
                delta(tool_calls=[{**first, "function": {"name": "get_weather", "arguments": ""}}]),
                delta(tool_calls=[{"index": 0, "function": {"arguments": '{"city":'}}]),
                delta(tool_calls=[{"index": 1, "id": "b", "function": {"name": "t"}}]),
                delta(tool_calls=[{"index": 0, "function": {"arguments": '"Oslo"}'}}]),
                delta(finish="tool_calls"),
                DONE,
            )
        )
        last = events(openai.chat(stream=True))[-1]
        [data] = last["data"]
        call = {"name": "get_weather", "arguments": '{"city":"Oslo"}', "id": "call_a"}
        assert data["tool_call"] == call
        assert data["tool_calls"][1] == {"name": "t", "arguments": "", "id": "b"}
        kept = last["provider_responses"][0]["choices"][0]["message"]["tool_calls"]
        assert kept[0] == CALL

    def test_a_completion_in_parts(self, openai: Chats) -> None:
        parts = [{"choices": [{"index": 0, "text": each}]} for each in (" a", "b ")]
        last = {"choices": [{"index": 0, "text": "", "finish_reason": "stop"}]}
        openai.provider.send_raw(streamed(*map(event, [*parts, last]), DONE))
        config = {"model": "m", "prompt_template": "x"}
        body = {"project": "p", "model_config": config, "stream": True}
        found = events(openai.api.call("POST", "/completion", body))
        assert [each["data"][0]["raw_output"] for each in found] == [" a", "b ", ""]
        assert openai.log["provider_response"]["choices"][0]["text"] == " ab "

    def test_a_server_that_does_not_stream(self, openai: Chats) -> None:
        openai.provider.answer(completed("Hello"))
        found = events(openai.chat(stream=True))
        assert [each["data"][0]["output"] for each in found] == ["Hello", ""]

    def test_each_sample_is_a_stream_of_its_own(self, openai: Chats) -> None:
        openai.provider.send_raw(HELLO)
        found = events(openai.chat(stream=True, num_samples=2))
        assert [each["data"][0]["index"] for each in found] == [0, 0, 0, 1, 1, 1]
        assert "n" not in openai.sent

    def test_an_end_without_done_is_one_if_the_answer_is_complete(self, openai: Chats) -> None:
        openai.provider.send_raw(streamed(delta("x"), delta(finish="stop")))
        assert events(openai.chat(stream=True))[-1]["data"][0]["finish_reason"] == "stop"

    @pytest.mark.parametrize(
        ("data", "error"),
        [
            (streamed(delta("Hel")), "the stream ended before the answer was complete"),
            (HEAD + chunk(delta("Hel")), "the connection failed: "),
            (HEAD + chunk(delta("Hel")) + chunk(DONE)[:-9], "the connection failed: "),
            (streamed(delta("Hel"), event("{no json")), "an event of the stream is not JSON: {no"),
            (streamed(delta("Hel"), event([])), "an event of the stream is not a JSON object"),
            (
                streamed(delta("Hel"), event({"error": {"message": "out of memory", "code": 5}})),
                "out of memory",
            ),
            (
                streamed(delta("Hel"), delta(tool_calls=[{"index": 7}])),
                "a tool call of the stream is out of order",
            ),
        ],
        ids=["ended", "dropped", "cut", "malformed", "array", "error", "order"],
    )
    def test_a_stream_that_fails_keeps_what_came(
        self, openai: Chats, data: bytes, error: str
    ) -> None:
        openai.provider.send_raw(data)
        answer = openai.chat(stream=True)
        *pieces, last = answer.text.strip().split("\n\n")
        assert len(pieces) == 1
        assert last.startswith("event: error\n")
        log = openai.log
        assert (log["output"], log["error"][: len(error)]) == ("Hel", error)
        assert "finish_reason" not in log
        assert log["provider_request"] == openai.sent
