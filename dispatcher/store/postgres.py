"""How PostgreSQL is connected to: TLS, time limits, durable commits, directly or through a pooler.

Poolers such as PgBouncer give each transaction any of their sessions. So nothing is set when a
connection starts that they would refuse (`options`), or in a session that others use next.
"""

import ipaddress
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, cast

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.engine import URL, Dialect

from dispatcher.errors import StoreError

if TYPE_CHECKING:
    import psycopg
    from sqlalchemy.engine.interfaces import DBAPIConnection
    from sqlalchemy.pool import ConnectionPoolEntry

#: Of a session; `lock_timeout` is added.
_SETTINGS: Final = {
    "timezone": "UTC",
    "statement_timeout": "120s",
    "idle_in_transaction_session_timeout": "60s",
}
#: A crash of the server must not undo a commit: requests would have left without attempt rows.
#: Every value but `off` writes the commit to the server's disk, so stronger ones are kept.
_DURABLE: Final = (
    "CASE current_setting('synchronous_commit') WHEN 'off' "
    "THEN set_config('synchronous_commit', 'on', {is_local}) END"
)
#: Connections that stay open while nobody uses them.
_KEPT_CONNECTIONS: Final = 5
#: Marks SQLAlchemy's connections that lead to a pooler.
_IS_POOLED: Final = "dispatcher_is_pooled"
#: Where libpq looks for root certificates (PostgreSQL 17, "SSL Support", 32.19.1).
_ROOT_FILE: Final = Path(".postgresql", "root.crt")


@dataclass(frozen=True, slots=True)
class TlsChoice:
    """The `sslmode` of connections to a server that is not on this machine, and who chose it."""

    mode: str
    is_given: bool

    @property
    def words(self) -> str:
        """A sentence for `doctor`."""
        by = "as configured" if self.is_given else "by default"
        return f"sslmode={self.mode}, {by}: {_MEANINGS.get(self.mode, 'see its documentation')}"


_MEANINGS: Final = {
    "disable": "the connection is not encrypted, and the server is not verified",
    "allow": "the connection may be unencrypted, and the server is not verified",
    "prefer": "the connection may be unencrypted, and the server is not verified",
    "require": (
        "the connection is encrypted, but the server's certificate is not verified; to verify it, "
        "add sslmode=verify-full and sslrootcert=FILE, or sslrootcert=system, to the store's url"
    ),
    "verify-ca": "the server's certificate is verified, but not its name",
    "verify-full": "the connection is encrypted, and the server's certificate is verified",
}


def choose_tls(url: URL, environ: Mapping[str, str] = os.environ) -> TlsChoice | None:
    """The TLS mode for a PostgreSQL URL; None for servers on this machine, which libpq decides.

    A mode in the URL or in PGSSLMODE is kept. Otherwise `verify-full` if there is a root
    certificate (sslrootcert, PGSSLROOTCERT, ~/.postgresql/root.crt), else `require`.
    """
    given = url.query.get("sslmode") or environ.get("PGSSLMODE")
    if all(_is_local(host) for host in _list_hosts(url, environ)):
        return None
    if given:
        return TlsChoice(str(given), is_given=True)
    has_root = bool(url.query.get("sslrootcert") or environ.get("PGSSLROOTCERT"))
    home = environ.get("HOME")
    has_root = has_root or (home is not None and Path(home, _ROOT_FILE).is_file())
    return TlsChoice("verify-full" if has_root else "require", is_given=False)


def pool_options(max_connections: int, wait_s: float) -> dict[str, Any]:
    """Of an engine: at most so many connections, few of them idle; who finds none free waits.

    A thread never takes a second one while it holds one, so that waiting always ends.
    """
    kept = min(_KEPT_CONNECTIONS, max_connections)
    return {
        "pool_size": kept, "max_overflow": max_connections - kept, "pool_timeout": wait_s,
    }  # fmt: skip


def postgres_engine(url: URL, lock_wait_s: float, max_connections: int) -> Engine:
    """An engine whose transactions have time limits, UTC and durable commits, also by a pooler."""
    tls = choose_tls(url)
    engine = create_engine(
        url,
        **pool_options(max_connections, lock_wait_s),
        pool_pre_ping=True,
        pool_recycle=600,
        use_native_hstore=False,  # no column has it, and asking for it is a query per process
        connect_args={
            **({} if tls is None or tls.is_given else {"sslmode": tls.mode}),
            "connect_timeout": 10,
            "keepalives_idle": 30,
            "keepalives_interval": 10,
            "keepalives_count": 3,
            # For a server that vanishes: TCP's own timeout is longer than a lease.
            "tcp_user_timeout": 10_000,
        },
    )

    event.listen(engine, "do_connect", _connect)

    @event.listens_for(engine, "connect")
    def _configure(
        connection: "psycopg.Connection[tuple[object, ...]]", record: "ConnectionPoolEntry"
    ) -> None:
        row = connection.execute("SELECT pg_backend_pid()").fetchone()
        # A pooler gives its clients numbers of its own.
        is_pooled = row != (connection.info.backend_pid,)
        record.info[_IS_POOLED] = is_pooled
        if is_pooled:
            # The next transaction may be in a session that knows nothing of the statement.
            connection.prepare_threshold = None
        else:
            connection.execute(_settings_sql(lock_wait_s, is_local=False))
        connection.commit()

    @event.listens_for(engine, "begin")
    def _configure_transaction(conn: Connection) -> None:
        if conn.info.get(_IS_POOLED):
            conn.exec_driver_sql(_settings_sql(lock_wait_s, is_local=True))

    return engine


def free_for_processes(conn: Connection) -> int | None:
    """How many connections the server has for users; None behind a pooler, and on SQLite."""
    if conn.dialect.name != "postgresql" or conn.info.get(_IS_POOLED):
        return None
    query = (
        "SELECT current_setting('max_connections')::int"
        " - current_setting('superuser_reserved_connections')::int"
    )
    return int(conn.exec_driver_sql(query).scalar_one())


def _connect(
    dialect: Dialect,
    _record: "ConnectionPoolEntry",
    given: tuple[str, ...],
    options: Mapping[str, object],
) -> "DBAPIConnection":
    """Connect to a database that can hold every text. Raises StoreError for another encoding.

    SQLAlchemy, and psycopg with SQL_ASCII, would fail over the first answer.
    """
    connection = dialect.connect(*given, **options)
    info = cast("psycopg.Connection[tuple[object, ...]]", connection).info
    encoding = info.parameter_status("server_encoding")
    if encoding in (None, "UTF8"):
        return connection
    name = info.dbname
    connection.close()
    raise StoreError(
        f"the database {name} has the encoding {encoding}, which cannot hold every text",
        "make another one: createdb --encoding=UTF8 --template=template0 NAME",
    )


def _settings_sql(lock_wait_s: float, *, is_local: bool) -> str:
    """One statement for all settings; `is_local`: they end with the transaction."""
    settings = {**_SETTINGS, "lock_timeout": f"{lock_wait_s * 1000:.0f}ms"}
    local = str(is_local).lower()
    calls = [f"set_config('{name}', '{value}', {local})" for name, value in settings.items()]
    return f"SELECT {', '.join([*calls, _DURABLE.format(is_local=local)])}"


def _list_hosts(url: URL, environ: Mapping[str, str]) -> list[str]:
    """The hosts that libpq may connect to; an empty list where a service file names them."""
    named: list[str] = []
    for value in (url.host, url.query.get("host"), url.query.get("hostaddr")):
        values = [value] if isinstance(value, str) else value or ()
        named += [host for each in values for host in each.split(",")]
    if named or "service" in url.query:
        return named
    return (environ.get("PGHOSTADDR") or environ.get("PGHOST") or "").split(",")


def _is_local(host: str) -> bool:
    if host in {"", "localhost"} or host.startswith(("/", "@")):
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False
