"""What a provider's arrivals, and the starts that the store has on record, say of a rate."""

from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import NamedTuple

from sqlalchemy import select

from dispatcher.policy.pacing import DEADLINE_SLACK_S
from dispatcher.status import AttemptOutcome
from dispatcher.store.engine import Store
from dispatcher.store.tables import ATTEMPT

#: Times are stored in microseconds.
_ROUNDING_S = 5e-6
#: What a sum of floats is off by: 1.2 - 1 is less than 0.2.
_EPSILON_S = 1e-9


class Start(NamedTuple):
    """The start that a request was given: of an attempt the store keeps the deadline."""

    at: float
    recipients: int
    has_left: bool


def starts_on_record(
    store: Store, timeout_s: float, *, campaign_id: int | None = None
) -> list[Start]:
    """Every start, in order; of one campaign where given."""
    query = select(ATTEMPT.c.deadline, ATTEMPT.c.size, ATTEMPT.c.outcome)
    if campaign_id is not None:
        query = query.where(ATTEMPT.c.campaign_id == campaign_id)
    with store.read() as conn:
        return [
            Start(
                row.deadline.timestamp() - timeout_s - DEADLINE_SLACK_S,
                row.size,
                row.outcome != AttemptOutcome.NOT_SENT,
            )
            for row in conn.execute(query.order_by(ATTEMPT.c.deadline))
        ]


def too_early(starts: Sequence[tuple[float, float]], per_second: float) -> list[float]:
    """By how many seconds starts (time, amount) come before what precedes them is paid."""
    early = [a.at + a.amount / per_second - b.at for a, b in pairwise(_Paid(*s) for s in starts)]
    return [seconds for seconds in early if seconds > _ROUNDING_S]


class _Paid(NamedTuple):
    at: float
    amount: float


def at_most_in_a_second(arrivals: Iterable[tuple[float, float]]) -> float:
    """The largest sum of what arrived in any half-open second; `arrivals` are (time, amount)."""
    given = sorted(arrivals)
    most = held = 0.0
    first = 0
    for at, amount in given:
        held += amount
        while given[first][0] <= at - 1 + _EPSILON_S:
            held -= given[first][1]
            first += 1
        most = max(most, held)
    return most
