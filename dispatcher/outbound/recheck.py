"""Asks the provider, before a campaign's first batch, whether it can be sent as it was submitted.

What it finds wrong pauses the campaign. A provider that does not answer is asked again later.
"""

import logging
from collections.abc import Callable
from decimal import Decimal

from dispatcher.errors import ErrorKind, ProviderError, Refused, TextRefused
from dispatcher.logs.events import LogEvent, log_event
from dispatcher.policy.credit import check_credit
from dispatcher.policy.routes import route_at
from dispatcher.providers.base import Provider, RequestedRoute
from dispatcher.status import Kind
from dispatcher.store import accounts, rechecks, workloads
from dispatcher.store.engine import Store, store_now
from dispatcher.store.rechecks import RecheckTicket
from dispatcher.store.rows import CampaignRow
from dispatcher.text.registered import find_misfit
from dispatcher.types import Directory, HttpRequest, HttpResponse, Route

log = logging.getLogger(__name__)

#: Makes a request that only reads. Raises NotNow and ProviderError.
Answer = Callable[[HttpRequest], HttpResponse]


class NotNow(Exception):
    """The account's rate, or the provider, leaves no room for a check now."""


def recheck_campaign(
    store: Store, campaign: CampaignRow, provider: Provider, answer: Answer
) -> str:
    """Ask the provider, and let the campaign go or pause it; returns what was done.

    `answer` makes a request, and may raise NotNow or ProviderError: then it waits on.
    """
    name, number = campaign.account, campaign.id
    ticket = RecheckTicket(number, name)
    try:
        route = _find_route(campaign, provider, answer)
        too_little = _find_shortage(store, campaign, provider, answer)
    except NotNow:
        return f"campaign {number} is checked later"
    except Refused as refusal:
        return _pause(store, ticket, refusal.message, again=True)
    except ProviderError as error:
        if error.kind is ErrorKind.CREDENTIALS:
            with store.write() as conn:
                by, now = error.kind.value, store_now(conn)
                accounts.pause_account(conn, name, by=by, reason=error.message, now=now)
        words = f"campaign {number} waits for its check: {error.message}"
        log_event(log, LogEvent.CAMPAIGN_CHECK_LATE, words, campaign=number, account=name)
        return f"campaign {number} is checked later: {error.message}"
    if too_little is not None:
        # Who resumes it has decided to send as far as the credits reach.
        return _pause(store, ticket, too_little, again=False)
    with store.write() as conn:
        passed = rechecks.pass_recheck(conn, number, name, route)
    return f"campaign {number} " + ("can be sent" if passed else "no longer waits for a check")


def _find_route(campaign: CampaignRow, provider: Provider, answer: Answer) -> Route:
    """The approved sender and template. Raises Refused where they no longer are."""
    able, stored = provider.capabilities, route_at(campaign, campaign.account)
    senders = provider.parse_senders(answer(provider.senders_request())) if able.senders else []
    templates = (
        provider.parse_templates(answer(provider.templates_request())) if able.templates else []
    )
    requested = RequestedRoute(
        kind=Kind(campaign.kind),
        sender=stored.sender_ref or stored.sender,
        template=stored.template_ref or stored.template,
    )
    route = provider.resolve_route(
        requested, Directory(senders=tuple(senders), templates=tuple(templates))
    )
    # A known id shows that text and template were compared when it was submitted.
    if stored.template_ref is None and route.template_text is not None:
        misfit = find_misfit(route.template_text, campaign.text)
        if misfit is not None:
            raise TextRefused(f"the text does not fit the template: it has {misfit.found!r}, the "
                              f"template {misfit.wanted!r}")  # fmt: skip
    return route


def _find_shortage(
    store: Store, campaign: CampaignRow, provider: Provider, answer: Answer
) -> str | None:
    """Why the balance is too little, where the provider counts a credit for each part."""
    if not provider.capabilities.credit_is_part:
        return None
    balances = provider.parse_balance(answer(provider.balance_request()))
    with store.read() as conn:
        own = [
            work
            for work in workloads.load_open_work(conn, campaign.account)
            if work.campaign.id == campaign.id
        ]
    found = check_credit(
        balances,
        Kind(campaign.kind),
        price=Decimal(1),
        parts=sum(work.parts for work in own),
        recipients=sum(work.messages for work in own),
    )
    if found is None or found.is_enough:
        return None
    return (
        f"the balance ({found.package}) is {found.balance:f}: enough for {found.reaches} of "
        f"{found.recipients} recipients; top up the account, then resume"
    )


def _pause(store: Store, ticket: RecheckTicket, reason: str, *, again: bool) -> str:
    campaign_id = ticket.campaign_id
    with store.write() as conn:
        paused = rechecks.fail_recheck(conn, ticket, reason, store_now(conn), again=again)
    if not paused:
        return f"campaign {campaign_id} no longer waits for a check"
    words = f"campaign {campaign_id} is paused: {reason}"
    log_event(log, LogEvent.CAMPAIGN_PAUSED, words, campaign=campaign_id, account=ticket.account)
    return words
