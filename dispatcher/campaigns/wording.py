"""A campaign's terms in words: when, how fast and in what order it is sent.

`campaign` is a stored row, or `CampaignConstraints` of one that is not stored yet.
"""

from collections.abc import Iterator
from datetime import datetime
from typing import TYPE_CHECKING, Final
from zoneinfo import ZoneInfo

import orjson

from dispatcher.policy.batching import REQUEST_S
from dispatcher.status import Kind
from dispatcher.windows.hours import Hours
from dispatcher.windows.schedule import Schedule
from dispatcher.windows.zone_names import zone_name

if TYPE_CHECKING:
    from dispatcher.campaigns.constraints import CampaignConstraints
    from dispatcher.providers.shared.settings import ProviderSettings
    from dispatcher.store.rows import CampaignRow

_ANY_TIME: Final = "at any time"
_NO_LIMIT: Final = "no limit"
_WITHIN: Final = ", within the account's "

#: A label, and the words for it.
Term = tuple[str, str]


def terms_in_words(
    settings: "ProviderSettings", campaign: "CampaignRow | CampaignConstraints", *, by_zone: bool
) -> Iterator[Term]:
    """Windows and rate, then priority, start and expiry if set; times are in the account's zone.

    `by_zone`: the windows are in each recipient's zone.
    """
    here = ZoneInfo(settings.timezone)
    yield "windows", windows_in_words(settings, campaign, by_zone=by_zone)
    yield "rate", _rates_in_words(settings, campaign.rate)
    if campaign.one_off or campaign.kind == Kind.OTP:
        yield "priority", "above all bulk campaigns"
    elif campaign.priority:
        yield "priority", str(campaign.priority)
    if campaign.start_at is not None:
        yield "starts", format_local(campaign.start_at, here)
    if campaign.expire_at is not None:
        yield "expires", format_local(campaign.expire_at, here)


def windows_in_words(
    settings: "ProviderSettings", campaign: "CampaignRow | CampaignConstraints", *, by_zone: bool
) -> str:
    """When it may be sent: its own windows, within the account's for its kind of campaign."""
    allowed = settings.windows_for(Kind(campaign.kind))
    outer = f"{', '.join(allowed)} ({settings.timezone})" if allowed else ""
    own = "; ".join(_in_words(hours, by_zone) for hours in _stored_hours(campaign.schedule))
    if not own:
        return f"{outer}, set by the account" if outer else _ANY_TIME
    return f"{own}{_WITHIN}{outer}" if outer else own


def limits_in_words(settings: "ProviderSettings") -> str:
    """The rates of an account, and its daily limit."""
    limits = (
        (settings.messages_per_second, "messages/s"),
        (settings.parts_per_second, "parts/s"),
        (settings.requests_per_second, "requests/s"),
        (settings.daily_limit, "messages a day"),
    )
    given = [f"{value:.15g} {unit}" for value, unit in limits if value is not None]
    return ", ".join(given) or _NO_LIMIT


def hours_in_words(settings: "ProviderSettings") -> str:
    """When an account may send, with the kinds of campaigns that have their own windows."""
    kinds = [
        f"{kind} {', '.join(windows) or _ANY_TIME}"
        for kind, windows in settings.kind_windows.items()
    ]
    own = ", ".join(settings.windows) or _ANY_TIME
    zone = (
        f" ({settings.timezone})" if settings.windows or any(settings.kind_windows.values()) else ""
    )
    return "; ".join([own, *kinds]) + zone


def rate_in_words(per_second: float) -> str:
    """`100 messages/s` or `100 messages/min`, in the unit that gives a whole number."""
    for seconds, unit in ((1, "s"), (60, "min"), (3600, "h")):
        count = per_second * seconds
        if round(count) and abs(count - round(count)) < 1e-6 * count:
            return f"{round(count)} message{'' if round(count) == 1 else 's'}/{unit}"
    return f"{per_second:.3g} messages/s"


def burst_in_words(settings: "ProviderSettings", own_rate: float | None, size: int) -> str | None:
    """The note that a request of `size` recipients carries much more than the rates allow at once.

    None where it is worth ten seconds or less, as it is unless the account sets `max_recipients`.
    """
    rates = [rate for rate in (own_rate, settings.messages_per_second) if rate is not None]
    if not rates or size / min(rates) <= max(REQUEST_S, 1 / min(rates)):
        return None
    worth_s = size / min(rates)
    worth = f"{worth_s:.0f} seconds'" if worth_s < 120 else f"{worth_s / 60:.0f} minutes'"
    return (
        f"each request sends {size} messages at once: {worth} worth at "
        f"{rate_in_words(min(rates))}. Lower the account's `max_recipients`, or leave it out, to "
        "spread them out"
    )


def past_dates(campaign: "CampaignRow | CampaignConstraints", now: datetime) -> list[str]:
    """Its blackouts, and its windows of dates, that are over and say nothing any more."""
    past = []
    for hours in _stored_hours(campaign.schedule):
        today = now.astimezone(hours.zone).date()
        dated = [window.dates for window in hours.windows if window.dates is not None]
        past += [f"blackout {each}" for each in hours.blackouts if each.last < today]
        past += [f"window of {each}" for each in dated if each.last < today]
    return past


def format_local(at: datetime, zone: ZoneInfo) -> str:
    """`2026-12-24 09:00 Asia/Kolkata`; seconds are shown unless they are zero."""
    local = at.astimezone(zone)
    shown = local.strftime("%Y-%m-%d %H:%M:%S" if local.second else "%Y-%m-%d %H:%M")
    return f"{shown} {zone.key}"


def format_day(at: datetime, zone: ZoneInfo) -> str:
    """A time with its day of the week: `Thu 2026-12-24 09:00 Asia/Kolkata`."""
    return f"{at.astimezone(zone):%a} {format_local(at, zone)}"


def _stored_hours(schedule: str | None) -> tuple[Hours, ...]:
    return Schedule.from_json(orjson.loads(schedule)).hours if schedule else ()


def _in_words(hours: Hours, by_zone: bool) -> str:
    windows = ", ".join(map(str, hours.windows)) or _ANY_TIME
    closed = f", not on {', '.join(map(str, hours.blackouts))}" if hours.blackouts else ""
    where = "each recipient's zone" if by_zone else zone_name(hours.zone)
    return f"{windows}{closed} ({where})"


def _rates_in_words(settings: "ProviderSettings", own: float | None) -> str:
    limits = limits_in_words(settings)
    if own is None:
        return limits if limits == _NO_LIMIT else f"{limits} (account limit)"
    return rate_in_words(own) + ("" if limits == _NO_LIMIT else f"{_WITHIN}{limits}")


def iso_time(at: datetime | None) -> str | None:
    """A moment in JSON and CSV, in UTC: `2030-05-06T12:00:00.000Z`."""
    return None if at is None else at.isoformat(timespec="milliseconds").replace("+00:00", "Z")
