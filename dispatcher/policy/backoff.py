"""How long to wait before the next attempt. Callers pass the source of randomness."""

import math
from collections.abc import Callable
from datetime import timedelta
from typing import Final

#: The longest `Retry-After` of a provider that is obeyed.
MAX_RETRY_AFTER_S: Final = 86_400.0
#: The longest wait between two scans of a provider's list.
_LONGEST_PAUSE_S: Final = 3600.0
#: After so long without a readable list, a person decides.
UNREAD_FOR: Final = timedelta(days=1)


def full_jitter(
    attempt: int, *, base_s: float = 1.0, cap_s: float = 300.0, random: Callable[[], float]
) -> float:
    """A random wait in seconds after failure number `attempt` (from 1), up to a doubling bound.

    "Full jitter" of the AWS Architecture Blog, "Exponential Backoff And Jitter": spread evenly over
    [0, min(cap_s, base_s * 2**(attempt - 1))), so that workers that failed together do not retry
    together. `random` returns values in [0, 1). Raises ValueError for an attempt below 1.
    """
    if attempt < 1:
        raise ValueError(f"attempts are counted from 1, not {attempt}")
    doublings = min(attempt - 1, 60)  # the cap is reached long before a float overflows
    return random() * min(cap_s, base_s * 2.0**doublings)


def retry_delay(attempt: int, retry_after_s: float | None, random: Callable[[], float]) -> float:
    """Seconds until the next attempt: full jitter, but never before the provider's `Retry-After`.

    `retry_after_s` (RFC 9110, 10.2.3) is untrusted: NaN and negative values are ignored, larger
    ones are cut to MAX_RETRY_AFTER_S.
    """
    delay = full_jitter(attempt, random=random)
    if retry_after_s is None or math.isnan(retry_after_s):
        return delay
    return max(delay, min(retry_after_s, MAX_RETRY_AFTER_S))


def next_try_delay_s(doubted_for_s: float, first_s: float) -> float | None:
    """Seconds until the list is tried again that could not be read; None: a person has to look.

    `doubted_for_s`: for how long the request has been in doubt. The pauses grow by half each time.
    """
    if doubted_for_s > UNREAD_FOR.total_seconds():
        return None
    return min(_LONGEST_PAUSE_S, max(first_s, doubted_for_s / 2))


def next_scan_delay_s(scans: int, first_s: float) -> float:
    """Seconds until the next scan after `scans` of them: doubling from `first_s`."""
    return min(_LONGEST_PAUSE_S, first_s * 2.0 ** max(0, scans - 1))
