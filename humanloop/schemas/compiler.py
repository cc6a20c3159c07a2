"""The fast path: for schemas of common form, functions that check and build in one pass.

`converter_of(node, classes)` gives the `Converter` of a schema (`forms`), of compositions, arrays and objects,
too. It may be left out for any node: the exact way stands in for what has no faster form.

An object is compiled when a second value comes: into one function that looks up each declared key,
those that this value has first, checks and converts what it finds, and makes the instance. A value
that the function is not for, or not sure of, goes to `general`, which walks over the keys, and of
whose parts only those that are unusual go the exact way. No value and no key of a user is kept.

This module is imported when the first class is used, after those that it makes instances of.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from decimal import Decimal
from functools import partial
from typing import Any

from humanloop.schemas.casting import type_of
from humanloop.schemas.forms import (
    FREE,
    FREE_OBJECT,
    NUMBER_CLASS,
    TEXT,
    Classes,
    Code,
    Convert,
    Converter,
    EnumConverter,
    Nullable,
    boolean_form,
    has_names,
    hold,
    interpret_or_miss,
    miss,
    number_form,
    string_form,
)
from humanloop.schemas.instances import BASES, FastPathMiss, class_of, interpret, maker
from humanloop.schemas.matcher import Mismatch
from humanloop.schemas.nodes import Node

__all__ = ["converter_of"]

KEYS = 256
"""How many keys a schema may declare for its objects to be compiled."""


def converter_of(node: Node, classes: Classes = ()) -> Converter:
    """How a schema's values are converted, to be instances of `classes`, too."""
    found: Converter | None = node.converters.get(classes)
    if found is None:
        # A schema that refers to itself finds this meanwhile.
        node.converters[classes] = Converter(
            lambda value: converter_of(node, classes).convert(value),
            lambda value: converter_of(node, classes).adopt(value),
        )
        try:
            found = node.converters[classes] = _make(node, classes)
        except BaseException:
            node.converters.pop(classes, None)
            raise
    return found


def _make(node: Node, classes: Classes) -> Converter:
    if node.cls is not None:
        classes = (*classes, node.cls)
    if node.ref is not None:
        return converter_of(node.target, classes)
    fast: Converter | None = None
    if node.negated is None and not node.binary and not node.selects_subtype:
        if node.all_of or node.any_of or node.one_of:
            fast = _composed(node, classes)
        elif node.is_free:
            fast = None if classes else FREE
        elif node.type in _BY_TYPE:
            fast = _BY_TYPE[node.type](node, classes)
    if fast is None:
        return Converter(partial(interpret_or_miss, node, classes))
    if node.nullable:
        with suppress(Mismatch):  # an enum need not have null, and then nothing takes it
            fast = Nullable(fast, interpret(node, None, classes))
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


class _Union(Converter):
    """A value whose Python class tells the branch."""

    def __init__(self, by_class: dict[type, Converter], other: Convert) -> None:
        unknown = Converter(other)
        super().__init__(
            lambda value: by_class.get(type_of(value), unknown).convert(value),
            lambda value: by_class.get(type_of(value), unknown).adopt(value),
        )
        self.by_class = by_class

    def write(self, code: Code, target: str, value: str) -> None:
        classes: dict[Converter, list[type]] = {}
        for cls, branch in self.by_class.items():
            classes.setdefault(branch, []).append(cls)
        word = "if"
        for branch, of in classes.items():
            told = f"in {code.name(tuple(of))}" if len(of) > 1 else f"is {code.name(of[0])}"
            with code.block(f"{word} type({value}) {told}:"):
                branch.write(code, target, value)
            word = "elif"
        with code.block("else:"):
            super().write(code, target, value)


class _Tagged(Converter):
    """An object whose discriminator tells the branch."""

    def __init__(self, key: str, choices: dict[str, Converter], other: Convert) -> None:
        self.key = key
        self.choices = choices
        self.other = Converter(other)
        super().__init__(
            lambda value: self.branch_of(value).convert(value),
            lambda value: self.branch_of(value).adopt(value),
        )

    def branch_of(self, value: Any) -> Converter:
        if type_of(value) is not dict:
            return self.other
        tag = value.get(self.key)
        branch = self.choices.get(tag) if type_of(tag) is str else None
        return branch or miss()

    def write(self, code: Code, target: str, value: str) -> None:
        tag = code.variable()
        is_told = f"type({value}) is dict and type({tag} := {value}[{self.key!r}]) is str"
        with code.block(f"if {is_told}:"):
            code.assign(target, f"{code.name(self.choices)}[{tag}]", value)
        code.line(f"else: {target} = {self.call(code, value)}")


def _composed(node: Node, classes: Classes) -> Converter | None:
    """For a schema that is one composition and nothing else, where the value tells the branch."""
    branches = node.all_of or node.any_of or node.one_of
    if not node.is_bare or len(node.all_of) + len(node.any_of) + len(node.one_of) != len(branches):
        return None
    if len(branches) == 1 and node.discriminator is None:
        return converter_of(branches[0], classes)
    if node.all_of:
        return None
    other = partial(interpret_or_miss, node, classes)
    if node.discriminator is not None:
        choices = {name: converter_of(branch, classes) for name, branch in node.choices.items()}
        return _Tagged(node.discriminator["propertyName"], choices, other)
    by_class: dict[type, Converter] = {}
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
            by_class[cls] = converter_of(branch, classes)
    return _Union(by_class, other)


def _any_string(node: Node, classes: Classes, branches: list[Node]) -> Converter | None:
    """For an anyOf of enums and of plain strings: each member's instance is made ahead."""
    enums = [branch.resolved for branch in branches if branch.resolved.members is not None]
    plain = [branch for branch in branches if branch.resolved.members is None]
    if any(converter_of(branch, classes) is not TEXT for branch in plain):
        return None
    members: dict[str, Any] = {}
    for text in (str.__str__(text) for enum in enums for text in enum.members or ()):
        with suppress(Mismatch):  # another keyword may exclude it
            members[text] = interpret(node, text, classes)
    return EnumConverter(members, TEXT.convert if plain else miss)


class _Array(Converter):
    """An array of values that are all of one form."""

    def __init__(
        self, item: Converter, new: Callable[[Any], Any], convert: Convert, adopt: Convert
    ) -> None:
        super().__init__(convert, adopt)
        self.item = item
        self.new = new

    def write(self, code: Code, target: str, value: str) -> None:
        if code.is_deep:
            super().write(code, target, value)
            return
        index, part, parts = code.variable(), code.variable(), code.variable()
        with code.block(f"if type({value}) is list:"):
            code.line(f"{parts} = {value if code.own else f'{value}.copy()'}")
            with code.block(f"for {index}, {part} in enumerate({value}):"):
                self.item.write(code, f"{parts}[{index}]", part)
            code.line(f"{target} = {code.name(self.new)}({parts})")
        with code.block("else:"):
            super().write(code, target, value)


def _array(node: Node, classes: Classes) -> Converter | None:
    checks = node.checks.get("array", ())
    if node.any_checks or any(check.keyword == "uniqueItems" for check in checks):
        return None
    cls = class_of(classes, "array")
    new: Any = tuple if cls is tuple else maker(cls)
    item = FREE if node.items is None else converter_of(node.items)
    other = partial(interpret_or_miss, node, classes)

    def convert(value: Any) -> Any:
        if not (type_of(value) is list or type_of(value) is tuple):
            return other(value)
        if checks:
            hold(checks, value)
        return new([item.convert(part) for part in value])

    def adopt(value: Any) -> Any:
        if type_of(value) is not list:
            return convert(value)
        if checks:
            hold(checks, value)
        return new([item.adopt(part) for part in value])

    def convert_texts(value: Any) -> Any:
        if type_of(value) is list or type_of(value) is tuple:
            for part in value:
                if type_of(part) is not str:
                    break
            else:
                return new(value)
        return convert(value)

    if checks:
        return Converter(convert, adopt)
    return Converter(convert_texts) if item is TEXT else _Array(item, new, convert, adopt)


# -- objects --------------------------------------------------------------------------------------


class _Object(Converter):
    """An object, of which some keys may be declared."""

    def __init__(self, node: Node, classes: Classes, cls: type[Any]) -> None:
        super().__init__(partial(self.first, False), partial(self.first, True))
        self.name = node.name
        self.cls = cls
        self.new = maker(cls)
        self.required = [key for key in node.required if key not in node.directions]
        self.checks = node.checks.get("object", ())
        self.parts = {key: converter_of(part) for key, part in node.properties.items()}
        self.extra = Converter(miss) if node.closed else FREE
        if node.additional is not None:
            self.extra = converter_of(node.additional)
        self.interpret_or_miss = partial(interpret_or_miss, node, classes)
        self.texts = frozenset(key for key, part in self.parts.items() if part in (TEXT, FREE))
        self.first_keys: list[str] = []
        self.is_text = len(self.texts) == len(self.parts)

    def first(self, own: bool, value: Any) -> Any:
        """The instance of the first value that comes: it may stay the only one."""
        after = self.second if len(self.parts) <= KEYS else self.unusual
        self.convert, self.adopt = partial(after, False), partial(after, True)
        if type_of(value) is dict and has_names(value):
            self.first_keys = self.declared_in(value)
        return self.unusual(own, value)

    def second(self, own: bool, value: Any) -> Any:
        if type_of(value) is not dict or not has_names(value):
            return self.unusual(own, value)
        convert = self.compile(own, self.declared_in(value))
        if own:
            self.adopt = convert
        else:
            self.convert = convert
        return convert(value)

    def declared_in(self, value: dict[Any, Any]) -> list[str]:
        """The declared keys that a value has: the schema's own strings, none of the value's."""
        return [key for key in self.parts if key in value]

    def unusual(self, own: bool, value: Any) -> Any:
        """The instance of a value that need not be a dict, nor have strings for keys."""
        if type_of(value) is dict:
            return self.general(own, value)
        # An instance of this class has all of its parts made.
        is_ours = type_of(value) is self.cls
        return self.general(True, {**value}) if is_ours else self.interpret_or_miss(value)

    def general(self, own: bool, value: dict[Any, Any]) -> Any:
        """The instance of a dict, whatever is in it; of an own one, parts may be made already."""
        if not own and not has_names(value):
            raise FastPathMiss
        for key in self.required:
            if key not in value:
                raise FastPathMiss
        if self.checks:
            hold(self.checks, value)
        part_of, extra, texts = self.parts.get, self.extra, self.texts
        parts: dict[str, Any] = value if own else {**value}
        for key, item in value.items():
            if type_of(item) is not str or key not in texts:
                part = part_of(key, extra)
                parts[key] = part.adopt(item) if own else part.convert(item)
        return self.new(parts)

    def with_extras(self, own: bool, value: dict[str, Any], parts: dict[str, Any]) -> Any:
        """The parts, those converted, too, that no property describes."""
        if parts is value and not own:
            parts = value.copy()
        extra = self.extra.adopt if own else self.extra.convert
        for key, item in value.items():
            if key not in self.parts:
                parts[key] = extra(item)
        return parts

    def compile(self, own: bool, seen: list[str]) -> Convert:
        """The function for dicts; for those with the keys that were seen it is the shortest way."""
        code = Code(self.name, own, general=self.general, unusual=self.unusual)
        parts = "v" if own else "p"
        required = [key for key in self.parts if key in self.required]
        likely = [key for key in seen if key not in required]
        others = [key for key in self.parts if key not in (*required, *likely)]
        with code.block("def convert(v, type=type, str=str):"):
            code.line(f"if type(v) is not dict: return unusual({own}, v)")
            with code.block("try:"):
                if not own:
                    code.expect_names()
                if self.checks:
                    code.line(f"{code.name(hold)}({code.name(self.checks)}, v)")
                for key in self.required:
                    if key not in self.parts:
                        code.line(f"v[{key!r}]")
                if likely and seen == self.first_keys:  # the same again: they may be steady
                    with code.block(f"if len(v) == {len(required) + len(likely)}:"):
                        self.write_all(code, [*required, *likely])
                if not own:
                    code.line("p = v" if self.is_text else "p = v.copy()")
                for key in required:
                    self.write_part(code, key)
                code.line(f"n = {len(required) + len(likely)}")
                for key in likely:
                    with code.block(f"if {key!r} in v:"):
                        self.write_part(code, key)
                    code.line("else: n -= 1")
                with code.block("if n != len(v):"):
                    for key in others:
                        with code.block(f"if {key!r} in v:"):
                            code.line("n += 1")
                            self.write_part(code, key)
                    extras = f"{code.name(self)}.with_extras({own}, v, {parts})"
                    code.line(f"if n != len(v): {parts} = {extras}")
                code.line(f"return {code.instance(self.cls, parts)}")
            code.line(f"except (LookupError, ValueError, TypeError): return general({own}, v)")
        return code.function()

    def write_all(self, code: Code, keys: list[str]) -> None:
        """Writes what is done with a dict that has all of `keys`, and none besides."""
        parts = {key: code.variable() for key in keys}
        texts = [f"type({part})" for key, part in parts.items() if self.parts[key] is TEXT]
        with code.block("try:"):
            for key, part in parts.items():
                code.line(f"{part} = v[{key!r}]")
            if texts:
                code.line(f"if not {' is '.join(texts)} is str: raise KeyError")
        code.line("except KeyError: pass")
        with code.block("else:"):
            changes = [key for key in keys if self.parts[key] is not TEXT]
            is_copied = bool(changes) and not code.own
            if is_copied:
                code.line("p = v.copy()")
            target = "p" if is_copied else "v"
            for key in changes:
                self.parts[key].write(code, f"{target}[{key!r}]", parts[key])
            code.line(f"return {code.instance(self.cls, target)}")

    def write_part(self, code: Code, key: str) -> None:
        part, target, item = self.parts[key], f"{'v' if code.own else 'p'}[{key!r}]", f"v[{key!r}]"
        if self.is_text and not code.own:
            with code.block(f"if type({item}) is not str:"):
                code.line("if p is v: p = v.copy()")
                part.write(code, target, item)
        elif part is TEXT:
            part.write(code, target, item)
        else:
            code.line(f"a = {item}")
            part.write(code, target, "a")


def _object(node: Node, classes: Classes) -> Converter | None:
    if node.any_checks:
        return None
    cls = class_of(classes, "object")
    if not node.by_kind and cls is BASES["object"] and not node.checks.get("object"):
        return FREE_OBJECT
    return _Object(node, classes, cls)


_BY_TYPE: dict[str | None, Callable[[Node, Classes], Converter | None]] = {
    "object": _object,
    "array": _array,
    "string": string_form,
    "number": number_form,
    "integer": number_form,
    "boolean": boolean_form,
}
