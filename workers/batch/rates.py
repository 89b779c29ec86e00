"""Paying: what a batch costs of its account's rates and its campaign's, in Redis and in the store.

Redis says how long to wait, so that nobody waits at the store; the store's own record, read under
the account's lock, decides.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from math import inf

from dispatcher.outbound.ratelimit import Bucket, Reservation
from dispatcher.outbound.release import account_rates, seconds_ahead
from dispatcher.policy.fair_queue import SHORT_WAIT_S, Unit, departure_offsets
from dispatcher.store.attempts import LockedForBegin
from dispatcher.store.table_values import AnyRow
from workers.batch.settle import PreparedBatch
from workers.services import Services


@dataclass(frozen=True, slots=True)
class Rate:
    """A rate that a batch pays: the account's in this unit, or the campaign's own in messages."""

    unit: Unit
    per_second: float
    is_campaigns: bool = False

    def duration_s(self, work: PreparedBatch) -> float:
        """Seconds until the next batch may start at this rate."""
        return sum(work.costs_in(self.unit)) / self.per_second

    def bucket_key(self, work: PreparedBatch) -> str:
        """Each of a campaign's rates has its bucket: what was paid before is the store's to say."""
        if self.is_campaigns:
            return f"campaign {work.claim.campaign_id} at {self.per_second}"
        return f"{work.claim.account}:{self.unit}"

    def paid_until(self, account: AnyRow | None, campaign: AnyRow | None) -> datetime | None:
        """As the store has noted it."""
        row = campaign if self.is_campaigns else account
        if row is None:
            return None
        found: datetime | None = row._mapping[
            "paid_until" if self.is_campaigns else f"{self.unit}_paid_until"
        ]
        return found


def batch_rates(work: PreparedBatch) -> Iterator[Rate]:
    """Every rate that a batch pays."""
    for unit, per_second in account_rates(work.provider.settings).items():
        yield Rate(unit, per_second)
    if work.campaign.rate is not None:
        yield Rate(Unit.MESSAGES, work.campaign.rate, is_campaigns=True)


def reserve_start(services: Services, work: PreparedBatch) -> Reservation:
    """Pay all rates in Redis, for the whole batch, or for none of it. Raises BrokerError."""
    buckets = [
        Bucket(
            key=rate.bucket_key(work),
            cost=float(sum(work.costs_in(rate.unit))),
            per_second=rate.per_second,
            floor_s=seconds_ahead(rate.paid_until(work.account, work.campaign), work.at),
        )
        for rate in batch_rates(work)
    ]
    return services.limiter.reserve_start(buckets, max_wait_s=SHORT_WAIT_S)


def seconds_until_free(locked: LockedForBegin, work: PreparedBatch, now: datetime) -> float:
    """Seconds until all that has begun is paid; negative since when."""
    ahead = [
        seconds_ahead(rate.paid_until(locked.account, locked.campaign), now)
        for rate in batch_rates(work)
    ]
    return max(ahead, default=-inf)


def request_offsets_s(work: PreparedBatch) -> list[float]:
    """Seconds from the start of a batch until each of its requests may leave."""
    spread = [
        list(departure_offsets(work.costs_in(rate.unit), rate.per_second))
        for rate in batch_rates(work)
    ]
    return [max(at) for at in zip(*spread, strict=True)] or [0.0] * len(work.requests)


def request_intervals_s(work: PreparedBatch) -> list[float]:
    """Seconds from each request of a batch until the next one may leave."""
    paid = [
        [cost / rate.per_second for cost in work.costs_in(rate.unit)] for rate in batch_rates(work)
    ]
    return [max(each) for each in zip(*paid, strict=True)] or [0.0] * len(work.requests)
