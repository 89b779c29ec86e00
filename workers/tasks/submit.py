"""The submit task: claim, reserve, begin, call.

`rates.py` and `begin.py` give it its start, `settle.py` stores the answers.

The order keeps the promises: nothing is attempted before its attempt row is committed, no database
session is open during the call, and every write carries the claim's fence.
"""

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime, timedelta
from math import inf

from dispatcher.campaigns.rendering import has_own_texts
from dispatcher.errors import BrokerError, ConfigError, DispatcherError, Refused, StoreError
from dispatcher.outbound.release import release_batches
from dispatcher.policy.fair_queue import RELEASE_AHEAD_S, SHORT_WAIT_S, end_of_day
from dispatcher.policy.pacing import LEAD_S
from dispatcher.providers.base import Provider
from dispatcher.recovery.spill import Settlement
from dispatcher.store import accounts, batches, campaigns, messages
from dispatcher.store.batches import Claim
from dispatcher.store.engine import store_now
from dispatcher.store.table_values import AnyRow
from workers.app import SUBMIT, app, publish_batches
from workers.batch import rates
from workers.batch.begin import StartedBatch, begin_batch
from workers.batch.durable_write import write_durably
from workers.batch.failures import count_failure, pause_campaign
from workers.batch.requests import build_batch, build_requests
from workers.batch.self_clock import ReleaseClock
from workers.batch.settle import BatchSettler, EndedRequest, PreparedBatch
from workers.log_filter import log_expected_errors
from workers.services import Services, get_services

log = logging.getLogger(__name__)

_BROKER_RETRY_S = 2.0
#: The requests of a batch leave within this time, whatever rate was set since it was planned, so
#: that a pause or another rate holds at once; the rest is released again.
_MAX_SPREAD_S = 1.0

_release_clock = ReleaseClock()


class _HeldBatch:
    """A batch that this process holds: how many places it has set free, all if it did not leave."""

    freed_slots: float = inf


@app.task(name=SUBMIT)
def submit_task(batch_id: int, fence: int) -> None:
    """Submit one released batch; a message that lost the race is a no-op."""
    services = get_services()
    with (
        log_expected_errors(log, f"batch {batch_id}"),
        services.gate.enter_submission() as may_begin,
    ):
        # A message that is not taken here is found by the sweep.
        claim = _claim_batch(services, batch_id, fence) if may_begin else None
        if claim is None:
            return
        with (
            _release_afterwards(services, claim.account) as held,
            services.leases.keep_renewed(claim),
            log_expected_errors(log, f"batch {batch_id}"),
        ):
            try:
                _submit_claimed(services, claim, held)
            except Refused as refusal:
                pause_campaign(services, claim, refusal)
            except ConfigError as error:
                _hand_back(
                    services, claim, wait_s=services.lease.total_seconds(), reason=error.message
                )
            except DispatcherError:
                raise
            except Exception as error:  # noqa: BLE001 - a defect that this batch runs into
                count_failure(services, claim, error)


def _claim_batch(services: Services, batch_id: int, fence: int) -> Claim | None:
    with services.store.write(survives_power_cut=False) as conn:
        if not services.rollback_guard.may_claim(conn):
            return None
        return batches.claim_batch(conn, batch_id, fence, store_now(conn) + services.lease)


@contextmanager
def _release_afterwards(services: Services, account: str) -> Iterator[_HeldBatch]:
    """Around a held batch: afterwards the next ones are released, if it is time to."""
    held = _HeldBatch()
    _release_clock.note_claimed(account)
    try:
        yield held
    finally:
        settings = services.settings.account(account)
        is_due = _release_clock.free_slots(account, held.freed_slots, settings.max_in_flight)
        if is_due and not services.stopping.is_set():
            tickets = []
            try:
                with services.store.write(survives_power_cut=False) as conn:
                    _release_clock.start_release(account)
                    tickets = release_batches(conn, account, settings, store_now(conn))
            finally:
                _release_clock.start_release(account)
            publish_batches(tickets)


def _submit_claimed(services: Services, claim: Claim, held: _HeldBatch) -> None:
    if services.stopping.is_set():
        _hand_back(services, claim)
        return
    work = _prepare_batch(services, claim)
    if work is None:
        return
    try:
        reservation = rates.reserve_start(services, work)
    except BrokerError as error:
        _hand_back(services, claim, wait_s=_BROKER_RETRY_S, reason=error.message)
        return
    if not reservation.granted:
        _hand_back(services, claim, wait_s=max(0.0, reservation.wait_s - RELEASE_AHEAD_S))
        return
    wait_s = reservation.wait_s
    while wait_s <= SHORT_WAIT_S:
        if services.stopping.wait(max(0.0, wait_s - LEAD_S)):
            wait_s = 0.0
            break
        try:
            begun = begin_batch(services, work)
        except StoreError:
            # Whether the attempts are stored is not known, but that nothing left is.
            gone = Settlement(claim=claim, attempt_id=None)
            write_durably(services, gone.store, [gone])
            raise
        if begun is None:
            return
        if isinstance(begun, StartedBatch):
            _make_requests(services, work, begun)
            held.freed_slots = len(work.requests)
            return
        wait_s = begun
    _hand_back(services, claim, wait_s=wait_s)


def _prepare_batch(services: Services, claim: Claim) -> PreparedBatch | None:
    """Render the batch's pending messages into requests."""
    provider = services.provider_of(claim.account)
    limit = provider.settings.daily_limit
    with services.store.read() as conn:
        now = store_now(conn)
        campaign = campaigns.load_campaign(conn, claim.campaign_id)
        account = accounts.find_account(conn, claim.account)
        left = accounts.messages_left_today(account, limit, now) if account is not None else None
        rows = messages.load_pending(conn, claim, _max_messages(claim, campaign, provider, left))
    if left == 0:
        _hand_back(services, claim, until=end_of_day(now, services.zone_of(claim.account)))
        return None
    if campaign is None or account is None or not rows:
        with services.store.write() as conn:
            batches.settle_empty(conn, claim)
        return None
    batch = build_batch(campaign, claim.account, claim.encoding, rows, now)
    work = PreparedBatch(
        at=now,
        claim=claim,
        provider=provider,
        requests=build_requests(provider, campaign, batch),
        account=account,
        campaign=campaign,
    )
    offsets = rates.request_offsets_s(work)
    soon = [request for request, s in zip(work.requests, offsets, strict=True) if s < _MAX_SPREAD_S]
    return replace(work, requests=soon)


def _max_messages(
    claim: Claim, campaign: AnyRow | None, provider: Provider, left: int | None
) -> int:
    """How many of a batch's recipients may leave now; the rest is released again.

    One where it tries a provider. Never more than are planned for this account: what is left of a
    batch that was another account's may be more.
    """
    texts_differ = campaign is not None and has_own_texts(campaign)
    most = 1 if claim.is_probe else provider.batch_size(texts_differ=texts_differ)
    return most if left is None else min(most, left)


def _make_requests(services: Services, work: PreparedBatch, start: StartedBatch) -> None:
    """Make the requests, and store each answer as it comes."""
    started = time.monotonic()
    attempt_ids = start.begun.attempt_ids
    services.rollback_guard.record_attempts(attempt_ids)
    # Should this process die now, its log says that this batch's doubts are its own.
    log.info(
        "batch %d, fence %d: %d requests leave", work.claim.id, work.claim.fence, len(attempt_ids)
    )
    settling = BatchSettler(services, work)
    groups = services.runtime.send_requests(
        [request.http for request in work.requests],
        timeout_s=work.provider.settings.timeout_s,
        concurrency=len(work.requests),
        departures=start.departures,
    )
    left = len(work.requests)
    for group in groups:
        left -= len(group)
        ended = [EndedRequest(attempt_ids[i], work.requests[i], answer) for i, answer in group]
        settling.settle_answers(ended, is_last=not left)
    log.info("batch %d: %s in %.2f s", work.claim.id, settling, time.monotonic() - started)


def _hand_back(
    services: Services,
    claim: Claim,
    *,
    wait_s: float = 0.0,
    until: datetime | None = None,
    reason: str | None = None,
) -> None:
    with services.store.write() as conn:
        if wait_s:
            until = store_now(conn) + timedelta(seconds=wait_s)
        batches.hand_back(conn, claim, not_before=until, error=reason)
