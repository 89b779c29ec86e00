"""Splits a stream of recipients into batches of one group each, within a provider's limits.

A group is what one request must not mix, such as encodings or time zones. Stores nothing.
"""

from collections.abc import Hashable, Iterator
from dataclasses import dataclass, field
from typing import Generic, TypeVar

Group = TypeVar("Group", bound=Hashable)
Item = TypeVar("Item")


@dataclass(slots=True)
class _OpenBatch(Generic[Item]):
    items: list[Item] = field(default_factory=list)
    size_bytes: int = 0


class BatchPlanner(Generic[Group, Item]):
    """Fills one batch per group and returns it when the next item does not fit.

        planner = BatchPlanner[Encoding, Recipient](max_recipients=2000, max_bytes=1_000_000)
        for recipient in recipients:
            if full := planner.add_item(recipient, group=encoding, size_bytes=90):
                store(encoding, full)
        for encoding, rest in planner.flush():
            store(encoding, rest)

    The order within a group is kept, and each item is in exactly one batch.
    """

    def __init__(self, *, max_recipients: int, max_bytes: int) -> None:
        if max_recipients < 1 or max_bytes < 1:
            raise ValueError("a batch needs room for at least one recipient and one byte")
        self._max_recipients = max_recipients
        self._max_bytes = max_bytes
        self._open: dict[Group, _OpenBatch[Item]] = {}

    def add_item(self, item: Item, *, group: Group, size_bytes: int) -> list[Item] | None:
        """Add `item` to its group's batch; return the former batch if the item did not fit there.

        Raises ValueError for an item larger than a batch: callers refuse such a text before.
        """
        if size_bytes > self._max_bytes:
            raise ValueError(f"one recipient of {size_bytes} bytes exceeds a whole request")
        batch = self._open.get(group)
        if batch is None:
            batch = self._open[group] = _OpenBatch()
        full: list[Item] | None = None
        if (
            len(batch.items) == self._max_recipients
            or batch.size_bytes + size_bytes > self._max_bytes
        ):
            full, batch.items, batch.size_bytes = batch.items, [], 0
        batch.items.append(item)
        batch.size_bytes += size_bytes
        return full

    def flush(self) -> Iterator[tuple[Group, list[Item]]]:
        """Yield the unfinished batches, by the first item of each group, and start empty again."""
        left, self._open = self._open, {}
        for group, batch in left.items():
            yield group, batch.items
