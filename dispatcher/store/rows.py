"""Rows of the store, typed: a renamed column is an error in mypy, not in a running worker.

Each type names the columns that its query selects, and the query takes its columns from the type
(`columns_of`), so that names and order cannot differ. States are numbers or texts as stored.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any, NamedTuple, TypeAlias, TypeVar, cast

from sqlalchemy import ColumnElement, Connection, Executable, Table

from dispatcher.policy.fair_queue import Unit

RowT = TypeVar("RowT", bound=NamedTuple)
#: Values for a statement's bound parameters.
Parameters: TypeAlias = Mapping[str, object] | None


def columns_of(
    table: Table, row_type: type[NamedTuple], **others: ColumnElement[Any]
) -> list[ColumnElement[Any]]:
    """The columns that `row_type` names, in its order: of `table`, or among `others`."""
    return [
        others[name].label(name) if name in others else table.c[name] for name in row_type._fields
    ]


def fetch_one(
    conn: Connection, row_type: type[RowT], statement: Executable, parameters: Parameters = None
) -> RowT:
    """Execute a statement that returns exactly one row."""
    result = conn.execute(statement, parameters)
    assert tuple(result.keys()) == row_type._fields
    return row_type._make(result.one())


def fetch_optional(
    conn: Connection, row_type: type[RowT], statement: Executable, parameters: Parameters = None
) -> RowT | None:
    """Execute a statement that returns one row or none."""
    result = conn.execute(statement, parameters)
    assert tuple(result.keys()) == row_type._fields
    row = result.one_or_none()
    return None if row is None else row_type._make(row)


def fetch_all(
    conn: Connection, row_type: type[RowT], statement: Executable, parameters: Parameters = None
) -> list[RowT]:
    """Execute a statement and return its rows."""
    result = conn.execute(statement, parameters)
    assert tuple(result.keys()) == row_type._fields
    return [row_type._make(row) for row in result]


def fetch_messages(
    conn: Connection, row_type: type[RowT], statement: Executable, parameters: Parameters = None
) -> Sequence[RowT]:
    """Like `fetch_all` for thousands of rows: no object is made besides SQLAlchemy's own rows.

    They have the fields of `row_type`, but not its methods.
    """
    result = conn.execute(statement, parameters)
    assert tuple(result.keys()) == row_type._fields
    return cast("Sequence[RowT]", result.all())


class AccountRow(NamedTuple):
    """A row of `account`."""

    name: str
    paused_by: str | None
    pause_reason: str | None
    paused_kind: str | None
    changed_at: datetime | None
    not_before: datetime | None
    failures: int
    breaker: str | None
    breaker_reason: str | None
    breaker_at: datetime | None
    check_at: datetime | None
    checks: int
    check_lease_until: datetime | None
    messages_paid_until: datetime | None
    parts_paid_until: datetime | None
    requests_paid_until: datetime | None
    looks: int
    look_lease_until: datetime | None
    day_until: datetime | None
    day_count: int
    turn: int

    def paid_until(self, unit: Unit) -> datetime | None:
        """Until when the account's rate in this unit is used up."""
        if unit is Unit.MESSAGES:
            return self.messages_paid_until
        return self.parts_paid_until if unit is Unit.PARTS else self.requests_paid_until


class CampaignRow(NamedTuple):
    """A row of `campaign`."""

    id: int
    name: str
    state: str
    state_reason: str | None
    account: str
    kind: str
    sender: str
    template: str | None
    sender_ref: str | None
    template_ref: str | None
    text: str
    columns: str
    source_name: str
    content_key: str
    idempotency_key: str | None
    priority: int
    one_off: bool
    rate: float | None
    paid_until: datetime | None
    start_at: datetime | None
    expire_at: datetime | None
    schedule: str | None
    zones: str | None
    flash: bool
    template_columns: str | None
    contact_lists: str | None
    routes: str | None
    schedule_at: datetime | None
    turn: int
    on_doubt: str
    import_fence: int
    import_lease_until: datetime | None
    import_writer: str | None
    rows: int
    total: int
    invalid: int
    duplicate: int
    suppressed: int
    parts: int
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None


class BatchRow(NamedTuple):
    """A row of `batch`."""

    id: int
    campaign_id: int
    seq: int
    account: str
    encoding: int
    zone: str | None
    first_seq: int
    size: int
    parts: int
    requests: int
    state: int
    fence: int
    is_probe: bool
    not_before: datetime | None
    queued_at: datetime | None
    lease_until: datetime | None
    tries: int
    lost: int
    error: str | None
    pending: int
    submitted: int
    delivered: int
    undelivered: int
    expired: int
    rejected: int
    failed: int
    in_doubt: int
    suppressed: int
    cancelled: int
    lapsed: int
    no_receipt: int
    cost: Decimal | None


class AttemptRow(NamedTuple):
    """A row of `attempt`."""

    id: int
    campaign_id: int
    batch_id: int
    account: str
    fence: int
    size: int
    outcome: int
    begun_at: datetime
    deadline: datetime
    ended_at: datetime | None
    job_id: str | None
    error_code: str | None
    error: str | None
    poll_at: datetime | None
    poll_until: datetime | None
    poll_lease_until: datetime | None
    polls: int
    doubt_at: datetime | None
    reconcile_at: datetime | None
    looks: int | None


class OpenAttempt(NamedTuple):
    """A request that has begun and has no answer yet."""

    deadline: datetime
    size: int


class PollTimes(NamedTuple):
    """How many requests of a campaign are polled, and when the next one is."""

    n: int
    next_at: datetime | None


class AbandonedImport(NamedTuple):
    """A campaign whose import ended before it was accepted."""

    id: int
    source_name: str


class OpenWork(NamedTuple):
    """What a campaign has yet to send in one time zone."""

    campaign: CampaignRow
    zone: str | None
    messages: int
    parts: int
    requests: int


class FallbackSwitch(NamedTuple):
    """When a campaign was switched to another account, and why."""

    at: datetime
    account: str
    detail: str


class InFlightBatch(NamedTuple):
    """What a batch that holds slots of its account has yet to send."""

    campaign_id: int
    state: int
    pending: int
    requests: int
    parts: int


class LostClaim(NamedTuple):
    """A batch whose claim ended with its worker, and how often that happened to it."""

    id: int
    lost: int


class LostSubmission(NamedTuple):
    """A batch whose worker was lost after it had begun."""

    id: int
    campaign_id: int
    first_seq: int
    size: int
    pending: int


class BatchSpan(NamedTuple):
    """A batch's messages: `size` of them from `first_seq` on."""

    encoding: int
    zone: str | None
    first_seq: int
    size: int
    account: str


class PolledAttempt(NamedTuple):
    """An accepted request and its batch's messages."""

    id: int
    polls: int
    batch_id: int
    campaign_id: int
    account: str
    job_id: str | None
    begun_at: datetime
    poll_until: datetime
    first_seq: int
    size: int


class PollState(NamedTuple):
    """Whether a request is polled, and whether somebody polls it now."""

    polls: int
    poll_at: datetime | None
    poll_lease_until: datetime | None


class PollsInFlight(NamedTuple):
    """How many requests of an account are being polled."""

    account: str
    n: int


class DuePoll(NamedTuple):
    """A request whose poll is due."""

    id: int
    account: str
    poll_lease_until: datetime | None


class DoubtfulAttempt(NamedTuple):
    """A request with recipients in doubt, and its batch's messages."""

    id: int
    campaign_id: int
    account: str
    begun_at: datetime
    looks: int | None
    first_seq: int
    size: int


class UnscheduledDoubt(NamedTuple):
    """A request in doubt whose reconciliation is not planned yet, and its campaign's rules."""

    id: int
    account: str
    deadline: datetime
    on_doubt: str
    schedule_at: datetime | None
    contact_lists: str | None


class DoubtOutlook(NamedTuple):
    """Since when recipients of a campaign are in doubt, and when that is reconciled."""

    since: datetime | None
    next_at: datetime | None
    looks: int | None


class PendingMessage(NamedTuple):
    """A message to submit; `variables` is a JSON array."""

    seq: int
    msisdn: int
    variables: str | None


class WaitingRow(NamedTuple):
    """A pending message that moves to another account."""

    seq: int
    msisdn: int
    variables: str | None
    parts: int


class DoubtfulMessage(NamedTuple):
    """A message in doubt."""

    seq: int
    msisdn: int
    parts: int
    variables: str | None
    note: int | None


class SubmittedMessage(NamedTuple):
    """A message and the provider id in the answer to its latest attempt."""

    seq: int
    msisdn: int
    provider_message_id: str | None


class AnsweredMessage(NamedTuple):
    """A message with a provider id, and when the answer with that id came."""

    provider_message_id: str
    note: int | None
    ended_at: datetime


class OtherMessage(NamedTuple):
    """A message that was sent to a number by another request."""

    msisdn: int
    state: int
    provider_message_id: str | None
    note: int | None
    outcome: int
    begun_at: datetime


class ExportedMessage(NamedTuple):
    """A message with its latest attempt, whose columns are NULL where it has none."""

    seq: int
    row: int
    msisdn: int
    parts: int
    state: int
    attempts: int
    final_at: datetime | None
    cost: Decimal | None
    provider_message_id: str | None
    error_code: str | None
    error: str | None
    job_id: str | None
    account: str | None
    begun_at: datetime | None


class RejectRow(NamedTuple):
    """A row of `reject`."""

    campaign_id: int
    row: int
    kind: int
    msisdn: int | None
    reason: str
    cells: str


class WorkerRow(NamedTuple):
    """A row of `worker`."""

    name: str
    concurrency: int
    started_at: datetime
    seen_at: datetime


class TickTimes(NamedTuple):
    """When the last tick was, and before when no lease is judged."""

    ticked_at: datetime | None
    judge_after: datetime | None


class IdentityRow(NamedTuple):
    """A row of `identity`."""

    id: int
    store_id: str
    place: str | None
    attempt_id: int
    witnessed_id: int
    held: str | None


class PendingCampaign(NamedTuple):
    """A campaign that may have been sent after a backup was made."""

    id: int
    name: str
    pending: int
