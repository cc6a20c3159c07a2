"""The transport of asynchronous calls: aiohttp, one session of kept connections per event loop.

An `_Exchange` writes a request to a connection that it is lent, reads the response, and limits how
long all that may take. The session's own `request` would do that as well. It does much more than is
needed here, for each request anew, and takes as long as all else together. So it is used only where
somebody watches: tracers add a TraceConfig to each session, and tools for tests replace the method.

Invariants: TLS certificates are verified unless the configuration says otherwise. Redirects are not
followed, so that a key never reaches another host, cookies are not kept, and nothing is sent twice.
One deadline (asyncio.timeout) holds from the wait for a slot to the last byte, for a server that
sends or reads slowly as for one that is silent. Every error is an `ApiConnectionError`;
cancellation passes through as it is.

Each loop, and each forked child, opens connections of its own. A session ends, and all its
connections, with `aclose` or `close`; with the shutdown of its loop (`loop.shutdown_asyncgens`,
which asyncio.run calls), even if nobody closes the client; or when the transport is dropped. A loop
that is closed without being shut down leaves its connections to the garbage collector, which warns.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import io
import os
import re
import socket
import ssl
import sys
import weakref
from collections.abc import AsyncGenerator, Callable, Mapping
from time import monotonic
from types import FunctionType
from typing import TYPE_CHECKING, Any, cast

from humanloop.extras import how_to_install

try:
    import aiohttp
    from yarl import URL

    aiohttp.ClientHandlerType  # noqa: B018 - which 3.12 has brought
except (ImportError, AttributeError) as error:
    raise ImportError(
        f"asynchronous calls need aiohttp 3.12.8 or later; {how_to_install('async')}"
    ) from error

from aiohttp.http import HttpProcessingError
from multidict import CIMultiDict, CIMultiDictProxy
from urllib3.util import parse_url

from humanloop.exceptions import ApiConnectionError, ApiProxyError, ClientConfigurationError
from humanloop.frames import shielded
from humanloop.http import Headers, RawResponse, Request, is_event_stream
from humanloop.secrets import SecretMapping
from humanloop.transport.aiohttp_connection import (
    LARGE,
    LINE,
    Connector,
    Loan,
    Route,
    SentRequest,
    Target,
    time_limit,
)
from humanloop.transport.common import (
    NO_HTTP,
    TICK,
    SharedContext,
    chain_of,
    check_length,
    check_size,
    check_status,
    connection_error,
    explain_proxy,
    has_length,
    header_lines,
    proxy_of,
    timeout_reason,
    wire_headers,
)
from humanloop.transport.content import PIECE, ContentDecoder, ContentError

if TYPE_CHECKING:
    from humanloop.configuration import Configuration

__all__ = ["AiohttpTransport"]

GRACE = 1.0
"""Seconds to wait for loops to close what they hold."""

ERRORS = (
    *(aiohttp.ClientError, HttpProcessingError, OSError, asyncio.TimeoutError),
    *(ContentError, ValueError),
)
"""The errors of other libraries that an exchange by aiohttp's session may raise."""

_QUOTE = re.compile(r":?\s+b?['\"]")


class AiohttpTransport:
    """Sends by aiohttp, with a configuration's connection settings as they are when first used."""

    def __init__(self, configuration: Configuration) -> None:
        self._configuration = configuration
        self._context = SharedContext(configuration)
        self._sessions: dict[tuple[int, asyncio.AbstractEventLoop], _Session] = {}
        self._route: Route | None = None

    @shielded
    async def send(self, request: Request) -> RawResponse | _Exchange:
        """Send a request once; see `AsyncTransport`."""
        session = self._sessions.get((os.getpid(), asyncio.get_running_loop()))
        if session is None or session.http.closed:
            session = await self._new_session()
        limit = self._configuration.max_response_bytes
        try:
            # In no variable: what it holds of aiohttp has the headers in clear.
            return await _Exchange(request, session).run(self._route_to, limit)
        except ApiProxyError as error:
            explain_proxy(error, self._configuration)
            raise

    async def aclose(self) -> None:
        """Close the connections of all loops; see `AsyncTransport`."""
        ends = [(session.loop, session.close_soon()) for session in self._take_sessions()]
        # A loop that has stopped closes its connections when it goes on.
        running = [asyncio.wrap_future(end) for loop, end in ends if loop.is_running()]
        if running:
            await asyncio.wait(running, timeout=GRACE)

    def close(self) -> None:
        """Close the connections of all loops, soon; see `AsyncTransport`."""
        for session in self._take_sessions():
            session.close_soon()

    def _take_sessions(self) -> list[_Session]:
        """Forget the sessions of this process, and return them."""
        keys = [key for key in tuple(self._sessions) if key[0] == os.getpid()]
        taken = [self._sessions.pop(key, None) for key in keys]
        return [session for session in taken if session is not None]

    async def _new_session(self) -> _Session:
        for known in tuple(self._sessions):
            if known[1].is_closed():
                self._sessions.pop(known, None)
        key = os.getpid(), asyncio.get_running_loop()
        session = self._sessions[key] = _Session(self._configuration)
        await session.closing.__anext__()  # now the loop knows of it
        return session

    def _route_to(self, host: str) -> Route:
        route = self._route
        if route is None or route.host != host:
            route = self._route = self._new_route(host)
        return route

    def _new_route(self, host: str) -> Route:
        configuration = self._configuration
        url = URL(host)  # ValueError for what only looks like a host
        prefix = f"{url.origin()}{parse_url(host).path or ''}"
        secure = url.scheme == "https"
        options: dict[str, Any] = {}
        headers: Mapping[str, str] = {}
        proxy = ""
        if via := proxy_of(configuration, host):
            proxy, headers = via.url, via.headers(configuration.proxy_headers)
            options["proxy"] = proxy
            headers = SecretMapping(headers)
            if secure:
                options["proxy_headers"], headers = headers, {}
                if sys.version_info < (3, 11) and proxy.startswith("https:"):
                    raise ClientConfigurationError(
                        "before Python 3.11, asynchronous calls can't reach a host by https"
                        " through a proxy by https; the proxy's URL may start with http://"
                    )
        if secure and isinstance(configuration.assert_hostname, str):
            options["server_hostname"] = configuration.assert_hostname
        context = self._context if secure or proxy.startswith("https:") else None
        return Route(host, prefix, headers, options, context)


class _Session:
    """aiohttp's session of one loop; closed when nobody has a reference to it any more.

    running, streams: the exchanges under way; slots: one for each of both at a time.
    """

    def __init__(self, configuration: Configuration) -> None:
        self.loop = asyncio.get_running_loop()
        self.running: set[_Exchange] = set()
        self.streams: weakref.WeakSet[_Exchange] = weakref.WeakSet()
        self.slots = asyncio.Semaphore(max(100, configuration.connection_pool_maxsize))
        self.http = aiohttp.ClientSession(
            connector=Connector(configuration.socket_options or ()),
            request_class=SentRequest,
            cookie_jar=aiohttp.DummyCookieJar(),
            skip_auto_headers=("Accept", "Accept-Encoding", "Content-Type", "User-Agent"),
            auto_decompress=False,
            max_line_size=LINE,
            max_field_size=LINE,
        )
        self.closing = _close_at_the_end(self.http, self.running, self.streams)

    def close_soon(self) -> concurrent.futures.Future[None]:
        """End what is under way, and close all connections, as soon as the loop runs."""
        done: concurrent.futures.Future[None] = concurrent.futures.Future()

        def begin() -> None:
            self.loop.create_task(self.closing.aclose()).add_done_callback(end)

        def end(task: asyncio.Task[None]) -> None:
            if not task.cancelled():
                task.exception()  # RuntimeError if the loop is at it, too; else it would be logged
            done.set_result(None)

        try:
            self.loop.call_soon_threadsafe(begin)
        except RuntimeError:  # it is closed
            done.set_result(None)
        return done


async def _close_at_the_end(
    http: aiohttp.ClientSession, running: set[_Exchange], streams: weakref.WeakSet[_Exchange]
) -> AsyncGenerator[None, None]:
    """Close a session when this generator is closed.

    An event loop closes its asynchronous generators when it is shut down, and when they are
    garbage, whichever thread finds that: asyncio has no other public way to be told of either.
    """
    try:
        yield
    finally:
        cut_off = (*running, *streams)
        for exchange in cut_off:
            exchange.cut_off()
        while any(exchange.task for exchange in cut_off):
            await asyncio.sleep(0)  # until they have aborted their connections
        await http.close()


class _Exchange:
    """A request under way, and its response; as soon as that is a stream, an AsyncRawStream.

    task: what runs the exchange, until the response is complete or a stream.
    """

    status: int
    reason: str
    headers: Headers
    elapsed: float
    _response: aiohttp.ClientResponse | None = None
    _content: aiohttp.StreamReader | None = None
    _failed: Exception | None = None
    _client_closed = False
    _streaming = False
    _watched = False
    _has_slot = False

    def __init__(self, request: Request, session: _Session) -> None:
        self._request = request
        self._session = session  # which lives as long as this
        self._loan = Loan(request.connect_timeout)
        self.task = asyncio.current_task(session.loop)
        self._started = monotonic()

    async def run(
        self, route_to: Callable[[str], Route], max_bytes: int | None
    ) -> RawResponse | _Exchange:
        """Send the request once; see `AsyncTransport.send`.

        route_to: finds the route for a host; max_bytes: the largest body; None: any.
        """
        self._session.running.add(self)
        try:
            async with time_limit(self._request.timeout):
                await self._session.slots.acquire()
                self._has_slot = True
                self._content = await self._respond(route_to(self._request.host))
                self._loan.doing = "reading the rest of the answer"
                if self._request.stream and is_event_stream(self.status, self.headers):
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
            self._session.running.discard(self)
            if not self._streaming:
                self._return_slot()

    @shielded
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
            try:
                raise self._translated(error, late) from error
            finally:
                self.close()

    def close(self) -> None:
        """Give up what is left of a stream; see `AsyncRawStream`."""
        if self._streaming:
            self._streaming = False
            self._give_up()
            self._return_slot()

    def __del__(self) -> None:
        if self._streaming:
            with contextlib.suppress(RuntimeError):  # the loop is closed
                self._session.loop.call_soon_threadsafe(self.close)  # this may be any thread

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
            self._loan.doing = "loading the TLS certificates"
        self._watched = _is_watched(self._session.http)
        if self._watched:
            return await self._respond_by_session(route)
        loan, connector = self._loan, cast(Connector, self._session.http.connector)
        target = await connector.target_of(route)
        head = _head(self._request, target, route.headers)
        await connector.lend(loan, target)
        loan.protocol.set_response_params(
            skip_payload=self._request.method == "HEAD",
            read_until_eof=True,
            auto_decompress=False,
            read_timeout=self._request.read_timeout,
            max_line_size=LINE,
            max_field_size=LINE,
        )
        loan.send(head, self._request.body or b"")
        loan.doing = "waiting for the answer"
        while True:
            message, content = await loan.protocol.read()
            if not 100 <= message.code <= 199 or message.code == 101:
                break
        self._take_head(message.code, message.reason, message.raw_headers)
        content.on_eof(loan.end)
        return content

    async def _respond_by_session(self, route: Route) -> aiohttp.StreamReader:
        """Do as `_respond`, by aiohttp's session, which tells those who watch it."""
        request, body = self._request, self._request.body
        response = self._response = await self._session.http.request(
            request.method,
            URL(f"{route.prefix}{_path(request)}", encoded=True),
            data=body if body is None or len(body) <= LARGE else io.BytesIO(body),
            headers={**wire_headers(request), **route.headers},
            allow_redirects=False,
            middlewares=(self._send_once,),
            timeout=aiohttp.ClientTimeout(sock_read=request.read_timeout),
            **await route.options(),
        )
        self._take_head(response.status, response.reason, response.raw_headers)
        response.content.on_eof(self._loan.end)
        return response.content

    async def _send_once(
        self, request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType
    ) -> aiohttp.ClientResponse:
        """Do what a middleware of aiohttp may do, around sending and the head of the response."""
        if self._failed is not None:  # aiohttp sends again what it takes for safe to repeat
            raise self._failed
        cast(SentRequest, request).loan = self._loan
        if not has_length(self._request):
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
        self._session.streams.add(self)
        self._loan.let_pause()  # each read of a stream has a limit of its own

    def _give_up(self) -> None:
        """End the response, and abort its connection, unless all of it has come."""
        content = self._content
        if content is not None and not content.is_eof() and content.exception() is None:
            content.set_exception(aiohttp.ClientConnectionError("Connection closed"))
        if self._response is not None:
            self._response.close()
        self._loan.give_up()
        self._content = self._response = self._failed = None  # they hold the error

    def _return_slot(self) -> None:
        if self._has_slot:
            self._has_slot = False
            self._session.slots.release()

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
        sent, doing = self._loan.sent, self._loan.waiting_for()
        limit = self._request.timeout
        over = limit is not None and monotonic() - self._started >= limit - TICK
        self._give_up()
        return connection_error(
            chain,
            self._request,
            _described(chain[-1]),
            sent=sent,
            late=late or timeout_reason(self._request, sent=sent, over=over, doing=doing),
            timeout=(TimeoutError, asyncio.TimeoutError),
            client_closed=self._client_closed,
        )


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
    """Return whether somebody wants to see the requests of a session, or to answer them."""
    request: object = vars(aiohttp.ClientSession).get("_request")
    own = aiohttp.ClientSession.close.__code__.co_filename
    replaced = type(request) is not FunctionType or request.__code__.co_filename != own
    return replaced or bool(http.trace_configs)


def _path(request: Request) -> str:
    """Return what follows the prefix of a route."""
    return f"{request.path}?{request.query}" if request.query else request.path


def _head(request: Request, target: Target, proxy_headers: Mapping[str, str]) -> bytes:
    """Return the head of a request, as it goes out."""
    path = f"{target.prefix}{_path(request)}" or "/"
    fields = wire_headers(request)
    if proxy_headers:
        fields.update(proxy_headers)
    if "Host" not in request.headers:
        fields = {"Host": target.headers["Host"], **fields}
    lines = header_lines(path, fields)
    return f"{request.method} {path} HTTP/1.1\r\n{lines}\r\n".encode("latin-1")


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
