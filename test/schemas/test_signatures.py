"""The signature of a class, as `inspect.signature` and `help` show it."""

from __future__ import annotations

import inspect
import pydoc
from typing import Any

import pytest

from humanloop.model import (
    ChatMessage,
    ConfigResponse,
    CreateTestcaseRequestInputs,
    EvaluatorsListResponse,
    ExperimentStatus,
    FeedbackSubmitRequest,
    LogResponse,
    ModelConfigRequest,
    ModelConfigResponse,
)
from humanloop.schemas import (
    AnyTypeSchema,
    DictSchema,
    ListSchema,
    NumberSchema,
    StrSchema,
    UUIDSchema,
    schema_from_openapi,
    unset,
)

MESSAGE = (
    "(mapping: Mapping[str, Any] = unset, /, *, "
    "role: ChatRole | Literal['user', 'assistant', 'system', 'tool'], content: str = unset, "
    "name: str | None = unset, tool_call: ToolCall | Mapping[str, Any] = unset, **extra: Any)"
)


@pytest.mark.parametrize(
    ("cls", "signature"),
    [
        (ChatMessage, MESSAGE),
        (ExperimentStatus, "(value: Literal['Initialized', 'In progress'], /)"),
        (EvaluatorsListResponse, "(value: Sequence[EvaluatorResponse | Mapping[str, Any]], /)"),
        (
            CreateTestcaseRequestInputs,
            "(mapping: Mapping[str, str] = unset, /, **extra: str)",
        ),
        (DictSchema, "(mapping: Mapping[str, Any] = unset, /, **extra: Any)"),
        (AnyTypeSchema, "(value: Any = unset, /, **extra: Any)"),
        (ListSchema, "(value: Sequence[Any], /)"),
        (StrSchema, "(value: str, /)"),
        (UUIDSchema, "(value: str | UUID, /)"),
        (NumberSchema, "(value: Decimal | int | float, /)"),
    ],
)
def test_signatures(cls: Any, signature: str) -> None:
    assert str(inspect.signature(cls)) == signature


def test_required_keys_have_no_default() -> None:
    parameters = inspect.signature(ModelConfigRequest).parameters
    assert parameters["model"].default is inspect.Parameter.empty
    assert parameters["temperature"].default is unset
    assert parameters["temperature"].annotation == "Decimal | int | float"
    assert "extra" not in parameters


def test_a_choice_of_objects_takes_any_keywords() -> None:
    assert [*inspect.signature(ConfigResponse).parameters] == ["mapping", "extra"]
    assert "data_id" in inspect.signature(FeedbackSubmitRequest).parameters


def test_the_class_of_a_value_of_several_schemas_has_the_keywords_of_the_object() -> None:
    log: Any = LogResponse(id="d", config={"id": "c", "type": "model", "model": "m"})
    expected = inspect.signature(ModelConfigResponse).parameters.keys()
    assert inspect.signature(type(log["config"])).parameters.keys() == expected


def test_a_subclass_has_that_of_its_own_constructor_if_it_has_one() -> None:
    class Point(DictSchema):
        __openapi__ = {"type": "object", "properties": {"x": {"type": "number"}}}  # noqa: RUF012

    class Named(Point):
        """A subclass without a constructor."""

    class Shifted(Named):
        def __init__(self, by: float) -> None:
            super().__init__({"x": by})

    assert inspect.signature(Named) == inspect.signature(Point)
    assert inspect.signature(Shifted).parameters.keys() == {"by"}


def test_help_begins_with_it() -> None:
    text = pydoc.render_doc(ChatMessage, renderer=pydoc.plaintext)
    assert "role: ChatRole | Literal['user', 'assistant', 'system', 'tool']" in text
    assert "**extra: Any" in text


def test_no_key_is_in_the_way_of_another_parameter() -> None:
    cls: Any = schema_from_openapi(
        {
            "type": "object",
            "required": ["cls", "secret", "from"],
            "additionalProperties": False,
            "properties": {
                "cls": {},
                "mapping": {},
                "extra": {"type": "integer", "nullable": True},
                "from": {},
                "a-b": {},
                "secret": {"type": "string", "writeOnly": True},
            },
        }
    )
    assert str(inspect.signature(cls)) == (
        "(_mapping: Mapping[str, Any] = unset, /, *, cls: Any, mapping: Any = unset, "
        "extra: Decimal | int | None = unset, secret: str = unset, **_extra: Any)"
    )
    made = cls({"from": 1}, cls=2, mapping=3, extra=4, **{"a-b": 5})
    assert made == {"from": 1, "cls": 2, "mapping": 3, "extra": 4, "a-b": 5}


def test_schemas_that_contain_themselves_and_parts_by_all_of() -> None:
    components = {
        "Text": {
            "anyOf": [
                {"type": "string"},
                {"type": "array", "items": {"$ref": "#/components/schemas/Text"}},
            ]
        },
        "Base": {
            "type": "object",
            "required": ["children"],
            "properties": {"children": {"type": "array", "items": {"$ref": "#"}}},
        },
    }
    schema = {
        "allOf": [
            {"$ref": "#/components/schemas/Base"},
            {
                "type": "object",
                "properties": {"text": {"$ref": "#/components/schemas/Text"}},
                "additionalProperties": {"type": "boolean"},
            },
        ]
    }
    cls = schema_from_openapi(schema, components=components, name="Tree")
    assert str(inspect.signature(cls)) == (
        "(mapping: Mapping[str, Any] = unset, /, *, children: Sequence[Mapping[str, Any]], "
        "text: str | Sequence[Text] = unset, **extra: bool)"
    )


def test_keys_that_python_reads_as_another_name_are_no_keywords() -> None:
    cls = schema_from_openapi({"type": "object", "properties": {"\ufb01": {}, "fi": {}}})
    assert str(inspect.signature(cls)) == (
        "(mapping: Mapping[str, Any] = unset, /, *, fi: Any = unset, **extra: Any)"
    )
