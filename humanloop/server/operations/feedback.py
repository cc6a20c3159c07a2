"""Feedback on logs: submitted, replaced and unset.

On one log, a select or number type holds one value, a multi_select a set of values, and a text type
every text. A label that its type does not offer yet is added to the type with the sentiment
`unset`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal, InvalidOperation
from typing import Any, NamedTuple

from sqlalchemy import Connection, and_, delete, insert, select

from humanloop import schemas
from humanloop.server.errors import Location, invalid
from humanloop.server.operations import feedback_types, lookups
from humanloop.server.operations.calls import (
    MAX_DIGITS,
    Call,
    chunks,
    each_in,
    like_body,
    plain,
)
from humanloop.server.operations.feedback_types import Kind
from humanloop.server.store import turns, upserts
from humanloop.server.store.ids import new_id
from humanloop.server.store.tables import (
    LABEL_CLASSES,
    Annotation,
    FeedbackLabel,
    Log,
    Trial,
    is_complete,
)
from humanloop.server.store.tallies import Tally, Values, table
from humanloop.server.store.times import created_at

_NUMBER = re.compile(rf"-?(0|[1-9][0-9]{{0,{MAX_DIGITS - 1}}})(\.[0-9]+)?([eE][+-]?[0-9]+)?")
_ANNOTATIONS = table(Annotation)


class Target(NamedTuple):
    """A log that gets feedback.

    project_id, config_id: None if it is not created yet. experiment_id: None for no experiment.
    """

    id: str
    project_id: str | None
    config_id: str | None
    experiment_id: str | None


@dataclass
class Note:
    """One value of feedback on a log."""

    log: Target
    feedback_type: Kind
    value: str
    user: str | None
    created_at: datetime
    id: str = field(default_factory=lambda: new_id("ann_"))

    @property
    def key(self) -> str:
        """Return the note's key among its type's notes on its log."""
        return self.value if self.feedback_type.feedback_class == "multi_select" else self.id

    @property
    def log_id(self) -> str:
        """Return the id of its log."""
        return self.log.id


class Notes:
    """The feedback on some logs, changed in memory and written together at the end."""

    def __init__(self, call: Call) -> None:
        self._connection = call.connection
        self._organization_id = call.account.organization_id
        self._repeated = call.repeated
        self._kinds: dict[str | None, list[Kind]] = {None: feedback_types.DEFAULT_KINDS}
        self._held: dict[tuple[str, Kind], dict[str, Note]] = {}
        self._added: dict[str, Note] = {}
        self._removed: list[Note] = []
        self._before: dict[Target, Values] = {}  # of trials' logs, before the first change

    def load(self, logs: Sequence[Target]) -> None:
        """Read the existing feedback on these logs."""
        of_id = {log.id: log for log in logs}
        for some in chunks(list(of_id)):
            statement = select(_ANNOTATIONS).where(
                _ANNOTATIONS.c.organization_id == self._organization_id,
                _ANNOTATIONS.c.log_id.in_(some),
            )
            for row in self._connection.execute(statement.order_by(_ANNOTATIONS.c.row)):
                log = of_id[row.log_id]
                kinds = self._kinds_of(log.project_id)
                kind = next(each for each in kinds if each.id == row.feedback_type_id)
                self._hold(Note(log, kind, row.value, row.user, row.created_at, row.id))

    def find_kind(self, project_id: str | None, name: str, location: Location) -> Kind:
        """Return a project's feedback type; None is a project to be created, with default types."""
        return feedback_types.find_kind(self._kinds_of(project_id), name, location)

    def _kinds_of(self, project_id: str | None) -> list[Kind]:
        if project_id not in self._kinds:
            assert project_id is not None
            self._kinds[project_id] = feedback_types.kinds(
                self._connection, self._organization_id, project_id
            )
        return self._kinds[project_id]

    def add(self, log: Target, request: Mapping[str, Any], location: Location) -> Note:
        """Add the requested value to the log, under its type's rule."""
        kind = self.find_kind(log.project_id, request["type"], (*location, "type"))
        value = read_value(kind, request, location)
        self._remember(log)
        held = self._held.get((log.id, kind), {})
        note = Note(log, kind, value, request.get("user"), created_at(request, location))
        if self._repeated and "created_at" in request:
            for each in held.values():
                if _is_done(note, each):
                    return each
        if kind.feedback_class == "multi_select":
            if value in held:
                return held[value]
        elif kind.feedback_class != "text":
            self._remove(list(held.values()))
        self._hold(note)
        self._added[note.id] = note
        return note

    def unset(self, log: Target, request: Mapping[str, Any], location: Location) -> Note:
        """Remove feedback from the log; return the last that was removed.

        Without a value, all feedback of the type is removed; a multi_select requires a value.
        """
        kind = self.find_kind(log.project_id, request["type"], (*location, "type"))
        value = request.get("value")
        if value is None and kind.feedback_class == "multi_select":
            message = f"`value` is needed to unset one of the {kind.type!r} labels"
            raise invalid((*location, "value"), message, "required")
        held = self._held.get((log.id, kind), {}).values()
        notes = [each for each in held if value in {None, each.value}]
        if not notes:
            which = kind.type if value is None else f"{kind.type}: {value}"
            raise invalid((*location, "unset"), f"{log.id!r} has no feedback {which!r} to unset")
        self._remember(log)
        self._remove(notes)
        return notes[-1]

    def _remember(self, log: Target) -> None:
        if log.experiment_id is not None and log not in self._before:
            self._before[log] = self._values(log)

    def _values(self, log: Target) -> Values:
        return frozenset(
            (kind.id, note.value)
            for kind in self._kinds_of(log.project_id)
            for note in self._held.get((log.id, kind), {}).values()
        )

    def _hold(self, note: Note) -> None:
        held = self._held.setdefault((note.log.id, note.feedback_type), {})
        held[note.key] = note

    def _remove(self, notes: Sequence[Note]) -> None:
        for note in notes:
            del self._held[note.log.id, note.feedback_type][note.key]
            if self._added.pop(note.id, None) is None:
                self._removed.append(note)

    def write(self, tally: Tally) -> None:
        """Write the added and removed notes, and the labels that their types lack."""
        connection = self._connection
        added = list(self._added.values())
        for some in chunks([each.id for each in self._removed]):
            connection.execute(
                delete(_ANNOTATIONS).where(
                    _ANNOTATIONS.c.organization_id == self._organization_id,
                    _ANNOTATIONS.c.id.in_(some),
                )
            )
        if added:
            owner = {"organization_id": self._organization_id}
            connection.execute(insert(_ANNOTATIONS), [owner | _row(each) for each in added])
            _add_labels(connection, self._organization_id, added)
        for more, notes in ((1, added), (-1, self._removed)):
            for note in _labels_of(notes):
                kind_id, config_id = note.feedback_type.id, note.log.config_id
                assert kind_id is not None, "what is to come has no feedback"
                assert config_id is not None, "what is to come has no feedback"
                tally.count_label(self._organization_id, config_id, kind_id, note.value, more)
        for log, before in self._before.items():
            assert log.experiment_id is not None, "others are not remembered"
            assert log.config_id is not None, "a trial has a config"
            tally.count_outcome(
                self._organization_id, log.experiment_id, log.config_id, before, self._values(log)
            )
        self._added, self._removed, self._before = {}, [], {}


def _is_done(note: Note, held: Note) -> bool:
    """Return whether a request was done before: by the held note, or by one that it replaced."""
    same = (note.value, note.user, note.created_at) == (held.value, held.user, held.created_at)
    replaced = note.feedback_type.feedback_class not in {"text", "multi_select"}
    return same or (replaced and held.created_at > note.created_at)


def _labels_of(notes: Iterable[Note]) -> list[Note]:
    return [each for each in notes if each.feedback_type.feedback_class in LABEL_CLASSES]


def _row(note: Note) -> dict[str, Any]:
    return {
        "id": note.id,
        "log_id": note.log.id,
        "feedback_type_id": note.feedback_type.id,
        "value": note.value,
        "user": note.user,
        "created_at": note.created_at,
    }


def _add_labels(connection: Connection, organization_id: str, notes: Iterable[Note]) -> None:
    labels = dict.fromkeys((each.feedback_type.id, each.value) for each in _labels_of(notes))
    upserts.insert_new(
        connection,
        table(FeedbackLabel),
        [
            {
                "organization_id": organization_id,
                "feedback_type_id": kind_id,
                "value": value,
                "sentiment": "unset",
            }
            for kind_id, value in sorted(labels)
        ],
    )


def read_value(kind: Kind, request: Mapping[str, Any], location: Location) -> str:
    """Return the value in feedback of the type, as text; raises Invalid."""
    value = request.get("value")
    if value is None:
        message = f"`value` is needed to give {kind.type!r} feedback"
        raise invalid((*location, "value"), message, "required")
    text = value if isinstance(value, str) else schemas.to_json(value)
    if kind.feedback_class == "number" and not _is_number(text):
        message = f"{kind.type!r} feedback is a number, got {text[:40]!r}"
        raise invalid((*location, "value"), message, "type")
    return text


def _is_number(text: str) -> bool:
    """Return whether the text is a JSON number (RFC 8259, section 6) that a Decimal can hold."""
    try:
        return _NUMBER.fullmatch(text) is not None and Decimal(text).is_finite()
    except InvalidOperation:
        return False


def describe(feedback: Annotation | Note) -> dict[str, Any]:
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


def submit(call: Call) -> Any:
    """Submit one feedback or an array, all or nothing."""
    _lock_logs(call)
    targets = _find_logs(call)
    notes = Notes(call)
    notes.load(list(targets.values()))

    def run(request: Mapping[str, Any], location: Location) -> dict[str, Any]:
        log_id = request.get("data_id")
        if log_id is None:
            message = "`data_id` is needed: the datapoint that the feedback is on"
            raise invalid((*location, "data_id"), message, "required")
        if log_id not in targets:
            kind = "datapoint with the reference id" if call.by_reference else "datapoint"
            raise lookups.missing(f"{kind} {log_id!r}", (*location, "data_id"))
        change = notes.unset if request.get("unset", False) else notes.add
        note = change(targets[log_id], request, location)
        return {"id": note.id, **describe(note)}

    answers = each_in(call.body, run)
    notes.write(call.tally)
    return like_body(call.body, answers)


def _lock_logs(call: Call) -> None:
    """Lock the logs, since a change depends on the feedback that is already there."""
    wanted = each_in(call.body, lambda request, _: request.get("data_id"))
    for some in chunks(sorted({each for each in wanted if each is not None})):
        logs = select(Log.id).where(
            Log.organization_id == call.account.organization_id, _name(call).in_(some)
        )
        turns.lock(call.session, logs.order_by(Log.id))


def _name(call: Call) -> Any:
    """Return the column by which the body names logs."""
    return Log.reference_id if call.by_reference else Log.id


def _find_logs(call: Call) -> dict[str, Target]:
    """Return the logs that the body names, by their names in the body."""
    wanted = each_in(call.body, lambda request, _: request.get("data_id"))
    columns = (_name(call), Log.id, Log.project_id, Log.config_id, Trial.experiment_id)
    its_trial = and_(Trial.organization_id == Log.organization_id, Trial.id == Log.trial_id)
    return {
        name: Target(*target)
        for some in chunks([each for each in dict.fromkeys(wanted) if each is not None])
        for name, *target in call.connection.execute(
            select(*columns)
            .outerjoin(Trial, its_trial)
            .where(
                Log.organization_id == call.account.organization_id,
                _name(call).in_(some),
                is_complete(),
            )
        )
    }
