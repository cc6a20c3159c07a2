"""The request sent to a provider."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Add the column to the logs."""
    op.add_column("logs", sa.Column("provider_request", sa.Text(), nullable=True))
