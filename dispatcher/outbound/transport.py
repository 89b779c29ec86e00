"""The HTTP client for providers: sends one request, and says what is known when it fails.

It owns timeouts, limits and the border between "surely not sent" and "in doubt"; what an answer
means is for the adapters to say.
"""

import asyncio
import os
import ssl
from collections.abc import Callable
from types import TracebackType
from typing import Final, Self
from urllib.parse import urlsplit

import aiohttp

from dispatcher import __version__
from dispatcher.errors import ErrorKind, ProviderError
from dispatcher.outbound.connections import Connector, StaleConnections, current_exchange
from dispatcher.outbound.departure import AT_ONCE, Departure, Exchange, NotBegun, boottime_s
from dispatcher.types import HttpRequest, HttpResponse

#: Seconds for name, TCP and TLS together; also what a new connection may add to a begin deadline.
CONNECT_TIMEOUT_S: Final = 10.0

_CHUNK: Final = 64 * 1024


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
        clock: Callable[[], float] = boottime_s,
    ) -> None:
        self._connections = connections
        self._connect_timeout_s = connect_timeout_s
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
        self, request: HttpRequest, *, timeout_s: float, departure: Departure = AT_ONCE
    ) -> HttpResponse:
        """The complete answer to `request`, whatever its status; `timeout_s` is for all of it.

        The departure is waited for, and checked, between having a connection and writing the first
        byte; `timeout_s` counts from the departure. A connection that had to be made adds the
        connect timeout to the begin deadline, on the same clock: otherwise a provider with a slow
        handshake would never be served. So the first byte leaves by
        `begin_deadline + CONNECT_TIMEOUT_S` and before `not_after`, or never.

        Raises NotBegun past that; ProviderError UNREACHABLE where surely nothing left, and
        DOUBTFUL where something may have and no complete answer came. Only a request that never
        had a connection to leave by counts as "surely". One given up or cancelled is cut off: what
        has not left by then does not leave from a buffer later.
        """
        host = urlsplit(request.url).hostname or "the provider"
        exchange = Exchange(host, departure, self._connect_timeout_s, self._clock)
        current_exchange.set(exchange)
        try:
            async with asyncio.timeout(exchange.wait_s + timeout_s):
                return await self._send_and_read(self._get_session(), request, exchange)
        except ProviderError:
            raise
        except asyncio.CancelledError:
            if exchange.may_have_left:
                raise
            raise NotBegun(f"the request to {host} was cut short: it was not sent") from None
        # Whatever went wrong once there was a connection is a doubt, a library's bug included. The
        # cause is not chained: aiohttp's texts hold whole URLs.
        except Exception as error:  # noqa: BLE001
            raise _explain_failure(error, exchange) from None

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
            )
            exchange.response = response
            body = await _read_body(response, request.max_answer_bytes)
        except BaseException:
            exchange.cut_off()
            raise
        # Repeated headers are joined as RFC 9110, 5.2 has it.
        headers: dict[str, str] = {}
        for name, value in response.headers.items():
            key = name.lower()
            headers[key] = f"{headers[key]}, {value}" if key in headers else value
        return HttpResponse(status=response.status, headers=headers, body=body)

    def _get_session(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=Connector(limit_per_host=self._connections),
                cookie_jar=aiohttp.DummyCookieJar(),
                headers={
                    "User-Agent": f"sms-dispatcher/{__version__}",
                    "Accept-Encoding": "gzip, deflate",
                },
                # `send` and the connector have limits of their own.
                timeout=aiohttp.ClientTimeout(),
            )
        return self._session


def fetch_once(request: HttpRequest, *, timeout_s: float) -> HttpResponse:
    """One request outside any event loop, for the command line. Raises as `HttpClient.send`."""

    async def once() -> HttpResponse:
        async with HttpClient(connections=1) as client:
            return await client.send(request, timeout_s=timeout_s)

    return asyncio.run(once())


async def _read_body(response: aiohttp.ClientResponse, limit: int) -> bytes:
    """The body, decompressed. Raises _AnswerTooLarge where it has more than `limit` bytes."""
    body = bytearray()
    async for chunk in response.content.iter_chunked(_CHUNK):
        body += chunk
        if len(body) > limit:
            raise _AnswerTooLarge
    return bytes(body)


class _AnswerTooLarge(Exception):
    """The answer's body, decompressed, is over the limit."""


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
    (StaleConnections, "it sent bytes without a request"),
    (Exception, "it could not be made"),
)


def _explain_failure(error: Exception, exchange: Exchange) -> ProviderError:
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
