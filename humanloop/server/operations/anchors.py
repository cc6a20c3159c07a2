"""Known places in the lists of projects' logs, from which `log_pages` finds later pages."""

from __future__ import annotations

import threading
from collections import OrderedDict, deque
from collections.abc import Iterable
from datetime import datetime
from typing import NamedTuple

_PROJECTS = 256  # projects with anchors
_ANCHORS = 16  # per project; enough for half as many readers that go from page to page


class Anchor(NamedTuple):
    """A log, its rank in the list of logs, and the totals at that time.

    rank: the number of logs up to this one, included. total: the project's logs; deleted: the logs
        deleted from the project until then; newest: the last row of any log of the organisation.
    """

    rank: int
    created_at: datetime
    row: int
    total: int
    deleted: int
    newest: int


class Anchors:
    """The anchors of the projects whose logs were read last."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._of_project: OrderedDict[str, deque[Anchor]] = OrderedDict()

    def before(self, project_id: str, offset: int, total: int) -> Anchor | None:
        """Return the last anchor that is before the offset even if all new logs precede it."""
        with self._lock:
            known = self._of_project.get(project_id, ())
            return max((a for a in known if a.rank + total - a.total <= offset), default=None)

    def keep(self, project_id: str, anchors: Iterable[Anchor]) -> None:
        """Remember some anchors."""
        with self._lock:
            self._of_project.setdefault(project_id, deque(maxlen=_ANCHORS)).extend(anchors)
            self._of_project.move_to_end(project_id)
            if len(self._of_project) > _PROJECTS:
                self._of_project.popitem(last=False)
