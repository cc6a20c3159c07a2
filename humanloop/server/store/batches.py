"""Large arrays whose writing has ended half-way, because the process did."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Engine, delete, select, true

from humanloop.server.store.tables import Annotation, Batch, Log


def delete_unfinished(engine: Engine, begun_before: datetime | None = None) -> None:
    """Delete what they have written: all of them, or those that were begun before a moment."""
    ended = true() if begun_before is None else Batch.created_at < begun_before
    with engine.connect() as connection:
        connection.execution_options(writes=True)
        with connection.begin():
            if connection.execute(select(Batch.id).where(ended).limit(1)).first() is None:
                return
            logs = select(Log.id).where(Log.batch_id.in_(select(Batch.id).where(ended)))
            connection.execute(delete(Annotation).where(Annotation.log_id.in_(logs)))
            connection.execute(delete(Log).where(Log.id.in_(logs)))
            connection.execute(delete(Batch).where(ended))
