"""How base URLs and proxies are read, and which proxy the environment names for a host."""

from __future__ import annotations

from base64 import b64decode
from typing import Any

import pytest

from humanloop import ClientConfigurationError, Configuration, InvalidHostConfigurationError
from humanloop.addresses import environment_proxy, parse_proxy

PROXY = "http://proxy.example:3128"
SECRET = "sEcReT"


def credentials(proxy: Any) -> str:
    return b64decode(proxy.headers()["Proxy-Authorization"].removeprefix("Basic ")).decode()


@pytest.mark.parametrize(
    ("url", "address", "login"),
    [
        ("http://proxy.example:3128", "http://proxy.example:3128", None),
        ("http://proxy.example:3128/", "http://proxy.example:3128", None),
        ("HTTP://proxy.example", "http://proxy.example:80", None),
        ("https://proxy.example", "https://proxy.example:443", None),
        ("http://[::1]:3128", "http://[::1]:3128", None),
        ("http://u:p@[fd00::1]", "http://[fd00::1]:80", "u:p"),
        ("http://münchen.example:1", "http://xn--mnchen-3ya.example:1", None),
        ("http://user@proxy:1", "http://proxy:1", "user:"),
        ("http://:pw@proxy:1", "http://proxy:1", ":pw"),
        ("http://user:p:w@proxy:1", "http://proxy:1", "user:p:w"),
        ("http://user:p%40%2F%23%3F@proxy:1", "http://proxy:1", "user:p@/#?"),
        ("http://user:p@ss@proxy:1", "http://proxy:1", "user:p@ss"),
        ("http://user:pa/ss@proxy:1", "http://proxy:1", "user:pa/ss"),
        ("http://user:pa#s?s@proxy:1/", "http://proxy:1", "user:pa#s?s"),
        ("http://user:a://b@proxy:1", "http://proxy:1", "user:a://b"),
        ("http://user:100%@proxy:1", "http://proxy:1", "user:100%"),
        ("http://user:50%zz@proxy:1", "http://proxy:1", "user:50%zz"),
        ("http://user:two words@proxy:1", "http://proxy:1", "user:two words"),
        ("http://us€r:pä%C3%A4@proxy:1", "http://proxy:1", "us€r:pää"),
    ],
)
def test_a_proxy(url: str, address: str, login: str | None) -> None:
    proxy = parse_proxy(url)
    assert proxy.url == address
    assert repr(proxy) == f"Proxy(proxy: {address})"
    if login is None:
        assert proxy.headers({"X-Via": "office"}) == {"X-Via": "office"}
    else:
        assert credentials(proxy) == login
        given = {"proxy-authorization": "Bearer t"}
        assert proxy.headers(given) == given


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("", "starts with http://"),
        ("proxy.example:3128", "starts with http://"),
        (f"user:{SECRET}@proxy.example:3128", "starts with http://"),
        (f"ftp://user:{SECRET}@proxy.example", "starts with http://"),
        (f"http:/user:{SECRET}@proxy.example", "starts with http://"),
        (f"socks5://user:{SECRET}@proxy.example:1080", "SOCKS"),
        (f"SOCKS5H://user:{SECRET}@proxy.example:1080", "SOCKS"),
        (f"http://user:{SECRET}@", "valid host"),
        (f"http://user:{SECRET}", "valid host"),
        (f"http://user:{SECRET}@proxy.example:0", "port"),
        (f"http://user:{SECRET}@proxy.example:65536", "port"),
        (f"http://user:{SECRET}@proxy.example:port", "port"),
        (f"http://user:{SECRET}@::1:3128", "valid host"),
        (f"http://user:{SECRET}@[::1:3128", "valid host"),
        (f"http://user:{SECRET}@[proxy]:3128", "valid host"),
        (f"http://user:{SECRET}@pro xy:3128", "valid host"),
        (f"http://user:{SECRET}@faß.example:3128", "valid host"),
        (f"http://user:{SECRET}\n@proxy.example:3128", "line breaks"),
        (f"http://user:{SECRET}@proxy.example:3128\r\nX: y", "line breaks"),
        (f"http://user:{SECRET}\0@proxy.example:3128", "line breaks"),
        (f"http://us%3Aer:{SECRET}@proxy.example:3128", "colon"),
        (f"http://proxy.example:3128/{SECRET}", "%2F"),
        (f"http://proxy.example:3128?{SECRET}", "%3F"),
        (f"http://user:12/{SECRET}@proxy.example:3128", "%2F"),
        (f"http://user/{SECRET}@proxy.example:3128", "%2F"),
        (f"http://user:p@ss/{SECRET}@proxy.example:3128", "%2F"),
        (f"http://user:pa/{SECRET}", "%2F"),
        (b"http://proxy:1", "not bytes"),
    ],
)
def test_what_is_no_proxy_is_refused_without_showing_it(url: Any, reason: str) -> None:
    configuration = Configuration(api_key="k")
    for give in (
        lambda: Configuration(api_key="k", proxy=url),
        lambda: setattr(configuration, "proxy", url),
    ):
        with pytest.raises(ClientConfigurationError, match=r"^proxy must be a URL") as caught:
            give()
        assert reason in str(caught.value)
        assert SECRET not in repr(caught.value)
    assert configuration.proxy is None


@pytest.mark.parametrize(
    ("host", "shown"),
    [
        (f"http://user:{SECRET}@api.example/v4", "http://***@api.example/v4"),
        (f"user:{SECRET}@api.example", "***"),
        (f"http://user:12/{SECRET}@api.example", "http://***@api.example"),
        (f"http://user:{SECRET}", "http://user:***"),
        (f"http://api.example/v4?key={SECRET}", "http://api.example/v4?***"),
        (f"hl_{SECRET}", "***"),
        (f"{SECRET}://api.example", "***"),
        ("api.example/v4", "api.example/v4"),
    ],
)
def test_a_host_that_is_refused_shows_no_secret(host: str, shown: str) -> None:
    with pytest.raises(InvalidHostConfigurationError) as caught:
        Configuration(api_key="k", host=host)
    assert caught.value.host == shown
    assert SECRET not in repr(caught.value)


@pytest.mark.parametrize(
    "host",
    [
        "http://api..example",
        f"http://{'a' * 64}.example",
        "http://faß.example",
        "http://api%20x/v4",
        "http://api\\example",
        "http://host:0",
        "http://[::g]",
        "http://::1/v4",
        "http://:80",
        "",
    ],
)
def test_a_host_that_is_none(host: str) -> None:
    with pytest.raises(InvalidHostConfigurationError):
        Configuration(api_key="k", host=host)


@pytest.mark.parametrize(
    ("host", "base_url"),
    [
        ("https://münchen.example:8443/v4/", "https://xn--mnchen-3ya.example:8443/v4"),
        ("HTTPS://API.example/v4", "https://API.example/v4"),
        ("http://[fd00::1]:80/v4", "http://[fd00::1]:80/v4"),
        ("http://[fe80::1%25eth0]/v4", "http://[fe80::1%25eth0]/v4"),
        ("http://my_service:8000", "http://my_service:8000"),
    ],
)
def test_a_host(host: str, base_url: str) -> None:
    assert Configuration(api_key="k", host=host).host == base_url


def proxied(
    monkeypatch: pytest.MonkeyPatch, url: str = "https://api.example/v4", **variables: str
) -> str | None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    proxy = environment_proxy(url)
    return None if proxy is None else f"{proxy.name} {proxy.url}"


OTHER = "http://other.example:80"


@pytest.mark.parametrize(
    ("variables", "url", "expected"),
    [
        ({"HTTPS_PROXY": PROXY}, "https://api.example/v4", f"HTTPS_PROXY {PROXY}"),
        ({"HTTPS_PROXY": PROXY}, "http://api.example/v4", None),
        ({"HTTP_PROXY": PROXY}, "http://api.example/v4", f"HTTP_PROXY {PROXY}"),
        ({"ALL_PROXY": PROXY}, "http://api.example/v4", f"ALL_PROXY {PROXY}"),
        ({"all_proxy": PROXY}, "https://api.example/v4", f"all_proxy {PROXY}"),
        (
            {"ALL_PROXY": "socks5://x", "https_proxy": PROXY},
            "https://api.example",
            f"https_proxy {PROXY}",
        ),
        (
            {"HTTPS_PROXY": OTHER, "https_proxy": PROXY},
            "https://api.example",
            f"https_proxy {PROXY}",
        ),
        ({"HTTPS_PROXY": OTHER, "https_proxy": ""}, "https://api.example", None),
        ({"HTTPS_PROXY": " "}, "https://api.example", None),
        ({"HTTPS_PROXY": "proxy.example:3128"}, "https://api.example", f"HTTPS_PROXY {PROXY}"),
        ({"HTTP_PROXY": PROXY, "REQUEST_METHOD": "GET"}, "http://api.example", None),
        (
            {"http_proxy": PROXY, "REQUEST_METHOD": "GET"},
            "http://api.example",
            f"http_proxy {PROXY}",
        ),
    ],
)
def test_the_proxy_of_the_environment(
    variables: dict[str, str], url: str, expected: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert proxied(monkeypatch, url, **variables) == expected


@pytest.mark.parametrize(
    ("no_proxy", "url", "is_proxied"),
    [
        ("", "https://api.example", True),
        ("*", "https://api.example", False),
        ("other.example, *", "https://api.example", False),
        ("api.example", "https://api.example/v4", False),
        ("API.Example", "https://api.EXAMPLE/v4", False),
        ("api.example", "https://sub.api.example", False),
        ("api.example", "https://myapi.example", True),
        (".api.example", "https://api.example", False),
        (".api.example", "https://sub.api.example", False),
        ("other.example , api.example", "https://api.example", False),
        ("api.example:8443", "https://api.example:8443", False),
        ("api.example:8443", "https://api.example", True),
        ("api.example:443", "https://api.example", False),
        ("api.example.", "https://api.example", False),
        ("api.example", "https://api.example.", False),
        (".api.example.:443", "https://sub.api.example.", False),
        ("b\u00fccher.example", "https://xn--bcher-kva.example", False),
        ("b\u00fccher.example:8443", "https://xn--bcher-kva.example", True),
        ("api.example", "https://api.example:8443", False),
        ("10.1.2.3", "https://10.1.2.3", False),
        ("10.1.2.3", "https://110.1.2.3", True),
        ("0.0/8,10.0.0.0/8", "https://10.1.2.3:8443", False),
        ("10.0.0.0/8", "https://11.1.2.3", True),
        ("10.1.2.3/8", "https://10.9.9.9", False),
        ("10.1.2.3:8443", "https://10.1.2.3:8443", False),
        ("10.1.2.3:8443", "https://10.1.2.3", True),
        ("fd00::1", "https://[fd00::1]", False),
        ("[fd00::1]", "https://[fd00::1]:8443", False),
        ("[fd00::1]:8443", "https://[fd00::1]:8443", False),
        ("[fd00::1]:8443", "https://[fd00::1]", True),
        ("fd00::/8", "https://[fd00::1]", False),
        ("fe80::/10", "https://[fd00::1]", True),
        ("nonsense/8,::/nonsense", "https://10.1.2.3", True),
    ],
)
@pytest.mark.parametrize("name", ["NO_PROXY", "no_proxy"])
def test_no_proxy(
    name: str, no_proxy: str, url: str, is_proxied: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = proxied(monkeypatch, url, HTTPS_PROXY=PROXY, **{name: no_proxy})
    assert (found is not None) is is_proxied


@pytest.mark.parametrize(
    "host", ["localhost:8000", "app.localhost", "127.0.0.1:8000", "127.8.8.8", "[::1]", "0.0.0.0"]
)
def test_this_machine_is_never_reached_by_the_environments_proxy(
    host: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert proxied(monkeypatch, f"http://{host}/v4", HTTP_PROXY=PROXY) is None


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        (f"socks5://user:{SECRET}@proxy.example:1080", "SOCKS"),
        (f"http://user:12/{SECRET}@proxy", "%2F"),
    ],
)
def test_an_environment_proxy_that_can_not_be_used_is_named(
    url: str, reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ClientConfigurationError, match=rf"^ALL_PROXY must be .*{reason}") as caught:
        proxied(monkeypatch, ALL_PROXY=url)
    assert SECRET not in str(caught.value)
