"""Finds what a request names.

What a path or a query names and does not exist is 404; what a body names is 422 at its place. A
project that a body names by an unknown name is created.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import select

from humanloop.server.errors import Location, NotFound, invalid
from humanloop.server.operations import feedback_types
from humanloop.server.operations.calls import Call
from humanloop.server.store import ids
from humanloop.server.store.tables import Environment, Experiment, Project
from humanloop.server.store.times import now


def project(call: Call, project_id: str) -> Project:
    """Return the project with an id from the path or the query."""
    found = call.session.get(Project, project_id)
    if found is None or found.organization_id != call.account.organization_id:
        raise NotFound(f"There is no project {project_id!r}.")
    return found


def project_by_name(call: Call, name: str) -> Project | None:
    """Return the project with that name, if there is one."""
    statement = select(Project).where(
        Project.organization_id == call.account.organization_id, Project.name == name
    )
    return call.session.scalar(statement)


def project_of_body(call: Call, body: Mapping[str, Any], place: Location) -> Project:
    """Return the project that a body names, by `project_id` or by `project`, a name to create."""
    name, project_id = body.get("project"), body.get("project_id")
    if project_id is not None:
        found = call.session.get(Project, project_id)
        if found is None or found.organization_id != call.account.organization_id:
            raise invalid((*place, "project_id"), f"there is no project {project_id!r}")
        if name not in {None, found.name}:
            message = f"the project {project_id!r} is named {found.name!r}, not {name!r}"
            raise invalid((*place, "project"), message)
        return found
    if name is None:
        raise invalid((*place, "project"), "`project` or `project_id` is needed", "required")
    return project_by_name(call, name) or create_project(call, name, (*place, "project"))


def create_project(call: Call, name: str, place: Location) -> Project:
    """Return a new project with the default feedback types; its name must not be taken."""
    check_project_name(call, name, place)
    moment = now()
    created = Project(
        id=ids.new_id(ids.PROJECT),
        organization_id=call.account.organization_id,
        creator_id=call.account.user_id,
        name=name,
        created_at=moment,
        updated_at=moment,
    )
    call.session.add(created)
    call.session.flush()
    feedback_types.add_defaults(call.session, created)
    return created


def check_project_name(call: Call, name: str, place: Location) -> None:
    """Refuse an empty name and one that is taken."""
    if not name.strip():
        raise invalid(place, "a project's name can't be empty", "minLength")
    if project_by_name(call, name) is not None:
        raise invalid(place, f"there is already a project named {name!r}", "unique")


def experiment(call: Call, experiment_id: str) -> Experiment:
    """Return the experiment with an id from the path."""
    found = call.session.get(Experiment, experiment_id)
    if found is None or found.project.organization_id != call.account.organization_id:
        raise NotFound(f"There is no experiment {experiment_id!r}.")
    return found


def environment(call: Call, name: str | None) -> Environment:
    """Return the organisation's environment with a name from the query, or the default one."""
    found = _environment(call, name)
    if found is None:
        raise NotFound(f"There is no environment named {name!r}.")
    return found


def environment_of_body(call: Call, body: Mapping[str, Any], place: Location) -> Environment:
    """Return the organisation's environment that a body names, or the default one."""
    name = body.get("environment")
    found = _environment(call, name)
    if found is None:
        raise invalid((*place, "environment"), f"there is no environment named {name!r}")
    return found


def _environment(call: Call, name: str | None) -> Environment | None:
    for each in environments(call):
        if each.name == name or (name is None and each.tag == "default"):
            return each
    return None


def environments(call: Call) -> list[Environment]:
    """Return the organisation's environments, oldest first."""
    statement = select(Environment).where(
        Environment.organization_id == call.account.organization_id
    )
    return list(call.session.scalars(statement.order_by(Environment.created_at, Environment.id)))
