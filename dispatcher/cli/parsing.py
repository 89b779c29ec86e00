"""How people write rates and times on the command line, and what they mean."""

import re
from datetime import UTC, datetime, tzinfo
from typing import TYPE_CHECKING, Final

from dispatcher.errors import UsageProblem

if TYPE_CHECKING:
    from dispatcher.campaigns.timing import Timing

_RATE: Final = re.compile(
    r"\s*(\d+(?:\.\d+)?)\s*(?:/\s*(s|sec|second|m|min|minute|h|hour))?\s*", re.ASCII | re.IGNORECASE
)
_SLOWEST: Final = 1 / 3600
_FASTEST: Final = 1_000_000.0
#: By a unit's first letter.
_SECONDS: Final = {"s": 1, "m": 60, "h": 3600}


def parse_rate(text: str) -> float:
    """`100/s`, `6000/min`, `50000/h` (a bare number is per second) as messages per second."""
    match = _RATE.fullmatch(text)
    rate = float(match[1]) / _SECONDS[(match[2] or "s")[0].lower()] if match else 0.0
    if not _SLOWEST <= rate <= _FASTEST:
        raise UsageProblem(
            f"--rate {text!r} is no rate",
            "write 100/s, 6000/min or 50000/h: at least one an hour, at most a million a second",
        )
    return rate


def parse_time(option: str, text: str, zone: tzinfo) -> datetime:
    """An ISO 8601 time as an aware UTC datetime; without an offset it is the time in `zone`.

    One that the clocks skip is the first after the gap; of one that comes twice, the first counts.
    """
    from dispatcher.windows.wall_clock import first_instant

    try:
        at = datetime.fromisoformat(text.strip())
        if at.tzinfo is None:
            return datetime.fromtimestamp(first_instant(at, zone), UTC)
        return at.astimezone(UTC)
    except (ValueError, OverflowError):
        raise UsageProblem(
            f"{option} {text!r} is no time",
            "write date and time, 2026-12-24T09:00, or with an offset 2026-12-24T09:00+05:30",
        ) from None


def parse_named_zone(text: str) -> tzinfo:
    """An IANA zone or an offset, as `--timezone` has it."""
    from dispatcher.windows.zone_names import ZoneError, nearest_name, parse_zone

    try:
        return parse_zone(text)
    except ZoneError as error:
        near = nearest_name(text)
        guess = f"did you mean {near}? " if near is not None else ""
        hint = f"{guess}an IANA name, an offset, or `recipient` for each recipient's"
        raise UsageProblem(f"--timezone {error}", hint) from None


def check_windows(timing: "Timing") -> None:
    """Raises UsageProblem for what is no window or no blackout."""
    from dispatcher.windows.syntax import WindowError, parse_blackouts, parse_windows

    try:
        parse_windows(timing.windows)
    except WindowError as error:
        raise UsageProblem(f"--window {error}") from None
    try:
        parse_blackouts(timing.blackouts)
    except WindowError as error:
        raise UsageProblem(f"--blackout {error}") from None
