"""How a call of a model is read: its request, and its answer in one piece or as events."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol, cast

__all__ = ["Answer", "JsonObject", "Reader", "items", "part", "tool_of", "without"]

JsonObject = Mapping[str, Any]


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


def part(value: Any) -> JsonObject:
    """Return an object of JSON; empty for what is none."""
    return cast("JsonObject", value) if isinstance(value, Mapping) else {}


def items(value: Any) -> list[JsonObject]:
    """Return the objects in an array of JSON."""
    if not isinstance(value, list):
        return []
    objects = (part(each) for each in cast("list[object]", value))
    return [each for each in objects if each]


def without(body: JsonObject, *keys: str) -> dict[str, Any]:
    """Return an object without some of its keys, and without what is null."""
    return {key: value for key, value in body.items() if key not in keys and value is not None}


def tool_of(name: Any, description: Any, parameters: Any) -> dict[str, Any]:
    """Return a tool of a config."""
    tool = {"name": str(name), "description": description, "parameters": parameters}
    return {key: value for key, value in tool.items() if value is not None}
