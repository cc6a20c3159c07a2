"""The calls of Anthropic's API that ask a model. Source: its reference of the Messages API."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, Final

from humanloop.tracing.calls import Answer, JsonObject, items, part, tool_of, without

__all__ = ["MESSAGES"]


def _config(body: JsonObject) -> dict[str, Any]:
    config: dict[str, Any] = {
        "type": "model",
        "model": str(body.get("model", "")),
        "provider": "anthropic",
        "endpoint": "chat",
        **{key: body[key] for key in ("temperature", "top_p", "max_tokens") if key in body},
    }
    if body.get("stop_sequences"):
        config["stop"] = body["stop_sequences"]
    tools = [
        tool_of(each.get("name"), each.get("description"), each.get("input_schema"))
        for each in items(body.get("tools"))
    ]
    if tools:
        config["tools"] = tools
    known = ("model", "messages", "system", "stream", "stop_sequences", "tools", "metadata")
    other = without(body, *known, "temperature", "top_p", "max_tokens")
    return {**config, "other": other} if other else config


def _messages(body: JsonObject) -> list[dict[str, Any]]:
    system = body.get("system")
    found = [{"role": "system", "content": _text(system)}] if system else []
    for each in items(body.get("messages")):
        found += _parts(str(each.get("role", "user")), each.get("content"))
    return found


def _parts(role: str, content: Any) -> list[dict[str, Any]]:
    """Return the messages for one of theirs: what tools have answered is a message of its own."""
    blocks = items(content)
    results = [each for each in blocks if each.get("type") == "tool_result"]
    found = [{"role": "tool", "content": _text(each.get("content"))} for each in results]
    text = _text([each for each in blocks if each not in results] if blocks else content)
    calls = [_call(each) for each in blocks if each.get("type") == "tool_use"]
    if text or calls or not found:
        message: dict[str, Any] = {"role": role, "content": text}
        if calls:
            message["tool_call"] = calls[0]
        if len(calls) > 1:
            message["tool_calls"] = calls
        found.append(message)
    return found


def _text(content: Any) -> str:
    """Return the text of a message; what is no text is named in its place."""
    if isinstance(content, str):
        return content
    texts = [
        each.get("text") or f"[{each.get('type', 'part')}]"
        for each in items(content)
        if each.get("type") != "tool_use"
    ]
    return "\n".join(map(str, texts))


def _call(block: JsonObject) -> dict[str, Any]:
    return {"name": str(block.get("name", "")), "arguments": block.get("input")}


class _Messages:
    provider: str = "anthropic"

    def request(self, body: JsonObject) -> dict[str, Any]:
        """Return the keys of a log."""
        return {"config": _config(body), "messages": _messages(body)}

    def answer(self, body: JsonObject) -> Sequence[Answer]:
        """Return the one answer."""
        blocks = items(body.get("content"))
        text = "".join(str(each.get("text", "")) for each in blocks if each.get("type") == "text")
        calls = [_call(each) for each in blocks if each.get("type") == "tool_use"]
        found = {
            "finish_reason": body.get("stop_reason"),
            "usage": body.get("usage"),
            "model": body.get("model"),
            "provider_id": body.get("id"),
        }
        metadata = {key: value for key, value in found.items() if value is not None}
        output = text or (json.dumps(calls, ensure_ascii=False) if calls else None)
        return [Answer(output, None, metadata)]

    def events(self, events: Sequence[JsonObject]) -> Sequence[Answer]:
        """Return the answer, whose pieces are put together."""
        whole: dict[str, Any] = {}
        blocks: dict[int, dict[str, Any]] = {}
        error = ""
        for event in events:
            kind, index = event.get("type"), int(event.get("index", 0))
            if kind == "message_start":
                whole = dict(part(event.get("message")))
            elif kind == "content_block_start":
                blocks[index] = dict(part(event.get("content_block")))
            elif kind == "content_block_delta":
                _add(blocks.setdefault(index, {}), part(event.get("delta")))
            elif kind == "content_block_stop":
                _complete(blocks.get(index, {}))
            elif kind == "message_delta":
                whole |= without(part(event.get("delta")))
                whole["usage"] = {**part(whole.get("usage")), **part(event.get("usage"))}
            elif kind == "error":
                error = str(part(event.get("error")).get("message", "error"))
        whole["content"] = [blocks[index] for index in sorted(blocks)]
        return [each.with_error(error) for each in self.answer(whole)]


def _add(block: dict[str, Any], delta: JsonObject) -> None:
    """Add a piece of a stream to a block."""
    if delta.get("type") == "text_delta":
        block["type"] = "text"
        block["text"] = block.get("text", "") + str(delta.get("text", ""))
    elif delta.get("type") == "input_json_delta":
        block["json"] = block.get("json", "") + str(delta.get("partial_json", ""))


def _complete(block: dict[str, Any]) -> None:
    """Decode what the pieces of a tool's input have become together."""
    if block.get("json"):
        block["input"] = json.loads(block.pop("json"))


MESSAGES: Final = _Messages()
