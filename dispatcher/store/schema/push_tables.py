"""Tables of what providers push to the receiver: its URLs, receipts that wait, and replies."""

from datetime import datetime
from decimal import Decimal

from sqlalchemy import BigInteger, Index, SmallInteger

from dispatcher.store.columns import (
    counter_column,
    flag_column,
    number_column,
    optional_money_column,
    optional_text_column,
    optional_time_column,
    serial_key_column,
    text_column,
    text_key_column,
    time_column,
)
from dispatcher.store.declaration import SQLModel


class PushUrl(SQLModel, table=True):
    """A secret URL that an account's provider may push to; only a hash of its token is kept."""

    __tablename__ = "push_url"
    __table_args__ = ({"sqlite_autoincrement": True},)

    id: int | None = serial_key_column()
    account: str = text_column()
    #: SHA-256 of the token, in hexadecimal digits.
    digest: str = text_column()
    actor: str = text_column()
    at: datetime = time_column()


class WaitingReceipt(SQLModel, table=True):
    """A pushed receipt that cannot be stored yet.

    Its message is not known: a push can come before the answer to the submission was stored. Or it
    is provisional, and counts once the validity period is over.
    """

    __tablename__ = "waiting_receipt"
    __table_args__ = (
        Index("ix_waiting_receipt_due", "next_at"),
        {"sqlite_with_rowid": False},
    )

    account: str = text_key_column()
    provider_message_id: str = text_key_column()
    msisdn: int = number_column()
    state: int = counter_column(SmallInteger)
    #: The provider's own word.
    raw: str = text_column()
    provisional: bool = flag_column()
    error_code: str | None = optional_text_column()
    cost: Decimal | None = optional_money_column()
    at: datetime = time_column()
    #: When its message is looked for next.
    next_at: datetime = time_column()
    tries: int = counter_column(SmallInteger)


class InboundReply(SQLModel, table=True):
    """A message from a person to one of an account's numbers."""

    __tablename__ = "reply"
    __table_args__ = (
        Index("ix_reply_key", "account", "push_key", unique=True),
        Index("ix_reply_number", "msisdn"),
        {"sqlite_autoincrement": True},
    )

    id: int | None = serial_key_column()
    account: str = text_column()
    msisdn: int = number_column()
    text: str = text_column()
    #: The same for each push of the same reply.
    push_key: str = text_column()
    #: Whether its text is a word for stop, so that its number went to the suppression list.
    is_stop: bool = flag_column()
    at: datetime = time_column()


class PushCount(SQLModel, table=True):
    """How many pushes ended how, by account (empty: nobody's), and when the last one did."""

    __tablename__ = "push_count"

    account: str = text_key_column()
    outcome: str = text_key_column()
    n: int = counter_column(BigInteger)
    last_at: datetime | None = optional_time_column()
