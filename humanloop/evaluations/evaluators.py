"""The evaluators of a run: functions of the user's own, and the server's, by their source.

A function runs in this process. The source of one of the server's is somebody else's code, so it
runs where the embedded server runs it, in the sandbox of the room `humanloop.server.evaluation`.
That one is imported by its name and only when it is used, since it needs the extras `server` and
`evaluators`.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from decimal import Decimal
from importlib import import_module
from typing import Any

from humanloop.apis.operations import EVALUATORS_LIST
from humanloop.evaluations.arguments import check_name
from humanloop.evaluations.report import Score
from humanloop.evaluations.steps import Call, Flow
from humanloop.exceptions import ApiTypeError, ApiValueError, UnprocessableEntityError
from humanloop.extras import how_to_install
from humanloop.secrets import did_you_mean

Functions = Sequence[Callable[..., Any]] | Mapping[str, Callable[..., Any]]


@dataclass(frozen=True)
class Evaluator:
    """An evaluator as the flow of a run calls it.

    with_testcase: beside the log; id: of one of the server's.
    """

    name: str
    function: Callable[..., Any]
    with_testcase: bool
    id: str = ""


class EvaluatorError(Exception):
    """The evaluator has no score; the text says why, by itself."""


def score_of(value: Any) -> Score:
    """Return the score that an evaluator's value is.

    Raises TypeError, ValueError or OverflowError if it is none.

    Decimals, and the numbers and booleans of NumPy and of models are such values, too.
    """
    from humanloop.schemas import to_primitive

    if (isinstance(value, float) and not math.isfinite(value)) or (
        isinstance(value, Decimal) and not value.is_finite()
    ):
        raise ValueError(f"the evaluator must return a finite number, not {value}")
    score = to_primitive(value)
    if isinstance(score, (int, float, Decimal)):
        if not _fits_float(score):
            raise OverflowError("the evaluator returned a number that is too large")
        return float(score) if isinstance(score, Decimal) else score
    wanted = "a boolean or a number"
    raise TypeError(f"the evaluator must return {wanted}, not {type(value).__name__}")


def _fits_float(number: float | Decimal) -> bool:
    try:
        return math.isfinite(float(number))
    except OverflowError:  # of an integer; Decimals become infinite
        return False


def of_functions(functions: Functions) -> list[Evaluator]:
    """Return the evaluators that some functions are, each with a name of its own."""
    if isinstance(functions, Mapping):
        named = list(functions.items())
    else:
        named = [(name_of(function), function) for function in functions]
    return [Evaluator(name, function, _takes_two(function)) for name, function in named]


def name_of(function: Callable[..., Any]) -> str:
    """Return the name of a function, or of the class of an object that can be called."""
    inner: Any = getattr(function, "func", function)  # of a partial
    return str(getattr(inner, "__name__", type(inner).__name__))


def _takes_two(function: Callable[..., Any]) -> bool:
    """Return whether a function is called with (log, testcase), else with (log)."""
    if not callable(function):
        raise ApiTypeError(f"an evaluator must be a function, not {type(function).__name__}")
    try:
        signature = inspect.signature(function)
    except ValueError:  # of some functions that are written in C
        return False
    for count in (2, 1):
        try:
            signature.bind(*range(count))
        except TypeError:
            continue
        return count == 2
    wanted = "(log) or (log, testcase)"
    raise ApiTypeError(f"the evaluator {name_of(function)}{signature} must take {wanted}")


def engine(needed: bool) -> Any:
    """Return a context manager that holds the sandbox, and closes it; None if it isn't needed.

    Raises ImportError where an extra is missing.
    """
    return _open_engine() if needed else nullcontext()


@contextmanager
def _open_engine() -> Generator[Any, None, None]:
    # By name, so that what freezes programs does not take the whole server along.
    opened = import_module("humanloop.server.evaluation.engines").open_engine()
    try:
        yield opened
    finally:
        opened.close()


def of_server(ids: Sequence[str], engine: Any) -> Flow[list[Evaluator]]:
    """Return the flow that finds the server's evaluators with some ids."""
    if not ids:
        return []
    listed: Sequence[Mapping[str, Any]]
    listed = (yield Call(EVALUATORS_LIST, {}, {"bodies": "plain"})).body
    known = {str(each["id"]): each for each in listed}
    for each in ids:
        if each not in known:
            raise ApiValueError(f"there is no evaluator {each!r}{did_you_mean(each, known)}")
    return [_of_source(known[each], engine) for each in dict.fromkeys(ids)]


def _of_source(evaluator: Mapping[str, Any], engine: Any) -> Evaluator:
    contract = import_module("humanloop.server.evaluation.engine")
    code, returns = evaluator["code"], evaluator["return_type"]
    with_testcase = evaluator["arguments_type"] == "target_required"
    try:
        engine.check(code, with_testcase=with_testcase)
    except contract.EngineNotInstalled as error:
        raise ImportError(
            "to run the server's evaluators on outputs of your own,"
            f" {how_to_install('server,evaluators')}"
        ) from error

    def run(log: Mapping[str, Any], testcase: Mapping[str, Any] | None = None) -> Any:
        if with_testcase and (testcase is None or testcase.get("target") is None):
            raise EvaluatorError("Not evaluated: it needs a target, which the testcase lacks.")
        outcome = engine.run(code, log, testcase, returns=returns)
        if isinstance(outcome, contract.Failure):
            raise EvaluatorError(outcome.text)
        return outcome

    return Evaluator(str(evaluator["name"]), run, with_testcase, str(evaluator["id"]))


def tell_how_to_rename(evaluators: Sequence[Evaluator], error: UnprocessableEntityError) -> None:
    """Raise ApiValueError if the error refuses the name of one of the server's evaluators."""
    for each in evaluators:
        if f"the class of {each.name!r} is" in str(error):
            rename = f"client.evaluators.update(id={each.id!r}, name={f'{each.name} score'!r})"
            raise ApiValueError(
                f"the project has another kind of feedback called {each.name!r}, so it can't keep"
                f" the scores of the evaluator {each.id} by this name: rename it, as in {rename}"
            ) from error


def check_names(evaluators: Sequence[Evaluator]) -> None:
    """Raise ApiValueError for two evaluators of one name, and for a name that can't be one."""
    names = [each.name for each in evaluators]
    for name in names:
        check_name(name)
        if names.count(name) > 1:
            raise ApiValueError(
                f"two evaluators are called {name!r}: give functions by names of their own, as in"
                " evaluators={'name': function}"
            )
