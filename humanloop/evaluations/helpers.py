"""The methods of `client.evaluations` that are no operations of the API."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from humanloop.api import Api

if TYPE_CHECKING:
    from humanloop.evaluations.reading import Baseline
    from humanloop.evaluations.report import EvaluationReport
    from humanloop.evaluations.steps import Flow
    from humanloop.model.evaluation_response import EvaluationResponse

__all__ = ["EvaluationHelpers"]


class EvaluationHelpers(Api):
    """Wait for evaluations, run them with functions of your own, and read what came of them."""

    def wait(
        self, id: str, *, timeout: float | None = None, progress: bool = True
    ) -> EvaluationResponse:
        """Wait until an evaluation has ended, and return it, with its aggregates.

        The server is asked again after 0.1 seconds, and then after longer times up to 2 seconds.
        Once it has answered, it may be away for a minute, to restart.

        Args:
            id: ID of the evaluation. Starts with `ev_`.
            timeout: Seconds to wait at most; None waits for as long as it takes.
            progress: Show a bar on stderr, where that is a terminal and tqdm or rich is installed.

        Raises:
            EvaluationFailedError: it ended as `failed`: no testcase has an output. Its
                `evaluation` is what would have been returned.
            EvaluationTimeoutError: it has not ended in time. It goes on.
        """
        from humanloop.evaluations.steps import run

        return run(self._waiting(id, timeout, progress), self.api_client)

    async def await_(
        self, id: str, *, timeout: float | None = None, progress: bool = True
    ) -> EvaluationResponse:
        """Wait in an event loop: as `wait`."""
        from humanloop.evaluations.steps import run_async

        return await run_async(self._waiting(id, timeout, progress), self.api_client)

    def _waiting(self, id: str, timeout: float | None, progress: bool) -> Flow[EvaluationResponse]:
        from humanloop.evaluations.waiting import waiting

        return waiting(id, timeout, progress, self.api_client.configuration.timeout)

    def run(
        self,
        function: Callable[..., Any],
        testset_id: str,
        evaluators: Sequence[Callable[..., Any]] | Mapping[str, Callable[..., Any]] = (),
        evaluator_ids: Sequence[str] = (),
        *,
        config: Mapping[str, Any] | None = None,
        workers: int = 4,
        baseline: Baseline = None,
        name: str | None = None,
        progress: bool = True,
    ) -> EvaluationReport:
        """Evaluate a function of your own on a testset, and return what came of it.

        The function is called for each testcase, its output is logged as a datapoint of the
        testset's project, and each evaluator judges that. `print` the result for a table. An
        output that the API refuses is an error of its testcase, as one that the function raises.

        Args:
            function: A plain or a coroutine function. It is called with the testcase's `inputs`, a
                dict; a parameter `messages`, or a second one without a default, gets its messages,
                a list. It returns the output: text, anything that JSON has, or a dict with
                `output` and other keys of a log, such as `duration` and `metadata`. An error that
                it raises is logged, and counted.
            testset_id: ID of the testset. Starts with `evts_`.
            evaluators: Plain or coroutine functions, called by position with `(log)` or with
                `(log, testcase)`, both dicts; each returns a boolean or a number. They run in this
                process. A mapping gives them other names than those of the functions.
            evaluator_ids: IDs of evaluators of the server, to run here as well. They run in the
                sandbox of the embedded server, which needs its extras `server` and `evaluators`.
            config: The config of the datapoints; by default a generic one, with the function's
                name and place.
            workers: How many testcases are worked on at the same time: threads, or tasks of the
                event loop for coroutine functions.
            baseline: What to compare with: an earlier result, an evaluation, or the ID of one.
            name: What the result and the datapoints call this run; by default the function's name.
            progress: Show a bar on stderr, where that is a terminal and tqdm or rich is installed.

        Raises:
            ApiTypeError, ApiValueError: an argument is wrong; nothing was called.
            ImportError: `evaluator_ids` needs an extra that is missing.
        """
        from humanloop.evaluations.running import Options, running
        from humanloop.evaluations.steps import run

        options = Options(
            testset_id, evaluators, evaluator_ids, config, workers, baseline, name, progress
        )
        return run(running(function, options), self.api_client)

    async def arun(
        self,
        function: Callable[..., Any],
        testset_id: str,
        evaluators: Sequence[Callable[..., Any]] | Mapping[str, Callable[..., Any]] = (),
        evaluator_ids: Sequence[str] = (),
        *,
        config: Mapping[str, Any] | None = None,
        workers: int = 4,
        baseline: Baseline = None,
        name: str | None = None,
        progress: bool = True,
    ) -> EvaluationReport:
        """Evaluate in an event loop: as `run`; coroutine functions run in this loop."""
        from humanloop.evaluations.running import Options, running
        from humanloop.evaluations.steps import run_async

        options = Options(
            testset_id, evaluators, evaluator_ids, config, workers, baseline, name, progress
        )
        return await run_async(running(function, options), self.api_client)

    def summarize(self, id: str, *, baseline: Baseline = None) -> EvaluationReport:
        """Return what came of an evaluation of the server so far, with a row for each testcase.

        Args:
            id: ID of the evaluation. Starts with `ev_`.
            baseline: What to compare with: another result, an evaluation, or the ID of one.
        """
        from humanloop.evaluations.reading import report_of
        from humanloop.evaluations.steps import run

        return run(report_of(id, baseline), self.api_client)

    async def asummarize(self, id: str, *, baseline: Baseline = None) -> EvaluationReport:
        """Summarize in an event loop: as `summarize`."""
        from humanloop.evaluations.reading import report_of
        from humanloop.evaluations.steps import run_async

        return await run_async(report_of(id, baseline), self.api_client)
