"""Whatever an answer holds, parsers raise only ProviderError, and report only on what was asked.

All parsers together run for a minute; `FUZZ_SECONDS=600` (`make fuzz`) for ten.
"""

import json
import os
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dispatcher.errors import ProviderError
from dispatcher.providers import provider_class, provider_names
from dispatcher.types import Balance, HttpResponse, SenderId, Template
from tests.providers.test_contract import adapter, cases_of, poll_request, submission

scalars = (
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=12)
    | st.sampled_from(["success", "error", "000", "0", "919810012345", 919810012345, "m1"])
)
anything = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4)
    ),
    max_leaves=10,
)
headers = st.dictionaries(
    st.sampled_from(["retry-after", "date", "location", "content-type"]),
    st.text(max_size=30) | st.just("Thu, 31 Jan 2030 12:00:00 GMT"),
)
statuses = st.sampled_from([200, 200, 200, 200, 201, 302, 400, 401, 403, 404, 422, 429, 500, 999])


@st.composite
def mutated(draw, value):
    """`value`, a JSON value, with something in it replaced, left out or doubled."""
    if isinstance(value, dict | list) and value and draw(st.integers(0, 4)):
        keys = list(value) if isinstance(value, dict) else range(len(value))
        key = draw(st.sampled_from(list(keys)))
        change = draw(st.sampled_from(["deeper", "deeper", "deeper", "drop", "double"]))
        copy = value.copy()
        if change == "drop":
            del copy[key]
        elif change == "double" and isinstance(copy, list):
            copy.append(copy[key])
        else:
            copy[key] = draw(mutated(copy[key]))
        return copy
    return draw(anything)


@st.composite
def answers(draw, documented):
    """An answer: a documented one, mutated; any JSON; or any bytes."""
    how = draw(st.sampled_from(["mutated", "mutated", "mutated", "cut", "anything", "bytes"]))
    if how == "bytes":
        body = draw(st.binary(max_size=40))
    elif how == "anything":
        body = json.dumps(draw(anything)).encode()
    else:
        value = draw(st.sampled_from(documented))
        body = json.dumps(draw(mutated(value))).encode()
        if how == "cut":
            body = body[: draw(st.integers(0, len(body)))]
    return HttpResponse(status=draw(statuses), headers=draw(headers), body=body)


SECONDS = float(os.environ.get("FUZZ_SECONDS", "60"))
#: Answers in one call: on busy processors a call of hundreds outlasts its share of the time.
EXAMPLES = 50


def fuzzed(strategy):
    """Run the decorated function with EXAMPLES answers, new ones in every call."""

    def decorate(holds):
        limits = settings(max_examples=EXAMPLES, deadline=None, database=None, derandomize=False)
        return limits(given(strategy)(holds))

    return decorate


def repeatedly(holds, *, examples):
    """Call `holds` for this parser's share of the time, but until it has seen so many answers."""
    until = time.monotonic() + SECONDS / PARSERS
    seen = 0
    while seen < examples or time.monotonic() < until:
        holds()
        seen += EXAMPLES


def documented_bodies(table):
    bodies = []
    for case in table:
        try:
            bodies.append(json.loads(case.response.body))
        except ValueError:
            continue
    return bodies


#: Tables of documented answers, and the parser that reads them.
_PARSERS = {
    "submit": "parse_submit",
    "poll": "parse_poll",
    "balance": "parse_balance",
    "senders": "parse_senders",
    "templates": "parse_templates",
    "lists_accepted": "parse_list",
    "contact_lists": "parse_contact_list",
}


def names(part):
    """Providers with a table of that part; only the first of those that share a parser."""
    first = {}
    for name in provider_names():
        if getattr(cases_of(name), part):
            first.setdefault(getattr(provider_class(name), _PARSERS[part]), name)
    return [*first.values()]


PARSERS = sum(len(names(part)) for part in _PARSERS)


@pytest.mark.parametrize("name", names("submit"))
def test_no_answer_to_a_submission_breaks_the_parser_or_adds_a_recipient(name):
    provider, table = adapter(name), cases_of(name).submit
    asked = max((case.asked for case in table), key=len)
    request = submission(provider, asked)

    @fuzzed(answers(documented_bodies(table)))
    def holds(response):
        try:
            outcome = provider.parse_submit(request, response)
        except ProviderError:
            return
        found = [result.msisdn for result in outcome.results]
        assert set(found) <= set(asked)
        assert len(set(found)) == len(found)
        assert found or outcome.job_id

    repeatedly(holds, examples=300)


@pytest.mark.parametrize("name", names("poll"))
def test_no_answer_to_a_status_request_breaks_the_parser_or_reports_on_others(name):
    provider, table = adapter(name), cases_of(name).poll
    request = poll_request(provider, table[0].ref)
    asked = {target.msisdn for target in request.targets}

    @fuzzed(answers(documented_bodies(table)))
    def holds(response):
        try:
            reports = provider.parse_poll(request, response)
        except ProviderError:
            return
        assert {report.msisdn for report in reports} <= asked
        assert len({report.msisdn for report in reports}) == len(reports)

    repeatedly(holds, examples=200)


@pytest.mark.parametrize(
    ("name", "part"),
    [
        pytest.param(name, part, id=f"{name}: {part}")
        for part in ("balance", "senders", "templates")
        for name in names(part)
    ],
)
def test_no_answer_about_the_account_breaks_the_parser(name, part):
    parse = getattr(adapter(name), f"parse_{part}")
    known = {Balance, SenderId, Template}

    @fuzzed(answers(documented_bodies(getattr(cases_of(name), part))))
    def holds(response):
        try:
            found = parse(response)
        except ProviderError:
            return
        assert {type(one) for one in found} <= known

    repeatedly(holds, examples=100)


@pytest.mark.parametrize("name", names("lists_accepted"))
def test_no_page_breaks_the_parser_or_leads_anywhere_but_to_the_next(name):
    provider, table = adapter(name), cases_of(name).lists_accepted

    @fuzzed(answers(documented_bodies(table)))
    def holds(response):
        try:
            page = provider.parse_list(0, response)
        except ProviderError:
            return
        assert page.next_page in {None, 1}
        assert all(entry.provider_message_id for entry in page.entries)
        assert all(entry.msisdn is None or entry.msisdn > 0 for entry in page.entries)
        assert all(entry.created_at is None or entry.created_at.tzinfo for entry in page.entries)

    repeatedly(holds, examples=200)


@pytest.mark.parametrize("name", names("contact_lists"))
def test_no_answer_to_a_contact_list_campaign_breaks_the_parser(name):
    provider, table = adapter(name), cases_of(name).contact_lists

    @fuzzed(answers(documented_bodies(table)))
    def holds(response):
        try:
            handle = provider.parse_contact_list(response)
        except ProviderError:
            return
        assert handle is None or handle

    repeatedly(holds, examples=100)
