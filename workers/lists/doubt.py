"""Settling one request in doubt: by what the list proves, then by the campaign's `--on-doubt`."""

import logging
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from sqlalchemy import Connection

from dispatcher.campaigns.rendering import render_messages
from dispatcher.logs.events import LogEvent, log_event
from dispatcher.policy.backoff import next_scan_delay_s, next_try_delay_s
from dispatcher.policy.reconciliation import (
    MAX_SCANS,
    Doubt,
    DoubtNote,
    ListFinding,
    ListScan,
    decide_doubts,
)
from dispatcher.policy.routes import route_at
from dispatcher.policy.verdict import plausible_cost
from dispatcher.providers.base import Capabilities, Provider
from dispatcher.status import MessageState
from dispatcher.store import decisions, doubts, former_outcomes, listed_messages, locked_attempts
from dispatcher.store.decisions import AnnotatedMessage, ListedMatch
from dispatcher.store.doubts import DoubtfulRequest
from dispatcher.store.engine import store_now
from dispatcher.store.locked_attempts import LockedAttempt
from workers.batch.poll_schedule import make_poll_plan
from workers.services import Services

log = logging.getLogger(__name__)

_ACTOR = "dispatcher"
#: Seconds until the next try, while a worker holds the batch.
_BUSY_S = 5.0
UNREADABLE = "its provider's list could not be read for a day: a person has to decide"


@dataclass(frozen=True, slots=True)
class _Outcome:
    """What becomes of the recipients of one request; those in `doubtful` stay in doubt."""

    found: list[ListedMatch] = field(default_factory=list)
    absent: list[AnnotatedMessage] = field(default_factory=list)
    doubtful: list[AnnotatedMessage] = field(default_factory=list)


def settle_doubt(
    services: Services,
    conn: Connection,
    provider: Provider,
    doubtful: DoubtfulRequest,
    scan: ListScan,
) -> str:
    """Decide about the recipients of one request, and store it. Returns a sentence for the log."""
    case = locked_attempts.lock_attempt(conn, doubtful.id)
    now = store_now(conn)
    fresh = doubts.load_doubtful(conn, doubtful.id)
    outcome = _decide_outcome(conn, fresh, scan, provider.capabilities)
    if outcome.absent and case.is_at_provider:
        # Proved, but a worker holds their batch: the next scan makes them pending again.
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
    was_read = scan.is_complete or not provider.capabilities.lists_accepted
    scans = fresh.looks + was_read
    delay_s = _next_delay_s(services, case, scans, now, was_read=was_read)
    next_at = None if delay_s is None else now + timedelta(seconds=delay_s)
    # A list that was not read says nothing: no rule is followed then.
    is_over = was_read and _is_scanning_useless(provider.capabilities, scans, outcome.doubtful)
    if outcome.doubtful and is_over:
        done += _follow_rule(conn, case, fresh, outcome.doubtful, now)
        next_at = next_at if case.is_at_provider else None
    for action, count in done.items():
        if count:
            decisions.audit_decision(conn, case, action, count, actor=_ACTOR, now=now)
    left = decisions.reschedule_doubt(conn, case, next_at=next_at, looked=was_read)
    parts = [f"{count} {action}" for action, count in done.items() if count]
    if left and next_at is None and not was_read:
        parts.append(UNREADABLE)
        words = f"request {doubtful.id} in doubt: {UNREADABLE}"
        log_event(log, LogEvent.DOUBT_LEFT, words, **doubtful.log_fields)
    return ", ".join([*parts, f"{left} still in doubt"])


def _next_delay_s(
    services: Services, case: LockedAttempt, scans: int, now: datetime, *, was_read: bool
) -> float | None:
    """Seconds until the next look; None: a person has to decide."""
    if case.is_at_provider:
        return _BUSY_S
    first_s = services.settings.worker.reconcile_after_s
    if was_read:
        return next_scan_delay_s(scans, first_s)
    since = case.attempt.doubt_at or now
    return next_try_delay_s((now - since).total_seconds(), first_s)


def _decide_outcome(
    conn: Connection, doubtful: DoubtfulRequest, scan: ListScan, capabilities: Capabilities
) -> _Outcome:
    notes = {row.seq: DoubtNote(row.note or 0) for row in doubtful.recipients}
    campaign = doubtful.campaign
    recipients = render_messages(campaign.text, doubtful.recipients, campaign.template_columns)
    since = _first_requests(conn, doubtful, notes)
    start = min([doubtful.begun_at, *since.values()])
    listed = {
        entry.provider_message_id
        for recipient in recipients
        for entry in scan.entries_since(recipient.msisdn, start)
    }
    decided = decide_doubts(
        [
            Doubt(
                seq=r.seq,
                msisdn=r.msisdn,
                text=r.text,
                was_missed=DoubtNote.MISSED in notes[r.seq],
                since=since.get(r.seq),
            )
            for r in recipients
        ],
        begun_at=doubtful.begun_at,
        sender=route_at(campaign, doubtful.account).sender,
        scan=scan,
        others=(
            listed_messages.load_known_ids(conn, doubtful, listed, start) if recipients else {}
        ),
        absence_provable=capabilities.absence_provable and campaign.schedule_at is None,
    )
    rows = {row.seq: row for row in doubtful.recipients}
    outcome = _Outcome()
    for one in decided:
        # RESENT is kept: each recipient is sent to again only once.
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


def _first_requests(
    conn: Connection, doubtful: DoubtfulRequest, notes: Mapping[int, DoubtNote]
) -> dict[int, datetime]:
    """When the first request in doubt began, of recipients who were sent to again meanwhile."""
    resent = [seq for seq, note in notes.items() if DoubtNote.RESENT in note]
    if not resent:
        return {}
    return former_outcomes.first_requests_in_doubt(
        conn, doubtful.account, doubtful.campaign.id, resent
    )


def _is_scanning_useless(
    capabilities: Capabilities, scans: int, left: Iterable[AnnotatedMessage]
) -> bool:
    """Whether another scan would not help: there is no list, or it was scanned often enough.

    A list that cannot prove absence does not help once two scans in a row showed no recipient.
    """
    if not capabilities.lists_accepted or scans >= MAX_SCANS:
        return True
    missed = all(DoubtNote.MISSED in DoubtNote(one.note) for one in left)
    return not capabilities.absence_provable and scans > 1 and missed


def _follow_rule(
    conn: Connection,
    case: LockedAttempt,
    doubtful: DoubtfulRequest,
    left: Sequence[AnnotatedMessage],
    now: datetime,
) -> Counter[str]:
    """Do what `--on-doubt` says about recipients that no list can settle. Returns counts.

    Two kinds wait for a person: a recipient with an entry in the list that may be its own, and one
    that was sent to again before.
    """
    rule = doubtful.campaign.on_doubt
    if rule == "resend" and doubtful.campaign.schedule_at is not None:
        rule = "hold"  # the provider may still send it at the scheduled time
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
