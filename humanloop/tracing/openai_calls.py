"""The calls of OpenAI's API that ask a model: chat completions, responses, completions.

Source: OpenAI's API reference, which many other providers follow.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, Final

from humanloop.tracing.calls import Answer, JsonObject, items, part, tool_of, without

__all__ = ["CHAT", "COMPLETION", "RESPONSES"]

_SHARED = ("temperature", "top_p", "stop", "presence_penalty", "frequency_penalty")
_LIMITS = ("max_completion_tokens", "max_output_tokens", "max_tokens")
_ROLES = {"user": "user", "assistant": "assistant", "system": "system", "developer": "system"}


def _config(body: JsonObject, endpoint: str, *elsewhere: str) -> dict[str, Any]:
    """Return a config; what a config has no key for is in its `other`."""
    config: dict[str, Any] = {
        "type": "model",
        "model": str(body.get("model", "")),
        "provider": "openai",
        "endpoint": endpoint,
        **{key: body[key] for key in _SHARED if body.get(key) is not None},
    }
    limit = next((body[key] for key in _LIMITS if body.get(key) is not None), None)
    if limit is not None:
        config["max_tokens"] = limit
    tools = [
        tool_of(each.get("name", each.get("type")), each.get("description"), each.get("parameters"))
        for each in (part(tool.get("function")) or tool for tool in items(body.get("tools")))
    ]
    if tools:
        config["tools"] = tools
    known = ("model", "tools", "stream", "stream_options", "user", *_SHARED, *_LIMITS, *elsewhere)
    other = without(body, *known)
    return {**config, "other": other} if other else config


def _text(content: Any) -> str | None:
    """Return the text of a message; what is no text is named in its place."""
    if content is None or isinstance(content, str):
        return content
    texts = (each.get("text") or f"[{each.get('type', 'part')}]" for each in items(content))
    return "\n".join(map(str, texts))


def _message(given: JsonObject) -> dict[str, Any]:
    message: dict[str, Any] = {"role": _ROLES.get(str(given.get("role")), "tool")}
    text = _text(given.get("content", given.get("output")))
    if text is not None:
        message["content"] = text
    if isinstance(given.get("name"), str):
        message["name"] = given["name"]
    calls = [part(each.get("function")) for each in items(given.get("tool_calls"))]
    if calls:
        message["tool_call"] = _call(calls[0])
    if len(calls) > 1:
        message["tool_calls"] = [_call(each) for each in calls]
    return message


def _call(given: JsonObject) -> dict[str, Any]:
    return {"name": str(given.get("name", "")), "arguments": given.get("arguments")}


def _calls_text(calls: Sequence[JsonObject]) -> str | None:
    """Return the tools that a model calls, in place of a text."""
    return json.dumps([_call(each) for each in calls], ensure_ascii=False) if calls else None


def _metadata(body: JsonObject, finish_reason: Any) -> dict[str, Any]:
    found = {
        "finish_reason": finish_reason,
        "usage": body.get("usage"),
        "model": body.get("model"),
        "provider_id": body.get("id"),
    }
    return {key: value for key, value in found.items() if value is not None}


class _Completions:
    """What chat completions and completions share: choices, alone or in pieces."""

    provider: str = "openai"

    def answer(self, body: JsonObject) -> Sequence[Answer]:
        """Return the answer of each choice."""
        found = [
            Answer(self._output(choice), None, _metadata(body, choice.get("finish_reason")))
            for choice in items(body.get("choices"))
        ]
        return found or [Answer(metadata=_metadata(body, None))]

    def events(self, events: Sequence[JsonObject]) -> Sequence[Answer]:
        """Return the answer of each choice, whose pieces are put together."""
        whole: dict[str, Any] = {}
        choices: dict[int, dict[str, Any]] = {}
        for event in events:
            if event.get("error"):
                said = str(part(event["error"]).get("message", event["error"]))
                return [each.with_error(said) for each in self.answer(_joined(whole, choices))]
            whole |= without(event, "choices")
            for choice in items(event.get("choices")):
                _add(choices.setdefault(int(choice.get("index", 0)), {}), choice)
        return self.answer(_joined(whole, choices))

    def _output(self, choice: JsonObject) -> str | None:
        message = part(choice.get("message"))
        calls = [part(each.get("function")) for each in items(message.get("tool_calls"))]
        text = choice.get("text", _text(message.get("content")) or message.get("refusal"))
        return text or _calls_text(calls)


def _joined(whole: JsonObject, choices: Mapping[int, JsonObject]) -> dict[str, Any]:
    return {**whole, "choices": [choices[index] for index in sorted(choices)]}


def _add(choice: dict[str, Any], piece: JsonObject) -> None:
    """Add a piece of a stream to a choice."""
    if piece.get("finish_reason") is not None:
        choice["finish_reason"] = piece["finish_reason"]
    if isinstance(piece.get("text"), str):
        choice["text"] = choice.get("text", "") + piece["text"]
    delta = part(piece.get("delta"))
    if not delta:
        return
    message: dict[str, Any] = choice.setdefault("message", {"tool_calls": []})
    for key in ("content", "refusal"):
        if isinstance(delta.get(key), str):
            message[key] = message.get(key, "") + delta[key]
    for each in items(delta.get("tool_calls")):
        calls, index = message["tool_calls"], int(each.get("index", 0))
        while len(calls) <= index:
            calls.append({"function": {"name": "", "arguments": ""}})
        for key, value in part(each.get("function")).items():
            calls[index]["function"][key] = calls[index]["function"].get(key, "") + (value or "")


class _Chat(_Completions):
    def request(self, body: JsonObject) -> dict[str, Any]:
        """Return the keys of a log."""
        messages = [_message(each) for each in items(body.get("messages"))]
        return {"config": _config(body, "chat", "messages", "n"), "messages": messages}


class _Completion(_Completions):
    def request(self, body: JsonObject) -> dict[str, Any]:
        """Return the keys of a log."""
        config = _config(body, "complete", "prompt", "n")
        return {"config": config, "inputs": {"prompt": body.get("prompt")}}


class _Responses:
    provider: str = "openai"

    def request(self, body: JsonObject) -> dict[str, Any]:
        """Return the keys of a log."""
        given = body.get("input")
        asked = [{"role": "user", "content": given}] if isinstance(given, str) else items(given)
        if body.get("instructions"):
            asked = [{"role": "system", "content": body["instructions"]}, *asked]
        config = _config(body, "chat", "input", "instructions")
        return {"config": config, "messages": [_message(each) for each in asked]}

    def answer(self, body: JsonObject) -> Sequence[Answer]:
        """Return the one answer."""
        output = items(body.get("output"))
        pieces = [piece for each in output for piece in items(each.get("content"))]
        text = "".join(str(each.get("text") or each.get("refusal") or "") for each in pieces)
        calls = [each for each in output if each.get("type") == "function_call"]
        error = part(body.get("error")).get("message")
        metadata = _metadata(body, body.get("status"))
        return [Answer(text or _calls_text(calls), error, metadata)]

    def events(self, events: Sequence[JsonObject]) -> Sequence[Answer]:
        """Return the answer that the last event holds whole, or what came of it."""
        for event in reversed(events):
            if event.get("type") in {
                "response.completed",
                "response.incomplete",
                "response.failed",
            }:
                return self.answer(part(event.get("response")))
        texts = (e.get("delta") for e in events if e.get("type") == "response.output_text.delta")
        errors = (e.get("message") for e in events if e.get("type") == "error")
        error = next((str(each) for each in errors), None)
        return [Answer("".join(map(str, texts)) or None, error)]


CHAT: Final = _Chat()
COMPLETION: Final = _Completion()
RESPONSES: Final = _Responses()
