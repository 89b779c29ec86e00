"""A backup put in the store's place: nobody is texted again before a person has said what it is."""

import json
from pathlib import Path

import pytest

from dispatcher.campaigns import control
from tests.support.cli import in_process
from tests.support.stage import stage, wait_for

pytestmark = pytest.mark.acceptance

COUNT = 60


def test_a_restored_backup_releases_nothing_until_it_is_adopted():
    accounts = {"main": {"max_recipients": 20, "max_in_flight": 1, "messages_per_second": 10}}
    with stage(accounts=accounts, command=in_process) as ours:
        ours.start()
        campaign = ours.submit(ours.people(COUNT, first=919870000000))
        wait_for(lambda: campaign.counts["pending"] < COUNT, "the first batch")
        control.pause_campaign(ours.store, str(campaign.id))
        campaign.wait_until(lambda view: not view.batches["submitting"], "the pause")
        backed_up = COUNT - campaign.counts["pending"]
        assert 0 < backed_up < COUNT
        backup = str(ours.folder / "store.backup")
        made = ours.run("db", "backup", backup)
        assert (made.code, "verified" in made.out) == (0, True), made.err
        control.resume_campaign(ours.store, str(campaign.id))
        campaign.wait_until(lambda view: not view.counts["pending"], "the last batch")
        ours.stop("worker")
        ours.stop("beat")
        ours.store.close()

        file = ours.store.url.database
        for suffix in ("", "-wal", "-shm"):
            Path(f"{file}{suffix}").unlink(missing_ok=True)
        restored = ours.run("db", "restore", backup, "--yes")
        assert (restored.code, "dispatcher db adopt" in restored.out) == (0, True), restored.err
        control.resume_campaign(ours.store, str(campaign.id))
        shown = ours.run("campaign", "show", str(campaign.id))
        assert "NOTHING IS SENT: the store is an older copy" in shown.err
        ours.start()
        wait_for(lambda: "nothing is released" in ours.said("worker"), "the refusal")
        findings = json.loads(ours.run("doctor", "--json").out)
        assert any("older copy" in found["what"] and not found["ok"] for found in findings)
        assert "NOTHING IS SENT" in ours.run("account", "list").err
        refused = ours.run("campaign", "submit", str(ours.people(3, first=919880000000)),
                           "--text", "Hello")  # fmt: skip
        assert (refused.code, "older copy" in refused.err) == (3, True)
        moved = ours.run("db", "adopt", "--moved", "--yes")
        assert (moved.code, "--restored" in moved.err) == (3, True)
        assert ours.provider.stats()["accepted"] == COUNT
        ours.stop("worker")
        ours.stop("beat")

        adopted = ours.run("db", "adopt", "--yes")
        assert adopted.code == 0, adopted.err
        assert f"{COUNT - backed_up} recipients are in doubt" in adopted.out
        ours.start()
        counts = campaign.counts
        assert (counts["pending"], counts["in_doubt"]) == (0, COUNT - backed_up)
        # It sends again, what is new.
        new = ours.submit(ours.people(3, first=919880000000))
        new.wait_until(lambda view: not view.counts["pending"], "its submission")
        stats = ours.provider.stats()
        assert (stats["accepted"], stats["doubles"]) == (COUNT + 3, 0)
