"""Faults of the provider in mid-campaign: what waits, what is in doubt, and nobody twice."""

import itertools
from collections.abc import Iterator

import pytest

from tests.support.cli import in_process
from tests.support.stage import Campaign, Stage, disagreements, stage

pytestmark = pytest.mark.acceptance

SIZE, COUNT = 10, 50
BULK = "/thesmspoint/api/v1/send-bulk-sms"


@pytest.fixture(scope="module")
def running() -> Iterator[Stage]:
    """One request of 10 recipients at a time, four a second."""
    account = {"max_recipients": SIZE, "max_in_flight": 1, "messages_per_second": 4 * SIZE}
    with stage(accounts={"main": account}, command=in_process) as ours:
        ours.start()
        yield ours


@pytest.fixture
def fresh(running) -> Iterator[Stage]:
    """The stage with an empty ledger, no faults and an open account."""
    running.provider.reset()
    yield running
    running.provider.clear_faults()


_firsts = itertools.count(919820000000, 1000)


def submitted(ours: Stage) -> Campaign:
    """A campaign to numbers of its own."""
    return ours.submit(ours.people(COUNT, first=next(_firsts)))


def half_way(campaign: Campaign) -> None:
    campaign.wait_until(lambda view: view.total_submitted >= SIZE, "the first request")


def wrong(campaign: Campaign) -> list[str]:
    ledger = campaign.stage.provider.ledger()
    return disagreements(campaign.export(), ledger, lambda _: "Your order is ready.")


@pytest.mark.parametrize(
    ("fault", "words"),
    [("credentials", "API Key Does Not Exists"), ("credit", "SMS Credits Not Available")],
)
def test_the_account_is_paused_in_the_providers_words_and_resume_finishes(fresh, fault, words):
    campaign = submitted(fresh)
    half_way(campaign)
    fresh.provider.fault(fault)
    campaign.wait_until(lambda view: view.account_paused_by, "the account's pause")
    shown = campaign.command("show")
    assert (shown["state"], shown["account_paused"]) == ("running", fault)
    assert words in shown["account_pause_reason"]
    assert words in fresh.run("campaign", "show", str(campaign.id)).out
    listed = fresh.run("account", "list").out
    assert words in listed
    assert "dispatcher account resume main" in listed

    fresh.provider.clear_faults()
    assert fresh.run("account", "resume", "main").code == 0
    campaign.wait_until_over()
    counts = campaign.counts
    assert counts["delivered"] + counts["undelivered"] == COUNT == len(fresh.provider.ledger())
    assert wrong(campaign) == []


@pytest.mark.parametrize("fault", ["reset_after", "error_before"])
def test_who_may_have_been_accepted_is_in_doubt_and_never_sent_again(fresh, fault):
    campaign = submitted(fresh)
    half_way(campaign)
    fresh.provider.fault(fault, count=1)
    campaign.wait_until_over()
    shown = campaign.command("show")
    assert (shown["state"], shown["counts"]["in_doubt"]) == ("finished", SIZE)
    export, ledger = campaign.export(), fresh.provider.ledger()
    doubtful = {row["msisdn"] for row in export if row["state"] == "in_doubt"}
    if fault == "error_before":
        assert not doubtful & {entry["number"] for entry in ledger}
    else:
        assert doubtful == {entry["number"] for entry in ledger if "spoilt" in entry}
    requests = fresh.provider.stats()["requests"][BULK]["count"]
    assert requests == COUNT // SIZE
    assert wrong(campaign) == []
    watched = fresh.run("campaign", "watch", str(campaign.id))
    assert watched.code == 1
    assert "IN DOUBT" in watched.out


def test_a_retry_after_is_waited_for_and_nobody_is_lost_or_sent_twice(fresh):
    wait_s = 3
    campaign = submitted(fresh)
    half_way(campaign)
    fresh.provider.fault("throttled", count=1, params={"retry_after": wait_s})
    campaign.wait_until_over()
    counts = campaign.counts
    assert counts["delivered"] + counts["undelivered"] == COUNT == len(fresh.provider.ledger())
    starts = [at for at, _wall in fresh.provider.stats()["requests"][BULK]["arrivals"]]
    assert len(starts) == COUNT // SIZE + 1
    assert max(b - a for a, b in itertools.pairwise(starts)) >= wait_s
    assert wrong(campaign) == []
