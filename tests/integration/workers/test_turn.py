"""A batch's turn: which of its requests begin, what they pay, and what becomes of the others."""

import time
from collections import deque
from datetime import timedelta
from types import SimpleNamespace

import pytest

from dispatcher.errors import StoreError
from dispatcher.outbound.departure import NotBegun
from dispatcher.policy.fair_queue import SHORT_WAIT_S, TURN_S
from dispatcher.policy.pacing import LEAD_S
from dispatcher.status import BatchState
from dispatcher.store import suppressions
from dispatcher.store.engine import store_now
from dispatcher.store.tables import ATTEMPT, CAMPAIGN
from tests.support.stores import (
    FIRST_NUMBER,
    LEASE,
    NOW,
    add_campaign,
    batch_of,
    begin,
    campaign_of,
    change,
    claim,
    queued,
    rows,
    settle,
    states,
    verdict,
)
from tests.support.turns import THROTTLED, Stand, after
from workers.batch.begin import BegunGroup, Stagger, begin_requests
from workers.batch.prepared import PreparedBatch
from workers.batch.rates import batch_costs
from workers.batch.turn import Turn


def test_all_requests_leave_within_the_slots_and_the_batch_is_settled(sqlite_store, caplog):
    stand = Stand(sqlite_store, (1,) * 5)
    with caplog.at_level("INFO"):
        report = stand.run()
    assert report.summary
    assert f": {report.summary} in " in caplog.text
    assert (stand.sent, stand.flight.most) == ([0, 1, 2, 3, 4], 2)
    assert stand.state is BatchState.SETTLED
    assert states(sqlite_store) == ["submitted"] * 5
    assert (report.unsent, report.slots, report.is_unbegun, report.wait_s) == (0, 2, False, 0)
    assert [time_s for seen in stand.clock.seen for time_s in seen.answer_times_s] == [0.25] * 5
    first, *_, last = stand.clock.seen
    assert (first.was_full, last.was_full) == (True, False)
    assert (first.is_throttled, first.is_single, first.requests_per_second) == (False, True, None)
    assert first.commits_s > 0
    assert stand.recorded == [row.id for row in rows(sqlite_store, ATTEMPT)]
    assert stand.flight.is_closed


def test_with_enough_slots_they_leave_together_and_nothing_was_full(sqlite_store):
    stand = Stand(sqlite_store, (2, 1))
    stand.run()
    assert [len(group) for group in stand.flight.groups] == [2]
    assert (stand.clock.seen[0].was_full, stand.clock.seen[0].is_single) == (False, False)


def test_requests_start_as_far_apart_as_the_accounts_rate_says(sqlite_store):
    stand = Stand(sqlite_store, (1, 2, 1), messages_per_second=10)
    stand.run()
    one, two, three = stand.starts
    assert two - one >= 0.1 - 1e-3
    assert three - two >= 0.2 - 1e-3
    assert stand.clock.seen[0].requests_per_second == pytest.approx(10)
    paid_s = (stand.account.messages_paid_until - stand.now).total_seconds()
    assert paid_s >= 0.4 - 1e-3
    assert campaign_of(sqlite_store, stand.campaign).paid_until is None
    assert stand.state is BatchState.SETTLED


def test_of_several_rates_the_dearest_counts(sqlite_store):
    stand = Stand(sqlite_store, (1, 1), messages_per_second=20, requests_per_second=4)
    stand.run()
    one, two = stand.starts
    assert two - one >= 0.25 - 1e-3
    assert stand.clock.seen[0].requests_per_second == pytest.approx(4)


def test_the_campaigns_own_rate_is_paid_by_the_campaign(sqlite_store):
    stand = Stand(sqlite_store, (1, 1, 1), rate=20)
    stand.run()
    one, two, three = stand.starts
    assert min(two - one, three - two) >= 0.05 - 1e-3
    paid_s = (campaign_of(sqlite_store, stand.campaign).paid_until - stand.now).total_seconds()
    assert paid_s >= 0.15 - 1e-3
    assert stand.account.messages_paid_until is None


def test_a_rate_that_is_used_up_for_long_leaves_the_batch_to_its_caller(sqlite_store):
    stand = Stand(sqlite_store, messages_per_second=0.1)
    stand.change_account(messages_paid_until=after(stand, 10))
    report = stand.run()
    assert (stand.sent, stand.state) == ([], BatchState.CLAIMED)
    assert (report.is_unbegun, report.unsent, stand.clock.seen) == (True, 3, [])
    assert 9 < report.wait_s <= 10 + LEAD_S


def test_a_start_that_is_soon_is_waited_for(sqlite_store):
    stand = Stand(sqlite_store, (1,), messages_per_second=1)
    stand.change_account(messages_paid_until=after(stand, 0.6))
    waits_s, wait = [], stand.stopping.wait
    stand.stopping.wait = lambda wait_s: waits_s.append(wait_s) or wait(wait_s)
    began = time.monotonic()
    stand.run()
    assert (stand.sent, stand.state) == ([0], BatchState.SETTLED)
    assert time.monotonic() - began < 0.6 + LEAD_S
    assert 0 < len(waits_s) < 10  # it does not ask all the time


def test_an_answer_is_waited_for_until_more_may_begin(sqlite_store):
    stand = Stand(sqlite_store, (1,) * 3, messages_per_second=3, max_in_flight=8, timeout_s=30)
    stand.run()
    assert all(timeout_s < 1 for timeout_s in stand.flight.timeouts_s[:-2])
    assert max(stand.flight.timeouts_s[:-2]) > 0  # it does not ask all the time
    assert stand.flight.timeouts_s[-1] == 30


def test_the_campaigns_rate_counts_messages_whatever_their_parts(sqlite_store):
    stand = Stand(sqlite_store, (1, 1), rate=20, text="x" * 161)
    stand.run()
    one, two = stand.starts
    assert 0.05 - 1e-3 <= two - one < 0.08


def test_what_has_not_begun_when_the_turn_is_over_becomes_pending_again(sqlite_store):
    stand = Stand(sqlite_store, (1,) * 90, messages_per_second=5)
    report = stand.run()
    assert 2 <= len(stand.sent) < 90
    assert report.unsent == 90 - len(stand.sent)
    assert (stand.state, report.is_unbegun) == (BatchState.PENDING, False)
    assert states(sqlite_store).count("pending") == report.unsent


@pytest.mark.parametrize(
    "values", [{"paused_by": "operator"}, {"breaker": "open"}, {"not_before": "later"}]
)
def test_an_account_that_may_not_send_gets_its_batch_handed_back(sqlite_store, values, caplog):
    stand = Stand(sqlite_store)
    values = {key: after(stand, 60) if value == "later" else value for key, value in values.items()}
    stand.change_account(**values)
    with caplog.at_level("INFO"):
        report = stand.run()
    assert (stand.sent, stand.state) == ([], BatchState.PENDING)
    assert (report.is_unbegun, report.unsent, stand.clock.seen) == (False, 3, [])
    assert (report.summary, caplog.text) == (None, "")


def test_a_campaign_whose_rate_was_changed_meanwhile_gets_its_batch_handed_back(sqlite_store):
    stand = Stand(sqlite_store, rate=20)
    with sqlite_store.write() as conn:
        change(conn, CAMPAIGN, CAMPAIGN.c.id == stand.campaign, rate=1)
    stand.run()
    assert (stand.sent, stand.state) == ([], BatchState.PENDING)


def test_requests_stop_where_the_daily_limit_ends(sqlite_store):
    stand = Stand(sqlite_store, (1, 1, 1, 1), daily_limit=3)
    report = stand.run()
    assert stand.sent == [0, 1, 2]
    assert (stand.account.day_count, report.unsent) == (3, 1)
    assert stand.state is BatchState.PENDING
    assert states(sqlite_store) == ["submitted"] * 3 + ["pending"]


def test_a_process_that_ends_begins_nothing(sqlite_store):
    stand = Stand(sqlite_store)
    stand.stopping.set()
    report = stand.run()
    assert (stand.sent, stand.state, report.is_unbegun) == ([], BatchState.CLAIMED, True)


def test_after_an_answer_that_stops_the_account_nothing_more_begins(sqlite_store):
    stand = Stand(sqlite_store, (1,) * 5, answers={0: [THROTTLED]})
    stand.run()
    assert stand.sent == [0, 1]
    assert stand.flight.is_stopped
    assert stand.clock.seen[-1].is_throttled
    assert states(sqlite_store) == ["pending"] * 5
    assert stand.state is BatchState.PENDING
    assert stand.account.not_before >= after(stand, 1)


def test_a_request_that_missed_its_start_begins_again_and_leaves_once(sqlite_store):
    stand = Stand(sqlite_store, (1, 1), answers={0: [NotBegun("too late")]})
    report = stand.run()
    assert sorted(stand.sent) == [0, 0, 1]
    assert (stand.state, report.unsent) == (BatchState.SETTLED, 0)
    assert [len(seen.answer_times_s) for seen in stand.clock.seen] == [1, 1]
    assert states(sqlite_store) == ["submitted", "submitted"]


def test_a_begin_that_fails_leaves_nothing_begun(sqlite_store):
    stand = Stand(sqlite_store, (1, 1))
    twice = stand.batch.requests[0]
    stand.batch = PreparedBatch(
        at=stand.now, claim=stand.claim, provider=stand.batch.provider, requests=[twice, twice],
        account=stand.account, campaign=stand.batch.campaign,
    )  # fmt: skip
    with pytest.raises(StoreError):
        stand.run()
    assert stand.sent == []
    assert states(sqlite_store) == ["pending", "pending"]
    assert stand.flight.is_closed


@pytest.mark.parametrize(("used", "sent"), [(0, [0]), (2, [0]), (3, [])])
def test_a_request_that_the_day_has_no_room_for_goes_back_and_counts_no_try(
    sqlite_store, used, sent
):
    """Another batch has used up the day since this one was prepared."""
    stand = Stand(sqlite_store, (1, 3), daily_limit=3)
    stand.change_account(day_count=used, day_until=after(stand, 3600))
    report = stand.run()
    assert (stand.sent, stand.state, report.is_unbegun) == (sent, BatchState.PENDING, False)
    assert batch_of(sqlite_store, stand.claim.id).tries == 0


def test_a_batch_whose_first_request_has_no_room_in_the_day_goes_back(sqlite_store):
    stand = Stand(sqlite_store, (3,), daily_limit=3)
    stand.change_account(day_count=1, day_until=after(stand, 3600))
    report = stand.run()
    assert (stand.sent, stand.state, report.is_unbegun) == ([], BatchState.PENDING, False)


def waiting_before(store, *, seconds=1, **campaign):
    """Another campaign's batch, released `seconds` before the stand's and not begun yet."""
    with store.read() as conn:
        released_at = store_now(conn) - timedelta(seconds=seconds)
    add_campaign(store, (1,), **campaign)
    return claim(store, queued(store, now=released_at)[0], now=released_at, lease=LEASE)


def first_begin(stand, *, may_stagger=False):
    """What the first look for a start gives: the begun requests, or the seconds to wait."""
    return begin_requests(
        stand.services, stand.batch, batch_costs(stand.batch), [0],
        is_first=True, may_stagger=may_stagger, settle=lambda _conn, _now: None,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("before", "account", "left_s"),
    [
        ({}, {}, 0.25),
        ({}, {"messages_per_second": 2}, 0.5),
        ({"seconds": -1}, {}, 0.0),  # released later
        ({"seconds": 11}, {}, 0.0),  # its worker was lost
        ({"account": "other"}, {}, 0.0),
        ({"rate": 1, "paid_until": NOW + timedelta(days=9999)}, {}, 0.0),  # waits for its own rate
    ],
)
def test_a_start_that_an_earlier_batch_waits_for_is_left_to_it(store, before, account, left_s):
    earlier = waiting_before(store, **before)
    stand = Stand(store, (1,), **{"messages_per_second": 4, **account})
    # As far as a rate may be paid at all, whatever the time that this takes.
    stand.change_account(messages_paid_until=after(stand, 100))
    waits_s = first_begin(stand)
    begin(store, earlier, now=stand.now)
    assert waits_s - first_begin(stand) == pytest.approx(left_s)


def test_a_rate_that_is_free_leaves_nobody_waiting_for_another(store):
    waiting_before(store)
    stand = Stand(store, (1,), messages_per_second=4)
    assert isinstance(first_begin(stand), BegunGroup)


def test_a_start_that_is_near_is_left_to_an_earlier_batch_too(sqlite_store):
    earlier = waiting_before(sqlite_store)
    stand = Stand(sqlite_store, (1,), messages_per_second=0.5)
    for _ in range(50):
        # Commits that take a second: starts are given up to two seconds before their time.
        stand.services.paces.of("main").note_commit(1.0)
    stand.change_account(messages_paid_until=after(stand, 1.9))
    assert first_begin(stand) > 2
    begin(sqlite_store, earlier, now=stand.now)
    assert isinstance(first_begin(stand), BegunGroup)


def begin_next(store, *, left):
    """Begin the next pending batch, and settle all but so many of its messages."""
    held = claim(store, queued(store)[0])
    seqs = range(held.first_seq, held.first_seq + held.size)
    attempts = begin(store, held, [[seq] for seq in seqs])
    for seq, attempt in list(zip(seqs, attempts, strict=True))[left:]:
        settle(store, held, attempt, verdict(accepted=[seq]))


@pytest.mark.parametrize(
    ("sizes", "left", "per_second", "waits_s"),
    [
        ((1,) * 4, 4, 4, 0.5),
        ((2, 2), 4, 4, 0.5),
        ((1,) * 4, 4, 5, 0.4),
        ((1,) * 4, 4, 8, 0.25),  # just as long as half a turn
        ((1,) * 4, 4, 0.1, 0.5),  # half a turn, however slow the rate
        ((1,) * 4, 4, 10, None),  # it ends soon
        ((1,) * 4, 3, 4, None),  # no longer just begun
        ((4,), 4, 4, None),  # nothing but its only start
        ((1,), 4, 4, None),
        ((1,) * 4, 4, None, None),
    ],
)
def test_a_batch_lets_one_of_its_campaign_that_has_just_begun_go_ahead(
    store, sizes, left, per_second, waits_s
):
    limits = {} if per_second is None else {"messages_per_second": per_second}
    stand = Stand(store, sizes, beside=[4], **limits)
    begin_next(store, left=left)
    found = first_begin(stand, may_stagger=True)
    if waits_s is None:
        assert isinstance(found, BegunGroup)
    else:
        assert isinstance(found, Stagger)
        assert found.wait_s == pytest.approx(waits_s)
        assert isinstance(first_begin(stand), BegunGroup)


@pytest.mark.parametrize("account", ["main", "other"])
def test_a_batch_waits_for_none_of_another_campaign(store, account):
    """That may have a slower rate of its own, or be much larger."""
    stand = Stand(store, (1,) * 4, messages_per_second=4)
    add_campaign(store, (40,), account=account)
    begin_next(store, left=40)
    assert isinstance(first_begin(stand, may_stagger=True), BegunGroup)


def test_a_batch_lets_another_go_ahead_only_once(sqlite_store):
    stand = Stand(sqlite_store, (1,) * 40, beside=[40], messages_per_second=80)
    begin_next(sqlite_store, left=40)
    began = time.monotonic()
    stand.run()
    assert time.monotonic() - began > 0.25
    assert stand.sent == [*range(40)]


@pytest.mark.parametrize(("listed", "left"), [(4, ["submitted"] * 4), (2, None)])
def test_who_opts_out_during_a_turn_is_not_sent_to(sqlite_store, listed, left):
    """Later requests of the turn are looked up again; the rest of the batch goes on in another."""
    stand = Stand(sqlite_store, (1,) * 5)
    collect = stand.flight.collect

    def opt_out_and_collect(*, timeout_s):
        with sqlite_store.write() as conn:
            suppressions.add_numbers(
                conn,
                [FIRST_NUMBER + listed],
                suppressions.ANY_ACCOUNT,
                suppressions.SuppressionOrigin(None, "cli", "asha@mail1"),
                NOW,
            )
        return collect(timeout_s=timeout_s)

    stand.flight.collect = opt_out_and_collect
    stand.run()
    assert listed not in stand.sent
    assert states(sqlite_store)[listed] == "suppressed"
    if left is not None:
        assert states(sqlite_store)[:listed] == left
        assert stand.state is BatchState.SETTLED
    else:
        assert stand.state is BatchState.PENDING


@pytest.mark.parametrize(
    ("ends_s", "wait_s", "is_over"),
    [(None, SHORT_WAIT_S, False), (None, SHORT_WAIT_S + 0.1, True), (9, 8, False), (9, 10, True)],
)
def test_a_turn_waits_for_a_start_that_comes_soon_or_before_its_end(ends_s, wait_s, is_over):
    ends_at = None if ends_s is None else time.monotonic() + ends_s
    turn = SimpleNamespace(_ends_at=ends_at, _is_over=False, _wait_s=None)
    Turn._wait_for_start(turn, wait_s)
    assert (turn._is_over, turn._wait_s) == (is_over, wait_s if is_over else None)
    assert turn._next_begin_at == pytest.approx(time.monotonic() + wait_s, abs=1)


class Waited:
    """A flight with so many requests under way; notes how long it is waited for."""

    def __init__(self, under_way):
        self.under_way, self.timeout_s = under_way, None

    def collect(self, *, timeout_s):
        self.timeout_s = timeout_s
        return []


def turn_of(stand, *, under_way, todo, is_over):
    turn = Turn(stand.services, stand.batch)
    turn._flight, turn._todo, turn._is_over = Waited(under_way), deque(todo), is_over
    return turn


@pytest.mark.parametrize(
    ("under_way", "todo", "is_over", "others", "goes_on"),
    [
        (1, [1], False, 0, True),
        (0, [1], False, 0, False),
        (1, [], False, 0, False),
        (1, [1], True, 0, False),
        (1, [1], False, 1, False),
    ],
)
def test_a_turn_goes_on_while_answers_are_slow_and_nobody_else_wants_its_slots(
    sqlite_store, under_way, todo, is_over, others, goes_on
):
    stand = Stand(sqlite_store)
    if others:
        add_campaign(sqlite_store, (1,), first=FIRST_NUMBER + 100)
    turn = turn_of(stand, under_way=under_way, todo=todo, is_over=is_over)
    turn._ends_at = 5.0
    turn._end_or_extend()
    assert (turn._ends_at, turn._is_over) == ((5.0 + TURN_S, False) if goes_on else (5.0, True))


@pytest.mark.parametrize(
    ("under_way", "todo", "is_over", "is_short"),
    [(1, [1], False, True), (2, [1], False, False), (1, [], False, False), (1, [1], True, False)],
)
def test_an_answer_is_waited_for_only_until_a_free_slot_may_be_used(
    sqlite_store, under_way, todo, is_over, is_short
):
    stand = Stand(sqlite_store, timeout_s=30)
    turn = turn_of(stand, under_way=under_way, todo=todo, is_over=is_over)
    turn._next_begin_at = time.monotonic() + 3
    turn._collect()
    assert turn._flight.timeout_s == (pytest.approx(3, abs=2) if is_short else 30)


def test_answers_that_came_before_a_begin_that_fails_are_stored(sqlite_store):
    stand = Stand(sqlite_store, (1, 1, 1))
    stand.batch.requests[2] = stand.batch.requests[0]  # who was accepted already
    with pytest.raises(StoreError):
        stand.run()
    assert stand.sent == [0, 1]
    assert states(sqlite_store) == ["submitted", "submitted", "pending"]
    assert stand.state is BatchState.PENDING
