"""The tables. Statements use them as SQLAlchemy Core tables: there is no object per recipient."""

from datetime import datetime
from decimal import Decimal
from typing import cast

from sqlalchemy import (
    BigInteger,
    Column,
    Double,
    Index,
    Integer,
    LargeBinary,
    SmallInteger,
    Table,
    Text,
    UniqueConstraint,
    text,
)
from sqlmodel import SQLModel

from dispatcher.status import BatchState, MessageState
from dispatcher.store.columns import (
    counter_column,
    flag_column,
    number_column,
    number_key_column,
    optional_column,
    optional_money_column,
    optional_number_column,
    optional_text_column,
    optional_time_column,
    required_column,
    serial_key_column,
    text_column,
    text_key_column,
    time_column,
)

_OPEN_BATCH = "state < 4"
#: Batches that ended with messages left: there should be none.
_STRAY_BATCH = "state >= 4 AND pending > 0"
_IN_FLIGHT_BATCH = "state IN (1, 2, 3)"
_OPEN_CAMPAIGN = "finished_at IS NULL"


class Account(SQLModel, table=True):
    """A configured account: its health, and until when its rate is used up."""

    __tablename__ = "account"

    name: str = text_key_column()
    #: NULL while open; else `operator`, `credentials`, `credit` or `configuration`.
    paused_by: str | None = optional_text_column()
    pause_reason: str | None = optional_text_column()
    #: The kind of the campaign that met an empty balance: some providers have a balance per kind.
    paused_kind: str | None = optional_text_column()
    changed_at: datetime | None = optional_time_column()
    #: Nothing is released before this time: the provider asked us to wait, or cannot be reached.
    not_before: datetime | None = optional_time_column()
    #: Requests in a row that did not reach the provider, or whose answer left doubt.
    failures: int = counter_column()
    #: NULL while closed; else `open`, or `trial` once a probe has found that the provider answers.
    breaker: str | None = optional_text_column()
    breaker_reason: str | None = optional_text_column()
    #: When the breaker left the closed state.
    breaker_at: datetime | None = optional_time_column()
    #: When the provider is probed next; NULL: not by itself. `checks` counts the probes so far.
    check_at: datetime | None = optional_time_column()
    checks: int = counter_column()
    #: While in the future, a worker probes the provider.
    check_lease_until: datetime | None = optional_time_column()
    messages_paid_until: datetime | None = optional_time_column()
    parts_paid_until: datetime | None = optional_time_column()
    requests_paid_until: datetime | None = optional_time_column()
    #: Times that the provider's list was read; a worker reads it while the lease is in the future.
    looks: int = counter_column()
    look_lease_until: datetime | None = optional_time_column()
    #: The end of the account's day; `day_count` counts the messages begun on that day.
    day_until: datetime | None = optional_time_column()
    day_count: int = counter_column()
    #: Virtual time of the fair queue; campaigns that join later start here.
    turn: int = counter_column(BigInteger)


class Campaign(SQLModel, table=True):
    """One recipient file, one text, one account."""

    __tablename__ = "campaign"
    __table_args__ = (
        Index("ix_campaign_open", "state", postgresql_where=text(_OPEN_CAMPAIGN),
              sqlite_where=text(_OPEN_CAMPAIGN)),
        Index("ix_campaign_name", "name"),
        Index("ix_campaign_content", "content_key"),
        {"sqlite_autoincrement": True},
    )  # fmt: skip

    id: int | None = serial_key_column()
    name: str = text_column()
    state: str = text_column()
    state_reason: str | None = optional_text_column()
    account: str = text_column()
    kind: str = text_column()
    sender: str = text_column()
    template: str | None = optional_text_column()
    sender_ref: str | None = optional_text_column()
    template_ref: str | None = optional_text_column()
    text: str = text_column()
    #: JSON array of the recipient file's headers.
    columns: str = text_column()
    source_name: str = text_column()
    #: SHA-256 of file, text, account and route: recognises the same campaign submitted twice.
    content_key: str = text_column()
    idempotency_key: str | None = optional_column(Column(Text, unique=True))
    priority: int = counter_column(SmallInteger)
    #: A single message that a person waits for: released before any bulk batch.
    one_off: bool = flag_column()
    #: Messages per second; NULL: only the account's rate counts.
    rate: float | None = optional_column(Column(Double))
    paid_until: datetime | None = optional_time_column()
    start_at: datetime | None = optional_time_column()
    #: Messages that have not been submitted by then lapse.
    expire_at: datetime | None = optional_time_column()
    #: JSON of windows, blackouts and zone (`gate.py`); NULL: only the account's windows count.
    schedule: str | None = optional_text_column()
    #: JSON array of its batches' time zones where windows are in recipients' local time.
    zones: str | None = optional_text_column()
    flash: bool = flag_column()
    #: JSON array of the columns that fill the template kept at the provider, in its order.
    template_columns: str | None = optional_text_column()
    #: JSON array of contact lists kept at the provider; the one message goes to all of them.
    contact_lists: str | None = optional_text_column()
    #: JSON array of its routes, its own account first (`routes.py`); NULL without a fallback.
    routes: str | None = optional_text_column()
    #: When the provider shall send it, where the provider keeps the schedule.
    schedule_at: datetime | None = optional_time_column()
    #: Virtual time: messages released in fair order. The campaign with the lowest is served next.
    turn: int = counter_column(BigInteger)
    on_doubt: str = text_column()
    import_fence: int = counter_column()
    import_lease_until: datetime | None = optional_time_column()
    #: The process that imports it (`liveness.py`): nobody has to wait for one that was killed.
    import_writer: str | None = optional_text_column()
    rows: int = counter_column()
    total: int = counter_column()
    invalid: int = counter_column()
    duplicate: int = counter_column()
    suppressed: int = counter_column()
    parts: int = counter_column()
    created_at: datetime = time_column()
    started_at: datetime | None = optional_time_column()
    finished_at: datetime | None = optional_time_column()


class Batch(SQLModel, table=True):
    """The unit of release, claim and settlement: `size` messages from `first_seq` on."""

    __tablename__ = "batch"
    __table_args__ = (
        UniqueConstraint("campaign_id", "seq"),
        Index("ix_batch_pending", "campaign_id", "seq", postgresql_where=text("state = 0"),
              sqlite_where=text("state = 0")),
        Index("ix_batch_open", "campaign_id", postgresql_where=text(_OPEN_BATCH),
              sqlite_where=text(_OPEN_BATCH)),
        Index("ix_batch_in_flight", "account", postgresql_where=text(_IN_FLIGHT_BATCH),
              sqlite_where=text(_IN_FLIGHT_BATCH)),
        Index("ix_batch_stray", "id", postgresql_where=text(_STRAY_BATCH),
              sqlite_where=text(_STRAY_BATCH)),
        {"sqlite_autoincrement": True},
    )  # fmt: skip

    id: int | None = serial_key_column()
    campaign_id: int = number_column()
    seq: int = counter_column()
    account: str = text_column()
    encoding: int = counter_column(SmallInteger)
    #: The time zone where windows are in recipients' local time; NULL: the campaign's.
    zone: str | None = optional_text_column()
    first_seq: int = counter_column()
    size: int = counter_column()
    parts: int = counter_column()
    #: HTTP requests it needs: several where a request has one text and texts are personal.
    requests: int = counter_column(default=1)
    state: int = counter_column(SmallInteger, BatchState.PENDING)
    #: Grows with every change of holder; a worker with an older fence has lost the batch.
    fence: int = counter_column()
    #: Released to probe a provider whose breaker is open: only one recipient is submitted.
    is_probe: bool = flag_column()
    not_before: datetime | None = optional_time_column()
    queued_at: datetime | None = optional_time_column()
    lease_until: datetime | None = optional_time_column()
    #: Attempts that were refused or did not reach the provider.
    tries: int = counter_column()
    #: Claims whose worker was lost before anything was attempted.
    lost: int = counter_column(SmallInteger)
    error: str | None = optional_text_column()
    #: Messages per state: campaign totals are sums over batches, never a scan of messages.
    pending: int = counter_column()
    submitted: int = counter_column()
    delivered: int = counter_column()
    undelivered: int = counter_column()
    expired: int = counter_column()
    rejected: int = counter_column()
    failed: int = counter_column()
    in_doubt: int = counter_column()
    suppressed: int = counter_column()
    cancelled: int = counter_column()
    lapsed: int = counter_column()
    #: Those of `submitted` whose polling has ended: no receipt will come.
    no_receipt: int = counter_column()
    #: Sum of its messages' prices (`costs.py`); NULL where the provider gave none.
    cost: Decimal | None = optional_money_column()


class Message(SQLModel, table=True):
    """One recipient of one campaign."""

    __tablename__ = "message"
    __table_args__ = (
        UniqueConstraint("msisdn", "campaign_id"),
        {"sqlite_with_rowid": False, "postgresql_with": {"fillfactor": 50}},
    )

    campaign_id: int = number_key_column()
    seq: int = number_key_column(Integer)
    row: int = number_column(Integer)
    msisdn: int = number_column()
    parts: int = counter_column(SmallInteger, 1)
    state: int = counter_column(SmallInteger, MessageState.PENDING)
    #: How many requests contained it.
    attempts: int = counter_column(SmallInteger)
    #: The latest of these requests.
    attempt_id: int | None = optional_number_column()
    final_at: datetime | None = optional_time_column()
    cost: Decimal | None = optional_money_column()
    provider_message_id: str | None = optional_text_column()
    error_code: str | None = optional_text_column()
    error: str | None = optional_text_column()
    #: What is known about its doubt (`reconciliation.DoubtNote`); NULL if it was never in doubt.
    note: int | None = optional_number_column(SmallInteger)
    #: JSON array of the values of the text's placeholders, in order; NULL if the text has none.
    variables: str | None = optional_text_column()


class Reject(SQLModel, table=True):
    """A row of the recipient file that has no message, and why."""

    __tablename__ = "reject"
    __table_args__ = ({"sqlite_with_rowid": False},)

    campaign_id: int = number_key_column()
    row: int = number_key_column(Integer)
    kind: int = counter_column(SmallInteger)
    msisdn: int | None = optional_number_column()
    reason: str = text_column()
    #: JSON array of the row's cells.
    cells: str = text_column()


class SourceRows(SQLModel, table=True):
    """The original columns of consecutive messages: zlib over a JSON array of rows."""

    __tablename__ = "source_rows"

    campaign_id: int = number_key_column()
    first_seq: int = number_key_column(Integer)
    cells: bytes = required_column(Column(LargeBinary, nullable=False))


class Attempt(SQLModel, table=True):
    """One request to a provider, recorded before its first byte leaves."""

    __tablename__ = "attempt"
    __table_args__ = (
        Index("ix_attempt_batch", "batch_id"),
        Index("ix_attempt_poll", "account", "poll_at",
              postgresql_where=text("poll_at IS NOT NULL"),
              sqlite_where=text("poll_at IS NOT NULL")),
        Index("ix_attempt_polled", "campaign_id",
              postgresql_where=text("poll_at IS NOT NULL"),
              sqlite_where=text("poll_at IS NOT NULL")),
        Index("ix_attempt_reconcile", "account", "reconcile_at",
              postgresql_where=text("reconcile_at IS NOT NULL"),
              sqlite_where=text("reconcile_at IS NOT NULL")),
        Index("ix_attempt_doubt", "campaign_id",
              postgresql_where=text("doubt_at IS NOT NULL"),
              sqlite_where=text("doubt_at IS NOT NULL")),
        {"sqlite_autoincrement": True},
    )  # fmt: skip

    id: int | None = serial_key_column()
    campaign_id: int = number_column()
    batch_id: int = number_column()
    account: str = text_column()
    fence: int = counter_column()
    size: int = counter_column()
    outcome: int = counter_column(SmallInteger)
    begun_at: datetime = time_column()
    deadline: datetime = time_column()
    ended_at: datetime | None = optional_time_column()
    job_id: str | None = optional_text_column()
    error_code: str | None = optional_text_column()
    error: str | None = optional_text_column()
    #: When it is polled next; NULL: not polled, or not any more.
    poll_at: datetime | None = optional_time_column()
    poll_until: datetime | None = optional_time_column()
    #: While in the future, a worker polls it.
    poll_lease_until: datetime | None = optional_time_column()
    polls: int = counter_column()
    #: Since when recipients of it are in doubt; NULL if none is.
    doubt_at: datetime | None = optional_time_column()
    #: When it is reconciled next; NULL: a person has to decide. Until that is planned, `looks` is
    #: NULL and this is the deadline. `looks` then counts how often the list was read for it.
    reconcile_at: datetime | None = optional_time_column()
    looks: int | None = optional_number_column(SmallInteger)


class AlternateId(SQLModel, table=True):
    """A further provider id of a message, besides the one in the answer to its latest attempt.

    It was matched in the provider's list (then `attempt_id` is the message's), or it is of an
    earlier attempt that was accepted late: receipts with it are for this message. The primary key
    lets each id be used once.
    """

    __tablename__ = "other_id"

    account: str = text_key_column()
    provider_message_id: str = text_key_column()
    msisdn: int = number_column()
    campaign_id: int = number_column()
    seq: int = number_column(Integer)
    attempt_id: int = number_column()
    at: datetime = time_column()


class Audit(SQLModel, table=True):
    """Decisions of people, and decisions of the program that people should know of."""

    __tablename__ = "audit"

    id: int | None = serial_key_column()
    at: datetime = time_column()
    actor: str = text_column()
    action: str = text_column()
    account: str | None = optional_text_column()
    campaign_id: int | None = optional_number_column()
    detail: str | None = optional_text_column()


class Scheduler(SQLModel, table=True):
    """One row, in which ticks see when the last one was."""

    __tablename__ = "scheduler"

    id: int = number_key_column(SmallInteger)
    ticked_at: datetime | None = optional_time_column()
    #: No lease is judged before this time: an outage or a clock jump may have stopped renewals.
    judge_after: datetime | None = optional_time_column()
    #: Corrections made by the sweep: a JSON object of counts.
    corrections: str = text_column()


class Worker(SQLModel, table=True):
    """A worker process that has sent a heartbeat."""

    __tablename__ = "worker"

    name: str = text_key_column()
    concurrency: int = counter_column()
    started_at: datetime = time_column()
    seen_at: datetime = time_column()


class Identity(SQLModel, table=True):
    """One row, from which `rollback_guard.py` sees that the store was restored from a backup."""

    __tablename__ = "identity"

    id: int = number_key_column(SmallInteger)
    #: Random; a new one each time a person adopts the store.
    store_id: str = text_column()
    #: Where the tables are: a restored dump or a recovered server has another place. NULL: no
    #: campaign was ever imported, so the store may be copied freely.
    place: str | None = optional_text_column()
    #: The highest attempt that was ever in this store, also if it was purged.
    attempt_id: int = required_column(Column(BigInteger, nullable=False), default=0)
    #: The highest attempt that a witness has seen: if it is higher, this is an older copy.
    witnessed_id: int = required_column(Column(BigInteger, nullable=False), default=0)
    #: Why nothing is released; NULL while the store agrees with its witnesses.
    held: str | None = optional_text_column()


def core_table(model: type[SQLModel]) -> Table:
    """The Core table behind a model."""
    return cast("Table", model.__table__)  # type: ignore[attr-defined]


ACCOUNT = core_table(Account)
CAMPAIGN = core_table(Campaign)
BATCH = core_table(Batch)
MESSAGE = core_table(Message)
REJECT = core_table(Reject)
SOURCE_ROWS = core_table(SourceRows)
ATTEMPT = core_table(Attempt)
ALTERNATE_ID = core_table(AlternateId)
AUDIT = core_table(Audit)
SCHEDULER = core_table(Scheduler)
WORKER = core_table(Worker)
IDENTITY = core_table(Identity)
