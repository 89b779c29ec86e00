"""What the list says that a campaign waits for."""

from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from zoneinfo import ZoneInfo

import pytest

from dispatcher.campaigns.waiting import describe_wait, short_time
from tests.support.stores import settings

INDIA = ZoneInfo("Asia/Kolkata")
#: A Monday, 17:30 in India.
NOW = datetime(2030, 5, 6, 12, 0, tzinfo=UTC)
OFFICE = settings(windows=["mon-fri 09:00-17:00"], timezone="Asia/Kolkata")
ALWAYS = settings(timezone="Asia/Kolkata")
OPEN = SimpleNamespace(paused_by=None, breaker=None, stopped_at=None)
PAUSED = SimpleNamespace(paused_by="operator", breaker=None, stopped_at=None)
STOPPED = SimpleNamespace(paused_by="operator", breaker=None, stopped_at=NOW)
COUNTS = {"pending": 5, "submitted": 0, "no_receipt": 0}
LATER = NOW + timedelta(seconds=1)

CASES = [
    # settings, account, values of the campaign, counts, what it waits for
    (ALWAYS, OPEN, {}, {}, None),
    (OFFICE, OPEN, {}, {}, "Tue 09:00"),
    (OFFICE, PAUSED, {}, {}, "account main"),
    (OFFICE, STOPPED, {}, {}, "`dispatcher go`"),
    (OFFICE, None, {}, {}, "Tue 09:00"),
    (None, None, {}, {}, None),
    (OFFICE, OPEN, {"state": "paused"}, {}, None),
    (OFFICE, OPEN, {"state": "finished"}, {}, None),
    (OFFICE, OPEN, {"state": "importing", "import_lease_until": NOW}, {}, "its file again"),
    (OFFICE, OPEN, {"state": "importing", "import_lease_until": LATER}, {}, None),
    (ALWAYS, OPEN, {"start_at": NOW + timedelta(hours=20)}, {}, "Tue 13:30"),
    (ALWAYS, OPEN, {"start_at": NOW + timedelta(days=40)}, {}, "15 Jun 17:30"),
    (OFFICE, OPEN, {"expire_at": NOW + timedelta(hours=1)}, {}, "its expiry"),
    (OFFICE, OPEN, {"zones": "[]"}, {}, None),
    (ALWAYS, OPEN, {"recheck_at": NOW}, {}, "its check at the provider"),
    (OFFICE, OPEN, {}, {"pending": 0, "submitted": 3, "no_receipt": 1}, "receipts"),
    (OFFICE, OPEN, {}, {"pending": 0, "submitted": 3, "no_receipt": 3}, None),
]


@pytest.mark.parametrize(("given", "account", "values", "counts", "words"), CASES)
def test_a_listed_campaign_says_what_it_waits_for(given, account, values, counts, words):
    usual = {
        "state": "running", "account": "main", "kind": "transactional", "schedule": None,
        "zones": None, "start_at": None, "expire_at": None, "schedule_at": None, "recheck_at": None,
        "import_lease_until": None,
    }  # fmt: skip
    campaign = SimpleNamespace(**usual | values)
    assert describe_wait(campaign, COUNTS | counts, given, account, NOW, INDIA) == words


@pytest.mark.parametrize(
    ("days", "shown"),
    [(0, "Mon 17:30"), (5, "Sat 17:30"), (7, "13 May 17:30"), (300, "02 Mar 2031 17:30")],
)
def test_a_time_is_as_short_as_it_is_clear(days, shown):
    assert short_time(NOW + timedelta(days=days), NOW, INDIA) == shown
