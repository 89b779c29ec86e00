"""Reads rates, times and zones as people write them on the command line."""

import re
from datetime import UTC, datetime, timedelta, tzinfo
from typing import TYPE_CHECKING, Final

from dispatcher.errors import UsageProblem, WrongValue

if TYPE_CHECKING:
    from dispatcher.campaigns.timing import Timing

_RATE: Final = re.compile(
    r"\s*(\d+(?:\.\d+)?)\s*(?:/\s*(s|sec|second|m|min|minute|h|hour))?\s*", re.ASCII | re.IGNORECASE
)
_AGO: Final = re.compile(
    r"\s*(\d{1,9})\s*(d|days?|h|hours?|m|min|minutes?|w|weeks?)\s*", re.ASCII | re.IGNORECASE
)
_SECONDS_AGO: Final = {"w": 604_800, "d": 86_400, "h": 3600, "m": 60}
_SLOWEST: Final = 1 / 3600
_FASTEST: Final = 1_000_000.0
#: Seconds of a unit, by its first letter.
_SECONDS: Final = {"s": 1, "m": 60, "h": 3600}


def parse_rate(text: str) -> float:
    """Messages per second from `100/s`, `6000/min` or `50000/h`; a bare number is per second.

    Raises UsageProblem below one an hour and above a million a second.
    """
    match = _RATE.fullmatch(text)
    rate = float(match[1]) / _SECONDS[(match[2] or "s")[0].lower()] if match else 0.0
    if not _SLOWEST <= rate <= _FASTEST:
        raise WrongValue(
            f"--rate {text!r} is not a valid rate",
            "write 100/s, 6000/min or 50000/h; at least 1/h, at most 1000000/s",
        )
    return rate


def parse_time(option: str, text: str, zone: tzinfo) -> datetime:
    """An ISO 8601 time as an aware UTC datetime; a time without an offset is in `zone`.

    A time that the clocks skip becomes the first one after the gap; if it comes twice, the first
    counts. Raises UsageProblem.
    """
    from dispatcher.windows.wall_clock import first_instant

    try:
        at = datetime.fromisoformat(text.strip())
        if at.tzinfo is None:
            return datetime.fromtimestamp(first_instant(at, zone), UTC)
        return at.astimezone(UTC)
    except (ValueError, OverflowError):
        raise WrongValue(
            f"{option} {text!r} is not a valid time",
            "write 2026-12-24T09:00, or with an offset 2026-12-24T09:00+05:30",
        ) from None


def parse_since(text: str, zone: tzinfo, now: datetime) -> datetime:
    """The begin of `--since`: `7d`, `12h` or `30min` before `now`, or a time as `parse_time`.

    Raises UsageProblem.
    """
    match = _AGO.fullmatch(text)
    if match is None:
        if not any(char in text for char in "-:"):
            raise WrongValue(
                f"--since {text!r} is not a valid time", "write 7d, 12h, 30min or 2026-12-24T09:00"
            )
        return parse_time("--since", text, zone)
    try:
        return now - timedelta(seconds=int(match[1]) * _SECONDS_AGO[match[2][0].lower()])
    except OverflowError:
        raise WrongValue(
            f"--since {text!r} is longer ago than the calendar reaches", "write 365d"
        ) from None


def parse_age(option: str, text: str) -> timedelta:
    """An age such as `90d`, `12w` or `36h`. Raises UsageProblem."""
    match = _AGO.fullmatch(text)
    try:
        if match is not None:
            return timedelta(seconds=int(match[1]) * _SECONDS_AGO[match[2][0].lower()])
    except OverflowError:
        pass
    raise WrongValue(f"{option} {text!r} is not an age", "write 90d, 12w or 36h")


def parse_named_zone(text: str) -> tzinfo:
    """The zone of `--timezone`: an IANA name or an offset. Raises UsageProblem."""
    from dispatcher.windows.zone_guesses import guess_zones
    from dispatcher.windows.zone_names import FixedOffsetError, ZoneError, parse_given_zone

    try:
        return parse_given_zone(text)
    except FixedOffsetError as error:
        what = str(error).partition("; write ")[0]
        raise WrongValue(f"--timezone {what}", f"write {error.meant}") from None
    except ZoneError as error:
        near = guess_zones(text)
        guess = f"did you mean {near}? " if near is not None else ""
        hint = f"{guess}write an IANA name, an offset, or `recipient` for each recipient's zone"
        what = str(error).partition("; write ")[0]
        raise WrongValue(f"--timezone {what}", hint) from None


def check_windows(timing: "Timing") -> None:
    """Raise UsageProblem for a window or a blackout that is not valid."""
    from dispatcher.windows.syntax import WindowError, parse_blackouts, parse_windows

    try:
        parse_windows(timing.windows)
    except WindowError as error:
        raise _option_problem("--window", error, "write mon-fri 09:00-18:00") from None
    try:
        parse_blackouts(timing.blackouts)
    except WindowError as error:
        raise _option_problem(
            "--blackout", error, "write 2026-12-25, or 2026-12-24..2026-12-26"
        ) from None


def _option_problem(option: str, error: Exception, hint: str) -> UsageProblem:
    """The error of an option; what its message says to write becomes the hint."""
    what, found, advice = str(error).rpartition("; write ")
    return (
        WrongValue(f"{option} {what}", f"write {advice}")
        if found
        else WrongValue(f"{option} {error}", hint)
    )
