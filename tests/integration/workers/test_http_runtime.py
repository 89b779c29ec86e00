"""HttpRuntime over a loopback server that runs in a thread of the test."""

import asyncio
import http.server
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager, suppress
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import pytest

from dispatcher.errors import ErrorKind, ProviderError
from dispatcher.outbound.departure import Departure, NotBegun, boottime_s
from dispatcher.outbound.transport import HttpClient
from dispatcher.types import HttpRequest, HttpResponse

# By its path: importing the package makes the Celery app, which needs a configuration.
_SPEC = spec_from_file_location(
    "workers.http_runtime", Path(__file__).parents[3] / "workers/http_runtime.py"
)
_RUNTIME = module_from_spec(_SPEC)
_SPEC.loader.exec_module(_RUNTIME)
HttpRuntime = _RUNTIME.HttpRuntime


class Desk(http.server.ThreadingHTTPServer):
    """Answers `/N` with N, a path in `held` after `go_on`, and `/close` not at all: it closes."""

    daemon_threads = True
    block_on_close = False
    request_queue_size = 128

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Clerk)
        self.lock = threading.Lock()
        self.connections = 0
        self.busy = 0
        self.most_busy = 0
        self.arrived: list[str] = []
        self.held: set[str] = set()
        self.go_on = threading.Event()

    def request(self, path: str) -> HttpRequest:
        url = f"http://127.0.0.1:{self.server_address[1]}{path}"
        return HttpRequest(method="POST", url=url, body=b"{}")


class Clerk(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Desk

    def setup(self):
        super().setup()
        with self.server.lock:
            self.server.connections += 1

    def do_POST(self):
        self.rfile.read(int(self.headers["content-length"]))
        with self.server.lock:
            self.server.arrived.append(self.path)
            self.server.busy += 1
            self.server.most_busy = max(self.server.most_busy, self.server.busy)
        if self.path in self.server.held:
            self.server.go_on.wait(30)
        with self.server.lock:
            self.server.busy -= 1
        if self.path == "/close":
            self.close_connection = True
            return
        body = self.path[1:].encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass

    def handle(self):
        with suppress(OSError):  # the client has cut the connection
            super().handle()


@pytest.fixture
def desk():
    with Desk() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.go_on.set()
        server.shutdown()
        thread.join(10)


@pytest.fixture
def runtime():
    with closing(HttpRuntime(HttpClient(connections=8))) as runtime:
        yield runtime


def until(condition) -> None:
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def one_by_one(runtime, requests, **more):
    """What becomes of each request, as it ends."""
    for group in runtime.send_requests(requests, **more):
        yield from group


def loop_threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "http-loop"]


def test_no_thread_exists_before_the_first_call_and_one_after_many(desk, runtime):
    assert loop_threads() == []
    with ThreadPoolExecutor(8) as pool:
        paths = [f"/{n}" for n in range(64)]
        answers = pool.map(
            lambda path: runtime.send_request(desk.request(path), timeout_s=10), paths
        )
        assert [f"/{answer.body.decode()}" for answer in answers] == paths
    assert len(loop_threads()) == 1
    assert desk.connections <= 8


def test_what_a_first_request_needs_is_there_before_it(desk, runtime):
    runtime.open_session()
    assert len(loop_threads()) == 1
    assert runtime.send_request(desk.request("/1"), timeout_s=5).status == 200
    assert len(loop_threads()) == 1


def test_opened_after_its_end_it_stays_closed(desk, runtime):
    runtime.close()
    runtime.open_session()
    with pytest.raises(NotBegun):
        runtime.send_request(desk.request("/1"), timeout_s=5)


def test_a_failure_reaches_the_caller_as_its_kind(desk, runtime):
    with pytest.raises(ProviderError) as caught:
        runtime.send_request(desk.request("/close"), timeout_s=5)
    assert caught.value.kind is ErrorKind.DOUBTFUL
    with pytest.raises(NotBegun):
        runtime.send_request(
            desk.request("/late"), timeout_s=5, departure=Departure(begin_deadline=boottime_s() - 1)
        )
    assert desk.arrived == ["/close"]
    deadline = boottime_s() + 30
    answer = runtime.send_request(
        desk.request("/soon"), timeout_s=5, departure=Departure(begin_deadline=deadline)
    )
    assert answer.body == b"soon"


def test_many_are_yielded_as_they_end_with_their_places(desk, runtime):
    desk.held = {"/0"}
    requests = [desk.request(f"/{n}") for n in range(3)] + [desk.request("/close")]
    ended = one_by_one(runtime, requests, timeout_s=20, concurrency=4)
    first = dict(next(ended) for _ in range(3))
    assert set(first) == {1, 2, 3}
    assert (first[1].body, first[2].body, first[3].kind) == (b"1", b"2", ErrorKind.DOUBTFUL)
    desk.go_on.set()
    [(place, answer)] = ended
    assert (place, answer.body) == (0, b"0")


def test_many_are_no_more_than_allowed_at_a_time_and_read_no_further_than_needed(desk, runtime):
    read = 0

    def requests():
        nonlocal read
        for n in range(30):
            read += 1
            yield desk.request(f"/{n}")

    furthest = ended = 0
    for group in runtime.send_requests(requests(), timeout_s=10, concurrency=3):
        ended += len(group)
        furthest = max(furthest, read - ended)
    assert read == ended == 30
    assert desk.most_busy <= 3
    assert furthest <= 3


def test_many_of_none_is_nothing(runtime):
    assert list(one_by_one(runtime, [], timeout_s=1, concurrency=4)) == []


def test_a_caller_that_stops_early_cancels_the_rest(desk):
    cancelled = []

    class Noting(HttpClient):
        async def send(self, request, **more):
            try:
                return await super().send(request, **more)
            except asyncio.CancelledError:
                cancelled.append(request.url[-2:])
                raise

    desk.held = {"/1", "/2"}
    requests = map(desk.request, ["/0", "/1", "/2"])
    with closing(HttpRuntime(Noting(connections=3))) as runtime:
        ended = one_by_one(runtime, requests, timeout_s=30, concurrency=3)
        assert next(ended)[0] == 0
        until(lambda: len(desk.arrived) == 3)
        ended.close()
        until(lambda: sorted(cancelled) == ["/1", "/2"])


def test_after_close_nothing_is_sent_and_the_error_says_so(desk, runtime):
    runtime.send_request(desk.request("/1"), timeout_s=5)
    runtime.close()
    runtime.close()
    assert loop_threads() == []
    with pytest.raises(NotBegun, match="stopping"):
        runtime.send_request(desk.request("/2"), timeout_s=5)
    many = list(one_by_one(runtime, [desk.request("/3")] * 3, timeout_s=5, concurrency=2))
    assert sorted(place for place, _ in many) == [0, 1, 2]
    assert all(isinstance(error, NotBegun) for _, error in many)
    assert desk.arrived == ["/1"]


def test_closing_what_was_never_used_starts_nothing(runtime):
    runtime.close()
    assert loop_threads() == []


def test_close_in_mid_request_leaves_the_caller_with_a_doubt(desk, runtime):
    desk.held = {"/1", "/2"}
    with ThreadPoolExecutor(2) as pool:
        one = pool.submit(runtime.send_request, desk.request("/1"), timeout_s=60)
        many = pool.submit(
            list, one_by_one(runtime, [desk.request("/2")] * 2, timeout_s=60, concurrency=1)
        )
        until(lambda: len(desk.arrived) == 2)
        runtime.close()
        with pytest.raises(ProviderError) as caught:
            one.result(10)
        assert caught.value.kind is ErrorKind.DOUBTFUL
        kinds = {place: (type(error), error.kind) for place, error in many.result(10)}
    assert kinds == {
        0: (ProviderError, ErrorKind.DOUBTFUL),
        1: (NotBegun, ErrorKind.UNREACHABLE),
    }


class HangingClient(HttpClient):
    """Blocks the loop itself, as a bug or a stopped machine would."""

    def __init__(self) -> None:
        super().__init__(connections=1)
        self.reached = threading.Event()
        self.go_on = threading.Event()

    async def send(self, request: HttpRequest, **_) -> HttpResponse:
        self.reached.set()
        self.go_on.wait(30)
        return HttpResponse(status=200)


@contextmanager
def hanging():
    client = HangingClient()
    try:
        yield client
    finally:
        client.go_on.set()
        until(lambda: loop_threads() == [])


REQUEST = HttpRequest(method="POST", url="http://localhost/")


def test_a_hanging_loop_cannot_hold_close_nor_the_caller(caplog):
    with hanging() as client, ThreadPoolExecutor(1) as pool:
        runtime = HttpRuntime(client)
        call = pool.submit(runtime.send_request, REQUEST, timeout_s=60)
        assert client.reached.wait(10)
        began = time.monotonic()
        runtime.close(timeout_s=0.2)
        with pytest.raises(ProviderError) as caught:
            call.result(5)
        assert time.monotonic() - began < 5
        assert caught.value.kind is ErrorKind.DOUBTFUL
        assert "did not end in time" in caplog.text


def test_a_hanging_loop_is_a_doubt_when_the_request_is_overdue():
    with hanging() as client:
        runtime = HttpRuntime(client, grace_s=0.1)
        with pytest.raises(ProviderError, match="hangs") as caught:
            runtime.send_request(REQUEST, timeout_s=0.1)
        assert caught.value.kind is ErrorKind.DOUBTFUL
        [(_, error)] = one_by_one(runtime, [REQUEST], timeout_s=0.1, concurrency=1)
        assert error.kind is ErrorKind.DOUBTFUL
        client.go_on.set()
        runtime.close()


@pytest.mark.parametrize("missing", [False, True])
def test_the_loop_is_uvloop_where_there_is_one(desk, monkeypatch, missing):
    if missing:
        monkeypatch.setitem(sys.modules, "uvloop", None)
    used = []

    class Noting(HttpClient):
        async def send(self, request, **more):
            used.append(type(asyncio.get_running_loop()).__module__)
            return await super().send(request, **more)

    with closing(HttpRuntime(Noting(connections=1))) as runtime:
        assert runtime.send_request(desk.request("/1"), timeout_s=5).body == b"1"
    assert ("uvloop" in used[0]) is not missing
