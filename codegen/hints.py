"""Type hints for a schema: for reading its values (`accessed`) and for giving them (`given`).

What JSON types are in Python stands in `humanloop.schemas`; the tables here say how a hint spells
it: wider than the types that are documented where a protocol will do (Mapping for dict), narrower
where run time promises more (a date-time is a `DateTimeSchema`, which is a str). A hint is text;
`imports` finds the names in a stub's text that need importing.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence

from codegen.spec import SchemaNode, Spec, ref_name
from humanloop.schemas import JSON_TYPES, JsonType
from humanloop.schemas.nodes import FORMAT_CLASSES

__all__ = ["accessed", "given", "imports", "json_type", "quoted", "union"]

LONGEST_LITERAL = 70  # characters; an enum with more values is given as a str

_Hint = Callable[[Spec, SchemaNode], str]

ACCESSED = {"decimal.Decimal": "NumberSchema"}
GIVEN = {
    "decimal.Decimal": "Decimal",
    "io.BufferedReader": "BufferedReader",
    "io.FileIO": "FileIO",
    "uuid.UUID": "UUID",
}

HOMES = {
    "collections.abc": ("Iterator", "Mapping", "Sequence"),
    "datetime": ("date", "datetime"),
    "decimal": ("Decimal",),
    "frozendict": ("frozendict",),
    "humanloop.api": ("Api", "async_iteration", "async_variant"),
    "humanloop.api_client": ("ApiClient", "RequestOptions"),
    "humanloop.api_response": ("ApiResponse",),
    "humanloop.pagination": ("AsyncPageIterator", "PageIterator"),
    "humanloop.shortcuts": ("stream_method",),
    "humanloop.streaming": ("AsyncStream", "Stream"),
    "humanloop.schemas": (
        "AnyTypeSchema",
        "BoolClass",
        "BoolSchema",
        "DateSchema",
        "DateTimeSchema",
        "DecimalSchema",
        "DictSchema",
        "FileIO",
        "ListSchema",
        "NoneClass",
        "NumberSchema",
        "Unset",
        "StrSchema",
        "UUIDSchema",
    ),
    "io": ("BufferedReader",),
    "typing": ("Any", "ClassVar", "Final", "Literal", "SupportsIndex", "overload"),
    "typing_extensions": ("Self", "Unpack"),
    "uuid": ("UUID",),
}
_STRING = r"""(?:"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')"""

HOME_OF = {name: module for module, names in HOMES.items() for name in names}


def accessed(spec: Spec, schema: SchemaNode) -> str:
    """Return the hint for a value that was read from a schema instance."""
    if name := ref_name(schema):
        return name
    if branches := _branches(schema):
        hint = union(accessed(spec, branch) for branch in branches)
    elif len(all_of := schema.get("allOf", ())) == 1:
        hint = accessed(spec, all_of[0])
    elif schema.get("type") == "array":
        hint = f"tuple[{accessed(spec, schema.get('items', {}))}, ...]"
    elif schema.get("type") == "object":
        hint = f"frozendict[str, {_values(spec, schema, accessed)}]"
    elif schema.get("type") == "string" and schema.get("format") in FORMAT_CLASSES:
        hint = FORMAT_CLASSES[schema["format"]].__name__
    else:
        hint = union(ACCESSED.get(name, name) for name in json_type(schema).accessed)
    return union([hint, "NoneClass"]) if schema.get("nullable") else hint


def given(spec: Spec, schema: SchemaNode) -> str:
    """Return the hint for a value that a caller passes for a schema."""
    resolved, name = spec.schema(schema), spec.name(schema)
    if name in spec.endless:
        return "Any"
    if branches := _branches(resolved):
        hint = _without_repeats(union(given(spec, branch) for branch in branches))
    elif resolved.get("type") == "array":
        hint = f"Sequence[{given(spec, resolved.get('items', {}))}]"
    elif resolved.get("type") == "object":
        hint = f"Mapping[str, {_values(spec, resolved, given)}]"
        hint = f"{name} | {hint}" if name and resolved.get("properties") else hint
    elif resolved.get("enum") and all(isinstance(v, (str, bool, int)) for v in resolved["enum"]):
        hint = f"Literal[{', '.join(map(quoted, resolved['enum']))}]"
        hint = hint if len(hint) <= LONGEST_LITERAL else "str"
        hint = f"{name} | {hint}" if name else hint
    else:
        hint = union(GIVEN.get(name, name) for name in json_type(resolved).inputs)
    return union([hint, "None"]) if resolved.get("nullable") else hint


def union(hints: Iterable[str]) -> str:
    """Join hints to one: each part once, containers and None last; Any swallows the rest."""
    parts = list(dict.fromkeys(part for hint in hints for part in _split(hint)))
    if "float" in parts and "int" in parts:  # type checkers take an int for a float
        parts.remove("int")
    return "Any" if "Any" in parts else " | ".join(sorted(parts, key=_rank))


def quoted(value: object) -> str:
    """Return `value` as a Python literal in double quotes."""
    text = repr(value)
    return f'"{text[1:-1]}"' if text.startswith("'") and '"' not in text else text


def imports(text: str, generated: Mapping[str, str]) -> list[tuple[str, list[str]]]:
    """Return (module, names) for each name in the text of a stub; `generated`: class to module."""
    words = set(re.findall(r"[^\W\d]\w*", re.sub(_STRING, "", text)))
    homes = {**generated, **HOME_OF}
    found: dict[str, list[str]] = {}
    for word in sorted(words & homes.keys()):
        found.setdefault(homes[word], []).append(word)
    return sorted(found.items())


def _rank(part: str) -> int:
    last = ("Decimal", "Mapping[", "Sequence[", "tuple[", "None")
    return next((at for at, start in enumerate(last, 1) if part.startswith(start)), 0)


def _without_repeats(hint: str) -> str:
    """Leave a class out of the arrays of a union that names it: its instances are Mappings."""
    parts = _split(hint)
    for name in parts:
        parts = [part.replace(f"[{name} | ", "[") for part in parts]
    return " | ".join(parts)


def _branches(schema: SchemaNode) -> Sequence[SchemaNode]:
    found: Sequence[SchemaNode] = schema.get("anyOf") or schema.get("oneOf") or ()
    return found


def _values(spec: Spec, schema: SchemaNode, hint: _Hint) -> str:
    """Return the hint for the values of an object that declares no keys."""
    if schema.get("properties") or not isinstance(schema.get("additionalProperties"), dict):
        return "Any"
    return hint(spec, schema["additionalProperties"])


def json_type(schema: SchemaNode) -> JsonType:
    """Return the JSON type of a schema that neither refers to another one nor is composed."""
    kind = schema.get("type", "")
    found = JSON_TYPES.get(f"{kind}:{schema.get('format')}") or JSON_TYPES.get(kind)
    return found or JsonType("any value", ("Any",), ("Any",))


def _split(hint: str) -> list[str]:
    """Split a union into its members, and leave nested brackets alone."""
    parts: list[str] = []
    depth = start = 0
    for at, character in enumerate(hint):
        depth += (character == "[") - (character == "]")
        if character == "|" and depth == 0:
            parts.append(hint[start:at].strip())
            start = at + 1
    return [*parts, hint[start:].strip()]
