"""The outbox of notices, the last balance of each account, and versions and clocks of workers."""

import sqlalchemy as sa
from alembic import op

from dispatcher.store.column_types import UtcTime

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    """Make the table and its indexes, and add the columns."""
    op.create_table(
        "notice",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("event_id", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("channel", sa.Text(), nullable=False),
        sa.Column("body", sa.Text(), nullable=False),
        sa.Column("at", UtcTime(), nullable=False),
        sa.Column("open_key", sa.Text(), nullable=True),
        sa.Column("sent_at", UtcTime(), nullable=True),
        sa.Column("tries", sa.Integer(), server_default="0", nullable=False),
        sa.Column("next_at", UtcTime(), nullable=True),
        sa.Column("lease_until", UtcTime(), nullable=True),
        sa.Column("error", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("id"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_notice_open", "notice", ["open_key"], unique=True)
    due = sa.text("next_at IS NOT NULL")
    op.create_index(
        "ix_notice_due",
        "notice",
        ["next_at"],
        unique=False,
        postgresql_where=due,
        sqlite_where=due,
    )
    op.add_column("account", sa.Column("balance", sa.Text(), nullable=True))
    op.add_column("account", sa.Column("balance_at", UtcTime(), nullable=True))
    op.add_column("worker", sa.Column("version", sa.Text(), nullable=True))
    op.add_column("worker", sa.Column("clock_ms", sa.BigInteger(), nullable=True))


def downgrade() -> None:
    """Drop the columns and the table."""
    op.drop_column("worker", "clock_ms")
    op.drop_column("worker", "version")
    op.drop_column("account", "balance_at")
    op.drop_column("account", "balance")
    op.drop_table("notice")
