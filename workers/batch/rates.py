"""What a batch costs of the rates of its account and its campaign, and when it may start by them.

Redis says how long to wait, so that no thread waits while it holds the store. The store's record of
what is paid, read under the account's lock, decides.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from math import inf

from dispatcher.outbound.ratelimit import Bucket, Reservation
from dispatcher.outbound.release import account_rates, seconds_ahead
from dispatcher.policy.fair_queue import SHORT_WAIT_S, Unit, departure_offsets
from dispatcher.store.attempts import LockedForBegin
from dispatcher.store.rows import AccountRow, CampaignRow
from workers.batch.prepared import PreparedBatch
from workers.services import Services


@dataclass(frozen=True, slots=True)
class Rate:
    """A rate that limits a batch: the account's in this unit, or the campaign's in messages."""

    unit: Unit
    per_second: float
    is_campaigns: bool = False

    def duration_s(self, batch: PreparedBatch) -> float:
        """Seconds from the start of the batch until this rate allows the next one."""
        return sum(batch.costs_in(self.unit)) / self.per_second

    def bucket_key(self, batch: PreparedBatch) -> str:
        """The key of its bucket in Redis.

        A campaign's new rate begins a new bucket; the store knows what was paid at the old one.
        """
        if self.is_campaigns:
            return f"campaign {batch.claim.campaign_id} at {self.per_second}"
        return f"{batch.claim.account}:{self.unit}"

    def paid_until(
        self, account: AccountRow | None, campaign: CampaignRow | None
    ) -> datetime | None:
        """Until when this rate is paid, by these rows of the store."""
        if self.is_campaigns:
            return campaign.paid_until if campaign is not None else None
        return account.paid_until(self.unit) if account is not None else None


def batch_rates(batch: PreparedBatch) -> Iterator[Rate]:
    """Every rate that limits the batch."""
    for unit, per_second in account_rates(batch.provider.settings).items():
        yield Rate(unit, per_second)
    if batch.campaign.rate is not None:
        yield Rate(Unit.MESSAGES, batch.campaign.rate, is_campaigns=True)


def reserve_start(services: Services, batch: PreparedBatch) -> Reservation:
    """Reserve a start at all its rates in Redis, or at none. Raises BrokerError."""
    buckets = [
        Bucket(
            key=rate.bucket_key(batch),
            cost=float(sum(batch.costs_in(rate.unit))),
            per_second=rate.per_second,
            floor_s=seconds_ahead(rate.paid_until(batch.account, batch.campaign), batch.at),
        )
        for rate in batch_rates(batch)
    ]
    return services.limiter.reserve_start(buckets, max_wait_s=SHORT_WAIT_S)


def seconds_until_free(locked: LockedForBegin, batch: PreparedBatch, now: datetime) -> float:
    """Seconds until all its rates allow a start, by the store.

    Negative if they have allowed it for so long already; `-inf` without rates.
    """
    ahead = [
        seconds_ahead(rate.paid_until(locked.account, locked.campaign), now)
        for rate in batch_rates(batch)
    ]
    return max(ahead, default=-inf)


def request_offsets_s(batch: PreparedBatch) -> list[float]:
    """Seconds from the start of the batch until each of its requests may leave."""
    spread = [
        list(departure_offsets(batch.costs_in(rate.unit), rate.per_second))
        for rate in batch_rates(batch)
    ]
    return [max(at) for at in zip(*spread, strict=True)] or [0.0] * len(batch.requests)


def request_intervals_s(batch: PreparedBatch) -> list[float]:
    """Seconds from each request of the batch until the next one may leave."""
    paid = [
        [cost / rate.per_second for cost in batch.costs_in(rate.unit)]
        for rate in batch_rates(batch)
    ]
    return [max(each) for each in zip(*paid, strict=True)] or [0.0] * len(batch.requests)
