"""The pace of an account: how long its commits take, and when its begun requests leave."""

from math import inf

import pytest

from dispatcher.outbound.departure import boottime_s
from dispatcher.policy.pacing import LEAD_S, Starts
from workers.http.pace import AccountPace, Paces


def plan(pace, at_s, *, intervals_s, ago_s=0.0, closes=inf):
    """Departures of requests with these starts, decided `ago_s` ago; the moment it was decided."""
    now_at = boottime_s() - ago_s
    starts = Starts(at_s, [at_s[-1] + 1], 0.0)
    given = pace.plan_departures(starts, intervals_s, now_at=now_at, closes=closes)
    return list(given), now_at


def test_without_a_rate_requests_leave_at_once_within_a_second():
    (one, two), now_at = plan(AccountPace(), [0.0, 0.0], intervals_s=None, closes=99.0)
    assert one == two
    assert (one.not_before, one.may_leave, one.not_after) == (type(one)().not_before, None, 99.0)
    assert one.begin_deadline == now_at + 1


def test_requests_leave_at_their_starts_where_the_commit_was_in_time():
    pace = AccountPace()
    (one, two), now_at = plan(pace, [5.0, 6.0], intervals_s=[1.0, 1.0], closes=99.0)
    assert (one.not_before, two.not_before) == (now_at + 5, now_at + 6)
    assert (one.begin_deadline, two.begin_deadline) == (now_at + 6, now_at + 7)
    assert (one.not_after, pace.late_s) == (99.0, 0)
    assert one.may_leave(one.not_before)


def test_a_late_commit_delays_all_requests_alike():
    pace = AccountPace()
    (one, two), now_at = plan(pace, [0.1, 0.6], intervals_s=[0.5, 0.5], ago_s=0.2)
    assert one.not_before >= now_at + 0.2
    assert two.not_before - one.not_before == pytest.approx(0.5)
    assert 0.1 <= pace.late_s <= LEAD_S
    assert one.begin_deadline == now_at + 1.1
    plan(pace, [0.0], intervals_s=[0.5], ago_s=5.0)
    assert pace.late_s == LEAD_S


def test_how_long_commits_take_is_learnt_slowly_and_a_stall_counts_for_a_second():
    pace = AccountPace()
    assert pace.commit_s == pytest.approx(0.015)
    pace.note_commit(0.11)
    assert pace.commit_s == pytest.approx(1.5 * 0.03)
    pace.note_commit(60.0)
    assert pace.commit_s == pytest.approx(1.5 * (0.8 * 0.03 + 0.2))


def test_each_account_has_a_pace_of_its_own():
    paces = Paces()
    assert paces.of("main") is paces.of("main")
    assert paces.of("main") is not paces.of("backup")
