"""Tables of what a campaign is: its row, its batches, its messages, and the rows of its file."""

from datetime import datetime
from decimal import Decimal

from sqlalchemy import (
    BigInteger,
    Column,
    Double,
    Index,
    Integer,
    LargeBinary,
    SmallInteger,
    Text,
    UniqueConstraint,
)

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
    time_column,
)
from dispatcher.store.declaration import SQLModel, partial_index

_OPEN_BATCH = "state < 4"
#: Batches that ended with messages left: there should be none.
_STRAY_BATCH = "state >= 4 AND pending > 0"
_IN_FLIGHT_BATCH = "state IN (1, 2, 3)"
_OPEN_CAMPAIGN = "finished_at IS NULL"
_ENDED_CAMPAIGN = "finished_at IS NOT NULL"
_READABLE_REJECT = "msisdn IS NOT NULL"


class Campaign(SQLModel, table=True):
    """One recipient file, one text, one account."""

    __tablename__ = "campaign"
    __table_args__ = (
        partial_index("ix_campaign_open", "state", where=_OPEN_CAMPAIGN),
        Index("ix_campaign_name", "name"),
        Index("ix_campaign_content", "content_key"),
        partial_index("ix_campaign_ended", "one_off", "finished_at", where=_ENDED_CAMPAIGN),
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
    #: When it is checked again at the provider; while it is set, nothing is released.
    recheck_at: datetime | None = optional_time_column()
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
    #: When its numbers and texts were dropped (`purges.py`); its counts stay.
    purged_at: datetime | None = optional_time_column()


class Batch(SQLModel, table=True):
    """The unit of release, claim and settlement: `size` messages from `first_seq` on."""

    __tablename__ = "batch"
    __table_args__ = (
        UniqueConstraint("campaign_id", "seq"),
        partial_index("ix_batch_pending", "campaign_id", "seq", where="state = 0"),
        partial_index("ix_batch_open", "campaign_id", where=_OPEN_BATCH),
        partial_index("ix_batch_in_flight", "account", where=_IN_FLIGHT_BATCH),
        partial_index("ix_batch_stray", "id", where=_STRAY_BATCH),
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
    #: The ticket with which it was released together with others (`bundle_key`); NULL: alone.
    bundle: str | None = optional_text_column()


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
    __table_args__ = (
        partial_index("ix_reject_number", "msisdn", where=_READABLE_REJECT),
        {"sqlite_with_rowid": False},
    )

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
