"""The default transport: urllib3, with connections that are kept for all threads of a process.

urllib3 makes the connections and secures them; a `_Pool` keeps them; an `_Exchange` says
what goes over one.

Invariants: a request has one deadline, from the first packet to the last byte. TLS certificates are
verified unless the configuration says otherwise. Redirects are not followed, so that a key never
reaches another host, and nothing is sent twice. A forked child opens connections of its own.
"""

from __future__ import annotations

import contextlib
import http.client
import os
import re
import socket
import ssl
import weakref
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeoutError
from time import monotonic
from typing import TYPE_CHECKING, Any, NamedTuple

from urllib3.connection import ProxyConfig
from urllib3.exceptions import HTTPError, SSLError
from urllib3.util import Url, parse_url
from urllib3.util.ssl_match_hostname import CertificateError

from humanloop.exceptions import ApiProxyError
from humanloop.http import Headers, RawResponse, Request, is_event_stream
from humanloop.transport.common import (
    CLOSED,
    SharedContext,
    chain_of,
    check_length,
    check_size,
    connection_error,
    explain_proxy,
    proxy_of,
    timeout_reason,
    wire_headers,
)
from humanloop.transport.content import PIECE, ContentDecoder, ContentError
from humanloop.transport.urllib3_connection import Connection, Deadline, TlsConnection, socket_of

if TYPE_CHECKING:
    from humanloop.configuration import Configuration
    from humanloop.exceptions import ApiConnectionError

__all__ = ["Urllib3Transport"]

CHUNK = 65_536
"""Bytes per read of a body whose length is not known."""

ERRORS = (HTTPError, OSError, http.client.HTTPException, CertificateError, ContentError)
"""Whatever an exchange may raise that is not ours."""

_FOLD = re.compile(r"\r?\n[ \t]+")  # RFC 9112 section 5.2


class _Route(NamedTuple):
    """How a process reaches a base URL.

    prefix: what the path follows in the request line; headers: those for a proxy that forwards.
    """

    process: int
    host: str
    prefix: str
    headers: Mapping[str, str]
    pool: _Pool


class Urllib3Transport:
    """Sends by urllib3, with a configuration's connection settings as they are when first used."""

    def __init__(self, configuration: Configuration) -> None:
        self._configuration = configuration
        self._context = SharedContext(configuration)
        self._pools: dict[tuple[object, ...], _Pool] = {}
        self._route: _Route | None = None

    def send(self, request: Request) -> RawResponse | _Exchange:
        """Send a request once; see `Transport`."""
        exchange = _Exchange(request)
        try:
            return exchange.run(self._route_to, self._configuration.max_response_bytes)
        except ApiProxyError as error:
            explain_proxy(error, self._configuration)
            raise

    def close(self) -> None:
        """Close what is kept alive; see `Transport`."""
        pools, self._pools, self._route = self._pools, {}, None
        for (process, *_), pool in pools.items():
            if process == os.getpid():
                pool.close()

    def _route_to(self, host: str, deadline: Deadline) -> _Route:
        route = self._route
        if route is None or (route.process, route.host) != (os.getpid(), host):
            route = self._route = self._new_route(host, deadline)
        return route

    def _new_route(self, host: str, deadline: Deadline) -> _Route:
        configuration, process, url = self._configuration, os.getpid(), parse_url(host)
        proxy = proxy_of(configuration, host)
        headers = proxy.headers(configuration.proxy_headers) if proxy else {}
        via = parse_url(proxy.url) if proxy else None
        key = (process, url.scheme, url.host, url.port)
        pool = self._pools.get(key)
        if pool is None:  # two threads may both make one; setdefault, atomic, keeps the first
            context = None
            if "https" in (url.scheme, via and via.scheme):
                context = _result(self._context.get(), deadline)
            pool = _Pool(configuration, url, via, headers, context)
            pool = self._pools.setdefault(key, pool)
        if via and url.scheme == "http":
            return _Route(process, host, url.url, headers, pool)
        return _Route(process, host, url.path or "", {}, pool)


class _Pool:
    """The connections to one host that are kept, by way of a proxy if there is one."""

    def __init__(
        self,
        configuration: Configuration,
        url: Url,
        proxy: Url | None,
        proxy_headers: Mapping[str, str],
        context: ssl.SSLContext | None,
    ) -> None:
        target = proxy or url
        self._options: dict[str, Any] = {"host": target.host, "port": target.port}
        self._tunnel: dict[str, Any] = {}
        if configuration.socket_options is not None:
            self._options["socket_options"] = configuration.socket_options
        if context is not None:
            self._options["ssl_context"] = context
            self._options["proxy_config"] = ProxyConfig(context, False, None, None)
        if url.scheme == "https":
            self._options["assert_hostname"] = configuration.assert_hostname
            if proxy is not None:
                self._tunnel = {"host": url.host, "port": url.port or 443}
                self._tunnel |= {"headers": proxy_headers, "scheme": proxy.scheme}
        self._kind = Connection if context is None else TlsConnection
        self._kept: deque[Connection] = deque()
        self._most = configuration.connection_pool_maxsize
        weakref.finalize(self, _close_all, self._kept)  # whatever is given back after `close`

    def take(self, deadline: Deadline) -> Connection:
        """Lend a connection that is still good, or a new one."""
        with contextlib.suppress(IndexError):
            while True:
                connection = self._kept.pop()  # the one that was used last
                if connection.is_connected:
                    connection.lend(deadline)
                    return connection
                connection.close()  # the server has closed it, or sent what nobody asked for
        connection = self._kind(**self._options)
        connection.lend(deadline)
        if self._tunnel:
            connection.set_tunnel(**self._tunnel)
        return connection

    def give_back(self, connection: Connection) -> None:
        """Keep a connection whose response has been read, if it can be used again."""
        if connection.is_closed:  # as the server has asked
            return
        self._kept.append(connection)
        if len(self._kept) > self._most:
            with contextlib.suppress(IndexError):  # another thread was faster
                self._kept.popleft().close()

    def close(self) -> None:
        """Close the connections that are kept."""
        _close_all(self._kept)


def _close_all(connections: deque[Connection]) -> None:
    with contextlib.suppress(IndexError):
        while True:
            connections.pop().close()


def _result(context: Future[ssl.SSLContext], deadline: Deadline) -> ssl.SSLContext:
    try:
        return context.result(deadline.remaining())
    except FutureTimeoutError as error:  # which Python 3.10 has apart
        raise TimeoutError("the deadline has passed") from error


class _Exchange:
    """A request under way, and its response; as soon as that is a stream, a RawStream."""

    status: int
    reason: str
    headers: Headers
    elapsed: float

    def __init__(self, request: Request) -> None:
        self._request = request
        self._deadline = Deadline(request)
        self._response: http.client.HTTPResponse | None = None
        self._streaming = False

    def run(
        self, route_to: Callable[[str, Deadline], _Route], max_bytes: int | None
    ) -> RawResponse | _Exchange:
        """Send the request once; see `Transport.send`.

        route_to: finds the route for a host; max_bytes: the largest body; None: any.
        """
        started = monotonic()
        try:
            route = route_to(self._request.host, self._deadline)
            self._pool = route.pool
            self._connection = route.pool.take(self._deadline)
            try:
                response = self._respond(route)
                encoding = self.headers.get("Content-Encoding", "")
                if self._request.stream and is_event_stream(self.status, self.headers):
                    at_once = PIECE if encoding else CHUNK
                    self._pieces = _pieces(response, ContentDecoder(encoding), at_once)
                    self._socket = socket_of(response)
                    self._streaming = True
                    self.elapsed = monotonic() - started
                    return self
                check_size(self.headers, max_bytes)
                data = b"".join(_pieces(response, ContentDecoder(encoding, max_bytes), None))
            except BaseException:
                self._give_up()
                raise
        except ERRORS as error:
            raise self._translated(error) from error
        self._give_back(response)
        elapsed = monotonic() - started
        return RawResponse(self.status, self.reason, self.headers, data, elapsed)

    def read(self, timeout: float | None) -> bytes:
        """Return the next bytes of a stream; see `RawStream`."""
        self._deadline.limit_read(timeout)
        try:
            data = next(filter(None, self._pieces), b"")
        except Exception as error:
            if self._streaming and not isinstance(error, ERRORS):
                raise
            self.close()  # or another thread has closed it, which http.client does not expect
            late = f"no more of the answer within {timeout or 0:.3g} seconds"
            raise self._translated(error, late) from error
        if not data and self._streaming and self._response is not None:
            self._streaming = False
            self._give_back(self._response)
        return data

    def close(self) -> None:
        """Give up what is left of a stream; see `RawStream`."""
        if not self._streaming:
            return
        self._streaming = False
        if self._socket is not None:
            with contextlib.suppress(OSError):  # it has been shut down already
                # A thread that reads holds a lock, and wakes by this. (TLS has its own method.)
                socket.socket.shutdown(self._socket, socket.SHUT_RDWR)
        self._give_up()

    def _respond(self, route: _Route) -> http.client.HTTPResponse:
        """Send the request, and receive the head of the response."""
        request, connection = self._request, self._connection
        if connection.is_closed:
            connection.connect()
        query = f"?{request.query}" if request.query else ""
        target = f"{route.prefix}{request.path}{query}"
        headers = {**wire_headers(request), **route.headers}
        try:
            connection.request(request.method, target, request.body, headers)
        except OSError as error:
            if error.errno not in CLOSED:
                raise
        # The response of http.client: urllib3's wraps one, and is made for what it does on top.
        response = self._response = http.client.HTTPConnection.getresponse(connection)
        self.status, self.reason = response.status, response.reason
        self.headers = Headers((k, _FOLD.sub(" ", v)) for k, v in response.getheaders())
        check_length(self.headers)
        return response

    def _give_back(self, response: http.client.HTTPResponse) -> None:
        response.close()
        self._pool.give_back(self._connection)

    def _give_up(self) -> None:
        if self._response is not None:  # it holds the socket, too
            with contextlib.suppress(AttributeError):  # a thread that reads closes it right now
                self._response.close()
        self._connection.close()

    def _translated(self, error: Exception, late: str = "") -> ApiConnectionError:
        """Return our error for the library's; late: the message for one that took too long."""
        chain, sent = list(chain_of(error)), self._deadline.sent
        return connection_error(
            chain,
            self._request,
            getattr(chain[-1], "strerror", None) or str(chain[-1]),
            sent=sent,
            late=late or timeout_reason(self._request, sent=sent, over=self._deadline.over),
            tls=(SSLError, ssl.SSLError, CertificateError),
        )


def _pieces(
    response: http.client.HTTPResponse, decoder: ContentDecoder, at_once: int | None
) -> Iterator[bytes]:
    """Yield the body as it comes, decoded; a length that was told must be true.

    at_once: bytes to read at most; None: all of it is wanted.
    """
    left = response.length
    while left is None or left > 0:
        # With a length, and where all of it is wanted, one read gets it.
        whole = left and at_once is None
        data = response.read(left) if whole else response.read1(at_once or CHUNK)
        if not data:
            if left:
                raise http.client.IncompleteRead(b"", left)
            break
        if left is not None:
            left -= len(data)
        yield decoder.feed(data)
    decoder.end()
