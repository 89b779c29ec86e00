"""Child processes that cannot outlive us: how they are started and how they are ended.

Knows nothing of what they are; `embedded` and `supervisor` do.
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

# The child itself sets PR_SET_PDEATHSIG (1), after fork and exec: a `preexec_fn` may deadlock in a
# process with threads. It survives the second exec; the parent may have died before it was set.
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
    """Start `argv` in a session of its own, so that a terminal's Ctrl-C does not reach it.

    `output` takes stdout and stderr (a file or `subprocess.PIPE`). On Linux the kernel kills the
    child when the *thread* that called this ends, `kill -9` included: call it from the main thread.
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
    """SIGKILL the child and all of its session's processes, and wait for it."""
    if process.poll() is None:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def end_child(process: subprocess.Popen[bytes], grace_s: float) -> None:
    """SIGTERM the child; `kill` it when it still runs after `grace_s` seconds."""
    process.terminate()
    with suppress(subprocess.TimeoutExpired):
        process.wait(grace_s)
    kill_child(process)


class OutputLines:
    """The lines that a child has written so far to `pipe`, without waiting for more."""

    def __init__(self, pipe: IO[bytes]) -> None:
        os.set_blocking(pipe.fileno(), False)
        self.pipe = pipe
        self._unfinished = b""

    def read_lines(self) -> tuple[list[str], bool]:
        """Up to 64 KiB of whole lines, and whether there was anything to read.

        What stands behind the last line end is kept for the next call, unless it is too long.
        """
        try:
            found = os.read(self.pipe.fileno(), _CHUNK)
        except BlockingIOError:
            found = b""
        *lines, self._unfinished = (self._unfinished + found).split(b"\n")
        if self._unfinished and (not found or len(self._unfinished) > _CHUNK):
            lines, self._unfinished = [*lines, self._unfinished], b""
        return [line.decode(errors="replace").rstrip("\r") for line in lines], bool(found)
