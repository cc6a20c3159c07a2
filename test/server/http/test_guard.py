"""Host and Origin, decided by the address that the server's socket is bound to."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

from humanloop.server import EmbeddedServer

from ..api import API_KEY, Api

GOOD = [
    "localhost",
    "LocalHost.",
    "localhost:1",
    "localhost:",
    "127.0.0.1",
    "127.0.0.1.:8000",
    "127.1",
    "2130706433:8000",
    "0x7f.0.0.1",
    "[::1]",
    "[::1]:9",
    "[0:0:0:0:0:0:0:1]",
    "[::ffff:127.0.0.1]",
    "[::ffff:7f00:1]:80",
]
FOREIGN = ["evil.example", "localhost.evil.example", "localhost..", "8.8.8.8", "[::2]", "127.0.0.9"]
MALFORMED = [
    "",
    "localhost:x",
    "localhost:99999",
    "localhost:1:2",
    "localhost:-1",
    "me@localhost",
    "evil.example@localhost",
    "localhost/",
    "localhost/@evil.example",
    "localhost?x",
    "localhost#x",
    "local host",
    "localhost, evil.example",
    "localhost;evil.example",
    "http://localhost",
    "::1",
    "[::1",
    "::1]",
    "[::1]]",
    "[localhost]",
    "[127.0.0.1]",
    "[::1]x",
    "[::1%25lo]",
    "%6cocalhost",
    "localhost%00",
    "l\u00f6calhost",
    "x" * 300,
]


def host_status(server: EmbeddedServer, host: str) -> int:
    """The status for a request with that Host."""
    return Api(server.url).send("GET", "/projects", host=host).status


@pytest.mark.parametrize("host", GOOD)
def test_every_spelling_of_loopback_is_allowed_there(server: EmbeddedServer, host: str) -> None:
    assert host_status(server, host) == 200


@pytest.mark.parametrize("host", [*FOREIGN, *MALFORMED])
def test_other_hosts_are_refused_on_loopback(server: EmbeddedServer, host: str) -> None:
    assert host_status(server, host) == 400


@pytest.fixture(scope="module")
def everywhere() -> Iterator[EmbeddedServer]:
    """A server on all addresses of the machine."""
    with EmbeddedServer(api_key=API_KEY, host="0.0.0.0") as server:
        server.url = server.url.replace("0.0.0.0", "127.0.0.1")
        yield server


@pytest.mark.parametrize("host", [*GOOD, *FOREIGN])
def test_elsewhere_every_name_is_allowed(everywhere: EmbeddedServer, host: str) -> None:
    assert host_status(everywhere, host) == 200


@pytest.mark.parametrize("host", MALFORMED)
def test_a_malformed_host_is_refused_everywhere(everywhere: EmbeddedServer, host: str) -> None:
    assert host_status(everywhere, host) == 400


@pytest.mark.parametrize(
    ("origin", "status"),
    [
        ("http://my.example", 200),
        ("https://my.example:8443", 200),
        ("http://My.Example.", 200),
        ("http://evil.example", 403),
        ("http://my.example/", 403),
        ("http://me@my.example", 403),
        ("http://my.example@evil.example", 403),
        ("my.example", 403),
        ("null", 403),
        ("", 403),
    ],
)
def test_elsewhere_a_page_must_be_of_the_host_itself(
    everywhere: EmbeddedServer, origin: str, status: int
) -> None:
    api = Api(everywhere.url)
    assert api.send("GET", "/projects", host="my.example:1", origin=origin).status == status


@pytest.mark.parametrize(
    ("host", "address"),
    [
        ("127.1", "127.0.0.1"),
        ("2130706433", "127.0.0.1"),
        ("0x7f000001", "127.0.0.1"),
        ("LOCALHOST", "127.0.0.1"),
        ("127.0.0.9", "127.0.0.9"),
        ("::1", "::1"),
        ("0:0:0:0:0:0:0:1", "::1"),
        ("::ffff:127.0.0.1", "::ffff:127.0.0.1"),
    ],
)
def test_every_spelling_of_a_loopback_address_is_guarded(host: str, address: str) -> None:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family) as probe:
        try:
            probe.bind((address, 0))
        except OSError:
            pytest.skip(f"this machine has no {address}")
    with EmbeddedServer(api_key=API_KEY, host=host) as server:
        server.url = server.url.replace("[::ffff:127.0.0.1]", "127.0.0.1")
        assert host_status(server, "evil.example") == 400
        assert host_status(server, "localhost") == 200
        assert Api(server.url).call("GET", "/projects").status == 200


@pytest.mark.parametrize(
    ("headers", "said"),
    [
        ({"content_type": "application/json; charset=utf-16"}, "UTF-8, not in 'utf-16'"),
        ({"content_type": "application/json; charset=latin-1"}, "UTF-8, not in 'latin-1'"),
        ({"content_type": 'application/json; x=1; Charset="cp1252"'}, "not in 'cp1252'"),
        ({"content_encoding": "gzip"}, "as it is, not encoded as 'gzip'"),
        ({"content_encoding": "identity, br"}, "as it is, not encoded as 'identity, br'"),
        ({"content_encoding": "x"}, "as it is, not encoded as 'x'"),
        ({"content_type": "application/jsonx"}, "application/json"),
        ({"content_type": "text/json; a=application/json"}, "application/json"),
    ],
)
def test_other_encodings_are_415(api: Api, headers: dict[str, str], said: str) -> None:
    keys = {"content_type": "application/json", **headers}
    answer = api.send("POST", "/projects", b"\x1f\x8b", **keys)
    assert answer.status == 415
    assert said in answer.body["detail"]
    assert answer.headers["Accept"] == "application/json"
    assert answer.headers["Accept-Encoding"] == "identity"


@pytest.mark.parametrize(
    "headers",
    [
        {"content_type": 'APPLICATION/json;charset="UTF-8"'},
        {"content_type": "application/json; charset=utf8"},
        {"content_type": "application/json ; v=1"},
        {"content_type": "application/json", "content_encoding": "Identity"},
    ],
)
def test_utf_8_as_it_is_is_taken(api: Api, name: str, headers: dict[str, str]) -> None:
    body = f'{{"name": "{name} \u00e9"}}'.encode()
    assert api.send("POST", "/projects", body, **headers).status == 201
