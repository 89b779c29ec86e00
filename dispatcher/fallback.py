"""Fallback: a campaign whose account is out of service goes on by the next healthy one.

Which accounts it may leave by was checked and stored when it was submitted.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import partial
from typing import NamedTuple

from sqlalchemy import Connection

from dispatcher.content import write
from dispatcher.errors import Refused
from dispatcher.gates import check_opens
from dispatcher.health import is_out
from dispatcher.messages import Recipient, Route
from dispatcher.order import Ready
from dispatcher.providers.base import Provider, ProviderSettings, RouteWish
from dispatcher.rendering import has_own_texts, render
from dispatcher.replan import Limits, Waiting
from dispatcher.routes import Leg, legs_of
from dispatcher.store import accounts, moves
from dispatcher.store.sets import AnyRow


class Moved(NamedTuple):
    """What was done for a campaign, and the account that has work by it."""

    account: str
    words: str


def checked_leg(
    ready: Ready, account: str, provider: Provider, resolve: Callable[[RouteWish], Route]
) -> Leg:
    """The way by a fallback account: its own sender and template, else the campaign's.

    Raises Refused, naming the account, where the campaign could not leave by it.
    """
    order, settings = ready.order, provider.settings
    wish = RouteWish(
        kind=order.kind,
        sender=settings.sender or order.sender,
        template=settings.template or order.template,
    )
    with named(account):
        route = resolve(wish)
        written = write(order.content, provider, route)
        if not order.timing.in_recipients_zone:
            check_opens(settings, order.wanted, (None,), datetime.now(UTC))
    if (written.text, written.template_columns) != (
        ready.written.text, ready.written.template_columns,
    ):  # fmt: skip
        raise Refused(
            f"fallback account {account}: its template is not the text of this campaign",
            "give --text, so that both accounts send the same",
        )
    return Leg(account, route)


@contextmanager
def named(account: str) -> Iterator[None]:
    """A refusal in the block names the fallback account that it is about."""
    try:
        yield
    except Refused as refusal:
        raise Refused(f"fallback account {account}: {refusal.message}", refusal.hint) from None


def in_need(
    conn: Connection, configured: Mapping[str, ProviderSettings], now: datetime
) -> list[int]:
    """Campaigns whose account is out of service, or of which something waits elsewhere."""
    known = accounts.all_accounts(conn)
    return [
        campaign.id
        for campaign in moves.with_fallback(conn)
        if _is_out(campaign.account, known, configured, now) or moves.has_elsewhere(conn, campaign)
    ]


def advance(
    conn: Connection,
    campaign_id: int,
    configured: Mapping[str, ProviderSettings],
    adapter: Callable[[str], Provider],
    now: datetime,
) -> Moved | None:
    """Go to the first healthy account, if the present one is out, and move what waits elsewhere.

    A large campaign moves in several transactions: in between, each batch is at one account or at
    the other, and none is released where the campaign no longer is.
    """
    found = next((c for c in moves.with_fallback(conn) if c.id == campaign_id), None)
    if found is None:
        return None
    names = sorted({leg.account for leg in legs_of(found)} & configured.keys())
    known = {name: row for name in names if (row := accounts.lock(conn, name)) is not None}
    campaign = moves.lock(conn, campaign_id)
    if campaign is None:
        return None
    to: str = campaign.account
    if _is_out(to, known, configured, now):
        healthy = [leg.account for leg in legs_of(campaign) if _is_healthy(known.get(leg.account))]
        if not healthy:
            return None
        to = healthy[0]
        moves.switch(conn, campaign, to, _why(known.get(campaign.account)), now)
    shown = partial(_waiting, campaign)
    count = moves.move(conn, campaign, to, _limits(adapter(to), campaign), shown, now)
    return Moved(to, f"campaign {campaign_id}: {count} pending messages moved to account {to}")


def _is_out(
    name: str,
    known: Mapping[str, AnyRow],
    configured: Mapping[str, ProviderSettings],
    now: datetime,
) -> bool:
    row, settings = known.get(name), configured.get(name)
    return row is not None and settings is not None and is_out(row, settings.fallback_after_s, now)


def _is_healthy(account: AnyRow | None) -> bool:
    return account is not None and account.paused_by is None and account.breaker is None


def _why(account: AnyRow | None) -> str:
    if account is None:
        return "it is not known any more"
    if account.paused_by is not None:
        return f"{account.name} is paused ({account.paused_by}): {account.pause_reason}"
    return f"{account.name} fails since {account.breaker_at:%H:%M} UTC: {account.breaker_reason}"


def _waiting(campaign: AnyRow, rows: Sequence[AnyRow]) -> list[Waiting]:
    recipients = render(campaign.text, rows, campaign.template_columns)
    return [Waiting(recipient, row.parts) for recipient, row in zip(recipients, rows, strict=True)]


def _limits(provider: Provider, campaign: AnyRow) -> Limits:
    texts_differ = has_own_texts(campaign)
    one_each = campaign.template_columns is not None
    several = texts_differ and not provider.capabilities.personal_texts

    def requests_of(recipients: Sequence[Recipient]) -> int:
        if one_each:
            return len(recipients)
        return len({recipient.text for recipient in recipients}) if several else 1

    return Limits(
        max_recipients=provider.chunk
        if one_each
        else provider.batch_size(texts_differ=texts_differ),
        max_bytes=provider.settings.max_request_bytes - provider.envelope_bytes,
        max_parts=None if one_each else provider.max_parts,
        bytes_of=provider.recipient_bytes,
        requests_of=requests_of,
    )
