"""Settling: a provider's answers are judged and stored, with what follows for account and campaign.

No answer is lost: `durable_write.py` tries again while the store is away.
"""

import logging
import random
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import NamedTuple

from sqlalchemy import Connection

from dispatcher.errors import ErrorKind, ProviderError
from dispatcher.logs.events import LogEvent, log_event
from dispatcher.outbound.departure import NotBegun
from dispatcher.policy.backoff import full_jitter, retry_delay
from dispatcher.policy.breaker import BreakerPolicy, ProbeSignal, next_state, signal_of
from dispatcher.policy.verdict import (
    MISSING,
    Verdict,
    judge_answer,
    judge_error,
    partial_stop_error,
)
from dispatcher.providers.base import Provider
from dispatcher.store import accounts, batch_endings, health
from dispatcher.store.batches import Claim
from dispatcher.store.locks import lock_account, lock_campaign_shared
from dispatcher.store.settlement import Settlement, apply_settlements
from dispatcher.types import HttpResponse, SubmitRequest
from workers.batch.durable_write import write_durably
from workers.batch.failures import pause_running_campaign
from workers.batch.prepared import PreparedBatch
from workers.services import Services

log = logging.getLogger(__name__)

#: Failures that say nothing about the batch itself: it is tried again, up to `max_attempts` times.
_COUNTED_FAILURES = frozenset({ErrorKind.UNREACHABLE, ErrorKind.THROTTLED})
#: How long a failed batch waits after its account continues, so that other batches are first.
_RETRY_MARGIN_S = 2.0


class EndedRequest(NamedTuple):
    """A request that ended: its attempt, and the answer or the reason why there is none."""

    attempt_id: int
    request: SubmitRequest
    answer: HttpResponse | ProviderError


class JudgedRequest(NamedTuple):
    """What is to be stored of a request that ended, and what went wrong with it."""

    settlement: Settlement
    error: ProviderError | None


class BatchSettler:
    """Stores the answers to the requests of one batch, then closes it. `str()` gives a summary."""

    def __init__(self, services: Services, batch: PreparedBatch) -> None:
        self._services = services
        self._batch = batch
        #: Whether no answer had to be kept on disk: then the batch may be closed.
        self.is_stored = True
        self._error: ProviderError | None = None
        self._accepted = self._rejected = self._doubtful = 0
        #: The provider asked for fewer requests.
        self.is_throttled = False
        #: Nothing more of the batch should leave now.
        self.must_stop = False
        self.is_closed = False

    def __str__(self) -> str:
        counts = (
            f"{self._accepted:,} accepted, {self._rejected:,} refused, {self._doubtful:,} in doubt"
        )
        return counts if self._error is None else f"{counts} ({self._error.message})"

    @property
    def is_clean(self) -> bool:
        """Whether every answer so far is stored, and none of them was an error."""
        return self.is_stored and self._error is None

    @property
    def has_problem(self) -> bool:
        """Whether something is in doubt, or a request failed."""
        return bool(self._doubtful) or self._error is not None

    def settle_answers(self, judged: Sequence[JudgedRequest], *, is_last: bool) -> None:
        """Store the answers to some of the requests. With `is_last` the batch is closed too."""

        def write(conn: Connection, now: datetime) -> None:
            is_closing = is_last and self.is_stored
            self.settle_in(conn, judged, now, is_closing=is_closing)
            if is_closing:
                self._close_batch(conn, now)

        settlements = [settlement for settlement, _error in judged]
        self.is_stored &= write_durably(self._services, write, settlements)
        self.is_closed |= is_last
        self._log_doubt(judged)

    def _log_doubt(self, judged: Sequence[JudgedRequest]) -> None:
        verdicts = [each.settlement.verdict for each in judged]
        count = sum(len(verdict.doubtful) for verdict in verdicts if verdict is not None)
        if not count:
            return
        claim = self._batch.claim
        reason = self._error.message if self._error is not None else MISSING
        words = (
            f"campaign {claim.campaign_id}, account {claim.account}, batch {claim.id}: "
            f"{count:,} recipients are in doubt: {reason}"
        )
        log_event(log, LogEvent.IN_DOUBT, words, **claim.log_fields)

    def settle_in(
        self,
        conn: Connection,
        judged: Sequence[JudgedRequest],
        now: datetime,
        *,
        is_closing: bool = False,
    ) -> None:
        """Store answers in the caller's transaction. A second time changes nothing."""
        # Lock order: account, campaign, batch.
        if any(error is not None for _settlement, error in judged):
            lock_account(conn, self._batch.claim.account)
        was_reached = False
        for settlement, error in judged:
            if settlement.verdict is None:
                continue
            signal = signal_of(error, settlement.verdict)
            # A second success in a row changes nothing.
            if error is not None or signal is not ProbeSignal.REACHED or not was_reached:
                note_health(conn, self._batch, error, signal, now)
            was_reached = error is None and signal is ProbeSignal.REACHED
        settlements = [settlement for settlement, _error in judged]
        if is_closing and not any(each.may_return for each in settlements):
            lock_campaign_shared(conn, self._batch.claim.campaign_id)
        apply_settlements(conn, settlements, now)

    def judge_answer(self, ended: EndedRequest) -> JudgedRequest:
        """What the answer to a request means for its recipients."""
        attempt_id, request, answer = ended
        if isinstance(answer, NotBegun):
            return JudgedRequest(Settlement(claim=self._batch.claim, attempt_id=attempt_id), answer)
        verdict, error = _judge_response(self._batch, request, answer)
        if error is not None:
            self._note_error(error)
        self._accepted += len(verdict.accepted)
        self._rejected += len(verdict.rejected)
        self._doubtful += len(verdict.doubtful)
        settlement = Settlement(
            claim=self._batch.claim,
            attempt_id=attempt_id,
            verdict=verdict,
            polling=self._batch.poll_schedule,
            never_left=error is not None and error.kind is ErrorKind.UNREACHABLE,
        )
        return JudgedRequest(settlement, error)

    def _note_error(self, error: ProviderError) -> None:
        kind = error.kind
        self._error = error
        self.is_throttled |= kind is ErrorKind.THROTTLED
        self.must_stop |= kind in _COUNTED_FAILURES or kind.pauses_account or kind.pauses_campaign

    def _close_batch(self, conn: Connection, now: datetime) -> None:
        """End the batch, or make what is left of it pending again.

        Not while one of its answers waits on disk: the messages of that one would be sent again.
        """
        error, claim = self._error, self._batch.claim
        # A probe says nothing about the batch.
        is_try = error is not None and error.kind in _COUNTED_FAILURES and not claim.is_probe
        not_before = None
        if error is not None and error.kind.retryable:
            wait_s = retry_delay(claim.tries + 1, error.retry_after_s, random.random)
            not_before = _behind_others(conn, claim, now + timedelta(seconds=wait_s))
        batch_endings.close_batch(
            conn,
            claim,
            not_before=not_before,
            error=error.message if error is not None else None,
            failed_after=self._batch.provider.settings.max_attempts if is_try else None,
            now=now,
        )


def _behind_others(conn: Connection, claim: Claim, at: datetime) -> datetime:
    """When a failed batch may be tried again: later than the other batches of its account.

    Otherwise a batch that always fails could be the only one that the account ever tries.
    """
    account = accounts.find_account(conn, claim.account)
    opens_at = account.not_before if account is not None else None
    return max(at, opens_at or at) + timedelta(seconds=_RETRY_MARGIN_S)


def _judge_response(
    batch: PreparedBatch, request: SubmitRequest, answer: HttpResponse | ProviderError
) -> tuple[Verdict, ProviderError | None]:
    if isinstance(answer, ProviderError):
        return judge_error(request.recipients, answer), answer
    try:
        outcome = batch.parse_answer(request, answer)
    except ProviderError as error:
        return judge_error(request.recipients, error), error
    # A bug in the adapter: the request was sent all the same. `error` may quote the answer.
    except Exception as error:  # noqa: BLE001
        words = f"the answer could not be read ({type(error).__name__})"
        doubt = ProviderError(ErrorKind.DOUBTFUL, words)
        return judge_error(request.recipients, doubt), doubt
    return judge_answer(request.recipients, outcome), partial_stop_error(outcome)


def note_health(
    conn: Connection,
    batch: PreparedBatch,
    error: ProviderError | None,
    signal: ProbeSignal,
    now: datetime,
) -> None:
    """Store what the answer says about the health of the account, and about the campaign."""
    name, settings = batch.claim.account, batch.provider.settings
    changed = health.change_health(
        conn,
        name,
        lambda known: next_state(
            known,
            signal,
            is_probe=batch.claim.is_probe,
            reason=_error_text(error) if error is not None else MISSING,
            policy=_breaker_policy(batch.provider),
            now=now,
            random=random.random,
        ),
        now,
    )
    if changed is not None and changed.breaker is None and signal is not ProbeSignal.REACHED:
        wait_s = full_jitter(changed.failures, random=random.random)
        accounts.throttle_until(conn, name, now + timedelta(seconds=wait_s))
    if error is None:
        return
    if error.kind.pauses_account:
        by, kind, reason = error.kind.value, batch.campaign.kind, _error_text(error)
        if accounts.pause_account(conn, name, by=by, reason=reason, now=now, kind=kind):
            words = f"account {name} is paused ({by}): {reason}"
            log_event(log, LogEvent.ACCOUNT_PAUSED, words, account=name)
        if error.kind is ErrorKind.CREDIT and batch.provider.capabilities.balance:
            health.schedule_credit_check(conn, name, settings.credit_check_s, now)
    elif error.kind.pauses_campaign:
        pause_running_campaign(conn, batch.claim, _error_text(error), now)
    elif error.kind is ErrorKind.THROTTLED:
        wait_s = retry_delay(batch.claim.tries + 1, error.retry_after_s, random.random)
        accounts.throttle_until(conn, name, now + timedelta(seconds=wait_s))


def _breaker_policy(provider: Provider) -> BreakerPolicy:
    return BreakerPolicy(
        breaker_after=provider.settings.breaker_after,
        lists_accepted=provider.capabilities.lists_accepted,
        can_be_probed=provider.can_be_probed,
    )


def _error_text(error: ProviderError) -> str:
    return error.message if error.hint is None else f"{error.message} ({error.hint})"
