"""Model configs: registered without a log."""

from __future__ import annotations

from typing import Any

from humanloop.server.errors import invalid
from humanloop.server.operations import configs, deployments, experiments, lookups
from humanloop.server.operations.calls import Call
from humanloop.server.store import turns
from humanloop.server.store.tables import Config

_NOT_PARAMETERS = frozenset({"project", "project_id", "experiment"})


def get(call: Call) -> dict[str, Any]:
    """Return a model config by its id."""
    config = lookups.find(call, Config, call.path["id"], "model config")
    if config.type != "model":
        raise lookups.missing(f"model config {config.id!r}", None)
    return configs.describe(config)


def register(call: Call) -> dict[str, Any]:
    """Register a model config in a project, and in an experiment that must exist."""
    project = lookups.project_of_body(call, call.body, ("body",))
    request = {key: value for key, value in call.body.items() if key not in _NOT_PARAMETERS}
    config = deployments.register_config(call, project, request)
    call.session.flush()
    [body] = configs.describe_with_counts(call.session, [config])
    name = call.body.get("experiment")
    if name is None:
        return body
    experiment = experiments.find_by_name(call.session, project, name)
    if experiment is None:
        message = f"the project {project.name!r} has no experiment named {name!r}"
        raise invalid(("body", "experiment"), message)
    turns.be_alone(call.session)
    experiments.add_config(experiment, config)
    return {**body, "experiment_id": experiment.id}
