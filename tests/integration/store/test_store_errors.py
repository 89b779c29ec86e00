"""What people read about a database's errors, and which transactions are tried again."""

import threading
from contextlib import closing
from decimal import Decimal

import pytest
from sqlalchemy import literal_column, select, text, update
from sqlalchemy.exc import DBAPIError

from dispatcher.errors import StoreBusyError, StoreDataError, StoreError
from dispatcher.policy.verdict import Accepted, Verdict
from dispatcher.status import AttemptOutcome
from dispatcher.store import costs
from dispatcher.store.engine import Store
from dispatcher.store.error_texts import to_store_error
from dispatcher.store.tables import ACCOUNT, BATCH, CAMPAIGN
from tests.support.stores import (
    add_account,
    add_campaign,
    counts_of,
    rows,
    settle,
    states,
    submitting,
)


class PgError(Exception):
    """As psycopg raises it."""

    def __init__(self, sqlstate, said):
        super().__init__(said)
        self.sqlstate = sqlstate


@pytest.mark.parametrize(
    ("sqlstate", "said", "kind", "words"),
    [
        ("40P01", "deadlock detected", StoreBusyError, "another transaction"),
        ("40001", "could not serialize access", StoreBusyError, "another transaction"),
        ("55P03", "canceling statement due to lock timeout", StoreError, "has locked rows"),
        ("57014", "canceling statement due to timeout", StoreError, "took too long"),
        ("22003", "numeric field overflow", StoreDataError, "a number is too large"),
        ("22001", 'value too long: "919800000000"', StoreDataError, "a text is too long"),
        ("22P05", "untranslatable character", StoreDataError, "a text has characters"),
        ("23505", 'duplicate key value "919800000000"', StoreDataError, "a key exists already"),
        ("22P02", 'invalid input: "919800000000"', StoreDataError, "PgError, code 22P02"),
        ("42501", 'permission denied "919800000000"', StoreError, "PgError, code 42501"),
    ],
)
def test_an_error_of_postgresql_says_what_happened_and_no_value(sqlstate, said, kind, words):
    error = DBAPIError("UPDATE batch SET cost=1", {}, PgError(sqlstate, said))
    found = to_store_error(error, "postgresql://db")
    assert type(found) is kind
    assert words in found.message
    assert "postgresql://db" in found.message
    assert "919800000000" not in found.in_one_line
    assert "detected" not in found.in_one_line
    assert kind is not StoreDataError or "in UPDATE batch" in found.message


@pytest.mark.parametrize(
    ("statement", "words"),
    [
        (update(ACCOUNT).values(turn=2**70), "a number is too large"),
        (update(ACCOUNT).values(turn=literal_column("9223372036854775807 + turn + 1")), None),
        (ACCOUNT.insert().values(name="main"), "unique|exists already"),
        (update(ACCOUNT).values(name=None), "NOT NULL|is missing"),
    ],
)
def test_a_value_that_the_store_does_not_take_is_named_as_that(store, statement, words):
    add_account(store)
    if words is None and store.is_sqlite:
        return  # SQLite makes it a floating-point number
    with (
        pytest.raises(StoreDataError, match=f"(?i){words or 'too large|out of range'}"),
        store.write() as conn,
    ):
        conn.execute(statement)


# --- Tried again ------------------------------------------------------------------------------


@pytest.mark.postgres
def test_a_deadlock_is_tried_again_and_never_met_by_a_person(emptied_postgres_url):
    with closing(Store(emptied_postgres_url)) as store:
        add_account(store, "one")
        add_account(store, "two")
        both = threading.Barrier(2)
        tries = []

        def lock(first, second):
            tried = []

            def work(conn):
                tried.append(first)
                for name in (first, second):
                    conn.execute(update(ACCOUNT).where(ACCOUNT.c.name == name).values(
                        failures=ACCOUNT.c.failures + 1))  # fmt: skip
                    if len(tried) == 1 and name == first:
                        both.wait(timeout=10)

            store.run_write(work)
            tries.append(len(tried))

        other = threading.Thread(target=lock, args=("two", "one"))
        other.start()
        lock("one", "two")
        other.join()
        assert sorted(tries) == [1, 2]
        assert [row.failures for row in rows(store, ACCOUNT)] == [2, 2]


def test_it_is_tried_five_times_and_what_else_goes_wrong_once(sqlite_store):
    tries = []

    def work(error):
        def fail(conn):
            tries.append(conn.execute(select(1)).scalar())
            raise error

        return fail

    for error, times in ((StoreBusyError("busy"), 5), (StoreError("away"), 1)):
        tries.clear()
        with pytest.raises(StoreError, match=error.message):
            sqlite_store.run_write(work(error))
        assert len(tries) == times
    assert sqlite_store.run_write(lambda conn: conn.execute(text("SELECT 7")).scalar()) == 7


# --- Prices -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("price", "count", "cost"),
    [
        ("600000000", 2000, None),
        ("999999999.5", 999, Decimal("998999999500.5")),
        ("999999999999", 20, None),
        ("-999999999999", 20, None),
        ("0.000001", 3, Decimal("0.000003")),
    ],
)
def test_a_sum_of_prices_that_does_not_fit_does_not_keep_an_answer_out(store, price, count, cost):
    campaign_id = add_campaign(store, (count,))
    held, (attempt,) = submitting(store)
    said = Verdict(
        outcome=AttemptOutcome.ANSWERED,
        accepted=[Accepted(seq, f"id-{seq}", Decimal(price)) for seq in range(count)],
    )
    settle(store, held, attempt, said)
    assert states(store) == ["submitted"] * count
    assert counts_of(store, campaign_id) == {"submitted": count}
    assert rows(store, BATCH)[0].cost == cost
    with store.read() as conn:
        assert costs.campaign_cost(conn, campaign_id) == cost


def test_a_campaigns_price_is_a_sum_of_any_size(store):
    campaign_id = add_campaign(store, (1,) * 30)
    with store.write() as conn:
        conn.execute(update(BATCH).values(cost=Decimal("999999999999.999999")))
    with store.read() as conn:
        assert costs.campaign_cost(conn, campaign_id) == Decimal("29999999999999.999970")
    assert rows(store, CAMPAIGN)[0].id == campaign_id
