"""The witness: what outside the store remembers of it, so that an older copy is recognised.

A copy restored from a backup would send again what was sent since. Every attempt has a number; who
remembers a higher one than the store knows has seen a later state of it. `store_identity.py` owns
what the store says of itself.
"""

import fcntl
import logging
import os
import re
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING

from sqlalchemy import Connection

from dispatcher.local.state_folder import state_folder
from dispatcher.store import store_identity
from dispatcher.store.engine import Store
from dispatcher.store.rows import IdentityRow

if TYPE_CHECKING:
    import redis

log = logging.getLogger(__name__)

#: Always of the same length, so that it is overwritten in place and needs no space on a full disk.
_LINE = "store {store_id:>36} has begun attempt {attempt_id:020d}\n"
_LINE_PATTERN = re.compile(r"store +(\S+) has begun attempt (\d{20})\n")
_ADOPT = "`dispatcher db adopt` explains"


@dataclass(frozen=True, slots=True)
class HighWaterMark:
    """The highest attempt of a store that somebody remembers."""

    store_id: str
    attempt_id: int


class MarkFile:
    """A mark on disk: beside a SQLite file, and in the user's state folder."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def read_mark(self) -> HighWaterMark | None:
        """The mark; None where there is no file, or no mark in it."""
        try:
            found = _LINE_PATTERN.fullmatch(self.path.read_text(encoding="ascii"))
        except (OSError, UnicodeDecodeError):
            return None
        return None if found is None else HighWaterMark(found[1], int(found[2]))

    def advance_to(self, mark: HighWaterMark, *, sync: bool) -> None:
        """Remember `mark`, unless a higher one of the same store is there. Raises OSError.

        Without `sync` it outlives this process, with it also the machine's power.
        """
        handle = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
            known = _LINE_PATTERN.fullmatch(os.pread(handle, 200, 0).decode("ascii", "replace"))
            if known is None or known[1] != mark.store_id or int(known[2]) < mark.attempt_id:
                line = _LINE.format(store_id=mark.store_id, attempt_id=mark.attempt_id).encode()
                os.pwrite(handle, line, 0)
                os.ftruncate(handle, len(line))
            if sync:
                os.fsync(handle)
        finally:
            os.close(handle)


class RollbackGuard:
    """What this process knows of the store from outside it. One per process; thread-safe.

    The margin: `begun` writes the mark beside a SQLite file after each commit and before the first
    byte, without waiting for the disk; the tick waits for it, once a second. So a killed process
    loses nothing, and a power cut at most the attempts of the last second. For PostgreSQL the
    tables' place is the first witness, and Redis, written by the tick, the second.
    """

    def __init__(
        self, store: Store, *, client: "redis.Redis | None" = None, folder: Path | None = None
    ) -> None:
        """`client` may be left out, and its server may be new; `folder` is the user's for state."""
        self._store = store
        self._beside = MarkFile(Path(f"{store.url.database}.witness")) if store.is_sqlite else None
        self._client = client
        self._folder = folder
        self._lock = Lock()
        #: What this process has seen itself.
        self._seen: HighWaterMark | None = None
        self._kept: HighWaterMark | None = None
        self._file: tuple[int, int] | None = None

    def check_and_hold(self, conn: Connection, *, remembered: int = 0) -> str | None:
        """Compare the store with its witnesses, and note in it why it is held, if it is.

        `remembered` is what `ask_redis` said. `keep` is to follow the commit.
        """
        if self._is_replaced():
            return f"the file of the store was replaced while it was in use ({_ADOPT})"
        before = store_identity.load_identity(conn)
        row = store_identity.ensure_identity(conn)
        is_new = before is None or before.place is None
        # In this order: what a witness saw was committed before, and is found in the store.
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
            own = self._seen
            if own is None or own.store_id != row.store_id or own.attempt_id < known:
                own = HighWaterMark(row.store_id, known)
            self._seen = own if held is None else None
        return held

    def find_hold_reason(self) -> str | None:
        """Why the store is held, without noting anything; None also before its first campaign."""
        with self._store.read() as conn:
            row = store_identity.load_identity(conn)
        if row is None or row.place is None or row.held is not None:
            return row.held if row is not None else None
        witnessed = self._highest_known(row)
        # Read anew: what the witnesses saw must have been committed before it is looked for.
        with self._store.read() as conn:
            known = max(row.attempt_id, store_identity.highest_attempt_id(conn))
            return self._hold_reason(
                conn, row, known, witnessed, store_identity.locate_tables(conn)
            )

    def may_claim(self, conn: Connection) -> bool:
        """Whether work may be taken: nobody holds the store, and it did not go back under us."""
        if self._is_replaced():
            return False
        with self._lock:
            seen = self._seen
        row = store_identity.load_identity(conn)
        if seen is None or row is None or row.store_id != seen.store_id:
            return self.check_and_hold(conn) is None
        return row.held is None and store_identity.highest_attempt_id(conn) >= seen.attempt_id

    def record_attempts(self, attempt_ids: Sequence[int]) -> None:
        """Remember committed attempts, before their first byte leaves."""
        with self._lock:
            if self._seen is None:
                return
            mark = HighWaterMark(self._seen.store_id, max(self._seen.attempt_id, *attempt_ids))
            self._seen = mark
        if self._beside is not None:
            self._write_mark(self._beside, mark, sync=False)

    def save_marks(self) -> None:
        """Have every witness remember what `look` found. Called by the tick, after its commit."""
        with self._lock:
            mark = self._seen
        if mark is None or mark == self._kept:
            return
        if self._beside is not None:
            self._write_mark(self._beside, mark, sync=True)
        elsewhere = self._state_folder_mark(mark.store_id)
        if elsewhere is not None and mark.attempt_id:
            # A folder that cannot be written to is one witness less, no more.
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
            log.warning("the witness %s cannot be written: %s", file.path, error.strerror)

    def read_redis_mark(self) -> int:
        """The highest attempt that Redis remembers; 0 where it is new or away: that is no alarm."""
        with self._lock:
            store_id = self._seen.store_id if self._seen is not None else None
        if store_id is None:
            with self._store.read() as conn:
                row = store_identity.load_identity(conn)
            store_id = row.store_id if row is not None else None
        if self._client is None or store_id is None:
            return 0
        from redis.exceptions import RedisError

        with suppress(RedisError):
            found = self._client.get(_redis_key(store_id))
            if isinstance(found, bytes) and found.isdigit():
                return int(found)
        return 0

    def _is_replaced(self) -> bool:
        """Whether another file stands in the SQLite file's place than when last asked.

        Its open connections, which still see the old one, are closed.
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
        """The highest attempt of the store that anybody remembers."""
        files = [self._beside, self._state_folder_mark(row.store_id)]
        marks = [self._seen, *(file.read_mark() for file in files if file is not None)]
        same = [mark.attempt_id for mark in marks if mark and mark.store_id == row.store_id]
        return max(row.witnessed_id, *same, 0)

    def _hold_reason(
        self, conn: Connection, row: IdentityRow, known: int, witnessed: int, place: str | None
    ) -> str | None:
        """Why the store is held. `place` is None where it is seen for the first time."""
        if witnessed > known:
            return (
                f"the store is an older copy of itself: it knows {known} attempts, and was seen "
                f"with {witnessed}; what it takes for pending may have been sent ({_ADOPT})"
            )
        stands_alone = self._beside is not None and not self._is_beside(row.store_id)
        is_same = place is None or (_is_same_place(row.place or "", place) and not stands_alone)
        if is_same or not store_identity.has_unsent(conn):
            return None
        if self._beside is not None:
            return (
                f"the store stands here without its file {self._beside.path.name}: if it was "
                "restored from a backup, what it takes for pending may have been sent "
                f"({_ADOPT})"
            )
        return (
            "the store is in another place than it was (a restored backup, a recovery, a failover, "
            f"an upgraded server): what it takes for pending may have been sent ({_ADOPT})"
        )

    def _is_beside(self, store_id: str) -> bool:
        """Whether the mark beside the store is this store's; we need none for what we saw."""
        mark = self._beside.read_mark() if self._beside is not None else None
        return any(one is not None and one.store_id == store_id for one in (mark, self._seen))

    def _state_folder_mark(self, store_id: str) -> MarkFile | None:
        """The mark in the user's state folder: a restored folder does not take it back."""
        try:
            folder = self._folder if self._folder is not None else state_folder()
        except RuntimeError:  # a user without a home
            return None
        return MarkFile(folder / f"witness-{store_id}")


def _redis_key(store_id: str) -> str:
    return f"dispatcher:witness:{store_id}"


def _is_same_place(noted: str, found: str) -> bool:
    """Parts that the server did not tell, then or now, prove nothing."""
    pairs = zip(noted.split("/"), found.split("/"), strict=False)
    return all(then == now or not then or not now for then, now in pairs)
