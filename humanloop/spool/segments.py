"""The format of a spool's file, a segment, as pure functions.

    head      `HLSPOOL`, the version (1 byte), the cursor (8 bytes), the cursor's CRC-32 (4 bytes)
    record    the length of its body (4 bytes), the body's CRC-32 (4 bytes), the body
    body      the action, such as `logs.log`, a line feed, a JSON object

An action has up to 64 characters: lower-case letters, points, underscores and spaces.
Numbers are little-endian. Records are only ever appended. All records before the cursor were
acknowledged. The cursor is written in place; if it can't be read, sending begins at the first
record, since the server recognises duplicates.

Invariants: this module opens no file, and holds one record at most.
"""

from __future__ import annotations

import re
import struct
import zlib
from collections.abc import Callable
from typing import Literal, NamedTuple

__all__ = [
    "HEAD_BYTES",
    "MAX_RECORD",
    "RECORD_BYTES",
    "Found",
    "body_of",
    "count",
    "find_next",
    "head",
    "read_head",
    "record",
    "split_body",
]

_MAGIC = b"HLSPOOL"
_VERSION = 1
_HEAD = struct.Struct("<7sBQI")
_RECORD = struct.Struct("<II")
_CURSOR = struct.Struct("<Q")
HEAD_BYTES = _HEAD.size
RECORD_BYTES = _RECORD.size
MAX_RECORD = 64 * 1024 * 1024
"""The largest size of a body, in bytes; the server accepts no larger request."""
_PART = 64 * 1024  # bytes that are searched at once
_LONGEST_ACTION = 64
_OF_ACTIONS = b"abcdefghijklmnopqrstuvwxyz._ "
_OBJECT = re.compile(rb"\n\{")

Read = Callable[[int, int], bytes]
"""Return so many bytes from a position in the file; fewer at its end."""


def head(cursor: int = HEAD_BYTES) -> bytes:
    """Return the head of a segment."""
    return _HEAD.pack(_MAGIC, _VERSION, cursor, zlib.crc32(_CURSOR.pack(cursor)))


def read_head(data: bytes, size: int) -> int | None:
    """Return the cursor of a segment of `size` bytes; None: not a segment of this version."""
    if len(data) < HEAD_BYTES:
        return None
    magic, version, cursor, checksum = _HEAD.unpack_from(data)
    if magic != _MAGIC or version != _VERSION:
        return None
    if checksum != zlib.crc32(_CURSOR.pack(cursor)) or not HEAD_BYTES <= cursor <= size:
        return HEAD_BYTES
    return int(cursor)


def body_of(action: bytes, data: bytes) -> bytes:
    """Return the body of a record."""
    return action + b"\n" + data


def split_body(body: bytes) -> tuple[str, bytes]:
    """Return the action and the JSON of a body."""
    action, _, data = body.partition(b"\n")
    return action.decode("ascii", "replace"), data


def record(body: bytes) -> bytes:
    """Return a record with this body."""
    return _RECORD.pack(len(body), zlib.crc32(body)) + body


class Found(NamedTuple):
    """The content of a segment from `start` to `end`.

    kind: "record"; "damaged": one or several damaged records; "torn": the beginning of a record
    that was being written when the process ended. body: the record's body, or the damaged bytes, at
    most MAX_RECORD of them.
    """

    kind: Literal["record", "damaged", "torn"]
    start: int
    end: int
    body: bytes


def find_next(read: Read, start: int, end: int) -> Found | None:
    """Return the content from `start` on, in a segment that ends at `end`; None at its end."""
    if start >= end:
        return None
    body = _body_at(read, start, end)
    if body is not None:
        return Found("record", start, start + RECORD_BYTES + len(body), body)
    # A damaged length must not cost the records after it.
    found = _next_valid(read, start + 1, end)
    if found is None and _is_cut(read, start, end):
        return Found("torn", start, end, b"")
    stop = end if found is None else found
    return Found("damaged", start, stop, read(start, min(stop - start, MAX_RECORD)))


def count(read: Read, start: int, end: int) -> tuple[int, int]:
    """Return the number of records and damaged parts from `start` on, and where they end.

    They end before `end` if the last record is torn.
    """
    found = 0
    while (each := find_next(read, start, end)) is not None and each.kind != "torn":
        found, start = found + 1, each.end
    return found, start


def _body_at(read: Read, start: int, end: int) -> bytes | None:
    """Return the body of the record at `start`; None if no whole record begins there."""
    header = read(start, RECORD_BYTES)
    if len(header) < RECORD_BYTES:
        return None
    length, checksum = _RECORD.unpack(header)
    if not _fits(length, start, end):
        return None
    body = read(start + RECORD_BYTES, length)
    return body if len(body) == length and zlib.crc32(body) == checksum else None


def _fits(length: int, start: int, end: int) -> bool:
    """Return whether a body of this length may be in a record at `start`."""
    return 0 < length <= min(end - start - RECORD_BYTES, MAX_RECORD)


def _is_cut(read: Read, start: int, end: int) -> bool:
    """Return whether a record that begins at `start` would end after `end`."""
    header = read(start, RECORD_BYTES)
    if len(header) < RECORD_BYTES:
        return True
    length: int = _RECORD.unpack(header)[0]
    return end - start - RECORD_BYTES < length <= MAX_RECORD


def _next_valid(read: Read, start: int, end: int) -> int | None:
    """Return the position of the next whole record; None if there is none.

    Only what stands before a JSON object is looked at, so damaged bytes cost little time.
    """
    while start + RECORD_BYTES < end:
        part = read(start, min(_PART + RECORD_BYTES + _LONGEST_ACTION + 2, end - start))
        for match in _OBJECT.finditer(part, RECORD_BYTES):
            stop = match.start()
            before = part[max(RECORD_BYTES, stop - _LONGEST_ACTION) : stop]
            action = stop - len(before) + len(before.rstrip(_OF_ACTIONS))
            for offset in range(action - RECORD_BYTES, stop - RECORD_BYTES):
                position = start + offset
                length, _ = _RECORD.unpack_from(part, offset)
                if _fits(length, position, end) and _body_at(read, position, end) is not None:
                    return position
        start += _PART
    return None
