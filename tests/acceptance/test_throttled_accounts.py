"""A 429 with Retry-After: nothing more leaves the account until then, status requests included."""

import csv
import itertools
import time
from collections.abc import Mapping
from typing import NamedTuple

import pytest

from tests.acceptance.test_providers import ACCOUNTS
from tests.support.cli import in_process
from tests.support.stage import Campaign, Stage, stage, wait_for

pytestmark = pytest.mark.acceptance

RETRY_AFTER_S = 3.0
#: What had left before the answer was known, on a busy machine, where one worker has all the
#: accounts; and what clocks may differ by.
UNDER_WAY_S, TOLERANCE_S = 1.2, 0.2
#: Many requests at a time, and receipts that never come: statuses are asked for all the time.
LIMITS = {"poll_first_s": 0.1, "poll_max_s": 0.3, "validity_hours": 1}
THROTTLED = {
    "thesmspoint": {"max_recipients": 10, "max_in_flight": 8, "messages_per_second": 100},
    "smsnoc": {"max_in_flight": 20, "requests_per_second": 40},
    "voip_communications": {"max_in_flight": 12, "messages_per_second": 30},
    "aoc_portal": {"max_in_flight": 10, "messages_per_second": 40},
}
#: Enough for ten seconds of sending, with what is throttled.
COUNTS = dict.fromkeys(THROTTLED, 400) | {"thesmspoint": 1000}
#: The requests that ask for a status; the last provider has none.
STATUS = {"thesmspoint": "status", "smsnoc": "lookup", "voip_communications": "lookup"}


class Silence(NamedTuple):
    """An account around a 429: all its arrivals, and the times between which the 429 was."""

    arrivals: list[float]
    began: float
    over: float
    #: How many still waited to be submitted when it went on.
    pending: int


@pytest.fixture(scope="module")
def silences() -> dict[tuple[str, str], Silence]:
    """Of each provider by account and kind of request: all are throttled side by side."""
    accounts = {
        name: {"provider": name, **ACCOUNTS[name], **LIMITS, **keys}
        for name, keys in THROTTLED.items()
    }
    with stage(accounts=accounts, scale=0.001, command=in_process) as ours:
        ours.start()
        campaigns = {name: submitted(ours, name) for name in THROTTLED}
        for campaign in campaigns.values():
            campaign.wait_until(lambda view: view.total_submitted >= 40, "the first requests")
        submissions = throttled(ours, campaigns, dict.fromkeys(THROTTLED, "submit"))
        statuses = throttled(ours, campaigns, STATUS)
    return {
        **{(name, "submission"): silence for name, silence in submissions.items()},
        **{(name, "status"): silence for name, silence in statuses.items()},
    }


_firsts = itertools.count(919820000000, 10_000)


def submitted(ours: Stage, account: str) -> Campaign:
    """A campaign with a text of its own for each recipient."""
    first = next(_firsts)
    path = ours.folder / f"{first}.csv"
    with path.open("w", encoding="utf-8", newline="") as file:
        rows = [(first + i, f"N{i}") for i in range(COUNTS[account])]
        csv.writer(file).writerows([("phone", "name"), *rows])
    return ours.submit(path, "--text", "Dear {{name}}", "--yes", account=account)


def arrivals(ours: Stage) -> dict[str, list[float]]:
    """When requests of any kind arrived at each provider, by the clock of the machine."""
    found: dict[str, list[float]] = {name: [] for name in THROTTLED}
    for path, seen in ours.provider.stats()["requests"].items():
        found[path.split("/")[1]] += [at for at, _wall in seen["arrivals"]]
    return {name: sorted(at) for name, at in found.items()}


def throttled(
    ours: Stage, campaigns: Mapping[str, Campaign], kinds: Mapping[str, str]
) -> dict[str, Silence]:
    """Answer the next request of this kind at each provider with a 429, and see each go on."""
    given = {"retry_after": int(RETRY_AFTER_S)}
    began, over = {}, {}
    for account, on in kinds.items():
        began[account] = time.monotonic()
        ours.provider.fault("throttled", provider=account, on=on, count=1, params=given)

    def are_over() -> bool:
        left = {fault["provider"] for fault in ours.provider.faults()}
        now = time.monotonic()
        over.update({name: now for name in kinds if name not in left | {*over}})
        return not left

    wait_for(are_over, "the throttled requests", within_s=20)

    def went_on() -> dict[str, list[float]] | None:
        seen = arrivals(ours)
        are = all(seen[name][-1] > over[name] + RETRY_AFTER_S for name in kinds)
        return seen if are else None

    seen = wait_for(went_on, "their going on", within_s=40)
    return {
        name: Silence(seen[name], began[name], over[name], campaigns[name].counts["pending"])
        for name in kinds
    }


def late_ones(silence: Silence) -> list[float]:
    """What arrived while the account should have been silent, by the clock of the machine."""
    assert silence.pending, "nothing was left to send: the test proves nothing"
    # The throttled request arrived at `began` or later: the silence begins after what was under
    # way with it.
    seen = [at for at in silence.arrivals if at >= silence.began]
    gaps = [(b - a, a) for a, b in itertools.pairwise(seen)]
    _longest, throttled_at = max(gaps)
    under_way = [at for at in seen if at <= throttled_at]
    assert under_way[-1] < silence.over + UNDER_WAY_S + TOLERANCE_S, "it went on after the 429"
    ends = silence.began + RETRY_AFTER_S - TOLERANCE_S
    return [at for at in seen if throttled_at < at < ends]


@pytest.mark.parametrize("account", THROTTLED)
def test_after_a_throttled_submission_nothing_more_leaves_the_account(silences, account):
    assert late_ones(silences[account, "submission"]) == []


@pytest.mark.parametrize("account", STATUS)
def test_after_a_throttled_status_request_nothing_more_leaves_the_account(silences, account):
    """Neither further status requests nor submissions."""
    assert late_ones(silences[account, "status"]) == []
