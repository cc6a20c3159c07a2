"""The typed constructor of a model: the calls of its class that mypy and pyright accept.

At run time every class takes one value, keywords, or a mapping and keywords, and validates them
(`humanloop.schemas.metaclass`). Invariants: the checkers accept every call that run time accepts,
and an object's declared keys are keywords of their own types.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import cast

from codegen import hints
from codegen.spec import SchemaNode, Spec
from humanloop.schemas.signatures import free_name, is_parameter

__all__ = ["Constructor", "Keyword", "constructor"]


@dataclass(frozen=True)
class Keyword:
    """A declared key as a keyword; optional unless it is required."""

    name: str
    hint: str
    required: bool

    @property
    def optional_hint(self) -> str:
        """Return the hint if it may be left out, or be `unset`, which means the same."""
        return hints.union([self.hint, "Unset"])


@dataclass(frozen=True)
class Constructor:
    """The parameters of `__new__`.

    value: the hint of the one positional parameter. takes_keywords: False for a class whose values
        are never objects. extra: the hint for undeclared keywords; None if there are none.
    """

    value: str
    takes_keywords: bool
    keywords: list[Keyword]
    extra: str | None

    @property
    def requires(self) -> bool:
        """Return True if a call without a mapping requires keywords, which needs an overload."""
        return any(keyword.required for keyword in self.keywords)

    @property
    def hints(self) -> list[str]:
        """Return all hints."""
        return [self.value, *(one.hint for one in self.keywords), self.extra or ""]

    def with_hints(self, change: Callable[[str], str]) -> Constructor:
        """Return a constructor with changed hints."""
        keywords = [replace(one, hint=change(one.hint)) for one in self.keywords]
        extra = self.extra and change(self.extra)
        return replace(self, value=change(self.value), keywords=keywords, extra=extra)

    def free(self, name: str) -> str:
        """Return a name for another parameter that no keyword has."""
        return free_name(name, (keyword.name for keyword in self.keywords))


def constructor(spec: Spec, schema: SchemaNode, objects: Sequence[SchemaNode]) -> Constructor:
    """Return the constructor of a named schema; `objects`: the objects among its alternatives.

    A choice of several objects takes any keywords: run time decides which of them fit together.
    """
    value = hints.enum(schema)
    value = f"{value} | Self" if value else _without_objects(spec, hints.given(spec, schema, None))
    if not objects:
        return Constructor(value, False, [], None)
    if len(objects) > 1:
        return Constructor(value, True, [], "Any")
    required = _required(spec, objects[0])
    keywords = [
        Keyword(key, hints.given(spec, part, None), key in required)
        for key, part in objects[0].get("properties", {}).items()
        if is_parameter(key)
    ]
    return Constructor(value, True, keywords, _extra(spec, objects[0], len(keywords)))


def _without_objects(spec: Spec, hint: str) -> str:
    """Remove the classes of objects from a union, since those are Mappings."""
    parts = hints.split(hint)
    if "Mapping[str, Any]" not in parts:
        return hint
    return hints.union(part for part in parts if spec.schemas.get(part, {}).get("type") != "object")


def _required(spec: Spec, schema: SchemaNode) -> set[str]:
    """Return the keys that an object requires in any direction.

    OpenAPI 3.0.3, Schema Object: a `readOnly` or `writeOnly` key is required in one direction only.
    """
    directed = {
        key
        for key, part in schema.get("properties", {}).items()
        if spec.resolve(part).get("readOnly") or spec.resolve(part).get("writeOnly")
    }
    return {*schema.get("required", ())} - directed


def _extra(spec: Spec, schema: SchemaNode, keywords: int) -> str | None:
    """Return the hint for undeclared keywords; `keywords`: the number of declared ones."""
    if keywords < len(schema.get("properties", {})):
        return "Any"  # for a key such as `a-b`, passed by `**{"a-b": 1}`
    additional = schema.get("additionalProperties", True)
    if isinstance(additional, Mapping):
        return hints.given(spec, cast(SchemaNode, additional), None)
    return "Any" if additional else None
