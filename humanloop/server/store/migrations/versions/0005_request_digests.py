"""Digests of logs with reference ids, as sent, to recognise repeated ones."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    """Add the column; existing logs have no digest."""
    op.add_column("logs", sa.Column("request_digest", sa.String(32), nullable=True))
