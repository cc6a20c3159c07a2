r"""Matching the syntax trees that `patterns` reads.

`Automaton` answers in time linear in the text. Each set of characters in a pattern, once for each
time that it is repeated, is one bit (Glushkov's positions); the bits that a text has come to are
an integer, and where they lead from there is a handful of shifts and masks (`_Wiring`), whatever
the counts are. Each integer met is a state, a dictionary from the next character to the next state
that fills itself; when all of them grow large, they are forgotten and filled again. What `^`, `$`
and `\b` say is known from the characters around a place, and so there is a wiring for each such
neighbourhood. A lookahead or lookbehind, whatever it contains, has an automaton of its own that
walks over the whole text first, a lookahead's from the end, and marks the places where it holds.

`Backtracking` is for the patterns with back references, which no automaton matches. It tries one
way after the other as ECMA-262 says, with a fixed budget of steps, on a stack of its own.

Neither recurses deeper than the pattern is nested, and threads may share both.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any, NamedTuple

__all__ = [
    "STEPS",
    "WORD",
    "Automaton",
    "Back",
    "Backtracking",
    "Capture",
    "Chars",
    "Choice",
    "Edge",
    "Look",
    "Node",
    "Repeat",
    "Run",
]

_BITS = 2**18  # of one automaton
_WORK = 2**26  # bits times rules: about 5 ms for one character, when it was never met there
_KEPT = 20_000  # entries of all states, each 64 bytes of an integer counting for one more
_WIRED = 2**27  # work of all wirings, each counting for 2**16 more
STEPS = 200_000


class Node:
    """A part of a pattern."""


@dataclass(eq=False)
class Chars(Node):
    """One character out of a set: each bound is where the set begins or, by turns, ends."""

    bounds: tuple[int, ...]

    def __contains__(self, char: str) -> bool:
        return bisect_right(self.bounds, ord(char)) % 2 == 1


WORD = Chars((48, 58, 65, 91, 95, 96, 97, 123))


@dataclass(eq=False)
class Edge(Node):
    r"""`^`, `$`, or what `\b` and `\B` are, as the letters b and B."""

    kind: str

    def holds(self, left: str, right: str) -> bool:
        """Whether it does between these characters, the empty string being none."""
        if self.kind == "^":
            return not left
        if self.kind == "$":
            return not right
        boundary = bool(left and left in WORD) != bool(right and right in WORD)
        return boundary == (self.kind == "b")


@dataclass(eq=False)
class Run(Node):
    """One part after the other."""

    items: Sequence[Node]


@dataclass(eq=False)
class Choice(Node):
    """One part or the other."""

    items: Sequence[Node]


@dataclass(eq=False)
class Repeat(Node):
    """From `low` to `high` times; the groups from `groups[0]` up to `groups[1]` are inside."""

    body: Node
    low: int
    high: int | None
    lazy: bool
    groups: tuple[int, int]


@dataclass(eq=False)
class Capture(Node):
    """A group with a number, from 0."""

    body: Node
    number: int


@dataclass(eq=False)
class Back(Node):
    """What a group has matched, again."""

    number: int


@dataclass(eq=False)
class Look(Node):
    """What has to follow, or to precede, or must not; `index` counts them, inner ones first."""

    body: Node
    behind: bool
    negated: bool
    index: int


def _copies(count: int, width: int) -> int:
    """What a mask is multiplied with to be there `count` times, `width` bits apart."""
    return ((1 << width * count) - 1) // ((1 << width) - 1)


def _ones(mask: int) -> list[int]:
    """The places of the bits of a mask."""
    places: list[int] = []
    while mask:
        low = mask & -mask
        places.append(low.bit_length() - 1)
        mask ^= low
    return places


class _Skip(NamedTuple):
    """From an `end` of one repetition to the starts of all later ones, as these may be empty."""

    ends: int
    starts: int
    base: int
    width: int


class _Wiring:
    """From which bits to which bits a place in the text leads, if `holds` is what is true there.

    `empty`: the pattern matches without a character; `first` and `last`: the bits that a match
    begins and ends with.
    """

    def __init__(self, node: Node, backward: bool, holds: Callable[[Edge | Look], bool]) -> None:
        self.backward, self.holds = backward, holds
        self.size = 0
        self.sets: dict[Chars, int] = {}
        self.shifts: dict[int, int] = {}
        self.jumps: list[tuple[int, int]] = []
        self.skips: list[_Skip] = []
        self.looks: set[int] = set()
        self.words = False
        self.empty, self.first, self.last = self._add(node)
        self.work = self._check()

    def follow(self, bits: int) -> int:
        """The bits that these lead to."""
        out = 0
        for shift, mask in self.shifts.items():
            out |= (bits & mask) << shift if shift >= 0 else (bits & mask) >> -shift
        for source, target in self.jumps:
            if bits & source:
                out |= target
        for skip in self.skips:
            if ends := bits & skip.ends:
                lowest = ((ends & -ends).bit_length() - 1 - skip.base) // skip.width
                later = skip.base + (lowest + 1) * skip.width
                out |= skip.starts >> later << later
        return out

    def _check(self, more: int = 0) -> int:
        work = self.size * (len(self.shifts) + len(self.jumps) + len(self.skips) + more)
        if self.size > _BITS or work > _WORK:
            raise ValueError("it repeats too much")
        return work

    def _add(self, node: Node) -> tuple[bool, int, int]:
        if isinstance(node, Chars):
            bit = 1 << self.size
            self.size += 1
            self.sets[node] = self.sets.get(node, 0) | bit
            return False, bit, bit
        if isinstance(node, Run):
            return self._run(node)
        if isinstance(node, Repeat):
            return self._repeat(node)
        if isinstance(node, Choice):
            empties, firsts, lasts = zip(*map(self._add, node.items), strict=True)
            return any(empties), _union(firsts), _union(lasts)
        if isinstance(node, Capture):
            return self._add(node.body)
        assert isinstance(node, Edge | Look)
        if isinstance(node, Look):
            self.looks.add(node.index)
        elif node.kind in "bB":
            self.words = True
        return self.holds(node), 0, 0

    def _run(self, node: Run) -> tuple[bool, int, int]:
        empty, first, last = True, 0, 0
        for item in reversed(node.items) if self.backward else node.items:
            may_skip, starts, ends = self._add(item)
            self._connect(last, starts)
            first |= starts if empty else 0
            last = ends | last if may_skip else ends
            empty = empty and may_skip
        return empty, first, last

    def _repeat(self, node: Repeat) -> tuple[bool, int, int]:
        """The body is wired once; its rules are multiplied, and the repetitions connected."""
        if node.high == 0:
            return True, 0, 0
        outer = self.sets, self.shifts, self.jumps, self.skips
        self.sets, self.shifts, self.jumps, self.skips = {}, {}, [], []
        base = self.size
        empty, first, last = self._add(node.body)
        inner = self.sets, self.shifts, self.jumps, self.skips
        self.sets, self.shifts, self.jumps, self.skips = outer
        width = self.size - base
        count = node.high or max(node.low, 1)
        if not width:
            return empty or not node.low, 0, 0
        self.size = base + width * count
        self._check()
        every = _copies(count, width)
        for chars, mask in inner[0].items():
            self.sets[chars] = self.sets.get(chars, 0) | mask * every
        for shift, mask in inner[1].items():
            self.shifts[shift] = self.shifts.get(shift, 0) | mask * every
        for source, target in inner[2]:
            self._connect(source, target, width, count)
        for skip in inner[3]:
            self._check(count)
            for shift in range(0, width * count, width):
                moved = _Skip(skip.ends << shift, skip.starts << shift, skip.base + shift, skip[3])
                self.skips.append(moved)
        if node.high is None:
            back = width * (count - 1)
            self._connect(last << back, first << back)
        if empty:
            self.skips.append(_Skip(last * every, first * every, base, width))
            return True, first * every, last * every
        self._connect(last, first << width, width, count - 1)
        least = max(node.low, 1) - 1
        return not node.low, first, last * _copies(count - least, width) << width * least

    def _connect(self, source: int, target: int, width: int = 1, count: int = 1) -> None:
        """Leads each bit of `source` to each of `target`, `count` times, `width` bits apart."""
        if not source or not target or not count:
            return
        if source.bit_count() * target.bit_count() <= 2 * count:
            every = _copies(count, width)
            for start in _ones(source):
                for end in _ones(target):
                    known = self.shifts.get(end - start, 0)
                    self.shifts[end - start] = known | every << start
        else:
            self._check(count)
            self.jumps += [(source << n, target << n) for n in range(0, width * count, width)]


def _union(masks: Sequence[int]) -> int:
    union = 0
    for mask in masks:
        union |= mask
    return union


class _State(dict[Any, "_State"]):
    """Where a text has come to: the next state by the next character and the marks before it.

    `matched`: a match has ended before the last character; `verdict` is known when no further
    character can change it.
    """

    __slots__ = ("automaton", "before", "bits", "matched", "verdict")

    def __init__(self, automaton: Automaton, bits: int, before: str, matched: bool) -> None:
        self.automaton, self.bits, self.before, self.matched = automaton, bits, before, matched
        dead = before and not bits and automaton.anchored
        self.verdict = True if matched else False if dead else None

    def __missing__(self, key: Any) -> _State:
        target = self.automaton.step(self, key)
        self[key] = target
        return target


class Automaton:
    """Finds out where in a text a match ends; where it starts, if it walks `backward`."""

    def __init__(self, node: Node, *, backward: bool = False) -> None:
        self.node, self.backward = node, backward
        _Wiring(node, backward, lambda item: False)  # raises ValueError if it is too large
        widest = _Wiring(node, backward, lambda item: True)
        inside = _Wiring(node, backward, lambda item: isinstance(item, Look) or item.kind != "^")
        self.anchored = not inside.empty and not inside.first
        self.looks = sorted(widest.looks)
        self.words = widest.words
        self.bounds = sorted({bound for chars in widest.sets for bound in chars.bounds})
        self.sets = list(widest.sets.items())
        self.masks: dict[int, int] = {}
        self.wirings: dict[tuple[str, str, tuple[int, ...]], _Wiring] = {}
        self.states: dict[tuple[int, str, bool], _State] = {}
        self.weight = self.wired = 0
        self.start = _State(self, 0, "", False)

    def search(self, text: str, tables: Sequence[bytearray] = ()) -> bool:
        """Whether there is a match. `tables` has the marks of each lookaround, by its index."""
        state = self.start
        for key in self._keys(text, tables):
            state = state[key]
            if state.verdict is not None:
                return state.verdict
        return False

    def marks(self, text: str, tables: Sequence[bytearray]) -> bytearray:
        """For each place in the text, the one after it too, 1 if a match ends there."""
        marks = bytearray()
        state = self.start
        for key in self._keys(text, tables):
            state = state[key]
            marks.append(state.matched)
        if self.backward:
            marks.reverse()
        return marks

    def _keys(self, text: str, tables: Sequence[bytearray]) -> Iterator[Any]:
        """The characters, the empty string for the end, each with the marks at its near side."""
        chars = chain(reversed(text) if self.backward else text, ("",))
        if not self.looks:
            return chars
        marks = [tables[index] for index in self.looks]
        return zip(chars, *map(reversed, marks) if self.backward else marks, strict=True)

    def step(self, state: _State, key: Any) -> _State:
        """The state after the one character more."""
        char, marks = (key[0], key[1:]) if self.looks else (key, ())
        # What stands for the character where it is the neighbour of a place.
        kind = char and ("a" if self.words and char in WORD else " ")
        around = state.before, kind, marks
        wiring = self.wirings.get(around) or self._wire(around)
        bits = state.bits
        matched = wiring.empty or bits & wiring.last != 0
        if char:
            bits = (wiring.follow(bits) | wiring.first) & self._mask(char)
        found = bits, kind, matched
        target = self.states.get(found)
        self.weight += 1
        if target is None:
            if self.weight > _KEPT:
                self._forget()
            self.weight += 5 + (bits.bit_length() >> 9)
            target = self.states[found] = _State(self, bits, kind, matched)
        return target

    def _forget(self) -> None:
        states, self.states, self.masks, self.weight = self.states, {}, {}, 0
        self.start.clear()
        for state in list(states.values()):
            state.clear()

    def _mask(self, char: str) -> int:
        """The bits whose sets have the character."""
        index = bisect_right(self.bounds, ord(char))
        mask = self.masks.get(index)
        if mask is None:
            mask = self.masks[index] = _union([bits for chars, bits in self.sets if char in chars])
            self.weight += mask.bit_length() >> 9
        return mask

    def _wire(self, around: tuple[str, str, tuple[int, ...]]) -> _Wiring:
        """The wiring of places with these neighbours and marks."""
        before, after, marks = around
        sides = (after, before) if self.backward else (before, after)
        held = dict(zip(self.looks, marks, strict=True))

        def holds(node: Edge | Look) -> bool:
            if isinstance(node, Edge):
                return node.holds(*sides)
            return bool(held[node.index]) != node.negated

        wiring = _Wiring(self.node, self.backward, holds)
        self.wired += wiring.work + 2**16
        if self.wired > _WIRED:
            self.wirings, self.wired = {}, wiring.work
        self.wirings[around] = wiring
        return wiring


class _Spent(Exception):
    """The budget of steps is used up."""


# A place, what the groups have matched, and what is still to match: a linked list of nodes, each
# with two numbers that are for repetitions and groups only.
_Groups = tuple["tuple[int, int] | None", ...]
_Rest = Any


class Backtracking:
    """Tries a pattern at one place after the other, until its budget of steps is used up."""

    def __init__(self, node: Node, groups: int) -> None:
        self.node, self.groups = node, groups

    def search(self, text: str) -> bool:
        """Whether a match was found."""
        attempt = _Attempt(text)
        none = (None,) * self.groups
        try:
            return any(
                attempt.match(self.node, at, none, False) is not None for at in range(len(text) + 1)
            )
        except _Spent:
            return False


class _Attempt:
    def __init__(self, text: str) -> None:
        self.text, self.left = text, STEPS

    def match(self, node: Node, at: int, groups: _Groups, back: bool) -> _Groups | None:
        """What the groups have matched when `node` does at this place; None if it does not."""
        stack: list[tuple[int, _Groups, _Rest]] = [(at, groups, (node, 0, at, None))]
        while stack:
            self.left -= 1
            if self.left < 0:
                raise _Spent
            at, groups, todo = stack.pop()
            if todo is None:
                return groups
            stack += self._ways(at, groups, todo, back)
        return None

    def _ways(
        self, at: int, groups: _Groups, todo: _Rest, back: bool
    ) -> list[tuple[int, _Groups, _Rest]]:
        """How it can go on from here, the best way last."""
        node, count, since, rest = todo
        if isinstance(node, Chars):
            char = self.text[at - 1 : at] if back else self.text[at : at + 1]
            return [(at - 1 if back else at + 1, groups, rest)] if char and char in node else []
        if isinstance(node, Edge):
            before = self.text[at - 1 : at] if at else ""
            return [(at, groups, rest)] if node.holds(before, self.text[at : at + 1]) else []
        if isinstance(node, Run):
            self.left -= len(node.items)
            for item in node.items if back else reversed(node.items):
                rest = (item, 0, at, rest)
            return [(at, groups, rest)]
        if isinstance(node, Choice):
            self.left -= len(node.items)
            return [(at, groups, (item, 0, at, rest)) for item in reversed(node.items)]
        if isinstance(node, Repeat):
            return self._repeat(node, at, groups, todo)
        if isinstance(node, Capture):
            if not count:
                return [(at, groups, (node.body, 0, at, (node, 1, at, rest)))]
            found = min(at, since), max(at, since)
            return [(at, (*groups[: node.number], found, *groups[node.number + 1 :]), rest)]
        if isinstance(node, Back):
            start, end = groups[node.number] or (0, 0)
            self.left -= (end - start) >> 8  # about as long as a step takes
            far = at - (end - start) if back else at + end - start
            same = far >= 0 and self.text[min(at, far) : max(at, far)] == self.text[start:end]
            return [(far, groups, rest)] if same else []
        assert isinstance(node, Look)
        inside = self.match(node.body, at, groups, node.behind)
        if node.negated:
            return [(at, groups, rest)] if inside is None else []
        return [] if inside is None else [(at, inside, rest)]

    def _repeat(
        self, node: Repeat, at: int, groups: _Groups, todo: _Rest
    ) -> list[tuple[int, _Groups, _Rest]]:
        """Once more, with the groups inside empty again, or no more."""
        _, count, since, rest = todo
        if count > node.low and at == since:
            return []
        ways: list[tuple[int, _Groups, _Rest]] = []
        if count >= node.low:
            ways.append((at, groups, rest))
        if node.high is None or count < node.high:
            low, high = node.groups
            empty = (*groups[:low], *(None,) * (high - low), *groups[high:])
            ways.append((at, empty, (node.body, 0, at, (node, count + 1, at, rest))))
        return ways[::-1] if node.lazy else ways
