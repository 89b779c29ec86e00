"""TheSMSPoint only: its settings, the size of its requests, its senders and templates."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from dispatcher.errors import Refused
from dispatcher.providers.base import RequestedRoute
from dispatcher.providers.shared.matching import read_reports
from dispatcher.providers.thesmspoint.adapter import TheSMSPoint, TheSMSPointSettings
from dispatcher.providers.thesmspoint.answers import read_plain_statuses, read_status_entry
from dispatcher.status import Encoding, Kind
from dispatcher.types import (
    Directory,
    PollRef,
    PollTarget,
    Recipient,
    Route,
    SenderId,
    SubmitBatch,
    Template,
)
from tests.providers.thesmspoint_cases import BASE, HEADERS, KEY, REF, ROUTE, A, B, C, status

FIRST = 919810000000


def provider(**changes):
    keys = {"provider": "thesmspoint", "base_url": BASE, "api_key": KEY, **changes}
    return TheSMSPoint(TheSMSPointSettings.model_validate(keys))


def batch(texts, route=ROUTE):
    recipients = tuple(Recipient(seq, FIRST + seq, text) for seq, text in enumerate(texts))
    return SubmitBatch(
        recipients=recipients, encoding=Encoding.GSM7, kind=Kind.PROMOTIONAL, route=route
    )


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"api_key": ""}, "printable ASCII without spaces"),
        ({"api_key": "two words"}, "printable ASCII without spaces"),
        ({"api_key": "line\r\nX-Other: 1"}, "printable ASCII without spaces"),
        ({"channels": {"otp": 4}}, "less than or equal to 3"),
        ({"channels": {"otp": 0}}, "greater than or equal to 1"),
        ({"channels": {"bulk": 1}}, "transactional"),
        ({"max_recipients": 2001}, "`max_recipients` is 2001, but .* allows 2000 at most"),
        ({"max_recipients": 0}, "greater than or equal to 1"),
        ({"api_token": "x"}, "Extra inputs"),
    ],
)
def test_settings_that_cannot_work_are_refused_without_showing_the_key(changes, complaint):
    with pytest.raises(ValidationError, match=complaint) as caught:
        provider(**changes)
    assert KEY not in str(caught.value)
    assert "two words" not in str(caught.value)


def test_a_channel_can_be_set_for_each_kind_and_the_others_keep_their_default():
    account = provider(channels={"promotional": 3})

    assert account.settings.channels == {Kind.TRANSACTIONAL: 1, Kind.PROMOTIONAL: 3, Kind.OTP: 3}
    (request,) = account.submit_requests(batch(["Hi"]))
    assert json.loads(request.http.body)["channel"] == 3


def test_limits_are_the_documents_unless_configured_lower():
    assert (provider().max_recipients, provider().max_parts) == (2000, 5)
    lower = provider(max_recipients=10, max_parts=2)
    assert (lower.max_recipients, lower.max_parts) == (10, 2)


def test_a_batch_over_the_number_of_recipients_becomes_several_requests():
    requests = list(provider(max_recipients=2).submit_requests(batch(["a", "b", "c", "d", "e"])))

    assert [len(request.recipients) for request in requests] == [2, 2, 1]
    assert [request.http.url.rpartition("/")[2] for request in requests] == [
        "send-bulk-sms",
        "send-bulk-sms",
        "send-single-sms",
    ]


def test_a_batch_over_the_size_becomes_requests_under_it():
    limit = 4096
    account = provider(max_request_bytes=limit)
    whole = batch(["x" * 500] * 20)

    requests = list(account.submit_requests(whole))

    assert len(requests) > 1
    assert all(len(request.http.body) <= limit for request in requests)
    assert [one for request in requests for one in request.recipients] == list(whole.recipients)


def test_a_text_that_is_over_the_size_gets_a_request_of_its_own():
    account = provider(max_request_bytes=1024)
    sizes = [len(r.recipients) for r in account.submit_requests(batch(["a", "x" * 2000, "b"]))]
    assert sizes == [1, 1, 1]


texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=200)
refs = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=128)


@settings(max_examples=100, deadline=None, database=None)
@given(st.lists(texts, min_size=1, max_size=5), refs, refs)
def test_the_planned_size_of_a_request_is_never_under_its_real_size(bodies, sender, template):
    account = provider()
    route = Route(sender="S", sender_ref=sender, template_ref=template)

    (request,) = account.submit_requests(batch(bodies, route))

    planned = account.envelope_bytes + sum(
        account.recipient_bytes(one.msisdn, one.text) for one in request.recipients
    )
    assert len(request.http.body) <= planned


@settings(max_examples=50, deadline=None, database=None)
@given(texts)
def test_one_more_recipient_adds_exactly_its_planned_bytes(body):
    account = provider()
    (three,) = account.submit_requests(batch(["a", "b", body]))
    (two,) = account.submit_requests(batch(["a", "b"]))

    added = len(three.http.body) - len(two.http.body)
    assert added == account.recipient_bytes(three.recipients[2].msisdn, body)


@pytest.mark.parametrize(
    "route", [Route(sender="SENDER"), Route(sender="SENDER", sender_ref="1", template="t")]
)
def test_a_route_that_was_not_resolved_sends_nothing(route):
    with pytest.raises(Refused, match="not looked up"):
        list(provider().submit_requests(batch(["Hi"], route)))


def test_a_job_is_polled_by_its_id():
    (request,) = provider().poll_requests(PollRef(job_id="774411", targets=()))

    assert (request.http.method, request.http.url) == ("POST", f"{BASE}/sms-delivery-status")
    assert request.http.headers == HEADERS
    assert json.loads(request.http.body) == {"job_id": "774411"}


def test_the_answer_about_a_job_may_list_all_of_it_though_one_message_is_open():
    entry = {
        "mobile_number": "919810012345", "message_id": "m" * 24, "sender_id": "SENDER",
        "content": "x" * 160, "status_name": "Delivered", "delivery_status_remark": "",
    }  # fmt: skip
    target = PollTarget(msisdn=919810012345, provider_message_id=None)
    (request,) = provider().poll_requests(PollRef(job_id="7", targets=(target,)))
    whole_job = json.dumps({"status": "success", "data": [entry] * 2000})
    assert len(whole_job) < request.http.max_answer_bytes


@pytest.mark.parametrize(
    ("request_of", "command"),
    [
        ("balance_request", "get-sms-balance"),
        ("senders_request", "get-sender-id"),
        ("templates_request", "get-templates"),
    ],
)
def test_balance_senders_and_templates_are_requested_by_post(request_of, command):
    request = getattr(provider(), request_of)()

    assert (request.method, request.url) == ("POST", f"{BASE}/{command}")
    assert request.headers == HEADERS
    assert json.loads(request.body) == {}


def a_sender(ref="41", name="SENDER", kind=Kind.TRANSACTIONAL, status="Approved"):
    return SenderId(ref=ref, name=name, kind=kind, approved=status == "Approved", status=status)


def a_template(
    ref="1107", name="welcome", kind=Kind.TRANSACTIONAL, status="Approved", sender="SENDER", **more
):
    return Template(
        ref=ref,
        name=name,
        text="Hi",
        kind=kind,
        approved=status == "Approved",
        status=status,
        sender=sender,
        **more,
    )


def resolved(senders, templates, *, sender="SENDER", template="welcome", kind=Kind.TRANSACTIONAL):
    requested = RequestedRoute(kind=kind, sender=sender, template=template)
    route = provider().resolve_route(requested, Directory(senders=senders, templates=templates))
    return route.sender, route.sender_ref, route.template, route.template_ref


OTHER = a_sender(ref="42", name="Sender")


@pytest.mark.parametrize(
    ("senders", "templates", "requested", "found"),
    [
        ([a_sender()], [a_template()], {}, ("SENDER", "41", "welcome", "1107")),
        ([a_sender()], [a_template()], {"sender": "41"}, ("SENDER", "41", "welcome", "1107")),
        ([a_sender()], [a_template()], {"sender": "sender"}, ("SENDER", "41", "welcome", "1107")),
        (
            [a_sender(), OTHER],
            [a_template()],
            {"sender": "Sender"},
            ("Sender", "42", "welcome", "1107"),
        ),
        ([a_sender()], [a_template()], {"template": "1107"}, ("SENDER", "41", "welcome", "1107")),
        (
            [a_sender()],
            [a_template(id="7")],
            {"template": "7"},
            ("SENDER", "41", "welcome", "1107"),
        ),
        (
            [a_sender()],
            [a_template(name="")],
            {"template": "1107"},
            ("SENDER", "41", "1107", "1107"),
        ),
        ([a_sender()], [a_template(sender="41")], {}, ("SENDER", "41", "welcome", "1107")),
        ([a_sender()], [a_template(sender=None)], {}, ("SENDER", "41", "welcome", "1107")),
        (
            [a_sender(kind=None)],
            [a_template(kind=None)],
            {"kind": Kind.OTP},
            ("SENDER", "41", "welcome", "1107"),
        ),
        (  # the same name registered for two kinds, and once pending
            [
                a_sender(ref="40", status="Pending"),
                a_sender(ref="41", kind=Kind.PROMOTIONAL),
                a_sender(ref="42"),
            ],
            [a_template(kind=Kind.OTP, ref="1"), a_template(ref="2")],
            {},
            ("SENDER", "42", "welcome", "2"),
        ),
    ],
)
def test_a_campaign_finds_its_sender_and_template(senders, templates, requested, found):
    assert resolved(senders, templates, **requested) == found


@pytest.mark.parametrize(
    ("senders", "templates", "requested", "says", "hints"),
    [
        ([a_sender()], [], {"sender": None}, "no sender", "--sender"),
        ([a_sender()], [a_template()], {"template": None}, "without a template", "--template"),
        ([a_sender()], [a_template()], {"sender": "OTHER"}, "no sender 'OTHER'", "it has SENDER"),
        ([], [], {}, "no sender 'SENDER'", "it has none"),
        (
            [a_sender()],
            [a_template()],
            {"template": "bye"},
            "no template 'bye'",
            "it has welcome (1107)",
        ),
        ([a_sender(status="Pending")], [a_template()], {}, "sender 'SENDER'.*: Pending", "wait"),
        ([a_sender(status="")], [a_template()], {}, "sender 'SENDER'.*: not approved", "wait"),
        ([a_sender()], [a_template(status="Pending")], {}, "'welcome'.*: Pending", "wait"),
        (
            [a_sender()],
            [a_template()],
            {"kind": Kind.OTP},
            "campaign is otp, but the sender 'SENDER' is transactional",
            "--kind transactional",
        ),
        (
            [a_sender()],
            [a_template(kind=Kind.PROMOTIONAL)],
            {},
            "campaign is transactional, but the template 'welcome' is promotional",
            "--kind promotional",
        ),
        (
            [a_sender()],
            [a_template(sender="SHOP")],
            {},
            "template 'welcome' belongs to the sender 'SHOP', not to 'SENDER'",
            "--sender SHOP",
        ),
        (
            [a_sender()],
            [a_template(ref="1"), a_template(ref="2")],
            {},
            "41 with 1, 41 with 2",
            "id instead of",
        ),
        (
            [a_sender(name="Sender"), a_sender(name="sender", ref="9")],
            [a_template()],
            {"sender": "SENDER"},
            "several senders",
            "id instead of",
        ),
        (
            [a_sender(name=f"S{number}") for number in range(15)],
            [],
            {},
            "no sender",
            "S9 and 5 more",
        ),
    ],
)
def test_a_route_that_does_not_fit_is_refused_with_the_remedy(
    senders, templates, requested, says, hints
):
    with pytest.raises(Refused, match=says) as caught:
        resolved(senders, templates, **requested)
    assert hints in caught.value.hint


def test_a_number_is_sent_as_digits():
    recipients = (Recipient(0, A, "Hi"),)
    one = SubmitBatch(
        recipients=recipients, encoding=Encoding.GSM7, kind=Kind.OTP, route=ROUTE, flash=False
    )
    (request,) = provider().submit_requests(one)
    assert json.loads(request.http.body)["recipient"] == "919810012345"


_WORDS = st.sampled_from(
    ["Sent", "Delivered", "delivered ", "UnDelivered", "U", "Expired", "New", "", 5]
)
_ENTRIES = st.builds(
    lambda word, number, message_id, more: status(word, number, message_id) | more,
    _WORDS,
    st.sampled_from([str(A), str(B), str(C), f"+{A}", "9810012345", None]),
    st.sampled_from(["m1", "m2", "m3", None]),
    st.sampled_from([{}, {}, {"delivery_status_remark": ""}, {"delivery_status_remark": "Absent"}]),
)


@given(st.lists(_ENTRIES, max_size=4))
def test_a_list_of_statuses_is_read_together_as_entry_by_entry(entries):
    found = read_plain_statuses(entries, REF.targets)
    if found is not None:
        assert found == read_reports(entries, REF.targets, read_status_entry)


def test_a_usual_list_of_statuses_is_read_together():
    entries = [status("Sent", str(C), "m3"), status("Delivered", str(B), "m2")]
    (report,) = read_plain_statuses(entries, REF.targets)
    assert (report.msisdn, report.raw, report.provider_message_id) == (B, "Delivered", "m2")


@given(st.lists(st.text('aé"\\\n\x7f\u2028नम€😀 ', max_size=5), max_size=4))
def test_many_texts_are_measured_as_one_by_one(texts):
    msisdns = [10 ** (9 + place) for place in range(len(texts))]
    alone = [*map(provider().recipient_bytes, msisdns, texts)]
    assert provider().list_bytes(msisdns, texts) == alone


def test_the_size_of_a_group_is_the_sum_of_its_recipients():
    for texts in (["Hi", "Bye"], ["Hi", 'say "hi"'], ["नमस्ते", "Hi"]):
        group = batch(texts).recipients
        whole = sum(provider().recipient_bytes(one.msisdn, one.text) for one in group)
        assert provider().group_bytes(group) == whole
