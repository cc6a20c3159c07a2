"""Connections of urllib3 that keep a deadline.

Invariants: every wait gets what is left of the deadline: looking up the host, connecting to
whichever of its addresses, a tunnel, TLS, sending, and each read. So it holds for a server that
sends or reads slowly as for one that is silent. A head that was cut off is an error, never a
shorter head; interim responses (1xx) come before the response, and are not it. A connection is
used again only if nothing has followed the last response.
"""

from __future__ import annotations

import contextlib
import functools
import http.client
import io
import math
import re
import socket
import ssl
import sys
from collections.abc import Generator, Mapping
from time import monotonic
from typing import TYPE_CHECKING, Any, cast

from urllib3 import HTTPHeaderDict
from urllib3.exceptions import LocationParseError
from urllib3.response import HTTPResponse
from urllib3.util import Timeout
from urllib3.util.connection import allowed_gai_family
from urllib3.util.ssltransport import SSLTransport

from humanloop.http import Headers
from humanloop.transport import connecting
from humanloop.transport.common import (
    LONGEST,
    TICK,
    check_length,
    check_status,
    connecting_to,
    header_lines,
)

if TYPE_CHECKING:
    from urllib3.connection import HTTPConnection, HTTPSConnection

    from humanloop.http import Request
else:
    import urllib3.connection

    def _original(kind):
        """Return urllib3's own class; a tool that replays calls may have set another."""
        return next(base for base in kind.__mro__ if base.__module__ == "urllib3.connection")

    HTTPConnection = _original(urllib3.connection.HTTPConnection)
    HTTPSConnection = _original(urllib3.connection.HTTPSConnection)

__all__ = [
    "Connection",
    "Deadline",
    "HTTPConnection",
    "HTTPSConnection",
    "Response",
    "TlsConnection",
]

LINE = 65_536
"""Bytes of a header at most; LINES: how many there may be; both as in http.client."""

LINES = 100

_CHUNK_SIZE = re.compile(rb"[0-9A-Fa-f]{1,16}")  # RFC 9112, section 7.1

SLICE = 16_384
"""Bytes per write: the largest TLS record, so that no single write outlives the deadline unseen."""


class Deadline(Timeout):
    """The end of an exchange, or of one read of its stream, and the limits within it.

    For urllib3, it is a timeout whose clock runs already. connecting: whether the connection is
    being made; sent: whether a part of the request may have left; doing: what takes the time.
    """

    def __init__(self, request: Request) -> None:
        self.connecting = False
        self.sent = False
        self.doing = ""
        self._connect_timeout = request.connect_timeout
        self._read_timeout = request.read_timeout
        self._connect_end = math.inf
        self._restart(request.timeout)

    def __repr__(self) -> str:
        return f"Deadline({self.doing!r})"

    def clone(self) -> Deadline:
        """Return itself: there is one for all that urllib3 does."""
        return self

    def start_connect(self) -> float:
        """Do nothing, in place of starting a clock; return the time."""
        return monotonic()

    @property
    def connect_timeout(self) -> float | None:
        """The limit that urllib3 sets for connections which other tools have made."""
        return self.remaining()

    @property
    def read_timeout(self) -> float | None:
        """The same as `connect_timeout`."""
        return self.remaining()

    @property
    def over(self) -> bool:
        """True if the deadline has passed."""
        return monotonic() >= self._end - TICK

    def _restart(self, seconds: float | None) -> None:
        self._end = math.inf if seconds is None else monotonic() + min(seconds, LONGEST)

    def limit_read(self, seconds: float | None) -> None:
        """Become the limit for one read of a stream; None: no limit."""
        self._read_timeout = None
        self._restart(seconds)

    @contextlib.contextmanager
    def while_connecting(self) -> Generator[None, None, None]:
        """Keep `connect_timeout` meanwhile."""
        if self._connect_timeout is not None:
            self._connect_end = monotonic() + min(self._connect_timeout, LONGEST)
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
            left = min(left, self._read_timeout, LONGEST)
        return left if left < math.inf else None


class _Reader(io.RawIOBase):
    """A socket's bytes, each read with what is left of the deadline.

    ended: whether no more of them are wanted.
    """

    ended = False

    def __init__(self, sock: socket.socket, deadline: Deadline) -> None:
        self.socket = sock
        self._raw = sock.makefile("rb", buffering=0)
        self._deadline = deadline

    def makefile(self, mode: str) -> io.BufferedReader:
        """Return the file that http.client asks a socket for."""
        return io.BufferedReader(self)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any, /) -> int | None:
        if self.ended:
            return 0
        self.socket.settimeout(self._deadline.remaining(reading=True))
        return self._raw.readinto(buffer)

    def close(self) -> None:
        self._raw.close()
        super().close()


class _Response(http.client.HTTPResponse):
    """Reads the head itself: http.client takes it for that of a mail, which is slow and lenient.

    lines: the fields of its head, one after another; fields: the same by name; followed: whether
    more came with the end of the response, which nobody asked for.
    """

    lines: list[tuple[str, str]]
    fields: Headers
    followed = False

    def __init__(self, sock: socket.socket, *args: Any, deadline: Deadline, **options: Any) -> None:
        super().__init__(cast("socket.socket", _Reader(sock, deadline)), *args, **options)
        self._deadline = deadline

    def begin(self) -> None:
        """Read the head of the response (RFC 9112), and set what http.client reads its body by."""
        self._deadline.doing = "waiting for the answer"
        version, status, reason = self._read_status()
        check_status(status)
        self.lines = _read_fields(self.fp)
        self._deadline.doing = "reading the rest of the answer"
        if not version.startswith("HTTP/1."):
            raise http.client.UnknownProtocol(version)
        self.version = 10 if version == "HTTP/1.0" else 11
        self.code = self.status = status
        self.reason = reason.strip()
        self.fields = Headers(self.lines)
        self.length = check_length(self.fields)
        if self.length is not None and "," in self.fields["Content-Length"]:
            others = [field for field in self.lines if field[0].lower() != "content-length"]
            self.lines = [*others, ("Content-Length", str(self.length))]  # as tracers expect it
        self.headers = self.msg = http.client.HTTPMessage()
        for field in self.lines:
            self.msg.set_raw(*field)
        codings = self.fields.get("Transfer-Encoding", "").lower()
        self.chunked = codings.rpartition(",")[2].strip() == "chunked"  # RFC 9112, section 6.3
        self.chunk_left = None
        if self.chunked:
            self.length = None
        elif status in (204, 304):
            self.length = 0
        connection = self.fields.get("Connection", "").lower()
        keeps = "keep-alive" in connection if self.version == 10 else "close" not in connection
        self.will_close = not keeps or (self.length is None and not self.chunked)

    def _read_status(self) -> tuple[str, int, str]:
        # Private to http.client, which reads the response to CONNECT by it as well.
        while True:
            version, status, reason = cast(Any, super())._read_status()
            if status > 199 or status == 101:
                return version, status, reason
            _read_fields(self.fp)

    def _close_conn(self) -> None:
        # Private to http.client, which does this at the end of a body: the buffer is dropped.
        file: Any = self.fp
        self.fp = cast(Any, None)
        if file is None:  # another thread was faster
            return
        file.raw.ended = True
        try:
            self.followed = file.peek().strip(b"\r\n") != b"" or _decrypted(file.raw.socket) > 0
        except ValueError:  # or is at it
            self.followed = True
        file.close()

    def _read_next_chunk_size(self) -> int:
        # Called by http.client, whose own takes all that int() does: +1a, 0x1a and 1_a.
        line = self.fp.readline(LINE + 1)
        if not line.endswith(b"\n") and len(line) <= LINE:
            raise http.client.IncompleteRead(b"")
        size = line.partition(b";")[0].rstrip(b" \t\r\n")
        if not _CHUNK_SIZE.fullmatch(size):
            raise http.client.HTTPException("the size of a chunk is no number")
        return int(size, 16)


def _decrypted(sock: Any) -> int:
    """Return how many bytes TLS has read from the system, which no longer tells of them."""
    if isinstance(sock, SSLTransport):  # TLS in TLS
        return sock.sslobj.pending() + sock.incoming.pending + _decrypted(sock.socket)
    return sock.pending() if isinstance(sock, ssl.SSLSocket) else 0


def _read_fields(file: io.BufferedReader) -> list[tuple[str, str]]:
    """Read header fields and the empty line after them (RFC 9112, section 5), as Latin-1."""
    fields: list[tuple[str, str]] = []
    for _ in range(LINES):
        line = file.readline(LINE + 1)
        if line in (b"\r\n", b"\n"):
            return fields
        if len(line) > LINE:
            raise http.client.LineTooLong("header line")
        if not line.endswith(b"\n"):
            raise http.client.IncompleteRead(b"")
        if b"\0" in line or b"\r" in line.removesuffix(b"\r\n"):  # RFC 9110 section 5.5
            raise http.client.HTTPException("a header with a NUL or CR character")
        name, colon, value = line.decode("latin-1").partition(":")
        if line[0] in b" \t" and fields:  # the last one goes on (section 5.2)
            goes_on = f"{name}{colon}{value}".strip()
            name, value = fields.pop()
            colon, value = ":", f"{value} {goes_on}"
        if not colon or not name.strip():
            raise http.client.HTTPException("a header without a name")
        fields.append((name.rstrip(), value.strip()))
    raise http.client.HTTPException(f"more than {LINES} headers")


class Response(HTTPResponse):
    """A response as urllib3 and its instrumentation know it.

    raw: where its head and body come from.
    """

    raw: _Response

    @property
    def socket(self) -> socket.socket | None:
        """The socket that it is read from; None when all of it has been read."""
        file = cast("io.BufferedReader | None", self.raw.fp)
        if file is None:
            return None
        sock: Any = cast(_Reader, file.raw).socket
        return sock.socket if isinstance(sock, SSLTransport) else sock  # that is TLS in TLS


class Connection(HTTPConnection):
    """Keeps the deadline of the exchange that it is lent to.

    used: when it was last used, by `time.monotonic()`.
    """

    sock: socket.socket | None
    deadline: Deadline
    used: float
    _last: _Response | None = None

    @property
    def is_connected(self) -> bool:
        """True if a kept connection can be used: nothing can be read from it, not even its end.

        That would be taken for the response to the next request.
        """
        return super().is_connected and not (self._last is None or self._last.followed)

    def lend(self, deadline: Deadline) -> None:
        """Keep this deadline from now on."""
        self.deadline = deadline
        # http.client makes the response, and hands nothing of ours down to it.
        self.response_class = cast(Any, functools.partial(_Response, deadline=deadline))

    def connect(self) -> None:
        """Make the connection, through a tunnel if one is set."""
        with self.deadline.while_connecting():
            super().connect()

    def _new_conn(self) -> socket.socket:
        # The one place between TCP and what comes on top, for which urllib3 has no public name:
        # its own looks up without a limit, and gives each address all the time there is.
        deadline = self.deadline
        deadline.doing = "looking up the host"
        host = self._dns_host.strip("[]")
        try:
            host.encode("idna")
        except UnicodeError as error:
            raise LocationParseError(f"{host!r}, label empty or too long") from error
        found = connecting.look_up(host, self.port, allowed_gai_family(), deadline.remaining)
        deadline.doing = connecting_to(found[0][4], len(found))
        self.sock = connecting.connect(found, self._make_socket, deadline.remaining)
        self.sock.settimeout(deadline.remaining())
        sys.audit("http.client.connect", self, self.host, self.port)
        deadline.doing = "securing the connection by TLS"
        return self.sock

    def _make_socket(self, address: connecting.Address) -> socket.socket:
        sock = socket.socket(*address[:3])
        try:
            for option in self.socket_options or ():
                sock.setsockopt(*option)
            if self.source_address:
                sock.bind(self.source_address)
        except BaseException:
            sock.close()
            raise
        return sock

    def _tunnel(self) -> None:
        self.deadline.doing = "waiting for the proxy's tunnel"
        super()._tunnel()
        self.deadline.doing = "securing the connection by TLS"

    def send(self, data: Any) -> None:
        """Send bytes of a request, or of CONNECT, which is a part of connecting."""
        if self.sock is None:
            self.connect()
        assert self.sock is not None
        if not self.deadline.connecting:
            self.deadline.doing = "sending the request"
        for start in range(0, len(data), SLICE):
            self.sock.settimeout(self.deadline.remaining())
            self.deadline.sent = not self.deadline.connecting
            super().send(memoryview(data)[start : start + SLICE])

    def request(
        self,
        method: str,
        url: str,
        body: Any = None,
        headers: Mapping[str, Any] | None = None,
        **options: Any,
    ) -> None:
        """Send a request whose headers are complete, but for Host, and tell how long its body is.

        options: settings of urllib3 for the response, which has its own here.
        """
        # Tools may add fields, as bytes, too.
        fields = {
            name: value.decode("latin-1") if isinstance(value, bytes) else str(value)
            for name, value in (headers or {}).items()
        }
        has_host = any(name.lower() == "host" for name in fields)
        self.putrequest(method, url, skip_host=has_host, skip_accept_encoding=True)
        # Private to http.client, whose `putheader` would check each field again.
        buffer: list[bytes] = cast(Any, self)._buffer
        buffer.append(header_lines(url, fields).removesuffix("\r\n").encode("latin-1"))
        self.endheaders(body)

    def _send_output(self, message_body: Any = None, encode_chunked: bool = False) -> None:
        # Private to http.client, which sends the body apart: one more packet and system call. Only
        # small bodies are copied.
        buffer: list[bytes] = cast(Any, self)._buffer
        head = b"\r\n".join([*buffer, b"", b""])
        buffer.clear()
        body = message_body or b""
        for part in (head + body,) if len(body) <= SLICE else (head, body):
            self.send(part)

    def getresponse(self) -> Response:  # type: ignore[override]  # as urllib3's own
        """Return the head of the response, with a body that is still to be read."""
        raw = self._last = cast(_Response, http.client.HTTPConnection.getresponse(self))
        headers = HTTPHeaderDict()
        for name, value in raw.lines:
            headers.add(name, value)
        try:
            response = Response(
                raw,
                headers,
                raw.status,
                raw.version,
                reason=raw.reason,
                preload_content=False,
                decode_content=False,
                original_response=cast(Any, raw),
            )
        except BaseException:
            raw.close()
            raise
        response.raw = raw
        return response


class TlsConnection(Connection, HTTPSConnection):
    """A `Connection` by TLS."""
