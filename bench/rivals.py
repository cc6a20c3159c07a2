"""Models for the rivals, generated from openapi.yaml in the style of a careful user.

Three styles: "pydantic" (BaseModel), "typeddict" (TypedDict, checked by pydantic) and "msgspec"
(Struct). All refuse what the schemas refuse: types are strict, enums are `Literal`s, keys may be
absent but not null, undeclared keys are refused by closed schemas alone, unions keep their order or
use their discriminator. A keyword that this module does not know is an error.
"""

from __future__ import annotations

from typing import Any

__all__ = ["source"]

Schema = dict[str, Any]

KNOWN = {
    *("type", "properties", "required", "items", "enum", "nullable", "format", "$ref"),
    *("allOf", "anyOf", "oneOf", "discriminator", "additionalProperties"),
    *("description", "example", "title", "default"),  # these have no effect on validity
}
ATOMS = {"string": "str", "number": "float", "integer": "int", "boolean": "bool"}
HEADER = """\
from datetime import datetime
from typing import Annotated, Any, Literal, Union
"""
PYDANTIC = "from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, Strict\n"
HEADERS = {
    "pydantic": HEADER + PYDANTIC,
    "typeddict": HEADER + PYDANTIC + "from typing_extensions import NotRequired, TypedDict\n",
    "msgspec": HEADER + "from msgspec import UNSET, Meta, Struct, UnsetType, field\n",
}


class _Writer:
    def __init__(self, schemas: dict[str, Schema], style: str) -> None:
        self.schemas = schemas
        self.style = style
        self.lines: dict[str, list[str]] = {}
        self.tags = {
            _name(ref): (schema["discriminator"]["propertyName"], tag)
            for schema in schemas.values()
            if "discriminator" in schema
            for tag, ref in schema["discriminator"]["mapping"].items()
        }

    def type(self, schema: Schema) -> str:
        if unknown := schema.keys() - KNOWN:
            raise ValueError(f"no rival can be written for {sorted(unknown)}")
        found = self.bare_type(schema)
        return f"Union[{found}, None]" if schema.get("nullable") else found

    def bare_type(self, schema: Schema) -> str:
        if "$ref" in schema:
            name = _name(schema["$ref"])
            self.define(name)
            return name
        if "allOf" in schema:
            (only,) = schema["allOf"]
            return self.type(only)
        if branches := schema.get("anyOf") or schema.get("oneOf"):
            return self.union(schema, branches)
        kind = schema.get("type")
        if "enum" in schema:
            return f"Literal[{', '.join(map(repr, schema['enum']))}]"
        if kind == "array":
            return f"list[{self.type(schema['items'])}]"
        if kind == "object":
            return "dict[str, Any]"
        if schema.get("format") == "date-time":
            return "Annotated[datetime, Meta(tz=True)]" if self.msgspec else "AwareDatetime"
        if kind is None:
            return "Any"
        return ATOMS[kind] if self.msgspec else f"Annotated[{ATOMS[kind]}, Strict()]"

    def union(self, schema: Schema, branches: list[Schema]) -> str:
        types = [self.type(branch) for branch in branches]
        if self.msgspec and "str" in types:
            # A union needs only one kind of string, and `str` includes all members of an enum.
            refs = [_name(branch.get("$ref", "")) for branch in branches]
            enums = [name for name in refs if "enum" in self.schemas.get(name, {})]
            types = [one for one in types if one not in enums]
        found = f"Union[{', '.join(types)}]"
        if "discriminator" in schema and not self.msgspec:
            key = schema["discriminator"]["propertyName"]
            return f"Annotated[{found}, Field(discriminator={key!r})]"
        return found

    @property
    def msgspec(self) -> bool:
        return self.style == "msgspec"

    def define(self, name: str) -> None:
        if name in self.lines:
            return
        schema = self.schemas[name]
        if "properties" in schema:
            lines = self.model(name, schema)
        else:
            lines = [f"{name} = {self.type(schema)}"]
        self.lines[name] = lines

    def model(self, name: str, schema: Schema) -> list[str]:
        closed = schema.get("additionalProperties") is False
        extra = "forbid" if closed else "allow"
        tag, value = self.tags.get(name, ("", ""))
        if self.msgspec:
            tagged = f", tag_field={tag!r}, tag={value!r}" if tag else ""
            closing = ", forbid_unknown_fields=True" if closed else ""
            lines = [f"class {name}(Struct, kw_only=True{closing}{tagged}):"]
        elif self.style == "typeddict":
            config = f"    __pydantic_config__ = ConfigDict(extra={extra!r})"
            lines = [f"class {name}(TypedDict):", config]
        else:
            config = f"    model_config = ConfigDict(extra={extra!r}, protected_namespaces=())"
            lines = [f"class {name}(BaseModel):", config]
        for key, part in schema["properties"].items():
            if not (self.msgspec and key == tag):
                lines.append(self.attribute(key, part, key in schema.get("required", ())))
        return [*lines, "    pass"]

    def attribute(self, key: str, schema: Schema, required: bool) -> str:
        kind = self.type(schema)
        if self.msgspec:
            return f"    {key}: {kind}" if required else f"    {key}: {kind} | UnsetType = UNSET"
        if self.style == "typeddict":
            return f"    {key}: {kind if required else f'NotRequired[{kind}]'}"
        default = "..." if required else "None"
        if key == "model_config":
            return f"    {key}_: {kind} = Field({default}, alias={key!r})"
        return f"    {key}: {kind}" if required else f"    {key}: {kind} = {default}"


def _name(ref: str) -> str:
    return ref.rpartition("/")[2]


def source(schemas: dict[str, Schema], roots: list[str], style: str) -> str:
    """Return a Python module with the models of `roots` and of all schemas that they refer to."""
    writer = _Writer(schemas, style)
    for root in roots:
        writer.define(root)
    bodies = ["\n".join(lines) for lines in writer.lines.values()]
    return HEADERS[style] + "\n" + "\n\n".join(bodies) + "\n"
