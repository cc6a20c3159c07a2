"""One request on a session of aiohttp: sent once over a connection, and its response read.

aiohttp makes the connections, secures and keeps them, and speaks HTTP. `Exchange` limits how long
that may take, and `Connector` decides which connection is used.

Invariants: one deadline (asyncio.timeout) holds from the wait for a slot to the last byte, for a
server that sends or reads slowly as for one that is silent. A connection that is given up, by a
deadline, an error or a cancellation, is aborted at once and never used again. Nothing is sent
twice. Every error is an `ApiConnectionError`; cancellation passes through as it is.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import io
import os
import socket
import ssl
import sys
import weakref
from collections.abc import Callable, Mapping
from time import monotonic
from typing import TYPE_CHECKING, Any, NamedTuple, cast

import aiohttp
from aiohttp.http import HttpProcessingError
from multidict import CIMultiDict, CIMultiDictProxy
from urllib3.util.wait import wait_for_read
from yarl import URL

if sys.version_info >= (3, 11):
    from asyncio import timeout as time_limit
else:  # what aiohttp itself uses there
    from async_timeout import timeout as time_limit

from humanloop.exceptions import ApiConnectionError, ClientConfigurationError
from humanloop.http import Headers, RawResponse, Request, is_event_stream
from humanloop.transport.common import (
    SharedContext,
    chain_of,
    check_length,
    check_size,
    connection_error,
    has_length,
    timeout_reason,
    wire_headers,
)
from humanloop.transport.content import PIECE, ContentDecoder

if TYPE_CHECKING:
    from aiohttp.client_proto import ResponseHandler
    from aiohttp.connector import Connection
    from aiohttp.tracing import Trace

__all__ = ["Connector", "Exchange", "Route", "SentRequest"]

LARGE = 1 << 20
"""Bytes from which a body is handed to aiohttp as a file, which it sends piece by piece."""


class Route(NamedTuple):
    """How to reach a base URL.

    prefix: scheme, host and path; headers: those for a proxy that forwards; options: arguments for
    `aiohttp.ClientSession.request`; context: how to secure the connection, if that is wanted.
    """

    host: str
    prefix: str
    headers: Mapping[str, str]
    options: Mapping[str, Any]
    context: SharedContext | None


class SentRequest(aiohttp.ClientRequest):
    """aiohttp's request, which tells the connector of which exchange it is a part."""

    exchange: Exchange


class Connector(aiohttp.TCPConnector):
    """Lends each exchange a new connection, or a kept one on which nothing is left to read.

    exchanges: those under way, open streams included; slots: one for each at a time; known: the
    protocols of connections that have been lent before.
    """

    def __init__(self, slots: int, new_socket: Any) -> None:
        # This resolver finds what the synchronous transport finds. The slots are the limit.
        resolver = aiohttp.ThreadedResolver()
        super().__init__(limit=0, resolver=resolver, socket_factory=new_socket)  # pyright: ignore[reportUnknownMemberType]  # aiohttp's own
        self.exchanges: weakref.WeakSet[Exchange] = weakref.WeakSet()
        self.slots = asyncio.Semaphore(slots)
        self.known: weakref.WeakSet[ResponseHandler] = weakref.WeakSet()

    async def connect(
        self, req: aiohttp.ClientRequest, traces: list[Trace], timeout: aiohttp.ClientTimeout
    ) -> Connection:
        """Return a connection for a request, as `aiohttp.BaseConnector.connect`."""
        exchange = cast(SentRequest, req).exchange
        async with time_limit(exchange.request.connect_timeout):
            while True:
                connection = await super().connect(req, traces, timeout)
                protocol, transport = connection.protocol, connection.transport
                assert protocol is not None
                assert transport is not None
                if protocol not in self.known or not _is_stale(protocol, transport):
                    break
                transport.abort()
                connection.close()  # and take the next one
        self.known.add(protocol)
        connection.add_callback(functools.partial(_abort_unsent, transport))
        exchange.transport = transport
        return connection


class Exchange:
    """A request under way, and its response; as soon as that is a stream, an AsyncRawStream.

    owner: kept alive until the end; transport: of the connection over which the request leaves;
    task: what runs it, until the response is complete or a stream.
    """

    status: int
    reason: str
    headers: Headers
    elapsed: float
    _streaming = False
    _has_slot = False

    def __init__(self, request: Request, http: aiohttp.ClientSession, owner: object) -> None:
        self.request = request
        self.transport: asyncio.Transport | None = None
        self.task = asyncio.current_task()
        self._http = http
        self._connector = cast(Connector, http.connector)
        self._connector.exchanges.add(self)
        self._owner = owner
        self._loop = asyncio.get_running_loop()
        self._response: aiohttp.ClientResponse | None = None
        self._client_closed = False

    async def run(
        self, route_to: Callable[[str], Route], max_bytes: int | None
    ) -> RawResponse | Exchange:
        """Send the request once; see `AsyncTransport.send`.

        route_to: finds the route for a host; max_bytes: the largest body; None: any.
        """
        started = monotonic()
        try:
            async with time_limit(self.request.timeout):
                await self._connector.slots.acquire()
                self._has_slot = True
                response = await self._respond(route_to(self.request.host))
                if self.request.stream and is_event_stream(self.status, self.headers):
                    self._begin_to_stream(response)
                    self.elapsed = monotonic() - started
                    return self
                data = await _Body(response.content, self.headers, max_bytes).read_all()
                elapsed = monotonic() - started
                return RawResponse(self.status, self.reason, self.headers, data, elapsed)
        except ClientConfigurationError:
            raise
        except Exception as error:
            self._give_up()
            cause = error.__cause__ if isinstance(error, _NotRepeatedError) else error
            raise self._translated(cause) from cause
        except asyncio.CancelledError as error:
            self._give_up()
            if not self._client_closed or self._cancelled_again():
                raise
            raise self._translated(error) from error
        finally:
            self.task = None
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
            self.close()
            late = f"no more of the answer within {timeout or 0:.3g} seconds"
            raise self._translated(error, late) from error

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

    async def _respond(self, route: Route) -> aiohttp.ClientResponse:
        """Send the request, and receive the head of the response."""
        request, body = self.request, self.request.body
        query = f"?{request.query}" if request.query else ""
        options = dict(route.options)
        if "proxy_headers" in options:
            options["proxy_headers"] = options["proxy_headers"].reveal()
        if route.context is not None:
            made = route.context.get()
            options["ssl"] = made.result() if made.done() else await asyncio.wrap_future(made)
        response = self._response = await self._http.request(
            request.method,
            URL(f"{route.prefix}{request.path}{query}", encoded=True),
            data=body if body is None or len(body) <= LARGE else io.BytesIO(body),
            headers={**wire_headers(request), **route.headers},
            allow_redirects=False,
            middlewares=(self._send_once,),
            timeout=aiohttp.ClientTimeout(sock_read=request.read_timeout),
            **options,
        )
        self.status = response.status
        self.reason = (response.reason or "").encode("utf-8", "surrogateescape").decode("latin-1")
        raw = response.raw_headers
        self.headers = Headers((k.decode("latin-1"), v.decode("latin-1")) for k, v in raw)
        check_length(self.headers)
        return response

    async def _send_once(
        self, request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType
    ) -> aiohttp.ClientResponse:
        """Do what a middleware of aiohttp may do, around sending and the head of the response."""
        cast(SentRequest, request).exchange = self
        if not has_length(self.request):
            request.headers.pop("Content-Length", None)  # which aiohttp adds to those of DELETE
        try:
            return await handler(request)
        except (aiohttp.ClientOSError, aiohttp.ServerDisconnectedError) as error:
            # After these two, aiohttp would send the request again.
            raise _NotRepeatedError from error

    def _begin_to_stream(self, response: aiohttp.ClientResponse) -> None:
        self._body = _Body(response.content, self.headers, None)
        self._streaming = True
        connection = response.connection
        if connection is not None and connection.protocol is not None:
            # End aiohttp's limit for a read: each read of a stream has its own.
            connection.protocol.read_timeout = None
            connection.protocol.start_timeout()

    def _give_up(self) -> None:
        """End the response, and abort its connection, unless all of it has come.

        Then aiohttp has the connection back, and has perhaps lent it again; before, aiohttp closes
        it, and waits for the server to read what is unsent, and to take leave by TLS.
        """
        response = self._response
        complete = response is not None and response.content.is_eof()
        if response is not None:
            response.close()
        if self.transport is not None and not complete and not self._loop.is_closed():
            self.transport.abort()

    def _return_slot(self) -> None:
        if self._has_slot:
            self._has_slot = False
            self._connector.slots.release()

    def _cancelled_again(self) -> bool:
        """Take back the cancellation by `cut_off`; before Python 3.11, no other one is known of."""
        if sys.version_info >= (3, 11):
            return self.task is not None and self.task.uncancel() > 0
        return False

    def _translated(self, error: BaseException | None, late: str = "") -> ApiConnectionError:
        """Return our error for the library's; late: the message for one that took too long."""
        chain = list(chain_of(error))
        _forget_secrets(chain)
        sent = self.transport is not None
        over = not any(isinstance(e, aiohttp.ServerTimeoutError) for e in chain)
        return connection_error(
            chain,
            self.request,
            _described(chain[-1]),
            sent=sent,
            late=late or timeout_reason(self.request, sent=sent, over=over),
            timeout=(TimeoutError, asyncio.TimeoutError),
            client_closed=self._client_closed,
        )


class _NotRepeatedError(Exception):
    """Wraps an error after which aiohttp itself would send the request again."""


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


def _abort_unsent(transport: asyncio.Transport) -> None:
    """Abort a connection that is given back before all has been sent.

    Closed, as aiohttp does, it would stay open until the server has read the rest.
    """
    if transport.get_write_buffer_size():
        transport.abort()


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
        return error.message.strip().partition("\n")[0].rstrip(": \r")[:200]
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
