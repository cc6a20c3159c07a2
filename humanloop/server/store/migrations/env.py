"""How Alembic runs the revisions: on the connection that it is given, in one transaction."""

from __future__ import annotations

from alembic import context
from sqlalchemy import Connection

from humanloop.server.store.tables import Base

connection: Connection = context.config.attributes["connection"]
context.configure(
    connection=connection,
    target_metadata=Base.metadata,
    # SQLite changes schemas inside transactions when nobody commits behind its back.
    transactional_ddl=True,
    render_as_batch=True,
)
with context.begin_transaction():
    context.run_migrations()
    if connection.dialect.name == "sqlite":
        # Foreign keys are not enforced while tables are rebuilt; nothing may dangle after it.
        broken = connection.exec_driver_sql("PRAGMA foreign_key_check").first()
        if broken is not None:
            raise RuntimeError(f"the migration left a dangling reference: {tuple(broken)}")
