"""Backups of the store while it is in use: one consistent state, in one file of its owner's own.

SQLite is copied by its backup API, in one read transaction. PostgreSQL is read by COPY in one
repeatable-read snapshot into a ZIP of a file per table: `pg_dump` would have to be installed, and
be as new as the server. `restore.py` reads both.
"""

import os
import sqlite3
import tempfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final, Literal, NamedTuple

from pydantic import BaseModel
from sqlalchemy import Connection, text

from dispatcher.errors import StoreError, WrongPath
from dispatcher.store import store_identity
from dispatcher.store.engine import Store, store_now
from dispatcher.store.migrate import current_revision
from dispatcher.store.table_copies import copy_out, list_tables, read_sequences

MANIFEST: Final = "manifest.json"
#: The kind of the file, and its version.
FORMAT: Final = "dispatcher-backup-1"
_BUSY_S: Final = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class BackupSummary:
    """A backup that was written and read again."""

    path: Path
    size: int
    content: "BackupContent"


class BackupContent(NamedTuple):
    """What a backup holds; `attempt_id` is the last request to a provider that it knows of."""

    revision: str
    campaigns: int
    messages: int
    attempt_id: int


class TableCopy(BaseModel):
    """A table in a backup of PostgreSQL: its columns in the order of the copy, and its rows."""

    columns: list[str]
    rows: int


class Manifest(BaseModel):
    """What a backup of PostgreSQL says about itself. `sequences`: the last id of each table."""

    format: Literal["dispatcher-backup-1"]
    revision: str
    made_at: datetime
    last_attempt: int
    tables: dict[str, TableCopy]
    sequences: dict[str, int]

    @property
    def content(self) -> BackupContent:
        """What it holds."""
        campaigns, messages = (self.tables[name].rows for name in ("campaign", "message"))
        return BackupContent(self.revision, campaigns, messages, self.last_attempt)


def write_backup(store: Store, path: Path) -> BackupSummary:
    """Back the store up into a new file, mode 0600, and verify it.

    Raises WrongPath where the file exists or cannot be written, StoreError where the store has no
    tables or cannot be read. Nothing is left behind then.
    """
    if path.exists():
        raise WrongPath(f"{path} exists already", "a backup is never overwritten: give a new name")
    if current_revision(store) is None:
        raise StoreError(f"{store.name} has no tables yet", "there is nothing to back up")
    try:
        with _new_file(path) as partial:
            content = _copy_sqlite(store, partial) if store.is_sqlite else _pack(store, partial)
            size = partial.stat().st_size
    except OSError as error:
        raise WrongPath(
            f"{path} cannot be written: {error.strerror or error}",
            "check the folder, its rights and the disk; no backup was made",
        ) from None
    return BackupSummary(path=path, size=size, content=content)


@contextmanager
def _new_file(path: Path) -> Iterator[Path]:
    """A file beside `path`, which gets its name once it is complete and on the disk."""
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".part")
    partial = Path(name)
    try:
        yield partial
        os.fsync(handle)
        # Unlike a rename this fails where somebody has made the file meanwhile.
        os.link(partial, path)
        _sync_folder(path.parent)
    finally:
        os.close(handle)
        with suppress(FileNotFoundError):
            partial.unlink()


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _copy_sqlite(store: Store, partial: Path) -> BackupContent:
    """Copy the file in one step: writers go on beside it, and what they write is not in it."""
    try:
        with (
            closing(sqlite3.connect(store.url.database or "", timeout=_BUSY_S)) as source,
            closing(sqlite3.connect(partial)) as target,
        ):
            source.backup(target, pages=-1)
            # One file, without a log beside it.
            target.execute("PRAGMA journal_mode=DELETE")
        return verify_sqlite(partial)
    except sqlite3.Error as error:
        raise StoreError(
            f"the store {store.name} could not be copied: {error}",
            "check the disk; no backup was made",
        ) from None


def verify_sqlite(path: Path) -> BackupContent:
    """Read a copy as a whole. Raises StoreError where it is damaged, or no store."""
    try:
        with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as copy:
            found = read_value(copy, "PRAGMA integrity_check")
            if found != "ok":
                raise StoreError(f"{path} is damaged: {found}", "use another backup")
            return BackupContent(
                read_value(copy, "SELECT version_num FROM alembic_version"),
                int(read_value(copy, "SELECT count(*) FROM campaign")),
                int(read_value(copy, "SELECT count(*) FROM message")),
                int(read_value(copy, "SELECT coalesce(max(id), 0) FROM attempt")),
            )
    except sqlite3.Error as error:
        raise StoreError(
            f"{path} is not a backup of a store: {error}", "name another file"
        ) from None


def read_value(copy: sqlite3.Connection, query: str) -> str:
    """The only value that a query returns, as a text."""
    row: tuple[object] = copy.execute(query).fetchone()
    return str(row[0])


def _pack(store: Store, partial: Path) -> BackupContent:
    """Write every table of one snapshot into a ZIP."""
    revision = current_revision(store) or ""
    with zipfile.ZipFile(partial, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as packed:
        with snapshot(store) as conn:
            tables: dict[str, TableCopy] = {}
            for table, columns in list_tables(conn).items():
                with packed.open(f"{table}.copy", "w", force_zip64=True) as out:
                    rows = copy_out(conn, table, columns, out)
                tables[table] = TableCopy(columns=columns, rows=rows)
            manifest = Manifest(
                format=FORMAT,
                revision=revision,
                made_at=store_now(conn),
                last_attempt=store_identity.highest_attempt_id(conn),
                tables=tables,
                sequences=read_sequences(conn),
            )
        packed.writestr(MANIFEST, manifest.model_dump_json())
    return verify_pack(partial).content


def verify_pack(path: Path) -> Manifest:
    """Read a backup as a whole: checksums and numbers of rows. Raises StoreError."""
    try:
        with zipfile.ZipFile(path) as packed:
            manifest = Manifest.model_validate_json(packed.read(MANIFEST))
            for name, table in manifest.tables.items():
                if _count_rows(packed, name) != table.rows:
                    raise StoreError(f"{path} is damaged: rows of {name}", "use another backup")
    except (zipfile.BadZipFile, zlib.error, KeyError, ValueError, EOFError):
        raise StoreError(
            f"{path} is damaged, or not a backup that this version reads", "use another file"
        ) from None
    return manifest


def _count_rows(packed: zipfile.ZipFile, table: str) -> int:
    """The rows of a copy: each is a line, since COPY writes line breaks of texts as two signs."""
    with packed.open(f"{table}.copy") as copy:
        return sum(block.count(b"\n") for block in iter(lambda: copy.read(1 << 20), b""))


@contextmanager
def snapshot(store: Store) -> Iterator[Connection]:
    """A transaction in which every statement sees the same moment, however long it takes."""
    with store.read() as conn:
        conn.execute(text("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY"))
        conn.execute(text("SET LOCAL statement_timeout = 0"))
        yield conn
