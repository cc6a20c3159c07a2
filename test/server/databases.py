"""A look into a server's database from outside, whatever kind it is, and at what is done to it."""

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

_PATIENCE = 120  # seconds, after which what is waited for will not come at all


@contextmanager
def connected(url: str) -> Generator[Connection]:
    """Connect; each statement is a transaction of its own."""
    engine = create_engine(urls.parse(url), poolclass=NullPool, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        yield connection


def wait_for(condition: Callable[[], object]) -> None:
    """Return once it holds of what a database or a process tells, which announces nothing."""
    until = time.monotonic() + _PATIENCE
    while not condition():
        assert time.monotonic() < until, "it was waited for in vain"
        threading.Event().wait(0.01)


def query(url: str, statement: str) -> list[tuple[Any, ...]]:
    """What a statement finds or changes."""
    with connected(url) as connection:
        result = connection.exec_driver_sql(statement)
        return [tuple(row) for row in result] if result.returns_rows else []


@contextmanager
def listening(url: str, name: str, function: Callable[..., object]) -> Generator[None]:
    """Call a function at an event of one database's connections, whoever opened them meanwhile.

    name: of an event of SQLAlchemy's engines that is given the Connection first. Other servers of
    this process, such as the session's, write at any time: nothing is heard of their databases.
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
    """List what is sent to a database meanwhile: statements, and their parameters.

    A server whose statements are counted has no workers for evaluations, who look at any time.
    """
    found: list[tuple[str, Any]] = []

    def note(_connection: Connection, _cursor: Any, statement: str, given: Any, *_: Any) -> None:
        found.append((statement, given))

    with listening(url, "before_cursor_execute", note):
        yield found


def is_writing(connection: Connection) -> bool:
    """Tell whether a transaction of a server is one that writes."""
    return bool(connection.get_execution_options().get("writes"))


@contextmanager
def transactions(url: str, name: str) -> Generator[list[bool]]:
    """List the transactions that begin or are committed meanwhile: for each, whether it writes.

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
