"""The pace of each account in this process: when its begun requests leave.

The store gives the starts. This process knows what left of them, and how late.
"""

import threading
from collections import defaultdict
from collections.abc import Hashable, Iterator, Sequence
from functools import partial
from math import inf
from typing import Final

from sqlalchemy import Connection

from dispatcher.outbound.departure import Departure
from dispatcher.outbound.presence import Presence
from dispatcher.policy.pacing import (
    FIRST_BYTE_S,
    JOINING_S,
    LATE_ALONE_S,
    LEAD_S,
    MOST_LEAD_S,
    ClockReading,
    DepartureQueue,
    PlannedDeparture,
    RateWindow,
    Starts,
    plan_starts,
    shared_lateness_s,
)

#: How much of the usual time of a commit or a begin stays, when a new one is measured.
_REMEMBERED: Final = 0.8
#: What clocks that are read late explain.
_CLOCKS_S: Final = 0.05
#: Where requests began and none left for so long, the machine is too slow for the usual lateness.
_STUCK_S: Final = MOST_LEAD_S + FIRST_BYTE_S
#: Beside them a start is promised no sooner than this many usual commits from now.
_COMMITS_AHEAD: Final = 1.5
#: Windows of campaigns with rates of their own that are kept although nothing leaves.
_MOST_WINDOWS: Final = 50


class AccountPace:
    """Departures of one account. Any thread may plan them; the event loop lets them leave."""

    def __init__(self, presence: Presence) -> None:
        self._presence = presence
        self._lock = threading.Lock()
        self._queue = DepartureQueue()
        #: By rate: one of the account's, or a campaign's own.
        self._windows: dict[Hashable, RateWindow] = {}
        #: Until when each rate is paid by this process.
        self._paid_until: dict[Hashable, float] = {}
        #: When the first request began of those after the last that left.
        self._begun_at = inf
        #: How long a commit usually takes.
        self.commit_s = 0.01
        #: How long it usually takes to begin a group of requests, with waiting for the store.
        self.begin_s = 0.02

    def note_commit(self, took_s: float) -> None:
        """Note how long a commit took, from the decision to its end."""
        self.commit_s = _REMEMBERED * self.commit_s + (1 - _REMEMBERED) * min(took_s, 1.0)

    def note_begin(self, took_s: float) -> None:
        """Note how long it took to begin a group, from the wish to its end."""
        self.begin_s = _REMEMBERED * self.begin_s + (1 - _REMEMBERED) * min(took_s, 1.0)

    def find_starts(
        self,
        conn: Connection,
        reading: ClockReading,
        rates: Sequence[Hashable],
        spacings: Sequence[Sequence[float]],
        paid_s: Sequence[float],
    ) -> Starts:
        """The next starts of requests, as `plan_starts`; behind the locks of their rates.

        None while another process uses the rates and may not know of this one yet. Beside others
        no start is before its commit ends: what is late then cannot leave. Where nothing has left
        for long, the time in which it may leave late is paid, too.
        """
        if not rates:
            return plan_starts(spacings, paid_s, commit_s=self.commit_s)
        is_shared = self._presence.has_peers(conn, reading.now)
        unknown_s = self._presence.unknown_s(reading.answered_at)
        if unknown_s > 0 and self._are_used_by_others(rates, paid_s, reading.answered_at):
            return Starts([], [unknown_s + LEAD_S], paid_s)
        starts = plan_starts(
            spacings,
            paid_s,
            commit_s=self.commit_s,
            earliest_s=_COMMITS_AHEAD * self.commit_s if is_shared else 0.0,
        )
        starts = starts._replace(is_shared=is_shared)
        is_stuck = reading.answered_at > self._begun_at + _STUCK_S
        return starts.pay_for_lateness(FIRST_BYTE_S) if is_stuck and starts.at_s else starts

    def plan_departures(
        self,
        starts: Starts,
        spacings: Sequence[Sequence[float]],
        rates: Sequence[Hashable],
        *,
        now_at: float,
        closes: float,
    ) -> Iterator[Departure]:
        """When each begun request may leave; `now_at` and `closes` are read on `boottime_s()`.

        `spacings` are what each request pays of each of the `rates`, in seconds.
        """
        if not rates:
            deadline = now_at + FIRST_BYTE_S
            for _ in starts.at_s:
                yield Departure(begin_deadline=deadline, not_after=closes)
            return
        with self._lock:
            windows = self._windows_of(rates)
            self._begun_at = min(self._begun_at, now_at)
            for rate, after_s in zip(rates, starts.paid_s, strict=True):
                self._paid_until[rate] = max(now_at + after_s, self._paid_until.get(rate, 0.0))
            paid_s = starts.paid_before_s
            for start_s, costs in zip(starts.at_s, spacings, strict=True):
                for window, amount_s, paid in zip(windows, costs, paid_s, strict=True):
                    window.add_start(now_at + start_s, amount_s, start_s - paid)
                paid_s = [start_s + amount_s for amount_s in costs]
        late_until = -inf if starts.is_shared else now_at + LATE_ALONE_S
        for start_s, costs in zip(starts.at_s, spacings, strict=True):
            due = now_at + start_s
            planned = PlannedDeparture(due, dict(zip(windows, costs, strict=True)))
            yield Departure(
                not_before=due,
                begin_deadline=due + FIRST_BYTE_S,
                not_after=closes,
                hold_s=partial(self._hold_s, planned, max(late_until, due + starts.late_s)),
            )

    def _are_used_by_others(
        self, rates: Sequence[Hashable], paid_s: Sequence[float], now_at: float
    ) -> bool:
        """Whether another process has paid since this one did, or lately if it never did."""
        with self._lock:
            return any(
                now_at + each_s > self._paid_until.get(rate, now_at - JOINING_S) + _CLOCKS_S
                for rate, each_s in zip(rates, paid_s, strict=True)
            )

    def _hold_s(
        self, request: PlannedDeparture, late_until: float, now: float, latest: float
    ) -> float:
        late_s = shared_lateness_s(min(request.pays.values()))
        with self._lock:
            wait_s = self._queue.wait_s(
                request, now, min(latest, max(late_until, request.due + late_s))
            )
            if not wait_s:
                self._begun_at = inf
            return wait_s

    def _windows_of(self, rates: Sequence[Hashable]) -> list[RateWindow]:
        """The windows of these rates. Where there are many, forget those of which nothing is left.

        Never one of these: what it was given before counts with what it is given now.
        """
        if len(self._windows) >= _MOST_WINDOWS:
            known = self._windows.items()
            self._windows = {key: one for key, one in known if key in rates or not one.is_empty}
            self._paid_until = {key: self._paid_until[key] for key in self._windows}
        return [self._windows.setdefault(rate, RateWindow()) for rate in rates]


class Paces:
    """The pace of every account."""

    def __init__(self, presence: Presence) -> None:
        self._lock = threading.Lock()
        self._paces = defaultdict[str, AccountPace](partial(AccountPace, presence))

    def of(self, account: str) -> AccountPace:
        """The pace of an account."""
        with self._lock:
            return self._paces[account]
