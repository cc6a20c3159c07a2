"""Turns: which processes may write to one PostgreSQL at the same time.

Most works only add rows: logs, sessions, trials, feedback. They write *together* with those of
other processes, and rows that several may create at once are inserted with ON CONFLICT. A work that
depends on the *absence* of rows (creating a project, its first config, the name of an experiment, a
deployment) writes *alone*: nobody else writes meanwhile, as is always the case on SQLite.

The turn is one advisory lock of the database, shared or exclusive, that ends with the transaction;
so nothing remains of it, whatever becomes of the process. Invariants: nobody waits for the lock
while holding it; a transaction that holds other locks does not wait for a log's lock.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, Select, Text, cast, func, select
from sqlalchemy.orm import Session

_KEY = int.from_bytes(b"humanloo", "big")
_ALONE, _FIRST = "alone", "first"


class NotNow(Exception):
    """A work can't be done in this transaction, but can in another."""


class NeedsAlone(NotNow):
    """The work must write alone."""


class Taken(NotNow):
    """A row to lock is locked, and this transaction must not wait."""


def shares(connection: Connection) -> bool:
    """Return whether other processes may write to this database."""
    return connection.dialect.name == "postgresql"


def take(connection: Connection, *, alone: bool) -> str | None:
    """Begin to write, alone or together with others; return PostgreSQL's transaction id."""
    if not shares(connection):
        return None
    lock = func.pg_advisory_xact_lock if alone else func.pg_advisory_xact_lock_shared
    statement = select(lock(_KEY), cast(func.pg_current_xact_id(), Text))
    return str(connection.execute(statement).one()[1])


def begin(session: Session, connection: Connection, *, alone: bool, first: bool) -> None:
    """Record how a work's session writes; first: nothing was written before in its transaction."""
    session.info[_ALONE] = alone or not shares(connection)
    session.info[_FIRST] = first


def is_alone(session: Session) -> bool:
    """Return whether nobody else writes now."""
    return bool(session.info.get(_ALONE, False))


def be_alone(session: Session) -> None:
    """Raise NeedsAlone unless nobody else writes. Call it before relying on absent rows."""
    if not is_alone(session):
        raise NeedsAlone


def lock(session: Session, rows: Select[Any]) -> None:
    """Keep others from changing or locking some rows until the end of the transaction.

    rows: ordered by a key, the same for all callers. Raises Taken.
    """
    if is_alone(session):
        return
    if session.info[_FIRST]:
        session.execute(rows.with_for_update(key_share=True)).all()
        return
    locked = session.execute(rows.with_for_update(key_share=True, skip_locked=True)).all()
    there = session.scalar(select(func.count()).select_from(rows.order_by(None).subquery()))
    if len(locked) != there:
        raise Taken
