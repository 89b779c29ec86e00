"""Accounts whose provider fails, has no credit or hangs: careful, back by themselves, alone."""

import itertools
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from statistics import median
from types import MappingProxyType
from typing import Any

import pytest

from dispatcher.store import accounts
from tests.support.simulator import SimulatorProcess
from tests.support.stage import FATES, Campaign, Stage, disagreements, stage, wait_for
from tests.support.stores import audit

pytestmark = pytest.mark.acceptance

SIZE = 10
SUBMITS = ("/thesmspoint/api/v1/send-bulk-sms", "/thesmspoint/api/v1/send-single-sms")
BALANCE = "/thesmspoint/api/v1/get-sms-balance"
ACCOUNT = {"max_recipients": SIZE, "max_in_flight": 2, "messages_per_second": 4 * SIZE}
_firsts = itertools.count(919830000000, 1000)


@contextmanager
def two_providers(
    *,
    main: Mapping[str, Any] = MappingProxyType({}),
    other: Mapping[str, Any] = MappingProxyType({}),
) -> Iterator[tuple[Stage, SimulatorProcess]]:
    """`main` at the stage's own simulator, `other` at a second one, both at the same rate."""
    with SimulatorProcess(seed=12, scale=100, options=FATES) as second:
        base_url = second.base_url(other.get("provider", "thesmspoint"))
        accounts = {"main": ACCOUNT | {**main}, "other": ACCOUNT | {"base_url": base_url, **other}}
        with stage(accounts=accounts) as ours:
            ours.start()
            yield ours, second


def account(ours: Stage, name: str = "main"):
    with ours.store.read() as conn:
        return accounts.find_account(conn, name)


def until(ours: Stage, holds: Callable, what: str):
    """The account's row as soon as `holds` is true of it."""
    return wait_for(lambda: (row := account(ours)) is not None and holds(row) and row, what)


def calls(provider: SimulatorProcess, *paths: str) -> int:
    requests = provider.stats()["requests"]
    return sum(requests[path]["count"] for path in paths if path in requests)


def wrong(campaign: Campaign, *others: SimulatorProcess) -> list[str]:
    providers = (campaign.stage.provider, *others)
    ledger = [entry for provider in providers for entry in provider.ledger()]
    return disagreements(campaign.export(), ledger, lambda _: "Your order is ready.")


def test_one_doubt_opens_the_breaker_and_nobody_is_risked_until_the_provider_answers():
    with stage(accounts={"main": ACCOUNT}) as ours:
        ours.start()
        campaign = ours.submit(ours.people(100, first=next(_firsts)))
        campaign.wait_until(lambda view: view.total_submitted >= SIZE, "the first request")
        ours.provider.fault("error_before", on="any")
        until(ours, lambda row: row.breaker == "open", "the breaker")
        wait_for(lambda: calls(ours.provider, BALANCE) >= 3, "looks at the provider")
        told = {
            "account list": ours.run("account", "list").out,
            "campaign show": ours.run("campaign", "show", str(campaign.id)).out,
            "doctor": ours.run("doctor").out,
        }
        assert [name for name, words in told.items() if "its provider to answer" not in words] == []
        at_most = campaign.counts["in_doubt"]
        assert SIZE <= at_most <= ACCOUNT["max_in_flight"] * SIZE
        before = calls(ours.provider, *SUBMITS)
        looks = calls(ours.provider, BALANCE)
        wait_for(lambda: calls(ours.provider, BALANCE) > looks, "another look")
        assert calls(ours.provider, *SUBMITS) == before

        ours.provider.clear_faults()
        campaign.wait_until_over()
        assert account(ours).breaker is None
        assert campaign.counts["in_doubt"] == at_most
        assert wrong(campaign) == []
        assert calls(ours.provider, SUBMITS[1]) == 1  # one recipient tried it
        assert {"account breaker opened", "account breaker closed"} <= set(audit(ours.store))


def test_where_only_submissions_fail_each_try_risks_one_recipient():
    with stage(accounts={"main": ACCOUNT}) as ours:
        ours.provider.fault("error_before")
        ours.start()
        campaign = ours.submit(ours.people(50, first=next(_firsts)))
        wait_for(lambda: calls(ours.provider, SUBMITS[1]) >= 2, "two tries")
        assert campaign.counts["in_doubt"] <= ACCOUNT["max_in_flight"] * SIZE + 4
        ours.provider.clear_faults()
        campaign.wait_until_over()
        assert wrong(campaign) == []


def test_no_credit_pauses_it_and_a_top_up_resumes_it_by_itself():
    with stage(accounts={"main": ACCOUNT | {"credit_check_s": 1}}) as ours:
        campaign = ours.submit(ours.people(50, first=next(_firsts)))
        ours.provider.set_balance(2 * SIZE)
        ours.start()
        until(ours, lambda row: row.paused_by == "credit", "the pause")
        shown = ours.run("campaign", "show", str(campaign.id)).out
        assert "SMS Credits Not Available" in shown
        assert "the next check of the balance is" in shown
        wait_for(lambda: calls(ours.provider, BALANCE) >= 2, "looks at the balance")
        assert account(ours).paused_by == "credit"
        assert len(ours.provider.ledger()) == 2 * SIZE

        ours.provider.set_balance(1000)
        campaign.wait_until_over()
        assert account(ours).paused_by is None
        assert len(ours.provider.ledger()) == 50
        assert wrong(campaign) == []
        assert "account resume" in audit(ours.store)


def test_a_campaign_goes_on_by_its_fallback_in_that_accounts_batches():
    with two_providers(other={"max_recipients": 4}) as (ours, second):
        campaign = ours.submit(ours.people(60, first=next(_firsts)), "--fallback", "other")
        campaign.wait_until(lambda view: view.total_submitted >= SIZE, "the first request")
        ours.provider.fault("credentials")
        campaign.wait_until_over()
        shown = campaign.command("show")
        assert (shown["state"], shown["account"], shown["accounts"]) == (
            "finished", "other", ["main", "other"],
        )  # fmt: skip
        (move,) = shown["moves"]
        assert "go from main to other: main is paused (credentials)" in move["detail"]
        assert move["detail"] in ours.run("campaign", "show", str(campaign.id)).out
        here, there = ours.provider.ledger(), second.ledger()
        assert len(here) + len(there) == 60
        assert wrong(campaign, second) == []
        by_account = {row["account"] for row in campaign.export()}
        assert by_account == {"main", "other"}
        sizes = {len(list(jobs)) for _, jobs in itertools.groupby(e["job_id"] for e in there)}
        assert max(sizes) <= 4


def test_a_hanging_provider_does_not_slow_another_account():
    count, rate = 200, ACCOUNT["messages_per_second"]
    with two_providers(main={"timeout_s": 40}) as (ours, second):
        hanging = ours.submit(ours.people(100, first=next(_firsts)))
        ours.provider.fault("hang_before", on="any", params={"seconds": 60})
        hanging.wait_until(lambda view: view.batches["submitting"], "a request that hangs")
        seconds = []
        for _ in range(3):
            second.reset()
            quick = ours.submit(ours.people(count, first=next(_firsts)), account="other")
            quick.wait_until(lambda view: view.total_submitted == count, "the other's messages")
            at = [entry["at"] for entry in second.ledger()]
            seconds.append(max(at) - min(at))
        assert hanging.view.batches["submitting"], "nothing hung: the test proves nothing"
        assert median(seconds) <= 1.05 * (count - SIZE) / rate


#: It lists nothing, and no call of it reads only.
MUTE = {"provider": "aoc_portal", "max_in_flight": 1}


def test_where_nothing_can_be_asked_one_recipient_at_a_time_tries():
    with two_providers(other=MUTE) as (ours, mute):
        mute.fault("error_before", count=3)
        people = ours.people(50, first=next(_firsts))
        campaign = ours.submit(people, account="other")
        campaign.wait_until_over()
        assert campaign.counts["in_doubt"] == SIZE + 1 + 1
        assert len(mute.ledger()) == 50 - SIZE - 2
        assert account(ours, "other").breaker is None
        assert campaign.counts["submitted"] == 50 - SIZE - 2


def test_a_refused_sender_pauses_the_campaign_and_burns_nobody():
    with two_providers(other=MUTE) as (ours, provider):
        campaign = ours.submit(ours.people(50, first=next(_firsts)), account="other")
        campaign.wait_until(lambda view: view.total_submitted >= SIZE, "the first request")
        provider.fault("refused_before", params={"text": "Invalid Sender", "status": 400})
        view = campaign.wait_until(lambda view: view.campaign.state == "paused", "the pause")
        assert "Invalid Sender" in view.campaign.state_reason
        assert account(ours, "other").paused_by is None
        campaign.wait_until(lambda view: not view.batches["submitting"], "what is in flight")
        counts = campaign.counts
        assert counts["pending"] == 50 - len(provider.ledger())
        assert counts["rejected"] == counts["failed"] == counts["in_doubt"] == 0

        provider.clear_faults()
        campaign.command("resume")
        campaign.wait_until_over()
        assert len(provider.ledger()) == 50
        assert wrong(campaign, provider) == []
