"""Counts that are kept: what a transaction adds to them, written once, when all else is.

Invariants: rows that many writers count in are locked last, in the order of their keys, so that
they are locked for as short as possible, and nobody waits in a circle.
"""

from __future__ import annotations

from collections import Counter
from datetime import datetime
from typing import Any, cast

from sqlalchemy import Connection, Table, bindparam, update
from sqlalchemy.orm import DeclarativeBase, Session

from humanloop.server.store import upserts
from humanloop.server.store.tables import Config, LabelCount, Project, SessionProject
from humanloop.server.store.times import now


def table(kind: type[DeclarativeBase]) -> Table[Any]:
    """Return the table of a class of rows, for statements that leave the classes aside."""
    return cast("Table[Any]", kind.__table__)


_CONFIGS, _PROJECTS = table(Config), table(Project)
_COUNT_IN_PROJECT = (
    update(_PROJECTS)
    .where(_PROJECTS.c.organization_id == bindparam("owner"), _PROJECTS.c.id == bindparam("key"))
    .values(datapoints=_PROJECTS.c.datapoints + bindparam("more"))
)
_COUNT_IN_CONFIG = (
    update(_CONFIGS)
    .where(_CONFIGS.c.organization_id == bindparam("owner"), _CONFIGS.c.id == bindparam("key"))
    .values(datapoints=_CONFIGS.c.datapoints + bindparam("more"), last_used=bindparam("moment"))
)


class Tally:
    """What is to be added to the counts."""

    def __init__(self) -> None:
        # Each key begins with the organisation's.
        self._projects: Counter[tuple[str, str]] = Counter()
        self._configs: Counter[tuple[str, str]] = Counter()
        self._sessions: Counter[tuple[str, str, str, datetime]] = Counter()
        self._labels: Counter[tuple[str, str, int, str]] = Counter()

    def count_log(
        self,
        organization_id: str,
        project_id: str,
        config_id: str,
        session: tuple[str, datetime] | None,
    ) -> None:
        """Count a datapoint in its project, its config, and its session, if it has one.

        session: its id and when it was created.
        """
        self._projects[organization_id, project_id] += 1
        self._configs[organization_id, config_id] += 1
        if session is not None:
            session_id, created_at = session
            self._sessions[organization_id, project_id, session_id, created_at] += 1

    def use_config(self, organization_id: str, config_id: str) -> None:
        """Note that a config is used now, without a datapoint."""
        self._configs[organization_id, config_id] += 0

    def count_label(
        self, organization_id: str, config_id: str, feedback_type_id: int, value: str, more: int
    ) -> None:
        """Count a label that was given to a config's datapoint (1) or taken off it (-1)."""
        self._labels[organization_id, config_id, feedback_type_id, value] += more

    def update(self, other: Tally) -> None:
        """Add what another one has."""
        self._projects.update(other._projects)
        self._configs.update(other._configs)
        self._sessions.update(other._sessions)
        self._labels.update(other._labels)

    def write(self, connection: Connection) -> None:
        """Write it all."""
        if self._configs:
            moment = now()
            connection.execute(
                _COUNT_IN_CONFIG,
                [
                    {"owner": owner, "key": key, "more": more, "moment": moment}
                    for (owner, key), more in sorted(self._configs.items())
                ],
            )
        if self._projects:
            connection.execute(
                _COUNT_IN_PROJECT,
                [
                    {"owner": owner, "key": key, "more": more}
                    for (owner, key), more in sorted(self._projects.items())
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
            ],
        )


def of(session: Session) -> Tally:
    """Return the tally of a session's transaction."""
    tally: Tally = session.info.setdefault("tally", Tally())
    return tally
