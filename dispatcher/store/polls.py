"""Polls: lease accepted requests that are due to be polled, and load their messages.

`receipts.py` stores what a poll has shown.
"""

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

from sqlalchemy import (
    Connection,
    and_,
    bindparam,
    func,
    or_,
    select,
    tuple_,
    update,
)

from dispatcher.logs.events import EventFields
from dispatcher.status import MessageState
from dispatcher.store.corrections import Correction, count_corrections
from dispatcher.store.engine import take_advisory_lock
from dispatcher.store.fetching import (
    columns_of,
    fetch_all,
    fetch_driver_rows,
    fetch_optional,
)
from dispatcher.store.ranges import MESSAGES_OF_BATCH, range_parameters
from dispatcher.store.row_parts import (
    DuePoll,
    PolledAttempt,
    PollsInFlight,
    SubmittedMessage,
)
from dispatcher.store.tables import ATTEMPT, BATCH, MESSAGE
from dispatcher.store.transitions import has_state
from dispatcher.tuples import make_tuples

# Made once: every tick runs them. A range of `poll_at`: what is open and not due costs nothing.
_OPEN = ATTEMPT.c.poll_at.is_not(None)
_IS_DUE = and_(_OPEN, ATTEMPT.c.poll_at <= bindparam("now"))
# What is under way was due, and stays so until its answer is stored.
_OUT = (
    select(*columns_of(ATTEMPT, PollsInFlight, n=func.count()))
    .where(_IS_DUE, ATTEMPT.c.poll_lease_until > bindparam("now"))
    .group_by(ATTEMPT.c.account)
)
_IDLE = or_(ATTEMPT.c.poll_lease_until.is_(None), ATTEMPT.c.poll_lease_until <= bindparam("now"))
# Rows are locked first: PostgreSQL may run a subquery of the UPDATE twice, each with its LIMIT.
_DUE = (
    select(*columns_of(ATTEMPT, DuePoll))
    .where(
        _IS_DUE,
        _IDLE,
        ATTEMPT.c.account.not_in(bindparam("full", expanding=True)),
    )
    .order_by(ATTEMPT.c.poll_at)
    .limit(bindparam("most"))
    .with_for_update(skip_locked=True)
)
_ANY_DUE = select(ATTEMPT.c.id).where(_IS_DUE, _IDLE).limit(1)
_POLLED = (
    select(*columns_of(ATTEMPT, PolledAttempt, first_seq=BATCH.c.first_seq, size=BATCH.c.size))
    .join_from(ATTEMPT, BATCH, BATCH.c.id == ATTEMPT.c.batch_id)
    .where(ATTEMPT.c.id == bindparam("ticket"), ATTEMPT.c.polls == bindparam("newest"), _OPEN)
)
#: Messages of the attempt `polled` in a batch without a final state.
AWAITS_RECEIPT = and_(
    MESSAGES_OF_BATCH,
    MESSAGE.c.attempt_id == bindparam("polled"),
    has_state(MessageState.SUBMITTED),
)
_AWAITING = select(*columns_of(MESSAGE, SubmittedMessage)).where(AWAITS_RECEIPT)
#: Tickets of one statement.
_AT_ONCE = 500


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

    @property
    def log_fields(self) -> EventFields:
        """What a line about it is about."""
        return EventFields(
            campaign=self.campaign_id, batch=self.batch_id, attempt=self.id, account=self.account
        )


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
    ticket = {"ticket": ticket_id, "newest": polls}
    row = fetch_optional(conn, PolledAttempt, _POLLED, ticket)
    if row is None:
        return None
    messages = range_parameters(row) | {"polled": row.id}
    open_ = make_tuples(SubmittedMessage, fetch_driver_rows(conn, _AWAITING, messages))
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
