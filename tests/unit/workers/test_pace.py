"""The pace of an account: how long its commits take, and when its begun requests leave."""

import heapq
import itertools
import random
from datetime import UTC, datetime, timedelta
from functools import partial
from math import inf

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from dispatcher.outbound.departure import boottime_s
from dispatcher.outbound.presence import Presence
from dispatcher.outbound.rates import seconds_ahead
from dispatcher.policy.fair_queue import Unit
from dispatcher.policy.pacing import (
    FIRST_BYTE_S,
    LATE_ALONE_S,
    LEAD_S,
    ClockReading,
    Starts,
    plan_starts,
    spacing_s,
)
from tests.support.arrivals import at_most_in_a_second
from tests.support.presence import known_worker
from workers.http.pace import _MOST_WINDOWS, AccountPace, Paces


def plan(pace, at_s, *, pays_s, rates=(Unit.MESSAGES,), closes=inf, paid_s=0.0, is_shared=False):
    """Departures of requests with these starts, and the moment in which it was decided."""
    now_at = boottime_s()
    starts = Starts(at_s, [at_s[-1] + pays_s] * len(rates), [paid_s] * len(rates), is_shared)
    spacings = [[pays_s] * len(rates)] * len(at_s)
    return list(pace.plan_departures(starts, spacings, rates, now_at=now_at, closes=closes)), now_at


def test_without_a_rate_requests_leave_at_once_within_a_second():
    (one, two), now_at = plan(
        AccountPace(known_worker()), [0.0, 0.0], pays_s=0.0, rates=(), closes=99.0
    )
    assert one == two
    assert (one.not_before, one.hold_s, one.not_after) == (type(one)().not_before, None, 99.0)
    assert one.begin_deadline == now_at + 1


def test_requests_leave_at_their_starts_and_at_most_a_second_later():
    (one, two), now_at = plan(AccountPace(known_worker()), [5.0, 6.0], pays_s=1.0, closes=99.0)
    assert (one.not_before, two.not_before) == (now_at + 5, now_at + 6)
    assert (one.begin_deadline, two.begin_deadline) == (now_at + 6, now_at + 7)
    assert one.not_after == 99.0
    assert one.hold_s(one.not_before, inf) == 0
    assert two.hold_s(two.not_before, inf) == 0


def test_requests_of_a_late_commit_leave_within_the_rate():
    """The time before its starts was not used; after them it was used up."""
    pace = AccountPace(known_worker())
    departures, now_at = plan(pace, [0.0, 0.5], pays_s=0.5, paid_s=-3.0)
    assert [each.hold_s(now_at + 0.4, inf) for each in departures] == [0, pytest.approx(0.02)]
    assert departures[1].hold_s(now_at + 0.65, inf) == 0
    (third,), _ = plan(pace, [1.0], pays_s=0.5, paid_s=1.0)
    assert third.hold_s(now_at + 1.1, now_at + 2) > 0
    assert third.hold_s(now_at + 1.45, now_at + 2) == 0


@pytest.mark.parametrize(("is_shared", "waits"), [(True, inf), (False, 0)])
def test_beside_another_process_a_request_leaves_only_a_little_late(is_shared, waits):
    pace = AccountPace(known_worker())
    (first, second), now_at = plan(pace, [0.9, 1.0], pays_s=0.1, paid_s=0.9, is_shared=is_shared)
    assert first.hold_s(now_at + 0.95, inf) == 0
    assert second.hold_s(now_at + 1.2, inf) == waits


def test_who_was_alone_at_begin_lets_nothing_leave_once_others_may_have_begun():
    pace = AccountPace(known_worker())
    (first,), now_at = plan(pace, [0.2], pays_s=0.1)
    assert 0 < first.hold_s(now_at + 0.1, inf) < inf
    assert first.hold_s(now_at + LATE_ALONE_S + 0.01, inf) == inf


class Crew:
    """Workers of one account: what the store has on record, and what leaves."""

    def __init__(self, pays_s, seed, *, commit_s=0.02):
        self.commit_s = commit_s
        self.pays_s, self.chosen = pays_s, random.Random(seed)
        self.paid_until, self.known_at = -60.0, {}
        self.left, self.withdrawn, self._events, self._order = [], 0, [], itertools.count()

    def join(self, name, at, *, stalls=(), most=1):
        """From then on it is known, and begins `most` requests at a time, or a few."""
        self.known_at[name] = at
        worker = OneOfThem(self, name, at)
        self._put(worker, stalls, at, lambda now: self._begin(worker, stalls, now, most))

    def play(self, until):
        while self._events and self._events[0][0] < until:
            at, _, act = heapq.heappop(self._events)
            act(at)

    def _put(self, worker, stalls, at, act):
        at = max([at] + [begun + long for begun, long in stalls if begun <= at < begun + long])
        heapq.heappush(self._events, (at, next(self._order), act))

    def _begin(self, worker, stalls, now, most):
        costs = [(self.pays_s,)] * self.chosen.randint(1, most)
        reading = ClockReading(EPOCH + timedelta(seconds=now), now, now)
        paid_until = EPOCH + timedelta(seconds=self.paid_until)
        paid_s = [seconds_ahead(paid_until, reading.now, longest_s=self.pays_s)]
        starts = worker.pace.find_starts(None, reading, RATES, costs, paid_s)
        again_at = now + max(0.001, starts.next_s - LEAD_S / 2)
        if starts.at_s:
            self.paid_until = now + starts.paid_s[0]
            given = costs[: len(starts.at_s)]
            took_s = self.chosen.uniform(0, self.commit_s)
            worker.pace.note_commit(took_s)
            for one in worker.pace.plan_departures(starts, given, RATES, now_at=now, closes=inf):
                asks_at = max(one.not_before, now + took_s)
                self._put(worker, stalls, asks_at, partial(self._ask, worker, stalls, one))
        self._put(worker, stalls, again_at, lambda at: self._begin(worker, stalls, at, most))

    def _ask(self, worker, stalls, one, now):
        wait_s = one.hold_s(now, one.begin_deadline)
        if wait_s == 0:
            self.left.append((now, 1))
        elif wait_s == inf:
            self.withdrawn += 1
        else:
            self._put(worker, stalls, now + wait_s, partial(self._ask, worker, stalls, one))


class OneOfThem(Presence):
    def __init__(self, crew, name, at):
        super().__init__(name, timedelta(hours=1))
        self.crew, self.pace = crew, AccountPace(self)
        self.note_heartbeat(at)

    def has_peers(self, conn, now):
        at = (now - EPOCH).total_seconds()
        return any(at >= of for name, of in self.crew.known_at.items() if name != self.worker)


EPOCH, RATES = datetime(2030, 5, 6, tzinfo=UTC), [Unit.MESSAGES]
stalls_of = st.lists(st.tuples(st.floats(0, 4), st.floats(0, 1.2)), max_size=3)


@example(rate=100, stalls=[(1.0, 0.9)], joins_at=1.01, others=[], seed=1, most=60, commit_s=0.02)
@example(rate=50, stalls=[], joins_at=0.0, others=[], seed=1, most=60, commit_s=1.0)
@example(rate=50, stalls=[], joins_at=0.0, others=[], seed=33, most=60, commit_s=2.5)
@settings(deadline=None, max_examples=12)
@given(
    rate=st.sampled_from([50, 20, 5]),
    stalls=stalls_of,
    joins_at=st.floats(0, 2),
    others=stalls_of,
    seed=st.integers(0, 2**32),
    most=st.sampled_from([1, 4, 60]),
    commit_s=st.sampled_from([0.02, 0.02, 0.4, 1.0]),
)
def test_a_process_that_joins_one_that_is_late_passes_no_rate(
    rate, stalls, joins_at, others, seed, most, commit_s
):
    crew = Crew(spacing_s(1, rate), seed, commit_s=commit_s)
    crew.join("first", 0.0, stalls=stalls, most=most)
    crew.join("second", joins_at, stalls=others, most=most)
    for n in range(6 if commit_s > 0.1 else 0):
        # Starts that are given long before are not forgotten.
        crew.join(f"other {n}", joins_at, most=most)
    crew.play(until=5)
    assert at_most_in_a_second(crew.left) <= rate + 1


def test_one_that_is_alone_gives_nothing_up_after_a_stall():
    crew = Crew(spacing_s(1, 200), 3)
    crew.join("only", 0.0, stalls=[(n + 0.3, 0.6) for n in range(3)], most=60)
    crew.play(until=4)
    assert crew.withdrawn == 0
    assert at_most_in_a_second(crew.left) <= 201


@pytest.mark.parametrize("commit_s", [0.01, 0.5, 1.0])
def test_starts_that_are_given_long_before_are_not_forgotten(commit_s):
    """The store's record is read back whole: the next start is after the last that was given."""
    costs = [(0.1,)] * 60
    given = plan_starts(costs, [0.0], commit_s=commit_s).pay_for_lateness(FIRST_BYTE_S)
    paid_until = EPOCH + timedelta(seconds=given.paid_s[0])
    assert seconds_ahead(paid_until, EPOCH, longest_s=0.1) == pytest.approx(given.paid_s[0])
    assert given.paid_s[0] == pytest.approx(given.at_s[-1] + 0.1 + FIRST_BYTE_S)


def test_where_nothing_leaves_for_long_the_lateness_is_paid_too():
    """Each commit of a machine that is far too slow makes late what it begins."""
    crew = Crew(0.1, 1)
    worker, _ = OneOfThem(crew, "first", 0.0), crew.join("second", 0.0)
    for begun_at, late_s in [(10.0, 0.0), (12.0, 0.0), (13.5, FIRST_BYTE_S), (15.0, 0.0)]:
        reading = ClockReading(EPOCH + timedelta(seconds=begun_at), begun_at, begun_at)
        starts = worker.pace.find_starts(None, reading, RATES, [(0.1,)], [-9.0])
        assert starts.late_s == late_s
        assert starts.paid_s == pytest.approx([starts.at_s[0] + 0.1 + late_s])
        (one,) = worker.pace.plan_departures(starts, [(0.1,)], RATES, now_at=begun_at, closes=inf)
        late_at = one.not_before + 0.9
        assert one.hold_s(late_at, one.begin_deadline) == (0.0 if late_s else inf)


def test_where_nothing_leaves_for_long_a_start_that_is_far_away_comes_no_later():
    crew = Crew(0.1, 1)
    worker, _ = OneOfThem(crew, "first", 0.0), crew.join("second", 0.0)
    first = ClockReading(EPOCH + timedelta(seconds=10), 10.0, 10.0)
    starts = worker.pace.find_starts(None, first, RATES, [(0.1,)], [-9.0])
    list(worker.pace.plan_departures(starts, [(0.1,)], RATES, now_at=10.0, closes=inf))
    later = ClockReading(EPOCH + timedelta(seconds=20), 20.0, 20.0)
    starts = worker.pace.find_starts(None, later, RATES, [(0.1,)], [30.0])
    assert (starts.at_s, starts.next_s, starts.late_s) == ([], 30.0, 0.0)


def test_one_that_joins_waits_only_for_those_that_it_does_not_know():
    idle, used = Crew(0.1, 1), Crew(0.1, 1)
    used.join("first", 0.0)
    for crew in (idle, used):
        crew.join("second", 1.0)
        crew.play(until=5)
    assert idle.left[0] == (pytest.approx(1.0, abs=0.05), 1)
    assert len(used.left) >= 48  # the first goes on meanwhile


def test_campaigns_with_rates_of_their_own_are_forgotten_when_nothing_leaves():
    pace = AccountPace(known_worker())
    for campaign in range(3 * _MOST_WINDOWS):
        (each,), now_at = plan(pace, [campaign * 2.0], pays_s=0.5, rates=[campaign])
        assert each.hold_s(now_at + campaign * 2.0, inf) == 0
        pace._windows[campaign].advance_to(now_at + campaign * 2.0 + 2)
    assert len(pace._windows) <= _MOST_WINDOWS


def test_the_account_s_window_stays_however_many_campaigns_have_rates_of_their_own():
    """Else what left of the account's rate just now would not count with what follows."""
    pace = AccountPace(known_worker())
    windows = set()
    for campaign in range(2 * _MOST_WINDOWS):
        plan(pace, [campaign * 0.01], pays_s=0.5, rates=[Unit.MESSAGES, campaign])
        windows.add(id(pace._windows[Unit.MESSAGES]))
    assert len(windows) == 1
    for campaign in range(2 * _MOST_WINDOWS):
        pace._windows[campaign].advance_to(boottime_s() + 9)
    pace._windows[Unit.MESSAGES].advance_to(boottime_s() + 9)
    plan(pace, [9.0], pays_s=0.5, rates=[Unit.MESSAGES, "new"])
    assert set(pace._windows) == {Unit.MESSAGES, "new"}
    assert id(pace._windows[Unit.MESSAGES]) in windows


def test_how_long_commits_and_begins_take_is_learnt_slowly_and_a_stall_counts_for_a_second():
    pace = AccountPace(known_worker())
    assert (pace.commit_s, pace.begin_s) == (0.01, 0.02)
    pace.note_commit(0.11)
    pace.note_begin(0.12)
    assert (pace.commit_s, pace.begin_s) == pytest.approx((0.03, 0.04))
    pace.note_commit(60.0)
    pace.note_begin(60.0)
    assert (pace.commit_s, pace.begin_s) == pytest.approx((0.224, 0.232))


def test_each_account_has_a_pace_of_its_own():
    paces = Paces(known_worker())
    assert paces.of("main") is paces.of("main")
    assert paces.of("main") is not paces.of("backup")
