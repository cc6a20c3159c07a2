"""The report of an evaluation: a row for each testcase, a score for each evaluator, a table.

A mean is taken of the values alone: errors have none, so they are counted beside it. The mean of
booleans is the share of true.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

from humanloop.lazy import cached_property
from humanloop.secrets import shorten
from humanloop.text_table import text_table

__all__ = ["EvaluationReport", "EvaluationRow", "EvaluatorScore", "Score"]

Score = bool | int | float
_NAME_LIMIT = 40  # columns of an evaluator's name in the table


@dataclass(frozen=True)
class EvaluationRow:
    """One testcase: what was produced for it, and what the evaluators say about that.

    error: why there is no output, if there is none. log_id: of the datapoint; None when it is
    gone, or not made yet. duration: seconds. scores: the values by evaluator; errors: why an
    evaluator has no value. Each evaluator is in one of the two.
    """

    testcase_id: str
    inputs: Mapping[str, Any] = field(default_factory=lambda: {})
    messages: Sequence[Mapping[str, Any]] = ()
    target: Mapping[str, Any] | None = None
    output: str | None = None
    error: str | None = None
    duration: float | None = None
    log_id: str | None = None
    scores: Mapping[str, Score] = field(default_factory=lambda: {})
    errors: Mapping[str, str] = field(default_factory=lambda: {})

    def to_record(self) -> dict[str, Any]:
        """Return the row as a plain dict."""
        return {**vars(self), "messages": list(self.messages)}


@dataclass(frozen=True)
class EvaluatorScore:
    """The values of one evaluator, taken together.

    mean: of the values, the share of true for booleans; None without any. count: how many values;
    errors: how many testcases have none. is_share: all values are booleans. baseline: the mean in
    the baseline, baseline_is_share: of booleans. change: from there to here; None between booleans
    and numbers. higher, lower: how many testcases that have a value
    in both have a higher or a lower one here.
    """

    evaluator: str
    mean: float | None
    count: int
    errors: int
    is_share: bool
    baseline: float | None = None
    baseline_is_share: bool = False
    change: float | None = None
    higher: int = 0
    lower: int = 0


@dataclass(frozen=True)
class EvaluationReport:
    """The results of an evaluation. `print` shows a table, with the change against `baseline`.

    name: what produced the outputs; testset: what it was evaluated on; evaluators: their names;
    seconds: how long it took, None for one that ran on the server; evaluation_id, status: of the
    server's evaluation, None for one that ran here; config_id: of the server's config, likewise.
    """

    name: str
    testset: str
    evaluators: Sequence[str]
    rows: Sequence[EvaluationRow]
    seconds: float | None = None
    evaluation_id: str | None = None
    status: str | None = None
    baseline: EvaluationReport | None = field(default=None, repr=False)
    config_id: str | None = None

    @cached_property
    def scores(self) -> Mapping[str, EvaluatorScore]:
        """The score of each evaluator, by its name."""
        return {name: self._score(name) for name in self.evaluators}

    @property
    def failed(self) -> Sequence[EvaluationRow]:
        """The rows without an output."""
        return [row for row in self.rows if row.error is not None]

    def to_records(self) -> list[dict[str, Any]]:
        """Return a flat dict for each testcase; see `schemas.to_records`."""
        from humanloop.schemas import to_records

        return to_records([row.to_record() for row in self.rows])

    def to_dataframe(self) -> Any:
        """Return a DataFrame of pandas with a row for each testcase; see `schemas.to_dataframe`."""
        from humanloop.schemas import to_dataframe

        return to_dataframe([row.to_record() for row in self.rows])

    def _score(self, name: str) -> EvaluatorScore:
        values = self._values(name)
        before = self.baseline._values(name) if self.baseline is not None else {}
        mean, earlier = _mean(values), _mean(before)
        is_share, was_share = _is_share(values), _is_share(before)
        alike = mean is None or earlier is None or is_share == was_share
        both = [(values[each], before[each]) for each in values if alike and each in before]
        return EvaluatorScore(
            name,
            mean,
            len(values),
            sum(name in row.errors for row in self.rows),
            is_share,
            earlier,
            was_share,
            None if mean is None or earlier is None or not alike else mean - earlier,
            sum(now > then for now, then in both),
            sum(now < then for now, then in both),
        )

    def _values(self, name: str) -> dict[str, Score]:
        """Return an evaluator's values by testcase."""
        return {row.testcase_id: row.scores[name] for row in self.rows if name in row.scores}

    def __str__(self) -> str:
        """Return the table."""
        cases = f"{len(self.rows)} testcase{'' if len(self.rows) == 1 else 's'}"
        head = f"{self._label(self.baseline)} on {self.testset}: {cases}"
        if self.status not in {None, "completed"}:
            head += f", {self.status}"
        if self.failed:
            head += f", {len(self.failed)} without output"
        if self.seconds is not None:
            head += f", {self.seconds:.1f} s"
        if not self.evaluators:
            return head
        titles = ["evaluator", "score", "values", "errors"]
        if self.baseline is not None:
            notes = [f"compared with {self.baseline._label(self)}", *self._limits(self.baseline)]
            head = "\n".join([head, *notes])
            titles += ["baseline", "change", "higher", "lower"]
        lines = [titles, *(self._line(score) for score in self.scores.values())]
        return f"{head}\n\n{text_table(lines, range(1, len(titles)))}"

    def _label(self, other: EvaluationReport | None) -> str:
        """Return the name, with an id where another one has the same name."""
        if other is None or other.name != self.name:
            return self.name
        id = self.evaluation_id if self.config_id == other.config_id else self.config_id
        return f"{self.name} ({id})" if id else self.name

    def _limits(self, baseline: EvaluationReport) -> list[str]:
        """Return what a reader must know of a comparison with other testcases or scores."""
        here, there = ({row.testcase_id for row in each.rows} for each in (self, baseline))
        notes: list[str] = []
        if here != there:
            place = f"the baseline, which has {len(there)} on {baseline.testset}"
            notes.append(f"other testcases: {len(here & there)} of {len(here)} are in {place}")
        for score in self.scores.values():
            both = score.mean is not None and score.baseline is not None
            if both and score.is_share != score.baseline_is_share:
                kinds = ("booleans", "numbers") if score.is_share else ("numbers", "booleans")
                notes.append("{}: {} here, {} in the baseline".format(score.evaluator, *kinds))
        return notes

    def _line(self, score: EvaluatorScore) -> list[str]:
        name = shorten(score.evaluator, _NAME_LIMIT)
        is_share = score.is_share
        line = [name, _shown(score.mean, is_share), str(score.count), str(score.errors)]
        if self.baseline is None:
            return line
        change = _shown(score.change, is_share, sign="+")
        counts = [str(score.higher), str(score.lower)]
        return [*line, _shown(score.baseline, score.baseline_is_share), change, *counts]


def _is_share(values: Mapping[str, Score]) -> bool:
    return bool(values) and all(isinstance(value, bool) for value in values.values())


def _mean(values: Mapping[str, Score]) -> float | None:
    # Exact, so that no sum is too large for a float.
    return float(sum(map(Fraction, values.values())) / len(values)) if values else None


def _shown(value: float | None, is_share: bool, sign: str = "") -> str:
    if value is None:
        return "-"
    return f"{100 * value:{sign}.1f}%" if is_share else f"{value:{sign}.4g}"
