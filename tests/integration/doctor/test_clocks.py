"""Clocks that differ are named, and an answer that took long is no difference."""

from datetime import UTC, datetime, timedelta

import pytest

from dispatcher.doctor.clocks import check_clocks, check_worker_clock
from dispatcher.store import scheduler
from dispatcher.store.clocks import clock_lead_s
from tests.support import stores

ASKED = datetime(2026, 12, 1, 9, tzinfo=UTC)


def after(seconds):
    return ASKED + timedelta(seconds=seconds)


@pytest.mark.parametrize(
    ("at", "took_s", "ahead_s"),
    [
        (0, 0, 0),
        (1.6, 0, -1.6),
        (-1.6, 0, 1.6),
        # The answer took three seconds; the clock may have been read at any time meanwhile.
        (0, 3, 0),
        (1.5, 3, 0),
        (3, 3, 0),
        (5, 3, -2),
        (-2, 3, 2),
    ],
)
def test_what_an_answer_took_is_not_taken_for_a_difference(at, took_s, ahead_s):
    assert clock_lead_s(after(at), asked_at=ASKED, answered_at=after(took_s)) == ahead_s


@pytest.mark.parametrize(
    ("ahead_s", "level", "words"),
    [
        (0, "green", "this machine's clock agrees with the store's and the broker's"),
        (3, "yellow", "s ahead of the store's"),
        (-60, "red", "s behind the store's"),
    ],
)
def test_a_store_whose_clock_differs_is_named(store, ahead_s, level, words):
    def own_now():
        return datetime.now(UTC) + timedelta(seconds=ahead_s)

    (found,) = check_clocks(store, 0.0, own_now)
    assert found.level == level
    assert words in found.what


def test_a_store_that_answers_late_has_no_other_clock_for_that(store):
    """Between the question and the answer thousands of years pass here."""
    readings = iter(
        [datetime.now(UTC) - timedelta(seconds=4), datetime.now(UTC).replace(year=9999)]
    )
    (found,) = check_clocks(store, None, lambda: next(readings))
    assert (found.level, found.what) == ("green", "this machine's clock agrees with the store's")


def test_a_broker_whose_clock_differs_is_named(sqlite_store):
    (found,) = check_clocks(sqlite_store, -30.0)
    assert found.what == "this machine's clock is 30.0 s behind the broker's"


@pytest.mark.parametrize(
    ("clock_ms", "found"),
    [
        (None, []),
        (0, []),
        (2500, [("yellow", "the clock of one is 2.5 s ahead of the store's")]),
        (-20_000, [("red", "the clock of one is 20.0 s behind the store's")]),
    ],
)
def test_a_worker_whose_clock_differs_is_named(store, clock_ms, found):
    with store.write() as conn:
        scheduler.record_heartbeat(conn, "one", 4, stores.NOW, clock_ms=clock_ms)
        (worker,) = scheduler.list_workers(conn, stores.NOW)
    assert [(one.level, one.what) for one in check_worker_clock(worker)] == found
