"""Nobody reads what a command prints: what it does is done all the same, and said on stderr."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from dispatcher.cli import cli
from dispatcher.cli.outcome import _PRINTING
from dispatcher.status import CampaignState
from dispatcher.store.tables import CAMPAIGN
from tests.support import warm
from tests.support.cli import clean_environment, every_command, write_config
from tests.support.stage import wait_for
from tests.support.stores import add_campaign, rows

NOTE = "Standard output cannot be written ({}): what follows is shown here."
FULL = Path("/dev/full")


@pytest.fixture
def folder(sqlite_url, tmp_path):
    config = write_config(tmp_path, sqlite_url)
    text = config.read_text().replace("thesmspoint", "smsnoc").replace("api_key", "api_token")
    lines = [line for line in text.splitlines() if not line.startswith("template")]
    lines.append('base_url = "http://127.0.0.1:9/api/v3"')
    config.write_text("\n".join(lines))
    (tmp_path / "people.csv").write_text("phone\n9800000001\n9800000002\n")
    return tmp_path


def run(folder, *args, redirect):
    """A command in a shell that redirects its output so; `{}` stands for the command."""
    command = subprocess.list2cmdline([sys.executable, "-m", "dispatcher", *args])
    return subprocess.run(
        ["bash", "-c", f"set -o pipefail; {redirect.format(command)}"],
        cwd=folder, env=clean_environment(folder), capture_output=True, text=True, check=False,
        stdin=subprocess.DEVNULL,
    )  # fmt: skip


def written(folder, *args, out):
    """Exit code and standard error of a command whose standard output is the file `out`."""
    err = folder / "err"
    err.unlink(missing_ok=True)
    process = warm.spawn(
        "dispatcher", args, folder=folder, env=clean_environment(folder), out=out, err=err
    )
    return process.wait(60), err.read_text()


SUBMIT = ("campaign", "submit", "people.csv", "--text", "Hello")


@pytest.mark.parametrize(
    ("redirect", "error"),
    [
        ("{} | true", "broken pipe"),
        ("{} >/dev/full", "no space left on device"),
        ("{} >&-", None),
    ],
)
def test_a_campaign_is_submitted_and_the_rest_is_said_on_stderr(
    folder, sqlite_store, redirect, error
):
    # Python takes longer to begin than a reader such as `true` to end.
    ended = run(folder, *SUBMIT, redirect=redirect)
    assert ended.returncode == 0, ended.stderr
    assert [campaign.state for campaign in rows(sqlite_store, CAMPAIGN)] == ["scheduled"]
    assert "campaign 1 is scheduled" in ended.stderr
    if error is not None:
        assert ended.stderr.count(NOTE.format(error)) == 1
    assert "Traceback" not in ended.stderr
    assert "Exception ignored" not in ended.stderr


def test_json_is_not_lost_either(folder, sqlite_store):
    code, said = written(folder, *SUBMIT, "--json", out=FULL)
    assert code == 0
    assert json.loads(said[said.index("\n{\n") :])["id"] == 1


def test_where_nothing_can_be_written_the_exit_code_still_says_what_became_of_it(
    folder, sqlite_store
):
    ended = run(folder, *SUBMIT, redirect="{} >/dev/full 2>&1")
    assert ended.returncode == 0
    again = run(folder, *SUBMIT, redirect="{} >/dev/full 2>&1")
    assert again.returncode == 3
    assert len(rows(sqlite_store, CAMPAIGN)) == 1


@pytest.mark.parametrize(
    ("command", "words"),
    [
        (["campaign", "pause", "1"], "campaign 1 is paused"),
        (["campaign", "cancel", "1", "--yes"], "campaign 1 is cancelled"),
        (["campaign", "set", "1", "--rate", "5/s"], "campaign 1"),
        (["account", "pause", "main"], "account main"),
        (["stop"], "everything is stopped"),
        (["send", "9800000001", "Hello"], "campaign 2"),
        (["suppression", "add", "9800000001"], "1"),
        (["campaign", "export", "1", "-o", "results.csv"], "3 rows written to results.csv"),
    ],
    ids=lambda given: " ".join(given) if isinstance(given, list) else "",
)
def test_every_change_is_said(folder, sqlite_store, command, words):
    add_campaign(sqlite_store)
    code, said = written(folder, *command, out=FULL)
    assert (code, said.count(NOTE.format("no space left on device"))) == (0, 1), said
    assert words in said.partition("shown here.")[2]


def test_a_refusal_is_said_too(folder, sqlite_store):
    add_campaign(sqlite_store, state=CampaignState.REJECTED)
    code, said = written(folder, "campaign", "pause", "1", out=FULL)
    assert (code, said.startswith("Error: campaign 1 is rejected")) == (3, True)


@pytest.mark.parametrize("command", [["list"], ["show", "1"], ["export", "1"]], ids=str)
def test_a_command_that_only_prints_fails_where_its_output_does(folder, sqlite_store, command):
    add_campaign(sqlite_store)
    code, said = written(folder, "campaign", *command, out=FULL)
    assert (code, said.startswith("Error: No space left on device")) == (1, True)


def test_a_command_that_only_prints_ends_when_its_reader_does(folder, sqlite_store):
    add_campaign(sqlite_store)
    ended = run(folder, "campaign", "show", "1", redirect="{} | true")
    assert (ended.returncode, ended.stderr) == (1, "")


def test_commands_that_only_print_are_known_by_their_names():
    names = {" ".join(path) for path, _ in every_command(cli)}
    assert {name.removeprefix("dispatcher ") for name in _PRINTING} <= names


# --- Signals ----------------------------------------------------------------------------------


@pytest.fixture
def signalled(folder):
    """A command that gets a signal once it has written `after`: exit code, and what it said."""

    def play(number, *args, after):
        out = folder / "out"
        process = warm.spawn(
            "dispatcher", args, folder=folder, env=clean_environment(folder), out=out
        )
        wait_for(lambda: out.is_file() and after in out.read_text(), after)
        process.send_signal(number)
        return process.wait(60), out.read_text()

    return play


@pytest.mark.parametrize(
    ("number", "code", "word"),
    [
        (signal.SIGTERM, 143, "Ended by SIGTERM"),
        (signal.SIGHUP, 129, "Ended by SIGHUP"),
        (signal.SIGINT, 130, "Interrupted"),
    ],
)
def test_a_signal_while_waiting_says_that_the_campaign_goes_on(
    signalled, sqlite_store, number, code, word
):
    ended, said = signalled(number, *SUBMIT, "--wait", after="0/2")
    assert ended == code, said
    assert f"{word}: no longer waiting; campaign 1 goes on" in said
    assert [campaign.state for campaign in rows(sqlite_store, CAMPAIGN)] == ["scheduled"]


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGTERM, 143), (signal.SIGHUP, 129), (signal.SIGINT, 0)]
)
def test_a_signal_ends_watching_only(signalled, sqlite_store, number, code):
    add_campaign(sqlite_store)
    ended, said = signalled(number, "campaign", "watch", "1", after="0/3")
    assert (ended, "no longer watching; the campaign goes on" in said) == (code, True), said


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_a_signal_while_a_large_file_is_read_keeps_nothing(folder, sqlite_store, number, code):
    """Another process reads it: that one ends too."""
    people = folder / "large.csv"
    lines = (f"{9_800_000_000 + n},a row of forty characters or so\n" for n in range(400_000))
    people.write_text("phone,note\n" + "".join(lines))
    out = folder / "out"
    args = ("campaign", "submit", "large.csv", "--text", "Hello", "--yes")
    process = warm.spawn("dispatcher", args, folder=folder, env=clean_environment(folder), out=out)
    wait_for(lambda: rows(sqlite_store, CAMPAIGN), "the import")
    process.send_signal(number)
    assert process.wait(60) == code, out.read_text()
    assert "nothing was sent, and nothing is kept" in out.read_text()
    assert rows(sqlite_store, CAMPAIGN) == []
    listed = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True)
    assert "large.csv" not in listed.stdout


def test_under_nohup_a_command_outlives_its_terminal(folder, sqlite_store):
    add_campaign(sqlite_store)
    out = folder / "out"
    with out.open("w") as file:
        process = subprocess.Popen(
            ["nohup", sys.executable, "-m", "dispatcher", "campaign", "watch", "1"],
            cwd=folder, env=clean_environment(folder), stdout=file, stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
        )  # fmt: skip
    wait_for(lambda: "0/3" in out.read_text(), "the first line")
    process.send_signal(signal.SIGHUP)
    os.kill(process.pid, signal.SIGTERM)
    assert process.wait(30) == 143
    assert "SIGHUP" not in out.read_text()
