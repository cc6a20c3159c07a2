"""Who may write at the same time, where several processes write one PostgreSQL.

Most works only add: logs, sessions, trials, feedback. They write *together* with those of other
processes, and what several of them may create at once they insert with ON CONFLICT. A work that
depends on what is *not* there (creating a project, its first config, the name of an experiment, a
deployment) writes *alone*: nobody else writes meanwhile, as on SQLite, where that is always so.

It is one advisory lock of the database, shared or exclusive, that ends with the transaction; so
nothing is left of it, whatever becomes of the process. Invariants: nobody waits for the lock while
holding it; a transaction that holds other locks waits for no log's.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, Select, Text, cast, func, select
from sqlalchemy.orm import Session

_KEY = int.from_bytes(b"humanloo", "big")
_ALONE, _FIRST = "alone", "first"


class NotNow(Exception):
    """A work can't be done in this transaction; in another one it can."""


class NeedsAlone(NotNow):
    """It must write alone."""


class Taken(NotNow):
    """What it must lock is locked, and this transaction has no right to wait."""


def shares(connection: Connection) -> bool:
    """Return whether other processes may write to this database."""
    return connection.dialect.name == "postgresql"


def take(connection: Connection, *, alone: bool) -> str | None:
    """Begin to write, alone or together with others; return the transaction's id on PostgreSQL."""
    if not shares(connection):
        return None
    lock = func.pg_advisory_xact_lock if alone else func.pg_advisory_xact_lock_shared
    statement = select(lock(_KEY), cast(func.pg_current_xact_id(), Text))
    return str(connection.execute(statement).one()[1])


def begin(session: Session, connection: Connection, *, alone: bool, first: bool) -> None:
    """Note how a work's session writes; first: nothing was written in its transaction before."""
    session.info[_ALONE] = alone or not shares(connection)
    session.info[_FIRST] = first


def is_alone(session: Session) -> bool:
    """Return whether nobody else writes now."""
    return bool(session.info.get(_ALONE, False))


def be_alone(session: Session) -> None:
    """Raise NeedsAlone, unless nobody else writes: do it before depending on what is not there."""
    if not is_alone(session):
        raise NeedsAlone


def lock(session: Session, rows: Select[Any]) -> None:
    """Keep others from changing some rows, and from locking them, until the transaction's end.

    rows: in the order of a key, which must be that of every caller. Raises Taken.
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
