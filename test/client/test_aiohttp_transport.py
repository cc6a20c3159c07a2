"""The asynchronous transport on real sockets: what goes out, streams, cancellation, loops, ends.

What it has in common with the synchronous one stands in test_faults.py.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import gzip
import logging
import os
import queue
import select
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar, cast

import aiohttp
import pytest
from client.limits import run_out

from humanloop import (
    ApiConnectionError,
    ApiTimeoutError,
    ClientClosedError,
    Configuration,
    Humanloop,
)
from humanloop.http import Headers
from humanloop.transport import (
    AsyncRawStream,
    AsyncTransport,
    RawResponse,
    Request,
    aiohttp_transport,
)
from humanloop.transport.aiohttp_transport import AiohttpTransport
from humanloop.transport.common import IDLE
from humanloop.transport.urllib3_transport import Urllib3Transport

T = TypeVar("T")
Send = Callable[..., RawResponse]

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
EVENTS = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"


@pytest.fixture(autouse=True)
def nothing_is_reported(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """No loop complains of anything."""
    with caplog.at_level(logging.ERROR, "asyncio"):
        yield
    reported = [record for record in caplog.records if record.name == "asyncio"]
    assert [record.getMessage() for record in reported] == []


@pytest.fixture(autouse=True, scope="module")
def nothing_is_left_open() -> Iterator[None]:
    """What is garbage after the last test complains of nothing, which would fail that test."""
    yield
    gc.collect()


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
    assert isinstance(caught.value.__cause__, Exception)
    return caught.value


async def eventually(condition: Callable[[], bool]) -> None:
    """Wait for what other threads, and the system, are about to do."""
    deadline = time.monotonic() + 10
    while not condition() and time.monotonic() < deadline:
        await asyncio.sleep(0.002)
    assert condition()


def hang(request: Any, connection: socket.socket) -> None:
    """Answer nothing until the client has gone."""
    connection.recv(1)


def hang_after(raw: bytes) -> Any:
    """Answer these bytes, and nothing more until the client has gone."""

    def reply(request: Any, connection: socket.socket) -> None:
        connection.sendall(raw)
        connection.recv(1)

    return reply


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(data), data)


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


# What comes back.


def test_an_answer(server: Any) -> None:
    body = b'{"a":1}'
    server.send_raw(
        b"HTTP/1.1 201 All Cre\xe4ted\r\nContent-Type: application/json\r\nx-Tag: a\r\nX-TAG: b\xe9"
        b"\r\nContent-Length: 7\r\n\r\n" + body
    )
    started = time.monotonic()
    response = send(server.host)
    assert 0 < response.elapsed < time.monotonic() - started
    assert (response.status, response.reason, response.data) == (201, "All Cre\xe4ted", body)
    assert list(response.headers) == ["Content-Type", "x-Tag", "Content-Length"]
    assert response.headers.getlist("x-tag") == ["a", "b\xe9"]


@pytest.mark.skipif(sys.flags.dev_mode, reason="aiohttp is stricter in Python's development mode")
def test_a_folded_header(server: Any) -> None:
    server.send_raw(b"HTTP/1.1 200 OK\r\nX-Fold: one\r\n  two\r\nContent-Length: 0\r\n\r\n")
    assert send(server.host).headers["X-Fold"].split() == ["one", "two"]


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


@pytest.mark.parametrize("watched", [False, True])
def test_informational_answers_before_the_final_one(
    watched: bool, server: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    if watched:
        monkeypatch.setattr(aiohttp_transport, "_is_watched", lambda _: True)
    early = b"HTTP/1.1 103 Early Hints\r\nLink: </style.css>\r\n\r\n"
    final = HEAD + b"Content-Length: 2\r\n\r\n{}"
    server.send_raw(b"HTTP/1.1 100 Continue\r\n\r\n" + early * 2 + final, then_close=False)

    async def main() -> None:
        transport = AiohttpTransport(configured(server.host))
        for _ in range(2):
            response = await answer(transport, request_to(server.host))
            assert (response.status, response.data) == (200, b"{}")
            assert "Link" not in response.headers

    run(main())
    assert (len(server.requests), server.connections) == (2, 1)


@pytest.mark.parametrize(
    "fields",
    [
        b"Content-Length: 20, 20\r\n",
        b"content-length: 20\r\nX-A: 1\r\nContent-Length: 20\r\n",
        b"Content-Length: 20 ,20,\t20\r\nContent-Length: 20\r\n",
    ],
    ids=["list", "fields", "both"],
)
def test_a_length_that_is_told_several_times(fields: bytes, server: Any) -> None:
    body = b'["Content-Length: 1"]'[:20]
    server.send_raw(HEAD + fields + b"\r\n" + body, then_close=False)

    async def main() -> None:
        transport = AiohttpTransport(configured(server.host))
        for _ in range(2):
            assert (await answer(transport, request_to(server.host))).data == body

    run(main())
    assert (len(server.requests), server.connections) == (2, 1)


@pytest.mark.parametrize("value", [b"20, 21", b"20\r\nContent-Length: 21", b"20,", b"+20, +20"])
def test_lengths_that_differ(value: bytes, server: Any) -> None:
    server.send_raw(HEAD + b"Content-Length: " + value + b"\r\n\r\n" + b" " * 21)
    assert "Content-Length" in str(failure(server.host).reason)
    assert len(server.requests) == 1


def test_a_header_outside_ascii_goes_out_as_latin_1(server: Any) -> None:
    headers = Headers({"X-Name": "caf\xe9"})
    for transport in ("async", "sync"):
        if transport == "async":
            send(server.host, headers=headers)
        else:
            Urllib3Transport(configured(server.host)).send(request_to(server.host, headers=headers))
        assert b"X-Name: caf\xe9\r\n" in server.requests.pop().raw


def test_the_wait_for_a_free_connection_counts(server: Any) -> None:
    server.reply = hang

    async def main() -> None:
        transport = AiohttpTransport(configured(server.host, connection_pool_maxsize=1))
        request = request_to(server.host)
        busy = [asyncio.create_task(answer(transport, request)) for _ in range(100)]
        await eventually(lambda: len(server.requests) == 100)
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


@pytest.mark.parametrize("watched", [False, True])
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_nothing_is_sent_twice(
    method: str, watched: bool, server: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[BaseException] = []

    async def note(session: Any, context: Any, told: Any) -> None:
        seen.append(told.exception)

    if watched:
        watch(monkeypatch, on_request_exception=note)

    async def main() -> None:
        transport = AiohttpTransport(configured(server.host))
        await answer(transport, request_to(server.host))
        server.send_raw(b"")  # closes the kept connection when the request has come
        with pytest.raises(ApiConnectionError) as caught:
            await answer(transport, request_to(server.host, method=method))
        assert caught.value.sent
        assert isinstance(caught.value.__cause__, aiohttp.ClientError)
        assert seen == ([caught.value.__cause__] if watched else [])

    run(main())
    assert (len(server.requests), server.connections) == (2, 1)


def test_an_early_answer_of_a_server_that_reads_no_more(new_sockets: Any) -> None:
    over = threading.Event()

    def refuse(listener: socket.socket) -> None:
        connection, _ = listener.accept()
        with connection:
            connection.recv(1)
            select.select([], [], [], 0.3)  # until no more can be sent
            connection.sendall(b"HTTP/1.1 413 Content Too Large\r\nContent-Length: 0\r\n\r\n")
            assert over.wait(10)

    async def main(host: str) -> None:
        before = len(new_sockets())
        transport = AiohttpTransport(configured(host))
        request = request_to(host, method="POST", body=b"x" * 20_000_000)
        assert (await answer(transport, request)).status == 413
        await transport.aclose()
        assert len(new_sockets()) == before + 1  # the server's
        over.set()

    with socket.create_server(("127.0.0.1", 0)) as listener, ThreadPoolExecutor(1) as pool:
        refusal = pool.submit(refuse, listener)
        run(main(f"http://127.0.0.1:{listener.getsockname()[1]}/v4"))
        refusal.result(10)


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
        events.push(chunk(b"data: 1\n\n"))
        assert await response.read(5) == b"data: 1\n\n"

    run(main())


def test_a_stream_outlives_the_deadline_of_its_head(server: Any, events: Events) -> None:
    async def main() -> None:
        transport = AiohttpTransport(configured(server.host))
        response = await stream(transport, server.host, timeout=0.5, read_timeout=0.5)
        await asyncio.sleep(0.6)
        events.push(chunk(b"data: 1\n\n"))
        assert await response.read(None) == b"data: 1\n\n"
        response.close()

    run(main())


def test_a_stream_whose_head_does_not_come(server: Any) -> None:
    server.reply = hang
    expected = "no complete answer within {} seconds (while waiting for the answer)"
    run_out(expected, failure, "timeout", server.host, stream=True)


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
        (b"Content-Encoding: gzip\r\n\r\n", gzip.compress(b"data: 1\n\n")[:-3], "is truncated"),
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
        gzip.compress(b"\0" * 20_000_000),
        Content_Type="text/event-stream",
        Content_Encoding="gzip",
    )

    async def main() -> None:
        transport = AiohttpTransport(configured(server.host))
        response = await stream(transport, server.host)
        sizes = [len(await response.read(5)) for _ in range(3)]
        assert 0 < max(sizes) < 5_000_000
        response.close()

    run(main())


def test_a_stream_that_is_left_early_gives_its_connection_up(
    server: Any, events: Events, new_sockets: Any
) -> None:
    async def main() -> None:
        before = len(new_sockets())
        transport = AiohttpTransport(configured(server.host))
        response = await stream(transport, server.host)
        response.close()
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert len(new_sockets()) == before + 1  # the server's
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
    kept[0].close()


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
def test_a_stream_of_a_client_that_is_closed(
    tls: bool, server: Any, tls_server: Any, trusting: dict[str, Any]
) -> None:
    one = tls_server if tls else server
    one.reply = hang_after(EVENTS + b"\r\n")

    async def main() -> None:
        transport = AiohttpTransport(configured(one.host, **trusting))
        read, unread = [await stream(transport, one.host) for _ in range(2)]
        reading = asyncio.create_task(read.read(None))
        await asyncio.sleep(0)
        await transport.aclose()
        for outcome in (reading, unread.read(None)):
            with pytest.raises(ClientClosedError, match="the client was closed"):
                await outcome
        assert await read.read(None) == b""

    run(main())


def test_a_stream_dropped_by_another_thread(server: Any, events: Events, new_sockets: Any) -> None:
    async def main() -> None:
        transport = AiohttpTransport(configured(server.host))
        kept = [await stream(transport, server.host)]
        before = len(new_sockets())
        thread = threading.Thread(target=kept.clear)
        thread.start()
        thread.join()
        await eventually(lambda: len(new_sockets()) < before)

    run(main())


def test_a_read_that_is_cancelled(server: Any, events: Events) -> None:
    async def main() -> None:
        transport = AiohttpTransport(configured(server.host))
        response = await stream(transport, server.host)
        reading = asyncio.create_task(response.read(5))
        await asyncio.sleep(0)
        reading.cancel()
        with pytest.raises(asyncio.CancelledError):
            await reading
        events.push(chunk(b"data: 1\n\n"))
        assert await response.read(5) == b"data: 1\n\n"
        response.close()

    run(main())


# Cancellation.


@pytest.mark.parametrize("raw", [b"", HEAD + b"Content-Length: 9\r\n\r\n{"], ids=["head", "body"])
@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
def test_cancellation_leaves_nothing_half_used(
    tls: bool, raw: bytes, server: Any, tls_server: Any, trusting: dict[str, Any], new_sockets: Any
) -> None:
    one, over = tls_server if tls else server, threading.Event()

    def reply(request: Any, connection: socket.socket) -> None:
        connection.sendall(raw)
        over.wait(10)  # and take no leave

    async def main() -> None:
        transport = AiohttpTransport(configured(one.host, **trusting))
        assert (await answer(transport, request_to(one.host))).data == b"{}"
        before = new_sockets()
        one.reply = reply
        task = asyncio.create_task(answer(transport, request_to(one.host)))
        await eventually(lambda: len(one.requests) == 2)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        for _ in range(3):  # rounds of the loop, one for each layer: nobody is waited for
            await asyncio.sleep(0)
        assert len(before - new_sockets()) == 1
        over.set()
        one.answer({})
        assert (await answer(transport, request_to(one.host))).data == b"{}"

    run(main())
    assert one.connections == 2


def test_cancellation_while_connecting(trusting: dict[str, Any], new_sockets: Any) -> None:
    async def main(host: str) -> None:
        transport = AiohttpTransport(configured(host, **trusting))
        before = len(new_sockets())
        task = asyncio.create_task(answer(transport, request_to(host)))
        await eventually(lambda: len(new_sockets()) == before + 1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await eventually(lambda: len(new_sockets()) == before)

    with socket.create_server(("127.0.0.1", 0)) as deaf:
        run(main(f"https://127.0.0.1:{deaf.getsockname()[1]}/v4"))


@pytest.mark.skipif(sys.version_info < (3, 11), reason="who else cancels is not known before")
def test_cancellation_at_the_moment_of_closing_stays_one(server: Any) -> None:
    server.reply = hang

    async def main() -> None:
        transport = AiohttpTransport(configured(server.host))
        task = asyncio.create_task(answer(transport, request_to(server.host)))
        await eventually(lambda: len(server.requests) == 1)
        closing = asyncio.create_task(transport.aclose())
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await closing

    run(main())


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


def test_a_session_ends_with_its_loop(server: Any, new_sockets: Any) -> None:
    transport = AiohttpTransport(configured(server.host))
    before = len(new_sockets())
    for _ in range(2):
        assert run(answer(transport, request_to(server.host))).data == b"{}"
        assert len(new_sockets()) <= before + 1  # the server's
    assert server.connections == 2


def test_a_loop_goes_on_after_its_asynchronous_generators_were_shut_down(server: Any) -> None:
    transport = AiohttpTransport(configured(server.host))
    loop = asyncio.new_event_loop()
    loop.run_until_complete(answer(transport, request_to(server.host)))
    loop.run_until_complete(loop.shutdown_asyncgens())
    with pytest.warns(ResourceWarning, match="shutdown_asyncgens"):  # as asyncio says
        loop.run_until_complete(answer(transport, request_to(server.host)))
    loop.run_until_complete(transport.aclose())
    loop.close()
    assert server.connections == 2


def test_a_session_ends_with_its_transport(server: Any, new_sockets: Any) -> None:
    async def main() -> None:
        before = len(new_sockets())
        await answer(AiohttpTransport(configured(server.host)), request_to(server.host))
        await eventually(lambda: len(new_sockets()) <= before)  # the server's end included

    run(main())


def test_a_hundred_loops_leave_nothing(server: Any) -> None:
    def kept() -> int:
        gc.collect()
        modules = [str(type(thing).__module__).partition(".")[0] for thing in gc.get_objects()]
        return sum(module in ("aiohttp", "asyncio", "humanloop", "ssl") for module in modules)

    transport = AiohttpTransport(configured(server.host))
    request = request_to(server.host)
    asyncio.run(answer(transport, request))
    before = kept()
    for _ in range(100):
        asyncio.run(answer(transport, request))
    assert kept() < before + 50


def test_an_open_stream_takes_one_of_a_hundred_connections(server: Any) -> None:
    server.reply = hang_after(EVENTS + b"\r\n")

    async def main() -> None:
        transport = AiohttpTransport(configured(server.host))
        streams = [await stream(transport, server.host) for _ in range(100)]
        request = request_to(server.host, timeout=0.1)
        with pytest.raises(ApiTimeoutError, match="no connection within"):
            await answer(transport, request)
        server.answer({})
        streams.pop().close()
        assert (await answer(transport, request_to(server.host))).data == b"{}"
        streams.clear()  # to drop them frees their connections, too
        tasks = [answer(transport, request_to(server.host)) for _ in range(20)]
        assert {response.data for response in await asyncio.gather(*tasks)} == {b"{}"}

    run(main())


def test_no_more_than_a_hundred_connections(server: Any) -> None:
    async def main() -> None:
        transport = AiohttpTransport(configured(server.host))
        tasks = [answer(transport, request_to(server.host, timeout=60)) for _ in range(150)]
        assert {response.data for response in await asyncio.gather(*tasks)} == {b"{}"}

    run(main())
    assert len(server.requests) == 150
    assert server.connections <= 100


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
    loops: queue.Queue[asyncio.AbstractEventLoop] = queue.Queue()
    over = threading.Event()

    async def main() -> None:
        loops.put(asyncio.get_running_loop())
        await asyncio.to_thread(over.wait)

    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(run, main())
        try:
            yield loops.get(timeout=10)
        finally:
            over.set()
            running.result(10)


def test_closing_reaches_the_loops_of_other_threads(server: Any, new_sockets: Any) -> None:
    transport = AiohttpTransport(configured(server.host))
    request = request_to(server.host)
    with loop_in_a_thread() as other:
        asyncio.run_coroutine_threadsafe(answer(transport, request), other).result(10)

        async def main() -> None:
            await answer(transport, request)
            before = new_sockets()
            await transport.aclose()
            assert len(before - new_sockets()) >= 2
            await transport.aclose()
            assert (await answer(transport, request)).data == b"{}"

        run(main())
        again = asyncio.run_coroutine_threadsafe(answer(transport, request), other).result(10)
        assert again.data == b"{}"
        before = new_sockets()
        transport.close()
        run(eventually(lambda: len(before - new_sockets()) > 0))
        transport.close()


def test_requests_under_way_when_the_client_is_closed(server: Any) -> None:
    server.reply = hang

    async def main() -> None:
        transport = AiohttpTransport(configured(server.host))
        tasks = [
            asyncio.create_task(answer(transport, request_to(server.host))) for _ in range(101)
        ]
        await eventually(lambda: len(server.requests) == 100)
        await transport.aclose()
        errors = await asyncio.gather(*tasks, return_exceptions=True)
        assert {type(error) for error in errors} == {ClientClosedError}
        assert [cast(ClientClosedError, error).sent for error in errors].count(False) == 1

    run(main())


def test_closing_waits_for_no_server_that_does_not_read(
    new_sockets: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("humanloop.transport.aiohttp_transport.GRACE", 60)

    async def main(host: str) -> None:
        transport = AiohttpTransport(configured(host))
        before = len(new_sockets())
        request = request_to(host, method="POST", body=b"x" * 20_000_000)
        task = asyncio.create_task(answer(transport, request))
        await eventually(lambda: len(new_sockets()) > before)
        await asyncio.sleep(0)
        started = time.monotonic()
        await transport.aclose()
        assert time.monotonic() - started < 30
        with pytest.raises(ClientClosedError):
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


def test_a_loop_that_has_stopped_closes_its_connections_when_it_goes_on(
    server: Any, new_sockets: Any
) -> None:
    transport = AiohttpTransport(configured(server.host))
    loop = asyncio.new_event_loop()
    loop.run_until_complete(answer(transport, request_to(server.host)))
    run(transport.aclose())
    before = new_sockets()
    loop.run_until_complete(eventually(lambda: len(before - new_sockets()) > 0))
    loop.close()


def test_a_loop_that_was_closed_without_a_shutdown_warns() -> None:
    script = """
async def serve(reader, writer):
    await reader.readuntil(b"\\r\\n\\r\\n")
    writer.write(b"HTTP/1.1 200 OK\\r\\nContent-Length: 2\\r\\n\\r\\n{}")
async def main():
    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    host = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    transport = AiohttpTransport(Configuration(host, "k"))
    request = Request("GET", host, "/p", "", Headers(), timeout=10)
    assert (await transport.send(request)).data == b"{}"
    return transport
loop = asyncio.new_event_loop()
transport = loop.run_until_complete(main())
loop.close()
del transport
"""
    done = subprocess.run(
        [sys.executable, "-W", "always", "-c", PRELUDE + script],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0
    assert "ResourceWarning: Unclosed client session" in done.stderr


PRELUDE = """
import asyncio, gc, logging, sys
from humanloop import Configuration
from humanloop.http import Headers, Request
from humanloop.transport.aiohttp_transport import AiohttpTransport
from humanloop.transport.common import IDLE
logging.getLogger("asyncio").setLevel(logging.ERROR)  # but for what took more than 0.1 seconds
"""

ENDS = """
host, authority = sys.argv[1:]
configuration = Configuration(host, "k", ssl_ca_cert=authority)
transport = AiohttpTransport(configuration)
fields = dict(method="GET", host=host, path="/p", query="", headers=Headers(), timeout=10)
events = Request(**{**fields, "stream": True, "path": "/events"})
kept = []
async def main(transport):
    assert (await transport.send(Request(**fields))).data == b"{}"

def never_closed():
    asyncio.run(main(transport))
    asyncio.run(main(transport))
def dropped_in_the_loop():
    asyncio.run(main(AiohttpTransport(configuration)))
def dropped_and_on():
    async def on():
        await main(AiohttpTransport(configuration))
        await main(AiohttpTransport(configuration))
    asyncio.run(on())
def closed_at_the_end_of_the_loop():
    async def closing():
        await main(transport)
        transport.close()
    asyncio.run(closing())
def an_exception():
    async def failing():
        await main(transport)
        raise SystemExit(0)
    try:
        asyncio.run(failing())
    except SystemExit:
        pass
def a_stream_left_open():
    async def streaming():
        kept.append(await transport.send(events))
    asyncio.run(streaming())
def tasks_under_way():
    async def leaving():
        tasks = [asyncio.create_task(transport.send(events))]
        await main(transport)
        tasks.append(asyncio.create_task(transport.send(Request(**fields))))
        await asyncio.sleep(0)
    asyncio.run(leaving())
for end in (never_closed, dropped_in_the_loop, dropped_and_on, closed_at_the_end_of_the_loop,
            an_exception, a_stream_left_open, tasks_under_way):
    print(end.__name__, file=sys.stderr)
    end()
    gc.collect()
"""


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
def test_a_client_that_is_never_closed_leaves_no_warning(
    tls: bool, server: Any, tls_server: Any, trusting: dict[str, Any]
) -> None:
    one = tls_server if tls else server

    def reply(request: Any, connection: socket.socket) -> None:
        if request.path.endswith("/events"):
            hang_after(EVENTS + b"\r\ndata: 1\n\n")(request, connection)
        connection.sendall(HEAD + b"Content-Length: 2\r\n\r\n{}")

    one.reply = reply
    command = [sys.executable, "-X", "dev", "-W", "error", "-c", PRELUDE + ENDS]
    done = subprocess.run(
        [*command, one.host, trusting["ssl_ca_cert"]], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0
    assert done.stderr.split("\n") == [
        "never_closed",
        "dropped_in_the_loop",
        "dropped_and_on",
        "closed_at_the_end_of_the_loop",
        "an_exception",
        "a_stream_left_open",
        "tasks_under_way",
        "",
    ]


def test_without_aiohttp() -> None:
    script = (
        "import sys; sys.modules['aiohttp'] = None\n"
        "import humanloop, humanloop.transport as transport\n"
        "try: transport.AiohttpTransport\n"
        "except ImportError as error: print(error)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.stdout.strip() == (
        "asynchronous calls need aiohttp 3.12.8 or later; install the extra `async`: pip install"
        " '.[async]' in a clone of the repository, or pip install 'PATH/TO/WHEEL.whl[async]'"
    )


# Time.


def busy_executor(loop: asyncio.AbstractEventLoop, until: threading.Event) -> None:
    """Fill the loop's default executor, as an application may."""
    for _ in range(64):
        loop.run_in_executor(None, until.wait)


def test_400_first_calls_by_tls_share_one_context(
    tls_server: Any, trusting: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    load, loaded = ssl.SSLContext.load_verify_locations, []

    def counted(context: ssl.SSLContext, *arguments: Any) -> None:
        loaded.append(arguments)
        load(context, *arguments)

    monkeypatch.setattr(ssl.SSLContext, "load_verify_locations", counted)

    async def main() -> None:
        transport = AiohttpTransport(configured(tls_server.host, **trusting))
        request = request_to(tls_server.host, timeout=20)
        busy_executor(asyncio.get_running_loop(), done)
        answers = await asyncio.gather(*(answer(transport, request) for _ in range(400)))
        assert [a.status for a in answers] == [200] * 400
        done.set()

    done = threading.Event()
    asyncio.run(main())
    assert len(loaded) == 1
    assert len(tls_server.requests) == 400
    assert tls_server.connections <= 100


def test_a_name_is_looked_up_beside_a_busy_executor(server: Any) -> None:
    done = threading.Event()

    async def main() -> None:
        host = server.host.replace("127.0.0.1", "localhost")
        transport = AiohttpTransport(configured(host))
        busy_executor(asyncio.get_running_loop(), done)
        assert (await answer(transport, request_to(host, timeout=5))).status == 200
        done.set()

    run(main())


def test_a_lookup_that_hangs_is_left_alone(server: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    lookup, go_on, asked = socket.getaddrinfo, threading.Event(), []

    def hanging(host: str, *arguments: Any) -> Any:
        asked.append(host)
        assert go_on.wait(60)
        return lookup("127.0.0.1", *arguments)

    monkeypatch.setattr(socket, "getaddrinfo", hanging)

    async def main() -> None:
        host = f"http://slow.example:{server.port}"
        transport, loop = AiohttpTransport(configured(host)), asyncio.get_running_loop()

        def call(**limit: float) -> ApiConnectionError:
            began = time.monotonic()
            sending = answer(transport, request_to(host, **limit))
            error = asyncio.run_coroutine_threadsafe(sending, loop).exception()
            assert time.monotonic() - began < sum(limit.values()) + 10
            assert isinstance(error, ApiTimeoutError)
            return error

        expected = "no connection within {} seconds (while looking up the host)"
        for limit in ("timeout", "connect_timeout"):
            _, late = await asyncio.to_thread(run_out, expected, call, limit)
            assert not late.sent
        assert asked == ["slow.example"]  # once for all who wait
        assert (await answer(transport, request_to(server.host))).status == 200  # none to look up
        go_on.set()
        assert (await answer(transport, request_to(host))).status == 200

    try:
        run(main())
    finally:
        go_on.set()
    assert len(server.requests) == 2


def test_a_lookup_that_outlives_its_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    go_on = threading.Event()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_: go_on.wait(60) and [])
    expected = "no connection within {} seconds (while looking up the host)"
    run_out(expected, failure, "timeout", "http://slow.example")
    (thread,) = (t for t in threading.enumerate() if t.name == "humanloop-lookup")
    go_on.set()
    thread.join(10)
    assert not thread.is_alive()


def test_what_took_so_long(server: Any, tls_server: Any, new_sockets: Any) -> None:
    server.reply = hang
    expected = "no complete answer within {} seconds (while waiting for the answer)"
    run_out(expected, failure, "timeout", server.host)
    server.reply = hang_after(HEAD + b"Content-Length: 9\r\n\r\n{")
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


def test_a_host_that_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    """All of its addresses together have the time to connect."""
    full = [socket.create_server(("127.0.0.1", 0), backlog=0) for _ in range(3)]
    fillers = []
    try:
        for listener in full:
            for _ in range(2):
                filler = socket.socket()
                filler.setblocking(False)
                filler.connect_ex(listener.getsockname())
                fillers.append(filler)
        found = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", s.getsockname()) for s in full]
        monkeypatch.setattr(socket, "getaddrinfo", lambda *_: found)
        host = f"http://many.example:{full[0].getsockname()[1]}"

        def call(connect_timeout: float) -> ApiConnectionError:
            began = time.monotonic()
            error = failure(host, connect_timeout=connect_timeout)
            assert time.monotonic() - began < connect_timeout + 10
            return error

        doing = f"connecting to 127.0.0.1:{full[0].getsockname()[1]} and *"
        run_out(f"no connection within {{}} seconds (while {doing})", call, "connect_timeout")
    finally:
        for sock in (*fillers, *full):
            sock.close()


@pytest.mark.parametrize("limit", ["timeout", "connect_timeout", "read_timeout"])
@pytest.mark.parametrize("seconds", [sys.maxsize, 1e300])
def test_a_limit_beyond_all_clocks_is_long(limit: str, seconds: float, server: Any) -> None:
    assert (
        run(
            answer(
                AiohttpTransport(configured(server.host)),
                request_to(server.host, **{limit: seconds}),
            )
        ).status
        == 200
    )


def test_a_connection_by_tls_that_the_server_closes_leaves_no_warning(
    tls_server: Any, trusting: dict[str, Any], recwarn: pytest.WarningsRecorder
) -> None:
    async def main() -> None:
        transport = AiohttpTransport(configured(tls_server.host, **trusting))
        await answer(transport, request_to(tls_server.host))
        await asyncio.to_thread(tls_server.close)
        for _ in range(5):
            await asyncio.sleep(0)  # until the loop has seen it
        await transport.aclose()

    run(main())
    gc.collect()
    assert not recwarn.list


def test_a_connection_that_was_idle_for_long_is_not_used(
    server: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def main() -> None:
        transport = AiohttpTransport(configured(server.host))
        for seconds in (0, IDLE - 1, 2 * IDLE):
            later = time.monotonic() + seconds
            with monkeypatch.context() as patch:
                patch.setattr("aiohttp.connector.monotonic", lambda: later)  # noqa: B023
                await answer(transport, request_to(server.host))
            counts.append(server.connections)
        await transport.aclose()

    counts: list[int] = []
    run(main())
    assert counts == [1, 1, 2]


# Others who look on.


def watch(monkeypatch: pytest.MonkeyPatch, **signals: Any) -> None:
    """As OpenTelemetry and Sentry do it: add a TraceConfig to each new session."""
    original = aiohttp.ClientSession.__init__

    def watched(self: Any, *arguments: Any, **options: Any) -> None:
        trace = aiohttp.TraceConfig()
        for name, note in signals.items():
            getattr(trace, name).append(note)
        original(self, *arguments, trace_configs=[trace], **options)

    monkeypatch.setattr(aiohttp.ClientSession, "__init__", watched)


def test_who_watches_a_session_sees_its_requests(
    server: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[str, str, int]] = []

    async def note(session: Any, context: Any, told: aiohttp.TraceRequestEndParams) -> None:
        seen.append((told.method, str(told.url), told.response.status))

    watch(monkeypatch, on_request_end=note)
    server.answer_in_turn(200, 404)

    async def main() -> None:
        transport = AiohttpTransport(configured(server.host))
        for status, body in ((200, None), (404, b"{}")):
            request = request_to(server.host, method="POST" if body else "GET", body=body)
            assert (await answer(transport, request)).status == status
        await transport.aclose()

    run(main())
    url = f"{server.host}/projects"
    assert seen == [("GET", url, 200), ("POST", url, 404)]
    assert (len(server.requests), server.connections) == (2, 1)


def test_what_replaces_requests_of_sessions_gets_ours(
    server: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As tools for tests do it, which answer themselves."""
    asked: list[Any] = []

    async def refuse(self: Any, method: str, url: Any, **options: Any) -> Any:
        asked.append((method, str(url), options["headers"]["Accept"]))
        raise aiohttp.ClientConnectionError("no network in this test")

    monkeypatch.setattr(aiohttp.ClientSession, "_request", refuse)
    assert "no network in this test" in str(failure(server.host).reason)
    assert asked == [("GET", f"{server.host}/projects", "application/json")]
    assert server.requests == []


def test_errors_of_what_replaces_requests_come_out(
    server: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def refuse(self: Any, *arguments: Any, **options: Any) -> Any:
        raise LookupError("nothing was recorded")

    monkeypatch.setattr(aiohttp.ClientSession, "_request", refuse)

    async def main() -> None:
        async with Humanloop("k", server.host) as client:
            with pytest.raises(LookupError, match="nothing was recorded"):
                await client.projects.alist()
            monkeypatch.undo()
            assert (await client.projects.alist(skip_deserialization=True)).body == {}

    run(main())
    assert len(server.requests) == 1
