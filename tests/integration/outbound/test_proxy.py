"""Requests through an HTTP proxy: by CONNECT, verified behind it, and never without a word."""

import asyncio
import base64
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace

import pytest
import uvloop

from dispatcher.errors import ErrorKind, ProviderError
from dispatcher.outbound.connections import KEEPALIVE_S
from dispatcher.outbound.departure import Departure, boottime_s
from dispatcher.outbound.transport import HttpClient
from dispatcher.types import HttpRequest
from tests.integration.outbound.test_transport import answering, serving
from tests.support.tls import make_certificate

NAME = "sms.provider.invalid"  # which no resolver knows (RFC 2606)
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
KEY = "k3y-never-shown"


@pytest.fixture(params=[asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
def run(request):
    with asyncio.Runner(loop_factory=request.param) as runner:
        yield runner.run


@pytest.fixture(scope="module")
def certificates(tmp_path_factory):
    folder = tmp_path_factory.mktemp("certificates")
    return {name: make_certificate(folder / name, name) for name in (NAME, "other.invalid")}


@pytest.fixture
def server_tls(certificates, monkeypatch):
    """A server context for the name; this process trusts its certificate."""
    monkeypatch.setenv("SSL_CERT_FILE", str(certificates[NAME].with_name("cert.pem")))
    return server_context(certificates[NAME])


def server_context(certificate):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    return context


@dataclass
class Proxy:
    """Connects every CONNECT to one port. `heads`: what it was asked, without what it passed on."""

    target: int
    answer: bytes = b"HTTP/1.1 200 Connection established\r\n\r\n"
    port: int = 0
    heads: list[str] = field(default_factory=list)
    passed: bytearray = field(default_factory=bytearray)

    async def connected(self, reader, writer):
        head = await reader.readuntil(b"\r\n\r\n")
        self.heads.append(head.decode())
        writer.write(self.answer)
        if b" 200 " not in self.answer:
            writer.close()
            return
        behind, ahead = await asyncio.open_connection("127.0.0.1", self.target)
        try:
            await asyncio.gather(
                self._copy(reader, ahead, self.passed), self._copy(behind, writer, bytearray())
            )
        finally:
            ahead.transport.abort()
            writer.transport.abort()

    async def _copy(self, source, sink, seen):
        try:
            while chunk := await source.read(65536):
                seen += chunk
                sink.write(chunk)
        except OSError:
            pass
        sink.close()


@asynccontextmanager
async def proxying(target: int, **how) -> AsyncIterator[Proxy]:
    proxy = Proxy(target, **how)
    tasks = set()

    async def connected(reader, writer):
        tasks.add(asyncio.current_task())
        try:
            await proxy.connected(reader, writer)
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    listener = await asyncio.start_server(connected, "127.0.0.1", 0)
    proxy.port = listener.sockets[0].getsockname()[1]
    try:
        yield proxy
    finally:
        listener.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.sleep(0.01)  # the sockets are closed by then


def post(proxy: str | None) -> HttpRequest:
    return HttpRequest(
        method="POST",
        url=f"https://{NAME}/api/out",
        headers={"Authorization": f"Bearer {KEY}"},
        body=b"{}",
        proxy=proxy,
    )


def test_a_server_that_only_the_proxy_can_find_answers_over_one_tunnel(run, server_tls):
    async def scenario():
        async with (
            serving(answering(OK), server_tls) as server,
            proxying(server.port) as proxy,
            HttpClient(connections=1) as client,
        ):
            for _ in range(2):
                request = post(f"http://127.0.0.1:{proxy.port}")
                assert (await client.send(request, timeout_s=5)).body == b"ok"
            assert [head.split("\r\n")[0] for head in proxy.heads] == [
                f"CONNECT {NAME}:443 HTTP/1.1"
            ]
            assert KEY.encode() not in proxy.passed
            assert KEY not in proxy.heads[0]
            assert server.received[0].count(KEY.encode()) == 2

    run(scenario())


def test_user_and_password_go_to_the_proxy_only(run, server_tls):
    async def scenario():
        async with (
            serving(answering(OK), server_tls) as server,
            proxying(server.port) as proxy,
            HttpClient(connections=1) as client,
        ):
            request = post(f"http://us%40er:pass%3Aword@127.0.0.1:{proxy.port}")
            await client.send(request, timeout_s=5)
            wanted = base64.b64encode(b"us@er:pass:word").decode()
            assert f"Proxy-Authorization: Basic {wanted}" in proxy.heads[0]
            assert b"Proxy-Authorization" not in bytes(server.received[0])
            assert "pass" not in repr(request)

    run(scenario())


def test_the_certificate_behind_the_proxy_is_verified(run, certificates, server_tls):
    async def scenario():
        async with (
            serving(answering(OK), server_context(certificates["other.invalid"])) as server,
            proxying(server.port) as proxy,
            HttpClient(connections=1) as client,
        ):
            with pytest.raises(ProviderError, match="certificate cannot be verified") as caught:
                await client.send(post(f"http://127.0.0.1:{proxy.port}"), timeout_s=5)
            assert caught.value.kind is ErrorKind.UNREACHABLE
            assert all(not received for received in server.received)

    run(scenario())


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n", "asks for a user and a password"),
        (b"HTTP/1.1 403 Forbidden\r\n\r\n", "refuses to connect (HTTP 403)"),
        (b"HTTP/1.1 502 Bad Gateway\r\n\r\n", "refuses to connect (HTTP 502)"),
        (b"SSH-2.0-OpenSSH_9.2\r\n\r\n", "no answer that is HTTP"),
        (b"", "no answer that is HTTP"),
    ],
)
def test_what_the_proxy_says_is_told_and_surely_nothing_was_sent(run, answer, said):
    async def scenario():
        async with (
            proxying(9, answer=answer) as proxy,
            HttpClient(connections=1) as client,
        ):
            with pytest.raises(ProviderError) as caught:
                await client.send(post(f"http://u:s3cret@127.0.0.1:{proxy.port}"), timeout_s=5)
            assert f"127.0.0.1:{proxy.port}" in caught.value.message
            assert said in caught.value.message
            assert caught.value.kind is ErrorKind.UNREACHABLE
            assert "s3cret" not in f"{caught.value.message} {caught.value.hint}"
            assert KEY not in "".join(proxy.heads)

    run(scenario())


@pytest.mark.parametrize(
    ("proxy", "said"),
    [
        ("http://127.0.0.1:9", "the proxy 127.0.0.1:9 cannot be reached (connection refused)"),
        ("http://proxy.invalid:3128", "the name of the proxy proxy.invalid:3128 cannot be"),
    ],
)
def test_a_proxy_that_cannot_be_reached_is_named(run, proxy, said):
    async def scenario():
        async with HttpClient(connections=1) as client:
            with pytest.raises(ProviderError) as caught:
                await client.send(post(proxy), timeout_s=5)
            assert said in caught.value.message
            assert "`proxy`" in caught.value.hint

    run(scenario())


def test_a_variable_that_is_not_used_is_named_with_what_to_do(run, monkeypatch):
    async def fail():
        async with HttpClient(connections=1) as client:
            with pytest.raises(ProviderError) as caught:
                await client.send(post(None), timeout_s=5)
            return caught.value

    monkeypatch.delenv("https_proxy", raising=False)
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")
    error = run(fail())
    assert "its name cannot be resolved" in error.message
    assert 'proxy = "environment"' in error.hint
    monkeypatch.delenv("HTTPS_PROXY")
    assert "HTTPS_PROXY" not in run(fail()).hint


def test_bytes_before_the_request_end_a_new_tunnel(run, server_tls):
    """The request waits for its start with the tunnel in hand; then it takes another one."""
    early = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nearly"

    async def scenario():
        async def handle(reader, writer):
            if len(server.received) == 1:
                writer.write(early)
            await answering(OK)(reader, writer)

        async with (
            serving(handle, server_tls) as server,
            proxying(server.port) as proxy,
            HttpClient(connections=1) as client,
        ):
            request = post(f"http://127.0.0.1:{proxy.port}")
            later = Departure(not_before=boottime_s() + 0.2)
            assert (await client.send(request, timeout_s=5, departure=later)).body == b"ok"
            assert len(proxy.heads) == 2

    run(scenario())


def test_bytes_that_nobody_asked_for_still_end_a_kept_tunnel(run, server_tls):
    """As without a proxy: they are never taken for the next request's answer."""
    unasked = OK + b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nunsent"

    async def scenario():
        async with (
            serving(answering(unasked, OK), server_tls) as server,
            proxying(server.port) as proxy,
            HttpClient(connections=1) as client,
        ):
            request = post(f"http://127.0.0.1:{proxy.port}")
            await client.send(request, timeout_s=5)
            await asyncio.sleep(min(0.2, KEEPALIVE_S / 4))
            again = await client.send(replace(request), timeout_s=5)
            assert again.body == b"ok"
            assert len(proxy.heads) == 2

    run(scenario())
