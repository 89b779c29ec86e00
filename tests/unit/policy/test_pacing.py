"""Starts: each batch gets the next one that the rates leave free, and none that it cannot keep."""

import heapq
import itertools
import random
from datetime import UTC, datetime, timedelta
from math import inf

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from dispatcher.policy.pacing import (
    FIRST_BYTE_S,
    JOINING_S,
    LATE_ALONE_S,
    LEAD_S,
    ROUNDING_S,
    ClockReading,
    DepartureQueue,
    PlannedDeparture,
    RateWindow,
    plan_starts,
    shared_lateness_s,
    spacing_s,
)
from tests.support.arrivals import at_most_in_a_second


@pytest.mark.parametrize(
    ("spacings", "paid_s", "at_s", "paid_after_s"),
    [
        pytest.param([()] * 3, [], [0, 0, 0], [], id="without a rate all start at once"),
        pytest.param([(2,)], [-3600.0], [0], [2], id="long free: nothing is caught up"),
        pytest.param([(0.1,)] * 4, [0.05], [0.05, 0.15, 0.25], [0.35], id="as far as is near"),
        pytest.param([(1,), (1,)], [0.2], [0.2], [1.2], id="the second is too far away"),
        pytest.param([(1,)], [0.3], [], [0.3], id="none is near: nothing is paid"),
        pytest.param([(0.1, 0.05)] * 2, [0, 0.2], [0.2], [0.3, 0.25], id="the dearest rate counts"),
    ],
)  # fmt: skip
def test_requests_start_when_their_rates_are_free(spacings, paid_s, at_s, paid_after_s):
    starts = plan_starts(spacings, paid_s, commit_s=0.01)
    assert starts.at_s == pytest.approx(at_s)
    assert starts.paid_s == pytest.approx(paid_after_s)
    assert list(starts.paid_before_s) == paid_s


@pytest.mark.parametrize(
    ("paid_s", "is_near"), [(LEAD_S + ROUNDING_S, True), (LEAD_S + 2e-6, False)]
)
def test_a_start_is_near_up_to_the_lead_and_what_sums_are_rounded_by(paid_s, is_near):
    assert bool(plan_starts([(1,)], [paid_s], commit_s=0.0).at_s) is is_near


@pytest.mark.parametrize(
    ("spacing", "late_s"),
    [
        (0.01, 0.025),
        (0.1, 0.115),
        (spacing_s(1, 10.0001), 0.1165),
        (0.1 * 1.015, 0.1015),
        (1.0, 1.0),
    ],
)
def test_requests_that_follow_fast_may_be_late_by_the_room_between_them(spacing, late_s):
    assert shared_lateness_s(spacing) == pytest.approx(late_s, abs=1e-5)


def test_a_process_that_joins_waits_for_what_may_be_late_and_for_its_second():
    assert LATE_ALONE_S == LEAD_S + FIRST_BYTE_S
    assert pytest.approx(LATE_ALONE_S + 1.05) == JOINING_S


def test_where_no_start_is_near_enough_the_wait_is_told():
    assert plan_starts([(1.0,)], [7.5], commit_s=0.0).next_s == 7.5
    assert plan_starts([(1.0, 1.0)], [7.5, 0.1], commit_s=0.0).next_s == 7.5


def test_beside_others_no_start_is_promised_before_its_commit_ends():
    starts = plan_starts([(0.1,)] * 2, [-5.0], commit_s=0.01, earliest_s=0.015)
    assert starts.at_s == pytest.approx([0.015, 0.115])


@pytest.mark.parametrize(("commit_s", "starts"), [(0.01, 3), (0.125, 3), (0.5, 11)])
def test_slow_commits_need_starts_that_are_given_earlier(commit_s, starts):
    given = plan_starts([(0.1,)] * 20, [0.0], commit_s=commit_s)
    assert len(given.at_s) == starts


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
        starts = plan_starts([(pays_s,)] * slots, [paid_until - now], commit_s=0.005)
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
        starts = plan_starts([(0.02,)], [paid_until - now], commit_s=0.05)
        given.append(now + starts.at_s[0])
        paid_until = now + starts.paid_s[0]
    assert given[-1] - given[0] == pytest.approx(999 * 0.02)


class Process:
    """A process with a window for its share of a rate; requests ask when their time has come."""

    def __init__(self):
        self.queue, self.window = DepartureQueue(), RateWindow()

    def give(self, due, pays_s, *, unused_s=0.0):
        self.window.add_start(due, pays_s, unused_s)
        return PlannedDeparture(due, {self.window: pays_s})


def play(asks, *, latest_s=inf):
    """When each request leaves, of (first asked at, process, request); with how late each wakes."""
    order, left = itertools.count(), []
    events = [(at, next(order), process, request) for at, process, request in asks]
    heapq.heapify(events)
    while events:
        now, _, process, request = heapq.heappop(events)
        wait_s = process.queue.wait_s(request, now, request.due + latest_s)
        if not wait_s:
            left.append((now, 1))
        elif wait_s < inf:
            heapq.heappush(events, (now + wait_s, next(order), process, request))
    return left


@pytest.mark.parametrize(
    ("spacing_s", "dues_and_times", "left_at"),
    [
        pytest.param(
            0.02, [(1.00, 1.00), (1.02, 1.023), (1.04, 1.044)], [1.00, 1.023, 1.044], id="in time"
        ),
        pytest.param(1.0, [(1.0, 1.9), (2.0, 2.0)], [1.9, 2.9], id="the next one waits"),
        pytest.param(
            0.25, [(1.0, 1.2), (1.25, 1.25), (1.5, 1.5), (1.75, 1.75), (2.0, 2.0), (2.25, 2.25)],
            [1.2, 1.325, 1.5, 1.75, 2.2, 2.325], id="one late: the fifth waits for its second",
        ),
        pytest.param(
            0.1, [(1.0, 1.4), (1.1, 1.4), (1.2, 1.4), (1.3, 1.4)], [1.4, 1.45, 1.5, 1.55],
            id="after a stall: at twice the rate",
        ),
        pytest.param(
            0.01, [(1 + n / 100, 1.08) for n in range(6)],
            [1.08, 1.083, 1.091, 1.099, 1.107, 1.115],
            id="a crowd where the rate is high: a quarter faster than it",
        ),
    ],
)  # fmt: skip
def test_late_requests_leave_when_a_second_has_room_for_them(spacing_s, dues_and_times, left_at):
    process = Process()
    asks = [(at, process, process.give(due, spacing_s)) for due, at in dues_and_times]
    assert [at for at, _ in play(asks)] == pytest.approx(left_at, abs=0.022)


@example(stalls=[(0.1, 0.1)], pays_s=0.02)
@settings(deadline=None, max_examples=30)
@given(
    stalls=st.lists(st.tuples(st.floats(0, 4), st.floats(0, 1)), max_size=6),
    pays_s=st.sampled_from([0.02, 0.1, 1.0]),
)
def test_no_second_has_more_than_the_rate_and_nobody_is_lost_whatever_stalls(stalls, pays_s):
    process, asks = Process(), []
    for n in range(round(4 / pays_s)):
        due = n * pays_s
        now = max([due] + [at + long for at, long in stalls if at <= due < at + long])
        asks.append((now, process, process.give(due, pays_s)))
    left = play(asks)
    assert at_most_in_a_second(left) <= 1 / pays_s + 1
    assert len(left) == len(asks)


@settings(deadline=None, max_examples=60)
@given(seed=st.integers(0, 2**32), rate=st.sampled_from([200, 50, 20, 9, 2]))
def test_processes_that_are_late_put_one_request_more_into_a_second_at_most(seed, rate):
    """Each knows only its own requests, and has a lateness of its own that changes."""
    chosen = random.Random(seed)
    pays_s = spacing_s(1, rate)
    processes, asks = [Process() for _ in range(3)], []
    late_s = [0.0] * 3
    for n in range(4 * rate):
        of = chosen.choice([0, 0, 1, 2] if n % 40 < 20 else [1, 2])
        late_s[of] = chosen.choice([late_s[of], chosen.choice([0, 0.005, chosen.uniform(0, 0.9)])])
        due = n * pays_s
        asks.append((due + late_s[of], processes[of], processes[of].give(due, pays_s)))
    assert at_most_in_a_second(play(asks, latest_s=shared_lateness_s(pays_s))) <= rate + 1


@pytest.mark.parametrize(("late_s", "pays_s"), [(0.03, 0.002), (0.1, 0.01), (0.3, 0.05)])
def test_processes_that_are_always_late_still_use_the_whole_rate(late_s, pays_s):
    """Timers are never exact: constant lateness still varies by some milliseconds.

    At the end a few may miss their second: no start comes any more that makes room for them.
    """
    chosen = random.Random(7)
    processes, asks = (Process(), Process()), []
    for n in range(1000):
        process = processes[chosen.randrange(2)]
        at = n * pays_s + late_s + chosen.uniform(0, 0.004)
        asks.append((at, process, process.give(n * pays_s, pays_s)))
    left = sorted(play(asks, latest_s=1.0))
    assert len(left) >= 980
    assert left[-1][0] - left[0][0] <= 1000 * pays_s * 1.03 + 1
    assert at_most_in_a_second(left) <= 1 / pays_s + len(processes)


def test_time_that_nobody_used_leaves_room_for_late_requests():
    """A slow process: each group begins after a pause, and its requests leave late."""
    process, asks = Process(), []
    for n in range(10):
        for k in range(20):
            due = n * 0.3 + k * 0.01
            asks.append((n * 0.3 + 0.25, process, process.give(due, 0.01, unused_s=0.1 * (not k))))
    left = play(asks)
    assert max(at - (n // 20 * 0.3 + 0.25) for n, (at, _) in enumerate(left)) < 0.15


def test_a_start_that_overlaps_another_counts_once():
    """The store's clock was read late: the same time seems to be given twice."""
    process = Process()
    asks = [(0.5, process, process.give(n * 0.01 - late_s, 0.01)) for late_s in (0.0, 0.2)
            for n in range(50, 100)]  # fmt: skip
    assert at_most_in_a_second(play(asks, latest_s=2.0)) <= 101


def test_a_request_of_two_rates_waits_for_both():
    queue, accounts, campaigns = DepartureQueue(), RateWindow(), RateWindow()
    requests = []
    for n in range(12):
        accounts.add_start(n * 0.1, 0.01, 0.0)
        campaigns.add_start(n * 0.1, 0.1, 0.0)
        requests.append(PlannedDeparture(n * 0.1, {accounts: 0.01, campaigns: 0.1}))
    left = [request for request in requests if queue.wait_s(request, 1.0, 9.0) == 0]
    # The first two leave together; then the campaign's own rate is the one that counts.
    assert 1 <= len(left) <= 2


@pytest.mark.parametrize(("latest", "wait_s"), [(0.03, 0.02), (0.02, 0.02), (0.01, inf)])
def test_a_request_asks_again_up_to_its_last_moment(latest, wait_s):
    queue, window = DepartureQueue(), RateWindow()
    window.add_start(0.5, 0.1, 0.0)
    assert queue.wait_s(PlannedDeparture(0.5, {window: 0.1}), 0.0, latest) == wait_s


def test_a_request_that_pays_a_slow_rate_holds_no_other_one_up():
    queue, account = DepartureQueue(), RateWindow()
    for n, pays_s in enumerate([{RateWindow(): 50.0}, {}]):
        account.add_start(n * 0.1, 0.1, 0.0)
        for own, amount_s in pays_s.items():
            own.add_start(n * 0.1, amount_s, 0.0)
        one = PlannedDeparture(n * 0.1, {account: 0.1, **pays_s})
        assert queue.wait_s(one, 0.06 + n * 0.06, inf) == 0


def test_those_that_wait_longer_are_first_but_not_one_that_was_withdrawn():
    process = Process()
    requests = [process.give(n * 0.5, 0.5) for n in range(4)]
    ask = process.queue.wait_s
    assert ask(requests[0], 0.9, inf) == 0
    assert ask(requests[1], 1.1, inf) > 0  # it would pass twice the rate
    assert ask(requests[2], 1.14, inf) > 0  # there is room for one, and another one waits already
    assert ask(requests[1], 1.15, inf) == 0
    assert ask(requests[1], 1.16, inf) == 0  # it has left
    assert ask(requests[2], 1.5, inf) > 0
    # That one was withdrawn, and does not ask again.
    assert ask(requests[3], 1.95, inf) == 0


def test_a_request_that_cannot_leave_by_its_deadline_is_given_up():
    process = Process()
    first, second = process.give(0.0, 1.0), process.give(1.0, 1.0)
    assert process.queue.wait_s(first, 0.9, 1.0) == 0
    assert process.queue.wait_s(second, 1.0, 1.01) == inf
    assert 0 < process.queue.wait_s(second, 1.0, 2.0) <= 0.1
    assert process.queue.wait_s(second, 1.9, 2.0) == 0


def test_a_window_forgets_what_is_over():
    process = Process()
    assert process.window.is_empty
    assert process.queue.wait_s(process.give(0.0, 0.1), 0.0, inf) == 0
    assert not process.window.is_empty
    process.window.advance_to(1.5)
    assert process.window.is_empty


@pytest.mark.parametrize(
    ("unused_s", "at"), [(-3.0, 6.0), (0.0, 6.0), (0.05, 6.0), (1.0, 5.5), (9.0, 5.5)]
)
def test_the_time_before_a_start_counts_as_far_as_it_is_in_the_same_second(unused_s, at):
    window = RateWindow()
    window.add_start(5.0, 0.1, unused_s)
    window.advance_to(5.0)
    window.add_departure(5.0, 0.1)
    assert window.find_time(5.5, 0.1) == pytest.approx(at)


def test_what_left_and_what_was_given_a_second_ago_no_longer_count():
    window = RateWindow()
    for start in (5.0, 5.5):
        window.add_start(start, 0.1, 0.0)
        window.advance_to(start)
        window.add_departure(start, 0.1)
    assert window.find_time(5.6, 0.1) == pytest.approx(6.5)


@pytest.mark.parametrize(("early_s", "at"), [(0.25, 4.45), (0.2, 5.0)])
def test_a_start_counts_later_only_where_it_is_early_by_less_than_the_lead(early_s, at):
    window = RateWindow()
    for start, amount_s in ((4.0, 0.5), (4.5 - early_s, 0.25)):
        window.add_start(start, amount_s, 0.0)
    window.advance_to(4.0)
    window.add_departure(4.0, 0.5)
    window.advance_to(4.45)
    assert window.find_time(4.45, 0.25) == at


def test_a_start_counts_from_its_own_moment_on():
    window = RateWindow()
    window.add_start(5.0, 1.0, 0.0)
    window.advance_to(5.0)
    for at in (5.0, 5.25):
        window.add_departure(at, 0.5)
    window.add_start(6.0, 1.0, 0.0)
    assert window.find_time(5.5, 0.5) == 6.0


def test_a_window_with_a_start_or_a_departure_is_not_empty():
    coming, given, left = RateWindow(), RateWindow(), RateWindow()
    for window in (coming, given):
        window.add_start(5.0, 0.1, 0.0)
    given.advance_to(5.0)
    left.add_departure(5.0, 0.1)
    assert [window.is_empty for window in (coming, given, left)] == [False] * 3


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
    process, pays_s = Process(), spacing_s(1, per_second)
    starts = plan_starts([(pays_s,)] * 1000, [-1.0], commit_s=0.0)
    requests = [process.give(start_s, pays_s, unused_s=1.0 * (not n))
                for n, start_s in enumerate(starts.at_s)]  # fmt: skip
    waits = [process.queue.wait_s(one, n / 1000, inf) for n, one in enumerate(requests)]
    assert waits == [0.0] * 1000
