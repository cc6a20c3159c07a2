"""A look into a server's database from outside, whatever kind it is."""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import Connection, NullPool, create_engine

from humanloop.server.store import urls


@contextmanager
def connected(url: str) -> Generator[Connection]:
    """Connect; each statement is a transaction of its own."""
    engine = create_engine(urls.parse(url), poolclass=NullPool, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        yield connection


def wait_for(condition: Callable[[], object]) -> None:
    """Return once it holds of what a database or a process tells, which announces nothing."""
    while not condition():
        threading.Event().wait(0.01)


def query(url: str, statement: str) -> list[tuple[Any, ...]]:
    """What a statement finds or changes."""
    with connected(url) as connection:
        result = connection.exec_driver_sql(statement)
        return [tuple(row) for row in result] if result.returns_rows else []
