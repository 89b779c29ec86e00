"""Statements read and change the rows they name, and leave the others alone."""

from dataclasses import replace

import pytest
from sqlalchemy import insert, select

from dispatcher.status import AttemptOutcome, BatchState, CampaignState, MessageState
from dispatcher.store import (
    attempts,
    batches,
    campaign_search,
    campaigns,
    decisions,
    doubts,
    fallback_moves,
    imports,
    locked_attempts,
    lost_batches,
    retries,
    scheduler,
    store_adoption,
    store_identity,
    tickets,
)
from dispatcher.store.locks import lock_campaign
from dispatcher.store.settlement import Settlement, apply_settlements
from dispatcher.store.tables import (
    ACCOUNT,
    ATTEMPT,
    AUDIT,
    BATCH,
    CAMPAIGN,
    IDENTITY,
    MESSAGE,
    SCHEDULER,
    WORKER,
)
from tests.support.stores import (
    NOW,
    add_account,
    add_attempt,
    add_campaign,
    attempt_of,
    batch_of,
    change,
    claim,
    close,
    later,
    queued,
    rows,
    settle,
    start_import,
    states,
    submitted,
    submitting,
    verdict,
)
from tests.support.transition_guard import unguarded


def test_queued_batches_are_those_of_the_accounts_asked_for(store):
    add_campaign(store, [1, 1])
    add_campaign(store, [1], account="backup", first=919_900_000_000)
    (ticket,) = queued(store)
    with store.write() as conn:
        (other,) = tickets.mark_queued(conn, [3], NOW)
        assert tickets.queued_batches(conn, ["main"]) == [(ticket.id, ticket.fence)]
        assert tickets.queued_batches(conn, ["backup"]) == [(other.id, other.fence)]
        assert tickets.queued_batches(conn, []) == []
    claim(store, ticket)
    with store.read() as conn:
        assert tickets.queued_batches(conn, ["main"]) == []


def test_a_batch_is_returned_once_and_the_others_stay_queued(store):
    add_campaign(store, [1, 1])
    lost, kept = queued(store, limit=2)
    with store.write() as conn:
        assert tickets.return_queued(conn, [lost[1:]]) == 1
        assert tickets.return_queued(conn, [lost[1:]]) == 0
    assert batch_of(store, kept.id).state == BatchState.QUEUED


def test_only_the_claims_own_batch_is_settled_as_empty(store):
    add_campaign(store, [1, 1])
    first, second = (claim(store, ticket) for ticket in queued(store, limit=2))
    with store.write() as conn, unguarded(conn):
        change(conn, MESSAGE, MESSAGE.c.seq == 0, state=MessageState.LAPSED)
        change(conn, BATCH, BATCH.c.id == first.id, pending=0, lapsed=1)
        batches.settle_empty(conn, second)
    assert [batch_of(store, held.id).state for held in (first, second)] == [BatchState.CLAIMED] * 2
    with store.write() as conn:
        batches.settle_empty(conn, first)
    assert batch_of(store, first.id).state == BatchState.SETTLED
    assert batch_of(store, second.id).state == BatchState.CLAIMED


@pytest.mark.parametrize(
    ("values", "accounts"),
    [
        ({}, ["main"]),
        ({"state": CampaignState.PAUSED}, []),
        ({"state": CampaignState.SCHEDULED}, []),
        ({"finished_at": NOW}, []),
    ],
)
def test_accounts_with_a_running_campaign_are_listed_once(sqlite_store, values, accounts):
    for first in (919_800_000_000, 919_900_000_000):
        add_campaign(sqlite_store, [1], first=first, **values)
    with sqlite_store.read() as conn:
        assert campaigns.list_running_accounts(conn) == accounts


@pytest.mark.parametrize(
    ("values", "fence"), [({"state": BatchState.SUBMITTING}, 0), ({}, -1), ({"pending": 1}, 0)]
)
def test_only_what_a_claim_still_holds_is_settled_as_empty(sqlite_store, values, fence):
    add_campaign(sqlite_store, [1])
    held = claim(sqlite_store, queued(sqlite_store)[0])
    with sqlite_store.write() as conn:
        change(conn, BATCH, BATCH.c.id == held.id, **({"pending": 0, "rejected": 1} | values))
        batches.settle_empty(conn, replace(held, fence=held.fence + fence))
    assert batch_of(sqlite_store, held.id).state == values.get("state", BatchState.CLAIMED)


def test_whether_a_campaign_may_be_over(sqlite_store):
    campaign_id = add_campaign(sqlite_store, [1])
    with sqlite_store.write() as conn:
        assert not campaigns.is_any_over(conn, NOW)
        change(conn, BATCH, BATCH.c.campaign_id == campaign_id, state=BatchState.SETTLED)
        assert campaigns.is_any_over(conn, NOW)


def test_whether_a_campaign_is_open(store):
    with store.read() as conn:
        assert not campaigns.has_open_campaign(conn)
    add_campaign(store, [1])
    with store.read() as conn:
        assert campaigns.has_open_campaign(conn)


def test_workers_are_listed_from_their_last_heartbeat_on(store):
    with store.write() as conn:
        for name, seen in (("old", later(-1)), ("new", NOW)):
            conn.execute(
                insert(WORKER).values(name=name, concurrency=1, started_at=NOW, seen_at=seen)
            )
        assert [worker.name for worker in scheduler.list_workers(conn, NOW)] == ["new"]


@pytest.mark.parametrize(
    ("state", "takeovers", "is_accepted"),
    [("importing", 0, False), ("running", 0, True), ("running", 1, False)],
)
def test_an_import_was_accepted_if_it_ended_and_nobody_took_it_over(
    store, state, takeovers, is_accepted
):
    add_account(store)
    with store.write() as conn, unguarded(conn):
        job = start_import(conn)
        fence = job.fence + takeovers
        change(conn, CAMPAIGN, CAMPAIGN.c.id == job.campaign_id, state=state, import_fence=fence)
        assert imports.was_accepted(conn, job) is is_accepted


def test_a_look_serves_as_many_requests_as_have_room(store):
    add_campaign(store, [1])
    with store.write() as conn:
        for size in (9_000, 1_000, 1, 1):
            add_attempt(
                conn, size=size, outcome=AttemptOutcome.DOUBTFUL, doubt_at=NOW, reconcile_at=NOW,
                looks=0, fence=1,
            )  # fmt: skip
        found = doubts.due_doubts(conn, "main", NOW)
    assert len(found) == 2


def test_settlements_of_one_batch_are_stored_each_in_its_way(store):
    add_campaign(store, [4])
    held, (one, two, three, four) = submitting(store, [[0], [1], [2], [3]])
    settlements = [
        Settlement(claim=held, attempt_id=one, verdict=verdict(accepted=[0])),
        Settlement(claim=held, attempt_id=two, verdict=verdict(rejected=[1])),
        Settlement(claim=held, attempt_id=three),
        Settlement(claim=held, attempt_id=four),
    ]
    with store.write() as conn:
        apply_settlements(conn, settlements, NOW)
    assert states(store) == ["submitted", "rejected", "pending", "pending"]
    assert close(store, held) is BatchState.PENDING


def test_an_adopted_store_gives_ids_above_all_that_were_seen_and_notes_its_choice(store):
    add_campaign(store, [1])
    with store.write() as conn:
        store_identity.ensure_identity(conn)
        change(conn, IDENTITY, IDENTITY.c.id == 1, witnessed_id=500)
        store_adoption.adopt_store(conn, doubt=False, actor="operator", now=NOW)
    _held, (attempt,) = submitting(store)
    assert attempt > 500
    details = [row.detail for row in rows(store, AUDIT)]
    assert details == ["it agreed with its witness; no doubt added"]


@pytest.mark.parametrize(
    ("state", "is_listed"),
    [
        (CampaignState.IMPORTING, False),
        (CampaignState.SCHEDULED, True),
        (CampaignState.RUNNING, True),
        (CampaignState.PAUSED, True),
        (CampaignState.FINISHED, False),
        (CampaignState.CANCELLED, False),
        (CampaignState.REJECTED, False),
    ],
)
def test_only_open_campaigns_may_have_sent_after_a_backup(sqlite_store, state, is_listed):
    add_campaign(sqlite_store, [1], state=state)
    with sqlite_store.read() as conn:
        assert bool(store_adoption.pending_by_campaign(conn, NOW)) is is_listed


def test_only_campaigns_with_something_left_may_have_sent_after_a_backup(store):
    add_campaign(store, [1])
    submitted(store)
    waiting = add_campaign(store, [1], first=919_900_000_000)
    with store.read() as conn:
        listed = store_adoption.pending_by_campaign(conn, NOW)
    assert [(one.id, one.pending) for one in listed] == [(waiting, 1)]


@pytest.mark.parametrize(
    ("state", "is_unsent"),
    [
        (CampaignState.IMPORTING, False),
        (CampaignState.REJECTED, False),
        (CampaignState.RUNNING, True),
    ],
)
def test_a_campaign_that_was_not_accepted_has_nothing_to_send(store, state, is_unsent):
    campaign_id = add_campaign(store, [1])
    with store.write() as conn, unguarded(conn):
        change(conn, CAMPAIGN, CAMPAIGN.c.id == campaign_id, state=state)
        assert store_identity.has_unsent(conn) is is_unsent


@pytest.mark.parametrize(
    ("counts", "is_unsent"),
    [({"pending": 1}, True), ({"in_doubt": 1}, True), ({"submitted": 1}, False)],
)
def test_what_is_pending_or_in_doubt_may_have_been_sent(sqlite_store, counts, is_unsent):
    add_campaign(sqlite_store, [1])
    with sqlite_store.write() as conn:
        change(conn, BATCH, BATCH.c.id == 1, **({"pending": 0} | counts))
        assert store_identity.has_unsent(conn) is is_unsent


def test_a_waiting_batch_with_nothing_pending_gets_no_doubt(store):
    campaign_id = add_campaign(store, [1, 1])
    with store.write() as conn, unguarded(conn):
        change(conn, MESSAGE, MESSAGE.c.seq == 0, state=MessageState.REJECTED)
        change(conn, BATCH, BATCH.c.id == 1, pending=0, rejected=1)
    with store.write() as conn:
        doubted = store_adoption.adopt_store(conn, doubt=True, actor="operator", now=NOW)
    assert doubted == {campaign_id: 1}
    assert [(row.batch_id, row.size) for row in rows(store, ATTEMPT)] == [(2, 1)]
    assert batch_of(store, 2).state == BatchState.SETTLED


@pytest.mark.parametrize(
    ("table", "values", "count"),
    [
        (BATCH, {"queued_at": later(-9)}, 1),
        (BATCH, {"queued_at": later(-10)}, 0),  # its worker is lost
        (BATCH, {"queued_at": NOW}, 0),  # released together with mine
        (BATCH, {"state": BatchState.QUEUED}, 0),
        (BATCH, {"state": BatchState.SUBMITTING}, 0),
        (BATCH, {"account": "backup"}, 0),
        (CAMPAIGN, {"paid_until": later(5)}, 1),
        (CAMPAIGN, {"paid_until": later(6)}, 0),  # it waits for its own rate
    ],
)
def test_a_batch_waits_behind_those_that_were_released_before_it(
    sqlite_store, table, values, count
):
    add_account(sqlite_store, "backup")
    add_campaign(sqlite_store, [1], first=919_900_000_000)
    claim(sqlite_store, queued(sqlite_store)[0])
    add_campaign(sqlite_store, [1])
    mine = claim(sqlite_store, queued(sqlite_store)[0])
    with sqlite_store.write() as conn:
        change(conn, BATCH, BATCH.c.id == 1, queued_at=later(-5))
        change(conn, table, table.c.id == 1, **values)
        assert batches.count_waiting_ahead(conn, mine.id, later(5), NOW) == count


def test_each_campaign_in_doubt_has_its_own_count_and_times(store):
    first = add_campaign(store, [2])
    held, (attempt,) = submitting(store)
    settle(store, held, attempt, verdict(doubtful=[0, 1]))
    second = add_campaign(store, [1], first=919_900_000_000)
    close(store, held)
    held, (attempt,) = submitting(store)
    settle(store, held, attempt, verdict(doubtful=[0]), now=later(5))
    close(store, held)
    with store.read() as conn:
        found = doubts.campaigns_in_doubt(conn)
    assert [(one.id, one.recipients, one.since) for one in found] == [
        (first, 2, NOW), (second, 1, later(5)),
    ]  # fmt: skip


def test_an_import_is_abandoned_from_the_end_of_its_lease_on(store):
    add_account(store)
    with store.write() as conn:
        job = start_import(conn, lease_until=later(60))
        assert imports.list_abandoned(conn, later(59)) == []
        assert [each.id for each in imports.list_abandoned(conn, later(60))] == [job.campaign_id]


def test_a_campaigns_paid_rate_is_its_own(store):
    mine = add_campaign(store, [1])
    other = add_campaign(store, [1], first=919_900_000_000)
    with store.write() as conn:
        campaigns.record_campaign_paid_until(conn, mine, 5.0, NOW)
        assert campaigns.load_campaign(conn, mine).paid_until == later(5)
        assert campaigns.load_campaign(conn, other).paid_until is None


@pytest.mark.parametrize(
    ("states", "found"),
    [
        ([MessageState.FAILED], [2]),
        ([MessageState.REJECTED], [3]),
        ([MessageState.FAILED, MessageState.REJECTED], [2, 3]),
    ],
)
def test_only_batches_with_such_messages_are_retried(sqlite_store, states, found):
    mine = add_campaign(sqlite_store, [1, 1, 1])
    other = add_campaign(sqlite_store, [1], first=919_900_000_000)
    with sqlite_store.write() as conn:
        change(conn, BATCH, BATCH.c.id.in_([2, 4]), failed=1)
        change(conn, BATCH, BATCH.c.id == 3, rejected=1)
        assert retries.batches_with_states(conn, mine, states) == found
        assert retries.batches_with_states(conn, other, [MessageState.FAILED]) == [4]


def test_only_what_this_claim_tried_fails_with_its_last_try(store):
    add_campaign(store, [2])
    nothing = verdict(outcome=AttemptOutcome.REFUSED)
    held, attempts = submitting(store, [[0], [1]])
    for attempt in attempts:
        settle(store, held, attempt, nothing)
    assert close(store, held, failed_after=2) is BatchState.PENDING
    held, (attempt,) = submitting(store, [[0]])
    settle(store, held, attempt, nothing)
    assert close(store, held, failed_after=2, error="away") is BatchState.PENDING
    assert states(store) == ["failed", "pending"]


@pytest.mark.parametrize(
    ("state", "message", "counts"),
    [
        ("running", "pending", True),
        ("running", "rejected", True),  # what is not over may still get something to send
        ("scheduled", "pending", True),
        ("paused", "pending", True),
        ("importing", "pending", False),
        ("rejected", "pending", False),
        ("cancelled", "cancelled", False),
        ("finished", "lapsed", False),
        ("finished", "rejected", False),
        ("finished", "suppressed", False),
        ("cancelled", "delivered", True),
        ("finished", "in_doubt", True),
        ("finished", "failed", True),  # a person may have given a doubt up
    ],
)
def test_the_same_content_counts_where_it_was_or_may_still_be_sent(
    sqlite_store, state, message, counts
):
    campaign_id = add_campaign(sqlite_store, [1])
    with sqlite_store.write() as conn, unguarded(conn):
        change(
            conn, CAMPAIGN, CAMPAIGN.c.id == campaign_id, created_at=NOW, state=CampaignState(state)
        )
        change(conn, BATCH, BATCH.c.id == 1, **{"pending": 0, message: 1})
        found = campaign_search.find_same_content(conn, ["content"], later(-1))
        assert (found is not None) is counts


def test_the_same_content_is_looked_for_after_a_moment(store):
    campaign_id = add_campaign(store, [1])
    with store.write() as conn:
        change(conn, CAMPAIGN, CAMPAIGN.c.id == campaign_id, created_at=NOW)
        assert campaign_search.find_same_content(conn, ["content"], later(-1)).id == campaign_id
        assert campaign_search.find_same_content(conn, ["content"], NOW) is None
        assert campaign_search.find_same_content(conn, ["other"], later(-1)) is None


def test_the_polls_of_a_campaign_are_its_own(store):
    mine = add_campaign(store, [1])
    submitted(store)
    other = add_campaign(store, [1], first=919_900_000_000)
    with store.read() as conn:
        assert campaign_search.load_poll_times(conn, mine) == (1, later(10))
        assert campaign_search.load_poll_times(conn, other) == (0, None)


@pytest.mark.parametrize(("on_doubt", "after"), [("resend", "hold"), ("drop", "drop")])
def test_an_adopted_stores_campaigns_resend_nothing_and_keep_every_other_choice(
    store, on_doubt, after
):
    campaign_id = add_campaign(store, [1], on_doubt=on_doubt)
    with store.write() as conn:
        store_adoption.adopt_store(conn, doubt=True, actor="operator", now=NOW)
        assert campaigns.load_campaign(conn, campaign_id).on_doubt == after


def doubtful(store, campaign_first, *, now=NOW):
    """A campaign with one recipient in doubt; its id and its attempt's."""
    campaign_id = add_campaign(store, [1], first=campaign_first)
    held, (attempt,) = submitting(store)
    settle(store, held, attempt, verdict(doubtful=[0]), now=now)
    close(store, held)
    return campaign_id, attempt


def test_the_outlook_on_doubt_is_the_campaigns_own(store):
    first, _ = doubtful(store, 919_800_000_000)
    second, _ = doubtful(store, 919_900_000_000, now=later(5))
    with store.read() as conn:
        assert doubts.doubt_outlook(conn, first).since == NOW
        assert doubts.doubt_outlook(conn, second).since == later(5)


def test_the_doubts_of_an_account_are_its_own(sqlite_store):
    _, mine = doubtful(sqlite_store, 919_800_000_000)
    _, other = doubtful(sqlite_store, 919_900_000_000)
    add_account(sqlite_store, "backup")
    with sqlite_store.write() as conn:
        doubts.schedule_reconciliation(conn, {mine: NOW, other: NOW})
        change(conn, ATTEMPT, ATTEMPT.c.id == other, account="backup")
        for account, attempt in (("main", mine), ("backup", other)):
            assert [each.id for each in doubts.due_doubts(conn, account, NOW)] == [attempt]


def test_the_switches_of_a_campaign_are_its_own(sqlite_store):
    mine, other = (
        add_campaign(sqlite_store, [1], first=n) for n in (919_800_000_000, 919_900_000_000)
    )
    add_account(sqlite_store, "backup")
    with sqlite_store.write() as conn:
        fallback_moves.switch_account(conn, lock_campaign(conn, mine), "backup", "out", NOW)
        campaigns.change_state(
            conn, mine, [CampaignState.RUNNING], CampaignState.PAUSED,
            actor="a", reason=None, now=NOW,
        )  # fmt: skip
        assert len(fallback_moves.load_fallback_history(conn, mine)) == 1
        assert fallback_moves.load_fallback_history(conn, other) == []


def test_a_campaign_that_moves_goes_beside_the_first_of_those_that_run_there(sqlite_store):
    add_account(sqlite_store, "backup")

    def turn_after_move():
        moved = add_campaign(sqlite_store, [1], turn=5)
        with sqlite_store.write() as conn:
            campaign = lock_campaign(conn, moved)
            fallback_moves.switch_account(conn, campaign, "backup", "out", NOW)
            change(conn, CAMPAIGN, CAMPAIGN.c.id == moved, state=CampaignState.CANCELLED)
            return campaigns.load_campaign(conn, moved).turn

    assert turn_after_move() == 0
    for account, turn, state in (
        ("main", 1, CampaignState.RUNNING),
        ("backup", 2, CampaignState.PAUSED),
        ("backup", 3, CampaignState.FINISHED),
        ("backup", 60, CampaignState.RUNNING),
        ("backup", 40, CampaignState.RUNNING),
    ):
        add_campaign(sqlite_store, [1], account=account, turn=turn, state=state)
    assert turn_after_move() == 40


def test_each_campaign_of_an_adopted_store_is_doubted_from_its_own_start(store):
    """What was submitted before stays so, and no worker takes a ticket of before for good."""
    for n in range(2):
        campaign_id = add_campaign(store, [2, 1], first=919_800_000_000 + 100 * n)
        held, (attempt,) = submitting(store, [[0]])
        settle(store, held, attempt, verdict(accepted=[0]), poll=None)
        assert close(store, held) is BatchState.PENDING
        with store.write() as conn:
            change(conn, CAMPAIGN, CAMPAIGN.c.id == campaign_id, created_at=later(-900 + n))
            change(conn, BATCH, BATCH.c.campaign_id == campaign_id, not_before=later(9))
            change(conn, BATCH, BATCH.c.state == BatchState.PENDING, state=BatchState.QUEUED)
    fences = [row.fence for row in rows(store, BATCH)]
    with store.write() as conn:
        doubted = store_adoption.adopt_store(conn, doubt=True, actor="operator", now=NOW)
    assert doubted == {1: 2, 2: 2}
    assert states(store) == ["submitted", "in_doubt", "in_doubt"] * 2
    found = rows(store, ATTEMPT, ATTEMPT.c.doubt_at.is_not(None))
    assert sorted((row.campaign_id, row.batch_id, row.begun_at) for row in found) == [
        (1, 1, later(-900)), (1, 2, later(-900)), (2, 3, later(-899)), (2, 4, later(-899)),
    ]  # fmt: skip
    assert [row.state for row in rows(store, BATCH)] == [BatchState.SETTLED] * 4
    assert [row.fence for row in rows(store, BATCH)] == [fence + 1 for fence in fences]


@pytest.mark.parametrize(
    ("values", "outcome"),
    [
        ({}, AttemptOutcome.OPEN),
        ({"fence": 99}, None),  # of a claim of another store at the same place
        ({"id": 99}, None),
    ],
)
def test_an_attempt_is_known_by_its_claim(sqlite_store, values, outcome):
    add_campaign(sqlite_store, [1])
    held, (attempt,) = submitting(sqlite_store)
    with sqlite_store.read() as conn:
        assert attempts.attempt_outcome(conn, replace(held, **values), attempt) is outcome
        assert attempts.attempt_outcome(conn, held, attempt + 1) is None


@pytest.mark.parametrize(
    ("given", "is_listed"),
    [
        ({}, True),
        ({"since": NOW}, True),
        ({"since": later(1)}, False),
        ({"account": "main"}, True),
        ({"account": "backup"}, False),
        ({"states": ["running", "paused"]}, True),
        ({"states": ["paused"]}, False),
        ({"search": "PRIN"}, True),
        ({"search": "hell"}, True),
        ({"search": "people.csv"}, True),
        ({"search": "p%g"}, False),
        ({"search": "prin", "account": "backup"}, False),
    ],
)
def test_campaigns_are_listed_that_meet_all_that_is_given(sqlite_store, given, is_listed):
    campaign_id = add_campaign(sqlite_store, [1])
    with sqlite_store.write() as conn:
        change(conn, CAMPAIGN, CAMPAIGN.c.id == campaign_id, created_at=NOW)
        only = campaign_search.CampaignFilter(**given)
        assert bool(campaign_search.list_newest(conn, limit=9, only=only)) is is_listed


def test_an_import_is_taken_over_once_and_by_itself(sqlite_store):
    add_account(sqlite_store)
    with sqlite_store.write() as conn:
        mine, other = (start_import(conn, content_key=key) for key in ("mine", "other"))
        row = campaigns.load_campaign(conn, mine.campaign_id)
        taken = imports.take_over_import(conn, row, later(60))
        assert (taken.campaign_id, taken.fence) == (mine.campaign_id, mine.fence + 1)
        assert imports.take_over_import(conn, row, later(60)) is None
        fences = [each.import_fence for each in conn.execute(select(CAMPAIGN)).all()]
    assert fences == [taken.fence, other.fence]


@pytest.mark.parametrize("ticked", [None, later(-30)])
def test_a_store_that_was_restored_may_have_sent_since_its_last_tick(sqlite_store, ticked):
    add_campaign(sqlite_store, [1])
    with sqlite_store.write() as conn:
        change(conn, CAMPAIGN, CAMPAIGN.c.id == 1, created_at=later(-900))
        scheduler.ensure_scheduler_row(conn)
        change(conn, SCHEDULER, SCHEDULER.c.id == 1, ticked_at=ticked)
        store_adoption.adopt_store(conn, doubt=True, actor="operator", now=NOW)
    (attempt,) = rows(sqlite_store, ATTEMPT)
    assert attempt.begun_at == (ticked or later(-900))


@pytest.mark.parametrize(
    ("values", "is_due"),
    [
        ({"reconcile_at": later(5), "looks": None}, True),  # it has no time of its own yet
        ({"reconcile_at": later(5), "looks": 0}, False),
        ({"reconcile_at": NOW, "looks": 0}, True),
        ({"reconcile_at": None, "looks": None}, False),
    ],
)
def test_whether_a_doubt_has_to_be_scheduled_or_is_due(sqlite_store, values, is_due):
    _, attempt = doubtful(sqlite_store, 919_800_000_000)
    with sqlite_store.write() as conn:
        change(conn, ATTEMPT, ATTEMPT.c.id == attempt, **values)
        assert doubts.has_due_doubts(conn, NOW) is is_due


def test_a_campaign_is_in_doubt_while_a_message_of_it_is(sqlite_store):
    campaign_id, _ = doubtful(sqlite_store, 919_800_000_000)
    with sqlite_store.write() as conn:
        assert [each.id for each in doubts.campaigns_in_doubt(conn)] == [campaign_id]
        change(conn, BATCH, BATCH.c.id == 1, in_doubt=0, failed=1)
        assert doubts.campaigns_in_doubt(conn) == []


@pytest.mark.parametrize(
    ("values", "account", "is_listed"),
    [
        ({}, None, True),
        ({}, "main", True),
        ({}, "backup", False),
        ({"created_at": later(-1)}, None, False),
        ({"state": CampaignState.IMPORTING}, None, False),
        ({"state": CampaignState.REJECTED}, None, False),
        ({"state": CampaignState.SCHEDULED}, None, True),
        ({"state": CampaignState.FINISHED}, None, True),
    ],
)
def test_campaigns_are_listed_from_a_moment_on(sqlite_store, values, account, is_listed):
    campaign_id = add_campaign(sqlite_store, [1])
    with sqlite_store.write() as conn:
        change(conn, CAMPAIGN, CAMPAIGN.c.id == campaign_id, **({"created_at": NOW} | values))
        assert bool(campaign_search.list_since(conn, NOW, account)) is is_listed


@pytest.mark.parametrize(("given", "looks"), [({}, None), ({"looked": True}, 1)])
def test_only_a_look_at_the_list_counts_as_one(sqlite_store, given, looks):
    _, attempt = doubtful(sqlite_store, 919_800_000_000)
    with sqlite_store.write() as conn:
        case = locked_attempts.lock_attempt(conn, attempt)
        assert decisions.reschedule_doubt(conn, case, next_at=later(9), **given) == 1
    assert attempt_of(sqlite_store, attempt).looks == looks


def test_a_doubt_is_scheduled_once(store):
    _, attempt = doubtful(store, 919_800_000_000)
    with store.write() as conn:
        assert [one.id for one in doubts.unscheduled_doubts(conn, ["main"])] == [attempt]
        assert doubts.load_doubtful(conn, attempt).looks == 0
        doubts.schedule_reconciliation(conn, {attempt: later(30)})
        assert doubts.unscheduled_doubts(conn, ["main"]) == []
        doubts.schedule_reconciliation(conn, {attempt: later(90)})
    assert attempt_of(store, attempt).reconcile_at == later(30)


def test_a_look_serves_one_request_however_large_it_is(sqlite_store):
    add_campaign(sqlite_store, [1])
    given = {"outcome": AttemptOutcome.DOUBTFUL, "doubt_at": NOW, "reconcile_at": NOW, "looks": 0}
    with sqlite_store.write() as conn:
        first, _second = (add_attempt(conn, size=size, fence=1, **given) for size in (20_000, 1))
        assert [each.id for each in doubts.due_doubts(conn, "main", NOW)] == [first]


@pytest.mark.parametrize(
    ("account", "number", "is_newest"),
    [("main", 3, True), ("main", 2, False), ("idle", 3, False), ("nobody", 3, False)],
)
def test_only_the_newest_look_at_an_account_is_renewed(sqlite_store, account, number, is_newest):
    for name, until in (("main", later(9)), ("other", later(9)), ("idle", None)):
        add_account(sqlite_store, name, looks=3, look_lease_until=until)
    ticket = doubts.ReconcileTicket(account, number)
    with sqlite_store.write() as conn:
        assert doubts.renew_reconciliation(conn, ticket, later(60)) is is_newest
    leases = {row.name: row.look_lease_until for row in rows(sqlite_store, ACCOUNT)}
    changed = {"main": later(60)} if is_newest else {}
    assert leases == {"main": later(9), "other": later(9), "idle": None} | changed


@pytest.mark.parametrize(
    ("limit", "ended_s", "looks"), [(1, 9, 0), (2, 9, 0), (3, 9, 1), (1, 0, 1), (0, 0, 0)]
)
def test_looks_under_way_count_until_their_leases_end(sqlite_store, limit, ended_s, looks):
    """A limit that was lowered meanwhile is passed already."""
    for name in ("one", "two"):
        add_account(sqlite_store, name, look_lease_until=later(ended_s))
    doubtful(sqlite_store, 919_800_000_000)
    names = ["main", "one", "two"]
    with sqlite_store.write() as conn:
        change(conn, ATTEMPT, ATTEMPT.c.id > 0, reconcile_at=NOW, looks=0)
        found = doubts.lease_reconciliations(
            conn, names, now=NOW, lease_until=later(60), limit=limit
        )
    assert [ticket.account for ticket in found] == ["main"] * looks


def test_only_messages_of_the_request_that_are_in_doubt_are_annotated(store):
    _, attempt = doubtful(store, 919_800_000_000)
    doubtful(store, 919_900_000_000)
    with store.write() as conn:
        case = locked_attempts.lock_attempt(conn, attempt)
        decisions.annotate_messages(conn, case, [decisions.AnnotatedMessage(0, 1)])
    assert [message.note for message in rows(store, MESSAGE)] == [1, None]


def test_answers_of_one_batch_that_come_after_its_lease_still_count(store):
    add_campaign(store, [2])
    held, attempts = submitting(store, [[0], [1]])
    with store.write() as conn:
        lost_batches.doubt_expired_submissions(conn, later(120))
    assert states(store) == ["in_doubt", "in_doubt"]
    late = [
        Settlement(claim=held, attempt_id=attempt, verdict=verdict(accepted=[seq]))
        for seq, attempt in enumerate(attempts)
    ]
    with store.write() as conn:
        apply_settlements(conn, late, later(130))
    assert states(store) == ["submitted", "submitted"]


def test_whether_an_account_has_begun_a_request_since_a_moment(store):
    add_campaign(store, [1])
    submitting(store)
    with store.read() as conn:
        begun = attempts.has_begun_since
        assert [begun(conn, "main", at) for at in (later(-1), NOW, later(1))] == [True, True, False]
        assert not begun(conn, "backup", NOW)
