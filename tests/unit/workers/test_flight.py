"""A flight without a loop: how long it waits for what lands."""

import queue

from workers.http.flight import Flight, FlightRequest, Landed


class Landings:
    """Gives these groups, and remembers how long each was waited for."""

    def __init__(self, *groups):
        self._groups, self.waited_s = [*groups], []

    def get(self, *, timeout):
        self.waited_s.append(timeout)
        if not self._groups:
            raise queue.Empty
        return self._groups.pop(0)


def test_the_first_is_waited_for_and_others_only_for_a_moment():
    flight = Flight(lambda _flight, _requests: True, timeout_s=9, hangs_after_s=60)
    flight.send([FlightRequest(number, None, None) for number in range(3)])
    flight._landed = landings = Landings([Landed(1, None, 0.1)], [Landed(0, None, 0.1)])
    landed = flight.collect(timeout_s=5, group_s=0.25)
    assert [each.number for each in landed] == [1, 0]
    assert flight.under_way == 1
    first_s, *others_s = landings.waited_s
    assert 4 < first_s <= 5
    assert len(others_s) == 2
    assert all(0 <= seconds <= 0.25 for seconds in others_s)


def test_nothing_is_waited_for_where_nothing_is_under_way():
    flight = Flight(lambda _flight, _requests: True, timeout_s=9, hangs_after_s=60)
    flight._landed = landings = Landings()
    assert flight.collect(timeout_s=5) == []
    assert landings.waited_s == []
