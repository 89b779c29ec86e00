"""Pure decisions of release: how many batches an account may have out, and whose turn is next."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, time, timedelta, tzinfo
from enum import StrEnum
from heapq import heappop, heappush
from typing import NamedTuple

#: How long a worker may sleep on a reserved rate while it holds a batch.
SHORT_WAIT_S = 2.0
#: A batch is released when its turn at the rate comes within this time: more than a tick's
#: second, so that none starts late, and less than SHORT_WAIT_S, so that none is handed back.
RELEASE_AHEAD_S = 1.5


class Unit(StrEnum):
    """What a rate counts."""

    MESSAGES = "messages"
    PARTS = "parts"
    REQUESTS = "requests"


@dataclass(frozen=True, slots=True, kw_only=True)
class SendPermission:
    """Whether a batch may leave now, and before when: None is no limit, or nobody knows."""

    is_open: bool
    until: datetime | None = None


class DueBatch(NamedTuple):
    """A batch that could be released now: its pending messages, their requests and parts."""

    id: int
    size: int
    requests: int = 1
    parts: int = 0

    def cost_in(self, unit: Unit) -> int:
        """What it pays of a rate in this unit."""
        return {Unit.MESSAGES: self.size, Unit.PARTS: self.parts, Unit.REQUESTS: self.requests}[
            unit
        ]


@dataclass(slots=True)
class RateUsage:
    """One rate: `ahead_s` is how far into the future it is paid."""

    unit: Unit
    per_second: float
    ahead_s: float = 0.0

    @property
    def is_out_of_reach(self) -> bool:
        """Whether the next start at this rate is too far away to release a batch for it."""
        return self.ahead_s > RELEASE_AHEAD_S

    def book_batch(self, batch: DueBatch) -> None:
        """Count a batch that will pay this rate."""
        self.ahead_s = max(0.0, self.ahead_s) + batch.cost_in(self.unit) / self.per_second


@dataclass(slots=True)
class Budget:
    """What an account may still have released: places in flight, rate within reach, the day's rest.

    A place is a request's; `slots` of them are free. `messages_left` is None without a daily limit.
    """

    slots: int
    rates: list[RateUsage] = field(default_factory=list)
    messages_left: int | None = None
    #: All places of the account, free or taken.
    total_slots: int = field(init=False)

    def __post_init__(self) -> None:
        self.total_slots = self.slots

    @property
    def is_spent(self) -> bool:
        """Whether nothing more may be released now."""
        is_day_over = self.messages_left is not None and self.messages_left <= 0
        return self.slots <= 0 or is_day_over or any(lane.is_out_of_reach for lane in self.rates)

    def has_room_for(self, batch: DueBatch) -> bool:
        """Whether every request of it finds a place; one that needs more than all goes alone."""
        return batch.requests <= self.slots or self.slots == self.total_slots

    def book_batch(self, batch: DueBatch) -> None:
        """Release a batch."""
        self.slots -= batch.requests
        if self.messages_left is not None:
            self.messages_left -= batch.size
        for lane in self.rates:
            lane.book_batch(batch)


@dataclass(slots=True)
class QueuedCampaign:
    """A running campaign: its rank (the lowest goes first), what it was served, its own rate."""

    campaign_id: int
    rank: int
    virtual_time: int
    own_rate: RateUsage | None = None


def select_batches(
    campaigns: Iterable[QueuedCampaign], due: Callable[[int], Iterator[DueBatch]], budget: Budget
) -> Iterator[tuple[QueuedCampaign, DueBatch]]:
    """The batches to release now, in order; a contender's `served` grows by the messages chosen.

    Start-time fair queueing: among those of the lowest rank, who was served least goes first.
    `due` gives a campaign's due batches in order. Budget and contenders are used up by it.
    """
    queues: dict[int, Iterator[DueBatch]] = {}
    heap: list[tuple[int, int, int, QueuedCampaign]] = []
    for one in campaigns:
        queues[one.campaign_id] = due(one.campaign_id)
        heappush(heap, (one.rank, one.virtual_time, one.campaign_id, one))
    while heap and not budget.is_spent:
        contender = heappop(heap)[-1]
        if contender.own_rate is not None and contender.own_rate.is_out_of_reach:
            continue
        batch = next(queues[contender.campaign_id], None)
        if batch is None:
            continue
        if not budget.has_room_for(batch):
            return  # whoever needs less must not pass it for ever
        budget.book_batch(batch)
        if contender.own_rate is not None:
            contender.own_rate.book_batch(batch)
        contender.virtual_time += batch.size
        yield contender, batch
        heappush(heap, (contender.rank, contender.virtual_time, contender.campaign_id, contender))


def departure_offsets(costs: Iterable[float], per_second: float | None) -> Iterator[float]:
    """Seconds after the start of a batch at which each of its requests may leave, at a rate."""
    paid = 0.0
    for cost in costs:
        yield paid
        if per_second is not None:
            paid += cost / per_second


def end_of_day(now: datetime, zone: tzinfo) -> datetime:
    """The end of the day that it is in `zone`: the account's day, by which limits are counted."""
    tomorrow = now.astimezone(zone).date() + timedelta(days=1)
    return datetime.combine(tomorrow, time(), zone).astimezone(UTC)


def poll_delay(polls: int, *, first_s: float, max_s: float) -> float:
    """Seconds until a request's state is asked for again after `polls` looks: growing by half."""
    return min(max_s, first_s * 1.5 ** min(polls, 40))
