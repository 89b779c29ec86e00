"""Receipts: store the final states that a poll or a push has shown, and when to poll again."""

from collections import Counter, defaultdict
from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from functools import cache
from typing import NamedTuple, TypeAlias

from sqlalchemy import Connection, Integer, Text, Update, bindparam, cast, func, select, update

from dispatcher.status import MESSAGE_TRANSITIONS, MessageState
from dispatcher.store import costs
from dispatcher.store.column_types import Money, UtcTime
from dispatcher.store.fetching import columns_of, fetch_one
from dispatcher.store.locks import lock_batch_hold
from dispatcher.store.polls import AWAITS_RECEIPT, PolledRequest
from dispatcher.store.ranges import MESSAGES_OF_BATCH, messages_of, range_parameters
from dispatcher.store.row_parts import PollState
from dispatcher.store.table_values import ColumnTypes, NumbersParameter, literal_table
from dispatcher.store.tables import ATTEMPT, BATCH, MESSAGE
from dispatcher.store.transitions import may_become

# Made once: to build a statement takes time, during which every other writer waits.
_STILL_AWAITING = select(func.count()).select_from(MESSAGE).where(AWAITS_RECEIPT)
_POLL_STATE = (
    select(*columns_of(ATTEMPT, PollState))
    .where(ATTEMPT.c.id == bindparam("polled"))
    .with_for_update()
)
_POLL_NEXT = (
    update(ATTEMPT)
    .where(ATTEMPT.c.id == bindparam("polled"))
    .values(poll_at=bindparam("next_at", type_=UtcTime()), poll_lease_until=None)
)
#: So many different texts of receipts take a statement each.
_FEW_WORDS = 4
#: A receipt's code, its text and its price.
_Words: TypeAlias = tuple[str | None, str | None, Decimal | None]
_FINAL = sorted(MESSAGE_TRANSITIONS[MessageState.SUBMITTED])
_COUNT_RECEIPTS = (
    update(BATCH)
    .where(BATCH.c.id == bindparam("batch"))
    .values(
        submitted=BATCH.c.submitted - bindparam("total", type_=Integer()),
        no_receipt=BATCH.c.no_receipt + bindparam("without", type_=Integer()),
        **{
            state.label: BATCH.c[state.label] + bindparam(f"more_{state.label}", type_=Integer())
            for state in _FINAL
        },
    )
)


class Receipt(NamedTuple):
    """A final state for the message `seq`."""

    seq: int
    state: MessageState
    error_code: str | None
    error: str | None
    #: The message's cost, if the report has it.
    cost: Decimal | None = None


class ReportedRequest(NamedTuple):
    """A request whose provider reports by itself, and the range of its batch's messages."""

    id: int
    batch_id: int
    campaign_id: int
    first_seq: int
    size: int


def store_receipts(
    conn: Connection,
    polled: PolledRequest | ReportedRequest,
    receipts: Sequence[Receipt],
    *,
    next_at: datetime | None = None,
    now: datetime,
) -> int:
    """Store receipts, and when to poll again (None: never). Returns how many receipts were new.

    Receipts only move forward: a message that is final already keeps its state. A message that is
    still `submitted` when polling ends gets no receipt. Of an old ticket only the receipts count,
    and of a push. Nobody polls any more once all messages are final.
    """
    hold = lock_batch_hold(conn, polled.batch_id)
    attempt = fetch_one(conn, PollState, _POLL_STATE, {"polled": polled.id})
    moved = Counter[MessageState]()
    for state in _FINAL:
        rows = [r for r in receipts if r.state is state]
        if rows:
            moved[state] = _apply_receipts(conn, polled, state, rows, now)
    total = moved.total()
    if total and any(receipt.cost is not None for receipt in receipts):
        costs.update_batch_cost(conn, polled.batch_id, polled)
    without = 0
    if attempt.poll_at is None:
        # Polling has ended: these messages were counted as without a receipt.
        without = -total
    elif _is_newest_ticket(polled, attempt):
        # Usually they were the last ones of their batch.
        left = 0 if hold.submitted == total else _count_open(conn, polled)
        ends = next_at is None or not left
        if ends:
            without = left
        conn.execute(_POLL_NEXT, {"polled": polled.id, "next_at": None if ends else next_at})
    elif total and (hold.submitted == total or not _count_open(conn, polled)):
        conn.execute(_POLL_NEXT, {"polled": polled.id, "next_at": None})
    if total or without:
        _count_receipts(conn, polled.batch_id, moved, without)
    return total


def _is_newest_ticket(polled: PolledRequest | ReportedRequest, attempt: PollState) -> bool:
    is_leased = attempt.poll_lease_until is not None
    return isinstance(polled, PolledRequest) and attempt.polls == polled.polls and is_leased


def _count_receipts(
    conn: Connection, batch_id: int, moved: Counter[MessageState], without: int
) -> None:
    """Change the counts of a batch; `without`: how many more have no receipt and get none."""
    counted = {f"more_{state.label}": moved[state] for state in _FINAL}
    given = {"batch": batch_id, "total": moved.total(), "without": without}
    conn.execute(_COUNT_RECEIPTS, given | counted)


def _count_open(conn: Connection, polled: PolledRequest | ReportedRequest) -> int:
    given = range_parameters(polled) | {"polled": polled.id}
    return conn.execute(_STILL_AWAITING, given).scalar_one()


def _apply_receipts(
    conn: Connection,
    polled: PolledRequest | ReportedRequest,
    state: MessageState,
    rows: Sequence[Receipt],
    now: datetime,
) -> int:
    # A provider's text about a delivery is not an error.
    said = state is not MessageState.DELIVERED
    words: defaultdict[_Words, list[int]] = defaultdict(list)
    for seq, _state, code, error, cost in rows:
        words[(code, error, cost) if said else (None, None, cost)].append(seq)
    if len(words) <= _FEW_WORDS:
        return sum(_set_state(conn, polled, state, seqs, same, now) for same, seqs in words.items())
    columns: ColumnTypes = [
        ("seq", Integer()), ("code", Text()), ("reason", Text()), ("cost", Money()),
    ]  # fmt: skip
    entries = [(seq, *same) for same, seqs in words.items() for seq in seqs]
    given = literal_table(conn, columns, entries)
    return conn.execute(
        update(MESSAGE)
        .where(
            messages_of(polled),
            MESSAGE.c.seq == given.c.seq,
            MESSAGE.c.attempt_id == polled.id,
            may_become(state),
        )
        .values(
            state=state,
            final_at=now,
            error_code=given.c.code,
            error=given.c.reason,
            cost=func.coalesce(given.c.cost, MESSAGE.c.cost),
        )
    ).rowcount


def _set_state(
    conn: Connection,
    polled: PolledRequest | ReportedRequest,
    state: MessageState,
    seqs: Sequence[int],
    same: _Words,
    now: datetime,
) -> int:
    """Store receipts that say the same."""
    statement, given = _set_state_stmt(conn.dialect.name, state)
    code, error, cost = same
    said = {"code": code, "words": error, "price": cost, "at": now, "polled": polled.id}
    parameters = range_parameters(polled) | given.to_parameters(seqs) | said
    return conn.execute(statement, parameters).rowcount


@cache
def _set_state_stmt(dialect: str, state: MessageState) -> tuple[Update, NumbersParameter]:
    given = NumbersParameter(dialect, "seqs")
    price = cast(bindparam("price", type_=Money()), Money())
    statement = (
        update(MESSAGE)
        .where(
            MESSAGES_OF_BATCH,
            given.contains(MESSAGE.c.seq),
            MESSAGE.c.attempt_id == bindparam("polled"),
            may_become(state),
        )
        .values(
            state=state,
            final_at=bindparam("at", type_=UtcTime()),
            error_code=bindparam("code", type_=Text()),
            error=bindparam("words", type_=Text()),
            cost=func.coalesce(price, MESSAGE.c.cost),
        )
    )
    return statement, given
