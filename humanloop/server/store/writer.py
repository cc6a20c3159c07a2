"""The only writer of a database: a thread with a queue, so that nobody waits in a thread of a pool.

Works that wait at the same time are committed together, each behind a savepoint of its own.
Invariants: a work is done whole or not at all, whatever becomes of the others; nobody hears of its
outcome before the commit; what was submitted is finished before the writer is closed.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from queue import Empty, SimpleQueue
from typing import Any, TypeVar

from sqlalchemy import Engine
from sqlalchemy.engine import Connection
from sqlalchemy.exc import DataError, DBAPIError, IntegrityError
from sqlalchemy.orm import Session

T = TypeVar("T")
_GROUP_SECONDS = 0.02
"""Works join a group for so long; then it is committed."""


@dataclass
class _Job:
    """One work, its outcome, and who waits for it."""

    work: Callable[[Session], Any]
    future: Future[Any] = field(default_factory=Future[Any])
    result: Any = None
    error: BaseException | None = None

    def run(self, connection: Connection) -> None:
        """Do the work behind a savepoint; raises what may have ended the whole transaction."""
        try:
            with (
                Session(
                    connection, join_transaction_mode="create_savepoint", expire_on_commit=False
                ) as session,
                session.begin(),
            ):
                self.result = self.work(session)
        except (DataError, IntegrityError) as error:
            self.error = error
        except DBAPIError:
            raise
        except Exception as error:
            self.error = error

    def tell(self) -> None:
        """Tell the outcome to whoever waits."""
        if self.error is None:
            self.future.set_result(self.result)
        else:
            self.future.set_exception(self.error)


class Writer:
    """Runs works in the order in which they came."""

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
            if not job.future.set_running_or_notify_cancel():
                continue
            group = [job]
            try:
                self._commit(group)
            except Exception as error:
                job.error = error
                if len(group) > 1:  # whose fault it was shows when each has its own transaction
                    self._commit_singly(group)
            for each in group:
                each.tell()

    def _commit(self, group: list[_Job]) -> None:
        """Run the group's first job, and let those that wait join."""
        until = time.monotonic() + _GROUP_SECONDS
        with self._begin() as connection:
            group[0].run(connection)
            while time.monotonic() < until and (job := self._next()) is not None:
                group.append(job)
                job.run(connection)

    def _next(self) -> _Job | None:
        """Return the next job that is still wanted, if one waits."""
        with suppress(Empty):
            while (job := self._queue.get_nowait()) is not None:
                if job.future.set_running_or_notify_cancel():
                    return job
            self._queue.put(None)  # the end of the queue is for _run
        return None

    def _commit_singly(self, group: Sequence[_Job]) -> None:
        for job in group:
            job.error = None
            try:
                with self._begin() as connection:
                    job.run(connection)
            except Exception as error:
                job.error = error

    @contextmanager
    def _begin(self) -> Generator[Connection]:
        """Open a transaction that writes: committed at the end, rolled back on an error."""
        with self._engine.connect() as connection:
            connection.execution_options(writes=True)
            with connection.begin():
                yield connection
