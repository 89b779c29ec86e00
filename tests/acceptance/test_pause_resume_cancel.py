"""Pause, resume and cancel in mid-campaign, judged by the provider's ledger and the store."""

from collections.abc import Iterator
from datetime import datetime, timedelta

import pytest
from sqlalchemy import select

from dispatcher.store import scheduler
from dispatcher.store.tables import AUDIT
from tests.support.cli import in_process
from tests.support.stage import Campaign, Stage, disagreements, stage, wait_for

pytestmark = pytest.mark.acceptance

SOON = timedelta(seconds=2)
SIZE = 20


@pytest.fixture(scope="module")
def running() -> Iterator[Stage]:
    """Five requests of 20 recipients a second."""
    account = {"max_recipients": SIZE, "max_in_flight": 2, "messages_per_second": 100}
    with stage(accounts={"main": account}, command=in_process) as ours:
        ours.start()
        yield ours


def happened(campaign: Campaign, what: str) -> datetime:
    """When the store noted it."""
    query = select(AUDIT.c.at).where(
        AUDIT.c.campaign_id == campaign.id, AUDIT.c.action == f"campaign {what}"
    )
    with campaign.stage.store.read() as conn:
        at: datetime = conn.execute(query).scalar_one()
    return at


def ticked_after(ours: Stage, moment: datetime) -> bool:
    with ours.store.read() as conn:
        ticked = scheduler.last_tick_at(conn)
    return ticked is not None and ticked > moment


def accepted(ours: Stage, first: int, count: int) -> list[dict]:
    """The ledger's entries for these numbers."""
    wanted = {str(number) for number in range(first, first + count)}
    return [entry for entry in ours.provider.ledger() if entry["number"] in wanted]


def test_pause_stops_and_resume_continues_within_two_seconds(running):
    first, count = 919800000000, 600
    campaign = running.submit(running.people(count, first=first), "--name", "to pause")
    campaign.wait_until(lambda view: view.total_submitted >= 2 * SIZE, "the first requests")
    assert campaign.command("pause")["state"] == "paused"
    paused = happened(campaign, "paused")
    wait_for(lambda: ticked_after(running, paused + SOON), "ticks after the pause")
    before = accepted(running, first, count)
    assert 2 * SIZE <= len(before) < count
    assert max(entry["at"] for entry in before) <= (paused + SOON).timestamp()
    shown = campaign.command("show")
    assert shown["state"] == "paused"
    assert shown["counts"]["pending"] == count - len(before)
    assert shown["batches"]["claimed"] == shown["batches"]["submitting"] == 0

    assert campaign.command("resume")["state"] in {"scheduled", "running"}
    resumed = happened(campaign, "scheduled")
    campaign.wait_until_over()
    ledger = accepted(running, first, count)
    after = [entry["at"] for entry in ledger if entry["at"] > resumed.timestamp()]
    assert len(after) == count - len(before)
    assert min(after) <= (resumed + SOON).timestamp()
    assert disagreements(campaign.export(), ledger, lambda _: "Your order is ready.") == []
    assert campaign.command("show")["state"] == "finished"


def test_cancel_ends_it_and_what_was_in_flight_is_settled_and_polled(running):
    first, count = 919810000000, 300
    running.provider.fault("slow", on="submit", params={"ms": 2500})
    campaign = running.submit(running.people(count, first=first), "--name", "to cancel")
    campaign.wait_until(lambda view: view.batches["submitting"], "a request in flight")
    running.provider.clear_faults()
    cancelled = campaign.command("cancel", "--yes")
    assert cancelled["state"] == "cancelled"
    assert cancelled["finished_at"] is None
    flying = cancelled["batches"]["submitting"]
    assert flying, "nothing was in flight any more: the test proves nothing"

    campaign.wait_until_over()
    shown = campaign.command("show")
    counts, ledger = shown["counts"], accepted(running, first, count)
    assert (shown["state"], shown["polls"]["open"]) == ("cancelled", 0)
    assert len(ledger) >= flying * SIZE
    assert counts["delivered"] + counts["undelivered"] == len(ledger)
    assert counts["cancelled"] == count - len(ledger)
    assert disagreements(campaign.export(), ledger, lambda _: "Your order is ready.") == []
