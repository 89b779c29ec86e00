"""A submission killed anywhere sends nothing, and the next one works; a key is one campaign."""

import json
import os
import subprocess
import sys
from contextlib import closing
from datetime import timedelta

import pytest
from sqlalchemy import make_url

from dispatcher.config.settings import load_settings
from dispatcher.doctor import run_checks
from dispatcher.local import liveness
from dispatcher.store.engine import Store, store_now
from dispatcher.store.migrate import upgrade_store
from dispatcher.store.tables import CAMPAIGN
from tests.support import warm
from tests.support.cli import ROOT, clean_environment, dispatcher
from tests.support.stores import change, start_import

POINTS, SEED = {"sqlite": 24, "postgresql": 6}, 20_260_501
ROWS = 12
CONFIG = """
[store]
url = "{store_url}"
[accounts.main]
provider = "smsnoc"
base_url = "http://127.0.0.1:9/api/v3"
api_token = "token"
sender = "SENDER"
country = "IN"
"""


@pytest.fixture
def config(store_url, tmp_path):
    """A configuration over a store with tables; the account's provider has no directory to ask."""
    path = tmp_path / "dispatcher.toml"
    path.touch(mode=0o600)
    path.write_text(CONFIG.format(store_url=store_url), encoding="utf-8")
    upgrade_store(store_url)
    return path


def people(folder, count=ROWS, name="people.csv"):
    path = folder / name
    rows = [f"{919_860_000_000 + i},Name {i}" for i in range(count)]
    path.write_text("\n".join(["phone,name", *rows, "none,Nobody"]), encoding="utf-8")
    return path


def test_killed_anywhere_it_sends_nothing_and_the_next_submission_works(
    config, store_url, tmp_path
):
    points = POINTS[make_url(store_url).get_backend_name()]
    out, err = tmp_path / "out", tmp_path / "err"
    process = warm.spawn(
        "tests.support.killed_import",
        [str(config), str(people(tmp_path)), str(points), str(SEED)],
        folder=ROOT,
        env=clean_environment(tmp_path),
        out=out,
        err=err,
    )
    assert process.wait(170) == 0, err.read_text()[-2000:]
    tries = [json.loads(line) for line in out.read_text().splitlines()]
    assert len(tries) == points
    whole = {"state": "scheduled", "total": ROWS, "messages": ROWS}
    for one in tries:
        assert one["killed"] in {-9, 0}, one
        assert all(left["state"] == "importing" or left == whole for left in one["left"]), one
        assert (one["again"], one["then"]) == (0, [whole]), one
    # Chance met each part of it: before the first row, in the middle, and after the last.
    assert any(not one["left"] for one in tries)
    assert any(left["state"] == "importing" for one in tries for left in one["left"])


def test_doctor_names_an_import_without_a_writer_and_it_can_be_taken_over(
    config, store_url, tmp_path
):
    with closing(Store(store_url)) as store:
        with store.write() as conn:
            start_import(conn, lease_until=store_now(conn) + timedelta(seconds=60))
        assert told(config) == []
        with store.write() as conn:
            change(conn, CAMPAIGN, CAMPAIGN.c.id == 1, import_lease_until=store_now(conn))
        (finding,) = told(config)
        assert "people.csv" in finding.what
        assert "submit the file again" in finding.what


def told(config):
    """What the doctor says of imports."""
    return [found for found in run_checks(load_settings(config, {})) if found.part == "imports"]


def test_a_key_used_again_finds_its_campaign_and_with_another_file_is_an_error(config, tmp_path):
    def submit(path, *options):
        return dispatcher(
            "campaign", "submit", str(path), "--text", "Hello", "--idempotency-key", "spring",
            "--json", *options, folder=tmp_path,
        )  # fmt: skip

    first = submit(people(tmp_path))
    second = submit(people(tmp_path))
    assert (first.code, second.code) == (0, 0), first.err + second.err
    assert json.loads(first.out)["id"] == json.loads(second.out)["id"]
    other = submit(people(tmp_path, 3, "other.csv"))
    assert other.code == 3
    assert "the idempotency key was used before" in other.err


def test_without_a_key_the_same_content_needs_again(config, tmp_path):
    def submit(*options):
        path = people(tmp_path)
        return dispatcher("campaign", "submit", str(path), "--text", "Hi", "--json", *options,
                          folder=tmp_path)  # fmt: skip

    assert submit().code == 0
    refused = submit()
    assert refused.code == 3
    assert "--again" in refused.err
    assert submit("--again").code == 0


# --- Who is gone ------------------------------------------------------------------------------


def test_a_process_that_ended_is_gone_and_a_running_one_is_not():
    name = "from dispatcher.local import liveness; print(liveness.own_process_name())"
    ended = subprocess.run(
        [sys.executable, "-c", name], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert liveness.has_ended(ended.stdout.strip())
    assert not liveness.has_ended(liveness.own_process_name())


def test_a_process_on_another_machine_may_still_run():
    boot, space, process = liveness.own_process_name().split(" ")
    other = f"{os.getpid()}-1"
    assert liveness.has_ended(f"{boot} {space} {other}")
    assert not liveness.has_ended(f"other-boot {space} {other}")
    assert not liveness.has_ended(f"{boot} 4026530000 {other}")
    assert not liveness.has_ended(None)
    assert process
