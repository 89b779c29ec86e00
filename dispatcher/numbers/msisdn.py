"""Reads phone numbers as people write them into E.164 digits.

`phonenumbers` decides which numbers can receive SMS; `patterns.py` is asked first, for speed. What
can be read in two ways is refused, never guessed.
"""

import re
from collections.abc import Sequence
from functools import cache
from operator import add
from typing import Final

import phonenumbers
from phonenumbers import NumberParseException, PhoneNumber, PhoneNumberType, ValidationResult

from dispatcher.errors import ConfigError
from dispatcher.numbers.masking import mask_number
from dispatcher.numbers.patterns import OPEN_DIGIT, home_pattern, is_open_answer, quick_answer
from dispatcher.numbers.spelling import STRANGE_CHARACTERS, MsisdnError, strip_spelling

__all__ = ["MsisdnError", "NumberReader", "calling_code", "mask_number", "parse_country"]


class NumberReader:
    """Reads numbers for one account; national forms are read as numbers of `country` ("IN").

    With country None it reads only international forms: `+…`, `00…`, digits with country code.
    Raises ConfigError if `country` is not an ISO 3166 code with telephone numbers.
    """

    def __init__(self, country: str | None) -> None:
        if country is not None and country not in phonenumbers.SUPPORTED_REGIONS:
            raise ConfigError(
                f"country {country!r} is not a country with telephone numbers",
                'give two letters, such as country = "IN"',
            )
        self._country = country
        self._home = home_pattern(country) if country else None
        self._open_home = home_pattern(country, is_open=True) if country else None
        #: Numbers by how their cells begin, with zeros for the last digits; 0: these matter.
        self._beginnings: dict[str, int] = {}
        #: Why cells of the latest block have no number: each is asked for again, to be explained.
        self._refusals: dict[str, str] = {}
        self._home_code = str(phonenumbers.country_code_for_region(country)) if country else ""

    def read(self, raw: str) -> int:
        """The E.164 digits of a cell's only number; raises MsisdnError if it cannot receive SMS."""
        # For the usual cells this is faster than `translate`.
        plain = raw.replace(" ", "").replace("-", "").replace("(", "").replace(")", "")
        match = self._home and self._home.fullmatch(plain)
        if match and not ("-" in raw[-4:] and _SHORT_TAIL.search(raw)):
            return int(self._home_code + match["subscriber"])
        if (refusal := self._refusals.get(raw)) is not None:
            raise MsisdnError(refusal)
        return self._read_stripped(strip_spelling(raw))

    def read_cells(self, cells: Sequence[str]) -> list[int | None]:
        """The numbers of many cells, as `read` returns them; None where it raises MsisdnError.

        Most numbers are known by their beginning: whatever the last digits are, it is the number of
        a mobile.
        """
        known = self._beginnings
        self._refusals.clear()
        tails = [cell[-_OPEN_TAIL:] for cell in cells]
        beginnings = [cell[:-_OPEN_TAIL] for cell in cells]
        for beginning in {*beginnings}.difference(known):
            self._learn_beginning(beginning)
        starts = [known.get(beginning, 0) for beginning in beginnings]
        if all(starts) and "".join(tails).isdecimal():
            return [*map(add, starts, map(int, tails))]
        return [
            start + int(tail) if start and tail.isdecimal() else self._read_or_none(cell)
            for start, tail, cell in zip(starts, tails, cells, strict=True)
        ]

    def _learn_beginning(self, beginning: str) -> None:
        if len(self._beginnings) < _MOST_BEGINNINGS:
            self._beginnings[beginning] = self._find_beginning(beginning)

    def _find_beginning(self, beginning: str) -> int:
        """The number with zeros for its last digits if these do not matter; else 0."""
        plain = beginning.translate(_HOME_SEPARATORS) + OPEN_DIGIT * _OPEN_TAIL
        if match := self._open_home and self._open_home.fullmatch(plain):
            digits = self._home_code + match["subscriber"]
        elif _PLUS_AND_DIGITS.fullmatch(beginning) and not beginning.startswith(_REWRITTEN):
            digits = beginning.removeprefix("+") + OPEN_DIGIT * _OPEN_TAIL
            is_international = beginning.startswith("+") or self._country is None
            if not is_international or not is_open_answer(digits):
                return 0
        else:
            return 0
        return int(digits.replace(OPEN_DIGIT, "0"))

    def _read_or_none(self, cell: str) -> int | None:
        try:
            return self.read(cell)
        except MsisdnError as error:
            self._refusals[cell] = str(error)
            return None

    def _read_stripped(self, text: str) -> int:
        if _PLUS_AND_DIGITS.fullmatch(text):
            return self._read_one(text)
        parts = [part for part in _BETWEEN_NUMBERS.split(text) if any(map(str.isdecimal, part))]
        if len(parts) > 1 and any(map(self._is_number, parts)):
            raise MsisdnError(_SEVERAL)
        if (tail := _SHORT_TAIL.search(text)) and self._is_number(text[: tail.start()]):
            raise MsisdnError("the number ends in an extension, or in that of a second number")
        try:
            return self._read_one(text)
        except MsisdnError:
            if self._is_pair(text):
                raise MsisdnError(_SEVERAL) from None
            raise

    def _read_one(self, text: str) -> int:
        digits = text.translate(_SEPARATORS)
        if not _PLUS_AND_DIGITS.fullmatch(digits):
            raise MsisdnError(STRANGE_CHARACTERS)
        if self._country is None:
            digits = _with_plus(digits)
        if former := _FORMER_MEXICAN_MOBILE.fullmatch(digits):
            digits = f"+52{former[1]}"
        elif self._country == "MX" and (former := _FORMER_MEXICAN_PREFIX.fullmatch(digits)):
            digits = former[1]
        if digits.startswith("+") and (msisdn := quick_answer(digits[1:])):
            return msisdn
        # In some countries `00` is not a prefix, or only the start of one; people write it anyway.
        readings = [digits, *(["+" + digits[2:]] if digits.startswith("00") else [])]
        answers = [self._ask_library(reading) for reading in readings]
        numbers = {answer for answer in answers if isinstance(answer, int)}
        if len(numbers) > 1:
            raise MsisdnError(
                "the number can be read in two ways; write it with + and country code"
            )
        if not numbers:
            raise MsisdnError(answers[-1])
        return numbers.pop()

    def _is_number(self, text: str) -> bool:
        try:
            self._read_one(text)
        except MsisdnError:
            return False
        return True

    def _is_pair(self, text: str) -> bool:
        """Whether the groups of digits are two numbers beside each other."""
        groups = _DIGIT_GROUP.findall(text)
        if sum(map(len, groups)) < 2 * _FEWEST_DIGITS:
            return False
        return any(
            self._is_number("".join(groups[:end])) and self._is_number("".join(groups[end:]))
            for end in range(1, len(groups))
        )

    def _ask_library(self, digits: str) -> int | str:
        """The E.164 digits, or the reason why the number cannot receive SMS."""
        try:
            number = phonenumbers.parse(digits, self._country)
        except NumberParseException as error:
            return _PARSE_REASONS.get(error.error_type, "the cell is not a phone number")
        if phonenumbers.is_valid_number(number) and (
            phonenumbers.number_type(number) in _CAN_RECEIVE_SMS
        ):
            return int(phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164))
        return _refusal_reason(number)


def parse_country(given: str) -> str:
    """The ISO 3166 code of a country, in capitals. Raises ConfigError if it has no numbers."""
    country = given.strip().upper()
    NumberReader(country)
    return country


def calling_code(msisdn: int) -> int:
    """The calling code of E.164 digits; raises MsisdnError if they begin with no known code."""
    return _code_that_begins(str(msisdn)[:3])


@cache
def _code_that_begins(digits: str) -> int:
    for length in (1, 2, 3):  # ITU-T E.164: a code never begins with another one
        if (code := int(digits[:length])) in phonenumbers.COUNTRY_CODE_TO_REGION_CODE:
            return code
    raise MsisdnError(_UNKNOWN_CALLING_CODE)


_UNKNOWN_CALLING_CODE: Final = "the number's calling code does not exist"
_CAN_RECEIVE_SMS: Final = {PhoneNumberType.MOBILE, PhoneNumberType.FIXED_LINE_OR_MOBILE}
_TYPE_REASONS: Final = {
    PhoneNumberType.FIXED_LINE: "the number is a fixed line, which cannot receive SMS",
    PhoneNumberType.TOLL_FREE: "the number is toll-free, and cannot receive SMS",
    PhoneNumberType.PREMIUM_RATE: "the number is premium-rate; such numbers are never texted",
    PhoneNumberType.SHARED_COST: "the number is shared-cost, and cannot receive SMS",
    PhoneNumberType.VOIP: "the number is an internet telephone, not a mobile",
    PhoneNumberType.PERSONAL_NUMBER: "the number only forwards calls; it is not a mobile",
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
    """Why a parsed number cannot receive SMS."""
    if reason := _TYPE_REASONS.get(phonenumbers.number_type(number)):
        return reason
    length = _LENGTH_REASONS.get(phonenumbers.is_possible_number_with_reason(number))
    if length:
        return f"the number {length} for country code {number.country_code}"
    return f"the number is not in a range that country code {number.country_code} has assigned"


_SEPARATORS: Final = dict.fromkeys(map(ord, " -()./"))
_HOME_SEPARATORS: Final = dict.fromkeys(map(ord, " -()"))
#: So many digits at the end are left open: with fewer, there are too many beginnings to know.
_OPEN_TAIL: Final = 5
_MOST_BEGINNINGS: Final = 100_000
#: Beginnings of what is not read as it is written: a doubled prefix, and Mexico's former ones.
_REWRITTEN: Final = ("0", "+0", "+521", "521")
_SEVERAL: Final = "the cell holds more than one number"
_BETWEEN_NUMBERS: Final = re.compile(
    r"[/\\,;|&\n\r•·‧、،؛]| {2,}| - |(?<=[0-9)])\s*(?=\+)|\s[^\W\d_]{1,5}\s"
)
_PLUS_AND_DIGITS: Final = re.compile(r"\+?[0-9]+")
#: No country has shorter mobile numbers, with their prefix.
_FEWEST_DIGITS: Final = 7
_DIGIT_GROUP: Final = re.compile(r"\+?[0-9]+")
#: One or two digits behind a dash: no country groups its numbers so at the end of a valid one.
_SHORT_TAIL: Final = re.compile(r" *- ?[0-9]{1,2} ?\Z")
#: Mexico dropped the mobile prefixes in 2019: the 1 from abroad, 044, 045 and 01 at home.
_FORMER_MEXICAN_MOBILE: Final = re.compile(r"(?:\+|00)?521([0-9]{10})")
_FORMER_MEXICAN_PREFIX: Final = re.compile(r"(?:044|045|01)([0-9]{10})")


def _with_plus(digits: str) -> str:
    """Digits as `+…` for an account without a country."""
    if digits.startswith("00"):
        return "+" + digits[2:]
    if digits.startswith("0"):
        raise MsisdnError(
            "the number has no country code, and the account has no `country` to read it with"
        )
    return digits if digits.startswith("+") else "+" + digits
