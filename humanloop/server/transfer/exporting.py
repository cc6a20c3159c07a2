"""The export of logs, from one consistent state, a portion at a time.

A project's logs come in the order of their time, so that hardly any child precedes its parent, and
logs with equal times keep their order in an import.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from humanloop.server.operations import logs
from humanloop.server.operations.calls import Call
from humanloop.server.store.accounts import Account
from humanloop.server.store.overview import organization_id
from humanloop.server.store.tables import Log, Project, is_complete

_ROWS = 500


@dataclass(frozen=True)
class Wanted:
    """The logs to export: of some projects or of all; from a time on; before a time."""

    project_ids: Sequence[str] | None = None
    since: datetime | None = None
    until: datetime | None = None


def count(session: Session, wanted: Wanted) -> int | None:
    """Return the number of the logs; None if it is not stored."""
    if wanted.since is not None or wanted.until is not None:
        return None
    owned = Project.organization_id == organization_id(session)
    found = session.execute(select(Project.id, Project.datapoints).where(owned))
    counts: dict[str, int] = {row[0]: row[1] for row in found}
    return sum(counts[each] for each in wanted.project_ids or counts)


def records(session: Session, wanted: Wanted) -> Iterator[list[dict[str, Any]]]:
    """Yield LogResponses in portions."""
    call = Call.without_request(session, Account("", organization_id(session)))
    owner, project_ids = call.account.organization_id, wanted.project_ids
    if project_ids is None:
        projects = select(Project.id).where(Project.organization_id == owner)
        oldest_first = projects.order_by(Project.created_at, Project.id)
        project_ids = session.scalars(oldest_first).all()
    for project_id in project_ids:
        theirs = (Log.organization_id == owner, Log.project_id == project_id)
        statement = select(Log.id).where(*theirs, is_complete())
        if wanted.since is not None:
            statement = statement.where(Log.created_at >= wanted.since)
        if wanted.until is not None:
            statement = statement.where(Log.created_at < wanted.until)
        ids = session.scalars(
            statement.order_by(Log.created_at, Log.row), execution_options={"yield_per": _ROWS}
        )
        for some in ids.partitions():
            for portion in logs.load_in_portions(call, some):
                yield [logs.describe(each) for each in portion]
                session.expunge_all()
