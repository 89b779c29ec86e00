"""The submit task: claim a batch, build its requests, and let them leave in one turn.

`turn.py` begins the requests, sends them and stores the answers.

The order keeps the promises: no request leaves before its attempt row is committed, no database
session is open during the call, and every write carries the claim's fence.
"""

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from functools import partial
from math import inf

from sqlalchemy import Connection

from dispatcher.errors import ConfigError, DispatcherError, Refused, StoreError
from dispatcher.logs.events import EventFields, LogEvent
from dispatcher.outbound.release import release_batches
from dispatcher.policy.batching import first_within
from dispatcher.policy.fair_queue import RELEASE_AHEAD_S, end_of_day
from dispatcher.providers.base import Provider
from dispatcher.store import accounts, batch_endings, batches, messages, tickets
from dispatcher.store.batches import Claim
from dispatcher.store.engine import store_now
from dispatcher.store.row_parts import PendingMessage
from dispatcher.store.rows import AccountRow, CampaignRow
from dispatcher.store.workloads import effective_priority, load_campaigns
from workers.app import app, publish_batches
from workers.batch.durable_write import write_durably, write_patiently
from workers.batch.failures import count_failure, pause_refused_campaign
from workers.batch.prepared import PreparedBatch, PreparedBundle
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
        claims = _claim_batches(services, batch_id, fence)
        if not claims:
            return
        with (
            _release_afterwards(services, claims[0].account) as held,
            services.leases.keep_renewed(*claims),
            report.log_errors(log, not_submitted, _name_claims(claims), **_log_fields(claims)),
        ):
            try:
                _submit_claimed(services, claims, held, report)
            except StoreError:
                # This worker is alive: it must not count as lost because the store was away.
                for claim in claims:
                    write_durably(services, partial(_hand_back_claimed, claim))
                raise
            except DispatcherError:
                raise
            except Exception as error:  # noqa: BLE001 - a bug that these batches run into
                for claim in claims:
                    report.fail(count_failure(services, claim, error))


def _name_claims(claims: Sequence[Claim]) -> str:
    """What an error is about that ends all of them."""
    others = f" and {len(claims) - 1:,} released with it" if len(claims) > 1 else ""
    return f"batch {claims[0].id}{others}"


def _log_fields(claims: Sequence[Claim]) -> EventFields:
    """What all of them have in common."""
    return claims[0].log_fields if len(claims) == 1 else EventFields(account=claims[0].account)


def _claim_batches(services: Services, batch_id: int, fence: int) -> list[Claim]:
    """Claim what was released with this ticket: a batch, or a bundle of them.

    While the store is busy or away this waits: the batch has no other message. A claim whose commit
    was stored, but not acknowledged, waits for its lease. The row does not say whose claim it is,
    and another task may have the same ticket; nothing of it was attempted.
    """

    def claim(conn: Connection, now: datetime) -> list[Claim]:
        if not services.rollback_guard.may_claim(conn):
            return []
        return tickets.claim_bundle(conn, batch_id, fence, now + services.lease)

    return write_patiently(services, claim, within_s=services.settings.worker.requeue_after_s)


def _give_up_ticket(services: Services, batch_id: int, fence: int) -> None:
    """Make the batch pending again, for others: this process begins nothing more."""
    with services.store.write() as conn:
        tickets.return_queued(conn, [(batch_id, fence)])


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
            released = []
            unsent: dict[int, int] = {}
            try:
                with services.store.write(survives_power_cut=False) as conn:
                    unsent = clock.start_release(account)
                    released = release_batches(
                        conn, account, settings, store_now(conn), max_in_flight=most, unsent=unsent
                    )
            finally:
                clock.start_release(account)
            publish_batches(released)


def _submit_claimed(
    services: Services, claims: Sequence[Claim], held: _HeldBatch, report: TaskReport
) -> None:
    if services.stopping.is_set():
        for claim in claims:
            _hand_back(services, claim)
        return
    prepared = _prepare_batches(services, claims, report)
    if not prepared:
        return
    group = prepared[0] if len(prepared) == 1 else PreparedBundle.join(prepared)
    turn = Turn(services, group).run()
    held.freed_slots = turn.slots
    account = group.account_name
    for campaign_id, count in turn.unsent_of.items():
        services.release_clock.note_unsent(account, campaign_id, count)
    if turn.summary is not None:
        campaign_ids = ", ".join(str(batch.claim.campaign_id) for batch in prepared)
        words = f"campaign {campaign_ids}, {account}: {turn.summary}"
        (report.fail if turn.has_problem else report.note)(words)
    if turn.is_unbegun:
        report.note(f"waits {turn.wait_s:.1f} s for its rate")
        held.freed_slots = inf
        for batch in prepared:
            wait_s = max(0.0, turn.wait_s - RELEASE_AHEAD_S)
            _hand_back(services, batch.claim, wait_s=wait_s)


def _prepare_batches(
    services: Services, claims: Sequence[Claim], report: TaskReport
) -> list[PreparedBatch]:
    """Build the requests of the batches' pending messages, those of urgent campaigns first.

    A batch whose requests cannot be built does not hinder the others, nor does one of which nothing
    is left.
    """
    account = claims[0].account
    try:
        provider = services.provider_of(account)
    except ConfigError as error:
        report.fail(error.in_one_line)
        wait_s = services.lease.total_seconds()
        for claim in claims:
            _hand_back(services, claim, wait_s=wait_s, reason=error.message)
        return []
    limit = provider.settings.daily_limit
    with services.store.read() as conn:
        now = store_now(conn)
        found = load_campaigns(conn, {claim.campaign_id for claim in claims})
        row = accounts.find_account(conn, account)
        left = accounts.messages_left_today(row, limit, now) if row is not None else None
        pending = _load_pending(conn, claims, found, provider, left)
    if left == 0:
        for claim in claims:
            _hand_back(services, claim, until=end_of_day(now, services.zone_of(account)))
        return []
    prepared = []
    for claim in claims:
        campaign, rows = found.get(claim.campaign_id), pending[claim.id]
        if campaign is None or row is None or not rows:
            with services.store.write() as conn:
                batches.settle_empty(conn, claim)
        elif len(claims) > 1 and campaign.rate is not None:
            _hand_back(services, claim)  # it was released before it had a rate of its own
        else:
            batch = _build_batch(services, claim, campaign, row, rows, now, report)
            prepared += [] if batch is None else [batch]
    return sorted(prepared, key=lambda one: -effective_priority(one.campaign))


def _load_pending(
    conn: Connection,
    claims: Sequence[Claim],
    found: Mapping[int, CampaignRow],
    provider: Provider,
    left: int | None,
) -> dict[int, Sequence[PendingMessage]]:
    """What of each batch is to be sent now, by its id."""
    if len(claims) > 1:
        everything: Mapping[int, Sequence[PendingMessage]] = messages.load_pending_of_all(
            conn, claims
        )
    pending: dict[int, Sequence[PendingMessage]] = {}
    for claim in claims:
        size = turn_size(claim, found.get(claim.campaign_id), provider, left)
        rows = (
            messages.load_pending(conn, claim, size.recipients)
            if len(claims) == 1
            else everything[claim.id]
        )
        pending[claim.id] = first_within(rows, size)
    return pending


def _build_batch(
    services: Services,
    claim: Claim,
    campaign: CampaignRow,
    account: AccountRow,
    rows: Sequence[PendingMessage],
    now: datetime,
    report: TaskReport,
) -> PreparedBatch | None:
    """Build the requests of a batch. None: it was handed back, with the reason."""
    provider = services.provider_of(claim.account)
    try:
        refuse_others(provider.settings, claim.account, [row.msisdn for row in rows])
        submission = build_batch(campaign, claim.account, claim.encoding, rows, now)
        requests = build_requests(provider, campaign, submission)
    except Refused as refusal:
        pause_refused_campaign(services, claim, refusal)
        report.fail(f"campaign {claim.campaign_id} is paused: {refusal.message}")
    except ConfigError as error:
        report.fail(error.in_one_line)
        wait_s = services.lease.total_seconds()
        _hand_back(services, claim, wait_s=wait_s, reason=error.message)
    except DispatcherError:
        raise
    except Exception as error:  # noqa: BLE001 - a bug that this batch runs into
        report.fail(count_failure(services, claim, error))
    else:
        return PreparedBatch(
            at=now,
            claim=claim,
            provider=provider,
            requests=requests,
            account=account,
            campaign=campaign,
        )
    return None


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
