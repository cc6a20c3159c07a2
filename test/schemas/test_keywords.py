"""Keyword by keyword: what a schema says of a value.

Sources: OpenAPI 3.0.3 (Data Types, Schema Object, Reference Object, Discriminator Object), the
Proposal 2019-10-31 that clarified `nullable`, JSON Schema Core (draft-wright-json-schema-00, "C")
and JSON Schema Validation (draft-wright-json-schema-validation-00, "W"). Composition, references
and discriminators have more tests in `test_nodes`, formats in `test_formats`, patterns in
`test_patterns`.
"""

from __future__ import annotations

import decimal
from collections.abc import Callable
from decimal import Decimal as D
from typing import Any

import pytest

from .support import accepts, deadline, errors_of, make, message_of

JSON_VALUES: dict[str, Any] = {
    "object": {"a": 1},
    "array": [1],
    "string": "a",
    "number": D("0.5"),
    "boolean": True,
    "null": None,
}
STRING = {"type": "string"}


def ref(name: str) -> dict[str, str]:
    return {"$ref": f"#/components/schemas/{name}"}


# -- type, nullable -------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["object", "array", "string", "number", "boolean"])
@pytest.mark.parametrize("given", JSON_VALUES)
def test_type_takes_values_of_its_own_type_only(kind: str, given: str) -> None:
    """W 5.21 type; OpenAPI has one type, and no `null`."""
    assert accepts({"type": kind}, JSON_VALUES[given]) is (kind == given)


@pytest.mark.parametrize("given", JSON_VALUES)
def test_a_schema_without_type_takes_all(given: str) -> None:
    """OpenAPI 3.0.3, 4.7.24: without `type` there is no restriction, on null neither."""
    assert accepts({}, JSON_VALUES[given])


@pytest.mark.parametrize(
    ("value", "valid"),
    [
        (1, True),
        (0, True),
        (-7, True),
        (10**400, True),
        (D("3"), True),
        (D("-0"), True),
        (1.0, False),
        (D("1.0"), False),
        (D("1E+2"), False),
        (D("1E+1000000000"), False),
        (D("1E-1000000000"), False),
        (D("1.5"), False),
        (True, False),
        ("1", False),
    ],
)
def test_an_integer_has_no_fraction_and_no_exponent_part(value: Any, valid: bool) -> None:
    """OpenAPI 3.0.3 Data Types: C 4.2's integer, a number without fraction or exponent part."""
    assert accepts({"type": "integer"}, value) is valid
    assert accepts({"type": "integer", "nullable": True}, value) is valid


@pytest.mark.parametrize(
    ("text", "valid"),
    [
        ("1", True),
        ("-0", True),
        ("1.0", False),
        ("1e0", False),
        ("1E+0", False),
        ("10e-1", False),
        ("1" * 5000, True),
    ],
)
def test_an_integer_in_json_text(text: str, valid: bool) -> None:
    """C 4.2, of the text: 1e0 has an exponent part."""
    assert make({"type": "number"}).from_json(text) == D(text)
    assert accepts_text({"type": "integer"}, text) is valid


def accepts_text(schema: dict[str, Any], text: str) -> bool:
    try:
        make(schema).from_json(text)
    except ValueError:
        return False
    return True


@pytest.mark.parametrize("kind", ["object", "array", "string", "number", "integer", "boolean"])
def test_nullable_allows_null_beside_the_type(kind: str) -> None:
    """OpenAPI 3.0.3 `nullable`."""
    assert accepts({"type": kind, "nullable": True}, None)
    assert not accepts({"type": kind}, None)
    assert not accepts({"type": kind, "nullable": False}, None)


@pytest.mark.parametrize(
    ("schema", "valid"),
    [
        ({"type": "string", "nullable": True, "enum": ["a"]}, False),
        ({"type": "string", "nullable": True, "enum": ["a", None]}, True),
        ({"type": "string", "nullable": True, "minLength": 5, "pattern": "x"}, True),
        ({"type": "string", "nullable": True, "not": {"enum": [None]}}, False),
        ({"type": "string", "enum": ["a", None]}, False),
        ({"nullable": True, "enum": ["a"]}, False),
        ({"nullable": True, "allOf": [STRING]}, False),
        ({"nullable": True, "anyOf": [STRING]}, False),
        ({"nullable": True, "oneOf": [STRING]}, False),
        ({"type": "string", "nullable": True, "allOf": [STRING]}, False),
        ({"allOf": [{"type": "string", "nullable": True}]}, True),
        ({"allOf": [{"type": "string", "nullable": True}, STRING]}, False),
        ({"oneOf": [{"type": "string", "nullable": True}, {"type": "number"}]}, True),
        ({"oneOf": [STRING, {"type": "number"}]}, False),
        ({"nullable": True}, True),
        ({"nullable": False}, True),
        ({**ref("Text"), "nullable": True}, False),
        ({**ref("Maybe"), "nullable": False}, True),
    ],
)
def test_nullable_widens_type_and_nothing_else(schema: dict[str, Any], valid: bool) -> None:
    """Proposal 2019-10-31: it speaks of the `type` of the same Schema Object; enum, not and allOf
    hold for null too. Reference Object: beside `$ref` it is ignored."""
    cls = make(schema, Text=STRING, Maybe={"type": "string", "nullable": True})
    assert accepts(cls, None) is valid


# -- numbers --------------------------------------------------------------------------------------

BOUNDS: list[tuple[dict[str, Any], Any, bool]] = [
    ({"minimum": 3}, 3, True),
    ({"minimum": 3}, 2, False),
    ({"minimum": 3}, D("2.999"), False),
    ({"minimum": D("1.1")}, 1.1, True),
    ({"minimum": 3, "exclusiveMinimum": False}, 3, True),
    ({"minimum": 3, "exclusiveMinimum": True}, 3, False),
    ({"minimum": 3, "exclusiveMinimum": True}, D("3.0"), False),
    ({"minimum": 3, "exclusiveMinimum": True}, 4, True),
    ({"minimum": 3, "exclusiveMinimum": True}, D("3.0000000000000000000000000000000001"), True),
    ({"minimum": 0}, D("-0.0"), True),
    ({"minimum": 0, "exclusiveMinimum": True}, D("-0.0"), False),
    ({"minimum": D("1E-400"), "exclusiveMinimum": True}, 0, False),
    ({"maximum": 3}, 3, True),
    ({"maximum": 3}, 4, False),
    ({"maximum": -2}, -1, False),
    ({"maximum": 3, "exclusiveMaximum": False}, 3, True),
    ({"maximum": 3, "exclusiveMaximum": True}, 3, False),
    ({"maximum": 3, "exclusiveMaximum": True}, 2, True),
    ({"maximum": 9007199254740992}, 9007199254740993, False),
    ({"maximum": 10**400}, 10**400, True),
    ({"maximum": 10**400}, 10**400 + 1, False),
    ({"exclusiveMaximum": True}, 10, True),
    ({"exclusiveMinimum": True}, -10, True),
    ({"maximum": 3, "exclusiveMinimum": True}, 3, True),
    ({"maximum": 10}, D("1E+1000000000"), False),
    ({"minimum": 10}, D("-1E+1000000000"), False),
    ({"minimum": 10}, D("1E-1000000000"), False),
    ({"minimum": 0, "exclusiveMinimum": True}, D("1E-1000000000"), True),
    ({"maximum": D("1E+1000000000")}, D("10E+999999999"), True),
    ({"maximum": D("1E+1000000000")}, D("1.01E+1000000000"), False),
]


@pytest.mark.parametrize(("keyword", "value", "valid"), BOUNDS)
def test_bounds(keyword: dict[str, Any], value: Any, valid: bool) -> None:
    """W 5.2 to 5.5: exclusive bounds are booleans that change the bound beside them, and say
    nothing without it."""
    with deadline():
        assert accepts(keyword, value) is valid
        assert accepts({"type": "number", **keyword}, value) is valid


@pytest.mark.parametrize("kind", ["integer", "number"])
def test_bounds_hold_for_ints(kind: str) -> None:
    assert not accepts({"type": kind, "minimum": 3}, 2)
    assert not accepts({"type": kind, "multipleOf": 2}, 3)


MULTIPLES: list[tuple[Any, Any, bool]] = [
    (2, 7, False),
    (2, 8, True),
    (2, 0, True),
    (2, -8, True),
    (2, -7, False),
    (1, D("1.0"), True),
    (0.1, 0.3, True),
    (0.01, 0.075, False),
    (0.0001, 0.0075, True),
    (0.5, D("1E+308"), True),
    (0.5, 0.25, False),
    (100, 1000, True),
    (100, D("1E+2"), True),
    (D("1E+2"), 150, False),
    (D("1.5"), D("4.50"), True),
    (D("1E-8"), 12391239123, True),
    (0.123456789, D("1E+308"), False),
    (10**40, 3 * 10**40, True),
    (10**40, 3 * 10**40 + 1, False),
    (3, D("1E+1000000000"), False),
    (3, D("3E+1000000000"), True),
    (7, D("1E-1000000000"), False),
    (D("7E-999999999"), D("21E+1000000000"), True),
    (D("7E-999999999"), D("1E+1000000000"), False),
    (D("1E-1000000000"), 1, True),
    (D("1E+1000000000"), 1, False),
    (D("1E+1000000000"), 0, True),
    (D("1E+1000000000"), D("-0.0"), True),
]


@pytest.mark.parametrize(("step", "value", "valid"), MULTIPLES)
def test_multiple_of_is_exact_at_any_exponent(step: Any, value: Any, valid: bool) -> None:
    """W 5.1: division gives an integer."""
    with deadline():
        assert accepts({"multipleOf": step}, value) is valid


@pytest.mark.parametrize("keyword", ["minimum", "maximum", "multipleOf", "format"])
def test_a_number_of_a_million_digits_takes_no_time(keyword: str) -> None:
    schema = {keyword: "int64" if keyword == "format" else 3}
    with deadline(20):
        assert accepts(schema, D("9" * 1_000_000)) is (keyword in ("minimum", "multipleOf"))
        assert accepts(schema, D("9" * 1_000_000 + "1")) is (keyword == "minimum")


CONTEXTS = {
    "low precision": decimal.Context(prec=3, traps=[]),
    "narrow range": decimal.Context(prec=3, Emin=-5, Emax=5, clamp=1, traps=[]),
    "every trap": decimal.Context(prec=3, Emin=-5, Emax=5, traps=list(decimal.Context().flags)),
    "small letters": decimal.Context(capitals=0),
}
IN_CONTEXT: list[tuple[dict[str, Any], Any, bool]] = [
    *BOUNDS,
    *(({"multipleOf": step}, value, valid) for step, value, valid in MULTIPLES),
    ({"enum": [D("1E+400"), 1234567]}, D("10E+399"), True),
    ({"enum": [1234567]}, 1234568, False),
    ({"uniqueItems": True}, [1234567, 1234568], True),
    ({"uniqueItems": True}, [D("1E+400"), D("10E+399")], False),
    ({"minLength": 1234}, "a" * 1233, False),
    ({"maxItems": 1234}, [0] * 1234, True),
    ({"type": "integer", "format": "int32"}, 2**31 - 1, True),
    ({"type": "integer", "format": "int32"}, 2**31, False),
    ({"type": "number", "format": "double"}, D("1E+400"), False),
    ({"type": "number", "format": "float"}, D("-3.4028234E+38"), True),
    ({"type": "string", "format": "number"}, "123456789e400", True),
    ({"type": "string", "format": "number"}, "NaN", False),
    ({"type": "string", "format": "number"}, "1e9999999999999999999", False),
]


@pytest.mark.parametrize("name", CONTEXTS)
def test_the_callers_decimal_context_changes_nothing(name: str) -> None:
    """Python's `decimal` rounds, refuses and writes as the current context says; we do not."""
    outside = [make(schema) for schema, _, _ in IN_CONTEXT]
    with decimal.localcontext(CONTEXTS[name]):
        for cls, (schema, value, valid) in zip(outside, IN_CONTEXT, strict=True):
            assert accepts(cls, value) is valid, schema
            assert accepts(schema, value) is valid, schema


# -- lengths --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("keyword", "value", "valid"),
    [
        ({"minLength": 2}, "ab", True),
        ({"minLength": 2}, "a", False),
        ({"minLength": 0}, "", True),
        ({"maxLength": 2}, "ab", True),
        ({"maxLength": 2}, "abc", False),
        ({"maxLength": 0}, "", True),
        ({"maxLength": 0}, "a", False),
        ({"maxLength": 2}, "💩💩", True),
        ({"minLength": 2}, "💩", False),
        ({"maxLength": 1}, "e\u0301", False),
        ({"maxLength": 1}, "\ud800", True),
        ({"minLength": 2}, "\ud800", False),
        ({"maxLength": 1}, "\0", True),
        ({"maxLength": D("1E+1000000000")}, "a", True),
        ({"minLength": D("1E+1000000000")}, "a", False),
        ({"minItems": 1}, [], False),
        ({"minItems": 1}, [None], True),
        ({"maxItems": 1}, [1, 2], False),
        ({"maxItems": 1}, [[1, 2]], True),
        ({"maxItems": 0}, [], True),
        ({"minProperties": 1}, {}, False),
        ({"minProperties": 1}, {"a": None}, True),
        ({"maxProperties": 1}, {"a": 1, "b": 2}, False),
        ({"maxProperties": 0}, {}, True),
    ],
)
def test_lengths(keyword: dict[str, Any], value: Any, valid: bool) -> None:
    """W 5.6, 5.7, 5.10, 5.11, 5.13, 5.14; strings are counted in code points (RFC 7159)."""
    assert accepts(keyword, value) is valid


def test_a_length_is_that_of_the_text_not_of_its_json() -> None:
    """RFC 7159 section 7: two escapes may be one character, and one may be none of its own."""
    assert accepts_text({"maxLength": 1}, r'"\ud83d\udca9"')
    assert accepts_text({"maxLength": 1}, r'"\ud83d"')
    assert not accepts_text({"maxLength": 1}, r'"\udca9\ud83d"')


# -- uniqueItems, enum ----------------------------------------------------------------------------

EQUALITY: list[tuple[Any, Any, bool]] = [
    (1, 1, True),
    (1, D("1.00"), True),
    (100, D("1E+2"), True),
    (0, D("-0.0"), True),
    (0.1, D("0.10"), True),
    (D("1E+1000000000"), D("10E+999999999"), True),
    (D("1E+1000000000"), D("1E-1000000000"), False),
    (123456789012345678901234567890, D("123456789012345678901234567891"), False),
    (1, -1, False),
    (1, True, False),
    (0, False, False),
    (D("0.0"), False, False),
    (True, True, True),
    (True, False, False),
    (None, None, True),
    (None, False, False),
    (None, 0, False),
    (None, "", False),
    (None, "None", False),
    ("1", 1, False),
    ("true", True, False),
    ("a", "A", False),
    ("\u00e9", "e\u0301", False),
    ("\ud800", "\ud801", False),
    ([], [], True),
    ([], {}, False),
    ([], "", False),
    ([1, 2], [1, D("2.0")], True),
    ([1, 2], [2, 1], False),
    ([1], [True], False),
    ([[0]], [[False]], False),
    ([1], [1, 1], False),
    ([[1], 2], [[1, 2]], False),
    ([[], [1]], [[1], []], False),
    (["array"], "array", False),
    ({}, {}, True),
    ({"a": 1, "b": 2}, {"b": 2, "a": 1}, True),
    ({"a": 1}, {"a": 1, "b": 2}, False),
    ({"a": 1}, {"a": True}, False),
    ({"a": {"b": [1]}}, {"a": {"b": [D("1E+0")]}}, True),
    ({"a": {"b": [1]}}, {"a": {"b": [True]}}, False),
    ({"a": "b"}, {"b": "a"}, False),
    ({"a": "b"}, ["a", "b"], False),
    ({"a": None}, {}, False),
]


@pytest.mark.parametrize(("one", "other", "equal"), EQUALITY)
@pytest.mark.parametrize("wrap", [lambda v: v, lambda v: [v], lambda v: {"k": [v]}])
def test_unique_items_and_enum_compare_json_values(
    one: Any, other: Any, equal: bool, wrap: Callable[[Any], Any]
) -> None:
    """W 5.12 uniqueItems, W 5.20 enum; C 4.3 equality: numbers by value, objects without order,
    at every depth."""
    one, other = wrap(one), wrap(other)
    with deadline():
        assert accepts({"uniqueItems": True}, [one, other]) is not equal
        assert accepts({"uniqueItems": True}, [[7], one, "x", other, 7]) is not equal
        assert accepts({"uniqueItems": False}, [one, other])
        assert accepts({"enum": [one]}, other) is equal
        assert accepts({"enum": [other, "x", [7]]}, one) is equal


@pytest.mark.parametrize("items", [[], [1], [None], [[[]]], [b"a", "a"]])
def test_different_items_are_unique(items: list[Any]) -> None:
    assert accepts({"uniqueItems": True}, items)


def test_equal_bytes_are_not_unique() -> None:
    """Bytes stand for JSON's missing type (OpenAPI 3.0.3 `binary`), and compare as such."""
    assert not accepts({"uniqueItems": True}, [b"a", "a", b"a"])


def test_values_that_were_refused_are_not_called_equal() -> None:
    found = errors_of({"uniqueItems": True}, [float("nan"), float("nan")])
    assert found == [("/0", "type"), ("/1", "type")]


@pytest.mark.parametrize(
    ("schema", "value", "valid"),
    [
        ({"enum": ["a", "b"]}, "b", True),
        ({"enum": ["a", "b"]}, "c", False),
        ({"enum": [[], {}, None, 1, "a"]}, {}, True),
        ({"enum": [[], {}, None, 1, "a"]}, 0, False),
        ({"type": "integer", "enum": [1, 2]}, 2, True),
        ({"type": "integer", "enum": [1, 2]}, 3, False),
        ({"type": "integer", "enum": [1, 2]}, 2.0, False),
        ({"type": "string", "enum": ["a", 1]}, 1, False),
        ({"type": "string", "enum": ["a"], "maxLength": 0}, "a", False),
        ({"enum": ["a", "a"]}, "a", True),
    ],
)
def test_enum_holds_beside_the_other_keywords(
    schema: dict[str, Any], value: Any, valid: bool
) -> None:
    """W 5.20, of any type; elements SHOULD be unique, so they need not be."""
    assert accepts(schema, value) is valid


def test_a_message_names_the_values_of_an_enum_in_json() -> None:
    schema = {"enum": ["a", 1.50, None, True, [1, {"b": []}]]}
    assert "one of 'a', 1.5, null, true, [1,{\"b\":[]}]," in message_of(schema, "x")


@pytest.mark.parametrize(
    "items",
    [
        pytest.param([i * (2**61 - 1) for i in range(8000)], id="numbers of one hash"),
        pytest.param([D((0, (1,), i * 10**6)) for i in range(5000)], id="huge exponents"),
        pytest.param([[i % 2, {"a": i}] for i in range(5000)], id="containers"),
    ],
)
def test_unique_items_of_many_takes_linear_time(items: list[Any]) -> None:
    with deadline(20):
        assert accepts({"uniqueItems": True}, items)
        assert not accepts({"uniqueItems": True}, [*items, items[0]])


# -- objects, arrays ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("required", "value", "missing"),
    [
        (["a"], {"a": None}, []),
        (["a"], {}, ["/a"]),
        (["a", "b"], {"c": 1}, ["/a", "/b"]),
        (["a"], [], []),
        (["a"], "a", []),
    ],
)
def test_required(required: list[str], value: Any, missing: list[str]) -> None:
    """W 5.15: a key that is null is there; other types than objects are not concerned."""
    found = errors_of({"required": required}, value)
    assert found == [(pointer, "required") for pointer in missing]


@pytest.mark.parametrize(
    ("schema", "value", "valid"),
    [
        ({"properties": {"a": {"type": "string", "default": "x"}}}, {}, True),
        ({"properties": {"a": {"default": "x"}}, "required": ["a"]}, {}, False),
        ({"type": "string", "default": 5}, "a", True),
        ({"type": "string", "default": 5}, 5, False),
        ({"type": "string", "default": "x", "minLength": 9}, "a", False),
        ({"type": "string", "default": None}, None, False),
    ],
)
def test_default_is_never_applied(schema: dict[str, Any], value: Any, valid: bool) -> None:
    """OpenAPI 3.0.3 `default`: what the receiver assumes; W 6.2: no validation of it, or by it."""
    cls = make(schema)
    assert accepts(cls, value) is valid
    if valid:
        assert cls(value) == value, "nothing is filled in"


PROPERTIES: list[tuple[dict[str, Any], Any, list[tuple[str, str]]]] = [
    ({"properties": {"a": STRING}}, {"a": "x", "b": 1}, []),
    ({"properties": {"a": STRING}}, {"a": 1}, [("/a", "type")]),
    ({"properties": {"a": STRING}}, [1], []),
    ({"properties": {}}, {"a": 1}, []),
    ({"additionalProperties": False}, {}, []),
    ({"additionalProperties": False}, {"a": 1}, [("/a", "additionalProperties")]),
    ({"additionalProperties": False}, ["a"], []),
    ({"additionalProperties": True, "properties": {"a": {}}}, {"b": 1}, []),
    ({"additionalProperties": {}}, {"b": 1}, []),
    ({"additionalProperties": STRING}, {"b": 1, "c": "x"}, [("/b", "type")]),
    (
        {"properties": {"a": {"type": "number"}}, "additionalProperties": STRING},
        {"a": 1, "b": "x"},
        [],
    ),
    (
        {"properties": {"a": {"type": "number"}}, "additionalProperties": STRING},
        {"a": "x", "b": 1},
        [("/a", "type"), ("/b", "type")],
    ),
    (
        {"properties": {"a": {}}, "additionalProperties": False},
        {"a": 1, "b": 2},
        [("/b", "additionalProperties")],
    ),
    (
        {"required": ["a"], "additionalProperties": False},
        {"a": 1},
        [("/a", "additionalProperties")],
    ),
    (
        {"allOf": [{"properties": {"a": {}}}], "additionalProperties": False},
        {"a": 1},
        [("/a", "additionalProperties")],
    ),
    (
        {
            "allOf": [{"properties": {"a": {}}, "additionalProperties": False}],
            "properties": {"b": {}},
        },
        {"a": 1, "b": 1},
        [("/b", "additionalProperties")],
    ),
    (
        {
            "allOf": [
                {"properties": {"a": {}}, "additionalProperties": {"type": "number"}},
                {"properties": {"b": {}}, "additionalProperties": STRING},
            ]
        },
        {"a": "x", "b": 1},
        [],
    ),
    (
        {
            "allOf": [
                {"properties": {"a": {}}, "additionalProperties": {"type": "number"}},
                {"properties": {"b": {}}, "additionalProperties": STRING},
            ]
        },
        {"a": 1, "b": "x"},
        [("/b", "type"), ("/a", "type")],
    ),
    (
        {
            "properties": {"a": {}},
            "additionalProperties": False,
            "anyOf": [{"properties": {"b": {}}}, {"required": ["a"]}],
        },
        {"a": 1, "b": 1},
        [("/b", "additionalProperties")],
    ),
]


@pytest.mark.parametrize(("schema", "value", "errors"), PROPERTIES)
def test_properties_and_additional_properties(
    schema: dict[str, Any], value: Any, errors: list[tuple[str, str]]
) -> None:
    """W 5.16, 5.18: additionalProperties looks at the properties of its own object alone."""
    assert errors_of(schema, value) == errors
    assert accepts(schema, value) is (not errors)


def test_items_holds_for_every_item() -> None:
    """W 5.9, with one schema (OpenAPI 3.0.3)."""
    schema = {"type": "array", "items": STRING}
    assert accepts(schema, ["a", "b"])
    assert accepts(schema, [])
    assert errors_of(schema, ["a", 1, "b", None]) == [("/1", "type"), ("/3", "type")]
    assert accepts({"items": STRING}, {"0": 1})


# -- composition ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("schema", "value", "valid"),
    [
        ({"not": {"type": "integer"}}, 1, False),
        ({"not": {"type": "integer"}}, 1.0, True),
        ({"not": {"enum": [1]}}, True, True),
        ({"not": {"enum": [1]}}, D("1.0"), False),
        ({"not": {"allOf": [{"minimum": 1}, {"maximum": 3}]}}, 2, False),
        ({"not": {"allOf": [{"minimum": 1}, {"maximum": 3}]}}, 4, True),
        ({"not": {"type": "string", "nullable": True}}, None, False),
        ({"not": {"additionalProperties": False}}, {}, False),
        ({"not": {"additionalProperties": False}}, {"a": 1}, True),
        ({"oneOf": [{"oneOf": [{"minimum": 1}, {"minimum": 5}]}, {"minimum": 9}]}, 3, True),
        ({"oneOf": [{"oneOf": [{"minimum": 1}, {"minimum": 5}]}, {"minimum": 9}]}, 7, False),
        ({"oneOf": [{"oneOf": [{"minimum": 1}, {"minimum": 5}]}, {"minimum": 9}]}, 9, True),
        (
            {"oneOf": [{"not": {"oneOf": [STRING, {"maxLength": 1}]}}, {"type": "number"}]},
            "a",
            True,
        ),
        ({"oneOf": [{"enum": [1]}, {"enum": [True]}]}, 1, True),
        ({"oneOf": [{"enum": [1]}, {"enum": [D("1.0")]}]}, 1, False),
        ({"oneOf": [STRING, {"type": "number", "nullable": True}]}, None, True),
        (
            {"oneOf": [{"type": "string", "nullable": True}, {"type": "number", "nullable": True}]},
            None,
            False,
        ),
    ],
)
def test_not_and_nested_one_of(schema: dict[str, Any], value: Any, valid: bool) -> None:
    """W 5.24: exactly one; W 5.25: fails to validate."""
    assert accepts(schema, value) is valid


# -- discriminators -------------------------------------------------------------------------------

PETS: dict[str, Any] = {
    "Pet": {
        "type": "object",
        "required": ["kind"],
        "properties": {"kind": STRING},
        "discriminator": {
            "propertyName": "kind",
            "mapping": {"feline": "Cat", "canine": "#/components/schemas/Dog"},
        },
    },
    "Cat": {"allOf": [ref("Pet"), {"required": ["lives"]}]},
    "Dog": {"allOf": [ref("Pet"), {"required": ["name"]}]},
    "Puppy": {"allOf": [ref("Dog"), {"required": ["age"]}]},
}
PET_ERRORS: list[tuple[Any, list[tuple[str, str]]]] = [
    ({"kind": "feline", "lives": 9}, []),
    ({"kind": "feline"}, [("/lives", "required")]),
    ({"kind": "canine", "lives": 9}, [("/name", "required")]),
    ({"kind": "Cat"}, [("/lives", "required")]),
    ({"kind": "Dog", "name": "x"}, []),
    ({"kind": "Puppy", "name": "x", "age": 1}, []),
    ({"kind": "Puppy", "name": "x"}, [("/age", "required")]),
    ({"kind": "Pet"}, []),
    ({"kind": "Fish"}, [("/kind", "discriminator")]),
    ({"kind": ""}, [("/kind", "discriminator")]),
    ({"kind": 1}, [("/kind", "type")]),
    ({}, [("/kind", "required")]),
    ("Cat", [("", "type")]),
]


@pytest.mark.parametrize(("value", "errors"), PET_ERRORS)
def test_the_discriminator_of_a_parent(value: Any, errors: list[tuple[str, str]]) -> None:
    """OpenAPI 3.0.3 Discriminator Object: the value is the name of a schema, or mapped to a name or
    a reference; Composition and Inheritance: that schema is used in conjunction with the parent."""
    cls = make(ref("Pet"), **PETS)
    assert errors_of(cls, value) == errors
    assert accepts(cls, value) is (not errors)
    inside = make({"items": ref("Pet")}, **PETS)
    assert errors_of(inside, [value]) == [(f"/0{place}", keyword) for place, keyword in errors]


def test_a_discriminator_makes_instances_of_parent_and_child() -> None:
    made = make(ref("Pet"), **PETS)({"kind": "Puppy", "name": "x", "age": 1})
    assert {"Pet", "Dog", "Puppy"} <= {cls.__name__ for cls in type(made).__mro__}


# -- keywords of other types, and no keywords ----------------------------------------------------

FOREIGN: list[tuple[str, dict[str, Any]]] = [
    ("number", {"minimum": 100}),
    ("number", {"maximum": -100}),
    ("number", {"multipleOf": 1000}),
    ("number", {"format": "int32"}),
    ("string", {"minLength": 100}),
    ("string", {"maxLength": 0}),
    ("string", {"pattern": "^never$"}),
    ("string", {"format": "date-time"}),
    ("array", {"minItems": 100}),
    ("array", {"maxItems": 0}),
    ("array", {"uniqueItems": True, "maxItems": 0}),
    ("array", {"items": {"not": {}}}),
    ("object", {"minProperties": 100}),
    ("object", {"maxProperties": 0}),
    ("object", {"required": ["never"]}),
    ("object", {"properties": {"a": {"not": {}}}}),
    ("object", {"additionalProperties": False}),
]


@pytest.mark.parametrize(("kind", "schema"), FOREIGN)
def test_a_keyword_says_nothing_of_other_types(kind: str, schema: dict[str, Any]) -> None:
    """W 4.1: keywords for one type are ignored for values of the others."""
    for given, value in JSON_VALUES.items():
        assert accepts(schema, value) is (given != kind), given


@pytest.mark.parametrize(
    "extra",
    [
        {"title": "x"},
        {"description": "x"},
        {"default": 5},
        {"example": 5},
        {"deprecated": True},
        {"xml": {"name": "x"}},
        {"externalDocs": {"url": "http://localhost"}},
        {"x-anything": {"type": "string"}},
        {"$schema": "http://json-schema.org/draft-04/schema#"},
        {"$comment": "x"},
        {"id": "http://localhost/a"},
        {"examples": [5]},
        {"definitions": {"a": {"not": {}}}},
    ],
)
def test_annotations_constrain_nothing(extra: dict[str, Any]) -> None:
    """OpenAPI 3.0.3, 4.7.24 and 4.9, and what schemas that were written for JSON Schema have."""
    assert accepts({"type": "string", **extra}, "a")
    assert not accepts({"type": "string", **extra}, 1)


@pytest.mark.parametrize(
    "keyword",
    [
        "minimum",
        "maximum",
        "multipleOf",
        "minLength",
        "maxLength",
        "minItems",
        "maxItems",
        "minProperties",
        "maxProperties",
    ],
)
@pytest.mark.parametrize("limit", [None, True, False, "1", [1], {}, float("nan")])
def test_a_bound_that_is_no_number_is_refused(keyword: str, limit: Any) -> None:
    """W 5: the value of each MUST be a number; no bound is dropped in silence."""
    with pytest.raises(ValueError, match=f"{keyword} has to be a number"):
        make({keyword: limit})


@pytest.mark.parametrize(
    ("schema", "message"),
    [
        ({"multipleOf": 0}, "above 0"),
        ({"multipleOf": -1}, "above 0"),
        ({"minLength": -1}, "whole number"),
        ({"maxItems": 1.5}, "whole number"),
        ({"maxProperties": D("1E-1000000000")}, "whole number"),
        ({"enum": "abc"}, "list of values"),
        ({"enum": [float("nan")]}, "list of JSON values"),
    ],
)
def test_a_keyword_with_an_impossible_value_is_refused(
    schema: dict[str, Any], message: str
) -> None:
    """W 5.1 multipleOf, 5.6 and on for lengths, 5.20 enum."""
    with deadline(), pytest.raises(ValueError, match=message):
        make(schema)
