"""Evaluators: Python source that judges datapoints, checked before it is kept.

The check runs the source's top level in the sandbox, so it may take as long as the engine's limits
allow; it runs before the transaction, in a separate thread.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import select

from humanloop.server.errors import Busy, Invalid, Problem, Unavailable, invalid
from humanloop.server.evaluation.engine import EngineNotInstalled, EngineUnavailable
from humanloop.server.operations import lookups
from humanloop.server.operations.calls import Call, Stage, Stages, plain
from humanloop.server.store import turns
from humanloop.server.store.tables import Evaluator
from humanloop.server.store.times import now

CONTENT = ("name", "description", "code", "arguments_type", "return_type")
_MAX_NAME = 255
_CHECKED = ("code", "arguments_type", "return_type")
"""The fields on which the source's check depends."""


def describe(evaluator: Evaluator) -> dict[str, Any]:
    """Return an EvaluatorResponse."""
    return plain(evaluator, "id", *CONTENT, "created_at", "updated_at")


def needs_target(evaluator: Mapping[str, Any]) -> bool:
    """Return whether an evaluator is called with the testcase beside the datapoint."""
    return bool(evaluator["arguments_type"] == "target_required")


def list_(call: Call) -> list[dict[str, Any]]:
    """Return the organisation's evaluators, newest first."""
    statement = select(Evaluator).where(Evaluator.organization_id == call.account.organization_id)
    rows = call.session.scalars(statement.order_by(Evaluator.created_at.desc(), Evaluator.id))
    return [describe(evaluator) for evaluator in rows]


def create(call: Call) -> Stages:
    """Create an evaluator whose source passes the check."""
    body, written = call.body, list[dict[str, Any]]()

    def check(call: Call) -> None:
        _check_name(call, body["name"])
        _check_source(call, body)

    def write(call: Call) -> None:
        turns.be_alone(call.session)
        _check_name(call, body["name"])
        values = {key: body[key] for key in CONTENT}
        evaluator = Evaluator(organization_id=call.account.organization_id, **values)
        call.session.add(evaluator)
        call.session.flush()
        written.append(describe(evaluator))

    return _checked(check, write, written)


def update(call: Call) -> Stages:
    """Change the given fields; evaluations that have begun keep their own copy."""
    checked: list[Mapping[str, Any]] = []
    written: list[dict[str, Any]] = []

    def wanted(call: Call) -> tuple[Evaluator, dict[str, Any]]:
        evaluator = _of_path(call)
        values = {key: call.body.get(key, getattr(evaluator, key)) for key in CONTENT}
        if values["name"] != evaluator.name:
            _check_name(call, values["name"])
        return evaluator, values

    def check(call: Call) -> None:
        evaluator, values = wanted(call)
        if any(values[key] != getattr(evaluator, key) for key in _CHECKED):
            _check_source(call, values)
        checked.append(values)

    def write(call: Call) -> None:
        turns.be_alone(call.session)
        evaluator, values = wanted(call)
        if any(values[key] != checked[0][key] for key in _CHECKED):
            raise Busy("The evaluator was changed by another request meanwhile.")
        for key, value in values.items():
            setattr(evaluator, key, value)
        evaluator.updated_at = now()
        call.session.flush()
        written.append(describe(evaluator))

    return _checked(check, write, written)


def _checked(check: Stage, write: Stage, written: Sequence[Mapping[str, Any]]) -> Stages:
    """Return the stages of a check and a write; the write appends its answer to `written`."""

    def done(_call: Call) -> None:
        """Do nothing, since everything is written."""

    return Stages(check, [write], lambda: written[-1], done, slow=True)


def delete(call: Call) -> None:
    """Delete an evaluator; evaluations keep their copies."""
    call.session.delete(_of_path(call))


def _of_path(call: Call) -> Evaluator:
    return lookups.find(call, Evaluator, call.path["id"], "evaluator")


def _check_name(call: Call, name: str) -> None:
    location = ("body", "name")
    if not name.strip():
        raise invalid(location, "an evaluator's name can't be empty", "minLength")
    if len(name) > _MAX_NAME:
        message = f"got {len(name)} characters, a name has at most {_MAX_NAME}"
        raise invalid(location, message, "maxLength")
    statement = select(Evaluator.id).where(
        Evaluator.organization_id == call.account.organization_id, Evaluator.name == name
    )
    if call.session.scalar(statement) is not None:
        raise invalid(location, f"there is already an evaluator named {name!r}", "unique")


def _check_source(call: Call, values: Mapping[str, Any]) -> None:
    location = ("body", "code")
    try:
        problems = call.evaluating.engine.check(
            values["code"], with_testcase=needs_target(values), returns=values["return_type"]
        )
    except EngineNotInstalled as error:
        raise invalid(location, str(error)) from error
    except EngineUnavailable as error:
        raise Unavailable(f"The evaluator can't be checked: {error}") from error
    if problems:
        raise Invalid([Problem(location, str(problem), "python") for problem in problems])
