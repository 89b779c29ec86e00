"""An idle tick reads only what is open: no query grows with history."""

import re

import pytest
from sqlalchemy import insert, text

from dispatcher.store import polls
from dispatcher.store.tables import ATTEMPT
from tests.support.history import fill
from tests.support.statements import statements_of
from tests.support.stores import NOW, add_campaign, later
from tests.support.ticks import Ticker

GROWING = {"campaign", "batch", "attempt", "message", "other_id", "audit", "reject"}
HISTORY = re.compile(r"\bSCAN (campaign|batch|attempt|message|other_id|audit|reject)\b(.*)")
#: Indexes of what is open only: they do not grow with what is over.
PARTIAL = re.compile(
    r"USING (COVERING )?INDEX ix_(campaign_open|batch_(pending|open|in_flight|stray)|"
    r"attempt_(poll|polled|reconcile|doubt))\b"
)
NONE = re.compile(r"(?!)")
NOBODY = polls.PolledRequest(
    id=0, polls=0, batch_id=0, campaign_id=0, first_seq=0, size=0, account="main", job_id=None,
    begun_at=NOW, poll_until=NOW, open=(),
)  # fmt: skip


def queries_of(work):
    """The statements of what runs that read or write rows, with their parameters."""
    words = re.compile(r"\s*(SELECT|UPDATE|DELETE|WITH|INSERT)")
    return [each[:2] for each in statements_of(work) if words.match(each.text)]


def scans(store, statements, allowed):
    """The steps of their plans that read a whole table, or a whole index that grows."""
    found = []
    with store.read() as conn:
        for statement, parameters in statements:
            plan = conn.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters)
            for step in plan:
                met = HISTORY.search(step.detail)
                if met and not allowed.search(met[2]):
                    found.append((step.detail, statement))
    return found


def read_whole(store, statements, allowed):
    """The tables and growing indexes that PostgreSQL plans to read to their end."""
    found = []
    with store.read() as conn:
        # What is small is read whole by choice; what has no index has to be.
        conn.execute(text("SET LOCAL enable_seqscan = off"))
        for statement, parameters in statements:
            plan = conn.exec_driver_sql(f"EXPLAIN (FORMAT JSON) {statement}", parameters).scalar()
            for node in nodes_of(plan[0]["Plan"]):
                table, index = node.get("Relation Name", ""), node.get("Index Name", "")
                is_whole = node["Node Type"] == "Seq Scan" or (index and "Index Cond" not in node)
                if is_whole and table in GROWING and not allowed.search(f"USING INDEX {index}"):
                    found.append((node["Node Type"], table, index, statement))
    return found


def nodes_of(plan):
    """Its steps, without those that end after the first row, as `max(id)` does with an index."""
    yield plan
    for child in plan.get("Plans", ()):
        if plan["Node Type"] != "Limit":
            yield from nodes_of(child)


def planned(store, statements, allowed=PARTIAL):
    return (scans if store.is_sqlite else read_whole)(store, statements, allowed)


@pytest.fixture
def history(store):
    """A store with a long history, and the statistics for its planner."""
    with store.write() as conn:
        fill(conn, campaigns=300, messages=3000)
        conn.execute(text("ANALYZE"))
    return store


def test_no_statement_of_an_idle_tick_reads_finished_campaigns(history, tmp_path):
    ticker = Ticker(history, tmp_path)
    ticker.tick()
    statements = queries_of(ticker.tick)
    assert len(statements) > 8
    assert planned(history, [("SELECT count(*) FROM message WHERE state = 3", ())])
    assert planned(history, statements) == []


def test_no_statement_reads_them_while_a_campaign_runs_with_nothing_due(history, tmp_path):
    add_campaign(history, [3], first=10**9, schedule=(
        '[{"windows":["2020-01-01 09:00-10:00"],"blackouts":[],"zone":"UTC"}]'
    ))  # fmt: skip
    ticker = Ticker(history, tmp_path)
    ticker.tick()
    assert planned(history, queries_of(ticker.tick)) == []


def test_polls_that_are_open_and_not_due_are_not_read(history):
    with history.write() as conn:
        conn.execute(
            insert(ATTEMPT),
            [
                {"id": n, "campaign_id": n, "batch_id": n, "account": "main", "size": 1,
                 "outcome": 1, "begun_at": NOW, "deadline": NOW, "poll_until": later(9000),
                 "poll_at": later(0 if n < 5_000_002 else 9000)}
                for n in range(5_000_000, 5_002_000)
            ],
        )  # fmt: skip
        conn.execute(text("ANALYZE"))

    def ask():
        given = {"now": NOW, "lease_until": later(60)}
        with history.write() as conn:
            assert polls.has_due_polls(conn, NOW)
            assert len(polls.lease_due_polls(conn, limit=1, **given)) == 1
            assert len(polls.join_due_polls(conn, NOBODY, limit=5, **given)) == 1

    assert planned(history, queries_of(ask), allowed=NONE) == []
