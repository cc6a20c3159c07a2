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

from sqlalchemy import URL, Engine
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from humanloop.server.errors import StartError
from humanloop.server.store import batches, copies, engines, failures, migrate, urls
from humanloop.server.store.ownership import Ownership
from humanloop.server.store.settings import DatabaseSettings
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
                    batches.delete_unfinished(connection, every=owner is not None)
            return cls(parsed, readers, writer, owner)
        except BaseException:
            if owner is not None:
                owner.release()
            raise

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
def open_for_reading(url: str) -> Generator[Callable[[], AbstractContextManager[Session]]]:
    """Open a database beside the server that has it; give how to open a session for reading.

    All queries of one session see the same state. Nothing is created or changed.

    Raises StartError when there is no such database, it can't be read, or its schema is not this
    version's.
    """
    parsed = urls.parse(url)
    path = urls.file_of(parsed)
    if path is not None and not path.is_file():
        raise StartError(f"There is no database {path}.")
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


@contextmanager
def _start_errors(url: URL) -> Generator[None]:
    """Say in one line why the database can't be used."""
    try:
        yield
    except DBAPIError as error:
        said = urls.redact(url, failures.said(error))
        raise StartError(f"The database {urls.shown(url)} can't be used: {said}") from error
