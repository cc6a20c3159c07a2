"""The open files of the spool, which a fork's child closes, and which a daemon may close.

Invariants: a fork's child holds no lock of its parent. A descriptor is used only while it leads to
the file for which it was opened: a program that becomes a daemon may close all of them, and open
other files under the same numbers.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Generator

from humanloop.forks import no_fork

if sys.platform != "win32":
    import fcntl

__all__ = ["Target", "close", "identity", "is_registered", "opened", "register"]

_HIGH = (512, 192, 96, 48)

_Identity = tuple[int, int]
"""The device and the number of a file."""

_descriptors: dict[int, _Identity] = {}


def identity(descriptor: int) -> _Identity | None:
    """Return the identity of an open file; None: the descriptor is closed."""
    try:
        status = os.fstat(descriptor)
    except OSError:
        return None
    return status.st_dev, status.st_ino


def register(descriptor: int) -> None:
    """Remember a descriptor as one of the spool's."""
    if (known := identity(descriptor)) is not None:
        _descriptors[descriptor] = known


def is_registered(descriptor: int) -> bool:
    """Return whether a descriptor is the spool's, and leads to the file that it led to."""
    known = _descriptors.get(descriptor)
    return known is not None and identity(descriptor) == known


def close(descriptor: int) -> None:
    """Close a descriptor, unless somebody has done it."""
    with no_fork.tried():  # otherwise a child might get a copy that nobody closes
        was_registered = is_registered(descriptor)
        _descriptors.pop(descriptor, None)
        if was_registered:
            os.close(descriptor)


@contextlib.contextmanager
def opened(path: str | os.PathLike[str], flags: int) -> Generator[int, None, None]:
    """Open a file for the time of a block."""
    descriptor = os.open(path, flags)
    register(descriptor)
    try:
        yield descriptor
    finally:
        close(descriptor)


def _forget() -> None:
    """Close the parent's files: the child's copies would keep the locks of a dead parent."""
    for descriptor in list(_descriptors):
        close(descriptor)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)


class Target:
    """A descriptor that leads to the current segment, or to none, and whose number stays.

    A write to it can therefore never reach a file that was opened meanwhile under the same number:
    at worst the write fails with EBADF, and nothing is written. If somebody closes all descriptors,
    the number changes; it is high, since the system gives the low ones to the next files. It is -1
    while there is no high one.
    """

    _pid = 0  # in case that a signal handler raises in the constructor

    def __init__(self) -> None:
        self._pid = os.getpid()
        self.descriptor = -1

    def lead_to(self, source: int | None) -> None:
        """Lead to another segment from now on; a write that has begun ends in the one before."""
        with no_fork.lock:
            try:
                if not is_registered(self.descriptor):
                    _descriptors.pop(self.descriptor, None)
                    self.descriptor = -1 if source is None else _high_copy(source)
                else:
                    source = _nowhere() if source is None else source
                    os.dup2(source, self.descriptor, inheritable=False)
                _nowhere()  # later, the process may have too many open files
            except OSError:  # there are too many, or the limit is lower than before
                close(self.descriptor)
                self.descriptor = -1
            register(self.descriptor)

    def leads_to(self, descriptor: int) -> bool:
        """Return whether it leads to the same file as another descriptor."""
        found = identity(self.descriptor)
        return found is not None and found == identity(descriptor)

    def __del__(self) -> None:
        if self._pid == os.getpid():  # in a fork's child, another file may have the number
            close(self.descriptor)


_null = -1


def _nowhere() -> int:
    """Return a descriptor to which nothing can be written."""
    global _null
    if not is_registered(_null):
        _null = os.open(os.devnull, os.O_RDONLY)
        register(_null)
    return _null


def _high_copy(descriptor: int) -> int:
    """Return a copy of a descriptor with a high number; -1 if there is none."""
    for lowest in _HIGH:
        with contextlib.suppress(OSError):  # the limit is lower, or all numbers above are taken
            return fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, lowest)
    return -1
