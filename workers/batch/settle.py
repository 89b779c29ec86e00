"""Settling: what a provider said is judged and stored, with what it means for account and campaign.

An answer is never thrown away: `durable_write.py` tries again while the store is gone.
"""

import logging
import random
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from sqlalchemy import Connection

from dispatcher.errors import ErrorKind, ProviderError
from dispatcher.outbound.transport import NotBegun
from dispatcher.policy.backoff import full_jitter, retry_delay
from dispatcher.policy.breaker import BreakerPolicy, ProbeSignal, next_state, signal_of
from dispatcher.policy.fair_queue import Unit
from dispatcher.policy.verdict import (
    MISSING,
    Verdict,
    judge_answer,
    judge_error,
    partial_stop_error,
)
from dispatcher.providers.base import Provider, StatusLookup
from dispatcher.recovery.spill import PollSchedule, Settlement, apply_settlements
from dispatcher.status import CampaignState
from dispatcher.store import accounts, batch_endings, campaigns, health
from dispatcher.store.answers import PollPlan
from dispatcher.store.batches import Claim
from dispatcher.store.table_values import AnyRow
from dispatcher.text.segments import measure_text
from dispatcher.types import HttpResponse, RecipientResult, SubmitOutcome, SubmitRequest
from workers.batch.durable_write import write_durably
from workers.services import Services

log = logging.getLogger(__name__)

#: Failures that say nothing of the batch itself: it is tried again, a bounded number of times.
_COUNTED_FAILURES = frozenset({ErrorKind.UNREACHABLE, ErrorKind.THROTTLED})
#: By so much a batch that failed comes after the others when its account goes on.
_RETRY_MARGIN_S = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class PreparedBatch:
    """A claimed batch, ready to be submitted; the rows are as they were at `at`."""

    at: datetime
    claim: Claim
    provider: Provider
    requests: Sequence[SubmitRequest]
    account: AnyRow
    campaign: AnyRow

    def parse_answer(self, request: SubmitRequest, response: HttpResponse) -> SubmitOutcome:
        """Read the answer to one of its requests. Raises ProviderError."""
        if self.campaign.contact_lists is None:
            return self.provider.parse_submit(request, response)
        job_id = self.provider.parse_contact_list(response)
        (everybody,) = request.recipients
        result = RecipientResult(msisdn=everybody.msisdn, accepted=True)
        return SubmitOutcome(results=(result,), job_id=job_id)

    @property
    def poll_schedule(self) -> PollSchedule | None:
        """When its accepted messages are asked about; nobody of a contact list is known."""
        if self.campaign.contact_lists is not None:
            return None
        return _poll_schedule(self.provider, self.campaign.schedule_at)

    def costs_in(self, unit: Unit) -> list[int]:
        """What each request pays of a rate in this unit."""
        if unit is Unit.REQUESTS:
            return [1] * len(self.requests)
        if unit is Unit.MESSAGES:
            return [len(request.recipients) for request in self.requests]
        return [
            sum(measure_text(recipient.text).parts for recipient in request.recipients)
            for request in self.requests
        ]


class EndedRequest(NamedTuple):
    """A request that ended: its attempt, and the answer or why there is none."""

    attempt_id: int
    request: SubmitRequest
    answer: HttpResponse | ProviderError


class BatchSettler:
    """Stores the answers to one batch's requests, then closes the batch. Its str() sums up."""

    def __init__(self, services: Services, work: PreparedBatch) -> None:
        self._services = services
        self._work = work
        self._is_stored = True
        self._error: ProviderError | None = None
        self._accepted = self._rejected = self._doubtful = 0

    def __str__(self) -> str:
        counts = f"{self._accepted} accepted, {self._rejected} refused, {self._doubtful} in doubt"
        return counts if self._error is None else f"{counts} ({self._error.message})"

    def settle_answers(self, ended: Sequence[EndedRequest], *, is_last: bool) -> None:
        """Store the answers to some of the requests; with the last ones the batch is closed."""
        judged = [self._judge_answer(*each) for each in ended]

        def store(conn: Connection, now: datetime) -> None:
            # The account's row is locked before the campaign's and the batch's, as everywhere.
            if any(error is not None for _given, error in judged):
                accounts.lock_account(conn, self._work.claim.account)
            was_reached = False
            for given, error in judged:
                if given.verdict is None:
                    continue
                sign = signal_of(error, given.verdict)
                # One success after another says nothing new.
                if error is not None or sign is not ProbeSignal.REACHED or not was_reached:
                    _note_health(conn, self._work, error, sign, now)
                was_reached = error is None and sign is ProbeSignal.REACHED
            apply_settlements(conn, [given for given, _error in judged], now)
            if is_last and self._is_stored:
                self._close_batch(conn, now)

        self._is_stored &= write_durably(self._services, store, [given for given, _error in judged])

    def _judge_answer(
        self, attempt_id: int, request: SubmitRequest, answer: HttpResponse | ProviderError
    ) -> tuple[Settlement, ProviderError | None]:
        if isinstance(answer, NotBegun):
            self._error = self._error or answer
            return Settlement(claim=self._work.claim, attempt_id=attempt_id), answer
        verdict, error = _judge_response(self._work, request, answer)
        self._error = error or self._error
        self._accepted += len(verdict.accepted)
        self._rejected += len(verdict.rejected)
        self._doubtful += len(verdict.doubtful)

        given = Settlement(
            claim=self._work.claim,
            attempt_id=attempt_id,
            verdict=verdict,
            polling=self._work.poll_schedule,
            never_left=error is not None and error.kind is ErrorKind.UNREACHABLE,
        )
        return given, error

    def _close_batch(self, conn: Connection, now: datetime) -> None:
        """End the batch, or give it back with what is left of it.

        Not while an answer to it waits on the disk: what that answers would look left.
        """
        error, claim = self._error, self._work.claim
        # What was not begun says nothing of the batch, nor does a probe while the breaker is open.
        failure = None if isinstance(error, NotBegun) else error
        is_try = failure is not None and failure.kind in _COUNTED_FAILURES and not claim.is_probe
        not_before = None
        if failure is not None and failure.kind.retryable:
            wait_s = retry_delay(claim.tries + 1, failure.retry_after_s, random.random)
            not_before = _behind_others(conn, claim, now + timedelta(seconds=wait_s))
        batch_endings.close_batch(
            conn,
            claim,
            not_before=not_before,
            error=error.message if error is not None else None,
            failed_after=self._work.provider.settings.max_attempts if is_try else None,
            now=now,
        )


def _behind_others(conn: Connection, claim: Claim, at: datetime) -> datetime:
    """When a batch that failed may go again: the first one after a wait should be another.

    Else one that always fails would be the only one that its account ever tries.
    """
    account = accounts.find_account(conn, claim.account)
    opens_at = account.not_before if account is not None else None
    return max(at, opens_at or at) + timedelta(seconds=_RETRY_MARGIN_S)


def _judge_response(
    work: PreparedBatch, request: SubmitRequest, answer: HttpResponse | ProviderError
) -> tuple[Verdict, ProviderError | None]:
    if isinstance(answer, ProviderError):
        return judge_error(request.recipients, answer), answer
    try:
        outcome = work.parse_answer(request, answer)
    except ProviderError as error:
        return judge_error(request.recipients, error), error
    # Whatever is wrong with the adapter, the request was made. The cause may quote the answer.
    except Exception as error:  # noqa: BLE001
        words = f"the answer could not be read ({type(error).__name__})"
        doubt = ProviderError(ErrorKind.DOUBTFUL, words)
        return judge_error(request.recipients, doubt), doubt
    return judge_answer(request.recipients, outcome), partial_stop_error(outcome)


def make_poll_plan(provider: Provider, now: datetime) -> PollPlan | None:
    """When an accepted request is asked about; None where the provider has no such call."""
    polling = _poll_schedule(provider, None)
    return None if polling is None else polling.plan_from(now)


def _poll_schedule(provider: Provider, sent_at: datetime | None) -> PollSchedule | None:
    if provider.capabilities.delivery_status is StatusLookup.NONE:
        return None
    settings = provider.settings
    until_sent_s = 0.0
    if sent_at is not None:
        until_sent_s = max(0.0, (sent_at - datetime.now(UTC)).total_seconds())
    return PollSchedule(
        first_s=until_sent_s + settings.poll_first_s,
        for_s=until_sent_s + settings.validity_hours * 3600,
    )


def _note_health(
    conn: Connection,
    work: PreparedBatch,
    error: ProviderError | None,
    sign: ProbeSignal,
    now: datetime,
) -> None:
    """What the answer says of the account, or of the campaign, as a whole."""
    name, settings = work.claim.account, work.provider.settings
    changed = health.change_health(
        conn,
        name,
        lambda known: next_state(
            known,
            sign,
            is_probe=work.claim.is_probe,
            reason=_error_text(error) if error is not None else MISSING,
            policy=_breaker_policy(work.provider),
            now=now,
            random=random.random,
        ),
        now,
    )
    if changed is not None and changed.breaker is None and sign is not ProbeSignal.REACHED:
        wait_s = full_jitter(changed.failures, random=random.random)
        accounts.throttle_until(conn, name, now + timedelta(seconds=wait_s))
    if error is None:
        return
    if error.kind.pauses_account:
        by, kind = error.kind.value, work.campaign.kind
        accounts.pause_account(conn, name, by=by, reason=_error_text(error), now=now, kind=kind)
        if error.kind is ErrorKind.CREDIT and work.provider.capabilities.balance:
            health.schedule_credit_check(conn, name, settings.credit_check_s, now)
    elif error.kind.pauses_campaign:
        campaigns.change_state(
            conn,
            work.claim.campaign_id,
            [CampaignState.RUNNING],
            CampaignState.PAUSED,
            actor="dispatcher",
            reason=_error_text(error),
            now=now,
        )
    elif error.kind is ErrorKind.THROTTLED:
        wait_s = retry_delay(work.claim.tries + 1, error.retry_after_s, random.random)
        accounts.throttle_until(conn, name, now + timedelta(seconds=wait_s))


def _breaker_policy(provider: Provider) -> BreakerPolicy:
    return BreakerPolicy(
        breaker_after=provider.settings.breaker_after,
        lists_accepted=provider.capabilities.lists_accepted,
        can_be_probed=provider.can_be_probed,
    )


def _error_text(error: ProviderError) -> str:
    return error.message if error.hint is None else f"{error.message} ({error.hint})"
