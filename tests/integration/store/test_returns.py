"""The one way back to `pending`: nothing is left pending in a campaign that is over."""

import re
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from threading import Barrier
from time import monotonic, sleep

import pytest
from sqlalchemy import event, false, text

from dispatcher.campaigns import control, resolution
from dispatcher.campaigns.resolution import DoubtChoice
from dispatcher.errors import ErrorKind, ProviderError, Refused
from dispatcher.outbound.sweep import sweep_batches
from dispatcher.policy.reconciliation import DoubtNote
from dispatcher.policy.verdict import judge_error
from dispatcher.status import AttemptOutcome, BatchState, CampaignState, MessageState
from dispatcher.store import (
    batch_endings,
    campaigns,
    decisions,
    doubts,
    locked_attempts,
    lost_batches,
    retries,
    returns,
    scheduler,
)
from dispatcher.store.corrections import Correction, load_corrections
from dispatcher.store.decisions import AnnotatedMessage
from dispatcher.store.engine import Store, store_now
from dispatcher.store.returns import lock_with_campaign
from dispatcher.store.settlement import Settlement
from dispatcher.store.tables import ATTEMPT, BATCH, CAMPAIGN, MESSAGE
from dispatcher.types import Recipient
from tests.support.stores import (
    FIRST_NUMBER,
    LEASE,
    NOW,
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
    queued,
    rows,
    settle,
    states,
    submitting,
    verdict,
)

S = CampaignState


def sweep(store, seconds):
    with store.write() as conn:
        now = later(seconds)
        scheduler.begin_tick(conn, LEASE, lambda _conn: now)
        sweep_batches(conn, now=now, judge_after=now, requeue_after_s=3600)


def tick(store, seconds):
    with store.write() as conn:
        now = later(seconds)
        scheduler.begin_tick(conn, LEASE, lambda _conn: now)
        campaigns.lapse_expired(conn, now)
        campaigns.start_due(conn, now)
        sweep_batches(conn, now=now, judge_after=now, requeue_after_s=3600)
        return campaigns.finish_campaigns(conn, now)


def doubt(store, requests=None, **values):
    """A campaign whose request is in doubt and waits for a person; its claim and attempt."""
    campaign_id = add_campaign(store, (3,), **values)
    held, (attempt, *_) = submitting(store, requests)
    with store.write() as conn:
        assert lost_batches.doubt_expired_submissions(conn, later(61)) == 1
        doubts.schedule_reconciliation(conn, {attempt: None})
    return campaign_id, held, attempt


def failed(store, sizes=(1,), **values):
    """A campaign all of whose messages have failed."""
    campaign_id = add_campaign(store, sizes, **values)
    for _ in sizes:
        held, (attempt,) = submitting(store)
        settle(store, held, attempt, verdict(outcome=AttemptOutcome.REFUSED))
        close(store, held, error="x", failed_after=1)
    return campaign_id, held, attempt


def apply(store, settlement, seconds=62):
    with store.write() as conn:
        settlement.apply_to(conn, later(seconds))


def unreachable(held):
    recipients = [Recipient(s, FIRST_NUMBER + s, "x") for s in range(3)]
    return judge_error(recipients, ProviderError(ErrorKind.UNREACHABLE, "no connection"))


#: How a worker says that a request surely was not sent.
NOT_SENT = {
    "withdrawn": lambda held, attempt: Settlement(claim=held, attempt_id=attempt),
    "all of the claim": lambda held, attempt: Settlement(claim=held, attempt_id=None),
    "no connection": lambda held, attempt: Settlement(
        claim=held, attempt_id=attempt, verdict=unreachable(held), never_left=True
    ),
}


def test_what_a_request_without_a_connection_changes_is_locked_before_its_batch(store):
    add_campaign(store)
    held, (attempt,) = submitting(store)
    said = []
    with store.write() as conn:
        event.listen(conn, "before_cursor_execute", lambda *given: said.append(given[2]))
        NOT_SENT["no connection"](held, attempt).apply_to(conn, later(1))
    tables = [re.search(r"(?:FROM|UPDATE) (account|campaign|batch)\b", each) for each in said]
    assert [each[1] for each in tables if each][:3] == ["account", "campaign", "batch"]


@pytest.mark.parametrize("how", NOT_SENT)
@pytest.mark.parametrize("requests", [[[0, 1, 2]], [[0]]], ids=["whole", "with others pending"])
def test_what_was_not_sent_is_cancelled_in_a_campaign_cancelled_meanwhile(store, how, requests):
    """Hole 3: the worker is cut off, its lease runs out, a person cancels, the worker is back."""
    campaign_id, held, attempt = doubt(store, requests)
    control.cancel_campaign(store, str(campaign_id))
    assert campaign_of(store, campaign_id).finished_at is not None
    apply(store, NOT_SENT[how](held, attempt))
    assert counts_of(store, campaign_id) == {"cancelled": 3}
    assert attempt_of(store, attempt).outcome == AttemptOutcome.NOT_SENT
    for seconds in range(63, 66):
        tick(store, seconds)
    assert campaign_of(store, campaign_id).state == S.CANCELLED
    assert not corrections(store)


@pytest.mark.parametrize("how", NOT_SENT)
def test_what_was_not_sent_opens_a_finished_campaign_again(store, how):
    campaign_id, held, attempt = doubt(store)
    assert tick(store, 62) == [campaign_id]
    apply(store, NOT_SENT[how](held, attempt))
    assert states(store) == ["pending"] * 3
    assert (batch_of(store, held.id).state, campaign_of(store, campaign_id).state) == (
        BatchState.PENDING,
        S.SCHEDULED,
    )
    assert not corrections(store)


@pytest.mark.parametrize("how", ["claim", "submission", "hand back", "close", "unsent"])
def test_what_a_worker_gives_back_to_a_cancelled_campaign_is_cancelled_at_once(store, how):
    campaign_id = add_campaign(store, (3,))
    held = claimed(store)
    if how in {"submission", "close", "unsent"}:
        (attempt,) = begin(store, held, [[0]])
    control.cancel_campaign(store, str(campaign_id))
    assert states(store) == ["pending"] * 3
    with store.write() as conn:
        if how == "claim":
            assert lost_batches.release_expired_claims(conn, later(61)) == 1
        elif how == "submission":
            assert lost_batches.doubt_expired_submissions(conn, later(61)) == 1
        elif how == "hand back":
            assert batch_endings.hand_back(conn, held, now=later(1))
        elif how == "unsent":
            Settlement(claim=held, attempt_id=None).apply_to(conn, later(1))
    if how == "close":
        settle(store, held, attempt, verdict(outcome=AttemptOutcome.REFUSED))
        assert close(store, held, error="x", failed_after=1) is BatchState.CANCELLED
    doubted = {"in_doubt": 1} if how == "submission" else {}
    assert counts_of(store, campaign_id) == {"cancelled": 3 - len(doubted), **doubted}
    assert batch_of(store, held.id).state == BatchState.CANCELLED


# --- Operators' commands ----------------------------------------------------------------------


def test_a_retry_moves_nothing_of_a_campaign_that_was_cancelled_meanwhile(store, monkeypatch):
    """Hole 5: `campaign retry` finds the campaign running; then a person cancels it."""
    campaign_id, _held, _attempt = failed(store, (1, 1))
    write = store.write
    cancelled = []

    def cancel_first(**values):
        if not cancelled:
            cancelled.append(True)
            with closing(Store(store.url.render_as_string(hide_password=False))) as other:
                control.cancel_campaign(other, str(campaign_id))
        return write(**values)

    monkeypatch.setattr(store, "write", cancel_first)
    with pytest.raises(Refused, match="is cancelled"):
        resolution.retry_failed(store, str(campaign_id))
    assert states(store) == ["failed", "failed"]
    assert "campaign retry" not in audit(store)


def resend(store, attempt):
    with store.write() as conn:
        case = locked_attempts.lock_attempt(conn, attempt)
        found = doubts.load_doubtful(conn, attempt).recipients
        notes = [AnnotatedMessage(row.seq, int(DoubtNote.RESENT)) for row in found]
        state = decisions.return_to_pending(conn, case, notes, failed_after=None, now=later(69))
        decisions.reschedule_doubt(conn, case, next_at=None)
        return state


@pytest.mark.parametrize("is_cancelled", [False, True])
def test_a_resend_follows_the_state_of_the_campaign(store, is_cancelled):
    campaign_id, _held, attempt = doubt(store)
    if is_cancelled:
        control.cancel_campaign(store, str(campaign_id))
    else:
        tick(store, 62)
    assert resend(store, attempt).label == ("cancelled" if is_cancelled else "pending")
    assert campaign_of(store, campaign_id).state == (S.CANCELLED if is_cancelled else S.SCHEDULED)


# --- At the same time -------------------------------------------------------------------------


@pytest.mark.postgres
@pytest.mark.parametrize("what", ["resolve", "retry", "not sent"])
def test_a_campaign_does_not_finish_while_it_gets_work(emptied_postgres_url, what):
    """Hole 4: the statement that finishes it waits for the transaction that gives it work."""
    with closing(Store(emptied_postgres_url)) as store, ThreadPoolExecutor(1) as pool:
        campaign_id, held, attempt = failed(store) if what == "retry" else doubt(store)

        def finish():
            with store.write() as conn:
                return campaigns.finish_campaigns(conn, later(70))

        with store.write() as conn:
            if what == "retry":
                assert retries.retry_batch(conn, held.id, later(69)) == 1
            elif what == "resolve":
                case = locked_attempts.lock_attempt(conn, attempt)
                found = doubts.load_doubtful(conn, attempt).recipients
                notes = [AnnotatedMessage(row.seq, int(DoubtNote.RESENT)) for row in found]
                decisions.return_to_pending(conn, case, notes, failed_after=None, now=later(69))
            else:
                Settlement(claim=held, attempt_id=attempt).apply_to(conn, later(69))
            done = pool.submit(finish)
            wait_until_locked(emptied_postgres_url)
        assert done.result() == []
        assert campaign_of(store, campaign_id).state == S.RUNNING
        assert "pending" in states(store)


def wait_until_locked(url):
    """Wait until a transaction waits for a lock."""
    give_up = monotonic() + 10
    with closing(Store(url)) as store:
        while monotonic() < give_up:
            with store.read() as conn:
                waiting = conn.execute(text("SELECT count(*) FROM pg_locks WHERE NOT granted"))
                if waiting.scalar_one():
                    return
            sleep(0.01)
    raise AssertionError("no transaction waited for a lock")


@pytest.mark.postgres
@pytest.mark.parametrize("what", ["retry", "resend", "not sent", "cancel"])
def test_ticks_and_commands_at_the_same_time_leave_nothing_behind(emptied_postgres_url, what):
    with (
        closing(Store(emptied_postgres_url)) as store,
        closing(Store(emptied_postgres_url)) as other,
        ThreadPoolExecutor(1) as pool,
    ):
        start = Barrier(2)

        def finish():
            start.wait()
            with other.write() as conn:
                campaigns.finish_campaigns(conn, store_now(conn))

        for n in range(6):
            first = FIRST_NUMBER + 10 * n
            make = failed if what == "retry" else doubt
            campaign_id, held, attempt = make(store, first=first)
            done = pool.submit(finish)
            start.wait()
            if what == "retry":
                resolution.retry_failed(store, str(campaign_id))
            elif what == "resend":
                resolution.resolve_doubts(store, str(campaign_id), DoubtChoice.RESEND)
            else:
                if what == "cancel":
                    control_or_refused(store, campaign_id)
                apply(store, Settlement(claim=held, attempt_id=attempt))
            done.result()
            row = campaign_of(store, campaign_id)
            assert not (row.finished_at is not None and "pending" in states(store, campaign_id))
            with store.write() as conn:  # out of the next one's way
                change(
                    conn, CAMPAIGN, CAMPAIGN.c.id == campaign_id, state="cancelled", finished_at=NOW
                )
                change(conn, BATCH, BATCH.c.campaign_id == campaign_id, state=BatchState.CANCELLED)
                change(conn, ATTEMPT, ATTEMPT.c.campaign_id == campaign_id, doubt_at=None)


def control_or_refused(store, campaign_id):
    try:
        control.cancel_campaign(store, str(campaign_id))
    except Refused:
        assert campaign_of(store, campaign_id).state == S.FINISHED


# --- Healing ----------------------------------------------------------------------------------


def corrections(store):
    with store.read() as conn:
        return load_corrections(conn)


@pytest.mark.parametrize(
    ("campaign", "batch", "became", "state"),
    [
        (S.CANCELLED, BatchState.PENDING, "cancelled", S.CANCELLED),
        (S.CANCELLED, BatchState.QUEUED, "cancelled", S.CANCELLED),
        (S.CANCELLED, BatchState.SETTLED, "cancelled", S.CANCELLED),
        (S.CANCELLED, BatchState.CANCELLED, "cancelled", S.CANCELLED),
        (S.FINISHED, BatchState.PENDING, "pending", S.SCHEDULED),
        (S.FINISHED, BatchState.SETTLED, "pending", S.SCHEDULED),
        (S.RUNNING, BatchState.SETTLED, "pending", S.RUNNING),
        (S.PAUSED, BatchState.SETTLED, "pending", S.PAUSED),
    ],
)
def test_a_tick_heals_what_is_pending_after_an_end(store, campaign, batch, became, state):
    sweep(store, 1)
    ended = later(0) if campaign in {S.CANCELLED, S.FINISHED} else None
    campaign_id = add_campaign(store, (3,), state=campaign, finished_at=ended)
    add_campaign(store, (2,), state=S.CANCELLED, finished_at=NOW, first=10**9)
    with store.write() as conn:
        other = BATCH.c.campaign_id != campaign_id
        change(conn, BATCH, other, state=BatchState.CANCELLED, pending=0, cancelled=2)
        change(conn, MESSAGE, MESSAGE.c.campaign_id != campaign_id, state=9)
        change(conn, BATCH, BATCH.c.campaign_id == campaign_id, state=batch)
    sweep(store, 2)
    assert states(store, campaign_id) == [became] * 3
    assert campaign_of(store, campaign_id).state == state
    assert corrections(store) == {Correction.WORK_AFTER_END: 1}
    sweep(store, 3)
    assert corrections(store) == {Correction.WORK_AFTER_END: 1}


def test_a_cancellation_that_was_killed_half_way_is_finished_by_ticks(store, monkeypatch):
    monkeypatch.setattr(campaigns, "_GROUP", 4)
    campaign_id = add_campaign(store, (3, 3, 3, 3, 3))
    with store.write() as conn:
        change(conn, CAMPAIGN, CAMPAIGN.c.id == campaign_id, state="cancelled")
    assert [tick(store, seconds) for seconds in (1, 2, 3)] == [[], [], [campaign_id]]
    assert states(store) == ["cancelled"] * 15


@pytest.mark.parametrize("how", ["cancelled", "lapsed"])
def test_large_campaigns_end_in_several_transactions(store, monkeypatch, how):
    monkeypatch.setattr(campaigns, "_GROUP", 4)
    campaign_id = add_campaign(store, (3, 3, 3, 3, 3), expire_at=later(1))
    queued(store)
    if how == "cancelled":
        control.cancel_campaign(store, str(campaign_id))
    else:
        assert [tick(store, seconds) for seconds in (2, 3, 4)] == [[], [], [campaign_id]]
    assert counts_of(store, campaign_id) == {how: 15}
    assert rows(store, BATCH)[0].fence == 2
    assert campaign_of(store, campaign_id).finished_at is not None
    assert not corrections(store)


def test_where_nothing_returns_a_finished_campaign_stays_over(store):
    add_campaign(store)
    held, (attempt,) = submitting(store)
    settle(store, held, attempt, verdict(rejected=(0, 1, 2)))
    close(store, held)
    tick(store, 4000)
    with store.write() as conn:
        locked = lock_with_campaign(conn, held.id)
        returned = returns.return_messages(
            conn, locked, false(), old=MessageState.FAILED, values={}, now=NOW
        )
    assert returned == (MessageState.PENDING, 0)
    assert campaign_of(store, held.campaign_id).state == CampaignState.FINISHED
    assert batch_of(store, held.id).state == BatchState.SETTLED
