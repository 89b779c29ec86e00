"""A store that can be read and not written is named, with what keeps it from being written."""

from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import make_url, text

from dispatcher.doctor.store_access import _check_server, check_store_writable
from dispatcher.errors import StoreError
from dispatcher.store.engine import Store
from dispatcher.store.server_access import ServerAccess
from tests.support import stores


def words(store):
    found = list(check_store_writable(store))
    assert all(one.level == "red" and one.remedy for one in found)
    return [one.what for one in found]


def test_a_store_that_can_be_written_is_not_named(store):
    assert words(store) == []


@pytest.mark.parametrize("may_write", [Path.is_dir, Path.is_file])
def test_an_sqlite_store_on_a_read_only_disk_is_named(sqlite_store, may_write):
    (found,) = check_store_writable(sqlite_store, may_write)
    assert (found.level, found.part) == ("red", "store")


@pytest.mark.postgres
def test_a_database_that_is_read_only_by_default_is_named(postgres_server, postgres_url):
    name = make_url(postgres_url).database
    postgres_server.execute(f"ALTER DATABASE {name} SET default_transaction_read_only = on")
    with closing(Store(postgres_url)) as store:
        with pytest.raises(StoreError):
            stores.add_account(store)
        assert words(store) == [
            "the database takes no writes (default_transaction_read_only is on): nothing is sent"
        ]


def test_a_standby_is_named():
    access = ServerAccess(is_standby=True, is_read_only=True, by="sms")
    (found,) = _check_server(access, [])
    assert found.level == "red"
    assert found.what.startswith("the database server is a standby")


@pytest.mark.postgres
def test_tables_and_sequences_that_a_user_may_not_write_are_named(postgres_url):
    as_reader = make_url(postgres_url).set(username="reader").render_as_string()

    def run(*statements):
        with closing(Store(postgres_url)) as store, store.write() as conn:
            for statement in statements:
                conn.execute(text(statement))

    run(
        "CREATE ROLE reader LOGIN",
        "GRANT SELECT ON ALL TABLES IN SCHEMA public TO reader",
        "GRANT ALL ON account TO reader",
    )
    try:
        with closing(Store(as_reader)) as store:
            (found,) = words(store)
            assert found.startswith('the user "reader" may not write attempt, attempt_id_seq, ')
            assert found.endswith(" more: nothing is sent")
            run(
                "GRANT ALL ON ALL TABLES IN SCHEMA public TO reader",
                "GRANT USAGE ON ALL SEQUENCES IN SCHEMA public TO reader",
            )
            assert words(store) == []
    finally:
        run("DROP OWNED BY reader", "DROP ROLE reader")
