"""Requests that only read: they pay the account's rate, and wait while the provider asked us to."""

import threading
import time
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial
from math import inf
from random import random
from typing import Final

from dispatcher.config.settings import Settings
from dispatcher.errors import ErrorKind, ProviderError
from dispatcher.outbound.departure import AT_ONCE, Departure, NotBegun, Unanswered, boottime_s
from dispatcher.outbound.rates import AccountRate, account_rates, seconds_ahead
from dispatcher.policy.backoff import retry_delay
from dispatcher.policy.fair_queue import SHORT_WAIT_S, Unit
from dispatcher.policy.pacing import LEAD_S, ClockReading, spacing_s
from dispatcher.store import accounts
from dispatcher.store.engine import Store, store_now
from dispatcher.store.locks import lock_account
from dispatcher.types import HttpRequest, HttpResponse
from workers.http.http_runtime import HttpRuntime
from workers.http.pace import Paces
from workers.meters import meter_requests, note_answer

#: Starts that a busy process may miss before the request is given up for now.
_MOST_STARTS: Final = 5


class Reader:
    """Sends requests that only read, for every task of a process."""

    def __init__(
        self,
        settings: Settings,
        store: Store,
        runtime: HttpRuntime,
        paces: Paces,
        stopping: threading.Event,
    ) -> None:
        self._settings = settings
        self._store = store
        self._runtime = runtime
        self._paces = paces
        self._stopping = stopping

    def send(
        self, account: str, request: HttpRequest, *, is_probe: bool = False
    ) -> HttpResponse | None:
        """The answer to a request that only reads; None where it must not be made now.

        It must not while the provider has asked the account to wait (a probe is made anyway), while
        the rate is used up for more than a moment, and once this process is to end. A kept
        connection may break just as it is used: then it is made once more, and pays once more.
        Raises ProviderError.
        """
        was_unanswered = False
        settings = self._settings.account(account)
        timeout_s, request = settings.timeout_s, replace(request, proxy=settings.proxy)
        for _ in range(_MOST_STARTS):
            departure = self._reserve_start(account, is_probe=is_probe)
            if departure is None:
                return None
            began_at = time.monotonic()
            try:
                with meter_requests(account, "read"):
                    answer = self._runtime.send_request(
                        request, timeout_s=timeout_s, departure=departure
                    )
            except NotBegun:
                if self._stopping.is_set():
                    return None
            except Unanswered as error:
                note_answer(account, "read", None, error.kind)
                if was_unanswered:
                    raise
                was_unanswered = True
            except ProviderError as error:
                note_answer(account, "read", None, error.kind)
                raise
            else:
                note_answer(account, "read", time.monotonic() - began_at, None)
                return answer
        return None

    def note_error(self, account: str, error: ProviderError) -> None:
        """Note that a request was refused as one too many: the whole account waits."""
        note_answer(account, "read", None, error.kind)
        if error.kind is not ErrorKind.THROTTLED:
            return
        wait_s = retry_delay(1, error.retry_after_s, random)
        with self._store.write() as conn:
            accounts.throttle_until(conn, account, store_now(conn) + timedelta(seconds=wait_s))

    def _reserve_start(self, account: str, *, is_probe: bool) -> Departure | None:
        """The next free start of the account's requests; waits until shortly before it."""
        rate = account_rates(self._settings.account(account)).get(Unit.REQUESTS)
        if rate is None:
            with self._store.read() as conn:
                row = accounts.find_account(conn, account)
                not_before = None if row is None else row.not_before
                # The clock is another question to the store, which is rarely needed.
                is_held = not_before is not None and _is_held(not_before, store_now(conn))
            return None if is_held and not is_probe else AT_ONCE
        while not self._stopping.is_set():
            found = self._pay(account, rate, is_probe=is_probe)
            if not isinstance(found, float):
                return found
            if found > SHORT_WAIT_S or self._stopping.wait(found):
                return None
        return None

    def _pay(self, account: str, rate: AccountRate, *, is_probe: bool) -> Departure | float | None:
        """Pay for one request. The seconds to wait where its start is too far away."""
        pace = self._paces.of(account)
        interval_s = spacing_s(1, rate.per_second)
        with self._store.write() as conn:
            row = lock_account(conn, account)
            reading = ClockReading.take(partial(store_now, conn), boottime_s)
            if row is None or (_is_held(row.not_before, reading.now) and not is_probe):
                return None
            paid_s = seconds_ahead(row.requests_paid_until, reading.now, longest_s=rate.longest_s)
            starts = pace.find_starts(conn, reading, [Unit.REQUESTS], [[interval_s]], [paid_s])
            if not starts.at_s:
                return max(0.0, starts.next_s - LEAD_S / 2)
            paid_for_s = {Unit.REQUESTS: starts.paid_s[0]}
            accounts.record_paid_until(conn, account, paid_for_s, reading.now)
        pace.note_commit(boottime_s() - reading.answered_at)
        departures = pace.plan_departures(
            starts, [[interval_s]], [Unit.REQUESTS], now_at=reading.answered_at, closes=inf
        )
        return next(departures)


def _is_held(not_before: datetime | None, now: datetime) -> bool:
    return not_before is not None and not_before > now
