"""Makes groups from the rows of a file: batches and rejects that one transaction stores."""

from array import array
from collections.abc import Iterable, Iterator, Sequence
from itertools import repeat
from operator import itemgetter
from typing import NamedTuple, TypeAlias

import orjson

from dispatcher.policy.batching import BatchPlanner
from dispatcher.recipients.preview import AcceptedRows, ValidatedBlock
from dispatcher.status import Encoding
from dispatcher.store.imports import MessageColumns, NewBatch, NewReject
from dispatcher.submission.request import ValidatedSubmission

#: Rows are stored in groups of about this many: numbers come in no order, so that each group
#: writes all of their index again, and other writers wait for a tenth of a second.
_GROUP = 20_000
#: Row, number, parts, variables and cells of a message, and its text where something depends on it:
#: see `AcceptedRow`.
_Item: TypeAlias = tuple[int, int, int, str | None, Sequence[str], str | None]


class RowGroup(NamedTuple):
    """Consecutive batches, whose cells are not compressed yet, and rejects.

    `last_row`: the number of the last row that was read for it. `position`: bytes of the file read
    so far.
    """

    batches: list[NewBatch]
    rejects: list[NewReject]
    last_row: int
    position: int


class GroupPlanner:
    """Plans the batches of a submission: `for group in GroupPlanner(submission).plan_groups(…)`."""

    def __init__(self, submission: ValidatedSubmission) -> None:
        self._file = submission.file
        self._keep_columns = submission.request.keep_columns
        self._width = len(submission.file.file_headers)
        self._has_copies = len(submission.file.headers) > self._width
        self._is_one_each = submission.content.template_columns is not None
        self._texts_differ = submission.takes_requests
        self._planner = BatchPlanner[tuple[Encoding, str | None], _Item](
            submission.batch_size, max_bytes=submission.room_bytes
        )
        self._batches: list[NewBatch] = []
        self._rejects: list[NewReject] = []
        self._rows = 0
        self._next_batch = 0
        self._next_seq = 0

    def plan_groups(self, blocks: Iterable[ValidatedBlock]) -> Iterator[RowGroup]:
        """The groups of a whole file, whose rows come in blocks."""
        last_row = 0
        for block in blocks:
            self._add_block(block)
            last_row = block.last_row
            if self._rows >= _GROUP:
                yield self._take_group(last_row)
        for group, rest in self._planner.flush():
            self._plan_batch(group, rest)
        yield self._take_group(last_row)

    def _take_group(self, last_row: int) -> RowGroup:
        group = RowGroup(self._batches, self._rejects, last_row, self._file.position)
        self._batches, self._rejects, self._rows = [], [], 0
        return group

    def _add_block(self, block: ValidatedBlock) -> None:
        for reject in block.rejected:
            cells = reject.cells[: self._width] if self._keep_columns else []
            kept = orjson.dumps(cells).decode()
            self._rejects.append(
                NewReject(reject.row, reject.kind, reject.msisdn, reject.reason, kept)
            )
        self._rows += len(block.rejected)
        self._add_accepted(block.accepted)

    def _add_accepted(self, accepted: AcceptedRows) -> None:
        groups = list(zip(accepted.encodings, accepted.zones, strict=True))
        full: list[tuple[int, tuple[Encoding, str | None], list[_Item]]] = []
        distinct = dict.fromkeys(groups)
        for group in distinct:
            mine = accepted
            if len(distinct) > 1:
                mine = accepted.select_rows([each == group for each in groups])
            texts = mine.texts if self._texts_differ else repeat(None)
            items = list(
                zip(
                    mine.rows, mine.msisdns, mine.parts, mine.variables, mine.cells, texts,
                    strict=False,
                )
            )  # fmt: skip
            full += (
                (items[place][0], group, batch)
                for place, batch in self._planner.add_items(
                    items, group=group, sizes_bytes=mine.sizes_bytes, parts=mine.parts
                )
            )
        # A batch is full when a row comes that does not fit: batches are numbered in that order.
        for _row, group, batch in sorted(full, key=itemgetter(0)):
            self._plan_batch(group, batch)

    def _plan_batch(self, group: tuple[Encoding, str | None], items: list[_Item]) -> None:
        rows, msisdns, parts, variables, cells, texts = zip(*items, strict=True)
        encoding, zone = group
        self._batches.append(
            NewBatch(
                seq=self._next_batch,
                encoding=encoding,
                zone=zone,
                first_seq=self._next_seq,
                messages=MessageColumns(
                    array("q", rows), array("q", msisdns), array("q", parts), variables
                ),
                requests=self._count_requests(texts),
                cells=self._dump_cells(cells),
            )
        )
        self._next_batch += 1
        self._next_seq += len(items)
        self._rows += len(items)

    def _count_requests(self, texts: Sequence[str | None]) -> int:
        if self._is_one_each:
            return len(texts)
        return len({*texts}) if self._texts_differ else 1

    def _dump_cells(self, cells: Sequence[Sequence[str]]) -> bytes | None:
        if not self._keep_columns:
            return None
        return orjson.dumps([row[: self._width] for row in cells] if self._has_copies else cells)
