"""Schema classes as fields of pydantic models, and so as bodies and responses of FastAPI.

pydantic finds the two methods on `Schema` and calls them; nothing of it is imported before. It gets
our validation, plain values for serialization, and a description in its own dialect: JSON Schema
2020-12, as in OpenAPI 3.1, with a definition for each named schema.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from decimal import Decimal
from functools import cache, partial
from importlib import import_module
from typing import Any

from humanloop.schemas.casting import is_mapping
from humanloop.schemas.errors import SchemaValidationError
from humanloop.schemas.nodes import COMPONENTS, Node
from humanloop.schemas.values import NoneClass
from humanloop.secrets import is_secret_name, mask_keys

__all__ = ["core_schema", "json_schema", "serializer"]

_NUMBERS = (int, float, Decimal)

NULL_HINT = "; an optional field recognizes only Python's None: pass to_primitive() of the whole"
"""The hint for our null: pydantic checks for None, by identity, before it calls us."""

Primitive = Callable[..., Any]
Refer = Callable[[str], dict[str, Any]]
"""A function that returns the reference for one of our `$ref`s."""


def core_schema(cls: Any, primitive: Primitive) -> dict[str, Any]:
    """Return the schema by which pydantic validates and serializes (`pydantic_core.core_schema`).

    primitive: `to_primitive`. In Python mode, numbers keep every digit; in JSON mode, they are
        floats, the only form that pydantic can write.
    """
    # In a union with a discriminator, pydantic reads from the inner schema which values belong to
    # which member. The value itself is not passed to it.
    tags = {
        key: {"type": "typed-dict-field", "schema": {"type": "literal", "expected": texts}}
        for key, texts in _tags(cls.node).items()
    }
    return {
        "type": "function-wrap",
        "ref": _name(cls.node),
        "function": {"type": "no-info", "function": partial(_validate, cls)},
        "schema": {"type": "typed-dict", "fields": tags},
        "serialization": _serialization(primitive),
    }


@cache
def serializer(primitive: Primitive) -> Any:
    """Return the serializer of an instance in a field of any type (`pydantic_core`)."""
    core: Any = import_module("pydantic_core")
    return core.SchemaSerializer({"type": "any", "serialization": _serialization(primitive)})


def _serialization(primitive: Primitive) -> dict[str, Any]:
    def serialize(value: Any, info: Any) -> Any:
        return primitive(value, numbers="decimal" if info.mode == "python" else "float")

    return {"type": "function-plain", "function": serialize, "info_arg": True}


def _tags(node: Node) -> dict[str, list[str]]:
    """Return the allowed texts of each property whose schema lists them."""
    node, found = node.resolved, dict[str, list[str]]()
    for part in node.all_of:
        found.update(_tags(part))
    for key, part in node.properties.items():
        for one in (part, *part.resolved.all_of):
            if one.resolved.members:
                found[key] = list(one.resolved.members)
    if node.discriminator is not None and not node.selects_subtype:
        found[node.discriminator["propertyName"]] = list(node.choices)
    return found


def _validate(cls: Any, value: Any, inner: object) -> Any:
    try:
        return cls.validate(value)
    except SchemaValidationError as error:
        core: Any = import_module("pydantic_core")
        hint = NULL_HINT if isinstance(value, NoneClass) else ""
        details = [
            {
                "type": core.PydanticCustomError(detail.keyword, detail.message + hint),
                "loc": detail.path,
                "input": _at(value, detail.path),
            }
            for detail in error.errors
        ]
        # Raised inside a validation, its errors become errors of that validation.
        raise core.ValidationError.from_exception_data(cls.__name__, details) from None


def _at(value: Any, path: tuple[str | int, ...]) -> Any:
    """Return the number or text at an error's place; None for other values, and for secrets."""
    for step in path:
        try:
            value = None if is_secret_name(step) else value[step]
        except (LookupError, TypeError):
            return None
    if isinstance(value, str):
        return mask_keys(value)
    return value if isinstance(value, _NUMBERS) else None


def json_schema(cls: Any, handler: Any) -> Any:
    """Return a reference to the JSON schema of a class, and register the definitions in it.

    handler: pydantic's `GetJsonSchemaHandler`.
    """
    generator = handler.generate_json_schema
    nodes = [cls.node]

    def refer(node: Node, ref: str) -> Any:
        target = node.scope.resolve(ref)
        if target not in nodes:
            nodes.append(target)
        return generator.get_cache_defs_ref_schema(_name(target))[1]

    for node in nodes:
        described = _translated(node.schema, partial(refer, node))
        if node.cls is not None:
            named = {"title": node.cls.__name__, "description": node.cls.__doc__}
            described = {**{key: text for key, text in named.items() if text}, **described}
        generator.definitions[generator.get_cache_defs_ref_schema(_name(node))[0]] = described
    return generator.get_cache_defs_ref_schema(_name(cls.node))[1]


def _name(node: Node) -> str:
    """Return the name of a definition: the last part of a dotted name, unless two are equal."""
    if node.cls is None:
        return f"{node.place.rpartition('/')[2] or 'Schema'}:{id(node)}"
    return f"{node.cls.__module__}.{node.cls.__qualname__}:{id(node.cls)}"


def _translated(schema: Mapping[str, Any], refer: Refer) -> dict[str, Any]:
    """Translate a schema object of OpenAPI 3.0 to one of 3.1, that is, to JSON Schema 2020-12.

    Source: OpenAPI 3.1.0, Schema Object; JSON Schema Validation 2020-12, 6.2 and 9.5.
    """
    if "$ref" in schema:
        return refer(schema["$ref"])
    result: dict[str, Any] = {}
    for keyword, value in schema.items():
        if keyword == "properties":
            value = {key: _translated(part, refer) for key, part in value.items()}
        elif keyword in ("allOf", "anyOf", "oneOf"):
            value = [_translated(part, refer) for part in value]
        elif keyword in ("items", "not", "additionalProperties") and is_mapping(value):
            value = _translated(value, refer)
        elif keyword == "discriminator" and "mapping" in value:
            refs = {
                tag: refer(name if name.startswith("#") else COMPONENTS + name)
                for tag, name in value["mapping"].items()
            }
            value = {**value, "mapping": {tag: ref["$ref"] for tag, ref in refs.items()}}
        elif keyword == "type" and schema.get("nullable") is True:
            # Lists of types mean the same, but older releases of FastAPI do not support them.
            if "anyOf" in schema:
                value = [value, "null"]
            else:
                keyword, value = "anyOf", [{"type": value}, {"type": "null"}]
        elif keyword == "example":
            keyword, value = "examples", [value]
        elif schema.get(f"exclusive{keyword.capitalize()}") is True:
            keyword = f"exclusive{keyword.capitalize()}"
        elif keyword in ("nullable", "exclusiveMinimum", "exclusiveMaximum"):
            continue
        result[keyword] = value
    return result
