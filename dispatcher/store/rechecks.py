"""Campaigns for later, which are checked again at their provider before their first batch.

While `recheck_at` is set, nothing of a campaign is released. It is the time of the next check.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

from sqlalchemy import Connection, select, update

from dispatcher.status import CampaignState
from dispatcher.store.campaigns import change_state
from dispatcher.store.locks import lock_campaign
from dispatcher.store.tables import ACCOUNT, CAMPAIGN
from dispatcher.store.transitions import has_state
from dispatcher.types import Route

_OPEN = (CampaignState.SCHEDULED, CampaignState.RUNNING)
_IS_WAITING = (
    has_state(*_OPEN) & CAMPAIGN.c.finished_at.is_(None) & CAMPAIGN.c.recheck_at.is_not(None)
)


class RecheckTicket(NamedTuple):
    """A campaign to check, and the account that would send it."""

    campaign_id: int
    account: str


def due_rechecks(conn: Connection, now: datetime) -> list[RecheckTicket]:
    """Campaigns whose check is due, of accounts that nobody has paused or stopped."""
    query = (
        select(CAMPAIGN.c.id, CAMPAIGN.c.account)
        .join(ACCOUNT, ACCOUNT.c.name == CAMPAIGN.c.account)
        .where(
            _IS_WAITING,
            CAMPAIGN.c.recheck_at <= now,
            ACCOUNT.c.paused_by.is_(None),
            ACCOUNT.c.stopped_at.is_(None),
        )
        .order_by(CAMPAIGN.c.id)
    )
    return [RecheckTicket(*row) for row in conn.execute(query)]


def lease_rechecks(
    conn: Connection, tickets: Sequence[RecheckTicket], *, now: datetime, lease_until: datetime
) -> list[RecheckTicket]:
    """Those of `tickets` that are still due; the next check of each is after `lease_until`."""
    rows = conn.execute(
        update(CAMPAIGN)
        .where(
            CAMPAIGN.c.id.in_([one.campaign_id for one in tickets]),
            _IS_WAITING,
            CAMPAIGN.c.recheck_at <= now,
        )
        .values(recheck_at=lease_until)
        .returning(CAMPAIGN.c.id, CAMPAIGN.c.account)
    )
    return [RecheckTicket(*row) for row in rows]


def pass_recheck(conn: Connection, campaign_id: int, account: str, route: Route) -> bool:
    """Let a campaign be sent, with the provider's ids of its sender and template.

    With fallback accounts all ids were found when it was submitted. False if it no longer waits, or
    has moved to another account.
    """
    done = conn.execute(
        update(CAMPAIGN)
        .where(
            CAMPAIGN.c.id == campaign_id, CAMPAIGN.c.account == account, _IS_WAITING,
            CAMPAIGN.c.routes.is_(None),
        )
        .values(recheck_at=None, sender_ref=route.sender_ref, template_ref=route.template_ref)
    ).rowcount  # fmt: skip
    done += conn.execute(
        update(CAMPAIGN)
        .where(CAMPAIGN.c.id == campaign_id, CAMPAIGN.c.account == account, _IS_WAITING)
        .values(recheck_at=None)
    ).rowcount
    return bool(done)


def fail_recheck(
    conn: Connection, ticket: RecheckTicket, reason: str, now: datetime, *, again: bool
) -> bool:
    """Pause a campaign that cannot be sent. `again`: it is checked once more when it is resumed.

    False if it no longer waits, or has moved to another account: then its check was too slow.
    """
    campaign = lock_campaign(conn, ticket.campaign_id)
    if campaign.recheck_at is None or campaign.account != ticket.account:
        return False
    if not change_state(
        conn, campaign.id, _OPEN, CampaignState.PAUSED, actor="system", reason=reason, now=now
    ):
        return False
    conn.execute(
        update(CAMPAIGN)
        .where(CAMPAIGN.c.id == campaign.id)
        .values(recheck_at=now if again else None)
    )
    return True
