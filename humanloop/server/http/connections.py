"""uvicorn's connections, with limits on their time and number, and unambiguous framing.

Anybody who reaches the port can open connections, without a key. A connection that sends no
complete request head, sends something other than HTTP, or does not take its answer is therefore
closed, and one connection too many is refused at once. Invariants: connections accepted before are
still served; no received data is logged.
"""

from __future__ import annotations

import asyncio
import logging
import os
import re
import socket
import struct
import sys
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from humanloop import schemas
from humanloop.server.operations.calls import Settings
from humanloop.server.seldom import Seldom

MAX_HEAD = 64 * 1024
"""The bytes of a request's first line and headers."""

_AT_ONCE = struct.pack("ii" if os.name == "posix" else "hh", 1, 0)  # struct linger: close at once
_HEAD_END = re.compile(rb"\n\r?\n")
_FOLDED_LINE = re.compile(rb"\n[ \t]")
_REASONS = {
    400: b"Bad Request",
    408: b"Request Timeout",
    431: b"Request Header Fields Too Large",
    501: b"Not Implemented",
    503: b"Service Unavailable",
}

# Anybody can cause uvicorn's warnings as often as they like.
_uvicorn_logger = logging.getLogger("humanloop.server.uvicorn")
_uvicorn_logger.setLevel(logging.ERROR)


def connections_within(settings: Settings) -> int:
    """Return how many connections may be open: at most half of the limit of open files."""
    if sys.platform == "win32":  # Windows has no such limit
        return settings.max_connections
    import resource

    files = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    if files == resource.RLIM_INFINITY:
        return settings.max_connections
    return min(settings.max_connections, files // 2)


class Connection(H11Protocol):
    """A connection of uvicorn's that enforces the limits.

    settings: the limits; most: how many connections may be open; seldom: the log for repeated
        texts.
    """

    def __init__(self, settings: Settings, most: int, seldom: Seldom, **keywords: Any) -> None:
        super().__init__(**keywords)
        self.logger = _uvicorn_logger
        self._settings = settings
        self._most = most
        self._seldom = seldom
        self._awaiting_head: asyncio.TimerHandle | None = None
        self._awaiting_reader: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Accept the connection, or refuse it if there are too many."""
        super().connection_made(transport)
        # With this, writing is paused while anything is left to send, and resumed once all is sent.
        transport.set_write_buffer_limits(high=0)
        if len(self.connections) > self._most:
            self._seldom.warning(f"Over {self._most} connections at once: the others are refused.")
            self.connections.discard(self)
            self._refuse(503, "Too many connections are open.")
        else:
            self._await_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """Cancel the time limits."""
        self._head_came()
        self.resume_writing()
        super().connection_lost(exc)

    def handle_events(self) -> None:
        """Handle the received data, and note whether a head is still incomplete."""
        if self.conn.their_state is h11.IDLE:
            data = self.conn.trailing_data[0]
            end = _HEAD_END.search(data)
            size = len(data) if end is None else end.start()
            if size > MAX_HEAD:  # h11 checks the size only of incomplete heads
                self._refuse(431, f"The head of the request is over {MAX_HEAD:,} bytes.")
                return
            # h11 unfolds it, as RFC 9112 allows, but other programs on the way may read it
            # differently.
            if _FOLDED_LINE.search(data, 0, size):
                self._refuse(
                    400, "A header must not be folded over several lines (RFC 9112, section 5.2)."
                )
                return
        super().handle_events()
        if self.conn.their_state is not h11.IDLE:
            self._head_came()
        elif self.conn.trailing_data[0] and not self.transport.is_closing():
            self._await_head()

    def send_400_response(self, msg: str) -> None:
        """Refuse data that is not HTTP."""
        error = sys.exc_info()[1]  # uvicorn is handling it; h11 knows the status
        status = error.error_status_hint if isinstance(error, h11.RemoteProtocolError) else 400
        self._refuse(status, msg)

    def pause_writing(self) -> None:
        """Start the time limit in which the reader must take the sent data."""
        super().pause_writing()
        if self._awaiting_reader is None:
            self._awaiting_reader = self.loop.call_later(self._settings.body_seconds, self._give_up)

    def resume_writing(self) -> None:
        """End the time limit, since the reader took everything."""
        super().resume_writing()
        if self._awaiting_reader is not None:
            self._awaiting_reader.cancel()
            self._awaiting_reader = None

    def _await_head(self) -> None:
        if self._awaiting_head is None:
            seconds = self._settings.head_seconds
            self._awaiting_head = self.loop.call_later(seconds, self._head_is_late)

    def _head_came(self) -> None:
        if self._awaiting_head is not None:
            self._awaiting_head.cancel()
            self._awaiting_head = None

    def _head_is_late(self) -> None:
        if self.conn.trailing_data[0]:
            seconds = self._settings.head_seconds
            self._refuse(408, f"The head of the request took over {seconds:g} seconds.")
        else:
            self.transport.close()

    def _give_up(self) -> None:
        """Close at once, and make the system discard unsent data."""
        connection = self.transport.get_extra_info("socket")
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _AT_ONCE)
        self.transport.abort()

    def _refuse(self, status: int, detail: str) -> None:
        """Refuse unless an answer has begun, and close; the application sees a disconnect."""
        self._head_came()
        cycle: Any = self.cycle  # None before the first request
        if cycle is not None and not cycle.response_complete:
            cycle.disconnected = True
            cycle.message_event.set()
        if self.conn.our_state in {h11.IDLE, h11.SEND_RESPONSE}:
            body = schemas.to_json({"detail": detail}).encode()
            headers = [
                *self.server_state.default_headers,
                (b"content-type", b"application/json"),
                (b"content-length", b"%d" % len(body)),
                (b"connection", b"close"),
            ]
            response = h11.Response(
                status_code=status, headers=headers, reason=_REASONS.get(status, b"")
            )
            # One write, since the peer may hang up after any.
            parts = [response, h11.Data(data=body), h11.EndOfMessage()]
            self.transport.write(b"".join(self.conn.send(part) or b"" for part in parts))
        self.transport.close()
