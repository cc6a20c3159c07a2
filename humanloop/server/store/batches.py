"""Large arrays whose writing has ended half-way, because the process did."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Engine, and_, delete, select, true

from humanloop.server.store.tables import Annotation, Batch, Log


def delete_unfinished(engine: Engine, begun_before: datetime | None = None) -> None:
    """Delete what they have written: all of them, or those that were begun before a moment."""
    ended = true() if begun_before is None else Batch.created_at < begun_before
    with engine.connect() as connection:
        connection.execution_options(writes=True)
        with connection.begin():
            keys = select(Batch.organization_id, Batch.id).where(ended)
            for organization_id, batch_id in connection.execute(keys).all():
                within = and_(Log.organization_id == organization_id, Log.batch_id == batch_id)
                connection.execute(
                    delete(Annotation).where(
                        Annotation.organization_id == organization_id,
                        Annotation.log_id.in_(select(Log.id).where(within)),
                    )
                )
                connection.execute(delete(Log).where(within))
            connection.execute(delete(Batch).where(ended))
