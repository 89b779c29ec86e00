"""Column types that are the same in Python and differ between SQLite and PostgreSQL."""

from datetime import UTC, datetime, timedelta
from decimal import ROUND_HALF_UP, Decimal
from typing import Any

from sqlalchemy import BigInteger, DateTime, Dialect, Numeric
from sqlalchemy.types import TypeDecorator, TypeEngine

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


class UtcTime(TypeDecorator[datetime]):
    """An aware UTC instant: `timestamptz` on PostgreSQL, microseconds since 1970 on SQLite.

    A naive datetime raises ValueError.
    """

    impl = DateTime(timezone=True)
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        """The database type of the column."""
        if dialect.name == "sqlite":
            return dialect.type_descriptor(BigInteger())
        return dialect.type_descriptor(DateTime(timezone=True))

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | int | None:
        """Convert a value for the database."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("a time without zone cannot be stored")
        return to_microseconds(value) if dialect.name == "sqlite" else value

    def process_result_value(
        self, value: datetime | int | None, dialect: Dialect
    ) -> datetime | None:
        """Convert a value from the database."""
        if value is None:
            return None
        if dialect.name == "sqlite" and isinstance(value, int):
            return _EPOCH + value * _MICROSECOND
        assert isinstance(value, datetime)
        return value.astimezone(UTC)


def to_microseconds(moment: datetime) -> int:
    """An aware time as SQLite stores it."""
    return (moment - _EPOCH) // _MICROSECOND


def format_price(price: Decimal | None) -> str | None:
    """A price without exponent and trailing zeros, so that both databases' prices look alike."""
    if price is None:
        return None
    text = f"{price:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def to_millionths(price: Decimal) -> int:
    """A price as SQLite stores it; half a millionth is rounded away from zero."""
    return int(price.scaleb(6).to_integral_value(ROUND_HALF_UP))


class Money(TypeDecorator[Decimal]):
    """A price with six decimals: `numeric` on PostgreSQL, whole millionths on SQLite.

    Both round a half away from zero.
    """

    impl = Numeric(18, 6)
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        """The database type of the column."""
        if dialect.name == "sqlite":
            return dialect.type_descriptor(BigInteger())
        return dialect.type_descriptor(Numeric(18, 6))

    def process_bind_param(self, value: Decimal | None, dialect: Dialect) -> Decimal | int | None:
        """Convert a value for the database."""
        if value is None or dialect.name != "sqlite":
            return value
        return to_millionths(value)

    def process_result_value(self, value: Decimal | int | None, dialect: Dialect) -> Decimal | None:
        """Convert a value from the database."""
        if value is None:
            return None
        return Decimal(value).scaleb(-6) if dialect.name == "sqlite" else Decimal(value)
