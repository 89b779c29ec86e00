"""Runs every provider's table of cases. A provider without a complete table fails."""

import importlib
import json
import tracemalloc
from dataclasses import replace
from urllib.parse import parse_qsl

import pytest

from dispatcher.errors import ErrorKind, ProviderError
from dispatcher.providers import provider_class, provider_names
from dispatcher.providers.base import StatusLookup
from dispatcher.status import MessageState
from dispatcher.types import (
    HttpRequest,
    PollRef,
    PollRequest,
    PollTarget,
    Recipient,
    SubmitOutcome,
    SubmitRequest,
)
from tests.providers.contract import Failure, Must, raw

TEXT = "Dear Asha, your parcel arrives today."


def cases_of(name):
    return importlib.import_module(f"tests.providers.{name}_cases").CASES


def adapter(name):
    cls = provider_class(name)
    settings = {
        "provider": name,
        "base_url": cls.default_base_url or "https://sms.example.com",
        **cases_of(name).settings,
    }
    return cls(cls.settings_type.model_validate(settings))


def submission(provider, asked):
    recipients = tuple(Recipient(seq, msisdn, TEXT) for seq, msisdn in enumerate(asked))
    http = HttpRequest(method="POST", url=f"{provider.settings.base_url}/submit")
    return SubmitRequest(http=http, recipients=recipients)


def poll_request(provider, ref):
    return PollRequest(
        http=HttpRequest(method="POST", url=f"{provider.settings.base_url}/status"),
        targets=ref.targets,
    )


def decoded(http):
    """A request's body as its content type has it."""
    if http.headers["Content-Type"] == "application/x-www-form-urlencoded":
        return dict(parse_qsl(http.body.decode(), keep_blank_values=True, strict_parsing=True))
    return json.loads(http.body)


def every(part):
    """All providers' cases of one part of the table, as pytest parameters."""
    return [
        pytest.param(name, case, id=f"{name}: {case.name}")
        for name in provider_names()
        for case in getattr(cases_of(name), part)
    ]


def check(means, parse):
    """Compare what `parse` returns or raises with what the table says."""
    if not isinstance(means, Failure):
        assert parse() == means
        return
    with pytest.raises(ProviderError) as caught:
        parse()
    error = caught.value
    assert error.kind is means.kind
    assert means.says in error.message
    assert means.hints in (error.hint or "")
    assert error.retry_after_s == means.retry_after_s
    if means.code is not None:
        assert error.code == means.code


@pytest.mark.parametrize("name", provider_names())
def test_a_provider_has_every_mandatory_case_or_a_reason_for_none(name):
    cases = cases_of(name)
    covered = {case.covers for case in cases.submit if case.covers}

    assert covered | cases.not_applicable.keys() == set(Must)
    assert not covered & cases.not_applicable.keys()
    assert all(len(reason.split()) > 3 for reason in cases.not_applicable.values())


@pytest.mark.parametrize("name", provider_names())
def test_a_provider_has_cases_for_all_that_its_capabilities_promise(name):
    cases, capabilities = cases_of(name), provider_class(name).capabilities

    assert cases.build
    lookup = capabilities.delivery_status
    assert bool(cases.poll) == (lookup in {StatusLookup.BY_JOB, StatusLookup.BY_MESSAGE})
    assert (cases.status_words is not None) == (lookup is not StatusLookup.NONE)
    assert capabilities.lists_accepted or lookup is not StatusLookup.BY_LIST
    for part in ("balance", "senders", "templates", "lists_accepted", "contact_lists"):
        table = getattr(cases, part)
        assert bool(table) == getattr(capabilities, part)
        kinds = {isinstance(case.means, Failure) for case in table}
        assert not table or kinds == {True, False}, f"{part}: one that works, one that fails"


@pytest.mark.parametrize("name", provider_names())
def test_a_documented_number_of_recipients_cannot_be_raised_and_a_guess_can(name):
    cls = provider_class(name)
    limit = cls.capabilities.max_recipients
    documented = cls.settings_type.documented_max_recipients
    valid = adapter(name).settings.model_dump()

    assert cls.settings_type.model_validate({**valid, "max_recipients": limit})
    assert documented in {None, limit}
    if documented is not None:
        with pytest.raises(ValueError, match=rf"`max_recipients` is {limit + 1}, .* {limit} at"):
            cls.settings_type.model_validate({**valid, "max_recipients": limit + 1})
    else:
        assert cls.settings_type.model_validate({**valid, "max_recipients": limit + 1})


@pytest.mark.parametrize(("name", "case"), every("build"))
def test_a_batch_becomes_the_documented_requests(name, case):
    built = list(adapter(name).submit_requests(case.batch))

    assert [request.http.method for request in built] == [one.method for one in case.requests]
    assert [request.http.url for request in built] == [one.url for one in case.requests]
    assert [request.http.headers for request in built] == [one.headers for one in case.requests]
    assert [decoded(request.http) for request in built] == [one.body for one in case.requests]
    sent = [one for request in built for one in request.recipients]
    assert sorted(sent, key=lambda one: one.seq) == list(case.batch.recipients)


@pytest.mark.parametrize(("name", "case"), every("build"))
def test_a_request_shows_no_secret(name, case):
    provider = adapter(name)

    assert provider.secrets
    for request in provider.submit_requests(case.batch):
        shown = f"{request.http!r} {request.http.url} {provider.settings!r}"
        assert not any(secret in shown for secret in provider.secrets)


@pytest.mark.parametrize(("name", "case"), every("build"))
def test_a_submission_carries_its_key_in_a_header_only(name, case):
    provider = adapter(name)

    for request in provider.submit_requests(case.batch):
        elsewhere = f"{request.http.url} {request.http.body.decode()}"
        assert not any(secret in elsewhere for secret in provider.secrets)
        assert any(
            secret in value
            for secret in provider.secrets
            for value in request.http.headers.values()
        )


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "HEAD", "post"])
def test_a_submission_that_an_http_client_would_repeat_cannot_be_built(method):
    http = HttpRequest(method=method, url="https://sms.example.com")

    with pytest.raises(ValueError, match=f"must be a POST, not a {method}"):
        SubmitRequest(http=http, recipients=())


@pytest.mark.parametrize("name", provider_names())
def test_a_contact_list_campaign_is_a_post(name):
    provider = adapter(name)
    if provider.capabilities.contact_lists:
        batch = cases_of(name).build[0].batch
        assert provider.contact_list_request(batch, ["65c0ffee00001"]).method == "POST"


@pytest.mark.parametrize("name", provider_names())
def test_no_request_is_over_the_accounts_limits_and_no_recipient_is_in_two(name):
    cls = provider_class(name)
    texts = ["short", "π" * 200, '"\\' * 100, "a" * 900]
    batch = replace(
        cases_of(name).build[0].batch,
        recipients=tuple(Recipient(i, 919810000000 + i, texts[i % 4]) for i in range(400)),
    )
    limits = {"max_recipients": 37, "max_request_bytes": 4096}
    settings = adapter(name).settings.model_dump() | limits
    built = list(cls(cls.settings_type.model_validate(settings)).submit_requests(batch))

    assert max(len(request.recipients) for request in built) <= 37
    assert max(len(request.http.body) for request in built) <= 4096
    sent = [one.seq for request in built for one in request.recipients]
    assert sorted(sent) == list(range(400))


@pytest.mark.parametrize("text", ["Dear Asha, 20% off: https://a.example/x?y=1", "π" * 335, "x"])
@pytest.mark.parametrize("name", provider_names())
def test_the_largest_honest_answer_to_a_submission_is_within_its_limit(name, text):
    batch = replace(
        cases_of(name).build[0].batch,
        recipients=tuple(Recipient(i, 919810000000 + i, text) for i in range(2000)),
    )
    for request in adapter(name).submit_requests(batch):
        entry = {
            "code": 200, "code_desc": "", "from": "12025550100", "to": "919810000000",
            "country": "IN", "message": text, "delivery_date": "2026-12-20 07:00:00",
            "sale": 0.0075, "type": "BULKSMS", "status": "SCHEDULED", "message_id": "m" * 27,
        }  # fmt: skip
        answer = json.dumps({"status": "success", "data": [entry] * len(request.recipients)})
        assert len(answer.replace("/", r"\/")) < request.http.max_answer_bytes


@pytest.mark.parametrize("name", provider_names())
def test_each_kind_of_call_limits_its_answer(name):
    provider, able = adapter(name), provider_class(name).capabilities
    ref = PollRef(job_id="7", targets=(PollTarget(msisdn=919810012345, provider_message_id="m1"),))
    polls = [request.http for request in provider.poll_requests(ref)]
    short = [
        *([provider.list_request(0)] if able.lists_accepted else []),
        *([provider.balance_request()] if able.balance else []),
    ]
    directory = [
        *([provider.senders_request()] if able.senders else []),
        *([provider.templates_request()] if able.templates else []),
    ]
    batch = replace(cases_of(name).build[0].batch, recipients=(Recipient(0, 919810012345, TEXT),))
    (submission, *_) = provider.submit_requests(batch)

    assert submission.http.max_answer_bytes == 1024 * 1024
    assert all(http.max_answer_bytes <= 1024 * 1024 for http in polls)
    assert all(http.max_answer_bytes <= 512 * 1024 for http in short)
    assert all(http.max_answer_bytes <= 4 * 1024 * 1024 for http in directory)


@pytest.mark.parametrize("piece", [b"{},", b"[],", b'{"a":1},', b'"a",', b"1.5,"])
@pytest.mark.parametrize("around", [b"[%s1]", b'{"status":"success","data":[%s1]}'])
@pytest.mark.parametrize("name", provider_names())
def test_a_large_body_of_almost_nothing_is_refused_before_it_takes_memory(name, around, piece):
    provider = adapter(name)
    request = submission(provider, (919810012345,))
    dense = raw(around % (piece * (4_000_000 // len(piece))))

    tracemalloc.start()
    try:
        with pytest.raises(ProviderError) as caught:
            provider.parse_submit(request, dense)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert caught.value.kind is ErrorKind.DOUBTFUL
    assert peak < 1_000_000


@pytest.mark.parametrize(("name", "case"), every("submit"))
def test_an_answer_to_a_submission_means_what_the_document_says(name, case):
    provider = adapter(name)
    request = submission(provider, case.asked)

    check(case.means, lambda: provider.parse_submit(request, case.response))
    if isinstance(case.means, SubmitOutcome):
        assert {result.msisdn for result in case.means.results} <= set(case.asked)


@pytest.mark.parametrize(("name", "case"), every("poll"))
def test_an_answer_to_a_status_request_means_what_the_document_says(name, case):
    provider = adapter(name)
    request = poll_request(provider, case.ref)

    check(case.means, lambda: tuple(provider.parse_poll(request, case.response)))


@pytest.mark.parametrize(
    ("name", "word", "state", "provisional"),
    [
        pytest.param(name, word, *meaning, id=f"{name}: {word}")
        for name in provider_names()
        if (table := cases_of(name).status_words)
        for word, meaning in {
            **table.words,
            "No such word": table.unknown,
        }.items()
    ],
)
def test_a_status_word_means_one_state_and_an_unknown_word_is_never_final(
    name, word, state, provisional
):
    provider, table = adapter(name), cases_of(name).status_words
    if table.ref is None:
        (report,) = provider.parse_list(0, table.answer(word)).entries
    else:
        (report,) = provider.parse_poll(poll_request(provider, table.ref), table.answer(word))

    assert (report.state, report.provisional, report.raw) == (state, provisional, word)


@pytest.mark.parametrize("name", provider_names())
def test_an_unknown_word_can_still_become_a_delivery(name):
    table = cases_of(name).status_words

    assert table is None or table.unknown[0] is MessageState.SUBMITTED or table.unknown[1]


@pytest.mark.parametrize(("name", "case"), every("balance"))
def test_an_answer_to_a_balance_request_means_what_the_document_says(name, case):
    provider = adapter(name)
    check(case.means, lambda: tuple(provider.parse_balance(case.response)))


@pytest.mark.parametrize(("name", "case"), every("senders"))
def test_an_answer_to_a_senders_request_means_what_the_document_says(name, case):
    provider = adapter(name)
    check(case.means, lambda: tuple(provider.parse_senders(case.response)))


@pytest.mark.parametrize(("name", "case"), every("templates"))
def test_an_answer_to_a_templates_request_means_what_the_document_says(name, case):
    provider = adapter(name)
    check(case.means, lambda: tuple(provider.parse_templates(case.response)))


@pytest.mark.parametrize(("name", "case"), every("lists_accepted"))
def test_an_answer_to_a_request_for_a_page_means_what_real_servers_mean(name, case):
    provider = adapter(name)
    check(case.means, lambda: provider.parse_list(case.page, case.response))


@pytest.mark.parametrize(("name", "case"), every("contact_lists"))
def test_an_answer_to_a_contact_list_campaign_means_what_the_document_says(name, case):
    provider = adapter(name)
    check(case.means, lambda: provider.parse_contact_list(case.response))


@pytest.mark.parametrize("status", [200, 400, 401, 404, 429, 500])
@pytest.mark.parametrize("name", provider_names())
def test_an_error_shows_no_key_no_whole_number_and_no_text(name, status):
    provider = adapter(name)
    request = submission(provider, (919810012345,))
    (key, *_) = provider.secrets
    said = f"no: {key}, +91 98100 12345, 919810012345, \u202e9810012345\u0007, {TEXT}, {TEXT[:20]}"
    refused = replace(cases_of(name).refuses(said), status=status)

    with pytest.raises(ProviderError) as caught:
        provider.parse_submit(request, refused)

    shown = f"{caught.value.message} {caught.value.hint} {caught.value!r}"
    assert "no: •••, +9198••••2345, 9198••••2345, " in shown
    for secret in (key, "98100 12345", "9810012345", TEXT[:20], "\u202e", "\u0007"):
        assert secret not in shown


@pytest.mark.parametrize("name", provider_names())
def test_a_status_request_without_anything_to_ask_by_is_not_made(name):
    ref = PollRef(job_id=None, targets=(PollTarget(msisdn=919810012345, provider_message_id=None),))

    assert list(adapter(name).poll_requests(ref)) == []
