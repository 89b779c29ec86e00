"""What the requests of a batch pay of the rates of their account and their campaign."""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import chain

from dispatcher.outbound.rates import account_rates, campaign_longest_s, seconds_ahead
from dispatcher.policy.fair_queue import Unit
from dispatcher.policy.pacing import spacing_s
from dispatcher.store.attempts import LockedForBegin
from workers.batch.prepared import PreparedBatch


@dataclass(frozen=True, slots=True, kw_only=True)
class Rate:
    """A rate that limits a batch: the account's in this unit, or the campaign's in messages."""

    unit: Unit
    per_second: float
    #: What identifies it at its account; a campaign's rate that was changed is another.
    key: Hashable
    #: The longest that one request pays for it, in seconds.
    longest_s: float
    is_campaigns: bool = False

    def paid_s(self, locked: LockedForBegin, now: datetime) -> float:
        """For how many seconds from now it is paid; negative: since when it was not used."""
        if self.is_campaigns:
            paid_until = locked.campaign.paid_until
        elif locked.account is not None:
            paid_until = locked.account.paid_until(self.unit)
        else:
            paid_until = None
        return seconds_ahead(paid_until, now, longest_s=self.longest_s)


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchCosts:
    """The rates of a batch, and for each of its requests the seconds that it pays of each."""

    rates: Sequence[Rate]
    spacings: Sequence[Sequence[float]]

    @property
    def keys(self) -> list[Hashable]:
        """What identifies each of its rates at its account."""
        return [rate.key for rate in self.rates]

    def interval_s(self, number: int) -> float:
        """Seconds from the start of a request until the next one may start; 0 without rates."""
        return max(self.spacings[number], default=0.0)

    def account_interval_s(self, number: int) -> float:
        """As `interval_s`, by the rates of the account alone."""
        paid = zip(self.rates, self.spacings[number], strict=True)
        return max((s for rate, s in paid if not rate.is_campaigns), default=0.0)

    def account_paid_s(self, locked: LockedForBegin, now: datetime) -> float:
        """For how many seconds the account's rates are used up; 0 or less: they are not."""
        return max(
            (rate.paid_s(locked, now) for rate in self.rates if not rate.is_campaigns),
            default=0.0,
        )


def batch_costs(batch: PreparedBatch) -> BatchCosts:
    """The costs of a batch, counted once."""
    rates = [
        Rate(unit=unit, per_second=rate.per_second, key=unit, longest_s=rate.longest_s)
        for unit, rate in account_rates(batch.provider.settings).items()
    ]
    if batch.campaign.rate is not None:
        per_second = batch.campaign.rate
        rates.append(
            Rate(
                unit=Unit.MESSAGES,
                per_second=per_second,
                key=(batch.claim.campaign_id, per_second),
                longest_s=campaign_longest_s(batch.provider.settings, per_second),
                is_campaigns=True,
            )
        )
    by_rate = [
        [spacing_s(cost, rate.per_second) for cost in batch.costs_in(rate.unit)] for rate in rates
    ]
    spacings = list(zip(*by_rate, strict=True)) if rates else [()] * len(batch.requests)
    return BatchCosts(rates=rates, spacings=spacings)


def join_costs(batches: Sequence[PreparedBatch]) -> BatchCosts:
    """The costs of all requests of batches that pay the same rates, in order."""
    each = [batch_costs(batch) for batch in batches]
    spacings = [*chain.from_iterable(one.spacings for one in each)]
    return BatchCosts(rates=each[0].rates, spacings=spacings)
