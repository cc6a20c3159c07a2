"""Pages of a project's logs.

Finding a page by its number means skipping all logs before it. An anchor remembers how many logs
came before one log; the few logs added since then give its present rank. Invariants: a page found
from an anchor is the page that would be found without it; an anchor that the database does not
confirm is not used, so any process may remember any anchors.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import Row, Select, and_, case, func, or_, select

from humanloop.server.operations.anchors import Anchor
from humanloop.server.operations.calls import Call
from humanloop.server.store.tables import Batch, Log, Project, is_complete

_ADDED = 10_000  # after this many new logs, an anchor is useless


_KEY = (Log.organization_id, Log.project_id, Log.created_at, Log.row)


def find_ids(call: Call, project: Project, offset: int, size: int) -> list[str]:
    """Return the ids of `size` of a project's logs, newest first, after the first `offset`."""
    owned = Log.organization_id == project.organization_id
    keys = (
        select(*_KEY)
        .where(owned, Log.project_id == project.id)
        .order_by(Log.created_at.desc(), Log.row.desc())
        .limit(size)
    )
    batches = select(Batch.id).where(Batch.organization_id == project.organization_id)
    if call.session.scalar(batches.limit(1)) is not None:
        # The index contains logs that are still being written and don't count, so each row is
        # checked.
        keys = keys.where(is_complete()).offset(offset)
        return [log_id for log_id, _, _ in _logs(call, keys)]
    newest = call.session.scalar(select(func.max(Log.row)).where(owned)) or 0
    anchor = call.anchors.before(project.id, offset, project.datapoints)
    rank = None if anchor is None else _rank_now(call, project, anchor)
    if anchor is not None and rank is not None and rank <= offset:
        behind = keys.where(
            # An index can start with this condition, unlike with the other one alone.
            Log.created_at <= anchor.created_at,
            or_(Log.created_at < anchor.created_at, Log.row < anchor.row),
        )
        found = _logs(call, behind.offset(offset - rank))
    else:
        found = _logs(call, keys.offset(offset))
    anchors = [
        Anchor(offset + number, moment, row, project.datapoints, project.deleted, newest)
        for number, (_, moment, row) in enumerate(found, start=1)
    ]
    # The first anchor helps after many new logs, when the next page begins before the last one.
    call.anchors.keep(project.id, anchors[:1] + anchors[1:][-1:])
    return [log_id for log_id, _, _ in found]


def _logs(call: Call, keys: Select[str, str, datetime, int]) -> Sequence[Row[str, datetime, int]]:
    """Return the ids, times and rows of logs; their keys are found in an index alone."""
    found = keys.subquery().c
    statement = (
        select(Log.id, Log.created_at, Log.row)
        .where(*(column == found[column.key] for column in _KEY))
        .order_by(Log.created_at.desc(), Log.row.desc())
    )
    return call.session.execute(statement).all()


def _rank_now(call: Call, project: Project, anchor: Anchor) -> int | None:
    """Return the anchor's present rank; None if that is not certain."""
    if anchor.deleted != project.deleted:
        return None  # a transaction that was committed later may have added as many others
    new = (
        select(Log.project_id, Log.created_at, Log.row)
        .where(Log.organization_id == project.organization_id, Log.row > anchor.newest)
        .limit(_ADDED + 1)
        .subquery()
        .c
    )
    is_theirs = new.project_id == project.id
    is_before = or_(
        new.created_at > anchor.created_at,
        and_(new.created_at == anchor.created_at, new.row > anchor.row),
    )
    all_added, added, before = call.session.execute(
        select(
            func.count(),
            func.count(case((is_theirs, 1))),
            func.count(case((and_(is_theirs, is_before), 1))),
        ).select_from(new.project_id.table)
    ).one()
    if all_added > _ADDED:
        return None
    # Otherwise there are logs of a transaction that was committed later.
    return anchor.rank + before if anchor.total + added == project.datapoints else None
