"""The kinds of columns that the tables have. Each function gives a model's field its column."""

from datetime import datetime
from decimal import Decimal

from sqlalchemy import BigInteger, Boolean, Column, Integer, Text, false
from sqlalchemy.types import TypeEngine
from sqlmodel import Field

from dispatcher.store.column_types import Money, UtcTime


def optional_time_column() -> datetime | None:
    """A time, or NULL."""
    field: datetime | None = Field(default=None, sa_column=Column(UtcTime))
    return field


def time_column() -> datetime:
    """A time."""
    field: datetime = Field(default=None, sa_column=Column(UtcTime, nullable=False))
    return field


def optional_text_column() -> str | None:
    """A text, or NULL."""
    field: str | None = Field(default=None, sa_column=Column(Text))
    return field


def text_column() -> str:
    """A text."""
    field: str = Field(default=None, sa_column=Column(Text, nullable=False))
    return field


def text_key_column() -> str:
    """A text that is the primary key, or a part of it."""
    field: str = Field(sa_column=Column(Text, primary_key=True))
    return field


def flag_column() -> bool:
    """True or false; false at first."""
    column = Column(Boolean, nullable=False, server_default=false())
    field: bool = Field(default=False, sa_column=column)
    return field


def optional_money_column() -> Decimal | None:
    """A price, or NULL."""
    field: Decimal | None = Field(default=None, sa_column=Column(Money))
    return field


def counter_column(kind: type[TypeEngine[int]] = Integer, default: int = 0) -> int:
    """A number that starts at `default`."""
    column = Column(kind, nullable=False, server_default=str(default))
    field: int = Field(default=default, sa_column=column)
    return field


def number_column(kind: type[TypeEngine[int]] = BigInteger) -> int:
    """A number."""
    field: int = Field(sa_column=Column(kind, nullable=False))
    return field


def optional_number_column(kind: type[TypeEngine[int]] = BigInteger) -> int | None:
    """A number, or NULL."""
    field: int | None = Field(default=None, sa_column=Column(kind))
    return field


def number_key_column(kind: type[TypeEngine[int]] = BigInteger) -> int:
    """A number that is the primary key, or a part of it."""
    field: int = Field(sa_column=Column(kind, primary_key=True, autoincrement=False))
    return field


def serial_key_column() -> int | None:
    """A primary key that the database counts up."""
    # SQLite numbers rows by itself only in an `INTEGER PRIMARY KEY`.
    kind = BigInteger().with_variant(Integer, "sqlite")
    field: int | None = Field(default=None, sa_column=Column(kind, primary_key=True))
    return field
