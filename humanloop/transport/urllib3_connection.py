"""Connections of urllib3 that keep a deadline.

Invariants: every wait on a socket gets what is left of the deadline, so that it holds for a server
that sends or reads slowly as for one that is silent. (Only looking up a host name is beyond it, for
which systems offer no limit; and a host of several addresses may take the time to connect once for
each.) A head that was cut off is an error, never a shorter head.
"""

from __future__ import annotations

import contextlib
import functools
import http.client
import io
import math
import socket
from collections.abc import Generator
from time import monotonic
from typing import TYPE_CHECKING, Any, cast

from urllib3.connection import HTTPConnection, HTTPSConnection

if TYPE_CHECKING:
    from humanloop.http import Request

__all__ = ["Connection", "Deadline", "TlsConnection", "socket_of"]

SLICE = 16_384
"""Bytes per write: the largest TLS record, so that no single write outlives the deadline unseen."""

TICK = 0.005
"""Seconds by which a clock and a timeout may differ."""


class Deadline:
    """The end of an exchange, or of one read of its stream, and the limits within it.

    connecting: whether the connection is being made; sent: whether a part of the request may have
    left.
    """

    def __init__(self, request: Request) -> None:
        self.connecting = False
        self.sent = False
        self._connect_timeout = request.connect_timeout
        self._read_timeout = request.read_timeout
        self._connect_end = math.inf
        self._restart(request.timeout)

    @property
    def over(self) -> bool:
        """Whether the whole of it has passed."""
        return monotonic() >= self._end - TICK

    def _restart(self, seconds: float | None) -> None:
        self._end = math.inf if seconds is None else monotonic() + seconds

    def limit_read(self, seconds: float | None) -> None:
        """Become the limit for one read of a stream; None: no limit."""
        self._read_timeout = None
        self._restart(seconds)

    @contextlib.contextmanager
    def while_connecting(self) -> Generator[None, None, None]:
        """Keep `connect_timeout` meanwhile."""
        if self._connect_timeout is not None:
            self._connect_end = monotonic() + self._connect_timeout
        self.connecting = True
        yield
        self.connecting = False
        self._connect_end = math.inf

    def remaining(self, *, reading: bool = False) -> float | None:
        """Return the seconds left for a wait; None: any. Raises TimeoutError if there are none."""
        end = min(self._end, self._connect_end)
        left = end - monotonic() if end < math.inf else math.inf
        if left <= 0:
            raise TimeoutError("the deadline has passed")
        if reading and self._read_timeout is not None:
            left = min(left, self._read_timeout)
        return left if left < math.inf else None


class _Reader(io.RawIOBase):
    """A socket's bytes, each read with what is left of the deadline."""

    def __init__(self, sock: socket.socket, deadline: Deadline) -> None:
        self.socket = sock
        self._raw = sock.makefile("rb", buffering=0)
        self._deadline = deadline

    def makefile(self, mode: str) -> io.BufferedReader:
        """Return the file that http.client asks a socket for."""
        return _HeadReader(self)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any, /) -> int | None:
        self.socket.settimeout(self._deadline.remaining(reading=True))
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


class _Response(http.client.HTTPResponse):
    def __init__(self, sock: socket.socket, *args: Any, deadline: Deadline, **options: Any) -> None:
        super().__init__(cast("socket.socket", _Reader(sock, deadline)), *args, **options)

    def begin(self) -> None:
        reader = cast(_HeadReader, self.fp)
        super().begin()
        if reader.line not in (b"\r\n", b"\n"):
            raise http.client.IncompleteRead(b"")


def socket_of(response: http.client.HTTPResponse) -> socket.socket | None:
    """Return the socket that a response is read from; None when all of it has been read."""
    reader = cast("_HeadReader | None", response.fp)
    return None if reader is None else cast(_Reader, reader.raw).socket


class Connection(HTTPConnection):
    """Keeps the deadline of the exchange that it is lent to."""

    sock: socket.socket | None
    deadline: Deadline

    def lend(self, deadline: Deadline) -> None:
        """Keep this deadline from now on."""
        self.deadline = deadline
        # http.client makes the response, and hands nothing of ours down to it.
        self.response_class = cast(Any, functools.partial(_Response, deadline=deadline))

    def connect(self) -> None:
        """Make the connection, through a tunnel if one is set."""
        with self.deadline.while_connecting():
            self.timeout = self.deadline.remaining()
            super().connect()

    def _new_conn(self) -> socket.socket:
        # The one place between TCP and TLS, for which urllib3 has no public name: without it, the
        # handshake could take as long again as the connection may.
        self.sock = super()._new_conn()
        self.sock.settimeout(self.deadline.remaining())
        return self.sock

    def send(self, data: Any) -> None:
        """Send bytes of a request, or of CONNECT, which is a part of connecting."""
        if self.sock is None:
            self.connect()
        assert self.sock is not None
        for start in range(0, len(data), SLICE):
            self.sock.settimeout(self.deadline.remaining())
            self.deadline.sent = not self.deadline.connecting
            super().send(memoryview(data)[start : start + SLICE])


class TlsConnection(Connection, HTTPSConnection):
    """As `Connection`, by TLS."""
