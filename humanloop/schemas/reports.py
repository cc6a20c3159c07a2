"""What is found while a value is matched: what it is, what is wrong with it, what is known already.

The same rules decide and explain. A `Report` that stops at the first error decides; a `Collector`
keeps all of them, with their places; a `Tally` only counts, to rank the branches of a composition.
A `Match` says which classes a value, and each of its parts, is an instance of.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import islice
from typing import TYPE_CHECKING, Any, Literal

from humanloop.schemas.casting import TOLD_STEPS, is_array, is_object
from humanloop.schemas.errors import ErrorDetail, show

if TYPE_CHECKING:
    from humanloop.schemas.nodes import Node

__all__ = [
    "Collector",
    "Direction",
    "Enough",
    "Match",
    "Memory",
    "Mismatch",
    "Place",
    "Report",
    "Tally",
]

Direction = Literal["request", "response"]
"""Which way a value goes: `readOnly` and `writeOnly` depend on it."""

Place = tuple[Any, str | int] | None
"""Where a value is: (place of its container, key or index); None for the outermost value."""

LIKENESS = 0.7
"""How much alike two spellings are, from 0 to 1, before one is taken for the other."""

SUGGESTIONS = 20
"""How many errors of one value get a likely spelling: the search is slow."""

CANDIDATES = 1000
"""How many keys are looked through for it."""

TOLD_CHOICES = 2
"""How many of the choices of branches that led to an error are told with it: the innermost."""


class Mismatch(Exception):
    """A value does not match: raised by a report that does not collect."""


class Enough(Exception):
    """More is wrong with a value than can be told."""


class Match:
    """What a value turned out to be: its classes, outermost first, and its parts' matches."""

    __slots__ = ("children", "classes")

    def __init__(self, classes: tuple[type, ...] = ()) -> None:
        self.classes = classes
        self.children: dict[str | int, Match] = {}

    def hold(self, key: str | int, child: Match) -> None:
        """Takes the match of the part at `key`, where it says anything."""
        if child.classes or child.children:
            self.children[key] = child

    def merge(self, other: Match) -> None:
        """Adds what another schema found of the same value."""
        pairs: list[tuple[Match, Match]] = [(self, other)]
        while pairs:
            mine, theirs = pairs.pop()
            mine.classes += tuple(c for c in theirs.classes if c not in mine.classes)
            for key, child in theirs.children.items():
                known = mine.children.setdefault(key, child)
                if known is not child:
                    # Both may be kept elsewhere, so neither is changed.
                    mine.children[key] = both = Match(known.classes)
                    both.children = dict(known.children)
                    pairs.append((both, child))


class Memory:
    """What is known already within one validation.

    direction: which way the value goes, where that is known. attempts: how values turned out to be
        by schemas, None for what does not match. active: the parents and values that a
        discriminator is being followed down from. places: each place once.
    """

    def __init__(self, direction: Direction | None = None) -> None:
        self.direction: Direction | None = direction
        self.attempts: dict[tuple[Any, ...], Match | None] = {}
        self.active: frozenset[tuple[int, int]] = frozenset()
        self.places: dict[tuple[int, str | int], Place] = {}

    def place(self, where: Place, key: str | int) -> Place:
        """The one place of `key` within `where`, to be told from others by its identity."""
        return self.places.setdefault((id(where), key), (where, key))


class Report:
    """Takes what is wrong with one value; this one stops at the first."""

    collects = False

    def __init__(self, memory: Memory | None = None) -> None:
        self.memory = memory or Memory()

    def below(self, where: Place, key: str | int) -> Place:
        """The place of `key` within `where`, where somebody will ask for it."""
        return None

    def first_time(self, node: Node, where: Place) -> bool:
        """Whether `node` did not report on `where` before."""
        return True

    def add(self, where: Place, keyword: str, message: Callable[[], str]) -> None:
        """Takes one error; its message is made only if somebody will read it."""
        raise Mismatch

    def likely(self, word: str, known: Iterable[str]) -> str | None:
        """The one of `known` that `word` was probably meant to be, where somebody will read it."""
        return None

    def expected(self, where: Place, keyword: str, wanted: str, value: Any) -> None:
        """Takes one error of the common form: `wanted` was expected, `value` came."""
        self.add(where, keyword, lambda: f"expected {wanted}, got {show(value, _path(where))}")


class _Everything(Report):
    """A report that does not stop: each schema looks at each place once."""

    collects = True

    def __init__(self, memory: Memory | None = None) -> None:
        super().__init__(memory)
        self._seen: set[tuple[int, int]] = set()

    def below(self, where: Place, key: str | int) -> Place:
        return self.memory.place(where, key)

    def first_time(self, node: Node, where: Place) -> bool:
        known = len(self._seen)
        self._seen.add((id(node), id(where)))
        return len(self._seen) > known


class Tally(_Everything):
    """A report that only counts, to tell how near a value comes to a branch.

    Of a composition inside the branch it hears no more than that nothing matches there, so that
    nested compositions cost no more than their depth.
    """

    def __init__(self, memory: Memory) -> None:
        super().__init__(memory)
        self.errors: set[tuple[int, str]] = set()

    def add(self, where: Place, keyword: str, message: Callable[[], str]) -> None:
        self.errors.add((id(where), keyword))

    def is_shallow(self, where: Place, value: Any) -> bool:
        """Whether all that is wrong is one thing with the value itself, not with a part of it."""
        ((place, keyword), *more) = self.errors
        if more or place != id(where):
            return False
        return keyword not in ("anyOf", "oneOf") or not (is_object(value) or is_array(value))


class Collector(_Everything):
    """A report that keeps everything.

    choices: the remarks on the branches that are being looked into, outermost first.
    """

    def __init__(self, memory: Memory | None = None) -> None:
        super().__init__(memory)
        self._errors: dict[ErrorDetail, None] = {}
        self._steps = 0
        self._suggestions = SUGGESTIONS
        self.choices: list[str] = []

    def add(self, where: Place, keyword: str, message: Callable[[], str]) -> None:
        path = _path(where)
        self._steps += len(path)
        if self._steps > TOLD_STEPS and self._errors:
            raise Enough
        text = message() + "".join(self.choices[-TOLD_CHOICES:])
        self._errors[ErrorDetail(path, keyword, text)] = None

    @property
    def errors(self) -> list[ErrorDetail]:
        """All that was reported, each once, in order."""
        return list(self._errors)

    def likely(self, word: str, known: Iterable[str]) -> str | None:
        if self._suggestions <= 0 or len(word) > 64:
            return None
        from difflib import get_close_matches

        self._suggestions -= 1
        candidates = [text for text in islice(known, CANDIDATES) if len(text) <= 64]
        return next(iter(get_close_matches(word, candidates, 1, LIKENESS)), None)


def _path(where: Place) -> tuple[str | int, ...]:
    path: list[str | int] = []
    while where is not None:
        where, key = where
        path.append(key)
    return tuple(reversed(path))
