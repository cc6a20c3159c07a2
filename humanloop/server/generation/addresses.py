"""The addresses that adapters for providers may connect to.

A Target is a base URL that the operator chose, with a rule for the addresses that it may resolve
to. Invariants: the rule is checked against the address of the connected socket, so it holds even if
a name resolves to another address meanwhile; nothing here does I/O.

- A URL without a port, and every host of OpenAI, Anthropic and Azure, must use TLS and a global
  address.
- A URL with a port is a host of the operator's own. A literal address allows that address only;
  `localhost` allows loopback; any other name may resolve to private addresses, but not to this
  machine or to link-local addresses, where clouds serve their metadata.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address
from typing import Literal
from urllib.parse import SplitResult, urlsplit

Address = IPv4Address | IPv6Address
Reach = Literal["global", "loopback", "private"]

_OFFICIAL = ("openai.com", "anthropic.com", "azure.com")
_NAT64 = IPv6Network("64:ff9b::/96")  # RFC 6052
_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True)
class Target:
    """The parts of a base URL.

    path: the path of the URL, without a slash at its end.
    reach: the kind of addresses that the host may resolve to, or the only allowed address.
    """

    scheme: str
    host: str
    port: int
    path: str
    reach: Reach | Address

    @property
    def url(self) -> str:
        """Return the base URL."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        port = "" if self.port == _PORTS[self.scheme] else f":{self.port}"
        return f"{self.scheme}://{host}{port}{self.path}"

    def refusal(self, peer: str) -> str | None:
        """Return why a connection to that address must not be used; None if it may."""
        address = _plain(ip_address(peer.partition("%")[0]))
        if not isinstance(self.reach, str):
            return (
                None if address == self.reach else f"a connection to {self.host} reached {address}"
            )
        leads = f"{self.host} resolves to {address}"
        kind = _kind(address)
        if self.reach == "global" and kind != "global":
            return f"{leads}, which is {kind}; only global addresses are allowed for it"
        if self.reach == "loopback" and kind != "loopback":
            return f"{leads}, which is not this machine"
        if self.reach == "private" and kind == "loopback":
            return f"{leads}, which is this machine; use localhost or the address itself for that"
        if self.reach == "private" and kind not in {"global", "private"}:
            return f"{leads}, which is {kind}"
        return None


def parse(url: str) -> Target:
    """Return the Target of a base URL; raises ValueError, whose text does not repeat the URL."""
    if not url.isascii() or not url.isprintable() or " " in url:
        raise ValueError("expected a URL of printable ASCII characters")
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise ValueError("it is not a URL") from None
    if parts.scheme not in _PORTS or not parts.hostname:
        raise ValueError("expected a URL such as http://127.0.0.1:8080/v1")
    if "@" in parts.netloc or "?" in url or "#" in url:
        raise ValueError("the URL must have no user, password, query or fragment")
    if port == 0:
        raise ValueError("the URL's port can't be 0")
    host = parts.hostname.rstrip(".").lower()
    reach = _reach(parts, host, port)
    return Target(
        parts.scheme, host, port or _PORTS[parts.scheme], parts.path.rstrip("/") or "/v1", reach
    )


def _reach(parts: SplitResult, host: str, port: int | None) -> Reach | Address:
    """Return the addresses that a host may resolve to; raises ValueError."""
    if f".{host}".endswith(tuple(f".{name}" for name in _OFFICIAL)):
        if parts.scheme != "https":
            raise ValueError(f"{host} is reached by https:// only")
        return "global"
    address = _literal(host)
    if port is None:
        if address is not None or _is_localhost(host) or parts.scheme != "https":
            raise ValueError("the URL needs its port, such as http://127.0.0.1:8080/v1")
        return "global"
    if _is_localhost(host):
        return "loopback"
    if address is None:
        return "private"
    if _kind(address) not in {"global", "private", "loopback"}:
        raise ValueError(f"{host} is {_kind(address)}; connections to it are not allowed")
    return address


def _literal(host: str) -> Address | None:
    """Return a host's literal address, None for a name; raises ValueError for unusual spellings."""
    if "%" in host:
        raise ValueError("the URL's IPv6 address has a zone, which can't be used")
    try:
        return _plain(ip_address(host))
    except ValueError:
        pass
    try:
        # The system's resolver takes 127.1, 2130706433 and 0x7f.1 for 127.0.0.1.
        address = IPv4Address(socket.inet_aton(host))
    except OSError:
        return None
    raise ValueError(f"{host} is another spelling of {address}; write that")


def _is_localhost(host: str) -> bool:
    return host == "localhost" or host.endswith(".localhost")


def _plain(address: Address) -> Address:
    """Return the IPv4 address that an IPv6 address embeds, else the address itself."""
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return mapped or address


def _kind(address: Address) -> str:
    """Return the kind of an address, with regard to the addresses embedded in it."""
    kinds = map(_kind_of_one, (*_embedded(address), address))
    return next((kind for kind in kinds if kind != "global"), "global")


def _embedded(address: Address) -> Iterator[IPv4Address]:
    """Yield the IPv4 addresses to which translators and tunnels would map an IPv6 address."""
    if isinstance(address, IPv4Address):
        return
    if address.sixtofour is not None:
        yield address.sixtofour
    if address.teredo is not None:
        yield from address.teredo
    if address in _NAT64 or 1 < int(address) < 1 << 32:  # IPv4-compatible: RFC 4291, 2.5.5.1
        yield IPv4Address(int(address) & 0xFFFFFFFF)


def _kind_of_one(address: Address) -> str:
    if address.is_loopback:
        return "loopback"
    if int(address) >> 24 == 0:  # 0.0.0.0/8 and ::
        return "unspecified"
    if address.is_link_local:
        return "link-local"
    if address.is_multicast:
        return "multicast"
    if address == IPv4Address("255.255.255.255"):
        return "broadcast"
    return "global" if address.is_global else "private"
