"""Rebatching: waiting messages are cut to the fallback account's limits, and none is lost."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dispatcher.policy.batching import BatchSize
from dispatcher.policy.rebatching import (
    BatchLimits,
    SeqSpan,
    WaitingMessage,
    join_spans,
    plan_batches,
    split_waiting_ends,
)
from dispatcher.types import Recipient


def limits(**values):
    return BatchLimits(
        **{
            "size": BatchSize(3),
            "max_bytes": 1000,
            "max_parts": None,
            "bytes_of": lambda _msisdn, text: len(text),
            "requests_of": lambda recipients: len({one.text for one in recipients}),
        }
        | values
    )


def waiting(texts, *, parts=1, first=0):
    return [
        WaitingMessage(Recipient(first + i, 9100 + i, text), parts) for i, text in enumerate(texts)
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("waits", "ends", "kept"),
    [
        ("wwww", [(0, 3)], None),
        ("ssww", [(2, 3)], (0, 1)),
        ("wwss", [(0, 1)], (2, 3)),
        ("wssw", [(0, 0), (3, 3)], (1, 2)),
        ("swws", [], (0, 3)),
        ("wswsw", [(0, 0), (4, 4)], (1, 3)),
        ("ssss", [], (0, 3)),
    ],
)
def test_waiting_ends_move_and_settled_messages_stay_with_all_between(waits, ends, kept):
    seqs = [i for i, state in enumerate(waits) if state == "w"]
    found = split_waiting_ends(seqs, SeqSpan(0, len(waits) - 1))
    assert found == ([SeqSpan(*end) for end in ends], None if kept is None else SeqSpan(*kept))


def test_neighbouring_spans_of_one_group_are_joined():
    gsm, ucs = (0, None), (1, None)
    spans = [(SeqSpan(0, 1), gsm), (SeqSpan(2, 3), gsm), (SeqSpan(4, 5), ucs), (SeqSpan(9, 9), ucs)]
    assert list(join_spans(spans)) == [
        (SeqSpan(0, 3), gsm),
        (SeqSpan(4, 5), ucs),
        (SeqSpan(9, 9), ucs),
    ]
    assert list(join_spans([])) == []


def test_batches_are_within_number_and_bytes_and_count_their_requests():
    found = list(
        plan_batches(waiting(["a", "b", "b", "b", "long text", "c"]), limits(max_bytes=10))
    )
    assert [(p.span, p.requests, p.parts) for p in found] == [
        (SeqSpan(0, 2), 2, 3),
        (SeqSpan(3, 4), 2, 2),
        (SeqSpan(5, 5), 1, 1),
    ]


@pytest.mark.parametrize(
    ("parts", "text", "is_sent"),
    [(5, "x" * 10, True), (6, "x" * 10, False), (5, "x" * 11, False)],
)
def test_a_message_may_be_as_large_as_the_limits(parts, text, is_sent):
    (found,) = plan_batches(waiting([text], parts=parts), limits(max_parts=5, max_bytes=10))
    assert (not found.failed) is is_sent


def test_messages_that_the_fallback_cannot_send_fail_with_the_reason():
    messages = [*waiting(["ok"]), *waiting(["ok"], parts=6, first=1), *waiting(["x" * 11], first=2)]
    (found,) = plan_batches(messages, limits(max_parts=5, max_bytes=10))
    assert (found.span, found.parts, found.requests) == (SeqSpan(0, 2), 1, 1)
    assert [seq for seq, _ in found.failed] == [1, 2]
    assert "6 parts; the fallback account allows 5" in found.failed[0][1]
    assert "too long" in found.failed[1][1]


@given(st.lists(st.text(max_size=12)), st.integers(1, 5), st.integers(1, 30))
def test_every_message_is_in_exactly_one_batch_in_order(texts, most, room):
    messages = waiting(texts)
    found = list(plan_batches(messages, limits(size=BatchSize(most), max_bytes=room)))
    covered = [seq for p in found for seq in range(p.span.first, p.span.last + 1)]
    assert covered == list(range(len(texts)))
    for p in found:
        sent = set(range(p.span.first, p.span.last + 1)) - {s for s, _ in p.failed}
        assert p.span.last - p.span.first < most
        assert sum(len(texts[seq]) for seq in sent) <= room
    assert {s for p in found for s, _ in p.failed} == {
        i for i, text in enumerate(texts) if len(text) > room
    }
