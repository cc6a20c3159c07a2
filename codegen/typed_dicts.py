"""The TypedDicts for the plain form of the objects that calls take.

They are for annotations of users. As parameters of a call they stand beside Mapping, which has to
stay: to both checkers a variable that holds `[{"role": "user", "content": "Hi"}]` is a
list[dict[str, str]], and so no TypedDict. Therefore a literal that fits no TypedDict is taken for
a Mapping, and not reported; but editors complete its keys. No form of overloads tells a literal
from a variable.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import cast

from codegen import hints
from codegen.spec import SchemaNode, Spec, ref_name
from humanloop.schemas.signatures import is_parameter

__all__ = ["PlainForm", "beside_models", "plain_forms"]


@dataclass(frozen=True)
class Field:
    """A key of a TypedDict; is_forward: its hint names a TypedDict that is declared later."""

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
    """A TypedDict, and the model whose plain form it is."""

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
        """True if a class can declare it: every key is a name, and hides no type in its body."""
        keys = [field.key for field in self.fields]
        return all(map(is_parameter, keys)) and self.words.isdisjoint(keys)


def plain_forms(spec: Spec) -> list[PlainForm]:
    """Return the plain form of each object with declared keys that a request body may hold.

    What one of them names comes before it, unless they name each other.
    """
    found: dict[str, None] = {}
    for _, _, operation in spec.operations():
        if "requestBody" in operation:
            _collect(spec, spec.resolve(operation["requestBody"]), found)
    models = [
        name
        for name in found
        if spec.schemas[name].get("properties")
        and f"{name}Dict" not in spec.schemas
        and "" not in spec.schemas[name]["properties"]  # no key of a TypedDict
    ]
    return [
        PlainForm(name, list(_fields(spec, spec.schemas[name], models, models[at:])))
        for at, name in enumerate(models)
    ]


def beside_models(stub: str, models: Collection[str]) -> str:
    """Name the plain form after the models in each union of a stub that ends in a Mapping."""

    def extended(match: re.Match[str]) -> str:
        names = [name for name in match[1].split(" | ") if name in models]
        return match[1] + "".join(f"{name}Dict | " for name in names) + "Mapping[str, Any]"

    return re.sub(r"((?:\w+ \| )+)Mapping\[str, Any\]", extended, stub)


def _collect(spec: Spec, node: object, found: dict[str, None]) -> None:
    """Add the schemas that `node` refers to, however deep, each after those that it refers to."""
    if isinstance(node, list):
        for part in cast("list[object]", node):
            _collect(spec, part, found)
    elif isinstance(node, dict):
        node = cast("dict[str, object]", node)
        name = ref_name(node)
        if name is not None and name in spec.schemas and name not in found:
            found[name] = None  # so that one that contains itself ends
            _collect(spec, spec.schemas[name], found)
            found[name] = found.pop(name)
        for part in node.values():
            _collect(spec, part, found)


def _fields(
    spec: Spec, schema: SchemaNode, models: Collection[str], later: Collection[str]
) -> Iterator[Field]:
    """Yield the fields of an object; `later`: the models whose plain forms are not declared yet."""
    for key, value in schema.get("properties", {}).items():
        hint = hints.documented(hints.given(spec, value, None, plain_forms=models))
        is_forward = not hints.words(hint).isdisjoint(f"{model}Dict" for model in later)
        yield Field(key, hint, key in schema.get("required", ()), is_forward)
