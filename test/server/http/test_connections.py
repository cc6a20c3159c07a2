"""Connections of those who have no key: half requests, too many, bad framing, slow readers."""

from __future__ import annotations

import http.client
import json
import logging
import select
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from urllib.parse import urlsplit

import pytest

from humanloop.server import EmbeddedServer, Settings

from ..api import API_KEY, Api

HEAD = f"Host: localhost\r\nX-API-KEY: {API_KEY}\r\n"
GET = f"GET /v4/projects HTTP/1.1\r\n{HEAD}\r\n".encode()


@contextmanager
def connect(server: EmbeddedServer) -> Iterator[socket.socket]:
    """A connection to the server."""
    address = ("127.0.0.1", urlsplit(server.url).port or 0)
    with closing(socket.create_connection(address, 60)) as connection:
        yield connection


def until_closed(connection: socket.socket) -> bytes:
    """All that the server sends until it closes the connection."""
    with closing(connection.makefile("rb")) as file:
        return file.read()


def exchange(server: EmbeddedServer, data: bytes) -> bytes:
    """What comes back for some bytes until the server closes the connection."""
    with connect(server) as connection:
        connection.sendall(data)
        return until_closed(connection)


def status(answer: bytes) -> int:
    """The status of an answer whose body is JSON with a `detail`."""
    head, _, body = answer.partition(b"\r\n\r\n")
    assert isinstance(json.loads(body)["detail"], str)
    return int(head.split()[1])


@pytest.fixture
def hurried() -> Iterator[EmbeddedServer]:
    """A server with short time limits."""
    settings = Settings(head_seconds=0.5, idle_seconds=1)
    with EmbeddedServer(api_key=API_KEY, settings=settings) as server:
        yield server


class TestTime:
    """How long a connection may take."""

    @pytest.mark.parametrize("data", [b"G", b"GET / HTTP/1.1\r\nHost: localhost\r\nX: ", GET[:-2]])
    def test_half_a_head_is_answered_and_closed(self, hurried: EmbeddedServer, data: bytes) -> None:
        answer = exchange(hurried, data)
        assert status(answer) == 408
        assert b"connection: close" in answer

    def test_a_head_that_comes_byte_by_byte_gets_no_more_time(
        self, hurried: EmbeddedServer
    ) -> None:
        with connect(hurried) as connection:
            connection.sendall(b"GET / HTTP/1.1\r\nX: ")
            connection.settimeout(0.05)
            answer = b""
            for _ in range(100):
                try:
                    answer = connection.recv(10_000)
                    break
                except TimeoutError:
                    connection.sendall(b"x")
        assert status(answer) == 408

    def test_a_connection_that_sends_nothing_is_closed(self, hurried: EmbeddedServer) -> None:
        assert exchange(hurried, b"") == b""

    def test_a_kept_connection_is_closed_when_nothing_comes(self, hurried: EmbeddedServer) -> None:
        assert exchange(hurried, GET).startswith(b"HTTP/1.1 200")

    def test_half_a_head_on_a_kept_connection_is_closed(self, hurried: EmbeddedServer) -> None:
        first, second = exchange(hurried, GET + GET[:30]).split(b"HTTP/1.1 ")[1:]
        assert first.startswith(b"200")
        assert second.startswith(b"408")

    def test_requests_after_each_other_get_their_time_each(self, hurried: EmbeddedServer) -> None:
        with connect(hurried) as connection, closing(connection.makefile("rb")) as file:
            for _ in range(3):
                connection.sendall(GET[:40])
                connection.sendall(GET[40:])
                assert file.readline().startswith(b"HTTP/1.1 200")
                length = next(
                    int(line.split()[1]) for line in file if line.startswith(b"content-length")
                )
                while file.readline().strip():
                    pass
                file.read(length)

    def test_a_slow_answer_is_no_slow_head(self, database_url: str) -> None:
        settings = Settings(head_seconds=0.5)
        body = {
            "project": "p",
            "messages": [],
            "model_config": {"provider": "mock", "model": "m", "other": {"delay": 0.3}},
        }
        with EmbeddedServer(database_url, api_key=API_KEY, settings=settings) as server:
            Api(server.url).ok("POST", "/chat", body)

    def test_a_reader_that_takes_nothing_is_cut_off(self, database_url: str) -> None:
        settings = Settings(body_seconds=0.3)
        with EmbeddedServer(database_url, api_key=API_KEY, settings=settings) as server:
            api = Api(server.url)
            project_id = api.log("p", output="x" * 20_000_000)["project_id"]
            request = f"POST /v4/projects/{project_id}/export HTTP/1.1\r\n{HEAD}\r\n".encode()
            with connect(server) as connection:
                connection.sendall(request)
                # Only the connection that timed out is closed.
                cut = len(until_reset(connection))
            assert cut < 20_000_000
            assert len(api.export(project_id)["records"][0]["output"]) == 20_000_000


def until_reset(connection: socket.socket) -> bytes:
    """The received part of an answer that is not read until the server closes the connection."""
    poll = select.poll()
    poll.register(connection, 0)  # reports errors only
    assert poll.poll(20_000), "the server keeps the connection for ever"
    data = b""
    with suppress(ConnectionResetError):
        while chunk := connection.recv(1_000_000):
            data += chunk
    return data


class TestNumber:
    """How many connections there may be."""

    def narrow(self, head_seconds: float) -> EmbeddedServer:
        """A server that takes 20 connections."""
        settings = Settings(head_seconds=head_seconds, max_connections=20)
        return EmbeddedServer(api_key=API_KEY, settings=settings)

    def test_one_too_many_is_refused_and_the_others_go_on(
        self, caplog: pytest.LogCaptureFixture
    ) -> None:
        with self.narrow(head_seconds=60) as narrow, ExitStack() as stack:
            first, *_ = [stack.enter_context(connect(narrow)) for _ in range(20)]
            for _ in range(3):
                assert status(exchange(narrow, b"")) == 503
            first.sendall(GET)
            assert first.recv(100).startswith(b"HTTP/1.1 200")
        assert caplog.text.count("Over 20 connections at once: the others are refused.") == 1

    def test_the_refused_are_not_counted(self) -> None:
        with self.narrow(head_seconds=3) as narrow:
            with ExitStack() as stack:
                held = [stack.enter_context(connect(narrow)) for _ in range(30)]
                assert [status(until_closed(each)) for each in held[20:]] == [503] * 10
                assert [until_closed(each) for each in held[:20]] == [b""] * 20  # in time
            assert Api(narrow.url).call("GET", "/projects").status == 200


PROGRAM = """
import os, resource, sys
from humanloop.server import EmbeddedServer, Settings
resource.setrlimit(resource.RLIMIT_NOFILE, (200, 200))
settings = Settings(head_seconds=60, idle_seconds=60)
with EmbeddedServer(api_key=sys.argv[1], settings=settings) as server:
    print(server.url, flush=True)
    held = []
    for line in sys.stdin:
        try:
            while line == "take all\\n":
                held.append(os.open(os.devnull, os.O_RDONLY))
        except OSError:
            pass
        while held and line == "free all\\n":
            os.close(held.pop())
        print("done", flush=True)
"""


class Narrow:
    """A server in a process that may open 200 files."""

    def __init__(self, stack: ExitStack) -> None:
        self.process = stack.enter_context(
            subprocess.Popen(
                [sys.executable, "-c", PROGRAM, API_KEY],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
        )
        url = urlsplit(self._read())
        self.address = (url.hostname or "", url.port or 0)
        self._stack = stack

    def connect(self) -> http.client.HTTPConnection:
        """A connection that is kept."""
        connection = http.client.HTTPConnection(*self.address, timeout=60)
        self._stack.callback(connection.close)
        return connection

    def _read(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()

    def say(self, line: str) -> None:
        """Let the process do something."""
        assert self.process.stdin is not None
        self.process.stdin.write(f"{line}\n")
        self.process.stdin.flush()
        assert self._read() == "done"

    def stop(self) -> str:
        """Stop it; return its log."""
        return self.process.communicate()[1]


def get_on(connection: http.client.HTTPConnection) -> int:
    """The status of a request on a kept connection."""
    connection.request("GET", "/v4/projects", headers={"X-API-KEY": API_KEY})
    answer = connection.getresponse()
    answer.read()
    return answer.status


@pytest.mark.skipif(sys.platform == "win32", reason="no limit of open files there")
class TestDescriptors:
    """A process that may open few files."""

    def test_half_of_them_may_be_connections(self) -> None:
        with ExitStack() as stack:
            narrow = Narrow(stack)
            first = narrow.connect()
            assert get_on(first) == 200
            many = [socket.create_connection(narrow.address, 60) for _ in range(150)]
            for each in many:
                stack.callback(each.close)
            assert [status(until_closed(each)) for each in many[99:]] == [503] * 51
            assert get_on(first) == 200
            assert narrow.stop().count("\n") == 1

    def test_when_there_are_none_it_says_so_once_and_goes_on(self) -> None:
        with ExitStack() as stack:
            narrow = Narrow(stack)
            first = narrow.connect()
            assert get_on(first) == 200
            narrow.say("take all")
            waiting = [socket.create_connection(narrow.address, 60) for _ in range(50)]
            for each in waiting:
                stack.callback(each.close)
            assert get_on(first) == 200
            narrow.say("free all")
            for each in waiting:
                each.sendall(GET)
            assert all(each.recv(100).startswith(b"HTTP/1.1 200") for each in waiting)
            log = narrow.stop()
        assert log.count("No connection can be accepted: Too many open files.") == 1
        assert len(log) < 1000, log


class TestFraming:
    """What has more than one reading is refused, and nothing after it is read."""

    @pytest.mark.parametrize(
        "lines",
        [
            "Content-Length: 2\r\nTransfer-Encoding: chunked\r\n",
            "Transfer-Encoding: chunked\r\nContent-Length: 2\r\n",
            "Content-Length: 2\r\nContent-Length: 3\r\n",
            "Content-Length: 2, 3\r\n",
            "Content-Length: +2\r\n",
            "Content-Length: -2\r\n",
            "Content-Length: 0x2\r\n",
            "Content-Length: 2 2\r\n",
            "Content-Length:\r\n",
            "Content-Length: 99999999999999999999999\r\n",
            "Content-Length : 2\r\n",
            "X: a\r\n b\r\n",
            "X: a\r\n\tb\r\n",
            " X: a\r\n",
            "X: a\0b\r\n",
            "X\0: a\r\n",
            "X: a\rb\r\n",
            "X Y: a\r\n",
            ": a\r\n",
            "X\r\n",
            "Host: localhost\r\n",
            "Host: evil.example\r\n",
            "Origin: http://localhost\r\nOrigin: http://evil.example\r\n",
            "Content-Type: text/plain\r\nContent-Type: application/json\r\n",
        ],
    )
    def test_it_is_400_and_closed(self, server: EmbeddedServer, lines: str) -> None:
        head = f"POST /v4/projects HTTP/1.1\r\n{HEAD}{lines}\r\n".encode()
        answer = exchange(server, head + b"0\r\n\r\n" + GET)
        assert answer.count(b"HTTP/1.1 ") == 1
        assert status(answer) == 400

    @pytest.mark.parametrize(
        ("lines", "expected"),
        [
            ("Transfer-Encoding: gzip, chunked\r\n", 501),
            ("Transfer-Encoding: xchunked\r\n", 501),
            ("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", 501),
        ],
    )
    def test_what_is_not_supported_says_so(
        self, server: EmbeddedServer, lines: str, expected: int
    ) -> None:
        head = f"POST /v4/projects HTTP/1.1\r\n{HEAD}{lines}\r\n".encode()
        assert status(exchange(server, head)) == expected

    def test_a_head_that_is_too_long_is_431(self, server: EmbeddedServer) -> None:
        head = f"GET /v4/projects HTTP/1.1\r\n{HEAD}Connection: close\r\nX: "
        for end in ("", "\r\n\r\n"):
            assert status(exchange(server, f"{head}{'x' * 66_000}{end}".encode())) == 431
        answer = exchange(server, f"{head}{'x' * 65_000}\r\n\r\n".encode())
        assert answer.startswith(b"HTTP/1.1 200")

    @pytest.mark.parametrize("line", ["GET /v4/projects HTTP/1.0", "POST /v4/projects HTTP/1.0"])
    def test_transfer_encoding_of_http_1_0_is_400(self, server: EmbeddedServer, line: str) -> None:
        head = f"{line}\r\n{HEAD}Connection: keep-alive\r\nTransfer-Encoding: chunked\r\n\r\n"
        assert status(exchange(server, head.encode() + b"0\r\n\r\n" + GET)) == 400

    @pytest.mark.parametrize(
        "data",
        [
            b"GET\r\n\r\n",
            b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
            b"GET /v4/projects HTTP/2.0\r\nHost: localhost\r\n\r\n",
            b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
            b"GET /v4/projects HTTP/1.1\r\n\r\n",
            b"GET /v4/pro jects HTTP/1.1\r\nHost: localhost\r\n\r\n",
            b"\0" * 20 + b"\r\n\r\n",
        ],
    )
    def test_what_is_no_http_is_400(self, server: EmbeddedServer, data: bytes) -> None:
        assert status(exchange(server, data)) == 400

    @pytest.mark.parametrize(
        "chunk", ["zz\r\n", "-1\r\n", "1\r\nab\r\n", "99999999999999999999999"]
    )
    def test_chunks_that_are_none_are_400(self, server: EmbeddedServer, chunk: str) -> None:
        head = f"POST /v4/projects HTTP/1.1\r\n{HEAD}Content-Type: application/json\r\n"
        body = f"Transfer-Encoding: chunked\r\n\r\n{chunk}"
        assert status(exchange(server, (head + body).encode() + b"\r\n\r\n")) == 400

    def test_a_folded_line_in_a_body_is_none(self, server: EmbeddedServer) -> None:
        body = b'{"name":\n "folded body"\n\n}'
        head = f"POST /v4/projects HTTP/1.1\r\n{HEAD}Content-Type: application/json\r\n"
        framing = f"Connection: close\r\nContent-Length: {len(body)}\r\n\r\n"
        answer = exchange(server, (head + framing).encode() + body)
        assert answer.startswith(b"HTTP/1.1 201")

    def test_none_of_it_is_logged(
        self, server: EmbeddedServer, caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level(logging.WARNING)
        exchange(server, b"GET\r\n\r\n")
        exchange(server, b"X: a\r\n b\r\n")
        upgrade = f"{HEAD}Connection: upgrade, close\r\nUpgrade: websocket\r\n\r\n"
        assert exchange(server, f"GET /v4/projects HTTP/1.1\r\n{upgrade}".encode())
        assert caplog.text == ""
