"""Deployments: the active config or experiment of a project in an environment.

Either one config or one experiment is active, never both; deploying replaces the previous one. A
project's first config becomes active automatically.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy.orm import Session

from humanloop.server.errors import NotFound
from humanloop.server.operations import configs, lookups
from humanloop.server.operations.calls import Call, plain
from humanloop.server.store import turns
from humanloop.server.store.tables import Config, Deployment, Environment, Experiment, Project


def current(session: Session, project: Project, environment: Environment) -> Deployment | None:
    """Return the deployment there, if there is one."""
    return session.get(Deployment, (project.organization_id, project.id, environment.id))


def active(session: Session, project: Project, environment: Environment) -> Config | Experiment:
    """Return the active config or experiment there; raises NotFound if there is none."""
    deployment = current(session, project, environment)
    found = None if deployment is None else deployment.experiment or deployment.config
    if found is None:
        raise NotFound(
            f"The project {project.name!r} has no active config in the environment "
            f"{environment.name!r}."
        )
    return found


def deploy(
    session: Session, project: Project, environment: Environment, what: Config | Experiment
) -> Deployment:
    """Make a config or an experiment of the project active there."""
    turns.be_alone(session)
    deployment = current(session, project, environment)
    if deployment is None:
        deployment = Deployment(
            organization_id=project.organization_id,
            project_id=project.id,
            environment_id=environment.id,
        )
        session.add(deployment)
    deployment.config = what if isinstance(what, Config) else None
    deployment.experiment = what if isinstance(what, Experiment) else None
    session.flush()
    return deployment


def remove(session: Session, deployment: Deployment) -> None:
    """Remove a deployment, so that nothing is active there."""
    turns.be_alone(session)
    session.delete(deployment)
    session.flush()


def register_config(call: Call, project: Project, request: Mapping[str, Any]) -> Config:
    """Register a config; make it active if it is the project's first."""
    first = not configs.has_any(call.session, project)
    if first:
        turns.be_alone(call.session)
    config = configs.register(call.session, project, request)
    if first:
        environment = lookups.environment(call, None)
        if current(call.session, project, environment) is None:
            deploy(call.session, project, environment, config)
    return config


def describe(
    project: Project, environment: Environment, deployment: Deployment | None
) -> dict[str, Any]:
    """Return an EnvironmentProjectConfigResponse."""
    active = deployment or Deployment(project_id=project.id, environment_id=environment.id)
    config, experiment = active.config, active.experiment
    return plain(
        active,
        "project_id",
        "environment_id",
        "experiment_id",
        project_name=project.name,
        environment_name=environment.name,
        environment_tag=environment.tag,
        model_config_id=active.config_id,
        model_config_name=None if config is None else config.name,
        experiment_name=None if experiment is None else experiment.name,
    )
