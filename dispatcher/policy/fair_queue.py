"""Which batches to release next: start-time fair queueing between the campaigns of an account."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, time, timedelta, tzinfo
from enum import StrEnum
from heapq import heappop, heappush
from typing import NamedTuple

#: The longest time that a worker sleeps for a reserved rate while it holds a batch.
SHORT_WAIT_S = 2.0
#: A batch is released this long before the rate allows its start: longer than a tick's second, so
#: that it does not start late; shorter than SHORT_WAIT_S, so that workers do not hand it back.
RELEASE_AHEAD_S = 1.5
#: A batch of several requests holds its slots for this long, then gives back what has not left, so
#: that a pause, another rate or a more urgent campaign need not wait for it.
TURN_S = 1.0
#: How many batches of several requests share an account's slots: while one ends, the other goes on.
#: Fewer batches with more slots each share more commits.
_BATCHES_AT_ONCE = 2
#: Small batches of different campaigns are released as a bundle, which shares a turn, its slots and
#: its commits: so many messages at most, and for so long at each rate. That is less than a turn, so
#: that a bundle rarely gives back what has not left.
_BUNDLE_MESSAGES = 256
_BUNDLE_S = 0.4
#: And so many messages for each of its slots, which a slow provider answers one after the other.
_BUNDLE_MESSAGES_OF_SLOT = 16
#: A batch whose worker was lost more often than this goes alone: it may be the cause, and those
#: beside it would fail with it.
_MOST_LOST_IN_BUNDLE = 1


class Unit(StrEnum):
    """What a rate counts."""

    MESSAGES = "messages"
    PARTS = "parts"
    REQUESTS = "requests"


@dataclass(frozen=True, slots=True, kw_only=True)
class SendPermission:
    """Whether a batch may be sent now, and until when; None if no end is known."""

    is_open: bool
    until: datetime | None = None


class DueBatch(NamedTuple):
    """A batch that could be released now; counts its pending messages, requests and parts.

    `lost` is how many workers were lost that held it, without anything being submitted.
    """

    id: int
    size: int
    requests: int = 1
    parts: int = 0
    lost: int = 0

    def cost_in(self, unit: Unit) -> int:
        """How many of this unit the batch takes from a rate."""
        return {Unit.MESSAGES: self.size, Unit.PARTS: self.parts, Unit.REQUESTS: self.requests}[
            unit
        ]

    def turn_cost_in(self, unit: Unit, per_second: float) -> float:
        """As `cost_in`, of what can leave in one turn; at least one request."""
        cost = self.cost_in(unit)
        return min(cost, max(per_second * TURN_S, cost / max(1, self.requests)))


def slots_of(requests: int, max_in_flight: int) -> int:
    """How many requests of a batch may be under way at a time, of its account's `max_in_flight`."""
    return max(1, min(requests, max_in_flight // _BATCHES_AT_ONCE))


@dataclass(slots=True)
class RateUsage:
    """One rate; it is used up for the next `ahead_s` seconds."""

    unit: Unit
    per_second: float
    ahead_s: float = 0.0

    @property
    def is_out_of_reach(self) -> bool:
        """Whether the next free start is too far away to release a batch for it."""
        return self.ahead_s > RELEASE_AHEAD_S

    def book_batch(self, batch: DueBatch) -> None:
        """Use up the rate for a batch."""
        self.ahead_s = max(0.0, self.ahead_s) + (
            batch.turn_cost_in(self.unit, self.per_second) / self.per_second
        )


class _Bundle(NamedTuple):
    """Batches that are released together, with what all of them need."""

    ids: list[int]
    campaigns: set[int]
    whole: DueBatch


@dataclass(slots=True)
class Budget:
    """What may still be released for an account: free slots, its rates, the rest of its day.

    `max_in_flight` slots exist, `slots` of them are free; a request under way takes one.
    `messages_left` is None without a daily limit. With `may_bundle` small batches of different
    campaigns share slots; the ids of those that do are in `bundles`.
    """

    max_in_flight: int
    rates: list[RateUsage] = field(default_factory=list)
    messages_left: int | None = None
    may_bundle: bool = False
    slots: int = field(init=False)
    #: The last one may still grow.
    _bundles: list[_Bundle] = field(init=False, default_factory=list)

    def __post_init__(self) -> None:
        self.slots = self.max_in_flight

    @property
    def bundles(self) -> list[list[int]]:
        """The ids of batches that were released together, in order."""
        return [bundle.ids for bundle in self._bundles if len(bundle.ids) > 1]

    @property
    def most_batches(self) -> int:
        """More than so many batches are not worth to be looked at for one release."""
        if not self.may_bundle:
            return self.max_in_flight
        return max(self.max_in_flight, _BATCHES_AT_ONCE * _BUNDLE_MESSAGES)

    @property
    def is_spent(self) -> bool:
        """Whether nothing more may be released now. A bundle may grow within its slots."""
        is_day_over = self.messages_left is not None and self.messages_left <= 0
        is_full = self.slots <= 0 and not self._bundles
        return is_full or is_day_over or any(rate.is_out_of_reach for rate in self.rates)

    def release_batch(self, campaign: "QueuedCampaign", batch: DueBatch) -> bool:
        """Use up what a batch takes, if it finds the slots that it may have; returns whether."""
        bundle = self._bundle_for(campaign, batch)
        held = 0 if bundle is None else slots_of(bundle.whole.requests, self.max_in_flight)
        whole = batch if bundle is None else _join(bundle.whole, batch)
        needed = slots_of(whole.requests, self.max_in_flight) - held
        if needed > self.slots:
            return False
        self.slots -= needed
        self.pay_rates(batch)
        if bundle is not None:
            bundle.ids.append(batch.id)
            bundle.campaigns.add(campaign.campaign_id)
            self._bundles[-1] = bundle._replace(whole=whole)
        elif self._may_share(campaign, batch):
            self._bundles.append(_Bundle([batch.id], {campaign.campaign_id}, batch))
        return True

    def take_slots(self, requests: int) -> None:
        """Use up the slots of a batch, or a bundle, of so many requests."""
        self.slots -= slots_of(requests, self.max_in_flight)

    def book_batch(self, batch: DueBatch) -> None:
        """Use up what a released batch takes that is alone."""
        self.take_slots(batch.requests)
        self.pay_rates(batch)

    def pay_rates(self, batch: DueBatch) -> None:
        """Use up what a released batch takes of the rates and of the day."""
        if self.messages_left is not None:
            self.messages_left -= batch.size
        for rate in self.rates:
            rate.book_batch(batch)

    def _may_share(self, campaign: "QueuedCampaign", batch: DueBatch) -> bool:
        """Whether the batch may be in a bundle."""
        is_safe = batch.lost <= _MOST_LOST_IN_BUNDLE
        return self.may_bundle and campaign.own_rate is None and is_safe

    def _bundle_for(self, campaign: "QueuedCampaign", batch: DueBatch) -> _Bundle | None:
        """The bundle that the batch may join; None where it has to have slots of its own."""
        if not self._bundles or not self._may_share(campaign, batch):
            return None
        bundle = self._bundles[-1]
        whole = _join(bundle.whole, batch)
        share = slots_of(whole.requests, self.max_in_flight)
        is_small = whole.size <= min(_BUNDLE_MESSAGES, share * _BUNDLE_MESSAGES_OF_SLOT) and all(
            whole.cost_in(rate.unit) <= rate.per_second * _BUNDLE_S for rate in self.rates
        )
        # A campaign with several batches has them in several turns.
        return bundle if is_small and campaign.campaign_id not in bundle.campaigns else None


def _join(one: DueBatch, other: DueBatch) -> DueBatch:
    """What two batches need together."""
    return DueBatch(
        one.id, one.size + other.size, one.requests + other.requests, one.parts + other.parts
    )


@dataclass(slots=True)
class QueuedCampaign:
    """A running campaign in the queue: the lowest rank goes first, then the lowest virtual time.

    `virtual_time` counts the messages released so far; `own_rate` is the campaign's `--rate`.
    """

    campaign_id: int
    rank: int
    virtual_time: int
    own_rate: RateUsage | None = None

    @property
    def must_wait(self) -> bool:
        """Whether its own rate keeps it from being served now."""
        return self.own_rate is not None and self.own_rate.is_out_of_reach


def select_batches(
    campaigns: Iterable[QueuedCampaign], due: Callable[[int], Iterator[DueBatch]], budget: Budget
) -> Iterator[tuple[QueuedCampaign, DueBatch]]:
    """Yield the batches to release now, in order, each with its campaign.

    Start-time fair queueing: of the campaigns with the lowest rank, the one with the lowest virtual
    time is next, and its virtual time grows by the batch's messages. `due` gives the due batches of
    a campaign id in order. Changes `budget` and `campaigns`.
    """
    queues: dict[int, Iterator[DueBatch]] = {}
    heap: list[tuple[int, int, int, QueuedCampaign]] = []
    for one in campaigns:
        queues[one.campaign_id] = due(one.campaign_id)
        heappush(heap, (one.rank, one.virtual_time, one.campaign_id, one))
    while heap and not budget.is_spent:
        campaign = heappop(heap)[-1]
        if campaign.must_wait:
            continue
        batch = next(queues[campaign.campaign_id], None)
        if batch is None:
            continue
        if not budget.release_batch(campaign, batch):
            return  # otherwise smaller batches would always overtake it
        if campaign.own_rate is not None:
            campaign.own_rate.book_batch(batch)
        campaign.virtual_time += batch.size
        yield campaign, batch
        heappush(heap, (campaign.rank, campaign.virtual_time, campaign.campaign_id, campaign))


def end_of_day(now: datetime, zone: tzinfo) -> datetime:
    """The end of the current day in `zone`, in UTC: daily limits count an account's local days."""
    tomorrow = now.astimezone(zone).date() + timedelta(days=1)
    return datetime.combine(tomorrow, time(), zone).astimezone(UTC)


def poll_delay(polls: int, *, first_s: float, max_s: float) -> float:
    """Seconds until the next poll of a request after `polls` of them: growing by half each time."""
    return min(max_s, first_s * 1.5 ** min(polls, 40))
