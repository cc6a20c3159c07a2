"""The fast path: for schemas of common form, functions that check and build in one pass.

`form(node, classes)` gives what turns a raw Python value into the very instance that cast, match
and build give, or raises `Miss`: then the exact way decides, and explains. A form has to be sound,
never complete, and may be left out for any node: `exact` stands in for what has no faster form.

Objects are compiled per shape, that is, per ordered tuple of keys: a straight line of look-ups and
checks, with the objects inside written out for the shapes that they had in the value at hand.
Required and unknown keys are settled once per shape. Where a value does not fit, `general` walks
over its keys, and of the parts only those that are unusual go the exact way. A shape is compiled
when it comes again, the last one used is tried first, and only shapes of declared keys are kept:
no string that is a user's own.

This module is imported when the first class is used, after those that it makes instances of.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from datetime import datetime
from decimal import Decimal
from functools import partial
from typing import Any, NoReturn

from humanloop.schemas.building import BASES, EXTENDS_DICT, Miss, class_of, exact, free, maker
from humanloop.schemas.casting import is_integer, is_mapping, type_of
from humanloop.schemas.formats import FORMATS
from humanloop.schemas.keywords import Check
from humanloop.schemas.nodes import Mismatch, Node
from humanloop.schemas.values import BoolClass, NoneClass

__all__ = ["Form", "form"]

Converter = Callable[[Any], Any]
Classes = tuple[type, ...]

SHAPES = 256
"""How many shapes of one schema are kept compiled."""

REPEATS = 2
"""How often a shape comes before it is compiled, while there is room."""

HOT = 1000
"""How often it comes before it takes the place of another, where there is no room."""

SEEN = 1024
"""How many shapes are counted, by their hashes; then counting starts anew."""

KEYS = 256
"""How many keys an object may have to be compiled for."""

LEVELS = 3
"""How many levels of objects are written out into one function."""

INTEGERS = 4096
"""Integers whose absolute value is at most this are kept ready, as they come."""

DIGITS = 5
"""Floats that are written in so many characters are kept ready, as they come."""

NUMBERS = 4096
"""How many of these floats are kept."""

_DICT: Any = dict
_MISFITS = "except (KeyError, ValueError, TypeError): pass"


def form(node: Node, classes: Classes = ()) -> Form:
    """How a schema's values are converted, to be instances of `classes`, too."""
    found: Form | None = node.forms.get(classes)
    if found is None:
        # A schema that refers to itself finds this meanwhile.
        node.forms[classes] = Form(lambda value: form(node, classes).convert(value))
        try:
            found = node.forms[classes] = _make(node, classes)
        except BaseException:
            node.forms.pop(classes, None)
            raise
    return found


def _make(node: Node, classes: Classes) -> Form:
    if node.cls is not None:
        classes = (*classes, node.cls)
    if node.ref is not None:
        return form(node.target, classes)
    fast: Form | None = None
    if node.negated is None and not node.binary and not node.descends:
        if node.all_of or node.any_of or node.one_of:
            fast = _composed(node, classes)
        elif node.is_free:
            fast = None if classes else FREE
        elif node.type in _BY_TYPE:
            fast = _BY_TYPE[node.type](node, classes)
    if fast is None:
        return Form(partial(_exact, node, classes))
    if node.nullable:
        with suppress(Miss):  # an enum need not have null, and then nothing takes it
            fast = _Nullable(fast, _exact(node, classes, None))
    return fast


def _exact(node: Node, classes: Classes, value: Any) -> Any:
    try:
        return exact(node, value, classes)
    except Mismatch:
        raise Miss from None


def _miss(*_: Any) -> NoReturn:
    raise Miss


# -- the source of a function ---------------------------------------------------------------------


class _Code:
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

    def write(self, code: _Code, value: str, sample: Any, level: int, other: str = "") -> str:
        """Writes what converts the variable `value`, of which `sample` is an example.

        other: the source of the function for values that don't fit what is written; this form's
            own by default.

        Returns:
            The expression of the result, to be evaluated once.
        """
        return f"{other or code.name(self) + '.convert'}({value})"


class _Nullable(Form):
    """What an inner form takes, or null."""

    def __init__(self, inner: Form, null: Any) -> None:
        super().__init__(lambda value: null if value is None else inner.convert(value))
        self.inner = inner
        self.null = null

    def write(self, code: _Code, value: str, sample: Any, level: int, other: str = "") -> str:
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


_NUMBER_CLASS = BASES["number"]
_new_number = maker(_NUMBER_CLASS)


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
    return _new_number(value) if value.is_finite() else _miss()


def _any_number(value: Any) -> Any:
    kind = type_of(value)
    if kind is int:
        return _int(value)
    if kind is float:
        return _float(value)
    if kind is _NUMBER_CLASS:
        return value
    return _decimal(value) if kind is Decimal else _miss()


def _any_integer(value: Any) -> Any:
    if type_of(value) is int:
        return _int(value)
    return _any_number(value) if isinstance(value, Decimal) and is_integer(value) else _miss()


class _Number(Form):
    """A number without bounds."""

    def write(self, code: _Code, value: str, sample: Any, level: int, other: str = "") -> str:
        other = super().write(code, value, sample, level, other)
        kind = type_of(sample)
        if kind is int:
            kept = code.name(_ints)
            return f"{kept}[{value}] if type({value}) is int and {value} in {kept} else {other}"
        if kind is float and self is NUMBER:
            convert = code.name(_float)
            return f"{convert}({value}) if type({value}) is float else {other}"
        if self is NUMBER:
            return f"{value} if type({value}) is {code.name(_NUMBER_CLASS)} else {other}"
        return other


NUMBER = _Number(_any_number)
INTEGER = _Number(_any_integer)


def _number(node: Node, classes: Classes) -> Form | None:
    if classes:
        return None
    checks = (*node.any_checks, *node.checks.get("number", ()))
    plain = INTEGER if node.type == "integer" else NUMBER
    if not checks:
        return plain

    def convert(value: Any) -> Any:
        number = plain.convert(value)
        for check in checks:
            if not check.holds(number):
                raise Miss
        return number

    return Form(convert)


def _boolean_of(value: Any) -> Any:
    if value is True or value is _TRUE:
        return _TRUE
    return _FALSE if value is False or value is _FALSE else _miss()


class _Boolean(Form):
    def write(self, code: _Code, value: str, sample: Any, level: int, other: str = "") -> str:
        other = super().write(code, value, sample, level, other)
        return f"true if {value} is True else false if {value} is False else {other}"


BOOLEAN = _Boolean(_boolean_of)


def _boolean(node: Node, classes: Classes) -> Form | None:
    return None if node.any_checks or classes else BOOLEAN


class _Text(Form):
    """A string as it is."""

    def write(self, code: _Code, value: str, sample: Any, level: int, other: str = "") -> str:
        other = super().write(code, value, sample, level, other)
        return f"{value} if type({value}) is str else {other}"


def _text_of(value: Any) -> Any:
    if type_of(value) is str:
        return value
    if not issubclass(type_of(value), str) or is_mapping(value):
        raise Miss
    return str.__str__(value)


TEXT = _Text(_text_of)


class _Choice(Form):
    """One of some strings, whose instances are made ahead."""

    def __init__(self, members: dict[str, Any], other: Converter) -> None:
        super().__init__(
            lambda value: (
                members[value] if type_of(value) is str and value in members else other(value)
            )
        )
        self.members = members
        self.is_open = other is TEXT.convert

    def write(self, code: _Code, value: str, sample: Any, level: int, other: str = "") -> str:
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
            return new(value) if _is_date_time(value) else _miss()

        super().__init__(convert)

    def write(self, code: _Code, value: str, sample: Any, level: int, other: str = "") -> str:
        other = super().write(code, value, sample, level, other)
        new, moment, offset = code.name(self.new), code.name(_moment), code.name(_offset)
        fits = f'type({value}) is str and {value}[4:17:3] == "--T::"'
        fits += f' and ({value}[19:] == "Z" or {offset}({value}, 19)) and {moment}({value}[:19])'
        if _HOUR_24:
            fits += f' and {value}[11:13] < "24"'
        return f"{new}({value}) if {fits} else {other}"


def _string(node: Node, classes: Classes) -> Form:
    cls = class_of((*classes, node.format_class) if node.format_class else classes, "string")
    new = maker(cls) if cls is not str else str
    checks = (*node.any_checks, *node.checks.get("string", ()))
    other = partial(_exact, node, classes)
    if node.members is not None and len(checks) == 1:
        return _Choice({text: new(text) for text in node.members}, other)
    if [check.holds for check in checks] == [_is_date_time]:
        return _DateTime(new, other)
    if cls is str and not checks:
        return TEXT
    return Form(partial(_checked, new, checks, other))


def _checked(new: Converter, checks: tuple[Check, ...], other: Converter, value: Any) -> Any:
    if type_of(value) is not str:
        return other(value)
    for check in checks:
        if not check.holds(value):
            raise Miss
    return new(value)


# -- what no schema speaks of ---------------------------------------------------------------------


def _assembler(cls: type[Any]) -> Callable[[Any, dict[str, Any]], Any]:
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


_assemble_free = _assembler(BASES["object"])


def _free_object(value: Any) -> Any:
    try:
        changes: dict[str, Any] = {
            key: _FREE[type_of(item)](item) if type_of(key) is str else _miss()
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
    _NUMBER_CLASS: lambda value: value,
    bool: lambda value: _TRUE if value else _FALSE,
    type(None): lambda value: _NONE,
    dict: _free_object,
    list: _free_array,
    tuple: _free_array,
}


class _Free(Form):
    """A value of any kind."""

    def write(self, code: _Code, value: str, sample: Any, level: int, other: str = "") -> str:
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

    def write(self, code: _Code, value: str, sample: Any, level: int, other: str = "") -> str:
        other = super().write(code, value, sample, level, other)
        return f"{code.name(_free_object)}({value}) if type({value}) is dict else {other}"


FREE = _Free(_free)
FREE_OBJECT = _FreeObject(
    lambda value: _free(value) if type_of(value) is dict or is_mapping(value) else _miss()
)

# -- composed values, arrays ----------------------------------------------------------------------

_PYTHON: dict[str, tuple[type, ...]] = {
    "object": (dict,),
    "array": (list, tuple),
    "string": (str,),
    "number": (int, float, Decimal),
    "integer": (int, float, Decimal),
    "boolean": (bool,),
}


class _Union(Form):
    """A value whose Python class tells the branch."""

    def __init__(self, by_class: dict[type, Form], other: Converter) -> None:
        unknown = Form(other)
        super().__init__(lambda value: by_class.get(type_of(value), unknown).convert(value))
        self.by_class = by_class

    def write(self, code: _Code, value: str, sample: Any, level: int, other: str = "") -> str:
        branch = self.by_class.get(type_of(sample))
        if branch is None:
            return super().write(code, value, sample, level, other)
        return branch.write(code, value, sample, level, other or f"{code.name(self)}.convert")


class _Tagged(Form):
    """An object whose discriminator tells the branch."""

    def __init__(self, key: str, choices: dict[str, Form], other: Converter) -> None:
        self.key = key
        self.choices = choices
        self.other = other
        super().__init__(self.choose)

    def choose(self, value: Any) -> Any:
        if type_of(value) is not dict:
            return self.other(value)
        tag = value.get(self.key)
        branch = self.choices.get(tag) if type_of(tag) is str else None
        return branch.convert(value) if branch is not None else _miss()

    def write(self, code: _Code, value: str, sample: Any, level: int, other: str = "") -> str:
        tag = sample.get(self.key) if type_of(sample) is dict else None
        branch = self.choices.get(tag) if isinstance(tag, str) else None
        if not isinstance(branch, _Object) or not branch.is_told_by(self.key, tag):
            return super().write(code, value, sample, level, other)
        other = other or f"{code.name(self)}.convert"
        told = f"type({value}) is dict and {value}.get({self.key!r}) == {tag!r}"
        target = code.variable()
        with code.block(f"if {told}:"):
            code.line(f"{target} = {branch.write(code, value, sample, level, other)}")
        with code.block("else:"):
            code.line(f"{target} = {other}({value})")
        return target


def _composed(node: Node, classes: Classes) -> Form | None:
    """For a schema that is one composition and nothing else, where the value tells the branch."""
    branches = node.all_of or node.any_of or node.one_of
    if not node.is_bare or len(node.all_of) + len(node.any_of) + len(node.one_of) != len(branches):
        return None
    if len(branches) == 1 and node.discriminator is None:
        return form(branches[0], classes)
    if node.all_of:
        return None
    other = partial(_exact, node, classes)
    if node.discriminator is not None:
        choices = {name: form(branch, classes) for name, branch in node.choices.items()}
        return _Tagged(node.discriminator["propertyName"], choices, other)
    by_class: dict[type, Form] = {}
    texts = [branch for branch in branches if branch.resolved.type == "string"]
    if len(texts) > 1:
        choice = _any_string(node, classes, texts) if node.any_of else None
        if choice is None:
            return None
        by_class[str] = choice
        branches = [branch for branch in branches if branch not in texts]
    for branch in branches:
        target = branch.resolved
        if target.type is None or target.nullable or target.binary:
            return None
        for cls in _PYTHON[target.type]:
            if cls in by_class:
                return None
            by_class[cls] = form(branch, classes)
    return _Union(by_class, other)


def _any_string(node: Node, classes: Classes, branches: list[Node]) -> Form | None:
    """For an anyOf of enums and of plain strings: each member's instance is made ahead."""
    enums = [branch.resolved for branch in branches if branch.resolved.members is not None]
    plain = [branch for branch in branches if branch.resolved.members is None]
    if any(form(branch, classes) is not TEXT for branch in plain):
        return None
    members: dict[str, Any] = {}
    for text in (text for enum in enums for text in enum.members or ()):
        with suppress(Miss):  # another keyword may exclude it
            members[text] = _exact(node, classes, text)
    return _Choice(members, TEXT.convert if plain else _miss)


def _array(node: Node, classes: Classes) -> Form | None:
    checks = node.checks.get("array", ())
    if node.any_checks or any(check.keyword == "uniqueItems" for check in checks):
        return None
    cls = class_of(classes, "array")
    new: Any = tuple if cls is tuple else maker(cls)
    item = FREE if node.items is None else form(node.items)
    other = partial(_exact, node, classes)

    def convert(value: Any) -> Any:
        if not (type_of(value) is list or type_of(value) is tuple):
            return other(value)
        for check in checks:
            if not check.holds(value):
                raise Miss
        parts: list[Any] = [item.convert(part) for part in value]
        return new(parts)

    def convert_texts(value: Any) -> Any:
        if type_of(value) is list or type_of(value) is tuple:
            for part in value:
                if type_of(part) is not str:
                    break
            else:
                return new(value)
        return convert(value)

    return Form(convert if checks or item is not TEXT else convert_texts)


# -- objects --------------------------------------------------------------------------------------


class _Object(Form):
    """An object, and the shapes that its values were seen to have."""

    def __init__(self, node: Node, classes: Classes, cls: type[Any]) -> None:
        super().__init__(self.dispatch)
        self.name = node.name
        self.cls = cls
        self.assemble = _assembler(cls)
        self.required = [key for key in node.required if key not in node.directions]
        self.checks = node.checks.get("object", ())
        self.parts = {key: form(part) for key, part in node.properties.items()}
        self.extra = Form(_miss) if node.closed else FREE
        if node.additional is not None:
            self.extra = form(node.additional)
        self.exactly = partial(_exact, node, classes)
        self.shapes: dict[tuple[Any, ...], Converter] = {}
        self.counts: dict[int, int] = {}
        self.texts = frozenset(key for key, part in self.parts.items() if part in (TEXT, FREE))

    def dispatch(self, value: Any) -> Any:
        """The instance of a value that the last shape does not fit."""
        if type_of(value) is not dict:
            return self.general(value) if type_of(value) is self.cls else self.exactly(value)
        shape = tuple(value)
        convert = self.shapes.get(shape) or self.learn(shape, value)
        if convert is None:
            return self.general(value)
        self.convert = convert
        return convert(value)

    def learn(self, shape: tuple[Any, ...], value: Any) -> Converter | None:
        """The function for a shape that is new here, if it is worth one."""
        mark = hash(shape)
        count = self.counts.get(mark, 0) + 1
        is_full = len(self.shapes) >= SHAPES
        if count < (HOT if is_full else REPEATS):
            if len(self.counts) >= SEEN:
                self.counts.clear()
            self.counts[mark] = count
            return None
        self.counts.pop(mark, None)
        if len(shape) > KEYS or not self.takes(value):
            return None
        if is_full:
            oldest, *_ = self.shapes  # in one step, as other threads may change them
            self.shapes.pop(oldest, None)
        convert = self.shapes[shape] = self.compile(value)
        return convert

    def takes(self, value: dict[Any, Any]) -> bool:
        """Whether a value has all the keys that it must have, and declared ones only."""
        return (
            not self.checks
            and all(key in value for key in self.required)
            and all(type_of(key) is str and key in self.parts for key in value)
        )

    def is_told_by(self, key: str, tag: Any) -> bool:
        """Whether values are of this branch only with `tag` at `key`."""
        part = self.parts.get(key)
        return isinstance(part, _Choice) and part.members.keys() == {tag} and key in self.required

    def general(self, value: Any) -> Any:
        """The instance of a value of any shape."""
        for key in self.required:
            if key not in value:
                raise Miss
        for check in self.checks:
            if not check.holds(value):
                raise Miss
        part_of, extra, texts = self.parts.get, self.extra, self.texts
        changes: dict[str, Any] = {}
        for key, item in value.items():
            if type_of(key) is not str:
                raise Miss
            if type_of(item) is not str or key not in texts:
                changes[key] = part_of(key, extra).convert(item)
        return self.assemble(value, changes)

    def compile(self, sample: dict[str, Any]) -> Converter:
        """The function for values that have the keys of `sample`."""
        code = _Code(self.name)
        code.names.update(dispatch=self.dispatch, general=self.general)
        with code.block("def convert(v):"):
            code.line(f"if type(v) is not dict or len(v) != {len(sample)}: return dispatch(v)")
            with code.block("try:"):
                parts = self.write_parts(code, "v", sample)
                code.line("pass")
            code.line("except KeyError: return dispatch(v)")
            with code.block("try:"):
                made = self.write_instance(code, "v", sample, parts, 0)
                code.line(f"return {made}")
            code.line(_MISFITS)
            code.line("return general(v)")
        return code.function()

    def write(self, code: _Code, value: str, sample: Any, level: int, other: str = "") -> str:
        other = super().write(code, value, sample, level, other)
        if level >= LEVELS or type_of(sample) is not dict or not self.takes(sample):
            return other
        target = code.variable()
        code.line(f"{target} = None")
        with code.block(f"if type({value}) is dict and len({value}) == {len(sample)}:"):
            with code.block("try:"):
                parts = self.write_parts(code, value, sample)
                code.line(f"{target} = {self.write_instance(code, value, sample, parts, level)}")
            code.line(_MISFITS)
        code.line(f"if {target} is None: {target} = {other}")
        return target

    def write_parts(self, code: _Code, value: str, sample: dict[str, Any]) -> dict[str, str]:
        """Writes the look-ups of the parts of `value`; their variables by key."""
        parts = {key: code.variable() for key in sample}
        for key, part in parts.items():
            code.line(f"{part} = {value}[{key!r}]")
        return parts

    def write_instance(
        self, code: _Code, value: str, sample: dict[str, Any], parts: dict[str, str], level: int
    ) -> str:
        """Writes what checks and converts the parts; the variable of the instance."""
        # What equals a declared key need not be a string itself, and is not kept.
        keys = [code.variable() for _ in parts]
        texts = [part for key, part in parts.items() if self.parts[key] is TEXT]
        if keys:
            code.line(f"{', '.join(keys)}, = {value}")
            classes = " is ".join(f"type({part})" for part in (*keys, *texts))
            code.line(f"if not {classes} is str: raise KeyError")
        changes = {
            key: self.parts[key].write(code, part, sample[key], level + 1)
            for key, part in parts.items()
            if self.parts[key] is not TEXT
        }
        display = ", ".join(f"{key!r}: {change}" for key, change in changes.items())
        target = code.variable()
        if not EXTENDS_DICT:
            code.line(f"{target} = {code.name(maker(self.cls))}({{**{value}, {display}}})")
            return target
        code.line(f"{target} = {code.name(partial(_DICT.__new__, self.cls))}()")
        code.line(f"update({target}, {value})")
        if len(changes) > 2:
            code.line(f"update({target}, {{{display}}})")
        else:
            for key, change in changes.items():
                code.line(f"put({target}, {key!r}, {change})")
        return target


def _object(node: Node, classes: Classes) -> Form | None:
    if node.any_checks:
        return None
    cls = class_of(classes, "object")
    if not node.by_kind and cls is BASES["object"] and not node.checks.get("object"):
        return FREE_OBJECT
    return _Object(node, classes, cls)


_BY_TYPE: dict[str | None, Callable[[Node, Classes], Form | None]] = {
    "object": _object,
    "array": _array,
    "string": _string,
    "number": _number,
    "integer": _number,
    "boolean": _boolean,
}
