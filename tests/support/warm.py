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
from collections.abc import Mapping, Sequence
from contextlib import suppress
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
    given = (module, [*args], str(folder), dict(env), str(out), str(err or out))
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


def _become(
    module: str, args: list[str], folder: str, env: dict[str, str], out: str, err: str
) -> None:
    os.setsid()
    gc.freeze()  # what was imported before is not looked through again and again
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(env)
    for number, path in ((1, out), (2, err)):
        file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        os.dup2(file, number)
        os.close(file)
    sys.argv = [module, *args]
    try:
        runpy.run_module(module, run_name="__main__", alter_sys=True)
    finally:
        # As at the end of any Python: the library's forked children leave the latter out.
        threading._shutdown()  # type: ignore[attr-defined]
        atexit._run_exitfuncs()
