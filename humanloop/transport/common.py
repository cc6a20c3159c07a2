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
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any, TypeVar

from humanloop.addresses import Proxy, environment_proxy, parse_proxy
from humanloop.exceptions import (
    ApiConnectionError,
    ApiProxyError,
    ApiResponseTooLargeError,
    ApiTimeoutError,
    ApiTlsError,
    ClientClosedError,
    ClientConfigurationError,
)
from humanloop.setting_checks import check_files, check_setting, load_client_certificate
from humanloop.transport.content import ContentError, ContentTooLargeError

if TYPE_CHECKING:
    from humanloop.configuration import Configuration
    from humanloop.http import Headers, Request

__all__ = [
    "CLOSED",
    "IDLE",
    "LONGEST",
    "NO_HTTP",
    "TICK",
    "SharedContext",
    "chain_of",
    "check_head",
    "check_length",
    "check_size",
    "check_status",
    "connecting_to",
    "connection_error",
    "explain_proxy",
    "has_length",
    "header_lines",
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

NO_HTTP = "the answer is no HTTP/1.1: bad status line"

T = TypeVar("T")

_LENGTH = re.compile(r"[0-9]{1,20}")
_TARGET = re.compile(r"[\x21-\x7e]+")

_TUNNEL_FAILED = re.compile(r"Tunnel connection failed: ([0-9]{3})")
"""http.client's message about a proxy's response to CONNECT."""

AUTHORITIES = ("SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")
"""Environment variables that name authorities to trust."""


def proxy_of(configuration: Configuration, host: str) -> Proxy | None:
    """Return the proxy for a base URL: the configured one, else the environment's, if any.

    Raises ClientConfigurationError for one of the environment that can't be used.
    """
    # A dict may have changed since it was given, and http.client sends whatever it holds.
    check_setting("proxy_headers", configuration.proxy_headers)
    if configuration.proxy is not None:
        return parse_proxy(configuration.proxy)
    return environment_proxy(host) if configuration.trust_env else None


def explain_proxy(error: ApiProxyError, configuration: Configuration) -> None:
    """Write into the error of a proxy which setting or variable named it, and what it wants."""
    proxy = proxy_of(configuration, error.host or "")
    if proxy is None:
        return
    hint = "" if proxy.name == "proxy" else f"; the proxy is from {proxy.name} in the environment"
    if error.proxy_status == 407 and proxy.user is None:
        hint = f"; the proxy wants credentials, and {proxy.name} has none"
    elif error.proxy_status == 407:
        hint = f"; the proxy wants other credentials than those of {proxy.name}"
    error.reason = f"{error.reason}{hint}"


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
                # A callback that forgets it would be kept by the future, and keep this object.
                in_thread("humanloop-tls", self._load, result=new)
                if new.done() and new.exception() is not None:  # there was no thread for it
                    self._contexts.pop(process, None)
        return context

    def _load(self) -> ssl.SSLContext:
        try:
            return _tls_context(self._configuration)
        except BaseException:
            self._contexts.pop(os.getpid(), None)
            raise


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
        future.set_exception(OSError(str(error)))
    return future


def _fill(future: Future[T], function: Callable[..., T], *arguments: Any) -> None:
    try:
        future.set_result(function(*arguments))
    except BaseException as error:
        future.set_exception(error)
    finally:
        del future  # it holds the error, and that this frame


def _tls_context(configuration: Configuration) -> ssl.SSLContext:
    configuration.check_tls()
    if configuration.ssl_context is not None:
        return configuration.ssl_context
    from urllib3.util.ssl_ import create_urllib3_context

    context = create_urllib3_context()
    context.set_alpn_protocols(["http/1.1"])
    if not configuration.verify_ssl or configuration.assert_hostname is False:
        context.check_hostname = False
    if configuration.verify_ssl:
        _load_authorities(context, configuration)
    else:
        context.verify_mode = ssl.CERT_NONE
    load_client_certificate(context, configuration)
    return context


def _load_authorities(context: ssl.SSLContext, configuration: Configuration) -> None:
    """Trust the authorities that are configured, else the environment's, else certifi's."""
    if configuration.ssl_ca_cert is not None:
        check_files("ssl_ca_cert", context.load_verify_locations, configuration.ssl_ca_cert)
        return
    variables = AUTHORITIES if configuration.trust_env else ()
    named = {os.environ[v]: v for v in variables if os.environ.get(v)}
    if not named:
        import certifi

        context.load_verify_locations(certifi.where())
    for path, name in named.items():
        if name == "SSL_CERT_DIR" or (name != "SSL_CERT_FILE" and os.path.isdir(path)):
            if not any(map(os.path.isdir, path.split(os.pathsep))):
                raise ClientConfigurationError(f"{name} in the environment is no directory")
            context.load_verify_locations(capath=path)
        else:
            check_files(f"{name} in the environment", context.load_verify_locations, path)


def check_status(status: int) -> None:
    """Refuse a response that ends HTTP on its connection (RFC 9110, section 15.2.2)."""
    if status == 101:
        raise ContentError("101: the server switched to another protocol")


def has_length(request: Request) -> bool:
    """Return whether a request has Content-Length (RFC 9110, section 8.6)."""
    return request.body is not None or request.method not in ("GET", "DELETE", "HEAD", "OPTIONS")


def wire_headers(request: Request) -> dict[str, str]:
    """Return the header fields of a request as they go out, but for Host, in their order."""
    fields: dict[str, str] = {}
    if "Accept-Encoding" not in request.headers:
        fields["Accept-Encoding"] = "identity"
    if "Content-Length" not in request.headers and has_length(request):
        fields["Content-Length"] = str(len(request.body or b""))
    fields.update(request.headers.reveal())
    return fields


def check_head(target: str, fields: Mapping[str, str]) -> None:
    """Refuse what `header_lines` does, in less time."""
    text = "".join([target, *fields, *fields.values()])
    if not text.isascii() or not text.isprintable() or " " in target:
        header_lines(target, fields)


def header_lines(target: str, fields: Mapping[str, str]) -> str:
    """Return header fields as they go out; refuse what would not be the head of one request.

    target: what is asked for (RFC 9112, section 3.2). RFC 9110, section 5.5: what is not ASCII has
    no certain meaning in a field. Latin-1 is sent, as by http.client.
    """
    lines = "".join([f"{name}: {value}\r\n" for name, value in fields.items()])
    whole = {lines.count("\r"), lines.count("\n")} == {len(fields)} and "\0" not in lines
    if whole and _TARGET.fullmatch(target) and (lines.isascii() or max(lines) <= "\xff"):
        return lines
    raise ContentError("the address or a header has characters that can't be sent")


def check_length(headers: Headers) -> int | None:
    """Return the length of a body; None: not given. Refuse an ambiguous one.

    RFC 9110, section 8.6: several equal values are one. RFC 9112, section 6.3.
    """
    length = headers.get("Content-Length")
    if length is None:
        return None
    if "," in length:
        length, *others = {part.strip() for part in length.split(",")}
        if others:
            raise ContentError("several values of Content-Length")
    if not _LENGTH.fullmatch(length):  # int() would take 1_0, and +10
        raise ContentError("Content-Length is no number")
    return int(length)


def check_size(headers: Headers, max_bytes: int | None) -> None:
    """Refuse a body that says to be over the limit."""
    if max_bytes is not None and (check_length(headers) or 0) > max_bytes:
        raise ContentTooLargeError(f"the body is over {max_bytes:,} bytes")


def chain_of(error: BaseException | None) -> Iterator[BaseException]:
    """Yield an error and the errors that it wraps, the outermost first."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        if isinstance(error, ContentError):  # which says it better than zlib does
            return
        inner = (error.__cause__, *error.args)
        error = next((e for e in inner if isinstance(e, Exception)), None)


def connecting_to(address: Any, count: int) -> str:
    """Say that one of `count` addresses is connected to; address: of the first, as of a socket."""
    host, port = address[:2]
    shown = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    others = f" and {count - 1} other address{'es' if count > 2 else ''}" if count > 1 else ""
    return f"connecting to {shown}{others}"


def timeout_reason(request: Request, *, sent: bool, over: bool, doing: str = "") -> str:
    """Describe what did not come in time.

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
    elif _TUNNEL_FAILED.match(said):
        kind = ApiProxyError
    error = kind(reason, method=request.method, host=request.host, path=request.path, sent=sent)
    if isinstance(error, ApiProxyError):
        error.proxy_status = int(said.split()[3])
    return error
