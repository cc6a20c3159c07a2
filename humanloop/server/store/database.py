"""The database: opened once by a process, read by many threads, written by one.

Invariants: a work is committed whole or rolled back whole; works wait for each other before they
read anything, so a look-up and the insert that depends on it can't be torn apart (`turns` says how,
where several processes write); readers wait for nobody; a SQLite file is owned for as long as the
database is open.
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

        scripts: where the history of the schema is. Several processes may open one at once.

        Raises StartError when it can't be reached or written, is in use by another server, is
        not a database of this server, or has a schema newer than this version knows.
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
        """Open a database beside the servers that may run on it; its schema stays as it is.

        begin: whether one that is not there, or is empty, is begun.
        foreign_keys: False for who deletes all that refers to what is deleted by itself: SQLite
            would look through a whole table for each row.

        Raises StartError when it is not there, can't be used, or has another schema.
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
        """Let the only writer do a work with a session; committed once the future has its result.

        An error of the work is the future's, and leaves nothing of it.
        """
        return self._writer.submit(work)

    def write(self, work: Callable[[Session], T]) -> T:
        """Do as `submit` does, and wait for the result."""
        return self.submit(work).result()

    def said(self, error: Exception) -> str:
        """Return on one line what the database said, without the secrets of its URL."""
        return urls.redact(self._url, failures.said(error))

    def close(self) -> None:
        """Close every connection and give the file free; harmless when called again."""
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

    Raises StartError for whatever the database fails with meanwhile, too.
    """
    database = Database.join(url, begin=begin, foreign_keys=foreign_keys)
    try:
        yield database
    except Exception as error:
        failed = failures.failure(error)
        if failed is None or isinstance(error, OSError):
            raise
        raise StartError(f"{failed.value} It said: {database.said(error)}") from error
    finally:
        database.close()


@contextmanager
def open_for_reading(url: str) -> Generator[Callable[[], AbstractContextManager[Session]]]:
    """Open a database beside the server that has it; give how to open a session for reading.

    All queries of one session see the same state. Nothing is created or changed.

    Raises StartError when there is no such database, it can't be read, or its schema is not this
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
    """Return the URL of a database that is there, by the name that a server has it by, if any."""
    parsed = urls.parse(url)
    path = urls.file_of(parsed)
    if path is not None:
        if not path.is_file():
            raise StartError(f"There is no database {path}.")
        check_name(path)
    return parsed


@contextmanager
def _start_errors(url: URL) -> Generator[None]:
    """Say in one line why the database can't be used."""
    try:
        yield
    except DBAPIError as error:
        said = urls.redact(url, failures.said(error))
        raise StartError(f"The database {urls.shown(url)} can't be used: {said}") from error
