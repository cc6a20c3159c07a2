"""Instances of schema classes: their class, and their creation without its constructor.

`BASES` holds, by JSON type, the class of an instance that no named schema describes; `schema` fills
it. `interpret` is the exact way from a raw value to an instance: cast, match, build.

frozendict has two implementations: a subclass of dict written in Python on some versions, a type of
its own in C on others. Deriving from it and filling an instance differ; only this module handles
both.
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from functools import partial
from typing import Any

from frozendict import frozendict

from humanloop.schemas.casting import cast, kind_of
from humanloop.schemas.matcher import FailFast, Match, Mismatch, Validation, match
from humanloop.schemas.nodes import FORMAT_CLASSES, Direction, Node
from humanloop.schemas.values import BoolClass, NoneClass

__all__ = [
    "BASES",
    "MADE_EMPTY",
    "FrozenBase",
    "class_of",
    "constructor",
    "fill",
    "interpret",
    "interpret_free",
    "maker",
    "new_instance",
    "plain_of",
    "restore_frozendict_base",
]

BASES: dict[str, type[Any]] = {
    "array": tuple,
    "string": str,
    "boolean": BoolClass,
    "null": NoneClass,
    "binary": bytes,
}


# -- compatibility with both kinds of frozendict --------------------------------------------------

# Where frozendict is written in Python, its constructor takes seven times as long as dict's. A
# class whose `__new__` is dict's own gets the fast one of C, unless one of its bases has another
# one when the class is made. DictSchema is therefore first derived from `FrozenBase`, which has
# frozendict's slots and dict's constructor, and then gets frozendict in place of this base.

_OBJECT: Any = frozendict
_DICT: Any = dict
FrozenBase: Any = frozendict

if issubclass(frozendict, dict):
    _slots = frozendict.__dict__.get("__slots__", ())
    _alike = type("FrozenBase", (dict,), {"__slots__": _slots, "__init__": object.__init__})
    try:
        type("Probe", (_alike,), {"__slots__": ()}).__bases__ = (frozendict,)
    except TypeError:  # another layout: frozendict's own constructor is used
        pass
    else:
        FrozenBase = _alike

MADE_EMPTY = FrozenBase is not frozendict
"""True if an instance is created empty and filled by `fill`, not made from a dict."""

fill: Any = _DICT.update


def restore_frozendict_base(cls: type) -> None:
    """Replace the base `FrozenBase` of a class by frozendict itself."""
    cls.__bases__ = tuple(frozendict if base is FrozenBase else base for base in cls.__bases__)


# -- classes --------------------------------------------------------------------------------------

_LEAF_BASES: tuple[type[Any], ...] = (str, Decimal, tuple, bytes)


def class_of(classes: tuple[type, ...], kind: str) -> type[Any]:
    """Return the class that combines those `classes` that can hold a JSON type, and its base.

    classes: the outermost schema first.
    """
    base = BASES[kind]
    fitting = dict.fromkeys(c for c in classes if issubclass(c, (base, BASES["any"])))
    if not any(issubclass(c, base) for c in fitting):
        fitting[base] = None
    parts = [p for p in fitting if not any(q is not p and issubclass(q, p) for q in fitting)]
    if len(parts) == 1:
        return parts[0]
    # The class of a format comes last: it is never freed, and would keep anything cached on it.
    parts.sort(key=[*FORMAT_CLASSES.values()].__contains__)
    outermost: Any = parts[0]
    return outermost.mixed_with(tuple(parts[1:]))  # type: ignore[no-any-return]


def new_instance(cls: type[Any], plain: Any) -> Any:
    """Return an instance of `cls` with a value of its base type, unchecked."""
    return maker(cls)(plain)


def maker(cls: type[Any]) -> Callable[[Any], Any]:
    """Return the function that makes an instance of `cls` from a value of its base type."""
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
    """Return the function in C that makes an instance, from a value or empty."""
    base: Any = next(b for b in (*_LEAF_BASES, _OBJECT) if issubclass(cls, b))
    new: Any = _DICT.__new__ if MADE_EMPTY and base is _OBJECT else base.__new__
    made: Any = cls
    if made.__new__ is new and made.__init__ in (object.__init__, base.__init__):
        # This is `type.__call__`, which our metaclass overrides; `__new__` takes half as long
        # again.
        return type.__call__.__get__(cls)  # type: ignore[no-any-return]
    return partial(new, cls)


def plain_of(instance: Any) -> Any:
    """Return the value of a base type from which `new_instance` makes `instance` again."""
    if isinstance(instance, BoolClass):
        return bool(instance)
    if isinstance(instance, NoneClass):
        return None
    if isinstance(instance, _OBJECT):
        return dict(instance)
    return next(b for b in _LEAF_BASES if isinstance(instance, b))(instance)


# -- the exact way --------------------------------------------------------------------------------

_NOTHING = Match()


def interpret(
    node: Node,
    value: Any,
    classes: tuple[type, ...] = (),
    direction: Direction | None = None,
    depth: int = 0,
) -> Any:
    """Return the instance for a raw value by `node`, of `classes`.

    depth: the number of containers around it.

    Raises:
        Mismatch: it does not match.
        RecursionError: it is nested too deeply.
    """
    plain, refused = cast(value, depth)
    if refused:
        raise Mismatch
    found = Match(classes)
    found.merge(match(node, plain, (), FailFast(Validation(direction))))
    return _build(plain, found)


def interpret_free(value: Any, depth: int = 0) -> Any:
    """Return the instance for a raw value that no schema describes.

    Raises:
        Mismatch: it contains a value that JSON can't represent.
        RecursionError: it is nested too deeply.
    """
    plain, refused = cast(value, depth)
    if refused:
        raise Mismatch
    return _build(plain, _NOTHING)


def _build(plain: Any, found: Match) -> Any:
    """Return the instance of a cast value, by its match. The cast tree is used up."""
    kind, parts = kind_of(plain), found.children
    if kind == "object":
        for key, item in plain.items():
            plain[key] = _build(item, parts.get(key, _NOTHING))
    elif kind == "array":
        plain = tuple([_build(item, parts.get(i, _NOTHING)) for i, item in enumerate(plain)])
    elif kind == "binary" and not isinstance(plain, bytes):
        return plain
    cls = class_of(found.classes, kind)
    return plain if type(plain) is cls else new_instance(cls, plain)
