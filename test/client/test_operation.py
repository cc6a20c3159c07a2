"""Arguments to path, query and body: the cases that a generated expectation can't vouch for."""

from __future__ import annotations

import copy
from datetime import datetime, timezone
from decimal import Decimal
from typing import Any

import pytest

from humanloop import ApiTypeError, ApiValueError, MissingRequiredParametersError
from humanloop import SchemaValidationError as Invalid
from humanloop.apis import operations as o
from humanloop.model import ChatMessage, CreateProjectRequest, ModelConfigRequest
from humanloop.operation import (
    Operation,
    Parameter,
    SerializedCall,
    argument_name,
    match_path,
    read_query,
    serialize,
)
from humanloop.schemas import unset

EVALUATOR = {
    "description": "d",
    "name": "n",
    "code": "c",
    "arguments_type": "target_free",
    "return_type": "boolean",
}


@pytest.mark.parametrize(
    ("operation", "arguments", "path", "query", "body"),
    [
        (o.PROJECTS_GET, {"id": "pr_1"}, "/projects/pr_1", "", None),
        (o.PROJECTS_GET, {"id": "a/b"}, "/projects/a%2Fb", "", None),
        (o.PROJECTS_GET, {"id": "a b?c#d%2F"}, "/projects/a%20b%3Fc%23d%252F", "", None),
        (o.PROJECTS_GET, {"id": "ünï"}, "/projects/%C3%BCn%C3%AF", "", None),
        (o.PROJECTS_GET, {"id": "..."}, "/projects/...", "", None),
        (o.PROJECTS_GET, {"id": "{id}"}, "/projects/%7Bid%7D", "", None),
        (o.PROJECTS_LIST, {}, "/projects", "", None),
        (o.PROJECTS_LIST, {"page": 0, "size": None, "filter": unset}, "/projects", "page=0", None),
        (o.PROJECTS_LIST, {"filter": "a&b=c d"}, "/projects", "filter=a%26b%3Dc%20d", None),
        (o.PROJECTS_LIST, {"order": "asc", "page": 2}, "/projects", "page=2&order=asc", None),
        (
            o.EVALUATIONS_GET,
            {"id": "ev_1", "evaluator_aggregates": True},
            "/evaluations/ev_1",
            "evaluator_aggregates=true",
            None,
        ),
        (
            o.EVALUATIONS_GET,
            {"id": "ev_1", "evaluator_aggregates": False},
            "/evaluations/ev_1",
            "evaluator_aggregates=false",
            None,
        ),
        (
            o.LOGS_UPDATE_BY_REF,
            {"reference_id": "r/1", "duration": Decimal("0.10")},
            "/logs",
            "reference_id=r/1",
            b'{"duration":0.10}',
        ),
        (o.LOGS_UPDATE, {"id": "data_1"}, "/logs/data_1", "", b"{}"),
        (o.LOGS_LOG, {}, "/logs", "", b"{}"),
        (
            o.FEEDBACK_FEEDBACK,
            {"body": [{"type": "rating", "value": "good"}]},
            "/feedback",
            "",
            b'[{"type":"rating","value":"good"}]',
        ),
        (
            o.FEEDBACK_FEEDBACK,
            {"type": "rating", "created_at": datetime(2024, 2, 29, 12, tzinfo=timezone.utc)},
            "/feedback",
            "",
            b'{"type":"rating","created_at":"2024-02-29T12:00:00+00:00"}',
        ),
        (
            o.PROJECTS_CREATE_FEEDBACK_TYPE,
            {"id": "pr_1", "type": "tone", "_class": "select"},
            "/projects/pr_1/feedback-types",
            "",
            b'{"type":"tone","class":"select"}',
        ),
        (o.TESTCASES_DELETE, {"body": ["evtc_1"]}, "/testcases", "", b'["evtc_1"]'),
        (o.SESSIONS_CREATE, {}, "/sessions", "", None),
        (
            o.PROJECTS_DELETE_DEPLOYED_CONFIG,
            {"project_id": "{environment_id}", "environment_id": "e"},
            "/projects/%7Benvironment_id%7D/deployed-config/e",
            "",
            None,
        ),
    ],
)
def test_serialize(
    operation: Operation, arguments: dict[str, Any], path: str, query: str, body: bytes | None
) -> None:
    assert serialize(operation, arguments) == SerializedCall(path, query, body)


def test_an_array_parameter_is_exploded() -> None:
    schema = {"type": "array", "items": {"type": "string", "format": "date-time"}}
    numbers = {"type": "array", "items": {"type": "number"}}
    operation = Operation(
        "things.list",
        "GET",
        "/things",
        (Parameter("at", "query", schema, False), Parameter("n", "query", numbers, False)),
    )
    at = ["2024-02-29T12:30:00+01:00", datetime(2024, 3, 1, tzinfo=timezone.utc)]
    assert serialize(operation, {"at": at, "n": (1, 0.5, Decimal("1e3"))}).query == (
        "at=2024-02-29T12%3A30%3A00%2B01%3A00&at=2024-03-01T00%3A00%3A00%2B00%3A00&n=1&n=0.5&n=1E%2B3"
    )
    assert serialize(operation, {"at": []}).query == ""


@pytest.mark.parametrize("value", ["", ".", ".."])
def test_a_path_parameter_that_would_change_the_path_is_refused(value: str) -> None:
    with pytest.raises(ApiValueError, match=r"projects\.get\(\): path parameter 'id' can't be"):
        serialize(o.PROJECTS_GET, {"id": value})


def test_a_parameter_that_is_not_unicode_is_refused() -> None:
    with pytest.raises(ApiValueError, match="'id' is not valid Unicode"):
        serialize(o.PROJECTS_GET, {"id": "\ud800"})


def test_bad_parameters_are_named_all_at_once() -> None:
    with pytest.raises(Invalid) as caught:
        serialize(o.PROJECTS_LIST, {"page": "first", "size": True, "sort_by": "nam"})
    assert [error.pointer for error in caught.value.errors] == ["/page", "/size", "/sort_by"]
    assert "projects.list" in str(caught.value)


def test_a_bad_body_is_refused_with_its_places() -> None:
    with pytest.raises(Invalid) as caught:
        serialize(o.EVALUATORS_CREATE, {**EVALUATOR, "return_type": "float", "code": 5})
    assert {error.pointer for error in caught.value.errors} == {"/return_type", "/code"}


@pytest.mark.parametrize(
    ("operation", "arguments", "message"),
    [
        (o.PROJECTS_GET, {}, "projects.get() is missing 1 required argument: 'id'"),
        (
            o.EVALUATORS_CREATE,
            {"name": "n", "code": None},
            "evaluators.create() is missing 4 required arguments:"
            " 'description', 'code', 'arguments_type', 'return_type'",
        ),
        (
            o.EXPERIMENTS_CREATE,
            {},
            "experiments.create() is missing 3 required arguments:"
            " 'name', 'positive_labels', 'project_id'",
        ),
        (
            o.EXPERIMENTS_CREATE,
            {"body": {"name": "n", "positive_labels": []}},
            "experiments.create() is missing 1 required argument: 'project_id'",
        ),
        (o.TESTCASES_DELETE, {}, "testcases.delete() is missing 1 required argument: 'body'"),
        (
            o.SESSIONS_LIST,
            {"page": 1},
            "sessions.list() is missing 1 required argument: 'project_id'",
        ),
    ],
)
def test_all_missing_arguments_are_named(
    operation: Operation, arguments: dict[str, Any], message: str
) -> None:
    with pytest.raises(MissingRequiredParametersError) as caught:
        serialize(operation, arguments)
    assert str(caught.value) == message
    assert isinstance(caught.value, TypeError)


def test_body_and_its_keys_exclude_each_other() -> None:
    with pytest.raises(ApiTypeError, match=r"either body= or .* got body= and 'project', 'output'"):
        serialize(o.LOGS_LOG, {"body": {}, "project": "p", "output": "o"})


def test_an_unknown_argument_gets_the_likely_name() -> None:
    with pytest.raises(ApiTypeError, match="unexpected argument 'proect'; did you mean 'project'"):
        serialize(o.LOGS_LOG, {"proect": "p"})
    with pytest.raises(ApiTypeError, match=r"unexpected argument 'body'$"):
        serialize(o.PROJECTS_GET, {"body": {}, "id": "p"})


def test_what_the_caller_gave_is_never_changed() -> None:
    config = {"model": "gpt-4", "other": {"a": [1]}}
    keys = {"openai": "own"}
    arguments = {"messages": [], "model_config": config, "provider_api_keys": keys}
    before = copy.deepcopy(arguments)
    written = serialize(o.CHATS_CREATE, arguments, {"openai": "configured", "mock": "m"})
    assert b'"provider_api_keys":{"openai":"own","mock":"m"}' in (written.body or b"")
    assert arguments == before
    body = {"messages": [], "model_config": config}
    before = copy.deepcopy(body)
    serialize(o.CHATS_CREATE, {"body": body}, {"openai": "configured"})
    assert body == before


def test_instances_are_taken_as_well_as_plain_values() -> None:
    body = CreateProjectRequest(name="p")
    assert serialize(o.PROJECTS_CREATE, {"body": body}).body == b'{"name":"p"}'
    message = ChatMessage(role="user", content="hi")
    config = ModelConfigRequest(model="gpt-4")
    written = serialize(o.LOGS_LOG, {"messages": [message], "config": config}).body
    assert written == b'{"messages":[{"role":"user","content":"hi"}],"config":{"model":"gpt-4"}}'


def test_text_is_sent_as_utf8_and_lone_surrogates_as_escapes() -> None:
    assert serialize(o.PROJECTS_CREATE, {"name": "ünï"}).body == '{"name":"ünï"}'.encode()
    assert serialize(o.PROJECTS_CREATE, {"name": "\ud83d"}).body == b'{"name":"\\ud83d"}'


def test_a_python_keyword_gets_an_underscore() -> None:
    assert [argument_name(n) for n in ("class", "from", "type", "id")] == [
        "_class",
        "_from",
        "type",
        "id",
    ]


# -- from a request to an operation ---------------------------------------------------------------


@pytest.mark.parametrize("operation", o.OPERATIONS, ids=lambda operation: operation.name)
def test_the_path_of_every_operation_leads_back_to_it(operation: Operation) -> None:
    names = [p.name for p in operation.parameters if p.location == "path"]
    path = operation.path
    for name in names:
        path = path.replace(f"{{{name}}}", f"{name}%2F1")
    match = match_path(o.OPERATIONS, operation.method, path)
    assert match.operation is operation
    assert match.parameters == {name: f"{name}/1" for name in names}


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("PUT", "/projects/pr_1", {"GET", "PATCH"}),
        ("get", "/projects", {"GET", "POST"}),
        ("GET", "/projects/", set()),
        ("GET", "/projects/a/b/c", set()),
        ("GET", "projects", set()),
        ("GET", "//projects", set()),
        ("GET", "", set()),
        ("GET", "*", set()),
    ],
)
def test_a_path_that_leads_nowhere_tells_the_methods_that_it_takes(
    method: str, path: str, allowed: set[str]
) -> None:
    match = match_path(o.OPERATIONS, method, path)
    assert (match.operation, match.parameters) == (None, {})
    assert set(match.allowed) == allowed


def test_a_path_that_is_spelled_out_goes_before_a_parameter() -> None:
    by_id, newest = Operation("a.get", "GET", "/a/{id}"), Operation("a.new", "GET", "/a/new")
    for operations in ((by_id, newest), (newest, by_id)):
        assert match_path(operations, "GET", "/a/new").operation is newest
        assert match_path(operations, "GET", "/a/news").operation is by_id


def test_a_query_is_read_by_the_types_of_its_parameters() -> None:
    kinds: dict[str, Any] = {
        "page": {"type": "integer"},
        "mean": {"type": "number"},
        "deep": {"type": "boolean"},
        "name": {"type": "string"},
        "ids": {"type": "array", "items": {"type": "integer"}},
    }
    parameters = tuple(Parameter(name, "query", kinds[name], False) for name in kinds)
    operation = Operation("a.list", "GET", "/a", parameters)

    def read(query: str) -> dict[str, Any]:
        return read_query(operation, query)

    assert read("page=1&page=2&mean=0.5&deep=true&name=a%26b+c&ids=1&ids=2") == {
        "page": 2,
        "mean": 0.5,
        "deep": True,
        "name": "a&b c",
        "ids": [1, 2],
    }
    # What is not of its type stays text; what is not declared is left out.
    assert read(f"page={'9' * 19}&mean=nan&deep=1&name=&other=1") == {
        "page": "9" * 19,
        "mean": "nan",
        "deep": "1",
        "name": "",
    }
    written = serialize(operation, {"page": 3, "mean": 0.25, "ids": [1, 2]}).query
    assert read(written) == {"page": 3, "mean": 0.25, "ids": [1, 2]}
