"""The pace of an account: how long its commits take, and when its begun requests leave."""

from math import inf

import pytest

from dispatcher.outbound.departure import boottime_s
from dispatcher.policy.fair_queue import Unit
from dispatcher.policy.pacing import Starts
from workers.http.pace import _MOST_WINDOWS, AccountPace, Paces


def plan(pace, at_s, *, pays_s, rates=(Unit.MESSAGES,), closes=inf, paid_s=0.0):
    """Departures of requests with these starts, and the moment in which it was decided."""
    now_at = boottime_s()
    starts = Starts(at_s, [at_s[-1] + pays_s] * len(rates), [paid_s] * len(rates))
    spacings = [[pays_s] * len(rates)] * len(at_s)
    return list(pace.plan_departures(starts, spacings, rates, now_at=now_at, closes=closes)), now_at


def test_without_a_rate_requests_leave_at_once_within_a_second():
    (one, two), now_at = plan(AccountPace(), [0.0, 0.0], pays_s=0.0, rates=(), closes=99.0)
    assert one == two
    assert (one.not_before, one.hold_s, one.not_after) == (type(one)().not_before, None, 99.0)
    assert one.begin_deadline == now_at + 1


def test_requests_leave_at_their_starts_and_at_most_a_second_later():
    (one, two), now_at = plan(AccountPace(), [5.0, 6.0], pays_s=1.0, closes=99.0)
    assert (one.not_before, two.not_before) == (now_at + 5, now_at + 6)
    assert (one.begin_deadline, two.begin_deadline) == (now_at + 6, now_at + 7)
    assert one.not_after == 99.0
    assert one.hold_s(one.not_before, inf) == 0
    assert two.hold_s(two.not_before, inf) == 0


def test_requests_of_a_late_commit_leave_within_the_rate():
    """The time before its starts was not used; after them it was used up."""
    pace = AccountPace()
    departures, now_at = plan(pace, [0.0, 0.5], pays_s=0.5, paid_s=-3.0)
    assert [each.hold_s(now_at + 0.4, inf) for each in departures] == [0, pytest.approx(0.02)]
    assert departures[1].hold_s(now_at + 0.65, inf) == 0
    (third,), _ = plan(pace, [1.0], pays_s=0.5, paid_s=1.0)
    assert third.hold_s(now_at + 1.1, now_at + 2) > 0
    assert third.hold_s(now_at + 1.45, now_at + 2) == 0


def test_beside_another_process_a_request_leaves_only_a_little_late():
    pace = AccountPace()
    (first,), now_at = plan(pace, [0.0], pays_s=0.1, paid_s=-1.0)
    assert first.hold_s(now_at + 0.3, inf) == 0
    assert pace.earliest_s == 0
    (second,), now_at = plan(pace, [0.1], pays_s=0.1, paid_s=0.1)
    assert second.hold_s(now_at + 0.5, inf) == 0  # this process has paid until then
    (third, fourth), now_at = plan(pace, [0.9, 1.0], pays_s=0.1, paid_s=0.9)
    assert third.hold_s(now_at + 0.95, inf) == 0
    assert pace.earliest_s == pytest.approx(0.015)
    assert fourth.hold_s(now_at + 1.2, inf) == inf


@pytest.mark.parametrize(("paid_s", "is_beside"), [(0.1, True), (-0.5, True), (-2.0, False)])
def test_a_process_that_starts_is_beside_whoever_has_just_used_the_rate(paid_s, is_beside):
    pace = AccountPace()
    (first,), now_at = plan(pace, [0.2], pays_s=0.1, paid_s=paid_s)
    assert (pace.earliest_s > 0) == is_beside
    assert (first.hold_s(now_at + 0.5, inf) == inf) == is_beside


def test_campaigns_with_rates_of_their_own_are_forgotten_when_nothing_leaves():
    pace = AccountPace()
    for campaign in range(3 * _MOST_WINDOWS):
        (each,), now_at = plan(pace, [campaign * 2.0], pays_s=0.5, rates=[campaign])
        assert each.hold_s(now_at + campaign * 2.0, inf) == 0
        pace._windows[campaign].advance_to(now_at + campaign * 2.0 + 2)
    assert len(pace._windows) <= _MOST_WINDOWS


def test_how_long_commits_and_begins_take_is_learnt_slowly_and_a_stall_counts_for_a_second():
    pace = AccountPace()
    assert (pace.commit_s, pace.begin_s) == (0.01, 0.02)
    pace.note_commit(0.11)
    pace.note_begin(0.12)
    assert (pace.commit_s, pace.begin_s) == pytest.approx((0.03, 0.04))
    pace.note_commit(60.0)
    pace.note_begin(60.0)
    assert (pace.commit_s, pace.begin_s) == pytest.approx((0.224, 0.232))


def test_each_account_has_a_pace_of_its_own():
    paces = Paces()
    assert paces.of("main") is paces.of("main")
    assert paces.of("main") is not paces.of("backup")
