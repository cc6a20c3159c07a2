"""Ids and row numbers, which each process makes without asking the database.

An id of the API is a prefix for the kind, and 21 random characters: letters and digits from the
system's random source (125 bits), so ids can't be guessed and never need percent-encoding.
"""

from __future__ import annotations

import os
import string
import threading
import time

_ALPHABET = (string.ascii_letters + string.digits).encode()
_LENGTH = 21
_TABLE = bytes(_ALPHABET[byte % len(_ALPHABET)] for byte in range(256))
# Byte values that map evenly to the characters; the other values are discarded.
_UNEVEN = bytes(range(256 // len(_ALPHABET) * len(_ALPHABET), 256))


def new_id(prefix: str) -> str:
    """Return a fresh id with that prefix."""
    characters = b""
    while len(characters) < _LENGTH:  # more than one round in one of ten thousand cases
        characters += os.urandom(28).translate(_TABLE, _UNEVEN)
    return prefix + characters[:_LENGTH].decode()


def new_number() -> int:
    """Return a random number that JSON readers keep exactly: 53 bits (RFC 8259, section 6)."""
    return int.from_bytes(os.urandom(7), "big") >> 3


_rows = threading.Lock()
_last_row = 0


def next_row() -> int:
    """Return a number that sorts later rows after earlier ones.

    It is the time in nanoseconds, and larger than any number before in this process. So processes
    agree on the order as far as their clocks do, and no database has to count.
    """
    global _last_row
    with _rows:
        _last_row = max(_last_row + 1, time.time_ns())
        return _last_row
