"""The retention limit: old rows are deleted beside traffic.

A log is deleted with its feedback, a session with its last log, and a trial when it is as old and
no log names it any more; an experiment's last trial stays, as the sign that it has begun.
"""

from __future__ import annotations

import logging
import re
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial

from sqlalchemy import ColumnElement, delete, func, select
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session, aliased

from humanloop.server.store import deletion, space
from humanloop.server.store.database import Database
from humanloop.server.store.deletion import Batches, Elsewhere
from humanloop.server.store.overview import organization_id
from humanloop.server.store.tables import (
    Conversation,
    Experiment,
    Log,
    Project,
    Trial,
    is_complete,
)
from humanloop.server.store.tallies import has_no_logs, table
from humanloop.server.store.times import now

logger = logging.getLogger("humanloop.server")
_AGE = re.compile(r"([1-9][0-9]{0,5})([hdw])", re.ASCII)
_UNITS = {"h": timedelta(hours=1), "d": timedelta(days=1), "w": timedelta(weeks=1)}
_LONGEST = timedelta(days=365_000)
_TRIALS = 100  # deleted in one transaction
_HOUR = timedelta(hours=1)


def parse_age(text: str) -> timedelta:
    """Return the age in a text such as 12h, 90d or 2w; raises ValueError."""
    found = _AGE.fullmatch(text)
    if found is not None:
        age = int(found[1]) * _UNITS[found[2]]
        if age <= _LONGEST:
            return age
    raise ValueError(
        f"{text!r} is not an age: give a whole number of hours, days or weeks, such as 12h, 90d or"
        " 2w"
    )


@dataclass(frozen=True)
class Pruned:
    """The number of deleted rows of each kind, or of rows that would be deleted."""

    logs: int
    trials: int
    sessions: int


def prune(
    database: Database,
    before: datetime,
    project_id: str | None = None,
    stop: threading.Event | None = None,
) -> Pruned:
    """Delete rows created before a moment, of one project or of all; return their numbers.

    The sessions counted are those that never had a log; they belong to no project. Raises
    Elsewhere.
    """
    batches = Batches(database, stop)
    logs = trials = sessions = 0
    for each in _projects(database, before, project_id):
        logs += batches.run(deletion.oldest_logs(*_old_logs(each, before)))
    for experiment_id in _experiments(database, before, project_id):
        trials += _delete_old_trials(database, batches, experiment_id, before)
    if project_id is None:
        sessions = batches.run(lambda session, size: _delete_sessions(session, before, size))
    return Pruned(logs, trials, sessions)


def count(database: Database, before: datetime, project_id: str | None = None) -> Pruned:
    """Return the numbers that `prune` would delete, except trials and sessions freed by that."""
    projects = _projects(database, before, project_id)
    experiments = _experiments(database, before, project_id)
    with database.read() as session:
        owner = organization_id(session)

        def counted(
            kind: type[Log | Trial | Conversation], *conditions: ColumnElement[bool]
        ) -> int:
            statement = select(func.count()).select_from(kind)
            owned = kind.organization_id == owner
            return session.scalar(statement.where(owned, *conditions)) or 0

        logs = sum(counted(Log, *_old_logs(each, before), is_complete()) for each in projects)
        trials = sum(counted(Trial, *_old_trials(owner, each, before)) for each in experiments)
        sessions = 0 if project_id is not None else counted(Conversation, *_are_left(before))
    return Pruned(logs, trials, sessions)


def _projects(database: Database, before: datetime, project_id: str | None) -> Sequence[str]:
    """Return the projects with old logs, the one with the oldest log first."""
    of_project = (Log.organization_id == Project.organization_id, Log.project_id == Project.id)
    oldest = select(func.min(Log.created_at)).where(*of_project).scalar_subquery()
    statement = select(Project.id).where(oldest < before).order_by(oldest, Project.id)
    if project_id is not None:
        statement = statement.where(Project.id == project_id)
    with database.read() as session:
        owned = Project.organization_id == organization_id(session)
        return session.scalars(statement.where(owned)).all()


def _old_logs(project_id: str, before: datetime) -> tuple[ColumnElement[bool], ...]:
    return Log.project_id == project_id, Log.created_at < before


def _experiments(database: Database, before: datetime, project_id: str | None) -> Sequence[str]:
    statement = select(Experiment.id).where(Experiment.created_at < before)
    if project_id is not None:
        statement = statement.where(Experiment.project_id == project_id)
    with database.read() as session:
        owned = Experiment.organization_id == organization_id(session)
        return session.scalars(statement.where(owned).order_by(Experiment.id)).all()


def _old_trials(
    organization_id: str, experiment_id: str, before: datetime
) -> tuple[ColumnElement[bool], ...]:
    """Return the conditions for old trials that no log names, except the newest trial."""
    later = aliased(Trial)
    newest = (
        select(later.id)
        .where(later.organization_id == organization_id, later.experiment_id == experiment_id)
        .order_by(later.created_at.desc(), later.id)
        .limit(1)
        .scalar_subquery()
    )
    return (
        Trial.experiment_id == experiment_id,
        Trial.created_at < before,
        Trial.id != newest,
        deletion.is_unused(),
    )


def _delete_old_trials(
    database: Database, batches: Batches, experiment_id: str, before: datetime
) -> int:
    """Delete old trials; finding them by reading, since that may skip many others."""
    with database.read() as session:
        owner = organization_id(session)
        old = (Trial.organization_id == owner, *_old_trials(owner, experiment_id, before))
        ids = session.scalars(select(Trial.id).where(*old)).all()
    return sum(
        batches.run_once(partial(deletion.delete_trials, ids=ids[start : start + _TRIALS]))
        for start in range(0, len(ids), _TRIALS)
    )


def _are_left(before: datetime) -> tuple[ColumnElement[bool], ...]:
    return Conversation.created_at < before, has_no_logs()


def _delete_sessions(session: Session, before: datetime, size: int) -> int:
    owner, sessions = organization_id(session), table(Conversation)
    left = (Conversation.organization_id == owner, *_are_left(before))
    ids = session.scalars(select(Conversation.id).where(*left).limit(size)).all()
    session.connection().execute(
        delete(sessions).where(sessions.c.organization_id == owner, sessions.c.id.in_(ids))
    )
    return len(ids)


class Pruner:
    """A thread that prunes a server's database: now, and once an hour or more often."""

    def __init__(self, database: Database, keep: timedelta) -> None:
        self._database = database
        self._keep = keep
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="humanloop-pruner", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """End after the running transaction; may be called again."""
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                pruned = prune(self._database, now() - self._keep, stop=self._stop)
                if pruned.logs:
                    logger.info("Deleted %d logs that were older than keep_logs.", pruned.logs)
                space.give_back(self._database, self._stop, spare=True)
            except Elsewhere:
                pass  # that process deletes the same rows
            except DBAPIError as error:
                logger.warning("Old logs can't be deleted now: %s", self._database.said(error))
            except Exception:
                logger.exception("Old logs can't be deleted now.")
            self._stop.wait(min(_HOUR, self._keep / 12).total_seconds())
