"""The simulated voip-communications.net: its document, what real servers add, and our adapter."""

import base64
import json
from datetime import UTC, datetime
from urllib.error import HTTPError
from urllib.parse import urlencode
from urllib.request import Request, urlopen

import pytest

from dispatcher.errors import ErrorKind, ProviderError
from dispatcher.providers.voip_communications.adapter import (
    VoipCommunications,
    VoipCommunicationsSettings,
)
from dispatcher.status import Encoding, Kind, MessageState
from dispatcher.types import HttpResponse, Recipient, Route, SubmitBatch

NAME = "voip_communications"
TEXT = "It is a SMS message"
FORM = "application/x-www-form-urlencoded"
A, B = "12812345678", "12812345679"


def basic(pair):
    return {"Authorization": "Basic " + base64.b64encode(pair.encode()).decode()}


def call(url, body, headers, method="POST"):
    request = Request(url, data=body, headers=headers, method=method)
    try:
        with urlopen(request, timeout=10) as response:
            return response.status, response.headers, response.read()
    except HTTPError as error:
        with error:
            return error.code, error.headers, error.read()


def post(simulator, command, fields, headers=(), method="POST"):
    merged = {"Content-Type": FORM, **basic("any-key:any-password"), **dict(headers)}
    sent = {name: value for name, value in merged.items() if value is not None}
    url = f"{simulator.base_url(NAME)}/{command}"
    status, _, body = call(url, urlencode(fields).encode(), sent, method)
    return status, json.loads(body)


def test_a_message_is_accepted_with_the_documented_answer(simulator):
    fields = {"from": "17134567890", "to": A, "msg": TEXT, "delivery_date": "2030-01-01 13:15"}
    status, answer = post(simulator, "sms/send", fields)

    (sent,) = answer["send_log"]
    assert (status, sent) == (
        200,
        {
            "code": 200,
            "code_desc": "",
            "from": "17134567890",
            "to": A,
            "country": "US",
            "msg": TEXT,
            "delivery_date": "2030-01-01 13:15:00",
            "sale": 0.01,
            "type": "2WAYSMS",
            "status": "SCHEDULED",
            "smsid": sent["smsid"],
        },
    )
    assert len(sent["smsid"]) == len("2017559ea27008c6b7122900621")
    (row,) = simulator.ledger()
    assert (row["number"], row["text"], row["sender_id"]) == (A, TEXT, "17134567890")
    assert (row["delivery_date"], row["message_id"]) == ("2030-01-01 13:15", sent["smsid"])


def test_without_a_sender_a_message_is_bulk(simulator):
    for fields in ({"to": f"{A},{B}", "msg": TEXT}, {"to": A, "msg": TEXT, "from": ""}):
        _, answer = post(simulator, "sms/send", fields)
        assert {one["type"] for one in answer["send_log"]} == {"BULKSMS"}
    assert simulator.stats()["accepted"] == 3


def test_parts_are_charged_and_only_recipients_that_are_not_covered_are_refused(simulator):
    simulator.set_balance(6, provider=NAME)
    _, answer = post(simulator, "sms/send", {"to": A, "msg": "x" * 161})
    assert answer["send_log"][0]["sale"] == 0.02
    assert simulator.stats()["balances"][NAME] == {"cents": 4}

    _, answer = post(simulator, "sms/send", {"to": f"{A},{B}", "msg": "x" * 307})
    assert [(one["code"], one["code_desc"]) for one in answer["send_log"]] == [
        (200, ""),
        (402, "Not enough balance"),
    ]
    assert simulator.stats()["accepted"] == 2
    assert simulator.stats()["balances"][NAME] == {"cents": 1}


GOOD = {"to": A, "msg": TEXT}
MALFORMED = {
    "no recipient": ("sms/send", {"msg": TEXT}, {}, "to is missing"),
    "no text": ("sms/send", {"to": A}, {}, "msg is missing"),
    "a plus": ("sms/send", GOOD | {"to": f"+{A}"}, {}, "digits with country code"),
    "a blank after the comma": ("sms/send", GOOD | {"to": f"{A}, {B}"}, {}, "digits with country"),
    "no number to reply to": ("sms/send", GOOD | {"from": "SHOP"}, {}, "a from is not digits"),
    "seconds": (
        "sms/send",
        GOOD | {"delivery_date": "2030-01-01 13:15:30"},
        {},
        "not YYYY-MM-DD HH:MM",
    ),
    "no such day": (
        "sms/send",
        GOOD | {"delivery_date": "2030-02-30 13:15"},
        {},
        "not YYYY-MM-DD HH:MM",
    ),
    "another field": ("sms/send", GOOD | {"text": TEXT}, {}, "unknown field text"),
    "no credentials": ("sms/send", GOOD, {"Authorization": None}, "not Basic"),
    "a token": ("sms/send", GOOD, {"Authorization": "Bearer abc"}, "not Basic"),
    "no Base64": ("sms/send", GOOD, {"Authorization": "Basic a:b"}, "not Basic"),
    "no form": ("sms/send", {}, {"Content-Type": "application/json"}, "urlencoded"),
    "no page": ("sms/summary", {}, {}, "page is not a number"),
    "a page below 0": ("sms/summary", {"page": "-1"}, {}, "page is not a number"),
    "no such command": ("sms/log", {}, {}, "no such command"),
}


@pytest.mark.parametrize("case", MALFORMED.values(), ids=MALFORMED)
def test_what_breaks_the_document_is_refused_and_counted(simulator, case):
    command, fields, headers, reason = case
    status, answer = post(simulator, command, fields, headers)
    assert status in {401, 404, 422}
    assert answer["error"] is True
    stats = simulator.stats()
    assert (stats["malformed"], stats["accepted"]) == (1, 0)
    assert reason in stats["malformed_reasons"][0]["reason"]


def test_another_method_is_refused(simulator):
    assert post(simulator, "sms/send", GOOD, method="PUT")[0] == 405


@pytest.mark.parametrize("pair", ["bad-key:any-password", "any-key:"])
def test_wrong_credentials_get_401_and_the_documents_words(simulator, pair):
    status, answer = post(simulator, "sms/send", GOOD, basic(pair))
    assert (status, answer["error_message"]) == (401, "Invalid api credentials")
    stats = simulator.stats()
    assert (stats["unauthorized"], stats["malformed"]) == (1, 0)


def account(simulator, **more):
    keys = {"api_key": "any-key", "api_password": "any: password", "schedule_timezone": "UTC"}
    values = {"provider": NAME, "base_url": simulator.base_url(NAME), **keys, **more}
    return VoipCommunications(VoipCommunicationsSettings.model_validate(values))


def answered(http):
    """The answer to an adapter's request, as the transport returns it."""
    status, headers, body = call(http.url, http.body, http.headers, http.method)
    named = {name.lower(): value for name, value in headers.items()}
    return HttpResponse(status=status, headers=named, body=body)


def submitted(provider, numbers, text=TEXT, **more):
    recipients = tuple(Recipient(seq, int(number), text) for seq, number in enumerate(numbers))
    batch = SubmitBatch(
        recipients=recipients,
        encoding=Encoding.GSM7,
        kind=Kind.TRANSACTIONAL,
        route=Route(sender=""),
        **more,
    )
    (request,) = provider.submit_requests(batch)
    return provider.parse_submit(request, answered(request.http))


def pages(provider):
    page = 0
    while page is not None:
        found = provider.parse_list(page, answered(provider.list_request(page)))
        yield found.entries
        page = found.next_page


MAGIC = [f"128555000{tail:02d}" for tail in range(1, 6)]


def test_an_account_submits_and_finds_its_messages_in_the_summary(simulator):
    provider = account(simulator)
    numbers = [*MAGIC, *(str(12812000000 + index) for index in range(40))]
    outcome = submitted(provider, numbers, "नमस्ते & more")

    assert [str(one.msisdn) for one in outcome.results] == numbers[:4] + numbers[5:]
    assert all(one.accepted and one.cost for one in outcome.results)
    every = list(pages(provider))
    assert (len(every[0]), every[-1]) == (25, ())
    found = {str(one.msisdn): one for entries in every for one in entries}
    assert {*numbers} <= {*found}
    assert {one.msisdn: found[str(one.msisdn)].provider_message_id for one in outcome.results} == {
        one.msisdn: one.provider_message_id for one in outcome.results
    }
    assert [(found[number].state, found[number].provisional) for number in MAGIC[:4]] == [
        (MessageState.DELIVERED, False),
        (MessageState.UNDELIVERED, False),
        (MessageState.EXPIRED, True),
        (MessageState.SUBMITTED, False),
    ]
    assert found[MAGIC[4]].text == "नमस्ते & more"
    stats = simulator.stats()
    assert (stats["malformed"], stats["accepted"]) == (0, 45)


def test_the_newest_messages_come_first_and_inbound_ones_are_left_out(simulator):
    provider = account(simulator)
    for number in (A, B):
        submitted(provider, [number])
    simulator.fault("inbound")
    simulator.fault("bare_array", on="lookup")
    entries = next(pages(provider))
    assert [one.msisdn for one in entries[:2]] == [int(B), int(A)]


@pytest.mark.parametrize(
    ("faults", "seen"),
    [
        ({"some_refused": {"share": 0.5}}, {(True, False): 1, (False, False): 1}),
        ({"unknown_code": {"share": 0.5}}, {(True, False): 1, (False, True): 1}),
        ({"missing": {"share": 0.5}}, {(True, False): 1}),
        ({"doubled": {}, "reordered": {}}, {(True, False): 2}),
        ({"bare_array": {}, "code_string": {}, "ten_digit": {}}, {(True, False): 2}),
    ],
)
def test_every_recipient_is_found_in_the_oddest_answers(simulator, faults, seen):
    for name, params in faults.items():
        simulator.fault(name, params=params)
    outcome = submitted(account(simulator), [A, B])
    kinds = [(one.accepted, one.in_doubt) for one in outcome.results]
    assert {kind: kinds.count(kind) for kind in kinds} == seen


def test_one_id_for_all_is_the_requests(simulator):
    simulator.fault("shared_id")
    outcome = submitted(account(simulator), [A, B])
    assert [one.provider_message_id for one in outcome.results] == [None, None]
    assert outcome.job_id == simulator.ledger()[0]["message_id"]


def test_a_scheduled_message_is_in_the_summary_before_its_time(simulator):
    provider = account(simulator)
    submitted(provider, [A], schedule_at=datetime(2099, 1, 1, 9, tzinfo=UTC))
    newest = next(pages(provider))[0]
    assert (newest.raw, newest.state) == ("SCHEDULED", MessageState.SUBMITTED)


@pytest.mark.parametrize(
    ("fault", "params", "kind"),
    [
        ("credentials", {"status": 401}, ErrorKind.CREDENTIALS),
        ("credit", {}, ErrorKind.CREDIT),
        ("throttled", {}, ErrorKind.THROTTLED),
        ("not_found", {}, ErrorKind.CONFIGURATION),
        ("refused_before", {}, ErrorKind.DOUBTFUL),
        ("refused_after", {}, ErrorKind.DOUBTFUL),
        ("html_after", {}, ErrorKind.DOUBTFUL),
        ("error_after", {}, ErrorKind.DOUBTFUL),
    ],
)
def test_a_fault_is_understood(simulator, fault, params, kind):
    simulator.fault(fault, provider=NAME, params=params)
    with pytest.raises(ProviderError) as caught:
        submitted(account(simulator), [A, B])
    assert caught.value.kind is kind


def test_an_account_without_a_summary_says_so(simulator):
    simulator.fault("not_found", on="lookup")
    with pytest.raises(ProviderError, match="no list of its messages") as caught:
        list(pages(account(simulator)))
    assert (caught.value.kind, caught.value.code) == (ErrorKind.CONFIGURATION, "404")
