"""Opens what recipients are read from, so that it can be read twice, and notices changes."""

import hashlib
import os
import shutil
import stat
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Final, cast

from dispatcher.errors import FileRefused, WrongPath
from dispatcher.recipients.records import CHANGED, SUBMIT_WHEN_COMPLETE

if TYPE_CHECKING:
    import io

_CHUNK_BYTES: Final = 1024 * 1024
_GIVE_A_PATH: Final = "give the path of a file with recipients"


class SourceFile:
    """A file that is read again from its start, and must be the same then.

    `path`: the file itself, or that from which `stream` was made when it had this `stamp`.
    `sha256`: hex digest of the whole file. `size`: in bytes. `position`: bytes read so far.
    """

    def __init__(
        self, stream: BinaryIO, path: Path | None, stamp: tuple[int, ...] | None = None
    ) -> None:
        self._stream = stream
        self._path = path
        stream.seek(0)
        whole = hashlib.file_digest(cast("io.BufferedReader", stream), "sha256")
        self.sha256: Final = whole.hexdigest()
        self.size: Final = stream.tell()
        self._stamp = stamp or (stamp_of(path.stat()) if path is not None else None)
        self._again = hashlib.sha256()
        self.position = 0
        stream.seek(0)

    def read(self, size: int, /) -> bytes:
        """The next bytes; nothing at the end."""
        block = self._stream.read(size)
        self.position += len(block)
        self._again.update(block)
        return block

    def check_unchanged(self) -> None:
        """Raises Refused if what was read until now is not what the file was when it was opened."""
        is_whole = self.position >= self.size
        is_same = not is_whole or self._again.hexdigest() == self.sha256
        if is_same and self._path is not None:
            try:
                is_same = stamp_of(self._path.stat()) == self._stamp
            except OSError:
                is_same = False
        if not is_same:
            raise FileRefused(CHANGED, SUBMIT_WHEN_COMPLETE)


def stamp_of(status: os.stat_result) -> tuple[int, ...]:
    """What changes when a file is replaced or written to."""
    return (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns)


def open_twice_readable(source: Path | BinaryIO) -> tuple[BinaryIO, Path | None]:
    """An open regular file and its path; of a pipe, a temporary copy and None.

    Raises UsageProblem for a path that cannot be read.
    """
    if not isinstance(source, Path):
        return _copy_to_file(source), None
    try:
        if source.is_dir():
            raise WrongPath(f"{source} is a folder", _GIVE_A_PATH)
        stream = source.open("rb")
        if stat.S_ISREG(os.fstat(stream.fileno()).st_mode):
            return stream, source
        with stream:
            return _copy_to_file(stream), None
    except FileNotFoundError:
        raise WrongPath(f"{source} does not exist", _GIVE_A_PATH) from None
    except OSError as error:
        why, hint = f"{source} cannot be read: {error.strerror}", "check the path and its rights"
        raise WrongPath(why, hint) from None


def _copy_to_file(pipe: BinaryIO) -> BinaryIO:
    copy = cast("BinaryIO", tempfile.TemporaryFile())  # noqa: SIM115 - the caller closes it
    try:
        shutil.copyfileobj(pipe, copy, _CHUNK_BYTES)
    except BaseException:
        copy.close()
        raise
    copy.seek(0)
    return copy
