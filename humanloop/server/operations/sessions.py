"""Sessions: logs that belong together, across projects."""

from __future__ import annotations

from typing import Any

from sqlalchemy import exists, func, select

from humanloop.server.operations import lookups
from humanloop.server.operations.calls import Call, Page, one_by_one, paginate, plain
from humanloop.server.store.tables import Conversation, Log, Project


def start(call: Call, reference_id: str | None) -> Conversation:
    """Return a new session."""
    conversation = Conversation(
        organization_id=call.account.organization_id,
        reference_id=reference_id,
    )
    call.session.add(conversation)
    call.session.flush()
    return conversation


def by_reference(call: Call, reference_id: str) -> Conversation:
    """Return the session with the caller's own id; its first use starts it."""
    found = call.session.scalar(
        select(Conversation).where(
            Conversation.organization_id == call.account.organization_id,
            Conversation.reference_id == reference_id,
        )
    )
    return found or start(call, reference_id)


def describe(call: Call, conversation: Conversation) -> dict[str, Any]:
    """Return a SessionResponse: its first datapoint's inputs and the last output that any has."""
    within = Log.session_id == conversation.id
    oldest = select(Log.inputs).where(within).order_by(Log.created_at, Log.row)
    newest = (
        select(Log.output)
        .where(within, Log.output.is_not(None))
        .order_by(Log.created_at.desc(), Log.row.desc())
    )
    count = select(func.count()).select_from(Log).where(within)
    projects = (
        select(Project)
        .where(exists().where(Log.session_id == conversation.id, Log.project_id == Project.id))
        .order_by(Project.created_at, Project.id)
    )
    return plain(
        conversation,
        "id",
        "reference_id",
        "created_at",
        projects=[
            {"id": project.id, "name": project.name} for project in call.session.scalars(projects)
        ],
        first_inputs=call.session.scalar(oldest.limit(1)),
        last_output=call.session.scalar(newest.limit(1)),
        datapoints_count=call.session.scalar(count) or 0,
    )


def create(call: Call) -> dict[str, Any]:
    """Start a session."""
    return {"id": start(call, None).id}


def get(call: Call) -> dict[str, Any]:
    """Return a session."""
    return describe(call, lookups.find(call, Conversation, call.path["id"], "session"))


def list_(call: Call) -> Page:
    """Return a page of the sessions with datapoints in a project, newest first."""
    project = lookups.project(call, call.query["project_id"])
    within = exists().where(Log.session_id == Conversation.id, Log.project_id == project.id)
    statement = (
        select(Conversation).where(within).order_by(Conversation.created_at.desc(), Conversation.id)
    )
    return paginate(
        call,
        statement,
        lambda rows: [describe(call, row) for row in rows],
        first=1,
        load=one_by_one,
    )
