"""Batches are full, within limits, in order, and hold every recipient once."""

from collections import defaultdict
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dispatcher.policy.batching import BatchPlanner
from dispatcher.status import Encoding

streams = st.lists(
    st.tuples(st.sampled_from([*Encoding, ("IN", Encoding.GSM7)]), st.integers(0, 30))
)


def plan(planner, stream):
    """Batches per lane, in the order of handing out; an item is its place in the stream."""
    batches = defaultdict(list)
    for place, (lane, size) in enumerate(stream):
        if full := planner.add_item(place, group=lane, size_bytes=size):
            batches[lane].append(full)
    for lane, rest in planner.flush():
        batches[lane].append(rest)
    return batches


@given(streams, st.integers(1, 5), st.integers(30, 90))
def test_nothing_is_lost_doubled_or_reordered(stream, max_recipients, max_bytes):
    planner = BatchPlanner(max_recipients=max_recipients, max_bytes=max_bytes)
    batches = plan(planner, stream)
    for lane in {lane for lane, _ in stream}:
        planned = [place for batch in batches[lane] for place in batch]
        assert planned == [place for place, (itsown, _) in enumerate(stream) if itsown == lane]


@given(streams, st.integers(1, 5), st.integers(30, 90))
def test_batches_keep_the_limits_and_all_but_the_last_are_full(stream, max_recipients, max_bytes):
    planner = BatchPlanner(max_recipients=max_recipients, max_bytes=max_bytes)
    size = [size for _, size in stream]
    for batches in plan(planner, stream).values():
        for batch in batches:
            assert 1 <= len(batch) <= max_recipients
            assert sum(size[place] for place in batch) <= max_bytes
        for batch, following in pairwise(batches):
            had_room = len(batch) < max_recipients
            assert not had_room or sum(size[p] for p in [*batch, following[0]]) > max_bytes


def test_lanes_do_not_mix():
    planner = BatchPlanner(max_recipients=2, max_bytes=100)
    stream = [(Encoding.GSM7, 1), (Encoding.UCS2, 1), (Encoding.GSM7, 1), (Encoding.GSM7, 1)]
    assert plan(planner, stream) == {Encoding.GSM7: [[0, 2], [3]], Encoding.UCS2: [[1]]}


def test_an_item_that_no_batch_can_hold_is_an_error_and_changes_nothing():
    planner = BatchPlanner(max_recipients=2, max_bytes=100)
    planner.add_item("first", group=0, size_bytes=60)
    with pytest.raises(ValueError, match="101 bytes"):
        planner.add_item("giant", group=0, size_bytes=101)
    assert list(planner.flush()) == [(0, ["first"])]


def test_a_flushed_planner_begins_anew():
    planner = BatchPlanner(max_recipients=2, max_bytes=100)
    planner.add_item("first", group=0, size_bytes=60)
    assert list(planner.flush()) == [(0, ["first"])]
    assert list(planner.flush()) == []
    assert planner.add_item("second", group=0, size_bytes=60) is None


@pytest.mark.parametrize("limits", [(0, 1), (1, 0), (-1, 5)])
def test_limits_that_take_nothing_are_an_error(limits):
    with pytest.raises(ValueError, match="at least one"):
        BatchPlanner(max_recipients=limits[0], max_bytes=limits[1])
