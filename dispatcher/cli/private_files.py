"""Files with numbers and texts in them, which only their owner may read."""

import os
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final, TextIO

from dispatcher.cli.outcome import keep_outcome
from dispatcher.errors import WrongPath

_OTHERS_MAY_READ: Final = 0o007
_PRIVATE: Final = 0o600


@contextmanager
def open_private(path: Path, *, replace: bool = True) -> Iterator[TextIO]:
    """Open `path` to write text: a new file is 0600, and one that everybody could read becomes so.

    The file gets its name once it is whole: after an error or a signal what was there before is
    still there. A group that may read a file that exists keeps its rights. A device (as
    /dev/stdout), and a file in a folder that cannot be written, are written in place. Raises
    UsageProblem if it cannot be written, and for a file that exists unless `replace`. Whether it is
    whole does not depend on who reads the command's output.
    """
    keep_outcome()
    try:
        target = Path(os.path.realpath(path))
        partial = _make_partial(target, _find_existing(target, replace=replace))
        with (
            _open_in_place(target)
            if partial is None
            else _open_beside(target, partial, replace=replace) as out
        ):
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


def _find_existing(target: Path, *, replace: bool) -> os.stat_result | None:
    found = target.stat() if target.exists() else None
    if found is not None and not replace:
        raise FileExistsError
    return found


def _make_partial(target: Path, found: os.stat_result | None) -> Path | None:
    """A new file beside `target`; None where only writing in place keeps what it is."""
    if found is not None and not _can_be_replaced(found):
        return None
    try:
        handle, name = tempfile.mkstemp(
            dir=target.parent, prefix=f".{target.name[:100]}.", suffix=".part"
        )
    except PermissionError:
        if found is None:
            raise
        return None
    with suppress(OSError):  # as on disks without rights
        is_open = found is not None and found.st_mode & _OTHERS_MAY_READ
        os.fchmod(handle, _PRIVATE if found is None or is_open else stat.S_IMODE(found.st_mode))
    os.close(handle)
    return Path(name)


def _can_be_replaced(found: os.stat_result) -> bool:
    """Whether another file in its place is the same for everybody."""
    return stat.S_ISREG(found.st_mode) and found.st_nlink == 1 and found.st_uid == os.getuid()


@contextmanager
def _open_beside(target: Path, partial: Path, *, replace: bool) -> Iterator[TextIO]:
    try:
        with partial.open("w", encoding="utf-8", newline="") as out:
            yield out
        _find_existing(target, replace=replace)
        partial.rename(target)
    finally:
        with suppress(OSError):
            partial.unlink()


@contextmanager
def _open_in_place(target: Path) -> Iterator[TextIO]:
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC
    with os.fdopen(os.open(target, flags, _PRIVATE), "w", encoding="utf-8", newline="") as out:
        found = os.fstat(out.fileno())
        if stat.S_ISREG(found.st_mode) and found.st_mode & _OTHERS_MAY_READ:
            os.fchmod(out.fileno(), _PRIVATE)
        yield out
