"""The HTTP server that providers push to: bounded in bodies, time, connections and memory.

A push is answered with 200 only after its commit.
"""

import asyncio
import errno
import logging
import ssl
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from aiohttp import web

from dispatcher.errors import DispatcherError, PushRefused
from dispatcher.logs.events import LogEvent, log_event
from dispatcher.providers.base import Provider
from dispatcher.receiver.access import PushAccess
from dispatcher.receiver.intake import AccountPush
from dispatcher.receiver.writer import PushWriter
from dispatcher.store.push_counts import NOBODY, PushOutcome
from dispatcher.types import InboundPush

if TYPE_CHECKING:
    from aiohttp.web_protocol import RequestHandler

log = logging.getLogger(__name__)

#: A push of a thousand entries fits.
MOST_BODY_BYTES: Final = 256 * 1024
MOST_CONNECTIONS: Final = 500
#: Seconds that a client may take for a whole request, and be silent between two.
_REQUEST_S: Final = 10.0
_IDLE_S: Final = 30.0
#: Seconds until the commit; a provider gives up about then, and comes again.
_COMMIT_S: Final = 20.0
_LOOK_S: Final = 2.0
_STOP_S: Final = 5.0
_RETRY: Final = {"Retry-After": "10"}


@dataclass(frozen=True, slots=True, kw_only=True)
class ListenAddress:
    """Where the receiver listens; `tls` for anything but this machine."""

    host: str
    port: int
    tls: ssl.SSLContext | None = None


class ReceiverServer:
    """`await server.start()`, `server.url`, `await server.stop()`."""

    def __init__(
        self,
        address: ListenAddress,
        access: PushAccess,
        writer: PushWriter,
        providers: Mapping[str, Provider],
    ) -> None:
        self._address = address
        self._access = access
        self._writer = writer
        self._providers = providers
        self._handlers: _Handlers | None = None
        #: When each connection last had a whole request; later while one is under way.
        self._active_at: dict[RequestHandler, float] = {}
        self._server: asyncio.Server | None = None
        self._reaper: asyncio.Task[None] | None = None
        self._unread: set[str] = set()

    @property
    def url(self) -> str:
        """Its own address."""
        assert self._server is not None
        port = self._server.sockets[0].getsockname()[1]
        host = self._address.host
        scheme = "http" if self._address.tls is None else "https"
        return f"{scheme}://{f'[{host}]' if ':' in host else host}:{port}"

    async def start(self) -> None:
        """Listen. Raises DispatcherError where the address cannot be had."""
        loop, at = asyncio.get_running_loop(), self._address
        self._handlers = _Handlers(
            self._answer_request, lambda handler: self._active_at.pop(handler, None)
        )
        try:
            self._server = await loop.create_server(
                self._open_connection, at.host, at.port, ssl=at.tls, backlog=512
            )
        except OSError as error:
            raise _explain_bind(error, at) from error
        self._reaper = asyncio.create_task(self._close_idle())

    async def stop(self) -> None:
        """Take no more, finish what is under way, close."""
        if self._server is not None:
            self._server.close()
        if self._reaper is not None:
            self._reaper.cancel()
        if self._handlers is not None:
            await self._handlers.shutdown(_STOP_S)

    def _open_connection(self) -> asyncio.Protocol:
        assert self._handlers is not None
        # Those of aiohttp are known only once they are made, and many may come at once.
        if len(self._active_at) >= MOST_CONNECTIONS:
            return _Closing()
        handler = self._handlers()
        self._active_at[handler] = time.monotonic()
        return handler

    async def _close_idle(self) -> None:
        """Close connections that have sent no whole request for a while."""
        while True:
            await asyncio.sleep(_LOOK_S)
            now = time.monotonic()
            for handler, at in [*self._active_at.items()]:
                # A new one has no transport yet.
                is_closed = handler.transport is None and at < now - _LOOK_S
                if is_closed or at < now - _IDLE_S:
                    handler.force_close()
                    self._active_at.pop(handler, None)

    async def _answer_request(self, request: web.BaseRequest) -> web.StreamResponse:
        self._active_at[request.protocol] = time.monotonic() + _REQUEST_S + _COMMIT_S
        try:
            async with asyncio.timeout(_REQUEST_S):
                answer = await self._read_push(request)
            if isinstance(answer, AccountPush):
                return await self._store_push(answer)
        except TimeoutError:
            return _close(web.Response(status=408, text="too slow\n"))
        finally:
            self._active_at[request.protocol] = time.monotonic()
        return answer

    async def _read_push(self, request: web.BaseRequest) -> AccountPush | web.Response:
        path = request.rel_url.path
        if path == "/healthz":
            return web.Response(text="ok\n")
        account = self._access.find_account(path)
        provider = self._providers.get(account or "")
        if account is None or provider is None:
            self._writer.count_failure(NOBODY, PushOutcome.REFUSED)
            return _close(web.Response(status=404, text="there is nothing here\n"))
        try:
            body = await _collect_body(request)
            push = InboundPush(body=body, query=request.rel_url.raw_query_string)
            content = provider.parse_push(push)
        except PushRefused as error:
            self._writer.count_failure(account, PushOutcome.UNREADABLE)
            self._note_unread(account, error.message)
            return _close(web.Response(status=400, text=f"{error.message}\n"))
        if content.ignored:
            self._note_unread(account, content.unknown_fields)
        return AccountPush(account, content)

    async def _store_push(self, push: AccountPush) -> web.Response:
        loop = asyncio.get_running_loop()
        ended: asyncio.Future[bool] = loop.create_future()

        def note_end(is_stored: bool) -> None:
            loop.call_soon_threadsafe(_set_result, ended, is_stored)

        if not self._writer.queue_push(push, note_end):
            return web.Response(status=503, text="too many at once\n", headers=_RETRY)
        async with asyncio.timeout(_COMMIT_S):
            is_stored = await ended
        if is_stored:
            return web.Response(text="ok\n")
        return web.Response(status=503, text="it was not stored\n", headers=_RETRY)

    def _note_unread(self, account: str, what: str) -> None:
        """Log what cannot be read, once for each account and kind: never values."""
        line = f"account {account}: a push was not read: {what}"
        if line not in self._unread and len(self._unread) < 100:
            self._unread.add(line)
            log_event(log, LogEvent.PUSH_UNREADABLE, line, account=account)


class _Handlers(web.Server):
    """aiohttp's handlers of connections, with a call for each connection that has ended."""

    def __init__(
        self,
        answer: Callable[[web.BaseRequest], Awaitable[web.StreamResponse]],
        note_end: Callable[["RequestHandler"], object],
    ) -> None:
        super().__init__(
            answer, access_log=None, auto_decompress=False, keepalive_timeout=_IDLE_S,
            max_line_size=4096, max_field_size=4096, lingering_time=1.0,
        )  # fmt: skip
        self._note_end = note_end

    def connection_lost(self, handler: "RequestHandler", exc: BaseException | None = None) -> None:
        """Forget it."""
        super().connection_lost(handler, exc)
        self._note_end(handler)


class _Closing(asyncio.Protocol):
    """A connection above the limit: closed at once."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Close it."""
        transport.close()


async def _collect_body(request: web.BaseRequest) -> bytes:
    """The body. Raises PushRefused for one that is too large, or not read here."""
    if request.method not in {"POST", "GET"}:
        raise PushRefused("the push cannot be read: only POST and GET are")
    if "Content-Encoding" in request.headers:
        raise PushRefused("the push cannot be read: it has a Content-Encoding")
    chunks, size = [], request.content_length or 0
    if size <= MOST_BODY_BYTES:
        size = 0
        async for chunk in request.content.iter_any():
            size += len(chunk)
            if size > MOST_BODY_BYTES:
                break
            chunks.append(chunk)
    if size > MOST_BODY_BYTES:
        raise PushRefused(f"the push cannot be read: it has more than {MOST_BODY_BYTES} bytes")
    return b"".join(chunks)


def _set_result(ended: asyncio.Future[bool], is_stored: bool) -> None:
    if not ended.done():
        ended.set_result(is_stored)


def _close(response: web.Response) -> web.Response:
    """Keep no connection to somebody who sends what cannot be taken."""
    response.force_close()
    return response


def _explain_bind(error: OSError, at: ListenAddress) -> DispatcherError:
    if error.errno == errno.EADDRINUSE:
        return DispatcherError(
            f"port {at.port} of {at.host} is in use",
            "choose another with --port, or --port 0 for a free one",
        )
    return DispatcherError(
        f"{at.host}, port {at.port}, cannot be opened: {error.strerror or error}",
        "--host is an address of this machine, and ports below 1024 need rights",
    )
