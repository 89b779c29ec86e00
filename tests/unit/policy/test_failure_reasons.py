"""Reasons: how they are named and chosen, and that every provider's words are explained."""

import pytest

from dispatcher.policy.failure_reasons import explain_reason, matches_reason, reason_words
from dispatcher.providers import provider_class, provider_names
from dispatcher.status import MessageState
from dispatcher.store.retries import RETRYABLE

REASONS = [
    # code, words, as it is shown
    (None, None, "no reason given"),
    ("42", "blocked", "42: blocked"),
    (None, "UnDelivered", "UnDelivered"),
    ("Absent subscriber", "UnDelivered", "Absent subscriber"),
    ("rejected", "rejected: no route", "rejected: no route"),
    ("42", "invalid number 9198••••4321", "42: invalid number •••"),
]


@pytest.mark.parametrize(("code", "words", "shown"), REASONS)
def test_a_reason_is_what_was_said_without_numbers(code, words, shown):
    assert reason_words(code, words) == shown
    assert matches_reason([shown.upper()], code, words) is True
    assert matches_reason(["something else"], code, words) is False


def test_recipients_with_other_numbers_in_their_words_have_one_reason():
    words = {reason_words(None, f"invalid number 91{n}••••{n}") for n in range(1000, 1010)}
    assert words == {"invalid number •••"}


MEANINGS = [
    # state, code, words, whether another attempt may help, a part of what it means
    ("undelivered", "Absent subscriber", "UnDelivered", True, "off or had no signal"),
    ("undelivered", "DND active", "UnDelivered", False, "opt-outs"),
    ("undelivered", None, "Undelivered", True, "did not arrive"),
    ("rejected", "400", "invalid phone number", False, "cannot receive SMS"),
    ("failed", None, "no connection to example.com: timed out", True, "could not be reached"),
    ("failed", None, "the text has 6 parts", False, "longer"),
    ("expired", None, None, True, "validity ended"),
]


@pytest.mark.parametrize(("state", "code", "words", "helps", "meaning"), MEANINGS)
def test_words_that_gateways_share_are_explained(state, code, words, helps, meaning):
    found = explain_reason(MessageState[state.upper()], code, words, {})
    assert found.may_help is helps
    assert meaning in found.meaning
    assert found.advice


@pytest.mark.parametrize("name", provider_names())
def test_a_providers_own_words_count_first(name):
    reasons = provider_class(name).reasons
    for word, explanation in reasons.items():
        assert word == " ".join(word.casefold().split())
        assert (
            explain_reason(MessageState.REJECTED, None, f"{word.upper()}.", reasons) == explanation
        )


def test_every_state_that_may_be_retried_has_a_meaning():
    for state in RETRYABLE:
        assert explain_reason(state, None, None, {}).meaning
