"""Which messages belong to a batch: `size` consecutive ones from `first_seq` on."""

from collections.abc import Sequence
from typing import Protocol

from sqlalchemy import ColumnElement, and_, bindparam

from dispatcher.store.tables import MESSAGE


class MessageRange(Protocol):
    """A batch, or something else that has a batch's messages."""

    @property
    def campaign_id(self) -> int: ...

    @property
    def first_seq(self) -> int: ...

    @property
    def size(self) -> int: ...


#: `messages_of` for statements that are built once; executed with `range_parameters`.
MESSAGES_OF_BATCH: ColumnElement[bool] = and_(
    MESSAGE.c.campaign_id == bindparam("of_campaign"),
    MESSAGE.c.seq.between(bindparam("from_seq"), bindparam("to_seq")),
)


def messages_of(batch: MessageRange) -> ColumnElement[bool]:
    """The condition that selects a batch's messages."""
    return messages_between(batch.campaign_id, batch.first_seq, batch.first_seq + batch.size - 1)


def messages_between(campaign_id: int, first_seq: int, last_seq: int) -> ColumnElement[bool]:
    """The condition that selects a campaign's messages from `first_seq` to `last_seq`."""
    return and_(MESSAGE.c.campaign_id == campaign_id, MESSAGE.c.seq.between(first_seq, last_seq))


def range_parameters(batch: MessageRange) -> dict[str, int]:
    """The parameters of `MESSAGES_OF_BATCH`."""
    last_seq = batch.first_seq + batch.size - 1
    return {"of_campaign": batch.campaign_id, "from_seq": batch.first_seq, "to_seq": last_seq}


def join_ranges(ranges: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    """Join adjacent (first, size) ranges to (first, last): one statement serves many batches."""
    joined: list[tuple[int, int]] = []
    for first, size in ranges:
        if joined and joined[-1][1] + 1 == first:
            joined[-1] = (joined[-1][0], first + size - 1)
        else:
            joined.append((first, first + size - 1))
    return joined
