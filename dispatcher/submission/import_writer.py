"""Writes an import: plans batches from rows and stores them in groups, each under the fence."""

from datetime import timedelta

import orjson

from dispatcher.policy.batching import BatchPlanner
from dispatcher.recipients.preview import AcceptedRow, Preview, RejectedRow
from dispatcher.status import Encoding
from dispatcher.store import imports
from dispatcher.store.engine import Store, store_now
from dispatcher.store.imports import NewBatch, NewMessage, NewReject, RunningImport
from dispatcher.store.messages import pack_cells
from dispatcher.submission.request import ValidatedSubmission

#: An import whose writer has stored nothing for this long can be taken over.
LEASE = timedelta(minutes=5)
#: Rows are stored in groups of about this many.
_GROUP = 4000


class ImportWriter:
    """Plans batches from rows as they are read, and stores them in groups."""

    def __init__(self, store: Store, job: RunningImport, submission: ValidatedSubmission) -> None:
        self._store = store
        self._job = job
        self._keep_columns = submission.request.keep_columns
        self._width = len(submission.file.file_headers)
        self._is_one_each = submission.content.template_columns is not None
        self._texts_differ = submission.takes_requests
        self._planner = BatchPlanner[tuple[Encoding, str | None], AcceptedRow](
            submission.batch_size, max_bytes=submission.room_bytes
        )
        self._batches: list[NewBatch] = []
        self._rejects: list[NewReject] = []
        self._rows = 0
        self._next_batch = 0
        self._next_seq = 0

    def add_row(self, item: AcceptedRow | RejectedRow) -> None:
        """Add one row; stores a group when enough rows wait."""
        if isinstance(item, RejectedRow):
            cells = item.cells[: self._width] if self._keep_columns else []
            kept = orjson.dumps(cells).decode()
            self._rejects.append(NewReject(item.row, item.kind, item.msisdn, item.reason, kept))
            self._rows += 1
        else:
            group = (item.encoding, item.zone)
            full = self._planner.add_item(
                item, group=group, size_bytes=item.size_bytes, parts=item.parts
            )
            if full:
                self._plan_batch(full)
        if self._rows >= _GROUP:
            self._write_group()

    def finish_import(self, preview: Preview) -> None:
        """Store the rows that are left, and the totals."""
        for _group, rest in self._planner.flush():
            self._plan_batch(rest)
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

    def _plan_batch(self, items: list[AcceptedRow]) -> None:
        first = self._next_seq
        self._batches.append(
            NewBatch(
                seq=self._next_batch,
                encoding=items[0].encoding,
                zone=items[0].zone,
                first_seq=first,
                messages=[
                    NewMessage(first + i, item.row, item.msisdn, item.parts, item.variables)
                    for i, item in enumerate(items)
                ],
                requests=self._count_requests(items),
                cells=self._pack_cells(items),
            )
        )
        self._next_batch += 1
        self._next_seq += len(items)
        self._rows += len(items)

    def _count_requests(self, items: list[AcceptedRow]) -> int:
        if self._is_one_each:
            return len(items)
        return len({item.text for item in items}) if self._texts_differ else 1

    def _pack_cells(self, items: list[AcceptedRow]) -> bytes | None:
        if not self._keep_columns:
            return None
        return pack_cells([item.cells[: self._width] for item in items])

    def _write_group(self) -> None:
        with self._store.write() as conn:
            lease_until = store_now(conn) + LEASE
            imports.write_group(
                conn, self._job, self._batches, self._rejects, lease_until=lease_until
            )
        self._batches, self._rejects, self._rows = [], [], 0
