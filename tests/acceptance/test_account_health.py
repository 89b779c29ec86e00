"""Accounts whose provider fails, has no credit or hangs: careful, back by themselves, alone."""

import itertools
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from dispatcher.store import accounts
from tests.support.cli import in_process
from tests.support.simulator import SimulatorProcess
from tests.support.stage import FATES, Campaign, Stage, disagreements, stage, wait_for
from tests.support.stores import audit

pytestmark = pytest.mark.acceptance

SIZE = 10
SUBMITS = ("/thesmspoint/api/v1/send-bulk-sms", "/thesmspoint/api/v1/send-single-sms")
BALANCE = "/thesmspoint/api/v1/get-sms-balance"
ACCOUNT = {"max_recipients": SIZE, "max_in_flight": 2, "messages_per_second": 4 * SIZE}
_firsts = itertools.count(919830000000, 1000)


#: It lists nothing, and no call of it reads only.
MUTE = {"provider": "aoc_portal", "max_in_flight": 1}
#: At the stage's own simulator, at the same rate. A test has its own, of which no other is paused.
ACCOUNTS: dict[str, dict[str, Any]] = {
    "doubted": {},
    "failing": {},
    "poor": {"credit_check_s": 1},
    "main": {},
    "mute": MUTE,
    "refused": MUTE,
    "hanging": {"timeout_s": 40},
}
#: At a second one.
ELSEWHERE = {"other": {"max_recipients": 4}, "quick": {}}


@pytest.fixture(scope="module")
def both() -> Iterator[tuple[Stage, SimulatorProcess]]:
    """One stage for all, and the second simulator."""
    with SimulatorProcess(seed=12, scale=100, options=FATES) as second:
        url = {"base_url": second.base_url()}
        given = ACCOUNTS | {name: url | keys for name, keys in ELSEWHERE.items()}
        accounts = {name: ACCOUNT | keys for name, keys in given.items()}
        with stage(accounts=accounts, command=in_process) as ours:
            ours.start()
            yield ours, second


@pytest.fixture
def ours(both) -> Stage:
    """The stage; its provider works, and has seen nothing yet."""
    both[0].provider.reset()
    return both[0]


@pytest.fixture
def second(both) -> SimulatorProcess:
    """The second provider, which has seen nothing yet, either."""
    both[1].reset()
    return both[1]


def submitted(ours: Stage, count: int, account: str, *options: str) -> Campaign:
    """A campaign to numbers of its own."""
    first = next(_firsts)
    people = ours.people(count, first=first, name=f"{first}.csv")
    return ours.submit(people, *options, account=account)


def account(ours: Stage, name: str):
    with ours.store.read() as conn:
        return accounts.find_account(conn, name)


def until(ours: Stage, name: str, holds: Callable, what: str):
    """The account's row as soon as `holds` is true of it."""
    return wait_for(lambda: (row := account(ours, name)) is not None and holds(row) and row, what)


def calls(provider: SimulatorProcess, *paths: str) -> int:
    requests = provider.stats()["requests"]
    return sum(requests[path]["count"] for path in paths if path in requests)


def wrong(campaign: Campaign, *others: SimulatorProcess) -> list[str]:
    providers = (campaign.stage.provider, *others)
    ledger = [entry for provider in providers for entry in provider.ledger()]
    return disagreements(campaign.export(), ledger, lambda _: "Your order is ready.")


def test_one_doubt_opens_the_breaker_and_nobody_is_risked_until_the_provider_answers(ours):
    campaign = submitted(ours, 100, "doubted")
    campaign.wait_until(lambda view: view.total_submitted >= SIZE, "the first request")
    ours.provider.fault("error_before", on="any")
    until(ours, "doubted", lambda row: row.breaker == "open", "the breaker")
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
    assert account(ours, "doubted").breaker is None
    assert campaign.counts["in_doubt"] == at_most
    assert wrong(campaign) == []
    assert calls(ours.provider, SUBMITS[1]) == 1  # one recipient tried it
    assert {"account breaker opened", "account breaker closed"} <= set(audit(ours.store))


def test_where_only_submissions_fail_each_try_risks_one_recipient(ours):
    ours.provider.fault("error_before")
    campaign = submitted(ours, 50, "failing")
    wait_for(lambda: calls(ours.provider, SUBMITS[1]) >= 2, "two tries")
    assert campaign.counts["in_doubt"] <= ACCOUNT["max_in_flight"] * SIZE + 4
    ours.provider.clear_faults()
    campaign.wait_until_over()
    assert wrong(campaign) == []


def test_no_credit_pauses_it_and_a_top_up_resumes_it_by_itself(ours):
    # Nothing leaves before the balance is low; once it is, `submit` would refuse.
    assert ours.run("account", "pause", "poor").code == 0
    campaign = submitted(ours, 50, "poor")
    ours.provider.set_balance(2 * SIZE)
    assert ours.run("account", "resume", "poor").code == 0
    resumed = audit(ours.store).count("account resume")
    until(ours, "poor", lambda row: row.paused_by == "credit", "the pause")
    shown = ours.run("campaign", "show", str(campaign.id)).out
    assert "SMS Credits Not Available" in shown
    assert "the next check of the balance is" in shown
    looks = calls(ours.provider, BALANCE)
    wait_for(lambda: calls(ours.provider, BALANCE) >= looks + 2, "looks at the balance")
    assert account(ours, "poor").paused_by == "credit"
    assert len(ours.provider.ledger()) == 2 * SIZE

    ours.provider.set_balance(1000)
    campaign.wait_until_over()
    assert account(ours, "poor").paused_by is None
    assert len(ours.provider.ledger()) == 50
    assert wrong(campaign) == []
    assert audit(ours.store).count("account resume") == resumed + 1


def test_a_campaign_goes_on_by_its_fallback_in_that_accounts_batches(ours, second):
    campaign = submitted(ours, 60, "main", "--fallback", "other")
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


def test_where_nothing_can_be_asked_one_recipient_at_a_time_tries(ours):
    ours.provider.fault("error_before", count=3)
    campaign = submitted(ours, 50, "mute")
    campaign.wait_until_over()
    assert campaign.counts["in_doubt"] == SIZE + 1 + 1
    assert len(ours.provider.ledger()) == 50 - SIZE - 2
    assert account(ours, "mute").breaker is None
    assert campaign.counts["submitted"] == 50 - SIZE - 2


def test_a_refused_sender_pauses_the_campaign_and_burns_nobody(ours):
    campaign = submitted(ours, 50, "refused")
    campaign.wait_until(lambda view: view.total_submitted >= SIZE, "the first request")
    ours.provider.fault("refused_before", params={"text": "Invalid Sender", "status": 400})
    view = campaign.wait_until(lambda view: view.campaign.state == "paused", "the pause")
    assert "Invalid Sender" in view.campaign.state_reason
    assert account(ours, "refused").paused_by is None
    campaign.wait_until(lambda view: not view.batches["submitting"], "what is in flight")
    counts = campaign.counts
    assert counts["pending"] == 50 - len(ours.provider.ledger())
    assert counts["rejected"] == counts["failed"] == counts["in_doubt"] == 0

    ours.provider.clear_faults()
    campaign.command("resume")
    campaign.wait_until_over()
    assert len(ours.provider.ledger()) == 50
    assert wrong(campaign) == []


def test_a_hanging_provider_does_not_slow_another_account(ours, second):
    """The last one: what hangs goes on hanging."""
    count, rate = 200, ACCOUNT["messages_per_second"]
    hanging = submitted(ours, 100, "hanging")
    ours.provider.fault("hang_before", on="any", params={"seconds": 60})
    hanging.wait_until(lambda view: view.batches["submitting"], "a request that hangs")
    # Two of three: the machine may be slow once.
    kept = {True: 0, False: 0}
    while max(kept.values()) < 2:
        second.reset()
        quick = submitted(ours, count, "quick")
        quick.wait_until(lambda view: view.total_submitted == count, "the other's messages")
        at = [entry["at"] for entry in second.ledger()]
        kept[max(at) - min(at) <= 1.05 * (count - SIZE) / rate] += 1
    assert hanging.view.batches["submitting"], "nothing hung: the test proves nothing"
    assert kept[True] == 2
