"""The transport of asynchronous calls: aiohttp, one session of kept connections per event loop.

Invariants: TLS certificates are verified unless the configuration says otherwise. Redirects are not
followed, so that a key never reaches another host, and cookies are not kept. Each loop, and each
forked child, opens connections of its own. A session ends, and all its connections, with `aclose`
or `close`; with the shutdown of its loop (`loop.shutdown_asyncgens`, which asyncio.run calls), even
if nobody closes the client; or when the transport is dropped. A loop that is closed without being
shut down leaves its connections to the garbage collector, which warns.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import functools
import os
import socket
import sys
from collections.abc import AsyncGenerator, Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from humanloop.extras import how_to_install

try:
    import aiohttp
    from yarl import URL

    aiohttp.ClientHandlerType  # noqa: B018 - which 3.12 has brought
except (ImportError, AttributeError) as error:
    raise ImportError(
        f"asynchronous calls need aiohttp 3.12.8 or later; {how_to_install('async')}"
    ) from error

from urllib3.util import parse_url

from humanloop.exceptions import ClientConfigurationError
from humanloop.transport.aiohttp_exchange import LINE, Connector, Exchange, Route, SentRequest
from humanloop.transport.common import CLOSED, SharedContext, proxy_of

if TYPE_CHECKING:
    from humanloop.configuration import Configuration
    from humanloop.http import RawResponse, Request

__all__ = ["AiohttpTransport"]

GRACE = 1.0
"""Seconds to wait for loops to close what they hold."""


class AiohttpTransport:
    """Sends by aiohttp, with a configuration's connection settings as they are when first used."""

    def __init__(self, configuration: Configuration) -> None:
        self._configuration = configuration
        self._context = SharedContext(configuration)
        self._sessions: dict[tuple[int, asyncio.AbstractEventLoop], _Session] = {}
        self._route: Route | None = None

    async def send(self, request: Request) -> RawResponse | Exchange:
        """Send a request once; see `AsyncTransport`."""
        session = self._sessions.get((os.getpid(), asyncio.get_running_loop()))
        if session is None or session.http.closed:
            session = await self._new_session()
        exchange = Exchange(request, session.http, owner=session)
        return await exchange.run(self._route_to, self._configuration.max_response_bytes)

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
        if configuration.proxy:
            proxy, headers = proxy_of(configuration)
            options["proxy"] = proxy
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
    """aiohttp's session of one loop; closed when nobody has a reference to it any more."""

    def __init__(self, configuration: Configuration) -> None:
        self.loop = asyncio.get_running_loop()
        connector = Connector(
            slots=max(100, configuration.connection_pool_maxsize),
            new_socket=functools.partial(_new_socket, configuration.socket_options or ()),
        )
        self.http = aiohttp.ClientSession(
            connector=connector,
            request_class=SentRequest,
            cookie_jar=aiohttp.DummyCookieJar(),
            skip_auto_headers=("Accept", "Accept-Encoding", "Content-Type", "User-Agent"),
            auto_decompress=False,
            max_line_size=LINE,
            max_field_size=LINE,
        )
        self.closing = _close_at_the_end(self.http, connector)

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
    http: aiohttp.ClientSession, connector: Connector
) -> AsyncGenerator[None, None]:
    """Close a session when this generator is closed.

    An event loop closes its asynchronous generators when it is shut down, and when they are
    garbage, whichever thread finds that: asyncio has no other public way to be told of either.
    """
    try:
        yield
    finally:
        cut_off = (*connector.running, *connector.streams)
        for exchange in cut_off:
            exchange.cut_off()
        while any(exchange.task for exchange in cut_off):
            await asyncio.sleep(0)  # until they have aborted their connections
        await http.close()


class _Socket(socket.socket):
    """Lets a response be read although no more of the request can be sent.

    A loop drops what has come, but was not yet read, when sending fails.
    """

    def send(self, data: Any, flags: int = 0, /) -> int:
        return _sent(super().send, len(data), data, flags)

    def sendmsg(self, buffers: Iterable[Any], /, *options: Any) -> int:
        pieces = list(buffers)
        return _sent(super().sendmsg, sum(map(len, pieces)), pieces, *options)


def _sent(send: Callable[..., int], size: int, *arguments: Any) -> int:
    """Send; when the server reads no more, claim to have sent all: reading fails in its turn."""
    try:
        return send(*arguments)
    except OSError as error:
        if error.errno not in CLOSED:
            raise
        return size


def _new_socket(options: Iterable[tuple[int, int, int | bytes]], address: Any) -> socket.socket:
    sock = _Socket(*address[:3])
    try:
        for option in options:
            sock.setsockopt(*option)
    except BaseException:
        sock.close()
        raise
    return sock
