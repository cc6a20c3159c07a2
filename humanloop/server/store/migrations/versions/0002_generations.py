"""What a provider said, for the logs of chats and completions."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Apply the revision."""
    for name in ("user", "provider_response", "provider_latency", "raw_output", "finish_reason"):
        op.add_column("logs", sa.Column(name, sa.Text()))
