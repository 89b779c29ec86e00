"""The simulated TheSMSPoint: what its document promises, and refusals of what it does not allow."""

import csv
import json
from collections import Counter
from pathlib import Path
from urllib.parse import urlencode
from urllib.request import Request, urlopen

import phonenumbers
import pytest

from dispatcher.simulator.receipts import MAGIC_FATES, MAGIC_MISSING
from tests.support.simulator import (
    ROUTE,
    SINGLE,
    ControlError,
    SimulatorProcess,
    bulk,
    post,
    send,
    status_of,
)

SAMPLES = Path(__file__).parents[2] / "samples"


def many(count: int, first: int = 919000000000) -> list[tuple[str, str]]:
    return [(str(first + index), f"Dear customer {index}") for index in range(count)]


def test_a_single_message_is_accepted_with_the_documented_answer(simulator):
    code, answer = post(simulator, "send-single-sms", SINGLE)
    assert code == 200
    assert answer == {
        "status": "success",
        "message": "SMS Sent Successfully",
        "data": {
            "ErrorCode": "000",
            "ErrorMessage": "Success",
            "JobId": answer["data"]["JobId"],
            "MessageData": [
                {
                    "Number": "919954654365",
                    "message_id": answer["data"]["MessageData"][0]["message_id"],
                    "message": "This is Message",
                }
            ],
        },
        "code": 200,
    }
    (entry,) = simulator.ledger()
    assert entry.pop("at") > 1.7e9
    assert entry == {
        "provider": "thesmspoint",
        "request": entry["request"],
        "sender_id": ROUTE["sender_id"],
        "template_id": ROUTE["template_id"],
        "channel": 1,
        "is_unicode": 0,
        "job_id": answer["data"]["JobId"],
        "number": "919954654365",
        "text": "This is Message",
        "message_id": answer["data"]["MessageData"][0]["message_id"],
    }


def test_two_thousand_recipients_with_different_texts_are_accepted(simulator):
    recipients = many(2000)
    _, answer = post(simulator, "send-bulk-sms", bulk(recipients))
    rows = answer["data"]["MessageData"]
    assert [(row["Number"], row["message"]) for row in rows] == recipients
    assert len({row["message_id"] for row in rows}) == 2000
    assert [(entry["number"], entry["text"]) for entry in simulator.ledger()] == recipients


def multipart(fields: dict[str, str]) -> tuple[bytes, str]:
    parts = [
        f'--b\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'
        for name, value in fields.items()
    ]
    return ("".join(parts) + "--b--\r\n").encode(), "multipart/form-data; boundary=b"


AS_STRINGS = {name: str(value) for name, value in SINGLE.items()}
PHP_BULK = bulk([])
PHP_BULK["recipient"] = '[{"number":911234567890,"text":"This is Message"}]'
DOCUMENTED_BODIES = {
    "PHP single: multipart": ("send-single-sms", *multipart(AS_STRINGS)),
    "PHP bulk: multipart, integer numbers": (
        "send-bulk-sms",
        *multipart({name: str(value) for name, value in PHP_BULK.items()}),
    ),
    ".NET single: JSON of strings": (
        "send-single-sms",
        json.dumps(AS_STRINGS).encode(),
        "application/json",
    ),
    ".NET bulk: JSON in JSON": (
        "send-bulk-sms",
        json.dumps(bulk(many(2)) | {"channel": "3", "is_unicode": "0"}).encode(),
        "application/json",
    ),
    "PHP single as printed: the names of sender and template": (
        "send-single-sms",
        *multipart(AS_STRINGS | {"sender_id": "SENDER", "template_id": "TEMPLATE"}),
    ),
    "urlencoded single": (
        "send-single-sms",
        urlencode(AS_STRINGS).encode(),
        "application/x-www-form-urlencoded",
    ),
}


@pytest.mark.parametrize("case", DOCUMENTED_BODIES.values(), ids=DOCUMENTED_BODIES)
def test_every_documented_body_is_understood(simulator, case):
    command, body, content_type = case
    code, answer = send(simulator, command, body, {"Content-Type": content_type})
    assert (code, answer["status"]) == (200, "success")
    assert simulator.stats()["malformed"] == 0


def test_get_with_everything_in_the_url_is_accepted_and_counted(simulator):
    query = urlencode(AS_STRINGS | {"apiKey": "any-key"})
    with urlopen(f"{simulator.base_url()}/send-single-sms?{query}", timeout=10) as response:
        assert json.load(response)["status"] == "success"
    stats = simulator.stats()
    assert (stats["get_requests"], stats["accepted"], stats["malformed"]) == (1, 1, 0)


def without(name: str) -> dict[str, object]:
    return {key: value for key, value in SINGLE.items() if key != name}


ONE = {"number": "919954654365", "text": "Hello"}
MALFORMED_FIELDS = [
    *[("send-single-sms", without(name), name) for name in SINGLE],
    ("send-single-sms", SINGLE | {"recipient": "+919954654365"}, "digits with country code"),
    ("send-single-sms", SINGLE | {"recipient": "9954654365"}, "digits with country code"),
    ("send-single-sms", SINGLE | {"recipient": "09954654365"}, "digits with country code"),
    ("send-single-sms", SINGLE | {"recipient": "९१९९५४६५४३६५"}, "digits with country code"),
    ("send-single-sms", SINGLE | {"recipient": "919954654365\n"}, "digits with country code"),
    ("send-single-sms", SINGLE | {"recipient": 9199546.5}, "another type"),
    ("send-single-sms", SINGLE | {"recipient": ["919954654365"]}, "another type"),
    ("send-single-sms", SINGLE | {"message": ""}, "message is missing or empty"),
    ("send-single-sms", SINGLE | {"message": " \n"}, "message is missing or empty"),
    ("send-single-sms", SINGLE | {"message": 5}, "message is of another type"),
    ("send-single-sms", SINGLE | {"message": ["a"]}, "message is of another type"),
    ("send-single-sms", SINGLE | {"message": "नमस्ते"}, "do not fit GSM-7"),
    ("send-single-sms", SINGLE | {"sender_id": "NEWSND"}, "sender_id is not the id of an approved"),
    ("send-single-sms", SINGLE | {"sender_id": "4104"}, "sender_id is not the id of an approved"),
    ("send-single-sms", SINGLE | {"sender_id": 4101}, "sender_id is of another type"),
    ("send-single-sms", SINGLE | {"sender_id": "4102"}, "template_id belongs to another sender"),
    (
        "send-single-sms",
        SINGLE | {"template_id": "NOTPL"},
        "template_id is not the id of an approved",
    ),
    (
        "send-single-sms",
        SINGLE | {"template_id": "1107160000000007204"},
        "not the id of an approved template",
    ),
    *[
        ("send-single-sms", SINGLE | {"channel": value}, "channel")
        for value in (0, 4, "", "one", True, 1.0, [1], None)
    ],
    *[
        ("send-single-sms", SINGLE | {"is_unicode": value}, "is_unicode")
        for value in (2, -1, "no", True, False, 0.0, None)
    ],
    *[
        ("send-bulk-sms", {k: v for k, v in bulk(many(1)).items() if k != name}, name)
        for name in ROUTE
    ],
    ("send-bulk-sms", ROUTE, "recipient is missing"),
    ("send-bulk-sms", ROUTE | {"recipient": [ONE]}, "recipient is of another type"),
    ("send-bulk-sms", ROUTE | {"recipient": "[{"}, "not a JSON list"),
    ("send-bulk-sms", ROUTE | {"recipient": json.dumps(ONE)}, "not a JSON list"),
    ("send-bulk-sms", ROUTE | {"recipient": '["919954654365"]'}, "not a JSON list"),
    ("send-bulk-sms", ROUTE | {"recipient": "[]"}, "empty list"),
    ("send-bulk-sms", bulk(many(2001)), "2001 recipients"),
    ("send-bulk-sms", ROUTE | {"recipient": '[{"number":"919954654365"}]'}, "text is missing"),
    ("send-bulk-sms", ROUTE | {"recipient": '[{"text":"Hello"}]'}, "number is missing"),
    ("send-bulk-sms", bulk([("919954654365", "")]), "text is missing or empty"),
    ("send-bulk-sms", bulk([*many(3), ("12345", "Hello")]), "digits with country code"),
    ("sms-delivery-status", {}, "job_id"),
    ("sms-delivery-status", {"job_id": [1]}, "job_id"),
    ("get-sms-balances", {}, "no such command"),
    ("", {}, "no such command"),
]


@pytest.mark.parametrize(("command", "fields", "reason"), MALFORMED_FIELDS)
def test_what_breaks_the_document_is_refused_and_counted(simulator, command, fields, reason):
    code, answer = post(simulator, command, fields)
    assert code in {404, 422}
    assert answer["status"] == "error"
    assert answer["message"]
    stats = simulator.stats()
    assert (stats["malformed"], stats["accepted"]) == (1, 0)
    assert reason in stats["malformed_reasons"][0]["reason"]


JSON_TYPE = {"Content-Type": "application/json"}
MALFORMED_REQUESTS = {
    "no key": ({"key": None}, "POST", b"{}", "key is missing"),
    "no Accept": ({"Accept": None}, "POST", b"{}", "Accept"),
    "another Accept": ({"Accept": "text/html"}, "POST", b"{}", "Accept"),
    "another method": ({}, "PUT", b"{}", "PUT is not allowed"),
    "no JSON": (JSON_TYPE, "POST", b"{", "not application/json"),
    "JSON, but no object": (JSON_TYPE, "POST", b"[1]", "not a JSON object"),
    "no text": ({"Content-Type": "text/plain"}, "POST", b"{}", "text/plain"),
    "JSON in another encoding": (JSON_TYPE, "POST", "{}".encode("utf-16"), "application/json"),
    "a form that is none": (
        {"Content-Type": "application/x-www-form-urlencoded"},
        "POST",
        b"recipient",
        "urlencoded",
    ),
}


@pytest.mark.parametrize("case", MALFORMED_REQUESTS.values(), ids=MALFORMED_REQUESTS)
def test_wrong_headers_methods_and_bodies_are_refused_and_counted(simulator, case):
    headers, method, body, reason = case
    _, answer = send(simulator, "get-sms-balance", body, JSON_TYPE | headers, method=method)
    assert answer["status"] == "error"
    stats = simulator.stats()
    assert stats["malformed"] == 1
    assert reason in stats["malformed_reasons"][0]["reason"]


def test_the_bad_key_is_refused_in_the_documents_words_and_is_not_malformed(simulator):
    _, answer = send(simulator, "get-sms-balance", b"", {"key": "bad-key"})
    assert answer["message"] == "API Key Does Not Exists"
    stats = simulator.stats()
    assert (stats["unauthorized"], stats["malformed"]) == (1, 0)


def test_only_the_given_keys_open_an_account():
    with SimulatorProcess(options=["--key", "one", "--key", "two"]) as simulator:
        said = [
            send(simulator, "get-sms-balance", b"", {"key": key})[1]["status"]
            for key in ("one", "two", "three", "bad-key")
        ]
    assert said == ["success", "success", "error", "error"]


def test_unicode_for_texts_that_do_not_need_it_is_accepted_and_counted(simulator):
    texts = [("919000000001", "Hello"), ("919000000002", "नमस्ते"), ("919000000003", "{€}")]
    post(simulator, "send-bulk-sms", bulk(texts) | {"is_unicode": 1})
    stats = simulator.stats()
    assert (stats["needless_unicode"], stats["flag_mismatches"], stats["accepted"]) == (2, 0, 3)


def test_texts_that_need_unicode_without_the_flag_are_counted_one_by_one(simulator):
    texts = [("919000000001", "Hello"), ("919000000002", "नमस्ते"), ("919000000003", "“quoted”")]
    post(simulator, "send-bulk-sms", bulk(texts))
    stats = simulator.stats()
    assert (stats["flag_mismatches"], stats["accepted"]) == (2, 0)


@pytest.mark.parametrize(
    ("text", "is_unicode", "credits_"),
    [
        ("a" * 160, 0, 1),
        ("a" * 161, 0, 2),
        ("a" * 306, 0, 2),
        ("a" * 307, 0, 3),
        ("a" * 765, 0, 5),
        ("a" * 766, 0, 5),
        ("€" * 80, 0, 1),
        ("€" * 81, 0, 2),
        ("आ" * 70, 1, 1),
        ("आ" * 71, 1, 2),
        ("😀" * 35, 1, 1),
        ("😀" * 36, 1, 2),
    ],
)
def test_credits_are_taken_by_parts(simulator, text, is_unicode, credits_):
    simulator.set_balance(10, "Transactional")
    post(simulator, "send-single-sms", SINGLE | {"message": text, "is_unicode": is_unicode})
    _, answer = post(simulator, "get-sms-balance")
    assert answer["data"]["balance"]["Transactional"] == 10 - credits_
    assert simulator.stats()["truncated_texts"] == (len(text) > 765)


def test_an_empty_balance_refuses_the_whole_request(simulator):
    simulator.set_balance(1, "Transactional")
    _, answer = post(simulator, "send-bulk-sms", bulk(many(2)))
    assert answer == {"status": "error", "message": "SMS Credits Not Available", "data": None}
    assert simulator.stats()["accepted"] == 0
    assert post(simulator, "send-bulk-sms", bulk(many(1)))[1]["status"] == "success"


def test_the_directory_has_approved_and_pending_entries_of_every_kind(simulator):
    senders = post(simulator, "get-sender-id")[1]["data"]
    templates = post(simulator, "get-templates")[1]["data"]
    assert [(s["sender_id"], s["type_value"], s["approve_status"]) for s in senders] == [
        ("SENDER", "Transactional", "Approved"),
        ("PROMO", "Promotional", "Approved"),
        ("OTPSND", "OTP", "Approved"),
        ("NEWSND", "Transactional", "Pending"),
    ]
    assert [(t["name"], t["sender_id"], t["template_status"]) for t in templates] == [
        ("TEMPLATE", "SENDER", "Approved"),
        ("PROMOTPL", "PROMO", "Approved"),
        ("OTPTPL", "OTPSND", "Approved"),
        ("NEWTPL", "SENDER", "Pending"),
        ("DEARTPL", "SENDER", "Approved"),
    ]


def test_a_number_accepted_twice_is_a_double_within_and_across_requests(simulator):
    post(simulator, "send-bulk-sms", bulk([*many(3), ("919000000001", "again")]))
    post(simulator, "send-single-sms", SINGLE | {"recipient": "919000000002"})
    post(simulator, "send-single-sms", SINGLE)
    stats = simulator.stats()
    assert (stats["accepted"], stats["distinct_numbers"], stats["doubles"]) == (6, 4, 2)
    assert stats["doubled_numbers"] == [919000000001, 919000000002]
    simulator.reset()
    post(simulator, "send-single-sms", SINGLE)
    assert simulator.stats()["doubles"] == 0


def test_receipts_come_out_by_their_shares(simulator):
    job = post(simulator, "send-bulk-sms", bulk(many(2000)))[1]["data"]["JobId"]
    simulator.wait_for("accepted", 2000)
    rows = status_of(simulator, job)["data"]
    words = Counter(row["status_name"] for row in rows)
    assert [row["mobile_number"] for row in rows] == [number for number, _ in many(2000)]
    for word, share in {
        "Delivered": 0.94,
        "UnDelivered": 0.04,
        "Expired": 0.01,
        "Sent": 0.01,
    }.items():
        assert words[word] == pytest.approx(2000 * share, abs=25)


def test_magic_numbers_choose_what_becomes_of_a_message(simulator):
    numbers = {f"9198555000{digit:02d}": digit for digit in range(1, 6)}
    answer = post(simulator, "send-bulk-sms", bulk([(n, "Hello") for n in numbers]))[1]["data"]
    assert [row["Number"] for row in answer["MessageData"]] == list(numbers)[:4]
    rows = status_of(simulator, answer["JobId"])["data"]
    assert [row["status_name"] for row in rows[:4]] == [
        "Delivered",
        "UnDelivered",
        "Expired",
        "Sent",
    ]
    assert [entry.get("spoilt") for entry in simulator.ledger()] == [None] * 4 + ["missing"]


def test_magic_numbers_are_valid_mobiles_and_no_number_of_the_samples_is_one():
    tails = {*MAGIC_FATES, MAGIC_MISSING}
    for tail in tails:
        assert phonenumbers.is_valid_number(phonenumbers.parse(f"+9198{tail}"))
    with (SAMPLES / "india-5000.csv").open(encoding="utf-8-sig") as file:
        numbers = [row["Mobile Number"] for row in csv.DictReader(file)]
    digits = ["".join(filter(str.isdigit, number)) for number in numbers]
    assert len(digits) == 5000
    assert not [number for number in digits if number and int(number) % 10**8 in tails]


def test_receipts_are_not_final_before_their_time():
    with SimulatorProcess(scale=0.001) as simulator:
        job = post(simulator, "send-bulk-sms", bulk(many(50)))[1]["data"]["JobId"]
        words = {row["status_name"] for row in status_of(simulator, job)["data"]}
    assert words == {"Sent"}


def test_the_same_seed_gives_the_same_ids_and_fates_and_another_seed_others():
    def outcome(seed: int) -> list[dict[str, str]]:
        with SimulatorProcess(seed=seed, scale=1e6) as simulator:
            job = post(simulator, "send-bulk-sms", bulk(many(300)))[1]["data"]["JobId"]
            return status_of(simulator, job)["data"]

    first, again, other = outcome(3), outcome(3), outcome(4)
    assert first == again
    assert {row["message_id"] for row in first}.isdisjoint(row["message_id"] for row in other)
    assert [row["status_name"] for row in first] != [row["status_name"] for row in other]


@pytest.mark.parametrize("job", ["1", "nothing", "-5", 10**30, str(2**63)])
def test_an_unknown_job_is_an_invalid_message_id(simulator, job):
    _, answer = post(simulator, "sms-delivery-status", {"job_id": job})
    assert answer == {"status": "error", "message": "Invalid Message ID", "data": None}


def test_a_channel_that_disagrees_with_the_sender_is_accepted_and_counted(simulator):
    _, answer = post(simulator, "send-single-sms", SINGLE | {"channel": 2})
    assert answer["status"] == "success"
    assert simulator.stats()["channel_mismatches"] == 1


def test_arrivals_are_listed_by_path(simulator):
    for _ in range(3):
        post(simulator, "get-sms-balance")
    path = simulator.stats()["requests"]["/thesmspoint/api/v1/get-sms-balance"]
    assert path["count"] == 3
    assert path["arrivals"] == sorted(path["arrivals"])
    assert len(path["arrivals"]) == 3


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda s: s.fault("no_such"), "there is no fault"),
        (lambda s: s.fault("slow", params={"speed": 1}), "takes no speed"),
        (lambda s: s.fault("slow", provider="nobody"), "there is no provider"),
        (lambda s: s.fault("slow", rate=2), "between 0 and 1"),
        (lambda s: s.fault("slow", count=0), "above 0"),
        (lambda s: s.fault("slow", on="never"), "`on` must be"),
        (lambda s: s.fault("slow", on=["any"]), "`on` must be"),
        (lambda s: s.fault("slow", params=5), "must be an object"),
        (lambda s: s.fault("slow", params={"ms": "long"}), "`ms` of fault slow cannot be"),
        (lambda s: s.fault(["slow"]), "there is no fault"),
        (lambda s: s.set_balance(-1), "from 0"),
        (lambda s: s.set_balance(1, "Gold"), "must be one of"),
    ],
)
def test_wrong_control_calls_are_refused_with_the_reason(simulator, call, says):
    with pytest.raises(ControlError, match=says):
        call(simulator)
    assert simulator.faults() == []


def test_requests_outside_any_base_url_get_404(simulator):
    origin = simulator.base_url().removesuffix("/thesmspoint/api/v1")
    for path in ("/", "/nobody/api/v1/x", "/thesmspoint/v1/get-sms-balance"):
        code, _ = send(simulator, "", b"", {}, url=origin + path)
        assert code == 404
    assert simulator.stats()["malformed"] == 3
    with (
        pytest.raises(OSError, match="404"),
        urlopen(Request(f"{origin}/_sim/nothing"), timeout=10),
    ):
        pass
