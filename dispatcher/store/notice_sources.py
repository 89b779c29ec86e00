"""What notices are made of: campaigns with news, and balances."""

from datetime import datetime, timedelta
from typing import NamedTuple

from sqlalchemy import Connection, or_, select, update

from dispatcher.status import CampaignState
from dispatcher.store.fetching import columns_of, fetch_all
from dispatcher.store.rows import CampaignRow
from dispatcher.store.tables import ACCOUNT, CAMPAIGN


def list_recent(conn: Connection, since: datetime) -> list[CampaignRow]:
    """Campaigns that run or are paused, and those from files that have ended since then.

    Each half has its index: what was over before costs nothing, however much there is.
    """
    columns = columns_of(CAMPAIGN, CampaignRow)
    is_open = CAMPAIGN.c.finished_at.is_(None)
    states = [CampaignState.RUNNING, CampaignState.PAUSED]
    has_ended = CAMPAIGN.c.one_off.is_(False) & (CAMPAIGN.c.finished_at >= since)
    rows = fetch_all(
        conn, CampaignRow, select(*columns).where(CAMPAIGN.c.state.in_(states), is_open)
    )
    rows += fetch_all(conn, CampaignRow, select(*columns).where(has_ended))
    return sorted(rows, key=lambda row: row.id)


class BalanceTurn(NamedTuple):
    """A question for an account's balance, and when the stored balance was read."""

    account: str
    at: datetime
    former_at: datetime | None


def take_balance_turn(
    conn: Connection, account: str, now: datetime, every_s: float
) -> BalanceTurn | None:
    """The caller's turn to ask for an account's balance now; None where somebody did recently."""
    before = now - timedelta(seconds=every_s)
    former = conn.execute(select(ACCOUNT.c.balance_at).where(ACCOUNT.c.name == account))
    former_at = former.scalar_one_or_none()
    is_due = or_(
        ACCOUNT.c.balance_at.is_(None),
        ACCOUNT.c.balance_at <= before,
        ACCOUNT.c.balance_at > now,  # the clock was set back
    )
    statement = update(ACCOUNT).where(ACCOUNT.c.name == account, is_due).values(balance_at=now)
    is_taken = bool(conn.execute(statement).rowcount)
    return BalanceTurn(account, now, former_at) if is_taken else None


def give_back_turn(conn: Connection, turn: BalanceTurn) -> None:
    """Nothing was read: the stored balance is as old as before, and may be asked for again."""
    is_mine = (ACCOUNT.c.name == turn.account) & (ACCOUNT.c.balance_at == turn.at)
    conn.execute(update(ACCOUNT).where(is_mine).values(balance_at=turn.former_at))


def save_balance(conn: Connection, account: str, balance: str, now: datetime) -> None:
    """Store what is left: a JSON object of amounts, as texts, by package."""
    given = {"balance": balance, "balance_at": now}
    conn.execute(update(ACCOUNT).where(ACCOUNT.c.name == account).values(**given))
