"""The database's URL: which kinds are taken, and which file a SQLite one names."""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import URL, make_url
from sqlalchemy.exc import ArgumentError

from humanloop.server.errors import StartError

_DRIVERS = frozenset({"sqlite", "sqlite+pysqlite", "postgresql+psycopg"})


def parse(url: str) -> URL:
    """Return the parts of a SQLAlchemy URL; raises StartError for one that can't be used."""
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


def file_of(url: URL) -> Path | None:
    """Return the path of a SQLite URL's file, without symbolic links; None for other databases.

    Raises StartError for a SQLite database that is no file.
    """
    if url.get_backend_name() != "sqlite":
        return None
    name = url.database or ":memory:"
    if name == ":memory:" or name.startswith("file:"):
        raise StartError("The database must be a file, such as sqlite:///humanloop.db.")
    return Path(name).resolve()
