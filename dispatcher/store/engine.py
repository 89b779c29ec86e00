"""Connections and transactions: how the store is opened, read and written on SQLite and PostgreSQL.

SQLite writers take turns by locked files, then BEGIN IMMEDIATE: SQLite's own busy handler starves
some of them for seconds.
"""

import re
import sqlite3
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

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
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from dispatcher.errors import ConfigError, StoreError
from dispatcher.store.writer_lock import hold_writer_lock, lock_files

#: How long a transaction waits for another one's locks.
_LOCK_WAIT_S = 30.0
_UPGRADE = "run `dispatcher db upgrade`"
#: A commit that a crash of the server may take back would let requests leave without their attempt
#: rows. Every other value has the commit on the server's disk; the stronger ones stay.
_PG_DURABLE = (
    "SELECT set_config('synchronous_commit', 'on', false) "
    "WHERE current_setting('synchronous_commit') = 'off'"
)
_PG_OPTIONS = "-c timezone=UTC -c statement_timeout=120s -c idle_in_transaction_session_timeout=60s"


class Store:
    """A database that holds campaigns. Thread-safe; one per process."""

    def __init__(self, url: str, *, lock_wait_s: float = _LOCK_WAIT_S) -> None:
        self.url = parse_url(url)
        self.is_sqlite = self.url.get_backend_name() == "sqlite"
        self._lock_wait_s = lock_wait_s
        self._path = self.url.database or ""
        make = _sqlite_engine if self.is_sqlite else _postgres_engine
        self._engine = make(self.url, lock_wait_s)
        # COPY and PRAGMA go past SQLAlchemy, and so do their errors.
        self._expected = (SQLAlchemyError, self._engine.dialect.loaded_dbapi.Error)

    @property
    def name(self) -> str:
        """The store as messages to people name it, without its password."""
        return self.url.render_as_string(hide_password=True)

    @property
    def engine(self) -> Engine:
        """The engine, for migrations."""
        return self._engine

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """A read transaction. Hold it no longer than a page of rows."""
        with self._translate_errors(), self._engine.connect() as conn:
            if self.is_sqlite:
                conn.exec_driver_sql("BEGIN")
            yield conn

    @contextmanager
    def write(self, *, survives_power_cut: bool = True) -> Iterator[Connection]:
        """A write transaction: committed on exit, rolled back on an exception.

        SQLite's `fsync` of every commit is what limits how many there can be. A move that may be
        lost with the machine, since whatever counts is committed after it, goes without: the next
        commit that survives makes it survive too.
        """
        with self._translate_errors(), self._as_only_writer(), self._engine.begin() as conn:
            if self.is_sqlite:
                synchronous = "FULL" if survives_power_cut else "NORMAL"
                conn.exec_driver_sql(f"PRAGMA synchronous={synchronous}")
                conn.exec_driver_sql("BEGIN IMMEDIATE")
            yield conn

    def commits_are_durable(self) -> bool:
        """Whether a commit is on the disk; False where the server is told that it need not be."""
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
        except self._expected as error:
            raise _to_store_error(error, self.name) from error
        except OSError as error:
            if not self.is_sqlite or error.filename not in lock_files(self._path):
                raise
            raise StoreError(f"the store {self.name} cannot be opened: {error.strerror}") from error


def parse_url(url: str) -> URL:
    """Parse a store URL; `postgresql://` means psycopg 3. Raises ConfigError."""
    try:
        parsed = make_url(url)
    except (SQLAlchemyError, ValueError) as error:
        raise ConfigError(
            "store.url is not a database URL", "sqlite:///FILE or postgresql://…"
        ) from error
    if parsed.get_backend_name() == "postgresql":
        return parsed.set(drivername="postgresql+psycopg")
    if parsed.get_backend_name() != "sqlite":
        raise ConfigError(
            f"store.url: {parsed.get_backend_name()} is not supported",
            "use sqlite:///FILE or postgresql://user:$PGPASSWORD@host/db",
        )
    if not parsed.database or parsed.database == ":memory:":
        raise ConfigError("store.url: SQLite needs a file", "use sqlite:///dispatcher.db")
    return parsed.set(database=str(Path(parsed.database).absolute()))


def store_now(conn: Connection) -> datetime:
    """The store's clock: the one that times of different processes are compared by."""
    if conn.dialect.name == "sqlite":
        return datetime.now(UTC)
    now: datetime = conn.execute(select(func.clock_timestamp())).scalar_one()
    return now.astimezone(UTC)


def take_advisory_lock(conn: Connection, what: str) -> None:
    """Let no other transaction that does `what` pass here until this one ends.

    SQLite's writers are alone anyway.
    """
    if conn.dialect.name == "postgresql":
        key = zlib.crc32(f"dispatcher {what}".encode())
        conn.execute(select(func.pg_advisory_xact_lock(literal(key, BigInteger()))))


def _sqlite_engine(url: URL, lock_wait_s: float) -> Engine:
    # Connections are kept: when the last one is closed, SQLite writes its whole log back.
    engine = create_engine(
        url,
        poolclass=QueuePool,
        pool_size=5,
        max_overflow=100,
        connect_args={"timeout": lock_wait_s, "check_same_thread": False},
    )

    @event.listens_for(engine, "connect")
    def _configure(connection: sqlite3.Connection, _record: Any) -> None:
        connection.isolation_level = None
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=FULL")
        connection.execute("PRAGMA temp_store=MEMORY")

    return engine


def _postgres_engine(url: URL, lock_wait_s: float) -> Engine:
    engine = create_engine(
        url,
        pool_size=5,
        max_overflow=100,
        pool_pre_ping=True,
        pool_recycle=600,
        connect_args={
            "connect_timeout": 10,
            "keepalives_idle": 30,
            "keepalives_interval": 10,
            "keepalives_count": 3,
            # A server that goes without a word: a lease is shorter than what TCP would wait.
            "tcp_user_timeout": 10_000,
            "options": f"{_PG_OPTIONS} -c lock_timeout={lock_wait_s * 1000:.0f}ms",
        },
    )

    @event.listens_for(engine, "connect")
    def _configure(connection: Any, _record: Any) -> None:
        connection.execute(_PG_DURABLE)
        connection.commit()

    return engine


#: What SQLite and PostgreSQL say, what that means, and the remedy.
_KNOWN_ERRORS = [
    (re.compile(pattern, re.IGNORECASE), what, hint)
    for pattern, what, hint in (
        (r"no such table|relation .* does not exist", "has no tables yet", _UPGRADE),
        (r"no such column|column .* does not exist", "is of an older version", _UPGRADE),
        (r"disk is full|no space left", "is on a full disk", "free space; nothing is lost"),
        (r"unable to open", "cannot be opened", "check the path and its rights"),
        (r"readonly database", "cannot be written", "SQLite needs to write it and its folder"),
        (r"not a database", "is no SQLite database", "is `store.url` right?"),
    )
]


def _to_store_error(error: Exception, name: str) -> StoreError:
    """The store's error in words that name the remedy; values of the statement are left out."""
    cause = error.orig if isinstance(error, DBAPIError) and error.orig is not None else error
    said = str(cause).strip().splitlines()[0] if str(cause).strip() else type(cause).__name__
    for pattern, what, hint in _KNOWN_ERRORS:
        if pattern.search(said):
            return StoreError(f"the store {name} {what}", hint)
    if any(base.__name__ == "OperationalError" for base in type(cause).__mro__):
        return StoreError(
            f"the store {name} cannot be used: {said}", "is it running and reachable?"
        )
    return StoreError(f"the store {name} refused a statement: {type(cause).__name__}")
