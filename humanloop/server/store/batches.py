"""Large arrays that are being written, and those whose writing was interrupted.

Invariants: the written part of a batch never counts before the batch is ended; a writer whose batch
was deleted writes nothing more of it.
"""

from __future__ import annotations

from datetime import timedelta

from sqlalchemy import ColumnElement, Connection, and_, delete, insert, select, update

from humanloop.server.errors import Unavailable
from humanloop.server.store.tables import Annotation, Batch, Log
from humanloop.server.store.times import now

_AGE = timedelta(minutes=10)  # between two parts are milliseconds, but clocks may differ


def begin(connection: Connection, organization_id: str, batch_id: str) -> None:
    """Begin a batch; delete interrupted batches of the organisation."""
    delete_unfinished(connection, organization_id)
    row = {"organization_id": organization_id, "id": batch_id, "created_at": now()}
    connection.execute(insert(Batch), [row])


def go_on(connection: Connection, organization_id: str, batch_id: str) -> None:
    """Refresh a batch that is still being written; raises Unavailable if it was deleted."""
    statement = update(Batch).where(_is(organization_id, batch_id)).values(created_at=now())
    if connection.execute(statement).rowcount == 0:
        raise Unavailable("Writing the array took too long, and was cancelled.")


def end(connection: Connection, organization_id: str, batch_id: str) -> None:
    """End a batch: its logs then count, or were removed before."""
    connection.execute(delete(Batch).where(_is(organization_id, batch_id)))


def _is(organization_id: str, batch_id: str) -> ColumnElement[bool]:
    return and_(Batch.organization_id == organization_id, Batch.id == batch_id)


def delete_unfinished(connection: Connection, organization_id: str, *, every: bool = False) -> None:
    """Delete the logs of an organisation's batches whose process is gone.

    every: no other process may be writing; otherwise only old batches are deleted.
    """
    wanted = select(Batch.id).where(Batch.organization_id == organization_id)
    if not every:
        wanted = wanted.where(Batch.created_at < now() - _AGE)
    for batch_id in connection.scalars(wanted.with_for_update(skip_locked=True)).all():
        within = and_(Log.organization_id == organization_id, Log.batch_id == batch_id)
        connection.execute(
            delete(Annotation).where(
                Annotation.organization_id == organization_id,
                Annotation.log_id.in_(select(Log.id).where(within)),
            )
        )
        connection.execute(delete(Log).where(within))
        end(connection, organization_id, batch_id)
