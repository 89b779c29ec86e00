"""The simulated Ultimate SMS servers: what their documents promise and refuse, and their list."""

import json
from datetime import UTC, datetime, timedelta
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest

from dispatcher.errors import ErrorKind, ProviderError
from dispatcher.providers import provider_class
from dispatcher.status import Encoding, Kind, MessageState
from dispatcher.types import (
    Balance,
    HttpResponse,
    PollRef,
    PollTarget,
    Recipient,
    Route,
    SubmitBatch,
)
from tests.support.simulator import send

NAMES = ("smsnoc", "standingtech", "ultimate_sms")
HEADERS = {
    "key": None,
    "Authorization": "Bearer 7|any-token",
    "Accept": "application/json",
    "Content-Type": "application/json",
}
ONE = {
    "recipient": "8801712345678",
    "sender_id": "YourName",
    "type": "plain",
    "message": "This is a test message",
}
CAMPAIGN = {
    "recipient": "65c0ffee00001",
    "sender_id": "YourName",
    "type": "plain",
    "message": "Hi",
}


def call(simulator, path, fields=None, *, provider="smsnoc", method=None, **headers):
    body = b"" if fields is None else json.dumps(fields).encode()
    return send(
        simulator,
        "",
        body,
        HEADERS | headers,
        method=method or ("GET" if fields is None else "POST"),
        url=f"{simulator.base_url(provider)}/{path}",
    )


def to(*numbers):
    return ONE | {"recipient": ",".join(map(str, numbers))}


def many(count, first=8801800000000):
    return tuple(first + index for index in range(count))


def test_every_name_has_its_base_url(simulator):
    origin = simulator.base_url("smsnoc").removesuffix("/smsnoc/api/v3")
    assert [simulator.base_url(name) for name in NAMES] == [
        f"{origin}/smsnoc/api/v3",
        f"{origin}/standingtech/api/v3",
        f"{origin}/ultimate/api/v3",
    ]


@pytest.mark.parametrize("provider", NAMES)
def test_one_recipient_is_answered_by_an_object_and_several_by_a_list(simulator, provider):
    code, answer = call(simulator, "sms/send", ONE, provider=provider)
    assert (code, answer) == (
        200,
        {
            "status": "success",
            "data": {
                "uid": answer["data"]["uid"],
                "to": "8801712345678",
                "from": "YourName",
                "message": "This is a test message",
                "status": "Enroute",
                "cost": "1",
                "sms_count": 1,
            },
        },
    )
    _, answer = call(simulator, "sms/send", to(*many(3)), provider=provider)
    assert [row["to"] for row in answer["data"]] == [str(number) for number in many(3)]
    assert {row["customer_status"] for row in answer["data"]} == {"Enroute"}
    assert [entry["provider"] for entry in simulator.ledger()] == [provider] * 4


def test_the_documents_own_examples_are_understood(simulator):
    sent = call(simulator, "sms/send", ONE | {"sender_id": "YourName/Number"})
    later = to(8801744977947, 8801754228383) | {"schedule_time": "2021-12-20 07:00"}
    lists = CAMPAIGN | {"recipient": "6415907d0d37a,6415907d0d7a6"}
    answers = [sent, call(simulator, "sms/send", later), call(simulator, "sms/campaign", lists)]
    assert {answer["status"] for _, answer in answers} == {"success"}
    assert simulator.stats()["malformed"] == 0


def test_duplicates_in_the_list_are_dropped_silently(simulator):
    _, answer = call(simulator, "sms/send", to(*many(2), *many(2)))
    assert [row["to"] for row in answer["data"]] == [str(number) for number in many(2)]
    assert (simulator.stats()["accepted"], simulator.stats()["doubles"]) == (2, 0)


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        *[({k: v for k, v in ONE.items() if k != name}, name) for name in ONE],
        (ONE | {"recipient": "+8801712345678"}, "digits with country code"),
        (ONE | {"recipient": "8801712345678, 8801712345679"}, "digits with country code"),
        (ONE | {"recipient": "8801712345678,"}, "digits with country code"),
        (ONE | {"recipient": ["8801712345678"]}, "recipient is of another type"),
        (to(*many(101)), "101 recipients"),
        (ONE | {"sender_id": "TWELVE_CHARS"}, "longer than 11"),
        (ONE | {"type": "unicode"}, "type is not plain"),
        (ONE | {"message": " "}, "message is missing or empty"),
        (ONE | {"schedule_time": "2026-12-20T07:00"}, "schedule_time is not Y-m-d H:i"),
        (ONE | {"schedule_time": "2026-13-20 07:00"}, "schedule_time is"),
        (ONE | {"schedule_time": None}, "schedule_time is missing"),
        (ONE | {"schedule_time=2026-12-20 07:00": ""}, "unknown field schedule_time="),
        (ONE | {"dlt_template_id": 7}, "dlt_template_id is of another type"),
    ],
)
def test_what_breaks_the_document_is_refused_and_counted(simulator, fields, reason):
    code, answer = call(simulator, "sms/send", fields)
    assert (code, answer["status"]) == (422, "error")
    stats = simulator.stats()
    assert (stats["malformed"], stats["accepted"]) == (1, 0)
    assert reason in stats["malformed_reasons"][0]["reason"]
    assert stats["malformed_reasons"][0]["provider"] == "smsnoc"


@pytest.mark.parametrize(
    ("change", "code", "reason"),
    [
        ({"Authorization": None}, 401, "Authorization"),
        ({"Authorization": "7|any-token"}, 401, "Authorization"),
        ({"Authorization": "Basic any"}, 401, "Authorization"),
        ({"Accept": None}, 422, "Accept"),
        ({"Accept": "text/html"}, 422, "Accept"),
        ({"Content-Type": "application/x-www-form-urlencoded"}, 422, "urlencoded"),
        ({"method": "GET"}, 405, "GET is not allowed"),
        ({"path": "sms/sends"}, 405, "POST is not allowed"),
        ({"path": "message/send"}, 404, "no such command"),
    ],
)
def test_wrong_headers_methods_and_paths_are_refused_and_counted(simulator, change, code, reason):
    given = {"path": "sms/send", "fields": ONE, **change}
    if given.get("method") == "GET":
        given["fields"] = None
    got, answer = call(simulator, **given)
    assert (got, answer["status"]) == (code, "error")
    stats = simulator.stats()
    assert (stats["malformed"], stats["accepted"]) == (1, 0)
    assert reason in stats["malformed_reasons"][0]["reason"]


@pytest.mark.parametrize("path", ["balance", "sms", "sms/6000000000000"])
def test_a_bad_token_is_unauthenticated_and_not_malformed(simulator, path):
    code, answer = call(simulator, path, Authorization="Bearer bad-key")
    assert (code, answer) == (401, {"status": "error", "message": "Unauthenticated."})
    assert (simulator.stats()["unauthorized"], simulator.stats()["malformed"]) == (1, 0)


def test_an_empty_balance_refuses_the_whole_request_and_parts_are_charged(simulator):
    simulator.set_balance(5, provider="smsnoc")
    long = to(*many(3)) | {"message": "आ" * 71}
    _, answer = call(simulator, "sms/send", long)
    assert answer == {"status": "error", "message": "Not enough balance"}
    call(simulator, "sms/send", to(*many(2)) | {"message": "आ" * 71})
    assert call(simulator, "balance")[1]["data"]["remaining_unit"] == 1
    assert simulator.stats()["accepted"] == 2


def test_standingtech_has_neither_balance_nor_contact_lists(simulator):
    assert call(simulator, "balance", provider="standingtech")[0] == 404
    assert call(simulator, "sms/campaign", CAMPAIGN, provider="standingtech")[0] == 405
    assert simulator.ledger() == []


@pytest.mark.parametrize(
    ("fields", "numbers"),
    [
        (CAMPAIGN, 3),
        (CAMPAIGN | {"contact_list_id": "65c0ffee00001"}, 3),
        (CAMPAIGN | {"recipient": "65c0ffee00001,65c0ffee00002"}, 4),
        (CAMPAIGN | {"contact_list_id": "65c0ffee00002"}, 0),
        (CAMPAIGN | {"recipient": "65c0ffee00009"}, 0),
        ({k: v for k, v in CAMPAIGN.items() if k != "recipient"}, 0),
    ],
)
def test_a_contact_list_is_sent_to_by_either_field_or_both_alike(simulator, fields, numbers):
    code, answer = call(simulator, "sms/campaign", fields)
    assert (code, answer["status"]) == ((200, "success") if numbers else (422, "error"))
    assert len(simulator.ledger()) == numbers


def test_a_message_is_found_by_its_uid_at_its_own_provider_only(simulator):
    uid = call(simulator, "sms/send", to(8801855500002))[1]["data"]["uid"]
    code, answer = call(simulator, f"sms/{uid}")
    assert (code, answer["data"]["uid"], answer["data"]["to"]) == (200, uid, "8801855500002")
    assert answer["data"]["customer_status"] == "Undelivered"
    assert call(simulator, f"sms/{uid}", provider="standingtech")[0] == 404
    assert call(simulator, "sms/nothing")[0] == 404
    assert simulator.stats()["malformed"] == 0


def test_pages_are_of_25_newest_first_and_end(simulator):
    call(simulator, "sms/send", to(*many(60)))
    sizes, seen = [], []
    for number in (1, 2, 3):
        data = call(simulator, f"sms?page={number}")[1]["data"]
        assert data["current_page"] == number
        assert bool(data["next_page_url"]) == (number < data["last_page"])
        sizes.append(len(data["data"]))
        seen += [row["to"] for row in data["data"]]
    assert sizes[:2] == [25, 25]
    assert seen[:60] == [str(number) for number in reversed(many(60))]
    beyond = call(simulator, f"sms?page={data['last_page'] + 1}")[1]["data"]
    assert (beyond["data"], beyond["next_page_url"]) == ([], None)


def test_a_scheduled_send_has_no_data_and_is_listed_from_its_time_on(simulator):
    later = (datetime.now(UTC) + timedelta(days=1)).strftime("%Y-%m-%d %H:%M")
    now = datetime.now(UTC).strftime("%Y-%m-%d %H:%M")
    for at, number in ((later, 8801855500001), (now, 8801855500003)):
        answer = call(simulator, "sms/send", to(number) | {"schedule_time": at})[1]
        assert answer == {"status": "success"}
    first = call(simulator, "sms")[1]["data"]["data"][0]
    assert (first["to"], first["customer_status"]) == ("8801855500003", "Expired")
    unsent, _ = simulator.ledger()
    assert unsent["schedule_time"] == later
    assert call(simulator, f"sms/{unsent['message_id']}")[0] == 404


def switched(simulator, fault, *numbers, path="sms/send", **given):
    simulator.fault(fault, **given)
    return call(simulator, path, to(*numbers) if numbers else None)


def test_some_recipients_are_refused_one_by_one_and_not_accepted(simulator):
    data = switched(simulator, "some_refused", *many(10), params={"share": 0.3})[1]["data"]
    rejected = [row["to"] for row in data if row["customer_status"] == "Rejected|Blacklisted"]
    assert (len(data), len(rejected)) == (10, 3)
    assert {*rejected}.isdisjoint(entry["number"] for entry in simulator.ledger())
    assert len({row["uid"] for row in data}) == 10


def test_invalid_numbers_are_left_out_and_named(simulator):
    answer = switched(simulator, "invalid_left_out", *many(5), params={"share": 0.2})[1]
    (named,) = answer["message"].removeprefix("Invalid numbers: ").split(", ")
    assert (answer["status"], len(answer["data"])) == ("success", 4)
    assert named not in {row["to"] for row in answer["data"]}
    assert named not in {entry["number"] for entry in simulator.ledger()}


@pytest.mark.parametrize(
    ("fault", "shape"),
    [
        ("short", "sms reports with all details"),
        ("no_data", None),
        ("status_field", ["status"] * 2),
        ("status_suffix", ["customer_status"] * 2),
    ],
)
def test_an_answer_has_another_shape_and_all_were_accepted(simulator, fault, shape):
    data = switched(simulator, fault, *many(2))[1].get("data")
    if isinstance(data, list):
        data = [field for row in data for field in row if field.endswith("status")]
    assert data == shape
    assert simulator.stats()["accepted"] == 2


def test_the_list_also_has_inbound_messages(simulator):
    call(simulator, "sms/send", ONE)
    rows = switched(simulator, "inbound", path="sms")[1]["data"]["data"]
    assert [row["send_by"] for row in rows[:2]] == ["to", "api"]
    assert (rows[0]["from"], rows[1]["to"]) == ("8801712999999", ONE["recipient"])


def test_a_list_may_have_neither_dates_nor_directions(simulator):
    provider = account(simulator, "smsnoc")
    submitted(provider, *MAGIC)
    for fault in ("undated", "inbound"):
        simulator.fault(fault)

    page = provider.parse_list(0, over_http(provider.list_request(0)))

    assert [entry.msisdn for entry in page.entries[:4]] == [*reversed(MAGIC)]
    assert page.whole
    assert {entry.created_at for entry in page.entries} == {None}


def test_the_balance_comes_as_money(simulator):
    simulator.set_balance(1250, provider="smsnoc")
    assert switched(simulator, "currency", path="balance")[1]["data"]["remaining_balance"] == (
        "৳1,250"
    )


# The adapter against the simulator: both were written from the document.


def account(simulator, name, **more):
    cls = provider_class(name)
    keys = {"provider": name, "base_url": simulator.base_url(name), "api_token": "7|t", **more}
    return cls(cls.settings_type.model_validate(keys))


def over_http(http):
    request = Request(http.url, data=http.body, headers=dict(http.headers), method=http.method)
    try:
        with urlopen(request, timeout=10) as response:
            return HttpResponse(status=response.status, body=response.read())
    except HTTPError as error:
        with error:
            return HttpResponse(status=error.code, body=error.read())


def batch_to(*numbers, **more):
    return SubmitBatch(
        recipients=tuple(Recipient(seq, number, "Hi Asha") for seq, number in enumerate(numbers)),
        encoding=Encoding.GSM7,
        kind=Kind.TRANSACTIONAL,
        route=Route(sender="YourName", template="1107"),
        **more,
    )


def submitted(provider, *numbers, **more):
    (request,) = provider.submit_requests(batch_to(*numbers, **more))
    return provider.parse_submit(request, over_http(request.http)).results


MAGIC = {
    8801855500001: MessageState.DELIVERED,
    8801855500002: MessageState.UNDELIVERED,
    8801855500003: MessageState.EXPIRED,
    8801855500004: MessageState.SUBMITTED,
}


@pytest.mark.parametrize("odd", [None, "status_field", "status_suffix", "status_case"])
@pytest.mark.parametrize("name", NAMES)
def test_the_adapter_submits_polls_and_lists(simulator, name, odd):
    provider = account(simulator, name)
    if odd:
        simulator.fault(odd)
    found = submitted(provider, *MAGIC, 8801855500005)
    assert [(r.msisdn, r.accepted, r.cost) for r in found] == [(n, True, 1) for n in MAGIC]

    targets = tuple(
        PollTarget(msisdn=r.msisdn, provider_message_id=r.provider_message_id) for r in found
    )
    reports = [
        report
        for request in provider.poll_requests(PollRef(job_id=None, targets=targets))
        for report in provider.parse_poll(request, over_http(request.http))
    ]
    assert {report.msisdn: report.state for report in reports} == MAGIC

    simulator.fault("inbound")
    page = provider.parse_list(0, over_http(provider.list_request(0)))
    assert [entry.msisdn for entry in page.entries[:5]] == [8801855500005, *reversed(MAGIC)]
    assert {entry.text for entry in page.entries[:5]} == {"Hi Asha"}
    assert all(entry.created_at and entry.created_at <= datetime.now(UTC) for entry in page.entries)
    assert simulator.stats()["malformed"] == 0


def test_the_adapter_walks_the_pages_to_their_end(simulator):
    provider = account(simulator, "ultimate_sms")
    submitted(provider, *many(60))
    page, numbers = 0, []
    while page is not None:
        answer = provider.parse_list(page, over_http(provider.list_request(page)))
        numbers += [entry.msisdn for entry in answer.entries]
        page = answer.next_page
    assert numbers[:60] == list(reversed(many(60)))


def test_the_adapter_schedules_and_has_no_ids(simulator):
    provider = account(simulator, "smsnoc", schedule_timezone="UTC")
    found = submitted(provider, *many(2), schedule_at=datetime.now(UTC) + timedelta(hours=2))
    assert [(r.msisdn, r.accepted, r.provider_message_id) for r in found] == [
        (number, True, None) for number in many(2)
    ]


def test_the_adapter_reads_the_balance_and_sends_to_contact_lists(simulator):
    provider = account(simulator, "smsnoc")
    simulator.set_balance(1250, provider="smsnoc")
    assert provider.parse_balance(over_http(provider.balance_request())) == [
        Balance(package="units", amount=1250)
    ]
    request = provider.contact_list_request(batch_to(1), ["65c0ffee00001", "65c0ffee00002"])
    assert provider.parse_contact_list(over_http(request)) is None
    assert len(simulator.ledger()) == 4


@pytest.mark.parametrize(
    ("fault", "params", "kind", "accepted"),
    [
        ("credentials", {}, ErrorKind.CREDENTIALS, 0),
        ("credentials", {"status": 401}, ErrorKind.CREDENTIALS, 0),
        ("credit", {}, ErrorKind.CREDIT, 0),
        ("throttled", {}, ErrorKind.THROTTLED, 0),
        ("not_found", {}, ErrorKind.CONFIGURATION, 0),
        ("too_large", {}, ErrorKind.CONFIGURATION, 0),
        ("error_before", {}, ErrorKind.DOUBTFUL, 0),
        ("error_after", {}, ErrorKind.DOUBTFUL, 2),
        ("html_after", {}, ErrorKind.DOUBTFUL, 2),
        ("refused_before", {}, ErrorKind.DOUBTFUL, 0),
        ("refused_after", {"status": 403}, ErrorKind.DOUBTFUL, 2),
        ("short", {}, ErrorKind.DOUBTFUL, 2),
        ("no_data", {}, ErrorKind.DOUBTFUL, 2),
    ],
)
def test_the_adapter_recognises_every_fault(simulator, fault, params, kind, accepted):
    simulator.fault(fault, params=params)
    with pytest.raises(ProviderError) as caught:
        submitted(account(simulator, "standingtech"), *many(2))
    assert caught.value.kind is kind
    assert simulator.stats()["accepted"] == accepted


@pytest.mark.parametrize("fault", ["missing", "doubled", "reordered", "ten_digit"])
def test_the_adapter_matches_by_number_whatever_the_shape(simulator, fault):
    simulator.fault(fault)
    found = submitted(account(simulator, "smsnoc"), *many(10))
    ids = {int(entry["number"]): entry["message_id"] for entry in simulator.ledger()}
    assert len(found) == (9 if fault == "missing" else 10)
    assert all(ids[result.msisdn] == result.provider_message_id for result in found)
