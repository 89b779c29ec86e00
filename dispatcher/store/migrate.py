"""Schema versions: Alembic run from code; its migrations are part of the package."""

from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import inspect

from dispatcher.errors import StoreError
from dispatcher.store.engine import Store, take_advisory_lock

if TYPE_CHECKING:
    from alembic.config import Config

_MIGRATIONS = Path(__file__).parent / "migrations"


def upgrade_store(url: str) -> tuple[str | None, str]:
    """Upgrade the store to the newest revision; return (revision before, revision after).

    Raises StoreError where the store cannot be reached or is newer than this program.
    """
    from alembic import command

    with closing(Store(url)) as store:
        before = current_revision(store)
        newest = _newest_revision(store)
        if before != newest:
            with store.write() as conn:
                take_advisory_lock(conn, "upgrade")
                config = _alembic_config()
                config.attributes["connection"] = conn
                command.upgrade(config, "head")
    return before, newest


def create_tables_if_new(store: Store) -> None:
    """Create the tables of a SQLite store that has none, so that its first user does not have to.

    On a database server its administrator does that, with `dispatcher db upgrade`.
    """
    if not store.is_sqlite:
        return
    with store.read() as conn:
        is_new = not inspect(conn).get_table_names()
    if is_new:
        upgrade_store(store.url.render_as_string(hide_password=False))


def current_revision(store: Store) -> str | None:
    """The store's revision; None where it has no tables yet."""
    from alembic.runtime.migration import MigrationContext

    with store.read() as conn:
        revision: str | None = MigrationContext.configure(conn).get_current_revision()
    return revision


def revision_problem(store: Store) -> str | None:
    """Why this program cannot use the store's revision; None where it can.

    Raises StoreError as `upgrade_store` does.
    """
    newest, revision = _newest_revision(store), current_revision(store)
    if revision is None:
        return f"{store.name} has no tables yet"
    return None if revision == newest else f"{store.name} is of an older version ({revision})"


def _newest_revision(store: Store) -> str:
    """The newest known revision. Raises StoreError where the store has one that is not known."""
    from alembic.script import ScriptDirectory
    from alembic.util import CommandError

    scripts = ScriptDirectory.from_config(_alembic_config())
    head = scripts.get_current_head()
    assert head is not None
    revision = current_revision(store)
    try:
        scripts.get_revision(revision or head)
    except CommandError as error:
        raise StoreError(
            f"the store {store.name} has revision {revision}, which this version does not know",
            "a newer dispatcher has upgraded it: use that version",
        ) from error
    return head


def _alembic_config() -> "Config":
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(_MIGRATIONS))
    config.set_main_option("path_separator", "os")
    return config
