"""The kinds of feedback that a project takes, and the labels that they offer.

Every project starts with rating, action, issue, correction and comment. A select holds one label
and a multi_select a set of them, each with a sentiment; text and number types offer no labels.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session, selectinload

from humanloop.server.errors import Location, invalid
from humanloop.server.operations.calls import plain
from humanloop.server.store.tables import FeedbackKind, FeedbackLabel, Project

LABEL_CLASSES = frozenset({"select", "multi_select"})
_DEFAULT_CLASSES = {
    "rating": "select",
    "action": "multi_select",
    "issue": "multi_select",
    "correction": "text",
    "comment": "text",
}
_DEFAULT_LABELS = {"rating": {"good": "positive", "bad": "negative"}}


def add_defaults(session: Session, project: Project) -> None:
    """Give a new project the types that every project has."""
    for name, feedback_class in _DEFAULT_CLASSES.items():
        feedback_type = FeedbackKind(
            project_id=project.id, type=name, feedback_class=feedback_class
        )
        for value, sentiment in _DEFAULT_LABELS.get(name, {}).items():
            feedback_type.labels.append(FeedbackLabel(value=value, sentiment=sentiment))
        session.add(feedback_type)
    session.flush()


def of_project(session: Session, project_id: str) -> list[FeedbackKind]:
    """Return a project's types with their labels, oldest first."""
    statement = (
        select(FeedbackKind)
        .where(FeedbackKind.project_id == project_id)
        .order_by(FeedbackKind.id)
        .options(selectinload(FeedbackKind.labels))
    )
    return list(session.scalars(statement))


def find(session: Session, project_id: str, name: str, location: Location) -> FeedbackKind:
    """Return the project's type of that name, which a body named at `location`."""
    statement = select(FeedbackKind).where(
        FeedbackKind.project_id == project_id, FeedbackKind.type == name
    )
    found = session.scalar(statement)
    if found is not None:
        return found
    names = ", ".join(repr(each.type) for each in of_project(session, project_id))
    raise invalid(
        location, f"{name!r} is not a feedback type of this project, which has {names}", "enum"
    )


def upsert(
    session: Session, project: Project, request: Mapping[str, Any], location: Location
) -> FeedbackKind:
    """Create the requested type, or add to the known one the labels that it lacks.

    A sentiment that is given replaces the label's own; a type's class never changes.
    """
    name, feedback_class = request["type"], request.get("class")
    known = {each.type: each for each in of_project(session, project.id)}
    feedback_type = known.get(name)
    if feedback_type is None:
        feedback_type = FeedbackKind(
            project_id=project.id, type=name, feedback_class=feedback_class or "select"
        )
        session.add(feedback_type)
    elif feedback_class not in {None, feedback_type.feedback_class}:
        message = f"the class of {name!r} is {feedback_type.feedback_class!r} and can't change"
        raise invalid((*location, "class"), message, "enum")
    labels = request.get("values", ())
    if labels and feedback_type.feedback_class not in LABEL_CLASSES:
        message = f"feedback of class {feedback_type.feedback_class!r} has no labels"
        raise invalid((*location, "values"), message)
    for label in labels:
        set_label(feedback_type, label["value"], label.get("sentiment"))
    session.flush()
    return feedback_type


def set_label(feedback_type: FeedbackKind, value: str, sentiment: str | None = None) -> None:
    """Add a label to the type if it is not there, and set its sentiment if one is given."""
    for label in feedback_type.labels:
        if label.value == value:
            label.sentiment = sentiment or label.sentiment
            return
    feedback_type.labels.append(FeedbackLabel(value=value, sentiment=sentiment or "unset"))


def set_positive_labels(
    session: Session, project: Project, wanted: Sequence[Mapping[str, Any]], location: Location
) -> None:
    """Make exactly the wanted labels positive; those that were and are not wanted become unset."""
    for feedback_type in of_project(session, project.id):
        for label in feedback_type.labels:
            if label.sentiment == "positive":
                label.sentiment = "unset"
    for index, each in enumerate(wanted):
        feedback_type = find_labelled(session, project.id, each["type"], (*location, index, "type"))
        set_label(feedback_type, each["value"], "positive")


def find_labelled(session: Session, project_id: str, name: str, location: Location) -> FeedbackKind:
    """Return the type as `find` does, if it has labels."""
    feedback_type = find(session, project_id, name, location)
    if feedback_type.feedback_class not in LABEL_CLASSES:
        message = f"{name!r} is feedback of class {feedback_type.feedback_class!r}, without labels"
        raise invalid(location, message)
    return feedback_type


def describe(feedback_type: FeedbackKind) -> dict[str, Any]:
    """Return a FeedbackTypeModel; `values` only where the type has labels."""
    body: dict[str, Any] = {"type": feedback_type.type}
    if feedback_type.feedback_class in LABEL_CLASSES:
        body["values"] = [plain(label, "value", "sentiment") for label in feedback_type.labels]
    return body


def describe_all(types: Iterable[FeedbackKind]) -> list[dict[str, Any]]:
    """Return FeedbackTypes."""
    return [describe(feedback_type) for feedback_type in types]
