"""Rows of the tables, with every column. States are numbers or texts, as stored.

`row_parts.py` has what single queries select.
"""

from datetime import datetime
from decimal import Decimal
from typing import NamedTuple

from dispatcher.policy.fair_queue import Unit


class AccountRow(NamedTuple):
    """A row of `account`."""

    name: str
    paused_by: str | None
    pause_reason: str | None
    paused_kind: str | None
    changed_at: datetime | None
    stopped_at: datetime | None
    stopped_by: str | None
    stop_reason: str | None
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
    balance: str | None
    balance_at: datetime | None
    turn: int

    @property
    def is_closed(self) -> bool:
        """Whether nothing may be sent with it: it is paused, or a person stopped it."""
        return self.paused_by is not None or self.stopped_at is not None

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
    recheck_at: datetime | None
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
    purged_at: datetime | None


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
    bundle: str | None


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
    version: str | None
    clock_ms: int | None
    revision: str | None


class NoticeRow(NamedTuple):
    """A row of `notice`."""

    id: int
    event_id: str
    kind: str
    subject: str
    channel: str
    body: str
    at: datetime
    open_key: str | None
    sent_at: datetime | None
    tries: int
    next_at: datetime | None
    lease_until: datetime | None
    error: str | None


class IdentityRow(NamedTuple):
    """A row of `identity`."""

    id: int
    store_id: str
    place: str | None
    attempt_id: int
    witnessed_id: int
    held: str | None
    erase_key: str | None
