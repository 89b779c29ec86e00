"""The Ultimate SMS family only: presets, senders, scheduling, contact lists, lookups."""

import json
from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from dispatcher.errors import ErrorKind, ProviderError, Refused
from dispatcher.providers.base import RequestedRoute
from dispatcher.providers.ultimate_sms.adapter import (
    SMSNOC,
    StandingTech,
    UltimateSMS,
    UltimateSMSSettings,
)
from dispatcher.status import Kind
from dispatcher.types import Directory, PollRef, PollTarget, RecipientResult, Route
from tests.providers.contract import answer
from tests.providers.ultimate_sms_family import HEADERS, SETTINGS, A, B, batch, one, success

BASE = "https://sms.example.com/api/v3"
AT = datetime(2026, 12, 20, 1, 0, tzinfo=UTC)


def provider(cls=UltimateSMS, **changes):
    keys = {"provider": cls.name, "base_url": BASE, **SETTINGS, **changes}
    return cls(UltimateSMSSettings.model_validate(keys))


def body(request):
    return json.loads(request.body)


def test_a_name_is_a_preset_of_the_family_and_a_server_without_one_needs_its_url():
    assert {cls.name: cls.default_base_url for cls in (SMSNOC, StandingTech, UltimateSMS)} == {
        "smsnoc": "https://app.smsnoc.com/api/v3",
        "standingtech": "https://sms.standingtech.com/api/v3",
        "ultimate_sms": None,
    }
    with pytest.raises(ValidationError, match="base_url"):
        UltimateSMSSettings.model_validate({"provider": "ultimate_sms", **SETTINGS})


def test_standingtech_has_what_its_document_has():
    has = {
        cls.name: (cls.capabilities.balance, cls.capabilities.contact_lists)
        for cls in (SMSNOC, StandingTech, UltimateSMS)
    }
    assert has == {
        "smsnoc": (True, True),
        "standingtech": (False, False),
        "ultimate_sms": (True, True),
    }


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"api_token": "7| two"}, "printable ASCII without spaces"),
        ({"schedule_timezone": "Asia/Dacca City"}, "must be a time zone such as"),
        ({"schedule_timezone": "../etc/passwd"}, "must be a time zone such as"),
        ({"schedule_timezone": ""}, "must be a time zone such as"),
        ({"api_key": "x"}, "Extra inputs"),
    ],
)
def test_settings_that_cannot_work_are_refused_without_showing_the_token(changes, complaint):
    with pytest.raises(ValidationError, match=complaint) as caught:
        provider(**changes)
    assert SETTINGS["api_token"] not in str(caught.value)


def test_a_time_zone_may_be_an_offset():
    (request,) = provider(schedule_timezone="+0630").submit_requests(
        batch((A, "Hi"), schedule_at=AT)
    )
    assert body(request.http)["schedule_time"] == "2026-12-20 07:30"


def test_a_hundred_recipients_share_a_request_unless_configured_otherwise():
    whole = batch(*((A + index, "Hi") for index in range(250)))

    def sizes(**changes):
        return [len(r.recipients) for r in provider(**changes).submit_requests(whole)]

    assert sizes() == [100, 100, 50]
    assert sizes(max_recipients=20) == [20] * 12 + [10]
    assert sizes(max_recipients=250) == [250]


def test_a_batch_over_the_size_becomes_requests_under_it():
    limit = 2048
    whole = batch(*((A + index, "x" * 500) for index in range(20)))
    requests = list(provider(max_request_bytes=limit).submit_requests(whole))

    assert len(requests) > 1
    assert all(len(request.http.body) <= limit for request in requests)
    assert [one for request in requests for one in request.recipients] == list(whole.recipients)


texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=60)
ids = st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=128)


@settings(max_examples=100, deadline=None, database=None)
@given(st.lists(texts, min_size=1, max_size=6), ids | st.none())
def test_the_planned_size_of_a_request_is_never_under_its_real_size(bodies, template):
    account = provider()
    route = Route(sender='"' * 11, template=template)
    whole = batch(*((A + i, text) for i, text in enumerate(bodies)), route=route, schedule_at=AT)

    for request in account.submit_requests(whole):
        planned = account.envelope_bytes + sum(
            account.recipient_bytes(one.msisdn, one.text) for one in request.recipients
        )
        assert len(request.http.body) <= planned


@settings(max_examples=50, deadline=None, database=None)
@given(st.lists(st.sampled_from(["a", "b", "c"]), min_size=1, max_size=30))
def test_every_recipient_gets_its_own_text_once(chosen):
    whole = batch(*((A + index, text) for index, text in enumerate(chosen)))

    sent = {}
    for request in provider(max_recipients=4).submit_requests(whole):
        fields = body(request.http)
        for number in fields["recipient"].split(","):
            assert number not in sent
            sent[number] = fields["message"]
        assert len(request.recipients) <= 4

    assert sent == {str(one.msisdn): one.text for one in whole.recipients}


@pytest.mark.parametrize(
    ("sender", "fits"),
    [
        ("YourName", True),
        ("ELEVENCHARS", True),
        ("TWELVE_CHARS", False),
        ("8801712345678", True),
        ("+880171234567890", True),
        ("8801712345678901", False),
        ("88017123x5678", False),
        ("८८०१७१२३४५६७", False),
    ],
)
def test_a_sender_is_a_telephone_number_or_at_most_eleven_characters(sender, fits):
    requested = RequestedRoute(kind=Kind.PROMOTIONAL, sender=sender, template="1107")
    if fits:
        assert provider().resolve_route(requested, Directory()) == Route(
            sender=sender, template="1107"
        )
        return
    with pytest.raises(Refused, match=f"has {len(sender)} characters") as caught:
        provider().resolve_route(requested, Directory())
    assert "--sender" in caught.value.hint


def test_a_campaign_without_a_sender_is_refused():
    with pytest.raises(Refused, match="no sender"):
        provider().resolve_route(
            RequestedRoute(kind=Kind.OTP, sender=None, template=None), Directory()
        )


def scheduled(**changes):
    (request,) = provider(**changes).submit_requests(batch((A, "Hi"), (B, "Hi"), schedule_at=AT))
    return request


def test_scheduling_without_a_time_zone_is_refused_with_the_remedy():
    with pytest.raises(Refused) as caught:
        scheduled(schedule_timezone=None)
    assert "`schedule_timezone`" in caught.value.hint


ALL = (RecipientResult(msisdn=A, accepted=True), RecipientResult(msisdn=B, accepted=True))


@pytest.mark.parametrize(
    "data", [{}, {"data": None}, {"data": []}, {"data": "sms reports with all details"}]
)
def test_a_scheduled_send_is_accepted_without_reports_and_another_is_not(data):
    said = answer({"status": "success", "message": "Your message was scheduled", **data})
    assert provider().parse_submit(scheduled(), said).results == ALL

    (at_once,) = provider().submit_requests(batch((A, "Hi"), (B, "Hi")))
    with pytest.raises(ProviderError) as caught:
        provider().parse_submit(at_once, said)
    assert caught.value.kind is ErrorKind.DOUBTFUL


def test_a_recipient_that_a_scheduled_answer_names_as_invalid_is_in_doubt():
    said = answer({"status": "success", "message": f"Scheduled. Invalid numbers: +{A}, 1234567"})
    assert provider().parse_submit(scheduled(), said).results == ALL[1:]


def test_a_scheduled_answer_with_reports_accepts_only_the_reported_recipients():
    outcome = provider().parse_submit(scheduled(), answer(success([one(str(B), "6b2")])))
    assert [(r.msisdn, r.provider_message_id) for r in outcome.results] == [(B, "6b2")]


def test_a_text_about_scheduling_does_not_make_a_request_scheduled():
    (request,) = provider().submit_requests(batch((A, '"schedule_time": "2026-12-20 07:00"')))
    with pytest.raises(ProviderError):
        provider().parse_submit(request, answer({"status": "success"}))


def test_messages_are_asked_about_one_by_one_and_those_without_an_id_not_at_all():
    with_id, odd = PollTarget(msisdn=A, provider_message_id="6a1"), "a/b?c=1"
    targets = (
        with_id,
        PollTarget(msisdn=B, provider_message_id=None),
        PollTarget(msisdn=B, provider_message_id=odd),
    )
    first, second = provider().poll_requests(PollRef(job_id=None, targets=targets))

    assert (first.http.method, first.http.url) == ("GET", f"{BASE}/sms/6a1")
    assert (first.http.headers, first.http.body) == (HEADERS, None)
    assert first.targets == (with_id,)
    assert second.http.url == f"{BASE}/sms/a%2Fb%3Fc%3D1"


def test_pages_are_asked_for_from_one_on():
    urls = [provider().list_request(page).url for page in (0, 7)]
    assert urls == [f"{BASE}/sms?page=1", f"{BASE}/sms?page=8"]
    assert provider().list_request(0).method == "GET"


def test_the_balance_is_asked_for_by_get():
    request = provider().balance_request()
    assert (request.method, request.url, request.headers) == ("GET", f"{BASE}/balance", HEADERS)


def test_contact_lists_are_named_in_both_fields_of_the_document():
    request = provider().contact_list_request(
        batch((A, "Hi all"), schedule_at=AT), ["6f01", "6f02"]
    )
    assert (request.method, request.url, request.headers) == (
        "POST",
        f"{BASE}/sms/campaign",
        HEADERS,
    )
    assert body(request) == {
        "contact_list_id": "6f01,6f02",
        "recipient": "6f01,6f02",
        "sender_id": "YourName",
        "type": "plain",
        "message": "Hi all",
        "schedule_time": "2026-12-20 07:00",
    }
