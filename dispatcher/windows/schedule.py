"""When sending is allowed: the intersection of several opening hours, each in its own zone.

A window is open from its first second to the one before its end.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Final, TypedDict

from dispatcher.windows.hours import SECONDS_OF_A_DAY, Hours, TimeSpan, intersect_spans
from dispatcher.windows.zone_names import parse_zone, zone_name

#: How far ahead openings and closings are searched, from now and from each date that is named.
HORIZON: Final = timedelta(days=731)
_LATEST: Final = datetime(9999, 1, 1, tzinfo=UTC)
#: How many computed days a schedule keeps.
_REMEMBERED: Final = 4096


class StoredHours(TypedDict):
    """Windows, blackouts and a zone in JSON, as people write them."""

    windows: list[str]
    blackouts: list[str]
    zone: str


@dataclass(frozen=True, slots=True)
class Schedule:
    """Open when all of its hours are open; always open without hours.

        account = Schedule.parse(["mon-sat 09:00-21:00"], [], ZoneInfo("Asia/Kolkata"))
        campaign = Schedule.parse(["10:00-18:00"], ["2026-12-25"], ZoneInfo("Europe/Paris"))
        account.intersect(campaign).is_open(now)

    Takes aware datetimes, else raises ValueError; returns them in UTC.
    """

    hours: tuple[Hours, ...] = ()
    _days: dict[int, list[TimeSpan]] = field(
        default_factory=dict, init=False, repr=False, compare=False
    )
    _days_of_change: set[int] = field(default_factory=set, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        limiting = dict.fromkeys(hours for hours in self.hours if not hours.is_always_open)
        object.__setattr__(self, "hours", tuple(limiting))
        self._days_of_change.update(*(hours.days_of_change for hours in limiting))

    @classmethod
    def parse(cls, windows: Iterable[str], blackouts: Iterable[str], zone: tzinfo) -> "Schedule":
        """Read windows and blackouts as people write them; no windows means always open.

        Raises WindowError.
        """
        return cls((Hours.parse(windows, blackouts, zone),))

    @classmethod
    def from_json(cls, stored: Sequence[StoredHours]) -> "Schedule":
        """Read what `to_json` returned. Raises WindowError and ZoneError."""
        return cls(
            tuple(
                Hours.parse(each["windows"], each["blackouts"], parse_zone(each["zone"]))
                for each in stored
            )
        )

    def to_json(self) -> list[StoredHours]:
        """The schedule for JSON; windows, blackouts and zones are texts as people write them."""
        return [
            {
                "windows": [str(window) for window in hours.windows],
                "blackouts": [str(blackout) for blackout in hours.blackouts],
                "zone": zone_name(hours.zone),
            }
            for hours in self.hours
        ]

    def intersect(self, other: "Schedule") -> "Schedule":
        """The schedule that is open when both are open, each in its own zones."""
        return Schedule(self.hours + other.hours)

    def in_all_zones(self, zones: Iterable[tzinfo]) -> "Schedule":
        """The same hours, but open only when they are open in every one of `zones`.

        Raises ValueError if `zones` is empty.
        """
        every = tuple(zones)
        if not every:
            raise ValueError("opening hours need a time zone")
        return Schedule(tuple(replace(hours, zone=zone) for hours in self.hours for zone in every))

    def is_open(self, at: datetime) -> bool:
        """Whether sending is allowed at that instant."""
        instant = _as_utc(at).timestamp()
        if not self.hours:
            return True
        return any(start <= instant < end for start, end in self._spans_of_day(_day_of(instant)))

    @property
    def has_dates(self) -> bool:
        """Whether any of its windows names its dates."""
        return any(window.dates for hours in self.hours for window in hours.windows)

    def next_open(self, at: datetime, limit: datetime | None = None) -> datetime | None:
        """The first open instant from `at` on and before `limit`; None if there is none.

        Searches up to HORIZON from `at`, and from each date that windows and blackouts name.
        """
        at, limit = _as_utc(at), _as_utc(limit or _LATEST)
        if at >= limit or self.is_open(at):
            return at if at < limit else None
        instant = at.timestamp()
        for day in self._days_between(instant, limit.timestamp()):
            for start, _end in self._spans_of_day(day):
                if start > instant:
                    return opening if (opening := _as_datetime(start)) < limit else None
        return None

    def closes_at(self, at: datetime) -> datetime | None:
        """When the span that is open at `at` ends; None if later than HORIZON, `at` if closed."""
        at = _as_utc(at)
        if not self.is_open(at):
            return at
        until = at + HORIZON
        _start, end = next(self.open_spans(at, until))
        return end if end < until else None

    def open_spans(self, since: datetime, until: datetime) -> Iterator[tuple[datetime, datetime]]:
        """Yield the open spans in [since, until), in order, as (start, end).

        Stops where nothing opens for HORIZON, unless windows or blackouts name a later date.
        """
        since, until = _as_utc(since), _as_utc(until)
        for start, end in self._merged_spans(since.timestamp(), until.timestamp()):
            yield max(since, _as_datetime(start)), min(until, _as_datetime(end))

    def _merged_spans(self, since: float, until: float) -> Iterator[TimeSpan]:
        """Spans that end after `since` and begin before `until`; neighbours are one span."""
        if since >= until:
            return
        if not self.hours:
            yield int(since), int(until) + 1
            return
        held: TimeSpan | None = None
        for day in self._days_between(since, until):
            for start, end in self._spans_of_day(day):
                if end <= since or start >= until:
                    continue
                if held is not None and held[1] == start:
                    held = (held[0], end)
                    continue
                if held is not None:
                    yield held
                held = (start, end)
            if held is not None and held[1] < (day + 1) * SECONDS_OF_A_DAY:
                yield held
                held = None
        if held is not None:
            yield held

    def _days_between(self, since: float, until: float) -> Iterator[int]:
        """The UTC days to search: up to HORIZON after the last one that had an open span.

        And up to HORIZON from each date on which what is open may change.
        """
        day, last = _day_of(since), _day_of(until)
        for dated in (hours.day_range for hours in self.hours):
            if dated is not None:
                day, last = max(day, dated[0]), min(last, dated[1])
        changes = self._days_of_change
        patience = HORIZON.days
        while day <= last:
            begins_anew = day in changes or self._spans_of_day(day)
            patience = HORIZON.days if begins_anew else patience - 1
            if patience:
                yield day
                day += 1
            else:
                day = min((each for each in changes if each > day), default=last + 1)

    def _spans_of_day(self, day: int) -> list[TimeSpan]:
        found = self._days.get(day)
        if found is None:
            begin = day * SECONDS_OF_A_DAY
            found = [(begin, begin + SECONDS_OF_A_DAY)]
            for hours in self.hours:
                found = intersect_spans(found, hours.open_on(day))
                if not found:
                    break
            if len(self._days) >= _REMEMBERED:
                self._days.clear()
            self._days[day] = found
        return found


#: Open at any time.
ALWAYS: Final = Schedule()


def _as_utc(at: datetime) -> datetime:
    if at.utcoffset() is None:
        raise ValueError("a schedule needs times with a time zone, not a time without zone")
    return at.astimezone(UTC)


def _day_of(instant: float) -> int:
    return int(instant // SECONDS_OF_A_DAY)


def _as_datetime(instant: int) -> datetime:
    return datetime.fromtimestamp(instant, UTC)
