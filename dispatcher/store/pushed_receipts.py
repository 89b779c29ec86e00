"""Pushed receipts: find the messages that they are about, and store what is final.

They go the way of polls (`receipts.py`), and like those only forward. What cannot be stored yet
waits (`waiting_receipts.py`).
"""

from collections import defaultdict
from collections.abc import Sequence
from datetime import datetime
from functools import cache
from typing import NamedTuple

from sqlalchemy import BigInteger, Connection, Select, Text, bindparam, select

from dispatcher.policy.verdict import plausible_cost
from dispatcher.status import MessageState
from dispatcher.store import alternate_ids
from dispatcher.store.fetching import columns_of, fetch_messages
from dispatcher.store.receipts import Receipt, ReportedRequest, store_receipts
from dispatcher.store.table_values import TableParameter
from dispatcher.store.tables import ATTEMPT, BATCH, MESSAGE
from dispatcher.types import DeliveryReport


class PushedMessage(NamedTuple):
    """A message of ours that a report is about, with its request and its batch."""

    msisdn: int
    provider_message_id: str
    campaign_id: int
    seq: int
    attempt_id: int
    batch_id: int
    first_seq: int
    size: int
    poll_until: datetime | None


class PushedReceipts(NamedTuple):
    """What became of pushed reports: new receipts, how many said nothing new, and what waits."""

    new: int
    known: int
    #: Reports whose message is not known, until when to wait for it: None, for some days.
    unknown: list[DeliveryReport]
    #: Provisional reports, and when they count.
    provisional: list[tuple[DeliveryReport, datetime]]


def store_pushed(
    conn: Connection, account: str, reports: Sequence[DeliveryReport], now: datetime
) -> PushedReceipts:
    """Store the final states that an account's provider has pushed.

    Each report has a provider's id, which must be that of a message to its number. A report that
    is not final says nothing new.
    """
    final = [report for report in reports if report.state is not MessageState.SUBMITTED]
    found = _find_messages(conn, account, final)
    unknown = [report for report in final if _key(report) not in found]
    former = _find_former(conn, account, unknown)
    of_request: defaultdict[tuple[int, int], list[tuple[PushedMessage, DeliveryReport]]]
    of_request = defaultdict(list)
    provisional = []
    for report in final:
        message = found.get(_key(report))
        if message is None:
            continue
        if report.provisional and message.poll_until is not None and message.poll_until > now:
            provisional.append((report, message.poll_until))
            continue
        of_request[(message.batch_id, message.attempt_id)].append((message, report))
    new = 0
    # Batches are locked in this order everywhere.
    for _key_of_request, its in sorted(of_request.items()):
        message = its[0][0]
        request = ReportedRequest(
            message.attempt_id,
            message.batch_id,
            message.campaign_id,
            message.first_seq,
            message.size,
        )
        new += store_receipts(conn, request, [_make_receipt(*each) for each in its], now=now)
    left = [report for report in unknown if _key(report) not in former]
    known = len(reports) - new - len(left) - len(provisional)
    return PushedReceipts(new, known, left, provisional)


def _make_receipt(message: PushedMessage, report: DeliveryReport) -> Receipt:
    cost = plausible_cost(report.cost)
    return Receipt(message.seq, report.state, report.error_code, report.raw, cost)


def _key(report: DeliveryReport) -> tuple[int, str]:
    return report.msisdn, report.provider_message_id or ""


def _find_messages(
    conn: Connection, account: str, reports: Sequence[DeliveryReport]
) -> dict[tuple[int, str], PushedMessage]:
    """By number and id: the message to that number whose latest request got this id."""
    if not reports:
        return {}
    statement, given = _find_messages_stmt(conn.dialect.name)
    keys = [*{_key(report) for report in reports}]
    rows = fetch_messages(
        conn, PushedMessage, statement, given.to_parameters(keys) | {"of_account": account}
    )
    return {(row.msisdn, row.provider_message_id): row for row in rows}


@cache
def _find_messages_stmt(dialect: str) -> tuple[Select[tuple[object, ...]], TableParameter]:
    given = TableParameter(dialect, [("msisdn", BigInteger()), ("message_id", Text())])
    others = {
        "batch_id": BATCH.c.id,
        "first_seq": BATCH.c.first_seq,
        "size": BATCH.c.size,
        "poll_until": ATTEMPT.c.poll_until,
    }
    statement = (
        select(*columns_of(MESSAGE, PushedMessage, **others))
        .join_from(MESSAGE, ATTEMPT, ATTEMPT.c.id == MESSAGE.c.attempt_id)
        .join(BATCH, BATCH.c.id == ATTEMPT.c.batch_id)
        .where(
            MESSAGE.c.msisdn == given.table.c.msisdn,
            MESSAGE.c.provider_message_id == given.table.c.message_id,
            ATTEMPT.c.account == bindparam("of_account"),
        )
    )
    return statement, given


def _find_former(
    conn: Connection, account: str, reports: Sequence[DeliveryReport]
) -> set[tuple[int, str]]:
    """Those about an earlier request of a message: what became of it was stored with that."""
    ids = [report.provider_message_id or "" for report in reports]
    known = alternate_ids.find_known(conn, account, ids)
    return {(one.msisdn, one.provider_message_id) for one in known}
