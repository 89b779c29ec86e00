"""Where tests keep their files: in memory where there is room, since a disk makes them wait."""

import os
import shutil
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
