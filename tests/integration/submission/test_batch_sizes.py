"""How large batches are: what the provider takes, and never more than ten seconds of the rates."""

from dataclasses import replace

import pytest

from dispatcher.campaigns.timing import Timing
from dispatcher.campaigns.wording import burst_in_words
from dispatcher.outbound.fallback import move_campaign
from dispatcher.outbound.rates import account_rates, campaign_longest_s
from dispatcher.policy.batching import BatchSize
from dispatcher.policy.fair_queue import Unit
from dispatcher.policy.routes import AccountRoute
from dispatcher.providers.shared.settings import ProviderSettings
from dispatcher.status import CampaignState
from dispatcher.store import accounts
from dispatcher.store.tables import BATCH, CAMPAIGN
from dispatcher.submission.acceptance import accept_import
from dispatcher.submission.campaign_import import import_rows
from dispatcher.types import Route
from tests.support.stores import (
    NOW,
    FakeProvider,
    add_account,
    campaign_of,
    change,
    claimed,
    ignore,
    order,
    provider,
    ready,
    rows,
    settings,
)
from workers.batch.requests import turn_size


class CommaList(FakeProvider):
    """A provider that takes one text per request."""

    capabilities = replace(FakeProvider.capabilities, personal_texts=False)


def people(count):
    return "phone,name\n" + "".join(f"98000000{i:02d},N{i}\n" for i in range(count))


@pytest.mark.parametrize(
    ("given", "rate", "size"),
    [
        ({}, None, BatchSize(100)),
        ({}, 1, BatchSize(10)),
        ({}, 0.05, BatchSize(1)),
        ({"messages_per_second": 500}, None, BatchSize(100)),
        ({"messages_per_second": 3}, None, BatchSize(30)),
        ({"messages_per_second": 3}, 0.5, BatchSize(5)),
        ({"messages_per_second": 0.5}, 3, BatchSize(5)),
        ({"parts_per_second": 2}, None, BatchSize(100, parts=20)),
        ({"parts_per_second": 2}, 1, BatchSize(10, parts=20)),
        # A request is a request, whatever it carries.
        ({"requests_per_second": 1}, None, BatchSize(100)),
        # What the account says counts.
        ({"max_recipients": 80, "messages_per_second": 1, "parts_per_second": 1}, 1, BatchSize(80)),
    ],
)
def test_a_request_carries_ten_seconds_of_the_rates(given, rate, size):
    assert provider(**given).batch_size(needs_requests=False, rate=rate) == size


@pytest.mark.parametrize(
    ("given", "rate", "size"),
    [
        ({}, None, BatchSize(500)),
        ({"messages_per_second": 20}, None, BatchSize(20)),
        ({"requests_per_second": 20, "max_recipients": 80}, None, BatchSize(20)),
        # Recipients of the same text share a request.
        ({}, 1, BatchSize(10)),
        ({"max_recipients": 80}, 1, BatchSize(500)),
    ],
)
def test_a_batch_of_many_requests_is_worth_a_second(given, rate, size):
    adapter = CommaList(settings(**given))
    assert adapter.batch_size(needs_requests=True, rate=rate) == size


def imported(store, text="Hello", legs=(), rate=None, **given):
    """A running campaign of 60 at `main`; its id."""
    for name in ("main", *(leg.account for leg in legs)):
        add_account(store, name)
    adapter = FakeProvider(settings(country="IN", sender="SENDER", **given))
    with ready(order(people(60), text=text, timing=Timing(rate=rate)), adapter) as checked:
        done = import_rows(store, replace(checked, fallbacks=legs), ignore)
    accept_import(store, done)
    campaign_id = done.job.campaign_id
    with store.write() as conn:
        change(conn, CAMPAIGN, CAMPAIGN.c.id == campaign_id, state=CampaignState.RUNNING)
    return campaign_id


def sizes(store):
    found = rows(store, BATCH, BATCH.c.size > 0)
    return [batch.size for batch in sorted(found, key=lambda batch: batch.seq)]


@pytest.mark.parametrize(
    ("given", "text", "found"),
    [
        ({}, "Hello", [60]),
        ({"rate": 2}, "Hello", [20, 20, 20]),
        ({"messages_per_second": 5}, "Dear {{name}}", [50, 10]),
        ({"parts_per_second": 6}, "x" * 300, [30, 30]),
        ({"parts_per_second": 6}, "✓" * 300, [12, 12, 12, 12, 12]),
        ({"rate": 2, "max_recipients": 50}, "Hello", [50, 10]),
    ],
)
def test_an_import_plans_batches_of_that_size(store, given, text, found):
    imported(store, text, **given)
    assert sizes(store) == found


def test_a_fallback_account_gets_batches_for_its_rate_and_the_campaigns(store):
    campaign_id = imported(store, rate=4, legs=(AccountRoute("backup", Route(sender="OTHER")),))
    assert sizes(store) == [40, 20]
    with store.write() as conn:
        accounts.pause_account(conn, "main", by="credit", reason="no credit", now=NOW)
        other = {name: settings(messages_per_second=1.5) for name in ("main", "backup")}
        moved = move_campaign(conn, campaign_id, other, lambda name: FakeProvider(other[name]), NOW)
    assert moved is not None
    assert sizes(store) == [15, 15, 15, 15]


@pytest.mark.parametrize(
    ("rate", "given", "left", "size"),
    [
        (None, {}, None, BatchSize(100)),
        (1, {}, None, BatchSize(10)),
        (1, {"max_recipients": 60}, None, BatchSize(60)),
        (None, {"parts_per_second": 3}, 7, BatchSize(7, parts=30)),
    ],
)
def test_a_worker_takes_of_a_large_batch_what_the_present_rate_allows(
    store, rate, given, left, size
):
    campaign_id = imported(store)
    with store.write() as conn:
        change(conn, CAMPAIGN, CAMPAIGN.c.id == campaign_id, rate=rate)
    held = claimed(store)
    assert held.size == 60
    adapter = FakeProvider(settings(**given))
    assert turn_size(held, campaign_of(store, campaign_id), adapter, left) == size


@pytest.mark.parametrize(
    ("given", "unit", "longest_s"),
    [
        ({"messages_per_second": 1}, Unit.MESSAGES, 10),
        ({"messages_per_second": 0.01}, Unit.MESSAGES, 100),
        ({"messages_per_second": 1000}, Unit.MESSAGES, 2),
        ({"messages_per_second": 1, "max_recipients": 70}, Unit.MESSAGES, 70),
        ({"parts_per_second": 1, "max_parts": 6}, Unit.PARTS, 10),
        ({"parts_per_second": 1, "max_parts": 60}, Unit.PARTS, 60),
        ({"requests_per_second": 0.5}, Unit.REQUESTS, 2),
    ],
)
def test_no_request_pays_for_longer_than_it_may_carry(given, unit, longest_s):
    assert account_rates(settings(**given))[unit].longest_s == pytest.approx(longest_s)


def test_no_request_pays_longer_for_the_campaigns_rate():
    assert campaign_longest_s(settings(), 1) == 10
    assert campaign_longest_s(settings(), 0.01) == 100
    assert campaign_longest_s(settings(max_recipients=70), 1) == 70


@pytest.mark.parametrize(
    ("given", "rate", "size", "said"),
    [
        ({}, None, 2000, None),
        ({}, 200, 2000, None),
        # One message is one message, however slow.
        ({}, 0.01, 1, None),
        ({}, 100, 2000, "each request sends 2000 messages at once: 20 seconds' worth at 100 messa"),
        ({}, 1, 2000, "2000 messages at once: 33 minutes' worth at 1 message/s. Lower the account"),
        ({"messages_per_second": 10}, None, 101, "10 seconds' worth at 10 messages/s."),
        ({"messages_per_second": 10}, 1 / 60, 2, "2 minutes' worth at 1 message/min."),
    ],
)
def test_a_rate_that_one_request_exceeds_is_said(given, rate, size, said):
    words = burst_in_words(ProviderSettings(**FAKE, **given), rate, size)
    assert words is None if said is None else said in words


FAKE = {"provider": "fake", "base_url": "http://127.0.0.1:9"}
