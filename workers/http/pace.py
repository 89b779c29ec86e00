"""The pace of each account in this process: when its begun requests leave.

The store gives the starts. This process knows what left of them, and how late.
"""

import threading
from collections import defaultdict
from collections.abc import Hashable, Iterator, Sequence
from functools import partial
from typing import Final

from dispatcher.outbound.departure import Departure, boottime_s
from dispatcher.policy.pacing import (
    DepartureQueue,
    PlannedDeparture,
    RateWindow,
    Starts,
    shared_lateness_s,
)

#: A request whose first byte is later than this after its start is not sent. The clock counts the
#: time that the machine is suspended.
_FIRST_BYTE_S: Final = 1.0
#: How much of the usual time of a commit or a begin stays, when a new one is measured.
_REMEMBERED: Final = 0.8
#: For how long another process is remembered, and what clocks that are read late explain.
_SHARED_S: Final = 2.0
_CLOCKS_S: Final = 0.05
#: What others were given so long ago can no longer be in the same second as what leaves now.
_RECENT_S: Final = 1.0
#: Beside them a start is promised no sooner than this many usual commits from now.
_COMMITS_AHEAD: Final = 1.5
#: Windows of campaigns with rates of their own that are kept although nothing leaves.
_MOST_WINDOWS: Final = 50


class AccountPace:
    """Departures of one account. Any thread may plan them; the event loop lets them leave."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._queue = DepartureQueue()
        #: By rate: one of the account's, or a campaign's own.
        self._windows: dict[Hashable, RateWindow] = {}
        #: Until when each rate is paid by this process, and until when another one may use them.
        self._paid_until: dict[Hashable, float] = {}
        self._shared_until = 0.0
        #: How long a commit usually takes.
        self.commit_s = 0.01
        #: How long it usually takes to begin a group of requests, with waiting for the store.
        self.begin_s = 0.02

    @property
    def earliest_s(self) -> float:
        """In how many seconds a start may be: beside other processes not before its commit ends."""
        return _COMMITS_AHEAD * self.commit_s if boottime_s() < self._shared_until else 0.0

    def note_commit(self, took_s: float) -> None:
        """Note how long a commit took, from the decision to its end."""
        self.commit_s = _REMEMBERED * self.commit_s + (1 - _REMEMBERED) * min(took_s, 1.0)

    def note_begin(self, took_s: float) -> None:
        """Note how long it took to begin a group, from the wish to its end."""
        self.begin_s = _REMEMBERED * self.begin_s + (1 - _REMEMBERED) * min(took_s, 1.0)

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
            deadline = now_at + _FIRST_BYTE_S
            for _ in starts.at_s:
                yield Departure(begin_deadline=deadline, not_after=closes)
            return
        with self._lock:
            windows = [self._window_of(rate) for rate in rates]
            self._note_others(rates, starts, now_at)
            paid_s = starts.paid_before_s
            for start_s, costs in zip(starts.at_s, spacings, strict=True):
                for window, amount_s, paid in zip(windows, costs, paid_s, strict=True):
                    window.add_start(now_at + start_s, amount_s, start_s - paid)
                paid_s = [start_s + amount_s for amount_s in costs]
        for start_s, costs in zip(starts.at_s, spacings, strict=True):
            due = now_at + start_s
            planned = PlannedDeparture(due, dict(zip(windows, costs, strict=True)))
            yield Departure(
                not_before=due,
                begin_deadline=due + _FIRST_BYTE_S,
                not_after=closes,
                hold_s=partial(self._hold_s, planned),
            )

    def _note_others(self, rates: Sequence[Hashable], starts: Starts, now_at: float) -> None:
        """Note whether another process has paid since this one did, or lately if it never did."""
        for rate, before_s, after_s in zip(rates, starts.paid_before_s, starts.paid_s, strict=True):
            if now_at + before_s > self._paid_until.get(rate, now_at - _RECENT_S) + _CLOCKS_S:
                self._shared_until = now_at + _SHARED_S
            self._paid_until[rate] = max(now_at + after_s, self._paid_until.get(rate, 0.0))

    def _hold_s(self, request: PlannedDeparture, now: float, latest: float) -> float:
        with self._lock:
            if now < self._shared_until:
                latest = min(latest, request.due + shared_lateness_s(min(request.pays.values())))
            return self._queue.wait_s(request, now, latest)

    def _window_of(self, rate: Hashable) -> RateWindow:
        if rate not in self._windows and len(self._windows) >= _MOST_WINDOWS:
            self._windows = {key: one for key, one in self._windows.items() if not one.is_empty}
            self._paid_until = {key: self._paid_until[key] for key in self._windows}
        return self._windows.setdefault(rate, RateWindow())


class Paces:
    """The pace of every account."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._paces = defaultdict[str, AccountPace](AccountPace)

    def of(self, account: str) -> AccountPace:
        """The pace of an account."""
        with self._lock:
            return self._paces[account]
