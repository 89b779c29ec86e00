"""When a batch may start by its rates, and what has become too late for its start.

GCRA (ITU-T I.371) over what the store says is paid; whoever begins first has the next free start.
"""

from math import inf
from typing import Final

#: A batch begins so long before its start that a slow commit does not make the start late. What
#: has begun leaves even after a pause, and is in doubt after a kill, so it is no longer than that.
LEAD_S: Final = 0.25
#: It may also begin this much sooner: clocks of Redis and store drift, and asking again costs.
_SLACK_S: Final = 0.25
#: From the decision to the commit: no start is promised within it, so that it can be kept.
COMMIT_S: Final = 0.05
#: What a request may take beyond its time-out: connecting, and storing the answer.
DEADLINE_SLACK_S: Final = 15.0
#: So late a request is still in time whatever the rate: timers and a busy event loop are that late.
_IN_TIME_S: Final = 0.02
#: By so much the lateness of requests differs on a machine that is always late.
_JITTER_S: Final = 0.005


def seconds_to_start(paid_for_s: float) -> float | None:
    """Seconds until a batch that begins now may start; None where it is too early to begin.

    `free_s`: until everything begun so far is paid; negative since when; -inf without rates.
    """
    if paid_for_s == -inf:
        return 0.0
    if paid_for_s > LEAD_S + _SLACK_S:
        return None
    return max(paid_for_s, COMMIT_S)


class LatenessGuard:
    """Lets the requests of one account out of a process, so that lateness does not pass the rate.

    Requests that leave less than their spacing late are never more than one over the rate in any
    second, whoever else sends. So a later one stays, and gets another start. If the next is as late
    the whole process is: that alone passes no rate, and they leave. Whoever is less late than the
    last one that left, as after a stall, stays until all starts up to then are over.
    Not thread-safe: one event loop asks.
    """

    def __init__(self) -> None:
        #: Of the last one that left late: when, and how late. No lateness once one was in time.
        self._left_at, self._lateness = -inf, 0.0
        self._has_refused = False

    def allows(self, due: float, spacing_s: float, now: float) -> bool:
        """Whether a request whose start was at `due` may leave now; the next is `spacing_s` on."""
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
