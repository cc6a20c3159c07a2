"""Let a fork wait for operations that it must not interrupt.

A fork copies every lock as it is, but of the threads only the one that forks: a lock that another
thread holds at that moment is never released in the child. `no_fork` is held while files are opened
and locked, and while modules are imported, whose locks Python does not make anew in the child.

It is the spool's only lock for threads that log. A signal handler and a `__del__` may run wherever
a lock is held, and log; with a second lock, two of them could take both in opposite orders.

Invariants: with `no_fork` held, nothing waits for a network or a log record, and of the disk only
for the names of files; no fork waits for long; in a child it is free.
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
    """A lock that each fork takes, too; a thread that has it may take it again.

    Use `with no_fork.lock`: an RLock's own methods are not written in Python, so no signal handler
    can raise between the taking and the block, which would keep it for good.
    """

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self._leads = False
        self._register()

    @property
    def is_mine(self) -> bool:
        """True if this thread has it: it may be one that a signal handler has interrupted."""
        owned: Callable[[], bool] = getattr(self.lock, _OWNED)
        return owned()

    @contextlib.contextmanager
    def tried(self) -> Generator[bool, None, None]:
        """Take it if it is free soon; give whether it was.

        For a thread that others wait for: one of them may be a signal handler that has interrupted
        a thread with the lock.
        """
        is_taken = self.lock.acquire(timeout=_SOON)
        try:
            yield is_taken
        finally:
            if is_taken:
                self.lock.release()

    @contextlib.contextmanager
    def importing(self) -> Generator[None, None, None]:
        """Hold it for an import that may be the first.

        A fork then takes it before the lock of `logging`, which many modules take: what is
        registered last is called first when a fork begins (`os.register_at_fork`).
        """
        with self.lock:
            if not self._leads:
                import_module("logging")
                self._register()
                self._leads = True
            yield

    def _register(self) -> None:
        # Not by functions written in Python: a signal handler may raise at the beginning of one,
        # for example when a fork has just returned, and the lock would be kept for good.
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(
                before=partial(self.lock.acquire, timeout=_PATIENCE),
                after_in_parent=self.lock.release,
                after_in_child=self._after_in_child,
            )

    def _after_in_child(self) -> None:
        try:
            self.lock.release()
        except RuntimeError:  # a thread has it that is not here
            getattr(self.lock, _RENEW)()


no_fork = NoFork()
