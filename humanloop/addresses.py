"""Addresses: base URLs, proxies, and which proxy the environment names for a host.

Invariants: no message shows what may be a password, whichever way a URL is written; nothing here
does I/O, or knows a client.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from typing import cast
from urllib.parse import unquote_to_bytes

from humanloop.exceptions import ClientConfigurationError, InvalidHostConfigurationError
from humanloop.frames import shielded
from humanloop.secrets import MASK, Secret, brief, mask_keys, shorten

__all__ = ["Proxy", "checked_base_url", "environment_proxy", "parse_proxy"]

_SCHEMES = {"http": 80, "https": 443}
_AUTHORITY = re.compile(r"(?P<name>\[[^\[\]]+\]|[^\[\]:@]+)(?::(?P<port>[0-9]{1,5}))?")
_NAME = re.compile(r"(?=.{1,254}$)[\w-]{1,63}(\.[\w-]{1,63})*\.?", re.ASCII)
_BARE_HOST = re.compile(r"(localhost|[\w-]+(\.[\w-]+)+)(:[0-9]+)?(/[\w./-]*)?", re.ASCII)


def _parse_authority(text: str) -> tuple[str, int | None]:
    """Return the host, as DNS has it, and the port of `host` or `host:port`.

    Raises ValueError, which UnicodeError is, for anything else.
    """
    parts = _AUTHORITY.fullmatch(text)
    if parts is None:
        raise ValueError
    port = None if parts["port"] is None else int(parts["port"])
    if port is not None and not 1 <= port <= 65535:
        raise ValueError
    name = parts["name"]
    if name.startswith("["):
        from ipaddress import IPv6Address

        IPv6Address(name[1:-1].partition("%")[0])
        return name, port
    if not name.isascii():
        encoded = name.encode("idna").decode("ascii")
        # The codec is that of IDNA 2003. Where IDNA 2008 has another name, the round trip shows it.
        if encoded.encode("ascii").decode("idna") != name.lower():
            raise ValueError
        name = encoded
    if not _NAME.fullmatch(name):
        raise ValueError
    return name, port


# -- base URLs ------------------------------------------------------------------------------------


@shielded
def checked_base_url(value: object, variable: str = "") -> str:
    """Return a base URL without a slash at its end, and with the host's name as DNS has it.

    variable: the environment variable that it comes from. Raises InvalidHostConfigurationError.
    """
    if not isinstance(value, str):
        raise InvalidHostConfigurationError(brief(value), "it must be a str")
    scheme, slashes, rest = value.partition("://")
    authority, slash, path = rest.partition("/")
    reason = ""
    if not value:
        reason = "it is empty"
    elif any(c.isspace() or not c.isprintable() for c in value):
        reason = "spaces and control characters are not allowed"
    elif scheme.lower() not in _SCHEMES or not slashes:
        reason = 'it must start with "http://" or "https://"'
    elif "@" in rest:
        reason = "credentials are not allowed, and an @ in the path is written %40"
    elif "?" in value or "#" in value:
        reason = f"a {'query' if '?' in value else 'fragment'} is not allowed"
    elif not authority or authority.startswith(":"):
        reason = "the host name is missing"
    else:
        try:
            name, port = _parse_authority(authority)
            authority = name if port is None else f"{name}:{port}"
        except ValueError:
            reason = "it is not a valid URL"
    if reason:
        reason += f" ({variable} in the environment)" if variable else ""
        raise InvalidHostConfigurationError(_masked_url(value), reason)
    return f"{scheme.lower()}://{authority}{slash}{path}".rstrip("/")


def _masked_url(url: str) -> str:
    """Return a bad URL as a message may show it: without anything that may be a secret."""
    scheme, slashes, rest = url.partition("://")
    if not slashes or len(scheme) > len("https"):
        # It may be anything: a key, when arguments are in the wrong order.
        shown = url if not url or _BARE_HOST.fullmatch(url) else MASK
        return shorten(mask_keys(shown))
    before, at, rest = rest.rpartition("@")
    before = MASK if at else ""
    rest = re.sub(r"([?#]).+", rf"\1{MASK}", rest, flags=re.DOTALL)
    rest = re.sub(r"^([^/\[\]:]*):(?![0-9]*(/|$)).*", rf"\1:{MASK}", rest, flags=re.DOTALL)
    return shorten(mask_keys(f"{scheme}://{before}{at}{rest}"))


# -- proxies --------------------------------------------------------------------------------------


class Proxy:
    """A proxy for HTTP.

    url: without credentials, and always with a port; user, password: None without credentials;
    name: the setting or the environment variable that gave it. The repr shows no credentials.
    """

    def __init__(self, name: str, url: str, user: bytes | None, password: bytes | None) -> None:
        self.name = name
        self.url = url
        self.user = None if user is None else Secret(user)
        self.password = None if password is None else Secret(password)

    def headers(self, given: Mapping[str, str] | None = None) -> dict[str, str]:
        """Return the header fields for the proxy; `given` takes the place of its credentials."""
        fields = dict(given or {})
        if self.user is None or any(name.lower() == "proxy-authorization" for name in fields):
            return fields
        from base64 import b64encode

        whole = self.user.reveal() + b":" + self._password
        credentials = b64encode(whole).decode("ascii")
        return {**fields, "Proxy-Authorization": f"Basic {credentials}"}  # RFC 7617, in UTF-8

    @property
    def _password(self) -> bytes:
        return b"" if self.password is None else bytes(self.password.reveal())

    @property
    def secrets(self) -> tuple[str, ...]:
        """The password as it was meant, if that is text, and as the header has it."""
        if self.user is None:
            return ()
        password = self._password.decode("utf-8", "replace")
        return (password, self.headers()["Proxy-Authorization"].partition(" ")[2])

    def __repr__(self) -> str:
        return f"Proxy({self.name}: {self.url})"


@shielded
def parse_proxy(value: object, name: str = "proxy", default_scheme: str = "") -> Proxy:
    """Return the proxy of a URL such as `http://user:password@proxy.example:3128`.

    name: of the setting or the environment variable that `value` comes from; default_scheme: the
    scheme of a URL without any. A password may hold any character where it is certain where the
    password ends; it is percent-decoded. Raises ClientConfigurationError, which shows none of it.
    """
    if not isinstance(value, str):
        raise _no_proxy(name, f"not {type(value).__name__}")
    if default_scheme and "://" not in value:
        value = f"{default_scheme}://{value}"
    scheme, slashes, rest = value.partition("://")
    scheme = scheme.lower()
    if not value.isprintable():
        raise _no_proxy(name, "without line breaks and control characters")
    if slashes and re.fullmatch("socks[0-9a-z]{0,2}", scheme):
        raise _no_proxy(name, "since SOCKS proxies are not supported")
    if scheme not in _SCHEMES or not slashes:
        raise _no_proxy(name, "which starts with http:// or https://")
    user_info, address = _split_user_info(rest, name)
    try:
        host, port = _parse_authority(address)
    except ValueError:
        raise _no_proxy(name, "with a valid host, and a port from 1 to 65535") from None
    user = password = None
    if user_info is not None:
        user, _, password = map(unquote_to_bytes, user_info.partition(":"))
        if b":" in user:  # RFC 7617 section 2
            raise _no_proxy(name, "whose user name has no colon")
    return Proxy(name, f"{scheme}://{host}:{port or _SCHEMES[scheme]}", user, password)


def _split_user_info(rest: str, name: str) -> tuple[str | None, str]:
    """Return user and password (None: there are none), and the address, of what follows `://`."""
    authority = re.split("[/?#]", rest, maxsplit=1)[0]
    user_info, at, address = authority.rpartition("@")
    if rest[len(authority) :] in ("", "/"):
        return (user_info if at else None), address
    # The end of the password is certain only if what stands before the / ? or # is no address.
    user_info, at, last = rest.rpartition("@")
    if at and not _is_authority(address):
        return user_info, last.removesuffix("/")
    raise _no_proxy(
        name, "without a path or query; in a password, / is written %2F, ? %3F, # %23 and @ %40"
    )


def _is_authority(text: str) -> bool:
    try:
        _parse_authority(text)
    except ValueError:
        return False
    return True


def _no_proxy(name: str, wanted: str) -> ClientConfigurationError:
    return ClientConfigurationError(
        f"{name} must be a URL such as http://proxy.example:3128, {wanted}"
    )


# -- the environment ------------------------------------------------------------------------------


@shielded
def environment_proxy(base_url: str) -> Proxy | None:
    """Return the proxy that the environment names for a base URL; None: connect directly.

    The variables are read by the standard library: the one of the scheme, else `ALL_PROXY`, the
    lower case before the upper; `HTTP_PROXY` not in a CGI program, where a client can set it. This
    machine's own addresses never go by a proxy, which could not reach them.

    Raises ClientConfigurationError, with the variable's name, for one that can't be used.
    """
    from urllib.request import getproxies_environment

    scheme, _, rest = base_url.partition("://")
    authority = rest.partition("/")[0]
    proxies = {key: value.strip() for key, value in getproxies_environment().items()}
    key = scheme if proxies.get(scheme) else "all"
    if not proxies.get(key) or not _is_authority(authority):
        return None
    host, port = _parse_authority(authority)
    if _bypasses(host.strip("[]").rstrip(".").lower(), port or _SCHEMES[scheme], proxies):
        return None
    variable = f"{key}_proxy"
    variable = variable if os.environ.get(variable) else variable.upper()
    return parse_proxy(proxies[key], variable, default_scheme="http")


def _bypasses(host: str, port: int, proxies: Mapping[str, str]) -> bool:
    """Return whether a host is this machine, or NO_PROXY names it."""
    from ipaddress import ip_address
    from urllib.request import proxy_bypass_environment  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue, reportUnknownVariableType]  # typeshed lacks it

    entries = [entry.strip() for entry in proxies.get("no", "").split(",")]
    if "*" in entries or host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        address = ip_address(host.partition("%")[0])
    except ValueError:
        names = {"no": ",".join(map(_as_dns_has_it, entries))}
        bypasses = cast("Callable[..., object]", proxy_bypass_environment)
        return bool(bypasses(f"{host}:{port}", names))
    if address.is_loopback or address.is_unspecified:
        return True
    return any(_is_in(address, port, entry) for entry in entries)


def _as_dns_has_it(entry: str) -> str:
    """Return an entry of NO_PROXY with its host written as hosts are compared.

    It may have other letters than ASCII, and end with the dot of the root, as a host may.
    """
    try:
        host, port = _parse_authority(entry.lstrip("."))
    except ValueError:
        return entry
    host = host.rstrip(".")
    return host if port is None else f"{host}:{port}"


def _is_in(address: object, port: int, entry: str) -> bool:
    """Return whether an entry of NO_PROXY, an address or a network (RFC 4632), holds an address."""
    from ipaddress import ip_network

    network, only = entry, ""
    if entry.startswith("["):
        network, _, only = entry[1:].partition("]")
    elif entry.count(":") == 1:
        network, _, only = entry.partition(":")
    try:
        return address in ip_network(network, strict=False) and only.lstrip(":") in ("", str(port))
    except ValueError:
        return False
