"""Time zones as written, the zones a number may be in, and the keys that recipients share."""

import zoneinfo
from collections import defaultdict
from datetime import timedelta, timezone
from functools import cache
from importlib.resources import files
from zoneinfo import ZoneInfo

import phonenumbers
import pytest

from dispatcher.windows.recipient_zones import (
    ZoneSource,
    possible_zones,
    recipient_zone,
    zone_key,
    zones_of_key,
)
from dispatcher.windows.zone_names import ZoneError, parse_zone, zone_name
from tests.unit.windows.clocks import changes, every_zone

PARIS = ZoneInfo("Europe/Paris")
SECOND = timedelta(seconds=1)


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("Asia/Kolkata", "Asia/Kolkata"),
        (" asia/KOLKATA ", "Asia/Kolkata"),
        ("america/argentina/buenos_aires", "America/Argentina/Buenos_Aires"),
        ("UTC", "UTC"),
        ("utc", "UTC"),
        ("Etc/GMT+5", "Etc/GMT+5"),
        ("+05:30", "+05:30"),
        ("+0530", "+05:30"),
        ("+5", "+05:00"),
        ("-03:30", "-03:30"),
        ("−03:30", "-03:30"),
        ("UTC+2", "+02:00"),
        ("gmt-3:30", "-03:30"),
        ("UTC +05:45", "+05:45"),
        ("+14:00", "+14:00"),
        ("+00:00", "+00:00"),
    ],
)
def test_a_zone_is_read_as_people_write_it(text, name):
    assert zone_name(parse_zone(text)) == name


@pytest.mark.parametrize(
    "text",
    ["", "IST", "Factory", "localtime", "Paris", "../Asia/Kolkata", "05:30", "+5:3", "+05:60",
     "+14:01", "+24", "UTC+", "+05:30:00", "x" * 999],
)  # fmt: skip
def test_an_invalid_zone_is_refused_in_a_short_sentence(text):
    with pytest.raises(ZoneError, match="is not a valid time zone; write Asia/Kolkata") as refused:
        parse_zone(text)
    assert len(str(refused.value)) < 120


def test_every_zone_is_written_and_read_as_itself():
    for name in every_zone():
        assert zone_name(parse_zone(name)) == name
        assert parse_zone(name.upper()) is parse_zone(name)


def test_the_rules_are_those_of_the_package_whatever_the_operating_system_has():
    assert zoneinfo.TZPATH == ()


# Numbers


@pytest.mark.parametrize(
    ("msisdn", "zones"),
    [
        (919876543210, {"Asia/Kolkata"}),
        (911126492000, {"Asia/Kolkata"}),
        (12125550123, {"America/New_York"}),
        (12085550123, {"America/Boise", "America/Denver", "America/Los_Angeles"}),
        (14412960123, {"Atlantic/Bermuda"}),
        (77010000123, {"Asia/Almaty", "Asia/Aqtau", "Asia/Aqtobe", "Asia/Atyrau", "Asia/Oral",
                       "Asia/Qostanay", "Asia/Qyzylorda"}),
        (212612345678, {"Africa/Casablanca"}),
        (50581234567, {"America/Managua"}),
        (218912345678, {"Africa/Tripoli"}),
        (5511961234567, {"America/Sao_Paulo"}),
        (447400123456, {"Europe/London"}),
        (8613812345678, {"Asia/Shanghai"}),  # the one official time
    ],
)  # fmt: skip
def test_a_number_may_be_in_these_zones(msisdn, zones):
    assert possible_zones(msisdn) == zones


@pytest.mark.parametrize(
    ("msisdn", "zone"),
    [
        (79161234567, "Europe/Kaliningrad"),
        (79161234567, "Asia/Kamchatka"),
        (6281234567890, "Asia/Jayapura"),  # 812 is an operator
        (56961234567, "Pacific/Easter"),
        (56961234567, "America/Punta_Arenas"),
        (61412345678, "Australia/Darwin"),
        (61412345678, "Australia/Perth"),
    ],
)
def test_a_mobile_without_area_code_may_be_anywhere_in_its_country(msisdn, zone):
    assert zone in possible_zones(msisdn)


@pytest.mark.parametrize(
    ("msisdn", "zones"),
    [
        # Split area codes, whatever the exchange: libphonenumber has one zone for unknown ones.
        (18504291234, {"America/Chicago", "America/New_York"}),  # Pensacola, Tallahassee
        (14235550123, {"America/Chicago", "America/New_York"}),  # Chattanooga
        (18079990123, {"America/Toronto", "America/Winnipeg"}),
        # Overlays.
        (14485550123, {"America/Chicago", "America/New_York"}),
        (18795550123, {"America/Halifax", "America/St_Johns"}),
        # Clocks that changed, or that the library has wrong.
        (526141234567, {"America/Chihuahua", "America/Ciudad_Juarez", "America/Ojinaga"}),
        (526571234567, {"America/Chihuahua", "America/Ciudad_Juarez", "America/Ojinaga"}),
        (526631234567, {"America/Tijuana"}),
        (526641234567, {"America/Tijuana"}),
        (526671234567, {"America/Mazatlan"}),
        (525512345678, {"America/Mexico_City"}),
        (528681234567, {"America/Matamoros", "America/Monterrey"}),
        (528711234567, {"America/Mexico_City"}),
        (5581961234567, {"America/Recife", "America/Noronha"}),
        (5593961234567, {"America/Sao_Paulo"}),
        (5597961234567, {"America/Manaus", "America/Eirunepe"}),
        (5568961234567, {"America/Rio_Branco"}),
    ],
)
def test_a_mobile_with_an_area_code_may_be_anywhere_in_its_area(msisdn, zones):
    assert possible_zones(msisdn) == zones


def test_nothing_is_known_about_numbers_without_a_country():
    assert possible_zones(883510012345) == frozenset()


@cache
def clock(name):
    """What a zone's clock shows at every instant at which any clock changes, and just before."""
    zone = parse_zone(name)
    instants = {at for change in changes(years=6) for at in (change.at, change.at - SECOND)}
    return tuple(at.astimezone(zone).utcoffset() for at in sorted(instants))


def test_no_mobile_gets_a_clock_that_its_country_does_not_have():
    table = (files("tzdata") / "zoneinfo" / "zone.tab").read_text(encoding="utf-8")
    of_country = defaultdict(set)
    for line in table.splitlines():
        if not line.startswith("#"):
            listed, _coordinates, name = line.split("\t")[:3]
            of_country[listed].add(clock(name))
    asked = 0
    mobile = phonenumbers.PhoneNumberType.MOBILE
    for country in sorted(phonenumbers.SUPPORTED_REGIONS):
        number = phonenumbers.example_number_for_type(country, mobile)
        if number is None:
            continue
        region = phonenumbers.region_code_for_number(number)  # Cocos Islands' are Australia's
        if region not in of_country:
            continue
        found = {clock(name) for name in possible_zones(int(phonenumbers.format_number(number, 0)))}
        assert found
        assert found <= of_country[region]
        tells_place = number.country_code in {1, 52, 54, 55, 86}
        assert tells_place or found == of_country[region], country
        asked += 1
    assert asked > 230


# Keys


def test_zones_share_a_key_exactly_where_their_clocks_agree():
    clocks_of_key = defaultdict(set)
    keys_of_clock = defaultdict(set)
    for name in every_zone():
        key = zone_key([parse_zone(name)])
        clocks_of_key[key].add(clock(name))
        keys_of_clock[clock(name)].add(key)
    assert all(len(clocks) == 1 for clocks in clocks_of_key.values())
    shared = [keys for keys in keys_of_clock.values() if len(keys) > 1]
    assert not shared
    assert "Europe/Paris" in clocks_of_key
    assert "Asia/Kolkata" in clocks_of_key


def test_a_key_does_not_depend_on_order_and_leads_back_to_its_zones():
    zones = [parse_zone(name) for name in ("Europe/Berlin", "Asia/Kolkata", "Europe/Madrid")]
    key = zone_key(zones)
    assert key == zone_key(reversed(zones)) == "Asia/Kolkata,Europe/Paris"
    assert zones_of_key(key) == (ZoneInfo("Asia/Kolkata"), PARIS)
    assert zone_key(zones_of_key(key)) == key


@pytest.mark.parametrize(
    ("explicit", "msisdn", "key", "source"),
    [
        ("Europe/Berlin", 919876543210, "Europe/Paris", ZoneSource.COLUMN),
        ("+05:30", 12125550123, "Asia/Kolkata", ZoneSource.COLUMN),
        ("+03:17", 12125550123, "+03:17", ZoneSource.COLUMN),
        (None, 919876543210, "Asia/Kolkata", ZoneSource.NUMBER),
        ("  ", 919876543210, "Asia/Kolkata", ZoneSource.NUMBER),
        (None, 12085550123, "America/Denver,America/Los_Angeles", ZoneSource.SEVERAL),
        (None, 883510012345, "Asia/Kathmandu", ZoneSource.CAMPAIGN),
    ],
)
def test_a_recipient_has_the_zone_of_its_column_then_of_its_number_then_of_the_campaign(
    explicit, msisdn, key, source
):
    nepal = timezone(timedelta(hours=5, minutes=45))
    choice = recipient_zone(explicit, msisdn, nepal)
    expected = zone_key(zones_of_key(key))  # a clock's best-known name changes with the database
    assert choice == (expected, source)


def test_an_invalid_zone_in_a_column_is_refused():
    with pytest.raises(ZoneError):
        recipient_zone("Atlantis", 919876543210, PARIS)
