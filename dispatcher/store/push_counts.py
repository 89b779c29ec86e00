"""How many pushes ended how, by account: counters for the metrics and for `doctor`."""

from collections.abc import Iterable, Mapping
from datetime import datetime
from enum import StrEnum
from typing import Final, NamedTuple

from sqlalchemy import BigInteger, Connection, bindparam, func, select, update

from dispatcher.store.column_types import UtcTime
from dispatcher.store.fetching import columns_of, fetch_all
from dispatcher.store.table_values import insert_or_ignore
from dispatcher.store.tables import PUSH_COUNT, WAITING_RECEIPT

#: The account of pushes that had no valid URL: a name from outside must not become a label.
NOBODY: Final = ""


class PushOutcome(StrEnum):
    """How a push, or one of its entries, ended. The values are stored, and are public names."""

    #: A receipt that was new.
    RECEIPT = "receipt"
    #: A receipt that said nothing new.
    KNOWN = "known"
    #: A receipt that waits: its message is not known yet, or it is provisional.
    WAITING = "waiting"
    #: A receipt that waited until it was given up.
    GIVEN_UP = "given_up"
    #: A reply that was new, other than a stop word.
    REPLY = "reply"
    #: A reply that was new and put its number on the suppression list.
    STOP = "stop"
    #: An entry that was neither a receipt nor a reply.
    IGNORED = "ignored"
    #: A push that could not be read.
    UNREADABLE = "unreadable"
    #: A request without a valid URL.
    REFUSED = "refused"


class PushCountRow(NamedTuple):
    """A row of `push_count`."""

    account: str
    outcome: str
    n: int
    last_at: datetime | None


# Made once: each group of pushes executes it.
_ADD = (
    update(PUSH_COUNT)
    .where(PUSH_COUNT.c.account == bindparam("key"), PUSH_COUNT.c.outcome == bindparam("ended"))
    .values(
        n=PUSH_COUNT.c.n + bindparam("more", type_=BigInteger()),
        last_at=bindparam("now", type_=UtcTime()),
    )
)


def add_push_counts(
    conn: Connection, counted: Mapping[tuple[str, PushOutcome], int], now: datetime
) -> None:
    """Add to the stored counts, by account and outcome."""
    for (account, outcome), n in sorted(counted.items()):
        if n:
            given = {"key": account, "ended": outcome.value, "more": n, "now": now}
            if not conn.execute(_ADD, given).rowcount:
                row = {"account": account, "outcome": outcome.value, "n": 0}
                insert_or_ignore(conn, PUSH_COUNT, row)
                conn.execute(_ADD, given)


def load_push_counts(conn: Connection) -> list[PushCountRow]:
    """All counts."""
    return fetch_all(conn, PushCountRow, select(*columns_of(PUSH_COUNT, PushCountRow)))


def count_waiting_receipts(conn: Connection) -> dict[str, int]:
    """How many receipts wait, by account."""
    query = select(WAITING_RECEIPT.c.account, func.count()).group_by(WAITING_RECEIPT.c.account)
    counts: Iterable[tuple[str, int]] = conn.execute(query).all()
    return dict(counts)
