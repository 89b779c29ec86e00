"""The store's tables: the migrations make exactly those that the code has."""

import json
import subprocess
import sys
from contextlib import closing
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import BigInteger, Integer, Text, inspect, select, text
from sqlmodel import SQLModel

from dispatcher.errors import StoreError
from dispatcher.store import migrate
from dispatcher.store.column_types import Money
from dispatcher.store.engine import Store
from dispatcher.store.migrate import (
    create_tables_if_new,
    current_revision,
    revision_problem,
    upgrade_store,
)
from dispatcher.store.table_values import bulk_insert, insert_or_ignore, literal_table
from dispatcher.store.tables import ACCOUNT, CAMPAIGN, MESSAGE, REJECT, SOURCE_ROWS
from tests.support import warm
from tests.support.cli import ROOT
from tests.support.described_tables import describe_tables
from tests.support.stores import NOW, rows

NEWEST = "0012"


def test_the_migrations_make_what_the_code_expects(store):
    with store.read() as conn:
        context = MigrationContext.configure(conn, opts={"compare_server_default": True})
        assert compare_metadata(context, SQLModel.metadata) == []


def test_partial_indexes_have_the_codes_conditions_on_both_databases(store):
    """Alembic does not compare the conditions."""
    dialect = store.engine.dialect.name
    with store.read() as conn:
        inspector = inspect(conn)
        for table in SQLModel.metadata.tables.values():
            found = {i["name"]: i["dialect_options"] for i in inspector.get_indexes(table.name)}
            for index in table.indexes:
                wanted = index.dialect_options[dialect]["where"]
                stored = found[index.name].get(f"{dialect}_where")
                assert (wanted is None) == (stored is None), index.name
                if wanted is not None:
                    assert _condition(wanted) == _condition(stored), index.name


def _condition(clause):
    """PostgreSQL writes `state = ANY (ARRAY[1, 2])` for `state IN (1, 2)`."""
    words = str(clause).replace("= ANY (ARRAY[", "IN (").replace("])", ")")
    return words.strip("()").replace("(", "").replace(")", "")


def test_upgrading_again_changes_nothing(empty_store_url):
    assert upgrade_store(empty_store_url) == (None, NEWEST)
    assert upgrade_store(empty_store_url) == (NEWEST, NEWEST)


def test_a_new_sqlite_store_gets_its_tables_and_a_server_does_not(
    empty_store_url,
):
    with closing(Store(empty_store_url)) as store:
        create_tables_if_new(store)
        create_tables_if_new(store)
        assert current_revision(store) == (NEWEST if store.is_sqlite else None)
        assert (revision_problem(store) is None) == store.is_sqlite


def test_a_store_without_tables_says_what_to_run(empty_store_url):
    with closing(Store(empty_store_url)) as store, pytest.raises(StoreError) as caught:
        rows(store, CAMPAIGN)
    assert "has no tables yet" in caught.value.message
    assert caught.value.hint == "run `dispatcher db upgrade`, or `dispatcher up`"


def test_processes_that_upgrade_at_the_same_time_all_succeed(empty_store_url):
    with warm.pool(4) as pool:
        results = pool.map(upgrade_store, [empty_store_url] * 4, chunksize=1)
    assert {after for _before, after in results} == {NEWEST}
    assert sum(before is None for before, _after in results) >= 1


def test_sqlite_messages_have_no_rowid(sqlite_url):
    with closing(Store(sqlite_url)) as store, store.read() as conn:
        made = dict(conn.execute(text("SELECT name, sql FROM sqlite_master")).all())
    for table in ("message", "reject"):
        assert "WITHOUT ROWID" in made[table]
    for table in ("campaign", "batch", "attempt"):
        assert "AUTOINCREMENT" in made[table]


@pytest.mark.postgres
def test_postgresql_leaves_room_for_messages_to_be_updated_in_place(postgres_url):
    with closing(Store(postgres_url)) as store, store.read() as conn:
        query = text("SELECT reloptions FROM pg_class WHERE relname = 'message'")
        assert conn.execute(query).scalar() == ["fillfactor=50"]


# --- Types ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("moment", "stored"),
    [
        (datetime(2026, 2, 3, 4, 5, 6, 789_012, UTC), datetime(2026, 2, 3, 4, 5, 6, 789_012, UTC)),
        (
            datetime(2026, 2, 3, 5, 35, tzinfo=timezone(timedelta(hours=5, minutes=30))),
            datetime(2026, 2, 3, 0, 5, tzinfo=UTC),
        ),
        (datetime(1969, 12, 31, 23, 59, 59, 1, UTC), datetime(1969, 12, 31, 23, 59, 59, 1, UTC)),
        (None, None),
    ],
)
def test_times_come_back_as_the_same_instant_in_utc(store, moment, stored):
    with store.write() as conn:
        insert_or_ignore(conn, ACCOUNT, {"name": "a", "failures": 0, "not_before": moment})
    (row,) = rows(store, ACCOUNT)
    assert row.not_before == stored
    assert stored is None or row.not_before.tzinfo is UTC


def test_a_time_without_zone_is_refused(store):
    values = {"name": "a", "failures": 0, "not_before": datetime(2026, 1, 1)}  # noqa: DTZ001
    with pytest.raises((StoreError, ValueError)), store.write() as conn:
        insert_or_ignore(conn, ACCOUNT, values)
    assert rows(store, ACCOUNT) == []


@pytest.mark.parametrize(
    ("price", "stored"),
    [
        ("0.25", "0.250000"),
        ("0", "0.000000"),
        ("-1.5", "-1.500000"),
        ("0.0000005", "0.000001"),
        ("0.0000015", "0.000002"),
        ("-0.0000005", "-0.000001"),
        ("999999999.999999", "999999999.999999"),
    ],
)
def test_prices_come_back_to_a_millionth_and_print_alike(store, price, stored):
    with store.write() as conn:
        conn.execute(
            MESSAGE.insert().values(campaign_id=1, seq=0, row=1, msisdn=1, cost=Decimal(price))
        )
    (row,) = rows(store, MESSAGE)
    assert str(row.cost) == stored
    with store.write() as conn:
        conn.execute(MESSAGE.delete())


# --- Sets -------------------------------------------------------------------------------------

ROWS = [
    (1, "plain", 919_812_345_678, Decimal("0.25")),
    (2, None, None, None),
    (3, "ünï ✓ 😀 ' \" \\ %s :x", 2**62, Decimal("123456.654321")),
    (4, "", -1, Decimal(0)),
]
COLUMNS = [("seq", Integer()), ("word", Text()), ("big", BigInteger()), ("cost", Money())]


def test_a_table_parameter_holds_its_rows_as_they_were_given(store):
    with store.read() as conn:
        given = literal_table(conn, COLUMNS, ROWS)
        found = conn.execute(select(given).order_by(given.c.seq)).all()
    assert [tuple(row) for row in found] == ROWS


def test_a_table_parameter_may_have_one_column_or_2000_rows(store):
    with store.read() as conn:
        one = literal_table(conn, [("seq", Integer())], [(n,) for n in range(2000)])
        assert conn.execute(select(one.c.seq)).scalars().all() == list(range(2000))
        many = literal_table(conn, COLUMNS, [(n, str(n), n, Decimal(n)) for n in range(2000)])
        assert len(conn.execute(select(many)).all()) == 2000


def test_an_update_from_a_table_parameter_of_2000_rows_changes_each_by_its_own_values(store):
    names = ("campaign_id", "seq", "row", "msisdn")
    with store.write() as conn:
        bulk_insert(conn, MESSAGE, names, [(1, n, n + 1, 10**9 + n) for n in range(2000)])
        given = literal_table(conn, COLUMNS, [(n, f"w{n}", n, Decimal(n) / 8) for n in range(2000)])
        done = conn.execute(
            MESSAGE.update()
            .where(MESSAGE.c.campaign_id == 1, MESSAGE.c.seq == given.c.seq)
            .values(error=given.c.word, cost=given.c.cost)
        ).rowcount
    assert done == 2000
    assert [(m.error, m.cost) for m in rows(store, MESSAGE)] == [
        (f"w{n}", Decimal(n) / 8) for n in range(2000)
    ]


def test_sqlite_reads_a_table_parameter_once_and_not_for_every_row(sqlite_url):
    """Else settling a batch of 2000 takes seconds, in which no other writer comes to its turn."""
    with closing(Store(sqlite_url)) as store, store.read() as conn:
        given = literal_table(conn, COLUMNS, ROWS)
        statement = (
            MESSAGE.update()
            .where(MESSAGE.c.campaign_id == 1, MESSAGE.c.seq == given.c.seq)
            .values(error=given.c.word)
            .compile(conn, compile_kwargs={"literal_binds": True})
        )
        plan = conn.connection.cursor().execute(f"EXPLAIN QUERY PLAN {statement}").fetchall()
    assert any("MATERIALIZE given" in row[-1] for row in plan), plan


def test_rows_are_inserted_in_bulk_with_nulls_text_and_bytes(store):
    rejects = [
        (7, 1, 0, None, "böse \t\n\\N \\. ✓", '["\\u0000", "😀"]'),
        (7, 2, 1, 919_812_345_678, "", "[]"),
    ]
    with store.write() as conn:
        names = ("campaign_id", "row", "kind", "msisdn", "reason", "cells")
        bulk_insert(conn, REJECT, names, rejects)
        blob = bytes(range(256))
        bulk_insert(conn, SOURCE_ROWS, ("campaign_id", "first_seq", "cells"), [(7, 0, blob)])
        bulk_insert(conn, SOURCE_ROWS, ("campaign_id", "first_seq", "cells"), [])
    assert [tuple(row) for row in rows(store, REJECT)] == rejects
    assert bytes(rows(store, SOURCE_ROWS)[0].cells) == blob


def test_an_error_in_bulk_is_a_store_error_without_the_rows(store):
    secret = 919_812_345_678
    names = ("campaign_id", "row", "kind", "msisdn", "reason", "cells")
    with pytest.raises(StoreError) as caught, store.write() as conn:
        bulk_insert(conn, REJECT, names, [(7, 1, 0, secret, "", "[]")] * 2)
    assert str(secret) not in caught.value.message
    assert rows(store, REJECT) == []


def test_a_row_with_a_known_key_is_not_inserted_again(store):
    with store.write() as conn:
        values = {"name": "a", "failures": 3, "changed_at": NOW}
        assert insert_or_ignore(conn, ACCOUNT, values) is True
        assert insert_or_ignore(conn, ACCOUNT, values | {"failures": 5}) is False
    assert [row.failures for row in rows(store, ACCOUNT)] == [3]


def test_plain_tables_have_the_columns_of_the_models():
    """Processes without SQLModel make plain tables from the same declarations."""
    described = [sys.executable, "-m", "tests.support.described_tables"]
    printed = subprocess.run(described, cwd=ROOT, capture_output=True, text=True, check=True)
    assert json.loads(printed.stdout) == describe_tables(SQLModel.metadata)
    assert "sqlalchemy.orm" in sys.modules  # here it is the models' metadata


def test_the_newest_revision_is_the_one_that_alembic_would_find(sqlite_url):
    with closing(Store(sqlite_url)) as store, store.read() as conn:
        context = MigrationContext.configure(conn)
        heads = ScriptDirectory.from_config(migrate._alembic_config()).get_heads()
        assert heads == [NEWEST] == list(context.get_current_heads())
    assert migrate.upgrade_store(sqlite_url) == (NEWEST, NEWEST)
