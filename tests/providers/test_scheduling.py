"""How a time is told to a provider that reads it in the account's time zone."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dispatcher.errors import Refused
from dispatcher.providers.scheduling import local_minute


@pytest.mark.parametrize(
    ("at", "zone", "told"),
    [
        (datetime(2026, 12, 20, 1, 0, tzinfo=UTC), "Asia/Dhaka", "2026-12-20 07:00"),
        (datetime(2026, 12, 20, 23, 30, tzinfo=UTC), "Asia/Kolkata", "2026-12-21 05:00"),
        (datetime(2026, 7, 1, 7, 0, tzinfo=UTC), "Europe/Berlin", "2026-07-01 09:00"),
        (datetime(2026, 12, 20, 1, 0, 0, 1, tzinfo=UTC), "UTC", "2026-12-20 01:01"),
        (datetime(2026, 12, 20, 23, 59, 59, tzinfo=UTC), "UTC", "2026-12-21 00:00"),
        (
            datetime(2026, 12, 20, 9, 0, tzinfo=ZoneInfo("Asia/Tokyo")),
            "America/New_York",
            "2026-12-19 19:00",
        ),
    ],
)
def test_a_time_is_told_to_the_minute_in_the_accounts_zone(at, zone, told):
    assert local_minute(at, zone) == told


@pytest.mark.parametrize("hour", [0, 1])
def test_a_time_that_the_clocks_show_twice_is_refused(hour):
    at = datetime(2026, 10, 25, hour, 30, tzinfo=UTC)
    with pytest.raises(Refused, match="2026-10-25 02:30 comes twice") as caught:
        local_minute(at, "Europe/Berlin")
    assert "before or after" in caught.value.hint


def test_without_a_zone_nothing_is_told():
    with pytest.raises(Refused, match="not configured") as caught:
        local_minute(datetime(2026, 12, 20, tzinfo=UTC), None)
    assert "`schedule_timezone`" in caught.value.hint


@settings(max_examples=200, deadline=None, database=None)
@given(
    st.datetimes(datetime(2020, 1, 1), datetime(2035, 1, 1), timezones=st.just(UTC)),  # noqa: DTZ001 - the zone is given beside them
    st.sampled_from(["Asia/Dhaka", "Europe/Berlin", "America/St_Johns", "Australia/Lord_Howe"]),
)
def test_what_the_provider_reads_is_never_before_the_time_and_less_than_a_minute_after(at, zone):
    try:
        told = local_minute(at, zone)
    except Refused:
        return
    read = datetime.strptime(told, "%Y-%m-%d %H:%M").replace(tzinfo=ZoneInfo(zone))
    assert timedelta(0) <= read.astimezone(UTC) - at < timedelta(minutes=1)
