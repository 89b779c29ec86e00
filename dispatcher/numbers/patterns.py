"""Patterns of mobile numbers, compiled from the metadata of `phonenumbers`: a fast first answer.

A pattern matches only what the library would accept and read as the same number: its own patterns,
without anything that its parser might rewrite. Numbers that do not match must be parsed.
"""

import re
from functools import cache

import phonenumbers
from phonenumbers import PhoneMetadata, PhoneNumberDesc


def quick_answer(digits: str) -> int | None:
    """The number if the library surely accepts `+digits` as it is; None if it must be asked."""
    for length in (1, 2, 3):
        if pattern := _foreign_pattern(digits[:length]):
            return int(digits) if pattern.fullmatch(digits, length) else None
    return None


def home_pattern(country: str) -> re.Pattern[str] | None:
    """A pattern of the forms in which people write their own country's mobile numbers.

    Its group `subscriber` is the number without prefix. None if the country is not the main one of
    its calling code, or has no mobile numbers.
    """
    code = str(phonenumbers.country_code_for_region(country))
    metadata = _main_metadata(code)
    if (
        metadata is None
        or metadata.id != country
        or not (subscriber := _subscriber_pattern(metadata))
    ):
        return None
    idd = metadata.international_prefix or "(?!)"
    national = rf"(?!{idd})"
    not_national = rf"{national}(?!(?:{_pattern_text(metadata.general_desc)})\Z)"
    prefixes = [rf"\+{code}", national, not_national + code]
    if idd == "00":
        prefixes.append(f"00{code}")
    trunk = metadata.national_prefix
    if trunk and trunk.isdecimal() and trunk == metadata.national_prefix_for_parsing:
        prefixes.append(rf"(?!{code}){not_national}{trunk}")
    return re.compile(f"(?:{'|'.join(prefixes)}){subscriber}", re.ASCII)


@cache
def _foreign_pattern(code: str) -> re.Pattern[str] | None:
    metadata = _main_metadata(code)
    subscriber = _subscriber_pattern(metadata) if metadata else None
    return re.compile(subscriber, re.ASCII) if subscriber else None


def _main_metadata(code: str) -> PhoneMetadata | None:
    """The metadata that the library uses for `+code…`: that of the code's main country."""
    regions = phonenumbers.COUNTRY_CODE_TO_REGION_CODE.get(int(code))
    if not regions:
        return None
    return PhoneMetadata.metadata_for_region_or_calling_code(int(code), regions[0])


def _subscriber_pattern(metadata: PhoneMetadata) -> str | None:
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
    excluded = [rf"(?:{text})\Z" for text in map(_pattern_text, earlier_types) if text]
    if metadata.national_prefix_for_parsing:
        excluded.append(metadata.national_prefix_for_parsing)
    required = [
        _length_pattern(metadata.general_desc),
        rf"(?:{_pattern_text(metadata.general_desc)})\Z",
    ]
    required.append(_length_pattern(metadata.fixed_line if same else metadata.mobile))
    if metadata.leading_digits:
        required.append(metadata.leading_digits)
    guards = [*(f"(?!{text})" for text in excluded), *(f"(?={text})" for text in required)]
    return rf"{''.join(guards)}(?P<subscriber>{mobile})\Z"


def _pattern_text(desc: PhoneNumberDesc | None) -> str:
    return (desc and desc.national_number_pattern) or ""


def _length_pattern(desc: PhoneNumberDesc | None) -> str:
    """A pattern of the possible lengths; it matches any length if none is given."""
    lengths = desc.possible_length if desc else ()
    return "|".join(rf"\d{{{length}}}\Z" for length in lengths)
