"""The contents of a database, for the operator."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from humanloop.server.store.tables import (
    Config,
    Deployment,
    Environment,
    Experiment,
    Log,
    Organization,
    Project,
)


class Overview(NamedTuple):
    """A project; active: the name of the config or experiment in its default environment."""

    name: str
    id: str
    logs: int
    configs: int
    active: str | None
    active_kind: str | None
    last_log_at: datetime | None


def of_projects(session: Session) -> Sequence[Overview]:
    """Return all projects, the newest first."""
    configs = select(func.count()).where(
        Config.organization_id == Project.organization_id,
        Config.project_id == Project.id,
        Config.last_used.is_not(None),
    )
    newest = (
        select(Log.created_at)
        .where(Log.organization_id == Project.organization_id, Log.project_id == Project.id)
        .order_by(Log.created_at.desc())
        .limit(1)
    )
    statement = select(
        Project.id,
        Project.name,
        Project.datapoints,
        configs.scalar_subquery(),
        newest.scalar_subquery(),
    ).where(Project.organization_id == organization_id(session))
    active = _active(session)
    rows = session.execute(statement.order_by(Project.created_at.desc(), Project.id.desc()))
    found: list[Overview] = []
    for row_id, name, logs, used, last_log_at in rows:
        title, kind = active.get(row_id, (None, None))
        found.append(Overview(name, row_id, logs, used, title, kind, last_log_at))
    return found


def count_logs(session: Session) -> tuple[int, int]:
    """Return the number of projects, and of their logs."""
    counts = select(func.count(), func.coalesce(func.sum(Project.datapoints), 0))
    projects, logs = session.execute(
        counts.where(Project.organization_id == organization_id(session))
    ).one()
    return projects, int(logs)


def organization_id(session: Session) -> str:
    """Return the id of the only organisation; it exists once the first start has ended."""
    return session.scalar(select(Organization.id)) or ""


def _active(session: Session) -> dict[str, tuple[str, str]]:
    """Return the name and the kind of each project's active config or experiment."""
    owner = organization_id(session)
    default = select(Environment.id).where(
        Environment.organization_id == owner, Environment.tag == "default"
    )
    statement = (
        select(Deployment.project_id, Config.name, Experiment.name)
        .outerjoin(Deployment.config)
        .outerjoin(Deployment.experiment)
        .where(Deployment.organization_id == owner, Deployment.environment_id.in_(default))
    )
    rows: Any = session.execute(statement)  # of config and experiment, one is NULL
    return {
        project_id: (experiment, "experiment") if config is None else (config, "config")
        for project_id, config, experiment in rows
    }
