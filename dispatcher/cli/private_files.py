"""Files with numbers and texts in them, which only their owner may read."""

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, TextIO

from dispatcher.cli.outcome import keep_outcome
from dispatcher.errors import WrongPath

_OTHERS_MAY_READ: Final = 0o007


@contextmanager
def open_private(path: Path, *, replace: bool = True) -> Iterator[TextIO]:
    """Open `path` to write text: a new file is 0600, and one that everybody could read becomes so.

    A group that may read a file that exists keeps its rights. Raises UsageProblem if it cannot be
    written, and for a file that exists unless `replace`. Whether it is whole does not depend on who
    reads the command's output.
    """
    keep_outcome()
    only_new = 0 if replace else os.O_EXCL
    try:
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | only_new
        handle = os.open(path, flags, 0o600)
        with os.fdopen(handle, "w", encoding="utf-8", newline="") as out:
            found = os.fstat(handle)
            if stat.S_ISREG(found.st_mode) and found.st_mode & _OTHERS_MAY_READ:
                os.fchmod(handle, 0o600)
            yield out
    except FileExistsError:
        raise WrongPath(
            f"{path} exists already", "give another name, or --force to replace it"
        ) from None
    except OSError as error:
        raise WrongPath(
            f"{path} cannot be written: {error.strerror}",
            "check the folder, its rights and the disk",
        ) from None
