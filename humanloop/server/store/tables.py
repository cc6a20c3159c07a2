"""The tables, as typed SQLAlchemy classes.

Every row belongs to one organisation, whose id leads every key, reference and index, so that rows
can be distributed among machines by it. Ids are the API's own (`pr_...`), made without asking the
database; where the order of arrival matters, a table also has a column `row`. JSON is stored as
text with every digit of its numbers. A change here needs a migration in migrations/versions; a test
compares the two.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any, ClassVar

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    ColumnElement,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
    and_,
    event,
    exists,
    not_,
    or_,
    text,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship

from humanloop.server.store.ids import new_id, new_number, next_row
from humanloop.server.store.json_text import JsonText
from humanloop.server.store.key_text import KeyText
from humanloop.server.store.times import UtcDateTime, now

_ID = String(40)


class Base(DeclarativeBase):
    """The base of the tables. A new row gets default values for its id, row and times."""

    id_prefix: ClassVar[str | None] = None
    """The prefix of the API's ids of such rows; None if they have none."""

    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "ck": "ck_%(table_name)s_%(constraint_name)s",
            "fk": "fk_%(table_name)s_%(column_0_N_name)s",
            "pk": "pk_%(table_name)s",
        }
    )
    type_annotation_map = {datetime: UtcDateTime(), str: Text()}  # noqa: RUF012 (SQLAlchemy's)

    @classmethod
    def __table_cls__(cls, *parts: Any, **options: Any) -> Table:
        """Return the class's table, with the foreign keys of its references."""
        return Table(*parts, *_foreign_keys(parts), **options)


def _begin_row(row: Base, _args: object, values: dict[str, Any]) -> None:
    columns = row.__table__.columns
    if row.id_prefix is not None:
        values.setdefault("id", new_id(row.id_prefix))
    if "row" in columns:
        values.setdefault("row", next_row())
    moment = now()
    for name in {"created_at", "updated_at"} & set(columns.keys()):
        values.setdefault(name, moment)


event.listen(Base, "init", _begin_row, propagate=True)


def _count() -> Any:
    """Return a column with a count, which store/tallies maintains."""
    return mapped_column(default=0, server_default="0")


def _order() -> Any:
    """Return a column with the order of arrival."""
    return mapped_column(BigInteger, default=next_row)


def _reference(target: str, *, on_delete: str | None = None, primary_key: bool = False) -> Any:
    """Return a column with the id of a row in the target, a table of the same organisation."""
    kind = BigInteger() if target == "feedback_types" else _ID
    return mapped_column(kind, primary_key=primary_key, info={"target": (target, on_delete)})


def _foreign_keys(parts: Iterable[Any]) -> list[ForeignKeyConstraint]:
    """Return the constraints of the columns that `_reference` has made."""
    found: list[ForeignKeyConstraint] = []
    for column in parts:
        if isinstance(column, Column) and "target" in column.info:
            target, on_delete = column.info["target"]
            keys = (f"{target}.organization_id", f"{target}.id")
            columns = ("organization_id", column.name)
            found.append(ForeignKeyConstraint(columns, keys, ondelete=on_delete))
    return found


def _link(reference: str, target: str, **options: Any) -> Any:
    """Return the relationship from a row to the row whose id it holds.

    reference: the column with the id, as "Class.column". The column of the organisation is never
        written by it: it is the same on both sides.
    """
    owner = reference.partition(".")[0]
    return relationship(
        primaryjoin=f"and_(remote({target}.organization_id) == {owner}.organization_id, "
        f"remote({target}.id) == foreign({reference}))",
        **options,
    )


def _links(reference: str, owner: str) -> Any:
    """Return the relationship from a row to the rows that hold its id, in the order of arrival.

    reference: their column with the id, as "Class.column". They are deleted with the row.
    """
    kind = reference.partition(".")[0]
    return relationship(
        primaryjoin=f"and_({owner}.organization_id == remote({kind}.organization_id), "
        f"{owner}.id == remote(foreign({reference})))",
        order_by=f"{kind}.row",
        cascade="all, delete-orphan",
    )


def _unique(*columns: str) -> UniqueConstraint:
    return UniqueConstraint("organization_id", *columns)


def _index(*columns: str, unique: bool = False, where: str | None = None) -> Index:
    """Return an index; where: only of rows in which that column is not NULL."""
    some = None if where is None else text(f"{where} IS NOT NULL")
    return Index(
        None, "organization_id", *columns, unique=unique, sqlite_where=some, postgresql_where=some
    )


def _index_of_references(column: str) -> Index:
    """Return an index by which PostgreSQL finds the rows that refer to a deleted row.

    SQLite has no such index: code that deletes such rows there disables the check
    (`Database.join`).
    """
    index = _index(column)
    index.info["only"] = "postgresql"
    return index


class Organization(Base):
    """The only organisation of a database; `key_salt` salts the digests of its users' keys."""

    __tablename__ = "organizations"
    id_prefix = "org_"

    id: Mapped[str] = mapped_column(_ID, primary_key=True)
    name: Mapped[str]
    key_salt: Mapped[str]
    created_at: Mapped[datetime]


class Owned(Base):
    """The base of tables whose rows belong to an organisation."""

    __abstract__ = True

    organization_id: Mapped[str] = mapped_column(_ID, primary_key=True, sort_order=-2)


class Entity(Owned):
    """The base of tables whose rows have an id in the API."""

    __abstract__ = True

    id: Mapped[str] = mapped_column(_ID, primary_key=True, sort_order=-1)
    created_at: Mapped[datetime]


class Top(Entity):
    """The base of tables whose rows belong to an organisation directly, not through another row."""

    __abstract__ = True

    organization_id: Mapped[str] = mapped_column(
        _ID, ForeignKey("organizations.id"), primary_key=True, sort_order=-2
    )


class User(Top):
    """The holder of an API key; the key itself is never stored."""

    __tablename__ = "users"
    id_prefix = "usr_"
    __table_args__ = (_unique("key_digest"),)

    key_digest: Mapped[str] = mapped_column(String(64))
    email_address: Mapped[str]
    full_name: Mapped[str | None]


class Environment(Top):
    """An environment for deployments; the one with the tag `default` is used by default."""

    __tablename__ = "environments"
    id_prefix = "env_"
    __table_args__ = (_unique("name"),)

    name: Mapped[str] = mapped_column(KeyText)
    tag: Mapped[str]


class Metric(Top):
    """A measure by which experiments are judged."""

    __tablename__ = "metrics"
    id_prefix = "metric_"

    name: Mapped[str]
    description: Mapped[str]
    code: Mapped[str]
    updated_at: Mapped[datetime]


class Project(Top):
    """A named collection of configs, logs and experiments.

    `deleted` is the number of logs that counted and were deleted.
    """

    __tablename__ = "projects"
    id_prefix = "pr_"
    __table_args__ = (_unique("name"), _index("created_at", "id"))

    creator_id: Mapped[str] = _reference("users")
    name: Mapped[str] = mapped_column(KeyText)
    updated_at: Mapped[datetime]
    datapoints: Mapped[int] = _count()
    deleted: Mapped[int] = _count()

    creator: Mapped[User] = _link("Project.creator_id", "User", lazy="joined")


class Config(Entity):
    """One unique set of parameters within a project.

    `parameters` is the request with its defaults, without its name and description; a model
    config's tools have the ids of their own tool configs. `last_used` is NULL for a tool that so
    far only came inside a model config; such a tool is not listed by itself.
    """

    __tablename__ = "configs"
    id_prefix = "config_"
    __table_args__ = (_unique("project_id", "digest"), _index("project_id", "created_at", "id"))

    project_id: Mapped[str] = _reference("projects")
    type: Mapped[str] = mapped_column(String(16))
    digest: Mapped[str] = mapped_column(String(64))
    name: Mapped[str]
    description: Mapped[str | None]
    parameters: Mapped[Any] = mapped_column(JsonText)
    updated_at: Mapped[datetime]
    last_used: Mapped[datetime | None]
    datapoints: Mapped[int] = _count()

    project: Mapped[Project] = _link("Config.project_id", "Project")


LABEL_CLASSES = frozenset({"select", "multi_select"})
"""The classes of feedback whose values are labels."""


class FeedbackKind(Owned):
    """A feedback type of a project; `feedback_class` determines its values."""

    __tablename__ = "feedback_types"
    __table_args__ = (_unique("project_id", "type"),)

    id: Mapped[int] = mapped_column(
        BigInteger, primary_key=True, autoincrement=False, default=new_number
    )
    row: Mapped[int] = _order()
    project_id: Mapped[str] = _reference("projects")
    type: Mapped[str] = mapped_column(KeyText)
    feedback_class: Mapped[str] = mapped_column(String(16))

    labels: Mapped[list[FeedbackLabel]] = _links("FeedbackLabel.feedback_type_id", "FeedbackKind")


class FeedbackLabel(Owned):
    """A value that a select or multi_select feedback type offers."""

    __tablename__ = "feedback_labels"

    feedback_type_id: Mapped[int] = _reference("feedback_types", primary_key=True)
    value: Mapped[str] = mapped_column(KeyText, primary_key=True)
    row: Mapped[int] = _order()
    sentiment: Mapped[str] = mapped_column(String(16))


class Experiment(Entity):
    """Configs of a project that compete for positive feedback."""

    __tablename__ = "experiments"
    id_prefix = "exp_"
    __table_args__ = (_unique("project_id", "name"),)

    project_id: Mapped[str] = _reference("projects")
    metric_id: Mapped[str] = _reference("metrics")
    name: Mapped[str] = mapped_column(KeyText)
    updated_at: Mapped[datetime]

    project: Mapped[Project] = _link("Experiment.project_id", "Project")
    metric: Mapped[Metric] = _link("Experiment.metric_id", "Metric")
    positive_labels: Mapped[list[ExperimentLabel]] = _links(
        "ExperimentLabel.experiment_id", "Experiment"
    )
    members: Mapped[list[ExperimentConfig]] = _links("ExperimentConfig.experiment_id", "Experiment")


class ExperimentLabel(Owned):
    """A feedback label that counts as positive in an experiment."""

    __tablename__ = "positive_labels"

    experiment_id: Mapped[str] = _reference("experiments", on_delete="CASCADE", primary_key=True)
    feedback_type_id: Mapped[int] = _reference("feedback_types", primary_key=True)
    value: Mapped[str] = mapped_column(KeyText, primary_key=True)
    row: Mapped[int] = _order()

    feedback_type: Mapped[FeedbackKind] = _link(
        "ExperimentLabel.feedback_type_id", "FeedbackKind", lazy="joined"
    )

    @property
    def type(self) -> str:
        """Return the name of the feedback type."""
        return self.feedback_type.type


class ExperimentConfig(Owned):
    """A config's part in an experiment; only active ones are sampled.

    `trials` is the number of its datapoints with feedback, `positives` the number of these with a
    positive label.
    """

    __tablename__ = "experiment_configs"

    experiment_id: Mapped[str] = _reference("experiments", on_delete="CASCADE", primary_key=True)
    config_id: Mapped[str] = _reference("configs", primary_key=True)
    row: Mapped[int] = _order()
    active: Mapped[bool]
    trials: Mapped[int] = _count()
    positives: Mapped[int] = _count()
    created_at: Mapped[datetime]
    updated_at: Mapped[datetime]

    config: Mapped[Config] = _link("ExperimentConfig.config_id", "Config", lazy="joined")


class Trial(Entity):
    """One draw of a config from an experiment."""

    __tablename__ = "trials"
    id_prefix = "trial_"
    __table_args__ = (_index("experiment_id"), _index_of_references("config_id"))

    experiment_id: Mapped[str] = _reference("experiments", on_delete="CASCADE")
    config_id: Mapped[str] = _reference("configs")

    experiment: Mapped[Experiment] = _link("Trial.experiment_id", "Experiment")
    config: Mapped[Config] = _link("Trial.config_id", "Config")


class Deployment(Owned):
    """The config or the experiment that is active for a project in an environment."""

    __tablename__ = "deployments"
    __table_args__ = (
        CheckConstraint("(config_id IS NULL) <> (experiment_id IS NULL)", name="exactly_one"),
    )

    project_id: Mapped[str] = _reference("projects", primary_key=True)
    environment_id: Mapped[str] = _reference("environments", primary_key=True)
    config_id: Mapped[str | None] = _reference("configs")
    experiment_id: Mapped[str | None] = _reference("experiments", on_delete="CASCADE")

    config: Mapped[Config | None] = _link("Deployment.config_id", "Config")
    experiment: Mapped[Experiment | None] = _link("Deployment.experiment_id", "Experiment")


class Conversation(Top):
    """A session of the API: logs that belong together."""

    __tablename__ = "sessions"
    id_prefix = "sesh_"
    __table_args__ = (_unique("reference_id"),)

    reference_id: Mapped[str | None] = mapped_column(KeyText)


class SessionProject(Owned):
    """A project with datapoints in a session; `created_at` is the session's, for sorting."""

    __tablename__ = "session_projects"
    __table_args__ = (_index("project_id", "created_at", "session_id"), _index("session_id"))

    project_id: Mapped[str] = _reference("projects", primary_key=True)
    session_id: Mapped[str] = _reference("sessions", primary_key=True)
    created_at: Mapped[datetime]
    datapoints: Mapped[int] = _count()


class Batch(Top):
    """A large array of logs that is being written: its logs do not count yet."""

    __tablename__ = "batches"
    id_prefix = "batch_"


class Log(Entity):
    """A logged datapoint. `row` keeps the order of arrival among equal times.

    `batch_id` is that of the large array with which it came, if any; see `is_complete`.
    `request_digest` is of the log as sent, so that a repeated request is recognised even after a
    change. The provider's answer (`provider_...`, `raw_output`, `finish_reason`) exists for logs
    generated here, after the generation has ended.
    """

    __tablename__ = "logs"
    id_prefix = "data_"
    __table_args__ = (
        _index("row"),
        _index("project_id", "created_at", "row"),
        _index("reference_id", unique=True, where="reference_id"),
        _index("session_id", "created_at", "row", where="session_id"),
        _index("parent_id", where="parent_id"),
        _index("trial_id", where="trial_id"),
        _index_of_references("config_id"),
    )

    row: Mapped[int] = _order()
    project_id: Mapped[str] = _reference("projects")
    config_id: Mapped[str] = _reference("configs")
    session_id: Mapped[str | None] = _reference("sessions")
    parent_id: Mapped[str | None] = _reference("logs")
    trial_id: Mapped[str | None] = _reference("trials")
    batch_id: Mapped[str | None] = mapped_column(_ID)
    reference_id: Mapped[str | None] = mapped_column(KeyText)
    request_digest: Mapped[str | None] = mapped_column(String(32))
    inputs: Mapped[Any] = mapped_column(JsonText)
    messages: Mapped[Any | None] = mapped_column(JsonText)
    metadata_: Mapped[Any | None] = mapped_column("metadata", JsonText)
    source: Mapped[str | None]
    output: Mapped[str | None]
    error: Mapped[str | None]
    duration: Mapped[Any | None] = mapped_column(JsonText)
    user: Mapped[str | None]
    provider_request: Mapped[Any | None] = mapped_column(JsonText)
    provider_response: Mapped[Any | None] = mapped_column(JsonText)
    provider_latency: Mapped[Any | None] = mapped_column(JsonText)
    raw_output: Mapped[str | None]
    finish_reason: Mapped[str | None]

    config: Mapped[Config] = _link("Log.config_id", "Config")
    conversation: Mapped[Conversation | None] = _link("Log.session_id", "Conversation")
    parent: Mapped[Log | None] = _link("Log.parent_id", "Log")
    feedback: Mapped[list[Annotation]] = _links("Annotation.log_id", "Log")


def is_complete() -> ColumnElement[bool]:
    """Return the condition that a log counts: it came by itself, or its array is complete."""
    its_batch = and_(Batch.organization_id == Log.organization_id, Batch.id == Log.batch_id)
    return or_(Log.batch_id.is_(None), not_(exists().where(its_batch)))


class Annotation(Entity):
    """One value of feedback on a log: a label, a text, or a number's digits."""

    __tablename__ = "feedback"
    id_prefix = "ann_"
    __table_args__ = (_index("log_id", "row"), _index_of_references("feedback_type_id"))

    row: Mapped[int] = _order()
    log_id: Mapped[str] = _reference("logs")
    feedback_type_id: Mapped[int] = _reference("feedback_types")
    value: Mapped[str]
    user: Mapped[str | None]

    feedback_type: Mapped[FeedbackKind] = _link("Annotation.feedback_type_id", "FeedbackKind")


class LabelCount(Owned):
    """The number of times that a label was given to a config's datapoints."""

    __tablename__ = "label_counts"

    config_id: Mapped[str] = _reference("configs", primary_key=True)
    feedback_type_id: Mapped[int] = _reference("feedback_types", primary_key=True)
    value: Mapped[str] = mapped_column(KeyText, primary_key=True)
    datapoints: Mapped[int] = _count()

    feedback_type: Mapped[FeedbackKind] = _link(
        "LabelCount.feedback_type_id", "FeedbackKind", lazy="joined"
    )


class Testset(Entity):
    """Testcases of a project; `testcase_count` is their present number."""

    __tablename__ = "testsets"
    id_prefix = "evts_"
    __table_args__ = (_unique("project_id", "name"), _index("project_id", "created_at", "id"))

    project_id: Mapped[str] = _reference("projects")
    name: Mapped[str] = mapped_column(KeyText)
    description: Mapped[str | None]
    testcase_count: Mapped[int] = _count()
    updated_at: Mapped[datetime]


class TestcaseVersion(Entity):
    """A version of a testcase; `created_at` is the testcase's, `updated_at` the version's.

    `testset_id` is NULL once the version is not current any more: another version replaced it, or
    the testcase was deleted. It stays as long as it is in the snapshot of an evaluation, and never
    changes then. `row` is the testcase's place in its testset, the same in all versions.
    """

    __tablename__ = "testcase_versions"
    id_prefix = "evtv_"
    __table_args__ = (
        _index("testcase_id", unique=True, where="testset_id"),
        _index("testset_id", "row", "testcase_id", where="testset_id"),
    )

    testcase_id: Mapped[str] = mapped_column(_ID)
    testset_id: Mapped[str | None] = _reference("testsets")
    row: Mapped[int] = _order()
    inputs: Mapped[Any | None] = mapped_column(JsonText)
    messages: Mapped[Any | None] = mapped_column(JsonText)
    target: Mapped[Any | None] = mapped_column(JsonText)
    source_project_data_id: Mapped[str | None] = mapped_column(_ID)
    updated_at: Mapped[datetime]


class Evaluator(Top):
    """Python source that judges datapoints. Evaluations keep their own copies of it."""

    __tablename__ = "evaluators"
    id_prefix = "evfn_"
    __table_args__ = (_unique("name"),)

    name: Mapped[str] = mapped_column(KeyText)
    description: Mapped[str]
    code: Mapped[str]
    arguments_type: Mapped[str] = mapped_column(String(16))
    return_type: Mapped[str] = mapped_column(String(16))
    updated_at: Mapped[datetime]


class Evaluation(Entity):
    """A config that is run over a snapshot of a testset and judged by evaluators.

    `testset` is the TestsetResponse at the time of creation: the testset itself may be deleted.
    `keys_owner` is the EvaluationWorker that holds the caller's provider keys in memory.
    """

    __tablename__ = "evaluations"
    id_prefix = "ev_"
    __table_args__ = (
        _index("project_id", "created_at", "id"),
        _index("config_id", "created_at", "id"),
        _index("status", "created_at", "id"),
    )

    project_id: Mapped[str] = _reference("projects")
    config_id: Mapped[str] = _reference("configs")
    testset_id: Mapped[str] = mapped_column(_ID)
    testset: Mapped[Any] = mapped_column(JsonText)
    status: Mapped[str] = mapped_column(String(16))
    keys_owner: Mapped[str | None] = mapped_column(_ID)
    updated_at: Mapped[datetime]

    config: Mapped[Config] = _link("Evaluation.config_id", "Config")
    evaluators: Mapped[list[EvaluationEvaluator]] = _links(
        "EvaluationEvaluator.evaluation_id", "Evaluation"
    )


class EvaluationEvaluator(Owned):
    """An evaluator's part in an evaluation.

    `evaluator` is the EvaluatorResponse at the time of the evaluation's creation, which records the
    code that ran. The other columns are NULL until the evaluation has ended: the numbers of its
    results with a value and with an error, and the mean of the values.
    """

    __tablename__ = "evaluation_evaluators"

    evaluation_id: Mapped[str] = _reference("evaluations", primary_key=True)
    evaluator_id: Mapped[str] = mapped_column(_ID, primary_key=True)
    row: Mapped[int] = _order()
    evaluator: Mapped[Any] = mapped_column(JsonText)
    results_count: Mapped[int | None]
    errors_count: Mapped[int | None]
    aggregate_value: Mapped[Any | None] = mapped_column(JsonText)


class EvaluationTestcase(Owned):
    """A testcase in the snapshot of an evaluation, which is also a job.

    `stage` is the next step, `generate` or `evaluate`, and NULL once all is done; `owner` is the
    EvaluationWorker that works on it now. `log_id` is the generated datapoint, written in one
    transaction with the stage; it may have been deleted since. `failed`: the datapoint has an error
    in place of an output.
    """

    __tablename__ = "evaluation_testcases"
    __table_args__ = (
        _index("evaluation_id", "row", "testcase_id"),
        _index("evaluation_id", "row", where="stage"),
        _index("version_id"),
    )

    evaluation_id: Mapped[str] = _reference("evaluations", primary_key=True)
    testcase_id: Mapped[str] = mapped_column(_ID, primary_key=True)
    row: Mapped[int] = _order()
    version_id: Mapped[str] = _reference("testcase_versions")
    stage: Mapped[str | None] = mapped_column(String(16))
    owner: Mapped[str | None] = mapped_column(_ID)
    log_id: Mapped[str | None] = mapped_column(_ID)
    failed: Mapped[bool]

    version: Mapped[TestcaseVersion] = _link("EvaluationTestcase.version_id", "TestcaseVersion")


class EvaluationResult(Owned):
    """An evaluator's value for a datapoint of an evaluation, or the reason why there is none."""

    __tablename__ = "evaluation_results"
    id_prefix = "evres_"

    evaluation_id: Mapped[str] = _reference("evaluations", primary_key=True)
    testcase_id: Mapped[str] = mapped_column(_ID, primary_key=True)
    evaluator_id: Mapped[str] = mapped_column(_ID, primary_key=True)
    id: Mapped[str] = mapped_column(_ID)
    log_id: Mapped[str] = mapped_column(_ID)
    value: Mapped[Any | None] = mapped_column(JsonText)
    error: Mapped[str | None]
    updated_at: Mapped[datetime]


class EvaluationWorker(Top):
    """A server process that works on evaluations; `beats` grows for as long as it lives."""

    __tablename__ = "evaluation_workers"
    id_prefix = "evw_"

    beats: Mapped[int] = mapped_column(BigInteger)
