"""Decisions of people on doubt and failure, and those that looks and `--on-doubt` take for them."""

from datetime import timedelta
from types import SimpleNamespace

import pytest

from dispatcher.campaigns import resolution
from dispatcher.campaigns.resolution import DoubtChoice
from dispatcher.errors import Refused
from dispatcher.policy.reconciliation import MAX_SCANS, DoubtNote, ListScan
from dispatcher.status import AttemptOutcome, BatchState, CampaignState, MessageState
from dispatcher.store import campaigns, doubts
from dispatcher.store.audit import current_person
from dispatcher.store.engine import store_now
from dispatcher.store.tables import AUDIT, CAMPAIGN, MESSAGE
from dispatcher.types import ListedMessage, ListPage
from tests.support.stores import (
    FIRST_NUMBER,
    NOW,
    FakeProvider,
    add_campaign,
    attempt_of,
    batch_of,
    begin,
    campaign_of,
    change,
    claimed,
    close,
    counts_of,
    provider,
    rows,
    settings,
    settle,
    states,
    submitting,
    verdict,
)
from workers.lists.doubt import settle_doubt as decide


def in_doubt(store, seqs=(0, 1, 2), *, now=NOW):
    held, (attempt,) = submitting(store, now=now)
    said = verdict(doubtful=seqs, outcome=AttemptOutcome.DOUBTFUL)
    others = set(range(held.first_seq, held.first_seq + held.size)) - set(seqs)
    if others:
        said = verdict(accepted=others, doubtful=seqs)
    settle(store, held, attempt, said)
    close(store, held)
    return held, attempt


def failed(store, size=3):
    """A batch that used up its tries."""
    campaign = add_campaign(store, (size,))
    held, (attempt,) = submitting(store)
    settle(store, held, attempt, verdict(outcome=AttemptOutcome.REFUSED))
    close(store, held, error="busy", failed_after=1)
    return campaign, held


# --- People -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("choice", "counts"),
    [
        (DoubtChoice.RESEND, {"pending": 3}),
        (DoubtChoice.ASSUME_SUBMITTED, {"submitted": 3, "no_receipt": 3}),
        (DoubtChoice.DROP, {"failed": 3}),
    ],
)
def test_a_person_resolves_all_doubts_with_an_audit_row(store, choice, counts):
    campaign = add_campaign(store)
    _, attempt = in_doubt(store)
    doubted = resolution.count_doubts(store, str(campaign))
    assert (doubted.recipients, doubted.parts) == (3, 3)
    assert resolution.resolve_doubts(store, str(campaign), choice).recipients == 3
    assert counts_of(store, campaign) == counts
    (row,) = rows(store, AUDIT)
    assert (row.actor, row.action, row.campaign_id) == (
        current_person(), f"doubt {choice}", campaign,
    )  # fmt: skip
    assert row.detail == f"request {attempt}: 3 recipients"
    assert attempt_of(store, attempt).doubt_at is None


def test_only_the_given_numbers_are_resolved(store):
    campaign = add_campaign(store)
    in_doubt(store)
    number = {FIRST_NUMBER + 1}
    assert resolution.count_doubts(store, str(campaign), number).recipients == 1
    resolution.resolve_doubts(store, str(campaign), DoubtChoice.DROP, number)
    assert states(store) == ["in_doubt", "failed", "in_doubt"]


@pytest.mark.parametrize("choice", [*DoubtChoice])
def test_who_came_into_doubt_after_the_question_is_not_decided_about(store, choice):
    """A chaos run dropped a recipient whose request was still under way when it was counted."""
    campaign = add_campaign(store, (2, 1))
    in_doubt(store, (0, 1))
    asked = resolution.count_doubts(store, str(campaign))
    in_doubt(store, (2,))
    done = resolution.resolve_doubts(store, str(campaign), choice, requests=asked.requests)
    assert (asked.recipients, done.recipients) == (2, 2)
    assert states(store)[2] == "in_doubt"


@pytest.mark.parametrize("numbers", [{1}, {FIRST_NUMBER, 1}])
def test_a_number_that_is_not_in_doubt_is_refused(store, numbers):
    campaign = add_campaign(store)
    in_doubt(store)
    with pytest.raises(Refused, match="nothing was changed"):
        resolution.count_doubts(store, str(campaign), numbers)


def test_a_campaign_without_doubt_has_nothing_to_resolve(store):
    campaign = add_campaign(store)
    with pytest.raises(Refused, match="no recipient"):
        resolution.count_doubts(store, str(campaign))


def test_doubts_of_a_cancelled_campaign_can_be_resolved_but_not_resent(store):
    campaign = add_campaign(store)
    in_doubt(store)
    with store.write() as conn:
        change(conn, CAMPAIGN, CAMPAIGN.c.id == campaign, state=CampaignState.CANCELLED)
    with pytest.raises(Refused, match="cancelled"):
        resolution.resolve_doubts(store, str(campaign), DoubtChoice.RESEND)
    assert resolution.resolve_doubts(store, str(campaign), DoubtChoice.DROP).recipients == 3


def test_recipients_in_a_batch_in_flight_are_left_and_counted(store):
    campaign = add_campaign(store)
    in_doubt(store)
    resolution.resolve_doubts(store, str(campaign), DoubtChoice.RESEND, {FIRST_NUMBER})
    claimed(store)
    done = resolution.resolve_doubts(store, str(campaign), DoubtChoice.RESEND)
    assert (done.recipients, done.left) == (0, 2)
    assert states(store) == ["pending", "in_doubt", "in_doubt"]


def test_failed_messages_are_tried_again_with_all_their_tries(store):
    campaign, held = failed(store)
    with store.write() as conn:
        assert campaigns.finish_campaigns(conn, NOW) == [campaign]
    assert resolution.retry_failed(store, str(campaign)).recipients == 3
    assert counts_of(store, campaign) == {"pending": 3}
    batch = batch_of(store, held.id)
    assert (batch.state, batch.tries, batch.error) == (BatchState.PENDING, 0, None)
    assert campaign_of(store, campaign).state == CampaignState.SCHEDULED
    assert [row.action for row in rows(store, AUDIT)] == ["campaign scheduled", "campaign retry"]
    with store.write() as conn:
        campaigns.start_due(conn, NOW)
    second = claimed(store)
    (attempt,) = begin(store, second)
    settle(store, second, attempt, verdict(accepted=[0, 1, 2]))
    close(store, second)
    assert counts_of(store, campaign) == {"submitted": 3}


def test_recipients_in_doubt_or_dropped_are_never_retried(store):
    campaign = add_campaign(store)
    in_doubt(store)
    resolution.resolve_doubts(store, str(campaign), DoubtChoice.DROP, {FIRST_NUMBER})
    with pytest.raises(Refused, match="no message"):
        resolution.retry_failed(store, str(campaign))
    assert states(store) == ["failed", "in_doubt", "in_doubt"]


@pytest.mark.parametrize("values", [{"state": CampaignState.CANCELLED}, {"expire_at": NOW}])
def test_a_campaign_that_may_not_send_any_more_is_not_retried(store, values):
    campaign, _ = failed(store)
    with store.write() as conn:
        change(conn, CAMPAIGN, CAMPAIGN.c.id == campaign, **values)
        change(conn, CAMPAIGN, CAMPAIGN.c.expire_at.is_not(None),
               expire_at=store_now(conn) - timedelta(seconds=1))  # fmt: skip
    with pytest.raises(Refused, match="nothing of it can be submitted again"):
        resolution.retry_failed(store, str(campaign))


# --- Looks and rules --------------------------------------------------------------------------


class Listing(FakeProvider):
    capabilities = type(FakeProvider.capabilities)(
        max_recipients=100,
        personal_texts=True,
        delivery_status=FakeProvider.capabilities.delivery_status,
        lists_accepted=True,
    )


OWN = SimpleNamespace(
    settings=SimpleNamespace(worker=SimpleNamespace(reconcile_after_s=300)),
)


def listed(message_id, msisdn, text="Hello"):
    return ListedMessage(
        provider_message_id=message_id, msisdn=msisdn, text=text, sender="SENDER",
        state=MessageState.SUBMITTED, raw="Enroute",
    )  # fmt: skip


def look(store, attempt, entries=(), *, adapter=None, whole=True):
    """Look once: the list has `entries` above a message of ours that is older."""
    seen = ListScan({FIRST_NUMBER + n for n in range(10)})
    page = ListPage(entries=(*entries, listed("older", 1)), next_page=None, whole=whole)
    seen.add_page(page, {"older": NOW - timedelta(hours=1)})
    seen.is_complete = True
    with store.read() as conn:
        doubtful = doubts.load_doubtful(conn, attempt)
    with store.write() as conn:
        decide(OWN, conn, adapter or Listing(settings()), doubtful, seen)


def planned(store, on_doubt="hold"):
    campaign = add_campaign(store, on_doubt=on_doubt)
    _, attempt = in_doubt(store)
    with store.write() as conn:
        doubts.schedule_reconciliation(conn, {attempt: NOW})
    return campaign, attempt


def test_two_looks_settle_found_recipients_and_resend_absent_ones(store):
    campaign, attempt = planned(store)
    shown = [listed("a", FIRST_NUMBER), listed("b", FIRST_NUMBER + 2, "altered")]
    look(store, attempt, shown)
    assert states(store) == ["submitted", "in_doubt", "in_doubt"]
    assert attempt_of(store, attempt).reconcile_at != NOW
    look(store, attempt, shown)
    assert states(store) == ["submitted", "pending", "in_doubt"]
    assert [row.action for row in rows(store, AUDIT)] == ["doubt found", "doubt absent, pending"]
    assert [DoubtNote(m.note) for m in rows(store, MESSAGE)] == [
        DoubtNote.FOUND, DoubtNote.ABSENT, DoubtNote.UNEXPLAINED,
    ]  # fmt: skip
    assert counts_of(store, campaign) == {"submitted": 1, "pending": 1, "in_doubt": 1}


def test_a_list_with_unreadable_entries_proves_nothing_however_often_it_is_read(store):
    _, attempt = planned(store)
    for _ in range(MAX_SCANS):
        look(store, attempt, whole=False)
    assert states(store) == ["in_doubt"] * 3
    assert attempt_of(store, attempt).reconcile_at is None


@pytest.mark.parametrize(
    ("rule", "ends_as"),
    [("hold", "in_doubt"), ("drop", "failed"), ("resend", "pending")],
)
def test_doubts_that_no_look_can_settle_follow_the_campaigns_rule(store, rule, ends_as):
    _, attempt = planned(store, rule)
    for _ in range(MAX_SCANS):
        look(store, attempt, whole=False)
    assert states(store) == [ends_as] * 3


@pytest.mark.parametrize("rule", ["drop", "resend"])
def test_an_ambiguous_entry_waits_for_a_person_under_every_rule(store, rule):
    _, attempt = planned(store, rule)
    for _ in range(MAX_SCANS):
        look(store, attempt, [listed("a", FIRST_NUMBER, "altered")], whole=False)
    assert states(store)[0] == "in_doubt"


@pytest.mark.parametrize(
    ("rule", "ends_as"),
    [("hold", "in_doubt"), ("drop", "failed"), ("resend", "pending")],
)
def test_without_a_list_the_rule_decides_immediately(store, rule, ends_as):
    _, attempt = planned(store, rule)
    look(store, attempt, adapter=provider())
    assert states(store) == [ends_as] * 3


def test_the_rule_resends_only_once(store):
    _, attempt = planned(store, "resend")
    look(store, attempt, adapter=provider())
    _, second = in_doubt(store)
    with store.write() as conn:
        doubts.schedule_reconciliation(conn, {second: NOW})
    look(store, second, adapter=provider())
    assert states(store) == ["in_doubt"] * 3
    assert attempt_of(store, second).reconcile_at is None


def test_a_look_before_a_resend_does_not_count_for_the_resend(store):
    campaign, attempt = planned(store)
    look(store, attempt)
    resolution.resolve_doubts(store, str(campaign), DoubtChoice.RESEND)
    _, second = in_doubt(store)
    with store.write() as conn:
        doubts.schedule_reconciliation(conn, {second: NOW})
    look(store, second)
    assert states(store) == ["in_doubt"] * 3
    look(store, second)
    assert states(store) == ["pending"] * 3


def test_messages_scheduled_at_the_provider_are_never_resent_automatically(store):
    campaign, attempt = planned(store, "resend")
    with store.write() as conn:
        change(conn, CAMPAIGN, CAMPAIGN.c.id == campaign, schedule_at=NOW + timedelta(hours=2))
    for _ in range(MAX_SCANS):
        look(store, attempt)
    assert states(store) == ["in_doubt"] * 3
