"""From a request's method, path and query to an operation and its parameters.

Paths are matched segment by segment while they are still percent-encoded, so that an encoded
slash never becomes a border between segments. An unknown path is 404, a known one with another
method 405 with all the methods that it takes.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import parse_qsl, unquote

from humanloop.operation import Operation
from humanloop.schemas import SchemaValidationError
from humanloop.server.errors import Invalid, Location, MethodNotAllowed, NotFound

PREFIX = "/v4"
_INTEGER = re.compile(r"-?[0-9]{1,18}")


class Router:
    """Find operations by method and path."""

    def __init__(self, operations: Iterable[Operation]) -> None:
        self._by_shape: dict[tuple[str | None, ...], dict[str, Operation]] = {}
        for operation in operations:
            shape = tuple(None if part.startswith("{") else part for part in _split(operation.path))
            self._by_shape.setdefault(shape, {})[operation.method] = operation

    def find(self, method: str, raw_path: str) -> tuple[Operation, dict[str, str]]:
        """Return the operation and its path parameters."""
        parts = _split(raw_path.removeprefix(PREFIX)) if raw_path.startswith(f"{PREFIX}/") else []
        for shape, operations in self._by_shape.items():
            if len(shape) == len(parts) and all(
                wanted in (None, part) for wanted, part in zip(shape, parts, strict=True)
            ):
                if method not in operations:
                    raise MethodNotAllowed(method, list(operations))
                return operations[method], _path_parameters(operations[method], parts)
        raise NotFound(f"Nothing is at this path; the API's paths start with {PREFIX}/.")


def _split(path: str) -> list[str]:
    return path.removeprefix("/").split("/")


def _path_parameters(operation: Operation, parts: list[str]) -> dict[str, str]:
    return {
        name[1:-1]: unquote(part)
        for name, part in zip(_split(operation.path), parts, strict=True)
        if name.startswith("{")
    }


def read_query(operation: Operation, path: Mapping[str, str], query: str) -> dict[str, Any]:
    """Return the query parameters by name, converted, checked, and with their defaults.

    Names that the operation does not know are ignored; of a repeated one the last counts.
    Raises Invalid with every problem.
    """
    declared = {each.name: each for each in operation.parameters if each.location == "query"}
    given = {
        name: _convert(text, declared[name].schema)
        for name, text in parse_qsl(query, keep_blank_values=True)
        if name in declared
    }
    try:
        operation.parameters_schema({**path, **given})
    except SchemaValidationError as error:
        raise Invalid.from_details(error.errors, lambda path: _location(path, declared)) from error
    defaults = {
        name: each.schema["default"] for name, each in declared.items() if "default" in each.schema
    }
    return {**defaults, **given}


def _location(path: Location, declared: Mapping[str, Any]) -> Location:
    return ("path", *path) if path and path[0] not in declared else ("query", *path)


def _convert(text: str, schema: Mapping[str, Any]) -> Any:
    """Convert text to the wanted type; leave what is not of that type for its schema to refuse."""
    kind = schema.get("type")
    if kind == "integer" and _INTEGER.fullmatch(text):
        return int(text)
    if kind == "boolean" and text in {"true", "false"}:
        return text == "true"
    return text
