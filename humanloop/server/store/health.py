"""The examination of a database beside its server, without changing anything."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import AbstractContextManager, contextmanager

from sqlalchemy import text
from sqlalchemy.exc import DatabaseError
from sqlalchemy.orm import Session

from humanloop.server.store import overview
from humanloop.server.store.database import open_for_reading
from humanloop.server.store.failures import said


class Examination:
    """A readable database at the newest schema.

    read: opens a session.
    """

    def __init__(self, read: Callable[[], AbstractContextManager[Session]]) -> None:
        self._read = read
        with read() as session:
            statement = text("SELECT version_num FROM alembic_version")
            self.revision = str(session.execute(statement).scalar_one())

    def counts(self) -> tuple[int, int]:
        """Return the number of projects, and of logs."""
        with self._read() as session:
            return overview.count_logs(session)

    def damage(self) -> str | None:
        """Read a whole SQLite file; return the first damage, or None."""
        try:
            with self._read() as session:
                found = str(session.execute(text("PRAGMA quick_check(1)")).scalar_one())
        except DatabaseError as error:
            return said(error)
        return None if found == "ok" else found


@contextmanager
def examine(database: str) -> Generator[Examination]:
    """Open a database for examination; raises StartError if that fails."""
    with open_for_reading(database) as read:
        yield Examination(read)
