"""The check that rejects requests not meant for this server, before anything else of them is read.

A web page can make a browser send requests to an address of the page's choice: under a name of its
own that resolves to 127.0.0.1 (DNS rebinding), which the Host header reveals, or across sites,
which the Origin header reveals. A head that two programs may read differently can hide a second
request from one of them (RFC 9112, section 11.2). A request that is refused for this reason ends
its connection.
"""

from __future__ import annotations

import ipaddress
import re
import socket
from functools import lru_cache

from starlette.requests import Request

from humanloop.server.errors import BadRequest, Forbidden

_LOOPBACK_HOSTS = frozenset({"localhost", "127.0.0.1", "::1"})
# RFC 3986, section 3.2.2, without characters that no real name has: percent-encoding and most
# punctuation.
_HOST = re.compile(r"(\[[0-9A-Fa-f:.]{2,45}\]|[A-Za-z0-9._-]{1,255})(?::([0-9]{0,5}))?")
_ORIGIN = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://(.*)")
_SINGLE = frozenset(
    {b"content-length", b"content-type", b"host", b"origin", b"transfer-encoding", b"x-api-key"}
)


def hosts_for(address: str, name: str) -> frozenset[str] | None:
    """Return the Host names to allow on a loopback address; None, for all names, on others.

    address: the address that the socket is bound to; name: the name given for it.
    """
    if not is_loopback(address):
        return None
    return _LOOPBACK_HOSTS | {_normal(address), _normal(name)}


def is_loopback(host: str) -> bool:
    """Return whether a host is a loopback address."""
    address = _address(host)
    return address is not None and address.is_loopback


def is_unspecified(host: str) -> bool:
    """Return whether a host stands for all addresses of this machine: 0.0.0.0 or [::]."""
    address = _address(host)
    return address is not None and address.is_unspecified


def check(request: Request, allowed: frozenset[str] | None) -> None:
    """Raise BadRequest for bad framing or a Host that is not allowed, Forbidden for an Origin."""
    headers = request.headers
    singles = [name for name, _ in headers.raw if name in _SINGLE]
    if len(singles) > len(set(singles)):
        known = ", ".join(sorted(each.decode() for each in _SINGLE))
        raise BadRequest(f"One of these headers was sent more than once: {known}.")
    _check_framing(request)
    host, origin = headers.get("host"), headers.get("origin")
    name = None if host is None else _host_name(host)
    if host is not None and name is None:
        raise BadRequest("The header Host is not the name of a host.")
    if allowed is not None and name not in allowed:
        raise BadRequest(
            f"The header Host must be one of {', '.join(sorted(allowed))}; it was {host!r}."
        )
    if origin is None:
        return
    match = _ORIGIN.fullmatch(origin)
    page = None if match is None else _host_name(match[1])
    if page is None or page not in (allowed or {name}):
        raise Forbidden(f"Pages of {origin!r} may not call this server.")


def _check_framing(request: Request) -> None:
    version = request.scope.get("http_version", "1.1")
    if version not in {"1.0", "1.1"}:
        raise BadRequest("The version of HTTP must be 1.1 or 1.0.")
    if "transfer-encoding" in request.headers:
        if "content-length" in request.headers:
            raise BadRequest("A request must not have both Content-Length and Transfer-Encoding.")
        if version == "1.0":
            raise BadRequest("HTTP/1.0 has no Transfer-Encoding.")


@lru_cache(maxsize=256)
def _host_name(text: str) -> str | None:
    """Return the normal form of the host in `host:port`; None if it is malformed."""
    match = _HOST.fullmatch(text)
    if match is None or int(match[2] or 0) > 65535:
        return None
    if match[1].startswith("[") and _address(match[1]) is None:
        return None
    return _normal(match[1])


def _normal(host: str) -> str:
    """Return one spelling for all spellings of an address or a name."""
    address = _address(host)
    return host.lower().removesuffix(".") if address is None else str(address)


def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """Return a host's IP address; None for a name."""
    try:
        # The system accepts the short forms (127.1, 2130706433, 0x7f.1), too.
        return ipaddress.IPv4Address(socket.inet_aton(host.removesuffix(".")))
    except (OSError, UnicodeError):
        pass
    try:
        address = ipaddress.IPv6Address(host.strip("[]").partition("%")[0])
    except ValueError:
        return None
    return address.ipv4_mapped or address
