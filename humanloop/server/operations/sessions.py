"""Sessions: groups of logs, across projects."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

from sqlalchemy import and_, select

from humanloop.server.operations import lookups
from humanloop.server.operations.calls import Call, Page, paginate, plain
from humanloop.server.store.tables import (
    Conversation,
    Log,
    Project,
    SessionProject,
    is_complete,
)

_PORTION = 10  # sessions described at once: their inputs and outputs may be large


def _describe_all(call: Call, ids: Sequence[str]) -> list[dict[str, Any]]:
    """Return a SessionResponse for each: the first datapoint's inputs, the last output of any."""
    organization_id = call.account.organization_id
    within = and_(
        Log.organization_id == organization_id, Log.session_id == Conversation.id, is_complete()
    )
    oldest = select(Log.inputs).where(within).order_by(Log.created_at, Log.row)
    newest = (
        select(Log.output)
        .where(within, Log.output.is_not(None))
        .order_by(Log.created_at.desc(), Log.row.desc())
    )
    statement = select(
        Conversation, oldest.limit(1).scalar_subquery(), newest.limit(1).scalar_subquery()
    ).where(Conversation.organization_id == organization_id, Conversation.id.in_(ids))
    projects: dict[str, list[Any]] = {}
    for row in call.session.execute(
        select(SessionProject.session_id, Project.id, Project.name, SessionProject.datapoints)
        .join(Project, Project.id == SessionProject.project_id)
        .where(
            Project.organization_id == organization_id,
            SessionProject.organization_id == organization_id,
            SessionProject.session_id.in_(ids),
        )
        .order_by(Project.created_at, Project.id)
    ):
        projects.setdefault(row.session_id, []).append(row)
    of_id = {
        conversation.id: plain(
            conversation,
            "id",
            "reference_id",
            "created_at",
            projects=[
                {"id": row.id, "name": row.name} for row in projects.get(conversation.id, ())
            ],
            first_inputs=inputs,
            last_output=output,
            datapoints_count=sum(row.datapoints for row in projects.get(conversation.id, ())),
        )
        for conversation, inputs, output in call.session.execute(statement)
    }
    return [of_id[each] for each in ids]


def create(call: Call) -> dict[str, Any]:
    """Start a session."""
    conversation = Conversation(organization_id=call.account.organization_id)
    call.session.add(conversation)
    return {"id": conversation.id}


def get(call: Call) -> dict[str, Any]:
    """Return a session."""
    conversation = lookups.find(call, Conversation, call.path["id"], "session")
    [body] = _describe_all(call, [conversation.id])
    return body


def list_(call: Call) -> Page:
    """Return a page of the sessions with datapoints in a project, newest first."""
    project = lookups.project(call, call.query["project_id"])
    keys = (
        select(SessionProject.session_id)
        .where(
            SessionProject.organization_id == project.organization_id,
            SessionProject.project_id == project.id,
        )
        .order_by(SessionProject.created_at.desc(), SessionProject.session_id.desc())
    )
    describe = partial(_describe_all, call)
    return paginate(call, keys, describe, first=1, portion=_PORTION)
