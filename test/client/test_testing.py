"""The transport for users' tests: what it answers by itself and as told, and what it keeps."""

from __future__ import annotations

import asyncio
import json
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from humanloop import Humanloop, exceptions, model, schemas
from humanloop.api_response import ApiResponse
from humanloop.apis.operations import OPERATIONS, PROJECTS_GET
from humanloop.exceptions import (
    ApiConnectionError,
    ApiResponseDecodingError,
    ApiResponseValidationError,
    ApiStreamBrokenError,
    ApiTimeoutError,
    ApiTypeError,
    ApiValueError,
    RateLimitError,
    SchemaValidationError,
    UnprocessableEntityError,
)
from humanloop.operation import Operation
from humanloop.retries import RetryPolicy
from humanloop.schemas import schema_from_openapi
from humanloop.testing import TestTransport, sample
from humanloop.transport import AsyncTransport, Request, Transport

SECRET = "hl-secret-key-1234567890"
MESSAGES: Any = [{"role": "user", "content": "hi"}]
PROJECT = {**sample("projects.get"), "name": "mine"}


@pytest.fixture
def transport() -> TestTransport:
    return TestTransport()


@pytest.fixture
def client(transport: TestTransport) -> Humanloop:
    return Humanloop(api_key=SECRET, transport=transport, retries=RetryPolicy(backoff=0.001))


def arguments_of(operation: Operation) -> dict[str, Any]:
    """Arguments that an operation takes."""
    arguments = {p.argument: sample_of(p.schema) for p in operation.parameters}
    if operation.body is not None:
        body = sample(getattr(model, operation.body))
        if isinstance(body, dict):
            body.pop("stream", None)
        arguments["body"] = body
    return arguments


def sample_of(schema: Any) -> Any:
    if "allOf" in schema:
        return schema["default"]
    return sample(schema_from_openapi(schema))


# -- answers of its own ---------------------------------------------------------------------------


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.name)
def test_every_operation_is_answered(
    operation: Operation, client: Humanloop, transport: TestTransport
) -> None:
    arguments = arguments_of(operation)
    response: ApiResponse[Any] = client.api_client.call(operation, arguments)
    again = asyncio.run(client.api_client.acall(operation, arguments))
    assert response.status == again.status == operation.status
    assert response.body == again.body
    if operation.response is None:
        assert response.body is schemas.unset
        assert response.response.data == b""
    else:
        assert operation.response_schema is not None
        assert isinstance(response.body, schemas.Schema)
        assert again.response.data == response.response.data
    assert [call.operation for call in transport.requests] == [operation.name] * 2
    expected = {p.name: arguments[p.argument] for p in operation.parameters}
    assert transport.requests[0].parameters == expected
    assert transport.requests[0].json == arguments.get("body")


def test_an_answer_speaks_of_what_was_asked_for(client: Humanloop) -> None:
    assert client.projects.get("pr/ü 1").body.id == "pr/ü 1"
    assert client.evaluations.get("ev_7").body.id == "ev_7"
    arguments: Any = {"name": "n", "config_ids": [], "positive_labels": []}
    assert client.experiments.create(project_id="pr_7", **arguments).body.project_id == "pr_7"


def test_a_page_is_the_one_that_was_asked_for(client: Humanloop) -> None:
    def said(page: Any) -> list[int]:
        return [*map(int, (page.page, page.size, page.total)), len(page.records)]

    assert said(client.projects.list(size=5).body) == [0, 5, 1, 1]
    assert said(client.projects.list(page=1).body) == [1, 10, 1, 0]
    assert said(client.sessions.list("pr_1").body) == [1, 10, 1, 1]


def test_who_sends_a_list_gets_a_list(client: Humanloop) -> None:
    one: Any = client.logs.log(project="p", inputs={}, output="o").body
    assert one.id == "data_1"
    logs: Any = [{"project": "p", "output": str(n)} for n in range(3)]
    several: Any = client.logs.log(body=logs).body
    assert [log.id for log in several] == ["data_1", "data_2", "data_3"]


def test_a_path_that_the_api_does_not_have(transport: TestTransport) -> None:
    answer = transport.send(Request("GET", "https://x", "/nothing", "", headers={}))  # type: ignore[arg-type]
    assert answer.status == 404
    assert transport.requests[0].operation == ""


# -- answers that were set ------------------------------------------------------------------------


def test_a_body(client: Humanloop, transport: TestTransport) -> None:
    body = dict(PROJECT)
    transport.reply("projects.get", body, headers={"X-Request-Id": "r1"})
    body["name"] = "changed later"
    for _ in range(2):
        response = client.projects.get("pr_1")
        assert (response.body.name, response.headers["x-request-id"]) == ("mine", "r1")
    transport.reply("projects.get", model.ProjectResponse(body))
    assert client.projects.get("pr_1").body.name == "changed later"
    transport.reply("projects.get")
    assert client.projects.get("pr_1").body.name == "sample name"


def test_a_status_alone(client: Humanloop, transport: TestTransport) -> None:
    transport.reply("projects.get", status=202)
    assert client.projects.get("pr_1").status == 202
    transport.reply("projects.get", status=404)
    with pytest.raises(exceptions.NotFoundError, match="Not Found"):
        client.projects.get("pr_1")
    transport.reply("projects.get", status=422)
    with pytest.raises(UnprocessableEntityError) as caught:
        client.projects.get("pr_1")
    assert len(caught.value.errors) == 1
    transport.reply("projects.get", {"detail": "no such thing"}, status=499)
    with pytest.raises(exceptions.ApiException, match="no such thing"):
        client.projects.get("pr_1")


def test_text_and_bytes_go_out_as_they_are(client: Humanloop, transport: TestTransport) -> None:
    transport.reply("projects.get", "<html>", headers={"content-type": "text/html"})
    with pytest.raises(ApiResponseDecodingError, match="'text/html'"):
        client.projects.get("pr_1")
    transport.reply("projects.get", b'{"id": ')
    with pytest.raises(ApiResponseDecodingError):
        client.projects.get("pr_1")


def test_a_function(client: Humanloop, transport: TestTransport) -> None:
    transport.reply("projects.get", lambda call: {**PROJECT, "name": call.parameters["id"]})
    assert client.projects.get("pr_9").body.name == "pr_9"
    transport.reply("projects.get", lambda call: {"name": 5})
    with pytest.raises(SchemaValidationError, match="ProjectResponse: 8 errors"):
        client.projects.get("pr_1")
    transport.reply("projects.get", lambda call: {"detail": call.method}, status=403)
    with pytest.raises(exceptions.ForbiddenError, match="GET"):
        client.projects.get("pr_1")


def test_a_body_that_the_api_can_not_give(client: Humanloop, transport: TestTransport) -> None:
    with pytest.raises(SchemaValidationError, match="name: expected a string"):
        transport.reply("projects.get", {**PROJECT, "name": 5})
    with pytest.raises(ApiValueError, match="without a body"):
        transport.reply("evaluators.delete", {})
    assert client.projects.get("pr_1").body.name == "sample name"
    transport.reply("projects.get", {**PROJECT, "name": 5}, check=False)
    with pytest.raises(ApiResponseValidationError):
        client.projects.get("pr_1")


@pytest.mark.parametrize(
    ("operation", "hint"),
    [
        ("projects.gett", "'projects.get'"),
        ("feedback.feedback", "'feedback_api.feedback'"),
        ("log.log", "'logs.log'"),
    ],
)
def test_an_unknown_operation(operation: str, hint: str, transport: TestTransport) -> None:
    for use in (transport.reply, transport.calls, sample):
        with pytest.raises(ApiValueError, match=f"no operation '{operation}'; did you mean {hint}"):
            use(operation)
    with pytest.raises(ApiValueError, match=r"no operation ''$"):
        transport.stream("", [])


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"times": 0}, ApiValueError),
        ({"status": 99}, ApiValueError),
        ({"events": []}, ApiValueError),
        ({"error": ValueError(), "body": {}}, ApiTypeError),
        ({"error": ValueError(), "status": 500}, ApiTypeError),
    ],
)
def test_what_makes_no_sense(
    options: dict[str, Any], error: type[Exception], transport: TestTransport
) -> None:
    with pytest.raises(error, match=r"projects\.get"):
        transport.reply("projects.get", **options)
    with pytest.raises(ApiTypeError, match="neither a body nor a status"):
        transport.reply("chats.create", sample("chats.create"), events=[])


def test_several_answers(client: Humanloop, transport: TestTransport) -> None:
    def name() -> str:
        return client.projects.get("pr_1").body.name

    def named(text: str) -> dict[str, Any]:
        return {**PROJECT, "name": text}

    transport.reply("projects.get", named("first"), times=1)
    transport.reply("projects.get", named("second"), times=2)
    assert [name() for _ in range(4)] == ["first", "second", "second", "sample name"]
    transport.reply("projects.get", named("always"))
    transport.reply("projects.get", named("once"), times=1)
    assert [name() for _ in range(3)] == ["once", "always", "always"]
    transport.reply("projects.get", named("instead"))
    assert [name() for _ in range(2)] == ["instead", "instead"]
    assert client.projects.create(name="n").body.name == "sample name"


# -- errors, retries, hooks -----------------------------------------------------------------------


def test_an_error_of_the_connection(client: Humanloop, transport: TestTransport) -> None:
    error = ApiTimeoutError("too slow")
    transport.reply("logs.update", error=error)
    with pytest.raises(ApiTimeoutError) as caught:
        client.logs.update("data_1", output="o")
    assert caught.value is not error
    assert (caught.value.method, caught.value.path) == ("PATCH", "/logs/data_1")
    assert (error.method, error.tries) == ("", 1)
    transport.reply("logs.update", error=KeyError("mine"))
    with pytest.raises(KeyError, match="mine"):
        client.logs.update("data_1", output="o")


def test_retries_are_tries(client: Humanloop, transport: TestTransport) -> None:
    transport.reply("projects.get", status=503, times=1)
    transport.reply("projects.get", error=ApiConnectionError("gone"), times=1)
    assert client.projects.get("pr_1").body.id == "pr_1"
    assert len(transport.calls("projects.get")) == 3
    transport.reply("projects.get", status=429)
    with pytest.raises(RateLimitError):
        client.projects.get("pr_1", retries=0)


def test_hooks_see_the_answers(transport: TestTransport) -> None:
    seen: list[Any] = []
    client = Humanloop(
        api_key=SECRET,
        transport=transport,
        event_hooks={"response": [lambda request, answer: seen.append(answer.status)]},
    )
    transport.reply("projects.get", status=404, times=1)
    with pytest.raises(exceptions.NotFoundError):
        client.projects.get("pr_1")
    client.projects.get("pr_1")
    assert seen == [404, 200]


# -- streams --------------------------------------------------------------------------------------


def event(output: str) -> dict[str, Any]:
    data = {"id": "data_7", "index": 0, "raw_output": "", "model_config_id": "config_1"}
    return {"data": [{**data, "output": output}], "provider_responses": []}


def chat(client: Humanloop) -> Any:
    """A call for a stream."""
    return client.chats.create_deployed(project="p", messages=MESSAGES, stream=True)


def outputs(stream: Any) -> list[str]:
    return [str(event["data"][0]["output"]) for event in stream]


STREAMING = [operation for operation in OPERATIONS if operation.streams]


@pytest.mark.parametrize("operation", STREAMING, ids=lambda operation: operation.name)
def test_a_stream_of_its_own(operation: Operation, client: Humanloop) -> None:
    arguments = arguments_of(operation)
    arguments["body"]["stream"] = True
    with client.api_client.call(operation, arguments) as stream:
        events = list(stream)
    assert "".join(event["data"][0]["output"] for event in events) == "sample output"
    assert {event["data"][0]["id"] for event in events} == {"data_1"}
    assert [event["data"][0].get("finish_reason") for event in events] == [None, None, "stop"]
    assert all(isinstance(event, schemas.Schema) for event in events)


def test_events(client: Humanloop, transport: TestTransport) -> None:
    assert len(STREAMING) == 8
    raw = b": hello\ndata: " + json.dumps(event("c")).encode() + b"\n\n"
    spread = json.dumps(event("b"), indent=1)
    transport.stream("chats.create_deployed", [event("a"), spread, raw, "[DONE]", event("d")])
    for _ in range(2):
        assert outputs(chat(client)) == ["a", "b", "c"]
    transport.stream("chats.create_deployed", [model.ChatResponse(event("x"))], times=1)
    assert outputs(chat(client)) == ["x"]
    # A call that wants no stream gets none, and an answer that is no stream is one event.
    body: Any = client.chats.create_deployed(project="p", messages=MESSAGES).body
    assert body["data"][0]["output"] == "sample output"
    transport.reply("chats.create_deployed", event("whole"))
    assert outputs(chat(client)) == ["whole"]


def test_a_stream_in_an_event_loop(client: Humanloop, transport: TestTransport) -> None:
    transport.stream("chats.create_deployed", [event("a"), event("b")], headers={"X-A": "1"})

    async def read(stop_after: int) -> list[Any]:
        found: list[Any] = []
        stream: Any = await client.chats.acreate_deployed(
            project="p", messages=MESSAGES, stream=True
        )
        assert stream.headers["x-a"] == "1"
        async with stream:
            async for each in stream:
                found += outputs([each])
                if len(found) == stop_after:
                    break
        await client.api_client.aclose()
        return found

    assert asyncio.run(read(9)) == ["a", "b"]
    assert asyncio.run(read(1)) == ["a"]


def test_a_stream_that_fails(client: Humanloop, transport: TestTransport) -> None:
    transport.stream("chats.create_deployed", [event("a")], error=ApiConnectionError("gone"))
    with pytest.raises(ApiStreamBrokenError, match="gone") as caught:
        outputs(chat(client))
    assert len(caught.value.events) == 1
    transport.reply("chats.create_deployed", status=400)
    transport.reply("chats.create_deployed", status=500, times=1)
    for kind in (exceptions.InternalServerError, exceptions.BadRequestError):
        with pytest.raises(kind):
            chat(client)


def test_events_that_the_api_can_not_give(client: Humanloop, transport: TestTransport) -> None:
    with pytest.raises(SchemaValidationError, match="/data: missing"):
        transport.stream("chats.create_deployed", [event("a"), {}])
    transport.stream("chats.create_deployed", [{"detail": 5}], check=False)
    with pytest.raises(exceptions.ApiStreamingException):
        outputs(chat(client))


# -- the record -----------------------------------------------------------------------------------


def test_what_is_recorded(client: Humanloop, transport: TestTransport) -> None:
    client.projects.list(page=2, filter="a b&ü", order="asc", extra_headers={"X-A": "1"})
    client.logs.update("a/b", output="o", duration=0.5)
    listed, updated = transport.requests
    assert (listed.operation, listed.method, listed.path) == ("projects.list", "GET", "/projects")
    assert listed.parameters == {"page": 2, "filter": "a b&ü", "order": "asc"}
    assert "page=2" in listed.query
    assert (listed.headers["x-api-key"], listed.headers["x-a"]) == (SECRET, "1")
    assert listed.json is None
    assert updated.json == {"output": "o", "duration": 0.5}
    assert (updated.path, updated.parameters) == ("/logs/a%2Fb", {"id": "a/b"})
    assert updated.request.body == b'{"output":"o","duration":0.5}'
    assert [len(transport.calls(name)) for name in ("logs.update", "logs.log")] == [1, 0]


def test_nothing_is_sent_that_was_refused_before(
    client: Humanloop, transport: TestTransport
) -> None:
    with pytest.raises(SchemaValidationError):
        client.projects.create(name=5)  # type: ignore[call-overload]
    assert transport.requests == []


def test_no_repr_shows_a_key(transport: TestTransport) -> None:
    provider_key = "sk-provider-1234567890"
    client = Humanloop(api_key=SECRET, openai_api_key=provider_key, transport=transport)
    client.chats.create_deployed(project="p", messages=MESSAGES)
    assert transport.requests[0].json["provider_api_keys"]["openai"] == provider_key
    shown = repr((transport, transport.requests, transport.asynchronous, client))
    assert SECRET not in shown
    assert provider_key not in shown
    assert "chats.create_deployed" in shown


def test_threads_share_it(client: Humanloop, transport: TestTransport) -> None:
    transport.reply("projects.get", {**PROJECT, "name": "rare"}, times=50)
    with ThreadPoolExecutor(8) as threads:
        names = list(threads.map(lambda n: client.projects.get(str(n)).body.name, range(200)))
    assert sorted(names) == ["rare"] * 50 + ["sample name"] * 150
    assert {call.parameters["id"] for call in transport.requests} == set(map(str, range(200)))


def test_it_is_both_kinds_of_transport(transport: TestTransport, client: Humanloop) -> None:
    kinds: tuple[Transport, AsyncTransport] = (transport, transport.asynchronous)
    assert kinds[1] is transport.asynchronous
    client.projects.get("pr_1")
    client.close()
    asyncio.run(client.api_client.aclose())
    client.projects.get("pr_1")
    assert len(transport.requests) == 2


# -- samples --------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", model.__all__)
def test_a_sample_of_every_model(name: str) -> None:
    schema: type[schemas.Schema] = getattr(model, name)
    made = sample(schema)
    schema(made)
    assert sample(schema) == made
    assert json.loads(json.dumps(made)) == made


def test_samples_are_like_what_the_api_says() -> None:
    assert len(model.__all__) == 125
    log = sample(model.LogResponse)
    assert (log["id"], log["project_id"], log["config"]["id"]) == ("data_1", "pr_1", "config_1")
    assert log["created_at"] == "2024-01-31T12:30:00Z"
    assert not {"error", "parent_id"} & set(log)
    assert sample(PROJECTS_GET) == sample("projects.get") == sample(model.ProjectResponse)
    assert sample("evaluators.delete") is None
    log["config"]["id"] = "changed"
    assert sample(model.LogResponse)["config"]["id"] == "config_1"


@pytest.mark.parametrize(
    ("schema", "expected"),
    [
        ({"type": "string", "minLength": 20}, "samplexxxxxxxxxxxxxx"),
        ({"type": "string", "maxLength": 3}, "sam"),
        ({"type": "string", "format": "uuid"}, "123e4567-e89b-12d3-a456-426614174000"),
        ({"type": "integer", "minimum": 5, "exclusiveMinimum": True}, 6),
        ({"type": "integer", "maximum": -2}, -2),
        ({"type": "number", "multipleOf": 7}, 0),
        ({"type": "integer", "default": 9}, 9),
        ({"type": "array", "minItems": 2, "items": {"type": "boolean"}}, [False, False]),
        ({"type": "array", "maxItems": 0}, []),
        ({"enum": [None, 1]}, None),
        ({"anyOf": [{"type": "integer"}, {"type": "string"}]}, 1),
        ({"allOf": [{"properties": {"a": {"type": "integer"}}}], "required": ["a"]}, {"a": 1}),
        ({}, "sample"),
    ],
)
def test_samples_of_other_schemas(schema: dict[str, Any], expected: Any) -> None:
    assert sample(schema_from_openapi(schema)) == expected


def test_samples_of_schemas_that_refer_to_themselves() -> None:
    reference = {"$ref": "#/components/schemas/Tree"}
    tree: dict[str, Any] = {"type": "object", "properties": {"sub": reference}}
    components: dict[str, Any] = {"Tree": tree}
    assert sample(schema_from_openapi(reference, components=components)) == {"sub": {"sub": {}}}
    tree["required"] = ["sub"]
    with pytest.raises(SchemaValidationError):
        sample(schema_from_openapi(reference, components=components))
    with pytest.raises(SchemaValidationError, match="a string that matches"):
        sample(schema_from_openapi({"type": "string", "pattern": "^[0-9]{7}$"}))
