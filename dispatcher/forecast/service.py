"""Makes forecasts of stored and of new campaigns, from the store and the configuration."""

from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

from sqlalchemy import Connection

from dispatcher.campaigns.gate import campaign_schedule
from dispatcher.campaigns.wording import iso_time
from dispatcher.forecast.simulation import Forecast, simulate_campaign
from dispatcher.forecast.workload import AccountCapacity, CampaignWorkload, PendingGroup
from dispatcher.policy.breaker import describe_outage, wait_reason
from dispatcher.providers.shared.settings import ProviderSettings
from dispatcher.store import accounts, workloads
from dispatcher.store.engine import Store, store_now
from dispatcher.store.rows import AccountRow, CampaignRow

if TYPE_CHECKING:
    from dispatcher.recipients.preview import Preview
    from dispatcher.submission.request import ValidatedSubmission

#: Messages per second of an account without a configured rate.
ASSUMED_RATE = 500.0


def forecast_campaign(store: Store, settings: ProviderSettings, campaign: CampaignRow) -> Forecast:
    """Forecast a stored campaign."""
    with store.read() as conn:
        now = store_now(conn)
        row = accounts.find_account(conn, campaign.account)
        if (outage := _forecast_of_outage(row, now, campaign.routes is not None)) is not None:
            return outage
        by_campaign = open_workloads(conn, settings, campaign.account)
        capacity = account_capacity(row, settings, now)
    own = by_campaign.pop(campaign.id, CampaignWorkload(pending=()))
    return _simulate(own, list(by_campaign.values()), capacity, row, now)


def forecast_submission(
    store: Store, submission: "ValidatedSubmission", preview: "Preview"
) -> Forecast:
    """Forecast a campaign that is not submitted yet, beside the account's other campaigns."""
    settings, account = submission.provider.settings, submission.request.account
    with store.read() as conn:
        now = store_now(conn)
        row = accounts.find_account(conn, account)
        if (outage := _forecast_of_outage(row, now, bool(submission.fallbacks))) is not None:
            return outage
        by_campaign = open_workloads(conn, settings, account)
        capacity = account_capacity(row, settings, now)
    own = _workload_of(submission, preview)
    return _simulate(own, list(by_campaign.values()), capacity, row, now)


def _forecast_of_outage(
    account: AccountRow | None, now: datetime, has_fallback: bool
) -> Forecast | None:
    """That nothing can be foreseen, and why; None if the account sends."""
    if account is None or (outage := describe_outage(account)) is None:
        return None
    reason = f"nothing is sent: account {outage}; it waits for {wait_reason(account, now)}"
    if has_fallback:
        reason += "; a healthy fallback account takes over meanwhile"
    return Forecast(finish_at=None, first_at=None, lapsed=0, reason=reason)


def _simulate(
    own: CampaignWorkload,
    others: list[CampaignWorkload],
    capacity: AccountCapacity,
    account: AccountRow | None,
    now: datetime,
) -> Forecast:
    """The forecast from `now` on, or from the end of the pause that the provider asked for."""
    held_until = None if account is None else account.not_before
    if held_until is None or held_until <= now:
        return simulate_campaign(own, others, capacity, now)
    found = simulate_campaign(own, others, capacity, held_until)
    if found.first_at is None or found.waits is not None:
        return found
    return replace(found, waits="the provider asked for a pause")


def forecast_submission_alone(
    submission: "ValidatedSubmission", preview: "Preview", now: datetime
) -> Forecast:
    """Forecast a campaign that is not submitted yet, without the account's other campaigns."""
    return simulate_campaign(
        _workload_of(submission, preview),
        [],
        _capacity_from(submission.provider.settings, None),
        now,
    )


def _workload_of(submission: "ValidatedSubmission", preview: "Preview") -> CampaignWorkload:
    timing = submission.request.timing
    return CampaignWorkload(
        pending=_pending_groups(submission, preview),
        priority=workloads.effective_priority(submission.request.constraints),
        messages_per_second=timing.rate,
        start_at=timing.start_at,
        expire_at=timing.expire_at,
    )


def _pending_groups(
    submission: "ValidatedSubmission", preview: "Preview"
) -> tuple[PendingGroup, ...]:
    provider = submission.provider
    zones: dict[str | None, int] = dict.fromkeys([None], preview.valid)
    if preview.zones:
        zones = dict(preview.zones.items())
    each = preview.parts / preview.valid if preview.valid else 0.0
    # Recipients with equal texts may share a request; how many do is only known after the import.
    in_a_request = 1 if submission.takes_requests else _recipients_in_request(submission, each)
    return tuple(
        PendingGroup(
            messages=count,
            parts=round(count * each),
            requests=-(-count // in_a_request),
            schedule=campaign_schedule(provider.settings, submission.request.constraints, zone),
        )
        for zone, count in zones.items()
    )


def _recipients_in_request(submission: "ValidatedSubmission", parts_each: float) -> int:
    size = submission.batch_size
    if size.parts is None or not parts_each:
        return size.recipients
    return max(1, min(size.recipients, int(size.parts / parts_each)))


def open_workloads(
    conn: Connection, settings: ProviderSettings, account: str
) -> dict[int, CampaignWorkload]:
    """The pending messages of every open campaign of the account, by campaign id."""
    by_campaign: dict[int, CampaignWorkload] = {}
    for work in workloads.load_open_work(conn, account):
        campaign = work.campaign
        pending = PendingGroup(
            messages=work.messages,
            parts=work.parts,
            requests=work.requests,
            schedule=campaign_schedule(settings, campaign, work.zone),
        )
        known = by_campaign.get(campaign.id)
        if known is not None:
            by_campaign[campaign.id] = replace(known, pending=(*known.pending, pending))
            continue
        by_campaign[campaign.id] = CampaignWorkload(
            pending=(pending,),
            priority=workloads.effective_priority(campaign),
            messages_per_second=campaign.rate,
            start_at=campaign.start_at,
            expire_at=campaign.expire_at,
        )
    return by_campaign


def account_capacity(
    account: AccountRow | None, settings: ProviderSettings, now: datetime
) -> AccountCapacity:
    """The rates and the daily limit of an account, and how much of its day is used."""
    limit = settings.daily_limit
    left = limit if account is None else accounts.messages_left_today(account, limit, now)
    return _capacity_from(settings, left)


def _capacity_from(settings: ProviderSettings, left: int | None) -> AccountCapacity:
    """`left` is the rest of the daily limit; None if nothing of it is used."""
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
    """The forecast as one sentence for a person, with times in `zone`."""

    def at(moment: datetime) -> str:
        return f"{moment.astimezone(zone):%Y-%m-%d %H:%M:%S}"

    begins = ""
    if found.first_at is not None and found.waits is not None:
        begins = f"begins at {at(found.first_at)} (until then {found.waits}), "
    if found.finish_at is None:
        return f"{begins}{found.reason}"
    if found.lapsed:
        return (
            f"{begins}sends until it expires at {at(found.finish_at)} {zone.key}: "
            f"{found.lapsed} will lapse"
        )
    return f"{begins}all submitted by about {at(found.finish_at)} {zone.key}"


def forecast_to_json(found: Forecast) -> dict[str, Any]:
    """The forecast as `--json` prints it."""
    return {
        "first_at": iso_time(found.first_at),
        "waits": found.waits,
        "finish_at": iso_time(found.finish_at),
        "lapsed": found.lapsed,
        "reason": found.reason,
    }
