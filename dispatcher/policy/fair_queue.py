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
    """A batch that could be released now; counts its pending messages, requests and parts."""

    id: int
    size: int
    requests: int = 1
    parts: int = 0

    def cost_in(self, unit: Unit) -> int:
        """How many of this unit the batch takes from a rate."""
        return {Unit.MESSAGES: self.size, Unit.PARTS: self.parts, Unit.REQUESTS: self.requests}[
            unit
        ]


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
        self.ahead_s = max(0.0, self.ahead_s) + batch.cost_in(self.unit) / self.per_second


@dataclass(slots=True)
class Budget:
    """What may still be released for an account: free slots, its rates, the rest of its day.

    A request takes one slot. `slots` are free; `messages_left` is None without a daily limit.
    """

    slots: int
    rates: list[RateUsage] = field(default_factory=list)
    messages_left: int | None = None
    #: The free slots before anything was booked.
    total_slots: int = field(init=False)

    def __post_init__(self) -> None:
        self.total_slots = self.slots

    @property
    def is_spent(self) -> bool:
        """Whether nothing more may be released now."""
        is_day_over = self.messages_left is not None and self.messages_left <= 0
        return self.slots <= 0 or is_day_over or any(rate.is_out_of_reach for rate in self.rates)

    def has_room_for(self, batch: DueBatch) -> bool:
        """Whether all its requests find slots; a batch that needs more than exist goes alone."""
        return batch.requests <= self.slots or self.slots == self.total_slots

    def book_batch(self, batch: DueBatch) -> None:
        """Use up what a released batch takes."""
        self.slots -= batch.requests
        if self.messages_left is not None:
            self.messages_left -= batch.size
        for rate in self.rates:
            rate.book_batch(batch)


@dataclass(slots=True)
class QueuedCampaign:
    """A running campaign in the queue: the lowest rank goes first, then the lowest virtual time.

    `virtual_time` counts the messages released so far; `own_rate` is the campaign's `--rate`.
    """

    campaign_id: int
    rank: int
    virtual_time: int
    own_rate: RateUsage | None = None


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
        if campaign.own_rate is not None and campaign.own_rate.is_out_of_reach:
            continue
        batch = next(queues[campaign.campaign_id], None)
        if batch is None:
            continue
        if not budget.has_room_for(batch):
            return  # else smaller batches would overtake it for ever
        budget.book_batch(batch)
        if campaign.own_rate is not None:
            campaign.own_rate.book_batch(batch)
        campaign.virtual_time += batch.size
        yield campaign, batch
        heappush(heap, (campaign.rank, campaign.virtual_time, campaign.campaign_id, campaign))


def departure_offsets(costs: Iterable[float], per_second: float | None) -> Iterator[float]:
    """When each request of a batch may leave, in seconds after the batch's start.

    `costs` are the requests' units of a rate; None is no rate.
    """
    paid = 0.0
    for cost in costs:
        yield paid
        if per_second is not None:
            paid += cost / per_second


def end_of_day(now: datetime, zone: tzinfo) -> datetime:
    """The end of the current day in `zone`, in UTC: daily limits count an account's local days."""
    tomorrow = now.astimezone(zone).date() + timedelta(days=1)
    return datetime.combine(tomorrow, time(), zone).astimezone(UTC)


def poll_delay(polls: int, *, first_s: float, max_s: float) -> float:
    """Seconds until the next poll of a request after `polls` of them: growing by half each time."""
    return min(max_s, first_s * 1.5 ** min(polls, 40))
