"""Instances from cast values: which class, and how one is made without its constructor.

`BASES` holds the class of an instance that no named schema describes, by JSON type; `schema` fills
it.
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from functools import partial
from typing import Any

from frozendict import frozendict

from humanloop.schemas.casting import cast, kind_of
from humanloop.schemas.layout import MADE_EMPTY, fill
from humanloop.schemas.nodes import Node
from humanloop.schemas.reports import Direction, Match, Memory, Mismatch, Report
from humanloop.schemas.trampoline import Steps, run
from humanloop.schemas.values import BoolClass, NoneClass

__all__ = [
    "BASES",
    "class_of",
    "constructor",
    "exact",
    "free",
    "maker",
    "new_instance",
    "plain_of",
]

BASES: dict[str, type[Any]] = {
    "array": tuple,
    "string": str,
    "boolean": BoolClass,
    "null": NoneClass,
    "binary": bytes,
}


_DICT: Any = dict
_OBJECT: Any = frozendict
_PLAIN: tuple[type[Any], ...] = (str, Decimal, tuple, bytes)


_NOTHING = Match()


def _build(plain: Any, match: Match) -> Steps[Any]:
    """The instance of a cast value, by what it matched."""
    kind, parts = kind_of(plain), match.children
    if kind == "object":
        for key, item in plain.items():
            plain[key] = yield _build(item, parts.get(key, _NOTHING))
    elif kind == "array":
        for index, item in enumerate(plain):
            plain[index] = yield _build(item, parts.get(index, _NOTHING))
        plain = tuple(plain)
    elif kind == "binary" and not isinstance(plain, bytes):
        return plain
    cls = class_of(match.classes, kind)
    return plain if type(plain) is cls else new_instance(cls, plain)


def exact(
    node: Node,
    value: Any,
    classes: tuple[type, ...] = (),
    direction: Direction | None = None,
) -> Any:
    """The instance that a raw value makes by `node` and of `classes`, nothing taken for granted.

    Raises:
        Mismatch: it does not match.
    """
    plain, refused = cast(value)
    if refused:
        raise Mismatch
    match = Match(classes)
    match.merge(run(node.match(plain, None, Report(Memory(direction)))))
    return run(_build(plain, match))


def free(value: Any) -> Any:
    """The instance of a raw value that no schema speaks of.

    Raises:
        Mismatch: JSON has no place for something in it.
    """
    plain, refused = cast(value)
    if refused:
        raise Mismatch
    return run(_build(plain, _NOTHING))


def class_of(classes: tuple[type, ...], kind: str) -> type[Any]:
    """The class that is all of those `classes` that can hold a JSON type, and its base."""
    base = BASES[kind]
    fitting = [c for c in classes if issubclass(c, (base, BASES["any"]))]
    if not fitting:
        return base
    concrete = [c for c in fitting if issubclass(c, base)] or [base]
    ordered = dict.fromkeys((*concrete, *fitting))
    parts = tuple(p for p in ordered if not any(q is not p and issubclass(q, p) for q in ordered))
    if len(parts) == 1:
        return parts[0]
    owner: Any = parts[-1]
    return owner.mixed_with(parts)  # type: ignore[no-any-return]


def new_instance(cls: type[Any], plain: Any) -> Any:
    """An instance of `cls` around a value of its base type, with nothing checked."""
    return maker(cls)(plain)


def maker(cls: type[Any]) -> Callable[[Any], Any]:
    """The function that makes an instance of `cls` of a value of its base type."""
    if issubclass(cls, BoolClass):
        return cls.of
    if issubclass(cls, NoneClass):
        return lambda plain: cls.of()
    new = constructor(cls)
    if not (MADE_EMPTY and issubclass(cls, frozendict)):
        return new

    def make(plain: dict[str, Any]) -> Any:
        instance = new()
        fill(instance, plain)
        return instance

    return make


def constructor(cls: type[Any]) -> Callable[..., Any]:
    """The function in C that makes an instance, of a value or an empty object (`MADE_EMPTY`)."""
    base: Any = next(b for b in (*_PLAIN, _OBJECT) if issubclass(cls, b))
    new: Any = _DICT.__new__ if MADE_EMPTY and base is _OBJECT else base.__new__
    made: Any = cls
    if made.__new__ is new and made.__init__ in (object.__init__, base.__init__):
        # What a metaclass's own call stands before; `__new__` itself takes half as long again.
        return type.__call__.__get__(cls)  # type: ignore[no-any-return]
    return partial(new, cls)


def plain_of(instance: Any) -> Any:
    """The value that `new_instance` makes `instance`, which is no container, of again."""
    if isinstance(instance, BoolClass):
        return bool(instance)
    if isinstance(instance, NoneClass):
        return None
    return next(b for b in _PLAIN if isinstance(instance, b))(instance)
