"""A table of what had become of messages before they were submitted again."""

import sqlalchemy as sa
from alembic import op

from dispatcher.store.column_types import Money, UtcTime

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Make the table and its indexes, and an index of further ids by number."""
    op.create_table(
        "former_outcome",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("campaign_id", sa.BigInteger(), nullable=False),
        sa.Column("seq", sa.Integer(), nullable=False),
        sa.Column("msisdn", sa.BigInteger(), nullable=False),
        sa.Column("attempt_id", sa.BigInteger(), nullable=True),
        sa.Column("state", sa.SmallInteger(), nullable=False),
        sa.Column("final_at", UtcTime(), nullable=True),
        sa.Column("cost", Money(), nullable=True),
        sa.Column("provider_message_id", sa.Text(), nullable=True),
        sa.Column("error_code", sa.Text(), nullable=True),
        sa.Column("error", sa.Text(), nullable=True),
        sa.Column("at", UtcTime(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_former_message", "former_outcome", ["campaign_id", "seq"], unique=False)
    op.create_index("ix_other_id_number", "other_id", ["msisdn"], unique=False)
    op.create_index("ix_former_number", "former_outcome", ["msisdn"], unique=False)
