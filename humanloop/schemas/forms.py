"""How values are converted: the forms of single values, and of those that no schema speaks of.

A `Converter` turns a raw Python value into the very instance that cast, match and build give, or raises
`FastPathMiss`; and it writes the source that does so for common values into another function. A form has to
be sound, never complete: what it does not take goes the exact way (`interpret_or_miss`).

Each does it in two ways. It converts a value that somebody else holds, and writes into a copy of an
object's dict, if there is anything to write. Or it adopts one of its own, of a tree that was just
decoded from JSON, and writes into that. When something is in doubt, an own tree may be half
converted: every form takes what it made.

Numbers are kept ready in bounded tables. No string of a user is kept.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Generator, Iterable
from contextlib import contextmanager
from datetime import datetime
from decimal import Decimal
from functools import partial
from typing import Any, NoReturn

from humanloop.schemas.casting import is_integer, is_mapping, type_of
from humanloop.schemas.formats import FORMATS
from humanloop.schemas.instances import (
    BASES,
    MADE_EMPTY,
    FastPathMiss,
    class_of,
    constructor,
    fill,
    interpret,
    interpret_free,
    maker,
)
from humanloop.schemas.keywords import Check
from humanloop.schemas.nodes import Node
from humanloop.schemas.values import BoolClass, NoneClass

__all__ = [
    "FREE",
    "FREE_OBJECT",
    "NUMBER_CLASS",
    "TEXT",
    "Classes",
    "Code",
    "Convert",
    "Converter",
    "EnumConverter",
    "Nullable",
    "boolean_form",
    "has_names",
    "hold",
    "interpret_or_miss",
    "miss",
    "number_form",
    "string_form",
]

Convert = Callable[[Any], Any]
Classes = tuple[type, ...]

INTEGERS = 4096
"""Integers whose absolute value is at most this are kept ready, as they come."""

FLOATS = 8192
"""How many floats are kept ready; then they are forgotten, and kept anew as they come."""

TABLES = 170
"""The dicts of up to so many keys are told at a glance to have no other keys than strings."""


def interpret_or_miss(node: Node, classes: Classes, value: Any) -> Any:
    try:
        return interpret(node, value, classes)
    except Exception:  # a user's `to_input` may raise any: then it does so once more, outside
        raise FastPathMiss from None


def hold(checks: Iterable[Check], value: Any) -> None:
    """Raises `FastPathMiss` unless a value obeys all of `checks`."""
    for check in checks:
        if not check.holds(value):
            raise FastPathMiss


def miss(*_: Any) -> NoReturn:
    raise FastPathMiss


# -- the source of a function ---------------------------------------------------------------------


class Code:
    """The source of one function, while it is written, and what its names stand for.

    own: whether it adopts what it converts; method: of a form, what does so.
    """

    def __init__(self, title: str, own: bool, **names: Any) -> None:
        self.title = title
        self.own = own
        self.method = "adopt" if own else "convert"
        self.names: dict[str, Any] = {
            **names,
            "true": _TRUE,
            "false": _FALSE,
            "ints": _ints,
            "floats": _floats,
            "moment": _moment,
            "marks": _marks,
            "converter": _by_class[own].get,
            "free": _unusual,
            "Number": NUMBER_CLASS,
            "plain": _PLAIN,
            "has_names": has_names,
            "fill": fill,
        }
        self.by_id: dict[int, str] = {}
        self.lines: list[str] = []
        self.indent = ""
        self.count = 0

    def name(self, value: Any) -> str:
        """The name of an object, which is kept."""
        name = self.by_id.setdefault(id(value), f"c{len(self.by_id)}")
        self.names[name] = value
        return name

    def line(self, text: str) -> None:
        self.lines.append(self.indent + text)

    @contextmanager
    def block(self, head: str) -> Generator[None, None, None]:
        self.line(head)
        before, self.indent = self.indent, self.indent + " "
        yield
        self.indent = before

    @property
    def is_deep(self) -> bool:
        """Whether there are nearly as many blocks around the next line as Python takes (20)."""
        return len(self.indent) > 12

    def variable(self) -> str:
        self.count += 1
        return f"a{self.count}"

    def assign(self, target: str, form: str, value: str) -> None:
        """Writes what puts into `target` a value that a form, an expression, converts.

        Of an object's own attributes, Python is faster at reading one than at calling it.
        """
        self.line(f"f = {form}.{self.method}")
        self.line(f"{target} = f({value})")

    def expect_names(self) -> None:
        """Writes what raises a LookupError if the keys of `v` are not all plain strings."""
        if _TELLS:
            self.line("if not (plain[v.__sizeof__()] or has_names(v)): raise KeyError")
        else:
            with self.block("for a in v:"):
                self.line("if type(a) is not str: raise KeyError")

    def instance(self, cls: type[Any], parts: str) -> str:
        """Writes what makes an object of a dict; its expression."""
        new = self.name(constructor(cls))
        if not MADE_EMPTY:
            return f"{new}({parts})"
        target = self.variable()
        self.line(f"{target} = {new}()")
        self.line(f"fill({target}, {parts})")
        return target

    def function(self) -> Convert:
        # A value's keys may be anybody's: in the source they stand as string literals alone.
        made: dict[str, Any] = {}
        exec(compile("\n".join(self.lines), f"<schema {self.title}>", "exec"), self.names, made)
        return made["convert"]  # type: ignore[no-any-return]


# -- forms ----------------------------------------------------------------------------------------


class Converter:
    """How the values of a schema are converted.

    convert, adopt: the functions that do it, the second where it is told apart. They may be
    replaced at any time by faster ones, so they are looked up for each call. Subclasses know how to
    write them out in the source of another function.
    """

    def __init__(self, convert: Convert, adopt: Convert | None = None) -> None:
        self.convert = convert
        self.adopt = adopt or convert

    def write(self, code: Code, target: str, value: str) -> None:
        """Writes what puts into `target`, which holds the value, what it is converted to.

        value: the variable of the value.
        """
        code.assign(target, code.name(self), value)

    def call(self, code: Code, value: str) -> str:
        """The expression of the converted value, not written out."""
        return f"{code.name(self)}.{code.method}({value})"


class Nullable(Converter):
    """What an inner form takes, or null."""

    def __init__(self, inner: Converter, null: Any) -> None:
        super().__init__(
            lambda value: null if value is None else inner.convert(value),
            lambda value: null if value is None else inner.adopt(value),
        )
        self.inner = inner
        self.null = null

    def write(self, code: Code, target: str, value: str) -> None:
        with code.block(f"if {value} is None:"):
            code.line(f"{target} = {code.name(self.null)}")
        with code.block("else:"):
            self.inner.write(code, target, value)


# -- single values --------------------------------------------------------------------------------

_TRUE, _FALSE, _NONE = BoolClass.TRUE, BoolClass.FALSE, NoneClass.NONE
_INFINITY = float("inf")

NUMBER_CLASS = BASES["number"]
_new_number = maker(NUMBER_CLASS)


class _Integers(dict[int, Any]):
    """The numbers of ints, the small ones kept."""

    def __missing__(self, value: int) -> Any:
        number = _new_number(value)
        if -INTEGERS <= value <= INTEGERS:
            self[value] = number
        return number


class _Floats(dict[float, Any]):
    """The numbers of floats, with the digits that Python writes them with."""

    def __missing__(self, value: float) -> Any:
        if not -_INFINITY < value < _INFINITY:
            raise FastPathMiss
        number = _new_number(repr(value))
        if value:  # 0.0 and -0.0 are one key and two numbers, so neither is kept
            if len(self) >= FLOATS:
                self.clear()
            self[value] = number
        return number


_ints, _floats = _Integers(), _Floats()


def _decimal(value: Decimal) -> Any:
    if not value:
        return _unusual(value)
    return _new_number(value) if value.is_finite() else miss()


def _any_number(value: Any) -> Any:
    kind = type_of(value)
    if kind is int:
        return _ints[value]
    if kind is float:
        return _floats[value]
    if kind is NUMBER_CLASS:
        return value
    return _decimal(value) if kind is Decimal else miss()


def _any_integer(value: Any) -> Any:
    if type_of(value) is int:
        return _ints[value]
    is_number = issubclass(type_of(value), Decimal)  # not isinstance: a proxy may claim any class
    return _any_number(value) if is_number and is_integer(value) else miss()


class _Number(Converter):
    """A number without bounds: those of JSON text have digits already."""

    def write(self, code: Code, target: str, value: str) -> None:
        if self is NUMBER:
            with code.block(f"if type({value}) is float:"):
                code.line(f"{target} = floats[{value}]")
            with code.block(f"elif type({value}) is not Number:"):
                code.line(f"{target} = {self.from_int(code, value)}")
        else:
            code.line(f"{target} = {self.from_int(code, value)}")

    def from_int(self, code: Code, value: str) -> str:
        return f"ints[{value}] if type({value}) is int else {self.call(code, value)}"


NUMBER = _Number(_any_number)
INTEGER = _Number(_any_integer)


def number_form(node: Node, classes: Classes) -> Converter | None:
    if classes:
        return None
    checks = (*node.any_checks, *node.checks.get("number", ()))
    plain = INTEGER if node.type == "integer" else NUMBER
    if not checks:
        return plain

    def convert(value: Any) -> Any:
        number = plain.convert(value)
        hold(checks, number)
        return number

    return Converter(convert)


def _boolean_of(value: Any) -> Any:
    if value is True or value is _TRUE:
        return _TRUE
    return _FALSE if value is False or value is _FALSE else miss()


class _Boolean(Converter):
    def write(self, code: Code, target: str, value: str) -> None:
        other = self.call(code, value)
        code.line(f"{target} = true if {value} is True else false if {value} is False else {other}")


BOOLEAN = _Boolean(_boolean_of)


def boolean_form(node: Node, classes: Classes) -> Converter | None:
    return None if node.any_checks or classes else BOOLEAN


class _Text(Converter):
    """A string as it is."""

    def write(self, code: Code, target: str, value: str) -> None:
        with code.block(f"if type({value}) is not str:"):
            code.line(f"{target} = {self.call(code, value)}")


def _text_of(value: Any) -> Any:
    if type_of(value) is str:
        return value
    if not issubclass(type_of(value), str) or is_mapping(value):
        raise FastPathMiss
    return str.__str__(value)


TEXT = _Text(_text_of)


class EnumConverter(Converter):
    """One of some strings, whose instances are made ahead."""

    def __init__(self, members: dict[str, Any], other: Convert) -> None:
        super().__init__(
            lambda value: (
                members[value] if type_of(value) is str and value in members else other(value)
            )
        )
        self.members = members
        self.is_open = other is TEXT.convert

    def write(self, code: Code, target: str, value: str) -> None:
        kept = code.name(self.members)
        found = f"{kept}.get({value}, {value})" if self.is_open else f"{kept}[{value}]"
        code.line(f"{target} = {found} if type({value}) is str else {self.call(code, value)}")


_is_date_time = FORMATS["date-time"].holds
_offset = re.compile(r"(?:\.[0-9]+)?(?:Z|[+-](?:[01][0-9]|2[0-3]):[0-5][0-9])").fullmatch
_moment = datetime.fromisoformat
_marks = slice(4, 20, 3)


def _takes(text: str) -> bool:
    try:
        return bool(_moment(text))
    except ValueError:
        return False


_TAKES_ZONE = _takes("2024-01-01T00:00:00Z")
_HOUR_24 = _takes("2024-01-01T24:00:00")


class _DateTime(Converter):
    """A date-time: the common forms are checked by the calendar in C.

    The separators, the length and the hour exclude what `fromisoformat` takes beyond RFC 3339. It
    takes NUL for the end of the text.
    """

    def __init__(self, new: Callable[[Any], Any], other: Convert) -> None:
        self.new = new

        def convert(value: Any) -> Any:
            if type_of(value) is not str:
                return other(value)
            common = value[4:17:3] == "--T::" and value[11:13] < "24" and _offset(value, 19)
            if common and _takes(value[:19]) and "\0" not in value:
                return new(value)
            return new(value) if _is_date_time(value) else miss()

        super().__init__(convert)

    def write(self, code: Code, target: str, value: str) -> None:
        fits = f'(m := {value}[marks]) == "--T::Z"'
        if _TAKES_ZONE:
            fraction = f'm == "--T::." and {value}[-1] == "Z" and 21 < len({value}) < 28'
            fits = f"({fits} or {fraction}) and moment({value})"
        else:
            fits += f" and len({value}) == 20 and moment({value}[:19])"
        if _HOUR_24:
            fits += f' and {value}[11:13] < "24"'
        fits += f' and "\\0" not in {value}'
        made = f"{code.name(self.new)}({value})"
        other = self.call(code, value)
        with code.block("try:"):
            code.line(f"{target} = {made} if type({value}) is str and {fits} else {other}")
        code.line(f"except ValueError: {target} = {other}")


def string_form(node: Node, classes: Classes) -> Converter:
    cls = class_of((*classes, node.format_class) if node.format_class else classes, "string")
    new: Callable[[Any], Any] = maker(cls) if cls is not str else str
    checks = (*node.any_checks, *node.checks.get("string", ()))
    other = partial(interpret_or_miss, node, classes)
    if node.members is not None and len(checks) == 1:
        return EnumConverter({text: new(text) for text in map(str.__str__, node.members)}, other)
    if [check.holds for check in checks] == [_is_date_time]:
        return _DateTime(new, other)
    if cls is str and not checks:
        return TEXT
    return Converter(partial(_checked, new, checks, other))


def _checked(
    new: Callable[[Any], Any], checks: tuple[Check, ...], other: Convert, value: Any
) -> Any:
    if type_of(value) is not str:
        return other(value)
    hold(checks, value)
    return new(value)


# -- objects, and what no schema speaks of --------------------------------------------------------


class _Name(str):
    """A key that equals a string and is none interpret_or_miss."""

    __slots__ = ()


def _plain() -> list[bool]:
    """By the size of a dict, whether its keys are plain strings; a larger one's are not told.

    CPython keeps the tables of such dicts in a shorter form from 3.11 on. Before, and wherever it
    is not so, it is true of none.
    """
    plain: dict[str, None] = {}
    mixed: dict[str, None] = {_Name("other"): None}
    sizes, others = {plain.__sizeof__()}, {mixed.__sizeof__()}
    for number in range(TABLES):
        plain[str(number)] = mixed[str(number)] = None
        sizes.add(plain.__sizeof__())
        others.add(mixed.__sizeof__())
    told: set[int] = set() if sizes & others else sizes
    return [size in told for size in range(max(sizes) + 1)]


_PLAIN = _plain()
_TELLS = any(_PLAIN)


def has_names(value: dict[Any, Any]) -> bool:
    """Whether the keys of a dict are plain strings, each looked at."""
    for key in value:  # noqa: SIM110 - a generator takes twice as long
        if type_of(key) is not str:
            return False
    return True


_new_object = constructor(BASES["object"])
_single: dict[Any, Any] = {None: _NONE, True: _TRUE, False: _FALSE}


def _unusual(value: Any) -> Any:
    try:
        return interpret_free(value)
    except Exception:  # as in `interpret_or_miss`
        raise FastPathMiss from None


def _converters(own: bool) -> dict[type, Callable[[Any], Any]]:
    """What makes the instance of a value of any kind, by its class: all in C but for containers."""

    def convert_dict(value: dict[str, Any]) -> Any:
        try:
            is_plain = _PLAIN[value.__sizeof__()]
        except IndexError:
            is_plain = False
        if not (is_plain or has_names(value)):
            raise FastPathMiss
        parts = value
        try:
            for key, item in value.items():
                of = type_of(item)
                if of is not str:
                    if parts is value:
                        parts = value.copy()
                    parts[key] = converters[of](item)
        except KeyError:
            return _unusual(value)
        if not MADE_EMPTY:
            return _new_object(parts)
        instance = _new_object()
        fill(instance, parts)
        return instance

    def adopt_dict(value: dict[str, Any]) -> Any:
        try:
            for key, item in value.items():
                of = type_of(item)
                if of is not str:
                    value[key] = converters[of](item)
        except KeyError:
            return _unusual(value)
        if not MADE_EMPTY:
            return _new_object(value)
        instance = _new_object()
        fill(instance, value)
        return instance

    def from_list(value: Iterable[Any]) -> Any:
        parts: list[Any] = []
        try:
            for item in value:
                of = type_of(item)
                parts.append(item if of is str else converters[of](item))
        except KeyError:
            return _unusual(value)
        return tuple(parts)

    converters: dict[type, Callable[[Any], Any]] = {
        str: str,
        int: _ints.__getitem__,
        float: _floats.__getitem__,
        Decimal: _decimal,
        NUMBER_CLASS: Decimal.__copy__,  # the number itself
        bool: _single.__getitem__,
        type(None): _single.__getitem__,
        dict: adopt_dict if own else convert_dict,
        list: from_list,
        tuple: from_list,
    }
    return converters


_by_class = (_converters(False), _converters(True))
_free_objects = tuple(converters[dict] for converters in _by_class)


class _Free(Converter):
    """A value of any kind."""

    def __init__(self) -> None:
        copied, adopted = _by_class
        super().__init__(
            lambda value: copied.get(type_of(value), _unusual)(value),
            lambda value: adopted.get(type_of(value), _unusual)(value),
        )

    def write(self, code: Code, target: str, value: str) -> None:
        with code.block(f"if type({value}) is not str:"):
            code.line(f"{target} = converter(type({value}), free)({value})")


class _FreeObject(Converter):
    """An object of which nothing is said."""

    def __init__(self) -> None:
        copied, adopted = _free_objects
        super().__init__(
            lambda value: copied(value) if type_of(value) is dict else _no_dict(value),
            lambda value: adopted(value) if type_of(value) is dict else _no_dict(value),
        )

    def write(self, code: Code, target: str, value: str) -> None:
        made, other = f"{code.name(_free_objects[code.own])}({value})", self.call(code, value)
        code.line(f"{target} = {made} if type({value}) is dict else {other}")


def _no_dict(value: Any) -> Any:
    return _unusual(value) if is_mapping(value) else miss()


FREE = _Free()
FREE_OBJECT = _FreeObject()
