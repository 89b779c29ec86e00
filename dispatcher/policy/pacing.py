"""When requests may start by the rates they pay, and which are too late to leave.

GCRA (ITU-T I.371) over what the store has on record: it is the one authority for every rate, for
submissions and for requests that only read.
"""

from bisect import insort
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import chain, takewhile
from math import inf
from typing import Final, NamedTuple, Self

#: A request begins at most this long before its start, so that a slow commit does not make the
#: start late. What has begun leaves even after a pause, and is in doubt after a kill.
LEAD_S: Final = 0.25
#: Where commits are slow, starts are given earlier: twice a commit before, and at most so long.
MOST_LEAD_S: Final = 2.0
#: What a request may take beyond its time-out: connecting, and storing the answer.
DEADLINE_SLACK_S: Final = 15.0
#: A request whose first byte is later than this after its start is not sent.
FIRST_BYTE_S: Final = 1.0
#: What a process lets leave that was alone when it began is over so long after that.
LATE_ALONE_S: Final = LEAD_S + FIRST_BYTE_S
#: A process that the others do not know begins so long after it could be known: then nothing
#: that is late comes into a second with its own, whose clock may have been read late.
JOINING_S: Final = LATE_ALONE_S + 1.0 + 0.05
#: Lateness that counts as on time: timers and a busy event loop cause this much.
ON_TIME_S: Final = 0.005
#: How often a request that waits asks again: new starts may make room for it.
_ASK_AGAIN_S: Final = 0.02
#: Late requests follow each other at so many times their rate.
_CATCH_UP: Final = 2.0
#: Where they pay less than this, they would be a crowd, whose members wait for each other on their
#: way and come into one second with more that are on time than the rate allows: they leave slower,
#: and as many may leave together as the rate allows in so many seconds.
_CROWD_S: Final = 0.02
_CATCH_UP_OF_CROWD: Final = 1.25
_BURST_S: Final = 0.005
#: One that has not asked for so long was withdrawn.
_SILENT_S: Final = 0.1
#: Requests that follow each other faster than this are spread a little more, so that lateness that
#: counts as on time puts no more of them into a second than the rate allows.
_FINE_S: Final = 0.1
_FINE_SPACING: Final = 1.015
#: The rounding error of a sum of times.
ROUNDING_S: Final = 1e-6
#: Rates are per second.
_WINDOW_S: Final = 1.0


class Starts(NamedTuple):
    """Starts that were given, and until when each rate is paid, after and before; all from now.

    `is_shared`: another process may be given the next ones, after `late_s` that are paid as well.
    """

    at_s: list[float]
    paid_s: list[float]
    paid_before_s: Sequence[float] = ()
    is_shared: bool = False
    late_s: float = 0.0

    def pay_for_lateness(self, late_s: float) -> "Starts":
        """Let them leave so much later beside others: for so long nobody has a start after them."""
        return self._replace(paid_s=[each + late_s for each in self.paid_s], late_s=late_s)

    @property
    def next_s(self) -> float:
        """Seconds until the next free start."""
        return max(self.paid_s, default=0.0)


@dataclass(frozen=True, slots=True)
class ClockReading:
    """The store's time `now`, read between two instants of this process's own clock (seconds).

    The answer may be late, so it was `now` at some instant from `asked_at` to `answered_at`. Starts
    are counted from the later one and ends from the earlier one: neither then comes too soon or too
    late.
    """

    now: datetime
    asked_at: float
    answered_at: float

    @classmethod
    def take(cls, store_clock: Callable[[], datetime], own_clock: Callable[[], float]) -> Self:
        """Read the store's clock, and this process's before and after it."""
        asked_at = own_clock()
        now = store_clock()
        return cls(now, asked_at, own_clock())

    def locate_end(self, end: datetime) -> float:
        """When `end` is reached by this process's clock; never too late."""
        return self.asked_at + (end - self.now).total_seconds()


def spacing_s(cost: float, per_second: float) -> float:
    """Seconds from a request that costs so much of a rate until the next one may start."""
    exact = cost / per_second
    return exact * _FINE_SPACING if exact < _FINE_S else exact


def shared_lateness_s(spacing: float) -> float:
    """How late a request may leave where other processes have starts too, by what it pays.

    The next starts may be theirs, and what is late comes on top of them. So late, all of them
    together put at most one request more into a second than the rate allows.
    """
    return spacing + (_FINE_SPACING - 1 if spacing < _FINE_S * _FINE_SPACING else 0.0)


def lead_s(commit_s: float) -> float:
    """How long before its start a request may begin, where a commit usually takes so long."""
    return min(max(LEAD_S, 2 * commit_s), MOST_LEAD_S)


def plan_starts(
    spacings: Sequence[Sequence[float]],
    paid_s: Sequence[float],
    *,
    commit_s: float,
    earliest_s: float = 0.0,
) -> Starts:
    """Give requests their starts, in order, as far as those are near: see `LEAD_S`.

    `spacings` has for each request what it pays of each rate, in seconds; `paid_s` says for each
    rate for how many seconds from now it is paid (negative: since when it was not used). A commit
    takes `commit_s`: where the rate was not used, the first requests leave late by that, which
    `RateWindow` allows, unless none is earlier than in `earliest_s` seconds. Without rates all may
    start at once.
    """
    if not paid_s:
        return Starts([0.0] * len(spacings), [])
    paid = list(paid_s)
    at_s: list[float] = []
    for costs in spacings:
        start = max(earliest_s, *paid)
        if start > lead_s(commit_s) + ROUNDING_S:
            break
        at_s.append(start)
        paid = [start + cost for cost in costs]
    return Starts(at_s, paid if at_s else list(paid_s), paid_s)


class _Departed(NamedTuple):
    at: float
    amount_s: float


class _Given(NamedTuple):
    """A start: its time, what it pays, and for how long before it nobody had one."""

    at: float
    amount_s: float
    unused_s: float


class RateWindow:
    """What one process lets leave of one rate: in any second no more than it may start in it.

    That is the starts which it was given in that second, and the time before them that nobody used.
    So a late request leaves as soon as it fits, and processes together never pass the rate, however
    late each of them is. Amounts are seconds of the rate.
    """

    def __init__(self) -> None:
        #: Starts to come, in order.
        self._coming: list[_Given] = []
        #: Of the second before the time that was asked for last.
        self._given: deque[_Given] = deque()
        self._left: deque[_Departed] = deque()
        self._given_s = self._left_s = 0.0
        self._given_until = -inf
        #: When the next one may leave that is late.
        self._next_at = -inf

    @property
    def is_empty(self) -> bool:
        """Whether nothing of it is remembered."""
        return not (self._coming or self._given or self._left)

    def add_start(self, at: float, amount_s: float, unused_s: float) -> None:
        """Note a start that this process was given, and how long before it nobody had one."""
        insort(self._coming, _Given(at, amount_s, min(max(0.0, unused_s), _WINDOW_S)))

    def find_time(self, at: float, amount_s: float) -> float:
        """From when on, `at` or later, so much may leave. Advance the window to `at` before."""
        at = max(at, self._next_at)
        given_s, left_s = self._given_s, self._left_s
        given, coming = iter(self._given), iter(self._coming)
        oldest, newest = next(given, None), next(coming, None)
        for departed in chain(self._left, [None]):
            if departed is not None and departed.at <= at - _WINDOW_S:
                left_s -= departed.amount_s
                continue
            while newest is not None and newest.at <= at:
                given_s += newest.amount_s + newest.unused_s
                newest = next(coming, None)
            while oldest is not None and oldest.at <= at - _WINDOW_S:
                given_s -= oldest.amount_s + oldest.unused_s
                oldest = next(given, None)
            # Of the unused time before the oldest start, a part may lie before the second.
            before_s = 0.0 if oldest is None else oldest.unused_s - (oldest.at - at + _WINDOW_S)
            if departed is None or left_s + amount_s <= given_s - max(0.0, before_s) + ROUNDING_S:
                break
            at = max(at, departed.at + _WINDOW_S)
            left_s -= departed.amount_s
        return at

    def add_departure(self, at: float, amount_s: float) -> None:
        """Note that so much leaves at a time that `find_time` has found, the last one so far."""
        self._left.append(_Departed(at, amount_s))
        self._left_s += amount_s
        faster = _CATCH_UP_OF_CROWD if amount_s < _CROWD_S else _CATCH_UP
        self._next_at = max(self._next_at, at - _BURST_S) + amount_s / faster

    def advance_to(self, at: float) -> None:
        """Forget what is over by then: nothing before `at` will be asked any more."""
        while self._coming and self._coming[0].at <= at:
            start, amount_s, unused_s = self._coming.pop(0)
            if self._given_until - LEAD_S < start < self._given_until - ROUNDING_S:
                # The store's clock was read a little late: what is given never overlaps.
                insort(self._coming, _Given(self._given_until, amount_s, 0.0))
                continue
            given = _Given(start, amount_s, max(0.0, min(unused_s, start - self._given_until)))
            self._given_until = start + amount_s
            self._given.append(given)
            self._given_s += given.amount_s + given.unused_s
        while self._given and self._given[0].at <= at - _WINDOW_S:
            given = self._given.popleft()
            self._given_s -= given.amount_s + given.unused_s
        while self._left and self._left[0].at <= at - _WINDOW_S:
            self._left_s -= self._left.popleft().amount_s


class PlannedDeparture:
    """A request that has a start at `due`, and what it pays of each rate."""

    def __init__(self, due: float, pays: Mapping[RateWindow, float]) -> None:
        self.due = due
        self.pays = pays
        self.has_left = False
        #: While it waits: when it will ask again.
        self.asks_at = -inf


class DepartureQueue:
    """When requests of one account leave, in one process.

    A request that is on time leaves. A late one leaves when the windows of its rates have room for
    it and for those that wait already; late ones follow each other at twice their rate at most. Not
    thread-safe.
    """

    def __init__(self) -> None:
        #: In the order in which they began to wait; the values mean nothing.
        self._waiting: dict[PlannedDeparture, None] = {}
        self._asked_at = -inf

    def wait_s(self, request: PlannedDeparture, now: float, latest: float) -> float:
        """Seconds after which the request has to ask again; 0: it leaves; inf: not by `latest`."""
        if request.has_left:
            return 0.0
        if now > latest:
            self._waiting.pop(request, None)
            return inf
        if self._waiting:
            heard = (one for one in self._waiting if now < one.asks_at + _SILENT_S)
            self._waiting = dict.fromkeys(heard)
        asked_at = now if now - request.due > ON_TIME_S else request.due
        self._asked_at = max(asked_at, self._asked_at)
        at = self._find_time(request, self._asked_at)
        if at <= now:
            self._let_leave(request, at)
            return 0.0
        request.asks_at = now + min(at - now, _ASK_AGAIN_S)
        if request.asks_at > latest:
            self._waiting.pop(request, None)
            return inf
        self._waiting.setdefault(request)
        return request.asks_at - now

    def _find_time(self, request: PlannedDeparture, at: float) -> float:
        """When all its windows have room, for those too that wait before it."""
        for window in request.pays:
            window.advance_to(at)
        found = -inf
        while found < at:
            found = at
            for window, amount_s in request.pays.items():
                ahead = takewhile(lambda one: one is not request, self._waiting)
                ahead_s = sum(one.pays.get(window, 0.0) for one in ahead)
                at = window.find_time(at, ahead_s + amount_s)
        return at

    def _let_leave(self, request: PlannedDeparture, at: float) -> None:
        self._waiting.pop(request, None)
        request.has_left = True
        for window, amount_s in request.pays.items():
            window.add_departure(at, amount_s)
