"""The default transport: urllib3, one pool of kept-alive connections for all threads of a process.

urllib3 makes the connections, secures and keeps them; what goes over one is up to `_Pool.exchange`.

What stays true: a request has one deadline, from the first packet to the last byte, which holds
for a server that sends (or reads) slowly as it does for one that is silent, since every wait on the
socket gets what is left of it. (Only the lookup of a host name is beyond it, for which systems
offer no limit; and a host of several addresses may take the time to connect once for each.) TLS
certificates are verified unless the configuration says otherwise. Redirects are not followed, so
that a key never reaches another host, and nothing is sent twice. A forked child opens connections
of its own.
"""

from __future__ import annotations

import errno
import http.client
import io
import os
import re
import ssl
from collections.abc import Iterator, Mapping
from contextvars import ContextVar
from time import monotonic
from typing import TYPE_CHECKING, Any, NamedTuple, cast
from urllib.parse import unquote, urlsplit

import urllib3
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.exceptions import HTTPError, SSLError
from urllib3.util import make_headers, parse_url
from urllib3.util.ssl_ import create_urllib3_context
from urllib3.util.ssl_match_hostname import CertificateError

from humanloop.api_response import Headers
from humanloop.exceptions import (
    ApiConnectionError,
    ApiTimeoutError,
    ApiTlsError,
    ClientConfigurationError,
)
from humanloop.transport import RawResponse, Request

if TYPE_CHECKING:
    from socket import socket

    from humanloop.configuration import Configuration

__all__ = ["Urllib3Transport"]

SLICE = 16_384
"""Bytes per write: the largest TLS record, so that no single write outlives the deadline unseen."""

_FOLD = re.compile(r"\r?\n[ \t]+")  # RFC 9112 section 5.2


class _Deadline:
    """When an exchange must have ended, and how long it may take to connect; None: no limit."""

    def __init__(self, total: float | None, connect: float | None) -> None:
        self.total = total
        self.connect = connect
        self.connecting = False
        self._end = None if total is None else monotonic() + total

    def remaining(self, at_most: float | None = None) -> float | None:
        """Seconds left, raising TimeoutError when there are none."""
        if self._end is None:
            return at_most
        left = self._end - monotonic()
        if left <= 0:
            raise TimeoutError("the deadline has passed")
        return left if at_most is None else min(left, at_most)

    def exceeded(self) -> str:
        """What to say of an exchange that took too long."""
        limits = [limit for limit in (self.total, self.connecting and self.connect) if limit]
        what = "connection" if self.connecting else "complete answer"
        return f"no {what} within {min(limits):g} seconds" if limits else f"no {what} in time"


# urllib3 hands nothing of ours down to its connections: they find the exchange of this thread here.
_deadline: ContextVar[_Deadline] = ContextVar("deadline")


class _TimedReader(io.RawIOBase):
    """A socket's bytes, each read with what is left of the deadline."""

    def __init__(self, sock: socket) -> None:
        self._sock = sock
        self._raw = sock.makefile("rb", buffering=0)
        self._deadline = _deadline.get()

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any, /) -> int | None:
        self._sock.settimeout(self._deadline.remaining())
        return self._raw.readinto(buffer)

    def close(self) -> None:
        self._raw.close()
        super().close()


class _TimedSocket:
    """As much of a socket as a response asks for."""

    def __init__(self, sock: socket) -> None:
        self._sock = sock

    def makefile(self, mode: str) -> io.BufferedReader:
        return io.BufferedReader(_TimedReader(self._sock))


class _TimedResponse(http.client.HTTPResponse):
    def __init__(self, sock: socket, *args: Any, **options: Any) -> None:
        super().__init__(cast("socket", _TimedSocket(sock)), *args, **options)


class _TimedConnection(HTTPConnection):
    response_class = _TimedResponse
    sock: socket | None

    def connect(self) -> None:
        deadline = _deadline.get()
        self.timeout = deadline.remaining(deadline.connect)
        deadline.connecting = True
        super().connect()
        deadline.connecting = False

    def send(self, data: Any) -> None:
        if self.sock is None:
            self.connect()
        assert self.sock is not None
        for start in range(0, len(data), SLICE):
            self.sock.settimeout(_deadline.get().remaining())
            super().send(memoryview(data)[start : start + SLICE])


class _TimedTlsConnection(_TimedConnection, HTTPSConnection):
    pass


class _Pool(HTTPConnectionPool):
    # The protocol that urllib3 declares for this does not fit its own classes in pyright's eyes.
    ConnectionCls = _TimedConnection  # pyright: ignore[reportAssignmentType]

    def exchange(
        self, request: Request, target: str, headers: Mapping[str, str], *, tunnel: bool
    ) -> RawResponse:
        """Send a request once and read the answer to its end.

        `urlopen` would, too; what it prepares for retries, redirects and streams takes its time.
        """
        started = monotonic()
        connection = self._get_conn()
        try:
            if tunnel and connection.is_closed:
                self._prepare_proxy(connection)
            self._validate_conn(connection)
            try:
                connection.request(request.method, target, request.body, headers)
            except OSError as error:  # a server may answer, and close, before it has read all
                if error.errno not in (errno.EPIPE, errno.ECONNRESET, errno.EPROTOTYPE):
                    raise
            plain = cast(http.client.HTTPConnection, connection)
            with http.client.HTTPConnection.getresponse(plain) as response:
                received = Headers((k, _FOLD.sub(" ", v)) for k, v in response.getheaders())
                _check_length(received)
                data = _decoded(response.read(), received)
        except BaseException:
            connection.close()
            raise
        finally:
            self._put_conn(connection)
        return RawResponse(response.status, response.reason, received, data, monotonic() - started)


class _TlsPool(_Pool, HTTPSConnectionPool):
    ConnectionCls = _TimedTlsConnection  # pyright: ignore[reportAssignmentType]


class _Route(NamedTuple):
    """How a process reaches a base URL.

    prefix: what the path follows in the request line; headers: those for a proxy that forwards;
    tunnel: whether there is a proxy that does not.
    """

    process: int
    host: str
    pool: _Pool
    prefix: str
    headers: Mapping[str, str]
    tunnel: bool


class Urllib3Transport:
    """Sends by urllib3, with a configuration's connection settings as they are when first used."""

    def __init__(self, configuration: Configuration) -> None:
        self._configuration = configuration
        self._managers: dict[tuple[int, str], urllib3.PoolManager] = {}
        self._route: _Route | None = None

    def send(self, request: Request) -> RawResponse:
        deadline = _Deadline(request.timeout, self._configuration.connect_timeout)
        token = _deadline.set(deadline)
        try:
            route = self._route
            if route is None or (route.process, route.host) != (os.getpid(), request.host):
                route = self._route = self._new_route(request.host)
            query = f"?{request.query}" if request.query else ""
            return route.pool.exchange(
                request,
                f"{route.prefix}{request.path}{query}",
                {**request.headers, **route.headers},
                tunnel=route.tunnel,
            )
        except (HTTPError, OSError, http.client.HTTPException, CertificateError) as error:
            raise _translated(error, request, deadline) from error
        finally:
            _deadline.reset(token)

    def close(self) -> None:
        managers, self._managers, self._route = self._managers, {}, None
        for manager in managers.values():
            manager.clear()

    def _new_route(self, host: str) -> _Route:
        url = parse_url(host)
        scheme = url.scheme or ""
        process = os.getpid()
        manager = self._managers.get((process, scheme))
        if manager is None:  # two threads may both make one; setdefault, atomic, keeps the first
            manager = self._managers.setdefault((process, scheme), self._new_manager(scheme))
        pool = cast(_Pool, manager.connection_from_host(url.host, url.port, scheme))
        if isinstance(manager, urllib3.ProxyManager) and scheme == "http":
            return _Route(process, host, pool, url.url, manager.proxy_headers, tunnel=False)
        return _Route(process, host, pool, url.path or "", {}, tunnel=pool.proxy is not None)

    def _new_manager(self, scheme: str) -> urllib3.PoolManager:
        configuration = self._configuration
        options: dict[str, Any] = {"maxsize": configuration.connection_pool_maxsize}
        if configuration.socket_options is not None:
            options["socket_options"] = configuration.socket_options
        if scheme == "https":
            options["ssl_context"] = _tls_context(configuration)
            options["assert_hostname"] = configuration.assert_hostname
        manager = (
            _proxy_manager(configuration, options)
            if configuration.proxy
            else urllib3.PoolManager(**options)
        )
        manager.pool_classes_by_scheme = dict[str, Any](http=_Pool, https=_TlsPool)
        return manager


def _check_length(headers: Headers) -> None:
    """RFC 9112 section 6.3: where lengths contradict each other, the message has no known end."""
    if len({length.strip() for length in headers.get("Content-Length", "").split(",")}) > 1:
        raise http.client.HTTPException("several values of Content-Length")


def _decoded(data: bytes, headers: Headers) -> bytes:
    """Without the compression that a server may apply although none is asked for."""
    encoding = headers.get("Content-Encoding")
    if not data or encoding is None:
        return data
    fields = {"Content-Encoding": encoding}
    return urllib3.HTTPResponse(io.BytesIO(data), fields).data


def _proxy_manager(configuration: Configuration, options: dict[str, Any]) -> urllib3.ProxyManager:
    proxy = urlsplit(configuration.proxy or "")
    if proxy.scheme not in ("http", "https") or not proxy.hostname:
        raise ClientConfigurationError("proxy must be a URL such as http://proxy.example:3128")
    headers = dict(configuration.proxy_headers or {})
    if proxy.username is not None:
        credentials = f"{unquote(proxy.username)}:{unquote(proxy.password or '')}"
        headers.update(make_headers(proxy_basic_auth=credentials))
    if proxy.scheme == "https":
        options["proxy_ssl_context"] = _tls_context(configuration)
    url = proxy._replace(netloc=proxy.netloc.rpartition("@")[2]).geturl()
    return urllib3.ProxyManager(url, proxy_headers=headers, **options)


def _tls_context(configuration: Configuration) -> ssl.SSLContext:
    context = create_urllib3_context()
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


def _translated(error: Exception, request: Request, deadline: _Deadline) -> ApiConnectionError:
    """Our error for the library's."""
    chain = list(_chain(error))
    reason = getattr(chain[-1], "strerror", None) or str(chain[-1]) or type(chain[-1]).__name__
    kind: type[ApiConnectionError] = ApiConnectionError
    if any(isinstance(e, TimeoutError) for e in chain):
        kind = ApiTimeoutError
        reason = deadline.exceeded()
    elif any(isinstance(e, (SSLError, ssl.SSLError, CertificateError)) for e in chain):
        kind = ApiTlsError
        reason = f"TLS failed: {reason}"
    elif deadline.connecting:
        reason = f"can't connect: {reason}"
    else:
        reason = f"the connection broke: {reason}"
    return kind(reason, method=request.method, host=request.host, path=request.path)


def _chain(error: BaseException) -> Iterator[BaseException]:
    """An error and those that it wraps, the outermost first."""
    yield error
    inner = error.__cause__ or next((a for a in error.args if isinstance(a, BaseException)), None)
    if inner is not None:
        yield from _chain(inner)
