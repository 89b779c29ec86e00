"""HttpClient with real sockets, on both event loops: which failure counts as what."""

import asyncio
import gzip
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from itertools import chain, repeat
from math import inf

import pytest
import uvloop

from dispatcher.errors import ErrorKind, ProviderError
from dispatcher.outbound.connections import IdleGuard
from dispatcher.outbound.departure import Departure, NotBegun, Unanswered, boottime_s
from dispatcher.outbound.transport import CONNECT_TIMEOUT_S, HttpClient, fetch_once
from dispatcher.types import HttpRequest

SECRET = "k3y-never-shown"
NUMBER = "447700900123"

#: What a request has for its answer, where the process then stands still.
_GIVEN_S = 1.0

Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@pytest.fixture(params=[asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
def run(request):
    with asyncio.Runner(loop_factory=request.param) as runner:
        yield runner.run


@dataclass
class Server:
    """A loopback server: `received` holds the bytes of each connection, in order of acceptance."""

    scheme: str
    port: int = 0
    received: list[bytearray] = field(default_factory=list)
    open_now: int = 0
    most_open: int = 0

    def post(self, body: bytes = b"{}") -> HttpRequest:
        return HttpRequest(
            method="POST",
            url=f"{self.scheme}://localhost:{self.port}/api/out?to={NUMBER}",
            headers={"Authorization": f"Bearer {SECRET}"},
            body=body,
        )


@asynccontextmanager
async def serving(handler: Handler, tls: ssl.SSLContext | None = None) -> AsyncIterator[Server]:
    server = Server("https" if tls else "http")
    tasks = set()

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        tasks.add(asyncio.current_task())
        server.open_now += 1
        server.most_open = max(server.most_open, server.open_now)
        seen = bytearray()
        server.received.append(seen)
        feed = reader.read

        async def read(limit: int = -1) -> bytes:
            data = await feed(limit)
            seen.extend(data)
            return data

        reader.read = read
        try:
            await handler(reader, writer)
        except OSError:
            pass  # the client has cut the connection
        finally:
            server.open_now -= 1
            writer.close()

    listener = await asyncio.start_server(connected, "127.0.0.1", 0, ssl=tls)
    server.port = listener.sockets[0].getsockname()[1]
    try:
        yield server
    finally:
        listener.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def read_request(reader: asyncio.StreamReader) -> bytes:
    """Head and body of one request, or what came of it before the client left."""
    data = b""
    while b"\r\n\r\n" not in data:
        more = await reader.read(65536)
        if not more:
            return data
        data += more
    head, _, body = data.partition(b"\r\n\r\n")
    fields = dict(line.lower().split(b": ", 1) for line in head.split(b"\r\n")[1:])
    while len(body) < int(fields.get(b"content-length", 0)):
        more = await reader.read(65536)
        if not more:
            break
        body += more
    return head + b"\r\n\r\n" + body


def answering(*pieces: bytes, abort: bool = False) -> Handler:
    """Answers every request with `pieces`, as they are, and closes where they say it."""

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while await read_request(reader):
            for piece in pieces:
                writer.write(piece)
                await writer.drain()
            if abort:
                writer.transport.abort()
            if abort or b"close" in pieces[0] or not pieces[0]:
                return

    return handle


async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while await reader.read(65536):
        pass


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110 - the condition is the other end's, without an event
            await asyncio.sleep(0.005)


OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
CLOSE = b"HTTP/1.1 200 OK\r\nConnection: close\r\n"
GZIPPED = b"Content-Encoding: gzip\r\n"


def test_a_complete_answer_is_returned_whatever_its_status(run):
    async def scenario():
        head = (
            b"HTTP/1.1 503 No\r\nRetry-After: 7\r\nX-A: 1\r\nx-a: 2\r\nContent-Length: 3\r\n\r\nbad"
        )
        async with serving(answering(head)) as server, HttpClient(connections=1) as client:
            response = await client.send(server.post(b"hello"), timeout_s=5)
        assert (response.status, response.body) == (503, b"bad")
        assert response.headers == {"retry-after": "7", "x-a": "1, 2", "content-length": "3"}
        sent = bytes(server.received[0])
        assert sent.startswith(f"POST /api/out?to={NUMBER} HTTP/1.1\r\n".encode())
        assert sent.endswith(b"\r\n\r\nhello")
        assert f"Authorization: Bearer {SECRET}".encode() in sent
        assert b"User-Agent: sms-dispatcher/" in sent

    run(scenario())


def test_a_redirect_is_an_answer_and_is_not_followed(run):
    async def scenario():
        async with serving(silent) as target:
            location = f"Location: http://localhost:{target.port}/\r\n".encode()
            moved = b"HTTP/1.1 307 Moved\r\n" + location + b"Content-Length: 0\r\n\r\n"
            async with serving(answering(moved)) as server, HttpClient(connections=1) as client:
                response = await client.send(server.post(), timeout_s=5)
            assert response.status == 307
            assert target.received == []

    run(scenario())


def test_cookies_are_not_kept_and_proxies_of_the_environment_not_used(run, monkeypatch):
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")

    async def scenario():
        cookie = b"HTTP/1.1 200 OK\r\nSet-Cookie: a=b\r\nContent-Length: 0\r\n\r\n"
        async with serving(answering(cookie)) as server, HttpClient(connections=1) as client:
            await client.send(server.post(), timeout_s=5)
            await client.send(server.post(), timeout_s=5)
        assert b"cookie" not in b"".join(map(bytes, server.received)).lower()

    run(scenario())


def test_a_refused_port_is_surely_not_sent(run, unused_port):
    async def scenario():
        async with HttpClient(connections=1) as client:
            with pytest.raises(ProviderError, match="connection refused") as caught:
                await client.send(Server("http", unused_port).post(), timeout_s=5)
        assert_safe(caught.value, ErrorKind.UNREACHABLE)
        # On this machine it is the simulator that somebody forgot to start.
        hint = f"does the simulator run? `dispatcher simulator --port {unused_port}` starts it"
        assert caught.value.hint.startswith(hint)

    run(scenario())


def test_an_unknown_host_is_surely_not_sent(run):
    async def scenario():
        request = HttpRequest(method="POST", url="http://no-such-host.invalid/", body=b"{}")
        async with HttpClient(connections=1) as client:
            with pytest.raises(ProviderError) as caught:
                await client.send(request, timeout_s=60)
        assert_safe(caught.value, ErrorKind.UNREACHABLE)
        assert "simulator" not in caught.value.hint

    run(scenario())


def test_a_handshake_that_never_ends_is_surely_not_sent(run):
    async def scenario():
        async with (
            serving(silent) as server,
            HttpClient(connections=1, connect_timeout_s=0.2) as client,
        ):
            server.scheme = "https"
            with pytest.raises(ProviderError, match="time allowed") as caught:
                await client.send(server.post(), timeout_s=5)
        assert_safe(caught.value, ErrorKind.UNREACHABLE)

    run(scenario())


@pytest.mark.parametrize(
    ("handler", "words"),
    [
        (silent, "in time"),
        (answering(b""), "without an answer"),
        (answering(b"", abort=True), "connection"),
        (answering(b"HTTP/1.1 200 OK\r\nContent-Le"), "in time"),
        (answering(CLOSE + b"Content-Length: 100\r\n\r\nhalf"), "middle"),
        (answering(CLOSE + b"Content-Length: 100\r\n\r\n"), "middle"),
        (answering(CLOSE + b"Content-Length: 100\r\n\r\nhalf", abort=True), "middle|connection"),
        (answering(CLOSE + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhel"), "middle"),
        (answering(CLOSE + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n"), "middle|HTTP"),
        (answering(CLOSE + GZIPPED + b"Content-Length: 4\r\n\r\nabcd"), "middle|HTTP"),
        (answering(b"SSH-2.0-OpenSSH close\r\n"), "HTTP"),
    ],
    ids=[
        "never answers", "closes", "resets", "half a head", "half a body", "head only",
        "resets in the body", "half a chunk", "broken chunk", "broken gzip", "not HTTP",
    ],
)  # fmt: skip
def test_a_failure_after_the_connection_was_made_is_in_doubt(run, handler, words):
    # Only some of them have to be waited for; a busy machine may connect in half a second.
    timeout_s = 1.5 if words == "in time" else 10

    async def scenario():
        async with serving(handler) as server, HttpClient(connections=1) as client:
            with pytest.raises(ProviderError, match=words) as caught:
                await client.send(server.post(), timeout_s=timeout_s)
            assert_safe(caught.value, ErrorKind.DOUBTFUL)
            # The request did leave, once, and is not repeated.
            assert [bool(seen) for seen in server.received] == [True]

    run(scenario())


def test_a_kept_connection_that_breaks_under_a_request_is_in_doubt_and_not_repeated(run):
    async def scenario():
        async def once(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await read_request(reader)
            writer.write(OK)
            await read_request(reader)

        async with serving(once) as server, HttpClient(connections=1) as client:
            await client.send(server.post(), timeout_s=5)
            with pytest.raises(ProviderError) as caught:
                await client.send(server.post(), timeout_s=5)
            assert_safe(caught.value, ErrorKind.DOUBTFUL)
            assert len(server.received) == 1

    run(scenario())


def test_a_request_without_a_body_on_a_kept_connection_is_in_doubt_too(run):
    async def scenario():
        async def once(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await read_request(reader)
            writer.write(OK)
            await silent(reader, writer)

        async with serving(once) as server, HttpClient(connections=1) as client:
            await client.send(server.post(), timeout_s=5)
            asking = HttpRequest(method="GET", url=server.post().url)
            with pytest.raises(ProviderError) as caught:
                await client.send(asking, timeout_s=0.3)
            assert_safe(caught.value, ErrorKind.DOUBTFUL)
            assert len(server.received) == 1

    run(scenario())


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "DELETE", "POST"])
@pytest.mark.parametrize("reads_it", [True, False])
def test_no_request_is_made_twice_when_its_kept_connection_breaks(run, method, reads_it):
    """aiohttp itself would repeat all but POST on a new connection."""

    async def scenario():
        async def closing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await read_request(reader)
            writer.write(OK)
            if reads_it:
                await read_request(reader)
            else:
                await reader.read(1)

        async with serving(closing) as server, HttpClient(connections=2) as client:
            await client.send(server.post(), timeout_s=5)
            asking = HttpRequest(method=method, url=server.post().url)
            with pytest.raises(Unanswered if reads_it else ProviderError) as caught:
                await client.send(asking, timeout_s=5)
            assert_safe(caught.value, ErrorKind.DOUBTFUL)
            assert len(server.received) == 1

    run(scenario())


def limited(server):
    return replace(server.post(), max_answer_bytes=100_000)


@pytest.mark.parametrize("announced", [True, False])
def test_an_answer_over_the_limit_is_in_doubt_and_not_read_on(run, announced):
    async def scenario():
        written = 0

        async def endless(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            nonlocal written
            await read_request(reader)
            length = b"Content-Length: 999999999\r\n" if announced else b""
            writer.write(CLOSE + length + b"\r\n")
            while True:
                writer.write(b"x" * 65536)
                written += 65536
                await writer.drain()

        async with (
            serving(endless) as server,
            HttpClient(connections=1) as client,
        ):
            with pytest.raises(ProviderError, match="larger") as caught:
                await client.send(limited(server), timeout_s=5)
            assert_safe(caught.value, ErrorKind.DOUBTFUL)
            await until(lambda: server.open_now == 0)
        assert written < 50_000_000

    run(scenario())


def test_an_answer_of_exactly_the_limit_is_read(run):
    async def scenario():
        body = b"x" * 100_000
        answer = CLOSE + b"Content-Length: 100000\r\n\r\n" + body
        async with (
            serving(answering(answer)) as server,
            HttpClient(connections=1) as client,
        ):
            assert (await client.send(limited(server), timeout_s=5)).body == body

    run(scenario())


def test_a_compressed_answer_counts_as_what_it_unpacks_to(run):
    async def scenario():
        packed = gzip.compress(bytes(20_000_000))
        assert len(packed) < 50_000
        answer = CLOSE + f"Content-Encoding: gzip\r\nContent-Length: {len(packed)}\r\n\r\n".encode()
        async with serving(answering(answer, packed)) as server:
            async with HttpClient(connections=1) as client:
                with pytest.raises(ProviderError, match="larger") as caught:
                    await client.send(limited(server), timeout_s=5)
            assert_safe(caught.value, ErrorKind.DOUBTFUL)
            roomy = replace(server.post(), max_answer_bytes=20_000_000)
            async with HttpClient(connections=1) as client:
                assert (await client.send(roomy, timeout_s=5)).body == bytes(20_000_000)

    run(scenario())


def test_connections_are_kept_and_their_number_is_bounded(run):
    async def scenario():
        async with serving(answering(OK)) as server, HttpClient(connections=3) as client:
            sends = (client.send(server.post(), timeout_s=10) for _ in range(40))
            assert {r.status for r in await asyncio.gather(*sends)} == {200}
            assert server.most_open <= 3
            assert len(server.received) <= 3

    run(scenario())


def test_a_connection_idle_for_longer_than_the_limit_is_not_used_again(run, monkeypatch):
    monkeypatch.setattr("dispatcher.outbound.connections.KEEPALIVE_S", 0.05)

    async def scenario():
        async with serving(answering(OK)) as server, HttpClient(connections=1) as client:
            await client.send(server.post(), timeout_s=5)
            await until(lambda: server.open_now == 0)
            await client.send(server.post(), timeout_s=5)
            assert len(server.received) == 2

    run(scenario())


def test_a_request_that_gets_no_connection_in_time_is_surely_not_sent(run):
    async def scenario():
        async with (
            serving(silent) as server,
            HttpClient(connections=1, connect_timeout_s=0.2) as client,
        ):
            first = asyncio.create_task(client.send(server.post(), timeout_s=2))
            await until(lambda: any(server.received))
            with pytest.raises(ProviderError) as caught:
                await client.send(server.post(), timeout_s=5)
            assert_safe(caught.value, ErrorKind.UNREACHABLE)
            first.cancel()
            with pytest.raises(asyncio.CancelledError):
                await first

    run(scenario())


@pytest.mark.parametrize("is_kept", [False, True], ids=["new connection", "kept connection"])
@pytest.mark.parametrize("is_answered", [True, False])
def test_an_answer_that_came_while_the_process_stood_still_is_read(run, is_answered, is_kept):
    """When it goes on, the request's time is over, and the answer lies in the socket's buffer."""
    is_standing, has_answered = threading.Event(), threading.Event()

    def serve(loop):
        connection, _ = listener.accept()
        with connection, suppress(OSError):
            if is_kept:
                connection.recv(65536)
                connection.sendall(OK)
            connection.recv(65536)
            loop.call_soon_threadsafe(stand_still)
            is_standing.wait(10)
            if is_answered:
                connection.sendall(OK)
            has_answered.set()
            connection.recv(1)  # until the client closes

    def stand_still():
        is_standing.set()
        assert has_answered.wait(10)
        time.sleep(_GIVEN_S + 0.2)

    async def play():
        loop = asyncio.get_running_loop()
        threading.Thread(target=serve, args=(loop,), daemon=True).start()
        async with HttpClient(connections=1) as client:
            if is_kept:
                await client.send(request, timeout_s=5)
            return await client.send(request, timeout_s=_GIVEN_S)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/"
        request = HttpRequest(method="POST", url=url, body=b"{}")
        if is_answered:
            assert run(play()).body == b"ok"
        else:
            with pytest.raises(ProviderError, match="no complete answer in time"):
                run(play())


def test_cancelling_in_mid_request_is_a_cancellation_and_closes_the_connection(run):
    async def scenario():
        async with serving(silent) as server, HttpClient(connections=1) as client:
            task = asyncio.create_task(client.send(server.post(), timeout_s=30))
            await until(lambda: any(server.received))
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            await until(lambda: server.open_now == 0)

    run(scenario())


# The smaller body fits the kernel's buffers, the larger does not: part of it waits in the process.
@pytest.mark.parametrize("size", [1_000_000, 16_000_000])
@pytest.mark.filterwarnings("ignore:Sending a large body directly:ResourceWarning")
def test_a_request_that_was_given_up_does_not_leave_from_buffers_later(run, size):
    body = b"x" * size

    async def scenario():
        read_on = asyncio.Event()

        async def late(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.transport.pause_reading()
            await read_on.wait()
            writer.transport.resume_reading()
            await read_request(reader)

        async with serving(late) as server, HttpClient(connections=1) as client:
            with pytest.raises(ProviderError, match="in time") as caught:
                await client.send(server.post(body), timeout_s=1.5)
            assert_safe(caught.value, ErrorKind.DOUBTFUL)
            read_on.set()
            await until(lambda: server.open_now == 0)
            # Without the reset nearly all of it would arrive.
            assert len(server.received[0]) < size / 2

    run(scenario())


def test_an_answer_before_the_end_of_the_request_is_an_answer(run):
    async def scenario():
        async def early(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.read(1)
            writer.write(b"HTTP/1.1 413 Big\r\nContent-Length: 3\r\n\r\nbig")
            await silent(reader, writer)

        async with serving(early) as server, HttpClient(connections=1) as client:
            response = await client.send(server.post(b"x" * 1_000_000), timeout_s=5)
        assert (response.status, response.body) == (413, b"big")

    run(scenario())


def test_a_request_leaves_no_sooner_than_its_departure_allows(run):
    async def scenario():
        async with serving(answering(OK)) as server, HttpClient(connections=1) as client:
            asked = []

            def hold_s(now: float, latest: float) -> float:
                asked.append(now)
                return 0.0

            for n in range(20):
                wanted = boottime_s() + 0.0037 * (1 + n % 5)
                departure = Departure(wanted, begin_deadline=wanted + 5, hold_s=hold_s)
                await client.send(server.post(), timeout_s=5, departure=departure)
                assert asked[n] >= wanted

    run(scenario())


def test_requests_that_start_one_after_another_share_few_connections(run):
    """Those of a group know soon how long a new connection takes, and take one shortly before.

    On a busy machine one may take as long as many others need; not three times in a row.
    """

    async def count_connections():
        async with serving(answering(OK)) as server, HttpClient(connections=50) as client:
            await client.send(server.post(), timeout_s=5)
            began = boottime_s()
            departures = [Departure(not_before=began + 0.2 + n / 50) for n in range(20)]
            await asyncio.gather(
                *(client.send(server.post(), timeout_s=5, departure=one) for one in departures)
            )
            assert boottime_s() - began >= 0.58
            return server.most_open

    assert any(run(count_connections()) <= 8 for _ in range(3))


def test_a_request_that_may_not_leave_at_its_time_is_not_sent(run):
    async def scenario():
        async with serving(answering(OK)) as server, HttpClient(connections=1) as client:
            wanted = boottime_s() + 0.05
            asked = []

            def hold_s(now: float, latest: float) -> float:
                asked.append((now, latest))
                return 0.02 if len(asked) < 3 else inf

            departure = Departure(not_before=wanted, begin_deadline=wanted + 9, hold_s=hold_s)
            with pytest.raises(NotBegun, match="too late"):
                await client.send(server.post(), timeout_s=5, departure=departure)
            assert asked[0][0] >= wanted
            assert asked[2][0] >= asked[0][0] + 0.03
            # The connection was new, which moves the deadline.
            assert {latest for _now, latest in asked} == {wanted + 9 + CONNECT_TIMEOUT_S}
            # It waited with a connection, which is kept for the next one.
            assert [bytes(seen) for seen in server.received] == [b""]
            await client.send(server.post(), timeout_s=5)
            assert len(server.received) == 1

    run(scenario())


def test_a_request_whose_time_is_over_is_not_written_to_a_kept_connection_either(run):
    async def scenario():
        async with serving(answering(OK)) as server, HttpClient(connections=1) as client:
            await client.send(server.post(), timeout_s=5)
            first = len(server.received[0])
            late = Departure(begin_deadline=boottime_s() + 60, not_after=boottime_s())
            with pytest.raises(NotBegun, match="was over"):
                await client.send(server.post(), timeout_s=5, departure=late)
            await until(lambda: server.open_now == 0)
            assert len(server.received[0]) == first

    run(scenario())


def _answer(text: bytes) -> bytes:
    return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(text), text)


@pytest.mark.parametrize(
    "unasked",
    [
        _answer(b"STALE"),
        _answer(b"STALE")[:20],
        b"HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\n\r\n",
        b"\r\n",
        b"not HTTP at all",
    ],
)
@pytest.mark.parametrize("is_later", [False, True], ids=["with the answer", "later"])
def test_stray_bytes_are_never_the_next_answer(run, unasked, is_later):
    async def scenario():
        async def handle(reader, writer):
            while request := await read_request(reader):
                body = request.rpartition(b"\r\n\r\n")[2]
                if body == b"1" and not is_later:
                    writer.write(_answer(b"to " + body) + unasked)
                else:
                    writer.write(_answer(b"to " + body))
                await writer.drain()
                if body == b"1" and is_later:
                    await asyncio.sleep(0.05)
                    writer.write(unasked)
                    await writer.drain()

        async with serving(handle) as server, HttpClient(connections=1) as client:
            # What makes the first answer unreadable is a doubt about that one alone.
            with suppress(ProviderError):
                assert (await client.send(server.post(b"1"), timeout_s=5)).body == b"to 1"
            if is_later:  # the connection ends with the first of them, whatever would follow
                await until(lambda: server.open_now == 0)
            for body in (b"2", b"3"):
                await asyncio.sleep(0.1)
                assert (await client.send(server.post(body), timeout_s=5)).body == b"to " + body

    run(scenario())


@pytest.mark.parametrize(
    ("is_idle", "data", "is_cut"),
    [(True, b"x", True), (True, b"", False), (False, b"x", False), (False, b"", False)],
)
def test_only_bytes_that_come_between_requests_cut_a_connection(run, is_idle, data, is_cut):
    async def scenario():
        protocol = IdleGuard(asyncio.get_running_loop())
        protocol.is_idle = is_idle
        protocol.data_received(data)  # not connected yet, or not any more: there is nothing to cut
        protocol.connection_made(Wire())
        protocol.data_received(data)
        assert protocol.transport.is_cut is is_cut

    run(scenario())


def test_a_new_connection_that_speaks_before_its_request_may_leave_is_not_used(run):
    """The one that is opened next has no time to speak before its request."""

    async def speak_first(reader, writer):
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\nforeign")
        await read_request(reader)

    async def scenario():
        async with serving(speak_first) as server, HttpClient(connections=1) as client:
            departure = Departure(not_before=boottime_s() + 0.2, begin_deadline=boottime_s() + 2)
            with suppress(ProviderError):
                await client.send(server.post(), timeout_s=2, departure=departure)
        assert len(server.received) > 1
        assert server.received[0] == b""

    run(scenario())


class Wire(asyncio.Transport):
    """A transport that remembers whether it was cut."""

    is_cut = False

    def abort(self) -> None:
        self.is_cut = True


def test_a_slow_handshake_delays_no_start_and_lets_no_crowd_leave(run):
    async def scenario():
        async with serving(answering(OK)) as server, HttpClient(connections=8) as client:
            connecting = client.send(server.post(), timeout_s=5)
            await connecting
            asked: list[float] = []
            first = boottime_s() + 1.0

            def hold_s(now: float, latest: float) -> float:
                asked.append(now)
                return 0.0 if len(asked) == 1 else latest

            departures = [Departure(not_before=first, hold_s=hold_s)] * 8
            ended = await asyncio.gather(
                *(client.send(server.post(), timeout_s=5, departure=each) for each in departures),
                return_exceptions=True,
            )
            assert sum(isinstance(each, NotBegun) for each in ended) == 7
            # All had their connections before: the guard was asked where the first byte leaves.
            assert server.most_open == 8
            assert min(asked) >= first

    run(scenario())


class TestBeginDeadline:
    """`begin_deadline` with a fake clock: each entry is the result of one reading."""

    @pytest.mark.parametrize(
        ("looks", "sent"),
        [
            # Before connecting, and before the first byte.
            ([0.9, 0.9], True),
            ([1.1], False),
            ([0.9, 1.0 + CONNECT_TIMEOUT_S - 0.1], True),
            ([0.9, 1.0 + CONNECT_TIMEOUT_S + 0.1], False),
        ],
    )
    def test_a_new_connection_adds_the_connect_timeout(self, run, looks, sent):
        async def scenario():
            clock = chain(looks, repeat(looks[-1])).__next__
            async with (
                serving(answering(OK)) as server,
                HttpClient(connections=1, clock=clock) as client,
            ):
                if sent:
                    await client.send(
                        server.post(), timeout_s=5, departure=Departure(begin_deadline=1.0)
                    )
                else:
                    with pytest.raises(NotBegun) as caught:
                        await client.send(
                            server.post(), timeout_s=5, departure=Departure(begin_deadline=1.0)
                        )
                    assert_safe(caught.value, ErrorKind.UNREACHABLE)
                await until(lambda: sent or server.open_now == 0)
                assert any(map(bool, server.received)) is sent

        run(scenario())

    def test_a_kept_connection_adds_nothing(self, run):
        async def scenario():
            clock = chain([1.1], repeat(0.9)).__next__
            async with (
                serving(answering(OK)) as server,
                HttpClient(connections=1, clock=clock) as client,
            ):
                await client.send(server.post(), timeout_s=5)
                first = len(server.received[0])
                with pytest.raises(NotBegun):
                    await client.send(
                        server.post(), timeout_s=5, departure=Departure(begin_deadline=1.0)
                    )
                # The connection is closed with nothing more written to it; the client goes on.
                await until(lambda: server.open_now == 0)
                assert len(server.received[0]) == first
                await client.send(
                    server.post(), timeout_s=5, departure=Departure(begin_deadline=1.0)
                )

        run(scenario())

    @pytest.mark.parametrize("late", [False, True])
    def test_it_is_looked_at_again_after_a_slow_handshake(self, run, tls, late):
        async def scenario():
            now = 0.0
            go_on = asyncio.Event()
            async with serving(answering(OK), tls.server) as server:

                async def slow(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
                    hello = await reader.read(65536)
                    await go_on.wait()
                    inner_reader, inner = await asyncio.open_connection("127.0.0.1", server.port)
                    inner.write(hello)
                    try:
                        await asyncio.gather(pump(reader, inner), pump(inner_reader, writer))
                    finally:
                        inner.close()

                async with (
                    serving(slow) as gate,
                    HttpClient(connections=1, clock=lambda: now) as client,
                ):
                    gate.scheme = "https"
                    sending = asyncio.create_task(
                        client.send(
                            gate.post(), timeout_s=20, departure=Departure(begin_deadline=1.0)
                        )
                    )
                    await until(lambda: any(gate.received))
                    now = 30.0 if late else 1.5
                    go_on.set()
                    if late:
                        with pytest.raises(NotBegun):
                            await sending
                    else:
                        assert (await sending).status == 200
                await until(lambda: server.open_now == 0)
                assert any(map(bool, server.received)) is not late

        run(scenario())

    def test_the_clock_goes_forward(self):
        first = boottime_s()
        assert first <= boottime_s() < first + 60


async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(65536):
        writer.write(data)
    writer.close()


@dataclass
class Tls:
    server: ssl.SSLContext


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tls")
    command = (
        "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 "
        "-subj /CN=localhost -addext subjectAltName=DNS:localhost -keyout key.pem -out cert.pem"
    )
    subprocess.run(command.split(), cwd=folder, check=True, capture_output=True, timeout=30)
    return folder


@pytest.fixture
def tls(certificate, monkeypatch):
    """A server context with a certificate that this process trusts."""
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate / "cert.pem"))
    return Tls(server_context(certificate))


def server_context(certificate) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate / "cert.pem", certificate / "key.pem")
    return context


def test_an_untrusted_certificate_is_refused_before_anything_is_sent(run, certificate):
    async def scenario():
        async with serving(answering(OK), server_context(certificate)) as server:
            async with HttpClient(connections=1) as client:
                with pytest.raises(ProviderError, match="certificate") as caught:
                    await client.send(server.post(), timeout_s=5)
            assert_safe(caught.value, ErrorKind.UNREACHABLE)
            assert not any(server.received)

    run(scenario())


def test_a_certificate_for_another_name_is_refused(run, tls):
    async def scenario():
        async with serving(answering(OK), tls.server) as server:
            request = HttpRequest(method="POST", url=f"https://127.0.0.1:{server.port}/", body=b"")
            async with HttpClient(connections=1) as client:
                with pytest.raises(ProviderError, match="certificate") as caught:
                    await client.send(request, timeout_s=5)
            assert_safe(caught.value, ErrorKind.UNREACHABLE)

    run(scenario())


def test_a_server_that_does_not_speak_tls_is_surely_not_sent(run):
    async def scenario():
        async def plain(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.read(65536)
            writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")

        async with serving(plain) as server, HttpClient(connections=1) as client:
            server.scheme = "https"
            with pytest.raises(ProviderError, match="TLS") as caught:
                await client.send(server.post(), timeout_s=5)
        assert_safe(caught.value, ErrorKind.UNREACHABLE)

    run(scenario())


def test_a_trusted_certificate_is_accepted(run, tls):
    async def scenario():
        async with (
            serving(answering(OK), tls.server) as server,
            HttpClient(connections=1) as client,
        ):
            assert (await client.send(server.post(), timeout_s=5)).body == b"ok"

    run(scenario())


@pytest.fixture
def unused_port():
    import socket

    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        yield sock.getsockname()[1]


def test_fetch_is_one_request_outside_any_loop(unused_port):
    with pytest.raises(ProviderError, match="connection refused"):
        fetch_once(Server("http", unused_port).post(), timeout_s=5)


def assert_safe(error: ProviderError, kind: ErrorKind) -> None:
    """The kind is as expected, and no text of the error has the key, the number or the URL."""
    import traceback

    assert error.kind is kind
    shown = "".join(traceback.format_exception(error)) + str(error.hint)
    for secret in (SECRET, NUMBER, "/api/out", "Bearer"):
        assert secret not in shown
