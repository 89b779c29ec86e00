"""Numbers as people write them: how each is read, and why others are refused.

The patterns must agree with the library.
"""

import random

import phonenumbers
import pytest
from phonenumbers import PhoneNumberType

from dispatcher.errors import ConfigError
from dispatcher.numbers.msisdn import MsisdnError, NumberReader, calling_code, mask_number

READ_IN_INDIA = {
    "+91 98200 11223": 919820011223,
    "98200-11224": 919820011224,
    "(098200) 11225": 919820011225,
    "0091 98200 11226": 919820011226,
    "919820011227": 919820011227,
    "'+919820011228": 919820011228,
    "\u2019+919820011228": 919820011228,
    "\u202a+919820011229\u202c": 919820011229,
    "\ufeff9820011229": 919820011229,
    "9820011230.0": 919820011230,
    "+919820011230,00": 919820011230,
    "+91\xa098200\xa011231": 919820011231,
    "+९१ ९८२०० ११२३२": 919820011232,
    "٩٨٢٠٠١١٢٣٣": 919820011233,
    "+91 982001 1234": 919820011234,
    "+91\u201198200\u201111235": 919820011235,
    "(+91) 98200.11236": 919820011236,
    "98200/11237": 919820011237,
    "\t9820011238\r\n": 919820011238,
    "+91 (0) 98200 11239": 919820011239,
    "+1 650 253 0000": 16502530000,
    "+44 7400 123456": 447400123456,
    "+44 (0)7400 123456": 447400123456,
    "0044 7400 123456": 447400123456,
    "+39 312 345 6789": 393123456789,
}

REFUSED_IN_INDIA = {
    "": "no number",
    " \xa0 ": "no number",
    "'": "no number",
    "9.82001E+11": "the spreadsheet has dropped digits",
    "9,82001e+11": "the spreadsheet has dropped digits",
    "9E11": "the spreadsheet has dropped digits",
    "12345": "too short",
    "+91 98200 112233445": "too long",
    "+91 22 2202 0000": "fixed line",
    "022 2202 0000": "fixed line",
    "+999 1234 5678": "calling code does not exist",
    "982001000000": "country code 91",
    "447400123456": "country code 91",
    "98200 11234 / 98200 11235": "more than one number",
    "98200 11234, 98200 11235": "more than one number",
    "98200 11234\n98200 11235": "more than one number",
    "9820011234 or 9820011235": "more than one number",
    "98200 11234 98200 11235": "more than one number",
    "+919820011234+919820011235": "more than one number",
    '=HYPERLINK("x")': "formula",
    "98200 1122x": "characters",
    "+1 650 253 0000 ext. 12": "an extension",
    "call me": "characters",
    "²²²²²²²²²²": "characters",
    "1800 123 456": "toll-free",
    "+44 20 7031 3000": "fixed line",
    "+44 70 1234 5678": "only forwards calls",
    "+1 800 253 0000": "toll-free",
    "+870 773 111 632 999": "not in a range",
    "9" * 10_000: "too long",
}


@pytest.mark.parametrize(("raw", "msisdn"), READ_IN_INDIA.items())
def test_an_indian_account_reads(raw, msisdn):
    assert NumberReader("IN").read(raw) == msisdn


@pytest.mark.parametrize(("raw", "reason"), REFUSED_IN_INDIA.items())
def test_an_indian_account_refuses_with_a_reason(raw, reason):
    with pytest.raises(MsisdnError, match=reason) as caught:
        NumberReader("IN").read(raw)
    assert "11234" not in str(caught.value), "the reason is logged, so it holds no number"


@pytest.mark.parametrize(
    ("raw", "msisdn"),
    [
        ("+91 98200 11223", 919820011223),
        ("0091 98200 11223", 919820011223),
        ("919820011223", 919820011223),
        ("447400123456", 447400123456),
    ],
)
def test_without_a_country_international_forms_are_read(raw, msisdn):
    assert NumberReader(None).read(raw) == msisdn


def test_without_a_country_a_national_form_is_refused():
    with pytest.raises(MsisdnError, match="no country code, and the account has no `country`"):
        NumberReader(None).read("098200 11223")


def test_double_zero_is_a_plus_even_where_another_prefix_is_dialled():
    assert NumberReader("US").read("00 44 7400 123456") == 447400123456
    assert NumberReader("US").read("011 44 7400 123456") == 447400123456


def test_a_number_with_two_readings_is_refused():
    """In Singapore 001 dials abroad: Singapore's own 8234 5678, or Jamaica's +1 658 234 5678?"""
    with pytest.raises(MsisdnError, match="two ways"):
        NumberReader("SG").read("00 1 658 234 5678")


@pytest.mark.parametrize("country", ["XX", "in", ""])
def test_an_unknown_country_is_a_configuration_error(country):
    with pytest.raises(ConfigError, match="not a country with telephone"):
        NumberReader(country)


@pytest.mark.parametrize(
    ("msisdn", "masked"),
    [
        (919812344321, "9198••••4321"),
        ("+91 98123 44321", "9198••••4321"),
        (123456789012345, "1234••••2345"),
        (4520123456, "45••••56"),
        (12345678, "12••••78"),
        (1234567, "••••"),
        ("", "••••"),
        ("nobody", "••••"),
    ],
)
def test_a_masked_number_shows_its_ends_only(msisdn, masked):
    assert mask_number(msisdn) == masked


@pytest.mark.parametrize(
    ("msisdn", "code"),
    [
        (919820011223, 91),
        (16502530000, 1),
        (447400123456, 44),
        (35361234567, 353),
        (77012345678, 7),
    ],
)
def test_the_calling_code_is_the_beginning(msisdn, code):
    assert calling_code(msisdn) == code


def test_digits_without_a_known_calling_code_are_refused():
    with pytest.raises(MsisdnError, match="calling code does not exist"):
        calling_code(99912345678)


# --- Agreement with the library ---------------------------------------------------------------

SEED = 20_240_229
NUMBERS_PER_REGION = 25


def library_reading(text, country):
    """The answer of `phonenumbers` alone: the E.164 digits, or None if SMS cannot be received."""
    try:
        number = phonenumbers.parse(text, country)
    except phonenumbers.NumberParseException:
        return None
    types = {PhoneNumberType.MOBILE, PhoneNumberType.FIXED_LINE_OR_MOBILE}
    if not phonenumbers.is_valid_number(number) or phonenumbers.number_type(number) not in types:
        return None
    return int(f"{number.country_code}{phonenumbers.national_significant_number(number)}")


def our_reading(reader, text):
    try:
        return reader.read(text)
    except MsisdnError:
        return None


def random_subscriber(rng, region):
    """A number near a real range: an example with its end, and at times its length, at random."""
    mobile_half = [PhoneNumberType.MOBILE] * len(PhoneNumberType.values())
    kind = rng.choice([*PhoneNumberType.values(), *mobile_half])
    example = phonenumbers.national_significant_number(
        phonenumbers.example_number_for_type(region, kind) or phonenumbers.example_number(region)
    )
    kept = rng.randrange(len(example))
    length = len(example) + rng.choice((0, 0, 0, 0, 0, -1, 1))
    return (example[:kept] + "".join(rng.choices("0123456789", k=length)))[:length]


def random_spelling(rng, region, subscriber):
    code = phonenumbers.country_code_for_region(region)
    trunk = phonenumbers.ndd_prefix_for_region(region, True) or ""
    prefix = rng.choice([f"+{code}", f"00{code}", str(code), trunk, ""])
    return prefix + subscriber


def dials_abroad_with_other_than_00(region):
    return phonenumbers.PhoneMetadata.metadata_for_region(region).international_prefix != "00"


def test_in_every_region_random_numbers_are_read_as_the_library_reads_them():
    rng = random.Random(SEED)
    accepted = 0
    for region in sorted(phonenumbers.SUPPORTED_REGIONS):
        home, anywhere = NumberReader(region), NumberReader(None)
        for _ in range(NUMBERS_PER_REGION):
            text = random_spelling(rng, region, random_subscriber(rng, region))
            if text.startswith("00") and dials_abroad_with_other_than_00(region):
                continue  # we read `00` as a plus there too; the library does not
            expected = library_reading(text, region)
            assert our_reading(home, text) == expected, f"{text} read in {region}"
            accepted += expected is not None
            if text.startswith("+"):
                assert our_reading(anywhere, text) == expected, f"{text} read without a country"
    assert accepted > 1250, "too few of them are numbers for this test to mean anything"


@pytest.mark.parametrize(
    ("country", "text"),
    [
        ("DE", "4916362219936"),  # 13 digits are possible in Germany: not its code and a mobile
        ("CO", "03333010747"),  # Colombia's trunk prefix is 0 only before some numbers
    ],
)
def test_a_number_that_begins_like_a_prefix_is_left_to_the_library(country, text):
    assert library_reading(text, country) is None
    assert our_reading(NumberReader(country), text) is None


def test_random_indian_numbers_are_read_as_the_library_reads_them():
    """India's ranges of fixed and mobile lines are interleaved: the place for false accepts."""
    rng, reader = random.Random(SEED), NumberReader("IN")
    texts = [f"{rng.randrange(10**9, 10**10)}" for _ in range(4_000)]
    expected = [library_reading(text, "IN") for text in texts]
    assert [our_reading(reader, text) for text in texts] == expected
    assert 1200 < sum(reading is not None for reading in expected) < 2800
