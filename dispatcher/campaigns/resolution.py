"""What a person decides of recipients in doubt, and starts again of those that failed."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from sqlalchemy import Connection

from dispatcher.campaigns.view import find_campaign
from dispatcher.errors import Refused
from dispatcher.policy.reconciliation import DoubtNote
from dispatcher.status import CampaignState, MessageState
from dispatcher.store import decisions, doubts, retries
from dispatcher.store.decisions import AnnotatedMessage, LockedAttempt
from dispatcher.store.engine import Store, store_now
from dispatcher.store.table_values import AnyRow

_ACTOR = "operator"


class DoubtChoice(StrEnum):
    """What becomes of recipients in doubt."""

    #: Submit them again: some may get it twice.
    RESEND = "resend"
    #: Take them as submitted: some may get nothing.
    ASSUME_SUBMITTED = "assume-submitted"
    #: Give them up: some may get it, and count as failed.
    DROP = "drop"


@dataclass(frozen=True, slots=True, kw_only=True)
class DoubtCount:
    """Who of a campaign is in doubt; `parts` is what one more text to all of them takes."""

    campaign: AnyRow
    recipients: int
    parts: int
    #: When something is done about some of them without a person.
    next_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ResolutionResult:
    """How many recipients went on, and how many could not: their batch is held just now."""

    campaign_id: int
    recipients: int
    left: int


def count_doubts(store: Store, reference: str, numbers: Collection[int] = ()) -> DoubtCount:
    """Count who is in doubt, among `numbers` only where given. Raises Refused where nobody is."""
    with store.read() as conn:
        campaign = find_campaign(conn, reference)
        requests = doubts.requests_in_doubt(conn, campaign.id)
        next_at = doubts.doubt_outlook(conn, campaign.id).next_at
    found: set[int] = set()
    parts = count = 0
    for request in requests:
        with store.read() as conn:
            rows = _select_rows(conn, request, numbers)
        count += len(rows)
        parts += sum(row.parts for row in rows)
        if numbers:
            found.update(row.msisdn for row in rows)
    if not count:
        raise Refused(f"nobody of campaign {campaign.id} is in doubt; nothing was changed")
    if missing := set(numbers) - found:
        raise Refused(
            f"{len(missing)} of the numbers given are not in doubt in campaign {campaign.id}; "
            "nothing was changed"
        )
    return DoubtCount(campaign=campaign, recipients=count, parts=parts, next_at=next_at)


def resolve_doubts(
    store: Store, reference: str, choice: DoubtChoice, numbers: Collection[int] = ()
) -> ResolutionResult:
    """End doubts on a person's word, request by request, each with its audit row.

    Raises Refused where it is a cancelled campaign that should be submitted again.
    """
    with store.read() as conn:
        campaign = find_campaign(conn, reference)
        if choice is DoubtChoice.RESEND and campaign.state == CampaignState.CANCELLED:
            raise Refused(
                f"campaign {campaign.id} is cancelled: nothing of it is submitted again",
                "give --assume-submitted or --drop",
            )
        requests = doubts.requests_in_doubt(conn, campaign.id)
    done = left = 0
    for request in requests:
        with store.write() as conn:
            case = decisions.lock_attempt(conn, request)
            rows = _select_rows(conn, request, numbers)
            if choice is DoubtChoice.RESEND and case.is_at_provider:
                left += len(rows)
                continue
            now = store_now(conn)
            if rows:
                _apply_choice(conn, case, choice, rows, now)
                decisions.audit_decision(conn, case, choice.value, len(rows), actor=_ACTOR, now=now)
            decisions.reschedule_doubt(conn, case, next_at=case.attempt.reconcile_at, looked=False)
            done += len(rows)
    return ResolutionResult(campaign_id=campaign.id, recipients=done, left=left)


def retry_failed(store: Store, reference: str) -> ResolutionResult:
    """Start the failed messages of a campaign again, never one that was in doubt.

    Raises Refused where nothing of it may be sent any more, or nothing failed.
    """
    with store.read() as conn:
        campaign = find_campaign(conn, reference)
        is_late = campaign.expire_at is not None and campaign.expire_at <= store_now(conn)
        batches = retries.batches_with_failures(conn, campaign.id)
    sends = {CampaignState.SCHEDULED, CampaignState.RUNNING, CampaignState.PAUSED}
    if campaign.state not in {*sends, CampaignState.FINISHED} or is_late:
        why = "has expired" if is_late else f"is {campaign.state}"
        raise Refused(f"campaign {campaign.id} {why}: nothing of it is submitted again")
    done = left = 0
    for batch_id in batches:
        with store.write() as conn:
            moved = retries.retry_failed(conn, batch_id, store_now(conn))
            done += moved or 0
            left += moved is None
    if not done and not left:
        raise Refused(
            f"no message of campaign {campaign.id} has failed; nothing was changed",
            "those that were in doubt and given up are never tried again",
        )
    with store.write() as conn:
        retries.audit_retry(conn, campaign.id, done, actor=_ACTOR, now=store_now(conn))
    return ResolutionResult(campaign_id=campaign.id, recipients=done, left=left)


def _select_rows(conn: Connection, request: int, numbers: Collection[int]) -> list[AnyRow]:
    rows = doubts.load_doubtful(conn, request).recipients
    return [row for row in rows if not numbers or row.msisdn in numbers]


def _apply_choice(
    conn: Connection,
    case: LockedAttempt,
    choice: DoubtChoice,
    rows: Sequence[AnyRow],
    now: datetime,
) -> None:
    def annotated(decision: DoubtNote) -> list[AnnotatedMessage]:
        # Whether it was submitted again once stays known, whatever is decided later.
        return [
            AnnotatedMessage(row.seq, decision | DoubtNote(row.note or 0) & DoubtNote.RESENT)
            for row in rows
        ]

    match choice:
        case DoubtChoice.RESEND:
            decisions.return_to_pending(
                conn, case, annotated(DoubtNote.RESENT), failed_after=None, now=now
            )
        case DoubtChoice.ASSUME_SUBMITTED:
            decisions.resolve_as(
                conn, case, MessageState.SUBMITTED, annotated(DoubtNote.ASSUMED), now=now
            )
        case DoubtChoice.DROP:
            decisions.resolve_as(
                conn, case, MessageState.FAILED, annotated(DoubtNote.DROPPED), now=now
            )
