"""Begins, answers and ends of a bundle: batches of one account that share a turn and its commits.

Only what is plain is done for all of them together: requests that may begin, and answers that
accepted everybody. Everything else is done batch by batch, as `attempts.py`, `answers.py` and
`batch_endings.py` do it.
"""

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from typing import NamedTuple

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Connection,
    Executable,
    Integer,
    Text,
    Update,
    literal_column,
    update,
)

from dispatcher.errors import StoreError
from dispatcher.status import BatchState, MessageState
from dispatcher.store import costs
from dispatcher.store.answers import JudgedAnswer, close_attempts, find_open_attempts
from dispatcher.store.attempts import NewAttempt, insert_attempts
from dispatcher.store.batches import Claim
from dispatcher.store.column_types import Money
from dispatcher.store.locks import (
    BatchHold,
    CampaignForBegin,
    lock_account,
    lock_batches,
    lock_campaigns_for_begin,
)
from dispatcher.store.rows import AccountRow
from dispatcher.store.table_values import TableParameter
from dispatcher.store.tables import BATCH, MESSAGE
from dispatcher.store.transitions import has_state, may_become


@dataclass(frozen=True, slots=True, kw_only=True)
class LockedBundle:
    """The locked rows of a bundle: its account, and of its batches those that were asked for."""

    account: AccountRow | None
    campaigns: Mapping[int, CampaignForBegin]
    holds: Mapping[int, BatchHold]

    def is_held(self, held: Claim, *states: BatchState) -> bool:
        """Whether a batch is held by this claim still, in one of the states."""
        hold = self.holds[held.id]
        return hold.fence == held.fence and hold.state in states


class BundleAnswer(NamedTuple):
    """An answer that accepted everybody, to an attempt of a batch in a bundle."""

    claim: Claim
    judged: JudgedAnswer


def lock_bundle(
    conn: Connection,
    account: str,
    *,
    campaign_ids: Collection[int],
    batch_ids: Collection[int],
) -> LockedBundle:
    """Lock the account, then campaigns, then batches, each in the order of their ids.

    Campaigns are locked only against change.
    """
    return LockedBundle(
        account=lock_account(conn, account),
        campaigns=lock_campaigns_for_begin(conn, campaign_ids),
        holds=lock_batches(conn, batch_ids),
    )


def begin_bundle(
    conn: Connection, requests: Sequence[NewAttempt], fresh: Sequence[Claim], now: datetime
) -> list[int]:
    """Insert the attempt rows of requests that may leave, in order; their ids.

    The batches are locked, and held. `fresh` are those of which nothing has begun yet. Raises
    StoreError where `requests` carry a message that is not pending any more.
    """
    if fresh:
        submit, claims = _submitting_stmt(conn.dialect.name)
        conn.execute(submit, claims.to_parameters([(each.id, each.fence) for each in fresh]))
    ids = insert_attempts(conn, requests[0].claim.account, requests, now)
    carry, carried = _carry_of_bundle_stmt(conn.dialect.name)
    messages = [
        (claim.campaign_id, seq, attempt_id)
        for attempt_id, (claim, seqs, _deadline) in zip(ids, requests, strict=True)
        for seq in seqs
    ]
    if conn.execute(carry, carried.to_parameters(messages)).rowcount != len(messages):
        raise StoreError("a batch changed while its requests were made; nothing is sent")
    return ids


def settle_bundle(conn: Connection, answers: Sequence[BundleAnswer], now: datetime) -> None:
    """Store answers that accepted everybody, and the counts of their batches.

    The batches are locked, and held. A second time changes nothing.
    """
    open_ = find_open_attempts(conn, [judged.attempt_id for _claim, judged in answers])
    answers = [each for each in answers if each.judged.attempt_id in open_]
    entries = [
        (claim.campaign_id, *entry, judged.attempt_id)
        for claim, judged in answers
        for entry in judged.verdict.accepted
    ]
    statement, given = _accept_of_bundle_stmt(conn.dialect.name)
    accepted = Counter[int](conn.execute(statement, given.to_parameters(entries)).scalars())
    counts, counted = _count_stmt(conn.dialect.name)
    conn.execute(counts, counted.to_parameters([*_sum_batches(answers, accepted)]))
    priced = {
        claim.id
        for claim, judged in answers
        if any(entry.cost is not None for entry in judged.verdict.accepted)
    }
    if priced:
        costs.update_batch_costs(conn, priced)
    close_attempts(conn, [judged for _claim, judged in answers], accepted, now)


def _sum_batches(
    answers: Sequence[BundleAnswer], accepted: Counter[int]
) -> Iterator[tuple[int, int, int]]:
    """For each batch its id, how many were accepted, and how many of those are not polled."""
    moved, unasked = Counter[int](), Counter[int]()
    for claim, judged in answers:
        moved[claim.id] += accepted[judged.attempt_id]
        unasked[claim.id] += accepted[judged.attempt_id] if judged.poll is None else 0
    for batch_id, count in moved.items():
        yield batch_id, count, unasked[batch_id]


def close_bundle(conn: Connection, claims: Sequence[Claim]) -> set[int]:
    """Settle the batches of which nothing is left; their ids.

    Their campaigns and then they are locked. The others stay as they are.
    """
    statement, given = _settled_stmt(conn.dialect.name)
    pairs = given.to_parameters([(each.id, each.fence) for each in claims])
    return set(conn.execute(statement, pairs).scalars())


@cache
def _submitting_stmt(dialect: str) -> tuple[Update, TableParameter]:
    given = _claims_parameter(dialect)
    # Its worker is alive, however often others were lost with it before.
    values = {"state": BatchState.SUBMITTING, "lost": 0}
    is_claimed = may_become(BatchState.SUBMITTING, only_from={BatchState.CLAIMED})
    return update(BATCH).where(_is_given(given), is_claimed).values(values), given


@cache
def _settled_stmt(dialect: str) -> tuple[Update, TableParameter]:
    given = _claims_parameter(dialect)
    is_empty = may_become(BatchState.SETTLED, only_from={BatchState.SUBMITTING})
    is_empty &= BATCH.c.pending == literal_column("0")
    settled = update(BATCH).where(_is_given(given), is_empty)
    settled = settled.values(
        state=BatchState.SETTLED, fence=BATCH.c.fence + 1, lease_until=None, error=None, bundle=None
    )
    return settled.returning(BATCH.c.id), given


def _claims_parameter(dialect: str) -> TableParameter:
    return TableParameter(dialect, [("id", BigInteger()), ("fence", Integer())])


def _is_given(given: TableParameter) -> ColumnElement[bool]:
    return (BATCH.c.id == given.table.c.id) & (BATCH.c.fence == given.table.c.fence)


@cache
def _carry_of_bundle_stmt(dialect: str) -> tuple[Update, TableParameter]:
    given = TableParameter(
        dialect, [("campaign", BigInteger()), ("seq", Integer()), ("attempt", BigInteger())]
    )
    new = given.table.c
    carried = update(MESSAGE).where(
        MESSAGE.c.campaign_id == new.campaign,
        MESSAGE.c.seq == new.seq,
        has_state(MessageState.PENDING),
    )
    return carried.values(attempt_id=new.attempt, attempts=MESSAGE.c.attempts + 1), given


@cache
def _accept_of_bundle_stmt(dialect: str) -> tuple[Executable, TableParameter]:
    """The UPDATE for messages that were accepted. It returns their attempts."""
    given = TableParameter(
        dialect,
        [
            ("campaign", BigInteger()), ("seq", Integer()), ("provider_id", Text()),
            ("cost", Money()), ("attempt", BigInteger()),
        ],
    )  # fmt: skip
    new = given.table.c
    accepted = update(MESSAGE).where(
        MESSAGE.c.campaign_id == new.campaign,
        MESSAGE.c.seq == new.seq,
        MESSAGE.c.attempt_id == new.attempt,
        may_become(MessageState.SUBMITTED, only_from={MessageState.PENDING}),
    )
    accepted = accepted.values(
        state=MessageState.SUBMITTED,
        provider_message_id=new.provider_id,
        cost=new.cost,
        error=None,
        error_code=None,
    )
    return accepted.returning(MESSAGE.c.attempt_id), given


@cache
def _count_stmt(dialect: str) -> tuple[Update, TableParameter]:
    given = TableParameter(
        dialect, [("id", BigInteger()), ("accepted", Integer()), ("unasked", Integer())]
    )
    new = given.table.c
    counted = update(BATCH).where(BATCH.c.id == new.id)
    return counted.values(
        pending=BATCH.c.pending - new.accepted,
        submitted=BATCH.c.submitted + new.accepted,
        no_receipt=BATCH.c.no_receipt + new.unasked,
    ), given
