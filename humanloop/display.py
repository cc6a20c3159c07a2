"""Short forms of values: for `repr`, IPython and messages.

A leaf: it knows plain Python, and the objects and arrays that describe themselves by `_shown_`.

Invariants: what is shown holds no value of a secret name; a text has at most the asked length,
and says how much was left out of each part of it.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from decimal import Decimal
from itertools import islice
from typing import Any, Final, NamedTuple, cast

from humanloop.secrets import MASK, is_secret_name, shorten

__all__ = [
    "PRETTY_LIMIT",
    "TEXT_LIMIT",
    "Described",
    "Tree",
    "describe",
    "short_text",
    "short_tree",
]

TEXT_LIMIT = 1000
PRETTY_LIMIT = 4000
"""Characters of the longest repr, and of the longest text in IPython, without its indentation."""

INDENT = 4
"""Columns by which IPython shows parts further right than what they are parts of."""

LONGEST_NAME = 100
"""Characters of the longest class name that is shown whole."""


class _Masked:
    """The type of `MASKED`, which is shown in place of a secret."""

    def __repr__(self) -> str:
        return MASK


MASKED: Final = _Masked()


class Described(NamedTuple):
    """An object or an array: its name, if any, its parts, and if all of them are secret."""

    name: str
    parts: Mapping[Any, Any] | Sequence[Any]
    secret: bool = False

    @property
    def is_object(self) -> bool:
        """True if this is an object, False if it is an array."""
        return isinstance(self.parts, Mapping)

    def items(self) -> Iterator[tuple[Any, Any]]:
        """Yield the parts by key or index, with a mask in place of each secret."""
        if not isinstance(self.parts, Mapping):
            yield from enumerate(self.parts)
            return
        members: Iterable[tuple[Any, Any]] = self.parts.items()
        for key, item in members:
            yield key, MASKED if self.secret or is_secret_name(key) else item


def describe(value: Any) -> Described | None:
    """Return the description that an object or an array gives of itself; else None."""
    tell = getattr(cast("Any", type(value)), "_shown_", None)
    if tell is not None:
        return tell(value)  # type: ignore[no-any-return]
    return Described("", value) if isinstance(value, (Mapping, list, tuple)) else None


class Tree(NamedTuple):
    """An object or an array as text that is not laid out yet.

    before, after: its brackets, with its name; parts: for each part its label (a key and a colon,
    or nothing) and its text.
    """

    before: str
    parts: list[tuple[str, Tree | str]]
    after: str

    def __str__(self) -> str:
        texts = [f"{label}{part}" for label, part in self.parts]
        return f"{self.before}{', '.join(texts)}{self.after}"

    def print_to(self, printer: Any) -> None:
        """Lay it out by IPython's printer: on one line if it fits, else a line for each part."""
        printer.begin_group(INDENT, self.before)
        for index, (label, part) in enumerate(self.parts):
            if index:
                printer.text(",")
            printer.breakable(" " if index else "")
            printer.text(label)
            if isinstance(part, Tree):
                part.print_to(printer)
            else:
                printer.text(part)
        # The closing bracket stands below what it closes, if that has lines of its own.
        printer.indentation -= INDENT
        printer.breakable("")
        printer.end_group(0, self.after)


class _Detail(NamedTuple):
    """The numbers of items of an array, characters of a text, keys and levels that are shown."""

    items: int
    characters: int
    keys: int
    depth: int


_DETAILS = (
    _Detail(*[sys.maxsize] * 4),
    _Detail(items=300, characters=600, keys=300, depth=40),
    _Detail(items=100, characters=300, keys=100, depth=20),
    _Detail(items=30, characters=200, keys=60, depth=10),
    _Detail(items=10, characters=100, keys=40, depth=8),
    _Detail(items=5, characters=80, keys=30, depth=6),
    _Detail(items=3, characters=60, keys=25, depth=5),
    _Detail(items=2, characters=40, keys=20, depth=4),
    _Detail(items=1, characters=40, keys=15, depth=3),
    _Detail(items=1, characters=30, keys=8, depth=2),
    _Detail(items=1, characters=30, keys=6, depth=1),
)
"""From everything to very little; the first that fits is taken."""


def short_text(value: Any, limit: int = TEXT_LIMIT) -> str:
    """Return a value in one line of at most `limit` characters: whole, or shortened until it fits.

    Strings and arrays are cut at their end, which says how much more there was.
    """
    return shorten(str(short_tree(value, limit)), limit)


def short_tree(value: Any, limit: int = TEXT_LIMIT) -> Tree | str:
    """Return a value in as much detail as `limit` characters allow, or in the least there is."""
    for detail in _DETAILS:
        with suppress(_LimitError):
            return _Shortener(detail, limit).tree(value)
    return _Shortener(_DETAILS[-1], sys.maxsize).tree(value)


class _LimitError(Exception):
    """There is more to show than the limit allows."""


class _Shortener:
    """Shows one value in one detail, and gives up as soon as the limit is passed."""

    def __init__(self, detail: _Detail, limit: int) -> None:
        self._detail = detail
        self._left = limit

    def tree(self, value: Any, depth: int = 0) -> Tree | str:
        described = describe(value)
        if described is None:
            return self._counted(self._leaf(value))
        count = len(described.parts)
        before, after = self._brackets(described)
        self._counted(before + after)
        if depth >= self._detail.depth and count:
            left_out = f"{count:,} {'key' if described.is_object else 'item'}{'s' * (count > 1)}"
            return f"{before}... {left_out}{after}"
        parts = list(self._parts(described, count, depth))
        return Tree(before, parts, f",{after}" if count == 1 and before == "(" else after)

    def _brackets(self, described: Described) -> tuple[str, str]:
        name = shorten(described.name, LONGEST_NAME)
        if described.is_object:
            return (f"{name}({{", "})") if name else ("{", "}")
        return ("[", "]") if isinstance(described.parts, list) else ("(", ")")

    def _parts(
        self, described: Described, count: int, depth: int
    ) -> Iterator[tuple[str, Tree | str]]:
        shown = self._detail.keys if described.is_object else self._detail.items
        for key, item in islice(described.items(), min(shown, count)):
            label = f"{self._counted(self._leaf(key))}: " if described.is_object else ""
            yield label, self.tree(item, depth + 1)
        if count > shown:
            yield "", self._counted(f"... {count - shown:,} more")

    def _leaf(self, value: Any) -> str:
        shown = self._detail.characters
        if isinstance(value, (str, bytes)):
            more = len(value) - shown
            if min(len(value), shown) > self._left:  # at once: the repr of megabytes takes a while
                raise _LimitError
            return f"{value[:shown]!r}" + (f"... {more:,} more" if more > 0 else "")
        return shorten(str(value) if isinstance(value, Decimal) else repr(value), shown)

    def _counted(self, text: str) -> str:
        self._left -= len(text) + len(", ")
        if self._left < 0:
            raise _LimitError
        return text
