"""The HTTP client for providers: sends one request, and says what is known when that fails.

It owns timeouts, limits, and the border between "surely not sent" and "in doubt". The adapters
decide what an answer means.
"""

import asyncio
import errno
import os
import ssl
from collections.abc import Callable
from functools import lru_cache
from types import TracebackType
from typing import Final, Self
from urllib.parse import urlsplit

import aiohttp
from aiohttp.http_exceptions import HttpProcessingError

from dispatcher import __version__
from dispatcher.config.sections import is_loopback
from dispatcher.errors import ErrorKind, ProviderError
from dispatcher.outbound.connections import Connector, StaleConnections, current_exchange
from dispatcher.outbound.departure import (
    AT_ONCE,
    Departure,
    Exchange,
    NotBegun,
    Unanswered,
    boottime_s,
)
from dispatcher.outbound.kept_connections import (
    LATE_S,
    READ_S,
    AnswerTooLarge,
    KeptConnections,
    join_headers,
    read_body,
)
from dispatcher.types import HttpRequest, HttpResponse

#: Seconds for DNS, TCP and TLS together. A new connection moves the begin deadline by as much.
CONNECT_TIMEOUT_S: Final = 10.0

_HEADERS: Final = {
    "User-Agent": f"sms-dispatcher/{__version__}",
    "Accept-Encoding": "gzip, deflate",
}


class HttpClient:
    """Sends requests over kept connections. Only for use on one event loop.

        async with HttpClient(connections=4) as client:
            response = await client.send(request, timeout_s=60)

    TLS is always verified (with `SSL_CERT_FILE`, if that is set). Redirects are not followed.
    Cookies are not used, and a proxy only where the request names it. `connections` is the limit
    per host: a request beyond it waits for at most the connect timeout. `clock` is the clock of the
    departures.
    """

    def __init__(
        self,
        *,
        connections: int,
        connect_timeout_s: float = CONNECT_TIMEOUT_S,
        clock: Callable[[], float] = boottime_s,
    ) -> None:
        self._connections = connections
        self._connect_timeout_s = connect_timeout_s
        self._clock = clock
        self._session: aiohttp.ClientSession | None = None
        #: None also while requests are traced, which aiohttp does.
        self._kept: KeptConnections | None = None

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
        """Make the session now, since that takes long. Otherwise the first `send` makes it."""
        self._get_session()

    async def close(self) -> None:
        """Close every connection. A later `send` opens new ones."""
        session, self._session, self._kept = self._session, None, None
        if session is not None:
            await session.close()

    async def send(
        self, request: HttpRequest, *, timeout_s: float, departure: Departure = AT_ONCE
    ) -> HttpResponse:
        """Send `request`, and return its complete answer, whatever its status.

        It waits for the departure with its connection in hand, and checks it directly before the
        first byte. `timeout_s` counts from the departure. A new connection moves the begin
        deadline by the connect timeout: otherwise a provider with a slow handshake would get no
        request at all. So the first byte leaves by `begin_deadline + CONNECT_TIMEOUT_S` and before
        `not_after`, or never.

        Raises NotBegun if it is too late for that. Raises ProviderError: UNREACHABLE if surely no
        byte left, which means that the request had no connection; DOUBTFUL if one may have left
        and no complete answer came. The connection of a request that failed or was cancelled is
        reset, so that no byte leaves from a buffer later.
        """
        host = _find_host(request.url)
        proxy = urlsplit(request.proxy).netloc.rpartition("@")[2] if request.proxy else None
        exchange = Exchange(host, departure, self._connect_timeout_s, self._clock, proxy)
        try:
            session = self._get_session()
            if self._kept is not None:
                answer = await self._kept.send(request, exchange, timeout_s=timeout_s)
                if answer is not None:
                    return answer
            current_exchange.set(exchange)
            async with asyncio.timeout(None) as limit:
                timer = _set_time_limit(limit, exchange.wait_s + timeout_s)
                try:
                    return await self._send_and_read(session, request, exchange)
                finally:
                    timer.cancel()
        except ProviderError:
            raise
        except asyncio.CancelledError:
            if exchange.may_have_left:
                raise
            raise NotBegun(f"the request to {host} was cut short: it was not sent") from None
        # Any error after the request had its connection is a doubt, even a library's bug. The
        # cause is not chained: aiohttp's messages contain whole URLs.
        except Exception as error:  # noqa: BLE001
            raise _explain_failure(error, exchange, request.url) from None

    async def _send_and_read(
        self, session: aiohttp.ClientSession, request: HttpRequest, exchange: Exchange
    ) -> HttpResponse:
        try:
            response = await session.request(
                request.method,
                request.url,
                headers=request.headers,
                data=request.body,
                allow_redirects=False,
                proxy=request.proxy,
            )
            exchange.response = response
            body = await read_body(response.content, request.max_answer_bytes)
        except BaseException:
            exchange.cut_off()
            raise
        headers = join_headers(response.headers)
        return HttpResponse(status=response.status, headers=headers, body=body)

    def _get_session(self) -> aiohttp.ClientSession:
        if self._session is None:
            connector = Connector(limit_per_host=self._connections)
            self._session = aiohttp.ClientSession(
                connector=connector,
                cookie_jar=aiohttp.DummyCookieJar(),
                headers=_HEADERS,
                # `send` and the connector have their own limits.
                timeout=aiohttp.ClientTimeout(),
            )
            if not self._session.trace_configs:
                self._kept = KeptConnections(connector, _HEADERS)
        return self._session


def fetch_once(request: HttpRequest, *, timeout_s: float) -> HttpResponse:
    """Send one request without an event loop, for commands. Raises like `HttpClient.send`."""

    async def send_once() -> HttpResponse:
        async with HttpClient(connections=1) as client:
            return await client.send(request, timeout_s=timeout_s)

    return asyncio.run(send_once())


@lru_cache(256)
def _find_host(url: str) -> str:
    return urlsplit(url).hostname or "the provider"


def _set_time_limit(limit: asyncio.Timeout, seconds: float) -> asyncio.TimerHandle:
    """Let it end in so many seconds, or a little later where the loop stands still then.

    After a standstill timers run first, before the answer that lies in the socket's buffer.
    """
    loop = asyncio.get_running_loop()
    ends_at = loop.time() + seconds

    def end() -> None:
        now = loop.time()
        limit.reschedule(now + READ_S if now > ends_at + LATE_S else now)

    return loop.call_at(ends_at, end)


_Errors = type[Exception] | tuple[type[Exception], ...]
#: What people read, by the first class that fits. Libraries' own messages contain addresses.
_DOUBTS: Final[tuple[tuple[_Errors, str], ...]] = (
    (TimeoutError, "gave no complete answer in time"),
    (AnswerTooLarge, "gave an answer larger than the limit"),
    (aiohttp.ServerDisconnectedError, "closed the connection without an answer"),
    (aiohttp.ClientPayloadError, "broke off in the middle of its answer"),
    ((aiohttp.ClientResponseError, HttpProcessingError), "gave an answer that is not HTTP"),
    (OSError, "broke the connection"),
    (Exception, "gave no complete answer"),
)
_UNCONNECTED: Final[tuple[tuple[_Errors, str], ...]] = (
    (TimeoutError, "not within the time allowed"),
    (aiohttp.ClientConnectorDNSError, "its name cannot be resolved"),
    (aiohttp.ClientConnectorCertificateError, "its certificate cannot be verified"),
    (aiohttp.ClientConnectorSSLError, "TLS failed"),
    (StaleConnections, "it sent bytes without a request"),
    (Exception, "it could not be made"),
)


_CHECK: Final = "check base_url, this machine's network and clock, and its root certificates"
_UNUSED_PROXY: Final = (
    "$HTTPS_PROXY is not used by itself: if this machine needs a proxy, write "
    '`proxy = "environment"` or its URL under the account'
)


def _explain_failure(error: Exception, exchange: Exchange, url: str) -> ProviderError:
    """Decide whether a request without an answer was surely not sent. Nothing else decides this."""
    if exchange.proxy is not None and not exchange.may_have_left:
        failed = _explain_proxy(error, exchange.host, exchange.proxy)
        if failed is not None:
            return failed
    table = _DOUBTS if exchange.may_have_left else _UNCONNECTED
    words = next(words for kind, words in table if isinstance(error, kind))
    # Resolver errors have negative numbers, and TLS errors numbers that are not the system's.
    if (
        isinstance(error, OSError)
        and not isinstance(error, ssl.SSLError)
        and (error.errno or 0) > 0
    ):
        words = f"{words} ({os.strerror(error.errno or 0).lower()})"
    if isinstance(error, aiohttp.ServerDisconnectedError) and exchange.may_have_left:
        return Unanswered(f"{exchange.host} {words}")
    if exchange.may_have_left:
        return ProviderError(ErrorKind.DOUBTFUL, f"{exchange.host} {words}")
    is_refused = isinstance(error, OSError) and error.errno == errno.ECONNREFUSED
    return ProviderError(
        ErrorKind.UNREACHABLE,
        f"no connection to {exchange.host}: {words}",
        hint=f"does the simulator run? `dispatcher simulator --port {urlsplit(url).port or 443}` "
        "starts it; to reach the provider itself, change or remove base_url"
        if is_refused and exchange.proxy is None and is_loopback(exchange.host)
        else _UNUSED_PROXY
        if exchange.proxy is None and _has_proxy_variable()
        else _CHECK,
    )


def _explain_proxy(error: Exception, host: str, proxy: str) -> ProviderError | None:
    """A failure of the proxy itself; None if it made the tunnel."""
    if isinstance(error, aiohttp.ClientHttpProxyError):
        refused = "asks for a user and a password" if error.status == 407 else "refuses to connect"
        words = f"the proxy {proxy} {refused} (HTTP {error.status})"
    elif isinstance(error, aiohttp.ClientConnectorDNSError):
        words = f"the name of the proxy {proxy} cannot be resolved"
    elif isinstance(error, aiohttp.ClientProxyConnectionError):
        number = error.errno or 0
        reason = f" ({os.strerror(number).lower()})" if number > 0 else ""
        words = f"the proxy {proxy} cannot be reached{reason}"
    elif isinstance(error, aiohttp.ClientResponseError | aiohttp.ServerDisconnectedError):
        words = f"the proxy {proxy} gives no answer that is HTTP"
    else:
        return None
    return ProviderError(
        ErrorKind.UNREACHABLE,
        f"no connection to {host}: {words}",
        hint="check `proxy` of this account; `dispatcher doctor` shows who named it",
    )


def _has_proxy_variable() -> bool:
    return any(os.environ.get(name) for name in ("HTTPS_PROXY", "https_proxy"))
