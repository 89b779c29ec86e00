"""The probe task: calls that send nothing, to a provider whose account waits to be used again.

An open breaker waits for any answer, an account without credit for its balance.
"""

import logging
import random
from collections.abc import Callable

from sqlalchemy import Connection

from dispatcher.errors import ErrorKind, ProviderError
from dispatcher.logs.events import LogEvent, log_event
from dispatcher.policy.breaker import Breaker, has_credit_for
from dispatcher.providers.base import Provider
from dispatcher.providers.shared.answers import parse_or_none
from dispatcher.status import Kind
from dispatcher.store import accounts, health
from dispatcher.store.engine import store_now
from dispatcher.store.health import ProbeTicket
from dispatcher.store.rows import AccountRow
from dispatcher.types import Balance, HttpRequest, HttpResponse
from workers.app import app, publish_probes
from workers.broker.task_messages import PROBE
from workers.services import Services, get_services
from workers.task_report import TaskFailed, TaskReport

log = logging.getLogger(__name__)


@app.task(name=PROBE, throws=(TaskFailed,))
def probe_task(account: str, number: int) -> str:
    """Probe the provider of one account. Nothing happens if the ticket is old."""
    report = TaskReport()
    _probe(get_services(), ProbeTicket(account, number), report)
    return report.finish()


def _probe(services: Services, ticket: ProbeTicket, report: TaskReport) -> None:
    account = ticket.account
    # After an error here the next probe comes once the lease of this one has run out.
    words = f"account {account} could not be probed"
    with report.log_errors(log, LogEvent.PROBE_NOT_STORED, words, account=account):
        with services.store.write() as conn:
            row = health.lock_for_probe(conn, ticket)
        if row is None:
            return
        provider = services.provider_of(account)
        try:
            found, error = _ask_balances(services, account, provider), None
        except ProviderError as failure:
            found, error = [], failure
            report.fail(f"account {account}: {failure.message}")
        else:
            report.note(f"account {account}: its provider answers")
        if found is None:
            return
        with services.store.write() as conn:
            row = health.lock_for_probe(conn, ticket)
            if row is not None:
                _apply_result(conn, provider, row, found, error)


def release_probes(services: Services) -> None:
    """Publish the accounts that are due for a probe, if their providers can be probed."""
    with services.store.read() as conn:
        due = health.due_probes(conn, store_now(conn))
    known = [name for name in due if name in services.settings.accounts]
    names = [name for name in known if services.provider_of(name).can_be_probed]
    if not names:
        return
    with services.store.write() as conn:
        now = store_now(conn)
        tickets = health.lease_due_probes(
            conn, names, now=now, lease_until=now + services.poll_lease
        )
    publish_probes(tickets)


class _NotNow(Exception):
    """The account's rate leaves no room for a probe now."""


def _ask_balances(services: Services, account: str, provider: Provider) -> list[Balance] | None:
    """What is left, or nothing where the provider does not say; None where it was not asked.

    Raises ProviderError.
    """

    def answer(request: HttpRequest) -> HttpResponse:
        response = services.reader.send(account, request, is_probe=True)
        if response is None:
            raise _NotNow
        return response

    try:
        return _probe_with(provider, answer)
    except _NotNow:
        return None


def _probe_with(provider: Provider, answer: Callable[[HttpRequest], HttpResponse]) -> list[Balance]:
    able = provider.capabilities
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
    """Store the result: the breaker lets one request try, credit is back, or a later probe."""
    now = store_now(conn)
    # A refusal proves that the provider is up; an unreachable or unreadable reply does not.
    is_silent = error is not None and error.kind in {ErrorKind.UNREACHABLE, ErrorKind.DOUBTFUL}
    if error is not None and error.kind is ErrorKind.CREDENTIALS:
        by = error.kind.value
        if accounts.pause_account(conn, account.name, by=by, reason=error.message, now=now):
            words = f"account {account.name} is paused ({by}): {error.message}"
            log_event(log, LogEvent.ACCOUNT_PAUSED, words, account=account.name)
    if account.breaker == Breaker.OPEN and not is_silent:
        health.mark_reachable(conn, account)
    elif error is not None and account.breaker is not None:
        words = f"account {account.name}: {error.message}"
        log_event(log, LogEvent.PROBE_FAILED, words, account=account.name)
        health.mark_unreachable(conn, account, error.message, now=now, random=random.random)
    if account.paused_by != ErrorKind.CREDIT:
        return
    kind = Kind(account.paused_kind) if account.paused_kind is not None else None
    if has_credit_for(found, kind):
        left = ", ".join(f"{one.package} {one.amount}" for one in found)
        health.mark_credit_restored(conn, account, f"the balance is {left}", now)
        words = f"account {account.name} has credit again"
        log_event(log, LogEvent.CREDIT_RESTORED, words, account=account.name)
    else:
        health.schedule_credit_check(conn, account.name, provider.settings.credit_check_s, now)
