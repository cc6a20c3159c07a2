"""The asynchronous transport against real sockets: faults, limits, streams, and ends of loops."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import gzip
import logging
import os
import pickle
import select
import socket
import ssl
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar, cast

import aiohttp
import pytest

from humanloop import ApiConnectionError, ApiTimeoutError, ApiTlsError, Configuration
from humanloop.exceptions import ApiResponseTooLargeError, ClientConfigurationError
from humanloop.http import Headers
from humanloop.transport import AsyncRawStream, AsyncTransport, RawResponse, Request
from humanloop.transport.aiohttp_transport import AiohttpTransport
from humanloop.transport.urllib3_transport import Urllib3Transport

T = TypeVar("T")
Send = Callable[..., RawResponse]

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
EVENTS = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"
GRACE = 2.0
"""Seconds that a busy machine may add to a deadline."""


@pytest.fixture(autouse=True)
def nothing_is_reported(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """No loop complains of anything, and neither does what is collected after a test."""
    with caplog.at_level(logging.ERROR, "asyncio"):
        yield
        gc.collect()
    reported = [record for record in caplog.records if record.name == "asyncio"]
    assert [record.getMessage() for record in reported] == []


def run(main: Coroutine[Any, Any, T]) -> T:
    return asyncio.run(main, debug=True)


def configured(host: str, **options: Any) -> Configuration:
    return Configuration(host, **{"api_key": "hl-secret-key", **options})


def request_to(host: str, **fields: Any) -> Request:
    headers = Headers({"X-API-KEY": "hl-secret-key", "Accept": "application/json"})
    told: dict[str, Any] = {"method": "GET", "path": "/projects", "query": "", "headers": headers}
    return Request(**{**told, "host": host, "timeout": 10, "connect_timeout": 10, **fields})


async def answer(transport: AsyncTransport, request: Request) -> RawResponse:
    response = await transport.send(request)
    assert isinstance(response, RawResponse)
    return response


async def stream(transport: AsyncTransport, host: str, **fields: Any) -> AsyncRawStream:
    response = await transport.send(request_to(host, stream=True, **fields))
    assert not isinstance(response, RawResponse)
    return response


def send(host: str, options: dict[str, Any] | None = None, **fields: Any) -> RawResponse:
    """One request in a loop of its own."""
    transport = AiohttpTransport(configured(host, **(options or {})))
    return run(answer(transport, request_to(host, **fields)))


def failure(host: str, options: dict[str, Any] | None = None, **fields: Any) -> ApiConnectionError:
    """What one request in a loop of its own raises."""
    with pytest.raises(ApiConnectionError) as caught:
        send(host, options, **fields)
    error = caught.value
    method, path = fields.get("method", "GET"), fields.get("path", "/projects")
    assert (error.method, error.host, error.path) == (method, host, path)
    assert str(error) == f"{method} {host}{path}: {error.reason}"
    assert isinstance(error.__cause__, Exception)
    again = pickle.loads(pickle.dumps(error))
    assert (str(again), again.sent, type(again)) == (str(error), error.sent, type(error))
    return error


def sockets() -> int:
    """How many sockets this process has open."""
    count = 0
    for descriptor in os.listdir("/proc/self/fd"):
        with contextlib.suppress(OSError):
            count += os.readlink(f"/proc/self/fd/{descriptor}").startswith("socket:")
    return count


def hang(request: Any, connection: socket.socket) -> None:
    """Answer nothing until the client has gone."""
    connection.recv(1)


def drip(data: bytes, step: float = 0.02) -> Any:
    """Answer with one byte per `step` seconds, so that no single read ever times out."""

    def reply(request: Any, connection: socket.socket) -> None:
        for byte in data:
            if select.select([connection], [], [], step)[0]:
                return  # the client has gone
            connection.sendall(bytes([byte]))

    return reply


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(data), data)


def unused_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


# What goes out.


@pytest.mark.parametrize(
    ("method", "body"),
    [
        ("GET", None),
        ("DELETE", None),
        ("DELETE", b"[]"),
        ("POST", None),
        ("POST", b'{"a":"\xc3\xa9"}'),
        ("PATCH", b""),
        ("POST", b"x" * 3_000_000),
    ],
)
def test_the_same_bytes_go_out_as_from_the_synchronous_transport(
    method: str, body: bytes | None
) -> None:
    heads: list[bytes] = []

    def listen(listener: socket.socket) -> None:
        for _ in range(2):
            connection, _ = listener.accept()
            with connection, connection.makefile("rb") as file:
                heads.append(b"")
                while not heads[-1].endswith(b"\r\n\r\n"):
                    heads[-1] += file.readline()
                assert file.read(len(body or b"")) == (body or b"")
                connection.sendall(HEAD + b"Content-Length: 2\r\nConnection: close\r\n\r\n{}")

    with socket.create_server(("127.0.0.1", 0)) as listener, ThreadPoolExecutor(1) as pool:
        listener.settimeout(10)
        host = f"http://127.0.0.1:{listener.getsockname()[1]}/v4"
        listening = pool.submit(listen, listener)
        headers = Headers([("X-API-KEY", "k"), ("accept", "a/b"), ("User-Agent", "me/1 (x)")])
        fields: dict[str, Any] = {"method": method, "body": body, "headers": headers}
        fields |= {"path": "/a%2Fb%20c/%C3%A9//..;x=1/~'()", "query": "q=%20+%2B&r=a/b?c&e="}
        Urllib3Transport(configured(host)).send(request_to(host, **fields))
        send(host, **fields)
        listening.result(10)
    assert heads[0] == heads[1]
    assert heads[1].startswith(f"{method} /v4/a%2Fb%20c/%C3%A9//..;x=1/~'()?q=%20+%2B".encode())


def test_no_cookie_is_kept_and_no_redirect_followed(server: Any) -> None:
    server.answer({}, 302, Location="/elsewhere", Set_Cookie="a=b; Path=/")
    host = server.host.replace("127.0.0.1", "localhost")  # for a number no cookie is kept anyway

    async def main() -> None:
        transport = AiohttpTransport(configured(host))
        for _ in range(2):
            assert (await answer(transport, request_to(host))).status == 302

    run(main())
    assert [request.target for request in server.requests] == ["/v4/projects"] * 2
    assert all("Cookie" not in request.headers for request in server.requests)


def test_the_environment_names_no_proxy(server: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{unused_port()}")
    assert send(server.host).data == b"{}"


def test_socket_options(server: Any) -> None:
    options = [(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)]
    assert send(server.host, {"socket_options": options}).data == b"{}"
    unfit = failure(server.host, {"socket_options": [(socket.SOL_SOCKET, 99_999, 1)]})
    assert unfit.reason == "can't connect: Protocol not available"


# What comes back.


def test_an_answer(server: Any) -> None:
    body = b'{"a":1}'
    server.send_raw(
        b"HTTP/1.1 201 All Cre\xe4ted\r\nContent-Type: application/json\r\nx-Tag: a\r\nX-TAG: b\xe9"
        b"\r\nX-Fold: one\r\n  two\r\nContent-Length: 7\r\n\r\n" + body
    )
    started = time.monotonic()
    response = send(server.host)
    assert 0 < response.elapsed < time.monotonic() - started
    assert (response.status, response.reason, response.data) == (201, "All Cre\xe4ted", body)
    assert list(response.headers) == ["Content-Type", "x-Tag", "X-Fold", "Content-Length"]
    assert response.headers.getlist("x-tag") == ["a", "b\xe9"]
    assert response.headers["X-Fold"].split() == ["one", "two"]


@pytest.mark.parametrize(
    "raw",
    [
        HEAD + b"Content-Length: 2\r\n\r\n{}",
        HEAD + b"Transfer-Encoding: chunked\r\n\r\n1\r\n{\r\n1;x=y\r\n}\r\n0\r\n\r\n",
        HEAD + b"Connection: close\r\n\r\n{}",
        b"HTTP/1.1 100 Continue\r\n\r\n" + HEAD + b"Content-Length: 2\r\n\r\n{}",
        b"HTTP/1.0 200 OK\r\n\r\n{}",
        HEAD + b"X-Long: " + b"x" * 60_000 + b"\r\nContent-Length: 2\r\n\r\n{}",
    ],
    ids=["length", "chunked", "until closed", "after 100", "HTTP/1.0", "long header"],
)
def test_ways_to_end_a_body(raw: bytes, server: Any) -> None:
    server.send_raw(raw)
    assert send(server.host).data == b"{}"


def test_without_a_body(server: Any) -> None:
    server.answer(status=204)
    assert send(server.host, method="DELETE").status == 204


@pytest.mark.parametrize("encoding", ["gzip", "GZIP", "deflate", "gzip, gzip", "identity"])
def test_a_compressed_answer(encoding: str, server: Any) -> None:
    import zlib

    codings = {"gzip": gzip.compress, "deflate": zlib.compress, "identity": bytes}
    data = b"ab" * 500_000
    body = data
    for name in encoding.lower().split(", "):
        body = codings[name](body)
    server.answer(body, Content_Encoding=encoding)
    assert send(server.host).data == data


BROKEN = {
    "nothing": (b"", "closed it before the end of the answer's head"),
    "status line": (b"HTTP/1.1 20", "closed it before the end of the answer's head"),
    "head": (HEAD, "closed it before the end of the answer's head"),
    "length": (HEAD + b"Content-Length: 100\r\n\r\n{", "Not enough data"),
    "chunk": (HEAD + b"Transfer-Encoding: chunked\r\n\r\n5\r\n{", "Not enough data"),
    "last chunk": (HEAD + b"Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n", "Not enough data"),
    "chunk size": (HEAD + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n{", ""),
    "gzip": (HEAD + b"Content-Encoding: gzip\r\nContent-Length: 2\r\n\r\n{}", "is not gzip"),
    "cut gzip": (
        HEAD + b"Content-Encoding: gzip\r\n\r\n" + gzip.compress(b"{}" * 99)[:-9],
        "ends before its end",
    ),
    "unknown coding": (HEAD + b"Content-Encoding: zstd\r\n\r\n{}", "not asked for"),
    "two lengths": (HEAD + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}", "Content-Length"),
    "two lengths in one": (HEAD + b"Content-Length: 2, 3\r\n\r\n{}", "Content-Length"),
    "negative length": (HEAD + b"Content-Length: -2\r\n\r\n{}", "Content-Length"),
    "not HTTP": (b"SSH-2.0-OpenSSH_9.2\r\n", ""),
    "header without name": (HEAD + b": x\r\nContent-Length: 2\r\n\r\n{}", ""),
    "endless header": (HEAD + b"X: " + b"x" * 200_000, ""),
}


@pytest.mark.parametrize(("raw", "why"), BROKEN.values(), ids=BROKEN.keys())
def test_a_broken_answer(raw: bytes, why: str, server: Any) -> None:
    server.send_raw(raw)
    error = failure(server.host)
    assert type(error) is ApiConnectionError
    assert error.sent
    assert error.reason.startswith("the connection broke: ")
    assert why in error.reason
    assert "\n" not in error.reason
    assert len(server.requests) == 1
    server.answer({})
    assert send(server.host).data == b"{}"


def test_no_key_is_in_what_an_error_is_raised_from(server: Any) -> None:
    server.send_raw(b"HTTP/1.1 two hundred\r\n\r\n")
    error: BaseException | None = failure(server.host)
    seen = "".join(traceback.format_exception(cast(BaseException, error)))
    while error is not None:
        seen += repr(error) + repr(error.__dict__)
        error = error.__cause__ or error.__context__
    assert "hl-secret-key" not in seen
    assert "ClientResponseError" in seen


@pytest.mark.parametrize("later", [False, True])
def test_bytes_after_the_end_are_never_the_next_answer(later: bool, server: Any) -> None:
    taken, stray_sent = threading.Event(), threading.Event()

    def reply(request: Any, connection: socket.socket) -> None:
        connection.sendall(HEAD + b"Content-Length: 2\r\n\r\n{}")
        assert not later or taken.wait(10)
        taken.clear()
        connection.sendall(HEAD + b"Content-Length: 7\r\n\r\n{stray}")
        stray_sent.set()

    server.reply = reply

    async def main() -> None:
        transport = AiohttpTransport(configured(server.host))
        for _ in range(5):
            assert (await answer(transport, request_to(server.host))).data == b"{}"
            taken.set()
            assert stray_sent.wait(10)
            stray_sent.clear()

    run(main())
    assert len(server.requests) == 5
    assert server.connections == 5


def test_a_body_longer_than_its_length(server: Any) -> None:
    server.send_raw(HEAD + b"Content-Length: 2\r\n\r\n{}{}", then_close=False)

    async def main() -> None:
        transport = AiohttpTransport(configured(server.host))
        for _ in range(3):
            with contextlib.suppress(ApiConnectionError):
                assert (await answer(transport, request_to(server.host))).data == b"{}"

    run(main())
    assert len(server.requests) == 3


# Size.


def test_a_small_body_that_would_be_a_large_one(server: Any) -> None:
    bomb = gzip.compress(b"\0" * 50_000_000)
    server.answer(bomb, Content_Encoding="gzip")
    error = failure(server.host, {"max_response_bytes": 1_000_000})
    assert type(error) is ApiResponseTooLargeError
    assert error.reason == "the body is over 1,000,000 bytes"
    assert error.sent


@pytest.mark.parametrize("head", [b"\r\n", b"Transfer-Encoding: chunked\r\n\r\n"])
def test_a_body_without_end(head: bytes, server: Any) -> None:
    sent = 0

    def reply(request: Any, connection: socket.socket) -> None:
        nonlocal sent
        connection.sendall(HEAD + head)
        while True:  # until the client has gone
            connection.sendall(chunk(b" " * 100_000))
            sent += 100_000

    server.reply = reply
    error = failure(server.host, {"max_response_bytes": 1_000_000})
    assert type(error) is ApiResponseTooLargeError
    assert sent < 50_000_000


def test_a_length_that_is_told_to_be_too_much(server: Any) -> None:
    server.send_raw(HEAD + b"Content-Length: 11\r\n\r\n{", then_close=False)
    assert type(failure(server.host, {"max_response_bytes": 10})) is ApiResponseTooLargeError
    server.answer(b"0123456789")
    assert send(server.host, {"max_response_bytes": 10}).data == b"0123456789"


# Connecting.


def test_a_refused_port() -> None:
    error = failure(f"http://127.0.0.1:{unused_port()}/v4")
    assert type(error) is ApiConnectionError
    assert error.reason == "can't connect: Connection refused"
    assert not error.sent
    assert isinstance(error.__cause__, aiohttp.ClientConnectorError)


def test_an_unknown_host() -> None:
    error = failure("http://nowhere.invalid/v4")
    assert type(error) is ApiConnectionError
    assert error.reason.startswith("can't connect: ")
    assert not error.sent


@pytest.mark.parametrize("name", ["1.2.3.4.5.6", "b\xfccher..example", "a" * 99 + ".example"])
def test_a_host_that_only_looks_like_one(name: str) -> None:
    error = failure(f"http://{name}/v4")
    assert error.reason.startswith("can't connect: ")
    assert not error.sent


def test_a_header_that_can_not_be_sent(server: Any) -> None:
    error = failure(server.host, headers=Headers({"X": "a\r\nY: b"}))
    assert type(error) is ApiConnectionError
    assert server.requests == []


def test_a_connection_that_is_never_made(trusting: dict[str, Any]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as deaf:  # accepts, and never greets by TLS
        host = f"https://127.0.0.1:{deaf.getsockname()[1]}/v4"
        started = time.monotonic()
        error = failure(host, trusting, connect_timeout=0.1)
        assert time.monotonic() - started < 0.1 + GRACE
    assert type(error) is ApiTimeoutError
    assert error.reason == "no connection within 0.1 seconds"
    assert not error.sent


def test_a_deadline_that_has_passed_before_anything_was_sent(server: Any) -> None:
    error = failure(server.host, timeout=1e-9)
    assert type(error) is ApiTimeoutError
    assert not error.sent
    assert server.requests == []


def test_the_wait_for_a_free_connection_counts(server: Any) -> None:
    server.reply = hang

    async def main() -> None:
        transport = AiohttpTransport(configured(server.host, connection_pool_maxsize=1))
        request = request_to(server.host)
        busy = [asyncio.create_task(answer(transport, request)) for _ in range(100)]
        while len(server.requests) < 100:
            await asyncio.sleep(0.01)
        with pytest.raises(ApiTimeoutError, match=r"no connection within 0\.2 seconds") as caught:
            await answer(transport, request_to(server.host, timeout=0.2, connect_timeout=0.05))
        assert not caught.value.sent
        for task in busy:
            task.cancel()
        assert {type(e) for e in await asyncio.gather(*busy, return_exceptions=True)} == {
            asyncio.CancelledError
        }
        server.answer({})
        assert (await answer(transport, request)).data == b"{}"

    run(main())
    assert len(server.requests) == 101


def test_without_a_limit(server: Any) -> None:
    assert send(server.host, timeout=None, connect_timeout=None).data == b"{}"


def test_a_kept_connection_that_the_server_closed_is_replaced(server: Any) -> None:
    closed = threading.Event()

    def reply(request: Any, connection: socket.socket) -> None:
        connection.sendall(HEAD + b"Content-Length: 2\r\n\r\n{}")
        connection.shutdown(socket.SHUT_RDWR)
        closed.set()

    server.reply = reply

    async def main() -> None:
        transport = AiohttpTransport(configured(server.host))
        for _ in range(3):
            await answer(transport, request_to(server.host, method="POST", body=b"{}"))
            assert closed.wait(10)  # with which the loop stands still
            closed.clear()

    run(main())
    assert (len(server.requests), server.connections) == (3, 3)


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_nothing_is_sent_twice(method: str, server: Any) -> None:
    async def main() -> None:
        transport = AiohttpTransport(configured(server.host))
        await answer(transport, request_to(server.host))
        server.send_raw(b"")  # closes the kept connection when the request has come
        with pytest.raises(ApiConnectionError) as caught:
            await answer(transport, request_to(server.host, method=method))
        assert caught.value.sent
        assert isinstance(caught.value.__cause__, aiohttp.ClientError)

    run(main())
    assert (len(server.requests), server.connections) == (2, 1)


# Deadlines.


def test_no_answer_in_time(server: Any) -> None:
    server.reply = hang
    before = sockets()
    started = time.monotonic()
    error = failure(server.host, timeout=0.1)
    assert time.monotonic() - started < 0.1 + GRACE
    assert type(error) is ApiTimeoutError
    assert error.reason == "no complete answer within 0.1 seconds"
    assert isinstance(error, TimeoutError)
    assert error.sent
    assert sockets() <= before + 1  # the server's


@pytest.mark.parametrize(
    "raw",
    [
        HEAD + b"X-Slow: " + b"x" * 1000,
        HEAD + b"Content-Length: 1000\r\n\r\n" + b" " * 1000,
        HEAD + b"Transfer-Encoding: chunked\r\n\r\n3e8\r\n" + b" " * 1000,
        HEAD + b"Connection: close\r\n\r\n" + b" " * 1000,
    ],
    ids=["headers", "length", "chunked", "until closed"],
)
def test_a_slow_drip_does_not_outlive_the_deadline(raw: bytes, server: Any) -> None:
    server.reply = drip(raw)
    started = time.monotonic()
    error = failure(server.host, timeout=0.3)
    assert time.monotonic() - started < 0.3 + GRACE
    assert type(error) is ApiTimeoutError
    assert error.reason == "no complete answer within 0.3 seconds"


def test_a_slow_drip_within_the_deadline_is_read_to_its_end(server: Any) -> None:
    server.reply = drip(HEAD + b"Content-Length: 2\r\n\r\n{}", step=0.001)
    assert send(server.host, read_timeout=5).data == b"{}"


@pytest.mark.parametrize("raw", [b"", HEAD, HEAD + b"Content-Length: 9\r\n\r\n{"])
def test_a_pause_that_is_too_long(raw: bytes, server: Any) -> None:
    def reply(request: Any, connection: socket.socket) -> None:
        connection.sendall(raw)
        hang(request, connection)

    server.reply = reply
    error = failure(server.host, read_timeout=0.1)
    assert type(error) is ApiTimeoutError
    assert error.reason == "nothing came for 0.1 seconds"
    assert error.sent


def test_a_deadline_that_has_to_do_with_no_pause(server: Any) -> None:
    server.reply = hang
    error = failure(server.host, timeout=0.1, read_timeout=5)
    assert error.reason == "no complete answer within 0.1 seconds"


def test_a_server_that_does_not_read() -> None:
    before = sockets()
    with socket.create_server(("127.0.0.1", 0)) as deaf:
        host = f"http://127.0.0.1:{deaf.getsockname()[1]}/v4"
        started = time.monotonic()
        error = failure(host, method="POST", body=b"x" * 20_000_000, timeout=0.3)
        assert time.monotonic() - started < 0.3 + GRACE
        assert type(error) is ApiTimeoutError
        assert sockets() == before + 1  # what is unsent keeps none open
    assert error.reason == "no complete answer within 0.3 seconds"


def test_sending_is_no_pause_of_the_answer() -> None:
    body = b"x" * 20_000_000

    def read_slowly(listener: socket.socket) -> None:
        connection, _ = listener.accept()
        with connection, connection.makefile("rb") as file:
            while file.readline().strip():
                pass
            select.select([], [], [], 1.5)
            assert len(file.read(len(body))) == len(body)
            connection.sendall(HEAD + b"Content-Length: 2\r\n\r\n{}")

    with socket.create_server(("127.0.0.1", 0)) as listener, ThreadPoolExecutor(1) as pool:
        reading = pool.submit(read_slowly, listener)
        host = f"http://127.0.0.1:{listener.getsockname()[1]}/v4"
        assert send(host, method="POST", body=body, read_timeout=0.6).data == b"{}"
        reading.result(10)


@pytest.mark.parametrize("body", [b"", b"too much"])
def test_an_answer_before_all_was_read(body: bytes) -> None:
    def refuse(listener: socket.socket) -> None:
        connection, _ = listener.accept()
        with connection:
            connection.recv(1)
            head = b"HTTP/1.1 413 Content Too Large\r\nContent-Length: %d\r\n\r\n" % len(body)
            connection.sendall(head + body)

    with socket.create_server(("127.0.0.1", 0)) as listener, ThreadPoolExecutor(1) as pool:
        refusal = pool.submit(refuse, listener)
        host = f"http://127.0.0.1:{listener.getsockname()[1]}/v4"
        response = send(host, method="POST", body=b"x" * 20_000_000)
        refusal.result(10)
    assert (response.status, response.data) == (413, body)


def test_an_early_answer_of_a_server_that_reads_no_more() -> None:
    over = threading.Event()

    def refuse(listener: socket.socket) -> None:
        connection, _ = listener.accept()
        with connection:
            connection.recv(1)
            select.select([], [], [], 0.3)  # until no more can be sent
            connection.sendall(b"HTTP/1.1 413 Content Too Large\r\nContent-Length: 0\r\n\r\n")
            assert over.wait(10)

    async def main(host: str) -> None:
        before = sockets()
        transport = AiohttpTransport(configured(host))
        request = request_to(host, method="POST", body=b"x" * 20_000_000)
        assert (await answer(transport, request)).status == 413
        await transport.aclose()
        assert sockets() == before + 1  # the server's
        over.set()

    with socket.create_server(("127.0.0.1", 0)) as listener, ThreadPoolExecutor(1) as pool:
        refusal = pool.submit(refuse, listener)
        run(main(f"http://127.0.0.1:{listener.getsockname()[1]}/v4"))
        refusal.result(10)


# TLS.


def test_tls(tls_server: Any, trusting: dict[str, Any]) -> None:
    async def main() -> None:
        transport = AiohttpTransport(configured(tls_server.host, **trusting))
        for _ in range(2):
            assert (await answer(transport, request_to(tls_server.host))).data == b"{}"

    run(main())
    assert tls_server.connections == 1


def assert_no_tls(error: ApiConnectionError, reason: str) -> None:
    assert type(error) is ApiTlsError
    assert error.reason.startswith("TLS failed: ")
    assert reason in error.reason
    assert not error.sent


def test_an_authority_that_is_not_trusted(tls_server: Any) -> None:
    assert_no_tls(failure(tls_server.host), "certificate verify failed")
    assert tls_server.requests == []


@pytest.mark.parametrize(
    ("tls_server", "reason"),
    [("expired", "certificate has expired"), ("elsewhere", "IP address mismatch")],
    indirect=["tls_server"],
)
def test_a_certificate_that_does_not_hold(
    tls_server: Any, reason: str, trusting: dict[str, Any]
) -> None:
    assert_no_tls(failure(tls_server.host, trusting), reason)
    assert tls_server.requests == []


@pytest.mark.parametrize("tls_server", ["elsewhere"], indirect=True)
def test_another_name_may_be_expected(tls_server: Any, trusting: dict[str, Any]) -> None:
    for expected in ("elsewhere.example", False):
        assert send(tls_server.host, {**trusting, "assert_hostname": expected}).data == b"{}"
    error = failure(tls_server.host, {**trusting, "assert_hostname": "nowhere.example"})
    assert_no_tls(error, "Hostname mismatch")


@pytest.mark.parametrize("tls_server", ["expired"], indirect=True)
def test_verification_can_be_switched_off(tls_server: Any) -> None:
    assert send(tls_server.host, {"verify_ssl": False}).data == b"{}"
    assert_no_tls(failure(tls_server.host, {"assert_hostname": False}), "verify failed")


def test_plain_http_where_tls_is_expected(trusting: dict[str, Any]) -> None:
    def refuse(listener: socket.socket) -> None:
        connection, _ = listener.accept()
        with connection:
            connection.recv(65_536)
            connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    with socket.create_server(("127.0.0.1", 0)) as listener, ThreadPoolExecutor(1) as pool:
        refusal = pool.submit(refuse, listener)
        error = failure(f"https://127.0.0.1:{listener.getsockname()[1]}/v4", trusting)
        refusal.result(10)
    assert_no_tls(error, "wrong version number")


def test_a_deadline_over_tls(tls_server: Any, trusting: dict[str, Any]) -> None:
    tls_server.reply = hang
    error = failure(tls_server.host, trusting, timeout=0.2)
    assert type(error) is ApiTimeoutError
    assert error.reason == "no complete answer within 0.2 seconds"


def test_a_certificate_of_the_client(tls_server: Any, trusting: dict[str, Any]) -> None:
    demanding = tls_server.__dict__["_tls"]
    demanding.verify_mode = ssl.CERT_REQUIRED
    demanding.load_verify_locations(trusting["ssl_ca_cert"])
    own = str(Path(trusting["ssl_ca_cert"]).with_name("loopback.pem"))
    assert send(tls_server.host, {**trusting, "cert_file": own}).data == b"{}"
    error = failure(tls_server.host, trusting)
    assert isinstance(error, ApiConnectionError)
    assert len(tls_server.requests) == 1


@pytest.mark.parametrize("option", ["ssl_ca_cert", "cert_file"])
def test_a_certificate_file_that_can_not_be_used(option: str, trusting: dict[str, Any]) -> None:
    with pytest.raises(ClientConfigurationError, match="can't be used"):
        send("https://127.0.0.1:9", {**trusting, option: __file__})


# Proxies.


def test_a_proxy(server: Any) -> None:
    options = {
        "proxy": f"http://user:p%40ss@127.0.0.1:{server.port}",
        "proxy_headers": {"X-Via": "office"},
    }
    for _ in range(2):
        send("http://api.example/v4", options, path="/a%2Fb", query="c=%20d")
    request = server.requests[1]
    assert request.target == "http://api.example/v4/a%2Fb?c=%20d"
    headers = {name.lower(): value for name, value in request.headers.items()}
    assert headers["host"] == "api.example"
    assert headers["proxy-authorization"] == "Basic dXNlcjpwQHNz"
    assert headers["x-via"] == "office"


def test_a_proxy_by_tls(tls_server: Any, trusting: dict[str, Any]) -> None:
    send("http://api.example/v4", {**trusting, "proxy": f"https://127.0.0.1:{tls_server.port}"})
    assert tls_server.requests[0].target == "http://api.example/v4/projects"


def test_a_proxy_by_tls_that_is_not_trusted(tls_server: Any) -> None:
    error = failure("http://api.example/v4", {"proxy": f"https://127.0.0.1:{tls_server.port}"})
    assert_no_tls(error, "certificate verify failed")


@pytest.mark.parametrize("host", ["http://api.example/v4", "https://api.example/v4"])
def test_a_proxy_that_is_not_there(host: str) -> None:
    error = failure(host, {"proxy": f"http://user:pass-word@127.0.0.1:{unused_port()}"})
    assert error.reason == "can't connect: Connection refused"
    assert not error.sent
    assert "pass-word" not in "".join(traceback.format_exception(error))


@pytest.mark.parametrize("status", ["407 Proxy Authentication Required", "502 Bad Gateway"])
def test_a_proxy_that_refuses_to_connect(status: str, server: Any) -> None:
    server.send_raw(f"HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n".encode())
    proxy = f"http://user:pass-word@127.0.0.1:{server.port}"
    error: BaseException | None = failure("https://api.example/v4", {"proxy": proxy})
    assert isinstance(error, ApiConnectionError)
    assert error.reason == f"can't connect: Tunnel connection failed: {status}"
    assert not error.sent
    assert [request.method for request in server.requests] == ["CONNECT"]
    assert "X-API-KEY" not in server.requests[0].headers
    seen = ""
    while error is not None:
        seen += repr(error) + repr(error.__dict__)
        error = error.__cause__ or error.__context__
    assert "Basic" not in seen
    assert "pass-word" not in seen


def tunnel(listener: socket.socket, target: Any, asked: list[bytes]) -> None:
    with (
        listener.accept()[0] as client_side,
        socket.create_connection(("127.0.0.1", target.port)) as server_side,
    ):
        asked.append(client_side.recv(65536))
        client_side.sendall(b"HTTP/1.1 200 Connection Established\r\n\r\n")
        while True:
            for side in select.select([client_side, server_side], [], [])[0]:
                if not (data := side.recv(65536)):
                    return
                (server_side if side is client_side else client_side).sendall(data)


def test_a_tunnel_through_a_proxy(tls_server: Any, trusting: dict[str, Any]) -> None:
    asked: list[bytes] = []

    async def main(proxy: str) -> None:
        options = {**trusting, "proxy": proxy, "proxy_headers": {"X-Via": "office"}}
        transport = AiohttpTransport(configured(tls_server.host, **options))
        for _ in range(2):
            assert (await answer(transport, request_to(tls_server.host))).data == b"{}"

    with socket.create_server(("127.0.0.1", 0)) as listener, ThreadPoolExecutor(1) as pool:
        tunnelled = pool.submit(tunnel, listener, tls_server, asked)
        run(main(f"http://user:secret@127.0.0.1:{listener.getsockname()[1]}"))
        tunnelled.result(10)
    lines = asked[0].decode().split("\r\n")
    assert lines[0].startswith(f"CONNECT 127.0.0.1:{tls_server.port} ")
    lower = [line.lower() for line in lines]
    assert "proxy-authorization: basic dxnlcjpzzwnyzxq=" in lower
    assert "x-via: office" in lower
    assert "x-api-key" not in asked[0].decode().lower()
    assert [request.target for request in tls_server.requests] == ["/v4/projects"] * 2
    assert all("roxy-" not in name for name in tls_server.requests[0].headers)


def test_tls_in_tls(tls_server: Any, trusting: dict[str, Any]) -> None:
    proxy = f"https://127.0.0.1:{tls_server.port}"
    tls_server.send_raw(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n")
    if sys.version_info < (3, 11):
        with pytest.raises(ClientConfigurationError, match=r"Python 3\.11"):
            send("https://api.example/v4", {**trusting, "proxy": proxy})
    else:
        error = failure("https://api.example/v4", {**trusting, "proxy": proxy})
        assert error.reason == "can't connect: Tunnel connection failed: 403 Forbidden"


@pytest.mark.parametrize("proxy", ["socks5://127.0.0.1:1", "127.0.0.1:3128", "http://"])
def test_a_proxy_that_is_none(proxy: str) -> None:
    with pytest.raises(ClientConfigurationError, match="proxy must be a URL"):
        send("http://127.0.0.1:9", {"proxy": proxy})


# Streams.


class Events:
    """Answers with a stream whose pieces the test lets through one by one."""

    def __init__(self, head: bytes = EVENTS + b"Transfer-Encoding: chunked\r\n\r\n") -> None:
        self._head = head
        self._pieces: list[bytes] = []
        self._more = threading.Semaphore(0)

    def __call__(self, request: Any, connection: socket.socket) -> None:
        connection.sendall(self._head)
        while self._more.acquire(timeout=10) and (piece := self._pieces.pop(0)):
            connection.sendall(piece)
        connection.shutdown(socket.SHUT_RDWR)

    def push(self, piece: bytes) -> None:
        """Send bytes; none at all close the connection."""
        self._pieces.append(piece)
        self._more.release()


@pytest.fixture
def events(server: Any) -> Iterator[Events]:
    server.reply = reply = Events()
    yield reply
    reply.push(b"")
    reply.push(b"")


def test_a_stream_comes_piece_by_piece(server: Any, events: Events) -> None:
    async def main() -> None:
        transport = AiohttpTransport(configured(server.host))
        response = await stream(transport, server.host, timeout=5)
        assert (response.status, response.reason) == (200, "OK")
        assert response.headers["content-type"] == "text/event-stream"
        assert response.elapsed > 0
        for data in (b"data: 1\n\n", b"data: ", b"2\n\n"):
            events.push(chunk(data))
            assert await response.read(5) == data
        events.push(b"0\r\n\r\n")
        assert [await response.read(5) for _ in range(3)] == [b"", b"", b""]
        events.push(b"")
        response.close()
        response.close()

    run(main())


def test_the_connection_of_a_stream_that_was_read_is_used_again(server: Any) -> None:
    server.answer(b"data: 1\n\n", Content_Type="text/event-stream")
    text = request_to(server.host)

    async def main() -> None:
        transport = AiohttpTransport(configured(server.host))
        response = await stream(transport, server.host)
        assert [await response.read(5), await response.read(5)] == [b"data: 1\n\n", b""]
        assert isinstance(await transport.send(text), RawResponse)  # which asked for no stream
        server.answer(b"data: 1\n\n", 400, Content_Type="text/event-stream")
        assert isinstance(await transport.send(request_to(server.host, stream=True)), RawResponse)

    run(main())
    assert server.connections == 1


def test_a_stream_outlives_its_client(server: Any, events: Events) -> None:
    async def main() -> None:
        response = await stream(AiohttpTransport(configured(server.host)), server.host)
        gc.collect()
        await asyncio.sleep(0.05)
        events.push(chunk(b"data: 1\n\n"))
        assert await response.read(5) == b"data: 1\n\n"

    run(main())


def test_a_stream_outlives_the_deadline_of_its_head(server: Any, events: Events) -> None:
    async def main() -> None:
        transport = AiohttpTransport(configured(server.host))
        response = await stream(transport, server.host, timeout=0.1, read_timeout=0.1)
        await asyncio.sleep(0.2)
        events.push(chunk(b"data: 1\n\n"))
        assert await response.read(None) == b"data: 1\n\n"
        response.close()

    run(main())


def test_a_stream_whose_head_does_not_come(server: Any) -> None:
    server.reply = hang
    error = failure(server.host, timeout=0.1, stream=True)
    assert error.reason == "no complete answer within 0.1 seconds"


def test_a_stream_that_pauses_for_too_long(server: Any, events: Events) -> None:
    async def main() -> None:
        transport = AiohttpTransport(configured(server.host))
        response = await stream(transport, server.host)
        events.push(chunk(b"data: 1\n\n"))
        assert await response.read(5) == b"data: 1\n\n"
        with pytest.raises(ApiTimeoutError, match=r"no more of the answer within 0\.1 sec") as late:
            await response.read(0.1)
        assert (late.value.method, late.value.host, late.value.sent) == ("GET", server.host, True)
        assert await response.read(5) == b""

    run(main())


@pytest.mark.parametrize(
    ("head", "body", "why"),
    [
        (b"Transfer-Encoding: chunked\r\n\r\n", b"9\r\ndata", "Not enough data"),
        (b"Transfer-Encoding: chunked\r\n\r\n", b"zz\r\n", ""),
        (b"Content-Length: 99\r\n\r\n", b"data: 1\n\n", "Not enough data"),
        (b"Content-Encoding: gzip\r\n\r\n", gzip.compress(b"data: 1\n\n")[:-3], "before its end"),
        (b"Content-Encoding: gzip\r\n\r\n", b"data: 1\n\n", "not gzip"),
    ],
    ids=["chunk", "chunk size", "length", "cut gzip", "gzip"],
)
def test_a_stream_that_breaks_off(head: bytes, body: bytes, why: str, server: Any) -> None:
    server.send_raw(EVENTS + head + body)

    async def read() -> None:
        response = await stream(AiohttpTransport(configured(server.host)), server.host)
        while await response.read(5):
            pass

    async def main() -> None:
        with pytest.raises(ApiConnectionError, match=f"the connection broke: .*{why}") as caught:
            await read()
        assert caught.value.sent
        assert caught.value.__cause__ is not None

    run(main())


def test_a_compressed_stream_is_decoded_as_it_comes(server: Any) -> None:
    import zlib

    data = os.urandom(30_000).hex().encode()
    coder = zlib.compressobj(wbits=zlib.MAX_WBITS | 16)
    events = server.reply = Events(EVENTS + b"Content-Encoding: gzip\r\n\r\n")

    async def main() -> None:
        transport = AiohttpTransport(configured(server.host))
        response = await stream(transport, server.host)
        for _ in range(2):
            events.push(coder.compress(data) + coder.flush(zlib.Z_SYNC_FLUSH))
            received = b""
            while len(received) < len(data):
                received += await response.read(5)
            assert received == data
        events.push(coder.flush())
        events.push(b"")
        assert await response.read(5) == b""

    run(main())


def test_a_compressed_stream_fills_no_memory(server: Any) -> None:
    server.answer(
        gzip.compress(b"\0" * 100_000_000),
        Content_Type="text/event-stream",
        Content_Encoding="gzip",
    )

    async def main() -> None:
        transport = AiohttpTransport(configured(server.host))
        response = await stream(transport, server.host)
        sizes = [len(await response.read(5)) for _ in range(3)]
        assert 0 < max(sizes) < 10_000_000
        response.close()

    run(main())


def test_a_stream_that_is_left_early_gives_its_connection_up(server: Any, events: Events) -> None:
    async def main() -> None:
        before = sockets()
        transport = AiohttpTransport(configured(server.host))
        response = await stream(transport, server.host)
        response.close()
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert sockets() == before + 1  # the server's
        assert await response.read(5) == b""
        server.answer({})
        assert (await answer(transport, request_to(server.host))).data == b"{}"

    run(main())
    assert server.connections == 2


def test_a_stream_that_is_dropped_or_left_open(server: Any, events: Events) -> None:
    kept: list[AsyncRawStream] = []

    async def main() -> None:
        transport = AiohttpTransport(configured(server.host))
        await stream(transport, server.host)
        kept.append(await stream(transport, server.host))

    run(main())
    events.push(b"")
    gc.collect()
    kept[0].close()


def test_a_stream_of_a_client_that_is_closed(server: Any, events: Events) -> None:
    async def main() -> None:
        transport = AiohttpTransport(configured(server.host))
        response = await stream(transport, server.host)
        reading = asyncio.create_task(response.read(None))
        await asyncio.sleep(0.05)
        await transport.aclose()
        with pytest.raises(ApiConnectionError, match="the client was closed"):
            await reading

    run(main())


def test_a_stream_dropped_by_another_thread(server: Any, events: Events) -> None:
    async def main() -> None:
        transport = AiohttpTransport(configured(server.host))
        kept = [await stream(transport, server.host)]
        before = sockets()
        thread = threading.Thread(target=kept.clear)
        thread.start()
        thread.join()
        while sockets() == before:
            await asyncio.sleep(0.01)

    run(main())


def test_a_read_that_is_cancelled(server: Any, events: Events) -> None:
    async def main() -> None:
        transport = AiohttpTransport(configured(server.host))
        response = await stream(transport, server.host)
        reading = asyncio.create_task(response.read(5))
        await asyncio.sleep(0.05)
        reading.cancel()
        with pytest.raises(asyncio.CancelledError):
            await reading
        events.push(chunk(b"data: 1\n\n"))
        assert await response.read(5) == b"data: 1\n\n"
        response.close()

    run(main())


# Cancellation.


@pytest.mark.parametrize("raw", [b"", HEAD + b"Content-Length: 9\r\n\r\n{"], ids=["head", "body"])
def test_cancellation_leaves_nothing_half_used(raw: bytes, server: Any) -> None:
    came = threading.Event()

    def reply(request: Any, connection: socket.socket) -> None:
        connection.sendall(raw)
        came.set()
        hang(request, connection)

    async def main() -> None:
        transport = AiohttpTransport(configured(server.host))
        assert (await answer(transport, request_to(server.host))).data == b"{}"
        before = sockets()
        server.reply = reply
        task = asyncio.create_task(answer(transport, request_to(server.host)))
        assert await asyncio.to_thread(came.wait, 10)
        await asyncio.sleep(0.05)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await asyncio.sleep(0)
        assert sockets() <= before - 1
        server.answer({})
        assert (await answer(transport, request_to(server.host))).data == b"{}"

    run(main())
    assert server.connections == 2


def test_cancellation_while_connecting(trusting: dict[str, Any]) -> None:
    async def main(host: str) -> None:
        transport = AiohttpTransport(configured(host, **trusting))
        before = sockets()
        task = asyncio.create_task(answer(transport, request_to(host)))
        await asyncio.sleep(0.1)
        assert sockets() == before + 1
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await asyncio.sleep(0.05)
        assert sockets() == before

    with socket.create_server(("127.0.0.1", 0)) as deaf:
        run(main(f"https://127.0.0.1:{deaf.getsockname()[1]}/v4"))


def test_a_limit_around_a_request(server: Any) -> None:
    server.reply = hang

    async def main() -> None:
        transport = AiohttpTransport(configured(server.host))
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(answer(transport, request_to(server.host)), 0.1)
        server.answer({})
        assert (await answer(transport, request_to(server.host))).data == b"{}"

    run(main())


# Sessions and their loops.


def test_one_session_for_a_loop(server: Any) -> None:
    async def main() -> None:
        transport = AiohttpTransport(configured(server.host))
        for _ in range(3):
            await answer(transport, request_to(server.host))

    run(main())
    assert server.connections == 1


def test_one_loop_after_another(server: Any) -> None:
    transport = AiohttpTransport(configured(server.host))
    before = sockets()
    for _ in range(2):
        assert run(answer(transport, request_to(server.host))).data == b"{}"
        assert sockets() <= before + 1  # the server's
    assert server.connections == 2


def test_a_client_that_is_dropped_closes_its_connections(server: Any) -> None:
    async def main() -> None:
        before = sockets()
        await answer(AiohttpTransport(configured(server.host)), request_to(server.host))
        deadline = time.monotonic() + 10
        while sockets() > before and time.monotonic() < deadline:  # the server's end included
            await asyncio.sleep(0.01)
        assert sockets() == before

    run(main())


def test_a_thousand_loops_leave_nothing(server: Any) -> None:
    from humanloop.transport import aiohttp_transport

    def kept() -> int:
        gc.collect()
        modules = [str(type(thing).__module__).partition(".")[0] for thing in gc.get_objects()]
        return sum(module in ("aiohttp", "asyncio", "humanloop", "ssl") for module in modules)

    transport = AiohttpTransport(configured(server.host))
    request = request_to(server.host)
    asyncio.run(answer(transport, request))
    before = kept()
    for _ in range(1000):
        asyncio.run(answer(transport, request))
    assert kept() < before + 100
    assert len(transport.__dict__["_sessions"]) == 0
    assert len(aiohttp_transport.__dict__["_open"]) == 0


def test_a_thousand_requests_at_once(server: Any) -> None:
    async def main() -> None:
        transport = AiohttpTransport(configured(server.host))
        before = sockets()
        tasks = [answer(transport, request_to(server.host, timeout=60)) for _ in range(1000)]
        assert {response.data for response in await asyncio.gather(*tasks)} == {b"{}"}
        await transport.aclose()
        server_side = len(server.__dict__["_open"])
        deadline = time.monotonic() + 10
        while sockets() > before and time.monotonic() < deadline:  # the server closes its ends
            await asyncio.sleep(0.01)
        assert sockets() == before
        assert server_side == server.connections <= 100

    run(main())
    assert len(server.requests) == 1000


def test_loops_in_several_threads(server: Any) -> None:
    transport = AiohttpTransport(configured(server.host))
    barrier = threading.Barrier(4)

    async def main() -> set[bytes]:
        responses = []
        for _ in range(10):
            responses.append(await answer(transport, request_to(server.host)))
            await asyncio.to_thread(barrier.wait, 10)
        return {response.data for response in responses}

    with ThreadPoolExecutor(4) as pool:
        results = [pool.submit(run, main()) for _ in range(4)]
        assert [result.result(30) for result in results] == [{b"{}"}] * 4
    assert (len(server.requests), server.connections) == (40, 4)


@contextlib.contextmanager
def loop_in_a_thread() -> Iterator[asyncio.AbstractEventLoop]:
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        yield loop
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


def test_closing_reaches_the_loops_of_other_threads(server: Any) -> None:
    transport = AiohttpTransport(configured(server.host))
    request = request_to(server.host)
    with loop_in_a_thread() as other:
        asyncio.run_coroutine_threadsafe(answer(transport, request), other).result(10)

        async def main() -> None:
            await answer(transport, request)
            before = sockets()
            await transport.aclose()
            assert sockets() <= before - 2
            await transport.aclose()
            assert (await answer(transport, request)).data == b"{}"

        run(main())
        again = asyncio.run_coroutine_threadsafe(answer(transport, request), other).result(10)
        assert again.data == b"{}"
        before = sockets()
        transport.close()
        deadline = time.monotonic() + 10
        while sockets() >= before and time.monotonic() < deadline:
            time.sleep(0.01)
        assert sockets() < before
        transport.close()


def test_requests_under_way_when_the_client_is_closed(server: Any) -> None:
    server.reply = hang

    async def main() -> None:
        transport = AiohttpTransport(configured(server.host))
        tasks = [
            asyncio.create_task(answer(transport, request_to(server.host))) for _ in range(101)
        ]
        while len(server.requests) < 100:
            await asyncio.sleep(0.01)
        await transport.aclose()
        errors = await asyncio.gather(*tasks, return_exceptions=True)
        assert all(isinstance(error, ApiConnectionError) for error in errors)
        waiting = [error for error in errors if not cast(ApiConnectionError, error).sent]
        assert len(waiting) == 1
        assert cast(ApiConnectionError, waiting[0]).reason.endswith("the client was closed")

    run(main())


def test_closing_waits_for_no_server_that_does_not_read() -> None:
    async def main(host: str) -> None:
        transport = AiohttpTransport(configured(host))
        request = request_to(host, method="POST", body=b"x" * 20_000_000)
        task = asyncio.create_task(answer(transport, request))
        await asyncio.sleep(0.1)
        started = time.monotonic()
        await transport.aclose()
        assert time.monotonic() - started < GRACE
        with pytest.raises(ApiConnectionError):
            await task

    with socket.create_server(("127.0.0.1", 0)) as deaf:
        run(main(f"http://127.0.0.1:{deaf.getsockname()[1]}/v4"))


def test_closing_within_a_loop_without_waiting(server: Any) -> None:
    async def main() -> None:
        transport = AiohttpTransport(configured(server.host))
        await answer(transport, request_to(server.host))
        transport.close()
        assert (await answer(transport, request_to(server.host))).data == b"{}"
        transport.close()

    run(main())
    assert server.connections == 2


@pytest.mark.parametrize("tls", [False, True])
def test_a_loop_that_is_closed_without_a_shutdown(
    tls: bool, server: Any, tls_server: Any, trusting: dict[str, Any]
) -> None:
    one = tls_server if tls else server
    transport = AiohttpTransport(configured(one.host, **trusting))
    before = sockets()
    for _ in range(3):
        loop = asyncio.new_event_loop()
        loop.run_until_complete(answer(transport, request_to(one.host)))
        loop.close()
    del loop
    assert len(transport.__dict__["_sessions"]) == 1  # the last one, of which nothing is known yet
    transport.close()
    assert len(transport.__dict__["_sessions"]) == 0
    deadline = time.monotonic() + 10
    while sockets() > before and time.monotonic() < deadline:  # the server closes its ends
        time.sleep(0.01)
    assert sockets() == before


def test_a_loop_that_has_stopped(server: Any) -> None:
    transport = AiohttpTransport(configured(server.host))
    loop = asyncio.new_event_loop()
    loop.run_until_complete(answer(transport, request_to(server.host)))
    transport.close()
    run(transport.aclose())
    before = sockets()
    loop.run_until_complete(asyncio.sleep(0.05))
    assert sockets() < before
    loop.run_until_complete(answer(transport, request_to(server.host)))
    transport.close()
    loop.close()
    run(answer(transport, request_to(server.host)))  # which clears up


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")
def test_a_forked_child_opens_connections_of_its_own(server: Any) -> None:
    async def main() -> None:
        transport = AiohttpTransport(configured(server.host))
        await answer(transport, request_to(server.host))
        child = os.fork()
        if child == 0:
            code = 1
            with contextlib.suppress(BaseException):
                transport.close()
                asyncio.run(answer(transport, request_to(server.host)))
                code = 0
            os._exit(code)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        await answer(transport, request_to(server.host))

    run(main())
    assert (len(server.requests), server.connections) == (3, 2)


SCRIPTS = {
    "never closed": "asyncio.run(main(transport))",
    "dropped in the loop": "asyncio.run(main(AiohttpTransport(configuration)))",
    "dropped, and on": """
async def on():
    await main(AiohttpTransport(configuration))
    await main(AiohttpTransport(configuration))
asyncio.run(on())
""",
    "dropped between loops": """
asyncio.run(main(transport))
asyncio.run(main(transport))
del transport
""",
    "loop closed without a shutdown": """
loop = asyncio.new_event_loop()
loop.run_until_complete(main(transport))
loop.close()
""",
    "dropped after its loop": """
loop = asyncio.new_event_loop()
loop.run_until_complete(main(transport))
loop.close()
del transport
import gc; gc.collect()
""",
    "dropped before its loop": """
loop = asyncio.new_event_loop()
loop.run_until_complete(main(transport))
del transport
loop.close()
""",
    "a loop that still runs at the exit": """
import threading
loop = asyncio.new_event_loop()
threading.Thread(target=loop.run_forever, daemon=True).start()
asyncio.run_coroutine_threadsafe(main(transport), loop).result()
""",
    "an exception": """
async def failing():
    await main(transport)
    raise SystemExit(0)
asyncio.run(failing())
""",
    "a stream left open": """
async def streaming():
    global kept
    kept = await transport.send(Request(**{**fields, "stream": True, "path": "/events"}))
asyncio.run(streaming())
""",
    "a stream left open in a loop that is closed without a shutdown": """
async def streaming():
    return await transport.send(Request(**{**fields, "stream": True, "path": "/events"}))
loop = asyncio.new_event_loop()
kept = loop.run_until_complete(streaming())
loop.close()
""",
    "tasks under way": """
async def leaving():
    tasks = [asyncio.create_task(transport.send(Request(**{**fields, "path": "/events"})))]
    await main(transport)
    tasks.append(asyncio.create_task(transport.send(Request(**fields))))
    await asyncio.sleep(0)
asyncio.run(leaving())
""",
}


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
@pytest.mark.parametrize("script", SCRIPTS.values(), ids=SCRIPTS.keys())
def test_a_client_that_is_never_closed_leaves_no_warning(
    script: str, tls: bool, server: Any, tls_server: Any, trusting: dict[str, Any]
) -> None:
    one = tls_server if tls else server

    def reply(request: Any, connection: socket.socket) -> None:
        if request.path.endswith("/events"):
            connection.sendall(EVENTS + b"\r\ndata: 1\n\n")
            hang(request, connection)
        connection.sendall(HEAD + b"Content-Length: 2\r\n\r\n{}")

    one.reply = reply
    start = f"""
import asyncio
import logging
from humanloop import Configuration
from humanloop.http import Headers
from humanloop.transport import Request
from humanloop.transport.aiohttp_transport import AiohttpTransport
logging.getLogger("asyncio").setLevel(logging.ERROR)  # but for what took more than 0.1 seconds
configuration = Configuration({one.host!r}, "k", ssl_ca_cert={trusting["ssl_ca_cert"]!r})
transport = AiohttpTransport(configuration)
fields = dict(method="GET", host={one.host!r}, path="/p", query="", headers=Headers(), timeout=10)
async def main(transport):
    assert (await transport.send(Request(**fields))).data == b"{{}}"
"""
    command = [sys.executable, "-X", "dev", "-W", "error", "-c", start + script]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
    assert one.requests


def test_without_aiohttp() -> None:
    script = (
        "import sys; sys.modules['aiohttp'] = None\n"
        "import humanloop, humanloop.transport as transport\n"
        "try: transport.AiohttpTransport\n"
        "except ImportError as error: print(error)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.stdout.strip() == (
        'asynchronous calls need aiohttp 3.12.8 or later: pip install "humanloop[async]"'
    )
