"""`readOnly` and `writeOnly`: OpenAPI 3.0.3, Schema Object, fixed fields."""

from __future__ import annotations

from typing import Any

import pytest

from humanloop import ApiValueError
from humanloop.schemas import SchemaValidationError

from .support import make

USER = {
    "type": "object",
    "required": ["id", "name", "password"],
    "properties": {
        "id": {"type": "string", "readOnly": True},
        "name": {"type": "string"},
        "password": {"type": "string", "writeOnly": True},
    },
}
SENT = {"name": "Ada", "password": "x"}
GOT = {"id": "u1", "name": "Ada"}


def wrong(cls: Any, value: Any, direction: Any) -> list[tuple[str, str]]:
    for _ in range(3):  # also when the class knows the shape
        try:
            cls.validate(value, direction)
            found = []
        except SchemaValidationError as error:
            found = [(detail.pointer, detail.keyword) for detail in error.errors]
    return found


@pytest.mark.parametrize(
    ("value", "direction", "errors"),
    [
        (SENT, "request", []),
        (GOT, "response", []),
        (SENT, "response", [("/id", "required"), ("/password", "writeOnly")]),
        (GOT, "request", [("/password", "required"), ("/id", "readOnly")]),
        ({"name": "Ada"}, "request", [("/password", "required")]),
        ({"name": "Ada"}, "response", [("/id", "required")]),
        ({"name": "Ada"}, None, []),
        ({**SENT, **GOT}, None, []),
        ({}, None, [("/name", "required")]),
    ],
)
@pytest.mark.parametrize("where", ["itself", "by reference", "in an item", "in a branch"])
def test_a_property_of_one_direction_is_required_and_allowed_in_it_alone(
    value: Any, direction: Any, errors: list[tuple[str, str]], where: str
) -> None:
    """ "If the property is in the required list, the required will take effect on the response
    only" (the request only); "SHOULD NOT be sent as part of the request" (the response)."""
    reference = {"$ref": "#/components/schemas/User"}
    schema: dict[str, Any] = {
        "itself": USER,
        "by reference": {"properties": {"of": reference}},
        "in an item": {"items": reference},
        "in a branch": {"anyOf": [reference, {"type": "string"}]},
    }[where]
    pointer = ""
    if where == "by reference":
        value, pointer = {"of": value}, "/of"
    elif where == "in an item":
        value, pointer = [value], "/0"
    cls = make(schema, User=USER)
    assert wrong(cls, value, direction) == [(pointer + at, keyword) for at, keyword in errors]


def test_the_flag_may_stand_in_what_a_property_refers_to() -> None:
    cls = make(
        {"required": ["id"], "properties": {"id": {"$ref": "#/components/schemas/Id"}}},
        Id={"type": "string", "readOnly": True},
    )
    assert wrong(cls, {}, "request") == []
    assert wrong(cls, {}, "response") == [("/id", "required")]


def test_the_flag_means_nothing_outside_of_properties() -> None:
    """ "Relevant only for Schema "properties" definitions"."""
    cls = make({"items": {"type": "string", "readOnly": True}})
    assert wrong(cls, ["a"], "request") == []


def test_json_text_goes_a_direction_too() -> None:
    cls = make(USER)
    assert cls.from_json('{"id": "u1", "name": "Ada"}', direction="response")["id"] == "u1"
    with pytest.raises(SchemaValidationError, match="only the server sets it"):
        cls.from_json('{"id": "u1", "name": "Ada"}', direction="request")


def test_a_child_that_a_discriminator_leads_to_is_looked_at() -> None:
    """Section Composition and Inheritance: the child is found by the value alone."""
    parent = {
        "type": "object",
        "discriminator": {"propertyName": "kind"},
        "properties": {"kind": {"type": "string"}},
    }
    child = {"allOf": [{"$ref": "#/components/schemas/Parent"}, USER]}
    cls = make({"$ref": "#/components/schemas/Parent"}, Parent=parent, Child=child)
    assert wrong(cls, {"kind": "Child", **SENT}, "request") == []
    assert wrong(cls, {"kind": "Child", **SENT}, "response") == [
        ("/id", "required"),
        ("/password", "writeOnly"),
    ]


@pytest.mark.parametrize("direction", ["up", "", "Request", 1])
@pytest.mark.parametrize("schema", [USER, {"type": "object"}])
def test_another_direction_is_refused(schema: Any, direction: Any) -> None:
    cls = make(schema)
    message = "^direction has to be 'request' or 'response', got "
    for _ in range(2):
        with pytest.raises(ApiValueError, match=message):
            cls.validate({}, direction)
        with pytest.raises(ApiValueError, match=message):
            cls.from_json("{}", direction=direction)
