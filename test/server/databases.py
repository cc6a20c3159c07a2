"""Connections to a server's database from outside, of any kind, and a view of its statements."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from sqlalchemy import URL, Connection, Engine, NullPool, create_engine, event

from humanloop.server.store import urls

_PATIENCE = 120  # seconds after which a condition will never become true


@contextmanager
def connected(url: str) -> Generator[Connection]:
    """Connect; each statement is a transaction of its own."""
    engine = create_engine(urls.parse(url), poolclass=NullPool, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        yield connection


def wait_for(condition: Callable[[], object]) -> None:
    """Return once a condition on a database or a process is true; these send no events."""
    until = time.monotonic() + _PATIENCE
    while not condition():
        assert time.monotonic() < until, "it was waited for in vain"
        threading.Event().wait(0.01)


def query(url: str, statement: str) -> list[tuple[Any, ...]]:
    """The rows that a statement finds, or none for a change."""
    with connected(url) as connection:
        result = connection.exec_driver_sql(statement)
        return [tuple(row) for row in result] if result.returns_rows else []


@contextmanager
def listening(url: str, name: str, function: Callable[..., object]) -> Generator[None]:
    """Call a function at an event of one database's connections, whoever opens them.

    name: an event of SQLAlchemy's engines whose first argument is the Connection. Other servers of
        this process, such as the session's, may write at any time: events of their databases are
        ignored.
    """
    place = _place(urls.parse(url))

    def note(connection: Connection, *rest: Any) -> None:
        if _place(connection.engine.url) == place:
            function(connection, *rest)

    event.listen(Engine, name, note)
    try:
        yield
    finally:
        event.remove(Engine, name, note)


@contextmanager
def statements(url: str) -> Generator[list[tuple[str, Any]]]:
    """Collect the statements sent to a database inside the block, with their parameters.

    The server must have no workers for evaluations, since these read at any time.
    """
    found: list[tuple[str, Any]] = []

    def note(_connection: Connection, _cursor: Any, statement: str, given: Any, *_: Any) -> None:
        found.append((statement, given))

    with listening(url, "before_cursor_execute", note):
        yield found


def is_writing(connection: Connection) -> bool:
    """Return whether a server's transaction writes."""
    return bool(connection.get_execution_options().get("writes"))


@contextmanager
def transactions(url: str, name: str) -> Generator[list[bool]]:
    """Collect transactions that begin or are committed in the block: True for each that writes.

    name: `begin` or `commit`.
    """
    found: list[bool] = []
    with listening(url, name, lambda connection: found.append(is_writing(connection))):
        yield found


def _place(url: URL) -> tuple[object, ...]:
    """Return where a database is, however its URL is written."""
    if urls.is_sqlite(url):
        name = url.database or ""
        return (Path(urlsplit(name).path if name.startswith("file:") else name).resolve(),)
    return url.host, url.port, url.query.get("host"), url.database
