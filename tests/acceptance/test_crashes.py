"""What dies in mid-campaign: nobody is sent twice, and nobody is lost."""

import itertools
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

import psutil
import pytest

from tests.support.cli import clean_environment
from tests.support.stage import Campaign, Stage, disagreements, stage

pytestmark = pytest.mark.acceptance

SIZE, COUNT, AT_ONCE = 20, 240, 3
PER_SECOND = 50
MANY = 3 * COUNT
ACCOUNTS = {
    "main": {"max_recipients": SIZE, "max_in_flight": AT_ONCE},
    "paced": {"max_recipients": SIZE, "max_in_flight": AT_ONCE, "messages_per_second": PER_SECOND},
}
FINAL = {"delivered", "undelivered", "in_doubt"}


@pytest.fixture(scope="module")
def running() -> Iterator[Stage]:
    """Leases of 5 s; what no worker has claimed is queued again after a second."""
    with stage(accounts=ACCOUNTS) as ours:
        ours.start()
        yield ours


@pytest.fixture(autouse=True)
def fresh(request) -> None:
    """Where the shared stage is used: an empty ledger and no faults."""
    if "running" in request.fixturenames:
        request.getfixturevalue("running").provider.reset()


@contextmanager
def up(ours: Stage, *options: str) -> Iterator[subprocess.Popen[bytes]]:
    """`dispatcher up`; what it says goes to up.log."""
    with ours.log("up").open("ab") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "dispatcher", "up", *options],
            cwd=ours.folder,
            env=clean_environment(ours.folder) | ours.env,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def wrong(campaign: Campaign) -> list[str]:
    ledger = campaign.stage.provider.ledger()
    return disagreements(campaign.export(), ledger, lambda _: "Your order is ready.")


def stop_in_flight(campaign: Campaign) -> bool:
    """Stop the worker; whether requests are in flight then. If not, it goes on."""
    worker = psutil.Process(campaign.stage.pid("worker"))
    worker.suspend()
    if campaign.view.batches["submitting"]:
        return True
    worker.resume()
    return False


def test_a_worker_killed_in_mid_campaign_and_started_again_sends_nobody_twice(running):
    running.provider.fault("slow", on="submit", params={"ms": 700})
    campaign = running.submit(running.people(COUNT, first=919830000000))
    campaign.wait_until(
        lambda view: (
            (view.batches["settled"] and view.batches["submitting"] and view.batches["pending"])
            and stop_in_flight(campaign)
        ),
        "some answered, some in flight, some waiting",
    )
    held = campaign.view.batches
    running.kill("worker")
    running.start_worker()
    campaign.wait_until_over()
    counts = campaign.counts
    assert counts["in_doubt"] == held["submitting"] * SIZE
    assert {row["state"] for row in campaign.export()} <= FINAL
    assert wrong(campaign) == []


def test_a_broker_emptied_in_mid_campaign_costs_no_recipient_and_passes_no_rate(running):
    campaign = running.submit(running.people(COUNT, first=919840000000), account="paced")
    for share in (1, 3, 6):
        campaign.wait_until(lambda view, s=share: view.total_submitted >= s * SIZE, "some requests")
        running.flush_broker()
    campaign.wait_until_over()
    counts = campaign.counts
    assert counts["delivered"] + counts["undelivered"] == COUNT
    assert wrong(campaign) == []
    starts = sorted({entry["request"]: entry["at"] for entry in running.provider.ledger()}.values())
    gaps = [later - earlier for earlier, later in itertools.pairwise(starts)]
    assert len(gaps) == COUNT / SIZE - 1
    # A start granted twice would be a gap of none; half a start is what a busy machine may add.
    assert min(gaps) >= SIZE / PER_SECOND / 2


def test_ctrl_c_on_up_ends_everything_with_nothing_in_doubt_and_the_next_up_finishes():
    with stage(accounts=ACCOUNTS, own_broker=True) as ours:
        ours.provider.fault("slow", on="submit", params={"ms": 700})
        # For eight seconds and more: where processors are busy, Ctrl-C comes late.
        campaign = ours.submit(ours.people(MANY, first=919850000000))
        with up(ours, "--workers", "1") as first:
            campaign.wait_until(
                lambda view: view.batches["settled"] and view.batches["submitting"],
                "a request in flight",
            )
            family = psutil.Process(first.pid).children(recursive=True)
            began = time.monotonic()
            first.send_signal(signal.SIGINT)
            assert first.wait(10) == 0
            assert time.monotonic() - began < 10
            assert not any(child.is_running() for child in family)
        shown = campaign.view
        assert shown.counts["in_doubt"] == shown.batches["claimed"] == 0
        assert shown.batches["submitting"] == 0
        assert shown.counts["pending"] > 0, "it was over before Ctrl-C: the test proves nothing"
        ours.provider.clear_faults()
        with up(ours, "--workers", "1") as second:
            campaign.wait_until_over()
            second.send_signal(signal.SIGTERM)
            assert second.wait(10) == 0
        assert campaign.counts["delivered"] + campaign.counts["undelivered"] == MANY
        assert wrong(campaign) == []
        assert "Traceback" not in ours.said("up")
