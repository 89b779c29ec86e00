"""The poll task: ask what became of an accepted request, and store the receipts."""

import logging
from datetime import datetime, timedelta

from dispatcher.errors import DispatcherError, ProviderError
from dispatcher.messages import DeliveryReport, PollRef, PollTarget
from dispatcher.providers.base import Provider
from dispatcher.ratelimit import Bucket
from dispatcher.schedule import SHORT_WAIT_S, poll_delay
from dispatcher.status import MessageState
from dispatcher.store import accounts, polls
from dispatcher.store.engine import store_now
from dispatcher.store.polls import Polled, Receipt
from workers.app import POLL, app, publish_polls
from workers.services import Services, services

log = logging.getLogger(__name__)


@app.task(name=POLL)
def poll(attempt_id: int, number: int) -> None:
    """Ask about one accepted request; an old message is a no-op."""
    own = services()
    with own.store.read() as conn:
        polled = polls.load(conn, attempt_id, number)
    if polled is None:
        return
    try:
        _poll(own, polled)
    except DispatcherError as error:
        # The lease of this poll runs out, and the next one asks again.
        log.warning("request %d could not be polled: %s", polled.id, error.message)
    if not own.stopping.is_set():
        release_polls(own)


def release_polls(own: Services) -> None:
    """Hand out due polls, at most `max_polls` at a time."""
    worker = own.settings.worker
    with own.store.write() as conn:
        now = store_now(conn)
        lease_until = now + own.poll_lease
        tickets = polls.release(conn, now=now, lease_until=lease_until, limit=worker.max_polls)
    publish_polls(tickets)


def _poll(own: Services, polled: Polled) -> None:
    provider = own.provider(polled.account)
    reports = _ask(own, provider, polled) if polled.open else []
    with own.store.write() as conn:
        now = store_now(conn)
        over = now >= polled.poll_until
        receipts = _receipts(polled, reports, over=over)
        next_at = None if over else _next(provider, polled, now)
        new = polls.settle(conn, polled, receipts, next_at=next_at, now=now)
    log.info("request %d: %d of %d messages have a receipt", polled.id, new, len(polled.open))


def _reserve(own: Services, account: str, per_second: float) -> bool:
    """Pay the account's rate for one status request, or learn that it is too far off."""
    with own.store.read() as conn:
        row = accounts.get(conn, account)
        now = store_now(conn)
    paid_until = row.requests_paid_until if row is not None else None
    bucket = Bucket(
        key=f"{account}:requests",
        cost=1.0,
        per_second=per_second,
        floor_s=0.0 if paid_until is None else (paid_until - now).total_seconds(),
    )
    reservation = own.limiter.reserve([bucket], max_wait_s=SHORT_WAIT_S)
    return reservation.granted and not own.stopping.wait(reservation.wait_s)


def _ask(own: Services, provider: Provider, polled: Polled) -> list[DeliveryReport]:
    targets = tuple(PollTarget(msisdn=m.msisdn, provider_message_id=m.provider_message_id)
                    for m in polled.open)  # fmt: skip
    limits = provider.settings
    reports: list[DeliveryReport] = []
    for request in provider.poll_requests(PollRef(job_id=polled.job_id, targets=targets)):
        rate = limits.requests_per_second
        if rate is not None and not _reserve(own, polled.account, rate):
            return reports
        try:
            response = own.runtime.call(request.http, timeout_s=limits.timeout_s)
            reports += provider.parse_poll(request, response)
        except ProviderError as error:
            log.warning("request %d: %s", polled.id, error.message)
            return reports
    return reports


def _receipts(polled: Polled, reports: list[DeliveryReport], *, over: bool) -> list[Receipt]:
    """Final states by message. A provisional one counts only when the validity period is over."""
    seq_of = {message.msisdn: message.seq for message in polled.open}
    return [
        Receipt(seq_of[report.msisdn], report.state, report.error_code, report.raw)
        for report in reports
        if report.msisdn in seq_of
        and report.state is not MessageState.SUBMITTED
        and (over or not report.provisional)
    ]


def _next(provider: Provider, polled: Polled, now: datetime) -> datetime:
    limits = provider.settings
    delay_s = poll_delay(polled.polls, first_s=limits.poll_first_s, max_s=limits.poll_max_s)
    return min(now + timedelta(seconds=delay_s), polled.poll_until)
