"""What a number was sent: text, sender, ids, times, receipts and decisions, over all campaigns."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby
from typing import Final

from sqlalchemy import Connection

from dispatcher.campaigns.content import render_template
from dispatcher.campaigns.rendering import render_messages
from dispatcher.policy.reconciliation import DoubtNote
from dispatcher.policy.routes import route_at
from dispatcher.status import AttemptOutcome, MessageState, RejectKind
from dispatcher.store import campaigns, histories, purges, suppressions
from dispatcher.store.audit import DROP_ACTION, RETRY_ACTION, AuditRow
from dispatcher.store.column_types import format_price
from dispatcher.store.engine import Store, store_now
from dispatcher.store.histories import FormerState, HistoryAttempt, HistoryId, HistoryMessage
from dispatcher.store.rows import CampaignRow
from dispatcher.store.suppressions import SuppressionRow

#: What the bits of a note say to a person.
_NOTES: Final[Mapping[DoubtNote, str]] = {
    DoubtNote.FOUND: "found in the provider's own list after its answer was lost",
    DoubtNote.ABSENT: "proved absent from the provider's list, so it was submitted again",
    DoubtNote.RESENT: "submitted again although an earlier request may have been accepted",
    DoubtNote.ASSUMED: "a person decided that it counts as submitted",
    DoubtNote.DROPPED: "given up, although it may have been accepted",
    DoubtNote.ACCEPTED_LATE: "an earlier request of it was accepted too, as a late answer said",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class AttemptRecord:
    """One request that carried the message, and what came of it; times are UTC.

    `state` is what became of the message by it: of an earlier request as it was before the retry.
    """

    number: int
    account: str
    sender: str
    begun_at: datetime
    ended_at: datetime | None
    outcome: str
    state: str | None
    final_at: datetime | None
    job_id: str | None
    provider_message_id: str | None
    error_code: str | None
    error: str | None
    cost: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordedDecision:
    """What a person or the program decided.

    `about` is `campaign`, `request`, or `recipient`: this one, and maybe others with it.
    """

    at: datetime
    actor: str
    action: str
    detail: str | None
    about: str


@dataclass(frozen=True, slots=True, kw_only=True)
class MessageRecord:
    """One message to the number. `text` is None where only the provider has it: a template."""

    campaign_id: int
    campaign: str
    is_single: bool
    kind: str
    row: int
    account: str
    sender: str
    template: str | None
    template_values: Sequence[str]
    text: str | None
    parts: int
    state: str
    created_at: datetime
    submitted_at: datetime | None
    final_at: datetime | None
    provider_message_id: str | None
    other_ids: Sequence[str]
    job_id: str | None
    error_code: str | None
    error: str | None
    cost: str | None
    notes: Sequence[str]
    attempt_count: int
    attempts: Sequence[AttemptRecord]
    decisions: Sequence[RecordedDecision]


@dataclass(frozen=True, slots=True, kw_only=True)
class RejectedRecord:
    """A row of a file with the number that got no message: `invalid`, `duplicate`, `suppressed`."""

    campaign_id: int
    campaign: str
    row: int
    kind: str
    reason: str
    created_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class NumberHistory:
    """Everything to one number, oldest first; `is_cut` if older messages are left out.

    `msisdn` is None for one that cannot receive messages: then there are only rejected rows.
    """

    msisdn: int | None
    number: str
    looked_at: datetime
    messages: Sequence[MessageRecord]
    rejected: Sequence[RejectedRecord]
    suppressions: Sequence[SuppressionRow]
    is_cut: bool
    #: Campaigns whose numbers are gone: whether one of them had this number is not known any more.
    purged_campaigns: int


def load_history(store: Store, msisdn: int) -> NumberHistory:
    """Read what a number was sent. Each message is read in a transaction of its own."""
    with store.read() as conn:
        rows = histories.messages_to(conn, msisdn)
        rejects = histories.rejects_of(conn, msisdn)
        listed = suppressions.find_entries(conn, [msisdn])
        now = store_now(conn)
        purged = purges.count_purged(conn)
    records = []
    for row in rows:
        with store.read() as conn:
            campaign = campaigns.load_campaign(conn, row.campaign_id)
            if campaign is not None:
                records.append(_build_record(conn, campaign, row))
    return NumberHistory(
        msisdn=msisdn,
        number=f"+{msisdn}",
        looked_at=now,
        messages=records,
        rejected=_rejected_records(store, rejects),
        suppressions=listed,
        is_cut=histories.MOST in {len(rows), len(rejects)},
        purged_campaigns=purged,
    )


def load_rejected(store: Store, given: str) -> NumberHistory:
    """The rows with a number that cannot be read, as somebody wrote it: by its digits."""
    found = histories.find_unreadable_rejects(store, given)
    with store.read() as conn:
        now = store_now(conn)
        purged = purges.count_purged(conn)
    return NumberHistory(
        msisdn=None,
        number=given,
        looked_at=now,
        messages=(),
        rejected=_rejected_records(store, found),
        suppressions=(),
        is_cut=len(found) >= histories.MOST,
        purged_campaigns=purged,
    )


def _rejected_records(
    store: Store, rows: Sequence[histories.HistoryReject]
) -> list[RejectedRecord]:
    records = []
    for campaign_id, of_campaign in groupby(rows, key=lambda row: row.campaign_id):
        with store.read() as conn:
            campaign = campaigns.load_campaign(conn, campaign_id)
        if campaign is not None:
            records += [
                RejectedRecord(
                    campaign_id=campaign_id,
                    campaign=campaign.name,
                    row=row.row,
                    kind=RejectKind(row.kind).label,
                    reason=row.reason,
                    created_at=campaign.created_at,
                )
                for row in of_campaign
            ]
    return records


def _build_record(conn: Connection, campaign: CampaignRow, row: HistoryMessage) -> MessageRecord:
    former = histories.former_states(conn, campaign.id, row.seq)
    known = {one.attempt_id for one in former if one.attempt_id is not None}
    if row.attempt_id is not None:
        known.add(row.attempt_id)
    requests = histories.attempts_of(conn, row, known)
    latest = next((one for one in requests if one.id == row.attempt_id), None)
    ids = histories.alternate_ids_of(conn, row) if former or row.note is not None else []
    account = latest.account if latest is not None else campaign.account
    route = route_at(campaign, account)
    text, values = _texts_of(campaign, row)
    is_sent = row.state not in {MessageState.PENDING, MessageState.FAILED, MessageState.REJECTED}
    return MessageRecord(
        campaign_id=campaign.id,
        campaign=campaign.name,
        is_single=campaign.one_off,
        kind=campaign.kind,
        row=row.row,
        account=account,
        sender=route.sender,
        template=route.template,
        template_values=values,
        text=text,
        parts=row.parts,
        state=MessageState(row.state).label,
        created_at=campaign.created_at,
        submitted_at=latest.begun_at if latest is not None and is_sent else None,
        final_at=row.final_at,
        provider_message_id=row.provider_message_id,
        other_ids=_further_ids(ids, row),
        job_id=latest.job_id if latest is not None else None,
        error_code=row.error_code,
        error=row.error,
        cost=format_price(row.cost),
        notes=[words for bit, words in _NOTES.items() if (row.note or 0) & bit],
        attempt_count=row.attempts,
        attempts=_attempt_records(campaign, row, requests, former),
        decisions=[
            RecordedDecision(
                at=one.at,
                actor=one.actor,
                action=one.action,
                detail=one.detail,
                about=_who_it_concerns(one),
            )
            for one in histories.audit_rows_about(conn, row, former, requests)
        ],
    )


def _texts_of(campaign: CampaignRow, row: HistoryMessage) -> tuple[str | None, Sequence[str]]:
    """The text as it is sent, or None and the values for the template that the provider has."""
    (recipient,) = render_messages(campaign.text, [row], campaign.template_columns)
    if campaign.template_columns is None:
        return recipient.text, ()
    names = render_template(campaign.text, campaign.template_columns).field_names
    return None, [
        f"{name}: {value}" for name, value in zip(names, recipient.template_values, strict=False)
    ]


def _further_ids(ids: Sequence[HistoryId], row: HistoryMessage) -> list[str]:
    found = [one.provider_message_id for one in ids]
    return [each for each in found if each != row.provider_message_id]


def _attempt_records(
    campaign: CampaignRow,
    row: HistoryMessage,
    requests: Sequence[HistoryAttempt],
    former: Sequence[FormerState],
) -> list[AttemptRecord]:
    by_attempt = {one.attempt_id: one for one in former}
    records = []
    for number, request in enumerate(requests, start=1):
        came: FormerState | HistoryMessage | None = by_attempt.get(request.id)
        if request.id == row.attempt_id:
            came = row
        is_pending = came is None or came.state == MessageState.PENDING
        records.append(
            AttemptRecord(
                number=number,
                account=request.account,
                sender=route_at(campaign, request.account).sender,
                begun_at=request.begun_at,
                ended_at=request.ended_at,
                outcome=AttemptOutcome(request.outcome).label,
                state=None if came is None or is_pending else MessageState(came.state).label,
                final_at=came.final_at if came is not None else None,
                job_id=request.job_id,
                provider_message_id=came.provider_message_id if came is not None else None,
                error_code=(came.error_code if came is not None else None) or request.error_code,
                error=(came.error if came is not None else None) or request.error,
                cost=format_price(came.cost) if came is not None else None,
            )
        )
    return records


def _who_it_concerns(row: AuditRow) -> str:
    if row.action in {RETRY_ACTION, DROP_ACTION}:
        return "recipient"
    return "request" if (row.detail or "").startswith("request ") else "campaign"
