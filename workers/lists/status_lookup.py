"""Delivery status of accepted messages, read from the pages of the provider's list."""

import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from dispatcher.errors import ErrorKind, ProviderError
from dispatcher.logs.events import LogEvent, log_event
from dispatcher.policy.reconciliation import CLOCK_SKEW
from dispatcher.providers.base import Provider, StatusLookup
from dispatcher.store.polls import PolledRequest
from dispatcher.types import DeliveryReport, ListedMessage
from workers.lists.pages import ReadingStopped, read_pages
from workers.services import Services

if TYPE_CHECKING:
    from datetime import datetime

log = logging.getLogger(__name__)

#: Up to this many messages are looked up one by one, if the provider allows it.
_FEW_MESSAGES: Final = 3


class StatusScan:
    """What the pages of a list say about the open messages of some accepted requests."""

    def __init__(self, group: Sequence[PolledRequest]) -> None:
        self.open = sum(len(polled.open) for polled in group)
        #: The server has no list and no other status call: polling it is useless.
        self.is_impossible = False
        #: Reading was cut short: the next scan may find more.
        self.failed = False
        #: Messages that no page has shown have to be looked up one by one.
        self.needs_single_lookups = False
        #: Pages in a row that showed no open message.
        self.pages_without_match = 0
        self._oldest = min(polled.begun_at for polled in group)
        self._by_id: dict[str, tuple[int, int]] = {}
        self._by_number: dict[int, list[tuple[int, datetime]]] = {}
        self._without_id: set[tuple[int, int]] = set()
        self._is_dated = True
        for polled in group:
            for message in polled.open:
                self._by_number.setdefault(message.msisdn, []).append((polled.id, polled.begun_at))
                if message.provider_message_id is not None:
                    self._by_id[message.provider_message_id] = (polled.id, message.msisdn)
                else:
                    self._without_id.add((polled.id, message.msisdn))
        self._reports: dict[tuple[int, int], DeliveryReport] = {}
        self._reports_of: dict[int, list[DeliveryReport]] = {}

    def add_entries(self, entries: Iterable[ListedMessage]) -> None:
        """Match the entries of a page to open messages. The first match of a message counts."""
        missing = self.missing_count
        for entry in entries:
            self._is_dated = entry.created_at is not None
            key = self._by_id.get(entry.provider_message_id) or self._match_by_number(entry)
            if key is not None and key not in self._reports:
                self._reports[key] = report = DeliveryReport(
                    msisdn=key[1],
                    state=entry.state,
                    raw=entry.raw,
                    provider_message_id=entry.provider_message_id,
                    provisional=entry.provisional,
                    cost=entry.cost,
                )
                self._reports_of.setdefault(key[0], []).append(report)
        is_new = self.missing_count < missing
        self.pages_without_match = 0 if is_new else self.pages_without_match + 1

    @property
    def missing_count(self) -> int:
        """How many open messages no page has shown."""
        return self.open - len(self._reports)

    @property
    def single_lookups_are_cheaper(self) -> bool:
        """Whether looking up the missing messages one by one takes fewer requests than reading on.

        False while a missing message has no provider id: only the list can find it.
        """
        needs_list = self._is_dated and not self._without_id <= self._reports.keys()
        return not needs_list and self.missing_count <= max(_FEW_MESSAGES, self.pages_without_match)

    def is_enough(self, entries: Sequence[ListedMessage]) -> bool:
        """Whether the pages after the one with these entries show no open message any more."""
        times = [entry.created_at for entry in entries if entry.created_at is not None]
        is_older = bool(times) and max(times) < self._oldest - CLOCK_SKEW
        return not self.missing_count or is_older

    def only_unseen(self, polled: PolledRequest) -> PolledRequest:
        """The request with only those of its open messages that no page has shown."""
        unseen = [one for one in polled.open if (polled.id, one.msisdn) not in self._reports]
        return replace(polled, open=unseen)

    def reports_of(self, polled: PolledRequest) -> list[DeliveryReport]:
        """The reports on one request's messages."""
        return self._reports_of.get(polled.id, [])

    def _match_by_number(self, entry: ListedMessage) -> tuple[int, int] | None:
        """The only open message to the entry's number, unless the entry is an older message."""
        if entry.msisdn is None or entry.created_at is None:
            return None
        candidates = self._by_number.get(entry.msisdn, ())
        if len(candidates) != 1:
            return None
        ((id_, begun_at),) = candidates
        # Such lists have whole seconds.
        is_later = entry.created_at >= begun_at.replace(microsecond=0)
        return (id_, entry.msisdn) if is_later else None


def has_message_list(provider: Provider) -> bool:
    """Whether the provider has a list that shows what became of messages."""
    able = provider.capabilities
    by_message = able.delivery_status is StatusLookup.BY_MESSAGE and able.lists_accepted
    return by_message or able.delivery_status is StatusLookup.BY_LIST


def scan_statuses(
    services: Services,
    provider: Provider,
    group: Sequence[PolledRequest],
    renew: Callable[[], None],
) -> StatusScan:
    """Read pages until the rest of the list cannot help. `renew` is called after each page.

    Where single messages can be looked up, it stops as soon as that takes fewer requests.
    """
    scan = StatusScan(group)
    account = group[0].account
    has_only_list = provider.capabilities.delivery_status is StatusLookup.BY_LIST
    pages = read_pages(services, provider, account, is_patient=False)
    try:
        while has_only_list or not scan.single_lookups_are_cheaper:
            page = next(pages, None)
            if page is None:
                break
            scan.add_entries(page.entries)
            if scan.is_enough(page.entries):
                break
            renew()
    except ReadingStopped:
        scan.failed = True
    except ProviderError as error:
        _note_failure(scan, error, has_only_list=has_only_list)
        words = f"account {account}: its list cannot be read: {error.message}"
        log_event(log, LogEvent.LIST_UNREADABLE, words, account=account)
    else:
        scan.needs_single_lookups = not has_only_list
    return scan


def _note_failure(scan: StatusScan, error: ProviderError, *, has_only_list: bool) -> None:
    is_configuration = error.kind is ErrorKind.CONFIGURATION
    scan.failed = True
    scan.is_impossible = has_only_list and is_configuration
    # The server answers, only not with a list: single messages can still be looked up.
    scan.needs_single_lookups = not has_only_list and (
        is_configuration or error.kind is ErrorKind.DOUBTFUL
    )
