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
    [(10, 0.0, 4), (50, 0.1, 23), (200, 0.1, 87), (2000, 0.02, 128), (20, 5.0, 128)],
)
def test_a_rate_gets_what_littles_law_asks_for(rate, commits_s, most):
    full = [seen((0.1,) * 64, commits_s=commits_s, rate=rate)] * 10
    assert after(*full) == most


def test_what_carried_no_answer_changes_nothing():
    assert after(seen(()), limit=12.0) == 12


@pytest.mark.parametrize(
    ("limit", "best_s", "observation", "limit_after", "best_after_s"),
    [
        pytest.param(4, None, seen((0.3,)), 5, 0.3, id="the first answer is the best"),
        pytest.param(4, None, seen((0.1, 0.2, 0.6)), 7, 0.2, id="the middle answer counts"),
        pytest.param(2, 0.2, seen((0.2,) * 3), 4, 0.2, id="at most twice as many"),
        pytest.param(4, 0.2, seen((0.1,)), 5, 0.1, id="a better time is the best"),
        pytest.param(4, 0.2, seen((0.3,)), 5, 0.204, id="a best time is forgotten slowly"),
        pytest.param(20, 0.2, seen((0.46,)), 18, 0.204, id="slow: a tenth fewer"),
        pytest.param(20, 0.2, seen((0.457,)), 21, 0.204, id="not quite slow"),
        pytest.param(20, 0.0, seen((0.05,)), 21, 0.0, id="just not slow"),
        pytest.param(
            4, 0.2, seen((9.0,), rate=50), 128, 0.204, id="slow and few: what a rate needs"
        ),
        pytest.param(4, 0.2, seen((9.0,)), 4, 0.204, id="slow: not fewer than at the start"),
        pytest.param(2, 0.2, seen((9.0,)), 2, 0.204, id="slow, and few already: as before"),
        pytest.param(1.5, 0.2, seen(throttled=True), 1, 0.2, id="throttled: at least one"),
        pytest.param(20, 1.0, seen((1.0,), rate=10), 18.25, 1.0, id="what a rate needs"),
        pytest.param(3, 0.1, seen((0.1, 0.1), rate=0.1), START, 0.1, id="a low rate: the start"),
        pytest.param(20, 1.0, seen((9.0,), rate=50), 18, 1.02, id="slow, with a rate"),
        pytest.param(4, 0.1, seen((0.1,), rate=500), 128, 0.1, id="a rate needs them at once"),
        pytest.param(4, 0.1, seen((0.1,), full=False, rate=500), 4, 0.1, id="none were wanted"),
    ],
)
def test_the_number_follows_what_a_turn_has_shown(
    limit, best_s, observation, limit_after, best_after_s
):
    known = next_concurrency(Concurrency(limit, best_s), observation)
    assert known.limit == pytest.approx(limit_after)
    assert known.best_s == pytest.approx(best_after_s)


@pytest.mark.parametrize(("limit", "requests"), [(START, 4), (7.9, 7), (1.0, 1), (0.5, 1)])
def test_whole_requests_are_under_way_and_at_least_one(limit, requests):
    assert Concurrency(limit).requests == requests
