"""The database: opened once by one process, read by many threads, written by one at a time.

Invariants: a request is one transaction, committed whole or rolled back whole; writers
wait for each other before they read anything, so a look-up and the insert that depends on it
can't be torn apart; a SQLite file has its lock held for as long as the database is open.
Nothing outside this module knows which database it is.
"""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Generator
from contextlib import closing, contextmanager
from datetime import datetime, timezone
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy import URL, Engine, create_engine, event, make_url
from sqlalchemy.engine import Connection
from sqlalchemy.exc import ArgumentError, DBAPIError
from sqlalchemy.orm import Session

from humanloop.server.errors import StartError
from humanloop.server.store import migrate

if TYPE_CHECKING:
    from importlib.abc import Traversable

_DRIVERS = frozenset({"sqlite", "sqlite+pysqlite", "postgresql+psycopg"})
_BUSY_SECONDS = "10"  # how long to wait for another program that writes to a SQLite file
_READERS = 40  # the most threads that Starlette's pool runs sync work in


class Database:
    """An open database at the newest schema."""

    def __init__(self, engine: Engine, lock: sqlite3.Connection | None) -> None:
        self._engine = engine
        self._lock = lock
        self._writer = threading.Lock()

    @classmethod
    def open(cls, url: str, *, scripts: Traversable = migrate.SCRIPTS) -> Database:
        """Open or create the database at a SQLAlchemy URL and bring its schema up to date.

        scripts: where the history of the schema is.

        Raises StartError when it can't be reached or written, is in use by another server, is
        not a database of this server, or has a schema newer than this version knows.
        """
        parsed = _parse(url)
        path = _prepare_file(parsed) if parsed.get_backend_name() == "sqlite" else None
        lock = None if path is None else _lock_file(path)
        try:
            _migrate(parsed, path, scripts)
            return cls(_create_engine(parsed), lock)
        except BaseException:
            if lock is not None:
                lock.close()
            raise

    @contextmanager
    def read(self) -> Generator[Session]:
        """Open a session for reading; all its queries see the same state."""
        with Session(self._engine, autoflush=False) as session:
            yield session

    @contextmanager
    def write(self) -> Generator[Session]:
        """Open the only writer's session: committed at the end, rolled back on an error."""
        with self._writer, Session(self._engine) as session, session.begin():
            session.connection(execution_options={"writes": True})
            yield session

    def close(self) -> None:
        """Close every connection and give the file free; harmless when called again."""
        self._engine.dispose()
        if self._lock is not None:
            self._lock.close()


def _parse(url: str) -> URL:
    try:
        parsed = make_url(url)
        if parsed.drivername == "postgresql":
            # What this stands for depends on SQLAlchemy's version.
            return parsed.set(drivername="postgresql+psycopg")
        if parsed.drivername in _DRIVERS:
            return parsed
    except (ArgumentError, ValueError):
        pass
    # The text may hold a password, so it is not repeated.
    raise StartError(
        "The database must be a URL such as sqlite:///humanloop.db or postgresql://user@host/name."
    )


def _prepare_file(url: URL) -> Path:
    """Return the path of the file that the URL names; create a new one for its owner only."""
    name = url.database or ":memory:"
    if name == ":memory:" or name.startswith("file:"):
        raise StartError("The database must be a file, such as sqlite:///humanloop.db.")
    path = Path(name).resolve()  # one lock for all the names of a file
    try:
        os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
    except OSError as error:
        raise StartError(
            f"The database {path} can't be opened for writing: {error.strerror}."
        ) from error
    return path


def _lock_file(path: Path) -> sqlite3.Connection:
    """Hold a lock beside the database file until the connection or the process ends.

    The lock is SQLite's own, on an empty database: the operating system frees it whatever
    becomes of the process, and it works wherever SQLite does.
    """
    lock = sqlite3.connect(f"{path}.lock", timeout=0, isolation_level=None, check_same_thread=False)
    try:
        lock.execute("BEGIN EXCLUSIVE")
    except sqlite3.OperationalError as error:
        lock.close()
        if "locked" in str(error):
            message = f"The database {path} is in use by another server. Stop that one first."
        else:
            message = f"The lock file {path}.lock can't be written: {error}."
        raise StartError(message) from error
    return lock


def _back_up(path: Path) -> None:
    """Copy the database beside itself, under a name that holds the time."""
    stamp = datetime.now(timezone.utc).strftime("%Y%m%dT%H%M%S%fZ")
    copy = path.with_name(f"{path.name}.backup-{stamp}")
    os.close(os.open(copy, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
    with closing(sqlite3.connect(path)) as source, closing(sqlite3.connect(copy)) as target:
        source.backup(target)


def _migrate(url: URL, path: Path | None, scripts: Traversable) -> None:
    # Changing a table on SQLite means to drop the old one, which must not cascade.
    engine = _create_engine(url, foreign_keys=False)
    try:
        back_up = None if path is None else partial(_back_up, path)
        migrate.upgrade(engine, scripts, back_up=back_up)
    except DBAPIError as error:
        reason = str(error.orig).strip()
        raise StartError(f"The database {url!r} can't be used: {reason}") from error
    finally:
        engine.dispose()


def _create_engine(url: URL, *, foreign_keys: bool = True) -> Engine:
    sqlite = url.get_backend_name() == "sqlite"
    if sqlite and "timeout" not in url.query:
        url = url.update_query_dict({"timeout": _BUSY_SECONDS})
    try:
        # The values of a failed statement are the users' data: they belong in no log.
        engine = create_engine(
            url,
            max_overflow=_READERS,
            hide_parameters=True,
            **({} if sqlite else {"isolation_level": "REPEATABLE READ"}),
        )
    except ModuleNotFoundError as error:
        raise StartError(
            f"A database at {url.drivername}:// needs the package {error.name!r}, "
            f"which is not installed: pip install '{error.name}[binary]'"
        ) from error
    except ValueError as error:
        raise StartError(f"An option of the database's URL can't be used: {error}.") from error
    if sqlite:
        event.listen(engine, "connect", _configure_sqlite)
        event.listen(engine, "begin", _begin_sqlite)
        if foreign_keys:
            event.listen(engine, "connect", _enforce_foreign_keys)
    return engine


def _configure_sqlite(connection: sqlite3.Connection, _record: object) -> None:
    # Transactions are begun by _begin_sqlite alone, so that they hold schema changes and reads.
    connection.isolation_level = None
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = NORMAL")
    # SQLite's own lower() knows ASCII only.
    connection.create_function("lower", 1, _lower, deterministic=True)


def _enforce_foreign_keys(connection: sqlite3.Connection, _record: object) -> None:
    connection.execute("PRAGMA foreign_keys = ON")


def _lower(value: Any) -> Any:
    return value.lower() if isinstance(value, str) else value


def _begin_sqlite(connection: Connection) -> None:
    writes = connection.get_execution_options().get("writes", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")
