"""Breakers and pauses in the store, and how release, begin and probes follow them."""

from datetime import timedelta

import pytest

from dispatcher.outbound.release import release_batches
from dispatcher.policy.breaker import Breaker, BreakerPolicy, ProbeSignal, next_state
from dispatcher.status import BatchState
from dispatcher.store import accounts, health, polls
from dispatcher.store.tables import ACCOUNT
from tests.support.stores import (
    LEASE,
    NOW,
    add_account,
    add_attempt,
    add_campaign,
    attempt_of,
    audit,
    batch_of,
    begin,
    change,
    claim,
    claimed,
    close,
    later,
    rows,
    settings,
    settle,
    verdict,
)

POLICY = BreakerPolicy(breaker_after=2, lists_accepted=True, can_be_probed=True)
MUTE = POLICY._replace(can_be_probed=False)


def tell(store, *signs, policy=POLICY, is_probe=False, now=NOW):
    for sign in signs:
        with store.write() as conn:
            health.change_health(
                conn,
                "main",
                lambda known, sign=sign: next_state(
                    known, sign, is_probe=is_probe, reason="HTTP 503", policy=policy, now=now,
                    random=lambda: 0.5,
                ),
                now,
            )  # fmt: skip


def account_of(store):
    (account,) = rows(store, ACCOUNT)
    return account


def put(store, **values):
    with store.write() as conn:
        change(conn, ACCOUNT, ACCOUNT.c.name == "main", **values)


def released(store, *, now=NOW, **values):
    with store.write() as conn:
        return release_batches(conn, "main", settings(**values), now)


def looks(store, *, now=NOW, names=("main",)):
    with store.write() as conn:
        return health.lease_due_probes(conn, names, now=now, lease_until=now + LEASE)


def test_opening_and_closing_is_audited_once_each(store):
    add_account(store)
    tell(store, ProbeSignal.FAILED, ProbeSignal.FAILED, ProbeSignal.FAILED)
    opened = account_of(store)
    assert (opened.breaker, opened.breaker_at, opened.breaker_reason) == ("open", NOW, "HTTP 503")
    tell(store, ProbeSignal.REACHED)
    assert account_of(store).breaker == "open"
    tell(store, ProbeSignal.REACHED, is_probe=True)
    closed = account_of(store)
    assert (closed.breaker, closed.breaker_at, closed.failures) == (None, None, 0)
    assert audit(store) == ["account breaker opened", "account breaker closed"]


def test_an_open_breaker_releases_nothing_until_a_probe_was_answered(store):
    add_campaign(store, [3, 3])
    tell(store, ProbeSignal.FAILED, ProbeSignal.FAILED)
    soon = account_of(store).check_at + timedelta(seconds=1)
    assert released(store, now=soon) == []
    (ticket,) = looks(store, now=soon)
    assert looks(store, now=soon) == []  # somebody is looking
    with store.write() as conn:
        health.mark_reachable(conn, health.lock_for_probe(conn, ticket))
    (probe,) = released(store, now=soon)
    assert released(store, now=soon) == []  # one at a time
    held = claim(store, probe, now=soon)
    assert held.is_probe


def test_a_probe_waits_until_the_account_has_nothing_in_flight(store):
    add_campaign(store, [3, 3])
    held = claimed(store)
    tell(store, ProbeSignal.FAILED, ProbeSignal.FAILED)
    much_later = later(500)
    assert looks(store, now=much_later) == []
    assert begin(store, held, now=much_later) is None  # handed back: it is not a probe
    assert batch_of(store, held.id).state == BatchState.PENDING
    assert looks(store, now=much_later, names=()) == []
    assert len(looks(store, now=much_later)) == 1


def test_a_batch_in_flight_when_the_breaker_opens_is_settled(store):
    add_campaign(store, [2])
    held = claimed(store)
    (attempt,) = begin(store, held)
    tell(store, ProbeSignal.FAILED, ProbeSignal.FAILED)
    assert settle(store, held, attempt, verdict(accepted=[0, 1])).accepted == 2
    assert close(store, held) is BatchState.SETTLED
    assert account_of(store).breaker == "open"


def test_a_provider_without_a_probe_call_is_probed_with_one_recipient(store):
    add_campaign(store, [3, 3])
    tell(store, ProbeSignal.FAILED, ProbeSignal.FAILED, policy=MUTE)
    due = account_of(store).check_at
    assert released(store, now=due - timedelta(milliseconds=1)) == []
    (probe,) = released(store, now=due)
    held = claim(store, probe, now=due)
    (attempt,) = begin(store, held, [[0]], now=due)
    tell(store, ProbeSignal.DOUBTFUL, policy=MUTE, is_probe=True, now=due)
    settle(store, held, attempt, verdict(doubtful=[0]))
    assert close(store, held) is BatchState.PENDING
    assert batch_of(store, held.id).tries == 0
    assert account_of(store).check_at > due
    assert released(store, now=due) == []


def test_after_the_breaker_closed_release_is_at_full_speed(store):
    add_campaign(store, [3] * 6)
    tell(store, ProbeSignal.FAILED, ProbeSignal.FAILED)
    tell(store, ProbeSignal.REACHED, is_probe=True)
    assert len(released(store, max_in_flight=4)) == 4


def test_a_failed_probe_is_followed_by_a_later_one(store):
    add_account(store)
    tell(store, ProbeSignal.FAILED, ProbeSignal.FAILED)
    ticket, now = looks(store, now=later(9))[0], later(10)
    with store.write() as conn:
        row = health.lock_for_probe(conn, ticket)
        health.mark_unreachable(conn, row, "HTTP 502", now=now, random=lambda: 0.5)
    account = account_of(store)
    assert (account.breaker_reason, account.checks) == ("HTTP 502", ticket.number + 1)
    assert account.check_at > now
    with store.write() as conn:
        assert health.lock_for_probe(conn, ticket) is None  # it is old


def test_an_account_without_credit_is_checked_less_and_less_often_and_resumed(store):
    add_campaign(store)
    waits = []
    for _ in range(2):
        with store.write() as conn:
            accounts.pause_account(
                conn, "main", by="credit", reason="no credit", now=NOW, kind="promotional"
            )
            health.schedule_credit_check(conn, "main", 300, NOW)
        paused = account_of(store)
        waits.append((paused.check_at - NOW).total_seconds())
        assert (paused.paused_by, paused.paused_kind) == ("credit", "promotional")
        assert released(store) == []
        assert looks(store, now=later(1)) == []
        (ticket,) = looks(store, now=paused.check_at)
        with store.write() as conn:
            health.mark_credit_restored(
                conn, health.lock_for_probe(conn, ticket), "the balance is 5", NOW
            )
    assert waits == [300, 600]  # nothing was accepted in between
    opened = account_of(store)
    assert (opened.paused_by, opened.paused_kind, opened.check_at) == (None, None, None)
    assert len(released(store)) == 1
    tell(store, ProbeSignal.REACHED)
    assert account_of(store).checks == 0


@pytest.mark.parametrize("by", ["credentials", "configuration", "operator"])
def test_only_a_person_resumes_an_account_that_cannot_recover_by_itself(store, by):
    add_campaign(store)
    with store.write() as conn:
        accounts.pause_account(conn, "main", by=by, reason="words", now=NOW)
        health.schedule_credit_check(conn, "main", 300, NOW)
    assert account_of(store).check_at is None
    assert looks(store, now=later(10_000)) == []


def test_a_person_closes_the_breaker_too(store):
    add_campaign(store)
    put(store, breaker=Breaker.OPEN, breaker_at=NOW, check_at=later(60), checks=9, failures=9)
    with store.write() as conn:
        assert accounts.resume_account(conn, "main", actor="operator", now=NOW) is True
        assert accounts.resume_account(conn, "main", actor="operator", now=NOW) is False
    account = account_of(store)
    assert (account.breaker, account.check_at, account.checks, account.failures) == (
        None, None, 0, 0,
    )  # fmt: skip
    assert len(released(store)) == 1


def test_hanging_status_requests_leave_room_for_other_accounts(store):
    add_account(store, "other")
    with store.write() as conn:
        for account in ["main"] * 9 + ["other"]:
            add_attempt(conn, account=account, poll_at=later(account == "other"), poll_until=NOW)

    def handed_out(now):
        with store.write() as conn:
            given = polls.lease_due_polls(
                conn, now=now, lease_until=now + LEASE, limit=4, per_account=3
            )
        return [attempt_of(store, ticket.id).account for ticket in given]

    assert handed_out(later(2)) == ["main"] * 3
    assert handed_out(later(2)) == ["other"]
    assert handed_out(later(2)) == []
