"""Receipts and replies that are pushed: stored once, only forward, and only by who may push."""

import random
import socket
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest

from dispatcher.status import MessageState
from dispatcher.store import push_counts, suppressions
from dispatcher.store.push_urls import revoke_push_urls
from dispatcher.store.replies import list_replies
from dispatcher.store.tables import ATTEMPT, MESSAGE, WAITING_RECEIPT
from tests.support.pushes import new_path, receipt, receiving, reply
from tests.support.stage import wait_for
from tests.support.stores import (
    FIRST_NUMBER,
    add_campaign,
    attempt_of,
    batch_of,
    change,
    counts_of,
    rows,
    settle,
    states,
    submitted,
    submitting,
    verdict,
)

A, B, C = FIRST_NUMBER, FIRST_NUMBER + 1, FIRST_NUMBER + 2


def counted(store):
    with store.read() as conn:
        return {row.outcome: row.n for row in push_counts.load_push_counts(conn) if row.n}


def listed(store):
    with store.read() as conn:
        found = suppressions.list_newest_entries(conn, account=None, limit=100)
    return {(row.msisdn, row.account, row.source) for row in found}


def replies_of(store):
    with store.read() as conn:
        return [(row.msisdn, row.text, row.is_stop) for row in list_replies(conn, limit=100)]


def test_a_pushed_receipt_is_stored_before_the_answer_and_counted(store):
    campaign = add_campaign(store)
    _held, attempt = submitted(store)
    with receiving(store) as client:
        assert client.push(receipt(A, "id-0")) == 200
        assert states(store) == ["delivered", "submitted", "submitted"]
        assert client.push([receipt(B, "id-1", "UNDELIVERED"), receipt(C, "id-2")]) == 200
    assert states(store) == ["delivered", "undelivered", "delivered"]
    assert counts_of(store, campaign) == {"delivered": 2, "undelivered": 1}
    assert attempt_of(store, attempt).poll_at is None, "nothing is left to ask about"
    assert counted(store) == {"receipt": 3}


def test_a_receipt_moves_only_forward_and_a_repeated_one_changes_nothing(store):
    add_campaign(store)
    submitted(store)
    with receiving(store) as client:
        for status in ("DELIVERED", "DELIVERED", "UNDELIVERED", "SENT", "anything"):
            assert client.push(receipt(A, "id-0", status)) == 200
    assert states(store)[0] == "delivered"
    assert counted(store) == {"receipt": 1, "known": 4}


def test_a_receipt_counts_after_polling_has_ended(store):
    campaign = add_campaign(store)
    submitted(store, poll=None)
    assert counts_of(store, campaign) == {"submitted": 3, "no_receipt": 3}
    with receiving(store) as client:
        client.push(receipt(A, "id-0"))
    assert counts_of(store, campaign) == {"submitted": 2, "no_receipt": 2, "delivered": 1}


def test_a_receipt_that_comes_before_the_answer_waits_for_it(store):
    add_campaign(store)
    held, (attempt,) = submitting(store)
    with receiving(store) as client:
        assert client.push(receipt(A, "id-0")) == 200
        assert client.push(receipt(A, "id-0")) == 200
        assert len(rows(store, WAITING_RECEIPT)) == 1
        settle(store, held, attempt, verdict(accepted=[0, 1, 2]))
        with store.write() as conn:
            change(conn, WAITING_RECEIPT, WAITING_RECEIPT.c.msisdn == A, next_at=_long_ago())
        wait_for(lambda: not rows(store, WAITING_RECEIPT), "the receipt to be stored")
    assert states(store) == ["delivered", "submitted", "submitted"]
    assert batch_of(store, held.id).delivered == 1


def _long_ago():
    return datetime(2020, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("msisdn", "message_id"), [(A, "id-1"), (A + 7, "id-0"), (A, "ID-0")], ids=str
)
def test_a_receipt_for_another_number_or_id_touches_nobody(store, msisdn, message_id):
    add_campaign(store)
    submitted(store)
    with receiving(store) as client:
        assert client.push(receipt(msisdn, message_id)) == 200
    assert states(store) == ["submitted"] * 3
    assert counted(store) == {"waiting": 1}


def test_a_receipt_of_one_account_says_nothing_about_anothers_message(store):
    add_campaign(store, account="other")
    submitted(store)
    with receiving(store) as client:
        client.push(receipt(A, "id-0"))
    assert states(store) == ["submitted"] * 3


def test_a_failure_that_may_still_change_waits_for_the_end_of_the_validity(store):
    add_campaign(store)
    _held, attempt = submitted(store)
    with receiving(store) as client:
        client.push([receipt(A, "id-0", "FAILED"), receipt(B, "id-1", "EXPIRED")])
        assert states(store) == ["submitted"] * 3
        client.push(receipt(A, "id-0"))
        assert states(store) == ["delivered", "submitted", "submitted"]
        with store.write() as conn:
            change(conn, ATTEMPT, ATTEMPT.c.id == attempt, poll_until=_long_ago())
            change(conn, WAITING_RECEIPT, WAITING_RECEIPT.c.msisdn > 0, next_at=_long_ago())
        wait_for(lambda: not rows(store, WAITING_RECEIPT), "the validity to end")
    assert states(store) == ["delivered", "expired", "submitted"]


# --- Replies ----------------------------------------------------------------------------------


def test_who_replies_stop_is_on_the_list_of_all_accounts_once(store):
    with receiving(store) as client:
        for _ in range(3):
            assert client.push(reply(A, "Stop!", smsid="r1")) == 200
        assert client.push(reply(B, "Thanks", smsid="r2")) == 200
        assert client.push_form(reply(C, "baja")) == 200
    assert listed(store) == {(A, "", "reply"), (C, "", "reply")}
    assert replies_of(store) == [(C, "baja", True), (B, "Thanks", False), (A, "Stop!", True)]
    assert counted(store) == {"stop": 2, "reply": 1}


def test_the_same_words_without_an_id_are_one_reply_a_day_and_other_words_another(store):
    with receiving(store) as client:
        for text in ("Hi", "Hi", "Hello"):
            client.push(reply(A, text))
    assert [text for _number, text, _stop in replies_of(store)] == ["Hello", "Hi"]


def test_a_reply_as_the_summary_shows_it_is_read_and_a_receipt_is_no_reply(store):
    inbound = {
        "sms_id": "in01", "sms_external": str(A), "sms_status": "RECEIVED", "sms_msg": "STOP",
    }  # fmt: skip
    with receiving(store) as client:
        client.push({"summary": [inbound, receipt(B, "id-1", "BOUNCED", msg="STOP")]})
    assert listed(store) == {(A, "", "reply")}
    assert replies_of(store) == [(A, "STOP", True)]


def test_an_accounts_own_stop_words_replace_those_of_all_languages(store):
    with receiving(store, stop_words=["Slutt"]) as client:
        client.push([reply(A, "STOP"), reply(B, "slutt")])
    assert listed(store) == {(B, "", "reply")}


def test_a_reply_that_is_too_long_is_cut_and_an_odd_one_is_harmless(store):
    with receiving(store) as client:
        assert client.push([reply(A, "x" * 9000), reply(B, "a\0b\x1b[2J")]) == 200
    assert {len(text) for _number, text, _stop in replies_of(store)} == {4000, 6}


# --- Who may push -----------------------------------------------------------------------------


def test_only_the_secret_url_of_an_account_opens_anything(sqlite_store):
    store = sqlite_store
    add_campaign(store)
    submitted(store)
    body = b'{"smsid": "id-0", "to": "%d", "status": "DELIVERED"}' % A
    with receiving(store, accounts=("main", "other")) as client:
        right = client.path
        wrong = [
            "/", "/push", "/push/", "/push/main", "/push/main/", f"{right}x", right[:-1],
            right.replace("main", "other"), right.replace("main", "nobody"), f"/x{right}",
            right.upper(), f"{right}/", f"/push/main/{'a' * 3000}", "/push/main/%00",
        ]  # fmt: skip
        assert [client.ask("POST", path, body)[0] for path in wrong] == [404] * len(wrong)
        assert states(store) == ["submitted"] * 3
        assert client.ask("POST", right, body)[0] == 200
        assert client.ask("GET", "/healthz")[0] == 200
    assert counted(store) == {"refused": len(wrong), "receipt": 1}


def test_a_new_url_opens_soon_and_a_revoked_one_closes(sqlite_store):
    store = sqlite_store
    with receiving(store) as client:
        first, client.path = client.path, new_path(store)
        wait_for(lambda: client.push(reply(A, "Hi")) == 200, "the new URL to open", within_s=10)
        assert client.ask("POST", first, b"from=1&msg=x")[0] == 200, "the first one works too"
        with store.write() as conn:
            assert revoke_push_urls(conn, "main", but_newest=True) == 1
        wait_for(
            lambda: client.ask("POST", first, b"from=1&msg=x")[0] == 404,
            "the first to close",
            within_s=10,
        )
        assert client.push(reply(A, "Hi")) == 200


def test_no_token_is_in_the_store(sqlite_store):
    token = new_path(sqlite_store).rpartition("/")[2]
    path = sqlite_store.url.database
    with sqlite_store.write():
        pass
    held = b"".join(Path(f"{path}{end}").read_bytes() for end in ("", "-wal"))
    assert token.encode() not in held


# --- What cannot be read ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "body", "headers"),
    [
        ("POST", b"", {}),
        ("POST", b"{", {}),
        ("POST", b"[]", {}),
        ("POST", b"[1]", {}),
        ("POST", b"{}", {}),
        ("POST", b"\xff\xfe", {}),
        ("POST", b"no form", {}),
        ("POST", b"[" * 5000, {}),
        ("POST", b"[%s]" % b",".join([b'{"a":1}'] * 1001), {}),
        ("POST", b"a=1" * 200_000, {}),
        ("POST", b"x", {"Content-Encoding": "gzip"}),
        ("PUT", b"a=1", {}),
        ("GET", b"", {}),
    ],
    ids=range(13),
)
def test_what_cannot_be_read_is_refused_and_counted(sqlite_store, method, body, headers):
    with receiving(sqlite_store) as client:
        assert client.ask(method, client.path, body, headers)[0] == 400
    assert counted(sqlite_store) == {"unreadable": 1}


def test_an_unknown_entry_is_counted_and_its_fields_are_named_but_no_value(sqlite_store, caplog):
    with receiving(sqlite_store) as client:
        assert client.push({"phone": "919812345678", "body": "secret words"}) == 200
    assert counted(sqlite_store) == {"ignored": 1}
    assert "body, phone" in caplog.text
    assert "9198" not in caplog.text
    assert "secret" not in caplog.text


def test_a_thousand_malformed_bodies_do_no_harm(sqlite_store):
    store = sqlite_store
    add_campaign(store)
    submitted(store)
    draw = random.Random(7)
    good = b'[{"smsid":"id-0","to":"%d","status":"DELIVERED"},{"from":"%d","msg":"Hi"}]' % (B, A)
    with receiving(store) as client:
        for _ in range(1000):
            spoilt = bytearray(good)
            for _ in range(draw.randrange(1, 6)):
                spoilt[draw.randrange(len(spoilt))] = draw.randrange(256)
            status = client.ask("POST", client.path, bytes(spoilt))[0]
            assert status in {200, 400}
        assert client.push(receipt(A, "id-0")) == 200
    assert states(store)[0] == "delivered"


# --- Limits -----------------------------------------------------------------------------------


def end_of(connection):
    try:
        return connection.recv(1)
    except ConnectionResetError:
        return b""


def test_connections_above_the_limit_are_closed_and_others_go_on(sqlite_store, monkeypatch):
    with receiving(sqlite_store) as client:
        host, port = client.place.split(":")
        held = [socket.create_connection((host, int(port))) for _ in range(520)]
        since = time.monotonic()
        try:
            assert [end_of(one) for one in held[500:]] == [b""] * 20
            # What is idle is closed too, much later.
            assert time.monotonic() < since + 15
            held[0].close()
            wait_for(lambda: client.ask("GET", "/healthz")[0] == 200, "room for another")
        finally:
            for one in held:
                one.close()


def test_while_the_store_is_away_the_provider_is_asked_to_come_again(sqlite_store):
    store = sqlite_store
    with receiving(store) as client:
        with store.write() as conn:
            conn.exec_driver_sql("ALTER TABLE reply RENAME TO gone")
        assert client.push(reply(A, "Hi")) == 503
        with store.write() as conn:
            conn.exec_driver_sql("ALTER TABLE gone RENAME TO reply")
        assert client.push(reply(A, "Hi")) == 200
    assert replies_of(store) == [(A, "Hi", False)]


def test_one_push_that_does_not_fit_spoils_no_other(sqlite_store):
    from dispatcher.receiver.access import PushAccess
    from dispatcher.receiver.intake import AccountPush
    from dispatcher.receiver.writer import PushWriter
    from dispatcher.text.opt_outs import StopWords
    from dispatcher.types import DeliveryReport, InboundMessage, PushContent

    store, ends = sqlite_store, {}
    writer = PushWriter(store, PushAccess(store), {"main": StopWords()})
    for name, msisdn in (("good", A), ("bad", 2**70), ("other", B)):
        content = PushContent(replies=(InboundMessage(msisdn, "Hi"),))
        push = AccountPush("main", content)
        assert writer.queue_push(push, lambda stored, name=name: ends.update({name: stored}))
    report = DeliveryReport(A, MessageState.DELIVERED, "D", "x")
    more = AccountPush("main", PushContent(reports=(report,)))
    assert writer.queue_push(more, lambda stored: ends.update(receipt=stored))
    writer.start()
    writer.stop()
    assert ends == {"good": True, "bad": False, "other": True, "receipt": True}
    assert {number for number, _text, _stop in replies_of(store)} == {A, B}
    assert rows(store, MESSAGE) == []
