"""When a worker is stalled, what may still begin then, and what an outage leaves in the log."""

import logging
import threading
from types import SimpleNamespace

import pytest
from redis.exceptions import ConnectionError as BrokerAway

from workers.drain import DrainGate
from workers.log_filter import DedupFilter
from workers.watchdog import EXIT_STALLED, StallDetector, Watchdog

# --- Observations (seconds, queued, last task received, broker answers), then what is found

WAITING = [(7, 3)]
CASES = {
    "nothing waits": ([(0, [], 0, True), (100, [], 0, True)], []),
    "a batch waits, and nothing is received": (
        [(0, WAITING, 0, True), (60, WAITING, 0, True)],
        [7],
    ),
    "not for so long": ([(0, WAITING, 0, True), (59, WAITING, 0, True)], []),
    "it was claimed meanwhile": ([(0, WAITING, 0, True), (60, [(8, 1)], 0, True)], []),
    "another worker is slow, this one receives tasks": (
        [(0, WAITING, 0, True), (60, WAITING, 59, True)],
        [],
    ),
    "it was queued again, with another fence": (
        [(0, WAITING, 0, True), (60, [(7, 5)], 0, True)],
        [],
    ),
    "all threads were busy until a moment ago": (
        [(0, WAITING, 55, True), (60, WAITING, 55, True)],
        [],
    ),
    "the broker is away": ([(0, WAITING, 0, True), (60, WAITING, 0, False)], []),
    "the broker has just come back": (
        [(0, WAITING, 0, True), (60, WAITING, 0, False), (61, WAITING, 0, True)],
        [],
    ),
    "it came back long ago": (
        [(0, WAITING, 0, False), (5, WAITING, 0, True), (65, WAITING, 0, True)],
        [7],
    ),
}


@pytest.mark.parametrize(("observations", "found"), CASES.values(), ids=CASES)
def test_a_worker_is_stalled_when(observations, found):
    stall = StallDetector(60)
    for now, queued, received_at, answers in observations:
        last = stall.find_late(queued, received_at=received_at, broker_answers=answers, now=now)
    assert last == found


class Fake(SimpleNamespace):
    """Anything with the attributes that are asked for."""


def test_a_stalled_worker_waits_for_submissions_then_ends_with_its_exit_status(caplog):
    gate, ended, order = DrainGate(most=8), threading.Event(), []
    services = Fake(
        stopping=threading.Event(),
        gate=gate,
        settings=Fake(accounts={"main": Fake(timeout_s=1)}),
        leases=Fake(stop=lambda: order.append("leases")),
    )

    def leave(status):
        order.append(status)
        ended.set()

    watchdog = Watchdog(services, after_s=60, threads=8, leave=leave)
    inside, go_on = threading.Event(), threading.Event()

    def submission():
        with gate.enter_submission() as may_begin:
            assert may_begin
            inside.set()
            go_on.wait(10)
            order.append("submitted")

    working = threading.Thread(target=submission)
    working.start()
    assert inside.wait(10)
    ending = threading.Thread(target=watchdog._end_process, args=([7, 9],))
    ending.start()
    while True:
        with gate.enter_submission() as may_begin:
            if not may_begin:
                break
    assert order == []
    go_on.set()
    working.join(10)
    ending.join(10)
    assert ended.is_set()
    assert order == ["submitted", "leases", EXIT_STALLED]
    assert services.stopping.is_set()
    assert "7, 9" in caplog.text


def test_a_stalled_worker_waits_for_a_hanging_submission_only_for_some_time():
    gate = DrainGate(most=8)
    with gate.enter_submission():
        assert not gate.close_and_wait(timeout_s=0.01)
    assert gate.close_and_wait(timeout_s=10)


def test_a_worker_whose_threads_are_all_busy_is_not_stalled():
    watchdog = Watchdog(Fake(), after_s=60, threads=2)
    watchdog.note_begun_task()
    assert watchdog._has_free_thread
    watchdog.note_begun_task()
    assert not watchdog._has_free_thread
    watchdog._received_at = 0.0
    watchdog.note_ended_task()
    assert watchdog._has_free_thread
    assert watchdog._received_at > 0  # from now on it can receive another one


def test_no_more_submissions_are_under_way_than_there_are_threads_for():
    gate = DrainGate(most=2)
    with gate.enter_submission() as one, gate.enter_submission() as two:
        with gate.enter_submission() as three:
            assert (one, two, three) == (True, True, False)
        with gate.enter_submission() as fourth:
            assert not fourth
    with gate.enter_submission() as later:
        assert later


# --- The log ----------------------------------------------------------------------------------


@pytest.fixture
def logged():
    """A filtered logger, the lines that it shows, and its clock."""
    shown, clock = [], Fake(now=0.0)
    handler = logging.Handler()
    handler.emit = lambda record: shown.append(logging.Formatter("%(message)s").format(record))
    handler.addFilter(DedupFilter(30, lambda: clock.now))
    logger = logging.getLogger("outage")
    logger.addHandler(handler)
    logger.propagate = False
    logger.setLevel(logging.INFO)
    yield logger, shown, clock
    logger.removeHandler(handler)


def test_an_outage_is_logged_every_half_minute_with_a_count(logged):
    logger, shown, clock = logged
    for second in range(61):
        clock.now = float(second)
        logger.error("the store is away: %s", second)
        logger.warning("and this is another message")
        logger.info("batch %d went", second)
    errors = [line for line in shown if line.startswith("the store")]
    assert errors == [
        "the store is away: 0",
        "the store is away: 30 (and 29 more like it)",
        "the store is away: 60 (and 29 more like it)",
    ]
    assert sum(line.startswith("and this") for line in shown) == 3
    assert sum(line.startswith("batch") for line in shown) == 61


def test_an_unreachable_broker_is_logged_without_a_traceback_a_bug_with_one(logged):
    logger, shown, _clock = logged
    for error in (BrokerAway("refused"), KeyError("a bug")):
        try:
            raise error
        except (BrokerAway, KeyError):
            logger.exception("Message Error: %s\n%s", error, "File x, line 1")
    away, bug = shown
    assert away == "Message Error: refused"
    assert "Traceback" in bug
