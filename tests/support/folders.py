"""Where tests keep their files: in memory where there is room, since a disk makes them wait."""

import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

#: Docker gives a container 64 MiB unless asked; a whole run needs a few hundred.
_ROOM = 2 * 2**30


def _is_roomy(folder: Path) -> bool:
    return folder.is_dir() and shutil.disk_usage(folder).free >= _ROOM


_memory = Path("/dev/shm")
#: Its name is short: the path of a socket is limited to about a hundred bytes.
FOLDER = _memory if _is_roomy(_memory) else Path("/tmp")
# A benchmark asks for a disk: there a commit costs what it costs.
FOLDER = Path(os.environ.get("TESTS_FOLDER") or FOLDER)

#: The folder that the processes of one run of pytest-xdist share, in their environment.
_OF_RUN = "TESTS_FOLDER_OF_RUN"


def folder_of_run() -> Path | None:
    """What the processes of this run share; None where tests have one process."""
    given = os.environ.get(_OF_RUN)
    return Path(given) if given else None


def environment_of_run(folder: Path) -> dict[str, str]:
    """This process's environment, for a process of a run that shares `folder`."""
    return {**os.environ, _OF_RUN: str(folder), "XDG_STATE_HOME": str(folder / "state")}


@contextmanager
def only_one_process(lock: Path) -> Iterator[None]:
    """Wait for the others that use this file."""
    with lock.open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        yield
