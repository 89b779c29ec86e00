"""Every change of offset that the IANA database foresees, found without the code under test."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from functools import cache
from importlib.resources import files

from dispatcher.windows.zone_names import parse_zone

HOUR = timedelta(hours=1)
#: No clock changes twice in so short a time.
_STEP = timedelta(days=7)


@dataclass(frozen=True)
class Change:
    """Clocks of `zone` go from `old_reading` to `new_reading` at the instant `at`."""

    zone: tzinfo
    at: datetime
    old_reading: datetime
    new_reading: datetime

    @property
    def is_fold(self):
        return self.new_reading < self.old_reading


def every_zone():
    """All names of the database."""
    return [name for name in _listed() if name != "Factory"]


@cache
def changes(*, years):
    """The changes of all zones from this year on, each once that differs in instant or offset."""
    start = datetime(datetime.now(UTC).year, 1, 1, tzinfo=UTC)
    found = {}
    for name in every_zone():
        zone = parse_zone(name)
        steps = [start + step * _STEP for step in range(years * 365 // _STEP.days + 1)]
        offsets = [step.astimezone(zone).utcoffset() for step in steps]
        for place in range(1, len(steps)):
            old, new = offsets[place - 1], offsets[place]
            if old != new:
                at = _first_with(new, zone, steps[place - 1], steps[place])
                naive = at.replace(tzinfo=None)
                found.setdefault((at, old, new), Change(zone, at, naive + old, naive + new))
    return list(found.values())


def _first_with(offset, zone, before, after):
    while after - before > timedelta(seconds=1):
        middle = before + (after - before) // 2
        if middle.astimezone(zone).utcoffset() == offset:
            after = middle
        else:
            before = middle
    return after.replace(microsecond=0)


def _listed():
    return (files("tzdata") / "zones").read_text(encoding="ascii").split()
