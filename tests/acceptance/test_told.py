"""What a person with only logs and Flower is told of problems: each once, with counts."""

import json
import re
import subprocess
import sys

import pytest

from dispatcher.local.celery import find_flower_port
from tests.support.cli import clean_environment
from tests.support.stage import fetched, stage, wait_for

pytestmark = pytest.mark.acceptance


@pytest.fixture(scope="module")
def told():
    """The logs of a worker and Flower's tasks: one campaign in doubt, one refused, one accepted."""
    accounts = {
        "main": {"timeout_s": 2},
        "other": {"timeout_s": 2},
        "wrong": {"timeout_s": 2},
    }
    with stage(accounts=accounts) as ours:
        ours.start()
        port = find_flower_port(None)
        options = (f"--port={port}", "--logging=warning")
        ours.celery("flower", *options, env={"FLOWER_UNAUTHENTICATED_API": "true"})
        flower = f"http://127.0.0.1:{port}"
        wait_for(lambda: fetched(f"{flower}/metrics"), "Flower")
        fine = ours.submit(ours.people(30, first=919850000000))
        fine.wait_until_over()
        ours.provider.fault("reset_after", count=1)
        people = ours.people(20, first=919851000000, name="doubt.csv")
        doubt = ours.submit(people, account="other")
        doubt.wait_until(lambda view: view.counts["in_doubt"] == 20, "doubt")
        ours.provider.clear_faults()
        ours.provider.fault("credentials", count=1)
        people = ours.people(10, first=919852000000, name="wrong.csv")
        refused = ours.submit(people, account="wrong")
        wait_for(lambda: "account wrong is paused" in ours.said("worker"), "the pause")

        def finished():
            tasks = json.loads(fetched(f"{flower}/api/tasks") or "{}").values()
            ended = [t for t in tasks if t["name"] == "dispatcher.submit" and t["succeeded"]]
            failed = [t for t in tasks if t["name"] == "dispatcher.submit" and t["failed"]]
            return list(tasks) if ended and len(failed) >= 2 else None

        tasks = wait_for(finished, "three submissions in Flower")
        yield ours.said("worker"), tasks, (fine.id, doubt.id, refused.id)


@pytest.mark.parametrize(
    ("given", "used"),
    [({}, "20000"), ({"FLOWER_MAX_TASKS": "500"}, "500")],
)
def test_flowers_memory_is_bounded_however_it_is_started(given, used, tmp_path):
    """Flower reads the variable once the app is imported; its options still win."""
    (tmp_path / "dispatcher.toml").write_text("[broker]\n", encoding="utf-8")
    env = {k: v for k, v in clean_environment(tmp_path).items() if not k.startswith("FLOWER_")}
    code = "import os, workers.app; print(os.environ['FLOWER_MAX_TASKS'])"
    found = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path, env=env | given, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert found.stdout.strip() == used


def lines(log, words):
    return [line for line in log.splitlines() if words in line]


def test_doubt_an_open_breaker_and_a_paused_account_are_in_the_log_once_each(told):
    log, _, (_, doubt, _) = told
    (line,) = lines(log, f"campaign {doubt}, account other, batch")[:1]
    assert "WARNING" in line
    assert "20 recipients are in doubt" in line
    assert len(lines(log, "recipients are in doubt")) == 1
    (opened,) = lines(log, "account other: breaker opened")
    assert "WARNING" in opened
    (paused,) = lines(log, "account wrong is paused (credentials)")
    assert "ERROR" in paused


def test_every_line_is_an_object_and_names_what_its_event_is_about(told):
    log, _, (fine, doubt, _) = told
    # Before there is a log, Celery warns root on standard error.
    found = [json.loads(line) for line in log.splitlines() if line.startswith("{")]
    assert "\n[20" not in log
    assert all({"time", "level", "message", "logger", "pid"} <= line.keys() for line in found)
    (doubtful,) = [line for line in found if line.get("event") == "in_doubt"]
    assert (doubtful["campaign"], doubtful["account"]) == (int(doubt), "other")
    assert doubtful["batch"] > 0
    of_fine = {line["event"] for line in found if line.get("campaign") == int(fine)}
    assert of_fine >= {"batch_leaves", "batch_settled", "receipts_stored", "campaign_ended"}
    assert all("attempt" in line for line in found if line.get("event") == "receipts_stored")


def test_a_submission_says_in_flower_what_it_did_and_is_red_where_it_doubts(told):
    _, tasks, (fine, doubt, refused) = told
    submissions = [each for each in tasks if each["name"] == "dispatcher.submit"]
    (good,) = [t for t in submissions if f"campaign {fine}, main: " in str(t["result"])]
    assert good["state"] == "SUCCESS"
    assert "30 accepted, 0 refused, 0 in doubt" in good["result"]
    bad = [t for t in submissions if t["state"] == "FAILURE"]
    said = "\n".join(str(each["exception"]) for each in bad)
    assert re.search(rf"campaign {doubt}, other: 0 accepted, 0 refused, 20 in doubt", said)
    assert re.search(rf"campaign {refused}, wrong: 0 accepted", said)


def test_polls_say_what_they_found_and_ticks_are_not_listed(told):
    _, tasks, _ = told
    assert {each["name"] for each in tasks} <= {
        "dispatcher.submit", "dispatcher.poll", "dispatcher.check", "dispatcher.reconcile",
    }  # fmt: skip
    results = [str(each["result"]) for each in tasks if each["name"] == "dispatcher.poll"]
    assert any("messages have a receipt" in result for result in results)


def test_a_failed_submission_leaves_no_traceback_in_the_log(told):
    log, _, _ = told
    assert "Traceback" not in log
    assert "TaskFailed" not in log
