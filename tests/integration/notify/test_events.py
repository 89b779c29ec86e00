"""What somebody is notified of: each event once, by whatever number of processes that look."""

from datetime import timedelta

import orjson
import pytest
from sqlalchemy import select, update

from dispatcher.config.notify_settings import NotifySettings
from dispatcher.notify.conditions import hide_numbers
from dispatcher.notify.outbox import collect_events
from dispatcher.status import CampaignState
from dispatcher.store import accounts, notice_sources, notices
from dispatcher.store.engine import store_now
from dispatcher.store.tables import ACCOUNT, BATCH, CAMPAIGN, NOTICE
from tests.support import stores

WANTED = NotifySettings(command=("page",))


@pytest.fixture
def begun(store):
    """The store has notified somebody before."""
    collect_events(store, WANTED)
    return store


def events(store):
    """The events in the outbox, with what they are about."""
    with store.read() as conn:
        rows = conn.execute(select(NOTICE).where(NOTICE.c.kind != "begin").order_by(NOTICE.c.id))
        return [(row.kind, row.subject.split(" 20")[0], orjson.loads(row.body)) for row in rows]


def change(store, table, **values):
    with store.write() as conn:
        stores.change(conn, table, table.c[next(iter(table.primary_key.columns)).name].is_not(None),
                      **values)  # fmt: skip


def now(store):
    with store.read() as conn:
        return store_now(conn)


def finish(store):
    change(store, CAMPAIGN, state=CampaignState.FINISHED, finished_at=now(store))


def pause_campaign(store):
    change(store, CAMPAIGN, state=CampaignState.PAUSED, state_reason="ask 919800000001")


def doubt(store):
    held, (attempt,) = stores.submitting(store, [[0, 1, 2]])
    stores.settle(store, held, attempt, stores.verdict(doubtful=[0, 1, 2]))


def pause_account(store):
    with store.write() as conn:
        accounts.pause_account(
            conn, "main", by="credentials", reason="key of +91 98000 00001", now=stores.NOW
        )


def open_breaker(store):
    change(store, ACCOUNT, breaker="open", breaker_reason="HTTP 500", breaker_at=now(store))


def spend(store):
    with store.write() as conn:
        notice_sources.save_balance(conn, "main", '{"otp":"99.5","bulk":"2000000"}', stores.NOW)


@pytest.mark.parametrize(
    ("cause", "kind", "subject", "detail"),
    [
        (finish, "campaign_finished", "campaign 1", "0 of 3 submitted, 0 delivered"),
        (pause_campaign, "campaign_paused", "campaign 1", "it is paused: ask ••••"),
        (doubt, "campaign_in_doubt", "campaign 1", "3 recipients are in doubt"),
        (pause_account, "account_paused", "account main", "(credentials): key of +••••"),
        (open_breaker, "breaker_opened", "account main", "HTTP 500"),
        (spend, "balance_low", "account main otp", "otp: 99.5 left, below 2000000"),
    ],
)  # fmt: skip
def test_an_event_is_stored_once_while_it_lasts(begun, cause, kind, subject, detail):
    wanted = WANTED.model_copy(update={"balance_below": 2_000_000.0})
    stores.add_campaign(begun)
    assert collect_events(begun, wanted) == 0
    cause(begun)
    assert [collect_events(begun, wanted) for _ in range(2)] == [1, 0]
    ((found, about, body),) = events(begun)
    assert (found, about) == (kind, subject)
    assert detail in body["detail"]
    assert {"id", "event", "at"} < set(body)
    assert "98000" not in str(body)
    assert "Hello" not in str(body)


def test_a_low_share_of_delivered_messages_is_one_event_however_often_it_is_crossed(begun):
    wanted = WANTED.model_copy(update={"delivery_below": 80.0})
    campaign = stores.add_campaign(begun, (4,))
    held, (attempt,) = stores.submitting(begun, [[0, 1, 2, 3]])
    stores.settle(begun, held, attempt, stores.verdict(accepted=[0, 1, 2, 3]))
    counts = {"submitted": 0, "delivered": 3, "undelivered": 1}
    before = {"submitted": 4, "delivered": 0, "undelivered": 0}
    with begun.write() as conn:
        ended = {"finished_at": store_now(conn)}
        stores.change(conn, CAMPAIGN, CAMPAIGN.c.id == campaign, **ended)
        stores.change(conn, BATCH, BATCH.c.campaign_id == campaign, **counts)
    assert collect_events(begun, wanted) == 1
    assert "75.0 % of 4 receipts say delivered" in events(begun)[0][2]["detail"]
    with begun.write() as conn:
        stores.change(conn, BATCH, BATCH.c.campaign_id == campaign, **before)
    assert collect_events(begun, wanted) == 0
    with begun.write() as conn:
        stores.change(conn, BATCH, BATCH.c.campaign_id == campaign, **counts)
    assert collect_events(begun, wanted) == 0
    with begun.write() as conn:
        stores.change(conn, BATCH, BATCH.c.campaign_id == campaign, **before)


def test_what_ends_and_comes_again_is_another_event(begun):
    stores.add_campaign(begun)
    for _ in range(2):
        open_breaker(begun)
        assert collect_events(begun, WANTED) == 1
        change(begun, ACCOUNT, breaker=None)
        assert collect_events(begun, WANTED) == 0
    assert [kind for kind, *_ in events(begun)] == ["breaker_opened"] * 2


def test_two_processes_that_look_at_once_store_an_event_once(begun):
    stores.add_campaign(begun)
    finish(begun)
    given = notices.NewNotice("campaign_finished", "campaign 1", {})
    for expected in (1, 0):
        with begun.write() as conn:
            assert notices.add_notices(conn, [given], ["command"], stores.NOW) == expected


def test_history_is_no_news(store):
    stores.add_campaign(store)
    finish(store)
    with store.write() as conn:
        conn.execute(update(CAMPAIGN).values(finished_at=store_now(conn) - timedelta(minutes=1)))
    assert collect_events(store, WANTED) == 0


def test_the_end_of_a_single_message_is_no_event(begun):
    stores.add_campaign(begun, one_off=True)
    finish(begun)
    assert collect_events(begun, WANTED) == 0


def test_only_wanted_events_are_stored_and_each_way_has_a_row(begun):
    stores.add_campaign(begun)
    pause_account(begun)
    finish(begun)
    both = NotifySettings(
        command=("page",), url="http://127.0.0.1:9/", secret="s" * 16, events=("account_paused",)
    )
    assert collect_events(begun, both) == 2
    assert [kind for kind, *_ in events(begun)] == ["account_paused"] * 2
    assert len({body["id"] for *_, body in events(begun)}) == 1


def test_a_way_that_is_added_later_gets_the_whole_event(begun):
    stores.add_campaign(begun)
    finish(begun)
    assert collect_events(begun, WANTED) == 1
    both = NotifySettings(command=("page",), url="http://127.0.0.1:9/", secret="s" * 16)
    assert collect_events(begun, both) == 1
    first, second = (body["detail"] for *_, body in events(begun))
    assert first == second == "0 of 3 submitted, 0 delivered"


@pytest.mark.parametrize(
    ("words", "shown"),
    [
        ("call +91 98200 11223 now", "call +•••• now"),
        ("(020) 7946-0018", "(••••"),
        ("HTTP 500 after 30 s\nline", "HTTP 500 after 30 s line"),
        ("a\x1b[31mb", "a [31mb"),
    ],
)
def test_words_of_others_lose_what_may_be_a_number(words, shown):
    assert hide_numbers(words) == shown
