"""A person cancels an import that was broken off: its rows go, and nothing of it is ever sent."""

import pytest

from dispatcher.campaigns.view import load_view
from dispatcher.errors import Refused, StateRefused
from dispatcher.status import CampaignState
from dispatcher.store import campaigns, imports
from dispatcher.store.tables import AUDIT, BATCH, CAMPAIGN, MESSAGE, REJECT, SOURCE_ROWS
from dispatcher.submission import acceptance, campaign_import
from dispatcher.submission.campaign_import import cancel_any_campaign
from tests.integration.submission.test_campaign_import import expire, import_only, people
from tests.support.stores import (
    NOW,
    add_campaign,
    campaign_of,
    change,
    later,
    new_batch,
    order,
    reject,
    rows,
    start_import,
    submit,
)

ROWS = (BATCH, MESSAGE, REJECT, SOURCE_ROWS)


def broken_off(store, **options):
    """A complete import whose process was killed before the question, minutes ago."""
    killed = import_only(store, order(people(250) + "12,too short\n", **options))
    expire(store, killed.job.campaign_id)
    return killed


def test_its_rows_go_and_the_campaign_stays_as_cancelled_with_counts_of_zero(store):
    killed = broken_off(store)
    cancelled = cancel_any_campaign(store, str(killed.job.campaign_id))
    assert cancelled.state == CampaignState.CANCELLED
    assert cancelled.state_reason == "its import was broken off"
    assert cancelled.finished_at is not None
    assert (cancelled.rows, cancelled.total, cancelled.invalid, cancelled.duplicate) == (0, 0, 0, 0)
    assert [rows(store, table) for table in ROWS] == [[]] * 4
    view = load_view(store, str(cancelled.id))
    assert {name: n for name, n in view.counts.items() if n} == {}
    (written,) = [row for row in rows(store, AUDIT) if row.campaign_id == cancelled.id]
    assert (written.action, written.detail) == ("campaign cancelled", "its import was broken off")


def test_other_campaigns_keep_their_rows(store):
    kept = submit(store, order(people(5, first=9_900_000_000)))
    killed = broken_off(store)
    cancel_any_campaign(store, str(killed.job.campaign_id))
    assert {row.campaign_id for row in rows(store, MESSAGE)} == {kept}
    assert campaign_of(store, kept).total == 5


def test_it_can_be_cancelled_by_its_name_and_again(store):
    killed = broken_off(store, name="spring")
    first = cancel_any_campaign(store, "spring")
    assert first.id == killed.job.campaign_id
    assert cancel_any_campaign(store, str(first.id)) == first


def test_the_killed_process_can_do_nothing_with_it_any_more(store):
    killed = broken_off(store)
    cancel_any_campaign(store, str(killed.job.campaign_id))
    with pytest.raises(Refused, match="or it was cancelled"):
        acceptance.accept_import(store, killed)
    with pytest.raises(Refused, match="or it was cancelled"), store.write() as conn:
        imports.write_group(conn, killed.job, [], [reject(9)], lease_until=later(60))
    with store.write() as conn:
        assert campaigns.start_due(conn, NOW.replace(year=2099)) == []
    assert rows(store, REJECT) == []


def test_its_file_and_its_key_can_be_submitted_afterwards(store):
    killed = broken_off(store, idempotency_key="spring")
    cancel_any_campaign(store, str(killed.job.campaign_id))
    again = submit(store, order(people(250), idempotency_key="spring"))
    assert again != killed.job.campaign_id
    assert campaign_of(store, again).total == 250
    assert campaign_of(store, killed.job.campaign_id).idempotency_key is None


def test_an_import_that_runs_is_not_cancelled_and_says_until_when(store):
    running = import_only(store, order(people(3)))
    with pytest.raises(StateRefused, match="its file is being read right now") as refused:
        cancel_any_campaign(store, str(running.job.campaign_id))
    lease = campaign_of(store, running.job.campaign_id).import_lease_until
    assert f"cancel it after {lease:%Y-%m-%d %H:%M:%S} UTC" in refused.value.hint
    assert len(rows(store, MESSAGE)) == 3
    acceptance.accept_import(store, running)
    assert campaign_of(store, running.job.campaign_id).state == CampaignState.SCHEDULED


def test_one_whose_process_has_ended_on_this_machine_need_not_wait_for_its_lease(
    store, monkeypatch
):
    killed = import_only(store, order(people(3)))
    with store.write() as conn:
        (name,) = [row.import_writer for row in rows(store, CAMPAIGN)]
        ended = f"{name.rpartition('-')[0]}-1"  # the same number, begun at another time
        change(conn, CAMPAIGN, CAMPAIGN.c.id == killed.job.campaign_id, import_writer=ended)
    cancelled = cancel_any_campaign(store, str(killed.job.campaign_id))
    assert cancelled.state == CampaignState.CANCELLED


def test_a_campaign_that_was_accepted_is_cancelled_as_ever(store):
    campaign = add_campaign(store, [2])
    assert cancel_any_campaign(store, str(campaign)).state == CampaignState.CANCELLED
    assert campaign_of(store, campaign).total == 2
    assert load_view(store, str(campaign)).counts["cancelled"] == 2


def test_one_that_is_killed_in_between_is_cancelled_by_the_next_try(store):
    with store.write() as conn:
        job = start_import(conn)
        rejects = [reject(n) for n in range(50_000, 50_009)]
        imports.write_group(conn, job, [new_batch(0, 0, 25_000)], rejects, lease_until=later(60))
    expire(store, job.campaign_id)
    with store.write() as conn:
        taken = campaign_import._fence_off_import(conn, str(job.campaign_id))
    with store.write() as conn:
        assert not campaign_import._cancel_group(conn, taken)
    assert campaign_of(store, job.campaign_id).state == CampaignState.IMPORTING
    assert 0 < len(rows(store, MESSAGE)) < 25_000
    with pytest.raises(StateRefused, match="is being read right now"):
        cancel_any_campaign(store, str(job.campaign_id))
    expire(store, job.campaign_id)
    cancelled = cancel_any_campaign(store, str(job.campaign_id))
    assert (cancelled.state, cancelled.import_fence) == (CampaignState.CANCELLED, taken.fence + 1)
    assert [rows(store, table) for table in ROWS] == [[]] * 4
