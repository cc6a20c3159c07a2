"""The OpenAPI document as plain data: reading it, following its references, taking its prose out.

Invariants: nothing here knows of Python names or of templates, and the document is never
changed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import yaml

__all__ = ["Node", "SchemaNode", "Spec", "SpecError", "load", "ref_name", "without_prose"]

Node = Mapping[str, Any]
SchemaNode = Node

METHODS = ("get", "put", "post", "delete", "patch")
SCHEMAS = "#/components/schemas/"
PROSE = {"description", "example", "externalDocs"}
SECRET = "x-secret"
"""The extension that marks a schema whose values are never shown; the runtime heeds it."""


class SpecError(Exception):
    """The document holds something that the generator has no form for."""


@dataclass(frozen=True)
class Spec:
    """An OpenAPI 3.0 document."""

    document: Node

    @property
    def schemas(self) -> Mapping[str, SchemaNode]:
        """Return the named schemas."""
        found: Mapping[str, SchemaNode] = self.document["components"]["schemas"]
        return found

    @cached_property
    def text(self) -> str:
        """Return the document as one text, to look for examples in."""
        return str(self.document)

    @property
    def tags(self) -> list[Node]:
        """Return the tags with their descriptions, in the document's order."""
        found: list[Node] = self.document["tags"]
        return found

    @property
    def host(self) -> str:
        """Return the base URL."""
        return str(self.document.get("servers", [{"url": "/"}])[0]["url"])

    def security(self, operation: Node) -> Iterator[tuple[str, str]]:
        """Yield (scheme, header) for each way to authenticate an operation."""
        needed: list[Node] = operation.get("security", self.document.get("security", []))
        for name in (name for alternative in needed for name in alternative):
            scheme = self.document["components"]["securitySchemes"][name]
            if scheme.get("in") != "header":
                raise SpecError(f"security scheme {name}: only keys in a header have a form")
            yield name, scheme["name"]

    def operations(self) -> Iterator[tuple[str, str, Node]]:
        """Yield (method, path, operation) for every operation, in the document's order."""
        for path, item in self.document["paths"].items():
            for method in METHODS:
                if method in item:
                    shared = item.get("parameters", [])
                    operation = item[method]
                    parameters = [*shared, *operation.get("parameters", [])]
                    yield method, path, {**operation, "parameters": parameters}

    def resolve(self, node: Node) -> Node:
        """Return `node`, or what it refers to."""
        while "$ref" in node:
            target: Any = self.document
            for step in node["$ref"].removeprefix("#/").split("/"):
                if step not in target:
                    raise SpecError(f"{node['$ref']} does not exist")
                target = target[step]
            node = target
        return node

    def name(self, node: SchemaNode) -> str | None:
        """Name the schema that `node` stands for: by `$ref`, or by an allOf around one."""
        all_of = node.get("allOf", ())
        return self.name(all_of[0]) if len(all_of) == 1 else ref_name(node)

    def schema(self, node: SchemaNode) -> SchemaNode:
        """Return `node`, or the schema that it stands for: by `$ref`, or by an allOf around one."""
        while "$ref" in node or "allOf" in node:
            if "$ref" in node:
                node = self.resolve(node)
            elif len(node["allOf"]) == 1:
                node = node["allOf"][0]
            else:
                break
        return node


def load(path: Path) -> Spec:
    """Read the document at `path`."""
    with path.open(encoding="utf-8") as file:
        return Spec(yaml.load(file, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader)))


def ref_name(node: SchemaNode) -> str | None:
    """Return the name of the schema that `node` refers to; None if it is no reference."""
    ref = node.get("$ref")
    return None if ref is None else str(ref).removeprefix(SCHEMAS)


def without_prose(schema: SchemaNode) -> dict[str, Any]:
    """Copy a schema without descriptions, examples and extensions; keys of those names stay."""
    kept: dict[str, Any] = {}
    for key, value in schema.items():
        if key == "properties":
            kept[key] = {name: without_prose(part) for name, part in value.items()}
        elif key in ("allOf", "anyOf", "oneOf"):
            kept[key] = [without_prose(part) for part in value]
        elif key in ("items", "not", "additionalProperties") and not isinstance(value, bool):
            kept[key] = without_prose(value)
        elif key == SECRET or not (key in PROSE or key.startswith("x-")):
            kept[key] = value
    return kept
