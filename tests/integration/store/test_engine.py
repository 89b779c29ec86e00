"""Transactions: writers wait for each other, readers for nobody, and errors are sentences."""

import fcntl
import os
import signal
import sqlite3
import threading
from contextlib import closing
from pathlib import Path

import psycopg
import pytest
from sqlalchemy import text, update

from dispatcher.config.settings import load_settings
from dispatcher.doctor import run_checks
from dispatcher.errors import ConfigError, StoreBusyError, StoreError
from dispatcher.recovery.rollback_guard import RollbackGuard
from dispatcher.store.engine import Store, parse_url, store_now
from dispatcher.store.error_texts import to_store_error
from dispatcher.store.migrate import upgrade_store
from dispatcher.store.tables import ACCOUNT, CAMPAIGN
from tests.support import warm
from tests.support.stage import wait_for
from tests.support.stores import add_account, count_up, rows, start_import


@pytest.fixture
def sqlite_store(sqlite_url):
    with closing(Store(sqlite_url, lock_wait_s=0.2)) as opened:
        yield opened


def failures(store):
    (account,) = rows(store, ACCOUNT)
    return account.failures


def test_processes_that_write_at_the_same_time_all_succeed_and_lose_nothing(store):
    add_account(store)
    url = store.url.render_as_string(hide_password=False)
    with warm.pool(3) as pool:
        pool.starmap(count_up, [(url, 15)] * 3, chunksize=1)
    assert failures(store) == 45
    assert len(rows(store, CAMPAIGN)) == 3 * 5 * 60
    with store.write() as conn:
        conn.execute(CAMPAIGN.delete())


def test_threads_that_write_at_the_same_time_all_succeed(store):
    add_account(store)

    def work():
        for _ in range(25):
            with store.write() as conn:
                row = conn.execute(ACCOUNT.select().with_for_update()).one()
                conn.execute(update(ACCOUNT).values(failures=row.failures + 1))

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert failures(store) == 100


def test_threads_share_few_connections_and_none_takes_a_second_one(store):
    add_account(store)
    url = store.url.render_as_string(hide_password=False)
    with closing(Store(url, max_connections=2)) as narrow:

        def work():
            for _ in range(10):
                with narrow.read() as conn:
                    store_now(conn)
                with narrow.write() as conn:
                    conn.execute(update(ACCOUNT).values(failures=ACCOUNT.c.failures + 1))

        threads = [threading.Thread(target=work) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert narrow.engine.pool.checkedin() <= 2
    assert failures(store) == 80


def test_no_connection_that_becomes_free_in_time_is_a_clear_error(store):
    url = store.url.render_as_string(hide_password=False)
    with (
        closing(Store(url, max_connections=1, lock_wait_s=0.05)) as narrow,
        narrow.read(),
        pytest.raises(StoreBusyError, match="all connections of this process") as caught,
        narrow.read(),
    ):
        pass
    assert "max_connections" in caught.value.hint


def test_a_reader_does_not_wait_for_a_writer_and_sees_what_was_committed(store):
    add_account(store)
    with store.write() as conn:
        conn.execute(update(ACCOUNT).values(failures=7))
        assert failures(store) == 0
    assert failures(store) == 7


def test_an_exception_rolls_back_the_whole_transaction(store):
    add_account(store)

    def write_and_fail(conn):
        conn.execute(update(ACCOUNT).values(failures=7))
        raise RuntimeError

    with pytest.raises(RuntimeError), store.write() as conn:
        write_and_fail(conn)
    assert failures(store) == 0


def test_the_stores_clock_is_aware_utc_and_goes_on_within_a_transaction(store):
    with store.read() as conn:
        first, second = store_now(conn), store_now(conn)
    assert first < second
    assert first.utcoffset().total_seconds() == 0


# --- SQLite -----------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["read", "write"])
def test_every_sqlite_transaction_is_in_wal_mode_and_flushed_to_the_disk(sqlite_store, mode):
    with getattr(sqlite_store, mode)() as conn:
        assert conn.execute(text("PRAGMA journal_mode")).scalar() == "wal"
        assert conn.execute(text("PRAGMA synchronous")).scalar() == 2  # FULL


def test_sqlite_transactions_are_real_ones(sqlite_store):
    """The driver must not begin or commit by itself."""
    with sqlite_store.write() as conn:
        raw = conn.connection.driver_connection
        assert raw.in_transaction
        conn.execute(text("CREATE TABLE one (n int)"))
        assert raw.in_transaction
        conn.rollback()
    with sqlite_store.read() as conn:
        assert conn.connection.driver_connection.in_transaction
        names = conn.execute(text("SELECT name FROM sqlite_master")).scalars().all()
    assert "one" not in names


def test_a_writer_lock_that_stays_held_is_a_clear_error(sqlite_store, tmp_path):
    with (tmp_path / "store.db.lock").open("w") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        with pytest.raises(StoreError) as caught, sqlite_store.write():
            pytest.fail("the lock is another's")
        assert "locked by another process for 0.2 s" in caught.value.message
        assert rows(sqlite_store, ACCOUNT) == []
    add_account(sqlite_store)


def test_a_lock_of_another_program_is_waited_for_and_then_an_error(sqlite_store, tmp_path):
    with closing(sqlite3.connect(tmp_path / "store.db", isolation_level=None)) as foreign:
        foreign.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreError, match="cannot be used: database is locked"):
            add_account(sqlite_store)
        foreign.execute("ROLLBACK")
    add_account(sqlite_store)


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda path: path.write_bytes(b"phone,name\n" * 100), "is not an SQLite database"),
        (lambda path: path.mkdir(), "cannot be opened"),
    ],
)
def test_a_path_that_is_not_an_sqlite_store_is_a_clear_error(tmp_path, make, said):
    make(tmp_path / "people.csv")
    with closing(Store(f"sqlite:///{tmp_path}/people.csv")) as store:
        with pytest.raises(StoreError, match=said):
            add_account(store)
        with pytest.raises(StoreError, match=said):
            rows(store, ACCOUNT)


def test_a_missing_folder_is_a_clear_error(tmp_path):
    missing = closing(Store(f"sqlite:///{tmp_path}/nowhere/store.db"))
    with missing as store, pytest.raises(StoreError, match="cannot be opened"):
        add_account(store)


# --- PostgreSQL -------------------------------------------------------------------------------


@pytest.mark.postgres
def test_a_row_lock_that_stays_held_is_a_clear_error(postgres_url):
    with (
        closing(Store(postgres_url)) as store,
        closing(Store(postgres_url, lock_wait_s=0.1)) as impatient,
    ):
        add_account(store)
        with store.write() as conn:
            conn.execute(update(ACCOUNT).values(failures=1))
            with pytest.raises(
                StoreError, match=r"another transaction has locked rows of .* for too long"
            ):
                add_account(impatient, failures=2)
        assert failures(impatient) == 1


@pytest.mark.postgres
def test_postgresql_sessions_have_limits_and_utc(postgres_url):
    names = ("statement_timeout", "lock_timeout", "idle_in_transaction_session_timeout", "timezone")
    with closing(Store(postgres_url)) as store, store.read() as conn:
        shown = [conn.execute(text(f"SHOW {name}")).scalar() for name in names]
    assert shown == ["2min", "30s", "1min", "UTC"]


@pytest.mark.postgres
@pytest.mark.parametrize(
    ("configured", "used"),
    [("off", "on"), ("local", "local"), ("on", "on"), ("remote_apply", "remote_apply")],
)
def test_a_commit_is_durable_whatever_the_server_is_configured_for(
    configured, used, postgres_server, postgres_url
):
    name = postgres_url.partition("@/")[2].partition("?")[0]
    postgres_server.execute(f"ALTER DATABASE {name} SET synchronous_commit = {configured}")
    with closing(Store(postgres_url)) as store:
        for transaction in (store.read, store.write, store.read):
            with transaction() as conn:
                assert conn.execute(text("SHOW synchronous_commit")).scalar() == used
                conn.rollback()


@pytest.mark.postgres
def test_the_doctor_names_a_server_that_does_not_sync(postgres_url, sqlite_url, tmp_path):
    config = tmp_path / "dispatcher.toml"
    found = {}
    for url in (postgres_url, sqlite_url):
        config.write_text(f'[store]\nurl = "{url}"\n', encoding="utf-8")
        findings = run_checks(load_settings(config, {}))
        found[url] = [f.what for f in findings if f.part == "store" and not f.ok]
    assert "fsync = off" in found[postgres_url][0]
    assert found[sqlite_url] == []


@pytest.mark.postgres
def test_what_was_committed_survives_a_crash_of_the_server_at_once(postgres_url):
    """The fixture's server is configured with `synchronous_commit = off`."""
    with closing(Store(postgres_url)) as store:
        with store.read() as conn:
            victim = conn.execute(text("SELECT pg_backend_pid()")).scalar()
        add_account(store)
        os.kill(victim, signal.SIGKILL)  # the server ends every session, and recovers from its log

        def stored():
            try:
                return [rows(store, ACCOUNT)]
            except StoreError:
                return None

        (found,) = wait_for(stored, "the server")
        assert len(found) == 1


@pytest.mark.postgres
def test_a_lost_connection_is_a_store_error_and_the_next_transaction_has_a_new_one(postgres_url):
    with closing(Store(postgres_url)) as store:
        end = text(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE pid <> pg_backend_pid() AND datname = current_database()"
        )

        def write_while_the_server_ends_it(conn):
            with closing(Store(postgres_url)) as other, other.write() as another:
                another.execute(end)
            start_import(conn)

        with pytest.raises(StoreError, match="cannot be used"), store.write() as conn:
            write_while_the_server_ends_it(conn)
        add_account(store)


@pytest.mark.parametrize("secret", ["someone:hunter2@", "", "someone@"])
def test_an_unreachable_server_is_named_without_its_password(tmp_path, secret):
    url = f"postgresql://{secret}/campaigns?host={tmp_path}&password=hunter2"
    with closing(Store(url)) as store, pytest.raises(StoreError) as caught:
        add_account(store)
    assert "cannot be used" in caught.value.message
    assert "hunter2" not in f"{caught.value.message}{caught.value.hint}{store.name}"


# --- who may read it --------------------------------------------------------------------------


@pytest.fixture
def no_umask():
    former = os.umask(0)
    yield
    os.umask(former)


def rights(folder):
    return {path.name: oct(path.stat().st_mode & 0o777) for path in folder.iterdir()}


@pytest.mark.usefixtures("no_umask")
def test_a_new_store_and_its_files_are_readable_by_its_user_only(tmp_path):
    folder = tmp_path / "store"
    folder.mkdir()
    url = f"sqlite:///{folder}/new.db"
    upgrade_store(url)
    with closing(Store(url)) as store:
        guard = RollbackGuard(store, folder=tmp_path / "state" / "dispatcher")
        add_account(store)
        with store.write() as conn:
            assert guard.check_and_hold(conn) is None
        guard.save_marks()
        found = rights(folder)
    names = {f"new.db{end}" for end in ("", "-wal", "-shm", ".lock", ".next", ".witness")}
    assert names <= found.keys()
    assert set(found.values()) == {"0o600"}


@pytest.mark.usefixtures("no_umask")
@pytest.mark.parametrize(
    ("before", "after"),
    [
        (0o644, 0o600),
        (0o666, 0o660),
        (0o664, 0o660),
        (0o640, 0o640),  # given to a group on purpose
        (0o660, 0o660),
        (0o600, 0o600),
    ],
)
def test_a_store_that_everybody_could_read_is_closed_to_them(tmp_path, before, after):
    url = f"sqlite:///{tmp_path}/old.db"
    upgrade_store(url)
    (tmp_path / "old.db").chmod(before)
    with closing(Store(url)) as store:
        add_account(store)
        found = rights(tmp_path)
    assert {found[f"old.db{end}"] for end in ("", "-wal", "-shm")} == {oct(after)}


@pytest.mark.usefixtures("no_umask")
def test_files_of_a_running_store_that_everybody_could_read_are_closed_too(tmp_path):
    url = f"sqlite:///{tmp_path}/old.db"
    upgrade_store(url)
    with closing(Store(url)) as running:
        add_account(running)
        for end in ("", "-wal", "-shm"):
            Path(f"{tmp_path}/old.db{end}").chmod(0o644)
        with closing(Store(url)) as store, store.read():
            found = rights(tmp_path)
    assert {found[f"old.db{end}"] for end in ("", "-wal", "-shm")} == {"0o600"}


@pytest.mark.parametrize(
    "name", ["what?.db", "c#1.db", "100%.db", "100%ff.db", "a?b=c.db", "ü b.db"]
)
def test_a_store_is_the_file_that_its_url_names(tmp_path, name):
    file = tmp_path / "dispatcher.toml"
    file.write_text(f"[store]\nurl = 'sqlite:///{name}'\n", encoding="utf-8")
    url = load_settings(file, {}).store.url
    upgrade_store(url)
    with closing(Store(url)) as store:
        add_account(store)
        assert store.name == f"sqlite:///{tmp_path}/{name}"
    assert sqlite3.connect(tmp_path / name).execute("SELECT name FROM account").fetchall()
    others = {path.name for path in tmp_path.iterdir()} - {file.name}
    assert {other.startswith(name) for other in others} == {True}


# --- URLs -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("", "store.url: must be sqlite:///FILE or postgresql://"),
        ("nonsense", "store.url: must be sqlite:///FILE or postgresql://"),
        ("mysql://host/db", "store.url: must be sqlite:///FILE or postgresql://"),
        ("sqlite://", "needs a file"),
        ("sqlite:///:memory:", "needs a file"),
    ],
)
def test_urls_that_are_not_of_a_store_are_refused(url, said):
    with pytest.raises(ConfigError, match=said):
        parse_url(url)


def test_a_relative_path_is_made_absolute_and_postgresql_gets_its_driver(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert parse_url("sqlite:///dispatcher.db").database == str(Path.cwd() / "dispatcher.db")
    assert parse_url("postgresql://host/db").drivername == "postgresql+psycopg"


@pytest.mark.postgres
@pytest.mark.parametrize("encoding", ["SQL_ASCII", "LATIN1"])
def test_a_database_that_cannot_hold_every_character_is_refused(encoding, postgres_server):
    name = f"of_{encoding.lower()}"
    postgres_server.execute(f"CREATE DATABASE {name} ENCODING '{encoding}' TEMPLATE template0")
    try:
        with pytest.raises(StoreError, match=f"has the encoding {encoding}") as caught:
            upgrade_store(postgres_server.url(name))
    finally:
        postgres_server.execute(f"DROP DATABASE {name} WITH (FORCE)")
    assert "--encoding=UTF8" in caught.value.hint


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ("disk I/O error", "cannot be read (disk I/O error)"),
        ("database disk image is malformed", "is damaged"),
    ],
)
def test_a_disk_or_a_file_that_is_broken_is_no_server_that_is_away(said, words):
    error = to_store_error(sqlite3.OperationalError(said), "sqlite:///a.db")
    assert error.message == f"the store sqlite:///a.db {words}"
    assert "stop every process" in error.hint


def test_a_wrong_password_is_told_from_a_server_that_is_away():
    said = psycopg.OperationalError('FATAL:  password authentication failed for user "sms"')
    error = to_store_error(said, "postgresql://sms@db/sms")
    assert error.message == "the store postgresql://sms@db/sms refuses the user or the password"
    assert error.hint == "correct `url` under [store], or the variable that it names"
