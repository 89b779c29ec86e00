"""A store's past by bulk SQL: finished campaigns with settled batches, attempts and messages."""

from datetime import UTC, datetime

from sqlalchemy import Connection, bindparam, text

from dispatcher.store.column_types import UtcTime

_CAMPAIGNS = """
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < :campaigns)
INSERT INTO campaign (id, name, state, account, kind, sender, text, columns, source_name,
    content_key, on_doubt, created_at, finished_at)
SELECT 1000000 + i, 'campaign ' || i, 'finished', 'main', 'transactional', 'SENDER', 'Hello',
    '["phone"]', 'people.csv', 'key ' || i, 'hold', :at, :at
FROM n
"""
_BATCHES = """
INSERT INTO batch (id, campaign_id, account, state, size, submitted, delivered)
SELECT id, id, 'main', 4, :each, 0, :each FROM campaign WHERE finished_at IS NOT NULL
"""
_ATTEMPTS = """
INSERT INTO attempt (id, campaign_id, batch_id, account, size, outcome, begun_at, deadline, polls)
SELECT id, id, id, 'main', :each, 1, :at, :at, 3 FROM campaign WHERE finished_at IS NOT NULL
"""
_MESSAGES = """
WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < :each - 1)
INSERT INTO message (campaign_id, seq, row, msisdn, state, attempts, attempt_id)
SELECT id, i, i + 1, 919000000000 + id * :each + i, 2, 1, id FROM campaign CROSS JOIN n
WHERE finished_at IS NOT NULL
"""


def fill(conn: Connection, *, campaigns: int, messages: int) -> None:
    """Add that many finished campaigns, and messages in all, to an empty store.

    Their ids are far above those that a sequence gives next.
    """
    at = datetime(2023, 11, 14, tzinfo=UTC)
    given = {"campaigns": campaigns, "each": max(1, messages // campaigns), "at": at}
    for statement in (_CAMPAIGNS, _BATCHES, _ATTEMPTS, _MESSAGES):
        wanted = [
            bindparam(name, value, UtcTime() if name == "at" else None)
            for name, value in given.items()
            if f":{name}" in statement
        ]
        conn.execute(text(statement).bindparams(*wanted))
