"""The store's clock jumps: a live worker keeps its leases, a dead one loses them in time."""

import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import timedelta

import pytest
from sqlalchemy import text

from dispatcher.outbound.sweep import sweep_batches
from dispatcher.status import BatchState, CampaignState
from dispatcher.store import accounts, batches, clocks, scheduler
from dispatcher.store.engine import Store
from dispatcher.store.tables import ACCOUNT, ATTEMPT, BATCH, CAMPAIGN, SCHEDULER
from tests.support.stores import (
    LEASE,
    NOW,
    add_account,
    add_campaign,
    attempt_of,
    batch_of,
    campaign_of,
    change,
    later,
    queued,
    rows,
    states,
    submitting,
)

HOUR = 3600


def record_tick(store, seconds, sweep=lambda _conn, _judge_after: None):
    """The beginning of a tick, by a clock that shows NOW + `seconds`; then `sweep`."""
    with store.write() as conn:
        last = scheduler.last_tick_at(conn)
        if clocks.must_correct(last, later(seconds)):
            clocks.correct_times(conn, later(seconds), last, later(seconds) + LEASE)
    with store.write() as conn:
        judge_after = scheduler.begin_tick(conn, LEASE, lambda _conn: later(seconds)).judge_after
        assert judge_after is not None
        return sweep(conn, judge_after)


def tick(store, seconds):
    """What the tick does about leases, by a clock that shows NOW + `seconds`."""

    def sweep(conn, judge_after):
        return sweep_batches(conn, now=later(seconds), judge_after=judge_after, requeue_after_s=30)

    return record_tick(store, seconds, sweep)


def renew(store, held, seconds):
    with store.write() as conn:
        until = later(seconds) + LEASE
        assert batches.renew_leases(conn, [(held.id, held.fence)], until) == 1


@pytest.mark.parametrize("jump", [HOUR, -HOUR])
def test_a_jump_leaves_a_living_workers_lease_alone(store, jump):
    add_campaign(store)
    held, _attempts = submitting(store)
    tick(store, 1)
    # Its worker renews within a third of a lease, by the same clock.
    for second in range(2, 90, 3):
        tick(store, jump + second)
        if second % 21 == 20:
            renew(store, held, jump + second)
    assert states(store) == ["pending"] * 3
    assert batch_of(store, held.id).state == BatchState.SUBMITTING


@pytest.mark.parametrize("jump", [HOUR, -HOUR])
def test_a_dead_workers_lease_ends_a_lease_after_the_jump(store, jump):
    add_campaign(store)
    held, _attempts = submitting(store)
    tick(store, 1)
    lease_s = LEASE // timedelta(seconds=1)
    for second in range(2, lease_s + 11, 3):
        if second < lease_s + 2:
            assert states(store) == ["pending"] * 3
        tick(store, jump + second)
    assert states(store) == ["in_doubt"] * 3
    assert batch_of(store, held.id).state == BatchState.SETTLED


def test_a_message_lost_before_the_clock_went_back_is_still_found(store):
    add_campaign(store)
    (ticket,) = queued(store, now=NOW)
    tick(store, 1)
    assert tick(store, 1 - HOUR) == []
    assert tick(store, 40 - HOUR) == [ticket]


# --- What a clock that ran ahead has left -------------------------------------------------------

DAYS = 86_400
AHEAD_S = [120, HOUR, 30 * DAYS, 366 * DAYS]
PERSONS = {"start_at": later(40 * DAYS), "expire_at": later(500 * DAYS)}


def doubtful(store, begun_s):
    """A campaign with a pending batch, and a request in doubt that began at NOW + `begun_s`."""
    campaign = add_campaign(store, sizes=(3, 3), **PERSONS)
    held, (attempt,) = submitting(store)
    with store.write() as conn:
        times = {
            "begun_at": begun_s, "deadline": begun_s + 60, "ended_at": begun_s + 61,
            "doubt_at": begun_s + 62, "reconcile_at": begun_s + 400, "poll_at": begun_s + 300,
            "poll_until": begun_s + 3 * DAYS, "poll_lease_until": begun_s + 60,
        }  # fmt: skip
        given = {name: later(seconds) for name, seconds in times.items()}
        change(conn, ATTEMPT, ATTEMPT.c.id == attempt, **given)
    return campaign, held, attempt


@pytest.mark.parametrize("ahead_s", AHEAD_S)
def test_after_the_clock_was_set_back_nothing_computed_is_waited_for_longer_than_a_minute(
    store, ahead_s
):
    campaign, held, attempt = doubtful(store, ahead_s)
    paid = ("messages_paid_until", "parts_paid_until", "requests_paid_until")
    waits = dict.fromkeys(("not_before", "check_at", *paid), later(ahead_s + 600))
    leases = dict.fromkeys(("check_lease_until", "look_lease_until"), later(ahead_s + 60))
    with store.write() as conn:
        change(conn, ACCOUNT, ACCOUNT.c.name == "main", **waits, **leases,
               breaker_at=later(ahead_s), day_until=later(ahead_s + DAYS))  # fmt: skip
        change(conn, CAMPAIGN, CAMPAIGN.c.id == campaign, started_at=later(ahead_s),
               paid_until=later(ahead_s + 600))  # fmt: skip
        pending = BATCH.c.id != held.id
        change(conn, BATCH, pending, not_before=later(ahead_s + DAYS))
    record_tick(store, ahead_s + 63)
    record_tick(store, 1)

    (account,), (waiting,) = rows(store, ACCOUNT), rows(store, BATCH, pending)
    assert {account.not_before, account.check_at, waiting.not_before} == {later(61)}
    assert {getattr(account, name) for name in paid} == {later(61)}
    assert campaign_of(store, campaign).paid_until == later(61)
    assert account.check_lease_until <= later(1) + LEASE
    assert account.look_lease_until <= later(1) + LEASE
    assert account.breaker_at == campaign_of(store, campaign).started_at == later(1)
    assert account.day_until <= later(1) + timedelta(hours=25)
    sought = attempt_of(store, attempt)
    # The clock went back by a little more than a minute and `ahead_s`.
    moved = {"begun_at": -62, "deadline": -2, "ended_at": -1, "doubt_at": 0, "reconcile_at": 338,
             "poll_until": 3 * DAYS - 62}  # fmt: skip
    assert {name: getattr(sought, name) for name in moved} == {
        name: later(seconds) for name, seconds in moved.items()
    }
    assert sought.poll_at == later(61)
    assert sought.poll_lease_until <= later(1) + LEASE
    kept = campaign_of(store, campaign)
    assert {name: getattr(kept, name) for name in PERSONS} == PERSONS


@pytest.mark.parametrize("ahead_s", AHEAD_S)
@pytest.mark.parametrize(
    ("start_s", "checked_s"),
    [(None, 61), (30, 61), (61, 61), (10 * DAYS, 10 * DAYS), (400 * DAYS, None)],
)
def test_a_check_before_the_first_batch_is_not_put_off_by_a_clock_that_was_ahead(
    store, ahead_s, start_s, checked_s
):
    start = None if start_s is None else later(start_s)
    campaign = add_campaign(store, start_at=start)
    put_off = later(ahead_s + 600)
    with store.write() as conn:
        change(conn, CAMPAIGN, CAMPAIGN.c.id == campaign, recheck_at=put_off)
    record_tick(store, ahead_s + 63)
    record_tick(store, 1)
    latest = put_off if checked_s is None else later(checked_s)
    assert campaign_of(store, campaign).recheck_at == min(latest, put_off)


@pytest.mark.parametrize("by_ahead", [True, False])
def test_a_check_is_early_only_where_a_clock_that_was_ahead_made_its_time(store, by_ahead):
    """No tick ran meanwhile: only the time of the submission shows it."""
    campaign = add_campaign(store)
    created, due = later(9 * DAYS if by_ahead else -HOUR), later(10 * DAYS)
    record_tick(store, 1)
    with store.write() as conn:
        change(conn, CAMPAIGN, CAMPAIGN.c.id == campaign, created_at=created, recheck_at=due)
    record_tick(store, 61)
    assert campaign_of(store, campaign).recheck_at == (later(121) if by_ahead else due)


@pytest.mark.parametrize("step_s", [0.2, 3, 59])
def test_a_small_step_of_the_clock_keeps_what_is_waited_for(store, step_s):
    add_campaign(store)
    with store.write() as conn:
        change(conn, ACCOUNT, ACCOUNT.c.name == "main", not_before=later(3600))
        change(conn, BATCH, BATCH.c.id == 1, not_before=later(1800))
    record_tick(store, 60)
    record_tick(store, 60 - step_s)
    assert rows(store, ACCOUNT)[0].not_before == later(3600)
    assert batch_of(store, 1).not_before == later(1800)


@pytest.mark.parametrize("ahead_s", [27 * HOUR, 366 * DAYS, 229 * 366 * DAYS])
def test_times_that_can_only_come_from_a_wrong_clock_are_dropped_within_a_minute(store, ahead_s):
    """No tick ran while the clock was ahead, or another program wrote them."""
    campaign, held, attempt = doubtful(store, 0)
    far = later(ahead_s)
    names = ("not_before", "check_at", "check_lease_until", "look_lease_until", "day_until")
    record_tick(store, 1)
    with store.write() as conn:
        change(conn, ACCOUNT, ACCOUNT.c.name == "main", **dict.fromkeys(names, far))
        change(conn, BATCH, BATCH.c.id != held.id, not_before=far)
        change(conn, BATCH, BATCH.c.id == held.id, lease_until=far)
        change(conn, ATTEMPT, ATTEMPT.c.id == attempt, poll_lease_until=far)
        if ahead_s > 31 * DAYS:
            change(conn, ATTEMPT, ATTEMPT.c.id == attempt, poll_at=far)
    record_tick(store, 61)
    (account,) = rows(store, ACCOUNT)
    assert {getattr(account, name) for name in names} == {later(61), later(61 + 25 * HOUR)}
    (waiting,) = rows(store, BATCH, BATCH.c.id != held.id)
    assert waiting.not_before == batch_of(store, held.id).lease_until == later(61)
    assert attempt_of(store, attempt).poll_at <= later(300)
    assert attempt_of(store, attempt).poll_lease_until == later(61)
    assert campaign_of(store, campaign).expire_at == PERSONS["expire_at"]


@pytest.mark.parametrize("waits_s", [60, HOUR, 24 * HOUR])
def test_waits_that_can_be_right_are_kept(store, waits_s):
    add_campaign(store)
    with store.write() as conn:
        change(conn, ACCOUNT, ACCOUNT.c.name == "main", not_before=later(waits_s))
        change(conn, BATCH, BATCH.c.id == 1, not_before=later(waits_s))
    for minute in range(3):
        record_tick(store, 60 * minute)
    assert rows(store, ACCOUNT)[0].not_before == later(waits_s)
    assert batch_of(store, 1).not_before == later(waits_s)


@pytest.mark.parametrize(
    ("last_s", "must"),
    [(None, True), (10, False), (9, False), (11, True), (-1, True), (10 - HOUR, True)],
)
def test_times_are_corrected_when_the_clock_went_back_and_once_a_minute(last_s, must):
    last = None if last_s is None else later(last_s)
    assert clocks.must_correct(last, later(10)) is must


def correct(store, last_s, now=NOW):
    with store.write() as conn:
        last = None if last_s is None else later(last_s)
        clocks.correct_times(conn, now, last, now + LEASE)


@pytest.mark.parametrize(
    ("last_s", "waits_s", "left_s"),
    [
        (60.001, DAYS, 60),
        (60, DAYS, DAYS),
        (60, 2 * DAYS, 2 * DAYS),
        (0, 2 * DAYS, 0),
        (-1, 2 * DAYS, 0),
        (-1, 26 * HOUR, 26 * HOUR),
        (None, 26 * HOUR + 0.001, 0),
    ],
)
def test_by_how_much_the_clock_went_back_decides_which_waits_are_cut(
    sqlite_store, last_s, waits_s, left_s
):
    add_account(sqlite_store, not_before=later(waits_s))
    correct(sqlite_store, last_s)
    assert rows(sqlite_store, ACCOUNT)[0].not_before == later(left_s)


@pytest.mark.parametrize(("last_s", "created_s"), [(HOUR, -1), (None, 2 * HOUR), (None, 0)])
def test_what_is_over_and_what_began_before_keeps_its_times(sqlite_store, last_s, created_s):
    far, store = later(300 * DAYS), sqlite_store
    over = {} if created_s == 0 else {"finished_at": NOW, "state": CampaignState.FINISHED}
    campaign = add_campaign(store, (1, 1))
    _held, (attempt,) = submitting(store)
    with store.write() as conn:
        given = {"created_at": later(created_s), "recheck_at": far, **over}
        change(conn, CAMPAIGN, CAMPAIGN.c.id == campaign, **given)
        ended = dict.fromkeys(("not_before", "lease_until", "queued_at"), far)
        change(conn, BATCH, BATCH.c.id > 0, state=BatchState.SETTLED, **ended)
        given = {"begun_at": NOW, "doubt_at": far, "poll_lease_until": far, "poll_at": None}
        change(conn, ATTEMPT, ATTEMPT.c.id == attempt, **given)
    before = [rows(store, table) for table in (CAMPAIGN, BATCH, ATTEMPT)]
    correct(store, last_s)
    assert [rows(store, table) for table in (CAMPAIGN, BATCH, ATTEMPT)] == before


def test_a_person_can_end_an_accounts_wait(store):
    add_account(store, not_before=later(HOUR))
    for done in (True, False):
        with store.write() as conn:
            assert accounts.resume_account(conn, "main", actor="operator", now=NOW) is done
    assert rows(store, ACCOUNT)[0].not_before is None


@pytest.mark.postgres
def test_ticks_at_the_same_time_do_not_look_like_a_clock_that_went_back(emptied_postgres_url):
    """Hole 10: the second tick waits for the first one's lock; only then it reads the clock."""
    with (
        closing(Store(emptied_postgres_url)) as one,
        closing(Store(emptied_postgres_url)) as two,
        closing(Store(emptied_postgres_url)) as three,
        ThreadPoolExecutor(3) as pool,
    ):
        start = threading.Barrier(3)

        def tick(store):
            start.wait(timeout=30)
            with store.write() as conn:
                found = scheduler.begin_tick(conn, LEASE)
                conn.execute(text("SELECT pg_sleep(0.01)"))  # as a tick that has work
            return found

        for _ in range(25):
            ticks = list(pool.map(tick, (one, two, three)))
            (only,) = [each for each in ticks if each is not None]
            assert only.judge_after <= only.now
            with one.write() as conn:  # as if a second had passed
                before = only.now - timedelta(seconds=1)
                values = {"ticked_at": before, "judge_after": before}
                conn.execute(SCHEDULER.update().values(**values))
