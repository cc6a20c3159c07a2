"""The first schema: projects, configs, feedback, experiments, sessions and logs."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Apply the revision."""
    op.create_table(
        "organizations",
        sa.Column("id", sa.String(40), primary_key=True),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("key_salt", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(), nullable=False),
    )
    op.create_table(
        "environments",
        sa.Column("id", sa.String(40), primary_key=True),
        sa.Column(
            "organization_id", sa.String(40), sa.ForeignKey("organizations.id"), nullable=False
        ),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("tag", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(), nullable=False),
        sa.UniqueConstraint("organization_id", "name"),
    )
    op.create_table(
        "metrics",
        sa.Column("id", sa.String(40), primary_key=True),
        sa.Column(
            "organization_id", sa.String(40), sa.ForeignKey("organizations.id"), nullable=False
        ),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("description", sa.Text(), nullable=False),
        sa.Column("code", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(), nullable=False),
        sa.Column("updated_at", sa.DateTime(), nullable=False),
    )
    op.create_table(
        "sessions",
        sa.Column("id", sa.String(40), primary_key=True),
        sa.Column(
            "organization_id", sa.String(40), sa.ForeignKey("organizations.id"), nullable=False
        ),
        sa.Column("reference_id", sa.Text()),
        sa.Column("created_at", sa.DateTime(), nullable=False),
        sa.UniqueConstraint("organization_id", "reference_id"),
    )
    op.create_index("ix_sessions_created_at", "sessions", ["created_at"])
    op.create_table(
        "users",
        sa.Column("id", sa.String(40), primary_key=True),
        sa.Column(
            "organization_id", sa.String(40), sa.ForeignKey("organizations.id"), nullable=False
        ),
        sa.Column("key_digest", sa.String(64), nullable=False),
        sa.Column("email_address", sa.Text(), nullable=False),
        sa.Column("full_name", sa.Text()),
        sa.Column("created_at", sa.DateTime(), nullable=False),
        sa.UniqueConstraint("key_digest"),
    )
    op.create_table(
        "projects",
        sa.Column("id", sa.String(40), primary_key=True),
        sa.Column(
            "organization_id", sa.String(40), sa.ForeignKey("organizations.id"), nullable=False
        ),
        sa.Column("creator_id", sa.String(40), sa.ForeignKey("users.id"), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(), nullable=False),
        sa.Column("updated_at", sa.DateTime(), nullable=False),
        sa.UniqueConstraint("organization_id", "name"),
    )
    op.create_index("ix_projects_created_at", "projects", ["created_at"])
    op.create_table(
        "configs",
        sa.Column("id", sa.String(40), primary_key=True),
        sa.Column("project_id", sa.String(40), sa.ForeignKey("projects.id"), nullable=False),
        sa.Column("type", sa.String(16), nullable=False),
        sa.Column("digest", sa.String(64), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("description", sa.Text()),
        sa.Column("parameters", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(), nullable=False),
        sa.Column("updated_at", sa.DateTime(), nullable=False),
        sa.Column("last_used", sa.DateTime()),
        sa.UniqueConstraint("project_id", "digest"),
    )
    op.create_table(
        "experiments",
        sa.Column("id", sa.String(40), primary_key=True),
        sa.Column("project_id", sa.String(40), sa.ForeignKey("projects.id"), nullable=False),
        sa.Column("metric_id", sa.String(40), sa.ForeignKey("metrics.id"), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(), nullable=False),
        sa.Column("updated_at", sa.DateTime(), nullable=False),
        sa.UniqueConstraint("project_id", "name"),
    )
    op.create_table(
        "feedback_types",
        sa.Column("id", sa.Integer(), primary_key=True),
        sa.Column("project_id", sa.String(40), sa.ForeignKey("projects.id"), nullable=False),
        sa.Column("type", sa.Text(), nullable=False),
        sa.Column("feedback_class", sa.String(16), nullable=False),
        sa.UniqueConstraint("project_id", "type"),
    )
    op.create_table(
        "deployments",
        sa.Column("project_id", sa.String(40), sa.ForeignKey("projects.id"), primary_key=True),
        sa.Column(
            "environment_id", sa.String(40), sa.ForeignKey("environments.id"), primary_key=True
        ),
        sa.Column("config_id", sa.String(40), sa.ForeignKey("configs.id")),
        sa.Column(
            "experiment_id", sa.String(40), sa.ForeignKey("experiments.id", ondelete="CASCADE")
        ),
        sa.CheckConstraint("(config_id IS NULL) <> (experiment_id IS NULL)", name="exactly_one"),
    )
    op.create_table(
        "experiment_configs",
        sa.Column("id", sa.Integer(), primary_key=True),
        sa.Column(
            "experiment_id",
            sa.String(40),
            sa.ForeignKey("experiments.id", ondelete="CASCADE"),
            nullable=False,
        ),
        sa.Column("config_id", sa.String(40), sa.ForeignKey("configs.id"), nullable=False),
        sa.Column("active", sa.Boolean(), nullable=False),
        sa.Column("created_at", sa.DateTime(), nullable=False),
        sa.Column("updated_at", sa.DateTime(), nullable=False),
        sa.UniqueConstraint("experiment_id", "config_id"),
    )
    op.create_table(
        "feedback_labels",
        sa.Column("id", sa.Integer(), primary_key=True),
        sa.Column(
            "feedback_type_id", sa.Integer(), sa.ForeignKey("feedback_types.id"), nullable=False
        ),
        sa.Column("value", sa.Text(), nullable=False),
        sa.Column("sentiment", sa.String(16), nullable=False),
        sa.UniqueConstraint("feedback_type_id", "value"),
    )
    op.create_table(
        "positive_labels",
        sa.Column("id", sa.Integer(), primary_key=True),
        sa.Column(
            "experiment_id",
            sa.String(40),
            sa.ForeignKey("experiments.id", ondelete="CASCADE"),
            nullable=False,
        ),
        sa.Column("type", sa.Text(), nullable=False),
        sa.Column("value", sa.Text(), nullable=False),
    )
    op.create_index("ix_positive_labels_experiment_id", "positive_labels", ["experiment_id"])
    op.create_table(
        "trials",
        sa.Column("id", sa.String(40), primary_key=True),
        sa.Column(
            "experiment_id",
            sa.String(40),
            sa.ForeignKey("experiments.id", ondelete="CASCADE"),
            nullable=False,
        ),
        sa.Column("config_id", sa.String(40), sa.ForeignKey("configs.id"), nullable=False),
        sa.Column("created_at", sa.DateTime(), nullable=False),
    )
    op.create_index("ix_trials_experiment_id", "trials", ["experiment_id"])
    op.create_table(
        "logs",
        sa.Column("row", sa.Integer(), primary_key=True),
        sa.Column("id", sa.String(40), nullable=False),
        sa.Column(
            "organization_id", sa.String(40), sa.ForeignKey("organizations.id"), nullable=False
        ),
        sa.Column("project_id", sa.String(40), sa.ForeignKey("projects.id"), nullable=False),
        sa.Column("config_id", sa.String(40), sa.ForeignKey("configs.id"), nullable=False),
        sa.Column("session_id", sa.String(40), sa.ForeignKey("sessions.id")),
        sa.Column("parent_id", sa.String(40), sa.ForeignKey("logs.id")),
        sa.Column("trial_id", sa.String(40), sa.ForeignKey("trials.id", ondelete="SET NULL")),
        sa.Column("reference_id", sa.Text()),
        sa.Column("inputs", sa.Text(), nullable=False),
        sa.Column("messages", sa.Text()),
        sa.Column("metadata", sa.Text()),
        sa.Column("source", sa.Text()),
        sa.Column("output", sa.Text()),
        sa.Column("error", sa.Text()),
        sa.Column("duration", sa.Text()),
        sa.Column("user", sa.Text()),
        sa.Column("provider_response", sa.Text()),
        sa.Column("provider_latency", sa.Text()),
        sa.Column("raw_output", sa.Text()),
        sa.Column("finish_reason", sa.Text()),
        sa.Column("created_at", sa.DateTime(), nullable=False),
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
        sa.Column("log_id", sa.String(40), sa.ForeignKey("logs.id"), nullable=False),
        sa.Column(
            "feedback_type_id", sa.Integer(), sa.ForeignKey("feedback_types.id"), nullable=False
        ),
        sa.Column("value", sa.Text(), nullable=False),
        sa.Column("user", sa.Text()),
        sa.Column("created_at", sa.DateTime(), nullable=False),
        sa.UniqueConstraint("id"),
    )
    op.create_index("ix_feedback_log_id", "feedback", ["log_id"])
