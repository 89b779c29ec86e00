"""Release: never more than the free slots, in fair order, nothing while something forbids it."""

import threading
from datetime import timedelta

import pytest

from dispatcher.outbound.release import release_batches
from dispatcher.policy.concurrency import START
from dispatcher.status import BatchState, CampaignState, Kind
from dispatcher.store import campaign_settings
from dispatcher.store.clocks import correct_times
from dispatcher.store.tables import ACCOUNT, BATCH, CAMPAIGN, MESSAGE
from tests.support.stores import (
    LEASE,
    NOW,
    add_account,
    add_campaign,
    batch_of,
    begin,
    campaign_of,
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

IN_FLIGHT = [BatchState.QUEUED, BatchState.CLAIMED, BatchState.SUBMITTING]


def released(store, *, now=NOW, account="main", **values):
    with store.write() as conn:
        return release_batches(conn, account, settings(**values), now)


@pytest.mark.parametrize(
    ("given", "configured", "count"), [(1, 4, 1), (None, 2, 2), (3, None, 3), (None, None, START)]
)
def test_as_many_requests_are_in_flight_as_given_else_configured(
    sqlite_store, given, configured, count
):
    add_campaign(sqlite_store, [1] * 9)
    with sqlite_store.write() as conn:
        found = release_batches(
            conn, "main", settings(max_in_flight=configured), NOW, max_in_flight=given
        )
    assert len(found) == count


def places_of(store, tickets):
    """Campaign and place in it of each released batch, in order."""
    return [(b.campaign_id, b.seq) for b in (batch_of(store, t.id) for t in tickets)]


def out(store):
    return len(rows(store, BATCH, BATCH.c.state.in_(IN_FLIGHT)))


def work_off(store, ticket):
    """What a worker does with a ticket, up to the end of its batch."""
    held = claim(store, ticket)
    (attempt,) = begin(store, held)
    seqs = range(held.first_seq, held.first_seq + held.size)
    settle(store, held, attempt, verdict(accepted=seqs), poll=None)
    close(store, held)


# --- Places -----------------------------------------------------------------------------------


def test_at_most_so_many_batches_are_out_and_one_that_ends_makes_room(store):
    add_campaign(store, [1] * 6)
    first = released(store, max_in_flight=4)
    assert len(first) == 4
    assert released(store, max_in_flight=4) == []
    held = claim(store, first[0])
    assert released(store, max_in_flight=4) == []
    (attempt,) = begin(store, held)
    assert released(store, max_in_flight=4) == []
    settle(store, held, attempt, verdict(accepted=[0]), poll=None)
    assert released(store, max_in_flight=4) == []
    close(store, held)
    assert len(released(store, max_in_flight=4)) == 1
    assert released(store, max_in_flight=2) == []


def test_threads_that_release_and_work_at_the_same_time_never_have_too_much_out(store):
    limit, workers, turns = 4, 6, 200
    add_campaign(store, [1] * 40)
    seen, failures = [], []

    def work():
        try:
            for _ in range(turns):
                tickets = released(store, max_in_flight=limit)
                seen.append(out(store))
                for ticket in tickets:
                    work_off(store, ticket)
                if not tickets and seen[-1] == 0:
                    return
        except Exception as error:  # noqa: BLE001 - it is shown by the assertion
            failures.append(error)

    threads = [threading.Thread(target=work) for _ in range(workers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    assert failures == []
    assert max(seen) <= limit
    assert {b.state for b in rows(store, BATCH)} == {BatchState.SETTLED}


def test_an_account_has_places_of_its_own(store):
    add_campaign(store, [1] * 3, account="one")
    add_campaign(store, [1] * 3, account="two", first=10**9)
    assert {t.account for t in released(store, account="one", max_in_flight=2)} == {"one"}
    assert len(released(store, account="two", max_in_flight=2)) == 2
    assert released(store, account="nobody") == []


# --- Order ------------------------------------------------------------------------------------


def test_the_highest_priority_goes_first_and_lower_ones_fill_what_is_left(store):
    low = add_campaign(store, [1] * 2, first=10**9, priority=-1)
    high = add_campaign(store, [1] * 2, first=2 * 10**9, priority=5)
    normal = add_campaign(store, [1] * 2, first=3 * 10**9)
    released(store, max_in_flight=5)
    out_now = {
        (row.campaign_id, row.seq) for row in rows(store, BATCH, BATCH.c.state.in_(IN_FLIGHT))
    }
    assert out_now == {(high, 0), (high, 1), (normal, 0), (normal, 1), (low, 0)}


@pytest.mark.parametrize("urgent", [{"kind": Kind.OTP}, {"one_off": True}])
def test_what_somebody_waits_for_goes_before_all_bulk(store, urgent):
    add_campaign(store, [1] * 2, first=10**9, priority=100)
    waited_for = add_campaign(store, [1], first=2 * 10**9, priority=-100, **urgent)
    assert places_of(store, released(store, max_in_flight=1)) == [(waited_for, 0)]


def test_campaigns_of_equal_priority_take_turns_by_messages_also_over_releases(store):
    large = add_campaign(store, [30] * 3, first=10**9)
    small = add_campaign(store, [10] * 6, first=2 * 10**9)
    order = []
    for _ in range(8):
        (ticket,) = released(store, max_in_flight=1)
        order += places_of(store, [ticket])
        work_off(store, ticket)
    assert [campaign for campaign, _ in order] == [
        large, small, small, small, large, small, small, small,
    ]  # fmt: skip
    for campaign in (large, small):
        assert [seq for c, seq in order if c == campaign] == sorted(
            seq for c, seq in order if c == campaign
        )
    assert (campaign_of(store, large).turn, campaign_of(store, small).turn) == (60, 60)


def test_the_first_release_is_the_campaigns_start(store):
    campaign_id = add_campaign(store, [1, 1])
    assert campaign_of(store, campaign_id).started_at is None
    released(store, now=later(5), max_in_flight=1)
    with store.write() as conn:
        change(conn, BATCH, BATCH.c.seq == 0, state=BatchState.SETTLED, pending=0, cancelled=1)
        change(conn, MESSAGE, MESSAGE.c.seq == 0, state=9)
    released(store, now=later(9), max_in_flight=1)
    assert campaign_of(store, campaign_id).started_at == later(5)


def test_a_batch_does_not_leave_before_its_time(store):
    campaign_id = add_campaign(store, [1, 1])
    with store.write() as conn:
        change(conn, BATCH, BATCH.c.seq == 0, not_before=later(10))
    assert places_of(store, released(store, now=later(9.9))) == [(campaign_id, 1)]
    assert places_of(store, released(store, now=later(10))) == [(campaign_id, 0)]


# --- What speaks against it -------------------------------------------------------------------


@pytest.mark.parametrize(
    "state", [s for s in CampaignState if s is not CampaignState.RUNNING], ids=str
)
def test_only_running_campaigns_are_released(store, state):
    add_campaign(store, [1], state=state)
    assert released(store) == []


def test_an_expired_campaign_is_not_released(store):
    add_campaign(store, [1, 1], expire_at=later(10))
    assert len(released(store, now=later(9), max_in_flight=1)) == 1
    assert released(store, now=later(10), max_in_flight=2) == []


@pytest.mark.parametrize(
    "values", [{"paused_by": "operator"}, {"not_before": later(0.001)}], ids=["paused", "waiting"]
)
def test_nothing_is_released_for_an_account_that_is_stopped(store, values):
    add_campaign(store, [1])
    add_account(store, **values)
    assert released(store) == []
    assert rows(store, BATCH)[0].state == BatchState.PENDING


# --- Rates ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("paid_until", "count"),
    [(None, 3), (later(-60), 3), (later(1.5), 1), (later(1.501), 0), (later(3600), 0)],
)
@pytest.mark.parametrize("unit", ["messages", "parts", "requests"])
def test_a_rate_that_is_paid_ahead_holds_the_release_back(store, unit, paid_until, count):
    add_campaign(store, [100] * 5)
    add_account(store, **{f"{unit}_paid_until": paid_until})
    rates = {f"{unit}_per_second": 0.5 if unit == "requests" else 100.0}
    # Each batch takes a second, or two: so many start within reach.
    assert len(released(store, **rates)) == min(count, 1 if unit == "requests" else 2)


@pytest.mark.parametrize("per_second", [1.0, 100.0, 100_000.0])
def test_what_a_clock_ahead_of_its_time_paid_holds_nothing_back_after_a_minute(store, per_second):
    add_campaign(store, [100] * 5)
    add_account(store, messages_paid_until=later(30 * 86_400))
    assert released(store, messages_per_second=per_second) == []
    with store.write() as conn:
        correct_times(conn, NOW, later(-60), later(60))
    assert released(store, messages_per_second=per_second)


def test_what_is_out_and_has_not_paid_yet_is_counted(store):
    add_campaign(store, [100] * 5)
    rates = {"messages_per_second": 100.0}
    tickets = released(store, **rates)
    assert len(tickets) == 2
    assert released(store, **rates) == []
    held = claim(store, tickets[0])
    assert released(store, **rates) == []
    begin(store, held, paid_for_s={"messages": 1.0})
    assert released(store, **rates) == []
    assert len(released(store, now=later(1), **rates)) == 1


def test_a_campaigns_own_rate_holds_back_only_itself(store):
    slow = add_campaign(store, [10] * 5, rate=10.0, first=10**9)
    fast = add_campaign(store, [10] * 5, first=2 * 10**9, turn=10)
    found = places_of(store, released(store, max_in_flight=6))
    assert found.count((slow, 0)) == 1
    assert [c for c, _ in found].count(slow) == 2
    assert [c for c, _ in found].count(fast) == 4


def test_the_days_limit_is_not_exceeded_by_more_than_a_batch_in_release(store):
    add_campaign(store, [10] * 5)
    add_account(store, day_count=75, day_until=later(60))
    assert len(released(store, daily_limit=100)) == 3
    assert released(store, daily_limit=100) == []
    with store.write() as conn:
        change(conn, ACCOUNT, ACCOUNT.c.name == "main", day_count=100)
        change(conn, CAMPAIGN, CAMPAIGN.c.id > 0, state=CampaignState.RUNNING)
    assert released(store, now=later(59), daily_limit=100) == []
    assert len(released(store, now=later(60), max_in_flight=4, daily_limit=100)) == 1


def test_who_was_away_has_no_claim_to_what_the_others_got_meanwhile(store):
    steady = add_campaign(store, [10] * 9)
    for _ in range(3):
        (ticket,) = released(store, max_in_flight=1)
        work_off(store, ticket)
    newcomer = add_campaign(store, [10] * 9, first=10**9)
    served = []
    for _ in range(6):
        (ticket,) = released(store, max_in_flight=1)
        served.append(batch_of(store, ticket.id).campaign_id)
        work_off(store, ticket)
    assert sorted(served[:2]) == sorted(served[2:4]) == sorted(served[4:]) == [steady, newcomer]


@pytest.mark.parametrize(
    ("old", "new", "left_s"), [(1.0, 10.0, 10), (10.0, 1.0, 1000), (1.0, None, None)]
)
def test_what_is_still_to_be_paid_at_a_former_rate_is_paid_at_the_new_one(store, old, new, left_s):
    campaign_id = add_campaign(store, [1], rate=old, paid_until=later(100))
    with store.write() as conn:
        campaign_settings.change_settings(
            conn, campaign_id, {"rate": new}, deadline_after=LEASE, actor="test", now=NOW
        )
    expected = None if left_s is None else later(left_s)
    assert campaign_of(store, campaign_id).paid_until == expected


@pytest.mark.parametrize(("new", "free_s"), [(5.0, 1.7), (1.0, 4.0), (None, None)])
def test_no_start_at_a_new_rate_comes_before_those_that_were_given(store, new, free_s):
    """At 2/s two were: in half a second, and in one and a half; a third is answered already."""
    campaign_id = add_campaign(store, [3], rate=2.0)
    held = claimed(store)
    *_, answered = begin(
        store, held, [[0], [1], [2]],
        deadline=later(0.5) + LEASE, offsets_s=[0.0, 1.0, 2.0], campaign_paid_for_s=2.0,
    )  # fmt: skip
    settle(store, held, answered, verdict(accepted=[2]))
    with store.write() as conn:
        campaign_settings.change_settings(
            conn, campaign_id, {"rate": new}, deadline_after=LEASE, actor="test", now=NOW
        )
    expected = None if free_s is None else later(free_s)
    assert campaign_of(store, campaign_id).paid_until == expected


def test_a_running_campaign_whose_start_was_put_off_waits_for_it(store):
    add_campaign(store, [1], start_at=later(60))
    assert released(store, now=later(59)) == []
    assert len(released(store, now=later(60))) == 1


def test_a_batch_that_waits_for_the_old_rate_does_not_wait_at_a_new_one(store):
    campaign = add_campaign(store, sizes=(3, 3, 3), rate=0.01)
    with store.write() as conn:
        change(conn, BATCH, BATCH.c.id > 0, not_before=later(300))
        change(conn, BATCH, BATCH.c.id == 2, error="busy")
    with store.write() as conn:
        campaign_settings.change_settings(
            conn, campaign, {"rate": 100.0}, deadline_after=timedelta(0), actor="test", now=NOW
        )
    assert [batch_of(store, number).not_before for number in (1, 2, 3)] == [None, later(300), None]
