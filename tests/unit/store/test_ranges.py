"""Which messages are a batch's, and which batches have work left, as the statements have it."""

from types import SimpleNamespace

import pytest
from sqlalchemy.dialects import sqlite

from dispatcher.status import BatchState
from dispatcher.store.ranges import (
    MESSAGES_OF_BATCH,
    join_ranges,
    messages_between,
    messages_of,
    range_parameters,
)
from dispatcher.store.transitions import HAS_STRAY, IS_UNSETTLED

BATCH = SimpleNamespace(campaign_id=7, first_seq=5, size=3)


def sql_of(condition):
    compiled = condition.compile(dialect=sqlite.dialect(), compile_kwargs={"literal_binds": True})
    return str(compiled)


@pytest.mark.parametrize("condition", [messages_of(BATCH), messages_between(7, 5, 7)])
def test_a_batchs_messages_are_as_many_as_its_size_from_its_first_on(condition):
    assert sql_of(condition) == "message.campaign_id = 7 AND message.seq BETWEEN 5 AND 7"


def test_a_statement_that_is_built_once_has_the_same_condition():
    given = range_parameters(BATCH)
    assert given == {"of_campaign": 7, "from_seq": 5, "to_seq": 7}
    named = "message.campaign_id = :of_campaign AND message.seq BETWEEN :from_seq AND :to_seq"
    assert str(MESSAGES_OF_BATCH) == named


@pytest.mark.parametrize(
    ("ranges", "joined"),
    [
        ([], []),
        ([(0, 3)], [(0, 2)]),
        ([(0, 3), (3, 2), (5, 1)], [(0, 5)]),
        ([(0, 3), (4, 2)], [(0, 2), (4, 5)]),
        ([(0, 3), (2, 2)], [(0, 2), (2, 3)]),
        ([(3, 1), (4, 1), (9, 1)], [(3, 4), (9, 9)]),
    ],
)
def test_only_ranges_that_follow_each_other_are_joined(ranges, joined):
    assert join_ranges(ranges) == joined


def test_a_batch_that_has_ended_has_no_work_left():
    ended = int(BatchState.SETTLED)
    assert sql_of(IS_UNSETTLED) == f"batch.state < {ended}"
    assert sql_of(HAS_STRAY) == f"batch.state >= {ended} AND batch.pending > 0"
