"""Logs: datapoints with a model's input and output.

An array is logged all or nothing. A large array is written in slices, each in its own transaction,
so that others get their turn; until the last slice, the written logs do not count.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any

from sqlalchemy import Table, and_, bindparam, delete, func, select
from sqlalchemy.orm import joinedload, subqueryload
from sqlalchemy.sql.elements import ColumnElement

from humanloop.server.errors import Location, Unavailable, invalid
from humanloop.server.operations import configs, feedback, lookups
from humanloop.server.operations.arrivals import Arrival, Draft
from humanloop.server.operations.calls import (
    Call,
    Stage,
    Stages,
    each_in,
    in_portions,
    like_body,
    load,
    plain,
    slices,
)
from humanloop.server.store import batches, turns
from humanloop.server.store.ids import new_id
from humanloop.server.store.tables import (
    Annotation,
    Config,
    Log,
    Project,
    is_complete,
)
from humanloop.server.store.tallies import Tally, table

_LOGS, _FEEDBACK = table(Log), table(Annotation)
_CONFIG_WEIGHT = 20
_PROJECTS = table(Project)

LOADED = (
    joinedload(Log.config).joinedload(Config.project),
    joinedload(Log.conversation),
    joinedload(Log.parent).load_only(Log.reference_id),
    subqueryload(Log.feedback).joinedload(Annotation.feedback_type),
)
"""The relationships that describe() reads, to be loaded for many logs at once."""

_TEXTS = (
    Log.inputs,
    Log.messages,
    Log.metadata_,
    Log.output,
    Log.error,
    Log.provider_request,
    Log.provider_response,
    Log.raw_output,
)
# A response contains the config twice.
_SIZE = sum(
    (func.coalesce(func.length(text), 0) for text in _TEXTS),
    2
    * select(func.length(Config.parameters))
    .where(Config.organization_id == Log.organization_id, Config.id == Log.config_id)
    .scalar_subquery(),
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
    "provider_request",
    "provider_response",
    "provider_latency",
    "raw_output",
    "finish_reason",
    "created_at",
)
"""The columns that a response contains under their own names."""


def draft(body: Any) -> list[Draft]:
    """Return the drafts for a body."""

    def run(request: Mapping[str, Any], location: Location) -> Draft:
        if "config" not in request and "trial_id" not in request:
            message = "`config` is needed, unless `trial_id` names a trial"
            raise invalid((*location, "config"), message, "required")
        return Draft(request, location)

    return each_in(body, run)


def log(call: Call) -> Any:
    """Log one datapoint, or an array of datapoints, all or nothing."""
    drafts: list[Draft] = call.prepared
    parts = _slices(drafts)
    if len(parts) > 1:
        return _in_stages(drafts, parts)
    arrival = Arrival()
    arrival.find_parents(call, drafts)
    arrival.find_places(call, drafts)
    arrival.write(call, drafts, call.tally)
    return like_body(call.body, [each.answer for each in drafts])


def _slices(drafts: Sequence[Draft]) -> list[Sequence[Draft]]:
    """Return the drafts in parts, each of which is written in milliseconds.

    A config that may be new takes as long as many logs.
    """
    known: set[tuple[str | None, ...]] = set()
    weights: list[int] = []
    for each in drafts:
        key = each.request.get("project"), each.request.get("project_id"), each.digest
        is_new = each.digest is not None and key not in known
        known.add(key)
        weights.append(1 + len(each.feedback) + (_CONFIG_WEIGHT if is_new else 0))
    return slices(drafts, weights)


def _in_stages(drafts: Sequence[Draft], parts: Sequence[Sequence[Draft]]) -> Stages:
    batch_id = new_id("batch_")
    tallies: dict[int, Tally] = {}

    def check(call: Call) -> None:
        """Check all drafts without writing, so that a refused request leaves nothing behind."""
        dry = Arrival()
        dry.find_parents(call, drafts)
        dry.find_places(call, drafts, create=False)
        dry.find_added(call, drafts)
        dry.check_references(call, drafts)
        dry.find_sessions(call, drafts, create=False)
        dry.check_feedback(call, drafts)

    def begin(call: Call) -> None:
        batches.begin(call.connection, call.account.organization_id, batch_id)

    def write(index: int, call: Call) -> None:
        # No state is carried from slice to slice, since a slice may be rolled back and run again.
        batches.go_on(call.connection, call.account.organization_id, batch_id)
        arrival, tally = Arrival(), Tally()
        arrival.find_parents(call, parts[index])  # one may have been deleted since
        arrival.find_places(call, parts[index])
        arrival.write(call, parts[index], tally, batch_id)
        tallies[index] = tally

    def finish(call: Call) -> None:
        batches.go_on(call.connection, call.account.organization_id, batch_id)
        end(call)
        _check_projects(call, drafts)
        for tally in tallies.values():
            call.tally.update(tally)

    def take_back(some: Sequence[Draft], call: Call) -> None:
        ids = [each.id for each in some]
        for column in (_FEEDBACK.c.log_id, _LOGS.c.id):
            _delete(call, column.table, column.in_(ids))

    def end(call: Call) -> None:
        batches.end(call.connection, call.account.organization_id, batch_id)

    steps: list[Stage] = [partial(write, index) for index in range(len(parts))]
    undo: list[Stage] = [partial(take_back, some) for some in parts]
    return Stages(
        check, [begin, *steps], lambda: [each.answer for each in drafts], finish, [*undo, end]
    )


def _check_projects(call: Call, drafts: Sequence[Draft]) -> None:
    """Raise Unavailable if a project, and so its logs, was deleted between the slices."""
    used = {each.place.project_id for each in drafts if each.place is not None}
    statement = select(_PROJECTS.c.id).where(
        _PROJECTS.c.organization_id == bindparam("organization_id")
    )
    if len(used) != len(list(lookups.rows(call, statement, _PROJECTS.c.id, list(used)))):
        raise Unavailable("A project was deleted while the array was written. Send it again.")


def _delete(call: Call, rows: Table, condition: ColumnElement[bool]) -> None:
    owned = rows.c.organization_id == call.account.organization_id
    call.connection.execute(delete(rows).where(owned, condition))


def _find(call: Call, condition: ColumnElement[bool]) -> Log | None:
    owned = and_(Log.organization_id == call.account.organization_id, is_complete())
    return call.session.scalar(select(Log).where(condition, owned))


def update(call: Call) -> dict[str, Any]:
    """Set the given ones of a datapoint's output, error and duration."""
    _lock(call, Log.id == call.path["id"])
    return _update(call, lookups.find(call, Log, call.path["id"], "datapoint"))


def update_by_ref(call: Call) -> dict[str, Any]:
    """Update a datapoint that is named by the caller's reference id."""
    reference_id = call.query["reference_id"]
    _lock(call, Log.reference_id == reference_id)
    found = _find(call, Log.reference_id == reference_id)
    if found is None:
        raise lookups.missing(f"datapoint with the reference id {reference_id!r}", None)
    return _update(call, found)


def _lock(call: Call, condition: ColumnElement[bool]) -> None:
    owned = Log.organization_id == call.account.organization_id
    turns.lock(call.session, select(Log.id).where(condition, owned).order_by(Log.id))


def _update(call: Call, found: Log) -> dict[str, Any]:
    for key in ("output", "error", "duration"):
        if key in call.body:
            setattr(found, key, call.body[key])
    call.session.flush()
    return describe(found)


def load_in_portions(call: Call, ids: Sequence[str]) -> Iterator[list[Log]]:
    """Load the logs with the given ids, in their order, in portions of limited size."""
    statement = select(Log).options(*LOADED)
    owned = (Log.organization_id == call.account.organization_id, Log.id.in_(ids))
    weighed = call.session.execute(select(Log.id, _SIZE).where(*owned))
    sizes = {key: size for key, size in weighed}  # noqa: C416 (a Row is no pair to type checkers)
    for portion in in_portions((key, sizes[key]) for key in ids):
        yield load(call, statement, Log, portion)


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
