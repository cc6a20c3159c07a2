"""The state of evaluations in this process, outside of the database.

Provider keys that came with an evaluation are kept here, in memory, and nowhere else.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping

from humanloop.server.evaluation.engine import Engine
from humanloop.server.store.ids import new_id
from humanloop.server.store.tables import EvaluationWorker

_WORKER = EvaluationWorker.id_prefix or ""


class Evaluating:
    """The engine that runs evaluators, the provider keys of evaluations, and the workers' bell.

    worker_id: the name under which this process works on evaluations.
    bell: set when there may be work.
    """

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.worker_id = new_id(_WORKER)
        self.bell = threading.Event()
        self._keys: dict[str, Mapping[str, str]] = {}

    def begin(self, evaluation_id: str, keys: Mapping[str, str]) -> None:
        """Wake the workers for an evaluation; keep its keys, if any, until `forget`."""
        if keys:
            self._keys[evaluation_id] = keys
        self.bell.set()

    def keys(self, evaluation_id: str) -> Mapping[str, str] | None:
        """Return the keys kept for an evaluation."""
        return self._keys.get(evaluation_id)

    @property
    def holds_keys(self) -> bool:
        """Return whether the keys of any evaluation are kept."""
        return bool(self._keys)

    def forget(self, evaluation_id: str) -> None:
        """Drop the keys of an evaluation that has ended."""
        self._keys.pop(evaluation_id, None)
