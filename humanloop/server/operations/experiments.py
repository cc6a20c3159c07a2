"""Experiments: configs of a project that compete for positive feedback.

A trial is one draw of an active config; the log that names it is its datapoint. A config's
`trials_count` is the number of its datapoints with feedback, its positives are those of them with
a positive label, and its mean is the share of these.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Select, and_, case, exists, func, select
from sqlalchemy import update as sql_update
from sqlalchemy.orm import Session, joinedload, subqueryload

from humanloop.server.errors import Location, NotFound, invalid
from humanloop.server.operations import configs, deployments, feedback_types, lookups
from humanloop.server.operations.calls import Call, NeedsWriter, chunks, plain
from humanloop.server.store import turns
from humanloop.server.store.tables import (
    Annotation,
    Config,
    Experiment,
    ExperimentConfig,
    ExperimentLabel,
    Log,
    Metric,
    Project,
    Trial,
    is_complete,
)
from humanloop.server.store.tallies import table
from humanloop.server.store.times import now

LOADED = (
    joinedload(Experiment.metric),
    subqueryload(Experiment.positive_labels),
    subqueryload(Experiment.members),
)
"""What describe_all() reads of an experiment, to be loaded with many at once."""


@dataclass(frozen=True)
class Result:
    """Count a config's datapoints with feedback, and those with a positive label."""

    trials: int = 0
    positives: int = 0

    @property
    def posterior(self) -> tuple[int, int]:
        """Return the Beta distribution of its share of positives, from an even prior."""
        return 1 + self.positives, 1 + self.trials - self.positives

    @property
    def mean(self) -> float:
        """Return the share of positives; there must be a trial."""
        return self.positives / self.trials

    @property
    def spread(self) -> float:
        """Return the standard deviation of the posterior."""
        alpha, beta = self.posterior
        total = alpha + beta
        return math.sqrt(alpha * beta / (total * total * (total + 1)))


Results = Mapping[tuple[str, str], Result]
"""By the ids of an experiment and of a config; one that was never drawn is missing."""


def results(session: Session, experiments: Sequence[Experiment]) -> Results:
    """Return how each config that was drawn fares in each experiment."""
    key = (Trial.experiment_id, Trial.config_id)
    positive_log = case((ExperimentLabel.value.is_not(None), Log.id))
    return {
        (experiment_id, config_id): Result(trials, positives)
        for owner in {experiment.organization_id for experiment in experiments}
        for some in chunks([experiment.id for experiment in experiments])
        for experiment_id, config_id, trials, positives in session.execute(
            select(*key, func.count(Log.id.distinct()), func.count(positive_log.distinct()))
            .join(Log, and_(Log.organization_id == owner, Log.trial_id == Trial.id))
            .join(
                Annotation, and_(Annotation.organization_id == owner, Annotation.log_id == Log.id)
            )
            .outerjoin(
                ExperimentLabel,
                and_(
                    ExperimentLabel.organization_id == owner,
                    ExperimentLabel.experiment_id == Trial.experiment_id,
                    ExperimentLabel.feedback_type_id == Annotation.feedback_type_id,
                    ExperimentLabel.value == Annotation.value,
                ),
            )
            .where(Trial.organization_id == owner, Trial.experiment_id.in_(some), is_complete())
            .group_by(*key)
        )
    }


def draw(call: Call, experiment: Experiment) -> Trial:
    """Return a new trial of one of the experiment's active configs; 404 when it has none."""
    if call.only_reads:
        raise NeedsWriter
    candidates = [member.config for member in experiment.members if member.active]
    if not candidates:
        raise NotFound(f"The experiment {experiment.id!r} has no active config to sample.")
    config = _choose(call, experiment, candidates)
    configs.use(call.session, config)
    trial = Trial(organization_id=experiment.organization_id, experiment=experiment, config=config)
    call.session.add(trial)
    call.session.flush()
    return trial


def _choose(call: Call, experiment: Experiment, candidates: Sequence[Config]) -> Config:
    randomness = call.settings.randomness
    if call.settings.sampling == "uniform":
        return randomness.choice(candidates)
    known = results(call.session, [experiment])

    def sample(config: Config) -> float:
        result = known.get((experiment.id, config.id), Result())
        return randomness.betavariate(*result.posterior)

    return max(candidates, key=sample)


def add_config(experiment: Experiment, config: Config) -> None:
    """Let a config take part, or take part again."""
    for member in experiment.members:
        if member.config_id == config.id:
            if not member.active:
                member.active, member.updated_at = True, now()
            return
    experiment.members.append(
        ExperimentConfig(
            organization_id=config.organization_id,
            config_id=config.id,
            config=config,
            active=True,
        )
    )
    experiment.updated_at = now()


def find_by_name(session: Session, project: Project, name: str) -> Experiment | None:
    """Return the project's experiment with that name, if there is one."""
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
    known = results(session, experiments)
    drawn: set[str] = set()
    any_trial = exists().where(
        Trial.organization_id == Experiment.organization_id, Trial.experiment_id == Experiment.id
    )
    for some in chunks([experiment.id for experiment in experiments]):
        owned = (Experiment.organization_id == experiments[0].organization_id, any_trial)
        drawn |= set(session.scalars(select(Experiment.id).where(*owned, Experiment.id.in_(some))))
    return [
        _describe(experiment, known, is_drawn=experiment.id in drawn) for experiment in experiments
    ]


def _describe(experiment: Experiment, known: Results, *, is_drawn: bool) -> dict[str, Any]:
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
        configs=[
            _describe_member(member, known.get((experiment.id, member.config_id), Result()))
            for member in experiment.members
        ],
    )


def _describe_metric(metric: Metric) -> dict[str, Any]:
    columns = ("id", "name", "description", "code", "created_at", "updated_at")
    return plain(metric, *columns, default=True, active=True)


def _describe_member(member: ExperimentConfig, result: Result) -> dict[str, Any]:
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
    """Create an experiment, with its configs and active when that is wanted."""
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


def list_(call: Call) -> list[dict[str, Any]]:
    """Return a project's experiments, newest first."""
    project = lookups.project(call, call.path["project_id"])
    statement = _of_project(project).options(*LOADED)
    rows = call.session.scalars(statement.order_by(Experiment.created_at.desc(), Experiment.id))
    return describe_all(call.session, rows.all())


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


def delete(call: Call) -> None:
    """Delete an experiment with its trials; its logs stay, without their trial."""
    turns.be_alone(call.session)
    experiment = _of_path(call)
    trials = select(Trial.id).where(
        Trial.organization_id == experiment.organization_id, Trial.experiment_id == experiment.id
    )
    # ON DELETE SET NULL would take the organisation off the logs, too.
    call.connection.execute(
        sql_update(table(Log))
        .where(Log.organization_id == experiment.organization_id, Log.trial_id.in_(trials))
        .values(trial_id=None)
    )
    call.session.delete(experiment)


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
        message = "at least one label is wanted: without any, nothing would be measured"
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


def _add_configs(call: Call, experiment: Experiment, key: str) -> None:
    for location, config_id in _listed(call.body, key):
        config = lookups.find_in_project(
            call.session, Config, experiment.project, config_id, location
        )
        add_config(experiment, config)


def _listed(body: Mapping[str, Any], key: str) -> Iterable[tuple[Location, str]]:
    return ((("body", key, index), item) for index, item in enumerate(body.get(key, ())))
