"""Large arrays that are being written, and those whose writing has ended half-way.

Invariants: what a batch has written so far never counts before the batch is ended; who finds that
its batch was deleted writes nothing more of it.
"""

from __future__ import annotations

from datetime import timedelta

from sqlalchemy import Connection, delete, insert, select, update

from humanloop.server.errors import Unavailable
from humanloop.server.store.tables import Annotation, Batch, Log
from humanloop.server.store.times import now

_AGE = timedelta(minutes=10)  # between two parts of one are milliseconds; clocks may differ


def begin(connection: Connection, batch_id: str) -> None:
    """Begin a batch, and delete what others have left half-way."""
    delete_unfinished(connection)
    connection.execute(insert(Batch), [{"id": batch_id, "created_at": now()}])


def go_on(connection: Connection, batch_id: str) -> None:
    """Say that a batch is still being written; raises Unavailable when it was deleted."""
    statement = update(Batch).where(Batch.id == batch_id).values(created_at=now())
    if connection.execute(statement).rowcount == 0:
        raise Unavailable("Writing the array took too long, and was given up.")


def end(connection: Connection, batch_id: str) -> None:
    """Let what was written count, or what was taken back be forgotten."""
    connection.execute(delete(Batch).where(Batch.id == batch_id))


def delete_unfinished(connection: Connection, *, every: bool = False) -> None:
    """Delete what was written of batches whose process is gone.

    every: whether no other process may be writing; else only of those that stand still.
    """
    wanted = select(Batch.id).with_for_update(skip_locked=True)
    if not every:
        wanted = wanted.where(Batch.created_at < now() - _AGE)
    ids = list(connection.scalars(wanted))
    if ids:
        logs = select(Log.id).where(Log.batch_id.in_(ids))
        connection.execute(delete(Annotation).where(Annotation.log_id.in_(logs)))
        connection.execute(delete(Log).where(Log.id.in_(logs)))
        connection.execute(delete(Batch).where(Batch.id.in_(ids)))
