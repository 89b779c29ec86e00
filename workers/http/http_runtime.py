"""One event loop thread and one HttpClient for all Celery threads of a process.

It owns the loop's life and the way into it; what a request's failure means is the transport's.
"""

import asyncio
import logging
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import CancelledError, Future
from typing import Final

from dispatcher.errors import ErrorKind, ProviderError
from dispatcher.logs.events import LogEvent, log_event
from dispatcher.outbound.departure import AT_ONCE, Departure, NotBegun
from dispatcher.outbound.transport import HttpClient
from dispatcher.types import HttpRequest, HttpResponse
from workers.http.flight import Flight, FlightRequest

#: Seconds over a request's own timeout after which its thread no longer trusts the loop.
GRACE_S: Final = 15.0
_LAG_EVERY_S: Final = 1.0

_log = logging.getLogger(__name__)


class HttpRuntime:
    """Lets threads that block send requests over the connections of one process.

        runtime = HttpRuntime(HttpClient(connections=8))
        response = runtime.call(request, timeout_s=60, begin_deadline=boottime_s() + 1)
        runtime.close()  # on Celery's worker_shutdown

    The thread and its loop are made by `open` or the first call, never by a mere import: one that
    was not called before a fork is good in the child. Every method may be called from any thread.
    """

    def __init__(self, client: HttpClient, *, grace_s: float = GRACE_S) -> None:
        self._client = client
        self._grace_s = grace_s
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._open: set[Future[HttpResponse]] = set()
        self._closed = False

    def open_session(self) -> None:
        """Begin to make thread, loop and session, so that the first request leaves in time."""
        with self._lock:
            if not self._closed:
                opening = self._client.open_session()
                asyncio.run_coroutine_threadsafe(opening, self._loop or self._start_loop())

    def watch_lag(self, note: Callable[[float], object]) -> None:
        """Call `note` about once a second, with the seconds by which the loop was late for it."""
        with self._lock:
            if not self._closed:
                loop = self._loop or self._start_loop()
                loop.call_soon_threadsafe(_measure_lag, loop, note, time.monotonic())

    def send_request(
        self, request: HttpRequest, *, timeout_s: float, departure: Departure = AT_ONCE
    ) -> HttpResponse:
        """Send one request and wait for its answer. Raises as `HttpClient.send`.

        Cut short by `close()`, or by a loop that hangs, it is DOUBTFUL; after `close()` it is
        NotBegun. An exception that reaches the waiting thread cancels the request.
        """
        future = self._start_request(request, timeout_s, departure)
        try:
            return _await_response(future, timeout_s + self._grace_s)
        finally:
            future.cancel()

    def open_flight(self, *, timeout_s: float) -> Flight:
        """A sliding window of requests for the calling thread; see `Flight`."""
        return Flight(
            self._start_flight, timeout_s=timeout_s, hangs_after_s=timeout_s + self._grace_s
        )

    def _start_flight(self, flight: Flight, requests: Sequence[FlightRequest]) -> bool:
        """Start a flight's requests on the loop; False where the runtime is closed."""
        with self._lock:
            if self._closed:
                return False
            loop = self._loop or self._start_loop()
            loop.call_soon_threadsafe(flight.start_on_loop, loop, self._client, requests)
        return True

    def close(self, *, timeout_s: float = 10.0) -> None:
        """Cancel what is on its way, close the connections, end the thread; at most `timeout_s`.

        A loop that does not end by then is left to the end of the process, which it cannot hold.
        """
        with self._lock:
            self._closed = True
            loop, thread = self._loop, self._thread
            self._loop = self._thread = None
        if loop is None or thread is None:
            return
        deadline = time.monotonic() + timeout_s
        ending = asyncio.run_coroutine_threadsafe(self._cancel_requests(), loop)
        try:
            ending.result(timeout_s)
        except TimeoutError:
            words = "the HTTP loop did not end in time; its requests are in doubt"
            log_event(_log, LogEvent.LOOP_LATE, words)
        finally:
            for future in list(self._open):
                future.cancel()
            loop.call_soon_threadsafe(loop.stop)
            thread.join(max(0.0, deadline - time.monotonic()))

    async def _cancel_requests(self) -> None:
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._client.close()

    def _start_request(
        self, request: HttpRequest, timeout_s: float, departure: Departure
    ) -> "Future[HttpResponse]":
        with self._lock:
            if self._closed:
                refused: Future[HttpResponse] = Future()
                refused.set_exception(NotBegun("the worker is stopping: the request was not sent"))
                return refused
            sending = self._client.send(request, timeout_s=timeout_s, departure=departure)
            future = asyncio.run_coroutine_threadsafe(sending, self._loop or self._start_loop())
            self._open.add(future)
        future.add_done_callback(self._open.discard)
        return future

    def _start_loop(self) -> asyncio.AbstractEventLoop:
        loop = self._loop = _new_loop()
        # A daemon: a loop that hangs must not keep the process from ending.
        self._thread = threading.Thread(
            target=_run_loop, args=(loop,), name="http-loop", daemon=True
        )
        self._thread.start()
        return loop


def _new_loop() -> asyncio.AbstractEventLoop:
    try:
        import uvloop
    except ImportError:
        return asyncio.new_event_loop()
    return uvloop.new_event_loop()


def _run_loop(loop: asyncio.AbstractEventLoop) -> None:
    try:
        loop.run_forever()
    finally:
        loop.close()


def _measure_lag(
    loop: asyncio.AbstractEventLoop, note: Callable[[float], object], due_at: float
) -> None:
    now = time.monotonic()
    note(now - due_at)
    loop.call_later(_LAG_EVERY_S, _measure_lag, loop, note, now + _LAG_EVERY_S)


def _await_response(future: "Future[HttpResponse]", timeout_s: float) -> HttpResponse:
    try:
        return future.result(timeout_s)
    except CancelledError:
        words = "the request was cut short before its answer came"
    except TimeoutError:
        words = "the worker's event loop hangs; the request's answer is not known"
    raise ProviderError(ErrorKind.DOUBTFUL, words)
