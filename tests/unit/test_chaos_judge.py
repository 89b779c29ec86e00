"""What the judge of a chaos run takes for an excuse, and what not: else the run could not fail."""

from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pytest

from tests.chaos.judge import Blow, blow_to, needless_doubts, read_holders

NOON = datetime(2030, 5, 6, 12, 0, tzinfo=UTC)


def at(seconds):
    return NOON + timedelta(seconds=seconds)


#: A request of ten seconds.
REQUEST = SimpleNamespace(
    id=7, batch_id=3, fence=2, begun_at=at(0), ended_at=at(10), deadline=at(20)
)


def blow(worker, seconds, *, kills=True):
    return Blow(worker=worker, at=at(seconds), kills=kills)


@pytest.mark.parametrize(
    ("blows", "holder", "is_excused"),
    [
        ([blow("w1", 5)], "w1", True),
        ([blow("w1", 5, kills=False)], "w1", True),
        ([blow("w2", 5)], "w1", False),
        ([blow("w1", -5)], "w1", False),
        ([blow("w1", 11)], "w1", False),
        ([blow("w2", 5)], None, True),
        ([], None, False),
    ],
)
def test_a_request_is_excused_by_a_blow_to_its_own_worker_while_it_was_open(
    blows, holder, is_excused
):
    holders = {(3, 2): holder} if holder else {}
    assert (blow_to(REQUEST, blows, holders) is not None) == is_excused


def test_who_held_a_batch_stands_in_the_workers_logs():
    logs = {"w1": "INFO batch 3, fence 2: 1 requests leave", "w2": "INFO batch 3, fence 4: 20"}
    assert read_holders(logs) == {(3, 2): "w1"}


@pytest.mark.parametrize(
    ("entries", "held", "faults", "is_needless"),
    [
        ([{"at": at(1), "spoilt": "reset"}], [], {}, False),
        ([{"at": at(1)}], [], {}, True),
        ([{"at": at(1)}], [7], {}, False),
        ([], [], {}, True),
        ([], [], {"reset_before": 1}, False),
        ([{"at": at(-30)}], [], {"reset_before": 1}, False),
        ([{"at": at(-30), "spoilt": "reset"}, {"at": at(1)}], [], {"reset_before": 1}, True),
    ],
)
def test_doubt_needs_a_reason_in_that_very_request(entries, held, faults, is_needless):
    ledger = {919: [entry | {"at": entry["at"].timestamp()} for entry in entries]}
    doubtful = [SimpleNamespace(attempt_id=7, msisdn=919)]
    assert bool(needless_doubts(doubtful, {7: REQUEST}, ledger, held, faults)) == is_needless
