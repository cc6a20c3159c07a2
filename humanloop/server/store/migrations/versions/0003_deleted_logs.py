"""A count of the logs that were deleted, and rows of counts only where there is something."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Apply the revision."""
    op.add_column(
        "projects", sa.Column("deleted", sa.Integer(), nullable=False, server_default="0")
    )
    for table in ("session_projects", "label_counts"):
        op.execute(f"DELETE FROM {table} WHERE datapoints = 0")
