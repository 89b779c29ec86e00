"""An idle tick reads what is open, never what is over: no query grows with history."""

import re

from sqlalchemy import event, text
from sqlalchemy.engine import Engine

from tests.fakes.history import fill
from tests.fakes.stores import add_campaign
from tests.fakes.ticks import Ticker

HISTORY = re.compile(r"\bSCAN (campaign|batch|attempt|message|other_id|audit|reject)\b(.*)")
#: Indexes of what is open only: they do not grow with what is over.
PARTIAL = re.compile(r"USING (COVERING )?INDEX ix_(campaign_open|batch_(pending|open|in_flight)|"
                     r"attempt_(poll|polled|reconcile|doubt))\b")  # fmt: skip


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
    """The steps of their plans that read a whole table, or an index that grows."""
    found = []
    with store.read() as conn:
        for statement, parameters in statements:
            plan = conn.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters)
            for step in plan:
                met = HISTORY.search(step.detail)
                if met and not PARTIAL.search(met[2]):
                    found.append((step.detail, statement))
    return found


def test_no_statement_of_an_idle_tick_scans_what_is_over(sqlite_store, tmp_path):
    with sqlite_store.write() as conn:
        fill(conn, campaigns=300, messages=3000)
        conn.execute(text("ANALYZE"))
    ticker = Ticker(sqlite_store, tmp_path)
    ticker.tick()
    statements = statements_of(ticker)
    assert len(statements) > 8
    assert scans(sqlite_store, [("SELECT count(*) FROM message WHERE state = 3", ())])
    assert scans(sqlite_store, statements) == []


def test_nor_does_one_with_a_campaign_that_runs_and_has_nothing_due(sqlite_store, tmp_path):
    with sqlite_store.write() as conn:
        fill(conn, campaigns=300, messages=3000)
        conn.execute(text("ANALYZE"))
    add_campaign(sqlite_store, [3], first=10**9, schedule=(
        '[{"windows":["2020-01-01 09:00-10:00"],"blackouts":[],"zone":"UTC"}]'
    ))  # fmt: skip
    ticker = Ticker(sqlite_store, tmp_path)
    ticker.tick()
    assert scans(sqlite_store, statements_of(ticker)) == []
