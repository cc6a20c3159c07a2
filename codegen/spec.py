"""The OpenAPI document as plain data: its operations and schemas, with references followed.

Invariants: nothing here knows of templates, and the document is never changed.

Source of the rules: OpenAPI 3.0.3. `reading.load` makes a checked Spec from a file, so nothing here
needs to check the presence and type of a field.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, cast
from urllib.parse import unquote

from humanloop.operation import FORM, schema_choices
from humanloop.schemas.nodes import COMPONENTS

__all__ = [
    "COMPONENTS",
    "METHODS",
    "Node",
    "SchemaNode",
    "Spec",
    "SpecError",
    "body_content",
    "bytes_content",
    "json_content",
    "ref_name",
    "replaced_refs",
    "steps_of",
    "without_prose",
]

Node = Mapping[str, Any]
SchemaNode = Node

MULTIPART = "multipart/form-data"
METHODS = ("get", "put", "post", "delete", "patch", "head", "options", "trace")
NOT_IN_MODULES = {"description", "example", "examples", "externalDocs", "definitions", "$comment"}
SECRET = "x-secret"
"""The extension that marks a schema whose values are never shown; the runtime respects it."""

IGNORED_HEADERS = ("accept", "content-type", "authorization")
"""Header parameters that have no effect (Parameter Object, `name`)."""


class SpecError(Exception):
    """The document contains something that the generator does not support."""


@dataclass(frozen=True)
class Spec:
    """An OpenAPI 3.0 document.

    source: the name of its file; left_out: omitted operations by (method, path), with the reasons.
    """

    document: Node
    source: str = "openapi.yaml"
    left_out: Mapping[tuple[str, str], str] = field(default_factory=dict[tuple[str, str], str])

    @property
    def schemas(self) -> Mapping[str, SchemaNode]:
        """Return the named schemas."""
        found: Mapping[str, SchemaNode] = self.document.get("components", {}).get("schemas", {})
        return found

    @cached_property
    def text(self) -> str:
        """Return the document as one text, for searching examples."""
        return str(self.document)

    @cached_property
    def tags(self) -> list[Node]:
        """Return the tags with their descriptions in the document's order, then undeclared ones."""
        found: list[Node] = list(self.document.get("tags", ()))
        used = dict.fromkeys(operation["tags"][0] for _, _, operation in self.operations())
        declared = {tag["name"] for tag in found}
        return [*found, *({"name": name} for name in used if name not in declared)]

    @property
    def host(self) -> str:
        """Return the base URL; variables have their default values."""
        servers: list[Node] = self.document.get("servers") or [{"url": "/"}]
        url = str(servers[0]["url"])
        variables: Mapping[str, Node] = servers[0].get("variables", {})
        for name, variable in variables.items():
            url = url.replace(f"{{{name}}}", str(variable["default"]))
        return url

    @cached_property
    def key_headers(self) -> dict[str, tuple[str, str]]:
        """Return (header, prefix) of each security scheme that is sent in a header."""
        found: dict[str, tuple[str, str]] = {}
        for name, node in self.document.get("components", {}).get("securitySchemes", {}).items():
            scheme = self.resolve(node)
            kind, http = scheme.get("type"), str(scheme.get("scheme", "")).capitalize()
            if kind == "apiKey" and scheme.get("in") == "header" and "name" in scheme:
                found[name] = (str(scheme["name"]), "")
            elif kind == "http" and http in ("Basic", "Bearer"):
                found[name] = ("Authorization", http)
            elif kind in ("oauth2", "openIdConnect"):
                found[name] = ("Authorization", "Bearer")
        return found

    def security(self, operation: Node) -> Iterator[tuple[str, str]]:
        """Yield (scheme, header) for each way to authenticate an operation."""
        needed: list[Node] = operation.get("security", self.document.get("security", []))
        for name in dict.fromkeys(name for alternative in needed for name in alternative):
            if name in self.key_headers:
                yield name, self.key_headers[name][0]

    def operations(self) -> Iterator[tuple[str, str, Node]]:
        """Yield (method, path, operation) for every operation, in the document's order.

        Each has an `operationId`, at least one tag, and all its parameters, resolved.
        """
        for path, node in self.document.get("paths", {}).items():
            if path.startswith("x-"):
                continue
            item = self.resolve(node)
            for method in METHODS:
                if method in item and (method, path) not in self.left_out:
                    operation = item[method]
                    yield (
                        method,
                        path,
                        {
                            **operation,
                            "operationId": operation.get("operationId") or f"{method} {path}",
                            "tags": operation.get("tags") or ["default"],
                            "parameters": self._parameters(item, operation),
                        },
                    )

    def _parameters(self, item: Node, operation: Node) -> list[Node]:
        """Return the parameters of a path and its operation; the operation's replace the path's."""
        found: dict[tuple[str, str], Node] = {}
        for node in (*item.get("parameters", ()), *operation.get("parameters", ())):
            parameter = self.resolve(node)
            place, name = str(parameter.get("in")), str(parameter.get("name"))
            if not (place == "header" and name.lower() in IGNORED_HEADERS):
                found[place, name] = parameter
        return list(found.values())

    def resolve(self, node: Node) -> Node:
        """Return `node`, or the node that it refers to."""
        seen: set[str] = set()
        while "$ref" in node:
            ref = str(node["$ref"])
            if ref in seen:
                raise SpecError(f"$ref {ref}: it refers to nothing but itself")
            seen.add(ref)
            node = self._find(ref)
        return node

    def _find(self, ref: str) -> Node:
        place: Any = self.document
        if not ref.startswith("#/"):
            raise SpecError(f"$ref {ref}: only references within the document can be followed")
        for step in steps_of(ref):
            try:
                place = place[int(step) if isinstance(place, list) else step]
            except (KeyError, IndexError, ValueError, TypeError):
                raise SpecError(f"$ref {ref} does not exist") from None
        if not isinstance(place, Mapping):
            raise SpecError(f"$ref {ref}: expected an object there")
        return cast(Node, place)

    def name(self, node: SchemaNode) -> str | None:
        """Return the name of the schema that `node` refers to, by `$ref` or an allOf around one."""
        all_of = node.get("allOf", ())
        return self.name(all_of[0]) if len(all_of) == 1 else ref_name(node)

    def schema(self, node: SchemaNode) -> SchemaNode:
        """Return `node`, or the schema that it stands for: by `$ref`, or by an allOf.

        An allOf of several objects stands for an object with the keys of all.
        """
        while "$ref" in node or "allOf" in node:
            if "$ref" in node:
                node = self.resolve(node)
            elif len(node["allOf"]) == 1:
                node = node["allOf"][0]
            else:
                whole = next(schema_choices(node, lambda ref: self.resolve({"$ref": ref})))
                return node if "allOf" in whole else whole
        return node


def json_content(node: Node) -> Node | None:
    """Return the JSON media type of a request body or a response; None if there is none."""
    for name, media_type in node.get("content", {}).items():
        essence = name.partition(";")[0].strip().lower()
        if essence in ("application/json", "*/*", "application/*") or essence.endswith("+json"):
            return cast(Node, media_type)
    return None


def body_content(node: Node) -> Node | None:
    """Return the media type of a request body that has keys: JSON, else an HTML form."""
    found: Node | None = json_content(node) or node.get("content", {}).get(FORM)
    return found


def bytes_content(node: Node) -> str | None:
    """Return the media type of a request body that is sent unchanged; None if there is none."""
    names = [name for name in node.get("content", {}) if name.partition(";")[0] != MULTIPART]
    if not names or body_content(node) is not None:
        return None
    return "application/octet-stream" if "*" in names[0] else str(names[0])


def steps_of(ref: str) -> list[str]:
    """Return the steps of a reference (RFC 6901, section 6): the keys from the document's root."""
    return [unquote(step).replace("~1", "/").replace("~0", "~") for step in ref[2:].split("/")]


def ref_name(node: SchemaNode) -> str | None:
    """Return the name of the schema that `node` refers to; None if it is not a reference."""
    ref = node.get("$ref")
    return None if ref is None else str(ref).removeprefix(COMPONENTS)


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
        elif key == SECRET or not (key in NOT_IN_MODULES or key.startswith("x-")):
            kept[key] = value
    return kept


def replaced_refs(node: Any, replace: Callable[[str], str]) -> Any:
    """Return a copy of a part of a document with replaced references."""
    if isinstance(node, Mapping):
        return {
            key: replace(value) if key == "$ref" and isinstance(value, str)
            else replaced_refs(value, replace)
            for key, value in cast(Node, node).items()
        }  # fmt: skip
    if isinstance(node, list):
        return [replaced_refs(item, replace) for item in cast("list[object]", node)]
    return node
