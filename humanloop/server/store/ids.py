"""Ids of the API: a prefix that tells the kind, and 21 random characters.

The characters are letters and digits from the system's source of randomness (125 bits), so ids
can't be guessed and never need percent-encoding.
"""

from __future__ import annotations

import random
import string

_ALPHABET = string.ascii_letters + string.digits
_LENGTH = 21
_RANDOM = random.SystemRandom()


def new_id(prefix: str) -> str:
    """Return a fresh id with that prefix."""
    return prefix + "".join(_RANDOM.choices(_ALPHABET, k=_LENGTH))
