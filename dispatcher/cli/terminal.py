"""What the terminal can show: characters that its encoding lacks are replaced, never an error."""

import codecs
import io
import sys
from typing import Final, TextIO

_HANDLER: Final = "dispatcher.replace"
_CODEC: Final = "dispatcher_ascii"
#: What we print outside ASCII, and how an 8-bit terminal shows it; anything else becomes `?`.
_PLAIN: Final = {
    "…": "...", "•": "*", "·": "-", "→": "->", "×": "x", "█": "#", "░": ".",
    "–": "-", "—": "-", "‘": "'", "’": "'", "“": '"', "”": '"', "\u00a0": " ",
}  # fmt: skip


def is_terminal(stream: TextIO | None) -> bool:
    """Whether a person sees `stream` as it is written. A closed standard stream is None."""
    return stream is not None and not stream.closed and stream.isatty()


def replace_missing_characters() -> None:
    """Make standard streams replace what their encoding lacks, where they would raise."""
    codecs.register_error(_HANDLER, _replace_missing)
    codecs.register(_find_codec)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            is_ascii = codecs.lookup(stream.encoding).name == "ascii"
            # click takes a stream in ASCII for misconfigured and would write UTF-8 to it.
            stream.reconfigure(encoding=_CODEC if is_ascii else None, errors=_HANDLER)
    if isinstance(sys.stdin, io.TextIOWrapper):
        sys.stdin.reconfigure(errors="replace")


def _replace_missing(error: UnicodeError) -> tuple[str, int]:
    assert isinstance(error, UnicodeEncodeError)
    missing = error.object[error.start : error.end]
    return "".join(_PLAIN.get(char, "?") for char in missing), error.end


def _find_codec(name: str) -> codecs.CodecInfo | None:
    if name != _CODEC:
        return None
    known = codecs.lookup("ascii")
    return codecs.CodecInfo(
        known.encode,
        known.decode,
        incrementalencoder=known.incrementalencoder,
        incrementaldecoder=known.incrementaldecoder,
        name=_CODEC,
    )
