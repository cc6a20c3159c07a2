"""`schema_from_openapi`: classes made at run time, and bad schemas refused with their place."""

from __future__ import annotations

import inspect
from typing import Any

import pytest

from humanloop.schemas import (
    AnyTypeSchema,
    BoolSchema,
    DictSchema,
    ListSchema,
    NumberSchema,
    Schema,
    StrSchema,
    base_of,
    schema_from_openapi,
)

from .support import accepts, errors_of, make


@pytest.mark.parametrize(
    ("schema", "base"),
    [
        ({"type": "object"}, DictSchema),
        ({"type": "array", "items": {}}, ListSchema),
        ({"type": "string"}, StrSchema),
        ({"type": "number"}, NumberSchema),
        ({"type": "integer"}, NumberSchema),
        ({"type": "boolean"}, BoolSchema),
        ({}, AnyTypeSchema),
        ({"oneOf": [{}]}, AnyTypeSchema),
        ({"type": "string", "nullable": True}, AnyTypeSchema),
        ({"type": "string", "format": "binary"}, AnyTypeSchema),
    ],
)
def test_the_base_is_that_of_the_type(schema: dict[str, Any], base: type) -> None:
    cls = schema_from_openapi(schema, name="Some")
    assert issubclass(cls, base)
    assert issubclass(cls, Schema)
    assert cls.__name__ == "Some"
    assert base_of(schema) is base


def test_a_nullable_class_takes_both() -> None:
    cls = make({"type": "object", "nullable": True, "properties": {"a": {"type": "string"}}})
    assert cls(None) == None  # noqa: E711
    assert isinstance(cls(None), cls)
    assert isinstance(cls({"a": "x"}), cls)
    assert cls({"a": "x"}).a == "x"
    assert errors_of(cls, {"a": 1}) == [("/a", "type")]


def test_the_default_name_and_the_description() -> None:
    cls = schema_from_openapi({"type": "string", "description": "What it is."})
    assert cls.__name__ == "Schema"
    assert cls.__doc__ == "What it is."


def test_components_may_be_a_components_object_or_its_schemas() -> None:
    use = {"$ref": "#/components/schemas/A"}
    for components in ({"A": {"type": "string"}}, {"schemas": {"A": {"type": "string"}}}):
        cls = schema_from_openapi(use, components=components)
        assert accepts(cls, "a")
        assert not accepts(cls, 1)


def test_changing_the_source_later_changes_nothing() -> None:
    components: dict[str, Any] = {"A": {"type": "string", "enum": ["a"]}}
    source: dict[str, Any] = {
        "type": "object",
        "required": ["k"],
        "properties": {"k": {"$ref": "#/components/schemas/A"}},
    }
    cls = schema_from_openapi(source, components=components)
    components["A"]["enum"].append("b")
    components["A"]["type"] = "number"
    source["required"].append("z")
    source["properties"].clear()
    assert accepts(cls, {"k": "a"})
    assert not accepts(cls, {"k": "b"})
    assert not accepts(cls, {})


def test_making_a_class_does_not_change_the_schema() -> None:
    schema = {"type": "array", "items": {"enum": [1]}, "x-note": {"a": 1}}
    make(schema)([1])
    assert schema == {"type": "array", "items": {"enum": [1]}, "x-note": {"a": 1}}


def test_two_calls_are_independent() -> None:
    first = make({"$ref": "#/components/schemas/A"}, A={"type": "string"})
    second = make({"$ref": "#/components/schemas/A"}, A={"type": "number"})
    assert accepts(first, "a")
    assert not accepts(second, "a")


BAD: list[tuple[Any, str]] = [
    ([], "schema"),
    ("string", "schema"),
    (None, "schema"),
    ({"type": "null"}, "type"),
    ({"type": "text"}, "type"),
    ({"type": ["string", "null"]}, "type"),
    ({"type": 5}, "type"),
    ({"properties": []}, "properties"),
    ({"properties": {"a": 5}}, "properties/a"),
    ({"properties": {"a": {"items": [{}]}}}, "properties/a.*items"),
    ({"items": True}, "items"),
    ({"additionalProperties": 3}, "additionalProperties"),
    ({"additionalProperties": {"type": "x"}}, "additionalProperties"),
    ({"required": "id"}, "required"),
    ({"required": [5]}, "required"),
    ({"allOf": {}}, "allOf"),
    ({"allOf": []}, "allOf"),
    ({"anyOf": "x"}, "anyOf"),
    ({"oneOf": [{}, 5]}, "oneOf"),
    ({"not": []}, "not"),
    ({"nullable": "yes", "type": "string"}, "nullable"),
    ({"minimum": "3"}, "minimum"),
    ({"minimum": True}, "minimum"),
    ({"maximum": float("nan")}, "maximum"),
    ({"exclusiveMinimum": 3}, "exclusiveMinimum"),
    ({"minimum": 1, "exclusiveMinimum": 3}, "exclusiveMinimum"),
    ({"maximum": 1, "exclusiveMaximum": "x"}, "exclusiveMaximum"),
    ({"multipleOf": 0}, "multipleOf"),
    ({"multipleOf": -1}, "multipleOf"),
    ({"minLength": -1}, "minLength"),
    ({"maxLength": 1.5}, "maxLength"),
    ({"minItems": "1"}, "minItems"),
    ({"maxProperties": True}, "maxProperties"),
    ({"uniqueItems": "yes"}, "uniqueItems"),
    ({"pattern": "("}, "pattern"),
    ({"pattern": 5}, "pattern"),
    ({"enum": "abc"}, "enum"),
    ({"enum": None}, "enum"),
    ({"enum": 5}, "enum"),
    ({"enum": [object()]}, "enum"),
    ({"$ref": 5}, r"\$ref"),
    ({"required": True}, "required"),
    ({"properties": {1: {}}}, "properties"),
    ({"id": {"type": "string"}}, "id"),
    ({"title": 5}, "title"),
    ({"deprecated": "yes"}, "deprecated"),
    ({1: "a key that is no string"}, "1"),
    (
        {"oneOf": [{}], "discriminator": {"propertyName": "t", "mapping": {"a": 5}}},
        "discriminator",
    ),
    ({"$ref": "#/nothing"}, "nothing"),
    ({"$ref": "#/components/schemas/Nothing"}, "Nothing"),
    ({"$ref": "other.yaml#/X"}, "other.yaml"),
    ({"properties": {"a": {"$ref": "#/components/schemas/Nothing"}}}, "Nothing"),
    ({"properties": {"a": {"$ref": "#/components/schemas/Bad"}}}, "Bad"),
    ({"oneOf": [{}], "discriminator": "type"}, "discriminator"),
    ({"oneOf": [{}], "discriminator": {}}, "discriminator"),
    (
        {
            "oneOf": [{"$ref": "#/components/schemas/A"}],
            "discriminator": {"propertyName": "t", "mapping": {"a": "Nothing"}},
        },
        "Nothing",
    ),
]


@pytest.mark.parametrize(("schema", "named"), BAD)
def test_a_bad_schema_is_refused_at_once_by_name_and_place(schema: Any, named: str) -> None:
    """OpenAPI 3.0.3, Schema Object: what each keyword may hold."""
    with pytest.raises(ValueError, match=named):
        schema_from_openapi(schema, components={"A": {}, "Bad": {"type": "bad"}})


def test_the_place_of_a_bad_schema_is_a_path() -> None:
    schema = {"properties": {"a": {"items": {"anyOf": [{}, {"minLength": -1}]}}}}
    with pytest.raises(ValueError, match="properties/a/items/anyOf/1"):
        make(schema)


@pytest.mark.parametrize(
    ("keyword", "likely"),
    [
        ("minlength", "minLength"),
        ("maxlenght", "maxLength"),
        ("requierd", "required"),
        ("additonalProperties", "additionalProperties"),
        ("nulable", "nullable"),
        ("anyOff", "anyOf"),
    ],
)
@pytest.mark.parametrize(
    ("place", "whole"),
    [
        ("#/", lambda part: part),
        ("#/items/", lambda part: {"items": part}),
        ("#/properties/a~1b/", lambda part: {"properties": {"a/b": part}}),
        ("#/additionalProperties/", lambda part: {"additionalProperties": part}),
        ("#/allOf/0/", lambda part: {"allOf": [part]}),
        ("#/oneOf/1/", lambda part: {"oneOf": [{"type": "string"}, part]}),
        ("#/not/", lambda part: {"not": part}),
    ],
)
def test_a_misspelled_keyword_is_refused_with_its_place(
    keyword: str, likely: str, place: str, whole: Any
) -> None:
    with pytest.raises(ValueError, match="unknown keyword") as caught:
        make(whole({keyword: 1}))
    assert f"{place}{keyword}:" in str(caught.value)
    assert f"did you mean {likely!r}?" in str(caught.value)


@pytest.mark.parametrize("keyword", ["patternProperties", "const", "if", "prefixItems", "$defs"])
def test_a_keyword_of_other_drafts_is_refused(keyword: str) -> None:
    with pytest.raises(ValueError, match="is a keyword of JSON Schema that"):
        make({"properties": {"a": {keyword: {}}}})


def test_a_misspelled_keyword_is_found_in_what_is_referred_to() -> None:
    with pytest.raises(ValueError, match=r"A#/properties/z/maxlength"):
        make({"$ref": "#/components/schemas/A"}, A={"properties": {"z": {"maxlength": 1}}})
    with pytest.raises(ValueError, match=r"#/definitions/a/maxlength"):
        make({"items": {"$ref": "#/definitions/a"}, "definitions": {"a": {"maxlength": 1}}})


@pytest.mark.parametrize(
    "schema",
    [
        {"properties": {"patternProperties": {"type": "string"}, "minlength": {}}},
        {"enum": [{"minlength": 3}]},
        {"default": {"const": 1}, "example": {"if": {}}, "x-note": {"then": {}}},
        {"discriminator": {"propertyName": "a", "x-note": 1}, "oneOf": [{}]},
        {"$ref": "#/definitions/a", "minlength": 3, "definitions": {"a": {"type": "string"}}},
    ],
)
def test_what_only_looks_like_a_keyword_is_none(schema: dict[str, Any]) -> None:
    make(schema)


@pytest.mark.parametrize("kind", ["object", "array"])
def test_components_refer_to_each_other_as_long_as_they_like(kind: str) -> None:
    refs = [{"$ref": f"#/components/schemas/S{number}"} for number in range(2_000)]
    chain: dict[str, Any] = {
        f"S{number}": {"type": "object", "properties": {"next": ref}}
        if kind == "object"
        else {"type": "array", "items": ref}
        for number, ref in enumerate(refs[1:])
    }
    cls = make(refs[0], **chain, S1999={"type": "string"})
    value: Any = {"next": {"next": {}}} if kind == "object" else [[[]]]
    assert cls(value).to_primitive() == value
    assert len(str(inspect.signature(cls))) < 400
    with pytest.raises(ValueError, match="there is no schema 'S1999'"):
        make(refs[0], **chain)
