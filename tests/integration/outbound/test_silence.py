"""Nothing leaves although messages are due: that is said once, with campaign and counts."""

from datetime import timedelta

import pytest

from dispatcher.outbound.silence import SilenceAlarm
from dispatcher.status import CampaignState
from dispatcher.store import accounts
from dispatcher.store.tables import ACCOUNT, CAMPAIGN
from tests.support.stores import NOW, change, claimed, order, provider, submit

SETTINGS = provider(country="IN", sender="SENDER").settings
LATER = NOW + timedelta(seconds=75)


@pytest.fixture
def running(store):
    """A running campaign of two recipients, of which nothing has left."""
    campaign = submit(store, order("phone\n9800000001\n9800000002\n"))
    with store.write() as conn:
        accounts.create_missing_accounts(conn, {"main": SETTINGS})
    put(store, CAMPAIGN, CAMPAIGN.c.id == campaign, state=CampaignState.RUNNING)
    return campaign


def put(store, table, where, **values):
    with store.write() as conn:
        change(conn, table, where, **values)


def look(alarm, store, now):
    with store.read() as conn:
        return [*alarm.find_silent(conn, {"main": SETTINGS}, now).values()]


def test_a_silent_account_is_named_once(store, running):
    alarm = SilenceAlarm()
    assert look(alarm, store, NOW) == []
    assert look(alarm, store, NOW + timedelta(seconds=59)) == []
    (said,) = look(alarm, store, LATER)
    assert said.startswith("account main: nothing has left for 75 s although 2 messages are due")
    assert f"(campaign {running}: 2): no worker takes them" in said
    assert look(alarm, store, LATER + timedelta(hours=1)) == []


def test_the_reason_is_that_of_the_account(store, running):
    with store.write() as conn:
        accounts.pause_account(conn, "main", by="credit", reason="no credit is left", now=NOW)
    alarm = SilenceAlarm()
    look(alarm, store, NOW)
    (said,) = look(alarm, store, LATER)
    assert "no credit is left" in said


@pytest.mark.parametrize(
    ("table", "values"),
    [
        (CAMPAIGN, {"state": CampaignState.PAUSED}),
        (CAMPAIGN, {"paid_until": LATER + timedelta(seconds=1)}),
        (ACCOUNT, {"stopped_at": NOW, "stopped_by": "asha@mail1"}),
        (CAMPAIGN, {"start_at": LATER + timedelta(seconds=1)}),
        (ACCOUNT, {"not_before": LATER + timedelta(seconds=1)}),
        (ACCOUNT, {"messages_paid_until": LATER + timedelta(seconds=1)}),
    ],
)
def test_waiting_for_a_person_a_rate_or_a_time_is_not_silence(store, running, table, values):
    put(store, table, table.c.id == running if table is CAMPAIGN else table.c.name == "main",
           **values)  # fmt: skip
    alarm = SilenceAlarm()
    assert look(alarm, store, NOW) == look(alarm, store, LATER) == []


def test_a_batch_that_a_worker_holds_is_not_silence(store, running):
    claimed(store)
    alarm = SilenceAlarm()
    assert look(alarm, store, NOW) == look(alarm, store, LATER) == []


def test_after_work_went_on_a_new_silence_is_said_again(store, running):
    alarm = SilenceAlarm()
    look(alarm, store, NOW)
    assert len(look(alarm, store, LATER)) == 1
    put(store, CAMPAIGN, CAMPAIGN.c.id == running, state=CampaignState.PAUSED)
    look(alarm, store, LATER)
    put(store, CAMPAIGN, CAMPAIGN.c.id == running, state=CampaignState.RUNNING)
    assert look(alarm, store, LATER) == []
    assert len(look(alarm, store, LATER + timedelta(seconds=61))) == 1


def test_it_looks_every_15_seconds_whatever_the_clock_does():
    alarm = SilenceAlarm()
    times = [NOW, NOW + timedelta(seconds=5), NOW + timedelta(seconds=15), NOW - timedelta(days=1)]
    assert [alarm.is_due(now) for now in times] == [True, False, True, True]
