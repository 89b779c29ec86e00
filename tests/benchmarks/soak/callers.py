"""Who calls the processes of a soak from outside: a provider that pushes, Prometheus, a person."""

import base64
import http.client
import itertools
import threading
import time
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Final, NamedTuple

import orjson
from prometheus_client.parser import text_string_to_metric_families

from dispatcher.receiver.server import MOST_BODY_BYTES
from tests.support.pushes import receipt, reply

#: People who answer, and of whom receipts come that nobody waits for.
_FIRST: Final = 12_815_900_000
_SCRAPE_EVERY_S: Final = 5.0
_PUSH_EVERY_S: Final = 0.1
_MOST_WRONG: Final = 20
_TIMEOUT_S: Final = 30


class Caller(ABC):
    """Makes a call every few moments, in a thread; keeps what went wrong."""

    def __init__(self, every_s: float) -> None:
        self._every_s = every_s
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name=type(self).__name__)
        self.calls = Counter[str]()
        self.wrong: list[str] = []

    def start(self) -> None:
        """Begin to call."""
        self._thread.start()

    def stop(self) -> None:
        """Make no further call."""
        self._stopping.set()
        self._thread.join()

    @abstractmethod
    def call(self) -> None:
        """Make the next call."""

    def note(self, words: str) -> None:
        """Something went wrong."""
        if len(self.wrong) < _MOST_WRONG:
            self.wrong.append(words)

    def _run(self) -> None:
        due = time.monotonic()
        while not self._stopping.wait(max(0.0, due - time.monotonic())):
            due += self._every_s
            try:
                self.call()
            except (OSError, http.client.HTTPException) as error:
                self.note(f"{type(self).__name__}: {type(error).__name__}: {error}")


class Push(NamedTuple):
    """A request to the receiver, and with which status it must be answered."""

    kind: str
    status: int
    body: bytes
    method: str = "POST"
    path: str | None = None


class Pushes(Caller):
    """Pushes replies, receipts of unknown messages, the same again, and what cannot be read."""

    def __init__(self, port: int, path: str) -> None:
        super().__init__(_PUSH_EVERY_S)
        self._port, self._path = port, path
        self._pushes = _endless_pushes()

    def call(self) -> None:
        """Push the next one, over a connection of its own."""
        push = next(self._pushes)
        status, _ = ask(self._port, push.path or self._path, push.body, method=push.method)
        self.calls[push.kind] += 1
        if status != push.status:
            self.note(f"the receiver answered {status} to {push.kind}")


def _endless_pushes() -> Iterator[Push]:
    large = b"[" + b" " * MOST_BODY_BYTES + b"]"
    for n in itertools.count():
        who = _FIRST + n % 50_000
        unknown = orjson.dumps([receipt(who, f"unknown-{n}")])
        said = "STOP" if n % 10 == 0 else f"Thank you, at {n}"
        yield Push("a reply", 200, orjson.dumps([reply(who, said, smsid=f"reply-{n}")]))
        yield Push("a receipt of nobody", 200, unknown)
        yield Push("the same again", 200, unknown)
        yield Push("an unknown entry", 200, orjson.dumps([{"what": n}]))
        yield Push("half of a body", 400, unknown[:-9])
        yield Push("other bytes", 400, bytes(range(128, 256)))
        yield Push("a large body", 400, large)
        yield Push("another method", 400, unknown, method="PUT")
        yield Push("a wrong URL", 404, unknown, path=f"/push/pushing/{n}")
        yield Push("no URL", 404, b"", method="GET", path="/")


class Scrapes(Caller):
    """Scrapes every port as Prometheus does; what is counted may never fall."""

    def __init__(self, ports: Mapping[str, int]) -> None:
        super().__init__(_SCRAPE_EVERY_S)
        self._ports = ports
        self._counted: dict[tuple[object, ...], float] = {}
        #: Of `dispatcher metrics`, the last one.
        self.scrape_s = 0.0

    def call(self) -> None:
        """Scrape each of them."""
        for name, port in self._ports.items():
            began = time.monotonic()
            status, body = ask(port, "/metrics")
            if name == "metrics":
                self.scrape_s = time.monotonic() - began
            self.calls[name] += 1
            if status != 200:
                self.note(f"{name}: a scrape was answered with {status}")
                continue
            for key, value in _read_counters(body.decode()):
                if value < self._counted.get((name, *key), 0):
                    self.note(f"{name}: {key} fell to {value}")
                self._counted[name, *key] = value


def _read_counters(page: str) -> Iterator[tuple[tuple[object, ...], float]]:
    for family in text_string_to_metric_families(page):
        if family.type not in {"counter", "histogram"}:
            continue
        for one in family.samples:
            if not one.name.endswith("_created"):
                yield (one.name, *sorted(one.labels.items())), one.value


class FlowerReader(Caller):
    """Reads Flower's pages with its password, and tries without."""

    def __init__(self, port: int, credentials: str) -> None:
        super().__init__(_SCRAPE_EVERY_S)
        self._port = port
        basic = base64.b64encode(credentials.encode()).decode()
        self._headers = {"Authorization": f"Basic {basic}"}

    def call(self) -> None:
        """Read the pages that a person reads."""
        for path in ("/workers", "/tasks", "/broker", "/api/tasks?limit=20"):
            for headers, wanted in ((self._headers, 200), ({}, 401)):
                status, _ = ask(self._port, path, headers=headers)
                self.calls[str(status)] += 1
                if status != wanted:
                    self.note(f"Flower answered {status} to {path}, not {wanted}")


def ask(
    port: int,
    path: str,
    body: bytes = b"",
    *,
    method: str | None = None,
    headers: Mapping[str, str] | None = None,
) -> tuple[int, bytes]:
    """Status and body of a request to this machine, over a connection of its own."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=_TIMEOUT_S)
    try:
        connection.request(method or ("POST" if body else "GET"), path, body, dict(headers or {}))
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()
