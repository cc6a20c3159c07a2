"""The model calls of OpenAI's API: chat completions, responses, completions.

Source: OpenAI's API reference, which many other providers follow.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from humanloop.decoded import JsonObject, as_object
from humanloop.tracing.calls import (
    Answer,
    Call,
    answer_of,
    config_of,
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
_CALLS = ("function_call", "custom_tool_call")
_THOUGHTS = ("reasoning", "item_reference", "compaction")
_REASONING = ("reasoning_content", "reasoning")
"""Other providers' keys for a model's reasoning."""
_ROLES = {"user": "user", "assistant": "assistant", "system": "system", "developer": "system"}


def _config(body: JsonObject, endpoint: str, *elsewhere: str) -> dict[str, Any]:
    """Return a config. elsewhere: keys of the body that are logged outside of the config."""
    parameters = {key: body.get(key) for key in _SHARED}
    parameters["max_tokens"] = next((body[k] for k in _LIMITS if body.get(k) is not None), None)
    tools = [
        tool_of(each.get("name", each.get("type")), each.get("description"), each.get("parameters"))
        for each in map(_inner, objects(body.get("tools")))
    ]
    return config_of(endpoint, body, parameters, tools, (*_KNOWN, *elsewhere))


def _inner(tool: JsonObject) -> JsonObject:
    """Return the object under the type of a tool or a call; a flat one is returned as it is."""
    return as_object(tool.get("function")) or as_object(tool.get("custom")) or tool


def _text(content: Any) -> str | None:
    return content if content is None or isinstance(content, str) else text_of(content)


def _message(given: JsonObject) -> dict[str, Any]:
    if given.get("type") in _CALLS:  # an item of the input of a response
        return with_calls({"role": "assistant"}, [_call(given)])
    kind = given.get("type", "message")
    role = _ROLES.get(str(given.get("role")), "tool")
    message: dict[str, Any] = {"role": "assistant" if kind in _THOUGHTS else role}
    text = _text(given.get("content", given.get("output")))
    if text is None and kind != "message":
        text = f"[{kind}]"
    if text is not None:
        message["content"] = text
    if isinstance(given.get("name"), str):
        message["name"] = given["name"]
    return with_calls(message, _calls(given))


def _calls(message: JsonObject) -> list[Call]:
    alone = as_object(message.get("function_call"))  # the older form, with one call
    return [_call(_inner(each)) for each in objects(message.get("tool_calls")) or [alone] if each]


def _call(function: JsonObject) -> Call:
    arguments = function.get("arguments", function.get("input"))
    return {"name": str(function.get("name", "")), "arguments": arguments}


class _Completions:
    """The common part of chat completions and completions: choices, whole or in pieces."""

    provider: str = _PROVIDER

    def answer(self, body: JsonObject) -> Sequence[Answer]:
        """Return the answer of each choice."""
        found = [
            self._answer(body, choice, as_object(choice.get("message")))
            for choice in objects(body.get("choices"))
        ]
        return found or [answer_of(body, None, "", [])]

    def events(self, events: Sequence[JsonObject]) -> Sequence[Answer]:
        """Return the answer of each choice, joined from its pieces."""
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

    def _answer(self, body: JsonObject, choice: JsonObject, message: JsonObject) -> Answer:
        text = choice.get("text") or _text(message.get("content")) or message.get("refusal")
        texts = (message[key] for key in _REASONING if isinstance(message.get(key), str))
        calls = _calls(message)
        return answer_of(body, choice.get("finish_reason"), text or "", calls, next(texts, ""))


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
    _extend(message, {key: delta.get(key) for key in ("content", "refusal", *_REASONING)})
    if delta.get("function_call"):
        _extend(message.setdefault("function_call", {}), as_object(delta["function_call"]))
    for each in objects(delta.get("tool_calls")):
        _extend(_called(message["tool_calls"], each), _inner(each))


def _called(calls: list[dict[str, Any]], piece: JsonObject) -> dict[str, Any]:
    """Return the call of a piece; some providers send whole calls without an index."""
    index = piece.get("index")
    for call in calls:
        if index is not None and call["index"] == index:
            return call
    if index is None and calls and not piece.get("id"):
        return calls[-1]
    calls.append({"index": index})
    return calls[-1]


def _extend(texts: dict[str, Any], pieces: JsonObject) -> None:
    """Append pieces to the texts of their keys."""
    for key, piece in pieces.items():
        if isinstance(piece, str):
            texts[key] = texts.get(key, "") + piece
        elif piece is not None and key != "index":
            texts[key] = piece


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
        text = "".join(
            str(each.get("text") or each.get("refusal") or "")
            for each in pieces
            if each.get("type") != "reasoning_text"
        )
        thoughts = [
            str(part.get("text", ""))
            for each in output
            if each.get("type") == "reasoning"
            for part in objects(each.get("summary")) + objects(each.get("content"))
        ]
        calls = [_call(each) for each in output if each.get("type") in _CALLS]
        error = as_object(body.get("error")).get("message")
        answer = answer_of(body, body.get("status"), text, calls, "\n".join(thoughts))
        return [answer.with_error(str(error or ""))]

    def events(self, events: Sequence[JsonObject]) -> Sequence[Answer]:
        """Return the whole answer in the last event; if that is missing, the text that came."""
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
