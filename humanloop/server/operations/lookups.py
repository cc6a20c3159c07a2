"""Look-ups of everything that a request names.

A missing row is 404 if the path or the query names it, and 422 with its location if the body does.
A project that a body names by an unknown name is created.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, TypeVar, overload

from sqlalchemy import ColumnElement, select
from sqlalchemy.orm import Session

from humanloop.server.errors import Location, NotFound, RequestError, invalid
from humanloop.server.operations import feedback_types
from humanloop.server.operations.calls import Call, chunks
from humanloop.server.store import turns
from humanloop.server.store.tables import (
    Config,
    Conversation,
    Environment,
    Evaluation,
    Evaluator,
    Experiment,
    Log,
    Project,
    Testset,
)

Found = TypeVar(
    "Found",
    Config,
    Conversation,
    Environment,
    Evaluation,
    Evaluator,
    Experiment,
    Log,
    Project,
    Testset,
)
Part = TypeVar("Part", Config, Experiment, Testset)


def rows(call: Call, statement: Any, column: ColumnElement[Any], values: Sequence[Any]) -> Any:
    """Yield the organisation's rows of a SELECT whose column has one of many values.

    The statement has a parameter `organization_id`.
    """
    parameters = {"organization_id": call.account.organization_id}
    for some in chunks(list(dict.fromkeys(values))):
        yield from call.connection.execute(statement.where(column.in_(some)), parameters)


def missing(what: str, location: Location | None) -> RequestError:
    """Return the error for a missing row: Invalid if a body named it, else NotFound."""
    if location is None:
        return NotFound(f"There is no {what}.")
    return invalid(location, f"there is no {what}")


def find(
    call: Call, table: type[Found], row_id: str, kind: str, location: Location | None = None
) -> Found:
    """Return the organisation's row with that id.

    kind: the API's word for such a row.
    location: the place of the id in the body, if a body named it. Raises NotFound, or Invalid if
        there is a location.
    """
    found = call.session.get(table, (call.account.organization_id, row_id))
    if found is None:
        raise missing(f"{kind} {row_id!r}", location)
    return found


def find_in_project(
    session: Session, table: type[Part], project: Project, row_id: str, location: Location
) -> Part:
    """Return the project's row with the id that a body named; raises Invalid."""
    found = session.get(table, (project.organization_id, row_id))
    if found is None or found.project_id != project.id:
        kind = table.__name__.lower()
        raise invalid(location, f"the project {project.name!r} has no {kind} {row_id!r}")
    return found


def project(call: Call, project_id: str) -> Project:
    """Return the project with an id from the path or the query."""
    return find(call, Project, project_id, "project")


def project_by_name(call: Call, name: str) -> Project | None:
    """Return the project with that name, or None."""
    statement = select(Project).where(
        Project.organization_id == call.account.organization_id, Project.name == name
    )
    return call.session.scalar(statement)


@overload
def project_of_body(
    call: Call, body: Mapping[str, Any], location: Location, *, create: Literal[True] = True
) -> Project: ...
@overload
def project_of_body(
    call: Call, body: Mapping[str, Any], location: Location, *, create: bool
) -> Project | None: ...
def project_of_body(
    call: Call, body: Mapping[str, Any], location: Location, *, create: bool = True
) -> Project | None:
    """Return the project that a body names, by `project_id` or by `project`, a name to create.

    create: False returns None in place of creating a project.
    """
    name, project_id = body.get("project"), body.get("project_id")
    if project_id is not None:
        found = find(call, Project, project_id, "project", (*location, "project_id"))
        if name not in {None, found.name}:
            message = f"the project {project_id!r} is named {found.name!r}, not {name!r}"
            raise invalid((*location, "project"), message)
        return found
    if name is None:
        raise invalid((*location, "project"), "`project` or `project_id` is needed", "required")
    known = project_by_name(call, name)
    if known is not None:
        return known
    if create:
        return create_project(call, name, (*location, "project"))
    check_project_name(call, name, (*location, "project"))
    return None


def create_project(
    call: Call, name: str, location: Location, project_id: str | None = None
) -> Project:
    """Return a new project with the default feedback types; its name must not be taken.

    project_id: the project's id; None makes a new one.
    """
    turns.be_alone(call.session)
    check_project_name(call, name, location)
    created = Project(
        **({} if project_id is None else {"id": project_id}),
        organization_id=call.account.organization_id,
        creator_id=call.account.user_id,
        name=name,
    )
    call.session.add(created)
    call.session.flush()
    feedback_types.add_defaults(call.session, created)
    return created


def check_project_name(call: Call, name: str, location: Location) -> None:
    """Raise Invalid for a name that is empty or taken."""
    if not name.strip():
        raise invalid(location, "a project's name can't be empty", "minLength")
    if project_by_name(call, name) is not None:
        raise invalid(location, f"there is already a project named {name!r}", "unique")


def environment(call: Call, name: str | None, location: Location | None = None) -> Environment:
    """Return the organisation's environment of that name, or the default one without a name."""
    for each in environments(call):
        if each.name == name or (name is None and each.tag == "default"):
            return each
    raise missing(f"environment named {name!r}", location)


def environments(call: Call) -> list[Environment]:
    """Return the organisation's environments, oldest first."""
    statement = select(Environment).where(
        Environment.organization_id == call.account.organization_id
    )
    return list(call.session.scalars(statement.order_by(Environment.created_at, Environment.id)))
