"""The fast path: the converter of each schema.

`converter_of` returns the `Converter` of any node. That may pass all values of a schema to the
matcher, and does so unless a faster one is known to give the same results.
"""

from __future__ import annotations

import copyreg
from collections.abc import Callable, Iterable
from contextlib import suppress
from decimal import Decimal
from functools import cache, partial
from typing import Any, NoReturn

from humanloop.schemas import instances
from humanloop.schemas.formats import FORMATS
from humanloop.schemas.instances import (
    BASES,
    MADE_EMPTY,
    class_of,
    maker,
)
from humanloop.schemas.keywords import Check
from humanloop.schemas.matcher import Mismatch
from humanloop.schemas.native import FastPathMiss, converters
from humanloop.schemas.nodes import Node

__all__ = ["converter_of"]

Classes = tuple[type, ...]


def converter_of(node: Node, classes: Classes = ()) -> converters.Converter:
    """Return the converter of a schema's values, whose instances also belong to `classes`."""
    # A node that others refer to must not keep objects of theirs, which may be freed before it.
    keeper: Any = classes[0] if classes else node
    found: converters.Converter | None = keeper.converters.get((node, classes))
    if found is not None:
        return found
    made = _make(node, classes)
    # Only complete converters are stored, since other threads may use them at once.
    kept: converters.Converter = keeper.converters.setdefault((node, classes), made)
    return kept


class _Unlearned:
    """A stand-in for the converter of a class that was pickled by value, as cloudpickle does.

    It compiles the class's converter in its new process. The pickle contains a bound method of it:
    as an attribute if the converters are compiled, else as the function and its `self`.
    """

    def __init__(self, cls: Any = None) -> None:
        self.cls = cls

    def convert(self, value: Any) -> Any:
        if self.cls is None:
            raise FastPathMiss
        return self.cls.compile()(value)

    def take(self, value: Any, depth: int) -> Any:
        return self.convert(value)


def _forget(converter: converters.Converter) -> Any:
    """Reduce the converter of a class, for pickle, to that class, unless it is for several."""
    interpret: Any = converter.interpret
    return _Unlearned, interpret.args[1][:1]


for _kind in vars(converters).values():
    if isinstance(_kind, type) and issubclass(_kind, converters.Converter):
        copyreg.pickle(_kind, _forget)


def _make(node: Node, classes: Classes) -> converters.Converter:
    if node.cls is not None:
        classes = (*classes, node.cls)
    if node.ref is not None:
        return _reference(node, classes)
    interpret = partial(_interpret, node, classes)
    fast: converters.Converter | None = None
    if node.negated is None and not node.binary and not node.selects_subtype:
        if node.all_of or node.any_of or node.one_of:
            fast = _composed(node, classes, interpret)
        elif node.is_free:
            fast = None if classes else _free()
        elif node.type in _BY_TYPE:
            fast = _BY_TYPE[node.type](node, classes, interpret)
    if fast is None:
        return converters.Converter(interpret)
    if node.nullable:
        with suppress(Mismatch):  # the enum may lack null, which then no value matches
            fast = converters.Nullable(fast, instances.interpret(node, None, classes))
    return fast


def _reference(node: Node, classes: Classes) -> converters.Converter:
    if node.resolved.type in _SINGLE:
        return converter_of(node.target, classes)
    return converters.Reference(
        partial(_interpret, node, classes), partial(converter_of, node.target, classes)
    )


def _interpret(node: Node, classes: Classes, value: Any, depth: int) -> Any:
    """Return the instance that the matcher makes from a part of a value."""
    try:
        return instances.interpret(node, value, classes, depth=depth)
    except Exception:  # a user's `to_input` may raise anything, and does so again outside
        raise FastPathMiss from None


def _interpret_free(value: Any, depth: int) -> Any:
    try:
        return instances.interpret_free(value, depth)
    except Exception:
        raise FastPathMiss from None


@cache
def _free() -> converters.Free:
    """Return the converter of values that no schema describes."""
    cls, number = BASES["object"], BASES["number"]
    numbers = converters.Number(_interpret_free, (), number, maker(number))
    return converters.Free(_interpret_free, numbers, cls, maker(cls), _fills(cls))


def _holds(checks: Iterable[Check]) -> tuple[Callable[[Any], bool], ...]:
    return tuple(check.holds for check in checks)


# -- composed values ------------------------------------------------------------------------------


def _composed(
    node: Node, classes: Classes, interpret: converters.Interpret
) -> converters.Converter | None:
    """Return the converter of a pure composition whose branch the value determines, or None."""
    branches = node.all_of or node.any_of or node.one_of
    if not node.is_bare or len(node.all_of) + len(node.any_of) + len(node.one_of) != len(branches):
        return None
    if node.discriminator is None and len(branches) == 1:
        return converter_of(branches[0], classes)
    if node.all_of:
        return None
    if node.discriminator is not None:
        choices = {tag: converter_of(branch, classes) for tag, branch in node.choices.items()}
        return converters.Tagged(interpret, node.discriminator["propertyName"], choices)
    by_class: dict[type, converters.Converter] = {}
    texts = [branch for branch in branches if branch.resolved.type == "string"]
    if len(texts) > 1:
        choice = _any_string(node, classes, interpret, texts) if node.any_of else None
        if choice is None:
            return None
        by_class[str] = choice
        branches = [branch for branch in branches if branch not in texts]
    for branch in branches:
        target = branch.resolved
        if target.type is None or target.nullable or target.binary:
            return None
        for cls in _python_classes(target.type):
            if cls in by_class:
                return None
            by_class[cls] = converter_of(branch, classes)
    return converters.Union(interpret, by_class)


def _python_classes(kind: str) -> tuple[type, ...]:
    """Return the classes of the Python values that are converted to a JSON type."""
    numbers = (int, float, Decimal, BASES["number"])
    return {
        "object": (dict,),
        "array": (list, tuple),
        "string": (str,),
        "number": numbers,
        "integer": numbers,
        "boolean": (bool,),
    }[kind]


def _any_string(
    node: Node, classes: Classes, interpret: converters.Interpret, branches: list[Node]
) -> converters.Converter | None:
    """Return the converter of an anyOf of enums and plain strings, or None.

    The instance of each member is made in advance.
    """
    enums = [branch.resolved for branch in branches if branch.resolved.members is not None]
    plain = [branch for branch in branches if branch.resolved.members is None]
    if any(type(converter_of(branch, classes)) is not converters.Text for branch in plain):
        return None
    members: dict[str, Any] = {}
    for text in (str.__str__(text) for enum in enums for text in enum.members or ()):
        with suppress(Mismatch):  # another keyword may exclude it
            members[text] = instances.interpret(node, text, classes)
    return converters.Choice(interpret, members, bool(plain))


# -- values of one type ---------------------------------------------------------------------------


def _string(
    node: Node, classes: Classes, interpret: converters.Interpret
) -> converters.Converter | None:
    cls = class_of((*classes, node.format_class) if node.format_class else classes, "string")
    checks = _holds((*node.any_checks, *node.checks.get("string", ())))
    if cls is str and not checks:
        return converters.Text(interpret)
    make: converters.Make = str if cls is str else maker(cls)
    if node.members is not None and len(checks) == 1:
        members = {text: make(text) for text in map(str.__str__, node.members)}
        return converters.Choice(interpret, members, False)
    if checks == (FORMATS["date-time"].holds,):
        return converters.DateTime(interpret, make)
    return converters.String(interpret, checks, make)


def _number(
    node: Node, classes: Classes, interpret: converters.Interpret
) -> converters.Converter | None:
    if classes:
        return None
    kind = converters.Integer if node.type == "integer" else converters.Number
    checks = _holds((*node.any_checks, *node.checks.get("number", ())))
    return kind(interpret, checks, BASES["number"], maker(BASES["number"]))


def _boolean(
    node: Node, classes: Classes, interpret: converters.Interpret
) -> converters.Converter | None:
    return None if node.any_checks or classes else converters.Boolean(interpret)


def _array(
    node: Node, classes: Classes, interpret: converters.Interpret
) -> converters.Converter | None:
    checks = node.checks.get("array", ())
    if node.any_checks or any(check.keyword == "uniqueItems" for check in checks):
        return None
    cls = class_of(classes, "array")
    item = _free() if node.items is None else converter_of(node.items)
    return converters.Array(interpret, _holds(checks), item, None if cls is tuple else maker(cls))


def _object(
    node: Node, classes: Classes, interpret: converters.Interpret
) -> converters.Converter | None:
    if node.any_checks:
        return None
    cls = class_of(classes, "object")
    others = _free() if node.additional is None else converter_of(node.additional)
    return converters.Object(
        interpret,
        _holds(node.checks.get("object", ())),
        cls,
        maker(cls),
        _fills(cls),
        {key: converter_of(part) for key, part in node.properties.items()},
        converters.Converter(_refuse) if node.closed else others,
        frozenset(key for key in node.required if key not in node.directions),
    )


def _fills(cls: type[Any]) -> bool:
    """Return whether an instance is a dict that C creates empty, without a user's constructor."""
    return MADE_EMPTY and cls.__new__ is dict.__new__


def _refuse(value: Any, depth: int) -> NoReturn:
    raise FastPathMiss


_BY_TYPE: dict[str | None, Callable[..., converters.Converter | None]] = {
    "object": _object,
    "array": _array,
    "string": _string,
    "number": _number,
    "integer": _number,
    "boolean": _boolean,
}
_SINGLE = ("string", "number", "integer", "boolean")
