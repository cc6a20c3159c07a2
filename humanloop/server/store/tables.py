"""The tables, as typed SQLAlchemy classes.

Every row hangs on one organisation. Ids are the API's own (`pr_...`); where the order of
insertion matters a table has an integer key beside. JSON is kept as text with every digit of
its numbers. A change here needs a migration in migrations/versions; a test compares the two.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any, ClassVar

from sqlalchemy import (
    CheckConstraint,
    ColumnElement,
    ForeignKey,
    Index,
    MetaData,
    String,
    Text,
    UniqueConstraint,
    event,
    or_,
    select,
    text,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship

from humanloop.server.store.ids import new_id
from humanloop.server.store.json_text import JsonText
from humanloop.server.store.times import UtcDateTime, now


class Base(DeclarativeBase):
    """The root of the tables. A new row gets the id and the times that it is not given."""

    id_prefix: ClassVar[str | None] = None
    """How the API's ids of such rows begin; None where they have none."""

    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "ck": "ck_%(table_name)s_%(constraint_name)s",
            "fk": "fk_%(table_name)s_%(column_0_name)s",
            "pk": "pk_%(table_name)s",
        }
    )
    type_annotation_map = {datetime: UtcDateTime(), str: Text()}  # noqa: RUF012 (SQLAlchemy's)


def _begin_row(row: Base, _args: object, columns: dict[str, Any]) -> None:
    if row.id_prefix is not None:
        columns.setdefault("id", new_id(row.id_prefix))
    moment = now()
    for name in {"created_at", "updated_at"} & set(row.__table__.columns.keys()):
        columns.setdefault(name, moment)


event.listen(Base, "init", _begin_row, propagate=True)


def _count() -> Any:
    """Return a column of a count, which store/tallies keeps."""
    return mapped_column(default=0, server_default="0")


def _reference(target: str, *, on_delete: str | None = None, index: bool = False) -> Any:
    return mapped_column(String(40), ForeignKey(target, ondelete=on_delete), index=index)


class Entity(Base):
    """What the API names by an id."""

    __abstract__ = True

    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    created_at: Mapped[datetime]


class Owned(Entity):
    """What belongs to an organisation by itself, and not through its project."""

    __abstract__ = True

    organization_id: Mapped[str] = _reference("organizations.id")


class Organization(Entity):
    """The one organisation of a database; `key_salt` salts the digests of its users' keys."""

    __tablename__ = "organizations"
    id_prefix = "org_"

    name: Mapped[str]
    key_salt: Mapped[str]


class User(Owned):
    """A holder of an API key; the key itself is never kept."""

    __tablename__ = "users"
    id_prefix = "usr_"

    key_digest: Mapped[str] = mapped_column(String(64), unique=True)
    email_address: Mapped[str]
    full_name: Mapped[str | None]


class Environment(Owned):
    """An environment for deployments; the one with the tag `default` is used by default."""

    __tablename__ = "environments"
    id_prefix = "env_"
    __table_args__ = (UniqueConstraint("organization_id", "name"),)

    name: Mapped[str]
    tag: Mapped[str]


class Metric(Owned):
    """A measure by which experiments are judged."""

    __tablename__ = "metrics"
    id_prefix = "metric_"

    name: Mapped[str]
    description: Mapped[str]
    code: Mapped[str]
    updated_at: Mapped[datetime]


class Project(Owned):
    """A named collection of configs, logs and experiments.

    `deleted` counts the logs that once counted and are gone.
    """

    __tablename__ = "projects"
    id_prefix = "pr_"
    __table_args__ = (UniqueConstraint("organization_id", "name"),)

    creator_id: Mapped[str] = _reference("users.id")
    name: Mapped[str]
    created_at: Mapped[datetime] = mapped_column(index=True)
    updated_at: Mapped[datetime]
    datapoints: Mapped[int] = _count()
    deleted: Mapped[int] = _count()

    creator: Mapped[User] = relationship(lazy="joined")


class Config(Entity):
    """One unique set of parameters within a project.

    `parameters` is the request without its name and description and with its defaults; a model
    config's tools carry the ids of their own tool configs. `last_used` is NULL for a tool that
    so far only came inside a model config, which is not listed by itself.
    """

    __tablename__ = "configs"
    id_prefix = "config_"
    __table_args__ = (
        UniqueConstraint("project_id", "digest"),
        Index(None, "project_id", "created_at", "id"),
    )

    project_id: Mapped[str] = _reference("projects.id")
    type: Mapped[str] = mapped_column(String(16))
    digest: Mapped[str] = mapped_column(String(64))
    name: Mapped[str]
    description: Mapped[str | None]
    parameters: Mapped[Any] = mapped_column(JsonText)
    updated_at: Mapped[datetime]
    last_used: Mapped[datetime | None]
    datapoints: Mapped[int] = _count()

    project: Mapped[Project] = relationship()

    @property
    def organization_id(self) -> str:
        """Return the owner's id."""
        return self.project.organization_id


LABEL_CLASSES = frozenset({"select", "multi_select"})
"""The classes of feedback whose values are labels."""


class FeedbackKind(Base):
    """A kind of feedback that a project takes; `feedback_class` says what values it holds."""

    __tablename__ = "feedback_types"
    __table_args__ = (UniqueConstraint("project_id", "type"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    project_id: Mapped[str] = _reference("projects.id")
    type: Mapped[str]
    feedback_class: Mapped[str] = mapped_column(String(16))

    labels: Mapped[list[FeedbackLabel]] = relationship(
        order_by=lambda: FeedbackLabel.id, cascade="all, delete-orphan"
    )


class FeedbackLabel(Base):
    """A value that a select or multi_select feedback type offers."""

    __tablename__ = "feedback_labels"
    __table_args__ = (UniqueConstraint("feedback_type_id", "value"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    feedback_type_id: Mapped[int] = mapped_column(ForeignKey("feedback_types.id"))
    value: Mapped[str]
    sentiment: Mapped[str] = mapped_column(String(16))


class Experiment(Entity):
    """Configs of a project that compete for positive feedback."""

    __tablename__ = "experiments"
    id_prefix = "exp_"
    __table_args__ = (UniqueConstraint("project_id", "name"),)

    project_id: Mapped[str] = _reference("projects.id")
    metric_id: Mapped[str] = _reference("metrics.id")
    name: Mapped[str]
    updated_at: Mapped[datetime]

    project: Mapped[Project] = relationship()
    metric: Mapped[Metric] = relationship()
    positive_labels: Mapped[list[ExperimentLabel]] = relationship(
        order_by=lambda: ExperimentLabel.id, cascade="all, delete-orphan"
    )
    members: Mapped[list[ExperimentConfig]] = relationship(
        order_by=lambda: ExperimentConfig.id, cascade="all, delete-orphan"
    )

    @property
    def organization_id(self) -> str:
        """Return the owner's id."""
        return self.project.organization_id


class ExperimentLabel(Base):
    """A feedback label that counts as positive in an experiment."""

    __tablename__ = "positive_labels"
    __table_args__ = (Index(None, "experiment_id", "type", "value"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    experiment_id: Mapped[str] = _reference("experiments.id", on_delete="CASCADE")
    type: Mapped[str]
    value: Mapped[str]


class ExperimentConfig(Base):
    """A config's part in an experiment; only active ones are sampled."""

    __tablename__ = "experiment_configs"
    __table_args__ = (UniqueConstraint("experiment_id", "config_id"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    experiment_id: Mapped[str] = _reference("experiments.id", on_delete="CASCADE")
    config_id: Mapped[str] = _reference("configs.id")
    active: Mapped[bool]
    created_at: Mapped[datetime]
    updated_at: Mapped[datetime]

    config: Mapped[Config] = relationship(lazy="joined")


class Trial(Entity):
    """One draw of a config from an experiment."""

    __tablename__ = "trials"
    id_prefix = "trial_"

    experiment_id: Mapped[str] = _reference("experiments.id", on_delete="CASCADE", index=True)
    config_id: Mapped[str] = _reference("configs.id")

    experiment: Mapped[Experiment] = relationship()
    config: Mapped[Config] = relationship()

    @property
    def project_id(self) -> str:
        """Return the id of the experiment's project."""
        return self.experiment.project_id


class Deployment(Base):
    """The config or the experiment that is active for a project in an environment."""

    __tablename__ = "deployments"
    __table_args__ = (
        CheckConstraint("(config_id IS NULL) <> (experiment_id IS NULL)", name="exactly_one"),
    )

    project_id: Mapped[str] = mapped_column(String(40), ForeignKey("projects.id"), primary_key=True)
    environment_id: Mapped[str] = mapped_column(
        String(40), ForeignKey("environments.id"), primary_key=True
    )
    config_id: Mapped[str | None] = _reference("configs.id")
    experiment_id: Mapped[str | None] = _reference("experiments.id", on_delete="CASCADE")

    config: Mapped[Config | None] = relationship()
    experiment: Mapped[Experiment | None] = relationship()


class Conversation(Owned):
    """A session of the API: logs that belong together."""

    __tablename__ = "sessions"
    id_prefix = "sesh_"
    __table_args__ = (UniqueConstraint("organization_id", "reference_id"),)

    reference_id: Mapped[str | None]
    created_at: Mapped[datetime] = mapped_column(index=True)


class SessionProject(Base):
    """A project that has datapoints in a session; `created_at` is the session's, to sort by."""

    __tablename__ = "session_projects"
    __table_args__ = (Index(None, "project_id", "created_at", "session_id"),)

    project_id: Mapped[str] = mapped_column(String(40), ForeignKey("projects.id"), primary_key=True)
    session_id: Mapped[str] = mapped_column(
        String(40), ForeignKey("sessions.id"), primary_key=True, index=True
    )
    created_at: Mapped[datetime]
    datapoints: Mapped[int] = _count()


class Batch(Base):
    """A large array of logs that is being written: what it has written so far does not count."""

    __tablename__ = "batches"
    id_prefix = "batch_"

    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    created_at: Mapped[datetime]


def _index_of_some(column: str, *columns: str, unique: bool = False) -> Index:
    """Return an index of the rows in which the column is not NULL."""
    condition = text(f"{column} IS NOT NULL")
    return Index(None, *columns, unique=unique, sqlite_where=condition, postgresql_where=condition)


class Log(Base):
    """A logged datapoint. `row` keeps the order of arrival among equal times.

    `batch_id` is that of the large array with which it came, if any; see `is_complete`. What a
    provider said (`provider_...`, `raw_output`, `finish_reason`) is there for what was generated
    here, once it has ended.
    """

    __tablename__ = "logs"
    id_prefix = "data_"
    __table_args__ = (
        Index(None, "project_id", "created_at", "row"),
        _index_of_some("reference_id", "organization_id", "reference_id", unique=True),
        _index_of_some("session_id", "session_id", "created_at", "row"),
        _index_of_some("parent_id", "parent_id"),
        _index_of_some("trial_id", "trial_id"),
    )

    row: Mapped[int] = mapped_column(primary_key=True)
    id: Mapped[str] = mapped_column(String(40), unique=True)
    organization_id: Mapped[str] = _reference("organizations.id")
    project_id: Mapped[str] = _reference("projects.id")
    config_id: Mapped[str] = _reference("configs.id")
    session_id: Mapped[str | None] = _reference("sessions.id")
    parent_id: Mapped[str | None] = _reference("logs.id")
    trial_id: Mapped[str | None] = _reference("trials.id", on_delete="SET NULL")
    batch_id: Mapped[str | None] = mapped_column(String(40))
    reference_id: Mapped[str | None]
    inputs: Mapped[Any] = mapped_column(JsonText)
    messages: Mapped[Any | None] = mapped_column(JsonText)
    metadata_: Mapped[Any | None] = mapped_column("metadata", JsonText)
    source: Mapped[str | None]
    output: Mapped[str | None]
    error: Mapped[str | None]
    duration: Mapped[Any | None] = mapped_column(JsonText)
    user: Mapped[str | None]
    provider_response: Mapped[Any | None] = mapped_column(JsonText)
    provider_latency: Mapped[Any | None] = mapped_column(JsonText)
    raw_output: Mapped[str | None]
    finish_reason: Mapped[str | None]
    created_at: Mapped[datetime]

    config: Mapped[Config] = relationship()
    conversation: Mapped[Conversation | None] = relationship()
    parent: Mapped[Log | None] = relationship(remote_side="Log.id")
    feedback: Mapped[list[Annotation]] = relationship(
        order_by=lambda: Annotation.row, back_populates="log", cascade="all, delete-orphan"
    )


def is_complete() -> ColumnElement[bool]:
    """Return the condition that a log counts: it came by itself, or its array is written whole."""
    return or_(Log.batch_id.is_(None), Log.batch_id.not_in(select(Batch.id)))


class Annotation(Base):
    """One value of feedback on a log: a label, a text, or a number's digits."""

    __tablename__ = "feedback"
    id_prefix = "ann_"

    row: Mapped[int] = mapped_column(primary_key=True)
    id: Mapped[str] = mapped_column(String(40), unique=True)
    log_id: Mapped[str] = _reference("logs.id", index=True)
    feedback_type_id: Mapped[int] = mapped_column(ForeignKey("feedback_types.id"))
    value: Mapped[str]
    user: Mapped[str | None]
    created_at: Mapped[datetime]

    log: Mapped[Log] = relationship(back_populates="feedback")
    feedback_type: Mapped[FeedbackKind] = relationship()


class LabelCount(Base):
    """How often a label was given to a config's datapoints."""

    __tablename__ = "label_counts"

    config_id: Mapped[str] = mapped_column(String(40), ForeignKey("configs.id"), primary_key=True)
    feedback_type_id: Mapped[int] = mapped_column(ForeignKey("feedback_types.id"), primary_key=True)
    value: Mapped[str] = mapped_column(primary_key=True)
    datapoints: Mapped[int] = _count()

    feedback_type: Mapped[FeedbackKind] = relationship(lazy="joined")
