"""Projects: their settings, their active configs and experiments, and the export of their logs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import joinedload
from sqlalchemy.sql.elements import ColumnElement

from humanloop.server.errors import invalid
from humanloop.server.operations import (
    configs,
    deployments,
    experiments,
    feedback_types,
    log_pages,
    logs,
    lookups,
    scores,
)
from humanloop.server.operations.calls import (
    Call,
    Listed,
    Page,
    in_portions,
    load,
    paginate,
    paginate_by,
    plain,
)
from humanloop.server.store import turns
from humanloop.server.store.tables import (
    Config,
    Deployment,
    Environment,
    Experiment,
    Project,
    User,
)
from humanloop.server.store.times import now

_MAX_FILTER = 1000  # databases limit the length of patterns
_PORTION = 10  # projects described at once: their active configs may be large


def describe(call: Call, project: Project) -> dict[str, Any]:
    """Return a ProjectResponse, with what is active in the default environment."""
    [body] = describe_all(call, [project])
    return body


def describe_all(call: Call, projects: Sequence[Project]) -> list[dict[str, Any]]:
    """Return a ProjectResponse for each, with as many statements as for one."""
    ids = [project.id for project in projects]
    types = feedback_types.of_projects(call.session, call.account.organization_id, ids)
    first_types = _first_config_types(call, ids)
    active = _active(call, ids)
    return [
        plain(
            project,
            "id",
            "name",
            "created_at",
            "updated_at",
            users=[_describe_user(project.creator)],
            data_count=project.datapoints,
            feedback_types=feedback_types.describe_all(types[project.id]),
            team_id=project.organization_id,
            config_type=first_types[project.id],
            **active.get(project.id, {}),
        )
        for project in projects
    ]


def _first_config_types(call: Call, ids: Sequence[str]) -> dict[str, str | None]:
    """Return the type of the first config that was used in each project."""
    oldest = (
        select(Config.type)
        .where(
            Config.organization_id == Project.organization_id,
            Config.project_id == Project.id,
            Config.last_used.is_not(None),
        )
        .order_by(Config.created_at, Config.id)
        .limit(1)
        .scalar_subquery()
    )
    owned = (Project.organization_id == call.account.organization_id, Project.id.in_(ids))
    found = call.session.execute(select(Project.id, oldest).where(*owned))
    return {row[0]: row[1] for row in found}


def _active(call: Call, ids: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Return the active config or experiment in each project's default environment, if any."""
    environment = lookups.environment(call, None)
    statement = (
        select(Deployment)
        .where(
            Deployment.organization_id == environment.organization_id,
            Deployment.project_id.in_(ids),
            Deployment.environment_id == environment.id,
        )
        .options(
            joinedload(Deployment.config),
            joinedload(Deployment.experiment).options(*experiments.LOADED),
        )
    )
    deployed = call.session.scalars(statement).all()
    found = [each.config for each in deployed if each.config is not None]
    bodies = {
        config.project_id: {"active_config": body}
        for config, body in zip(
            found, configs.describe_with_counts(call.session, found), strict=True
        )
    }
    competing = [each.experiment for each in deployed if each.experiment is not None]
    return bodies | {
        body["project_id"]: {"active_experiment": body}
        for body in experiments.describe_all(call.session, competing)
    }


def _describe_user(user: User) -> dict[str, Any]:
    return plain(user, "id", "email_address", "full_name")


def create(call: Call) -> dict[str, Any]:
    """Create a project; given feedback types are added to the default ones."""
    project = lookups.create_project(call, call.body["name"], ("body", "name"))
    labels = feedback_types.Labels(call.session, project)
    for index, request in enumerate(call.body.get("feedback_types", ())):
        labels.upsert(request, ("body", "feedback_types", index))
    call.session.flush()
    return describe(call, project)


def get(call: Call) -> dict[str, Any]:
    """Return a project."""
    return describe(call, lookups.project(call, call.path["id"]))


def list_(call: Call) -> Page:
    """Return a page of the projects that match the filters, in the requested order."""
    column: ColumnElement[Any] = {
        "created_at": Project.created_at.expression,
        "updated_at": Project.updated_at.expression,
        "name": func.lower(Project.name),
    }[call.query["sort_by"]]
    descending = call.query["order"] == "desc"
    organization_id = call.query.get("organization_id", call.account.organization_id)
    statement = select(Project.id).where(
        Project.organization_id == call.account.organization_id,
        Project.organization_id == organization_id,
    )
    for key in ("filter", "user_filter"):
        text = call.query.get(key, "")
        if len(text) > _MAX_FILTER:
            message = f"got {len(text)} characters, a search has at most {_MAX_FILTER}"
            raise invalid(("query", key), message, "maxLength")
    if "filter" in call.query:
        statement = statement.where(Project.name.icontains(call.query["filter"], autoescape=True))
    if "user_filter" in call.query:
        text = call.query["user_filter"]
        statement = statement.join(Project.creator).where(
            User.email_address.icontains(text, autoescape=True)
            | User.full_name.icontains(text, autoescape=True)
        )
    statement = statement.order_by(column.desc() if descending else column.asc(), Project.id)

    def describe_some(ids: list[str]) -> list[dict[str, Any]]:
        return describe_all(call, load(call, select(Project), Project, ids))

    return paginate(call, statement, describe_some, first=0, portion=_PORTION)


def update(call: Call) -> dict[str, Any]:
    """Rename a project, activate a config or an experiment, or set the positive labels."""
    turns.be_alone(call.session)
    project = lookups.project(call, call.path["id"])
    body, session = call.body, call.session
    name = body.get("name", project.name)
    if name != project.name:
        lookups.check_project_name(call, name, ("body", "name"))
        project.name = name
    what = _chosen(call, project, "active_config_id", "active_experiment_id")
    if what is not None:
        deployments.deploy(session, project, lookups.environment(call, None), what)
    if "positive_labels" in body:
        labels = feedback_types.Labels(session, project)
        labels.set_positive(body["positive_labels"], ("body", "positive_labels"))
    project.updated_at = now()
    session.flush()
    return describe(call, project)


def _chosen(
    call: Call, project: Project, config_key: str, experiment_key: str
) -> Config | Experiment | None:
    """Return the config or the experiment that the body names; raises an error for both."""
    config_id, experiment_id = call.body.get(config_key), call.body.get(experiment_key)
    if config_id is not None and experiment_id is not None:
        message = f"`{config_key}` and `{experiment_key}` exclude each other"
        raise invalid(("body", experiment_key), message, "not")
    if config_id is not None:
        return lookups.find_in_project(
            call.session, Config, project, config_id, ("body", config_key)
        )
    if experiment_id is not None:
        return lookups.find_in_project(
            call.session, Experiment, project, experiment_id, ("body", experiment_key)
        )
    return None


def list_configs(call: Call) -> Listed:
    """Return the configs that were registered or used in a project, newest first."""
    project = lookups.project(call, call.path["id"])
    used = configs.of_project(project).where(Config.last_used.is_not(None))
    wanted = call.query.get("evaluation_aggregates", False)

    def describe_some(ids: list[str]) -> list[dict[str, Any]]:
        found = load(call, select(Config), Config, ids)
        bodies = configs.describe_with_counts(call.session, found)
        return scores.with_aggregates(call, bodies) if wanted else bodies

    sizes = used.with_only_columns(Config.id, func.length(Config.parameters))
    found = call.session.execute(sizes.order_by(Config.created_at.desc(), Config.id)).all()
    return Listed(describe_some(ids) for ids in in_portions((row[0], row[1]) for row in found))


def get_active_config(call: Call) -> dict[str, Any]:
    """Return the active config, or a draw of the active experiment."""
    project, environment = _project_and_environment(call)
    active = deployments.active(call.session, project, environment)
    if isinstance(active, Experiment):
        found = [experiments.describe_draw(experiments.draw(call, active))]
    else:
        found = configs.describe_with_counts(call.session, [active])
    [body] = scores.with_aggregates(call, found)
    return body


def deactivate_config(call: Call) -> dict[str, Any]:
    """Deactivate the active config, if there is one."""
    return _deactivate(call, lambda active: active.config is not None)


def deactivate_experiment(call: Call) -> dict[str, Any]:
    """Deactivate the active experiment, if there is one."""
    return _deactivate(call, lambda active: active.experiment is not None)


def _deactivate(call: Call, is_meant: Callable[[Deployment], bool]) -> dict[str, Any]:
    project, environment = _project_and_environment(call)
    active = deployments.current(call.session, project, environment)
    if active is not None and is_meant(active):
        deployments.remove(call.session, active)
    return describe(call, project)


def _project_and_environment(call: Call) -> tuple[Project, Environment]:
    project = lookups.project(call, call.path["id"])
    return project, lookups.environment(call, call.query.get("environment"))


def deploy_config(call: Call) -> list[dict[str, Any]]:
    """Deploy a config or an experiment to environments, or to the default one."""
    project = lookups.project(call, call.path["project_id"])
    what = _chosen(call, project, "config_id", "experiment_id")
    if what is None:
        message = "`config_id` or `experiment_id` is needed"
        raise invalid(("body", "config_id"), message, "required")
    return [
        deployments.describe(
            project, environment, deployments.deploy(call.session, project, environment, what)
        )
        for environment in _wanted_environments(call)
    ]


def _wanted_environments(call: Call) -> list[Environment]:
    """Return the environments that the body names, each once; without any, the default one."""
    wanted: Sequence[Mapping[str, Any]] = call.body.get("environments", ())
    if not wanted:
        return [lookups.environment(call, None)]
    found = [
        lookups.find(
            call, Environment, each["id"], "environment", ("body", "environments", index, "id")
        )
        for index, each in enumerate(wanted)
    ]
    return list(dict.fromkeys(found))


def list_deployed_configs(call: Call) -> list[dict[str, Any]]:
    """Return every environment, with its deployment."""
    project = lookups.project(call, call.path["id"])
    return [
        deployments.describe(
            project, environment, deployments.current(call.session, project, environment)
        )
        for environment in lookups.environments(call)
    ]


def delete_deployed_config(call: Call) -> dict[str, Any]:
    """Remove the deployment in an environment, if any; return the environment without one."""
    project = lookups.project(call, call.path["project_id"])
    environment = lookups.find(call, Environment, call.path["environment_id"], "environment")
    active: Deployment | None = deployments.current(call.session, project, environment)
    if active is not None:
        deployments.remove(call.session, active)
    return deployments.describe(project, environment, None)


def create_feedback_type(call: Call) -> dict[str, Any]:
    """Add a feedback type to a project."""
    project = lookups.project(call, call.path["id"])
    name, labels = call.body["type"], feedback_types.Labels(call.session, project)
    if name in labels.types:
        message = f"the project {project.name!r} already has a feedback type {name!r}"
        raise invalid(("body", "type"), message, "unique")
    return feedback_types.describe(labels.upsert(call.body, ("body",)))


def update_feedback_types(call: Call) -> list[dict[str, Any]]:
    """Add or change feedback types and their labels; return all of the project's types."""
    project = lookups.project(call, call.path["id"])
    labels = feedback_types.Labels(call.session, project)
    for index, request in enumerate(call.body):
        labels.upsert(request, ("body", index))
    return feedback_types.describe_all(labels.types.values())


def export(call: Call) -> Page:
    """Return a page of a project's logs, newest first."""
    project = lookups.project(call, call.path["id"])

    def portions(offset: int, size: int) -> Iterator[list[dict[str, Any]]]:
        ids = log_pages.find_ids(call, project, offset, size)
        return ([logs.describe(log) for log in found] for found in logs.load_in_portions(call, ids))

    return paginate_by(call, portions, project.datapoints, first=0)
