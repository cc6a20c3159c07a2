"""Where an answer differs from the API's document: keys and enum values that it does not tell of.

`find_drift` compares one answer with the schema of its operation; the configuration's `on_drift`
gets the report. What stays true: a schema that leaves an object open has no say about its keys, so
whatever is reported is a difference for certain; no difference raises; the time is linear in the
answer, at any nesting; and of a value that may be secret, nothing is in a report.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, TypeGuard

from frozendict import frozendict

from humanloop.exceptions import render_path
from humanloop.schemas import ErrorDetail, Schema, SchemaValidationError, loads
from humanloop.schemas.building import BASES
from humanloop.schemas.casting import cast, kind_of, type_of
from humanloop.schemas.errors import show
from humanloop.secrets import is_secret_name, mask_keys, printable, shorten

if TYPE_CHECKING:
    from humanloop.operation import Operation
    from humanloop.schemas.nodes import Node

__all__ = ["Drift", "DriftReport", "find_drift"]

MAX_FINDINGS = 100
"""How many findings a report holds; what else there may be is not looked for."""

MAX_DEPTH = 200
"""How many containers deep an answer is looked into."""

MAX_ERRORS = 500
"""How many errors of an answer that does not fit are looked at."""

SHOWN_CHARACTERS = 60

Kind = Literal["undeclared_key", "new_enum_value", "misfit"]
Place: TypeAlias = "tuple[Place, str | int] | None"
"""Where a value is: (place of its container, key or index); None for the whole answer."""

# What looks like a key to `mask`, and is made of words only, is a name such as `key_phrases`.
_WORDS = re.compile(r"[a-z]{1,20}([_-][a-z]{1,20})*[0-9]?")
_HIDDEN = "***"


@dataclass(frozen=True)
class Drift:
    """One difference.

    kind: a key that the schema does not declare, a value that its enum does not have, or (`misfit`)
    anything else that does not fit; pointer: the JSON pointer (RFC 6901) of it in the answer.
    value: the key; the value, shortened; of a misfit, what came and what was wanted.
    schema: the name of the schema that it differs from; empty where it has none.
    """

    kind: Kind
    pointer: str
    value: Any
    schema: str = ""

    def __str__(self) -> str:
        schema = self.schema or "the schema"
        said = {
            "undeclared_key": f"{schema} declares no key {self.value!r}",
            "new_enum_value": f"{self.value!r} is none of the values of {schema}",
            "misfit": f"does not fit {schema}: {self.value}",
        }[self.kind]
        place = self.pointer or "(top level)"
        return printable(f"{place}: {said}")


@dataclass(frozen=True)
class DriftReport:
    """The differences of one answer, one of each sort: for a page, not one per record.

    operation: its name, such as `projects.get`; findings: at most `MAX_FINDINGS`, the outermost
    first. `str()` gives a line for each.
    """

    operation: str
    findings: tuple[Drift, ...]

    def __str__(self) -> str:
        head = f"{self.operation}: the answer differs from the API's document"
        return "\n".join([head, *(f"  {finding}" for finding in self.findings)])


def find_drift(
    operation: Operation, body: Any, error: SchemaValidationError | None = None
) -> DriftReport | None:
    """What of an answer the document does not tell of; None: nothing.

    body: the validated instance; with `error`, which says why there is none, the JSON as it came.
    An answer that is no JSON at all has no drift: the error says what it is.
    """
    schema = operation.response_schema
    if schema is None:
        return None
    findings = _Findings()
    if error is None:
        findings.take(_undeclared(schema.node, body, is_valid=True))
    else:
        try:
            body, _ = cast(loads(body))
        except ValueError:
            return None
        findings.take(_unfit(schema.node, body, error.errors))
        findings.take(_undeclared(schema.node, body, is_valid=False))
    found = findings.listed()
    return DriftReport(operation.name, found) if found else None


class _Findings:
    """Keeps the first finding of each sort."""

    def __init__(self) -> None:
        self._kept: dict[tuple[object, ...], Drift] = {}

    def take(self, found: Iterable[tuple[tuple[str | int, ...], Drift]]) -> None:
        """Take findings with their paths, as many as there is room for."""
        for path, drift in found:
            # The same of another item of an array tells nothing new.
            steps = tuple(None if isinstance(step, int) else step for step in path)
            self._kept.setdefault((drift.kind, steps, drift.value), drift)
            if len(self._kept) >= MAX_FINDINGS:
                return

    def listed(self) -> tuple[Drift, ...]:
        return tuple(self._kept.values())


# -- what does not fit ----------------------------------------------------------------------------


def _unfit(
    root: Node, body: Any, errors: Sequence[ErrorDetail]
) -> Iterator[tuple[tuple[str | int, ...], Drift]]:
    """The errors of an answer as differences."""
    for error in errors[:MAX_ERRORS]:
        if len(error.path) > MAX_DEPTH:
            continue
        path, pointer = error.path, _pointer(error.path)
        value, rules = _at(root, body, path)
        if error.keyword in ("required", "discriminator"):
            # It is the schema of the whole object that misses a key, or does not know a kind.
            _, rules = _at(root, body, path[:-1])
        if error.keyword in ("enum", "discriminator"):
            schema = rules.name_by(error.keyword)
            yield path, Drift("new_enum_value", pointer, _shown(value, path), schema)
        elif error.keyword != "additionalProperties":  # an undeclared key, found as one
            yield path, Drift("misfit", pointer, error.message, rules.name)


def _at(root: Node, value: Any, path: tuple[str | int, ...]) -> tuple[Any, _Rules]:
    """The value at a path, None where nothing is, and what the schemas say of it."""
    rules = _Rules((root,), value, "", is_valid=False)
    for step in path:
        nodes = rules.below(step)
        if _is_object(value):
            value = value.get(str(step))
        else:
            value = value[step] if _is_array(value) and isinstance(step, int) else None
        rules = _Rules(nodes, value, rules.name, is_valid=False)
    return value, rules


def _shown(value: Any, path: tuple[str | int, ...]) -> Any:
    """A value as a report may show it."""
    if any(is_secret_name(step) for step in path):
        return _HIDDEN
    if isinstance(value, str):
        return shorten(mask_keys(value[: 2 * SHOWN_CHARACTERS]))
    return show(value, path)


def _name_of_key(key: str) -> str:
    """A key as a report may show it: nothing forbids that a secret is one."""
    return shorten(key if _WORDS.fullmatch(key) else mask_keys(key[: 2 * SHOWN_CHARACTERS]))


def _pointer(path: Iterable[str | int]) -> str:
    return render_path([step if isinstance(step, int) else _name_of_key(step) for step in path])


# -- what is not declared -------------------------------------------------------------------------


def _undeclared(
    root: Node, body: Any, *, is_valid: bool
) -> Iterator[tuple[tuple[str | int, ...], Drift]]:
    """The keys that no schema of their object declares, the outermost first."""
    rules_of = _RulesOf(is_valid)
    pending: deque[tuple[Any, _Rules, Place, int]] = deque()
    pending.append((body, rules_of((root,), body, ""), None, 0))
    while pending:
        value, rules, place, depth = pending.popleft()
        for step, item in value.items() if _is_object(value) else enumerate(_items(value)):
            below = rules.below(step)
            if below:
                if depth < MAX_DEPTH and (_is_object(item) or _is_array(item)):
                    inner = rules_of(below, item, rules.name)
                    pending.append((item, inner, (place, step), depth + 1))
            elif isinstance(step, str) and not rules.is_open:
                path = (*_path(place), step)
                key = _name_of_key(step)
                yield path, Drift("undeclared_key", _pointer(path), key, rules.name)


class _RulesOf:
    """Gives the rules of a value. Those of a validated one follow from its class, and are kept."""

    def __init__(self, is_valid: bool) -> None:
        self._is_valid = is_valid
        self._kept: dict[tuple[object, ...], _Rules] = {}

    def __call__(self, nodes: tuple[Node, ...], value: Any, owner: str) -> _Rules:
        if not self._is_valid:
            return _Rules(nodes, value, owner, is_valid=False)
        key = (nodes, type_of(value), owner)
        rules = self._kept.get(key)
        if rules is None:
            rules = self._kept[key] = _Rules(nodes, value, owner, is_valid=True)
        return rules


class _Rules:
    """What the schemas of one value say of its keys or items.

    Of a validated value, an instance of every named schema that it matched, the branches that it
    matched are known. Of any other, each branch of its type might be the one.

    parts: the schemas that speak of it; name: of the first that declares keys, else of its owner.
    is_open: whether any key is allowed for, by a schema that declares none or all.
    """

    def __init__(self, nodes: Iterable[Node], value: Any, owner: str, *, is_valid: bool) -> None:
        self.parts: list[Node] = []
        self.is_open = False
        self._value = value
        self._is_valid = is_valid
        self._below: dict[str | int, tuple[Node, ...]] = {}
        self._seen: dict[int, bool] = {}
        declares = [self._take(node) for node in nodes]
        if is_valid and isinstance(value, Schema):
            # A discriminator may have led on to a child that extends the schema by allOf.
            cls = type(value)
            named = [part for part in cls.__mixed__ or (cls,) if part not in BASES.values()]
            declares += [self._take(part.node) for part in named if issubclass(part, Schema)]
        self.is_open = self.is_open or not any(declares)
        classes = sorted((p for p in self.parts if p.cls), key=lambda p: not p.properties)
        self.name = classes[0].name if classes else owner

    def below(self, step: str | int) -> tuple[Node, ...]:
        """The schemas of the part of the value at a key or an index."""
        kept = step if isinstance(step, str) else 0  # all items have the same ones
        found = self._below.get(kept)
        if found is None:
            nodes = (
                part.items if isinstance(step, int) else part.properties.get(step, part.additional)
                for part in self.parts
            )
            found = self._below[kept] = tuple(node for node in nodes if node is not None)
        return found

    def name_by(self, keyword: str) -> str:
        """The name of the schema that has a keyword, where one of a name has it."""
        named = (part.name for part in self.parts if part.cls and keyword in part.schema)
        return next(named, self.name)

    def _take(self, node: Node) -> bool:
        """Take a schema with its branches; return whether any of them declares keys."""
        node = node.resolved
        if id(node) in self._seen:
            return self._seen[id(node)]
        self._seen[id(node)] = False
        self.parts.append(node)
        if "additionalProperties" in node.schema and not node.closed:
            self.is_open = True
        declares = bool(node.properties) or node.closed
        for branch in node.all_of:
            declares = self._take(branch) or declares
        for branch in self._matched(node):
            taken = self._take(branch)
            self.is_open = self.is_open or not taken
            declares = declares or taken
        self._seen[id(node)] = declares
        return declares

    def _matched(self, node: Node) -> list[Node]:
        """The branches of anyOf and oneOf that the value matches, as far as can be told."""
        branches = [*node.any_of, *node.one_of]
        discriminator = None if self._is_valid else node.discriminator
        if branches and discriminator is not None and _is_object(self._value):
            tag = self._value.get(discriminator["propertyName"])
            chosen = node.choices.get(tag) if isinstance(tag, str) else None
            branches = [chosen] if chosen is not None else branches
        return [branch for branch in branches if self._matches(branch.resolved)]

    def _matches(self, branch: Node) -> bool:
        if self._is_valid and branch.cls is not None:
            return isinstance(self._value, branch.cls)
        kind = "object" if _is_object(self._value) else "array" if _is_array(self._value) else ""
        return branch.type_fits(kind or kind_of(self._value), self._value)


def _is_object(value: Any) -> TypeGuard[dict[str, Any]]:
    """Whether a value, validated or decoded, is an object."""
    return isinstance(value, (dict, frozendict))


def _is_array(value: Any) -> TypeGuard[list[Any]]:
    return isinstance(value, (list, tuple))


def _items(value: Any) -> list[Any]:
    return value if _is_array(value) else []


def _path(place: Place) -> tuple[str | int, ...]:
    steps: list[str | int] = []
    while place is not None:
        place, step = place
        steps.append(step)
    return tuple(reversed(steps))
