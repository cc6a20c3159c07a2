"""The JSON types: which Python values each takes, what they become, and how a value is cast.

`JSON_TYPES` is the one table of input and accessed types; messages, documentation and type hints
read it. `cast` turns any accepted Python value into a new tree of exact dict, list, str, Decimal,
bool, None and bytes (files stay as they are), so that what validates later meets nothing else, and
nothing that the caller can still change. `to_input` is where users teach it types of their own.
"""

from __future__ import annotations

import io
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta, timezone
from decimal import Decimal
from functools import singledispatch
from typing import Any, TypeGuard

from frozendict import frozendict

from humanloop.schemas.trampoline import Steps, run
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
    "to_input",
    "type_of",
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

TOLD_STEPS = 10_000_000
"""How long the paths of one value's errors may be in sum: deep values could fill the memory."""

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


type_of: Callable[[Any], Any] = type
"""The class that a value is of, whatever it claims: for type checkers, it tells nothing of it."""


def kind_of(value: Any) -> str:
    """The JSON type of a cast value; `binary` for bytes and files."""
    return _KINDS.get(type_of(value), "binary")


def is_mapping(value: Any) -> TypeGuard[Mapping[Any, Any]]:
    """Whether a Python value is taken as an object."""
    # Not isinstance: a proxy may claim any class, and is none.
    return issubclass(type_of(value), (dict, frozendict, Mapping))


def is_sequence(value: Any) -> TypeGuard[list[Any] | tuple[Any, ...]]:
    """Whether a Python value is taken as an array."""
    return issubclass(type_of(value), (list, tuple))


def is_object(value: Any) -> TypeGuard[dict[str, Any]]:
    """Whether a cast value is an object."""
    return type_of(value) is dict


def is_array(value: Any) -> TypeGuard[list[Any]]:
    """Whether a cast value is an array."""
    return type_of(value) is list


_ZERO, _ONE = Decimal(0), Decimal(1)


def is_integer(number: Decimal) -> bool:
    """Whether a number is an integer as OpenAPI 3.0 has it: no fraction, no exponent part."""
    return number.same_quantum(_ONE)


@singledispatch
def to_input(value: object) -> Any:
    """What is taken in place of a value that is of no JSON type.

    A `functools.singledispatch` function: `to_input.register(Point, dataclasses.asdict)` lets
    objects of `Point`, and of classes that derive from it, be used wherever objects are taken. What
    the registered function returns is cast in its turn; what it raises goes to the caller.

    Raises:
        TypeError: nothing is registered for the type.
    """
    raise TypeError(f"{type_of(value).__name__} is not registered with to_input")


class _Caster:
    """One walk over a value; `errors` holds (path, message) of all that JSON has no place for.

    open: the containers on the way to the current place, to tell one that contains itself.
    """

    def __init__(self) -> None:
        self.errors: list[tuple[tuple[str | int, ...], str]] = []
        self.path: list[str | int] = []
        self.steps = 0
        self.open: set[int] = set()

    def refuse(self, message: str) -> Any:
        self.steps += len(self.path)
        if self.steps <= TOLD_STEPS or not self.errors:
            self.errors.append((tuple(self.path), message))
        return INVALID

    def cast(self, value: Any) -> Steps[Any]:
        if is_mapping(value) or is_sequence(value):
            if id(value) in self.open:
                kind = JSON_TYPES["object" if is_mapping(value) else "array"].phrase
                return self.refuse(f"expected a JSON value, got {kind} that contains itself")
            self.open.add(id(value))
            result: Any
            if is_mapping(value):
                result = yield from self.cast_object(value)
            else:
                result = yield from self.cast_array(value)
            self.open.discard(id(value))
            return result
        for base, leaf in _LEAVES.items():
            if issubclass(type_of(value), base):
                return leaf(value, self.refuse)
        # uuid takes long to import, and only where somebody did can a value be a UUID.
        uuid = sys.modules.get("uuid")
        if uuid is not None and isinstance(value, uuid.UUID):
            return str(value)
        convert = to_input.dispatch(type_of(value))
        if convert is not to_input.dispatch(object):
            taken = convert(value)
            if type(taken) is not type_of(value):
                return (yield self.cast(taken))
        return self.refuse(
            f"expected a JSON value, got {type_of(value).__name__}, which JSON has no place for"
        )

    def cast_object(self, value: Mapping[Any, Any]) -> Steps[dict[str, Any]]:
        result: dict[str, Any] = {}
        for key, item in value.items():
            if type_of(key) is not str:
                if not isinstance(key, str):
                    self.refuse(f"expected keys that are strings, got the key {key!r:.40}")
                    continue
                key = str.__str__(key)
            self.path.append(key)
            leaf = _LEAVES.get(type_of(item))
            result[key] = (yield self.cast(item)) if leaf is None else leaf(item, self.refuse)
            self.path.pop()
        return result

    def cast_array(self, value: Iterable[Any]) -> Steps[list[Any]]:
        result: list[Any] = []
        for index, item in enumerate(value):
            self.path.append(index)
            leaf = _LEAVES.get(type_of(item))
            result.append((yield self.cast(item)) if leaf is None else leaf(item, self.refuse))
            self.path.pop()
        return result


def cast(value: Any) -> tuple[Any, list[tuple[tuple[str | int, ...], str]]]:
    """`value` as a new tree of exact JSON types, and the errors (path, message) met on the way."""
    caster = _Caster()
    leaf = _LEAVES.get(type_of(value))
    plain = run(caster.cast(value)) if leaf is None else leaf(value, caster.refuse)
    return plain, caster.errors


def _number(value: Decimal | float, refuse: Refuse) -> Any:
    # repr gives the shortest digits that mean the same float: 0.1 becomes Decimal("0.1").
    number = Decimal(float.__repr__(value)) if isinstance(value, float) else Decimal(value)
    if not number.is_finite():
        return refuse(f"expected a finite number, got {value}, which JSON can't write")
    # The integer -0 is 0: no int, and so no JSON that was read, has it.
    return number if number or not is_integer(number) else _ZERO


def _datetime(value: datetime, refuse: Refuse) -> Any:
    # RFC 3339 needs an offset, of whole minutes. A datetime without one is taken as UTC, as the API
    # takes it; one from before time zones had whole minutes is moved there.
    try:
        offset = value.utcoffset()
        if offset is None:
            value = value.replace(tzinfo=timezone.utc)
        elif offset % timedelta(minutes=1):
            value = value.astimezone(timezone.utc)
        return value.isoformat()
    except (OverflowError, ValueError, TypeError):
        # At the ends of the calendar; or no moment at all, as the NaT of pandas.
        return refuse("expected a moment that RFC 3339 can write, got one that it can't")


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
