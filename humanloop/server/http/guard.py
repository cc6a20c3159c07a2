"""Keeps web pages out of a server on the loopback interface.

A page on the web can make a browser call an address of its choice: under a name of its own that
resolves to 127.0.0.1 (DNS rebinding), which the Host header gives away, or across sites, which
the Origin header does. Both are checked before anything else is read.
"""

from __future__ import annotations

import ipaddress
from urllib.parse import urlsplit

from humanloop.server.errors import BadRequest, Forbidden

LOOPBACK_HOSTS = frozenset({"localhost", "127.0.0.1", "::1"})


def hosts_for(bind: str) -> frozenset[str] | None:
    """Return the Host names that a server bound there allows; None, for all, unless on loopback."""
    try:
        loopback = ipaddress.ip_address(bind).is_loopback
    except ValueError:
        loopback = bind.lower() == "localhost"
    return LOOPBACK_HOSTS | {bind.lower()} if loopback else None


def check(host: str | None, origin: str | None, allowed: frozenset[str] | None) -> None:
    """Raise BadRequest for a Host that is not allowed, Forbidden for an Origin elsewhere."""
    name = _host_name(f"//{host}") if host is not None else None
    if allowed is not None and name not in allowed:
        raise BadRequest(
            f"The header Host must be one of {', '.join(sorted(allowed))}; it was {host!r}."
        )
    if origin is None:
        return
    page = _host_name(origin)
    if page is None or page not in (allowed or {name}):
        raise Forbidden(f"Pages of {origin!r} may not call this server.")


def _host_name(url: str) -> str | None:
    try:
        return urlsplit(url).hostname
    except ValueError:
        return None
