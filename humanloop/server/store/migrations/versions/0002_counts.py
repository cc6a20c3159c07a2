"""Stored counts, large arrays in slices, and organization_id at the head of every key.

Every table except that of the organisations is created anew and filled from the old one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"

_OWNER = {"organization_id": "p.organization_id"}
_COUNT = {"datapoints": "coalesce(c.datapoints, 0)"}
_COUNTED = (
    " LEFT JOIN (SELECT {0}, count(*) AS datapoints FROM old_logs GROUP BY {0}) c ON c.{0} = t.id"
)
_OF_PROJECT = " JOIN old_projects p ON p.id = t.project_id"
_OF_EXPERIMENT = (
    " JOIN old_experiments e ON e.id = t.experiment_id JOIN old_projects p ON p.id = e.project_id"
)
_OF_TYPE = (
    " JOIN old_feedback_types k ON k.id = t.feedback_type_id"
    " JOIN old_projects p ON p.id = k.project_id"
)
_COPIES: dict[str, tuple[Mapping[str, str], str]] = {
    "users": ({}, ""),
    "environments": ({}, ""),
    "metrics": ({}, ""),
    "sessions": ({}, ""),
    "projects": (_COUNT, _COUNTED.format("project_id")),
    "configs": (_OWNER | _COUNT, _OF_PROJECT + _COUNTED.format("config_id")),
    "experiments": (_OWNER, _OF_PROJECT),
    "feedback_types": (_OWNER | {"row": "t.id"}, _OF_PROJECT),
    "feedback_labels": (_OWNER | {"row": "t.id"}, _OF_TYPE),
    "positive_labels": (
        _OWNER | {"feedback_type_id": "k.id", "row": "min(t.id)"},
        _OF_EXPERIMENT
        + " JOIN old_feedback_types k ON k.project_id = e.project_id AND k.type = t.type"
        " GROUP BY p.organization_id, t.experiment_id, k.id, t.value",
    ),
    "experiment_configs": (
        _OWNER
        | {
            "row": "t.id",
            "trials": "coalesce(c.trials, 0)",
            "positives": "coalesce(c.positives, 0)",
        },
        _OF_EXPERIMENT
        + " LEFT JOIN (SELECT r.experiment_id, r.config_id, count(DISTINCT l.id) AS trials,"
        " count(DISTINCT CASE WHEN b.id IS NOT NULL THEN l.id END) AS positives"
        " FROM old_trials r"
        " JOIN old_logs l ON l.trial_id = r.id"
        " JOIN old_feedback f ON f.log_id = l.id"
        " JOIN old_feedback_types k ON k.id = f.feedback_type_id"
        " LEFT JOIN old_positive_labels b ON b.experiment_id = r.experiment_id"
        " AND b.type = k.type AND b.value = f.value"
        " GROUP BY r.experiment_id, r.config_id) c"
        " ON c.experiment_id = t.experiment_id AND c.config_id = t.config_id",
    ),
    "trials": (_OWNER, _OF_EXPERIMENT),
    "deployments": (_OWNER, _OF_PROJECT),
    "logs": ({}, ""),
    "feedback": (_OWNER, _OF_TYPE),
}
"""The old tables, in an order in which none refers to a later one, each with the values of the new
columns and the source of these values.
"""

_COUNTS = (
    """
    INSERT INTO session_projects (organization_id, project_id, session_id, created_at, datapoints)
    SELECT s.organization_id, l.project_id, s.id, s.created_at, count(*)
    FROM old_logs l JOIN old_sessions s ON s.id = l.session_id
    GROUP BY s.organization_id, l.project_id, s.id, s.created_at
    """,
    """
    INSERT INTO label_counts (organization_id, config_id, feedback_type_id, value, datapoints)
    SELECT l.organization_id, l.config_id, k.id, t.value, count(*)
    FROM old_feedback t
    JOIN old_logs l ON l.id = t.log_id
    JOIN old_feedback_types k ON k.id = t.feedback_type_id
    WHERE k.feedback_class IN ('select', 'multi_select')
    GROUP BY l.organization_id, l.config_id, k.id, t.value
    """,
)

Items = tuple[sa.schema.SchemaItem, ...]


def _id(name: str = "id", *, nullable: bool = False) -> Items:
    return (sa.Column(name, sa.String(40), nullable=nullable),)


def _number(name: str) -> Items:
    return (sa.Column(name, sa.BigInteger(), autoincrement=False, nullable=False),)


def _texts(*names: str, nullable: bool = False) -> Items:
    return tuple(sa.Column(name, sa.Text(), nullable=nullable) for name in names)


def _word(name: str, length: int = 16) -> Items:
    return (sa.Column(name, sa.String(length), nullable=False),)


def _moments(*names: str) -> Items:
    return tuple(sa.Column(name, sa.DateTime(), nullable=False) for name in names)


def _count(name: str = "datapoints") -> Items:
    return (sa.Column(name, sa.Integer(), nullable=False, server_default="0"),)


def _reference(
    name: str, table: str, *, nullable: bool = False, ondelete: str | None = None
) -> Items:
    kind = sa.BigInteger() if table == "feedback_types" else sa.String(40)
    key = sa.ForeignKeyConstraint(
        ["organization_id", name], [f"{table}.organization_id", f"{table}.id"], ondelete=ondelete
    )
    return sa.Column(name, kind, autoincrement=False, nullable=nullable), key


def _owner() -> Items:
    return (sa.ForeignKeyConstraint(["organization_id"], ["organizations.id"]),)


def _unique(*columns: str) -> Items:
    return (sa.UniqueConstraint("organization_id", *columns),)


def _create(
    name: str, key: Sequence[str], *items: Items, indexes: Sequence[Sequence[str]] = ()
) -> None:
    op.create_table(
        name,
        *_id("organization_id"),
        *(item for group in items for item in group),
        sa.PrimaryKeyConstraint("organization_id", *key),
    )
    for columns in indexes:
        _index(name, columns)


def _index(
    name: str, columns: Sequence[str], where: str | None = None, *, unique: bool = False
) -> None:
    some = None if where is None else sa.text(f"{where} IS NOT NULL")
    op.create_index(
        None,
        name,
        ["organization_id", *columns],
        unique=unique,
        sqlite_where=some,
        postgresql_where=some,
    )


def _create_tables() -> None:
    _create(
        "users",
        ["id"],
        _id(),
        _word("key_digest", 64),
        _texts("email_address"),
        _texts("full_name", nullable=True),
        _moments("created_at"),
        _owner(),
        _unique("key_digest"),
    )
    _create(
        "environments",
        ["id"],
        _id(),
        _texts("name", "tag"),
        _moments("created_at"),
        _owner(),
        _unique("name"),
    )
    _create(
        "metrics",
        ["id"],
        _id(),
        _texts("name", "description", "code"),
        _moments("created_at", "updated_at"),
        _owner(),
    )
    _create(
        "sessions",
        ["id"],
        _id(),
        _texts("reference_id", nullable=True),
        _moments("created_at"),
        _owner(),
        _unique("reference_id"),
    )
    _create("batches", ["id"], _id(), _moments("created_at"), _owner())
    _create(
        "projects",
        ["id"],
        _id(),
        _reference("creator_id", "users"),
        _texts("name"),
        _moments("created_at", "updated_at"),
        _count(),
        _count("deleted"),
        _owner(),
        _unique("name"),
        indexes=[["created_at", "id"]],
    )
    _create(
        "configs",
        ["id"],
        _id(),
        _reference("project_id", "projects"),
        _word("type"),
        _word("digest", 64),
        _texts("name", "parameters"),
        _texts("description", nullable=True),
        _moments("created_at", "updated_at"),
        (sa.Column("last_used", sa.DateTime()),),
        _count(),
        _unique("project_id", "digest"),
        indexes=[["project_id", "created_at", "id"]],
    )
    _create(
        "experiments",
        ["id"],
        _id(),
        _reference("project_id", "projects"),
        _reference("metric_id", "metrics"),
        _texts("name"),
        _moments("created_at", "updated_at"),
        _unique("project_id", "name"),
    )
    _create(
        "feedback_types",
        ["id"],
        _number("id"),
        _number("row"),
        _reference("project_id", "projects"),
        _texts("type"),
        _word("feedback_class"),
        _unique("project_id", "type"),
    )
    _create(
        "feedback_labels",
        ["feedback_type_id", "value"],
        _reference("feedback_type_id", "feedback_types"),
        _texts("value"),
        _number("row"),
        _word("sentiment"),
    )
    _create(
        "positive_labels",
        ["experiment_id", "feedback_type_id", "value"],
        _reference("experiment_id", "experiments", ondelete="CASCADE"),
        _reference("feedback_type_id", "feedback_types"),
        _texts("value"),
        _number("row"),
    )
    _create(
        "experiment_configs",
        ["experiment_id", "config_id"],
        _reference("experiment_id", "experiments", ondelete="CASCADE"),
        _reference("config_id", "configs"),
        _number("row"),
        (sa.Column("active", sa.Boolean(), nullable=False),),
        _count("trials"),
        _count("positives"),
        _moments("created_at", "updated_at"),
    )
    _create(
        "trials",
        ["id"],
        _id(),
        _reference("experiment_id", "experiments", ondelete="CASCADE"),
        _reference("config_id", "configs"),
        _moments("created_at"),
        indexes=[["experiment_id"]],
    )
    _create(
        "deployments",
        ["project_id", "environment_id"],
        _reference("project_id", "projects"),
        _reference("environment_id", "environments"),
        _reference("config_id", "configs", nullable=True),
        _reference("experiment_id", "experiments", ondelete="CASCADE", nullable=True),
        (sa.CheckConstraint("(config_id IS NULL) <> (experiment_id IS NULL)", name="exactly_one"),),
    )
    _create(
        "session_projects",
        ["project_id", "session_id"],
        _reference("project_id", "projects"),
        _reference("session_id", "sessions"),
        _moments("created_at"),
        _count(),
        indexes=[["project_id", "created_at", "session_id"], ["session_id"]],
    )
    _create(
        "logs",
        ["id"],
        _id(),
        _number("row"),
        _reference("project_id", "projects"),
        _reference("config_id", "configs"),
        _reference("session_id", "sessions", nullable=True),
        _reference("parent_id", "logs", nullable=True),
        _reference("trial_id", "trials", nullable=True),
        _id("batch_id", nullable=True),
        _texts("inputs"),
        _texts("reference_id", "messages", "metadata", "source", "output", "error", nullable=True),
        _texts("duration", "user", "provider_response", "provider_latency", nullable=True),
        _texts("raw_output", "finish_reason", nullable=True),
        _moments("created_at"),
        indexes=[["row"], ["project_id", "created_at", "row"]],
    )
    _index("logs", ["reference_id"], "reference_id", unique=True)
    _index("logs", ["session_id", "created_at", "row"], "session_id")
    _index("logs", ["parent_id"], "parent_id")
    _index("logs", ["trial_id"], "trial_id")
    _create(
        "feedback",
        ["id"],
        _id(),
        _number("row"),
        _reference("log_id", "logs"),
        _reference("feedback_type_id", "feedback_types"),
        _texts("value"),
        _texts("user", nullable=True),
        _moments("created_at"),
        indexes=[["log_id", "row"]],
    )
    _create(
        "label_counts",
        ["config_id", "feedback_type_id", "value"],
        _reference("config_id", "configs"),
        _reference("feedback_type_id", "feedback_types"),
        _texts("value"),
        _count(),
    )


def _index_references() -> None:
    """Let PostgreSQL find the rows that refer to a deleted row."""
    if op.get_bind().dialect.name == "postgresql":
        for name, column in (
            ("logs", "config_id"),
            ("trials", "config_id"),
            ("feedback", "feedback_type_id"),
        ):
            _index(name, [column])


def _set_aside() -> None:
    """Rename the old tables, and drop objects whose names the new ones need."""
    connection = op.get_bind()
    found = sa.inspect(connection)
    for name in _COPIES:
        for index in found.get_indexes(name):
            if "duplicates_constraint" not in index:
                op.drop_index(str(index["name"]), name)
        if connection.dialect.name == "postgresql":  # in SQLite, these names belong to a table
            for constraint in (found.get_pk_constraint(name), *found.get_unique_constraints(name)):
                op.execute(f"ALTER TABLE {name} DROP CONSTRAINT {constraint['name']} CASCADE")
    for name in _COPIES:
        op.rename_table(name, f"old_{name}")


def _copy(name: str, others: Mapping[str, str], joins: str) -> None:
    found = sa.inspect(op.get_bind())
    kept = {each["name"] for each in found.get_columns(f"old_{name}")}
    kept &= {each["name"] for each in found.get_columns(name)}
    values = {column: f't."{column}"' for column in sorted(kept)} | dict(others)
    columns = ", ".join(f'"{column}"' for column in values)
    wanted = ", ".join(values.values())
    op.execute(f"INSERT INTO {name} ({columns}) SELECT {wanted} FROM old_{name} t{joins}")


def upgrade() -> None:
    """Apply the revision."""
    _set_aside()
    _create_tables()
    for name, (others, joins) in _COPIES.items():
        _copy(name, others, joins)
    for statement in _COUNTS:
        op.execute(statement)
    _index_references()
    for name in reversed(_COPIES):
        op.drop_table(f"old_{name}")
