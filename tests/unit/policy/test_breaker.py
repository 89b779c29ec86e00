"""The breaker: when it opens, what is tried, when it closes, and what an account waits for."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from types import SimpleNamespace

import pytest

from dispatcher.errors import ErrorKind, ProviderError
from dispatcher.policy.breaker import (
    Breaker,
    BreakerPolicy,
    Health,
    ProbeSignal,
    describe_outage,
    has_credit_for,
    is_unavailable,
    next_credit_check_s,
    next_probe_s,
    next_state,
    signal_of,
    wait_reason,
)
from dispatcher.policy.verdict import Accepted, NotAccepted, Verdict
from dispatcher.status import AttemptOutcome, Kind
from dispatcher.types import Balance

NOW = datetime(2030, 5, 6, 12, 0, tzinfo=UTC)
LISTED = BreakerPolicy(breaker_after=3, lists_accepted=True, can_be_probed=True)
UNLISTED = BreakerPolicy(breaker_after=3, lists_accepted=False, can_be_probed=True)
MUTE = BreakerPolicy(breaker_after=3, lists_accepted=False, can_be_probed=False)


def after(health, *signals, policy=LISTED, is_probe=False, random=lambda: 0.5):
    for signal in signals:
        health = next_state(
            health, signal, is_probe=is_probe, reason="HTTP 503", policy=policy, now=NOW,
            random=random,
        )  # fmt: skip
    return health


def verdict(accepted=0, rejected=0, doubtful=0):
    return Verdict(
        outcome=AttemptOutcome.ANSWERED,
        accepted=[Accepted(i, None, None) for i in range(accepted)],
        rejected=[NotAccepted(i, None, None) for i in range(rejected)],
        doubtful=[NotAccepted(i, None, None) for i in range(doubtful)],
    )


@pytest.mark.parametrize(
    ("error", "said", "signal"),
    [
        (None, verdict(accepted=2), ProbeSignal.REACHED),
        (None, verdict(rejected=2), ProbeSignal.REACHED),
        (None, verdict(accepted=1, doubtful=1), ProbeSignal.REACHED),
        (None, verdict(accepted=1, doubtful=2), ProbeSignal.DOUBTFUL),
        (ErrorKind.UNREACHABLE, verdict(), ProbeSignal.FAILED),
        (ErrorKind.DOUBTFUL, verdict(doubtful=2), ProbeSignal.DOUBTFUL),
        (ErrorKind.THROTTLED, verdict(), ProbeSignal.REACHED),
        (ErrorKind.CREDIT, verdict(), ProbeSignal.REACHED),
        (ErrorKind.CREDENTIALS, verdict(), ProbeSignal.REACHED),
        (ErrorKind.CAMPAIGN, verdict(), ProbeSignal.REACHED),
        (ErrorKind.RECIPIENTS, verdict(rejected=2), ProbeSignal.REACHED),
    ],
)
def test_only_silence_and_doubt_count_as_failures(error, said, signal):
    assert signal_of(error and ProviderError(error, "words"), said) is signal


@pytest.mark.parametrize(
    ("policy", "signals", "opens"),
    [
        (LISTED, [ProbeSignal.FAILED] * 2, False),
        (LISTED, [ProbeSignal.FAILED] * 3, True),
        (LISTED, [ProbeSignal.DOUBTFUL] * 2, False),
        (LISTED, [ProbeSignal.DOUBTFUL, ProbeSignal.FAILED, ProbeSignal.DOUBTFUL], True),
        (
            LISTED,
            [
                ProbeSignal.FAILED,
                ProbeSignal.FAILED,
                ProbeSignal.REACHED,
                ProbeSignal.FAILED,
                ProbeSignal.FAILED,
            ],
            False,
        ),
        (UNLISTED, [ProbeSignal.FAILED] * 2, False),
        (UNLISTED, [ProbeSignal.FAILED] * 3, True),
        (UNLISTED, [ProbeSignal.DOUBTFUL], True),
        (MUTE, [ProbeSignal.DOUBTFUL], True),
    ],
)
def test_it_opens_after_failures_in_a_row_and_without_a_list_after_one_doubt(
    policy, signals, opens
):
    assert (after(Health(), *signals, policy=policy).breaker is not None) is opens


def test_a_provider_is_probed_before_a_recipient_is_risked():
    opened = after(Health(), ProbeSignal.DOUBTFUL, policy=UNLISTED)
    assert (opened.breaker, opened.reason, opened.since) == (Breaker.OPEN, "HTTP 503", NOW)
    assert after(Health(), ProbeSignal.DOUBTFUL, policy=MUTE).breaker is Breaker.TRIAL


def test_while_it_is_open_only_a_probe_counts():
    opened = after(Health(), ProbeSignal.DOUBTFUL, policy=UNLISTED)
    assert after(opened, ProbeSignal.REACHED, ProbeSignal.DOUBTFUL, ProbeSignal.FAILED) == opened
    assert after(opened, ProbeSignal.FAILED, is_probe=True).breaker is Breaker.OPEN
    closed = after(opened, ProbeSignal.REACHED, is_probe=True)
    assert (closed.breaker, closed.failures, closed.check_at) == (None, 0, None)


@pytest.mark.parametrize(("policy", "cap_s"), [(UNLISTED, 60), (MUTE, 300)])
def test_waits_grow_with_full_jitter_up_to_a_cap_and_since_stays(policy, cap_s):
    health = after(Health(), ProbeSignal.DOUBTFUL, policy=policy, random=lambda: 0.999)
    waits = []
    for _ in range(12):
        waits.append((health.check_at - NOW).total_seconds())
        health = after(
            health, ProbeSignal.DOUBTFUL, policy=policy, is_probe=True, random=lambda: 0.999
        )
    assert waits == sorted(waits)
    assert waits[0] < 1
    assert cap_s * 0.99 < waits[-1] < cap_s
    health = replace(health, since=NOW - timedelta(hours=1))
    assert after(health, ProbeSignal.DOUBTFUL, is_probe=True).since == health.since
    assert after(health, ProbeSignal.DOUBTFUL, is_probe=True, random=lambda: 0.0).check_at == NOW


def test_a_provider_that_fails_again_at_full_speed_is_tried_less_often():
    opened = after(Health(), ProbeSignal.DOUBTFUL, policy=UNLISTED)
    closed = after(opened, ProbeSignal.REACHED, is_probe=True, policy=UNLISTED)
    again = after(closed, ProbeSignal.DOUBTFUL, policy=UNLISTED)
    assert again.check_at - NOW > opened.check_at - NOW
    assert after(closed, ProbeSignal.REACHED) == Health()


@pytest.mark.parametrize(
    ("balances", "kind", "covered"),
    [
        ({"Promotional": 0, "Transactional": 5}, Kind.TRANSACTIONAL, True),
        ({"Promotional": 5, "Transactional": 0}, Kind.TRANSACTIONAL, False),
        ({"OTP": 5}, Kind.OTP, True),
        ({"EUR": 5}, Kind.OTP, True),
        ({"EUR": 0}, Kind.OTP, False),
        ({"EUR": -1}, None, False),
        ({}, Kind.OTP, False),
    ],
)
def test_the_package_of_the_campaigns_kind_counts_if_there_is_one(balances, kind, covered):
    found = [Balance(package=name, amount=Decimal(n)) for name, n in balances.items()]
    assert has_credit_for(found, kind) is covered


def test_checks_of_the_balance_become_rarer_up_to_an_hour():
    assert [next_credit_check_s(n, 300) for n in range(6)] == [300, 600, 1200, 2400, 3600, 3600]
    assert next_credit_check_s(50, 7200) == 7200


def test_probes_become_rarer_up_to_a_minute():
    waits = [next_probe_s(n, random=lambda: 0.5) for n in range(8)]
    assert waits == [0.5, 1, 2, 4, 8, 16, 30, 30]


def account(**values):
    given = {
        "name": "main", "paused_by": None, "breaker": None, "breaker_at": None, "check_at": None,
        "not_before": None, "pause_reason": None, "breaker_reason": None, "stopped_at": None,
        "stopped_by": None, "stop_reason": None,
    }  # fmt: skip
    return SimpleNamespace(**given | values)


SOON = NOW + timedelta(minutes=5)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({}, None),
        (
            {"stopped_at": NOW, "stopped_by": "asha@mail1", "paused_by": "credit"},
            "`dispatcher go` (by asha@mail1 at 2030-05-06 12:00:00 UTC)",
        ),
        (
            {"stopped_at": NOW, "stopped_by": "asha@mail1", "stop_reason": "wrong text"},
            "`dispatcher go` (by asha@mail1 at 2030-05-06 12:00:00 UTC: wrong text)",
        ),
        ({"not_before": NOW}, None),
        ({"not_before": SOON}, "the end of a pause, at 2030-05-06 12:05:00 UTC"),
        (
            {"paused_by": "credit", "check_at": SOON},
            "a top-up; the next check of the balance is at 2030-05-06 12:05:00 UTC",
        ),
        ({"paused_by": "credit"}, "you: fix the cause, then run `dispatcher account resume main`"),
        ({"paused_by": "credentials", "check_at": SOON}, "you: fix the cause, then run"),
        (
            {"breaker": "open", "check_at": SOON},
            "to answer; the next probe is at 2030-05-06 12:05:00 UTC",
        ),
        ({"breaker": "open", "check_at": NOW}, "to answer; the next probe is now"),
        ({"breaker": "open", "check_at": NOW - timedelta(minutes=5)}, "the next probe is now"),
        ({"breaker": "trial"}, "to accept one recipient; the next try is now"),
    ],
)
def test_what_an_account_waits_for_is_said(values, words):
    said = wait_reason(account(**values), NOW)
    assert said is None if words is None else words in said


def test_an_account_that_is_not_known_waits_for_nothing():
    assert wait_reason(None, NOW) is None


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({}, None),
        (
            {"paused_by": "credit", "pause_reason": "no credit"},
            "main is paused (credit): no credit",
        ),
        (
            {"breaker": "open", "breaker_at": NOW, "breaker_reason": "HTTP 503"},
            "main has been failing since 2030-05-06 12:00:00 UTC: HTTP 503",
        ),
        (
            {"stopped_at": NOW, "stopped_by": "asha@mail1"},
            "main is stopped",
        ),
    ],
)
def test_an_outage_is_said_with_its_reason(values, words):
    assert describe_outage(account(**values)) == words


@pytest.mark.parametrize(
    ("values", "out"),
    [
        ({}, False),
        ({"paused_by": "operator"}, True),
        ({"paused_by": "operator", "stopped_at": NOW}, False),
        ({"breaker": "open"}, False),
        ({"breaker_at": NOW - timedelta(seconds=900)}, False),
        ({"breaker_at": NOW - timedelta(seconds=900), "check_at": SOON}, False),
        ({"breaker": "open", "breaker_at": NOW - timedelta(seconds=299)}, False),
        ({"breaker": "open", "breaker_at": NOW - timedelta(seconds=300)}, True),
        ({"breaker": "trial", "breaker_at": NOW - timedelta(seconds=900)}, False),
        (
            {"breaker": "trial", "breaker_at": NOW - timedelta(seconds=900), "check_at": SOON},
            True,
        ),
    ],
)
def test_an_account_is_unavailable_if_it_is_paused_or_fails_for_long(values, out):
    assert is_unavailable(account(**values), 300, NOW) is out
