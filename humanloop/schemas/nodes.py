"""Schema objects compiled to nodes, and the exact rules by which a value matches one.

A `Node` is a schema object made ready: bounds as checks, subschemas as nodes, `$ref` resolved when
first needed, so that schemas may refer to each other and to themselves. `Node.match` takes a cast
value and either raises or reports what is wrong, or gives a `Match`: which classes the value and
each of its parts is an instance of. It builds nothing. The same code decides and explains, by the
kind of report that it is given (`reports`). No pair of schema and value is looked at twice, and the
calls are steps of a trampoline: time and memory are linear in the value, at any depth.

Source of the rules: OpenAPI 3.0.3, Schema Object, Reference Object (siblings of `$ref` are ignored)
and Discriminator Object.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import cached_property, partial
from operator import itemgetter
from typing import Any, NoReturn

from humanloop.schemas.casting import (
    INVALID,
    JSON_TYPES,
    is_array,
    is_integer,
    is_mapping,
    is_object,
    is_sequence,
    kind_of,
)
from humanloop.schemas.errors import HIDDEN
from humanloop.schemas.keywords import Check, checks_of
from humanloop.schemas.reports import (
    Collector,
    Direction,
    Match,
    Mismatch,
    Place,
    Report,
    Tally,
)
from humanloop.schemas.scope import COMPONENTS, Scope
from humanloop.schemas.trampoline import Steps

__all__ = ["FORMAT_CLASSES", "Node"]

FORMAT_CLASSES: dict[str, type] = {}
"""The class of a string by its format, for those formats that have a class of their own."""


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
        self.converters: dict[tuple[type, ...], Any] = {}
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
        choice = ""
        if others:
            next_ones = ", ".join(node.name for node in others[:3])
            choice = f" (taken as {nearest.name}, the nearest of {keyword}; then {next_ones})"
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
