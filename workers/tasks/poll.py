"""The poll task: ask what became of an accepted request, and store the receipts."""

import logging
from collections.abc import Sequence
from datetime import datetime, timedelta
from operator import attrgetter
from time import monotonic
from typing import NamedTuple

from dispatcher.errors import ProviderError
from dispatcher.policy.fair_queue import poll_delay
from dispatcher.policy.verdict import plausible_cost
from dispatcher.providers.base import Provider
from dispatcher.status import MessageState
from dispatcher.store import polls
from dispatcher.store.engine import store_now
from dispatcher.store.polls import PolledRequest, PollTicket, Receipt
from dispatcher.types import DeliveryReport, PollRef, PollTarget
from workers.app import POLL, app, publish_polls
from workers.lists.status_lookup import acquire_read_slot, has_message_list, read_list
from workers.log_filter import log_expected_errors
from workers.services import Services, get_services

log = logging.getLogger(__name__)

#: Requests that join one look at an account's list at a time, while it is for fewer messages.
_JOINED_REQUESTS = 500
_JOINED_MESSAGES = 5000
#: Requests whose receipts are stored in one transaction: it must not keep submissions waiting.
_SETTLED_TOGETHER = 10
#: For so long after the validity period a last look that failed is made again.
_LATE_POLLS = timedelta(days=1)


@app.task(name=POLL)
def poll_task(attempt_id: int, number: int) -> None:
    """Ask about one accepted request; an old message is a no-op."""
    services, what = get_services(), f"request {attempt_id} could not be polled"
    # What fails here is asked again when the lease of this poll has run out.
    with log_expected_errors(log, what):
        with services.store.read() as conn:
            polled = polls.load_poll(conn, attempt_id, number)
        if polled is None:
            return
        with log_expected_errors(log, what):
            _poll_request(services, polled)
        if not services.stopping.is_set():
            release_polls(services)


def release_polls(services: Services) -> None:
    """Hand out due polls, at most `max_polls` at a time."""
    worker = services.settings.worker
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


def _poll_request(services: Services, polled: PolledRequest) -> None:
    provider = services.provider_of(polled.account)
    if not polled.open or not has_message_list(provider):
        reports, failed = _ask_provider(services, provider, polled) if polled.open else ([], False)
        _settle_polls(services, provider, [_PollResult(polled, reports, failed=failed)])
        return
    group = [polled, *_join_due_requests(services, polled)]
    held = _PollLeases(services, group)
    look = read_list(services, provider, group, held.renew_if_due)
    asks, failed = look.is_over, look.failed
    answered = []
    # In one order, as whoever else settles requests of these batches locks them.
    for each in sorted(group, key=attrgetter("batch_id", "id")):
        reports, unseen = look.reports_of(each), look.only_unseen(each)
        if asks and unseen.open:
            asked, failed = _ask_provider(services, provider, unseen)
            reports += asked
            # What stopped one stops the others.
            asks = not failed
            held.renew_if_due()
        answered.append(_PollResult(each, reports, failed=failed, over=look.is_impossible))
    _settle_polls(services, provider, answered)


class _PollResult(NamedTuple):
    """What was learned of a request; `over` where there is nothing to ask."""

    polled: PolledRequest
    reports: list[DeliveryReport]
    failed: bool
    over: bool = False


class _PollLeases:
    """The polls that one look answers, held until it is done."""

    def __init__(self, services: Services, group: Sequence[PolledRequest]) -> None:
        self._services = services
        self._tickets = [PollTicket(each.id, each.polls) for each in group]
        self._half_s = services.poll_lease.total_seconds() / 2
        self._since = monotonic()

    def renew_if_due(self) -> None:
        """Move the end of their lease, where half of it has passed."""
        if monotonic() - self._since < self._half_s:
            return
        self._since = monotonic()
        with self._services.store.write() as conn:
            polls.renew_poll_leases(
                conn, self._tickets, store_now(conn) + self._services.poll_lease
            )


def _settle_polls(services: Services, provider: Provider, answered: Sequence[_PollResult]) -> None:
    """Store the receipts, some at a time; most looks in vain cost one statement for all.

    A look that failed is not the last one, for some time.
    """
    later: list[tuple[PollTicket, datetime]] = []
    for at in range(0, len(answered), _SETTLED_TOGETHER):
        some = answered[at : at + _SETTLED_TOGETHER]
        with services.store.read() as conn:
            now = store_now(conn)
        told = []
        for polled, reports, failed, over in some:
            ends = polled.poll_until + (_LATE_POLLS if failed else timedelta())
            is_last = over or now >= ends
            receipts = _make_receipts(polled, reports, over=is_last)
            next_at = None if is_last else _next_poll_at(provider, polled, now)
            if next_at is None or receipts or not polled.open:
                told.append((polled, receipts, next_at))
            else:
                later.append((PollTicket(polled.id, polled.polls), next_at))
        if told:
            _store_receipts(services, told)
    if later:
        with services.store.write() as conn:
            polls.postpone_polls(conn, later)


def _store_receipts(
    services: Services, told: Sequence[tuple[PolledRequest, list[Receipt], datetime | None]]
) -> None:
    with services.store.write() as conn:
        now = store_now(conn)
        new = [
            polls.store_receipts(conn, polled, receipts, next_at=next_at, now=now)
            for polled, receipts, next_at in told
        ]
    for count, (polled, _receipts, _next_at) in zip(new, told, strict=True):
        log.info("request %d: %d of %d messages have a receipt", polled.id, count, len(polled.open))


def _join_due_requests(services: Services, polled: PolledRequest) -> list[PolledRequest]:
    """The account's other due requests: one look at its list answers them all."""
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
    services: Services, provider: Provider, polled: PolledRequest
) -> tuple[list[DeliveryReport], bool]:
    """The reports on a request's messages, and whether asking failed or was cut short."""
    targets = tuple(PollTarget(msisdn=m.msisdn, provider_message_id=m.provider_message_id)
                    for m in polled.open)  # fmt: skip
    limits = provider.settings
    reports: list[DeliveryReport] = []
    for request in provider.poll_requests(PollRef(job_id=polled.job_id, targets=targets)):
        if not acquire_read_slot(services, polled.account):
            return reports, True
        try:
            response = services.runtime.send_request(request.http, timeout_s=limits.timeout_s)
            reports += provider.parse_poll(request, response)
        except ProviderError as error:
            log.warning("request %d: %s", polled.id, error.message)
            return reports, True
    return reports, False


def _make_receipts(
    polled: PolledRequest, reports: list[DeliveryReport], *, over: bool
) -> list[Receipt]:
    """Final states by message. A provisional one counts only when the validity period is over."""
    seq_of = {message.msisdn: message.seq for message in polled.open}
    return [
        Receipt(
            seq_of[report.msisdn],
            report.state,
            report.error_code,
            report.raw,
            plausible_cost(report.cost),
        )
        for report in reports
        if report.msisdn in seq_of
        and report.state is not MessageState.SUBMITTED
        and (over or not report.provisional)
    ]


def _next_poll_at(provider: Provider, polled: PolledRequest, now: datetime) -> datetime:
    limits = provider.settings
    delay_s = poll_delay(polled.polls, first_s=limits.poll_first_s, max_s=limits.poll_max_s)
    at = now + timedelta(seconds=delay_s)
    return min(at, polled.poll_until) if polled.poll_until > now else at
