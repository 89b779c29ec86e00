"""The check task: a look at a provider that sends nothing, while its account waits.

An open breaker waits for any answer, an account without credit for a balance.
"""

import logging
import random

from sqlalchemy import Connection

from dispatcher.errors import ErrorKind, ProviderError
from dispatcher.policy.breaker import Breaker, has_credit_for
from dispatcher.providers.base import Provider
from dispatcher.providers.shared.answers import parse_or_none
from dispatcher.status import Kind
from dispatcher.store import accounts, health
from dispatcher.store.engine import store_now
from dispatcher.store.health import ProbeTicket
from dispatcher.store.rows import AccountRow
from dispatcher.types import Balance, HttpRequest, HttpResponse
from workers.app import PROBE, app, publish_probes
from workers.lists.status_lookup import acquire_read_slot
from workers.log_filter import log_expected_errors
from workers.services import Services, get_services

log = logging.getLogger(__name__)


@app.task(name=PROBE)
def probe_task(account: str, number: int) -> None:
    """Look at one account; an old message is a no-op."""
    services, ticket = get_services(), ProbeTicket(account, number)
    # What fails here is looked at again when the lease of this look has run out.
    with log_expected_errors(log, f"account {account} could not be looked at"):
        with services.store.write() as conn:
            row = health.lock_for_probe(conn, ticket)
        if row is None:
            return
        provider = services.provider_of(account)
        if not acquire_read_slot(services, account):
            return
        try:
            found, error = _ask_provider(services, provider), None
        except ProviderError as failure:
            found, error = [], failure
        with services.store.write() as conn:
            row = health.lock_for_probe(conn, ticket)
            if row is not None:
                _apply_result(conn, provider, row, found, error)


def release_probes(services: Services) -> None:
    """Hand out the accounts whose look is due, of those whose providers can be asked."""
    names = [
        name for name in services.settings.accounts if services.provider_of(name).can_be_probed
    ]
    with services.store.write() as conn:
        now = store_now(conn)
        tickets = health.lease_due_probes(
            conn, names, now=now, lease_until=now + services.poll_lease
        )
    publish_probes(tickets)


def _ask_provider(services: Services, provider: Provider) -> list[Balance]:
    """What is left, or nothing where the provider does not say. Raises ProviderError."""
    able = provider.capabilities

    def answer(request: HttpRequest) -> HttpResponse:
        return services.runtime.send_request(request, timeout_s=provider.settings.timeout_s)

    if able.balance:
        return parse_or_none(answer(provider.balance_request()), provider.parse_balance) or []
    if able.senders:
        parse_or_none(answer(provider.senders_request()), provider.parse_senders)
    elif able.templates:
        parse_or_none(answer(provider.templates_request()), provider.parse_templates)
    else:
        parse_or_none(answer(provider.list_request(0)), lambda found: provider.parse_list(0, found))
    return []


def _apply_result(
    conn: Connection,
    provider: Provider,
    account: AccountRow,
    found: list[Balance],
    error: ProviderError | None,
) -> None:
    """What the look means: one recipient may try, the credit is back, or another look later."""
    now = store_now(conn)
    # A refusal is an answer too, but for those of which nobody knows whose they are.
    is_silent = error is not None and error.kind in {ErrorKind.UNREACHABLE, ErrorKind.DOUBTFUL}
    if error is not None and error.kind is ErrorKind.CREDENTIALS:
        accounts.pause_account(
            conn, account.name, by=error.kind.value, reason=error.message, now=now
        )
    if account.breaker == Breaker.OPEN and not is_silent:
        health.mark_reachable(conn, account)
    elif error is not None and account.breaker is not None:
        log.warning("account %s: %s", account.name, error.message)
        health.mark_unreachable(conn, account, error.message, now=now, random=random.random)
    if account.paused_by != ErrorKind.CREDIT:
        return
    kind = Kind(account.paused_kind) if account.paused_kind is not None else None
    if has_credit_for(found, kind):
        left = ", ".join(f"{one.package} {one.amount}" for one in found)
        health.mark_credit_restored(conn, account, f"the balance is {left}", now)
        log.info("account %s has credit again", account.name)
    else:
        health.schedule_credit_check(conn, account.name, provider.settings.credit_check_s, now)
