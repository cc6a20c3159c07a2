"""Each keyword that bounds a value: OpenAPI 3.0.3 Schema Object, and JSON Schema Validation
(draft-wright-json-schema-validation-00, "W" below) that it refers to."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from .support import accepts, deadline, errors_of

D = Decimal
JSON_VALUES: dict[str, Any] = {
    "object": {"a": 1},
    "array": [1],
    "string": "a",
    "number": D("0.5"),
    "boolean": True,
    "null": None,
}


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
        (10**30, True),
        (D("3"), True),
        (1.0, False),
        (D("1.0"), False),
        (D("1E+2"), False),
        (D("1.5"), False),
        (True, False),
        ("1", False),
    ],
)
def test_an_integer_has_no_fraction_and_no_exponent_part(value: Any, valid: bool) -> None:
    """OpenAPI 3.0.3 Data Types: W 4.2's integer, a number without fraction or exponent part."""
    assert accepts({"type": "integer"}, value) is valid


@pytest.mark.parametrize("kind", ["object", "array", "string", "number", "integer", "boolean"])
def test_nullable_allows_null_beside_the_type(kind: str) -> None:
    """OpenAPI 3.0.3 `nullable`."""
    schema = {"type": kind, "nullable": True}
    assert accepts(schema, None)
    assert not accepts({"type": kind}, None)
    assert not accepts({"type": kind, "nullable": False}, None)


def test_a_nullable_integer_takes_integers() -> None:
    assert accepts({"type": "integer", "nullable": True}, 3)


@pytest.mark.parametrize(
    ("schema", "valid"),
    [
        ({"type": "string", "nullable": True, "enum": ["a"]}, False),
        ({"type": "string", "nullable": True, "enum": ["a", None]}, True),
        ({"type": "string", "enum": ["a", None]}, False),
        ({"nullable": True, "allOf": [{"type": "string"}]}, False),
        ({"nullable": True, "anyOf": [{"type": "string"}]}, False),
        ({"allOf": [{"type": "string", "nullable": True}]}, True),
        ({"nullable": False}, True),
    ],
)
def test_nullable_widens_type_and_nothing_else(schema: dict[str, Any], valid: bool) -> None:
    """OpenAPI 3.0.3 `nullable`: it speaks of the `type` of the same Schema Object."""
    assert accepts(schema, None) is valid


@pytest.mark.parametrize(
    ("keyword", "value", "valid"),
    [
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
        ({"maximum": 3}, 3, True),
        ({"maximum": 3}, 4, False),
        ({"maximum": -2}, -1, False),
        ({"maximum": 3, "exclusiveMaximum": False}, 3, True),
        ({"maximum": 3, "exclusiveMaximum": True}, 3, False),
        ({"maximum": 3, "exclusiveMaximum": True}, 2, True),
        ({"maximum": 9007199254740992}, 9007199254740993, False),
        ({"exclusiveMaximum": True}, 10, True),
        ({"exclusiveMinimum": True}, -10, True),
        ({"maximum": 10}, D("1E+1000000000"), False),
        ({"minimum": 10}, D("1E-1000000000"), False),
        ({"maximum": D("1E+1000000000")}, D("1E+1000000000"), True),
    ],
)
def test_bounds(keyword: dict[str, Any], value: Any, valid: bool) -> None:
    """W 5.2 to 5.5: exclusive bounds are booleans that change the bound beside them."""
    with deadline():
        assert accepts(keyword, value) is valid
        assert accepts({"type": "number", **keyword}, value) is valid


@pytest.mark.parametrize("kind", ["integer", "number"])
def test_bounds_hold_for_ints(kind: str) -> None:
    assert not accepts({"type": kind, "minimum": 3}, 2)
    assert not accepts({"type": kind, "multipleOf": 2}, 3)


@pytest.mark.parametrize(
    ("step", "value", "valid"),
    [
        (2, 7, False),
        (2, 8, True),
        (2, 0, True),
        (2, -8, True),
        (0.1, 0.3, True),
        (0.01, 0.075, False),
        (0.0001, 0.0075, True),
        (0.5, D("1E+308"), True),
        (D("1E-8"), 12391239123, True),
        (0.123456789, D("1E+308"), False),
        (3, D("1E+1000000000"), False),
        (7, D("1E-1000000000"), False),
        (D("1E-1000000000"), 1, True),
        (D("1E+1000000000"), 1, False),
        (D("1E+1000000000"), 0, True),
        (1, D("1.0"), True),
        (D("1.5"), D("4.50"), True),
        (10**40, 3 * 10**40, True),
        (10**40, 3 * 10**40 + 1, False),
    ],
)
def test_multiple_of_is_exact_at_any_exponent(step: Any, value: Any, valid: bool) -> None:
    """W 5.1."""
    with deadline():
        assert accepts({"multipleOf": step}, value) is valid


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
        ({"minItems": 1}, [], False),
        ({"minItems": 1}, [None], True),
        ({"maxItems": 1}, [1, 2], False),
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


@pytest.mark.parametrize(
    ("items", "unique"),
    [
        ([], True),
        ([1, 2], True),
        ([1, 1], False),
        ([1, D("1.00")], False),
        ([D("1E+2"), 100], False),
        ([0, D("-0.0")], False),
        ([1, True], True),
        ([0, False], True),
        ([[1], [True]], True),
        ([{"a": 1}, {"a": True}], True),
        ([[0], [False], [None], [""]], True),
        (["1", 1], True),
        ([None, None], False),
        ([{"a": 1, "b": 2}, {"b": 2, "a": 1}], False),
        ([{"a": 1}, {"a": 1, "b": 2}], True),
        ([[1, 2], [2, 1]], True),
        ([[1, 2], [1, D("2.0")]], False),
        ([{}, []], True),
        ([["object"], "object"], True),
        ([D("1E+1000000000"), D("10E+999999999")], False),
        ([D("1E+1000000000"), D("1E-1000000000")], True),
        ([123456789012345678901234567890, D("123456789012345678901234567891")], True),
    ],
)
def test_unique_items_compares_json_values(items: list[Any], unique: bool) -> None:
    """W 5.12, and JSON Schema Core 4.3 (equality): numbers by value, true is not 1."""
    with deadline():
        assert accepts({"uniqueItems": True}, items) is unique
        assert accepts({"uniqueItems": False}, items)


@pytest.mark.parametrize(
    ("options", "value", "valid"),
    [
        (["a", "b"], "b", True),
        (["a", "b"], "B", False),
        ([1], 1, True),
        ([1], D("1.0"), True),
        ([1], True, False),
        ([True], 1, False),
        ([True], True, True),
        ([0], False, False),
        ([False], D("0.0"), False),
        ([None], None, True),
        (["None"], None, False),
        ([[1, {"a": 2}]], [1, {"a": 2}], True),
        ([[1, {"a": 2}]], [1, {"a": 2, "b": 3}], False),
        ([[True]], [1], False),
        ([{"a": False}], {"a": 0}, False),
        ([0.1], D("0.1"), True),
        ([D("1E+1000000000")], D("1E+1000000000"), True),
        ([1], D("1E+1000000000"), False),
    ],
)
def test_enum_compares_json_values(options: list[Any], value: Any, valid: bool) -> None:
    """W 5.20, of any type."""
    with deadline():
        assert accepts({"enum": options}, value) is valid


def test_integer_enums_work() -> None:
    schema = {"type": "integer", "enum": [1, 2]}
    assert accepts(schema, 2)
    assert not accepts(schema, 3)


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


def test_required_does_not_need_properties_and_default_fills_nothing() -> None:
    """OpenAPI 3.0.3 `default`: what the receiver assumes; validation adds nothing."""
    schema = {"type": "object", "properties": {"a": {"type": "string", "default": "x"}}}
    assert not accepts({**schema, "required": ["a"]}, {})
    assert accepts(schema, {})


@pytest.mark.parametrize(
    ("schema", "value", "errors"),
    [
        ({"properties": {"a": {"type": "string"}}}, {"a": "x", "b": 1}, []),
        ({"properties": {"a": {"type": "string"}}}, {"a": 1}, [("/a", "type")]),
        ({"properties": {"a": {"type": "string"}}}, [1], []),
        ({"additionalProperties": False}, {}, []),
        ({"additionalProperties": False}, {"a": 1}, [("/a", "additionalProperties")]),
        ({"additionalProperties": False}, ["a"], []),
        ({"additionalProperties": True, "properties": {"a": {}}}, {"b": 1}, []),
        ({"additionalProperties": {}}, {"b": 1}, []),
        ({"additionalProperties": {"type": "string"}}, {"b": 1, "c": "x"}, [("/b", "type")]),
        (
            {"properties": {"a": {"type": "number"}}, "additionalProperties": {"type": "string"}},
            {"a": 1, "b": "x"},
            [],
        ),
        (
            {"properties": {"a": {}}, "additionalProperties": False},
            {"a": 1, "b": 2},
            [("/b", "additionalProperties")],
        ),
    ],
)
def test_properties_and_additional_properties(
    schema: dict[str, Any], value: Any, errors: list[tuple[str, str]]
) -> None:
    """W 5.16, 5.18."""
    assert errors_of(schema, value) == errors
    assert accepts(schema, value) is (not errors)


def test_items_holds_for_every_item() -> None:
    """W 5.9, with one schema (OpenAPI 3.0.3)."""
    schema = {"type": "array", "items": {"type": "string"}}
    assert accepts(schema, ["a", "b"])
    assert accepts(schema, [])
    assert errors_of(schema, ["a", 1, "b", None]) == [("/1", "type"), ("/3", "type")]
    assert accepts({"items": {"type": "string"}}, {"0": 1})


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
    ("array", {"items": {"not": {}}}),
    ("object", {"minProperties": 100}),
    ("object", {"maxProperties": 0}),
    ("object", {"required": ["never"]}),
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
        {"format": "password"},
        {"format": "something-else"},
    ],
)
def test_annotations_constrain_nothing(extra: dict[str, Any]) -> None:
    """OpenAPI 3.0.3, 4.7.24 and 4.9; unknown formats, Data Types: "an open value"."""
    assert accepts({"type": "string", **extra}, "a")
    assert not accepts({"type": "string", **extra}, 1)
