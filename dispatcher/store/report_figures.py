"""Figures of a report, counted by the database: over time, by delay, by number series, by request.

Each function yields rows of one page of messages after the other: a key may come repeatedly.
"""

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any, Final, NamedTuple, TypeVar

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Connection,
    Double,
    Integer,
    Select,
    and_,
    case,
    cast,
    func,
    literal_column,
    select,
    type_coerce,
)

from dispatcher.status import AttemptOutcome, MessageState
from dispatcher.store.engine import Store
from dispatcher.store.fetching import fetch_all
from dispatcher.store.message_pages import message_pages
from dispatcher.store.tables import ATTEMPT, BATCH, MESSAGE
from dispatcher.store.transitions import has_state

#: Digits that a series of numbers has in common: country, and the block that an operator was given.
SERIES_DIGITS: Final = 6
_BATCHES_AT_ONCE: Final = 500
_MICROSECONDS: Final = 1_000_000
#: A delay is counted in steps of seconds: (below this many seconds, in steps of).
_STEPS: Final = ((60, 1), (3600, 10), (86_400, 300))
_COARSEST: Final = 3600
Row = TypeVar("Row", bound=NamedTuple)


class TimeBuckets(NamedTuple):
    """Periods of `size_s` seconds, the first from `origin` on."""

    origin: datetime
    size_s: int


class BegunCount(NamedTuple):
    """Messages that are in a state now, by the period in which their latest request began."""

    bucket: int
    state: int
    n: int


class FinalCount(NamedTuple):
    """Messages by final state and the period in which they came into it."""

    bucket: int
    state: int
    n: int


class DelayCount(NamedTuple):
    """Delivered messages by the seconds from their request to their receipt, in steps."""

    seconds: int
    n: int


class SeriesCount(NamedTuple):
    """Messages by the first digits of their numbers and by state; one number as an example."""

    series: int
    state: int
    n: int
    parts: int
    example: int
    cost: float | None


class RequestCount(NamedTuple):
    """Messages in requests that may have left, by the period in which they began."""

    bucket: int
    requests: int
    messages: int


class TimeSpan(NamedTuple):
    """The first and the last moment at which something of the campaigns was recorded."""

    first_at: datetime | None
    last_at: datetime | None


def load_span(store: Store, campaign_ids: Sequence[int]) -> TimeSpan:
    """From the first request of the campaigns to the last one or the last final state."""
    firsts: list[datetime] = []
    lasts: list[datetime] = []
    for begun in _request_rows(
        store, campaign_ids, TimeSpan,
        (
            func.min(ATTEMPT.c.begun_at).label("first_at"),
            func.max(ATTEMPT.c.begun_at).label("last_at"),
        ),
        (),
    ):  # fmt: skip
        firsts += [begun.first_at] if begun.first_at is not None else []
        lasts += [begun.last_at] if begun.last_at is not None else []
    for page in _pages(store, campaign_ids):
        with store.read() as conn:
            last = conn.execute(select(func.max(MESSAGE.c.final_at)).where(page)).scalar_one()
        lasts += [last] if last is not None else []
    return TimeSpan(min(firsts, default=None), max(lasts, default=None))


def count_begun(
    store: Store, campaign_ids: Sequence[int], buckets: TimeBuckets
) -> Iterator[BegunCount]:
    """Messages with a request, by the period in which their latest one began."""
    for page in _pages(store, campaign_ids):
        with store.read() as conn:
            bucket = _bucket_of(conn, ATTEMPT.c.begun_at, buckets).label("bucket")
            query = (
                select(bucket, MESSAGE.c.state, func.count().label("n"))
                .join_from(MESSAGE, ATTEMPT, ATTEMPT.c.id == MESSAGE.c.attempt_id)
                .where(page, MESSAGE.c.state != MessageState.PENDING)
                .group_by(bucket, MESSAGE.c.state)
            )
            rows = fetch_all(conn, BegunCount, query)
        yield from rows


def count_final(
    store: Store, campaign_ids: Sequence[int], buckets: TimeBuckets
) -> Iterator[FinalCount]:
    """Messages in a final state, by the period in which they came into it."""
    for page in _pages(store, campaign_ids):
        with store.read() as conn:
            bucket = _bucket_of(conn, MESSAGE.c.final_at, buckets).label("bucket")
            query = (
                select(bucket, MESSAGE.c.state, func.count().label("n"))
                .where(page, MESSAGE.c.final_at.is_not(None))
                .group_by(bucket, MESSAGE.c.state)
            )
            rows = fetch_all(conn, FinalCount, query)
        yield from rows


def count_delays(store: Store, campaign_ids: Sequence[int]) -> Iterator[DelayCount]:
    """Delivered messages by the seconds from their request to their receipt."""
    for page in _pages(store, campaign_ids):
        with store.read() as conn:
            seconds = _stepped(_seconds_between(conn, ATTEMPT.c.begun_at, MESSAGE.c.final_at))
            label = seconds.label("seconds")
            query = (
                select(label, func.count().label("n"))
                .join_from(MESSAGE, ATTEMPT, ATTEMPT.c.id == MESSAGE.c.attempt_id)
                .where(page, has_state(MessageState.DELIVERED), MESSAGE.c.final_at.is_not(None))
                .group_by(label)
            )
            rows = fetch_all(conn, DelayCount, query)
        yield from rows


def count_series(store: Store, campaign_ids: Sequence[int]) -> Iterator[SeriesCount]:
    """Messages by the series of their numbers, with parts and prices."""
    series = _first_digits(MESSAGE.c.msisdn).label("series")
    for page in _pages(store, campaign_ids):
        # A sum of whole numbers can have more than 64 bits: prices are what a provider says.
        cost: ColumnElement[Any] = func.sum(cast(MESSAGE.c.cost, Double))
        if store.is_sqlite:
            cost /= _MICROSECONDS  # millionths
        query = (
            select(
                series, MESSAGE.c.state, func.count().label("n"),
                cast(func.sum(MESSAGE.c.parts), Integer).label("parts"),
                func.min(MESSAGE.c.msisdn).label("example"), cost.label("cost"),
            )
            .where(page)
            .group_by(series, MESSAGE.c.state)
        )  # fmt: skip
        with store.read() as conn:
            rows = fetch_all(conn, SeriesCount, query)
        yield from rows


def count_requests(
    store: Store, campaign_ids: Sequence[int], buckets: TimeBuckets
) -> Iterator[RequestCount]:
    """Requests that may have left, and the messages in them, by the period of their begin."""
    with store.read() as conn:
        bucket = _bucket_of(conn, ATTEMPT.c.begun_at, buckets).label("bucket")
    yield from _request_rows(
        store, campaign_ids, RequestCount,
        (
            bucket, func.count().label("requests"),
            cast(func.sum(ATTEMPT.c.size), BigInteger).label("messages"),
        ),
        (bucket,),
    )  # fmt: skip


def _request_rows(
    store: Store,
    campaign_ids: Sequence[int],
    row_type: type[Row],
    columns: Sequence[ColumnElement[Any]],
    group_by: Sequence[ColumnElement[Any]],
) -> Iterator[Row]:
    """Aggregates over the campaigns' requests, some batches at a time."""
    for batch_ids in _batch_pages(store, campaign_ids):
        query: Select[*tuple[Any, ...]] = select(*columns).where(
            ATTEMPT.c.batch_id.in_(batch_ids),
            ATTEMPT.c.outcome != AttemptOutcome.NOT_SENT,
        )
        with store.read() as conn:
            rows = fetch_all(conn, row_type, query.group_by(*group_by) if group_by else query)
        yield from rows


def _batch_pages(store: Store, campaign_ids: Sequence[int]) -> Iterator[list[int]]:
    for at in range(0, len(campaign_ids), _BATCHES_AT_ONCE):
        some, after = campaign_ids[at : at + _BATCHES_AT_ONCE], 0
        while True:
            query = (
                select(BATCH.c.id)
                .where(and_(BATCH.c.campaign_id.in_(some), BATCH.c.id > after))
                .order_by(BATCH.c.id)
                .limit(_BATCHES_AT_ONCE)
            )
            with store.read() as conn:
                ids: list[int] = list(conn.execute(query).scalars())
            if not ids:
                break
            yield ids
            after = ids[-1]


def _pages(store: Store, campaign_ids: Sequence[int]) -> list[ColumnElement[bool]]:
    with store.read() as conn:
        return message_pages(conn, campaign_ids)


def _bucket_of(
    conn: Connection, column: ColumnElement[Any], buckets: TimeBuckets
) -> ColumnElement[int]:
    """The number of the period that a time is in; the first is 0."""
    origin, size_s = int(buckets.origin.timestamp()), buckets.size_s
    if conn.dialect.name == "sqlite":
        elapsed = type_coerce(column, BigInteger()) - _number(origin * _MICROSECONDS)
        return elapsed // _number(size_s * _MICROSECONDS)
    seconds = func.date_part("epoch", column) - _number(origin)
    return cast(func.floor(seconds / _number(size_s)), BigInteger())


def _seconds_between(
    conn: Connection, start: ColumnElement[Any], end: ColumnElement[Any]
) -> ColumnElement[int]:
    """Whole seconds from `start` to `end`; negative after a clock was set back."""
    if conn.dialect.name == "sqlite":
        micros = type_coerce(end, BigInteger()) - type_coerce(start, BigInteger())
        return micros // _number(_MICROSECONDS)
    return cast(func.floor(func.date_part("epoch", end - start)), BigInteger())


def _stepped(seconds: ColumnElement[int]) -> ColumnElement[int]:
    """Seconds rounded down to steps that grow with the delay, so that there are few values."""

    def rounded(step: int) -> ColumnElement[int]:
        return seconds - seconds % _number(step)

    return case(
        *((seconds < _number(below), rounded(step)) for below, step in _STEPS),
        else_=rounded(_COARSEST),
    )


def _first_digits(number: ColumnElement[Any]) -> ColumnElement[int]:
    """The first digits of a phone number, which has at most 15."""
    return case(
        *(
            (
                number >= _number(10 ** (digits - 1)),
                number // _number(10 ** (digits - SERIES_DIGITS)),
            )
            for digits in range(15, SERIES_DIGITS, -1)
        ),
        else_=number,
    )


def _number(value: int) -> ColumnElement[int]:
    """A number in the statement's text: PostgreSQL takes two parameters for two expressions."""
    return literal_column(str(value), BigInteger())
