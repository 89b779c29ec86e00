"""Asking within an account's rate, and delivery status read from the pages of a provider's list."""

import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from dispatcher.errors import ErrorKind, ProviderError
from dispatcher.outbound.ratelimit import Bucket
from dispatcher.policy.fair_queue import SHORT_WAIT_S
from dispatcher.policy.reconciliation import CLOCK_SKEW
from dispatcher.providers.base import Provider, StatusLookup
from dispatcher.store import accounts
from dispatcher.store.engine import store_now
from dispatcher.store.polls import PolledRequest
from dispatcher.types import DeliveryReport, ListedMessage, ListPage
from workers.services import Services

if TYPE_CHECKING:
    from datetime import datetime

log = logging.getLogger(__name__)

#: Up to so many messages are asked about one by one, where that can be done.
_FEW_MESSAGES = 3
#: Pages in a row that repeat the one before.
_MAX_REPEATS = 3
#: A list longer than this has no end: its pages go round.
_MOST_PAGES = 20_000


class StatusScan:
    """What a look at a list says of the open messages of some accepted requests."""

    def __init__(self, group: Sequence[PolledRequest]) -> None:
        self.open = sum(len(polled.open) for polled in group)
        #: The server has no list: nothing will ever be learned there.
        self.is_impossible = False
        #: It was cut short: the next one may say more.
        self.failed = False
        #: The list, or its rest, is of no use: messages that it has not shown are asked about.
        self.is_over = False
        self._oldest = min(polled.begun_at for polled in group)
        self._by_id: dict[str, tuple[int, int]] = {}
        self._by_number: dict[int, list[tuple[int, datetime]]] = {}
        self._nameless: set[tuple[int, int]] = set()
        self._is_dated = True
        for polled in group:
            for message in polled.open:
                self._by_number.setdefault(message.msisdn, []).append((polled.id, polled.begun_at))
                if message.provider_message_id is not None:
                    self._by_id[message.provider_message_id] = (polled.id, message.msisdn)
                else:
                    self._nameless.add((polled.id, message.msisdn))
        self._reports: dict[tuple[int, int], DeliveryReport] = {}
        self._reports_of: dict[int, list[DeliveryReport]] = {}

    def add_entries(self, entries: Iterable[ListedMessage]) -> None:
        """Match entries to open messages; the newest of a message counts."""
        for entry in entries:
            self._is_dated = entry.created_at is not None
            key = self._by_id.get(entry.provider_message_id) or self._by_its_number(entry)
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

    @property
    def missing_count(self) -> int:
        """How many open messages no page has shown."""
        return self.open - len(self._reports)

    @property
    def needs_list(self) -> bool:
        """Whether an open message can be found on the list only: by its number and date."""
        return self._is_dated and not self._nameless <= self._reports.keys()

    def is_enough(self, entries: Sequence[ListedMessage]) -> bool:
        """Whether the rest of the list has none of them."""
        times = [entry.created_at for entry in entries if entry.created_at is not None]
        is_older = bool(times) and max(times) < self._oldest - CLOCK_SKEW
        return not self.missing_count or is_older

    def only_unseen(self, polled: PolledRequest) -> PolledRequest:
        """The request with those of its open messages that no page has shown."""
        unseen = [one for one in polled.open if (polled.id, one.msisdn) not in self._reports]
        return replace(polled, open=unseen)

    def reports_of(self, polled: PolledRequest) -> list[DeliveryReport]:
        """The reports on one request's messages."""
        return self._reports_of.get(polled.id, [])

    def _by_its_number(self, entry: ListedMessage) -> tuple[int, int] | None:
        """The one open message of that number, if the entry is surely not of an earlier one."""
        if entry.msisdn is None or entry.created_at is None:
            return None
        candidates = self._by_number.get(entry.msisdn, ())
        if len(candidates) != 1:
            return None
        ((id_, begun_at),) = candidates
        # Such lists have whole seconds.
        is_later = entry.created_at >= begun_at.replace(microsecond=0)
        return (id_, entry.msisdn) if is_later else None


class RepeatedPageDetector:
    """Notices a server that gives the same page whatever is asked for."""

    def __init__(self) -> None:
        self._last: frozenset[str] = frozenset()
        self._times = 0

    def __call__(self, page: ListPage) -> bool:
        """Whether this page, as those before, has nothing that the one before it has not.

        One such page may come of new messages at the top, which shift the others.
        """
        ids = frozenset(entry.provider_message_id for entry in page.entries)
        self._times = self._times + 1 if ids and ids <= self._last else 0
        self._last = ids
        return self._times >= _MAX_REPEATS


def has_message_list(provider: Provider) -> bool:
    """Whether the provider's list shows what became of messages."""
    able = provider.capabilities
    by_message = able.delivery_status is StatusLookup.BY_MESSAGE and able.lists_accepted
    return by_message or able.delivery_status is StatusLookup.BY_LIST


def read_list(
    services: Services, provider: Provider, group: Sequence[PolledRequest], keep: Callable[[], None]
) -> StatusScan:
    """Read pages, newest first, until the rest is of no use; `keep` is called after each.

    What fails ends the look. Where messages can be asked about one by one, a few are, and so are
    those for which as many pages in vain were read as asking would cost.
    """
    look = StatusScan(group)
    account = group[0].account
    only_there = provider.capabilities.delivery_status is StatusLookup.BY_LIST
    is_repeated = RepeatedPageDetector()
    in_vain = 0
    page: int | None = 0
    for _ in range(_MOST_PAGES):
        is_dear = look.missing_count <= max(_FEW_MESSAGES, in_vain) and not look.needs_list
        if page is None or (is_dear and not only_there):
            break
        if not acquire_read_slot(services, account):
            look.failed = True
            return look
        try:
            response = services.runtime.send_request(
                provider.list_request(page), timeout_s=provider.settings.timeout_s
            )
            listed = provider.parse_list(page, response)
        except ProviderError as error:
            _note_failure(look, error, only_there=only_there)
            log.warning("account %s: its list cannot be read: %s", account, error.message)
            return look
        missing = look.missing_count
        look.add_entries(listed.entries)
        in_vain = in_vain + 1 if look.missing_count == missing else 0
        if look.is_enough(listed.entries) or is_repeated(listed):
            break
        page = listed.next_page
        keep()
    look.is_over = not only_there
    return look


def _note_failure(look: StatusScan, error: ProviderError, *, only_there: bool) -> None:
    """What it means that a page cannot be read."""
    is_configuration = error.kind is ErrorKind.CONFIGURATION
    look.failed = True
    look.is_impossible = only_there and is_configuration
    # It answers, but not with a list: messages may be asked about all the same.
    look.is_over = not only_there and (is_configuration or error.kind is ErrorKind.DOUBTFUL)


def acquire_read_slot(services: Services, account: str) -> bool:
    """Pay the account's rate for one request that only reads, or learn that it is too far off."""
    per_second = services.settings.account(account).requests_per_second
    if per_second is None:
        return True
    with services.store.read() as conn:
        row = accounts.find_account(conn, account)
        now = store_now(conn)
    paid_until = row.requests_paid_until if row is not None else None
    bucket = Bucket(
        key=f"{account}:requests",
        cost=1.0,
        per_second=per_second,
        floor_s=0.0 if paid_until is None else (paid_until - now).total_seconds(),
    )
    reservation = services.limiter.reserve_start([bucket], max_wait_s=SHORT_WAIT_S)
    return reservation.granted and not services.stopping.wait(reservation.wait_s)
