"""The open files of the spool, which a fork's child closes, and which a daemon may close.

Invariants: a fork's child holds no lock of its parent. A descriptor is used only while it leads to
the file for which it was opened: a program that becomes a daemon may close all of them, and the
system gives their numbers to the next files, also to those of the spool.
"""

from __future__ import annotations

import contextlib
import errno
import os
import sys
from collections.abc import Generator

from humanloop.forks import no_fork

if sys.platform != "win32":
    import fcntl

__all__ = ["GONE", "OpenFile", "Target", "opened"]

GONE = (FileNotFoundError, NotADirectoryError)
_HIGH = (512, 192, 96, 48)


class OpenFile:
    """An open file of the spool, known to forks until it is closed.

    descriptor: its number; -1 when it is closed, in a fork's child from the beginning.
    """

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor
        self._identity = _identity(descriptor)
        _files.add(self)

    @property
    def is_open(self) -> bool:
        """False if it is closed, by whomever."""
        return self._identity is not None and _identity(self.descriptor) == self._identity

    @property
    def size(self) -> int:
        """Its length in bytes; raises OSError if it is closed, by whomever."""
        status = os.fstat(self.descriptor)
        if (status.st_dev, status.st_ino) != self._identity:
            raise OSError(errno.EBADF, os.strerror(errno.EBADF))
        return status.st_size

    def has(self, descriptor: int) -> bool:
        """Return whether it is open, and a descriptor leads to the same file."""
        return self.is_open and _identity(descriptor) == self._identity

    def is_at(self, path: str | os.PathLike[str]) -> bool:
        """Return whether a path leads to it; raises OSError if it is closed."""
        try:
            return os.path.samestat(os.fstat(self.descriptor), os.lstat(path))
        except GONE:
            return False

    def lead_to(self, other: OpenFile) -> None:
        """Lead to the file of another one, with the same number; raises OSError."""
        os.dup2(other.descriptor, self.descriptor, inheritable=False)
        self._identity = other._identity

    def close(self) -> None:
        """Close it, unless somebody has done it."""
        with no_fork.tried():  # otherwise a child might get a copy that nobody closes
            is_open = self.is_open
            descriptor, self.descriptor = self.descriptor, -1
            _files.discard(self)
            if is_open:
                os.close(descriptor)


_files: set[OpenFile] = set()


def _identity(descriptor: int) -> tuple[int, int] | None:
    """Return the device and the number of an open file; None: the descriptor is closed."""
    try:
        status = os.fstat(descriptor)
    except OSError:
        return None
    return status.st_dev, status.st_ino


@contextlib.contextmanager
def opened(path: str | os.PathLike[str], flags: int) -> Generator[int, None, None]:
    """Open a file for the time of a block; give its descriptor."""
    file = OpenFile(os.open(path, flags))
    try:
        yield file.descriptor
    finally:
        file.close()


def _forget() -> None:
    """Close the parent's files: the child's copies would keep the locks of a dead parent."""
    for file in list(_files):
        file.close()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)


class Target:
    """A descriptor that leads to the current segment, or to none, and whose number stays.

    A write to it can therefore never reach a file that was opened meanwhile under the same number:
    at worst the write fails with EBADF, and nothing is written. If somebody closes all descriptors,
    the number changes; it is high, since the system gives the low ones to the next files, and no
    other target gets it. It is -1 while there is no high one.
    """

    _file: OpenFile | None = None  # in case that a signal handler raises in the constructor

    def __init__(self) -> None:
        self.descriptor = -1

    def lead_to(self, source: OpenFile | None) -> None:
        """Lead to another segment from now on; a write that has begun ends in the one before."""
        with no_fork.lock:
            try:
                if self._file is not None and self._file.is_open:
                    self._file.lead_to(_nowhere() if source is None else source)
                else:
                    self._end()
                    if source is not None:
                        self._file = _high_copy(source)
                _nowhere()  # later, the process may have too many open files
            except OSError:  # there are too many, or the limit is lower than before
                self._end()
            if self._file is not None:
                self.descriptor = self._file.descriptor
                _numbers.add(self.descriptor)

    def leads_to(self, file: OpenFile) -> bool:
        """Return whether it leads to a file, also if a signal handler has raised amid a change."""
        return file.has(self.descriptor)

    def _end(self) -> None:
        _numbers.discard(self.descriptor)
        self.descriptor = -1
        if self._file is not None:
            self._file.close()
            self._file = None

    def __del__(self) -> None:
        self._end()


_numbers: set[int] = set()  # of all targets, also if somebody has closed them
_reading_end: OpenFile | None = None


def _nowhere() -> OpenFile:
    """Return a file to which nothing can be written, and which is nobody else's.

    It is the reading end of a pipe: a daemon may open the null device under the same number.
    """
    global _reading_end
    if _reading_end is None or not _reading_end.is_open:
        reading, writing = os.pipe()
        _reading_end = OpenFile(reading)
        os.close(writing)
    return _reading_end


def _high_copy(file: OpenFile) -> OpenFile | None:
    """Return a copy of a descriptor with a high number; None if there is none."""
    for lowest in _HIGH:
        with contextlib.suppress(OSError):  # the limit is lower, or all numbers above are taken
            while True:
                copy = OpenFile(fcntl.fcntl(file.descriptor, fcntl.F_DUPFD_CLOEXEC, lowest))
                if copy.descriptor not in _numbers:
                    return copy
                lowest = copy.descriptor + 1
                copy.close()
    return None
