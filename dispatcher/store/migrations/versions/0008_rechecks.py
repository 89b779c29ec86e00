"""When a campaign for later is checked again at its provider."""

import sqlalchemy as sa
from alembic import op

from dispatcher.store.column_types import UtcTime

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    """Add the column. No campaign waits for a check."""
    op.add_column("campaign", sa.Column("recheck_at", UtcTime(), nullable=True))


def downgrade() -> None:
    """Drop it. What waits for a check is sent without it."""
    op.drop_column("campaign", "recheck_at")
