"""Requests over a connection that is kept: without what a request needs that may open a new one.

Pool, protocol and parser are aiohttp's, and the checks those of `connections.py`. Beside them
aiohttp makes so much for each request that it takes most of its time. Here the head is made once
for all requests that share it, and no redirect, cookie, proxy or upload is prepared.
"""

import asyncio
from collections.abc import Mapping
from functools import lru_cache, partial
from http import HTTPStatus
from typing import Final, NamedTuple

from aiohttp import StreamReader
from aiohttp.client_reqrep import ClientRequest, ConnectionKey
from multidict import CIMultiDict
from yarl import URL

from dispatcher.outbound.connections import Connector, IdleGuard
from dispatcher.outbound.departure import Exchange
from dispatcher.types import HttpRequest, HttpResponse

#: A larger body may be still on its way when its answer comes: aiohttp looks after that.
_MOST_BYTES: Final = 64 * 1024
#: The heads of a worker's requests differ by account and call.
_MOST_HEADS: Final = 128
_CHUNK: Final = 64 * 1024
#: A time-out that is noticed later than this was slept through: the process was stopped, or the
#: machine suspended. So long what has come meanwhile is read before the request is given up.
LATE_S: Final = 0.1
READ_S: Final = 1.0


class RequestHead(NamedTuple):
    """What requests have in common that differ only in their bodies."""

    key: ConnectionKey
    #: The head's bytes before and after the length of the body.
    before: bytes
    after: bytes


class KeptConnections:
    """Sends requests over connections that a connector keeps. Only for use on one event loop."""

    def __init__(self, connector: Connector, headers: Mapping[str, str]) -> None:
        """`headers` are those of every request."""
        self._connector = connector
        self._find_head = lru_cache(_MOST_HEADS)(partial(_make_head, headers))

    async def send(
        self, request: HttpRequest, exchange: Exchange, *, timeout_s: float
    ) -> HttpResponse | None:
        """Send the request when it may leave. None: no connection is kept, and nothing was sent.

        `timeout_s` counts from the departure. Raises NotBegun as `Connector.take_kept`. The
        connection of a request that failed or was cancelled is reset.
        """
        body = request.body
        if request.proxy is not None or body is None or len(body) > _MOST_BYTES:
            return None
        head = self._find_head(request.method, request.url, *request.headers.items())
        if head is None:
            return None
        connection = await self._connector.take_kept(head.key, exchange)
        if connection is None:
            return None
        protocol = connection.protocol
        assert isinstance(protocol, IdleGuard)
        assert protocol.transport is not None
        limit = _AnswerLimit(protocol, timeout_s)
        try:
            protocol.set_response_params(read_until_eof=True)
            protocol.transport.write(b"%b%d%b%b" % (head.before, len(body), head.after, body))
            message, payload = await protocol.read()
            while 100 <= message.code < 200 and message.code != HTTPStatus.SWITCHING_PROTOCOLS:
                message, payload = await protocol.read()
            answer = await read_body(payload, request.max_answer_bytes)
        except BaseException:
            exchange.cut_off()
            connection.close()
            raise
        finally:
            limit.cancel()
        connection.release()
        return HttpResponse(status=message.code, headers=join_headers(message.headers), body=answer)


def _make_head(
    defaults: Mapping[str, str],
    method: str,
    url: str,
    *headers: tuple[str, str],
) -> RequestHead | None:
    """The head as aiohttp writes it. None: aiohttp has more to do for it, or refuses it."""
    where, loop = URL(url), asyncio.get_running_loop()
    fields = CIMultiDict(defaults)
    fields.update(headers)
    if where.raw_user is not None or not where.raw_host:
        return None
    if any(name in fields for name in ("Expect", "Content-Length", "Transfer-Encoding")):
        return None
    request = ClientRequest(method, where, headers=fields, data=b"0", loop=loop)
    lines = [f"{name}: {value}" for name, value in request.headers.items()]
    if any(mark in line for line in lines for mark in "\r\n\0"):
        return None
    line = f"{request.method} {where.raw_path_qs} HTTP/1.1"
    head = "\r\n".join([line, *lines, "", ""]).encode()
    before, length, after = head.partition(b"Content-Length: ")
    return RequestHead(request.connection_key, before + length, after.removeprefix(b"1"))


class _AnswerLimit:
    """Gives a request up at its time, or a little later where the loop stands still then.

    After a standstill timers run first, before the answer that lies in the socket's buffer.
    """

    __slots__ = ("_ends_at", "_loop", "_protocol", "_timer")

    def __init__(self, protocol: IdleGuard, timeout_s: float) -> None:
        self._loop = asyncio.get_running_loop()
        self._protocol = protocol
        self._ends_at = self._loop.time() + timeout_s
        self._timer = self._loop.call_at(self._ends_at, self._end)

    def _end(self) -> None:
        now = self._loop.time()
        if now > self._ends_at + LATE_S:
            self._ends_at = now + READ_S
            self._timer = self._loop.call_at(self._ends_at, self._protocol.give_up)
        else:
            self._protocol.give_up()

    def cancel(self) -> None:
        self._timer.cancel()


class AnswerTooLarge(Exception):
    """The decompressed body of the answer is larger than the limit."""


async def read_body(content: StreamReader, limit: int) -> bytes:
    """The body, decompressed. Raises AnswerTooLarge where it has more than `limit` bytes."""
    if content.is_eof():
        whole = content.read_nowait()
        if len(whole) > limit:
            raise AnswerTooLarge
        return whole
    body = bytearray()
    async for chunk in content.iter_chunked(_CHUNK):
        body += chunk
        if len(body) > limit:
            raise AnswerTooLarge
    return bytes(body)


def join_headers(fields: Mapping[str, str]) -> dict[str, str]:
    """Headers by their names in lower case. Repeated ones are joined (RFC 9110, 5.2)."""
    headers = {name.lower(): value for name, value in fields.items()}
    if len(headers) == len(fields):
        return headers
    headers.clear()
    for name, value in fields.items():
        key = name.lower()
        headers[key] = f"{headers[key]}, {value}" if key in headers else value
    return headers
