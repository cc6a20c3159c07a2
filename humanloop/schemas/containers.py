"""What objects and arrays have in common, at any depth: how they look, compare, hash and pickle.

An instance may be nested more deeply than Python's stack reaches. So what Python would do by
recursion is done here without it, from the start (`repr`, pickling) or where it failed (`==`,
`hash`). Every representation, here and in the pretty printers of others, is made of `_shown`: what
is secret is in none of them.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any

from frozendict import frozendict

from humanloop.schemas.building import BASES, maker
from humanloop.schemas.casting import type_of
from humanloop.schemas.trampoline import Steps, run
from humanloop.secrets import is_secret_name

__all__ = ["Container"]

LEVELS = 50
"""How deep an instance may be for pretty printers, which recurse; a deeper one is one line."""

_OBJECT: Any = frozendict
_ARRAY: Any = tuple
_OBJECTS = (dict, _OBJECT)
_CONTAINERS = (_OBJECT, _ARRAY)
_EQUAL: Any = (_OBJECT.__eq__, _ARRAY.__eq__)


class Container:
    """The base of objects and arrays."""

    __slots__ = ()

    def __repr__(self) -> str:
        # pprint asks for the repr first, and then for who prints what has this repr.
        printer = getattr(sys.modules.get("pprint"), "PrettyPrinter", None)
        getattr(printer, "_dispatch", {}).setdefault(Container.__repr__, _pprint)
        parts: list[str] = []
        run(_write(self, parts.append))
        return "".join(parts)

    def __rich_repr__(self) -> Iterator[Any]:
        """The arguments of the constructor, for rich."""
        if _is_deep(self):
            raise RecursionError("rich takes the repr then")
        return iter([run(_unnamed(self))])

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:
        """Prints this in IPython and notebooks."""
        name = _name(self)
        if _is_deep(self):
            printer.text(repr(self))
        elif name:
            with printer.group(len(name) + 1, f"{name}(", ")"):
                printer.pretty(_plain(self))
        else:
            printer.pretty(_plain(self))

    def __eq__(self, other: object) -> bool:
        try:
            return _EQUAL[isinstance(self, _ARRAY)](self, other)  # type: ignore[no-any-return]
        except RecursionError:
            return _equal(self, other)

    def __ne__(self, other: object) -> bool:
        equal = self.__eq__(other)
        return NotImplemented if equal is NotImplemented else not equal

    def __hash__(self: Any) -> int:
        is_array = isinstance(self, _ARRAY)
        try:
            for part in self if is_array else self.values():
                # The hash of tuples in tuples is a recursion that nobody counts: it would crash.
                if type(part) is _ARRAY and _ARRAY in map(type, part):
                    raise RecursionError
            return _ARRAY.__hash__(self) if is_array else hash(frozenset(self.items()))
        except RecursionError:
            return hash(_fold(_flat(self), _Hashed))

    def __reduce__(self) -> Any:
        return _restore, (_flat(self),)


# -- how they look --------------------------------------------------------------------------------


class _Hidden:
    def __repr__(self) -> str:
        return "***"


_HIDDEN = _Hidden()


def _shown(instance: Any) -> Iterator[tuple[str, Any]]:
    """The items of an object, with what is secret hidden."""
    cls = type_of(instance)
    secret = any("x-secret" in part.__openapi__ for part in cls.__mixed__ or (cls,))
    for key, item in instance.items():
        yield key, _HIDDEN if secret or is_secret_name(key) else item


def _name(instance: Any) -> str:
    """What stands before the parenthesis: nothing for arrays, and objects without a name."""
    cls = type_of(instance)
    return cls.__name__ if cls is not BASES["object"] and not isinstance(instance, _ARRAY) else ""


def _plain(instance: Any) -> Any:
    return dict(_shown(instance)) if isinstance(instance, _OBJECT) else tuple(instance)


def _is_deep(instance: Any) -> bool:
    layer = [instance]
    for _ in range(LEVELS):
        parts = (part if isinstance(part, _ARRAY) else part.values() for part in layer)
        layer = [item for items in parts for item in items if isinstance(item, _CONTAINERS)]
    return bool(layer)


def _write(value: Any, out: Callable[[str], None]) -> Steps[None]:
    if isinstance(value, _OBJECT):
        name, separator = _name(value), ""
        out(f"{name}({{" if name else "{")
        for key, item in _shown(value):
            out(f"{separator}{key!r}: ")
            if isinstance(item, _CONTAINERS):
                yield _write(item, out)
            else:
                out(repr(item))
            separator = ", "
        out("})" if name else "}")
    else:
        separator = "("
        for item in value:
            out(separator)
            if isinstance(item, _CONTAINERS):
                yield _write(item, out)
            else:
                out(repr(item))
            separator = ", "
        out("()" if not value else ",)" if len(value) == 1 else ")")


def _unnamed(value: Any) -> Steps[Any]:
    """An instance as plain containers, down to those that have a name of their own."""
    if isinstance(value, _OBJECT):
        result: Any = dict(_shown(value))
        items: Any = result.items()
    else:
        result = list(value)
        items = enumerate(value)
    for key, item in items:
        if type(item) in (BASES["object"], BASES["array"]):
            result[key] = yield _unnamed(item)
    # rich would take a tuple for a name and its value, so a named array is a list.
    return tuple(result) if type(value) is _ARRAY else result


def _pprint(
    printer: Any, value: Any, stream: Any, indent: int, allowance: int, context: Any, level: int
) -> None:
    """Prints an instance as `pprint` prints its own types."""
    if _is_deep(value):
        stream.write(repr(value))
        return
    before, after = (f"{_name(value)}(", ")") if _name(value) else ("", "")
    stream.write(before)
    indent, allowance = indent + len(before), allowance + len(after)
    printer._format(_plain(value), stream, indent, allowance, context, level)
    stream.write(after)


# -- how they compare, hash and pickle ------------------------------------------------------------

Shape = tuple[str, ...] | int
"""The keys of an object, or the length of an array."""


def _equal(left: Any, right: Any) -> bool:
    pairs = [(left, right)]
    while pairs:
        a, b = pairs.pop()
        if isinstance(a, _OBJECTS) and isinstance(b, _OBJECTS):
            if len(a) != len(b) or any(key not in b for key in a):
                return False
            pairs += [(item, b[key]) for key, item in a.items()]
        elif isinstance(a, _ARRAY) and isinstance(b, _ARRAY):
            if len(a) != len(b):
                return False
            pairs += zip(a, b, strict=True)
        elif a != b:
            return False
    return True


def _flat(root: Any) -> list[Any]:
    """A tree level by level: (class, shape) of each container, and the other values themselves."""
    nodes = [root]
    for index, node in enumerate(nodes):
        if isinstance(node, _OBJECT):
            nodes[index] = (type(node), tuple(node))
            nodes += node.values()
        elif isinstance(node, _ARRAY):
            nodes[index] = (type(node), len(node))
            nodes += node
    return nodes


def _fold(flat: list[Any], make: Callable[[type, Shape, list[Any]], Any]) -> Any:
    """What `make` makes of the root of a flat tree; the parts of each container are made before."""
    end = len(flat)
    for index in range(end - 1, -1, -1):
        if type(flat[index]) is tuple:
            cls, shape = flat[index]
            start = end - (shape if isinstance(shape, int) else len(shape))
            flat[index] = make(cls, shape, flat[start:end])
            end = start
    return flat[0]


class _Hashed:
    """Stands for a container whose hash is known."""

    __slots__ = ("value",)

    def __init__(self, cls: type, shape: Shape, parts: list[Any]) -> None:
        items = tuple(parts) if isinstance(shape, int) else zip(shape, parts, strict=True)
        self.value = hash(items if isinstance(items, _ARRAY) else frozenset(items))

    def __hash__(self) -> int:
        return self.value


def _restore(flat: list[Any]) -> Any:
    """The instance that a pickle holds."""
    maker_of = cache(maker)

    def make(cls: type, shape: Shape, parts: list[Any]) -> Any:
        plain = parts if isinstance(shape, int) else dict(zip(shape, parts, strict=True))
        return maker_of(cls)(plain)

    return _fold(flat, make)
