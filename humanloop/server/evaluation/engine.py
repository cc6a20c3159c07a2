"""What runs evaluators: the side of the server that an engine is written to.

An engine gets Python source and plain JSON values, and gives back a score or an error's text. It
knows nothing of HTTP and of the database. Invariants: whatever the source does, it ends within
the limits, harms neither the server nor another run, and an error of it is an answer, never an
exception; exceptions are for what is wrong with the engine itself.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

Score = bool | int | float
"""What an evaluator says about a log. A number is finite; an int is at most 2**53, larger whole
numbers are floats."""

Returns = Literal["boolean", "number"]
"""What an evaluator may return, by the names of the API's EvaluatorReturnTypeEnum."""


Sandbox = Literal["none", "bwrap"]
"""What keeps worker processes apart from the system: only their interpreter, or bubblewrap too."""


@dataclass(frozen=True)
class Limits:
    """Hold what one run may take. The memory is that of each worker process.

    seconds: of execution, together with the calls of library functions outside of the sandbox.
    memory_bytes: of the sandbox's values.
    recursion: how deep functions may call each other.
    sleep_seconds: of `time.sleep`, which the time of execution leaves out.
    result_bytes: the length of a score or an error's text.
    request_seconds: how long a worker may stay silent, whatever it does, before it is killed. It
        bounds what comes before execution: to parse and check the source.
    calls: of functions outside of the sandbox, imports and sleeps.
    source_bytes: the length of the source.
    workers: how many processes run at the same time; None is one for each core, at most 8.
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
    """Hold one thing that is wrong with an evaluator's source.

    line, column: where, both from 1; the column counts characters.
    caret: the line of the source, and below it carets that point at the place.
    """

    line: int
    column: int
    message: str
    caret: str

    def __str__(self) -> str:
        """Return the problem as a compiler shows it."""
        return f"line {self.line}, column {self.column}: {self.message}\n{self.caret}"


@dataclass(frozen=True)
class Failure:
    """Hold why an evaluator has no score for a log."""

    text: str


class EngineUnavailable(Exception):
    """Evaluators can't run right now; the text says why and what to do."""


class EngineNotInstalled(EngineUnavailable):
    """The extra `evaluators` is not installed."""


class Engine(Protocol):
    """Run evaluators. One object serves all threads; its calls block."""

    def check(
        self, source: str, *, with_testcase: bool | None = None, returns: Returns | None = None
    ) -> Sequence[SourceProblem]:
        """Return what is wrong with a source, nothing if it can be used.

        It is type-checked and its top level runs, within the limits; the function is not called.

        with_testcase: whether the evaluator will be called with a testcase; None accepts a
            function that suits either.
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

        It is called with the log and the testcase, by position; with the log alone where there
        is no testcase or the function takes one argument.

        log: `id`, `model_config`, `inputs`, `output`, `provider_latency`, `metadata`,
            `created_at` and `feedback`, as plain JSON values; Decimals arrive as floats.
        testcase: likewise.
        returns: the kind of score that is wanted; None accepts both. A boolean is no number.

        Raises EngineUnavailable, and ValueError for values that JSON can't hold.
        """
        ...

    def close(self) -> None:
        """Refuse what comes or waits, wait for what runs, and end all processes; idempotent."""
        ...
