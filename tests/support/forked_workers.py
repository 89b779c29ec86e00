"""Processes of pytest-xdist that are forked from one which has imported every test.

Importing them costs seven processes seven times six seconds. The process that imports collects the
tests and then forks for each client: a process that execnet starts and that only hands its
standard streams over.

    python forked_workers.py serve SOCKET ARGS-OF-PYTEST
    python forked_workers.py connect SOCKET
"""

import atexit
import contextlib
import ctypes
import gc
import os
import random
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn, Protocol

if TYPE_CHECKING:
    import pytest

_PR_SET_PDEATHSIG = 1
#: From its start until the process that imports can be connected to; it answers after that.
_LISTENS_WITHIN_S = 30


class Spec(Protocol):
    """What of `execnet.XSpec` is set here: the command that starts a process's Python."""

    python: str


def fork_workers(
    specs: Iterable[Spec], args: Sequence[str], folder: Path, env: Mapping[str, str]
) -> None:
    """Let the processes of these specs be forked from one that collects what `args` say.

    They have this environment. The one ends with this process, and so does `folder`, where its
    socket is.
    """
    path = folder / "socket"
    server = subprocess.Popen([sys.executable, __file__, "serve", path, *args], env=env)
    atexit.register(_end, server, folder)
    for spec in specs:
        spec.python = shlex.join([sys.executable, "-I", "-S", __file__, "connect", str(path)])


def _end(server: subprocess.Popen[bytes], folder: Path) -> None:
    server.kill()
    server.wait()
    shutil.rmtree(folder, ignore_errors=True)


def _connect(path: str) -> int:
    """Hand the standard streams to a new process, and wait until it ends; its exit code."""
    with socket.socket(socket.AF_UNIX) as connection:
        deadline = time.monotonic() + _LISTENS_WITHIN_S
        while connection.connect_ex(path):
            if time.monotonic() > deadline:
                return 1
            time.sleep(0.01)
        socket.send_fds(connection, [b"-"], [0, 1, 2])
        return 0 if connection.recv(1) else 1


def _serve(path: str, args: list[str]) -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen(64)
        # An installed `pytest` has neither the folder of this file on its path nor this module.
        sys.path[0] = str(Path(__file__).parents[2])
        _share_warm_processes()
        _collect(args)
        # Ctrl-C is for the processes that run tests; who has ended is waited for by nobody.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)
        while True:
            connection, _ = listener.accept()
            if os.fork() == 0:
                listener.close()
                _become(connection)
            connection.close()


def _share_warm_processes() -> None:
    """One process for all imports what the program's own processes are forked from, meanwhile."""
    import sqlmodel  # noqa: F401 - before any table, as in conftest.py

    from tests.support import warm

    warm.share_server()


class _FailedFiles:
    """A plugin of pytest that notes which files could not be collected."""

    def __init__(self) -> None:
        self._root = Path()
        self.paths: set[str] = set()

    def pytest_configure(self, config: "pytest.Config") -> None:
        """Node ids are below this folder."""
        self._root = config.rootpath

    def pytest_collectreport(self, report: "pytest.CollectReport") -> None:
        """Note a file."""
        if report.failed:
            self.paths.add(os.path.realpath(self._root / report.nodeid.partition("::")[0]))


def _collect(args: list[str]) -> None:
    """Import what pytest collects of `args`. What cannot be imported is told by who runs it."""
    import pytest

    failed = _FailedFiles()
    with Path(os.devnull).open("w") as nowhere, contextlib.redirect_stdout(nowhere):
        pytest.main(["--collect-only", "-qq", *args], plugins=[failed])
    # pytest would take what there is of such a module for the whole of it, and run no other test.
    for name, module in list(sys.modules.items()):
        if os.path.realpath(getattr(module, "__file__", None) or "") in failed.paths:
            del sys.modules[name]
    gc.freeze()
    gc.disable()


def _become(connection: socket.socket) -> NoReturn:
    """Take over a client's standard streams, and run what execnet sends."""
    _, streams, *_ = socket.recv_fds(connection, 1, 3)
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
        os.close(stream)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    random.seed()
    sys.argv = ["-c"]
    sys.stdin = open(0, encoding="utf-8", closefd=False)  # noqa: SIM115
    try:
        exec(eval(sys.stdin.readline()), {"__name__": "__main__"})
        threading._shutdown()  # type: ignore[attr-defined]
        atexit._run_exitfuncs()
        connection.send(b"+")
    finally:
        os._exit(0)


if __name__ == "__main__":
    role, socket_path, *rest = sys.argv[1:]
    if role == "connect":
        sys.exit(_connect(socket_path))
    _serve(socket_path, rest)
