"""Doubt in the store: when it is reconciled, what is known of it, and how it ends."""

from datetime import timedelta
from decimal import Decimal

import pytest

from dispatcher.errors import StoreError
from dispatcher.policy.reconciliation import DoubtNote
from dispatcher.status import AttemptOutcome, BatchState, CampaignState, MessageState
from dispatcher.store import (
    campaigns,
    costs,
    decisions,
    doubts,
    listed_messages,
    locked_attempts,
    lost_batches,
)
from dispatcher.store.decisions import AnnotatedMessage, ListedMatch
from dispatcher.store.doubts import ReconcileTicket
from dispatcher.store.tables import ALTERNATE_ID, ATTEMPT, BATCH, CAMPAIGN, FORMER_OUTCOME, MESSAGE
from dispatcher.types import ListedMessage
from tests.support.stores import (
    FIRST_NUMBER,
    LEASE,
    NOW,
    POLL,
    add_account,
    add_campaign,
    attempt_of,
    audit,
    batch_of,
    begin,
    campaign_of,
    change,
    claimed,
    close,
    counts_of,
    later,
    rows,
    settle,
    states,
    submitting,
    verdict,
)


def in_doubt(store, seqs=(0, 1, 2), **values):
    """A batch whose answer left `seqs` in doubt and accepted the others; its claim and attempt."""
    held, (attempt,) = submitting(store, **values)
    others = set(range(held.first_seq, held.first_seq + held.size)) - set(seqs)
    outcome = AttemptOutcome.ANSWERED if others else AttemptOutcome.DOUBTFUL
    settle(store, held, attempt, verdict(accepted=others, doubtful=seqs, outcome=outcome))
    close(store, held)
    return held, attempt


def lost(store):
    """A batch whose worker was lost after its request began."""
    held, (attempt,) = submitting(store)
    with store.write() as conn:
        lost_batches.doubt_expired_submissions(conn, NOW + 2 * LEASE)
    return held, attempt


def plan(store, at, attempt=None):
    with store.write() as conn:
        new = doubts.unscheduled_doubts(conn, ["main", "other"])
        ids = [attempt] if attempt else [row.id for row in new]
        doubts.schedule_reconciliation(conn, dict.fromkeys(ids, at))


def release(store, now, names=("main", "other"), limit=2):
    with store.write() as conn:
        return doubts.lease_reconciliations(
            conn, names, now=now, lease_until=now + LEASE, limit=limit
        )


def entry(message_id, msisdn=FIRST_NUMBER):
    return ListedMessage(
        provider_message_id=message_id, msisdn=msisdn, text="Hello", sender="SENDER",
        state=MessageState.SUBMITTED, raw="Enroute",
    )  # fmt: skip


def find(store, attempt, seqs, *, ids=None, poll=POLL, now=NOW):
    found = [
        ListedMatch(
            seq, FIRST_NUMBER + seq, (ids or {}).get(seq, f"listed-{seq}"), None, DoubtNote.FOUND
        )
        for seq in seqs
    ]
    with store.write() as conn:
        case = locked_attempts.lock_attempt(conn, attempt)
        decisions.accept_listed(conn, case, found, poll=poll, now=now)
        decisions.reschedule_doubt(conn, case, next_at=None, looked=True)


def again(store, attempt, seqs, *, note=DoubtNote.RESENT, failed_after=None, now=NOW):
    with store.write() as conn:
        case = locked_attempts.lock_attempt(conn, attempt)
        state = decisions.return_to_pending(
            conn,
            case,
            [AnnotatedMessage(seq, note) for seq in seqs],
            failed_after=failed_after,
            now=now,
        )
        decisions.reschedule_doubt(conn, case, next_at=None, looked=True)
    return state


def end(store, attempt, seqs, state, note):
    with store.write() as conn:
        case = locked_attempts.lock_attempt(conn, attempt)
        decisions.resolve_as(
            conn, case, state, [AnnotatedMessage(seq, note) for seq in seqs], now=NOW
        )
        decisions.reschedule_doubt(conn, case, next_at=None, looked=True)


def finish(store):
    with store.write() as conn:
        return campaigns.finish_campaigns(conn, later(100))


# --- When it is reconciled --------------------------------------------------------------------


@pytest.mark.parametrize("fall", [in_doubt, lost], ids=["by its answer", "by its lost worker"])
def test_a_request_that_falls_in_doubt_waits_to_be_scheduled(store, fall):
    add_campaign(store)
    _, attempt = fall(store)
    row = attempt_of(store, attempt)
    assert row.doubt_at is not None
    assert (row.reconcile_at, row.looks) == (row.deadline, None)
    assert release(store, later(10_000)) == []
    with store.write() as conn:
        assert [unplanned.id for unplanned in doubts.unscheduled_doubts(conn, ["main"])] == [
            attempt
        ]


def test_a_due_account_gets_one_ticket_until_its_look_ends(store):
    add_campaign(store)
    in_doubt(store)
    plan(store, later(60))
    assert release(store, later(59)) == []
    (ticket,) = release(store, later(60))
    assert ticket == ReconcileTicket("main", 1)
    assert release(store, later(61)) == []
    with store.write() as conn:
        assert doubts.renew_reconciliation(conn, ticket, None)
        assert not doubts.renew_reconciliation(conn, ticket, later(200))
    assert release(store, later(62)) == [ReconcileTicket("main", 2)]
    with store.write() as conn:
        assert not doubts.renew_reconciliation(conn, ticket, later(200))


def test_a_look_whose_worker_was_lost_gets_another_ticket(store):
    add_campaign(store)
    in_doubt(store)
    plan(store, later(60))
    release(store, later(60))
    assert release(store, later(60) + 2 * LEASE) == [ReconcileTicket("main", 2)]


def test_doubts_of_an_account_that_is_gone_do_not_keep_the_others_waiting(store):
    for n, account in enumerate(("gone", "gone", "gone", "main")):
        add_campaign(store, account=account, first=FIRST_NUMBER + 100 * n)
        in_doubt(store)
    with store.read() as conn:
        assert len(doubts.unscheduled_doubts(conn, ["main", "gone"], limit=2)) == 2
        (found,) = doubts.unscheduled_doubts(conn, ["main"], limit=2)
        assert doubts.unscheduled_doubts(conn, []) == []
    assert found.account == "main"


def test_looks_stay_within_the_limit_and_within_the_configured_accounts(store):
    add_campaign(store)
    in_doubt(store)
    add_campaign(store, account="other", first=FIRST_NUMBER + 100)
    in_doubt(store)
    plan(store, NOW)
    assert release(store, NOW, names=()) == []
    assert len(release(store, NOW, limit=1)) == 1
    assert release(store, NOW, limit=1) == []
    assert len(release(store, NOW, limit=2)) == 1


def test_due_requests_come_oldest_first_with_the_recipients_still_in_doubt(store):
    add_campaign(store, (3, 2))
    _, first = in_doubt(store, seqs=(1,))
    _, second = in_doubt(store, seqs=(3, 4), now=later(1))
    plan(store, later(60))
    with store.read() as conn:
        due = doubts.due_doubts(conn, "main", later(60))
    assert [doubtful.id for doubtful in due] == [first, second]
    assert [[r.seq for r in doubtful.recipients] for doubtful in due] == [[1], [3, 4]]


def test_a_campaign_stays_open_while_its_doubt_is_reconciled_and_finishes_when_a_person_must_decide(
    store,
):
    campaign = add_campaign(store)
    _, attempt = in_doubt(store)
    assert finish(store) == []
    plan(store, later(60))
    assert finish(store) == []
    with store.write() as conn:
        decisions.reschedule_doubt(
            conn, locked_attempts.lock_attempt(conn, attempt), next_at=None, looked=True
        )
    assert finish(store) == [campaign]
    assert attempt_of(store, attempt).doubt_at is not None


def test_the_outlook_says_since_when_and_when_the_next_look_is(store):
    campaign = add_campaign(store)
    in_doubt(store)
    with store.read() as conn:
        assert doubts.doubt_outlook(conn, campaign).next_at is None
    plan(store, later(60))
    with store.read() as conn:
        outlook = doubts.doubt_outlook(conn, campaign)
    assert (outlook.since, outlook.next_at) == (NOW, later(60))


# --- What is known of listed numbers ----------------------------------------------------------


def test_ids_that_answers_gave_are_known_and_those_that_looks_matched_are_not(store):
    add_campaign(store)
    _, attempt = in_doubt(store, seqs=(1,))
    find(store, attempt, [1])
    with store.read() as conn:
        listed = [entry("id-0"), entry("listed-1", FIRST_NUMBER + 1), entry("id-2", 1)]
        assert listed_messages.find_answer_times(conn, "main", listed) == {"id-0": NOW}
        assert listed_messages.find_answer_times(conn, "other", listed) == {}


def standing(store, attempt, listed=()):
    with store.read() as conn:
        doubtful = doubts.load_doubtful(conn, attempt)
        return listed_messages.load_known_ids(conn, doubtful, listed, doubtful.begun_at)[
            FIRST_NUMBER
        ]


def test_other_known_messages_of_a_number_count_by_the_source_of_their_id(store):
    add_campaign(store, (1,))
    _, attempt = in_doubt(store, seqs=(0,))
    assert standing(store, attempt) == standing(store, attempt, ["id-0"])
    add_campaign(store, (1,))
    held, (open_attempt,) = submitting(store)
    assert standing(store, attempt).has_open_request
    settle(store, held, open_attempt, verdict(accepted=[0]))
    assert standing(store, attempt).answered_ids == {"id-0"}
    add_campaign(store, (1,))
    _, other = in_doubt(store, seqs=(0,))
    find(store, other, [0])
    assert standing(store, attempt, ["listed-0"]).matched_ids == {"listed-0"}
    assert standing(store, attempt, ["listed-0"]).answered_ids == {"id-0"}
    with store.write() as conn:
        change(conn, MESSAGE, MESSAGE.c.attempt_id == open_attempt, provider_message_id=None)
    known = standing(store, attempt)
    assert (known.without_id, known.answered_ids, known.has_open_request) == (1, frozenset(), False)


def test_another_accounts_messages_do_not_count(store):
    add_campaign(store, (1,))
    _, attempt = in_doubt(store, seqs=(0,))
    add_campaign(store, (1,), account="other")
    submitting(store)
    assert not standing(store, attempt).has_open_request


# --- Found ------------------------------------------------------------------------------------


def test_a_found_recipient_is_submitted_with_the_listed_id_and_is_polled(store):
    campaign = add_campaign(store)
    held, attempt = in_doubt(store)
    find(store, attempt, [0, 1])
    assert states(store) == ["submitted", "submitted", "in_doubt"]
    assert counts_of(store, campaign) == {"submitted": 2, "in_doubt": 1}
    assert [m.provider_message_id for m in rows(store, MESSAGE)] == ["listed-0", "listed-1", None]
    row = attempt_of(store, attempt)
    assert (row.poll_at, row.poll_until, row.looks) == (POLL.first_at, POLL.until, 1)
    assert row.doubt_at is not None
    find(store, attempt, [2])
    assert attempt_of(store, attempt).doubt_at is None
    assert batch_of(store, held.id).state == BatchState.SETTLED


def test_without_a_status_call_a_found_recipient_gets_no_receipt(store):
    campaign = add_campaign(store)
    _, attempt = in_doubt(store)
    find(store, attempt, [0], poll=None)
    assert counts_of(store, campaign) == {"submitted": 1, "in_doubt": 2, "no_receipt": 1}


def test_a_recipient_found_after_polling_has_ended_is_not_counted_twice(store):
    campaign = add_campaign(store, (3, 1))
    held, attempt = in_doubt(store, seqs=(2,))
    with store.write() as conn:
        # One of its messages had moved to another account's batch: no receipt comes for that one.
        change(conn, MESSAGE, MESSAGE.c.seq == 3, attempt_id=attempt, state=MessageState.SUBMITTED)
        elsewhere = BATCH.c.id != held.id
        change(conn, BATCH, elsewhere, pending=0, submitted=1, no_receipt=1)
        change(conn, BATCH, ~elsewhere, no_receipt=2)
    with store.write() as conn:
        change(conn, ATTEMPT, ATTEMPT.c.id == attempt, poll_at=None)
    find(store, attempt, [2])
    assert counts_of(store, campaign) == {"submitted": 4, "no_receipt": 1}


def test_the_price_of_a_recipient_that_is_found_counts(store):
    campaign = add_campaign(store, (2,))
    _, attempt = in_doubt(store, seqs=(0, 1))
    with store.write() as conn:
        case = locked_attempts.lock_attempt(conn, attempt)
        match = ListedMatch(0, FIRST_NUMBER, "listed", Decimal("0.5"), DoubtNote.FOUND)
        decisions.accept_listed(conn, case, [match], poll=POLL, now=NOW)
        assert costs.campaign_cost(conn, campaign) == Decimal("0.5")


def test_one_price_among_those_that_are_found_counts(sqlite_store):
    campaign = add_campaign(sqlite_store, (2,))
    _, attempt = in_doubt(sqlite_store, seqs=(0, 1))
    prices = (Decimal("0.5"), None)
    found = [
        ListedMatch(seq, FIRST_NUMBER + seq, f"listed-{seq}", price, DoubtNote.FOUND)
        for seq, price in enumerate(prices)
    ]
    with sqlite_store.write() as conn:
        case = locked_attempts.lock_attempt(conn, attempt)
        decisions.accept_listed(conn, case, found, poll=POLL, now=NOW)
        assert costs.campaign_cost(conn, campaign) == Decimal("0.5")


def test_what_other_requests_of_the_batch_have_gets_no_receipt_still(sqlite_store):
    """One of them is not polled any more; the found one is."""
    campaign = add_campaign(sqlite_store, (3,))
    held, (one, two) = submitting(sqlite_store, [[0, 1], [2]])
    settle(sqlite_store, held, one, verdict(accepted=[0, 1]), poll=None)
    settle(sqlite_store, held, two, verdict(doubtful=[2], outcome=AttemptOutcome.DOUBTFUL))
    close(sqlite_store, held)
    find(sqlite_store, two, [2])
    assert counts_of(sqlite_store, campaign) == {"submitted": 3, "no_receipt": 2}


def test_where_nothing_is_found_nothing_is_polled(sqlite_store):
    add_campaign(sqlite_store)
    _, attempt = in_doubt(sqlite_store)
    find(sqlite_store, attempt, [])
    assert attempt_of(sqlite_store, attempt).poll_at is None


def test_only_what_is_sent_again_has_a_former_outcome(sqlite_store):
    add_campaign(sqlite_store)
    _, attempt = in_doubt(sqlite_store)
    again(sqlite_store, attempt, [1])
    assert [row.seq for row in rows(sqlite_store, FORMER_OUTCOME)] == [1]


def test_an_id_is_used_once_even_by_two_simultaneous_looks(store):
    add_campaign(store, (1,))
    _, first = in_doubt(store, seqs=(0,))
    add_campaign(store, (1,))
    _, second = in_doubt(store, seqs=(0,))
    find(store, first, [0])
    with pytest.raises(StoreError):
        find(store, second, [0])
    assert states(store) == ["submitted", "in_doubt"]


def test_a_recipient_that_is_not_in_doubt_any_more_cannot_be_found(store):
    add_campaign(store)
    _, attempt = in_doubt(store)
    end(store, attempt, [0], MessageState.FAILED, DoubtNote.DROPPED)
    with pytest.raises(StoreError, match="changed"):
        find(store, attempt, [0, 1])
    assert states(store) == ["failed", "in_doubt", "in_doubt"]


# --- Again ------------------------------------------------------------------------------------


def test_an_absent_recipient_reopens_the_settled_batch_with_a_new_fence(store):
    campaign = add_campaign(store)
    held, attempt = in_doubt(store)
    before = batch_of(store, held.id)
    assert again(store, attempt, [0, 2], failed_after=8) is MessageState.PENDING
    batch = batch_of(store, held.id)
    assert (batch.state, batch.fence, batch.tries) == (BatchState.PENDING, before.fence + 1, 1)
    assert counts_of(store, campaign) == {"pending": 2, "in_doubt": 1}
    second = claimed(store, now=later(300))
    (new,) = begin(store, second, [[0, 2]], now=later(300))
    settle(store, second, new, verdict(accepted=[0, 2]))
    close(store, second)
    assert states(store) == ["submitted", "in_doubt", "submitted"]


def test_a_finished_campaign_with_pending_messages_is_reopened(store):
    campaign = add_campaign(store)
    _, attempt = in_doubt(store)
    plan(store, None)
    assert finish(store) == [campaign]
    again(store, attempt, [0])
    row = campaign_of(store, campaign)
    assert (row.state, row.finished_at) == (CampaignState.SCHEDULED, None)


@pytest.mark.parametrize("failed_after", [None, 1])
def test_no_recipient_of_a_cancelled_campaign_is_submitted_again(store, failed_after):
    campaign = add_campaign(store)
    held, attempt = in_doubt(store)
    with store.write() as conn:
        change(conn, CAMPAIGN, CAMPAIGN.c.id == campaign, state=CampaignState.CANCELLED)
    assert again(store, attempt, [0], failed_after=failed_after) is MessageState.CANCELLED
    assert states(store)[0] == "cancelled"
    assert batch_of(store, held.id).state == BatchState.SETTLED


def test_tries_are_bounded_over_proofs_of_absence_too(store):
    add_campaign(store)
    _, attempt = in_doubt(store)
    assert again(store, attempt, [0], failed_after=1) is MessageState.FAILED
    assert states(store) == ["failed", "in_doubt", "in_doubt"]


def test_no_message_returns_to_a_batch_that_a_worker_holds(store):
    add_campaign(store)
    held, attempt = in_doubt(store)
    again(store, attempt, [0])
    claimed(store)
    with pytest.raises(StoreError):
        again(store, attempt, [1])
    assert batch_of(store, held.id).pending == 1


@pytest.mark.parametrize(
    ("state", "note", "counts"),
    [
        (MessageState.SUBMITTED, DoubtNote.ASSUMED, {"submitted": 1, "no_receipt": 1}),
        (MessageState.FAILED, DoubtNote.DROPPED, {"failed": 1}),
    ],
)
def test_a_persons_decision_ends_a_doubt(store, state, note, counts):
    campaign = add_campaign(store, (1,))
    _, attempt = in_doubt(store, seqs=(0,))
    end(store, attempt, [0], state, note)
    assert counts_of(store, campaign) == counts
    (message,) = rows(store, MESSAGE)
    assert (message.note, message.final_at) == (note, NOW if note is DoubtNote.DROPPED else None)


# --- Late acceptances -------------------------------------------------------------------------


def test_a_late_acceptance_stops_a_resend_that_was_not_sent_yet(store):
    campaign = add_campaign(store)
    held, attempt = lost(store)
    again(store, attempt, [0, 1])
    settle(store, held, attempt, verdict(accepted=[0, 1, 2]))
    assert counts_of(store, campaign) == {"submitted": 3}
    assert rows(store, ALTERNATE_ID) == []
    assert "late acceptance" not in audit(store)


def test_a_late_acceptance_after_a_resend_keeps_its_ids_and_raises_an_alarm(store):
    campaign = add_campaign(store, (1,))
    held, attempt = lost(store)
    again(store, attempt, [0])
    second = claimed(store, now=later(300))
    (new,) = begin(store, second, now=later(300))
    settle(store, held, attempt, verdict(accepted=[0]))
    assert "late acceptance" in audit(store)
    (other,) = rows(store, ALTERNATE_ID)
    assert (other.provider_message_id, other.seq, other.attempt_id) == ("id-0", 0, attempt)
    given = verdict(accepted=[0])
    settle(store, second, new, given)
    close(store, second)
    assert counts_of(store, campaign) == {"submitted": 1}


def test_a_late_acceptance_with_the_id_that_was_found_changes_nothing(store):
    add_campaign(store, (1,))
    held, attempt = lost(store)
    find(store, attempt, [0], ids={0: "id-0"})
    settle(store, held, attempt, verdict(accepted=[0]))
    assert "late acceptance" not in audit(store)
    assert states(store) == ["submitted"]


def test_an_id_that_a_look_gave_to_an_equal_message_does_not_end_its_own_doubt(store):
    add_campaign(store, (1,))
    held, attempt = lost(store)
    add_campaign(store, (1,))
    _, other = in_doubt(store, seqs=(0,))
    find(store, other, [0], ids={0: "id-0"})
    settle(store, held, attempt, verdict(accepted=[0]))
    assert states(store) == ["in_doubt", "submitted"]


# --- Batches whose workers are lost -----------------------------------------------------------


def test_a_batch_whose_worker_is_lost_several_times_fails(store):
    campaign = add_campaign(store)
    add_account(store)
    held, (attempt,) = submitting(store, [[0]])
    settle(store, held, attempt, verdict(rejected=[0]))
    close(store, held)
    for number in range(1, 6):
        now = NOW + number * timedelta(hours=1)
        claimed(store, now=now)
        with store.write() as conn:
            assert lost_batches.release_expired_claims(conn, now + 2 * LEASE) == 1
    assert counts_of(store, campaign) == {"rejected": 1, "failed": 2}
    errors = [message.error for message in rows(store, MESSAGE)]
    assert errors[1:] == [lost_batches.LOST_TOO_OFTEN] * 2 != errors[:2]
    assert finish(store) == [campaign]


def in_doubt_one_by_one(store):
    """A batch of three requests that are all in doubt, of a recipient each; their ids."""
    add_campaign(store)
    held, attempts = submitting(store, [[0], [1], [2]])
    for attempt, seq in zip(attempts, range(3), strict=True):
        said = verdict(doubtful=[seq], outcome=AttemptOutcome.DOUBTFUL)
        settle(store, held, attempt, said)
    close(store, held)
    return attempts


def test_requests_of_one_batch_are_decided_one_by_one(store):
    attempts = in_doubt_one_by_one(store)
    with store.write() as conn:
        case = locked_attempts.lock_attempt(conn, attempts[1])
        decided = [AnnotatedMessage(1, None)]
        assert decisions.resolve_as(conn, case, MessageState.FAILED, decided, now=NOW) == 1
        assert decisions.reschedule_doubt(conn, case, next_at=later(60)) == 0
    assert states(store) == ["in_doubt", "failed", "in_doubt"]
    another = [AnnotatedMessage(2, None)]
    with store.write() as conn:
        case = locked_attempts.lock_attempt(conn, attempts[1])
        with pytest.raises(StoreError, match="changed while it was resolved"):
            decisions.resolve_as(conn, case, MessageState.FAILED, another, now=NOW)
    assert states(store) == ["in_doubt", "failed", "in_doubt"]


def test_only_the_named_requests_get_a_time(store):
    attempts = in_doubt_one_by_one(store)
    with store.write() as conn:
        doubts.schedule_reconciliation(conn, {attempts[1]: later(90)})
    found = rows(store, ATTEMPT)
    assert [each.looks for each in found] == [None, 0, None]
    assert [each.reconcile_at == later(90) for each in found] == [False, True, False]
