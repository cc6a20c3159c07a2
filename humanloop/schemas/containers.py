"""How objects and arrays are shown: by `repr`, pprint, IPython and rich.

Invariant: every representation is made of `_shown_items`, so that none shows a secret.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

from frozendict import frozendict

from humanloop.schemas.casting import is_deeper_than, type_of
from humanloop.schemas.instances import BASES
from humanloop.secrets import MASK, is_secret_name

__all__ = ["Container"]

PRETTY_LEVELS = 50
"""How deep an instance may be for pretty printers, which recurse widely; else it is one line."""

_OBJECT: Any = frozendict
_ARRAY: Any = tuple


class Container:
    """The base of objects and arrays."""

    __slots__ = ()

    def __repr__(self) -> str:
        # pprint asks for the repr first, and then for who prints what has this repr.
        printer = getattr(sys.modules.get("pprint"), "PrettyPrinter", None)
        getattr(printer, "_dispatch", {}).setdefault(Container.__repr__, _pprint)
        return _text(self)

    def __rich_repr__(self) -> Iterator[Any]:
        """Return the argument of the constructor, for rich."""
        if is_deeper_than(PRETTY_LEVELS, self):
            raise RecursionError  # by the call, not by the iterator: so rich takes the repr
        return iter([_unnamed(self)])

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:
        """Print this in IPython and notebooks."""
        name = _name(self)
        if is_deeper_than(PRETTY_LEVELS, self):
            printer.text(repr(self))
        elif name:
            with printer.group(len(name) + 1, f"{name}(", ")"):
                printer.pretty(_plain(self))
        else:
            printer.pretty(_plain(self))


class _Masked:
    def __repr__(self) -> str:
        return MASK


_MASKED = _Masked()


def _shown_items(instance: Any) -> Iterator[tuple[str, Any]]:
    """Yield the members of an object, with a mask in place of what is secret."""
    cls = type_of(instance)
    secret = any("x-secret" in part.__openapi__ for part in cls.__mixed__ or (cls,))
    for key, item in instance.items():
        yield key, _MASKED if secret or is_secret_name(key) else item


def _name(instance: Any) -> str:
    """Return what stands before the parenthesis: nothing for arrays and for unnamed objects."""
    cls = type_of(instance)
    return cls.__name__ if cls is not BASES["object"] and not isinstance(instance, _ARRAY) else ""


def _plain(instance: Any) -> Any:
    return dict(_shown_items(instance)) if isinstance(instance, _OBJECT) else tuple(instance)


def _text(value: Any) -> str:
    if isinstance(value, _OBJECT):
        name = _name(value)
        members = ", ".join([f"{key!r}: {_text(item)}" for key, item in _shown_items(value)])
        return f"{name}({{{members}}})" if name else f"{{{members}}}"
    if isinstance(value, _ARRAY):
        items = ", ".join([_text(item) for item in value])
        return f"({items},)" if len(value) == 1 else f"({items})"
    return repr(value)


def _unnamed(value: Any) -> Any:
    """Return an instance as plain containers, down to those that have a name of their own."""
    if isinstance(value, _OBJECT):
        return {key: _unnamed_part(item) for key, item in _shown_items(value)}
    items = [_unnamed_part(item) for item in value]
    # rich would take a tuple for a name and its value, so a named array is a list.
    return tuple(items) if type(value) is _ARRAY else items


def _unnamed_part(item: Any) -> Any:
    return _unnamed(item) if type(item) in (BASES["object"], BASES["array"]) else item


def _pprint(
    printer: Any, value: Any, stream: Any, indent: int, allowance: int, context: Any, level: int
) -> None:
    """Print an instance as `pprint` prints its own types."""
    if is_deeper_than(PRETTY_LEVELS, value):
        stream.write(repr(value))
        return
    before, after = (f"{_name(value)}(", ")") if _name(value) else ("", "")
    stream.write(before)
    indent, allowance = indent + len(before), allowance + len(after)
    printer._format(_plain(value), stream, indent, allowance, context, level)
    stream.write(after)
