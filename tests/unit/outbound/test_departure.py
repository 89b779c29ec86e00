"""The last checks of a request before its first byte."""

import asyncio
from contextlib import nullcontext
from math import inf

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


def exchange_at(now, **departure):
    return Exchange("host", Departure(**departure), connect_timeout_s=10, clock=lambda: now)


@pytest.mark.parametrize(("connects", "latest"), [(False, 60), (True, 70)])
def test_a_new_connection_moves_the_deadline(connects, latest):
    asked = []
    exchange = exchange_at(
        50, begin_deadline=60, hold_s=lambda now, until: asked.append((now, until)) or 0.0
    )
    if connects:
        exchange.start_connecting()
    asyncio.run(exchange.wait_for_departure())
    assert asked == [(50, latest)]


@pytest.mark.parametrize(
    ("departure", "words"),
    [
        ({}, None),
        ({"may_leave": lambda: True}, None),
        ({"may_leave": lambda: False}, "was withdrawn"),
        ({"hold_s": lambda _now, _latest: 0.0}, None),
        ({"hold_s": lambda _now, _latest: inf}, "was too late"),
        ({"hold_s": lambda _now, latest: 0.0 if latest == inf else inf}, None),
    ],
)
def test_a_request_is_asked_a_last_time_whether_it_may_leave(departure, words):
    exchange = exchange_at(50, **departure)
    with nullcontext() if words is None else pytest.raises(NotBegun, match=words):
        asyncio.run(exchange.wait_for_departure())


class Cut:
    """A transport or an answer; remembers how it ended."""

    def __init__(self, connection=None):
        self.connection, self.ended = connection, []

    def abort(self):
        self.ended.append("abort")

    def close(self):
        self.ended.append("close")


@pytest.mark.parametrize(
    ("transport", "response", "ended"),
    [
        (None, None, []),
        (Cut(), None, ["abort"]),
        (Cut(), Cut(connection="its own"), ["abort", "close"]),
        (Cut(), Cut(), ["close"]),  # another request may have the connection
        (None, Cut(connection="its own"), ["close"]),
    ],
)
def test_a_connection_is_reset_unless_another_request_may_have_it(transport, response, ended):
    exchange = exchange_at(50)
    assert not exchange.may_have_left
    exchange.transport, exchange.response = transport, response
    assert exchange.may_have_left is (transport is not None)
    exchange.cut_off()
    assert [how for one in (transport, response) if one for how in one.ended] == ended
