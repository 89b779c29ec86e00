"""Connections to providers: kept between requests, but none that has received stray bytes.

A request takes its connection so early that a handshake delays no start, and waits for its
departure with it in hand: the last check comes directly before the first byte.
"""

import asyncio
import os
import socket
import ssl
import struct
from contextvars import ContextVar
from functools import cache, partial
from typing import Final

import aiohttp
from aiohttp.client_proto import ResponseHandler
from aiohttp.client_reqrep import ClientRequest, ConnectionKey
from aiohttp.connector import Connection
from aiohttp.tracing import Trace

from dispatcher.outbound.departure import Exchange

#: Common servers close idle connections after 5 s. We close ours earlier, since a request that
#: is written into a closing connection is in doubt: neither aiohttp nor we repeat a POST.
KEEPALIVE_S: Final = 4.0
#: How long the kernel repeats unacknowledged bytes (RFC 5482) before it breaks the connection.
TCP_USER_TIMEOUT_MS: Final = 20_000
#: SO_LINGER of zero seconds: closing resets the connection, and unsent bytes are discarded.
_NO_LINGER: Final = struct.pack("ii", 1, 0)
#: A request takes a connection this long before its start, and as much earlier as a new one usually
#: takes, this many times over. A connection that is free by then is used again.
_TAKE_AHEAD_S: Final = 0.02
_TIMES_AS_LONG: Final = 3.0
#: How much of the longest time of a new connection stays, when another one is measured.
_REMEMBERED: Final = 0.8
#: How many kept connections may be unusable before a request gives up.
_MAX_STALE: Final = 100

#: The exchange of the running task.
current_exchange: ContextVar[Exchange] = ContextVar("current_exchange")


class StaleConnections(Exception):
    """No usable connection was found: surely nothing was sent."""


class IdleGuard(ResponseHandler):
    """A connection's protocol that closes it if bytes arrive while no request is under way.

    aiohttp would take them for the answer to the next request.
    """

    is_idle = True

    def data_received(self, data: bytes) -> None:
        # aiohttp also calls this without bytes, to process those it has.
        if self.is_idle and data:
            self.force_close()
            if self.transport is not None:
                self.transport.abort()
            return
        super().data_received(data)

    def give_up(self) -> None:
        """End the wait for an answer, or for the rest of it, with TimeoutError."""
        payload = self._payload
        self.set_exception(TimeoutError())
        if payload is not None:
            payload.set_exception(TimeoutError())


@cache
def _load_authorities(*_sources: str | None) -> ssl.SSLContext:
    """Whom OpenSSL trusts, by these variables' values. It takes 30 ms, so it is asked once."""
    return ssl.create_default_context()


class Connector(aiohttp.TCPConnector):
    """aiohttp's connection pool: at most `limit_per_host` per host, TLS always verified."""

    def __init__(self, *, limit_per_host: int) -> None:
        super().__init__(
            limit=0,
            limit_per_host=limit_per_host,
            keepalive_timeout=KEEPALIVE_S,
            ssl=_load_authorities(*map(os.environ.get, ("SSL_CERT_FILE", "SSL_CERT_DIR"))),
            socket_factory=_new_socket,
        )
        self._factory = partial(_make_protocol, loop=self._loop)
        #: How long a new connection to each place takes at most, lately.
        self._opening_s: dict[ConnectionKey, float] = {}

    async def connect(
        self,
        req: ClientRequest,
        traces: list[Trace],
        timeout: aiohttp.ClientTimeout,  # noqa: ASYNC109
    ) -> Connection:
        """Return a connection whose request may leave now, or raise NotBegun and keep it.

        When a kept connection breaks, aiohttp asks for another one, to send GET, PUT and DELETE
        once more by itself. It gets none: each request leaves once, and pays its rate once.
        """
        exchange = current_exchange.get()
        if exchange.may_have_left:
            raise aiohttp.ServerDisconnectedError
        await self._wait_to_connect(req.connection_key, exchange)
        for _ in range(_MAX_STALE):
            async with asyncio.timeout(exchange.connect_timeout_s):
                connection = await super().connect(req, traces, timeout)
            if await _wait_with_connection(connection, exchange):
                return connection
        raise StaleConnections

    async def take_kept(self, key: ConnectionKey, exchange: Exchange) -> Connection | None:
        """Return a kept connection whose request may leave now; None where there is none.

        Raises NotBegun as `connect`.
        """
        await self._wait_to_connect(key, exchange)
        while (connection := await self._get(key, [])) is not None:
            if await _wait_with_connection(connection, exchange):
                return connection
        return None

    async def _create_connection(
        self,
        req: ClientRequest,
        traces: list[Trace],
        timeout: aiohttp.ClientTimeout,  # noqa: ASYNC109
    ) -> ResponseHandler:
        current_exchange.get().start_connecting()
        began = self._loop.time()
        protocol = await super()._create_connection(req, traces, timeout)
        key, took_s = req.connection_key, self._loop.time() - began
        self._opening_s[key] = max(took_s, _REMEMBERED * self._opening_s.get(key, 0.0))
        return protocol

    async def _wait_to_connect(self, key: ConnectionKey, exchange: Exchange) -> None:
        """Wait as long as a connection that is taken later will be there in time.

        So a group of requests needs a few connections, and opens no crowd of them at once. Where it
        is not known how long a new one takes, it is opened now.
        """
        opening_s = self._opening_s.get(key)
        if opening_s is None:
            return
        wait_s = exchange.wait_s - _TAKE_AHEAD_S - _TIMES_AS_LONG * opening_s
        if wait_s > 0:
            await asyncio.sleep(wait_s)

    async def _create_proxy_connection(
        self,
        req: ClientRequest,
        traces: list[Trace],
        timeout: aiohttp.ClientTimeout,  # noqa: ASYNC109
    ) -> tuple[asyncio.BaseTransport, ResponseHandler]:
        exchange = current_exchange.get()
        exchange.asks_proxy = True
        try:
            transport, protocol = await super()._create_proxy_connection(req, traces, timeout)
        finally:
            exchange.asks_proxy = False
        if isinstance(protocol, IdleGuard):
            protocol.is_idle = True
        return transport, protocol

    def _release(
        self, key: ConnectionKey, protocol: ResponseHandler, *, should_close: bool = False
    ) -> None:
        if isinstance(protocol, IdleGuard):
            protocol.is_idle = True
        super()._release(key, protocol, should_close=should_close)


async def _wait_with_connection(connection: Connection, exchange: Exchange) -> bool:
    """Wait until the request may leave, and take the connection; False where it cannot be used.

    Raises NotBegun, and keeps the connection.
    """
    try:
        await exchange.wait_for_departure()
    except BaseException:
        connection.release()
        raise
    protocol = connection.protocol
    if protocol is None or not protocol.is_connected() or protocol.should_close:
        connection.close()
        return False
    if isinstance(protocol, IdleGuard):
        protocol.is_idle = False
    exchange.transport = protocol.transport
    return True


def _make_protocol(loop: asyncio.AbstractEventLoop) -> ResponseHandler:
    protocol = IdleGuard(loop)
    protocol.is_idle = not current_exchange.get().asks_proxy
    return protocol


def _new_socket(address: aiohttp.AddrInfoType) -> socket.socket:
    family, kind, protocol, *_ = address
    sock = socket.socket(family, kind, protocol)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_LINGER)
    if hasattr(socket, "TCP_USER_TIMEOUT"):
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, TCP_USER_TIMEOUT_MS)
    return sock
