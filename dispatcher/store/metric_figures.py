"""What metrics count, with a fixed number of statements: sums over batches, never over messages.

`dispatcher/monitoring` asks, and keeps what need not be read again.
"""

from datetime import datetime
from functools import cache
from typing import Any, Final, NamedTuple

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Connection,
    Double,
    Select,
    and_,
    bindparam,
    case,
    cast,
    func,
    literal_column,
    or_,
    select,
    type_coerce,
)

from dispatcher.status import ACCEPTED, IN_FLIGHT, AttemptOutcome
from dispatcher.store.column_types import UtcTime
from dispatcher.store.fetching import columns_of, fetch_all, fetch_one
from dispatcher.store.tables import ATTEMPT, BATCH, CAMPAIGN, FORMER_OUTCOME
from dispatcher.store.transitions import has_state

#: Upper edges of the durations that are counted, in seconds; longer ones are above the last.
DURATION_EDGES_S: Final = (0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0)
_MICROSECONDS: Final = 1_000_000


class CampaignCount(NamedTuple):
    """Campaigns of an account that are not over, in one state."""

    account: str
    state: str
    n: int


class BatchCount(NamedTuple):
    """Batches of an account that are in flight, in one state, and when the first was queued."""

    account: str
    state: int
    n: int
    oldest: datetime | None


class DuePollCount(NamedTuple):
    """Requests of an account whose status is to be asked by now, and since when the first is."""

    account: str
    n: int
    oldest: datetime


class DoubtfulCount(NamedTuple):
    """Requests of an account with recipients in doubt; `undecided` ones wait for a person."""

    account: str
    n: int
    undecided: int
    oldest: datetime


class FormerCount(NamedTuple):
    """Messages of an account that a provider had accepted, and that became pending again."""

    account: str
    n: int
    newest: int


class RequestRange(NamedTuple):
    """Requests after a given one: the first that may still change, and the newest."""

    first_unsettled: int | None
    newest: int | None


class RequestSums(NamedTuple):
    """Requests that are alike: how many, for how many recipients, and their durations.

    `duration` and `delay` are indexes of `DURATION_EDGES_S`, one more for longer ones; NULL where
    there is no such duration. `is_settled`: they do not change any more.
    """

    account: str
    outcome: int
    error_code: str | None
    is_settled: int
    duration: int | None
    delay: int | None
    n: int
    recipients: int
    duration_s: float | None
    delay_s: float | None


_IS_OVER = CAMPAIGN.c.finished_at.is_not(None)
_CAMPAIGNS = (
    select(*columns_of(CAMPAIGN, CampaignCount, n=func.count()))
    .where(~_IS_OVER)
    .group_by(CAMPAIGN.c.account, CAMPAIGN.c.state)
)
_BATCHES = (
    select(*columns_of(BATCH, BatchCount, n=func.count(), oldest=func.min(BATCH.c.queued_at)))
    .where(has_state(*IN_FLIGHT))
    .group_by(BATCH.c.account, BATCH.c.state)
)
_POLLS = (
    select(*columns_of(ATTEMPT, DuePollCount, n=func.count(), oldest=func.min(ATTEMPT.c.poll_at)))
    .where(ATTEMPT.c.poll_at.is_not(None), ATTEMPT.c.poll_at <= bindparam("now", type_=UtcTime()))
    .group_by(ATTEMPT.c.account)
)
_DOUBTS = (
    select(
        *columns_of(
            ATTEMPT,
            DoubtfulCount,
            n=func.count(),
            undecided=func.count() - func.count(ATTEMPT.c.reconcile_at),
            oldest=func.min(ATTEMPT.c.doubt_at),
        )
    )
    .where(ATTEMPT.c.doubt_at.is_not(None))
    .group_by(ATTEMPT.c.account)
)
_FORMER = (
    select(
        *columns_of(
            ATTEMPT, FormerCount, n=func.count(), newest=func.max(FORMER_OUTCOME.c.id)
        )
    )
    .join_from(FORMER_OUTCOME, ATTEMPT, ATTEMPT.c.id == FORMER_OUTCOME.c.attempt_id)
    .where(
        FORMER_OUTCOME.c.id > bindparam("after"),
        FORMER_OUTCOME.c.state.in_([int(state) for state in ACCEPTED]),
    )
    .group_by(ATTEMPT.c.account)
)  # fmt: skip
_NEWEST_REQUEST = select(func.max(ATTEMPT.c.id))
_MAY_CHANGE = or_(
    has_state(AttemptOutcome.OPEN), ATTEMPT.c.begun_at > bindparam("recent", type_=UtcTime())
)
_RANGE = select(
    func.min(case((_MAY_CHANGE, ATTEMPT.c.id))).label("first_unsettled"),
    func.max(ATTEMPT.c.id).label("newest"),
).where(ATTEMPT.c.id > bindparam("after"))


def count_open_campaigns(conn: Connection) -> list[CampaignCount]:
    """The campaigns that are not over, by account and state."""
    return fetch_all(conn, CampaignCount, _CAMPAIGNS)


def count_batches_in_flight(conn: Connection) -> list[BatchCount]:
    """The batches that hold slots, by account and state."""
    return fetch_all(conn, BatchCount, _BATCHES)


def count_due_polls(conn: Connection, now: datetime) -> list[DuePollCount]:
    """The status requests that are due, by account."""
    return fetch_all(conn, DuePollCount, _POLLS, {"now": now})


def count_doubtful_requests(conn: Connection) -> list[DoubtfulCount]:
    """The requests with recipients in doubt, by account."""
    return fetch_all(conn, DoubtfulCount, _DOUBTS)


def count_former_acceptances(conn: Connection, after: int) -> list[FormerCount]:
    """Acceptances that a retry took back, of rows after the one with id `after`."""
    return fetch_all(conn, FormerCount, _FORMER, {"after": after})


def newest_request(conn: Connection) -> int:
    """The id of the newest request; 0 without any."""
    return int(conn.execute(_NEWEST_REQUEST).scalar_one() or 0)


def find_request_range(conn: Connection, after: int, recent: datetime) -> RequestRange:
    """What there is after the request `after`.

    One that began after `recent` may change, since one with a lower id may not be visible yet.
    """
    return fetch_one(conn, RequestRange, _RANGE, {"after": after, "recent": recent})


def sum_requests(conn: Connection, after: int, first_unsettled: int) -> list[RequestSums]:
    """The requests after `after`, those alike together."""
    query = _requests_query(conn.dialect.name == "sqlite")
    return fetch_all(conn, RequestSums, query, {"after": after, "first": first_unsettled})


@cache  # to build it takes longer than to execute it
def _requests_query(is_sqlite: bool) -> Select[*tuple[Any, ...]]:
    lasted = _duration_of(is_sqlite, ATTEMPT.c.begun_at, ATTEMPT.c.ended_at)
    waited = _duration_of(is_sqlite, BATCH.c.queued_at, ATTEMPT.c.begun_at)
    grouped = {
        "account": ATTEMPT.c.account,
        "outcome": ATTEMPT.c.outcome,
        "error_code": ATTEMPT.c.error_code,
        "is_settled": case((ATTEMPT.c.id < bindparam("first"), literal_column("1")),
                           else_=literal_column("0")),
        "duration": _edge_of(lasted),
        "delay": _edge_of(waited),
    }  # fmt: skip
    query = (
        select(
            *(column.label(name) for name, column in grouped.items()),
            func.count().label("n"),
            cast(func.sum(ATTEMPT.c.size), BigInteger).label("recipients"),
            func.sum(lasted).label("duration_s"),
            func.sum(case((waited >= literal_column("0"), waited))).label("delay_s"),
        )
        .join_from(ATTEMPT, BATCH, BATCH.c.id == ATTEMPT.c.batch_id)
        .where(ATTEMPT.c.id > bindparam("after"))
    )
    return query.group_by(*(literal_column(str(at + 1)) for at in range(len(grouped))))


def _edge_of(seconds: ColumnElement[Any]) -> ColumnElement[Any]:
    """The index of the first edge that is not below a duration; NULL for one below zero."""
    steps: list[tuple[ColumnElement[Any], ColumnElement[Any]]] = [
        (seconds <= literal_column(str(edge)), literal_column(str(at)))
        for at, edge in enumerate(DURATION_EDGES_S)
    ]
    is_known = and_(seconds.is_not(None), seconds >= literal_column("0"))
    return case((~is_known, literal_column("NULL")), (seconds.is_(None), literal_column("NULL")),
                *steps, else_=literal_column(str(len(DURATION_EDGES_S))))  # fmt: skip


def _duration_of(
    is_sqlite: bool, start: ColumnElement[Any], end: ColumnElement[Any]
) -> ColumnElement[Any]:
    if is_sqlite:
        micros = type_coerce(end, BigInteger()) - type_coerce(start, BigInteger())
        return cast(micros, Double) / literal_column(str(_MICROSECONDS))
    return cast(func.extract("epoch", end - start), Double)
