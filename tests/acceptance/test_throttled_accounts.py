"""A 429 with Retry-After: nothing more leaves the account until then, status requests included."""

import csv
import itertools
import time
from collections.abc import Iterator

import pytest

from dispatcher.store.engine import store_now
from dispatcher.store.tables import ATTEMPT
from tests.acceptance.test_providers import ACCOUNTS
from tests.support.stage import Campaign, Stage, stage, wait_for
from tests.support.stores import change

pytestmark = pytest.mark.acceptance

COUNT, RETRY_AFTER_S = 600, 3.0
#: What had left before the answer was known, on a busy machine; and what clocks may differ by.
UNDER_WAY_S, TOLERANCE_S = 0.7, 0.2
#: Many requests at a time, and receipts that never come: statuses are asked for all the time.
LIMITS = {"poll_first_s": 0.1, "poll_max_s": 0.3, "validity_hours": 1}
THROTTLED = {
    "thesmspoint": {"max_recipients": 10, "max_in_flight": 8, "messages_per_second": 200},
    "smsnoc": {"max_in_flight": 20, "requests_per_second": 40},
    "voip_communications": {"max_in_flight": 12, "messages_per_second": 30},
    "aoc_portal": {"max_in_flight": 10},
}


@pytest.fixture(scope="module")
def ours() -> Iterator[Stage]:
    """One stage with an account at each provider, by the provider's name."""
    accounts = {
        name: {"provider": name, **ACCOUNTS[name], **LIMITS, **keys}
        for name, keys in THROTTLED.items()
    }
    with stage(accounts=accounts, scale=0.001) as made:
        made.start()
        yield made


_firsts = itertools.count(919820000000, 10_000)


def submitted(ours: Stage, account: str, count: int) -> Campaign:
    """A campaign with a text of its own for each recipient."""
    first = next(_firsts)
    path = ours.folder / f"{first}.csv"
    with path.open("w", encoding="utf-8", newline="") as file:
        rows = [(first + i, f"N{i}") for i in range(count)]
        csv.writer(file).writerows([("phone", "name"), *rows])
    done = ours.json(
        "campaign", "submit", str(path), "--account", account, "--text", "Dear {{name}}", "--yes",
        "--json",
    )  # fmt: skip
    return Campaign(ours, done["id"])


def arrivals(ours: Stage, account: str) -> list[float]:
    """When requests of any kind arrived at a provider, by the clock of the machine."""
    found = ours.provider.stats()["requests"]
    of_account = [seen for path, seen in found.items() if path.startswith(f"/{account}/")]
    return sorted(at for seen in of_account for at, _wall in seen["arrivals"])


def throttle(ours: Stage, account: str, on: str) -> tuple[float, float]:
    """Answer the next request with a 429; the times between which that was."""
    began = time.monotonic()
    given = {"retry_after": int(RETRY_AFTER_S)}
    ours.provider.fault("throttled", provider=account, on=on, count=1, params=given)
    wait_for(lambda: not ours.provider.faults(), "the throttled request", within_s=20)
    return began, time.monotonic()


def late_ones(ours: Stage, account: str, throttled: tuple[float, float]) -> list[float]:
    """What arrived while the account should have been silent, in seconds after the 429."""
    began, over = throttled
    wait_for(
        lambda: arrivals(ours, account)[-1] > began + RETRY_AFTER_S, "its going on", within_s=40
    )
    # The throttled request arrived at `began` or later: the silence begins after what was under
    # way with it.
    seen = [at for at in arrivals(ours, account) if at >= began]
    gaps = [(b - a, a) for a, b in itertools.pairwise(seen)]
    _longest, throttled_at = max(gaps)
    silence = [at for at in seen if throttled_at < at < began + RETRY_AFTER_S - TOLERANCE_S]
    under_way = [at for at in seen if at <= throttled_at]
    assert under_way[-1] < over + UNDER_WAY_S + TOLERANCE_S, "it went on after the 429"
    return silence


def over(campaign: Campaign) -> None:
    """Cancel it, and ask for no more receipts: they would keep the next test's processes busy."""
    campaign.command("cancel", "--yes")
    with campaign.stage.store.write() as conn:
        is_its = ATTEMPT.c.campaign_id == campaign.id
        change(conn, ATTEMPT, is_its, poll_until=store_now(conn))


@pytest.mark.parametrize("account", THROTTLED)
def test_after_a_throttled_submission_nothing_more_leaves_the_account(ours, account):
    campaign = submitted(ours, account, COUNT)
    campaign.wait_until(lambda view: view.total_submitted >= 40, "the first requests")
    began = throttle(ours, account, "submit")
    assert late_ones(ours, account, began) == []
    over(campaign)


@pytest.mark.parametrize("account", ["thesmspoint", "smsnoc", "voip_communications"])
def test_after_a_throttled_status_request_nothing_more_leaves_the_account(ours, account):
    """Neither further status requests nor submissions."""
    campaign = submitted(ours, account, COUNT)
    campaign.wait_until(lambda view: view.total_submitted >= 40, "the first requests")
    on = {"thesmspoint": "status", "smsnoc": "lookup", "voip_communications": "lookup"}[account]
    began = throttle(ours, account, on)
    assert late_ones(ours, account, began) == []
    over(campaign)
