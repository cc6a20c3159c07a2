"""The workers of this process, which claim testcases of evaluations as jobs in the database.

Several servers may share a PostgreSQL, and so the work. A job has an owner while it is worked on;
each server increments a number in the database as long as it lives, its beat. A server that sees
another's number unchanged for too long, by its own clock, takes over that server's jobs. A SQLite
file has one server at a time, so a server takes over left jobs at once, and there are no beats.
Invariants: a job has one owner at a time; the jobs of all evaluations get their turn; where no
other server writes, nothing is written unless there is work.
"""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

from sqlalchemy import ColumnElement, delete, exists, or_, select, true, update
from sqlalchemy.orm import Session

from humanloop.server.generation.providers import Cancellation
from humanloop.server.operations.calls import Settings
from humanloop.server.operations.evaluating import Evaluating
from humanloop.server.operations.evaluation_runs import ACTIVE, Key, Runner
from humanloop.server.seldom import Seldom
from humanloop.server.store.database import Database
from humanloop.server.store.failures import failure
from humanloop.server.store.tables import (
    Evaluation,
    EvaluationTestcase,
    EvaluationWorker,
    TestcaseVersion,
)
from humanloop.server.store.times import now

logger = logging.getLogger("humanloop.server")
_POLL_SECONDS = 1  # interval for work that other servers may have left
_IDLE_SECONDS = 60
_FIRST_PAUSE, _LONGEST_PAUSE = 0.05, 10  # seconds, after failures of the database
_ARRAY_AGE = timedelta(hours=1)  # no request takes so long
_AHEAD = 4  # jobs claimed per thread, so that not every job takes a transaction
_MOST_ACTIVE = 1000  # evaluations looked at; later ones wait until these end

Beats = Mapping[str | None, int]
"""The beat of each process, by its id."""


class _Failures:
    """Consecutive failures of one kind of work, with a log entry and a pause after each."""

    def __init__(self, database: Database, seldom: Seldom, stopping: threading.Event) -> None:
        self._database = database
        self._seldom = seldom
        self._stopping = stopping
        self._count = 0

    def end(self) -> None:
        """Reset the count, since the work succeeded."""
        self._count = 0

    def pause(self, error: Exception) -> None:
        """Wait, longer after each failure."""
        self._count += 1
        if self._count > 3:  # a few failures are normal while others write
            self._tell(error)
        seconds = _LONGEST_PAUSE if self._count > 10 else _FIRST_PAUSE * 2**self._count
        self._stopping.wait(min(seconds, _LONGEST_PAUSE))

    def _tell(self, error: Exception) -> None:
        failed = failure(error)
        if failed is None:
            logger.error("an attempt at evaluations failed, and will be repeated", exc_info=error)
        else:
            said = self._database.said(error)
            self._seldom.error(
                f"evaluations are paused: {failed.value} The database reported: {said}"
            )


class Workers:
    """Threads that work on evaluations from `start` to `stop`."""

    def __init__(
        self, database: Database, settings: Settings, evaluating: Evaluating, organization_id: str
    ) -> None:
        self._database = database
        self._settings = settings
        self._evaluating = evaluating
        self._id = evaluating.worker_id
        self._stopping = threading.Event()
        self._pool = ThreadPoolExecutor(settings.evaluation_workers or 1, "humanloop-evaluation")
        self._thread = threading.Thread(target=self._run, name="humanloop-evaluations", daemon=True)
        self._lock = threading.Lock()
        self._busy: set[Key] = set()
        seldom = Seldom()
        self._failed_looks = _Failures(database, seldom, self._stopping)
        self._failed_jobs = _Failures(database, seldom, self._stopping)
        self._seen: dict[str, tuple[int, float]] = {}  # others' beats, and when they last changed
        self._beaten = -math.inf
        self._turn = 0
        self._shared = database.dialect != "sqlite"
        self._organization_id = organization_id
        self._cancellation = Cancellation()  # of the running generations
        self._runner = Runner(database, settings, evaluating, organization_id, self._cancellation)

    def start(self) -> None:
        """Begin to work; if the database can't be written now, try again later."""
        if self._settings.evaluation_workers:
            try:
                self._beat()  # before any evaluation is owned by this process
                self._tidy()  # before any array is written; the next start repeats it if it fails
            except Exception as error:
                self._failed_looks.pause(error)
            self._thread.start()

    def stop(self) -> None:
        """Release unfinished jobs; return when nothing runs any more.

        Raises the database's errors; other servers then take over once this one's beat stands
        still.
        """
        self._stopping.set()
        self._cancellation.cancel()
        self._evaluating.bell.set()
        if self._thread.ident is not None:
            self._thread.join()
            self._pool.shutdown(cancel_futures=True)
            if self._shared:
                self._database.write(self._resign)

    def _tidy(self) -> None:
        """Delete the testcases of arrays whose process died while writing them."""
        leftover = self._is_leftover()
        with self._database.read() as session:
            found = session.scalar(select(TestcaseVersion.id).where(*leftover).limit(1))
        if found is not None:
            statement = delete(TestcaseVersion).where(*leftover)
            self._database.write(lambda session: session.execute(statement))

    def _is_leftover(self) -> Sequence[ColumnElement[bool]]:
        snapshots = exists().where(
            EvaluationTestcase.organization_id == self._organization_id,
            EvaluationTestcase.version_id == TestcaseVersion.id,
        )
        return (
            TestcaseVersion.organization_id == self._organization_id,
            TestcaseVersion.testset_id.is_(None),
            TestcaseVersion.created_at < now() - _ARRAY_AGE if self._shared else true(),
            ~snapshots,
        )

    def _resign(self, session: Session) -> None:
        session.execute(
            update(EvaluationTestcase)
            .where(
                EvaluationTestcase.organization_id == self._organization_id,
                EvaluationTestcase.stage.is_not(None),
                EvaluationTestcase.owner == self._id,
            )
            .values(owner=None)
        )
        session.execute(
            delete(EvaluationWorker).where(
                EvaluationWorker.organization_id == self._organization_id,
                EvaluationWorker.id == self._id,
            )
        )

    def _run(self) -> None:
        bell = self._evaluating.bell
        while not self._stopping.is_set():
            bell.clear()  # before looking, so that a later ring is not lost
            try:
                claimed = self._look()
            except Exception as error:
                self._failed_looks.pause(error)
                continue
            self._failed_looks.end()
            for key in claimed:
                self._pool.submit(self._work, key)
            if not claimed:
                bell.wait(_POLL_SECONDS if self._shared else _IDLE_SECONDS)

    def _work(self, key: Key) -> None:
        try:
            self._runner.run(key)
            self._failed_jobs.end()
        except Exception as error:
            # This process still owns the job, which is not busy any more, so it is resumed.
            self._failed_jobs.pause(error)
        finally:
            with self._lock:
                self._busy.discard(key)
            self._evaluating.bell.set()

    def _look(self) -> Sequence[Key]:
        """Sum up completed evaluations, and claim jobs for all free threads."""
        self._beat()
        with self._lock:
            busy = set(self._busy)
        threads = self._settings.evaluation_workers
        free = _AHEAD * threads - len(busy)
        if free < threads:
            return ()
        with self._database.read() as session:
            beats = self._beats(session)
            alive = self._alive(beats)
            wanted, done = self._find(session, alive, busy, free)
        for evaluation_id in done:
            self._runner.finish(evaluation_id)
        if not wanted:
            return ()
        claimed = self._database.write(lambda session: self._claim(session, wanted, beats, alive))
        with self._lock:
            self._busy.update(claimed)
        return claimed

    def _beat(self) -> None:
        """Increment this process's beat, if it is time."""
        moment = time.monotonic()
        if self._shared and moment - self._beaten > self._settings.takeover_seconds / 4:
            self._database.write(self._count_up)
            self._beaten = moment

    def _count_up(self, session: Session) -> None:
        found = session.get(EvaluationWorker, (self._organization_id, self._id))
        if found is None:
            found = EvaluationWorker(organization_id=self._organization_id, id=self._id, beats=0)
            session.add(found)
        found.beats += 1

    def _beats(self, session: Session) -> dict[str | None, int]:
        """Return the beats of all processes."""
        statement = select(EvaluationWorker.id, EvaluationWorker.beats).where(
            EvaluationWorker.organization_id == self._organization_id
        )
        return {row.id: row.beats for row in session.execute(statement)}

    def _alive(self, beats: Beats) -> set[str]:
        """Return the other processes whose beat has changed in time."""
        if not self._shared:
            return set()
        moment = time.monotonic()
        self._seen = {
            each: self._seen[each] if self._seen.get(each, (-1,))[0] == number else (number, moment)
            for each, number in beats.items()
            if each is not None and each != self._id
        }
        limit = moment - self._settings.takeover_seconds
        return {each for each, (_, since) in self._seen.items() if since > limit}

    def _find(
        self, session: Session, alive: set[str], busy: set[Key], free: int
    ) -> tuple[list[Key], list[str]]:
        """Return jobs that may be claimed, and evaluations that are done."""
        wanted: list[Key] = []
        done: list[str] = []
        active = self._active(session, alive)
        share = max(1, free // max(1, len(active)))
        for evaluation_id in active:
            if len(wanted) >= free:
                break
            is_open = (
                EvaluationTestcase.organization_id == self._organization_id,
                EvaluationTestcase.evaluation_id == evaluation_id,
                EvaluationTestcase.stage.is_not(None),
            )
            owner = EvaluationTestcase.owner
            found = session.scalars(
                select(EvaluationTestcase.testcase_id)
                .where(*is_open, or_(owner.is_(None), owner.not_in(alive)))
                .order_by(EvaluationTestcase.row)
                .limit(share + len(busy))
            ).all()
            keys = [Key(evaluation_id, each) for each in found]
            wanted += [key for key in keys if key not in busy][:share]
            if not found and not session.scalar(select(exists().where(*is_open))):
                done.append(evaluation_id)
        return wanted[:free], done

    def _active(self, session: Session, alive: set[str]) -> list[str]:
        """Return the evaluations that this process may work on, in rotation."""
        rows = session.execute(
            select(Evaluation.id, Evaluation.keys_owner)
            .where(
                Evaluation.organization_id == self._organization_id,
                Evaluation.status.in_(ACTIVE),
            )
            .order_by(Evaluation.created_at, Evaluation.id)
            .limit(_MOST_ACTIVE)
        )
        found = [each for each, keys_owner in rows if self._may(each, keys_owner, alive)]
        self._turn += 1
        first = self._turn % len(found) if found else 0
        return found[first:] + found[:first]

    def _may(self, evaluation_id: str, keys_owner: str | None, alive: set[str]) -> bool:
        if keys_owner == self._id:  # its keys arrive right after its commit
            return self._evaluating.keys(evaluation_id) is not None
        return keys_owner not in alive

    def _claim(
        self,
        session: Session,
        wanted: Sequence[Key],
        before: Beats,
        alive: set[str],
    ) -> list[Key]:
        """Make this process the owner of jobs, except those that another has claimed meanwhile.

        before: the beats that decided which other processes are alive.
        """
        claimed: list[Key] = []
        for key in wanted:
            case = session.get(
                EvaluationTestcase,
                (self._organization_id, key.evaluation_id, key.testcase_id),
                with_for_update={"skip_locked": True},
            )
            if case is None or case.stage is None:
                continue
            owner = case.owner
            # Read after the row is locked, to see an owner that claimed it in between.
            if owner not in {None, self._id} and (
                owner in alive or self._beats(session).get(owner) != before.get(owner)
            ):
                continue
            case.owner = self._id
            claimed.append(key)
        session.execute(
            update(Evaluation)
            .where(
                Evaluation.organization_id == self._organization_id,
                Evaluation.id.in_({key.evaluation_id for key in claimed}),
                Evaluation.status == "pending",
            )
            .values(status="running", updated_at=now())
        )
        return claimed
