"""Schema objects compiled to nodes, and the exact rules by which a value matches one.

A `Node` is a schema object made ready: bounds as checks, subschemas as nodes, `$ref` resolved when
first needed, so that schemas may refer to each other and to themselves. `Node.match` takes a cast
value and either raises or reports what is wrong, or gives a `Match`: which classes the value and
each of its parts is an instance of. It builds nothing. The same code decides and explains: a
`Report` that fails at once serves the first, one that collects the second.

Source of the rules: OpenAPI 3.0.3, Schema Object, Reference Object (siblings of `$ref` are ignored)
and Discriminator Object.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, NoReturn

from humanloop.schemas.casting import (
    INVALID,
    JSON_TYPES,
    is_integer,
    is_mapping,
    is_object,
    is_sequence,
    kind_of,
)
from humanloop.schemas.errors import ErrorDetail, show
from humanloop.schemas.keywords import Check, checks_of
from humanloop.schemas.scope import COMPONENTS, Scope

__all__ = ["FORMAT_CLASSES", "Collector", "Match", "Mismatch", "Node", "Report"]

Place = tuple[Any, str | int] | None
"""Where a value is: (place of its container, key or index); None for the outermost value."""

FORMAT_CLASSES: dict[str, type] = {}
"""The class of a string by its format, for those formats that have a class of their own."""

LIKENESS = 0.7
"""How much alike two spellings are, from 0 to 1, before one is taken for the other."""

SUGGESTIONS = 20
"""How many errors of one value get a likely spelling: the search is slow."""


class Mismatch(Exception):
    """A value does not match: raised by a report that does not collect."""


class Match:
    """What a value turned out to be: its classes, outermost first, and its parts' matches."""

    __slots__ = ("children", "classes")

    def __init__(self, classes: tuple[type, ...] = ()) -> None:
        self.classes = classes
        self.children: dict[str | int, Match] = {}

    def merge(self, other: Match) -> None:
        """Adds what another schema found of the same value."""
        self.classes += tuple(c for c in other.classes if c not in self.classes)
        for key, child in other.children.items():
            mine = self.children.get(key)
            if mine is not None:
                # Both may be kept elsewhere, so neither is changed.
                both = Match(mine.classes)
                both.children = dict(mine.children)
                both.merge(child)
                child = both
            self.children[key] = child


class Memory:
    """What is known already within one validation.

    attempts: how branches of composed schemas turned out, by schema and value, so that no pair is
        tried twice. explained: the schemas and places whose errors are reported. active: the
        parents and values that a discriminator is being followed down from.
    """

    def __init__(self) -> None:
        self.attempts: dict[tuple[int, int], Match | None] = {}
        self.explained: set[tuple[int, tuple[str | int, ...]]] = set()
        self.active: set[tuple[int, int]] = set()


class Report:
    """Takes what is wrong with one value; this one stops at the first."""

    explains = False

    def __init__(self, memory: Memory | None = None) -> None:
        self.memory = memory or Memory()

    def add(self, where: Place, keyword: str, message: Callable[[], str]) -> None:
        """Takes one error; its message is made only if somebody will read it."""
        raise Mismatch

    def likely(self, word: str, known: Sequence[str]) -> str | None:
        """The one of `known` that `word` was probably meant to be, where somebody will read it."""
        return None

    def expected(self, where: Place, keyword: str, wanted: str, value: Any) -> None:
        """Takes one error of the common form: `wanted` was expected, `value` came."""
        self.add(where, keyword, lambda: f"expected {wanted}, got {show(value, _path(where))}")


class Collector(Report):
    """A report that keeps everything.

    explains: whether the errors inside the nearest branch of a composed schema are wanted, too.
    Ranking the branches works without them, so that nested compositions cost no more than their
    depth.
    """

    def __init__(self, explains: bool = True, memory: Memory | None = None) -> None:
        super().__init__(memory)
        self.explains = explains
        self._errors: dict[ErrorDetail, None] = {}
        self.suggestions = SUGGESTIONS

    def add(self, where: Place, keyword: str, message: Callable[[], str]) -> None:
        self._errors[ErrorDetail(_path(where), keyword, message())] = None

    @property
    def errors(self) -> list[ErrorDetail]:
        """All that was reported, each once, in order."""
        return list(self._errors)

    def likely(self, word: str, known: Sequence[str]) -> str | None:
        if self.suggestions <= 0 or len(word) > 64 or not self.explains:
            return None
        from difflib import get_close_matches

        self.suggestions -= 1
        return next(iter(get_close_matches(word, known, 1, LIKENESS)), None)


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
        self.converters: dict[tuple[type, ...], Callable[[Any], Any]] = {}
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

    def attempt(self, value: Any, where: Place, report: Report) -> Match | None:
        """The match, or None; `report` remembers it."""
        key = (id(self), id(value))
        attempts = report.memory.attempts
        if key not in attempts:
            try:
                attempts[key] = self.match(value, where, Report(report.memory))
            except Mismatch:
                attempts[key] = None
        return attempts[key]

    def match(self, value: Any, where: Place, report: Report) -> Match:
        """What `value`, a cast value at `where`, is by this schema.

        The result means something only when nothing was reported.

        Raises:
            Mismatch: the value does not match and `report` does not collect.
        """
        match = Match() if self.cls is None else Match((self.cls,))
        if self.ref is not None:
            match.merge(self.target.match(value, where, report))
            return match
        if value is INVALID:
            return match
        kind = kind_of(value)
        if not self._type_fits(kind, value):
            report.expected(where, "type", self._type_phrase(), value)
            return match
        for check in (*self.any_checks, *self.checks.get(kind, ())):
            if not check.holds(value):
                report.expected(where, check.keyword, check.phrase, value)
        if kind == "string":
            if self.format_class is not None and self.format_class not in match.classes:
                match.classes += (self.format_class,)
        elif kind == "object":
            if self.by_kind:
                self._match_object(value, where, report, match)
        elif kind == "array" and self.items is not None:
            for index, item in enumerate(value):
                match.children[index] = self.items.match(item, (where, index), report)
        self._match_composed(value, where, report, match)
        return match

    def _type_fits(self, kind: str, value: Any) -> bool:
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
    ) -> None:
        for key in self.required:
            if key not in value:
                report.add(
                    (where, key),
                    "required",
                    partial(self._missing, key, value, report),
                )
        for key, item in value.items():
            node = self.properties.get(key, self.additional)
            if node is not None:
                match.children[key] = node.match(item, (where, key), report)
            elif self.closed and key not in self.properties:
                report.add(
                    (where, key),
                    "additionalProperties",
                    partial(self._unknown, key, value, report),
                )

    def _missing(self, key: str, value: Mapping[str, Any], report: Report) -> str:
        unknown = [k for k in value if k not in self.properties]
        likely = report.likely(key, unknown)
        return "missing, but required" + (f" (is it the unknown key {likely!r}?)" if likely else "")

    def _unknown(self, key: str, value: Mapping[str, Any], report: Report) -> str:
        free = [k for k in self.properties if k not in value]
        likely = report.likely(key, free)
        owner = self.cls.__name__ if self.cls is not None else "the object"
        return f"unknown key, {owner} is closed" + (f": did you mean {likely!r}?" if likely else "")

    def _match_composed(self, value: Any, where: Place, report: Report, match: Match) -> None:
        for node in self.all_of:
            match.merge(node.match(value, where, report))
        told = self.one_of or self.any_of if self.discriminator is not None else []
        if self.any_of and told is not self.any_of:
            self._match_branches("anyOf", self.any_of, value, where, report, match)
        if self.one_of and told is not self.one_of:
            self._match_branches("oneOf", self.one_of, value, where, report, match)
        if told:
            self._discriminate(value, where, report, match)
        elif self.discriminator is not None and is_object(value):
            self._descend(value, where, report, match)
        if self.negated is not None and self.negated.attempt(value, where, report) is not None:
            wanted = f"anything but {self.negated.name}"
            report.expected(where, "not", wanted, value)

    def _match_branches(
        self,
        keyword: str,
        branches: list[Node],
        value: Any,
        where: Place,
        report: Report,
        match: Match,
    ) -> None:
        found = [(node, m) for node in branches if (m := node.attempt(value, where, report))]
        if not found:
            self._explain(keyword, branches, value, where, report)
        elif keyword == "oneOf" and len(found) > 1:
            names = " and ".join(node.name for node, _ in found)
            wanted = f"a value that matches exactly one branch of oneOf (it matches {names})"
            report.expected(where, keyword, wanted, value)
        else:
            for _, matched in found:
                match.merge(matched)

    def _explain(
        self, keyword: str, branches: list[Node], value: Any, where: Place, report: Report
    ) -> None:
        """Reports that no branch matches: by the errors of the one that came nearest."""
        if not report.explains:
            report.add(where, keyword, lambda: "matches no branch")
            return
        if (id(self), _path(where)) in report.memory.explained:
            return
        report.memory.explained.add((id(self), _path(where)))
        ranked: list[tuple[int, Node]] = []
        for node in branches:
            trial = Collector(False, report.memory)
            node.match(value, where, trial)
            if not (len(trial.errors) == 1 and trial.errors[0].path == _path(where)):
                weight = sum(5 if error.keyword == "enum" else 1 for error in trial.errors)
                ranked.append((weight - 2 * node.resolved.declared_in(value), node))
        if not ranked:
            wanted = " or ".join(dict.fromkeys(node.wanted for node in branches))
            report.expected(where, keyword, wanted, value)
            return
        nearest = min(ranked, key=lambda pair: pair[0])[1]
        inner = Collector(True, report.memory)
        nearest.match(value, where, inner)
        # Where the value's type leaves one branch only, there is nothing to tell about the choice.
        suffix = f" (taken as {nearest.name}, the nearest of {keyword})" if len(ranked) > 1 else ""
        for error in inner.errors:
            place = where
            for step in error.path[len(_path(where)) :]:
                place = (place, step)
            report.add(place, error.keyword, partial(str, error.message + suffix))

    @property
    def wanted(self) -> str:
        """What this schema wants, in a few words."""
        node = self.resolved
        if node.any_checks and node.any_checks[0].keyword == "enum":
            return node.any_checks[0].phrase
        phrase = JSON_TYPES[node.type].phrase if node.type else "a value"
        return f"{phrase} ({node.cls.__name__})" if node.cls is not None else phrase

    def _discriminate(self, value: Any, where: Place, report: Report, match: Match) -> None:
        assert self.discriminator is not None
        key: str = self.discriminator["propertyName"]
        if not is_object(value):
            report.expected(where, "type", JSON_TYPES["object"].phrase, value)
            return
        choices = self.choices
        names = ", ".join(map(repr, self.discriminator.get("mapping", choices)))
        if key not in value:
            message = f"missing, but required: it tells the kind, one of {names}"
            report.add((where, key), "required", lambda: message)
            return
        chosen = value[key]
        node = choices.get(chosen) if isinstance(chosen, str) else None
        if node is None:
            report.expected((where, key), "discriminator", f"one of {names}", chosen)
        else:
            match.merge(node.match(value, where, report))

    def _descend(self, value: Any, where: Place, report: Report, match: Match) -> None:
        """Follows the discriminator of a parent schema to the child that extends it by allOf.

        OpenAPI 3.0.3, section Composition and Inheritance: the child is used in conjunction.
        """
        assert self.discriminator is not None
        key: str = self.discriminator["propertyName"]
        tag = value.get(key)
        place = (id(self), id(value))
        if not isinstance(tag, str) or place in report.memory.active:
            return
        ref: str = self.discriminator.get("mapping", {}).get(tag, tag)
        try:
            child = self.scope.resolve(ref if ref.startswith("#") else COMPONENTS + ref)
        except ValueError:
            report.expected((where, key), "discriminator", "the name of a schema", tag)
            return
        if child is not self:
            report.memory.active.add(place)
            match.merge(child.match(value, where, report))
            report.memory.active.discard(place)

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
    "uniqueItems": _FLAG,
    "exclusiveMinimum": _FLAG,
    "exclusiveMaximum": _FLAG,
    "enum": (lambda value: is_sequence(value) and len(value) > 0, "a list of values"),
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
