"""Opens what recipients are read from, so that it can be read twice, and counts what is read."""

import io
import os
import shutil
import stat
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Final, cast

from dispatcher.errors import UsageProblem

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

_CHUNK_BYTES: Final = 1024 * 1024


class CountedBytes(io.RawIOBase):
    """Counts what is read of `stream`, and closes it when closed."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self.position = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: "WriteableBuffer") -> int:
        chunk = self._stream.read(memoryview(buffer).nbytes)
        memoryview(buffer)[: len(chunk)] = chunk
        self.position += len(chunk)
        return len(chunk)

    def close(self) -> None:
        self._stream.close()
        super().close()


def open_twice_readable(source: Path | BinaryIO) -> BinaryIO:
    """An open regular file: of `source` itself, or a temporary copy of a pipe.

    Raises UsageProblem for a path that cannot be read.
    """
    if not isinstance(source, Path):
        return _spooled(source)
    try:
        if source.is_dir():
            raise UsageProblem(f"{source} is a folder", "give the path of a CSV file")
        stream = source.open("rb")
        if stat.S_ISREG(os.fstat(stream.fileno()).st_mode):
            return stream
        with stream:
            return _spooled(stream)
    except FileNotFoundError:
        raise UsageProblem(f"{source} does not exist", "give the path of a CSV file") from None
    except OSError as error:
        why, hint = f"{source} cannot be read: {error.strerror}", "check the path and its rights"
        raise UsageProblem(why, hint) from None


def _spooled(pipe: BinaryIO) -> BinaryIO:
    copy = cast("BinaryIO", tempfile.TemporaryFile())  # noqa: SIM115 - the caller closes it
    try:
        shutil.copyfileobj(pipe, copy, _CHUNK_BYTES)
    except BaseException:
        copy.close()
        raise
    copy.seek(0)
    return copy
