"""Where readings of a local clock fall in time, through the gaps and folds of daylight saving.

Instants are whole seconds since 1970 UTC; readings are naive datetimes.
"""

from datetime import datetime, timedelta, tzinfo
from typing import Final

_MINUTE: Final = timedelta(minutes=1)


def first_instant(reading: datetime, zone: tzinfo) -> int:
    """When a clock in `zone` first reads `reading` (PEP 495: fold 0).

    A reading that the clock skips is taken as the first one after the gap.
    """
    early, late = _both_instants(reading, zone)
    return early if early <= late else _end_of_gap(late, early, zone)


def end_instant(reading: datetime, zone: tzinfo) -> int:
    """The end of the last minute before `reading`: where a span that excludes `reading` ends.

    Where the clock reads that minute twice, its second time counts (fold 1); where it skips it, the
    span ends at the gap.
    """
    early, late = _both_instants(reading - _MINUTE, zone)
    return late + 60 if early <= late else _end_of_gap(late, early, zone)


def _both_instants(reading: datetime, zone: tzinfo) -> tuple[int, int]:
    """By the offset before a transition, and by the one after it; equal far from one."""
    early = reading.replace(tzinfo=zone)
    return int(early.timestamp()), int(early.replace(fold=1).timestamp())


def _end_of_gap(before: int, after: int, zone: tzinfo) -> int:
    """The first second of the later offset, which lies in (before, after]."""
    old = datetime.fromtimestamp(before, zone).utcoffset()
    while after - before > 1:
        middle = (before + after) // 2
        if datetime.fromtimestamp(middle, zone).utcoffset() == old:
            before = middle
        else:
            after = middle
    return after
