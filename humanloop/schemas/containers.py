"""How objects and arrays are shown: by `repr`, pprint, IPython, notebooks and rich.

`repr`, IPython and notebooks, which show values unasked, show what fits a limit, as
`humanloop.display` says; pprint and rich show everything.

Invariant: every representation is made of `_shown_`, so that none shows a secret.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any, cast

from frozendict import frozendict

from humanloop.display import PRETTY_LIMIT, TEXT_LIMIT, Described, Tree, short_text, short_tree
from humanloop.schemas.casting import is_deeper_than, type_of
from humanloop.schemas.instances import BASES

__all__ = ["Container"]

PRETTY_LEVELS = 50
"""How deep an instance may be for pprint and rich, which recurse widely; else it is one line."""

_OBJECT: Any = frozendict
_ARRAY: Any = tuple


class Container:
    """The base of objects and arrays."""

    __slots__ = ()

    def __repr__(self) -> str:
        # pprint asks for the repr first, and then for who prints what has this repr.
        printer = getattr(sys.modules.get("pprint"), "PrettyPrinter", None)
        getattr(printer, "_dispatch", {}).setdefault(Container.__repr__, _pprint)
        return short_text(self)

    def _shown_(self) -> Described:
        """Describe this for `humanloop.display`; arrays and unnamed objects have no name there."""
        cls, instance = type_of(self), cast("Any", self)
        if not isinstance(instance, _OBJECT):
            return Described("", instance)
        secret = any("x-secret" in part.__openapi__ for part in cls.__mixed__ or (cls,))
        return Described("" if cls is BASES["object"] else cls.__name__, instance, secret)

    def __rich_repr__(self) -> Iterator[Any]:
        """Return the argument of the constructor, for rich."""
        if is_deeper_than(PRETTY_LEVELS, self):
            raise RecursionError  # by the call, not by the iterator: so rich takes the repr
        return iter([_unnamed(self)])

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:
        """Print this in IPython and notebooks: in more detail if it is not a part of a list."""
        shown = short_tree(self, TEXT_LIMIT if len(printer.stack) > 1 else PRETTY_LIMIT)
        if isinstance(shown, Tree):
            shown.print_to(printer)

    def _repr_html_(self) -> str:
        """Return a table, for notebooks."""
        from humanloop.notebook import html_of

        return html_of(self)


def _plain(instance: Any) -> Any:
    return dict(instance._shown_().items()) if isinstance(instance, _OBJECT) else tuple(instance)


def _unnamed(value: Any) -> Any:
    """Return an instance as plain containers, down to those that have a name of their own."""
    if isinstance(value, _OBJECT):
        return {key: _unnamed_part(item) for key, item in value._shown_().items()}
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
    name = value._shown_().name
    before, after = (f"{name}(", ")") if name else ("", "")
    stream.write(before)
    indent, allowance = indent + len(before), allowance + len(after)
    printer._format(_plain(value), stream, indent, allowance, context, level)
    stream.write(after)
