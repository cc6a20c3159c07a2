"""Connections of aiohttp: where they lead, how they are made and kept, and to whom one is lent.

aiohttp makes the connections, secures and keeps them, and parses responses. `Connector` decides
which one is used, and a `Loan` follows it from the wait for it to the end of the response.

Invariants: each attempt to connect keeps `connect_timeout`, for all addresses of the host. Neither
a lookup nor the loading of certificates keeps the loop, or its executor, from other work. A kept
connection is lent again only if nothing has followed the last response; one that is given up is
aborted at once. What a response's head may have by the RFCs, aiohttp's parser gets as it takes it.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import socket
import sys
from collections.abc import Callable, Iterable, Mapping
from contextvars import ContextVar
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple, cast

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.client_proto import ResponseHandler
from aiohttp.http import StreamWriter
from urllib3.util.wait import wait_for_read
from yarl import URL

if sys.version_info >= (3, 11):
    from asyncio import timeout as time_limit
else:  # what aiohttp itself uses there
    from async_timeout import timeout as time_limit

from humanloop.lazy import cached_property
from humanloop.transport.common import CLOSED, IDLE, SharedContext, connecting_to, in_thread

if TYPE_CHECKING:
    from aiohttp.connector import Connection
    from aiohttp.tracing import Trace

__all__ = [
    "LARGE",
    "LINE",
    "Connector",
    "Loan",
    "Route",
    "SentRequest",
    "Target",
    "time_limit",
]

LARGE = 1 << 20
"""Bytes from which a body is sent piece by piece."""

SLICE = 1 << 16
"""Bytes of such a piece."""

LINE = 65_536
"""Bytes that a line of a response's head may have, as in http.client."""

NO_LIMIT = aiohttp.ClientTimeout()
"""Leaves all limits to those of a loan."""

LOAN: ContextVar[Loan] = ContextVar("humanloop_loan")
"""The one for which a connection is being made: the connector's own methods don't hand it on."""

_HEAD_END = re.compile(rb"\n\r?\n")
_INTERIM = re.compile(rb"HTTP/1\.[01] 1(?!01)")
_SPACE = re.compile(rb"(\n[!-9;-~]+)[ \t]+:")
_LENGTH = re.compile(rb"\r?\ncontent-length:[^\r\n]*", re.IGNORECASE)
_CHUNKED = re.compile(rb"\ntransfer-encoding:[ \t]*chunked")


class Route(NamedTuple):
    """The way to a base URL.

    prefix: scheme, host and path; headers: those for a proxy that forwards; settings: arguments of
    `aiohttp.ClientRequest`, for the connection; context: how to secure that, if it is wanted.
    """

    host: str
    prefix: str
    headers: Mapping[str, str]
    settings: Mapping[str, Any]
    context: SharedContext | None

    async def options(self) -> dict[str, Any]:
        """Return the arguments of aiohttp's request, as soon as the certificates are loaded."""
        options = dict(self.settings)
        if "proxy_headers" in options:
            options["proxy_headers"] = options["proxy_headers"].reveal()
        if self.context is not None:
            made = self.context.get()
            options["ssl"] = made.result() if made.done() else await asyncio.wrap_future(made)
        return options


class SentRequest(aiohttp.ClientRequest):
    """aiohttp's request, which tells the connector for which loan it wants a connection."""

    loan: Loan | None = None


class Target(SentRequest):
    """The same for all exchanges on a route: where they connect to. It is never sent itself.

    prefix: what the path follows in the request line.
    """

    prefix: str

    @staticmethod
    async def of(route: Route) -> Target:
        """Return the target that a route leads to."""
        options = await route.options()
        if "proxy" in options:
            options["proxy"] = URL(options["proxy"])
        loop = asyncio.get_running_loop()
        target = Target("GET", URL(route.prefix, encoded=True), loop=loop, **options)
        forwarded = target.proxy is not None and not target.is_ssl()
        target.prefix = route.prefix if forwarded else target.url.raw_path.rstrip("/")
        return target

    @cached_property
    def connection_key(self) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
        """The key of usable connections: read once, since connecting changes `proxy_headers`."""
        return super().connection_key


class Loan:
    """A connection that is lent for one exchange, from the wait for it to the response's end.

    It knows no exchange, since aiohttp and the loop keep it: so that is garbage once it is dropped.

    doing: what takes the time, for messages; new: whether the connection has just been made;
    tunnel: whether a proxy only hands on what goes over it; connect_timeout: seconds;
    protocol: that of the connection, as soon as there is one.
    """

    doing = "waiting for a free connection"
    new = False
    tunnel = False
    protocol: Handler
    _transport: asyncio.Transport | None = None
    _connection: Connection | None = None
    _writer: asyncio.Task[None] | None = None

    def __init__(self, connect_timeout: float | None) -> None:
        self.connect_timeout = connect_timeout
        self._sockets: list[socket.socket] = []
        self._first: Any = None

    @property
    def sent(self) -> bool:
        """True if a part of the request may have left."""
        return self._transport is not None

    def watch(self, sock: socket.socket, address: Any) -> None:
        """Take note of a socket that is about to connect."""
        self._sockets.append(sock)
        self._first = self._first or address
        self.doing = connecting_to(self._first, len(self._sockets))

    def begin(
        self, connection: Connection, protocol: Handler, transport: asyncio.Transport
    ) -> None:
        """Begin, over a connection that can be used."""
        protocol.at_start = True
        self._connection, self.protocol, self._transport = connection, protocol, transport
        self._sockets.clear()

    def send(self, head: bytes, body: bytes) -> None:
        """Send a request: at once, or in the background if it is large."""
        assert self._transport is not None
        if len(body) <= LARGE:
            self._transport.write(head + body)
            self.protocol.start_timeout()
        else:
            self._transport.write(head)
            loop = asyncio.get_running_loop()
            self._writer = loop.create_task(_send_slowly(self.protocol, body))

    def let_pause(self) -> None:
        """End aiohttp's limit for each read."""
        if self._connection is not None:
            self.protocol.read_timeout = None
            self.protocol.start_timeout()

    def end(self) -> None:
        """Give the connection back, since all of the response has come.

        If some of the request is still unsent, abort it. Closed, as aiohttp does, it would stay
        open until the server has read the rest.
        """
        connection, self._connection = self._connection, None
        if connection is None:  # it has been given up
            return
        transport = connection.transport
        unsent = self._writer is not None and not self._writer.done()
        if self._writer is not None:
            self._writer.cancel()
        if transport is not None and (unsent or _has_unsent(transport)):
            transport.abort()
        connection.release()

    def give_up(self) -> None:
        """Abort the connection, unless it was given back, and has perhaps been lent again.

        Closed, as aiohttp does, it would wait for the server to read what is unsent, and to take
        leave by TLS.
        """
        connection, self._connection = self._connection, None
        if connection is None or self._transport is None:
            return
        connection.close()
        if self.protocol.transport is None:  # so it was ours to close
            with contextlib.suppress(RuntimeError):  # the loop is closed
                self._transport.abort()

    def waiting_for(self) -> str:
        """Return what takes so long."""
        if self._transport is None:
            if not any(map(_is_connected, self._sockets)):
                return self.doing
            if self.tunnel:
                return "waiting for the proxy's tunnel"
            return "securing the connection by TLS"
        return "sending the request" if _has_unsent(self._transport) else self.doing


async def _send_slowly(protocol: ResponseHandler, body: bytes) -> None:
    writer = StreamWriter(protocol, asyncio.get_running_loop())
    # A connection that is lost is reported to who waits for the response.
    with contextlib.suppress(OSError, aiohttp.ClientError):
        for start in range(0, len(body), SLICE):
            await writer.write(memoryview(body)[start : start + SLICE])
        protocol.start_timeout()


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


class Handler(ResponseHandler):
    """aiohttp's protocol of a connection, and what its parser refuses but http.client takes.

    at_start: whether a response is to begin. Its head is held back until all of it has come.
    """

    at_start = True
    _held: bytes = b""

    def data_received(self, data: bytes) -> None:
        """Take what has come, as aiohttp's."""
        while self.at_start and data:
            data = self._held + data
            end = data.find(b"\r\n\r\n") + 4
            if end < 4:
                bare = _HEAD_END.search(data)
                end = bare.end() if bare else 0
            if not end and len(data) < LINE and data[:5] == b"HTTP/"[: len(data)]:
                self._held = data
                self.start_timeout()
                return
            self._held = b""
            came = data[:end]
            head = _mended(came)
            self.at_start = _INTERIM.match(head) is not None
            if self.at_start:
                super().data_received(head)
                self.start_timeout()  # aiohttp has ended it, as after a response
                data = data[end:]
            elif head is not came:
                data = head + data[end:]
        if data:
            super().data_received(data)

    def is_stale(self, transport: asyncio.Transport) -> bool:
        """Return whether the server has closed a kept connection, or sent what nobody asked for.

        Such a response would be taken for the one to the next request. aiohttp knows what the loop
        has seen; the socket knows what came since then.
        """
        sock = transport.get_extra_info("socket")
        if self.should_close or (sock is not None and wait_for_read(sock, 0)):
            return True
        # The parser hides a part of a head. This ends one; where there is none, it means nothing.
        self.read_timeout = None
        super().data_received(b"\r\n\r\n")
        return self.should_close

    def connection_lost(self, exc: BaseException | None) -> None:
        """Take leave, as aiohttp's."""
        if self.transport is not None:
            # Before Python 3.11, that of TLS warns unless it was closed, also after the server did.
            self.transport.close()
        super().connection_lost(exc)


def _mended(head: bytes) -> bytes:
    """Return the head of a response as aiohttp's parser takes it, which is stricter than HTTP is.

    RFC 9112 section 5.1: space before a colon is dropped. RFC 9110 section 8.6: the length may be
    told several times, if always alike. RFC 9112 section 6.3: it is not that of chunks.
    """
    if b" :" in head or b"\t:" in head:
        head = _SPACE.sub(rb"\1:", head)
    fields = head.lower()
    _, *told = fields.split(b"\ncontent-length:")
    lengths = b",".join([rest.partition(b"\n")[0] for rest in told])
    chunked = b"\ntransfer-encoding:" in fields and _CHUNKED.search(fields)
    if not told or not (chunked or b"," in lengths):
        return head
    values = {value.strip() for value in lengths.split(b",")}
    if len(values) > 1 and not chunked:
        return head
    length = b"" if chunked else b"\r\nContent-Length: " + values.pop()
    return _LENGTH.sub(b"", head).rstrip(b"\r\n") + length + b"\r\n\r\n"


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

    It has as many as are asked for: whoever asks sets the limit.
    """

    def __init__(self, socket_options: Iterable[tuple[int, int, int | bytes]]) -> None:
        super().__init__(  # pyright: ignore[reportUnknownMemberType]  # aiohttp's own
            limit=0,
            keepalive_timeout=IDLE,
            resolver=Resolver(),
            socket_factory=partial(_new_socket, socket_options),
        )
        # Private to aiohttp. Under another name, such heads would be refused, and no more.
        self._factory = cast(Any, partial(Handler, loop=self._loop))
        self._target: tuple[Route, Target] | None = None

    async def target_of(self, route: Route) -> Target:
        """Return the target that a route leads to, made when the route is first used."""
        if self._target is None or self._target[0] is not route:
            self._target = route, await Target.of(route)
        return self._target[1]

    async def lend(
        self, loan: Loan, request: aiohttp.ClientRequest, traces: list[Trace] | None = None
    ) -> Connection:
        """Begin a loan, with a connection to where a request goes."""
        token = LOAN.set(loan)
        try:
            while True:
                loan.new = False
                connection = await super().connect(request, traces or [], NO_LIMIT)
                protocol, transport = cast(Handler, connection.protocol), connection.transport
                assert transport is not None
                if loan.new or not protocol.is_stale(transport):
                    loan.begin(connection, protocol, transport)
                    return connection
                transport.abort()
                connection.close()  # and take the next one
        finally:
            LOAN.reset(token)

    async def connect(
        self, req: aiohttp.ClientRequest, traces: list[Trace], timeout: aiohttp.ClientTimeout
    ) -> Connection:
        """Return a connection for a request of a session, as `aiohttp.BaseConnector.connect`."""
        loan = cast(SentRequest, req).loan
        assert loan is not None
        return await self.lend(loan, req, traces)

    async def _create_connection(
        self, req: aiohttp.ClientRequest, traces: list[Trace], timeout: aiohttp.ClientTimeout
    ) -> ResponseHandler:
        # What kinds of connectors differ in. It has no public name; but only here is it known that
        # there is no kept connection, and that the time for connecting begins.
        loan = LOAN.get()
        loan.new, loan.doing = True, "looking up the host"
        loan.tunnel = req.proxy is not None and req.is_ssl()
        async with time_limit(loan.connect_timeout):
            return await super()._create_connection(req, traces, timeout)


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
    """Return a socket that the loan under way watches; address: as of `socket.getaddrinfo`."""
    sock = _Socket(*address[:3])
    try:
        for option in options:
            sock.setsockopt(*option)
    except BaseException:
        sock.close()
        raise
    LOAN.get().watch(sock, address[4])
    return sock
