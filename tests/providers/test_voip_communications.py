"""voip-communications.net only: its settings, senders, dates, sizes and its summary."""

from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from dispatcher.errors import Refused
from dispatcher.policy.verdict import judge_answer
from dispatcher.providers.base import RequestedRoute
from dispatcher.providers.voip_communications.adapter import (
    VoipCommunications,
    VoipCommunicationsSettings,
)
from dispatcher.status import AttemptOutcome, Encoding, Kind
from dispatcher.types import Directory, HttpRequest, Recipient, Route, SubmitBatch, SubmitRequest
from tests.providers.contract import answer
from tests.providers.test_contract import decoded
from tests.providers.voip_communications_cases import (
    BASE,
    BASIC,
    HEADERS,
    PASSWORD,
    SETTINGS,
    A,
    B,
    C,
    entry,
    listing,
    log,
    summed,
)

FIRST = 12812000000


def provider(**changes):
    keys = {"provider": "voip_communications", "base_url": BASE, **SETTINGS, **changes}
    return VoipCommunications(VoipCommunicationsSettings.model_validate(keys))


def batch(texts, **more):
    recipients = tuple(Recipient(seq, FIRST + seq, text) for seq, text in enumerate(texts))
    return SubmitBatch(
        recipients=recipients,
        encoding=Encoding.GSM7,
        kind=Kind.PROMOTIONAL,
        **({"route": Route(sender="")} | more),
    )


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"api_key": ""}, "printable and not empty"),
        ({"api_key": "not:a-key"}, "must not contain a colon"),
        ({"api_password": ""}, "printable and not empty"),
        ({"api_password": "not\r\nmine"}, "printable and not empty"),
        ({"schedule_timezone": "Chicago"}, "must be a time zone"),
        ({"schedule_timezone": "../etc/passwd"}, "must be a time zone"),
        ({"api_token": "x"}, "Extra inputs"),
    ],
)
def test_settings_that_cannot_work_are_refused_without_showing_the_secrets(changes, complaint):
    with pytest.raises(ValidationError, match=complaint) as caught:
        provider(**changes)
    assert PASSWORD not in str(caught.value)
    assert "not:a-key" not in str(caught.value)


def test_the_credentials_are_a_secret_also_as_the_header_carries_them():
    assert set(provider().secrets) == {SETTINGS["api_key"], PASSWORD, BASIC}


@pytest.mark.parametrize("requested_sender", [None, "", "  "])
def test_a_campaign_without_a_sender_is_sent_as_bulk(requested_sender):
    requested = RequestedRoute(kind=Kind.PROMOTIONAL, sender=requested_sender, template=None)
    route = provider().resolve_route(requested, Directory())

    (request,) = provider().submit_requests(batch(["Hi"], route=route))
    assert "from" not in decoded(request.http)


@pytest.mark.parametrize("requested_sender", ["+1 (713) 456-7890", "17134567890", "0017134567890"])
def test_a_sender_is_sent_as_digits(requested_sender):
    requested = RequestedRoute(kind=Kind.OTP, sender=requested_sender, template=None)
    assert provider().resolve_route(requested, Directory()) == Route(sender="17134567890")


@pytest.mark.parametrize(
    ("requested", "says", "hints"),
    [
        ({"sender": "SHOP"}, "'SHOP' is not a phone number", "leave out the sender to use BULK"),
        ({"sender": "1" * 16}, "is not a phone number", "a number of the account"),
        ({"template": "welcome"}, "has no templates", "leave out --template"),
    ],
)
def test_a_route_that_does_not_fit_is_refused_with_the_remedy(requested, says, hints):
    requested = RequestedRoute(**({"kind": Kind.OTP, "sender": None, "template": None} | requested))
    with pytest.raises(Refused, match=says) as caught:
        provider().resolve_route(requested, Directory())
    assert hints in caught.value.hint


@pytest.mark.parametrize(
    ("zone", "at", "says"),
    [
        (None, datetime(2026, 7, 1, 14, tzinfo=UTC), "time zone, which is not configured"),
        ("America/Chicago", datetime(2026, 11, 1, 6, 30, tzinfo=UTC), "01:30 comes twice"),
    ],
)
def test_a_time_that_has_no_clear_minute_at_the_provider_is_refused(zone, at, says):
    account = provider(schedule_timezone=zone)
    with pytest.raises(Refused, match=says):
        list(account.submit_requests(batch(["Hi"], schedule_at=at)))


def test_a_batch_over_the_number_of_recipients_becomes_several_requests():
    requests = list(provider(max_recipients=2).submit_requests(batch(["a", "b", "a", "a", "b"])))

    assert [decoded(request.http)["msg"] for request in requests] == ["a", "a", "b"]
    assert [len(request.recipients) for request in requests] == [2, 1, 2]


texts = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=100)


@settings(max_examples=50, deadline=None, database=None)
@given(st.lists(texts, min_size=1, max_size=5))
def test_the_planned_size_of_a_request_is_never_under_its_real_size(bodies):
    account = provider()
    at = datetime(2026, 7, 1, 14, tzinfo=UTC)
    whole = batch(bodies, route=Route(sender="9" * 15), schedule_at=at)

    for request in account.submit_requests(whole):
        planned = account.envelope_bytes + sum(
            account.recipient_bytes(one.msisdn, one.text) for one in request.recipients
        )
        assert len(request.http.body) <= planned


def test_an_unknown_refusal_leaves_a_doubt_with_the_providers_text():
    recipients = tuple(Recipient(seq, msisdn, "Hi") for seq, msisdn in enumerate((A, B, C)))
    request = SubmitRequest(http=HttpRequest(method="POST", url=BASE), recipients=recipients)
    said = log(entry(str(A), "s1"), entry(str(B), "", code=777, desc="Carrier window"))

    verdict = judge_answer(recipients, provider().parse_submit(request, answer(said)))

    assert verdict.outcome is AttemptOutcome.ANSWERED
    assert [one.seq for one in verdict.accepted] == [0]
    assert verdict.rejected == []
    assert [(one.seq, one.error_code, one.error) for one in verdict.doubtful] == [
        (1, "777", "Carrier window"),
        (2, None, "the provider's answer does not mention this recipient"),
    ]


def test_the_summary_is_asked_for_by_page():
    request = provider().list_request(3)

    assert (request.method, request.url) == ("POST", f"{BASE}/sms/summary")
    assert request.headers == HEADERS
    assert decoded(request) == {"page": "3"}


def test_the_dates_of_the_summary_are_unusable_without_a_time_zone():
    page = listing("", {"summary": [summed(str(A), "1")]}, None)
    (listed,) = provider(schedule_timezone=None).parse_list(0, page.response).entries
    assert listed.created_at is None
