"""Run an evaluation here: a function of the user's own produces an output for each testcase.

Each output is logged as a datapoint of the testset's project. The evaluators judge that log, and
their scores are kept on it as feedback, so that they are found where all judgements are. The
project gets a feedback type of the class `number` for each evaluator; true is 1, false is 0.
"""

from __future__ import annotations

import copy
import inspect
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any, cast

from humanloop.apis.operations import (
    FEEDBACK_FEEDBACK,
    LOGS_LOG,
    PROJECTS_UPDATE_FEEDBACK_TYPES,
    TESTSETS_GET,
    TESTSETS_LIST_TESTCASES,
)
from humanloop.evaluations import evaluators as judges
from humanloop.evaluations.arguments import INTEGER, MAPPING, TEXT, check, check_list
from humanloop.evaluations.reading import Baseline, all_records, baseline_of
from humanloop.evaluations.report import EvaluationReport, EvaluationRow, Score
from humanloop.evaluations.steps import PLAIN, Call, Each, Flow, Invoke
from humanloop.exceptions import (
    ApiException,
    ApiTypeError,
    ApiValueError,
    SchemaValidationError,
    UnprocessableEntityError,
)
from humanloop.progress import Bar
from humanloop.secrets import mask_keys, shorten

if TYPE_CHECKING:
    pass

SOURCE = "evaluation"
"""The `source` of the logs, as that of those which the embedded server generates."""

_ERROR_LIMIT = 2000  # characters
_LOG_KEYS = frozenset(
    ("output", "error", "duration", "metadata", "reference_id", "session_id", "parent_id")
)
"""The keys of a log that a function may return beside `output`."""

_REFUSALS = (SchemaValidationError, ApiTypeError, ApiValueError, ApiException)
_REFUSED = frozenset((400, 404, 409, 413, 422))
"""The errors that a log's content may cause, and the statuses of those that came back."""


@dataclass(frozen=True)
class Options:
    """The options of a run; see `EvaluationHelpers.run`."""

    testset_id: str
    evaluators: judges.Functions
    evaluator_ids: Sequence[str]
    config: Mapping[str, Any] | None
    workers: int
    baseline: Baseline
    name: str | None
    progress: bool


def running(function: Callable[..., Any], options: Options) -> Flow[EvaluationReport]:
    """Return the flow of a run; raises what is wrong with its arguments at once."""
    _check(options)
    if options.workers < 1:
        raise ApiValueError(f"evaluations.run(): workers must be 1 or more, not {options.workers}")
    subject = Subject(function)
    own = judges.of_functions(options.evaluators)
    return _running(subject, own, options)


def _check(options: Options) -> None:
    """Raise ApiTypeError for an argument of the wrong type."""
    check("run", "testset_id", options.testset_id, TEXT)
    check_list("run", "evaluators", options.evaluators, "functions, or a mapping of names to them")
    check_list("run", "evaluator_ids", options.evaluator_ids, "IDs")
    for each in options.evaluator_ids:
        check("run", "each of evaluator_ids", each, TEXT)
    if options.config is not None:
        check("run", "config", options.config, MAPPING)
    check("run", "workers", options.workers, INTEGER)
    if options.name is not None:
        check("run", "name", options.name, TEXT)


def _running(
    subject: Subject, own: Sequence[judges.Evaluator], options: Options
) -> Flow[EvaluationReport]:
    started = time.monotonic()
    name = options.name or subject.name
    baseline = yield from baseline_of("run", options.baseline)
    with judges.engine(bool(options.evaluator_ids)) as engine:
        of_server = yield from judges.of_server(options.evaluator_ids, engine)
        evaluators = [*own, *of_server]
        judges.check_names(evaluators)
        arguments = {"id": options.testset_id}
        testset: Mapping[str, Any] = (yield Call(TESTSETS_GET, arguments, PLAIN)).body
        cases = yield from all_records(TESTSETS_LIST_TESTCASES, {"testset_id": options.testset_id})
        if not cases:
            raise ApiValueError(f"the testset {options.testset_id} has no testcases")
        try:
            yield from keep_scores(testset["project_id"], [each.name for each in evaluators])
        except UnprocessableEntityError as error:
            judges.tell_how_to_rename(of_server, error)
            raise
        row = _Rows(subject, evaluators, testset, options.config or subject.config, name)
        bar = Bar(name, "testcases", options.progress)
        try:
            flows = [row.flow(case) for case in cases]
            rows: Sequence[EvaluationRow] = yield Each(
                flows, options.workers, lambda done: bar.show(done, len(flows))
            )
        finally:
            bar.close()
    return EvaluationReport(
        name,
        testset["name"],
        [each.name for each in evaluators],
        rows,
        seconds=time.monotonic() - started,
        baseline=baseline,
    )


class Subject:
    """The function that is evaluated: how it is called, and what a log says of it.

    It is called with the inputs, by position. A parameter named `messages` gets the messages, and
    so does a second one that has no default.
    """

    def __init__(self, function: Callable[..., Any]) -> None:
        if not callable(function):
            raise ApiTypeError(f"expected a function to evaluate, got {type(function).__name__}")
        self.function = function
        self.name = judges.name_of(function)
        self._second, self._named = False, False
        try:
            signature = inspect.signature(function)
        except ValueError:  # of some functions that are written in C
            return
        parameters = signature.parameters
        self._named = "messages" in parameters and next(iter(parameters)) != "messages"
        self._second = not self._named and not _fits(signature, 1) and _fits(signature, 2)
        if not _fits(signature, 1 + self._second, messages=self._named):
            wanted = "(inputs) or (inputs, messages)"
            raise ApiTypeError(f"the function {self.name}{signature} must take {wanted}")

    @property
    def config(self) -> Mapping[str, Any]:
        """Return the config of its logs, which its place in the code tells from others."""
        inner: Any = getattr(self.function, "func", self.function)
        place = getattr(inner, "__qualname__", type(inner).__qualname__)
        module = getattr(inner, "__module__", None)
        return config_of(self.name, f"{module}.{place}" if module else str(place))

    def invoke(self, inputs: Any, messages: Any) -> Invoke:
        """Return the step that calls it, with copies."""
        inputs, messages = copy.deepcopy(inputs), copy.deepcopy(messages)
        if self._named:
            return Invoke(self.function, [inputs], {"messages": messages})
        return Invoke(self.function, [inputs, messages] if self._second else [inputs])


def config_of(name: str, place: str) -> Mapping[str, Any]:
    """Return a config for code that produces outputs; place: what tells it from other code."""
    return {"type": "generic", "name": name, "other": {"function": place}}


def _fits(signature: inspect.Signature, count: int, messages: bool = False) -> bool:
    try:
        signature.bind(*range(count), **({"messages": ()} if messages else {}))
    except TypeError:
        return False
    return True


@dataclass(frozen=True)
class _Rows:
    """Makes the row of each testcase."""

    subject: Subject
    evaluators: Sequence[judges.Evaluator]
    testset: Mapping[str, Any]
    config: Mapping[str, Any]
    name: str

    def flow(self, case: Mapping[str, Any]) -> Flow[EvaluationRow]:
        """Return the flow that produces an output, logs it, and lets the evaluators judge it."""
        inputs = case.get("inputs", {})
        messages = case.get("messages", [])
        begun = time.monotonic()
        produced: dict[str, Any]
        try:
            produced = log_keys((yield self.subject.invoke(inputs, messages)))
        except Exception as error:
            produced = {"error": error_text(error)}
        produced.setdefault("duration", time.monotonic() - begun)
        request = log_request(self.testset, case, self.config, self.name, produced)
        try:
            log_id = yield from logged(request)
        except _REFUSALS as error:
            if isinstance(error, ApiException) and error.status not in _REFUSED:
                raise
            # Of this output alone if its error can be logged; else that ends the run.
            produced = {"error": error_text(error), "duration": time.monotonic() - begun}
            request = log_request(self.testset, case, self.config, self.name, produced)
            log_id = yield from logged(request)
        scores, errors = yield from self._judge(log_id, request, case)
        yield from send_scores(log_id, scores)
        return EvaluationRow(
            case["id"],
            inputs,
            messages,
            case.get("target"),
            request.get("output"),
            request.get("error"),
            request["duration"],
            log_id,
            scores,
            errors,
        )

    def _judge(
        self, log_id: str, request: Mapping[str, Any], case: Mapping[str, Any]
    ) -> Flow[tuple[Mapping[str, Score], Mapping[str, str]]]:
        """Return the scores, and why there is none, by the evaluators' names."""
        if (reason := request.get("error")) is not None:
            text = f"Not evaluated, since there is no output: {reason}"
            return {}, {each.name: text for each in self.evaluators}
        log: dict[str, Any] = {
            "id": log_id,
            "model_config": request["config"],
            "inputs": request["inputs"],
            "output": request["output"],
            "provider_latency": request["duration"],
            "metadata": request["metadata"],
            "created_at": request["created_at"],
            "feedback": [],
        }
        testcase = {key: case.get(key) for key in ("id", "inputs", "messages", "target")}
        scores: dict[str, Score] = {}
        errors: dict[str, str] = {}
        for each in self.evaluators:
            given = copy.deepcopy([log, testcase] if each.with_testcase else [log])
            try:
                scores[each.name] = judges.score_of((yield Invoke(each.function, given)))
            except Exception as error:
                errors[each.name] = error_text(error)
        return scores, errors


def log_request(
    testset: Mapping[str, Any],
    case: Mapping[str, Any],
    config: Mapping[str, Any],
    name: str,
    produced: Mapping[str, Any],
) -> dict[str, Any]:
    """Return the LogRequest for what was produced for a testcase; name: of the run."""
    metadata = {"evaluation": name, "testset_id": testset["id"], "testcase_id": case["id"]}
    messages = case.get("messages")
    return {
        "project_id": testset["project_id"],
        "config": config,
        "inputs": case.get("inputs", {}),
        "source": SOURCE,
        "created_at": datetime.now(timezone.utc).isoformat(),
        **({"messages": messages} if messages else {}),
        **produced,
        "metadata": {**metadata, **produced.get("metadata", {})},
    }


def log_keys(returned: Any) -> dict[str, Any]:
    """Return the keys of a log for what a function has returned.

    Text is the output; an object with `output` and other keys of a log is these; all else is an
    output as JSON text. Raises TypeError for None, and what `schemas.to_json` raises.
    """
    from humanloop.schemas import to_json, to_primitive

    if returned is None:
        raise TypeError("the function returned None in place of an output")
    if isinstance(returned, str):
        return {"output": str(returned)}
    if isinstance(returned, Mapping):
        keys = cast("Mapping[str, Any]", to_primitive(returned))
        if "output" in keys and keys.keys() <= _LOG_KEYS:
            output = keys["output"]
            found = {key: value for key, value in keys.items() if value is not None}
            if output is None and "error" not in found:
                raise TypeError("the function returned None in place of an output")
            if not isinstance(found.get("metadata", {}), dict):
                raise TypeError("the function returned `metadata` that is no object")
            if output is not None and not isinstance(output, str):
                found["output"] = to_json(output)
            return found
    return {"output": to_json(returned)}


def error_text(error: Exception) -> str:
    """Return an error as a log and a row tell of it."""
    own = isinstance(error, judges.EvaluatorError)
    text = str(error) if own else f"{type(error).__name__}: {error}"
    short = shorten(mask_keys(text), _ERROR_LIMIT)
    # A log holds no U+0000, and no half of a surrogate pair.
    return short.replace("\0", "\\x00").encode(errors="backslashreplace").decode()


def logged(request: Mapping[str, Any]) -> Flow[str]:
    """Log a LogRequest, and return the datapoint's id."""
    log_id: str = (yield Call(LOGS_LOG, {"body": request}, PLAIN)).body["id"]
    return log_id


def keep_scores(project_id: str, names: Sequence[str]) -> Flow[None]:
    """Let the project have a feedback type for numbers of each name.

    The API refuses, before anything is called, a name that it has for something else.
    """
    if names:
        body = [{"type": name, "class": "number"} for name in names]
        yield Call(PROJECTS_UPDATE_FEEDBACK_TYPES, {"id": project_id, "body": body}, PLAIN)


def send_scores(log_id: str, scores: Mapping[str, Score]) -> Flow[None]:
    """Keep scores as feedback on a log."""
    if scores:
        body = [
            {"type": name, "value": repr(score if not isinstance(score, bool) else int(score))}
            | {"data_id": log_id}
            for name, score in scores.items()
        ]
        # A number takes the place of an earlier one, so it may be sent twice.
        yield Call(FEEDBACK_FEEDBACK, {"body": body}, {**PLAIN, "idempotent": True})
