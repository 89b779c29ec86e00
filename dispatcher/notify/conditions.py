"""The conditions that somebody is notified of, as they are in the store now.

What is said has ids, names, counts and reasons; never a phone number or a text.
"""

import re
from collections.abc import Collection, Iterator, Mapping
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Final

import orjson
from sqlalchemy import Connection

from dispatcher.campaigns.view import tally_messages
from dispatcher.config.notify_settings import EventKind, NotifySettings
from dispatcher.policy.breaker import describe_outage
from dispatcher.status import CampaignState
from dispatcher.store import accounts, campaign_search, doubts, notice_sources
from dispatcher.store.notices import NewNotice
from dispatcher.store.replies import find_recent_replies
from dispatcher.store.rows import AccountRow, CampaignRow

#: A campaign that finished earlier is history, also for a scheduler that was away.
_RECENT: Final = timedelta(days=1)
_RECENT_REPLIES: Final = timedelta(minutes=30)
#: So many receipts make a share that means something while others are still expected.
_FEWEST_RECEIPTS: Final = 100
_LONG_NUMBER: Final = re.compile(r"\d(?:[ ()./-]{0,3}\d){6,}")
_LONGEST: Final = 300


def find_conditions(
    conn: Connection,
    wanted: NotifySettings,
    *,
    begun: datetime,
    now: datetime,
    known: Collection[str] = (),
) -> list[NewNotice]:
    """What is true now, of what somebody wants to be notified of. `begun` as of `notices`.

    `known` are the keys of what was true at the last look: nothing is counted for it again.
    """
    found: list[NewNotice] = []
    recent = notice_sources.list_recent(conn, max(begun, now - _RECENT))
    counted = [row.id for row in recent if _must_count(row, wanted, known)]
    counts = campaign_search.count_messages(conn, counted) if counted else {}
    for row in recent:
        found += _of_campaign(row, counts.get(row.id), wanted)
    found += _of_doubts(conn)
    found += _of_replies(conn, max(begun, now - _RECENT_REPLIES))
    for account in accounts.all_accounts(conn).values():
        found += _of_account(account, wanted)
    return [one for one in found if wanted.wants(EventKind(one.kind))]


def hide_numbers(words: str) -> str:
    """The words without anything that may be a phone number, on one line, and not too long."""
    plain = " ".join("".join(c if c.isprintable() else " " for c in words).split())
    return _LONG_NUMBER.sub("••••", plain)[:_LONGEST]


def _must_count(row: CampaignRow, wanted: NotifySettings, known: Collection[str]) -> bool:
    if row.finished_at is None and row.state != CampaignState.PAUSED:
        return wanted.delivery_below is not None
    wanted_keys = [
        f"{kind}|{subject}|{channel}"
        for kind, subject in _states_of(row)
        for channel in wanted.channels
        if wanted.wants(kind)
    ]
    if not wanted_keys:
        return wanted.delivery_below is not None
    return any(key not in known for key in wanted_keys)


def _states_of(row: CampaignRow) -> Iterator[tuple[EventKind, str]]:
    """The events that are the campaign's state, and what they are about."""
    if row.state == CampaignState.PAUSED:
        yield EventKind.CAMPAIGN_PAUSED, f"campaign {row.id}"
    if row.state == CampaignState.FINISHED and row.finished_at is not None:
        yield EventKind.CAMPAIGN_FINISHED, f"campaign {row.id} {row.finished_at.isoformat()}"


def _of_campaign(
    row: CampaignRow, counted: Mapping[str, int] | None, wanted: NotifySettings
) -> Iterator[NewNotice]:
    """`counted`: None where what is said of it is known already."""
    if counted is None:
        for kind, subject in _states_of(row):
            yield _make(kind, subject, "", {})
        return
    yield from _of_counted(row, counted, wanted)


def _of_counted(
    row: CampaignRow, counts: Mapping[str, int], wanted: NotifySettings
) -> Iterator[NewNotice]:
    with_rows = {**counts, "total": row.total, "suppressed": counts["suppressed"] + row.suppressed}
    tally = tally_messages(row, with_rows)
    figures = {
        "total": tally.total,
        "submitted": tally.submitted,
        "delivered": tally.delivered,
        "not_delivered": tally.not_delivered,
        "not_submitted": tally.not_submitted,
        "in_doubt": tally.in_doubt,
    }
    about = {"campaign": _name(row.id, row.name), "account": row.account, "counts": figures}
    for kind, subject in _states_of(row):
        words = f"{tally.submitted} of {tally.total} submitted, {tally.delivered} delivered"
        if kind is EventKind.CAMPAIGN_PAUSED:
            words = f"it is paused: {hide_numbers(row.state_reason or 'by a person')}"
        yield _make(kind, subject, words, about)
    receipts = tally.delivered + tally.not_delivered
    enough = receipts >= _FEWEST_RECEIPTS or (row.finished_at is not None and receipts > 0)
    if wanted.delivery_below is None or not enough or row.one_off:
        return
    share = 100 * tally.delivered / receipts
    if share < wanted.delivery_below:
        words = f"{share:.1f} % of {receipts} receipts say delivered"
        yield _make(EventKind.DELIVERY_LOW, f"campaign {row.id}", words, about)


def _of_doubts(conn: Connection) -> Iterator[NewNotice]:
    for row in doubts.campaigns_in_doubt(conn):
        who = "1 recipient is" if row.recipients == 1 else f"{row.recipients} recipients are"
        about = {"campaign": _name(row.id, row.name), "counts": {"in_doubt": row.recipients}}
        yield _make(EventKind.CAMPAIGN_IN_DOUBT, f"campaign {row.id}", f"{who} in doubt", about)


def _of_replies(conn: Connection, since: datetime) -> Iterator[NewNotice]:
    for row in find_recent_replies(conn, since):
        slot = row.newest.replace(minute=row.newest.minute // 10 * 10)
        who = "1 reply has come" if row.n == 1 else f"{row.n} replies have come"
        words = f"{who} since {since:%H:%M} UTC: `dispatcher receiver replies` lists them"
        subject = f"account {row.account} replies {slot:%Y-%m-%dT%H:%M}"
        yield _make(EventKind.REPLIES_RECEIVED, subject, words, {"account": row.account})


def _of_account(row: AccountRow, wanted: NotifySettings) -> Iterator[NewNotice]:
    about = {"account": row.name}
    if row.paused_by is not None:
        at = "" if row.changed_at is None else f" {row.changed_at.isoformat()}"
        words = f"it is paused ({row.paused_by}): {hide_numbers(row.pause_reason or '')}"
        yield _make(EventKind.ACCOUNT_PAUSED, f"account {row.name}{at}", words, about)
    if row.stopped_at is not None:
        words = f"it is stopped by {hide_numbers(row.stopped_by or 'a person')}"
        subject = f"account {row.name} {row.stopped_at.isoformat()}"
        yield _make(EventKind.ACCOUNT_PAUSED, subject, words, about)
    if row.breaker is not None:
        words = hide_numbers(describe_outage(row) or "its provider fails")
        yield _make(EventKind.BREAKER_OPENED, f"account {row.name}", words, about)
    if wanted.balance_below is None or row.balance is None:
        return
    for package, amount in orjson.loads(row.balance).items():
        if Decimal(amount) < Decimal(str(wanted.balance_below)):
            words = f"{package}: {amount} left, below {wanted.balance_below:.15g}"
            given = {**about, "balance": amount, "package": package}
            yield _make(EventKind.BALANCE_LOW, f"account {row.name} {package}", words, given)


def _name(campaign_id: int, name: str) -> dict[str, object]:
    return {"id": campaign_id, "name": hide_numbers(name)}


def _make(kind: EventKind, subject: str, detail: str, about: Mapping[str, object]) -> NewNotice:
    return NewNotice(kind.value, subject, {"detail": detail, **about})
