"""A second request over a connection: what aiohttp does not send, with real sockets."""

import asyncio
import gzip
from dataclasses import replace

import aiohttp
import pytest
from multidict import CIMultiDict

from dispatcher.errors import ErrorKind, ProviderError
from dispatcher.outbound import kept_connections
from dispatcher.outbound.departure import Departure, NotBegun, boottime_s
from dispatcher.outbound.kept_connections import KeptConnections, join_headers
from dispatcher.outbound.transport import HttpClient
from dispatcher.types import HttpRequest
from tests.integration.outbound.test_transport import (
    CLOSE,
    GZIPPED,
    OK,
    Handler,
    answering,
    assert_safe,
    limited,
    read_request,
    run,
    serving,
    silent,
    until,
)

__all__ = ["run"]


@pytest.fixture
def sends(monkeypatch):
    """What each request was sent by: True where by a kept connection."""
    found = []
    send = KeptConnections.send

    async def watched(self, request, exchange, *, timeout_s):
        answer = await send(self, request, exchange, timeout_s=timeout_s)
        found.append(answer is not None)
        return answer

    monkeypatch.setattr(KeptConnections, "send", watched)
    return found


def after_one(handler: Handler) -> Handler:
    """Answers the first request of each connection, and leaves the others to the handler."""

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        writer.write(OK)
        await writer.drain()
        await handler(reader, writer)

    return handle


def test_it_writes_what_aiohttp_writes(run, sends):
    async def scenario():
        async with serving(answering(OK)) as server, HttpClient(connections=1) as client:
            request = replace(
                server.post(b"hello"), headers={"X-One": "1", "accept-encoding": "identity"}
            )
            plain = replace(request, headers={"Content-Type": "application/json"})
            for each in (request, request, plain, plain):
                await client.send(each, timeout_s=5)
            other = replace(server.post(b"hello, world"), url=f"{server.post().url} x#y")
            await client.send(other, timeout_s=5)
            (seen,) = server.received
        heads = [*bytes(seen).split(b"POST ")[1:]]
        assert heads[0] == heads[1]
        assert heads[2] != heads[0]
        assert heads[2] == heads[3]
        assert b"+x HTTP/1.1" in heads[4]
        assert b"Content-Length: 12\r\n" in heads[4]
        assert sends == [False, True, True, True, True]

    run(scenario())


async def send_by_aiohttp(request: HttpRequest, headers: dict[str, str]) -> None:
    async with (
        aiohttp.ClientSession(headers=headers) as session,
        session.post(request.url, data=request.body, headers=request.headers) as got,
    ):
        await got.read()


def test_heads_are_the_same_for_every_kind_of_header(run):
    async def scenario():
        async with serving(answering(OK)) as server:
            for headers in ({}, {"user-agent": "mine"}, {"Content-Type": "a/b", "Accept": "c/d"}):
                request = replace(server.post(b"hello"), headers=headers)
                await send_by_aiohttp(request, {"User-Agent": "us"})
                head = kept_connections._make_head(
                    {"User-Agent": "us"}, request.method, request.url, *headers.items()
                )
                sent = head.before + b"5" + head.after + b"hello"
                assert bytes(server.received[-1]) == sent

    run(scenario())


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"url": "http://user:word@localhost/"}, "credentials in the URL"),
        ({"headers": {"X": "a\r\nY: b"}}, "a header that is two"),
        ({"headers": {"Expect": "100-continue"}}, "it waits in the middle"),
        ({"headers": {"content-length": "7"}}, "the length is ours"),
        ({"headers": {"transfer-encoding": "chunked"}}, "so is how it is sent"),
    ],
)
def test_what_is_odd_is_left_to_aiohttp(change, reason):
    async def scenario():
        request = replace(HttpRequest(method="POST", url="http://localhost/", body=b""), **change)
        head = kept_connections._make_head(
            {}, request.method, request.url, *request.headers.items()
        )
        assert head is None, reason

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("changes", "is_kept"),
    [
        ({}, True),
        ({"body": b""}, True),
        ({"body": b"x" * 65536}, True),
        ({"body": b"x" * 65537}, False),
        ({"body": None}, False),
        ({"headers": {"Expect": "100-continue"}, "body": b""}, False),
    ],
)
def test_small_requests_with_a_body_are_sent_over_a_kept_connection(run, sends, changes, is_kept):
    async def scenario():
        async with serving(answering(OK)) as server, HttpClient(connections=1) as client:
            for each in (server.post(), replace(server.post(), **changes)):
                assert (await client.send(each, timeout_s=5)).body == b"ok"
            assert len(server.received) == 1
        assert sends == [False, is_kept]

    run(scenario())


@pytest.mark.parametrize(
    ("handler", "words"),
    [
        (silent, "in time"),
        (answering(b""), "without an answer"),
        (answering(b"", abort=True), "connection"),
        (answering(b"HTTP/1.1 200 OK\r\nContent-Le"), "in time"),
        (answering(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf"), "in time"),
        (answering(b"HTTP/1.1 100 Continue\r\n\r\n"), "in time"),
        (answering(CLOSE + b"Content-Length: 100\r\n\r\nhalf"), "middle"),
        (answering(CLOSE + b"Content-Length: 100\r\n\r\n"), "middle"),
        (answering(CLOSE + b"Content-Length: 100\r\n\r\nhalf", abort=True), "middle|connection"),
        (answering(CLOSE + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhel"), "middle"),
        (answering(CLOSE + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n"), "middle|HTTP"),
        (answering(CLOSE + GZIPPED + b"Content-Length: 4\r\n\r\nabcd"), "middle|HTTP"),
        (answering(b"SSH-2.0-OpenSSH close\r\n"), "HTTP"),
        (answering(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nbig"), "larger"),
        (answering(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n", b"big"), "larger"),
    ],
    ids=[
        "never answers", "closes", "resets", "half a head", "half a body", "only goes on",
        "half a body and closes", "head only", "resets in the body", "half a chunk",
        "broken chunk", "broken gzip", "not HTTP", "too large", "too large in two pieces",
    ],
)  # fmt: skip
def test_a_failure_is_in_doubt_and_ends_the_connection(run, sends, handler, words):
    async def scenario():
        async with serving(after_one(handler)) as server, HttpClient(connections=1) as client:
            await client.send(server.post(), timeout_s=5)
            request = replace(
                server.post(b"second"), max_answer_bytes=2 if words == "larger" else 1000
            )
            with pytest.raises(ProviderError, match=words) as caught:
                await client.send(request, timeout_s=1 if words == "in time" else 10)
            assert_safe(caught.value, ErrorKind.DOUBTFUL)
            await until(lambda: server.open_now == 0)
            assert bytes(server.received[0]).count(b"second") == 1
            await client.send(server.post(), timeout_s=5)
            assert len(server.received) == 2
        assert sends == [False, False]

    run(scenario())


PIECES = [
    (b"HTTP/1.1 100 Continue\r\n\r\n", OK),
    (b"HTTP/1.1 100 Continue\r\n\r\n" + OK,),
    (OK[:30], OK[30:-1], OK[-1:]),
    (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n", b"ok\r\n0\r\n\r\n"),
    (b"HTTP/1.1 200 OK\r\n" + GZIPPED + b"Content-Length: 22\r\n\r\n", gzip.compress(b"ok")),
]


@pytest.mark.parametrize("pieces", PIECES)
def test_an_answer_is_read_however_it_comes(run, sends, pieces):
    async def scenario():
        async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            while await read_request(reader):
                for piece in pieces:
                    writer.write(piece)
                    await writer.drain()
                    await asyncio.sleep(0.02)

        async with serving(after_one(handle)) as server, HttpClient(connections=1) as client:
            for _ in range(3):
                assert (await client.send(server.post(), timeout_s=5)).body == b"ok"
            assert len(server.received) == 1
        assert sends == [False, True, True]

    run(scenario())


@pytest.mark.parametrize(
    ("answer", "body"),
    [
        (b"HTTP/1.1 204 No\r\n\r\n", b""),
        (b"HTTP/1.1 200 OK\r\n\r\nto the end", b"to the end"),
        (CLOSE + b"Content-Length: 2\r\n\r\nok", b"ok"),
    ],
)
def test_a_body_ends_as_its_head_says(run, answer, body):
    async def scenario():
        async def once(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await read_request(reader)
            writer.write(answer)
            if answer.startswith(b"HTTP/1.1 204"):
                await read_request(reader)

        async with serving(after_one(once)) as server, HttpClient(connections=1) as client:
            await client.send(server.post(), timeout_s=5)
            assert (await client.send(server.post(), timeout_s=5)).body == body

    run(scenario())


def test_a_compressed_answer_counts_as_what_it_unpacks_to(run):
    async def scenario():
        packed = gzip.compress(bytes(20_000_000))
        head = GZIPPED + f"Content-Length: {len(packed)}\r\n\r\n".encode()
        handler = after_one(answering(b"HTTP/1.1 200 OK\r\n" + head, packed))
        async with serving(handler) as server, HttpClient(connections=1) as client:
            await client.send(server.post(), timeout_s=5)
            with pytest.raises(ProviderError, match="larger") as caught:
                await client.send(limited(server), timeout_s=5)
            assert_safe(caught.value, ErrorKind.DOUBTFUL)

    run(scenario())


def test_cancelling_in_mid_request_is_a_cancellation_and_closes_the_connection(run):
    async def scenario():
        async with serving(after_one(silent)) as server, HttpClient(connections=1) as client:
            await client.send(server.post(), timeout_s=5)
            task = asyncio.create_task(client.send(server.post(b"second"), timeout_s=30))
            await until(lambda: b"second" in server.received[0])
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            await until(lambda: server.open_now == 0)

    run(scenario())


@pytest.mark.parametrize(
    ("departure", "words"),
    [
        ({"may_leave": lambda: False}, "withdrawn"),
        ({"not_after": 0.0}, "was over"),
        ({"begin_deadline": 0.0}, "in time"),
        ({"hold_s": lambda _now, _latest: float("inf")}, "too late"),
    ],
)
def test_a_request_that_may_not_leave_keeps_its_connection(run, sends, departure, words):
    async def scenario():
        async with serving(answering(OK)) as server, HttpClient(connections=1) as client:
            await client.send(server.post(), timeout_s=5)
            one = Departure(**departure)
            with pytest.raises(NotBegun, match=words):
                await client.send(server.post(b"not this"), timeout_s=5, departure=one)
            await client.send(server.post(), timeout_s=5)
            assert len(server.received) == 1
            assert b"not this" not in server.received[0]
        assert sends == [False, True]

    run(scenario())


def test_a_request_that_was_cancelled_before_its_start_has_not_begun(run):
    async def scenario():
        async with serving(answering(OK)) as server, HttpClient(connections=1) as client:
            await client.send(server.post(), timeout_s=5)
            later = Departure(not_before=boottime_s() + 60)
            task = asyncio.create_task(client.send(server.post(), timeout_s=5, departure=later))
            await asyncio.sleep(0.05)
            task.cancel()
            with pytest.raises(NotBegun, match="cut short"):
                await task

    run(scenario())


def test_a_connection_that_ends_while_its_request_waits_is_not_used(run, sends):
    async def scenario():
        async def closing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await asyncio.sleep(0.1)
            writer.transport.abort()

        async with serving(after_one(closing)) as server, HttpClient(connections=1) as client:
            await client.send(server.post(), timeout_s=5)
            asked = []

            def hold_s(now: float, latest: float) -> float:
                asked.append(now)
                return 0.3 if len(asked) == 1 else 0.0

            departure = Departure(hold_s=hold_s)
            answer = await client.send(server.post(b"second"), timeout_s=5, departure=departure)
            assert answer.body == b"ok"
            assert [b"second" in seen for seen in server.received] == [False, True]
        assert sends == [False, False]

    run(scenario())


@pytest.mark.parametrize(
    ("fields", "joined"),
    [
        ([("A", "1"), ("B", "2")], {"a": "1", "b": "2"}),
        ([("A", "1"), ("a", "2"), ("B", "3"), ("A", "4")], {"a": "1, 2, 4", "b": "3"}),
        ([], {}),
    ],
)
def test_repeated_headers_are_joined(fields, joined):
    assert join_headers(CIMultiDict(fields)) == joined
