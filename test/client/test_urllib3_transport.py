"""The synchronous transport at the seams of urllib3, where tracers and tools for tests look for it.

They replace what is replaced here: `HTTPConnectionPool.urlopen` (OpenTelemetry, ddtrace, pook),
methods of `http.client.HTTPConnection` (Sentry), the classes of urllib3's connections (vcrpy).
"""

from __future__ import annotations

import functools
import gzip
import http.client
import io
import logging
import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from client.limits import run_out
from urllib3 import HTTPConnectionPool, HTTPHeaderDict, HTTPResponse, HTTPSConnectionPool
from urllib3.connection import HTTPConnection

from humanloop import (
    ApiConnectionError,
    ApiException,
    ApiResponseTooLargeError,
    ApiTimeoutError,
    Configuration,
    Humanloop,
    RetryPolicy,
)
from humanloop.http import Headers, Request
from humanloop.transport import Urllib3Transport
from humanloop.transport.common import IDLE

CHAT: dict[str, Any] = {
    "messages": [{"role": "user", "content": "hi"}],
    "model_config": {"model": "gpt-4"},
}
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"


class Traced:
    """The calls of `urlopen`, each with its headers, its status and the name of its error."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.calls: list[tuple[str, str, int | str]] = []
        self.headers: dict[str, str] = {}
        self.look: Callable[[Any], object] = lambda response: None
        original = HTTPConnectionPool.urlopen

        @functools.wraps(original)
        def urlopen(pool: Any, method: str, url: str, *args: Any, **options: Any) -> Any:
            options["headers"] = {**options["headers"].copy(), **self.headers}
            url_of_span = f"{pool.scheme}://{pool.host}:{pool.port}{url}"
            try:
                response = original(pool, method, url, *args, **options)
            except Exception as error:
                self.calls.append((method, url_of_span, type(error).__name__))
                raise
            self.calls.append((method, url_of_span, response.status))
            assert response.version == 11
            assert int(response.headers.get("Content-Length", 0)) >= 0
            self.look(response)
            return response

        monkeypatch.setattr(HTTPConnectionPool, "urlopen", urlopen)


@pytest.fixture
def traced(monkeypatch: pytest.MonkeyPatch) -> Traced:
    return Traced(monkeypatch)


def test_each_try_is_a_call_of_urlopen(server: Any, traced: Traced) -> None:
    server.answer_in_turn(503, b"", 200, 404)
    traced.headers = {"traceparent": "00-trace-span-01"}
    with Humanloop("k", server.host, retries=RetryPolicy(backoff=0.001)) as client:
        client.projects.list(skip_deserialization=True, size=5)
        with pytest.raises(ApiException):
            client.projects.create(name="p")
    url = f"{server.host}/projects"
    assert traced.calls == [
        ("GET", f"{url}?size=5", 503),
        ("GET", f"{url}?size=5", "ProtocolError"),
        ("GET", f"{url}?size=5", 200),
        ("POST", url, 404),
    ]
    assert [request.headers["traceparent"] for request in server.requests] == [
        "00-trace-span-01"
    ] * 4


def test_calls_by_tls_are_traced(tls_server: Any, trusting: dict[str, Any], traced: Traced) -> None:
    with Humanloop(host=tls_server.host, **trusting) as client:
        client.projects.list(skip_deserialization=True)
    assert traced.calls == [("GET", f"{tls_server.host}/projects", 200)]


def test_streams_are_traced_and_not_read(server: Any, client: Humanloop, traced: Traced) -> None:
    head = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n"
    server.reply = server.sending(
        head + b'data: {"data": [], "provider_responses": []}\n\n', then_close=True
    )
    assert len(list(client.chat(**CHAT, stream=True))) == 1
    assert traced.calls == [("POST", f"{server.host}/chat", 200)]


def test_who_looks_on_may_read_the_body(server: Any, client: Humanloop, traced: Traced) -> None:
    read: list[bytes] = []
    traced.look = lambda response: read.append(response.data)
    server.answer({"id": "sesh_1"})
    for _ in range(2):
        assert client.sessions.create().body.id == "sesh_1"
    assert read == [b'{"id": "sesh_1"}'] * 2
    assert (len(server.requests), server.connections) == (2, 1)


def test_the_deadline_holds_for_calls_that_are_traced(
    server: Any, client: Humanloop, traced: Traced
) -> None:
    def call(timeout: float) -> ApiTimeoutError:
        traced.calls.clear()
        server.requests.clear()
        with pytest.raises(ApiTimeoutError) as caught:
            client.projects.list(timeout=timeout)
        return caught.value

    server.reply = server.hanging()
    expected = "no complete answer within {} seconds (while waiting for the answer)"
    run_out(expected, call, "timeout")
    assert traced.calls == [("GET", f"{server.host}/projects", "ReadTimeoutError")]
    assert server.arrived(1) == 1


def test_what_replaces_urlopen_answers(
    server: Any, client: Humanloop, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[str, str]] = []

    def urlopen(pool: Any, method: str, url: str, body: Any = None, **options: Any) -> Any:
        asked.append((method, url))
        headers = HTTPHeaderDict([("Content-Type", "application/json"), ("X-Two", "1")])
        headers.add("X-Two", "2")
        data = io.BytesIO(b'{"id": "replayed"}')
        return HTTPResponse(data, headers, 200, reason="OK", preload_content=False)

    monkeypatch.setattr(HTTPConnectionPool, "urlopen", urlopen)
    response = client.sessions.create()
    assert (response.status, response.body.id) == (200, "replayed")
    assert response.headers.getlist("X-Two") == ["1", "2"]
    assert asked == [("POST", "/v4/sessions")]
    with pytest.raises(ApiResponseTooLargeError):
        Humanloop("k", server.host, max_response_bytes=5).sessions.create()
    assert server.requests == []


@pytest.mark.parametrize("fields", ["2, 2", "2\r\nContent-Length: 2"])
def test_tracers_find_one_length(
    fields: str, server: Any, client: Humanloop, monkeypatch: pytest.MonkeyPatch
) -> None:
    lengths: list[int] = []
    original = HTTPConnectionPool.urlopen

    def urlopen(*args: Any, **options: Any) -> Any:
        response = original(*args, **options)
        lengths.append(int(response.headers["Content-Length"]))
        return response

    monkeypatch.setattr(HTTPConnectionPool, "urlopen", urlopen)
    server.send_raw(HEAD + f"Content-Length: {fields}\r\n\r\n{{}}".encode())
    client.projects.list(skip_deserialization=True)
    assert lengths == [2]


def test_methods_of_http_client_are_called(
    server: Any, client: Humanloop, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Any] = []
    putrequest, endheaders = (
        http.client.HTTPConnection.putrequest,
        http.client.HTTPConnection.endheaders,
    )
    getresponse = http.client.HTTPConnection.getresponse

    def begin(self: Any, method: str, url: str, *args: Any, **options: Any) -> None:
        seen.append((method, self.host, self.port, url))
        putrequest(self, method, url, *args, **options)

    def add(self: Any, *args: Any, **options: Any) -> None:
        self.putheader("sentry-trace", "1-2-1")
        endheaders(self, *args, **options)

    def end(self: Any, *args: Any, **options: Any) -> Any:
        response = getresponse(self, *args, **options)
        seen.append((response.status, response.reason))
        return response

    monkeypatch.setattr(http.client.HTTPConnection, "putrequest", begin)
    monkeypatch.setattr(http.client.HTTPConnection, "endheaders", add)
    monkeypatch.setattr(http.client.HTTPConnection, "getresponse", end)
    client.projects.list(skip_deserialization=True)
    assert seen == [("GET", "127.0.0.1", server.port, "/v4/projects"), (200, "OK")]
    assert server.requests[0].headers["sentry-trace"] == "1-2-1"


def test_a_small_body_goes_out_with_its_head(
    server: Any, client: Humanloop, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent: list[bytes] = []
    original = http.client.HTTPConnection.send

    def send(connection: Any, data: Any) -> None:
        sent.append(bytes(data))
        original(connection, data)

    monkeypatch.setattr(http.client.HTTPConnection, "send", send)
    for size in (10, 100_000):
        sent.clear()
        client.projects.create(name="x" * size, feedback_types=[], skip_deserialization=True)
        assert (len(sent) == 1) == (size == 10)
        assert b"".join(sent).endswith(server.requests[-1].body)


@pytest.mark.parametrize("value", ["00-b", b"00-b", 7])
def test_tools_may_add_headers_of_any_kind(
    server: Any, client: Humanloop, traced: Traced, value: Any
) -> None:
    traced.headers = {"traceparent": value}
    client.projects.list(skip_deserialization=True)
    [request] = server.requests
    assert request.headers["traceparent"] == ("7" if value == 7 else "00-b")


def test_a_header_of_a_tool_is_refused_when_it_would_end_the_head(
    server: Any, client: Humanloop, traced: Traced
) -> None:
    traced.headers = {"traceparent": "1\r\nX-Other: 2"}
    with pytest.raises(ApiConnectionError, match="can't be sent"):
        client.projects.list(retries=0)
    assert server.requests == []


def test_the_class_of_connections_may_be_replaced(
    server: Any, client: Humanloop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Meanwhile no kept connection is used, and none is kept."""
    recorded: list[tuple[str, Any]] = []

    class Recording(HTTPConnection):
        def request(self, method: str, url: str, *args: Any, **options: Any) -> None:
            recorded.append((method, options["headers"]["X-API-KEY"]))
            super().request(method, url, *args, **options)

    server.answer({"id": "sesh_1"})
    client.sessions.create()
    with monkeypatch.context() as replaced:
        replaced.setattr(HTTPConnectionPool, "ConnectionCls", Recording)
        for _ in range(2):
            assert client.sessions.create().body.id == "sesh_1"
        server.reply = server.hanging()
        with pytest.raises(ApiTimeoutError):
            client.sessions.create(timeout=0.2)
    server.answer({"id": "sesh_2"})
    assert client.sessions.create().body.id == "sesh_2"
    assert recorded == [("POST", "hl-key")] * 3
    assert (len(server.requests), server.connections) == (5, 5)


@pytest.mark.parametrize("decodes", [True, False])
def test_a_response_of_a_tool_undoes_its_own_codings(
    decodes: bool, server: Any, client: Humanloop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A recorder may read the body decoded, and leave Content-Encoding as it came."""
    packed = gzip.compress(b'{"id": "sesh_1"}')

    class Recorded(HTTPResponse):
        def read(self, amt: int | None = None, *args: Any, **options: Any) -> bytes:
            return recorded.read(amt) if decodes else super().read(amt, *args, **options)

    class Recording(HTTPConnection):
        def getresponse(self) -> Any:
            given = super().getresponse()
            given.drain_conn()
            return Recorded(io.BytesIO(packed), given.headers, 200, preload_content=False)

    recorded = io.BytesIO(gzip.decompress(packed))
    size = b"Content-Length: %d\r\n\r\n" % len(packed)
    server.send_raw(HEAD + b"Content-Encoding: gzip\r\n" + size + packed)
    monkeypatch.setattr(HTTPConnectionPool, "ConnectionCls", Recording)
    assert client.sessions.create().body.id == "sesh_1"


REPLACED_FIRST = """
import sys, urllib3.connection
from urllib3 import HTTPConnectionPool
original = urllib3.connection.HTTPConnection
class Stub(original):
    used = 0
    def request(self, *args, **options):
        Stub.used += 1
        super().request(*args, **options)
urllib3.connection.HTTPConnection = HTTPConnectionPool.ConnectionCls = Stub
import humanloop
client = humanloop.Humanloop("k", sys.argv[1])
client.projects.list(skip_deserialization=True)
urllib3.connection.HTTPConnection = HTTPConnectionPool.ConnectionCls = original
client.projects.list(skip_deserialization=True)
client.close()
assert Stub.used == 1
"""


def test_classes_that_were_replaced_before_the_first_call(server: Any) -> None:
    command = [sys.executable, "-W", "error", "-c", REPLACED_FIRST, server.host]
    run = subprocess.run(command, capture_output=True, text=True, timeout=30)
    assert (run.returncode, run.stderr) == (0, "")
    assert (len(server.requests), server.connections) == (2, 2)


def test_pools_are_those_of_urllib3(
    server: Any, tls_server: Any, trusting: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    pools: list[Any] = []
    original = HTTPConnectionPool.urlopen

    def urlopen(pool: Any, *args: Any, **options: Any) -> Any:
        pools.append(pool)
        return original(pool, *args, **options)

    monkeypatch.setattr(HTTPConnectionPool, "urlopen", urlopen)
    for host in (server.host, tls_server.host):
        with Humanloop(host=host, **trusting) as client:
            client.projects.list(skip_deserialization=True)
    assert [isinstance(pool, HTTPSConnectionPool) for pool in pools] == [False, True]


# --- connections that are kept ---


def test_forty_threads_keep_their_connections(
    server: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """Also without a word of urllib3, which warns where its own pools are full."""
    barrier = threading.Barrier(40)
    with Humanloop("k", server.host, timeout=30) as client, ThreadPoolExecutor(40) as threads:

        def call(_: int) -> None:
            barrier.wait(30)
            for _ in range(3):
                client.projects.list(skip_deserialization=True)

        with caplog.at_level(logging.INFO):
            for _ in range(2):
                list(threads.map(call, range(40)))
    assert len(server.requests) == 240
    assert server.connections <= 40
    assert [record for record in caplog.records if record.name.startswith("urllib3")] == []


def test_the_oldest_connections_are_closed_where_there_are_too_many(
    server: Any, caplog: pytest.LogCaptureFixture
) -> None:
    barrier = threading.Barrier(4)

    def reply(request: Any, connection: socket.socket) -> None:
        barrier.wait(10)
        connection.sendall(HEAD + b"Content-Length: 2\r\n\r\n{}")

    server.reply = reply
    options: dict[str, Any] = {"connection_pool_maxsize": 1, "timeout": 30}
    with Humanloop("k", server.host, **options) as client, ThreadPoolExecutor(4) as threads:
        for _ in range(2):
            calls = [
                threads.submit(client.projects.list, skip_deserialization=True) for _ in range(4)
            ]
            assert [call.result(20).body for call in calls] == [{}] * 4
    assert (len(server.requests), server.connections) == (8, 7)
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []


def test_a_connection_that_was_idle_for_long_is_not_used(
    server: Any, client: Humanloop, monkeypatch: pytest.MonkeyPatch
) -> None:
    from humanloop.transport import urllib3_transport

    clock, counts = urllib3_transport.monotonic, list[int]()
    for seconds in (0.0, IDLE - 1, 2 * IDLE + 1):
        monkeypatch.setattr(urllib3_transport, "monotonic", lambda: clock() + seconds)  # noqa: B023
        client.projects.list(skip_deserialization=True)
        counts.append(server.connections)
    assert counts == [1, 1, 2]


# --- what a late error says ---


def failure(host: str, settings: dict[str, Any] | None = None, **fields: Any) -> ApiConnectionError:
    transport = Urllib3Transport(Configuration(host=host, api_key="k", **settings or {}))
    options = {"method": "GET", "path": "/projects", "query": "", "headers": Headers(), **fields}
    with pytest.raises(ApiConnectionError) as caught:
        transport.send(Request(host=host, **options))
    transport.close()
    return caught.value


def test_what_took_so_long(server: Any, new_sockets: Any) -> None:
    server.reply = server.hanging()
    expected = "no complete answer within {} seconds (while waiting for the answer)"
    run_out(expected, failure, "timeout", server.host)
    server.reply = server.hanging(HEAD + b"Content-Length: 9\r\n\r\n{")
    expected = "no complete answer within {} seconds (while reading the rest of the answer)"
    run_out(expected, failure, "timeout", server.host)
    expected = "nothing came for {} seconds (while reading the rest of the answer)"
    run_out(expected, failure, "read_timeout", server.host)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"127.0.0.1:{silent.getsockname()[1]}"
        expected = "no connection within {} seconds (while securing the connection by TLS)"
        run_out(expected, failure, "timeout", f"https://{address}", {"verify_ssl": False})
        expected = "no connection within {} seconds (while waiting for the proxy's tunnel)"
        options = {"proxy": f"http://{address}", "verify_ssl": False}
        run_out(expected, failure, "connect_timeout", "https://api.example", options)
        expected = "no complete answer within {} seconds (while sending the request)"
        body = b"x" * 20_000_000
        run_out(expected, failure, "timeout", f"http://{address}", method="POST", body=body)
    listener = socket.create_server(("127.0.0.1", 0), backlog=0)
    fillers = [socket.socket() for _ in range(3)]
    for filler in fillers:
        filler.setblocking(False)
        filler.connect_ex(listener.getsockname())
    address = f"127.0.0.1:{listener.getsockname()[1]}"
    expected = f"no connection within {{}} seconds (while connecting to {address})"
    run_out(expected, failure, "connect_timeout", f"http://{address}")
    for sock in (listener, *fillers):
        sock.close()


def test_no_thread_is_started_for_a_literal_address(
    server: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[str] = []
    start = threading.Thread.start

    def counted(thread: threading.Thread) -> None:
        started.append(thread.name)
        start(thread)

    host = server.host.replace("127.0.0.1", "localhost")
    with Humanloop("k", server.host) as literal, Humanloop("k", host) as named:
        monkeypatch.setattr(threading.Thread, "start", counted)
        for client in (literal, named, named):  # the second connection of `named` is kept
            client.projects.list(skip_deserialization=True)
        monkeypatch.undo()
    assert started.count("humanloop-lookup") == 1
