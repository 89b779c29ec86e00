"""The judge: the simulator's ledger against the store, once everything has settled.

Reads only what both have written down; knows the killer's victims, and nothing of how they died.
"""

import json
import re
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from operator import itemgetter
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from dispatcher.policy.reconciliation import DoubtNote
from dispatcher.status import IN_FLIGHT, AttemptOutcome, BatchState, MessageState
from dispatcher.store import drops
from dispatcher.store.engine import Store
from dispatcher.store.lost_batches import LOST
from dispatcher.store.tables import ATTEMPT, BATCH, CAMPAIGN, FORMER_OUTCOME, MESSAGE
from tests.chaos.decisions import Ban, Choice, Decisions
from tests.chaos.staging import texted_others
from workers.batch.turn import LEAVING

_TAKEN = {
    MessageState.SUBMITTED,
    MessageState.DELIVERED,
    MessageState.UNDELIVERED,
    MessageState.EXPIRED,
}
#: A person may have these submitted again.
_ARRIVED_NOT = {MessageState.UNDELIVERED, MessageState.EXPIRED}
#: Faults that keep the client from knowing that it was *not* accepted: the ledger has no row.
_VAGUE_REFUSALS = ("reset_before", "error_before", "html_before", "hang_before")
_SHOWN = 20
#: A server may still commit what a client asked for that was killed meanwhile.
_COMMIT = timedelta(seconds=0.5)
_HOLDS = re.compile(LEAVING.replace("%d", r"(\d+)"))
#: What accounts have for `timeout_s`. Who is stopped for longer may have no time to read an answer.
TIMEOUT_S = 5


@dataclass
class Findings:
    """What the judge found; `violations` are sentences, empty where both promises were kept."""

    recipients: int = 0
    accepted: int = 0
    doubles: int = 0
    #: Accepted more than once by a recorded decision.
    resent: int = 0
    lost: int = 0
    doubtful: int = 0
    #: Requests that were judged lost with their worker, whatever became of them then.
    given_up: int = 0
    violations: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True, kw_only=True)
class Blow:
    """A worker was killed, or stopped for some seconds, at a time."""

    worker: str
    at: datetime
    kills: bool
    seconds: float = 0.0


def blow_to(
    attempt: Any, blows: Iterable[Blow], holders: Mapping[tuple[int, int], str]
) -> Blow | None:
    """The first blow that befell an attempt's worker between its row and its end; None: no excuse.

    A worker that died before it could say that it holds a batch has said nothing: then any may be.
    """
    holder = holders.get((attempt.batch_id, attempt.fence))
    for blow in blows:
        is_its = holder in {None, blow.worker}
        if is_its and attempt.begun_at - _COMMIT <= blow.at <= attempt.ended_at:
            return blow
    return None


def has_slept_through(
    attempt: Any, blows: Iterable[Blow], holders: Mapping[tuple[int, int], str]
) -> bool:
    """Whether an attempt's worker was stopped meanwhile until the time for an answer was over."""
    stops = [blow for blow in blows if not blow.kills]
    took_s = (attempt.ended_at - attempt.begun_at).total_seconds()
    return took_s > TIMEOUT_S and blow_to(attempt, stops, holders) is not None


def read_holders(logs: Mapping[str, str]) -> dict[tuple[int, int], str]:
    """Which worker said in its log that requests of which batch, with which fence, leave."""
    return {
        (int(batch_id), int(fence)): worker
        for worker, said in logs.items()
        for batch_id, fence in _HOLDS.findall(said)
    }


def read_ledger(path: Path) -> dict[int, list[dict[str, Any]]]:
    """The simulator's file: what it accepted, by number."""
    found: dict[int, list[dict[str, Any]]] = defaultdict(list)
    with path.open(encoding="utf-8") as lines:
        for line in lines:
            entry = json.loads(line)
            found[int(entry["number"])].append(entry)
    return found


def judge(
    store: Store,
    ledger: Mapping[int, list[dict[str, Any]]],
    *,
    submitted: int,
    blows: Sequence[Blow],
    holders: Mapping[tuple[int, int], str],
    faults: Mapping[str, int],
    has_list: bool,
    decisions: Decisions,
    slots: int,
) -> Findings:
    """Compare. `submitted` recipients were handed in; `holders` are the workers of each batch.

    `slots` is how many requests an account may have in flight.
    """
    said = Findings()
    with store.read() as conn:
        messages = conn.execute(sa.select(MESSAGE)).all()
        attempts = {row.id: row for row in conn.execute(sa.select(ATTEMPT))}
        former = defaultdict[tuple[int, int], list[Any]](list)
        for row in conn.execute(sa.select(FORMER_OUTCOME)):
            former[row.campaign_id, row.seq].append(row)
    by_number = {row.msisdn: row for row in messages}
    said.recipients = len(messages)
    said.accepted = sum(map(len, ledger.values()))
    wrong = said.violations
    if len(messages) != submitted:
        wrong.append(f"{submitted} recipients were submitted, {len(messages)} are in the store")
    for number in ledger.keys() - by_number.keys():
        wrong.append(f"…{number % 10000} was accepted, but is not in the store")
    for row in messages:
        entries, outcomes = ledger.get(row.msisdn, []), former[row.campaign_id, row.seq]
        judge_message(said, row, entries, decisions, outcomes)
    doubtful = [row for row in messages if row.state == MessageState.IN_DOUBT]
    said.doubtful = len(doubtful)
    if has_list and doubtful:
        wrong.append(f"{len(doubtful)} are in doubt though the provider has a list")
    lost = [row for row in attempts.values() if row.error == LOST]
    held = {row.id for row in lost if blow_to(row, blows, holders) is not None}
    wrong += [
        f"request {row.id} was given up though its worker was neither killed nor stopped meanwhile"
        for row in lost
        if row.id not in held
    ]
    said.given_up = len(lost)
    wrong += overfull_blows(lost, blows, holders, slots)
    stopped = {
        id_
        for id_ in {row.attempt_id for row in doubtful}
        if has_slept_through(attempts[id_], blows, holders)
    }
    wrong += needless_doubts(doubtful, attempts, ledger, held | stopped, faults)
    open_ = [row.id for row in attempts.values() if row.outcome == AttemptOutcome.OPEN]
    if open_:
        wrong.append(f"requests {open_[:_SHOWN]} are still open")
    wrong += forbidden_begins(messages, attempts, decisions)
    wrong += texted_others(messages, attempts, ledger)
    wrong += unfinished_but_over(store)
    wrong += _miscounts(store, messages, attempts)
    return said


def judge_message(
    said: Findings,
    row: Any,
    accepted: Sequence[dict[str, Any]],
    decisions: Decisions,
    former: Sequence[Any] = (),
) -> None:
    """Compare one message's row with what the provider accepted of its number.

    `former`: what had become of it before it was submitted again. An acceptance that a person's
    retry followed is judged by that decision alone.
    """
    state, note = MessageState(row.state), DoubtNote(row.note or 0)
    what = f"…{row.msisdn % 10000} of batch message {row.campaign_id}/{row.seq}"
    wrong = said.violations
    wrong += [f"{what} {words}" for words in _undecided(row, state, note, decisions)]
    wrong += [f"{what} {words}" for words in _unasked_retries(row, former, decisions)]
    resends = decisions.count_resends(row.campaign_id, row.msisdn)
    total, accepted = len(accepted), unspent(accepted, former)
    if len(accepted) > 1:
        if DoubtNote.RESENT in note and len(accepted) <= 1 + resends:
            said.resent += 1
        else:
            said.doubles += 1
            wrong.append(f"{what} was accepted {len(accepted)} times; it is {state.name}")
    if total > row.attempts:
        wrong.append(f"{what} was accepted {total} times and attempted {row.attempts}")
    if state is MessageState.PENDING:
        said.lost += 1
        wrong.append(f"{what} is still pending")
    elif accepted and state not in _TAKEN | {MessageState.IN_DOUBT}:
        if not _is_given_up(row, note, accepted, decisions):
            said.lost += 1
            wrong.append(f"{what} was accepted, but is {state.label}")
    elif not accepted and state in _TAKEN:
        said.lost += 1
        wrong.append(f"{what} is {state.label}, but was never accepted")
    elif state in _TAKEN and row.provider_message_id is not None:
        ids = {entry["message_id"] for entry in accepted}
        if row.provider_message_id not in ids:
            wrong.append(f"{what} has an id that the provider never gave to its number")


def _undecided(
    row: Any, state: MessageState, note: DoubtNote, decisions: Decisions
) -> Iterable[str]:
    """What became of a message by a decision that nobody took."""
    of = (row.campaign_id, row.msisdn)
    if DoubtNote.RESENT in note and not decisions.count_resends(*of):
        yield "was submitted again, but nobody decided so"
    if DoubtNote.DROPPED in note and not decisions.may_drop(*of):
        yield "was dropped, but nobody decided so"
    if DoubtNote.ASSUMED in note:
        yield "was assumed to be submitted, but nobody decided so"
    is_dropped = row.error == drops.DROPPED
    if is_dropped and not decisions.may_be_taken_out(*of):
        yield "was taken out, but nobody decided so"
    if of in decisions.surely_taken_out and not is_dropped:
        yield f"was taken out as a command said, but is {state.label}"
    if state is MessageState.CANCELLED and not (
        is_dropped or decisions.is_cancelled(row.campaign_id)
    ):
        yield "is cancelled, but nobody cancelled its campaign"
    if state is MessageState.SUPPRESSED and not decisions.has_opted_out(row.msisdn):
        yield "is suppressed, but nobody put it on the list"
    if state is MessageState.LAPSED:
        yield "is lapsed, but nobody asked for that"


def unspent(accepted: Sequence[dict[str, Any]], former: Iterable[Any]) -> list[dict[str, Any]]:
    """The acceptances that no retry followed: those of before it did not arrive."""
    retried = [one for one in former if one.state in _ARRIVED_NOT]
    ids = {one.provider_message_id for one in retried}
    left = [entry for entry in accepted if entry["message_id"] not in ids]
    nameless = sum(one.provider_message_id is None for one in retried)
    return sorted(left, key=itemgetter("at"))[nameless:]


def _unasked_retries(row: Any, former: Iterable[Any], decisions: Decisions) -> Iterable[str]:
    """Retries of settled outcomes that nobody decided; failed ones and doubt are judged above."""
    for state, count in Counter(MessageState(one.state) for one in former).items():
        if state in _ARRIVED_NOT | {MessageState.REJECTED}:
            if count > decisions.count_retries(row.campaign_id, state):
                yield f"was {state.label} and submitted again, but nobody decided so"
        elif state not in {MessageState.FAILED, MessageState.IN_DOUBT}:
            yield f"was {state.label} and submitted again"


def forbidden_begins(
    messages: Iterable[Any], attempts: Mapping[int, Any], decisions: Decisions
) -> list[str]:
    """Requests that began while their account was stopped, or their recipient had opted out."""
    bans = decisions.bans
    general = [ban for ban in bans if ban.number is None]
    wrong = [
        f"request {one.id} began at {one.begun_at:%H:%M:%S.%f}, while {one.account} was stopped"
        for one in attempts.values()
        if any(ban.forbids(one.begun_at.timestamp(), one.account) for ban in general)
    ]
    of_number = defaultdict[int, list[Ban]](list)
    for ban in bans:
        if ban.number is not None:
            of_number[ban.number].append(ban)
    for row in messages:
        one = attempts.get(row.attempt_id)
        wrong += [
            f"…{row.msisdn % 10000} of batch message {row.campaign_id}/{row.seq} was on the "
            f"suppression list when request {one.id} began"
            for ban in of_number.get(row.msisdn, ())
            if one is not None and ban.forbids(one.begun_at.timestamp(), one.account, row.msisdn)
        ]
    return wrong


def _is_given_up(
    row: Any, note: DoubtNote, accepted: Sequence[dict[str, Any]], decisions: Decisions
) -> bool:
    """Whether a decision explains that the store does not know of any of these acceptances.

    Each was before the decision, and no more were than decisions.
    """
    of = (row.campaign_id, row.msisdn)
    last_at = max(entry["at"] for entry in accepted)
    dropped = DoubtNote.DROPPED in note and last_at <= decisions.given_up_until(*of, Choice.DROP)
    resent = DoubtNote.RESENT in note and last_at <= decisions.given_up_until(*of, Choice.RESEND)
    most = decisions.count_resends(*of) + dropped
    return (dropped or resent) and len(accepted) <= most


def overfull_blows(
    lost: Iterable[Any],
    blows: Sequence[Blow],
    holders: Mapping[tuple[int, int], str],
    slots: int,
) -> list[str]:
    """Blows that cost an account more requests than it may have in flight."""
    cost = Counter(
        (blow, row.account) for row in lost if (blow := blow_to(row, blows, holders)) is not None
    )
    return [
        f"a blow to {blow.worker} at {blow.at:%H:%M:%S} cost {count} requests of {account}, "
        f"which has {slots} in flight at most"
        for (blow, account), count in cost.items()
        if count > slots
    ]


def unfinished_but_over(store: Store) -> list[str]:
    """Batches of finished campaigns that may still send something; asked during the run, too."""
    is_left = sa.or_(BATCH.c.pending > 0, BATCH.c.state.in_([*IN_FLIGHT, BatchState.PENDING]))
    query = (
        sa.select(BATCH.c.id, BATCH.c.campaign_id, BATCH.c.state, BATCH.c.pending)
        .join(CAMPAIGN, CAMPAIGN.c.id == BATCH.c.campaign_id)
        .where(CAMPAIGN.c.finished_at.is_not(None), is_left)
    )
    with store.read() as conn:
        return [
            f"campaign {row.campaign_id} is over, but batch {row.id} is "
            f"{BatchState(row.state).label} with {row.pending} pending"
            for row in conn.execute(query)
        ]


def needless_doubts(
    doubtful: Iterable[Any],
    attempts: Mapping[int, Any],
    ledger: Mapping[int, list[dict[str, Any]]],
    held: Collection[int],
    faults: Mapping[str, int],
) -> list[str]:
    """Doubt that no spoilt answer to that request and no victim of the killer explains."""
    unexplained: Counter[int] = Counter()
    accepted: set[int] = set()
    for row in doubtful:
        if row.attempt_id in held:
            continue
        entries = _of_request(attempts[row.attempt_id], ledger.get(row.msisdn, []))
        if not any("spoilt" in entry for entry in entries):
            unexplained[row.attempt_id] += 1
        if entries:
            accepted.add(row.attempt_id)
    vague = sum(faults.get(name, 0) for name in _VAGUE_REFUSALS)
    never = unexplained.keys() - accepted
    wrong = [
        f"request {attempt_id}: {unexplained[attempt_id]} are in doubt for no reason"
        for attempt_id in unexplained.keys() & accepted
    ]
    if len(never) > vague:
        wrong.append(f"{len(never)} refused requests are in doubt, {vague} were refused vaguely")
    return wrong


def _of_request(attempt: Any, entries: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """What the provider accepted of a number by this request: another may have been before it."""
    began, ended = attempt.begun_at.timestamp(), attempt.deadline.timestamp()
    return [entry for entry in entries if began <= entry["at"] <= ended]


def _miscounts(store: Store, messages: Iterable[Any], attempts: Mapping[int, Any]) -> list[str]:
    """Batches whose counters a recount of their messages contradicts, or that have not ended."""
    with store.read() as conn:
        batches = conn.execute(sa.select(BATCH)).all()
        totals = dict(conn.execute(sa.select(CAMPAIGN.c.id, CAMPAIGN.c.total)).all())
    of_campaign: dict[int, dict[int, Any]] = defaultdict(dict)
    for row in messages:
        of_campaign[row.campaign_id][row.seq] = row
    wrong = [
        f"campaign {campaign_id} says {total} recipients and has {len(of_campaign[campaign_id])}"
        for campaign_id, total in totals.items()
        if total != len(of_campaign[campaign_id])
    ]
    for batch in batches:
        seqs = range(batch.first_seq, batch.first_seq + batch.size)
        mine = [of_campaign[batch.campaign_id][seq] for seq in seqs]
        recount = Counter(MessageState(row.state).label for row in mine)
        recount["no_receipt"] = sum(
            row.state == MessageState.SUBMITTED and attempts[row.attempt_id].poll_at is None
            for row in mine
        )
        names = [*(state.label for state in MessageState), "no_receipt"]
        off = [name for name in names if batch._mapping[name] != recount[name]]
        if off:
            wrong.append(f"batch {batch.id} counts {', '.join(off)} wrong")
        if batch.state in IN_FLIGHT | {BatchState.PENDING}:
            wrong.append(f"batch {batch.id} is still {BatchState(batch.state).label}")
    return wrong


def kills_in_mid_request(
    store: Store, blows: Iterable[Blow], holders: Mapping[tuple[int, int], str]
) -> int:
    """How many kills cost a request that was begun and not settled; each request counts once."""
    kills = [blow for blow in blows if blow.kills]
    with store.read() as conn:
        lost = conn.execute(sa.select(ATTEMPT).where(ATTEMPT.c.error == LOST)).all()
    return len({blow for row in lost if (blow := blow_to(row, kills, holders)) is not None})
