"""The reconcile task: doubtful recipients are looked for in the provider's own list.

Where there is no list, or it settles nothing, the campaign's `--on-doubt` decides.
"""

import logging
from collections.abc import Sequence
from datetime import datetime, timedelta

from dispatcher.errors import DispatcherError, ProviderError
from dispatcher.policy.reconciliation import SCANS_AT_ONCE, ListScan
from dispatcher.providers.base import Provider
from dispatcher.store import doubts, listed_messages
from dispatcher.store.doubts import DoubtfulRequest, ReconcileTicket
from dispatcher.store.engine import store_now
from dispatcher.store.rows import UnscheduledDoubt
from dispatcher.types import ListPage
from workers.app import RECONCILE, app, publish_reconciles
from workers.lists.doubt import settle_doubt
from workers.lists.status_lookup import RepeatedPageDetector, acquire_read_slot
from workers.log_filter import log_expected_errors
from workers.services import Services, get_services

log = logging.getLogger(__name__)

#: A list longer than this has no end: its pages go round.
_MOST_PAGES = 20_000


@app.task(name=RECONCILE)
def reconcile_task(account: str, number: int) -> None:
    """Look at an account's list for everybody whose doubt is due; an old message is a no-op."""
    services, ticket = get_services(), ReconcileTicket(account, number)
    # What fails here begins again when the lease of this look has run out.
    with log_expected_errors(log, f"doubts at account {account} could not be settled"):
        with services.store.write() as conn:
            now = store_now(conn)
            if not doubts.renew_reconciliation(conn, ticket, now + services.poll_lease):
                return
            due = doubts.due_doubts(conn, account, now)
        _reconcile_due(services, ticket, due)
        with services.store.write() as conn:
            doubts.renew_reconciliation(conn, ticket, None)


def release_reconciles(services: Services) -> None:
    """Plan what fell in doubt, and hand out the accounts whose doubts are due."""
    with services.store.write() as conn:
        now = store_now(conn)
        unplanned = doubts.unscheduled_doubts(conn)
        doubts.schedule_reconciliation(
            conn,
            {
                row.id: first_reconcile_at(services, row)
                for row in unplanned
                if row.account in services.settings.accounts
            },
        )
        lease_until = now + services.poll_lease
        names = services.settings.accounts
        tickets = doubts.lease_reconciliations(
            conn, names, now=now, lease_until=lease_until, limit=SCANS_AT_ONCE
        )
    publish_reconciles(tickets)


def first_reconcile_at(services: Services, doubt: UnscheduledDoubt) -> datetime | None:
    """When something is first done about a request in doubt; None: a person has to decide.

    Such servers go on sending after the client has gone: the list is looked at a timeout and
    `reconcile_after_s` after the deadline. Without one, the rule waits a lease longer.
    """
    if doubt.contact_lists is not None:
        return None  # its one message stands for people whom nobody here knows
    provider, worker = services.provider_of(doubt.account), services.settings.worker
    ended: datetime = max(doubt.deadline, doubt.schedule_at or doubt.deadline)
    settled = ended + timedelta(seconds=provider.settings.timeout_s + worker.reconcile_after_s)
    if provider.capabilities.lists_accepted:
        return settled
    return None if doubt.on_doubt == "hold" else settled + services.lease


def _reconcile_due(
    services: Services, ticket: ReconcileTicket, due: Sequence[DoubtfulRequest]
) -> None:
    provider = services.provider_of(ticket.account)
    look = ListScan({r.msisdn for doubtful in due for r in doubtful.recipients})
    if due and provider.capabilities.lists_accepted:
        _read_list(services, ticket, provider, look, min(doubtful.begun_at for doubtful in due))
        if services.stopping.is_set():
            return
    for doubtful in due:
        with services.store.write() as conn:
            said = settle_doubt(services, conn, provider, doubtful, look)
        log.info("request %d in doubt: %s", doubtful.id, said)


def _read_list(
    services: Services,
    ticket: ReconcileTicket,
    provider: Provider,
    look: ListScan,
    oldest: datetime,
) -> None:
    """Read pages, newest first, down to one that is older than needed."""
    is_repeated = RepeatedPageDetector()
    page: int | None = 0
    for _ in range(_MOST_PAGES):
        assert page is not None
        try:
            listed = _get_page(services, ticket.account, provider, page)
        except ProviderError as error:
            log.warning("account %s: its list cannot be read: %s", ticket.account, error.message)
            return
        if listed is None or is_repeated(listed):
            return
        with services.store.write() as conn:
            look.add_page(
                listed, listed_messages.find_answer_times(conn, ticket.account, listed.entries)
            )
            if not doubts.renew_reconciliation(conn, ticket, store_now(conn) + services.poll_lease):
                raise DispatcherError(f"another worker looks at the list of {ticket.account}")
        page = listed.next_page
        if page is None or look.reaches_back_to(oldest):
            look.is_complete = True
            return
    log.warning("account %s: its list has no end", ticket.account)


def _get_page(services: Services, account: str, provider: Provider, page: int) -> ListPage | None:
    """One page, within the account's rate; None where this process is to end."""
    while not acquire_read_slot(services, account):
        if services.stopping.wait(1.0):
            return None
    response = services.runtime.send_request(
        provider.list_request(page), timeout_s=provider.settings.timeout_s
    )
    return provider.parse_list(page, response)
