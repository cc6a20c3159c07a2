"""Several identical processes, for `humanloop serve --workers N`.

The parent starts them and restarts those that end; it serves no requests itself. Invariants: a
worker ends when its parent ends in any way, since the parent's end of the pipe is then closed; an
interrupt from the terminal, which reaches all processes, stops each of them once, through the
parent.
"""

from __future__ import annotations

import logging
import multiprocessing
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing import connection as pipes
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from types import FrameType

from humanloop.server.errors import StartError

logger = logging.getLogger("humanloop.server")
_STARTED = ""
_PAUSE = 1.0  # the least number of seconds between two starts of a worker
_SIGNALS = [
    getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGBREAK") if hasattr(signal, name)
]


class Parent:
    """The parent, as seen by a worker."""

    def __init__(self, pipe: Connection) -> None:
        self._pipe = pipe

    def tell_started(self) -> None:
        """Report that the worker does its work."""
        self._tell(_STARTED)

    def tell_failure(self, text: str) -> None:
        """Report in one line why the worker can't do its work."""
        self._tell(text)

    def on_end(self, stop: Callable[[], None]) -> None:
        """Call `stop`, in another thread, when the worker must end."""

        def wait() -> None:
            with suppress(EOFError, OSError):
                self._pipe.recv()
            stop()

        threading.Thread(target=wait, name="humanloop-parent", daemon=True).start()

    def _tell(self, text: str) -> None:
        with suppress(OSError):  # the parent is gone
            self._pipe.send(text)


Work = Callable[[Parent], None]
"""A worker's function, which runs until the parent ends it; it must be picklable."""


@dataclass
class _Worker:
    """A process, the parent's end of its pipe, and the time of its start."""

    process: BaseProcess
    pipe: Connection
    since: float

    def said(self) -> str:
        """Return the last message that is not read yet, if any."""
        text = ""
        with suppress(EOFError, OSError):
            while self.pipe.poll():
                text = str(self.pipe.recv())
        return text


def run(work: Work, count: int, on_started: Callable[[], None]) -> None:
    """Run `count` workers until interrupted.

    on_started: called once all of them have started. Raises StartError if one can't start.
    """
    with _interrupts() as interrupted:
        workers: list[_Worker] = []
        try:
            for _ in range(count):
                workers.append(_start(work))
            if _wait_for_start(workers, interrupted):
                on_started()
                _watch(work, workers, interrupted)
        finally:
            _stop(workers, interrupted)


def _start(work: Work) -> _Worker:
    ours, theirs = multiprocessing.Pipe()
    # Not by fork, since not every library survives a fork.
    spawn = multiprocessing.get_context("spawn")
    process = spawn.Process(target=_run, args=(work, theirs), name="humanloop-worker")
    with _no_interrupts():
        process.start()
    theirs.close()
    return _Worker(process, ours, time.monotonic())


def _run(work: Work, pipe: Connection) -> None:
    """Run as a worker."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if sys.platform != "win32":
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    work(Parent(pipe))


def _wait_for_start(workers: Sequence[_Worker], interrupted: socket.socket) -> bool:
    """Return True once all have started, False if interrupted; raises StartError."""
    for worker in workers:
        if interrupted in pipes.wait([worker.pipe, interrupted]):
            return False
        try:
            said = worker.pipe.recv()
        except EOFError:
            worker.process.join()
            said = f"A worker ended at its start, with the exit code {worker.process.exitcode}."
        if said != _STARTED:
            raise StartError(said)
    return True


def _watch(work: Work, workers: list[_Worker], interrupted: socket.socket) -> None:
    """Restart every worker that ends, until interrupted."""
    while True:
        if interrupted in pipes.wait([interrupted, *(each.process.sentinel for each in workers)]):
            return
        for worker in [each for each in workers if each.process.exitcode is not None]:
            workers.remove(worker)
            code, said = worker.process.exitcode, worker.said()
            logger.error("A worker ended with the exit code %s; another is started. %s", code, said)
            worker.pipe.close()
            pause = max(worker.since + _PAUSE - time.monotonic(), 0)
            if pipes.wait([interrupted], pause):
                return
            workers.append(_start(work))


def _stop(workers: Sequence[_Worker], interrupted: socket.socket) -> None:
    """Let all finish their requests; one more interrupt ends them at once."""
    with suppress(BlockingIOError):
        interrupted.recv(4096)
    for worker in workers:
        worker.pipe.close()
    for worker in workers:
        if interrupted in pipes.wait([worker.process.sentinel, interrupted]):
            for each in workers:
                each.process.kill()
        worker.process.join()


@contextmanager
def _interrupts() -> Generator[socket.socket]:
    """Yield a socket that becomes readable when the process must stop."""
    ours, theirs = socket.socketpair()
    for each in (ours, theirs):
        each.setblocking(False)

    def note(_number: int, _frame: FrameType | None) -> None:
        theirs.send(b"!")

    before = {number: signal.signal(number, note) for number in _SIGNALS}
    try:
        yield ours
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        ours.close()
        theirs.close()


@contextmanager
def _no_interrupts() -> Generator[None]:
    """Defer interrupts, also for a process started meanwhile, until it is ready."""
    if sys.platform == "win32":
        yield
        return
    from multiprocessing import resource_tracker

    resource_tracker.ensure_running()  # its start would unblock the interrupts
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
