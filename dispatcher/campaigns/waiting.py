"""What a listed campaign waits for, in a few words."""

from collections.abc import Mapping
from datetime import datetime, timedelta, tzinfo
from typing import Final

from dispatcher.campaigns.gate import campaign_schedule
from dispatcher.providers.shared.settings import ProviderSettings
from dispatcher.status import CampaignState
from dispatcher.store.rows import AccountRow, CampaignRow

_WEEK = timedelta(days=6)
_CHECK_IS_NEAR = timedelta(minutes=2)
CHECK: Final = "its check at the provider"


def describe_wait(
    campaign: CampaignRow,
    counts: Mapping[str, int],
    settings: ProviderSettings | None,
    account: AccountRow | None,
    now: datetime,
    zone: tzinfo,
) -> str | None:
    """`Mon 09:00`, `receipts` or `account main`; None where it waits for nothing by itself.

    `dispatcher go` after a person's stop; `its file again` where an import was broken off.
    `settings` and `account` are those of its account; None where it has none any more. Times are in
    `zone`. A paused campaign waits for a person, which its state says.
    """
    if campaign.state not in {CampaignState.SCHEDULED, CampaignState.RUNNING}:
        return "its file again" if is_broken_off(campaign, now) else None
    if campaign.start_at is not None and campaign.start_at > now:
        return short_time(campaign.start_at, now, zone)
    if not counts["pending"]:
        return "receipts" if counts["submitted"] > counts["no_receipt"] else None
    if account is not None and account.stopped_at is not None:
        return "`dispatcher go`"
    if account is not None and (account.paused_by is not None or account.breaker is not None):
        return f"account {campaign.account}"
    return None if settings is None else _describe_windows(campaign, settings, now, zone)


def is_broken_off(campaign: CampaignRow, now: datetime) -> bool:
    """Whether nobody reads its file any more, although it is not accepted."""
    lease = campaign.import_lease_until
    return campaign.state == CampaignState.IMPORTING and lease is not None and lease <= now


def waits_for_check(campaign: CampaignRow, now: datetime) -> bool:
    """Whether it must be checked at its provider, about now, before anything of it is sent."""
    return campaign.recheck_at is not None and campaign.recheck_at - now < _CHECK_IS_NEAR


def _describe_windows(
    campaign: CampaignRow, settings: ProviderSettings, now: datetime, zone: tzinfo
) -> str | None:
    """When its windows open; None while they are open, or in each recipient's own zone."""
    if waits_for_check(campaign, now):
        return CHECK
    if campaign.zones is not None:
        return None
    opens = campaign_schedule(settings, campaign, None).next_open(now, campaign.expire_at)
    if opens is None:
        return "its expiry"
    return None if opens <= now else short_time(opens, now, zone)


def short_time(at: datetime, now: datetime, zone: tzinfo) -> str:
    """`Mon 09:00` within a week, else `24 Dec 09:00`, with the year where it is another one."""
    local, today = at.astimezone(zone), now.astimezone(zone)
    if timedelta() <= at - now < _WEEK:
        return f"{local:%a %H:%M}"
    return f"{local:%d %b %H:%M}" if local.year == today.year else f"{local:%d %b %Y %H:%M}"
