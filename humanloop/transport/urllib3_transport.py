"""The default transport: urllib3, with connections that are kept for all threads of a process.

urllib3 makes the connections, secures them and sends: a `_Pool` is one of its pools, which keeps
connections as ours; an `_Exchange` says what goes over one, and reads the response.

Invariants: a request has one deadline, from the first packet to the last byte. TLS certificates are
verified unless the configuration says otherwise. Redirects are not followed, so that a key never
reaches another host, and nothing is sent twice. A forked child opens connections of its own. Each
try is one call of `HTTPConnectionPool.urlopen`, where tracers and tools for tests look for it.
"""

from __future__ import annotations

import contextlib
import http.client
import os
import queue
import socket
import ssl
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeoutError
from functools import partial
from time import monotonic
from typing import TYPE_CHECKING, Any, NamedTuple, cast

from urllib3 import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.connection import ProxyConfig
from urllib3.exceptions import HTTPError, PoolError, SSLError
from urllib3.response import BaseHTTPResponse
from urllib3.util import Retry, Url, parse_url
from urllib3.util.ssl_match_hostname import CertificateError

from humanloop.exceptions import ApiProxyError
from humanloop.frames import shielded
from humanloop.http import Headers, RawResponse, Request, is_event_stream
from humanloop.transport.common import (
    IDLE,
    NO_HTTP,
    SharedContext,
    chain_of,
    check_head,
    check_size,
    connection_error,
    explain_proxy,
    proxy_of,
    timeout_reason,
    wire_headers,
)
from humanloop.transport.content import PIECE, ContentDecoder, ContentError
from humanloop.transport.urllib3_connection import (
    Connection,
    Deadline,
    HTTPConnection,
    HTTPSConnection,
    Response,
    TlsConnection,
)

if TYPE_CHECKING:
    from humanloop.configuration import Configuration
    from humanloop.exceptions import ApiConnectionError

__all__ = ["Urllib3Transport"]

CHUNK = 65_536
"""Bytes per read of a body whose length is not known."""

ERRORS = (HTTPError, OSError, http.client.HTTPException, CertificateError, ContentError)
"""The errors of other libraries that an exchange may raise."""

NO_RETRIES = Retry(False)


class _Route(NamedTuple):
    """The way of a process to a base URL; prefix: the text before the path in the request line."""

    process: int
    host: str
    prefix: str
    pool: _Pool


class Urllib3Transport:
    """Sends by urllib3, with a configuration's connection settings as they are when first used."""

    def __init__(self, configuration: Configuration) -> None:
        self._configuration = configuration
        self._context = SharedContext(configuration)
        self._pools: dict[tuple[object, ...], _Pool] = {}
        self._route: _Route | None = None

    @shielded
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
                pool.kept.close()

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
        target = via if via and url.scheme == "http" else url
        key = (process, url.scheme, url.host, url.port)
        pool = self._pools.get(key)
        if pool is None:  # two threads may both make one; setdefault, atomic, keeps the first
            context = None
            if "https" in (url.scheme, via and via.scheme):
                deadline.doing = "loading the TLS certificates"
                context = _result(self._context.get(), deadline)
            options = _pool_options(configuration, via, headers, context)
            if url.scheme == "https":
                options["assert_hostname"] = configuration.assert_hostname
            kind = _TlsPool if target.scheme == "https" else _Pool
            port = target.port or (443 if target.scheme == "https" else 80)
            pool = kind(target.host, port, configuration.connection_pool_maxsize, options)
            pool = self._pools.setdefault(key, pool)
        return _Route(process, host, url.url if target is via else url.path or "", pool)


def _pool_options(
    configuration: Configuration,
    proxy: Url | None,
    proxy_headers: Mapping[str, str],
    context: ssl.SSLContext | None,
) -> dict[str, Any]:
    """Return the settings of a pool, as urllib3 names them."""
    options: dict[str, Any] = {}
    if configuration.socket_options is not None:
        options["socket_options"] = configuration.socket_options
    if context is not None:
        options["ssl_context"] = context
    if proxy is not None:
        config = ProxyConfig(context, False, None, None)
        options |= {"_proxy": proxy, "_proxy_headers": proxy_headers, "_proxy_config": config}
    return options


class _Kept:
    """The connections that a pool keeps: for urllib3, a queue, which gives the last one first.

    Unlike urllib3's, it closes the oldest where there are too many, gives none that may have been
    forgotten on its way, and keeps none after its end.
    """

    def __init__(self, most: int) -> None:
        self._connections: deque[Connection] = deque()
        self._most = most
        self._closed = False

    def get(self, block: bool = False, timeout: float | None = None) -> Connection:
        """Return a connection that is still good; raise queue.Empty where there is none."""
        while True:
            try:
                connection = self._connections.pop()
            except IndexError:
                raise queue.Empty from None
            if monotonic() - connection.used < IDLE:
                return connection  # which urllib3 connects anew if the server has closed it
            connection.close()

    def put(self, connection: HTTPConnection | None, block: bool = False) -> None:
        """Keep a connection whose response has been read, if it can be used again."""
        if connection is None or connection.is_closed:  # as the server has asked
            return
        if not isinstance(connection, Connection):  # of a tool that replays calls
            connection.close()
            return
        connection.used = monotonic()
        self._connections.append(connection)
        if self._closed:
            self.clear()
        elif len(self._connections) > self._most:
            with contextlib.suppress(IndexError):  # another thread was faster
                self._connections.popleft().close()

    def qsize(self) -> int:
        """Return how many there are."""
        return len(self._connections)

    def close(self) -> None:
        """Close them all, and keep no more."""
        self._closed = True
        self.clear()

    def clear(self) -> None:
        """Close them all."""
        with contextlib.suppress(IndexError):
            while True:
                self._connections.pop().close()


class _Pool(HTTPConnectionPool):
    """Gives out connections that keep the deadline, which comes as `pool_timeout`.

    kept: the connections that are open, and not in use.
    """

    def __init__(self, host: str | None, port: int, most: int, options: dict[str, Any]) -> None:
        self.kept = kept = _Kept(most)
        self.QueueCls: Any = lambda maxsize: kept  # pyright: ignore[reportUnknownLambdaType]
        super().__init__(cast(str, host), port, **options)

    def _connection_class(self) -> type[Any]:
        """Return the class of connections: ours, unless a tool that replays calls set its own."""
        usual: Any = super().ConnectionCls
        if usual is HTTPConnection:
            return Connection
        return TlsConnection if usual is HTTPSConnection else usual

    ConnectionCls: Any = property(_connection_class)

    def _get_conn(self, timeout: Any = None) -> Any:
        # What urllib3's tools replace, too; the one place where a connection is lent.
        if not issubclass(self.ConnectionCls, Connection):
            self.kept.clear()
        connection = super()._get_conn()
        if isinstance(connection, Connection):
            connection.lend(timeout)
        return connection


class _TlsPool(_Pool, HTTPSConnectionPool):
    def _validate_conn(self, conn: Any) -> None:
        # As urllib3, but for its warning: who sets `verify_ssl=False` knows.
        if conn.is_closed:
            conn.connect()


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
        self._response: BaseHTTPResponse | None = None
        self._streaming = False

    def run(
        self, route_to: Callable[[str, Deadline], _Route], max_bytes: int | None
    ) -> RawResponse | _Exchange:
        """Send the request once; see `Transport.send`.

        route_to: finds the route for a host; max_bytes: the largest body; None: any.
        """
        started = monotonic()
        try:
            try:
                response = self._respond(route_to(self._request.host, self._deadline))
                encoding = self._encoding(response)
                if self._request.stream and is_event_stream(self.status, self.headers):
                    at_once = PIECE if encoding else CHUNK
                    self._pieces = _pieces(response, ContentDecoder(encoding), at_once)
                    self._socket = response.socket if isinstance(response, Response) else None
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

    @shielded
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

    def _respond(self, route: _Route) -> BaseHTTPResponse:
        """Send the request, and receive the head of the response."""
        request, deadline = self._request, self._deadline
        query = f"?{request.query}" if request.query else ""
        target = f"{route.prefix}{request.path}{query}"
        fields = wire_headers(request)
        check_head(target, fields)
        response = self._response = route.pool.urlopen(
            request.method,
            target,
            body=request.body,
            headers=fields,
            retries=NO_RETRIES,
            redirect=False,
            assert_same_host=False,
            timeout=deadline,
            pool_timeout=cast(Any, deadline),
            preload_content=False,
            decode_content=False,
        )
        self.status, self.reason = response.status, response.reason or ""
        if isinstance(response, Response):
            self.headers = response.raw.fields
        else:  # a tool has made it
            self.headers = Headers(response.headers.items())
        return response

    def _encoding(self, response: BaseHTTPResponse) -> str:
        """Return the codings to undo: a response that a tool has made undoes its own."""
        ours = isinstance(response, Response)
        return self.headers.get("Content-Encoding", "") if ours else ""

    def _give_back(self, response: BaseHTTPResponse) -> None:
        if isinstance(response, Response):
            response.raw.close()
        response.release_conn()

    def _give_up(self) -> None:
        if self._response is not None:
            with contextlib.suppress(AttributeError):  # a thread that reads closes it right now
                self._response.close()

    def _translated(self, error: Exception, late: str = "") -> ApiConnectionError:
        """Return our error for the library's; late: the message for one that took too long."""
        chain, deadline = list(chain_of(error)), self._deadline
        for inner in chain:
            if isinstance(inner, PoolError):  # as in its pickle: a pool has the proxy's credentials
                inner.pool = cast(Any, None)
        reason = timeout_reason(
            self._request, sent=deadline.sent, over=deadline.over, doing=deadline.doing
        )
        return connection_error(
            chain,
            self._request,
            _described(chain[-1]),
            sent=deadline.sent,
            late=late or reason,
            tls=(SSLError, ssl.SSLError, CertificateError),
        )


def _described(error: BaseException) -> str:
    """Return what an error says, without what the server sent."""
    no_http = isinstance(error, (http.client.BadStatusLine, http.client.UnknownProtocol))
    if no_http and not isinstance(error, http.client.RemoteDisconnected):
        return NO_HTTP
    if isinstance(error, http.client.IncompleteRead):
        return "the server closed it before the end of the answer"
    return getattr(error, "strerror", None) or str(error)


def _pieces(
    response: BaseHTTPResponse, decoder: ContentDecoder, at_once: int | None
) -> Iterator[bytes]:
    """Yield the body as it comes, decoded; a length that was told must be true.

    at_once: bytes to read at most; None: all of it is wanted.
    """
    if isinstance(response, Response) and not response.tell():
        pieces = _raw_pieces(response.raw, at_once)
    elif response.tell():  # a tool has read it
        pieces = iter([response.data])
    else:  # a tool has made it
        pieces = iter(partial(response.read, at_once or CHUNK, decode_content=True), b"")
    for piece in pieces:
        yield decoder.feed(piece)
    decoder.end()


def _raw_pieces(response: http.client.HTTPResponse, at_once: int | None) -> Iterator[bytes]:
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
        yield data
