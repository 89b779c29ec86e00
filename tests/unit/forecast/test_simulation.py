"""When a campaign finishes: tables worked out by hand, and a simulation of each message."""

from collections import defaultdict
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dispatcher.forecast.service import describe_forecast
from dispatcher.forecast.simulation import Forecast, simulate_campaign
from dispatcher.forecast.workload import AccountCapacity, CampaignWorkload, PendingGroup
from dispatcher.windows.schedule import ALWAYS, HORIZON, Schedule

BERLIN = ZoneInfo("Europe/Berlin")
NOW = datetime(2026, 10, 23, 6, 0, tzinfo=UTC)  # a Friday, 08:00 in Berlin
HOUR = timedelta(hours=1)
OFFICE = Schedule.parse(["09:00-18:00"], [], BERLIN)


def at(text):
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def pending(messages, schedule=ALWAYS, *, parts=1, requests=1):
    """`parts` and `requests` per message."""
    return PendingGroup(
        messages=messages,
        parts=round(messages * parts),
        requests=round(messages * requests),
        schedule=schedule,
    )


def work(messages, schedule=ALWAYS, *, parts=1, requests=1, **values):
    return CampaignWorkload(
        pending=(pending(messages, schedule, parts=parts, requests=requests),), **values
    )


TEN = AccountCapacity(messages_per_second=10)


def about(moment):
    return moment - timedelta(seconds=0.01), moment + timedelta(seconds=0.01)


@pytest.mark.parametrize(
    ("own", "pace", "finish"),
    [
        (work(36_000), TEN, "2026-10-23T07:00"),
        (work(36_000, parts=3), AccountCapacity(parts_per_second=30), "2026-10-23T07:00"),
        (
            work(36_000, requests=1 / 2000),
            AccountCapacity(requests_per_second=0.01),
            "2026-10-23T06:30",
        ),
        (work(36_000), AccountCapacity(throughput=20), "2026-10-23T06:30"),
        # The slowest rate counts.
        (work(36_000, parts=2), replace(TEN, parts_per_second=10), "2026-10-23T08:00"),
        (work(36_000, parts=2), replace(TEN, parts_per_second=30), "2026-10-23T07:00"),
        (work(36_000), replace(TEN, throughput=5), "2026-10-23T08:00"),
        (work(36_000, messages_per_second=5), TEN, "2026-10-23T08:00"),
        (work(36_000, messages_per_second=50), TEN, "2026-10-23T07:00"),
        (work(36_000, start_at=at("2026-10-24T00:00")), TEN, "2026-10-24T01:00"),
        (work(0), TEN, "2026-10-23T06:00"),
        # 8, then 7 hours: 09:00 is 07:00 UTC on Friday, and 08:00 UTC from Sunday the 25th on.
        (work(36_000, OFFICE), TEN, "2026-10-23T08:00"),
        (work(9 * 36_000, OFFICE), TEN, "2026-10-23T16:00"),
        (work(10 * 36_000, OFFICE), TEN, "2026-10-24T08:00"),
        (work(19 * 36_000, OFFICE), TEN, "2026-10-25T09:00"),
        (work(27 * 36_000, OFFICE), TEN, "2026-10-25T17:00"),
        (work(28 * 36_000, OFFICE), TEN, "2026-10-26T09:00"),
        # Over the hour that comes twice: 01:00 to 04:00 are four hours.
        (work(4 * 36_000, Schedule.parse(["2026-10-25 01:00-04:00"], [], BERLIN)), TEN,
         "2026-10-25T03:00"),
        # 36,000 may leave today, and 50,000 on every day from local midnight, 22:00 UTC.
        (work(50_000), replace(TEN, daily_limit=50_000, used_today=14_000, day_zone=BERLIN),
         "2026-10-23T22:23:20"),
        (work(36_000), replace(TEN, daily_limit=50_000, used_today=14_000, day_zone=BERLIN),
         "2026-10-23T07:00"),
        (work(110_000), replace(TEN, daily_limit=50_000, used_today=60_000, day_zone=BERLIN),
         "2026-10-25T23:16:40"),
    ],
)  # fmt: skip
def test_a_campaign_alone(own, pace, finish):
    found = simulate_campaign(own, [], pace, NOW)
    low, high = about(at(finish))
    assert low <= found.finish_at <= high
    assert (found.lapsed, found.reason) == (0, None)


@pytest.mark.parametrize(
    ("own", "others", "first", "finish"),
    [
        # Equal shares: the smaller takes twice its own time, the larger the sum of both.
        (work(18_000), [work(900_000)], "06:00", "07:00"),
        (work(54_000), [work(18_000)], "06:00", "08:00"),
        (work(12_000), [work(90_000), work(90_000)], "06:00", "07:00"),
        # Higher priority first.
        (work(36_000, priority=1), [work(36_000)], "06:00", "07:00"),
        (work(36_000), [work(36_000, priority=1)], "07:00", "08:00"),
        (work(36_000), [work(36_000, priority=1, start_at=at("2026-10-23T06:30"))],
         "06:00", "08:00"),
        (work(36_000), [work(36_000, OFFICE, priority=1)], "06:00", "07:00"),
        # What a campaign cannot use because of its own rate goes to the others.
        (work(28_800), [work(7_200, priority=1, messages_per_second=2)], "06:00", "07:00"),
        (work(28_800), [work(7_200, messages_per_second=2)], "06:00", "07:00"),
        (work(14_400, messages_per_second=4), [work(90_000)], "06:00", "07:00"),
        # Messages of others that expire before they are sent take no capacity.
        (work(27_000), [work(90_000, expire_at=at("2026-10-23T06:30"))], "06:00", "07:00"),
        # By messages: two of a request of one part and of one of three take four parts' time.
        (work(9_000, parts=3), [work(90_000)], "06:00", "07:00"),
    ],
)  # fmt: skip
def test_campaigns_share_an_account(own, others, first, finish):
    pace = replace(TEN, parts_per_second=10)
    found = simulate_campaign(own, others, pace, NOW)
    low, high = about(at(f"2026-10-23T{finish}"))
    assert low <= found.finish_at <= high
    low, high = about(at(f"2026-10-23T{first}"))
    assert low <= found.first_at <= high


def test_recipients_of_several_zones_wait_for_their_own_windows():
    groups = (
        pending(36_000, Schedule.parse(["09:00-18:00"], [], ZoneInfo("Asia/Kolkata"))),  # 03:30 UTC
        pending(72_000, OFFICE),  # 07:00 UTC
        pending(36_000, Schedule.parse(["09:00-18:00"], [], ZoneInfo("America/New_York"))),  # 13:00
    )
    found = simulate_campaign(CampaignWorkload(pending=groups), [], TEN, NOW)
    assert found.first_at == NOW
    assert abs(found.finish_at - at("2026-10-23T14:00")) < timedelta(seconds=0.01)
    found = simulate_campaign(CampaignWorkload(pending=groups[:2]), [], TEN, NOW)
    assert abs(found.finish_at - at("2026-10-23T09:00")) < timedelta(seconds=0.01)


WEEKEND = Schedule.parse(["sat,sun 10:00-12:00"], [], BERLIN)


@pytest.mark.parametrize(
    ("own", "others", "pace", "expected"),
    [
        (
            work(54_000, expire_at=at("2026-10-23T07:00")), [], TEN,
            Forecast(finish_at=at("2026-10-23T07:00"), first_at=NOW, lapsed=18_000,
                     reason="the campaign expires before 18000 messages can be sent"),
        ),
        (
            work(54_000, WEEKEND, expire_at=at("2026-10-24T08:00")), [], TEN,
            Forecast(finish_at=None, first_at=None, lapsed=54_000,
                     reason="the windows do not open before the campaign expires"),
        ),
        (
            work(54_000, WEEKEND, start_at=at("2026-10-25T11:00"),
                 expire_at=at("2026-10-31T09:00")),
            [], TEN,
            Forecast(finish_at=None, first_at=None, lapsed=54_000,
                     reason="the windows do not open before the campaign expires"),
        ),
        (
            work(54_000, expire_at=at("2026-10-23T07:00")), [work(36_000, priority=1)], TEN,
            Forecast(finish_at=None, first_at=None, lapsed=54_000,
                     reason="the campaign expires before any of its messages can be sent"),
        ),
        (
            work(54_000, expire_at=NOW), [], TEN,
            Forecast(finish_at=None, first_at=None, lapsed=54_000,
                     reason="the campaign has already expired"),
        ),
        (
            work(500, WEEKEND.intersect(Schedule.parse(["mon-fri 09:00-18:00"], [], BERLIN))),
            [], TEN,
            Forecast(finish_at=None, first_at=None, lapsed=0,
                     reason="the windows do not open again within 2 years for 500 messages"),
        ),
        (
            work(500, start_at=at("2029-01-01T07:00")), [], TEN,
            Forecast(finish_at=None, first_at=None, lapsed=0,
                     reason="nothing leaves before 2029-01-01, and a forecast reaches 2 years"),
        ),
        (
            work(500, Schedule.parse(["2099-12-24 22:00-02:00"], [], BERLIN)), [], TEN,
            Forecast(finish_at=None, first_at=None, lapsed=0,
                     reason="nothing leaves before 2099-12-24, and a forecast reaches 2 years"),
        ),
        (
            work(73_200), [], replace(TEN, daily_limit=100, used_today=100),
            Forecast(finish_at=None, first_at=at("2026-10-24T00:00"), lapsed=0,
                     reason="100 messages would still be pending after 2 years",
                     waits="the day's limit is used up"),
        ),
        (
            work(73_200, OFFICE), [], replace(TEN, daily_limit=100, used_today=100),
            Forecast(finish_at=None, first_at=at("2026-10-24T07:00"), lapsed=0,
                     reason="200 messages would still be pending after 2 years",
                     waits="the windows are closed"),
        ),
    ],
)  # fmt: skip
def test_messages_that_are_not_sent_have_a_reason(own, others, pace, expected):
    assert simulate_campaign(own, others, pace, NOW) == expected


@pytest.mark.parametrize(
    ("own", "others", "pace", "waits"),
    [
        (work(10), [], TEN, None),
        (work(10, OFFICE), [], TEN, "the windows are closed"),
        (work(10, OFFICE, start_at=at("2026-10-23T09:00")), [], TEN, "it waits for its start"),
        (work(10), [], replace(TEN, daily_limit=5, used_today=5), "the day's limit is used up"),
        (work(10), [work(500, priority=1)], TEN, "campaigns of higher priority go first"),
        # The last reason counts: first the windows, then campaigns of higher priority.
        (
            work(10, OFFICE),
            [work(500, OFFICE, priority=1)],
            TEN,
            "campaigns of higher priority go first",
        ),
    ],
)
def test_a_forecast_says_what_a_campaign_waits_for(own, others, pace, waits):
    assert simulate_campaign(own, others, pace, NOW).waits == waits


@pytest.mark.parametrize(
    ("own", "words"),
    [
        (work(600), "all submitted by about 2026-10-23 08:01:00 Europe/Berlin"),
        (
            work(600, OFFICE),
            (
                "begins at 2026-10-23 09:00:00 (until then the windows are closed),"
                " all submitted by about 2026-10-23 09:01:00 Europe/Berlin"
            ),
        ),
        (
            work(601, expire_at=at("2026-10-23T06:01")),
            "sends until it expires at 2026-10-23 08:01:00 Europe/Berlin: 1 will lapse",
        ),
        (
            work(1, OFFICE, expire_at=at("2026-10-23T06:01")),
            "the windows do not open before the campaign expires",
        ),
        (
            work(1, Schedule.parse(["2020-01-01 09:00-10:00"], [], BERLIN)),
            "the windows do not open again within 2 years for 1 message",
        ),
    ],
)
def test_a_forecast_is_a_sentence_in_the_accounts_zone(own, words):
    assert describe_forecast(simulate_campaign(own, [], TEN, NOW), BERLIN) == words


def test_ten_million_messages_over_days_with_a_change_of_clocks_among_them():
    pace = replace(TEN, messages_per_second=100)
    found = simulate_campaign(work(10_000_000, OFFICE), [work(2_000_000)], pace, NOW)
    # Friday 360,000 of the other alone, then 1,620,000 each; 3,240,000 on Saturday and on Sunday.
    assert found.first_at == at("2026-10-23T07:00")
    assert abs(found.finish_at - at("2026-10-26T13:16:40")) < timedelta(seconds=0.01)


def test_a_capacity_without_a_rate_and_a_time_without_zone_are_refused():
    with pytest.raises(ValueError, match="needs a rate"):
        AccountCapacity(daily_limit=5)
    with pytest.raises(ValueError, match="with a time zone"):
        simulate_campaign(work(5), [], TEN, datetime.fromisoformat("2026-10-23"))


# Against a simulation that sends message by message, each paying GCRA buckets (ITU-T I.371)


#: A campaign that had to wait for another's request catches up with its own rate within this time.
TOLERANCE_S = 6


@dataclass
class Sender:
    left: int
    work: CampaignWorkload
    cost_s: float
    turn: int = 0
    paid_until: float = 0.0

    def may_start(self, now_s):
        """Seconds from the start until it may, or None if never within the horizon."""
        start = max(now_s, self.paid_until)
        if self.work.start_at:
            start = max(start, (self.work.start_at - NOW).total_seconds())
        schedule = self.work.pending[0].schedule
        opening = schedule.next_open(NOW + timedelta(seconds=start), NOW + HORIZON)
        return None if opening is None else max(start, (opening - NOW).total_seconds())


def simulated(own, others, pace):
    """When the last message of `own` has been paid for, in seconds from NOW; None if never."""
    senders = [
        Sender(
            sum(p.messages for p in each.pending),
            each,
            pace.seconds_for(1, *(getattr(each.pending[0], unit) / each.pending[0].messages
                              for unit in ("parts", "requests"))),
        )
        for each in (own, *others)
    ]  # fmt: skip
    now_s, served = (
        0.0,
        defaultdict(int),
    )  # the virtual time of the campaign served last, by priority
    while senders[0].left:
        starts = [(each.may_start(now_s), each) for each in senders if each.left]
        start = min((at for at, _ in starts if at is not None), default=None)
        if start is None:
            return None
        able = [each for at, each in starts if at == start]
        for each in able:  # start-time fair queueing: a campaign that was away does not catch up
            each.turn = max(each.turn, served[each.work.priority])
        sender = min(able, key=lambda each: (-each.work.priority, each.turn))
        served[sender.work.priority] = sender.turn
        sender.turn += 1
        sender.left -= 1
        if rate := sender.work.messages_per_second:
            ready = sender.may_start(sender.paid_until)
            sender.paid_until = max(ready, start - TOLERANCE_S) + 1 / rate
        now_s = start + sender.cost_s
    return now_s


rates = st.sampled_from([0.5, 1.0, 2.0, 5.0])
campaigns = st.builds(
    work,
    st.integers(200, 900),
    st.sampled_from([
        ALWAYS,
        Schedule.parse(["08:00-08:20", "08:35-10:00", "23:50-00:10"], [], BERLIN),
        Schedule.parse(["2026-10-23 08:10-08:30", "sat,sun 01:00-04:00"], [], BERLIN),
    ]),
    parts=st.sampled_from([1, 2, 3]),
    priority=st.integers(0, 1),
    messages_per_second=st.none() | rates.map(lambda rate: rate / 10),
    start_at=st.none() | st.integers(0, 3000).map(lambda s: NOW + timedelta(seconds=s)),
)  # fmt: skip
paces = st.builds(
    AccountCapacity,
    messages_per_second=rates,
    parts_per_second=st.none() | rates.map(lambda rate: 2 * rate),
)


@given(campaigns, st.lists(campaigns, max_size=2), paces)
@settings(max_examples=60, deadline=None)
def test_the_forecast_agrees_with_a_simulation_of_each_message(own, others, pace):
    """Within 1 % of the messages: at a window's edge a single one may make the difference."""
    really_s = simulated(own, others, pace)
    assert really_s is not None
    (sent,) = own.pending

    def foreseen_s(share, more):
        count = round(sent.messages * share) + more
        parts = sent.parts // sent.messages
        scaled = replace(own, pending=(pending(count, sent.schedule, parts=parts),))
        return (simulate_campaign(scaled, others, pace, NOW).finish_at - NOW).total_seconds()

    assert foreseen_s(0.99, -4) <= really_s <= foreseen_s(1.01, 4)
