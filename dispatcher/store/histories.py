"""All messages that were ever sent, or are to be sent, to one number, in every campaign."""

from collections.abc import Iterator, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Final, NamedTuple

from sqlalchemy import Connection, and_, select, tuple_

from dispatcher.status import AttemptOutcome, MessageState
from dispatcher.store.audit import DROP_ACTION, RETRY_ACTION, AuditRow, list_audit_rows
from dispatcher.store.engine import Store
from dispatcher.store.fetching import columns_of, fetch_all
from dispatcher.store.json_columns import decode_texts
from dispatcher.store.tables import ALTERNATE_ID, ATTEMPT, BATCH, FORMER_OUTCOME, MESSAGE, REJECT

#: Messages to one number that are shown: a number that is tested daily has thousands.
MOST: Final = 10_000
#: Decisions of a campaign that are read for one of its messages.
_MOST_DECISIONS: Final = 500
#: Rejected rows that are read at a time.
_PAGE: Final = 20_000
_FEWEST_DIGITS: Final = 3
#: So many digits name a subscriber, without the country.
_LOCAL_DIGITS: Final = 7


class HistoryMessage(NamedTuple):
    """A message to the number, as it is now."""

    campaign_id: int
    seq: int
    row: int
    msisdn: int
    parts: int
    state: int
    attempts: int
    attempt_id: int | None
    final_at: datetime | None
    cost: Decimal | None
    provider_message_id: str | None
    error_code: str | None
    error: str | None
    note: int | None
    variables: str | None


class HistoryReject(NamedTuple):
    """A row of a recipient file with the number, which got no message."""

    campaign_id: int
    row: int
    kind: int
    reason: str
    cells: str


class HistoryAttempt(NamedTuple):
    """A request to a provider that carried the message."""

    id: int
    account: str
    outcome: int
    begun_at: datetime
    ended_at: datetime | None
    job_id: str | None
    error_code: str | None
    error: str | None


class FormerState(NamedTuple):
    """What had become of the message when it was submitted again."""

    attempt_id: int | None
    state: int
    final_at: datetime | None
    cost: Decimal | None
    provider_message_id: str | None
    error_code: str | None
    error: str | None
    at: datetime


class HistoryId(NamedTuple):
    """A further provider id of the message."""

    account: str
    provider_message_id: str
    attempt_id: int
    at: datetime


def messages_to(conn: Connection, msisdn: int, limit: int = MOST) -> list[HistoryMessage]:
    """The newest `limit` messages to a number, by the index on it, in the order of campaigns."""
    query = (
        select(*columns_of(MESSAGE, HistoryMessage))
        .where(MESSAGE.c.msisdn == msisdn)
        .order_by(MESSAGE.c.campaign_id.desc(), MESSAGE.c.seq)
        .limit(limit)
    )
    return fetch_all(conn, HistoryMessage, query)[::-1]


def rejects_of(conn: Connection, msisdn: int, limit: int = MOST) -> list[HistoryReject]:
    """The newest `limit` rows with the number that got no message, by the index on it."""
    query = (
        select(*columns_of(REJECT, HistoryReject))
        .where(REJECT.c.msisdn == msisdn)
        .order_by(REJECT.c.campaign_id.desc(), REJECT.c.row.desc())
        .limit(limit)
    )
    return fetch_all(conn, HistoryReject, query)[::-1]


def find_unreadable_rejects(store: Store, given: str) -> list[HistoryReject]:
    """The rows whose number could not be read, where a cell has the digits of `given`.

    Reads all such rows, a page at a time: there is no index of what could not be read.
    """
    digits = _digits_of(given)
    found: list[HistoryReject] = []
    after = (0, 0)
    while len(found) < MOST:
        with store.read() as conn:
            page = _unreadable_rejects(conn, after)
        found += [row for row in page if _has_digits(row.cells, digits)]
        if len(page) < _PAGE:
            break
        after = (page[-1].campaign_id, page[-1].row)
    return found


def _unreadable_rejects(conn: Connection, after: tuple[int, int]) -> list[HistoryReject]:
    query = (
        select(*columns_of(REJECT, HistoryReject))
        .where(tuple_(REJECT.c.campaign_id, REJECT.c.row) > after, REJECT.c.msisdn.is_(None))
        .order_by(REJECT.c.campaign_id, REJECT.c.row)
        .limit(_PAGE)
    )
    return fetch_all(conn, HistoryReject, query)


def _digits_of(text: str) -> str:
    return "".join(char for char in text if char.isdigit()).lstrip("0")


def _has_digits(cells: str, digits: str) -> bool:
    """Whether a cell has these digits, with or without a country code in front."""
    if len(digits) < _FEWEST_DIGITS or digits[-_FEWEST_DIGITS:] not in _digits_of(cells):
        return False
    for cell in decode_texts(cells):
        short, long = sorted((_digits_of(cell), digits), key=len)
        if short == long or (len(short) >= _LOCAL_DIGITS and long.endswith(short)):
            return True
    return False


def former_states(conn: Connection, campaign_id: int, seq: int) -> list[FormerState]:
    """What had become of a message before each of its retries, oldest first."""
    query = (
        select(*columns_of(FORMER_OUTCOME, FormerState))
        .where(FORMER_OUTCOME.c.campaign_id == campaign_id, FORMER_OUTCOME.c.seq == seq)
        .order_by(FORMER_OUTCOME.c.id)
    )
    return fetch_all(conn, FormerState, query)


def alternate_ids_of(conn: Connection, message: HistoryMessage) -> list[HistoryId]:
    """Further ids of a message. Read only for one that was retried, or that was in doubt."""
    query = (
        select(*columns_of(ALTERNATE_ID, HistoryId))
        .where(
            ALTERNATE_ID.c.msisdn == message.msisdn,
            ALTERNATE_ID.c.campaign_id == message.campaign_id,
            ALTERNATE_ID.c.seq == message.seq,
        )
        .order_by(ALTERNATE_ID.c.attempt_id)
    )
    return fetch_all(conn, HistoryId, query)


def attempts_of(conn: Connection, message: HistoryMessage, known: set[int]) -> list[HistoryAttempt]:
    """The requests that carried a message, oldest first: those of `known`, and refused ones.

    Of a refused request only its size is kept: it counts where it carried the whole batch.
    """
    of_message = and_(
        BATCH.c.campaign_id == message.campaign_id,
        BATCH.c.first_seq <= message.seq,
        BATCH.c.first_seq + BATCH.c.size > message.seq,
    )
    columns = columns_of(ATTEMPT, HistoryAttempt)
    carried = fetch_all(
        conn, HistoryAttempt, select(*columns).where(ATTEMPT.c.id.in_(sorted(known)))
    )
    refused: list[HistoryAttempt] = []
    if message.attempts > len(known):
        query = (
            select(*columns)
            .join_from(ATTEMPT, BATCH, BATCH.c.id == ATTEMPT.c.batch_id)
            .where(
                of_message,
                ATTEMPT.c.outcome == AttemptOutcome.REFUSED,
                ATTEMPT.c.size == BATCH.c.size,
                ATTEMPT.c.id.not_in(sorted(known)),
            )
        )
        refused = fetch_all(conn, HistoryAttempt, query)
    return sorted([*carried, *refused], key=lambda one: one.id)


def audit_rows_about(
    conn: Connection,
    message: HistoryMessage,
    former: Sequence[FormerState],
    requests: Sequence[HistoryAttempt],
) -> list[AuditRow]:
    """The audit rows that concern a message, oldest first: the whole campaign's, and its own.

    Rows about other requests, and retries and drops of other recipients, are left out.
    """
    campaign_id = message.campaign_id
    rows = list_audit_rows(conn, campaign_id=campaign_id, limit=_MOST_DECISIONS)[::-1]
    retried = {row.id for row in _retries_of(rows, former)}
    names = [f"request {one.id}" for one in requests]
    return [row for row in rows if _concerns(row, message, retried, names)]


def _retries_of(rows: Sequence[AuditRow], former: Sequence[FormerState]) -> Iterator[AuditRow]:
    """The retries that moved a message: it was moved between the retry before and the row."""
    # Doubt that is submitted again is kept too; that decision is about its request.
    moved = [one.at for one in former if one.state != MessageState.IN_DOUBT]
    earlier: datetime | None = None
    for row in rows:
        if row.action == RETRY_ACTION:
            if any(at <= row.at and (earlier is None or at > earlier) for at in moved):
                yield row
            earlier = row.at


def _concerns(
    row: AuditRow, message: HistoryMessage, retried: set[int], requests: Sequence[str]
) -> bool:
    if row.action == RETRY_ACTION:
        return row.id in retried
    if row.action == DROP_ACTION:
        # One transaction drops recipients and adds the row, with one time.
        return message.state == MessageState.CANCELLED and message.final_at == row.at
    detail = row.detail or ""
    return not detail.startswith("request ") or any(
        detail == name or detail.startswith((f"{name}:", f"{name} ")) for name in requests
    )
