"""One server for each database file, whatever name it is opened by.

Two locks exclude a second server. The first is beside the file, so it is taken without touching the
file, on every platform. The second, on Linux, is on the file itself: hard links and bind mounts
give one file several names, each with its own lock file and write-ahead log.

Invariants: no database file is opened before the first lock is taken. A file's descriptor is closed
only while nobody holds SQLite's locks on it: closing any descriptor of a file drops all POSIX locks
that the process holds on it (fcntl(2)). SQLite would not notice; another program would believe to
be the last one at the file, and delete the write-ahead log with the latest commits.
"""

from __future__ import annotations

import errno
import os
import sqlite3
import struct
import sys
import threading
from contextlib import suppress
from pathlib import Path

from humanloop.server.errors import StartError

Inode = tuple[int, int]


class Ownership:
    """The right to be the only server on a database file, until its release or the process's end.

    The operating system releases the locks, however the process ends.
    """

    def __init__(self, beside: sqlite3.Connection, inode: Inode | None) -> None:
        self._beside = beside
        self._inode = inode

    @classmethod
    def take(cls, path: Path) -> Ownership:
        """Own the file at an absolute path; create an empty one for its owner only.

        Raises StartError if another server has it, or it can't be written.
        """
        if path.is_dir():
            raise _unusable(path, errno.EISDIR)
        if not path.parent.is_dir():
            raise _unusable(path, errno.ENOENT)
        beside = _lock_beside(path)
        try:
            return cls(beside, _lock_file(path))
        except BaseException as error:
            beside.close()
            if isinstance(error, OSError):
                raise _unusable(path, error.errno) from error
            raise

    def release(self) -> None:
        """Release the file, after all connections to it are closed; may be called again."""
        if self._inode is not None:
            _unlock_file(self._inode)
            self._inode = None
        self._beside.close()


def check_name(path: Path) -> None:
    """Raise StartError if a server runs on an existing file under another name.

    SQLite keeps a write-ahead log beside each name, so nobody else may use this name meanwhile.
    """
    try:
        owned = _is_owned(path)
    except OSError as error:
        raise _unusable(path, error.errno) from error
    if owned and not _is_locked_beside(path):
        raise StartError(f"A server uses the file {path} under another name. Use the same name.")


def _is_locked_beside(path: Path) -> bool:
    lock = sqlite3.connect(f"{path}.lock", timeout=0, isolation_level=None)
    try:
        lock.execute("SELECT 1 FROM sqlite_master").fetchall()
        return False
    except sqlite3.OperationalError:
        return True
    finally:
        lock.close()


def owner_of(path: Path) -> str | None:
    """Return the process that owns a file, as far as that can be told; None if none does.

    Takes no lock, so a server may start meanwhile. Not for files of this process: closing the
    descriptor would drop its locks.
    """
    lock = Path(f"{path}.lock")
    if not lock.exists():
        return None
    if sys.platform != "linux":
        return None
    with lock.open("rb") as file:
        answer = fcntl.fcntl(file, fcntl.F_GETLK, _record(fcntl.F_WRLCK, 0, 0))
    kind, _, _, _, process = struct.unpack_from("hhqqi", answer)
    if kind == fcntl.F_UNLCK:
        return None
    return f"process {process}" if process > 0 else "another process"


def _unusable(path: Path, number: int | None) -> StartError:
    reason = os.strerror(number or errno.EIO)
    return StartError(f"The database {path} can't be opened for writing: {reason}.")


def _in_use(path: Path) -> StartError:
    return StartError(f"The database {path} is in use by another server. Stop that one first.")


def _lock_beside(path: Path) -> sqlite3.Connection:
    """Lock FILE.lock by SQLite's own means, as an empty database: this works wherever SQLite does.

    SQLite also knows which connection of this process has locked it; the operating system does not.
    """
    lock = sqlite3.connect(f"{path}.lock", timeout=0, isolation_level=None, check_same_thread=False)
    try:
        lock.execute("BEGIN EXCLUSIVE")
    except sqlite3.Error as error:
        lock.close()
        if "locked" in str(error):
            raise _in_use(path) from error
        raise StartError(f"The lock file {path}.lock can't be written: {error}.") from error
    return lock


if sys.platform == "linux":
    import fcntl

    _guard = threading.Lock()
    _owned: dict[Inode, int] = {}
    _idle: dict[Inode, int] = {}  # released, but not safe to close yet

    def _record(kind: int, start: int, length: int) -> bytes:
        """Return a `struct flock` relative to the beginning; a length of 0 has no end."""
        return struct.pack("hhqqi0q", kind, os.SEEK_SET, start, length, 0)

    # Far from the bytes that SQLite locks, at 1 GiB, and from every byte of a file.
    _MARK = (1 << 62, 1)

    def _lock_file(path: Path) -> Inode:
        """Lock the file itself, with a lock that belongs to the descriptor, not to the process."""
        with _guard:
            _close_idle()
            descriptor = _open_file(path)
            status = os.fstat(descriptor)
            inode = (status.st_dev, status.st_ino)
            _idle[inode] = descriptor
            try:
                fcntl.fcntl(descriptor, fcntl.F_OFD_SETLK, _record(fcntl.F_WRLCK, *_MARK))
            except OSError as error:
                _close_idle()
                if error.errno in {errno.EAGAIN, errno.EACCES}:
                    raise _in_use(path) from error
                raise
            _owned[inode] = _idle.pop(inode)
            return inode

    def _open_file(path: Path) -> int:
        """Return a descriptor of a new file, or of one for which this process has none yet."""
        with suppress(FileExistsError):
            return os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
        status = os.stat(path)
        inode = (status.st_dev, status.st_ino)
        if inode in _owned:
            raise _in_use(path)
        return _idle.pop(inode) if inode in _idle else os.open(path, os.O_RDWR)

    def _is_owned(path: Path) -> bool:
        """Return whether somebody has locked the file itself."""
        with _guard:
            _close_idle()
            status = os.stat(path)
            inode = (status.st_dev, status.st_ino)
            if inode in _owned:
                return True
            if inode not in _idle:
                _idle[inode] = os.open(path, os.O_RDWR)
            answer = fcntl.fcntl(_idle[inode], fcntl.F_OFD_GETLK, _record(fcntl.F_WRLCK, *_MARK))
            _close_idle()
            return bool(struct.unpack_from("h", answer)[0] != fcntl.F_UNLCK)

    def _unlock_file(inode: Inode) -> None:
        with _guard:
            descriptor = _owned.pop(inode, None)
            if descriptor is not None:  # a fork's child never had it
                fcntl.fcntl(descriptor, fcntl.F_OFD_SETLK, _record(fcntl.F_UNLCK, *_MARK))
                _idle[inode] = descriptor
            _close_idle()

    def _close_idle() -> None:
        """Close the descriptors of deleted files, and of files on which nobody holds a lock."""
        for inode, descriptor in list(_idle.items()):
            answer = fcntl.fcntl(descriptor, fcntl.F_OFD_GETLK, _record(fcntl.F_WRLCK, 0, 0))
            free = struct.unpack_from("h", answer)[0] == fcntl.F_UNLCK
            if free or os.fstat(descriptor).st_nlink == 0:
                os.close(_idle.pop(inode))

    def _forget() -> None:
        """Release all in a fork's child, which would otherwise keep the lock after its parent."""
        for descriptor in (*_owned.values(), *_idle.values()):
            os.close(descriptor)  # it has no POSIX locks yet that this could drop
        _owned.clear()
        _idle.clear()
        _guard.release()

    os.register_at_fork(
        before=_guard.acquire, after_in_parent=_guard.release, after_in_child=_forget
    )
else:

    def _lock_file(path: Path) -> None:
        """Create the file if it is missing; it is not locked itself."""
        with suppress(FileExistsError):
            os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))

    def _is_owned(path: Path) -> bool:
        """Return False, since this platform can't tell."""
        return False

    def _unlock_file(inode: Inode) -> None:
        """Do nothing: on this platform, the lock beside the file is the only one."""
