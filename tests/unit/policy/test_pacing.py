"""Starts: each batch gets the next one that the rates leave free, and none that it cannot keep."""

import itertools
import random
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from dispatcher.policy.pacing import LEAD_S, ClockReading, LatenessGuard, plan_starts, spacing_s
from tests.support.arrivals import at_most_in_a_second


@pytest.mark.parametrize(
    ("spacings", "paid_s", "at_s", "paid_after_s"),
    [
        pytest.param([()] * 3, [], [0, 0, 0], [], id="without a rate all start at once"),
        pytest.param([(2,)], [-3600.0], [0.01], [2.01], id="long free: nothing is caught up"),
        pytest.param([(0.1,)] * 4, [0.05], [0.05, 0.15, 0.25], [0.35], id="as far as is near"),
        pytest.param([(1,), (1,)], [0.2], [0.2], [1.2], id="the second is too far away"),
        pytest.param([(1,)], [0.3], [], [0.3], id="none is near: nothing is paid"),
        pytest.param([(0.1, 0.05)] * 2, [0, 0.2], [0.2], [0.3, 0.25], id="the dearest rate counts"),
    ],
)  # fmt: skip
def test_requests_start_when_their_rates_are_free(spacings, paid_s, at_s, paid_after_s):
    starts = plan_starts(spacings, paid_s, earliest_s=0.01)
    assert starts.at_s == pytest.approx(at_s)
    assert starts.paid_s == pytest.approx(paid_after_s)


def test_where_no_start_is_near_enough_the_wait_is_told():
    assert plan_starts([(1.0,)], [7.5], earliest_s=0.0).next_s == 7.5
    assert plan_starts([(1.0, 1.0)], [7.5, 0.1], earliest_s=0.0).next_s == 7.5


@pytest.mark.parametrize(("unused_s", "slack_s"), [(0.0, 0.0), (0.3, 0.3), (3600.0, 1.0)])
def test_a_rate_that_was_not_used_leaves_room_for_lateness(unused_s, slack_s):
    assert plan_starts([(0.1,)], [-unused_s], earliest_s=0.0).slack_s == slack_s


def test_requests_that_follow_fast_are_spread_a_little_more():
    assert spacing_s(1, 10) == 0.1
    assert spacing_s(100, 1000) == 0.1
    assert 1 / 1000 < spacing_s(1, 1000) <= 1 / 1000 * 1.03


@given(
    pays_s=st.sampled_from([0.001, 0.02, 0.1, 1.0]),
    slots=st.integers(1, 40),
    stalls=st.lists(st.floats(0, 2), max_size=8),
    seed=st.integers(0, 2**32),
)
def test_starts_are_never_closer_than_the_rate_allows_whatever_stalls(pays_s, slots, stalls, seed):
    """The store's lock lets groups begin one after the other, at random times."""
    chosen = random.Random(seed)
    now, paid_until, given = 0.0, 0.0, []
    while len(given) < 300:
        starts = plan_starts([(pays_s,)] * slots, [paid_until - now], earliest_s=0.005)
        if not starts.at_s:
            now = paid_until - LEAD_S
            continue
        given += [now + start_s for start_s in starts.at_s]
        paid_until = now + starts.paid_s[0]
        now += chosen.uniform(0, pays_s) + (stalls.pop() if stalls and chosen.random() < 0.1 else 0)
    gaps = [b - a for a, b in itertools.pairwise(given)]
    assert min(gaps) >= pays_s - 1e-9
    assert at_most_in_a_second([(at, 1) for at in given]) <= 1 / pays_s + 1


def test_stalls_that_the_lead_covers_cost_no_time():
    """Two workers at 50 a second, each commit of which takes up to 200 ms now and then."""
    chosen = random.Random(5)
    paid_until, given = 1.0, []
    for n in range(1000):
        now = 1.0 + n * 0.02 - LEAD_S + chosen.choice([0, 0, 0, 0.1, LEAD_S - 0.05])
        starts = plan_starts([(0.02,)], [paid_until - now], earliest_s=0.05)
        given.append(now + starts.at_s[0])
        paid_until = now + starts.paid_s[0]
    assert given[-1] - given[0] == pytest.approx(999 * 0.02)


@pytest.mark.parametrize(
    ("spacing_s", "dues_and_times", "leave"),
    [
        pytest.param(0.02, [(1.00, 1.00), (1.02, 1.03), (1.04, 1.055)], [1, 1, 1], id="in time"),
        pytest.param(0.01, [(1.00, 1.015), (1.01, 1.02)], [1, 1], id="as late as timers are"),
        pytest.param(1.0, [(1.0, 1.9), (2.0, 2.9), (3.0, 3.5)], [1, 1, 1], id="slow: time enough"),
        pytest.param(
            0.02, [(1.00, 1.00), (1.04, 1.07), (1.08, 1.08), (1.12, 1.15)], [1, 0, 1, 0],
            id="each late one stays",
        ),
        pytest.param(
            0.02, [(1 + n * 0.02, 1.11 + n * 0.02) for n in range(5)], [0, 1, 1, 1, 1],
            id="always late: they leave, but for the first",
        ),
        pytest.param(
            0.02,
            [(1.0, 1.1), (1.02, 1.12), (1.04, 1.13), (1.06, 1.13), (1.08, 1.13), (1.12, 1.13)],
            [0, 1, 0, 0, 0, 1], id="a less late one waits until the missed starts have passed",
        ),
        pytest.param(
            0.02,
            [(1.00, 1.1), (1.02, 1.1), (1.04, 1.1), (1.06, 1.1), (1.08, 1.1), (1.10, 1.1)],
            [0, 1, 0, 0, 0, 1], id="one of those that a stall held up",
        ),
        pytest.param(
            0.02, [(1.0, 1.1), (1.02, 1.12), (1.04, 1.15), (1.14, 1.15), (1.16, 1.16)],
            [0, 1, 1, 0, 1],
            id="and it goes on",
        ),
    ],
)  # fmt: skip
def test_late_requests_do_not_exceed_the_rate(spacing_s, dues_and_times, leave):
    door = LatenessGuard()
    left = [door.may_leave(due, spacing_s, 0.0, now) for due, now in dues_and_times]
    assert left == [bool(each) for each in leave]


@example(stalls=[(0.1, 0.1)], pays_s=0.02)
@given(
    stalls=st.lists(st.tuples(st.floats(0, 20), st.floats(0, 1)), max_size=10),
    pays_s=st.sampled_from([0.02, 0.1, 1.0]),
)
def test_at_most_one_request_above_the_rate_leaves_in_a_second_whatever_stalls(stalls, pays_s):
    door, left = LatenessGuard(), []
    for n in range(round(20 / pays_s)):
        due = n * pays_s
        now = max([due] + [at + long for at, long in stalls if at <= due < at + long])
        if door.may_leave(due, pays_s, 0.0, now):
            left.append((now, 1))
    assert at_most_in_a_second(left) <= 1 / pays_s + 1


@given(seed=st.integers(0, 2**32), pays_s=st.sampled_from([0.02, 0.05, 0.5]))
def test_two_processes_that_are_sometimes_late_do_not_exceed_the_rate_together(seed, pays_s):
    """Each knows only its own requests; one in ten is late, never two in a row."""
    chosen = random.Random(seed)
    doors, was_late, left = (LatenessGuard(), LatenessGuard()), [False, False], []
    for n in range(round(10 / pays_s)):
        of = chosen.randrange(2)
        was_late[of] = not was_late[of] and chosen.random() < 0.1
        now = n * pays_s + chosen.uniform(*((0.02, 0.5) if was_late[of] else (0, 0.02)))
        if doors[of].may_leave(n * pays_s, pays_s, 0.0, now):
            left.append((now, 1))
    assert at_most_in_a_second(sorted(left)) <= 1 / pays_s + 1


@pytest.mark.parametrize(("late_s", "pays_s"), [(0.03, 0.002), (0.1, 0.01), (0.3, 0.05)])
def test_processes_that_are_always_late_still_use_the_whole_rate(late_s, pays_s):
    """Timers are never exact: constant lateness still varies by some milliseconds."""
    chosen = random.Random(7)
    doors, left = (LatenessGuard(), LatenessGuard()), []
    for n in range(2000):
        now = n * pays_s + late_s + chosen.uniform(0, 0.004)
        if doors[chosen.randrange(2)].may_leave(n * pays_s, pays_s, 0.0, now):
            left.append((now, 1))
    assert len(left) >= 1990
    assert at_most_in_a_second(sorted(left)) <= 1 / pays_s * 1.03 + 1


seconds = st.floats(0, 30)


@given(to_the_store=seconds, back=seconds, ends_in=st.floats(-60, 3600))
@example(to_the_store=0.0, back=0.7, ends_in=3.0)
@example(to_the_store=0.7, back=0.0, ends_in=3.0)
@example(to_the_store=0.0, back=0.0, ends_in=0.0)
def test_a_window_does_not_end_later_because_the_store_answers_late(to_the_store, back, ends_in):
    start, passed = datetime(2030, 5, 6, 12, 0, tzinfo=UTC), 0.0

    def store_clock():
        nonlocal passed
        passed += to_the_store
        now = start + timedelta(seconds=passed)
        passed += back
        return now

    end = start + timedelta(seconds=ends_in)
    reading = ClockReading.take(store_clock, lambda: 1000.0 + passed)
    truth = 1000.0 + ends_in
    tolerance_s = 1e-5  # datetimes have microseconds
    assert truth - to_the_store - tolerance_s <= reading.locate_end(end) <= truth + tolerance_s
    # Nor does a start that is counted from the answer come too soon.
    assert reading.answered_at >= 1000.0 + to_the_store


@pytest.mark.parametrize("per_second", [10_000, 1_000_000])
def test_a_machine_that_cannot_keep_a_rate_is_never_held_back_by_it(per_second):
    """A thousand requests begin at once and leave over a second: the rate was not used before."""
    guard, pays_s = LatenessGuard(), spacing_s(1, per_second)
    starts = plan_starts([(pays_s,)] * 1000, [-1.0], earliest_s=0.0)
    left = [
        guard.may_leave(start_s, pays_s, starts.slack_s, n / 1000)
        for n, start_s in enumerate(starts.at_s)
    ]
    assert all(left)
