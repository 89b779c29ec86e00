"""Batches are full, within limits, in order, and have every recipient once."""

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
    """Batches per group, in the order in which they are returned; an item is its place."""
    batches = defaultdict(list)
    for place, (group, size) in enumerate(stream):
        if full := planner.add_item(place, group=group, size_bytes=size):
            batches[group].append(full)
    for group, rest in planner.flush():
        batches[group].append(rest)
    return batches


@given(streams, st.integers(1, 5), st.integers(30, 90))
def test_no_item_is_lost_doubled_or_reordered(stream, max_recipients, max_bytes):
    planner = BatchPlanner(max_recipients=max_recipients, max_bytes=max_bytes)
    batches = plan(planner, stream)
    for group in {group for group, _ in stream}:
        planned = [place for batch in batches[group] for place in batch]
        assert planned == [place for place, (itsown, _) in enumerate(stream) if itsown == group]


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


def test_groups_do_not_mix():
    planner = BatchPlanner(max_recipients=2, max_bytes=100)
    stream = [(Encoding.GSM7, 1), (Encoding.UCS2, 1), (Encoding.GSM7, 1), (Encoding.GSM7, 1)]
    assert plan(planner, stream) == {Encoding.GSM7: [[0, 2], [3]], Encoding.UCS2: [[1]]}


def test_an_item_larger_than_a_batch_is_an_error_and_changes_nothing():
    planner = BatchPlanner(max_recipients=2, max_bytes=100)
    planner.add_item("first", group=0, size_bytes=60)
    with pytest.raises(ValueError, match="101 bytes"):
        planner.add_item("giant", group=0, size_bytes=101)
    assert list(planner.flush()) == [(0, ["first"])]


def test_a_flushed_planner_starts_empty():
    planner = BatchPlanner(max_recipients=2, max_bytes=100)
    planner.add_item("first", group=0, size_bytes=60)
    assert list(planner.flush()) == [(0, ["first"])]
    assert list(planner.flush()) == []
    assert planner.add_item("second", group=0, size_bytes=60) is None


@pytest.mark.parametrize("limits", [(0, 1), (1, 0), (-1, 5)])
def test_limits_without_room_are_an_error(limits):
    with pytest.raises(ValueError, match="at least one"):
        BatchPlanner(max_recipients=limits[0], max_bytes=limits[1])
