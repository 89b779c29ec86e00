"""Requests that only read: when they may be made, and what they pay."""

import threading
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from types import SimpleNamespace

import pytest

from dispatcher.errors import ErrorKind, ProviderError
from dispatcher.outbound.departure import AT_ONCE, NotBegun, Unanswered
from dispatcher.store import accounts
from dispatcher.store.engine import store_now
from dispatcher.store.tables import ACCOUNT
from dispatcher.types import HttpRequest, HttpResponse
from tests.support.presence import known_worker
from tests.support.stores import add_account, change, settings
from tests.support.turns import Stand
from workers.http.pace import Paces
from workers.http.reads import Reader, _is_held

REQUEST = HttpRequest(method="GET", url="http://127.0.0.1:9")
ANSWER = HttpResponse(status=200, body=b"{}")


class FakeRuntime:
    """Answers or withdraws requests; notes how each was to leave."""

    def __init__(self):
        self.departures, self._withdrawn, self._then = [], 0, int
        self._error = NotBegun("too late")

    def withdraw(self, count, then=int, error=None):
        """Withdraw the first requests, or let them end so; call `then` each time."""
        self._withdrawn, self._then = count, then
        self._error = error or self._error

    def send_request(self, request, *, timeout_s, departure):
        self.departures.append(departure)
        if len(self.departures) <= self._withdrawn:
            self._then()
            raise self._error
        return ANSWER


class Reads:
    """A reader over a store whose account `main` has this rate and waits so many seconds."""

    def __init__(self, store, *, rate=None, waits_s=None, paid_s=None):
        self.store, self.runtime = store, FakeRuntime()
        self.stopping = threading.Event()
        add_account(store)
        with store.write() as conn:
            self.now = store_now(conn)
            for column, seconds in (("not_before", waits_s), ("requests_paid_until", paid_s)):
                if seconds is not None:
                    at = self.now + timedelta(seconds=seconds)
                    change(conn, ACCOUNT, ACCOUNT.c.name == "main", **{column: at})
        given = SimpleNamespace(account=lambda _name: settings(requests_per_second=rate))
        self.reader = Reader(given, store, self.runtime, Paces(known_worker()), self.stopping)

    def send(self, **values):
        return self.reader.send("main", REQUEST, **values)

    @property
    def account(self):
        with self.store.read() as conn:
            return accounts.find_account(conn, "main")


@pytest.mark.parametrize("rate", [None, 1000])
@pytest.mark.parametrize(
    ("waits_s", "is_probe", "is_made"),
    [(None, False, True), (-5, False, True), (60, False, False), (60, True, True)],
)
def test_while_the_account_waits_only_probes_are_made(
    sqlite_store, rate, waits_s, is_probe, is_made
):
    reads = Reads(sqlite_store, rate=rate, waits_s=waits_s)
    assert reads.send(is_probe=is_probe) == (ANSWER if is_made else None)
    assert len(reads.runtime.departures) == is_made


@pytest.mark.parametrize(("waits_s", "is_held"), [(None, False), (0, False), (0.001, True)])
def test_an_account_is_held_up_to_its_instant(waits_s, is_held):
    now = datetime(2030, 5, 6, tzinfo=UTC)
    assert (
        _is_held(waits_s if waits_s is None else now + timedelta(seconds=waits_s), now) is is_held
    )


class Waits(threading.Event):
    """Remembers for how long it was waited for."""

    def __init__(self):
        super().__init__()
        self.seen_s = []

    def wait(self, timeout=None):
        self.seen_s.append(timeout)
        return super().wait(timeout)


def test_it_waits_for_its_start_without_asking_all_the_time(sqlite_store):
    reads = Reads(sqlite_store, rate=10, paid_s=0.9)
    reads.reader._stopping = waits = Waits()
    assert reads.send() is ANSWER
    assert 0 < sum(waits.seen_s) < 0.9


def test_without_a_rate_a_request_leaves_immediately_and_pays_nothing(sqlite_store):
    reads = Reads(sqlite_store)
    assert reads.send() is ANSWER
    assert reads.runtime.departures == [AT_ONCE]
    assert reads.account.requests_paid_until is None


def test_each_request_pays_the_accounts_rate_and_leaves_at_its_start(sqlite_store):
    reads = Reads(sqlite_store, rate=20)
    assert [reads.send() for _ in range(3)] == [ANSWER] * 3
    first, second, third = (departure.not_before for departure in reads.runtime.departures)
    assert second - first >= 0.05 - 1e-3
    assert third - second >= 0.05 - 1e-3
    paid_s = (reads.account.requests_paid_until - reads.now).total_seconds()
    assert paid_s >= 0.15 - 1e-3
    assert reads.account.messages_paid_until is None


@pytest.mark.parametrize(("rate", "requests"), [(10, 2), (20, 3), (5, 1)])
def test_submissions_and_requests_that_read_share_one_rate(sqlite_store, rate, requests):
    """Hole 2: each paid a record of its own, and together they passed the rate."""
    stand = Stand(sqlite_store, (1,) * requests, requests_per_second=rate)
    given = SimpleNamespace(account=lambda _name: stand.limits)
    runtime = FakeRuntime()
    reader = Reader(given, sqlite_store, runtime, stand.services.paces, threading.Event())
    reader.send("main", REQUEST)
    stand.run()
    reader.send("main", REQUEST)
    reads = [departure.not_before for departure in runtime.departures]
    starts = sorted([*reads, *stand.starts])
    assert len(starts) == requests + 2
    assert min(later - at for at, later in pairwise(starts)) >= 1 / rate - 1e-3


def test_a_start_that_is_soon_is_waited_for(sqlite_store):
    reads = Reads(sqlite_store, rate=0.5, paid_s=0.4)
    assert reads.send() is ANSWER
    (departure,) = reads.runtime.departures
    assert departure.hold_s(departure.not_before, departure.begin_deadline) == 0


def test_a_start_that_is_far_away_is_not_waited_for_and_not_paid(sqlite_store):
    reads = Reads(sqlite_store, rate=0.05, paid_s=15)
    before = reads.account.requests_paid_until
    assert reads.send() is None
    assert reads.runtime.departures == []
    assert reads.account.requests_paid_until == before


def test_a_process_that_ends_waits_for_no_start(sqlite_store):
    reads = Reads(sqlite_store, rate=10)
    reads.stopping.set()
    assert reads.send() is None
    assert reads.account.requests_paid_until is None


def test_an_account_that_the_store_does_not_know_has_no_starts(sqlite_store):
    reads = Reads(sqlite_store, rate=10)
    assert reads.reader.send("unknown", REQUEST) is None
    assert Reads(sqlite_store).reader.send("unknown", REQUEST) is ANSWER


@pytest.mark.parametrize(("withdrawn", "answer", "starts"), [(4, ANSWER, 5), (5, None, 5)])
def test_a_request_that_missed_its_start_gets_others_up_to_a_limit(
    sqlite_store, withdrawn, answer, starts
):
    reads = Reads(sqlite_store)
    reads.runtime.withdraw(withdrawn)
    assert reads.send() is answer
    assert len(reads.runtime.departures) == starts


def test_a_request_that_was_withdrawn_because_the_process_ends_is_given_up(sqlite_store):
    reads = Reads(sqlite_store)
    reads.runtime.withdraw(1, then=reads.stopping.set)
    assert reads.send() is None
    assert len(reads.runtime.departures) == 1


@pytest.mark.parametrize(("broken", "requests"), [(1, 2), (2, 2)])
def test_a_request_whose_kept_connection_broke_is_made_and_paid_once_more(
    sqlite_store, broken, requests
):
    reads = Reads(sqlite_store, rate=10)
    reads.runtime.withdraw(broken, error=Unanswered("closed the connection without an answer"))
    if broken < requests:
        assert reads.send() is ANSWER
    else:
        with pytest.raises(Unanswered):
            reads.send()
    first, second = [departure.not_before for departure in reads.runtime.departures]
    assert second - first >= 0.1 - 1e-3
    paid_s = (reads.account.requests_paid_until - reads.now).total_seconds()
    assert paid_s >= 0.2 - 1e-3


def test_an_error_of_the_transport_is_told_and_nothing_is_asked_again(sqlite_store):
    reads = Reads(sqlite_store)
    away = ProviderError(ErrorKind.UNREACHABLE, "away")
    reads.runtime.withdraw(1, error=away)
    with pytest.raises(ProviderError) as caught:
        reads.send()
    assert caught.value is away
    assert len(reads.runtime.departures) == 1


@pytest.mark.parametrize(
    ("kind", "waits"), [(ErrorKind.THROTTLED, True), (ErrorKind.UNREACHABLE, False)]
)
def test_a_request_too_many_makes_the_whole_account_wait(sqlite_store, kind, waits):
    reads = Reads(sqlite_store)
    reads.reader.note_error("main", ProviderError(kind, "slow down", retry_after_s=30))
    until = reads.account.not_before
    assert (until is not None) is waits
    assert until is None or until >= reads.now + timedelta(seconds=30)
    assert (reads.send() is None) is waits
