"""A real PostgreSQL primary and its streaming standby, from the wheel's programs."""

import os
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import psycopg

from tests.support.folders import FOLDER
from tests.support.postgres_server import (
    DURABLE,
    NOBODY,
    OWN_SESSION,
    STARTUP_S,
    PostgresServer,
    await_answer,
    launched,
    server_programs,
)
from tests.support.stage import wait_for

_DATABASE = "postgres"
#: The name by which the primary waits for the standby.
_STANDBY = "standby"
#: What a kill of processes cannot lose does not have to be written to a disk.
_SETTINGS = {name: value for name, value in DURABLE.items() if name != "synchronous_commit"} | {
    "fsync": "off"
}


class PostgresPair:
    """Use `postgres_pair()`. The primary and its standby, of which one takes writes."""

    def __init__(self, primary: PostgresServer, standby: PostgresServer, process: "_Process"):
        self._primary = primary
        self._standby = standby
        self._process = process

    @property
    def url(self) -> str:
        """The store's URL: both servers, of which libpq chooses the one that takes writes."""
        hosts = f"{self._primary.folder},{self._standby.folder}"
        return f"postgresql://postgres@/{_DATABASE}?host={hosts}&target_session_attrs=read-write"

    def make_synchronous(self, commit: str) -> None:
        """From now on each commit waits for the standby: `synchronous_commit` is `commit`."""
        for name, value in {
            "synchronous_standby_names": _STANDBY, "synchronous_commit": commit,
        }.items():  # fmt: skip
            self._primary.execute(f"ALTER SYSTEM SET {name} = '{value}'")
        self._primary.execute("SELECT pg_reload_conf()")
        wait_for(lambda: self._sender()[1] == "sync", "the standby to be synchronous")

    def stop_replication(self) -> None:
        """From now on the standby gets nothing: what is committed will be lost."""
        os.kill(self._sender()[0], signal.SIGSTOP)

    def kill_primary(self) -> None:
        """`kill -9` of every process of the primary."""
        parent = self._process.pid
        os.kill(parent, signal.SIGSTOP)  # it starts no other ones meanwhile
        children = Path(f"/proc/{parent}/task/{parent}/children").read_text(encoding="ascii")
        for pid in (*map(int, children.split()), parent):
            os.kill(pid, signal.SIGKILL)
        self._process.wait()

    def promote_standby(self) -> None:
        """Let the standby take writes, and wait until it does."""
        self._standby.execute("SELECT pg_promote()")

    def _sender(self) -> tuple[int, str]:
        """The process that streams to the standby, and whether commits wait for it."""
        with psycopg.connect(
            host=str(self._primary.folder), user="postgres", dbname=_DATABASE, autocommit=True
        ) as connection:
            row = connection.execute("SELECT pid, sync_state FROM pg_stat_replication").fetchone()
        return (0, "") if row is None else (row[0], row[1])


_Process = subprocess.Popen[bytes]


@contextmanager
def postgres_pair() -> Iterator[PostgresPair]:
    """Both servers, the standby streaming asynchronously; everything is removed afterwards."""
    with ExitStack() as stack:
        programs = stack.enter_context(server_programs())
        name = stack.enter_context(tempfile.TemporaryDirectory(prefix="dispatcher-ha-", dir=FOLDER))
        folder = Path(name)
        if os.getuid() == 0:
            os.chown(folder, NOBODY, NOBODY)
        log = stack.enter_context((folder / "log").open("wb"))

        def run(program: str, *args: object) -> None:
            made = subprocess.run(
                launched([programs / program, *args]),
                **OWN_SESSION, stdout=log, timeout=STARTUP_S, check=False,
            )  # fmt: skip
            if made.returncode != 0:
                raise RuntimeError(f"{program} failed: {(folder / 'log').read_text()[-500:]}")

        def start(home: Path) -> tuple[PostgresServer, _Process]:
            process = subprocess.Popen(
                launched([programs / "postgres", "-D", home / "data", "-k", home, *_options()]),
                **OWN_SESSION, stdout=log,
            )  # fmt: skip
            stack.callback(process.wait)
            stack.callback(process.send_signal, signal.SIGINT)  # PostgreSQL's fast shutdown
            return await_answer(PostgresServer(home), process), process

        homes = [folder / "primary", folder / "standby"]
        for home in homes:
            home.mkdir(mode=0o700)
            if os.getuid() == 0:
                os.chown(home, NOBODY, NOBODY)
        data = homes[0] / "data"
        run(
            "initdb",
            "-D",
            data,
            "-U",
            "postgres",
            "--auth=trust",
            "--no-sync",
            "--locale=C",
            "--encoding=UTF8",
        )
        primary, process = start(homes[0])
        place = f"host={homes[0]} user=postgres application_name={_STANDBY}"
        copied = homes[1] / "data"
        run("pg_basebackup", "-d", place, "-D", copied, "-R", "-X", "stream", "-c", "fast", "-N")
        standby, _ = start(homes[1])
        pair = PostgresPair(primary, standby, process)
        wait_for(lambda: pair._sender()[0], "the standby to stream")
        yield pair


def _options() -> list[str]:
    return [word for name, value in _SETTINGS.items() for word in ("-c", f"{name}={value}")]
