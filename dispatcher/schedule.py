"""Pure decisions of release: how many batches an account may have out, and whose turn is next."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from heapq import heapify, heappop, heappushpop
from typing import NamedTuple

#: How long a worker may sleep on a reserved rate while it holds a batch.
SHORT_WAIT_S = 2.0
#: A batch is released when its turn at the rate comes within this time: more than a tick's
#: second, so that none starts late, and less than SHORT_WAIT_S, so that none is handed back.
RELEASE_AHEAD_S = 1.5


class DueBatch(NamedTuple):
    """A batch that could be released now: its pending messages, and the requests they take."""

    id: int
    size: int
    requests: int = 1


class Turn(NamedTuple):
    """A running campaign in the order of release: highest priority, then who had least."""

    rank: int
    served: int
    campaign_id: int


@dataclass(slots=True)
class Lane:
    """One rate of an account: `ahead_s` is how far into the future it is paid."""

    per_second: float
    counts_requests: bool
    ahead_s: float = 0.0

    def book(self, size: int, requests: int) -> None:
        """Count a batch that will pay this rate."""
        cost = requests if self.counts_requests else size
        self.ahead_s = max(0.0, self.ahead_s) + cost / self.per_second


@dataclass(slots=True)
class Budget:
    """What an account may still have released: places in flight, and rate within reach."""

    slots: int
    lanes: list[Lane] = field(default_factory=list)

    @property
    def is_spent(self) -> bool:
        """Whether nothing more may be released now."""
        return self.slots <= 0 or any(lane.ahead_s > RELEASE_AHEAD_S for lane in self.lanes)

    def take(self, batch: DueBatch) -> None:
        """Release a batch."""
        self.slots -= batch.requests
        for lane in self.lanes:
            lane.book(batch.size, batch.requests)


def choose(
    turns: Sequence[Turn], due: Callable[[int], Iterator[DueBatch]], budget: Budget
) -> Iterator[tuple[Turn, DueBatch]]:
    """The batches to release now, in order, with the turn that each campaign has afterwards.

    Start-time fair queueing: a campaign's turn grows by the messages it was served, and of the
    highest priority the lowest turn goes first. `due` gives a campaign's due batches in order.
    """
    queues = {turn.campaign_id: due(turn.campaign_id) for turn in turns}
    heap = list(turns)
    heapify(heap)
    turn = heappop(heap) if heap else None
    while turn is not None and not budget.is_spent:
        batch = next(queues[turn.campaign_id], None)
        if batch is None:
            turn = heappop(heap) if heap else None
            continue
        budget.take(batch)
        turn = turn._replace(served=turn.served + batch.size)
        yield turn, batch
        turn = heappushpop(heap, turn)


def poll_delay(polls: int, *, first_s: float, max_s: float) -> float:
    """Seconds until a request's state is asked for again after `polls` looks: growing by half."""
    return min(max_s, first_s * 1.5 ** min(polls, 40))
