"""Accounts that a person has stopped, and whether everything is stopped."""

import sqlalchemy as sa
from alembic import op

from dispatcher.store.column_types import UtcTime

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Add the columns and the table. Nothing is stopped."""
    op.add_column("account", sa.Column("stopped_at", UtcTime(), nullable=True))
    op.add_column("account", sa.Column("stopped_by", sa.Text(), nullable=True))
    op.add_column("account", sa.Column("stop_reason", sa.Text(), nullable=True))
    op.create_table(
        "general_stop",
        sa.Column("id", sa.SmallInteger(), autoincrement=False, nullable=False),
        sa.Column("at", UtcTime(), nullable=False),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("id"),
    )


def downgrade() -> None:
    """Drop them. What was stopped goes on."""
    op.drop_table("general_stop")
    for name in ("stop_reason", "stopped_by", "stopped_at"):
        op.drop_column("account", name)
