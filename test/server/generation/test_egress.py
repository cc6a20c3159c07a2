"""Connections to providers: faults, limits, addresses, keys, and readers that leave."""

from __future__ import annotations

import json
import logging
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import urllib3
from client.conftest import TLS
from client.limits import run_out

from humanloop import Humanloop
from humanloop.exceptions import ServiceUnavailableError
from humanloop.server import EmbeddedServer, ProviderLimits, Settings
from humanloop.server.generation import egress

from ..api import API_KEY
from ..chatting import post, records
from .serving import (
    DONE,
    HEAD,
    HELLO,
    SECRET,
    Chats,
    Loopback,
    Recorded,
    chats,
    chunk,
    completed,
    delta,
    response,
    streamed,
)

FAST = replace(ProviderLimits().retry, backoff=0.001)
LIMITS = ProviderLimits(retry=FAST)
FINE = response(json.dumps(completed("Hello")).encode())


@pytest.fixture(scope="module")
def remote() -> Iterator[Chats]:
    """A server whose provider is tried again at once."""
    with chats(limits=LIMITS) as found:
        yield found


@pytest.fixture(scope="module")
def impatient() -> Iterator[Chats]:
    """A server that waits for half a second at most."""
    limits = ProviderLimits(seconds=0.5, silent_seconds=0.2, retry=FAST)
    with chats(limits=limits) as found:
        yield found


@pytest.fixture(scope="module")
def whole() -> Iterator[Chats]:
    """The same, but for silence, which may be as long."""
    with chats(limits=replace(LIMITS, seconds=0.5)) as found:
        yield found


@pytest.fixture(scope="module")
def silence() -> Iterator[Chats]:
    """A server whose one limit is a fifth of a second until the next part of a stream."""
    with chats(limits=replace(LIMITS, silent_seconds=0.2)) as found:
        yield found


def requests_of(remote: Chats, call: Callable[[], Any]) -> int:
    """Call; return how many requests the provider got."""
    before = len(remote.provider.requests)
    call()
    return len(remote.provider.requests) - before


class TestRetries:
    """The failures after which a request is retried, and the number of retries."""

    @pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504])
    def test_what_may_pass_is_tried_again(self, remote: Chats, status: int) -> None:
        remote.provider.answer_in_turn(status, status, remote.provider.sending(FINE))
        assert requests_of(remote, remote.ok) == 3

    @pytest.mark.parametrize("status", [400, 401, 403, 404, 413, 422, 501])
    def test_what_will_not_pass_is_not(self, remote: Chats, status: int) -> None:
        remote.provider.answer({"error": {"message": "no"}}, status)
        assert requests_of(remote, remote.failed) == 1
        assert remote.log["error"].startswith(f"{status} ")

    def test_an_overloaded_anthropic_is_asked_again(self, remote: Chats) -> None:
        head = b"HTTP/1.1 529 Overloaded\r\nContent-Length: 0\r\n\r\n"
        remote.provider.answer_in_turn(head, remote.provider.sending(FINE))
        assert requests_of(remote, remote.ok) == 2

    def test_it_ends(self, remote: Chats) -> None:
        remote.provider.answer({"error": {"message": "Slow down"}}, 429)
        assert requests_of(remote, remote.failed) == 3
        assert remote.log["error"] == "429 Too Many Requests: Slow down"

    @pytest.mark.parametrize("stream", [False, True])
    def test_a_connection_that_breaks_before_the_answer(self, remote: Chats, stream: bool) -> None:
        good = HELLO if stream else FINE
        remote.provider.answer_in_turn(b"", b"HTTP/1.1 2", good)
        assert requests_of(remote, lambda: remote.chat(stream=stream)) == 3
        assert remote.log["output"] == "Hello"

    def test_an_answer_that_breaks_is_not_asked_for_again(self, remote: Chats) -> None:
        remote.provider.send_raw(FINE[:-5])
        assert requests_of(remote, remote.failed) == 1
        assert remote.log["error"].startswith("the connection failed: ")

    @pytest.mark.parametrize(
        "headers",
        [
            {"Retry-After": "0"},
            {"Retry-After": "0.01"},
            {"Retry-After-Ms": "10"},
            {"Retry-After": "Sun, 06 Nov 1994 08:49:37 GMT"},
            {"Retry-After": "soon"},
            {"Retry-After": ""},
            {"Retry-After": "-1"},
        ],
        ids=str,
    )
    def test_retry_after_in_each_form(self, remote: Chats, headers: dict[str, str]) -> None:
        busy = response(b"{}", 429, {k.replace("-", "_"): v for k, v in headers.items()})
        remote.provider.answer_in_turn(remote.provider.sending(busy), remote.provider.sending(FINE))
        assert requests_of(remote, remote.ok) == 2

    @pytest.mark.parametrize("seconds", ["61", "1e9", "99999999999999999999", "3000"])
    def test_retry_after_that_is_too_long(self, remote: Chats, seconds: str) -> None:
        remote.provider.answer({"error": {"message": "Busy"}}, 429, Retry_After=seconds)
        if seconds == "1e9":  # no number in HTTP
            assert requests_of(remote, remote.failed) == 3
        else:
            assert requests_of(remote, remote.failed) == 1
            assert "the server asks to wait" in remote.log["error"]

    def test_a_wait_beyond_the_deadline_is_none(self, impatient: Chats) -> None:
        impatient.provider.answer({"error": {"message": "Busy"}}, 429, Retry_After="5")
        assert requests_of(impatient, impatient.failed) == 1
        assert "too late" in impatient.log["error"]


class TestFaults:
    """A provider's possible faults. Each becomes one line, and one log with an error."""

    @pytest.mark.parametrize(
        ("data", "said"),
        [
            (
                response(b"<html><title>Bad\nGateway</title>x</html>", 501),
                "501 Not Implemented: Bad Gateway",
            ),
            (response(b"<h1>Not</h1> <p>here</p>", 404), "404 Not Found: Not here"),
            (response(b"", 403), "403 Forbidden"),
            (response(b'{"error":"no such model"}', 404), "404 Not Found: no such model"),
            (response(b'{"detail":[{"msg":"bad"}]}', 409), "409 Conflict: bad"),
            (response(b'{"object":"error","message":"m"}', 400), "400 Bad Request: m"),
            (
                response(b"", 302, {"Location": "http://169.254.169.254/"}),
                "302 Found: redirects are not followed",
            ),
            (response(b"no json"), "the answer is not JSON: no json"),
            (response(b""), "the answer is not JSON: empty"),
            (response(b"[" * 100_000), "the answer is not JSON: [[["),
            (response(b"\xff\xfe\x00"), "the answer is not JSON: "),
            (response(b'{"error":{"message":"odd"}}'), "odd"),
            (
                response(b"<title>Log in</title>", 200, {"Content-Type": "text/html"}),
                "200 OK, with an HTML page in place of JSON: Log in",
            ),
            (response(b"y" * 70_000, 400), "400 Bad Request: yyy"),
            (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nab", "the connection failed: "),
            (b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n{}", "the answer has no choices"),
            (b"no HTTP at all\r\n\r\n", "the connection failed: "),
        ],
    )
    def test_they_are_told(self, remote: Chats, data: bytes, said: str) -> None:
        remote.provider.send_raw(data)
        texts = [remote.failed()]
        if not data.startswith(b"HTTP/1.1 200") or b"text/html" in data:
            texts.append(remote.failed(stream=True))
        for text in texts:
            assert text.startswith(said)
            assert len(text) < 600

    @pytest.mark.parametrize("stream", [False, True])
    def test_no_provider_there(self, stream: bool) -> None:
        with chats(limits=LIMITS) as remote:
            remote.provider.close()
            text = remote.failed(stream=stream)
        where = f"127.0.0.1:{remote.provider.port}"
        assert text == f"can't connect to {where}: Connection refused"

    def test_a_name_that_nobody_knows(self) -> None:
        with chats(limits=LIMITS, url="http://nobody.invalid:{}/v1") as remote:
            assert "can't connect to nobody.invalid:" in remote.failed()
            assert "Name or service not known" in remote.log["error"]

    def test_an_answer_without_end(self, remote: Chats, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(egress, "MAX_BYTES", 1_000_000)
        head = b"HTTP/1.1 200 OK\r\n\r\n"
        remote.provider.reply = Loopback.endless(head, b" " * 10_000)
        assert remote.failed() == "the answer is over 1,000,000 bytes"

    def test_the_client_tells_who_and_what(self, remote: Chats) -> None:
        remote.provider.answer({"error": {"message": "The model `x` does not exist"}}, 404)
        with (
            Humanloop(api_key=API_KEY, host=remote.server.url) as client,
            pytest.raises(ServiceUnavailableError) as error,
        ):
            client.chat(
                project="p",
                model_config={"model": "x"},
                messages=[{"role": "user", "content": "Hi"}],
            )
        text = "The provider 'openai' failed: 404 Not Found: The model `x` does not exist"
        assert text in str(error.value)


class TestDeadlines:
    """A provider that takes too long."""

    @pytest.mark.parametrize("data", [b"", b"HTTP/1.1 200 OK\r\nContent-Le"])
    def test_no_answer(self, impatient: Chats, silence: Chats, data: bytes) -> None:
        impatient.provider.reply = silence.provider.reply = Loopback.hanging(data)
        assert impatient.failed() == "no complete answer within 0.5 seconds"
        assert silence.failed(stream=True) == "no data for 0.2 seconds"

    def test_a_plain_answer_that_stalls(self, impatient: Chats) -> None:
        impatient.provider.reply = Loopback.hanging(FINE[:-5])
        assert impatient.failed() == "no complete answer within 0.5 seconds"

    def test_a_stream_that_stalls_keeps_what_came(self) -> None:
        def call(silent_seconds: float) -> Any:
            with chats(limits=replace(LIMITS, silent_seconds=silent_seconds)) as found:
                found.provider.reply = Loopback.hanging(HEAD + chunk(delta("Hel")))
                text, log = found.chat(stream=True).text, found.log
            assert "output" not in log or "event: error" in text
            return SimpleNamespace(reason=f"{log.get('output')}: {log['error']}")

        run_out("Hel: no data for {} seconds", call, "silent_seconds")

    @pytest.mark.parametrize("head", [b"", HEAD + b"1", HEAD], ids=["head", "length", "chunks"])
    def test_one_that_drips_ends_as_well(self, whole: Chats, head: bytes) -> None:
        piece = chunk(b":") if head == HEAD else b"0" if head else b"H"
        whole.provider.reply = Loopback.dripping(head, piece)
        whole.chat(stream=True)
        assert whole.log["error"] == "no complete answer within 0.5 seconds"

    def test_retries_end_with_it(self, impatient: Chats) -> None:
        impatient.provider.reply = Loopback.hanging()
        began = time.monotonic()
        impatient.failed()
        assert time.monotonic() - began < 5


class TestLeaving:
    """A reader that leaves, and a server that stops, end the provider's stream at once."""

    @pytest.mark.parametrize("data", [b"", HEAD + chunk(delta("Hel"))], ids=["early", "later"])
    def test_a_reader_that_leaves(self, remote: Chats, data: bytes) -> None:
        began, gone = threading.Event(), threading.Event()

        def reply(request: Recorded, connection: socket.socket) -> None:
            connection.sendall(data)
            began.set()
            assert connection.recv(1) == b""
            gone.set()

        remote.provider.reply = reply
        body = remote.body(stream=True)
        if data:
            answer = post(remote.server, body)
            next(iter(answer))
            answer.close()
        else:
            thread = threading.Thread(target=_leave_early, args=(remote, body, began))
            thread.start()
            thread.join(20)
        assert gone.wait(5)
        while "output" not in (log := remote.log) and data:
            pass
        assert "error" not in log
        assert "finish_reason" not in log
        assert log.get("output", "") == ("Hel" if data else "")

    def test_a_server_that_stops(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("humanloop.server.http.running._STOP_SECONDS", 1)
        url = f"sqlite:///{tmp_path / 'own.db'}"
        with chats(database_url=url) as remote:
            began = threading.Event()

            def reply(request: Recorded, connection: socket.socket) -> None:
                began.set()
                connection.recv(1)

            remote.provider.reply = reply
            texts: list[str] = []

            def call() -> None:
                try:
                    texts.append(remote.chat(stream=True).text)
                except urllib3.exceptions.HTTPError as error:
                    texts.append(str(error))

            thread = threading.Thread(target=call)
            thread.start()
            assert began.wait(20)
            started = time.monotonic()
            remote.server.stop()
            assert time.monotonic() - started < 15
            thread.join(20)
        with EmbeddedServer(url, api_key=API_KEY) as server:
            remote.api.url = server.url
            [log] = records(remote.api, "p")
        assert "output" not in log


def _leave_early(remote: Chats, body: Any, began: threading.Event) -> None:
    """Send a request, and leave as soon as the provider has it."""
    data = json.dumps(body).encode()
    host, port = remote.server.url.split("/")[2].split(":")
    with socket.create_connection((host, int(port))) as connection:
        head = f"POST /v4/chat HTTP/1.1\r\nHost: {host}:{port}\r\nX-API-KEY: {API_KEY}\r\n"
        head += f"Content-Type: application/json\r\nContent-Length: {len(data)}\r\n\r\n"
        connection.sendall(head.encode() + data)
        assert began.wait(20)


class TestAddresses:
    """The address of the connected socket is what counts."""

    @pytest.mark.parametrize(
        "url",
        [
            "https://api.openai.com:{}/v1",
            "https://models.example/v1",
            "http://models.example:{}/v1",
        ],
    )
    @pytest.mark.parametrize("address", ["127.0.0.1", "127.8.8.8"])
    def test_a_name_that_leads_here_gets_no_byte(
        self, url: str, address: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with socket.create_server(("0.0.0.0", 0)) as listener:
            port = listener.getsockname()[1]
            look_up = socket.getaddrinfo

            def rebound(host: Any, asked: Any, *arguments: Any, **options: Any) -> Any:
                if host in {"api.openai.com", "models.example"}:
                    host, asked = address, port
                return look_up(host, asked, *arguments, **options)

            settings = Settings(providers=[f"openai={url.format(port)}"], provider_limits=LIMITS)
            with EmbeddedServer(api_key=API_KEY, settings=settings) as server:
                monkeypatch.setattr(socket, "getaddrinfo", rebound)
                monkeypatch.setenv("OPENAI_API_KEY", SECRET)
                remote = Chats(None, server, "openai")  # type: ignore[arg-type]
                text = remote.failed()
            assert "resolves to 127." in text
            connection, _ = listener.accept()
            with connection:
                connection.settimeout(10)
                assert connection.recv(1) == b""
            listener.settimeout(0.1)
            with pytest.raises(TimeoutError):
                listener.accept()

    def test_localhost_by_name(self) -> None:
        with chats(url="http://localhost:{}/v1") as remote:
            remote.provider.answer(completed("Hello"))
            assert remote.ok()["data"][0]["output"] == "Hello"

    def test_no_proxy_of_the_environment(
        self, remote: Chats, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
            monkeypatch.setenv(name, "http://127.0.0.1:1")
            monkeypatch.setenv(name.lower(), "http://127.0.0.1:1")
        remote.provider.answer(completed("Hello"))
        remote.ok()


class TestTls:
    """Certificates are checked."""

    @pytest.fixture(autouse=True)
    def _own_authority(self, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
        monkeypatch.setenv("SSL_CERT_FILE", str(TLS / "authority.pem"))
        egress._tls_context.cache_clear()
        yield
        egress._tls_context.cache_clear()

    def test_a_trusted_one(self) -> None:
        with chats(certificate="loopback") as remote:
            remote.provider.answer(completed("Hello"))
            assert remote.ok()["data"][0]["output"] == "Hello"

    @pytest.mark.parametrize("certificate", ["elsewhere", "expired"])
    def test_another_is_refused_before_a_byte(self, certificate: str) -> None:
        with chats(certificate=certificate, limits=LIMITS) as remote:
            assert remote.failed().startswith("no trusted TLS connection to 127.0.0.1:")
            assert remote.provider.requests == []
            assert remote.provider.connections == 1

    def test_an_unknown_authority(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.delenv("SSL_CERT_FILE")
        with chats(certificate="loopback", limits=LIMITS) as remote:
            assert "no trusted TLS" in remote.failed()
            assert remote.provider.requests == []

    def test_a_stream_that_is_left(self) -> None:
        gone = threading.Event()

        def reply(request: Recorded, connection: socket.socket) -> None:
            connection.sendall(HEAD + chunk(delta("Hel")))
            with suppress(OSError):
                connection.recv(1)
            gone.set()

        with chats(certificate="loopback") as remote:
            remote.provider.reply = reply
            answer = post(remote.server, remote.body(stream=True))
            next(iter(answer))
            answer.close()
            assert gone.wait(5)


class TestKeys:
    """Keys go to their provider, and nowhere else."""

    def test_a_callers_goes_before_the_servers(
        self, remote: Chats, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        remote.provider.answer(completed("Hello"))
        monkeypatch.setenv("OPENAI_API_KEY", f" {SECRET}\n")
        remote.ok()
        assert remote.provider.requests[-1].headers["Authorization"] == f"Bearer {SECRET}"
        remote.ok(provider_api_keys={"openai": "sk-a-callers-own", "anthropic": "x"})
        assert remote.provider.requests[-1].headers["Authorization"] == "Bearer sk-a-callers-own"

    def test_azure_has_a_header_of_its_own(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("AZURE_OPENAI_API_KEY", SECRET)
        with chats("openai_azure") as remote:
            remote.provider.answer(completed("Hello"))
            remote.ok(
                config={"provider": "openai_azure"},
                provider_api_keys={"openai_azure_endpoint": "http://127.0.0.1:1"},
            )
            headers = remote.provider.requests[-1].headers
        assert headers["api-key"] == SECRET
        assert "Authorization" not in headers

    def test_a_server_of_ones_own_gets_no_key_of_openai(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("OPENAI_API_KEY", SECRET)
        with chats("local") as remote:
            remote.provider.answer(completed("Hello"))
            remote.ok(provider_api_keys={"openai": SECRET})
            assert "Authorization" not in remote.provider.requests[-1].headers
            monkeypatch.setenv("LOCAL_API_KEY", "local-key")
            remote.ok()
            assert remote.provider.requests[-1].headers["Authorization"] == "Bearer local-key"

    def test_without_a_key_nothing_is_sent(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.delenv("OPENAI_API_KEY", raising=False)
        settings = Settings(providers=["openai"])
        with EmbeddedServer(api_key=API_KEY, settings=settings) as server:
            text = Chats(None, server, "openai").failed()  # type: ignore[arg-type]
        assert text == (
            "there is no key: set OPENAI_API_KEY for the server, or send `provider_api_keys` with"
            " 'openai'"
        )

    @pytest.mark.parametrize("key", ["sk-a\r\nX-Other: b", "sk-\u00e4", "sk-a\x00b"])
    def test_a_key_that_no_header_can_hold(self, remote: Chats, key: str) -> None:
        keys = {"openai": key}
        if "\0" in key:
            assert remote.chat(provider_api_keys=keys).status == 422
            return
        assert remote.failed(provider_api_keys=keys).startswith("the key has characters")

    @pytest.mark.parametrize("own", [False, True], ids=["callers", "servers"])
    def test_they_are_kept_and_told_nowhere(
        self,
        own: bool,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        caplog.set_level(logging.DEBUG)
        monkeypatch.setenv("OPENAI_API_KEY", SECRET if own else "")
        keys = {} if own else {"provider_api_keys": {"openai": SECRET}}
        texts: list[str] = []
        url = f"sqlite:///{tmp_path / 'own.db'}"
        with chats(limits=LIMITS, database_url=url) as remote:
            echo = completed(f"you sent {SECRET}", note=SECRET)
            answers: list[bytes] = [
                response(json.dumps(echo).encode()),
                HEAD + chunk(delta(f"you sent {SECRET}")) + chunk(delta(finish="stop") + DONE),
                HEAD + chunk(f"data: {SECRET}".encode()),
                streamed(delta(SECRET[:9]), delta(SECRET[9:]), delta(finish="stop"), DONE),
                response(f"bad key {SECRET}".encode(), 401),
                response(json.dumps({"error": {"message": f"bad {SECRET}!"}}).encode(), 400),
                response(b"x", 500, {"X_Key": SECRET}),
                HEAD + chunk(delta("x")) + chunk(f"data: {SECRET}\n\n".encode()),
                b"HTTP/1.1 " + SECRET.encode() + b"\r\n\r\n",
            ]
            for data in answers:
                remote.provider.send_raw(data)
                texts += [remote.chat(stream=stream, **keys).text for stream in (False, True)]
            assert SECRET in remote.provider.requests[-1].headers["Authorization"]
            texts.append(json.dumps(records(remote.api, "p")))
        texts.append(caplog.text)
        assert all(SECRET not in text for text in texts)
        assert all(SECRET.encode() not in each.read_bytes() for each in tmp_path.iterdir())


class TestSpeed:
    """Received pieces are passed on at once."""

    def test_the_first_piece(self, remote: Chats) -> None:
        moments: list[float] = []

        def reply(request: Recorded, connection: socket.socket) -> None:
            moments.append(time.perf_counter())
            connection.sendall(HEAD + chunk(delta("Hel")))
            connection.recv(1)

        remote.provider.reply = reply
        spent = 1.0
        for _ in range(20):  # the machine may be busy with something else
            answer = post(remote.server, remote.body(stream=True))
            assert b"Hel" in next(iter(answer))
            spent = min(spent, time.perf_counter() - moments[-1])
            answer.close()
            if spent < 0.02:
                break
        assert spent < 0.02
