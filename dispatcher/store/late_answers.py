"""Late answers: what an acceptance still changes after its attempt lost its lease.

A message that is pending, failed or in doubt, and that no other request carries at the moment, was
submitted, whichever batch it is in now. While another request carries it, its note says so, and it
is submitted as soon as that request ends without an acceptance.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import Connection, Integer, Text, and_, exists, func, or_, select, update

from dispatcher.policy.reconciliation import DoubtNote
from dispatcher.policy.verdict import Accepted, Verdict
from dispatcher.status import UNCLAIMED, AttemptOutcome, BatchState, MessageState
from dispatcher.store import alternate_ids, costs, former_outcomes
from dispatcher.store.alternate_ids import AlternateMessageId
from dispatcher.store.batches import Claim
from dispatcher.store.column_types import Money
from dispatcher.store.locks import lock_batch
from dispatcher.store.ranges import MessageRange, messages_of
from dispatcher.store.returns import count_moved
from dispatcher.store.rows import BatchRow
from dispatcher.store.table_values import ColumnTypes, literal_table
from dispatcher.store.tables import ATTEMPT, BATCH, MESSAGE
from dispatcher.store.transitions import has_state, may_become

#: States in which a message was not submitted, as far as the store knows.
_UNSUBMITTED = (MessageState.PENDING, MessageState.FAILED, MessageState.IN_DOUBT)
#: Messages that an earlier request submitted, as a late answer said.
IS_NOTED = func.coalesce(MESSAGE.c.note, 0).bitwise_and(int(DoubtNote.ACCEPTED_LATE)) != 0
IS_CARRIED = exists().where(ATTEMPT.c.id == MESSAGE.c.attempt_id, has_state(AttemptOutcome.OPEN))


class LateAcceptance(NamedTuple):
    """How many messages a late acceptance made `submitted`, and how many it missed.

    Those `at_home` are in the attempt's own batch, where they are polled. Those `elsewhere` have
    moved to another account's batch: no receipt is expected for them. `missed` were submitted again
    before.
    """

    at_home: int
    elsewhere: int
    missed: int


class _Message(NamedTuple):
    seq: int
    msisdn: int
    state: int
    attempt_id: int | None
    provider_message_id: str | None
    is_carried: bool


def drop_matched(conn: Connection, held: Claim, attempt_id: int, verdict: Verdict) -> Verdict:
    """The verdict without acceptances that say nothing new.

    Those whose id reconciliation gave to another, equal message: one id cannot prove two messages,
    so these stay in doubt. And those that were known already when a person had them tried again.
    """
    ids = [one.provider_message_id for one in verdict.accepted if one.provider_message_id]
    others = {
        other.provider_message_id
        for other in alternate_ids.find_known(conn, held.account, ids)
        if other.campaign_id != held.campaign_id
    }
    known = former_outcomes.seqs_known_as_submitted(conn, held.campaign_id, attempt_id)
    left = [
        one
        for one in verdict.accepted
        if one.provider_message_id not in others and one.seq not in known
    ]
    return replace(verdict, accepted=left)


def accept_late(
    conn: Connection, held: Claim, attempt_id: int, accepted: Sequence[Accepted], now: datetime
) -> LateAcceptance:
    """Store a late acceptance of an attempt of `held`. Lock the campaign first."""
    entries = {one.seq: one for one in accepted}
    at_home = elsewhere = missed = 0
    doubted: set[int] = set()
    for batch in _lock_homes(conn, held, entries):
        rows = _load_messages(conn, batch, entries)
        free = [row for row in rows if row.state in _UNSUBMITTED and not row.is_carried]
        carried = [row for row in rows if row.is_carried]
        _submit_messages(conn, batch, attempt_id, [entries[row.seq] for row in free])
        _note_messages(conn, batch, [entries[row.seq] for row in carried])
        done = Counter(MessageState(row.state) for row in free)
        for state, count in done.items():
            count_moved(conn, batch.id, count, BATCH.c.submitted, out_of=BATCH.c[state.label])
        if batch.id == held.id:
            at_home += len(free)
        else:
            elsewhere += len(free)
            count_no_receipt(conn, batch.id, len(free))
        if any(entries[row.seq].cost is not None for row in free):
            costs.update_batch_cost(conn, batch.id, batch)
        _settle_if_empty(conn, batch)
        doubted |= {
            row.attempt_id
            for row in free
            if row.state == MessageState.IN_DOUBT and row.attempt_id is not None
        }
        others = [row for row in rows if row not in free and not _is_known(row, entries)]
        missed += len(others)
        _keep_ids(conn, held, attempt_id, others, entries, now)
    _close_doubts(conn, doubted | {attempt_id})
    return LateAcceptance(at_home, elsewhere, missed)


def noted_seqs(conn: Connection, messages: MessageRange) -> set[int]:
    """The pending messages that an earlier request submitted, as a late answer said."""
    query = select(MESSAGE.c.seq).where(
        messages_of(messages), has_state(MessageState.PENDING), IS_NOTED
    )
    return set(conn.execute(query).scalars())


def accept_noted(conn: Connection, batch: BatchRow | Claim) -> int:
    """Submit the noted messages of a batch that no open attempt carries any more; how many."""
    may_be = and_(messages_of(batch), IS_NOTED, ~IS_CARRIED)
    is_polled = exists().where(ATTEMPT.c.id == MESSAGE.c.attempt_id, ATTEMPT.c.poll_at.is_not(None))
    unpolled = conn.execute(
        select(func.count())
        .select_from(MESSAGE)
        .where(may_be, has_state(MessageState.PENDING), ~is_polled)
    ).scalar_one()
    done = conn.execute(
        update(MESSAGE)
        .where(may_be, may_become(MessageState.SUBMITTED, only_from={MessageState.PENDING}))
        .values(state=MessageState.SUBMITTED, error=None, error_code=None)
    ).rowcount
    count_moved(conn, batch.id, done, BATCH.c.submitted)
    count_no_receipt(conn, batch.id, unpolled)
    if done:
        costs.update_batch_cost(conn, batch.id, batch)
    return done


def count_no_receipt(conn: Connection, batch_id: int, more: int) -> None:
    """Count further submitted messages for which no receipt is expected."""
    if more:
        conn.execute(
            update(BATCH).where(BATCH.c.id == batch_id).values(no_receipt=BATCH.c.no_receipt + more)
        )


def _lock_homes(conn: Connection, held: Claim, seqs: Iterable[int]) -> list[BatchRow]:
    """Lock the batches that have these messages now: some may have moved to a fallback account."""
    wanted = sorted(seqs)
    if not wanted:
        return []
    span = and_(
        BATCH.c.campaign_id == held.campaign_id,
        BATCH.c.first_seq <= wanted[-1],
        BATCH.c.first_seq + BATCH.c.size > wanted[0],
    )
    query = select(BATCH.c.id).where(or_(BATCH.c.id == held.id, span)).order_by(BATCH.c.id)
    return [lock_batch(conn, batch_id) for batch_id in conn.execute(query).scalars().all()]


def _load_messages(
    conn: Connection, batch: BatchRow, entries: dict[int, Accepted]
) -> list[_Message]:
    given = literal_table(conn, [("seq", Integer())], [(seq,) for seq in entries])
    query = select(
        MESSAGE.c.seq,
        MESSAGE.c.msisdn,
        MESSAGE.c.state,
        MESSAGE.c.attempt_id,
        MESSAGE.c.provider_message_id,
        IS_CARRIED,
    ).where(messages_of(batch), MESSAGE.c.seq == given.c.seq)
    return [_Message(*row) for row in conn.execute(query.order_by(MESSAGE.c.seq))]


def _submit_messages(
    conn: Connection, batch: BatchRow, attempt_id: int, accepted: Sequence[Accepted]
) -> None:
    """Its receipts come under the ids of the accepted attempt, whatever came later."""
    for old in _UNSUBMITTED:
        _update_messages(
            conn,
            batch,
            accepted,
            may_become(MessageState.SUBMITTED, only_from={old}),
            state=MessageState.SUBMITTED,
            attempt_id=attempt_id,
            final_at=None,
            error=None,
            error_code=None,
        )


def _note_messages(conn: Connection, batch: BatchRow, accepted: Sequence[Accepted]) -> None:
    note = func.coalesce(MESSAGE.c.note, 0).bitwise_or(int(DoubtNote.ACCEPTED_LATE))
    _update_messages(conn, batch, accepted, has_state(MessageState.PENDING), note=note)


def _update_messages(
    conn: Connection, batch: BatchRow, accepted: Sequence[Accepted], which: Any, **values: Any
) -> None:
    if not accepted:
        return
    columns: ColumnTypes = [("seq", Integer()), ("provider_id", Text()), ("cost", Money())]
    given = literal_table(conn, columns, accepted)
    conn.execute(
        update(MESSAGE)
        .where(messages_of(batch), MESSAGE.c.seq == given.c.seq, which)
        .values(provider_message_id=given.c.provider_id, cost=given.c.cost, **values)
    )


def _settle_if_empty(conn: Connection, batch: BatchRow) -> None:
    """A batch that waits with nothing left to send has ended."""
    conn.execute(
        update(BATCH)
        .where(
            BATCH.c.id == batch.id,
            BATCH.c.pending == 0,
            may_become(BatchState.SETTLED, only_from=UNCLAIMED),
        )
        .values(state=BatchState.SETTLED, fence=BATCH.c.fence + 1)
    )


def _is_known(row: _Message, entries: dict[int, Accepted]) -> bool:
    return row.provider_message_id == entries[row.seq].provider_message_id


def _keep_ids(
    conn: Connection,
    held: Claim,
    attempt_id: int,
    rows: Sequence[_Message],
    entries: dict[int, Accepted],
    now: datetime,
) -> None:
    """Keep the ids of messages that were submitted again: each will have two receipts."""
    ids = [
        AlternateMessageId(
            held.account, provider_id, row.msisdn, held.campaign_id, row.seq, attempt_id
        )
        for row in rows
        if (provider_id := entries[row.seq].provider_message_id) is not None
    ]
    alternate_ids.keep_former(conn, ids, now)


def _close_doubts(conn: Connection, attempt_ids: set[int]) -> None:
    """End the doubt of attempts that have no message in doubt any more."""
    left = exists().where(
        BATCH.c.id == ATTEMPT.c.batch_id,
        MESSAGE.c.campaign_id == BATCH.c.campaign_id,
        MESSAGE.c.seq.between(BATCH.c.first_seq, BATCH.c.first_seq + BATCH.c.size - 1),
        MESSAGE.c.attempt_id == ATTEMPT.c.id,
        has_state(MessageState.IN_DOUBT),
    )
    conn.execute(
        update(ATTEMPT)
        .where(ATTEMPT.c.id.in_(attempt_ids), ATTEMPT.c.doubt_at.is_not(None), ~left)
        .values(doubt_at=None, reconcile_at=None)
    )
