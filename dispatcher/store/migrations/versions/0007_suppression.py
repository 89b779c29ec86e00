"""A table of numbers that must not be texted."""

import sqlalchemy as sa
from alembic import op

from dispatcher.store.column_types import UtcTime

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    """Make the table. It is empty."""
    op.create_table(
        "suppression",
        sa.Column("msisdn", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("account", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("at", UtcTime(), nullable=False),
        sa.PrimaryKeyConstraint("msisdn", "account"),
        sqlite_with_rowid=False,
    )


def downgrade() -> None:
    """Drop the table, with the list: export it before."""
    op.drop_table("suppression")
