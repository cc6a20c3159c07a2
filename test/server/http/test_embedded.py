"""The embedded server as a program uses it."""

from __future__ import annotations

import socket
import threading
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import urllib3

from humanloop.server import EmbeddedServer, Settings, StartError

from ..api import API_KEY, Api


def test_it_serves_on_loopback_and_is_gone_afterwards() -> None:
    before = threading.enumerate()
    with EmbeddedServer() as server:
        parts = urlsplit(server.url)
        assert (parts.hostname, parts.path) == ("127.0.0.1", "/v4")
        assert Api(server.url, server.api_key).ok("GET", "/projects")["records"] == []
    for thread in set(threading.enumerate()) - set(before):
        # The server's own thread has ended; its pool's were told to and are doing so.
        assert thread.name != "humanloop-server"
        thread.join(timeout=30)
        assert not thread.is_alive()
    with pytest.raises(urllib3.exceptions.NewConnectionError):
        Api(server.url, server.api_key).call("GET", "/projects")


def test_its_own_database_is_deleted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with EmbeddedServer():
        assert len(list(tmp_path.glob("humanloop-*/humanloop.db"))) == 1
    assert list(tmp_path.iterdir()) == []


def test_keys_are_random_and_not_shown() -> None:
    one, two = EmbeddedServer(), EmbeddedServer()
    assert one.api_key != two.api_key
    assert len(one.api_key) >= 40
    assert one.api_key not in repr(one)


def test_it_stops_with_a_connection_still_open() -> None:
    with EmbeddedServer() as server:
        parts = urlsplit(server.url)
        idle = socket.create_connection(("127.0.0.1", parts.port or 0))
        assert Api(server.url, server.api_key).call("GET", "/projects").status == 200
    idle.close()


def test_it_stops_when_the_program_fails(database_url: str) -> None:
    with pytest.raises(ZeroDivisionError), EmbeddedServer(database_url):
        _ = 1 / 0
    with EmbeddedServer(database_url) as server:
        assert server.url


def test_stopping_twice_is_harmless(database_url: str) -> None:
    server = EmbeddedServer(database_url, api_key=API_KEY)
    server.stop()
    server.start()
    server.stop()
    server.stop()
    server.start()
    assert Api(server.url).call("GET", "/projects").status == 200
    server.stop()


def test_a_taken_port_is_said_clearly() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(StartError, match=f"Port {port} of 127.0.0.1 can't be used"):
            EmbeddedServer(port=port).start()


def start_upload(server: EmbeddedServer, key: str) -> socket.socket:
    """A connection on which a body was begun, and no more of it comes."""
    head = (
        f"POST /v4/projects HTTP/1.1\r\nHost: localhost\r\nX-API-KEY: {key}\r\n"
        "Content-Type: application/json\r\nContent-Length: 100\r\n\r\n{"
    )
    connection = socket.create_connection(("127.0.0.1", urlsplit(server.url).port or 0), 60)
    connection.sendall(head.encode())
    return connection


def test_upload_cut_off_in_the_middle_leaves_the_server_well() -> None:
    with EmbeddedServer() as server:
        start_upload(server, server.api_key).close()
        assert Api(server.url, server.api_key).ok("GET", "/projects")["total"] == 0


def test_upload_that_hangs_is_answered_and_its_connection_closed() -> None:
    with EmbeddedServer(settings=Settings(body_seconds=0.1)) as server:
        uploads = [start_upload(server, key) for key in (server.api_key, "wrong")]
        answers = [upload.makefile("rb").read() for upload in uploads]
        for upload in uploads:
            upload.close()
        assert Api(server.url, server.api_key).ok("GET", "/projects")["total"] == 0
    assert [answer.split(b"\r\n")[0] for answer in answers] == [
        b"HTTP/1.1 408 Request Timeout",
        b"HTTP/1.1 401 Unauthorized",
    ]
    assert b"No more of the body came for 0.1 seconds." in answers[0]


@pytest.mark.parametrize(("key", "status"), [(API_KEY, b"408"), ("wrong", b"401")])
def test_upload_that_trickles_gets_no_more_time(key: str, status: bytes) -> None:
    settings = Settings(upload_seconds=0.3)
    with EmbeddedServer(api_key=API_KEY, settings=settings) as server:
        upload = start_upload(server, key)
        upload.settimeout(0.05)
        answer = b""
        for _ in range(90):
            try:
                answer = upload.recv(10_000)
                break
            except TimeoutError:
                upload.sendall(b" ")
        upload.close()
    assert answer.startswith(b"HTTP/1.1 " + status)
    assert b"connection: close" in answer.lower()
