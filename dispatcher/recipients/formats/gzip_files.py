"""Unpacks a gzip file into a temporary one, in flat memory, and refuses what grows without end."""

import gzip
import tempfile
import zlib
from typing import BinaryIO, Final, cast

from dispatcher.errors import FileRefused

_CHUNK_BYTES: Final = 1024 * 1024
#: More recipients than a campaign has fit into it.
LARGEST_BYTES: Final = 8 * 1024**3
#: Lists of people become a tenth, at most a fiftieth; a bomb a thousandth.
_LARGEST_RATIO: Final = 250
_SMALL_BYTES: Final = 64 * 1024**2


def unpack_gzip(packed: BinaryIO, *, largest: int = LARGEST_BYTES) -> BinaryIO:
    """What is in a gzip file, as an open temporary file. Closes nothing.

    Raises FileRefused for a file that is damaged, not complete, or larger than `largest` unpacked.
    """
    copy = cast("BinaryIO", tempfile.TemporaryFile())  # noqa: SIM115 - the caller closes it
    try:
        _copy_unpacked(packed, copy, largest)
    except (gzip.BadGzipFile, zlib.error, EOFError):
        copy.close()
        raise FileRefused(
            "the gzip file is damaged or not complete", "pack it again, or submit it unpacked"
        ) from None
    except BaseException:
        copy.close()
        raise
    copy.seek(0)
    return copy


def _copy_unpacked(packed: BinaryIO, copy: BinaryIO, largest: int) -> None:
    packed.seek(0)
    size = 0
    with gzip.GzipFile(fileobj=packed) as unpacked:
        while block := unpacked.read(_CHUNK_BYTES):
            size += len(block)
            is_bomb = size > _SMALL_BYTES and size > _LARGEST_RATIO * packed.tell()
            if size > largest or is_bomb:
                raise FileRefused(
                    f"the gzip file has more than {size // 1024**2} MiB in it, which no list of "
                    "recipients has",
                    "look at what is in it; submit a large list unpacked, or in parts",
                )
            copy.write(block)
