"""Schema versions: Alembic run from code; its migrations are part of the package."""

from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import inspect, text

from dispatcher.errors import StoreError
from dispatcher.store.engine import Store, take_advisory_lock

if TYPE_CHECKING:
    from alembic.config import Config

_MIGRATIONS = Path(__file__).parent / "migrations"
_REVISION = text("SELECT version_num FROM alembic_version")
_ANY_TABLE = text("SELECT 1 FROM sqlite_master WHERE type = 'table' LIMIT 1")


def upgrade_store(url: str) -> tuple[str | None, str]:
    """Upgrade the store to the newest revision; return (revision before, revision after).

    Raises StoreError where the store cannot be reached or is newer than this program.
    """
    with closing(Store(url)) as store:
        before = current_revision(store)
        newest = _newest_revision(store)
        if before != newest:
            from alembic import command

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
        is_new = conn.execute(_ANY_TABLE).first() is None
    if is_new:
        upgrade_store(store.url.render_as_string(hide_password=False))


def current_revision(store: Store) -> str | None:
    """The store's revision; None where it has no tables yet."""
    with store.read() as conn:
        if not inspect(conn).has_table("alembic_version"):
            return None
        revision: str | None = conn.execute(_REVISION).scalar_one_or_none()
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
    """The newest known revision. Raises StoreError where the store has one that is not known.

    Known are the files of the migrations, `0001_….py`: Alembic itself is slow to import.
    """
    known = sorted(path.name.partition("_")[0] for path in _MIGRATIONS.glob("versions/0*_*.py"))
    revision = current_revision(store)
    if revision is not None and revision not in known:
        raise StoreError(
            f"the store {store.name} has revision {revision}, which this version does not know",
            "a newer dispatcher has upgraded it: use that version",
        )
    return known[-1]


def _alembic_config() -> "Config":
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(_MIGRATIONS))
    config.set_main_option("path_separator", "os")
    return config
