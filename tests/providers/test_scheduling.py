"""How a time is written for a provider that reads it in the account's time zone."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dispatcher.campaigns.content import Content, resolve_content, try_request
from dispatcher.errors import Refused
from dispatcher.providers.shared.scheduling import local_minute
from dispatcher.status import Kind
from dispatcher.types import Route
from tests.providers.test_contract import adapter


@pytest.mark.parametrize(
    ("at", "zone", "written"),
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
def test_a_time_is_written_to_the_minute_in_the_accounts_zone(at, zone, written):
    assert local_minute(at, zone) == written


@pytest.mark.parametrize("hour", [0, 1])
def test_a_time_that_the_clocks_show_twice_is_refused(hour):
    at = datetime(2026, 10, 25, hour, 30, tzinfo=UTC)
    with pytest.raises(Refused, match="2026-10-25 02:30 comes twice") as caught:
        local_minute(at, "Europe/Berlin")
    assert "before or after" in caught.value.hint


def test_a_time_without_a_zone_is_refused():
    with pytest.raises(Refused, match="not configured") as caught:
        local_minute(datetime(2026, 12, 20, tzinfo=UTC), None)
    assert "`schedule_timezone`" in caught.value.hint


@settings(max_examples=200, deadline=None, database=None)
@given(
    st.datetimes(datetime(2020, 1, 1), datetime(2035, 1, 1), timezones=st.just(UTC)),  # noqa: DTZ001 - the zone is given beside them
    st.sampled_from(["Asia/Dhaka", "Europe/Berlin", "America/St_Johns", "Australia/Lord_Howe"]),
)
def test_the_written_minute_is_never_before_the_time_and_less_than_a_minute_after(at, zone):
    try:
        written = local_minute(at, zone)
    except Refused:
        return
    read = datetime.strptime(written, "%Y-%m-%d %H:%M").replace(tzinfo=ZoneInfo(zone))
    assert timedelta(0) <= read.astimezone(UTC) - at < timedelta(minutes=1)


@pytest.mark.parametrize("name", ["smsnoc", "standingtech", "ultimate_sms", "voip_communications"])
def test_a_schedule_without_a_zone_is_refused_when_the_campaign_is_submitted(name):
    configured = adapter(name)
    zoneless = configured.settings.model_copy(update={"schedule_timezone": None})
    provider = type(configured)(zoneless)
    content = Content(text="Later.", schedule_at=datetime(2030, 1, 1, tzinfo=UTC))
    route = Route(sender="12025550100")
    written = resolve_content(content, provider, route)

    try_request(content, written, configured, route, Kind.TRANSACTIONAL)
    with pytest.raises(Refused, match="not configured"):
        try_request(content, written, provider, route, Kind.TRANSACTIONAL)


def test_a_flash_message_of_a_template_alone_is_refused_when_it_is_submitted():
    provider, content = adapter("aoc_portal"), Content(flash=True)
    route = Route(sender="SENDER", template="1507160000000000001")

    with pytest.raises(Refused, match="as a flash message"):
        try_request(content, resolve_content(content, provider, route), provider, route, Kind.OTP)
