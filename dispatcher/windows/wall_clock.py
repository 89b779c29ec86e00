"""When a local clock reads a time, through the gaps and folds of daylight saving.

Instants are whole seconds since 1970 UTC. Readings are naive datetimes: what the clock shows.
"""

from datetime import UTC, datetime, tzinfo
from typing import Final

#: No time zone is further from UTC.
_LARGEST_OFFSET_S: Final = 24 * 60 * 60


def first_instant(reading: datetime, zone: tzinfo) -> int:
    """When a clock in `zone` first reads `reading` (PEP 495: fold 0).

    If the clock skips the reading, the end of the gap.
    """
    early = reading.replace(tzinfo=zone)
    before, after = int(early.timestamp()), int(early.replace(fold=1).timestamp())
    return before if before <= after else find_change(after, before, zone)


def spans_reading(first: datetime, end: datetime, zone: tzinfo) -> list[tuple[int, int]]:
    """The spans of instants at which a clock in `zone` reads a time in [first, end), in order.

    Two spans if the clock is set back across `first` or `end`: between them it reads times outside.
    No span if the clock skips them all. Assumes at most one change of the clock from a day before
    `first` to a day after `end`.
    """
    since, until = _as_if_utc(first), _as_if_utc(end)
    earliest, latest = since - _LARGEST_OFFSET_S, until + _LARGEST_OFFSET_S
    old_offset, new_offset = offset_s(earliest, zone), offset_s(latest, zone)
    if old_offset == new_offset:
        return [(since - old_offset, until - old_offset)]
    change = find_change(earliest, latest, zone)
    spans = [
        (since - old_offset, min(until - old_offset, change)),
        (max(since - new_offset, change), until - new_offset),
    ]
    return [(start, stop) for start, stop in spans if start < stop]


def find_change(before: int, after: int, zone: tzinfo) -> int:
    """The first instant in (before, after] with another offset than `before`; there is just one."""
    old_offset = offset_s(before, zone)
    while after - before > 1:
        middle = (before + after) // 2
        if offset_s(middle, zone) == old_offset:
            before = middle
        else:
            after = middle
    return after


def _as_if_utc(reading: datetime) -> int:
    return int(reading.replace(tzinfo=UTC).timestamp())


def offset_s(instant: int, zone: tzinfo) -> int:
    """How far the zone is ahead of UTC at that instant, in seconds."""
    offset = datetime.fromtimestamp(instant, zone).utcoffset()
    return round(offset.total_seconds()) if offset is not None else 0
