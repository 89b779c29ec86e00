"""Deciding about one request in doubt: what a look at the list proves, then the campaign's rule."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from sqlalchemy import Connection

from dispatcher.campaigns.rendering import render_messages
from dispatcher.policy.reconciliation import (
    MAX_SCANS,
    Doubt,
    DoubtNote,
    ListFinding,
    ListScan,
    decide_doubts,
    next_scan_delay_s,
)
from dispatcher.policy.routes import route_at
from dispatcher.policy.verdict import plausible_cost
from dispatcher.providers.base import Capabilities, Provider
from dispatcher.status import MessageState
from dispatcher.store import decisions, doubts, listed_messages
from dispatcher.store.decisions import AnnotatedMessage, ListedMatch, LockedAttempt
from dispatcher.store.doubts import DoubtfulRequest
from dispatcher.store.engine import store_now
from workers.batch.poll_schedule import make_poll_plan
from workers.services import Services

_ACTOR = "dispatcher"
#: Until a batch that is at the provider just now is looked at again.
_BUSY_S = 5.0


@dataclass(frozen=True, slots=True)
class _Outcome:
    """What is done about the recipients of one request; `doubtful` are all who stay in doubt."""

    found: list[ListedMatch] = field(default_factory=list)
    absent: list[AnnotatedMessage] = field(default_factory=list)
    doubtful: list[AnnotatedMessage] = field(default_factory=list)


def settle_doubt(
    services: Services,
    conn: Connection,
    provider: Provider,
    doubtful: DoubtfulRequest,
    look: ListScan,
) -> str:
    """Decide about one request's recipients and store it; a sentence for the log."""
    case = decisions.lock_attempt(conn, doubtful.id)
    now = store_now(conn)
    fresh = doubts.load_doubtful(conn, doubtful.id)
    outcome = _decide_outcome(conn, fresh, look, provider.capabilities)
    if outcome.absent and case.is_at_provider:
        # Proved, but a worker has their batch: the next look gives it back to them.
        outcome.doubtful.extend(
            AnnotatedMessage(one.seq, one.note & ~DoubtNote.ABSENT | DoubtNote.MISSED)
            for one in outcome.absent
        )
        outcome.absent.clear()
    done: Counter[str] = Counter()
    plan = make_poll_plan(provider, now)
    done["found"] = decisions.accept_listed(conn, case, outcome.found, poll=plan, now=now)
    if outcome.absent:
        limit = provider.settings.max_attempts
        state = decisions.return_to_pending(conn, case, outcome.absent, failed_after=limit, now=now)
        done[f"absent, {state.label}"] = len(outcome.absent)
    decisions.annotate_messages(conn, case, outcome.doubtful)
    looks = fresh.looks + 1
    next_at: datetime | None = now + timedelta(
        seconds=_BUSY_S
        if case.is_at_provider
        else next_scan_delay_s(looks, services.settings.worker.reconcile_after_s)
    )
    if outcome.doubtful and _is_looking_useless(provider.capabilities, looks, outcome.doubtful):
        done += _follow_rule(conn, case, fresh, outcome.doubtful, now)
        next_at = next_at if case.is_at_provider else None
    for action, count in done.items():
        if count:
            decisions.audit_decision(conn, case, action, count, actor=_ACTOR, now=now)
    left = decisions.reschedule_doubt(conn, case, next_at=next_at, looked=True)
    parts = [f"{count} {action}" for action, count in done.items() if count]
    return ", ".join([*parts, f"{left} still in doubt"])


def _decide_outcome(
    conn: Connection, doubtful: DoubtfulRequest, look: ListScan, capabilities: Capabilities
) -> _Outcome:
    notes = {row.seq: DoubtNote(row.note or 0) for row in doubtful.recipients}
    campaign = doubtful.campaign
    recipients = render_messages(campaign.text, doubtful.recipients, campaign.template_columns)
    listed = {
        entry.provider_message_id
        for recipient in recipients
        for entry in look.entries_since(recipient.msisdn, doubtful.begun_at)
    }
    said = decide_doubts(
        [
            Doubt(
                seq=r.seq, msisdn=r.msisdn, text=r.text, was_missed=DoubtNote.MISSED in notes[r.seq]
            )
            for r in recipients
        ],
        begun_at=doubtful.begun_at,
        sender=route_at(campaign, doubtful.account).sender,
        scan=look,
        others=listed_messages.load_known_ids(conn, doubtful, listed) if recipients else {},
        absence_provable=capabilities.absence_provable and campaign.schedule_at is None,
    )
    rows = {row.seq: row for row in doubtful.recipients}
    outcome = _Outcome()
    for one in said:
        # Whether it was submitted again once stays known, whatever looks say later.
        note = notes[one.seq] & DoubtNote.RESENT
        match one.finding:
            case ListFinding.FOUND:
                assert one.entry is not None
                entry, msisdn = one.entry, rows[one.seq].msisdn
                found = ListedMatch(
                    one.seq,
                    msisdn,
                    entry.provider_message_id,
                    plausible_cost(entry.cost),
                    note | DoubtNote.FOUND,
                )
                outcome.found.append(found)
            case ListFinding.ABSENT:
                outcome.absent.append(AnnotatedMessage(one.seq, note | DoubtNote.ABSENT))
            case ListFinding.MISSED:
                outcome.doubtful.append(AnnotatedMessage(one.seq, note | DoubtNote.MISSED))
            case ListFinding.UNEXPLAINED:
                outcome.doubtful.append(AnnotatedMessage(one.seq, note | DoubtNote.UNEXPLAINED))
            case ListFinding.UNKNOWN:
                outcome.doubtful.append(AnnotatedMessage(one.seq, notes[one.seq]))
    return outcome


def _is_looking_useless(
    capabilities: Capabilities, looks: int, left: Iterable[AnnotatedMessage]
) -> bool:
    """Whether looking again is no use: there is no list, or it has been looked at often enough.

    A list that cannot prove absence has said all it can when two looks in a row missed everybody.
    """
    if not capabilities.lists_accepted or looks >= MAX_SCANS:
        return True
    missed = all(DoubtNote.MISSED in DoubtNote(one.note) for one in left)
    return not capabilities.absence_provable and looks > 1 and missed


def _follow_rule(
    conn: Connection,
    case: LockedAttempt,
    doubtful: DoubtfulRequest,
    left: Sequence[AnnotatedMessage],
    now: datetime,
) -> Counter[str]:
    """What `--on-doubt` says of those whom no list can settle.

    An entry that may be somebody's own is evidence: those wait for a person, as do those who were
    submitted again once.
    """
    rule = doubtful.campaign.on_doubt
    if rule == "resend" and doubtful.campaign.schedule_at is not None:
        rule = "hold"  # what the provider was told to send later may leave at any time
    open_ = [one for one in left if DoubtNote.UNEXPLAINED not in DoubtNote(one.note)]
    if rule == "resend":
        open_ = [one for one in open_ if DoubtNote.RESENT not in DoubtNote(one.note)]
    if rule == "hold" or not open_ or (rule == "resend" and case.is_at_provider):
        return Counter()
    if rule == "drop":
        rows = [AnnotatedMessage(one.seq, one.note | DoubtNote.DROPPED) for one in open_]
        decisions.resolve_as(conn, case, MessageState.FAILED, rows, now=now)
        return Counter(dropped=len(rows))
    rows = [AnnotatedMessage(one.seq, DoubtNote.RESENT) for one in open_]
    state = decisions.return_to_pending(conn, case, rows, failed_after=None, now=now)
    return Counter({f"resent, {state.label}": len(rows)})
