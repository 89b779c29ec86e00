"""The only user of aiohttp as a client: sends one request, and says what is known when it fails.

It owns timeouts, limits and the border between "surely not sent" and "in doubt"; what an answer
means is the adapters' to say.
"""

import asyncio
import os
import socket
import ssl
import struct
import time
from collections.abc import Callable
from dataclasses import dataclass
from types import SimpleNamespace, TracebackType
from typing import Final, Self
from urllib.parse import urlsplit

import aiohttp
from aiohttp.abc import AbstractStreamWriter

from dispatcher import __version__
from dispatcher.errors import ErrorKind, ProviderError
from dispatcher.types import HttpRequest, HttpResponse

#: Seconds for name, TCP and TLS together; also what a new connection may add to a begin deadline.
CONNECT_TIMEOUT_S: Final = 10.0
#: Common servers close idle connections after 5 s, and a request written into a closing one is a
#: doubt: a POST is not repeated, by aiohttp or by us. So ours are given up first.
KEEPALIVE_S: Final = 4.0
#: How long the kernel repeats unacknowledged bytes (RFC 5482) before it breaks the connection.
TCP_USER_TIMEOUT_MS: Final = 20_000
MAX_BODY_BYTES: Final = 64 * 1024 * 1024

_CHUNK: Final = 64 * 1024
#: SO_LINGER of zero seconds: closing resets, and the kernel throws away what it has not sent yet.
_NO_LINGER: Final = struct.pack("ii", 1, 0)


def boottime_s() -> float:
    """Seconds of CLOCK_BOOTTIME, which goes on while the machine sleeps; else of the monotonic."""
    if hasattr(time, "CLOCK_BOOTTIME"):
        return time.clock_gettime(time.CLOCK_BOOTTIME)
    return time.monotonic()


@dataclass(frozen=True, slots=True)
class Departure:
    """When a request may leave; all are instants of `boottime_s()`.

    It waits for `not_before`; `lets_out`, where given, is then asked with the present time, and
    withdraws it. `begin_deadline` guards against a process that was stopped: a new
    connection adds the connect timeout to it. Nothing moves `not_after`: a window's end.
    """

    not_before: float = 0.0
    begin_deadline: float | None = None
    not_after: float | None = None
    may_leave: Callable[[float], bool] | None = None


_AT_ONCE: Final = Departure()


class NotBegun(ProviderError):
    """The request was withdrawn before its first byte, for a reason of ours: hand its work back."""

    def __init__(self, message: str) -> None:
        super().__init__(ErrorKind.UNREACHABLE, message)


class HttpClient:
    """Sends requests over kept connections of one event loop, on which alone it may be used.

        async with HttpClient(connections=4) as client:
            response = await client.send(request, timeout_s=60)

    TLS is always verified (against `SSL_CERT_FILE` where that is set); redirects are answers;
    there are no cookies and no proxies. `connections` is the limit per host: a request over it
    waits for its turn, at most the connect timeout. `clock` is what departures are read on.
    """

    def __init__(
        self,
        *,
        connections: int,
        connect_timeout_s: float = CONNECT_TIMEOUT_S,
        max_body_bytes: int = MAX_BODY_BYTES,
        clock: Callable[[], float] = boottime_s,
    ) -> None:
        self._connections = connections
        self._connect_timeout_s = connect_timeout_s
        self._max_body_bytes = max_body_bytes
        self._clock = clock
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close()

    async def open_session(self) -> None:
        """Make the session now, since that takes long; otherwise the first `send` does."""
        self._get_session()

    async def close(self) -> None:
        """Close every connection; a later `send` opens new ones."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    async def send(
        self, request: HttpRequest, *, timeout_s: float, departure: Departure = _AT_ONCE
    ) -> HttpResponse:
        """The complete answer to `request`, whatever its status; `timeout_s` is for all of it.

        The departure is checked first, and again between having a connection and writing the first
        byte. A connection that had to be made adds the connect timeout to the begin deadline, on
        the same clock: otherwise a provider with a slow handshake would never be served. So the
        first byte leaves by `begin_deadline + CONNECT_TIMEOUT_S` and before `not_after`, or never.

        Raises NotBegun past that; ProviderError UNREACHABLE where surely nothing left, and
        DOUBTFUL where something may have and no complete answer came. Only a request that never
        had a connection counts as "surely". One given up or cancelled is cut off: what has not
        left by then does not leave from a buffer later.
        """
        host = urlsplit(request.url).hostname or "the provider"
        exchange = _Exchange(host, departure, self._connect_timeout_s, self._clock)
        try:
            # Made once, which takes long: while the departure is waited for.
            session = self._get_session()
            await exchange.wait_for_departure()
            async with asyncio.timeout(timeout_s):
                return await self._send_and_read(session, request, exchange)
        except ProviderError:
            raise
        # Whatever went wrong once there was a connection is a doubt, a library's bug included. The
        # cause is not chained: aiohttp's texts hold whole URLs.
        except Exception as error:  # noqa: BLE001
            raise _explain_failure(error, exchange) from None

    async def _send_and_read(
        self, session: aiohttp.ClientSession, request: HttpRequest, exchange: "_Exchange"
    ) -> HttpResponse:
        try:
            response = await session.request(
                request.method,
                request.url,
                headers=request.headers,
                data=None if request.body is None else _Body(request.body, exchange),
                allow_redirects=False,
                trace_request_ctx=exchange,
            )
            exchange.response = response
            body = await self._read_body(response)
        except BaseException:
            exchange.cut_off()
            raise
        # Repeated headers are joined as RFC 9110, 5.2 has it.
        headers = {
            name.lower(): ", ".join(response.headers.getall(name)) for name in response.headers
        }
        return HttpResponse(status=response.status, headers=headers, body=body)

    async def _read_body(self, response: aiohttp.ClientResponse) -> bytes:
        body = bytearray()
        async for chunk in response.content.iter_chunked(_CHUNK):
            body += chunk
            if len(body) > self._max_body_bytes:
                raise _AnswerTooLarge
        return bytes(body)

    def _get_session(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(
                    limit=0,
                    limit_per_host=self._connections,
                    keepalive_timeout=KEEPALIVE_S,
                    ssl=ssl.create_default_context(),
                    socket_factory=_new_socket,
                ),
                cookie_jar=aiohttp.DummyCookieJar(),
                headers={
                    "User-Agent": f"sms-dispatcher/{__version__}",
                    "Accept-Encoding": "gzip, deflate",
                },
                # `send` times the whole. aiohttp rounds up what is over its threshold: none is.
                timeout=aiohttp.ClientTimeout(
                    connect=self._connect_timeout_s, ceil_threshold=float("inf")
                ),
                trace_configs=[_make_tracing()],
            )
        return self._session


def fetch_once(request: HttpRequest, *, timeout_s: float) -> HttpResponse:
    """One request outside any event loop, for the command line. Raises as `HttpClient.send`."""

    async def once() -> HttpResponse:
        async with HttpClient(connections=1) as client:
            return await client.send(request, timeout_s=timeout_s)

    return asyncio.run(once())


class _AnswerTooLarge(Exception):
    """The answer's body, decompressed, is over the limit."""


class _Exchange:
    """What is known of one request while it is on its way."""

    def __init__(
        self,
        host: str,
        departure: Departure,
        allowance_s: float,
        clock: Callable[[], float],
    ) -> None:
        self.host = host
        self.connected = False
        self.transport: asyncio.Transport | None = None
        self.response: aiohttp.ClientResponse | None = None
        self._departure = departure
        self._deadline = departure.begin_deadline
        self._not_after = departure.not_after
        self._allowance_s = allowance_s
        self._clock = clock

    @property
    def may_have_left(self) -> bool:
        """Whether a byte of the request may have been written, by either of two witnesses."""
        return self.connected or self.transport is not None

    async def wait_for_departure(self) -> None:
        """Raise NotBegun where its time has come and it must stay."""
        departure = self._departure
        if departure.not_before:
            # More than once: uvloop's timers are up to 1.3 ms early.
            while (wait_s := departure.not_before - self._clock()) > 0:  # noqa: ASYNC110
                await asyncio.sleep(wait_s)
        if departure.may_leave is not None and not departure.may_leave(self._clock()):
            raise NotBegun(f"the request to {self.host} was late: it was not sent")
        self.check_deadline()

    def check_deadline(self) -> None:
        """Raise NotBegun past the deadline, or at the end of what is allowed."""
        if self._deadline is None and self._not_after is None:
            return
        now = self._clock()
        if self._deadline is not None and now > self._deadline:
            raise NotBegun(f"the request to {self.host} could not begin in time: it was not sent")
        if self._not_after is not None and now >= self._not_after:
            raise NotBegun(f"the time for requests to {self.host} was over: it was not sent")

    def start_connecting(self) -> None:
        """Check the deadline a last time before it is moved by what the connection may take."""
        self.check_deadline()
        if self._deadline is not None:
            self._deadline += self._allowance_s
            self._allowance_s = 0.0

    def cut_off(self) -> None:
        """Reset the connection, unless it was released and may carry another request by now.

        aiohttp alone would close it, which first writes what is still in the buffer.
        """
        released = self.response is not None and self.response.connection is None
        if self.transport is not None and not released:
            self.transport.abort()
        if self.response is not None:
            self.response.close()


class _Body(aiohttp.BytesPayload):
    """A request body that notes the transport it is written to, before it is."""

    def __init__(self, value: bytes, exchange: _Exchange) -> None:
        super().__init__(value)
        self._exchange = exchange

    async def write_with_length(
        self, writer: AbstractStreamWriter, content_length: int | None
    ) -> None:
        self._exchange.transport = getattr(writer, "transport", None)
        await super().write_with_length(writer, content_length)


def _make_tracing() -> aiohttp.TraceConfig:
    """The hooks by which aiohttp says how far a request came; its `_Exchange` is their context.

    aiohttp cleans up after a hook that raises where ours do: before a connection is made, and
    before the headers are written.
    """

    async def connecting(_: aiohttp.ClientSession, context: SimpleNamespace, __: object) -> None:
        context.trace_request_ctx.start_connecting()

    async def connected(_: aiohttp.ClientSession, context: SimpleNamespace, __: object) -> None:
        context.trace_request_ctx.connected = True

    async def writing(_: aiohttp.ClientSession, context: SimpleNamespace, __: object) -> None:
        context.trace_request_ctx.check_deadline()

    tracing = aiohttp.TraceConfig()
    tracing.on_connection_create_start.append(connecting)
    tracing.on_connection_create_end.append(connected)
    tracing.on_connection_reuseconn.append(connected)
    # "Sent" is aiohttp's word: the hook runs before the headers are made into bytes.
    tracing.on_request_headers_sent.append(writing)
    return tracing


def _new_socket(address: aiohttp.AddrInfoType) -> socket.socket:
    family, kind, protocol, *_ = address
    sock = socket.socket(family, kind, protocol)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_LINGER)
    if hasattr(socket, "TCP_USER_TIMEOUT"):
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, TCP_USER_TIMEOUT_MS)
    return sock


#: What a person is told, by the first class that fits. A library's own text holds addresses.
_DOUBTS: Final[tuple[tuple[type[Exception], str], ...]] = (
    (TimeoutError, "gave no complete answer in time"),
    (_AnswerTooLarge, "gave an answer larger than the limit"),
    (aiohttp.ServerDisconnectedError, "closed the connection without an answer"),
    (aiohttp.ClientPayloadError, "broke off in the middle of its answer"),
    (aiohttp.ClientResponseError, "gave an answer that is not HTTP"),
    (OSError, "broke the connection"),
    (Exception, "gave no complete answer"),
)
_UNCONNECTED: Final[tuple[tuple[type[Exception], str], ...]] = (
    (TimeoutError, "not within the time allowed"),
    (aiohttp.ClientConnectorDNSError, "its name cannot be resolved"),
    (aiohttp.ClientConnectorCertificateError, "its certificate cannot be verified"),
    (aiohttp.ClientConnectorSSLError, "TLS failed"),
    (Exception, "it could not be made"),
)


def _explain_failure(error: Exception, exchange: _Exchange) -> ProviderError:
    """The one place that decides whether a request without an answer was surely not sent."""
    table = _DOUBTS if exchange.may_have_left else _UNCONNECTED
    words = next(words for kind, words in table if isinstance(error, kind))
    # The numbers of resolver errors are negative, and those of TLS are not the system's.
    if (
        isinstance(error, OSError)
        and not isinstance(error, ssl.SSLError)
        and (error.errno or 0) > 0
    ):
        words = f"{words} ({os.strerror(error.errno or 0).lower()})"
    if exchange.may_have_left:
        return ProviderError(ErrorKind.DOUBTFUL, f"{exchange.host} {words}")
    return ProviderError(
        ErrorKind.UNREACHABLE,
        f"no connection to {exchange.host}: {words}",
        hint="check base_url, this machine's network and clock, and its root certificates",
    )
