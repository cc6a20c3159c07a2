"""How a call of a model is read: its request, and its answer in one piece or as events.

The providers differ in where things stand in their JSON; what they become in a log is said here.
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
    """One answer of a model, as far as it came: text, or the tools that it calls."""

    output: str | None = None
    error: str | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict[str, Any])

    def with_error(self, error: str) -> Answer:
        """Return the answer with what ended it too early; empty: nothing did."""
        return replace(self, error=error) if error else self


class Reader(Protocol):
    """Reads the calls of one operation of a provider.

    Where JSON is not as the provider documents it, whatever Python raises is raised.
    """

    provider: str
    """Its name in a config."""

    def request(self, body: JsonObject) -> dict[str, Any]:
        """Return the keys of a log for the body of a request: config, messages, inputs."""
        ...

    def answer(self, body: JsonObject) -> Sequence[Answer]:
        """Return the answers in a body, at least one."""
        ...

    def events(self, events: Sequence[JsonObject]) -> Sequence[Answer]:
        """Return the answers in the events of a stream, which may be cut off; at least one."""
        ...


def objects(value: Any) -> list[JsonObject]:
    """Return the objects in an array of JSON that are not empty."""
    return [each for each in map(as_object, as_list(value)) if each]


def without(body: JsonObject, *keys: str) -> dict[str, Any]:
    """Return an object without some of its keys, and without what is null."""
    return {key: value for key, value in body.items() if key not in keys and value is not None}


def config_of(
    endpoint: str,
    body: JsonObject,
    parameters: Mapping[str, Any],
    tools: Sequence[JsonObject],
    known: Sequence[str],
) -> dict[str, Any]:
    """Return a config, but for its provider.

    known: keys of the body that are logged elsewhere; what is left of it, and has no key in a
    config, is in its `other`.
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
    """Return the text of the parts of a message; what is no text is named in its place."""
    texts = (each.get("text") or f"[{each.get('type', 'part')}]" for each in objects(parts))
    return "\n".join(map(str, texts))


def with_calls(message: dict[str, Any], calls: Sequence[Call]) -> dict[str, Any]:
    """Return a message with the tools that it calls."""
    found = {"tool_call": calls[0]} if calls else {}
    return {**message, **found, **({"tool_calls": calls} if len(calls) > 1 else {})}


def answer_of(
    body: JsonObject, finish_reason: Any, text: str, calls: Sequence[Call], reasoning: str = ""
) -> Answer:
    """Return an answer. body: what says the usage, the model and the ID.

    Its output is its text; without one, the tools that it calls, which are beside it otherwise.
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
