"""Beginning requests of a batch: their attempt rows are committed, and each gets its start.

A crash after the commit leaves doubt, so a request begins only shortly before its start.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from itertools import accumulate
from math import inf
from typing import Final, Protocol

from sqlalchemy import Connection

from dispatcher.campaigns.gate import send_permission
from dispatcher.outbound.departure import boottime_s
from dispatcher.policy.fair_queue import TURN_S, end_of_day
from dispatcher.policy.pacing import (
    DEADLINE_SLACK_S,
    LEAD_S,
    ROUNDING_S,
    ClockReading,
    Starts,
    lead_s,
)
from dispatcher.providers.base import Provider
from dispatcher.store import accounts, attempts, batch_endings, batches
from dispatcher.store.attempts import BeginConditions, BegunBatch, LockedForBegin
from dispatcher.store.batches import Claim
from dispatcher.store.engine import store_now
from dispatcher.store.rows import AccountRow
from dispatcher.types import SubmitRequest
from workers.batch.prepared import PreparedBatch
from workers.batch.rates import BatchCosts
from workers.http.flight import FlightRequest
from workers.services import Services

#: A batch with more than this share of its messages pending has only just begun.
_JUST_BEGUN: Final = 0.75


@dataclass(frozen=True, slots=True)
class BegunGroup:
    """Requests that have begun, with their attempts by number."""

    attempt_ids: dict[int, int]
    requests: list[FlightRequest]
    #: Seconds until more may begin.
    wait_s: float
    #: The claims of batches of which these are the first requests.
    fresh: Sequence[Claim]


class RequestGroup(Protocol):
    """Requests of one account that share a turn: those of a batch, or of a bundle."""

    @property
    def account_name(self) -> str:
        """The account."""

    @property
    def provider(self) -> Provider:
        """The account's provider."""

    @property
    def requests(self) -> Sequence[SubmitRequest]:
        """The requests, by number."""


@dataclass(frozen=True, slots=True)
class Stagger:
    """Another batch has only just begun: seconds until it is half sent, at most half a turn."""

    wait_s: float


@dataclass(frozen=True, slots=True)
class WrittenBegin:
    """The attempt rows of the requests `numbers`, with the starts that they were given.

    `fresh` are the claims of batches of which these are the first requests.
    """

    numbers: Sequence[int]
    starts: Starts
    begun: BegunBatch
    #: When it was decided.
    reading: ClockReading
    fresh: Sequence[Claim]


def begin_requests(
    services: Services,
    batch: PreparedBatch,
    costs: BatchCosts,
    numbers: Sequence[int],
    *,
    is_first: bool,
    may_stagger: bool,
    settle: Callable[[Connection, datetime], None],
) -> BegunGroup | Stagger | float | None:
    """Begin the first of a batch's requests that may start soon; `numbers` are their places in it.

    `settle` stores the answers that have come meanwhile, in the same transaction, whatever becomes
    of the begin. `is_first`: nothing of this claim has begun yet. `may_stagger`: it may wait until
    the batch beside it is half sent. Returns the seconds until more may begin where the next free
    start is too far away, a Stagger where it lets that batch go ahead, and None where nothing of
    the batch may begin any more; before its first request it was handed back then. Raises
    StoreError: whether anything was stored is unknown, and surely none of these requests was sent.
    """
    with services.store.write() as conn:
        written = _write_begin(
            conn,
            services,
            batch,
            costs,
            numbers,
            is_first=is_first,
            may_stagger=may_stagger,
            settle=settle,
        )
    if isinstance(written, WrittenBegin):
        return plan_group(services, batch, costs, written)
    return written


def _write_begin(
    conn: Connection,
    services: Services,
    batch: PreparedBatch,
    costs: BatchCosts,
    numbers: Sequence[int],
    *,
    is_first: bool,
    may_stagger: bool,
    settle: Callable[[Connection, datetime], None],
) -> WrittenBegin | Stagger | float | None:
    """What of a begin is in its transaction; seconds and None are those of `begin_requests`."""
    claim = batch.claim
    locked = attempts.lock_for_begin(conn, claim, is_paid=batch.campaign.rate is not None)
    reading = ClockReading.take(partial(store_now, conn), boottime_s)
    now = reading.now
    settle(conn, now)
    if locked.campaign.rate == batch.campaign.rate:
        numbers = numbers_within_the_day(batch, numbers, locked.account, now)
    else:
        numbers = []  # the requests were chosen for another rate
    if not numbers:
        # Other requests are made of what is left: by the new rate, or for the rest of the day.
        if is_first:
            batch_endings.hand_back(conn, claim, now=now)
        return None
    pace = services.paces.of(claim.account)
    starts = pace.find_starts(
        conn,
        reading,
        costs.keys,
        [costs.spacings[number] for number in numbers],
        [rate.paid_s(locked, now) for rate in costs.rates],
    )
    begins_s = starts.at_s[0] if starts.at_s else starts.next_s
    if is_first:
        begins_s += seconds_of_earlier(conn, claim, costs, locked, now)
    if not starts.at_s or begins_s > lead_s(pace.commit_s) + ROUNDING_S:
        return max(0.0, begins_s - LEAD_S / 2)
    if is_first and may_stagger and (stagger_s := _seconds_to_stagger(conn, batch, costs)):
        return Stagger(stagger_s)
    numbers = numbers[: len(starts.at_s)]
    begun = attempts.begin_attempts(
        conn,
        claim,
        [[each.seq for each in batch.requests[number].recipients] for number in numbers],
        locked=locked,
        terms=_conditions(services, batch, costs, starts, now),
        is_first=is_first,
        now=now,
    )
    fresh = [claim] if is_first else []
    return None if begun is None else WrittenBegin(numbers, starts, begun, reading, fresh)


def plan_group(
    services: Services, group: RequestGroup, costs: BatchCosts, written: WrittenBegin
) -> BegunGroup:
    """After the commit: when the begun requests may leave."""
    numbers, starts, begun = written.numbers, written.starts, written.begun
    now_at = written.reading.answered_at
    pace = services.paces.of(group.account_name)
    pace.note_commit(boottime_s() - now_at)
    closes = inf if begun.until is None else written.reading.locate_end(begun.until)
    pays_s = [costs.spacings[number] for number in numbers]
    departures = pace.plan_departures(starts, pays_s, costs.keys, now_at=now_at, closes=closes)
    return BegunGroup(
        attempt_ids=dict(zip(numbers, begun.attempt_ids, strict=True)),
        requests=[
            FlightRequest(number, group.requests[number].http, departure)
            for number, departure in zip(numbers, departures, strict=True)
        ],
        wait_s=max(0.0, starts.next_s - LEAD_S / 2),
        fresh=written.fresh,
    )


def seconds_of_earlier(
    conn: Connection, claim: Claim, costs: BatchCosts, locked: LockedForBegin, now: datetime
) -> float:
    """For how long batches that were released before will use the account's rates.

    A batch that waits looks for its start only shortly before it. One that came later would take
    each of its starts, again and again.
    """
    used_s = costs.account_paid_s(locked, now)
    if used_s <= 0:
        return 0.0  # nobody has to wait
    ahead = batches.count_waiting_ahead(conn, claim.id, now + timedelta(seconds=used_s), now)
    return ahead * costs.account_interval_s(0)


def _seconds_to_stagger(conn: Connection, batch: PreparedBatch, costs: BatchCosts) -> float:
    """For how long to let the batch beside this one go ahead, if it has only just begun.

    Two batches that share their rates and began together also end together. Then nothing would
    leave while both wait for their last answers. Other campaigns may have rates of their own.
    """
    takes_s = len(batch.requests) * costs.interval_s(0)
    if len(batch.requests) == 1 or takes_s < TURN_S / 2:
        return 0.0
    messages = sum(len(request.recipients) for request in batch.requests)
    beside = batches.count_pending_beside(conn, batch.claim.id)
    return min(takes_s, TURN_S) / 2 if beside > _JUST_BEGUN * messages else 0.0


def numbers_within_the_day(
    group: RequestGroup, numbers: Sequence[int], account: AccountRow | None, now: datetime
) -> Sequence[int]:
    """The first of the requests that fit into the rest of the account's daily limit."""
    limit = group.provider.settings.daily_limit
    if limit is None or account is None:
        return numbers
    left = accounts.messages_left_today(account, limit, now) or 0
    sizes = accumulate(len(group.requests[number].recipients) for number in numbers)
    return numbers[: sum(size <= left for size in sizes)]


def _conditions(
    services: Services,
    batch: PreparedBatch,
    costs: BatchCosts,
    starts: Starts,
    now: datetime,
) -> BeginConditions:
    """On what terms the requests may begin, and what they pay."""
    settings, claim = batch.provider.settings, batch.claim
    paid = list(zip(costs.rates, starts.paid_s, strict=True))
    return BeginConditions(
        gate=lambda row, at: send_permission(settings, row, claim.zone, at),
        deadline=now + timedelta(seconds=settings.timeout_s + DEADLINE_SLACK_S),
        offsets_s=starts.at_s,
        paid_for_s={rate.unit: s for rate, s in paid if not rate.is_campaigns},
        campaign_paid_for_s=next((s for rate, s in paid if rate.is_campaigns), None),
        daily_limit=settings.daily_limit,
        day_until=end_of_day(now, services.zone_of(claim.account)),
    )
