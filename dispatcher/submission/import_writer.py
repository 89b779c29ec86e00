"""Writes an import: plans batches from rows and stores them in groups, each under the fence."""

from collections.abc import Sequence
from datetime import timedelta
from itertools import repeat
from operator import itemgetter
from typing import TypeAlias

import orjson

from dispatcher.policy.batching import BatchPlanner
from dispatcher.recipients.preview import AcceptedRows, Preview, ValidatedBlock
from dispatcher.status import Encoding
from dispatcher.store import imports
from dispatcher.store.engine import Store, store_now
from dispatcher.store.imports import NewBatch, NewReject, RunningImport
from dispatcher.store.messages import pack_cells
from dispatcher.submission.request import ValidatedSubmission

#: An import whose writer has stored nothing for this long can be taken over.
LEASE = timedelta(minutes=5)
#: Rows are stored in groups of about this many: numbers come in no order, so that each group
#: writes all of their index again, and other writers wait for a tenth of a second.
_GROUP = 20_000
#: Row, number, text, parts, variables and cells of a message: see `AcceptedRow`. The text is None
#: where nothing depends on it.
_Item: TypeAlias = tuple[int, int, str | None, int, str | None, Sequence[str]]


class ImportWriter:
    """Plans batches from rows as they are read, and stores them in groups."""

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
        self._batches: list[NewBatch] = []
        self._rejects: list[NewReject] = []
        self._rows = 0
        self._next_batch = 0
        self._next_seq = 0

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
            self._write_group()

    def _add_accepted(self, accepted: AcceptedRows) -> None:
        groups = list(zip(accepted.encodings, accepted.zones, strict=True))
        full: list[tuple[int, tuple[Encoding, str | None], list[_Item]]] = []
        for group in dict.fromkeys(groups):
            mine = accepted
            if groups.count(group) < len(groups):
                mine = accepted.select_rows([each == group for each in groups])
            texts = mine.texts if self._texts_differ else repeat(None)
            items = list(
                zip(
                    mine.rows, mine.msisdns, texts, mine.parts, mine.variables, mine.cells,
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
        self._write_group()
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
        first, end = self._next_seq, self._next_seq + len(items)
        rows, msisdns, texts, parts, variables, cells = zip(*items, strict=True)
        self._batches.append(
            NewBatch(
                seq=self._next_batch,
                encoding=group[0],
                zone=group[1],
                first_seq=first,
                messages=list(zip(range(first, end), rows, msisdns, parts, variables, strict=True)),
                requests=self._count_requests(texts),
                cells=self._pack_cells(cells),
            )
        )
        self._next_batch += 1
        self._next_seq = end
        self._rows += len(items)

    def _count_requests(self, texts: Sequence[str | None]) -> int:
        if self._is_one_each:
            return len(texts)
        return len({*texts}) if self._texts_differ else 1

    def _pack_cells(self, cells: Sequence[Sequence[str]]) -> bytes | None:
        if not self._keep_columns:
            return None
        return pack_cells([row[: self._width] for row in cells] if self._has_copies else cells)

    def _write_group(self) -> None:
        with self._store.write() as conn:
            lease_until = store_now(conn) + LEASE
            imports.write_group(
                conn, self._job, self._batches, self._rejects, lease_until=lease_until
            )
        self._batches, self._rejects, self._rows = [], [], 0
