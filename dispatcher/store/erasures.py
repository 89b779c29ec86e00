"""Erasures: what the store has of one number is dropped, and its messages only count any more.

A message without its number has a negative one in its place, different in each message.
"""

from collections.abc import Sequence
from datetime import datetime
from enum import StrEnum
from functools import reduce
from typing import Final, NamedTuple

from sqlalchemy import (
    ColumnElement,
    Connection,
    and_,
    case,
    delete,
    func,
    or_,
    select,
    true,
    tuple_,
    update,
)

from dispatcher.status import CampaignState, MessageState
from dispatcher.store import drops, erased_numbers, former_outcomes
from dispatcher.store.audit import add_audit_row
from dispatcher.store.fetching import columns_of, fetch_all, fetch_optional
from dispatcher.store.locks import lock_accounts, lock_campaign, lock_campaigns
from dispatcher.store.messages import pack_cells, unpack_cells
from dispatcher.store.tables import (
    ALTERNATE_ID,
    ATTEMPT,
    CAMPAIGN,
    FORMER_OUTCOME,
    MESSAGE,
    REJECT,
    REPLY,
    SOURCE_ROWS,
    SUPPRESSION,
    WAITING_RECEIPT,
)

#: The error of a message whose number and words were erased.
ERASED: Final = "erased at a person's request"
#: The name of a campaign that was a single message to the number.
ERASED_NAME: Final = "send to an erased number"
#: What people write between the digits of a number.
_BETWEEN_DIGITS: Final = " -.()/"


class Obstacle(StrEnum):
    """Why a message cannot be erased yet."""

    #: The provider may have accepted it.
    IN_DOUBT = "in doubt"
    #: A worker holds it.
    IN_FLIGHT = "in flight"
    #: The provider is still asked what became of it.
    POLLED = "polled"
    #: Its campaign is being imported.
    IMPORTING = "importing"


class NumberMessage(NamedTuple):
    """A message to the number, and until when the provider is asked about it."""

    campaign_id: int
    campaign: str
    campaign_state: str
    seq: int
    state: int
    poll_until: datetime | None

    @property
    def obstacle(self) -> Obstacle | None:
        """Why it cannot be erased yet. Whether a worker holds it is seen behind its lock."""
        if self.campaign_state == CampaignState.IMPORTING:
            return Obstacle.IMPORTING
        if self.state == MessageState.IN_DOUBT:
            return Obstacle.IN_DOUBT
        is_asked = self.state == MessageState.SUBMITTED and self.poll_until is not None
        return Obstacle.POLLED if is_asked else None


class RejectKey(NamedTuple):
    """A rejected row."""

    campaign_id: int
    row: int


class _SourceCells(NamedTuple):
    first_seq: int
    cells: bytes


class ErasureResult(NamedTuple):
    """What was erased, or what is in the way: then nothing was."""

    messages: int
    listed: int
    in_flight: Sequence[int]


def find_messages(conn: Connection, msisdn: int) -> list[NumberMessage]:
    """All messages to a number, oldest campaign first."""
    asked_until = case((ATTEMPT.c.poll_at.is_not(None), ATTEMPT.c.poll_until))
    query = (
        select(
            *columns_of(
                MESSAGE,
                NumberMessage,
                campaign=CAMPAIGN.c.name,
                campaign_state=CAMPAIGN.c.state,
                poll_until=asked_until,
            )
        )
        .join_from(MESSAGE, CAMPAIGN, CAMPAIGN.c.id == MESSAGE.c.campaign_id)
        .join(ATTEMPT, ATTEMPT.c.id == MESSAGE.c.attempt_id, isouter=True)
        .where(MESSAGE.c.msisdn == msisdn)
        .order_by(MESSAGE.c.campaign_id)
    )
    return fetch_all(conn, NumberMessage, query)


def find_rejects(conn: Connection, msisdn: int, national: str) -> list[RejectKey]:
    """Rejected rows that have the number, also those in which it could not be read.

    `national`: its digits without the country's code. All rejected rows are looked through.
    """
    digits: ColumnElement[str] = reduce(
        lambda cells, char: func.replace(cells, char, ""), _BETWEEN_DIGITS, REJECT.c.cells
    )
    unread = and_(REJECT.c.msisdn.is_(None), digits.contains(national, autoescape=True))
    query = select(*columns_of(REJECT, RejectKey)).where(or_(REJECT.c.msisdn == msisdn, unread))
    return fetch_all(conn, RejectKey, query)


def count_listed(conn: Connection, msisdn: int) -> int:
    """How many entries of the suppression list have the number."""
    query = select(func.count()).where(SUPPRESSION.c.msisdn == msisdn)
    return int(conn.execute(query).scalar_one())


def list_importing(conn: Connection) -> list[int]:
    """Campaigns that are being imported: they may yet write the number."""
    query = select(CAMPAIGN.c.id).where(CAMPAIGN.c.state == CampaignState.IMPORTING)
    return sorted(conn.execute(query).scalars())


def blank_source_row(conn: Connection, message: NumberMessage) -> None:
    """Drop the original columns of a message's row."""
    lock_campaign(conn, message.campaign_id)
    of_campaign = SOURCE_ROWS.c.campaign_id == message.campaign_id
    query = (
        select(SOURCE_ROWS.c.first_seq, SOURCE_ROWS.c.cells)
        .where(of_campaign, SOURCE_ROWS.c.first_seq <= message.seq)
        .order_by(SOURCE_ROWS.c.first_seq.desc())
        .limit(1)
    )
    found = fetch_optional(conn, _SourceCells, query)
    if found is None:
        return
    cells = unpack_cells(found.cells)
    place = message.seq - found.first_seq
    if place < len(cells) and cells[place]:
        cells[place] = []
        conn.execute(
            update(SOURCE_ROWS)
            .where(of_campaign, SOURCE_ROWS.c.first_seq == found.first_seq)
            .values(cells=pack_cells(cells))
        )


def blank_rejects(conn: Connection, keys: Sequence[RejectKey]) -> None:
    """Drop number and cells of rejected rows; that they were rejected still counts."""
    for key in keys:
        conn.execute(
            update(REJECT)
            .where(tuple_(REJECT.c.campaign_id, REJECT.c.row) == tuple_(*key))
            .values(msisdn=None, cells="[]", reason=ERASED)
        )


def erase_messages(
    conn: Connection, msisdn: int, *, rejects: int, actor: str, now: datetime
) -> ErasureResult:
    """Drop a number everywhere in one transaction, and keep it from texts by its hash.

    Pending messages are cancelled. Nothing may be changed if `in_flight` has campaigns: roll back.
    `rejects` is for the audit.
    """
    # Begins that are under way do not see the hash: wait for them.
    lock_accounts(conn, true())
    ids = sorted({one.campaign_id for one in find_messages(conn, msisdn)})
    lock_campaigns(conn, CAMPAIGN.c.id.in_(ids))
    found = find_messages(conn, msisdn)
    in_flight = [one.campaign_id for one in found if one.obstacle is not None]
    for one in found:
        if one.state == MessageState.PENDING and one.obstacle is None:
            campaign = lock_campaign(conn, one.campaign_id)
            outcome = drops.drop_recipients(conn, campaign, [msisdn], now)[msisdn]
            if outcome == drops.IN_FLIGHT:
                in_flight.append(one.campaign_id)
    if in_flight:
        return ErasureResult(0, 0, in_flight)
    _overwrite(conn)
    _blank_messages(conn, msisdn, ids)
    former_outcomes.forget_numbers(conn, FORMER_OUTCOME.c.msisdn == msisdn)
    for table in (ALTERNATE_ID, REPLY, WAITING_RECEIPT):
        conn.execute(delete(table).where(table.c.msisdn == msisdn))
    listed = conn.execute(delete(SUPPRESSION).where(SUPPRESSION.c.msisdn == msisdn)).rowcount
    erased_numbers.add_erased(conn, msisdn, actor=actor, now=now)
    add_audit_row(
        conn,
        "number erased",
        now=now,
        actor=actor,
        detail=f"{len(found)} messages of {len(ids)} campaigns, {rejects} rejected rows, "
        f"{listed} entries of the suppression list",
    )
    return ErasureResult(len(found), listed, [])


def _blank_messages(conn: Connection, msisdn: int, campaign_ids: Sequence[int]) -> None:
    conn.execute(
        update(MESSAGE)
        .where(MESSAGE.c.msisdn == msisdn)
        .values(
            msisdn=-MESSAGE.c.seq - 1,
            variables=None,
            provider_message_id=None,
            error=case((MESSAGE.c.error.is_not(None), ERASED)),
        )
    )
    # The name has the first and the last digits.
    conn.execute(
        update(CAMPAIGN)
        .where(CAMPAIGN.c.id.in_(campaign_ids), CAMPAIGN.c.one_off)
        .values(name=ERASED_NAME)
    )


def _overwrite(conn: Connection) -> None:
    if conn.dialect.name == "sqlite":
        conn.exec_driver_sql("PRAGMA secure_delete=ON")
