"""Puts a backup into an empty store. The witnesses outside it stay as they are."""

import os
import shutil
import sqlite3
import tempfile
import zipfile
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Final

from sqlalchemy import Connection, inspect

from dispatcher.errors import StateRefused, StoreError, WrongPath
from dispatcher.recovery.backup import BackupContent, read_value, verify_pack, verify_sqlite
from dispatcher.store.engine import Store
from dispatcher.store.migrate import upgrade_to
from dispatcher.store.revisions import known_revisions
from dispatcher.store.table_copies import copy_in, set_sequence

_SQLITE_MAGIC: Final = b"SQLite format 3\0"
_BLOCK: Final = 1 << 20


def restore_backup(store: Store, path: Path) -> BackupContent:
    """Put a backup into a store that is empty; it is verified before.

    Raises WrongPath for a file that cannot be read, StoreError for one that is not a backup of
    this kind of store, StateRefused where the store is not empty. Nothing was changed then.
    """
    try:
        with path.open("rb") as file:
            is_sqlite = file.read(len(_SQLITE_MAGIC)) == _SQLITE_MAGIC
    except OSError as error:
        raise WrongPath(f"{path} cannot be read: {error.strerror}", "name a backup") from None
    if is_sqlite != store.is_sqlite:
        kind = "SQLite" if is_sqlite else "PostgreSQL"
        raise StoreError(
            f"{path} is a backup of a {kind} store, and {store.name} is not one",
            "name a store of that kind as `url` under [store]",
        )
    if is_sqlite:
        return _restore_file(store, path)
    return _restore_tables(store, path)


def _restore_file(store: Store, path: Path) -> BackupContent:
    content = _check_revision(path, verify_sqlite(path))
    target = Path(store.url.database or "")
    for file in (target, Path(f"{target}-wal"), Path(f"{target}-shm")):
        if file.exists() and not (file == target and _has_no_tables(target)):
            raise StateRefused(
                f"{file} exists: a store is never overwritten",
                "stop everything, and move it away with its -wal and -shm; its .witness stays",
            )
    handle, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.", suffix=".part")
    made = Path(name)
    try:
        with os.fdopen(handle, "wb") as out, path.open("rb") as backup:
            shutil.copyfileobj(backup, out, _BLOCK)
            out.flush()
            os.fsync(out.fileno())
        made.replace(target)
    except OSError as error:
        made.unlink(missing_ok=True)
        raise WrongPath(f"{target} cannot be written: {error.strerror}", "check the disk") from None
    return content


def _has_no_tables(path: Path) -> bool:
    """Whether a file is a SQLite database that nobody has used."""
    if not path.stat().st_size:
        return True
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as found:
        return read_value(found, "SELECT count(*) FROM sqlite_master") == "0"


def _restore_tables(store: Store, path: Path) -> BackupContent:
    manifest = verify_pack(path)
    content = _check_revision(path, manifest.content)

    def restore(conn: Connection) -> None:
        if inspect(conn).get_table_names():
            raise StateRefused(
                f"{store.name} has tables: a store is never overwritten",
                "make a new database for the backup, and name it as `url` under [store]",
            )
        upgrade_to(conn, content.revision)
        conn.exec_driver_sql("SET LOCAL statement_timeout = 0")
        conn.exec_driver_sql("DELETE FROM compatibility")
        with zipfile.ZipFile(path) as archive:
            for name, table in manifest.tables.items():
                with archive.open(f"{name}.copy") as copy:
                    copy_in(conn, name, table.columns, iter(partial(copy.read, _BLOCK), b""))
        for name, last in manifest.sequences.items():
            set_sequence(conn, name, last)

    with store.write() as conn:
        restore(conn)
    return content


def _check_revision(path: Path, content: BackupContent) -> BackupContent:
    if content.revision not in known_revisions():
        raise StoreError(
            f"{path} has revision {content.revision}, which this version does not know",
            "use the version of dispatcher that made it, or a newer one",
        )
    return content
