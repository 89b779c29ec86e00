"""Splits a stream of recipients into batches of one group each, within a provider's limits.

A group is what one request must not mix, such as encodings or time zones. Stores nothing.
"""

from bisect import bisect_right
from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from typing import Final, Generic, Protocol, TypeVar

#: One request carries at most what the rates allow in so many seconds: a request leaves at once,
#: and then all wait. An account's `max_recipients` says otherwise.
REQUEST_S: Final = 10.0

Group = TypeVar("Group", bound=Hashable)
Item = TypeVar("Item")


@dataclass(slots=True)
class _OpenBatch(Generic[Item]):
    items: list[Item] = field(default_factory=list)
    size_bytes: int = 0
    parts: int = 0


@dataclass(frozen=True, slots=True)
class BatchSize:
    """How many recipients a batch may have, and how many parts all their texts together."""

    recipients: int
    #: None: no limit. A text that alone has more parts is a batch of its own.
    parts: int | None = None


def units_in_request(*rates: float | None) -> int | None:
    """How many messages or parts one request may carry at these rates per second; at least 1.

    None without a rate.
    """
    given = [rate for rate in rates if rate is not None]
    return max(1, int(min(given) * REQUEST_S)) if given else None


class _HasParts(Protocol):
    @property
    def parts(self) -> int: ...


Message = TypeVar("Message", bound=_HasParts)


def first_within(messages: Sequence[Message], size: BatchSize) -> Sequence[Message]:
    """As many of the first messages as a batch of this size may have; at least one."""
    messages = messages[: size.recipients]
    if size.parts is None:
        return messages
    sums = accumulate(message.parts for message in messages)
    return messages[: max(1, sum(parts <= size.parts for parts in sums))]


class BatchPlanner(Generic[Group, Item]):
    """Fills one batch per group and returns it when the next item does not fit.

        planner = BatchPlanner[Encoding, Recipient](BatchSize(2000), max_bytes=1_000_000)
        for recipient in recipients:
            if full := planner.add_item(recipient, group=encoding, size_bytes=90, parts=1):
                store(encoding, full)
        for encoding, rest in planner.flush():
            store(encoding, rest)

    The order within a group is kept, and each item is in exactly one batch.
    """

    def __init__(self, size: BatchSize, *, max_bytes: int) -> None:
        if size.recipients < 1 or max_bytes < 1:
            raise ValueError("a batch needs room for at least one recipient and one byte")
        self._size = size
        self._max_bytes = max_bytes
        self._open: dict[Group, _OpenBatch[Item]] = {}

    def add_item(
        self, item: Item, *, group: Group, size_bytes: int, parts: int
    ) -> list[Item] | None:
        """Add `item` to its group's batch; return the former batch if the item did not fit there.

        Raises ValueError for an item larger than a batch: callers refuse such a text before.
        """
        full = self.add_items([item], group=group, sizes_bytes=[size_bytes], parts=[parts])
        return full[0][1] if full else None

    def add_items(
        self,
        items: Sequence[Item],
        *,
        group: Group,
        sizes_bytes: Sequence[int],
        parts: Sequence[int],
    ) -> list[tuple[int, list[Item]]]:
        """Add many items of one group; return the batches that became full.

        With each is the place among `items` of the first one that did not fit there. Raises
        ValueError as `add_item`.
        """
        if (largest := max(sizes_bytes, default=0)) > self._max_bytes:
            raise ValueError(f"one recipient of {largest} bytes exceeds a whole request")
        bytes_before, parts_before = [0, *accumulate(sizes_bytes)], [0, *accumulate(parts)]
        full: list[tuple[int, list[Item]]] = []
        start = 0
        while start < len(items):
            batch = self._open.get(group)
            if batch is None:
                batch = self._open[group] = _OpenBatch()
            end = self._last_that_fits(batch, start, bytes_before, parts_before)
            if end == start:
                if batch.items:
                    full.append((start, batch.items))
                    self._open[group] = _OpenBatch()
                    continue
                end = start + 1
            batch.items += items[start:end]
            batch.size_bytes += bytes_before[end] - bytes_before[start]
            batch.parts += parts_before[end] - parts_before[start]
            start = end
        return full

    def _last_that_fits(
        self, batch: _OpenBatch[Item], start: int, bytes_before: list[int], parts_before: list[int]
    ) -> int:
        """Where the items from `start` on end that fit into a batch; the sums are of all before."""
        size = self._size
        room = self._max_bytes - batch.size_bytes
        end = min(
            start + size.recipients - len(batch.items),
            bisect_right(bytes_before, room + bytes_before[start], start) - 1,
        )
        if size.parts is not None:
            room = size.parts - batch.parts
            end = min(end, bisect_right(parts_before, room + parts_before[start], start) - 1)
        return max(start, end)

    def flush(self) -> Iterator[tuple[Group, list[Item]]]:
        """Yield the unfinished batches, by the first item of each group, and start empty again."""
        left, self._open = self._open, {}
        for group, batch in left.items():
            yield group, batch.items
