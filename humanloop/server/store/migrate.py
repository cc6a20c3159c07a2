"""Brings a database's schema to the newest revision in migrations/versions.

A fresh database gets everything; an older one is backed up first and then changed in one
transaction; a newer one, or one that is not ours, is refused and left untouched.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Engine, inspect

from humanloop.server.errors import StartError

SCRIPTS = Path(__file__).with_name("migrations")


def upgrade(
    engine: Engine, scripts: Path = SCRIPTS, *, back_up: Callable[[str], object] | None = None
) -> None:
    """Bring the schema up to date.

    back_up: called with the revision of an existing schema, before it is changed.
    """
    current = _current_revision(engine)
    if current is not None:
        check_known(current, scripts)
    if current == ScriptDirectory(str(scripts)).get_current_head():
        return
    if current is not None and back_up is not None:
        back_up(current)
    with engine.connect().execution_options(writes=True) as connection:
        config = Config(attributes={"connection": connection})
        # Alembic reads its options through configparser, where "%" starts a reference.
        config.set_main_option("script_location", str(scripts).replace("%", "%%"))
        config.set_main_option("path_separator", "os")
        command.upgrade(config, "head")


def check_known(revision: str, scripts: Path = SCRIPTS) -> None:
    """Raise StartError for a schema that this version does not know."""
    directory = ScriptDirectory(str(scripts))
    if revision not in {script.revision for script in directory.walk_revisions()}:
        raise StartError(
            f"The database has schema {revision}, which is newer than this version of humanloop "
            f"knows (its own is {directory.get_current_head()}). Upgrade humanloop, or use another "
            "database."
        )


def _current_revision(engine: Engine) -> str | None:
    """Return the schema's revision; None for an empty database."""
    with engine.connect() as connection:
        revision = MigrationContext.configure(connection).get_current_revision()
        if revision is None and inspect(connection).get_table_names():
            raise StartError("The database holds tables that are not humanloop's. Use another one.")
        return revision
