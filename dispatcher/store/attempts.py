"""Attempts: begun before the first byte leaves, settled by the answer, once."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from sqlalchemy import (
    BigInteger,
    Column,
    Connection,
    Integer,
    Text,
    bindparam,
    insert,
    select,
    update,
)

from dispatcher.errors import StoreError
from dispatcher.schedule import Gate, Unit
from dispatcher.settlement import Verdict
from dispatcher.status import (
    AttemptOutcome,
    BatchState,
    CampaignState,
    MessageState,
)
from dispatcher.store import accounts, campaigns, costs, late
from dispatcher.store.batches import Claim, hand_back
from dispatcher.store.doubts import fallen
from dispatcher.store.sets import AnyRow, Columns, value_set
from dispatcher.store.tables import ATTEMPT, AUDIT, BATCH, CAMPAIGN, MESSAGE
from dispatcher.store.types import Money

# Made once: each stands in the way of every other writer for as long as it takes to make.
_SUBMITTING = (
    update(BATCH)
    .where(
        BATCH.c.id == bindparam("batch"),
        BATCH.c.fence == bindparam("newest"),
        BATCH.c.state == BatchState.CLAIMED,
    )
    .values(state=BatchState.SUBMITTING)
)
_OPEN = insert(ATTEMPT).returning(ATTEMPT.c.id, sort_by_parameter_order=True)
_CLOSE = (
    update(ATTEMPT)
    .where(ATTEMPT.c.id == bindparam("attempt"))
    .values(
        outcome=bindparam("said"), ended_at=bindparam("at"), job_id=bindparam("job"),
        error_code=bindparam("code"), error=bindparam("words"), poll_at=bindparam("first_at"),
        poll_until=bindparam("until"),
    )
)  # fmt: skip
_PENDING = (
    select(BATCH.c.pending)
    .where(
        BATCH.c.id == bindparam("batch"),
        BATCH.c.fence == bindparam("newest"),
        BATCH.c.state == bindparam("held_as"),
    )
    .with_for_update()
)
_END = (
    update(BATCH)
    .where(BATCH.c.id == bindparam("batch"))
    .values(
        state=bindparam("ended"), lease_until=None, not_before=bindparam("again_at"),
        error=bindparam("words"), tries=bindparam("tried"),
    )
)  # fmt: skip
_STILL_OPEN = select(ATTEMPT.c.id).where(
    ATTEMPT.c.id.in_(bindparam("attempts", expanding=True)),
    ATTEMPT.c.outcome == AttemptOutcome.OPEN,
)
_OUTCOME = select(ATTEMPT.c.outcome).where(ATTEMPT.c.id == bindparam("attempt"))
_HELD = (
    select(BATCH.c.fence, BATCH.c.state).where(BATCH.c.id == bindparam("batch")).with_for_update()
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Settled:
    """What settling stored. `owned` is False where the lease had run out before the answer came."""

    owned: bool
    accepted: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class PollPlan:
    """When an accepted request is asked about first, and until when."""

    first_at: datetime
    until: datetime


class Answered(NamedTuple):
    """The judged answer to one attempt; `poll` where what it accepted is asked about."""

    attempt_id: int
    verdict: Verdict
    poll: PollPlan | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """On what terms a batch may begin; `gate` is asked with the campaign as it is now."""

    gate: Callable[[AnyRow, datetime], Gate]
    #: Of the first request, and how many seconds later each one's is: by it the start is on record.
    deadline: datetime
    offsets_s: Sequence[float]
    #: Until when each rate of the account is paid by this, in seconds from now.
    paid_for_s: Mapping[Unit, float]
    campaign_paid_for_s: float | None
    daily_limit: int | None
    day_until: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Begun:
    """A begun batch: its attempts in the order of its requests, and when they must have left."""

    attempt_ids: Sequence[int]
    at: datetime
    until: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Locked:
    """What decides whether and when a batch begins; it stays as it is until then."""

    account: AnyRow | None
    campaign: AnyRow


def lock(conn: Connection, held: Claim) -> Locked:
    """Lock the account and the campaign of a batch."""
    account = accounts.lock(conn, held.account)
    return Locked(account=account, campaign=campaigns.hold(conn, held.campaign_id))


def begin(
    conn: Connection,
    held: Claim,
    requests: Sequence[Sequence[int]],
    *,
    locked: Locked,
    terms: Terms,
    now: datetime,
) -> Begun | None:
    """`claimed → submitting`: the attempt rows of `requests` (each the seqs it carries), in order.

    None where the batch must not leave now (its account or campaign was stopped, the breaker has
    opened, its window is closed, the day is used up: it is handed back) or was lost to somebody
    else. Raises StoreError where `requests` carry a message that is not pending any more.
    """
    account, campaign = locked.account, locked.campaign
    if campaign.state == CampaignState.CANCELLED:
        cancel_held(conn, held, BatchState.CLAIMED, now)
        return None
    messages = sum(len(seqs) for seqs in requests)
    may_leave = terms.gate(campaign, now)
    left = accounts.left_today(account, terms.daily_limit, now) if account is not None else 0
    if (
        account is None
        or account.paused_by
        or (account.breaker is not None and not held.is_probe)
        or campaign.state != CampaignState.RUNNING
        or not may_leave.is_open
        or (left is not None and left < messages)
    ):
        # Not until it opens: release asks the gate too, and windows may be changed meanwhile.
        hand_back(conn, held, not_before=None)
        return None
    taken = conn.execute(_SUBMITTING, {"batch": held.id, "newest": held.fence}).rowcount
    if not taken:
        return None
    ids = _open_attempts(conn, held, requests, terms, now)
    accounts.pay(conn, held.account, terms.paid_for_s, now)
    if terms.campaign_paid_for_s is not None:
        campaigns.pay(conn, held.campaign_id, terms.campaign_paid_for_s, now)
    if terms.daily_limit is not None:
        accounts.count_today(conn, account, messages, terms.day_until, now)
    return Begun(attempt_ids=ids, at=now, until=may_leave.until)


def _open_attempts(
    conn: Connection,
    held: Claim,
    requests: Sequence[Sequence[int]],
    terms: Terms,
    now: datetime,
) -> list[int]:
    """An attempt row for each request, in order; its messages get its id."""
    rows = [
        {
            "campaign_id": held.campaign_id,
            "batch_id": held.id,
            "account": held.account,
            "fence": held.fence,
            "size": len(seqs),
            "outcome": AttemptOutcome.OPEN,
            "begun_at": now,
            "deadline": terms.deadline + timedelta(seconds=offset),
            "polls": 0,
        }
        for seqs, offset in zip(requests, terms.offsets_s, strict=True)
    ]
    ids: list[int] = list(conn.execute(_OPEN, _one_or_all(rows)).scalars())
    messages = sum(map(len, requests))
    carried_by: Any = ids[0]
    in_requests = held.messages & (MESSAGE.c.state == MessageState.PENDING)
    if len(requests) > 1 or messages < held.size:
        pairs = [
            (seq, attempt_id)
            for attempt_id, seqs in zip(ids, requests, strict=True)
            for seq in seqs
        ]
        given = value_set(conn, [("seq", Integer()), ("attempt", BigInteger())], pairs)
        in_requests = in_requests & (MESSAGE.c.seq == given.c.seq)
        carried_by = given.c.attempt
    carried = conn.execute(
        update(MESSAGE)
        .where(in_requests)
        .values(attempt_id=carried_by, attempts=MESSAGE.c.attempts + 1)
    ).rowcount
    if carried != messages:
        raise StoreError(f"batch {held.id} changed while its requests were made; they do not leave")
    return ids


def settle(
    conn: Connection,
    held: Claim,
    attempt_id: int,
    verdict: Verdict,
    *,
    poll: PollPlan | None,
    now: datetime,
) -> Settled:
    """Store the answer to one attempt, and the counts of its batch.

    With the newest fence everything in `verdict` counts. Where the lease had run out, a late
    acceptance still turns its own doubt into `submitted`, also where it was to be submitted again
    and was not yet, by the same batch; a late refusal changes nothing. An answer that is stored
    already (its commit was not acknowledged) is not counted again.
    """
    answered = Answered(attempt_id, verdict, poll)
    accepted = settle_in_time(conn, held, [answered], now)
    if accepted is None:
        return Settled(owned=False, accepted=_settle_late(conn, held, answered, now))
    return Settled(owned=True, accepted=accepted)


def settle_in_time(
    conn: Connection, held: Claim, answers: Sequence[Answered], now: datetime
) -> int | None:
    """Store the answers to attempts of one batch that is still held as `held`; how many accepted.

    None, and nothing is stored, where it was lost: then each has to be settled by itself.
    """
    if not _is_owned(conn, held):
        return None
    asked = {"attempts": [one.attempt_id for one in answers]}
    open_ = set(conn.execute(_STILL_OPEN, asked).scalars())
    answers = [one for one in answers if one.attempt_id in open_]
    accepted = _accept(conn, held, answers, MessageState.PENDING)
    submitted = accepted.total()
    _move(conn, held.id, submitted, BATCH.c.submitted)
    refused = [(*entry, one.attempt_id) for one in answers for entry in one.verdict.rejected]
    _move(conn, held.id, _mark(conn, held, refused, MessageState.REJECTED, now), BATCH.c.rejected)
    missed = [(*entry, one.attempt_id) for one in answers for entry in one.verdict.doubtful]
    _move(conn, held.id, _mark(conn, held, missed, MessageState.IN_DOUBT, None), BATCH.c.in_doubt)
    if any(entry.cost is not None for one in answers for entry in one.verdict.accepted):
        costs.add_up(conn, held.id, held.messages)
    _close_attempts(conn, answers, accepted, now)
    in_doubt = sorted({attempt_id for *_, attempt_id in missed})
    if in_doubt:
        conn.execute(update(ATTEMPT).where(ATTEMPT.c.id.in_(in_doubt)).values(**fallen(now)))
    _no_receipts(
        conn, held.id, sum(accepted[one.attempt_id] for one in answers if one.poll is None)
    )
    return submitted


def _settle_late(conn: Connection, held: Claim, answered: Answered, now: datetime) -> int:
    """Store what counts of an answer whose batch was judged lost; how many it accepted."""
    attempt_id = answered.attempt_id
    outcome = conn.execute(_OUTCOME, {"attempt": attempt_id}).scalar_one()
    if outcome != AttemptOutcome.DOUBTFUL:
        return 0
    held = late.as_it_is_now(conn, held)
    verdict = late.without_matched(conn, held, answered.verdict)
    answered = answered._replace(verdict=verdict)
    accepted = _accept(conn, held, [answered], MessageState.PENDING)
    _move(conn, held.id, accepted.total(), BATCH.c.submitted)
    doubted = _accept(conn, held, [answered], MessageState.IN_DOUBT)
    _move(conn, held.id, doubted.total(), BATCH.c.submitted, out_of=BATCH.c.in_doubt)
    accepted += doubted
    if missed := late.missed(conn, held, attempt_id, verdict, now):
        _audit_late(conn, held, attempt_id, missed, now)
    if not accepted:
        return 0
    if any(one.cost is not None for one in verdict.accepted):
        costs.add_up(conn, held.id, held.messages)
    _close_attempts(conn, [answered], accepted, now)
    if answered.poll is None:
        _no_receipts(conn, held.id, accepted.total())
    return accepted.total()


def _is_owned(conn: Connection, held: Claim) -> bool:
    """Lock the batch; whether it is submitting still for whoever claimed it as `held`."""
    row = conn.execute(_HELD, {"batch": held.id}).one()
    return bool(row.fence == held.fence and row.state == BatchState.SUBMITTING)


def close_batch(
    conn: Connection,
    held: Claim,
    *,
    not_before: datetime | None,
    error: str | None,
    failed_after: int | None,
    now: datetime,
    held_as: BatchState = BatchState.SUBMITTING,
) -> BatchState | None:
    """`submitting → settled`, or back to `pending` while messages are left; None where lost.

    `error` is why messages are left. `failed_after` counts this as a failed try and makes them
    `failed` once there were that many. A cancelled campaign's are cancelled. `held_as` is CLAIMED
    where the try failed before anything was begun.
    """
    given = {"batch": held.id, "newest": held.fence, "held_as": held_as}
    batch = conn.execute(_PENDING, given).one_or_none()
    if batch is None:
        return None
    if batch.pending == 0:
        return _end(conn, held, BatchState.SETTLED, error=error, not_before=None, tries=held.tries)
    tries = held.tries + (failed_after is not None)
    campaign = conn.execute(select(CAMPAIGN.c.state).where(CAMPAIGN.c.id == held.campaign_id)).one()
    if campaign.state == CampaignState.CANCELLED:
        return cancel_held(conn, held, held_as, now)
    if failed_after is None or tries < failed_after:
        return _end(conn, held, BatchState.PENDING, error=error, not_before=not_before, tries=tries)
    left = held.messages & (MESSAGE.c.state == MessageState.PENDING)
    failed = conn.execute(
        update(MESSAGE).where(left).values(state=MessageState.FAILED, error=error, final_at=now)
    ).rowcount
    _move(conn, held.id, failed, BATCH.c.failed)
    return _end(conn, held, BatchState.SETTLED, error=error, not_before=None, tries=tries)


def withdraw(conn: Connection, held: Claim, attempt_id: int, now: datetime) -> None:
    """Close an attempt whose first byte never left; its messages stay pending, and it counts not.

    Where the lease had run out, they are in doubt already and stay so.
    """
    if not _is_owned(conn, held):
        return
    closed = conn.execute(
        update(ATTEMPT)
        .where(ATTEMPT.c.id == attempt_id, ATTEMPT.c.outcome == AttemptOutcome.OPEN)
        .values(outcome=AttemptOutcome.NOT_SENT, ended_at=now)
    ).rowcount
    if closed:
        conn.execute(
            update(MESSAGE)
            .where(held.messages, MESSAGE.c.attempt_id == attempt_id)
            .values(attempts=MESSAGE.c.attempts - 1)
        )


def undoubt(conn: Connection, held: Claim, attempt_id: int, now: datetime) -> int:
    """`in_doubt → pending` for an attempt that lost its lease before its first byte; how many.

    Whoever held it knows that nothing left. A campaign that had finished meanwhile goes on; of a
    cancelled one they are cancelled by the next tick.
    """
    _is_owned(conn, held)
    moved = conn.execute(
        update(MESSAGE)
        .where(
            held.messages,
            MESSAGE.c.attempt_id == attempt_id,
            MESSAGE.c.state == MessageState.IN_DOUBT,
        )
        .values(state=MessageState.PENDING, error=None, attempts=MESSAGE.c.attempts - 1)
    ).rowcount
    if not moved:
        return 0
    _move(conn, held.id, moved, BATCH.c.pending, out_of=BATCH.c.in_doubt)
    conn.execute(
        update(BATCH)
        .where(BATCH.c.id == held.id, BATCH.c.state == BatchState.SETTLED)
        .values(state=BatchState.PENDING, not_before=None)
    )
    conn.execute(
        update(ATTEMPT)
        .where(ATTEMPT.c.id == attempt_id)
        .values(outcome=AttemptOutcome.NOT_SENT, ended_at=now, doubt_at=None, reconcile_at=None)
    )
    campaigns.reopen(conn, held.campaign_id, now)
    return moved


def abandon(conn: Connection, held: Claim, now: datetime) -> None:
    """Give back a batch of which surely nothing left, whether or not its attempts were stored.

    So it is after a `begin` whose commit was not acknowledged.
    """
    opened = select(ATTEMPT.c.id).where(
        ATTEMPT.c.batch_id == held.id,
        ATTEMPT.c.fence == held.fence,
        ATTEMPT.c.outcome.in_([AttemptOutcome.OPEN, AttemptOutcome.DOUBTFUL]),
    )
    for attempt_id in conn.execute(opened).scalars().all():
        withdraw(conn, held, attempt_id, now)
        undoubt(conn, held, attempt_id, now)
    if not hand_back(conn, held, not_before=None):
        close_batch(conn, held, not_before=None, error=None, failed_after=None, now=now)


def cancel_held(
    conn: Connection, held: Claim, state: BatchState, now: datetime
) -> BatchState | None:
    """End a held batch whose campaign was cancelled: its pending messages are cancelled."""
    taken = conn.execute(
        update(BATCH)
        .where(BATCH.c.id == held.id, BATCH.c.fence == held.fence, BATCH.c.state == state)
        .values(state=BatchState.CANCELLED, lease_until=None)
    ).rowcount
    if not taken:
        return None
    left = held.messages & (MESSAGE.c.state == MessageState.PENDING)
    cancelled = conn.execute(
        update(MESSAGE).where(left).values(state=MessageState.CANCELLED, final_at=now)
    ).rowcount
    _move(conn, held.id, cancelled, BATCH.c.cancelled)
    return BatchState.CANCELLED


def _accept(
    conn: Connection, held: Claim, answers: Sequence[Answered], old: MessageState
) -> Counter[int]:
    """Move what was accepted out of state `old`; how many messages of each attempt were."""
    entries = [(*entry, one.attempt_id) for one in answers for entry in one.verdict.accepted]
    if not entries:
        return Counter()
    columns: Columns = [
        ("seq", Integer()), ("provider_id", Text()), ("cost", Money()), ("attempt", BigInteger()),
    ]  # fmt: skip
    given = value_set(conn, columns, entries)
    taken = (
        update(MESSAGE)
        .where(
            held.messages,
            MESSAGE.c.seq == given.c.seq,
            MESSAGE.c.attempt_id == given.c.attempt,
            MESSAGE.c.state == old,
        )
        .values(
            state=MessageState.SUBMITTED,
            provider_message_id=given.c.provider_id,
            cost=given.c.cost,
            error=None,
            error_code=None,
        )
    )
    if len(answers) == 1:  # often of thousands, whose rows nobody has to look at then
        return Counter({answers[0].attempt_id: conn.execute(taken).rowcount})
    return Counter(conn.execute(taken.returning(MESSAGE.c.attempt_id)).scalars())


def _mark(
    conn: Connection,
    held: Claim,
    entries: Sequence[tuple[int, str | None, str | None, int]],
    state: MessageState,
    final_at: datetime | None,
) -> int:
    """Move pending messages (seq, code, reason, attempt) into `state`; how many."""
    if not entries:
        return 0
    columns: Columns = [
        ("seq", Integer()), ("code", Text()), ("reason", Text()), ("attempt", BigInteger()),
    ]  # fmt: skip
    given = value_set(conn, columns, entries)
    return conn.execute(
        update(MESSAGE)
        .where(
            held.messages,
            MESSAGE.c.seq == given.c.seq,
            MESSAGE.c.attempt_id == given.c.attempt,
            MESSAGE.c.state == MessageState.PENDING,
        )
        .values(state=state, error_code=given.c.code, error=given.c.reason, final_at=final_at)
    ).rowcount


def _close_attempts(
    conn: Connection, answers: Sequence[Answered], accepted: Counter[int], now: datetime
) -> None:
    """Write down what came of them; what one accepted is polled."""
    given = []
    for attempt_id, verdict, plan in answers:
        poll = plan if accepted[attempt_id] else None
        given.append(
            {
                "attempt": attempt_id,
                "said": verdict.outcome,
                "at": now,
                "job": verdict.job_id,
                "code": verdict.error_code,
                "words": verdict.error,
                "first_at": poll.first_at if poll else None,
                "until": poll.until if poll else None,
            }
        )
    if given:
        conn.execute(_CLOSE, _one_or_all(given))


def _one_or_all(rows: list[dict[str, Any]]) -> Any:
    """SQLAlchemy takes long to prepare an `executemany`, also one of a single row."""
    return rows if len(rows) > 1 else rows[0]


def _end(
    conn: Connection,
    held: Claim,
    state: BatchState,
    *,
    error: str | None,
    not_before: datetime | None,
    tries: int,
) -> BatchState:
    given = {"ended": state, "again_at": not_before, "words": error, "tried": tries}
    conn.execute(_END, {"batch": held.id, **given})
    return state


def _move(
    conn: Connection,
    batch_id: int,
    moved: int,
    into: Column[Any],
    *,
    out_of: Column[Any] = BATCH.c.pending,
) -> None:
    """Count messages that went from one state into another."""
    if moved:
        conn.execute(
            update(BATCH)
            .where(BATCH.c.id == batch_id)
            .values({out_of: out_of - moved, into: into + moved})
        )


def _no_receipts(conn: Connection, batch_id: int, submitted: int) -> None:
    if submitted:
        conn.execute(
            update(BATCH)
            .where(BATCH.c.id == batch_id)
            .values(no_receipt=BATCH.c.no_receipt + submitted)
        )


def _audit_late(conn: Connection, held: Claim, attempt_id: int, missed: int, now: datetime) -> None:
    detail = f"request {attempt_id}: {missed} late acceptances; their messages had gone on without"
    conn.execute(
        insert(AUDIT).values(
            at=now,
            actor="dispatcher",
            action="late acceptance",
            account=held.account,
            campaign_id=held.campaign_id,
            detail=detail,
        )
    )


def outcome_of(conn: Connection, held: Claim, attempt_id: int) -> AttemptOutcome | None:
    """What came of an attempt of this claim; None where the store knows of none such."""
    found = conn.execute(
        select(ATTEMPT.c.outcome).where(
            ATTEMPT.c.id == attempt_id,
            ATTEMPT.c.batch_id == held.id,
            ATTEMPT.c.fence == held.fence,
        )
    ).scalar_one_or_none()
    return None if found is None else AttemptOutcome(found)


def close_answered(conn: Connection, held: Claim, now: datetime) -> None:
    """End a batch that is still held as `held`, once none of its attempts is open."""
    is_open = select(ATTEMPT.c.id).where(
        ATTEMPT.c.batch_id == held.id, ATTEMPT.c.outcome == AttemptOutcome.OPEN
    )
    if _is_owned(conn, held) and conn.execute(is_open.limit(1)).first() is None:
        close_batch(conn, held, not_before=None, error=None, failed_after=None, now=now)


def audit_again(conn: Connection, held: Claim, attempt_id: int, now: datetime) -> None:
    """Note that an answer came a second time, from a spill, and changed nothing."""
    conn.execute(
        insert(AUDIT).values(
            at=now,
            actor="dispatcher",
            action="answer again",
            account=held.account,
            campaign_id=held.campaign_id,
            detail=f"attempt {attempt_id} had been settled before its spilled answer was read",
        )
    )


def of_batch(conn: Connection, batch_id: int) -> Sequence[AnyRow]:
    """A batch's attempts, oldest first."""
    return conn.execute(
        select(ATTEMPT).where(ATTEMPT.c.batch_id == batch_id).order_by(ATTEMPT.c.id)
    ).all()
