"""A sweep: keys that the client knows show nowhere but on the wire."""

from __future__ import annotations

import contextlib
import copy
import json
import logging
import os
import pickle
import subprocess
import sys
import traceback
from collections.abc import Callable
from typing import Any

import pytest

from humanloop import Configuration, Humanloop, RetryPolicy
from humanloop.apis.operations import CHATS_CREATE
from humanloop.exceptions import (
    ApiConnectionError,
    ApiException,
    ApiStreamingException,
    BadRequestError,
    OpenApiException,
)

SECRET = "zq9Secret"
PROVIDERS = (
    "openai",
    "openai_azure",
    "openai_azure_endpoint",
    "ai21",
    "mock",
    "anthropic",
    "cohere",
)
CHAT: dict[str, Any] = {
    "messages": [{"role": "user", "content": "hi"}],
    "model_config": {"model": "gpt-4"},
    "provider_api_keys": {"openai": f"{SECRET}-own"},
}


@pytest.fixture
def client(server: Any) -> Humanloop:
    keys: Any = {f"{name}_api_key": f"{SECRET}-{name}" for name in PROVIDERS}
    return Humanloop(api_key=f"{SECRET}-hl", host=server.host, timeout=10, **keys)


def nothing_shows(*values: object) -> None:
    for value in values:
        for text in (str(value), repr(value), f"{value}", ascii(value)):
            assert SECRET not in text


def test_objects(client: Humanloop, server: Any) -> None:
    request = client.api_client.prepare(CHATS_CREATE, CHAT)
    assert SECRET.encode() in (request.body or b"")
    assert SECRET in request.headers["X-API-KEY"]
    server.answer({"id": "s"})
    response = client.sessions.create()
    nothing_shows(
        client,
        client.configuration,
        copy.deepcopy(client.configuration),
        client.configuration.to_debug_report(),
        client.api_client,
        client.api_client.transport,
        client.chats,
        request,
        request.headers,
        response,
        response.headers,
        response.response,
    )


def test_a_proxy_password_does_not_show() -> None:
    configuration = Configuration(api_key="k", proxy=f"http://user:{SECRET}@proxy.example:1")
    nothing_shows(configuration)


ECHO = f"who are {SECRET}-hl, {SECRET}-openai_azure_endpoint, {SECRET}-openai and {SECRET}-own?"


def given(caller: Any, server: Any, **options: Any) -> Humanloop:
    keys: Any = {f"{name}_api_key": f"{SECRET}-{name}" for name in PROVIDERS}
    made: Humanloop = caller.client(
        server.host, api_key=f"{SECRET}-hl", retries=RetryPolicy(backoff=0.001), **keys, **options
    )
    return made


STREAM = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"


@pytest.mark.parametrize(
    "answer",
    [
        {"id": "s", "nested": [{"provider_api_keys": {"openai": f"{SECRET}-unknown", "x": [1]}}]},
        {"id": "s", "apiKey": f"{SECRET}-unknown", "password": f"{SECRET}-unknown"},
        {"echo": ECHO},
        b'{"api_key": "' + SECRET.encode() + b'-unknown", cut',
        b'{"api_key": "'
        + SECRET.encode()
        + b'-unknown", "deep": '
        + b"[" * 900
        + b"]" * 900
        + b"}",
        ECHO.encode(),
        ("x" * 9_990 + ECHO).encode(),
    ],
    ids=["nested", "names", "echo", "no JSON", "deep", "text", "at the cut"],
)
@pytest.mark.parametrize("status", [200, 500])
def test_logs(
    status: int, answer: Any, caller: Any, server: Any, caplog: pytest.LogCaptureFixture
) -> None:
    client = given(caller, server)
    server.answer(answer, status=status, X_Echo=ECHO, Set_Cookie=f"session={SECRET}")
    with (
        caplog.at_level(logging.DEBUG),
        contextlib.suppress(ApiException),
    ):
        caller(client.chat, **CHAT, skip_deserialization=True, idempotent=True)
    assert SECRET in server.requests[0].body.decode()
    assert {record.name for record in caplog.records} >= {"humanloop", "humanloop.wire"}
    assert any('"provider_api_keys":{"openai":"***"' in m for m in caplog.messages)
    shown = [r for r in caplog.records if r.name.startswith("humanloop")]
    nothing_shows(*shown, *(record.getMessage() for record in shown))


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        f"HTTP/1.1 2x0 {ECHO}\r\n\r\n".encode(),
        f"{ECHO}\r\n".encode(),
        f"HTTP/1.1 200 OK\r\nContent-Length: {SECRET}-hl\r\n\r\n{{}}".encode(),
        f"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{SECRET}-hl\r\n".encode(),
        f"HTTP/1.1 200 OK\r\nContent-Encoding: {SECRET}-hl\r\n\r\n{{}}".encode(),
        f"HTTP/1.1 200 OK\r\n{ECHO}\r\n\r\n".encode(),
    ],
    ids=["dropped", "status line", "no HTTP", "length", "chunk", "coding", "header"],
)
def test_faults(raw: bytes, caller: Any, server: Any, caplog: pytest.LogCaptureFixture) -> None:
    """A server may send a key back even where none has a place."""
    seen: list[Any] = []
    client = given(caller, server, event_hooks={"error": [lambda _, error: seen.append(error)]})
    server.send_raw(raw)
    with caplog.at_level(logging.DEBUG, "humanloop"), pytest.raises(OpenApiException) as caught:
        caller(client.chat, **CHAT, idempotent=True)
    shown = [r.getMessage() for r in caplog.records if r.name.startswith("humanloop")]
    nothing_shows(caught.value, *seen, *shown, vars(caught.value))
    nothing_shows("".join(traceback.format_exception(caught.value)))
    assert SECRET.encode() not in pickle.dumps(caught.value)


def test_keys_in_every_form(caller: Any, server: Any) -> None:
    """Percent-encoded, escaped in JSON, and where one key is the beginning of another."""
    key, longer = f'{SECRET}/+"&', f'{SECRET}/+"&-and-more'
    client = caller.client(server.host, api_key=key, mock_api_key=longer, retries=0)
    server.answer({"detail": f"{longer} {key}"}, status=404)
    with pytest.raises(ApiException) as caught:
        caller(client.projects.get, key)
    assert str(caught.value) == "404 Not Found: GET /projects/***: *** ***"
    server.answer(json.dumps({"detail": longer}).encode(), status=404, Content_Type="text/plain")
    with pytest.raises(ApiException, match=r'GET /projects/p: {"detail": "\*\*\*"}$'):
        caller(client.projects.get, "p")


def test_an_error_of_the_caller_stays_as_it_is(caller: Any, server: Any) -> None:
    client = given(caller, server)
    server.send_raw(f"HTTP/1.1 2x0 {SECRET}-hl\r\n\r\n".encode())
    own = KeyError(f"{SECRET}-hl")
    try:
        raise own
    except KeyError:
        with pytest.raises(ApiConnectionError) as caught:
            caller(client.projects.list)
    nothing_shows("".join(traceback.format_exception(caught.value)))
    assert own.args == (f"{SECRET}-hl",)


def test_what_a_server_says(caller: Any, server: Any) -> None:
    client = given(caller, server)
    reason = f"HTTP/1.1 400 Bad key {SECRET}-hl\r\nContent-Length: 0\r\n\r\n"
    server.send_raw(reason.encode(), then_close=False)
    with pytest.raises(BadRequestError) as caught:
        caller(client.projects.get, f"{SECRET}-hl")  # in the path, by mistake
    nothing_shows(caught.value)
    assert str(caught.value) == "400 Bad key ***: GET /projects/***"
    server.answer({"detail": f"{'x' * 290} {ECHO}"}, status=400)  # a message is cut after 300
    with pytest.raises(BadRequestError) as cut:
        caller(client.chat, **CHAT)
    assert SECRET[:5] not in str(cut.value)
    assert cut.value.body["detail"].endswith(ECHO)  # data for the program stays as it is
    server.answer({"detail": f"bad session {SECRET}-cookie, {SECRET}-bearer"}, status=400)
    headers = {"Cookie": f"id={SECRET}-cookie", "Authorization": f"Bearer {SECRET}-bearer"}
    with pytest.raises(BadRequestError) as named:
        caller(client.projects.list, extra_headers=headers)
    assert str(named.value).endswith("bad session ***, ***")


@pytest.mark.parametrize(
    "body",
    [
        b'event: error\ndata: {"detail": "bad key %b-own"}\n\n' % SECRET.encode(),
        b'data: {"error": {"message": "%b %b-hl"}}\n\n' % (b"x" * 290, SECRET.encode()),
        b'data: {"data": "%b-openai"}\n\n' % SECRET.encode(),
        b"data: %b-openai\n\n" % SECRET.encode(),
    ],
)
def test_streams(body: bytes, caller: Any, server: Any, caplog: pytest.LogCaptureFixture) -> None:
    client = given(caller, server)
    server.send_raw(STREAM + b"X-Echo: " + ECHO.encode() + b"\r\n\r\n" + body)
    with (
        caplog.at_level(logging.DEBUG, "humanloop"),
        pytest.raises(ApiStreamingException) as caught,
    ):
        caller.all(caller(client.chat, **CHAT, stream=True))
    shown = [r.getMessage() for r in caplog.records if r.name.startswith("humanloop")]
    nothing_shows(caught.value, *shown)
    assert SECRET[:5] not in str(caught.value)


def test_drift_reports(caller: Any, server: Any) -> None:
    reports: list[Any] = []
    client = given(caller, server, on_drift=reports.append)
    server.answer({"id": "s", "api_key": f"{SECRET}-hl", f"{SECRET}-hl-9": 1})
    caller(client.sessions.create)
    assert len(reports) == 1
    assert f"{SECRET}-hl" not in str(reports)


def test_the_log_on_standard_error(server: Any) -> None:
    script = (
        "import asyncio, sys\n"
        "from humanloop import Humanloop\n"
        f"client = Humanloop('{SECRET}-hl', sys.argv[1], openai_api_key='{SECRET}-openai')\n"
        f"chat = {CHAT!r}\n"
        "client.chat(**chat, skip_deserialization=True)\n"
        "asyncio.run(client.achat(**chat, skip_deserialization=True))\n"
    )
    server.answer({"echo": ECHO.replace("_azure_endpoint", "")}, X_Echo=f"{SECRET}-hl")
    run = subprocess.run(
        [sys.executable, "-c", script, server.host],
        env={**os.environ, "HUMANLOOP_LOG": "debug"},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert run.returncode == 0
    assert run.stderr.count("POST http") == 2
    assert run.stderr.count("X-API-KEY: ***") == 2
    assert SECRET not in run.stderr
    assert run.stdout == ""


def test_commands_for_curl(client: Humanloop) -> None:
    headers = {"X-Api-Token": "t", "X-Provider-Api-Key": f"{SECRET}-x", "Cookie": f"a={SECRET}-c"}
    request = client.build_request(client.chat, **CHAT, extra_headers=headers)
    nothing_shows(request.as_curl())
    assert "X-Provider-Api-Key: ***" in request.as_curl()
    nothing_shows(client.build_request(client.projects.get, f"{SECRET}-hl").as_curl())


def test_a_proxy_that_says_what_it_was_told(caller: Any, server: Any) -> None:
    proxy = f"http://user:{SECRET}-proxy@127.0.0.1:{server.port}"
    client = caller.client("https://api.example/v4", proxy=proxy, retries=0)
    server.send_raw(b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n")
    with pytest.raises(ApiConnectionError) as caught:
        caller(client.projects.list)
    nothing_shows(client, client.configuration, caught.value)
    nothing_shows("".join(traceback.format_exception(caught.value)))


def answered(body: Any, status: int) -> Callable[[Any], None]:
    return lambda server: server.answer(body, status=status)


@pytest.mark.parametrize(
    "prepare",
    [
        answered({"detail": "no"}, 401),
        answered({"detail": [{"loc": ["body"], "msg": f"bad key {SECRET}-hl"}]}, 422),
        answered(f"who is {SECRET}-openai_azure?".encode(), 500),
        answered({"data": f"{SECRET}-hl"}, 200),
        answered(f"no JSON: {SECRET}-hl".encode(), 200),
        lambda server: server.send_raw(b""),
        lambda server: server.send_raw(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{}"),
        lambda server: server.close(),
    ],
    ids=["401", "422 echo", "500 echo", "wrong schema", "no JSON", "dropped", "cut", "refused"],
)
def test_errors(prepare: Callable[[Any], None], client: Humanloop, server: Any) -> None:
    prepare(server)
    with pytest.raises(Exception) as caught:  # noqa: PT011 - whichever it is
        client.chat(**CHAT)
    nothing_shows(caught.value)
    if not getattr(caught.value, "body", None):  # else the server itself told the key
        nothing_shows("".join(traceback.format_exception(caught.value)))
        assert SECRET.encode() not in pickle.dumps(caught.value)


@pytest.mark.parametrize(
    "change",
    [
        {"provider_api_keys": {"openai": 5, "mock": f"{SECRET}-own"}},
        {"provider_api_keys": f"{SECRET}-own"},
        {"provider_api_keys": [f"{SECRET}-own"]},
        {"messages": "none"},
        {"unknown_key": 1},
    ],
)
def test_bad_arguments(change: dict[str, Any], client: Humanloop) -> None:
    with pytest.raises(Exception) as caught:  # noqa: PT011 - whichever it is
        client.chat(**{**CHAT, **change})
    nothing_shows(caught.value)
    nothing_shows("".join(traceback.format_exception(caught.value)))


def test_redirects_carry_no_key(client: Humanloop, server: Any) -> None:
    server.answer(status=307, Location="http://127.0.0.1:9/elsewhere")
    with pytest.raises(Exception, match="307"):
        client.chat(**CHAT)
    assert len(server.requests) == 1
