"""The generated classes under humanloop.model, with payloads made from openapi.yaml."""

from __future__ import annotations

import copy
import json
import pickle
from datetime import datetime, timezone
from decimal import Decimal
from typing import Any

import pytest

from humanloop import model, schemas
from humanloop.model import (
    AgentConfigResponse,
    BaseMetricResponse,
    ChatMessage,
    ConfigResponse,
    EvaluatorReturnTypeEnum,
    ExperimentConfigResponse,
    ExperimentResponse,
    ExperimentStatus,
    Feedback,
    FeedbackType,
    GenericConfigResponse,
    LogResponse,
    ModelConfigResponse,
    PositiveLabel,
    ProjectConfigResponse,
    ProjectSortBy,
    ToolConfigResponse,
)
from humanloop.schemas import DateTimeSchema, NumberSchema, SchemaValidationError

from .payloads import SCHEMAS, full, minimal, resolved
from .support import accepts, errors_of

NOW = "2024-02-29T12:30:15Z"
CONFIGS: dict[str, tuple[type, dict[str, Any]]] = {
    "model": (
        ModelConfigResponse,
        {"id": "config_1", "type": "model", "model": "gpt-4", "name": "n", "temperature": 0.5},
    ),
    "tool": (ToolConfigResponse, {"id": "config_2", "type": "tool", "name": "t", "x": 1}),
    "agent": (
        AgentConfigResponse,
        {
            "id": "config_3",
            "type": "agent",
            "name": "a",
            "agent_class": "react",
            "model_config": {"model": "gpt-4"},
        },
    ),
    "generic": (GenericConfigResponse, {"id": "config_4", "type": "generic", "name": "g"}),
}


def class_of(name: str) -> Any:
    return getattr(model, name)


def test_there_are_125_classes() -> None:
    assert len(SCHEMAS) == 125


BRANCHES = [(name, branch) for name in SCHEMAS for branch in (0, 1)]


@pytest.mark.parametrize(("name", "branch"), BRANCHES)
@pytest.mark.parametrize("sample", [minimal, full])
def test_every_model_takes_what_the_api_says(name: str, branch: int, sample: Any) -> None:
    cls = class_of(name)
    value = sample(SCHEMAS[name], branch)
    before = copy.deepcopy(value)
    for _ in range(4):
        made = cls(value)
        assert isinstance(made, cls)
        assert value == before
        assert cls.from_json(json.dumps(value)) == made
        assert schemas.to_primitive(made) == value
    assert cls(made) == made
    assert json.loads(made.to_json()) == value
    assert cls.from_json(made.to_json()) == made
    again = pickle.loads(pickle.dumps(made))
    assert again == made
    assert type(again) is type(made)
    assert copy.deepcopy(made) == made


OBJECTS = [name for name, schema in SCHEMAS.items() if schema.get("type") == "object"]


@pytest.mark.parametrize("name", OBJECTS)
def test_every_object_wants_its_required_keys_and_reads_its_declared_ones(name: str) -> None:
    cls, schema = class_of(name), SCHEMAS[name]
    assert errors_of(cls, {}) == [(f"/{key}", "required") for key in schema.get("required", ())]
    made = cls(full(schema))
    hidden = set(dir(schemas.DictSchema({})))
    for key in schema.get("properties", {}):
        assert made[key] == cls(full(schema))[key]
        if key not in hidden:
            assert getattr(made, key) is made[key]
    closed = schema.get("additionalProperties") is False
    assert accepts(cls, {**minimal(schema), "zzz": "text"}) is not closed


WRONG = {"string": 5, "number": "x", "integer": 1.5, "boolean": "true", "array": {}, "object": []}


@pytest.mark.parametrize("name", OBJECTS)
def test_every_declared_key_is_checked(name: str) -> None:
    schema = SCHEMAS[name]
    for key, sub in schema.get("properties", {}).items():
        kind = resolved(sub).get("type")
        if kind is not None:
            value = {**minimal(schema), key: WRONG[kind]}
            assert errors_of(class_of(name), value) == [(f"/{key}", "type")]
            value[key] = None
            assert accepts(class_of(name), value) is (sub.get("nullable") is True)


@pytest.mark.parametrize("name", [name for name, schema in SCHEMAS.items() if "enum" in schema])
def test_every_enum_has_its_values_as_attributes(name: str) -> None:
    cls = class_of(name)
    for text in SCHEMAS[name]["enum"]:
        made = cls(text)
        assert isinstance(made, str)
        assert made == text
        assert not accepts(cls, f"{text}?")
    assert not accepts(cls, SCHEMAS[name]["enum"][0].swapcase())


@pytest.mark.parametrize(
    ("cls", "attribute", "text"),
    [
        (ExperimentStatus, "IN_PROGRESS", "In progress"),
        (ExperimentStatus, "INITIALIZED", "Initialized"),
        (ProjectSortBy, "CREATED_AT", "created_at"),
        (ProjectSortBy, "NAME", "name"),
        (EvaluatorReturnTypeEnum, "BOOLEAN", "boolean"),
        (FeedbackType, "RATING", "rating"),
    ],
)
def test_enum_attributes_are_instances(cls: Any, attribute: str, text: str) -> None:
    """The names are those of version 0.5."""
    made = getattr(cls, attribute)
    assert made == text
    assert isinstance(made, cls)
    assert getattr(cls(text), attribute) == text
    with pytest.raises(AttributeError):
        _ = cls.NOTHING


@pytest.mark.parametrize("kind", CONFIGS)
def test_a_config_is_the_class_of_its_kind(kind: str) -> None:
    cls, value = CONFIGS[kind]
    alone: Any = ConfigResponse(value)
    inside: Any = LogResponse(id="data_1", config=value)["config"]
    for made in (alone, inside):
        assert isinstance(made, cls)
        assert isinstance(made, ConfigResponse)
        others = {other for other, _ in CONFIGS.values()} - {cls}
        assert not any(isinstance(made, other) for other in others)
        assert made == value


def log(**keys: Any) -> dict[str, Any]:
    return {"id": "data_1", "config": CONFIGS["model"][1], **keys}


def test_a_log() -> None:
    value = log(
        created_at=datetime(2024, 2, 29, tzinfo=timezone.utc),
        duration=0.7,
        messages=[{"role": "user", "content": "hi", "name": None}],
        feedback=[{"type": "rating", "value": "good"}, {"type": "mine", "value": 1}],
        inputs={"a": [1, {"b": None}]},
        provider_response="raw",
        model_config={
            "project_id": "pr_1",
            "project_name": "p",
            "created_at": NOW,
            "updated_at": NOW,
            "last_used": NOW,
            "config": CONFIGS["tool"][1],
        },
        output="answer",
        more=True,
    )
    for _ in range(4):
        made: Any = LogResponse(value)
        assert LogResponse(**value) == made
        assert isinstance(made.created_at, DateTimeSchema)
        assert made.created_at.as_datetime == value["created_at"]
        assert isinstance(made.duration, NumberSchema)
        assert made.duration == Decimal("0.7")
        assert type(made.output) is str
        assert isinstance(made.messages, tuple)
        assert isinstance(made.messages[0], ChatMessage)
        assert made.messages[0].name == None  # noqa: E711
        assert all(isinstance(item, Feedback) for item in made.feedback)
        assert isinstance(made.feedback[0].type, FeedbackType)
        assert not isinstance(made.feedback[1].type, FeedbackType)
        assert isinstance(made.model_config, ProjectConfigResponse)
        assert isinstance(made.model_config.config, ToolConfigResponse)
        assert made.config.temperature == Decimal("0.5")
        assert made["inputs"] == {"a": (1, {"b": None})}
        assert made["more"] == True  # noqa: E712
        assert not hasattr(made, "error")
    assert isinstance(LogResponse(log(feedback={"type": "rating", "value": 1})).feedback, Feedback)


def test_an_experiment() -> None:
    metric = {
        "id": "metric_1",
        "name": "m",
        "description": "d",
        "code": "c",
        "default": True,
        "active": False,
        "created_at": NOW,
        "updated_at": NOW,
    }
    config = {
        "id": "config_1",
        "display_name": "one",
        "trials_count": 3,
        "active": True,
        "mean": 0.1,
        "config": CONFIGS["model"][1],
        "created_at": NOW,
        "updated_at": NOW,
    }
    made: Any = ExperimentResponse(
        id="exp_1",
        project_id="pr_1",
        name="e",
        status="In progress",
        metric=metric,
        positive_labels=[{"type": "rating", "value": "good"}],
        created_at=NOW,
        updated_at=NOW,
        configs=[config],
    )
    assert isinstance(made.status, ExperimentStatus)
    assert made["status"] == ExperimentStatus.IN_PROGRESS == "In progress"
    assert isinstance(made.metric, BaseMetricResponse)
    assert made.metric.active == False  # noqa: E712
    assert isinstance(made.positive_labels[0], PositiveLabel)
    assert isinstance(made.configs[0], ExperimentConfigResponse)
    assert isinstance(made.configs[0].config, ModelConfigResponse)
    assert made.configs[0].trials_count.as_int == 3
    assert str(made.configs[0].mean) == "0.1"


def test_all_errors_of_a_bad_log_come_with_their_places() -> None:
    bad = {
        "config": {"id": "c", "type": "model", "temprature": 1},
        "created_at": "2024-13-01",
        "duration": float("nan"),
        "messages": [{"role": "boss"}, 5],
        "feedback": {"type": "rating"},
    }
    assert set(errors_of(LogResponse, bad)) == {
        ("/id", "required"),
        ("/config/model", "required"),
        ("/config/temprature", "additionalProperties"),
        ("/created_at", "format"),
        ("/duration", "type"),
        ("/messages/0/role", "enum"),
        ("/messages/1", "type"),
        ("/feedback/value", "required"),
    }
    with pytest.raises(SchemaValidationError, match="'temperature'"):
        LogResponse(bad)


def test_an_unknown_model_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError):
        _ = model.NothingResponse  # type: ignore[attr-defined]
