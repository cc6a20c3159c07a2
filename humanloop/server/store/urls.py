"""The name of a database: a file, or a URL of one of the kinds that are taken."""

from __future__ import annotations

import re
from pathlib import Path

from sqlalchemy import URL, make_url
from sqlalchemy.exc import ArgumentError

from humanloop.server.errors import StartError

_DRIVERS = frozenset({"sqlite", "sqlite+pysqlite", "postgresql+psycopg"})


# Of a URL; a single letter is a drive of Windows.
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:")


def parse(name: str) -> URL:
    """Return the URL of a database, given as a SQLAlchemy URL or as the path of a SQLite file.

    Raises StartError for a name that can't be used.
    """
    if name and _SCHEME.match(name) is None:
        return URL.create("sqlite", database=name)
    try:
        parsed = make_url(name)
        if parsed.drivername == "postgresql":
            # What this stands for depends on SQLAlchemy's version.
            return parsed.set(drivername="postgresql+psycopg")
        if parsed.drivername in _DRIVERS:
            return parsed
    except (ArgumentError, ValueError):
        pass
    # The text may hold a password, so it is not repeated.
    raise StartError(
        "The database must be a file such as humanloop.db, or a URL such as "
        "sqlite:///humanloop.db or postgresql://user@host/name."
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
