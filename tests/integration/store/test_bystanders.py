"""What happens to one batch changes no other row: not of its campaign, and not of another one.

The other rows are in every state that a batch can be in. Who forgets a condition of a statement
changes one of them.
"""

import shutil
from contextlib import closing

import pytest

from dispatcher.policy.batching import BatchSize
from dispatcher.policy.rebatching import BatchLimits, WaitingMessage
from dispatcher.policy.reconciliation import DoubtNote
from dispatcher.status import AttemptOutcome, BatchState, CampaignState, MessageState
from dispatcher.store import (
    batch_endings,
    batches,
    campaign_search,
    campaign_settings,
    campaigns,
    decisions,
    doubts,
    drops,
    fallback_moves,
    locked_attempts,
    lost_batches,
    polls,
    retries,
    suppressions,
    tickets,
)
from dispatcher.store.decisions import AnnotatedMessage, ListedMatch
from dispatcher.store.engine import Store
from dispatcher.store.locks import lock_campaign
from dispatcher.store.receipts import Receipt, store_receipts
from dispatcher.store.tables import (
    ACCOUNT,
    ALTERNATE_ID,
    ATTEMPT,
    BATCH,
    CAMPAIGN,
    FORMER_OUTCOME,
    MESSAGE,
)
from dispatcher.types import Recipient
from tests.support.stores import (
    FIRST_NUMBER,
    LEASE,
    NOW,
    POLL,
    add_account,
    add_campaign,
    attempt_of,
    batch_of,
    begin,
    change,
    claim,
    close,
    later,
    rows,
    settle,
    verdict,
)

#: The first campaign, its last batch, and the seqs of that one.
MINE, SUBJECT, SEQS = 1, 10, [18, 19, 20]
AWAY = verdict(outcome=AttemptOutcome.REFUSED)


def take(store, batch_id):
    with store.write() as conn:
        (ticket,) = tickets.mark_queued(conn, [batch_id], NOW)
    return claim(store, ticket, lease=100 * LEASE)


def add_crowd(store, first_batch, **values):
    """A campaign with a batch in every state, and one more that is pending and due."""
    add_campaign(store, [2] * 9 + [3], **values)
    polled, doubtful, half, _held, failed, refused, dropped = (
        take(store, first_batch + n) for n in range(7)
    )
    for held, said in (
        (polled, verdict(accepted=seqs_of(polled))),
        (doubtful, verdict(doubtful=seqs_of(doubtful), outcome=AttemptOutcome.DOUBTFUL)),
        (failed, AWAY),
        (refused, verdict(rejected=seqs_of(refused))),
        (dropped, verdict(doubtful=seqs_of(dropped), outcome=AttemptOutcome.DOUBTFUL)),
    ):
        (attempt,) = begin(store, held)
        settle(store, held, attempt, said)
        close(store, held, failed_after=1, error="words")
    one, _open = begin(store, half, [[seq] for seq in seqs_of(half)])
    settle(store, half, one, verdict(accepted=[half.first_seq]))
    with store.write() as conn:
        tickets.mark_queued(conn, [first_batch + 7], NOW)
        change(conn, BATCH, BATCH.c.id == first_batch + 8, not_before=later(50), error="words")


def seqs_of(held):
    return [*range(held.first_seq, held.first_seq + held.size)]


@pytest.fixture(scope="module")
def crowded(sqlite_template, tmp_path_factory):
    """A SQLite file with two such campaigns."""
    path = tmp_path_factory.mktemp("crowd") / "store.db"
    shutil.copyfile(sqlite_template, path)
    with closing(Store(f"sqlite:///{path}")) as store:
        add_crowd(store, 1)
        add_crowd(store, 11, first=919_900_000_000, rate=5.0, on_doubt="drop")
        add_account(store, "backup")
        add_campaign(store, [1], state=CampaignState.FINISHED, finished_at=NOW)
    assert not path.with_name("store.db-wal").exists()
    return path


@pytest.fixture
def crowd(crowded, tmp_path):
    shutil.copyfile(crowded, path := tmp_path / "store.db")
    with closing(Store(f"sqlite:///{path}")) as store:
        yield store


def others(store, *, of_campaign=False):
    """All rows but those of the subject, or of its whole campaign."""
    is_mine = MESSAGE.c.campaign_id == MINE
    if of_campaign:
        return [
            rows(store, CAMPAIGN, CAMPAIGN.c.id != MINE),
            rows(store, BATCH, BATCH.c.campaign_id != MINE),
            rows(store, ATTEMPT, ATTEMPT.c.campaign_id != MINE),
            rows(store, MESSAGE, ~is_mine),
            *beside(store),
        ]
    return [
        rows(store, CAMPAIGN, CAMPAIGN.c.id != MINE),
        rows(store, BATCH, BATCH.c.id != SUBJECT),
        rows(store, ATTEMPT, ATTEMPT.c.batch_id != SUBJECT),
        rows(store, MESSAGE, ~(is_mine & MESSAGE.c.seq.in_(SEQS))),
        *beside(store),
    ]


def beside(store):
    """What else is kept of messages of others, and the other account."""
    kept = [
        rows(store, table, ~((table.c.campaign_id == MINE) & table.c.seq.in_(SEQS)))
        for table in (FORMER_OUTCOME, ALTERNATE_ID)
    ]
    return [*kept, rows(store, ACCOUNT, ACCOUNT.c.name != "main")]


def state_of(store):
    """The state of the subject, and of its messages."""
    found = rows(store, MESSAGE, MESSAGE.c.campaign_id == MINE, MESSAGE.c.seq.in_(SEQS))
    words = ["in doubt" if one.state == MessageState.IN_DOUBT else one.state for one in found]
    shown = [word if isinstance(word, str) else MessageState(word).label for word in words]
    return BatchState(batch_of(store, SUBJECT).state).label, shown


# --- What happens to a batch ------------------------------------------------------------------


def settled(store, *said, requests=None):
    held = take(store, SUBJECT)
    attempts = begin(store, held, requests)
    for attempt, one in zip(attempts, said, strict=True):
        settle(store, held, attempt, one)
    close(store, held, failed_after=1, error="words")
    return held, attempts


def accepted(store):
    settled(store, verdict(accepted=SEQS))


def accepted_beside_a_refusal(store):
    settled(store, verdict(accepted=SEQS[:1]), AWAY, requests=[SEQS[:1], SEQS[1:]])


def refused(store):
    settled(store, verdict(rejected=SEQS[1:], accepted=SEQS[:1]))


def doubted(store):
    return settled(store, verdict(doubtful=SEQS, outcome=AttemptOutcome.DOUBTFUL))


def handed_back(store):
    held = take(store, SUBJECT)
    with store.write() as conn:
        batch_endings.hand_back(conn, held, now=NOW, not_before=later(5), error="words")


def cancelled(store):
    """None of its attempts was sent."""
    held = take(store, SUBJECT)
    begin(store, held, [SEQS[:1], SEQS[1:]])
    with store.write() as conn:
        batch_endings.hand_back_unsent(conn, held, 0, NOW)


def empty(store):
    held = take(store, SUBJECT)
    with store.write() as conn:
        mine = (MESSAGE.c.campaign_id == MINE) & MESSAGE.c.seq.in_(SEQS)
        change(conn, MESSAGE, mine, state=MessageState.LAPSED)
        change(conn, BATCH, BATCH.c.id == SUBJECT, pending=0, lapsed=3)
        batches.settle_empty(conn, held)


def returned(store):
    with store.write() as conn:
        (ticket,) = tickets.mark_queued(conn, [SUBJECT], NOW)
        assert tickets.return_queued(conn, [(ticket.id, ticket.fence)]) == 1


def run_out(store):
    with store.write() as conn:
        change(conn, BATCH, BATCH.c.id == SUBJECT, lease_until=NOW)


def lost(store):
    take(store, SUBJECT)
    run_out(store)
    with store.write() as conn:
        assert lost_batches.release_expired_claims(conn, later(1)) == 1


def lost_for_good(store):
    with store.write() as conn:
        change(conn, BATCH, BATCH.c.id == SUBJECT, lost=4)
    lost(store)


def lost_in_flight(store):
    held = take(store, SUBJECT)
    attempts = begin(store, held, [SEQS[:1], SEQS[1:]])
    settle(store, held, attempts[0], AWAY)
    run_out(store)
    with store.write() as conn:
        assert lost_batches.doubt_expired_submissions(conn, later(1)) == 1
    return held, attempts


def answered_late(store):
    held, (_one, two) = lost_in_flight(store)
    settle(store, held, two, verdict(accepted=SEQS[1:]), now=later(2))


def taken_back(store):
    """Its worker says after its lease that the request was not sent."""
    held, (_one, two) = lost_in_flight(store)
    with store.write() as conn:
        assert batch_endings.reverse_doubt(conn, held, two, later(2)) == 2


def decided(store, decide):
    _held, (attempt,) = doubted(store)
    with store.write() as conn:
        case = locked_attempts.lock_attempt(conn, attempt)
        decide(conn, case)
        decisions.reschedule_doubt(conn, case, next_at=later(9), looked=True)


def found(store):
    match = ListedMatch(SEQS[0], FIRST_NUMBER + SEQS[0], "listed", None, DoubtNote.FOUND)
    decided(
        store, lambda conn, case: decisions.accept_listed(conn, case, [match], poll=POLL, now=NOW)
    )


def resent(store):
    notes = [AnnotatedMessage(seq, DoubtNote.RESENT) for seq in SEQS[1:]]
    decided(
        store,
        lambda conn, case: decisions.return_to_pending(
            conn, case, notes, failed_after=None, now=NOW
        ),
    )


def dropped(store):
    notes = [AnnotatedMessage(seq, DoubtNote.DROPPED) for seq in SEQS[1:]]
    decided(
        store,
        lambda conn, case: decisions.resolve_as(conn, case, MessageState.FAILED, notes, now=NOW),
    )


def annotated(store):
    notes = [AnnotatedMessage(seq, DoubtNote.MISSED) for seq in SEQS]
    decided(store, lambda conn, case: decisions.annotate_messages(conn, case, notes))


def retried(store):
    settled(store, AWAY)
    with store.write() as conn:
        assert retries.retry_batch(conn, SUBJECT, NOW) == 3


def retried_undelivered(store):
    received(store)
    before = others(store)
    with store.write() as conn:
        assert retries.retry_batch(conn, SUBJECT, NOW, [MessageState.UNDELIVERED]) == 2
    assert others(store) == before


def poll_subject(store):
    with store.write() as conn:
        given = polls.lease_due_polls(conn, now=later(10), lease_until=later(60), limit=9)
        (mine,) = [one for one in given if attempt_of(store, one.id).batch_id == SUBJECT]
        return polls.load_poll(conn, mine.id, mine.polls)


def received(store):
    with store.write() as conn:  # a poll of another is under way all the time
        polls.lease_due_polls(conn, now=later(10), lease_until=later(9000), limit=9)
    before = others(store)
    accepted(store)
    polled = poll_subject(store)
    said = [Receipt(SEQS[0], MessageState.DELIVERED, None, None)]
    said += [Receipt(seq, MessageState.UNDELIVERED, "42", "absent") for seq in SEQS[1:]]
    with store.write() as conn:
        store_receipts(conn, polled, said, next_at=None, now=later(11))
    assert others(store) == before


def taken_out(store):
    with store.write() as conn:
        campaign = lock_campaign(conn, MINE)
        numbers = [FIRST_NUMBER + seq for seq in SEQS[:2]]
        said = drops.drop_recipients(conn, campaign, numbers, NOW)
    assert said == dict.fromkeys(numbers, "dropped")


def suppressed(store):
    origin = suppressions.SuppressionOrigin(None, "cli", "a")
    with store.write() as conn:
        numbers = [FIRST_NUMBER + seq for seq in SEQS[:2]]
        # Who is in flight, or has ended, is on the list too, and so is the other campaign's.
        more = [FIRST_NUMBER, FIRST_NUMBER + 4, 919_900_000_000 + SEQS[2]]
        suppressions.add_numbers(conn, [*numbers, *more], "", origin, NOW)
    assert begin(store, take(store, SUBJECT)) is None


PENDING, SUBMITTED, FAILED, DOUBT = "pending", "submitted", "failed", "in doubt"


@pytest.mark.parametrize(
    ("happen", "batch", "messages"),
    [
        (accepted, "settled", [SUBMITTED] * 3),
        (accepted_beside_a_refusal, "settled", [SUBMITTED, FAILED, FAILED]),
        (refused, "settled", [SUBMITTED, "rejected", "rejected"]),
        (doubted, "settled", [DOUBT] * 3),
        (handed_back, "pending", [PENDING] * 3),
        (cancelled, "pending", [PENDING] * 3),
        (empty, "settled", ["lapsed"] * 3),
        (returned, "pending", [PENDING] * 3),
        (lost, "pending", [PENDING] * 3),
        (lost_for_good, "settled", [FAILED] * 3),
        (lost_in_flight, "pending", [PENDING, DOUBT, DOUBT]),
        (answered_late, "pending", [PENDING, SUBMITTED, SUBMITTED]),
        (taken_back, "pending", [PENDING] * 3),
        (found, "settled", [SUBMITTED, DOUBT, DOUBT]),
        (resent, "pending", [DOUBT, PENDING, PENDING]),
        (dropped, "settled", [DOUBT, FAILED, FAILED]),
        (annotated, "settled", [DOUBT] * 3),
        (retried, "pending", [PENDING] * 3),
        (taken_out, "pending", ["cancelled", "cancelled", PENDING]),
        (suppressed, "pending", ["suppressed", "suppressed", PENDING]),
    ],
    ids=lambda value: value.__name__ if callable(value) else "",
)
def test_what_happens_to_a_batch_changes_no_other_row(crowd, happen, batch, messages):
    before = others(crowd)
    happen(crowd)
    assert state_of(crowd) == (batch, messages)
    assert others(crowd) == before


@pytest.mark.parametrize(
    ("happen", "messages"),
    [
        (received, ["delivered", "undelivered", "undelivered"]),
        (retried_undelivered, ["delivered", PENDING, PENDING]),
    ],
)
def test_receipts_and_retries_after_them_change_no_other_row(crowd, happen, messages):
    happen(crowd)
    assert state_of(crowd)[1] == messages


def test_what_an_earlier_claim_left_in_doubt_stays_so(crowd):
    """Only attempts of the claim itself are surely not sent, whatever their ids."""
    lost_in_flight(crowd)
    held = take(crowd, SUBJECT)
    begin(crowd, held, [SEQS[:1]])
    before = others(crowd)
    with crowd.write() as conn:
        batch_endings.hand_back_unsent(conn, held, 0, later(3))
    assert state_of(crowd) == ("pending", [PENDING, DOUBT, DOUBT])
    assert others(crowd) == before


def test_only_the_leases_that_a_worker_holds_are_renewed(crowd):
    held = take(crowd, SUBJECT)
    before = others(crowd)
    with crowd.write() as conn:
        queued = batch_of(crowd, 8)
        pairs = [(held.id, held.fence), (4, 99), (999, held.fence), (8, queued.fence)]
        assert batches.renew_leases(conn, pairs, later(500)) == 1
    assert batch_of(crowd, SUBJECT).lease_until == later(500)
    assert others(crowd) == before


def test_what_a_worker_holds_is_not_retried(crowd):
    with crowd.write() as conn:
        for held in (3, 4):
            change(conn, MESSAGE, MESSAGE.c.seq == 2 * held - 1, state=MessageState.FAILED)
            assert retries.retry_batch(conn, held, NOW) is None
            assert batch_of(crowd, held).state in {BatchState.SUBMITTING, BatchState.CLAIMED}


# --- What happens to a campaign ---------------------------------------------------------------


def paused(conn):
    running, new = [CampaignState.RUNNING], CampaignState.PAUSED
    assert campaigns.change_state(conn, MINE, running, new, actor="a", reason="r", now=NOW)


def set_up(conn):
    values = {"rate": 2.0, "priority": 3}
    campaign_settings.change_settings(conn, MINE, values, deadline_after=LEASE, actor="a", now=NOW)


def served(conn):
    campaigns.set_virtual_times(conn, {MINE: 50}, NOW)
    campaigns.give_back_virtual_time(conn, MINE, 20)
    campaigns.record_campaign_paid_until(conn, MINE, 5.0, NOW)
    assert campaigns.load_campaign(conn, MINE).turn == 30


def lapsed(conn):
    change(conn, CAMPAIGN, CAMPAIGN.c.id == MINE, expire_at=NOW)
    # The queued batch, the one that waits, and the subject.
    assert campaigns.lapse_expired(conn, NOW) == 7


def stopped(conn):
    paused(conn)
    change(conn, CAMPAIGN, CAMPAIGN.c.id == MINE, state=CampaignState.CANCELLED)
    assert campaigns.end_waiting_batches(conn, MINE, MessageState.CANCELLED, NOW) == 7


def moved(conn):
    limits = BatchLimits(
        size=BatchSize(2), max_bytes=10_000, max_parts=None,
        bytes_of=lambda _msisdn, _text: 1, requests_of=lambda _recipients: 1,
    )  # fmt: skip
    campaign = lock_campaign(conn, MINE)
    fallback_moves.switch_account(conn, campaign, "backup", "out", NOW)
    (told,) = fallback_moves.load_fallback_history(conn, MINE)
    assert told.detail == "7 pending messages go from main to backup: out"

    def shown(found):
        return [WaitingMessage(Recipient(r.seq, r.msisdn, "Hello"), r.parts) for r in found]

    # Who was released already, and waits in the queue, moves too.
    before = [batch.fence for batch in campaign_search.list_batches(conn, MINE)]
    assert fallback_moves.move_batches(conn, campaign, "backup", limits, shown, NOW) == 7
    after = [batch.fence for batch in campaign_search.list_batches(conn, MINE)][: len(before)]
    # Tickets of the moved ones are worthless now.
    assert after == before[:7] + [fence + 1 for fence in before[7:]]


def finished(conn):
    change(conn, BATCH, BATCH.c.campaign_id == MINE, state=BatchState.SETTLED)
    change(conn, ATTEMPT, ATTEMPT.c.campaign_id == MINE, poll_at=None, reconcile_at=None)
    assert campaigns.finish_campaigns(conn, NOW) == [MINE]
    assert campaigns.reopen_finished(conn, MINE, NOW)


@pytest.mark.parametrize(
    "happen",
    [paused, set_up, served, lapsed, stopped, moved, finished],
    ids=lambda happen: happen.__name__,
)
def test_what_happens_to_a_campaign_changes_no_row_of_another(crowd, happen):
    before = others(crowd, of_campaign=True)
    with crowd.write() as conn:
        happen(conn)
    assert others(crowd, of_campaign=True) == before


@pytest.mark.parametrize(
    ("before", "paid_s", "rate", "after_s"),
    [(2.0, 10, 4.0, 5), (None, 10, 4.0, None), (2.0, None, 4.0, None), (2.0, 10, None, None)],
)
def test_what_is_paid_at_the_old_rate_is_paid_at_the_new_one(crowd, before, paid_s, rate, after_s):
    with crowd.write() as conn:
        until = None if paid_s is None else later(paid_s)
        change(conn, CAMPAIGN, CAMPAIGN.c.id == MINE, rate=before, paid_until=until)
        change(conn, ATTEMPT, ATTEMPT.c.campaign_id == MINE, outcome=AttemptOutcome.ANSWERED)
        campaign_settings.change_settings(
            conn, MINE, {"rate": rate}, deadline_after=LEASE, actor="a", now=NOW
        )
        found = campaigns.load_campaign(conn, MINE).paid_until
    assert found == (None if after_s is None else later(after_s))


@pytest.mark.parametrize(("campaign", "planned_s"), [(MINE, 31), (2, 61)])
def test_a_new_rate_counts_from_the_campaigns_own_last_request(crowd, campaign, planned_s):
    with crowd.write() as conn:
        for number, seconds in ((MINE, 130), (2, 160)):
            is_its = (ATTEMPT.c.campaign_id == number) & (ATTEMPT.c.outcome == AttemptOutcome.OPEN)
            change(conn, ATTEMPT, is_its, deadline=later(seconds))
            change(conn, CAMPAIGN, CAMPAIGN.c.id == number, rate=9.0, paid_until=NOW)
        campaign_settings.change_settings(
            conn, campaign, {"rate": 1.0}, deadline_after=later(100) - NOW, actor="a", now=NOW
        )
        assert campaigns.load_campaign(conn, campaign).paid_until == later(planned_s)


@pytest.mark.parametrize(
    ("batch", "error", "waits"),
    [(10, None, False), (10, "words", True), (8, None, True), (4, None, True), (20, None, True)],
)
def test_a_new_rate_ends_the_wait_of_what_waits_for_the_old_one(crowd, batch, error, waits):
    """Not of what failed, what is released or held already, and what is another campaign's."""
    with crowd.write() as conn:
        change(conn, BATCH, BATCH.c.id == batch, not_before=later(3), error=error)
        campaign_settings.change_settings(
            conn, MINE, {"rate": 1.0}, deadline_after=LEASE, actor="a", now=NOW
        )
    assert (batch_of(crowd, batch).not_before is not None) is waits


# --- What is read -----------------------------------------------------------------------------


def test_what_is_read_of_a_campaign_is_its_own(crowd):
    with crowd.write() as conn:
        change(conn, BATCH, BATCH.c.id == 20, not_before=later(-9))
        assert campaign_search.next_batch(conn, MINE).not_before is None
        change(conn, BATCH, BATCH.c.id == SUBJECT, not_before=later(70))
        assert campaign_search.next_batch(conn, MINE).not_before == later(50)
        assert sum(campaign_search.count_batches(conn, MINE).values()) == 10
        assert [each.id for each in campaign_search.list_batches(conn, MINE)] == [*range(1, 11)]
        counts = campaign_search.count_messages(conn, [MINE])[MINE]
        shown = {state: count for state, count in counts.items() if count and state != "no_receipt"}
        assert shown == {
            "pending": 10, "submitted": 3, "in_doubt": 4, "failed": 2, "rejected": 2,
        }  # fmt: skip
        assert campaign_search.load_poll_times(conn, MINE).n == 2
        assert retries.batches_with_states(conn, MINE, [MessageState.FAILED]) == [5]
        assert len(doubts.requests_in_doubt(conn, MINE)) == 2
        change(conn, ATTEMPT, ATTEMPT.c.id == 1, looks=9)  # of a doubt that is over
        outlook = doubts.doubt_outlook(conn, MINE)
        assert (outlook.since, outlook.looks) == (NOW, None)
        unplanned = doubts.unscheduled_doubts(conn, ["main"])
        assert {each.id for each in unplanned} >= {*doubts.requests_in_doubt(conn, MINE)}
        assert len(unplanned) == 4
        assert not campaigns.runs_alone(conn, "main", MINE)
        assert [each.campaign_id for each in batches.batches_in_flight(conn, "main")] == [
            MINE, MINE, MINE, 2, 2, 2,
        ]  # fmt: skip
        assert [each.id for each in batches.due_batches(conn, MINE, later(60), 9)] == [9]
        change(conn, BATCH, BATCH.c.campaign_id == MINE, state=BatchState.SETTLED)
        assert not campaigns.has_waiting_batches(conn, MINE)
        assert campaigns.has_waiting_batches(conn, 2)
