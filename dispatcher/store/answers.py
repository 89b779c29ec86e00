"""Answers to attempts: store once, for each message, what the provider said about it.

What a late answer still changes is in `late_answers.py`.
"""

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from functools import cache
from typing import Any, NamedTuple

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Connection,
    Integer,
    Select,
    Text,
    Update,
    bindparam,
    select,
    update,
)

from dispatcher.errors import StoreBusyError
from dispatcher.policy.verdict import Verdict
from dispatcher.status import AttemptOutcome, MessageState
from dispatcher.store import costs, late_answers
from dispatcher.store.audit import add_audit_row
from dispatcher.store.batch_endings import is_owned, lock_if_owned
from dispatcher.store.batches import Claim
from dispatcher.store.column_types import Money, UtcTime
from dispatcher.store.doubts import doubt_columns
from dispatcher.store.locks import lock_batch_hold, lock_campaign
from dispatcher.store.ranges import MESSAGES_OF_BATCH, range_parameters
from dispatcher.store.table_values import (
    ColumnTypes,
    NumbersParameter,
    PackedTexts,
    TableParameter,
)
from dispatcher.store.tables import ATTEMPT, BATCH, MESSAGE
from dispatcher.store.transitions import has_state, may_become

# Made once: to build a statement takes time, during which every other writer waits.
_OUTCOME = select(ATTEMPT.c.outcome).where(ATTEMPT.c.id == bindparam("attempt"))
_COUNT = (
    update(BATCH)
    .where(BATCH.c.id == bindparam("batch"))
    .values(
        pending=BATCH.c.pending - bindparam("moved", type_=Integer()),
        submitted=BATCH.c.submitted + bindparam("accepted", type_=Integer()),
        rejected=BATCH.c.rejected + bindparam("refused", type_=Integer()),
        in_doubt=BATCH.c.in_doubt + bindparam("doubted", type_=Integer()),
        no_receipt=BATCH.c.no_receipt + bindparam("unasked", type_=Integer()),
    )
)


@dataclass(frozen=True, slots=True, kw_only=True)
class SettleResult:
    """What settling stored. `owned` is False if the lease had run out before the answer came."""

    owned: bool
    accepted: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class PollPlan:
    """When an accepted request is polled first, and until when."""

    first_at: datetime
    until: datetime


class JudgedAnswer(NamedTuple):
    """The judged answer to one attempt; `poll` is None if its messages are not polled."""

    attempt_id: int
    verdict: Verdict
    poll: PollPlan | None


def settle_answer(
    conn: Connection,
    held: Claim,
    attempt_id: int,
    verdict: Verdict,
    *,
    poll: PollPlan | None,
    now: datetime,
) -> SettleResult:
    """Store the answer to one attempt, and the counts of its batch.

    While the claim's fence is the newest, all of `verdict` counts. Later, an acceptance still makes
    messages `submitted` that were not submitted since (`late_answers.py`); a refusal changes
    nothing. An answer that is stored already is not counted again: its commit may
    not have been acknowledged.
    """
    answered = JudgedAnswer(attempt_id, verdict, poll)
    if not is_owned(conn, held):
        return SettleResult(owned=False, accepted=_settle_late(conn, held, answered, now))
    accepted = settle_in_time(conn, held, [answered], now)
    if accepted is None:
        raise StoreBusyError("the lease ran out while the answer was stored")
    return SettleResult(owned=True, accepted=accepted)


def settle_in_time(
    conn: Connection, held: Claim, answers: Sequence[JudgedAnswer], now: datetime
) -> int | None:
    """Store answers to attempts of one batch that is still held as `held`; how many accepted.

    Stores nothing and returns None if the lease was lost: then settle each answer by itself.
    """
    if not lock_if_owned(conn, held):
        return None
    open_ = find_open_attempts(conn, [one.attempt_id for one in answers])
    answers = [one for one in answers if one.attempt_id in open_]
    noted = _noted_seqs(conn, held, answers)
    accepted = _accept_messages(conn, held, answers, MessageState.PENDING)
    refused = [
        (*entry, one.attempt_id)
        for one in answers
        for entry in one.verdict.rejected
        if entry.seq not in noted
    ]
    missed = [
        (*entry, one.attempt_id)
        for one in answers
        for entry in one.verdict.doubtful
        if entry.seq not in noted
    ]
    moved = {
        "accepted": accepted.total(),
        "refused": _mark_messages(conn, held, refused, MessageState.REJECTED, now),
        "doubted": _mark_messages(conn, held, missed, MessageState.IN_DOUBT, None),
    }
    if any(moved.values()):
        unasked = sum(accepted[one.attempt_id] for one in answers if one.poll is None)
        given = {"batch": held.id, "moved": sum(moved.values()), "unasked": unasked}
        conn.execute(_COUNT, given | moved)
    if any(entry.cost is not None for one in answers for entry in one.verdict.accepted):
        costs.update_batch_cost(conn, held.id, held)
    close_attempts(conn, answers, accepted, now)
    if noted:
        late_answers.accept_noted(conn, held)
    in_doubt = sorted({attempt_id for *_, attempt_id in missed})
    if in_doubt:
        conn.execute(update(ATTEMPT).where(ATTEMPT.c.id.in_(in_doubt)).values(**doubt_columns(now)))
    return accepted.total()


def find_open_attempts(conn: Connection, attempt_ids: Sequence[int]) -> set[int]:
    """Which of these attempts have no outcome yet. Lock their batches first."""
    query, asked = _still_open_query(conn.dialect.name)
    return set(conn.execute(query, asked.to_parameters(attempt_ids)).scalars())


@cache
def _still_open_query(dialect: str) -> tuple[Select[int], NumbersParameter]:
    asked = NumbersParameter(dialect, "attempts")
    is_asked = asked.contains(ATTEMPT.c.id)
    return select(ATTEMPT.c.id).where(is_asked, has_state(AttemptOutcome.OPEN)), asked


def _noted_seqs(conn: Connection, held: Claim, answers: Sequence[JudgedAnswer]) -> set[int]:
    """Messages that an earlier request submitted; read only where one was not accepted now."""
    if all(len(one.verdict.accepted) and not one.verdict.rejected and not one.verdict.doubtful
           for one in answers):  # fmt: skip
        return set()
    return late_answers.noted_seqs(conn, held)


def _settle_late(conn: Connection, held: Claim, answered: JudgedAnswer, now: datetime) -> int:
    """Store what still counts of an answer after its lease was lost; how many it accepted."""
    attempt_id = answered.attempt_id
    lock_campaign(conn, held.campaign_id)
    lock_batch_hold(conn, held.id)
    outcome = conn.execute(_OUTCOME, {"attempt": attempt_id}).scalar_one()
    if outcome != AttemptOutcome.DOUBTFUL:
        return 0
    verdict = late_answers.drop_matched(conn, held, attempt_id, answered.verdict)
    done = late_answers.accept_late(conn, held, attempt_id, verdict.accepted, now)
    if done.missed:
        _audit_late(conn, held, attempt_id, done.missed, now)
    if done.at_home + done.elsewhere:
        accepted = Counter({attempt_id: done.at_home})
        close_attempts(conn, [answered._replace(verdict=verdict)], accepted, now)
        if answered.poll is None:
            late_answers.count_no_receipt(conn, held.id, done.at_home)
    return done.at_home + done.elsewhere


def _accept_messages(
    conn: Connection, held: Claim, answers: Sequence[JudgedAnswer], old: MessageState
) -> Counter[int]:
    """Make accepted messages in state `old` `submitted`; how many, by attempt."""
    if len(answers) == 1:
        return _accept_of_one(conn, held, answers[0], old)
    entries = [(*entry, one.attempt_id) for one in answers for entry in one.verdict.accepted]
    if not entries:
        return Counter()
    statement, given = _accept_stmt(conn.dialect.name, old)
    done = conn.execute(statement, range_parameters(held) | given.to_parameters(entries))
    return Counter(done.scalars())


def _accept_of_one(
    conn: Connection, held: Claim, answer: JudgedAnswer, old: MessageState
) -> Counter[int]:
    """As `_accept_messages` for one answer, which often has thousands of messages."""
    attempt_id, accepted = answer.attempt_id, answer.verdict.accepted
    if not accepted:
        return Counter()
    seqs, ids, prices = zip(*accepted, strict=True)
    has_prices = {*prices} != {None}
    carried_by = {"carried_by": attempt_id}
    if not has_prices:
        packed = PackedTexts.to_parameters(seqs, ids)
        if packed is not None:
            statement = _accept_packed_stmt(conn.dialect.name, old)
            done = conn.execute(statement, range_parameters(held) | packed | carried_by)
            return Counter({attempt_id: done.rowcount})
    statement, given = _accept_of_one_stmt(conn.dialect.name, old, has_prices=has_prices)
    values = given.to_parameters(accepted) if has_prices else given.columns_to_parameters(seqs, ids)
    done = conn.execute(statement, range_parameters(held) | values | carried_by)
    return Counter({attempt_id: done.rowcount})


@cache
def _accept_of_one_stmt(
    dialect: str, old: MessageState, *, has_prices: bool
) -> tuple[Update, TableParameter]:
    columns: ColumnTypes = [("seq", Integer()), ("provider_id", Text())]
    given = TableParameter(dialect, [*columns, ("cost", Money())] if has_prices else columns)
    return _submitted_by(given, MESSAGE.c.attempt_id == bindparam("carried_by"), old), given


@cache
def _accept_packed_stmt(dialect: str, old: MessageState) -> Update:
    given = PackedTexts(MESSAGE.c.seq, dialect)
    matches = given.has_text & (MESSAGE.c.attempt_id == bindparam("carried_by"))
    return _become_submitted(matches, old, given.text, None)


@cache
def _accept_stmt(dialect: str, old: MessageState) -> tuple[Any, TableParameter]:
    """The UPDATE for messages that several answers accepted. It returns their attempts."""
    given = TableParameter(
        dialect,
        [
            ("seq", Integer()), ("provider_id", Text()), ("cost", Money()),
            ("attempt", BigInteger()),
        ],
    )  # fmt: skip
    carried = MESSAGE.c.attempt_id == given.table.c.attempt
    return _submitted_by(given, carried, old).returning(MESSAGE.c.attempt_id), given


def _submitted_by(given: TableParameter, carried: ColumnElement[bool], old: MessageState) -> Update:
    new = given.table.c
    matches = (MESSAGE.c.seq == new.seq) & carried
    return _become_submitted(matches, old, new.provider_id, new.cost if "cost" in new else None)


def _become_submitted(
    matches: ColumnElement[bool],
    old: MessageState,
    provider_id: ColumnElement[str],
    cost: ColumnElement[Decimal] | None,
) -> Update:
    return (
        update(MESSAGE)
        .where(MESSAGES_OF_BATCH, matches, may_become(MessageState.SUBMITTED, only_from={old}))
        .values(
            state=MessageState.SUBMITTED,
            provider_message_id=provider_id,
            cost=cost,
            error=None,
            error_code=None,
        )
    )


def _mark_messages(
    conn: Connection,
    held: Claim,
    entries: Sequence[tuple[int, str | None, str | None, int]],
    state: MessageState,
    final_at: datetime | None,
) -> int:
    """Put pending messages (seq, code, reason, attempt) into `state`; how many."""
    if not entries:
        return 0
    statement, given = _mark_stmt(conn.dialect.name, state)
    parameters = range_parameters(held) | given.to_parameters(entries) | {"final": final_at}
    return conn.execute(statement, parameters).rowcount


@cache
def _mark_stmt(dialect: str, state: MessageState) -> tuple[Update, TableParameter]:
    given = TableParameter(
        dialect,
        [("seq", Integer()), ("code", Text()), ("reason", Text()), ("attempt", BigInteger())],
    )
    new = given.table.c
    statement = (
        update(MESSAGE)
        .where(
            MESSAGES_OF_BATCH,
            MESSAGE.c.seq == new.seq,
            MESSAGE.c.attempt_id == new.attempt,
            may_become(state, only_from={MessageState.PENDING}),
        )
        .values(
            state=state,
            error_code=new.code,
            error=new.reason,
            final_at=bindparam("final", type_=UtcTime()),
        )
    )
    return statement, given


def close_attempts(
    conn: Connection, answers: Sequence[JudgedAnswer], accepted: Counter[int], now: datetime
) -> None:
    """Store the outcome of each attempt, and when to poll it if it accepted something."""
    alike = defaultdict[tuple[AttemptOutcome, PollPlan | None], list[tuple[object, ...]]](list)
    for attempt_id, verdict, plan in answers:
        poll = plan if accepted[attempt_id] else None
        row = (attempt_id, verdict.job_id, verdict.error_code, verdict.error)
        alike[verdict.outcome, poll].append(row)
    for (outcome, poll), rows in alike.items():
        statement, given = _close_stmt(conn.dialect.name, outcome)
        times = {
            "at": now,
            "first_at": poll.first_at if poll else None,
            "until": poll.until if poll else None,
        }
        conn.execute(statement, given.to_parameters(rows) | times)


@cache
def _close_stmt(dialect: str, outcome: AttemptOutcome) -> tuple[Update, TableParameter]:
    given = TableParameter(
        dialect,
        [("attempt", BigInteger()), ("job", Text()), ("code", Text()), ("words", Text())],
    )
    new = given.table.c
    statement = (
        update(ATTEMPT)
        .where(ATTEMPT.c.id == new.attempt, may_become(outcome))
        .values(
            outcome=outcome, ended_at=bindparam("at"), job_id=new.job,
            error_code=new.code, error=new.words,
            poll_at=bindparam("first_at"), poll_until=bindparam("until"),
        )
    )  # fmt: skip
    return statement, given


def _audit_late(conn: Connection, held: Claim, attempt_id: int, missed: int, now: datetime) -> None:
    detail = f"request {attempt_id}: {missed} messages were accepted late, after they had moved on"
    add_audit_row(
        conn,
        "late acceptance",
        now=now,
        account=held.account,
        campaign_id=held.campaign_id,
        detail=detail,
    )


def audit_repeated_answer(conn: Connection, held: Claim, attempt_id: int, now: datetime) -> None:
    """Add an audit row: an answer came a second time, from a spill file, and changed nothing."""
    add_audit_row(
        conn,
        "answer again",
        now=now,
        account=held.account,
        campaign_id=held.campaign_id,
        detail=f"request {attempt_id} was settled before its spilled answer was read",
    )
