"""What people get wrong: a sentence with its place and remedy, the exit code, no traceback."""

import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fakes.cli import Ended, clean_environment, dispatcher
from tests.fakes.stage import KEY, Stage, stage, wait_for

pytestmark = pytest.mark.acceptance

SUBMIT = ["campaign", "submit"]
HELLO = ["--text", "Hello"]
# Nothing listens on the discard port of this machine.
NOBODY = "redis://127.0.0.1:9/0"


@pytest.fixture(scope="module")
def ours() -> Iterator[Stage]:
    """No worker, no scheduler and no broker: most mistakes are told without them."""
    with stage(own_broker=True) as made:
        files = {
            "people.csv": "phone,name\n919800000001,Asha\n",
            "no_phone.csv": "name,city\nAsha,Pune\n",
            "other.toml": made.config.read_text().replace("sender =", "sendr ="),
            "bad_key.toml": made.config.read_text().replace(KEY, "bad-key"),
            "no_broker.toml": made.config.read_text() + f'[broker]\nurl = "{NOBODY}"\n',
            "long.txt": "All of it. " * 80,
        }
        for name, text in files.items():
            (made.folder / name).write_text(text, encoding="utf-8")
        # What not even root can read.
        (made.folder / "loop.csv").symlink_to("loop.csv")
        yield made


def submitted(*options: str, people: str = "people.csv", text: list[str] = HELLO) -> list[str]:
    return [*SUBMIT, people, "--account", "main", *text, *options]


@pytest.mark.parametrize(
    ("args", "code", "words"),
    [
        (["--config", "gone.toml", "doctor"], 2, ["gone.toml", "does not exist", "init"]),
        ([*SUBMIT, "people.csv", "--account", "mian", *HELLO], 2, ["'mian'", "mean main?"]),
        (["--config", "other.toml", *submitted()], 2, ["other.toml", "sendr", "mean sender?"]),
        (
            ["--config", "bad_key.toml", *submitted()],
            1,
            ["account main", "API Key Does Not Exists", "key"],
        ),
        (
            ["--config", "bad_key.toml", "account", "check"],
            1,
            ["account main", "API Key Does Not Exists"],
        ),
        (submitted(people="gone.csv"), 2, ["gone.csv", "does not exist"]),
        (submitted(people="loop.csv"), 2, ["loop.csv", "cannot be read"]),
        (submitted(people="."), 2, ["is a folder"]),
        (submitted(people="no_phone.csv"), 3, ["name, city", "--column"]),
        (submitted(text=["--text", "Dear {{nmae}}"]), 3, ["nmae", "name"]),
        (submitted(text=["--text-file", "long.txt"]), 3, ["6 parts in GSM-7", "allows 5"]),
        (submitted("--sender", "NEWSND"), 3, ["NEWSND", "Pending"]),
        (submitted("--sender", "NOBODY"), 3, ["NOBODY", "SENDER"]),
        (submitted(text=[]), 2, ["--text"]),
        (["campaign", "show", "77"], 2, ["'77'", "campaign list"]),
    ],
    ids=lambda value: None if isinstance(value, int) else " ".join(value),
)
def test_a_mistake_is_one_sentence_with_its_place_and_its_remedy(ours, args, code, words):
    assert_told(ours.run(*args), code, words)


def assert_told(ended: Ended, code: int, words: list[str]) -> None:
    """It ended with `code`, and said `words` on stderr, in an error and a hint and nothing else."""
    assert ended.code == code, ended.err
    assert "Traceback" not in ended.err
    assert ended.err.startswith("Error: ")
    assert "\nHint: " in ended.err
    assert KEY not in ended.err + ended.out
    for word in words:
        assert word in ended.err


def test_without_any_configuration_it_says_how_to_write_one(tmp_path):
    told = dispatcher("doctor", folder=tmp_path)
    assert_told(told, 2, ["no configuration found", "dispatcher init"])


def test_the_same_file_again_is_refused_until_again_is_said(ours):
    first = ours.run(*submitted("--name", "once"))
    assert first.code == 0
    assert "no scheduler seen yet: start one with `dispatcher up`" in first.err
    assert_told(ours.run(*submitted("--name", "twice")), 3, ["as campaign 1 ('once')", "--again"])
    assert ours.run(*submitted("--again")).code == 0
    assert [campaign["id"] for campaign in ours.json("campaign", "list")] == [2, 1]


def test_doctor_tells_a_missing_broker_and_a_missing_scheduler_with_remedies(ours):
    for config, remedy in (("no_broker.toml", "`url` under [broker]"), ("dispatcher.toml", "up`")):
        ended = ours.run("--config", config, "doctor")
        assert (ended.code, ended.err) == (1, "")
        told = {line.split()[1]: line for line in ended.out.splitlines() if "problem" in line}
        assert {*told} >= {"broker", "scheduler", "workers"}
        assert "does not answer" in told["broker"]
        assert remedy in ended.out


@pytest.mark.parametrize("role", ["worker", "beat"])
def test_celery_processes_wait_for_a_broker_that_is_down(ours, role):
    env = {"DISPATCHER_CONFIG": str(ours.folder / "no_broker.toml")}
    ours.celery(role, *(["--pidfile="] if role == "beat" else []), env=env)
    wait_for(lambda: "Trying again" in ours.said(role), "its complaint")
    assert "127.0.0.1:9" in ours.said(role)
    assert ours.stop(role) != -signal.SIGKILL, "it did not end when it was asked to"
    assert "Traceback" not in ours.said(role)


@pytest.mark.parametrize("role", ["worker", "beat", "flower"])
def test_celery_processes_without_a_configuration_say_so(role, tmp_path):
    ended = subprocess.run(
        [sys.executable, "-m", "celery", "-A", "workers", role],
        cwd=tmp_path,
        env=clean_environment(tmp_path),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ended.returncode == 2
    assert "Error: no configuration found" in ended.stderr
    assert "Traceback" not in ended.stderr


@pytest.mark.parametrize("command", ["simulator --port", "up --flower-port"])
def test_a_port_in_use_is_named(ours, command):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        ended = ours.run(*command.split(), port)
    assert ended.code in {1, 2}
    assert_told(ended, ended.code, [f"port {port}", "port"])


def test_no_mistake_has_left_a_report_of_a_fault_in_the_program(ours):
    assert not [*Path(ours.folder).rglob("last-error.txt")]
