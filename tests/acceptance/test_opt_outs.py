"""Who opts out before a request begins is never texted: judged by the provider's ledger."""

import json

import pytest

from tests.support.stage import stage

pytestmark = pytest.mark.acceptance

ACCOUNTS = {
    "main": {"max_recipients": 10},
    # Personal texts go out in requests of their own, six a second: turns of a batch.
    "single": {"provider": "aoc_portal", "requests_per_second": 6, "max_in_flight": 2},
    "staging": {},
}
MAIN, SINGLE, STAGING = 919800000000, 919810000000, 919820000000
#: The worker's configuration is not that of the submission any more.
RESTRICTED = {"DISPATCHER_ACCOUNTS__STAGING__ALLOW_ONLY": json.dumps([f"+{STAGING}"])}


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def ours(request):
    url = request.getfixturevalue("postgres_url") if request.param == "postgres" else None
    with stage(accounts=ACCOUNTS, store_url=url) as running:
        yield running


def texted(ours):
    return {int(entry["number"]) for entry in ours.provider.ledger()}


def opt_out(ours, number):
    assert ours.json("suppression", "add", f"+{number}", "--reason", "STOP")["added"] == 1


def test_an_opt_out_after_the_submission_counts_also_within_a_batch(ours):
    bulk = ours.submit(ours.people(30, first=MAIN))
    single = ours.submit(
        ours.people(24, first=SINGLE), "--text", "Dear {{name}}, hello", account="single"
    )
    staging = ours.submit(ours.people(3, first=STAGING), account="staging")
    opt_out(ours, MAIN + 7)
    ours.celery("beat", "-l", "info", "--pidfile=")
    ours.start_worker(env=RESTRICTED)
    single.wait_until(lambda view: view.total_submitted >= 2, "the first requests")
    opt_out(ours, SINGLE + 23)
    assert SINGLE + 23 not in texted(ours)
    for campaign, count in ((bulk, 30), (single, 24)):
        counts = campaign.wait_until_over().counts
        assert counts["suppressed"] == 1
        assert sum(counts[s] for s in ("delivered", "undelivered", "submitted")) == count - 1
    everybody = {*range(MAIN, MAIN + 30), *range(SINGLE, SINGLE + 24)}
    assert texted(ours) == everybody - {MAIN + 7, SINGLE + 23}
    # An account that may text only its own numbers by now has sent nothing.
    held = staging.wait_until(lambda view: view.campaign.state == "paused", "the pause")
    assert held.counts["pending"] == 3
    assert "sends only to the 1 number(s) of its `allow_only`" in (held.campaign.state_reason or "")
    (row,) = [row for row in bulk.export() if row["state"] == "suppressed"]
    assert (row["msisdn"], row["error"]) == (
        str(MAIN + 7), "the number is on the suppression list",
    )  # fmt: skip
