"""What had become of messages before they were submitted again."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import NamedTuple

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Connection,
    Integer,
    func,
    insert,
    literal,
    select,
    update,
)

from dispatcher.status import MessageState
from dispatcher.store.column_types import UtcTime
from dispatcher.store.fetching import columns_of, fetch_all, fetch_messages
from dispatcher.store.table_values import literal_table
from dispatcher.store.tables import ATTEMPT, FORMER_OUTCOME, MESSAGE

_COPIED = (
    "campaign_id", "seq", "msisdn", "attempt_id", "state", "final_at", "cost",
    "provider_message_id", "error_code", "error",
)  # fmt: skip
#: States in which the provider was not known to have a message.
_UNSUBMITTED = (MessageState.IN_DOUBT, MessageState.FAILED)


class RetriedCount(NamedTuple):
    """How many messages in a state were submitted again."""

    state: int
    n: int


class FormerRequest(NamedTuple):
    """An earlier request that a provider accepted for a number, without an id of its own."""

    msisdn: int
    begun_at: datetime


class FirstRequest(NamedTuple):
    """When the first request of a message began that left it in doubt and was made again."""

    seq: int
    begun_at: datetime


def keep_outcomes(conn: Connection, which: ColumnElement[bool], now: datetime) -> int:
    """Add a row for each message that `which` selects, before it becomes pending; how many."""
    copied = select(*(MESSAGE.c[name] for name in _COPIED), literal(now, UtcTime())).where(which)
    statement = insert(FORMER_OUTCOME).from_select([*_COPIED, "at"], copied)
    # Without this option psycopg reports -1 rows for an INSERT.
    return conn.execute(statement, execution_options={"preserve_rowcount": True}).rowcount


def count_retried(conn: Connection, campaign_ids: Sequence[int]) -> dict[MessageState, int]:
    """How many messages of these campaigns were submitted again, by the state that they had."""
    query = (
        select(*columns_of(FORMER_OUTCOME, RetriedCount, n=func.count()))
        .where(FORMER_OUTCOME.c.campaign_id.in_(campaign_ids))
        .group_by(FORMER_OUTCOME.c.state)
    )
    return {MessageState(row.state): row.n for row in fetch_all(conn, RetriedCount, query)}


def seqs_known_as_submitted(conn: Connection, campaign_id: int, attempt_id: int) -> set[int]:
    """The messages that were submitted again, and that this attempt was known to have submitted."""
    query = select(FORMER_OUTCOME.c.seq).where(
        FORMER_OUTCOME.c.campaign_id == campaign_id,
        FORMER_OUTCOME.c.attempt_id == attempt_id,
        FORMER_OUTCOME.c.state.not_in(_UNSUBMITTED),
    )
    return set(conn.execute(query).scalars())


def accepted_without_id(
    conn: Connection, account: str, numbers: Iterable[int], since: datetime
) -> list[int]:
    """The numbers of former outcomes that `account` accepted since then without giving an id.

    A number comes once per such outcome.
    """
    given = literal_table(conn, [("msisdn", BigInteger())], [(number,) for number in numbers])
    query = (
        select(*columns_of(FORMER_OUTCOME, FormerRequest, begun_at=ATTEMPT.c.begun_at))
        .join_from(FORMER_OUTCOME, ATTEMPT, ATTEMPT.c.id == FORMER_OUTCOME.c.attempt_id)
        .where(
            FORMER_OUTCOME.c.msisdn == given.c.msisdn,
            FORMER_OUTCOME.c.provider_message_id.is_(None),
            FORMER_OUTCOME.c.state.in_([MessageState.UNDELIVERED, MessageState.EXPIRED]),
            ATTEMPT.c.account == account,
        )
    )
    rows = fetch_messages(conn, FormerRequest, query)
    return [row.msisdn for row in rows if row.begun_at >= since]


def first_requests_in_doubt(
    conn: Connection, account: str, campaign_id: int, seqs: Sequence[int]
) -> dict[int, datetime]:
    """When the first request to `account` began that left each of these messages in doubt.

    Only of messages that were submitted again while they were in doubt.
    """
    given = literal_table(conn, [("seq", Integer())], [(seq,) for seq in seqs])
    query = (
        select(*columns_of(FORMER_OUTCOME, FirstRequest, begun_at=func.min(ATTEMPT.c.begun_at)))
        .join_from(FORMER_OUTCOME, ATTEMPT, ATTEMPT.c.id == FORMER_OUTCOME.c.attempt_id)
        .where(
            FORMER_OUTCOME.c.campaign_id == campaign_id,
            FORMER_OUTCOME.c.seq == given.c.seq,
            FORMER_OUTCOME.c.state == MessageState.IN_DOUBT,
            ATTEMPT.c.account == account,
        )
        .group_by(FORMER_OUTCOME.c.seq)
    )
    return {row.seq: row.begun_at for row in fetch_all(conn, FirstRequest, query)}


def forget_numbers(conn: Connection, which: ColumnElement[bool]) -> None:
    """Drop numbers, ids and words of the former outcomes that `which` selects; they still count.

    A number that is gone is negative, and different in each message.
    """
    conn.execute(
        update(FORMER_OUTCOME)
        .where(which)
        .values(msisdn=-FORMER_OUTCOME.c.seq - 1, provider_message_id=None, error=None)
    )
