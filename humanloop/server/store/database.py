"""The database: opened once by one process, read by many threads, written by one.

Invariants: a work is committed whole or rolled back whole; works wait for each other before they
read anything, so a look-up and the insert that depends on it can't be torn apart; readers wait for
nobody; a SQLite file is owned for as long as the database is open.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Generator
from concurrent.futures import Future
from contextlib import AbstractContextManager, contextmanager
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from sqlalchemy import URL, Engine, create_engine, event, inspect
from sqlalchemy.engine import Connection
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from humanloop.server.errors import StartError
from humanloop.server.store import batches, copies, migrate, urls
from humanloop.server.store.failures import said
from humanloop.server.store.ownership import Ownership, check_name
from humanloop.server.store.times import now
from humanloop.server.store.writer import Writer

T = TypeVar("T")

if TYPE_CHECKING:
    from importlib.abc import Traversable

_BUSY_SECONDS = "10"  # how long to wait for another program that writes to a SQLite file
_BATCH_AGE = timedelta(hours=1)  # no request takes so long
_READERS = 40  # the most threads that Starlette's pool runs sync work in


class Database:
    """An open database at the newest schema."""

    def __init__(self, engine: Engine, owner: Ownership | None) -> None:
        self._engine = engine
        self._owner = owner
        self._writer = Writer(engine)

    @classmethod
    def open(cls, url: str, *, scripts: Traversable = migrate.SCRIPTS) -> Database:
        """Open or create the database at a SQLAlchemy URL and bring its schema up to date.

        scripts: where the history of the schema is.

        Raises StartError when it can't be reached or written, is in use by another server, is
        not a database of this server, or has a schema newer than this version knows.
        """
        parsed = urls.parse(url)
        path = urls.file_of(parsed)
        owner = None if path is None else Ownership.take(path)
        try:
            _migrate(parsed, path, scripts)
            engine = _create_engine(parsed)
            # Where there is no file to own, other servers may be writing theirs.
            batches.delete_unfinished(engine, None if owner is not None else now() - _BATCH_AGE)
            return cls(engine, owner)
        except BaseException:
            if owner is not None:
                owner.release()
            raise

    @classmethod
    def join(cls, url: str, *, begin: bool = False, foreign_keys: bool = True) -> Database:
        """Open a database beside the servers that may run on it; its schema stays as it is.

        begin: whether one that is not there, or is empty, is begun.
        foreign_keys: False for who deletes all that refers to what is deleted by itself: SQLite
            would look through a whole table for each row.

        Raises StartError when it is not there, can't be used, or has another schema.
        """
        if begin and _is_new(urls.parse(url)):
            return cls.open(url)
        parsed = _existing(url)
        engine = _create_engine(parsed, foreign_keys=foreign_keys)
        try:
            with _telling(parsed):
                migrate.check_current(engine)
            return cls(engine, None)
        except BaseException:
            engine.dispose()
            raise

    @property
    def dialect(self) -> str:
        """Return the kind of database: `sqlite` or `postgresql`."""
        return self._engine.dialect.name

    @contextmanager
    def read(self) -> Generator[Session]:
        """Open a session for reading; all its queries see the same state."""
        with self._engine.connect() as connection, Session(connection, autoflush=False) as session:
            yield session

    def submit(self, work: Callable[[Session], T]) -> Future[T]:
        """Let the only writer do a work with a session; committed once the future has its result.

        An error of the work is the future's, and leaves nothing of it.
        """
        return self._writer.submit(work)

    def write(self, work: Callable[[Session], T]) -> T:
        """Do as `submit` does, and wait for the result."""
        return self.submit(work).result()

    def close(self) -> None:
        """Close every connection and give the file free; harmless when called again."""
        self._writer.close()
        self._engine.dispose()
        if self._owner is not None:
            self._owner.release()


def _migrate(url: URL, path: Path | None, scripts: Traversable) -> None:
    # Changing a table on SQLite means to drop the old one, which must not cascade.
    engine = _create_engine(url, foreign_keys=False)
    try:
        with _telling(url):
            back_up = None if path is None else partial(copies.back_up_beside, path)
            migrate.upgrade(engine, scripts, back_up=back_up)
    finally:
        engine.dispose()


@contextmanager
def _telling(url: URL) -> Generator[None]:
    """Raise StartError for what the database fails with."""
    try:
        yield
    except DBAPIError as error:
        reason = str(error.orig).strip()
        raise StartError(f"The database {url!r} can't be used: {reason}") from error


@contextmanager
def open_for_reading(url: str) -> Generator[Callable[[], AbstractContextManager[Session]]]:
    """Open a database beside the server that has it; give how to open a session for reading.

    All queries of one session see the same state. Nothing is created or changed.

    Raises StartError when there is no such database, it can't be read, or its schema is not this
    version's.
    """
    parsed = _existing(url)
    engine = _create_engine(parsed, only_reads=True)

    @contextmanager
    def read() -> Generator[Session]:
        with engine.connect() as connection, Session(connection, autoflush=False) as session:
            yield session

    try:
        migrate.check_current(engine)
        yield read
    except DBAPIError as error:
        raise StartError(f"The database {parsed!r} can't be read: {said(error)}.") from error
    finally:
        engine.dispose()


def _is_new(url: URL) -> bool:
    path = urls.file_of(url)
    if path is not None:
        return not path.exists() or path.stat().st_size == 0
    engine = _create_engine(url)
    try:
        with _telling(url), engine.connect() as connection:
            return not inspect(connection).get_table_names()
    finally:
        engine.dispose()


def _existing(url: str) -> URL:
    """Return the URL of a database that is there, by the name that a server has it by, if any."""
    parsed = urls.parse(url)
    path = urls.file_of(parsed)
    if path is not None:
        if not path.is_file():
            raise StartError(f"There is no database {path}.")
        check_name(path)
    return parsed


def _create_engine(url: URL, *, foreign_keys: bool = True, only_reads: bool = False) -> Engine:
    sqlite = url.get_backend_name() == "sqlite"
    if sqlite and only_reads:
        location = Path(url.database or "").resolve().as_uri()
        url = url.set(database=location).update_query_dict({"mode": "ro", "uri": "true"})
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
        event.listen(engine, "connect", _begin_ourselves if only_reads else _configure_sqlite)
        event.listen(engine, "begin", _begin_sqlite)
        if foreign_keys:
            event.listen(engine, "connect", _enforce_foreign_keys)
    return engine


def _begin_ourselves(connection: sqlite3.Connection, _record: object) -> None:
    # Transactions are begun by _begin_sqlite alone, so that they hold schema changes and reads.
    connection.isolation_level = None


def _configure_sqlite(connection: sqlite3.Connection, record: object) -> None:
    _begin_ourselves(connection, record)
    # Before anything is in the file; later it takes a VACUUM to change it.
    connection.execute("PRAGMA auto_vacuum = INCREMENTAL")
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
