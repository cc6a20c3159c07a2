"""Projects that a command names, by names or ids."""

from __future__ import annotations

from typing import NamedTuple

from sqlalchemy import or_, select
from sqlalchemy.orm import Session

from humanloop.server.errors import StartError
from humanloop.server.store.overview import organization_id
from humanloop.server.store.tables import Project


class Named(NamedTuple):
    """A project, and the number of its logs."""

    id: str
    name: str
    logs: int


def find_project(session: Session, name: str) -> Named:
    """Return the project of that name, else of that id; raises StartError."""
    statement = select(Project.id, Project.name, Project.datapoints).where(
        Project.organization_id == organization_id(session),
        or_(Project.name == name, Project.id == name),
    )
    found = session.execute(statement)
    projects = sorted((Named(*row) for row in found), key=lambda each: each.name != name)
    if not projects:
        raise StartError(f"There is no project {name!r}.")
    return projects[0]
