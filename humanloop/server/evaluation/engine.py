"""The interface of engines, which run evaluators.

An engine takes Python source and plain JSON values, and returns a score or an error's text. It
knows nothing of HTTP or of the database. Invariants: whatever the source does, it ends within the
limits and harms neither the server nor another run; an error in it is a result, never an exception.
Exceptions mean that the engine itself has a problem.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

Score = bool | int | float
"""An evaluator's verdict on a log. A number is finite; an int is at most 2**53, larger whole
numbers are floats.
"""

Returns = Literal["boolean", "number"]
"""The kind of value that an evaluator returns, named as in the API's EvaluatorReturnTypeEnum."""


Sandbox = Literal["none", "bwrap"]
"""The isolation of worker processes: their interpreter alone, or bubblewrap as well."""


@dataclass(frozen=True)
class Limits:
    """The limits of one run. The memory limit is per worker process.

    seconds: the execution time, library calls outside of the sandbox included.
    memory_bytes: the size of the sandbox's values.
    recursion: how deeply functions may call each other.
    sleep_seconds: the time in `time.sleep`, which does not count as execution time.
    result_bytes: the length of a score or an error's text.
    request_seconds: how long a worker may stay silent before it is killed. This also bounds the
        work before execution: parsing and checking the source.
    calls: the number of calls outside of the sandbox, imports and sleeps.
    source_bytes: the length of the source.
    workers: how many processes run at the same time; None means one per core, at most 8.
    """

    seconds: float = 1
    memory_bytes: int = 64 * 1024 * 1024
    recursion: int = 200
    sleep_seconds: float = 0
    result_bytes: int = 64 * 1024
    request_seconds: float = 5
    calls: int = 20_000
    source_bytes: int = 64 * 1024
    workers: int | None = None


@dataclass(frozen=True)
class SourceProblem:
    """One fault in an evaluator's source.

    line, column: the place, both from 1; the column counts characters.
    caret: the line of the source, and below it carets that point at the place.
    """

    line: int
    column: int
    message: str
    caret: str

    def __str__(self) -> str:
        """Return the problem in the form that a compiler prints."""
        return f"line {self.line}, column {self.column}: {self.message}\n{self.caret}"


@dataclass(frozen=True)
class Failure:
    """The reason why an evaluator has no score for a log."""

    text: str


class EngineUnavailable(Exception):
    """Evaluators can't run at the moment; the text says why and what to do."""


class EngineNotInstalled(EngineUnavailable):
    """The extra `evaluators` is not installed."""


class Engine(Protocol):
    """The base of engines. One object serves all threads; its calls block."""

    def check(
        self, source: str, *, with_testcase: bool | None = None, returns: Returns | None = None
    ) -> Sequence[SourceProblem]:
        """Return the faults of a source; none if it can be used.

        Type-checks the source and runs its top level, within the limits; does not call the
        function.

        with_testcase: whether the evaluator will be called with a testcase; None accepts a function
            for either case.
        returns: the kind of score that is wanted, which the function's annotation must not
            contradict; None accepts both.

        Raises EngineUnavailable.
        """
        ...

    def run(
        self,
        source: str,
        log: Mapping[str, Any],
        testcase: Mapping[str, Any] | None = None,
        *,
        returns: Returns | None = None,
    ) -> Score | Failure:
        """Call the last top-level function of a source, and return its score or its failure.

        The function is called with the log and the testcase, by position; with the log alone if
        there is no testcase or the function takes one argument.

        log: `id`, `model_config`, `inputs`, `output`, `provider_latency`, `metadata`, `created_at`
            and `feedback`, as plain JSON values; Decimals arrive as floats.
        testcase: its plain JSON values, likewise.
        returns: the kind of score that is wanted; None accepts both. A boolean is no number.

        Raises EngineUnavailable, and ValueError for values that JSON can't hold.
        """
        ...

    def close(self) -> None:
        """Refuse new and waiting calls, wait for running ones, and end all processes.

        May be called again.
        """
        ...
