"""Stored counts: a transaction collects its changes of them, and writes these once, at its end.

The counts of an experiment's configs depend on its positive labels, so they are computed only then:
code that changes feedback notes the feedback on a trial's log before and after.

Invariants: rows in which many writers count are locked last, in the order of their keys, so that
locks are short and nobody waits in a circle.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable
from datetime import datetime
from typing import Any, cast

from sqlalchemy import (
    ColumnElement,
    Connection,
    Table,
    and_,
    bindparam,
    case,
    delete,
    exists,
    func,
    not_,
    select,
    update,
)
from sqlalchemy.orm import DeclarativeBase, Session

from humanloop.server.store import upserts
from humanloop.server.store.tables import (
    Annotation,
    Config,
    Conversation,
    ExperimentConfig,
    ExperimentLabel,
    LabelCount,
    Log,
    Project,
    SessionProject,
    Trial,
    is_complete,
)
from humanloop.server.store.times import UtcDateTime, now


def table(kind: type[DeclarativeBase]) -> Table[Any]:
    """Return the table of a mapped class, for statements that bypass the class."""
    return cast("Table[Any]", kind.__table__)


Values = frozenset[tuple[int | None, str]]
"""The feedback on a log: the type's id and the value of each."""

_CONFIGS, _PROJECTS, _SESSIONS = table(Config), table(Project), table(Conversation)
_MEMBERS, _LABELS = table(ExperimentConfig), table(ExperimentLabel)
_COUNT_IN_PROJECT = (
    update(_PROJECTS)
    .where(_PROJECTS.c.organization_id == bindparam("owner"), _PROJECTS.c.id == bindparam("key"))
    .values(
        datapoints=_PROJECTS.c.datapoints + bindparam("more"),
        deleted=_PROJECTS.c.deleted + bindparam("gone"),
    )
)
_COUNT_IN_CONFIG = (
    update(_CONFIGS)
    .where(_CONFIGS.c.organization_id == bindparam("owner"), _CONFIGS.c.id == bindparam("key"))
    .values(
        datapoints=_CONFIGS.c.datapoints + bindparam("more"),
        last_used=func.coalesce(bindparam("moment", type_=UtcDateTime), _CONFIGS.c.last_used),
    )
)
_IS_MEMBER = and_(
    _MEMBERS.c.organization_id == bindparam("owner"),
    _MEMBERS.c.experiment_id == bindparam("experiment"),
    _MEMBERS.c.config_id == bindparam("key"),
)
_COUNT_IN_EXPERIMENT = (
    update(_MEMBERS)
    .where(_IS_MEMBER)
    .values(
        trials=_MEMBERS.c.trials + bindparam("more"),
        positives=_MEMBERS.c.positives + bindparam("better"),
    )
)
_SET_IN_EXPERIMENT = (
    update(_MEMBERS).where(_IS_MEMBER).values(trials=bindparam("all"), positives=bindparam("good"))
)


def count_trials(
    connection: Connection, organization_id: str, experiment_id: str
) -> dict[str, tuple[int, int]]:
    """Return the trials and the positives of each config of an experiment, counted anew.

    trials: datapoints with feedback; positives: those of them with a positive label.
    """
    members = select(ExperimentConfig.config_id).where(
        ExperimentConfig.organization_id == organization_id,
        ExperimentConfig.experiment_id == experiment_id,
    )
    positive_log = case((ExperimentLabel.value.is_not(None), Log.id))
    found = (
        select(Trial.config_id, func.count(Log.id.distinct()), func.count(positive_log.distinct()))
        .join(Log, and_(Log.organization_id == organization_id, Log.trial_id == Trial.id))
        .join(
            Annotation,
            and_(Annotation.organization_id == organization_id, Annotation.log_id == Log.id),
        )
        .outerjoin(
            ExperimentLabel,
            and_(
                ExperimentLabel.organization_id == organization_id,
                ExperimentLabel.experiment_id == experiment_id,
                ExperimentLabel.feedback_type_id == Annotation.feedback_type_id,
                ExperimentLabel.value == Annotation.value,
            ),
        )
        .where(
            Trial.organization_id == organization_id,
            Trial.experiment_id == experiment_id,
            is_complete(),
        )
        .group_by(Trial.config_id)
    )
    counts = dict.fromkeys(connection.scalars(members), (0, 0))
    return counts | {row[0]: (row[1], row[2]) for row in connection.execute(found)}


def has_no_logs() -> ColumnElement[bool]:
    """Return the condition that a session has no logs, including those of an unfinished array."""
    return and_(
        *(
            not_(
                exists().where(
                    kind.organization_id == Conversation.organization_id,
                    kind.session_id == Conversation.id,
                )
            )
            for kind in (SessionProject, Log)
        )
    )


_DELETE_EMPTY_SESSION = delete(_SESSIONS).where(
    _SESSIONS.c.organization_id == bindparam("owner"),
    _SESSIONS.c.id == bindparam("key"),
    has_no_logs(),
)

SessionKey = tuple[str, datetime]
"""The id and the creation time of a session."""


class Tally:
    """The changes of the counts in a transaction."""

    def __init__(self) -> None:
        # Each key begins with the organisation's id.
        self._projects: Counter[tuple[str, str]] = Counter()
        self._deleted: Counter[tuple[str, str]] = Counter()
        self._configs: Counter[tuple[str, str]] = Counter()
        self._used: set[tuple[str, str]] = set()
        self._sessions: Counter[tuple[str, str, str, datetime]] = Counter()
        self._labels: Counter[tuple[str, str, int, str]] = Counter()
        self._outcomes: Counter[tuple[str, str, str, Values]] = Counter()
        self._recounted: set[tuple[str, str]] = set()
        self._gone: set[tuple[str, str]] = set()
        self._gone_kinds: set[tuple[str, int]] = set()

    def count_log(
        self,
        organization_id: str,
        project_id: str,
        config_id: str,
        session: SessionKey | None,
        *,
        used: bool = True,
    ) -> None:
        """Count a datapoint in its project, its config, and its session, if it has one.

        used: the datapoint is a use of the config.
        """
        self._add(1, organization_id, project_id, config_id, session)
        if used:
            self._used.add((organization_id, config_id))

    def take_back_log(
        self, organization_id: str, project_id: str, config_id: str, session: SessionKey | None
    ) -> None:
        """Remove a datapoint from the counts; a session is deleted with its last one."""
        self._add(-1, organization_id, project_id, config_id, session)
        self._deleted[organization_id, project_id] += 1

    def _add(
        self,
        more: int,
        organization_id: str,
        project_id: str,
        config_id: str,
        session: SessionKey | None,
    ) -> None:
        self._projects[organization_id, project_id] += more
        self._configs[organization_id, config_id] += more
        if session is not None:
            session_id, created_at = session
            self._sessions[organization_id, project_id, session_id, created_at] += more

    def use_config(self, organization_id: str, config_id: str) -> None:
        """Note that a config is used now, without a datapoint."""
        self._configs[organization_id, config_id] += 0
        self._used.add((organization_id, config_id))

    def count_label(
        self, organization_id: str, config_id: str, feedback_type_id: int, value: str, more: int
    ) -> None:
        """Count a label that was given to a config's datapoint (1) or taken off it (-1)."""
        self._labels[organization_id, config_id, feedback_type_id, value] += more

    def count_outcome(
        self,
        organization_id: str,
        experiment_id: str,
        config_id: str,
        before: Values,
        after: Values,
    ) -> None:
        """Note how the feedback on a trial's log has changed."""
        self._outcomes[organization_id, experiment_id, config_id, before] -= 1
        self._outcomes[organization_id, experiment_id, config_id, after] += 1

    def recount_trials(self, organization_id: str, experiment_id: str) -> None:
        """Note that an experiment's positive labels have changed."""
        self._recounted.add((organization_id, experiment_id))

    def forget_project(
        self, organization_id: str, project_id: str, feedback_type_ids: Iterable[int]
    ) -> None:
        """Discard all counts of a project that is deleted."""
        self._gone.add((organization_id, project_id))
        self._gone_kinds.update((organization_id, each) for each in feedback_type_ids)

    def update(self, other: Tally) -> None:
        """Add another tally's changes."""
        self._projects.update(other._projects)
        self._deleted.update(other._deleted)
        self._configs.update(other._configs)
        self._used.update(other._used)
        self._sessions.update(other._sessions)
        self._labels.update(other._labels)
        self._outcomes.update(other._outcomes)
        self._recounted.update(other._recounted)
        self._gone.update(other._gone)
        self._gone_kinds.update(other._gone_kinds)

    def write(self, connection: Connection) -> None:
        """Write all changes."""
        if self._configs:
            moment = now()
            connection.execute(
                _COUNT_IN_CONFIG,
                [
                    {
                        "owner": key[0],
                        "key": key[1],
                        "more": more,
                        "moment": moment if key in self._used else None,
                    }
                    for key, more in sorted(self._configs.items())
                ],
            )
        if self._projects:
            connection.execute(
                _COUNT_IN_PROJECT,
                [
                    {"owner": key[0], "key": key[1], "more": more, "gone": self._deleted[key]}
                    for key, more in sorted(self._projects.items())
                ],
            )
        self._write_trials(connection)
        upserts.add_up(
            connection,
            table(SessionProject),
            "datapoints",
            [
                {
                    "organization_id": owner,
                    "project_id": key,
                    "session_id": each,
                    "created_at": moment,
                    "datapoints": more,
                }
                for (owner, key, each, moment), more in sorted(self._sessions.items())
                if (owner, key) not in self._gone
            ],
        )
        upserts.add_up(
            connection,
            table(LabelCount),
            "datapoints",
            [
                {
                    "organization_id": owner,
                    "config_id": key,
                    "feedback_type_id": kind,
                    "value": value,
                    "datapoints": more,
                }
                for (owner, key, kind, value), more in sorted(self._labels.items())
                if (owner, kind) not in self._gone_kinds
            ],
        )
        left = {
            (owner, each)
            for (owner, key, each, _), more in self._sessions.items()
            if more < 0 or (owner, key) in self._gone
        }
        if left:
            connection.execute(
                _DELETE_EMPTY_SESSION,
                [{"owner": owner, "key": each} for owner, each in sorted(left)],
            )

    def _write_trials(self, connection: Connection) -> None:
        """Count the outcomes of trials by the labels that are positive now."""
        experiments = sorted({key[:2] for key in self._outcomes} - self._recounted)
        positive = {key: _positive_labels(connection, *key) for key in experiments}
        changes: defaultdict[tuple[str, str, str], Counter[str]] = defaultdict(Counter)
        for (owner, experiment, config, values), more in self._outcomes.items():
            if (owner, experiment) in positive:
                change = changes[owner, experiment, config]
                change["more"] += more * bool(values)
                change["better"] += more * bool(values & positive[owner, experiment])
        rows = [
            {"owner": owner, "experiment": each, "key": key, **change}
            for (owner, each, key), change in sorted(changes.items())
            if any(change.values())
        ]
        if rows:
            connection.execute(_COUNT_IN_EXPERIMENT, rows)
        for owner, each in sorted(self._recounted):
            counted = count_trials(connection, owner, each)
            rows = [
                {"owner": owner, "experiment": each, "key": key, "all": trials, "good": positives}
                for key, (trials, positives) in sorted(counted.items())
            ]
            if rows:
                connection.execute(_SET_IN_EXPERIMENT, rows)


def _positive_labels(connection: Connection, organization_id: str, experiment_id: str) -> Values:
    rows = connection.execute(
        select(_LABELS.c.feedback_type_id, _LABELS.c.value).where(
            _LABELS.c.organization_id == organization_id, _LABELS.c.experiment_id == experiment_id
        )
    )
    return frozenset((row[0], row[1]) for row in rows)


def of(session: Session) -> Tally:
    """Return the tally of a session's transaction."""
    tally: Tally = session.info.setdefault("tally", Tally())
    return tally
