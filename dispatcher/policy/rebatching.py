"""Replanning: messages that wait move to another account, in batches of that account's size. Pure.

A batch keeps a range of seqs. What is settled stays where it is, with what lies between.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

from dispatcher.policy.batching import BatchPlanner
from dispatcher.types import Recipient

#: What may not mix in one request: encoding and time zone.
BatchGroup: TypeAlias = tuple[int, str | None]


class SeqSpan(NamedTuple):
    """Seqs `first … last`."""

    first: int
    last: int


class WaitingMessage(NamedTuple):
    """A message that waits, as it would be sent; `parts` as it was counted at import."""

    recipient: Recipient
    parts: int


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchLimits:
    """What the other account takes in one batch, and the most parts of a text."""

    max_recipients: int
    max_bytes: int
    max_parts: int | None
    bytes_of: Callable[[int, str], int]
    #: How many requests these recipients take.
    requests_of: Callable[[Sequence[Recipient]], int]


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedBatch:
    """A batch at the other account; `failed` are those of it that it cannot take, and why."""

    span: SeqSpan
    parts: int
    requests: int
    failed: Sequence[tuple[int, str]]


def split_waiting_ends(seqs: Sequence[int], span: SeqSpan) -> tuple[list[SeqSpan], SeqSpan | None]:
    """The ends of `span` that wait whole, by the seqs in it that wait; and the middle, which stays.

    None where all of it waits.
    """
    waits = set(seqs)
    settled = [seq for seq in range(span.first, span.last + 1) if seq not in waits]
    if not settled:
        return [span], None
    kept = SeqSpan(settled[0], settled[-1])
    ends = [SeqSpan(span.first, kept.first - 1), SeqSpan(kept.last + 1, span.last)]
    return [end for end in ends if end.first <= end.last], kept


def join_spans(spans: Iterable[tuple[SeqSpan, BatchGroup]]) -> Iterator[tuple[SeqSpan, BatchGroup]]:
    """Spans with their lanes, in order; those of one lane that follow each other as one."""
    held: tuple[SeqSpan, BatchGroup] | None = None
    for span, lane in spans:
        if held is not None and held[1] == lane and held[0].last + 1 == span.first:
            held = (SeqSpan(held[0].first, span.last), lane)
            continue
        if held is not None:
            yield held
        held = (span, lane)
    if held is not None:
        yield held


def plan_batches(messages: Iterable[WaitingMessage], limits: BatchLimits) -> Iterator[PlannedBatch]:
    """Cut messages of consecutive seqs, in order, into batches within `limits`."""
    planner = BatchPlanner[None, WaitingMessage](
        max_recipients=limits.max_recipients, max_bytes=limits.max_bytes
    )
    for one in messages:
        # What cannot be sent takes no room.
        size = 0 if _why_unsendable(one, limits) else _size_in_bytes(one, limits)
        if full := planner.add_item(one, lane=None, size_bytes=size):
            yield plan_batch(full, limits)
    for _lane, rest in planner.flush():
        yield plan_batch(rest, limits)


def plan_batch(messages: Sequence[WaitingMessage], limits: BatchLimits) -> PlannedBatch:
    """One batch of these messages, as they are: seqs between them may belong to it too."""
    failed: list[tuple[int, str]] = []
    sent: list[WaitingMessage] = []
    for one in messages:
        reason = _why_unsendable(one, limits)
        if reason is None:
            sent.append(one)
        else:
            failed.append((one.recipient.seq, reason))
    return PlannedBatch(
        span=SeqSpan(messages[0].recipient.seq, messages[-1].recipient.seq),
        parts=sum(one.parts for one in sent),
        requests=limits.requests_of([one.recipient for one in sent]) if sent else 0,
        failed=failed,
    )


def _size_in_bytes(one: WaitingMessage, limits: BatchLimits) -> int:
    return limits.bytes_of(one.recipient.msisdn, one.recipient.text)


def _why_unsendable(one: WaitingMessage, limits: BatchLimits) -> str | None:
    if limits.max_parts is not None and one.parts > limits.max_parts:
        return f"the text has {one.parts} parts; the fallback account allows {limits.max_parts}"
    if _size_in_bytes(one, limits) > limits.max_bytes:
        return "the text is too long for a request of the fallback account"
    return None
