"""What the transports have in common: the settings of a connection, and what an error becomes.

What stays true: the two connect alike and fail alike, whichever library does the I/O, and the
credentials for a proxy leave its URL before anything else sees that.
"""

from __future__ import annotations

import errno
import ssl
from collections.abc import Iterator
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from humanloop.exceptions import (
    ApiConnectionError,
    ApiResponseTooLargeError,
    ApiTimeoutError,
    ApiTlsError,
    ClientConfigurationError,
)
from humanloop.transport.content import ContentError, ContentTooLargeError

if TYPE_CHECKING:
    from humanloop.configuration import Configuration
    from humanloop.http import Headers
    from humanloop.transport import Request

__all__ = ["CLOSED", "chain_of", "check_length", "connection_error", "proxy_of", "tls_context"]

CLOSED = (errno.EPIPE, errno.ECONNRESET, errno.EPROTOTYPE)
"""What sending fails with when the server reads no more."""


def proxy_of(configuration: Configuration) -> tuple[str, dict[str, str]]:
    """The URL of the configured proxy, without credentials, and the headers for it."""
    proxy = urlsplit(configuration.proxy or "")
    if proxy.scheme not in ("http", "https") or not proxy.hostname:
        raise ClientConfigurationError("proxy must be a URL such as http://proxy.example:3128")
    headers = dict(configuration.proxy_headers or {})
    if proxy.username is not None:
        from urllib3.util import make_headers

        credentials = f"{unquote(proxy.username)}:{unquote(proxy.password or '')}"
        headers.update(make_headers(proxy_basic_auth=credentials))
    return proxy._replace(netloc=proxy.netloc.rpartition("@")[2]).geturl(), headers


def tls_context(configuration: Configuration) -> ssl.SSLContext:
    """How to secure a connection; raises ClientConfigurationError for files that can't be used."""
    from urllib3.util.ssl_ import create_urllib3_context

    context = create_urllib3_context()
    context.set_alpn_protocols(["http/1.1"])
    try:
        if not configuration.verify_ssl:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        elif configuration.ssl_ca_cert:
            context.load_verify_locations(configuration.ssl_ca_cert)
        else:
            import certifi

            context.load_verify_locations(certifi.where())
        if configuration.cert_file:
            context.load_cert_chain(configuration.cert_file, configuration.key_file)
    except OSError as error:  # also ssl.SSLError, for a file without a certificate
        raise ClientConfigurationError(
            f"ssl_ca_cert, cert_file or key_file can't be used: {error}"
        ) from error
    return context


def check_length(headers: Headers) -> None:
    """Refuse a body of no certain length (RFC 9110 section 8.6, RFC 9112 section 6.3)."""
    length, *others = {part.strip() for part in headers.get("Content-Length", "").split(",")}
    if others:
        raise ContentError("several values of Content-Length")
    if length and not (length.isascii() and length.isdecimal()):  # int() would take 1_0, and +10
        raise ContentError("Content-Length is no number")


def chain_of(error: BaseException | None) -> Iterator[BaseException]:
    """An error and those that it wraps, the outermost first."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        if isinstance(error, ContentError):  # which says it better than zlib does
            return
        inner = (error.__cause__, *error.args)
        error = next((e for e in inner if isinstance(e, Exception)), None)


def connection_error(
    chain: list[BaseException],
    request: Request,
    said: str,
    *,
    sent: bool,
    late: str,
    timeout: tuple[type[BaseException], ...] = (TimeoutError,),
    tls: tuple[type[BaseException], ...] = (ssl.SSLError,),
) -> ApiConnectionError:
    """Our error for a library's.

    chain: that and those that it wraps; said: what the innermost says; sent: whether the request
    may have left; late: what to say of one that took too long, if that is known; timeout, tls: the
    library's own errors of these kinds.
    """
    kind: type[ApiConnectionError] = ApiConnectionError
    reason = f"the connection broke: {said}" if sent else f"can't connect: {said}"
    if any(isinstance(error, timeout) for error in chain):
        kind, reason = ApiTimeoutError, late or reason
    elif any(isinstance(error, tls) for error in chain):
        kind, reason = ApiTlsError, f"TLS failed: {said}"
    elif isinstance(chain[0], ContentTooLargeError):
        kind, reason = ApiResponseTooLargeError, said
    return kind(reason, method=request.method, host=request.host, path=request.path, sent=sent)
