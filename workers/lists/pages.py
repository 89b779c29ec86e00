"""The pages of a provider's list of messages, read within the account's rate."""

import logging
from collections.abc import Iterator
from typing import Final

from dispatcher.errors import ErrorKind, ProviderError
from dispatcher.logs.events import LogEvent, log_event
from dispatcher.providers.base import Provider
from dispatcher.types import ListPage
from workers.services import Services

log = logging.getLogger(__name__)

#: No list is longer than this: its pages must be repeating.
_MAX_PAGES: Final = 20_000
#: Pages in a row without a new entry, before the server counts as repeating itself.
_MAX_REPEATS: Final = 3
#: Refusals of one page as one request too many, before a patient reader gives up.
_MAX_REFUSALS: Final = 10
#: How often a reader that is patient asks for its turn.
_PATIENCE_S: Final = 1.0


class ReadingStopped(Exception):
    """No further page may be read: the rate is used up, or this process is to end."""


def read_pages(
    services: Services, provider: Provider, account: str, *, is_patient: bool
) -> Iterator[ListPage]:
    """Yield the pages of the account's list, newest first.

    Ends after the last page, and after a server that gives the same page again and again. Each page
    counts as a request of the account's rate. If that is used up, or the provider asks
    for a pause, a patient reader waits.

    Raises ProviderError if a page cannot be read, and ReadingStopped.
    """
    is_repeated = RepeatedPageDetector()
    number: int | None = 0
    for _ in range(_MAX_PAGES):
        if number is None:
            return
        page = _read_page(services, provider, account, number, is_patient=is_patient)
        if is_repeated(page):
            return
        yield page
        number = page.next_page
    words = f"account {account}: its list has no end"
    log_event(log, LogEvent.LIST_ENDLESS, words, account=account)


def _read_page(
    services: Services, provider: Provider, account: str, number: int, *, is_patient: bool
) -> ListPage:
    """Read one page. A patient reader asks again after a refusal as one request too many."""
    request = provider.list_request(number)
    refusals = 0
    while True:
        while (response := services.reader.send(account, request)) is None:
            if not is_patient or services.stopping.wait(_PATIENCE_S):
                raise ReadingStopped
        try:
            return provider.parse_list(number, response)
        except ProviderError as error:
            services.reader.note_error(account, error)
            refusals += 1
            is_over = refusals >= _MAX_REFUSALS or error.kind is not ErrorKind.THROTTLED
            if not is_patient or is_over:
                raise


class RepeatedPageDetector:
    """Detects a server that gives the same page whatever page is asked for."""

    def __init__(self) -> None:
        self._last: frozenset[str] = frozenset()
        self._times = 0

    def __call__(self, page: ListPage) -> bool:
        """Whether this page, and those before it, had no entry that the page before had not.

        A single such page proves nothing: new messages at the top shift the others.
        """
        ids = frozenset(entry.provider_message_id for entry in page.entries)
        self._times = self._times + 1 if ids and ids <= self._last else 0
        self._last = ids
        return self._times >= _MAX_REPEATS
