"""A campaign's terms in words, as people are told them: when, how fast, in what order.

What is told is a campaign's row, or a `Wanted` that is not stored yet.
"""

from collections.abc import Iterator
from datetime import datetime
from typing import TYPE_CHECKING, Final
from zoneinfo import ZoneInfo

import orjson

from dispatcher.providers.shared.settings import ProviderSettings
from dispatcher.status import Kind
from dispatcher.windows.hours import Hours
from dispatcher.windows.schedule import Schedule
from dispatcher.windows.zone_names import zone_name

if TYPE_CHECKING:
    from dispatcher.campaigns.gate import CampaignConstraints
    from dispatcher.store.rows import CampaignRow

_ANY_TIME: Final = "at any time"
_NO_LIMIT: Final = "no limit"
_LAW: Final = "the account's"

#: The label of a term, and what it says.
Term = tuple[str, str]


def terms_in_words(
    settings: ProviderSettings, campaign: "CampaignRow | CampaignConstraints", *, by_zone: bool
) -> Iterator[Term]:
    """Windows and rate, and what else was asked for; times are the account's zone's.

    `by_zone`: the windows are those of each recipient's zone.
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
    settings: ProviderSettings, campaign: "CampaignRow | CampaignConstraints", *, by_zone: bool
) -> str:
    """When it may be sent: its own windows, within the account's for its kind."""
    allowed = settings.windows_for(Kind(campaign.kind))
    law = f"{', '.join(allowed)} ({settings.timezone})" if allowed else ""
    own = "; ".join(_in_words(hours, by_zone) for hours in _stored_hours(campaign.schedule))
    if not own:
        return f"{_LAW}: {law}" if law else _ANY_TIME
    return f"{own}, within {_LAW} {law}" if law else own


def limits_in_words(settings: ProviderSettings) -> str:
    """Every rate of an account, and its day's limit."""
    limits = (
        (settings.messages_per_second, "messages/s"),
        (settings.parts_per_second, "parts/s"),
        (settings.requests_per_second, "requests/s"),
        (settings.daily_limit, "messages a day"),
    )
    given = [f"{value:.15g} {unit}" for value, unit in limits if value is not None]
    return ", ".join(given) or _NO_LIMIT


def hours_in_words(settings: ProviderSettings) -> str:
    """When an account may send, and for which kinds at other times."""
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
    """`100 messages/s`, `100 messages/min`: by the unit in which it is a whole number."""
    for seconds, unit in ((1, "s"), (60, "min"), (3600, "h")):
        count = per_second * seconds
        if round(count) and abs(count - round(count)) < 1e-6 * count:
            return f"{round(count)} message{'' if round(count) == 1 else 's'}/{unit}"
    return f"{per_second:.3g} messages/s"


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
    """`2026-12-24 09:00 Asia/Kolkata`; with its seconds where it has any."""
    local = at.astimezone(zone)
    shown = local.strftime("%Y-%m-%d %H:%M:%S" if local.second else "%Y-%m-%d %H:%M")
    return f"{shown} {zone.key}"


def _stored_hours(schedule: str | None) -> tuple[Hours, ...]:
    return Schedule.from_json(orjson.loads(schedule)).hours if schedule else ()


def _in_words(hours: Hours, by_zone: bool) -> str:
    windows = ", ".join(map(str, hours.windows)) or _ANY_TIME
    closed = f", not on {', '.join(map(str, hours.blackouts))}" if hours.blackouts else ""
    where = "each recipient's zone" if by_zone else zone_name(hours.zone)
    return f"{windows}{closed} ({where})"


def _rates_in_words(settings: ProviderSettings, own: float | None) -> str:
    law = limits_in_words(settings)
    if own is None:
        return law if law == _NO_LIMIT else f"{_LAW}: {law}"
    return rate_in_words(own) if law == _NO_LIMIT else f"{rate_in_words(own)}, within {_LAW} {law}"
