"""Tables about running the program: decisions, ticks, workers, and which store this is."""

from datetime import datetime

from sqlalchemy import (
    BigInteger,
    Column,
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
from dispatcher.store.declaration import SQLModel


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
