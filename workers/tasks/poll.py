"""The poll task: asks what became of an accepted request, and stores the receipts."""

import logging
from collections.abc import Sequence
from datetime import datetime, timedelta
from operator import attrgetter
from time import monotonic
from typing import NamedTuple

from dispatcher.errors import ProviderError
from dispatcher.logs.events import LogEvent, log_event
from dispatcher.policy.fair_queue import poll_delay
from dispatcher.policy.verdict import plausible_cost
from dispatcher.providers.base import Provider
from dispatcher.status import MessageState
from dispatcher.store import polls
from dispatcher.store.engine import store_now
from dispatcher.store.polls import PolledRequest, PollTicket
from dispatcher.store.receipts import Receipt, store_receipts
from dispatcher.tuples import make_tuples
from dispatcher.types import DeliveryReport, PollRef, PollTarget
from workers.app import app, publish_polls
from workers.broker.task_messages import POLL
from workers.lists.status_lookup import has_message_list, scan_statuses
from workers.release_clock import ReleaseClock
from workers.services import Services, get_services
from workers.task_report import TaskFailed, TaskReport

log = logging.getLogger(__name__)

#: Due requests that join one scan of an account's list at a time, up to so many messages in all.
_JOINED_REQUESTS = 500
_JOINED_MESSAGES = 5000
#: Requests whose receipts are stored in one transaction, so that submissions need not wait long.
_SETTLED_TOGETHER = 10
_SUBMITTED = MessageState.SUBMITTED
#: How long after the validity period a last poll that failed is tried again.
_LATE_POLLS = timedelta(days=1)


#: Polls of all accounts share their slots.
_release_clock = ReleaseClock()


class _StoreClock:
    """The store's clock: read once in a transaction, then advanced by this process's clock."""

    def __init__(self, now: datetime) -> None:
        self._read, self._read_at = now, monotonic()

    def now(self) -> datetime:
        return self._read + timedelta(seconds=monotonic() - self._read_at)


class _PollResult(NamedTuple):
    """What was learned about a request. `is_impossible`: its server has no status to give."""

    polled: PolledRequest
    reports: list[DeliveryReport]
    failed: bool
    is_impossible: bool = False


@app.task(name=POLL, throws=(TaskFailed,))
def poll_task(attempt_id: int, number: int) -> str:
    """Poll one accepted request. Nothing happens if the ticket is old."""
    report = TaskReport()
    _poll(get_services(), attempt_id, number, report)
    return report.finish()


def _poll(services: Services, attempt_id: int, number: int, report: TaskReport) -> None:
    what = f"request {attempt_id} could not be polled"
    # After an error here the next poll comes once the lease of this one has run out.
    with report.log_errors(log, LogEvent.POLL_NOT_STORED, what, attempt=attempt_id):
        with services.store.read() as conn:
            polled = polls.load_poll(conn, attempt_id, number)
            clock = _StoreClock(store_now(conn))
        if polled is None:
            return
        _release_clock.note_claimed(POLL)
        try:
            with report.log_errors(log, LogEvent.POLL_NOT_STORED, what, attempt=attempt_id):
                _poll_request(services, polled, clock, report)
        finally:
            is_due = _release_clock.free_slots(POLL, 1, services.settings.worker.max_polls)
        if is_due:
            _release_clock.start_release(POLL)
            if not services.stopping.is_set():
                release_polls(services)


def release_polls(services: Services) -> None:
    """Publish due polls, so that at most `max_polls` are under way."""
    worker = services.settings.worker
    with services.store.read() as conn:
        if not polls.has_due_polls(conn, store_now(conn)):
            return
    with services.store.write() as conn:
        now = store_now(conn)
        lease_until = now + services.poll_lease
        tickets = polls.lease_due_polls(
            conn,
            now=now,
            lease_until=lease_until,
            limit=worker.max_polls,
            per_account=max(1, worker.max_polls - len(services.settings.accounts) + 1),
            one_look=[
                n for n in services.settings.accounts if has_message_list(services.provider_of(n))
            ],
        )
    publish_polls(tickets)


def _poll_request(
    services: Services, polled: PolledRequest, clock: _StoreClock, report: TaskReport
) -> None:
    provider = services.provider_of(polled.account)
    if not polled.open or not has_message_list(provider):
        reports, failed = (
            _ask_provider(services, provider, polled, report) if polled.open else ([], False)
        )
        _settle_polls(services, provider, [_PollResult(polled, reports, failed)], clock, report)
        return
    group = [polled, *_join_due_requests(services, polled)]
    leases = _PollLeases(services, group)
    scan = scan_statuses(services, provider, group, leases.renew_if_due)
    asks, failed = scan.needs_single_lookups, scan.failed
    results = []
    # Batches are locked in this order everywhere.
    for each in sorted(group, key=attrgetter("batch_id", "id")):
        reports, unseen = scan.reports_of(each), scan.only_unseen(each)
        if asks and unseen.open:
            asked, failed = _ask_provider(services, provider, unseen, report)
            reports += asked
            # After one failure the others would fail too.
            asks = not failed
            leases.renew_if_due()
        results.append(_PollResult(each, reports, failed, scan.is_impossible))
    _settle_polls(services, provider, results, clock, report)


class _PollLeases:
    """The leases of the polls that one scan answers."""

    def __init__(self, services: Services, group: Sequence[PolledRequest]) -> None:
        self._services = services
        self._tickets = [PollTicket(each.id, each.polls) for each in group]
        self._half_s = services.poll_lease.total_seconds() / 2
        self._since = monotonic()

    def renew_if_due(self) -> None:
        """Renew them, if half of a lease has passed since the last time."""
        if monotonic() - self._since < self._half_s:
            return
        self._since = monotonic()
        with self._services.store.write() as conn:
            polls.renew_poll_leases(
                conn, self._tickets, store_now(conn) + self._services.poll_lease
            )


def _settle_polls(
    services: Services,
    provider: Provider,
    results: Sequence[_PollResult],
    clock: _StoreClock,
    report: TaskReport,
) -> None:
    """Store the receipts in small transactions. All polls without news take one statement.

    A failed poll is not the last one, until a day after the validity period.
    """
    later: list[tuple[PollTicket, datetime]] = []
    news: list[tuple[PolledRequest, list[Receipt], datetime | None]] = []
    for polled, reports, failed, is_impossible in results:
        now = clock.now()
        ends = polled.poll_until + (_LATE_POLLS if failed else timedelta())
        is_last = is_impossible or now >= ends
        receipts = _make_receipts(polled, reports, is_last=is_last)
        next_at = None if is_last else _next_poll_at(provider, polled, now)
        if next_at is None or receipts or not polled.open:
            news.append((polled, receipts, next_at))
        else:
            later.append((PollTicket(polled.id, polled.polls), next_at))
    for at in range(0, len(news), _SETTLED_TOGETHER):
        _store_receipts(services, news[at : at + _SETTLED_TOGETHER], report)
    if later:
        has_none = "1 request has" if len(later) == 1 else f"{len(later)} requests have"
        report.note(f"{has_none} no news")
        with services.store.write() as conn:
            polls.postpone_polls(conn, later)


def _store_receipts(
    services: Services,
    news: Sequence[tuple[PolledRequest, list[Receipt], datetime | None]],
    report: TaskReport,
) -> None:
    with services.store.write() as conn:
        now = store_now(conn)
        new = [
            store_receipts(conn, polled, receipts, next_at=next_at, now=now)
            for polled, receipts, next_at in news
        ]
    for count, (polled, _receipts, _next_at) in zip(new, news, strict=True):
        words = f"request {polled.id}: {count} of {len(polled.open)} messages have a receipt"
        log_event(log, LogEvent.RECEIPTS_STORED, words, **polled.log_fields)
        report.note(words)


def _join_due_requests(services: Services, polled: PolledRequest) -> list[PolledRequest]:
    """Lease the account's other due requests: one scan of its list answers them all."""
    found: list[PolledRequest] = []
    messages = len(polled.open)
    while messages < _JOINED_MESSAGES:
        with services.store.write() as conn:
            now = store_now(conn)
            lease_until = now + services.poll_lease
            tickets = polls.join_due_polls(
                conn, polled, now=now, lease_until=lease_until, limit=_JOINED_REQUESTS
            )
        with services.store.read() as conn:
            loaded = [polls.load_poll(conn, ticket.id, ticket.polls) for ticket in tickets]
        found += [each for each in loaded if each is not None]
        messages += sum(len(each.open) for each in loaded if each is not None)
        if len(tickets) < _JOINED_REQUESTS:
            break
    return found


def _ask_provider(
    services: Services, provider: Provider, polled: PolledRequest, report: TaskReport
) -> tuple[list[DeliveryReport], bool]:
    """Ask about a request's messages. Returns the reports, and whether asking failed."""
    _seqs, msisdns, ids = zip(*polled.open, strict=True)
    targets = tuple(make_tuples(PollTarget, zip(msisdns, ids, strict=True)))
    reports: list[DeliveryReport] = []
    for request in provider.poll_requests(PollRef(job_id=polled.job_id, targets=targets)):
        try:
            response = services.reader.send(polled.account, request.http)
            if response is None:
                return reports, True
            reports += provider.parse_poll(request, response)
        except ProviderError as error:
            services.reader.note_error(polled.account, error)
            words, failed = "request %d: %s", LogEvent.POLL_FAILED
            log_event(log, failed, words, polled.id, error.message, **polled.log_fields)
            report.fail(f"request {polled.id}, {polled.account}: {error.message}")
            return reports, True
    return reports, False


def _make_receipts(
    polled: PolledRequest, reports: list[DeliveryReport], *, is_last: bool
) -> list[Receipt]:
    """The final states. A provisional one counts only in the last poll."""
    if not polled.open:
        return []
    seqs, msisdns, _ids = zip(*polled.open, strict=True)
    seq_of = dict(zip(msisdns, seqs, strict=True))
    return [
        Receipt(seq_of[msisdn], state, code, raw, None if cost is None else plausible_cost(cost))
        for msisdn, state, raw, _id, provisional, code, cost in reports
        if state is not _SUBMITTED and (is_last or not provisional) and msisdn in seq_of
    ]


def _next_poll_at(provider: Provider, polled: PolledRequest, now: datetime) -> datetime:
    limits = provider.settings
    delay_s = poll_delay(polled.polls, first_s=limits.poll_first_s, max_s=limits.poll_max_s)
    at = now + timedelta(seconds=delay_s)
    return min(at, polled.poll_until) if polled.poll_until > now else at
