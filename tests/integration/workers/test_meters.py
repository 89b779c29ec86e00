"""What each worker process shows of itself."""

from urllib.request import urlopen

import pytest

from dispatcher.errors import ErrorKind
from tests.support.stage import wait_for
from workers import meters
from workers.http.http_runtime import HttpRuntime


class _NoClient:
    async def close(self):
        pass


@pytest.fixture
def value():
    """The value of a sample with these labels, before anything else 0."""

    def read(name, **labels):
        return meters.REGISTRY.get_sample_value(f"dispatcher_worker_{name}", labels) or 0.0

    return read


def test_an_answer_and_its_error_are_counted_by_account_and_call(value):
    named = {"account": "of-meters", "call": "submit"}
    meters.note_begun("of-meters", "submit", 3)
    meters.note_ended("of-meters", "submit")
    meters.note_answer("of-meters", "submit", 0.2, ErrorKind.THROTTLED)
    meters.note_answer("of-meters", "submit", None, ErrorKind.UNREACHABLE)
    assert value("requests_in_flight", **named) == 2
    assert value("answer_seconds_count", **named) == 1
    assert value("request_errors_total", **named, kind="throttled") == 1
    assert value("request_errors_total", **named, kind="unreachable") == 1


def test_the_loops_lag_is_measured_while_it_runs(value):
    before = value("loop_lag_seconds_count")
    runtime = HttpRuntime(_NoClient())
    runtime.watch_lag(meters.note_loop_lag)
    wait_for(lambda: value("loop_lag_seconds_count") > before, "a measurement")
    runtime.close()
    runtime.watch_lag(meters.note_loop_lag)  # it is closed: nothing happens


def test_they_are_served_and_a_port_that_is_taken_stops_nothing(caplog):
    meters.start_server("127.0.0.1", port := _free_port())
    with urlopen(f"http://127.0.0.1:{port}/metrics") as answer:
        assert b"process_resident_memory_bytes" in answer.read()
    meters.start_server("127.0.0.1", port)
    assert "this worker has no metrics: port" in caplog.text
    meters.stop_server()


def _free_port() -> int:
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
