"""Let a fork wait for operations that it must not interrupt.

A fork copies every lock as it is, but of the threads only the one that forks: a lock that another
thread holds at that moment is never released in the child. So a fork takes two locks: one that is
held while files are opened and locked, and one that is held while modules are imported, since
Python does not make the locks of modules anew in the child.

A signal handler and a `__del__` may log wherever another lock is held: of a module that is being
imported, of a thread that is being started, of `logging`. So whoever has the lock for files waits
for no other lock, and the wait for the lock for imports is limited.

Invariants: with the lock for files held, nothing waits for a network, a thread, an import or a log
record, and of the disk only for the names of files; no fork waits for long; in a child both locks
are free.
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Callable, Generator
from functools import partial
from importlib import import_module

__all__ = ["no_fork"]

_PATIENCE = 5.0  # seconds: a child that may hang is better than a parent that does
_SOON = 0.1  # seconds
# Not documented, but `threading` itself needs both.
_OWNED, _RENEW = "_is_owned", "_at_fork_reinit"


class NoFork:
    """The locks that each fork takes, too; a thread that has one may take it again.

    lock: the one for files. Use `with no_fork.lock`: an RLock's own methods are not written in
    Python, so no signal handler can raise between the taking and the block, which would keep it for
    good.
    """

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self._imports = threading.RLock()
        self._leads = False
        self._register()

    @property
    def is_mine(self) -> bool:
        """True if this thread has `lock`: it may be one that a signal handler has interrupted."""
        owned: Callable[[], bool] = getattr(self.lock, _OWNED)
        return owned()

    @contextlib.contextmanager
    def tried(self) -> Generator[bool, None, None]:
        """Take `lock` if it is free soon; give whether it was.

        For a thread that others wait for: one of them may be a signal handler that has interrupted
        a thread with the lock.
        """
        with _taken(self.lock, _SOON) as is_taken:
            yield is_taken

    @contextlib.contextmanager
    def importing(self) -> Generator[None, None, None]:
        """Let forks wait for an import that may be the first.

        A fork then waits before it takes the lock of `logging`, which many modules take: what is
        registered last is called first when a fork begins (`os.register_at_fork`).
        """
        with _taken(self._imports, _PATIENCE):
            if not self._leads:
                import_module("logging")
                self._register()
                self._leads = True
            yield

    def _register(self) -> None:
        if not hasattr(os, "register_at_fork"):
            return
        # A fork takes the lock for imports first: who has it may need the one for files.
        for lock in (self.lock, self._imports):
            # Not by functions written in Python: a signal handler may raise at the beginning of
            # one, for example when a fork has just returned, and the lock would be kept for good.
            os.register_at_fork(
                before=partial(lock.acquire, timeout=_PATIENCE),
                after_in_parent=lock.release,
                after_in_child=partial(_free, lock),
            )


@contextlib.contextmanager
def _taken(lock: threading.RLock, seconds: float) -> Generator[bool, None, None]:
    """Take a lock if it is free within some time; give whether it was."""
    is_taken = lock.acquire(timeout=seconds)
    try:
        yield is_taken
    finally:
        if is_taken:
            lock.release()


def _free(lock: threading.RLock) -> None:
    """Release a fork's lock in the child."""
    try:
        lock.release()
    except RuntimeError:  # a thread has it that is not here
        getattr(lock, _RENEW)()


no_fork = NoFork()
