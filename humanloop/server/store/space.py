"""The space of deleted rows in a SQLite file, released in steps beside traffic.

PostgreSQL's autovacuum does this by itself.
"""

from __future__ import annotations

import sqlite3
import time
from contextlib import closing
from pathlib import Path
from threading import Event
from typing import Any

from sqlalchemy.orm import Session

from humanloop.server.errors import StartError
from humanloop.server.store import urls
from humanloop.server.store.database import Database
from humanloop.server.store.ownership import Ownership

_PAGES = 256  # in one transaction: a megabyte, which takes milliseconds
_INCREMENTAL = 2
SPARE = 20
"""One in this many pages may stay empty, for the next rows."""


def shrinks(database: Database) -> bool:
    """Return whether a file can shrink in steps; files of older versions can't yet."""
    if database.dialect != "sqlite":
        return False
    with database.read() as session:
        return _pragma(session, "auto_vacuum") == _INCREMENTAL


def give_back(database: Database, stop: Event | None = None, *, spare: bool = False) -> int:
    """Release a SQLite file's empty pages; return the number of released bytes.

    stop: ends between two steps. spare: leave some pages for the next rows.
    """
    stop = stop or Event()
    if not shrinks(database):
        return 0
    freed = 0
    while not stop.is_set():
        begun = time.monotonic()
        pages = database.write(lambda session: _step(session, spare=spare))
        freed += pages
        if not pages:
            break
        stop.wait(time.monotonic() - begun)
    with database.read() as session:
        return freed * _pragma(session, "page_size")


def _step(session: Session, *, spare: bool) -> int:
    free = _pragma(session, "freelist_count")
    keep = _pragma(session, "page_count") // SPARE if spare else 0
    pages = min(free - keep, _PAGES)
    if pages <= 0:
        return 0
    driver: Any = session.connection().connection.driver_connection
    # Each step of the statement releases one page. As it returns no columns, SQLAlchemy would end
    # it after the first step.
    driver.execute(f"PRAGMA incremental_vacuum({pages})").fetchall()
    return free - _pragma(session, "freelist_count")


def _pragma(session: Session, name: str) -> int:
    return int(session.connection().exec_driver_sql(f"PRAGMA {name}").scalar_one())


def rebuild(url: str) -> int:
    """Rewrite a SQLite file as small as possible; return the number of saved bytes.

    From then on it can shrink in steps. Meanwhile it takes its size again on the disk, and nobody
    else can write, so no server may run. Raises StartError.
    """
    path = urls.file_of(urls.parse(url))
    if path is None:
        raise StartError("--vacuum is for SQLite files only; for PostgreSQL, use VACUUM FULL.")
    if not path.is_file():
        raise StartError(f"There is no database {path}.")
    owner = Ownership.take(path)
    try:
        before = path.stat().st_size
        _vacuum(path)
        return before - path.stat().st_size
    except sqlite3.Error as error:
        raise StartError(f"{path} can't be rewritten: {error}.") from error
    finally:
        owner.release()


def _vacuum(path: Path) -> None:
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        connection.execute("PRAGMA auto_vacuum = INCREMENTAL")
        connection.execute("VACUUM")
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
