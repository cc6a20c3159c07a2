"""The upgrade of a database's schema to the newest revision in migrations/versions.

A fresh database gets the whole schema; an older one is first backed up and then changed in one
transaction; a newer database, or one of another program, is refused and left unchanged.

The name of a revision's file begins with the revision, and the revisions are in the order of the
files. So a database at the newest one is recognised without Alembic, whose import is a tenth of a
start.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import contextmanager
from importlib.resources import files
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from sqlalchemy import Connection, Engine, inspect, text

from humanloop.server.errors import StartError
from humanloop.server.store import turns

if TYPE_CHECKING:
    from importlib.abc import Traversable

SCRIPTS = files("humanloop.server.store") / "migrations"


def upgrade(
    engine: Engine,
    scripts: Traversable = SCRIPTS,
    *,
    back_up: Callable[[str], object] | None = None,
) -> None:
    """Bring the schema up to date.

    back_up: called with the revision of an existing schema, before it is changed.
    """
    with engine.connect().execution_options(writes=True) as connection, connection.begin():
        turns.take(connection, alone=True)  # one of several that start at once does it
        current = _current_revision(connection)
        if current is not None:
            check_known(current, scripts)
        if current == revisions(scripts)[-1]:
            return
        if current is not None and back_up is not None:
            back_up(current)
        with _on_disk(scripts) as folder:
            _run(connection, folder)


def _run(connection: Connection, scripts: Path) -> None:
    from alembic import command
    from alembic.config import Config

    config = Config(attributes={"connection": connection})
    # Alembic reads its options through configparser, in which "%" starts a reference.
    config.set_main_option("script_location", str(scripts).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    command.upgrade(config, "head")


def revisions(scripts: Traversable = SCRIPTS) -> list[str]:
    """Return the revisions, oldest first."""
    names = [each.name for each in (scripts / "versions").iterdir()]
    files = [name for name in names if name.endswith(".py") and name != "__init__.py"]
    return sorted(name.removesuffix(".py").partition("_")[0] for name in files)


def check_known(revision: str, scripts: Traversable = SCRIPTS) -> None:
    """Raise StartError for a schema that this version does not know."""
    known = revisions(scripts)
    if revision not in known:
        raise StartError(
            f"The database has schema {revision}, which is newer than this version of humanloop "
            f"knows (its own is {known[-1]}). Upgrade humanloop, or use another "
            "database."
        )


def check_current(engine: Engine) -> None:
    """Raise StartError for a database whose schema is not this version's own."""
    with engine.connect() as connection:
        current = _current_revision(connection)
    if current is None:
        raise StartError("The database is empty. `humanloop serve` creates the tables.")
    check_known(current)
    newest = revisions()[-1]
    if current != newest:
        raise StartError(
            f"The database has schema {current}, which is older than this version's, {newest}. "
            "Start `humanloop serve` on it once to update it."
        )


@contextmanager
def _on_disk(folder: Traversable) -> Generator[Path]:
    """Yield a folder as a path: a copy, if the package is in a zip file.

    `importlib.resources.as_file` accepts folders only from Python 3.12 on.
    """
    if isinstance(folder, Path):
        yield folder
        return
    with TemporaryDirectory(prefix="humanloop-") as copy:
        _copy(folder, Path(copy))
        yield Path(copy)


def _copy(folder: Traversable, target: Path) -> None:
    for item in folder.iterdir():
        if item.is_dir():
            (target / item.name).mkdir()
            _copy(item, target / item.name)
        else:
            (target / item.name).write_bytes(item.read_bytes())


def _current_revision(connection: Connection) -> str | None:
    """Return the schema's revision; None for an empty database."""
    tables = inspect(connection).get_table_names()
    revision: str | None = None
    if "alembic_version" in tables:
        revision = connection.scalar(text("SELECT version_num FROM alembic_version"))
    if revision is None and tables:
        raise StartError(
            "The database holds tables that are not humanloop's. Use another database."
        )
    return revision
