"""Feedback on logs: submitted, replaced and unset.

A select or number type holds one value on a log, a multi_select a set of values, and every text
is kept. A label that its type does not offer yet is added to it with the sentiment `unset`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from typing import Any

from sqlalchemy.orm import Session

from humanloop import schemas
from humanloop.server.errors import Location, invalid
from humanloop.server.operations import feedback_types, lookups
from humanloop.server.operations.calls import MAX_DIGITS, Call, plain
from humanloop.server.store.tables import Annotation, FeedbackKind, Log
from humanloop.server.store.times import created_at

_NUMBER = re.compile(rf"-?(0|[1-9][0-9]{{0,{MAX_DIGITS - 1}}})(\.[0-9]+)?([eE][+-]?[0-9]+)?")


def add(session: Session, log: Log, request: Mapping[str, Any], location: Location) -> Annotation:
    """Put the requested value on the log, under its type's rule."""
    feedback_type = feedback_types.find(
        session, log.project_id, request["type"], (*location, "type")
    )
    value = _value(feedback_type, request, location)
    held = [each for each in log.feedback if each.feedback_type is feedback_type]
    if feedback_type.feedback_class == "multi_select":
        for each in held:
            if each.value == value:
                return each
    elif feedback_type.feedback_class != "text":
        for each in held:
            log.feedback.remove(each)
    if feedback_type.feedback_class in feedback_types.LABEL_CLASSES:
        feedback_types.set_label(feedback_type, value)
    feedback = Annotation(
        feedback_type=feedback_type,
        value=value,
        user=request.get("user"),
        created_at=created_at(request, location),
    )
    log.feedback.append(feedback)
    return feedback


def _value(feedback_type: FeedbackKind, request: Mapping[str, Any], location: Location) -> str:
    value = request.get("value")
    if value is None:
        message = f"`value` is needed to give {feedback_type.type!r} feedback"
        raise invalid((*location, "value"), message, "required")
    text = value if isinstance(value, str) else schemas.to_json(value)
    if feedback_type.feedback_class == "number" and not _is_number(text):
        message = f"{feedback_type.type!r} feedback is a number, {text[:40]!r} can't be one"
        raise invalid((*location, "value"), message, "type")
    return text


def _is_number(text: str) -> bool:
    """Tell whether the text is a JSON number (RFC 8259, section 6) that a Decimal can hold."""
    try:
        return _NUMBER.fullmatch(text) is not None and Decimal(text).is_finite()
    except InvalidOperation:
        return False


def unset(
    session: Session, log: Log, request: Mapping[str, Any], location: Location
) -> dict[str, Any]:
    """Take feedback off the log; the answer is the last that was taken off.

    Without a value all of the type goes, which a multi_select does not allow.
    """
    feedback_type = feedback_types.find(
        session, log.project_id, request["type"], (*location, "type")
    )
    value = request.get("value")
    if value is None and feedback_type.feedback_class == "multi_select":
        message = f"`value` is needed to unset one of the {feedback_type.type!r} labels"
        raise invalid((*location, "value"), message, "required")
    held = [
        each
        for each in log.feedback
        if each.feedback_type is feedback_type and value in {None, each.value}
    ]
    if not held:
        which = feedback_type.type if value is None else f"{feedback_type.type}: {value}"
        raise invalid((*location, "unset"), f"{log.id!r} has no feedback {which!r} to unset")
    answer = describe_with_id(held[-1])
    for each in held:
        log.feedback.remove(each)
    session.flush()
    return answer


def describe(feedback: Annotation) -> dict[str, Any]:
    """Return a Feedback."""
    numeric = feedback.feedback_type.feedback_class == "number"
    return plain(
        feedback,
        "created_at",
        "user",
        type=feedback.feedback_type.type,
        value=Decimal(feedback.value) if numeric else feedback.value,
        data_id=feedback.log_id,
    )


def describe_with_id(feedback: Annotation) -> dict[str, Any]:
    """Return a FeedbackResponse."""
    return {"id": feedback.id, **describe(feedback)}


def submit(call: Call) -> Any:
    """Submit one feedback or an array of them, all or none."""

    def run(request: Mapping[str, Any], location: Location) -> dict[str, Any]:
        log = _find_log(call, request.get("data_id"), (*location, "data_id"))
        if request.get("unset", False):
            return unset(call.session, log, request, location)
        added = add(call.session, log, request, location)
        call.session.flush()
        return describe_with_id(added)

    return call.each(run)


def _find_log(call: Call, log_id: str | None, location: Location) -> Log:
    if log_id is None:
        raise invalid(
            location, "`data_id` is needed: the datapoint that the feedback is on", "required"
        )
    return lookups.find(call, Log, log_id, "datapoint", location)
