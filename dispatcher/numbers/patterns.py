"""Patterns of mobile numbers, compiled from the metadata of `phonenumbers`: a fast first answer.

A pattern matches only what the library would accept and read as the same number: its own patterns,
without anything that its parser might rewrite. Numbers that do not match must be parsed.

Each pattern also has an open form, for a number of which only the beginning is known: an `x` is a
digit that is not known. It matches only if every number that begins so would match.
"""

import re
from collections.abc import Callable
from functools import cache
from typing import Final, NamedTuple

import phonenumbers
from phonenumbers import PhoneMetadata, PhoneNumberDesc

#: A digit that is not known yet, in the open form of a pattern.
OPEN_DIGIT: Final = "x"


class _Form(NamedTuple):
    """How parts of a pattern are written: those that must match, and those that must not."""

    must: Callable[[str], str]
    must_not: Callable[[str], str]


def quick_answer(digits: str) -> int | None:
    """The number if the library surely accepts `+digits` as it is; None if it must be asked."""
    pattern, length = _pattern_for(digits[:3])
    return int(digits) if pattern and pattern.fullmatch(digits, length) else None


def is_open_answer(digits: str) -> bool:
    """Whether `quick_answer` has an answer for all numbers that `digits` and open digits become."""
    pattern, length = _pattern_for(digits[:3], is_open=True)
    return bool(pattern and pattern.fullmatch(digits, length))


def home_pattern(country: str, *, is_open: bool = False) -> re.Pattern[str] | None:
    """A pattern of the forms in which people write their own country's mobile numbers.

    Its group `subscriber` is the number without prefix. None if the country is not the main one of
    its calling code, or has no mobile numbers.
    """
    form = _OPEN if is_open else _EXACT
    code = str(phonenumbers.country_code_for_region(country))
    metadata = _main_metadata(code)
    if (
        metadata is None
        or metadata.id != country
        or not (subscriber := _subscriber_pattern(metadata, form))
    ):
        return None
    idd = metadata.international_prefix or "(?!)"
    general = form.must_not(_pattern_text(metadata.general_desc))
    national = rf"(?!{form.must_not(idd)})"
    not_national = rf"{national}(?!(?:{general})\Z)"
    prefixes = [rf"\+{code}", national, not_national + code]
    if idd == "00":
        prefixes.append(f"00{code}")
    trunk = metadata.national_prefix
    if trunk and trunk.isdecimal() and trunk == metadata.national_prefix_for_parsing:
        prefixes.append(rf"(?!{form.must_not(code)}){not_national}{trunk}")
    return re.compile(f"(?:{'|'.join(prefixes)}){subscriber}", re.ASCII)


@cache
def _pattern_for(first: str, *, is_open: bool = False) -> tuple[re.Pattern[str] | None, int]:
    """The pattern of numbers that begin with these three digits, and where it begins."""
    for length in (1, 2, 3):
        if pattern := _foreign_pattern(first[:length], is_open=is_open):
            return pattern, length
    return None, 0


def _foreign_pattern(code: str, *, is_open: bool) -> re.Pattern[str] | None:
    metadata = _main_metadata(code)
    form = _OPEN if is_open else _EXACT
    subscriber = _subscriber_pattern(metadata, form) if metadata else None
    return re.compile(subscriber, re.ASCII) if subscriber else None


def _main_metadata(code: str) -> PhoneMetadata | None:
    """The metadata that the library uses for `+code…`: that of the code's main country."""
    regions = phonenumbers.COUNTRY_CODE_TO_REGION_CODE.get(int(code)) if code.isdecimal() else None
    if not regions:
        return None
    return PhoneMetadata.metadata_for_region_or_calling_code(int(code), regions[0])


def _subscriber_pattern(metadata: PhoneMetadata, form: _Form) -> str | None:
    """A pattern of mobile numbers without prefix, by the rules of `number_type`; None if none.

    Leaves out numbers that begin like a national prefix, which the parser might strip, and types
    that `number_type` checks before mobile ones.
    """
    same = metadata.same_mobile_and_fixed_line_pattern
    mobile = _pattern_text(metadata.fixed_line if same else metadata.mobile)
    if not mobile:
        return None
    earlier_types = (
        metadata.premium_rate,
        metadata.toll_free,
        metadata.shared_cost,
        metadata.voip,
        metadata.personal_number,
        metadata.pager,
        metadata.uan,
        metadata.voicemail,
    )
    excluded = [
        rf"(?:{form.must_not(text)})\Z" for text in map(_pattern_text, earlier_types) if text
    ]
    if metadata.national_prefix_for_parsing:
        excluded.append(form.must_not(metadata.national_prefix_for_parsing))
    required = [
        form.must(_length_pattern(metadata.general_desc)),
        rf"(?:{form.must(_pattern_text(metadata.general_desc))})\Z",
    ]
    required.append(form.must(_length_pattern(metadata.fixed_line if same else metadata.mobile)))
    if metadata.leading_digits:
        required.append(form.must(metadata.leading_digits))
    guards = [*(f"(?!{text})" for text in excluded), *(f"(?={text})" for text in required)]
    return rf"{''.join(guards)}(?P<subscriber>{form.must(mobile)})\Z"


def _pattern_text(desc: PhoneNumberDesc | None) -> str:
    return (desc and desc.national_number_pattern) or ""


def _length_pattern(desc: PhoneNumberDesc | None) -> str:
    """A pattern of the possible lengths; it matches any length if none is given."""
    lengths = desc.possible_length if desc else ()
    return "|".join(rf"\d{{{length}}}\Z" for length in lengths)


def _match_every_digit(text: str) -> str:
    r"""A part that must match, with open digits: only `\d` takes every digit."""
    return text.replace(r"\d", f"[0-9{OPEN_DIGIT}]")


def _match_any_digit(text: str) -> str:
    """A part that must not match, with open digits: one of them could be what it looks for."""
    return _DIGITS.sub(_add_open_digit, text)


def _add_open_digit(match: re.Match[str]) -> str:
    part = match[0]
    if part == r"\d":
        return f"[0-9{OPEN_DIGIT}]"
    if part.startswith("["):
        return f"{part[:-1]}{OPEN_DIGIT}]"
    return f"[{part}{OPEN_DIGIT}]" if part.isdecimal() else part


#: What takes digits in the library's patterns, and counts, in which nothing is changed. They have
#: nothing else but groups and alternatives: above all no look-ahead, which would turn it around.
_DIGITS: Final = re.compile(r"\\d|\[[0-9-]+\]|\{[^}]*\}|[0-9]")
_EXACT: Final = _Form(str, str)
_OPEN: Final = _Form(_match_every_digit, _match_any_digit)
