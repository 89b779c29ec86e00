"""The embedded broker's folder: private to this user, and locked by the process that owns it.

The lock is on the folder itself, since cleaners of /tmp (tmpfiles.d(5)) skip locked folders.
"""

import fcntl
import os
import stat
from contextlib import suppress
from pathlib import Path

from dispatcher.errors import BrokerError

_HOLDER = "holder.pid"


def check_ownership(folder: Path) -> None:
    """Raise BrokerError for a folder that another user may have made, as is possible in /tmp.

    Raises FileNotFoundError if there is no folder.
    """
    found = folder.lstat()
    private = stat.S_IMODE(found.st_mode) & 0o077 == 0
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or not private:
        raise BrokerError(
            f"{folder} is not a private folder of this user",
            "another user may have created it: check it, then remove it",
        )


def acquire_folder(folder: Path) -> int:
    """Make the folder, or take over that of a killed process; returns its lock, an open file.

    Raises BrokerError if another process owns the folder, or if it is not this user's.
    """
    while (lock := _try_to_acquire(folder)) is None:
        pass
    (folder / _HOLDER).write_text(str(os.getpid()))
    return lock


def remove_folder(folder: Path, lock: int, names: tuple[str, ...]) -> None:
    """Remove the folder and its files with these names, then release the lock."""
    for name in (*names, _HOLDER):
        (folder / name).unlink(missing_ok=True)
    with suppress(OSError):
        folder.rmdir()
    os.close(lock)


def _try_to_acquire(folder: Path) -> int | None:
    """The lock; None if the former owner removed the folder while we opened it."""
    try:
        folder.mkdir(mode=0o700)
    except FileExistsError:
        pass
    except OSError as error:
        raise BrokerError(
            f"{folder} cannot be created: {error.strerror}",
            "check the folder above it and the disk",
        ) from error
    try:
        check_ownership(folder)
        lock = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.path.samestat(os.fstat(lock), folder.stat()):
            return lock
    except FileNotFoundError:
        pass
    except BlockingIOError:
        os.close(lock)
        raise BrokerError(
            f"the embedded broker of this store is already running, pid {_holder_pid(folder)}",
            "only one `dispatcher up` can run for a store: use that one, or stop it first",
        ) from None
    os.close(lock)
    return None


def _holder_pid(folder: Path) -> str:
    with suppress(OSError):
        return (folder / _HOLDER).read_text() or "unknown"
    return "unknown"
