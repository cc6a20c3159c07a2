"""The display of objects and arrays: in `repr`, pprint, IPython, notebooks and rich.

`repr`, IPython and notebooks, which show values without being asked, show what fits a limit, as
`humanloop.display` says; pprint and rich show everything.

Invariants: every representation is made from `_shown_`, so that none shows a secret.
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
"""The deepest instance that pprint and rich, which recurse widely, print on several lines."""

_OBJECT: Any = frozendict
_ARRAY: Any = tuple


class Container:
    """The base of objects and arrays."""

    __slots__ = ()

    def __repr__(self) -> str:
        # pprint looks up its printing function by the class's `__repr__`.
        printer = getattr(sys.modules.get("pprint"), "PrettyPrinter", None)
        getattr(printer, "_dispatch", {}).setdefault(Container.__repr__, _pprint)
        return short_text(self)

    def _shown_(self) -> Described:
        """Return a description for `humanloop.display`, nameless for arrays and unnamed objects."""
        cls, instance = type_of(self), cast("Any", self)
        if not isinstance(instance, _OBJECT):
            return Described("", instance)
        secret = any("x-secret" in part.__openapi__ for part in cls.__mixed__ or (cls,))
        return Described("" if cls is BASES["object"] else cls.__name__, instance, secret)

    def __rich_repr__(self) -> Iterator[Any]:
        """Yield the argument of the constructor, for rich."""
        if is_deeper_than(PRETTY_LEVELS, self):
            raise RecursionError  # in the call, not in the iterator: rich then uses the repr
        return iter([_unnamed(self)])

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:
        """Print this in IPython and notebooks: in more detail unless it is in a list."""
        shown = short_tree(self, TEXT_LIMIT if len(printer.stack) > 1 else PRETTY_LIMIT)
        if isinstance(shown, Tree):
            shown.print_to(printer)

    def _repr_html_(self) -> str:
        """Return an HTML table, for notebooks."""
        from humanloop.notebook import html_of

        return html_of(self)


def _plain(instance: Any) -> Any:
    return dict(instance._shown_().items()) if isinstance(instance, _OBJECT) else tuple(instance)


def _unnamed(value: Any) -> Any:
    """Return an instance as plain containers, down to those with a name of their own."""
    if isinstance(value, _OBJECT):
        return {key: _unnamed_part(item) for key, item in value._shown_().items()}
    items = [_unnamed_part(item) for item in value]
    # rich would read a tuple as a name and its value, so a named array becomes a list.
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
