"""The TypedDicts for the plain form of objects that calls accept.

They are for users' annotations. In a call's parameters, they stand beside Mapping, which must stay:
to both checkers, a variable that holds `[{"role": "user", "content": "Hi"}]` is a list[dict[str,
str]], and so no TypedDict. A literal that fits no TypedDict is therefore accepted as a Mapping,
without an error; but editors complete its keys. No form of overloads distinguishes a literal from a
variable.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from typing import cast

from codegen import hints
from codegen.spec import SchemaNode, Spec, ref_name
from humanloop.schemas.signatures import is_parameter

__all__ = ["PlainForm", "beside_models", "plain_forms"]


@dataclass(frozen=True)
class Field:
    """A key of a TypedDict; is_forward: its hint names a TypedDict declared later."""

    key: str
    hint: str
    required: bool
    is_forward: bool

    @property
    def annotation(self) -> str:
        """Return the annotation as Python evaluates it."""
        hint = repr(self.hint) if self.is_forward else self.hint
        return hint if self.required else f"NotRequired[{hint}]"


@dataclass(frozen=True)
class PlainForm:
    """A TypedDict, and the model whose plain form it describes."""

    model: str
    fields: list[Field]

    @property
    def name(self) -> str:
        """Return the name of the TypedDict."""
        return f"{self.model}Dict"

    @property
    def words(self) -> set[str]:
        """Return the names in all hints."""
        return set[str]().union(*(hints.words(field.hint) for field in self.fields))

    @property
    def by_class(self) -> bool:
        """Return True if a class can declare it: every key is a name, and shadows no type."""
        keys = [field.key for field in self.fields]
        return all(map(is_parameter, keys)) and self.words.isdisjoint(keys)


def plain_forms(spec: Spec) -> list[PlainForm]:
    """Return the plain form of each object with declared keys that a request body may contain.

    The plain forms that one names come before it, unless they name each other.
    """
    bodies = [
        spec.resolve(operation["requestBody"])
        for _, _, operation in spec.operations()
        if "requestBody" in operation
    ]
    models = [
        name
        for name in _reached(spec, _references(bodies))
        if spec.schemas[name].get("properties")
        and f"{name}Dict" not in spec.schemas
        and "" not in spec.schemas[name]["properties"]  # TypedDicts can't have this key
    ]
    return [
        PlainForm(name, list(_fields(spec, spec.schemas[name], models, models[at:])))
        for at, name in enumerate(models)
    ]


def beside_models(stub: str, models: Collection[str]) -> str:
    """Add the plain form after the models in each union of a stub that ends in a Mapping."""

    def extended(match: re.Match[str]) -> str:
        names = [name for name in match[1].split(" | ") if name in models]
        return match[1] + "".join(f"{name}Dict | " for name in names) + "Mapping[str, Any]"

    return re.sub(r"((?:\w+ \| )+)Mapping\[str, Any\]", extended, stub)


def _reached(spec: Spec, names: Iterable[str]) -> list[str]:
    """Return the schemas that are named or referred to, at any depth.

    Each comes after those that it refers to.
    """
    seen: set[str] = set()
    found: list[str] = []
    open_: list[tuple[str | None, Iterator[str]]] = [(None, iter(names))]
    while open_:  # not recursive, since documents have long chains of references
        name, rest = open_[-1]
        following = next((ref for ref in rest if ref in spec.schemas and ref not in seen), None)
        if following is not None:
            seen.add(following)
            open_.append((following, _references(spec.schemas[following])))
        else:
            open_.pop()
            found += [] if name is None else [name]
    return found


def _references(node: object) -> Iterator[str]:
    """Yield the names of the schemas that a part of the document refers to."""
    if isinstance(node, list):
        for part in cast("list[object]", node):
            yield from _references(part)
    elif isinstance(node, dict):
        node = cast("dict[str, object]", node)
        name = ref_name(node)
        if name is not None:
            yield name
        for part in node.values():
            yield from _references(part)


def _fields(
    spec: Spec, schema: SchemaNode, models: Collection[str], later: Collection[str]
) -> Iterator[Field]:
    """Yield the fields of an object; `later`: the models whose plain forms are not declared yet."""
    for key, value in schema.get("properties", {}).items():
        hint = hints.documented(hints.given(spec, value, None, plain_forms=models))
        is_forward = not hints.words(hint).isdisjoint(f"{model}Dict" for model in later)
        yield Field(key, hint, key in schema.get("required", ()), is_forward)
