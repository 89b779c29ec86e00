"""Pushed receipts that wait: for a message that is not known yet, or for its validity to end."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Final, NamedTuple

from sqlalchemy import ColumnElement, Connection, delete, func, select, tuple_, update

from dispatcher.status import MessageState
from dispatcher.store.fetching import columns_of, fetch_all
from dispatcher.store.table_values import insert_all_or_ignore
from dispatcher.store.tables import WAITING_RECEIPT
from dispatcher.types import DeliveryReport

#: Pauses between two looks at an unknown message; the last one again and again.
_PAUSES_S: Final = (2, 5, 15, 60, 300, 1800, 3600)
#: After that nobody expects its message any more: other systems may use the same provider account.
_GIVE_UP_AFTER: Final = timedelta(days=3)
#: Whoever has a URL could fill the store otherwise.
MOST_WAITING: Final = 100_000
_AT_ONCE: Final = 500


class WaitingReceiptRow(NamedTuple):
    """A row of `waiting_receipt`."""

    account: str
    provider_message_id: str
    msisdn: int
    state: int
    raw: str
    provisional: bool
    error_code: str | None
    cost: Decimal | None
    at: datetime
    next_at: datetime
    tries: int

    @property
    def report(self) -> DeliveryReport:
        """The report as it was pushed."""
        return DeliveryReport(
            msisdn=self.msisdn,
            state=MessageState(self.state),
            raw=self.raw,
            provider_message_id=self.provider_message_id,
            provisional=self.provisional,
            error_code=self.error_code,
            cost=self.cost,
        )


def keep_waiting(
    conn: Connection,
    account: str,
    reports: Sequence[tuple[DeliveryReport, datetime | None]],
    now: datetime,
) -> None:
    """Keep reports until a time, or None: until their message is known, for some days.

    The first report about a message stays; a final one takes the place of a provisional one.
    """
    rows = [
        {
            "account": account,
            "provider_message_id": report.provider_message_id,
            "msisdn": report.msisdn,
            "state": report.state,
            "raw": report.raw,
            "provisional": report.provisional,
            "error_code": report.error_code,
            "cost": report.cost,
            "at": now,
            "next_at": now + timedelta(seconds=_PAUSES_S[0]) if until is None else until,
            "tries": 0,
        }
        # In one order, so that two receivers do not wait for each other.
        for report, until in sorted(reports, key=lambda one: one[0].provider_message_id or "")
    ]
    final = [row["provider_message_id"] for row in rows if not row["provisional"]]
    if final:
        conn.execute(
            delete(WAITING_RECEIPT).where(
                WAITING_RECEIPT.c.account == account,
                WAITING_RECEIPT.c.provider_message_id.in_(final),
                WAITING_RECEIPT.c.provisional,
            )
        )
    insert_all_or_ignore(conn, WAITING_RECEIPT, rows)


def list_due_receipts(conn: Connection, now: datetime) -> list[WaitingReceiptRow]:
    """Some of those that are due to be looked at, the longest due first."""
    query = select(*columns_of(WAITING_RECEIPT, WaitingReceiptRow)).where(
        WAITING_RECEIPT.c.next_at <= now
    )
    due = query.order_by(WAITING_RECEIPT.c.next_at).limit(_AT_ONCE)
    return fetch_all(conn, WaitingReceiptRow, due)


def remove_waiting(conn: Connection, rows: Sequence[WaitingReceiptRow]) -> None:
    """Forget receipts that wait no longer."""
    conn.execute(delete(WAITING_RECEIPT).where(_is_among(rows)))


def postpone_waiting(
    conn: Connection, rows: Sequence[WaitingReceiptRow], now: datetime
) -> list[WaitingReceiptRow]:
    """Look at them again later; returns those that are given up instead, and removed."""
    given_up = [row for row in rows if row.at + _GIVE_UP_AFTER <= now]
    if given_up:
        remove_waiting(conn, given_up)
    by_tries: dict[int, list[WaitingReceiptRow]] = {}
    for row in rows:
        if row.at + _GIVE_UP_AFTER > now:
            by_tries.setdefault(row.tries, []).append(row)
    for tries, same in by_tries.items():
        pause_s = _PAUSES_S[min(tries + 1, len(_PAUSES_S) - 1)]
        later = {"next_at": now + timedelta(seconds=pause_s), "tries": min(tries + 1, 1000)}
        conn.execute(update(WAITING_RECEIPT).where(_is_among(same)).values(**later))
    return given_up


def drop_oldest_waiting(conn: Connection) -> int:
    """Remove the oldest above `MOST_WAITING`; how many."""
    above = conn.execute(select(func.count()).select_from(WAITING_RECEIPT)).scalar_one()
    if above <= MOST_WAITING:
        return 0
    oldest = (
        select(WAITING_RECEIPT.c.account, WAITING_RECEIPT.c.provider_message_id)
        .order_by(WAITING_RECEIPT.c.at)
        .limit(above - MOST_WAITING)
    )
    return conn.execute(delete(WAITING_RECEIPT).where(_KEY.in_(oldest))).rowcount


_KEY = tuple_(WAITING_RECEIPT.c.account, WAITING_RECEIPT.c.provider_message_id)


def _is_among(rows: Sequence[WaitingReceiptRow]) -> ColumnElement[bool]:
    return _KEY.in_([(row.account, row.provider_message_id) for row in rows])
