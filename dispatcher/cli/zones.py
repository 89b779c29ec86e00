"""The one zone in which a command shows its times, and times in it."""

import re
from collections.abc import Callable, Iterable
from datetime import datetime, tzinfo
from typing import TYPE_CHECKING, Final

import click

from dispatcher.cli.context import settings_from
from dispatcher.errors import DispatcherError

if TYPE_CHECKING:
    from dispatcher.config.settings import Settings

_UTC_TIME: Final = re.compile(r"\b\d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC\b")


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


def local_times(words: str, accounts: Iterable[str] | None = None) -> str:
    """A sentence with its times, which are in UTC, in the zone of `accounts`, by default of all."""
    ctx = click.get_current_context(silent=True)
    if ctx is None or not _UTC_TIME.search(words):
        return words
    try:
        settings = settings_from(ctx)
    except DispatcherError:  # an error about the configuration itself
        return words
    zone = shown_zone(settings, settings.accounts if accounts is None else accounts, None)
    show_time = named_time_shower(zone)
    return _UTC_TIME.sub(
        lambda match: show_time(datetime.fromisoformat(match[0].removesuffix(" UTC") + "Z")), words
    )


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
