"""The lock of ticks: one at a time, in whatever process. It ends with the process that holds it."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import BigInteger, func, literal, select

from dispatcher.errors import StoreError
from dispatcher.store.engine import Store, advisory_key


@contextmanager
def hold_tick_lock(store: Store) -> Iterator[bool]:
    """Hold the lock if nobody does; whether this is the only tick.

    On PostgreSQL it belongs to a transaction, which a pooler may not give to somebody else. That
    transaction has no snapshot, so it keeps no dead rows. On SQLite it is a file beside the store.
    """
    if not store.is_sqlite:
        with store.read() as conn:
            key = literal(advisory_key("tick"), BigInteger())
            yield bool(conn.execute(select(func.pg_try_advisory_xact_lock(key))).scalar_one())
        return
    handle = _open_file(f"{store.url.database}.tick")
    try:
        yield _try_flock(handle)
    finally:
        os.close(handle)


def _open_file(path: str) -> int:
    try:
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise StoreError(
            f"the file {path} cannot be opened: {error.strerror}",
            "the user of the workers must be able to write it and its folder",
        ) from error


def _try_flock(handle: int) -> bool:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
