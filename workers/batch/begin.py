"""Beginning: the attempt rows of a claimed batch are committed, with the start that it gets.

From here on a crash leaves doubt, so a batch begins only shortly before its start.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from math import inf
from typing import Final

from dispatcher.campaigns.gate import send_permission
from dispatcher.outbound.transport import Departure, boottime_s
from dispatcher.policy.fair_queue import end_of_day
from dispatcher.policy.pacing import DEADLINE_SLACK_S, LatenessGuard, seconds_to_start
from dispatcher.store import attempts, batches
from dispatcher.store.attempts import BeginConditions, BegunBatch
from dispatcher.store.engine import store_now
from workers.batch import rates
from workers.batch.settle import PreparedBatch
from workers.services import Services

#: From the start on record to the first byte, by a clock that counts suspend; else withdrawn.
_FIRST_BYTE_S: Final = 1.0
#: By account; only the event loop of this process asks them.
_lateness_guards: Final = defaultdict[str, LatenessGuard](LatenessGuard)


@dataclass(frozen=True, slots=True)
class StartedBatch:
    """A begun batch, and when each of its requests may leave."""

    begun: BegunBatch
    departures: list[Departure]


def begin_batch(services: Services, work: PreparedBatch) -> StartedBatch | float | None:
    """Give the batch the next free start of its rates, and commit its attempt rows.

    The seconds until that start where it is too early to begin; None where the batch must not.
    """
    settings = work.provider.settings
    offsets = rates.request_offsets_s(work)
    with services.store.write() as conn:
        locked = attempts.lock_for_begin(conn, work.claim)
        if locked.campaign.rate != work.campaign.rate:
            # It was made for another one.
            batches.hand_back(conn, work.claim, not_before=None)
            return None
        now, now_at = store_now(conn), boottime_s()
        free_s = rates.seconds_until_free(locked, work, now)
        start_s = seconds_to_start(free_s)
        if start_s is None:
            return free_s
        paid = {rate: start_s + rate.duration_s(work) for rate in rates.batch_rates(work)}
        timeout = timedelta(seconds=settings.timeout_s + DEADLINE_SLACK_S)
        terms = BeginConditions(
            gate=lambda row, at: send_permission(settings, row, work.claim.zone, at),
            deadline=now + timedelta(seconds=start_s) + timeout,
            offsets_s=offsets,
            paid_for_s={rate.unit: s for rate, s in paid.items() if not rate.is_campaigns},
            campaign_paid_for_s=next((s for rate, s in paid.items() if rate.is_campaigns), None),
            daily_limit=settings.daily_limit,
            day_until=end_of_day(now, services.zone_of(work.claim.account)),
        )
        seqs = [[recipient.seq for recipient in r.recipients] for r in work.requests]
        begun = attempts.begin_attempts(conn, work.claim, seqs, locked=locked, terms=terms, now=now)
    if begun is None:
        return None
    closes = inf
    if begun.until is not None:
        closes = now_at + (begun.until - begun.at).total_seconds()
    paid_until = now_at + max(paid.values(), default=inf)
    door = _lateness_guards[work.claim.account] if paid else None
    leaving = zip(offsets, rates.request_intervals_s(work), strict=True)
    return StartedBatch(
        begun, list(_plan_departures(now_at + start_s, leaving, paid_until, closes, door))
    )


def _plan_departures(
    start: float,
    leaving: Iterable[tuple[float, float]],
    paid_until: float,
    closes: float,
    door: LatenessGuard | None,
) -> Iterator[Departure]:
    """Spread over what the batch has paid for; all but `leaving` are instants of `boottime_s()`.

    `leaving`: of each request the seconds from the start to it, and from it to the next one.

    Where the commit was late they all are, and what does not fit the paid time any more stays: the
    next batch comes at its end.
    """
    late_s = max(0.0, boottime_s() - start)
    for offset, spacing in leaving:
        due = start + late_s + offset if offset else start
        yield Departure(
            not_before=start + late_s + offset,
            begin_deadline=start + offset + _FIRST_BYTE_S,
            not_after=min(closes, paid_until) if offset else closes,
            may_leave=None if door is None else partial(door.allows, due, spacing),
        )
