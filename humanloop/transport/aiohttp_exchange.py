"""One request on a session of aiohttp: sent once over a connection, and its response read.

aiohttp makes the connections, secures and keeps them, and parses responses. `Connector` decides
which connection is used; `Exchange` writes a request to it, and limits how long all that may take.

The session's own `request` would send as well. It does much more than is needed here, for each
request anew, and takes as long as all else together. So it is used only where somebody watches:
tracers add a TraceConfig to each session, and tools for tests replace the method.

Invariants: one deadline (asyncio.timeout) holds from the wait for a slot to the last byte, for a
server that sends or reads slowly as for one that is silent. A connection that is given up, by a
deadline, an error or a cancellation, is aborted at once and never used again. Nothing is sent
twice. Every error is an `ApiConnectionError`; cancellation passes through as it is.
"""

from __future__ import annotations

import asyncio
import contextlib
import io
import os
import re
import socket
import ssl
import sys
import weakref
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from functools import partial
from time import monotonic
from types import FunctionType
from typing import TYPE_CHECKING, Any, NamedTuple, cast

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.client_proto import ResponseHandler
from aiohttp.http import HttpProcessingError, StreamWriter
from multidict import CIMultiDict, CIMultiDictProxy
from urllib3.util.wait import wait_for_read
from yarl import URL

if sys.version_info >= (3, 11):
    from asyncio import timeout as time_limit
else:  # what aiohttp itself uses there
    from async_timeout import timeout as time_limit

from humanloop.exceptions import ApiConnectionError, ClientConfigurationError
from humanloop.http import Headers, RawResponse, Request, is_event_stream
from humanloop.lazy import cached_property
from humanloop.transport.common import (
    IDLE,
    NO_HTTP,
    TICK,
    SharedContext,
    chain_of,
    check_length,
    check_size,
    check_status,
    connecting_to,
    connection_error,
    has_length,
    in_thread,
    timeout_reason,
    wire_headers,
)
from humanloop.transport.content import PIECE, ContentDecoder, ContentError

if TYPE_CHECKING:
    from aiohttp.connector import Connection
    from aiohttp.tracing import Trace

__all__ = ["LINE", "Connector", "Exchange", "Route", "SentRequest", "Target"]

LARGE = 1 << 20
"""Bytes from which a body is sent piece by piece."""

SLICE = 1 << 16
"""Bytes of such a piece."""

LINE = 65_536
"""Bytes that a line of a response's head may have, as in http.client."""

ERRORS = (
    *(aiohttp.ClientError, HttpProcessingError, OSError, asyncio.TimeoutError),
    *(ContentError, ValueError),
)
"""Whatever an exchange by aiohttp's session may raise that is not ours."""

NO_LIMIT = aiohttp.ClientTimeout()
"""Leaves all limits to the exchange."""

EXCHANGE: ContextVar[weakref.ref[Exchange]] = ContextVar("humanloop_exchange")
"""The one for which a connection is being made: the connector's own methods don't hand it on.

Weak, since a loop keeps the context in which it began to read from a socket.
"""

_TARGET = re.compile(r"[\x21-\x7e]+")  # RFC 9112 section 3.2
_HEAD_END = re.compile(rb"\n\r?\n")
_INTERIM = re.compile(rb"HTTP/1\.[01] 1(?!01)")
_LENGTH = re.compile(rb"\r?\ncontent-length:([^\r\n]*)", re.IGNORECASE)
_CHUNKED = re.compile(rb"\ntransfer-encoding:[ \t]*chunked", re.IGNORECASE)
_QUOTE = re.compile(r":?\s+b?['\"]")


class Route(NamedTuple):
    """How to reach a base URL.

    prefix: scheme, host and path; headers: those for a proxy that forwards; options: arguments of
    `aiohttp.ClientRequest`, for the connection; context: how to secure that, if it is wanted.
    """

    host: str
    prefix: str
    headers: Mapping[str, str]
    options: Mapping[str, Any]
    context: SharedContext | None


class SentRequest(aiohttp.ClientRequest):
    """aiohttp's request, which tells the connector of which exchange it is a part."""

    exchange: Exchange | None = None


class Target(SentRequest):
    """The same for all exchanges on a route: where they connect to. It is never sent itself.

    prefix: what the path follows in the request line.
    """

    prefix: str

    @staticmethod
    async def of(route: Route) -> Target:
        """Return the target that a route leads to, as soon as its certificates are loaded."""
        options = await _options(route)
        if "proxy" in options:
            options["proxy"] = URL(options["proxy"])
        loop = asyncio.get_running_loop()
        target = Target("GET", URL(route.prefix, encoded=True), loop=loop, **options)
        forwarded = target.proxy is not None and not target.is_ssl()
        target.prefix = route.prefix if forwarded else target.url.raw_path.rstrip("/")
        return target

    @cached_property
    def connection_key(self) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Which connections can be used: read once, since connecting changes `proxy_headers`."""
        return super().connection_key


async def _options(route: Route) -> dict[str, Any]:
    options = dict(route.options)
    if "proxy_headers" in options:
        options["proxy_headers"] = options["proxy_headers"].reveal()
    if route.context is not None:
        made = route.context.get()
        options["ssl"] = made.result() if made.done() else await asyncio.wrap_future(made)
    return options


class Handler(ResponseHandler):
    """aiohttp's protocol of a connection. It takes whatever lengths http.client takes as well.

    at_start: whether a response is to begin. Its head is held back until all of it has come.
    """

    at_start = True
    _held: bytes = b""

    def data_received(self, data: bytes) -> None:
        """Take what has come, as aiohttp's."""
        while self.at_start and data:
            data = self._held + data
            end = data.find(b"\r\n\r\n") + 4
            if end < 4 and (bare := _HEAD_END.search(data)):
                end = bare.end()
            if end < 4 and len(data) < LINE and data[:5] == b"HTTP/"[: len(data)]:
                self._held = data
                self.start_timeout()
                return
            self._held = b""
            if _INTERIM.match(data) and end >= 4:
                super().data_received(data[:end])
                self.start_timeout()  # aiohttp has ended it, as after a response
                data = data[end:]
            else:
                self.at_start = False
                data = _with_one_length(data, end)
        if data:
            super().data_received(data)

    def connection_lost(self, exc: BaseException | None) -> None:
        """Take leave, as aiohttp's."""
        if self.transport is not None:
            # Before Python 3.11, that of TLS warns unless it was closed, also after the server did.
            self.transport.close()
        super().connection_lost(exc)


def _with_one_length(data: bytes, end: int) -> bytes:
    """Tell the length of a body once, in a head that goes to `end`.

    RFC 9110 section 8.6: it may be told several times, if always alike. RFC 9112 section 6.3: it is
    not that of chunks. aiohttp's parser refuses both.
    """
    lengths = _LENGTH.findall(data, 0, end)
    if not lengths:
        return data
    head, length = data[: end - 2], b""
    if not _CHUNKED.search(head):
        values = {value.strip() for value in b",".join(lengths).split(b",")}
        if len(values) > 1 or (len(lengths) == 1 and b"," not in lengths[0]):
            return data
        length = b"\r\nContent-Length: " + values.pop()
    lines = _LENGTH.sub(b"", head).rstrip(b"\r\n")
    return lines + length + b"\r\n\r\n" + data[end:]


class Resolver(AbstractResolver):
    """Looks up the names of hosts, each in a thread of its own.

    A lookup can't be interrupted. One that takes too long is left alone, and keeps no other one
    waiting: neither for this resolver, nor in the loop's executor, which others use as well.
    """

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """Return the addresses of a host, as `aiohttp.abc.AbstractResolver.resolve`."""
        found = await asyncio.wrap_future(
            in_thread(
                "humanloop-lookup",
                socket.getaddrinfo,
                *(host, port, family, socket.SOCK_STREAM, 0, socket.AI_ADDRCONFIG),
            )
        )
        flags = socket.AI_NUMERICHOST | socket.AI_NUMERICSERV
        return [
            ResolveResult(
                hostname=host,
                host=str(address[0]),
                port=int(address[1]),
                family=kind,
                proto=protocol,
                flags=flags,
            )
            for kind, _, protocol, _, address in found
        ]

    async def close(self) -> None:
        """Do nothing: there is nothing to wait for."""


class Connector(aiohttp.TCPConnector):
    """Lends each exchange a new connection, or a kept one on which nothing is left to read.

    running, streams: the exchanges under way; slots: one for each of both at a time.
    """

    def __init__(self, slots: int, new_socket: Callable[[Any], socket.socket]) -> None:
        def watched_socket(address: Any) -> socket.socket:
            sock = new_socket(address)
            exchange = EXCHANGE.get()()
            if exchange is not None:
                exchange.sockets.append(sock)
                exchange.first = exchange.first or address[4]
                exchange.doing = connecting_to(exchange.first, len(exchange.sockets))
            return sock

        # The slots are the limit.
        super().__init__(  # pyright: ignore[reportUnknownMemberType]  # aiohttp's own
            limit=0, keepalive_timeout=IDLE, resolver=Resolver(), socket_factory=watched_socket
        )
        # Private to aiohttp. Under another name, such heads would be refused, and no more.
        self._factory = cast(Any, partial(Handler, loop=self._loop))
        self.running: set[Exchange] = set()
        self.streams: weakref.WeakSet[Exchange] = weakref.WeakSet()
        self.slots = asyncio.Semaphore(slots)
        self._target: tuple[Route, Target] | None = None

    async def target_of(self, route: Route) -> Target:
        """Return the target that a route leads to, made when the route is first used."""
        if self._target is None or self._target[0] is not route:
            self._target = route, await Target.of(route)
        return self._target[1]

    async def lend(
        self, exchange: Exchange, request: aiohttp.ClientRequest, traces: list[Trace] | None = None
    ) -> Connection:
        """Return a connection for an exchange."""
        token = EXCHANGE.set(weakref.ref(exchange))
        try:
            while True:
                exchange.new = False
                connection = await super().connect(request, traces or [], NO_LIMIT)
                protocol, transport = connection.protocol, connection.transport
                assert protocol is not None
                assert transport is not None
                if exchange.new or not _is_stale(protocol, transport):
                    cast(Handler, protocol).at_start = True
                    exchange.transport = transport
                    exchange.sockets.clear()
                    return connection
                transport.abort()
                connection.close()  # and take the next one
        finally:
            EXCHANGE.reset(token)

    async def connect(
        self, req: aiohttp.ClientRequest, traces: list[Trace], timeout: aiohttp.ClientTimeout
    ) -> Connection:
        """Return a connection for a request of a session, as `aiohttp.BaseConnector.connect`."""
        exchange = cast(SentRequest, req).exchange
        assert exchange is not None
        return await self.lend(exchange, req, traces)

    async def _create_connection(
        self, req: aiohttp.ClientRequest, traces: list[Trace], timeout: aiohttp.ClientTimeout
    ) -> ResponseHandler:
        # What kinds of connectors differ in. It has no public name; but only here is it known that
        # there is no kept connection, and that the time for connecting begins.
        exchange = EXCHANGE.get()()
        assert exchange is not None
        exchange.new = True
        exchange.doing = "looking up the host"
        async with time_limit(exchange.request.connect_timeout):
            return await super()._create_connection(req, traces, timeout)


class Exchange:
    """A request under way, and its response; as soon as that is a stream, an AsyncRawStream.

    owner: kept alive until the end; transport: of the connection over which the request leaves;
    new: whether that has just been made; sockets: those that try to connect; first: the address of
    the first one; doing: for messages;
    task: what runs the exchange, until the response is complete or a stream.
    """

    status: int
    reason: str
    headers: Headers
    elapsed: float
    new = False
    first: Any = None
    doing = "waiting for a free connection"
    transport: asyncio.Transport | None = None
    _connection: Connection | None = None
    _response: aiohttp.ClientResponse | None = None
    _content: aiohttp.StreamReader | None = None
    _failed: Exception | None = None
    _client_closed = False
    _streaming = False
    _watched = False
    _has_slot = False
    _tunnel = False

    def __init__(self, request: Request, http: aiohttp.ClientSession, owner: object) -> None:
        self.request = request
        self.sockets: list[socket.socket] = []
        self._loop = asyncio.get_running_loop()
        self.task = asyncio.current_task(self._loop)
        self._http = http
        self._connector = cast(Connector, http.connector)
        self._owner = owner
        self._started = monotonic()

    async def run(
        self, route_to: Callable[[str], Route], max_bytes: int | None
    ) -> RawResponse | Exchange:
        """Send the request once; see `AsyncTransport.send`.

        route_to: finds the route for a host; max_bytes: the largest body; None: any.
        """
        connector = self._connector
        connector.running.add(self)
        try:
            async with time_limit(self.request.timeout):
                await connector.slots.acquire()
                self._has_slot = True
                self._content = await self._respond(route_to(self.request.host))
                self.doing = "reading the rest of the answer"
                if self.request.stream and is_event_stream(self.status, self.headers):
                    self._begin_to_stream(self._content)
                    self.elapsed = monotonic() - self._started
                    return self
                data = await _Body.whole(self._content, self.headers, max_bytes)
                elapsed = monotonic() - self._started
                return RawResponse(self.status, self.reason, self.headers, data, elapsed)
        except ClientConfigurationError:
            self._give_up()
            raise
        except Exception as error:
            if self._watched and not isinstance(error, ERRORS):  # of a tool for tests
                self._give_up()
                raise
            raise self._translated(error) from error
        except asyncio.CancelledError as error:
            if not self._client_closed or self._cancelled_again():
                self._give_up()
                raise
            raise self._translated(error) from error
        finally:
            self.task = None
            connector.running.discard(self)
            if not self._streaming:
                self._return_slot()

    async def read(self, timeout: float | None) -> bytes:
        """Return the next bytes of a stream; see `AsyncRawStream`."""
        try:
            async with time_limit(timeout):
                if not self._streaming:
                    return b""
                if self._client_closed:
                    raise ConnectionAbortedError
                data = await self._body.read()
                if not data:
                    self.close()
                return data
        except Exception as error:
            late = f"no more of the answer within {timeout or 0:.3g} seconds"
            translated = self._translated(error, late)
            self.close()
            raise translated from error

    def close(self) -> None:
        """Give up what is left of a stream; see `AsyncRawStream`."""
        if self._streaming:
            self._streaming = False
            self._give_up()
            self._return_slot()

    def __del__(self) -> None:
        if self._streaming:
            with contextlib.suppress(RuntimeError):  # the loop is closed
                self._loop.call_soon_threadsafe(self.close)  # this may be any thread

    def cut_off(self) -> None:
        """End the exchange since the client is being closed, from another task."""
        self._client_closed = True
        if self.task is not None:
            self.task.cancel()
        elif self._streaming:
            self._give_up()  # which wakes the reader

    async def _respond(self, route: Route) -> aiohttp.StreamReader:
        """Send the request, receive the head of the response, and return its body."""
        if route.context is not None:
            self.doing = "loading the TLS certificates"
            self._tunnel = "proxy_headers" in route.options
        self._watched = _is_watched(self._http)
        if self._watched:
            return await self._respond_by_session(route)
        target = await self._connector.target_of(route)
        connection = self._connection = await self._connector.lend(self, target)
        protocol = connection.protocol
        assert protocol is not None
        protocol.set_response_params(
            skip_payload=self.request.method == "HEAD",
            read_until_eof=True,
            auto_decompress=False,
            read_timeout=self.request.read_timeout,
            max_line_size=LINE,
            max_field_size=LINE,
        )
        loan = _Loan(connection, protocol)
        loan.send(_head(self.request, target, route.headers), self.request.body or b"")
        self.doing = "waiting for the answer"
        while True:
            message, content = await protocol.read()
            if not 100 <= message.code <= 199 or message.code == 101:
                break
        self._take_head(message.code, message.reason, message.raw_headers)
        content.on_eof(loan.end)
        return content

    async def _respond_by_session(self, route: Route) -> aiohttp.StreamReader:
        """Do as `_respond`, by aiohttp's session, which tells those who watch it."""
        request, body = self.request, self.request.body
        response = self._response = await self._http.request(
            request.method,
            URL(f"{route.prefix}{_path(request)}", encoded=True),
            data=body if body is None or len(body) <= LARGE else io.BytesIO(body),
            headers={**wire_headers(request), **route.headers},
            allow_redirects=False,
            middlewares=(self._send_once,),
            timeout=aiohttp.ClientTimeout(sock_read=request.read_timeout),
            **await _options(route),
        )
        self._take_head(response.status, response.reason, response.raw_headers)
        return response.content

    async def _send_once(
        self, request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType
    ) -> aiohttp.ClientResponse:
        """Do what a middleware of aiohttp may do, around sending and the head of the response."""
        if self._failed is not None:  # aiohttp sends again what it takes for safe to repeat
            raise self._failed
        cast(SentRequest, request).exchange = self
        if not has_length(self.request):
            request.headers.pop("Content-Length", None)  # which aiohttp adds to those of DELETE
        try:
            return await handler(request)
        except Exception as error:
            self._failed = error
            raise

    def _take_head(
        self, status: int, reason: str | None, headers: tuple[tuple[bytes, bytes], ...]
    ) -> None:
        check_status(status)
        self.status = status
        self.reason = (reason or "").encode("utf-8", "surrogateescape").decode("latin-1")
        self.headers = Headers()
        for name, value in headers:
            self.headers.add(name.decode("latin-1"), value.decode("latin-1"))
        check_length(self.headers)

    def _begin_to_stream(self, content: aiohttp.StreamReader) -> None:
        self._body = _Body(content, self.headers, None)
        self._streaming = True
        self._connector.streams.add(self)
        connection = self._response.connection if self._response else self._connection
        if connection is not None and connection.protocol is not None:
            # End aiohttp's limit for a read: each read of a stream has its own.
            connection.protocol.read_timeout = None
            connection.protocol.start_timeout()

    def _give_up(self) -> None:
        """End the response, and abort its connection, unless all of it has come.

        Then aiohttp has the connection back, and has perhaps lent it again; before, aiohttp closes
        it, and waits for the server to read what is unsent, and to take leave by TLS.
        """
        content = self._content
        complete = content is not None and content.is_eof()
        if content is not None and not complete and content.exception() is None:
            content.set_exception(aiohttp.ClientConnectionError("Connection closed"))
        if self._response is not None:
            self._response.close()
        if self._connection is not None:
            self._connection.close()
        if self.transport is not None and not complete and not self._loop.is_closed():
            self.transport.abort()
        # They hold the error.
        self._content = self._response = self._connection = self._failed = None

    def _return_slot(self) -> None:
        if self._has_slot:
            self._has_slot = False
            self._connector.slots.release()

    def _cancelled_again(self) -> bool:
        """Take back the cancellation by `cut_off`; before Python 3.11, no other one is known of."""
        if sys.version_info >= (3, 11):
            return self.task is not None and self.task.uncancel() > 0
        return False

    def _translated(self, error: BaseException, late: str = "") -> ApiConnectionError:
        """Give up, and return our error for the library's.

        late: the message for one that took too long.
        """
        chain = list(chain_of(error))
        _forget_secrets(chain)
        sent = self.transport is not None
        limit = self.request.timeout
        over = limit is not None and monotonic() - self._started >= limit - TICK
        doing = self._doing()
        self._give_up()
        return connection_error(
            chain,
            self.request,
            _described(chain[-1]),
            sent=sent,
            late=late or timeout_reason(self.request, sent=sent, over=over, doing=doing),
            timeout=(TimeoutError, asyncio.TimeoutError),
            client_closed=self._client_closed,
        )

    def _doing(self) -> str:
        """Return what took so long."""
        if self.transport is None:
            if not any(map(_is_connected, self.sockets)):
                return self.doing
            if self._tunnel:
                return "waiting for the proxy's tunnel"
            return "securing the connection by TLS"
        return "sending the request" if _has_unsent(self.transport) else self.doing


class _Loan:
    """A connection that is lent for one response. It knows no exchange, so that one may be dropped.

    writer: what sends the rest of a large body.
    """

    writer: asyncio.Task[None] | None = None

    def __init__(self, connection: Connection, protocol: ResponseHandler) -> None:
        self._connection = connection
        self._protocol = protocol

    def send(self, head: bytes, body: bytes) -> None:
        """Send a request: at once, or in the background if it is large."""
        transport = self._connection.transport
        assert transport is not None
        if len(body) <= LARGE:
            transport.write(head + body)
            self._protocol.start_timeout()
        else:
            transport.write(head)
            self.writer = asyncio.get_running_loop().create_task(self._send_slowly(body))

    async def _send_slowly(self, body: bytes) -> None:
        writer = StreamWriter(self._protocol, asyncio.get_running_loop())
        # A connection that is lost is reported to who waits for the response.
        with contextlib.suppress(OSError, aiohttp.ClientError):
            for start in range(0, len(body), SLICE):
                await writer.write(memoryview(body)[start : start + SLICE])
            self._protocol.start_timeout()

    def end(self) -> None:
        """Give the connection back, since all of the response has come.

        If some of the request is still unsent, abort it. Closed, as aiohttp does, it would stay
        open until the server has read the rest.
        """
        transport = self._connection.transport
        unsent = self.writer is not None and not self.writer.done()
        if self.writer is not None:
            self.writer.cancel()
        if transport is not None and (unsent or _has_unsent(transport)):
            transport.abort()
        self._connection.release()


class _Body:
    """The body of a response, decoded; max_bytes: the most that it may have; None: any."""

    def __init__(
        self, content: aiohttp.StreamReader, headers: Headers, max_bytes: int | None
    ) -> None:
        encoding = headers.get("Content-Encoding", "")
        check_size(headers, max_bytes)
        self._content = content
        self._decoder = ContentDecoder(encoding, max_bytes)
        self._piece = PIECE if encoding else sys.maxsize
        self._undecoded = b""

    @staticmethod
    async def whole(
        content: aiohttp.StreamReader, headers: Headers, max_bytes: int | None
    ) -> bytes:
        """Return a body; max_bytes: the most that it may have; None: any."""
        if content.is_eof() and content.exception() is None and "Content-Encoding" not in headers:
            data = content.read_nowait()  # mostly, it has come with the head
            if max_bytes is None or len(data) <= max_bytes:
                return data
            return ContentDecoder("", max_bytes).feed(data)  # which refuses it
        return await _Body(content, headers, max_bytes).read_all()

    async def read_all(self) -> bytes:
        """Return all that is left."""
        pieces: list[bytes] = []
        while piece := await self.read():
            pieces.append(piece)
        return b"".join(pieces)

    async def read(self) -> bytes:
        """Return the next bytes; empty at the end."""
        while True:
            while self._undecoded:
                piece = self._undecoded[: self._piece]
                self._undecoded = self._undecoded[self._piece :]
                if data := self._decoder.feed(piece):
                    return data
            self._undecoded = await self._received()
            if not self._undecoded:
                self._decoder.end()
                return b""

    async def _received(self) -> bytes:
        """Return the next bytes as they came, also when the body is known to break off later."""
        error = self._content.exception()
        if error is None:
            return await self._content.readany()
        # As long as aiohttp knows of an error, it keeps back what came before that.
        self._content.set_exception(cast(BaseException, None))
        rest = self._content.read_nowait()
        self._content.set_exception(error)
        if not rest:
            raise error
        return rest


def _is_watched(http: aiohttp.ClientSession) -> bool:
    """Tell whether somebody wants to see the requests of a session, or to answer them."""
    request: object = vars(aiohttp.ClientSession).get("_request")
    own = aiohttp.ClientSession.close.__code__.co_filename
    replaced = type(request) is not FunctionType or request.__code__.co_filename != own
    return replaced or bool(http.trace_configs)


def _path(request: Request) -> str:
    """Return what follows the prefix of a route."""
    return f"{request.path}?{request.query}" if request.query else request.path


def _head(request: Request, target: Target, proxy_headers: Mapping[str, str]) -> bytes:
    """Return the head of a request, as it goes out; raise ValueError if it would be none."""
    path = f"{target.prefix}{_path(request)}" or "/"
    fields = wire_headers(request)
    if proxy_headers:
        fields.update(proxy_headers)
    if "Host" not in request.headers:
        fields = {"Host": target.headers["Host"], **fields}
    lines = "".join([f"{name}: {value}\r\n" for name, value in fields.items()])
    whole = {lines.count("\r"), lines.count("\n")} == {len(fields)} and "\0" not in lines
    if whole and _TARGET.fullmatch(path):
        # RFC 9110 section 5.5: what is not ASCII has no certain meaning. http.client sends Latin-1.
        with contextlib.suppress(UnicodeEncodeError):  # it holds the whole text, keys included
            return f"{request.method} {path} HTTP/1.1\r\n{lines}\r\n".encode("latin-1")
    raise ValueError("the address or a header has characters that can't be sent")


def _has_unsent(transport: asyncio.Transport) -> bool:
    try:
        return transport.get_write_buffer_size() > 0
    except AttributeError:  # before Python 3.11, of TLS that is closed
        return False


def _is_connected(sock: socket.socket) -> bool:
    try:
        sock.getpeername()
    except OSError:
        return False
    return True


def _is_stale(protocol: ResponseHandler, transport: asyncio.Transport) -> bool:
    """Tell whether the server has closed a kept connection, or sent what nobody asked for.

    Such a response would be taken for the one to the next request. aiohttp knows what the loop has
    seen; the socket knows what came since then.
    """
    sock = transport.get_extra_info("socket")
    return protocol.should_close or (sock is not None and wait_for_read(sock, 0))


def _described(error: BaseException) -> str:
    """Return what an error says, in one line, without what the server sent."""
    if isinstance(error, aiohttp.ClientHttpProxyError):
        return f"Tunnel connection failed: {error.status} {error.message}"
    if isinstance(error, aiohttp.ServerDisconnectedError):  # its own text may be a part of a head
        return "the server closed it before the end of the answer's head"
    if isinstance(error, HttpProcessingError):  # its message may go on with what was received
        message = _QUOTE.split(error.message.strip().partition("\n")[0])[0].rstrip(": \r")[:200]
        return NO_HTTP if message == "Bad status line" else message
    if isinstance(error, OSError) and not isinstance(error, (ssl.SSLError, socket.gaierror)):
        return os.strerror(error.errno) if error.errno else str(error)
    return getattr(error, "strerror", None) or str(error)


def _forget_secrets(chain: list[BaseException]) -> None:
    """Errors about a response have all headers of the request in them, keys included."""
    for error in chain:
        if isinstance(error, aiohttp.ClientResponseError):
            headers: CIMultiDictProxy[str] = CIMultiDictProxy(CIMultiDict())
            error.request_info = error.request_info._replace(headers=headers)
            error.args = (error.request_info, error.history)
