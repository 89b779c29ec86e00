"""A receiver on loopback in a thread of this process, and a client that pushes to it."""

import asyncio
import http.client
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from urllib.parse import urlencode, urlsplit

import orjson

from dispatcher.providers.base import Provider
from dispatcher.providers.voip_communications.adapter import (
    VoipCommunications,
    VoipCommunicationsSettings,
)
from dispatcher.receiver.access import PUSH_PATH, PushAccess, digest_token, make_token
from dispatcher.receiver.server import ListenAddress, ReceiverServer
from dispatcher.receiver.writer import PushWriter
from dispatcher.store.engine import Store, store_now
from dispatcher.store.push_urls import add_push_url
from dispatcher.text.opt_outs import StopWords

SENDER = "17134567890"


def pushing_provider(**values: object) -> Provider:
    given = {
        "provider": "voip_communications", "base_url": "http://127.0.0.1:9",
        "api_key": "not-a-key", "api_password": "not-a-password",
    }  # fmt: skip
    return VoipCommunications(VoipCommunicationsSettings(**(given | values)))  # type: ignore[arg-type]


def new_path(store: Store, account: str = "main") -> str:
    """The path of a new secret URL."""
    token = make_token()
    with store.write() as conn:
        add_push_url(conn, account, digest_token(token), actor="test", now=store_now(conn))
    return f"{PUSH_PATH}{account}/{token}"


def receipt(msisdn: int, message_id: str, status: str = "DELIVERED", **more: object) -> object:
    """A receipt as the simulator pushes it."""
    return {"smsid": message_id, "from": SENDER, "to": str(msisdn), "status": status, **more}


def reply(msisdn: int, text: str, **more: object) -> dict[str, object]:
    return {"from": str(msisdn), "to": SENDER, "msg": text, **more}


class Client:
    """Pushes over one connection at a time."""

    def __init__(self, url: str, path: str) -> None:
        self.place = urlsplit(url).netloc
        self.path = path

    def ask(
        self, method: str, path: str, body: bytes = b"", headers: dict[str, str] | None = None
    ) -> tuple[int, bytes]:
        connection = http.client.HTTPConnection(self.place, timeout=30)
        try:
            connection.request(method, path, body, headers or {})
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()

    def push(self, entries: object) -> int:
        """Push as JSON; the status of the answer."""
        return self.ask("POST", self.path, orjson.dumps(entries))[0]

    def push_form(self, fields: dict[str, str]) -> int:
        return self.ask("POST", self.path, urlencode(fields).encode())[0]


@contextmanager
def receiving(
    store: Store, *, accounts: Sequence[str] = ("main",), stop_words: Sequence[str] | None = None
) -> Iterator[Client]:
    """A receiver for the accounts, and a client with a URL of the first."""
    path = new_path(store, accounts[0])
    access = PushAccess(store)
    access.reread_if_due()
    writer = PushWriter(store, access, dict.fromkeys(accounts, StopWords(stop_words)))
    server = ReceiverServer(
        ListenAddress(host="127.0.0.1", port=0), access, writer,
        dict.fromkeys(accounts, pushing_provider()),
    )  # fmt: skip
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        asyncio.run_coroutine_threadsafe(server.start(), loop).result(10)
        writer.start()
        try:
            yield Client(server.url, path)
        finally:
            asyncio.run_coroutine_threadsafe(server.stop(), loop).result(20)
            writer.stop()
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()
