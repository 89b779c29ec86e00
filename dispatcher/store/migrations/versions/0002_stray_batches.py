"""An index of batches that ended with messages left: ticks look for them, and find none."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"

_STRAY = sa.text("state >= 4 AND pending > 0")


def upgrade() -> None:
    """Make the index. It stays empty."""
    op.create_index("ix_batch_stray", "batch", ["id"], postgresql_where=_STRAY, sqlite_where=_STRAY)
