"""The wire of Anthropic's Messages API.

Source: https://docs.anthropic.com/en/api/messages and .../messages-streaming, version 2023-06-01.
Anthropic returns one sample per request. Parameters that it lacks, such as `presence_penalty`, are
sent unchanged if a config sets them: its refusal is clearer than silently dropping them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from humanloop import schemas
from humanloop.decoded import JsonObject, as_count, as_list, as_object, as_text
from humanloop.server.generation.providers import Ending, ProviderError, ProviderRequest
from humanloop.server.generation.wires import (
    Answer,
    Ask,
    Pieces,
    arguments_object,
    call_ids,
    check_other,
    decode,
    error_message,
    raise_error,
)

VERSION = "2023-06-01"

MAX_TOKENS = 4096
"""The `max_tokens` of a config that sets none. Anthropic requires one, and all its models allow
this.
"""

_RESERVED = frozenset({"model", "messages", "system", "stream"})
_FINISH_REASONS = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "max_tokens": "length",
    "tool_use": "tool_calls",
}
_PARTS = {"text_delta": "text", "thinking_delta": "thinking", "signature_delta": "signature"}


class Anthropic:
    """The wire of Anthropic."""

    def headers(self, key: str | None) -> dict[str, str]:
        """Return the header fields for authentication and the API's version."""
        return {"anthropic-version": VERSION, **({} if key is None else {"x-api-key": key})}

    def ask(self, request: ProviderRequest) -> Ask:
        """Return the request to send; a prompt becomes one user message."""
        check_other(request, _RESERVED)
        parameters = dict(request.parameters)
        tools, stop = parameters.pop("tools", None), parameters.pop("stop", None)
        user = parameters.pop("user", None)
        messages = request.messages
        if messages is None:
            messages = [{"role": "user", "content": request.prompt}]
        body: dict[str, Any] = {
            "model": request.model,
            "max_tokens": MAX_TOKENS,
            "messages": _messages(messages),
        }
        if system := [as_text(each.get("content")) for each in messages if _is_system(each)]:
            body["system"] = "\n\n".join(system)
        body |= parameters
        if stop:
            body["stop_sequences"] = [stop] if isinstance(stop, str) else stop
        if user is not None:
            body["metadata"] = {"user_id": user}
        if tools:
            body["tools"] = [_tool(each) for each in tools]
        body |= request.other
        if request.stream:
            body["stream"] = True
        return Ask("/messages", body)

    def amend(self, ask: Ask, said: str) -> Ask | None:
        """Return None: there is no other way to ask."""
        return None

    def answers(self, body: Any) -> list[Answer]:
        """Return the sample in the body of an answer."""
        whole = as_object(body)
        raise_error(whole)
        if not isinstance(whole.get("content"), list):
            raise ProviderError(f"the answer has no content: {schemas.to_json(body)[:100]}")
        return [_answer(whole)]

    def pieces(self) -> Pieces:
        """Return the reader of a stream."""
        event = yield ""
        message: dict[str, Any] = {}
        blocks: dict[int, dict[str, Any]] = {}
        while event is not None:
            value = as_object(decode(event.data, "an event of the stream"))
            kind = value.get("type")
            text = ""
            if kind == "error":
                raise ProviderError(error_message(event.data))
            if kind == "message_start":
                message = dict(as_object(value.get("message")))
            elif kind == "content_block_start":
                block = dict(as_object(value.get("content_block")))
                blocks[as_count(value.get("index")) or 0] = block
                text = _text(block)
            elif kind == "content_block_delta":
                delta = as_object(value.get("delta"))
                _add(blocks.setdefault(as_count(value.get("index")) or 0, {}), delta)
                text = as_text(delta.get("text"))
            elif kind == "message_delta":
                usage = {**as_object(message.get("usage")), **as_object(value.get("usage"))}
                message |= {**as_object(value.get("delta")), "usage": usage}
            elif kind == "message_stop":
                break
            event = yield text
        if message.get("stop_reason") is None:
            raise ProviderError("the stream ended before the answer was complete")
        content = [_whole(block) for _, block in sorted(blocks.items())]
        return _answer({**message, "content": content}).ending


def _is_system(message: JsonObject) -> bool:
    return bool(message["role"] == "system")


def _messages(messages: Sequence[JsonObject]) -> list[dict[str, Any]]:
    """Return messages in Anthropic's form, in which tool results are messages of the user."""
    found: list[dict[str, Any]] = []
    after_result = False
    for message, id_ in zip(messages, call_ids(messages), strict=True):
        if _is_system(message):
            continue
        content = as_text(message.get("content"))
        if message["role"] == "tool":
            result = {"type": "tool_result", "tool_use_id": id_, "content": content}
            if after_result:
                found[-1]["content"].append(result)  # all results of a turn go into one message
            else:
                found.append({"role": "user", "content": [result]})
        else:
            calls = _calls(message, id_)
            text = [{"type": "text", "text": content}] if content else []
            found.append(
                {"role": message["role"], "content": [*text, *calls] if calls else content}
            )
        after_result = message["role"] == "tool"
    return found


def _calls(message: JsonObject, id_: str) -> list[dict[str, Any]]:
    """Return the tool calls of a message as blocks."""
    calls = [
        (as_text(each.get("id")), as_object(each.get("function")))
        for each in map(as_object, as_list(message.get("tool_calls")))
    ]
    if call := as_object(message.get("tool_call")):
        calls = [(id_, call)]
    return [
        {
            "type": "tool_use",
            "id": each_id,
            "name": as_text(each.get("name")),
            "input": arguments_object(each.get("arguments")),
        }
        for each_id, each in calls
    ]


def _tool(tool: JsonObject) -> dict[str, Any]:
    schema = tool.get("parameters", {"type": "object", "properties": {}})
    named = {key: value for key, value in tool.items() if key != "parameters"}
    return {**named, "input_schema": schema}


# -- answers --------------------------------------------------------------------------------------


def _answer(message: JsonObject) -> Answer:
    blocks = [as_object(each) for each in as_list(message.get("content"))]
    usage = as_object(message.get("usage"))
    reason = as_text(message.get("stop_reason"))
    ending = Ending(
        _FINISH_REASONS.get(reason, reason or "stop"),
        prompt_tokens=_prompt_tokens(usage),
        generation_tokens=as_count(usage.get("output_tokens")),
        response=dict(message),
        tool_calls=[
            {
                "name": as_text(each.get("name")),
                "arguments": schemas.to_json(each.get("input", {})),
                "id": as_text(each.get("id")),
            }
            for each in blocks
            if each.get("type") == "tool_use"
        ],
    )
    return Answer("".join(map(_text, blocks)), ending)


def _text(block: JsonObject) -> str:
    return as_text(block.get("text")) if block.get("type") == "text" else ""


def _prompt_tokens(usage: JsonObject) -> int | None:
    """Return the tokens read; Anthropic counts those read from or into the cache separately."""
    read = as_count(usage.get("input_tokens"))
    if read is None:
        return None
    cached = ("cache_creation_input_tokens", "cache_read_input_tokens")
    return read + sum(as_count(usage.get(name)) or 0 for name in cached)


# -- streams --------------------------------------------------------------------------------------


def _add(block: dict[str, Any], delta: JsonObject) -> None:
    """Add a delta to a block."""
    kind = as_text(delta.get("type"))
    if kind == "input_json_delta":
        block["json"] = block.get("json", "") + as_text(delta.get("partial_json"))
    elif kind in _PARTS:
        name = _PARTS[kind]
        block[name] = as_text(block.get(name)) + as_text(delta.get(name))


def _whole(block: dict[str, Any]) -> dict[str, Any]:
    """Return a block as in a complete answer: its input, sent as text, becomes an object."""
    text = block.pop("json", "")
    return {**block, "input": decode(text, "the input of a tool")} if text else block
