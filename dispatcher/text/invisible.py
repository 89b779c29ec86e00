"""Characters that show nothing on a screen: found, named, and removed where they mean nothing.

The category of a character does not say this: invisible ones are in Cf, Mn, Lo, So and Cc. The list
is Unicode's property Default_Ignorable_Code_Point (DerivedCoreProperties.txt, version 16), the
control codes of ISO 6429 but for tab and line ends, and a few that are drawn as an empty space.
"""

import re
import unicodedata
from typing import Final

#: They join letters, choose an emoji's look or set the direction: some scripts need them. Astral
#: characters, which would make the search ten times slower, have classes of their own.
_JOINERS: Final = "\u061c\u180b-\u180d\u180f\u200c-\u200f\u202a-\u202e\u2066-\u2069\ufe00-\ufe0f"
#: No text needs them.
_MEANINGLESS: Final = (
    # Soft hyphen, grapheme joiner, fillers of Hangul and Khmer.
    "\u00ad\u034f\u115f\u1160\u17b4\u17b5\u180e\u3164\uffa0"
    # Zero-width space, word joiner and invisible operators, byte-order mark.
    "\u200b\u2060-\u2065\u206a-\u206f\ufeff\ufff0-\ufffb"
    # The Braille pattern without dots, and control codes.
    "\u2800\x00-\x08\x0e-\x1f\x7f-\x84\x86-\x9f"
)
#: Shorthand and musical format controls, the Khitan filler, and all of plane 14.
_ASTRAL: Final = "\U00016fe4\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff"

#: All of the basic plane, for a class of a regular expression.
INVISIBLE: Final = _MEANINGLESS + _JOINERS
#: The same with the astral planes: for a match at one place, where that is not slow.
ALL_INVISIBLE: Final = INVISIBLE + _ASTRAL
_BMP_RUN: Final = re.compile(f"[{INVISIBLE}]+")
_ASTRAL_RUN: Final = re.compile(f"[{_ASTRAL}]+")
_MEANINGLESS_RUN: Final = re.compile(f"[{_MEANINGLESS}]+")
_JOINER_RUN: Final = re.compile(f"[{_JOINERS}]+")
#: Tags, which make the flags of England, Scotland and Wales, and selectors of CJK variants.
_ASTRAL_JOINERS: Final = re.compile("[\U000e0020-\U000e007f\U000e0100-\U000e01ef]+")
#: Scripts and emoji that use joiners. Latin, Greek, Cyrillic, Armenian and Georgian do not.
_NEEDS_JOINERS: Final = re.compile(
    "[\u0590-\u109f\u1200-\u1cff\u1dc0-\u1dff\u20d0-\u20ff\u2139-\u3030\u303d\u3297\u3299"
    "\u3400-\u9fff\ua800-\uabff\ufb1d-\ufdff\ufe70-\ufefc\U00010000-\U000dffff]"
)


#: Bytes with which no invisible character begins in UTF-8.
_NEVER_FIRST: Final = bytes(
    {*range(32, 127), *b"\t\n\r\v\f", *range(0x80, 0x100)}
    - {0xC2, 0xCD, 0xD8, 0xE1, 0xE2, 0xE3, 0xEF, 0xF0, 0xF3}
)


def has_invisible(text: str) -> bool:
    """Whether `text` has a character that shows nothing."""
    return _BMP_RUN.search(text) is not None or _ASTRAL_RUN.search(text) is not None


def may_have_invisible(utf8: bytes) -> bool:
    """False if bytes of UTF-8 have no invisible character; fast for most scripts."""
    return bool(utf8.translate(None, _NEVER_FIRST))


def remove_invisible(text: str) -> str:
    """`text` without what shows nothing.

    Joiners, variation selectors and direction marks stay beside characters of scripts, and beside
    emoji, that may need them.
    """
    text = _JOINER_RUN.sub(_keep_needed, _MEANINGLESS_RUN.sub("", text))
    return _ASTRAL_RUN.sub(_keep_needed, text) if _ASTRAL_RUN.search(text) else text


def remove_all_invisible(text: str) -> str:
    """`text` without any invisible character: for names of columns and the like."""
    return _ASTRAL_RUN.sub("", _BMP_RUN.sub("", text)) if has_invisible(text) else text


def describe_char(char: str) -> str:
    """The character, if it shows anything, with code point and name: `’ (U+2019 RIGHT …)`."""
    name = unicodedata.name(char, "CONTROL CODE" if unicodedata.category(char) == "Cc" else "")
    code = f"U+{ord(char):04X} {name}".rstrip()
    return code if char.isspace() or has_invisible(char) else f"{char} ({code})"


def _keep_needed(run: re.Match[str]) -> str:
    joiners = run[0] if run[0] < "\U00010000" else "".join(_ASTRAL_JOINERS.findall(run[0]))
    before, after = (
        run.string[max(0, run.start() - 1) : run.start()],
        run.string[run.end() : run.end() + 1],
    )
    is_needed = _NEEDS_JOINERS.match(before) or _NEEDS_JOINERS.match(after)
    return joiners if is_needed else ""
