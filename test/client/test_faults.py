"""No whole answer: each way of that raises an error of ours, in time, from the transport's own."""

from __future__ import annotations

import os
import pickle
import select
import socket
import ssl
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import urllib3

from humanloop import ApiConnectionError, ApiException, ApiTimeoutError, ApiTlsError, Humanloop
from humanloop.exceptions import ClientConfigurationError

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
GRACE = 2.0
"""Seconds that a busy machine may add to a deadline."""


def unused_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


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


def assert_names_the_request(error: ApiConnectionError, host: str) -> None:
    assert error.method == "GET"
    assert error.host == host
    assert error.path == "/projects"
    assert str(error) == f"GET {host}/projects: {error.reason}"
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is type(error)
    assert (str(again), again.host, again.args) == (str(error), host, error.args)


def test_refused_port() -> None:
    host = f"http://127.0.0.1:{unused_port()}/v4"
    with pytest.raises(ApiConnectionError, match="can't connect: Connection refused") as caught:
        Humanloop("k", host, retries=0).projects.list(filter="private")
    assert type(caught.value) is ApiConnectionError
    assert_names_the_request(caught.value, host)
    assert isinstance(caught.value.__cause__, urllib3.exceptions.HTTPError)


def test_unknown_host() -> None:
    with pytest.raises(ApiConnectionError, match="can't connect") as caught:
        Humanloop("k", "http://nowhere.invalid/v4", retries=0).projects.list()
    assert_names_the_request(caught.value, "http://nowhere.invalid/v4")


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        HEAD + b"Content-Length: 100\r\n\r\n{",
        HEAD + b"Transfer-Encoding: chunked\r\n\r\n5\r\n{",
        HEAD + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n{",
        HEAD + b"Content-Encoding: gzip\r\nContent-Length: 2\r\n\r\n{}",
        HEAD + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}",
        HEAD + b"Content-Length: 2, 3\r\n\r\n{}",
        b"SSH-2.0-OpenSSH_9.2\r\n",
    ],
    ids=[
        "nothing",
        "length",
        "chunk",
        "chunk size",
        "gzip",
        "two lengths",
        "two lengths in one",
        "not HTTP",
    ],
)
def test_a_broken_answer(answer: bytes, server: Any, client: Humanloop) -> None:
    server.send_raw(answer)
    with pytest.raises(ApiConnectionError, match="the connection broke: ") as caught:
        client.projects.list()
    assert type(caught.value) is ApiConnectionError
    assert_names_the_request(caught.value, server.host)
    assert len(server.requests) == 1
    server.answer({})
    assert client.projects.list(skip_deserialization=True).body == {}


def test_no_answer_in_time(server: Any, client: Humanloop) -> None:
    server.reply = hang
    started = time.monotonic()
    with pytest.raises(ApiTimeoutError, match=r"no complete answer within 0\.1 seconds") as caught:
        client.projects.list(timeout=0.1)
    assert time.monotonic() - started < 0.1 + GRACE
    assert isinstance(caught.value, TimeoutError)
    assert isinstance(caught.value, ApiConnectionError)
    assert_names_the_request(caught.value, server.host)


@pytest.mark.parametrize(
    "answer",
    [
        HEAD + b"X-Slow: " + b"x" * 1000,
        HEAD + b"Content-Length: 1000\r\n\r\n" + b" " * 1000,
        HEAD + b"Transfer-Encoding: chunked\r\n\r\n3e8\r\n" + b" " * 1000,
        HEAD + b"Connection: close\r\n\r\n" + b" " * 1000,
    ],
    ids=["headers", "length", "chunked", "until closed"],
)
def test_a_slow_drip_does_not_outlive_the_deadline(
    answer: bytes, server: Any, client: Humanloop
) -> None:
    server.reply = drip(answer)
    started = time.monotonic()
    with pytest.raises(ApiTimeoutError, match=r"within 0\.3 seconds"):
        client.projects.list(timeout=0.3)
    assert time.monotonic() - started < 0.3 + GRACE


def test_a_slow_drip_within_the_deadline_is_read_to_its_end(server: Any, client: Humanloop) -> None:
    server.reply = drip(HEAD + b"Content-Length: 2\r\n\r\n{}", step=0.001)
    assert client.projects.list(skip_deserialization=True).body == {}


def test_a_server_that_does_not_read_does_not_outlive_the_deadline(
    server: Any, client: Humanloop
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as deaf:
        deaf_client = Humanloop("k", f"http://127.0.0.1:{deaf.getsockname()[1]}/v4")
        started = time.monotonic()
        with pytest.raises(ApiTimeoutError):
            deaf_client.projects.create("x" * 20_000_000, timeout=0.3)
        assert time.monotonic() - started < 0.3 + GRACE + 1  # validating 20 MB takes a while


def test_a_connection_that_is_never_made(trusting: dict[str, Any]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as deaf:  # accepts, and never greets by TLS
        host = f"https://127.0.0.1:{deaf.getsockname()[1]}/v4"
        client = Humanloop(host=host, connect_timeout=0.1, **trusting)
        with pytest.raises(ApiTimeoutError, match=r"no connection within 0\.1 seconds") as caught:
            client.projects.list()
        assert_names_the_request(caught.value, host)


def test_a_deadline_that_has_passed_before_anything_was_sent(
    server: Any, client: Humanloop
) -> None:
    with pytest.raises(ApiTimeoutError):
        client.projects.list(timeout=1e-9)
    assert server.requests == []


def test_an_answer_before_all_was_read() -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as listener,
        Humanloop(
            "k", f"http://127.0.0.1:{listener.getsockname()[1]}/v4", timeout=10
        ) as hasty_client,
        ThreadPoolExecutor(1) as pool,
    ):

        def refuse() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(1)
                connection.sendall(b"HTTP/1.1 413 Content Too Large\r\nContent-Length: 0\r\n\r\n")

        refusal = pool.submit(refuse)
        with pytest.raises(ApiException, match="413 Content Too Large"):
            hasty_client.projects.create("x" * 20_000_000)
        refusal.result(10)


def test_without_a_limit(server: Any) -> None:
    no_delay = [(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)]
    options: Any = {"timeout": None, "connect_timeout": None, "socket_options": no_delay}
    with Humanloop("k", server.host, **options) as client:
        assert client.projects.list(skip_deserialization=True).body == {}


def test_a_connection_that_the_server_closed_meanwhile_is_replaced(
    server: Any, client: Humanloop
) -> None:
    closed = threading.Event()

    def reply(request: Any, connection: socket.socket) -> None:
        connection.sendall(HEAD + b"Content-Length: 2\r\n\r\n{}")
        connection.shutdown(socket.SHUT_RDWR)
        closed.set()

    server.reply = reply
    for _ in range(3):
        client.projects.list(skip_deserialization=True)
        assert closed.wait(10)
        closed.clear()
    assert server.connections == 3


def test_tls(tls_server: Any, trusting: dict[str, Any]) -> None:
    with Humanloop(host=tls_server.host, **trusting) as client:
        for _ in range(2):
            assert client.projects.list(skip_deserialization=True).body == {}
    assert tls_server.connections == 1


@pytest.mark.parametrize("tls_server", ["loopback"], indirect=True)
def test_an_authority_that_is_not_trusted(tls_server: Any) -> None:
    with pytest.raises(ApiTlsError, match=r"TLS failed: .*certificate verify failed") as caught:
        Humanloop("k", tls_server.host).projects.list()
    assert_names_the_request(caught.value, tls_server.host)
    assert tls_server.requests == []


@pytest.mark.parametrize(
    ("tls_server", "reason"),
    [("expired", "certificate has expired"), ("elsewhere", "IP address mismatch")],
    indirect=["tls_server"],
)
def test_a_certificate_that_does_not_hold(
    tls_server: Any, reason: str, trusting: dict[str, Any]
) -> None:
    with pytest.raises(ApiTlsError, match=reason):
        Humanloop(host=tls_server.host, **trusting).projects.list()
    assert tls_server.requests == []


@pytest.mark.parametrize("tls_server", ["elsewhere"], indirect=True)
def test_another_name_may_be_expected(tls_server: Any, trusting: dict[str, Any]) -> None:
    options = {"assert_hostname": "elsewhere.example", "host": tls_server.host, **trusting}
    with Humanloop(**options) as client:
        assert client.projects.list(skip_deserialization=True).body == {}
    with pytest.raises(ApiTlsError):
        Humanloop(**{**options, "assert_hostname": "nowhere.example"}).projects.list()


@pytest.mark.parametrize("tls_server", ["expired"], indirect=True)
def test_verification_can_be_switched_off(tls_server: Any) -> None:
    with Humanloop("k", tls_server.host, verify_ssl=False) as client:
        assert client.projects.list(skip_deserialization=True).body == {}


def test_connecting_has_its_limit_even_through_a_proxy() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        proxy = f"http://127.0.0.1:{silent.getsockname()[1]}"
        client = Humanloop("k", "https://api.example/v4", proxy=proxy, retries=0, timeout=30)
        started = time.monotonic()
        with pytest.raises(ApiTimeoutError, match=r"no connection within 0\.2 seconds") as caught:
            client.projects.list(connect_timeout=0.2)
        assert time.monotonic() - started < 0.2 + GRACE
    assert not caught.value.sent


def test_a_message_is_short_whatever_the_server_says(server: Any, client: Humanloop) -> None:
    for answer in (b"HTTP/1.1 500 " + b"a\x1b" * 9000 + b"\r\n\r\n", b"x\x1b[31m" + b"a" * 9000):
        server.send_raw(answer + b"\r\n\r\n")
        with pytest.raises((ApiException, ApiConnectionError)) as caught:
            client.projects.list()
        assert len(str(caught.value)) < 500
        assert str(caught.value).isprintable()


def test_plain_http_where_tls_is_expected(server: Any, trusting: dict[str, Any]) -> None:
    server.greeting = b"HTTP/1.1 400 Bad Request\r\n\r\n"
    with pytest.raises(ApiTlsError):
        Humanloop(host=server.host.replace("http", "https"), **trusting).projects.list()


def test_tls_over_a_deadline(tls_server: Any, trusting: dict[str, Any]) -> None:
    tls_server.reply = hang
    with pytest.raises(ApiTimeoutError, match=r"no complete answer within 0\.2 seconds"):
        Humanloop(host=tls_server.host, **trusting).projects.list(timeout=0.2)


@pytest.mark.parametrize("option", ["ssl_ca_cert", "cert_file"])
def test_a_certificate_file_that_can_not_be_used(option: str, trusting: dict[str, Any]) -> None:
    options = {**trusting, option: __file__}
    with pytest.raises(ClientConfigurationError, match="can't be used") as caught:
        Humanloop(host="https://127.0.0.1:9", **options).projects.list()
    assert isinstance(caught.value.__cause__, ssl.SSLError)


def test_proxy(server: Any) -> None:
    with Humanloop(
        "k",
        "http://api.example/v4",
        proxy=f"http://user:p%40ss@127.0.0.1:{server.port}",
        proxy_headers={"X-Via": "office"},
    ) as client:
        client.projects.list(skip_deserialization=True)
    request = server.requests[0]
    assert request.target == "http://api.example/v4/projects"
    headers = {name.lower(): value for name, value in request.headers.items()}
    assert headers["proxy-authorization"] == "Basic dXNlcjpwQHNz"
    assert headers["x-via"] == "office"


def test_a_proxy_by_tls(tls_server: Any, trusting: dict[str, Any]) -> None:
    proxy = f"https://127.0.0.1:{tls_server.port}"
    with Humanloop(host="http://api.example/v4", proxy=proxy, **trusting) as client:
        client.projects.list(skip_deserialization=True)
    assert tls_server.requests[0].target == "http://api.example/v4/projects"


def test_a_proxy_that_refuses_to_connect(server: Any, trusting: dict[str, Any]) -> None:
    server.send_raw(b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n")
    proxy = f"http://127.0.0.1:{server.port}"
    with pytest.raises(ApiConnectionError, match=r"can't connect: .*407") as caught:
        Humanloop(host="https://api.example/v4", proxy=proxy, **trusting).projects.list()
    assert_names_the_request(caught.value, "https://api.example/v4")
    assert server.requests[0].method == "CONNECT"
    assert "X-API-KEY" not in server.requests[0].headers


def test_a_tunnel_through_a_proxy(tls_server: Any, trusting: dict[str, Any]) -> None:
    asked: list[bytes] = []

    def tunnel(listener: socket.socket) -> None:
        with (
            listener.accept()[0] as client_side,
            socket.create_connection(("127.0.0.1", tls_server.port)) as server_side,
        ):
            asked.append(client_side.recv(65536))
            client_side.sendall(b"HTTP/1.1 200 Connection Established\r\n\r\n")
            while True:
                for side in select.select([client_side, server_side], [], [])[0]:
                    if not (data := side.recv(65536)):
                        return
                    (server_side if side is client_side else client_side).sendall(data)

    with socket.create_server(("127.0.0.1", 0)) as listener, ThreadPoolExecutor(1) as pool:
        tunnelled = pool.submit(tunnel, listener)
        proxy = f"http://user:secret@127.0.0.1:{listener.getsockname()[1]}"
        with Humanloop(host=tls_server.host, proxy=proxy, **trusting) as client:
            for _ in range(2):
                assert client.projects.list(skip_deserialization=True).body == {}
        tunnelled.result(10)
    lines = asked[0].decode().split("\r\n")
    assert lines[0].startswith(f"CONNECT 127.0.0.1:{tls_server.port} ")
    assert "proxy-authorization: basic dxnlcjpzzwnyzxq=" in map(str.lower, lines)
    assert "x-api-key" not in asked[0].decode().lower()
    assert [request.target for request in tls_server.requests] == ["/v4/projects"] * 2
    assert all("roxy-" not in name for name in tls_server.requests[0].headers)


@pytest.mark.parametrize("proxy", ["socks5://127.0.0.1:1", "127.0.0.1:3128", "http://"])
def test_a_proxy_that_is_none(proxy: str) -> None:
    with pytest.raises(ClientConfigurationError, match="proxy must be a URL"):
        Humanloop("k", "http://127.0.0.1:9", proxy=proxy).projects.list()


def test_a_client_that_is_never_closed_leaves_no_warning(server: Any) -> None:
    script = (
        f"from humanloop import Humanloop; client = Humanloop('k', {server.host!r})\n"
        "client.projects.list(skip_deserialization=True)\n"
        "Humanloop('k', client.configuration.host).projects.list(skip_deserialization=True)"
    )
    command = [sys.executable, "-X", "dev", "-W", "error", "-c", script]
    run = subprocess.run(command, capture_output=True, text=True, timeout=30)
    assert (run.returncode, run.stderr) == (0, "")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")
def test_a_forked_child_opens_connections_of_its_own(server: Any, client: Humanloop) -> None:
    client.projects.list(skip_deserialization=True)
    child = os.fork()
    if child == 0:
        try:
            client.projects.list(skip_deserialization=True)
            os._exit(0)
        except BaseException:
            os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    client.projects.list(skip_deserialization=True)
    assert len(server.requests) == 3
    assert server.connections == 2
