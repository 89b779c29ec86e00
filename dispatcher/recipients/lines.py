"""The lines of a recipient file as its rows are read from: clean, and of bounded length.

What shows nothing is removed, byte-order marks in mid-file too, and `="0098"` becomes `"0098"`.
This happens a block at a time: nothing is done per line.
"""

import codecs
import io
import re
from collections.abc import Iterator
from itertools import chain
from typing import Final, Protocol

from dispatcher.text.invisible import has_invisible, may_have_invisible, remove_invisible

_BLOCK_BYTES: Final = 256 * 1024
LONGEST_LINE: Final = 1024 * 1024
_ASCII: Final = bytes(range(128))
_SHOWN_ASCII: Final = bytes(range(32, 127)) + b"\t\r\n"
#: Vertical tab and form feed, as spreadsheets write line breaks inside a cell.
_BLANKS: Final = bytes.maketrans(b"\x0b\x0c", b"  ")
_CONTROLS: Final = bytes(code for code in (*range(32), 127) if code not in b"\t\r\n\x0b\x0c")
_BEYOND_ASCII: Final = bytes(range(128, 256))
#: Of full-width signs, and of blanks that are not ASCII, the byte with which they begin in UTF-8.
_QUOTED_FORMULA: Final = re.compile(rb"' *[=+@\-\t\r\n\xa0\xc2\xe1\xe2\xe3\xef]")


class LineTooLong(Exception):
    """A line has more than LONGEST_LINE characters."""


class Readable(Protocol):
    """A binary stream; `read` gives nothing only at its end."""

    def read(self, size: int, /) -> bytes: ...


class CleanLines:
    """Iterates once over the lines of `stream`. Iterating raises LineTooLong.

    Without `cleans` they are as they stand.
    """

    def __init__(
        self, stream: Readable, codec: str, delimiter: str, *, cleans: bool = True
    ) -> None:
        self._stream = stream
        self._codec = codec.removesuffix("-sig")  # marks are removed wherever they are
        self._cleans = cleans
        self._visible = _visible_bytes(self._codec)
        self._wrapped = _wrapped_cell(delimiter)
        #: Whether a cell read so far may have an apostrophe in front of a formula's sign.
        self.has_quoted_formulas = False
        self._block = ""
        self._block_lines = io.StringIO()
        is_ascii = _ASCII.decode(codec, "replace").encode("ascii", "replace") == _ASCII
        blocks = self._read_ascii_blocks() if is_ascii else self._read_wide_blocks()
        self._lines = chain.from_iterable(map(self._split_block, blocks))

    def __iter__(self) -> Iterator[str]:
        return self._lines

    def last_line(self) -> str:
        """The line that was read last."""
        lines = self._block[: self._block_lines.tell()]
        before = lines.removesuffix("\n").removesuffix("\r")
        return lines[max(before.rfind("\n"), before.rfind("\r")) + 1 :]

    def _split_block(self, block: str) -> io.StringIO:
        self._block, self._block_lines = block, io.StringIO(block, newline="")
        return self._block_lines

    def _read_ascii_blocks(self) -> Iterator[str]:
        """Whole lines, for encodings in which a byte below 128 is that character."""
        rest = b""
        while block := self._stream.read(_BLOCK_BYTES):
            block = rest + block
            end = block.rfind(b"\n") + 1 or block.rfind(b"\r", 0, -1) + 1
            if not end and len(block) >= LONGEST_LINE:
                raise LineTooLong
            block, rest = block[:end], block[end:]
            yield self._clean_bytes(block)
        yield self._clean_bytes(rest)

    def _read_wide_blocks(self) -> Iterator[str]:
        """Whole lines, for UTF-16 and its like."""
        decoder = codecs.getincrementaldecoder(self._codec)()
        rest, is_last = "", False
        while not is_last:
            block = self._stream.read(_BLOCK_BYTES)
            is_last = not block
            text = rest + decoder.decode(block, final=is_last)
            end = len(text) if is_last else text.rfind("\n") + 1 or text.rfind("\r", 0, -1) + 1
            if not end and len(text) >= LONGEST_LINE:
                raise LineTooLong
            text, rest = text[:end], text[end:]
            # As bytes they are cleaned alike.
            yield self._clean_bytes(text.encode("utf-8", "surrogatepass"), "utf-8")

    def _clean_bytes(self, block: bytes, codec: str | None = None) -> str:
        if not self._cleans:
            return block.decode(codec or self._codec)
        if not self.has_quoted_formulas and _QUOTED_FORMULA.search(block):
            self.has_quoted_formulas = True
        text = _decode_clean(block, codec or self._codec, self._visible)
        return self._wrapped.sub(_unwrap, text) if b"=" in block and b'="' in block else text


def _decode_clean(block: bytes, codec: str, visible: bytes) -> str:
    # Of most files nothing is left here, and of the others little: that is searched fast.
    unusual = block.translate(None, _SHOWN_ASCII)
    if not unusual:
        return block.decode("ascii")
    if unusual.translate(None, _BEYOND_ASCII):
        block = block.translate(_BLANKS, _CONTROLS)
    if unusual.isascii():
        return block.decode("ascii")
    text = block.decode(codec)
    if codec == "utf-8":
        is_clean = not may_have_invisible(unusual) or not has_invisible(unusual.decode(codec))
    else:
        is_clean = not unusual.translate(None, visible) or not has_invisible(text)
    return text if is_clean else remove_invisible(text)


def _visible_bytes(codec: str) -> bytes:
    """Bytes beyond ASCII that alone are a visible character."""
    characters = {byte: bytes([byte]).decode(codec, "replace") for byte in range(128, 256)}
    return bytes(
        byte for byte, char in characters.items() if char != "\ufffd" and not has_invisible(char)
    )


def _wrapped_cell(delimiter: str) -> re.Pattern[str]:
    """`="0098"`, with which tools keep a spreadsheet from reading a number; also quoted again."""
    edge = re.escape(delimiter)
    return re.compile(
        rf'(?:^|(?<={edge})) *(?:="(?P<plain>(?:[^"\r\n]|"")*)"'
        rf'|"=""(?P<quoted>(?:[^"\r\n]|"""")*)""") *(?={edge}|$|\r)',
        re.MULTILINE,
    )


def _unwrap(match: re.Match[str]) -> str:
    quoted = match["quoted"]
    return f'"{match["plain"]}"' if quoted is None else '"' + quoted.replace('""""', '""') + '"'
