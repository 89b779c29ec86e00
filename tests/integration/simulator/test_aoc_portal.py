"""The simulated AOC Portal: its document, and our adapter against it."""

import json
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest

from dispatcher.errors import ErrorKind, ProviderError
from dispatcher.providers.aoc_portal import AOCPortal, AOCPortalSettings
from dispatcher.simulator.families.aoc_portal import TEMPLATES
from dispatcher.status import Encoding, Kind
from dispatcher.types import HttpResponse, Recipient, Route, SubmitBatch

NAME = "aoc_portal"
A, B = "919810012345", "919810067890"
WITH_VARIABLES, WITHOUT = TEMPLATES
ONE = {"sender": "AOCAPI", "to": A, "text": "Hello World!", "type": "TRANS"}
FROM_TEMPLATE = {
    "sender": "AOCAPI",
    "to": A,
    "templateId": WITH_VARIABLES,
    "custom": ["Asha", "7"],
    "type": "TRANS",
}


def call(url, body, headers, method="POST"):
    request = Request(url, data=body, headers=headers, method=method)
    try:
        with urlopen(request, timeout=10) as response:
            return response.status, response.headers, response.read()
    except HTTPError as error:
        with error:
            return error.code, error.headers, error.read()


def post(simulator, fields, headers=(), path="", method="POST"):
    merged = {"Content-Type": "application/json", "apiKey": "any-key", **dict(headers)}
    sent = {name: value for name, value in merged.items() if value is not None}
    url = simulator.base_url(NAME) + path
    status, _, body = call(url, json.dumps(fields).encode(), sent, method)
    return status, json.loads(body)


def test_the_base_url_is_the_providers_own_path(simulator):
    assert simulator.base_url(NAME).endswith("/aoc_portal/v1/sms")


def test_a_message_is_accepted_with_the_documented_answer(simulator):
    status, answer = post(simulator, ONE)
    assert (status, answer) == (
        200,
        {
            "id": answer["id"],
            "data": [{"recipient": A, "messageId": f"{answer['id']}:1"}],
            "totalCount": 1,
            "message": "Message Sent Successfully!",
            "error": None,
        },
    )
    (row,) = simulator.ledger()
    assert (row["number"], row["text"], row["sender_id"]) == (A, "Hello World!", "AOCAPI")
    assert (row["type"], row["job_id"]) == ("TRANS", answer["id"])


def test_a_list_may_have_blanks_as_printed(simulator):
    _, answer = post(simulator, ONE | {"to": f"{A}, {B}"})
    assert [one["recipient"] for one in answer["data"]] == [A, B]


def test_the_documents_own_header_and_a_template_call_without_a_path_are_accepted(simulator):
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    printed = {"contentType": "application/json"}
    assert post(simulator, ONE, headers | printed)[1]["error"] is None
    assert post(simulator, FROM_TEMPLATE, headers | printed)[1]["error"] is None
    assert [row["text"] for row in simulator.ledger()] == [
        "Hello World!",
        "Dear Asha, your order 7 is on its way.",
    ]
    assert simulator.stats()["malformed"] == 0


def test_flags_are_in_the_answer_and_a_template_in_the_ledger(simulator):
    fields = ONE | {"text": "नमस्ते", "unicode": 1, "flash": 1, "templateId": "1507"}
    _, answer = post(simulator, fields)
    assert (answer["unicode"], answer["flash"]) == (1, 1)
    (row,) = simulator.ledger()
    assert (row["unicode"], row["flash"], row["template_id"]) == (1, 1, "1507")


@pytest.mark.parametrize(
    ("template", "custom", "text"),
    [
        (WITH_VARIABLES, ["Asha", "7"], "Dear Asha, your order 7 is on its way."),
        (WITHOUT, [], "Our shop is open today."),
        ("1507", ["Asha"], "1507: Asha"),
    ],
)
def test_a_template_is_filled_by_the_provider(simulator, template, custom, text):
    status, _ = post(
        simulator,
        FROM_TEMPLATE | {"templateId": template, "custom": custom},
        path="/template",
    )
    assert (status, simulator.ledger()[0]["text"]) == (200, text)


def without(fields, name):
    return {key: value for key, value in fields.items() if key != name}


MALFORMED = [
    *[(without(ONE, name), {}, "", name) for name in ONE],
    (ONE | {"to": f"+{A}"}, {}, "", "digits with country code"),
    (ONE | {"to": "9810012345"}, {}, "", "digits with country code"),
    (ONE | {"to": [A]}, {}, "", "to is of another type"),
    (ONE | {"type": "PROMOTIONAL"}, {}, "", "type is not one of"),
    (ONE | {"unicode": "1"}, {}, "", "unicode is not the integer 1"),
    (ONE | {"unicode": True}, {}, "", "unicode is not the integer 1"),
    (ONE | {"flash": 0}, {}, "", "flash is not the integer 1"),
    (ONE | {"templateId": ""}, {}, "", "templateId is missing or empty"),
    (ONE | {"templateId": "a b"}, {}, "", "templateId is not a valid id"),
    (ONE | {"text": "नमस्ते"}, {}, "", "does not fit GSM-7"),
    (ONE | {"custom": []}, {}, "", "unknown field custom"),
    *[
        (without(FROM_TEMPLATE, name), {}, "/template", name)
        for name in FROM_TEMPLATE
        if name != "text"
    ],
    (FROM_TEMPLATE | {"to": f"{A},{B}"}, {}, "/template", "digits with country code"),
    (FROM_TEMPLATE | {"custom": ["Asha"]}, {}, "/template", "another number of values"),
    (FROM_TEMPLATE | {"custom": [1, 2]}, {}, "/template", "not a list of texts"),
    (FROM_TEMPLATE | {"text": "Hi"}, {}, "/template", "unknown field text"),
    (ONE, {}, "/send", "no such path"),
    (ONE, {"apiKey": None}, "", "apiKey is missing"),
    (ONE, {"Content-Type": "text/json"}, "", "text/json"),
]


@pytest.mark.parametrize(("fields", "headers", "path", "reason"), MALFORMED)
def test_what_breaks_the_document_is_refused_and_counted(simulator, fields, headers, path, reason):
    status, answer = post(simulator, fields, headers, path)
    assert status in {401, 404, 422}
    assert answer["error"]
    stats = simulator.stats()
    assert (stats["malformed"], stats["accepted"]) == (1, 0)
    assert reason in stats["malformed_reasons"][0]["reason"]


def test_another_method_is_refused(simulator):
    assert post(simulator, ONE, method="PUT")[0] == 405


def test_the_bad_key_is_refused_whatever_the_headers_case_and_is_not_malformed(simulator):
    status, answer = post(simulator, ONE, {"apiKey": None, "APIKEY": "bad-key"})
    assert (status, answer["error"]) == (401, "Invalid API Key")
    stats = simulator.stats()
    assert (stats["unauthorized"], stats["malformed"]) == (1, 0)


def test_an_empty_balance_refuses_the_whole_request(simulator):
    simulator.set_balance(1, provider=NAME)
    status, answer = post(simulator, ONE | {"to": f"{A},{B}"})
    assert (status, answer["error"], answer["data"]) == (200, "Insufficient balance", [])
    assert simulator.stats()["accepted"] == 0


def account(simulator):
    values = {"provider": NAME, "base_url": simulator.base_url(NAME), "api_key": "any-key"}
    return AOCPortal(AOCPortalSettings.model_validate(values))


def submitted(provider, *recipients, route=None, **more):
    batch = SubmitBatch(
        recipients=tuple(Recipient(seq, *each) for seq, each in enumerate(recipients)),
        kind=Kind.PROMOTIONAL,
        route=route or Route(sender="AOCAPI"),
        **({"encoding": Encoding.GSM7} | more),
    )
    outcomes = []
    for request in provider.submit_requests(batch):
        http = request.http
        status, headers, body = call(http.url, http.body, http.headers, http.method)
        named = {name.lower(): value for name, value in headers.items()}
        answer = HttpResponse(status=status, headers=named, body=body)
        outcomes.append(provider.parse_submit(request, answer))
    return outcomes


MAGIC = [919855500000 + tail for tail in range(1, 6)]


def test_an_account_submits_and_a_recipient_missing_from_the_answer_has_no_result(simulator):
    texts = [(number, "Hi") for number in MAGIC]
    (outcome,) = submitted(account(simulator), *texts)

    assert [one.msisdn for one in outcome.results] == MAGIC[:4]
    assert [one.provider_message_id for one in outcome.results] == [
        f"{outcome.job_id}:{place}" for place in range(1, 5)
    ]
    assert {row["type"] for row in simulator.ledger()} == {"PROMO"}
    assert simulator.stats()["accepted"] == 5


def test_an_account_sends_unicode_flash_and_templates(simulator):
    provider = account(simulator)
    submitted(provider, (int(A), "नमस्ते"), encoding=Encoding.UCS2, flash=True)
    route = Route(sender="AOCAPI", template=WITH_VARIABLES)
    submitted(provider, (int(A), "", ("Asha", "7")), (int(B), "", ("Ben", "8")), route=route)

    assert [row["text"] for row in simulator.ledger()] == [
        "नमस्ते",
        "Dear Asha, your order 7 is on its way.",
        "Dear Ben, your order 8 is on its way.",
    ]
    assert simulator.stats()["malformed"] == 0


@pytest.mark.parametrize(
    ("faults", "count"),
    [
        ({"missing": {"share": 0.5}}, 1),
        ({"doubled": {}, "reordered": {}}, 2),
        ({"ten_digit": {}, "created": {}}, 2),
    ],
)
def test_every_recipient_is_found_in_the_oddest_answers(simulator, faults, count):
    for name, params in faults.items():
        simulator.fault(name, params=params)
    (outcome,) = submitted(account(simulator), (int(A), "Hi"), (int(B), "Hi"))
    assert len(outcome.results) == count
    assert all(one.accepted for one in outcome.results)


@pytest.mark.parametrize(
    ("fault", "params", "kind"),
    [
        ("credentials", {"status": 401}, ErrorKind.CREDENTIALS),
        ("credentials", {}, ErrorKind.CREDENTIALS),
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
        submitted(account(simulator), (int(A), "Hi"))
    assert caught.value.kind is kind
