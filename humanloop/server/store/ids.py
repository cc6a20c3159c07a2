"""Ids of the API: a prefix that tells the kind, and 21 random characters.

The characters are letters and digits from the system's source of randomness (125 bits), so ids
can't be guessed and never need percent-encoding.
"""

from __future__ import annotations

import os
import string

_ALPHABET = (string.ascii_letters + string.digits).encode()
_LENGTH = 21
_TABLE = bytes(_ALPHABET[byte % len(_ALPHABET)] for byte in range(256))
# So many values of a byte are shared out evenly among the characters; the others are thrown away.
_UNEVEN = bytes(range(256 // len(_ALPHABET) * len(_ALPHABET), 256))


def new_id(prefix: str) -> str:
    """Return a fresh id with that prefix."""
    characters = b""
    while len(characters) < _LENGTH:  # once, but for one time in ten thousand
        characters += os.urandom(28).translate(_TABLE, _UNEVEN)
    return prefix + characters[:_LENGTH].decode()
