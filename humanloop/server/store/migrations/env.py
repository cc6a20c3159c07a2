"""Alembic's environment: runs the revisions on the given connection, in one transaction."""

from __future__ import annotations

from alembic import context
from sqlalchemy import Connection

from humanloop.server.store.tables import Base

connection: Connection = context.config.attributes["connection"]
context.configure(
    connection=connection,
    target_metadata=Base.metadata,
    # SQLite changes schemas in transactions unless somebody commits in between.
    transactional_ddl=True,
    render_as_batch=True,
)
with context.begin_transaction():
    context.run_migrations()
    if connection.dialect.name == "sqlite":
        # Foreign keys are not enforced while tables are rebuilt; afterwards, none may be broken.
        broken = connection.exec_driver_sql("PRAGMA foreign_key_check").first()
        if broken is not None:
            raise RuntimeError(f"the migration left a dangling reference: {tuple(broken)}")
