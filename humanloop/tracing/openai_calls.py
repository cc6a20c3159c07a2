"""The calls of OpenAI's API that ask a model: chat completions, responses, completions.

Source: OpenAI's API reference, which many other providers follow.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from humanloop.decoded import JsonObject, as_object
from humanloop.tracing.calls import (
    Answer,
    Call,
    calls_text,
    config_of,
    metadata_of,
    objects,
    text_of,
    tool_of,
    with_calls,
    without,
)

__all__ = ["CHAT", "COMPLETION", "RESPONSES"]

_PROVIDER = "openai"
_SHARED = ("temperature", "top_p", "stop", "presence_penalty", "frequency_penalty")
_LIMITS = ("max_completion_tokens", "max_output_tokens", "max_tokens")
_KNOWN = ("stream_options", "user", *_SHARED, *_LIMITS)
_ROLES = {"user": "user", "assistant": "assistant", "system": "system", "developer": "system"}


def _config(body: JsonObject, endpoint: str, *elsewhere: str) -> dict[str, Any]:
    """Return a config. elsewhere: the keys of the body that are logged beside it."""
    parameters = {key: body.get(key) for key in _SHARED}
    parameters["max_tokens"] = next((body[k] for k in _LIMITS if body.get(k) is not None), None)
    tools = [
        tool_of(each.get("name", each.get("type")), each.get("description"), each.get("parameters"))
        for each in (as_object(tool.get("function")) or tool for tool in objects(body.get("tools")))
    ]
    return config_of(_PROVIDER, endpoint, body, parameters, tools, (*_KNOWN, *elsewhere))


def _text(content: Any) -> str | None:
    return content if content is None or isinstance(content, str) else text_of(content)


def _message(given: JsonObject) -> dict[str, Any]:
    message: dict[str, Any] = {"role": _ROLES.get(str(given.get("role")), "tool")}
    text = _text(given.get("content", given.get("output")))
    if text is not None:
        message["content"] = text
    if isinstance(given.get("name"), str):
        message["name"] = given["name"]
    return with_calls(message, _calls(given))


def _calls(message: JsonObject) -> list[Call]:
    functions = (as_object(each.get("function")) for each in objects(message.get("tool_calls")))
    return [_call(each) for each in functions]


def _call(function: JsonObject) -> Call:
    return {"name": str(function.get("name", "")), "arguments": function.get("arguments")}


class _Completions:
    """What chat completions and completions share: choices, alone or in pieces."""

    provider: str = _PROVIDER

    def answer(self, body: JsonObject) -> Sequence[Answer]:
        """Return the answer of each choice."""
        found = [
            Answer(self._output(choice), None, metadata_of(body, choice.get("finish_reason")))
            for choice in objects(body.get("choices"))
        ]
        return found or [Answer(metadata=metadata_of(body, None))]

    def events(self, events: Sequence[JsonObject]) -> Sequence[Answer]:
        """Return the answer of each choice, whose pieces are put together."""
        whole: dict[str, Any] = {}
        choices: dict[int, dict[str, Any]] = {}
        for event in events:
            if event.get("error"):
                said = str(as_object(event["error"]).get("message", event["error"]))
                return [each.with_error(said) for each in self.answer(_joined(whole, choices))]
            whole |= without(event, "choices")
            for choice in objects(event.get("choices")):
                _add(choices.setdefault(int(choice.get("index", 0)), {}), choice)
        return self.answer(_joined(whole, choices))

    def _output(self, choice: JsonObject) -> str | None:
        message = as_object(choice.get("message"))
        text = choice.get("text", _text(message.get("content")) or message.get("refusal"))
        return text or calls_text(_calls(message))


def _joined(whole: JsonObject, choices: Mapping[int, JsonObject]) -> dict[str, Any]:
    return {**whole, "choices": [choices[index] for index in sorted(choices)]}


def _add(choice: dict[str, Any], piece: JsonObject) -> None:
    """Add a piece of a stream to a choice."""
    if piece.get("finish_reason") is not None:
        choice["finish_reason"] = piece["finish_reason"]
    if isinstance(piece.get("text"), str):
        choice["text"] = choice.get("text", "") + piece["text"]
    delta = as_object(piece.get("delta"))
    if not delta:
        return
    message: dict[str, Any] = choice.setdefault("message", {"tool_calls": []})
    for key in ("content", "refusal"):
        if isinstance(delta.get(key), str):
            message[key] = message.get(key, "") + delta[key]
    for each in objects(delta.get("tool_calls")):
        calls, index = message["tool_calls"], int(each.get("index", 0))
        while len(calls) <= index:
            calls.append({"function": {"name": "", "arguments": ""}})
        for key, value in as_object(each.get("function")).items():
            calls[index]["function"][key] = calls[index]["function"].get(key, "") + (value or "")


class _Chat(_Completions):
    def request(self, body: JsonObject) -> dict[str, Any]:
        """Return the keys of a log."""
        messages = [_message(each) for each in objects(body.get("messages"))]
        return {"config": _config(body, "chat", "messages", "n"), "messages": messages}


class _Completion(_Completions):
    def request(self, body: JsonObject) -> dict[str, Any]:
        """Return the keys of a log."""
        config = _config(body, "complete", "prompt", "n")
        return {"config": config, "inputs": {"prompt": body.get("prompt")}}


class _Responses:
    provider: str = _PROVIDER

    def request(self, body: JsonObject) -> dict[str, Any]:
        """Return the keys of a log."""
        given = body.get("input")
        asked = [{"role": "user", "content": given}] if isinstance(given, str) else objects(given)
        if body.get("instructions"):
            asked = [{"role": "system", "content": body["instructions"]}, *asked]
        config = _config(body, "chat", "input", "instructions")
        return {"config": config, "messages": [_message(each) for each in asked]}

    def answer(self, body: JsonObject) -> Sequence[Answer]:
        """Return the one answer."""
        output = objects(body.get("output"))
        pieces = [piece for each in output for piece in objects(each.get("content"))]
        text = "".join(str(each.get("text") or each.get("refusal") or "") for each in pieces)
        calls = [_call(each) for each in output if each.get("type") == "function_call"]
        error = as_object(body.get("error")).get("message")
        metadata = metadata_of(body, body.get("status"))
        return [Answer(text or calls_text(calls), error, metadata)]

    def events(self, events: Sequence[JsonObject]) -> Sequence[Answer]:
        """Return the answer that the last event holds whole, or what came of it."""
        for event in reversed(events):
            if event.get("type") in {
                "response.completed",
                "response.incomplete",
                "response.failed",
            }:
                return self.answer(as_object(event.get("response")))
        texts = (e.get("delta") for e in events if e.get("type") == "response.output_text.delta")
        errors = (e.get("message") for e in events if e.get("type") == "error")
        error = next((str(each) for each in errors), None)
        return [Answer("".join(map(str, texts)) or None, error)]


CHAT: Final = _Chat()
COMPLETION: Final = _Completion()
RESPONSES: Final = _Responses()
