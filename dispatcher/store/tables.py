"""The tables. Statements use them as SQLAlchemy Core tables: there is no object per recipient."""

from datetime import datetime
from decimal import Decimal
from typing import Any, cast

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Double,
    Index,
    Integer,
    LargeBinary,
    SmallInteger,
    Table,
    Text,
    UniqueConstraint,
    false,
    text,
)
from sqlmodel import Field, SQLModel

from dispatcher.status import BatchState, MessageState
from dispatcher.store.column_types import Money, UtcTime

#: SQLite numbers rows by itself only in an `INTEGER PRIMARY KEY`.
_SERIAL = BigInteger().with_variant(Integer, "sqlite")
_OPEN_BATCH = "state < 4"
_IN_FLIGHT_BATCH = "state IN (1, 2, 3)"
_OPEN_CAMPAIGN = "finished_at IS NULL"


def _time(*, nullable: bool = True) -> Any:
    return Field(default=None, sa_column=Column(UtcTime, nullable=nullable))


def _count() -> Any:
    return Field(default=0, sa_column=Column(Integer, nullable=False, server_default="0"))


def _small(default: int = 0) -> Any:
    column = Column(SmallInteger, nullable=False, server_default=str(default))
    return Field(default=default, sa_column=column)


def _text(*, nullable: bool = True) -> Any:
    return Field(default=None, sa_column=Column(Text, nullable=nullable))


class Account(SQLModel, table=True):
    """A configured account: its health, and until when its rate is used up."""

    __tablename__ = "account"

    name: str = Field(sa_column=Column(Text, primary_key=True))
    #: NULL while open; else `operator`, `credentials`, `credit` or `configuration`.
    paused_by: str | None = _text()
    pause_reason: str | None = _text()
    #: The kind of the campaign that met an empty balance: some providers have a balance per kind.
    paused_kind: str | None = _text()
    changed_at: datetime | None = _time()
    #: Nothing is released before this time: the provider asked us to wait, or cannot be reached.
    not_before: datetime | None = _time()
    #: Requests in a row that did not reach the provider, or whose answer left doubt.
    failures: int = _count()
    #: NULL while closed; else `open`, or `trial` once a probe has found that the provider answers.
    breaker: str | None = _text()
    breaker_reason: str | None = _text()
    #: When the breaker left the closed state.
    breaker_at: datetime | None = _time()
    #: When the provider is probed next; NULL: not by itself. `checks` counts the probes so far.
    check_at: datetime | None = _time()
    checks: int = _count()
    #: While in the future, a worker probes the provider.
    check_lease_until: datetime | None = _time()
    messages_paid_until: datetime | None = _time()
    parts_paid_until: datetime | None = _time()
    requests_paid_until: datetime | None = _time()
    #: Times that the provider's list was read; a worker reads it while the lease is in the future.
    looks: int = _count()
    look_lease_until: datetime | None = _time()
    #: The end of the account's day; `day_count` counts the messages begun on that day.
    day_until: datetime | None = _time()
    day_count: int = _count()
    #: Virtual time of the fair queue; campaigns that join later start here.
    turn: int = Field(default=0, sa_column=Column(BigInteger, nullable=False, server_default="0"))


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

    id: int | None = Field(default=None, sa_column=Column(_SERIAL, primary_key=True))
    name: str = _text(nullable=False)
    state: str = _text(nullable=False)
    state_reason: str | None = _text()
    account: str = _text(nullable=False)
    kind: str = _text(nullable=False)
    sender: str = _text(nullable=False)
    template: str | None = _text()
    sender_ref: str | None = _text()
    template_ref: str | None = _text()
    text: str = _text(nullable=False)
    #: JSON array of the recipient file's headers.
    columns: str = _text(nullable=False)
    source_name: str = _text(nullable=False)
    #: SHA-256 of file, text, account and route: recognises the same campaign submitted twice.
    content_key: str = _text(nullable=False)
    idempotency_key: str | None = Field(default=None, sa_column=Column(Text, unique=True))
    priority: int = _small()
    #: A single message that a person waits for: released before any bulk batch.
    one_off: bool = Field(
        default=False, sa_column=Column(Boolean, nullable=False, server_default=false())
    )
    #: Messages per second; NULL: only the account's rate counts.
    rate: float | None = Field(default=None, sa_column=Column(Double))
    paid_until: datetime | None = _time()
    start_at: datetime | None = _time()
    #: Messages that have not been submitted by then lapse.
    expire_at: datetime | None = _time()
    #: JSON of windows, blackouts and zone (`gate.py`); NULL: only the account's windows count.
    schedule: str | None = _text()
    #: JSON array of its batches' time zones where windows are in recipients' local time.
    zones: str | None = _text()
    flash: bool = Field(
        default=False, sa_column=Column(Boolean, nullable=False, server_default=false())
    )
    #: JSON array of the columns that fill the template kept at the provider, in its order.
    template_columns: str | None = _text()
    #: JSON array of contact lists kept at the provider; the one message goes to all of them.
    contact_lists: str | None = _text()
    #: JSON array of its routes, its own account first (`routes.py`); NULL without a fallback.
    routes: str | None = _text()
    #: When the provider shall send it, where the provider keeps the schedule.
    schedule_at: datetime | None = _time()
    #: Virtual time: messages released in fair order. The campaign with the lowest is served next.
    turn: int = Field(default=0, sa_column=Column(BigInteger, nullable=False, server_default="0"))
    on_doubt: str = _text(nullable=False)
    import_fence: int = _count()
    import_lease_until: datetime | None = _time()
    #: The process that imports it (`liveness.py`): nobody has to wait for one that was killed.
    import_writer: str | None = _text()
    rows: int = _count()
    total: int = _count()
    invalid: int = _count()
    duplicate: int = _count()
    suppressed: int = _count()
    parts: int = _count()
    created_at: datetime = _time(nullable=False)
    started_at: datetime | None = _time()
    finished_at: datetime | None = _time()


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
        {"sqlite_autoincrement": True},
    )  # fmt: skip

    id: int | None = Field(default=None, sa_column=Column(_SERIAL, primary_key=True))
    campaign_id: int = Field(sa_column=Column(BigInteger, nullable=False))
    seq: int = _count()
    account: str = _text(nullable=False)
    encoding: int = _small()
    #: The time zone where windows are in recipients' local time; NULL: the campaign's.
    zone: str | None = _text()
    first_seq: int = _count()
    size: int = _count()
    parts: int = _count()
    #: HTTP requests it needs: several where a request has one text and texts are personal.
    requests: int = Field(default=1, sa_column=Column(Integer, nullable=False, server_default="1"))
    state: int = _small(BatchState.PENDING)
    #: Grows with every change of holder; a worker with an older fence has lost the batch.
    fence: int = _count()
    #: Released to probe a provider whose breaker is open: only one recipient is submitted.
    is_probe: bool = Field(
        default=False, sa_column=Column(Boolean, nullable=False, server_default=false())
    )
    not_before: datetime | None = _time()
    queued_at: datetime | None = _time()
    lease_until: datetime | None = _time()
    #: Attempts that were refused or did not reach the provider.
    tries: int = _count()
    #: Claims whose worker was lost before anything was attempted.
    lost: int = _small()
    error: str | None = _text()
    #: Messages per state: campaign totals are sums over batches, never a scan of messages.
    pending: int = _count()
    submitted: int = _count()
    delivered: int = _count()
    undelivered: int = _count()
    expired: int = _count()
    rejected: int = _count()
    failed: int = _count()
    in_doubt: int = _count()
    suppressed: int = _count()
    cancelled: int = _count()
    lapsed: int = _count()
    #: Those of `submitted` whose polling has ended: no receipt will come.
    no_receipt: int = _count()
    #: Sum of its messages' prices (`costs.py`); NULL where the provider gave none.
    cost: Decimal | None = Field(default=None, sa_column=Column(Money))


class Message(SQLModel, table=True):
    """One recipient of one campaign."""

    __tablename__ = "message"
    __table_args__ = (
        UniqueConstraint("msisdn", "campaign_id"),
        {"sqlite_with_rowid": False, "postgresql_with": {"fillfactor": 50}},
    )

    campaign_id: int = Field(sa_column=Column(BigInteger, primary_key=True, autoincrement=False))
    seq: int = Field(sa_column=Column(Integer, primary_key=True, autoincrement=False))
    row: int = Field(sa_column=Column(Integer, nullable=False))
    msisdn: int = Field(sa_column=Column(BigInteger, nullable=False))
    parts: int = _small(1)
    state: int = _small(MessageState.PENDING)
    #: How many requests contained it.
    attempts: int = _small()
    #: The latest of these requests.
    attempt_id: int | None = Field(default=None, sa_column=Column(BigInteger))
    final_at: datetime | None = _time()
    cost: Decimal | None = Field(default=None, sa_column=Column(Money))
    provider_message_id: str | None = _text()
    error_code: str | None = _text()
    error: str | None = _text()
    #: What is known about its doubt (`reconciliation.DoubtNote`); NULL if it was never in doubt.
    note: int | None = Field(default=None, sa_column=Column(SmallInteger))
    #: JSON array of the values of the text's placeholders, in order; NULL if the text has none.
    variables: str | None = _text()


class Reject(SQLModel, table=True):
    """A row of the recipient file that has no message, and why."""

    __tablename__ = "reject"
    __table_args__ = ({"sqlite_with_rowid": False},)

    campaign_id: int = Field(sa_column=Column(BigInteger, primary_key=True, autoincrement=False))
    row: int = Field(sa_column=Column(Integer, primary_key=True, autoincrement=False))
    kind: int = _small()
    msisdn: int | None = Field(default=None, sa_column=Column(BigInteger))
    reason: str = _text(nullable=False)
    #: JSON array of the row's cells.
    cells: str = _text(nullable=False)


class SourceRows(SQLModel, table=True):
    """The original columns of consecutive messages: zlib over a JSON array of rows."""

    __tablename__ = "source_rows"

    campaign_id: int = Field(sa_column=Column(BigInteger, primary_key=True, autoincrement=False))
    first_seq: int = Field(sa_column=Column(Integer, primary_key=True, autoincrement=False))
    cells: bytes = Field(sa_column=Column(LargeBinary, nullable=False))


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

    id: int | None = Field(default=None, sa_column=Column(_SERIAL, primary_key=True))
    campaign_id: int = Field(sa_column=Column(BigInteger, nullable=False))
    batch_id: int = Field(sa_column=Column(BigInteger, nullable=False))
    account: str = _text(nullable=False)
    fence: int = _count()
    size: int = _count()
    outcome: int = _small()
    begun_at: datetime = _time(nullable=False)
    deadline: datetime = _time(nullable=False)
    ended_at: datetime | None = _time()
    job_id: str | None = _text()
    error_code: str | None = _text()
    error: str | None = _text()
    #: When it is polled next; NULL: not polled, or not any more.
    poll_at: datetime | None = _time()
    poll_until: datetime | None = _time()
    #: While in the future, a worker polls it.
    poll_lease_until: datetime | None = _time()
    polls: int = _count()
    #: Since when recipients of it are in doubt; NULL if none is.
    doubt_at: datetime | None = _time()
    #: When it is reconciled next; NULL: a person has to decide. Until that is planned, `looks` is
    #: NULL and this is the deadline. `looks` then counts how often the list was read for it.
    reconcile_at: datetime | None = _time()
    looks: int | None = Field(default=None, sa_column=Column(SmallInteger))


class AlternateId(SQLModel, table=True):
    """A further provider id of a message, besides the one in the answer to its latest attempt.

    It was matched in the provider's list (then `attempt_id` is the message's), or it is of an
    earlier attempt that was accepted late: receipts with it are for this message. The primary key
    lets each id be used once.
    """

    __tablename__ = "other_id"

    account: str = Field(sa_column=Column(Text, primary_key=True))
    provider_message_id: str = Field(sa_column=Column(Text, primary_key=True))
    msisdn: int = Field(sa_column=Column(BigInteger, nullable=False))
    campaign_id: int = Field(sa_column=Column(BigInteger, nullable=False))
    seq: int = Field(sa_column=Column(Integer, nullable=False))
    attempt_id: int = Field(sa_column=Column(BigInteger, nullable=False))
    at: datetime = _time(nullable=False)


class Audit(SQLModel, table=True):
    """Decisions of people, and decisions of the program that people should know of."""

    __tablename__ = "audit"

    id: int | None = Field(default=None, sa_column=Column(_SERIAL, primary_key=True))
    at: datetime = _time(nullable=False)
    actor: str = _text(nullable=False)
    action: str = _text(nullable=False)
    account: str | None = _text()
    campaign_id: int | None = Field(default=None, sa_column=Column(BigInteger))
    detail: str | None = _text()


class Scheduler(SQLModel, table=True):
    """One row, in which ticks see when the last one was."""

    __tablename__ = "scheduler"

    id: int = Field(sa_column=Column(SmallInteger, primary_key=True, autoincrement=False))
    ticked_at: datetime | None = _time()
    #: No lease is judged before this time: an outage or a clock jump may have stopped renewals.
    judge_after: datetime | None = _time()
    #: Corrections made by the sweep: a JSON object of counts.
    corrections: str = _text(nullable=False)


class Worker(SQLModel, table=True):
    """A worker process that has sent a heartbeat."""

    __tablename__ = "worker"

    name: str = Field(sa_column=Column(Text, primary_key=True))
    concurrency: int = _count()
    started_at: datetime = _time(nullable=False)
    seen_at: datetime = _time(nullable=False)


class Identity(SQLModel, table=True):
    """One row, by which `rollback_guard.py` detects a store restored from a backup."""

    __tablename__ = "identity"

    id: int = Field(sa_column=Column(SmallInteger, primary_key=True, autoincrement=False))
    #: Random; a new one each time a person adopts the store.
    store_id: str = _text(nullable=False)
    #: Where the tables are: a restored dump or a recovered server has another place. NULL: no
    #: campaign was ever imported, so the store may be copied freely.
    place: str | None = _text()
    #: The highest attempt that was ever in this store, also if it was purged.
    attempt_id: int = Field(default=0, sa_column=Column(BigInteger, nullable=False))
    #: The highest attempt that a witness has seen: if it is higher, this is an older copy.
    witnessed_id: int = Field(default=0, sa_column=Column(BigInteger, nullable=False))
    #: Why nothing is released; NULL while the store agrees with its witnesses.
    held: str | None = _text()


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
