"""The workers of this process: they claim testcases of evaluations, as jobs in the database.

Several servers may share a PostgreSQL, and so the work. A job has an owner while it is worked on;
each server lets a number in the database grow for as long as it lives. Who sees another's number
stand still for too long, by its own clock, takes that one's jobs over. Nobody shares a SQLite file,
so what others have left there is taken over at once. Invariants: a job has one owner at a time;
jobs of all evaluations get their turn.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

from sqlalchemy import delete, exists, or_, select, true, update
from sqlalchemy.orm import Session

from humanloop.server.operations.calls import Settings
from humanloop.server.operations.evaluating import Evaluating
from humanloop.server.operations.evaluation_runs import ACTIVE, Key, Runner
from humanloop.server.store.database import Database
from humanloop.server.store.tables import (
    Evaluation,
    EvaluationTestcase,
    EvaluationWorker,
    Organization,
    TestcaseVersion,
)
from humanloop.server.store.times import now

logger = logging.getLogger("humanloop.server")
_POLL_SECONDS = 1  # where other servers may have left something to do
_IDLE_SECONDS = 60
_FIRST_PAUSE, _LONGEST_PAUSE = 0.05, 10  # seconds, after failures of the database
_ARRAY_AGE = timedelta(hours=1)  # no request takes so long
_AHEAD = 4  # jobs that are claimed for each thread, so that not each takes a transaction
_MOST_ACTIVE = 1000  # evaluations that are looked at; those behind wait for them to end

Beats = Mapping[str | None, int]
"""The number of each process, by its id."""


class Workers:
    """Threads that work on evaluations from `start` to `stop`."""

    def __init__(self, database: Database, settings: Settings, evaluating: Evaluating) -> None:
        self._database = database
        self._settings = settings
        self._evaluating = evaluating
        self._id = evaluating.worker_id
        self._stopping = threading.Event()
        self._pool = ThreadPoolExecutor(settings.evaluation_workers or 1, "humanloop-evaluation")
        self._thread = threading.Thread(target=self._run, name="humanloop-evaluations", daemon=True)
        self._lock = threading.Lock()
        self._busy: set[Key] = set()
        self._failures = 0  # of the database, one after another
        self._seen: dict[str, tuple[int, float]] = {}  # the beats of others, and since when
        self._beaten = 0.0
        self._turn = 0
        self._shared = False
        self._organization_id = ""

    def start(self) -> None:
        """Take over what dead processes have left, and begin to work."""
        if self._settings.evaluation_workers:
            self._database.write(self._register)
            self._runner = Runner(
                self._database,
                self._settings,
                self._evaluating,
                self._organization_id,
                self._stopping,
            )
            self._thread.start()

    def stop(self) -> None:
        """Let go of what is not done yet; return when nothing runs any more."""
        self._stopping.set()
        self._evaluating.bell.set()
        if self._thread.ident is not None:
            self._thread.join()
            self._pool.shutdown(cancel_futures=True)
            self._database.write(self._resign)

    def _register(self, session: Session) -> None:
        self._shared = session.get_bind().dialect.name != "sqlite"
        self._organization_id = session.scalars(select(Organization.id)).one()
        if not self._shared:
            owned = EvaluationWorker.organization_id == self._organization_id
            session.execute(delete(EvaluationWorker).where(owned))
        self._beat(session)
        self._delete_leftovers(session)

    def _delete_leftovers(self, session: Session) -> None:
        """Delete what arrays of testcases have written before their process died."""
        snapshots = exists().where(
            EvaluationTestcase.organization_id == self._organization_id,
            EvaluationTestcase.version_id == TestcaseVersion.id,
        )
        session.execute(
            delete(TestcaseVersion).where(
                TestcaseVersion.organization_id == self._organization_id,
                TestcaseVersion.testset_id.is_(None),
                TestcaseVersion.created_at < now() - _ARRAY_AGE if self._shared else true(),
                ~snapshots,
            )
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
            bell.clear()  # before looking, so that whatever comes later is heard
            try:
                claimed = self._look()
            except Exception as error:
                self._pause(error)
                continue
            for key in claimed:
                self._pool.submit(self._work, key)
            if not claimed:
                bell.wait(_POLL_SECONDS if self._shared else _IDLE_SECONDS)

    def _work(self, key: Key) -> None:
        try:
            self._runner.run(key)
            self._failures = 0
        except Exception as error:
            self._pause(error)  # it is still this process's, and not busy, so it is taken up again
        finally:
            with self._lock:
                self._busy.discard(key)
            self._evaluating.bell.set()

    def _pause(self, error: Exception) -> None:
        """Wait a while after a failure, the longer the more there were."""
        self._failures += 1
        if self._failures > 3:  # others that write may be in the way now and then
            logger.error("evaluations: failed, and will be tried again", exc_info=error)
        self._stopping.wait(min(_FIRST_PAUSE * 2**self._failures, _LONGEST_PAUSE))

    def _look(self) -> Sequence[Key]:
        """Sum up evaluations that are done, and claim jobs for all threads that are free."""
        if self._shared and time.monotonic() - self._beaten > self._settings.takeover_seconds / 4:
            self._database.write(self._beat)
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

    def _beat(self, session: Session) -> None:
        """Show that this process lives."""
        found = session.get(EvaluationWorker, (self._organization_id, self._id))
        if found is None:
            found = EvaluationWorker(organization_id=self._organization_id, id=self._id, beats=0)
            session.add(found)
        found.beats += 1
        self._beaten = time.monotonic()

    def _beats(self, session: Session) -> dict[str | None, int]:
        """Return the numbers of all processes."""
        statement = select(EvaluationWorker.id, EvaluationWorker.beats).where(
            EvaluationWorker.organization_id == self._organization_id
        )
        return {row.id: row.beats for row in session.execute(statement)}

    def _alive(self, beats: Beats) -> set[str]:
        """Return the other processes whose number has grown in time."""
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
        """Return the evaluations that this process may work on; each time another one is first."""
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
        if keys_owner == self._id:  # its keys come right after its commit
            return self._evaluating.keys(evaluation_id) is not None
        return keys_owner not in alive

    def _claim(
        self,
        session: Session,
        wanted: Sequence[Key],
        before: Beats,
        alive: set[str],
    ) -> list[Key]:
        """Make jobs this process's, apart from those that somebody else was faster with.

        before: the beats by which the others were found alive, or not.
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
            # Read after the row is locked, so that an owner who came in between is seen.
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
