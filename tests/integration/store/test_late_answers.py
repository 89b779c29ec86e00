"""A late acceptance is about a message, wherever it lives now: it is not sent again."""

from decimal import Decimal

import pytest

from dispatcher.campaigns import resolution
from dispatcher.campaigns.resolution import DoubtChoice
from dispatcher.errors import Refused
from dispatcher.policy.batching import BatchSize
from dispatcher.policy.rebatching import BatchLimits, WaitingMessage
from dispatcher.policy.reconciliation import DoubtNote
from dispatcher.policy.verdict import Accepted, NotAccepted, Verdict
from dispatcher.status import AttemptOutcome, BatchState, MessageState
from dispatcher.store import (
    decisions,
    doubts,
    fallback_moves,
    locked_attempts,
    lost_batches,
    polls,
    retries,
)
from dispatcher.store.answers import JudgedAnswer, settle_in_time
from dispatcher.store.bundles import BundleAnswer, settle_bundle
from dispatcher.store.decisions import AnnotatedMessage, ListedMatch
from dispatcher.store.late_answers import accept_noted
from dispatcher.store.locks import lock_campaign
from dispatcher.store.settlement import PollSchedule, Settlement
from dispatcher.store.tables import BATCH, MESSAGE
from dispatcher.types import Recipient
from tests.support.receipts import give_receipts, leased_poll
from tests.support.stores import (
    FIRST_NUMBER,
    POLL,
    add_account,
    add_campaign,
    attempt_of,
    audit,
    batch_of,
    begin,
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
    submitting,
    verdict,
)

LIMITS = BatchLimits(
    size=BatchSize(2),
    max_bytes=10_000,
    max_parts=None,
    bytes_of=lambda _msisdn, _text: 1,
    requests_of=lambda _recipients: 1,
)


def doubtful(store, **values):
    campaign_id = add_campaign(store, (3,), **values)
    held, (attempt,) = submitting(store)
    with store.write() as conn:
        assert lost_batches.doubt_expired_submissions(conn, later(61)) == 1
    return campaign_id, held, attempt


def decide(store, attempt, note, failed_after=None):
    """Take a request's messages out of doubt, without an acceptance."""
    with store.write() as conn:
        case = locked_attempts.lock_attempt(conn, attempt)
        found = doubts.load_doubtful(conn, attempt).recipients
        notes = [AnnotatedMessage(row.seq, int(note)) for row in found]
        decisions.return_to_pending(conn, case, notes, failed_after=failed_after, now=later(700))
        decisions.reschedule_doubt(conn, case, next_at=None)


def move(store, campaign_id):
    add_account(store, "backup")

    def shown(found):
        return [WaitingMessage(Recipient(r.seq, r.msisdn, "Hello"), r.parts) for r in found]

    with store.write() as conn:
        campaign = lock_campaign(conn, campaign_id)
        fallback_moves.switch_account(conn, campaign, "backup", "out", later(700))
        fallback_moves.move_batches(conn, campaign, "backup", LIMITS, shown, later(700))


def answer_late(store, held, attempt, seqs=range(3), *, seconds=701):
    said = Verdict(
        outcome=AttemptOutcome.ANSWERED,
        accepted=[Accepted(seq, f"id-{seq}", Decimal("0.5")) for seq in seqs],
    )
    late = Settlement(
        claim=held, attempt_id=attempt, verdict=said, polling=PollSchedule(first_s=1, for_s=9)
    )
    with store.write() as conn:
        late.apply_to(conn, later(seconds))


def assert_known(store, campaign_id, attempt, *, polled=True):
    assert states(store) == ["submitted"] * 3
    assert [m.provider_message_id for m in rows(store, MESSAGE)] == ["id-0", "id-1", "id-2"]
    assert (attempt_of(store, attempt).poll_at is not None) == polled
    assert attempt_of(store, attempt).doubt_at is None
    counts = counts_of(store, campaign_id)
    assert counts == {"submitted": 3} | ({} if polled else {"no_receipt": 3})
    assert {b.state for b in rows(store, BATCH)} <= {BatchState.SETTLED, BatchState.REPLACED}


def test_a_late_answer_ends_the_doubt_of_its_own_request_only(store):
    add_campaign(store, (2,))
    held, (one, two) = submitting(store, [[0], [1]])
    with store.write() as conn:
        assert lost_batches.doubt_expired_submissions(conn, later(61)) == 1
    answer_late(store, held, one, [0])
    assert states(store) == ["submitted", "in_doubt"]
    assert attempt_of(store, one).doubt_at is None
    assert attempt_of(store, two).doubt_at is not None


def test_a_late_answer_is_about_its_own_campaign_only(store):
    campaign_id, held, attempt = doubtful(store)
    decide(store, attempt, DoubtNote.ABSENT, failed_after=9)
    other = add_campaign(store, (3, 3), first=919_830_000_000)
    answer_late(store, held, attempt)
    assert states(store, campaign_id) == ["submitted"] * 3
    assert states(store, other) == ["pending"] * 6


def test_a_late_answer_leaves_other_batches_of_its_campaign_alone(store):
    campaign_id = add_campaign(store, (2, 2))
    held, (attempt,) = submitting(store)
    with store.write() as conn:
        assert lost_batches.doubt_expired_submissions(conn, later(61)) == 1
    answer_late(store, held, attempt, range(2))
    assert states(store) == ["submitted"] * 2 + ["pending"] * 2
    assert counts_of(store, campaign_id) == {"submitted": 2, "pending": 2}


def test_a_second_answer_to_a_request_that_was_refused_submits_nothing(store):
    add_campaign(store)
    held, (attempt,) = submitting(store)
    settle(store, held, attempt, verdict(outcome=AttemptOutcome.REFUSED))
    close(store, held)
    answer_late(store, held, attempt)
    assert states(store) == ["pending"] * 3


def test_failed_messages_were_submitted_after_all(store):
    """Hole 6: the list did not show them, their tries were used up; then the answer came."""
    campaign_id, held, attempt = doubtful(store)
    decide(store, attempt, DoubtNote.ABSENT, failed_after=1)
    assert states(store) == ["failed"] * 3
    answer_late(store, held, attempt)
    assert_known(store, campaign_id, attempt)
    with pytest.raises(Refused, match="no message of campaign"):
        resolution.retry_failed(store, str(campaign_id))


def test_retried_messages_that_have_not_left_are_not_sent_again(store):
    campaign_id, held, attempt = doubtful(store)
    decide(store, attempt, DoubtNote.ABSENT, failed_after=1)
    resolution.retry_failed(store, str(campaign_id))
    (ticket,) = queued(store)
    answer_late(store, held, attempt)
    assert_known(store, campaign_id, attempt)
    assert claim(store, ticket) is None


def test_messages_that_a_person_gave_up_were_submitted_after_all(store):
    campaign_id, held, attempt = doubtful(store)
    resolution.resolve_doubts(store, str(campaign_id), DoubtChoice.DROP)
    answer_late(store, held, attempt)
    assert_known(store, campaign_id, attempt)


def test_messages_that_moved_to_a_fallback_are_not_sent_again(store):
    campaign_id, held, attempt = doubtful(store, on_doubt="resend")
    decide(store, attempt, DoubtNote.RESENT)
    move(store, campaign_id)
    assert {row.account for row in rows(store, BATCH, BATCH.c.size > 0)} == {"backup"}
    answer_late(store, held, attempt)
    assert_known(store, campaign_id, attempt, polled=False)


def test_messages_of_which_some_moved_are_all_known(store):
    """The batch keeps what is in doubt; the rest moved, and one of it was claimed there."""
    campaign_id, held, attempt = doubtful(store)
    with store.write() as conn:
        case = locked_attempts.lock_attempt(conn, attempt)
        notes = [AnnotatedMessage(seq, int(DoubtNote.RESENT)) for seq in (0, 2)]
        decisions.return_to_pending(conn, case, notes, failed_after=None, now=later(700))
    move(store, campaign_id)
    taken = claimed(store, now=later(700))
    assert taken.account == "backup"
    answer_late(store, held, attempt)
    assert states(store) == ["submitted"] * 3
    assert counts_of(store, campaign_id) == {"submitted": 3, "no_receipt": 2}
    with pytest.raises(Exception, match="changed while its requests were made"):
        begin(store, taken, now=later(701))


@pytest.mark.parametrize("how", ["withdrawn", "throttled", "refused", "doubtful", "lost"])
@pytest.mark.parametrize("is_first", [True, False], ids=["then late", "late while open"])
def test_a_resend_that_ended_without_an_acceptance_is_the_last(store, how, is_first):
    """Hole 6: the late answer comes after the resend ended, or while it is still open."""
    campaign_id, held, attempt = doubtful(store, on_doubt="resend")
    decide(store, attempt, DoubtNote.RESENT)
    again = claimed(store, now=later(700))
    (second,) = begin(store, again, now=later(700))
    if not is_first:
        answer_late(store, held, attempt)
        assert states(store) == ["pending"] * 3
    said = {
        "throttled": Verdict(outcome=AttemptOutcome.REFUSED),
        "refused": verdict(rejected=range(3)),
        "doubtful": verdict(doubtful=range(3), outcome=AttemptOutcome.DOUBTFUL),
    }
    with store.write() as conn:
        if how == "lost":
            assert lost_batches.doubt_expired_submissions(conn, later(761)) == 1
        else:
            ended = Settlement(claim=again, attempt_id=second, verdict=said.get(how))
            ended.apply_to(conn, later(700))
    if how != "lost":
        close(store, again, error="later", failed_after=8, now=later(700))
    if is_first:
        answer_late(store, held, attempt, seconds=800)
    if how == "refused" and is_first:
        assert states(store) == ["rejected"] * 3  # final: nobody sends it again
        return
    assert states(store) == ["submitted"] * 3
    assert [m.provider_message_id for m in rows(store, MESSAGE)] == ["id-0", "id-1", "id-2"]
    assert batch_of(store, again.id).state == BatchState.SETTLED
    assert batch_of(store, again.id).cost == Decimal("1.5")
    assert counts_of(store, campaign_id)["submitted"] == 3
    assert attempt_of(store, attempt).doubt_at is None


def test_a_resend_that_was_accepted_too_is_an_audit_row(store):
    _campaign, held, attempt = doubtful(store, on_doubt="resend")
    decide(store, attempt, DoubtNote.RESENT)
    again = claimed(store, now=later(700))
    (second,) = begin(store, again, now=later(700))
    said = Verdict(
        outcome=AttemptOutcome.ANSWERED, accepted=[Accepted(s, f"new-{s}", None) for s in range(3)]
    )
    settle(store, again, second, said, poll=None, now=later(700))
    answer_late(store, held, attempt)
    assert states(store) == ["submitted"] * 3
    assert audit(store)[-1] == "late acceptance"
    assert {m.attempt_id for m in rows(store, MESSAGE)} == {second}


def test_the_receipts_of_a_late_acceptance_are_polled(store):
    campaign_id, held, attempt = doubtful(store, on_doubt="resend")
    decide(store, attempt, DoubtNote.RESENT)
    again = claimed(store, now=later(700))
    (second,) = begin(store, again, now=later(700))
    settle(store, again, second, verdict(doubtful=range(3)), now=later(700))
    answer_late(store, held, attempt)
    now = later(800)
    with store.write() as conn:
        (ticket,) = polls.lease_due_polls(conn, now=now, lease_until=now, limit=9)
        polled = polls.load_poll(conn, ticket.id, ticket.polls)
    assert [message.seq for message in polled.open] == [0, 1, 2]
    assert attempt_of(store, second).doubt_at is None
    assert counts_of(store, campaign_id) == {"submitted": 3}


@pytest.mark.parametrize(
    ("state", "pending", "after"),
    [
        (BatchState.PENDING, 3, BatchState.SETTLED),
        (BatchState.QUEUED, 3, BatchState.SETTLED),
        (BatchState.PENDING, 4, BatchState.PENDING),
        (BatchState.CLAIMED, 3, BatchState.CLAIMED),
        (BatchState.SUBMITTING, 3, BatchState.SUBMITTING),
    ],
)
def test_a_late_answer_ends_the_batch_that_waits_with_nothing_left(
    sqlite_store, state, pending, after
):
    """One that a worker holds is ended by that one; and no other batch ends."""
    store = sqlite_store
    _campaign, held, attempt = doubtful(store)
    decide(store, attempt, DoubtNote.ABSENT)
    other = add_campaign(store, (1,), first=919_900_000_000)
    with store.write() as conn:
        change(conn, BATCH, BATCH.c.campaign_id == other, pending=0)
        change(conn, BATCH, BATCH.c.id == held.id, state=state, pending=pending)
    before = {row.id: row for row in rows(store, BATCH)}
    answer_late(store, held, attempt)
    mine, bystander = rows(store, BATCH)
    assert bystander == before[bystander.id]
    has_ended = after is BatchState.SETTLED
    assert (mine.state, mine.fence - before[mine.id].fence) == (after, int(has_ended))


@pytest.mark.parametrize(
    ("requests", "said"),
    [
        ([[0, 1]], [verdict(accepted=[0], doubtful=[1])]),
        ([[0, 1]], [verdict(accepted=[0], rejected=[1])]),
        ([[0, 1]], [verdict(doubtful=[0, 1])]),
        ([[0, 1]], [verdict(outcome=AttemptOutcome.REFUSED)]),
        ([[0], [1]], [verdict(accepted=[0]), verdict(doubtful=[1])]),
        ([[0], [1]], [verdict(accepted=[0]), verdict(rejected=[1])]),
    ],
)
def test_whatever_answers_now_what_a_late_one_said_is_worth_more(sqlite_store, requests, said):
    add_campaign(sqlite_store, (2,))
    held, attempts = submitting(sqlite_store, requests)
    given = [JudgedAnswer(*each, None) for each in zip(attempts, said, strict=True)]
    with sqlite_store.write() as conn:
        change(conn, MESSAGE, MESSAGE.c.seq == 1, note=int(DoubtNote.ACCEPTED_LATE))
        settle_in_time(conn, held, given, later(1))
    assert states(sqlite_store)[1] == "submitted"


def test_an_answer_to_a_bundle_moves_no_message_that_is_not_pending(store):
    add_campaign(store, (2,))
    held, (attempt,) = submitting(store, [[0, 1]])
    answer = BundleAnswer(held, JudgedAnswer(attempt, verdict(accepted=[0, 1]), None))
    with store.write() as conn:
        change(conn, MESSAGE, MESSAGE.c.seq == 1, state=MessageState.DELIVERED)
        change(conn, BATCH, BATCH.c.id == held.id, pending=1, delivered=1)
        settle_bundle(conn, [answer], later(1))
    assert states(store) == ["submitted", "delivered"]


def test_what_is_noted_waits_for_the_answer_to_the_request_that_carries_it(store):
    add_campaign(store, (2,))
    held, (attempt, _other) = submitting(store, [[0], [1]])
    with store.write() as conn:
        change(conn, MESSAGE, MESSAGE.c.seq == 0, note=int(DoubtNote.ACCEPTED_LATE))
        assert accept_noted(conn, held) == 0
    assert states(store) == ["pending"] * 2
    settle(store, held, attempt, verdict(outcome=AttemptOutcome.REFUSED))
    with store.write() as conn:
        accept_noted(conn, held)
    assert states(store) == ["submitted", "pending"]


@pytest.mark.parametrize("is_lost_again", [False, True], ids=["pending", "in doubt"])
def test_what_a_look_has_found_and_a_person_retried_is_not_submitted_by_it(store, is_lost_again):
    """The acceptance was known, and had its receipt: it says nothing of the retry."""
    campaign_id, held, attempt = doubtful(store)
    with store.write() as conn:
        case = locked_attempts.lock_attempt(conn, attempt)
        found = [
            ListedMatch(seq, FIRST_NUMBER + seq, f"id-{seq}", None, DoubtNote.FOUND)
            for seq in range(3)
        ]
        assert decisions.accept_listed(conn, case, found, poll=POLL, now=later(70)) == 3
        decisions.reschedule_doubt(conn, case, next_at=None)
    polled = leased_poll(store, attempt, now=later(400))
    give_receipts(store, polled, dict.fromkeys(range(3), "undelivered"), now=later(401))
    with store.write() as conn:
        again = [MessageState.UNDELIVERED]
        assert retries.retry_batch(conn, held.id, later(500), again) == 3
    expected = "pending"
    if is_lost_again:
        begin(store, claimed(store, now=later(510)), now=later(511))
        with store.write() as conn:
            assert lost_batches.doubt_expired_submissions(conn, later(700)) == 1
        expected = "in_doubt"
    answer_late(store, held, attempt)
    assert states(store) == [expected] * 3
    assert counts_of(store, campaign_id) == {expected: 3}
    assert attempt_of(store, attempt).doubt_at is None


def test_a_late_refusal_changes_nothing(store):
    campaign_id, held, attempt = doubtful(store)
    said = Verdict(
        outcome=AttemptOutcome.REFUSED, rejected=[NotAccepted(s, "1", "no") for s in range(3)]
    )
    with store.write() as conn:
        Settlement(claim=held, attempt_id=attempt, verdict=said).apply_to(conn, later(701))
    assert counts_of(store, campaign_id) == {"in_doubt": 3}
