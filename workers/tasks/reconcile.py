"""The reconcile task: looks for doubtful recipients in the provider's own list.

Where there is no list, or it settles nothing, the campaign's `--on-doubt` decides.
"""

import logging
from collections.abc import Sequence
from datetime import datetime, timedelta

from dispatcher.errors import DispatcherError, ProviderError
from dispatcher.logs.events import LogEvent, log_event
from dispatcher.policy.reconciliation import SCANS_AT_ONCE, ListScan
from dispatcher.providers.base import Provider
from dispatcher.store import doubts, listed_messages
from dispatcher.store.doubts import DoubtfulRequest, ReconcileTicket
from dispatcher.store.engine import store_now
from dispatcher.store.row_parts import UnscheduledDoubt
from workers.app import app, publish_reconciles
from workers.broker.task_messages import RECONCILE
from workers.lists.doubt import settle_doubt
from workers.lists.pages import ReadingStopped, read_pages
from workers.services import Services, get_services
from workers.task_report import TaskFailed, TaskReport

log = logging.getLogger(__name__)


@app.task(name=RECONCILE, throws=(TaskFailed,))
def reconcile_task(account: str, number: int) -> str:
    """Settle the account's doubts that are due. Nothing happens if the ticket is old."""
    report = TaskReport()
    _reconcile(get_services(), ReconcileTicket(account, number), report)
    return report.finish()


def _reconcile(services: Services, ticket: ReconcileTicket, report: TaskReport) -> None:
    account = ticket.account
    # After an error here the next reconciliation begins once the lease of this one has run out.
    words = f"doubts at account {account} could not be settled"
    with report.log_errors(log, LogEvent.DOUBT_NOT_SETTLED, words, account=account):
        with services.store.write() as conn:
            now = store_now(conn)
            if not doubts.renew_reconciliation(conn, ticket, now + services.poll_lease):
                return
            due = doubts.due_doubts(conn, account, now)
        _reconcile_due(services, ticket, due, report)
        with services.store.write() as conn:
            doubts.renew_reconciliation(conn, ticket, None)


def release_reconciles(services: Services) -> None:
    """Schedule new doubts, and publish the accounts that have doubts due."""
    with services.store.read() as conn:
        if not doubts.has_due_doubts(conn, store_now(conn)):
            return
    with services.store.write() as conn:
        now = store_now(conn)
        names = services.settings.accounts
        unscheduled = doubts.unscheduled_doubts(conn, names)
        doubts.schedule_reconciliation(
            conn, {row.id: first_reconcile_at(services, row) for row in unscheduled}
        )
        lease_until = now + services.poll_lease
        tickets = doubts.lease_reconciliations(
            conn, names, now=now, lease_until=lease_until, limit=SCANS_AT_ONCE
        )
    publish_reconciles(tickets)


def first_reconcile_at(services: Services, doubt: UnscheduledDoubt) -> datetime | None:
    """When a request in doubt is first reconciled; None if a person has to decide.

    A server may go on sending after its client has gone. So the list is read a timeout and
    `reconcile_after_s` after the deadline. Without a list, `--on-doubt` waits a lease longer.
    """
    if doubt.contact_lists is not None:
        return None  # its only message stands for a whole list of people
    provider, worker = services.provider_of(doubt.account), services.settings.worker
    ended: datetime = max(doubt.deadline, doubt.schedule_at or doubt.deadline)
    settled = ended + timedelta(seconds=provider.settings.timeout_s + worker.reconcile_after_s)
    if provider.capabilities.lists_accepted:
        return settled
    return None if doubt.on_doubt == "hold" else settled + services.lease


def _reconcile_due(
    services: Services,
    ticket: ReconcileTicket,
    due: Sequence[DoubtfulRequest],
    report: TaskReport,
) -> None:
    provider = services.provider_of(ticket.account)
    scan = ListScan({r.msisdn for doubtful in due for r in doubtful.recipients})
    if due and provider.capabilities.lists_accepted:
        oldest = min(doubtful.begun_at for doubtful in due)
        _scan_list(services, ticket, provider, scan, oldest, report)
        if services.stopping.is_set():
            return
    for doubtful in due:
        with services.store.write() as conn:
            done = settle_doubt(services, conn, provider, doubtful, scan)
        words = f"request {doubtful.id} in doubt: {done}"
        log_event(log, LogEvent.DOUBT_SETTLED, words, **doubtful.log_fields)
        report.note(words)


def _scan_list(
    services: Services,
    ticket: ReconcileTicket,
    provider: Provider,
    scan: ListScan,
    oldest: datetime,
    report: TaskReport,
) -> None:
    """Add pages to `scan`, down to one that is older than `oldest`."""
    account = ticket.account
    try:
        for page in read_pages(services, provider, account, is_patient=True):
            with services.store.write() as conn:
                known = listed_messages.find_answer_times(conn, account, page.entries)
                scan.add_page(page, known)
                lease_until = store_now(conn) + services.poll_lease
                if not doubts.renew_reconciliation(conn, ticket, lease_until):
                    raise DispatcherError(f"another worker reads the list of {account}")
            if page.next_page is None or scan.reaches_back_to(oldest):
                scan.is_complete = True
                return
    except ReadingStopped:
        return
    except ProviderError as error:
        words = f"account {account}: its list cannot be read: {error.message}"
        log_event(log, LogEvent.LIST_UNREADABLE, words, account=account)
        report.fail(words)
