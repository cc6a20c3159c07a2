"""Read an evaluation of the server, whether it has ended or still runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from humanloop.apis.operations import EVALUATIONS_GET, EVALUATIONS_LIST_TESTCASES
from humanloop.evaluations.arguments import TEXT, check
from humanloop.evaluations.report import EvaluationReport, EvaluationRow
from humanloop.evaluations.steps import PLAIN, Call, Flow
from humanloop.pagination import Pages

if TYPE_CHECKING:
    from humanloop.operation import Operation

_SIZE = 100


def all_records(
    operation: Operation, arguments: Mapping[str, Any]
) -> Flow[list[Mapping[str, Any]]]:
    """Return the flow that reads the records of all pages."""
    first = next(each for each in operation.parameters if each.name == "page")
    pages = Pages(int(first.schema["default"]), size=_SIZE)
    records: list[Mapping[str, Any]] = []
    while pages.next is not None:
        page = {"page": pages.next, "size": pages.size}
        answer = yield Call(operation, {**arguments, **page}, PLAIN)
        records += pages.take(answer.body)
    return records


Baseline = EvaluationReport | Mapping[str, Any] | str | None
"""The baseline of a report: another report, an evaluation of the server, or its ID."""


def baseline_of(method: str, baseline: Baseline) -> Flow[EvaluationReport | None]:
    """Return the flow that reads a baseline; method: the caller, for messages."""
    if baseline is None or isinstance(baseline, EvaluationReport):
        return baseline
    id = baseline.get("id") if isinstance(baseline, Mapping) else baseline
    wanted = "an EvaluationReport, an evaluation of the server, or the ID of one"
    check(method, "baseline", baseline if id is None else id, (str, wanted))
    return (yield from report_of(str(id)))


def report_of(id: str, baseline: Baseline = None) -> Flow[EvaluationReport]:
    """Return the flow that reads an evaluation and its baseline."""
    check("summarize", "id", id, TEXT)
    compared = yield from baseline_of("summarize", baseline)
    evaluation: Mapping[str, Any] = (yield Call(EVALUATIONS_GET, {"id": id}, PLAIN)).body
    cases = yield from all_records(EVALUATIONS_LIST_TESTCASES, {"id": id})
    names = _names(evaluation["evaluators"])
    config: Mapping[str, Any] = evaluation["config"]
    testset: Mapping[str, Any] = evaluation.get("testset_snapshot") or evaluation["testset"]
    return EvaluationReport(
        _config_name(config),
        testset["name"],
        list(names.values()),
        [_row(case, names) for case in cases],
        evaluation_id=id,
        status=evaluation["status"],
        baseline=compared,
        config_id=config["id"],
    )


def _config_name(config: Mapping[str, Any]) -> str:
    """Return a config's name, with the id if it is only the model's."""
    name, id = config.get("name"), str(config["id"])
    if not name:
        return id
    return f"{name} ({id})" if name == config.get("model") else str(name)


def _names(evaluators: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """Return the name of each evaluator by its id, with the id where several have that name."""
    names = [each["name"] for each in evaluators]
    return {
        each["id"]: each["name"]
        if names.count(each["name"]) == 1
        else f"{each['name']} {each['id']}"
        for each in evaluators
    }


def _row(case: Mapping[str, Any], names: Mapping[str, str]) -> EvaluationRow:
    testcase: Mapping[str, Any] = case["testcase"]
    datapoint: Mapping[str, Any] = case.get("datapoint", {})
    results: Sequence[Mapping[str, Any]] = case["evaluation_results"]
    row = EvaluationRow(testcase["id"], testcase.get("inputs", {}), testcase.get("messages", ()))
    return replace(
        row,
        target=testcase.get("target"),
        output=datapoint.get("output"),
        error=datapoint.get("error"),
        duration=datapoint.get("duration"),
        log_id=datapoint.get("id"),
        scores={names[each["evaluator_id"]]: each["value"] for each in results if "value" in each},
        errors={names[each["evaluator_id"]]: each["error"] for each in results if "error" in each},
    )
