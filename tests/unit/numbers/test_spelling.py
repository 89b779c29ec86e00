"""What is written around a number: taken off where it says nothing, refused where it matters."""

import pytest

from dispatcher.errors import ConfigError
from dispatcher.numbers.msisdn import MsisdnError, NumberReader, parse_country

ASHA = 919820011223

READ = {
    # Links and URIs
    "tel:+91-98200-11223": ASHA,
    "TEL:9820011223": ASHA,
    "tel://+919820011223": ASHA,
    "sms:+919820011223?body=hi": ASHA,
    "callto:+919820011223": ASHA,
    "tel:98200-11223;phone-context=+91": ASHA,
    "tel:+91-98200-11223;cpc=ordinary": ASHA,
    "https://wa.me/919820011223": ASHA,
    "https://api.whatsapp.com/send?phone=919820011223&text=hi": ASHA,
    # Labels
    "Mobile: 98200 11223": ASHA,
    "Mob. 98200 11223": ASHA,
    "M 9820011223": ASHA,
    "(M) 98200 11223": ASHA,
    "Ph.No. 98200-11223": ASHA,
    "WhatsApp +91 98200 11223": ASHA,
    "98200 11223 (mobile)": ASHA,
    "98200 11223 - home": ASHA,
    "+91 98200 11223 WhatsApp": ASHA,
    "Handy: +91 98200 11223": ASHA,
    "Тел.: +91 98200 11223": ASHA,
    "मोबाइल: ९८२०० ११२२३": ASHA,
    "手机：9820011223": ASHA,
    # Spreadsheets
    '="09820011223"': ASHA,
    '="+91 98200 11223"': ASHA,
    "=9820011223": ASHA,
    "=+919820011223": ASHA,
    "'+919820011223": ASHA,
    '\'="9820011223"': ASHA,
    '"9820011223"': ASHA,
    "9,820,011,223": ASHA,
    "9,820,011,223.00": ASHA,
    "98,20,01,12,23": ASHA,
    "9.820.011.223": ASHA,
    "9.820.011.223,00": ASHA,
    "9'820'011'223": ASHA,
    "+919,820,011,223": ASHA,
    "919820011223.0": ASHA,
    # Slips
    "9820011223,": ASHA,
    "9820011223.": ASHA,
    "+91 98200 11223;": ASHA,
    "++91 98200 11223": ASHA,
    "+0091 98200 11223": ASHA,
    "+ 91 98200 11223": ASHA,
    "+91\ufe0f 9820011224": 919820011224,
    "＋９１ ９８２００ １１２２３": ASHA,
}
REFUSED = {
    "+1 650 253 0000 ext. 12": "an extension",
    "+1 650 253 0000 x12": "an extension",
    "+1 650 253 0000, extension 12": "an extension",
    "+1 650 253 0000#12": "an extension",
    "tel:+1-650-253-0000;ext=12": "an extension",
    "9820011223 (ext 4)": "an extension",
    "+43 664 1234567-8": "an extension",
    "Fax: +91 98200 11223": "fax",
    "98200 11223 (Fax)": "fax",
    "98200 11223 / 98200 11224": "more than one number",
    "98200 11223 \\ 98200 11224": "more than one number",
    "98200 11223 & 98200 11224": "more than one number",
    "98200 11223 und 98200 11224": "more than one number",
    "98200 11223 y 98200 11224": "more than one number",
    "98200 11223 или 98200 11224": "more than one number",
    "98200 11223\t98200 11224": "more than one number",
    "98200 11223  98200 11224": "more than one number",
    "98200 11223 98200 11224": "more than one number",
    "98200 11223 - 98200 11224": "more than one number",
    "98200-11223-98200-11224": "more than one number",
    "98200 11223 • 98200 11224": "more than one number",
    "98200 11223、98200 11224": "more than one number",
    "98200 11223\n98200 11224": "more than one number",
    "+919820011223+919820011224": "more than one number",
    "+91 98200 11223 (98200 11224)": "more than one number",
    "M: 98200 11223, H: 98200 11224": "more than one number",
    "06641234567/8": "country code 91",
    "Asha 9820011223": "characters",
    "9820011223 ask for Ravi": "characters",
    "98200I1223": "characters",
    '=HYPERLINK("tel:9820011223")': "formula",
    "=A1+B2": "formula",
    "NULL": "no number",
    "nan": "no number",
    "#N/A": "no number",
    "-": "no number",
    "9.82001E+9": "dropped digits",
}


@pytest.mark.parametrize(("raw", "msisdn"), READ.items())
def test_what_says_nothing_around_a_number_is_taken_off(raw, msisdn):
    assert NumberReader("IN").read(raw) == msisdn


@pytest.mark.parametrize(("raw", "reason"), REFUSED.items())
def test_what_could_be_sent_wrong_is_refused(raw, reason):
    with pytest.raises(MsisdnError, match=reason):
        NumberReader("IN").read(raw)


@pytest.mark.parametrize("country", ["AT", "DE", "FI", "ID"])
@pytest.mark.parametrize("tail", ["-1", "-12", " - 3", "/8", " / 12"])
def test_a_short_tail_is_never_part_of_a_number_of_variable_length(country, tail):
    """Austria's 0664 1234567 and 0664 12345678 are both valid numbers."""
    number = {"AT": "0664 1234567", "DE": "0171 2345671", "FI": "040 123456", "ID": "0812 345 678"}
    reader = NumberReader(country)
    assert reader.read(number[country])
    with pytest.raises(MsisdnError):
        reader.read(number[country] + tail)


@pytest.mark.parametrize(
    ("country", "raw"),
    [
        ("MX", "+52 1 55 1234 5678"), ("MX", "5215512345678"), ("MX", "00 52 1 55 1234 5678"),
        ("MX", "044 55 1234 5678"), ("MX", "045 55 1234 5678"), ("MX", "01 55 1234 5678"),
        ("MX", "55 1234 5678"), ("IN", "+52 1 55 1234 5678"), (None, "5215512345678"),
        (None, "+521 55 1234 5678"),
    ],
)  # fmt: skip
def test_mexican_mobiles_of_before_2019_are_those_of_today(country, raw):
    assert NumberReader(country).read(raw) == 525512345678


@pytest.mark.parametrize(("given", "country"), [("in", "IN"), ("IN", "IN"), (" de ", "DE")])
def test_a_country_is_given_in_any_case(given, country):
    assert parse_country(given) == country


@pytest.mark.parametrize("given", ["XX", "India", "", "91"])
def test_what_is_not_a_country_is_wrong_usage(given):
    with pytest.raises(ConfigError):
        parse_country(given)
