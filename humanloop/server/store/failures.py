"""What an error of the database means: whether it is damaged, full, or can't be used right now."""

from __future__ import annotations

import errno
from enum import Enum

from sqlalchemy.exc import DBAPIError, OperationalError

from humanloop.secrets import one_line, shorten

_DAMAGED = ("database disk image is malformed", "file is not a database")
_DAMAGED_STATES = frozenset({"XX001", "XX002"})  # PostgreSQL: data_corrupted, index_corrupted
_FULL = "database or disk is full"
_FULL_STATE = "53100"  # PostgreSQL: disk_full
_SHOWN = 200


class Failure(Enum):
    """A way in which a database fails, with what callers are told."""

    DAMAGED = "The database is damaged: nothing is written until it is restored from a backup."
    FULL = "The disk is full: nothing can be written."
    UNUSABLE = "The database can't be used right now."


def failure(error: Exception) -> Failure | None:
    """Return how the database, or its disk, failed; None where the error tells of neither."""
    if isinstance(error, OSError) and error.errno == errno.ENOSPC:
        return Failure.FULL
    if not isinstance(error, DBAPIError):
        return None
    text, state = str(error.orig), getattr(error.orig, "sqlstate", None)
    if text.startswith(_DAMAGED) or state in _DAMAGED_STATES:
        return Failure.DAMAGED
    if text.startswith(_FULL) or state == _FULL_STATE:
        return Failure.FULL
    return Failure.UNUSABLE if isinstance(error, OperationalError) else None


_PASSING_STATES = frozenset({"23503", "40001", "40P01", "55P03"})
"""PostgreSQL: foreign_key_violation by what was written meanwhile, serialization_failure,
deadlock_detected, lock_not_available."""


def is_passing(error: DBAPIError) -> bool:
    """Tell whether others were in the way, so that the same transaction may succeed later."""
    state = getattr(error.orig, "sqlstate", None)
    return state in _PASSING_STATES or "database is locked" in str(error.orig)


def said(error: Exception) -> str:
    """Return on one line what the database said."""
    return shorten(one_line(str(getattr(error, "orig", error))), _SHOWN)
