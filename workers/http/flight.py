"""A flight: requests of one thread that are under way together on the event loop."""

import asyncio
import queue
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Final, NamedTuple

from dispatcher.errors import ErrorKind, ProviderError
from dispatcher.outbound.departure import Departure, NotBegun, boottime_s
from dispatcher.outbound.transport import HttpClient
from dispatcher.types import HttpRequest, HttpResponse

#: Answers that come within this many seconds are handled together.
GROUPING_S: Final = 0.005


class FlightRequest(NamedTuple):
    """A request of a flight: its caller's own number for it, and when it may leave."""

    number: int
    http: HttpRequest
    departure: Departure


class Landed(NamedTuple):
    """A request that ended: the answer, or why there is none, and the seconds that it took."""

    number: int
    answer: HttpResponse | ProviderError
    took_s: float


class Flight:
    """Requests of one thread that are under way together, sent and collected in groups.

        flight = runtime.open_flight(timeout_s=60)
        flight.send([FlightRequest(0, request, departure), ...])
        for landed in flight.collect(timeout_s=1):
            ...
        flight.close()

    Every request that was sent lands exactly once, as an answer or as an error; see
    `HttpRuntime.send_request` for the kinds. Only `stop` may be called from another thread.
    """

    def __init__(
        self,
        start: "Callable[[Flight, Sequence[FlightRequest]], bool]",
        *,
        timeout_s: float,
        hangs_after_s: float,
    ) -> None:
        self._start = start
        self._timeout_s = timeout_s
        self._hangs_after_s = hangs_after_s
        self._landed: queue.SimpleQueue[list[Landed]] = queue.SimpleQueue()
        #: Requests that have not landed, and when the last group left or landed.
        self._under_way: set[int] = set()
        self._moved_at = time.monotonic()
        self._is_stopped = False
        self._loop: asyncio.AbstractEventLoop | None = None
        # Of the loop's thread.
        self._tasks: set[asyncio.Task[HttpResponse]] = set()
        self._fresh: list[Landed] = []
        #: When each request was last asked whether it may leave.
        self._left_at: dict[int, float] = {}

    @property
    def under_way(self) -> int:
        """How many requests have not landed."""
        return len(self._under_way)

    def send(self, requests: Sequence[FlightRequest]) -> None:
        """Hand a group of requests to the loop; each leaves at its departure."""
        self._under_way.update(request.number for request in requests)
        self._moved_at = time.monotonic()
        if not self._start(self, requests):
            refusal = NotBegun("the worker is stopping: the request was not sent")
            self._landed.put([Landed(request.number, refusal, 0.0) for request in requests])

    def collect(self, *, timeout_s: float, group_s: float = GROUPING_S) -> list[Landed]:
        """What has landed; waits for the first at most `timeout_s`, then `group_s` for others.

        If the loop hangs, requests under way land as in doubt.
        """
        landed: list[Landed] = []
        give_up = time.monotonic() + timeout_s
        while self._under_way:
            try:
                group = self._landed.get(timeout=max(0.0, give_up - time.monotonic()))
            except queue.Empty:
                break
            if not landed:
                give_up = time.monotonic() + group_s
            landed += [each for each in group if each.number in self._under_way]
            self._under_way.difference_update(each.number for each in group)
        if landed:
            self._moved_at = time.monotonic()
        elif self._under_way and time.monotonic() - self._moved_at > self._hangs_after_s:
            words = "the worker's event loop hangs; the request's answer is not known"
            doubt = ProviderError(ErrorKind.DOUBTFUL, words)
            landed = [Landed(number, doubt, self._hangs_after_s) for number in self._under_way]
            self._under_way.clear()
        return landed

    def stop(self) -> None:
        """Withdraw what has not left: it lands as NotBegun."""
        self._is_stopped = True

    def close(self) -> None:
        """Cancel what is under way: its answers are not collected any more."""
        if self._under_way and self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._cancel_tasks)

    def start_on_loop(
        self,
        loop: asyncio.AbstractEventLoop,
        client: HttpClient,
        requests: Sequence[FlightRequest],
    ) -> None:
        """Start the requests; called on the loop's thread."""
        self._loop = loop
        for number, http, departure in requests:
            guarded = replace(departure, may_leave=partial(self._may_leave, number))
            task = loop.create_task(client.send(http, timeout_s=self._timeout_s, departure=guarded))
            self._tasks.add(task)
            self._left_at[number] = boottime_s()
            task.add_done_callback(partial(self._land, loop, number))

    def _cancel_tasks(self) -> None:
        for task in list(self._tasks):
            task.cancel()

    def _may_leave(self, number: int) -> bool:
        """Asked directly before the first byte, and where it may not leave yet, again."""
        self._left_at[number] = boottime_s()
        return not self._is_stopped

    def _land(
        self,
        loop: asyncio.AbstractEventLoop,
        number: int,
        task: "asyncio.Task[HttpResponse]",
    ) -> None:
        self._tasks.discard(task)
        took_s = boottime_s() - self._left_at.pop(number)
        if not self._fresh:
            loop.call_soon(self._hand_over)
        self._fresh.append(Landed(number, _task_outcome(task), took_s))

    def _hand_over(self) -> None:
        fresh, self._fresh = self._fresh, []
        self._landed.put(fresh)


def _task_outcome(task: "asyncio.Task[HttpResponse]") -> HttpResponse | ProviderError:
    if task.cancelled():
        return ProviderError(ErrorKind.DOUBTFUL, "the request was cut short before its answer came")
    error = task.exception()
    if error is None:
        return task.result()
    if isinstance(error, ProviderError):
        return error
    # `HttpClient.send` raises nothing else.
    return ProviderError(ErrorKind.DOUBTFUL, f"the request failed ({type(error).__name__})")
