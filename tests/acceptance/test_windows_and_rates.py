"""Windows, rates, priorities and control with real Celery processes, judged by what arrived."""

from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from dispatcher.store import scheduler
from tests.support.arrivals import at_most_in_a_second, starts_on_record, too_early
from tests.support.cli import in_process
from tests.support.stage import ACCOUNT, KEY, Campaign, Stage, stage, wait_for

pytestmark = pytest.mark.acceptance

SOON_S = 2.0
#: Longer than the tests take: no receipt is asked for where none is looked at.
_NO_RECEIPTS = {"poll_first_s": 600, "poll_max_s": 600, "validity_hours": 1}
_SINGLE = {"provider": "smsnoc", "api_key": None, "api_token": KEY, "template": None}
ACCOUNTS = {
    "free": {"max_recipients": 20},
    "bulk": {
        **_NO_RECEIPTS, "max_recipients": 50, "max_in_flight": 2, "messages_per_second": 200,
    },
    "fast": {
        **_NO_RECEIPTS, "max_recipients": 50, "max_in_flight": 4, "messages_per_second": 1000,
    },
    "limited": {
        **_NO_RECEIPTS, "max_recipients": 30, "daily_limit": 100, "timezone": "Asia/Kolkata",
    },
    "in_parts": {**_NO_RECEIPTS, "max_recipients": 10, "parts_per_second": 60},
    "single": {**_SINGLE, **_NO_RECEIPTS, "messages_per_second": 50, "max_in_flight": 60},
    "shut": {
        **_SINGLE, "windows": ["2020-01-01 09:00-10:00"], "kind_windows.otp": ["00:00-24:00"],
    },
}  # fmt: skip
_first = iter(range(919_800_000_000, 919_900_000_000, 100_000))


@pytest.fixture(scope="module")
def ours() -> Iterator[Stage]:
    """One stage for all; every test has numbers of its own."""
    with stage(accounts=ACCOUNTS, command=in_process) as made:
        made.start()
        yield made


class Sent:
    """A campaign, and what the provider got of it."""

    def __init__(self, ours: Stage, count: int, account: str, *options: str) -> None:
        self.first, self.count = next(_first), count
        people = ours.people(count, first=self.first, name=f"{self.first}.csv")
        self._ours = ours
        self.campaign: Campaign = ours.submit(people, *options, account=account)

    def wait_until_submitted(self) -> None:
        """Until everybody was; receipts are not waited for."""
        self.campaign.wait_until(lambda view: view.total_submitted == self.count, "everybody")

    @property
    def ledger(self) -> list[dict]:
        last = self.first + self.count
        return [e for e in self._ours.provider.ledger() if self.first <= int(e["number"]) < last]

    @property
    def requests(self) -> list[tuple[float, int]]:
        """When each request arrived, and its recipients."""
        at: Counter[float] = Counter(entry["at"] for entry in self.ledger)
        return sorted(at.items())

    def too_early(self, per_second: float, each: int = 1) -> list[float]:
        """Starts on record that passed this rate; a recipient counts for `each`."""
        record = starts_on_record(
            self._ours.store, ACCOUNT["timeout_s"], campaign_id=self.campaign.id
        )
        return too_early([(start.at, start.recipients * each) for start in record], per_second)


def wait_a_tick(ours: Stage, seconds: float = 2.5) -> None:
    """Until the scheduler has ticked at least twice, `seconds` from now."""
    until = datetime.now(UTC) + timedelta(seconds=seconds)

    def ticked() -> bool:
        with ours.store.read() as conn:
            at = scheduler.last_tick_at(conn)
        return at is not None and at > until

    wait_for(ticked, "the scheduler's ticks")


# --- Windows ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("account", "options", "reason"),
    [
        ("free", ["--window", "2020-05-01 09:00-10:00"], "the windows never open"),
        ("shut", [], "the windows never open"),
        ("free", ["--window", "09:00-10:00", "--blackout", "2020-01-01..2099-12-31"], "never open"),
        ("free", ["--expire-at", "2020-01-01T00:00:00+00:00"], "is in the past"),
    ],
)
def test_windows_that_never_open_are_refused_with_the_reason(ours, account, options, reason):
    people = ours.people(5, first=next(_first), name="refused.csv")
    ended = ours.run(
        "campaign", "submit", str(people), "--account", account, "--text", "Hello", *options
    )
    assert (ended.code, reason in ended.err) == (3, True), ended
    assert "Traceback" not in ended.err
    named = {campaign["name"] for campaign in ours.json("campaign", "list")}
    assert "refused" not in named


def test_a_one_off_message_obeys_the_accounts_windows_which_may_be_open_for_otp(ours):
    number = next(_first)
    ended = ours.run("send", str(number), "Hello", "--account", "shut")
    assert ended.code == 3, ended
    assert "never open" in ended.err
    ours.json("send", str(number), "123456 is your code", "--account", "shut", "--kind", "otp")
    wait_for(
        lambda: (
            [e["text"] for e in ours.provider.ledger() if e["number"] == str(number)]
            == ["123456 is your code"]
        ),
        "the code",
    )


def test_today_as_a_blackout_lets_nothing_leave(ours):
    today = f"{datetime.now(UTC):%Y-%m-%d}"
    sent = Sent(ours, 20, "free", "--blackout", today, "--timezone", "UTC")
    wait_a_tick(ours)
    assert sent.ledger == []
    assert sent.campaign.counts["pending"] == 20
    sent.campaign.command("set", "--blackout", "none")
    sent.campaign.wait_until_over()
    assert len(sent.ledger) == 20


def test_only_recipients_whose_zone_is_awake_are_sent(ours):
    """The window is the present hour in Tokyo; the other two zones are hours away from it."""
    now = datetime.now(ZoneInfo("Asia/Tokyo"))
    window = f"{now - timedelta(hours=1):%H:%M}-{now + timedelta(hours=1):%H:%M}"
    first = next(_first)
    zones = ["Asia/Tokyo", "America/New_York", "Europe/Berlin"]
    path = Path(ours.folder, "zones.csv")
    rows = [f"{first + n},{zones[n % 3]}" for n in range(60)]
    path.write_text("\n".join(["phone,timezone", *rows]), encoding="utf-8")
    options = ["--timezone", "recipient", "--window", window]
    campaign = ours.submit(path, *options, account="free")
    campaign.wait_until(lambda view: view.total_submitted == 20, "those in Tokyo")
    wait_a_tick(ours)
    got = [e for e in ours.provider.ledger() if first <= int(e["number"]) < first + 60]
    assert {(int(e["number"]) - first) % 3 for e in got} == {0}
    assert (len(got), campaign.counts["pending"]) == (20, 40)
    campaign.command("cancel", "--yes")


def test_what_has_not_left_at_the_expiry_lapses(ours):
    expires = datetime.now(UTC) + timedelta(seconds=4)
    options = ["--rate", "10/s", "--expire-at", expires.isoformat()]
    sent = Sent(ours, 400, "free", *options)
    view = sent.campaign.wait_until_over()
    got = sent.ledger
    assert 20 <= len(got) <= 60
    assert view.counts["lapsed"] == 400 - len(got)
    assert max(entry["at"] for entry in got) < expires.timestamp()
    shown = {row["state"] for row in sent.campaign.export()}
    assert "lapsed" in shown
    assert shown <= {"delivered", "undelivered", "lapsed", "submitted"}


# --- Rates ------------------------------------------------------------------------------------


def test_parts_are_counted_where_the_rate_is_in_parts(ours):
    sent = Sent(ours, 120, "in_parts", "--text", "x" * 300)  # two parts each
    sent.wait_until_submitted()
    requests = sent.requests
    assert sum(count for _, count in requests) == 120
    assert sent.too_early(60, each=2) == []
    assert at_most_in_a_second([(at, count * 2) for at, count in requests]) <= 60 + 20


def test_the_days_limit_lets_exactly_so_many_leave(ours):
    sent = Sent(ours, 250, "limited")
    sent.campaign.wait_until(lambda view: view.total_submitted == 100, "the day's hundred")
    wait_a_tick(ours)
    assert len(sent.ledger) == 100
    assert sent.campaign.counts["pending"] == 150
    sent.campaign.command("cancel", "--yes")


def test_single_sends_keep_the_rate_and_use_it(ours):
    sent = Sent(ours, 250, "single", "--text", "Dear {{name}}, it is ready.")
    sent.wait_until_submitted()
    arrivals = sent.requests
    assert sum(count for _, count in arrivals) == 250
    assert sent.too_early(50) == []
    # A loaded machine moves arrivals; `tests.benchmarks.rates` has the exact limit.
    assert at_most_in_a_second(arrivals) <= 55
    assert arrivals[-1][0] - arrivals[0][0] <= 2 * 249 / 50


def test_a_campaigns_rate_is_kept_when_its_batches_were_planned_for_a_faster_one(ours):
    """And another one counts from the next request on, in both directions."""
    sent = Sent(ours, 300, "single", "--text", "Dear {{name}}, hello.", "--rate", "2/s")
    sent.campaign.wait_until(lambda view: view.total_submitted >= 4, "the first ones")
    slow = sent.requests
    assert at_most_in_a_second(slow) <= 3
    assert sent.too_early(2) == []
    changed = datetime.now(UTC).timestamp()
    sent.campaign.command("set", "--rate", "30/s")
    wait_for(lambda: len(sent.requests) >= 60, "the faster rate", within_s=10)
    faster = [each for each in sent.requests if each[0] > changed]
    assert faster[0][0] <= changed + SOON_S
    assert sent.too_early(30) == []
    assert at_most_in_a_second(faster) <= 33
    sent.campaign.command("set", "--rate", "2/s")
    lowered = datetime.now(UTC).timestamp()

    def later() -> list[tuple[float, int]]:
        return [each for each in sent.requests if each[0] > lowered + SOON_S]

    wait_for(lambda: len(later()) >= 3, "the slower rate")
    assert at_most_in_a_second(later()) <= 3
    sent.campaign.command("cancel", "--yes")


def test_a_request_paid_for_long_leaves_soon_at_a_faster_rate(ours):
    sent = Sent(ours, 200, "bulk", "--rate", "1/s")
    sent.campaign.wait_until(lambda view: view.total_submitted == 50, "the first request")
    changed = datetime.now(UTC).timestamp()
    sent.campaign.command("set", "--rate", "1000/s")
    sent.wait_until_submitted()
    assert len(sent.ledger) == 200
    assert sent.requests[1][0] <= changed + SOON_S + 0.5


# --- Order and control ------------------------------------------------------------------------


def test_what_somebody_waits_for_and_what_is_more_urgent_overtakes_bulk(ours):
    bulk = Sent(ours, 2500, "bulk")
    bulk.campaign.wait_until(lambda view: view.total_submitted >= 100, "the bulk campaign")
    asked = datetime.now(UTC).timestamp()
    number = next(_first)
    ours.json("send", str(number), "Your table is ready", "--account", "bulk")
    one_off = wait_for(
        lambda: [e for e in ours.provider.ledger() if e["number"] == str(number)],
        "the one-off message",
    )
    assert one_off[0]["at"] <= asked + 3
    urgent = Sent(ours, 200, "bulk", "--priority", "10")
    urgent.campaign.wait_until(lambda view: view.total_submitted == 200, "the urgent campaign")
    begin, end = urgent.requests[0][0], urgent.requests[-1][0]
    between = [at for at, _ in bulk.requests if begin < at < end]
    assert len(between) <= 2  # what was under way when it came
    later = Sent(ours, 800, "bulk")
    later.campaign.wait_until(lambda view: view.total_submitted >= 50, "its share")
    later.campaign.command("set", "--priority", "20")
    raised = datetime.now(UTC).timestamp()
    later.campaign.wait_until(lambda view: view.total_submitted == 800, "what became urgent")
    end = later.requests[-1][0]
    assert end > raised + SOON_S
    assert [at for at, _ in bulk.requests if raised + SOON_S < at < end] == []
    assert bulk.campaign.counts["pending"] > 0
    bulk.campaign.command("cancel", "--yes")


def test_an_account_pauses_and_goes_on_within_two_seconds_at_a_thousand_a_second(ours):
    sent = Sent(ours, 6000, "fast")
    sent.campaign.wait_until(lambda view: view.total_submitted >= 1000, "the first thousand")
    assert ours.run("account", "pause", "fast").code == 0
    paused = datetime.now(UTC).timestamp()
    wait_a_tick(ours)
    before = sent.requests
    assert before[-1][0] <= paused + SOON_S
    gone = sum(count for _, count in before)
    assert gone < 6000 - 1000
    assert ours.run("account", "resume", "fast").code == 0
    resumed = datetime.now(UTC).timestamp()
    wait_for(lambda: len(sent.requests) > len(before), "its going on")
    after = sent.requests[len(before) :]
    assert after[0][0] <= resumed + SOON_S
    sent.campaign.wait_until(lambda view: view.total_submitted >= gone + 1000, "a second of it")
    assert sent.too_early(1000) == []
    assert at_most_in_a_second(sent.requests) <= 1000 + 50
    sent.campaign.command("cancel", "--yes")


def test_a_flushed_broker_grants_nothing_twice(ours):
    sent = Sent(ours, 1000, "bulk")
    for least in (200, 500):
        sent.campaign.wait_until(lambda view, n=least: view.total_submitted >= n, "some of it")
        ours.flush_broker()
    sent.wait_until_submitted()
    wait_a_tick(ours)
    assert Counter(entry["number"] for entry in sent.ledger).most_common(1)[0][1] == 1
    assert len(sent.ledger) == 1000
    assert sent.too_early(200) == []
    assert at_most_in_a_second(sent.requests) <= 200 + 50


def test_a_window_that_closes_in_mid_campaign_lets_nothing_more_leave(ours):
    """It is closed by `campaign set`: a minute's end by the clock would be waited for too long."""
    sent = Sent(ours, 1000, "free", "--timezone", "UTC", "--rate", "60/s")
    sent.campaign.wait_until(lambda view: view.total_submitted >= 60, "the first ones")
    hour = datetime.now(UTC) + timedelta(hours=2)
    window = f"{hour:%H:%M}-{hour + timedelta(hours=1):%H:%M}"
    sent.campaign.command("set", "--window", window)
    closed = datetime.now(UTC).timestamp()
    wait_a_tick(ours)
    got = sent.ledger
    assert max(entry["at"] for entry in got) <= closed + 1.0
    counts = sent.campaign.counts
    assert (counts["pending"], counts["in_doubt"]) == (1000 - len(got), 0)
    sent.campaign.command("set", "--window", "none")
    wait_for(lambda: len(sent.ledger) > len(got), "its going on")
    sent.campaign.command("cancel", "--yes")
