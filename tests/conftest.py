"""The servers that tests may ask for, and the promise that no process outlives the session."""

import re
import signal
from collections.abc import Iterator

import psutil
import pytest

# A shell's background jobs ignore Ctrl-C, and so would every process that we start.
for _number, _handler in (
    (signal.SIGINT, signal.default_int_handler),
    (signal.SIGHUP, signal.SIG_DFL),
):
    if signal.getsignal(_number) is signal.SIG_IGN:
        signal.signal(_number, _handler)

pytest_plugins = ["tests.fakes.broker", "tests.fakes.postgres"]


_SERVER = re.compile(r"from multiprocessing\.(resource_tracker|forkserver) import main")


def left_running(seconds: float) -> list[str]:
    """The command lines of this process's descendants that have not ended within `seconds`.

    Python's resource tracker and the server that forks warm processes live as long as we do.
    """
    me = psutil.Process()
    servers = [child for child in me.children() if _SERVER.search(" ".join(_command(child)))]
    found = [child for child in me.children(recursive=True) if child not in servers]
    _, ours = psutil.wait_procs(found, timeout=0)
    _, alive = psutil.wait_procs(ours, timeout=seconds)
    return [" ".join(_command(child)) for child in alive]


def _command(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline() or [process.name()]
    except (psutil.NoSuchProcess, psutil.ZombieProcess):
        return []


@pytest.fixture(scope="session", autouse=True)
def no_process_outlives_the_session() -> Iterator[None]:
    """Set up first, so torn down last: after the servers of the session."""
    yield
    left = left_running(5)
    assert not left, f"left running: {left}"
