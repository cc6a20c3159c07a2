"""How values are converted: the forms of single values, and of those that no schema speaks of.

A `Form` turns a raw Python value into the very instance that cast, match and build give, or raises
`Miss`; and it writes the source that does so into another function, for values like a sample. A
form has to be sound, never complete: what it does not take goes the exact way (`exactly`).

Small numbers are kept ready in bounded tables. No string of a user is kept.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Generator, Iterable
from contextlib import contextmanager
from datetime import datetime
from decimal import Decimal
from functools import partial
from typing import Any, NoReturn

from humanloop.schemas.building import BASES, EXTENDS_DICT, Miss, class_of, exact, free, maker
from humanloop.schemas.casting import is_integer, is_mapping, type_of
from humanloop.schemas.formats import FORMATS
from humanloop.schemas.keywords import Check
from humanloop.schemas.nodes import Node
from humanloop.schemas.reports import Mismatch
from humanloop.schemas.values import BoolClass, NoneClass

__all__ = [
    "FREE",
    "FREE_OBJECT",
    "NUMBER_CLASS",
    "TEXT",
    "Choice",
    "Classes",
    "Code",
    "Converter",
    "Form",
    "Nullable",
    "assembler",
    "boolean_form",
    "exactly",
    "hold",
    "miss",
    "number_form",
    "string_form",
]

Converter = Callable[[Any], Any]
Classes = tuple[type, ...]

INTEGERS = 4096
"""Integers whose absolute value is at most this are kept ready, as they come."""

DIGITS = 5
"""Floats that are written in so many characters are kept ready, as they come."""

NUMBERS = 4096
"""How many of these floats are kept."""

_DICT: Any = dict


def exactly(node: Node, classes: Classes, value: Any) -> Any:
    try:
        return exact(node, value, classes)
    except Mismatch:
        raise Miss from None


def hold(checks: Iterable[Check], value: Any) -> None:
    """Raises `Miss` unless a value obeys all of `checks`."""
    for check in checks:
        if not check.holds(value):
            raise Miss


def miss(*_: Any) -> NoReturn:
    raise Miss


# -- the source of a function ---------------------------------------------------------------------


class Code:
    """The source of one function, while it is written, and what its names stand for."""

    def __init__(self, shape: str) -> None:
        self.title = shape
        self.lines: list[str] = []
        self.names: dict[str, Any] = {
            "update": _DICT.update,
            "put": _DICT.__setitem__,
            "true": _TRUE,
            "false": _FALSE,
        }
        self.indent = ""
        self.count = 0

    def line(self, text: str) -> None:
        self.lines.append(self.indent + text)

    @contextmanager
    def block(self, head: str) -> Generator[None, None, None]:
        self.line(head)
        before, self.indent = self.indent, self.indent + " "
        yield
        self.indent = before

    def variable(self) -> str:
        self.count += 1
        return f"a{self.count}"

    def name(self, value: Any) -> str:
        """A name for `value` in the source."""
        self.count += 1
        self.names[f"c{self.count}"] = value
        return f"c{self.count}"

    def instance(self, cls: type[Any], value: str, changes: dict[str, str]) -> str:
        """Writes what makes an instance, as `assembler` does; its variable.

        changes: the expressions of the parts that are other than in `value`, by key.
        """
        display = ", ".join(f"{key!r}: {change}" for key, change in changes.items())
        target = self.variable()
        if not EXTENDS_DICT:
            self.line(f"{target} = {self.name(maker(cls))}({{**{value}, {display}}})")
            return target
        self.line(f"{target} = {self.name(partial(_DICT.__new__, cls))}()")
        self.line(f"update({target}, {value})")
        if len(changes) > 2:
            self.line(f"update({target}, {{{display}}})")
        else:
            for key, change in changes.items():
                self.line(f"put({target}, {key!r}, {change})")
        return target

    def function(self) -> Converter:
        # A value's keys may be anybody's: in the source they stand as string literals alone.
        exec(compile("\n".join(self.lines), f"<schema {self.title}>", "exec"), self.names)
        return self.names["convert"]  # type: ignore[no-any-return]


# -- forms ----------------------------------------------------------------------------------------


class Form:
    """How the values of a schema are converted.

    convert: the function that does it. It may be replaced at any time by a faster one, so it is
    looked up for each call. Subclasses know how to write it out in the source of another function.
    """

    def __init__(self, convert: Converter) -> None:
        self.convert = convert

    def write(self, code: Code, value: str, sample: Any, level: int, other: str = "") -> str:
        """Writes what converts the variable `value`, of which `sample` is an example.

        other: the source of the function for values that don't fit what is written; this form's
            own by default.

        Returns:
            The expression of the result, to be evaluated once.
        """
        return f"{other or code.name(self) + '.convert'}({value})"


class Nullable(Form):
    """What an inner form takes, or null."""

    def __init__(self, inner: Form, null: Any) -> None:
        super().__init__(lambda value: null if value is None else inner.convert(value))
        self.inner = inner
        self.null = null

    def write(self, code: Code, value: str, sample: Any, level: int, other: str = "") -> str:
        other = other or f"{code.name(self)}.convert"
        if sample is None:
            return f"{code.name(self.null)} if {value} is None else {other}({value})"
        return self.inner.write(code, value, sample, level, other)


# -- single values --------------------------------------------------------------------------------

_TRUE, _FALSE, _NONE = BoolClass.TRUE, BoolClass.FALSE, NoneClass.NONE
_is_date_time = FORMATS["date-time"].holds
_offset = re.compile(r"(?:\.[0-9]+)?(?:Z|[+-](?:[01][0-9]|2[0-3]):[0-5][0-9])").fullmatch
_moment = datetime.fromisoformat
_ints: dict[int, Any] = {}
_floats: dict[float, Any] = {}
_INFINITY = float("inf")


def _takes(text: str) -> bool:
    try:
        return bool(_moment(text))
    except ValueError:
        return False


_HOUR_24 = _takes("2024-01-01T24:00:00")


NUMBER_CLASS = BASES["number"]
_new_number = maker(NUMBER_CLASS)


def _int(value: int) -> Any:
    if value in _ints:
        return _ints[value]
    number = _new_number(value)
    if -INTEGERS <= value <= INTEGERS:
        _ints[value] = number
    return number


def _float(value: float) -> Any:
    if value in _floats:
        return _floats[value]
    if not -_INFINITY < value < _INFINITY:
        raise Miss
    text = repr(value)
    number = _new_number(text)
    # 0.0 and -0.0 are one key and two numbers, so neither is kept.
    if value and len(text) <= DIGITS and len(_floats) < NUMBERS:
        _floats[value] = number
    return number


def _decimal(value: Decimal) -> Any:
    if not value:
        return _unusual(value)
    return _new_number(value) if value.is_finite() else miss()


def _any_number(value: Any) -> Any:
    kind = type_of(value)
    if kind is int:
        return _int(value)
    if kind is float:
        return _float(value)
    if kind is NUMBER_CLASS:
        return value
    return _decimal(value) if kind is Decimal else miss()


def _any_integer(value: Any) -> Any:
    if type_of(value) is int:
        return _int(value)
    return _any_number(value) if isinstance(value, Decimal) and is_integer(value) else miss()


class _Number(Form):
    """A number without bounds."""

    def write(self, code: Code, value: str, sample: Any, level: int, other: str = "") -> str:
        other = super().write(code, value, sample, level, other)
        kind = type_of(sample)
        if kind is int:
            kept = code.name(_ints)
            return f"{kept}[{value}] if type({value}) is int and {value} in {kept} else {other}"
        if kind is float and self is NUMBER:
            convert = code.name(_float)
            return f"{convert}({value}) if type({value}) is float else {other}"
        if self is NUMBER:
            return f"{value} if type({value}) is {code.name(NUMBER_CLASS)} else {other}"
        return other


NUMBER = _Number(_any_number)
INTEGER = _Number(_any_integer)


def number_form(node: Node, classes: Classes) -> Form | None:
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

    return Form(convert)


def _boolean_of(value: Any) -> Any:
    if value is True or value is _TRUE:
        return _TRUE
    return _FALSE if value is False or value is _FALSE else miss()


class _Boolean(Form):
    def write(self, code: Code, value: str, sample: Any, level: int, other: str = "") -> str:
        other = super().write(code, value, sample, level, other)
        return f"true if {value} is True else false if {value} is False else {other}"


BOOLEAN = _Boolean(_boolean_of)


def boolean_form(node: Node, classes: Classes) -> Form | None:
    return None if node.any_checks or classes else BOOLEAN


class _Text(Form):
    """A string as it is."""

    def write(self, code: Code, value: str, sample: Any, level: int, other: str = "") -> str:
        other = super().write(code, value, sample, level, other)
        return f"{value} if type({value}) is str else {other}"


def _text_of(value: Any) -> Any:
    if type_of(value) is str:
        return value
    if not issubclass(type_of(value), str) or is_mapping(value):
        raise Miss
    return str.__str__(value)


TEXT = _Text(_text_of)


class Choice(Form):
    """One of some strings, whose instances are made ahead."""

    def __init__(self, members: dict[str, Any], other: Converter) -> None:
        super().__init__(
            lambda value: (
                members[value] if type_of(value) is str and value in members else other(value)
            )
        )
        self.members = members
        self.is_open = other is TEXT.convert

    def write(self, code: Code, value: str, sample: Any, level: int, other: str = "") -> str:
        other = super().write(code, value, sample, level, other)
        kept = code.name(self.members)
        if self.is_open:
            return f"{kept}.get({value}, {value}) if type({value}) is str else {other}"
        return f"{kept}[{value}] if type({value}) is str and {value} in {kept} else {other}"


class _DateTime(Form):
    """A date-time: the common form, in UTC and whole seconds, is checked by the calendar in C."""

    def __init__(self, new: Converter, other: Converter) -> None:
        self.new = new

        def convert(value: Any) -> Any:
            if type_of(value) is not str:
                return other(value)
            # Separators and hour exclude what fromisoformat takes beyond RFC 3339.
            common = value[4:17:3] == "--T::" and value[11:13] < "24" and _offset(value, 19)
            if common and _takes(value[:19]):
                return new(value)
            return new(value) if _is_date_time(value) else miss()

        super().__init__(convert)

    def write(self, code: Code, value: str, sample: Any, level: int, other: str = "") -> str:
        other = super().write(code, value, sample, level, other)
        new, moment, offset = code.name(self.new), code.name(_moment), code.name(_offset)
        fits = f'type({value}) is str and {value}[4:17:3] == "--T::"'
        fits += f' and ({value}[19:] == "Z" or {offset}({value}, 19)) and {moment}({value}[:19])'
        if _HOUR_24:
            fits += f' and {value}[11:13] < "24"'
        return f"{new}({value}) if {fits} else {other}"


def string_form(node: Node, classes: Classes) -> Form:
    cls = class_of((*classes, node.format_class) if node.format_class else classes, "string")
    new = maker(cls) if cls is not str else str
    checks = (*node.any_checks, *node.checks.get("string", ()))
    other = partial(exactly, node, classes)
    if node.members is not None and len(checks) == 1:
        return Choice({text: new(text) for text in node.members}, other)
    if [check.holds for check in checks] == [_is_date_time]:
        return _DateTime(new, other)
    if cls is str and not checks:
        return TEXT
    return Form(partial(_checked, new, checks, other))


def _checked(new: Converter, checks: tuple[Check, ...], other: Converter, value: Any) -> Any:
    if type_of(value) is not str:
        return other(value)
    hold(checks, value)
    return new(value)


# -- what no schema speaks of ---------------------------------------------------------------------


def assembler(cls: type[Any]) -> Callable[[Any, dict[str, Any]], Any]:
    """What makes an object of the dict that it was and the parts that changed."""
    if not EXTENDS_DICT:
        new_of: Any = maker(cls)
        return lambda value, changes: new_of({**value, **changes})
    new, update = partial(_DICT.__new__, cls), _DICT.update

    def assemble(value: Any, changes: dict[str, Any]) -> Any:
        instance = new()
        update(instance, value)
        if changes:
            update(instance, changes)
        return instance

    return assemble


_assemble_free = assembler(BASES["object"])


def _free_object(value: Any) -> Any:
    try:
        changes: dict[str, Any] = {
            key: _FREE[type_of(item)](item) if type_of(key) is str else miss()
            for key, item in value.items()
            if type_of(item) is not str or type_of(key) is not str
        }
    except KeyError:
        return _unusual(value)
    return _assemble_free(value, changes)


def _free_array(value: Any) -> Any:
    try:
        return tuple(
            [item if type_of(item) is str else _FREE[type_of(item)](item) for item in value]
        )
    except KeyError:
        return _unusual(value)


def _free(value: Any) -> Any:
    return _FREE.get(type_of(value), _unusual)(value)


def _unusual(value: Any) -> Any:
    try:
        return free(value)
    except Mismatch:
        raise Miss from None


_FREE: dict[type, Converter] = {
    str: lambda value: value,
    int: _int,
    float: _float,
    Decimal: _decimal,
    NUMBER_CLASS: lambda value: value,
    bool: lambda value: _TRUE if value else _FALSE,
    type(None): lambda value: _NONE,
    dict: _free_object,
    list: _free_array,
    tuple: _free_array,
}


class _Free(Form):
    """A value of any kind."""

    def write(self, code: Code, value: str, sample: Any, level: int, other: str = "") -> str:
        other = super().write(code, value, sample, level, other)
        kind = type_of(sample)
        if kind is str:
            return f"{value} if type({value}) is str else {other}"
        if kind not in _FREE:
            return other
        convert = code.name(_FREE[kind])
        return f"{convert}({value}) if type({value}) is {code.name(kind)} else {other}"


class _FreeObject(Form):
    """An object of which nothing is said."""

    def write(self, code: Code, value: str, sample: Any, level: int, other: str = "") -> str:
        other = super().write(code, value, sample, level, other)
        return f"{code.name(_free_object)}({value}) if type({value}) is dict else {other}"


FREE = _Free(_free)
FREE_OBJECT = _FreeObject(
    lambda value: _free(value) if type_of(value) is dict or is_mapping(value) else miss()
)
