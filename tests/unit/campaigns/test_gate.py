"""Gates: may a campaign's batch leave now, and until when."""

from dataclasses import replace
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest

from dispatcher.campaigns.constraints import CampaignConstraints
from dispatcher.campaigns.gate import check_windows_open, send_permission
from dispatcher.campaigns.timing import Timing
from dispatcher.errors import Refused
from dispatcher.status import Kind
from tests.support.stores import settings

# A Monday; in Kolkata it is 15:30.
NOON = datetime(2026, 5, 4, 10, 0, tzinfo=UTC)
ACCOUNT = settings(
    windows=("mon-sat 09:00-21:00",),
    kind_windows={Kind.OTP: (), Kind.PROMOTIONAL: ("10:00-16:00",)},
    timezone="Asia/Kolkata",
)
ALWAYS = CampaignConstraints(kind=Kind.TRANSACTIONAL, schedule=None, start_at=None, expire_at=None)


def at(text):
    return datetime.fromisoformat(f"2026-05-{text}").replace(tzinfo=ZoneInfo("Asia/Kolkata"))


def campaign(*windows, zone="Asia/Kolkata", blackouts=(), **values):
    timing = Timing(windows=windows, blackouts=blackouts, zone=ZoneInfo(zone))
    return replace(ALWAYS, schedule=timing.schedule, **values)


@pytest.mark.parametrize(
    ("wanted", "now", "closes"),
    [
        pytest.param(ALWAYS, NOON, at("04T21:00"), id="the account's windows"),
        pytest.param(ALWAYS, at("04T21:00"), None, id="closed at the end of its last second"),
        pytest.param(ALWAYS, at("04T09:00"), at("04T21:00"), id="open from the first second on"),
        pytest.param(ALWAYS, at("10T12:00"), None, id="on no Sunday"),
        pytest.param(campaign("12:00-22:00"), NOON, at("04T21:00"), id="never longer than it"),
        pytest.param(campaign("12:00-17:00"), NOON, at("04T17:00"), id="the campaign's narrow it"),
        pytest.param(campaign("16:00-17:00"), NOON, None, id="and close it"),
        pytest.param(
            campaign("09:00-13:00", zone="Europe/Berlin"), NOON, at("04T16:30"),
            id="each in its own zone",
        ),
        pytest.param(campaign(blackouts=["2026-05-04"]), NOON, None, id="blacked out"),
        pytest.param(replace(ALWAYS, kind=Kind.OTP), at("10T03:00"), "never", id="open for OTP"),
        pytest.param(
            replace(ALWAYS, kind=Kind.PROMOTIONAL), at("10T12:00"), at("10T16:00"),
            id="a kind's windows replace the account's",
        ),
        pytest.param(replace(ALWAYS, start_at=at("04T15:31")), NOON, None, id="not started"),
        pytest.param(replace(ALWAYS, expire_at=at("04T16:00")), NOON, at("04T16:00"), id="expiry"),
        pytest.param(replace(ALWAYS, expire_at=NOON), NOON, None, id="expired to the second"),
    ],
)  # fmt: skip
def test_a_batch_may_leave_inside_all_windows_and_before_the_expiry(wanted, now, closes):
    found = send_permission(ACCOUNT, wanted, None, now)
    assert found.is_open == (closes is not None)
    if found.is_open:
        assert found.until == (None if closes == "never" else closes)


def test_recipients_of_several_zones_are_sent_when_all_of_them_allow_it():
    """11:00 to 12:00 in both never opens; 11:00 to 20:00 is from Berlin's 11:00 on."""
    both = "Asia/Kolkata,Europe/Berlin"
    wide, narrow = campaign("11:00-20:00"), campaign("11:00-12:00")
    assert send_permission(ACCOUNT, wide, both, NOON).is_open
    assert send_permission(ACCOUNT, wide, both, NOON).until == at("04T20:00")
    assert not send_permission(ACCOUNT, wide, both, at("04T14:29")).is_open
    with pytest.raises(Refused, match="never open"):
        check_windows_open(ACCOUNT, narrow, [both], NOON)


def test_a_window_that_never_opens_before_the_expiry_is_refused_with_what_the_account_allows():
    wanted = campaign("mon 21:00-23:00", expire_at=at("20T00:00").astimezone(UTC))
    with pytest.raises(Refused) as caught:
        check_windows_open(ACCOUNT, wanted, [None], NOON)
    assert caught.value.message == (
        "the windows never open before 2026-05-20 00:00 Asia/Kolkata: mon 21:00-23:00"
        " (Asia/Kolkata), within the account's mon-sat 09:00-21:00 (Asia/Kolkata)"
    )
    check_windows_open(ACCOUNT, replace(wanted, kind=Kind.OTP), [None], NOON)


TEATIME = at("04T17:00")


@pytest.mark.parametrize(
    ("wanted", "is_open"),
    [
        pytest.param(ALWAYS, True, id="inside"),
        pytest.param(campaign("10:00-17:00"), False, id="at a window's end"),
        pytest.param(campaign("17:00-18:00"), True, id="inside, though closed now"),
        pytest.param(replace(ALWAYS, expire_at=TEATIME), False, id="at the expiry"),
    ],
)
def test_a_send_time_at_the_provider_must_be_inside_the_windows(wanted, is_open):
    wanted = replace(wanted, schedule_at=TEATIME)
    found = send_permission(ACCOUNT, wanted, None, NOON)
    assert (found.is_open, found.until) == (is_open, TEATIME)
    if is_open:
        check_windows_open(ACCOUNT, wanted, [None], NOON)
        return
    with pytest.raises(Refused, match=r"closed at 2026-05-04 17:00 Asia/Kolkata|--expire-at"):
        check_windows_open(ACCOUNT, wanted, [None], NOON)
