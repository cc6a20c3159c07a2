"""Scores: the summary of an evaluator's results in an evaluation.

The aggregate is the mean of the values; for booleans, that is the share of true. Errors have no
value, so they are excluded from the mean and counted separately.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from statistics import fmean
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from humanloop.server.operations.calls import Call, chunks
from humanloop.server.store.tables import Evaluation, EvaluationEvaluator, EvaluationResult

ENDED = ("completed", "failed")


@dataclass(frozen=True)
class Summary:
    """The number of results with a value and with an error, and the mean; None without values."""

    results: int = 0
    errors: int = 0
    mean: float | None = None

    def describe(self, config_id: str, evaluator_id: str) -> dict[str, Any]:
        """Return a ModelConfigEvaluatorAggregateResponse, with the numbers of results added."""
        body = {
            "model_config_id": config_id,
            "evaluator_id": evaluator_id,
            "results_count": self.results,
            "errors_count": self.errors,
        }
        return body if self.mean is None else {**body, "aggregate_value": self.mean}


def summarize(session: Session, organization_id: str, evaluation_id: str) -> dict[str, Summary]:
    """Return the summary of each evaluator that has results so far."""
    values: dict[str, list[float]] = {}
    errors: dict[str, int] = {}
    for evaluator_id, value in session.execute(
        select(EvaluationResult.evaluator_id, EvaluationResult.value).where(
            EvaluationResult.organization_id == organization_id,
            EvaluationResult.evaluation_id == evaluation_id,
        )
    ):
        if value is None:
            errors[evaluator_id] = errors.get(evaluator_id, 0) + 1
        else:
            values.setdefault(evaluator_id, []).append(float(value))
    return {
        each: Summary(len(found), errors.get(each, 0), _mean(found) if found else None)
        for each in {**values, **errors}
        for found in (values.get(each, []),)
    }


def _mean(values: Sequence[float]) -> float:
    try:
        return fmean(values)
    except OverflowError:  # the sum is too large for a float
        return float(sum(map(Fraction, values)) / len(values))


def describe(
    session: Session, evaluation: Evaluation, evaluators: Sequence[EvaluationEvaluator]
) -> list[dict[str, Any]]:
    """Return the aggregate of each evaluator of an evaluation so far."""
    if evaluation.status in ENDED:
        found = {each.evaluator_id: _kept(each) for each in evaluators}
    else:
        found = summarize(session, evaluation.organization_id, evaluation.id)
    return [
        found.get(each.evaluator_id, Summary()).describe(evaluation.config_id, each.evaluator_id)
        for each in evaluators
    ]


def _kept(part: EvaluationEvaluator) -> Summary:
    value = part.aggregate_value
    mean = None if value is None else float(value)
    return Summary(part.results_count or 0, part.errors_count or 0, mean)


def with_aggregates(call: Call, bodies: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return ProjectConfigResponses with the aggregates of their configs.

    An evaluator's aggregate is from the newest ended evaluation of the config that used it.
    """
    found: dict[str, list[dict[str, Any]]] = {}
    for some in chunks([body["config"]["id"] for body in bodies]):
        for part, config_id in _newest(call, some):
            aggregate = _kept(part).describe(config_id, part.evaluator_id)
            found.setdefault(config_id, []).append(aggregate)
    return [
        {**body, "evaluation_aggregates": found.get(body["config"]["id"], [])} for body in bodies
    ]


def _newest(call: Call, config_ids: Sequence[str]) -> list[tuple[EvaluationEvaluator, str]]:
    """Return evaluators' parts in the newest evaluations of configs, each with the config's id."""
    owner = call.account.organization_id
    number = func.row_number().over(
        partition_by=(Evaluation.config_id, EvaluationEvaluator.evaluator_id),
        order_by=(Evaluation.created_at.desc(), Evaluation.id),
    )
    keys = (
        select(
            EvaluationEvaluator.evaluation_id,
            EvaluationEvaluator.evaluator_id,
            Evaluation.config_id,
            number.label("number"),
        )
        .join(Evaluation, Evaluation.id == EvaluationEvaluator.evaluation_id)
        .where(
            Evaluation.organization_id == owner,
            EvaluationEvaluator.organization_id == owner,
            Evaluation.config_id.in_(config_ids),
            Evaluation.status.in_(ENDED),
        )
        .subquery()
        .c
    )
    statement = (
        select(EvaluationEvaluator, keys.config_id)
        .join(keys.number.table, keys.evaluation_id == EvaluationEvaluator.evaluation_id)
        .where(
            EvaluationEvaluator.organization_id == owner,
            EvaluationEvaluator.evaluator_id == keys.evaluator_id,
            keys.number == 1,
        )
        .order_by(EvaluationEvaluator.row)
    )
    return [(part, config_id) for part, config_id in call.session.execute(statement)]
