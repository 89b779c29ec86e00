"""Splits a stream of recipients into batches of one lane each, within a provider's limits.

A lane is whatever must not mix in one request: an encoding, a time zone. Knows nothing of storage.
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
    """Holds one open batch per lane and hands it out once it cannot take the next item.

        planner = BatchPlanner[Encoding, Recipient](max_recipients=2000, max_bytes=1_000_000)
        for recipient in recipients:
            if full := planner.add(recipient, lane=encoding, size_bytes=90):
                store(encoding, full)
        for encoding, rest in planner.flush():
            store(encoding, rest)

    Order within a lane is kept; nothing is lost, doubled or reordered.
    """

    def __init__(self, *, max_recipients: int, max_bytes: int) -> None:
        if max_recipients < 1 or max_bytes < 1:
            raise ValueError("a batch takes at least one recipient and one byte")
        self._max_recipients = max_recipients
        self._max_bytes = max_bytes
        self._open: dict[Group, _OpenBatch[Item]] = {}

    def add_item(self, item: Item, *, lane: Group, size_bytes: int) -> list[Item] | None:
        """Put `item` into its lane; returns the lane's batch that was full without it, if any.

        Raises ValueError for an item that no batch can hold: such a text is refused before.
        """
        if size_bytes > self._max_bytes:
            raise ValueError(f"one recipient of {size_bytes} bytes exceeds a whole request")
        batch = self._open.get(lane)
        if batch is None:
            batch = self._open[lane] = _OpenBatch()
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
        """Hand out what is left, lanes in the order of their first item, and begin anew."""
        left, self._open = self._open, {}
        for lane, batch in left.items():
            yield lane, batch.items
