"""Released migrations never change, keep what is stored, and say which programs may use it."""

import hashlib
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from alembic import command
from sqlalchemy import MetaData, inspect, select, text, update

from dispatcher.errors import StateRefused, StoreError
from dispatcher.store import migrate, scheduler
from dispatcher.store.engine import Store
from dispatcher.store.migrate import current_revision, find_too_new, revision_problem, upgrade_store
from dispatcher.store.revisions import MIGRATIONS, known_revisions, newest_revision
from dispatcher.store.tables import COMPATIBILITY

CHECKSUMS = Path(__file__).with_name("migrations.sha256")
REVISIONS = sorted(known_revisions())
#: The oldest revision from which everything newer can be undone.
UNDONE_TO = "0003"
#: A row of each type.
VALUES = {"INTEGER": 3, "SMALLINT": 2, "BIGINT": 4, "TEXT": "1", "BOOLEAN": True, "BLOB": b"x"}
VALUES |= {"DOUBLE": 0.5, "DOUBLE PRECISION": 0.5, "FLOAT": 0.5, "BYTEA": b"x"}


def test_a_released_migration_is_as_it_was_released():
    """A new one is added with `sha256sum` (CONTRIBUTING.md); a released one is never edited."""
    lines = CHECKSUMS.read_text(encoding="utf-8").splitlines()
    released = dict(reversed(line.split()) for line in lines)
    files = sorted((MIGRATIONS / "versions").glob("0*_*.py"))
    found = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in files}
    assert found == released


def migrate_to(store, revision, run=command.upgrade):
    config = migrate._alembic_config()
    with store.write() as conn:
        config.attributes["connection"] = conn
        run(config, revision)


def fill_empty_tables(store):
    """One row, with a value in every column, in each table that has none."""
    empty = [name for name, rows in stored(store).items() if not rows]
    with store.write() as conn:
        metadata = MetaData()
        metadata.reflect(conn, only=empty)
        for table in metadata.sorted_tables:
            if table.name in empty:
                row = {column.name: _value(column) for column in table.columns}
                conn.execute(table.insert().values(**row))


def _value(column):
    """A value of the column's type, as the database itself names that."""
    kind = str(column.type).partition("(")[0]
    return datetime(2026, 1, 2, tzinfo=UTC) if kind == "TIMESTAMP" else VALUES.get(kind, 5)


def stored(store):
    """What each table has, by column, as the database gives it."""
    with store.read() as conn:
        quoted = conn.dialect.identifier_preparer.quote
        return {
            name: [
                dict(row._mapping) for row in conn.execute(text(f"SELECT * FROM {quoted(name)}"))
            ]
            for name in inspect(conn).get_table_names()
            if name != "alembic_version"
        }


def assert_kept(before, after):
    """Each row of a table that both have is there, with what it had in the columns of both."""
    for name, rows in before.items():
        for was, now in zip(rows, after.get(name, rows), strict=True):
            same = {*was} & {*now}
            assert {key: was[key] for key in same} == {key: now[key] for key in same}, name


def test_every_migration_keeps_what_is_stored_and_can_be_undone_and_made_again(empty_store_url):
    """Step by step: a store of any released version goes through the same steps to the newest."""
    with closing(Store(empty_store_url)) as store:
        for revision in REVISIONS:
            before = stored(store) if revision != REVISIONS[0] else {}
            migrate_to(store, revision)
            assert_kept(before, stored(store))
            fill_empty_tables(store)
        assert all(stored(store).values())
        for revision in reversed(REVISIONS[REVISIONS.index(UNDONE_TO) : -1]):
            before = stored(store)
            migrate_to(store, revision, command.downgrade)
            assert current_revision(store) == revision
            assert_kept(before, stored(store))
        oldest = stored(store)
        assert upgrade_store(empty_store_url) == (UNDONE_TO, newest_revision())
        assert_kept(oldest, stored(store))


def pretend_newer(store, oldest):
    """As if a newer program had upgraded the store."""
    with store.write() as conn:
        conn.execute(text("UPDATE alembic_version SET version_num = '9999'"))
        conn.execute(COMPATIBILITY.delete())
        if oldest is not None:
            conn.execute(COMPATIBILITY.insert().values(id=1, oldest=oldest))


@pytest.mark.parametrize("oldest", [None, "9998"])
def test_a_store_that_needs_a_newer_program_is_refused_and_left_alone(store_url, oldest):
    with closing(Store(store_url)) as store:
        pretend_newer(store, oldest)
        with pytest.raises(StoreError) as caught:
            upgrade_store(store_url)
        assert caught.value.hint == "a newer dispatcher has upgraded it: use that version"
        with pytest.raises(StoreError):
            revision_problem(store)
        assert current_revision(store) == "9999"


def test_a_newer_store_that_says_that_this_program_may_use_it_is_used(store_url):
    with closing(Store(store_url)) as store:
        pretend_newer(store, newest_revision())
        assert upgrade_store(store_url) == ("9999", "9999")
        assert revision_problem(store) is None
        assert find_too_new(store) is None


def test_an_older_store_is_named_with_both_revisions(sqlite_url):
    with closing(Store(sqlite_url)) as store:
        migrate_to(store, REVISIONS[-2], command.downgrade)
        needed = f"of an older version ({REVISIONS[-2]}; this program needs {newest_revision()})"
        assert needed in revision_problem(store)


def test_the_neighbour_of_the_newest_version_may_use_its_tables(empty_store_url):
    """Migrations between neighbours only add: workers of both run during a deployment."""
    upgrade_store(empty_store_url)
    with closing(Store(empty_store_url)) as store, store.read() as conn:
        assert conn.execute(select(COMPATIBILITY.c.oldest)).scalar_one() <= REVISIONS[-2]


def test_an_upgrade_is_refused_while_a_worker_runs_that_could_not_use_the_result(store_url):
    with closing(Store(store_url)) as store:
        with store.write() as conn:
            now = datetime.now(UTC)
            scheduler.record_heartbeat(conn, "old:1", 4, now - timedelta(seconds=5))
            scheduler.record_heartbeat(conn, "dead:1", 4, now - timedelta(hours=1))
            conn.execute(update(COMPATIBILITY).values(oldest="0010"))
        with store.read() as conn, pytest.raises(StateRefused, match=r"new tables: old:1$"):
            migrate._refuse_old_workers(conn)
        with store.write() as conn:
            scheduler.record_heartbeat(conn, "old:1", 4, now, revision=newest_revision())
        with store.read() as conn:
            migrate._refuse_old_workers(conn)
