"""A testcase in a test of one's own: what the pytest plugin gives to it."""

from __future__ import annotations

import copy
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from humanloop.apis.operations import TESTSETS_GET, TESTSETS_LIST_TESTCASES
from humanloop.evaluations.arguments import check_name
from humanloop.evaluations.evaluators import score_of
from humanloop.evaluations.reading import all_records
from humanloop.evaluations.report import Score
from humanloop.evaluations.running import (
    config_of,
    keep_scores,
    log_keys,
    log_request,
    logged,
    send_scores,
)
from humanloop.evaluations.steps import PLAIN, Call, Flow, run
from humanloop.exceptions import ApiValueError

if TYPE_CHECKING:
    from humanloop.api_client import ApiClient

__all__ = ["Testcase", "Testset"]


class Testset:
    """A testset with its testcases, as they are when it is made.

    api_client: what the calls are made with.
    """

    __test__ = False  # pytest takes classes named Test* for tests

    def __init__(self, api_client: ApiClient, id: str) -> None:
        self.api_client = api_client
        self._kept: set[str] = set()
        self.testset, self.cases = run(_read(id), api_client)

    def keep(self, log_id: str, name: str, score: Score) -> None:
        """Keep a score on a log, by a feedback type that the project gets for it."""
        run(self._keep(log_id, name, score), self.api_client)

    def _keep(self, log_id: str, name: str, score: Score) -> Flow[None]:
        if name not in self._kept:
            yield from keep_scores(self.testset["project_id"], [name])
            self._kept.add(name)
        yield from send_scores(log_id, {name: score})


def _read(id: str) -> Flow[tuple[Mapping[str, Any], Sequence[Mapping[str, Any]]]]:
    testset = (yield Call(TESTSETS_GET, {"id": id}, PLAIN)).body
    cases = yield from all_records(TESTSETS_LIST_TESTCASES, {"testset_id": id})
    return testset, cases


class Testcase:
    """The testcase that a test runs for. `log` what came out of it, then `score` that.

    id: the testcase's; inputs, messages, target: plain values of its own, None where it lacks a
    target; log_id, scores: what was kept so far.
    """

    __test__ = False

    def __init__(
        self,
        testset: Testset,
        case: Mapping[str, Any],
        test: str,
        name: str,
        config: Mapping[str, Any] | None = None,
    ) -> None:
        """Take where it comes from, the test's name in full and in short, and the logs' config."""
        self._testset, self._case, self._name = testset, case, name
        self._config = config or config_of(name, test)
        self._begun = time.monotonic()
        own = copy.deepcopy(dict(case))
        self.id: str = own["id"]
        self.inputs: dict[str, str] = own.get("inputs", {})
        self.messages: list[dict[str, Any]] = own.get("messages", [])
        self.target: dict[str, Any] | None = own.get("target")
        self.log_id: str | None = None
        self.scores: dict[str, Score] = {}

    def log(self, output: Any, **keys: Any) -> str:
        """Log an output as a datapoint of the testset's project, and return the datapoint's id.

        Args:
            output: Text, anything that JSON has, or a dict with `output` and other keys of a log.
            keys: Other keys of a log, such as `duration` (by default the time since the test
                began, in seconds), `metadata` and `error`.
        """
        produced = {"duration": time.monotonic() - self._begun, **log_keys(output), **keys}
        case, testset = self._case, self._testset
        request = log_request(testset.testset, case, self._config, self._name, produced)
        self.log_id = run(logged(request), testset.api_client)
        return self.log_id

    def score(self, name: str, value: Any) -> Score:
        """Keep a boolean or a number as feedback on the output that was logged, and return it.

        Raises:
            ApiValueError: no output was logged yet, or the name can't be one.
            TypeError, ValueError, OverflowError: the value is none of these.
        """
        check_name(name)
        if self.log_id is None:
            raise ApiValueError(f"score({name!r}): log an output first, which is then scored")
        score = score_of(value)
        self._testset.keep(self.log_id, name, score)
        self.scores[name] = score
        return score

    def __repr__(self) -> str:
        return f"<Testcase {self.id}>"
