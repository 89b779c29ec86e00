"""Polls: lease accepted requests that are due to be polled, and store their receipts."""

from collections import Counter, defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from functools import cache
from typing import Any, NamedTuple, TypeAlias

from sqlalchemy import (
    ColumnElement,
    Connection,
    Integer,
    Text,
    Update,
    and_,
    bindparam,
    cast,
    func,
    or_,
    select,
    tuple_,
    update,
)

from dispatcher.status import MESSAGE_TRANSITIONS, MessageState
from dispatcher.store import costs
from dispatcher.store.column_types import Money, UtcTime
from dispatcher.store.corrections import Correction, count_corrections
from dispatcher.store.engine import take_advisory_lock
from dispatcher.store.fetching import (
    columns_of,
    fetch_all,
    fetch_messages,
    fetch_one,
    fetch_optional,
)
from dispatcher.store.locks import lock_batch_hold
from dispatcher.store.ranges import MESSAGES_OF_BATCH, messages_of, range_parameters
from dispatcher.store.row_parts import (
    DuePoll,
    PolledAttempt,
    PollsInFlight,
    PollState,
    SubmittedMessage,
)
from dispatcher.store.table_values import ColumnTypes, NumbersParameter, literal_table
from dispatcher.store.tables import ATTEMPT, BATCH, MESSAGE
from dispatcher.store.transitions import has_state, may_become

# Made once: every tick runs them.
_OPEN = ATTEMPT.c.poll_at.is_not(None)
_OUT = (
    select(*columns_of(ATTEMPT, PollsInFlight, n=func.count()))
    .where(_OPEN, ATTEMPT.c.poll_lease_until > bindparam("now"))
    .group_by(ATTEMPT.c.account)
)
_IDLE = or_(ATTEMPT.c.poll_lease_until.is_(None), ATTEMPT.c.poll_lease_until <= bindparam("now"))
# Rows are locked first: PostgreSQL may run a subquery of the UPDATE twice, each with its LIMIT.
_DUE = (
    select(*columns_of(ATTEMPT, DuePoll))
    .where(
        _OPEN,
        ATTEMPT.c.poll_at <= bindparam("now"),
        _IDLE,
        ATTEMPT.c.account.not_in(bindparam("full", expanding=True)),
    )
    .order_by(ATTEMPT.c.poll_at)
    .limit(bindparam("most"))
    .with_for_update(skip_locked=True)
)
_ANY_DUE = select(ATTEMPT.c.id).where(_OPEN, ATTEMPT.c.poll_at <= bindparam("now"), _IDLE).limit(1)
#: Tickets of one statement.
_AT_ONCE = 500
#: So many different texts of receipts take a statement each.
_FEW_WORDS = 4
#: A receipt's code, its text and its price.
_Words: TypeAlias = tuple[str | None, str | None, Decimal | None]
_FINAL = sorted(MESSAGE_TRANSITIONS[MessageState.SUBMITTED])


class PollTicket(NamedTuple):
    """An accepted request to poll; without effect once `polls` is old."""

    id: int
    polls: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PolledRequest:
    """A request that this worker polls, and its messages without a final state."""

    id: int
    polls: int
    batch_id: int
    campaign_id: int
    #: The range of the batch's messages.
    first_seq: int
    size: int
    account: str
    job_id: str | None
    begun_at: datetime
    poll_until: datetime
    #: seq, msisdn and provider_message_id of each message without a final state.
    open: Sequence[SubmittedMessage]


class Receipt(NamedTuple):
    """A final state for the message `seq`."""

    seq: int
    state: MessageState
    error_code: str | None
    error: str | None
    #: The message's cost, if the report has it.
    cost: Decimal | None = None


def has_due_polls(conn: Connection, now: datetime) -> bool:
    """Whether a poll is due that nobody makes: without one no ticket need be issued."""
    return conn.execute(_ANY_DUE, {"now": now}).first() is not None


def lease_due_polls(
    conn: Connection,
    *,
    now: datetime,
    lease_until: datetime,
    limit: int,
    per_account: int | None = None,
    one_look: Collection[str] = (),
) -> list[PollTicket]:
    """Issue tickets for due polls; at most `limit` are under way, whatever process issues them.

    At most `per_account` belong to one account, so that hanging polls leave room for others. An
    account in `one_look` has one at a time: a look at its list answers all polls that join it. A
    poll whose lease ran out (its worker or its task was lost) counts as a correction.
    """
    take_advisory_lock(conn, "release of polls")
    counted = fetch_all(conn, PollsInFlight, _OUT, {"now": now})
    out_of = Counter({row.account: 1 if row.account in one_look else row.n for row in counted})
    out = out_of.total()
    if out >= limit:
        return []

    def most(account: str) -> int:
        return 1 if account in one_look else per_account or limit

    full = [account for account, n in out_of.items() if n >= most(account)]
    due = fetch_all(conn, DuePoll, _DUE, {"now": now, "full": full, "most": limit - out})
    ids = []
    lost = 0
    for row in due:
        out_of[row.account] += 1
        if out_of[row.account] <= most(row.account):
            ids.append(row.id)
            lost += row.poll_lease_until is not None
    count_corrections(conn, {Correction.POLL_NOT_ANSWERED: lost})
    if not ids:
        return []
    return _lease_polls(conn, ids, lease_until)


def join_due_polls(
    conn: Connection, polled: PolledRequest, *, now: datetime, lease_until: datetime, limit: int
) -> list[PollTicket]:
    """Issue tickets for the account's other due polls: one look at its list answers them all."""
    take_advisory_lock(conn, "release of polls")
    idle = or_(ATTEMPT.c.poll_lease_until.is_(None), ATTEMPT.c.poll_lease_until <= now)
    due = conn.execute(
        select(ATTEMPT.c.id)
        .where(
            ATTEMPT.c.account == polled.account,
            ATTEMPT.c.poll_at.is_not(None),
            ATTEMPT.c.poll_at <= now,
            idle,
            ATTEMPT.c.id != polled.id,
        )
        .order_by(ATTEMPT.c.poll_at)
        .limit(limit)
        .with_for_update(skip_locked=True)
    ).scalars()
    return _lease_polls(conn, due.all(), lease_until)


def _lease_polls(conn: Connection, ids: Sequence[int], lease_until: datetime) -> list[PollTicket]:
    statement = (
        update(ATTEMPT)
        .where(ATTEMPT.c.id.in_(ids))
        .values(poll_lease_until=lease_until, polls=ATTEMPT.c.polls + 1)
        .returning(*columns_of(ATTEMPT, PollTicket))
    )
    return fetch_all(conn, PollTicket, statement)


def renew_poll_leases(
    conn: Connection, tickets: Sequence[PollTicket], lease_until: datetime
) -> None:
    """Extend the leases of polls, except those for which a newer ticket was issued."""
    for at in range(0, len(tickets), _AT_ONCE):
        some = tickets[at : at + _AT_ONCE]
        conn.execute(
            update(ATTEMPT)
            .where(
                tuple_(ATTEMPT.c.id, ATTEMPT.c.polls).in_(some),
                ATTEMPT.c.poll_lease_until.is_not(None),
            )
            .values(poll_lease_until=lease_until)
        )


def postpone_polls(conn: Connection, until: Sequence[tuple[PollTicket, datetime]]) -> None:
    """Poll requests again later, after no news; old tickets change nothing."""
    if not until:
        return
    conn.execute(
        update(ATTEMPT)
        .where(
            ATTEMPT.c.id == bindparam("ticket_id"),
            ATTEMPT.c.polls == bindparam("ticket_polls"),
            ATTEMPT.c.poll_at.is_not(None),
            ATTEMPT.c.poll_lease_until.is_not(None),
        )
        .values(poll_at=bindparam("next_at"), poll_lease_until=None),
        [
            {"ticket_id": ticket.id, "ticket_polls": ticket.polls, "next_at": at}
            for ticket, at in until
        ],
    )


def load_poll(conn: Connection, ticket_id: int, polls: int) -> PolledRequest | None:
    """The request of a ticket, to be polled; None if the ticket is old or polling has ended."""
    query = (
        select(*columns_of(ATTEMPT, PolledAttempt, first_seq=BATCH.c.first_seq, size=BATCH.c.size))
        .join_from(ATTEMPT, BATCH, BATCH.c.id == ATTEMPT.c.batch_id)
        .where(ATTEMPT.c.id == ticket_id, ATTEMPT.c.polls == polls, ATTEMPT.c.poll_at.is_not(None))
    )
    row = fetch_optional(conn, PolledAttempt, query)
    if row is None:
        return None
    open_ = fetch_messages(
        conn,
        SubmittedMessage,
        select(*columns_of(MESSAGE, SubmittedMessage)).where(
            messages_of(row),
            _awaits_receipt(row.id),
        ),
    )
    return PolledRequest(
        id=row.id,
        polls=row.polls,
        batch_id=row.batch_id,
        campaign_id=row.campaign_id,
        first_seq=row.first_seq,
        size=row.size,
        account=row.account,
        job_id=row.job_id,
        begun_at=row.begun_at,
        poll_until=row.poll_until,
        open=open_,
    )


def store_receipts(
    conn: Connection,
    polled: PolledRequest,
    receipts: Sequence[Receipt],
    *,
    next_at: datetime | None,
    now: datetime,
) -> int:
    """Store receipts, and when to poll again (None: never). Returns how many receipts were new.

    Receipts only move forward: a message that is final already keeps its state. A message that is
    still `submitted` when polling ends gets no receipt. Of an old ticket only the receipts count.
    """
    hold = lock_batch_hold(conn, polled.batch_id)
    query = select(*columns_of(ATTEMPT, PollState)).where(ATTEMPT.c.id == polled.id)
    attempt = fetch_one(conn, PollState, query.with_for_update())
    moved = Counter[MessageState]()
    for state in _FINAL:
        rows = [r for r in receipts if r.state is state]
        if rows:
            moved[state] = _apply_receipts(conn, polled, state, rows, now)
    values: dict[str, Any] = {
        state.label: BATCH.c[state.label] + count for state, count in moved.items() if count
    }
    total = moved.total()
    if total:
        values["submitted"] = BATCH.c.submitted - total
    if total and any(receipt.cost is not None for receipt in receipts):
        costs.update_batch_cost(conn, polled.batch_id, messages_of(polled))
    if attempt.poll_at is None:
        # Polling has ended: these messages were counted as without a receipt.
        values["no_receipt"] = BATCH.c.no_receipt - total
    elif attempt.polls == polled.polls and attempt.poll_lease_until is not None:
        # Usually they were the last ones of their batch.
        left = 0 if hold.submitted == total else _count_open(conn, polled)
        ends = next_at is None or not left
        if ends:
            values["no_receipt"] = BATCH.c.no_receipt + left
        conn.execute(
            update(ATTEMPT)
            .where(ATTEMPT.c.id == polled.id)
            .values(poll_at=None if ends else next_at, poll_lease_until=None)
        )
    if values:
        conn.execute(update(BATCH).where(BATCH.c.id == polled.batch_id).values(**values))
    return total


def _count_open(conn: Connection, polled: PolledRequest) -> int:
    query = select(func.count()).select_from(MESSAGE)
    open_ = query.where(messages_of(polled), _awaits_receipt(polled.id))
    return conn.execute(open_).scalar_one()


def _awaits_receipt(attempt_id: int) -> ColumnElement[bool]:
    """Messages of that attempt without a final state."""
    return and_(MESSAGE.c.attempt_id == attempt_id, has_state(MessageState.SUBMITTED))


def _apply_receipts(
    conn: Connection,
    polled: PolledRequest,
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
    polled: PolledRequest,
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
