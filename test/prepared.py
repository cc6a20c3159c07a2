"""A SQLite database as a server's first start leaves it: copied, since making one takes longer."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

from humanloop.server.store.database import Database


def prepare(path: Path) -> None:
    """Put such a database at a path."""
    path.touch(0o600)
    path.write_bytes(_template())


@contextmanager
def prepared() -> Generator[str]:
    """Give the URL of such a database, which is deleted in the end."""
    with TemporaryDirectory() as name:
        path = Path(name) / "own.db"
        prepare(path)
        yield f"sqlite:///{path}"


@cache
def _template() -> bytes:
    with TemporaryDirectory() as name:
        path = Path(name) / "own.db"
        Database.open(f"sqlite:///{path}").close()
        return path.read_bytes()
