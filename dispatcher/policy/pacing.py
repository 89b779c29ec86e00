"""When a batch may start by its rates, and which requests are too late for their start.

GCRA (ITU-T I.371) over the time up to which the store has the rates paid. The first batch to begin
gets the next free start.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from math import inf
from typing import Final, Self

#: A batch begins this long before its start, so that a slow commit does not delay the start. Not
#: longer: a begun batch is sent even after a pause, and is in doubt after a kill.
LEAD_S: Final = 0.25
#: It may begin this much sooner still: the clocks of Redis and the store differ a little, and a
#: second try costs more.
_SLACK_S: Final = 0.25
#: The time from the decision to its commit; a start is never promised sooner than that.
COMMIT_S: Final = 0.05
#: What a request may take beyond its timeout, for connecting and for storing the answer.
DEADLINE_SLACK_S: Final = 15.0
#: Lateness that counts as on time: timers and a busy event loop cause this much.
_IN_TIME_S: Final = 0.02
#: Jitter of the lateness on a constantly overloaded machine.
_JITTER_S: Final = 0.005


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


def seconds_to_start(paid_for_s: float) -> float | None:
    """Seconds until a batch that begins now may start; None if it is too early to begin.

    `paid_for_s`: seconds until the rates are free again, negative if they already are, -inf if
    there are none.
    """
    if paid_for_s == -inf:
        return 0.0
    if paid_for_s > LEAD_S + _SLACK_S:
        return None
    return max(paid_for_s, COMMIT_S)


class LatenessGuard:
    """Keeps the late requests of one account and process from exceeding the rate (catch-up).

    A request may leave up to one interval late; that puts at most one extra message into any
    second. A later one is held back once. If its successor is as late, the process is slow rather
    than catching up, and both may leave. After a stall, a request that is less late than the one
    before waits until the missed starts have passed. Not thread-safe: for one event loop.
    """

    def __init__(self) -> None:
        #: When the last late request left, and how late it was; 0 after one that was on time.
        self._left_at, self._lateness = -inf, 0.0
        self._has_refused = False

    def allows(self, due: float, spacing_s: float, now: float) -> bool:
        """Whether a request that was to start at `due` may leave now; all times in seconds.

        `spacing_s` is the interval to the next request's start.
        """
        late_s, in_time_s = now - due, max(spacing_s, _IN_TIME_S)
        catches_up = late_s < self._lateness - max(_IN_TIME_S - spacing_s, _JITTER_S)
        if catches_up and due < self._left_at:
            return False
        if late_s > self._lateness + in_time_s and not self._has_refused:
            self._has_refused = True
            return False
        self._has_refused = False
        if late_s > in_time_s:
            self._left_at, self._lateness = now, late_s
        else:
            self._lateness = 0.0
        return True
