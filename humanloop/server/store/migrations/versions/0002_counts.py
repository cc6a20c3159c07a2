"""Counts that are kept, large arrays in parts, and indexes for what is looked up."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"

_BACKFILLS = (
    """
    UPDATE projects SET datapoints =
    (SELECT count(*) FROM logs WHERE logs.project_id = projects.id)
    """,
    """
    UPDATE configs SET datapoints =
    (SELECT count(*) FROM logs WHERE logs.config_id = configs.id)
    """,
    """
    INSERT INTO session_projects (project_id, session_id, created_at, datapoints)
    SELECT logs.project_id, sessions.id, sessions.created_at, count(*)
    FROM logs JOIN sessions ON sessions.id = logs.session_id
    GROUP BY logs.project_id, sessions.id, sessions.created_at
    """,
    """
    INSERT INTO label_counts (config_id, feedback_type_id, value, datapoints)
    SELECT logs.config_id, feedback_types.id, feedback.value, count(*)
    FROM feedback
    JOIN logs ON logs.id = feedback.log_id
    JOIN feedback_types ON feedback_types.id = feedback.feedback_type_id
    WHERE feedback_types.feedback_class IN ('select', 'multi_select')
    GROUP BY logs.config_id, feedback_types.id, feedback.value
    """,
)


def _count() -> sa.Column[int]:
    return sa.Column("datapoints", sa.Integer(), nullable=False, server_default="0")


def _key(name: str, table: str) -> sa.Column[str]:
    return sa.Column(name, sa.String(40), sa.ForeignKey(f"{table}.id"), primary_key=True)


def _index_some(column: str, columns: list[str], *, unique: bool = False) -> None:
    condition = sa.text(f"{column} IS NOT NULL")
    name = "ix_logs_" + "_".join(columns)
    op.create_index(
        name, "logs", columns, unique=unique, sqlite_where=condition, postgresql_where=condition
    )


def upgrade() -> None:
    """Apply the revision."""
    op.add_column("projects", _count())
    op.add_column("configs", _count())
    op.create_table(
        "session_projects",
        _key("project_id", "projects"),
        _key("session_id", "sessions"),
        sa.Column("created_at", sa.DateTime(), nullable=False),
        _count(),
    )
    op.create_index("ix_session_projects_session_id", "session_projects", ["session_id"])
    op.create_index(
        "ix_session_projects_project_id_created_at_session_id",
        "session_projects",
        ["project_id", "created_at", "session_id"],
    )
    op.create_table(
        "label_counts",
        _key("config_id", "configs"),
        sa.Column(
            "feedback_type_id", sa.Integer(), sa.ForeignKey("feedback_types.id"), primary_key=True
        ),
        sa.Column("value", sa.Text(), primary_key=True),
        _count(),
    )
    op.create_table(
        "batches",
        sa.Column("id", sa.String(40), primary_key=True),
        sa.Column("created_at", sa.DateTime(), nullable=False),
    )
    for statement in _BACKFILLS:
        op.execute(statement)
    for name in ("config_id", "session_id_created_at_row", "trial_id"):
        op.drop_index(f"ix_logs_{name}", "logs")
    with op.batch_alter_table("logs") as batch:
        batch.add_column(sa.Column("batch_id", sa.String(40)))
        batch.drop_constraint("uq_logs_organization_id_reference_id", type_="unique")
    op.drop_index("ix_positive_labels_experiment_id", "positive_labels")
    op.create_index(
        "ix_positive_labels_experiment_id_type_value",
        "positive_labels",
        ["experiment_id", "type", "value"],
    )
    op.create_index(
        "ix_configs_project_id_created_at_id", "configs", ["project_id", "created_at", "id"]
    )
    _index_some("reference_id", ["organization_id", "reference_id"], unique=True)
    _index_some("session_id", ["session_id", "created_at", "row"])
    _index_some("parent_id", ["parent_id"])
    _index_some("trial_id", ["trial_id"])
