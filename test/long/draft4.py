"""Schemas of JSON Schema draft 4 in the words of OpenAPI 3.0: the same values are valid.

OpenAPI 3.0.3's Schema Object is an "extended subset" of draft 4's successor. Part of what it lacks
can be said in other words, and is; for the rest `Inexpressible` says which rule has no counterpart.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from jsonschema import Draft4Validator  # type: ignore[import-untyped]

__all__ = ["Inexpressible", "in_openapi"]

COMPONENTS = "#/components/schemas/"
METASCHEMA = "http://json-schema.org/draft-04/schema"
BRANCHES = ("allOf", "anyOf", "oneOf")
SAME = {
    *("enum", "default", "title", "description", "format", "pattern", "required", "uniqueItems"),
    *("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"),
    *("minLength", "maxLength", "minItems", "maxItems", "minProperties", "maxProperties"),
}
UNKNOWN = ("$comment", "const", "foo", "unknown-keyword")
"""What draft 4 has no meaning for, and therefore ignores (JSON Schema Core, section 5.6)."""


class Inexpressible(Exception):
    """OpenAPI 3.0 has no words for a schema; the text says why."""


def in_openapi(schema: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """`schema` as a Schema Object and the components that it refers to.

    Raises:
        Inexpressible: there is no Schema Object for the same set of values.
    """
    document = _Document("#", "")
    made = document.schema({key: item for key, item in schema.items() if key != "id"})
    if "id" in schema and any(not ref.startswith("#") for ref in document.refs):
        raise Inexpressible("id: a Schema Object has no base URI of its own")
    components = document.components(schema)
    if document.needs_metaschema:
        meta = _Document(f"{COMPONENTS}metaschema", "metaschema-")
        own = {k: v for k, v in Draft4Validator.META_SCHEMA.items() if k != "id"}
        components["metaschema"] = meta.schema(own)
        components.update(meta.components(own))
    return made, components


class _Document:
    """The rewriting of one document.

    root: what its reference `#` becomes. prefix: what the names of its definitions begin with as
    components, which are shared with another document's.
    """

    def __init__(self, root: str, prefix: str) -> None:
        self.root = root
        self.prefix = prefix
        self.refs: set[str] = set()
        self.needs_metaschema = False

    def components(self, schema: Mapping[str, Any]) -> dict[str, Any]:
        """The document's definitions as components; `a.b` is definition b of definition a."""
        made: dict[str, Any] = {}
        for name, sub in schema.get("definitions", {}).items():
            made[f"{self.prefix}{name}"] = self.schema(sub)
            for inner, below in self.components(sub).items():
                made[f"{self.prefix}{name}.{inner.removeprefix(self.prefix)}"] = below
        return made

    def schema(self, schema: Any) -> dict[str, Any]:
        """A schema in OpenAPI's words."""
        if "$ref" in schema:
            return {"$ref": self.reference(schema["$ref"])}
        if "id" in schema:
            raise Inexpressible("id: a Schema Object has no base URI of its own")
        made: dict[str, Any] = {}
        also: list[dict[str, Any]] = []
        for keyword, value in schema.items():
            if keyword in SAME:
                made[keyword] = value
            elif keyword in BRANCHES:
                made[keyword] = [self.schema(branch) for branch in value]
            elif keyword == "not":
                made[keyword] = self.schema(value)
            elif keyword == "properties":
                made[keyword] = {name: self.schema(sub) for name, sub in value.items()}
            elif keyword == "additionalProperties":
                made[keyword] = value if isinstance(value, bool) else self.schema(value)
            elif keyword == "items":
                if isinstance(value, list):
                    raise Inexpressible("items: a list of schemas, one for each place")
                made[keyword] = self.schema(value)
            elif keyword == "additionalItems":
                # Without a list in `items` it means nothing (Validation, section 5.3.1).
                if isinstance(schema.get("items"), list):
                    raise Inexpressible("items: a list of schemas, one for each place")
            elif keyword == "type":
                _add_type(value, made, also)
            elif keyword == "dependencies":
                also += [self.dependency(name, sub) for name, sub in value.items()]
            elif keyword == "patternProperties":
                raise Inexpressible("patternProperties: keys by pattern")
            elif keyword not in ("$schema", "definitions", *UNKNOWN):
                raise AssertionError(f"nobody has thought of the keyword {keyword!r}")
        if also:
            made["allOf"] = [*made.get("allOf", ()), *also]
        return made

    def reference(self, ref: str) -> str:
        """A reference within the document, with definitions at their new place."""
        self.refs.add(ref)
        if ref.removesuffix("#") == METASCHEMA:
            self.needs_metaschema = True
            return f"{COMPONENTS}metaschema"
        if not ref.startswith("#"):
            raise Inexpressible("$ref: by the URI of a document, or of an id")
        if ref.startswith("#/definitions/"):
            name = ref.removeprefix("#/definitions/").replace("/definitions/", ".")
            return f"{COMPONENTS}{self.prefix}{name}"
        if ref != "#" and not ref.startswith("#/"):
            raise Inexpressible("id: a Schema Object has no base URI of its own")
        return f"{self.root}{ref[1:]}"

    def dependency(self, name: str, wanted: Any) -> dict[str, Any]:
        """If a value is an object with the key `name`, then it is as `wanted`."""
        has_key = {"type": "object", "required": [name]}
        then = {"required": wanted} if isinstance(wanted, list) else self.schema(wanted)
        return {"anyOf": [{"not": has_key}, then]}


def _add_type(value: Any, made: dict[str, Any], also: list[dict[str, Any]]) -> None:
    if isinstance(value, list):
        also.append({"anyOf": [_type(name) for name in value]})
    elif value == "null":
        also.append(_type(value))
    else:
        made["type"] = value


def _type(name: str) -> dict[str, Any]:
    return {"enum": [None]} if name == "null" else {"type": name}
