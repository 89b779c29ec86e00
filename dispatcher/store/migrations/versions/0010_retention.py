"""What was purged, who was erased, and which versions of the program may use these tables."""

import sqlalchemy as sa
from alembic import op

from dispatcher.store.column_types import UtcTime

revision = "0010"
down_revision = "0009"


def upgrade() -> None:
    """Make the tables and add the columns. Nothing is purged, and nobody erased."""
    op.create_table(
        "erased_number",
        sa.Column("hash", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("at", UtcTime(), nullable=False),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("hash"),
        sqlite_with_rowid=False,
    )
    compatibility = op.create_table(
        "compatibility",
        sa.Column("id", sa.SmallInteger(), autoincrement=False, nullable=False),
        sa.Column("oldest", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.bulk_insert(compatibility, [{"id": 1, "oldest": "0008"}])
    op.add_column("campaign", sa.Column("purged_at", UtcTime(), nullable=True))
    op.add_column("worker", sa.Column("revision", sa.Text(), nullable=True))
    op.add_column("identity", sa.Column("erase_key", sa.Text(), nullable=True))


def downgrade() -> None:
    """Drop them. Erased numbers are not kept from getting texts any more."""
    op.drop_column("identity", "erase_key")
    op.drop_column("worker", "revision")
    op.drop_column("campaign", "purged_at")
    op.drop_table("compatibility")
    op.drop_table("erased_number")
