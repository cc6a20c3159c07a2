"""Server-sent events out of the bytes of a stream (HTML Living Standard, section 9.2.6).

`EventParser` takes the bytes as they come and returns the events that they complete.

Invariants: nothing here does I/O; the events are the same wherever the chunks are cut, be it in a
character, between CR and LF or in the byte order mark; every byte is looked at once, however small
the chunks; and what is held is bounded by `max_event_bytes`.

The bytes are cut into lines, and the lines into fields, before they are decoded. That gives what
decoding first would: no byte of a longer UTF-8 sequence is a CR, an LF or a colon, and one of them
within a sequence cuts it off either way.
"""

from __future__ import annotations

import re
from typing import NamedTuple

__all__ = ["MAX_EVENT_BYTES", "EventParser", "ServerSentEvent"]

MAX_EVENT_BYTES = 64 * 1024 * 1024
"""The default limit of an event's size."""

_BOM = b"\xef\xbb\xbf"
_LINE_END = re.compile(rb"\r\n?|\n")


class ServerSentEvent(NamedTuple):
    """One event: its lines of data, joined by LF, and its type.

    The fields `id` and `retry` are for reconnecting, which this client never does: they are read
    over, as are unknown ones.
    """

    data: str
    event: str = "message"


class EventParser:
    """The state of one stream. A new connection needs a new parser.

    max_event_bytes: how much of an unfinished event may be held, counted as data so far and the
    line that is coming in; None: any amount.
    """

    def __init__(self, *, max_event_bytes: int | None = MAX_EVENT_BYTES) -> None:
        self._limit = max_event_bytes
        self._lines = 0
        self._line = bytearray()  # of the line that has not ended
        self._data = bytearray()  # of the event that has not ended; each line with its LF
        self._event = ""
        self._after_cr = False
        self._refusal = ""

    @property
    def lines(self) -> int:
        """The number of lines so far, comments and blank ones included: a sign of life."""
        return self._lines

    @property
    def pending(self) -> bool:
        """True if data or a part of a line came that no blank line has completed.

        At the end of a stream it means that the stream was cut off: this event is lost.
        """
        skipped = len(_BOM) if self._lines == 0 and self._line.startswith(_BOM) else 0
        return bool(self._data) or len(self._line) > skipped

    @property
    def unfinished(self) -> str:
        """The data of the event that no blank line has completed."""
        name, _, value = bytes(self._line).partition(b":")
        last = value.removeprefix(b" ") if name == b"data" else b""
        return _text(self._data + last).removesuffix("\n")

    def feed(self, data: bytes) -> list[ServerSentEvent]:
        """Take the next bytes of the stream; return the events that they complete.

        Raises ValueError when an event grows beyond `max_event_bytes`, then and ever after.
        """
        if self._refusal:
            raise ValueError(self._refusal)
        if not data:
            return []
        events: list[ServerSentEvent] = []
        # A CR has ended its line already. An LF behind it belongs to the same line end.
        start = 1 if self._after_cr and data.startswith(b"\n") else 0
        self._after_cr = data.endswith(b"\r")
        for end in _LINE_END.finditer(data, start):
            self._hold(data[start : end.start()])
            start = end.end()
            event = self._end_line()
            if event is not None:
                events.append(event)
        self._hold(data[start:])
        return events

    def _hold(self, part: bytes) -> None:
        if self._limit is not None and len(self._data) + len(self._line) + len(part) > self._limit:
            self._refusal = (
                f"a server-sent event is larger than the {self._limit} bytes that"
                " max_event_bytes allows"
            )
            raise ValueError(self._refusal)
        self._line += part

    def _end_line(self) -> ServerSentEvent | None:
        line = bytes(self._line)
        self._line.clear()
        if self._lines == 0:
            line = line.removeprefix(_BOM)
        self._lines += 1
        if not line:
            return self._dispatch()
        name, _, value = line.partition(b":")
        self._take_field(name, value.removeprefix(b" "))
        return None

    def _take_field(self, name: bytes, value: bytes) -> None:
        # A comment is a field without a name, and so one of the unknown ones.
        if name == b"data":
            self._data += value
            self._data += b"\n"
        elif name == b"event":
            self._event = _text(value)

    def _dispatch(self) -> ServerSentEvent | None:
        data, event = self._data, self._event
        self._data, self._event = bytearray(), ""
        if not data:
            return None
        del data[-1]  # the last LF
        return ServerSentEvent(_text(data), event or "message")


def _text(value: bytes | bytearray) -> str:
    return value.decode("utf-8", "replace")
