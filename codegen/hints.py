"""Type hints for a schema: for reading its values (`accessed`) and for giving them (`given`).

`humanloop.schemas` decides the Python types of the JSON types; the tables here give their hints:
wider than the documented types where a protocol is enough (Mapping for dict), narrower where run
time promises more (a date-time is a `DateTimeSchema`, which is a str). A hint is text; `imports`
finds the names in a stub that need an import.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from functools import partial

from codegen.spec import SchemaNode, Spec, ref_name
from humanloop.schemas import JSON_TYPES, JsonType
from humanloop.schemas.nodes import FORMAT_CLASSES

__all__ = [
    "accessed",
    "documented",
    "enum",
    "given",
    "imports",
    "json_type",
    "quoted",
    "split",
    "union",
]

DEEPEST = 20  # levels of nested schemas in a hint
LONGEST_LITERAL = 70  # characters; in a method's signature, a longer enum is a str

_Hint = Callable[[Spec, SchemaNode], str]

ACCESSED = {"decimal.Decimal": "NumberSchema"}
GIVEN = {
    "bool": "bool | BoolClass",  # so that a value read from one model can be passed to another
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
    "typing_extensions": ("NotRequired", "Self", "TypedDict", "Unpack"),
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
        hint = enum(schema) or union(
            ACCESSED.get(name, name) for name in json_type(schema).accessed
        )
    return union([hint, "NoneClass"]) if schema.get("nullable") else hint


def given(
    spec: Spec,
    schema: SchemaNode,
    longest: int | None = LONGEST_LITERAL,
    above: frozenset[str] = frozenset(),
    plain_forms: Collection[str] = (),
) -> str:
    """Return the hint for a value that a caller passes for a schema.

    longest: see `enum`. above: the named schemas around this one; a schema that contains itself
        accepts anything there. plain_forms: the models that are given as a TypedDict, and not as
        any Mapping.
    """
    resolved, name = spec.schema(schema), spec.name(schema)
    if name in plain_forms:
        return f"{name} | {name}Dict"
    if name in above or len(above) == DEEPEST:
        return "Any"
    above = above | {name} if name else above
    part = partial(given, longest=longest, above=above, plain_forms=plain_forms)
    if branches := _branches(resolved):
        hint = union(part(spec, branch) for branch in branches)
        hint = hint if plain_forms else _without_repeats(hint)
    elif resolved.get("type") == "array":
        hint = f"Sequence[{part(spec, resolved.get('items', {}))}]"
    elif resolved.get("type") == "object":
        hint = f"Mapping[str, {_values(spec, resolved, part)}]"
        hint = f"{name} | {hint}" if name and resolved.get("properties") else hint
    elif literal := enum(resolved, longest):
        hint = f"{name} | {literal}" if name else literal
    else:
        hint = union(GIVEN.get(name, name) for name in json_type(resolved).inputs)
    return union([hint, "NoneClass", "None"]) if resolved.get("nullable") else hint


def enum(schema: SchemaNode, longest: int | None = None) -> str | None:
    """Return the hint for an enum of strings; None for other schemas.

    longest: the number of characters beyond which the hint is `str`; None for no limit.
    """
    values = [value for value in schema.get("enum", ()) if value is not None]
    if schema.get("type") != "string" or not values:
        return None
    hint = f"Literal[{', '.join(map(quoted, values))}]"
    return hint if longest is None or len(hint) <= longest else "str"


def union(hints: Iterable[str]) -> str:
    """Join hints into one: each part once, containers and None last; Any absorbs the rest."""
    parts = list(dict.fromkeys(part for hint in hints for part in split(hint)))
    literals = [part for part in parts if part.startswith("Literal[")]
    if len(literals) > 1:
        values = dict.fromkeys(value for part in literals for value in split(part[8:-1], ","))
        at = parts.index(literals[0])
        parts = [part for part in parts if part not in literals]
        parts.insert(at, f"Literal[{', '.join(values)}]")
    if "float" in parts and "int" in parts:  # type checkers take an int for a float
        parts.remove("int")
    return "Any" if "Any" in parts else " | ".join(sorted(parts, key=_rank))


def documented(hint: str) -> str:
    """Return a hint for a given value, without the classes of read values."""
    for read in ("BoolClass", "NoneClass"):
        hint = re.sub(rf" \| {read}\b|\b{read} \| ", "", hint)
    return hint


def words(hint: str) -> set[str]:
    """Return the names in a hint, except those inside strings."""
    return set(re.findall(r"[^\W\d]\w*", re.sub(_STRING, "", hint)))


def renamed(hint: str, names: Iterable[str]) -> str:
    """Prefix `names` in a hint by an underscore, except inside strings."""
    ours = "|".join(names)
    return re.sub(rf"{_STRING}|\b({ours})\b", lambda m: f"_{m[0]}" if m[1] else m[0], hint)


def quoted(value: object) -> str:
    """Return `value` as a Python literal in double quotes."""
    text = repr(value)
    return f'"{text[1:-1]}"' if text.startswith("'") and '"' not in text else text


def imports(text: str, generated: Mapping[str, str]) -> list[tuple[str, list[str]]]:
    """Return (module, names) for each name in the text of a stub; `generated`: class to module."""
    homes = {**generated, **HOME_OF}
    found: dict[str, list[str]] = {}
    undeclared = re.sub(r"(^\s*|[(,]\s*)\w+:", r"\1", text, flags=re.MULTILINE)
    for word in sorted(words(undeclared) & homes.keys()):
        found.setdefault(homes[word], []).append(word)
    return sorted(found.items())


def _rank(part: str) -> int:
    last = ("Decimal", "Mapping[", "Sequence[", "tuple[", "NoneClass", "Unset", "None")
    return next((at for at, start in enumerate(last, 1) if part.startswith(start)), 0)


def _without_repeats(hint: str) -> str:
    """Remove a class from the arrays of a union that names it: its instances are Mappings."""
    parts = split(hint)
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
    """Return the JSON type of a schema that is neither a reference nor a composition."""
    kind = schema.get("type", "")
    found = JSON_TYPES.get(f"{kind}:{schema.get('format')}") or JSON_TYPES.get(kind)
    return found or JsonType("any value", ("Any",), ("Any",))


def split(hint: str, separator: str = "|") -> list[str]:
    """Split a union into its members; ignore separators inside brackets and strings."""
    parts: list[str] = []
    depth = start = 0
    for token in re.finditer(rf"[\[\]|,]|{_STRING}", hint):
        depth += (token[0] == "[") - (token[0] == "]")
        if token[0] == separator and depth == 0:
            parts.append(hint[start : token.start()].strip())
            start = token.end()
    return [*parts, hint[start:].strip()]
