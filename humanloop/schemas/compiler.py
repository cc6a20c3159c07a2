"""The fast path: for schemas of common form, functions that check and build in one pass.

`form(node, classes)` gives the `Form` of a schema (`forms`), of compositions, arrays and objects,
too. It may be left out for any node: the exact way stands in for what has no faster form.

Objects are compiled per shape, that is, per ordered tuple of keys: a straight line of look-ups and
checks, with the objects inside written out for the shapes that they had in the value at hand.
Required and unknown keys are settled once per shape. Where a value does not fit, `general` walks
over its keys, and of the parts only those that are unusual go the exact way. A shape is compiled
when it comes again, the last one used is tried first, and only shapes of declared keys are kept:
no string that is a user's own.

This module is imported when the first class is used, after those that it makes instances of.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from decimal import Decimal
from functools import partial
from typing import Any

from humanloop.schemas.building import BASES, Miss, class_of, maker
from humanloop.schemas.casting import type_of
from humanloop.schemas.forms import (
    FREE,
    FREE_OBJECT,
    NUMBER_CLASS,
    TEXT,
    Choice,
    Classes,
    Code,
    Converter,
    Form,
    Names,
    Nullable,
    boolean_form,
    exactly,
    has_names,
    hold,
    miss,
    number_form,
    string_form,
)
from humanloop.schemas.nodes import Node

__all__ = ["form"]

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

_MISFITS = "except (KeyError, ValueError, TypeError): pass"


def form(node: Node, classes: Classes = ()) -> Form:
    """How a schema's values are converted, to be instances of `classes`, too."""
    found: Form | None = node.forms.get(classes)
    if found is None:
        # A schema that refers to itself finds this meanwhile.
        node.forms[classes] = Form(lambda value, own: form(node, classes).convert(value, own))
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
        return Form(partial(exactly, node, classes))
    if node.nullable:
        with suppress(Miss):  # an enum need not have null, and then nothing takes it
            fast = Nullable(fast, exactly(node, classes, None))
    return fast


# -- composed values, arrays ----------------------------------------------------------------------

_PYTHON: dict[str, tuple[type, ...]] = {
    "object": (dict,),
    "array": (list, tuple),
    "string": (str,),
    "number": (int, float, Decimal, NUMBER_CLASS),
    "integer": (int, float, Decimal, NUMBER_CLASS),
    "boolean": (bool,),
}


class _Union(Form):
    """A value whose Python class tells the branch."""

    def __init__(self, by_class: dict[type, Form], other: Converter) -> None:
        unknown = Form(other)
        super().__init__(
            lambda value, own: by_class.get(type_of(value), unknown).convert(value, own)
        )
        self.by_class = by_class

    def write(self, code: Code, value: str, sample: Any, level: int, other: str = "") -> str:
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

    def choose(self, value: Any, own: bool) -> Any:
        if type_of(value) is not dict:
            return self.other(value, own)
        tag = value.get(self.key)
        branch = self.choices.get(tag) if type_of(tag) is str else None
        return branch.convert(value, own) if branch is not None else miss()

    def write(self, code: Code, value: str, sample: Any, level: int, other: str = "") -> str:
        tag = sample.get(self.key) if type_of(sample) is dict else None
        branch = self.choices.get(tag) if isinstance(tag, str) else None
        if not isinstance(branch, _Object) or not branch.is_told_by(self.key, tag):
            return super().write(code, value, sample, level, other)
        # What the branch is written to take has its tag: the tag is among the branch's checks.
        return branch.write(code, value, sample, level, other or f"{code.name(self)}.convert")


def _composed(node: Node, classes: Classes) -> Form | None:
    """For a schema that is one composition and nothing else, where the value tells the branch."""
    branches = node.all_of or node.any_of or node.one_of
    if not node.is_bare or len(node.all_of) + len(node.any_of) + len(node.one_of) != len(branches):
        return None
    if len(branches) == 1 and node.discriminator is None:
        return form(branches[0], classes)
    if node.all_of:
        return None
    other = partial(exactly, node, classes)
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
            members[text] = exactly(node, classes, text)
    return Choice(members, TEXT.convert if plain else miss)


class _Array(Form):
    """An array of values that are all of one form."""

    def __init__(self, item: Form, new: Callable[[Any], Any], convert: Converter) -> None:
        super().__init__(convert)
        self.item = item
        self.new = new

    def write(self, code: Code, value: str, sample: Any, level: int, other: str = "") -> str:
        other = super().write(code, value, sample, level, other)
        if type_of(sample) is not list:
            return other
        target, part, parts = code.variable(), code.variable(), code.variable()
        with code.block(f"if type({value}) is list:"):
            code.line(f"{parts} = []")
            with code.block(f"for {part} in {value}:"):
                made = self.item.write(code, part, sample[0] if sample else None, level + 1)
                code.line(f"{parts}.append({made})")
            code.line(f"{target} = {code.name(self.new)}({parts})")
        with code.block("else:"):
            code.line(f"{target} = {other}")
        return target


def _array(node: Node, classes: Classes) -> Form | None:
    checks = node.checks.get("array", ())
    if node.any_checks or any(check.keyword == "uniqueItems" for check in checks):
        return None
    cls = class_of(classes, "array")
    new: Any = tuple if cls is tuple else maker(cls)
    item = FREE if node.items is None else form(node.items)
    other = partial(exactly, node, classes)

    def convert(value: Any, own: bool) -> Any:
        if not (type_of(value) is list or type_of(value) is tuple):
            return other(value, own)
        if checks:
            hold(checks, value)
        return new([item.convert(part, own) for part in value])

    def convert_texts(value: Any, own: bool) -> Any:
        if type_of(value) is list or type_of(value) is tuple:
            for part in value:
                if type_of(part) is not str:
                    break
            else:
                return new(value)
        return convert(value, own)

    if checks:
        return Form(convert)
    return Form(convert_texts) if item is TEXT else _Array(item, new, convert)


# -- objects --------------------------------------------------------------------------------------


class _Object(Form):
    """An object, and the shapes that its values were seen to have."""

    def __init__(self, node: Node, classes: Classes, cls: type[Any]) -> None:
        super().__init__(self.dispatch)
        self.name = node.name
        self.cls = cls
        self.new = maker(cls)
        self.required = [key for key in node.required if key not in node.directions]
        self.checks = node.checks.get("object", ())
        self.parts = {key: form(part) for key, part in node.properties.items()}
        self.extra = Form(miss) if node.closed else FREE
        if node.additional is not None:
            self.extra = form(node.additional)
        self.exactly = partial(exactly, node, classes)
        self.names = Names(dispatch=self.dispatch, general=self.general)
        self.shapes: dict[tuple[Any, ...], Converter] = {}
        self.last: Converter | None = None
        self.counts: dict[int, int] = {}
        self.texts = frozenset(key for key, part in self.parts.items() if part in (TEXT, FREE))

    def dispatch(self, value: Any, own: bool) -> Any:
        """The instance of a value that the last shape does not fit."""
        if type_of(value) is not dict:
            is_ours = type_of(value) is self.cls
            return self.general({**value}, True) if is_ours else self.exactly(value, own)
        shape = tuple(value)
        convert = self.shapes.get(shape) or self.learn(shape, value)
        if convert is None or not (own or has_names(value)):
            return self.general(value, own)
        # While shapes alternate it takes less time to look each up than to try the last.
        self.convert = convert if convert is self.last else self.dispatch
        self.last = convert
        return convert(value, own)

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
        return isinstance(part, Choice) and part.members.keys() == {tag} and key in self.required

    def general(self, value: dict[Any, Any], own: bool) -> Any:
        """The instance of a value of any shape."""
        for key in self.required:
            if key not in value:
                raise Miss
        if not own and not has_names(value):
            raise Miss
        if self.checks:
            hold(self.checks, value)
        part_of, extra, texts = self.parts.get, self.extra, self.texts
        parts: dict[str, Any] = value if own else {**value}
        for key, item in value.items():
            if type_of(item) is not str or key not in texts:
                parts[key] = part_of(key, extra).convert(item, own)
        return self.new(parts)

    def compile(self, sample: dict[str, Any]) -> Converter:
        """The function for values that have the keys of `sample`."""
        code = Code(self.name, self.names)
        with code.block("def convert(v, own):"):
            code.line(f"if not ({self.fits('v', sample)}): return dispatch(v, own)")
            with code.block("try:"):
                parts = self.write_parts(code, "v", sample)
                code.line("pass")
            code.line("except KeyError: return dispatch(v, own)")
            with code.block("try:"):
                code.line(f"return {self.write_instance(code, 'v', sample, parts, 0)}")
            code.line(_MISFITS)
            code.line("return general(v, own)")
        return code.function()

    def write(self, code: Code, value: str, sample: Any, level: int, other: str = "") -> str:
        other = super().write(code, value, sample, level, other)
        if level >= LEVELS or type_of(sample) is not dict or not self.takes(sample):
            return other
        target = code.variable()
        code.line(f"{target} = None")
        with code.block(f"if {self.fits(value, sample)}:"):
            with code.block("try:"):
                parts = self.write_parts(code, value, sample)
                code.line(f"{target} = {self.write_instance(code, value, sample, parts, level)}")
            code.line(_MISFITS)
        code.line(f"if {target} is None: {target} = {other}")
        return target

    def fits(self, value: str, sample: dict[str, Any]) -> str:
        """Whether `value` may have the keys of `sample`, and has strings for keys."""
        head = f"type({value}) is dict and len({value}) == {len(sample)}"
        return f"{head} and (own or {value}.__sizeof__() in sizes or has_names({value}))"

    def write_parts(self, code: Code, value: str, sample: dict[str, Any]) -> dict[str, str]:
        """Writes the look-ups of the parts of `value`; their variables by key."""
        parts = {key: code.variable() for key in sample}
        for key, part in parts.items():
            code.line(f"{part} = {value}[{key!r}]")
        return parts

    def write_instance(
        self, code: Code, value: str, sample: dict[str, Any], parts: dict[str, str], level: int
    ) -> str:
        """Writes what checks and converts the parts; the instance's expression."""
        texts = [f"type({part})" for key, part in parts.items() if self.parts[key] is TEXT]
        if texts:
            code.line(f"if not {' is '.join(texts)} is str: raise KeyError")
        changes = {
            key: self.parts[key].write(code, part, sample[key], level + 1)
            for key, part in parts.items()
            if self.parts[key] is not TEXT
        }
        return code.instance(self.new, value, changes)


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
    "string": string_form,
    "number": number_form,
    "integer": number_form,
    "boolean": boolean_form,
}
