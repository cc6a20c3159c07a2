"""The form of a model call in a log: its request, and its answer, whole or as events.

The providers' JSON differs, and their own modules read it; this module has the parts of a log.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

from humanloop.decoded import JsonObject, as_list, as_object

__all__ = [
    "Answer",
    "Call",
    "Reader",
    "answer_of",
    "config_of",
    "objects",
    "text_of",
    "tool_of",
    "with_calls",
    "without",
]

Call = dict[str, Any]
"""A call of a tool: its `name` and `arguments`."""


@dataclass(frozen=True)
class Answer:
    """One answer of a model, possibly incomplete: text, or calls of tools."""

    output: str | None = None
    error: str | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict[str, Any])

    def with_error(self, error: str) -> Answer:
        """Return the answer with the error that cut it off; an empty error: it was not cut off."""
        return replace(self, error=error) if error else self


class Reader(Protocol):
    """Reads the calls of one operation of a provider.

    For JSON that differs from the provider's documentation, any exception may be raised.
    """

    provider: str
    """Its name in a config."""

    def request(self, body: JsonObject) -> dict[str, Any]:
        """Return the keys of a log for the body of a request: config, messages, inputs."""
        ...

    def answer(self, body: JsonObject) -> Sequence[Answer]:
        """Return the answers in a body; at least one."""
        ...

    def events(self, events: Sequence[JsonObject]) -> Sequence[Answer]:
        """Return the answers in the events of a stream, which may be cut off; at least one."""
        ...


def objects(value: Any) -> list[JsonObject]:
    """Return the objects of a JSON array that are not empty."""
    return [each for each in map(as_object, as_list(value)) if each]


def without(body: JsonObject, *keys: str) -> dict[str, Any]:
    """Return an object without some of its keys, and without null values."""
    return {key: value for key, value in body.items() if key not in keys and value is not None}


def config_of(
    endpoint: str,
    body: JsonObject,
    parameters: Mapping[str, Any],
    tools: Sequence[JsonObject],
    known: Sequence[str],
) -> dict[str, Any]:
    """Return a config without its provider.

    known: keys of the body that are logged elsewhere; keys of the body that a config lacks are in
    its `other`.
    """
    config = {
        "type": "model",
        "model": str(body.get("model", "")),
        "endpoint": endpoint,
        **without(parameters),
    }
    if tools:
        config["tools"] = tools
    other = without(body, "model", "tools", "stream", *known)
    return {**config, "other": other} if other else config


def tool_of(name: Any, description: Any, parameters: Any) -> dict[str, Any]:
    """Return a tool of a config."""
    return without({"name": str(name), "description": description, "parameters": parameters})


def text_of(parts: Any) -> str:
    """Return the text of a message's parts; the type stands in place of a part without text."""
    texts = (each.get("text") or f"[{each.get('type', 'part')}]" for each in objects(parts))
    return "\n".join(map(str, texts))


def with_calls(message: dict[str, Any], calls: Sequence[Call]) -> dict[str, Any]:
    """Return a message with the tools that it calls."""
    found = {"tool_call": calls[0]} if calls else {}
    return {**message, **found, **({"tool_calls": calls} if len(calls) > 1 else {})}


def answer_of(
    body: JsonObject, finish_reason: Any, text: str, calls: Sequence[Call], reasoning: str = ""
) -> Answer:
    """Return an answer. body: the object with the usage, the model and the ID.

    The output is the text, and the calls of tools are metadata; without text, they are the output.
    """
    metadata = without(
        {
            "finish_reason": finish_reason,
            "usage": body.get("usage"),
            "model": body.get("model"),
            "provider_id": body.get("id"),
            "tool_calls": calls if text and calls else None,
            "reasoning": reasoning or None,
        }
    )
    called = json.dumps(calls, ensure_ascii=False) if calls else None
    return Answer(text or called, None, metadata)
