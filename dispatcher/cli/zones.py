"""The one zone in which a command shows its times, and times in it."""

from collections.abc import Callable, Iterable
from datetime import datetime, tzinfo
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dispatcher.config.settings import Settings


def shown_zone(settings: "Settings", accounts: Iterable[str], given: str | None) -> tzinfo:
    """The zone that a person named, else the one that all `accounts` have, else UTC.

    Accounts that are not configured any more do not count. Raises UsageProblem.
    """
    from zoneinfo import ZoneInfo

    from dispatcher.cli.parsing import parse_named_zone

    if given is not None:
        return parse_named_zone(given)
    known = {settings.accounts[name].timezone for name in accounts if name in settings.accounts}
    return ZoneInfo(known.pop() if len(known) == 1 else "UTC")


def time_shower(zone: tzinfo) -> Callable[[datetime], str]:
    """A function that shows a time in `zone` as `2026-12-24 09:00:00`."""

    def show_time(at: datetime) -> str:
        return f"{at.astimezone(zone):%Y-%m-%d %H:%M:%S}"

    return show_time


def named_time_shower(zone: tzinfo) -> Callable[[datetime], str]:
    """A function that shows a time in `zone` with its name: `2026-12-24 09:00:00 Asia/Kolkata`."""
    from dispatcher.windows.zone_names import zone_name

    show_time, name = time_shower(zone), zone_name(zone)
    return lambda at: f"{show_time(at)} {name}"
