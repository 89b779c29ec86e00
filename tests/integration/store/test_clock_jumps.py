"""The store's clock jumps: a live worker keeps its leases, a dead one loses them in time."""

from datetime import timedelta

import pytest

from dispatcher.outbound.sweep import sweep_batches
from dispatcher.status import BatchState
from dispatcher.store import batches, scheduler
from tests.support.stores import (
    LEASE,
    NOW,
    add_campaign,
    batch_of,
    later,
    queued,
    states,
    submitting,
)

HOUR = 3600


def tick(store, seconds):
    """What the tick does about leases, by a clock that shows NOW + `seconds`."""
    with store.write() as conn:
        judge_after = scheduler.begin_tick(conn, LEASE, lambda _conn: later(seconds)).judge_after
        assert judge_after is not None
        return sweep_batches(conn, now=later(seconds), judge_after=judge_after, requeue_after_s=30)


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
    for second in range(2, 90):
        tick(store, jump + second)
        if second % 20 == 19:
            renew(store, held, jump + second)
    assert states(store) == ["pending"] * 3
    assert batch_of(store, held.id).state == BatchState.SUBMITTING


@pytest.mark.parametrize("jump", [HOUR, -HOUR])
def test_a_dead_workers_lease_ends_a_lease_after_the_jump(store, jump):
    add_campaign(store)
    held, _attempts = submitting(store)
    tick(store, 1)
    lease_s = LEASE // timedelta(seconds=1)
    for second in range(2, lease_s + 10):
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
