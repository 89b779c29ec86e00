"""What all adapters share: HTTP statuses, waiting times, texts, ids, amounts, numbers."""

from datetime import UTC, datetime
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dispatcher.errors import ErrorKind, ProviderError
from dispatcher.providers.shared.answers import (
    check_status,
    parse_or_none,
    read_json,
    refusal_error,
    retry_after_s,
    unreadable_error,
)
from dispatcher.providers.shared.error_texts import error_texts, one_line, redacted
from dispatcher.providers.shared.fields import (
    read_amount,
    read_entries,
    read_id,
    read_ids,
    read_text,
    read_time,
)
from dispatcher.providers.shared.matching import (
    AskedNumbers,
    AskedTargets,
    drop_shared_ids,
    keep_most_final,
    match_accepted,
    match_plain_targets,
)
from dispatcher.status import MessageState
from dispatcher.types import DeliveryReport, PollTarget, RecipientResult
from tests.providers.contract import answer, raw

URL = "https://sms.example.com/api/submit"
NOW = datetime(2030, 1, 31, 12, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (100, ErrorKind.DOUBTFUL),
        (301, ErrorKind.CONFIGURATION),
        (308, ErrorKind.CONFIGURATION),
        (401, ErrorKind.CREDENTIALS),
        (404, ErrorKind.CONFIGURATION),
        (405, ErrorKind.CONFIGURATION),
        (413, ErrorKind.CONFIGURATION),
        (429, ErrorKind.THROTTLED),
        (500, ErrorKind.DOUBTFUL),
        (502, ErrorKind.DOUBTFUL),
        (599, ErrorKind.DOUBTFUL),
        (999, ErrorKind.DOUBTFUL),
    ],
)
def test_these_http_statuses_decide_alone(status, kind):
    with pytest.raises(ProviderError) as caught:
        check_status(answer({"status": "success"}, status), url=URL)
    assert caught.value.kind is kind
    assert caught.value.code == str(status)


@pytest.mark.parametrize("status", [200, 201, 202, 400, 402, 403, 408, 409, 410, 422])
def test_these_http_statuses_leave_it_to_the_body(status):
    check_status(answer({}, status), url=URL)


@pytest.mark.parametrize(
    ("response", "message", "hint"),
    [
        (answer({"message": "No  such\npage"}, 404), f"HTTP 404 from {URL}: No such page", "base_"),
        (raw(b"", 302, location="https://x.example/"), "redirected to https://x.exa", "base_url"),
        (raw(b"<html>", 413), f"HTTP 413 from {URL}", "lower the account's `max_recipients`"),
        (answer({"errors": {"key": ["Bad key"]}}, 401), "Bad key", "IP addresses"),
        (raw(b"<html>", 503), "the provider answered HTTP 503", ""),
    ],
)
def test_an_http_error_names_the_place_and_the_remedy(response, message, hint):
    with pytest.raises(ProviderError) as caught:
        check_status(response, url=URL)
    assert message in caught.value.message
    assert hint in (caught.value.hint or "")


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"retry-after": "120"}, 120.0),
        ({"retry-after": " 0 "}, 0.0),
        ({"retry-after": "9" * 400}, 86_400.0),
        ({"retry-after": "-5"}, None),
        ({"retry-after": "1.5"}, None),
        ({"retry-after": "٣"}, None),
        ({"retry-after": "soon"}, None),
        ({"retry-after": "Thu, 31 Jan 2030 12:00:30 GMT"}, 30.0),
        ({"retry-after": "Thursday, 31-Jan-30 12:00:30 GMT"}, 30.0),
        ({"retry-after": "Thu Jan 31 12:00:30 2030"}, 30.0),
        ({"retry-after": "Thu, 31 Jan 2030 11:59:00 GMT"}, 0.0),
        ({"retry-after": "Thu, 31 Jan 2041 12:00:00 GMT"}, 86_400.0),
        ({"retry-after": "Thu, 99 Jan 2030 12:00:00 GMT"}, None),
        (
            {
                "retry-after": "Thu, 31 Jan 2030 08:01:00 GMT",
                "date": "Thu, 31 Jan 2030 08:00:00 GMT",
            },
            60.0,
        ),
    ],
)
def test_retry_after_is_seconds_or_a_date_and_at_most_a_day(headers, seconds):
    assert retry_after_s(headers, now=NOW) == seconds


@pytest.mark.parametrize("body", [b"", b"<html>", b'{"a": ', b"\xff\xfe", b"[" * 5000, b"NaN"])
def test_what_is_not_json_is_in_doubt(body):
    with pytest.raises(ProviderError, match=r"HTTP 200, text/html\) is not JSON") as caught:
        read_json(raw(body, content_type="text/html"))
    assert caught.value.kind is ErrorKind.DOUBTFUL


def test_a_byte_order_mark_before_json_is_ignored():
    assert read_json(raw(b'\xef\xbb\xbf{"a": 1}')) == {"a": 1}


@pytest.mark.parametrize(
    "body", ['{"a": "caf\xe9"}'.encode("latin-1"), b'\xef\xbb\xbf{"a": "\x80"}']
)
def test_letters_of_another_charset_are_lost_and_the_answer_is_not(body):
    assert [*read_json(raw(body))] == ["a"]


@pytest.mark.parametrize(
    ("value", "entries"),
    [
        ([], []),
        ([1, {}], [1, {}]),
        ({"0": {"a": 1}, "2": {"b": 2}}, [{"a": 1}, {"b": 2}]),
        ({"a": 1, "b": {}}, [{"a": 1, "b": {}}]),
        ({}, None),
        (None, None),
        ("text", None),
    ],
)
def test_entries_are_a_list_an_object_of_entries_or_one_entry(value, entries):
    assert read_entries(value) == entries


def balance(response):
    check_status(response, url=URL)
    found = read_json(response)
    if not isinstance(found, int):
        raise unreadable_error("balance")
    return found


@pytest.mark.parametrize(
    ("status", "body", "found"),
    [(200, b"7", 7), (200, b'{"data": "sms Balance"}', None), (403, b'{"message": "no"}', None)],
)
def test_json_proves_that_the_provider_is_up_whatever_it_says(status, body, found):
    assert parse_or_none(raw(body, status), balance) == found


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (200, b"<html>We will be back soon.</html>", ErrorKind.DOUBTFUL),
        (503, b"{}", ErrorKind.DOUBTFUL),
        (401, b"{}", ErrorKind.CREDENTIALS),
        (404, b"{}", ErrorKind.CONFIGURATION),
    ],
)
def test_a_web_page_or_a_5xx_does_not_prove_that_the_provider_is_up(status, body, kind):
    with pytest.raises(ProviderError) as caught:
        parse_or_none(raw(body, status), balance)
    assert caught.value.kind is kind


KNOWN = {"no credit": ErrorKind.CREDIT, "bad key": ErrorKind.CREDENTIALS}


@pytest.mark.parametrize(
    ("texts", "contradicted", "kind"),
    [
        (["No Credit"], False, ErrorKind.CREDIT),
        (["  NO   credit. ", "no credit"], False, ErrorKind.CREDIT),
        (["error", "No credit"], False, ErrorKind.CREDIT),
        (["Bad Request", "No credit"], False, ErrorKind.CREDIT),
        (["No credit for 3 of 9"], False, ErrorKind.DOUBTFUL),
        (["No credit", "3 of 9 sent"], False, ErrorKind.DOUBTFUL),
        (["No credit", "bad key"], False, ErrorKind.DOUBTFUL),
        (["No credit"], True, ErrorKind.DOUBTFUL),
        (["error"], False, ErrorKind.DOUBTFUL),
        ([], False, ErrorKind.DOUBTFUL),
    ],
)
def test_only_a_known_text_alone_proves_that_nothing_was_sent(texts, contradicted, kind):
    error = refusal_error(texts, KNOWN, response=answer({}), contradicted=contradicted)
    assert error.kind is kind
    assert error.message


def test_texts_that_prove_nothing_are_shown_where_there_are_no_others():
    assert refusal_error(["Forbidden"], KNOWN, response=answer({}, 403)).message == "Forbidden"


@pytest.mark.parametrize(
    ("code", "shown"), [("007", "007"), (12, "12"), (None, "422"), ([], "422")]
)
def test_a_refusal_has_the_providers_code_or_the_http_status(code, shown):
    assert refusal_error([], KNOWN, response=answer({}, 422), code=code).code == shown


@pytest.mark.parametrize(
    ("said", "found"),
    [
        ({"message": "One"}, ["One"]),
        ({"errors": ["One", " ", "Two"]}, ["One", "Two"]),
        ({"errors": {"a": ["One"], "b": "Two"}}, ["One", "Two"]),
        ({"message": None, "error": 5, "errors": [None, True]}, []),
        (["One"], []),
        ("One", []),
        ({"errors": [f"{n}" for n in range(500)]}, [f"{n}" for n in range(20)]),
    ],
)
def test_error_texts_are_found_in_a_string_a_list_or_an_object(said, found):
    assert error_texts(said) == found


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("two\r\nlines\t", "two lines"),
        ("\x1b[31mred\x00\x07", "[31mred"),
        ("a\u202eb\u2066c\u200bd\ufeffe", "abcde"),
        ("x" * 200, "x" * 200),
        ("x" * 201, "x" * 199 + "…"),
        ("wait until 2030-01-31 12:00", "wait until 2030-01-31 12:00"),
        ("IP 203.0.113.240 not allowed", "IP 203.0.113.240 not allowed"),
        ("code 123456", "code 123456"),
        ("to 919810012345", "to 9198••••2345"),
        ("to +91 98100-12345.", "to +9198••••2345."),
        ("to 98\u200b10012345", "to 98••••45"),
        ("to ٩١٩٨١٠٠١٢٣٤٥", "to 9198••••2345"),
    ],
)
def test_a_redacted_text_is_one_short_line_without_controls_and_whole_numbers(text, shown):
    assert redacted(text) == shown


@pytest.mark.parametrize(
    ("text", "hide", "shown"),
    [
        ("key k3y-of-ours is bad", ["k3y-of-ours"], "key ••• is bad"),
        ("'Dear Asha, your parc...' is spam", ["Dear Asha, your parcel"], "'•••...' is spam"),
        ("a hi b", ["hi"], "a hi b"),
        ("unauthenticated", ["unauthenticated"], "•••"),
        ("••••••••", ["••••"], "••••••"),
    ],
)
def test_what_must_not_show_is_hidden_even_where_it_is_quoted_in_part(text, hide, shown):
    assert redacted(text, hide=hide) == shown


@settings(max_examples=100, deadline=None, database=None)
@given(st.text(max_size=400), st.lists(st.text(max_size=40), max_size=3))
def test_any_text_can_be_redacted(text, hide):
    shown = redacted(text, hide=hide)
    assert len(shown) <= 200
    assert shown == one_line(shown)


@pytest.mark.parametrize(
    ("value", "found"),
    [
        ("abc:1", "abc:1"),
        (" 12345 ", "12345"),
        (12345, "12345"),
        (2**64 - 1, "18446744073709551615"),
        (1.2345e23, None),
        (True, None),
        (None, None),
        ("", None),
        ("0", None),
        (0, None),
        (-1, None),
        ("-1", None),
        ("a\nb", None),
        ("९", None),
        ("x" * 129, None),
        ({}, None),
    ],
)
def test_an_id_is_printable_text_or_a_positive_number(value, found):
    assert read_id(value) == found


@pytest.mark.parametrize(
    ("value", "found"),
    [
        (12, Decimal(12)),
        (0, Decimal(0)),
        (-3, Decimal(-3)),
        (0.1, Decimal("0.1")),
        (0.00005, Decimal("0.00005")),
        (1e300, None),
        (" 12.50 ", Decimal("12.50")),
        ("1e9", None),
        ("NaN", None),
        (float("inf"), None),
        ("1,000", None),
        ("", None),
        (True, None),
        (None, None),
        ([], None),
    ],
)
def test_an_amount_is_a_plain_decimal(value, found):
    assert read_amount(value) == found


@pytest.mark.parametrize(
    ("value", "text"),
    [(" Sent ", "Sent"), (200, "200"), (1.5, "1.5"), (True, ""), (None, ""), (["x"], ""), ({}, "")],
)
def test_a_text_is_a_string_or_a_number(value, text):
    assert read_text({"field": value}, "field") == text


@pytest.mark.parametrize(
    ("text", "zone", "moment"),
    [
        ("2026-12-20T07:00:00Z", None, "2026-12-20T07:00:00+00:00"),
        ("2026-12-20T07:00:00+05:30", "UTC", "2026-12-20T01:30:00+00:00"),
        ("2026-12-20 07:00:00", "Asia/Kolkata", "2026-12-20T01:30:00+00:00"),
        ("2026-12-20 07:00:00", "+05:30", "2026-12-20T01:30:00+00:00"),
        ("2026-12-20 07:00:00", None, None),
        ("yesterday", "UTC", None),
        ("0001-01-01T00:00:00+14:00", None, None),
    ],
)
def test_a_time_is_in_utc_and_none_where_its_zone_is_unknown(text, zone, moment):
    found = read_time(text, zone)
    assert (found and found.isoformat()) == moment


def test_a_large_answer_of_real_entries_is_read():
    entries = [{"Number": f"9198100{n:05}", "message_id": f"{n}"} for n in range(20_000)]
    response = answer({"data": entries})
    assert len(response.body) > 512 * 1024
    assert read_json(response) == {"data": entries}


ASKED = (919810012345, 919810067890, 6591234567, 916591234567, 447700900123)


@pytest.mark.parametrize(
    ("value", "found"),
    [
        ("919810012345", 919810012345),
        (919810012345, 919810012345),
        ("+91 98100-12345", 919810012345),
        ("00919810012345", 919810012345),
        ("9810012345", 919810012345),
        ("09810012345", 919810012345),
        (9810067890, 919810067890),
        ("6591234567", 6591234567),  # it in full, though another ends in it
        ("91234567", None),  # the end of one, and without its code of no other
        ("10012345", None),  # more than a country code is missing
        ("919999999999", None),
        ("98xxxx2345", None),
        ("", None),
        (None, None),
        (True, None),
        (9810012345.0, None),
        ([], None),
    ],
)
def test_a_number_is_found_in_full_or_without_its_country_code(value, found):
    asked = ASKED if value != "91234567" else (6591234567, 4791234567)
    assert AskedNumbers(asked).find_msisdn(value) == found


TARGETS = (
    PollTarget(msisdn=919810012345, provider_message_id="m1"),
    PollTarget(msisdn=919810067890, provider_message_id="m2"),
    PollTarget(msisdn=14155550100, provider_message_id="shared"),
    PollTarget(msisdn=14155550101, provider_message_id="shared"),
    PollTarget(msisdn=9810067890, provider_message_id=None),
)


@pytest.mark.parametrize(
    ("number", "message_id", "found"),
    [
        ("919810012345", "m1", 919810012345),
        ("9810012345", None, 919810012345),
        (None, "m1", 919810012345),
        ("98xxxxxx45", "m1", 919810012345),
        ("919810067890", "m1", None),  # they contradict each other
        ("919999999999", "m1", None),  # somebody else's number
        ("919810012345", "job", 919810012345),  # an id we do not know says nothing
        ("14155550101", "shared", 14155550101),
        (None, "shared", None),
        (None, None, None),
    ],
)
def test_a_report_belongs_to_the_message_its_number_and_id_agree_on(number, message_id, found):
    target = AskedTargets(TARGETS).find_target(number, message_id)
    assert (target and target.msisdn) == found


def test_the_most_final_of_several_reports_about_a_message_counts():
    states = [
        (MessageState.SUBMITTED, False),
        (MessageState.EXPIRED, True),
        (MessageState.DELIVERED, False),
        (MessageState.UNDELIVERED, False),
        (MessageState.SUBMITTED, False),
    ]
    reports = [
        DeliveryReport(msisdn=1, state=state, raw="", provisional=late) for state, late in states
    ]
    assert [report.state for report in keep_most_final(reports)] == [MessageState.DELIVERED]
    assert [report.state for report in keep_most_final(reports[:2])] == [MessageState.EXPIRED]


def test_an_id_that_several_recipients_share_is_dropped():
    results = [
        RecipientResult(msisdn=1, accepted=True, provider_message_id="a"),
        RecipientResult(msisdn=2, accepted=True, provider_message_id="b"),
        RecipientResult(msisdn=3, accepted=True, provider_message_id="a"),
    ]
    assert [one.provider_message_id for one in drop_shared_ids(results)] == [None, "b", None]


# What nearly all answers are is read by the thousand; it must be what one by one gives.
_SHOWN_IDS = st.sampled_from(
    ["7", "10", "007", "0", "000", "-4", "", " 8", "m-1", 7, 0, -1, True, None, "9" * 129, []]
)
_SHOWN_NUMBERS = st.sampled_from(
    [
        "919810012345", "+919810012345", "9810012345", "919810067890", "918888888888",
        919810012345, "14155550101", "4155550101", "0919810067890", "x", "", None, [],
    ]
)  # fmt: skip


@given(st.lists(_SHOWN_IDS, max_size=5))
def test_ids_are_read_together_as_one_by_one(values):
    assert read_ids(values) == [read_id(value) for value in values]


@given(st.lists(st.tuples(_SHOWN_NUMBERS, _SHOWN_IDS), max_size=4))
def test_acceptances_are_matched_together_as_one_by_one(shown):
    msisdns = [target.msisdn for target in TARGETS]
    entries = [{"n": number, "i": message_id} for number, message_id in shown]
    wanted = {}
    for number, message_id in shown:
        found = AskedNumbers(msisdns).find_msisdn(number, entries=len(entries))
        if found is not None:
            result = RecipientResult(found, True, provider_message_id=read_id(message_id))
            wanted.setdefault(found, result)
    got = match_accepted(entries, AskedNumbers(msisdns), "job", number_field="n", id_field="i")
    assert got == drop_shared_ids(wanted.values())


@given(
    st.lists(
        st.tuples(_SHOWN_NUMBERS, st.sampled_from(["m1", "m2", "shared", "x", None, 3, []])),
        max_size=4,
    )
)
def test_status_entries_are_matched_together_as_one_by_one(shown):
    numbers, ids = [number for number, _ in shown], [message_id for _, message_id in shown]
    found = match_plain_targets(TARGETS, numbers, ids)
    if found is not None:
        asked = AskedTargets(TARGETS)
        one_by_one = [asked.find_target(*each, entries=len(shown)) for each in shown]
        assert found == [target and target.msisdn for target in one_by_one]
        assert len(set(found) - {None}) == len(found) - found.count(None)


def test_entries_about_others_and_in_another_order_are_matched_together():
    numbers = ["918888888888", *(str(target.msisdn) for target in reversed(TARGETS))]
    ids = ["m9", *(target.provider_message_id for target in reversed(TARGETS))]
    msisdns = [target.msisdn for target in reversed(TARGETS)]
    assert match_plain_targets(TARGETS, numbers, ids) == [None, *msisdns]
