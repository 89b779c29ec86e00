"""How many requests are under way where nobody has set it."""

import pytest

from dispatcher.policy.concurrency import (
    MOST_BULK,
    MOST_SINGLE,
    START,
    Concurrency,
    Observation,
    next_concurrency,
)


def seen(times_s=(0.1,) * 4, *, commits_s=0.0, throttled=False, full=True, rate=None, single=True):
    return Observation(
        answer_times_s=times_s, commits_s=commits_s, is_throttled=throttled, was_full=full,
        requests_per_second=rate, is_single=single,
    )  # fmt: skip


def after(*observations, limit=START, best_s=None):
    known = Concurrency(limit, best_s)
    for each in observations:
        known = next_concurrency(known, each)
    return known.requests


def test_it_grows_while_slots_are_wanted_and_answers_are_quick():
    assert after(seen()) == 8
    assert after(seen(), seen((0.1,) * 8)) == 16
    assert after(*[seen((0.1,) * 64)] * 10) == MOST_SINGLE
    assert after(*[seen((0.1,) * 64, single=False)] * 10) == MOST_BULK


def test_it_stays_where_slots_are_free():
    assert after(seen(full=False)) == START


def test_it_halves_when_the_provider_throttles_and_never_ends():
    assert after(seen(throttled=True), limit=64.0) == 32
    assert after(*[seen(throttled=True)] * 20, limit=64.0) == 1


def test_it_shrinks_slowly_when_answers_become_slow_and_grows_again_afterwards():
    slow = seen((0.9,) * 8)
    assert after(slow, limit=40.0, best_s=0.1) == 36
    assert after(*[slow] * 60, limit=40.0, best_s=0.1) >= START
    assert after(slow, seen((0.1,) * 8), limit=40.0, best_s=0.1) == 44


def test_a_provider_that_becomes_slower_for_good_is_used_again():
    """What was best is forgotten by and by."""
    assert after(*[seen((0.9,) * 8)] * 300, limit=40.0, best_s=0.1) == MOST_SINGLE


@pytest.mark.parametrize(
    ("rate", "commits_s", "most"),
    [(10, 0.0, 4), (50, 0.1, 17), (200, 0.1, 62), (2000, 0.02, 64), (20, 5.0, 64)],
)
def test_a_rate_gets_what_littles_law_asks_for(rate, commits_s, most):
    full = [seen((0.1,) * 64, commits_s=commits_s, rate=rate)] * 10
    assert after(*full) == most


def test_what_carried_no_answer_changes_nothing():
    assert after(seen(()), limit=12.0) == 12
