"""Tables of what providers push: secret URLs, receipts that wait, replies, and counts."""

import sqlalchemy as sa
from alembic import op

from dispatcher.store.column_types import Money, UtcTime

revision = "0011"
down_revision = "0010"


def upgrade() -> None:
    """Make the tables. They are empty."""
    serial = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
    op.create_table(
        "push_url",
        sa.Column("id", serial, nullable=False),
        sa.Column("account", sa.Text(), nullable=False),
        sa.Column("digest", sa.Text(), nullable=False),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("at", UtcTime(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "waiting_receipt",
        sa.Column("account", sa.Text(), nullable=False),
        sa.Column("provider_message_id", sa.Text(), nullable=False),
        sa.Column("msisdn", sa.BigInteger(), nullable=False),
        sa.Column("state", sa.SmallInteger(), server_default="0", nullable=False),
        sa.Column("raw", sa.Text(), nullable=False),
        sa.Column("provisional", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.Column("error_code", sa.Text(), nullable=True),
        sa.Column("cost", Money(), nullable=True),
        sa.Column("at", UtcTime(), nullable=False),
        sa.Column("next_at", UtcTime(), nullable=False),
        sa.Column("tries", sa.SmallInteger(), server_default="0", nullable=False),
        sa.PrimaryKeyConstraint("account", "provider_message_id"),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_waiting_receipt_due", "waiting_receipt", ["next_at"])
    op.create_table(
        "reply",
        sa.Column("id", serial, nullable=False),
        sa.Column("account", sa.Text(), nullable=False),
        sa.Column("msisdn", sa.BigInteger(), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("push_key", sa.Text(), nullable=False),
        sa.Column("is_stop", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.Column("at", UtcTime(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_reply_key", "reply", ["account", "push_key"], unique=True)
    op.create_index("ix_reply_number", "reply", ["msisdn"])
    op.create_table(
        "push_count",
        sa.Column("account", sa.Text(), nullable=False),
        sa.Column("outcome", sa.Text(), nullable=False),
        sa.Column("n", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("last_at", UtcTime(), nullable=True),
        sa.PrimaryKeyConstraint("account", "outcome"),
    )


def downgrade() -> None:
    """Drop the tables, with all replies: opt-outs stay on the suppression list."""
    for name in ("push_count", "reply", "waiting_receipt", "push_url"):
        op.drop_table(name)
