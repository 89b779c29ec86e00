"""One worker at a time holds a batch; the batches of a lost worker are found and swept."""

import threading

import orjson
import pytest

from dispatcher.outbound.presence import Presence
from dispatcher.outbound.sweep import sweep_batches
from dispatcher.status import AttemptOutcome, BatchState, CampaignState
from dispatcher.store import batch_endings, batches, lost_batches, scheduler, tickets
from dispatcher.store.corrections import Correction, count_corrections, load_corrections
from dispatcher.store.tables import BATCH, CAMPAIGN, SCHEDULER
from tests.support.stores import (
    LEASE,
    NOW,
    add_campaign,
    attempt_of,
    batch_of,
    begin,
    change,
    claim,
    claimed,
    close,
    interrupt,
    later,
    queued,
    rows,
    settle,
    states,
    submitting,
    verdict,
)

CLAIM, SUBMISSION = Correction.CLAIM_LEASE_EXPIRED, Correction.SUBMISSION_LEASE_EXPIRED


def hand_back(store, held, **values):
    with store.write() as conn:
        return batch_endings.hand_back(conn, held, now=NOW, **values)


def renew(store, held, until):
    with store.write() as conn:
        return batches.renew_leases(conn, [(h.id, h.fence) for h in held], until)


def swept(store, *, now=NOW, judge_after=NOW, requeue_after_s=3600):
    with store.write() as conn:
        scheduler.begin_tick(conn, LEASE, lambda _conn: now)
        return sweep_batches(
            conn, now=now, judge_after=judge_after, requeue_after_s=requeue_after_s
        )


def corrections(store):
    with store.read() as conn:
        return load_corrections(conn)


# --- Claim ------------------------------------------------------------------------------------


def test_exactly_one_of_many_racing_claims_wins(store):
    add_campaign(store, [1] * 5)
    released = queued(store, limit=5)
    won = []

    def race():
        for ticket in released:
            held = claim(store, ticket)
            if held is not None:
                won.append(held.id)

    threads = [threading.Thread(target=race) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert sorted(won) == sorted(ticket.id for ticket in released)


def test_a_claim_has_the_columns_of_its_batch(store):
    campaign_id = add_campaign(store, [2, 3])
    (batch_id,) = [b.id for b in rows(store, BATCH, BATCH.c.seq == 1)]
    held = claim(store, queued(store, limit=2)[1])
    assert (held.id, held.fence, held.campaign_id, held.account) == (
        batch_id, 2, campaign_id, "main",
    )  # fmt: skip
    assert (held.first_seq, held.size, held.encoding, held.tries) == (2, 3, 0, 0)
    batch = batch_of(store, batch_id)
    assert (batch.state, batch.lease_until) == (BatchState.CLAIMED, NOW + LEASE)


def test_a_ticket_works_once_and_an_old_one_never(store):
    add_campaign(store)
    (ticket,) = queued(store)
    held = claim(store, ticket)
    assert claim(store, ticket) is None
    assert hand_back(store, held) is True
    assert claim(store, ticket) is None  # the batch is pending, not queued
    (newer,) = queued(store)
    assert newer.fence > held.fence
    assert claim(store, ticket) is None
    assert claim(store, newer) is not None


def test_batches_of_unpublished_tickets_are_pending_and_the_tickets_have_no_effect(store):
    add_campaign(store, sizes=(3, 3, 3))
    taken, *lost = queued(store, limit=3)
    held = claim(store, taken)
    with store.write() as conn:
        assert tickets.return_queued(conn, [t[1:] for t in (taken, *lost)]) == 2
    assert batch_of(store, held.id).state == BatchState.CLAIMED
    assert [claim(store, ticket) for ticket in lost] == [None, None]
    again = queued(store, limit=2)
    assert [ticket.id for ticket in again] == [ticket.id for ticket in lost]
    assert [claim(store, ticket) for ticket in lost] == [None, None]


def test_a_batch_that_is_no_longer_pending_is_not_queued(store):
    add_campaign(store, [1, 1])
    first, second = [b.id for b in rows(store, BATCH)]
    with store.write() as conn:
        assert [t.id for t in tickets.mark_queued(conn, [second, first], NOW)] == [second, first]
        assert tickets.mark_queued(conn, [first, second], NOW) == []
        assert tickets.mark_queued(conn, [], NOW) == []


# --- Hand back and renew ----------------------------------------------------------------------


def test_a_batch_is_handed_back_with_a_time_before_which_it_is_not_due(store):
    add_campaign(store)
    held = claimed(store)
    assert hand_back(store, held, not_before=later(5), error="the broker is away") is True
    batch = batch_of(store, held.id)
    assert (batch.state, batch.not_before) == (BatchState.PENDING, later(5))
    assert (batch.lease_until, batch.tries, batch.error) == (None, 0, "the broker is away")


@pytest.mark.parametrize("change_of_hands", ["swept", "submitting"])
def test_a_batch_that_is_not_claimed_is_not_handed_back(store, change_of_hands):
    add_campaign(store)
    held = claimed(store)
    if change_of_hands == "swept":
        swept(store, now=later(61))
    else:
        begin(store, held)
    before = batch_of(store, held.id)
    assert hand_back(store, held) is False
    assert batch_of(store, held.id) == before


def test_only_its_holder_renews_a_lease(store):
    add_campaign(store, [1, 1, 1])
    first, second, third = (claim(store, ticket) for ticket in queued(store, limit=3))
    begin(store, second)
    hand_back(store, third)
    stale = batches.Claim(**{f: getattr(first, f) for f in first.__slots__} | {"fence": 1})
    assert renew(store, [stale, third], later(900)) == 0
    assert batch_of(store, first.id).lease_until == NOW + LEASE
    assert renew(store, [first, second, third], later(900)) == 2
    assert [b.lease_until for b in rows(store, BATCH)] == [later(900), later(900), None]
    assert renew(store, [], later(999)) == 0


def test_a_batch_without_pending_messages_is_settled_and_no_other(store):
    add_campaign(store, [1, 1])
    empty, full = (claim(store, ticket) for ticket in queued(store, limit=2))
    begun = begin(store, empty)
    settle(store, empty, begun[0], verdict(rejected=[0]))
    with store.write() as conn:
        change(conn, BATCH, BATCH.c.id == empty.id, state=BatchState.CLAIMED)
        batches.settle_empty(conn, empty)
        batches.settle_empty(conn, full)
    assert batch_of(store, empty.id).state == BatchState.SETTLED
    assert batch_of(store, full.id).state == BatchState.CLAIMED


# --- Sweep ------------------------------------------------------------------------------------


def test_a_claim_whose_lease_ran_out_is_pending_again_and_its_holder_has_lost(store):
    add_campaign(store)
    held = claimed(store)
    swept(store, now=later(60))
    assert batch_of(store, held.id).state == BatchState.CLAIMED
    swept(store, now=later(60.001))
    batch = batch_of(store, held.id)
    assert (batch.state, batch.lease_until) == (BatchState.PENDING, None)
    assert begin(store, held) is None
    assert states(store) == ["pending"] * 3
    assert corrections(store) == {CLAIM: 1}


def test_a_lost_submission_leaves_doubt_for_all_that_its_request_carried(store):
    add_campaign(store)
    held, (attempt,) = submitting(store)
    swept(store, now=later(61))
    assert states(store) == ["in_doubt"] * 3
    assert batch_of(store, held.id).state == BatchState.SETTLED
    assert batch_of(store, held.id).error == lost_batches.LOST
    assert attempt_of(store, attempt).outcome == AttemptOutcome.DOUBTFUL
    assert corrections(store) == {SUBMISSION: 1}


def test_doubt_takes_exactly_the_messages_of_open_attempts(store):
    add_campaign(store, [6, 2])
    held, (taken, open_, refused, unsent) = submitting(store, [[0, 1], [2], [3, 4], [5]])
    settle(store, held, taken, verdict(accepted=[0], doubtful=[1]))
    settle(store, held, refused, verdict(outcome=AttemptOutcome.REFUSED))
    with store.write() as conn:
        batch_endings.cancel_attempts(conn, held, [unsent], NOW)
    swept(store, now=later(61))
    assert states(store) == [
        "submitted", "in_doubt", "in_doubt", "pending", "pending", "pending", "pending", "pending",
    ]  # fmt: skip
    batch = batch_of(store, held.id)
    assert (batch.state, batch.pending) == (BatchState.PENDING, 3)
    assert [attempt_of(store, a).outcome for a in (taken, open_, refused, unsent)] == [
        AttemptOutcome.ANSWERED, AttemptOutcome.DOUBTFUL, AttemptOutcome.REFUSED,
        AttemptOutcome.NOT_SENT,
    ]  # fmt: skip
    again = claim(store, queued(store)[0])
    assert begin(store, again, [[3, 4, 5]]) is not None


@pytest.mark.parametrize(
    "values",
    [
        {"lease_until": later(900)},
        {"state": BatchState.PENDING, "lease_until": None},
        {"state": BatchState.PENDING},
    ],
    ids=["renewed", "handed back", "in another state"],
)
@pytest.mark.parametrize("has_begun", [False, True])
def test_a_lease_that_changes_just_before_its_batch_is_locked_is_not_judged(
    sqlite_store, values, has_begun
):
    add_campaign(sqlite_store)
    held = claimed(sqlite_store)
    if has_begun:
        begin(sqlite_store, held)
    judge = (
        lost_batches.doubt_expired_submissions
        if has_begun
        else (lost_batches.release_expired_claims)
    )
    with sqlite_store.write() as conn:
        is_its = BATCH.c.id == held.id
        interrupt(conn, "lease_until <", lambda: change(conn, BATCH, is_its, **values))
        assert judge(conn, later(61)) == 0
    assert states(sqlite_store) == ["pending"] * 3


@pytest.mark.parametrize("lost", [3, 4])
def test_a_batch_of_a_cancelled_campaign_does_not_fail_however_often_it_is_lost(sqlite_store, lost):
    campaign = add_campaign(sqlite_store)
    held = claimed(sqlite_store)
    with sqlite_store.write() as conn:
        change(conn, BATCH, BATCH.c.id == held.id, lost=lost)
        change(conn, CAMPAIGN, CAMPAIGN.c.id == campaign, state=CampaignState.CANCELLED)
        assert lost_batches.release_expired_claims(conn, later(61)) == 1
    assert states(sqlite_store) == ["cancelled"] * 3


@pytest.mark.parametrize("has_answer", [False, True])
def test_whoever_is_in_doubt_since_a_worker_was_lost_is_told(sqlite_store, caplog, has_answer):
    campaign = add_campaign(sqlite_store)
    held, (attempt,) = submitting(sqlite_store)
    if has_answer:
        settle(sqlite_store, held, attempt, verdict(accepted=range(3)))
    with sqlite_store.write() as conn:
        assert lost_batches.doubt_expired_submissions(conn, later(61)) == 1
    words = f"campaign {campaign}, account main, batch {held.id}: 3 recipients are in doubt: "
    assert caplog.messages == ([] if has_answer else [words + lost_batches.LOST])


def test_a_second_sweep_finds_nothing_more(store):
    add_campaign(store, [2, 2])
    submitting(store)
    claimed(store)
    swept(store, now=later(61))
    before = rows(store, BATCH)
    swept(store, now=later(120))
    assert rows(store, BATCH) == before
    assert sum(corrections(store).values()) == 2


def test_no_lease_is_judged_before_its_time(store):
    add_campaign(store)
    held, _ = submitting(store)
    swept(store, now=later(100), judge_after=later(101))
    assert batch_of(store, held.id).state == BatchState.SUBMITTING
    assert corrections(store) == {}


def test_a_ticket_that_redis_lost_is_found_again_with_the_same_fence(store):
    add_campaign(store, [1, 1])
    lost, taken = queued(store, limit=2)
    claim(store, taken, lease=LEASE * 10)
    assert swept(store, now=later(30), requeue_after_s=30) == []
    assert swept(store, now=later(31), requeue_after_s=30) == [lost]
    assert swept(store, now=later(32), requeue_after_s=30) == []
    assert corrections(store) == {Correction.BATCH_NOT_CLAIMED: 1}
    assert claim(store, lost) is not None


def test_a_lost_ticket_is_found_even_while_leases_are_not_judged(store):
    add_campaign(store)
    (lost,) = queued(store)
    assert swept(store, now=later(31), judge_after=later(90), requeue_after_s=30) == [lost]


# --- Ticks ------------------------------------------------------------------------------------


def tick(store, now):
    with store.write() as conn:
        return scheduler.begin_tick(conn, LEASE, lambda _conn: now)


@pytest.mark.parametrize(
    ("ticks", "judge_after"),
    [
        pytest.param([0], 0, id="the first"),
        pytest.param([0, 1, 2], 0, id="one a second"),
        pytest.param([0, 30], 0, id="half a lease of silence"),
        pytest.param([0, 30.001], 90.001, id="more than half a lease of silence"),
        pytest.param([0, 400, 401, 402], 460, id="a whole lease after an outage"),
        pytest.param([0, -5], 55, id="a clock that went back"),
        pytest.param([0, 0.4], None, id="a second tick at once"),
        pytest.param([0, 0.5], 0, id="a second tick after half a second"),
    ],
)
def test_leases_are_judged_a_lease_after_the_scheduler_was_away(store, ticks, judge_after):
    *earlier, last = ticks
    for seconds in earlier:
        tick(store, later(seconds))
    found = tick(store, later(last))
    now = later(last)
    assert found == (None if judge_after is None else (now, later(judge_after)))


def test_the_last_tick_is_known_and_none_before_the_first(store):
    with store.read() as conn:
        assert scheduler.last_tick_at(conn) is None
        assert load_corrections(conn) == {}
    tick(store, NOW)
    with store.read() as conn:
        assert scheduler.last_tick_at(conn) == NOW


def test_of_many_ticks_at_the_same_time_one_is_taken(store):
    taken = []
    threads = [threading.Thread(target=lambda: taken.append(tick(store, NOW))) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(taken) == 6
    assert sum(found is not None for found in taken) == 1


def test_corrections_add_up(store):
    tick(store, NOW)
    with store.write() as conn:
        count_corrections(conn, {CLAIM: 2, SUBMISSION: 0})
        count_corrections(conn, {CLAIM: 1, Correction.BATCH_NOT_CLAIMED: 3})
    assert corrections(store) == {CLAIM: 3, Correction.BATCH_NOT_CLAIMED: 3}


def test_corrections_stored_as_sentences_are_read_and_added_to(store):
    tick(store, NOW)
    old = {"lease of a claimed batch ran out": 2, "from a later version": 5}
    with store.write() as conn:
        change(conn, SCHEDULER, SCHEDULER.c.id == 1, corrections=orjson.dumps(old).decode())
    assert corrections(store) == {CLAIM: 2}
    with store.write() as conn:
        count_corrections(conn, {CLAIM: 1})
    assert corrections(store) == {CLAIM: 3}
    (row,) = rows(store, SCHEDULER)
    assert orjson.loads(row.corrections) == {"claim_lease_expired": 3, "from a later version": 5}


def test_workers_are_listed_while_they_are_seen(store):
    with store.write() as conn:
        scheduler.record_heartbeat(conn, "old", 4, NOW)
        scheduler.record_heartbeat(conn, "one", 4, later(10))
        scheduler.record_heartbeat(conn, "two", 8, later(20))
        scheduler.record_heartbeat(conn, "one", 5, later(30))
    with store.read() as conn:
        found = scheduler.list_workers(conn, later(5))
    assert [(w.name, w.concurrency, w.started_at, w.seen_at) for w in found] == [
        ("one", 5, later(10), later(30)),
        ("two", 8, later(20), later(20)),
    ]
    with store.read() as conn:
        others = [scheduler.has_other_worker(conn, "one", later(at)) for at in (20, 21)]
        assert others == [True, False]
        assert Presence("two", LEASE / 6).has_peers(conn, later(50))
        assert not Presence("two", LEASE / 6).has_peers(conn, later(51))
    with store.write() as conn:
        scheduler.deregister_worker(conn, "two", later(86_400 + 30))  # a day after "one"
        assert [w.name for w in scheduler.list_workers(conn, NOW)] == ["one"]


def test_a_lost_batch_whose_campaign_was_tried_before_keeps_its_tries(store):
    add_campaign(store)
    held, (attempt,) = submitting(store)
    settle(store, held, attempt, verdict(outcome=AttemptOutcome.REFUSED))
    close(store, held, error="unreachable", failed_after=3)
    again = claimed(store)
    assert again.tries == 1
    swept(store, now=later(61))
    assert batch_of(store, held.id).tries == 1


def test_a_batch_whose_workers_survive_in_between_does_not_fail(store):
    """Only claims that were lost one after another show that the batch may end its worker."""
    add_campaign(store)
    for round_ in range(3):
        for lost in range(4):
            seconds = 1000 * round_ + 100 * lost
            claimed(store, now=later(seconds))
            assert swept(store, now=later(seconds + 61)) == []
        at = later(1000 * round_ + 500)
        held = claimed(store, now=at)
        (attempt,) = begin(store, held, now=at)
        settle(store, held, attempt, verdict(outcome=AttemptOutcome.REFUSED))
        close(store, held, error="x", failed_after=99)
    assert states(store) == ["pending"] * 3
