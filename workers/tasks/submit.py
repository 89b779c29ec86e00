"""The submit task: claim a batch, build its requests, and let them leave in one turn.

`turn.py` begins the requests, sends them and stores the answers.

The order keeps the promises: no request leaves before its attempt row is committed, no database
session is open during the call, and every write carries the claim's fence.
"""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from functools import partial
from math import inf

from sqlalchemy import Connection

from dispatcher.errors import ConfigError, DispatcherError, Refused, StoreError
from dispatcher.logs.events import LogEvent
from dispatcher.outbound.release import release_batches
from dispatcher.policy.batching import first_within
from dispatcher.policy.fair_queue import RELEASE_AHEAD_S, end_of_day
from dispatcher.store import accounts, batch_endings, batches, campaigns, messages
from dispatcher.store.batches import Claim
from dispatcher.store.engine import store_now
from workers.app import app, publish_batches
from workers.batch.durable_write import write_durably, write_patiently
from workers.batch.failures import count_failure, pause_refused_campaign
from workers.batch.prepared import PreparedBatch
from workers.batch.requests import build_batch, build_requests, refuse_others, turn_size
from workers.batch.turn import Turn
from workers.broker.task_messages import SUBMIT
from workers.services import Services, get_services
from workers.task_report import TaskFailed, TaskReport

log = logging.getLogger(__name__)


class _HeldBatch:
    """A claimed batch, and how many slots it frees at its end: all of them if it was not sent."""

    freed_slots: float = inf


@app.task(name=SUBMIT, throws=(TaskFailed,))
def submit_task(batch_id: int, fence: int) -> str:
    """Submit one released batch. Nothing happens if another task has claimed it.

    Returns what became of it. Raises TaskFailed if something is in doubt or went wrong.
    """
    report = TaskReport()
    _submit_batch(get_services(), batch_id, fence, report)
    return report.finish()


def _submit_batch(services: Services, batch_id: int, fence: int, report: TaskReport) -> None:
    not_submitted, words = LogEvent.BATCH_NOT_SUBMITTED, f"batch {batch_id}"
    with (
        report.log_errors(log, not_submitted, words, batch=batch_id),
        services.gate.enter_submission() as may_begin,
    ):
        # Its message is gone: the sweep queues the batch again, much later, if this fails.
        if not may_begin:
            _give_up_ticket(services, batch_id, fence)
            return
        claim = _claim_batch(services, batch_id, fence)
        if claim is None:
            return
        with (
            _release_afterwards(services, claim.account) as held,
            services.leases.keep_renewed(claim),
            report.log_errors(log, not_submitted, words, **claim.log_fields),
        ):
            try:
                _submit_claimed(services, claim, held, report)
            except Refused as refusal:
                pause_refused_campaign(services, claim, refusal)
                report.fail(f"campaign {claim.campaign_id} is paused: {refusal.message}")
            except ConfigError as error:
                report.fail(error.in_one_line)
                _hand_back(
                    services, claim, wait_s=services.lease.total_seconds(), reason=error.message
                )
            except StoreError:
                # This worker is alive: it must not count as lost because the store was away.
                write_durably(services, partial(_hand_back_claimed, claim))
                raise
            except DispatcherError:
                raise
            except Exception as error:  # noqa: BLE001 - a bug that this batch runs into
                report.fail(count_failure(services, claim, error))


def _claim_batch(services: Services, batch_id: int, fence: int) -> Claim | None:
    """Claim it. While the store is busy or away this waits: the batch has no other message.

    A claim whose commit was stored, but not acknowledged, waits for its lease. The row does not say
    whose claim it is, and another task may have the same ticket; nothing of it was attempted.
    """

    def claim(conn: Connection, now: datetime) -> Claim | None:
        if not services.rollback_guard.may_claim(conn):
            return None
        return batches.claim_batch(conn, batch_id, fence, now + services.lease)

    return write_patiently(services, claim, within_s=services.settings.worker.requeue_after_s)


def _give_up_ticket(services: Services, batch_id: int, fence: int) -> None:
    """Make the batch pending again, for others: this process begins nothing more."""
    with services.store.write() as conn:
        batches.return_queued(conn, [(batch_id, fence)])


@contextmanager
def _release_afterwards(services: Services, account: str) -> Iterator[_HeldBatch]:
    """Release the account's next batches after the block, if enough slots are free."""
    held = _HeldBatch()
    clock = services.release_clock
    clock.note_claimed(account)
    try:
        yield held
    finally:
        settings = services.settings.account(account)
        most = clock.max_in_flight(account, settings.max_in_flight)
        if clock.free_slots(account, held.freed_slots, most) and not services.stopping.is_set():
            tickets = []
            unsent: dict[int, int] = {}
            try:
                with services.store.write(survives_power_cut=False) as conn:
                    unsent = clock.start_release(account)
                    tickets = release_batches(
                        conn, account, settings, store_now(conn), max_in_flight=most, unsent=unsent
                    )
            finally:
                clock.start_release(account)
            publish_batches(tickets)


def _submit_claimed(services: Services, claim: Claim, held: _HeldBatch, report: TaskReport) -> None:
    if services.stopping.is_set():
        _hand_back(services, claim)
        return
    batch = _prepare_batch(services, claim)
    if batch is None:
        return
    turn = Turn(services, batch).run()
    held.freed_slots = turn.slots
    services.release_clock.note_unsent(claim.account, claim.campaign_id, turn.unsent)
    if turn.summary is not None:
        words = f"campaign {claim.campaign_id}, {claim.account}: {turn.summary}"
        (report.fail if turn.has_problem else report.note)(words)
    if turn.is_unbegun:
        report.note(f"waits {turn.wait_s:.1f} s for its rate")
        held.freed_slots = inf
        _hand_back(services, claim, wait_s=max(0.0, turn.wait_s - RELEASE_AHEAD_S))


def _prepare_batch(services: Services, claim: Claim) -> PreparedBatch | None:
    """Build the requests of the batch's pending messages. None: there are none to send now."""
    provider = services.provider_of(claim.account)
    limit = provider.settings.daily_limit
    with services.store.read() as conn:
        now = store_now(conn)
        campaign = campaigns.load_campaign(conn, claim.campaign_id)
        account = accounts.find_account(conn, claim.account)
        left = accounts.messages_left_today(account, limit, now) if account is not None else None
        size = turn_size(claim, campaign, provider, left)
        rows = first_within(messages.load_pending(conn, claim, size.recipients), size)
    if left == 0:
        _hand_back(services, claim, until=end_of_day(now, services.zone_of(claim.account)))
        return None
    if campaign is None or account is None or not rows:
        with services.store.write() as conn:
            batches.settle_empty(conn, claim)
        return None
    refuse_others(provider.settings, claim.account, [row.msisdn for row in rows])
    submission = build_batch(campaign, claim.account, claim.encoding, rows, now)
    return PreparedBatch(
        at=now,
        claim=claim,
        provider=provider,
        requests=build_requests(provider, campaign, submission),
        account=account,
        campaign=campaign,
    )


def _hand_back(
    services: Services,
    claim: Claim,
    *,
    wait_s: float = 0.0,
    until: datetime | None = None,
    reason: str | None = None,
) -> None:
    def hand_back(conn: Connection) -> None:
        now = store_now(conn)
        not_before = now + timedelta(seconds=wait_s) if wait_s else until
        batch_endings.hand_back(conn, claim, now=now, not_before=not_before, error=reason)

    services.store.run_write(hand_back)


def _hand_back_claimed(claim: Claim, conn: Connection, now: datetime) -> None:
    """Give the batch back where it has not begun; else `turn.py` did what was needed."""
    batch_endings.hand_back(conn, claim, now=now)
