"""Replanning: messages that wait move to another account, in batches of that account's size. Pure.

A batch keeps a range of seqs. What is settled stays where it is, with what lies between.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

from dispatcher.policy.batching import BatchPlanner
from dispatcher.types import Recipient

#: What may not mix in one request: encoding and time zone.
Lane: TypeAlias = tuple[int, str | None]


class Span(NamedTuple):
    """Seqs `first … last`."""

    first: int
    last: int


class Waiting(NamedTuple):
    """A message that waits, as it would be sent; `parts` as it was counted at import."""

    recipient: Recipient
    parts: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What the other account takes in one batch, and the most parts of a text."""

    max_recipients: int
    max_bytes: int
    max_parts: int | None
    bytes_of: Callable[[int, str], int]
    #: How many requests these recipients take.
    requests_of: Callable[[Sequence[Recipient]], int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Planned:
    """A batch at the other account; `failed` are those of it that it cannot take, and why."""

    span: Span
    parts: int
    requests: int
    failed: Sequence[tuple[int, str]]


def free_ends(seqs: Sequence[int], span: Span) -> tuple[list[Span], Span | None]:
    """The ends of `span` that wait whole, by the seqs in it that wait; and the middle, which stays.

    None where all of it waits.
    """
    waits = set(seqs)
    settled = [seq for seq in range(span.first, span.last + 1) if seq not in waits]
    if not settled:
        return [span], None
    kept = Span(settled[0], settled[-1])
    ends = [Span(span.first, kept.first - 1), Span(kept.last + 1, span.last)]
    return [end for end in ends if end.first <= end.last], kept


def joined(spans: Iterable[tuple[Span, Lane]]) -> Iterator[tuple[Span, Lane]]:
    """Spans with their lanes, in order; those of one lane that follow each other as one."""
    held: tuple[Span, Lane] | None = None
    for span, lane in spans:
        if held is not None and held[1] == lane and held[0].last + 1 == span.first:
            held = (Span(held[0].first, span.last), lane)
            continue
        if held is not None:
            yield held
        held = (span, lane)
    if held is not None:
        yield held


def plan(messages: Iterable[Waiting], limits: Limits) -> Iterator[Planned]:
    """Cut messages of consecutive seqs, in order, into batches within `limits`."""
    planner = BatchPlanner[None, Waiting](
        max_recipients=limits.max_recipients, max_bytes=limits.max_bytes
    )
    for one in messages:
        # What cannot be sent takes no room.
        size = 0 if _why_not(one, limits) else _bytes(one, limits)
        if full := planner.add(one, lane=None, size_bytes=size):
            yield planned(full, limits)
    for _lane, rest in planner.flush():
        yield planned(rest, limits)


def planned(messages: Sequence[Waiting], limits: Limits) -> Planned:
    """One batch of these messages, as they are: seqs between them may belong to it too."""
    failed: list[tuple[int, str]] = []
    sent: list[Waiting] = []
    for one in messages:
        reason = _why_not(one, limits)
        if reason is None:
            sent.append(one)
        else:
            failed.append((one.recipient.seq, reason))
    return Planned(
        span=Span(messages[0].recipient.seq, messages[-1].recipient.seq),
        parts=sum(one.parts for one in sent),
        requests=limits.requests_of([one.recipient for one in sent]) if sent else 0,
        failed=failed,
    )


def _bytes(one: Waiting, limits: Limits) -> int:
    return limits.bytes_of(one.recipient.msisdn, one.recipient.text)


def _why_not(one: Waiting, limits: Limits) -> str | None:
    if limits.max_parts is not None and one.parts > limits.max_parts:
        return f"the text has {one.parts} parts; the fallback account allows {limits.max_parts}"
    if _bytes(one, limits) > limits.max_bytes:
        return "the text is too long for a request of the fallback account"
    return None
