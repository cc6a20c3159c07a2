"""The only writer of a process: a thread with a queue, so that no thread of a pool waits.

Works that wait at the same time are committed together. Invariants: a work is done as a whole or
not at all, whatever becomes of the others; nobody learns its outcome before the commit; submitted
works are finished before the writer is closed. On PostgreSQL, to which other processes write, too
(see `turns`), a work is run again if it conflicts with theirs or loses its connection, but never
after a commit that may have succeeded.
"""

from __future__ import annotations

import random
import threading
import time
from collections import deque
from collections.abc import Callable, Generator
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, field
from queue import Empty, SimpleQueue
from typing import Any, TypeVar

from sqlalchemy import Engine, text
from sqlalchemy.engine import Connection
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from humanloop.server.store import failures, tallies, turns
from humanloop.server.store.failures import OutcomeUnknown
from humanloop.server.store.tallies import Tally

T = TypeVar("T")
_GROUP_SECONDS = {"sqlite": 0.02, "postgresql": 0.1}
"""The seconds in which works can join a group before its commit. With PostgreSQL, most of it is
waiting.
"""

_RUNS = 6
"""The most runs of a work that conflicts with others, or finds no connection."""

_PAUSE = 0.1
"""The unit of the waits for a connection, in seconds. The first wait is 0."""

_FATE = text("SELECT pg_xact_status(CAST(:transaction AS xid8))")
_FATE_SECONDS = 5


@dataclass
class _Job:
    """One work, its result, and the future of its caller.

    alone: it must write alone. by_itself: it joins no group, since it was in a failed one.
    """

    work: Callable[[Session], Any]
    future: Future[Any] = field(default_factory=Future[Any])
    result: Any = None
    alone: bool = False
    by_itself: bool = False
    runs: int = 0

    def run(self, connection: Connection, tally: Tally, *, alone: bool, first: bool) -> None:
        """Do the work in the connection's transaction."""
        with Session(connection, expire_on_commit=False) as session:
            turns.begin(session, connection, alone=alone, first=first)
            self.result = self.work(session)
            session.flush()
            tally.update(tallies.of(session))


class Writer:
    """A thread that runs works in the order of arrival, each perhaps more than once."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._queue: SimpleQueue[_Job | None] = SimpleQueue()
        self._group_seconds = _GROUP_SECONDS[engine.dialect.name]
        self._put_off: deque[_Job] = deque()
        self._closing = threading.Lock()
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="humanloop-writer", daemon=True)
        self._thread.start()

    def submit(self, work: Callable[[Session], T]) -> Future[T]:
        """Queue a work; its future gets the result or the error after the commit."""
        job = _Job(work)
        with self._closing:
            if self._closed:
                raise RuntimeError("the database is closed")
            self._queue.put(job)
        return job.future

    def close(self) -> None:
        """Finish the queued works, then end; may be called again."""
        with self._closing:
            self._closed = True
            self._queue.put(None)
        self._thread.join()

    def _run(self) -> None:
        while True:
            if self._put_off:
                self._run_group([self._put_off.popleft()])
                continue
            job = self._queue.get()
            if job is None:
                return
            if job.future.set_running_or_notify_cancel():
                self._run_group([job])

    def _run_group(self, jobs: list[_Job]) -> None:
        """Run jobs, and waiting ones, in one transaction.

        If one fails, everything is rolled back and run again without it: failures are rare, while a
        savepoint for each job would take a considerable part of the total time.
        """
        alone, lost = jobs[0].alone, 0
        until = 0 if jobs[0].by_itself else time.monotonic() + self._group_seconds
        while jobs:
            job: _Job | None = None
            try:
                with self._begin(alone=alone) as (connection, tally):
                    for job in self._with_those_that_wait(jobs, until):
                        job.run(connection, tally, alone=alone, first=job is jobs[0])
                    job = None
            except turns.NotNow as error:
                assert job is not None
                job.alone |= isinstance(error, turns.NeedsAlone)
                jobs = [each for each in jobs if each is not job]
                self._put_off.append(job)
                until = 0
            except Exception as error:
                if failures.is_lost(error):
                    job = None  # the failure is not the job's
                    lost += 1
                    if lost < _RUNS:
                        time.sleep(_PAUSE * (2**lost - 2) * random.uniform(0.5, 1))
                        until = 0 if jobs[0].by_itself else time.monotonic() + self._group_seconds
                        continue
                elif failures.is_overtaken(error) and (job or jobs[0]).runs < _RUNS:
                    # It is unknown which jobs conflict with others, or with each other.
                    for each in jobs:
                        each.by_itself = True
                        each.runs += 1
                    self._put_off.extend(jobs)
                    return
                for failed in jobs if job is None else [job]:
                    failed.future.set_exception(error)
                jobs = [] if job is None else [each for each in jobs if each is not job]
            else:
                for each in jobs:
                    each.future.set_result(each.result)
                return

    @contextmanager
    def _begin(self, *, alone: bool) -> Generator[tuple[Connection, Tally]]:
        """Open a writing transaction; commit it at the end, roll it back on an error."""
        with self._engine.connect() as connection:
            connection.execution_options(writes=True)
            transaction = connection.begin()
            try:
                own_id = turns.take(connection, alone=alone)
                tally = Tally()
                yield connection, tally
                tally.write(connection)
            except BaseException:
                transaction.close()
                raise
            try:
                transaction.commit()
            except DBAPIError as error:
                connection.close()
                known = own_id is None or not failures.is_lost(error)
                if known or not self._was_committed(str(own_id)):
                    raise

    def _was_committed(self, transaction: str) -> bool:
        """Ask PostgreSQL for the outcome of a transaction whose commit it has not answered.

        Raises OutcomeUnknown if it can't be asked, or does not know: it may be another server,
        which replaced the failed one.
        """
        until, pause = time.monotonic() + _FATE_SECONDS, _PAUSE
        while True:
            try:
                with self._engine.connect() as connection:
                    fate = connection.scalar(_FATE, {"transaction": transaction})
            except DBAPIError as error:
                if not failures.is_lost(error):
                    raise OutcomeUnknown from error
                fate = "in progress"
            if fate in {"committed", "aborted"}:
                return bool(fate == "committed")
            if fate is None or time.monotonic() > until:
                raise OutcomeUnknown
            time.sleep(pause)
            pause *= 2

    def _with_those_that_wait(self, jobs: list[_Job], until: float) -> Generator[_Job]:
        """Yield the jobs, then waiting jobs, which are added to `jobs`."""
        yield from tuple(jobs)
        while time.monotonic() < until:
            try:
                job = self._queue.get_nowait()
            except Empty:
                return
            if job is None:
                self._queue.put(None)  # leaves the end of the queue for `_run`
                return
            if job.future.set_running_or_notify_cancel():
                jobs.append(job)
                yield job
