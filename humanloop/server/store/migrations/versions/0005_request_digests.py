"""Digests of logs with reference ids as they were sent, to know those that are sent again."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    """Add the column; the logs that are there have no digest."""
    op.add_column("logs", sa.Column("request_digest", sa.String(32), nullable=True))
