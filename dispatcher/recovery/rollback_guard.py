"""The rollback guard: detects a store that is an older copy of itself, by witnesses outside it.

A copy restored from a backup would send again what was sent since the backup. Attempt ids only
grow: a witness that knows a higher one than the store has seen a later state of the store.
`mark_file.py` keeps a mark in a file; `store_identity.py` has what the store records about itself.
"""

import logging
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING

from sqlalchemy import Connection

from dispatcher.local.state_folder import state_folder
from dispatcher.logs.events import LogEvent, log_event
from dispatcher.recovery.mark_file import HighWaterMark, MarkFile, UnreadableMark
from dispatcher.store import store_identity
from dispatcher.store.engine import Store
from dispatcher.store.rows import IdentityRow

if TYPE_CHECKING:
    import redis

log = logging.getLogger(__name__)

#: The most digits that an attempt id in Redis can have.
_MAX_ID_DIGITS = 18

_ADOPT = "`dispatcher db adopt` explains"


class RollbackGuard:
    """Records marks of the store outside it, and compares them with it. Thread-safe.

    `record_attempts` writes the mark beside a SQLite file after each commit and before the first
    byte, without waiting for the disk. The tick waits for the disk, once a second. So a kill loses
    nothing, and a power cut at most the attempts of the last second. For PostgreSQL the witnesses
    are the place of the tables, and Redis, which the tick writes.
    """

    def __init__(
        self, store: Store, *, client: "redis.Redis | None" = None, folder: Path | None = None
    ) -> None:
        """`client`: of the Redis server, if any. `folder`: for state, by default the user's."""
        self._store = store
        self._beside = MarkFile(Path(f"{store.url.database}.witness")) if store.is_sqlite else None
        self._client = client
        self._folder = folder
        self._lock = Lock()
        #: The highest attempt that this process has seen.
        self._seen: HighWaterMark | None = None
        self._kept: HighWaterMark | None = None
        self._file: tuple[int, int] | None = None

    def check_and_hold(self, conn: Connection, *, remembered: int = 0) -> str | None:
        """Compare the store with its witnesses. Returns why it is held, and stores that; else None.

        `remembered`: the result of `read_redis_mark`. Call `save_marks` after the commit.
        """
        if self._is_replaced():
            return f"the file of the store was replaced while it was in use ({_ADOPT})"
        before = store_identity.load_identity(conn)
        row = store_identity.ensure_identity(conn)
        is_new = before is None or before.place is None
        # The witnesses first: what they have seen was committed before, so the store must know it.
        witnessed = max(self._highest_known(row), remembered)
        known = max(row.attempt_id, store_identity.highest_attempt_id(conn))
        place = store_identity.locate_tables(conn)
        held = self._hold_reason(conn, row, known, witnessed, None if is_new else place)
        seen = row._replace(
            attempt_id=known,
            witnessed_id=witnessed,
            held=held,
            place=row.place if held is not None else place,
        )
        if seen != row:
            store_identity.update_identity(conn, **seen._asdict())
        with self._lock:
            mark = self._seen
            if mark is None or mark.store_id != row.store_id or mark.attempt_id < known:
                mark = HighWaterMark(row.store_id, known)
            self._seen = mark if held is None else None
        return held

    def find_hold_reason(self) -> str | None:
        """Why the store is held, without storing it; None also before its first campaign."""
        with self._store.read() as conn:
            row = store_identity.load_identity(conn)
        if row is None or row.place is None or row.held is not None:
            return row.held if row is not None else None
        witnessed = self._highest_known(row)
        # A new transaction: it sees everything that the witnesses had seen.
        with self._store.read() as conn:
            known = max(row.attempt_id, store_identity.highest_attempt_id(conn))
            return self._hold_reason(
                conn, row, known, witnessed, store_identity.locate_tables(conn)
            )

    def may_claim(self, conn: Connection) -> bool:
        """Whether batches may be claimed: the store is not held, and has not become older."""
        if self._is_replaced():
            return False
        with self._lock:
            seen = self._seen
        row = store_identity.load_identity(conn)
        if seen is None or row is None or row.store_id != seen.store_id:
            return self.check_and_hold(conn) is None
        if store_identity.highest_attempt_id(conn) < seen.attempt_id:
            return False
        return store_identity.may_send(conn)

    def record_attempts(self, attempt_ids: Sequence[int]) -> None:
        """Record committed attempts, before the first byte of their requests is sent."""
        with self._lock:
            if self._seen is None:
                return
            mark = HighWaterMark(self._seen.store_id, max(self._seen.attempt_id, *attempt_ids))
            self._seen = mark
        if self._beside is not None:
            self._write_mark(self._beside, mark, sync=False)

    def save_marks(self) -> None:
        """Write the mark to every witness. The tick calls this after its commit."""
        with self._lock:
            mark = self._seen
        if mark is None or mark == self._kept:
            return
        if self._beside is not None:
            self._write_mark(self._beside, mark, sync=True)
        elsewhere = self._state_folder_mark(mark.store_id)
        if elsewhere is not None and mark.attempt_id:
            # Without this folder there is one witness less. Sending goes on.
            with suppress(OSError):
                elsewhere.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
                elsewhere.advance_to(mark, sync=False)
        if self._client is not None:
            from redis.exceptions import RedisError

            with suppress(RedisError):
                self._client.set(_redis_key(mark.store_id), mark.attempt_id)
        self._kept = mark

    def _write_mark(self, file: MarkFile, mark: HighWaterMark, *, sync: bool) -> None:
        try:
            file.advance_to(mark, sync=sync)
        except OSError as error:
            words = "the witness %s cannot be written: %s"
            log_event(log, LogEvent.WITNESS_NOT_WRITTEN, words, file.path, error.strerror)

    def read_redis_mark(self) -> int:
        """The highest attempt id that Redis has recorded; 0 if it is new or away.

        A key that is not an attempt id, whatever wrote it, is dropped.
        """
        with self._lock:
            store_id = self._seen.store_id if self._seen is not None else None
        if store_id is None:
            with self._store.read() as conn:
                row = store_identity.load_identity(conn)
            store_id = row.store_id if row is not None else None
        if self._client is None or store_id is None:
            return 0
        from redis.exceptions import RedisError, ResponseError

        key = _redis_key(store_id)
        with suppress(RedisError):
            try:
                found = self._client.get(key)
            except ResponseError as error:
                if not str(error).startswith("WRONGTYPE"):
                    raise
                found = b""
            if found is None:
                return 0
            if isinstance(found, bytes) and found.isdigit() and len(found) <= _MAX_ID_DIGITS:
                return int(found)
            words = "the key %s in Redis is not an attempt's id: it is dropped"
            log_event(log, LogEvent.REDIS_KEY_DROPPED, words, key)
            self._client.delete(key)
        return 0

    def redis_answers(self) -> bool:
        """Whether the Redis server answers now."""
        if self._client is None:
            return False
        from redis.exceptions import RedisError

        try:
            return bool(self._client.ping())
        except RedisError:
            return False

    def _is_replaced(self) -> bool:
        """Whether the SQLite file was replaced by another one since the last call.

        If so, the open connections, which still use the old file, are closed.
        """
        if self._beside is None:
            return False
        try:
            found = Path(self._store.url.database or "").stat()
        except OSError:
            return True
        file = (found.st_dev, found.st_ino)
        with self._lock:
            known, self._file = self._file, file
        if known in {None, file}:
            return False
        self._store.close()
        return True

    def _highest_known(self, row: IdentityRow) -> int:
        """The highest attempt id of the store that any witness has recorded."""
        marks = [self._seen, self._beside.read_mark() if self._beside is not None else None]
        # A state folder that cannot be read is one witness less; sending goes on without it.
        with suppress(UnreadableMark):
            elsewhere = self._state_folder_mark(row.store_id)
            marks.append(elsewhere.read_mark() if elsewhere is not None else None)
        same = [mark.attempt_id for mark in marks if mark and mark.store_id == row.store_id]
        return max(row.witnessed_id, *same, 0)

    def _hold_reason(
        self, conn: Connection, row: IdentityRow, known: int, witnessed: int, place: str | None
    ) -> str | None:
        """Why the store is held, or None. `place` is None if the store is seen the first time."""
        if witnessed > known:
            return (
                f"the store is an older copy of itself: its last attempt is {known}, but attempt "
                f"{witnessed} was made; messages that are pending in it may have been sent "
                f"({_ADOPT})"
            )
        has_no_mark = self._beside is not None and not self._has_mark_beside(row.store_id)
        is_same = place is None or (
            store_identity.is_same_place(row.place or "", place) and not has_no_mark
        )
        if is_same or not store_identity.has_unsent(conn):
            return None
        if self._beside is not None:
            return (
                f"the file {self._beside.path.name} of the store is missing: if the store was "
                "restored from a backup, messages that are pending in it may have been sent "
                f"({_ADOPT})"
            )
        return (
            "the store is in another place than before (a restored backup, a recovery, a failover, "
            f"an upgraded server): messages that are pending in it may have been sent ({_ADOPT})"
        )

    def _has_mark_beside(self, store_id: str) -> bool:
        """Whether the mark file is this store's. Not needed if this process has seen the store."""
        mark = self._beside.read_mark() if self._beside is not None else None
        return any(one is not None and one.store_id == store_id for one in (mark, self._seen))

    def _state_folder_mark(self, store_id: str) -> MarkFile | None:
        """The mark in the user's state folder, which restoring the store does not change."""
        try:
            folder = self._folder if self._folder is not None else state_folder()
        except RuntimeError:  # a user without a home
            return None
        return MarkFile(folder / f"witness-{store_id}")


def _redis_key(store_id: str) -> str:
    return f"dispatcher:witness:{store_id}"
