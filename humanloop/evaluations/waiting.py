"""Wait for an evaluation that runs on the server."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, cast

from humanloop.apis.operations import EVALUATIONS_GET, EVALUATIONS_LIST_TESTCASES
from humanloop.evaluations.arguments import NUMBER, TEXT, check
from humanloop.evaluations.steps import Call, Flow, Pause
from humanloop.exceptions import (
    ApiConnectionError,
    ApiValueError,
    ClientClosedError,
    EvaluationFailedError,
    EvaluationTimeoutError,
    ServerError,
)
from humanloop.progress import Bar
from humanloop.secrets import shorten

if TYPE_CHECKING:
    from humanloop.api_client import RequestOptions
    from humanloop.model.evaluation_response import EvaluationResponse

_FIRST_PAUSE, _LONGEST_PAUSE, _GROWTH = 0.1, 2.0, 1.5  # seconds between two looks
_FIRST_LOOK = (
    1.0  # seconds that the first look may take at least, so that there is a status to tell
)
_PATIENCE = 60.0  # seconds that a server which has answered before may be away
_REASON_LIMIT = 300  # characters


def waiting(
    id: str, timeout: float | None, progress: bool, call_timeout: float | None
) -> Flow[EvaluationResponse]:
    """Return the flow that waits; call_timeout: the limit of each call, if it has one."""
    check("wait", "id", id, TEXT)
    if timeout is not None:
        check("wait", "timeout", timeout, NUMBER)
    if timeout is not None and not 0 <= timeout < math.inf:
        raise ApiValueError(f"evaluations.wait(): timeout must be seconds, or None, not {timeout}")
    return _waiting(id, timeout, progress, call_timeout)


def _waiting(
    id: str, timeout: float | None, progress: bool, call_timeout: float | None
) -> Flow[EvaluationResponse]:
    deadline = math.inf if timeout is None else time.monotonic() + timeout
    look = _Look(id, deadline, call_timeout)
    bar = Bar("evaluation", "testcases", progress)
    pause = _FIRST_PAUSE
    try:
        while True:
            latest = yield from look.again()
            done, total = _progress(latest)
            if done is not None:
                bar.show(done, total)
            if latest["status"] == "completed":
                return latest
            if latest["status"] == "failed":
                raise EvaluationFailedError((yield from _failure(id)), latest)
            left = deadline - time.monotonic()
            if left <= 0:
                far = "" if done is None else f": {done} of {total} testcases are done"
                message = f"evaluation {id} is still {latest['status']} after {timeout:g} s{far}"
                raise EvaluationTimeoutError(message, latest)
            yield Pause(min(pause, left))
            pause = min(pause * _GROWTH, _LONGEST_PAUSE)
    finally:
        bar.close()


class _Look:
    """Reads the evaluation. Once that has worked, a server may be away for a while, to restart."""

    def __init__(self, id: str, deadline: float, call_timeout: float | None) -> None:
        self._arguments = {"id": id, "evaluator_aggregates": True}
        self._deadline = deadline
        self._call_timeout = math.inf if call_timeout is None else call_timeout
        self._latest: EvaluationResponse | None = None
        self._seen = 0.0

    def again(self) -> Flow[EvaluationResponse]:
        """Return the flow that reads it; what it was before, where the server is away."""
        left = self._deadline - time.monotonic()
        limit = min(max(left, _FIRST_LOOK if self._latest is None else 0.001), self._call_timeout)
        options: RequestOptions = {"timeout": limit} if limit < math.inf else {}
        try:
            found: EvaluationResponse = (yield Call(EVALUATIONS_GET, self._arguments, options)).body
        except (ApiConnectionError, ServerError) as error:
            away = time.monotonic() - self._seen
            given_up = away > _PATIENCE and time.monotonic() < self._deadline
            if self._latest is None or given_up or isinstance(error, ClientClosedError):
                raise
            return self._latest
        self._latest, self._seen = found, time.monotonic()
        return found


def _progress(evaluation: Mapping[str, Any]) -> tuple[int | None, int]:
    """Return how many testcases are done, if the server tells it, and how many there are.

    The embedded server counts results in its aggregates, which is more than the API asks for.
    """
    testset: Mapping[str, Any] = evaluation.get("testset_snapshot") or evaluation["testset"]
    aggregates: Sequence[Mapping[str, Any]] = evaluation.get("evaluator_aggregates") or ()
    counts = [
        int(each["results_count"]) + int(each["errors_count"])
        for each in aggregates
        if "results_count" in each and "errors_count" in each
    ]
    return min(counts, default=None), int(testset["testcase_count"])


def _failure(id: str) -> Flow[str]:
    """Return the message that an evaluation has failed, with the reason of one testcase."""
    options: RequestOptions = {"bodies": "plain"}
    page = yield Call(EVALUATIONS_LIST_TESTCASES, {"id": id, "size": 1}, options)
    message = f"evaluation {id} has failed: no testcase has an output"
    for record in cast("Sequence[Mapping[str, Any]]", page.body["records"]):
        if reason := record.get("datapoint", {}).get("error"):
            message += f"; the first one: {shorten(reason, _REASON_LIMIT)}"
    return message
