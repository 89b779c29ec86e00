"""Campaigns start in fair order, people stop them, and they finish when nothing is open."""

import pytest

from dispatcher.campaigns import control as commands
from dispatcher.campaigns.view import details_json, find_campaign, load_view, newest_campaigns
from dispatcher.errors import Refused, UsageProblem
from dispatcher.outbound.sweep import sweep_batches
from dispatcher.status import AttemptOutcome, BatchState, CampaignState, MessageState
from dispatcher.store import batch_endings, campaign_search, campaigns, polls, scheduler
from dispatcher.store.campaign_search import CampaignFilter
from dispatcher.store.receipts import store_receipts
from dispatcher.store.tables import BATCH, CAMPAIGN, MESSAGE
from tests.support.stores import (
    LEASE,
    NOW,
    add_campaign,
    audit,
    batch_of,
    begin,
    campaign_of,
    change,
    claim,
    claimed,
    close,
    counts_of,
    later,
    queued,
    rows,
    settle,
    states,
    submitted,
    submitting,
    verdict,
)

S = CampaignState


def finish(store, now=NOW):
    with store.write() as conn:
        return campaigns.finish_campaigns(conn, now)


def start(store, now=NOW):
    with store.write() as conn:
        return campaigns.start_due(conn, now)


def set_campaign(store, campaign_id, **values):
    with store.write() as conn:
        change(conn, CAMPAIGN, CAMPAIGN.c.id == campaign_id, **values)


# --- Start ------------------------------------------------------------------------------------


def test_a_scheduled_campaign_runs_from_its_start_on(store):
    soon = add_campaign(store, state=S.SCHEDULED)
    timed = add_campaign(store, state=S.SCHEDULED, first=10**9, start_at=later(60))
    assert start(store, later(59)) == [soon]
    assert campaign_of(store, timed).state == S.SCHEDULED
    assert start(store, later(60)) == [timed]
    assert start(store, later(61)) == []


# --- People -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("command", "state", "outcome"),
    [
        (commands.pause_campaign, S.SCHEDULED, S.PAUSED),
        (commands.pause_campaign, S.RUNNING, S.PAUSED),
        (commands.pause_campaign, S.PAUSED, S.PAUSED),
        (commands.pause_campaign, S.FINISHED, None),
        (commands.pause_campaign, S.CANCELLED, None),
        (commands.pause_campaign, S.REJECTED, None),
        (commands.pause_campaign, S.IMPORTING, None),
        (commands.resume_campaign, S.PAUSED, S.SCHEDULED),
        (commands.resume_campaign, S.SCHEDULED, S.SCHEDULED),
        (commands.resume_campaign, S.FINISHED, None),
        (commands.resume_campaign, S.CANCELLED, None),
        (commands.resume_campaign, S.IMPORTING, None),
        (commands.cancel_campaign, S.SCHEDULED, S.CANCELLED),
        (commands.cancel_campaign, S.RUNNING, S.CANCELLED),
        (commands.cancel_campaign, S.PAUSED, S.CANCELLED),
        (commands.cancel_campaign, S.CANCELLED, S.CANCELLED),
        (commands.cancel_campaign, S.FINISHED, None),
        (commands.cancel_campaign, S.IMPORTING, None),
    ],
)
def test_what_a_person_may_do_in_which_state(store, command, state, outcome):
    campaign_id = add_campaign(store, state=state)
    if outcome is None:
        with pytest.raises(Refused, match=f"campaign {campaign_id} is {state}"):
            command(store, str(campaign_id))
        assert campaign_of(store, campaign_id).state == state
        assert audit(store) == []
    else:
        assert command(store, str(campaign_id)).state == outcome
        assert audit(store) == ([] if state == outcome else [f"campaign {outcome}"])


def test_campaigns_are_found_by_id_or_by_name(store):
    one = add_campaign(store, name="spring")
    add_campaign(store, name="autumn", first=10**9)
    two = add_campaign(store, name="autumn", first=2 * 10**9)
    with store.read() as conn:
        assert find_campaign(conn, "spring").id == one
        assert find_campaign(conn, str(two)).name == "autumn"
        expected = rf"2 campaigns are named 'autumn': {two} \(running\), {two - 1} \(running\)"
        with pytest.raises(UsageProblem, match=expected):
            find_campaign(conn, "autumn")
        for unknown in ("winter", "99", "9" * 30, "-1", "1 ", "①"):
            with pytest.raises(UsageProblem, match="there is no campaign"):
                find_campaign(conn, unknown)


def test_a_name_means_the_campaign_that_was_not_rejected_as_a_whole(store):
    rejected = [
        add_campaign(store, [1], name="spring", state=CampaignState.REJECTED, first=n * 10**9)
        for n in range(2)
    ]
    with store.read() as conn, pytest.raises(UsageProblem, match=r"2 campaigns .* \(rejected\)"):
        find_campaign(conn, "spring")
    accepted = add_campaign(store, name="spring", first=5 * 10**9)
    with store.read() as conn:
        assert find_campaign(conn, "spring").id == accepted
        assert find_campaign(conn, str(rejected[0])).id == rejected[0]


# --- Cancel -----------------------------------------------------------------------------------


def test_cancelling_ends_unclaimed_batches_and_lets_the_rest_settle(store):
    """One batch in each state."""
    campaign_id = add_campaign(store, [2] * 6)
    submitted(store)
    under_way, (attempt,) = submitting(store)
    held = claimed(store)
    (ticket, other) = queued(store, limit=2)
    commands.cancel_campaign(store, str(campaign_id))
    labels = [BatchState(b.state).label for b in rows(store, BATCH)]
    assert labels == ["settled", "submitting", "claimed", "cancelled", "cancelled", "cancelled"]
    assert claim(store, ticket) is None
    assert claim(store, other) is None
    assert begin(store, held) is None
    assert batch_of(store, held.id).state == BatchState.CANCELLED
    settle(store, under_way, attempt, verdict(accepted=[2], outcome=AttemptOutcome.REFUSED))
    assert close(store, under_way, error="e", failed_after=9) is BatchState.CANCELLED
    assert counts_of(store, campaign_id) == {"submitted": 3, "cancelled": 9}
    assert finish(store) == []  # polled still
    end_polls(store)
    assert finish(store, later(99)) == [campaign_id]
    ended = campaign_of(store, campaign_id)
    assert (ended.state, ended.finished_at) == (S.CANCELLED, later(99))


def end_polls(store):
    with store.write() as conn:
        now = later(999)
        for ticket in polls.lease_due_polls(conn, now=now, lease_until=now, limit=99):
            loaded = polls.load_poll(conn, ticket.id, ticket.polls)
            store_receipts(conn, loaded, [], next_at=None, now=now)


def test_cancelling_a_campaign_without_held_batches_finishes_it(store):
    campaign_id = add_campaign(store, [2, 2])
    commands.cancel_campaign(store, str(campaign_id))
    assert campaign_of(store, campaign_id).finished_at is not None
    assert states(store) == ["cancelled"] * 4


@pytest.mark.parametrize("how", ["handed back", "lease of a claim", "lease of a submission"])
def test_a_batch_that_comes_back_to_a_cancelled_campaign_is_cancelled(store, how):
    campaign_id = add_campaign(store, [2])
    held = claimed(store)
    if how == "lease of a submission":
        refused, _lost = begin(store, held, [[0], [1]])
        settle(store, held, refused, verdict(outcome=AttemptOutcome.REFUSED))
    commands.cancel_campaign(store, str(campaign_id))
    with store.write() as conn:
        if how == "handed back":
            batch_endings.hand_back(conn, held, now=NOW)
        else:
            scheduler.begin_tick(conn, LEASE, lambda _conn: later(99))
            sweep_batches(conn, now=later(99), judge_after=NOW, requeue_after_s=9999)
    assert batch_of(store, held.id).state == BatchState.CANCELLED
    in_doubt = ["in_doubt"] if how == "lease of a submission" else ["cancelled"]
    assert states(store) == ["cancelled", *in_doubt]


def test_cancelling_leaves_other_campaigns_alone(store):
    one = add_campaign(store, [2, 2])
    two = add_campaign(store, [2], first=10**9)
    commands.cancel_campaign(store, str(one))
    assert states(store, two) == ["pending", "pending"]
    assert campaign_of(store, two).state == S.RUNNING


# --- Finish -----------------------------------------------------------------------------------


def test_a_campaign_finishes_when_nothing_is_pending_in_flight_or_polled(store):
    campaign_id = add_campaign(store, [2, 2])
    assert finish(store) == []
    submitted(store)
    held, (attempt,) = submitting(store)
    assert finish(store) == []
    settle(store, held, attempt, verdict(rejected=[2, 3]))
    assert finish(store) == []
    close(store, held)
    assert finish(store) == []
    end_polls(store)
    assert finish(store, later(5)) == [campaign_id]
    ended = campaign_of(store, campaign_id)
    assert (ended.state, ended.finished_at) == (S.FINISHED, later(5))
    assert finish(store, later(6)) == []


@pytest.mark.parametrize("state", [S.SCHEDULED, S.PAUSED, S.REJECTED, S.IMPORTING])
def test_only_running_campaigns_finish(store, state):
    campaign_id = add_campaign(store, [1], state=state)
    with store.write() as conn:
        change(
            conn, BATCH, BATCH.c.campaign_id == campaign_id, state=BatchState.SETTLED, pending=0,
            cancelled=1,
        )  # fmt: skip
        change(conn, MESSAGE, MESSAGE.c.campaign_id == campaign_id, state=MessageState.CANCELLED)
    assert finish(store) == []
    assert campaign_of(store, campaign_id).state == state


def test_unclaimed_batches_of_expired_campaigns_lapse(store):
    campaign_id = add_campaign(store, [2, 2, 2], expire_at=later(60))
    held = claimed(store)
    queued(store)
    with store.write() as conn:
        assert campaigns.lapse_expired(conn, later(59)) == 0
        assert campaigns.lapse_expired(conn, later(60)) == 4
    assert states(store) == ["pending"] * 2 + ["lapsed"] * 4
    assert batch_of(store, held.id).state == BatchState.CLAIMED
    assert counts_of(store, campaign_id) == {"pending": 2, "lapsed": 4}


@pytest.mark.parametrize("state", S)
def test_only_what_has_not_ended_lapses_whatever_else_expired(sqlite_store, state):
    """One campaign in each state; the batch has sent a message before."""
    campaign_id = add_campaign(sqlite_store, [2], expire_at=later(60))
    held, (attempt,) = submitting(sqlite_store, [[0]])
    settle(sqlite_store, held, attempt, verdict(accepted=[0]))
    close(sqlite_store, held)
    fence = batch_of(sqlite_store, held.id).fence
    set_campaign(sqlite_store, campaign_id, state=state)
    with sqlite_store.write() as conn:
        lapsed = campaigns.lapse_expired(conn, later(60))
    is_open = state in {S.SCHEDULED, S.RUNNING, S.PAUSED}
    assert lapsed == is_open
    assert states(sqlite_store) == ["submitted", "lapsed" if is_open else "pending"]
    assert batch_of(sqlite_store, held.id).fence == fence + is_open


@pytest.mark.parametrize(("state", "ends"), [(S.RUNNING, S.FINISHED), (S.CANCELLED, S.CANCELLED)])
def test_the_campaign_that_is_looked_at_ends_and_no_other(sqlite_store, state, ends):
    one, two, three = (add_campaign(sqlite_store, [1], first=n * 10**9) for n in (1, 2, 3))
    with sqlite_store.write() as conn:
        ended = {"state": BatchState.SETTLED, "pending": 0}
        change(conn, BATCH, BATCH.c.campaign_id != three, **ended)
        for each in (one, two, three):
            change(conn, CAMPAIGN, CAMPAIGN.c.id == each, state=state)
        assert campaigns.finish_campaigns(conn, NOW, only=three) == []
        assert campaigns.finish_campaigns(conn, NOW, only=two) == [two]
    found = [campaign_of(sqlite_store, each) for each in (one, two, three)]
    assert [row.state for row in found] == [state, ends, state]
    assert [row.finished_at for row in found] == [None, NOW, None]


def test_a_paused_campaign_that_has_lapsed_finishes_once_its_held_batches_are_settled(store):
    campaign_id = add_campaign(store, [2, 2], expire_at=later(60))
    held, (attempt,) = submitting(store)
    set_campaign(store, campaign_id, state=S.PAUSED)
    with store.write() as conn:
        assert campaigns.lapse_expired(conn, later(60)) == 2
    assert finish(store, later(60)) == []
    settle(store, held, attempt, verdict(accepted=[0, 1]), poll=None, now=later(61))
    close(store, held, now=later(61))
    assert finish(store, later(59)) == []  # until its expiry a person may still change it
    assert finish(store, later(61)) == [campaign_id]
    assert campaign_of(store, campaign_id).state == S.FINISHED


# --- What is shown ----------------------------------------------------------------------------


def test_totals_are_the_sums_of_a_campaigns_batches(store):
    one = add_campaign(store, [3, 2])
    two = add_campaign(store, [1], first=10**9)
    held, (attempt,) = submitting(store)
    settle(store, held, attempt, verdict(accepted=[0], rejected=[1], doubtful=[2]), poll=None)
    with store.read() as conn:
        totals = campaign_search.count_messages(conn, [one, two, 99])
    assert totals[one] == dict.fromkeys(campaign_search.COUNTERS, 0) | {
        "pending": 2, "submitted": 1, "rejected": 1, "in_doubt": 1, "no_receipt": 1,
    }  # fmt: skip
    assert totals[two]["pending"] == 1
    assert set(totals[99].values()) == {0}
    with store.read() as conn:
        assert campaign_search.count_messages(conn, []) == {}


def test_the_view_has_counts_batches_and_the_reason_for_waiting(store):
    campaign_id = add_campaign(store, [2, 1], invalid=3, duplicate=2, suppressed=1)
    submitted(store)
    shown = details_json(load_view(store, str(campaign_id)))
    assert shown["id"] == campaign_id
    assert shown["state"] == "running"
    assert {k: v for k, v in shown["counts"].items() if v} == {
        "submitted": 2, "pending": 1, "total": 3, "invalid": 3, "duplicate": 2, "suppressed": 1,
    }  # fmt: skip
    assert {k: v for k, v in shown["batches"].items() if v} == {"settled": 1, "pending": 1}
    assert shown["polls"]["open"] == 1


def test_campaigns_are_listed_newest_first_and_by_state(store):
    one, two, three = (add_campaign(store, [1], first=n * 10**9) for n in (1, 2, 3))
    set_campaign(store, two, state=S.PAUSED)

    def listed(limit=9, **values):
        only = CampaignFilter(**values)
        return [row.id for row, _ in newest_campaigns(store, limit=limit, only=only)]

    assert listed() == [three, two, one]
    assert listed(limit=2) == [three, two]
    assert listed(states=["running"]) == [three, one]
    set_campaign(store, two, name="100 % off", account="other", created_at=later(60))
    assert listed(search="0 % OFF") == [two]
    assert listed(search="_") == []
    assert listed(search="HELLO") == [three, two, one]
    assert listed(account="other") == [two]
    assert listed(since=later(30)) == [two]
    assert listed(since=later(30), states=["running"]) == []
