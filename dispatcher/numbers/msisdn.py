"""Reads phone numbers as people write them into E.164 digits, and masks them for people's eyes.

`phonenumbers` decides what can receive SMS; `patterns.py` answers first where both surely agree.
What a spreadsheet destroyed is refused, never guessed at.
"""

import re
import unicodedata
from functools import cache
from typing import Final

import phonenumbers
from phonenumbers import NumberParseException, PhoneNumber, PhoneNumberType, ValidationResult

from dispatcher.errors import ConfigError
from dispatcher.numbers.patterns import home_pattern, quick_answer


class MsisdnError(ValueError):
    """Why a cell is no number that can receive SMS: a sentence for a person, without the number."""


class NumberReader:
    """Reads numbers for one account; `country` (ISO 3166, "IN") is where national forms belong.

    With country None only international forms are readable: `+…`, `00…`, digits with country code.
    Raises ConfigError for a country the library does not know.
    """

    def __init__(self, country: str | None) -> None:
        if country is not None and country not in phonenumbers.SUPPORTED_REGIONS:
            raise ConfigError(
                f"country {country!r} has no telephone numbers",
                'give two letters, such as country = "IN"',
            )
        self._country = country
        self._home = home_pattern(country) if country else None
        self._home_code = str(phonenumbers.country_code_for_region(country)) if country else ""

    def read(self, raw: str) -> int:
        """The E.164 digits of a cell's only number; raises MsisdnError where it cannot take SMS."""
        if self._home and (match := self._home.fullmatch(raw.translate(_PLAIN_SPACING))):
            return int(self._home_code + match["subscriber"])
        return self._read_spelled(_to_ascii(raw))

    def _read_spelled(self, text: str) -> int:
        parts = [part for part in _BETWEEN_NUMBERS.split(text) if part.strip()]
        if len(parts) > 1 and any(self._is_number(part) for part in parts):
            raise MsisdnError("the cell holds more than one number")
        digits = text.translate(_SEPARATORS)
        if not _PLUS_AND_DIGITS.fullmatch(digits):
            raise MsisdnError("the cell has characters that no phone number has")
        if self._country is None:
            digits = _with_plus(digits)
        if digits.startswith("+") and (msisdn := quick_answer(digits[1:])):
            return msisdn
        # From some countries `00` is no prefix, or only the start of one; people write it anyway.
        readings = [digits, *(["+" + digits[2:]] if digits.startswith("00") else [])]
        answers = [self._ask_library(reading) for reading in readings]
        numbers = {answer for answer in answers if isinstance(answer, int)}
        if len(numbers) > 1:
            raise MsisdnError(
                "the number can be read in two ways: write it with + and country code"
            )
        if not numbers:
            raise MsisdnError(answers[-1])
        return numbers.pop()

    def _is_number(self, text: str) -> bool:
        try:
            self._read_spelled(text)
        except MsisdnError:
            return False
        return True

    def _ask_library(self, digits: str) -> int | str:
        """The E.164 digits, or why there are none."""
        try:
            number = phonenumbers.parse(digits, self._country)
        except NumberParseException as error:
            return _PARSE_REASONS.get(error.error_type, "the cell is not a phone number")
        if phonenumbers.is_valid_number(number) and (
            phonenumbers.number_type(number) in _CAN_RECEIVE_SMS
        ):
            return int(phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164))
        return _refusal_reason(number)


def mask_number(msisdn: int | str) -> str:
    """`9198••••4321`: what logs, errors and screens show; numbers under 12 digits show less."""
    digits = "".join(filter(str.isdecimal, str(msisdn)))
    shown = 4 if len(digits) >= 12 else 2 if len(digits) >= 8 else 0
    return f"{digits[:shown]}••••{digits[len(digits) - shown :]}"


def calling_code(msisdn: int) -> int:
    """The country calling code that E.164 digits begin with; raises MsisdnError where none does."""
    return _code_that_begins(str(msisdn)[:3])


@cache
def _code_that_begins(digits: str) -> int:
    for length in (1, 2, 3):  # ITU-T E.164: no code is the beginning of another
        if (code := int(digits[:length])) in phonenumbers.COUNTRY_CODE_TO_REGION_CODE:
            return code
    raise MsisdnError(_UNKNOWN_CALLING_CODE)


_UNKNOWN_CALLING_CODE: Final = "no country has the number's calling code"
_CAN_RECEIVE_SMS: Final = {PhoneNumberType.MOBILE, PhoneNumberType.FIXED_LINE_OR_MOBILE}
_TYPE_REASONS: Final = {
    PhoneNumberType.FIXED_LINE: "the number is a fixed line, which cannot receive SMS",
    PhoneNumberType.TOLL_FREE: "the number is a toll-free one, which cannot receive SMS",
    PhoneNumberType.PREMIUM_RATE: "the number is a premium-rate one, which is never texted",
    PhoneNumberType.SHARED_COST: "the number is a shared-cost one, which cannot receive SMS",
    PhoneNumberType.VOIP: "the number is an internet telephone, not a mobile",
    PhoneNumberType.PERSONAL_NUMBER: "the number is a forwarding one, not a mobile",
    PhoneNumberType.PAGER: "the number is a pager, not a mobile",
    PhoneNumberType.UAN: "the number is a company's access number, not a mobile",
    PhoneNumberType.VOICEMAIL: "the number is a voice mailbox, not a mobile",
}
_PARSE_REASONS: Final = {
    NumberParseException.INVALID_COUNTRY_CODE: _UNKNOWN_CALLING_CODE,
    NumberParseException.TOO_SHORT_AFTER_IDD: "the number is too short",
    NumberParseException.TOO_SHORT_NSN: "the number is too short",
    NumberParseException.TOO_LONG: "the number is too long",
}
_LENGTH_REASONS: Final = {
    ValidationResult.IS_POSSIBLE_LOCAL_ONLY: "is too short",
    ValidationResult.TOO_SHORT: "is too short",
    ValidationResult.TOO_LONG: "is too long",
    ValidationResult.INVALID_LENGTH: "has a wrong number of digits",
}


def _refusal_reason(number: PhoneNumber) -> str:
    """Why a number that could be parsed cannot receive SMS."""
    if reason := _TYPE_REASONS.get(phonenumbers.number_type(number)):
        return reason
    length = _LENGTH_REASONS.get(phonenumbers.is_possible_number_with_reason(number))
    if length:
        return f"the number {length} for country code {number.country_code}"
    return f"the number is in no range that country code {number.country_code} has given out"


_PLAIN_SPACING: Final = dict.fromkeys(map(ord, " -()"))
_SEPARATORS: Final = dict.fromkeys(map(ord, " -()./"))
_BETWEEN_NUMBERS: Final = re.compile(r"[/,;|&\n]|\b(?:and|or)\b", re.IGNORECASE)
_PLUS_AND_DIGITS: Final = re.compile(r"\+?[0-9]+")
_SCIENTIFIC: Final = re.compile(r"\+?[0-9]+(?:[.,][0-9]+)?E\+?[0-9]+", re.IGNORECASE)
_DECIMALS_OF_A_NUMBER_CELL: Final = re.compile(r"(\+?[0-9]{7,})[.,]0{1,2}")
_LONGEST_SPELLING: Final = 100


class _Spelling(dict[int, int | str | None]):
    """For `str.translate`: any script's digits, spaces, dashes and quotes as the ASCII ones."""

    def __missing__(self, code: int) -> int | str | None:
        char = chr(code)
        category = unicodedata.category(char)
        plain: int | str | None = code
        if category == "Nd":
            plain = str(unicodedata.decimal(char))
        elif category == "Cf":  # direction marks and other invisible characters
            plain = None
        elif category == "Pd" or char == "\N{MINUS SIGN}":
            plain = "-"
        elif category == "Zs" or char == "\t":
            plain = " "
        self[code] = plain
        return plain


_SPELLING: Final = _Spelling(str.maketrans("＋（）．／‘’`´", "+()./''''"))


def _to_ascii(raw: str) -> str:
    """The cell in ASCII without what spreadsheets add; MsisdnError for what they destroy."""
    if len(raw) > _LONGEST_SPELLING:
        raise MsisdnError("the cell is too long to be a phone number")
    text = raw.translate(_SPELLING).strip("' \r\n")
    if not text:
        raise MsisdnError("the cell has no number")
    if text.startswith("="):
        raise MsisdnError("the cell is a spreadsheet formula, not a number")
    if _SCIENTIFIC.fullmatch(text):
        raise MsisdnError(
            "digits were lost by the spreadsheet: format the column as text and export it again"
        )
    if match := _DECIMALS_OF_A_NUMBER_CELL.fullmatch(text):
        return match[1]
    return text


def _with_plus(digits: str) -> str:
    """Digits as `+…` for an account without a country."""
    if digits.startswith("00"):
        return "+" + digits[2:]
    if digits.startswith("0"):
        raise MsisdnError(
            "the number has no country code, and the account has no country to read it by"
        )
    return digits if digits.startswith("+") else "+" + digits
