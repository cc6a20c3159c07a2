"""The transport of asynchronous calls: aiohttp, one session of kept connections per event loop.

aiohttp makes the connections, secures and keeps them; `_Exchange` says how long a request may take,
and `_Session` when connections end.

What stays true: a request has one deadline, from the wait for a free connection to the last byte,
which holds for a server that sends (or reads) slowly as it does for one that is silent. What is
given up, by a deadline, an error or a cancellation, is cut off at once, and never used again. TLS
certificates are verified unless the configuration says otherwise. Redirects are not followed, so
that a key never reaches another host, cookies are not kept, and nothing is sent twice. Each loop,
and each forked child, opens connections of its own; those of a loop end with it, even if nobody
closes the client. Every error is an `ApiConnectionError`; cancellation passes through as it is.
"""

from __future__ import annotations

import asyncio
import atexit
import concurrent.futures
import contextlib
import io
import os
import socket
import ssl
import sys
import weakref
from collections.abc import AsyncGenerator, Coroutine, Iterable, Mapping
from contextvars import ContextVar
from time import monotonic
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import quote, urlsplit

try:
    import aiohttp
    from aiohttp import ClientHandlerType  # aiohttp 3.12
    from aiohttp.http import HttpProcessingError
    from multidict import CIMultiDict, CIMultiDictProxy
    from yarl import URL
except ImportError as error:
    raise ImportError(
        'asynchronous calls need aiohttp 3.12.8 or later: pip install "humanloop[async]"'
    ) from error

from urllib3.util.wait import wait_for_read

from humanloop.exceptions import (
    ApiConnectionError,
    ClientClosedError,
    ClientConfigurationError,
)
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
from humanloop.transport.content import PIECE, ContentDecoder, ContentTooLargeError

if TYPE_CHECKING:
    from types import TracebackType

    from aiohttp.client_proto import ResponseHandler
    from aiohttp.tracing import Trace
    from typing_extensions import Self

    from humanloop.configuration import Configuration

__all__ = ["AiohttpTransport"]

LARGE = 1 << 20
"""Bytes from which a body is handed to aiohttp as a file, which it sends piece by piece."""

ROUNDS = 3
"""How often a loop goes round until all know of a transport that was aborted: one round for the
transport itself, one for TLS above it."""

LINE = 65_536
"""Bytes that a line of an answer's head may have, as in http.client."""


class _Limit:
    """Cancels the task that has entered it when a time has come, which becomes a TimeoutError.

    As asyncio.timeout, which Python 3.10 lacks. passed: whether the time has come.
    """

    def __init__(self) -> None:
        self.passed = False
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._task: asyncio.Task[Any] | None = None
        self._cancellations = 0

    def set(self, end: float | None) -> None:
        """Move the time, by the loop's clock; None: never."""
        if self._timer is not None:
            self._timer.cancel()
        self._timer = None if end is None else self._loop.call_at(end, self._pass)

    @property
    def cancelled(self) -> bool:
        """Whether somebody else has cancelled the task; not known before Python 3.11."""
        if sys.version_info >= (3, 11):
            return self._task is not None and self._task.cancelling() > self._cancellations
        return False

    def _pass(self) -> None:
        self.passed = True
        if self._task is not None:
            self._task.cancel()

    def __enter__(self) -> Self:
        self._task = asyncio.current_task()
        if sys.version_info >= (3, 11) and self._task is not None:
            self._cancellations = self._task.cancelling()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.set(None)
        if self.passed and sys.version_info >= (3, 11) and self._task is not None:
            self._task.uncancel()
        cancelled, self._task = self.cancelled, None
        if self.passed and kind is asyncio.CancelledError and not cancelled:
            raise TimeoutError("the time is over") from error


class _Exchange(_Limit):
    """One request under way: what it may take now, and what connection it has got.

    sent: whether a part of the request may have left; reused: whether the connection is; session:
    the one that it is an exchange of.
    """

    def __init__(self, request: Request) -> None:
        super().__init__()
        self.request = request
        self.sent = False
        self.reused = True
        self.session: _Session | None = None
        self._connection: aiohttp.connector.Connection | None = None
        self._transport: asyncio.Transport | None = None
        self._end = None if request.timeout is None else self._loop.time() + request.timeout
        self._step: float | None = None
        self.allow(None)

    def allow(self, seconds: float | None) -> None:
        """What comes now may take so long, within the deadline; None: as long as that."""
        self._step = seconds
        if seconds is None:
            self.set(self._end)
        else:
            end = self._loop.time() + seconds
            self.set(end if self._end is None else min(end, self._end))

    def await_more(self) -> None:
        """A wait for more of the answer begins."""
        if self.request.read_timeout is not None:
            self.allow(self.request.read_timeout)

    def begin(self, connection: aiohttp.connector.Connection) -> None:
        """The request will leave now."""
        if self.closed:
            connection.close()
            raise ConnectionAbortedError
        self._connection = connection
        self._transport = connection.transport
        if self.session is not None and not self.reused:
            self.session.lines.add(connection)
        self.sent = True
        self.await_more()

    def give_up(self) -> None:
        """Cut the connection off, unless it has been given back already."""
        transport, connection, session = self._transport, self._connection, self.session
        if transport is None or connection is None or session is None or self._loop.is_closed():
            return
        # Merely closed, it would be open until the server has read all that waits to be sent.
        if connection.transport is transport or session.lines.lost(transport):
            transport.abort()

    def finish(self) -> None:
        """The whole answer has come."""
        if self._unsent:  # it came early: the connection can't be used again
            self.give_up()

    @property
    def closed(self) -> bool:
        """Whether the session was closed meanwhile, which is the end of the exchange, too."""
        return self.session is not None and self.session.ended and not self.passed

    def exceeded(self) -> str:
        """What to say of an exchange that took too long."""
        if not self.sent:
            limits = [limit for limit in (self.request.timeout, self._step) if limit]
            return f"no connection within {min(limits):.3g} seconds" if limits else "no connection"
        over = self._end is not None and self._loop.time() >= self._end
        if over or self._step is None:
            return f"no complete answer within {self.request.timeout or 0:.3g} seconds"
        return f"nothing came for {self._step:.3g} seconds"

    def _pass(self) -> None:
        over = self._end is not None and self._loop.time() >= self._end
        if self._unsent and not over:
            self.await_more()  # the request is still being sent
        else:
            super()._pass()

    @property
    def _unsent(self) -> bool:
        return self._transport is not None and self._transport.get_write_buffer_size() > 0


# aiohttp hands nothing of ours down to its requests and connector: they find the exchange here.
_exchange: ContextVar[_Exchange] = ContextVar("exchange")


class _Unusable(Exception):
    """More came over a kept-alive connection than was asked for; nothing was sent."""


class _Broken(Exception):
    """Wraps an error after which aiohttp itself would send the request again."""


class _Request(aiohttp.ClientRequest):
    """A request that goes out over a connection on which nothing is left."""

    async def send(self, conn: aiohttp.connector.Connection) -> aiohttp.ClientResponse:
        exchange = _exchange.get()
        if exchange.reused and _is_stale(conn):
            conn.close()  # an answer that nobody asked for would be taken for that to this request
            raise _Unusable
        if not _has_length(exchange.request):
            self.headers.pop("Content-Length", None)  # which aiohttp adds to those of DELETE
        exchange.begin(conn)
        return await super().send(conn)

    async def write_bytes(self, *arguments: Any, **options: Any) -> None:
        await super().write_bytes(*arguments, **options)
        _exchange.get().await_more()  # for an answer: until now there was none to wait for


def _is_stale(connection: aiohttp.connector.Connection) -> bool:
    """Whether the server has closed a connection, or sent more than it was asked for.

    aiohttp knows what the loop has seen; what came since then, the socket does.
    """
    protocol, transport = connection.protocol, connection.transport
    if protocol is None or transport is None or protocol.should_close:
        return True
    sock = transport.get_extra_info("socket")
    return sock is not None and wait_for_read(sock, 0)


async def _once(
    request: aiohttp.ClientRequest, handler: ClientHandlerType
) -> aiohttp.ClientResponse:
    """The middleware that keeps aiohttp from sending a request again when a connection breaks."""
    try:
        return await handler(request)
    except (aiohttp.ClientOSError, aiohttp.ServerDisconnectedError) as error:
        raise _Broken from error


class _Connector(aiohttp.TCPConnector):
    """Tells an exchange when a connection is being made for it."""

    async def _create_connection(
        self, req: aiohttp.ClientRequest, traces: list[Trace], timeout: aiohttp.ClientTimeout
    ) -> ResponseHandler:
        exchange = _exchange.get()
        exchange.reused = False
        exchange.allow(exchange.request.connect_timeout)
        made = await super()._create_connection(req, traces, timeout)
        exchange.allow(None)
        return made


class _Lines:
    """The transports of a session's connections, those that aiohttp has given up included."""

    def __init__(self) -> None:
        self._lines: dict[asyncio.Transport, Any] = {}

    def add(self, connection: aiohttp.connector.Connection) -> None:
        self.clear_up()
        if connection.transport is not None:
            self._lines[connection.transport] = connection.protocol

    def lost(self, transport: asyncio.Transport) -> bool:
        """Whether aiohttp has closed it, or the server has."""
        protocol = self._lines.get(transport)
        return protocol is None or protocol.transport is not transport

    def clear_up(self) -> None:
        """Forget what is lost."""
        for transport in tuple(filter(self.lost, self._lines)):
            transport.close()  # else TLS of Python 3.10 warns, when it was the server that closed
            del self._lines[transport]

    def abort(self) -> None:
        """Have the loop close all."""
        for transport in self._lines:
            transport.abort()

    def drop(self, loop: asyncio.AbstractEventLoop) -> None:
        """Close all, although the loop may not run."""
        for transport in self._lines:
            if loop.is_running():
                transport.abort()
            else:
                _drop(transport)
        self._lines.clear()


_open: set[_Session] = set()
"""All sessions that are to be closed, so that none goes without."""


class _Session:
    """aiohttp's session of one loop, and its end.

    home: where it is found as long as it takes requests.
    """

    def __init__(
        self, configuration: Configuration, home: dict[asyncio.AbstractEventLoop, _Session]
    ) -> None:
        self.loop = asyncio.get_running_loop()
        self.process = os.getpid()
        self.ended = False
        self.lines = _Lines()
        self.exchanges: set[_Exchange] = set()
        self.streams: weakref.WeakSet[_Stream] = weakref.WeakSet()
        self.http = _client_session(configuration)
        self._home = home
        self._keeper = _keep(self)
        home[self.loop] = self
        _open.add(self)

    async def start(self) -> None:
        """Let the loop know what it is to close; does not wait for anything."""
        await self._keeper.__anext__()

    async def close(self) -> None:
        """Close all connections, in the session's own loop."""
        await self.end()
        with contextlib.suppress(RuntimeError):  # the loop is at it, too
            await self._keeper.aclose()

    async def end(self) -> None:
        """As `close`, for the loop that closes its asynchronous generators."""
        if self._retire():
            self._cut_off()
            await self.http.close()
            self.lines.clear_up()

    def end_soon(self) -> concurrent.futures.Future[None]:
        """Close from outside of the loop: now if it is closed, else as soon as it runs."""
        done: concurrent.futures.Future[None] = concurrent.futures.Future()
        if self._home.get(self.loop) is self:
            del self._home[self.loop]  # the next request opens anew
        if self.process != os.getpid():  # these connections are the parent's
            done.set_result(None)
            return done
        try:
            self.loop.call_soon_threadsafe(self._begin_to_close, done)
        except RuntimeError:  # it is closed
            self.bury()
            done.set_result(None)
        return done

    def bury(self) -> None:
        """Close all without the help of the loop: its connections are lost, or it is."""
        if not self._retire():
            return
        self.lines.drop(self.loop)
        _run_through(self.http.close())
        self.http.detach()
        _run_through(self._keeper.aclose())
        for stream in tuple(self.streams):
            stream.cut_off()

    def _begin_to_close(self, done: concurrent.futures.Future[None]) -> None:
        # Not by a task, of which a loop that is stopped next would say that it is pending.
        self._cut_off()
        self.lines.abort()
        self._bury_after(ROUNDS, done)

    def _bury_after(self, rounds: int, done: concurrent.futures.Future[None]) -> None:
        if rounds:
            self.loop.call_soon(self._bury_after, rounds - 1, done)
        else:
            self.bury()
            done.set_result(None)

    def _cut_off(self) -> None:
        """Give up what is under way."""
        self.ended = True
        for stream in tuple(self.streams):
            stream.cut_off()
        for exchange in tuple(self.exchanges):
            exchange.give_up()

    def _retire(self) -> bool:
        """Whether this is the first call."""
        try:
            _open.remove(self)
        except KeyError:
            return False
        self.ended = True
        if self._home.get(self.loop) is self:
            del self._home[self.loop]
        return True


def _run_through(coroutine: Coroutine[Any, Any, None]) -> None:
    """Run what has nothing to wait for."""
    with contextlib.suppress(StopIteration, StopAsyncIteration, RuntimeError):
        coroutine.send(None)
    with contextlib.suppress(RuntimeError):
        coroutine.close()


async def _keep(session: _Session) -> AsyncGenerator[None, None]:
    """Closes a session when its loop is shut down, as which it closes asynchronous generators."""
    try:
        yield
    finally:
        await session.end()


class _Socket(socket.socket):
    """Lets an answer be read that a server gave before it closed, having read not all it was sent.

    A loop drops what has come, but was not yet read, when it can't send.
    """

    def send(self, data: Any, flags: int = 0, /) -> int:
        try:
            return super().send(data, flags)
        except OSError as error:
            if error.errno not in CLOSED:
                raise
            return len(data)  # reading will say so, too, in its turn

    if hasattr(socket.socket, "sendmsg"):  # which Windows lacks

        def sendmsg(self, buffers: Iterable[Any], /, *options: Any) -> int:
            pieces = list(buffers)
            try:
                return super().sendmsg(pieces, *options)
            except OSError as error:
                if error.errno not in CLOSED:
                    raise
                return sum(map(len, pieces))


def _client_session(configuration: Configuration) -> aiohttp.ClientSession:
    options = configuration.socket_options or ()

    def new_socket(address: Any) -> socket.socket:
        sock = _Socket(*address[:3])
        try:
            for option in options:
                sock.setsockopt(*option)
        except BaseException:
            sock.close()
            raise
        return sock

    connector = _Connector(
        limit=max(100, configuration.connection_pool_maxsize),
        resolver=aiohttp.ThreadedResolver(),  # finds what the synchronous transport finds
        socket_factory=new_socket,
    )
    return aiohttp.ClientSession(
        connector=connector,
        request_class=_Request,
        middlewares=(_once,),
        cookie_jar=aiohttp.DummyCookieJar(),
        skip_auto_headers=("Accept", "Accept-Encoding", "Content-Type", "User-Agent"),
        timeout=aiohttp.ClientTimeout(),  # the exchange has its own
        auto_decompress=False,
        max_line_size=LINE,
        max_field_size=LINE,
    )


def _drop(transport: Any) -> None:
    """Close a transport without its loop, which no public method does."""
    with contextlib.suppress(RuntimeError):  # the loop is closed
        transport.close()
    # Below TLS there is another one.
    inner = getattr(getattr(transport, "_ssl_protocol", None), "_transport", None) or transport
    lose = getattr(inner, "_call_connection_lost", None)
    if lose is not None and getattr(inner, "_sock", None) is not None:
        with contextlib.suppress(RuntimeError):
            lose(None)


def _bury_dead() -> None:
    """Close what loops left behind that were closed without being shut down."""
    for session in tuple(_open):
        if session.process == os.getpid() and session.loop.is_closed():
            session.bury()


@atexit.register
def _end_all() -> None:
    own = [session for session in tuple(_open) if session.process == os.getpid()]
    running = [session.end_soon() for session in own if session.loop.is_running()]
    concurrent.futures.wait(running, timeout=1)  # those of other threads
    for session in own:
        if not session.loop.is_running():
            session.bury()


def _end_soon(sessions: dict[asyncio.AbstractEventLoop, _Session]) -> None:
    for session in tuple(sessions.values()):
        session.end_soon()


class _Stream:
    """The answer to a request for a stream; an AsyncRawStream."""

    def __init__(
        self,
        owner: AiohttpTransport,
        request: Request,
        session: _Session,
        response: aiohttp.ClientResponse,
        headers: Headers,
        elapsed: float,
    ) -> None:
        encoding = headers.get("Content-Encoding", "")
        self._decoder = ContentDecoder(encoding)
        self._piece = PIECE if encoding else sys.maxsize
        self._undecoded = b""
        self.status = response.status
        self.reason = _reason(response)
        self.headers = headers
        self.elapsed = elapsed
        self._owner = owner  # which closes its connections when nobody knows it any more
        self._request = request
        self._session = session
        self._response = response
        self._open = True
        self._cut_off = False
        session.streams.add(self)

    async def read(self, timeout: float | None) -> bytes:
        """The next bytes; see `AsyncRawStream`."""
        limit = _Limit()
        try:
            with limit:
                limit.set(None if timeout is None else self._session.loop.time() + timeout)
                return await self._next()
        except Exception as error:
            self.close()
            if self._cut_off:
                raise _closed(self._request, sent=True) from error
            late = f"no more of the answer within {timeout or 0:.3g} seconds"
            raise _translated(error, self._request, sent=True, late=late) from error

    async def _next(self) -> bytes:
        if self._cut_off:
            raise ConnectionAbortedError
        while self._open:
            while self._undecoded:
                piece = self._undecoded[: self._piece]
                self._undecoded = self._undecoded[self._piece :]
                if data := self._decoder.feed(piece):
                    return data
            self._undecoded = await self._received()
            if not self._undecoded:
                self._decoder.end()
                self._open = False
        return b""

    async def _received(self) -> bytes:
        """The next bytes of the body, even of one that is known to have broken off behind them."""
        content = self._response.content
        if content.exception() is not None:  # there is no public way to what came before
            take = getattr(content, "_read_nowait", None)
            if take is not None and (rest := take(-1)):
                return bytes(rest)
        return await content.readany()

    def close(self) -> None:
        """Give up what is left; see `AsyncRawStream`."""
        if not self._open:
            return
        self._open = False
        connection = self._response.connection
        transport = connection and connection.transport
        if transport and not self._session.loop.is_closed():
            transport.abort()
        self._response.close()
        if connection is not None:  # which a response does not close when the loop is closed
            connection.close()

    def cut_off(self) -> None:
        """Give up what is left, of which the reader does not know."""
        self._cut_off = self._cut_off or self._open
        self.close()

    def __del__(self) -> None:
        if not self.__dict__.get("_open"):
            return
        loop = self._session.loop
        if loop.is_closed():
            self._session.bury()
            self.close()
        elif not loop.is_running() or asyncio._get_running_loop() is loop:
            self.close()
        else:  # this is another thread
            with contextlib.suppress(RuntimeError):
                loop.call_soon_threadsafe(_close, self._response)


def _close(response: aiohttp.ClientResponse) -> None:
    response.close()


class _Route(NamedTuple):
    """How to reach a base URL.

    prefix: what the path follows; headers: those for a proxy that forwards; options: for aiohttp.
    """

    host: str
    prefix: str
    headers: Mapping[str, str]
    options: Mapping[str, Any]


class AiohttpTransport:
    """Sends by aiohttp, with a configuration's connection settings as they are when first used."""

    def __init__(self, configuration: Configuration) -> None:
        self._configuration = configuration
        self._sessions: dict[asyncio.AbstractEventLoop, _Session] = {}
        self._route: _Route | None = None
        self._context: ssl.SSLContext | None = None
        weakref.finalize(self, _end_soon, self._sessions).atexit = False

    async def send(self, request: Request) -> RawResponse | _Stream:
        """Send a request once; see `AsyncTransport`."""
        route = self._route
        if route is None or route.host != request.host:
            try:
                route = self._route = await self._new_route(request.host)
            except ValueError as error:
                raise _translated(error, request, sent=False) from error
        exchange = _Exchange(request)
        token = _exchange.set(exchange)
        try:
            with exchange:
                session = await self._session()
                return await self._send(session, route, exchange)
        except Exception as error:
            exchange.give_up()
            cause = error.__cause__ if isinstance(error, _Broken) else error
            late = exchange.exceeded() if exchange.passed or not exchange.sent else ""
            if exchange.closed:
                raise _closed(request, sent=exchange.sent) from cause
            raise _translated(cause, request, sent=exchange.sent, late=late) from cause
        except BaseException:
            exchange.give_up()
            raise
        finally:
            with contextlib.suppress(ValueError):  # collected with a loop that was closed
                _exchange.reset(token)

    async def aclose(self) -> None:
        """Close the connections of all loops; see `AsyncTransport`."""
        here = asyncio.get_running_loop()
        own = self._sessions.get(here)
        others = [s for s in tuple(self._sessions.values()) if s.loop is not here]
        ends = [(session.loop, session.end_soon()) for session in others]
        if own is not None and own.process == os.getpid():
            await own.close()
        for loop, end in ends:
            ended = asyncio.wrap_future(end)
            while not ended.done() and loop.is_running():  # one that stops does it when it goes on
                await asyncio.wait([ended], timeout=0.05)

    def close(self) -> None:
        """Close the connections of all loops, soon; see `AsyncTransport`."""
        _end_soon(self._sessions)

    async def _session(self) -> _Session:
        loop = asyncio.get_running_loop()
        session = self._sessions.get(loop)
        if session is None or session.process != os.getpid():
            _bury_dead()
            session = _Session(self._configuration, self._sessions)
            await session.start()
        return session

    async def _send(
        self, session: _Session, route: _Route, exchange: _Exchange
    ) -> RawResponse | _Stream:
        started = monotonic()
        session.exchanges.add(exchange)
        exchange.session = session
        try:
            response = await _respond(session.http, route, exchange)
            try:
                return await self._receive(session, response, exchange, started)
            except BaseException:
                response.close()
                raise
        except asyncio.CancelledError as error:
            if exchange.closed and not exchange.cancelled:
                raise ConnectionAbortedError from error
            raise
        finally:
            session.exchanges.discard(exchange)

    async def _receive(
        self,
        session: _Session,
        response: aiohttp.ClientResponse,
        exchange: _Exchange,
        started: float,
    ) -> RawResponse | _Stream:
        request = exchange.request
        headers = _headers(response)
        if request.stream and is_event_stream(response.status, headers):
            return _Stream(self, request, session, response, headers, monotonic() - started)
        limit = self._configuration.max_response_bytes
        data = await _body(response, headers, exchange, limit)
        exchange.finish()
        elapsed = monotonic() - started
        return RawResponse(response.status, _reason(response), headers, data, elapsed)

    async def _new_route(self, host: str) -> _Route:
        configuration = self._configuration
        url = URL(host)
        options: dict[str, Any] = {}
        headers: Mapping[str, str] = {}
        proxy = ""
        if configuration.proxy:
            proxy, headers = proxy_of(configuration)
            options["proxy"] = proxy
            if url.scheme == "https":
                options["proxy_headers"], headers = headers, {}
                _check_tls_in_tls(proxy)
        if url.scheme == "https" and isinstance(configuration.assert_hostname, str):
            options["server_hostname"] = configuration.assert_hostname
        if url.scheme == "https" or proxy.startswith("https:"):
            if self._context is None:  # to read all the certificates would keep the loop waiting
                context = await asyncio.to_thread(_tls_context, configuration)
                self._context = self._context or context
            options["ssl"] = self._context
        path = quote(urlsplit(host).path, safe="/%:@!$&'()*+,;=~")
        return _Route(host, f"{url.origin()}{path}", headers, options)


async def _respond(
    http: aiohttp.ClientSession, route: _Route, exchange: _Exchange
) -> aiohttp.ClientResponse:
    """The head of the answer."""
    request = exchange.request
    query = f"?{request.query}" if request.query else ""
    url = URL(f"{route.prefix}{request.path}{query}", encoded=True)
    headers = _request_headers(request, route)
    body = request.body
    while True:
        with contextlib.suppress(_Unusable):  # then there are other connections
            return await http.request(
                request.method,
                url,
                data=body if body is None or len(body) <= LARGE else io.BytesIO(body),
                headers=headers,
                allow_redirects=False,
                **route.options,
            )


def _request_headers(request: Request, route: _Route) -> CIMultiDict[str]:
    """What goes out, in the order of the synchronous transport."""
    headers: CIMultiDict[str] = CIMultiDict()
    if "Accept-Encoding" not in request.headers:
        headers["Accept-Encoding"] = "identity"
    if "Content-Length" not in request.headers and _has_length(request):
        headers["Content-Length"] = str(len(request.body or b""))
    headers.extend(request.headers.items())
    headers.update(route.headers)
    return headers


def _has_length(request: Request) -> bool:
    return request.body is not None or request.method not in ("GET", "DELETE", "HEAD", "OPTIONS")


def _headers(response: aiohttp.ClientResponse) -> Headers:
    headers = Headers(
        (name.decode("latin-1"), value.decode("latin-1")) for name, value in response.raw_headers
    )
    check_length(headers)
    return headers


def _reason(response: aiohttp.ClientResponse) -> str:
    return (response.reason or "").encode("utf-8", "surrogateescape").decode("latin-1")


async def _body(
    response: aiohttp.ClientResponse, headers: Headers, exchange: _Exchange, limit: int | None
) -> bytes:
    """All of the body, decoded."""
    decoder = ContentDecoder(headers.get("Content-Encoding", ""), limit)
    length = headers.get("Content-Length", "")
    if limit is not None and length.isdecimal() and int(length) > limit:
        raise ContentTooLargeError(f"the body is over {limit:,} bytes")
    pieces: list[bytes] = []
    exchange.await_more()
    while piece := await response.content.readany():
        pieces.append(decoder.feed(piece))
        exchange.await_more()
    decoder.end()
    return b"".join(pieces)


def _check_tls_in_tls(proxy: str) -> None:
    if sys.version_info < (3, 11) and proxy.startswith("https:"):
        raise ClientConfigurationError(
            "before Python 3.11, asynchronous calls can't reach a host by https"
            " through a proxy by https; the proxy's URL may start with http://"
        )


def _tls_context(configuration: Configuration) -> ssl.SSLContext:
    context = tls_context(configuration)
    if configuration.assert_hostname is False:
        context.check_hostname = False
    return context


def _translated(
    error: BaseException | None, request: Request, *, sent: bool, late: str = ""
) -> ApiConnectionError:
    """Our error for the library's; late: what to say of one that took too long."""
    chain = list(chain_of(error))
    _forget_secrets(chain)
    late_errors = (TimeoutError, asyncio.TimeoutError)
    said = _described(chain[-1])
    return connection_error(chain, request, said, sent=sent, late=late, timeout=late_errors)


def _closed(request: Request, *, sent: bool) -> ClientClosedError:
    reason = "the client was closed"
    return ClientClosedError(
        reason, method=request.method, host=request.host, path=request.path, sent=sent
    )


def _described(error: BaseException) -> str:
    """What an error says, in one line."""
    if isinstance(error, aiohttp.ClientHttpProxyError):
        return f"Tunnel connection failed: {error.status} {error.message}"
    if isinstance(error, aiohttp.ServerDisconnectedError):  # its own text may be a part of a head
        return "the server closed it before the end of the answer's head"
    if isinstance(error, HttpProcessingError):  # its message may go on with what was received
        text = error.message.strip().partition("\n")[0].rstrip(": \r")[:200]
    elif isinstance(error, OSError) and not isinstance(error, (ssl.SSLError, socket.gaierror)):
        text = os.strerror(error.errno) if error.errno else str(error)
    else:
        text = getattr(error, "strerror", None) or str(error)
    return text or type(error).__name__


def _forget_secrets(chain: list[BaseException]) -> None:
    """Errors about an answer have all headers of the request in them, keys included."""
    for error in chain:
        if isinstance(error, aiohttp.ClientResponseError):
            headers: CIMultiDictProxy[str] = CIMultiDictProxy(CIMultiDict())
            error.request_info = error.request_info._replace(headers=headers)
            error.args = (error.request_info, error.history)
