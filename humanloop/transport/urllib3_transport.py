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

import contextlib
import http.client
import io
import math
import os
import re
import socket
import ssl
from collections.abc import Iterator, Mapping
from contextvars import ContextVar
from time import monotonic
from typing import TYPE_CHECKING, Any, NamedTuple, cast

import urllib3
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.exceptions import HTTPError, SSLError
from urllib3.util import parse_url
from urllib3.util.ssl_match_hostname import CertificateError

from humanloop.exceptions import ApiConnectionError
from humanloop.http import Headers
from humanloop.transport import RawResponse, Request, is_event_stream
from humanloop.transport.common import (
    CLOSED,
    chain_of,
    check_length,
    connection_error,
    proxy_of,
    tls_context,
)
from humanloop.transport.content import PIECE, ContentDecoder, ContentError, ContentTooLargeError

if TYPE_CHECKING:
    from humanloop.configuration import Configuration

__all__ = ["Urllib3Transport"]

SLICE = 16_384
"""Bytes per write: the largest TLS record, so that no single write outlives the deadline unseen."""

CHUNK = 65_536
"""Bytes per read of a body whose length nobody told."""

_TICK = 0.005  # seconds by which a clock and a timeout may differ
_FOLD = re.compile(r"\r?\n[ \t]+")  # RFC 9112 section 5.2


class _Deadline:
    """When an exchange must have ended, and how long connecting and each read may take.

    sent: whether a part of the request may have left. In seconds; None: no limit.
    """

    def __init__(self, total: float | None, connect: float | None, read: float | None) -> None:
        self.connect = connect
        self.read = read
        self.sent = False
        self._connecting: float | None = None  # until when
        self._said = "complete answer"
        self._start(total)

    def _start(self, total: float | None) -> None:
        self.total = total
        self._end = None if total is None else monotonic() + total

    @property
    def connecting(self) -> bool:
        """Whether the connection is being made, as which a proxy's answer to CONNECT counts."""
        return self._connecting is not None

    def begin_to_connect(self) -> None:
        """From now on, connecting has its own limit."""
        self._connecting = math.inf if self.connect is None else monotonic() + self.connect

    def connected(self) -> None:
        """That limit is over."""
        self._connecting = None

    def wait_for_more(self, seconds: float | None) -> None:
        """From now on, be the limit of one read of a stream."""
        self._said = "more of the answer"
        self.read = None
        self._start(seconds)

    def remaining(self, at_most: float | None = None) -> float | None:
        """Seconds left, raising TimeoutError when there are none."""
        end = math.inf if self._end is None else self._end
        if self._connecting is not None:
            end = min(end, self._connecting)
        if end == math.inf:
            return at_most
        left = end - monotonic()
        if left <= 0:
            raise TimeoutError("the deadline has passed")
        return left if at_most is None else min(left, at_most)

    def exceeded(self) -> str:
        """What to say of an exchange that took too long."""
        if self.connecting:
            limits = [limit for limit in (self.total, self.connect) if limit]
            return f"no connection within {min(limits):.3g} seconds" if limits else "no connection"
        over = self._end is not None and monotonic() >= self._end - _TICK
        if over or self.read is None:
            return f"no {self._said} within {self.total or 0:.3g} seconds"
        return f"nothing came for {self.read:.3g} seconds"


ERRORS = (HTTPError, OSError, http.client.HTTPException, CertificateError, ContentError)
"""Whatever an exchange may raise that is not ours."""

# urllib3 hands nothing of ours down to its connections: they find the exchange of this thread here.
_deadline: ContextVar[_Deadline] = ContextVar("deadline")


class _TimedReader(io.RawIOBase):
    """A socket's bytes, each read with what is left of the deadline."""

    def __init__(self, sock: socket.socket) -> None:
        self.socket = sock
        self._raw = sock.makefile("rb", buffering=0)
        self._deadline = _deadline.get()

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any, /) -> int | None:
        self.socket.settimeout(self._deadline.remaining(self._deadline.read))
        return self._raw.readinto(buffer)

    def close(self) -> None:
        self._raw.close()
        super().close()


class _HeadReader(io.BufferedReader):
    """Keeps the last line that was read: http.client takes any end for that of a head."""

    line = b""

    def readline(self, size: int | None = -1, /) -> bytes:
        self.line = super().readline(size)
        return self.line


class _TimedSocket:
    """As much of a socket as a response asks for."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock

    def makefile(self, mode: str) -> io.BufferedReader:
        return _HeadReader(_TimedReader(self._sock))


class _TimedResponse(http.client.HTTPResponse):
    def __init__(self, sock: socket.socket, *args: Any, **options: Any) -> None:
        super().__init__(cast("socket.socket", _TimedSocket(sock)), *args, **options)

    def begin(self) -> None:
        reader = cast(_HeadReader, self.fp)
        super().begin()
        if reader.line not in (b"\r\n", b"\n"):
            raise http.client.IncompleteRead(b"")


class _TimedConnection(HTTPConnection):
    response_class = _TimedResponse
    sock: socket.socket | None

    def connect(self) -> None:
        deadline = _deadline.get()
        deadline.begin_to_connect()
        self.timeout = deadline.remaining()
        super().connect()
        deadline.connected()

    def _new_conn(self) -> socket.socket:
        sock = super()._new_conn()
        sock.settimeout(_deadline.get().remaining())  # for TLS, which comes next
        return sock

    def send(self, data: Any) -> None:
        if self.sock is None:
            self.connect()
        assert self.sock is not None
        for start in range(0, len(data), SLICE):
            deadline = _deadline.get()
            self.sock.settimeout(deadline.remaining())
            deadline.sent = not deadline.connecting  # that may be a proxy's CONNECT
            super().send(memoryview(data)[start : start + SLICE])


class _TimedTlsConnection(_TimedConnection, HTTPSConnection):
    pass


class _Pool(HTTPConnectionPool):
    # The protocol that urllib3 declares for this does not fit its own classes in pyright's eyes.
    ConnectionCls = _TimedConnection  # pyright: ignore[reportAssignmentType]

    def exchange(
        self,
        request: Request,
        target: str,
        headers: Mapping[str, str],
        *,
        tunnel: bool,
        limit: int | None,
    ) -> RawResponse | _Stream:
        """Send a request once, and read the answer to its end unless a stream is wanted.

        `urlopen` would, too; what it prepares for retries, redirects and streams takes its time.
        """
        started = monotonic()
        connection = self._get_conn()
        response: http.client.HTTPResponse | None = None
        try:
            if tunnel and connection.is_closed:
                self._prepare_proxy(connection)
            if connection.is_closed:
                connection.connect()
            try:
                connection.request(request.method, target, request.body, headers)
            except OSError as error:  # a server may answer, and close, before it has read all
                if error.errno not in CLOSED:
                    raise
            plain = cast(http.client.HTTPConnection, connection)
            response = http.client.HTTPConnection.getresponse(plain)
            received = Headers((k, _FOLD.sub(" ", v)) for k, v in response.getheaders())
            check_length(received)
            decoder = ContentDecoder(received.get("Content-Encoding", ""), limit)
            if request.stream and is_event_stream(response.status, received):
                decoder = ContentDecoder(received.get("Content-Encoding", ""))
                opened = _Opened(self, connection, response, decoder, _deadline.get())
                return _Stream(request, opened, received, monotonic() - started)
            data = b"".join(_pieces(response, decoder, limit))
        except BaseException:
            if response is not None:  # it holds the socket, too
                response.close()
            connection.close()
            self._put_conn(connection)
            raise
        response.close()
        self._put_conn(connection)
        return RawResponse(response.status, response.reason, received, data, monotonic() - started)

    def give_back(self, connection: Any, *, usable: bool) -> None:
        """Take back the connection of a stream."""
        if not usable:
            connection.close()
        self._put_conn(connection)


class _Opened(NamedTuple):
    """What a stream reads by."""

    pool: _Pool
    connection: Any
    response: http.client.HTTPResponse
    decoder: ContentDecoder
    deadline: _Deadline


class _Stream:
    """The answer to a request for a stream; a RawStream."""

    def __init__(self, request: Request, opened: _Opened, headers: Headers, elapsed: float) -> None:
        self.status = opened.response.status
        self.reason = opened.response.reason
        self.headers = headers
        self.elapsed = elapsed
        self._request = request
        self._opened = opened
        at_once = PIECE if headers.get("Content-Encoding") else CHUNK
        self._pieces = _pieces(opened.response, opened.decoder, None, at_once)
        self._socket = _socket_of(opened.response)
        self._open = True

    def read(self, timeout: float | None) -> bytes:
        """The next bytes; see `RawStream`."""
        self._opened.deadline.wait_for_more(timeout)
        try:
            data = next(filter(None, self._pieces), b"")
        except Exception as error:
            if self._open and not isinstance(error, ERRORS):
                raise
            self.close()  # or somebody else has closed it, which http.client does not expect
            raise _translated(error, self._request, self._opened.deadline) from error
        if not data:
            self._give_back(usable=True)
        return data

    def close(self) -> None:
        """Give up what is left; see `RawStream`."""
        if self._open and self._socket is not None:
            with contextlib.suppress(OSError):  # it has been shut down already
                # A thread that reads holds a lock, and wakes by this. (TLS has its own method.)
                socket.socket.shutdown(self._socket, socket.SHUT_RDWR)
        self._give_back(usable=False)

    def _give_back(self, *, usable: bool) -> None:
        if self._open:
            self._open = False
            with contextlib.suppress(AttributeError):  # whoever reads closes it at this moment
                self._opened.response.close()
            self._opened.pool.give_back(self._opened.connection, usable=usable)


def _socket_of(response: http.client.HTTPResponse) -> socket.socket | None:
    """What a response is read from; None when it has been read."""
    reader = cast("_HeadReader | None", response.fp)
    return None if reader is None else cast(_TimedReader, reader.raw).socket


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

    def send(self, request: Request) -> RawResponse | _Stream:
        """Send a request once; see `Transport`."""
        deadline = _Deadline(request.timeout, request.connect_timeout, request.read_timeout)
        token = _deadline.set(deadline)
        try:
            route = self._route
            if route is None or (route.process, route.host) != (os.getpid(), request.host):
                route = self._route = self._new_route(request.host)
            query = f"?{request.query}" if request.query else ""
            return route.pool.exchange(
                request,
                f"{route.prefix}{request.path}{query}",
                {**dict(request.headers.items()), **route.headers},
                tunnel=route.tunnel,
                limit=self._configuration.max_response_bytes,
            )
        except ERRORS as error:
            raise _translated(error, request, deadline) from error
        finally:
            _deadline.reset(token)

    def close(self) -> None:
        """Close what is kept alive; see `Transport`."""
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
            options["ssl_context"] = tls_context(configuration)
            options["assert_hostname"] = configuration.assert_hostname
        manager = (
            _proxy_manager(configuration, options)
            if configuration.proxy
            else urllib3.PoolManager(**options)
        )
        manager.pool_classes_by_scheme = dict[str, Any](http=_Pool, https=_TlsPool)
        return manager


def _pieces(
    response: http.client.HTTPResponse,
    decoder: ContentDecoder,
    limit: int | None,
    at_once: int = CHUNK,
) -> Iterator[bytes]:
    """The body as it comes, decompressed; a length that was told must be true."""
    left = response.length
    if left is not None and limit is not None and left > limit:
        raise ContentTooLargeError(f"the body is over {limit:,} bytes")
    while left is None or left > 0:
        # With a length, and where all of it is wanted, one read gets it.
        data = response.read(left) if left and limit is not None else response.read1(at_once)
        if not data:
            if left:
                raise http.client.IncompleteRead(b"", left)
            break
        if left is not None:
            left -= len(data)
        yield decoder.feed(data)
    decoder.end()


def _proxy_manager(configuration: Configuration, options: dict[str, Any]) -> urllib3.ProxyManager:
    url, headers = proxy_of(configuration)
    if url.startswith("https:"):
        options["proxy_ssl_context"] = tls_context(configuration)
    return urllib3.ProxyManager(url, proxy_headers=headers, **options)


def _translated(error: Exception, request: Request, deadline: _Deadline) -> ApiConnectionError:
    """Our error for the library's."""
    chain = list(chain_of(error))
    said = getattr(chain[-1], "strerror", None) or str(chain[-1]) or type(chain[-1]).__name__
    return connection_error(
        chain,
        request,
        said,
        sent=deadline.sent,
        late=deadline.exceeded(),
        tls=(SSLError, ssl.SSLError, CertificateError),
    )
