"""The meaning of database errors: the answer to the caller, and whether to run a work again."""

from __future__ import annotations

import errno
from enum import Enum

from sqlalchemy.exc import DBAPIError, OperationalError, TimeoutError

from humanloop.secrets import one_line, shorten

_DAMAGED = ("database disk image is malformed", "file is not a database")
_DAMAGED_STATES = frozenset({"XX001", "XX002"})  # PostgreSQL: data_corrupted, index_corrupted
_FULL = "database or disk is full"
# PostgreSQL's codes of errors (its documentation, appendix A).
_FULL_STATE = "53100"  # disk_full
_STATES = {
    "53300": "CROWDED",  # too_many_connections
    "55P03": "LOCKED",  # lock_not_available
    "57014": "SLOW",  # query_canceled
    "25P03": "SLOW",  # idle_in_transaction_session_timeout
}
# Conflicts with another transaction that disappear when the work is run again from the beginning,
# since it then sees what the other transaction has written.
_OVERTAKEN = frozenset(
    {
        "40001",  # serialization_failure
        "40P01",  # deadlock_detected
        "23503",  # foreign_key_violation
        "23505",  # unique_violation
    }
)
_STOPPED = frozenset({"57P01", "57P02", "57P03"})  # the server shuts down, crashed, or is starting
_SHOWN = 200


class Failure(Enum):
    """A kind of failure of the database, with the text for callers."""

    DAMAGED = "The database is damaged: nothing is written until it is restored from a backup."
    FULL = "The disk is full: nothing can be written."
    UNUSABLE = "The database can't be used right now."
    LOCKED = "The database was locked by another writer for too long; nothing was written."
    SLOW = "The database took too long; nothing was written."
    CROWDED = "The database has no free connection; nothing was done."
    UNKNOWN = (
        "The connection to the database was lost while this was committed: it is unknown whether it"
        " was written."
    )

    @property
    def is_harmless(self) -> bool:
        """Return whether nothing was changed, and the same request may soon succeed."""
        return self in {Failure.LOCKED, Failure.SLOW, Failure.CROWDED, Failure.UNUSABLE}


class OutcomeUnknown(Exception):
    """The outcome of a commit can't be determined."""


def failure(error: Exception) -> Failure | None:
    """Return the failure of the database or its disk; None for other errors."""
    if isinstance(error, OSError) and error.errno == errno.ENOSPC:
        return Failure.FULL
    if isinstance(error, OutcomeUnknown):
        return Failure.UNKNOWN
    if isinstance(error, TimeoutError):  # while waiting for a connection of the pool
        return Failure.CROWDED
    if not isinstance(error, DBAPIError):
        return None
    text, state = str(error.orig), getattr(error.orig, "sqlstate", None)
    if text.startswith(_DAMAGED) or state in _DAMAGED_STATES:
        return Failure.DAMAGED
    if text.startswith(_FULL) or state == _FULL_STATE:
        return Failure.FULL
    if state in _STATES:
        return Failure[_STATES[state]]
    if "too many clients" in text or "connection slots" in text:  # raised while connecting
        return Failure.CROWDED
    if isinstance(error, OperationalError) or is_lost(error):
        return Failure.UNUSABLE
    return None


def is_lost(error: Exception) -> bool:
    """Return whether the error means that there is no connection to PostgreSQL."""
    if not isinstance(error, DBAPIError):
        return False
    state = getattr(error.orig, "sqlstate", "")  # SQLite's errors have none
    if state is None:
        return isinstance(error, OperationalError) or error.connection_invalidated
    return error.connection_invalidated or state in _STOPPED or state.startswith("08")


def is_overtaken(error: Exception) -> bool:
    """Return whether another process was faster, so that the work must run again."""
    return isinstance(error, DBAPIError) and getattr(error.orig, "sqlstate", "") in _OVERTAKEN


def said(error: Exception) -> str:
    """Return the database's error message on one line."""
    return shorten(one_line(str(getattr(error, "orig", error))), _SHOWN)
