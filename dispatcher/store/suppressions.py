"""The suppression list: numbers that must not be texted, by one account or by any.

A begin looks its recipients up in it, under the lock of its account. So does nobody get a text who
was on the list when the begin was committed: who adds numbers waits for begins that may not have
seen them (`wait_for_begins`).
"""

from collections.abc import Collection, Iterable, Sequence
from datetime import datetime
from functools import cache
from typing import Final, NamedTuple

from sqlalchemy import (
    BigInteger,
    Connection,
    Insert,
    bindparam,
    delete,
    func,
    literal_column,
    select,
    true,
    tuple_,
    update,
)

from dispatcher.status import MessageState
from dispatcher.store import erased_numbers
from dispatcher.store.batches import Claim
from dispatcher.store.column_types import UtcTime
from dispatcher.store.fetching import columns_of, fetch_all
from dispatcher.store.late_answers import IS_CARRIED, accept_noted
from dispatcher.store.locks import lock_accounts
from dispatcher.store.ranges import MESSAGES_OF_BATCH, range_parameters
from dispatcher.store.returns import count_moved
from dispatcher.store.table_values import TableParameter, literal_table
from dispatcher.store.tables import ACCOUNT, BATCH, MESSAGE, SUPPRESSION
from dispatcher.store.transitions import has_state, may_become

#: The account of numbers that no account may text.
ANY_ACCOUNT: Final = ""
#: The error of a message that was suppressed at begin.
LISTED: Final = "the number is on the suppression list"
#: The source of a number that was erased: only its hash is kept.
ERASED_SOURCE: Final = "erase"
#: Numbers that are read together.
_PAGE: Final = 20_000


class SuppressionRow(NamedTuple):
    """A row of `suppression`."""

    msisdn: int
    account: str
    reason: str | None
    source: str
    actor: str
    at: datetime


class _PendingNumber(NamedTuple):
    seq: int
    msisdn: int


class SuppressionOrigin(NamedTuple):
    """Why numbers are put on the list, where they come from, and who does it."""

    reason: str | None
    source: str
    actor: str


_APPLIES = SUPPRESSION.c.account.in_([literal_column("''"), bindparam("of_account")])
# Not EXISTS: PostgreSQL could make a join of it, and read the whole list for a few recipients.
_IS_LISTED = (
    select(SUPPRESSION.c.msisdn)
    .where(SUPPRESSION.c.msisdn == MESSAGE.c.msisdn, _APPLIES)
    .limit(1)
    .correlate(MESSAGE)
    .scalar_subquery()
    .is_not(None)
)
_LISTED_OF_BATCH = MESSAGES_OF_BATCH & may_become(MessageState.SUPPRESSED) & _IS_LISTED
# Made once: every begin executes it where the list has numbers.
_FIND_LISTED = select(MESSAGE.c.seq).where(_LISTED_OF_BATCH).limit(1)
_SUPPRESS = (
    update(MESSAGE)
    # What is under way gets the state that its answer says.
    .where(_LISTED_OF_BATCH, ~IS_CARRIED)
    .values(state=MessageState.SUPPRESSED, final_at=bindparam("now", type_=UtcTime()), error=LISTED)
)
_PENDING_NUMBERS = select(*columns_of(MESSAGE, _PendingNumber)).where(
    MESSAGES_OF_BATCH, has_state(MessageState.PENDING)
)
_SUPPRESS_SEQS = (
    update(MESSAGE)
    .where(MESSAGES_OF_BATCH, may_become(MessageState.SUPPRESSED), ~IS_CARRIED)
    .values(state=MessageState.SUPPRESSED, final_at=bindparam("now", type_=UtcTime()), error=LISTED)
)


def find_listed(conn: Connection, held: Claim, seqs: Sequence[int]) -> bool:
    """Whether a pending message of the batch is to a number on the list.

    Only the messages between the first and the last of `seqs` are looked up.
    """
    span = {
        "of_campaign": held.campaign_id,
        "from_seq": min(seqs),
        "to_seq": max(seqs),
        "of_account": held.account,
    }
    return conn.execute(_FIND_LISTED, span).first() is not None


def erased_recipients(conn: Connection, held: Claim) -> list[int]:
    """The seqs of a batch's pending messages whose number was erased.

    An erasure takes the messages of its time out itself: these were imported beside it.
    """
    rows = fetch_all(conn, _PendingNumber, _PENDING_NUMBERS, range_parameters(held))
    seq_of = {row.msisdn: row.seq for row in rows}
    return sorted(seq_of[msisdn] for msisdn in erased_numbers.find_erased(conn, seq_of))


def suppress_listed(
    conn: Connection, held: Claim, now: datetime, erased: Collection[int] = ()
) -> int:
    """`pending → suppressed` for all of a held batch whose number is on the list; how many.

    `erased`: seqs that are suppressed too. Lock the batch first.
    """
    # What a late answer says about a message is worth more than its suppression now.
    accept_noted(conn, held)
    given = {**range_parameters(held), "of_account": held.account, "now": now}
    moved = conn.execute(_SUPPRESS, given).rowcount
    if erased:
        moved += conn.execute(_SUPPRESS_SEQS.where(MESSAGE.c.seq.in_(erased)), given).rowcount
    count_moved(conn, held.id, moved, BATCH.c.suppressed)
    return moved


def wait_for_begins(conn: Connection, account: str) -> None:
    """Wait until no begin is under way that may not see what is on the list now.

    `account`: of the numbers that were added.
    """
    lock_accounts(conn, true() if account == ANY_ACCOUNT else ACCOUNT.c.name == account)


def add_numbers(
    conn: Connection, msisdns: Sequence[int], account: str, origin: SuppressionOrigin, now: datetime
) -> int:
    """Put numbers on the list; how many are new. One that is on it already stays as it is.

    One that was erased is kept from texts by its hash, and not written down again.

    Then see `wait_for_begins`, in this transaction before it, or in another one after it.
    """
    statement, given = _add_stmt(conn.dialect.name)
    if erased := erased_numbers.find_erased(conn, msisdns):
        msisdns = [msisdn for msisdn in msisdns if msisdn not in erased]
    same = {"account": account, "now": now, **origin._asdict()}
    done = conn.execute(
        statement,
        same | given.columns_to_parameters(sorted(msisdns)),
        # Without this option psycopg reports -1 rows for an INSERT.
        execution_options={"preserve_rowcount": True},
    )
    return done.rowcount


@cache
def _add_stmt(dialect: str) -> tuple[Insert, TableParameter]:
    if dialect == "postgresql":
        from sqlalchemy.dialects.postgresql import insert as insert_rows
    else:
        from sqlalchemy.dialects.sqlite import insert as insert_rows  # type: ignore[assignment]

    given = TableParameter(dialect, [("msisdn", BigInteger())])
    rows = select(
        given.table.c.msisdn,
        *(
            bindparam(name, type_=SUPPRESSION.c[name].type)
            for name in ("account", "reason", "source", "actor")
        ),
        bindparam("now", type_=UtcTime()),
    ).where(given.table.c.msisdn > 0)  # SQLite reads `ON CONFLICT` as a join without a WHERE
    into = insert_rows(SUPPRESSION).from_select(list(SuppressionRow._fields), rows)
    return into.on_conflict_do_nothing(), given


def remove_numbers(conn: Connection, msisdns: Sequence[int], account: str) -> list[int]:
    """Take numbers off the list of `account`; which of them were on it.

    Those that were erased too, where it is the list of all accounts.
    """
    erased = erased_numbers.remove_erased(conn, msisdns) if account == ANY_ACCOUNT else []
    given = literal_table(conn, [("msisdn", BigInteger())], [(msisdn,) for msisdn in msisdns])
    statement = (
        delete(SUPPRESSION)
        .where(SUPPRESSION.c.account == account, SUPPRESSION.c.msisdn.in_(select(given.c.msisdn)))
        .returning(SUPPRESSION.c.msisdn)
    )
    return sorted({*conn.execute(statement).scalars(), *erased})


def find_entries(
    conn: Connection, msisdns: Sequence[int], account: str | None = None
) -> list[SuppressionRow]:
    """What the list says of some numbers; only what concerns `account`, where that is given."""
    given = literal_table(conn, [("msisdn", BigInteger())], [(msisdn,) for msisdn in msisdns])
    query = select(*columns_of(SUPPRESSION, SuppressionRow)).where(
        SUPPRESSION.c.msisdn.in_(select(given.c.msisdn))
    )
    if account is not None:
        query = query.where(SUPPRESSION.c.account.in_([ANY_ACCOUNT, account]))
    erased = erased_numbers.find_erased(conn, msisdns)
    return [
        *(
            SuppressionRow(msisdn, ANY_ACCOUNT, None, ERASED_SOURCE, row.actor, row.at)
            for msisdn, row in sorted(erased.items())
        ),
        *fetch_all(
            conn, SuppressionRow, query.order_by(SUPPRESSION.c.msisdn, SUPPRESSION.c.account)
        ),
    ]


def is_listed(conn: Connection, msisdn: int, account: str) -> bool:
    """Whether `account` must not text a number."""
    query = select(SUPPRESSION.c.msisdn).where(SUPPRESSION.c.msisdn == msisdn, _APPLIES)
    is_on_list = conn.execute(query.limit(1), {"of_account": account}).first() is not None
    return is_on_list or bool(erased_numbers.find_erased(conn, [msisdn]))


def list_newest_entries(
    conn: Connection, *, account: str | None, limit: int
) -> list[SuppressionRow]:
    """The newest entries; only those of one account, or of any (`ANY_ACCOUNT`)."""
    query = select(*columns_of(SUPPRESSION, SuppressionRow))
    if account is not None:
        query = query.where(SUPPRESSION.c.account == account)
    newest = query.order_by(SUPPRESSION.c.at.desc(), SUPPRESSION.c.msisdn).limit(limit)
    return fetch_all(conn, SuppressionRow, newest)


def count_entries(conn: Connection) -> dict[str, int]:
    """How many numbers the list has, by account."""
    query = select(SUPPRESSION.c.account, func.count()).group_by(SUPPRESSION.c.account)
    counts: Iterable[tuple[str, int]] = conn.execute(query).all()
    return dict(counts)


def next_entries(
    conn: Connection, after: SuppressionRow | None, *, account: str | None
) -> list[SuppressionRow]:
    """The next page of the list, in the order of numbers, for an export."""
    query = select(*columns_of(SUPPRESSION, SuppressionRow))
    if after is not None:
        key = tuple_(SUPPRESSION.c.msisdn, SUPPRESSION.c.account)
        query = query.where(key > tuple_(after.msisdn, after.account))
    if account is not None:
        query = query.where(SUPPRESSION.c.account == account)
    page = query.order_by(SUPPRESSION.c.msisdn, SUPPRESSION.c.account).limit(_PAGE)
    return fetch_all(conn, SuppressionRow, page)


def next_numbers(conn: Connection, account: str, after: int) -> Sequence[int]:
    """The next numbers above `after` that `account` must not text, ascending; empty at the end."""
    query = (
        select(SUPPRESSION.c.msisdn)
        .where(SUPPRESSION.c.msisdn > after, _APPLIES)
        .distinct()
        .order_by(SUPPRESSION.c.msisdn)
        .limit(_PAGE)
    )
    found: Sequence[int] = conn.execute(query, {"of_account": account}).scalars().all()
    return found
