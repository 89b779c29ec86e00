"""Time zones as people write them: names that would ignore summer time are refused."""

import pytest

from dispatcher.cli.parsing import parse_named_zone
from dispatcher.errors import UsageProblem
from dispatcher.providers.shared.settings import ProviderSettings
from dispatcher.windows.recipient_zones import recipient_zone
from dispatcher.windows.zone_names import (
    FixedOffsetError,
    ZoneError,
    parse_given_zone,
    parse_zone,
    zone_name,
)


@pytest.mark.parametrize(
    ("name", "place"),
    [("EST", "America/New_York"), ("est", "America/New_York"), (" MST ", "America/Denver")],
)
def test_an_abbreviation_that_ignores_summer_time_is_refused_with_what_is_meant(name, place):
    with pytest.raises(FixedOffsetError, match=f"ignores summer time; write {place}"):
        parse_given_zone(name)
    with pytest.raises(UsageProblem, match="ignores summer time") as caught:
        parse_named_zone(name)
    assert caught.value.hint.startswith(f"write {place}")
    with pytest.raises(ZoneError, match="ignores summer time"):
        recipient_zone(name, 12125550123, parse_zone("UTC"))


def test_an_account_in_such_a_zone_is_refused_too():
    with pytest.raises(ValueError, match="EST ignores summer time"):
        ProviderSettings._check_timezone("EST")


@pytest.mark.parametrize(
    "name", ["EST5EDT", "America/New_York", "HST", "UTC", "GMT", "CET", "-05:00"]
)
def test_other_names_are_read(name):
    assert parse_given_zone(name) == parse_zone(name)


@pytest.mark.parametrize(
    ("text", "shown"), [("Nowhere", "'Nowhere'"), ("x" * 40, f"'{'x' * 40}'"), ("x" * 41, "xx…'")]
)
def test_a_name_that_is_not_known_is_shown_up_to_forty_characters(text, shown):
    with pytest.raises(ZoneError) as caught:
        parse_zone(text)
    assert f"{shown} is not a valid time zone" in str(caught.value)
    assert str(caught.value).count("x") <= 40


def test_what_is_stored_is_still_read():
    assert zone_name(parse_zone("EST")) == "EST"
