"""Stores the groups of an import, each under the fence.

One group is stored by a thread of its own while the rows of the next one are read: the store's
work, a file's or a server's, needs this process's Python for a small part of its time.
"""

import ctypes
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from datetime import timedelta
from typing import Self

import orjson

from dispatcher.recipients.preview import Preview
from dispatcher.store import imports
from dispatcher.store.engine import Store, store_now
from dispatcher.store.imports import RunningImport
from dispatcher.store.messages import compress_cells
from dispatcher.submission.row_groups import RowGroup

#: An import whose writer has stored nothing for this long can be taken over.
LEASE = timedelta(minutes=5)
#: Of `mallopt(3)`.
_M_ARENA_MAX = -8


def _share_memory() -> None:
    """Let the next threads use the memory that others have freed, and the other way round.

    GNU's C library gives each thread an arena of its own, which keeps 10 MiB here.
    """
    with suppress(AttributeError, OSError):  # another C library
        ctypes.CDLL(None).mallopt(_M_ARENA_MAX, 1)


class ImportWriter:
    """Stores groups of rows as they come.

        with ImportWriter(store, job) as writer:
            for group in reading.read_groups():
                writer.start_group(group)
            writer.finish_import(reading.preview)

    What storing a group raises is raised by the next call. After the block nothing more is stored.
    """

    def __init__(self, store: Store, job: RunningImport) -> None:
        self._store = store
        self._job = job
        _share_memory()
        self._thread = ThreadPoolExecutor(1, "import")
        self._storing: Future[None] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._thread.shutdown()

    def start_group(self, group: RowGroup) -> None:
        """Let the thread store a group, once it has stored the one before."""
        self._await_group()
        self._storing = self._thread.submit(self._store_group, group)

    def finish_import(self, preview: Preview) -> None:
        """Wait until all groups are stored, and store the totals."""
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

    def _await_group(self) -> None:
        storing, self._storing = self._storing, None
        if storing is not None:
            storing.result()

    def _store_group(self, group: RowGroup) -> None:
        # Before the store's lock: others wait for it.
        batches = [
            each if each.cells is None else each._replace(cells=compress_cells(each.cells))
            for each in group.batches
        ]
        with self._store.write() as conn:
            lease_until = store_now(conn) + LEASE
            imports.write_group(conn, self._job, batches, group.rejects, lease_until=lease_until)
