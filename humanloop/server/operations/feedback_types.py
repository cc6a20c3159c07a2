"""The feedback types of a project, and the labels that they offer.

Every project starts with rating, action, issue, correction and comment. A select holds one label
and a multi_select a set of labels, each with a sentiment; text and number types offer no labels.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from sqlalchemy import Connection, select
from sqlalchemy.orm import Session, subqueryload

from humanloop.secrets import CANDIDATES, did_you_mean
from humanloop.server.errors import Location, invalid
from humanloop.server.operations.calls import chunks, plain
from humanloop.server.store import turns
from humanloop.server.store.tables import LABEL_CLASSES, FeedbackKind, FeedbackLabel, Project

_DEFAULT_CLASSES = {
    "rating": "select",
    "action": "multi_select",
    "issue": "multi_select",
    "correction": "text",
    "comment": "text",
}
_SHOWN_LABELS = 10  # labels shown in a message
_DEFAULT_LABELS = {"rating": {"good": "positive", "bad": "negative"}}


def add_defaults(session: Session, project: Project) -> None:
    """Add the default types to a new project."""
    for name, feedback_class in _DEFAULT_CLASSES.items():
        feedback_type = _new_type(project, name, feedback_class)
        for value, sentiment in _DEFAULT_LABELS.get(name, {}).items():
            _add_label(feedback_type, value, sentiment)
        session.add(feedback_type)
    session.flush()


def _new_type(project: Project, name: str, feedback_class: str) -> FeedbackKind:
    return FeedbackKind(
        organization_id=project.organization_id,
        project_id=project.id,
        type=name,
        feedback_class=feedback_class,
    )


def _add_label(feedback_type: FeedbackKind, value: str, sentiment: str) -> FeedbackLabel:
    organization_id = feedback_type.organization_id
    label = FeedbackLabel(organization_id=organization_id, value=value, sentiment=sentiment)
    feedback_type.labels.append(label)
    return label


def of_projects(
    session: Session, organization_id: str, ids: Sequence[str]
) -> dict[str, list[FeedbackKind]]:
    """Return the types of each project with their labels, oldest first."""
    statement = (
        select(FeedbackKind)
        .where(FeedbackKind.organization_id == organization_id, FeedbackKind.project_id.in_(ids))
        .order_by(FeedbackKind.row)
        .options(subqueryload(FeedbackKind.labels))
    )
    found: dict[str, list[FeedbackKind]] = {project_id: [] for project_id in ids}
    for each in session.scalars(statement):
        found[each.project_id].append(each)
    return found


class Kind(NamedTuple):
    """The parts of a feedback type that feedback needs; `id` is None if it is not created yet."""

    id: int | None
    type: str
    feedback_class: str


DEFAULT_KINDS = [
    Kind(None, name, feedback_class) for name, feedback_class in _DEFAULT_CLASSES.items()
]


def kinds(connection: Connection, organization_id: str, project_id: str) -> list[Kind]:
    """Return a project's types, oldest first."""
    columns = (FeedbackKind.id, FeedbackKind.type, FeedbackKind.feedback_class)
    statement = select(*columns).where(
        FeedbackKind.organization_id == organization_id, FeedbackKind.project_id == project_id
    )
    return [Kind(*row) for row in connection.execute(statement.order_by(FeedbackKind.row))]


def find_kind(known: Sequence[Kind], name: str, location: Location) -> Kind:
    """Return the type of that name, which a body named at `location`."""
    for kind in known:
        if kind.type == name:
            return kind
    names = ", ".join(repr(kind.type) for kind in known)
    message = f"{name!r} is not a feedback type of this project; its types: {names}"
    likely = did_you_mean(name, (kind.type for kind in known))
    raise invalid(location, message + likely, "enum")


def check_labels(
    session: Session,
    organization_id: str,
    wanted: Sequence[tuple[Kind, str]],
    location: Location,
) -> None:
    """Raise Invalid for a label that a project's type lacks; the text suggests a similar one.

    location: the place of the array of the labels, which are objects with a `type` and a `value`.
    """
    owned = FeedbackLabel.organization_id == organization_id
    values: dict[int | None, list[str]] = {}
    for index, (kind, value) in enumerate(wanted):
        check_has_labels(kind, (*location, index, "type"))
        values.setdefault(kind.id, []).append(value)
    found = {
        (kind_id, value)
        for kind_id, of_kind in values.items()
        for some in chunks(list(dict.fromkeys(of_kind)))
        for value in session.scalars(
            select(FeedbackLabel.value).where(
                owned, FeedbackLabel.feedback_type_id == kind_id, FeedbackLabel.value.in_(some)
            )
        )
    }
    for index, (kind, value) in enumerate(wanted):
        if (kind.id, value) not in found:
            labels = select(FeedbackLabel.value).where(
                owned, FeedbackLabel.feedback_type_id == kind.id
            )
            known = session.scalars(labels.order_by(FeedbackLabel.row).limit(CANDIDATES)).all()
            shown = ", ".join(map(repr, known[:_SHOWN_LABELS])) or "none"
            more = ", ..." if len(known) > _SHOWN_LABELS else ""
            message = f"{value!r} is not a label of {kind.type!r}; its labels: {shown}{more}"
            place = (*location, index, "value")
            raise invalid(place, message + did_you_mean(value, known), "enum")


def check_has_labels(kind: Kind, location: Location) -> None:
    """Raise Invalid for a type without labels."""
    if kind.feedback_class not in LABEL_CLASSES:
        described = f"feedback of class {kind.feedback_class!r}, which has no labels"
        raise invalid(location, f"{kind.type!r} is {described}")


class Labels:
    """The labels of a project's types, to be added and changed."""

    def __init__(self, session: Session, project: Project) -> None:
        turns.be_alone(session)
        self._session = session
        self._project = project
        found = of_projects(session, project.organization_id, [project.id])
        self.types = {each.type: each for each in found[project.id]}
        self._labels = {
            (each.type, label.value): label for each in self.types.values() for label in each.labels
        }

    def upsert(self, request: Mapping[str, Any], location: Location) -> FeedbackKind:
        """Create the requested type, or add missing labels to the known one.

        A given sentiment replaces the label's own; a type's class never changes.
        """
        name, feedback_class = request["type"], request.get("class")
        feedback_type = self.types.get(name)
        if feedback_type is None:
            feedback_type = _new_type(self._project, name, feedback_class or "select")
            self._session.add(feedback_type)
            self.types[name] = feedback_type
        elif feedback_class not in {None, feedback_type.feedback_class}:
            message = f"the class of {name!r} is {feedback_type.feedback_class!r} and can't change"
            raise invalid((*location, "class"), message, "enum")
        labels = request.get("values", ())
        if labels and feedback_type.feedback_class not in LABEL_CLASSES:
            message = f"feedback of class {feedback_type.feedback_class!r} has no labels"
            raise invalid((*location, "values"), message)
        for label in labels:
            self._set(feedback_type, label["value"], label.get("sentiment"))
        return feedback_type

    def set_positive(self, wanted: Sequence[Mapping[str, Any]], location: Location) -> None:
        """Make exactly the given labels positive; other positive labels become `unset`."""
        for label in self._labels.values():
            if label.sentiment == "positive":
                label.sentiment = "unset"
        kinds = [Kind(each.id, each.type, each.feedback_class) for each in self.types.values()]
        for index, each in enumerate(wanted):
            place = (*location, index, "type")
            kind = find_kind(kinds, each["type"], place)
            check_has_labels(kind, place)
            self._set(self.types[kind.type], each["value"], "positive")

    def _set(self, feedback_type: FeedbackKind, value: str, sentiment: str | None) -> None:
        """Add a missing label to the type; set its sentiment if one is given."""
        label = self._labels.get((feedback_type.type, value))
        if label is None:
            label = _add_label(feedback_type, value, sentiment or "unset")
            self._labels[feedback_type.type, value] = label
        label.sentiment = sentiment or label.sentiment


def describe(feedback_type: FeedbackKind) -> dict[str, Any]:
    """Return a FeedbackTypeModel; it has `values` only if the type has labels."""
    body: dict[str, Any] = {"type": feedback_type.type}
    if feedback_type.feedback_class in LABEL_CLASSES:
        body["values"] = [plain(label, "value", "sentiment") for label in feedback_type.labels]
    return body


def describe_all(types: Iterable[FeedbackKind]) -> list[dict[str, Any]]:
    """Return FeedbackTypes."""
    return [describe(feedback_type) for feedback_type in types]
