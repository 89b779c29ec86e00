"""Connections and transactions: how the store is opened, read and written on SQLite and PostgreSQL.

A writer of SQLite takes the writer lock before BEGIN IMMEDIATE: with SQLite's own busy handler
some writers wait for seconds.
"""

import os
import random
import sqlite3
import time
import weakref
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import parse_qsl

from sqlalchemy import (
    BigInteger,
    Connection,
    Engine,
    QueuePool,
    create_engine,
    event,
    func,
    literal,
    select,
    text,
)
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from dispatcher import urls
from dispatcher.errors import ConfigError, StoreBusyError, StoreError
from dispatcher.policy.backoff import full_jitter
from dispatcher.store.error_texts import to_store_error
from dispatcher.store.postgres import choose_tls, pool_options, postgres_engine
from dispatcher.store.writer_lock import hold_writer_lock, lock_files

#: How long a transaction waits for another one's locks.
_LOCK_WAIT_S = 30.0
#: Of a process that has no budget: commands have few threads.
_MOST_CONNECTIONS = 100
#: How often a transaction that met another one's locks is tried in all, with which pauses.
_MOST_TRIES = 5
_MAX_PAUSE_S = 0.5


Result = TypeVar("Result")


class Store:
    """A database that holds campaigns. Thread-safe; one per process."""

    def __init__(
        self,
        url: str,
        *,
        lock_wait_s: float = _LOCK_WAIT_S,
        max_connections: int = _MOST_CONNECTIONS,
    ) -> None:
        self.url = parse_url(url)
        self.is_sqlite = self.url.get_backend_name() == "sqlite"
        self._lock_wait_s = lock_wait_s
        self._path = self.url.database or ""
        make = _sqlite_engine if self.is_sqlite else postgres_engine
        self._engine = make(self.url, lock_wait_s, max_connections)
        # COPY and PRAGMA bypass SQLAlchemy, so that they raise the driver's own errors.
        self._expected = (SQLAlchemyError, self._engine.dialect.loaded_dbapi.Error)
        # At the end of the process too: the last to close a SQLite store takes its -wal file away.
        weakref.finalize(self, self._engine.dispose)

    @property
    def name(self) -> str:
        """The store's URL for messages to people, without its password."""
        return display_url(self.url)

    @property
    def tls_words(self) -> str | None:
        """How connections to a PostgreSQL server elsewhere are protected; None for local stores."""
        tls = None if self.is_sqlite else choose_tls(self.url)
        return None if tls is None else tls.words

    @property
    def engine(self) -> Engine:
        """The engine, for migrations."""
        return self._engine

    @contextmanager
    def read(self, *, one_snapshot: bool = False) -> Iterator[Connection]:
        """A read transaction. Hold it no longer than a page of rows.

        With `one_snapshot` all its statements see the store as it was at the first one, on
        PostgreSQL too; SQLite knows nothing else.
        """
        with self._translate_errors(), self._engine.connect() as conn:
            if one_snapshot and not self.is_sqlite:
                conn.execution_options(isolation_level="REPEATABLE READ")
            if self.is_sqlite:
                conn.exec_driver_sql("BEGIN")
            yield conn

    @contextmanager
    def write(self, *, survives_power_cut: bool = True) -> Iterator[Connection]:
        """A write transaction: committed on exit, rolled back on an exception.

        SQLite's `fsync` of each commit limits how many commits a second there can be. Pass
        `survives_power_cut=False` for changes that may be lost together with the machine. The next
        commit with `fsync` makes them durable too.
        """
        with self._translate_errors(), self._as_only_writer(), self._engine.begin() as conn:
            if self.is_sqlite:
                synchronous = "FULL" if survives_power_cut else "NORMAL"
                conn.exec_driver_sql(f"PRAGMA synchronous={synchronous}")
                conn.exec_driver_sql("BEGIN IMMEDIATE")
            yield conn

    def run_write(
        self, work: Callable[[Connection], Result], *, survives_power_cut: bool = True
    ) -> Result:
        """Run `work` in a write transaction, and again if another transaction was in its way.

        After a few times the StoreBusyError is raised. `work` must not change anything outside.
        """
        for failures in range(1, _MOST_TRIES):
            try:
                with self.write(survives_power_cut=survives_power_cut) as conn:
                    return work(conn)
            except StoreBusyError:
                time.sleep(full_jitter(failures, cap_s=_MAX_PAUSE_S, random=random.random))
        with self.write(survives_power_cut=survives_power_cut) as conn:
            return work(conn)

    def commits_are_durable(self) -> bool:
        """Whether a commit reaches the disk; False where the server runs with `fsync = off`."""
        if self.is_sqlite:
            return True
        with self.read() as conn:
            return bool(conn.execute(text("SHOW fsync")).scalar_one() == "on")

    def close(self) -> None:
        """Close idle connections."""
        self._engine.dispose()

    @contextmanager
    def _as_only_writer(self) -> Iterator[None]:
        if not self.is_sqlite:
            yield
            return
        with hold_writer_lock(self._path, self.name, self._lock_wait_s):
            yield

    @contextmanager
    def _translate_errors(self) -> Iterator[None]:
        try:
            yield
        except PoolTimeout as error:
            raise StoreBusyError(
                f"all connections of this process to the store {self.name} were in use",
                "try again; if it comes back, raise `max_connections` under [worker]",
            ) from error
        except self._expected as error:
            raise to_store_error(error, self.name) from error
        # sqlite3 raises it for a number of more than 64 bits.
        except OverflowError as error:
            raise to_store_error(error, self.name) from error
        except OSError as error:
            if not self.is_sqlite or error.filename not in lock_files(self._path):
                raise
            raise StoreError(
                f"the store {self.name} cannot be opened: {error.strerror}",
                "this user must be able to write the file and its folder",
            ) from error


def parse_url(url: str) -> URL:
    """Parse a store URL; `postgresql://` means psycopg 3. Raises ConfigError."""
    try:
        urls.check_store_url(url)
    except ValueError as error:
        raise ConfigError(f"store.url: {error}") from None
    if not urls.is_sqlite_url(url):
        return make_url(url).set(drivername="postgresql+psycopg")
    path, options = urls.split_sqlite_url(url)
    database = str(Path(urls.decode_path(path)).absolute())
    return URL.create("sqlite", database=database, query=dict(parse_qsl(options)))


def display_url(url: URL) -> str:
    """A store's URL for people: without its password, and without options that may be secret."""
    if url.get_backend_name() == "sqlite":
        return f"sqlite:///{url.database}"
    shown = {
        name: value if urls.is_shown_option(name) else "***" for name, value in url.query.items()
    }
    return url.set(query=shown).render_as_string(hide_password=True).replace("%2A", "*")


def store_now(conn: Connection) -> datetime:
    """The store's clock. Times that several processes compare are read from it."""
    if conn.dialect.name == "sqlite":
        return datetime.now(UTC)
    now: datetime = conn.execute(select(func.clock_timestamp())).scalar_one()
    return now.astimezone(UTC)


def advisory_key(what: str) -> int:
    """The key of PostgreSQL's advisory lock for `what`."""
    return zlib.crc32(f"dispatcher {what}".encode())


def take_advisory_lock(conn: Connection, what: str) -> None:
    """Keep other transactions that do `what` waiting here until this one ends.

    SQLite has one writer at a time anyway.
    """
    if conn.dialect.name == "postgresql":
        key = literal(advisory_key(what), BigInteger())
        conn.execute(select(func.pg_advisory_xact_lock(key)))


def _sqlite_engine(url: URL, lock_wait_s: float, max_connections: int) -> Engine:
    # Connections stay open: when the last one closes, SQLite writes its whole log back.
    engine = create_engine(
        url,
        poolclass=QueuePool,
        **pool_options(max_connections, lock_wait_s),
        connect_args={"timeout": lock_wait_s, "check_same_thread": False},
    )

    @event.listens_for(engine, "do_connect")
    def _keep_private(*_: Any) -> None:
        _make_private(url.database or "")

    @event.listens_for(engine, "connect")
    def _configure(connection: sqlite3.Connection, _record: Any) -> None:
        connection.isolation_level = None
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=FULL")
        connection.execute("PRAGMA temp_store=MEMORY")

    return engine


def _make_private(path: str) -> None:
    """Keep other users of this machine out of an SQLite file: it holds numbers and texts.

    SQLite gives -wal and -shm the rights of the file itself. A file that everybody may read was
    made with the usual umask; its group keeps its rights only if it may also write.
    """
    with suppress(OSError):  # SQLite's own error says what is wrong
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
        return
    with suppress(OSError):
        found = Path(path).stat()
        if found.st_uid != os.getuid() or not found.st_mode & 0o007:
            return
        mode = 0o660 if found.st_mode & 0o020 else 0o600
        for file in (path, f"{path}-wal", f"{path}-shm"):
            with suppress(FileNotFoundError):
                Path(file).chmod(mode)
