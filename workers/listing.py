"""Asking within an account's rate, and delivery status read from the pages of a provider's list."""

import logging
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from dispatcher.errors import ErrorKind, ProviderError
from dispatcher.messages import DeliveryReport, ListedMessage
from dispatcher.providers.base import Provider, StatusLookup
from dispatcher.ratelimit import Bucket
from dispatcher.reconcile import CLOCK_SKEW
from dispatcher.schedule import SHORT_WAIT_S
from dispatcher.store import accounts
from dispatcher.store.engine import store_now
from dispatcher.store.polls import Polled
from workers.services import Services

if TYPE_CHECKING:
    from datetime import datetime

log = logging.getLogger(__name__)

#: Up to so many messages are asked about one by one, where that can be done.
_FEW = 3
#: A list longer than this has no end: its pages go round.
_MOST_PAGES = 20_000


class StatusLook:
    """What a look at a list says of the open messages of some accepted requests."""

    def __init__(self, group: Sequence[Polled]) -> None:
        self.open = sum(len(polled.open) for polled in group)
        #: The server has no list: nothing will ever be learned there.
        self.is_impossible = False
        #: It was cut short: the next one may say more.
        self.failed = False
        #: The rest of the list was dearer to read than the messages are to ask about.
        self.is_dear = False
        self._oldest = min(polled.begun_at for polled in group)
        self._by_id: dict[str, tuple[int, int]] = {}
        self._by_number: dict[int, list[tuple[int, datetime]]] = {}
        for polled in group:
            for message in polled.open:
                self._by_number.setdefault(message.msisdn, []).append((polled.id, polled.begun_at))
                if message.provider_message_id is not None:
                    self._by_id[message.provider_message_id] = (polled.id, message.msisdn)
        self._reports: dict[tuple[int, int], DeliveryReport] = {}

    def add(self, entries: Iterable[ListedMessage]) -> None:
        """Match entries to open messages; the newest of a message counts."""
        for entry in entries:
            key = self._by_id.get(entry.provider_message_id) or self._by_its_number(entry)
            if key is not None and key not in self._reports:
                self._reports[key] = DeliveryReport(
                    msisdn=key[1],
                    state=entry.state,
                    raw=entry.raw,
                    provider_message_id=entry.provider_message_id,
                    provisional=entry.provisional,
                    cost=entry.cost,
                )

    def is_enough(self, entries: Sequence[ListedMessage]) -> bool:
        """Whether the rest of the list is of no use."""
        times = [entry.created_at for entry in entries if entry.created_at is not None]
        is_older = bool(times) and max(times) < self._oldest - CLOCK_SKEW
        return len(self._reports) >= self.open or is_older

    def unseen(self, polled: Polled) -> Polled:
        """The request with those of its open messages that no page has shown."""
        unseen = [one for one in polled.open if (polled.id, one.msisdn) not in self._reports]
        return replace(polled, open=unseen)

    def reports_of(self, polled: Polled) -> list[DeliveryReport]:
        """The reports on one request's messages."""
        return [report for (id_, _msisdn), report in self._reports.items() if id_ == polled.id]

    def _by_its_number(self, entry: ListedMessage) -> tuple[int, int] | None:
        """The one open message of that number, if the entry is surely not of an earlier one."""
        candidates = self._by_number.get(entry.msisdn, ())
        if len(candidates) != 1 or entry.created_at is None:
            return None
        ((id_, begun_at),) = candidates
        # Such lists have whole seconds.
        is_later = entry.created_at >= begun_at.replace(microsecond=0)
        return (id_, entry.msisdn) if is_later else None


def reads_list(provider: Provider, messages: int) -> bool:
    """Whether so many messages are found more cheaply on list pages, or only there."""
    able = provider.capabilities
    if able.delivery_status is StatusLookup.BY_LIST:
        return True
    by_message = able.delivery_status is StatusLookup.BY_MESSAGE
    return by_message and able.lists_accepted and messages > _FEW


def read_list(own: Services, provider: Provider, group: Sequence[Polled]) -> StatusLook:
    """Read pages, newest first, until the rest is of no use. What fails ends the look."""
    look = StatusLook(group)
    account = group[0].account
    only_there = provider.capabilities.delivery_status is StatusLookup.BY_LIST
    at_most = _MOST_PAGES if only_there else max(1, look.open)
    page: int | None = 0
    pages = 0
    while page is not None:
        if not may_ask(own, account):
            look.failed = True
            break
        try:
            response = own.runtime.call(
                provider.list_request(page), timeout_s=provider.settings.timeout_s
            )
            listed = provider.parse_list(page, response)
        except ProviderError as error:
            look.failed = True
            look.is_impossible = only_there and error.kind is ErrorKind.CONFIGURATION
            log.warning("account %s: its list cannot be read: %s", account, error.message)
            break
        look.add(listed.entries)
        pages += 1
        if look.is_enough(listed.entries):
            break
        page = listed.next_page
        if page is not None and pages >= at_most:
            look.is_dear = not only_there
            break
    return look


def may_ask(own: Services, account: str) -> bool:
    """Pay the account's rate for one request that only reads, or learn that it is too far off."""
    per_second = own.settings.account(account).requests_per_second
    if per_second is None:
        return True
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
