"""Days of campaigns in seconds: the real store and the real decisions, with a clock of our own.

The clock goes from one tick that can do something to the next, and samples the others. There is no
Redis: every reservation is made by the store's floors alone, as after a FLUSHALL each time.
"""

from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest

from dispatcher.campaigns.gate import campaign_schedule, send_permission
from dispatcher.campaigns.timing import Timing
from dispatcher.forecast.service import account_capacity, open_workloads
from dispatcher.forecast.simulation import simulate_campaign
from dispatcher.outbound.rates import account_rates, campaign_longest_s, seconds_ahead
from dispatcher.outbound.release import release_batches
from dispatcher.policy.fair_queue import RELEASE_AHEAD_S, SHORT_WAIT_S, Unit, end_of_day
from dispatcher.status import BatchState, CampaignState
from dispatcher.store import accounts, attempts, campaign_search, campaigns
from dispatcher.store.attempts import BeginConditions
from dispatcher.store.tables import BATCH, CAMPAIGN
from tests.support.stores import (
    add_campaign,
    assert_counts_agree,
    batch_of,
    campaign_of,
    change,
    claim,
    close,
    counts_of,
    rows,
    settings,
    settle,
    verdict,
)

BERLIN = ZoneInfo("Europe/Berlin")
TICK = timedelta(seconds=1)
ANSWER = timedelta(milliseconds=5)


@dataclass(frozen=True)
class Left:
    """A request that left."""

    at: datetime
    campaign_id: int
    messages: int


class Replay:
    """The scheduler and one worker of an account, by a clock that the test sets."""

    def __init__(self, store, now, **values):
        self.store = store
        self.now = now
        self.account = settings(**values)
        self.left = []

    def forecast(self, campaign_id):
        """What `show` would say now."""
        with self.store.read() as conn:
            works = open_workloads(conn, self.account, "main")
            pace = account_capacity(accounts.find_account(conn, "main"), self.account, self.now)
        return simulate_campaign(works.pop(campaign_id), [*works.values()], pace, self.now)

    def run(self, *, most_ticks=5000):
        """Tick until every campaign is over."""
        for _ in range(most_ticks):
            self.tick()
            with self.store.read() as conn:
                if not campaigns.list_running_accounts(conn):
                    return
            self.skip()
        pytest.fail(f"still running at {self.now}")

    def tick(self):
        with self.store.write() as conn:
            campaigns.lapse_expired(conn, self.now)
            campaigns.start_due(conn, self.now)
            tickets = release_batches(conn, "main", self.account, self.now)
        while tickets:
            for ticket in tickets:
                self.submit(ticket)
            with self.store.write() as conn:
                campaigns.lapse_expired(conn, self.now)
                campaigns.start_due(conn, self.now)
                tickets = release_batches(conn, "main", self.account, self.now)
        with self.store.write() as conn:
            campaigns.finish_campaigns(conn, self.now)

    def submit(self, ticket):
        """As a worker: the rate is waited for, the rest is asked of `begin`."""
        held = claim(self.store, ticket, now=self.now)
        with self.store.read() as conn:
            account, campaign = (
                accounts.find_account(conn, "main"),
                campaigns.load_campaign(conn, held.campaign_id),
            )
        rates = account_rates(self.account)
        paid = [(account.paid_until(unit), rate) for unit, rate in rates.items()]
        ahead = [seconds_ahead(until, self.now, longest_s=rate.longest_s) for until, rate in paid]
        if campaign.rate is not None:
            longest_s = campaign_longest_s(self.account, campaign.rate)
            ahead.append(seconds_ahead(campaign.paid_until, self.now, longest_s=longest_s))
        wait_s = max([0.0, *ahead])
        assert wait_s <= SHORT_WAIT_S, "it was released too early"
        self.now += timedelta(seconds=wait_s)
        costs = {Unit.MESSAGES: held.size, Unit.PARTS: held.size, Unit.REQUESTS: 1}
        terms = BeginConditions(
            gate=lambda row, at: send_permission(self.account, row, held.zone, at),
            deadline=self.now + timedelta(seconds=60),
            offsets_s=[0.0],
            paid_for_s={unit: costs[unit] / rate.per_second for unit, rate in rates.items()},
            campaign_paid_for_s=held.size / campaign.rate if campaign.rate else None,
            daily_limit=self.account.daily_limit,
            day_until=end_of_day(self.now, ZoneInfo(self.account.timezone)),
        )
        seqs = [*range(held.first_seq, held.first_seq + held.size)]
        with self.store.write() as conn:
            locked = attempts.lock_for_begin(conn, held)
            begun = attempts.begin_attempts(
                conn, held, [seqs], locked=locked, terms=terms, now=self.now
            )
        if begun is None:
            assert batch_of(self.store, held.id).state == BatchState.PENDING
            return
        self.left.append(Left(self.now, held.campaign_id, held.size))
        self.now += ANSWER
        settle(
            self.store, held, begun.attempt_ids[0], verdict(accepted=seqs), poll=None, now=self.now
        )
        close(self.store, held, now=self.now)

    def skip(self):
        """On to the next tick that can release, having looked at one in between."""
        target = max(self.now + TICK, self._next())
        middle = self.now + (target - self.now) / 2
        with self.store.write() as conn:
            assert release_batches(conn, "main", self.account, middle) == [], (
                f"released at {middle}"
            )
        seconds = (target - self.now) // TICK
        self.now += seconds * TICK + (TICK if self.now + seconds * TICK < target else 0 * TICK)

    def _next(self):
        with self.store.read() as conn:
            account = accounts.find_account(conn, "main")
            running = campaigns.list_running_accounts(conn) and campaign_search.list_newest(
                conn,
                limit=100,
                only=campaign_search.CampaignFilter(states=[CampaignState.RUNNING]),
                single=False,
            )
        ahead = timedelta(seconds=RELEASE_AHEAD_S)
        paid = [account.paid_until(unit) for unit in account_rates(self.account)]
        free = max((until - ahead for until in paid if until is not None), default=self.now)
        if accounts.messages_left_today(account, self.account.daily_limit, self.now) == 0:
            free = max(free, account.day_until)
        changes = []
        for row in running or []:
            own = max(free, row.paid_until - ahead) if row.paid_until else free
            opens = campaign_schedule(self.account, row, None).next_open(max(own, self.now))
            changes += [at for at in (opens, row.expire_at) if at is not None]
        return min(changes, default=self.now)


def is_inside(at, windows, zone, blackouts=()):
    """By the clock on the wall, without the code under test; no edge lies in a gap or fold."""
    local = at.astimezone(zone)
    reading = local.time().replace(tzinfo=None)
    return str(local.date()) not in blackouts and any(
        start <= reading < end for start, end in windows
    )


def gaps(replay):
    return [b.at - a.at for a, b in pairwise(replay.left)]


NIGHT = [(time(1, 30), time(3, 30)), (time(9), time(17))]
SPOKEN = ("01:30-03:30", "09:00-17:00")


@pytest.mark.parametrize(
    ("start", "night_hours"),
    [
        pytest.param("2026-03-28T08:00", (2, 1), id="spring"),
        pytest.param("2026-10-24T07:00", (2, 3), id="autumn"),
    ],
)
def test_three_days_over_a_change_of_clocks_stay_inside_and_end_as_forecast(
    sqlite_store, start, night_hours
):
    start = datetime.fromisoformat(start).replace(tzinfo=UTC)  # 09:00 in Berlin
    timing = Timing(windows=SPOKEN, zone=BERLIN)
    # Three days of 8 hours, and two nights, one of which has a change: all but an hour.
    hours = 3 * 8 + sum(night_hours) - 1
    campaign_id = add_campaign(sqlite_store, [100] * (hours * 3), schedule=timing.schedule)
    replay = Replay(sqlite_store, start, messages_per_second=1 / 12)  # a batch every twenty minutes
    told = replay.forecast(campaign_id)
    replay.run()
    assert sum(each.messages for each in replay.left) == hours * 3 * 100
    assert [each for each in replay.left if not is_inside(each.at, NIGHT, BERLIN)] == []
    assert min(gaps(replay)) >= timedelta(minutes=20)
    finished = replay.left[-1].at + timedelta(minutes=20)  # when the last one is paid
    assert abs(finished - told.finish_at) <= 0.01 * (told.finish_at - start)
    assert told.finish_at - start >= timedelta(days=2, hours=6)
    assert campaign_of(sqlite_store, campaign_id).state == CampaignState.FINISHED


def test_the_days_limit_a_blackout_and_an_expiry_end_as_forecast(sqlite_store):
    start = datetime(2026, 12, 23, 8, 0, tzinfo=UTC)  # 09:00 in Berlin
    timing = Timing(windows=("09:00-17:00",), blackouts=("2026-12-25",), zone=BERLIN)
    expires = datetime(2026, 12, 26, 9, 0, tzinfo=UTC)
    campaign_id = add_campaign(
        sqlite_store, [100] * 100, schedule=timing.schedule, expire_at=expires
    )
    replay = Replay(
        sqlite_store, start, messages_per_second=0.5, daily_limit=2000, timezone="Europe/Berlin"
    )
    told = replay.forecast(campaign_id)
    replay.run()
    by_day = {}
    for each in replay.left:
        day = str(each.at.astimezone(BERLIN).date())
        by_day[day] = by_day.get(day, 0) + each.messages
    # 2000 a day at 1800 an hour; none on the 25th; on the 26th an hour until the expiry.
    assert by_day == {"2026-12-23": 2000, "2026-12-24": 2000, "2026-12-26": 1800}
    lapsed = counts_of(sqlite_store, campaign_id)["lapsed"]
    assert (lapsed, told.lapsed) == (4200, 4200)
    assert told.finish_at == expires


def test_five_campaigns_share_an_account_equally(sqlite_store):
    start = datetime(2026, 5, 4, 12, 0, tzinfo=UTC)
    large = [
        add_campaign(sqlite_store, [size] * (1500 // size), first=10**9 * (n + 1))
        for n, size in enumerate([20, 30, 50, 60, 100])
    ]
    replay = Replay(sqlite_store, start, messages_per_second=100, max_in_flight=1)
    told = replay.forecast(large[0])
    replay.run()
    halfway = [each for each in replay.left if each.at < start + timedelta(seconds=37)]
    shares = {c: sum(e.messages for e in halfway if e.campaign_id == c) for c in large}
    assert max(shares.values()) - min(shares.values()) <= 200, shares
    last = max(each.at for each in replay.left if each.campaign_id == large[0])
    assert abs(last - told.finish_at) <= 0.03 * (told.finish_at - start)


def test_a_small_campaign_in_the_middle_of_a_large_one_takes_about_twice_its_own_time(
    sqlite_store,
):
    start = datetime(2026, 5, 4, 12, 0, tzinfo=UTC)
    add_campaign(sqlite_store, [50] * 200)
    small = add_campaign(
        sqlite_store,
        [50] * 10,
        first=10**9,
        state=CampaignState.SCHEDULED,
        start_at=start + timedelta(seconds=60),
    )
    replay = Replay(sqlite_store, start, messages_per_second=50, max_in_flight=4)
    told = replay.forecast(small)
    replay.run()
    times = [each.at for each in replay.left if each.campaign_id == small]
    took = (times[-1] - (start + timedelta(seconds=60))).total_seconds() + 1
    assert 19 <= took <= 23, took  # alone it takes ten seconds
    assert abs(times[-1] - told.finish_at) <= timedelta(seconds=3)


def test_nothing_is_left_in_flight_when_a_window_closes(sqlite_store):
    start = datetime(2026, 5, 4, 15, 59, 50, tzinfo=UTC)
    timing = Timing(windows=("09:00-16:00",), zone=UTC)
    campaign_id = add_campaign(sqlite_store, [10] * 30, schedule=timing.schedule)
    replay = Replay(sqlite_store, start, messages_per_second=10)
    replay.tick()
    for _ in range(30):
        replay.now += TICK
        replay.tick()
    assert len(replay.left) == 10
    assert max(each.at for each in replay.left) < datetime(2026, 5, 4, 16, tzinfo=UTC)
    open_ = rows(sqlite_store, BATCH, BATCH.c.campaign_id == campaign_id)
    assert sum(batch.state == BatchState.PENDING for batch in open_) == 20
    assert_counts_agree(sqlite_store)


def test_a_scheduler_that_was_down_catches_up_without_a_burst(sqlite_store):
    start = datetime(2026, 5, 4, 12, 0, tzinfo=UTC)
    add_campaign(sqlite_store, [100] * 12)
    replay = Replay(sqlite_store, start, messages_per_second=10)
    for _ in range(4):
        replay.tick()
        replay.now += timedelta(seconds=10)
    replay.now += timedelta(hours=1)
    replay.run()
    assert len(replay.left) == 12
    assert max(gaps(replay)) >= timedelta(hours=1)
    assert min(gaps(replay)) >= timedelta(seconds=10)


def test_campaigns_that_waited_for_the_same_opening_do_not_leave_together(sqlite_store):
    opening = datetime(2026, 5, 4, 9, 0, tzinfo=UTC)
    timing = Timing(windows=("09:00-16:00",), zone=UTC)
    for n in range(3):
        add_campaign(sqlite_store, [10] * 5, first=10**9 * (n + 1), schedule=timing.schedule)
    replay = Replay(sqlite_store, opening - timedelta(seconds=9.5), messages_per_second=10)
    replay.run()
    assert opening <= replay.left[0].at < opening + timedelta(seconds=1.5)
    assert (len(replay.left), min(gaps(replay)) >= timedelta(seconds=1)) == (15, True)


def test_one_a_minute_is_one_a_minute_through_a_pause_and_a_night(sqlite_store):
    start = datetime(2026, 5, 4, 15, 57, 30, tzinfo=UTC)
    timing = Timing(windows=("09:00-16:00",), zone=UTC)
    campaign_id = add_campaign(sqlite_store, [1] * 6, rate=1 / 60, schedule=timing.schedule)
    replay = Replay(sqlite_store, start, messages_per_second=100)
    replay.tick()
    for state in (CampaignState.PAUSED, CampaignState.RUNNING):
        with sqlite_store.write() as conn:
            change(conn, CAMPAIGN, CAMPAIGN.c.id == campaign_id, state=state)
        replay.tick()
    replay.run()
    assert [f"{each.at:%d %H:%M}" for each in replay.left] == [
        "04 15:57", "04 15:58", "04 15:59", "05 09:00", "05 09:01", "05 09:02",
    ]  # fmt: skip
    assert min(gaps(replay)) >= timedelta(minutes=1)
