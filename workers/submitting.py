"""The submit task: claim, reserve, begin, call; then `settling.py` stores the answers.

The order keeps the promises: nothing is attempted before its attempt row is committed, no database
session is open during the call, and every write carries the claim's fence.
"""

import logging
import time
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from math import inf

from sqlalchemy import Connection

from dispatcher.errors import BrokerError, ConfigError, DispatcherError, Refused, StoreError
from dispatcher.gates import gate
from dispatcher.providers.base import Provider
from dispatcher.ratelimit import Bucket, Reservation
from dispatcher.release import rates_of, release, seconds_ahead
from dispatcher.rendering import has_own_texts
from dispatcher.schedule import RELEASE_AHEAD_S, SHORT_WAIT_S, Unit, day_end, departures
from dispatcher.spill import Answer
from dispatcher.store import accounts, attempts, batches, campaigns, messages
from dispatcher.store.attempts import Begun, Terms
from dispatcher.store.batches import Claim
from dispatcher.store.engine import store_now
from dispatcher.store.sets import AnyRow
from dispatcher.transport import Departure, boottime
from workers.app import SUBMIT, app, publish
from workers.failing import count_failure, pause_campaign
from workers.keeping import keep
from workers.quiet import explained
from workers.rendering import batch_of, requests_of
from workers.services import Services, services
from workers.settling import Ended, Settling, Work

log = logging.getLogger(__name__)

#: From the attempt row to the first byte, by a clock that counts suspend; else it is withdrawn.
_FIRST_BYTE_S = 1.0
#: What a request may take beyond its time-out: connecting, and storing the answer.
_DEADLINE_SLACK_S = 15.0
_BROKER_RETRY_S = 2.0
#: A batch begins so long before its start, so that a commit does not make the start late.
_LEAD_S = 0.25
_COMMIT_S = 0.05
#: So late a start may be and still pay from when it was due. Who is later pays from the start: what
#: one stall held up must not leave as a burst.
_CATCH_UP_S = 0.02
#: The requests of a batch leave within this time, whatever rate was set since it was planned, so
#: that a pause or another rate holds at once; the rest is released again.
_SPREAD_S = 1.0


@app.task(name=SUBMIT)
def submit(batch_id: int, fence: int) -> None:
    """Submit one released batch; a message that lost the race is a no-op."""
    own = services()
    with explained(log, f"batch {batch_id}"), own.gate.enter() as may_begin:
        # A message that is not taken here is found by the sweep.
        claim = _claim(own, batch_id, fence) if may_begin else None
        if claim is None:
            return
        with own.leases.hold(claim), explained(log, f"batch {batch_id}"):
            try:
                _submit_claimed(own, claim)
            except Refused as refusal:
                pause_campaign(own, claim, refusal)
            except ConfigError as error:
                _hand_back(own, claim, wait_s=own.lease.total_seconds(), reason=error.message)
            except DispatcherError:
                raise
            except Exception as error:  # noqa: BLE001 - a defect that this batch runs into
                count_failure(own, claim, error)
        if not own.stopping.is_set():
            _release_next(own, claim.account)


def _claim(own: Services, batch_id: int, fence: int) -> Claim | None:
    with own.store.write() as conn:
        if not own.witness.may_claim(conn):
            return None
        return batches.claim(conn, batch_id, fence, store_now(conn) + own.lease)


def _submit_claimed(own: Services, claim: Claim) -> None:
    if own.stopping.is_set():
        _hand_back(own, claim)
        return
    work = _prepare(own, claim)
    if work is None:
        return
    try:
        reservation = _reserve(own, work)
    except BrokerError as error:
        _hand_back(own, claim, wait_s=_BROKER_RETRY_S, reason=error.message)
        return
    if not reservation.granted:
        _hand_back(own, claim, wait_s=max(0.0, reservation.wait_s - RELEASE_AHEAD_S))
        return
    due, wait_s = boottime() + reservation.wait_s, reservation.wait_s
    while wait_s <= SHORT_WAIT_S:
        if own.stopping.wait(max(0.0, wait_s - _LEAD_S)):
            wait_s = 0.0
            break
        try:
            begun = _begin(own, work, reservation, due)
        except StoreError:
            # Whether the attempts are stored is not known, but that nothing left is.
            gone = Answer(claim=claim, attempt_id=None)
            keep(own, gone.store, [gone])
            raise
        if begun is None:
            return
        if isinstance(begun, _Start):
            _call(own, work, begun)
            return
        due, wait_s = boottime() + begun, begun
    _hand_back(own, claim, wait_s=wait_s)


def _prepare(own: Services, claim: Claim) -> Work | None:
    """Render the batch's pending messages into requests."""
    provider = own.provider(claim.account)
    limit = provider.settings.daily_limit
    with own.store.read() as conn:
        now = store_now(conn)
        campaign = campaigns.get(conn, claim.campaign_id)
        account = accounts.get(conn, claim.account)
        left = accounts.left_today(account, limit, now) if account is not None else None
        rows = messages.pending(conn, claim, _most(claim, campaign, provider, left))
    if left == 0:
        _hand_back(own, claim, until=day_end(now, own.zone(claim.account)))
        return None
    if campaign is None or account is None or not rows:
        with own.store.write() as conn:
            batches.settle_empty(conn, claim)
        return None
    batch = batch_of(campaign, claim.account, claim.encoding, rows)
    work = Work(
        claim=claim,
        provider=provider,
        requests=requests_of(provider, campaign, batch),
        account=account,
        campaign=campaign,
    )
    soon = [
        request for request, s in zip(work.requests, _offsets(work), strict=True) if s < _SPREAD_S
    ]
    return replace(work, requests=soon)


def _most(claim: Claim, campaign: AnyRow | None, provider: Provider, left: int | None) -> int:
    """How many of a batch's recipients may leave now; the rest is released again.

    One where it tries a provider. Never more than are planned for this account: what is left of a
    batch that was another account's may be more.
    """
    texts_differ = campaign is not None and has_own_texts(campaign)
    most = 1 if claim.is_probe else provider.batch_size(texts_differ=texts_differ)
    return most if left is None else min(most, left)


def _reserve(own: Services, work: Work) -> Reservation:
    """Pay the account's rates and the campaign's for the whole batch, or for none of it."""
    with own.store.read() as conn:
        now = store_now(conn)

    def bucket(key: str, unit: Unit, per_second: float, paid_until: datetime | None) -> Bucket:
        cost, floor_s = float(sum(work.costs(unit))), seconds_ahead(paid_until, now)
        return Bucket(key=key, cost=cost, per_second=per_second, floor_s=floor_s)

    account = work.account._mapping
    buckets = [
        bucket(f"{work.claim.account}:{unit}", unit, rate, account[f"{unit}_paid_until"])
        for unit, rate in rates_of(work.provider.settings).items()
    ]
    if work.campaign.rate is not None:
        key, paid_until = _campaign_key(work), work.campaign.paid_until
        buckets.append(bucket(key, Unit.MESSAGES, work.campaign.rate, paid_until))
    return own.limiter.reserve(buckets, max_wait_s=SHORT_WAIT_S)


def _campaign_key(work: Work) -> str:
    """Each rate has its bucket: what was paid at another one is the store's to say."""
    return f"campaign {work.claim.campaign_id} at {work.campaign.rate}"


@dataclass(frozen=True, slots=True)
class _Start:
    """A begun batch, the instant of `boottime()` that it begins at, and for how long it has paid.

    `not_after`: the window's end on that clock.
    """

    begun: Begun
    at: float
    paid_for_s: float
    not_after: float | None


def _begin(
    own: Services, work: Work, reservation: Reservation, due: float
) -> _Start | float | None:
    """Commit the attempt rows. From here on a crash leaves doubt.

    The batch starts at `due`, or when what has begun is paid, if that is soon; the seconds to wait
    where it is not. None where the batch must not begin.
    """
    settings = work.provider.settings
    costs = {key: s - reservation.wait_s for key, s in reservation.paid_for_s.items()}
    with own.store.write() as conn:
        now, now_at = store_now(conn), boottime()
        start = max(due, now_at + _early_s(conn, work, now))
        if (early_s := start - now_at) > _LEAD_S + _CATCH_UP_S:
            return early_s
        # Requests at a pace are not begun while the commit is under way: it would gather them.
        soonest_s = _COMMIT_S if len(work.requests) > 1 else 0.0
        if early_s < soonest_s - _CATCH_UP_S:
            start, early_s = now_at + soonest_s, soonest_s
        paid = {key: max(0.0, early_s + s) for key, s in costs.items()}
        campaign_paid_for_s = paid.pop(_campaign_key(work), None)
        terms = Terms(
            gate=lambda row, at: gate(settings, row, work.claim.zone, at),
            deadline=now + timedelta(seconds=settings.timeout_s + _DEADLINE_SLACK_S),
            paid_for_s={Unit(key.rpartition(":")[2]): s for key, s in paid.items()},
            campaign_paid_for_s=campaign_paid_for_s,
            daily_limit=settings.daily_limit,
            day_until=day_end(now, own.zone(work.claim.account)),
        )
        seqs = [[recipient.seq for recipient in r.recipients] for r in work.requests]
        begun = attempts.begin(conn, work.claim, seqs, terms=terms, now=now)
    if begun is None:
        return None
    not_after = None
    if begun.until is not None:
        not_after = now_at + (begun.until - begun.at).total_seconds()
    return _Start(begun, start, max(costs.values(), default=inf), not_after)


def _early_s(conn: Connection, work: Work, now: datetime) -> float:
    """Seconds until the rates are free, under the account's lock; less than none since when.

    More than none where Redis forgot a reservation (FLUSHALL, a restart) while it was waited for,
    and gave the same time away again.
    """
    account = accounts.lock(conn, work.claim.account)
    campaign = campaigns.get(conn, work.claim.campaign_id)
    paid = []
    if account is not None:
        rates = rates_of(work.provider.settings)
        paid = [account._mapping[f"{unit}_paid_until"] for unit in rates]
    if campaign is not None and campaign.rate is not None:
        paid.append(campaign.paid_until)
    return max((seconds_ahead(until, now) for until in paid), default=-inf)


def _call(own: Services, work: Work, start: _Start) -> None:
    """Make the requests, and store each answer as it comes."""
    started = time.monotonic()
    attempt_ids = start.begun.attempt_ids
    own.witness.begun(attempt_ids)
    settling = Settling(own, work)
    groups = own.runtime.call_groups(
        [request.http for request in work.requests],
        timeout_s=work.provider.settings.timeout_s,
        concurrency=len(work.requests),
        departures=_departures(work, start),
    )
    left = len(work.requests)
    for group in groups:
        left -= len(group)
        ended = [Ended(attempt_ids[i], work.requests[i], answer) for i, answer in group]
        settling.settle(ended, is_last=not left)
    log.info("batch %d: %s in %.2f s", work.claim.id, settling, time.monotonic() - started)


def _departures(work: Work, start: _Start) -> list[Departure]:
    """When each request of a batch may leave: spread over the batch's share of every rate.

    Where the commit was late they all are, and what does not fit the paid time any more stays: the
    next batch comes at its end.
    """
    late_s = max(0.0, boottime() - start.at)
    paid_until = start.at + start.paid_for_s
    closes = inf if start.not_after is None else start.not_after
    return [
        Departure(
            not_before=start.at + late_s + offset,
            begin_deadline=start.at + offset + _FIRST_BYTE_S,
            not_after=min(closes, paid_until) if offset else start.not_after,
        )
        for offset in _offsets(work)
    ]


def _offsets(work: Work) -> list[float]:
    """Seconds from the start of a batch until each of its requests may leave."""
    rates = [*rates_of(work.provider.settings).items()]
    if work.campaign.rate is not None:
        rates.append((Unit.MESSAGES, work.campaign.rate))
    if not rates:
        return [0.0] * len(work.requests)
    spread = [list(departures(work.costs(unit), rate)) for unit, rate in rates]
    return [max(at) for at in zip(*spread, strict=True)]


def _hand_back(
    own: Services,
    claim: Claim,
    *,
    wait_s: float = 0.0,
    until: datetime | None = None,
    reason: str | None = None,
) -> None:
    with own.store.write() as conn:
        if wait_s:
            until = store_now(conn) + timedelta(seconds=wait_s)
        batches.hand_back(conn, claim, not_before=until, error=reason)


def _release_next(own: Services, account: str) -> None:
    """Self-clocking: who finishes a batch releases the next."""
    with own.store.write() as conn:
        tickets = release(conn, account, own.settings.account(account), store_now(conn))
    publish(tickets)
