"""What is told of an answer that differs from the document: what, where, and nothing secret."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest

from humanloop import model
from humanloop.apis.operations import (
    EVALUATORS_DELETE,
    EXPERIMENTS_LIST,
    OPERATIONS,
    PROJECTS_DELETE_DEPLOYED_CONFIG,
    PROJECTS_EXPORT,
    PROJECTS_GET,
)
from humanloop.drift import MAX_FINDINGS, Drift, DriftReport, find_drift
from humanloop.operation import Operation
from humanloop.schemas import SchemaValidationError, schema_from_openapi
from humanloop.testing import sample

LOG: Any = sample(model.LogResponse)
PAGE: Any = {"records": [LOG], "page": 0, "size": 10, "total": 1}
EXPERIMENT: Any = sample(model.ExperimentResponse)
PROJECT: Any = sample(model.ProjectResponse)


def drift_of(operation: Operation, body: Any) -> DriftReport | None:
    """The report for an answer, as a client asks for it."""
    assert operation.response_schema is not None
    data = json.dumps(body).encode()
    try:
        instance: Any = operation.response_schema.from_json(data, direction="response")
    except SchemaValidationError as error:
        return find_drift(operation, data, error)
    return find_drift(operation, instance)


def findings(operation: Operation, body: Any) -> list[tuple[str, str, Any, str]]:
    report = drift_of(operation, body)
    return [(d.kind, d.pointer, d.value, d.schema) for d in report.findings] if report else []


def operation_of(schema: dict[str, Any], components: dict[str, Any] | None = None) -> Operation:
    """An operation that is answered by `schema`."""
    operation = Operation("things.get", "GET", "/things", response="Thing")
    made = schema_from_openapi(schema, components=components or {}, name="Thing")
    operation.__dict__["response_schema"] = made
    return operation


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.name)
def test_an_answer_as_the_document_has_it(operation: Operation) -> None:
    body = sample(operation)
    if operation.response is None:
        assert find_drift(operation, body) is None
    else:
        assert drift_of(operation, body) is None
        raw = json.dumps(body).encode()
        assert find_drift(operation, raw, SchemaValidationError([])) is None


def test_undeclared_keys_wherever_they_are() -> None:
    page = copy.deepcopy(PAGE)
    page["next"] = None
    page["records"][0]["cost"] = 3
    page["records"][0]["model_config"]["agent"] = {}
    page["records"][0]["feedback"]["seen"] = {"inner": 1}
    assert findings(PROJECTS_EXPORT, page) == [
        ("undeclared_key", "/next", "next", "PaginatedDataLogResponse"),
        ("undeclared_key", "/records/0/cost", "cost", "LogResponse"),
        ("undeclared_key", "/records/0/feedback/seen", "seen", "Feedback"),
        ("undeclared_key", "/records/0/model_config/agent", "agent", "ProjectConfigResponse"),
    ]


def test_a_key_of_many_records_is_told_once() -> None:
    records = [LOG, {**LOG, "cost": 1}, {**LOG, "cost": 2, "tokens": 1}]
    assert [finding[1] for finding in findings(PROJECTS_EXPORT, {**PAGE, "records": records})] == [
        "/records/1/cost",
        "/records/2/tokens",
    ]


@pytest.mark.parametrize(
    ("kind", "schema"),
    [
        ("tool", "ToolConfigResponse"),
        ("agent", "AgentConfigResponse"),
        ("generic", "GenericConfigResponse"),
    ],
)
def test_the_branch_that_matched_counts(kind: str, schema: str) -> None:
    config = {**sample(getattr(model, schema)), "type": kind, "chat_template": []}
    page = {**PAGE, "records": [{**LOG, "config": config}]}
    assert findings(PROJECTS_EXPORT, page) == [
        ("undeclared_key", "/records/0/config/chat_template", "chat_template", schema)
    ]


def test_a_key_that_a_closed_schema_refuses() -> None:
    config = {**LOG["config"], "seed": 5}
    assert findings(PROJECTS_EXPORT, {**PAGE, "records": [{**LOG, "config": config}]}) == [
        ("undeclared_key", "/records/0/config/seed", "seed", "ModelConfigResponse")
    ]


def test_objects_that_are_open_have_no_undeclared_keys() -> None:
    log = {**LOG, "inputs": {"a": {"b": 1}}, "metadata": {"c": [{"d": 1}]}}
    assert drift_of(PROJECTS_EXPORT, {**PAGE, "records": [log]}) is None
    assert drift_of(PROJECTS_DELETE_DEPLOYED_CONFIG, {"whatever": {"a": 1}}) is None


def test_a_new_enum_value() -> None:
    report = drift_of(EXPERIMENTS_LIST, [{**EXPERIMENT, "status": "Paused", "owner": "me"}])
    assert report == DriftReport(
        "experiments.list",
        (
            Drift("new_enum_value", "/0/status", "Paused", "ExperimentStatus"),
            Drift("undeclared_key", "/0/owner", "owner", "ExperimentResponse"),
        ),
    )
    assert str(report).splitlines() == [
        "experiments.list: the answer differs from the API's document",
        "  /0/status: 'Paused' is none of the values of ExperimentStatus",
        "  /0/owner: ExperimentResponse declares no key 'owner'",
    ]


def test_a_new_kind_of_config() -> None:
    log = {**LOG, "config": {"id": "config_1", "type": "flow"}}
    assert findings(PROJECTS_EXPORT, {**PAGE, "records": [log]}) == [
        ("new_enum_value", "/records/0/config/type", "flow", "ConfigResponse")
    ]


def test_other_misfits() -> None:
    body = {key: value for key, value in PROJECT.items() if key != "feedback_types"}
    assert findings(PROJECTS_GET, {**body, "name": 5}) == [
        ("misfit", "/feedback_types", "missing, but required", "ProjectResponse"),
        ("misfit", "/name", "expected a string, got the number 5", "ProjectResponse"),
    ]
    report = drift_of(PROJECTS_GET, [])
    assert str(report).splitlines()[1:] == [
        "  (top level): does not fit ProjectResponse: expected an object, got an array of 0 items"
    ]


@pytest.mark.parametrize("data", [b"", b"<html>", b"[" * 100_000])
def test_what_is_no_json_has_no_drift(data: bytes) -> None:
    with pytest.raises(SchemaValidationError) as caught:
        model.ProjectResponse.from_json(data)
    assert find_drift(PROJECTS_GET, data, caught.value) is None


def test_an_operation_without_a_body() -> None:
    assert find_drift(EVALUATORS_DELETE, b"anything") is None


@pytest.mark.parametrize("valid", [True, False])
def test_nothing_secret_is_told(valid: bool) -> None:
    key = "sk-abcdefghijklmnop1234"
    body = {**PROJECT, key: 1, "token": {"a": key}, "key_phrases": key, "x" * 500: 1}
    if not valid:
        body["users"] = [{"id": key}]
    report = drift_of(PROJECTS_GET, body)
    assert report is not None
    assert key not in str(report) + repr(report)
    told = [drift.value for drift in report.findings if drift.kind == "undeclared_key"]
    assert told == ["***", "token", "key_phrases", f"{'x' * 57}..."]


def test_a_secret_enum_value_and_one_that_is_no_string() -> None:
    enum = {"enum": ["a"]}
    operation = operation_of({"type": "object", "properties": {"api_key": enum, "b": enum}})
    assert [f[2] for f in findings(operation, {"api_key": "zz", "b": [1]})] == [
        "***",
        "an array of 1 item",
    ]


def test_a_report_is_a_line_for_each_finding() -> None:
    report = drift_of(PROJECTS_GET, {**PROJECT, "a\nb\ud800": 1})
    assert str(report).count("\n") == 1
    str(report).encode()


COMPONENTS: dict[str, Any] = {
    "Base": {"type": "object", "properties": {"kind": {"type": "string"}}, "required": ["kind"]},
    "Cat": {
        "allOf": [
            {"$ref": "#/components/schemas/Base"},
            {"type": "object", "properties": {"claws": {"type": "integer"}}},
        ]
    },
    "Parent": {
        "type": "object",
        "properties": {"kind": {"type": "string"}},
        "discriminator": {"propertyName": "kind"},
    },
    "Child": {
        "allOf": [
            {"$ref": "#/components/schemas/Parent"},
            {"type": "object", "properties": {"name": {"type": "string"}}},
        ]
    },
    "Tree": {
        "type": "object",
        "properties": {
            "sub": {"$ref": "#/components/schemas/Tree"},
            "all": {"type": "array", "items": {"$ref": "#/components/schemas/Tree"}},
        },
    },
}


def ref(name: str) -> dict[str, Any]:
    return {"$ref": f"#/components/schemas/{name}"}


@pytest.mark.parametrize(
    ("schema", "body", "expected"),
    [
        (ref("Cat"), {"kind": "c", "claws": 1, "tail": 1}, ["/tail"]),
        ({"anyOf": [ref("Cat"), {"type": "object"}]}, {"kind": "c", "tail": 1}, []),
        ({"anyOf": [ref("Cat"), {"type": "array"}]}, {"kind": "c", "tail": 1}, ["/tail"]),
        ({"anyOf": [ref("Cat"), ref("Tree")]}, {"sub": {"x": 1}, "claws": 1}, ["/claws", "/sub/x"]),
        ({"oneOf": [ref("Cat"), {"type": "string"}]}, "text", []),
        (ref("Parent"), {"kind": "Child", "name": "n", "other": 1}, ["/other"]),
        (
            {"type": "object", "properties": {"a": {}}, "additionalProperties": ref("Tree")},
            {"a": {"x": 1}, "b": {"y": 1}},
            ["/b/y"],
        ),
        ({"type": "object", "properties": {"a": {}}, "additionalProperties": True}, {"b": 1}, []),
        (
            {"type": "array", "items": {"type": "array", "items": ref("Tree")}},
            [[{"x": 1}]],
            ["/0/0/x"],
        ),
        ({"allOf": [ref("Base"), {"description": "d"}]}, {"kind": "c", "z": 1}, ["/z"]),
        ({"allOf": [ref("Base"), {"type": "object"}]}, {"kind": "c", "z": 1}, ["/z"]),
        (
            {"anyOf": [{"type": "object", "required": ["z"]}, ref("Tree")]},
            {"c": 1, "z": 2},
            [],
        ),
        (
            {"type": "object", "properties": {"k": {}}, "anyOf": [{"required": ["k"]}]},
            {"c": 1, "k": 2},
            [],
        ),
        ({"allOf": [ref("Base"), ref("Tree")]}, {"kind": "a", "all": [], "b/c~": 1}, ["/b~1c~0"]),
    ],
)
def test_composed_schemas(schema: dict[str, Any], body: Any, expected: list[str]) -> None:
    operation = operation_of({"type": "object", "properties": {"it": schema}}, COMPONENTS)
    assert [f[1] for f in findings(operation, {"it": body})] == [f"/it{p}" for p in expected]


def test_deep_and_wide_answers_are_no_danger() -> None:
    operation = operation_of(ref("Tree"), COMPONENTS)
    assert operation.response_schema is not None
    deep: Any = {"x": 1}
    for _ in range(300):
        deep = {"sub": deep}
    assert drift_of(operation, deep) is None  # it is deeper than anybody looks
    data = b'{"sub":' * 20_000 + b'{"x":1}' + b"}" * 20_000
    assert find_drift(operation, data, SchemaValidationError([])) is None

    unfit = b'{"sub":' * 300 + b'{"sub":1}' + b"}" * 300
    with pytest.raises(SchemaValidationError) as caught:
        operation.response_schema.from_json(unfit)
    assert find_drift(operation, unfit, caught.value) is None
    unfit = json.dumps({"all": [1] * 5000}).encode()
    with pytest.raises(SchemaValidationError) as caught:
        operation.response_schema.from_json(unfit)
    assert "/all/0" in str(find_drift(operation, unfit, caught.value))

    wide = {f"key number {n}": 1 for n in range(20_000)}
    report = drift_of(operation, {"all": [wide] * 5})
    assert report is not None
    assert len(report.findings) == MAX_FINDINGS


def test_a_large_answer_is_walked_once() -> None:
    # Were anything done for each pair of records, this would take many minutes.
    operation = operation_of({"type": "array", "items": ref("Tree")}, COMPONENTS)
    assert operation.response_schema is not None
    body: Any = operation.response_schema([{"all": [{}, {}]}] * 15_000 + [{"x": 1}])
    assert str(find_drift(operation, body)).endswith("/15000/x: Tree declares no key 'x'")
