"""Processes forked from one that has imported everything: as real as any, without the start-up.

    process = warm.spawn("celery", ["-A", "workers", "worker"], folder=..., env=..., out=log)

Half of what a test over real processes costs is Python reading modules. What a start-up itself does
is tested where processes are started for real: `up`, the demo, the simulator's own tests.
"""

import atexit
import ctypes
import gc
import multiprocessing
import multiprocessing.pool
import os
import pkgutil
import runpy
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from multiprocessing import forkserver
from pathlib import Path

import dispatcher

_PR_SET_PDEATHSIG = 1
#: Nothing that reads a configuration while it is imported: the Celery app does.
_PRELOADED = [
    "__main__",
    *(
        module.name
        for module in pkgutil.walk_packages(dispatcher.__path__, "dispatcher.")
        if "__main__" not in module.name and "migrations" not in module.name
    ),
    "celery.apps.beat", "celery.apps.worker", "celery.bin.celery", "celery.concurrency.thread",
    "celery.events.state", "kombu.transport.redis", "psycopg", "uvloop", "workers.services",
    "alembic.command", "sqlalchemy.dialects.sqlite.pysqlite",
    "sqlalchemy.dialects.postgresql.psycopg",
]  # fmt: skip
_server = multiprocessing.get_context("forkserver")
_server.set_forkserver_preload(_PRELOADED)


def share_server() -> None:
    """Start the process that forks now; processes that are forked from this one use it, too."""
    forkserver.ensure_running()
    # Its starter alone may ask the system whether it lives.
    forkserver._forkserver.ensure_running = lambda: None  # type: ignore[attr-defined]


def spawn(
    module: str,
    args: Sequence[str],
    *,
    folder: Path,
    env: Mapping[str, str],
    out: Path,
    err: Path | None = None,
) -> "Warm":
    """Start `python -m MODULE ARGS` in `folder`, in a session of its own.

    It appends to the files `out` and `err` (None: `out` too), and ends with this process.
    """
    streams = partial(_append_to_files, str(out), str(err or out))
    return _start(["-m", module, *args], folder, env, streams)


def spawn_on_terminal(
    argv: Sequence[str],
    *,
    env: Mapping[str, str],
    terminal: str,
    piped: bytes | None,
    controls: bool,
) -> "Warm":
    """Start `python ARGV`, `-m MODULE …` or `-c CODE`, on the terminal of this name.

    With `piped` given, standard input is a pipe with these bytes: no more than a pipe holds. The
    terminal controls the process's session if `controls`. It is open when this returns.
    """
    streams = partial(_open_terminal, terminal, piped, controls)
    return _start(argv, Path.cwd(), env, streams)


def _start(
    argv: Sequence[str], folder: Path, env: Mapping[str, str], streams: Callable[[], None]
) -> "Warm":
    given = ([*argv], str(folder), dict(env), streams)
    process = _server.Process(target=_become, args=given)
    process.start()
    warm = Warm(process)
    # Who kills its session before there is one would kill nobody, and wait for ever.
    with suppress(ProcessLookupError):
        while warm.poll() is None and os.getpgid(warm.pid) != warm.pid:
            time.sleep(0.001)
    return warm


def pool(processes: int) -> multiprocessing.pool.Pool:
    """As `multiprocessing.Pool`, of processes that share nothing with this one."""
    return _server.Pool(processes)


class Warm:
    """What of `subprocess.Popen` our tests use."""

    def __init__(self, process: "multiprocessing.context.ForkServerProcess") -> None:
        self._process = process
        self.pid = process.pid or 0

    @property
    def returncode(self) -> int | None:
        return self._process.exitcode

    def poll(self) -> int | None:
        """Its exit code; None while it runs."""
        return self._process.exitcode

    def wait(self, timeout: float | None = None) -> int:
        """Its exit code, once it has ended. Raises TimeoutExpired."""
        self._process.join(timeout)
        if self._process.exitcode is None:
            raise subprocess.TimeoutExpired("a warm process", timeout or 0)
        return self._process.exitcode

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


def _become(argv: list[str], folder: str, env: dict[str, str], streams: Callable[[], None]) -> None:
    gc.freeze()  # what was imported before is not looked through again and again
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(env)
    streams()
    kind, what, *args = argv
    sys.argv = [what if kind == "-m" else kind, *args]
    try:
        if kind == "-m":
            runpy.run_module(what, run_name="__main__", alter_sys=True)
        else:
            exec(compile(what, "<string>", "exec"), {"__name__": "__main__"})
    finally:
        # As at the end of any Python: the library's forked children leave the latter out.
        threading._shutdown()  # type: ignore[attr-defined]
        atexit._run_exitfuncs()


def _append_to_files(out: str, err: str) -> None:
    os.setsid()
    for number, path in ((1, out), (2, err)):
        file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        os.dup2(file, number)
        os.close(file)


def _open_terminal(terminal: str, piped: bytes | None, controls: bool) -> None:
    """A terminal for the standard streams; a session without one gets the first that it opens."""
    before = os.open(terminal, os.O_RDWR | os.O_NOCTTY)
    os.setsid()
    after = os.open(terminal, os.O_RDWR | (0 if controls else os.O_NOCTTY))
    source = after
    if piped is not None:
        source, target = os.pipe()
        os.write(target, piped)
        os.close(target)
    for number, file in enumerate((source, after, after)):
        os.dup2(file, number)
    for file in {before, source, after}:
        os.close(file)
    encoding = os.environ.get("PYTHONIOENCODING", "utf-8")
    sys.stdin = open(0, encoding=encoding, closefd=False)  # noqa: SIM115
    sys.stdout = open(1, "w", encoding=encoding, buffering=1, closefd=False)  # noqa: SIM115
    sys.stderr = open(  # noqa: SIM115
        2, "w", encoding=encoding, errors="backslashreplace", buffering=1, closefd=False
    )
