"""Settling: what a provider said is judged and stored, with what it means for account and campaign.

An answer is never thrown away: while the store is gone it is kept and tried again.
"""

import logging
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Connection

from dispatcher.backoff import full_jitter, retry_delay
from dispatcher.errors import ErrorKind, ProviderError, StoreError
from dispatcher.messages import HttpResponse, SubmitRequest
from dispatcher.providers.base import Provider, StatusLookup
from dispatcher.schedule import Unit
from dispatcher.segments import measure
from dispatcher.settlement import Verdict, judge, judge_error
from dispatcher.status import CampaignState
from dispatcher.store import accounts, attempts, campaigns
from dispatcher.store.attempts import PollPlan
from dispatcher.store.batches import Claim
from dispatcher.store.engine import Store, store_now
from dispatcher.store.sets import AnyRow
from dispatcher.transport import NotBegun
from workers.services import Services

log = logging.getLogger(__name__)

#: Failures that say nothing of the batch itself: it is tried again, a bounded number of times.
_COUNTED = frozenset({ErrorKind.UNREACHABLE, ErrorKind.THROTTLED})


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """A claimed batch, ready to be submitted; the rows are as they were when it was claimed."""

    claim: Claim
    provider: Provider
    requests: Sequence[SubmitRequest]
    account: AnyRow
    campaign: AnyRow

    def costs(self, unit: Unit) -> list[int]:
        """What each request pays of a rate in this unit."""
        if unit is Unit.REQUESTS:
            return [1] * len(self.requests)
        if unit is Unit.MESSAGES:
            return [len(request.recipients) for request in self.requests]
        return [
            sum(measure(recipient.text).parts for recipient in request.recipients)
            for request in self.requests
        ]


class Settling:
    """Stores the answers to one batch's requests, then closes the batch. Its str() sums up."""

    def __init__(self, own: Services, work: Work) -> None:
        self._store = own.store
        self._work = work
        self._error: ProviderError | None = None
        self._accepted = self._rejected = self._doubtful = 0

    def __str__(self) -> str:
        counts = f"{self._accepted} accepted, {self._rejected} refused, {self._doubtful} in doubt"
        return counts if self._error is None else f"{counts} ({self._error.message})"

    def settle(
        self, attempt_id: int, request: SubmitRequest, answer: HttpResponse | ProviderError
    ) -> None:
        """Store the answer to one request."""
        if isinstance(answer, NotBegun):
            self._error, claim = answer, self._work.claim
            keep(self._store, lambda conn, now: attempts.withdraw(conn, claim, attempt_id, now))
            return
        verdict, error = _judged(self._work.provider, request, answer)
        self._error = error or self._error
        self._accepted += len(verdict.accepted)
        self._rejected += len(verdict.rejected)
        self._doubtful += len(verdict.doubtful)

        def store(conn: Connection, now: datetime) -> None:
            _note_health(conn, self._work, error, now)
            poll = _poll_plan(self._work.provider, now)
            attempts.settle(conn, self._work.claim, attempt_id, verdict, poll=poll, now=now)

        keep(self._store, store)

    def close(self) -> None:
        """End the batch, or give it back with what is left of it."""
        error, claim = self._error, self._work.claim
        is_try = error is not None and error.kind in _COUNTED and not isinstance(error, NotBegun)

        def store(conn: Connection, now: datetime) -> None:
            not_before = None
            if error is not None and is_try:
                wait_s = retry_delay(claim.tries + 1, error.retry_after_s, random.random)
                not_before = now + timedelta(seconds=wait_s)
            attempts.close_batch(
                conn,
                claim,
                not_before=not_before,
                error=error.message if error is not None else None,
                failed_after=self._work.provider.settings.max_attempts if is_try else None,
                now=now,
            )

        keep(self._store, store)


def keep(store: Store, write: Callable[[Connection, datetime], object]) -> None:
    """Run `write` in a transaction, again and again until the store takes it."""
    failures = 1
    while True:
        try:
            with store.write() as conn:
                write(conn, store_now(conn))
        except StoreError as error:
            log.error("an answer waits to be stored: %s", error.message)
            time.sleep(full_jitter(failures, cap_s=5.0, random=random.random))
            failures += 1
        else:
            return


def _judged(
    provider: Provider, request: SubmitRequest, answer: HttpResponse | ProviderError
) -> tuple[Verdict, ProviderError | None]:
    if isinstance(answer, ProviderError):
        return judge_error(request.recipients, answer), answer
    try:
        outcome = provider.parse_submit(request, answer)
    except ProviderError as error:
        return judge_error(request.recipients, error), error
    return judge(request.recipients, outcome), None


def _poll_plan(provider: Provider, now: datetime) -> PollPlan | None:
    if provider.capabilities.delivery_status is StatusLookup.NONE:
        return None
    settings = provider.settings
    return PollPlan(
        first_at=now + timedelta(seconds=settings.poll_first_s),
        until=now + timedelta(hours=settings.validity_hours),
    )


def _note_health(conn: Connection, work: Work, error: ProviderError | None, now: datetime) -> None:
    """What the answer says of the account, or of the campaign, as a whole."""
    name = work.claim.account
    if error is None or error.kind is ErrorKind.RECIPIENTS:
        accounts.reached(conn, name)
    elif error.kind.pauses_account:
        accounts.pause(conn, name, by=error.kind.value, reason=_words(error), now=now)
    elif error.kind.pauses_campaign:
        campaigns.change_state(
            conn,
            work.claim.campaign_id,
            [CampaignState.RUNNING],
            CampaignState.PAUSED,
            actor="dispatcher",
            reason=_words(error),
            now=now,
        )
    elif error.kind is ErrorKind.THROTTLED:
        wait_s = retry_delay(work.claim.tries + 1, error.retry_after_s, random.random)
        accounts.hold(conn, name, now + timedelta(seconds=wait_s), failed=False)
    else:
        wait_s = full_jitter(work.account.failures + 1, random=random.random)
        accounts.hold(conn, name, now + timedelta(seconds=wait_s), failed=True)


def _words(error: ProviderError) -> str:
    return error.message if error.hint is None else f"{error.message} ({error.hint})"
