"""Experiments: configs of a project that compete for positive feedback.

A trial is one draw of an active config; the log that names it is its datapoint. A config's
`trials_count` is the number of its datapoints with feedback, its positives are the datapoints among
these with a positive label, and its mean is the share of positives.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Select, and_, exists, func, select
from sqlalchemy import delete as sql_delete
from sqlalchemy import update as sql_update
from sqlalchemy.orm import Session, joinedload, subqueryload

from humanloop.server.errors import Location, NotFound, invalid
from humanloop.server.operations import configs, deployments, feedback_types, lookups
from humanloop.server.operations.calls import (
    SLICE,
    Call,
    Listed,
    NeedsWriter,
    Settings,
    Stage,
    Stages,
    chunks,
    in_portions,
    load,
    plain,
)
from humanloop.server.store import tallies, turns
from humanloop.server.store.tables import (
    Config,
    Experiment,
    ExperimentConfig,
    ExperimentLabel,
    Log,
    Metric,
    Project,
    Trial,
)
from humanloop.server.store.tallies import table
from humanloop.server.store.times import now

LOADED = (
    joinedload(Experiment.metric),
    subqueryload(Experiment.positive_labels),
    subqueryload(Experiment.members),
)
"""The relationships that describe_all() reads, to be loaded for many experiments at once."""


@dataclass(frozen=True)
class Result:
    """The counts of a config's datapoints with feedback, and of those with a positive label."""

    trials: int
    positives: int

    @property
    def posterior(self) -> tuple[int, int]:
        """Return the Beta distribution of its share of positives, from an even prior."""
        return 1 + self.positives, 1 + self.trials - self.positives

    @property
    def mean(self) -> float:
        """Return the share of positives; needs at least one trial."""
        return self.positives / self.trials

    @property
    def spread(self) -> float:
        """Return the standard deviation of the posterior."""
        alpha, beta = self.posterior
        total = alpha + beta
        return math.sqrt(alpha * beta / (total * total * (total + 1)))


def draw(call: Call, experiment: Experiment) -> Trial:
    """Return a new trial of one of the active configs; raises NotFound if there are none."""
    if call.only_reads:
        raise NeedsWriter
    candidates = [member for member in experiment.members if member.active]
    if not candidates:
        raise NotFound(f"The experiment {experiment.id!r} has no active config to sample.")
    config = _choose(call.settings, candidates).config
    configs.use(call.session, config)
    trial = Trial(organization_id=experiment.organization_id, experiment=experiment, config=config)
    call.session.add(trial)
    call.session.flush()
    return trial


def _choose(settings: Settings, candidates: Sequence[ExperimentConfig]) -> ExperimentConfig:
    randomness = settings.randomness
    if settings.sampling == "uniform":
        return randomness.choice(candidates)

    def sample(member: ExperimentConfig) -> float:
        return randomness.betavariate(*Result(member.trials, member.positives).posterior)

    return max(candidates, key=sample)


def add_config(experiment: Experiment, config: Config) -> None:
    """Add a config to the experiment, or make it active again."""
    members = (each for each in experiment.members if each.config_id == config.id)
    _take_part(experiment, next(members, None), config)


def _take_part(
    experiment: Experiment, member: ExperimentConfig | None, config: Config
) -> ExperimentConfig:
    if member is None:
        member = ExperimentConfig(
            organization_id=config.organization_id,
            config_id=config.id,
            config=config,
            active=True,
        )
        experiment.members.append(member)
        experiment.updated_at = now()
    elif not member.active:
        member.active, member.updated_at = True, now()
    return member


def find_by_name(session: Session, project: Project, name: str) -> Experiment | None:
    """Return the project's experiment with that name, or None."""
    return session.scalar(_of_project(project).where(Experiment.name == name))


def _of_project(project: Project) -> Select[Experiment]:
    """Return the statement for all experiments of a project."""
    return select(Experiment).where(
        Experiment.organization_id == project.organization_id, Experiment.project_id == project.id
    )


def describe(session: Session, experiment: Experiment) -> dict[str, Any]:
    """Return an ExperimentResponse."""
    [body] = describe_all(session, [experiment])
    return body


def describe_all(session: Session, experiments: Sequence[Experiment]) -> list[dict[str, Any]]:
    """Return an ExperimentResponse for each."""
    drawn: set[str] = set()
    any_trial = exists().where(
        Trial.organization_id == Experiment.organization_id, Trial.experiment_id == Experiment.id
    )
    for some in chunks([experiment.id for experiment in experiments]):
        owned = (Experiment.organization_id == experiments[0].organization_id, any_trial)
        drawn |= set(session.scalars(select(Experiment.id).where(*owned, Experiment.id.in_(some))))
    return [_describe(experiment, is_drawn=experiment.id in drawn) for experiment in experiments]


def _describe(experiment: Experiment, *, is_drawn: bool) -> dict[str, Any]:
    return plain(
        experiment,
        "id",
        "project_id",
        "name",
        "created_at",
        "updated_at",
        status="In progress" if is_drawn else "Initialized",
        metric=_describe_metric(experiment.metric),
        positive_labels=[plain(label, "type", "value") for label in experiment.positive_labels],
        configs=[_describe_member(member) for member in experiment.members],
    )


def _describe_metric(metric: Metric) -> dict[str, Any]:
    columns = ("id", "name", "description", "code", "created_at", "updated_at")
    return plain(metric, *columns, default=True, active=True)


def _describe_member(member: ExperimentConfig) -> dict[str, Any]:
    result = Result(member.trials, member.positives)
    return plain(
        member,
        "active",
        "created_at",
        "updated_at",
        id=member.config_id,
        display_name=member.config.name,
        config=configs.describe(member.config),
        trials_count=result.trials,
        mean=result.mean if result.trials else None,
        spread=result.spread if result.trials else None,
    )


def describe_draw(trial: Trial) -> dict[str, Any]:
    """Return a GetModelConfigResponse."""
    return {
        **configs.describe_in_project(trial.config),
        "experiment_id": trial.experiment_id,
        "trial_id": trial.id,
    }


def create(call: Call) -> dict[str, Any]:
    """Create an experiment with its configs; make it active if wanted."""
    turns.be_alone(call.session)
    project = lookups.project(call, call.path["project_id"])
    _check_name(call.session, project, call.body["name"])
    metric = call.session.scalars(
        select(Metric).where(Metric.organization_id == project.organization_id)
    ).one()
    experiment = Experiment(
        organization_id=project.organization_id,
        project=project,
        metric=metric,
        name=call.body["name"],
    )
    call.session.add(experiment)
    _set_positive_labels(call, experiment)
    _add_configs(call, experiment, "config_ids")
    call.session.flush()
    if call.body.get("set_active", False):
        environment = lookups.environment(call, None)
        deployments.deploy(call.session, project, environment, experiment)
    return describe(call.session, experiment)


def list_(call: Call) -> Listed:
    """Return a project's experiments, newest first."""
    project = lookups.project(call, call.path["project_id"])
    # Each record contains all configs of its experiment.
    size = (
        select(func.sum(func.length(Config.parameters)))
        .join(
            ExperimentConfig,
            and_(
                ExperimentConfig.organization_id == Config.organization_id,
                ExperimentConfig.config_id == Config.id,
            ),
        )
        .where(
            ExperimentConfig.organization_id == Experiment.organization_id,
            ExperimentConfig.experiment_id == Experiment.id,
        )
        .scalar_subquery()
    )
    sizes = _of_project(project).with_only_columns(Experiment.id, func.coalesce(size, 0))
    found = call.session.execute(sizes.order_by(Experiment.created_at.desc(), Experiment.id)).all()
    statement = select(Experiment).options(*LOADED)
    return Listed(
        describe_all(call.session, load(call, statement, Experiment, ids))
        for ids in in_portions((row[0], row[1]) for row in found)
    )


def update(call: Call) -> dict[str, Any]:
    """Rename, set the positive labels, deregister configs, then register configs."""
    turns.be_alone(call.session)
    experiment = _of_path(call)
    name = call.body.get("name", experiment.name)
    if name != experiment.name:
        _check_name(call.session, experiment.project, name)
        experiment.name = name
    if "positive_labels" in call.body:
        _set_positive_labels(call, experiment)
        _recount(call, experiment)
    members = {member.config_id: member for member in experiment.members}
    for location, config_id in _listed(call.body, "config_ids_to_deregister"):
        if config_id not in members:
            raise invalid(location, f"{config_id!r} is not a config of this experiment")
        members[config_id].active = False
        members[config_id].updated_at = now()
    _add_configs(call, experiment, "config_ids_to_register")
    experiment.updated_at = now()
    call.session.flush()
    return describe(call.session, experiment)


def delete(call: Call) -> Stages:
    """Delete an experiment with its trials; its logs stay, without their trial.

    There may be many trials. The experiment exists until they are deleted, and an interrupted
    deletion can be repeated.
    """
    left = [True]

    def delete_some(call: Call) -> None:
        left[0] = _delete_trials(call, _of_path(call), SLICE) == SLICE

    def steps() -> Iterator[Stage]:
        while left[0]:
            yield delete_some

    def finish(call: Call) -> None:
        experiment = _of_path(call)
        _delete_trials(call, experiment, None)  # trials drawn meanwhile
        call.session.delete(experiment)

    return Stages(_of_path, steps(), lambda: None, finish)


def _delete_trials(call: Call, experiment: Experiment, limit: int | None) -> int:
    """Delete trials, up to a limit, and remove them from their logs; return their number."""
    turns.be_alone(call.session)
    owner = experiment.organization_id
    trials = select(Trial.id).where(
        Trial.organization_id == owner, Trial.experiment_id == experiment.id
    )
    ids = call.session.scalars(trials.limit(limit)).all()
    for some in chunks(ids):
        # ON DELETE SET NULL would also set the logs' organization_id to NULL.
        logs = sql_update(table(Log)).where(Log.organization_id == owner, Log.trial_id.in_(some))
        call.connection.execute(logs.values(trial_id=None))
        gone = sql_delete(table(Trial)).where(Trial.organization_id == owner, Trial.id.in_(some))
        call.connection.execute(gone)
    return len(ids)


def sample(call: Call) -> dict[str, Any]:
    """Draw one of the active configs."""
    return describe_draw(draw(call, _of_path(call)))


def _of_path(call: Call) -> Experiment:
    return lookups.find(call, Experiment, call.path["experiment_id"], "experiment")


def _check_name(session: Session, project: Project, name: str) -> None:
    if find_by_name(session, project, name) is not None:
        message = f"the project {project.name!r} already has an experiment named {name!r}"
        raise invalid(("body", "name"), message, "unique")


def _set_positive_labels(call: Call, experiment: Experiment) -> None:
    owner, location = experiment.organization_id, ("body", "positive_labels")
    if not call.body["positive_labels"]:
        message = "expected at least one label: without any, nothing would be measured"
        raise invalid(location, message, "minItems")
    known = feedback_types.kinds(call.connection, owner, experiment.project.id)
    wanted = [
        (feedback_types.find_kind(known, label["type"], (*location, index, "type")), label["value"])
        for index, label in enumerate(call.body["positive_labels"])
    ]
    feedback_types.check_labels(call.session, owner, wanted, location)
    experiment.positive_labels = [
        ExperimentLabel(
            organization_id=experiment.organization_id, feedback_type_id=kind_id, value=value
        )
        for kind_id, value in dict.fromkeys((kind.id, value) for kind, value in wanted)
    ]


def _recount(call: Call, experiment: Experiment) -> None:
    """Count the trials again under other positive labels: now for the answer, finally at the end.

    Changes that others note in the same transaction are counted only then.
    """
    call.session.flush()
    counts = tallies.count_trials(call.connection, experiment.organization_id, experiment.id)
    for member in experiment.members:
        member.trials, member.positives = counts[member.config_id]
    call.tally.recount_trials(experiment.organization_id, experiment.id)


def _add_configs(call: Call, experiment: Experiment, key: str) -> None:
    listed = list(_listed(call.body, key))
    project = experiment.project
    found: dict[str, Config] = {}
    for some in chunks([config_id for _, config_id in listed]):
        of_project = configs.of_project(project).where(Config.id.in_(some))
        found |= {config.id: config for config in call.session.scalars(of_project)}
    members = {member.config_id: member for member in experiment.members}
    for location, config_id in listed:
        if config_id not in found:
            message = f"the project {project.name!r} has no config {config_id!r}"
            raise invalid(location, message)
        members[config_id] = _take_part(experiment, members.get(config_id), found[config_id])


def _listed(body: Mapping[str, Any], key: str) -> Iterable[tuple[Location, str]]:
    return ((("body", key, index), item) for index, item in enumerate(body.get(key, ())))
