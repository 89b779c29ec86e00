"""The kinds of columns that the tables have. Each function gives a model's field its column."""

from datetime import datetime
from decimal import Decimal
from typing import TypeVar

from sqlalchemy import BigInteger, Boolean, Column, Integer, Text, false
from sqlalchemy.types import TypeEngine

from dispatcher.store.column_types import Money, UtcTime
from dispatcher.store.declaration import Field

T = TypeVar("T")


def required_column(column: Column[T], default: T | None = None) -> T:
    """A column that is never NULL."""
    field: T = Field(default=default, sa_column=column)
    return field


def optional_column(column: Column[T]) -> T | None:
    """A column that may be NULL."""
    field: T | None = Field(default=None, sa_column=column)
    return field


def optional_time_column() -> datetime | None:
    """A time, or NULL."""
    return optional_column(Column(UtcTime))


def time_column() -> datetime:
    """A time."""
    return required_column(Column(UtcTime, nullable=False))


def optional_text_column() -> str | None:
    """A text, or NULL."""
    return optional_column(Column(Text))


def text_column() -> str:
    """A text."""
    return required_column(Column(Text, nullable=False))


def text_key_column() -> str:
    """A text that is the primary key, or a part of it."""
    return required_column(Column(Text, primary_key=True))


def flag_column() -> bool:
    """True or false; false at first."""
    return required_column(Column(Boolean, nullable=False, server_default=false()), default=False)


def optional_money_column() -> Decimal | None:
    """A price, or NULL."""
    return optional_column(Column(Money))


def counter_column(kind: type[TypeEngine[int]] = Integer, default: int = 0) -> int:
    """A number that starts at `default`."""
    return required_column(
        Column(kind, nullable=False, server_default=str(default)), default=default
    )


def number_column(kind: type[TypeEngine[int]] = BigInteger) -> int:
    """A number."""
    return required_column(Column(kind, nullable=False))


def optional_number_column(kind: type[TypeEngine[int]] = BigInteger) -> int | None:
    """A number, or NULL."""
    return optional_column(Column(kind))


def number_key_column(kind: type[TypeEngine[int]] = BigInteger) -> int:
    """A number that is the primary key, or a part of it."""
    return required_column(Column(kind, primary_key=True, autoincrement=False))


def serial_key_column() -> int | None:
    """A primary key that the database counts up."""
    # SQLite numbers rows by itself only in an `INTEGER PRIMARY KEY`.
    return optional_column(Column(BigInteger().with_variant(Integer, "sqlite"), primary_key=True))
