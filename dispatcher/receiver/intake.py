"""Stores what was pushed: replies with their opt-outs first, then receipts, then the counts."""

import hashlib
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Final, NamedTuple

from sqlalchemy import Connection

from dispatcher.store import push_counts, replies, suppressions, waiting_receipts
from dispatcher.store.push_counts import PushOutcome
from dispatcher.store.pushed_receipts import store_pushed
from dispatcher.text.opt_outs import StopWords
from dispatcher.types import DeliveryReport, InboundMessage, PushContent

#: Where numbers on the suppression list come from that answered with a stop word.
SOURCE: Final = "reply"
_LONGEST_REPLY: Final = 4000

Counted = Counter[tuple[str, PushOutcome]]


class AccountPush(NamedTuple):
    """What an account's provider pushed."""

    account: str
    content: PushContent


def store_pushes(
    conn: Connection,
    pushes: Sequence[AccountPush],
    stop_words: Mapping[str, StopWords],
    now: datetime,
) -> None:
    """Store all of it; what was stored before changes nothing."""
    counted: Counted = Counter()
    # Opt-outs lock accounts, which are locked before batches.
    _store_replies(conn, pushes, stop_words, counted, now)
    reports: defaultdict[str, list[DeliveryReport]] = defaultdict(list)
    for push in pushes:
        reports[push.account] += push.content.reports
        counted[push.account, PushOutcome.IGNORED] += push.content.ignored
    for account, its in sorted(reports.items()):
        _store_reports(conn, account, its, counted, now)
    push_counts.add_push_counts(conn, counted, now)


def _store_reports(
    conn: Connection,
    account: str,
    reports: Sequence[DeliveryReport],
    counted: Counted,
    now: datetime,
) -> None:
    done = store_pushed(conn, account, reports, now)
    waiting = [*((report, None) for report in done.unknown), *done.provisional]
    if waiting:
        waiting_receipts.keep_waiting(conn, account, waiting, now)
    counted[account, PushOutcome.RECEIPT] += done.new
    counted[account, PushOutcome.KNOWN] += done.known
    counted[account, PushOutcome.WAITING] += len(waiting)


def _store_replies(
    conn: Connection,
    pushes: Sequence[AccountPush],
    stop_words: Mapping[str, StopWords],
    counted: Counted,
    now: datetime,
) -> None:
    found = [
        _make_reply(push.account, reply, stop_words[push.account], now)
        for push in pushes
        for reply in push.content.replies
    ]
    stops = [reply for reply in found if reply.is_stop]
    if stops:
        # Whoever says stop knows no accounts: none may text that number, also no fallback.
        suppressions.wait_for_begins(conn, suppressions.ANY_ACCOUNT)
        for account in {reply.account for reply in stops}:
            numbers = [reply.msisdn for reply in stops if reply.account == account]
            origin = suppressions.SuppressionOrigin(
                f"replied to account {account}", SOURCE, "dispatcher receiver"
            )
            suppressions.add_numbers(conn, [*{*numbers}], suppressions.ANY_ACCOUNT, origin, now)
    for reply in found:
        if replies.add_reply(conn, reply, now):
            outcome = PushOutcome.STOP if reply.is_stop else PushOutcome.REPLY
            counted[reply.account, outcome] += 1


def _make_reply(
    account: str, reply: InboundMessage, words: StopWords, now: datetime
) -> replies.NewReply:
    # Without an id, the same words on the same day are the same reply: providers push again.
    said = reply.provider_message_id or f"{now:%Y-%m-%d} {reply.text}"
    key = hashlib.sha256(f"{reply.msisdn} {said}".encode()).hexdigest()
    text = reply.text[:_LONGEST_REPLY].replace("\0", "")
    return replies.NewReply(account, reply.msisdn, text, key, words.match_text(reply.text))


def look_at_waiting(conn: Connection, now: datetime) -> int:
    """Try to store receipts that wait and are due; how many were due."""
    due = waiting_receipts.list_due_receipts(conn, now)
    if not due:
        return 0
    counted: Counted = Counter()
    for account in sorted({row.account for row in due}):
        rows = [row for row in due if row.account == account]
        done = store_pushed(conn, account, [row.report for row in rows], now)
        unknown = {report.provider_message_id for report in done.unknown}
        waiting_receipts.remove_waiting(
            conn, [row for row in rows if row.provider_message_id not in unknown]
        )
        waiting_receipts.keep_waiting(conn, account, done.provisional, now)
        given_up = waiting_receipts.postpone_waiting(
            conn, [row for row in rows if row.provider_message_id in unknown], now
        )
        counted[account, PushOutcome.RECEIPT] += done.new
        counted[account, PushOutcome.GIVEN_UP] += len(given_up)
    push_counts.add_push_counts(conn, counted, now)
    return len(due)
