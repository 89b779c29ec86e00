"""When a request may leave: it waits with its connection in hand, and is checked a last time.

Instants are seconds of `boottime_s()`. `transport.py` decides what an answer or a failure means.
"""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from math import inf
from typing import TYPE_CHECKING, Final

from dispatcher.errors import ErrorKind, ProviderError

if TYPE_CHECKING:
    import aiohttp


def boottime_s() -> float:
    """The time of CLOCK_BOOTTIME, which counts suspend; without it, of the monotonic clock."""
    if hasattr(time, "CLOCK_BOOTTIME"):
        return time.clock_gettime(time.CLOCK_BOOTTIME)
    return time.monotonic()


@dataclass(frozen=True, slots=True)
class Departure:
    """When a request may leave.

    It leaves at `not_before`, unless `may_leave()` is False then, or `hold_s(now, latest)` says
    after how many more seconds it has to be asked again. `begin_deadline` guards against a process
    that was stopped; a new connection moves it by the connect timeout. Nothing moves `not_after`,
    the end of a window.
    """

    not_before: float = 0.0
    begin_deadline: float | None = None
    not_after: float | None = None
    may_leave: Callable[[], bool] | None = None
    hold_s: Callable[[float, float], float] | None = None


#: For requests without a rate and a window.
AT_ONCE: Final = Departure()


class NotBegun(ProviderError):
    """The request was not sent, for a reason on our side: its messages can be handed back."""

    def __init__(self, message: str) -> None:
        super().__init__(ErrorKind.UNREACHABLE, message)


class Unanswered(ProviderError):
    """The server closed the connection after the request and before an answer."""

    def __init__(self, message: str) -> None:
        super().__init__(ErrorKind.DOUBTFUL, message)


class Exchange:
    """The state of one request while it is under way to `host`."""

    def __init__(
        self,
        host: str,
        departure: Departure,
        connect_timeout_s: float,
        clock: Callable[[], float],
        proxy: str | None = None,
    ) -> None:
        """`proxy`: the proxy's host and port, without a password."""
        self.host = host
        self.proxy = proxy
        #: Set while the proxy is asked for a tunnel, whose answer is expected.
        self.asks_proxy = False
        self.connect_timeout_s = connect_timeout_s
        self.transport: asyncio.Transport | None = None
        self.response: aiohttp.ClientResponse | None = None
        self._departure = departure
        self._deadline = departure.begin_deadline
        self._clock = clock

    @property
    def may_have_left(self) -> bool:
        """Whether a byte of the request may have been written."""
        return self.transport is not None

    @property
    def wait_s(self) -> float:
        """Seconds until it may leave; 0 if it may now."""
        not_before = self._departure.not_before
        return max(0.0, not_before - self._clock()) if not_before else 0.0

    def start_connecting(self) -> None:
        """Move the deadline by the connect timeout. Raises NotBegun if it has passed already."""
        self._check_time()
        if self._deadline is not None:
            self._deadline = self._deadline + self.connect_timeout_s

    async def wait_for_departure(self) -> None:
        """Wait until the request may leave. Raises NotBegun if it must not.

        Nothing is awaited between this last check and the first byte.
        """
        # A loop, since uvloop's timers are up to 1.3 ms early.
        while (wait_s := self.wait_s or self._held_s()) > 0:  # noqa: ASYNC110
            await asyncio.sleep(wait_s)

    def _held_s(self) -> float:
        """Seconds for which its start has come and it still has to wait."""
        self._check_time()
        may_leave, hold_s = self._departure.may_leave, self._departure.hold_s
        if may_leave is not None and not may_leave():
            raise NotBegun(f"the request to {self.host} was withdrawn: it was not sent")
        if hold_s is None:
            return 0.0
        wait_s = hold_s(self._clock(), inf if self._deadline is None else self._deadline)
        if wait_s == inf:
            raise NotBegun(f"the request to {self.host} was too late: it was not sent")
        return wait_s

    def cut_off(self) -> None:
        """Reset the connection, unless it was released and may carry another request by now.

        aiohttp would close it, which first writes what is still in the buffer.
        """
        released = self.response is not None and self.response.connection is None
        if self.transport is not None and not released:
            self.transport.abort()
        if self.response is not None:
            self.response.close()

    def _check_time(self) -> None:
        if self._deadline is None and self._departure.not_after is None:
            return
        now = self._clock()
        if self._deadline is not None and now > self._deadline:
            raise NotBegun(f"the request to {self.host} could not begin in time: it was not sent")
        if self._departure.not_after is not None and now >= self._departure.not_after:
            raise NotBegun(f"the time for requests to {self.host} was over: it was not sent")
