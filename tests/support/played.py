"""A provider that is played in this process, and a store that does not acknowledge a commit."""

import asyncio
from contextlib import contextmanager, suppress

from dispatcher.errors import ErrorKind, ProviderError, StoreError
from dispatcher.outbound.departure import Exchange, boottime_s
from dispatcher.outbound.transport import HttpClient
from dispatcher.types import HttpResponse, RecipientResult, SubmitOutcome
from tests.support.stores import FakeProvider


class SingleTexts(FakeProvider):
    """One recipient a request; an answer's status says what became of it."""

    def parse_submit(self, request, response):
        if response.status == 429:
            raise ProviderError(ErrorKind.THROTTLED, "slow down", retry_after_s=30)
        (recipient,) = request.recipients
        result = RecipientResult(
            msisdn=recipient.msisdn, accepted=True, provider_message_id=f"id-{recipient.seq}"
        )
        return SubmitOutcome(results=(result,))


class Played(HttpClient):
    """Answers each request after `delay_s`, but for the numbers that `special` has."""

    def __init__(self, *, delay_s=0.0, special=None):
        super().__init__(connections=100)
        self.delay_s, self.special = delay_s, special or {}
        self.arrived = []
        self.under_way = self.most_under_way = 0

    async def send(self, request, *, timeout_s, departure):
        # As the real one: it waits, and asks a last time before the first byte.
        exchange = Exchange("played", departure, 10.0, boottime_s)
        await exchange.wait_for_departure()
        number = int(request.body)
        self.arrived.append((boottime_s(), number))
        self.under_way += 1
        self.most_under_way = max(self.most_under_way, self.under_way)
        try:
            delay_s, response = self.special.get(number, (self.delay_s, HttpResponse(status=200)))
            await asyncio.sleep(delay_s)
            return response
        finally:
            self.under_way -= 1

    @property
    def numbers(self):
        return [number for _at, number in self.arrived]


class Hiccup:
    """A store whose `nth` transaction is committed, or not, and then reported as failed."""

    def __init__(self, store, nth, *, is_committed):
        self._store, self._nth, self._is_committed = store, nth, is_committed
        self._count = 0

    def __getattr__(self, name):
        return getattr(self._store, name)

    @contextmanager
    def write(self, **options):
        self._count += 1
        if self._count != self._nth:
            with self._store.write(**options) as conn:
                yield conn
            return
        if self._is_committed:
            with self._store.write(**options) as conn:
                yield conn
            raise StoreError("the acknowledgement was lost")
        with suppress(ZeroDivisionError), self._store.write(**options) as conn:
            yield conn
            raise ZeroDivisionError
        raise StoreError("the transaction was rolled back")
