"""A flight without a loop: how long it waits for what lands."""

import asyncio
import queue
from types import SimpleNamespace

import pytest

from dispatcher.errors import ErrorKind, ProviderError
from dispatcher.outbound.departure import AT_ONCE, Departure, boottime_s
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


class Client:
    """Answers each request after a moment; keeps what it was given."""

    def __init__(self, answer="an answer"):
        self._answer, self.departures = answer, []

    async def send(self, http, *, timeout_s, departure):
        self.departures.append(departure)
        await asyncio.sleep(0.02)
        if isinstance(self._answer, BaseException):
            raise self._answer
        return self._answer


def fly(client, departures):
    """What lands of requests with these departures."""

    async def start():
        flight = Flight(
            lambda one, requests: one.start_on_loop(loop, client, requests) or True,
            timeout_s=9, hangs_after_s=60,
        )  # fmt: skip
        loop = asyncio.get_running_loop()
        flight.send([FlightRequest(n, None, each) for n, each in enumerate(departures)])
        return await loop.run_in_executor(None, lambda: collect_all(flight))

    def collect_all(flight):
        found = []
        while flight.under_way:
            found += flight.collect(timeout_s=5)
        return sorted(found, key=lambda landed: landed.number)

    return asyncio.run(start())


class Waiting(Client):
    """Asks whether a request may leave after it has waited for a while."""

    async def send(self, http, *, timeout_s, departure):
        await asyncio.sleep(0.3)
        assert departure.may_leave()
        return await super().send(http, timeout_s=timeout_s, departure=departure)


def test_the_time_of_an_answer_counts_from_its_departure():
    now = boottime_s()
    departures = [AT_ONCE, Departure(not_before=now - 100), Departure(not_before=now + 99)]
    assert all(0.01 < each.took_s < 5 for each in fly(Client(), departures))
    assert all(0.01 < each.took_s < 0.25 for each in fly(Waiting(), departures))


@pytest.mark.parametrize(
    ("raised", "kind", "words"),
    [
        (ProviderError(ErrorKind.THROTTLED, "slower"), ErrorKind.THROTTLED, "slower"),
        (asyncio.CancelledError(), ErrorKind.DOUBTFUL, "cut short"),
        (ValueError("a number"), ErrorKind.DOUBTFUL, r"the request failed (ValueError)"),
    ],
)
def test_whatever_a_request_ends_with_lands(raised, kind, words):
    (landed,) = fly(Client(raised), [AT_ONCE])
    assert landed.answer.kind is kind
    assert words in landed.answer.message


@pytest.mark.parametrize("stops", [False, True])
def test_what_has_not_left_is_asked_and_stopped(stops):
    flight = Flight(lambda _flight, _requests: True, timeout_s=9, hangs_after_s=60)
    if stops:
        flight.stop()
    assert flight._may_leave(0) is not stops


@pytest.mark.parametrize(("waited_s", "hangs"), [(59, False), (61, True)])
def test_requests_of_a_loop_that_hangs_are_in_doubt(waited_s, hangs):
    flight = Flight(lambda _flight, _requests: True, timeout_s=9, hangs_after_s=60)
    flight.send([FlightRequest(number, None, None) for number in range(2)])
    flight._moved_at -= waited_s
    landed = flight.collect(timeout_s=0)
    assert [each.answer.kind for each in landed] == [ErrorKind.DOUBTFUL] * (2 if hangs else 0)
    assert flight.under_way == (0 if hangs else 2)
    # What lands after that was settled as in doubt.
    flight._landed.put([Landed(0, "late", 0.1)])
    assert flight.collect(timeout_s=0) == ([] if hangs else [Landed(0, "late", 0.1)])


def test_only_a_flight_that_is_under_way_is_cancelled():
    called = []
    loop = SimpleNamespace(is_closed=lambda: False, call_soon_threadsafe=called.append)
    flight = Flight(lambda _flight, _requests: True, timeout_s=9, hangs_after_s=60)
    flight.close()
    flight._loop = loop
    flight.close()
    assert called == []
    flight.send([FlightRequest(0, None, None)])
    flight.close()
    assert len(called) == 1
    loop.is_closed = lambda: True
    flight.close()
    flight._loop = None
    flight.close()
    assert len(called) == 1


def test_what_cannot_start_lands_as_not_sent():
    flight = Flight(lambda _flight, _requests: False, timeout_s=9, hangs_after_s=60)
    flight.send([FlightRequest(7, None, None)])
    (landed,) = flight.collect(timeout_s=1)
    assert (landed.number, landed.answer.kind, landed.took_s) == (7, ErrorKind.UNREACHABLE, 0)
