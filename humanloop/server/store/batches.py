"""Large arrays whose writing has ended half-way, because the process did."""

from __future__ import annotations

from sqlalchemy import Engine, delete, select

from humanloop.server.store.tables import Annotation, Batch, Log


def delete_unfinished(engine: Engine) -> None:
    """Delete what they have written; nobody else may be writing one."""
    with engine.connect() as connection:
        connection.execution_options(writes=True)
        with connection.begin():
            if connection.execute(select(Batch.id).limit(1)).first() is None:
                return
            logs = select(Log.id).where(Log.batch_id.in_(select(Batch.id)))
            connection.execute(delete(Annotation).where(Annotation.log_id.in_(logs)))
            connection.execute(delete(Log).where(Log.id.in_(logs)))
            connection.execute(delete(Batch))
