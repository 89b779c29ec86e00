"""Tables about running the program: decisions, ticks, workers, and which store this is."""

from datetime import datetime

from sqlalchemy import (
    BigInteger,
    Column,
    Index,
    SmallInteger,
)

from dispatcher.store.columns import (
    counter_column,
    number_key_column,
    optional_number_column,
    optional_text_column,
    optional_time_column,
    required_column,
    serial_key_column,
    text_column,
    text_key_column,
    time_column,
)
from dispatcher.store.declaration import SQLModel, partial_index


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


class Suppression(SQLModel, table=True):
    """A number that must not be texted: by one account, or by any.

    The primary key is what each begin looks up. Of erased numbers only a hash is kept, in
    `erased_number`.
    """

    __tablename__ = "suppression"
    __table_args__ = ({"sqlite_with_rowid": False},)

    msisdn: int = number_key_column()
    #: Empty: whichever account would send.
    account: str = text_key_column()
    reason: str | None = optional_text_column()
    #: Where it came from: `cli`, or the name of an imported file.
    source: str = text_column()
    actor: str = text_column()
    at: datetime = time_column()


class ErasedNumber(SQLModel, table=True):
    """A number that a person had erased: no account may text it, and only its hash is kept."""

    __tablename__ = "erased_number"
    __table_args__ = ({"sqlite_with_rowid": False},)

    #: 63 bits of a hash with the store's key (`erased_numbers.py`).
    hash: int = number_key_column()
    at: datetime = time_column()
    actor: str = text_column()


class Compatibility(SQLModel, table=True):
    """One row: which versions of the program may use these tables."""

    __tablename__ = "compatibility"

    id: int = number_key_column(SmallInteger)
    #: The newest revision of the oldest program that may still work with this store.
    oldest: str = text_column()


class StopOfEverything(SQLModel, table=True):
    """One row while everything is stopped: accounts that are configured meanwhile are stopped too.

    Which accounts are stopped is in their own rows.
    """

    __tablename__ = "general_stop"

    id: int = number_key_column(SmallInteger)
    at: datetime = time_column()
    actor: str = text_column()
    reason: str | None = optional_text_column()


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
    #: The program's version; NULL: of before it was recorded.
    version: str | None = optional_text_column()
    #: Milliseconds by which its clock is ahead of the store's.
    clock_ms: int | None = optional_number_column()
    #: The newest revision of the tables that it knows; NULL: of before it was recorded.
    revision: str | None = optional_text_column()


class Notice(SQLModel, table=True):
    """An event that somebody is notified of, by one way: the outbox of `[notify]`."""

    __tablename__ = "notice"
    __table_args__ = (
        Index("ix_notice_open", "open_key", unique=True),
        partial_index("ix_notice_due", "next_at", where="next_at IS NOT NULL"),
        {"sqlite_autoincrement": True},
    )

    id: int | None = serial_key_column()
    #: The same for each try and each way, so that a receiver knows what it has had already.
    event_id: str = text_column()
    kind: str = text_column()
    #: What it is about, as `campaign 7`.
    subject: str = text_column()
    #: `command` or `webhook`.
    channel: str = text_column()
    #: What is sent: a JSON object.
    body: str = text_column()
    at: datetime = time_column()
    #: Unique while the condition is true; NULL once it is not.
    open_key: str | None = optional_text_column()
    sent_at: datetime | None = optional_time_column()
    tries: int = counter_column()
    #: When it is tried next; NULL: sent, or given up.
    next_at: datetime | None = optional_time_column()
    #: While in the future, a process is sending it.
    lease_until: datetime | None = optional_time_column()
    error: str | None = optional_text_column()


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
    #: The key of the hashes of `erased_number`, in hexadecimal; NULL: nobody was ever erased.
    erase_key: str | None = optional_text_column()
