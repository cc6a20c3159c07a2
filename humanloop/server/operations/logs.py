"""Logs: datapoints of what a model was asked and what it said.

Whatever becomes a log, sent by a client or generated here, is added by `add`. An array is logged
all or nothing. What a log refers to (project, config, session, parent, trial) is settled before it
is added; parents are found before any log of the request is, so that no reference can name a log of
the same request.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Select, func, orm, select
from sqlalchemy.orm import joinedload, selectinload
from sqlalchemy.sql.elements import ColumnElement

from humanloop.server.errors import Location, invalid
from humanloop.server.operations import configs, deployments, feedback, lookups, sessions
from humanloop.server.operations.calls import Call, plain
from humanloop.server.store.tables import Annotation, Config, Conversation, Log, Project, Trial
from humanloop.server.store.times import created_at, now

LOADED = (
    joinedload(Log.config).joinedload(Config.project),
    joinedload(Log.conversation),
    joinedload(Log.parent).load_only(Log.reference_id),
    selectinload(Log.feedback).joinedload(Annotation.feedback_type),
)
"""What describe() reads of a log, to be loaded with many at once."""

_PORTION = 1024 * 1024
_TEXTS = (
    Log.inputs,
    Log.messages,
    Log.metadata_,
    Log.output,
    Log.error,
    Log.provider_response,
    Log.raw_output,
)
# A response has its config twice.
_SIZE = sum(
    (func.coalesce(func.length(text), 0) for text in _TEXTS),
    2 * select(func.length(Config.parameters)).where(Config.id == Log.config_id).scalar_subquery(),
)

_COLUMNS = (
    "id",
    "project_id",
    "session_id",
    "parent_id",
    "inputs",
    "source",
    "reference_id",
    "trial_id",
    "messages",
    "output",
    "error",
    "duration",
    "user",
    "provider_response",
    "provider_latency",
    "raw_output",
    "finish_reason",
    "created_at",
)
"""What a response says of a log under the names of its columns."""


@dataclass(frozen=True)
class Origin:
    """Hold where a log comes from, which is settled before the log is added."""

    project: Project
    config: Config
    trial: Trial | None
    parent: Log | None


def log(call: Call) -> Any:
    """Log one datapoint, or an array of them all or nothing."""
    parents: dict[Location, Log | None] = {}

    def settle_parent(request: Mapping[str, Any], location: Location) -> None:
        parents[location] = find_parent(call, request, location)

    call.each(settle_parent)
    with call.session.no_autoflush:  # what is added goes to the database together
        return call.each(lambda request, location: _log(call, request, parents[location], location))


def find_parent(call: Call, request: Mapping[str, Any], location: Location) -> Log | None:
    """Return the log that the request names as its parent, if it names one."""
    _check_exclusive(request, "parent_id", "parent_reference_id", location)
    for key, column in (("parent_id", Log.id), ("parent_reference_id", Log.reference_id)):
        if key in request:
            found = _find(call, column == request[key])
            if found is None:
                raise lookups.missing(f"datapoint {request[key]!r}", (*location, key))
            return found
    return None


def _check_exclusive(request: Mapping[str, Any], one: str, other: str, location: Location) -> None:
    if one in request and other in request:
        raise invalid((*location, other), f"`{one}` and `{other}` exclude each other", "not")


def _find(call: Call, condition: ColumnElement[bool]) -> Log | None:
    owned = Log.organization_id == call.account.organization_id
    return call.session.scalar(select(Log).where(condition, owned))


def _log(
    call: Call, request: Mapping[str, Any], parent: Log | None, location: Location
) -> dict[str, Any]:
    project = lookups.project_of_body(call, request, location)
    added = _added_before(call, project, request)
    if added is None:
        trial = _trial(call, project, request, location)
        config = _config(call, project, trial, request, location)
        added = add(call, request, location, Origin(project, config, trial, parent))
        _add_feedback(call, added, request.get("feedback", []), (*location, "feedback"))
    body = {"id": added.id, "project_id": project.id}
    session = added.conversation
    return body if session is None else {**body, "session_id": session.id}


def _added_before(call: Call, project: Project, request: Mapping[str, Any]) -> Log | None:
    """Return the log that a repeated request has added already, if its answer was lost."""
    reference_id = request.get("reference_id")
    if not call.repeated or reference_id is None:
        return None
    found = _find(call, Log.reference_id == reference_id)
    if found is None or found.project_id != project.id:
        return None
    same = (found.output, found.error) == (request.get("output"), request.get("error"))
    return found if same else None


def add(call: Call, request: Mapping[str, Any], location: Location, origin: Origin) -> Log:
    """Return a new log of what the request says, in the session that it names or its parent's."""
    added = Log(
        organization_id=origin.project.organization_id,
        project_id=origin.project.id,
        config=origin.config,
        conversation=_conversation(call, request, origin.parent, location),
        parent=origin.parent,
        trial_id=None if origin.trial is None else origin.trial.id,
        reference_id=_free_reference(call, request, location),
        feedback=[],
        inputs=request.get("inputs", {}),
        messages=request.get("messages"),
        metadata_=request.get("metadata"),
        source=request.get("source"),
        output=request.get("output"),
        error=request.get("error"),
        duration=request.get("duration"),
        created_at=created_at(request, location),
    )
    call.session.add(added)
    return added


def _trial(
    call: Call, project: Project, request: Mapping[str, Any], location: Location
) -> Trial | None:
    trial_id = request.get("trial_id")
    if trial_id is None:
        return None
    return lookups.find_in_project(call.session, Trial, project, trial_id, (*location, "trial_id"))


def _config(
    call: Call,
    project: Project,
    trial: Trial | None,
    request: Mapping[str, Any],
    location: Location,
) -> Config:
    wanted = request.get("config")
    if trial is None:
        if wanted is None:
            message = "`config` is needed, unless `trial_id` names a trial"
            raise invalid((*location, "config"), message, "required")
        return deployments.register_config(call, project, wanted)
    if wanted is not None and configs.identity(wanted) != trial.config.digest:
        message = f"the trial {trial.id!r} drew another config; leave `config` out"
        raise invalid((*location, "config"), message, "not")
    trial.config.last_used = now()
    return trial.config


def _conversation(
    call: Call, request: Mapping[str, Any], parent: Log | None, location: Location
) -> Conversation | None:
    """Return the session that the request names, or its parent's."""
    _check_exclusive(request, "session_id", "session_reference_id", location)
    theirs = None if parent is None else parent.conversation
    if "session_id" in request:
        key = "session_id"
        found = lookups.find(call, Conversation, request[key], "session", (*location, key))
    elif "session_reference_id" in request:
        key = "session_reference_id"
        found = sessions.by_reference(call, request[key])
    else:
        return theirs
    if theirs is not None and theirs is not found:
        message = f"the parent datapoint is in another session, {theirs.id!r}"
        raise invalid((*location, key), message, "not")
    return found


def _free_reference(call: Call, request: Mapping[str, Any], location: Location) -> str | None:
    reference_id: str | None = request.get("reference_id")
    if reference_id is None:
        return None
    call.session.flush()  # one may be in the same request
    if _find(call, Log.reference_id == reference_id) is not None:
        message = f"there is already a datapoint with the reference id {reference_id!r}"
        raise invalid((*location, "reference_id"), message, "unique")
    return reference_id


def _add_feedback(
    call: Call, added: Log, given: dict[str, Any] | list[dict[str, Any]], location: Location
) -> None:
    if isinstance(given, dict):
        feedback.add(call.session, added, given, location)
        return
    for index, each in enumerate(given):
        feedback.add(call.session, added, each, (*location, index))


def update(call: Call) -> dict[str, Any]:
    """Set a datapoint's output, error and duration, where given."""
    return _update(call, lookups.find(call, Log, call.path["id"], "datapoint"))


def update_by_ref(call: Call) -> dict[str, Any]:
    """Update a datapoint that is named by the caller's own id."""
    reference_id = call.query["reference_id"]
    found = _find(call, Log.reference_id == reference_id)
    if found is None:
        raise lookups.missing(f"datapoint with the reference id {reference_id!r}", None)
    return _update(call, found)


def _update(call: Call, found: Log) -> dict[str, Any]:
    for key in ("output", "error", "duration"):
        if key in call.body:
            setattr(found, key, call.body[key])
    call.session.flush()
    return describe(found)


def in_portions(session: orm.Session, statement: Select[Any]) -> Iterator[list[Log]]:
    """Load the logs of a statement, in portions of about _PORTION characters."""
    sizes = statement.with_only_columns(Log.row, _SIZE, maintain_column_froms=True)
    portion: list[int] = []
    filled = 0
    for row, size in session.execute(sizes).all():
        if portion and filled + size > _PORTION:
            yield _load(session, statement, portion)
            portion, filled = [], 0
        portion.append(row)
        filled += size
    if portion:
        yield _load(session, statement, portion)


def _load(session: orm.Session, statement: Select[Any], rows: list[int]) -> list[Log]:
    chosen = statement.offset(None).limit(None).where(Log.row.in_(rows))
    return list(session.scalars(chosen))


def describe(log: Log) -> dict[str, Any]:
    """Return a LogResponse."""
    config, parent, conversation = log.config, log.parent, log.conversation
    return plain(
        log,
        *_COLUMNS,
        config=configs.describe(config),
        project=config.project.name,
        session_reference_id=None if conversation is None else conversation.reference_id,
        parent_reference_id=None if parent is None else parent.reference_id,
        metadata=log.metadata_,
        feedback=[feedback.describe(each) for each in log.feedback],
        model_config=configs.describe_in_project(config) if config.type == "model" else None,
    )
