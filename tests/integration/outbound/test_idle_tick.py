"""An idle tick reads only what is open: no query grows with history."""

import re

import pytest
from sqlalchemy import event, text
from sqlalchemy.engine import Engine

from tests.support.history import fill
from tests.support.stores import add_campaign
from tests.support.ticks import Ticker

GROWING = {"campaign", "batch", "attempt", "message", "other_id", "audit", "reject"}
HISTORY = re.compile(r"\bSCAN (campaign|batch|attempt|message|other_id|audit|reject)\b(.*)")
#: Indexes of what is open only: they do not grow with what is over.
PARTIAL = re.compile(
    r"USING (COVERING )?INDEX ix_(campaign_open|batch_(pending|open|in_flight|stray)|"
    r"attempt_(poll|polled|reconcile|doubt))\b"
)


def statements_of(ticker):
    """The statements of a tick with their parameters."""
    seen = []

    def note(_conn, _cursor, statement, parameters, _context, _many):
        seen.append((statement, parameters))

    event.listen(Engine, "before_cursor_execute", note)
    try:
        ticker.tick()
    finally:
        event.remove(Engine, "before_cursor_execute", note)
    return [each for each in seen if re.match(r"\s*(SELECT|UPDATE|DELETE|WITH|INSERT)", each[0])]


def scans(store, statements):
    """The steps of their plans that read a whole table, or a whole index that grows."""
    found = []
    with store.read() as conn:
        for statement, parameters in statements:
            plan = conn.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters)
            for step in plan:
                met = HISTORY.search(step.detail)
                if met and not PARTIAL.search(met[2]):
                    found.append((step.detail, statement))
    return found


def read_whole(store, statements):
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
                if is_whole and table in GROWING and not PARTIAL.search(f"USING INDEX {index}"):
                    found.append((node["Node Type"], table, index, statement))
    return found


def nodes_of(plan):
    """Its steps, without those that end after the first row, as `max(id)` does with an index."""
    yield plan
    for child in plan.get("Plans", ()):
        if plan["Node Type"] != "Limit":
            yield from nodes_of(child)


def planned(store, statements):
    return (scans if store.is_sqlite else read_whole)(store, statements)


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
    statements = statements_of(ticker)
    assert len(statements) > 8
    assert planned(history, [("SELECT count(*) FROM message WHERE state = 3", ())])
    assert planned(history, statements) == []


def test_no_statement_reads_them_while_a_campaign_runs_with_nothing_due(history, tmp_path):
    add_campaign(history, [3], first=10**9, schedule=(
        '[{"windows":["2020-01-01 09:00-10:00"],"blackouts":[],"zone":"UTC"}]'
    ))  # fmt: skip
    ticker = Ticker(history, tmp_path)
    ticker.tick()
    assert planned(history, statements_of(ticker)) == []
