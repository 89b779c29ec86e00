"""Recipients in doubt, settled from a provider's own list with real processes: nobody twice."""

import itertools
from collections import Counter
from collections.abc import Iterator

import pytest

from tests.support.cli import in_process
from tests.support.stage import Campaign, Stage, stage

pytestmark = pytest.mark.acceptance

#: An account of the Ultimate SMS family, which has a list; whether it is asked to settle doubts
#: soon after a request's time is up is the only thing shortened.
ACCOUNT = {
    "provider": "smsnoc", "api_key": None, "api_token": "a-token-of-this-stage", "template": None,
    "country": "IN", "timeout_s": 2, "max_recipients": 10, "max_in_flight": 4, "poll_max_s": 5,
    "validity_hours": 0.02,
}  # fmt: skip
WORKER = {"reconcile_after_s": 0.5}
COUNT = 120
_firsts = itertools.count(919830000000, 1000)


@pytest.fixture(scope="module")
def running() -> Iterator[Stage]:
    plain = {"provider": "thesmspoint", "timeout_s": 2, "max_recipients": 10}
    accounts = {"main": ACCOUNT, "plain": plain}
    with stage(accounts=accounts, worker=WORKER, command=in_process) as ours:
        ours.start()
        yield ours


def accepted(ours: Stage) -> Counter[str]:
    return Counter(entry["number"] for entry in ours.provider.ledger())


def submitted(ours: Stage, count: int, *options: str, account: str = "main") -> Campaign:
    name = f"people-{next(_firsts)}.csv"
    return ours.submit(
        ours.people(count, first=next(_firsts), name=name), *options, account=account
    )


def test_a_list_settles_every_doubt_and_nobody_is_accepted_twice(running):
    """Half of the doubtful requests were accepted, half were not: the list alone knows which."""
    running.provider.reset()
    before = submitted(running, 20)
    before.wait_until(lambda view: view.total_submitted == 20, "messages that a look can know")
    running.provider.fault("reset_after", rate=0.4)
    running.provider.fault("reset_before", rate=0.4)
    campaign = submitted(running, COUNT)
    campaign.wait_until(lambda view: not view.counts["pending"], "every request")
    doubtful = campaign.counts["in_doubt"]
    assert doubtful
    assert not campaign.view.is_over
    running.provider.clear_faults()
    shown = running.run("campaign", "show", str(campaign.id)).out
    assert "IN DOUBT since" in shown
    assert "the provider's list of accepted messages is read at" in shown
    view = campaign.wait_until(
        lambda view: view.total_submitted == COUNT, "those proved absent to be submitted again"
    )
    assert view.counts["failed"] == 0
    assert set(accepted(running).values()) == {1}
    assert len(accepted(running)) == COUNT + 20


def test_without_a_list_a_person_decides_after_reading_what_it_can_cost(running):
    running.provider.reset()
    running.provider.fault("error_after", count=1)
    campaign = submitted(running, 10, account="plain")
    campaign.wait_until(lambda view: view.is_over, "its end, with its doubt")
    assert campaign.counts["in_doubt"] == 10
    refused = running.run("campaign", "resolve", str(campaign.id))
    assert refused.code == 2
    assert "--assume-submitted" in refused.err
    done = campaign.command("resolve", "--assume-submitted")
    assert (done["recipients"], done["left"], done["counts"]["submitted"]) == (10, 0, 10)
    assert set(accepted(running).values()) == {1}


def test_a_campaign_whose_rule_is_resend_sends_the_doubtful_once_more(running):
    running.provider.reset()
    running.provider.fault("reset_before", count=1)
    campaign = submitted(running, 10, "--on-doubt", "resend", account="plain")
    campaign.wait_until(lambda view: view.counts["in_doubt"] or view.total_submitted, "a request")
    view = campaign.wait_until(lambda view: view.total_submitted == 10, "the resend")
    assert view.counts["in_doubt"] == 0
    assert set(accepted(running).values()) == {1}
