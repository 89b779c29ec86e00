"""What people get wrong: a sentence with its place and remedy, the exit code, no traceback."""

import contextlib
import json
import os
import pty
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import warm
from tests.support.cli import Ended, clean_environment, dispatcher, in_process
from tests.support.stage import KEY, Stage, stage, wait_for

pytestmark = pytest.mark.acceptance

SUBMIT = ["campaign", "submit"]
HELLO = ["--text", "Hello"]
# Nothing listens on the discard port of this machine.
NOBODY = "redis://127.0.0.1:9/0"


@pytest.fixture(scope="module")
def ours() -> Iterator[Stage]:
    """No worker, no scheduler and no broker: most mistakes are reported without them."""
    with stage(own_broker=True, command=in_process) as made:
        files = {
            "people.csv": "phone,name\n919800000001,Asha\n",
            "no_phone.csv": "name,city\nAsha,Pune\n",
            "no_header.csv": "919800000001\n919800000002\n",
            "two_phones.csv": "phone,mobile\n919800000001,919800000002\n",
            "open_quote.csv": 'phone,name\n"919800000001,Asha\n919800000002,B\n',
            "empty.csv": "",
            "header_only.csv": "phone,name\n",
            "nobody.csv": "phone\n12345\n",
            "binary.csv": "\0\1\2",
            "workbook.xlsx": "PK\x03\x04",
            "rows.jsonl": '{"phone": "919800000001"\n',
            "other.toml": made.config.read_text().replace("sender =", "sendr ="),
            "bad_key.toml": made.config.read_text().replace(KEY, "bad-key"),
            "no_broker.toml": made.config.read_text() + f'[broker]\nurl = "{NOBODY}"\n',
            "long.txt": "All of it. " * 80,
        }
        for name, text in files.items():
            (made.folder / name).write_text(text, encoding="utf-8")
        (made.folder / "latin.txt").write_bytes("Größe".encode("latin-1"))
        # What not even root can read.
        (made.folder / "loop.csv").symlink_to("loop.csv")
        with contextlib.chdir(made.folder):
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
        (submitted(people="no_phone.csv"), 3, ["no_phone.csv", "name, city", "--column"]),
        (submitted(people="no_header.csv"), 3, ["no_header.csv", "no header row", "phone,name"]),
        (submitted(people="two_phones.csv"), 3, ["'phone', 'mobile'", "--column"]),
        (submitted(people="open_quote.csv"), 3, ["open_quote.csv: row 2", "quote"]),
        (submitted(people="empty.csv"), 3, ["empty.csv", "is empty", "header row"]),
        (submitted(people="header_only.csv"), 3, ["header_only.csv", "no rows below", "row for"]),
        (submitted("--dry-run", people="header_only.csv"), 3, ["header_only.csv", "no rows"]),
        (submitted(people="binary.csv"), 3, ["binary.csv", "not text", "CSV"]),
        (submitted(people="workbook.xlsx"), 3, ["workbook.xlsx", "damaged", "CSV"]),
        (submitted(people="rows.jsonl"), 3, ["rows.jsonl", "line 1", "{"]),
        (submitted("--column", "fone"), 3, ["people.csv", "'fone'", "mean 'phone'?"]),
        (submitted("--map", "who=nmae", text=["--text", "{{who}}"]), 3, ["nmae", "'name'?"]),
        (submitted("--map", "who"), 2, ["--map who", 'name="Full Name"']),
        (submitted(text=["--text", "Dear {{nmae|you}}"]), 3, ["nmae", "mean 'name'?"]),
        (submitted(text=["--text", "Dear {{name"]), 3, ["character 6", "{{name}}"]),
        (submitted(text=["--text", " "]), 3, ["the text is empty", "--text"]),
        (submitted(text=["--text", "a", "--text-file", "long.txt"]), 2, ["twice", "--text"]),
        (submitted(text=["--text-file", "latin.txt"]), 2, ["latin.txt", "not UTF-8"]),
        (submitted("--template", "NOPE"), 3, ["NOPE", "TEMPLATE"]),
        (submitted("--kind", "otp"), 3, ["otp", "'SENDER' is transactional", "--kind"]),
        (submitted("--rate", "fast"), 2, ["'fast'", "100/s"]),
        (submitted("--rate", ""), 2, ["--rate is empty", "leave it out"]),
        (submitted("--sender", ""), 2, ["--sender is empty"]),
        (submitted("--start-at", "soon"), 2, ["'soon'", "2026-12-24T09:00"]),
        (submitted("--start-at", "2020-01-01T09:00"), 3, ["--start-at", "past", "start now"]),
        (submitted("--expire-at", "2020-01-01T09:00"), 3, ["--expire-at", "past", "later"]),
        (submitted("--timezone", "Mars/Base"), 2, ["'Mars/Base'", "IANA"]),
        (submitted("--fallback", "mian"), 2, ["'mian'", "mean main?"]),
        (submitted("--fallback", "nobody"), 2, ["'nobody'"]),
        (submitted("--fallback", "main"), 2, ["main"]),
        (submitted("--rejects", "gone/rejects.csv"), 2, ["gone/rejects.csv", "folder"]),
        (submitted("--dry-run", "--test-to", "919800000001"), 2, ["--dry-run", "--test-to"]),
        (["send", "12345", "Hello", "--account", "main"], 3, ["too short", "number"]),
        (["send", "919800000001", "", "--account", "main"], 3, ["the text is empty", "quotes"]),
        (["send", "919800000001", "Hello", "--account", "mian"], 2, ["mean main?"]),
        (["account", "pause", "mian"], 2, ["'mian'", "mean main?"]),
        (["campaign", "set", "1", "--rate", ""], 2, ["--rate is empty"]),
        (["init", "gone/dispatcher.toml"], 2, ["gone", "create it first"]),
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
    assert ours.json("campaign", "list") == [], "something was kept"


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


def test_a_dry_run_writes_the_rows_that_get_no_message(ours):
    people = ours.folder / "mixed.csv"
    people.write_text("phone,name\n12345,=1+1\n919800000002,B\n919800000002,C\n")
    rejects = ours.folder / "rejects.csv"
    ended = ours.run(*submitted("--dry-run", "--rejects", str(rejects), people=str(people)))
    assert ended.code == 0
    assert "2 rows that get no message" in ended.err
    assert [line.split(",")[0::3] for line in rejects.read_text().splitlines()] == [
        ["row", "state", "job_id", "attempts", "submitted_at", "name"],
        ["2", "invalid", "", "", "", "'=1+1"],
        ["4", "duplicate", "", "", "", "C"],
    ]
    assert ours.json("campaign", "list") == []


def test_a_file_of_which_nothing_can_be_sent_is_a_rejected_campaign(ours):
    ended = ours.run(*submitted("--json", people="nobody.csv"))
    assert_told(ended, 3, ["no row of the file can be sent", "--rejects"])
    shown = json.loads(ended.out)
    assert (shown["state"], shown["counts"]["invalid"]) == ("rejected", 1)
    rows = ours.run("campaign", "export", str(shown["id"]), "--rejects").out
    assert "too short" in rows


def interrupted(process, number):
    """Send the signal; whether it has ended by it. One between the question and the reading of the
    answer is not seen before the answer comes: a person presses again.
    """
    process.send_signal(number)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(8)
    return process.poll() is not None


@pytest.mark.parametrize(("answer", "code"), [("n\n", 3), (signal.SIGINT, 130)])
def test_a_no_and_ctrl_c_at_the_question_keep_nothing_and_are_no_error(ours, answer, code):
    before = ours.json("campaign", "list")
    master, slave = pty.openpty()
    asked = subprocess.Popen(
        [sys.executable, "-m", "dispatcher", *submitted("--name", "asked")],
        cwd=ours.folder,
        env=clean_environment(ours.folder) | ours.env,
        stdin=slave,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    said = ""
    while not said.endswith("Send to 1 recipient? [y/N]: "):
        said += asked.stderr.read(1) or pytest.fail(said)
    if isinstance(answer, str):
        os.write(master, answer.encode())
    else:
        wait_for(lambda: interrupted(asked, answer), "its end")
    said = asked.communicate(timeout=30)[1]
    os.close(master)
    os.close(slave)
    assert (asked.returncode, "Error" in said) == (code, False), said
    assert ours.json("campaign", "list") == before


def test_the_same_file_again_is_refused_until_again_is_said(ours):
    first = ours.run(*submitted("--name", "once"))
    assert first.code == 0
    missing = "no scheduler seen yet: start one with `dispatcher up`"
    assert missing in first.err
    assert missing in ours.run("campaign", "show", "once").out
    told = ["submitted as campaign", "'once'", "--again"]
    assert_told(ours.run(*submitted("--name", "twice")), 3, told)
    assert ours.run(*submitted("--again")).code == 0
    assert [one["name"] for one in ours.json("campaign", "list")][:2] == ["people", "once"]


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
    said = tmp_path / "said"
    ended = warm.spawn(
        "celery",
        ["-A", "workers", role],
        folder=tmp_path,
        env=clean_environment(tmp_path),
        out=said,
    )
    assert ended.wait(60) == 2
    assert "Error: no configuration found" in said.read_text()
    assert "Traceback" not in said.read_text()


@pytest.mark.parametrize("command", ["simulator --port", "up --flower-port"])
def test_a_port_in_use_is_named(ours, command):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        ended = ours.run(*command.split(), port)
    assert ended.code in {1, 2}
    assert_told(ended, ended.code, [f"port {port}", "port"])


def test_no_mistake_has_left_a_report_of_a_fault_in_the_program(ours):
    assert not [*Path(ours.folder).rglob("last-error.txt")]
