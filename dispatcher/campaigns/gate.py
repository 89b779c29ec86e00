"""Send permission: may a batch of a campaign be sent now, and until when.

A batch may be sent only while both the account's windows (law, contract) and the campaign's are
open. Windows for the campaign's kind replace the account's. After the expiry it is never sent.
"""

from collections.abc import Iterable
from datetime import datetime
from functools import lru_cache
from typing import Protocol
from zoneinfo import ZoneInfo

import orjson

from dispatcher.campaigns.constraints import CampaignConstraints
from dispatcher.campaigns.wording import format_local, windows_in_words
from dispatcher.errors import TimeRefused
from dispatcher.policy.fair_queue import SendPermission
from dispatcher.providers.shared.settings import ProviderSettings
from dispatcher.status import Kind
from dispatcher.windows.recipient_zones import zones_of_key
from dispatcher.windows.schedule import HORIZON, Schedule


class TimedCampaign(Protocol):
    """What decides when a campaign may be sent: its row has it, and one that is not stored yet."""

    @property
    def kind(self) -> str: ...

    @property
    def schedule(self) -> str | None: ...

    @property
    def start_at(self) -> datetime | None: ...

    @property
    def expire_at(self) -> datetime | None: ...

    @property
    def schedule_at(self) -> datetime | None: ...


class ZonedCampaign(TimedCampaign, Protocol):
    """A stored campaign, with the time zones of its batches."""

    @property
    def zones(self) -> str | None: ...


def send_permission(
    settings: ProviderSettings,
    campaign: TimedCampaign,
    zone: str | None,
    now: datetime,
) -> SendPermission:
    """Whether a batch with recipients in `zone` (None: the campaign's) may be sent now.

    `campaign` is its row, or the constraints of one that is not stored yet.
    """
    if campaign.expire_at is not None and campaign.expire_at <= now:
        return SendPermission(is_open=False)
    if campaign.start_at is not None and campaign.start_at > now:
        return SendPermission(is_open=False)
    allowed = campaign_schedule(settings, campaign, zone)
    at = campaign.schedule_at
    if at is not None and at > now:
        # The provider sends it at that time; our request to it may leave before.
        in_time = campaign.expire_at is None or at < campaign.expire_at
        return SendPermission(is_open=in_time and allowed.is_open(at), until=at)
    if not allowed.is_open(now):
        return SendPermission(is_open=False)
    ends = [at for at in (allowed.closes_at(now), campaign.expire_at) if at is not None]
    return SendPermission(is_open=True, until=min(ends, default=None))


def campaign_schedule(
    settings: ProviderSettings, campaign: TimedCampaign, zone: str | None
) -> Schedule:
    """When a campaign may send to recipients in `zone`."""
    windows = settings.windows_for(Kind(campaign.kind))
    return _combine_schedules(windows, settings.timezone, campaign.schedule, zone)


def windows_open(
    settings: ProviderSettings,
    constraints: CampaignConstraints,
    zone: str | None,
    now: datetime,
    before: datetime | None = None,
) -> bool:
    """Whether the windows ever open for recipients in `zone`, `before` a time if given."""
    allowed = campaign_schedule(settings, constraints, zone)
    if constraints.schedule_at is not None:
        return allowed.is_open(constraints.schedule_at)
    since = max(now, constraints.start_at) if constraints.start_at is not None else now
    return allowed.next_open(since, before) is not None


def check_windows_open(
    settings: ProviderSettings,
    constraints: CampaignConstraints,
    zones: Iterable[str | None],
    now: datetime,
) -> None:
    """Raises Refused, with the reason, if the windows open in no zone before the expiry."""
    at = constraints.schedule_at
    if at is not None and at <= now:
        raise TimeRefused("--schedule-at-provider is in the past", "give a later time")
    if at is not None and constraints.expire_at is not None and at >= constraints.expire_at:
        raise TimeRefused(
            "--schedule-at-provider is not before --expire-at", "give an earlier time"
        )
    judged = tuple(zones)
    here = ZoneInfo(settings.timezone)
    why = windows_in_words(settings, constraints, by_zone=None not in judged)
    if any(
        windows_open(settings, constraints, zone, now, constraints.expire_at) for zone in judged
    ):
        soon = max(now, constraints.start_at or now) + HORIZON
        is_dated = campaign_schedule(settings, constraints, None).has_dates
        if not is_dated and not any(
            windows_open(settings, constraints, zone, now, soon) for zone in judged
        ):
            raise TimeRefused(
                f"the windows never open within two years: {why}",
                "change --window or --blackout; if a later day is meant, name it with --start-at",
            )
        return
    if at is not None:
        raise TimeRefused(
            f"the windows are closed at {format_local(at, here)}, "
            f"when the provider would send it: {why}",
            "give --schedule-at-provider a time inside the windows",
        )
    before = f" before {format_local(constraints.expire_at, here)}" if constraints.expire_at else ""
    raise TimeRefused(
        f"the windows never open{before}: {why}",
        "change --window or --blackout, or give a later --expire-at",
    )


@lru_cache(maxsize=4096)
def _combine_schedules(
    account_windows: tuple[str, ...], account_zone: str, stored: str | None, zone: str | None
) -> Schedule:
    account = Schedule.parse(account_windows, (), ZoneInfo(account_zone))
    if stored is None:
        return account
    campaign = Schedule.from_json(orjson.loads(stored))
    if zone is not None:
        campaign = campaign.in_all_zones(zones_of_key(zone))
    return account.intersect(campaign)
