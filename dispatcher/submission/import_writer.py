"""Writes an import: plans batches from rows and stores them in groups, each under the fence.

One group is stored by a thread of its own while the rows of the next one are read: the store's
work, a file's or a server's, needs this process's Python for a small part of its time.
"""

import ctypes
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from datetime import timedelta
from itertools import repeat
from operator import itemgetter
from typing import Self, TypeAlias

import orjson

from dispatcher.policy.batching import BatchPlanner
from dispatcher.recipients.preview import AcceptedRows, Preview, ValidatedBlock
from dispatcher.status import Encoding
from dispatcher.store import imports
from dispatcher.store.engine import Store, store_now
from dispatcher.store.imports import (
    MessageColumns,
    NewBatch,
    NewReject,
    RunningImport,
)
from dispatcher.store.messages import compress_cells
from dispatcher.submission.request import ValidatedSubmission

#: An import whose writer has stored nothing for this long can be taken over.
LEASE = timedelta(minutes=5)
#: Rows are stored in groups of about this many: numbers come in no order, so that each group
#: writes all of their index again, and other writers wait for a tenth of a second.
_GROUP = 20_000
#: Of `mallopt(3)`.
_M_ARENA_MAX = -8
#: Row, number, parts, variables and cells of a message, and its text where something depends on it:
#: see `AcceptedRow`.
_Item: TypeAlias = tuple[int, int, int, str | None, Sequence[str], str | None]


def _share_memory() -> None:
    """Let the next threads use the memory that others have freed, and the other way round.

    GNU's C library gives each thread an arena of its own, which keeps 10 MiB here.
    """
    with suppress(AttributeError, OSError):  # another C library
        ctypes.CDLL(None).mallopt(_M_ARENA_MAX, 1)


class ImportWriter:
    """Plans batches from rows as they are read, and stores them in groups.

        with ImportWriter(store, job, submission) as writer:
            for block in validator.read_blocks():
                writer.add_block(block)
            writer.finish_import(validator.preview)

    What storing a group raises is raised by the next call. After the block nothing more is stored.
    """

    def __init__(self, store: Store, job: RunningImport, submission: ValidatedSubmission) -> None:
        self._store = store
        self._job = job
        self._keep_columns = submission.request.keep_columns
        self._width = len(submission.file.file_headers)
        self._has_copies = len(submission.file.headers) > self._width
        self._is_one_each = submission.content.template_columns is not None
        self._texts_differ = submission.takes_requests
        self._planner = BatchPlanner[tuple[Encoding, str | None], _Item](
            submission.batch_size, max_bytes=submission.room_bytes
        )
        _share_memory()
        self._thread = ThreadPoolExecutor(1, "import")
        self._storing: Future[None] | None = None
        #: Batches whose cells are not compressed yet.
        self._planned: list[NewBatch] = []
        self._rejects: list[NewReject] = []
        self._rows = 0
        self._next_batch = 0
        self._next_seq = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._thread.shutdown()

    def add_block(self, block: ValidatedBlock) -> None:
        """Add a block of rows; stores a group when enough rows wait."""
        for reject in block.rejected:
            cells = reject.cells[: self._width] if self._keep_columns else []
            kept = orjson.dumps(cells).decode()
            self._rejects.append(
                NewReject(reject.row, reject.kind, reject.msisdn, reject.reason, kept)
            )
        self._rows += len(block.rejected)
        self._add_accepted(block.accepted)
        if self._rows >= _GROUP:
            self._start_group()

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

    def finish_import(self, preview: Preview) -> None:
        """Store the rows that are left, and the totals."""
        for group, rest in self._planner.flush():
            self._plan_batch(group, rest)
        self._start_group()
        self._await_group()
        counts: dict[str, int | str] = {
            "rows": preview.rows,
            "total": preview.valid,
            "invalid": preview.invalid,
            "duplicate": preview.duplicate,
            "suppressed": preview.suppressed,
            "parts": preview.parts,
        }
        if preview.zones:
            counts["zones"] = orjson.dumps(sorted(preview.zones)).decode()
        with self._store.write() as conn:
            imports.finish_import(conn, self._job, counts, store_now(conn) + LEASE)

    def _plan_batch(self, group: tuple[Encoding, str | None], items: list[_Item]) -> None:
        rows, msisdns, parts, variables, cells, texts = zip(*items, strict=True)
        encoding, zone = group
        self._planned.append(
            NewBatch(
                seq=self._next_batch,
                encoding=encoding,
                zone=zone,
                first_seq=self._next_seq,
                messages=MessageColumns(rows, msisdns, parts, variables),
                requests=self._count_requests(texts),
                cells=self._dump_cells(cells),
            )
        )
        self._next_batch += 1
        self._next_seq += len(items)
        self._rows += len(items)

    def _start_group(self) -> None:
        """Let the thread store what waits, once it has stored the group before."""
        self._await_group()
        self._storing = self._thread.submit(self._store_group, self._planned, self._rejects)
        self._planned, self._rejects, self._rows = [], [], 0

    def _await_group(self) -> None:
        storing, self._storing = self._storing, None
        if storing is not None:
            storing.result()

    def _store_group(self, planned: Sequence[NewBatch], rejects: Sequence[NewReject]) -> None:
        # Before the store's lock: others wait for it.
        batches = [
            each if each.cells is None else each._replace(cells=compress_cells(each.cells))
            for each in planned
        ]
        with self._store.write() as conn:
            lease_until = store_now(conn) + LEASE
            imports.write_group(conn, self._job, batches, rejects, lease_until=lease_until)

    def _count_requests(self, texts: Sequence[str | None]) -> int:
        if self._is_one_each:
            return len(texts)
        return len({*texts}) if self._texts_differ else 1

    def _dump_cells(self, cells: Sequence[Sequence[str]]) -> bytes | None:
        if not self._keep_columns:
            return None
        return orjson.dumps([row[: self._width] for row in cells] if self._has_copies else cells)
