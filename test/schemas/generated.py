"""Strategies for hypothesis: schema objects with their components, and values made for them.

Values come in three kinds: `VALUES` know nothing of the schema, `fitting` ones keep to it as far as
one look at each keyword tells, `nearly` ones are fitting but for a change or two. Names, keys and
texts are few, so that what stands in a schema and what comes in a value often meet.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from decimal import Decimal
from itertools import groupby
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

__all__ = [
    "COMPONENTS",
    "FORMATS",
    "LEAVES",
    "PATTERNS",
    "SCHEMAS",
    "SETTINGS",
    "VALUES",
    "any_number",
    "any_value",
    "fitting",
    "nearly",
    "nearly_text",
]

WANTED = os.environ.get("HUMANLOOP_TEST_EXAMPLES")
"""The number of random examples of a property; without it, each run uses the same examples."""

USUAL = os.environ.get("HUMANLOOP_TEST_USUAL_EXAMPLES", "100")

SETTINGS = settings(
    max_examples=int(WANTED or USUAL),
    derandomize=WANTED is None,
    print_blob=True,
    deadline=None,
    database=None,
    suppress_health_check=list(HealthCheck),
)

# -- texts ----------------------------------------------------------------------------------------

ALPHABET = "abAB01_- \n\t\x1c.é\u00a0\ufeff\u0661\u017f\u212a\u2028💩\ud83d\udca9"


def _letters() -> str:
    r"""The ranges of `\p{L}`, as a character class has them."""
    runs = groupby(map(chr, range(sys.maxunicode + 1)), key=str.isalpha)
    return "".join(f"{run[0]}-{run[-1]}" for is_letter, run in map(_listed, runs) if is_letter)


def _listed(run: tuple[bool, Iterator[str]]) -> tuple[bool, list[str]]:
    return run[0], list(run[1])


PATTERNS: dict[str, tuple[str, tuple[str, ...]]] = {
    "^a": ("^a", ("a", "ab\n")),
    "b$": (r"b\Z", ("b", "ab", "b\n")),
    "[0-9]": ("[0-9]", ("1", "a0")),
    "^(a|b)+$": (r"^(a|b)+\Z", ("a", "abab")),
    r"^\d{2,3}$": (r"^[0-9]{2,3}\Z", ("01", "100", "0\u0661")),
    r"^\w+$": (r"^[A-Za-z0-9_]+\Z", ("a_1", "é", "\u017f", "\u212a")),
    r"^\W": ("^[^A-Za-z0-9_]", ("é", "-")),
    r"^\s$": (r"^(?:[^\S\x1c-\x1f\x85]|\ufeff)\Z", (" ", "\ufeff", "\u00a0", "\x1c")),
    r"\S\b": (r"(?:[\x1c-\x1f\x85]|[^\s\ufeff])(?a:\b)", ("a", " a-", "é")),
    "a.b": ("a[^\n\r\u2028\u2029]b", ("a-b", "a\u2028b", "a💩b")),
    "^.$": ("^[^\n\r\u2028\u2029]\\Z", ("a", "💩", "\ud83d", "\n")),
    r"^\ud83d\udca9$": (r"^💩\Z", ("💩",)),
    r"^[^]\u00e9?$": (r"^[\s\S]é?\Z", ("aé", "é")),
    r"^\p{L}+$": (rf"^[{_letters()}]+\Z", ("aé", "\u017f", "\u212a")),
    r"^(a)?\1b": (r"^(?:aab|b)", ("b", "aab", "ab")),
    "^(?!a)(?=b)": ("^b", ("b", "ab")),
}
"""Patterns of ECMA-262, each with its meaning in Python's words and texts at its edges."""

FORMATS: dict[str, tuple[str, ...]] = {
    "date": ("2024-02-29", "2023-02-29", "1900-02-29", "2024-12-31", "0000-01-01", "20240101"),
    "date-time": (
        "2024-02-29T12:30:15Z",
        "2024-02-29t12:30:15.123456789z",
        "2023-02-28T23:59:59-23:59",
        "2023-02-29T00:00:00+00:00",
        "2024-02-29T24:00:00Z",
        "2024-02-29T12:30:15+24:00",
        "2016-12-31T23:59:60Z",
        "0000-01-01T00:00:00Z",
        "2024-02-29T12:30:15",
        "2024-02-29 12:30:15Z",
    ),
    "uuid": (
        "123e4567-e89b-12d3-a456-426614174000",
        "123E4567-E89B-12D3-A456-42661417400F",
        "123e4567e89b12d3a456426614174000",
        "g23e4567-e89b-12d3-a456-426614174000",
    ),
    "email": ("ada@example.com", "a.b+c@[127.0.0.1]", '"a b"@example.com', "ada"),
    "hostname": ("example.com", "a", "a-b.c", "-a.com", "a_b", f"{'a' * 63}.b", "a" * 64, "1.2"),
    "ipv4": ("127.0.0.1", "255.255.255.255", "256.1.1.1", "1.2.3", "01.2.3.4", "1.2.3.4/8"),
    "ipv6": ("::1", "1:2:3:4:5:6:7:8", "::ffff:1.2.3.4", "1::2::3", "12345::", "::1%eth0"),
    "uri": ("http://example.com/a?b#c", "urn:a:b", "//example.com", "a b:c", "http://[::1]:8/%41"),
}
"""Texts at the edges of the formats that the reference checks, too."""

KEYS = st.sampled_from(["a", "b", "c", "kind", "type", "~/%"])
TAGS = st.sampled_from(["Cat", "Dog", "Kit", "Pet", "feline", "A", "B", "%41", "x"])
TEXTS = st.one_of(
    st.sampled_from(["", "a", "ab", "abc", "b1", "1"]),
    st.text(ALPHABET, max_size=4),
    TAGS,
    st.sampled_from([text for _, texts in PATTERNS.values() for text in texts]),
    st.sampled_from([text for texts in FORMATS.values() for text in texts]),
)

# -- numbers and values ---------------------------------------------------------------------------

DECIMALS = [
    Decimal(text)
    for text in (
        *("0.5", "1.0", "-1.5", "2.00", "1E+2", "0.1", "-0", "0E+5", "1e-300", "1.5e300", "0.30"),
        *("12345678901234567890.123456789", "3.4028234663852887e38", "2147483648", "1E+0"),
    )
]
INTEGERS = st.one_of(
    st.integers(-5, 12),
    st.sampled_from([2**31 - 1, 2**31, -(2**31), 2**63, -(2**63) - 1, 10**20, 10**40]),
)
FLOATS = st.sampled_from([0.0, -0.0, 1.0, 0.1, 0.5, 1e16, 1e22, 5e-324, 1.7976931348623157e308])
NUMBERS = st.one_of(INTEGERS, FLOATS, st.sampled_from(DECIMALS))
LEAVES = st.one_of(st.none(), st.booleans(), NUMBERS, TEXTS)
VALUES: st.SearchStrategy[Any] = st.recursive(
    LEAVES,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.lists(inner, max_size=3).map(tuple),
        st.dictionaries(KEYS, inner, max_size=3),
    ),
    max_leaves=8,
)

any_number = st.one_of(
    st.integers(),
    st.floats(allow_nan=False, allow_infinity=False),
    st.decimals(allow_nan=False, allow_infinity=False),
)
any_value: st.SearchStrategy[Any] = st.recursive(
    st.one_of(st.none(), st.booleans(), any_number, st.text(st.characters(), max_size=8)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.tuples(inner),
        st.dictionaries(st.text(st.characters(), max_size=4), inner, max_size=4),
    ),
    max_leaves=10,
)
"""Values of any keys and any characters, for what holds without a schema."""

# -- schemas --------------------------------------------------------------------------------------

COUNTS = st.integers(0, 3)
TYPES = st.sampled_from(["object", "array", "string", "number", "integer", "boolean"])
STEPS = st.sampled_from([1, 2, 3, 0.1, Decimal("0.5"), Decimal("1e-8"), Decimal("1E+2"), 10**40])


def _optional(**keys: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries({}, optional=keys)


def _one(keyword: str, values: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    return values.map(lambda value: {keyword: value})


def _ref(*names: str) -> st.SearchStrategy[dict[str, Any]]:
    return _one("$ref", st.sampled_from([f"#/components/schemas/{name}" for name in names]))


MAPPING = {"feline": "#/components/schemas/Cat", "x": "Dog", "Dog": "Cat"}


def _told(keyword: str, mapping: dict[str, str]) -> dict[str, Any]:
    """A union in which a key of the value determines the branch."""
    branches = [{"$ref": f"#/components/schemas/{name}"} for name in ("Cat", "Dog")]
    discriminator = {"propertyName": "kind", **({"mapping": mapping} if mapping else {})}
    return {keyword: branches, "discriminator": discriminator}


BOUNDS: list[st.SearchStrategy[dict[str, Any]]] = [
    st.just({}),
    st.fixed_dictionaries({"minimum": NUMBERS}, optional={"exclusiveMinimum": st.booleans()}),
    st.fixed_dictionaries({"maximum": NUMBERS}, optional={"exclusiveMaximum": st.booleans()}),
    _one("multipleOf", STEPS),
    _optional(minLength=COUNTS, maxLength=COUNTS),
    _one("pattern", st.sampled_from(list(PATTERNS))),
    _optional(type=st.just("string"), format=st.sampled_from(list(FORMATS))),
    _optional(
        type=st.sampled_from(["number", "integer"]),
        format=st.sampled_from(["int32", "int64", "float", "double"]),
    ),
    _one("format", st.sampled_from([*FORMATS, "byte", "password", "unknown"])),
    _optional(minItems=COUNTS, maxItems=COUNTS, uniqueItems=st.booleans()),
    _optional(minProperties=COUNTS, maxProperties=COUNTS),
    _one("enum", st.lists(VALUES, min_size=1, max_size=3)),
    _one("required", st.sets(KEYS, min_size=1, max_size=2).map(sorted)),
    _one("type", TYPES),
    _optional(
        type=TYPES,
        nullable=st.booleans(),
        enum=st.lists(LEAVES, min_size=1, max_size=3),
        readOnly=st.booleans(),
        default=LEAVES,
        example=LEAVES,
        deprecated=st.booleans(),
    ),
]
REFERENCES = [
    _ref("A", "B", "R", "Cat", "Pet", "Kit"),
    st.builds(_told, st.sampled_from(["oneOf", "anyOf"]), st.sampled_from([{}, MAPPING])),
]


def _composed(inner: st.SearchStrategy[dict[str, Any]]) -> st.SearchStrategy[dict[str, Any]]:
    branches = st.lists(inner, min_size=1, max_size=3)
    return st.one_of(
        _optional(
            type=st.just("object"),
            properties=st.dictionaries(KEYS, inner, max_size=2),
            additionalProperties=st.one_of(st.booleans(), inner),
        ),
        st.fixed_dictionaries({"type": st.just("array"), "items": inner}),
        st.builds(lambda k, b: {k: b}, st.sampled_from(["allOf", "anyOf", "oneOf"]), branches),
        _one("not", inner),
        st.builds(lambda a, b: {**a, **b}, inner, inner),
    )


SCHEMAS = st.recursive(st.one_of(*BOUNDS, *REFERENCES), _composed, max_leaves=6)


def _components(
    alone: dict[str, Any], part: dict[str, Any], mapping: dict[str, str]
) -> dict[str, Any]:
    """Components that refer to one another: `R` to itself, `Cat` and `Kit` to their parent."""
    kind = {"required": ["kind"], "properties": {"kind": {"type": "string"}}}
    discriminator = {"propertyName": "kind", **({"mapping": mapping} if mapping else {})}
    pet = {"$ref": "#/components/schemas/Pet"}
    again = {"$ref": "#/components/schemas/R"}
    return {
        "A": alone,
        "B": {"$ref": "#/components/schemas/A"},
        "R": {
            "type": "object",
            "nullable": True,
            "required": ["a"],
            "properties": {"a": part, "b": again, "c": {"type": "array", "items": again}},
        },
        "Pet": {"type": "object", **kind, "discriminator": discriminator},
        "Cat": {"allOf": [pet, {"properties": {"a": part}}]},
        "Kit": {"allOf": [{"$ref": "#/components/schemas/Cat"}, {"required": ["b"]}]},
        "Dog": {"type": "object", **kind, "additionalProperties": part},
    }


COMPONENTS = st.builds(
    _components,
    st.one_of(BOUNDS),
    st.one_of(*BOUNDS, *REFERENCES),
    st.sampled_from([{}, {"feline": "Cat", "Dog": "#/components/schemas/Kit"}]),
)

# -- values for a schema --------------------------------------------------------------------------


@st.composite
def fitting(draw: st.DrawFn, schema: dict[str, Any], components: dict[str, Any]) -> Any:
    """A value that `schema` may well take: its keys, its bounds, its options."""
    return draw(_fitting(schema, components, depth=0))


def _fitting(
    schema: dict[str, Any], components: dict[str, Any], depth: int
) -> st.SearchStrategy[Any]:
    if "$ref" in schema:
        target = components[schema["$ref"].rpartition("/")[2]]
        return st.deferred(lambda: _fitting(target, components, depth))
    if "enum" in schema:
        return st.sampled_from(schema["enum"])
    for keyword in ("allOf", "anyOf", "oneOf"):
        if keyword in schema:
            made = [_fitting(branch, components, depth) for branch in schema[keyword]]
            return st.one_of(made) if keyword != "allOf" else st.tuples(*made).map(_joined)
    kind = schema.get("type")
    if kind == "array" or "items" in schema or "uniqueItems" in schema or "minItems" in schema:
        least = schema.get("minItems", 0)
        item = _fitting(schema.get("items", {}), components, depth + 1) if depth < 3 else LEAVES
        return st.lists(item, min_size=least, max_size=max(schema.get("maxItems", 2), least))
    if kind == "object" or "properties" in schema or "required" in schema:
        return _object(schema, components, depth)
    return _leaf(schema, kind)


def _object(
    schema: dict[str, Any], components: dict[str, Any], depth: int
) -> st.SearchStrategy[Any]:
    properties = schema.get("properties", {})
    required = schema.get("required", ())
    made: dict[str, st.SearchStrategy[Any]] = {}
    for key in (*required, *properties):
        part = properties.get(key, {})
        made[key] = LEAVES if depth >= 3 else _fitting(part, components, depth + 1)
        if key == "kind":
            made[key] = TAGS
    return st.fixed_dictionaries(
        {key: made[key] for key in required},
        optional={key: made[key] for key in made if key not in required},
    )


def _leaf(schema: dict[str, Any], kind: str | None) -> st.SearchStrategy[Any]:
    if "pattern" in schema:
        return st.sampled_from(PATTERNS[schema["pattern"]][1])
    if schema.get("format") in FORMATS:
        return st.sampled_from(FORMATS[schema["format"]])
    bounds = [schema[key] for key in ("minimum", "maximum", "multipleOf") if key in schema]
    if bounds:
        steps = st.sampled_from([0, 1, -1, Decimal("0.1"), Decimal("-1e-9")])
        moved = st.builds(lambda b, s: Decimal(str(b)) + s, st.sampled_from(bounds), steps)
        return st.one_of(st.sampled_from(bounds), moved, NUMBERS)
    by_kind: dict[Any, Any] = {
        "string": TEXTS,
        "number": NUMBERS,
        "integer": INTEGERS,
        "boolean": st.booleans(),
    }
    return by_kind.get(kind, LEAVES)  # type: ignore[no-any-return]


def _joined(values: tuple[Any, ...]) -> Any:
    """A value that may fit several schemas at once: the keys of all of them, or the first value."""
    if all(isinstance(value, dict) for value in values):
        return {key: item for value in values for key, item in value.items()}
    return values[0]


@st.composite
def nearly_text(draw: st.DrawFn, texts: tuple[str, ...]) -> str:
    """One of `texts` with up to two of its characters replaced, left out or added."""
    text = draw(st.sampled_from(texts))
    usual = st.sampled_from(sorted({"", "0", "1", "2", "9", *"".join(texts)}))
    chars = st.one_of(usual, usual, st.sampled_from(ALPHABET + "@:/%."), st.characters())
    for _ in range(draw(st.integers(0, 2))):
        start = draw(st.integers(0, len(text)))
        end = min(start + draw(st.integers(0, 1)), len(text))
        text = text[:start] + draw(chars) + text[end:]
    return text


@st.composite
def nearly(draw: st.DrawFn, schema: dict[str, Any], components: dict[str, Any]) -> Any:
    """A value that fits, or is a change or two away from it."""
    value = draw(_fitting(schema, components, depth=0))
    for _ in range(draw(st.integers(0, 2))):
        value = _changed(draw, value)
    return value


def _changed(draw: st.DrawFn, value: Any) -> Any:
    """`value` with one thing about it, or about a part of it, different."""
    deeper = draw(st.booleans())
    if isinstance(value, dict):
        items = dict(value)
        key = draw(st.sampled_from([*items, "b", "c"]) if deeper else KEYS)
        if key in items and not deeper:
            del items[key]
        else:
            items[key] = _changed(draw, items[key]) if key in items else draw(LEAVES)
        return items
    if isinstance(value, (list, tuple)):
        parts = list(value)
        if deeper and parts:
            index = draw(st.integers(0, len(parts) - 1))
            parts[index] = _changed(draw, parts[index])
        elif draw(st.booleans()):
            parts = parts[:-1]
        else:
            parts.append(parts[0] if parts else draw(LEAVES))
        return parts
    if isinstance(value, str) and deeper:
        at = draw(st.integers(0, len(value)))
        return value[:at] + draw(st.sampled_from([*ALPHABET, ""])) + value[at + 1 :]
    if isinstance(value, int) and deeper:
        flipped = int(value) if isinstance(value, bool) else value == 1
        return draw(st.sampled_from([Decimal(f"{int(value)}.0"), value + 1, [value], flipped]))
    return draw(LEAVES)
