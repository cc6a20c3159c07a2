"""The addresses to which adapters may connect: the parsing of a URL, and the rule for its host."""

from __future__ import annotations

import pytest

from humanloop.server.generation.addresses import parse

OWN = ["127.0.0.1", "::1", "127.8.9.1", "::ffff:127.0.0.1"]
METADATA = ["169.254.169.254", "fe80::1%eth0", "::ffff:169.254.169.254", "2002:a9fe:a9fe::1"]
ODD = ["0.0.0.0", "0.1.2.3", "::", "224.0.0.1", "ff02::1", "255.255.255.255"]
PRIVATE = ["10.1.2.3", "192.168.0.9", "172.17.0.1", "fd00::5", "100.64.0.1"]
GLOBAL = ["1.1.1.1", "2606:4700:4700::1111", "::ffff:1.1.1.1", "64:ff9b::101:101"]
HIDDEN = ["64:ff9b::7f00:1", "64:ff9b::a00:1", "2002:7f00:1::", "::7f00:1", "::10.0.0.1"]


@pytest.mark.parametrize(
    "url", ["https://api.openai.com/v1", "https://api.openai.com.:443", "https://models.example/x"]
)
def test_official_hosts_and_those_without_a_port_are_global(url: str) -> None:
    target = parse(url)
    assert all(target.refusal(each) is None for each in GLOBAL)
    for each in [*OWN, *METADATA, *ODD, *PRIVATE, *HIDDEN]:
        assert target.refusal(each), each


def test_a_name_with_a_port_may_be_private_but_not_this_machine() -> None:
    target = parse("http://models.example:8000/v1")
    assert all(target.refusal(each) is None for each in [*GLOBAL, *PRIVATE])
    for each in [*OWN, *METADATA, *ODD, "64:ff9b::7f00:1"]:
        assert target.refusal(each), each
    assert "use localhost" in str(target.refusal("127.0.0.1"))


@pytest.mark.parametrize("host", ["localhost", "localhost.", "LOCALHOST", "x.localhost"])
def test_localhost_is_this_machine_alone(host: str) -> None:
    target = parse(f"http://{host}:8080/v1")
    assert all(target.refusal(each) is None for each in OWN)
    for each in [*GLOBAL, *PRIVATE, *METADATA, *ODD]:
        assert target.refusal(each), each


@pytest.mark.parametrize(
    ("host", "address"),
    [
        ("127.0.0.1", "127.0.0.1"),
        ("[::1]", "::1"),
        ("[::ffff:127.0.0.1]", "127.0.0.1"),
        ("10.0.0.7", "10.0.0.7"),
        ("1.1.1.1", "1.1.1.1"),
    ],
)
def test_an_address_is_that_address_alone(host: str, address: str) -> None:
    target = parse(f"http://{host}:8080/v1")
    assert target.refusal(address) is None
    for each in {*GLOBAL, *PRIVATE, *OWN, *METADATA, *ODD} - {address, "::ffff:" + address}:
        assert target.refusal(each), each


@pytest.mark.parametrize(
    "host",
    ["127.1", "0x7f.1", "2130706433", "0x7f000001", "017700000001", "0177.0.0.1", "127.0.1"],
)
def test_other_spellings_of_an_address_are_refused(host: str) -> None:
    with pytest.raises(ValueError, match=r"another spelling of 127\.0\.0\.1"):
        parse(f"http://{host}:8080/v1")


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("", "such as"),
        ("127.0.0.1:8080", "such as"),
        ("ftp://127.0.0.1:80", "such as"),
        ("file:///etc/passwd", "such as"),
        ("http://", "such as"),
        ("http://127.0.0.1/v1", "needs its port"),
        ("https://127.0.0.1", "needs its port"),
        ("https://1.1.1.1", "needs its port"),
        ("https://localhost", "needs its port"),
        ("http://models.example", "needs its port"),
        ("http://[::1]/v1", "needs its port"),
        ("http://api.openai.com:80/v1", "https:// only"),
        ("http://x.openai.azure.com:80", "https:// only"),
        ("http://0.0.0.0:80", "unspecified"),
        ("http://[::]:80", "unspecified"),
        ("http://169.254.169.254:80", "link-local"),
        ("http://[::ffff:169.254.169.254]:80", "link-local"),
        ("http://224.0.0.1:80", "multicast"),
        ("http://[fe80::1%25eth0]:80", "can't be used"),
        ("http://user:hunter2@127.0.0.1:80", "no user"),
        ("http://127.0.0.1:80?x=1", "query"),
        ("http://127.0.0.1:80#x", "fragment"),
        ("http://127.0.0.1:0", "can't be 0"),
        ("http://127.0.0.1:99999", "not a URL"),
        ("http://127.0.0.1:x", "not a URL"),
        ("http://[::1:80", "not a URL"),
        ("http://\uff11\uff12\uff17.0.0.1:80", "ASCII"),
        ("http://127.0.0.1:80/a b", "ASCII"),
        ("http://127.0.0.1:80/\r\nX: y", "ASCII"),
    ],
)
def test_what_is_no_base_url_is_refused_and_not_repeated(url: str, said: str) -> None:
    with pytest.raises(ValueError, match=said) as found:
        parse(url)
    assert "hunter2" not in str(found.value)


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("http://127.0.0.1:8080", "http://127.0.0.1:8080/v1"),
        ("http://127.0.0.1:8080/", "http://127.0.0.1:8080/v1"),
        ("https://x.openai.azure.com/openai/v1/", "https://x.openai.azure.com/openai/v1"),
        ("http://[::1]:8080/a", "http://[::1]:8080/a"),
    ],
)
def test_the_base_url(url: str, shown: str) -> None:
    assert parse(url).url == shown
