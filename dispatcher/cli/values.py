"""How people write rates and times on the command line, and what they mean."""

import re
from datetime import UTC, datetime, tzinfo
from typing import TYPE_CHECKING, Final

from dispatcher.errors import UsageProblem

if TYPE_CHECKING:
    from dispatcher.timing import Timing

_RATE: Final = re.compile(r"\s*(\d+(?:\.\d+)?)\s*(?:/\s*(s|sec|min|m|h|hour))?\s*", re.IGNORECASE)
_SLOWEST: Final = 1 / 3600
_FASTEST: Final = 1_000_000.0
_SECONDS: Final = {"s": 1, "sec": 1, "m": 60, "min": 60, "h": 3600, "hour": 3600}


def parse_rate(text: str) -> float:
    """`100/s`, `6000/min`, `50000/h` (a bare number is per second) as messages per second."""
    match = _RATE.fullmatch(text)
    rate = float(match[1]) / _SECONDS[(match[2] or "s").lower()] if match else 0.0
    if not _SLOWEST <= rate <= _FASTEST:
        raise UsageProblem(
            f"{text!r} is no rate",
            "write 100/s, 6000/min or 50000/h: at least one an hour, at most a million a second",
        )
    return rate


def parse_time(text: str, zone: tzinfo) -> datetime:
    """An ISO 8601 time as an aware UTC datetime; without an offset it is the time in `zone`."""
    try:
        at = datetime.fromisoformat(text.strip())
        if at.tzinfo is None:
            at = at.replace(tzinfo=zone)
        return at.astimezone(UTC)
    except (ValueError, OverflowError):
        raise UsageProblem(
            f"{text!r} is no time",
            "write 2026-12-24T09:00, or with an offset 2026-12-24T09:00+05:30",
        ) from None


def parse_named_zone(text: str) -> tzinfo:
    """An IANA zone or an offset, as `--timezone` has it."""
    from dispatcher.zone_names import ZoneError, parse_zone

    try:
        return parse_zone(text)
    except ZoneError as error:
        raise UsageProblem(str(error), "give an IANA name, an offset, or `recipient`") from None


def check_windows(timing: "Timing") -> None:
    """Raises UsageProblem for what is no window or no blackout."""
    from dispatcher.window_spec import WindowError

    try:
        _ = timing.schedule
    except WindowError as error:
        raise UsageProblem(str(error)) from None
