"""The last checks of a request before its first byte."""

from contextlib import nullcontext

import pytest

from dispatcher.outbound.departure import Departure, Exchange, NotBegun


@pytest.mark.parametrize(
    ("deadline", "not_after", "now", "may_leave"),
    [
        (None, None, 100, True),
        (50, None, 50, True),
        (50, None, 51, False),
        (None, 50, 49, True),
        (None, 50, 50, False),
        (40, 50, 45, False),
        (60, 50, 55, False),
        (60, 50, 49, True),
    ],
)
def test_a_request_begins_by_its_deadline_and_before_its_window_closes(
    deadline, not_after, now, may_leave
):
    departure = Departure(begin_deadline=deadline, not_after=not_after)
    exchange = Exchange("host", departure, connect_timeout_s=10, clock=lambda: now)
    with nullcontext() if may_leave else pytest.raises(NotBegun):
        exchange.start_connecting()


@pytest.mark.parametrize(
    ("now", "departure", "may_leave"),
    [
        (59, Departure(begin_deadline=50), True),  # the connection took its time
        (61, Departure(begin_deadline=50), False),
        (59, Departure(begin_deadline=50, not_after=55), False),
    ],
)
def test_a_new_connection_moves_the_deadline_but_not_the_window(now, departure, may_leave):
    clock = iter([50, now])
    exchange = Exchange("host", departure, connect_timeout_s=10, clock=lambda: next(clock))
    exchange.start_connecting()
    with nullcontext() if may_leave else pytest.raises(NotBegun):
        exchange._check_time()


@pytest.mark.parametrize(("not_before", "now", "wait_s"), [(0.0, 7, 0), (9, 7, 2), (5, 7, 0)])
def test_a_request_waits_until_its_start(not_before, now, wait_s):
    departure = Departure(not_before=not_before)
    assert Exchange("host", departure, connect_timeout_s=1, clock=lambda: now).wait_s == wait_s
