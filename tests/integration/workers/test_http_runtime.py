"""HttpRuntime over a loopback server that runs in a thread of the test."""

import asyncio
import http.server
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager, suppress
from itertools import islice

import pytest

from dispatcher.errors import ErrorKind, ProviderError
from dispatcher.outbound.departure import AT_ONCE, Departure, NotBegun, boottime_s
from dispatcher.outbound.transport import HttpClient
from dispatcher.types import HttpRequest, HttpResponse
from workers.http.flight import FlightRequest
from workers.http.http_runtime import HttpRuntime


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


def collect_all(flight):
    """Everything that lands, however long it takes."""
    landed = []
    while flight.under_way:
        landed += flight.collect(timeout_s=0.2)
    return landed


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


def test_a_flight_lands_as_its_requests_end(desk, runtime):
    desk.held = {"/0"}
    paths = ["/0", "/1", "/2", "/close"]
    flight = runtime.open_flight(timeout_s=20)
    flight.send([FlightRequest(n, desk.request(path), AT_ONCE) for n, path in enumerate(paths)])
    first = {}
    while len(first) < 3:
        first |= {each.number: each.answer for each in flight.collect(timeout_s=5)}
    assert set(first) == {1, 2, 3}
    assert (first[1].body, first[2].body, first[3].kind) == (b"1", b"2", ErrorKind.DOUBTFUL)
    assert (flight.under_way, flight.collect(timeout_s=0.05)) == (1, [])
    desk.go_on.set()
    [landed] = collect_all(flight)
    assert (landed.number, landed.answer.body) == (0, b"0")
    assert landed.took_s > 0.05


def test_a_flight_goes_on_with_more_requests(desk, runtime):
    flight, ended = runtime.open_flight(timeout_s=10), []
    todo = iter(range(30))
    while len(ended) < 30:
        free = 3 - flight.under_way
        more = list(islice(todo, free))
        flight.send([FlightRequest(n, desk.request(f"/{n}"), AT_ONCE) for n in more])
        ended += flight.collect(timeout_s=5)
    assert sorted(each.number for each in ended) == [*range(30)]
    assert desk.most_busy <= 3


def test_nothing_lands_of_an_empty_flight(runtime):
    flight = runtime.open_flight(timeout_s=1)
    flight.send([])
    assert flight.collect(timeout_s=5) == []


def test_a_flight_that_is_stopped_withdraws_what_has_not_left(desk, runtime):
    desk.held = {"/0"}
    flight = runtime.open_flight(timeout_s=20)
    soon = Departure(not_before=boottime_s() + 0.2)
    flight.send([
        FlightRequest(0, desk.request("/0"), AT_ONCE), FlightRequest(1, desk.request("/1"), soon)
    ])  # fmt: skip
    until(lambda: desk.arrived == ["/0"])
    flight.stop()
    desk.go_on.set()
    landed = {each.number: each.answer for each in collect_all(flight)}
    assert landed[0].status == 200
    assert isinstance(landed[1], NotBegun)
    assert desk.arrived == ["/0"]


def test_a_flight_that_is_closed_early_cancels_the_rest(desk):
    cancelled = []

    class Noting(HttpClient):
        async def send(self, request, **more):
            try:
                return await super().send(request, **more)
            except asyncio.CancelledError:
                cancelled.append(request.url[-2:])
                raise

    desk.held = {"/1", "/2"}
    with closing(HttpRuntime(Noting(connections=3))) as runtime:
        flight = runtime.open_flight(timeout_s=30)
        flight.send([FlightRequest(n, desk.request(f"/{n}"), AT_ONCE) for n in range(3)])
        assert [each.number for each in flight.collect(timeout_s=5)] == [0]
        until(lambda: len(desk.arrived) == 3)
        flight.close()
        until(lambda: sorted(cancelled) == ["/1", "/2"])


def test_after_close_nothing_is_sent_and_the_error_says_so(desk, runtime):
    runtime.send_request(desk.request("/1"), timeout_s=5)
    runtime.close()
    runtime.close()
    assert loop_threads() == []
    with pytest.raises(NotBegun, match="stopping"):
        runtime.send_request(desk.request("/2"), timeout_s=5)
    flight = runtime.open_flight(timeout_s=5)
    flight.send([FlightRequest(n, desk.request("/3"), AT_ONCE) for n in range(3)])
    landed = flight.collect(timeout_s=5)
    assert sorted(each.number for each in landed) == [0, 1, 2]
    assert all(isinstance(each.answer, NotBegun) for each in landed)
    assert desk.arrived == ["/1"]


def test_closing_what_was_never_used_starts_nothing(runtime):
    runtime.close()
    assert loop_threads() == []


def test_close_in_mid_request_leaves_the_caller_with_a_doubt(desk, runtime):
    desk.held = {"/1", "/2"}
    flight = runtime.open_flight(timeout_s=60)
    with ThreadPoolExecutor(1) as pool:
        one = pool.submit(runtime.send_request, desk.request("/1"), timeout_s=60)
        not_yet = Departure(not_before=boottime_s() + 60)
        flight.send([
            FlightRequest(0, desk.request("/2"), AT_ONCE),
            FlightRequest(1, desk.request("/3"), not_yet),
        ])  # fmt: skip
        until(lambda: len(desk.arrived) == 2)
        runtime.close()
        with pytest.raises(ProviderError) as caught:
            one.result(10)
        assert caught.value.kind is ErrorKind.DOUBTFUL
    landed = {each.number: each.answer for each in collect_all(flight)}
    assert {number: (type(answer), answer.kind) for number, answer in landed.items()} == {
        0: (ProviderError, ErrorKind.DOUBTFUL),
        1: (NotBegun, ErrorKind.UNREACHABLE),
    }
    assert sorted(desk.arrived) == ["/1", "/2"]


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
        flight = runtime.open_flight(timeout_s=0.1)
        flight.send([FlightRequest(7, REQUEST, AT_ONCE)])
        [landed] = collect_all(flight)
        assert (landed.number, landed.answer.kind) == (7, ErrorKind.DOUBTFUL)
        assert flight.under_way == 0
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
