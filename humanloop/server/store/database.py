"""The database: opened once per process, read by many threads, written by one.

Invariants: the work of a caller is committed or rolled back as a whole; writing works wait for each
other before they read anything, so nothing changes between a look-up and the insert that depends on
it (`turns` explains this for several processes); readers never wait; a SQLite file is owned as long
as the database is open.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from concurrent.futures import Future
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from sqlalchemy import URL, Engine, inspect, select
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from humanloop.server.errors import StartError
from humanloop.server.store import batches, copies, engines, failures, migrate, urls
from humanloop.server.store.ownership import Ownership, check_name
from humanloop.server.store.settings import DatabaseSettings
from humanloop.server.store.tables import Organization
from humanloop.server.store.writer import Writer

T = TypeVar("T")

if TYPE_CHECKING:
    from importlib.abc import Traversable


class Database:
    """An open database at the newest schema."""

    def __init__(self, url: URL, readers: Engine, writer: Engine, owner: Ownership | None) -> None:
        self._url = url
        self._engine = readers
        self._writing = writer
        self._owner = owner
        self._writer = Writer(writer)

    @classmethod
    def open(
        cls,
        url: str,
        settings: DatabaseSettings | None = None,
        *,
        scripts: Traversable = migrate.SCRIPTS,
    ) -> Database:
        """Open or create the database at a SQLAlchemy URL and bring its schema up to date.

        scripts: the schema's history. Several processes may open one at the same time.

        Raises StartError if it can't be reached or written, is in use by another server, is not a
        database of this server, or has a schema newer than this version knows.
        """
        parsed = urls.parse(url)
        path = urls.file_of(parsed)
        owner = None if path is None else Ownership.take(path)
        try:
            _migrate(parsed, path, scripts)
            readers, writer = engines.for_use(parsed, settings or DatabaseSettings())
            with _start_errors(parsed), writer.connect() as connection:
                connection.execution_options(writes=True)
                with connection.begin():
                    for each in connection.scalars(select(Organization.id)).all():
                        batches.delete_unfinished(connection, each, every=owner is not None)
            return cls(parsed, readers, writer, owner)
        except BaseException:
            if owner is not None:
                owner.release()
            raise

    @classmethod
    def join(cls, url: str, *, begin: bool = False, foreign_keys: bool = True) -> Database:
        """Open a database beside the servers that may run on it; its schema stays unchanged.

        begin: create the schema if the database is missing or empty.
        foreign_keys: False for callers that themselves delete all rows that refer to deleted ones:
            SQLite would scan a whole table for each row.

        Raises StartError if it is missing, can't be used, or has another schema.
        """
        if begin and _is_new(urls.parse(url)):
            return cls.open(url)
        parsed = _existing(url)
        readers, writer = engines.for_use(parsed, DatabaseSettings(), foreign_keys=foreign_keys)
        try:
            with _start_errors(parsed):
                migrate.check_current(readers)
            return cls(parsed, readers, writer, None)
        except BaseException:
            readers.dispose()
            writer.dispose()
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
        """Have the only writer call `work` with a session; commit before the future has its result.

        If `work` raises, the future has its error, and its changes are rolled back.
        """
        return self._writer.submit(work)

    def write(self, work: Callable[[Session], T]) -> T:
        """Submit `work`, and return its result."""
        return self.submit(work).result()

    def said(self, error: Exception) -> str:
        """Return the database's error message on one line, without the secrets of its URL."""
        return urls.redact(self._url, failures.said(error))

    def close(self) -> None:
        """Close every connection and release the file; may be called again."""
        self._writer.close()
        self._engine.dispose()
        self._writing.dispose()
        if self._owner is not None:
            self._owner.release()


def _migrate(url: URL, path: Path | None, scripts: Traversable) -> None:
    engine = engines.for_schema(url)
    try:
        back_up = None if path is None else partial(copies.back_up_beside, path)
        with _start_errors(url):
            migrate.upgrade(engine, scripts, back_up=back_up)
    finally:
        engine.dispose()


@contextmanager
def joined(url: str, *, begin: bool = False, foreign_keys: bool = True) -> Generator[Database]:
    """Join a database, as `Database.join` does, and close it at the end.

    Also raises StartError for the database's errors inside the block.
    """
    database = Database.join(url, begin=begin, foreign_keys=foreign_keys)
    try:
        yield database
    except Exception as error:
        failed = failures.failure(error)
        if failed is None or isinstance(error, OSError):
            raise
        raise StartError(f"{failed.value} The database reported: {database.said(error)}") from error
    finally:
        database.close()


@contextmanager
def open_for_reading(url: str) -> Generator[Callable[[], AbstractContextManager[Session]]]:
    """Open a database beside its server; yield a function that opens a session for reading.

    All queries of one session see the same state. Nothing is created or changed.

    Raises StartError if there is no such database, it can't be read, or its schema is not this
    version's.
    """
    parsed = _existing(url)
    engine = engines.for_reading(parsed)

    @contextmanager
    def read() -> Generator[Session]:
        with engine.connect() as connection, Session(connection, autoflush=False) as session:
            yield session

    try:
        with _start_errors(parsed):
            migrate.check_current(engine)
            yield read
    finally:
        engine.dispose()


def _is_new(url: URL) -> bool:
    path = urls.file_of(url)
    if path is not None:
        return not path.exists() or path.stat().st_size == 0
    engine = engines.for_schema(url)
    try:
        with _start_errors(url), engine.connect() as connection:
            return not inspect(connection).get_table_names()
    finally:
        engine.dispose()


def _existing(url: str) -> URL:
    """Return the URL of an existing database, with the file name that its server uses, if any."""
    parsed = urls.parse(url)
    path = urls.file_of(parsed)
    if path is not None:
        if not path.is_file():
            raise StartError(f"There is no database {path}.")
        check_name(path)
    return parsed


@contextmanager
def _start_errors(url: URL) -> Generator[None]:
    """Raise StartError with one line for each error of the database."""
    try:
        yield
    except DBAPIError as error:
        said = urls.redact(url, failures.said(error))
        raise StartError(f"The database {urls.shown(url)} can't be used: {said}") from error
