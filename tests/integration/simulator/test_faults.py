"""Every fault of the simulator, as a client sees it."""

import http.client
import json
import socket
import time
from email.utils import parsedate_to_datetime
from urllib.parse import urlsplit

import pytest

from tests.support.simulator import SINGLE, bulk, post, status_of

HEADERS = {"key": "any-key", "Accept": "application/json", "Content-Type": "application/json"}
FIVE = [(f"91900000000{digit}", f"Hello {digit}") for digit in range(5)]


def raw(simulator, fields=SINGLE, timeout_s=10):
    """Status, headers and body of one submission; whatever http.client raises."""
    connection = http.client.HTTPConnection("127.0.0.1", simulator.port, timeout=timeout_s)
    try:
        path = urlsplit(simulator.base_url()).path + "/send-single-sms"
        connection.request("POST", path, json.dumps(fields), HEADERS)
        response = connection.getresponse()
        return response.status, response.headers, response.read()
    finally:
        connection.close()


LOST_AFTER_ACCEPTANCE = {
    "reset_after": ConnectionResetError,
    "eof_after": http.client.RemoteDisconnected,
    "truncated": http.client.IncompleteRead,
}


@pytest.mark.parametrize(("fault", "error"), LOST_AFTER_ACCEPTANCE.items())
def test_an_accepted_request_whose_answer_is_lost_is_in_the_ledger_as_spoilt(
    simulator, fault, error
):
    simulator.fault(fault, count=1)
    with pytest.raises(error):
        raw(simulator)
    (entry,) = simulator.ledger()
    assert entry["spoilt"] == fault
    assert simulator.stats()["faults"] == {fault: 1}
    assert simulator.faults() == []
    assert raw(simulator)[0] == 200


def test_a_reset_before_acceptance_accepts_nothing(simulator):
    simulator.fault("reset_before", count=1)
    with pytest.raises(ConnectionResetError):
        raw(simulator)
    assert simulator.ledger() == []


@pytest.mark.parametrize(
    ("fault", "params", "status", "in_body", "accepted"),
    [
        ("error_before", {}, 503, b"<html>", 0),
        ("error_before", {"status": 500}, 500, b"<html>", 0),
        ("error_after", {}, 502, b"<html>", 1),
        ("html_before", {}, 200, b"<html>", 0),
        ("html_after", {}, 200, b"<html>", 1),
        ("not_found", {}, 404, b"<html>", 0),
        ("too_large", {}, 413, b"<html>", 0),
        ("redirect", {}, 302, b"", 0),
        ("throttled", {}, 429, b"Too Many Requests", 0),
        ("credentials", {}, 200, b"API Key Does Not Exists", 0),
        ("credentials", {"status": 401}, 401, b"API Key Does Not Exists", 0),
        ("credit", {}, 200, b"SMS Credits Not Available", 0),
        ("refused_before", {}, 200, b"Route Temporarily Closed", 0),
        ("refused_after", {"status": 403, "text": "Oops"}, 403, b"Oops", 1),
    ],
)
def test_an_answer_is_replaced(simulator, fault, params, status, in_body, accepted):
    simulator.fault(fault, params=params)
    got, headers, body = raw(simulator)
    assert (got, in_body in body) == (status, True)
    assert [entry["spoilt"] for entry in simulator.ledger()] == [fault] * accepted
    assert ("Location" in headers) == (fault == "redirect")


def test_retry_after_comes_as_seconds_as_a_date_or_not_at_all(simulator):
    simulator.fault("throttled", count=1, params={"retry_after": 7})
    assert raw(simulator)[1]["Retry-After"] == "7"
    simulator.fault("throttled", count=1, params={"retry_after": 3600, "form": "date"})
    until = parsedate_to_datetime(raw(simulator)[1]["Retry-After"]).timestamp()
    assert until - time.time() == pytest.approx(3600, abs=60)
    simulator.fault("throttled", count=1, params={"form": "none"})
    assert raw(simulator)[1]["Retry-After"] is None


def test_a_request_that_hangs_before_acceptance_is_accepted_after_the_client_has_gone(simulator):
    simulator.fault("hang_before", count=1, params={"seconds": 0.6})
    with pytest.raises(TimeoutError):
        raw(simulator, timeout_s=0.2)
    assert simulator.stats()["accepted"] == 0
    simulator.wait_for("accepted", 1)
    assert simulator.ledger()[0]["spoilt"] == "hang_before"


def test_a_request_that_hangs_after_acceptance_is_in_the_ledger_while_it_hangs(simulator):
    simulator.fault("hang_after", count=1, params={"seconds": 60})
    with pytest.raises(TimeoutError):
        raw(simulator, timeout_s=0.2)
    assert simulator.ledger()[0]["spoilt"] == "hang_after"


def test_slow_answers_are_late_and_not_spoilt(simulator):
    simulator.fault("slow", count=1, params={"ms": 150})
    started = time.monotonic()
    assert raw(simulator)[0] == 200
    assert time.monotonic() - started >= 0.15
    assert "spoilt" not in simulator.ledger()[0]


def numbers(answer):
    return [row["Number"] for row in answer["data"]["MessageData"]]


def test_recipients_missing_from_the_answer_are_accepted_and_marked(simulator):
    simulator.fault("missing", params={"share": 0.4})
    shown = numbers(post(simulator, "send-bulk-sms", bulk(FIVE))[1])
    spoilt = {e["number"] for e in simulator.ledger() if e.get("spoilt") == "missing"}
    assert len(shown) == 3
    assert {*shown, *spoilt} == {number for number, _ in FIVE}
    assert simulator.stats()["accepted"] == 5


def test_an_answer_has_every_recipient_twice(simulator):
    simulator.fault("doubled")
    shown = numbers(post(simulator, "send-bulk-sms", bulk(FIVE))[1])
    assert shown == [number for number, _ in FIVE] * 2
    assert simulator.stats()["doubles"] == 0


def test_an_answer_has_its_recipients_in_another_order(simulator):
    simulator.fault("reordered")
    _, answer = post(simulator, "send-bulk-sms", bulk(FIVE))
    assert numbers(answer) != [number for number, _ in FIVE]
    assert {row["Number"]: row["message"] for row in answer["data"]["MessageData"]} == dict(FIVE)


def test_the_short_bulk_answer_names_the_job(simulator):
    simulator.fault("short")
    _, answer = post(simulator, "send-bulk-sms", bulk(FIVE))
    assert {*answer["data"]} == {"status", "message_id"}
    assert len(status_of(simulator, answer["data"]["message_id"])["data"]) == 5


def job_of(simulator, recipients):
    return post(simulator, "send-bulk-sms", bulk(recipients))[1]["data"]["JobId"]


def test_the_status_of_one_message_comes_as_one_object(simulator):
    job = job_of(simulator, [("919855500001", "Hello")])
    simulator.fault("single_object")
    assert status_of(simulator, job) == {
        "status": "success",
        "message": None,
        "data": {
            "status": "success",
            "recipient": "919855500001",
            "sender_id": "SENDER",
            "content": "Hello",
            "delivery_status_id": "Delivered",
            "delivery_status_remark": "",
        },
    }


@pytest.mark.parametrize(
    ("fault", "seen"),
    [
        (None, ("success", ["mobile_number"] * 2, "919855500002", "UnDelivered")),
        ("status_error", ("error", ["mobile_number"] * 2, "919855500002", "UnDelivered")),
        ("recipient_field", ("success", ["recipient", "mobile_number"], None, "UnDelivered")),
        ("ten_digit", ("success", ["mobile_number"] * 2, "9855500002", "UnDelivered")),
        ("status_case", ("success", ["mobile_number"] * 2, "919855500002", "U")),
    ],
)
def test_the_shapes_of_the_documents_status_examples(simulator, fault, seen):
    job = job_of(simulator, [("919855500002", "Hello"), ("919855500001", "Hi")])
    if fault:
        simulator.fault(fault)
    answer = status_of(simulator, job)
    fields = [next(k for k in row if k in {"recipient", "mobile_number"}) for row in answer["data"]]
    first = answer["data"][0]
    assert (answer["status"], fields, first.get("mobile_number"), first["status_name"]) == seen


def test_code_comes_as_a_string_and_numbers_without_country_code(simulator):
    simulator.fault("code_string")
    simulator.fault("ten_digit")
    _, answer = post(simulator, "send-single-sms", SINGLE)
    assert (answer["code"], numbers(answer)) == ("200", ["9954654365"])
    assert simulator.ledger()[0]["number"] == "919954654365"


def test_a_fault_strikes_only_its_kind_of_call_and_at_its_rate(simulator):
    simulator.fault("error_before", on="lookup")
    assert raw(simulator)[0] == 200
    assert post(simulator, "get-sender-id")[0] == 503
    simulator.clear_faults()
    simulator.fault("error_before", rate=0.5)
    statuses = [raw(simulator)[0] for _ in range(60)]
    assert 15 < statuses.count(503) < 45
    assert statuses.count(503) + statuses.count(200) == 60


def test_a_client_that_leaves_in_the_middle_of_its_body_does_no_harm(simulator):
    path = urlsplit(simulator.base_url()).path
    head = f"POST {path}/send-bulk-sms HTTP/1.1\r\nHost: x\r\nContent-Length: 900\r\n\r\n"
    with socket.create_connection(("127.0.0.1", simulator.port), timeout=10) as client:
        client.sendall(head.encode() + b'{"recipient')
    assert simulator.wait_for("cut_short", 1)["malformed"] == 0
    assert raw(simulator)[0] == 200
    assert simulator.stats()["accepted"] == 1


def test_connections_and_requests_at_once_are_counted(simulator):
    simulator.fault("hang_after", count=3, params={"seconds": 60})
    clients = []
    body = json.dumps(SINGLE)
    for _ in range(3):
        client = http.client.HTTPConnection("127.0.0.1", simulator.port, timeout=10)
        client.request(
            "POST", urlsplit(simulator.base_url()).path + "/send-single-sms", body, HEADERS
        )
        clients.append(client)
    stats = simulator.wait_for("accepted", 3)
    for client in clients:
        client.close()
    assert stats["max_connections"] >= 3
    assert stats["max_requests_at_once"] >= 3
