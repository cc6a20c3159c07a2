"""The first schema: projects, configs, feedback, experiments, sessions and logs."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def _id() -> sa.Column[str]:
    return sa.Column("id", sa.String(40), primary_key=True)


def _reference(
    name: str, table: str, *, ondelete: str | None = None, nullable: bool = False, **options: Any
) -> sa.Column[str]:
    key = sa.ForeignKey(f"{table}.id", ondelete=ondelete)
    return sa.Column(name, sa.String(40), key, nullable=nullable, **options)


def _text(name: str, *, nullable: bool = False) -> sa.Column[str]:
    return sa.Column(name, sa.Text(), nullable=nullable)


def _moment(name: str) -> sa.Column[datetime]:
    return sa.Column(name, sa.DateTime(), nullable=False)


def upgrade() -> None:
    """Apply the revision."""
    op.create_table("organizations", _id(), _text("name"), _text("key_salt"), _moment("created_at"))
    op.create_table(
        "environments",
        _id(),
        _reference("organization_id", "organizations"),
        _text("name"),
        _text("tag"),
        _moment("created_at"),
        sa.UniqueConstraint("organization_id", "name"),
    )
    op.create_table(
        "metrics",
        _id(),
        _reference("organization_id", "organizations"),
        _text("name"),
        _text("description"),
        _text("code"),
        _moment("created_at"),
        _moment("updated_at"),
    )
    op.create_table(
        "sessions",
        _id(),
        _reference("organization_id", "organizations"),
        _text("reference_id", nullable=True),
        _moment("created_at"),
        sa.UniqueConstraint("organization_id", "reference_id"),
    )
    op.create_index("ix_sessions_created_at", "sessions", ["created_at"])
    op.create_table(
        "users",
        _id(),
        _reference("organization_id", "organizations"),
        sa.Column("key_digest", sa.String(64), nullable=False),
        _text("email_address"),
        _text("full_name", nullable=True),
        _moment("created_at"),
        sa.UniqueConstraint("key_digest"),
    )
    op.create_table(
        "projects",
        _id(),
        _reference("organization_id", "organizations"),
        _reference("creator_id", "users"),
        _text("name"),
        _moment("created_at"),
        _moment("updated_at"),
        sa.UniqueConstraint("organization_id", "name"),
    )
    op.create_index("ix_projects_created_at", "projects", ["created_at"])
    op.create_table(
        "configs",
        _id(),
        _reference("project_id", "projects"),
        sa.Column("type", sa.String(16), nullable=False),
        sa.Column("digest", sa.String(64), nullable=False),
        _text("name"),
        _text("description", nullable=True),
        _text("parameters"),
        _moment("created_at"),
        _moment("updated_at"),
        sa.Column("last_used", sa.DateTime()),
        sa.UniqueConstraint("project_id", "digest"),
    )
    op.create_table(
        "experiments",
        _id(),
        _reference("project_id", "projects"),
        _reference("metric_id", "metrics"),
        _text("name"),
        _moment("created_at"),
        _moment("updated_at"),
        sa.UniqueConstraint("project_id", "name"),
    )
    op.create_table(
        "feedback_types",
        sa.Column("id", sa.Integer(), primary_key=True),
        _reference("project_id", "projects"),
        _text("type"),
        sa.Column("feedback_class", sa.String(16), nullable=False),
        sa.UniqueConstraint("project_id", "type"),
    )
    op.create_table(
        "deployments",
        _reference("project_id", "projects", primary_key=True),
        _reference("environment_id", "environments", primary_key=True),
        _reference("config_id", "configs", nullable=True),
        _reference("experiment_id", "experiments", ondelete="CASCADE", nullable=True),
        sa.CheckConstraint("(config_id IS NULL) <> (experiment_id IS NULL)", name="exactly_one"),
    )
    op.create_table(
        "experiment_configs",
        sa.Column("id", sa.Integer(), primary_key=True),
        _reference("experiment_id", "experiments", ondelete="CASCADE"),
        _reference("config_id", "configs"),
        sa.Column("active", sa.Boolean(), nullable=False),
        _moment("created_at"),
        _moment("updated_at"),
        sa.UniqueConstraint("experiment_id", "config_id"),
    )
    op.create_table(
        "feedback_labels",
        sa.Column("id", sa.Integer(), primary_key=True),
        sa.Column(
            "feedback_type_id", sa.Integer(), sa.ForeignKey("feedback_types.id"), nullable=False
        ),
        _text("value"),
        sa.Column("sentiment", sa.String(16), nullable=False),
        sa.UniqueConstraint("feedback_type_id", "value"),
    )
    op.create_table(
        "positive_labels",
        sa.Column("id", sa.Integer(), primary_key=True),
        _reference("experiment_id", "experiments", ondelete="CASCADE"),
        _text("type"),
        _text("value"),
    )
    op.create_index("ix_positive_labels_experiment_id", "positive_labels", ["experiment_id"])
    op.create_table(
        "trials",
        _id(),
        _reference("experiment_id", "experiments", ondelete="CASCADE"),
        _reference("config_id", "configs"),
        _moment("created_at"),
    )
    op.create_index("ix_trials_experiment_id", "trials", ["experiment_id"])
    op.create_table(
        "logs",
        sa.Column("row", sa.Integer(), primary_key=True),
        sa.Column("id", sa.String(40), nullable=False),
        _reference("organization_id", "organizations"),
        _reference("project_id", "projects"),
        _reference("config_id", "configs"),
        _reference("session_id", "sessions", nullable=True),
        _reference("parent_id", "logs", nullable=True),
        _reference("trial_id", "trials", ondelete="SET NULL", nullable=True),
        _text("reference_id", nullable=True),
        _text("inputs"),
        _text("messages", nullable=True),
        _text("metadata", nullable=True),
        _text("source", nullable=True),
        _text("output", nullable=True),
        _text("error", nullable=True),
        _text("duration", nullable=True),
        _text("user", nullable=True),
        _text("provider_response", nullable=True),
        _text("provider_latency", nullable=True),
        _text("raw_output", nullable=True),
        _text("finish_reason", nullable=True),
        _moment("created_at"),
        sa.UniqueConstraint("organization_id", "reference_id"),
        sa.UniqueConstraint("id"),
    )
    op.create_index("ix_logs_config_id", "logs", ["config_id"])
    op.create_index(
        "ix_logs_project_id_created_at_row", "logs", ["project_id", "created_at", "row"]
    )
    op.create_index(
        "ix_logs_session_id_created_at_row", "logs", ["session_id", "created_at", "row"]
    )
    op.create_index("ix_logs_trial_id", "logs", ["trial_id"])
    op.create_table(
        "feedback",
        sa.Column("row", sa.Integer(), primary_key=True),
        sa.Column("id", sa.String(40), nullable=False),
        _reference("log_id", "logs"),
        sa.Column(
            "feedback_type_id", sa.Integer(), sa.ForeignKey("feedback_types.id"), nullable=False
        ),
        _text("value"),
        _text("user", nullable=True),
        _moment("created_at"),
        sa.UniqueConstraint("id"),
    )
    op.create_index("ix_feedback_log_id", "feedback", ["log_id"])
