"""The JSON types: which Python values each takes, what they become, and how a value is cast.

`JSON_TYPES` is the one table of input and accessed types; messages, documentation and type hints
read it. `cast` turns any accepted Python value into a new tree of exact dict, list, str, Decimal,
bool, None and bytes (files stay as they are), so that what validates later meets nothing else, and
nothing that the caller can still change.
"""

from __future__ import annotations

import io
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any, TypeGuard

from frozendict import frozendict

from humanloop.schemas.values import BoolClass, NoneClass

__all__ = [
    "INVALID",
    "JSON_TYPES",
    "JsonType",
    "cast",
    "is_array",
    "is_integer",
    "is_mapping",
    "is_object",
    "is_sequence",
    "kind_of",
]


@dataclass(frozen=True)
class JsonType:
    """A JSON type: its phrase in messages, and its Python types as the documentation names them."""

    phrase: str
    inputs: tuple[str, ...]
    accessed: tuple[str, ...]


JSON_TYPES: dict[str, JsonType] = {
    "object": JsonType("an object", ("dict", "frozendict.frozendict"), ("frozendict.frozendict",)),
    "array": JsonType("an array", ("list", "tuple"), ("tuple",)),
    "string": JsonType("a string", ("str",), ("str",)),
    "string:date": JsonType("a string", ("str", "date"), ("str",)),
    "string:date-time": JsonType("a string", ("str", "datetime"), ("str",)),
    "string:uuid": JsonType("a string", ("str", "uuid.UUID"), ("str",)),
    "string:binary": JsonType(
        "bytes or a file", ("bytes", "io.FileIO", "io.BufferedReader"), ("bytes", "FileIO")
    ),
    "number": JsonType("a number", ("decimal.Decimal", "int", "float"), ("decimal.Decimal",)),
    "integer": JsonType(
        "an integer (a number without fraction or exponent)",
        ("decimal.Decimal", "int"),
        ("decimal.Decimal",),
    ),
    "boolean": JsonType("a boolean", ("bool",), ("BoolClass",)),
    "null": JsonType("null", ("None",), ("NoneClass",)),
}


class _Invalid:
    __slots__ = ()


INVALID: Any = _Invalid()
"""Stands in a cast tree for a value that was refused, so that it is reported only once."""

Refuse = Callable[[str], Any]
"""Reports a value that can't be cast, by a message, and gives INVALID."""

_KINDS: dict[type, str] = {
    dict: "object",
    list: "array",
    str: "string",
    Decimal: "number",
    bool: "boolean",
    type(None): "null",
}


def kind_of(value: Any) -> str:
    """The JSON type of a cast value; `binary` for bytes and files."""
    return _KINDS.get(value.__class__, "binary")


def is_mapping(value: Any) -> TypeGuard[Mapping[Any, Any]]:
    """Whether a Python value is taken as an object."""
    return isinstance(value, (dict, frozendict, Mapping))


def is_sequence(value: Any) -> TypeGuard[list[Any] | tuple[Any, ...]]:
    """Whether a Python value is taken as an array."""
    return isinstance(value, (list, tuple))


def is_object(value: Any) -> TypeGuard[dict[str, Any]]:
    """Whether a cast value is an object."""
    return type(value) is dict


def is_array(value: Any) -> TypeGuard[list[Any]]:
    """Whether a cast value is an array."""
    return type(value) is list


def is_integer(number: Decimal) -> bool:
    """Whether a number is an integer as OpenAPI 3.0 has it: no fraction, no exponent part."""
    return number.as_tuple().exponent == 0


class _Caster:
    """One walk over a value; `errors` holds (path, message) of all that JSON has no place for."""

    def __init__(self) -> None:
        self.errors: list[tuple[tuple[str | int, ...], str]] = []
        self.path: list[str | int] = []

    def refuse(self, message: str) -> Any:
        self.errors.append((tuple(self.path), message))
        return INVALID

    def cast(self, value: Any) -> Any:
        leaf = _LEAVES.get(value.__class__)
        if leaf is not None:
            return leaf(value, self.refuse)
        if is_mapping(value):
            return self.cast_object(value)
        if is_sequence(value):
            return self.cast_array(value)
        for base, leaf in _LEAVES.items():
            if isinstance(value, base):
                return leaf(value, self.refuse)
        # uuid takes long to import, and only where somebody did can a value be a UUID.
        uuid = sys.modules.get("uuid")
        if uuid is not None and isinstance(value, uuid.UUID):
            return str(value)
        return self.refuse(
            f"expected a JSON value, got {type(value).__name__}, which JSON has no place for"
        )

    def cast_object(self, value: Mapping[Any, Any]) -> dict[str, Any]:
        result: dict[str, Any] = {}
        for key, item in value.items():
            if type(key) is not str:
                if not isinstance(key, str):
                    self.refuse(f"expected keys that are strings, got the key {key!r:.40}")
                    continue
                key = str.__str__(key)
            self.path.append(key)
            result[key] = self.cast(item)
            self.path.pop()
        return result

    def cast_array(self, value: list[Any] | tuple[Any, ...]) -> list[Any]:
        result: list[Any] = []
        for index, item in enumerate(value):
            self.path.append(index)
            result.append(self.cast(item))
            self.path.pop()
        return result


def cast(value: Any) -> tuple[Any, list[tuple[tuple[str | int, ...], str]]]:
    """`value` as a new tree of exact JSON types, and the errors (path, message) met on the way."""
    caster = _Caster()
    return caster.cast(value), caster.errors


def _number(value: Decimal | float, refuse: Refuse) -> Any:
    # repr gives the shortest digits that mean the same float: 0.1 becomes Decimal("0.1").
    number = Decimal(float.__repr__(value)) if isinstance(value, float) else Decimal(value)
    if not number.is_finite():
        return refuse(f"expected a finite number, got {value}, which JSON can't write")
    return number


def _datetime(value: datetime, refuse: Refuse) -> str:
    # RFC 3339 needs an offset, of whole minutes. A datetime without one is taken as UTC, as the API
    # takes it; one from before time zones had whole minutes is moved there.
    offset = value.utcoffset()
    if offset is None:
        value = value.replace(tzinfo=timezone.utc)
    elif offset % timedelta(minutes=1):
        value = value.astimezone(timezone.utc)
    return value.isoformat()


def _file(value: io.FileIO | io.BufferedReader, refuse: Refuse) -> Any:
    return refuse("expected an open file, got a closed one") if value.closed else value


_LEAVES: dict[type, Callable[[Any, Refuse], Any]] = {
    # Subclasses are looked for in this order: bool before int, datetime before date.
    str: lambda value, refuse: str.__str__(value),
    bool: lambda value, refuse: value,
    BoolClass: lambda value, refuse: bool(value),
    type(None): lambda value, refuse: None,
    NoneClass: lambda value, refuse: None,
    int: lambda value, refuse: Decimal(value),
    float: _number,
    Decimal: _number,
    datetime: _datetime,
    date: lambda value, refuse: value.isoformat(),
    bytes: lambda value, refuse: bytes(value),
    io.FileIO: _file,
    io.BufferedReader: _file,
}
