"""New logs of a database as they arrive, read beside the server that writes them.

Logs are found by their `row`, the order of arrival. A transaction may be committed after one with
later rows, and the rows of a large array count only once all are written. Each poll therefore
rereads the rows of the last seconds, and skips the logs that it has returned. Invariants: no log is
returned twice; a log is returned if it becomes visible within those seconds, or its array takes no
longer than a minute.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from typing import Any, NamedTuple

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from humanloop.server.store.overview import organization_id
from humanloop.server.store.tables import Config, Log, Project, is_complete

_LATE = 5  # seconds from a transaction's first row to its commit
_PATIENCE = 60  # seconds for writing a large array
_PORTION = 500


class Arrived(NamedTuple):
    """A log, with the names of its project and its config."""

    log: Log
    project: str
    config: str


class Following:
    """A reader of new logs.

    read: opens a session. project_id: of the only project to follow.
    """

    def __init__(
        self, read: Callable[[], AbstractContextManager[Session]], project_id: str | None
    ) -> None:
        self._read = read
        self._project_id = project_id
        self._floor = 0  # all rows up to this one are done
        self._seen: set[int] = set()  # returned rows above it
        self._marks: deque[tuple[float, int]] = deque()
        self._incomplete: dict[str, float] = {}  # arrays, and when each was first seen

    def begin(self, count: int) -> Iterator[Arrived]:
        """Yield the newest `count` logs, the newest last; follow from here on."""
        with self._read() as session:
            self._floor = session.scalar(self._rows(session, func.max(Log.row))) or 0
            # Both orders have an index: of all rows, and of a project's times.
            times = () if self._project_id is None else (Log.created_at.desc(),)
            newest = self._rows(session, Log.row).where(is_complete(), Log.row <= self._floor)
            rows = session.scalars(newest.order_by(*times, Log.row.desc()).limit(count)).all()
            yield from _load(session, rows[::-1])

    def poll(self) -> Iterator[Arrived]:
        """Yield the logs that have arrived since the last call, in the order of arrival."""
        with self._read() as session:
            columns = (Log.row, Log.batch_id, is_complete().label("complete"))
            above = self._rows(session, *columns).where(Log.row > self._floor)
            found = [tuple(each) for each in session.execute(above.order_by(Log.row))]
            fresh = [row for row, _, complete in found if complete and row not in self._seen]
            self._seen.update(fresh)
            self._raise_floor(found)
            yield from _load(session, fresh)

    def _rows(self, session: Session, *columns: Any) -> Any:
        statement: Any = select(*columns).where(Log.organization_id == organization_id(session))
        if self._project_id is not None:
            statement = statement.where(Log.project_id == self._project_id)
        return statement

    def _raise_floor(self, found: Sequence[tuple[int, str | None, bool]]) -> None:
        """Raise the floor over rows of some seconds' age, up to an array that is being written."""
        now, settled = time.monotonic(), self._floor
        for row, batch_id, complete in found:
            if not complete and now - self._incomplete.setdefault(batch_id or "", now) < _PATIENCE:
                break
            settled = row
        self._marks.append((now, settled))
        while now - self._marks[0][0] >= _LATE:
            self._floor = max(self._floor, self._marks.popleft()[1])
        self._seen = {row for row in self._seen if row > self._floor}


def _load(session: Session, rows: Sequence[int]) -> Iterator[Arrived]:
    for start in range(0, len(rows), _PORTION):
        portion = rows[start : start + _PORTION]
        statement = (
            select(Log, Project.name, Config.name)
            .join(Log.config)
            .join(Config.project)
            .where(Log.organization_id == organization_id(session), Log.row.in_(portion))
        )
        found = {row[0].row: Arrived(*row) for row in session.execute(statement)}
        yield from (found[row] for row in portion)
