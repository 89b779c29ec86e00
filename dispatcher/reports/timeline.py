"""What happened when: recipients by outcome over time, and the rate with its limit."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from dispatcher.reports.outcomes import NO_RECEIPT, OUTCOMES, outcome_of
from dispatcher.status import MessageState
from dispatcher.store.report_figures import BegunCount, FinalCount, RequestCount, TimeBuckets
from dispatcher.windows.schedule import Schedule

#: Lengths of a period in seconds, from which the shortest that fits is taken.
_SIZES: Final = (10, 30, 60, 300, 900, 3600, 10_800, 21_600, 86_400, 604_800, 2_592_000)
#: Periods that the database counts in, and those that are shown.
_MOST_COUNTED: Final = 20_000
_MOST_SHOWN: Final = 96
#: The picture ends when this share of the final states is known: the last receipts may take days.
_SHOWN_SHARE: Final = 0.99
_ACCEPTED: Final = frozenset(
    {
        MessageState.SUBMITTED,
        MessageState.DELIVERED,
        MessageState.UNDELIVERED,
        MessageState.EXPIRED,
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Timeline:
    """Recipients by outcome at the end of each period; `ends` are these times.

    `left_out` of them came to their final state after the last period.
    """

    ends: Sequence[datetime]
    outcomes: Mapping[str, Sequence[int]]
    left_out: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RateCurve:
    """Messages per second in each period of `size_s` seconds; `starts` are their begins.

    `limit` is what the account and the campaign allow now; None: no limit, or several.
    `is_closed` says of each period whether the windows were closed, as they are set now.
    """

    starts: Sequence[datetime]
    size_s: int
    per_second: Sequence[float]
    limit: float | None
    is_closed: Sequence[bool]


def choose_buckets(first: datetime, last: datetime, midnight: datetime) -> TimeBuckets:
    """Periods to count in, from `first` to `last`; whole ones from `midnight` on."""
    span_s = max((last - midnight).total_seconds(), 1)
    for size_s in _SIZES:
        if span_s / size_s <= _MOST_COUNTED:
            break
    skipped = int((first - midnight).total_seconds() // size_s) * size_s
    return TimeBuckets(midnight + timedelta(seconds=max(skipped, 0)), size_s)


def build_timeline(
    begun: Iterable[BegunCount], final: Iterable[FinalCount], buckets: TimeBuckets, total: int
) -> Timeline:
    """Recipients by outcome over time. `total` are all; who has no request yet is pending."""
    changes: dict[str, Counter[int]] = {name: Counter() for name in OUTCOMES}
    last_begun = 0
    for row in begun:
        last_begun = max(last_begun, row.bucket)
        if row.state in _ACCEPTED:
            changes[NO_RECEIPT][row.bucket] += row.n
        elif row.state == MessageState.IN_DOUBT:
            changes["in doubt"][row.bucket] += row.n
    ends = Counter[int]()
    for one in final:
        ends[one.bucket] += one.n
        changes[outcome_of(one.state)][one.bucket] += one.n
        if one.state in _ACCEPTED:
            changes[NO_RECEIPT][one.bucket] -= one.n
    last = max(last_begun, _share_reached(ends))
    step = -(-(last + 1) // _MOST_SHOWN)
    shown = range(step - 1, last + step, step)
    outcomes = {name: _running_totals(counts, shown) for name, counts in changes.items()}
    known = [sum(outcomes[name][i] for name in OUTCOMES) for i in range(len(shown))]
    outcomes["pending"] = [max(total - count, 0) for count in known]
    return Timeline(
        ends=[buckets.origin + timedelta(seconds=(i + 1) * buckets.size_s) for i in shown],
        outcomes=outcomes,
        left_out=sum(count for bucket, count in ends.items() if bucket > shown[-1]),
    )


def build_rate(
    requests: Iterable[RequestCount],
    buckets: TimeBuckets,
    limit: float | None,
    schedule: Schedule | None,
) -> RateCurve:
    """The rate over time, until the last request. `schedule` is when sending is allowed."""
    sent = Counter[int]()
    for row in requests:
        sent[row.bucket] += row.messages
    last = max(sent, default=0)
    step = -(-(last + 1) // _MOST_SHOWN)
    size_s = step * buckets.size_s
    starts = [
        buckets.origin + timedelta(seconds=i * buckets.size_s) for i in range(0, last + 1, step)
    ]
    return RateCurve(
        starts=starts,
        size_s=size_s,
        per_second=[
            sum(sent[i] for i in range(first, first + step)) / size_s
            for first in range(0, last + 1, step)
        ],
        limit=limit,
        is_closed=[
            schedule is not None and not schedule.is_open(at + timedelta(seconds=size_s / 2))
            for at in starts
        ],
    )


def _share_reached(ends: Counter[int]) -> int:
    """The period in which `_SHOWN_SHARE` of the final states is reached."""
    wanted, seen = ends.total() * _SHOWN_SHARE, 0
    for bucket in sorted(ends):
        seen += ends[bucket]
        if seen >= wanted:
            return bucket
    return 0


def _running_totals(counts: Counter[int], ends: Sequence[int]) -> list[int]:
    """The sum of all periods up to each of `ends`."""
    totals: list[int] = []
    ordered, at, total = sorted(counts), 0, 0
    for end in ends:
        while at < len(ordered) and ordered[at] <= end:
            total += counts[ordered[at]]
            at += 1
        totals.append(max(total, 0))  # a clock that was set back can end a message too soon
    return totals
