"""A real HTTP server on the loopback interface that records requests and answers as it is told.

No reply ever sleeps: one that must be slow waits on its socket, so it ends as soon as the client
does.

The certificates in `tls/` come from an authority made for these tests (its key is not kept) and
are valid from 2020 to 2119: `loopback` for 127.0.0.1, `elsewhere` for another host, and `expired`,
which was valid until 2021.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import select
import socket
import ssl
import threading
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Any

import pytest

from humanloop import Configuration, Humanloop
from humanloop.transport.common import AUTHORITIES

TLS = Path(__file__).parent / "tls"
KEY = "hl-key"
PATIENCE = 20  # seconds to wait for what comes at once
THREADS = "humanloop-page-"


@dataclass(frozen=True)
class Recorded:
    """A request as it came in."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes
    raw: bytes = b""  # all of it, as it was read

    @property
    def path(self) -> str:
        return self.target.partition("?")[0]

    @property
    def query(self) -> str:
        return self.target.partition("?")[2]

    @property
    def json(self) -> Any:
        return json.loads(self.body)


Reply = Callable[[Recorded, socket.socket], None]


class Loopback:
    """The server: `reply` answers each request, `requests` holds what came."""

    reply: Reply

    def __init__(self, certificate: str | None = None) -> None:
        self.requests: list[Recorded] = []
        self._came = threading.Condition()
        self.connections = 0
        self.greeting = b""  # sent as soon as a connection is made
        self.answer()
        self._tls: ssl.SSLContext | None = None
        if certificate:
            self._tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self._tls.load_cert_chain(TLS / f"{certificate}.pem")
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._socket.getsockname()[1]
        self._open: list[socket.socket] = []
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()

    @property
    def host(self) -> str:
        return f"{'https' if self._tls else 'http'}://127.0.0.1:{self.port}/v4"

    def answer(self, body: Any = None, status: int = 200, **headers: str) -> None:
        """Answer every request from now on with `body`: bytes as they are, all else as JSON."""
        data = (
            body if isinstance(body, bytes) else json.dumps({} if body is None else body).encode()
        )
        self.reply = self.sending(response(data, status, headers))

    def send_raw(self, data: bytes, *, then_close: bool = True) -> None:
        """Answer every request from now on with these bytes, and close the connection."""
        self.reply = self.sending(data, then_close=then_close)

    def answer_in_turn(self, *replies: Reply | int | bytes) -> None:
        """Answer a request with each of these, and all that follow with the last one.

        A number is a status with an empty object; bytes are sent, and the connection is closed.
        """
        made: list[Reply] = []
        for reply in replies:
            if isinstance(reply, int):
                reply = self.sending(response(b"{}", reply))
            made.append(self.sending(reply, then_close=True) if isinstance(reply, bytes) else reply)
        turns = iter(made[:-1])
        self.reply = lambda request, connection: next(turns, made[-1])(request, connection)

    def arrived(self, count: int) -> int:
        """Wait for so many requests, as who sent them may give up first; return how many came."""
        with self._came:
            self._came.wait_for(lambda: len(self.requests) >= count, PATIENCE)
            return len(self.requests)

    @staticmethod
    def sending(data: bytes, *, then_close: bool = False) -> Reply:
        """A reply of these bytes."""

        def reply(request: Recorded, connection: socket.socket) -> None:
            connection.sendall(data)
            if then_close:
                connection.shutdown(socket.SHUT_RDWR)

        return reply

    @staticmethod
    def hanging(data: bytes = b"") -> Reply:
        """A reply of these bytes, after which nothing comes until the client has gone."""

        def reply(request: Recorded, connection: socket.socket) -> None:
            connection.sendall(data)
            connection.recv(1)

        return reply

    @staticmethod
    def dripping(head: bytes, piece: bytes, step: float = 0.02) -> Reply:
        """A reply of `head`, and `piece` for every `step` seconds until the client has gone."""

        def reply(request: Recorded, connection: socket.socket) -> None:
            connection.sendall(head)
            while not select.select([connection], [], [], step)[0]:
                connection.sendall(piece)

        return reply

    @staticmethod
    def endless(head: bytes, piece: bytes) -> Reply:
        """A reply of `head`, and of `piece` as often and as fast as the client takes it."""

        def reply(request: Recorded, connection: socket.socket) -> None:
            connection.sendall(head)
            while True:
                connection.sendall(piece)

        return reply

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        for connection in self._open:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            self.connections += 1
            self._threads.append(threading.Thread(target=self._serve, args=(connection,)))
            self._threads[-1].start()

    def _serve(self, connection: socket.socket) -> None:
        with contextlib.suppress(OSError), contextlib.ExitStack() as stack:
            stack.enter_context(connection)
            if self._tls:
                connection = self._tls.wrap_socket(connection, server_side=True)
                stack.enter_context(connection)
            self._open.append(connection)
            connection.sendall(self.greeting)
            with connection.makefile("rb") as stream:
                while request := _read(stream):
                    with self._came:
                        self.requests.append(request)
                        self._came.notify_all()
                    self.reply(request, connection)


def _read(stream: Any) -> Recorded | None:
    raw = stream.readline()
    start = raw.decode("latin-1").split()
    if not start:
        return None
    headers: dict[str, str] = {}
    while line := stream.readline():
        raw += line
        if not line.strip():
            break
        name, _, value = line.strip().decode("latin-1").partition(":")
        assert name not in headers, f"{name} came twice"
        headers[name] = value.strip()
    body = stream.read(int(headers.get("Content-Length", 0)))
    return Recorded(start[0], start[1], headers, body, raw + body)


def response(data: bytes, status: int = 200, headers: dict[str, str] | None = None) -> bytes:
    """A whole HTTP response."""
    fields = {"Content-Type": "application/json", "Content-Length": str(len(data))}
    fields |= {name.replace("_", "-"): value for name, value in (headers or {}).items()}
    if status == 204:
        data = b""
        del fields["Content-Length"], fields["Content-Type"]
    head = [f"HTTP/1.1 {status} {HTTPStatus(status).phrase}"]
    head += [f"{name}: {value}" for name, value in fields.items()]
    return "\r\n".join([*head, "", ""]).encode("latin-1") + data


class Caller:
    """Makes a call as it is, or by its asynchronous twin: each scenario is written once.

    All calls of one `Caller` run in one event loop, so that connections can be kept between them.
    """

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self.clients: list[Humanloop] = []
        self._loop = asyncio.new_event_loop() if kind == "async" else None
        self._complaints: list[Any] = []
        if self._loop:
            self._loop.set_exception_handler(lambda _, context: self._complaints.append(context))

    def client(self, host: str, **options: Any) -> Humanloop:
        """A client that is closed at the end."""
        self.clients.append(Humanloop(**{"api_key": KEY, "host": host, "timeout": 10, **options}))
        return self.clients[-1]

    def __call__(self, method: Any, *args: Any, **kwargs: Any) -> Any:
        """Call a method of a tag, or its twin."""
        outcome = self.twin(method)(*args, **kwargs)
        return self.run(outcome) if self._loop else outcome

    def twin(self, method: Any) -> Any:
        """The asynchronous twin of a method of a tag, if that is what this one calls."""
        return getattr(method.__self__, f"a{method.__name__}") if self._loop else method

    def run(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        assert self._loop
        task = asyncio.ensure_future(coroutine, loop=self._loop)
        self._loop.run_until_complete(_settled(task))
        try:
            return task.result()
        finally:
            del task  # it holds the error, whose traceback holds this frame

    def at_once(self, methods: list[Any], **kwargs: Any) -> list[Any]:
        """Call all methods at once, in a thread or a task each; return the bodies."""
        if self._loop:

            async def gathered() -> list[Any]:
                return await asyncio.gather(*(self.twin(method)(**kwargs) for method in methods))

            responses = self.run(gathered())
        else:
            barrier = threading.Barrier(len(methods))

            def call(method: Any) -> Any:
                barrier.wait(10)
                return method(**kwargs)

            with ThreadPoolExecutor(len(methods)) as pool:
                responses = list(pool.map(call, methods))
        return [response.body for response in responses]

    def next(self, stream: Any) -> Any:
        """The next event of a stream; raises StopIteration or StopAsyncIteration."""
        return self.run(stream.__anext__()) if self._loop else next(stream)

    def all(self, stream: Any) -> list[Any]:
        """All events that a stream has left."""
        if not self._loop:
            return list(stream)

        async def listed() -> list[Any]:
            return [event async for event in stream]

        return list(self.run(listed()))

    def close(self, closeable: Any) -> None:
        """Close a client or a stream."""
        if self._loop:
            self.run(closeable.aclose())
        else:
            closeable.close()

    def end(self) -> None:
        for client in self.clients:
            self.close(client)
        if self._loop:
            self.run(self._loop.shutdown_asyncgens())
            self.run(self._loop.shutdown_default_executor())
            self._loop.close()
        assert self._complaints == []


def page_threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name.startswith(THREADS)]


def settle() -> None:
    """Wait for the pages that are being fetched."""
    for thread in page_threads():
        thread.join(PATIENCE)
    assert page_threads() == []


async def asettle() -> None:
    tasks = [task for task in asyncio.all_tasks() if task.get_name().startswith(THREADS)]
    if tasks:
        await asyncio.wait(tasks, timeout=PATIENCE)


def wait_for_pages(caller: Caller) -> None:
    if caller.kind == "async":
        caller.run(asettle())
    settle()


async def _settled(task: asyncio.Future[Any]) -> None:
    await asyncio.wait([task])


@pytest.fixture(params=["sync", "async"])
def caller(request: pytest.FixtureRequest) -> Iterator[Caller]:
    made = Caller(request.param)
    yield made
    made.end()


@pytest.fixture
def asynchronous_caller() -> Iterator[Caller]:
    made = Caller("async")
    yield made
    made.end()


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """No test sees the keys of whoever runs it, nor the network."""
    settings = ("HUMANLOOP_API_KEY", "HUMANLOOP_BASE_URL", "REQUEST_METHOD", *AUTHORITIES)
    for name in (*settings, *(name for name in os.environ if name.lower().endswith("_proxy"))):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def server() -> Iterator[Loopback]:
    with contextlib.closing(Loopback()) as loopback:
        yield loopback


@pytest.fixture
def tls_server(request: pytest.FixtureRequest) -> Iterator[Loopback]:
    """A server with TLS; its parameter, by default `loopback`, names the certificate."""
    with contextlib.closing(Loopback(getattr(request, "param", "loopback"))) as loopback:
        yield loopback


@pytest.fixture
def client(server: Loopback) -> Iterator[Humanloop]:
    """A client that tries nothing twice."""
    with Humanloop(api_key="hl-key", host=server.host, timeout=10, retries=0) as humanloop:
        yield humanloop


def _sockets() -> set[str]:
    found: set[str] = set()
    for entry in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(OSError):  # it was that of the listing itself
            found.add(os.readlink(entry))
    return {name for name in found if name.startswith("socket:")}


@pytest.fixture
def new_sockets() -> Callable[[], set[str]]:
    """The sockets of this process that were not open yet when the test began."""
    if not Path("/proc/self/fd").exists():
        pytest.skip("needs /proc")
    before = _sockets()
    return lambda: _sockets() - before


@pytest.fixture
def trusting() -> dict[str, Any]:
    """The options of a client that trusts the tests' authority, and tries nothing twice."""
    authority = str(TLS / "authority.pem")
    return {"api_key": "hl-key", "ssl_ca_cert": authority, "timeout": 10, "retries": 0}


@pytest.fixture
def configuration() -> Configuration:
    return Configuration(host="http://127.0.0.1:9/v4", api_key="hl-key")
