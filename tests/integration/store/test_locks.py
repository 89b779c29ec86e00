"""Rows are locked in one order; the guard that checks it in every other test on PostgreSQL."""

import ast
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import event, select, true, update

import dispatcher.store
from dispatcher.outbound.release import release_batches
from dispatcher.status import BatchState, CampaignState
from dispatcher.store.campaigns import finish_campaigns
from dispatcher.store.engine import Store
from dispatcher.store.locks import (
    lock_account,
    lock_accounts,
    lock_batch,
    lock_campaign,
    lock_campaign_for_begin,
    lock_campaign_shared,
)
from dispatcher.store.returns import lock_with_campaign
from dispatcher.store.tables import ACCOUNT, ATTEMPT, BATCH, CAMPAIGN
from dispatcher.store.tickets import claim_bundle
from tests.support.lock_guard import locked_table
from tests.support.stores import (
    FIRST_NUMBER,
    LEASE,
    NOW,
    add_account,
    add_attempt,
    add_campaign,
    change,
    rows,
    settings,
)

#: They lock what nobody else waits for, or many rows of one table at a time.
OTHERS = {"fallback_moves.py", "polls.py", "receipts.py", "scheduler.py"}


@pytest.mark.postgres
def test_a_transaction_that_locks_against_the_order_fails_in_tests(emptied_postgres_url):
    with closing(Store(emptied_postgres_url)) as store:
        add_account(store)
        campaign = add_campaign(store, [1])
        lock_in_order(store, campaign)
        with pytest.raises(AssertionError, match="campaign is locked after batch"):
            lock_against_order(store, campaign)


def lock_in_order(store, campaign):
    with store.write() as conn:
        assert lock_account(conn, "main").name == "main"
        assert lock_campaign_shared(conn, campaign).id == campaign
        assert lock_batch(conn, 1).campaign_id == campaign
        lock_campaign(conn, campaign)  # held already


def lock_against_order(store, campaign):
    with store.write() as conn:
        lock_batch(conn, 1)
        lock_campaign(conn, campaign)


@pytest.mark.postgres
@pytest.mark.parametrize(("is_shared", "words"), [(True, "FOR SHARE"), (False, "FOR UPDATE")])
@pytest.mark.parametrize("lock", [
    lambda conn, campaign, is_shared: lock_campaign_for_begin(
        conn, campaign, is_shared=is_shared).campaign,
    lambda conn, _campaign, is_shared: lock_with_campaign(conn, 1, shared=is_shared).campaign,
], ids=["of a begin", "of a batch"])  # fmt: skip
def test_begins_of_a_campaign_without_a_rate_do_not_wait_for_each_other(
    emptied_postgres_url, is_shared, words, lock
):
    seen = []
    with closing(Store(emptied_postgres_url)) as store:
        campaign = add_campaign(store, [1])
        event.listen(store.engine, "before_cursor_execute", lambda *given: seen.append(given[2]))
        with store.write() as conn:
            found = lock(conn, campaign, is_shared)
    assert found.id == campaign
    assert [words in statement for statement in seen if "FROM campaign" in statement] == [True]


@pytest.mark.postgres
@pytest.mark.parametrize("state", [CampaignState.RUNNING, CampaignState.CANCELLED])
def test_a_campaign_that_gets_work_while_its_lock_is_waited_for_does_not_end(
    emptied_postgres_url, state
):
    with closing(Store(emptied_postgres_url)) as store, ThreadPoolExecutor(1) as pool:
        campaign = add_campaign(store, [1], state=state)
        with store.write() as conn:
            change(conn, BATCH, BATCH.c.campaign_id == campaign, state=BatchState.SETTLED)
            attempt = add_attempt(conn, size=1, fence=1)
        with store.write() as conn:
            lock_campaign(conn, campaign)
            ending = pool.submit(store.run_write, lambda conn: finish_campaigns(conn, NOW))
            while not is_anybody_waiting(store):
                assert not ending.done()
            change(conn, ATTEMPT, ATTEMPT.c.id == attempt, poll_at=NOW)
        assert ending.result() == []


@pytest.mark.postgres
def test_a_bundle_is_locked_in_the_order_of_its_batches(emptied_postgres_url):
    """Its ticket is that of the campaign that is served first, whichever batch is older."""
    with closing(Store(emptied_postgres_url)) as store, ThreadPoolExecutor(1) as pool:
        for turn in (50, 10):
            add_campaign(store, [1], turn=turn, first=FIRST_NUMBER + turn)
        with store.write() as conn:
            (ticket,) = release_batches(conn, "main", settings(), NOW)
        older, newer = (row.id for row in rows(store, BATCH))
        assert ticket.id == newer
        with store.write() as conn:
            lock_batch(conn, older)
            claiming = pool.submit(
                store.run_write, lambda own: claim_bundle(own, *ticket[1:3], NOW + LEASE)
            )
            while not is_anybody_waiting(store):
                assert not claiming.done()
            lock_batch(conn, newer)  # nobody has it who waits for the older one
        assert [claim.id for claim in claiming.result()] == [newer, older]


def is_anybody_waiting(store):
    with store.read() as conn:
        waiting = "SELECT count(*) FROM pg_locks WHERE NOT granted"
        return bool(conn.exec_driver_sql(waiting).scalar_one())


def test_accounts_are_locked_that_meet_a_condition(sqlite_store):
    for name in ("main", "backup"):
        add_account(sqlite_store, name)
    with sqlite_store.write() as conn:
        assert lock_accounts(conn, true()) == ["backup", "main"]
        assert lock_accounts(conn, ACCOUNT.c.name == "main") == ["main"]


@pytest.mark.parametrize(
    ("statement", "table"),
    [
        (select(BATCH.c.id).with_for_update(), "batch"),
        (select(CAMPAIGN.c.id).with_for_update(read=True), "campaign"),
        (select(ACCOUNT.c.name), None),
        (update(ACCOUNT).values(turn=1), "account"),
        ("DELETE FROM campaign WHERE id = 1", "campaign"),
        ("UPDATE message SET state = 1", None),
        ("EXPLAIN SELECT id FROM batch FOR UPDATE", None),
    ],
)
def test_the_guard_knows_what_locks_rows(statement, table):
    assert locked_table(str(statement)) == table


def test_only_locks_locks_a_row_for_a_decision():
    folder = Path(dispatcher.store.__file__).parent
    locking = {
        path.name
        for path in folder.glob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Attribute) and node.attr == "with_for_update"
    }
    assert locking == {"locks.py", *OTHERS}
