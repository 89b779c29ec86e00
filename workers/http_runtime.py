"""One event loop thread and one HttpClient for all Celery threads of a process.

It owns the loop's life and the way into it; what a request's failure means is the transport's.
"""

import asyncio
import logging
import queue
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import CancelledError, Future
from typing import Final

from dispatcher.errors import ErrorKind, ProviderError
from dispatcher.outbound.departure import Departure, NotBegun
from dispatcher.outbound.transport import HttpClient
from dispatcher.types import HttpRequest, HttpResponse

#: Seconds over a request's own timeout after which its thread no longer trusts the loop.
GRACE_S: Final = 15.0

#: Answers that end within so many seconds are stored together.
GROUPING_S: Final = 0.05
_AT_ONCE: Final = Departure()
_log = logging.getLogger(__name__)


class HttpRuntime:
    """Lets threads that block send requests over the connections of one process.

        runtime = HttpRuntime(HttpClient(connections=8))
        response = runtime.call(request, timeout_s=60, begin_deadline=boottime() + 1)
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

    def send_request(
        self, request: HttpRequest, *, timeout_s: float, departure: Departure = _AT_ONCE
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

    def call_many(
        self,
        requests: Iterable[HttpRequest],
        *,
        timeout_s: float,
        concurrency: int,
        departures: Sequence[Departure] | None = None,
    ) -> Iterator[tuple[int, HttpResponse | ProviderError]]:
        """Send `requests`, at most `concurrency` at a time; yield what became of each, as it ends.

        The number is the request's place in `requests`, which is read no further ahead than
        needed, and in `departures`. A failed request is a value, raised is nothing; see `call` for
        the kinds.

        Warning: a caller that stops early cancels what is on its way and never learns its fate.
        """
        for group in self.send_requests(
            requests, timeout_s=timeout_s, concurrency=concurrency, departures=departures
        ):
            yield from group

    def send_requests(
        self,
        requests: Iterable[HttpRequest],
        *,
        timeout_s: float,
        concurrency: int,
        departures: Sequence[Departure] | None = None,
    ) -> Iterator[list[tuple[int, HttpResponse | ProviderError]]]:
        """As `call_many`, in groups of what ended within `GATHER_S` of each other."""
        todo = enumerate(requests)
        ended: queue.SimpleQueue[Future[HttpResponse]] = queue.SimpleQueue()
        places: dict[Future[HttpResponse], int] = {}

        def start_next() -> None:
            for place, request in todo:
                departure = departures[place] if departures is not None else _AT_ONCE
                future = self._start_request(request, timeout_s, departure)
                places[future] = place
                future.add_done_callback(ended.put)
                break

        try:
            for _ in range(concurrency):
                start_next()
            while places:
                try:
                    future = ended.get(timeout=timeout_s + self._grace_s)
                except queue.Empty:  # the loop hangs; cancelling ends each, as doubtful
                    for future in list(places):
                        future.cancel()
                    continue
                group = []
                for each in _collect_ended(future, ended, len(places)):
                    place = places.pop(each)
                    start_next()
                    group.append((place, _get_outcome(each)))
                yield group
        finally:
            for future in places:
                future.cancel()

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
            _log.warning("the HTTP loop did not end in time; its requests are in doubt")
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


def _collect_ended(
    first: "Future[HttpResponse]",
    ended: "queue.SimpleQueue[Future[HttpResponse]]",
    at_most: int,
) -> "list[Future[HttpResponse]]":
    """What has ended, and what ends within `GATHER_S`."""
    found = [first]
    give_up = time.monotonic() + GROUPING_S
    while len(found) < at_most:
        try:
            found.append(ended.get(timeout=max(0.0, give_up - time.monotonic())))
        except queue.Empty:
            break
    return found


def _get_outcome(future: "Future[HttpResponse]") -> HttpResponse | ProviderError:
    try:
        return _await_response(future, 0)
    except ProviderError as error:
        return error


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


def _await_response(future: "Future[HttpResponse]", timeout_s: float) -> HttpResponse:
    try:
        return future.result(timeout_s)
    except CancelledError:
        words = "the request was cut short before its answer came"
    except TimeoutError:
        words = "the worker's event loop hangs; the request's answer is not known"
    raise ProviderError(ErrorKind.DOUBTFUL, words)
