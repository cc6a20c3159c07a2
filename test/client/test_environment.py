"""What companies' networks need: the environment's proxies and authorities, and TLS of one's own.

Every scenario runs by the synchronous and by the asynchronous call, over real proxies.
"""

from __future__ import annotations

import copy
import pickle
import select
import shutil
import socket
import ssl
import subprocess
import sys
from base64 import b64decode
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import certifi
import pytest
from conftest import AUTHORITIES, TLS, Loopback

from humanloop import (
    ApiException,
    ApiProxyError,
    ApiTlsError,
    ApiTypeError,
    ClientConfigurationError,
    Configuration,
    RetryPolicy,
)

AUTHORITY = str(TLS / "authority.pem")
FAST = RetryPolicy(attempts=3, backoff=0.001)
PLAIN = "http://api.example/v4"
SECURE = "https://api.example/v4"
ELSEWHERE = "https://elsewhere.example/v4"


class Tunnel(Loopback):
    """A proxy that connects every tunnel to one server, whichever host is asked for."""

    def __init__(self, server: Loopback) -> None:
        super().__init__()
        self._port = server.port
        self.reply = self._connect

    def _connect(self, request: Any, client_side: socket.socket) -> None:
        assert request.method == "CONNECT"
        with socket.create_connection(("127.0.0.1", self._port)) as server_side:
            client_side.sendall(b"HTTP/1.1 200 Connection Established\r\n\r\n")
            while True:
                for side in select.select([client_side, server_side], [], [])[0]:
                    if not (data := side.recv(65536)):
                        return
                    (server_side if side is client_side else client_side).sendall(data)


@pytest.fixture
def tunnel(tls_server: Loopback) -> Iterator[Tunnel]:
    with closing(Tunnel(tls_server)) as made:
        yield made


def url_of(proxy: Loopback, credentials: str = "") -> str:
    return f"http://{credentials}127.0.0.1:{proxy.port}"


def ask(caller: Any, host: str, **options: Any) -> Any:
    client = caller.client(host, **{"retries": FAST, **options})
    return caller(client.projects.list, skip_deserialization=True)


def failure(caller: Any, host: str, kind: type[Exception], **options: Any) -> Any:
    with pytest.raises(kind) as caught:
        ask(caller, host, **options)
    return caught.value


# The environment's proxies


def test_a_plain_request_goes_by_the_environments_proxy(
    caller: Any, server: Loopback, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", url_of(server, "user:p%40ss@"))
    ask(caller, PLAIN, proxy_headers={"X-Via": "office"})
    (request,) = server.requests
    assert request.target == "http://api.example/v4/projects"
    assert b64decode(request.headers["Proxy-Authorization"].split()[1]) == b"user:p@ss"
    assert request.headers["X-Via"] == "office"


@pytest.mark.parametrize("tls_server", ["elsewhere"], indirect=True)
def test_a_secure_request_goes_through_a_tunnel(
    caller: Any, tls_server: Loopback, tunnel: Tunnel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("https_proxy", url_of(tunnel, "user:pä@"))
    monkeypatch.setenv("SSL_CERT_FILE", AUTHORITY)
    client = caller.client(ELSEWHERE)
    for _ in range(2):
        assert caller(client.projects.list, skip_deserialization=True).body == {}
    assert [request.target for request in tls_server.requests] == ["/v4/projects"] * 2
    assert "Proxy-Authorization" not in tls_server.requests[0].headers
    caller.close(client)
    (request,) = tunnel.requests
    assert request.target.endswith(".example:443")
    sent = b64decode(request.headers["Proxy-Authorization"].split()[1])
    assert sent.decode() == "user:pä"


@pytest.mark.parametrize(
    ("variables", "options"),
    [
        ({"HTTP_PROXY": "{}"}, {"trust_env": False}),
        ({"HTTP_PROXY": "{}", "NO_PROXY": "api.example"}, {}),
        ({"HTTP_PROXY": "{}", "NO_PROXY": "other.example,.example"}, {}),
        ({"HTTPS_PROXY": "{}"}, {}),
        ({"HTTP_PROXY": "{}", "REQUEST_METHOD": "GET"}, {}),
        ({"ALL_PROXY": "{}"}, {"trust_env": False}),
        ({"ALL_PROXY": "{}", "NO_PROXY": "*"}, {}),
    ],
)
def test_the_environments_proxy_is_left_out(
    variables: dict[str, str],
    options: dict[str, Any],
    caller: Any,
    server: Loopback,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    look_up = socket.getaddrinfo

    def here(host: str, *rest: Any, **more: Any) -> Any:
        return look_up("127.0.0.1", *rest, **more)

    monkeypatch.setattr(socket, "getaddrinfo", here)
    with closing(Loopback()) as proxy:
        for name, value in variables.items():
            monkeypatch.setenv(name, value.format(url_of(proxy)))
        ask(caller, f"http://api.example:{server.port}/v4", **options)
        assert (proxy.connections, len(server.requests)) == (0, 1)


def test_this_machine_is_reached_directly(
    caller: Any, server: Loopback, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://proxy.invalid:3128")
    assert ask(caller, server.host).body == {}


def test_a_proxy_that_is_given_is_stronger(
    caller: Any, server: Loopback, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", "socks5://proxy.invalid")
    monkeypatch.setenv("NO_PROXY", "*")
    assert ask(caller, PLAIN, proxy=url_of(server)).body == {}
    assert len(server.requests) == 1


def test_a_socks_proxy_of_the_environment_is_named(
    caller: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ALL_PROXY", "socks5://user:pass-word@proxy.example:1080")
    error = failure(caller, PLAIN, ClientConfigurationError)
    assert "ALL_PROXY must be a URL" in str(error)
    assert "SOCKS" in str(error)
    assert "pass-word" not in str(error)


# Answers to CONNECT


@pytest.mark.parametrize("status", [400, 403, 404, 407, 408, 429])
def test_a_connect_that_is_refused_is_sent_once(
    status: int, caller: Any, server: Loopback, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.answer(status=status)
    monkeypatch.setenv("HTTPS_PROXY", url_of(server, "user:pass-word@"))
    error = failure(caller, SECURE, ApiProxyError)
    assert (error.proxy_status, error.tries, error.sent) == (status, 1, False)
    assert [request.method for request in server.requests] == ["CONNECT"]
    assert "HTTPS_PROXY" in str(error)
    assert "pass-word" not in repr(error) + str(error)
    assert ("other credentials" in str(error)) is (status == 407)
    again = pickle.loads(pickle.dumps(error))
    assert (again.proxy_status, str(again)) == (status, str(error))


def test_a_proxy_that_wants_credentials(caller: Any, server: Loopback) -> None:
    server.answer(status=407)
    error = failure(caller, SECURE, ApiProxyError, proxy=url_of(server))
    assert "the proxy wants credentials, and proxy has none" in str(error)
    assert len(server.requests) == 1


def test_a_wrong_password_for_a_plain_request_is_sent_once(caller: Any, server: Loopback) -> None:
    server.answer(status=407)
    error = failure(caller, PLAIN, ApiException, proxy=url_of(server, "user:pass-word@"))
    assert (error.status, error.tries, len(server.requests)) == (407, 1, 1)
    assert "pass-word" not in repr(error) + str(error)
    first, hint = str(error).splitlines()
    assert "407" in first
    assert hint.strip().startswith("A proxy answered, not the server")


def test_headers_for_a_proxy_are_checked_when_they_are_used(caller: Any, server: Loopback) -> None:
    headers = {"X-Via": "office"}
    client = caller.client(SECURE, proxy=url_of(server), proxy_headers=headers)
    client.configuration.proxy_headers["X-Via"] = "office\r\nX-Other: a"
    with pytest.raises(ClientConfigurationError, match="proxy_headers must be"):
        caller(client.projects.list)
    assert server.connections == 0


@pytest.mark.parametrize("status", [500, 502, 503, 504])
def test_a_proxy_that_fails_is_asked_again(status: int, caller: Any, server: Loopback) -> None:
    server.answer(status=status)
    error = failure(caller, SECURE, ApiProxyError, proxy=url_of(server))
    assert (error.proxy_status, error.tries) == (status, 3)
    assert [request.method for request in server.requests] == ["CONNECT"] * 3


# Authorities to trust


@pytest.mark.parametrize(
    "name", ["SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "ssl_ca_cert"]
)
def test_a_file_of_authorities(
    name: str, caller: Any, tls_server: Loopback, monkeypatch: pytest.MonkeyPatch
) -> None:
    if name == "ssl_ca_cert":
        monkeypatch.setenv("SSL_CERT_FILE", "/nowhere")  # an argument is stronger
        assert ask(caller, tls_server.host, ssl_ca_cert=Path(AUTHORITY)).body == {}
        return
    monkeypatch.setenv(name, AUTHORITY)
    assert ask(caller, tls_server.host).body == {}
    failure(caller, tls_server.host, ApiTlsError, trust_env=False)


@pytest.mark.parametrize("name", AUTHORITIES)
def test_all_authorities_of_the_environment_are_trusted(
    name: str, tls_server: Loopback, caller: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Many systems set all of the variables, and one program then sets one of them anew."""
    usual = {"SSL_CERT_DIR": str(tmp_path)}
    for each in AUTHORITIES:
        monkeypatch.setenv(each, usual.get(each, certifi.where()))
    failure(caller, tls_server.host, ApiTlsError)
    if name == "SSL_CERT_DIR":
        if shutil.which("openssl") is None:
            pytest.skip("needs openssl")
        shutil.copy(AUTHORITY, tmp_path)
        subprocess.run(["openssl", "rehash", tmp_path], check=True)
    else:
        monkeypatch.setenv(name, AUTHORITY)
    assert ask(caller, tls_server.host).body == {}


@pytest.mark.parametrize("name", ["SSL_CERT_DIR", "REQUESTS_CA_BUNDLE"])
def test_a_directory_of_authorities(
    name: str, caller: Any, tls_server: Loopback, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if shutil.which("openssl") is None:
        pytest.skip("needs openssl")
    shutil.copy(AUTHORITY, tmp_path)
    subprocess.run(["openssl", "rehash", tmp_path], check=True)
    monkeypatch.setenv(name, str(tmp_path))
    assert ask(caller, tls_server.host).body == {}


@pytest.mark.parametrize("name", ["SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE"])
def test_authorities_of_the_environment_that_are_not_there(
    name: str, caller: Any, tls_server: Loopback, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, str(tmp_path / "nowhere"))
    assert name in str(failure(caller, tls_server.host, ClientConfigurationError))
    assert tls_server.connections == 0
    monkeypatch.setenv(name, "")
    failure(caller, tls_server.host, ApiTlsError)


def test_an_encrypted_key_asks_nobody_for_a_password(tmp_path: Path) -> None:
    if shutil.which("openssl") is None:
        pytest.skip("needs openssl")
    key, encrypted = TLS / "loopback.pem", tmp_path / "key.pem"
    subprocess.run(
        ["openssl", "pkey", "-in", key, "-aes128", "-passout", "pass:word", "-out", encrypted],
        check=True,
    )
    with pytest.raises(ClientConfigurationError, match=r"cert_file, key_file .* is encrypted"):
        Configuration(api_key="k", cert_file=str(key), key_file=str(encrypted))


# A context of one's own


def test_a_context_is_used_as_it_is(caller: Any, tls_server: Loopback) -> None:
    context = ssl.create_default_context(cafile=AUTHORITY)
    client = caller.client(tls_server.host, ssl_context=context)
    assert caller(client.projects.list, skip_deserialization=True).body == {}
    assert (context.verify_mode, context.check_hostname) == (ssl.CERT_REQUIRED, True)
    for duplicate in (copy.copy(client.configuration), copy.deepcopy(client.configuration)):
        assert duplicate.ssl_context is context
    with pytest.raises(ApiTypeError, match=r"ssl_context=.* can't be pickled"):
        pickle.dumps(client.configuration)
    failure(caller, tls_server.host, ApiTlsError, ssl_context=ssl.create_default_context())


@pytest.mark.filterwarnings("ignore:ssl")
def test_a_context_takes_the_place_of_the_other_settings() -> None:
    context = ssl.create_default_context()
    options: Any = {"verify_ssl": False, "ssl_ca_cert": AUTHORITY, "assert_hostname": "x"}
    for name, value in options.items():
        with pytest.raises(ClientConfigurationError, match=f"ssl_context .* {name}"):
            Configuration(api_key="k", ssl_context=context, **{name: value})
    configuration = Configuration(api_key="k", ssl_context=context)
    configuration.verify_ssl = False
    with pytest.raises(ClientConfigurationError, match=r"ssl_context .* verify_ssl"):
        configuration.check_tls()
    for other in (ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), True, "context"):
        with pytest.raises(ClientConfigurationError, match=r"ssl_context must be an ssl\."):
            configuration.ssl_context = other  # type: ignore[assignment]


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere the system's own store decides")
def test_truststore(caller: Any, tls_server: Loopback, monkeypatch: pytest.MonkeyPatch) -> None:
    truststore = pytest.importorskip("truststore")
    context = truststore.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    failure(caller, tls_server.host, ApiTlsError, ssl_context=context)
    monkeypatch.setenv("SSL_CERT_FILE", AUTHORITY)  # where OpenSSL looks for the system's store
    context = truststore.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    assert ask(caller, tls_server.host, ssl_context=context, trust_env=False).body == {}
