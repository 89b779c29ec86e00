"""Small batches of different campaigns that were released together, and share a turn."""

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"


def upgrade() -> None:
    """Add the column. A batch without it was released alone."""
    op.add_column("batch", sa.Column("bundle", sa.Text(), nullable=True))


def downgrade() -> None:
    """Drop the column. Batches in flight count alone then: at first fewer are released."""
    op.drop_column("batch", "bundle")
