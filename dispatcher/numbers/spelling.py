"""Takes off what people, phones and spreadsheets write around a number; the rest is ASCII.

Numbers that they destroyed are refused, and so are cells that could hold two numbers: nothing is
guessed.
"""

import re
import unicodedata
from typing import Final

from dispatcher.numbers.labels import FAX_WORDS, LABELS
from dispatcher.text.invisible import has_invisible
from dispatcher.text.template import fold_name


class MsisdnError(ValueError):
    """Why a cell cannot receive SMS: a sentence for a person, without the number."""


def strip_spelling(raw: str) -> str:
    """The number of a cell, with its own separators, in ASCII.

    Takes off text marks, `="…"`, `tel:` and other labels, thousands marks and a number cell's `.0`.
    Raises MsisdnError for what spreadsheets destroy, for extensions and for fax numbers.
    """
    if len(raw) > _LONGEST_SPELLING:
        raise MsisdnError("the cell is too long to be a phone number")
    text = raw.translate(_SPELLING).strip(_AROUND)
    if _SIMPLE.fullmatch(text):
        return text
    if text.startswith("="):
        text = _formula_value(text)
    if not any(map(str.isdecimal, text)):
        raise MsisdnError(_NO_NUMBER if fold_name(text) in _EMPTY else STRANGE_CHARACTERS)
    if text.startswith("+"):
        text = _DOUBLED_PLUS.sub("+", text)
    if _SCIENTIFIC.fullmatch(text):
        raise MsisdnError(
            "the spreadsheet has dropped digits: format the column as text and export it again"
        )
    for decimals in (_DECIMALS_OF_A_NUMBER_CELL, _THOUSANDS):
        if match := decimals.fullmatch(text):
            return re.sub(r"[.,']", "", match["number"])
    return text if _SIMPLE.fullmatch(text) else _strip_words(text)


def _formula_value(text: str) -> str:
    """The number in `="0098"` or `=0098`; other formulas are refused."""
    match = _CONSTANT.fullmatch(text)
    if match is None:
        raise MsisdnError("the cell is a spreadsheet formula, not a number")
    return (match["quoted"] if match["quoted"] is not None else match["plain"]).strip(_AROUND)


def _strip_words(text: str) -> str:
    if match := _LINK.match(text):
        text = f"+{match['digits']}{match['rest']}"
    if match := _URI_PARAMETERS.search(text):
        text, context = text[: match.start()], _CONTEXT.search(match[0])
        if _EXTENSION_PARAMETER.search(match[0]):
            raise MsisdnError(_EXTENSION)
        if context:
            text = _URI_SCHEME.sub("", text)
            text = context[1] + text if not text.startswith("+") else text
    if _EXTENSION_WORD.search(text):
        raise MsisdnError(_EXTENSION)
    for pattern in (_LABEL_BEFORE, _LABEL_AFTER):
        if match := pattern.fullmatch(text):
            words = set(filter(None, _BETWEEN_WORDS.split(fold_name(match["label"]))))
            if words & FAX_WORDS:
                raise MsisdnError("the cell is labelled as a fax number")
            if words <= LABELS:
                text = match["number"]
    return text.strip(_AROUND)


_NO_NUMBER: Final = "the cell has no number"
STRANGE_CHARACTERS: Final = "the cell has characters that are not part of a phone number"
_EXTENSION: Final = "the number has an extension, which cannot receive SMS"
_LONGEST_SPELLING: Final = 100
#: What has no meaning at the ends of a cell: text marks, quotes, blanks, commas.
_AROUND: Final = "'\" \r\n,;:._"
#: How programs write an empty value.
_EMPTY: Final = frozenset(
    {"", "null", "(null)", "nan", "none", "n/a", "#n/a", "na", "-", "--", "<na>"}
)
_SIMPLE: Final = re.compile(r"(?:\+(?! *(?:\+|00)))?[ ()\-]*[0-9][0-9 ()\-]*")
_CONSTANT: Final = re.compile(r'=\s*(?:"(?P<quoted>[^"]*)"?|(?P<plain>\+?[0-9 ()\-]+))')
_DOUBLED_PLUS: Final = re.compile(r"^\+[+ ]*(?:00(?=[ (]*[1-9]))?")
_SCIENTIFIC: Final = re.compile(r"\+?[0-9]+(?:[.,][0-9]+)?E\+?[0-9]+", re.IGNORECASE)
_DECIMALS_OF_A_NUMBER_CELL: Final = re.compile(r"(?P<number>\+?[0-9]{7,})[.,]0{1,2}")
#: 9,820,011,223 · 98,20,01,12,23 · 9.820.011.223,00 · 9'820'011'223.
_THOUSANDS: Final = re.compile(
    r"(?P<number>\+?[0-9]{1,3}(?P<mark>[,.'])[0-9]{2,3}(?:(?P=mark)[0-9]{2,3})+)"
    r"(?:(?!(?P=mark))[.,]0{1,2})?"
)
_LINK: Final = re.compile(
    r"(?:https?://)?(?:www\.|api\.)?(?:wa\.me/|whatsapp\.com/send/?\?phone=)\+?"
    r"(?P<digits>[0-9]{7,15})(?P<rest>.*)", re.IGNORECASE,
)  # fmt: skip
#: RFC 3966: `tel:863-1234;phone-context=+1-914-555;ext=12`.
_URI_SCHEME: Final = re.compile(r"^\s*[a-z]+:(?://)?", re.IGNORECASE)
_URI_PARAMETERS: Final = re.compile(r"[;?&][a-z][a-z-]*=.*$", re.IGNORECASE)
_EXTENSION_PARAMETER: Final = re.compile(r"[;?&]ext=", re.IGNORECASE)
_CONTEXT: Final = re.compile(r";phone-context=(\+[0-9 ()\-.]+)", re.IGNORECASE)
_EXTENSION_WORD: Final = re.compile(
    r"[0-9][\s,;)(-]*(?:(?:e?xte?n?(?:sion)?|x|poste|durchwahl|dw|int|interno|wew|ramal|anexo|toestel"
    r"|доб|вн)(?![^\W\d_])\.?|#)\s*[:.=]?\s*[0-9]{1,7}\)?$",
    re.IGNORECASE,
)
_IN_WORD: Final = r"[^\s0-9+()\[\].:#=/\\,;|&-]"  # combining marks too, unlike \w
_WORDS: Final = rf"{_IN_WORD}(?:{_IN_WORD}|[\s.'/&-])*"
_LABEL_BEFORE: Final = re.compile(
    rf"[(\[]?(?P<label>{_WORDS})[)\]]?[\s.:#=-]*(?://)?(?P<number>[+(]*[0-9].*)"
)
_LABEL_AFTER: Final = re.compile(rf"(?P<number>.*[0-9])[\s.:;,-]*[(\[]?(?P<label>{_WORDS})[)\]]?")
_BETWEEN_WORDS: Final = re.compile(r"[\s.'/&-]+")


class _Spelling(dict[int, int | str | None]):
    """For `str.translate`: turns any script's digits, spaces, dashes and quotes into ASCII."""

    def __missing__(self, code: int) -> int | str | None:
        char = chr(code)
        category = unicodedata.category(char)
        plain: int | str | None = code
        if category == "Nd":
            plain = str(unicodedata.decimal(char))
        elif category == "Cf" or has_invisible(char):
            plain = None
        elif category == "Pd" or char == "\N{MINUS SIGN}":
            plain = "-"
        elif category == "Zs" or char in "\t\v\f\x85":
            plain = " "
        self[code] = plain
        return plain


_SPELLING: Final = _Spelling(
    str.maketrans("＋﹢（）．／‘’‛ʼ`´“”＂：，；＝", "++()./''''''\"\"\":,;=")
)
