"""The page of each model: the Python types that it accepts and returns, key by key.

A page is a list of sections. The first is the named schema's own. Each schema inside it also has a
section, right after the section whose tables name it.

Invariants: required keys come first, and otherwise keys keep the order of openapi.yaml; the types
are those of `humanloop.schemas`; each section of a page has an anchor of its own.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from codegen import hints, markdown
from codegen.spec import SchemaNode, ref_name
from humanloop.schemas import FORMATS, JSON_TYPES

__all__ = ["Row", "Section", "notes", "page"]

# The types of any value, in the order of the pages: for a schema without a type, and for undeclared
# keys. The second list omits uuid.UUID.
ANY_VALUE = (
    "dict frozendict.frozendict str date datetime uuid.UUID int float decimal.Decimal bool "
    "BoolClass None NoneClass list tuple bytes io.FileIO FileIO io.BufferedReader"
)
UNDECLARED_VALUE = (
    "dict frozendict.frozendict str date datetime int float bool BoolClass decimal.Decimal "
    "None NoneClass list tuple bytes io.FileIO FileIO io.BufferedReader"
)
UNDECLARED_KEY = "any_string_name"
UNDECLARED_DESCRIPTION = "any string name can be used but the value must be the correct type"

COMPOSED = {"allOf": "all_of_{}", "anyOf": "any_of_{}", "oneOf": "one_of_{}", "not": "not_schema"}


@dataclass(frozen=True)
class Row:
    """A table's row. Its cells are Markdown, except the description, which is text."""

    name: str
    inputs: str
    accessed: str
    description: str
    notes: str


@dataclass(frozen=True)
class Section:
    """A schema: its own types, and the tables of its parts."""

    title: str
    anchor: str
    description: str
    info: Row
    keys: list[Row]
    items: list[Row]
    composed: list[tuple[str, list[Row]]]  # (keyword, its branches)

    @property
    def needs_anchor(self) -> bool:
        """Return whether the heading is repeated, so that GitHub would number its anchor."""
        return self.anchor != markdown.anchor(self.title)


def page(title: str, schema: SchemaNode) -> list[Section]:
    """Return the sections of a named schema."""
    return list(_Page().sections(title, schema))


def notes(schema: SchemaNode) -> str:
    """Return the notes on a schema's values as Markdown: enum, default, format."""
    found: list[str] = []
    if "enum" in schema:
        values = _listed(_literal(value) for value in schema["enum"])
        found.append(f"must be one of [{values}]")
    if "default" in schema:
        default = _literal(schema["default"])
        found.append(f"if omitted the server will use the default value of {default}")
    if schema.get("format") in FORMATS:
        found.append(FORMATS[schema["format"]].note)
    return " ".join(filter(None, found))


class _Page:
    """One walk over a schema in the page's order, with a count of the used anchors."""

    def __init__(self) -> None:
        self.taken: Counter[str] = Counter()

    def sections(self, title: str, schema: SchemaNode) -> Iterator[Section]:
        """Yield the section of `schema`, then those of its parts."""
        anchor = self._anchor(title)
        parts: list[Section] = []
        description = schema.get("description", "").strip()
        yield Section(
            title,
            anchor,
            description,
            Row("", *_types(schema), description, notes(schema)),
            keys=list(self._keys(schema, parts)),
            items=[self._item(schema["items"], parts)] if "items" in schema else [],
            composed=[
                (keyword, [self._branch(name, branch, parts) for name, branch in branches])
                for keyword, branches in _composed(schema)
            ],
        )
        yield from parts

    def _anchor(self, title: str) -> str:
        anchor = markdown.anchor(title)
        self.taken[anchor] += 1
        repeated = self.taken[anchor] - 1
        return f"{anchor}-{repeated}" if repeated else anchor  # GitHub's own numbering

    def _part(self, name: str, schema: SchemaNode, parts: list[Section]) -> str:
        """Add the section of `schema` to `parts`, and return a link to it."""
        own, *others = self.sections(name, schema)
        parts += [own, *others]
        return f"[{name}](#{own.anchor})"

    def _keys(self, schema: SchemaNode, parts: list[Section]) -> Iterator[Row]:
        properties = schema.get("properties", {})
        required = schema.get("required", ())
        for key in sorted(properties, key=lambda key: key not in required):
            description = properties[key].get("description", "")
            yield self._key(key, properties[key], key in required, description, parts)
        others = schema.get("additionalProperties", True if properties else None)
        if others is True:
            name = f"**{UNDECLARED_KEY}**"
            inputs, accessed = map(", ".join, _any_value(UNDECLARED_VALUE))
            yield Row(name, inputs, accessed, UNDECLARED_DESCRIPTION, "[optional]")
        elif others:
            yield self._key(UNDECLARED_KEY, others, False, UNDECLARED_DESCRIPTION, parts)

    def _key(
        self, key: str, schema: SchemaNode, required: bool, description: str, parts: list[Section]
    ) -> Row:
        name = self._part(key, schema, parts) if _is_structured(schema) else key
        optional = "" if required else "[optional] "
        return Row(f"**{name}**", *_types(schema), description, optional + notes(schema))

    def _item(self, schema: SchemaNode, parts: list[Section]) -> Row:
        if ref := ref_name(schema):
            return Row(_link(ref), *_types(schema), "", "")
        name = schema.get("title", "items")
        name = self._part(name, schema, parts) if _is_structured(schema) else name
        return Row(name, *_types(schema), schema.get("description", ""), notes(schema))

    def _branch(self, name: str, schema: SchemaNode, parts: list[Section]) -> Row:
        if ref := ref_name(schema):
            return Row(f"[{ref}]({ref}.md)", *_types(schema), "", "")
        name = self._part(name, schema, parts)
        return Row(name, *_types(schema), schema.get("description", ""), notes(schema))


def _composed(schema: SchemaNode) -> Iterator[tuple[str, list[tuple[str, SchemaNode]]]]:
    """Yield (keyword, [(name, branch)]) for each keyword that composes schemas."""
    for keyword, pattern in COMPOSED.items():
        if keyword in schema:
            found = [schema[keyword]] if keyword == "not" else schema[keyword]
            branches = enumerate(found)
            yield keyword, [(part.get("title", pattern.format(at)), part) for at, part in branches]


def _is_structured(schema: SchemaNode) -> bool:
    """Return whether a schema inside another one needs a section, since a row can't show it."""
    return schema.get("type") in ("object", "array") or any(key in schema for key in COMPOSED)


def _types(schema: SchemaNode) -> tuple[str, str]:
    """Return the Python types that a schema accepts, and those that it returns, as two cells."""
    if ref := ref_name(schema):
        return _link(ref), _link(ref)
    if "type" not in schema:
        inputs, accessed = _any_value(ANY_VALUE)
        return _listed(inputs), ", ".join(accessed)
    found = hints.json_type(schema)
    inputs, accessed = [*found.inputs], [*found.accessed]
    if schema.get("nullable"):  # the pages list None after containers, but before scalars
        null = JSON_TYPES["null"]
        at = schema["type"] in ("object", "array")
        inputs = [*inputs, *null.inputs] if at else [*null.inputs, *inputs]
        accessed = [*accessed, *null.accessed] if at else [*null.accessed, *accessed]
    return _listed(inputs), _listed(accessed)


def _any_value(order: str) -> tuple[list[str], list[str]]:
    """Return the types in `order` that any value accepts, and those that any value returns."""
    inputs = {name for json_type in JSON_TYPES.values() for name in json_type.inputs}
    accessed = {name for json_type in JSON_TYPES.values() for name in json_type.accessed}
    names = order.split()
    return [name for name in names if name in inputs], [name for name in names if name in accessed]


def _literal(value: object) -> str:
    return markdown.cell(hints.quoted(value), quotes=False)


def _listed(names: Iterable[str]) -> str:
    return "".join(f"{name}, " for name in names)


def _link(name: str) -> str:
    return f"[**{name}**]({name}.md)"
