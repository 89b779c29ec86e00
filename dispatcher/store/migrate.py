"""Schema versions: Alembic run from code; its migrations are part of the package.

The store says which programs may use it (`compatibility`): so a program goes on while a newer one
has upgraded the store, and one that is too old refuses.
"""

from contextlib import closing
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from sqlalchemy import Connection, inspect, select, text

from dispatcher.errors import StateRefused, StoreError
from dispatcher.store import scheduler
from dispatcher.store.engine import Store, store_now, take_advisory_lock
from dispatcher.store.revisions import MIGRATIONS, known_revisions, newest_revision
from dispatcher.store.tables import COMPATIBILITY

if TYPE_CHECKING:
    from alembic.config import Config

_REVISION = text("SELECT version_num FROM alembic_version")
_ANY_TABLE = text("SELECT 1 FROM sqlite_master WHERE type = 'table' LIMIT 1")
#: The revision of programs of before each worker recorded its own.
_UNRECORDED: Final = "0009"
#: A worker that was seen in this time is alive.
_ALIVE: Final = timedelta(minutes=1)
UPGRADE: Final = "run `dispatcher db upgrade`"


def upgrade_store(url: str) -> tuple[str | None, str]:
    """Upgrade the store to the newest revision; return (revision before, revision after).

    A newer store that this program may use stays as it is. Raises StoreError where the store cannot
    be reached or is too new, StateRefused while a worker runs that could not use the result.
    """
    with closing(Store(url)) as store:
        before = current_revision(store)
        if before == newest_revision() or _is_newer(store, before):
            return before, before or newest_revision()

        def upgrade(conn: Connection) -> None:
            upgrade_to(conn, "head")
            _refuse_old_workers(conn)

        store.run_write(upgrade)
    return before, newest_revision()


def upgrade_to(conn: Connection, revision: str) -> None:
    """Upgrade the tables in a transaction, after another one that does so now."""
    from alembic import command

    take_advisory_lock(conn, "upgrade")
    config = _alembic_config()
    config.attributes["connection"] = conn
    command.upgrade(config, revision)


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
        return read_revision(conn) if inspect(conn).has_table("alembic_version") else None


def read_revision(conn: Connection) -> str | None:
    """The revision of a store that has tables."""
    revision: str | None = conn.execute(_REVISION).scalar_one_or_none()
    return revision


def revision_problem(store: Store) -> str | None:
    """Why this program cannot use the store's revision; None where it can.

    Raises StoreError where the store cannot be reached or is too new.
    """
    revision = current_revision(store)
    if revision is None:
        return f"{store.name} has no tables yet"
    if revision == newest_revision() or _is_newer(store, revision):
        return None
    return (
        f"{store.name} is of an older version ({revision}; this program needs {newest_revision()})"
    )


def find_too_new(store: Store) -> str | None:
    """Why this program must not use the store any more: the store is too new. Else None."""
    oldest = _read_oldest(store)
    if oldest is None or oldest <= newest_revision():
        return None
    return (
        f"the store {store.name} needs a program that knows revision {oldest}; this one knows "
        f"{newest_revision()}"
    )


def _read_oldest(store: Store) -> str | None:
    with store.read() as conn:
        oldest: str | None = conn.execute(select(COMPATIBILITY.c.oldest)).scalar_one_or_none()
    return oldest


def _is_newer(store: Store, revision: str | None) -> bool:
    """Whether the store is newer than this program, which may use it all the same.

    Raises StoreError where it may not.
    """
    if revision is None or revision in known_revisions():
        return False
    oldest = _read_oldest(store)
    if oldest is None or oldest > newest_revision():
        raise StoreError(
            f"the store {store.name} has revision {revision}, which this version does not know",
            "a newer dispatcher has upgraded it: use that version",
        )
    return True


def _refuse_old_workers(conn: Connection) -> None:
    """Raise StateRefused if a worker is alive that may not use the store as it is now."""
    oldest = conn.execute(select(COMPATIBILITY.c.oldest)).scalar_one()
    alive = scheduler.list_workers(conn, store_now(conn) - _ALIVE)
    names = [one.name for one in alive if (one.revision or _UNRECORDED) < oldest]
    if names:
        raise StateRefused(
            f"workers are running that are too old for the new tables: {', '.join(names)}",
            "stop them, upgrade, and start the new version; nothing was changed",
        )


def _alembic_config() -> "Config":
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    config.set_main_option("path_separator", "os")
    return config
