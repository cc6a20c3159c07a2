"""The fast path: for schemas of common form, functions that check and build in one pass.

`converter(node, classes)` gives a function that takes a raw Python value to the very instance that
cast, match and build give, or raises `Miss`: then the exact way decides, and explains. So a
converter has to be sound, never complete, and may be left out for any node: `exact` stands in for
what has no faster form.

Objects are compiled per shape, that is, per ordered tuple of keys: a straight line of look-ups and
checks without a loop over the schema. Whether required keys are there and unknown ones allowed is
settled once per shape. A shape is compiled when it comes a second time; the last one used is tried
first, and each schema keeps the `SHAPES` newest.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import datetime
from decimal import Decimal
from functools import cache, partial
from typing import Any, NoReturn

from humanloop.schemas.building import BASES, EXTENDS_DICT, class_of, exact, maker
from humanloop.schemas.formats import FORMATS
from humanloop.schemas.keywords import Check
from humanloop.schemas.nodes import Mismatch, Node
from humanloop.schemas.values import BoolClass, NoneClass

__all__ = ["Miss", "converter"]

Converter = Callable[[Any], Any]
Classes = tuple[type, ...]

SHAPES = 256
"""How many shapes of one schema are kept compiled."""

KEYS = 256
"""How many keys an object may have to be compiled for."""

NUMBERS = 4096
"""How many numbers are kept ready, each of ints and of floats."""

_DICT: Any = dict


class Miss(Exception):
    """The fast path has no answer: the exact one decides."""


def converter(node: Node, classes: Classes = ()) -> Converter:
    """The function that makes a raw value an instance, also of `classes`, or raises `Miss`."""
    found = node.converters.get(classes)
    if found is None:
        # A schema that refers to itself finds this meanwhile.
        node.converters[classes] = lambda value: node.converters[classes](value)
        found = node.converters[classes] = _make(node, classes)
    return found


def _make(node: Node, classes: Classes) -> Converter:
    if node.cls is not None:
        classes = (*classes, node.cls)
    if node.ref is not None:
        return converter(node.target, classes)
    composed = node.all_of or node.any_of or node.one_of
    fast: Converter | None = None
    if node.negated is None and not node.nullable and not node.binary:
        if composed:
            fast = _composed(node, classes)
        elif node.type == "object" and node.discriminator is None:
            fast = _object(node, classes)
        elif node.type == "array":
            fast = _array(node, classes)
        elif node.type == "string":
            fast = _string(node, classes)
        elif node.type in ("number", "integer"):
            fast = _number(node, classes)
        elif node.type == "boolean" and not node.any_checks and not classes:
            fast = _boolean
        elif node.is_free and not classes:
            fast = _free
    return fast or partial(_exact, node, classes)


def _exact(node: Node, classes: Classes, value: Any) -> Any:
    try:
        return exact(node, value, classes)
    except Mismatch:
        raise Miss from None


# -- single values --------------------------------------------------------------------------------

_TRUE, _FALSE, _NONE = BoolClass.TRUE, BoolClass.FALSE, NoneClass.NONE
_is_date_time = FORMATS["date-time"].holds
_fraction = re.compile(r"\.[0-9]+Z").fullmatch
_ints: dict[int, Any] = {}
_floats: dict[float, Any] = {}


def _miss() -> NoReturn:
    raise Miss


def _boolean(value: Any) -> Any:
    return _TRUE if value is True else _FALSE if value is False else _miss()


@cache
def _base_maker(kind: str) -> Converter:
    """What makes a value of a JSON type that no named schema describes."""
    return maker(BASES[kind])


def _any_number(value: Any) -> Any:
    kind = value.__class__
    if kind is int:
        return _ints.get(value) or _keep(_ints, value, Decimal(value))
    if kind is float:
        # 0.0 and -0.0 are one key and two numbers, so neither is kept.
        return _floats.get(value) or _keep(_floats, value, Decimal(repr(value)))
    if kind is Decimal and value.is_finite():
        return _base_maker("number")(value)
    raise Miss


def _keep(kept: dict[Any, Any], value: float, number: Decimal) -> Any:
    if not number.is_finite():
        raise Miss
    made = _base_maker("number")(number)
    if value and len(kept) < NUMBERS:
        kept[value] = made
    return made


def _number(node: Node, classes: Classes) -> Converter | None:
    checks = (*node.any_checks, *node.checks.get("number", ()))
    if classes:
        return None
    integer = node.type == "integer"
    if not integer and not checks:
        return _any_number

    def convert(value: Any) -> Any:
        if integer and value.__class__ is not int:
            raise Miss
        number = _any_number(value)
        for check in checks:
            if not check.holds(number):
                raise Miss
        return number

    return convert


def _string(node: Node, classes: Classes) -> Converter:
    cls = class_of((*classes, node.format_class) if node.format_class else classes, "string")
    new = maker(cls) if cls is not str else None
    checks = (*node.any_checks, *node.checks.get("string", ()))
    if node.members is not None and len(checks) == 1:
        members = {value: value if new is None else new(value) for value in node.members}

        def choose(value: Any) -> Any:
            return members[value] if value.__class__ is str and value in members else _miss()

        return choose
    if [check.holds for check in checks] == [_is_date_time]:
        return partial(_date_time, new or str)
    if new is None and not checks:
        return _plain_string
    return partial(_checked_string, new, checks)


def _plain_string(value: Any) -> Any:
    return value if value.__class__ is str else _miss()


def _checked_string(new: Converter | None, checks: tuple[Check, ...], value: Any) -> Any:
    if value.__class__ is not str:
        raise Miss
    for check in checks:
        if not check.holds(value):
            raise Miss
    return value if new is None else new(value)


def _date_time(new: Converter, value: Any) -> Any:
    if value.__class__ is not str:
        raise Miss
    # The common forms, in UTC, are checked by the calendar in C; separators and hour exclude what
    # fromisoformat takes beyond RFC 3339 (week dates, 24:00).
    end = value[19:]
    common = value[4:17:3] == "--T::" and value[11:13] < "24"
    if common and (end == "Z" or _fraction(end)):
        try:
            datetime.fromisoformat(value[:19])
        except ValueError:
            raise Miss from None
    elif not _is_date_time(value):
        raise Miss
    return new(value)


def _free(value: Any) -> Any:
    """The instance of a value that no schema speaks of."""
    convert = _FREE.get(value.__class__)
    return convert(value) if convert is not None else _miss()


def _free_object(value: Any) -> Any:
    plain = {k: _free(v) if k.__class__ is str else _miss() for k, v in value.items()}
    return _base_maker("object")(plain)


def _free_array(value: Any) -> Any:
    return tuple([_free(item) for item in value])


_FREE: dict[type, Converter] = {
    str: lambda value: value,
    int: _any_number,
    float: _any_number,
    Decimal: _any_number,
    bool: _boolean,
    type(None): lambda value: _NONE,
    dict: _free_object,
    list: _free_array,
    tuple: _free_array,
}

# -- composed values, arrays ----------------------------------------------------------------------

_PYTHON: dict[str, tuple[type, ...]] = {
    "object": (dict,),
    "array": (list, tuple),
    "string": (str,),
    "number": (int, float, Decimal),
    "integer": (int, float, Decimal),
    "boolean": (bool,),
}


def _composed(node: Node, classes: Classes) -> Converter | None:
    """For a schema that is one composition and nothing else, where the value tells the branch."""
    branches = node.all_of or node.any_of or node.one_of
    if not node.is_bare or len(node.all_of) + len(node.any_of) + len(node.one_of) != len(branches):
        return None
    if len(branches) == 1 and node.discriminator is None:
        return converter(branches[0], classes)
    if node.all_of:
        return None
    if node.discriminator is not None:
        key = node.discriminator["propertyName"]
        choices = {name: converter(branch, classes) for name, branch in node.choices.items()}
        return partial(_discriminated, key, choices)
    by_class: dict[type, Converter] = {}
    texts = [branch for branch in branches if branch.resolved.type == "string"]
    if len(texts) > 1:
        choose = _any_string(node, classes, texts) if node.any_of else None
        if choose is None:
            return None
        by_class[str] = choose
        branches = [branch for branch in branches if branch not in texts]
    for branch in branches:
        target = branch.resolved
        if target.type is None or target.nullable or target.binary:
            return None
        for cls in _PYTHON[target.type]:
            if cls in by_class:
                return None
            by_class[cls] = converter(branch, classes)
    return partial(_by_class, by_class)


def _any_string(node: Node, classes: Classes, branches: list[Node]) -> Converter | None:
    """For an anyOf of enums and of plain strings: each member's instance is made ahead."""
    enums = [branch.resolved for branch in branches if branch.resolved.members is not None]
    plain = [branch for branch in branches if branch.resolved.members is None]
    if any(converter(branch, classes) is not _plain_string for branch in plain):
        return None
    members = {text: _exact(node, classes, text) for enum in enums for text in enum.members or ()}
    if plain:
        return lambda value: members.get(value, value)
    return lambda value: members[value] if value in members else _miss()


def _discriminated(key: str, choices: dict[str, Converter], value: Any) -> Any:
    if value.__class__ is not dict:
        raise Miss
    tag = value.get(key)
    convert = choices.get(tag) if tag.__class__ is str else None
    return convert(value) if convert is not None else _miss()


def _by_class(by_class: dict[type, Converter], value: Any) -> Any:
    convert = by_class.get(value.__class__)
    return convert(value) if convert is not None else _miss()


def _array(node: Node, classes: Classes) -> Converter | None:
    if node.any_checks or node.checks.get("array"):
        return None
    cls = class_of(classes, "array")
    new: Converter = maker(cls)
    convert = _free if node.items is None else converter(node.items)

    def convert_array(value: Any) -> Any:
        if value.__class__ is not list and value.__class__ is not tuple:
            raise Miss
        return new([convert(item) for item in value])

    return convert_array


# -- objects --------------------------------------------------------------------------------------


def _object(node: Node, classes: Classes) -> Converter | None:
    if node.any_checks or node.checks.get("object"):
        return None
    cls = class_of(classes, "object")
    if not node.by_kind and cls is BASES["object"]:
        return lambda value: _free_object(value) if value.__class__ is dict else _miss()
    return _Shapes(node, classes, cls).convert


class _Shapes:
    """The compiled shapes of one object schema, and the raw values' way to them."""

    def __init__(self, node: Node, classes: Classes, cls: type[Any]) -> None:
        self.node = node
        self.classes = classes
        self.cls = cls
        self.shapes: dict[tuple[Any, ...], Converter | None] = {}
        self.last: Converter = self.dispatch

    def convert(self, value: Any) -> Any:
        """The instance of a raw value."""
        return self.last(value)

    def dispatch(self, value: Any) -> Any:
        """The instance of a value that the last shape does not fit."""
        if value.__class__ is not dict:
            raise Miss
        if len(value) > KEYS:
            return _exact(self.node, self.classes, value)
        shape = tuple(value)
        if shape not in self.shapes:
            if len(self.shapes) >= SHAPES:
                self.shapes.pop(next(iter(self.shapes)), None)
            self.shapes[shape] = None
            return _exact(self.node, self.classes, value)
        convert = self.shapes[shape]
        if convert is None:
            convert = self.shapes[shape] = self.compile(shape)
        self.last = convert
        return convert(value)

    def compile(self, shape: tuple[Any, ...]) -> Converter:
        """The function for values with exactly these keys; for others it asks `dispatch`."""
        node, count = self.node, len(shape)
        unknown = [key for key in shape if key not in node.properties]
        if (
            any(key.__class__ is not str for key in shape)
            or any(key not in shape for key in node.required)
            or (node.closed and unknown)
        ):
            return lambda value: _miss()
        names: dict[str, Any] = {
            "dispatch": self.dispatch,
            "miss": _miss,
            "true": _TRUE,
            "false": _FALSE,
        }
        strings: list[str] = []
        converted: list[str] = []
        for index, key in enumerate(shape):
            part = node.properties.get(key, node.additional)
            convert = _free if part is None else converter(part)
            if convert is _plain_string:
                strings.append(f"a{index}.__class__ is ")
            else:
                converted.append(f"{key!r}: {_expression(convert, index, names)}")
        lines = [
            "def convert(v):",
            f"    if v.__class__ is not dict or len(v) != {count}: return dispatch(v)",
            "    try:",
            *(f"        a{index} = v[{key!r}]" for index, key in enumerate(shape)),
            "        pass",
            "    except KeyError: return dispatch(v)",
            f"    if not ({''.join(strings)}str): miss()" if strings else "",
            *_construction(self.cls, "{" + ", ".join(converted) + "}" if converted else "", names),
        ]
        # A value's keys may be anybody's: in the source they stand as string literals alone.
        exec(compile("\n".join(lines), f"<schema {node.name}>", "exec"), names)
        return names["convert"]  # type: ignore[no-any-return]


def _expression(convert: Converter, index: int, names: dict[str, Any]) -> str:
    """The source that converts the value `a<index>`."""
    value = f"a{index}"
    if convert is _boolean:
        return f"true if {value} is True else false if {value} is False else miss()"
    owner = getattr(convert, "__self__", None)
    if isinstance(owner, _Shapes):
        names[f"s{index}"] = owner
        return f"s{index}.last({value})"
    names[f"c{index}"] = convert
    return f"c{index}({value})"


def _construction(cls: type[Any], converted: str, names: dict[str, Any]) -> list[str]:
    """The source that makes the instance: of the value `v`, in its order, with parts converted."""
    if not EXTENDS_DICT:
        names["new"] = maker(cls)
        update = [f"    d.update({converted})"] if converted else []
        return ["    d = v.copy()", *update, "    return new(d)"]
    names["new"], names["update"] = partial(_DICT.__new__, cls), _DICT.update
    update = [f"    update(i, {converted})"] if converted else []
    return ["    i = new()", "    update(i, v)", *update, "    return i"]
