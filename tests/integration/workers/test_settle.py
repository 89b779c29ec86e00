"""What the answers to a batch's requests do to its messages, its account and its campaign."""

from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta

import pytest

from dispatcher.errors import ErrorKind, ProviderError, StoreDataError, StoreError
from dispatcher.policy.verdict import MISSING
from dispatcher.recovery.spill import Spill
from dispatcher.status import BatchState
from dispatcher.store.tables import ATTEMPT
from dispatcher.types import SubmitOutcome
from tests.support.stores import batch_of, begin, campaign_of, claimed, rows, states
from tests.support.turns import ACCEPTED, Accepting, Stand, after
from workers.batch.failures import count_failure, pause_running_campaign
from workers.batch.settle import BatchSettler, EndedRequest, _behind_others


def failed(kind, message="words of the provider", **values):
    return ProviderError(kind, message, **values)


def run(store, error, *, sizes=(2,), provider=Accepting, is_probe=False, **limits):
    """A batch whose first request gets this error."""
    stand = Stand(store, sizes, answers={0: [error]}, **limits)
    claim = replace(stand.claim, is_probe=is_probe)
    stand.batch = replace(stand.batch, provider=provider(stand.limits), claim=claim)
    stand.run()
    return stand


class WithBalance(Accepting):
    """Its provider tells the balance."""

    capabilities = replace(Accepting.capabilities, balance=True)


@pytest.mark.parametrize(
    ("kind", "state", "message", "paused_by", "tries"),
    [
        ("unreachable", "pending", "pending", None, 1),
        ("throttled", "pending", "pending", None, 1),
        ("credentials", "pending", "pending", "credentials", 0),
        ("credit", "pending", "pending", "credit", 0),
        ("configuration", "pending", "pending", "configuration", 0),
        ("campaign", "pending", "pending", None, 0),
        ("recipients", "settled", "rejected", None, 0),
        ("doubtful", "settled", "in_doubt", None, 0),
    ],
)
def test_each_kind_of_error_has_its_consequence(
    sqlite_store, kind, state, message, paused_by, tries
):
    stand = run(sqlite_store, failed(ErrorKind(kind)), max_attempts=3)
    assert (stand.state.label, states(sqlite_store)) == (state, [message] * 2)
    assert (stand.account.paused_by, batch_of(sqlite_store, stand.claim.id).tries) == (
        paused_by, tries,
    )  # fmt: skip
    is_paused = campaign_of(sqlite_store, stand.campaign).state == "paused"
    assert is_paused is (kind == "campaign")
    (attempt,) = rows(sqlite_store, ATTEMPT)
    assert attempt.poll_at is None


@pytest.mark.parametrize(
    ("kind", "goes_on"), [("recipients", True), ("credit", False), ("unreachable", False)]
)
def test_the_rest_of_the_batch_goes_on_where_the_error_says_nothing_about_it(
    sqlite_store, kind, goes_on
):
    stand = run(sqlite_store, failed(ErrorKind(kind)), sizes=(1,) * 5)
    assert stand.sent == ([0, 1, 2, 3, 4] if goes_on else [0, 1])
    assert stand.clock.seen[-1].is_throttled is False


def test_a_batch_that_failed_waits_longer_than_its_account(sqlite_store):
    stand = run(sqlite_store, failed(ErrorKind.THROTTLED, retry_after_s=30))
    batch = batch_of(sqlite_store, stand.claim.id)
    assert after(stand, 30) <= stand.account.not_before < batch.not_before
    assert batch.error == "words of the provider"


def test_a_batch_of_an_account_that_waits_longer_waits_longer_still(sqlite_store):
    stand = Stand(sqlite_store, answers={0: [failed(ErrorKind.THROTTLED, retry_after_s=1)]})
    flight_send = stand.flight.send

    def send(requests):
        flight_send(requests)
        stand.change_account(not_before=after(stand, 900))

    stand.flight.send = send
    stand.run()
    assert batch_of(sqlite_store, stand.claim.id).not_before >= after(stand, 902)


@pytest.mark.parametrize(
    ("account", "opens_s", "waits_s"),
    [("main", None, 10), ("main", 5, 10), ("main", 900, 900), ("gone", 900, 10)],
)
def test_a_failed_batch_waits_for_the_later_of_its_delay_and_its_account(
    sqlite_store, account, opens_s, waits_s
):
    stand = Stand(sqlite_store)
    stand.change_account(not_before=opens_s and after(stand, opens_s))
    claim = replace(stand.claim, account=account)
    with sqlite_store.read() as conn:
        assert _behind_others(conn, claim, after(stand, 10)) == after(stand, waits_s + 2)


def test_a_refusal_for_another_reason_puts_the_check_of_the_balance_off_no_further(sqlite_store):
    """Requests of one account are refused together: the first of them had no credit."""
    stand = Stand(sqlite_store, answers={0: [failed(ErrorKind.CREDENTIALS)]})
    stand.batch = replace(stand.batch, provider=WithBalance(stand.limits))
    flight_send = stand.flight.send

    def send(requests):
        flight_send(requests)
        stand.change_account(paused_by="credit", check_at=after(stand, 60))

    stand.flight.send = send
    stand.run()
    assert (stand.account.paused_by, stand.account.check_at) == ("credit", after(stand, 60))


class Forgetful(Accepting):
    """Its provider has a list, and does not name the recipients of the first request."""

    capabilities = replace(Accepting.capabilities, lists_accepted=True)

    def parse_submit(self, request, response):
        is_first = request.recipients[0].seq == 0
        return SubmitOutcome(results=()) if is_first else super().parse_submit(request, response)


def test_an_acceptance_after_a_doubt_closes_what_was_counted(sqlite_store):
    stand = Stand(sqlite_store, (1, 1), together=True, breaker_after=9)
    stand.change_account(failures=2)
    stand.batch = replace(stand.batch, provider=Forgetful(stand.limits))
    stand.run()
    assert states(sqlite_store) == ["in_doubt", "submitted"]
    assert stand.account.failures == 0


def test_a_probe_that_fails_is_no_try_of_its_batch(sqlite_store):
    stand = Stand(sqlite_store, (1,), answers={0: [failed(ErrorKind.UNREACHABLE)]})
    stand.change_account(breaker="trial", failures=3, breaker_at=stand.now)
    stand.batch = replace(stand.batch, claim=replace(stand.claim, is_probe=True))
    stand.run()
    batch = batch_of(sqlite_store, stand.claim.id)
    assert (stand.state, batch.tries) == (BatchState.PENDING, 0)
    assert stand.account.failures == 4


def test_failures_in_a_row_open_the_breaker_with_the_reason_and_what_to_do(sqlite_store):
    error = failed(ErrorKind.UNREACHABLE, "cannot be reached", hint="check the address")
    stand = run(sqlite_store, error, breaker_after=1)
    assert stand.account.breaker is not None
    assert stand.account.breaker_reason == "cannot be reached (check the address)"


@pytest.mark.parametrize(("kind", "failures"), [("unreachable", 1), ("throttled", 0)])
def test_a_failure_that_opens_nothing_makes_the_account_wait_a_little(sqlite_store, kind, failures):
    stand = run(sqlite_store, failed(ErrorKind(kind)), breaker_after=5)
    assert (stand.account.failures, stand.account.breaker) == (failures, None)
    assert stand.account.not_before is not None


@pytest.mark.parametrize(
    ("kind", "provider", "checked"),
    [
        ("credit", WithBalance, True),
        ("credit", Accepting, False),
        ("credentials", WithBalance, False),
    ],
)
def test_an_empty_balance_is_checked_again_where_the_provider_tells_it(
    sqlite_store, kind, provider, checked
):
    stand = run(sqlite_store, failed(ErrorKind(kind)), provider=provider)
    assert (stand.account.check_at is not None) is checked


def test_an_answer_without_an_error_closes_what_was_counted(sqlite_store):
    stand = Stand(sqlite_store)
    stand.change_account(failures=2)
    stand.run()
    assert (stand.account.failures, stand.account.not_before) == (0, None)


def test_accepted_messages_are_polled(sqlite_store):
    Stand(sqlite_store, (2,)).run()
    (attempt,) = rows(sqlite_store, ATTEMPT)
    assert attempt.poll_at is not None


@pytest.mark.parametrize(
    ("unit", "paid_s"),
    [("messages_per_second", 0.2), ("requests_per_second", 0.1), ("parts_per_second", 0.4)],
)
def test_a_request_pays_each_rate_in_its_own_unit(sqlite_store, unit, paid_s):
    stand = Stand(sqlite_store, (2,), text="x" * 161, **{unit: 10})
    stand.run()
    paid_until = getattr(stand.account, unit.replace("per_second", "paid_until"))
    assert (paid_until - stand.now).total_seconds() >= paid_s - 1e-3
    assert (paid_until - stand.now) < timedelta(seconds=paid_s + 5)


def test_a_contact_list_is_not_polled(sqlite_store):
    stand = Stand(sqlite_store, (1,))
    assert stand.batch.poll_schedule is not None
    listed = replace(stand.batch, campaign=stand.batch.campaign._replace(contact_lists="7"))
    assert listed.poll_schedule is None


@pytest.mark.parametrize(
    ("answer", "has_problem"), [(None, False), ("campaign", True), ("doubtful", True)]
)
def test_a_turn_with_an_error_or_a_doubt_has_a_problem(sqlite_store, answer, has_problem):
    answers = {} if answer is None else {0: [failed(ErrorKind(answer))]}
    assert Stand(sqlite_store, answers=answers).run().has_problem is has_problem


@pytest.mark.parametrize(
    ("kind", "waits"),
    [
        ("unreachable", True),
        ("throttled", True),
        ("credit", True),
        ("credentials", False),
        ("campaign", False),
        ("configuration", False),
    ],
)
def test_a_batch_waits_where_time_may_help(sqlite_store, kind, waits):
    stand = run(sqlite_store, failed(ErrorKind(kind)), max_attempts=3)
    assert (batch_of(sqlite_store, stand.claim.id).not_before is not None) is waits


def test_a_breaker_that_opens_needs_no_further_wait(sqlite_store):
    stand = run(sqlite_store, failed(ErrorKind.UNREACHABLE), breaker_after=1)
    assert (stand.account.breaker is None, stand.account.not_before) == (False, None)


def test_recipients_that_an_answer_does_not_name_are_a_problem(sqlite_store):
    stand = Stand(sqlite_store, (1, 1), together=True, breaker_after=9)
    stand.batch = replace(stand.batch, provider=Forgetful(stand.limits))
    assert stand.run().has_problem


def test_a_doubt_after_an_acceptance_counts_as_a_failure(sqlite_store):
    stand = Stand(sqlite_store, (1, 1), together=True, breaker_after=9)
    stand.batch = replace(stand.batch, provider=Forgetful(stand.limits))
    stand.batch.requests.reverse()
    stand.run()
    assert states(sqlite_store) == ["in_doubt", "submitted"]
    assert stand.account.failures == 1


@pytest.mark.parametrize(
    ("answers", "reason"),
    [
        ({}, None),
        ({0: [failed(ErrorKind.RECIPIENTS)]}, None),
        ({0: [failed(ErrorKind.DOUBTFUL)]}, "2 recipients are in doubt: words of the provider"),
        (None, f"2 recipients are in doubt: {MISSING}"),
    ],
)
def test_whoever_is_in_doubt_is_told_with_the_reason(sqlite_store, caplog, answers, reason):
    stand = Stand(sqlite_store, (2,), answers=answers or {})
    if answers is None:
        stand.batch = replace(stand.batch, provider=Forgetful(stand.limits))
    stand.run()
    told = [words for words in caplog.messages if "in doubt" in words and "requests" not in words]
    told = [words.partition(": ")[2] for words in told if words.startswith("campaign")]
    assert told == ([] if reason is None else [reason])


@pytest.mark.parametrize("is_paused", [False, True])
def test_a_pause_of_the_account_is_told_once(sqlite_store, caplog, is_paused):
    stand = Stand(sqlite_store, answers={0: [failed(ErrorKind.CREDENTIALS)]})
    send = stand.flight.send

    def send_and_pause(requests):
        send(requests)
        if is_paused:
            stand.change_account(paused_by="operator", pause_reason="mine")

    stand.flight.send = send_and_pause
    stand.run()
    told = [words for words in caplog.messages if "is paused" in words]
    words = "account main is paused (credentials): words of the provider"
    assert told == ([] if is_paused else [words])


@pytest.mark.parametrize("place", [0, 1])
def test_an_error_beside_an_acceptance_has_its_consequence(sqlite_store, place):
    answers = {place: [failed(ErrorKind.CREDENTIALS)]}
    stand = Stand(sqlite_store, (1, 1), answers=answers, together=True)
    stand.run()
    assert stand.account.paused_by == "credentials"
    assert sorted(states(sqlite_store)) == ["pending", "submitted"]


@pytest.mark.parametrize("kind", list(ErrorKind))
def test_only_a_request_that_made_no_connection_surely_never_left(sqlite_store, kind):
    stand = Stand(sqlite_store, (1,))
    settler = BatchSettler(stand.services, stand.batch)
    judged = settler.judge_answer(EndedRequest(1, stand.batch.requests[0], failed(kind)))
    assert judged.settlement.never_left is (kind is ErrorKind.UNREACHABLE)


@pytest.mark.parametrize(
    ("failure", "settled"), [(StoreError("it is away"), 1), (StoreDataError("too large"), 0)]
)
def test_a_batch_stays_open_while_one_of_its_answers_is_only_on_disk(
    sqlite_store, tmp_path, failure, settled
):
    """Closed, its messages would be pending again, and sent twice."""
    stand = Stand(sqlite_store, (1, 1))
    (one, two), held = stand.batch.requests, stand.claim
    first, second = begin(sqlite_store, held, [[0], [1]])
    stand.services.spill = Spill(tmp_path)
    settler = BatchSettler(stand.services, stand.batch)
    judged = [
        settler.judge_answer(EndedRequest(attempt, request, ACCEPTED))
        for attempt, request in ((first, one), (second, two))
    ]
    stand.stopping.set()
    stand.services.store = Failing(failure)
    settler.settle_answers(judged[:1], is_last=False)
    stand.services.store = sqlite_store
    settler.settle_answers(judged[1:], is_last=True)
    assert stand.state is BatchState.SUBMITTING
    assert Spill(tmp_path).settle_all(sqlite_store) == settled
    assert states(sqlite_store) == ["submitted" if settled else "pending", "submitted"]


class Failing:
    """A store that takes nothing."""

    def __init__(self, failure):
        self._failure = failure

    @contextmanager
    def write(self, **_values):
        raise self._failure
        yield


def fail_to_build(stand, claim):
    """Count a defect whose words have a number in them."""
    try:
        int("+919800000001-")
    except ValueError as error:
        return count_failure(stand.services, claim, error)


def test_a_batch_whose_requests_cannot_be_built_is_tried_again_and_then_fails(sqlite_store, caplog):
    stand = Stand(sqlite_store, (2,), max_attempts=2)
    words = f"campaign {stand.campaign}, main: its requests could not be built (ValueError)"
    assert fail_to_build(stand, stand.claim) == words
    batch = batch_of(sqlite_store, stand.claim.id)
    assert (stand.state, batch.tries, batch.not_before >= stand.now) == (
        BatchState.PENDING, 1, True,
    )  # fmt: skip
    again = claimed(sqlite_store, now=after(stand, 60))
    fail_to_build(stand, again)
    assert states(sqlite_store) == ["failed"] * 2
    assert "919800000001" not in caplog.text


def test_a_batch_that_has_begun_is_not_failed_by_a_defect(sqlite_store):
    stand = Stand(sqlite_store, (2,), max_attempts=1)
    begin(sqlite_store, stand.claim)
    fail_to_build(stand, stand.claim)
    assert (stand.state, states(sqlite_store)) == (BatchState.SUBMITTING, ["pending"] * 2)


def test_a_pause_of_the_campaign_is_told_once(sqlite_store, caplog):
    stand = Stand(sqlite_store)
    for _ in range(2):
        with sqlite_store.write() as conn:
            pause_running_campaign(conn, stand.claim, "the sender is gone", stand.now)
    assert campaign_of(sqlite_store, stand.campaign).state == "paused"
    words = f"campaign {stand.campaign}, account main: paused: the sender is gone"
    assert caplog.messages == [words]
