"""Evaluations: created and read. `evaluation_runs` works on them.

An evaluation keeps copies of everything it was created with: the testcases' versions, the testset
and the evaluators at that time. Later changes and deletions therefore do not affect it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from sqlalchemy import false, insert, literal, select
from sqlalchemy.orm import joinedload, subqueryload

from humanloop.server.errors import invalid
from humanloop.server.operations import (
    configs,
    evaluation_runs,
    evaluators,
    logs,
    lookups,
    prompts,
    scores,
    testcases,
    testsets,
)
from humanloop.server.operations.calls import Afterwards, Call, Page, chunks, paginate, plain
from humanloop.server.store import turns
from humanloop.server.store.tables import (
    Config,
    Evaluation,
    EvaluationEvaluator,
    EvaluationResult,
    EvaluationTestcase,
    Evaluator,
    Log,
    TestcaseVersion,
    Testset,
    is_complete,
)
from humanloop.server.store.tallies import table

_MOST_EVALUATORS = 100
_PORTION = 5  # testcases described at once, with their datapoints
_LOADED = (joinedload(Evaluation.config), subqueryload(Evaluation.evaluators))


def create(call: Call) -> Afterwards:
    """Create an evaluation; it starts after the commit."""
    turns.be_alone(call.session)
    body = call.body
    project = lookups.project(call, call.path["project_id"])
    find = partial(lookups.find_in_project, call.session)
    config = find(Config, project, body["config_id"], ("body", "config_id"))
    testset = find(Testset, project, body["testset_id"], ("body", "testset_id"))
    if not testset.testcase_count:
        message = f"the testset {testset.name!r} has no testcases"
        raise invalid(("body", "testset_id"), message, "minItems")
    evaluation_runs.check_config(call, config, testset, ("body", "config_id"))
    keys = _keys(call, config)
    evaluation = Evaluation(
        organization_id=project.organization_id,
        project_id=project.id,
        config_id=config.id,
        config=config,
        testset_id=testset.id,
        testset=testsets.describe(testset),
        status="pending",
        keys_owner=call.evaluating.worker_id if keys else None,
        evaluators=[
            EvaluationEvaluator(
                organization_id=project.organization_id,
                evaluator_id=each.id,
                evaluator=evaluators.describe(each),
            )
            for each in _evaluators(call)
        ],
    )
    call.session.add(evaluation)
    call.session.flush()
    _take_snapshot(call, evaluation)
    [answer] = _describe_all(call, [evaluation])
    return Afterwards(answer, partial(call.evaluating.begin, evaluation.id, keys))


def _evaluators(call: Call) -> list[Evaluator]:
    """Return the evaluators that the body names, each once."""
    ids: Sequence[str] = call.body["evaluator_ids"]
    if not ids:
        message = "expected at least one evaluator"
        raise invalid(("body", "evaluator_ids"), message, "minItems")
    if len(ids) > _MOST_EVALUATORS:
        message = f"got {len(ids)} evaluators, an evaluation has at most {_MOST_EVALUATORS}"
        raise invalid(("body", "evaluator_ids"), message, "maxItems")
    found = [
        lookups.find(call, Evaluator, each, "evaluator", ("body", "evaluator_ids", index))
        for index, each in enumerate(ids)
    ]
    return list(dict.fromkeys(found))


def _keys(call: Call, config: Config) -> Mapping[str, str]:
    """Return the provider keys in the body if one of them is for the config's provider."""
    given = prompts.strings(call.body.get("provider_api_keys", {}))
    provider = prompts.provider_of(call.settings, config, ("body", "config_id")).name
    if provider not in given:
        return {}
    if not call.settings.evaluation_workers:
        message = "this server does not run evaluations itself, so it can't use provider keys"
        raise invalid(("body", "provider_api_keys", provider), message)
    return given


def _take_snapshot(call: Call, evaluation: Evaluation) -> None:
    """Record the current versions of the testset's testcases, each as a job."""
    cases = table(EvaluationTestcase).c
    columns = {
        cases.organization_id: TestcaseVersion.organization_id,
        cases.evaluation_id: literal(evaluation.id),
        cases.testcase_id: TestcaseVersion.testcase_id,
        cases.row: TestcaseVersion.row,
        cases.version_id: TestcaseVersion.id,
        cases.stage: literal(evaluation_runs.GENERATE),
        cases.failed: false(),
    }
    current = select(*columns.values()).where(
        TestcaseVersion.organization_id == evaluation.organization_id,
        TestcaseVersion.testset_id == evaluation.testset_id,
    )
    names = [column.name for column in columns]
    call.connection.execute(insert(table(EvaluationTestcase)).from_select(names, current))


def get(call: Call) -> dict[str, Any]:
    """Return an evaluation."""
    [body] = _describe_all(call, [_of_path(call)])
    return body


def list_(call: Call) -> list[dict[str, Any]]:
    """Return a project's evaluations, newest first."""
    project = lookups.project(call, call.path["project_id"])
    statement = select(Evaluation).where(
        Evaluation.organization_id == project.organization_id,
        Evaluation.project_id == project.id,
    )
    newest = statement.order_by(Evaluation.created_at.desc(), Evaluation.id)
    return _describe_all(call, call.session.scalars(newest.options(*_LOADED)).all())


def _of_path(call: Call) -> Evaluation:
    return lookups.find(call, Evaluation, call.path["id"], "evaluation")


def _describe_all(call: Call, evaluations: Sequence[Evaluation]) -> list[dict[str, Any]]:
    """Return an EvaluationResponse for each."""
    current: dict[str, dict[str, Any]] = {}
    for some in chunks(list({each.testset_id for each in evaluations})):
        owned = Testset.organization_id == call.account.organization_id
        found = call.session.scalars(select(Testset).where(owned, Testset.id.in_(some)))
        current |= {testset.id: testsets.describe(testset) for testset in found}
    wanted = call.query.get("evaluator_aggregates", False)
    return [
        plain(
            each,
            "id",
            "status",
            "created_at",
            "updated_at",
            config=configs.describe(each.config),
            evaluators=[part.evaluator for part in each.evaluators],
            testset=current.get(each.testset_id, each.testset),
            testset_snapshot=each.testset,
            evaluator_aggregates=(
                scores.describe(call.session, each, each.evaluators) if wanted else None
            ),
        )
        for each in evaluations
    ]


def list_testcases(call: Call) -> Page:
    """Return a page of an evaluation's testcases, each with its results so far."""
    evaluation = _of_path(call)
    keys = (
        select(EvaluationTestcase.testcase_id)
        .where(
            EvaluationTestcase.organization_id == evaluation.organization_id,
            EvaluationTestcase.evaluation_id == evaluation.id,
        )
        .order_by(EvaluationTestcase.row, EvaluationTestcase.testcase_id)
    )

    describe_some = partial(_describe_cases, call, evaluation)
    total = int(evaluation.testset["testcase_count"])
    return paginate(call, keys, describe_some, first=1, portion=_PORTION, total=total)


def _describe_cases(
    call: Call, evaluation: Evaluation, testcase_ids: Sequence[str]
) -> list[dict[str, Any]]:
    """Return an EvaluationTestcaseSnapshotResponse for each."""
    owner = evaluation.organization_id
    cases = {
        each.testcase_id: each
        for each in call.session.scalars(
            select(EvaluationTestcase)
            .options(joinedload(EvaluationTestcase.version))
            .where(
                EvaluationTestcase.organization_id == owner,
                EvaluationTestcase.evaluation_id == evaluation.id,
                EvaluationTestcase.testcase_id.in_(testcase_ids),
            )
        )
    }
    results: dict[str, dict[str, dict[str, Any]]] = {}
    for each in call.session.scalars(
        select(EvaluationResult).where(
            EvaluationResult.organization_id == owner,
            EvaluationResult.evaluation_id == evaluation.id,
            EvaluationResult.testcase_id.in_(testcase_ids),
        )
    ):
        results.setdefault(each.testcase_id, {})[each.evaluator_id] = _describe_result(each)
    log_ids = [each.log_id for each in cases.values() if each.log_id is not None]
    owned = (Log.organization_id == owner, Log.id.in_(log_ids), is_complete())
    found = call.session.scalars(select(Log).options(*logs.LOADED).where(*owned))
    datapoints = {log.id: logs.describe(log) for log in found}
    return [
        {
            "testcase": testcases.describe(cases[each].version, evaluation.testset_id),
            "evaluation_results": [
                results[each][part.evaluator_id]
                for part in evaluation.evaluators
                if part.evaluator_id in results.get(each, {})
            ],
            **_datapoint(datapoints, cases[each].log_id),
        }
        for each in testcase_ids
    ]


def _datapoint(datapoints: Mapping[str, Any], log_id: str | None) -> dict[str, Any]:
    """Return a testcase's datapoint, if it was made and still exists."""
    found = None if log_id is None else datapoints.get(log_id)
    return {} if found is None else {"datapoint": found}


def _describe_result(result: EvaluationResult) -> dict[str, Any]:
    columns = ("id", "evaluation_id", "evaluator_id", "value", "error", "updated_at")
    return plain(result, *columns, project_data_id=result.log_id)
