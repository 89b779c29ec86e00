"""What an answer means for its recipients: accepted, refused, or in doubt."""

from decimal import Decimal

import pytest

from dispatcher.errors import ErrorKind, ProviderError
from dispatcher.policy.verdict import (
    MISSING,
    Accepted,
    NotAccepted,
    judge_answer,
    judge_error,
    partial_stop_error,
)
from dispatcher.status import AttemptOutcome
from dispatcher.types import Recipient, RecipientResult, SubmitOutcome

RECIPIENTS = [Recipient(7, 919_800_000_001, "a"), Recipient(8, 919_800_000_002, "b")]
ONE, TWO = (recipient.msisdn for recipient in RECIPIENTS)


def yes(msisdn, **values):
    return RecipientResult(msisdn=msisdn, accepted=True, **values)


def no(msisdn):
    return RecipientResult(msisdn=msisdn, accepted=False, error_code="42", error="blocked")


TAKEN_1, TAKEN_2 = Accepted(7, None, None), Accepted(8, None, None)
BLOCKED_1, BLOCKED_2 = NotAccepted(7, "42", "blocked"), NotAccepted(8, "42", "blocked")
MISSING_1, MISSING_2 = NotAccepted(7, None, MISSING), NotAccepted(8, None, MISSING)


@pytest.mark.parametrize(
    ("results", "accepted", "rejected", "doubtful", "outcome"),
    [
        pytest.param([yes(ONE), yes(TWO)], [TAKEN_1, TAKEN_2], [], [], "answered", id="all"),
        pytest.param([yes(TWO), yes(ONE)], [TAKEN_1, TAKEN_2], [], [], "answered", id="swapped"),
        pytest.param([no(ONE), yes(TWO)], [TAKEN_2], [BLOCKED_1], [], "answered", id="some"),
        pytest.param([no(ONE), no(TWO)], [], [BLOCKED_1, BLOCKED_2], [], "answered", id="none"),
        pytest.param([yes(TWO)], [TAKEN_2], [], [MISSING_1], "answered", id="one is missing"),
        pytest.param([no(TWO)], [], [BLOCKED_2], [MISSING_1], "answered", id="missing beside no"),
        pytest.param([], [], [], [MISSING_1, MISSING_2], "doubtful", id="no results"),
        pytest.param([yes(1)], [], [], [MISSING_1, MISSING_2], "doubtful", id="a stranger"),
        pytest.param([no(ONE), yes(ONE)], [TAKEN_1], [], [MISSING_2], "answered", id="no, yes"),
        pytest.param([yes(ONE), no(ONE)], [TAKEN_1], [], [MISSING_2], "answered", id="yes, no"),
    ],
)
def test_results_are_matched_by_number(results, accepted, rejected, doubtful, outcome):
    verdict = judge_answer(RECIPIENTS, SubmitOutcome(results=tuple(results), job_id="job"))
    assert list(verdict.accepted) == accepted
    assert list(verdict.rejected) == rejected
    assert list(verdict.doubtful) == doubtful
    assert verdict.outcome.label == outcome
    assert verdict.job_id == "job"


def test_the_first_of_several_entries_of_one_outcome_counts():
    given = [yes(ONE, provider_message_id=name) for name in ("first", "second")]
    given += [no(TWO)._replace(error=name) for name in ("first", "second")]
    verdict = judge_answer(RECIPIENTS, SubmitOutcome(results=tuple(given)))
    assert [one.provider_message_id for one in verdict.accepted] == ["first"]
    assert [one.error for one in verdict.rejected] == ["first"]


def unsent(msisdn):
    return RecipientResult(
        msisdn=msisdn, accepted=False, unsent=True, error_code="402", error="no balance"
    )


@pytest.mark.parametrize(
    ("results", "doubtful", "outcome"),
    [
        pytest.param([yes(ONE), unsent(TWO)], [], "answered", id="beside an accepted one"),
        pytest.param([unsent(ONE), unsent(TWO)], [], "refused", id="alone"),
        pytest.param([unsent(TWO)], [MISSING_1], "doubtful", id="beside a missing one"),
    ],
)
def test_a_recipient_that_was_unsent_because_of_the_account_stays_pending(
    results, doubtful, outcome
):
    answer = SubmitOutcome(results=tuple(results), stopped_by=ErrorKind.CREDIT)
    verdict, why = judge_answer(RECIPIENTS, answer), partial_stop_error(answer)
    assert (list(verdict.rejected), list(verdict.doubtful)) == ([], doubtful)
    assert verdict.outcome.label == outcome
    assert (why.kind, why.message, why.code) == (ErrorKind.CREDIT, "no balance", "402")


@pytest.mark.parametrize(
    ("cost", "stored"),
    [
        ("0.25", "0.25"),
        ("-1", "-1"),
        ("999999999.9", "999999999.9"),
        ("1000000000", None),
        ("1e30", None),
        ("NaN", None),
        ("Infinity", None),
        (None, None),
    ],
)
def test_a_price_that_the_store_cannot_hold_is_left_out(cost, stored):
    result = yes(ONE, provider_message_id="x", cost=None if cost is None else Decimal(cost))
    (accepted,) = judge_answer(RECIPIENTS[:1], SubmitOutcome(results=(result,))).accepted
    assert accepted == Accepted(7, "x", None if stored is None else Decimal(stored))


@pytest.mark.parametrize(("first", "second"), [("0.25", None), (None, "0.5"), ("1e30", "2")])
def test_each_accepted_recipient_has_its_own_price(first, second):
    prices = [None if price is None else Decimal(price) for price in (first, second)]
    results = (yes(TWO, cost=prices[1]), yes(ONE, cost=prices[0]))
    accepted = judge_answer(RECIPIENTS, SubmitOutcome(results=results)).accepted
    stored = [None if price == Decimal("1e30") else price for price in prices]
    assert [*accepted] == [Accepted(7, None, stored[0]), Accepted(8, None, stored[1])]


@pytest.mark.parametrize("kind", ErrorKind)
def test_a_failed_request_leaves_doubt_refuses_or_changes_nothing(kind):
    error = ProviderError(kind, "the provider's words", code="500")
    verdict = judge_error(RECIPIENTS, error)
    everybody = [
        NotAccepted(7, "500", "the provider's words"),
        NotAccepted(8, "500", error.message),
    ]
    assert verdict.accepted == ()
    assert list(verdict.doubtful) == (everybody if kind is ErrorKind.DOUBTFUL else [])
    assert list(verdict.rejected) == (everybody if kind is ErrorKind.RECIPIENTS else [])
    is_doubt = kind is ErrorKind.DOUBTFUL
    assert verdict.outcome is (AttemptOutcome.DOUBTFUL if is_doubt else AttemptOutcome.REFUSED)
    assert (verdict.error_code, verdict.error) == ("500", "the provider's words")
