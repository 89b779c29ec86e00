"""A PgBouncer in transaction mode: each transaction may run in another session of the server."""

import threading
from contextlib import closing

import psycopg
import pytest
from sqlalchemy import event, text

from dispatcher.errors import StoreError
from dispatcher.store.engine import Store, take_advisory_lock
from dispatcher.store.migrate import current_revision, upgrade_store
from dispatcher.store.tables import CAMPAIGN
from tests.support.pgbouncer import (
    find_pgbouncer,
    running_pgbouncer,
    server_settings,
    through_port,
)
from tests.support.stage import stage
from tests.support.stores import order, rows, submit

pytestmark = pytest.mark.postgres
SETTINGS = ("timezone", "statement_timeout", "lock_timeout", "synchronous_commit")
WANTED = ["UTC", "2min", "30s", "on"]


@pytest.fixture(scope="module")
def pgbouncer_port(postgres_server):
    program = find_pgbouncer()
    if program is None:
        pytest.skip(
            "pgbouncer is not installed (apt-get install pgbouncer): nothing is tested through it"
        )
    with running_pgbouncer(program, postgres_server.folder) as port:
        yield port


@pytest.fixture
def pooled_url(postgres_url, pgbouncer_port):
    return through_port(postgres_url, pgbouncer_port)


@pytest.mark.parametrize("mode", ["read", "write"])
def test_every_transaction_has_its_limits_and_a_durable_commit(mode, pooled_url):
    with closing(Store(pooled_url)) as store:
        for _ in range(3):
            with getattr(store, mode)() as conn:
                found = [conn.execute(text(f"SHOW {name}")).scalar_one() for name in SETTINGS]
            assert found == WANTED


def test_what_a_database_commits_more_safely_is_kept(postgres_server, postgres_url, pooled_url):
    name = postgres_url.partition("@/")[2].partition("?")[0]
    postgres_server.execute(f"ALTER DATABASE {name} SET synchronous_commit = remote_apply")
    with closing(Store(pooled_url)) as store, store.write() as conn:
        assert conn.execute(text("SHOW synchronous_commit")).scalar_one() == "remote_apply"


def test_nothing_is_left_in_a_session_for_the_next_program(pooled_url):
    before = server_settings(pooled_url, *SETTINGS)
    with closing(Store(pooled_url)) as store:
        with store.write() as conn:
            conn.execute(text("SELECT 1"))
        assert server_settings(pooled_url, *SETTINGS) == before
    assert before != WANTED


def test_the_same_statement_from_many_threads_meets_no_prepared_one_of_another_session(pooled_url):
    """psycopg prepares a statement at its sixth run; the pooler has two sessions."""
    failed = []

    def work(store):
        try:
            for number in range(30):
                with store.write() as conn:
                    take_advisory_lock(conn, "a test")
                    conn.execute(text("SELECT :number + 1"), {"number": number}).scalar_one()
        except StoreError as error:
            failed.append(error)

    with closing(Store(pooled_url)) as store:
        threads = [threading.Thread(target=work, args=(store,)) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
    assert failed == []
    with psycopg.connect(pooled_url) as connection:
        left = connection.execute(
            "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'"
        ).fetchone()
        assert left == (0,)


def test_a_direct_connection_pays_no_statement_per_transaction(postgres_url, pooled_url):
    def statements(url):
        seen = []
        with closing(Store(url)) as store:
            with store.read() as conn:
                conn.execute(text("SELECT 1"))
            event.listen(
                store.engine, "before_cursor_execute", lambda *given: seen.append(given[2])
            )
            with store.read() as conn:
                conn.execute(text("SELECT 1"))
        return len(seen)

    assert (statements(postgres_url), statements(pooled_url)) == (1, 2)


def test_a_new_store_is_made_and_a_file_imported_through_it(empty_postgres_url, pgbouncer_port):
    url = through_port(empty_postgres_url, pgbouncer_port)
    upgrade_store(url)
    with closing(Store(url)) as store:
        assert current_revision(store) is not None
        numbers = "".join(f"98{number:08d}\n" for number in range(5000))
        submit(store, order(f"phone\n{numbers}"))
        (campaign,) = rows(store, CAMPAIGN)
        assert campaign.total == 5000


@pytest.mark.acceptance
def test_a_campaign_is_sent_through_it_by_real_processes(postgres_url, pgbouncer_port):
    with stage(store_url=through_port(postgres_url, pgbouncer_port)) as ours:
        ours.start()
        campaign = ours.submit(ours.people(300, first=919850000000))
        campaign.wait_until_over()
        assert {row["state"] for row in campaign.export()} <= {
            "submitted", "delivered", "undelivered", "expired",
        }  # fmt: skip
        assert len(ours.provider.ledger()) == 300
