"""Row locks. Every transaction takes them in one order: account, campaign, batch.

Two transactions with different orders could wait for each other. What a decision depends on is
read after its lock, and so is the clock. A batch's messages and attempts are changed only under the
batch's lock. SQLite has one writer at a time anyway.
"""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import NamedTuple, cast

from sqlalchemy import ColumnElement, Connection, Executable, bindparam, case, exists, select

from dispatcher.status import IN_FLIGHT, BatchState
from dispatcher.store.fetching import columns_of, fetch_one, fetch_optional
from dispatcher.store.rows import AccountRow, BatchRow, CampaignRow
from dispatcher.store.table_values import NumbersParameter
from dispatcher.store.tables import ACCOUNT, BATCH, CAMPAIGN, ERASED_NUMBER, SUPPRESSION
from dispatcher.store.transitions import has_state


@dataclass(frozen=True, slots=True)
class CampaignForBegin:
    """A locked campaign, and whether there are numbers that must not be texted, or were erased."""

    campaign: CampaignRow
    has_suppressions: bool
    has_erased: bool


class BatchHold(NamedTuple):
    """How a batch is held: its newest fence and its state; and how many messages are open."""

    fence: int
    state: int
    pending: int
    submitted: int


# Made once: every batch executes them while other writers wait.
_ACCOUNT = (
    select(*columns_of(ACCOUNT, AccountRow))
    .where(ACCOUNT.c.name == bindparam("account"))
    .with_for_update()
)
_CAMPAIGN = select(*columns_of(CAMPAIGN, CampaignRow)).where(CAMPAIGN.c.id == bindparam("campaign"))
_CAMPAIGN_EXCLUSIVE = _CAMPAIGN.with_for_update()
_CAMPAIGN_SHARED = _CAMPAIGN.with_for_update(read=True)
#: Whom the store knows who must not be texted: 2 where numbers were erased, 1 if only listed.
_WITHHELD = case(
    (exists(select(ERASED_NUMBER.c.hash)), 2), (exists(select(SUPPRESSION.c.msisdn)), 1), else_=0
)
_WITHHELD_FLAGS = ((False, False), (True, False), (True, True))
_AND_LIST = _CAMPAIGN.add_columns(_WITHHELD.label("withheld"))
_CAMPAIGN_AND_LIST = _AND_LIST.with_for_update()
_CAMPAIGN_AND_LIST_SHARED = _AND_LIST.with_for_update(read=True)
_BATCH = (
    select(*columns_of(BATCH, BatchRow)).where(BATCH.c.id == bindparam("batch")).with_for_update()
)
_BATCH_HOLD = (
    select(*columns_of(BATCH, BatchHold)).where(BATCH.c.id == bindparam("batch")).with_for_update()
)

_QUEUED_OF_BUNDLE = (
    select(BATCH.c.id)
    .where(
        BATCH.c.account == bindparam("of_account"),
        has_state(*IN_FLIGHT),
        has_state(BatchState.QUEUED),
        BATCH.c.bundle == bindparam("key"),
    )
    .order_by(BATCH.c.id)
    .with_for_update()
)


@cache
def _campaigns_stmt(dialect: str) -> tuple[Executable, NumbersParameter]:
    ids = NumbersParameter(dialect, "campaigns")
    query = select(*columns_of(CAMPAIGN, CampaignRow), _WITHHELD.label("withheld"))
    query = query.where(ids.contains(CAMPAIGN.c.id)).order_by(CAMPAIGN.c.id)
    return query.with_for_update(read=True), ids


@cache
def _batches_stmt(dialect: str) -> tuple[Executable, NumbersParameter]:
    ids = NumbersParameter(dialect, "batches")
    query = select(BATCH.c.id, *columns_of(BATCH, BatchHold)).where(ids.contains(BATCH.c.id))
    return query.order_by(BATCH.c.id).with_for_update(), ids


def lock_account(conn: Connection, name: str) -> AccountRow | None:
    """Lock an account's row; None where there is none. Releases of the account wait here."""
    return fetch_optional(conn, AccountRow, _ACCOUNT, {"account": name})


def lock_accounts(conn: Connection, condition: ColumnElement[bool]) -> list[str]:
    """Lock the accounts that meet a condition, in the order of their names, which it returns.

    A begin that has one of them already has begun; one that gets it later sees what is changed now.
    """
    query = select(ACCOUNT.c.name).where(condition).order_by(ACCOUNT.c.name)
    return list(conn.execute(query.with_for_update()).scalars())


def lock_campaign(conn: Connection, campaign_id: int) -> CampaignRow:
    """Lock a campaign's row. Lock its account first, where that is locked too."""
    return fetch_one(conn, CampaignRow, _CAMPAIGN_EXCLUSIVE, {"campaign": campaign_id})


def lock_campaigns(conn: Connection, condition: ColumnElement[bool]) -> list[int]:
    """Lock the campaigns that meet a condition, in the order of their ids, which it returns."""
    # Found first: with ORDER BY, SQLite would rather read the whole table than a partial index.
    found = list(conn.execute(select(CAMPAIGN.c.id).where(condition)).scalars())
    if not found:
        return []
    query = select(CAMPAIGN.c.id).where(CAMPAIGN.c.id.in_(found), condition)
    return list(conn.execute(query.order_by(CAMPAIGN.c.id).with_for_update()).scalars())


def lock_campaign_shared(conn: Connection, campaign_id: int) -> CampaignRow:
    """Keep a campaign's row from being changed; others may do so at the same time."""
    return fetch_one(conn, CampaignRow, _CAMPAIGN_SHARED, {"campaign": campaign_id})


def lock_campaign_for_begin(
    conn: Connection, campaign_id: int, *, is_shared: bool
) -> CampaignForBegin:
    """Lock a campaign's row, and look whether the suppression list has numbers.

    In one statement: most stores have an empty list, and each statement of a begin counts.
    """
    lock = _CAMPAIGN_AND_LIST_SHARED if is_shared else _CAMPAIGN_AND_LIST
    *columns, withheld = conn.execute(lock, {"campaign": campaign_id}).one()
    return CampaignForBegin(CampaignRow._make(columns), *_WITHHELD_FLAGS[withheld])


def lock_batch(conn: Connection, batch_id: int) -> BatchRow:
    """Lock a batch's row. Lock its account and campaign first, where they are locked too."""
    return fetch_one(conn, BatchRow, _BATCH, {"batch": batch_id})


def lock_batch_hold(conn: Connection, batch_id: int) -> BatchHold:
    """Lock a batch's row, and read only how it is held."""
    return fetch_one(conn, BatchHold, _BATCH_HOLD, {"batch": batch_id})


def lock_campaigns_for_begin(
    conn: Connection, campaign_ids: Collection[int]
) -> dict[int, CampaignForBegin]:
    """As `lock_campaign_for_begin`, shared, for several campaigns by id."""
    query, ids = _campaigns_stmt(conn.dialect.name)
    rows: Iterable[Sequence[object]] = conn.execute(query, ids.to_parameters(campaign_ids))
    found = {}
    for *columns, withheld in rows:
        campaign = CampaignRow._make(columns)
        found[campaign.id] = CampaignForBegin(campaign, *_WITHHELD_FLAGS[cast("int", withheld)])
    return found


def lock_batches(conn: Connection, batch_ids: Collection[int]) -> dict[int, BatchHold]:
    """Lock batches, in the order of their ids, and read only how they are held, by id."""
    query, ids = _batches_stmt(conn.dialect.name)
    rows: Iterable[Sequence[int]] = conn.execute(query, ids.to_parameters(batch_ids))
    return {batch_id: BatchHold._make(hold) for batch_id, *hold in rows}


def lock_queued_bundle(conn: Connection, account: str, key: str) -> list[int]:
    """Lock the queued batches of a bundle, in the order of their ids, which it returns."""
    wanted = {"of_account": account, "key": key}
    return [*conn.execute(_QUEUED_OF_BUNDLE, wanted).scalars()]
