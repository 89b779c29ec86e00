"""When requests may start by the rates they pay, and which are too late to leave.

GCRA (ITU-T I.371) over what the store has on record: it is the one authority for every rate, for
submissions and for requests that only read.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from math import inf
from typing import Final, NamedTuple, Self

#: A request begins at most this long before its start, so that a slow commit does not make the
#: start late. What has begun leaves even after a pause, and is in doubt after a kill.
LEAD_S: Final = 0.25
#: What a request may take beyond its time-out: connecting, and storing the answer.
DEADLINE_SLACK_S: Final = 15.0
#: Lateness that counts as on time: timers and a busy event loop cause this much.
ON_TIME_S: Final = 0.02
#: Jitter of the lateness on a machine that is always late.
_JITTER_S: Final = 0.005
#: Requests that follow each other faster than this are spread a little more, so that lateness that
#: counts as on time puts no more of them into a second than the rate allows.
_FINE_S: Final = 0.1
_FINE_SPACING: Final = 1.015
#: The rounding error of a sum of times.
ROUNDING_S: Final = 1e-6
#: A rate that was not used for this long gives no more room for lateness.
_MOST_SLACK_S: Final = 1.0


class Starts(NamedTuple):
    """Starts that were given, and until when each rate is paid by them; seconds from now."""

    at_s: list[float]
    paid_s: list[float]
    #: How late the requests may be, since the rates were not used before.
    slack_s: float

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


def plan_starts(
    spacings: Sequence[Sequence[float]],
    paid_s: Sequence[float],
    *,
    earliest_s: float,
    late_s: float = 0.0,
) -> Starts:
    """Give requests their starts, in order, as far as those are near: see `LEAD_S`.

    `spacings` has for each request what it pays of each rate, in seconds; `paid_s` says for each
    rate for how many seconds from now it is paid (negative: since when it was not used). No start
    is earlier than in `earliest_s` seconds, which a commit takes. `late_s`: how much later than on
    record the requests before leave. Without rates all may start at once.
    """
    if not paid_s:
        return Starts([0.0] * len(spacings), [], 0.0)
    slack_s = min(_MOST_SLACK_S, max(0.0, -max(paid_s)))
    paid = [seconds + late_s for seconds in paid_s]
    at_s: list[float] = []
    for costs in spacings:
        start = max(earliest_s, *paid)
        if start > max(LEAD_S, 2 * earliest_s) + ROUNDING_S:
            break
        at_s.append(start)
        paid = [start + cost for cost in costs]
    return Starts(at_s, paid if at_s else list(paid_s), slack_s)


class LatenessGuard:
    """Decides whether a late request may still leave, so that lateness does not pass the rate.

    A request may leave up to one interval late; that puts at most one extra message into any
    second. A later one is held back once. If its successor is as late, the process is slow rather
    than catching up, and both may leave. After a stall, a request that is less late than the one
    before waits until the missed starts have passed. One guard serves one account in one process.
    Not thread-safe: one event loop asks.
    """

    def __init__(self) -> None:
        #: When the last late request left, and how late it was; reset by a request that is on time.
        self._left_at, self._lateness = -inf, 0.0
        self._has_refused = False

    def may_leave(self, due: float, interval_s: float, slack_s: float, now: float) -> bool:
        """Whether a request whose start was at `due` may leave now.

        The next one is `interval_s` later; `slack_s` is lateness that no rate would notice.
        """
        late_s, on_time_s = now - due, max(interval_s, ON_TIME_S) + slack_s
        tolerated_s = max(ON_TIME_S - interval_s, _JITTER_S) + slack_s
        if late_s < self._lateness - tolerated_s and due < self._left_at:
            return False
        if late_s > self._lateness + on_time_s and not self._has_refused:
            self._has_refused = True
            return False
        self._has_refused = False
        if late_s > on_time_s:
            self._left_at, self._lateness = now, late_s
        else:
            self._lateness = 0.0
        return True
