"""When a worker counts as stalled, who may still begin, and what an outage leaves in the log."""

import logging
import threading
from types import SimpleNamespace

import pytest
from redis.exceptions import ConnectionError as BrokerAway

from workers.drain import DrainGate
from workers.log_filter import DedupFilter
from workers.watchdog import EXIT_STALLED, StallDetector, Watchdog

# --- Stall: (seconds, queued, last message taken, broker answers) of each look, then the verdict

WAITING = [(7, 3)]
CASES = {
    "nothing waits": ([(0, [], 0, True), (100, [], 0, True)], []),
    "a batch waits, and nothing is taken": ([(0, WAITING, 0, True), (60, WAITING, 0, True)], [7]),
    "not for so long": ([(0, WAITING, 0, True), (59, WAITING, 0, True)], []),
    "it was claimed meanwhile": ([(0, WAITING, 0, True), (60, [(8, 1)], 0, True)], []),
    "another worker is only slow: this one takes": (
        [(0, WAITING, 0, True), (60, WAITING, 59, True)],
        [],
    ),
    "handed out anew, with another fence": ([(0, WAITING, 0, True), (60, [(7, 5)], 0, True)], []),
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


@pytest.mark.parametrize(("looks", "verdict"), CASES.values(), ids=CASES)
def test_a_worker_is_stalled_when(looks, verdict):
    stall = StallDetector(60)
    for now, queued, taken_at, answers in looks:
        last = stall.find_late(queued, taken_at=taken_at, broker_answers=answers, now=now)
    assert last == verdict


class Fake(SimpleNamespace):
    """Anything with the attributes that are asked for."""


def test_a_stalled_worker_lets_submissions_end_then_ends_with_a_status_of_its_own(caplog):
    gate, ended, order = DrainGate(), threading.Event(), []
    services = Fake(
        stopping=threading.Event(),
        gate=gate,
        settings=Fake(accounts={"main": Fake(timeout_s=1)}),
        leases=Fake(stop=lambda: order.append("leases")),
    )

    def leave(status):
        order.append(status)
        ended.set()

    watchdog = Watchdog(services, after_s=60, leave=leave)
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


def test_a_submission_that_hangs_keeps_a_stalled_worker_for_a_bounded_time():
    gate = DrainGate()
    with gate.enter_submission():
        assert not gate.close_and_wait(timeout_s=0.01)
    assert gate.close_and_wait(timeout_s=10)


# --- The log ----------------------------------------------------------------------------------


@pytest.fixture
def logged():
    """A logger that is filtered by a clock of the test's; what it let through."""
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


def test_an_outage_is_logged_once_in_half_a_minute_with_a_count(logged):
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


def test_a_broker_that_is_away_needs_no_traceback_a_bug_does(logged):
    logger, shown, _clock = logged
    for error in (BrokerAway("refused"), KeyError("a bug")):
        try:
            raise error
        except (BrokerAway, KeyError):
            logger.exception("Message Error: %s\n%s", error, "File x, line 1")
    away, bug = shown
    assert away == "Message Error: refused"
    assert "Traceback" in bug
