"""High-water marks of a store, and the file that keeps one outside the store."""

import fcntl
import os
import re
from dataclasses import dataclass
from pathlib import Path

from dispatcher.error_codes import ErrorCode
from dispatcher.errors import StoreError

#: Always of the same length, so that overwriting it needs no space on a full disk.
_LINE = "store {store_id:>36} has begun attempt {attempt_id:020d}\n"


_LINE_PATTERN = re.compile(r"store +(\S+) has begun attempt (\d{20})\n")


@dataclass(frozen=True, slots=True)
class HighWaterMark:
    """The highest attempt id that a witness of a store has recorded."""

    store_id: str
    attempt_id: int


class UnreadableMark(StoreError):
    """This user may not read the mark file. That says nothing about the store."""

    error_code = ErrorCode.WITNESS


class MarkFile:
    """A mark in a file: beside a SQLite file, or in the user's state folder."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def read_mark(self) -> HighWaterMark | None:
        """Read the mark; None without a file, or without a valid mark in it.

        Raises UnreadableMark if there is a file that cannot be read.
        """
        try:
            found = _LINE_PATTERN.fullmatch(self.path.read_text(encoding="ascii"))
        except (FileNotFoundError, UnicodeDecodeError):
            return None
        except OSError as error:
            raise UnreadableMark(
                f"the witness file {self.path} cannot be read: {error.strerror}",
                "run this as the user who owns it, or let this user read it; the store may be fine",
            ) from error
        return None if found is None else HighWaterMark(found[1], int(found[2]))

    def advance_to(self, mark: HighWaterMark, *, sync: bool) -> None:
        """Write `mark`, unless the file has a higher one of the same store. Raises OSError.

        The write survives a kill of this process; with `sync` it also survives a power cut.
        """
        handle = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
            known = _LINE_PATTERN.fullmatch(os.pread(handle, 200, 0).decode("ascii", "replace"))
            if known is None or known[1] != mark.store_id or int(known[2]) < mark.attempt_id:
                line = _LINE.format(store_id=mark.store_id, attempt_id=mark.attempt_id).encode()
                os.pwrite(handle, line, 0)
                os.ftruncate(handle, len(line))
            if sync:
                os.fsync(handle)
        finally:
            os.close(handle)
