"""The JSON types: the Python values that each accepts and returns, and the cast of a value.

`JSON_TYPES` is the only table of input and accessed types; messages, documentation and type hints
read it. `cast` turns any accepted Python value into a new tree of exact dict, list, str, Decimal,
bool, None and bytes (files stay unchanged), so that later validation meets no other types, and
nothing that the caller can still change. Users register their own types with `to_input`.
"""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta, timezone
from decimal import Decimal
from enum import Enum
from functools import singledispatch
from numbers import Real
from typing import Any, TypeGuard

from frozendict import frozendict

from humanloop.exceptions import NaiveDatetimeWarning, warn
from humanloop.schemas.values import BoolClass, NoneClass

__all__ = [
    "INVALID",
    "JSON_TYPES",
    "MAX_DEPTH",
    "MAX_ERRORS",
    "MAX_PATH_STEPS",
    "TOO_DEEP",
    "JsonType",
    "Path",
    "before_repetition",
    "cast",
    "deep_nesting_start",
    "is_array",
    "is_deeper_than",
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
    """A JSON type: its phrase in messages, and the names of its Python types in documentation."""

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


Path = tuple[str | int, ...]
"""The place of a part of a value: the keys and indices that lead to it, the outermost first."""


class _Invalid:
    __slots__ = ()


INVALID: Any = _Invalid()
"""A placeholder in a cast tree for a refused value, so that it is reported only once."""

MAX_DEPTH = 200
"""The most levels of nested objects and arrays, in values and in JSON text.

Every walk over a value recurses; this limit keeps it well within a thread's stack.
"""

TOO_DEEP = f"nested too deeply: at most {MAX_DEPTH} levels, fewer if the stack is nearly used up"
"""The message on a value that is nested more deeply, or more deeply than Python's stack allows."""

MAX_ERRORS = 100_000
"""The most reported errors of one value."""

MAX_PATH_STEPS = 10_000_000
"""The total length of the paths of one value's errors: many deep ones could fill the memory."""

NAIVE = (
    "a datetime without a time zone is taken as UTC, but datetime.now() is local time: "
    "use datetime.now(timezone.utc), or add the zone with .astimezone()"
)
"""The warning about a naive datetime. Its text is constant, so that it is shown once."""

Refuse = Callable[[str], Any]
"""A function that reports a value that can't be cast, by a message, and returns INVALID."""

_KINDS: dict[type, str] = {
    dict: "object",
    list: "array",
    str: "string",
    Decimal: "number",
    bool: "boolean",
    type(None): "null",
}


type_of: Callable[[Any], Any] = type
"""The actual class of a value, whatever the value claims; returns Any for type checkers."""


def kind_of(value: Any) -> str:
    """Return the JSON type of a cast value; `binary` for bytes and files."""
    return _KINDS.get(type_of(value), "binary")


def is_mapping(value: Any) -> TypeGuard[Mapping[Any, Any]]:
    """Return whether a Python value is accepted as an object."""
    # Not isinstance: a proxy may claim any class without being one.
    return issubclass(type_of(value), (dict, frozendict, Mapping))


def is_sequence(value: Any) -> TypeGuard[list[Any] | tuple[Any, ...]]:
    """Return whether a Python value is accepted as an array."""
    return issubclass(type_of(value), (list, tuple))


def is_object(value: Any) -> TypeGuard[dict[str, Any]]:
    """Return whether a cast value is an object."""
    return type_of(value) is dict


def is_array(value: Any) -> TypeGuard[list[Any]]:
    """Return whether a cast value is an array."""
    return type_of(value) is list


_ZERO, _ONE = Decimal(0), Decimal(1)


def is_integer(number: Decimal) -> bool:
    """Return whether a number is an integer of OpenAPI 3.0: no fraction, no exponent part."""
    return number.same_quantum(_ONE)


@singledispatch
def to_input(value: object) -> Any:
    """Return the replacement for a value that is of no JSON type.

    A `functools.singledispatch` function: `to_input.register(Point, dataclasses.asdict)` allows
    instances of `Point` and its subclasses wherever objects are accepted. The registered function's
    result is cast in turn; its exceptions go to the caller.

    Raises:
        TypeError: no function is registered for the type.
    """
    raise TypeError(f"{type_of(value).__name__} is not registered with to_input")


class _Caster:
    """One walk over a value.

    levels: the maximum depth; errors: (path, message) of all values that JSON can't represent;
        path: the keys and indices of the current place; containers: the ids of the containers
        around it, to find one that contains itself.
    """

    def __init__(self, levels: int) -> None:
        self.levels = levels
        self.errors: list[tuple[Path, str]] = []
        self.path: list[str | int] = []
        self.containers: set[int] = set()
        self._path_steps = 0

    def refuse(self, message: str) -> Any:
        self._path_steps += len(self.path)
        if self._path_steps <= MAX_PATH_STEPS or not self.errors:
            self.errors.append((tuple(self.path), message))
        return INVALID

    def cast(self, value: Any) -> Any:
        leaf = _LEAVES.get(type_of(value))
        if leaf is not None:
            return leaf(value, self.refuse)
        if is_mapping(value) or is_sequence(value):
            if id(value) in self.containers:
                kind = JSON_TYPES["object" if is_mapping(value) else "array"].phrase
                return self.refuse(f"expected a JSON value, got {kind} that contains itself")
            if len(self.containers) >= self.levels:
                raise RecursionError(TOO_DEEP)
            self.containers.add(id(value))
            result: Any = self._cast_object(value) if is_mapping(value) else self._cast_array(value)
            self.containers.discard(id(value))
            return result
        for base, leaf in _LEAVES.items():
            if issubclass(type_of(value), base):
                return leaf(value, self.refuse)
        return self._cast_other(value)

    def _cast_object(self, value: Mapping[Any, Any]) -> dict[str, Any]:
        result: dict[str, Any] = {}
        for key, item in value.items():
            if type_of(key) is not str:
                if not isinstance(key, str):
                    self.refuse(f"expected keys that are strings, got the key {key!r:.40}")
                    continue
                key = str.__str__(key)
            self.path.append(key)
            result[key] = self.cast(item)
            self.path.pop()
        return result

    def _cast_array(self, value: Iterable[Any]) -> list[Any]:
        result: list[Any] = []
        for index, item in enumerate(value):
            self.path.append(index)
            result.append(self.cast(item))
            self.path.pop()
        return result

    def _cast_other(self, value: Any) -> Any:
        kind = type_of(value)
        # These modules are slow to import, and a value can be of their classes only after an
        # import.
        uuid, numpy = sys.modules.get("uuid"), sys.modules.get("numpy")
        if uuid is not None and issubclass(kind, uuid.UUID):
            return str(value)
        convert = to_input.dispatch(kind)
        if convert is not to_input.dispatch(object):
            taken = convert(value)
            if type(taken) is not kind:
                return self.cast(taken)
        elif numpy is not None and issubclass(kind, numpy.generic):
            taken = _numpy_scalar(value, numpy)
            if taken is not value:
                return self.cast(taken)
        came = f"{kind.__name__}, which JSON can't represent: {_hint(kind)}"
        return self.refuse(f"expected a JSON value, got {came}")


def _numpy_scalar(scalar: Any, numpy: Any) -> Any:
    """Return the bool, int or Decimal that equals a NumPy scalar; others unchanged."""
    kind = type_of(scalar)
    if issubclass(kind, numpy.bool_):
        return bool(scalar)
    if issubclass(kind, numpy.floating):
        return Decimal(str(scalar))  # the shortest digits of the same number: item() gives more
    is_integer = issubclass(kind, numpy.integer) and not issubclass(kind, numpy.timedelta64)
    return int(scalar) if is_integer else scalar


_HINTS: tuple[tuple[type | tuple[type, ...] | str, str], ...] = (
    (".model_dump", "value.model_dump()"),  # pydantic
    (".__attrs_attrs__", "attrs.asdict(value)"),
    (".__dataclass_fields__", "dataclasses.asdict(value)"),
    (Enum, "value.value"),
    (os.PathLike, "str(value), or the open file"),
    ((bytearray, memoryview), "bytes(value)"),
    (io.TextIOBase, "value.read(), or a file that is open in mode 'rb'"),
    (time, "value.isoformat()"),
    (timedelta, "value.total_seconds()"),
    ("datetime64", "value.astype('datetime64[us]').item()"),  # NumPy
    ("timedelta64", "value / numpy.timedelta64(1, 's')"),
    (".to_list", "value.to_list()"),  # pandas
    (".to_dict", "value.to_dict('records') for a table, value.to_dict() for an object"),
    (".tolist", "value.tolist()"),  # NumPy
    ("NAType", "None where null is allowed, or leave it out"),  # pandas
    (Real, "float(value)"),
    (Iterable, "list(value)"),
)
"""Suggested replacements for a value, by its class: a base, a name, or an attribute of the class.

The first match applies.
"""


def _hint(kind: type) -> str:
    """Return a suggestion for objects of a refused class."""
    for mark, code in _HINTS:
        if not isinstance(mark, str):
            fits = issubclass(kind, mark)
        elif mark.startswith("."):
            fits = hasattr(kind, mark[1:])
        else:
            fits = kind.__name__ == mark
        if fits:
            return f"pass {code}, or register the class with schemas.to_input"
    return "convert it, or register the class with schemas.to_input"


def cast(value: Any, depth: int = 0) -> tuple[Any, list[tuple[Path, str]]]:
    """Return `value` as a new tree of exact JSON types, and the errors (path, message) in it.

    depth: the number of containers around it.

    Raises:
        RecursionError: it is nested too deeply.
    """
    caster = _Caster(MAX_DEPTH - depth)
    return caster.cast(value), caster.errors


def deep_nesting_start(value: Any) -> Path:
    """Return the path at which the deepest nesting of a value begins."""
    layer: list[tuple[Path, Any]] = [((), value)]
    for _ in range(MAX_DEPTH):
        # Each container once: one that contains another twice would double the layer at every step.
        below = {
            id(item): ((*path, step), item)
            for path, container in layer
            for step, item in _containers_in(container)
        }
        if not below:
            break
        layer = [*below.values()]
    return before_repetition(layer[0][0])


def before_repetition(path: Sequence[str | int]) -> Path:
    """Return the beginning of a long path, up to where the same few steps repeat."""
    for period in (1, 2, 3, 4):
        start = len(path)
        while start > period and path[start - 1] == path[start - 1 - period]:
            start -= 1
        if start < len(path):
            return tuple(path[: start - period])
    return tuple(path[:8])


def is_deeper_than(levels: int, value: Any) -> bool:
    """Return whether more than `levels` objects and arrays of a value are nested."""
    layer = [value]
    for _ in range(levels):
        layer = [inner for each in layer for _, inner in _containers_in(each)]
        if not layer:
            return False
    return True


def _containers_in(value: Any) -> Iterator[tuple[Any, Any]]:
    """Yield the objects and arrays directly inside a value, each with its key or index."""
    parts: Iterable[tuple[Any, Any]] = ()
    if is_mapping(value):
        parts = value.items()
    elif is_sequence(value):
        parts = enumerate(value)
    for step, item in parts:
        if is_mapping(item) or is_sequence(item):
            yield step, item


def _number(value: Decimal | float, refuse: Refuse) -> Any:
    # repr gives the shortest digits of the same float: 0.1 becomes Decimal("0.1").
    number = Decimal(float.__repr__(value)) if isinstance(value, float) else Decimal(value)
    if not number.is_finite():
        return refuse(f"expected a finite number, got {value}, which JSON can't represent")
    # The integer -0 is 0: no int, and so no JSON that was read, has it.
    return number if number or not is_integer(number) else _ZERO


def _datetime(value: datetime, refuse: Refuse) -> Any:
    # RFC 3339 needs an offset of whole minutes. A datetime without one is taken as UTC, as in the
    # API; one from before time zones had whole minutes is converted to UTC.
    try:
        offset = value.utcoffset()
        if offset is None:
            text = value.replace(tzinfo=timezone.utc).isoformat()
        elif offset % timedelta(minutes=1):
            text = value.astimezone(timezone.utc).isoformat()
        else:
            text = value.isoformat()
    except (OverflowError, ValueError, TypeError):
        # A datetime at the ends of the calendar; or not a moment at all, as the NaT of pandas.
        came = f"a {type_of(value).__name__} that RFC 3339 can't represent"
        return refuse(f"expected a datetime in the years 1 to 9999 in UTC, got {came}")
    if offset is None:
        warn(NAIVE, NaiveDatetimeWarning)
    return text


def _file(value: io.FileIO | io.BufferedReader, refuse: Refuse) -> Any:
    return refuse("expected an open file, got a closed one") if value.closed else value


_LEAVES: dict[type, Callable[[Any, Refuse], Any]] = {
    # Subclasses are checked in this order: bool before int, datetime before date.
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
