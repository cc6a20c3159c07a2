"""A call from end to end: options, headers, and what becomes of each kind of answer."""

from __future__ import annotations

import asyncio
import gzip
import logging
import warnings
import zlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timezone
from decimal import Decimal
from typing import Any

import pytest

from humanloop import (
    ApiClient,
    Configuration,
    Humanloop,
    NaiveDatetimeWarning,
    exceptions,
    schemas,
)
from humanloop.apis.operations import OPERATIONS, PROJECTS_GET, PROJECTS_LIST, SESSIONS_CREATE
from humanloop.apis.tags.projects_api import ProjectsApi
from humanloop.exceptions import (
    ApiException,
    ApiResponseDecodingError,
    ApiResponseValidationError,
    ApiTypeError,
    ApiValueError,
)
from humanloop.http import Headers
from humanloop.model import CreateSessionResponse
from humanloop.transport import RawResponse, Request

FEEDBACK_TYPES = [{"type": "rating", "values": [{"value": "good", "sentiment": "positive"}]}]
PROJECT = {
    "id": "pr_1",
    "name": "p",
    "users": [],
    "data_count": 12345678901234567890,
    "feedback_types": FEEDBACK_TYPES,
    "team_id": "tm_1",
    "created_at": "2024-02-29T12:30:00Z",
    "updated_at": "2024-02-29T12:30:00Z",
}


def test_a_result(server: Any, client: Humanloop) -> None:
    server.answer(PROJECT, X_Request_Id="r1")
    response = client.projects.get("pr_1")
    assert response.body.to_primitive() == PROJECT
    assert response.body.data_count == Decimal("12345678901234567890")
    assert type(response.body).__name__ == "ProjectResponse"
    assert response.status == response.response.status == 200
    assert response.response.reason == "OK"
    assert response.headers["x-request-id"] == response.response.headers["X-REQUEST-ID"] == "r1"
    assert response.response.data.startswith(b'{"id": "pr_1"')
    assert 0 < response.round_trip_time < 10


def test_plain_json_when_deserialization_is_skipped(server: Any, client: Humanloop) -> None:
    server.answer({"id": 5, "mean": 0.5})
    body: Any = client.projects.get("pr_1", skip_deserialization=True).body
    assert body == {"id": 5, "mean": 0.5}
    assert (type(body), type(body["mean"])) == (dict, float)


@pytest.mark.parametrize(
    ("encoding", "compress"), [("gzip", gzip.compress), ("deflate", zlib.compress)]
)
def test_a_compressed_answer_is_read_although_none_was_asked_for(
    encoding: str, compress: Callable[[bytes], bytes], server: Any, client: Humanloop
) -> None:
    server.answer(compress(b'{"id": "sesh_1"}'), Content_Encoding=encoding)
    response = client.sessions.create()
    assert response.body.id == "sesh_1"
    assert response.response.data == b'{"id": "sesh_1"}'
    server.answer(b"", status=500, Content_Encoding=encoding)
    with pytest.raises(exceptions.ServerError):
        client.sessions.create()


def test_headers_of_an_answer(server: Any, client: Humanloop) -> None:
    fields = b"X-Folded: one\r\n  two\r\nX-Twice: 1\r\nX-TWICE: 2\r\nX-Latin: \xe9\r\n"
    server.send_raw(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n" + fields + b"\r\n{}")
    headers = client.projects.list(skip_deserialization=True).headers
    assert (headers["X-Folded"], headers["X-Latin"]) == ("one two", "\xe9")
    assert headers.getlist("x-twice") == ["1", "2"]


def test_no_content(server: Any, client: Humanloop) -> None:
    server.answer(status=204)
    bodies: list[object] = [client.evaluators.delete("evfn_1").body]
    with pytest.raises(ApiResponseDecodingError, match=r"204 No Content: .* it is empty"):
        client.projects.get("pr_1")
    server.answer({"unexpected": True})
    bodies.append(client.evaluators.delete("evfn_1").body)
    assert bodies == [schemas.unset, schemas.unset]


def test_another_success_status_is_decoded_too(server: Any, client: Humanloop) -> None:
    server.answer({"id": "sesh_1"}, status=202)
    response = client.sessions.create()
    assert response.status == 202
    assert isinstance(response.body, CreateSessionResponse)


@pytest.mark.parametrize(
    "content_type", ["application/json", "Application/JSON; charset=utf-8", "application/hal+json"]
)
def test_json_by_any_of_its_names(content_type: str, server: Any, client: Humanloop) -> None:
    server.answer({"id": "sesh_1"}, Content_Type=content_type)
    assert client.sessions.create().body.id == "sesh_1"


@pytest.mark.parametrize(
    ("data", "content_type", "message"),
    [
        (b"", "application/json", "it is empty"),
        (b'{"id": ', "application/json", "expected JSON text"),
        (b'{"id": NaN}', "application/json", "NaN"),
        (b'{"id": "\xff"}', "application/json", "utf-8"),
        (b"<html>hello</html>", "text/html", "its Content-Type is 'text/html'"),
        (b"[" * 100_000, "application/json", "nested"),
    ],
)
@pytest.mark.parametrize("skip", [True, False])
def test_a_body_that_is_no_json_is_kept_as_text(
    data: bytes, content_type: str, message: str, skip: bool, server: Any, client: Humanloop
) -> None:
    server.answer(data, Content_Type=content_type)
    with pytest.raises(ApiResponseDecodingError) as caught:
        client.sessions.create(skip_deserialization=skip)
    error = caught.value
    assert error.body == data.decode("utf-8", "replace")
    assert (error.status, error.method, error.path) == (200, "POST", "/sessions")
    assert skip or message in str(error)
    assert error.__cause__ is not None
    assert len(str(error)) < 400


def test_a_body_that_does_not_fit_is_kept_as_text(server: Any, client: Humanloop) -> None:
    server.answer({**PROJECT, "name": 5, "created_at": "today"})
    with pytest.raises(ApiResponseValidationError) as caught:
        client.projects.get("pr_1")
    error = caught.value
    assert error.body == caught.value.body
    assert [e.pointer for e in error.errors] == ["/name", "/created_at"]
    assert isinstance(error.__cause__, exceptions.SchemaValidationError)
    assert str(error).startswith(
        "200 OK: GET /projects/pr_1: the body does not fit ProjectResponse: /name: expected"
    )
    assert str(error).endswith("(and 1 more)")
    assert '"name": 5' in error.body


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, exceptions.BadRequestError),
        (401, exceptions.UnauthorizedError),
        (403, exceptions.ForbiddenError),
        (404, exceptions.NotFoundError),
        (409, exceptions.ConflictError),
        (422, exceptions.UnprocessableEntityError),
        (429, exceptions.RateLimitError),
        (500, exceptions.InternalServerError),
        (501, exceptions.ServerError),
        (503, exceptions.ServiceUnavailableError),
        (301, ApiException),
        (418, ApiException),
    ],
)
def test_each_status_has_its_error(
    status: int, kind: type[ApiException], server: Any, client: Humanloop
) -> None:
    server.answer({"detail": "so it is"}, status=status, Retry_After="3", Location=server.host)
    with pytest.raises(ApiException) as caught:
        client.projects.list(page=2)
    error = caught.value
    assert type(error) is kind
    assert (error.status, error.body) == (status, {"detail": "so it is"})
    assert error.headers is not None
    assert error.headers["retry-after"] == "3"
    assert (error.method, error.path) == ("GET", "/projects")
    assert isinstance(error.round_trip_time, float)
    where = f"; it redirects to {server.host}; redirects are not followed" if status == 301 else ""
    assert str(error) == f"{status} {error.reason}: GET /projects: so it is{where}"
    assert len(server.requests) == 1  # neither redirected nor repeated


def test_a_refused_value_is_described(server: Any, client: Humanloop) -> None:
    entries = [
        {"loc": ["body", "name"], "msg": "too long", "type": "value_error"},
        {"loc": ["query", "page", 0], "msg": "no", "type": "value_error"},
    ]
    server.answer({"detail": entries}, status=422)
    with pytest.raises(exceptions.UnprocessableEntityError) as caught:
        client.projects.create("p")
    assert caught.value.errors == tuple(entries)
    assert str(caught.value) == (
        "422 Unprocessable Entity: POST /projects: body.name: too long; query.page.0: no"
    ).replace("Entity", str(caught.value.reason).split()[1])


def test_the_body_of_an_error_need_not_be_json(server: Any, client: Humanloop) -> None:
    server.answer(b"<html>\n <h1>Bad\tGateway</h1></html>", status=502, Content_Type="text/html")
    with pytest.raises(
        exceptions.ServerError, match="GET /projects: <html> <h1>Bad Gateway"
    ) as caught:
        client.projects.list()
    assert caught.value.body == "<html>\n <h1>Bad\tGateway</h1></html>"
    server.answer(b"{oops", status=400)
    with pytest.raises(exceptions.BadRequestError) as caught_bad:
        client.projects.list()
    assert caught_bad.value.body == "{oops"


def test_headers(server: Any) -> None:
    configuration = Configuration(
        host=server.host, api_key="k", api_key_prefix={"APIKeyHeader": "Key"}
    )
    with ApiClient(configuration, "X-Team", "blue", cookie="a=b") as api_client:
        api_client.user_agent = "mine/1"
        api_client.set_default_header("x-trace", "t")
        extra = {"X-TRACE": "u", "accept": "application/hal+json", "X-Latin": "é"}
        ProjectsApi(api_client).list(skip_deserialization=True, extra_headers=extra)
        assert api_client.user_agent == "mine/1"
    headers = {name.lower(): value for name, value in server.requests[0].headers.items()}
    assert headers["x-api-key"] == "Key k"
    assert headers["x-team"] == "blue"
    assert headers["cookie"] == "a=b"
    assert headers["user-agent"] == "mine/1"
    assert headers["x-trace"] == "u"
    assert headers["accept"] == "application/hal+json"
    assert headers["x-latin"] == "é"


SENT = {
    "x-api-key": "other",
    "ACCEPT": "application/hal+json",
    "content-type": "application/json; charset=utf-8",
    "user-agent": "mine/1",
    "Cookie": "a=b",
}


@pytest.mark.parametrize("name", SENT)
@pytest.mark.parametrize("way", ["with_options", "set_default_header", "extra_headers"])
def test_a_header_takes_the_place_of_the_clients_own(
    way: str, name: str, caller: Any, server: Any
) -> None:
    server.answer({"id": "sesh_1"})
    client = caller.client(server.host, api_key="configured")
    client.api_client.cookie = "c=d"
    before = client.build_request(client.projects.create, name="p").headers
    options: Any = {}
    used = client
    if way == "with_options":
        used = client.with_options(headers={name: SENT[name]})
    elif way == "set_default_header":
        client.api_client.set_default_header(name, SENT[name])
    else:
        used = client.with_options(headers={name.upper(): before[name]})
        options = {"extra_headers": {name.title(): SENT[name]}}
    caller(used.projects.create, "p", skip_deserialization=True, **options)
    sent = Headers(server.requests[0].headers)  # `Loopback` refuses a header that comes twice
    assert sent[name] == SENT[name]
    assert {n: sent[n] for n in before if n.lower() != name.lower()} == {
        n: v for n, v in before.reveal().items() if n.lower() != name.lower()
    }
    if way == "with_options":
        assert client.build_request(client.projects.create, name="p").headers == before


def test_a_content_type_goes_with_a_body_alone(server: Any, client: Humanloop) -> None:
    used = client.with_options(headers={"Content-Type": "application/vnd.x+json"})
    used.projects.list(skip_deserialization=True)
    assert "Content-Type" not in server.requests[0].headers


@pytest.mark.parametrize(
    ("headers", "message"),
    [
        ({"x-api-key": ""}, "the key is empty"),
        ({"Content-Type": "text/plain"}, "JSON"),
        ({"Content-Length": "5"}, "is computed from the body"),
        ({"transfer-encoding": "chunked"}, "is computed from the body"),
        ({"X-API-KEY": "a", "x-api-key": "b"}, "has a header twice"),
        ({"X-API-KEY": "sEcReT\n"}, "X-API-KEY"),
        ({"X-API-KEY": None}, "X-API-KEY"),
        ({5: "a"}, "no header name"),
        ([("X-A", "a")], "headers must be a dict"),
    ],
)
def test_headers_that_are_refused(headers: Any, message: str, client: Humanloop) -> None:
    with pytest.raises((ApiValueError, ApiTypeError), match=message) as caught:
        client.with_options(headers=headers)
    assert "sEcReT" not in str(caught.value)


def test_an_empty_key_for_one_call_is_refused(caller: Any, server: Any) -> None:
    client = caller.client(server.host)
    with pytest.raises(ApiValueError, match="header 'x-api-key': the key is empty"):
        caller(client.projects.list, extra_headers={"x-api-key": ""})
    assert server.requests == []


def test_settings_of_an_api_client(configuration: Configuration) -> None:
    made: list[Any] = [
        lambda: ApiClient(configuration, cookie="a\nb"),
        lambda: ApiClient(configuration, cookie=5),  # type: ignore[arg-type]
        lambda: setattr(ApiClient(configuration), "user_agent", None),
        lambda: ApiClient(configuration, "X-A"),
        lambda: ApiClient(configuration, header_value="a"),
    ]
    for make, name in zip(
        made, ["cookie", "cookie", "user_agent", "header_value", "header_name"], strict=True
    ):
        with pytest.raises((ApiValueError, ApiTypeError), match=name):
            make()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("X-A", "a\r\nX-B: b"),
        ("X-A", "a\n"),
        ("X-A", "€"),
        ("X-A", 5),
        ("X A", "a"),
        ("", "a"),
        ("X:", "a"),
    ],
)
def test_a_header_that_would_break_the_request_is_refused(
    name: str, value: Any, server: Any, client: Humanloop
) -> None:
    with pytest.raises(ApiValueError, match="header") as caught:
        client.projects.list(extra_headers={name: value})
    assert "X-B" not in str(caught.value)
    assert server.requests == []


def test_a_default_header_is_checked_when_it_is_set(configuration: Configuration) -> None:
    with pytest.raises(ApiValueError, match="header 'X-A'"):
        ApiClient(configuration, "X-A", "a\n")


def test_bad_options_are_refused(server: Any, client: Humanloop) -> None:
    options: Any = {"timout": 5}
    with pytest.raises(
        ApiTypeError, match=r"projects\.list\(\) got .* 'timout'; did you mean 'timeout'"
    ):
        client.projects.list(**options)
    with pytest.raises(
        ApiValueError, match=r"projects\.list\(\): timeout must be a positive number"
    ):
        client.projects.list(timeout=-1)
    assert server.requests == []


def test_the_host_may_have_any_path(server: Any) -> None:
    with Humanloop("k", server.host.replace("/v4", "/behind/a/proxy/v4/")) as client:
        client.projects.list(skip_deserialization=True)
        client.configuration.host = server.host.replace("/v4", "")
        client.projects.list(skip_deserialization=True)
    assert [request.target for request in server.requests] == [
        "/behind/a/proxy/v4/projects",
        "/projects",
    ]
    assert server.connections == 1


def test_a_base_url_is_normalized(server: Any) -> None:
    with Humanloop("k", server.host.replace("/v4", "/a/../é/v4")) as client:
        client.projects.list(skip_deserialization=True)
    assert server.requests[0].target == "/%C3%A9/v4/projects"


def test_prepare_and_finish_do_no_io(configuration: Configuration) -> None:
    api_client = ApiClient(configuration)
    request = api_client.prepare(PROJECTS_LIST, {"page": 1}, {"timeout": 3})
    assert request.url == "http://127.0.0.1:9/v4/projects?page=1"
    assert (request.method, request.body, request.timeout) == ("GET", None, 3)
    assert api_client.prepare(PROJECTS_LIST, {}).timeout == 60
    assert api_client.prepare(PROJECTS_LIST, {}, {"timeout": None}).timeout is None
    raw = RawResponse(201, "Created", Headers({"Content-Type": "application/json"}), b'{"id":"s"}')
    response = api_client.finish(SESSIONS_CREATE, request, raw)
    assert response.body == {"id": "s"}


def test_a_transport_of_ones_own(configuration: Configuration) -> None:
    class Canned:
        closed = 0
        sent: list[Request] = []  # noqa: RUF012

        def send(self, request: Request) -> RawResponse:
            self.sent.append(request)
            headers = Headers({"content-type": "application/json"})
            return RawResponse(200, "OK", headers, b'{"id":"s"}', 0.25)

        def close(self) -> None:
            self.closed += 1

    canned = Canned()
    with ApiClient(configuration, transport=canned) as api_client:
        response = api_client.call(SESSIONS_CREATE, {})
    assert (response.body.id, response.round_trip_time) == ("s", 0.25)
    assert [request.path for request in canned.sent] == ["/sessions"]
    assert canned.closed == 1


def test_connections_are_kept_alive_and_shared_by_threads(server: Any, client: Humanloop) -> None:
    server.answer({"id": "sesh_1"}, status=201)
    with ThreadPoolExecutor(8) as pool:
        bodies = list(pool.map(lambda _: client.sessions.create().body.id, range(64)))
    assert bodies == ["sesh_1"] * 64
    assert len(server.requests) == 64
    assert server.connections <= 8


def test_close_may_be_called_again_and_the_client_used_on(server: Any) -> None:
    client = Humanloop("k", server.host)
    client.close()
    for _ in range(2):
        client.projects.list(skip_deserialization=True)
        client.close()
        client.close()
    assert server.connections == 2


def test_tags_are_made_once_and_share_the_client(client: Humanloop) -> None:
    tags = {operation.name.partition(".")[0] for operation in OPERATIONS}
    assert len(tags) == 12
    for tag in tags:
        assert getattr(client, tag) is getattr(client, tag)
        assert getattr(client, tag).api_client is client.api_client


def test_one_line_is_logged_per_request_and_response(
    server: Any, client: Humanloop, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG, logger="humanloop"):
        client.projects.list(filter="private", skip_deserialization=True)
    lines = [r.getMessage() for r in caplog.records if r.name == "humanloop"]
    assert lines[0] == f"GET {server.host}/projects"
    assert lines[1].startswith("GET /projects: 200 in ")
    assert len(lines) == 2


def test_headers_are_a_case_insensitive_mapping() -> None:
    headers = Headers([("A", "1"), ("b", "2"), ("a", "3")])
    assert dict(headers) == {"A": "1, 3", "b": "2"}
    assert headers.getlist("a") == ["1", "3"]
    assert headers.getlist("c") == []
    assert headers == {"a": "1, 3", "B": "2"}
    assert headers != {"a": "1, 3"}
    assert headers != 5
    headers["A"] = "4"
    del headers["B"]
    assert headers == {"a": "4"}
    assert "b" not in headers
    number: object = 5
    assert number not in headers
    assert len(headers) == 1


def test_operations_stay_data(configuration: Configuration) -> None:
    assert PROJECTS_GET.arguments == ("id",)
    assert PROJECTS_GET.body_schema is None
    assert PROJECTS_GET.response_schema is PROJECTS_GET.response_schema
    assert str(ApiClient(configuration)) == f"ApiClient({configuration})"
    assert repr(ProjectsApi(ApiClient(configuration))).startswith("ProjectsApi(ApiClient(")


def test_a_naive_datetime_warns_once_at_the_line_that_calls(server: Any, client: Humanloop) -> None:
    options: Any = {"skip_deserialization": True}

    async def main() -> None:
        async with Humanloop("k", server.host) as other:
            for day in (1, 2):
                await other.alog(created_at=datetime(2024, 1, day), **options)
            await asyncio.create_task(other.logs.alog(created_at=datetime(2024, 1, 1), **options))

    line = main.__code__.co_firstlineno
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("default")
        asyncio.run(main())
        for day in (1, 2):
            client.log(created_at=datetime(2024, 1, day), **options)
            client.log(created_at=datetime(2024, 1, day, tzinfo=timezone.utc), **options)
        client.feedback(type="rating", created_at=datetime(2024, 1, 1), **options)
    assert {(w.filename, w.category) for w in caught} == {(__file__, NaiveDatetimeWarning)}
    # A task is not called by the line that made it: the one that runs the loop is named.
    assert [w.lineno - line for w in caught] == [3, 9, 11, 13]
    sent = [request.json["created_at"] for request in server.requests[:2]]
    assert sent == ["2024-01-01T00:00:00+00:00", "2024-01-02T00:00:00+00:00"]
