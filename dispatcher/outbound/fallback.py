"""Fallback: a campaign whose account is out of service goes on at the next healthy one.

Its fallback accounts were checked and stored when it was submitted.
"""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from functools import partial
from typing import NamedTuple

from sqlalchemy import Connection

from dispatcher.campaigns.rendering import needs_own_requests, render_messages
from dispatcher.policy.breaker import describe_outage, is_unavailable
from dispatcher.policy.rebatching import BatchLimits, WaitingMessage
from dispatcher.policy.routes import account_routes
from dispatcher.providers.base import Provider
from dispatcher.providers.shared.settings import ProviderSettings
from dispatcher.status import CampaignState
from dispatcher.store import accounts, fallback_moves
from dispatcher.store.locks import lock_account, lock_campaign
from dispatcher.store.row_parts import WaitingRow
from dispatcher.store.rows import AccountRow, CampaignRow
from dispatcher.types import Recipient


class Moved(NamedTuple):
    """A move of a campaign: the account that now has work, and a sentence for the log."""

    account: str
    words: str


def find_campaigns_to_move(
    conn: Connection, configured: Mapping[str, ProviderSettings], now: datetime
) -> list[int]:
    """Find campaigns whose account is out of service, or that have batches at another account."""
    found = fallback_moves.list_with_fallback(conn)
    if not found:
        return []
    known, split = accounts.all_accounts(conn), fallback_moves.list_split(conn)
    return [
        campaign.id
        for campaign in found
        if campaign.id in split or _is_out(campaign.account, known, configured, now)
    ]


def move_campaign(
    conn: Connection,
    campaign_id: int,
    configured: Mapping[str, ProviderSettings],
    adapter: Callable[[str], Provider],
    now: datetime,
) -> Moved | None:
    """Move a campaign to its first healthy account if its own is out of service.

    Also moves batches that wait at another account than the campaign's. None if nothing changed. A
    large campaign takes several calls. Between them every batch is at one account or the other, and
    only those at the campaign's account are released.
    """
    found = next((c for c in fallback_moves.list_with_fallback(conn) if c.id == campaign_id), None)
    if found is None:
        return None
    names = sorted({leg.account for leg in account_routes(found)} & configured.keys())
    known = {name: row for name in names if (row := lock_account(conn, name)) is not None}
    campaign = lock_campaign(conn, campaign_id)
    if campaign.state != CampaignState.RUNNING:
        return None
    to = campaign.account
    if _is_out(to, known, configured, now):
        healthy = [
            leg.account for leg in account_routes(campaign) if _is_healthy(known.get(leg.account))
        ]
        if not healthy:
            return None
        to = healthy[0]
        fallback_moves.switch_account(
            conn, campaign, to, _explain_move(known.get(campaign.account)), now
        )
    shown = partial(_waiting_recipients, campaign)
    count = fallback_moves.move_batches(
        conn, campaign, to, _batch_limits(adapter(to), campaign), shown, now
    )
    return Moved(to, f"campaign {campaign_id}: {count} pending messages moved to account {to}")


def _is_out(
    name: str,
    known: Mapping[str, AccountRow],
    configured: Mapping[str, ProviderSettings],
    now: datetime,
) -> bool:
    row, settings = known.get(name), configured.get(name)
    return (
        row is not None
        and settings is not None
        and is_unavailable(row, settings.fallback_after_s, now)
    )


def _is_healthy(account: AccountRow | None) -> bool:
    return account is not None and not account.is_closed and account.breaker is None


def _explain_move(account: AccountRow | None) -> str:
    if account is None:
        return "it is no longer in the store"
    return describe_outage(account) or "it is unavailable"


def _waiting_recipients(campaign: CampaignRow, rows: Sequence[WaitingRow]) -> list[WaitingMessage]:
    recipients = render_messages(campaign.text, rows, campaign.template_columns)
    return [
        WaitingMessage(recipient, row.parts)
        for recipient, row in zip(recipients, rows, strict=True)
    ]


def _batch_limits(provider: Provider, campaign: CampaignRow) -> BatchLimits:
    one_each = campaign.template_columns is not None
    several = needs_own_requests(campaign, provider)

    def requests_of(recipients: Sequence[Recipient]) -> int:
        if one_each:
            return len(recipients)
        return len({recipient.text for recipient in recipients}) if several else 1

    return BatchLimits(
        size=provider.batch_size(needs_requests=several, rate=campaign.rate),
        max_bytes=provider.settings.max_request_bytes - provider.envelope_bytes,
        max_parts=None if one_each else provider.max_parts,
        bytes_of=provider.recipient_bytes,
        requests_of=requests_of,
    )
