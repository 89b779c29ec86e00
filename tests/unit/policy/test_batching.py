"""Batches are full, within limits, in order, and have every recipient once."""

from collections import defaultdict
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dispatcher.policy.batching import BatchPlanner, BatchSize, first_within, units_in_request
from dispatcher.status import Encoding

streams = st.lists(
    st.tuples(st.sampled_from([*Encoding, ("IN", Encoding.GSM7)]), st.integers(0, 30))
)


def plan(planner, stream):
    """Batches per group, in the order in which they are returned; an item is its place."""
    batches = defaultdict(list)
    for place, (group, size) in enumerate(stream):
        if full := planner.add_item(place, group=group, size_bytes=size, parts=1):
            batches[group].append(full)
    for group, rest in planner.flush():
        batches[group].append(rest)
    return batches


@given(streams, st.integers(1, 5), st.integers(30, 90))
def test_no_item_is_lost_doubled_or_reordered(stream, max_recipients, max_bytes):
    planner = BatchPlanner(BatchSize(max_recipients), max_bytes=max_bytes)
    batches = plan(planner, stream)
    for group in {group for group, _ in stream}:
        planned = [place for batch in batches[group] for place in batch]
        assert planned == [place for place, (itsown, _) in enumerate(stream) if itsown == group]


@given(streams, st.integers(1, 5), st.integers(30, 90))
def test_batches_keep_the_limits_and_all_but_the_last_are_full(stream, max_recipients, max_bytes):
    planner = BatchPlanner(BatchSize(max_recipients), max_bytes=max_bytes)
    size = [size for _, size in stream]
    for batches in plan(planner, stream).values():
        for batch in batches:
            assert 1 <= len(batch) <= max_recipients
            assert sum(size[place] for place in batch) <= max_bytes
        for batch, following in pairwise(batches):
            had_room = len(batch) < max_recipients
            assert not had_room or sum(size[p] for p in [*batch, following[0]]) > max_bytes


@given(
    st.lists(st.lists(st.tuples(st.integers(0, 30), st.integers(1, 9)))),
    st.integers(1, 5),
    st.integers(30, 90),
    st.sampled_from([None, 5]),
)
def test_many_items_at_once_become_the_batches_of_one_by_one(chunks, recipients, max_bytes, parts):
    together, alone = (
        BatchPlanner(BatchSize(recipients, parts), max_bytes=max_bytes) for _ in range(2)
    )
    full, full_alone = [], []
    for chunk in chunks:
        sizes, counts = [size for size, _ in chunk], [count for _, count in chunk]
        full += together.add_items(chunk, group=0, sizes_bytes=sizes, parts=counts)
        for place, item in enumerate(chunk):
            if batch := alone.add_item(item, group=0, size_bytes=item[0], parts=item[1]):
                full_alone.append((place, batch))
    assert full == full_alone
    assert [*together.flush()] == [*alone.flush()]


def test_groups_do_not_mix():
    planner = BatchPlanner(BatchSize(2), max_bytes=100)
    stream = [(Encoding.GSM7, 1), (Encoding.UCS2, 1), (Encoding.GSM7, 1), (Encoding.GSM7, 1)]
    assert plan(planner, stream) == {Encoding.GSM7: [[0, 2], [3]], Encoding.UCS2: [[1]]}


def test_an_item_larger_than_a_batch_is_an_error_and_changes_nothing():
    planner = BatchPlanner(BatchSize(2), max_bytes=100)
    planner.add_item("first", group=0, size_bytes=60, parts=1)
    with pytest.raises(ValueError, match="101 bytes"):
        planner.add_item("giant", group=0, size_bytes=101, parts=1)
    assert list(planner.flush()) == [(0, ["first"])]


def test_a_flushed_planner_starts_empty():
    planner = BatchPlanner(BatchSize(2), max_bytes=100)
    planner.add_item("first", group=0, size_bytes=60, parts=1)
    assert list(planner.flush()) == [(0, ["first"])]
    assert list(planner.flush()) == []
    assert planner.add_item("second", group=0, size_bytes=60, parts=1) is None


@pytest.mark.parametrize("limits", [(0, 1), (1, 0), (-1, 5)])
def test_limits_without_room_are_an_error(limits):
    with pytest.raises(ValueError, match="at least one"):
        BatchPlanner(BatchSize(limits[0]), max_bytes=limits[1])


@pytest.mark.parametrize(
    ("parts", "batches"),
    [
        ([1, 1, 1, 1, 1], [[0, 1, 2, 3], [4]]),
        ([3, 1, 1, 4, 1], [[0, 1], [2], [3], [4]]),
        # A text that alone has more parts is a batch of its own.
        ([9, 1, 9, 9], [[0], [1], [2], [3]]),
    ],
)
def test_the_parts_of_a_batch_have_a_limit_together(parts, batches):
    planner = BatchPlanner(BatchSize(100, parts=4), max_bytes=100)
    planned = []
    for place, count in enumerate(parts):
        if full := planner.add_item(place, group=0, size_bytes=1, parts=count):
            planned.append(full)
    assert planned + [rest for _, rest in planner.flush()] == batches


class Text:
    def __init__(self, parts):
        self.parts = parts


@pytest.mark.parametrize(
    ("size", "count"),
    [
        (BatchSize(10), 3), (BatchSize(2), 2), (BatchSize(10, parts=5), 2), (BatchSize(10, 6), 3),
        (BatchSize(1, 6), 1), (BatchSize(10, parts=1), 1),
    ],
)  # fmt: skip
def test_the_first_messages_within_a_size_are_taken(size, count):
    texts = [Text(parts) for parts in (2, 3, 1)]
    assert list(first_within(texts, size)) == texts[:count]


@pytest.mark.parametrize(
    ("rates", "units"),
    [((1,), 10), ((0.01,), 1), ((0.25, None), 2), ((500, 3), 30), ((None, None), None)],
)
def test_a_request_carries_ten_seconds_of_the_slowest_rate(rates, units):
    assert units_in_request(*rates) == units
