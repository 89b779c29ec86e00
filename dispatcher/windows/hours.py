"""Windows and blackouts in one time zone, and the spans of time that they leave open.

A window is open while a local clock reads a time inside it. So an edge that the clock skips moves
to the end of the gap. When an hour comes twice, a window with an edge in it closes while the clock
reads a time outside, and opens again. A date's own windows replace the weekly ones that begin on
that date. A blackout closes its local dates from 00:00 to 24:00, also for a window of the day
before.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from typing import Final

from dispatcher.windows.syntax import (
    MINUTES_OF_A_DAY,
    DateRange,
    Window,
    parse_blackouts,
    parse_windows,
)
from dispatcher.windows.wall_clock import spans_reading

#: Start and end of a span of time, in seconds since 1970 UTC; the end is excluded.
TimeSpan = tuple[int, int]

SECONDS_OF_A_DAY: Final = 24 * 60 * 60
#: UTC days are counted from 1970-01-01, which is day 0.
_DAY_0: Final = date(1970, 1, 1).toordinal()
#: Steps from a UTC day to the local dates that may overlap it. A window over midnight may have
#: begun two dates before, since a zone is up to a day away from UTC.
_LOCAL_DATES: Final = (-2, -1, 0, 1)


@dataclass(frozen=True, slots=True)
class Hours:
    """Opening hours in one zone; without windows open at any time but the blackouts."""

    windows: tuple[Window, ...] = ()
    blackouts: tuple[DateRange, ...] = ()
    zone: tzinfo = UTC

    @classmethod
    def parse(cls, windows: Iterable[str], blackouts: Iterable[str], zone: tzinfo) -> "Hours":
        """Read windows and blackouts as people write them. Raises WindowError."""
        return cls(parse_windows(windows), parse_blackouts(blackouts), zone)

    @property
    def is_always_open(self) -> bool:
        """Whether there is no closed minute, ever."""
        if self.blackouts:
            return False
        weekly = [window for window in self.windows if window.dates is None]
        if len(weekly) < len(self.windows):
            return False
        week = 7 * MINUTES_OF_A_DAY
        spans = [
            (start, start + window.end - window.start)
            for window in weekly
            for day in window.weekdays
            for start in (day * MINUTES_OF_A_DAY + window.start,)
        ]
        spans += [(start - week, end - week) for start, end in spans]  # Sunday night
        return not self.windows or any(s <= 0 and e >= week for s, e in merge_spans(spans))

    @property
    def day_range(self) -> tuple[int, int] | None:
        """The first and the last UTC day that can be open; None unless all windows have dates."""
        ranges = [window.dates for window in self.windows if window.dates is not None]
        if not ranges or len(ranges) < len(self.windows):
            return None
        first, last = min(r.first for r in ranges), max(r.last for r in ranges)
        return first.toordinal() - _DAY_0 - 2, last.toordinal() - _DAY_0 + 2

    @property
    def days_of_change(self) -> list[int]:
        """UTC days on which a date's windows begin or end, or a blackout, or shortly before."""
        dated = [window.dates for window in self.windows if window.dates is not None]
        dates = [each for span in dated for each in (span.first, span.last)]
        return [
            each.toordinal() - _DAY_0 - 2
            for each in [*dates, *(blackout.last for blackout in self.blackouts)]
        ]

    def open_on(self, day: int) -> list[TimeSpan]:
        """The open spans of a UTC day (1970-01-01 is 0), cut to that day, in order."""
        begin = day * SECONDS_OF_A_DAY
        whole = [(begin, begin + SECONDS_OF_A_DAY)]
        dates = [date.fromordinal(_DAY_0 + day + step) for step in _LOCAL_DATES]
        opened = whole
        if self.windows:
            opened = intersect_spans(
                whole, merge_spans(s for each in dates for s in self._windows_begun_on(each))
            )
        closed = [
            span
            for each in dates
            if any(each in blackout for blackout in self.blackouts)
            for span in self._spans_of(each, 0, MINUTES_OF_A_DAY)
        ]
        return subtract_spans(opened, merge_spans(closed)) if closed else opened

    def _windows_begun_on(self, day: date) -> Iterator[TimeSpan]:
        own = [window for window in self.windows if window.dates and day in window.dates]
        weekday = day.weekday()
        for window in own or [w for w in self.windows if weekday in w.weekdays]:
            yield from self._spans_of(day, window.start, window.end)

    def _spans_of(self, day: date, start: int, end: int) -> list[TimeSpan]:
        """When a clock reads the minutes from `start` to `end` of a local date."""
        midnight = datetime.combine(day, time())
        first, last = midnight + timedelta(minutes=start), midnight + timedelta(minutes=end)
        return spans_reading(first, last, self.zone)


def merge_spans(spans: Iterable[TimeSpan]) -> list[TimeSpan]:
    """The same time as spans that neither overlap nor touch, in order."""
    result: list[TimeSpan] = []
    for start, end in sorted(spans):
        if result and start <= result[-1][1]:
            result[-1] = (result[-1][0], max(end, result[-1][1]))
        else:
            result.append((start, end))
    return result


def intersect_spans(some: Sequence[TimeSpan], others: Sequence[TimeSpan]) -> list[TimeSpan]:
    """The time in both lists; each is in order and without overlaps."""
    return [
        (start, end)
        for a, b in some
        for c, d in others
        if (start := max(a, c)) < (end := min(b, d))
    ]


def subtract_spans(opened: Sequence[TimeSpan], closed: Sequence[TimeSpan]) -> list[TimeSpan]:
    edges = [edge for span in closed for edge in span]
    ends = [opened[0][0], *edges, opened[-1][1]] if opened else []
    gaps = [(a, b) for a, b in zip(ends[::2], ends[1::2], strict=True) if a < b]
    return intersect_spans(opened, gaps)
