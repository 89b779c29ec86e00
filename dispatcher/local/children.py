"""Starts and ends child processes that cannot outlive this process.

`broker.py` and `supervisor.py` decide which ones.
"""

import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO

_CHUNK = 64 * 1024

# The child sets PR_SET_PDEATHSIG (1) itself, after fork and exec: a `preexec_fn` may deadlock in a
# process with threads. The setting survives the second exec. The parent may have died before.
_TIED_TO_PARENT = """
import ctypes, os, signal, sys
ctypes.CDLL(None).prctl(1, signal.SIGKILL, 0, 0, 0)
if os.getppid() != int(sys.argv[1]):
    sys.exit("the parent is gone")
try:
    os.execvp(sys.argv[2], sys.argv[2:])
except OSError as error:
    sys.exit(f"{sys.argv[2]}: {error.strerror}")
"""


def spawn_child(
    argv: Sequence[str | Path],
    *,
    output: int | IO[bytes],
    env: Mapping[str, str] | None = None,
) -> subprocess.Popen[bytes]:
    """Start `argv` in its own session, so that Ctrl-C at the terminal does not reach it.

    `output` gets stdout and stderr (a file or `subprocess.PIPE`). On Linux the kernel kills the
    child when the *thread* that called this ends, so call it from the main thread.
    """
    command = [str(part) for part in argv]
    if sys.platform == "linux":
        tied = [sys.executable, "-I", "-S", "-c", _TIED_TO_PARENT, str(os.getpid())]
        command = [*tied, *command]
    return subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=subprocess.STDOUT,
        env=None if env is None else dict(env),
        start_new_session=True,
    )


def kill_child(process: subprocess.Popen[bytes]) -> None:
    """Send SIGKILL to the child and its whole session, and wait for it."""
    if process.poll() is None:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def end_child(process: subprocess.Popen[bytes], grace_s: float) -> None:
    """Send SIGTERM to the child, and SIGKILL if it still runs after `grace_s` seconds."""
    process.terminate()
    with suppress(subprocess.TimeoutExpired):
        process.wait(grace_s)
    kill_child(process)


class OutputLines:
    """Reads the lines that a child has written to `pipe`, without waiting for more."""

    def __init__(self, pipe: IO[bytes]) -> None:
        os.set_blocking(pipe.fileno(), False)
        self.pipe = pipe
        self._unfinished = b""

    def read_lines(self) -> tuple[list[str], bool]:
        """Read up to 64 KiB of whole lines; returns them, and whether there was anything to read.

        An unfinished line is kept for the next call, unless it is too long.
        """
        try:
            found = os.read(self.pipe.fileno(), _CHUNK)
        except BlockingIOError:
            found = b""
        *lines, self._unfinished = (self._unfinished + found).split(b"\n")
        if self._unfinished and (not found or len(self._unfinished) > _CHUNK):
            lines, self._unfinished = [*lines, self._unfinished], b""
        return [line.decode(errors="replace").rstrip("\r") for line in lines], bool(found)
