"""How long the next attempt waits."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dispatcher.policy.backoff import MAX_RETRY_AFTER_S, full_jitter, retry_delay

attempts = st.integers(min_value=1, max_value=10**9)
draws = st.floats(min_value=0, max_value=1, exclude_max=True)


def nearly_one():
    return math.nextafter(1, 0)


def half():
    return 0.5


@pytest.mark.parametrize(
    ("attempt", "seconds"), [(1, 0.5), (2, 1), (3, 2), (8, 64), (9, 128), (10, 150), (5000, 150)]
)
def test_the_bound_doubles_up_to_the_cap(attempt, seconds):
    assert full_jitter(attempt, random=half) == seconds


def test_the_caller_may_choose_base_and_cap():
    assert full_jitter(3, base_s=10, cap_s=1000, random=half) == 20
    assert full_jitter(30, base_s=10, cap_s=1000, random=half) == 500


@given(attempts, draws)
def test_a_wait_is_never_negative_nor_above_the_cap(attempt, draw):
    assert 0 <= full_jitter(attempt, random=lambda: draw) <= 300


@pytest.mark.parametrize("attempt", [0, -1])
def test_attempts_are_counted_from_one(attempt):
    with pytest.raises(ValueError, match="from 1"):
        full_jitter(attempt, random=half)


@pytest.mark.parametrize(
    ("retry_after_s", "seconds"),
    [
        (None, 2),
        (1, 2),
        (2.5, 2.5),
        (3600, 3600),
        (86_401, MAX_RETRY_AFTER_S),
        (math.inf, MAX_RETRY_AFTER_S),
        (0, 2),
        (-5, 2),
        (math.nan, 2),
    ],
)
def test_retry_after_is_a_floor_of_at_most_a_day(retry_after_s, seconds):
    assert retry_delay(3, retry_after_s, half) == seconds


@given(attempts, st.floats(allow_nan=True), draws)
def test_no_answer_of_a_provider_makes_a_wait_unbounded(attempt, retry_after_s, draw):
    assert 0 <= retry_delay(attempt, retry_after_s, lambda: draw) <= MAX_RETRY_AFTER_S


def test_workers_that_fail_together_do_not_retry_together():
    assert full_jitter(5, random=nearly_one) - full_jitter(5, random=lambda: 0.0) > 15
