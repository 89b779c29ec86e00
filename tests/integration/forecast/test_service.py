"""The forecast of a dry run: by the requests that it takes, at the account's rate."""

from dataclasses import replace
from datetime import timedelta

import pytest

from dispatcher.campaigns.timing import Timing
from dispatcher.forecast.service import (
    forecast_campaign,
    forecast_submission,
    forecast_submission_alone,
    open_workloads,
)
from dispatcher.status import Kind
from dispatcher.store.engine import store_now
from dispatcher.store.tables import CAMPAIGN
from dispatcher.submission.validation import dry_run
from tests.support.stores import (
    NOW,
    FakeProvider,
    add_account,
    add_campaign,
    campaign_of,
    change,
    ignore,
    later,
    order,
    ready,
    settings,
    submit,
)

PEOPLE = "phone,name\n" + "".join(f"{9_800_000_000 + n},Name {n}\n" for n in range(60))


class OneText(FakeProvider):
    """Like most providers: a request has one text."""

    capabilities = replace(FakeProvider.capabilities, personal_texts=False)


@pytest.mark.parametrize(
    ("adapter", "text", "requests"),
    [
        (OneText, "Hello", 2),
        (OneText, "Dear {{name}}", 60),
        (FakeProvider, "Dear {{name}}", 2),
    ],
)
def test_a_dry_run_forecasts_by_the_requests_that_its_texts_take(
    sqlite_store, adapter, text, requests
):
    account = adapter(
        settings(
            country="IN", sender="SENDER", max_recipients=30, max_in_flight=90,
            requests_per_second=1 / 60,
        )
    )  # fmt: skip
    with ready(order(PEOPLE, text=text), account) as checked:
        found = forecast_submission(sqlite_store, checked, dry_run(checked, ignore))
    minutes = (found.finish_at - found.first_at).total_seconds() / 60
    assert minutes == pytest.approx(requests)
    campaign_id = submit(sqlite_store, order(PEOPLE, text=text), account)
    with sqlite_store.read() as conn:
        (pending,) = open_workloads(conn, account.settings, "main")[campaign_id].pending
    assert pending.requests == requests


@pytest.mark.parametrize(
    ("values", "minutes"),
    [
        ({}, 5 + 1),
        ({"timing": Timing(priority=1)}, 1),
        ({"kind": Kind.OTP}, 1),
    ],
)
def test_a_dry_run_forecasts_by_the_order_in_which_campaigns_are_sent(
    sqlite_store, values, minutes
):
    account = FakeProvider(settings(country="IN", sender="SENDER", messages_per_second=1))
    add_campaign(sqlite_store, [100, 100, 100], priority=0)
    wanted = order(PEOPLE, **({"timing": Timing(priority=-1)} | values))
    with ready(wanted, account) as checked:
        found = forecast_submission(sqlite_store, checked, dry_run(checked, ignore))
    with sqlite_store.read() as conn:
        left = found.finish_at - store_now(conn)
    assert left.total_seconds() / 60 == pytest.approx(minutes, abs=0.2)


def test_a_dry_run_forecasts_without_a_store_too():
    account = FakeProvider(settings(country="IN", sender="SENDER", messages_per_second=1))
    with ready(order(PEOPLE), account) as checked:
        found = forecast_submission_alone(checked, dry_run(checked, ignore), NOW)
    assert found.finish_at == later(60)


STOPS = {
    "paused by a person": (
        {"paused_by": "operator", "pause_reason": "maintenance"},
        "account main is paused (operator): maintenance; it waits for you: fix the cause",
    ),
    "bad credentials": (
        {"paused_by": "credentials", "pause_reason": "wrong key"},
        "account main is paused (credentials): wrong key; it waits for you: fix the cause",
    ),
    "no credit": (
        {"paused_by": "credit", "pause_reason": "no credit", "check_at": later(10)},
        "account main is paused (credit): no credit; it waits for a top-up; the next check",
    ),
    "a provider that fails": (
        {"breaker": "open", "breaker_reason": "no answer", "breaker_at": NOW, "check_at": NOW},
        "account main has been failing since 2030-05-06 12:00:00 UTC: no answer; it waits for its",
    ),
}


@pytest.mark.parametrize("stop", STOPS)
def test_nothing_is_foreseen_while_the_account_sends_nothing(store, stop):
    values, words = STOPS[stop]
    account = FakeProvider(settings(country="IN", sender="SENDER", messages_per_second=1))
    campaign_id = submit(store, order(PEOPLE), account)
    add_account(store, **values)
    with ready(order(PEOPLE), account) as checked:
        before = forecast_submission(store, checked, dry_run(checked, ignore))
    after = forecast_campaign(store, account.settings, campaign_of(store, campaign_id))
    for found in (before, after):
        assert (found.first_at, found.finish_at) == (None, None)
        assert found.reason.startswith(f"nothing is sent: {words}")


def test_a_fallback_account_is_named_where_there_is_one(sqlite_store):
    account = FakeProvider(settings(country="IN", sender="SENDER"))
    campaign_id = submit(sqlite_store, order(PEOPLE), account)
    add_account(sqlite_store, paused_by="operator", pause_reason="maintenance")
    with sqlite_store.write() as conn:
        change(conn, CAMPAIGN, CAMPAIGN.c.id == campaign_id, routes="[]")
    found = forecast_campaign(
        sqlite_store, account.settings, campaign_of(sqlite_store, campaign_id)
    )
    assert found.reason.endswith("a healthy fallback account takes over meanwhile")


def test_a_pause_that_the_provider_asked_for_is_waited_for_in_the_forecast(sqlite_store):
    account = FakeProvider(settings(country="IN", sender="SENDER", messages_per_second=1))
    campaign_id = submit(sqlite_store, order(PEOPLE), account)
    with sqlite_store.read() as conn:
        until = store_now(conn) + timedelta(minutes=20)
    add_account(sqlite_store, not_before=until)
    found = forecast_campaign(
        sqlite_store, account.settings, campaign_of(sqlite_store, campaign_id)
    )
    assert (found.first_at, found.waits) == (until, "the provider asked for a pause")
