"""Differences of a response from the API's document: undeclared keys, new enum values, misfits.

`find_drift` matches one response against the schema of its operation once more, with a collector
that also sees which schemas applied to each object; the configuration's `on_drift` gets the report.

Invariants: a schema that leaves an object open has no say about its keys, so whatever is reported
is a difference for certain. No difference raises. No report holds a value that may be secret.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from humanloop.exceptions import render_path
from humanloop.schemas import SchemaValidationError, loads
from humanloop.schemas.casting import Path, cast
from humanloop.schemas.errors import show
from humanloop.schemas.matcher import ErrorCollector, TooManyErrors, Validation, match
from humanloop.schemas.nodes import Node
from humanloop.secrets import MASK, is_secret_name, masked_start, printable, shorten

if TYPE_CHECKING:
    from humanloop.operation import Operation

__all__ = ["MAX_FINDINGS", "Drift", "DriftReport", "find_drift"]

MAX_FINDINGS = 100
"""The most findings of a report; further ones are not looked for."""

Kind = Literal["undeclared_key", "new_enum_value", "misfit", "unknown_event"]

# What looks like a key to `masked_start`, but is made of words, is a name such as `key_phrases`.
_WORDS = re.compile(r"[a-z]{1,20}([_-][a-z]{1,20})*[0-9]?")


@dataclass(frozen=True)
class Drift:
    """One difference.

    kind: a key that the schema does not declare, a value that its enum does not have, an event of a
    stream whose type is unknown, or (`misfit`) anything else that does not fit.
    pointer: the JSON pointer (RFC 6901) of it in the response.
    value: the key; the value, shortened; of a misfit, what came and what was wanted.
    schema: the name of the schema that it differs from; empty where it has none.
    """

    kind: Kind
    pointer: str
    value: Any
    schema: str = ""

    def __str__(self) -> str:
        schema = self.schema or "the schema"
        text = {
            "undeclared_key": f"{schema} declares no key {self.value!r}",
            "new_enum_value": f"{self.value!r} is none of the values of {schema}",
            "misfit": f"does not fit {schema}: {self.value}",
            "unknown_event": f"left out an event of the unknown type {self.value!r}",
        }[self.kind]
        return printable(f"{self.pointer or '(top level)'}: {text}")


@dataclass(frozen=True)
class DriftReport:
    """The differences of one response, one of each sort: for a page, not one per record.

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
    """Return what the document does not tell of in a response; None if there is nothing.

    body: the validated instance; with `error`, which says why there is none, the JSON as it came.
    A response that is no JSON, or is nested too deeply, has no drift: the error says what it is.
    """
    if operation.response_schema is None:
        return None
    try:
        plain, _ = cast(body if error is None else loads(body))
        collector = _DriftCollector()
        collector.collect(operation.response_schema.node, plain)
    except (ValueError, RecursionError):
        return None
    return DriftReport(operation.name, collector.findings) if collector.findings else None


class _DriftCollector(ErrorCollector):
    """Keeps the first difference of each sort."""

    observes = True

    def __init__(self) -> None:
        super().__init__(Validation("response"))
        self._found: dict[tuple[object, ...], Drift] = {}
        self._objects: dict[Path, _MatchedObject] = {}

    def collect(self, node: Node, value: Any) -> None:
        """Take all that `value`, a cast value, has and the schema does not tell of."""
        try:
            match(node, value, (), self)
            for path in sorted(self._objects, key=len):
                each = self._objects[path]
                for key in each.undeclared():
                    name = _shown_key(key)
                    self._keep((*path, key), "undeclared_key", name, each.schema)
        except TooManyErrors:
            pass

    @property
    def findings(self) -> tuple[Drift, ...]:
        """The differences that were found: what does not fit first."""
        return tuple(self._found.values())

    def object_matched(self, node: Node, path: Path, value: dict[str, Any]) -> None:
        each = self._objects.get(path)
        if each is None:
            each = self._objects[path] = _MatchedObject(value, self._schema_around(path[:-1]))
        each.add(node)

    def branch_matched(self, branch: Node, path: Path) -> None:
        each = self._objects.get(path)
        if each is not None and not _declares(branch):
            each.is_open = True

    def expected(self, node: Node, path: Path, keyword: str, wanted: str, value: Any) -> None:
        if keyword in ("enum", "discriminator"):
            self._keep(path, "new_enum_value", _shown(value, path), self._schema_of(node, path))
        else:
            super().expected(node, path, keyword, wanted, value)

    def add(self, node: Node, path: Path, keyword: str, message: Callable[[], str]) -> None:
        if keyword != "additionalProperties":  # that is an undeclared key, found as one
            text = message() + "".join(self.choices[-1:])
            self._keep(path, "misfit", text, self._schema_of(node, path))

    def _keep(self, path: Path, kind: Kind, value: Any, schema: str) -> None:
        # The same in another item of an array tells nothing new.
        place = tuple(None if isinstance(step, int) else step for step in path)
        pointer = render_path([_shown_key(s) if isinstance(s, str) else s for s in path])
        self._found.setdefault((kind, place, value), Drift(kind, pointer, value, schema))
        if len(self._found) >= MAX_FINDINGS:
            raise TooManyErrors

    def _schema_of(self, node: Node, path: Path) -> str:
        return node.name if node.cls is not None else self._schema_around(path)

    def _schema_around(self, path: Path) -> str:
        """Return the name of the schema that declares the place of a value."""
        for length in range(len(path), -1, -1):
            each = self._objects.get(path[:length])
            if each is not None:
                return each.schema
        return ""


class _MatchedObject:
    """One object of the response, and what the schemas that applied to it say of its keys.

    schema: the name of the first one that declares keys, else of the schema around it. is_open: any
    key is allowed, by a schema that says so or by a branch that matched and declares none.
    """

    def __init__(self, value: dict[str, Any], schema: str) -> None:
        self.schema = schema
        self._value = value
        self._declared: set[str] = set()
        self._is_named = False
        self._declares = False
        self.is_open = False

    def add(self, node: Node) -> None:
        declares = bool(node.properties) or node.closed
        if node.cls is not None and not self._is_named and (declares or not self._declares):
            self.schema, self._is_named = node.name, declares
        self._declared.update(node.properties)
        self._declares = self._declares or declares
        if "additionalProperties" in node.schema and not node.closed:
            self.is_open = True

    def undeclared(self) -> list[str]:
        """Return the keys that no schema declares."""
        if self.is_open or not self._declares:
            return []
        return [key for key in self._value if key not in self._declared]


def _declares(node: Node) -> bool:
    """Return whether a schema, or a branch of it, declares keys."""
    node = node.resolved
    branches = (*node.all_of, *node.any_of, *node.one_of)
    return bool(node.properties) or node.closed or any(map(_declares, branches))


def _shown(value: Any, path: Path) -> Any:
    """Return a value as a report may show it."""
    if any(is_secret_name(step) for step in path):
        return MASK
    return shorten(masked_start(value)) if isinstance(value, str) else show(value, path)


def _shown_key(key: str) -> str:
    """Return a key as a report may show it: nothing forbids that a secret is one."""
    return shorten(key if _WORDS.fullmatch(key) else masked_start(key))
