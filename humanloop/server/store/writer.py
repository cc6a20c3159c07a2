"""The only writer of a process: a thread with a queue, so that nobody waits in a thread of a pool.

Works that wait at the same time are committed together. Invariants: a work is done whole or not
at all, whatever becomes of the others; nobody hears of its outcome before the commit; what was
submitted is finished before the writer is closed. On PostgreSQL, where other processes write, too
(see `turns`), a work that was overtaken by theirs, or whose connection was lost, is run again, but
never after a commit that is not known to have failed.
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
"""Works join a group for so long; then it is committed. With PostgreSQL, most of it is waiting."""

_RUNS = 6
"""How often a work is run that others overtake, or that finds no connection."""

_PAUSE = 0.1
"""Seconds, of which the waits for a connection are multiples. The first is 0."""

_FATE = text("SELECT pg_xact_status(CAST(:transaction AS xid8))")
_FATE_SECONDS = 5


@dataclass
class _Job:
    """One work, what it returned, and who waits for it.

    alone: it must write alone. by_itself: it joins no group, since it was in one that failed.
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
    """Runs works in the order in which they came, each perhaps more than once."""

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
        """Run jobs, and those that wait, in one transaction.

        When one fails, everything is rolled back and run again without that one: failures are
        rare, while setting a savepoint for each job would take a good part of the time of all.
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
                    job = None  # it is nobody's fault
                    lost += 1
                    if lost < _RUNS:
                        time.sleep(_PAUSE * (2**lost - 2) * random.uniform(0.5, 1))
                        until = 0 if jobs[0].by_itself else time.monotonic() + self._group_seconds
                        continue
                elif failures.is_overtaken(error) and (job or jobs[0]).runs < _RUNS:
                    # Which of them are in the way of others, or of each other, is not known.
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
        """Open a transaction that writes: committed at the end, rolled back on an error."""
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
        """Ask PostgreSQL what became of a transaction whose commit it has not answered.

        Raises OutcomeUnknown when it can't be asked, or does not know: it may be another server,
        which took the place of the one that failed.
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
