"""Copies of a SQLite database: backups for users and before upgrades, and their restoration.

Invariants: a copy appears under its name at once, complete, checked, on the disk, and readable by
its owner only, or not at all. The source is read through SQLite, in one transaction, so a server
may be writing to it.
"""

from __future__ import annotations

import errno
import os
import sqlite3
import tempfile
from collections.abc import Generator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

from humanloop.server.errors import StartError
from humanloop.server.store import migrate, urls
from humanloop.server.store.ownership import Ownership

_PARTIAL = ".partial"


def back_up(url: str, target: Path) -> Path:
    """Copy a URL's database, in use or not, to a new file; return the path of the source.

    Raises StartError on failure; nothing is then left at the target.
    """
    source = _sqlite_file(url)
    if not source.is_file():
        raise StartError(f"There is no database {source}.")
    target = target.absolute()
    if target.exists():
        raise StartError(f"There is already a file {target}. Choose another name for the backup.")
    with _copied(source, target) as copy:
        _check_schema(copy, source)
        _put(copy, target)
    return source


def restore(url: str, backup: Path) -> Path:
    """Replace a URL's database by a copy of a backup; return the database's path.

    Raises StartError if the backup can't be used or a server runs on the database, which then stays
    unchanged.
    """
    path = _sqlite_file(url)
    if not backup.is_file():
        raise StartError(f"There is no backup {backup}.")
    if path.exists() and backup.samefile(path):
        raise StartError(f"{backup} is the database itself.")
    existed = path.exists()
    owner = Ownership.take(path)
    try:
        with _copied(backup, path) as copy:
            _check_schema(copy, backup)
            _settle(path)
            _put(copy, path)
    except BaseException:
        if not existed:
            path.unlink(missing_ok=True)
        raise
    finally:
        owner.release()
    return path


def back_up_beside(path: Path, revision: str) -> Path:
    """Copy this process's own database to FILE.backup-REVISION; return that path.

    Replaces the backup of an earlier, interrupted upgrade.
    """
    target = path.with_name(f"{path.name}.backup-{revision}")
    for left in path.parent.glob(f"{target.name}.*{_PARTIAL}"):
        left.unlink()
    with _copied(path, target) as copy:
        _put(copy, target)
    return target


def _sqlite_file(url: str) -> Path:
    path = urls.file_of(urls.parse(url))
    if path is None:
        raise StartError("Only SQLite databases can be copied; for PostgreSQL, use pg_dump.")
    return path


@contextmanager
def _copied(source: Path, target: Path) -> Generator[Path]:
    """Make a checked copy beside the target; delete it at the end unless it was renamed."""
    try:
        descriptor, name = tempfile.mkstemp(_PARTIAL, f"{target.name}.", target.parent)
    except OSError as error:
        raise StartError(f"No file can be created in {target.parent}: {error.strerror}.") from error
    os.close(descriptor)
    copy = Path(name)
    try:
        _copy(source, copy)
        yield copy
    except (sqlite3.Error, OSError) as error:
        raise StartError(_reason(source, target, error)) from error
    finally:
        for each in (copy, *_companions(copy)):
            each.unlink(missing_ok=True)


def _copy(source: Path, copy: Path) -> None:
    with closing(_connect(source, "mode=rw")) as reading, closing(sqlite3.connect(copy)) as writing:
        writing.execute("PRAGMA synchronous = OFF")  # everything is synced to the disk at the end
        reading.backup(writing)
    # Immutable, since otherwise SQLite would create a write-ahead log just to read it.
    with closing(_connect(copy, "mode=ro&immutable=1")) as connection:
        [found, *_] = connection.execute("PRAGMA integrity_check").fetchone()
    if found != "ok":
        raise sqlite3.DatabaseError(f"it is damaged: {found}")


def _connect(path: Path, options: str) -> sqlite3.Connection:
    return sqlite3.connect(f"{path.absolute().as_uri()}?{options}", uri=True)


def _reason(source: Path, target: Path, error: sqlite3.Error | OSError) -> str:
    full = isinstance(error, OSError) and error.errno in {errno.ENOSPC, errno.EDQUOT}
    if full or "full" in str(error):
        size = source.stat().st_size / 1e6
        return (
            f"There is not enough space in {target.parent} for a copy of {source} ({size:.1f} MB)."
        )
    return f"{source} can't be copied to {target}: {error}."


def _check_schema(copy: Path, source: Path) -> None:
    """Raise StartError for a database that is not this server's, or is from a newer version."""
    with closing(_connect(copy, "mode=ro&immutable=1")) as connection:
        try:
            [revision] = connection.execute("SELECT version_num FROM alembic_version").fetchone()
        except (sqlite3.Error, TypeError):
            raise StartError(f"{source} is not a database of this server.") from None
    migrate.check_known(revision)


def _settle(path: Path) -> None:
    """Merge the old database's write-ahead log into it, and delete the files beside it.

    SQLite would apply such files to the database that takes its place.
    """
    with suppress(sqlite3.DatabaseError), closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    for each in _companions(path):
        each.unlink(missing_ok=True)


def _companions(path: Path) -> list[Path]:
    return [path.with_name(path.name + ending) for ending in ("-wal", "-shm", "-journal")]


def _put(copy: Path, target: Path) -> None:
    """Rename the copy; sync it and its directory to the disk."""
    _sync(copy)
    os.replace(copy, target)
    if os.name == "posix":
        _sync(target.parent)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
