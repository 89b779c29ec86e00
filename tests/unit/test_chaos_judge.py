"""What the judge of a chaos run takes for an excuse, and what not: else the run could not fail."""

import logging
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pytest

from dispatcher.logs.json_lines import JsonLines
from dispatcher.policy.reconciliation import DoubtNote
from dispatcher.status import MessageState
from dispatcher.store.drops import DROPPED
from tests.chaos.decisions import Choice, Decisions
from tests.chaos.judge import (
    Blow,
    Findings,
    blow_to,
    forbidden_begins,
    has_slept_through,
    judge_message,
    needless_doubts,
    overfull_blows,
    read_holders,
)
from tests.chaos.rates import Stall, find_busiest, judge_rates
from workers.batch.turn import LEAVING

NOON = datetime(2030, 5, 6, 12, 0, tzinfo=UTC)


def at(seconds):
    return NOON + timedelta(seconds=seconds)


#: A request of ten seconds.
REQUEST = SimpleNamespace(
    id=7, batch_id=3, fence=2, begun_at=at(0), ended_at=at(10), deadline=at(20)
)


def blow(worker, seconds, *, kills=True):
    return Blow(worker=worker, at=at(seconds), kills=kills)


@pytest.mark.parametrize(
    ("blows", "holder", "is_excused"),
    [
        ([blow("w1", 5)], "w1", True),
        ([blow("w1", 5, kills=False)], "w1", True),
        ([blow("w2", 5)], "w1", False),
        ([blow("w1", -5)], "w1", False),
        ([blow("w1", 11)], "w1", False),
        ([blow("w2", 5)], None, True),
        ([], None, False),
    ],
)
def test_a_request_is_excused_by_a_blow_to_its_own_worker_while_it_was_open(
    blows, holder, is_excused
):
    holders = {(3, 2): holder} if holder else {}
    assert (blow_to(REQUEST, blows, holders) is not None) == is_excused


def test_who_held_a_batch_stands_in_the_workers_logs():
    logs = {"w1": f"INFO {LEAVING % (3, 2)}", "w2": "INFO batch 3, fence 4: 20 accepted"}
    assert read_holders(logs) == {(3, 2): "w1"}
    record = logging.makeLogRecord({"msg": LEAVING, "args": (5, 6), "levelname": "INFO"})
    assert read_holders({"w2": JsonLines().format(record)}) == {(5, 6): "w2"}


@pytest.mark.parametrize(
    ("stop", "took_s", "is_excused"),
    [
        (blow("w1", 1, kills=False), 10, True),
        (blow("w1", 1, kills=False), 4, False),
        (blow("w1", 1), 10, False),
        (blow("w2", 1, kills=False), 10, False),
    ],
)
def test_who_was_stopped_until_the_time_was_over_may_have_read_no_answer(stop, took_s, is_excused):
    attempt = SimpleNamespace(**{**vars(REQUEST), "ended_at": at(took_s)})
    assert has_slept_through(attempt, [stop], {(3, 2): "w1"}) == is_excused


@pytest.mark.parametrize(
    ("entries", "held", "faults", "is_needless"),
    [
        ([{"at": at(1), "spoilt": "reset"}], [], {}, False),
        ([{"at": at(1)}], [], {}, True),
        ([{"at": at(1)}], [7], {}, False),
        ([], [], {}, True),
        ([], [], {"reset_before": 1}, False),
        ([{"at": at(-30)}], [], {"reset_before": 1}, False),
        ([{"at": at(-30), "spoilt": "reset"}, {"at": at(1)}], [], {"reset_before": 1}, True),
    ],
)
def test_doubt_needs_a_reason_in_that_very_request(entries, held, faults, is_needless):
    ledger = {919: [entry | {"at": entry["at"].timestamp()} for entry in entries]}
    doubtful = [SimpleNamespace(attempt_id=7, msisdn=919)]
    assert bool(needless_doubts(doubtful, {7: REQUEST}, ledger, held, faults)) == is_needless


# --- One message ------------------------------------------------------------------------------

NUMBER = 919_810_000_000
S, N = MessageState, DoubtNote


def decided(*decisions):
    """Decisions about campaign 1: ("resend", seconds), ("drop", seconds), words, retried states."""
    made = Decisions()
    for each in decisions:
        if each == "cancel":
            made.allow_cancel(1)
        elif each == "rule":
            made.allow_resend_rule(1)
        elif each == "taken out":
            made.allow_taking_out(1, [NUMBER])
        elif each == "surely taken out":
            made.surely_taken_out.add((1, NUMBER))
        elif each == "opted out":
            made.allow_opt_out([NUMBER])
        elif isinstance(each, S):
            made.allow_retry(1, [each])
        else:
            choice, seconds, *numbers = each
            made.allow(1, Choice(choice), numbers).until = at(seconds).timestamp()
    return made


def findings(
    state, accepted_at, *, note=0, decisions=(), attempts=2, provider_id=None, error=None, former=()
):
    """What the judge says of a message in `state`, which was accepted at these seconds.

    `former`: states and ids of what became of it before.
    """
    said = Findings()
    row = SimpleNamespace(
        campaign_id=1, seq=5, msisdn=NUMBER, state=state, note=note, attempts=attempts,
        provider_message_id=provider_id, error=error,
    )  # fmt: skip
    before = [SimpleNamespace(state=of, provider_message_id=id_) for of, id_ in former]
    entries = [{"at": at(s).timestamp(), "message_id": f"id-{s}"} for s in accepted_at]
    judge_message(said, row, entries, decided(*decisions), before)
    return said


@pytest.mark.parametrize(
    ("note", "decisions", "attempts", "is_allowed"),
    [
        (0, [], 2, False),
        (N.RESENT, [("resend", 5)], 2, True),
        (N.RESENT, [("resend", 5, NUMBER)], 2, True),
        (N.RESENT, [("resend", 5, NUMBER + 1)], 2, False),
        (N.RESENT, ["rule"], 2, True),
        (N.RESENT, [], 2, False),
        # The store does not know of a decision to this recipient.
        (0, [("resend", 5)], 2, False),
        (N.DROPPED, [("drop", 5)], 2, False),
        (0, ["cancel"], 2, False),
        # It was sent once, and accepted twice.
        (N.RESENT, [("resend", 5)], 1, False),
    ],
)
def test_a_double_needs_a_recorded_decision_to_resend(note, decisions, attempts, is_allowed):
    said = findings(S.DELIVERED, [1, 9], note=note, decisions=decisions, attempts=attempts)
    assert bool(said.violations) != is_allowed


def test_each_decision_allows_one_acceptance_more():
    one = {"note": N.RESENT, "attempts": 3, "decisions": [("resend", 5)]}
    assert findings(S.DELIVERED, [1, 9, 15], **one).doubles == 1
    two = one | {"decisions": [("resend", 5), ("resend", 12, NUMBER)]}
    said = findings(S.DELIVERED, [1, 9, 15], **two)
    assert (said.doubles, said.resent, said.violations) == (0, 1, [])


@pytest.mark.parametrize(
    ("state", "accepted_at", "note", "decisions", "is_allowed"),
    [
        (S.DELIVERED, [1], 0, [], True),
        (S.IN_DOUBT, [1], 0, [], True),
        (S.IN_DOUBT, [], 0, [], True),
        (S.FAILED, [], 0, [], True),
        (S.DELIVERED, [], 0, [], False),
        (S.PENDING, [], 0, [], False),
        (S.PENDING, [1], N.RESENT, [("resend", 5)], False),
        (S.FAILED, [1], 0, [], False),
        (S.FAILED, [1], N.DROPPED, [("drop", 5)], True),
        (S.FAILED, [1], N.DROPPED, [("drop", 5, NUMBER + 1)], False),
        (S.FAILED, [1], N.DROPPED, [], False),
        (S.FAILED, [], N.DROPPED, [], False),
        # What came after the decision is not excused by it.
        (S.FAILED, [9], N.DROPPED, [("drop", 5)], False),
        (S.FAILED, [1], N.RESENT, [("resend", 5)], True),
        (S.FAILED, [9], N.RESENT, [("resend", 5)], False),
        (S.FAILED, [1, 2], N.RESENT, [("resend", 5)], False),
        (S.CANCELLED, [], 0, ["cancel"], True),
        (S.CANCELLED, [], 0, [], False),
        (S.CANCELLED, [1], 0, ["cancel"], False),
        (S.CANCELLED, [1], N.RESENT, ["cancel", ("resend", 5)], True),
        (S.SUBMITTED, [1], N.ASSUMED, [], False),
        (S.LAPSED, [], 0, [], False),
        (S.SUPPRESSED, [], 0, [], False),
    ],
)
def test_the_store_knows_of_each_acceptance_unless_a_person_gave_it_up(
    state, accepted_at, note, decisions, is_allowed
):
    said = findings(state, accepted_at, note=note, decisions=decisions)
    assert (said.violations == []) == is_allowed


@pytest.mark.parametrize(
    ("state", "accepted_at", "former", "decisions", "is_allowed"),
    [
        (S.DELIVERED, [1, 9], [(S.UNDELIVERED, "id-1")], [S.UNDELIVERED], True),
        (S.DELIVERED, [1, 9], [(S.EXPIRED, None)], [S.EXPIRED], True),
        (S.DELIVERED, [9], [(S.REJECTED, None)], [S.REJECTED], True),
        (S.DELIVERED, [9], [(S.FAILED, None)], [], True),
        (S.IN_DOUBT, [1], [(S.UNDELIVERED, "id-1")], [S.UNDELIVERED], True),
        # Nobody decided so, or decided about another state.
        (S.DELIVERED, [1, 9], [(S.UNDELIVERED, "id-1")], [], False),
        (S.DELIVERED, [1, 9], [(S.UNDELIVERED, "id-1")], [S.EXPIRED], False),
        (S.DELIVERED, [9], [(S.REJECTED, None)], [S.UNDELIVERED], False),
        (S.DELIVERED, [1, 9], [(S.DELIVERED, "id-1")], [S.DELIVERED], False),
        # The new request was accepted twice, or never.
        (S.DELIVERED, [1, 9, 15], [(S.UNDELIVERED, "id-1")], [S.UNDELIVERED], False),
        (S.SUBMITTED, [1], [(S.UNDELIVERED, "id-1")], [S.UNDELIVERED], False),
        (S.DELIVERED, [1, 9], [(S.REJECTED, None)], [S.REJECTED], False),
        # It was accepted again, and the store says that it was not.
        (S.FAILED, [1, 9], [(S.UNDELIVERED, "id-1")], [S.UNDELIVERED], False),
        (S.FAILED, [1], [(S.UNDELIVERED, "id-1")], [S.UNDELIVERED], True),
    ],
)
def test_a_retry_of_what_did_not_arrive_allows_one_acceptance_after_it(
    state, accepted_at, former, decisions, is_allowed
):
    said = findings(state, accepted_at, former=former, decisions=decisions, attempts=3)
    assert (said.violations == []) == is_allowed


@pytest.mark.parametrize(
    ("state", "accepted_at", "error", "decisions", "is_allowed"),
    [
        (S.CANCELLED, [], DROPPED, ["taken out"], True),
        (S.CANCELLED, [], DROPPED, ["taken out", "surely taken out"], True),
        (S.CANCELLED, [], DROPPED, [], False),
        (S.CANCELLED, [], DROPPED, ["cancel"], False),
        (S.CANCELLED, [1], DROPPED, ["taken out"], False),
        (S.CANCELLED, [], None, ["taken out"], False),
        # Asked for, but a worker was sooner.
        (S.DELIVERED, [1], None, ["taken out"], True),
        (S.DELIVERED, [1], None, ["taken out", "surely taken out"], False),
        (S.SUPPRESSED, [], None, ["opted out"], True),
        (S.SUPPRESSED, [1], None, ["opted out"], False),
        (S.DELIVERED, [1], None, ["opted out"], True),
    ],
)
def test_who_is_taken_out_or_suppressed_gets_nothing_and_somebody_decided_so(
    state, accepted_at, error, decisions, is_allowed
):
    said = findings(state, accepted_at, error=error, decisions=decisions)
    assert (said.violations == []) == is_allowed


@pytest.mark.parametrize(
    ("account", "numbers", "begun_at", "is_allowed"),
    [
        ("main", [], 4, True),
        ("main", [], 6, False),
        ("main", [], 16, True),
        ("spare", [], 6, True),
        (None, [NUMBER], 6, False),
        (None, [NUMBER], 4, True),
        (None, [NUMBER], 16, True),
        (None, [NUMBER + 1], 6, True),
        ("main", [NUMBER], 6, False),
        ("spare", [NUMBER], 6, True),
    ],
)
def test_nothing_begins_at_a_stopped_account_or_to_who_has_opted_out(
    account, numbers, begun_at, is_allowed
):
    decisions = Decisions(clock=iter([at(5).timestamp(), at(15).timestamp()]).__next__)
    decisions.ban(account, numbers)
    decisions.lift_ban(account, numbers)
    request = SimpleNamespace(id=7, account="main", begun_at=at(begun_at))
    message = SimpleNamespace(campaign_id=1, seq=5, msisdn=NUMBER, attempt_id=7)
    unsent = SimpleNamespace(campaign_id=1, seq=6, msisdn=NUMBER, attempt_id=None)
    assert bool(forbidden_begins([message, unsent], {7: request}, decisions)) != is_allowed


def test_what_is_not_allowed_again_stays_forbidden():
    decisions = Decisions()
    decisions.ban("main")
    decisions.ban("main")
    request = SimpleNamespace(id=7, account="main", begun_at=datetime.now(UTC) + timedelta(days=1))
    assert forbidden_begins([], {7: request}, decisions)


@pytest.mark.parametrize(("provider_id", "is_wrong"), [("id-1", False), ("id-2", True)])
def test_an_id_is_one_that_the_provider_gave_to_this_number(provider_id, is_wrong):
    assert bool(findings(S.SUBMITTED, [1], provider_id=provider_id).violations) == is_wrong


# --- Doubt by kill ----------------------------------------------------------------------------


def test_a_blow_costs_no_more_requests_than_an_account_has_in_flight():
    lost = [
        SimpleNamespace(batch_id=3, fence=2, begun_at=at(0), ended_at=at(10), account=account)
        for account in ("main", "main", "main", "spare")
    ]
    blows, holders = [blow("w1", 5)], {(3, 2): "w1"}
    assert overfull_blows(lost, blows, holders, slots=3) == []
    (wrong,) = overfull_blows(lost, blows, holders, slots=2)
    assert "cost 3 requests of main" in wrong


# --- Rates ------------------------------------------------------------------------------------


def evenly(count, per_second, *, start=100.0):
    return [start + i / per_second for i in range(count)]


@pytest.mark.parametrize(
    ("arrivals", "lags", "blows", "is_allowed"),
    [
        (evenly(100, 10), [], [], True),
        # One more for each of two processes.
        ([*evenly(100, 10), 102.01, 102.02], [], [], True),
        ([*evenly(100, 10), 102.01, 102.02, 102.03], [], [], False),
        # A second is any second, not the clock's.
        ([*evenly(9, 10, start=100.4), *evenly(9, 10, start=100.95)], [], [], False),
        # The provider's process stood still for 0.3 s: three requests came in together.
        ([*evenly(100, 10), *[102.01] * 5], [Stall(101.7, 102.0)], [], False),
        ([*evenly(100, 10), *[102.01] * 5], [Stall(101.75, 102.06)], [], True),
        ([*evenly(100, 10), *[102.01] * 5], [Stall(105.0, 105.3)], [], False),
        # A worker was killed, and another goes on: a quarter of a second may leave twice.
        ([*evenly(100, 10), *[102.01] * 6], [], [Stall(101.5, 101.5)], True),
        ([*evenly(100, 10), *[102.01] * 7], [], [Stall(101.5, 101.5)], False),
        ([*evenly(100, 10), *[102.01] * 6], [], [Stall(97.0, 97.0)], False),
        ([*evenly(100, 10), *[102.01] * 6], [], [Stall(106.0, 106.0)], False),
        # A worker that slept from 92 to 101.
        ([*evenly(100, 10), *[102.01] * 6], [], [Stall(92.0, 101.0)], True),
    ],
)
def test_no_second_has_more_than_the_rate_and_what_lateness_explains(
    arrivals, lags, blows, is_allowed
):
    wrong, busiest = judge_rates(
        {"one": arrivals, "other": []}, {"one": 10, "other": 10}, lags=lags, blows=blows
    )
    assert (wrong == []) == is_allowed
    assert [*busiest] == ["one"]


def test_the_busiest_second_is_the_one_that_passes_its_own_bound_by_most():
    arrivals = [*evenly(10, 10), *[101.95] * 5, *evenly(13, 13, start=200.0)]
    found = find_busiest(arrivals, 10, blows=[Stall(100.0, 102.0)])
    assert (found.began, found.arrived, found.allowed) == (200.0, 13, 12)
