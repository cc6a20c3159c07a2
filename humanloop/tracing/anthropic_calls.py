"""The model calls of Anthropic's API. Source: Anthropic's reference of the Messages API."""

from __future__ import annotations

import json
from collections.abc import Sequence
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

__all__ = ["MESSAGES"]

_PROVIDER = "anthropic"
_SHARED = ("temperature", "top_p", "max_tokens")
_CALLS = ("tool_use", "server_tool_use")
_KNOWN = ("messages", "system", "stop_sequences", "metadata", *_SHARED)


def _config(body: JsonObject) -> dict[str, Any]:
    parameters = {key: body.get(key) for key in _SHARED}
    parameters["stop"] = body.get("stop_sequences") or None
    tools = [
        tool_of(each.get("name"), each.get("description"), each.get("input_schema"))
        for each in objects(body.get("tools"))
    ]
    return config_of("chat", body, parameters, tools, _KNOWN)


def _messages(body: JsonObject) -> list[dict[str, Any]]:
    system = body.get("system")
    found = [{"role": "system", "content": _text(system)}] if system else []
    for each in objects(body.get("messages")):
        found += _parts(str(each.get("role", "user")), each.get("content"))
    return found


def _parts(role: str, content: Any) -> list[dict[str, Any]]:
    """Return the messages of a log for one of Anthropic's: a tool's result is its own message."""
    blocks = objects(content)
    results = [each for each in blocks if each.get("type") == "tool_result"]
    found = [{"role": "tool", "content": _text(each.get("content"))} for each in results]
    said = [each for each in blocks if each.get("type") not in {"tool_result", *_CALLS}]
    text = _text(said if blocks else content)
    calls = _calls(blocks)
    if text or calls or not found:
        found.append(with_calls({"role": role, "content": text}, calls))
    return found


def _text(content: Any) -> str:
    return content if isinstance(content, str) else text_of(content)


def _calls(blocks: Sequence[JsonObject]) -> list[Call]:
    return [
        {"name": str(each.get("name", "")), "arguments": each.get("input")}
        for each in blocks
        if each.get("type") in _CALLS
    ]


class _Messages:
    provider: str = _PROVIDER

    def request(self, body: JsonObject) -> dict[str, Any]:
        """Return the keys of a log."""
        return {"config": _config(body), "messages": _messages(body)}

    def answer(self, body: JsonObject) -> Sequence[Answer]:
        """Return the one answer."""
        blocks = objects(body.get("content"))
        text, thinking = (
            "".join(str(each.get(kind, "")) for each in blocks if each.get("type") == kind)
            for kind in ("text", "thinking")
        )
        return [answer_of(body, body.get("stop_reason"), text, _calls(blocks), thinking)]

    def events(self, events: Sequence[JsonObject]) -> Sequence[Answer]:
        """Return the answer, joined from its pieces."""
        whole: dict[str, Any] = {}
        blocks: dict[int, dict[str, Any]] = {}
        error = ""
        for event in events:
            kind, index = event.get("type"), int(event.get("index", 0))
            if kind == "message_start":
                whole = dict(as_object(event.get("message")))
            elif kind == "content_block_start":
                blocks[index] = dict(as_object(event.get("content_block")))
            elif kind == "content_block_delta":
                _add(blocks.setdefault(index, {}), as_object(event.get("delta")))
            elif kind == "message_delta":
                whole |= without(as_object(event.get("delta")))
                whole["usage"] = {**as_object(whole.get("usage")), **as_object(event.get("usage"))}
            elif kind == "error":
                error = str(as_object(event.get("error")).get("message", "error"))
        for block in blocks.values():
            _complete(block)
        whole["content"] = [blocks[index] for index in sorted(blocks)]
        return [each.with_error(error) for each in self.answer(whole)]


def _add(block: dict[str, Any], delta: JsonObject) -> None:
    """Add a piece of a stream to a block."""
    for kind, key in (("text_delta", "text"), ("thinking_delta", "thinking")):
        if delta.get("type") == kind:
            block[key] = str(block.get(key) or "") + str(delta.get(key, ""))
    if delta.get("type") == "input_json_delta":
        block["json"] = block.get("json", "") + str(delta.get("partial_json", ""))


def _complete(block: dict[str, Any]) -> None:
    """Decode a tool's input, joined from its pieces, unless it was cut off."""
    if block.get("json"):
        pieces = block.pop("json")
        try:
            block["input"] = json.loads(pieces)
        except ValueError:
            block["input"] = pieces


MESSAGES: Final = _Messages()
