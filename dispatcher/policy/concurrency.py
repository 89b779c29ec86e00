"""How many requests of an account are under way at a time, where nobody has set it.

Little's law: a rate needs as many requests in flight as it allows in the time that each of them
holds its slot. Without a rate the number grows while that helps, as TCP's window does, and
shrinks when the provider throttles or slows down.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import Final

from dispatcher.policy.pacing import LEAD_S

#: Before anything is known of a provider.
START: Final = 4.0
#: Where a request carries one recipient, and where it carries many.
MOST_SINGLE: Final = 64
MOST_BULK: Final = 8
#: Where a rate asks for them, and each carries one recipient. While one batch waits for its last
#: answers the other has only its own half of the slots, which has to be nearly enough.
MOST_FOR_RATE: Final = 128
#: Room for answers that take longer than the middle one.
_HEADROOM: Final = 1.5
_SPARE: Final = 2.0
#: An answer is slow where it takes this many times the best time, and this much longer.
_SLOW_TIMES, _SLOW_S = 2.0, 0.05
#: How fast the best time is forgotten, in case a provider becomes slower for good.
_FORGET: Final = 1.02


@dataclass(frozen=True, slots=True, kw_only=True)
class Observation:
    """What one turn of an account's requests has shown."""

    answer_times_s: Sequence[float]
    #: How much longer a request holds its slot: the commits of its begin and its answer.
    commits_s: float
    is_throttled: bool
    #: Whether requests waited for a free slot.
    was_full: bool
    #: Most requests a second that the rates allow; None without a rate.
    requests_per_second: float | None
    #: Whether a request carries one recipient.
    is_single: bool


@dataclass(frozen=True, slots=True)
class Concurrency:
    """The present number, and the best answer time seen lately, in seconds."""

    limit: float = START
    best_s: float | None = None

    @property
    def requests(self) -> int:
        """How many may be under way."""
        return max(1, int(self.limit))


def next_concurrency(known: Concurrency, seen: Observation) -> Concurrency:
    """What the number is after a turn."""
    if seen.is_throttled:
        return Concurrency(max(1.0, known.limit / 2), known.best_s)
    if not seen.answer_times_s:
        return known
    typical_s = median(seen.answer_times_s)
    best_s = typical_s if known.best_s is None else min(known.best_s * _FORGET, typical_s)
    limit = known.limit
    if typical_s > best_s * _SLOW_TIMES + _SLOW_S:
        limit = max(min(START, limit), limit * 0.9)
    elif seen.was_full:
        limit = min(limit * 2, limit + len(seen.answer_times_s))
    most: float = MOST_SINGLE if seen.is_single else MOST_BULK
    if seen.requests_per_second is not None:
        held_s = (typical_s + seen.commits_s) * _HEADROOM + LEAD_S / 2
        most = MOST_FOR_RATE if seen.is_single else most
        most = min(most, max(START, seen.requests_per_second * held_s + _SPARE))
        if seen.was_full and limit >= known.limit:
            limit = most
    return Concurrency(min(limit, most), best_s)
