"""The deletion of logs and projects beside traffic, in many short transactions.

Invariants: counts are right after each transaction; an interrupted deletion can be repeated; at
most one process at a time deletes from a database.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Generator, Sequence
from functools import partial
from itertools import count
from threading import Event
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Select,
    and_,
    delete,
    exists,
    func,
    not_,
    select,
    update,
)
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from humanloop.server.errors import StartError
from humanloop.server.store import tallies, turns
from humanloop.server.store.database import Database
from humanloop.server.store.failures import failure
from humanloop.server.store.overview import organization_id
from humanloop.server.store.tables import (
    LABEL_CLASSES,
    Annotation,
    Config,
    Conversation,
    Deployment,
    Evaluation,
    EvaluationEvaluator,
    EvaluationResult,
    EvaluationTestcase,
    Experiment,
    ExperimentConfig,
    ExperimentLabel,
    FeedbackKind,
    FeedbackLabel,
    LabelCount,
    Log,
    Owned,
    Project,
    SessionProject,
    TestcaseVersion,
    Testset,
    Trial,
    is_complete,
)
from humanloop.server.store.tallies import table

_SECONDS = 0.01
"""The approximate time of a transaction, in seconds; its number of rows is adapted to it."""
_MOST = 500  # rows in a transaction; SQLite limits the values in a statement
_FEW = 100  # rows in a transaction of fixed size
_FAILURES = 3  # of the database, before the deletion ends; the database waits before each
_TRIES = 300
_LOCK = 5_411_093_180_127_043_561  # PostgreSQL's advisory lock; any unused number will do

_LOGS = table(Log)

Step = Callable[[Session, int], int]
"""Delete up to that many rows; return their number. May run again after a rollback."""


class Elsewhere(StartError):
    """Another process is deleting from this database."""

    def __init__(self) -> None:
        super().__init__("Another process is deleting from the database. Try again.")


class Batches:
    """The run of deletion steps, in transactions of a few milliseconds each.

    stop: when set, ends the run between two transactions. Without it, a run waits for other
        deleting processes; with it, Elsewhere is raised.
    """

    def __init__(self, database: Database, stop: Event | None = None) -> None:
        self._database = database
        self._stop = stop or Event()
        self._patient = stop is None
        self._size = _MOST // 8

    def run(self, step: Step) -> int:
        """Run a step until it finds nothing more; return the number of deleted rows."""
        deleted = 0
        for some in self._each(step):
            deleted += some
        return deleted

    def run_once(self, work: Callable[[Session], int]) -> int:
        """Run a step of fixed size once; return the number of deleted rows."""
        if self._stop.is_set():
            return 0
        some, seconds = self._once(lambda session, _size: work(session), 0)
        self._stop.wait(seconds)
        return some

    def _each(self, step: Step) -> Generator[int]:
        while not self._stop.is_set():
            size = self._size
            some, seconds = self._once(step, size)
            yield some
            if some < size:
                return
            self._adapt(seconds)
            # Give others the database for the same time.
            self._stop.wait(seconds)

    def _adapt(self, seconds: float) -> None:
        if seconds > 2 * _SECONDS:
            self._size = max(self._size // 2, 1)
        elif seconds < _SECONDS:
            self._size = min(self._size * 2, _MOST)

    def _once(self, step: Step, size: int) -> tuple[int, float]:
        """Run a step in one transaction; return the number of deleted rows, and the seconds.

        A step that conflicts with others is tried again; while another process deletes, for about
        ten seconds.
        """

        def work(session: Session) -> tuple[int, float]:
            begun = time.monotonic()
            _be_only_one(session.connection())
            return step(session, size), time.monotonic() - begun

        for number in count(1):
            try:
                return self._database.write(work)
            except DBAPIError as error:
                failed = failure(error)
                if number >= _FAILURES or failed is None or not failed.is_harmless:
                    raise
            except Elsewhere:
                if number == _TRIES or not self._patient:
                    raise
            self._stop.wait(random.uniform(_SECONDS, 10 * _SECONDS))
        raise AssertionError("the loop above does not end")


def _be_only_one(connection: Connection) -> None:
    """Raise Elsewhere if another process holds the lock for deletion."""
    if connection.dialect.name == "postgresql":
        had = connection.scalar(select(func.pg_try_advisory_xact_lock(_LOCK)))
        if not had:
            raise Elsewhere


def delete_logs(session: Session, ids: Sequence[str]) -> int:
    """Delete logs with their feedback, and reduce the counts; return the number of deleted logs.

    Their children stay, without a parent; a session is deleted with its last log.
    """
    connection, tally, owner = session.connection(), tallies.of(session), organization_id(session)
    is_theirs = and_(Log.organization_id == owner, Log.id.in_(ids))
    # No feedback may be added or removed between counting its labels and deleting it.
    turns.lock(session, select(Log.id).where(is_theirs).order_by(Log.id))
    rows = session.execute(
        select(
            Log.project_id,
            Log.config_id,
            Log.session_id,
            Conversation.created_at,
            is_complete().label("counts"),
        )
        .outerjoin(Log.conversation)
        .where(is_theirs)
    ).all()
    labels = session.execute(
        select(Log.config_id, Annotation.feedback_type_id, Annotation.value, func.count())
        .join(Log.feedback)
        .join(Annotation.feedback_type)
        .where(is_theirs, is_complete(), FeedbackKind.feedback_class.in_(LABEL_CLASSES))
        .group_by(Log.config_id, Annotation.feedback_type_id, Annotation.value)
    ).all()
    outcomes = _outcomes(session, owner, ids)
    are_children = (_LOGS.c.organization_id == owner, _LOGS.c.parent_id.in_(ids))
    connection.execute(update(_LOGS).where(*are_children).values(parent_id=None))
    _delete(session, owner, Annotation, Annotation.log_id.in_(ids))
    _delete(session, owner, Log, Log.id.in_(ids))
    for row in rows:
        if row.counts:  # others belong to an array that is not completely written
            moment = row.created_at
            session_key = None if row.session_id is None else (row.session_id, moment)
            tally.take_back_log(owner, row.project_id, row.config_id, session_key)
    for config_id, kind_id, value, number in labels:
        tally.count_label(owner, config_id, kind_id, value, -number)
    for (experiment_id, config_id), each in outcomes:
        tally.count_outcome(owner, experiment_id, config_id, each, frozenset())
    return len(rows)


def _outcomes(
    session: Session, owner: str, ids: Sequence[str]
) -> list[tuple[tuple[str, str], tallies.Values]]:
    """Return the experiment, the config, and the feedback of logs with trials."""
    columns = (Log.id, Trial.experiment_id, Trial.config_id)
    rows = session.execute(
        select(*columns, Annotation.feedback_type_id, Annotation.value)
        .join(Log.feedback)
        .join(Trial, and_(Trial.organization_id == owner, Trial.id == Log.trial_id))
        .where(Log.organization_id == owner, Log.id.in_(ids), is_complete())
    )
    found: dict[tuple[str, str, str], set[tuple[int | None, str]]] = {}
    for log_id, experiment_id, config_id, kind_id, value in rows:
        found.setdefault((log_id, experiment_id, config_id), set()).add((kind_id, value))
    return [(key[1:], frozenset(values)) for key, values in found.items()]


def _delete(session: Session, owner: str, kind: type[Owned], condition: ColumnElement[bool]) -> int:
    """Delete an organisation's rows of a kind that meet a condition; return their number."""
    owned = kind.organization_id == owner
    result = session.connection().execute(delete(table(kind)).where(owned, condition))
    return result.rowcount


def oldest_logs(*conditions: ColumnElement[bool]) -> Step:
    """Return a step that deletes a project's oldest logs that count."""

    def step(session: Session, size: int) -> int:
        owned = Log.organization_id == organization_id(session)
        ids = select(Log.id).where(owned, *conditions, is_complete())
        oldest = ids.order_by(Log.created_at, Log.row).limit(size)
        return delete_logs(session, session.scalars(oldest).all())

    return step


def is_unused() -> ColumnElement[bool]:
    """Return the condition that no log names a trial."""
    of_trial = (Log.organization_id == Trial.organization_id, Log.trial_id == Trial.id)
    return not_(exists().where(*of_trial))


def delete_trials(session: Session, ids: Sequence[str]) -> int:
    """Delete trials that no log names; return their number."""
    return _delete(session, organization_id(session), Trial, and_(Trial.id.in_(ids), is_unused()))


def delete_project(batches: Batches, project_id: str) -> int:
    """Delete a project with all its rows; return the number of its logs.

    The project's row is deleted last, in one transaction with rows written meanwhile.
    """
    deleted = batches.run(oldest_logs(Log.project_id == project_id))

    def some_trials(session: Session, size: int) -> int:
        owner = organization_id(session)
        trials = select(Trial.id).where(
            Trial.organization_id == owner,
            Trial.experiment_id.in_(_ids(owner, Experiment, project_id)),
            is_unused(),
        )
        return delete_trials(session, session.scalars(trials.limit(size)).all())

    batches.run(some_trials)
    return deleted + batches.run_once(lambda session: _delete_rest(session, project_id))


def _ids(
    owner: str,
    kind: type[Config | Evaluation | Experiment | FeedbackKind | Log | Testset],
    project_id: str,
) -> Select[Any]:
    """Return the statement for the ids of a project's rows of a kind."""
    return select(kind.id).where(kind.organization_id == owner, kind.project_id == project_id)


def _delete_rest(session: Session, project_id: str) -> int:
    """Delete the project with all remaining rows; return the number of remaining logs."""
    turns.be_alone(session)
    owner = organization_id(session)
    rows = session.execute(_ids(owner, Log, project_id).add_columns(is_complete())).all()
    for start in range(0, len(rows), _MOST):
        delete_logs(session, [row[0] for row in rows[start : start + _MOST]])
    experiments, configs, kinds = (
        _ids(owner, kind, project_id) for kind in (Experiment, Config, FeedbackKind)
    )
    _delete_evaluations(session, owner, project_id)
    tallies.of(session).forget_project(owner, project_id, session.scalars(kinds).all())
    for kind, condition in (
        (Deployment, Deployment.project_id == project_id),
        (Trial, Trial.experiment_id.in_(experiments)),
        (ExperimentLabel, ExperimentLabel.experiment_id.in_(experiments)),
        (ExperimentConfig, ExperimentConfig.experiment_id.in_(experiments)),
        (Experiment, Experiment.project_id == project_id),
        (LabelCount, LabelCount.config_id.in_(configs)),
        (Config, Config.project_id == project_id),
        (FeedbackLabel, FeedbackLabel.feedback_type_id.in_(kinds)),
        (FeedbackKind, FeedbackKind.project_id == project_id),
        (SessionProject, SessionProject.project_id == project_id),
        (Project, Project.id == project_id),
    ):
        _delete(session, owner, kind, condition)
    return sum(bool(complete) for _, complete in rows)


def _delete_evaluations(session: Session, owner: str, project_id: str) -> None:
    """Delete a project's evaluations and testsets, with versions kept only for snapshots."""
    evaluations, testsets = (_ids(owner, kind, project_id) for kind in (Evaluation, Testset))
    of_evaluations = EvaluationTestcase.evaluation_id.in_(evaluations)
    versions = session.scalars(
        select(EvaluationTestcase.version_id)
        .where(EvaluationTestcase.organization_id == owner, of_evaluations)
        .distinct()
    ).all()
    for kind, condition in (
        (EvaluationResult, EvaluationResult.evaluation_id.in_(evaluations)),
        (EvaluationTestcase, of_evaluations),
        (EvaluationEvaluator, EvaluationEvaluator.evaluation_id.in_(evaluations)),
        (Evaluation, Evaluation.project_id == project_id),
        *(
            (TestcaseVersion, TestcaseVersion.id.in_(versions[start : start + _MOST]))
            for start in range(0, len(versions), _MOST)
        ),
        (TestcaseVersion, TestcaseVersion.testset_id.in_(testsets)),
        (Testset, Testset.project_id == project_id),
    ):
        _delete(session, owner, kind, condition)


def known_logs(database: Database, ids: Sequence[str]) -> list[str]:
    """Return the ids that belong to logs."""
    with database.read() as session:
        logs = select(Log.id).where(Log.organization_id == organization_id(session), is_complete())
        found: set[str] = set()
        for start in range(0, len(ids), _MOST):
            found.update(session.scalars(logs.where(Log.id.in_(ids[start : start + _MOST]))))
    return [each for each in ids if each in found]


def delete_by_ids(database: Database, ids: Sequence[str]) -> None:
    """Delete logs beside traffic."""
    batches = Batches(database)
    for start in range(0, len(ids), _FEW):
        batches.run_once(partial(delete_logs, ids=ids[start : start + _FEW]))
