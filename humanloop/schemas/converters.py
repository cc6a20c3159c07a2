"""Converters: for common schemas and common values, check and convert in one pass.

A converter makes from a raw Python value the same instance that the matcher would make, or raises
`FastPathMiss`. It is sound, but not complete: parts that it does not know go to `interpret`, which
calls the matcher; a value that it refuses goes to the matcher again, which explains the error.

Invariants:
- A container is copied once, and its parts are converted in the copy, which nobody else has.
- Numbers are cached in bounded tables. No other data of a user is kept.
- Nothing recurses deeper than `MAX_DEPTH` containers and references, on any stack.

This is an ordinary Python module. If Cython and a C compiler are available, an installation also
has it compiled to C, as `_converters` (`native` chooses): `converters.pxd` then declares the C
types of attributes, arguments and local variables, and defines in C the functions that are marked
below.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from decimal import Decimal
from json.encoder import encode_basestring
from typing import TYPE_CHECKING, Any

from frozendict import frozendict

from humanloop.schemas.casting import MAX_DEPTH, is_integer
from humanloop.schemas.formats import FORMATS
from humanloop.schemas.values import BoolClass, NoneClass


class cython:
    """A stand-in for the module `cython`, which exists only in the compiler."""

    compiled = False


if cython.compiled and not TYPE_CHECKING:
    import cython

__all__ = [
    "Array",
    "Boolean",
    "Choice",
    "Converter",
    "DateTime",
    "FastPathMiss",
    "Free",
    "Integer",
    "Nullable",
    "Number",
    "Object",
    "Reference",
    "String",
    "Tagged",
    "Text",
    "Union",
    "json_text",
    "remember",
]


class FastPathMiss(Exception):
    """The fast path has no answer: the matcher decides, or a caller that allows any depth."""


Make = Callable[[Any], Any]
Interpret = Callable[[Any, int], Any]
"""A function that makes the instance of a value at a depth; raises FastPathMiss."""
Checks = tuple[Callable[[Any], bool], ...]

INTEGERS = 4096
"""Integers up to this absolute value are cached at their first use."""

FLOATS = 8192
"""The most cached floats; a full cache is emptied, and then filled anew."""

_integers: dict[Any, Any] = {}
_floats: dict[Any, Any] = {}
_infinity = float("inf")
_true, _false, _none = BoolClass.TRUE, BoolClass.FALSE, NoneClass.NONE
_is_date_time = FORMATS["date-time"].holds


# -- in C in converters.pxd, if compiled ----------------------------------------------------------

if not cython.compiled:

    def new_table(owner: Object, value: Any) -> dict[str, Any]:
        """Return a copy of a value; in C, if `fills`, the table of an instance in the making."""
        return {**value}

    def new_object(owner: Object, table: dict[str, Any]) -> Any:
        """Return the instance that holds a table; in C, if `fills`, return the table itself."""
        return owner.make(table)

    is_common_date_time = re.compile(
        "[0-9]{4}-(?:(?:0[1-9]|1[0-2])-(?:0[1-9]|1[0-9]|2[0-8])|(?:0[13-9]|1[0-2])-(?:29|30))"
        r"T(?:[01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](?:\.[0-9]+)?Z"
    ).fullmatch
    """Match date-times in the usual form of servers, on days that exist in every year."""

    def base_of(cls: Any) -> Any:
        """Return the base that determines a class's layout, as C finds it."""
        return cls.__base__

    def write_text(text: Any, parts: list[str]) -> None:
        """Append a string as JSON text; in C, a quick scan recognises one without escapes."""
        parts.append(encode_basestring(text))


# -- single values --------------------------------------------------------------------------------


class Converter:
    """The converter of one schema's values; this base passes all of them to the matcher.

    takes_text: each plain string is its own instance, so that no call is needed.
    """

    def __init__(self, interpret: Interpret, checks: Checks = ()) -> None:
        self.takes_text = False
        self.interpret = interpret
        self.checks = checks

    def convert(self, value: Any) -> Any:
        """Return the instance for a raw value.

        Raises:
            FastPathMiss: the matcher has to decide.
        """
        return self.take(value, 0)

    def take(self, value: object, depth: int) -> Any:
        """Convert a value at `depth`."""
        return self.interpret(value, depth)

    def check(self, value: Any) -> None:
        """Raise FastPathMiss unless a value obeys the schema's bounds."""
        for holds in self.checks:
            if not holds(value):
                raise FastPathMiss


class Text(Converter):
    """A string without bounds and class of its own: it stays unchanged."""

    def __init__(self, interpret: Interpret) -> None:
        super().__init__(interpret)
        self.takes_text = True

    def take(self, value: object, depth: int) -> Any:
        return value if type(value) is str else self.interpret(value, depth)


class String(Converter):
    """A string with bounds or a class."""

    def __init__(self, interpret: Interpret, checks: Checks, make: Make) -> None:
        super().__init__(interpret, checks)
        self.make = make

    def take(self, value: object, depth: int) -> Any:
        if type(value) is not str:
            return self.interpret(value, depth)
        if self.checks:
            self.check(value)
        return self.make(value)


class DateTime(Converter):
    """An RFC 3339 date-time."""

    def __init__(self, interpret: Interpret, make: Make) -> None:
        super().__init__(interpret)
        self.make = make

    def take(self, value: object, depth: int) -> Any:
        if type(value) is not str:
            return self.interpret(value, depth)
        if is_common_date_time(value) or _is_date_time(value):
            return self.make(value)
        raise FastPathMiss


class Choice(Converter):
    """One of some strings, whose instances are made in advance.

    is_open: other strings are accepted unchanged.
    """

    def __init__(self, interpret: Interpret, members: dict[str, Any], is_open: bool) -> None:
        super().__init__(interpret)
        self.members = members
        self.is_open = is_open

    def take(self, value: object, depth: int) -> Any:
        if type(value) is not str:
            return self.interpret(value, depth)
        found = self.members.get(value)
        if found is not None:
            return found
        if self.is_open:
            return value
        raise FastPathMiss


class Number(Converter):
    """A number: a Decimal with every digit.

    cls: the class of numbers; instances of it, as made from JSON text, stay unchanged.
    """

    def __init__(self, interpret: Interpret, checks: Checks, cls: type, make: Make) -> None:
        super().__init__(interpret, checks)
        self.cls = cls
        self.make = make

    def take(self, value: object, depth: int) -> Any:
        kind = type(value)
        if kind is int:
            number = _integers.get(value)
            if number is None:
                number = self.of_int(value)
        elif kind is float:
            number = _floats.get(value)
            if number is None:
                number = self.of_float(value)
        elif kind is self.cls:
            number = value
        elif kind is Decimal:
            number = self.of_decimal(value)
        else:
            return self.interpret(value, depth)
        if self.checks:
            self.check(number)
        return number

    def of_int(self, value: Any) -> Any:
        number = self.make(value)
        if -INTEGERS <= value <= INTEGERS:
            _integers[value] = number
        return number

    def of_float(self, value: Any) -> Any:
        if not -_infinity < value < _infinity:
            raise FastPathMiss
        number = self.make(repr(value))
        if value:  # 0.0 and -0.0 are one key and two numbers, so neither is cached
            if len(_floats) >= FLOATS:
                _floats.clear()
            _floats[value] = number
        return number

    def of_decimal(self, value: Any) -> Any:
        if not value.is_finite():
            raise FastPathMiss
        # The integer -0 is 0: no int, and so no JSON that was read, has it.
        return self.make(value if value or not is_integer(value) else 0)


class Integer(Number):
    """A number without fraction and exponent part."""

    def take(self, value: object, depth: int) -> Any:
        kind = type(value)
        if kind is not int and kind is not self.cls and kind is not Decimal:
            return self.interpret(value, depth)
        number = Number.take(self, value, depth)
        if kind is int or is_integer(number):
            return number
        raise FastPathMiss


class Boolean(Converter):
    """True or false."""

    def take(self, value: object, depth: int) -> Any:
        if value is True or value is _true:
            return _true
        if value is False or value is _false:
            return _false
        return self.interpret(value, depth)


# -- one of several schemas -----------------------------------------------------------------------


class Nullable(Converter):
    """The inner converter's values, or null."""

    def __init__(self, inner: Converter, null: Any) -> None:
        super().__init__(inner.interpret)
        self.takes_text = inner.takes_text
        self.inner = inner
        self.null = null

    def take(self, value: object, depth: int) -> Any:
        return self.null if value is None else self.inner.take(value, depth)


class Reference(Converter):
    """The target of a `$ref`, looked up with the first value: schemas refer to each other.

    Every cycle of schemas passes through here.
    """

    def __init__(self, interpret: Interpret, find: Callable[[], Converter]) -> None:
        super().__init__(interpret)
        self.find = find
        self.target: Converter | None = None

    def take(self, value: object, depth: int) -> Any:
        if self.target is None:
            self.target = self.find()
        if depth >= MAX_DEPTH:
            raise FastPathMiss
        return self.target.take(value, depth + 1)


class Union(Converter):
    """A value whose Python class determines the branch."""

    def __init__(self, interpret: Interpret, by_class: Mapping[type, Converter]) -> None:
        super().__init__(interpret)
        self.takes_text = str in by_class and by_class[str].takes_text
        self.by_class = dict(by_class)

    def take(self, value: object, depth: int) -> Any:
        kind = type(value)
        branch = self.by_class.get(kind)
        return self.interpret(value, depth) if branch is None else branch.take(value, depth)


class Tagged(Converter):
    """An object whose discriminator determines the branch."""

    def __init__(self, interpret: Interpret, key: str, choices: Mapping[str, Converter]) -> None:
        super().__init__(interpret)
        self.key = key
        self.choices = dict(choices)

    def take(self, value: object, depth: int) -> Any:
        kind = type(value)
        if kind is not dict:
            return self.interpret(value, depth)
        return self.branch_of(value).take(value, depth)

    def branch_of(self, table: Any) -> Converter:
        try:
            tag = table.get(self.key)
        except Exception:  # a user's key may not be comparable
            raise FastPathMiss from None
        branch = self.choices.get(tag) if type(tag) is str else None
        if branch is None:
            raise FastPathMiss
        return branch


# -- containers -----------------------------------------------------------------------------------


def tuple_of(item: Converter, values: Any, depth: int) -> tuple[Any, ...]:
    """Return the converted items of a list or a tuple at `depth`."""
    if depth >= MAX_DEPTH:
        raise FastPathMiss
    depth += 1
    # Not a comprehension: as compiled by Cython 3.3, it drops a reference twice when memory runs
    # out.
    parts = list(values)
    for index, part in enumerate(parts):
        if not (item.takes_text and type(part) is str):
            parts[index] = item.take(part, depth)
    return tuple(parts)


class Array(Converter):
    """An array of values of one schema.

    make: makes the instance from a tuple; None if the tuple itself is the instance.
    """

    def __init__(
        self, interpret: Interpret, checks: Checks, item: Converter, make: Make | None
    ) -> None:
        super().__init__(interpret, checks)
        self.item = item
        self.make = make

    def take(self, value: object, depth: int) -> Any:
        if type(value) is not list and type(value) is not tuple:
            return self.interpret(value, depth)
        parts = tuple_of(self.item, value, depth)
        if self.checks:  # check the parts, since others may have changed the value meanwhile
            self.check(parts)
        return parts if self.make is None else self.make(parts)


class Property:
    """The schema of one key of an object."""

    def __init__(self, converter: Converter, required: bool) -> None:
        self.converter = converter
        self.required = required


class Object(Converter):
    """An object, some of whose keys may be declared.

    cls: the class of its instances; `make` makes one from a dict. fills: an instance is also a
        dict, which may be created empty and then filled. others: converts the values of keys that
        are not in `properties`.
    """

    def __init__(
        self,
        interpret: Interpret,
        checks: Checks,
        cls: type,
        make: Make,
        fills: bool,
        properties: Mapping[str, Converter],
        others: Converter,
        required: frozenset[str],
    ) -> None:
        super().__init__(interpret, checks)
        self.cls = cls
        self.make = make
        self.fills = fills
        self.others = Property(others, False)
        self.properties = {key: Property(properties.get(key, others), True) for key in required}
        for key, converter in properties.items():
            self.properties.setdefault(key, Property(converter, False))
        self.required = len(required)

    def take(self, value: object, depth: int) -> Any:
        kind = type(value)
        if kind is not dict and kind is not self.cls:
            return self.interpret(value, depth)
        if depth >= MAX_DEPTH:
            raise FastPathMiss
        depth += 1
        try:
            table = new_table(self, value)
        except Exception:  # a user's keys may not be comparable
            raise FastPathMiss from None
        missing = self.required
        properties, others = self.properties, self.others
        for key, item in table.items():
            if type(key) is not str:
                raise FastPathMiss
            part = properties.get(key, others)
            missing -= part.required
            converter = part.converter
            if not (converter.takes_text and type(item) is str):
                table[key] = converter.take(item, depth)
        if missing:
            raise FastPathMiss
        if self.checks:
            self.check(table)
        return new_object(self, table)


class Free(Converter):
    """A value that no schema describes.

    number, object: convert the numbers and the objects.
    """

    def __init__(
        self, interpret: Interpret, number: Number, cls: type, make: Make, fills: bool
    ) -> None:
        super().__init__(interpret)
        self.takes_text = True
        self.number = number
        self.object = Object(interpret, (), cls, make, fills, {}, self, frozenset())

    def take(self, value: object, depth: int) -> Any:
        kind = type(value)
        if kind is str:
            return value
        if kind is dict:
            return self.object.take(value, depth)
        if kind is list or kind is tuple:
            return tuple_of(self, value, depth)
        if kind is int or kind is float or kind is self.number.cls or kind is Decimal:
            return self.number.take(value, depth)
        if value is True:
            return _true
        if value is False:
            return _false
        if value is None:
            return _none
        return self.interpret(value, depth)


# -- writing --------------------------------------------------------------------------------------

TEXT, NUMBER, OBJECT, ARRAY, TRUE_OR_FALSE, NULL, UNKNOWN = range(7)
_kinds: dict[Any, int] = {
    str: TEXT,
    Decimal: NUMBER,
    dict: OBJECT,
    frozendict: OBJECT,
    list: ARRAY,
    tuple: ARRAY,
    bool: TRUE_OR_FALSE,
    BoolClass: TRUE_OR_FALSE,
    type(None): NULL,
    NoneClass: NULL,
    object: UNKNOWN,
}


def _kind_of(cls: Any) -> int:
    """Return the way to write a class's instances: that of its base with a layout of its own."""
    base, known = cls, None
    while known is None:  # not cached, since classes come and go
        base = base_of(base)
        known = _kinds.get(base)
    # NoneClass holds no data, so no class has its layout from it.
    return NULL if known == UNKNOWN and issubclass(cls, NoneClass) else known


def remember(classes: Iterable[type]) -> None:
    """Cache the way to write the instances of some classes; for permanent classes."""
    for cls in classes:
        _kinds.setdefault(cls, _kind_of(cls))


def json_text(value: object) -> str:
    """Return a cast value, or an instance, as compact JSON text.

    Raises:
        FastPathMiss: it is nested more deeply than `MAX_DEPTH`.
        TypeError: there are bytes or a file in it.
    """
    parts: list[str] = []
    write(value, parts, 0)
    return "".join(parts)


def write(value: object, parts: list[str], depth: int) -> None:
    """Append the JSON text of a value at `depth` to `parts`."""
    cls = type(value)
    known = _kinds.get(cls)
    kind = _kind_of(cls) if known is None else known
    if kind == TEXT:
        write_text(value, parts)
    elif kind == NUMBER:
        parts.append(str(value))
    elif kind == TRUE_OR_FALSE:
        parts.append("true" if value else "false")
    elif kind == NULL:
        parts.append("null")
    elif depth >= MAX_DEPTH:
        raise FastPathMiss
    elif kind == OBJECT:
        write_object(value, parts, depth + 1)
    elif kind == ARRAY:
        write_array(value, parts, depth + 1)
    else:
        raise TypeError(f"{cls.__name__} can't be written as JSON")


def write_object(value: Any, parts: list[str], depth: int) -> None:
    table: dict[str, Any] = dict(value)
    before = "{"
    for key, item in table.items():
        parts.append(before)
        write_text(key, parts)
        parts.append(":")
        write(item, parts, depth)
        before = ","
    parts.append("}" if table else "{}")


def write_array(items: Any, parts: list[str], depth: int) -> None:
    before = "["
    for item in items:
        parts.append(before)
        write(item, parts, depth)
        before = ","
    parts.append("]" if items else "[]")
