"""How Alembic runs our migrations: on the connection and transaction it is handed."""

from alembic import context
from sqlmodel import SQLModel

from dispatcher.store import tables

assert tables.CAMPAIGN is not None
context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=SQLModel.metadata,
    render_as_batch=True,
    transactional_ddl=False,
)
context.run_migrations()
