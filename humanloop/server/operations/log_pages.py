"""Pages of a project's logs.

A page has a number, and to find it means to go past all logs before it. An anchor remembers how
many came before one of them; what was added since is little, and tells how many come before it
now. Invariants: a page found from an anchor is the page that would be found without it; an anchor
that the database does not prove right is not used, so it matters to nobody in which process it is
remembered.
"""

from __future__ import annotations

from sqlalchemy import and_, case, func, or_, select

from humanloop.server.operations.anchors import Anchor
from humanloop.server.operations.calls import Call
from humanloop.server.store.tables import Batch, Log, Project, is_complete

_ADDED = 10_000  # after so many logs, an anchor is of no use any more


def find_rows(call: Call, project: Project, offset: int, size: int) -> list[int]:
    """Return the rows of so many of a project's logs, newest first, after the first `offset`."""
    keys = (
        select(Log.created_at, Log.row)
        .where(Log.project_id == project.id)
        .order_by(Log.created_at.desc(), Log.row.desc())
        .limit(size)
    )
    if call.session.scalar(select(Batch.id).limit(1)) is not None:
        # What is being written is in the index, but does not count: each row has to be looked at.
        keys = keys.where(is_complete()).offset(offset)
        return [row for _, row in call.session.execute(keys)]
    newest = call.session.scalar(select(func.max(Log.row))) or 0
    anchor = call.anchors.before(project.id, offset, newest)
    rank = None if anchor is None else _rank_now(call, project, anchor, newest)
    if anchor is not None and rank is not None and rank <= offset:
        behind = keys.where(
            # An index can begin with this, as it can't with the other condition alone.
            Log.created_at <= anchor.created_at,
            or_(Log.created_at < anchor.created_at, Log.row < anchor.row),
        )
        found = call.session.execute(behind.offset(offset - rank)).all()
    else:
        found = call.session.execute(keys.offset(offset)).all()
    anchors = [
        Anchor(offset + number, moment, row, project.datapoints, project.deleted, newest)
        for number, (moment, row) in enumerate(found, start=1)
    ]
    # The first one helps when so many logs are added that the next page begins before the last.
    call.anchors.keep(project.id, anchors[:1] + anchors[1:][-1:])
    return [row for _, row in found]


def _rank_now(call: Call, project: Project, anchor: Anchor, newest: int) -> int | None:
    """Return how many logs come before the anchor and with it now; None when that is not sure."""
    if not 0 <= newest - anchor.newest <= _ADDED or anchor.deleted != project.deleted:
        return None  # a row may be another log's by now
    is_theirs = Log.project_id == project.id
    is_before = or_(
        Log.created_at > anchor.created_at,
        and_(Log.created_at == anchor.created_at, Log.row > anchor.row),
    )
    added, before = call.session.execute(
        select(
            func.count(case((is_theirs, 1))), func.count(case((and_(is_theirs, is_before), 1)))
        ).where(Log.row > anchor.newest)
    ).one()
    # Otherwise there are logs of a transaction that was committed later.
    return anchor.rank + before if anchor.total + added == project.datapoints else None
