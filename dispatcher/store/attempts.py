"""Attempts: one row per request of a batch, committed before its first byte leaves.

`answers.py` stores their outcomes, `batch_endings.py` ends the batch.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache
from typing import NamedTuple

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Connection,
    Insert,
    Integer,
    Text,
    Update,
    bindparam,
    func,
    insert,
    literal_column,
    select,
    update,
)

from dispatcher.errors import StoreError
from dispatcher.policy.fair_queue import SendPermission, Unit
from dispatcher.status import AttemptOutcome, BatchState, CampaignState, MessageState
from dispatcher.store import accounts, campaigns, suppressions
from dispatcher.store.batch_endings import hand_back, lock_if_owned
from dispatcher.store.batches import Claim
from dispatcher.store.column_types import UtcTime
from dispatcher.store.locks import lock_account, lock_batch_hold, lock_campaign_for_begin
from dispatcher.store.ranges import MESSAGES_OF_BATCH, range_parameters
from dispatcher.store.rows import AccountRow, CampaignRow
from dispatcher.store.table_values import TableParameter
from dispatcher.store.tables import ATTEMPT, BATCH, MESSAGE
from dispatcher.store.transitions import has_state, may_become

#: How many of the newest attempts are searched: there is no index by account and time.
_NEWEST = 10_000
# Made once: to build a statement takes time, during which every other writer waits.
_SUBMITTING = (
    update(BATCH)
    .where(
        BATCH.c.id == bindparam("batch"),
        BATCH.c.fence == bindparam("newest"),
        may_become(BatchState.SUBMITTING),
    )
    # Its worker is alive, however often others were lost with it before.
    .values(state=BatchState.SUBMITTING, lost=0)
)
_PENDING = MESSAGES_OF_BATCH & has_state(MessageState.PENDING)
_CARRY_ALL = (
    update(MESSAGE)
    .where(_PENDING)
    .values(attempt_id=bindparam("carried_by"), attempts=MESSAGE.c.attempts + 1)
)


@dataclass(frozen=True, slots=True, kw_only=True)
class BeginConditions:
    """When a batch may begin, and what it pays. `gate` gets the campaign's row as it is now."""

    gate: Callable[[CampaignRow, datetime], SendPermission]
    #: Of the first request. Each request's own is its offset in seconds later.
    deadline: datetime
    offsets_s: Sequence[float]
    #: For how many seconds from now this pays each rate of the account.
    paid_for_s: Mapping[Unit, float]
    campaign_paid_for_s: float | None
    daily_limit: int | None
    day_until: datetime


class NewAttempt(NamedTuple):
    """A request of a batch that is to begin: the seqs that it carries, and its deadline."""

    claim: Claim
    seqs: Sequence[int]
    deadline: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class BegunBatch:
    """A begun batch: attempts in the order of its requests; all must leave before `until`."""

    attempt_ids: Sequence[int]
    at: datetime
    until: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class LockedForBegin:
    """The locked rows that decide whether and when a batch begins."""

    account: AccountRow | None
    campaign: CampaignRow
    #: Whether there are numbers that must not be texted; read after the account was locked.
    has_suppressions: bool = False
    #: Whether numbers were erased; read likewise.
    has_erased: bool = False


def lock_for_begin(conn: Connection, held: Claim, *, is_paid: bool = False) -> LockedForBegin:
    """Lock the account and the campaign of a batch, in that order.

    `is_paid`: the campaign has a rate of its own, which will be paid.
    """
    account = lock_account(conn, held.account)
    found = lock_campaign_for_begin(conn, held.campaign_id, is_shared=not is_paid)
    return LockedForBegin(
        account=account,
        campaign=found.campaign,
        has_suppressions=found.has_suppressions,
        has_erased=found.has_erased,
    )


def begin_attempts(
    conn: Connection,
    held: Claim,
    requests: Sequence[Sequence[int]],
    *,
    locked: LockedForBegin,
    terms: BeginConditions,
    now: datetime,
    is_first: bool = True,
) -> BegunBatch | None:
    """Insert the attempt rows of `requests` (each the seqs it carries), in order.

    The first ones of a claim make the batch `submitting`; later ones need it to be so still.
    None where nothing of the batch may leave now (its account or campaign was stopped, the provider
    asked for a pause, the breaker has opened, its window is closed, the day is used up), where
    recipients came onto the suppression list, who are `suppressed` then, or where it was lost to
    another worker. Before its first request it is handed back then. Raises StoreError
    where `requests` carry a message that is not pending any more.
    """
    account, campaign = locked.account, locked.campaign
    messages = sum(len(seqs) for seqs in requests)
    may_leave = terms.gate(campaign, now)
    left = (
        accounts.messages_left_today(account, terms.daily_limit, now) if account is not None else 0
    )
    if (
        account is None
        or account.is_closed
        or (account.not_before is not None and account.not_before > now)
        or (account.breaker is not None and not held.is_probe)
        or campaign.state != CampaignState.RUNNING
        or not may_leave.is_open
        or (left is not None and left < messages)
    ):
        # Without a time: release checks the windows too, and they may change before they open.
        if is_first:
            hand_back(conn, held, now=now)
        return None
    if suppress_recipients(conn, held, requests, locked, now):
        # Requests for those who are left are made anew.
        if is_first:
            hand_back(conn, held, now=now)
        return None
    if is_first:
        taken = conn.execute(_SUBMITTING, {"batch": held.id, "newest": held.fence}).rowcount
    else:
        taken = lock_if_owned(conn, held)
    if not taken:
        return None
    ids = _open_attempts(conn, held, requests, terms, now)
    accounts.record_paid_until(conn, held.account, terms.paid_for_s, now)
    if terms.campaign_paid_for_s is not None:
        campaigns.record_campaign_paid_until(conn, held.campaign_id, terms.campaign_paid_for_s, now)
    if terms.daily_limit is not None:
        accounts.count_today(conn, account, messages, terms.day_until, now)
    return BegunBatch(attempt_ids=ids, at=now, until=may_leave.until)


def suppress_recipients(
    conn: Connection,
    held: Claim,
    requests: Sequence[Sequence[int]],
    locked: LockedForBegin,
    now: datetime,
) -> bool:
    """Suppress all of a batch who are on the list, if a recipient of these requests is.

    Likewise those who were erased while their campaign was being imported.
    """
    if not locked.has_suppressions and not locked.has_erased:
        return False
    seqs = [seq for request in requests for seq in request]
    is_listed = locked.has_suppressions and suppressions.find_listed(conn, held, seqs)
    erased = suppressions.erased_recipients(conn, held) if locked.has_erased else []
    if not is_listed and not erased:
        return False
    is_held = lock_batch_hold(conn, held.id).fence == held.fence
    return is_held and suppressions.suppress_listed(conn, held, now, erased) > 0


def _open_attempts(
    conn: Connection,
    held: Claim,
    requests: Sequence[Sequence[int]],
    terms: BeginConditions,
    now: datetime,
) -> list[int]:
    """Insert an attempt row per request of a batch, in order, and put its id into its messages."""
    new = [
        NewAttempt(held, seqs, terms.deadline + timedelta(seconds=offset))
        for seqs, offset in zip(requests, terms.offsets_s, strict=True)
    ]
    ids = insert_attempts(conn, held.account, new, now)
    messages = sum(map(len, requests))
    if len(requests) == 1 and messages == held.size:
        carried = conn.execute(
            _CARRY_ALL, {**range_parameters(held), "carried_by": ids[0]}
        ).rowcount
    else:
        carry, given = _carry_stmt(conn.dialect.name)
        pairs = [
            (seq, attempt_id)
            for attempt_id, seqs in zip(ids, requests, strict=True)
            for seq in seqs
        ]
        carried = conn.execute(carry, range_parameters(held) | given.to_parameters(pairs)).rowcount
    if carried != messages:
        raise StoreError(f"batch {held.id} changed while its requests were made; nothing is sent")
    return ids


def insert_attempts(
    conn: Connection, account: str, requests: Sequence[NewAttempt], now: datetime
) -> list[int]:
    """Insert an attempt row per request of an account, in order; their ids."""
    statement, given = _open_stmt(conn.dialect.name)
    rows = [
        (place, claim.campaign_id, claim.id, claim.fence, len(seqs), deadline)
        for place, (claim, seqs, deadline) in enumerate(requests)
    ]
    shared = {"by_account": account, "at": now}
    # Ids grow in the order of the rows; RETURNING promises no order.
    return sorted(conn.execute(statement, shared | given.to_parameters(rows)).scalars())


@cache
def _open_stmt(dialect: str) -> tuple[Insert, TableParameter]:
    given = TableParameter(
        dialect,
        [
            ("place", Integer()), ("campaign", BigInteger()), ("batch", BigInteger()),
            ("fence", Integer()), ("size", Integer()), ("deadline", UtcTime()),
        ],
    )  # fmt: skip
    new = given.table.c
    values: dict[str, ColumnElement[object]] = {
        "campaign_id": new.campaign,
        "batch_id": new.batch,
        "account": bindparam("by_account", type_=Text()),
        "fence": new.fence,
        "size": new.size,
        "outcome": literal_column(str(int(AttemptOutcome.OPEN))),
        "begun_at": bindparam("at", type_=UtcTime()),
        "deadline": new.deadline,
        "polls": literal_column("0"),
    }
    rows = select(*values.values()).order_by(new.place)
    return insert(ATTEMPT).from_select([*values], rows).returning(ATTEMPT.c.id), given


@cache
def _carry_stmt(dialect: str) -> tuple[Update, TableParameter]:
    given = TableParameter(dialect, [("seq", Integer()), ("attempt", BigInteger())])
    statement = (
        update(MESSAGE)
        .where(_PENDING, MESSAGE.c.seq == given.table.c.seq)
        .values(attempt_id=given.table.c.attempt, attempts=MESSAGE.c.attempts + 1)
    )
    return statement, given


def attempt_outcome(conn: Connection, held: Claim, attempt_id: int) -> AttemptOutcome | None:
    """The outcome of an attempt of this claim; None if the store does not have it."""
    found = conn.execute(
        select(ATTEMPT.c.outcome).where(
            ATTEMPT.c.id == attempt_id,
            ATTEMPT.c.batch_id == held.id,
            ATTEMPT.c.fence == held.fence,
        )
    ).scalar_one_or_none()
    return None if found is None else AttemptOutcome(found)


def has_begun_since(conn: Connection, account: str, since: datetime) -> bool:
    """Whether a request of the account was begun since then, among the newest of all accounts."""
    newest = select(func.max(ATTEMPT.c.id)).scalar_subquery()
    query = select(ATTEMPT.c.id).where(
        ATTEMPT.c.id > newest - _NEWEST,
        ATTEMPT.c.account == account,
        ATTEMPT.c.begun_at >= since,
    )
    return conn.execute(query.limit(1)).first() is not None
