"""The rate that is shown, between large requests too."""

import pytest

from dispatcher.cli.campaign.pace import SubmissionPace


def paced(*looks):
    """The pace after looks (second, submitted)."""
    now = [0.0]
    pace = SubmissionPace(clock=lambda: now[0])
    for now[0], submitted in looks:
        pace.add_observation(submitted)
    return pace


def steps(*, size, every_s, until_s):
    """Looks twice a second at requests that leave together."""
    return [(s / 2, size * int(s / 2 / every_s)) for s in range(1, until_s * 2)]


@pytest.mark.parametrize(
    ("looks", "per_second"),
    [
        (steps(size=2000, every_s=10, until_s=39), 200),
        (steps(size=2000, every_s=10, until_s=31), 200),
        (steps(size=5, every_s=0.5, until_s=30), 10),
        (steps(size=1, every_s=30, until_s=200), 1 / 30),
        # One step, seen for long enough.
        ([(0, 0), (2, 100), (20, 100)], 5),
        # Just begun: nobody knows when the request before the first look left.
        ([(0, 0), (2, 100), (3, 100)], 0),
        ([(0, 7)], 0),
        # It stopped.
        ([*steps(size=2000, every_s=10, until_s=31), (90, 6000)], 0),
    ],
)
def test_the_rate_is_measured_from_request_to_request(looks, per_second):
    pace = paced(*looks)
    assert pace.per_second == pytest.approx(per_second, rel=0.05)
    left = pace.remaining_s(400)
    assert left == (pytest.approx(400 / per_second, rel=0.05) if per_second else None)


def test_a_rate_is_known_after_two_requests_or_ten_seconds():
    assert [paced(*looks).is_measured for looks in (
        [], [(0, 0)], [(0, 0), (1, 5)], [(0, 0), (1, 5), (2, 10)], [(0, 0), (10, 0)],
    )] == [False, False, False, True, True]  # fmt: skip
