"""Release: decides which batches of an account are queued now, under the account's lock."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from heapq import nsmallest
from operator import attrgetter

from sqlalchemy import Connection

from dispatcher.campaigns.gate import ZonedCampaign, send_permission
from dispatcher.outbound.rates import account_rates, campaign_longest_s, seconds_ahead
from dispatcher.policy.breaker import Breaker
from dispatcher.policy.concurrency import START
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
from dispatcher.store import (
    accounts,
    batches,
    campaigns,
    due_work,
    store_identity,
    tickets,
    workloads,
)
from dispatcher.store.json_columns import decode_texts
from dispatcher.store.locks import lock_account
from dispatcher.store.row_parts import InFlightBatch
from dispatcher.store.rows import AccountRow, CampaignRow
from dispatcher.store.tickets import Ticket

#: With fewer campaigns each is asked for its due batches alone.
_FEW_CAMPAIGNS = 8
#: Of so many campaigns the rows are read first.
_FIRST_ROWS = 64


def release_batches(
    conn: Connection,
    name: str,
    settings: ProviderSettings,
    now: datetime,
    *,
    max_in_flight: int | None = None,
    unsent: Mapping[int, int] | None = None,
) -> list[Ticket]:
    """`pending → queued` for batches that may be sent now. Publish the tickets after the commit.

    At most `max_in_flight` requests (None: as configured) of the account are in flight, whichever
    process releases. Nothing is released from a store that is held as an older copy. `unsent` are
    messages by campaign id that were released before and did not leave: the fair queue does not
    count them.
    """
    if not store_identity.may_send(conn):
        return []
    most = max_in_flight or settings.max_in_flight or int(START)
    account = lock_account(conn, name)
    for campaign_id, messages in (unsent or {}).items():
        campaigns.give_back_virtual_time(conn, campaign_id, messages)
    if account is None or account.is_closed:
        return []
    if account.not_before is not None and account.not_before > now:
        return []
    out = batches.batches_in_flight(conn, name)
    is_probe = account.breaker is not None
    if is_probe and (out or not _may_probe(account, now)):
        return []
    budget = _make_budget(account, settings, out, most, now)
    if budget.is_spent:
        return []
    chosen = _choose_batches(conn, account, settings, out, budget, now)
    if chosen:
        served = {contender.campaign_id: contender.virtual_time for contender, _ in chosen}
        campaigns.set_virtual_times(conn, served, now)
        last, batch = chosen[-1]
        accounts.advance_virtual_time(conn, name, last.virtual_time - batch.size)
    ids = [batch.id for _campaign, batch in chosen]
    return tickets.mark_queued(conn, ids, now, is_probe=is_probe, bundles=budget.bundles)


def _first_campaigns(conn: Connection, account: AccountRow, now: datetime) -> Iterator[CampaignRow]:
    """The account's campaigns that have a batch due, those first that are served next.

    Their rows are read by and by: of a thousand campaigns a release serves a few.
    """
    keys = due_work.due_campaigns(conn, account.name, now)
    keys.sort(
        key=lambda one: (-workloads.effective_priority(one), max(one.turn, account.turn), one.id)
    )
    size, done = _FIRST_ROWS, 0
    while done < len(keys):
        ids = [one.id for one in keys[done : done + size]]
        rows = workloads.load_campaigns(conn, ids)
        yield from (rows[each] for each in ids if each in rows)
        done += size
        size *= 4


def _choose_batches(
    conn: Connection,
    account: AccountRow,
    settings: ProviderSettings,
    out: Sequence[InFlightBatch],
    budget: Budget,
    now: datetime,
) -> list[tuple[QueuedCampaign, DueBatch]]:
    """The next batches in fair order, each with its campaign.

    Of the campaigns only as many are looked at as may have a batch in this release.
    """
    zones: dict[int, list[str] | None] = {}
    contenders = []
    left = budget.most_batches
    for row in _first_campaigns(conn, account, now):
        own_zones = open_zones(settings, row, now)
        contender = _make_contender(account, row, settings, out, now)
        if own_zones == [] or contender.must_wait:
            continue
        zones[row.id] = own_zones
        contenders.append(contender)
        # What is due of a campaign of several zones may be in one that is closed.
        left -= own_zones is None
        if not left:
            break
    most = budget.max_in_flight
    first = _load_first_batches(conn, contenders, zones, budget.most_batches, now)

    def due_batches(campaign_id: int) -> Iterator[DueBatch]:
        head = first.get(campaign_id)
        if head is not None:
            yield head
        for batch in batches.due_batches(conn, campaign_id, now, most, zones[campaign_id]):
            if batch != head:
                yield batch

    return list(select_batches(contenders, due_batches, budget))


def _load_first_batches(
    conn: Connection,
    contenders: Sequence[QueuedCampaign],
    zones: Mapping[int, list[str] | None],
    most: int,
    now: datetime,
) -> dict[int, DueBatch]:
    """The first due batches of the campaigns that are served first, by one question for all.

    None where few campaigns contend: then a question for each finds their further batches too.
    """
    of_one_zone = [one for one in contenders if zones[one.campaign_id] is None]
    if len(of_one_zone) < _FEW_CAMPAIGNS:
        return {}
    next_ones = nsmallest(most, of_one_zone, key=attrgetter("rank", "virtual_time", "campaign_id"))
    return due_work.first_due_batches(conn, [one.campaign_id for one in next_ones], now)


def find_releasable_accounts(
    conn: Connection, configured: Mapping[str, ProviderSettings], now: datetime
) -> set[str]:
    """The accounts that may have a batch to release now, by one question to the store.

    They are open, and have a batch due in a campaign whose windows are open. An account that is not
    configured here is returned too, if it has a batch due.
    """
    found: set[str] = set()
    for row in due_work.due_at_open_accounts(conn, now):
        settings = configured.get(row.account)
        if row.account not in found and (settings is None or open_zones(settings, row, now) != []):
            found.add(row.account)
    return found


def _may_probe(account: AccountRow, now: datetime) -> bool:
    """Whether one request may probe a provider whose breaker is open."""
    if account.breaker != Breaker.TRIAL:
        return False
    return account.check_at is None or account.check_at <= now


def open_zones(
    settings: ProviderSettings, campaign: ZonedCampaign, now: datetime
) -> list[str] | None:
    """The zones in which the campaign may send now; None for a campaign of one zone that may."""
    if campaign.zones is None:
        return None if send_permission(settings, campaign, None, now).is_open else []
    zones = decode_texts(campaign.zones)
    return [zone for zone in zones if send_permission(settings, campaign, zone, now).is_open]


def _make_budget(
    account: AccountRow,
    settings: ProviderSettings,
    out: Sequence[InFlightBatch],
    max_in_flight: int,
    now: datetime,
) -> Budget:
    slots = 1 if account.breaker is not None else max_in_flight
    usages = [
        RateUsage(
            unit,
            rate.per_second,
            seconds_ahead(account.paid_until(unit), now, longest_s=rate.longest_s),
        )
        for unit, rate in account_rates(settings).items()
    ]
    left = accounts.messages_left_today(account, settings.daily_limit, now)
    budget = Budget(
        max_in_flight=slots,
        rates=usages,
        messages_left=left,
        may_bundle=account.breaker is None,
    )
    bundles = Counter[str]()
    for batch in out:
        if batch.bundle is None:
            budget.take_slots(batch.requests)
        else:
            bundles[batch.bundle] += batch.requests
        if batch.state != BatchState.SUBMITTING:  # such a one was counted and has paid
            budget.pay_rates(_unpaid_load(batch))
    for requests in bundles.values():
        budget.take_slots(requests)
    return budget


def _make_contender(
    account: AccountRow,
    campaign: CampaignRow,
    settings: ProviderSettings,
    out: Sequence[InFlightBatch],
    now: datetime,
) -> QueuedCampaign:
    own_usage = None
    if campaign.rate is not None:
        longest_s = campaign_longest_s(settings, campaign.rate)
        ahead_s = seconds_ahead(campaign.paid_until, now, longest_s=longest_s)
        own_usage = RateUsage(Unit.MESSAGES, campaign.rate, ahead_s)
        for batch in out:
            if batch.campaign_id == campaign.id and batch.state != BatchState.SUBMITTING:
                own_usage.book_batch(_unpaid_load(batch))
    return QueuedCampaign(
        campaign_id=campaign.id,
        rank=-workloads.effective_priority(campaign),
        # A campaign that was closed or paused does not catch up on what others sent.
        virtual_time=max(campaign.turn, account.turn),
        own_rate=own_usage,
    )


def _unpaid_load(batch: InFlightBatch) -> DueBatch:
    return DueBatch(0, batch.pending, batch.requests, batch.parts)
