"""Sessions: logs that belong together, across projects."""

from __future__ import annotations

from typing import Any

from sqlalchemy import and_, select

from humanloop.server.operations import lookups
from humanloop.server.operations.calls import Call, Page, one_by_one, paginate, plain
from humanloop.server.store.tables import (
    Conversation,
    Log,
    Project,
    SessionProject,
    is_complete,
)


def describe(call: Call, conversation: Conversation) -> dict[str, Any]:
    """Return a SessionResponse: its first datapoint's inputs and the last output that any has."""
    within = and_(Log.session_id == conversation.id, is_complete())
    oldest = select(Log.inputs).where(within).order_by(Log.created_at, Log.row)
    newest = (
        select(Log.output)
        .where(within, Log.output.is_not(None))
        .order_by(Log.created_at.desc(), Log.row.desc())
    )
    projects = (
        select(Project.id, Project.name, SessionProject.datapoints)
        .join(SessionProject, SessionProject.project_id == Project.id)
        .where(SessionProject.session_id == conversation.id)
        .order_by(Project.created_at, Project.id)
    )
    found = call.session.execute(projects).all()
    return plain(
        conversation,
        "id",
        "reference_id",
        "created_at",
        projects=[{"id": project_id, "name": name} for project_id, name, _ in found],
        first_inputs=call.session.scalar(oldest.limit(1)),
        last_output=call.session.scalar(newest.limit(1)),
        datapoints_count=sum(datapoints for _, _, datapoints in found),
    )


def create(call: Call) -> dict[str, Any]:
    """Start a session."""
    conversation = Conversation(organization_id=call.account.organization_id)
    call.session.add(conversation)
    return {"id": conversation.id}


def get(call: Call) -> dict[str, Any]:
    """Return a session."""
    return describe(call, lookups.find(call, Conversation, call.path["id"], "session"))


def list_(call: Call) -> Page:
    """Return a page of the sessions with datapoints in a project, newest first."""
    project = lookups.project(call, call.query["project_id"])
    statement = (
        select(Conversation)
        .join(SessionProject, SessionProject.session_id == Conversation.id)
        .where(SessionProject.project_id == project.id)
        .order_by(SessionProject.created_at.desc(), SessionProject.session_id.desc())
    )
    return paginate(
        call,
        statement,
        lambda rows: [describe(call, row) for row in rows],
        first=1,
        load=one_by_one,
    )
