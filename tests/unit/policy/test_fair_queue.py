"""Which batch is next: priority first, fair between equal campaigns, within the budget."""

from collections import Counter
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dispatcher.policy.fair_queue import (
    RELEASE_AHEAD_S,
    Budget,
    DueBatch,
    QueuedCampaign,
    RateUsage,
    Unit,
    end_of_day,
    poll_delay,
    select_batches,
    slots_of,
)

#: Per campaign: its rank, what it was served before, and the sizes of its due batches.
campaigns = st.lists(
    st.tuples(st.integers(-2, 2), st.integers(0, 50), st.lists(st.integers(1, 20), max_size=8)),
    max_size=5,
)
budgets = st.tuples(st.integers(-2, 30), st.one_of(st.none(), st.floats(0.5, 100)))


def run(given_campaigns, slots, rate=None, messages_left=None):
    """The chosen (campaign, batch) in order; a batch's id is its place in its campaign."""
    contenders = [
        QueuedCampaign(campaign_id=n, rank=rank, virtual_time=served)
        for n, (rank, served, _) in enumerate(given_campaigns)
    ]
    usages = [] if rate is None else [RateUsage(Unit.MESSAGES, rate)]
    budget = Budget(max_in_flight=slots, rates=usages, messages_left=messages_left)

    def due(campaign_id):
        sizes = given_campaigns[campaign_id][2]
        return (DueBatch(place, size) for place, size in enumerate(sizes))

    chosen = [(one.campaign_id, batch) for one, batch in select_batches(contenders, due, budget)]
    return chosen, contenders


@given(campaigns, budgets)
def test_batches_are_selected_once_in_order_and_within_the_budget(given_campaigns, budget):
    slots, rate = budget
    chosen, _ = run(given_campaigns, slots, rate)
    assert len(chosen) <= max(0, slots)
    for n in range(len(given_campaigns)):
        places = [batch.id for campaign, batch in chosen if campaign == n]
        assert places == list(range(len(places)))
    if rate is not None and chosen:
        before_the_last = sum(batch.size for _, batch in chosen[:-1])
        assert before_the_last / rate <= RELEASE_AHEAD_S + 1e-9


@given(campaigns, st.integers(0, 60))
def test_nothing_is_left_while_there_is_room(given_campaigns, slots):
    chosen, _ = run(given_campaigns, slots)
    assert len(chosen) == min(slots, sum(len(sizes) for *_, sizes in given_campaigns))


@given(campaigns, st.integers(0, 30))
def test_a_lower_priority_is_served_only_after_all_higher_ones(given_campaigns, slots):
    chosen, _ = run(given_campaigns, slots)
    ranks = [given_campaigns[campaign][0] for campaign, _ in chosen]
    assert ranks == sorted(ranks)


@given(campaigns, st.integers(0, 30))
def test_of_equal_campaigns_none_is_ahead_by_more_than_one_batch(given_campaigns, slots):
    """Of two with batches left, one is ahead by its last batch, or was so from the start."""
    chosen, contenders = run(given_campaigns, slots)
    taken = Counter(campaign for campaign, _ in chosen)
    for a in contenders:
        for b in contenders:
            has_left = taken[b.campaign_id] < len(given_campaigns[b.campaign_id][2])
            if a.rank != b.rank or not has_left or not taken[a.campaign_id]:
                continue
            last = [batch.size for campaign, batch in chosen if campaign == a.campaign_id][-1]
            assert a.virtual_time - last <= b.virtual_time


@given(campaigns, st.integers(0, 30))
def test_virtual_time_counts_messages(given_campaigns, slots):
    chosen, contenders = run(given_campaigns, slots)
    for one in contenders:
        served = sum(batch.size for campaign, batch in chosen if campaign == one.campaign_id)
        assert one.virtual_time == given_campaigns[one.campaign_id][1] + served


@pytest.mark.parametrize(
    ("messages_left", "count"), [(None, 4), (0, 0), (-3, 0), (1, 1), (10, 1), (11, 2), (40, 4)]
)
def test_release_ends_with_the_rest_of_the_day(messages_left, count):
    chosen, _ = run([(0, 0, [10] * 4)], 9, messages_left=messages_left)
    assert len(chosen) == count


def test_a_campaign_whose_own_rate_is_used_up_lets_the_others_pass():
    slow = QueuedCampaign(
        campaign_id=0, rank=-1, virtual_time=0, own_rate=RateUsage(Unit.MESSAGES, 10, ahead_s=1)
    )
    fast = QueuedCampaign(campaign_id=1, rank=0, virtual_time=0)
    chosen = select_batches(
        [slow, fast], lambda _: iter([DueBatch(n, 10) for n in range(3)]), Budget(9)
    )
    assert [one.campaign_id for one, _ in chosen] == [0, 1, 1, 1]


@pytest.mark.parametrize(
    ("unit", "cost"), [(Unit.MESSAGES, 7), (Unit.PARTS, 14), (Unit.REQUESTS, 1)]
)
def test_a_batch_pays_each_rate_in_its_own_unit(unit, cost):
    batch = DueBatch(1, 7, requests=1, parts=14)
    lane = RateUsage(unit, per_second=2, ahead_s=-5)
    budget = Budget(max_in_flight=8, rates=[lane], messages_left=20)
    budget.book_batch(batch)
    assert lane.ahead_s == cost / 2  # a rate that was idle has saved nothing up
    assert (budget.slots, budget.messages_left) == (7, 13)


def bundled(batches, slots, *, rates=()):
    """The ids of what is released of these batches, one of each campaign; and the budget then."""
    contenders = [
        QueuedCampaign(campaign_id=n, rank=0, virtual_time=n) for n in range(len(batches))
    ]
    budget = Budget(slots, [*rates], may_bundle=True)
    chosen = select_batches(contenders, lambda n: iter([batches[n]]), budget)
    return [batch.id for _, batch in chosen], budget


def test_small_batches_of_different_campaigns_share_a_turn_and_its_slots():
    chosen, budget = bundled([DueBatch(n, 4, requests=4) for n in range(140)], 50)
    assert chosen == list(range(128))
    assert budget.bundles == [[*range(64)], [*range(64, 128)]]
    assert budget.slots == 0


def test_few_slots_make_small_bundles():
    _, budget = bundled([DueBatch(n, 1) for n in range(200)], 4)
    assert [len(ids) for ids in budget.bundles] == [32, 32]  # two slots each
    _, budget = bundled([DueBatch(n, 1) for n in range(200)], 1)
    assert [len(ids) for ids in budget.bundles] == [16]


@pytest.mark.parametrize(
    ("unit", "size"), [(Unit.MESSAGES, 10), (Unit.PARTS, 5), (Unit.REQUESTS, 20)]
)
def test_a_bundle_takes_four_tenths_of_a_second_of_each_rate(unit, size):
    rate = RateUsage(unit, per_second=50)
    _, budget = bundled([DueBatch(n, 2, requests=1, parts=4) for n in range(40)], 64, rates=[rate])
    assert {len(ids) for ids in budget.bundles[:-1]} == {size}


def test_a_large_batch_and_one_of_the_same_campaign_have_their_own_turn():
    _, budget = bundled([DueBatch(0, 500, requests=500), DueBatch(1, 1), DueBatch(2, 1)], 16)
    assert budget.bundles == [[1, 2]]
    one = QueuedCampaign(campaign_id=0, rank=0, virtual_time=0)
    budget = Budget(8, may_bundle=True)
    due = [DueBatch(n, 1) for n in range(3)]
    assert len([*select_batches([one], lambda _: iter(due), budget)]) == 3
    assert budget.bundles == []


def test_more_campaigns_are_looked_at_where_they_may_be_bundled():
    assert Budget(50).most_batches == 50
    assert Budget(50, may_bundle=True).most_batches == 512
    assert Budget(600, may_bundle=True).most_batches == 600


@pytest.mark.parametrize(
    ("max_in_flight", "requests", "released"),
    [
        (4, [2, 2, 2], [0, 1]),
        (4, [500, 1, 1, 500, 1], [0, 1, 2]),
        (16, [500, 2, 500, 500, 1], [0, 1]),
        (1, [3, 1], [0]),
    ],
)
def test_batches_are_released_while_they_find_their_slots(max_in_flight, requests, released):
    due = [DueBatch(n, 1, requests=needed) for n, needed in enumerate(requests)]
    contender = QueuedCampaign(campaign_id=0, rank=0, virtual_time=0)
    chosen = select_batches([contender], lambda _: iter(due), Budget(max_in_flight))
    assert [batch.id for _, batch in chosen] == released


def test_a_large_batch_waits_for_its_slots_and_no_other_overtakes_it():
    budget = Budget(16)
    budget.book_batch(DueBatch(9, 500, requests=500))
    budget.book_batch(DueBatch(8, 1))
    large, small = QueuedCampaign(campaign_id=0, rank=0, virtual_time=0), QueuedCampaign(1, 0, 5)
    due = {0: [DueBatch(0, 500, requests=500)], 1: [DueBatch(1, 1)]}
    assert list(select_batches([large, small], lambda n: iter(due[n]), budget)) == []


@pytest.mark.parametrize(
    ("budget", "is_spent"),
    [
        (Budget(0), True),
        (Budget(1), False),
        (Budget(1, messages_left=0), True),
        (Budget(1, messages_left=1), False),
        (Budget(1, [RateUsage(Unit.MESSAGES, 1, ahead_s=RELEASE_AHEAD_S)]), False),
        (Budget(1, [RateUsage(Unit.MESSAGES, 1, ahead_s=RELEASE_AHEAD_S + 0.1)]), True),
    ],
)
def test_a_budget_is_spent_with_its_slots_its_day_or_one_of_its_rates(budget, is_spent):
    assert budget.is_spent is is_spent


@pytest.mark.parametrize(
    ("requests", "max_in_flight", "slots"),
    [(1, 4, 1), (1, 1, 1), (500, 1, 1), (500, 4, 2), (500, 10, 5), (500, 100, 50), (3, 100, 3)],
)
def test_a_batch_of_many_requests_gets_a_share_of_the_slots(requests, max_in_flight, slots):
    assert slots_of(requests, max_in_flight) == slots


def test_a_batch_of_many_requests_uses_up_what_can_leave_in_its_turn():
    usage = RateUsage(Unit.MESSAGES, 50)
    usage.book_batch(DueBatch(1, size=500, requests=500))
    assert usage.ahead_s == 1.0
    usage.book_batch(DueBatch(1, size=2000, requests=1))
    assert usage.ahead_s == 41.0


@pytest.mark.parametrize(
    ("now", "zone", "end"),
    [
        ("2026-03-28T12:00", "UTC", "2026-03-29T00:00"),
        ("2026-03-28T19:00", "Asia/Kolkata", "2026-03-29T18:30"),
        ("2026-03-29T00:30", "Europe/Berlin", "2026-03-29T22:00"),  # the day has 23 hours
        ("2026-10-24T22:30", "Europe/Berlin", "2026-10-25T23:00"),  # 25 hours
    ],
)
def test_a_day_ends_at_midnight_of_its_zone(now, zone, end):
    moment = datetime.fromisoformat(now).replace(tzinfo=UTC)
    assert end_of_day(moment, ZoneInfo(zone)) == datetime.fromisoformat(end).replace(tzinfo=UTC)


def test_polls_come_slower_and_slower_up_to_a_limit():
    waits = [poll_delay(n, first_s=10, max_s=300) for n in range(60)]
    assert waits[:3] == [10, 15, 22.5]
    assert waits == sorted(waits)
    assert waits[-1] == poll_delay(10**9, first_s=10, max_s=300) == 300
