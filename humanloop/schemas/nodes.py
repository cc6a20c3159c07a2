"""Schema objects compiled to nodes, and the exact rules by which a value matches one.

A `Node` is a schema object made ready: bounds as checks, subschemas as nodes, `$ref` resolved when
first needed, so that schemas may refer to each other and to themselves. `Node.match` takes a cast
value and either raises or reports what is wrong, or gives a `Match`: which classes the value and
each of its parts is an instance of. It builds nothing. The same code decides and explains: a
`Report` that fails at once serves the first, one that collects the second. No pair of schema and
value is looked at twice, and the calls are steps of a trampoline: time and memory are linear in the
value, at any depth.

Source of the rules: OpenAPI 3.0.3, Schema Object, Reference Object (siblings of `$ref` are ignored)
and Discriminator Object.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cached_property, partial
from itertools import islice
from operator import itemgetter
from typing import Any, Literal, NoReturn

from humanloop.schemas.casting import (
    INVALID,
    JSON_TYPES,
    TOLD_STEPS,
    is_array,
    is_integer,
    is_mapping,
    is_object,
    is_sequence,
    kind_of,
)
from humanloop.schemas.errors import HIDDEN, ErrorDetail, show
from humanloop.schemas.keywords import Check, checks_of
from humanloop.schemas.scope import COMPONENTS, Scope
from humanloop.schemas.trampoline import Steps

__all__ = [
    "FORMAT_CLASSES",
    "Collector",
    "Direction",
    "Enough",
    "Match",
    "Memory",
    "Mismatch",
    "Node",
    "Report",
]

Direction = Literal["request", "response"]
"""Which way a value goes: `readOnly` and `writeOnly` depend on it."""

Place = tuple[Any, str | int] | None
"""Where a value is: (place of its container, key or index); None for the outermost value."""

FORMAT_CLASSES: dict[str, type] = {}
"""The class of a string by its format, for those formats that have a class of their own."""

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


class Node:
    """A compiled schema object.

    scope resolves `$ref`s; `place` is where the schema stands in its document, for messages; `cls`
    is the named class that an instance belongs to, where there is one.
    """

    def __init__(
        self, schema: Mapping[str, Any], scope: Scope, place: str, cls: type | None = None
    ) -> None:
        self.cls = cls
        self.scope = scope
        self.place = place
        self.schema = schema
        self.ref: str | None = schema.get("$ref")
        self.forms: dict[tuple[type, ...], Any] = {}
        self._target: Node | None = None
        if self.ref is None:
            self._compile(schema)
        elif not isinstance(self.ref, str):  # pyright: ignore[reportUnnecessaryIsInstance]
            self._refuse(f"$ref has to be a string, got {self.ref!r:.40}")

    def _compile(self, schema: Mapping[str, Any]) -> None:
        for keyword, (holds, phrase) in _WELL_FORMED.items():
            if keyword in schema and not holds(schema[keyword]):
                place = f"{self.place}/{keyword}"
                raise ValueError(
                    f"schema at {place}: expected {phrase}, got {schema[keyword]!r:.40}"
                )
        self.type: str | None = schema.get("type")
        if self.type is not None and (
            self.type not in JSON_TYPES or ":" in self.type or self.type == "null"
        ):
            self._refuse(f"type {self.type!r} is none of OpenAPI 3.0's")
        try:
            checks = checks_of(schema)
        except (ValueError, TypeError) as error:
            self._refuse(str(error))
        self.any_checks: list[Check] = checks.pop("", [])
        self.checks = checks
        self.is_secret = schema.get("format") == "password"
        self.binary = schema.get("format") == "binary" and self.type == "string"
        self.nullable = schema.get("nullable") is True and self.type is not None
        self.format_class = FORMAT_CLASSES.get(schema.get("format", ""))
        self.required: tuple[str, ...] = tuple(schema.get("required", ()))
        properties: Mapping[str, Any] = schema.get("properties", {})
        self.properties = {
            key: self.child(sub, "properties", key) for key, sub in properties.items()
        }
        additional = schema.get("additionalProperties", True)
        self.closed = additional is False
        self.additional = (
            None if isinstance(additional, bool) else self.child(additional, "additionalProperties")
        )
        items = schema.get("items")
        self.items = None if items is None else self.child(items, "items")
        self.all_of = self.children("allOf")
        self.any_of = self.children("anyOf")
        self.one_of = self.children("oneOf")
        negated = schema.get("not")
        self.negated = None if negated is None else self.child(negated, "not")
        self.discriminator: Mapping[str, Any] | None = schema.get("discriminator")
        self.is_composed = bool(
            self.all_of or self.any_of or self.one_of or self.negated or self.discriminator
        )
        self.by_kind = bool(self.properties or self.required or self.closed or self.additional)
        self.members = _strings(schema.get("enum"))
        bounded = self.any_checks or self.checks or self.by_kind or self.items
        self.is_bare = not (self.type or bounded or self.negated)
        self.is_free = self.is_bare and not (self.all_of or self.any_of or self.one_of)

    def _refuse(self, problem: str) -> NoReturn:
        raise ValueError(f"schema at {self.place or '#'}: {problem}")

    def child(self, schema: Any, *steps: str | int) -> Node:
        """The node of a subschema that stands at `steps` below this one."""
        place = "/".join((self.place, *map(str, steps)))
        if not isinstance(schema, Mapping):
            raise ValueError(f"schema at {place}: expected a schema object, got {schema!r:.40}")
        return Node(schema, self.scope, place)  # pyright: ignore[reportUnknownArgumentType]

    def children(self, keyword: str) -> list[Node]:
        """The nodes of the branches of allOf, anyOf or oneOf."""
        return [
            self.child(s, keyword, index) for index, s in enumerate(self.schema.get(keyword, ()))
        ]

    @property
    def target(self) -> Node:
        """The node that `$ref` names.

        Raises:
            ValueError: there is none, or following it only leads back here.
        """
        if self._target is None:
            node, seen = self, set[str]()
            while node.ref is not None:
                if node.ref in seen:
                    self._refuse(f"{node.ref} refers to nothing but itself")
                seen.add(node.ref)
                node = node.scope.resolve(node.ref)
            assert self.ref is not None
            self._target = self.scope.resolve(self.ref)
        return self._target

    @property
    def resolved(self) -> Node:
        """The first node on the way of `$ref`s that is none."""
        return self if self.ref is None else self.target.resolved

    @property
    def name(self) -> str:
        """The schema's name, or its type, as messages word it."""
        if self.ref is not None:
            return self.ref.rpartition("/")[2]
        if self.cls is not None:
            return self.cls.__name__
        if self.type == "array" and self.items is not None:
            return f"an array of {self.items.name}"
        return JSON_TYPES[self.type].phrase if self.type else "an unnamed schema"

    # -- matching ---------------------------------------------------------------------------------

    def attempt(self, value: Any, report: Report) -> Steps[Match | None]:
        """The match of a value, or None; `report` remembers it."""
        memory = report.memory
        key = (id(self), id(value), memory.active)
        if key not in memory.attempts:
            try:
                memory.attempts[key] = yield self.match(value, None, Report(memory))
            except Mismatch:
                memory.attempts[key] = None
        return memory.attempts[key]

    def match(self, value: Any, where: Place, report: Report) -> Steps[Match]:
        """What `value`, a cast value at `where`, is by this schema.

        The result means something only when nothing was reported.

        Raises:
            Mismatch: the value does not match and `report` does not collect.
        """
        if self.ref is not None:
            followed: Match = yield self._follow(value, where, report)
            return followed
        match = Match() if self.cls is None else Match((self.cls,))
        if value is INVALID or not report.first_time(self, where):
            return match
        kind = kind_of(value)
        if not self.type_fits(kind, value):
            report.expected(where, "type", self._type_phrase(), value)
            return match
        for check in (*self.any_checks, *self.checks.get(kind, ())):
            if not check.holds(value):
                shown = HIDDEN if self.is_secret else value
                report.expected(where, check.keyword, check.phrase, shown)
        if kind == "string":
            if self.format_class is not None and self.format_class not in match.classes:
                match.classes += (self.format_class,)
        elif kind == "object":
            if self.by_kind:
                yield from self._match_object(value, where, report, match)
        elif kind == "array" and self.items is not None:
            for index, item in enumerate(value):
                place = report.below(where, index)
                match.hold(index, (yield self.items.match(item, place, report)))
        if self.is_composed:
            yield from self._match_composed(value, where, report, match)
        return match

    def _follow(self, value: Any, where: Place, report: Report) -> Steps[Match]:
        """The match by what `$ref` names: schemas that recur do so here, so it is remembered."""
        if not report.collects and (is_object(value) or is_array(value)):
            found: Match | None = yield self.target.attempt(value, report)
        else:
            found = yield self.target.match(value, where, report)
        if found is None:
            raise Mismatch
        match = Match() if self.cls is None else Match((self.cls,))
        match.merge(found)
        return match

    def type_fits(self, kind: str, value: Any) -> bool:
        """Whether `type` and `nullable` admit a value, which is of this kind."""
        if self.type is None or kind == self.type:
            return not (self.binary and kind == "string")
        if kind == "null":
            return self.nullable
        if kind == "binary":
            return self.binary
        return self.type == "integer" and kind == "number" and is_integer(value)

    def _type_phrase(self) -> str:
        phrase = JSON_TYPES["string:binary" if self.binary else self.type or "null"].phrase
        return f"{phrase} or null" if self.nullable else phrase

    def _match_object(
        self, value: dict[str, Any], where: Place, report: Report, match: Match
    ) -> Steps[None]:
        direction = report.memory.direction
        for key in self.required:
            if key not in value and self.directions.get(key, direction) == direction:
                message = partial(self._missing, key, value, report)
                report.add(report.below(where, key), "required", message)
        for key, item in value.items():
            node = self.properties.get(key, self.additional)
            if node is not None:
                place = report.below(where, key)
                if direction and self.directions.get(key, direction) != direction:
                    report.add(place, *_ONE_WAY[direction])
                match.hold(key, (yield node.match(item, place, report)))
            elif self.closed and key not in self.properties:
                message = partial(self._unknown, key, value, report)
                report.add(report.below(where, key), "additionalProperties", message)

    @cached_property
    def directions(self) -> dict[str, Direction]:
        """The one way that properties go which go one way only."""
        found: dict[str, Direction] = {}
        for key, node in self.properties.items():
            schema = node.resolved.schema
            if schema.get("readOnly") is True:
                found[key] = "response"
            elif schema.get("writeOnly") is True:
                found[key] = "request"
        return found

    def _missing(self, key: str, value: Mapping[str, Any], report: Report) -> str:
        likely = report.likely(key, (k for k in value if k not in self.properties))
        return "missing, but required" + (f" (is it the unknown key {likely!r}?)" if likely else "")

    def _unknown(self, key: str, value: Mapping[str, Any], report: Report) -> str:
        likely = report.likely(key, (k for k in self.properties if k not in value))
        owner = self.cls.__name__ if self.cls is not None else "the object"
        return f"unknown key, {owner} is closed" + (f": did you mean {likely!r}?" if likely else "")

    def _match_composed(
        self, value: Any, where: Place, report: Report, match: Match
    ) -> Steps[None]:
        for node in self.all_of:
            match.merge((yield node.match(value, where, report)))
        told = self.one_of or self.any_of if self.discriminator is not None else []
        if self.any_of and told is not self.any_of:
            yield from self._match_branches("anyOf", self.any_of, value, where, report, match)
        if self.one_of and told is not self.one_of:
            yield from self._match_branches("oneOf", self.one_of, value, where, report, match)
        if told:
            yield from self._discriminate(value, where, report, match)
        elif self.descends and is_object(value):
            yield from self._descend(value, where, report, match)
        if self.negated is not None and (yield self.negated.attempt(value, report)) is not None:
            report.expected(where, "not", f"anything but {self.negated.name}", value)

    def _match_branches(
        self,
        keyword: str,
        branches: list[Node],
        value: Any,
        where: Place,
        report: Report,
        match: Match,
    ) -> Steps[None]:
        found: list[tuple[Node, Match]] = []
        kind = kind_of(value)
        fitting = [node for node in branches if node.resolved.type_fits(kind, value)]
        for node in fitting:
            matched = yield node.attempt(value, report)
            if matched is not None:
                found.append((node, matched))
        if not found:
            yield from self._explain(keyword, branches, fitting, value, where, report)
        elif keyword == "oneOf" and len(found) > 1:
            names = " and ".join(node.name for node, _ in found)
            wanted = f"a value that matches exactly one branch of oneOf (it matches {names})"
            report.expected(where, keyword, wanted, value)
        else:
            for _, matched in found:
                match.merge(matched)

    def _explain(
        self,
        keyword: str,
        branches: list[Node],
        fitting: list[Node],
        value: Any,
        where: Place,
        report: Report,
    ) -> Steps[None]:
        """Reports that no branch matches: by the errors of the one that came nearest."""
        if not isinstance(report, Collector):
            report.add(where, keyword, lambda: "matches no branch")
            return
        ranked: list[tuple[int, int, Node]] = []
        for index, node in enumerate(fitting):
            tally = Tally(report.memory)
            yield node.match(value, where, tally)
            if not tally.is_shallow(where, value):
                weight = sum(5 if found == "enum" else 1 for _, found in tally.errors)
                ranked.append((weight - 2 * node.resolved.declared_in(value), index, node))
        if not ranked:
            wanted = " or ".join(dict.fromkeys(node.wanted for node in branches))
            report.expected(where, keyword, wanted, value)
            return
        nearest, *others = (node for _, _, node in sorted(ranked, key=itemgetter(0, 1)))
        # Where the value's type leaves one branch only, there is nothing to tell about the choice.
        choice = f" (taken as {nearest.name}, the nearest of {keyword}" if others else ""
        if others:
            choice += f"; then {', '.join(node.name for node in others[:3])})"
        report.choices.append(choice)
        yield nearest.match(value, where, report)
        report.choices.pop()

    @property
    def wanted(self) -> str:
        """What this schema wants, in a few words."""
        node = self.resolved
        if node.any_checks and node.any_checks[0].keyword == "enum":
            return node.any_checks[0].phrase
        phrase = JSON_TYPES[node.type].phrase if node.type else "a value"
        return f"{phrase} ({node.cls.__name__})" if node.cls is not None else phrase

    def _discriminate(self, value: Any, where: Place, report: Report, match: Match) -> Steps[None]:
        assert self.discriminator is not None
        key: str = self.discriminator["propertyName"]
        if not is_object(value):
            report.expected(where, "type", JSON_TYPES["object"].phrase, value)
            return
        choices = self.choices
        names = ", ".join(map(repr, self.discriminator.get("mapping", choices)))
        if key not in value:
            message = f"missing, but required: it tells the kind, one of {names}"
            report.add(report.below(where, key), "required", lambda: message)
            return
        chosen = value[key]
        node = choices.get(chosen) if isinstance(chosen, str) else None
        if node is None:
            place = report.below(where, key)
            report.expected(place, "discriminator", f"one of {names}", chosen)
        else:
            match.merge((yield node.match(value, where, report)))

    def _descend(self, value: Any, where: Place, report: Report, match: Match) -> Steps[None]:
        """Follows the discriminator of a parent schema to the child that extends it by allOf.

        OpenAPI 3.0.3, section Composition and Inheritance: the child is used in conjunction.
        """
        assert self.discriminator is not None
        memory, key = report.memory, self.discriminator["propertyName"]
        tag = value.get(key)
        here = (id(self), id(value))
        if not isinstance(tag, str) or here in memory.active:
            return
        # What is mapped is a name or a pointer; what is not is a name, whatever it looks like.
        ref: str = self.discriminator.get("mapping", {}).get(tag, "")
        resolve = self.scope.resolve if ref.startswith("#") else self.scope.named
        try:
            child = resolve(ref or tag)
        except ValueError:
            place = report.below(where, key)
            report.expected(place, "discriminator", "the name of a schema", tag)
            return
        if child is self:
            return
        before, memory.active = memory.active, memory.active | {here}
        try:
            match.merge((yield child.match(value, where, report)))
        finally:
            memory.active = before

    @property
    def choices(self) -> dict[str, Node]:
        """The branches by the discriminator's value: its mapping, and the schemas' own names."""
        assert self.discriminator is not None
        branches = self.one_of or self.any_of
        choices = {node.name: node for node in branches if node.ref is not None}
        for value, ref in self.discriminator.get("mapping", {}).items():
            known = choices.get(ref.rpartition("/")[2])
            pointer = ref if ref.startswith("#") else COMPONENTS + ref
            choices[value] = known or self.child({"$ref": pointer}, "discriminator", value)
        return choices

    def here(self) -> list[Node]:
        """The nodes that speak of the same value: branches, or what `$ref` names."""
        if self.ref is not None:
            return [self.target]
        negated = [self.negated] if self.negated is not None else []
        return [*self.all_of, *self.any_of, *self.one_of, *negated]

    def below(self) -> list[Node]:
        """The nodes that speak of parts of the value, and the choices of a discriminator."""
        if self.ref is not None:
            return []
        maybe = (self.additional, self.items)
        told = self.discriminator is not None and (self.one_of or self.any_of)
        return [
            *self.properties.values(),
            *(node for node in maybe if node is not None),
            *(self.choices.values() if told else ()),
        ]

    def walk(self) -> Iterator[Node]:
        """This node and all that it leads to, each once."""
        seen: set[int] = set()
        nodes = [self]
        while nodes:
            node = nodes.pop()
            if id(node) not in seen:
                seen.add(id(node))
                yield node
                nodes += node.here() + node.below()

    @property
    def descends(self) -> bool:
        """Whether its discriminator leads to schemas that extend this one."""
        return self.discriminator is not None and not (self.one_of or self.any_of)

    def declared_in(self, value: Any) -> int:
        """How many keys of a value are properties here."""
        return sum(key in self.properties for key in value) if is_object(value) else 0

    def keys(self) -> dict[str, None]:
        """The keys that the schema, or an unnamed branch of it, declares."""
        if self.ref is not None:
            return {}
        keys = dict.fromkeys(self.properties)
        for node in (*self.all_of, *self.any_of, *self.one_of):
            keys.update(node.keys())
        return keys


_ONE_WAY: dict[Direction, tuple[str, Callable[[], str]]] = {
    "request": ("readOnly", lambda: "not allowed in a request: only the server sets it"),
    "response": ("writeOnly", lambda: "not allowed in a response: it is only ever sent"),
}

_Test = tuple[Callable[[Any], bool], str]
_TEXT: _Test = (lambda value: isinstance(value, str), "a string")
_FLAG: _Test = (lambda value: isinstance(value, bool), "true or false")
_OBJECT: _Test = (is_mapping, "an object")
_BRANCHES: _Test = (
    lambda value: is_sequence(value) and len(value) > 0,
    "a list of schema objects",
)
_WELL_FORMED: dict[str, _Test] = {
    "type": _TEXT,
    "format": _TEXT,
    "pattern": _TEXT,
    "nullable": _FLAG,
    "readOnly": _FLAG,
    "writeOnly": _FLAG,
    "uniqueItems": _FLAG,
    "exclusiveMinimum": _FLAG,
    "exclusiveMaximum": _FLAG,
    "enum": (is_sequence, "a list of values"),
    "required": (lambda value: _strings(value) is not None, "a list of keys"),
    "properties": _OBJECT,
    "items": _OBJECT,
    "not": _OBJECT,
    "additionalProperties": (
        lambda value: isinstance(value, bool) or is_mapping(value),
        "true, false or a schema object",
    ),
    "allOf": _BRANCHES,
    "anyOf": _BRANCHES,
    "oneOf": _BRANCHES,
    "discriminator": (
        lambda value: is_mapping(value) and isinstance(value.get("propertyName"), str),
        "an object with a propertyName",
    ),
}
"""What the value of a keyword has to be; those that bound values are looked at by `keywords`."""


def _strings(values: Any) -> list[str] | tuple[str, ...] | None:
    """The values of an enum, if all are strings."""
    return values if is_sequence(values) and all(isinstance(v, str) for v in values) else None
