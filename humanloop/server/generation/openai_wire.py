"""The wire of OpenAI's chat completions and completions, which most model servers speak as well.

Source: https://platform.openai.com/docs/api-reference (chat/completions, completions). Not every
server accepts every parameter, and none declares this beforehand: if a refusal names a parameter
that has another form, `amend` uses that form.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any

from humanloop import schemas
from humanloop.decoded import JsonObject, as_count, as_list, as_object, as_text
from humanloop.server.generation.providers import Ending, ProviderError, ProviderRequest
from humanloop.server.generation.wires import (
    Answer,
    Ask,
    Pieces,
    call_ids,
    check_other,
    decode,
    raise_error,
)
from humanloop.server_sent_events import ServerSentEvent

_RESERVED = frozenset({"model", "messages", "prompt", "stream", "stream_options", "n"})
_CHAT, _COMPLETIONS = "/chat/completions", "/completions"
_NAMES_N = re.compile(r"[\"'`]n[\"'`]|\bn (must|should|>|is )")


class OpenAI:
    """The wire of OpenAI.

    key_header: the name of the key's header field, if the key is no bearer token.
    """

    def __init__(self, key_header: str | None = None) -> None:
        self._key_header = key_header

    def headers(self, key: str | None) -> dict[str, str]:
        """Return the header fields for authentication."""
        if key is None:
            return {}
        return {self._key_header: key} if self._key_header else {"Authorization": f"Bearer {key}"}

    def ask(self, request: ProviderRequest) -> Ask:
        """Return the request to send."""
        check_other(request, _RESERVED)
        parameters = dict(request.parameters)
        tools = parameters.pop("tools", None)
        body: dict[str, Any] = {"model": request.model}
        if request.messages is None:
            body["prompt"] = request.prompt
        else:
            body["messages"] = _messages(request.messages)
            if "logprobs" in parameters:  # a number, which only completions accept
                body |= {"logprobs": True, "top_logprobs": parameters.pop("logprobs")}
        body |= parameters
        if tools:
            body["tools"] = [{"type": "function", "function": tool} for tool in tools]
        body |= request.other
        if request.stream:
            body |= {"stream": True, "stream_options": {"include_usage": True}}
        elif request.count > 1:
            body["n"] = request.count
        return Ask(_COMPLETIONS if request.messages is None else _CHAT, body)

    def amend(self, ask: Ask, said: str) -> Ask | None:
        """Return another way to ask the same after a refusal with this body, or None."""
        return next(filter(None, (amend(ask, said) for amend in _AMENDMENTS)), None)

    def answers(self, body: Any) -> list[Answer]:
        """Return the samples in the body of an answer."""
        whole = as_object(body)
        raise_error(whole)
        choices = [as_object(each) for each in as_list(whole.get("choices"))]
        if not choices:
            raise ProviderError(f"the answer has no choices: {schemas.to_json(body)[:100]}")
        usage = as_object(whole.get("usage"))
        # Usage is reported once for all samples, so the first one gets it.
        return [
            _answer({**whole, "choices": [choice]}, choice, usage if index == 0 else _NOTHING)
            for index, choice in enumerate(choices)
        ]

    def pieces(self) -> Pieces:
        """Return the reader of a stream."""
        event = yield ""
        chat: dict[str, Any] = {}
        choice: dict[str, Any] = {}
        usage: Any = None
        while event is not None and event.data != "[DONE]":
            chunk = _chunk(event)
            usage = chunk.get("usage") or usage
            others = ("choices", "usage")
            chat = {**{k: v for k, v in chunk.items() if k not in others}, **chat}
            text = "".join(
                _add(choice, each)
                for each in map(as_object, as_list(chunk.get("choices")))
                if each.get("index", 0) == 0
            )
            event = yield text
        if event is None and choice.get("finish_reason") is None:
            raise ProviderError("the stream ended before the answer was complete")
        object_ = as_text(chat.get("object")).removesuffix(".chunk")
        whole = {**chat, "object": object_, "choices": [choice]}
        if usage is not None:
            whole["usage"] = usage
        return _answer(whole, choice, as_object(usage)).ending


def _messages(messages: Sequence[JsonObject]) -> list[dict[str, Any]]:
    """Return messages in OpenAI's form; their other keys are kept."""
    found: list[dict[str, Any]] = []
    for message, id_ in zip(messages, call_ids(messages), strict=True):
        sent = {key: value for key, value in message.items() if value is not None}
        call = as_object(sent.pop("tool_call", None))
        if call:
            function = {"name": call["name"], "arguments": _arguments(call.get("arguments"))}
            sent["tool_calls"] = [{"id": id_, "type": "function", "function": function}]
        elif sent["role"] == "tool":
            sent["tool_call_id"] = id_
            sent.pop("name", None)
        found.append(sent)
    return found


def _arguments(arguments: Any) -> str:
    if isinstance(arguments, str):
        return arguments
    return schemas.to_json({} if arguments is None else arguments)


# -- answers --------------------------------------------------------------------------------------

_NOTHING: JsonObject = {"prompt_tokens": 0, "completion_tokens": 0}


def _answer(response: dict[str, Any], choice: JsonObject, usage: JsonObject) -> Answer:
    message = as_object(choice.get("message"))
    calls = [as_object(each) for each in as_list(message.get("tool_calls"))]
    functions = [(each, as_object(each.get("function"))) for each in calls]
    ending = Ending(
        as_text(choice.get("finish_reason")) or "stop",
        prompt_tokens=as_count(usage.get("prompt_tokens")),
        generation_tokens=as_count(usage.get("completion_tokens")),
        response=response,
        tool_calls=[
            {
                "name": as_text(function.get("name")),
                "arguments": as_text(function.get("arguments")),
                "id": as_text(call.get("id")),
            }
            for call, function in functions
        ],
    )
    return Answer(as_text(choice.get("text")) + _text(message), ending)


def _text(message: JsonObject) -> str:
    """Return the text of a message or of a part of one, a refusal's text included."""
    content = message.get("content")
    parts = [as_object(each) for each in as_list(content)]
    texts = [as_text(each.get("text")) for each in parts if each.get("type") == "text"]
    return as_text(content) + "".join(texts) + as_text(message.get("refusal"))


# -- streams --------------------------------------------------------------------------------------


def _chunk(event: ServerSentEvent) -> JsonObject:
    chunk = decode(event.data, "an event of the stream")
    if not isinstance(chunk, dict):
        raise ProviderError("an event of the stream is not a JSON object")
    raise_error(as_object(chunk))
    return as_object(chunk)


def _add(choice: dict[str, Any], part: JsonObject) -> str:
    """Add a part to a choice; return the text in the part."""
    delta = as_object(part.get("delta"))
    if "delta" in part:
        _merge(choice.setdefault("message", {}), delta)
    if part.get("text"):
        choice["text"] = choice.get("text", "") + as_text(part["text"])
    ignored = ("delta", "text")
    choice |= {k: v for k, v in part.items() if k not in ignored and v is not None}
    return as_text(part.get("text")) + _text(delta)


def _merge(message: dict[str, Any], delta: JsonObject) -> None:
    """Merge a delta into a message: texts are concatenated, and so is each of the tool calls."""
    for key, value in delta.items():
        if key == "tool_calls":
            for position, call in enumerate(map(as_object, as_list(value))):
                _add_call(message.setdefault("tool_calls", []), position, call)
        elif key != "role" and isinstance(value, str):
            message[key] = as_text(message.get(key)) + value
        elif value is not None or key not in message:
            message[key] = value


def _add_call(calls: list[dict[str, Any]], position: int, delta: JsonObject) -> None:
    number = as_count(delta.get("index"))
    number = position if number is None else number
    if not 0 <= number <= len(calls):
        raise ProviderError("a tool call of the stream is out of order")
    if number == len(calls):
        calls.append({"function": {"name": "", "arguments": ""}})
    call = calls[number]
    call |= {k: v for k, v in delta.items() if k not in ("index", "function") and v is not None}
    for key, value in as_object(delta.get("function")).items():
        call["function"][key] = as_text(call["function"].get(key)) + as_text(value)


# -- other ways to ask the same -------------------------------------------------------------------


def _rename_max_tokens(ask: Ask, said: str) -> Ask | None:
    """Rename the token limit to the name that reasoning models accept."""
    if "max_tokens" not in ask.body or "max_completion_tokens" not in said:
        return None
    names = {"max_tokens": "max_completion_tokens"}
    return Ask(ask.path, {names.get(key, key): value for key, value in ask.body.items()})


def _chat_instead(ask: Ask, said: str) -> Ask | None:
    """Send a completion to a chat-only model, as one user message."""
    if ask.path != _COMPLETIONS or "chat/completions" not in said:
        return None
    body = {key: value for key, value in ask.body.items() if key not in ("prompt", "logprobs")}
    if "logprobs" in ask.body:
        body |= {"logprobs": True, "top_logprobs": ask.body["logprobs"]}
    return Ask(_CHAT, {**body, "messages": [{"role": "user", "content": ask.body["prompt"]}]})


def _without_usage(ask: Ask, said: str) -> Ask | None:
    return _without(ask, "stream_options") if "stream_options" in said else None


def _one_by_one(ask: Ask, said: str) -> Ask | None:
    return _without(ask, "n") if _NAMES_N.search(said) else None


def _without(ask: Ask, name: str) -> Ask | None:
    if name not in ask.body:
        return None
    return Ask(ask.path, {key: value for key, value in ask.body.items() if key != name})


_AMENDMENTS: Sequence[Callable[[Ask, str], Ask | None]] = (
    _rename_max_tokens,
    _chat_instead,
    _without_usage,
    _one_by_one,
)
