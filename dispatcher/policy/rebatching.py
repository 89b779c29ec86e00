"""Cuts the waiting messages of a batch into batches for a fallback account.

A batch owns a range of seqs. Settled messages stay in it, with all that lie between them.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

from dispatcher.policy.batching import BatchPlanner, BatchSize
from dispatcher.types import Recipient

#: What one request must not mix: encoding and zone key.
BatchGroup: TypeAlias = tuple[int, str | None]


class SeqSpan(NamedTuple):
    """The seqs from `first` to `last`, both included."""

    first: int
    last: int


class WaitingMessage(NamedTuple):
    """A waiting message as it would be sent, with its part count from the import."""

    recipient: Recipient
    parts: int


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchLimits:
    """How much one batch of the fallback account may hold."""

    size: BatchSize
    max_bytes: int
    #: Parts that one text may have.
    max_parts: int | None
    #: The bytes that a number and its text take in a request.
    bytes_of: Callable[[int, str], int]
    #: The number of requests for these recipients.
    requests_of: Callable[[Sequence[Recipient]], int]


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedBatch:
    """A batch at the fallback account; `failed` has the seqs it cannot send, each with a reason."""

    span: SeqSpan
    parts: int
    requests: int
    failed: Sequence[tuple[int, str]]


def split_waiting_ends(seqs: Sequence[int], span: SeqSpan) -> tuple[list[SeqSpan], SeqSpan | None]:
    """Split `span` by its waiting `seqs`: the ends that can move, and the middle that stays.

    The middle goes from the first to the last settled seq; it is None if all seqs wait.
    """
    waits = set(seqs)
    settled = [seq for seq in range(span.first, span.last + 1) if seq not in waits]
    if not settled:
        return [span], None
    kept = SeqSpan(settled[0], settled[-1])
    ends = [SeqSpan(span.first, kept.first - 1), SeqSpan(kept.last + 1, span.last)]
    return [end for end in ends if end.first <= end.last], kept


def join_spans(spans: Iterable[tuple[SeqSpan, BatchGroup]]) -> Iterator[tuple[SeqSpan, BatchGroup]]:
    """Join neighbouring spans of the same group; `spans` come in order."""
    held: tuple[SeqSpan, BatchGroup] | None = None
    for span, group in spans:
        if held is not None and held[1] == group and held[0].last + 1 == span.first:
            held = (SeqSpan(held[0].first, span.last), group)
            continue
        if held is not None:
            yield held
        held = (span, group)
    if held is not None:
        yield held


def plan_batches(messages: Iterable[WaitingMessage], limits: BatchLimits) -> Iterator[PlannedBatch]:
    """Cut messages with consecutive seqs, in order, into batches within `limits`."""
    planner = BatchPlanner[None, WaitingMessage](limits.size, max_bytes=limits.max_bytes)
    for one in messages:
        # A message that cannot be sent takes no room in a request.
        size, parts = _size_in_bytes(one, limits), one.parts
        if _why_unsendable(one, limits):
            size = parts = 0
        if full := planner.add_item(one, group=None, size_bytes=size, parts=parts):
            yield plan_batch(full, limits)
    for _group, rest in planner.flush():
        yield plan_batch(rest, limits)


def plan_batch(messages: Sequence[WaitingMessage], limits: BatchLimits) -> PlannedBatch:
    """Make one batch of these messages; it also owns the seqs between them."""
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
