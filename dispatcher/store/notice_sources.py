"""What notices are made of: campaigns with news, and balances."""

from datetime import datetime, timedelta

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


def take_balance_turn(conn: Connection, account: str, now: datetime, every_s: float) -> bool:
    """Whether the caller is to ask for an account's balance now: nobody did so recently."""
    before = now - timedelta(seconds=every_s)
    is_due = or_(
        ACCOUNT.c.balance_at.is_(None),
        ACCOUNT.c.balance_at <= before,
        ACCOUNT.c.balance_at > now,  # the clock was set back
    )
    statement = update(ACCOUNT).where(ACCOUNT.c.name == account, is_due).values(balance_at=now)
    return bool(conn.execute(statement).rowcount)


def save_balance(conn: Connection, account: str, balance: str, now: datetime) -> None:
    """Store what is left: a JSON object of amounts, as texts, by package."""
    given = {"balance": balance, "balance_at": now}
    conn.execute(update(ACCOUNT).where(ACCOUNT.c.name == account).values(**given))
