"""Gates: may a campaign's batch leave now, and until when.

Account windows (law, contract; those of the kind in place of the account's) and campaign windows
are always intersected; an expiry closes for good.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import Any
from zoneinfo import ZoneInfo

import orjson

from dispatcher.errors import Refused
from dispatcher.providers.base import ProviderSettings
from dispatcher.schedule import Gate
from dispatcher.status import Kind
from dispatcher.windows import Schedule
from dispatcher.zones import zones_of_key


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """A campaign that is not stored yet, as far as gates look at it."""

    kind: Kind
    schedule: str | None
    start_at: datetime | None
    expire_at: datetime | None
    schedule_at: datetime | None = None


def gate(settings: ProviderSettings, campaign: Any, zone: str | None, now: datetime) -> Gate:
    """The gate of a campaign's batch whose recipients are in `zone` (None: the campaign's).

    `campaign` is its row, or a Wanted.
    """
    if campaign.expire_at is not None and campaign.expire_at <= now:
        return Gate(is_open=False)
    if campaign.start_at is not None and campaign.start_at > now:
        return Gate(is_open=False)
    allowed = schedule_of(settings, campaign, zone)
    if campaign.schedule_at is not None and campaign.schedule_at > now:
        # The provider sends it then: asking it to is not sending.
        return Gate(is_open=allowed.is_open(campaign.schedule_at), until=campaign.schedule_at)
    if not allowed.is_open(now):
        return Gate(is_open=False)
    ends = [at for at in (allowed.closes_at(now), campaign.expire_at) if at is not None]
    return Gate(is_open=True, until=min(ends, default=None))


def schedule_of(settings: ProviderSettings, campaign: Any, zone: str | None) -> Schedule:
    """When a campaign may send to recipients in `zone`."""
    windows = settings.windows_for(Kind(campaign.kind))
    return _schedule(windows, settings.timezone, campaign.schedule, zone)


def check_opens(
    settings: ProviderSettings, wanted: "Wanted", zones: Iterable[str | None], now: datetime
) -> None:
    """Raises Refused, with the reason, where the windows open in no zone before the expiry."""
    since = max(now, wanted.start_at) if wanted.start_at is not None else now
    if wanted.schedule_at is not None:
        _check_scheduled(settings, wanted, wanted.schedule_at, now)
        return
    for zone in zones:
        if schedule_of(settings, wanted, zone).next_open(since, wanted.expire_at) is not None:
            return
    before = f" before {wanted.expire_at:%Y-%m-%d %H:%M} UTC" if wanted.expire_at else ""
    own = settings.windows_for(wanted.kind)
    law = f" (the account allows {', '.join(own)}, {settings.timezone})" if own else ""
    raise Refused(
        f"the windows never open{before}{law}",
        "give other windows, a later --expire-at, or leave --window out",
    )


def _check_scheduled(
    settings: ProviderSettings, wanted: Wanted, at: datetime, now: datetime
) -> None:
    if at <= now:
        raise Refused("--schedule-at-provider lies in the past", "give a later time")
    if not schedule_of(settings, wanted, None).is_open(at):
        raise Refused(
            f"the windows are closed at {at:%Y-%m-%d %H:%M} UTC, when the provider is to send",
            "give --schedule-at-provider a time inside them",
        )


@lru_cache(maxsize=4096)
def _schedule(
    account_windows: tuple[str, ...], account_zone: str, stored: str | None, zone: str | None
) -> Schedule:
    account = Schedule.of(account_windows, (), ZoneInfo(account_zone))
    if stored is None:
        return account
    campaign = Schedule.from_json(orjson.loads(stored))
    if zone is not None:
        campaign = campaign.in_all(zones_of_key(zone))
    return account.intersect(campaign)
