"""Counts that are kept: what a transaction changes of them, written once, when all else is.

Invariants: rows that many writers count in are locked last, in the order of their keys, so that
they are locked for as short as possible, and nobody waits in a circle.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from datetime import datetime
from typing import Any, cast

from sqlalchemy import (
    ColumnElement,
    Connection,
    Table,
    and_,
    bindparam,
    delete,
    exists,
    func,
    not_,
    update,
)
from sqlalchemy.orm import DeclarativeBase, Session

from humanloop.server.store import upserts
from humanloop.server.store.tables import (
    Config,
    Conversation,
    LabelCount,
    Log,
    Project,
    SessionProject,
)
from humanloop.server.store.times import UtcDateTime, now


def table(kind: type[DeclarativeBase]) -> Table[Any]:
    """Return the table of a class of rows, for statements that leave the classes aside."""
    return cast("Table[Any]", kind.__table__)


_CONFIGS, _PROJECTS, _SESSIONS = table(Config), table(Project), table(Conversation)
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


def has_no_logs() -> ColumnElement[bool]:
    """Return the condition that a session has no logs, counted or of an array that is written."""
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
"""The id of a session, and when it was created."""


class Tally:
    """What is to be added to the counts, and taken off them."""

    def __init__(self) -> None:
        # Each key begins with the organisation's.
        self._projects: Counter[tuple[str, str]] = Counter()
        self._deleted: Counter[tuple[str, str]] = Counter()
        self._configs: Counter[tuple[str, str]] = Counter()
        self._used: set[tuple[str, str]] = set()
        self._sessions: Counter[tuple[str, str, str, datetime]] = Counter()
        self._labels: Counter[tuple[str, str, int, str]] = Counter()
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

        used: whether that is a use of the config.
        """
        self._add(1, organization_id, project_id, config_id, session)
        if used:
            self._used.add((organization_id, config_id))

    def take_back_log(
        self, organization_id: str, project_id: str, config_id: str, session: SessionKey | None
    ) -> None:
        """Count a datapoint no more; a session goes with its last one."""
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

    def forget_project(
        self, organization_id: str, project_id: str, feedback_type_ids: Iterable[int]
    ) -> None:
        """Write no counts of a project that is deleted, whoever has counted in it before."""
        self._gone.add((organization_id, project_id))
        self._gone_kinds.update((organization_id, each) for each in feedback_type_ids)

    def update(self, other: Tally) -> None:
        """Add what another one has."""
        self._projects.update(other._projects)
        self._deleted.update(other._deleted)
        self._configs.update(other._configs)
        self._used.update(other._used)
        self._sessions.update(other._sessions)
        self._labels.update(other._labels)
        self._gone.update(other._gone)
        self._gone_kinds.update(other._gone_kinds)

    def write(self, connection: Connection) -> None:
        """Write it all."""
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


def of(session: Session) -> Tally:
    """Return the tally of a session's transaction."""
    tally: Tally = session.info.setdefault("tally", Tally())
    return tally
