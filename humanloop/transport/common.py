"""Shared by the transports: the settings of a connection, and the translation of errors.

Invariants: the two connect alike and fail alike, whichever library does the I/O. The credentials
for a proxy leave its URL before anything else sees that.
"""

from __future__ import annotations

import errno
import functools
import os
import re
import ssl
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import unquote, urlsplit

from humanloop.exceptions import (
    ApiConnectionError,
    ApiResponseTooLargeError,
    ApiTimeoutError,
    ApiTlsError,
    ClientClosedError,
    ClientConfigurationError,
)
from humanloop.transport.content import ContentError, ContentTooLargeError

if TYPE_CHECKING:
    from humanloop.configuration import Configuration
    from humanloop.http import Headers, Request

__all__ = [
    "CLOSED",
    "IDLE",
    "LONGEST",
    "TICK",
    "SharedContext",
    "chain_of",
    "check_length",
    "check_size",
    "connection_error",
    "has_length",
    "in_thread",
    "proxy_of",
    "timeout_reason",
    "wire_headers",
]

CLOSED = (errno.EPIPE, errno.ECONNRESET, errno.EPROTOTYPE)
"""Errors of sending to a server that reads no more: it may have responded before it closed."""

IDLE = 15.0
"""Seconds for which a kept connection may be unused. Networks that translate addresses, and load
balancers, forget it after that or longer, and say nothing to either end."""

LONGEST = 1_000_000.0
"""Seconds of one wait on a socket at most: systems count its milliseconds in 32 bits."""

TICK = 0.005
"""Seconds by which a clock and a timeout may differ."""

T = TypeVar("T")

_LENGTH = re.compile(r"[0-9]{1,20}")


def proxy_of(configuration: Configuration) -> tuple[str, dict[str, str]]:
    """Return the URL of the configured proxy, without credentials, and the headers for it."""
    proxy = urlsplit(configuration.proxy or "")
    if proxy.scheme not in ("http", "https") or not proxy.hostname:
        raise ClientConfigurationError("proxy must be a URL such as http://proxy.example:3128")
    headers = dict(configuration.proxy_headers or {})
    if proxy.username is not None:
        from urllib3.util import make_headers

        credentials = f"{unquote(proxy.username)}:{unquote(proxy.password or '')}"
        headers.update(make_headers(proxy_basic_auth=credentials))
    return proxy._replace(netloc=proxy.netloc.rpartition("@")[2]).geturl(), headers


class SharedContext:
    """The TLS settings of a transport: made once, for all threads and loops of a process.

    Reading all the certificates takes tens of milliseconds. A thread of its own does it, so that it
    keeps no event loop waiting, and whoever waits for it can give up by a deadline.
    """

    def __init__(self, configuration: Configuration) -> None:
        self._configuration = configuration
        self._contexts: dict[int, Future[ssl.SSLContext]] = {}  # by process: threads don't fork

    def get(self) -> Future[ssl.SSLContext]:
        """Return the context to be; it is made with the first call, and again after a failure.

        The future raises ClientConfigurationError for files that can't be used.
        """
        process = os.getpid()
        context = self._contexts.get(process)
        if context is None:
            new: Future[ssl.SSLContext] = Future()
            context = self._contexts.setdefault(process, new)  # atomic: the first one wins
            if context is new:
                in_thread("humanloop-tls", _tls_context, self._configuration, result=new)
                context.add_done_callback(self._forget_failure)
        return context

    def _forget_failure(self, context: Future[ssl.SSLContext]) -> None:
        if context.exception() is not None:
            self._contexts.pop(os.getpid(), None)


def in_thread(
    name: str, function: Callable[..., T], *arguments: Any, result: Future[T] | None = None
) -> Future[T]:
    """Call a function in a thread of its own; return what it returns or raises, as a future.

    Nobody has to wait for it: the interpreter, when it exits, does not either. result: the future
    to fill, by default a new one. Who gives up can't cancel it, since others may wait for it.
    """
    future: Future[T] = Future() if result is None else result
    future.set_running_or_notify_cancel()

    try:
        run = functools.partial(_fill, future, function, *arguments)
        threading.Thread(target=run, name=name, daemon=True).start()
    except RuntimeError as error:  # the system has no more threads
        future.set_exception(error)
    return future


def _fill(future: Future[T], function: Callable[..., T], *arguments: Any) -> None:
    try:
        future.set_result(function(*arguments))
    except BaseException as error:
        future.set_exception(error)
    finally:
        del future  # it holds the error, and that this frame


def _tls_context(configuration: Configuration) -> ssl.SSLContext:
    from urllib3.util.ssl_ import create_urllib3_context

    context = create_urllib3_context()
    context.set_alpn_protocols(["http/1.1"])
    if not configuration.verify_ssl or configuration.assert_hostname is False:
        context.check_hostname = False
    try:
        if not configuration.verify_ssl:
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


def has_length(request: Request) -> bool:
    """Tell whether a request has Content-Length (RFC 9110, section 8.6)."""
    return request.body is not None or request.method not in ("GET", "DELETE", "HEAD", "OPTIONS")


def wire_headers(request: Request) -> dict[str, str]:
    """Return the header fields of a request as they go out, but for Host, in their order."""
    fields: dict[str, str] = {}
    if "Accept-Encoding" not in request.headers:
        fields["Accept-Encoding"] = "identity"
    if "Content-Length" not in request.headers and has_length(request):
        fields["Content-Length"] = str(len(request.body or b""))
    fields.update(request.headers.items())
    return fields


def check_length(headers: Headers) -> int | None:
    """Return the length of a body, None: not told; refuse one that is not certain.

    RFC 9110, section 8.6: several equal values are one. RFC 9112, section 6.3.
    """
    length = headers.get("Content-Length", "")
    if "," in length:
        length, *others = {part.strip() for part in length.split(",")}
        if others:
            raise ContentError("several values of Content-Length")
    if not length:
        return None
    if not _LENGTH.fullmatch(length):  # int() would take 1_0, and +10
        raise ContentError("Content-Length is no number")
    return int(length)


def check_size(headers: Headers, max_bytes: int | None) -> None:
    """Refuse a body that says to be over the limit."""
    if max_bytes is not None and (check_length(headers) or 0) > max_bytes:
        raise ContentTooLargeError(f"the body is over {max_bytes:,} bytes")


def chain_of(error: BaseException | None) -> Iterator[BaseException]:
    """Yield an error and those that it wraps, the outermost first."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        if isinstance(error, ContentError):  # which says it better than zlib does
            return
        inner = (error.__cause__, *error.args)
        error = next((e for e in inner if isinstance(e, Exception)), None)


def timeout_reason(request: Request, *, sent: bool, over: bool, doing: str = "") -> str:
    """Say what did not come in time.

    sent: whether the request may have left; over: whether its deadline has passed; doing: what the
    time went by with.
    """
    what, limit = "no complete answer within", request.timeout
    if not sent:
        what, limit = "no connection within", limit if over else request.connect_timeout
    elif not over:
        what, limit = "nothing came for", request.read_timeout
    return f"{what} {limit or 0:.3g} seconds" + (f" (while {doing})" if doing else "")


def connection_error(
    chain: list[BaseException],
    request: Request,
    said: str,
    *,
    sent: bool,
    late: str,
    timeout: tuple[type[BaseException], ...] = (TimeoutError,),
    tls: tuple[type[BaseException], ...] = (ssl.SSLError,),
    client_closed: bool = False,
) -> ApiConnectionError:
    """Return our error for a library's.

    chain: that and those that it wraps; said: the message of the innermost; sent: whether the
    request may have left; late: the message when a limit of ours has passed; timeout, tls: the
    library's own errors of these kinds; client_closed: whether that is the reason for all.
    """
    kind: type[ApiConnectionError] = ApiConnectionError
    said = said or type(chain[-1]).__name__
    reason = f"the connection broke: {said}" if sent else f"can't connect: {said}"
    if client_closed:
        kind, reason = ClientClosedError, "the client was closed"
    elif any(isinstance(error, timeout) for error in chain):
        kind = ApiTimeoutError
        if getattr(chain[-1], "errno", None) is None:  # which errors of the system have
            reason = late
    elif any(isinstance(error, tls) for error in chain):
        kind, reason = ApiTlsError, f"TLS failed: {said}"
    elif isinstance(chain[0], ContentTooLargeError):
        kind, reason = ApiResponseTooLargeError, said
    return kind(reason, method=request.method, host=request.host, path=request.path, sent=sent)
