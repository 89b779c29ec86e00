"""Starts: each batch gets the next one that the rates leave free, and none that it cannot keep."""

import itertools
import random
from datetime import UTC, datetime, timedelta
from math import inf

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from dispatcher.policy.pacing import (
    COMMIT_S,
    LEAD_S,
    ClockReading,
    LatenessGuard,
    seconds_to_start,
)
from tests.support.arrivals import at_most_in_a_second


@pytest.mark.parametrize(
    ("free_s", "start_s"),
    [
        pytest.param(-inf, 0.0, id="no rate: at once"),
        pytest.param(-3600.0, COMMIT_S, id="long free: after the commit, and nothing is caught up"),
        pytest.param(0.0, COMMIT_S, id="free just now"),
        pytest.param(LEAD_S, LEAD_S, id="free soon: just then"),
        pytest.param(0.4, 0.4, id="clocks that drift a little"),
        pytest.param(0.6, None, id="too early to begin"),
    ],
)
def test_a_batch_starts_when_its_rates_are_free(free_s, start_s):
    assert seconds_to_start(free_s) == start_s


@given(
    pays_s=st.sampled_from([0.001, 0.02, 0.1, 1.0]),
    stalls=st.lists(st.floats(0, 2), max_size=8),
    seed=st.integers(0, 2**32),
)
def test_starts_are_never_closer_than_the_rate_allows_whatever_stalls(pays_s, stalls, seed):
    """The store's lock lets batches begin one after the other, at random times."""
    chosen = random.Random(seed)
    now, paid_until, starts = 0.0, 0.0, []
    for _ in range(300):
        start_s = seconds_to_start(paid_until - now)
        if start_s is None:
            now = paid_until - LEAD_S
            continue
        starts.append(now + start_s)
        paid_until = starts[-1] + pays_s
        now += chosen.uniform(0, pays_s) + (stalls.pop() if stalls and chosen.random() < 0.1 else 0)
    gaps = [b - a for a, b in itertools.pairwise(starts)]
    assert min(gaps) >= pays_s - 1e-9
    assert at_most_in_a_second([(at, 1) for at in starts]) <= 1 / pays_s + 1


def test_stalls_that_the_lead_covers_cost_no_time():
    """Two workers at 50 a second, each commit of which takes up to 200 ms now and then."""
    chosen = random.Random(5)
    paid_until, starts = 1.0, []
    for n in range(1000):
        now = 1.0 + n * 0.02 - LEAD_S + chosen.choice([0, 0, 0, 0.1, LEAD_S - COMMIT_S])
        starts.append(now + (seconds_to_start(paid_until - now) or 0))
        paid_until = starts[-1] + 0.02
    assert starts[-1] - starts[0] == pytest.approx(999 * 0.02)


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
    left = [door.allows(due, spacing_s, now) for due, now in dues_and_times]
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
        if door.allows(due, pays_s, now):
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
        if doors[of].allows(n * pays_s, pays_s, now):
            left.append((now, 1))
    assert at_most_in_a_second(sorted(left)) <= 1 / pays_s + 1


@pytest.mark.parametrize(("late_s", "pays_s"), [(0.03, 0.002), (0.1, 0.01), (0.3, 0.05)])
def test_processes_that_are_always_late_still_use_the_whole_rate(late_s, pays_s):
    """Timers are never exact: constant lateness still varies by some milliseconds."""
    chosen = random.Random(7)
    doors, left = (LatenessGuard(), LatenessGuard()), []
    for n in range(2000):
        now = n * pays_s + late_s + chosen.uniform(0, 0.004)
        if doors[chosen.randrange(2)].allows(n * pays_s, pays_s, now):
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
