"""What is AOC Portal's own: its settings, templates, and the size of its requests."""

import json
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from dispatcher.errors import ProviderError, Refused
from dispatcher.providers.aoc_portal import AOCPortal, AOCPortalSettings
from dispatcher.providers.base import RequestedRoute
from dispatcher.status import Kind
from dispatcher.types import Directory, PollRef, PollTarget, Route
from tests.providers.aoc_portal_cases import BASE, KEY, TEMPLATE, A, B, C, batch, error
from tests.providers.contract import answer


def provider(**changes):
    keys = {"provider": "aoc_portal", "base_url": BASE, "api_key": KEY, **changes}
    return AOCPortal(AOCPortalSettings.model_validate(keys))


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"api_key": ""}, "printable ASCII without spaces"),
        ({"api_key": "two words"}, "printable ASCII without spaces"),
        ({"api_password": "x"}, "Extra inputs"),
        ({"schedule_timezone": "Asia/Kolkata"}, "Extra inputs"),
    ],
)
def test_settings_that_cannot_work_are_refused_without_showing_the_key(changes, complaint):
    with pytest.raises(ValidationError, match=complaint) as caught:
        provider(**changes)
    assert "two words" not in str(caught.value)


def test_a_campaign_without_a_sender_is_refused():
    requested = RequestedRoute(kind=Kind.OTP, sender=None, template=None)
    with pytest.raises(Refused, match="no sender"):
        provider().resolve_route(requested, Directory())


def test_a_template_is_the_id_that_was_given():
    requested = RequestedRoute(kind=Kind.OTP, sender="AOCAPI", template="1507")
    assert provider().resolve_route(requested, Directory()) == Route(
        sender="AOCAPI", template="1507"
    )


def test_recipients_with_a_text_and_with_the_template_alone_get_separate_requests():
    mixed = batch((A, "Hi"), (B, "", ("Ben",)), (C, "Hi"), route=TEMPLATE)

    requests = list(provider().submit_requests(mixed))

    assert [request.http.url for request in requests] == [BASE, f"{BASE}/template"]
    assert [[one.msisdn for one in request.recipients] for request in requests] == [[A, C], [B]]


def test_a_flash_message_from_a_template_alone_is_refused():
    flash = replace(batch((A, ""), route=TEMPLATE), flash=True)
    with pytest.raises(Refused, match="as a flash message") as caught:
        list(provider().submit_requests(flash))
    assert "--text" in caught.value.hint


def test_a_template_value_that_the_provider_quotes_is_hidden():
    (request,) = provider().submit_requests(batch((A, "", ("Asha Rao",)), route=TEMPLATE))

    with pytest.raises(ProviderError) as caught:
        provider().parse_submit(request, answer(error("no such variable: Asha Rao")))
    assert caught.value.message == "no such variable: •••"


def test_a_batch_over_the_number_of_recipients_becomes_several_requests():
    three = batch((A, "Hi"), (B, "Hi"), (C, "Hi"))
    requests = list(provider(max_recipients=2).submit_requests(three))
    assert [json.loads(request.http.body)["to"] for request in requests] == [f"{A},{B}", str(C)]


def test_nothing_is_polled():
    targets = (PollTarget(msisdn=A, provider_message_id="m1"),)
    assert list(provider().poll_requests(PollRef(job_id="j1", targets=targets))) == []


texts = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=100)
names = st.text(st.characters(min_codepoint=32, max_codepoint=126), min_size=1, max_size=128)


@settings(max_examples=50, deadline=None, database=None)
@given(st.lists(texts, min_size=1, max_size=5), names, names)
def test_the_planned_size_of_a_request_is_never_under_its_real_size(bodies, sender, template):
    account = provider()
    route = Route(sender=sender, template=template)
    whole = batch(*((A + seq, body) for seq, body in enumerate(bodies)), route=route)

    for request in account.submit_requests(replace(whole, flash=True)):
        planned = account.envelope_bytes + sum(
            account.recipient_bytes(one.msisdn, one.text) for one in request.recipients
        )
        assert len(request.http.body) <= planned
