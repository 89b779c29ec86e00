"""The short edition of `make soak`: every process of production beside each other, under a load."""

import pytest

from tests.benchmarks.soak.__main__ import soak
from tests.benchmarks.soak.growth import MOST_GROWTH

pytestmark = [pytest.mark.acceptance, pytest.mark.postgres]

PROCESSES = ["worker", "beat", "flower", "metrics", "receiver", "broker"]


def test_every_process_of_production_is_watched_and_answers_as_it_should():
    """Whether anything grows is seen in half an hour only."""
    samples, wrong = soak(seconds=12, rate=200, workers=1)
    assert wrong == []
    last = samples[-1]
    assert last.accepted > samples[0].accepted
    assert list(dict.fromkeys(whose for whose, _ in last.figures)) == [*PROCESSES, "together"]
    assert {name for _, name in last.figures} == {*MOST_GROWTH}
    for name in PROCESSES:
        assert last.figures[name, "MiB"] > 1, name
    assert last.figures["worker", "connections"] >= 1
