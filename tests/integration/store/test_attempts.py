"""Attempts: begun before the first byte, settled once, and never counted twice."""

from dataclasses import replace
from decimal import Decimal

import pytest

from dispatcher.errors import StoreError
from dispatcher.outbound.sweep import sweep_batches
from dispatcher.policy.fair_queue import SendPermission, Unit
from dispatcher.policy.verdict import Accepted, NotAccepted
from dispatcher.status import AttemptOutcome, BatchState, CampaignState, MessageState
from dispatcher.store import accounts, batch_endings, batches, lost_batches, scheduler
from dispatcher.store.answers import JudgedAnswer, settle_in_time
from dispatcher.store.locks import lock_account
from dispatcher.store.settlement import Settlement, apply_settlements
from dispatcher.store.tables import ACCOUNT, ATTEMPT, BATCH, CAMPAIGN, MESSAGE
from tests.support.statements import statements_of
from tests.support.stores import (
    LEASE,
    NOW,
    OPEN,
    POLL,
    add_campaign,
    attempt_of,
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
    submitting,
    verdict,
)

REFUSED = AttemptOutcome.REFUSED


def lose(store, *, seconds=61):
    """Let every lease run out."""
    with store.write() as conn:
        scheduler.begin_tick(conn, LEASE, lambda _conn: later(seconds))
        sweep_batches(conn, now=later(seconds), judge_after=NOW, requeue_after_s=3600)


def messages(store):
    return rows(store, MESSAGE)


# --- Begin ------------------------------------------------------------------------------------


def test_one_request_for_a_whole_batch_is_recorded_before_it_leaves(store):
    campaign_id = add_campaign(store)
    held = claimed(store)
    (attempt_id,) = begin(store, held, now=later(1))
    attempt = attempt_of(store, attempt_id)
    assert (attempt.campaign_id, attempt.batch_id, attempt.account) == (
        campaign_id,
        held.id,
        "main",
    )
    assert (attempt.fence, attempt.size, attempt.outcome) == (held.fence, 3, AttemptOutcome.OPEN)
    assert (attempt.begun_at, attempt.deadline, attempt.poll_at) == (later(1), later(76), None)
    assert [(m.attempt_id, m.attempts) for m in messages(store)] == [(attempt_id, 1)] * 3
    assert batch_of(store, held.id).state == BatchState.SUBMITTING


def test_each_request_of_a_batch_has_its_own_attempt_and_messages(store):
    add_campaign(store, [2, 5, 2])
    _, second, _ = queued(store, limit=3)
    held = claim(store, second)
    one, two, three = begin(store, held, [[3, 2], [6], [4, 5]])
    assert one < two < three
    assert [m.attempt_id for m in messages(store)] == [
        None, None, one, one, three, three, two, None, None,
    ]  # fmt: skip
    assert [attempt_of(store, a).size for a in (one, two, three)] == [2, 1, 2]


def test_attempts_are_in_the_order_of_their_requests_whatever_those_are(store):
    add_campaign(store, [12])
    held = claimed(store)
    requests = [[11], [3, 4], [0], [9, 2, 1], [5, 6, 7, 8], [10]]
    offsets_s = [0.0, 0.5, 0.5, 0.000001, 2.0, 1.0]
    ids = begin(store, held, requests, offsets_s=offsets_s)
    assert ids == sorted(ids)
    found = rows(store, ATTEMPT)
    assert [row.id for row in found] == ids
    assert [row.size for row in found] == [len(seqs) for seqs in requests]
    assert [row.deadline for row in found] == [later(75 + offset_s) for offset_s in offsets_s]
    carried = {row.seq: row.attempt_id for row in rows(store, MESSAGE)}
    assert [{carried[seq] for seq in seqs} for seqs in requests] == [{one} for one in ids]


def test_many_requests_take_as_many_statements_as_two(store):
    add_campaign(store, [42])
    held = claimed(store)
    few, many = [[0], [1]], [[seq] for seq in range(2, 42)]
    seen = [
        statements_of(lambda each=each, is_first=is_first: _begin_and_settle(
            store, held, each, is_first=is_first
        ))
        for each, is_first in ((few, True), (many, False))
    ]  # fmt: skip
    assert not any(each.is_many for statements in seen for each in statements)
    assert len(seen[1]) <= len(seen[0])
    assert states(store) == ["submitted"] * 42


def _begin_and_settle(store, held, requests, *, is_first):
    ids = begin(store, held, requests, is_first=is_first)
    answers_ = [
        JudgedAnswer(attempt_id, verdict(accepted=seqs), POLL)
        for attempt_id, seqs in zip(ids, requests, strict=True)
    ]
    with store.write() as conn:
        assert settle_in_time(conn, held, answers_, NOW) == len(requests)


def test_a_batch_begins_once(store):
    add_campaign(store)
    held, _ = submitting(store)
    assert begin(store, held) is None
    assert len(rows(store, ATTEMPT)) == 1


@pytest.mark.parametrize(
    ("table", "values", "batch_state", "left"),
    [
        (CAMPAIGN, {"state": CampaignState.PAUSED}, BatchState.PENDING, "pending"),
        (CAMPAIGN, {"state": CampaignState.CANCELLED}, BatchState.CANCELLED, "cancelled"),
        (CAMPAIGN, {"state": CampaignState.SCHEDULED}, BatchState.PENDING, "pending"),
        (ACCOUNT, {"paused_by": "credit"}, BatchState.PENDING, "pending"),
    ],
)
def test_nothing_leaves_where_campaign_or_account_were_stopped(
    store, table, values, batch_state, left
):
    add_campaign(store)
    held = claimed(store)
    with store.write() as conn:
        change(conn, table, True, **values)
    assert begin(store, held) is None
    batch = batch_of(store, held.id)
    assert (batch.state, batch.lease_until) == (batch_state, None)
    assert states(store) == [left] * 3
    assert rows(store, ATTEMPT) == []


def test_a_stopped_campaign_does_not_take_a_batch_from_its_new_holder(store):
    add_campaign(store)
    held = claimed(store)
    lose(store)
    newer = claim(store, queued(store, now=later(62))[0], now=later(62))
    with store.write() as conn:
        change(conn, CAMPAIGN, True, state=CampaignState.CANCELLED)
    assert begin(store, held) is None
    assert batch_of(store, newer.id).state == BatchState.CLAIMED


def test_a_message_that_is_not_pending_never_leaves(store):
    add_campaign(store)
    held, (attempt,) = submitting(store)
    settle(store, held, attempt, verdict(accepted=[0], outcome=REFUSED))
    close(store, held, error="more")
    again = claimed(store)
    with pytest.raises(StoreError, match="changed while its requests were made"):
        begin(store, again, [[0, 1, 2]])
    assert batch_of(store, again.id).state == BatchState.CLAIMED
    assert begin(store, again, [[1, 2]]) is not None


def test_what_is_paid_is_stored_as_the_last_begin_decided_it(store):
    """The account is locked meanwhile, so what a clock ahead of its time stored does not stay."""
    add_campaign(store, [1, 1, 1])
    one, two, three = (claim(store, ticket) for ticket in queued(store, limit=3))
    begin(store, one, paid_for_s={})
    paid = {Unit.MESSAGES: 30 * 86_400.0, Unit.REQUESTS: 1.5, Unit.PARTS: 1.0}
    begin(store, two, paid_for_s=paid, campaign_paid_for_s=8.0)
    paid = {Unit.MESSAGES: 2.0, Unit.REQUESTS: 2.5}
    begin(store, three, paid_for_s=paid, campaign_paid_for_s=9.0)
    (account,) = rows(store, ACCOUNT)
    assert account.messages_paid_until == later(2)
    assert account.requests_paid_until == later(2.5)
    assert account.parts_paid_until == later(1)
    assert campaign_of(store, one.campaign_id).paid_until == later(9)


@pytest.mark.parametrize(
    ("gate", "daily_limit"),
    [
        pytest.param(SendPermission(is_open=False), None, id="closed"),
        pytest.param(OPEN, 2, id="the day is used up"),
    ],
)
def test_a_batch_that_may_not_leave_now_waits_for_the_next_release(store, gate, daily_limit):
    """It gets no `not_before`: windows and limits may change before that time."""
    add_campaign(store)
    held = claimed(store)
    assert begin(store, held, gate=gate, daily_limit=daily_limit) is None
    batch = batch_of(store, held.id)
    assert (batch.state, batch.not_before) == (BatchState.PENDING, None)


def test_begun_messages_are_counted_by_the_accounts_day(store):
    add_campaign(store, [2, 2, 2])
    one, two, three = (claim(store, ticket) for ticket in queued(store, limit=3))
    begin(store, one, daily_limit=4, day_until=later(100))
    assert begin(store, two, daily_limit=3, now=later(99)) is None
    assert begin(store, three, daily_limit=3, day_until=later(900), now=later(100)) is not None
    (account,) = rows(store, ACCOUNT)
    assert (account.day_until, account.day_count) == (later(900), 2)


# --- Settle -----------------------------------------------------------------------------------


def test_an_answer_is_stored_for_each_recipient(store):
    campaign_id = add_campaign(store, [5])
    held, (attempt_id,) = submitting(store)
    said = verdict(
        accepted=[0, 3], rejected=[1], doubtful=[2], job_id="job", error_code="7", error="partly"
    )
    stored = settle(store, held, attempt_id, said, now=later(2))
    assert (stored.owned, stored.accepted) == (True, 2)
    found = [
        (MessageState(m.state).label, m.provider_message_id, m.error_code, m.error, m.final_at)
        for m in messages(store)
    ]
    assert found == [
        ("submitted", "id-0", None, None, None),
        ("rejected", None, "42", "blocked", later(2)),
        ("in_doubt", None, None, "no word of it", None),
        ("submitted", "id-3", None, None, None),
        ("pending", None, None, None, None),
    ]
    attempt = attempt_of(store, attempt_id)
    assert (attempt.outcome, attempt.ended_at) == (AttemptOutcome.ANSWERED, later(2))
    assert (attempt.job_id, attempt.error_code, attempt.error) == ("job", "7", "partly")
    assert (attempt.poll_at, attempt.poll_until) == (POLL.first_at, POLL.until)
    assert counts_of(store, campaign_id) == {
        "pending": 1, "submitted": 2, "rejected": 1, "in_doubt": 1,
    }  # fmt: skip


def test_prices_are_stored_with_acceptances(store):
    add_campaign(store, [2])
    held, (attempt_id,) = submitting(store)
    said = verdict()
    said = type(said)(
        outcome=said.outcome, accepted=[Accepted(0, "a", Decimal("0.25")), Accepted(1, None, None)]
    )
    settle(store, held, attempt_id, said)
    assert [(m.provider_message_id, m.cost) for m in messages(store)] == [
        ("a", Decimal("0.25")),
        (None, None),
    ]


@pytest.mark.parametrize(
    "ids",
    [
        {n: f"{n}" for n in range(8, 12)},
        {1: "a", 2: "bcd", 5: "ef"},
        {2: "late", 1: "early"},
        {0: "first", 1: None},
        {0: "with a space", 1: "b"},
        {0: " ", 1: "b"},
        {0: "", 1: "b"},
        {0: "é", 1: "b"},
        {0: "a\tb", 1: "c"},
        {0: "0007", 1: "7"},
        {0: "x" * 128, 1: "b", 2: "c", 3: "d", 4: "e", 5: "f"},
        {0: "a", 11: "far away"},
        {4: "alone"},
    ],
)
def test_each_accepted_message_gets_its_own_id_however_ids_look(store, ids):
    add_campaign(store, [12])
    held, (attempt_id,) = submitting(store)
    accepted = [Accepted(seq, shown, None) for seq, shown in ids.items()]
    done = settle(store, held, attempt_id, replace(verdict(), accepted=accepted))
    assert done.accepted == len(ids)
    assert [m.provider_message_id for m in messages(store)] == [ids.get(n) for n in range(12)]
    stored = states(store)
    assert [stored[n] for n in range(12)] == [
        "submitted" if n in ids else "pending" for n in range(12)
    ]


def test_an_answer_changes_only_messages_that_its_request_carried(store):
    add_campaign(store, [4])
    held, (odd, _) = submitting(store, [[1, 3], [0, 2]])
    assert settle(store, held, odd, verdict(accepted=[0, 1, 2, 3])).accepted == 2
    assert [m.provider_message_id for m in messages(store)] == [None, "id-1", None, "id-3"]


def test_nothing_accepted_is_not_polled(store):
    add_campaign(store)
    held, (attempt_id,) = submitting(store)
    settle(store, held, attempt_id, verdict(rejected=[0, 1], doubtful=[2]))
    assert attempt_of(store, attempt_id).poll_at is None


def test_without_a_status_call_there_is_no_receipt(store):
    campaign_id = add_campaign(store)
    held, (attempt_id,) = submitting(store)
    settle(store, held, attempt_id, verdict(accepted=[0, 1], rejected=[2]), poll=None)
    assert counts_of(store, campaign_id) == {"submitted": 2, "no_receipt": 2, "rejected": 1}


SAID = [
    verdict(accepted=[0, 1], rejected=[2], job_id="job"),
    verdict(rejected=[0], doubtful=[1, 2]),
    verdict(doubtful=[0, 1, 2], outcome=AttemptOutcome.DOUBTFUL),
    verdict(outcome=REFUSED, error="unreachable"),
]


@pytest.mark.parametrize("said", SAID)
@pytest.mark.parametrize("poll", [POLL, None])
def test_an_answer_stored_twice_counts_once(store, said, poll):
    """A commit may succeed and its acknowledgement be lost: the worker stores it again."""
    add_campaign(store)
    held, (attempt_id,) = submitting(store)
    settle(store, held, attempt_id, said, poll=poll)
    before = batch_of(store, held.id), attempt_of(store, attempt_id), messages(store)
    stored = settle(store, held, attempt_id, said, poll=poll, now=later(9))
    assert (stored.owned, stored.accepted) == (True, 0)
    assert before == (batch_of(store, held.id), attempt_of(store, attempt_id), messages(store))


def test_an_answer_concerns_only_the_messages_of_its_own_attempt(store):
    add_campaign(store, [4])
    held, (one, _two) = submitting(store, [[0, 1], [2, 3]])
    settle(store, held, one, verdict(accepted=[0, 2], rejected=[1, 3]))
    assert states(store) == ["submitted", "rejected", "pending", "pending"]


# --- Late answers -----------------------------------------------------------------------------


def test_a_worker_that_lost_its_claim_begins_nothing_even_if_the_batch_is_free(store):
    add_campaign(store)
    first = claimed(store)
    with store.write() as conn:
        lost_batches.release_expired_claims(conn, later(200))
    assert begin(store, first, now=later(200)) is None
    second = claimed(store, now=later(200))
    assert begin(store, first, now=later(201)) is None
    assert rows(store, ATTEMPT) == []
    assert begin(store, second, now=later(201)) is not None


def test_a_worker_that_lost_its_batch_cannot_close_it_for_another(store):
    add_campaign(store)
    first, _ = submitting(store)
    with store.write() as conn:
        lost_batches.doubt_expired_submissions(conn, later(200))
        change(conn, MESSAGE, MESSAGE.c.seq >= 0, state=MessageState.PENDING)
        change(conn, BATCH, BATCH.c.id == first.id, state=BatchState.PENDING, pending=3, in_doubt=0)
    second, _ = submitting(store, now=later(200))
    assert close(store, first) is None
    assert batch_of(store, second.id).state == BatchState.SUBMITTING


def test_a_late_acceptance_ends_the_doubt_about_its_own_messages(store):
    campaign_id = add_campaign(store)
    held, (attempt_id,) = submitting(store)
    lose(store)
    assert counts_of(store, campaign_id) == {"in_doubt": 3}
    said = verdict(accepted=[0, 2], rejected=[1], job_id="job")
    stored = settle(store, held, attempt_id, said, now=later(70))
    assert (stored.owned, stored.accepted) == (False, 2)
    assert states(store) == ["submitted", "in_doubt", "submitted"]
    attempt = attempt_of(store, attempt_id)
    assert (attempt.outcome, attempt.job_id) == (AttemptOutcome.ANSWERED, "job")
    assert attempt.poll_at == POLL.first_at
    assert batch_of(store, held.id).state == BatchState.SETTLED
    assert audit(store) == []


@pytest.mark.parametrize("poll", [POLL, None])
def test_a_late_acceptance_stored_twice_counts_once(store, poll):
    campaign_id = add_campaign(store)
    held, (attempt_id,) = submitting(store)
    lose(store)
    said = verdict(accepted=[0, 2], job_id="job")
    settle(store, held, attempt_id, said, poll=poll)
    before = batch_of(store, held.id), attempt_of(store, attempt_id), messages(store)
    assert settle(store, held, attempt_id, said, poll=poll, now=later(99)).accepted == 0
    assert before == (batch_of(store, held.id), attempt_of(store, attempt_id), messages(store))
    assert audit(store) == []
    assert counts_of(store, campaign_id)["submitted"] == 2


@pytest.mark.parametrize("said", SAID[1:])
def test_a_late_refusal_or_doubt_changes_nothing(store, said):
    add_campaign(store)
    held, (attempt_id,) = submitting(store)
    lose(store)
    before = batch_of(store, held.id), attempt_of(store, attempt_id), messages(store)
    assert settle(store, held, attempt_id, said).owned is False
    assert before == (batch_of(store, held.id), attempt_of(store, attempt_id), messages(store))


def test_a_late_acceptance_of_a_message_with_a_newer_attempt_is_an_alarm(store):
    add_campaign(store, [2])
    held, (attempt_id,) = submitting(store)
    lose(store)
    with store.write() as conn:  # a person said: resend the second one
        change(conn, MESSAGE, MESSAGE.c.seq == 1, state=MessageState.PENDING)
        change(
            conn, batches.BATCH, batches.BATCH.c.id == held.id, state=BatchState.PENDING,
            pending=1, in_doubt=1,
        )  # fmt: skip
    newer, (again,) = submitting(store, [[1]])
    settle(store, held, attempt_id, verdict(accepted=[0, 1]), now=later(70))
    assert states(store) == ["submitted", "pending"]
    assert audit(store) == ["late acceptance"]
    settle(store, newer, again, verdict(accepted=[1]))
    assert states(store) == ["submitted", "submitted"]


def test_the_answers_that_came_in_time_stay_when_the_lease_runs_out_in_between(store):
    campaign_id = add_campaign(store, [4])
    held, (one, two) = submitting(store, [[0, 1], [2, 3]])
    settle(store, held, one, verdict(accepted=[0], rejected=[1]))
    lose(store)
    assert states(store) == ["submitted", "rejected", "in_doubt", "in_doubt"]
    settle(store, held, one, verdict(accepted=[0], rejected=[1]))
    settle(store, held, two, verdict(accepted=[2], rejected=[3]))
    assert counts_of(store, campaign_id) == {"submitted": 2, "rejected": 1, "in_doubt": 1}
    assert close(store, held) is None


# --- Not sent ---------------------------------------------------------------------------------


def test_a_request_whose_first_byte_never_left_counts_as_no_attempt(store):
    add_campaign(store, [3])
    held, (sent, unsent) = submitting(store, [[0], [1, 2]])
    for _ in range(2):
        with store.write() as conn:
            batch_endings.cancel_attempts(conn, held, [unsent], NOW)
    settle(store, held, sent, verdict(accepted=[0]))
    with store.write() as conn:
        batch_endings.cancel_attempts(conn, held, [sent], NOW)
    assert [m.attempts for m in messages(store)] == [1, 0, 0]
    assert attempt_of(store, unsent).outcome == AttemptOutcome.NOT_SENT
    assert attempt_of(store, sent).outcome == AttemptOutcome.ANSWERED
    assert close(store, held, error="suspended") is BatchState.PENDING
    assert batch_of(store, held.id).tries == 0


@pytest.mark.parametrize(
    ("hours_left", "count"), [(22, 1), (24, 3)], ids=["this day's", "maybe the last day's"]
)
def test_messages_that_were_not_sent_are_taken_off_the_accounts_day(store, hours_left, count):
    add_campaign(store, [3])
    held = claimed(store)
    _, unsent = begin(store, held, [[0], [1, 2]], daily_limit=9, day_until=later(3600 * hours_left))
    for _ in range(2):
        with store.write() as conn:
            batch_endings.cancel_attempts(conn, held, [unsent], later(1))
    (account,) = rows(store, ACCOUNT)
    assert account.day_count == count


def test_many_unsent_requests_take_as_many_statements_as_two(store):
    add_campaign(store, [42])
    held = claimed(store)
    few, many = [[0], [1]], [[seq] for seq in range(2, 42)]
    seen = []
    for requests, is_first in ((few, True), (many, False)):
        day = {"daily_limit": 99, "day_until": later(3600)}
        ids = begin(store, held, requests, is_first=is_first, **day)
        unsent = [Settlement(claim=held, attempt_id=attempt_id) for attempt_id in ids]
        seen.append(statements_of(lambda unsent=unsent: _apply(store, unsent)))
    assert not any(each.is_many for statements in seen for each in statements)
    assert len(seen[1]) <= len(seen[0])
    assert {(message.state, message.attempts) for message in messages(store)} == {
        (MessageState.PENDING, 0)
    }
    assert rows(store, ACCOUNT)[0].day_count == 0


def _apply(store, settlements):
    with store.write() as conn:
        apply_settlements(conn, settlements, NOW)


def test_an_attempt_in_doubt_is_not_cancelled(store):
    add_campaign(store)
    held, (attempt_id,) = submitting(store)
    lose(store)
    with store.write() as conn:
        batch_endings.cancel_attempts(conn, held, [attempt_id], later(70))
    assert states(store) == ["in_doubt"] * 3
    assert attempt_of(store, attempt_id).outcome == AttemptOutcome.DOUBTFUL


# --- Close ------------------------------------------------------------------------------------


def test_a_batch_with_an_answer_for_everybody_is_settled(store):
    add_campaign(store)
    held, (attempt_id,) = submitting(store)
    settle(store, held, attempt_id, verdict(accepted=[0], rejected=[1], doubtful=[2]))
    assert close(store, held) is BatchState.SETTLED
    batch = batch_of(store, held.id)
    assert (batch.state, batch.lease_until, batch.tries) == (BatchState.SETTLED, None, 0)
    assert close(store, held) is None


@pytest.mark.parametrize(
    ("failed_after", "tries"),
    [pytest.param(3, 1, id="a failed try"), pytest.param(None, 0, id="not the batch's fault")],
)
def test_messages_that_are_left_go_back_to_pending(store, failed_after, tries):
    add_campaign(store)
    held, (attempt_id,) = submitting(store)
    settle(store, held, attempt_id, verdict(rejected=[1], outcome=REFUSED))
    closed = close(store, held, not_before=later(5), error="unreachable", failed_after=failed_after)
    assert closed is BatchState.PENDING
    batch = batch_of(store, held.id)
    assert (batch.not_before, batch.error, batch.tries) == (later(5), "unreachable", tries)
    assert (batch.lease_until, batch.pending) == (None, 2)
    assert close(store, held, failed_after=failed_after) is None


def test_attempts_are_used_up_and_the_rest_fails_with_the_reason(store):
    campaign_id = add_campaign(store)
    for number in range(1, 4):
        held = claimed(store)
        assert held.tries == number - 1
        seqs = [m.seq for m in messages(store) if m.state == MessageState.PENDING]
        (attempt_id,) = begin(store, held, [seqs])
        accepted = [0] if number == 1 else []
        settle(store, held, attempt_id, verdict(accepted=accepted, outcome=REFUSED))
        closed = close(store, held, error="unreachable", failed_after=3, now=later(number))
        assert closed is (BatchState.SETTLED if number == 3 else BatchState.PENDING)
    assert [(MessageState(m.state).label, m.attempts, m.error) for m in messages(store)] == [
        ("submitted", 1, None),
        ("failed", 3, "unreachable"),
        ("failed", 3, "unreachable"),
    ]
    assert messages(store)[1].final_at == later(3)
    assert counts_of(store, campaign_id) == {"submitted": 1, "failed": 2}


def test_messages_left_in_a_cancelled_campaign_are_cancelled(store):
    campaign_id = add_campaign(store)
    held, (attempt_id,) = submitting(store)
    settle(store, held, attempt_id, verdict(accepted=[0], outcome=REFUSED))
    with store.write() as conn:
        change(conn, CAMPAIGN, CAMPAIGN.c.id == campaign_id, state=CampaignState.CANCELLED)
    assert close(store, held, error="unreachable", failed_after=3) is BatchState.CANCELLED
    assert states(store) == ["submitted", "cancelled", "cancelled"]


def test_a_lost_batch_is_not_closed(store):
    add_campaign(store)
    held, _ = submitting(store)
    lose(store)
    before = batch_of(store, held.id)
    assert close(store, held, error="unreachable", failed_after=1) is None
    assert batch_of(store, held.id) == before


def test_attempts_of_a_batch_are_listed_in_order(store):
    add_campaign(store, [2])
    held, ids = submitting(store, [[0], [1]])
    mine = rows(store, ATTEMPT, ATTEMPT.c.batch_id == held.id)
    assert [attempt.id for attempt in mine] == ids


# --- Accounts ---------------------------------------------------------------------------------


def test_the_longest_wait_of_an_account_counts(store):
    add_campaign(store)
    for seconds in (60, 5):
        with store.write() as conn:
            accounts.throttle_until(conn, "main", later(seconds))
    (account,) = rows(store, ACCOUNT)
    assert account.not_before == later(60)


def test_accounts_are_made_once(store):
    add_campaign(store)
    with store.write() as conn:
        accounts.throttle_until(conn, "main", later(60))
        accounts.create_missing_accounts(conn, ["main", "other"])
        assert {n: a.not_before for n, a in accounts.all_accounts(conn).items()} == {
            "main": later(60), "other": None,
        }  # fmt: skip
        assert lock_account(conn, "nobody") is None
        assert accounts.find_account(conn, "other").paused_by is None


def test_verdict_entries_carry_what_the_provider_said(store):
    add_campaign(store, [1])
    held, (attempt_id,) = submitting(store)
    words = "ünï ✓ '; DROP TABLE message; --"
    said = verdict()
    said = type(said)(outcome=said.outcome, rejected=[NotAccepted(0, "é", words)])
    settle(store, held, attempt_id, said)
    assert [(m.error_code, m.error) for m in messages(store)] == [("é", words)]
