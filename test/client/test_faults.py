"""Faults of the network, of proxies and of servers: which error is raised, in time, and when a
request is sent again.

Every scenario runs by the synchronous and by the asynchronous call. A number of requests is always
what the server saw.
"""

from __future__ import annotations

import gzip
import io
import logging
import pickle
import re
import select
import socket
import ssl
import sys
import threading
import time
import traceback
import tracemalloc
import zlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from functools import cache
from pathlib import Path
from struct import unpack
from typing import Any

import pytest
from client.limits import run_out

from humanloop import Humanloop, RetryPolicy, exceptions
from humanloop.exceptions import (
    ApiConnectionError,
    ApiException,
    ApiProxyError,
    ApiResponseDecodingError,
    ApiResponseTooLargeError,
    ApiResponseValidationError,
    ApiTimeoutError,
    ApiTlsError,
    ClientConfigurationError,
)
from humanloop.http import Headers

OK = b"HTTP/1.1 200 OK\r\n"
HEAD = OK + b"Content-Type: application/json\r\n"
GRACE = 10.0
"""Seconds that a busy machine may add to a deadline."""
NO_ANSWER = "no complete answer within {} seconds (while *"
FAST = RetryPolicy(backoff=0.001)
EAGER = RetryPolicy(attempts=10, backoff=0.001)


class Call:
    """A call of one kind: `tries` is how often it is sent when that may help, and may not harm."""

    def __init__(
        self, path: str, make: Callable[..., Any], tries: int, method: str = "POST", **options: Any
    ) -> None:
        self.method = method
        self.path = path
        self.tries = tries
        self._make = make
        self._options = options

    def __call__(self, caller: Any, client: Humanloop, **options: Any) -> Any:
        function, arguments = self._make(client)
        return caller(function, **{**arguments, **self._options, **options})


def creation(client: Humanloop) -> Any:
    return client.projects.create, {"name": "p"}


def log(client: Humanloop) -> Any:
    return client.logs.log, {"project": "p", "reference_id": "r1"}


def logs(client: Humanloop) -> Any:
    return client.logs.log, {"body": [{"project": "p", "reference_id": "r1"}, {"project": "p"}]}


GET = Call("/projects", lambda client: (client.projects.list, {}), 3, "GET")
PATCH = Call("/projects/pr_1", lambda c: (c.projects.update, {"id": "pr_1"}), 3, "PATCH")
POST = Call("/projects", creation, 1)
CALLS = {
    "GET": GET,
    "PATCH": PATCH,
    "POST": POST,
    "POST with a reference": Call("/logs", log, 3),
    "POST with a reference for one of two": Call("/logs", logs, 1),
    "POST said to be idempotent": Call("/projects", creation, 3, idempotent=True),
}
every_call = pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)


@pytest.fixture
def client(caller: Any, server: Any) -> Humanloop:
    made: Humanloop = caller.client(server.host, retries=FAST)
    return made


def failure(
    call: Call, caller: Any, client: Humanloop, host: str, tries: int, **options: Any
) -> Any:
    """The error of a call, which tells all that there is to tell."""
    began = time.monotonic()
    with pytest.raises((ApiException, ApiConnectionError)) as caught:
        call(caller, client, **options)
    took = time.monotonic() - began
    error = caught.value
    assert (error.method, error.host, error.path) == (call.method, host, call.path)
    assert error.tries == tries
    assert error.elapsed is not None
    assert 0 < error.elapsed <= took
    assert (f"({tries} tries in " in str(error)) == (tries > 1)
    if not isinstance(error, ApiException):
        assert error.__cause__ is not None
        assert (error.status, error.headers, error.body) == (None, None, None)
        assert str(error).startswith(f"{call.method} {host}{call.path}: {error.reason}")
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is type(error)
    assert (str(again), again.args, again.__dict__) == (str(error), error.args, error.__dict__)
    return error


def assert_sent_again(requests: list[Any]) -> None:
    """Each is the same, but for saying how often it was sent before."""
    first, *more = (request.raw for request in requests)
    assert b"X-Retry-Count" not in first
    for count, again in enumerate(more, 1):
        assert again.replace(b"X-Retry-Count: %d\r\n" % count, b"") == first


def assert_no_secret(error: BaseException | None, *secrets: str) -> None:
    """Neither in its traceback nor in anything that it was raised from."""
    assert error is not None
    seen = "".join(traceback.format_exception(error))
    while error is not None:
        seen += repr(error) + repr(error.__dict__)
        error = error.__cause__ or error.__context__
    assert [secret for secret in secrets if secret in seen] == []


def unused_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


@contextmanager
def serving(serve: Callable[[socket.socket], None]) -> Iterator[int]:
    """Let `serve` have the first connection to a port, in a thread."""
    with socket.create_server(("127.0.0.1", 0)) as listener, ThreadPoolExecutor(1) as pool:

        def accept() -> None:
            with listener.accept()[0] as connection:
                serve(connection)

        served = pool.submit(accept)
        yield listener.getsockname()[1]
        served.result(10)


@contextmanager
def deaf() -> Iterator[int]:
    """A port where connections are accepted by the system, and nobody reads or answers."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener.getsockname()[1]


# --- what comes and goes, and what stays ---


FAULTS = {
    "503": (503, exceptions.ServiceUnavailableError),
    "500": (500, exceptions.InternalServerError),
    "502": (502, exceptions.BadGatewayError),
    "504": (504, exceptions.GatewayTimeoutError),
    "dropped": (b"", ApiConnectionError),
    "cut status line": (b"HTTP/1.1 20", ApiConnectionError),
    "cut header": (OK + b"Content-Ty", ApiConnectionError),
    "head without end": (HEAD + b"Content-Length: 2\r\n", ApiConnectionError),
    "cut body": (HEAD + b"Content-Length: 9\r\n\r\n{}", ApiConnectionError),
    "cut chunk": (HEAD + b"Transfer-Encoding: chunked\r\n\r\n9\r\n{}", ApiConnectionError),
    "no last chunk": (
        HEAD + b"Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n",
        ApiConnectionError,
    ),
}
CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"
BROKEN = {
    "chunk size": (CHUNKED + b"zz\r\n{", "chunk"),
    "chunk size with sign": (CHUNKED + b"+2\r\n{}\r\n0\r\n\r\n", "chunk"),
    "chunk size in Python": (CHUNKED + b"0x2\r\n{}\r\n0\r\n\r\n", "chunk"),
    "chunk size with underscore": (CHUNKED + b"0_2\r\n{}\r\n0\r\n\r\n", "chunk"),
    "no chunk size": (CHUNKED + b"\r\n{}\r\n0\r\n\r\n", "chunk"),
    "bare CR": (HEAD + b"X: a\rb\r\nContent-Length: 2\r\n\r\n{}", "header"),
    "cut gzip": (
        HEAD + b"Content-Encoding: gzip\r\n\r\n" + gzip.compress(b"{}" * 99)[:-9],
        "is truncated",
    ),
    "unknown coding": (HEAD + b"Content-Encoding: zstd\r\n\r\n{}", "not requested"),
    "not HTTP": (b"SSH-2.0-OpenSSH_9.2\r\n", ""),
    "endless header": (HEAD + b"X: " + b"x" * 200_000, ""),
}
every_fault = pytest.mark.parametrize(("fault", "kind"), FAULTS.values(), ids=FAULTS)


@every_fault
@every_call
def test_a_fault_that_stays(
    call: Call, fault: Any, kind: type[Exception], caller: Any, server: Any, client: Humanloop
) -> None:
    server.answer_in_turn(fault)
    error = failure(call, caller, client, server.host, call.tries)
    assert type(error) is kind
    assert len(server.requests) == call.tries
    assert_sent_again(server.requests)
    if isinstance(fault, int):
        assert (error.status, error.body) == (fault, {})
        assert error.headers["Content-Length"] == "2"
    else:
        assert error.sent
        assert "the connection broke: " in str(error)


@pytest.mark.parametrize(("answer", "said"), BROKEN.values(), ids=BROKEN)
def test_a_broken_answer(
    answer: bytes, said: str, caller: Any, server: Any, client: Humanloop
) -> None:
    server.send_raw(answer)
    error = failure(POST, caller, client, server.host, 1)
    assert type(error) is ApiConnectionError
    assert error.sent
    assert error.reason.startswith("the connection broke: ")
    assert said in error.reason
    assert "\n" not in error.reason
    server.answer({})
    assert POST(caller, client, skip_deserialization=True).body == {}


def test_a_message_is_short_whatever_the_server_says(
    caller: Any, server: Any, client: Humanloop
) -> None:
    for answer in (b"HTTP/1.1 500 " + b"a\x1b" * 9000 + b"\r\n\r\n", b"x\x1b[31m" + b"a" * 9000):
        server.send_raw(answer + b"\r\n\r\n")
        with pytest.raises((ApiException, ApiConnectionError)) as caught:
            POST(caller, client)
        assert len(str(caught.value)) < 600
        first, *hint = str(caught.value).splitlines()
        assert len(first) < 500
        assert all(line.isprintable() for line in (first, *hint))
        assert len(hint) == isinstance(caught.value, ApiConnectionError)


def test_no_key_is_in_what_an_error_is_raised_from(
    caller: Any, server: Any, client: Humanloop
) -> None:
    server.send_raw(b"HTTP/1.1 two hundred\r\n\r\n")
    assert_no_secret(failure(POST, caller, client, server.host, 1), "hl-key")


@pytest.mark.parametrize("fault", [503, b""], ids=["503", "dropped"])
@every_call
def test_a_fault_that_goes_away(
    call: Call, fault: Any, caller: Any, server: Any, client: Humanloop
) -> None:
    server.answer_in_turn(fault, fault, 200)
    if call.tries == 1:
        failure(call, caller, client, server.host, 1)
    else:
        assert call(caller, client, skip_deserialization=True).body == {}
    assert len(server.requests) == call.tries


def test_different_faults_in_a_row(caller: Any, server: Any, client: Humanloop) -> None:
    server.answer_in_turn(b"", 429, HEAD + b"Content-Length: 9\r\n\r\n{}", 503, 200)
    assert GET(caller, client, retries=EAGER, skip_deserialization=True).body == {}
    assert len(server.requests) == 5
    server.answer_in_turn(b"", 429, 503)
    error = failure(GET, caller, client, server.host, 3)
    assert type(error) is exceptions.ServiceUnavailableError  # the last one


@pytest.mark.parametrize("status", [400, 401, 403, 404, 405, 418, 422, 501, 505, 599])
def test_what_would_be_the_same_again(
    status: int, caller: Any, server: Any, client: Humanloop
) -> None:
    server.reply = server.sending(
        b"HTTP/1.1 %d So it is\r\nContent-Type: application/json\r\nContent-Length: 15\r\n\r\n"
        b'{"detail":"no"}' % status
    )
    error = failure(GET, caller, client, server.host, 1)
    assert type(error) is exceptions.exception_for_status(status)
    assert (error.status, error.reason, error.body) == (status, "So it is", {"detail": "no"})
    assert str(error) == f"{status} So it is: GET /projects: no"
    assert len(server.requests) == 1


def test_html_of_what_stands_before_the_server(caller: Any, server: Any, client: Humanloop) -> None:
    page = "<html>\n<h1>502 Bad Gatewäy</h1>\n</html>"
    server.answer(page.encode(), status=502, Content_Type="text/html")
    error = failure(GET, caller, client, server.host, 3)
    assert type(error) is exceptions.BadGatewayError
    assert error.body == page
    assert "<html> <h1>502 Bad Gatewäy</h1> </html> (3 tries" in str(error)


UNFIT = {
    "empty": (b"", ApiResponseDecodingError, "it is empty"),
    "no JSON": (b'{"id": ', ApiResponseDecodingError, "expected JSON text"),
    "HTML": (b"<html>", ApiResponseDecodingError, "expected JSON text"),
    "another schema": (b'{"id": 5}', ApiResponseValidationError, "/id"),
}


@pytest.mark.parametrize(("data", "kind", "said"), UNFIT.values(), ids=UNFIT)
def test_a_success_without_a_result(
    data: bytes, kind: type[Exception], said: str, caller: Any, server: Any, client: Humanloop
) -> None:
    server.answer(data)
    call = Call("/sessions", lambda c: (c.sessions.create, {}), 1)
    error = failure(call, caller, client, server.host, 1, idempotent=True)
    assert type(error) is kind
    assert (error.status, error.body) == (200, data.decode())
    assert said in str(error)
    assert error.headers["Content-Type"] == "application/json"
    assert len(server.requests) == 1  # it would say the same again


# --- connections ---


def test_an_idle_connection_that_the_server_has_dropped(
    caller: Any, server: Any, client: Humanloop
) -> None:
    dropped = threading.Event()

    def reply(request: Any, connection: socket.socket) -> None:
        connection.sendall(HEAD + b"Content-Length: 2\r\n\r\n{}")
        connection.shutdown(socket.SHUT_RDWR)
        dropped.set()

    server.reply = reply
    for _ in range(3):
        POST(caller, client, skip_deserialization=True)
        assert dropped.wait(10)
        dropped.clear()
    assert len(server.requests) == server.connections == 3


def test_a_kept_connection_that_drops_with_the_next_request(
    caller: Any, server: Any, client: Humanloop
) -> None:
    server.answer_in_turn(200, b"", 200, b"", 200)
    GET(caller, client, skip_deserialization=True)
    GET(caller, client, skip_deserialization=True)
    assert (len(server.requests), server.connections) == (3, 2)
    error = failure(POST, caller, client, server.host, 1)
    assert type(error) is ApiConnectionError
    assert len(server.requests) == 4


@pytest.mark.parametrize("name", ["127.0.0.1", "localhost", "127.1.2.3"])
def test_a_server_that_is_not_started(name: str, caller: Any) -> None:
    host = f"http://{name}:{unused_port()}/v4"
    error = failure(GET, caller, caller.client(host, retries=FAST), host, 3)
    first, hint = str(error).splitlines()
    assert first.startswith(f"GET {host}/projects: can't connect: ")
    assert re.search(r" \(3 tries in [0-9.]+ s\)$", first)
    assert hint == "  To start a server there: humanloop serve"


def test_what_may_have_been_done(caller: Any, server: Any, client: Humanloop) -> None:
    """Only an error after which it is not known says how to make the call safe to repeat."""
    reference = {"project": "p", "reference_id": "r"}
    calls = {
        (POST, ""): "safe to repeat with idempotent=True",
        (Call("/logs", lambda c: (c.logs.log, {"project": "p"}), 1), ""): (
            "safe to repeat with a reference_id, or with idempotent=True"
        ),
        (Call("/logs", lambda c: (c.logs.log, reference), 3), "safe"): "",
        (GET, "safe"): "",
    }

    def error_of(call: Call, **limit: float) -> ApiConnectionError:
        with pytest.raises(ApiConnectionError) as caught:
            call(caller, client, **limit)
        return caught.value

    for (call, safe), words in calls.items():
        server.requests.clear()
        server.send_raw(b"")
        dropped = error_of(call)
        assert type(dropped) is ApiConnectionError
        assert len(server.requests) == (call.tries if safe else 1)
        server.requests.clear()
        server.reply = server.hanging()
        _, late = run_out(NO_ANSWER, error_of, "timeout", call)
        assert type(late) is ApiTimeoutError
        assert server.arrived(1) == 1
        for error in (dropped, late):
            assert error.sent
            assert words in error.hint
            assert bool(error.hint) == bool(words)
            assert str(error).count("\n") == bool(words)


def test_no_hint_where_nothing_was_sent(caller: Any) -> None:
    client = caller.client("http://nowhere.invalid/v4", retries=0)
    error = failure(POST, caller, client, "http://nowhere.invalid/v4", 1)
    assert (error.hint, str(error).count("\n")) == ("", 0)


def test_no_hint_for_what_the_user_was_handling(caller: Any) -> None:
    with deaf() as port:
        host = f"https://127.0.0.1:{port}/v4"
        client = caller.client(host, retries=0)
        try:
            socket.create_connection(("127.0.0.1", unused_port())).close()
        except ConnectionRefusedError:
            error = failure(GET, caller, client, host, 1, timeout=0.2)
    assert type(error) is ApiTimeoutError
    assert error.hint == ""


@every_call
def test_a_port_where_nobody_listens(call: Call, caller: Any) -> None:
    host = f"http://127.0.0.1:{unused_port()}/v4"
    client = caller.client(host, retries=FAST)
    error = failure(call, caller, client, host, 3)  # nothing was sent: any call may be tried again
    assert type(error) is ApiConnectionError
    assert error.reason == "can't connect: Connection refused"
    assert not error.sent


def test_a_host_that_does_not_exist(caller: Any) -> None:
    client = caller.client("http://nowhere.invalid/v4", retries=FAST)
    error = failure(POST, caller, client, "http://nowhere.invalid/v4", 3)
    assert type(error) is ApiConnectionError
    assert error.reason == "can't connect: Name or service not known"
    assert not error.sent


@pytest.mark.parametrize(
    ("tls_server", "trust", "reason"),
    [
        ("expired", True, "certificate has expired"),
        ("elsewhere", True, "IP address mismatch"),
        ("loopback", False, "unable to get local issuer|self.signed"),
    ],
    indirect=["tls_server"],
    ids=["expired", "of another host", "not trusted"],
)
def test_a_certificate_that_proves_nothing(
    tls_server: Any, trust: bool, reason: str, caller: Any, trusting: dict[str, Any]
) -> None:
    options = {"ssl_ca_cert": trusting["ssl_ca_cert"]} if trust else {}
    client = caller.client(tls_server.host, retries=FAST, **options)
    error = failure(GET, caller, client, tls_server.host, 1)
    assert type(error) is ApiTlsError
    assert re.search(reason, error.reason)
    assert not error.sent
    assert (tls_server.connections, tls_server.requests) == (1, [])


@pytest.mark.parametrize("name", ["b\xfccher..example", "a" * 99 + ".example"])
def test_a_host_that_only_looks_like_one(name: str, caller: Any) -> None:
    host = f"http://{name}/v4"  # which the configuration refuses, so a hook gives it
    hooks = {"request": [lambda request: replace(request, host=host)]}
    client = caller.client("http://api.example/v4", retries=0, event_hooks=hooks)
    error = failure(POST, caller, client, host, 1)
    assert error.reason.startswith("can't connect: ")
    assert not error.sent


def test_an_answer_before_all_was_read(caller: Any) -> None:
    def refuse(connection: socket.socket) -> None:
        connection.recv(1)
        connection.sendall(b"HTTP/1.1 413 Content Too Large\r\nContent-Length: 2\r\n\r\n{}")

    with serving(refuse) as port:
        client = caller.client(f"http://127.0.0.1:{port}/v4")
        with pytest.raises(ApiException, match="413 Content Too Large"):
            caller(client.projects.create, "x" * 20_000_000)


# --- TLS ---


def test_tls(caller: Any, tls_server: Any, trusting: dict[str, Any]) -> None:
    client = caller.client(tls_server.host, **trusting)
    for _ in range(2):
        assert GET(caller, client, skip_deserialization=True).body == {}
    assert tls_server.connections == 1


@pytest.mark.parametrize("tls_server", ["elsewhere"], indirect=True)
def test_another_name_may_be_expected(
    caller: Any, tls_server: Any, trusting: dict[str, Any]
) -> None:
    for name in ("elsewhere.example", False):
        client = caller.client(tls_server.host, assert_hostname=name, **trusting)
        assert GET(caller, client, skip_deserialization=True).body == {}
        caller.close(client)
    client = caller.client(tls_server.host, assert_hostname="nowhere.example", **trusting)
    assert type(failure(GET, caller, client, tls_server.host, 1)) is ApiTlsError


@pytest.mark.parametrize("tls_server", ["expired"], indirect=True)
def test_verification_can_be_switched_off(caller: Any, tls_server: Any) -> None:
    client = caller.client(tls_server.host, verify_ssl=False)
    assert GET(caller, client, skip_deserialization=True).body == {}
    client = caller.client(tls_server.host, assert_hostname=False)  # the rest is verified
    assert type(failure(GET, caller, client, tls_server.host, 1)) is ApiTlsError


def test_a_certificate_of_the_client(
    caller: Any, tls_server: Any, trusting: dict[str, Any]
) -> None:
    demanding = tls_server.__dict__["_tls"]
    demanding.verify_mode = ssl.CERT_REQUIRED
    demanding.load_verify_locations(trusting["ssl_ca_cert"])
    own = trusting["ssl_ca_cert"].replace("authority", "loopback")
    client = caller.client(tls_server.host, cert_file=own, **trusting)
    assert GET(caller, client, skip_deserialization=True).body == {}
    failure(GET, caller, caller.client(tls_server.host, **trusting), tls_server.host, 1)
    assert len(tls_server.requests) == 1


def test_plain_http_where_tls_is_expected(caller: Any, trusting: dict[str, Any]) -> None:
    def refuse(connection: socket.socket) -> None:
        connection.recv(65_536)
        connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    with serving(refuse) as port:
        host = f"https://127.0.0.1:{port}/v4"
        error = failure(GET, caller, caller.client(host, **trusting), host, 1)
    assert type(error) is ApiTlsError
    assert not error.sent


@pytest.mark.parametrize("option", ["ssl_ca_cert", "cert_file"])
def test_a_certificate_file_that_can_not_be_used(
    option: str, caller: Any, tls_server: Any, trusting: dict[str, Any], tmp_path: Path
) -> None:
    file = tmp_path / "certificate.pem"
    file.write_text("none")
    options = {**trusting, option: str(file)}
    with pytest.raises(ClientConfigurationError, match=rf"{option} can't be used: .*: it holds no"):
        caller.client(tls_server.host, **options)
    good = "authority.pem" if option == "ssl_ca_cert" else "loopback.pem"
    file.write_bytes(Path(trusting["ssl_ca_cert"]).with_name(good).read_bytes())
    client = caller.client(tls_server.host, **options)
    content = file.read_bytes()
    file.write_text("changed after it was given")
    with pytest.raises(ClientConfigurationError, match=f"{option} can't be used") as caught:
        GET(caller, client)
    assert isinstance(caught.value.__cause__, ssl.SSLError)
    file.write_bytes(content)
    assert GET(caller, client, skip_deserialization=True).body == {}


def test_many_first_calls_at_once_make_one_tls_context(
    caller: Any, tls_server: Any, trusting: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    load, loaded = ssl.SSLContext.load_verify_locations, []

    def counting(context: ssl.SSLContext, *arguments: Any) -> None:
        loaded.append(threading.current_thread())
        load(context, *arguments)

    monkeypatch.setattr(ssl.SSLContext, "load_verify_locations", counting)
    client = caller.client(tls_server.host, **trusting)
    bodies = caller.at_once([client.projects.list] * 8, skip_deserialization=True)
    assert bodies == [{}] * 8
    assert len(loaded) == 1


def test_making_the_tls_context_counts_and_keeps_no_loop_waiting(
    caller: Any, tls_server: Any, trusting: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    load, go_on = ssl.SSLContext.load_verify_locations, threading.Event()

    def waiting(context: ssl.SSLContext, *arguments: Any) -> None:
        assert go_on.wait(10)
        load(context, *arguments)

    monkeypatch.setattr(ssl.SSLContext, "load_verify_locations", waiting)
    client = caller.client(tls_server.host, **trusting)
    error = failure(GET, caller, client, tls_server.host, 1, timeout=0.1)
    assert type(error) is ApiTimeoutError
    assert error.reason.startswith("no connection within 0.1 seconds")
    assert not error.sent
    go_on.set()
    assert GET(caller, client, skip_deserialization=True).body == {}


# --- proxies ---


def test_a_proxy_forwards_what_is_plain(caller: Any, server: Any) -> None:
    proxy = f"http://user:p%40ss@127.0.0.1:{server.port}"
    options = {"proxy": proxy, "proxy_headers": {"X-Via": "office"}}
    client = caller.client("http://api.example/v4", **options)
    for _ in range(2):
        GET(caller, client, skip_deserialization=True)
    request = server.requests[1]
    assert request.target == "http://api.example/v4/projects"
    headers = {name.lower(): value for name, value in request.headers.items()}
    assert headers["host"] == "api.example"
    assert headers["proxy-authorization"] == "Basic dXNlcjpwQHNz"
    assert headers["x-via"] == "office"
    assert server.connections == 1


def test_a_proxy_by_tls(caller: Any, tls_server: Any, trusting: dict[str, Any]) -> None:
    options = {"proxy": f"https://127.0.0.1:{tls_server.port}", "retries": 0}
    host = "http://api.example/v4"
    GET(caller, caller.client(host, **{**trusting, **options}), skip_deserialization=True)
    assert tls_server.requests[0].target == "http://api.example/v4/projects"
    error = failure(GET, caller, caller.client(host, **options), host, 1)  # it is not trusted
    assert type(error) is ApiTlsError
    assert not error.sent


@pytest.mark.parametrize("host", ["http://api.example/v4", "https://api.example/v4"])
def test_a_proxy_that_is_not_there(host: str, caller: Any) -> None:
    proxy = f"http://user:pass-word@127.0.0.1:{unused_port()}"
    error = failure(GET, caller, caller.client(host, proxy=proxy, retries=0), host, 1)
    assert error.reason == "can't connect: Connection refused"
    assert not error.sent
    assert_no_secret(error, "pass-word")


@pytest.mark.parametrize(
    "status", ["407 Proxy Authentication Required", "502 Bad Gateway", "101 Switching Protocols"]
)
def test_a_proxy_that_refuses_to_connect(status: str, caller: Any, server: Any) -> None:
    server.send_raw(f"HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n".encode())
    host, proxy = "https://api.example/v4", f"http://user:pass-word@127.0.0.1:{server.port}"
    error = failure(GET, caller, caller.client(host, proxy=proxy, retries=0), host, 1)
    hint = "; the proxy wants other credentials than those of proxy" if "407" in status else ""
    assert type(error) is ApiProxyError
    assert error.reason == f"can't connect: Tunnel connection failed: {status}{hint}"
    assert error.proxy_status == int(status[:3])
    assert not error.sent
    assert [request.method for request in server.requests] == ["CONNECT"]
    assert "X-API-KEY" not in server.requests[0].headers
    assert_no_secret(error, "Basic ", "pass-word")


def test_connecting_through_a_proxy_has_its_limit(caller: Any) -> None:
    host = "https://api.example/v4"
    with deaf() as port:
        client = caller.client(host, proxy=f"http://127.0.0.1:{port}", retries=0)
        error = failure(GET, caller, client, host, 1, connect_timeout=0.1)
    assert type(error) is ApiTimeoutError
    assert error.reason.startswith("no connection within 0.1 seconds")
    assert error.elapsed < 0.1 + GRACE
    assert not error.sent


@pytest.mark.parametrize("before", [b"", b"HTTP/1.1 103 Early Hints\r\nLink : </a>\r\n\r\n"])
def test_a_tunnel_through_a_proxy(
    before: bytes, caller: Any, tls_server: Any, trusting: dict[str, Any]
) -> None:
    asked: list[bytes] = []

    def tunnel(client_side: socket.socket) -> None:
        with socket.create_connection(("127.0.0.1", tls_server.port)) as server_side:
            asked.append(client_side.recv(65536))
            client_side.sendall(before + b"HTTP/1.1 200 Connection Established\r\n\r\n")
            while True:
                for side in select.select([client_side, server_side], [], [])[0]:
                    if not (data := side.recv(65536)):
                        return
                    (server_side if side is client_side else client_side).sendall(data)

    with serving(tunnel) as port:
        proxy = f"http://user:secret@127.0.0.1:{port}"
        options = {**trusting, "proxy": proxy, "proxy_headers": {"X-Via": "office"}}
        client = caller.client(tls_server.host, **options)
        for _ in range(2):
            assert GET(caller, client, skip_deserialization=True).body == {}
        caller.close(client)
    lines = asked[0].decode().lower().split("\r\n")
    assert lines[0].startswith(f"connect 127.0.0.1:{tls_server.port} ")
    assert "proxy-authorization: basic dxnlcjpzzwnyzxq=" in lines
    assert "x-via: office" in lines
    assert "x-api-key" not in asked[0].decode().lower()
    assert [request.target for request in tls_server.requests] == ["/v4/projects"] * 2
    assert all("roxy-" not in name for name in tls_server.requests[0].headers)


def test_tls_in_tls(caller: Any, tls_server: Any, trusting: dict[str, Any]) -> None:
    tls_server.send_raw(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n")
    host, proxy = "https://api.example/v4", f"https://127.0.0.1:{tls_server.port}"
    client = caller.client(host, proxy=proxy, **trusting)
    if caller.kind == "async" and sys.version_info < (3, 11):
        with pytest.raises(ClientConfigurationError, match=r"Python 3\.11"):
            GET(caller, client)
    else:
        error = failure(GET, caller, client, host, 1)
        assert error.reason == "can't connect: Tunnel connection failed: 403 Forbidden"


def test_a_stream_by_tls_in_tls_that_is_left_early(
    caller: Any, tls_server: Any, trusting: dict[str, Any]
) -> None:
    if caller.kind == "async" and sys.version_info < (3, 11):
        pytest.skip("asyncio can't")

    def pump(source: socket.socket, sink: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(65536):
                sink.sendall(data)
        with suppress(OSError):
            sink.shutdown(socket.SHUT_RDWR)

    def tunnel(connection: socket.socket) -> None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(Path(__file__).parent / "tls" / "loopback.pem")
        with (
            context.wrap_socket(connection, server_side=True) as client_side,
            socket.create_connection(("127.0.0.1", tls_server.port)) as server_side,
            ThreadPoolExecutor(1) as pool,
        ):
            assert client_side.recv(65536).startswith(b"CONNECT ")
            client_side.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
            pool.submit(pump, client_side, server_side)
            pump(server_side, client_side)

    event = b'data: {"data": [], "provider_responses": []}\n\n'
    tls_server.reply = tls_server.hanging(OK + b"Content-Type: text/event-stream\r\n\r\n" + event)
    with serving(tunnel) as port:
        client = caller.client(tls_server.host, proxy=f"https://127.0.0.1:{port}", **trusting)
        stream = caller(
            client.chat,
            stream=True,
            messages=[{"role": "user", "content": "hi"}],
            model_config={"model": "gpt-4"},
        )
        assert caller.next(stream) is not None
        caller.close(stream)
        caller.close(client)


# --- what stands before the answer, and in its head ---


EARLY = b"HTTP/1.1 103 Early Hints\r\nLink: </style.css>; rel=preload\r\n\r\n"
INTERIM = {
    "continue": b"HTTP/1.1 100 Continue\r\n\r\n",
    "processing": b"HTTP/1.1 102 Processing\r\n\r\n",
    "early hints": EARLY,
    "several": b"HTTP/1.1 102 Processing\r\n\r\n" + EARLY * 2 + b"HTTP/1.1 100 Continue\r\n\r\n",
    "unknown": b"HTTP/1.1 199 Wait\r\nX-Wait: more\r\n\r\n",
}


@pytest.mark.parametrize("interim", INTERIM.values(), ids=INTERIM)
def test_interim_responses_are_not_the_answer(
    interim: bytes, caller: Any, server: Any, client: Humanloop
) -> None:
    answer = HEAD + b'Content-Length: 16\r\n\r\n{"id": "sesh_1"}'
    server.reply = server.sending(interim + answer)
    for _ in range(2):
        response = caller(client.sessions.create)
        assert (response.status, response.body.id) == (200, "sesh_1")
        assert "Link" not in response.headers
    assert (len(server.requests), server.connections) == (2, 1)


@pytest.mark.parametrize("cut", [EARLY, EARLY[:-2], EARLY[:40]], ids=["after", "at end", "within"])
def test_nothing_but_an_interim_response(
    cut: bytes, caller: Any, server: Any, client: Humanloop
) -> None:
    server.send_raw(cut)
    error = failure(POST, caller, client, server.host, 1)
    assert type(error) is ApiConnectionError
    assert error.sent
    assert len(server.requests) == 1


def test_interim_responses_without_an_end(caller: Any, server: Any, client: Humanloop) -> None:
    server.reply = server.dripping(b"", EARLY)
    error = failure(POST, caller, client, server.host, 1, timeout=0.3)
    assert type(error) is ApiTimeoutError
    assert error.elapsed < 0.3 + GRACE


def test_silence_after_an_interim_response(caller: Any, server: Any, client: Humanloop) -> None:
    server.reply = server.hanging(EARLY)
    error = failure(POST, caller, client, server.host, 1, read_timeout=0.2)
    assert type(error) is ApiTimeoutError
    assert error.reason.startswith("nothing came for 0.2 seconds")


def test_another_protocol_is_no_answer(caller: Any, server: Any, client: Humanloop) -> None:
    head = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n"
    server.reply = server.sending(head + HEAD + b"Content-Length: 2\r\n\r\n{}")
    error = failure(POST, caller, client, server.host, 1, timeout=5)
    assert type(error) is ApiConnectionError
    assert "101" in str(error)
    assert len(server.requests) == 1


def test_equal_lengths_are_one(caller: Any, server: Any, client: Humanloop) -> None:
    for lengths in (b"16, 16", b"16,16 , 16", b"16\r\nContent-Length: 16"):
        server.reply = server.sending(
            HEAD + b"Content-Length: " + lengths + b'\r\n\r\n{"id": "sesh_1"}'
        )
        assert caller(client.sessions.create, timeout=5).body.id == "sesh_1"
    assert len(server.requests) == 3


@pytest.mark.parametrize("size", [1, 40])
def test_a_head_that_comes_in_pieces(
    size: int, caller: Any, server: Any, client: Humanloop
) -> None:
    head = EARLY + HEAD + b"Content-Length: 16\r\ncontent-length: 16\r\n\r\n"
    answer = head + b'{"id": "sesh_1"}'

    def reply(request: Any, connection: socket.socket) -> None:
        for start in range(0, len(answer), size):
            connection.sendall(answer[start : start + size])
            select.select([connection], [], [], 0.001)

    server.reply = reply
    for _ in range(2):
        assert caller(client.sessions.create, timeout=10).body.id == "sesh_1"
    assert (len(server.requests), server.connections) == (2, 1)


@pytest.mark.parametrize("lengths", [("9", ""), ("", "9"), ("9", "9, 9")])
def test_the_length_of_chunks_is_their_own(
    lengths: tuple[str, str], caller: Any, server: Any, client: Humanloop
) -> None:
    """RFC 9112 section 6.3: Transfer-Encoding overrides Content-Length."""
    before, after = (f"Content-Length: {n}\r\n".encode() if n else b"" for n in lengths)
    head = HEAD + before + b"Transfer-Encoding: chunked\r\n" + after
    server.reply = server.sending(head + b'\r\n10\r\n{"id": "sesh_1"}\r\n0\r\n\r\n')
    for _ in range(2):
        assert caller(client.sessions.create, timeout=5).body.id == "sesh_1"
    assert len(server.requests) == 2


@pytest.mark.parametrize("codings", ["Chunked", "identity, chunked", ",chunked"])
def test_the_last_coding_is_chunked(
    codings: str, caller: Any, server: Any, client: Humanloop
) -> None:
    head = HEAD + f"Transfer-Encoding: {codings}\r\n\r\n".encode()
    server.reply = server.sending(head + b'10 \r\n{"id": "sesh_1"}\r\n0\r\n\r\n')
    for _ in range(2):
        assert caller(client.sessions.create, timeout=5).body.id == "sesh_1"
    assert (len(server.requests), server.connections) == (2, 1)


def test_lines_that_end_in_lf_alone(caller: Any, server: Any, client: Humanloop) -> None:
    head = HEAD + b"Content-Length: 16\r\nContent-Length: 16\r\n\r\n"
    server.reply = server.sending(head.replace(b"\r\n", b"\n") + b'{"id": "sesh_1"}')
    assert caller(client.sessions.create, timeout=5).body.id == "sesh_1"


@pytest.mark.parametrize("space", [b" ", b"\t", b" \t "])
def test_space_before_a_colon(space: bytes, caller: Any, server: Any, client: Humanloop) -> None:
    """RFC 9112 section 5.1: it is no part of the name, and a proxy drops it."""
    early = b"HTTP/1.1 103 Early Hints\r\nLink%b: </a>\r\n\r\n" % space
    fields = b"Content-Length%b: 16\r\nX-Name%b:a : b\r\nX-Other: c\r\n" % (space, space)
    server.reply = server.sending(early + HEAD + fields + b'\r\n{"id": "sesh_1"}')
    for _ in range(2):
        response = caller(client.sessions.create, timeout=5)
        assert response.body.id == "sesh_1"
        assert (response.headers["X-Name"], response.headers["X-Other"]) == ("a : b", "c")
    assert (len(server.requests), server.connections) == (2, 1)
    chunks = b"Transfer-Encoding%b: chunked\r\n\r\n10\r\n" % space
    server.reply = server.sending(HEAD + chunks + b'{"id": "sesh_1"}\r\n0\r\n\r\n')
    assert caller(client.sessions.create, timeout=5).body.id == "sesh_1"


@pytest.mark.parametrize("name", ["X-Token", "Set-Cookie"])
def test_a_header_with_a_nul(name: str, caller: Any, server: Any, client: Humanloop) -> None:
    field = f"{name}: sent\0by-the-server\r\nContent-Length: 2\r\n\r\n{{}}"
    server.send_raw(HEAD + field.encode())
    error = failure(POST, caller, client, server.host, 1)
    assert type(error) is ApiConnectionError
    assert "sent" not in error.reason


@pytest.mark.parametrize("answer", [b"sent\r\n\r\n", b"HTTP/2 200 sent\r\n\r\n", b"\x15\3\3sent"])
def test_what_is_no_http(answer: bytes, caller: Any, server: Any, client: Humanloop) -> None:
    server.send_raw(answer)
    error = failure(POST, caller, client, server.host, 1)
    assert type(error) is ApiConnectionError
    assert error.reason == "the connection broke: the answer is no HTTP/1.1: bad status line"


def test_headers_outside_ascii_are_latin_1(caller: Any, server: Any) -> None:
    every_byte = bytes(range(0x80, 0x100))
    server.send_raw(HEAD + b"X-Name: caf\xe9 " + every_byte + b".\r\nContent-Length: 2\r\n\r\n{}")
    client = caller.client(server.host, retries=0)
    name = "caf\xe9 " + every_byte.decode("latin-1") + "."
    response = GET(caller, client, skip_deserialization=True, extra_headers={"X-Name": name})
    assert response.headers["X-Name"] == name
    assert b"X-Name: caf\xe9 " + every_byte + b".\r\n" in server.requests[0].raw


def test_a_header_without_a_name(caller: Any, server: Any, client: Humanloop) -> None:
    server.send_raw(HEAD + b"no colon here\r\nContent-Length: 2\r\n\r\n{}")
    assert type(failure(POST, caller, client, server.host, 1)) is ApiConnectionError


UNSENDABLE: dict[str, dict[str, Any]] = {
    "CRLF": {"headers": Headers({"X-Name": "a\r\nX-Other: b"})},
    "LF": {"headers": Headers({"X-Name": "a\nb"})},
    "NUL": {"headers": Headers({"X-Name": "a\0b"})},
    "beyond Latin-1": {"headers": Headers({"X-Name": "\u20ac"})},
    "a space": {"path": "/projects HTTP/1.0"},
    "CRLF in the path": {"path": "/projects\r\nX-Other: b"},
    "not ASCII": {"path": "/caf\xe9"},
}


@pytest.mark.parametrize("fields", UNSENDABLE.values(), ids=UNSENDABLE)
def test_what_can_not_be_sent(fields: dict[str, Any], caller: Any, server: Any) -> None:
    """The client checks what it is given; a hook may make anything of that."""
    if "headers" in fields:
        fields["headers"]["X-API-KEY"] = "hl-secret-key"
    hooks = {"request": [lambda request: replace(request, **fields)]}
    client = caller.client(server.host, event_hooks=hooks, retries=0)
    with pytest.raises(ApiConnectionError, match="characters that can't be sent") as caught:
        GET(caller, client)
    assert_no_secret(caught.value, "hl-secret-key")
    assert (caught.value.sent, server.connections) == (False, 0)


# --- redirects ---


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("where", ["itself", "elsewhere"])
def test_redirects_are_never_followed(
    where: str, status: int, caller: Any, server: Any, client: Humanloop
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as elsewhere:
        elsewhere.settimeout(0)
        port = server.port if where == "itself" else elsewhere.getsockname()[1]
        server.answer(status=status, Location=f"http://127.0.0.1:{port}/v4/projects")
        error = failure(POST, caller, client, server.host, 1)
        with pytest.raises(BlockingIOError):  # nobody has knocked
            elsewhere.accept()
    assert type(error) is ApiException
    assert error.status == status
    location = f"http://127.0.0.1:{port}/v4/projects"
    assert error.headers["location"] == location
    assert f"it redirects to {location}; redirects are not followed" in str(error)
    assert len(server.requests) == 1


def test_where_a_redirect_leads_is_told_in_short_and_without_keys(caller: Any, server: Any) -> None:
    key = "hl-0123456789abcdef"
    client = caller.client(server.host, api_key=key)
    server.answer(status=302, Location=f"https://login.example/?key={key}&next={'x' * 5000}")
    error = failure(GET, caller, client, server.host, 1)
    assert "it redirects to https://login.example/?key=***&next=xxx" in str(error)
    assert key not in str(error)
    assert len(str(error)) < 500
    server.answer(status=307, Location="https://me:pass-word@x.example/a?b=c&X-Amz-Signature=sig#d")
    error = failure(GET, caller, client, server.host, 1)
    assert "it redirects to https://***@x.example/a?b=c&X-Amz-Signature=***#d;" in str(error)
    assert error.headers["Location"].startswith("https://me:pass-word@x.example")
    server.answer(status=404, Location="https://elsewhere.example")
    assert "elsewhere" not in str(failure(GET, caller, client, server.host, 1))


# --- time ---


def test_the_timeout_is_one_deadline_for_all_tries(
    caller: Any, server: Any, client: Humanloop
) -> None:
    server.reply = server.hanging()
    arguments = GET, caller, client, server.host, 1
    seconds, error = run_out(NO_ANSWER, failure, "timeout", *arguments, retries=EAGER)
    assert type(error) is ApiTimeoutError
    assert error.elapsed is not None
    assert seconds <= error.elapsed < seconds + GRACE
    assert server.arrived(1) == 1


def test_the_deadline_goes_on_during_retries(caller: Any, server: Any, client: Humanloop) -> None:
    server.answer_in_turn(503, b"", server.hanging())
    error = failure(GET, caller, client, server.host, 3, timeout=1, retries=EAGER)
    assert type(error) is ApiTimeoutError
    assert 1 <= error.elapsed < 1 + GRACE
    assert len(server.requests) == 3


@pytest.mark.parametrize("name", ["GET", "POST", "POST with a reference"])
def test_a_wait_for_bytes_that_is_too_long_is_tried_again(
    name: str, caller: Any, server: Any
) -> None:
    call = CALLS[name]
    server.reply = server.hanging(HEAD)
    client = caller.client(server.host, retries=FAST, read_timeout=0.15)
    error = failure(call, caller, client, server.host, call.tries)
    assert type(error) is ApiTimeoutError
    assert error.reason.startswith("nothing came for 0.15 seconds")
    assert 0.15 * call.tries <= error.elapsed < 0.15 * call.tries + GRACE
    assert server.arrived(call.tries) == call.tries


def test_reads_that_are_tried_again_stay_within_the_deadline(caller: Any, server: Any) -> None:
    server.reply = server.hanging()
    client = caller.client(server.host, retries=EAGER, read_timeout=0.2)
    with pytest.raises(ApiTimeoutError) as caught:
        GET(caller, client, timeout=0.5)
    assert caught.value.elapsed is not None
    assert caught.value.elapsed < 0.5 + GRACE
    # The last one may have had so little time that the server has not read it.
    assert len(server.requests) in {caught.value.tries, caught.value.tries - 1}
    assert caught.value.tries <= 3


SLOW = {
    "headers": (b"X-Slow: ", b"x"),
    "length": (b"Content-Length: 100000\r\n\r\n", b" "),
    "chunks": (b"Transfer-Encoding: chunked\r\n\r\n", b"1\r\n \r\n"),
    "one chunk": (b"Transfer-Encoding: chunked\r\n\r\nffff\r\n", b" "),
    "until closed": (b"\r\n", b" "),
}


@pytest.mark.parametrize(("head", "piece"), SLOW.values(), ids=SLOW)
def test_a_slow_drip_does_not_outlive_the_deadline(
    head: bytes, piece: bytes, caller: Any, server: Any, client: Humanloop
) -> None:
    server.reply = server.dripping(HEAD + head, piece)
    error = failure(GET, caller, client, server.host, 1, timeout=0.2)
    assert type(error) is ApiTimeoutError
    assert error.elapsed < 0.2 + GRACE


def test_a_slow_drip_within_the_deadline_is_read_to_its_end(
    caller: Any, server: Any, client: Humanloop
) -> None:
    def reply(request: Any, connection: socket.socket) -> None:
        for byte in HEAD + b"Content-Length: 2\r\n\r\n{}":
            connection.sendall(bytes([byte]))

    server.reply = reply
    assert GET(caller, client, skip_deserialization=True, read_timeout=5).body == {}


def test_a_server_that_does_not_read(caller: Any, new_sockets: Any) -> None:
    with deaf() as port:
        host = f"http://127.0.0.1:{port}/v4"
        call = Call("/projects", lambda c: (c.projects.create, {"name": "x" * 20_000_000}), 1)
        client = caller.client(host)
        error = failure(call, caller, client, host, 1, timeout=0.5)
        assert type(error) is ApiTimeoutError
        assert error.elapsed < 0.5 + GRACE
        caller.close(client)
        assert len(new_sockets()) == 1  # the listener: what is unsent keeps none open


def test_sending_is_no_wait_for_the_answer(caller: Any) -> None:
    body = {"name": "x" * 10_000_000}

    def read_late(connection: socket.socket) -> None:
        with connection.makefile("rb") as file:
            while file.readline().strip():
                pass
            select.select([], [], [], 0.5)
            assert len(file.read(10_000_000)) == 10_000_000
            connection.sendall(HEAD + b"Content-Length: 2\r\n\r\n{}")

    with serving(read_late) as port:
        client = caller.client(f"http://127.0.0.1:{port}/v4", retries=0, read_timeout=0.25)
        assert caller(client.projects.create, **body, skip_deserialization=True).body == {}


def test_a_connection_that_is_never_made(caller: Any, trusting: dict[str, Any]) -> None:
    with deaf() as port:  # accepts, and never greets by TLS
        host = f"https://127.0.0.1:{port}/v4"
        client = caller.client(host, connect_timeout=0.1, **trusting)
        error = failure(POST, caller, client, host, 1)
    assert type(error) is ApiTimeoutError
    assert error.reason.startswith("no connection within 0.1 seconds")
    assert not error.sent


def test_the_handshake_has_no_more_time_than_is_left(
    tls_server: Any, trusting: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It has so by a private method of urllib3: see `Connection._new_conn`."""
    look_up, wrap, limits = socket.getaddrinfo, ssl.SSLContext.wrap_socket, list[Any]()

    def looking_up(*arguments: Any, **options: Any) -> Any:
        time.sleep(0.1)
        return look_up(*arguments, **options)

    def wrapping(context: ssl.SSLContext, sock: socket.socket, *args: Any, **options: Any) -> Any:
        limits.append(sock.gettimeout())
        return wrap(context, sock, *args, **options)

    monkeypatch.setattr(socket, "getaddrinfo", looking_up)
    monkeypatch.setattr(ssl.SSLContext, "wrap_socket", wrapping)
    with Humanloop(host=tls_server.host, **trusting) as client:
        client.projects.list(skip_deserialization=True, timeout=5)
    [limit] = [limit for limit in limits if limit is not None]
    assert 0 < limit <= 4.9


def test_a_deadline_over_tls(caller: Any, tls_server: Any, trusting: dict[str, Any]) -> None:
    tls_server.reply = tls_server.hanging()
    client = caller.client(tls_server.host, **trusting)
    _, error = run_out(NO_ANSWER, failure, "timeout", GET, caller, client, tls_server.host, 1)
    assert type(error) is ApiTimeoutError


@contextmanager
def silent(count: int, port: int) -> Iterator[list[str]]:
    """Addresses where connecting takes for ever: their queues are full."""
    with ExitStack() as stack:
        hosts = [f"127.0.0.{2 + number}" for number in range(count)]
        for host in hosts:
            try:
                listener = stack.enter_context(socket.create_server((host, port), backlog=0))
            except OSError:
                pytest.skip("needs several loopback addresses")
            for _ in range(3):
                filler = stack.enter_context(socket.socket())
                filler.setblocking(False)
                filler.connect_ex(listener.getsockname())
        yield hosts


def resolving(monkeypatch: pytest.MonkeyPatch, port: int, hosts: list[str]) -> list[str]:
    """Let every name have these addresses; return the list of the names that are looked up."""
    original, asked = socket.getaddrinfo, list[str]()

    def look_up(host: Any, *args: Any, **options: Any) -> Any:
        if str(host).replace(".", "").isdecimal():
            return original(host, *args, **options)
        asked.append(host)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (each, port)) for each in hosts]

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    return asked


@pytest.mark.parametrize("limit", ["timeout", "connect_timeout"])
def test_one_deadline_for_all_addresses_of_a_host(
    limit: str, caller: Any, server: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    host = f"http://many.example:{server.port}/v4"
    with silent(40, server.port) as hosts:
        asked = resolving(monkeypatch, server.port, hosts)

        def call(**limits: float) -> Any:
            asked.clear()
            return failure(POST, caller, caller.client(host, retries=0), host, 1, **limits)

        doing = f"connecting to 127.0.0.2:{server.port} and *"
        expected = f"no connection within {{}} seconds (while {doing})"
        seconds, error = run_out(expected, call, limit)
    assert type(error) is ApiTimeoutError
    assert error.elapsed is not None
    assert seconds <= error.elapsed < seconds + GRACE  # not forty times as long
    assert not error.sent
    assert (asked, server.requests) == (["many.example"], [])


def test_a_silent_address_does_not_keep_a_later_one_from_answering(
    caller: Any, server: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As of a host whose IPv6 leads nowhere."""
    with silent(2, server.port) as hosts:
        resolving(monkeypatch, server.port, [*hosts, "127.0.0.1"])
        # The port is that of the address, also where a name is looked up in some other way.
        client = caller.client("http://many.example:1/v4", timeout=30)
        began = time.monotonic()
        assert GET(caller, client, skip_deserialization=True).body == {}
        assert time.monotonic() - began < GRACE
    assert (len(server.requests), server.connections) == (1, 1)


def test_an_address_that_refuses_does_not_keep_the_next_one_waiting(
    caller: Any, server: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    resolving(monkeypatch, server.port, ["127.0.0.9", "127.0.0.8", "127.0.0.1"])
    client = caller.client(f"http://many.example:{server.port}/v4")
    assert GET(caller, client, skip_deserialization=True).body == {}
    resolving(monkeypatch, server.port, ["127.0.0.9", "127.0.0.8"])
    host = f"http://none.example:{server.port}/v4"
    error = failure(GET, caller, caller.client(host, retries=0), host, 1)
    assert error.reason == "can't connect: Connection refused"
    assert len(server.requests) == 1


def test_looking_up_a_name_has_its_limit(
    caller: Any, server: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    original, go_on, asked = socket.getaddrinfo, threading.Event(), list[str]()

    def hanging(host: Any, *args: Any, **options: Any) -> Any:
        if host != "slow.example":
            return original(host, *args, **options)
        asked.append(host)
        assert go_on.wait(60)
        return original("127.0.0.1", *args, **options)

    monkeypatch.setattr(socket, "getaddrinfo", hanging)
    host = f"http://slow.example:{server.port}/v4"
    client = caller.client(host, retries=0)
    try:
        for limit in ("timeout", "connect_timeout"):
            expected = "no connection within {} seconds (while looking up the host)"
            seconds, error = run_out(expected, failure, limit, POST, caller, client, host, 1)
            assert type(error) is ApiTimeoutError
            assert error.elapsed is not None
            assert error.elapsed < seconds + GRACE
            assert not error.sent
        assert asked == ["slow.example"]  # who comes later waits for the same
        assert server.requests == []
        go_on.set()
        assert POST(caller, client, skip_deserialization=True).body == {}
    finally:
        go_on.set()
    assert len(server.requests) == 1


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_system_without_more_threads(
    scheme: str, caller: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    host = f"{scheme}://some.example"
    error = failure(GET, caller, caller.client(host, retries=0), host, 1)
    assert error.reason == "can't connect: can't start new thread"


@pytest.mark.parametrize("seconds", [sys.maxsize, 1e300, 2**31, 9.3e9, float(10**18)])
def test_a_limit_beyond_what_clocks_count_is_long(seconds: float, caller: Any, server: Any) -> None:
    host = server.host.replace("127.0.0.1", "localhost")  # which is looked up
    limits = dict.fromkeys(("timeout", "connect_timeout", "read_timeout"), seconds)
    client = caller.client(host, **limits)
    assert GET(caller, client, skip_deserialization=True).body == {}
    assert POST(caller, client, skip_deserialization=True, **limits).body == {}
    assert len(server.requests) == 2


def test_a_deadline_that_has_passed_before_anything_was_sent(
    caller: Any, server: Any, client: Humanloop
) -> None:
    error = failure(GET, caller, client, server.host, 1, timeout=1e-9)
    assert type(error) is ApiTimeoutError
    assert not error.sent
    assert server.requests == []


def test_without_a_limit(caller: Any, server: Any) -> None:
    no_delay = [(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)]
    options: Any = {"timeout": None, "connect_timeout": None, "socket_options": no_delay}
    client = caller.client(server.host, **options)
    assert GET(caller, client, skip_deserialization=True).body == {}


def test_socket_options_that_the_system_does_not_know(caller: Any, server: Any) -> None:
    options = [(socket.SOL_SOCKET, 99_999, 1)]
    client = caller.client(server.host, socket_options=options, retries=0)
    error = failure(POST, caller, client, server.host, 1)
    assert error.reason == "can't connect: Protocol not available"


# --- lengths, codings, sizes ---


@pytest.mark.parametrize("then", ["hang", "close"])
def test_a_body_shorter_than_its_length(
    then: str, caller: Any, server: Any, client: Humanloop
) -> None:
    cut = HEAD + b"Content-Length: 3\r\n\r\n{}"
    server.reply = server.hanging(cut) if then == "hang" else server.sending(cut, then_close=True)
    timeout = 0.2 if then == "hang" else 10
    error = failure(POST, caller, client, server.host, 1, timeout=timeout)
    assert isinstance(error, ApiTimeoutError) == (then == "hang")
    server.answer({"id": "sesh_1"})
    assert caller(client.sessions.create).body.id == "sesh_1"


@pytest.mark.parametrize(
    "length", ["2, 3", "2\r\nContent-Length: 3", "1_5", "+15", "-1", "0x2", ""]
)
def test_a_length_that_is_none(length: str, caller: Any, server: Any, client: Humanloop) -> None:
    server.reply = server.sending(HEAD + b"Content-Length: %b\r\n\r\n" % length.encode() + b"{}")
    call = Call("/sessions", lambda c: (c.sessions.create, {}), 1)
    assert type(failure(call, caller, client, server.host, 1)) is ApiConnectionError


@pytest.mark.parametrize("late", [False, True], ids=["at once", "later"])
@pytest.mark.parametrize("size", [None, -3, 30], ids=["whole", "without its end", "half a head"])
def test_a_body_longer_than_its_length(
    size: int | None, late: bool, caller: Any, server: Any
) -> None:
    """What is too much is never taken for the answer to the next request."""
    fcntl, termios = pytest.importorskip("fcntl"), pytest.importorskip("termios")
    answer = HEAD + b'Content-Length: 15\r\n\r\n{"id": "first"}'
    planted = answer.replace(b"first", b"EVIL!")[:size]
    client = caller.client(server.host, retries=0)
    sent, go_on = threading.Event(), threading.Event()

    def reply(request: Any, connection: socket.socket) -> None:
        if late:
            connection.sendall(answer)
            go_on.wait(10)
            connection.sendall(planted)
        else:
            connection.sendall(answer + planted)
        while unpack("i", fcntl.ioctl(connection, termios.TIOCOUTQ, bytes(4)))[0]:
            pass  # it has not arrived yet
        sent.set()

    for used in (1, 2):
        server.reply = reply
        assert caller(client.sessions.create).body.id == "first"
        assert server.connections == used
        go_on.set()
        assert sent.wait(10)
        server.answer({"id": "second"})
        assert caller(client.sessions.create).body.id == "second"
        assert server.connections == used + 1
        sent.clear()
        go_on.clear()


def test_what_follows_a_body_in_its_record_of_tls(
    caller: Any, tls_server: Any, trusting: dict[str, Any]
) -> None:
    """One read gets the answer, and the rest has been decrypted: no socket tells of it."""
    body = b'{"id": "first"}'
    head = HEAD + b"Content-Length: 15\r\nX-Fill: "
    fill = io.DEFAULT_BUFFER_SIZE - len(head + b"\r\n\r\n" + body)
    answer = head + b"x" * fill + b"\r\n\r\n" + body
    client = caller.client(tls_server.host, **trusting)
    tls_server.reply = tls_server.sending(answer + answer.replace(b"first", b"EVIL!"))
    assert caller(client.sessions.create).body.id == "first"
    tls_server.answer({"id": "second"})
    assert caller(client.sessions.create).body.id == "second"
    assert (len(tls_server.requests), tls_server.connections) == (2, 2)


def test_an_empty_line_after_a_body(caller: Any, server: Any, client: Humanloop) -> None:
    server.reply = server.sending(HEAD + b'Content-Length: 16\r\n\r\n{"id": "sesh_1"}\r\n')
    for _ in range(2):
        assert caller(client.sessions.create).body.id == "sesh_1"
    assert (len(server.requests), server.connections) == (2, 1)


@pytest.mark.parametrize("encoding", ["gzip", "x-gzip", "deflate", "GZip, deflate"])
def test_a_compressed_answer(encoding: str, caller: Any, server: Any, client: Humanloop) -> None:
    data = b'{"id": "sesh_1"}'
    for coding in encoding.lower().split(", "):
        data = zlib.compress(data) if coding == "deflate" else gzip.compress(data)
    server.answer(data, Content_Encoding=encoding)
    assert caller(client.sessions.create).body.id == "sesh_1"
    server.answer(data, status=500, Content_Encoding=encoding)
    error = failure(POST, caller, client, server.host, 1)
    assert error.body == {"id": "sesh_1"}


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "br"])
def test_an_answer_that_its_coding_does_not_fit(
    encoding: str, caller: Any, server: Any, client: Humanloop
) -> None:
    server.answer(b'{"id": "sesh_1"}', Content_Encoding=encoding)
    error = failure(POST, caller, client, server.host, 1)
    assert type(error) is ApiConnectionError
    assert encoding in str(error)


@cache
def bomb(size: int, layers: int = 1) -> bytes:
    """As many zeros, in a thousandth of their size for each layer."""
    data = b""
    packer = zlib.compressobj(6, wbits=31)
    for _ in range(size >> 20):
        data += packer.compress(bytes(1 << 20))
    data += packer.flush()
    for _ in range(layers - 1):
        data = gzip.compress(data)
    return data


@pytest.mark.parametrize("layers", [1, 2])
def test_a_small_body_that_would_fill_the_memory(layers: int, caller: Any, server: Any) -> None:
    encoding = ", ".join(["gzip"] * layers)
    server.answer(bomb(64 << 20, layers), Content_Encoding=encoding)
    client = caller.client(server.host, retries=FAST, max_response_bytes=1_000_000)
    tracemalloc.start()
    try:
        error = failure(GET, caller, client, server.host, 1)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert type(error) is ApiResponseTooLargeError
    assert "over 1,000,000 bytes" in str(error)
    assert peak < 8_000_000
    assert len(server.requests) == 1


ENDLESS = {
    "chunked": (HEAD + b"Transfer-Encoding: chunked\r\n\r\n", b"400\r\n" + b" " * 1024 + b"\r\n"),
    "until closed": (HEAD + b"\r\n", b" " * 1024),
    "of an error": (
        b"HTTP/1.1 500 Oh\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"400\r\n" + b" " * 1024 + b"\r\n",
    ),
}


@pytest.mark.parametrize(("head", "piece"), ENDLESS.values(), ids=ENDLESS)
def test_a_body_without_an_end(head: bytes, piece: bytes, caller: Any, server: Any) -> None:
    server.reply = server.endless(head, piece)
    client = caller.client(server.host, retries=FAST, max_response_bytes=100_000)
    error = failure(GET, caller, client, server.host, 1)
    assert type(error) is ApiResponseTooLargeError
    assert len(server.requests) == 1


def test_a_head_without_an_end(caller: Any, server: Any) -> None:
    server.reply = server.endless(HEAD, b"X-More: more\r\n" * 100)
    client = caller.client(server.host, retries=0)
    error = failure(GET, caller, client, server.host, 1)
    assert isinstance(error, ApiConnectionError)
    assert not isinstance(error, ApiTimeoutError)


# --- what the server asks for ---


DATE = "Sun, 06 Nov 1994 08:49:37 GMT"
SOONER = {
    "seconds": {"Retry-After": "0"},
    "decimals": {"Retry-After": "0.01"},
    "milliseconds": {"Retry-After-Ms": "10", "Retry-After": "100"},
    "date now": {"Retry-After": DATE, "Date": DATE},
    "date of RFC 850": {"Retry-After": "Sunday, 06-Nov-94 08:49:37 GMT", "Date": DATE},
    "date of asctime": {"Retry-After": "Sun Nov  6 08:49:37 1994", "Date": DATE},
    "date in the past": {"Retry-After": "Sun, 06 Nov 1994 08:00:00 GMT"},
    "garbage": {"Retry-After": "soon"},
    "negative": {"Retry-After": "-5"},
    "nothing": {},
}
LATER = {
    "seconds": {"Retry-After": "30"},
    "decimals": {"Retry-After": "29.9999"},
    "milliseconds": {"Retry-After-Ms": "30000", "Retry-After": "0"},
    "date": {"Retry-After": "Sun, 06 Nov 1994 08:50:07 GMT", "Date": DATE},
    "date of RFC 850": {"Retry-After": "Sunday, 06-Nov-94 08:50:07 GMT", "Date": DATE},
    "date of asctime": {"Retry-After": "Sun Nov  6 08:50:07 1994", "Date": DATE},
}


def answer_with(server: Any, status: int, headers: dict[str, str]) -> Any:
    fields = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    head = f"HTTP/1.1 {status} Later\r\nContent-Length: 0\r\n{fields}\r\n"
    return server.sending(head.encode())


@pytest.mark.parametrize("call", [GET, POST], ids=["GET", "POST"])
@pytest.mark.parametrize("headers", SOONER.values(), ids=SOONER)
def test_too_many_requests(
    headers: dict[str, str], call: Call, caller: Any, server: Any, client: Humanloop
) -> None:
    """The server did not take it, so any call may be repeated."""
    limited = answer_with(server, 429, headers)
    server.answer_in_turn(limited, limited, 200)
    assert call(caller, client, skip_deserialization=True).body == {}
    assert len(server.requests) == 3
    server.answer_in_turn(limited)
    error = failure(call, caller, client, server.host, 3)
    assert type(error) is exceptions.RateLimitError
    assert {name: error.headers[name] for name in headers} == headers
    assert len(server.requests) == 6


def test_the_wait_that_is_asked_for_is_kept(
    caller: Any, server: Any, client: Humanloop, caplog: pytest.LogCaptureFixture
) -> None:
    waiting = answer_with(server, 429, {"Retry-After": "0.05"})
    server.answer_in_turn(waiting, answer_with(server, 503, {"Retry-After-Ms": "70"}), 200)
    began = time.monotonic()
    with caplog.at_level(logging.DEBUG, "humanloop"):
        POST(caller, client, skip_deserialization=True)
    assert time.monotonic() - began >= 0.12
    waits = [m for m in caplog.messages if "again in" in m]
    assert waits == [f"POST /projects: again in {s} s" for s in ("0.05", "0.07")]
    assert len(server.requests) == 3


@pytest.mark.parametrize("headers", LATER.values(), ids=LATER)
def test_a_wait_longer_than_what_is_left_of_the_deadline(
    headers: dict[str, str], caller: Any, server: Any, client: Humanloop
) -> None:
    server.reply = answer_with(server, 429, headers)
    error = failure(GET, caller, client, server.host, 1, timeout=20)
    assert type(error) is exceptions.RateLimitError
    assert "the next try would come in 30 s, and the call may take" in str(error)
    assert error.elapsed < GRACE
    assert len(server.requests) == 1


def test_a_wait_longer_than_the_policy_allows(caller: Any, server: Any, client: Humanloop) -> None:
    server.reply = answer_with(server, 429, {"Retry-After": "61"})
    error = failure(GET, caller, client, server.host, 1, timeout=None)
    assert "the server asks to wait 61 s, more than the 60 s that max_retry_after allows" in str(
        error
    )
    assert error.elapsed < GRACE
    assert len(server.requests) == 1


@pytest.mark.parametrize(
    ("status", "headers", "gets", "posts"),
    [
        (408, {}, 3, 3),  # the server did not wait for all of it
        (409, {}, 1, 1),  # the conflict stays
        (409, {"Retry-After": "0"}, 3, 3),  # ... unless the server says when not
        (425, {}, 1, 1),
        (500, {}, 3, 1),
        (500, {"Retry-After": "0"}, 3, 1),
        (501, {}, 1, 1),
        (502, {}, 3, 1),
        (503, {"Retry-After": "0"}, 3, 3),  # the server did not take it
        (504, {}, 3, 1),
    ],
)
def test_what_a_status_allows(
    status: int,
    headers: dict[str, str],
    gets: int,
    posts: int,
    caller: Any,
    server: Any,
    client: Humanloop,
) -> None:
    server.reply = answer_with(server, status, headers)
    for call, tries in ((GET, gets), (POST, posts)):
        server.requests.clear()
        error = failure(call, caller, client, server.host, tries)
        assert type(error) is exceptions.exception_for_status(status)
        assert len(server.requests) == tries
