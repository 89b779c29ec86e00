"""The outlook: what the forecast needs, taken from the store, a preview and the configuration."""

from dataclasses import replace
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy import Connection

from dispatcher.campaigns.gate import campaign_schedule
from dispatcher.forecast.simulation import Forecast, simulate_campaign
from dispatcher.forecast.workload import AccountCapacity, CampaignWorkload, PendingGroup
from dispatcher.providers.shared.settings import ProviderSettings
from dispatcher.recipients.validation import Preview
from dispatcher.store import accounts, workloads
from dispatcher.store.engine import Store, store_now
from dispatcher.store.table_values import AnyRow
from dispatcher.submission.request import ValidatedSubmission

#: Messages per second where no rate is configured: nobody knows what the provider manages.
ASSUMED_RATE = 500.0


def forecast_campaign(store: Store, settings: ProviderSettings, campaign: AnyRow) -> Forecast:
    """When a stored campaign will have submitted everybody."""
    with store.read() as conn:
        now = store_now(conn)
        works = open_workloads(conn, settings, campaign.account)
        pace = account_capacity(conn, settings, campaign.account, now)
    own = works.pop(campaign.id, CampaignWorkload(pending=()))
    return simulate_campaign(own, list(works.values()), pace, now)


def forecast_submission(
    store: Store, submission: ValidatedSubmission, preview: Preview
) -> Forecast:
    """When a campaign that is not submitted yet would have, beside those that are."""
    settings, account = submission.provider.settings, submission.request.account
    with store.read() as conn:
        now = store_now(conn)
        works = open_workloads(conn, settings, account)
        pace = account_capacity(conn, settings, account, now)
    return simulate_campaign(_workload_of(submission, preview), list(works.values()), pace, now)


def forecast_submission_alone(
    submission: ValidatedSubmission, preview: Preview, now: datetime
) -> Forecast:
    """The same where nothing is known of the account's other campaigns."""
    return simulate_campaign(
        _workload_of(submission, preview),
        [],
        _capacity_from(submission.provider.settings, None),
        now,
    )


def _workload_of(submission: ValidatedSubmission, preview: Preview) -> CampaignWorkload:
    timing = submission.request.timing
    return CampaignWorkload(
        pending=_pending_groups(submission, preview),
        priority=workloads.effective_priority(submission.request.constraints),
        messages_per_second=timing.rate,
        start_at=timing.start_at,
        expire_at=timing.expire_at,
    )


def _pending_groups(submission: ValidatedSubmission, preview: Preview) -> tuple[PendingGroup, ...]:
    provider = submission.provider
    zones: dict[str | None, int] = dict.fromkeys([None], preview.valid)
    if preview.zones:
        zones = dict(preview.zones.items())
    each = preview.parts / preview.valid if preview.valid else 0.0
    # Some people may have the same text; how many is known once they are planned.
    in_a_request = 1 if submission.takes_requests else provider.max_recipients
    return tuple(
        PendingGroup(
            messages=count,
            parts=round(count * each),
            requests=-(-count // in_a_request),
            schedule=campaign_schedule(provider.settings, submission.request.constraints, zone),
        )
        for zone, count in zones.items()
    )


def open_workloads(
    conn: Connection, settings: ProviderSettings, account: str
) -> dict[int, CampaignWorkload]:
    """What every open campaign of the account has left, by campaign."""
    works: dict[int, CampaignWorkload] = {}
    for row in workloads.load_open_work(conn, account):
        pending = PendingGroup(
            messages=int(row.messages),
            parts=int(row.parts_left),
            requests=int(row.requests),
            schedule=campaign_schedule(settings, row, row.zone),
        )
        known = works.get(row.id)
        if known is not None:
            works[row.id] = replace(known, pending=(*known.pending, pending))
            continue
        works[row.id] = CampaignWorkload(
            pending=(pending,),
            priority=workloads.effective_priority(row),
            messages_per_second=row.rate,
            start_at=row.start_at,
            expire_at=row.expire_at,
        )
    return works


def account_capacity(
    conn: Connection, settings: ProviderSettings, account: str, now: datetime
) -> AccountCapacity:
    """What the account allows, and what it has used of this day."""
    row = accounts.find_account(conn, account)
    limit = settings.daily_limit
    return _capacity_from(
        settings, accounts.messages_left_today(row, limit, now) if row is not None else limit
    )


def _capacity_from(settings: ProviderSettings, left: int | None) -> AccountCapacity:
    """`left`: of the day's limit; None for all of it."""
    limit = settings.daily_limit
    has_rate = (
        settings.messages_per_second or settings.parts_per_second or settings.requests_per_second
    )
    return AccountCapacity(
        messages_per_second=settings.messages_per_second,
        parts_per_second=settings.parts_per_second,
        requests_per_second=settings.requests_per_second,
        throughput=None if has_rate else ASSUMED_RATE,
        daily_limit=limit,
        used_today=0 if limit is None or left is None else limit - left,
        day_zone=ZoneInfo(settings.timezone),
    )


def describe_forecast(found: Forecast, zone: ZoneInfo) -> str:
    """One sentence for a person; times in the account's zone."""

    def at(moment: datetime) -> str:
        return f"{moment.astimezone(zone):%Y-%m-%d %H:%M:%S}"

    begins = ""
    if found.first_at is not None and found.waits is not None:
        begins = f"begins at {at(found.first_at)} ({found.waits} until then), "
    if found.finish_at is None:
        return f"{begins}{found.reason}"
    if found.lapsed:
        return (
            f"{begins}sends until it expires at {at(found.finish_at)} {zone.key}: "
            f"{found.lapsed} will lapse"
        )
    return f"{begins}all submitted by about {at(found.finish_at)} {zone.key}"


def forecast_to_json(found: Forecast) -> dict[str, Any]:
    """The forecast as JSON has it."""
    first, finish = (
        None if at is None else at.isoformat() for at in (found.first_at, found.finish_at)
    )
    return {
        "first_at": first,
        "waits": found.waits,
        "finish_at": finish,
        "lapsed": found.lapsed,
        "reason": found.reason,
    }
