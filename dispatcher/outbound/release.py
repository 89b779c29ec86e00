"""Release: decides which batches of an account are queued now, under the account's lock."""

from collections.abc import Iterator, Sequence
from datetime import datetime

import orjson
from sqlalchemy import Connection

from dispatcher.campaigns.gate import send_permission
from dispatcher.policy.breaker import Breaker
from dispatcher.policy.fair_queue import (
    Budget,
    DueBatch,
    QueuedCampaign,
    RateUsage,
    Unit,
    select_batches,
)
from dispatcher.providers.shared.settings import ProviderSettings
from dispatcher.status import BatchState
from dispatcher.store import accounts, batches, campaigns, store_identity, workloads
from dispatcher.store.batches import Ticket
from dispatcher.store.locks import lock_account
from dispatcher.store.row_parts import InFlightBatch
from dispatcher.store.rows import AccountRow, CampaignRow


def release_batches(
    conn: Connection, name: str, settings: ProviderSettings, now: datetime
) -> list[Ticket]:
    """`pending → queued` for batches that may be sent now. Publish the tickets after the commit.

    At most `max_in_flight` requests of the account are in flight, whichever process releases.
    Nothing is released from a store that is held as an older copy.
    """
    if store_identity.load_hold_reason(conn) is not None:
        return []
    account = lock_account(conn, name)
    if account is None or account.paused_by is not None:
        return []
    if account.not_before is not None and account.not_before > now:
        return []
    out = batches.batches_in_flight(conn, name)
    is_probe = account.breaker is not None
    if is_probe and (out or not _may_probe(account, now)):
        return []
    budget = _make_budget(account, settings, out, now)
    if budget.is_spent:
        return []
    running = batches.running_campaigns(conn, name)
    open_now = {row.id: _open_zones(settings, row, now) for row in running}
    contenders = [
        _make_contender(account, row, out, now) for row in running if open_now[row.id] != []
    ]

    def due_batches(campaign_id: int) -> Iterator[DueBatch]:
        limit, zones = settings.max_in_flight, open_now[campaign_id]
        return batches.due_batches(conn, campaign_id, now, limit, zones)

    chosen = list(select_batches(contenders, due_batches, budget))
    for contender in {contender.campaign_id: contender for contender, _ in chosen}.values():
        campaigns.set_virtual_time(conn, contender.campaign_id, contender.virtual_time, now)
    if chosen:
        last, batch = chosen[-1]
        accounts.advance_virtual_time(conn, name, last.virtual_time - batch.size)
    ids = [batch.id for _campaign, batch in chosen]
    return batches.mark_queued(conn, ids, now, is_probe=is_probe)


def _may_probe(account: AccountRow, now: datetime) -> bool:
    """Whether one request may probe a provider whose breaker is open."""
    if account.breaker != Breaker.TRIAL:
        return False
    return account.check_at is None or account.check_at <= now


def _open_zones(
    settings: ProviderSettings, campaign: CampaignRow, now: datetime
) -> list[str] | None:
    """The zones in which the campaign may send now; None for a campaign of one zone that may."""
    if campaign.zones is None:
        return None if send_permission(settings, campaign, None, now).is_open else []
    zones: list[str] = orjson.loads(campaign.zones)
    return [zone for zone in zones if send_permission(settings, campaign, zone, now).is_open]


def account_rates(settings: ProviderSettings) -> dict[Unit, float]:
    """The account's rates, each per second."""
    rates = {
        Unit.MESSAGES: settings.messages_per_second,
        Unit.PARTS: settings.parts_per_second,
        Unit.REQUESTS: settings.requests_per_second,
    }
    return {unit: rate for unit, rate in rates.items() if rate is not None}


def _make_budget(
    account: AccountRow, settings: ProviderSettings, out: Sequence[InFlightBatch], now: datetime
) -> Budget:
    slots = 1 if account.breaker is not None else settings.max_in_flight
    lanes = [
        RateUsage(unit, rate, seconds_ahead(account.paid_until(unit), now))
        for unit, rate in account_rates(settings).items()
    ]
    left = accounts.messages_left_today(account, settings.daily_limit, now)
    budget = Budget(slots=slots, rates=lanes, messages_left=left)
    for batch in out:
        if batch.state == BatchState.SUBMITTING:  # it was counted and has paid
            budget.slots -= batch.requests
        else:
            budget.book_batch(_unpaid_load(batch))
    return budget


def _make_contender(
    account: AccountRow, campaign: CampaignRow, out: Sequence[InFlightBatch], now: datetime
) -> QueuedCampaign:
    lane = None
    if campaign.rate is not None:
        lane = RateUsage(Unit.MESSAGES, campaign.rate, seconds_ahead(campaign.paid_until, now))
        for batch in out:
            if batch.campaign_id == campaign.id and batch.state != BatchState.SUBMITTING:
                lane.book_batch(_unpaid_load(batch))
    return QueuedCampaign(
        campaign_id=campaign.id,
        rank=-workloads.effective_priority(campaign),
        # A campaign that was closed or paused does not catch up on what others sent.
        virtual_time=max(campaign.turn, account.turn),
        own_rate=lane,
    )


def _unpaid_load(batch: InFlightBatch) -> DueBatch:
    return DueBatch(0, batch.pending, batch.requests, batch.parts)


def seconds_ahead(paid_until: datetime | None, now: datetime) -> float:
    """For how many seconds from `now` a rate is paid."""
    return 0.0 if paid_until is None else (paid_until - now).total_seconds()
