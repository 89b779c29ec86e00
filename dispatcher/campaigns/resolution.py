"""A person's decisions: resolve recipients in doubt, and retry failed ones."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from functools import partial

from sqlalchemy import Connection

from dispatcher.campaigns.view import find_campaign
from dispatcher.errors import NothingToDo, Refused, StateRefused
from dispatcher.policy.failure_reasons import matches_reason
from dispatcher.policy.reconciliation import DoubtNote
from dispatcher.status import CampaignState, MessageState
from dispatcher.store import decisions, doubts, locked_attempts, retries
from dispatcher.store.audit import current_person
from dispatcher.store.decisions import AnnotatedMessage
from dispatcher.store.engine import Store, store_now
from dispatcher.store.locked_attempts import LockedAttempt
from dispatcher.store.row_parts import DoubtfulMessage
from dispatcher.store.rows import CampaignRow

#: Other writers wait meanwhile for some hundredths of a second.
_RETRIED_AT_ONCE = 20


class DoubtChoice(StrEnum):
    """What to do with recipients in doubt."""

    #: Submit them again; some may get the text twice.
    RESEND = "resend"
    #: Treat them as submitted; some may get nothing.
    ASSUME_SUBMITTED = "assume-submitted"
    #: Give them up; some may get the text and still count as failed.
    DROP = "drop"


@dataclass(frozen=True, slots=True, kw_only=True)
class DoubtCount:
    """How many recipients of a campaign are in doubt; `parts` is the cost of a resend to all."""

    campaign: CampaignRow
    recipients: int
    parts: int
    #: When the next automatic step for some of them is due.
    next_at: datetime | None
    #: The requests that they are in doubt by.
    requests: Collection[int]


@dataclass(frozen=True, slots=True, kw_only=True)
class ResolutionResult:
    """How many recipients were changed, and how many not: a worker is processing their batch."""

    campaign_id: int
    recipients: int
    left: int


def count_doubts(store: Store, reference: str, numbers: Collection[int] = ()) -> DoubtCount:
    """Count recipients in doubt, only among `numbers` if given. Raises Refused if none are."""
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
        raise NothingToDo(
            f"no recipient of campaign {campaign.id} is in doubt; nothing was changed",
            f"`dispatcher campaign show {campaign.id}` shows its counts",
        )
    if missing := set(numbers) - found:
        raise NothingToDo(
            f"{len(missing)} of the numbers given are not in doubt in campaign {campaign.id}; "
            "nothing was changed",
            f"`dispatcher campaign export {campaign.id}` lists the recipients in doubt",
        )
    return DoubtCount(
        campaign=campaign, recipients=count, parts=parts, next_at=next_at, requests=requests
    )


def resolve_doubts(
    store: Store,
    reference: str,
    choice: DoubtChoice,
    numbers: Collection[int] = (),
    *,
    requests: Collection[int] | None = None,
) -> ResolutionResult:
    """Apply a person's choice to recipients in doubt, request by request, with audit rows.

    `requests` are those that the person was asked about: recipients who came into doubt since then
    stay in doubt. Raises Refused for a resend in a cancelled campaign.
    """
    with store.read() as conn:
        campaign = find_campaign(conn, reference)
        if choice is DoubtChoice.RESEND and campaign.state == CampaignState.CANCELLED:
            raise StateRefused(
                f"campaign {campaign.id} is cancelled, so nothing of it can be submitted again",
                "give --assume-submitted or --drop",
            )
        doubtful = doubts.requests_in_doubt(conn, campaign.id)
    asked = set(doubtful if requests is None else requests)
    done = left = 0
    for request in doubtful:
        if request not in asked:
            continue
        more_done, more_left = store.run_write(partial(_resolve_request, request, choice, numbers))
        done += more_done
        left += more_left
    return ResolutionResult(campaign_id=campaign.id, recipients=done, left=left)


def _resolve_request(
    request: int, choice: DoubtChoice, numbers: Collection[int], conn: Connection
) -> tuple[int, int]:
    """Apply the choice to one request; how many recipients were changed, and how many not."""
    case = locked_attempts.lock_attempt(conn, request)
    rows = _select_rows(conn, request, numbers)
    if choice is DoubtChoice.RESEND and case.is_at_provider:
        return 0, len(rows)
    now = store_now(conn)
    if rows:
        _apply_choice(conn, case, choice, rows, now)
        decisions.audit_decision(
            conn, case, choice.value, len(rows), actor=current_person(), now=now
        )
    decisions.reschedule_doubt(conn, case, next_at=case.attempt.reconcile_at, looked=False)
    return len(rows), 0


def retry_failed(store: Store, reference: str) -> ResolutionResult:
    """Set the failed messages of a campaign back to pending, except those that were in doubt.

    Raises Refused if the campaign may not send any more, or if no message failed.
    """
    return retry_messages(store, reference)


def retry_messages(
    store: Store,
    reference: str,
    *,
    states: Collection[MessageState] = (MessageState.FAILED,),
    reasons: Collection[str] = (),
) -> ResolutionResult:
    """Have messages in one of `states` submitted again, except those that were in doubt.

    `reasons`: only those with one of these reasons (`matches_reason`). Each is a new attempt; what
    became of the one before is kept. Raises Refused if the campaign may not send any more, or if
    there is no such message.
    """
    with store.read() as conn:
        campaign = find_campaign(conn, reference)
        check_may_submit(conn, campaign)
        batches = retries.batches_with_states(conn, campaign.id, states)
    is_meant = partial(matches_reason, tuple(reasons)) if reasons else None
    done = left = 0
    for start in range(0, len(batches), _RETRIED_AT_ONCE):
        group = batches[start : start + _RETRIED_AT_ONCE]
        moved = store.run_write(partial(_retry_batches, group, states, is_meant))
        done += sum(filter(None, moved))
        left += moved.count(None)
    if not done and not left:
        with store.read() as conn:  # a person may have cancelled it meanwhile
            check_may_submit(conn, find_campaign(conn, str(campaign.id)))
        raise nothing_to_retry(campaign.id, states, reasons)
    what = ", ".join([*(state.label for state in sorted(states)), *reasons])
    with store.write() as conn:
        retries.audit_retry(
            conn, campaign.id, done, what=what, actor=current_person(), now=store_now(conn)
        )
    return ResolutionResult(campaign_id=campaign.id, recipients=done, left=left)


def nothing_to_retry(
    campaign_id: int,
    states: Collection[MessageState],
    reasons: Collection[str],
    others: Mapping[str, int] | None = None,
) -> Refused:
    """The refusal of a retry that means no message; `others` could be meant by their state."""
    if set(states) == {MessageState.FAILED} and not reasons:
        what = f"no message of campaign {campaign_id} has failed"
    else:
        named = " or ".join(state.label for state in sorted(states))
        with_reason = " with this reason" if reasons else ""
        what = f"no message of campaign {campaign_id} is {named}{with_reason} and may be retried"
    choices = ", ".join(
        f"--state {name} for {count}"
        for name, count in (others or {}).items()
        if MessageState[name.upper()] not in states
    )
    instead = f"give {choices}; " if choices else ""
    return NothingToDo(
        f"{what}; nothing was changed",
        f"{instead}messages that were in doubt and dropped are never retried; `dispatcher campaign "
        f"failures {campaign_id}` shows states and reasons",
    )


def _retry_batches(
    batch_ids: Collection[int],
    states: Collection[MessageState],
    is_meant: retries.ReasonFilter | None,
    conn: Connection,
) -> list[int | None]:
    """What `retry_batch` returns for each: a commit for each would take longer than the change."""
    return [
        retries.retry_batch(conn, batch_id, store_now(conn), states, is_meant)
        for batch_id in batch_ids
    ]


def check_may_submit(conn: Connection, campaign: CampaignRow) -> None:
    """Raise Refused for a campaign of which nothing can be submitted any more."""
    is_late = campaign.expire_at is not None and campaign.expire_at <= store_now(conn)
    sends = {CampaignState.SCHEDULED, CampaignState.RUNNING, CampaignState.PAUSED}
    if campaign.state not in {*sends, CampaignState.FINISHED} or is_late:
        why = "has expired" if is_late else f"is {campaign.state}"
        raise StateRefused(
            f"campaign {campaign.id} {why}, so nothing of it can be submitted again",
            "submit a new campaign to these recipients",
        )


def _select_rows(conn: Connection, request: int, numbers: Collection[int]) -> list[DoubtfulMessage]:
    rows = doubts.load_doubtful(conn, request).recipients
    return [row for row in rows if not numbers or row.msisdn in numbers]


def _apply_choice(
    conn: Connection,
    case: LockedAttempt,
    choice: DoubtChoice,
    rows: Sequence[DoubtfulMessage],
    now: datetime,
) -> None:
    def annotated(decision: DoubtNote) -> list[AnnotatedMessage]:
        # Keep the note that it was resent once, whatever is decided later.
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
