"""No statement of a batch's way, of a tick or of an export reads the whole table of messages."""

import pytest
from sqlalchemy import event

from dispatcher.campaigns.view import load_view
from dispatcher.outbound.release import release_batches
from dispatcher.status import BatchState, CampaignState, MessageState
from dispatcher.store import histories, messages, notice_sources, polls, suppressions
from dispatcher.store.receipts import Receipt, store_receipts
from dispatcher.store.suppressions import ANY_ACCOUNT, SuppressionOrigin
from dispatcher.store.tables import CAMPAIGN, MESSAGE
from tests.support.stores import (
    NOW,
    add_campaign,
    begin,
    change,
    claim,
    claimed,
    close,
    later,
    rows,
    settings,
    settle,
    verdict,
)
from tests.support.ticks import Ticker


class Statements:
    """The statements about messages, or `about` others, that a store executes, with parameters."""

    def __init__(self, store, about="message"):
        self._store, self._about = store, about
        self._seen = {}

    def __enter__(self):
        event.listen(self._store.engine, "before_cursor_execute", self._note)
        return self

    def __exit__(self, *_):
        event.remove(self._store.engine, "before_cursor_execute", self._note)

    def _note(self, _conn, _cursor, statement, parameters, _context, many):
        if self._about in statement.split(" provider_message_id")[0]:
            self._seen[statement] = parameters[0] if many else parameters

    def plans(self, *, are_counted=False):
        """The plan of each statement, made as if tables were large.

        `are_counted`: they are, and PostgreSQL plans as it likes once it has counted their rows.
        """
        with self._store.write() as conn:
            explain = "EXPLAIN QUERY PLAN "
            if not self._store.is_sqlite:
                conn.exec_driver_sql("ANALYZE" if are_counted else "SET LOCAL enable_seqscan = off")
                explain = "EXPLAIN "
            return {
                statement: "\n".join(
                    str(row) for row in conn.exec_driver_sql(explain + statement, given)
                )
                for statement, given in self._seen.items()
                if statement.startswith(("SELECT", "UPDATE"))
            }


#: With fewer PostgreSQL rightly reads all.
OTHERS = 6000


@pytest.fixture
def plans(store, tmp_path):
    """Of a batch that is released, begun, answered, closed, shown and polled, ticked and exported.

    It is one of few in a table of many.
    """
    campaign = add_campaign(store, [20])
    add_campaign(store, [2000] * (OTHERS // 2000), account="other", state=CampaignState.PAUSED)
    ticker = Ticker(store, tmp_path)
    with Statements(store) as seen:
        with store.write() as conn:
            (ticket, *_) = release_batches(conn, "main", settings(), NOW, max_in_flight=1)
        held = claim(store, ticket)
        with store.write() as conn:
            origin = SuppressionOrigin(None, "cli", "asha@mail1")
            suppressions.add_numbers(conn, range(1, 2000), ANY_ACCOUNT, origin, NOW)
        with store.write() as conn:
            assert suppressions.suppress_listed(conn, held, NOW) == 0
        with store.read() as conn:
            loaded = messages.load_pending(conn, held, None)
        (attempt,) = begin(store, held, [[each.seq for each in loaded]])
        said = verdict(accepted=range(19), rejected=[19], job_id="job")
        settle(store, held, attempt, said)
        assert close(store, held) is BatchState.SETTLED
        load_view(store, str(campaign))
        with store.write() as conn:
            (poll,) = polls.lease_due_polls(conn, now=later(10), lease_until=later(99), limit=1)
            polled = polls.load_poll(conn, poll.id, poll.polls)
            receipts = [Receipt(seq, MessageState.DELIVERED, None, None) for seq in range(9)]
            store_receipts(conn, polled, receipts, next_at=later(20), now=later(11))
        ticker.tick()
        with store.read() as conn:
            for stream in messages.list_batch_streams(conn, campaign):
                for page in stream.pages():
                    messages.load_page(conn, campaign, page)
    return seen.plans(are_counted=True)


def test_statements_about_messages_use_an_index(plans):
    assert len(plans) >= 8
    for statement, plan in plans.items():
        assert "Seq Scan on message" not in plan, statement
        assert "SCAN message" not in plan, statement
        assert "Seq Scan on suppression" not in plan, statement
        assert "SCAN suppression" not in plan, statement


def test_an_answer_for_thousands_is_stored_without_a_join(store):
    """PostgreSQL takes the messages of a request that it has not counted yet for one.

    It then compares each of them with each id of the answer: 2,000 took a second.
    """
    add_campaign(store, [2000])
    held = claimed(store)
    (attempt,) = begin(store, held)
    with Statements(store) as seen:
        settle(store, held, attempt, verdict(accepted=range(2000), job_id="job"))
    accepting = [each for each in seen.plans() if each.startswith("UPDATE message")]
    assert len(accepting) == 1
    assert "unnest" not in accepting[0]
    assert "json_each" not in accepting[0]
    assert {(row.seq, row.provider_message_id) for row in rows(store, MESSAGE)} == {
        (seq, f"id-{seq}") for seq in range(2000)
    }


def test_notices_and_rejected_numbers_are_found_by_an_index(store):
    campaign = add_campaign(store, [2])
    with store.write() as conn:
        change(conn, CAMPAIGN, CAMPAIGN.c.id == campaign, finished_at=NOW)
    with Statements(store, "") as seen, store.read() as conn:
        assert [row.id for row in notice_sources.list_recent(conn, NOW)] == [campaign]
        assert notice_sources.list_recent(conn, later(1)) == []
        assert histories.rejects_of(conn, 919_800_000_000) == []
    assert histories.find_unreadable_rejects(store, "12345") == []
    plans = seen.plans()
    assert len(plans) >= 3
    for statement, plan in plans.items():
        assert "Seq Scan" not in plan, statement
        assert "SCAN" not in plan, statement


def test_a_begin_looks_into_the_suppression_list_only_if_it_has_numbers(store):
    """And then by one statement more."""
    for numbers in ([], [1]):
        add_campaign(store, [2])
        held = claimed(store)
        with store.write() as conn:
            origin = SuppressionOrigin(None, "cli", "asha@mail1")
            suppressions.add_numbers(conn, numbers, ANY_ACCOUNT, origin, NOW)
        with Statements(store) as seen:
            assert begin(store, held) is not None
        assert sum("suppression" in statement for statement in seen.plans()) == len(numbers)


def test_a_statement_that_reads_all_messages_is_seen(store):
    """The check above would fail for it."""
    add_campaign(store, [2000] * (OTHERS // 2000))
    with Statements(store) as seen, store.read() as conn:
        conn.exec_driver_sql("SELECT count(*) FROM message WHERE parts = 1")
    (plan,) = seen.plans(are_counted=True).values()
    assert ("SCAN message" if store.is_sqlite else "Seq Scan on message") in plan
