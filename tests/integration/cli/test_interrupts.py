"""Ctrl-C and piped files: a person is asked, and reads what goes on without the command."""

import subprocess

import pytest

from dispatcher.store.tables import CAMPAIGN
from tests.support.cli import clean_environment, in_process
from tests.support.stores import rows
from tests.support.terminal import on_terminal

CONFIG = """
[store]
url = "sqlite:///{path}"
[accounts.main]
provider = "smsnoc"
api_token = "a-key-of-a-test"
base_url = "http://127.0.0.1:9/api/v3"
sender = "SENDER"
country = "IN"
"""
PEOPLE = b"phone\n9800000001\n9800000002\n"
QUESTION = "Send to 2 recipients? [y/N]:"


@pytest.fixture
def at_terminal(sqlite_store, tmp_path, monkeypatch):
    """A command at a terminal; no scheduler runs, so that nothing is sent."""
    monkeypatch.chdir(tmp_path)
    config = tmp_path / "dispatcher.toml"
    config.touch(mode=0o600)
    config.write_text(CONFIG.format(path=sqlite_store.url.database), encoding="utf-8")

    def command(*args, **options):
        argv = ["-m", "dispatcher", *args]
        return on_terminal(argv, columns=120, env=clean_environment(tmp_path), **options)

    return command


@pytest.fixture
def waiting(at_terminal, tmp_path):
    """A message that is not sent yet, campaign 1."""
    ended = in_process("send", "9800000001", "Hello", folder=tmp_path)
    assert ended.code == 0, ended.err


def submit(*options):
    return ("campaign", "submit", "-", "--text", "Hello", *options)


@pytest.mark.parametrize(
    ("typed", "code", "words", "kept"),
    [
        ("y\n", 0, "campaign 1 is scheduled", ["scheduled"]),
        ("n\n", 3, "nothing was sent, and nothing is kept", []),
        ("\x03", 130, "Interrupted: nothing was sent, and nothing is kept", []),
    ],
    ids=["yes", "no", "ctrl-c"],
)
def test_a_piped_file_at_a_terminal_is_asked_about(
    sqlite_store, at_terminal, typed, code, words, kept
):
    session = at_terminal(*submit(), piped=PEOPLE, typed=typed, after=QUESTION)
    assert (session.code, words in session.shown) == (code, True), session.shown
    assert [campaign.state for campaign in rows(sqlite_store, CAMPAIGN)] == kept


def test_ctrl_c_while_a_large_file_is_read_keeps_nothing(sqlite_store, at_terminal, tmp_path):
    """Another process reads it: that one ends too, and says nothing."""
    people = tmp_path / "people.csv"
    lines = (f"{9_800_000_000 + n},a row of forty characters or so\n" for n in range(400_000))
    people.write_text("phone,note\n" + "".join(lines))
    submission = ("campaign", "submit", str(people), "--text", "Hello", "--yes")
    session = at_terminal(*submission, typed="\x03", after="read up to row ")
    assert session.code == 130, session.shown
    assert session.shown.count("Interrupted: nothing was sent, and nothing is kept") == 1
    assert "Traceback" not in session.shown
    assert [campaign.state for campaign in rows(sqlite_store, CAMPAIGN)] == []
    assert (
        str(people)
        not in subprocess.run(
            ["ps", "-eo", "args"], capture_output=True, text=True, check=True
        ).stdout
    )


@pytest.mark.parametrize(("options", "controls"), [(["--yes"], True), ([], False)])
def test_a_script_that_pipes_its_file_is_not_asked(at_terminal, options, controls):
    session = at_terminal(*submit(*options), piped=PEOPLE, controls=controls)
    assert (session.code, QUESTION in session.shown) == (0, False), session.shown


@pytest.mark.parametrize(
    "args", [("send", "9800000001", "Hello", "--wait"), (*submit("--yes"), "--wait=receipts")]
)
def test_ctrl_c_while_waiting_says_that_the_campaign_goes_on(sqlite_store, at_terminal, args):
    piped = PEOPLE if "-" in args else None
    session = at_terminal(*args, piped=piped, typed="\x03", after="0/")
    told = "Interrupted: no longer waiting; campaign 1 goes on: `dispatcher campaign watch 1`"
    assert told in session.shown
    assert session.code == 130
    assert [campaign.state for campaign in rows(sqlite_store, CAMPAIGN)] == ["scheduled"]


def test_ctrl_c_ends_watching_only(at_terminal, waiting):
    session = at_terminal("campaign", "watch", "1", typed="\x03", after="0/")
    assert (session.code, "no longer watching; the campaign goes on" in session.shown) == (0, True)


def test_ctrl_c_at_the_question_of_cancel_changes_nothing(sqlite_store, at_terminal, waiting):
    session = at_terminal("campaign", "cancel", "1", typed="\x03", after="[y/N]:")
    assert "Interrupted: nothing was changed" in session.shown
    assert session.code == 130
    assert [campaign.state for campaign in rows(sqlite_store, CAMPAIGN)] == ["scheduled"]
