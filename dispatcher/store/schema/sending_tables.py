"""Tables of sending: accounts, requests to providers, and further provider ids of messages."""

from datetime import datetime
from decimal import Decimal

from sqlalchemy import (
    BigInteger,
    Index,
    Integer,
    SmallInteger,
)

from dispatcher.store.columns import (
    counter_column,
    number_column,
    optional_money_column,
    optional_number_column,
    optional_text_column,
    optional_time_column,
    serial_key_column,
    text_column,
    text_key_column,
    time_column,
)
from dispatcher.store.declaration import SQLModel, partial_index


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
    #: NULL unless a person stopped it (`dispatcher stop`): beside any pause, which stays.
    stopped_at: datetime | None = optional_time_column()
    stopped_by: str | None = optional_text_column()
    stop_reason: str | None = optional_text_column()
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
    #: What was left at the last look, by package: a JSON object of amounts as texts.
    balance: str | None = optional_text_column()
    balance_at: datetime | None = optional_time_column()
    #: Virtual time of the fair queue; campaigns that join later start here.
    turn: int = counter_column(BigInteger)


class Attempt(SQLModel, table=True):
    """One request to a provider, recorded before its first byte leaves."""

    __tablename__ = "attempt"
    __table_args__ = (
        Index("ix_attempt_batch", "batch_id"),
        partial_index("ix_attempt_poll", "poll_at", "account", where="poll_at IS NOT NULL"),
        partial_index("ix_attempt_polled", "campaign_id", where="poll_at IS NOT NULL"),
        partial_index(
            "ix_attempt_reconcile", "account", "reconcile_at", where="reconcile_at IS NOT NULL"
        ),
        partial_index("ix_attempt_doubt", "campaign_id", where="doubt_at IS NOT NULL"),
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
    earlier attempt that was accepted late, or after which a person had the message submitted again.
    The primary key lets each id be used once.
    """

    __tablename__ = "other_id"
    __table_args__ = (Index("ix_other_id_number", "msisdn"),)

    account: str = text_key_column()
    provider_message_id: str = text_key_column()
    msisdn: int = number_column()
    campaign_id: int = number_column()
    seq: int = number_column(Integer)
    attempt_id: int = number_column()
    at: datetime = time_column()


class FormerOutcome(SQLModel, table=True):
    """What had become of a message before it was submitted again: a row per return to pending."""

    __tablename__ = "former_outcome"
    __table_args__ = (
        Index("ix_former_message", "campaign_id", "seq"),
        Index("ix_former_number", "msisdn"),
        {"sqlite_autoincrement": True},
    )

    id: int | None = serial_key_column()
    campaign_id: int = number_column()
    seq: int = number_column(Integer)
    msisdn: int = number_column()
    #: The latest request that had contained it; NULL where none had.
    attempt_id: int | None = optional_number_column()
    state: int = number_column(SmallInteger)
    final_at: datetime | None = optional_time_column()
    cost: Decimal | None = optional_money_column()
    provider_message_id: str | None = optional_text_column()
    error_code: str | None = optional_text_column()
    error: str | None = optional_text_column()
    #: When it became pending again.
    at: datetime = time_column()
