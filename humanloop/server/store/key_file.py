"""The API key that a server makes for itself: stored in a file beside its SQLite database.

Invariants: the file is readable by its owner only, from its first moment; a file that others could
have read or written is repaired, or not used.
"""

from __future__ import annotations

import logging
import os
import stat
from pathlib import Path

from humanloop.server.errors import StartError
from humanloop.server.store import urls

logger = logging.getLogger("humanloop.server")
_PRIVATE = 0o600
_LONGEST = 4096


def path_beside(database: str) -> Path | None:
    """Return the path of a database's key file; None if the database is no file."""
    path = urls.file_of(urls.parse(database))
    return None if path is None else path.with_name(f"{path.name}.key")


def read(path: Path) -> str | None:
    """Return the key in a file; None if there is no file.

    Raises StartError for a file that can't be read, holds no key, or belongs to somebody else.
    """
    try:
        with path.open("rb") as file:
            if os.name == "posix":
                _make_private(path, file.fileno())
            key = file.read(_LONGEST).decode("ascii", "replace").strip()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise StartError(f"The key file {path} can't be read: {error.strerror}.") from error
    if not key or len(key.split()) > 1 or not key.isascii() or not key.isprintable():
        raise StartError(f"The file {path} holds no key. Delete it, and a new one is made.")
    return key


def keep(path: Path, key: str) -> None:
    """Write a key to a new file; raises OSError on failure."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, _PRIVATE)
    try:
        with open(descriptor, "wb") as file:
            file.write(f"{key}\n".encode())
            file.flush()
            os.fsync(descriptor)
    except BaseException:
        path.unlink()
        raise


def is_private(path: Path) -> bool:
    """Return whether only its owner can read a file."""
    return os.name != "posix" or not path.stat().st_mode & 0o077


def _make_private(path: Path, descriptor: int) -> None:
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode):
        raise StartError(f"The key file {path} is not a regular file.")
    if status.st_uid not in {os.geteuid(), 0}:
        raise StartError(
            f"The key file {path} belongs to another user, who knows the key. Delete it, and a new "
            "one is made."
        )
    if status.st_mode & 0o077:
        os.fchmod(descriptor, _PRIVATE)
        logger.warning(
            "Others could read the key file %s; now only you can. If they may have, delete it, "
            "and a new one is made.",
            path,
        )
