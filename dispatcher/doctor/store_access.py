"""Checks whether the store can be written: where it can be read only, nothing is sent."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

from dispatcher.doctor.result import CheckResult
from dispatcher.store.engine import Store
from dispatcher.store.server_access import ServerAccess, list_refused, read_access

_MOST_NAMES = 3


def check_store_writable(
    store: Store, may_write: Callable[[Path], bool] | None = None
) -> Iterator[CheckResult]:
    """Whether the store can be written: reading goes well on a read-only disk and on a standby."""
    if store.is_sqlite:
        yield from _check_file(store, may_write or (lambda path: os.access(path, os.W_OK)))
        return
    with store.read() as conn:
        access, refused = read_access(conn), list_refused(conn)
    yield from _check_server(access, refused)


def _check_file(store: Store, may_write: Callable[[Path], bool]) -> Iterator[CheckResult]:
    if not store.url.database:
        return
    path = Path(store.url.database)
    for each in (path, path.parent):
        if each.exists() and not may_write(each):
            yield CheckResult(
                part="store",
                ok=False,
                what=f"{each} cannot be written: nothing is sent",
                remedy="let this user write the file and its folder, on a writable disk",
            )
            return


def _check_server(access: ServerAccess, refused: list[str]) -> Iterator[CheckResult]:
    if access.is_standby:
        yield CheckResult(
            part="store",
            ok=False,
            what="the database server is a standby, which takes no writes: nothing is sent",
            remedy="name the primary in `url` under [store]; if that is gone, promote this one as "
            "`deploy/runbook.md` says",
        )
    elif access.is_read_only:
        yield CheckResult(
            part="store",
            ok=False,
            what="the database takes no writes (default_transaction_read_only is on): nothing is "
            "sent",
            remedy="set it to off where it is set: in postgresql.conf, for the database, for the "
            f'user "{access.by}", or in the options of `url` under [store]',
        )
    if refused:
        names = ", ".join(refused[:_MOST_NAMES])
        more = len(refused) - _MOST_NAMES
        yield CheckResult(
            part="store",
            ok=False,
            what=f'the user "{access.by}" may not write {names}'
            f"{f' and {more} more' if more > 0 else ''}: nothing is sent",
            remedy="GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA, and USAGE ON ALL "
            "SEQUENCES IN SCHEMA, to this user",
        )
