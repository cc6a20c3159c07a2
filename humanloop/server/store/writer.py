"""The only writer of a database: a thread with a queue, so that nobody waits in a thread of a pool.

Works that wait at the same time are committed together. Invariants: a work is done whole or not
at all, whatever becomes of the others; nobody hears of its outcome before the commit; what was
submitted is finished before the writer is closed.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Generator
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, field
from queue import Empty, SimpleQueue
from typing import Any, TypeVar

from sqlalchemy import Engine
from sqlalchemy.engine import Connection
from sqlalchemy.orm import Session

from humanloop.server.store import tallies
from humanloop.server.store.tallies import Tally

T = TypeVar("T")
_GROUP_SECONDS = 0.02
"""Works join a group for so long; then it is committed."""


@dataclass
class _Job:
    """One work, what it returned, and who waits for it."""

    work: Callable[[Session], Any]
    future: Future[Any] = field(default_factory=Future[Any])
    result: Any = None

    def run(self, connection: Connection, tally: Tally) -> None:
        """Do the work in the connection's transaction."""
        with Session(connection, expire_on_commit=False) as session:
            self.result = self.work(session)
            session.flush()
            tally.update(tallies.of(session))


class Writer:
    """Runs works in the order in which they came, each perhaps more than once."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._queue: SimpleQueue[_Job | None] = SimpleQueue()
        self._closing = threading.Lock()
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="humanloop-writer", daemon=True)
        self._thread.start()

    def submit(self, work: Callable[[Session], T]) -> Future[T]:
        """Queue a work; its future has what it returned or raised, once that is committed."""
        job = _Job(work)
        with self._closing:
            if self._closed:
                raise RuntimeError("the database is closed")
            self._queue.put(job)
        return job.future

    def close(self) -> None:
        """Finish what is queued, then end; harmless when repeated."""
        with self._closing:
            self._closed = True
            self._queue.put(None)
        self._thread.join()

    def _run(self) -> None:
        while (job := self._queue.get()) is not None:
            if job.future.set_running_or_notify_cancel():
                self._run_group([job])

    def _run_group(self, jobs: list[_Job]) -> None:
        """Run jobs, and those that wait, in one transaction.

        When one fails, everything is rolled back and run again without that one: failures are
        rare, while setting a savepoint for each job would take a good part of the time of all.
        """
        until = time.monotonic() + _GROUP_SECONDS
        while jobs:
            job: _Job | None = None
            try:
                with self._begin() as (connection, tally):
                    for job in self._with_those_that_wait(jobs, until):
                        job.run(connection, tally)
                    job = None
            except Exception as error:
                for failed in jobs if job is None else [job]:
                    failed.future.set_exception(error)
                jobs = [] if job is None else [each for each in jobs if each is not job]
            else:
                for each in jobs:
                    each.future.set_result(each.result)
                return

    @contextmanager
    def _begin(self) -> Generator[tuple[Connection, Tally]]:
        """Open a transaction that writes: committed at the end, rolled back on an error."""
        with self._engine.connect() as connection:
            connection.execution_options(writes=True)
            with connection.begin():
                tally = Tally()
                yield connection, tally
                tally.write(connection)

    def _with_those_that_wait(self, jobs: list[_Job], until: float) -> Generator[_Job]:
        """Yield the jobs, then those that wait, which become some of them."""
        yield from tuple(jobs)
        while time.monotonic() < until:
            try:
                job = self._queue.get_nowait()
            except Empty:
                return
            if job is None:
                self._queue.put(None)  # the end of the queue is for _run
                return
            if job.future.set_running_or_notify_cancel():
                jobs.append(job)
                yield job
