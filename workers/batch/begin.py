"""Beginning a batch: its attempt rows are committed, and each request gets the time of its start.

A crash after the commit leaves doubt, so a batch begins only shortly before its start.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from math import inf
from typing import Final

from dispatcher.campaigns.gate import send_permission
from dispatcher.outbound.departure import Departure, boottime_s
from dispatcher.policy.fair_queue import end_of_day
from dispatcher.policy.pacing import (
    DEADLINE_SLACK_S,
    ClockReading,
    LatenessGuard,
    seconds_to_start,
)
from dispatcher.store import attempts, batches
from dispatcher.store.attempts import BeginConditions, BegunBatch
from dispatcher.store.engine import store_now
from workers.batch import rates
from workers.batch.prepared import PreparedBatch
from workers.services import Services

#: A request whose first byte is later than this after its start is not sent. The clock counts
#: the time that the machine is suspended.
_FIRST_BYTE_S: Final = 1.0
#: By account. Only the event loop of this process uses them.
_lateness_guards: Final = defaultdict[str, LatenessGuard](LatenessGuard)


@dataclass(frozen=True, slots=True)
class StartedBatch:
    """A begun batch, and when each of its requests may leave."""

    begun: BegunBatch
    departures: list[Departure]


def begin_batch(services: Services, batch: PreparedBatch) -> StartedBatch | float | None:
    """Give the batch the next free start of its rates, and commit its attempt rows.

    Returns the seconds until that start where it is too early to begin, and None where the batch
    may not begin and was handed back.
    """
    settings, claim = batch.provider.settings, batch.claim
    offsets = rates.request_offsets_s(batch)
    with services.store.write() as conn:
        locked = attempts.lock_for_begin(conn, claim)
        if locked.campaign.rate != batch.campaign.rate:
            # Its requests were chosen for another rate.
            batches.hand_back(conn, claim, not_before=None)
            return None
        reading = ClockReading.take(partial(store_now, conn), boottime_s)
        now, now_at = reading.now, reading.answered_at
        free_s = rates.seconds_until_free(locked, batch, now)
        start_s = seconds_to_start(free_s)
        if start_s is None:
            return free_s
        paid = {rate: start_s + rate.duration_s(batch) for rate in rates.batch_rates(batch)}
        timeout = timedelta(seconds=settings.timeout_s + DEADLINE_SLACK_S)
        terms = BeginConditions(
            gate=lambda row, at: send_permission(settings, row, claim.zone, at),
            deadline=now + timedelta(seconds=start_s) + timeout,
            offsets_s=offsets,
            paid_for_s={rate.unit: s for rate, s in paid.items() if not rate.is_campaigns},
            campaign_paid_for_s=next((s for rate, s in paid.items() if rate.is_campaigns), None),
            daily_limit=settings.daily_limit,
            day_until=end_of_day(now, services.zone_of(claim.account)),
        )
        seqs = [[recipient.seq for recipient in r.recipients] for r in batch.requests]
        begun = attempts.begin_attempts(conn, claim, seqs, locked=locked, terms=terms, now=now)
    if begun is None:
        return None
    closes = inf if begun.until is None else reading.locate_end(begun.until)
    paid_until = now_at + max(paid.values(), default=inf)
    guard = _lateness_guards[claim.account] if paid else None
    leaving = zip(offsets, rates.request_intervals_s(batch), strict=True)
    departures = _plan_departures(now_at + start_s, leaving, paid_until, closes, guard)
    return StartedBatch(begun, list(departures))


def _plan_departures(
    start: float,
    leaving: Iterable[tuple[float, float]],
    paid_until: float,
    closes: float,
    guard: LatenessGuard | None,
) -> Iterator[Departure]:
    """When each request may leave. Times but those of `leaving` are instants of `boottime_s()`.

    `leaving`: for each request the seconds from the start to it, and from it to the next one.

    A late commit delays all requests of the batch alike. A request that would run past the time
    this batch has reserved is not sent; the next batch starts there.
    """
    late_s = max(0.0, boottime_s() - start)
    for offset, interval_s in leaving:
        due = start + late_s + offset if offset else start
        yield Departure(
            not_before=start + late_s + offset,
            begin_deadline=start + offset + _FIRST_BYTE_S,
            not_after=min(closes, paid_until) if offset else closes,
            may_leave=None if guard is None else partial(guard.allows, due, interval_s),
        )
