"""Find campaigns, and count their messages, batches and polls. Nothing here changes a row."""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import (
    ColumnElement,
    Connection,
    and_,
    func,
    or_,
    select,
    true,
)

from dispatcher.status import IN_FLIGHT, BatchState, CampaignState, MessageState
from dispatcher.store.fetching import columns_of, fetch_all, fetch_one, fetch_optional
from dispatcher.store.row_parts import NextBatch, PollTimes, StateCount
from dispatcher.store.rows import BatchRow, CampaignRow
from dispatcher.store.tables import ATTEMPT, BATCH, CAMPAIGN
from dispatcher.store.transitions import has_state

#: Final states of messages that no provider accepted. `failed` is not one: a person may have given
#: up a doubt.
_UNSENT = frozenset(
    {
        MessageState.CANCELLED,
        MessageState.LAPSED,
        MessageState.REJECTED,
        MessageState.SUPPRESSED,
    }
)


#: The per-state counters of a batch, by the state's public name.
COUNTERS = (*(state.label for state in MessageState), "no_receipt")
_ROWS = select(*columns_of(CAMPAIGN, CampaignRow))


def find_by_name(conn: Connection, name: str) -> list[CampaignRow]:
    """The campaigns with this name, newest first; rejected ones only where no other has it."""
    query = _ROWS.where(CAMPAIGN.c.name == name).order_by(CAMPAIGN.c.id.desc())
    named = fetch_all(conn, CampaignRow, query)
    return [row for row in named if row.state != CampaignState.REJECTED] or named


@dataclass(frozen=True, slots=True, kw_only=True)
class CampaignFilter:
    """Which campaigns are listed: those that meet all that is given.

    `search` is a part of the name, the text or the file's name, in any case.
    """

    states: Sequence[str] = ()
    account: str | None = None
    since: datetime | None = None
    search: str | None = None

    @property
    def condition(self) -> ColumnElement[bool]:
        """The condition that selects them."""
        conditions: list[ColumnElement[bool]] = [true()]
        if self.states:
            conditions.append(CAMPAIGN.c.state.in_(self.states))
        if self.account is not None:
            conditions.append(CAMPAIGN.c.account == self.account)
        if self.since is not None:
            conditions.append(CAMPAIGN.c.created_at >= self.since)
        if self.search is not None:
            part = self.search.lower()
            searched = (CAMPAIGN.c.name, CAMPAIGN.c.text, CAMPAIGN.c.source_name)
            found = (func.lower(column).contains(part, autoescape=True) for column in searched)
            conditions.append(or_(*found))
        return and_(*conditions)


def list_newest(
    conn: Connection,
    *,
    limit: int,
    only: CampaignFilter | None = None,
    single: bool | None = None,
) -> list[CampaignRow]:
    """The newest `limit` campaigns that meet the filter.

    `single`: only the messages of `dispatcher send` and `--test-to`, or only campaigns from files.
    """
    query = _ROWS.order_by(CAMPAIGN.c.id.desc()).limit(limit)
    if single is not None:
        query = query.where(CAMPAIGN.c.one_off.is_(single))
    if only is not None:
        query = query.where(only.condition)
    return fetch_all(conn, CampaignRow, query)


def newest_names(conn: Connection, limit: int = 200) -> list[str]:
    """The names of the newest campaigns from files."""
    query = select(CAMPAIGN.c.name).where(CAMPAIGN.c.one_off.is_(False))
    return list(conn.execute(query.order_by(CAMPAIGN.c.id.desc()).limit(limit)).scalars())


def list_since(conn: Connection, since: datetime, account: str | None = None) -> list[CampaignRow]:
    """Campaigns created since then, newest first; only those of `account` where that is given.

    Imports that are under way, and what was rejected as a whole, are left out.
    """
    query = _ROWS.where(
        CAMPAIGN.c.created_at >= since,
        CAMPAIGN.c.state.not_in([CampaignState.IMPORTING, CampaignState.REJECTED]),
    )
    if account is not None:
        query = query.where(CAMPAIGN.c.account == account)
    return fetch_all(conn, CampaignRow, query.order_by(CAMPAIGN.c.id.desc()))


def list_open(
    conn: Connection, *, states: Collection[CampaignState], accounts: Collection[str] = ()
) -> list[CampaignRow]:
    """The campaigns in one of `states` that are not over, oldest first.

    Only those of `accounts`, where that is not empty.
    """
    query = _ROWS.where(CAMPAIGN.c.finished_at.is_(None), has_state(*states))
    if accounts:
        query = query.where(CAMPAIGN.c.account.in_(accounts))
    return fetch_all(conn, CampaignRow, query.order_by(CAMPAIGN.c.id))


def count_messages(conn: Connection, campaign_ids: Sequence[int]) -> dict[int, dict[str, int]]:
    """Messages per campaign and state, summed over batches: the message table is not scanned."""
    sums = [func.coalesce(func.sum(BATCH.c[name]), 0).label(name) for name in COUNTERS]
    rows = conn.execute(
        select(BATCH.c.campaign_id, *sums)
        .where(BATCH.c.campaign_id.in_(campaign_ids))
        .group_by(BATCH.c.campaign_id)
    )
    sums_of: Iterable[Sequence[int]] = rows
    none = dict.fromkeys(COUNTERS, 0)
    found = {
        campaign_id: dict(zip(COUNTERS, counts, strict=True)) for campaign_id, *counts in sums_of
    }
    return {campaign_id: found.get(campaign_id, dict(none)) for campaign_id in campaign_ids}


def count_batches(conn: Connection, campaign_id: int) -> dict[str, int]:
    """The campaign's batches per state."""
    query = (
        select(*columns_of(BATCH, StateCount, n=func.count()))
        .where(BATCH.c.campaign_id == campaign_id)
        .group_by(BATCH.c.state)
    )
    rows = fetch_all(conn, StateCount, query)
    counts = {state.label: 0 for state in BatchState}
    return counts | {BatchState(row.state).label: row.n for row in rows}


def next_batch(conn: Connection, campaign_id: int) -> NextBatch | None:
    """The pending batch that may be released first; None if none is pending."""
    query = (
        select(*columns_of(BATCH, NextBatch))
        .where(BATCH.c.campaign_id == campaign_id, has_state(BatchState.PENDING))
        .order_by(BATCH.c.not_before.nulls_first())
        .limit(1)
    )
    return fetch_optional(conn, NextBatch, query)


def list_troubled_batches(conn: Connection, campaign_id: int, limit: int) -> list[BatchRow]:
    """Its batches that are not settled and whose last try failed, the most tried first."""
    query = (
        select(*columns_of(BATCH, BatchRow))
        .where(
            BATCH.c.campaign_id == campaign_id,
            BATCH.c.error.is_not(None),
            has_state(BatchState.PENDING, *IN_FLIGHT),
        )
        .order_by(BATCH.c.tries.desc(), BATCH.c.seq)
        .limit(limit)
    )
    return fetch_all(conn, BatchRow, query)


def list_batches(conn: Connection, campaign_id: int) -> list[BatchRow]:
    """The campaign's batches in order."""
    query = select(*columns_of(BATCH, BatchRow)).where(BATCH.c.campaign_id == campaign_id)
    return fetch_all(conn, BatchRow, query.order_by(BATCH.c.seq))


def find_same_content(
    conn: Connection, content_keys: Collection[str], since: datetime
) -> CampaignRow | None:
    """The newest campaign with this content that was accepted after `since`.

    One that is over, and of which nothing was sent, does not count.
    """
    query = _ROWS.where(
        CAMPAIGN.c.content_key.in_(content_keys),
        CAMPAIGN.c.created_at > since,
        CAMPAIGN.c.state.not_in([CampaignState.IMPORTING, CampaignState.REJECTED]),
    ).order_by(CAMPAIGN.c.id.desc())
    same = fetch_all(conn, CampaignRow, query)
    counts = count_messages(conn, [row.id for row in same])
    return next((row for row in same if _may_reach_anybody(row, counts[row.id])), None)


def _may_reach_anybody(campaign: CampaignRow, counts: dict[str, int]) -> bool:
    is_over = campaign.state in {CampaignState.CANCELLED, CampaignState.FINISHED}
    return not is_over or any(counts[state.label] for state in MessageState if state not in _UNSENT)


def find_by_idempotency_key(conn: Connection, key: str) -> CampaignRow | None:
    """The campaign that was submitted with this key."""
    query = _ROWS.where(CAMPAIGN.c.idempotency_key == key)
    return fetch_optional(conn, CampaignRow, query)


def load_poll_times(conn: Connection, campaign_id: int) -> PollTimes:
    """How many accepted requests of the campaign are still polled (`n`), and when next."""
    query = select(func.count().label("n"), func.min(ATTEMPT.c.poll_at).label("next_at")).where(
        ATTEMPT.c.campaign_id == campaign_id, ATTEMPT.c.poll_at.is_not(None)
    )
    return fetch_one(conn, PollTimes, query)
