"""The pace of each account in this process: when its begun requests leave.

The store gives the starts. This process knows how late it keeps them.
"""

import threading
from collections import defaultdict
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Final

from dispatcher.outbound.departure import Departure, boottime_s
from dispatcher.policy.pacing import LEAD_S, LatenessGuard, Starts

#: A request whose first byte is later than this after its start is not sent. The clock counts
#: the time that the machine is suspended.
_FIRST_BYTE_S: Final = 1.0
#: How much of the usual time of a commit stays, when a new one is measured.
_REMEMBERED: Final = 0.8
#: A start is promised no sooner than this many usual commits from now.
_COMMITS_AHEAD: Final = 1.5


class AccountPace:
    """Departures of one account. Any thread may plan them; the event loop alone asks the guard."""

    def __init__(self) -> None:
        self._guard = LatenessGuard()
        self._commit_s = 0.01
        #: How much later than on record the last requests leave, by a commit that was late.
        self.late_s = 0.0

    @property
    def commit_s(self) -> float:
        """How long a commit usually takes, with a reserve: no start is promised before."""
        return _COMMITS_AHEAD * self._commit_s

    def note_commit(self, took_s: float) -> None:
        """Note how long a commit took, from the decision to its end."""
        self._commit_s = _REMEMBERED * self._commit_s + (1 - _REMEMBERED) * min(took_s, 1.0)

    def plan_departures(
        self, starts: Starts, intervals_s: Sequence[float] | None, *, now_at: float, closes: float
    ) -> Iterator[Departure]:
        """When each begun request may leave; `now_at` and `closes` are read on `boottime_s()`.

        `intervals_s` are the seconds from each start to the next one; None without a rate. A late
        commit delays all requests alike, and also the next ones of this process.
        """
        if intervals_s is None:
            deadline = now_at + _FIRST_BYTE_S
            for _ in starts.at_s:
                yield Departure(begin_deadline=deadline, not_after=closes)
            return
        late_s = max(0.0, boottime_s() - now_at - starts.at_s[0])
        self.late_s = min(late_s, LEAD_S)
        for start_s, interval_s in zip(starts.at_s, intervals_s, strict=True):
            due = now_at + start_s + late_s
            yield Departure(
                not_before=due,
                begin_deadline=now_at + start_s + _FIRST_BYTE_S,
                not_after=closes,
                may_leave=partial(self._guard.may_leave, due, interval_s, starts.slack_s),
            )


class Paces:
    """The pace of every account."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._paces = defaultdict[str, AccountPace](AccountPace)

    def of(self, account: str) -> AccountPace:
        """The pace of an account."""
        with self._lock:
            return self._paces[account]
