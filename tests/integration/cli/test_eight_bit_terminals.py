"""A terminal that lacks characters gets others in their place; nothing printed ends a command."""

import sys
from itertools import cycle
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from dispatcher.cli import cli
from dispatcher.cli.terminal import replace_missing_characters
from dispatcher.status import CampaignState
from tests.support.cli import clean_environment
from tests.support.simulator import SimulatorProcess
from tests.support.stores import NOW, add_account, add_campaign
from tests.support.terminal import on_terminal

#: No 8-bit encoding has all of them.
NAME = "Łukasz → नमस्ते … ×"
CONFIG = """
[store]
url = "sqlite:///{path}"
[accounts.main]
provider = "thesmspoint"
base_url = "{url}"
api_key = "a-key-of-a-test"
sender = "SENDER"
template = "TEMPLATE"
country = "IN"
"""
#: What each command is given, and how it ends. Campaign 1 is running, 2 is finished.
CASES = {
    ("init",): (["new.toml"], 0),
    ("doctor",): ([], 1),
    ("simulator",): (["--ledger", f"{NAME}/ledger"], 1),
    ("campaign", "submit"): (["people.csv", "--text", f"Dear {{{{name}}}}, {NAME}"], 0),
    ("campaign", "list"): ([], 0),
    ("campaign", "show"): (["1"], 0),
    ("campaign", "watch"): (["2"], 0),
    ("campaign", "export"): (["1", "-o", f"{NAME}.csv"], 0),
    ("campaign", "pause"): (["1"], 0),
    ("campaign", "resume"): (["2"], 3),
    ("campaign", "cancel"): (["1"], 0),
    ("campaign", "set"): (["1", "--priority", "5"], 0),
    ("campaign", "retry"): (["1"], 3),
    ("campaign", "failures"): (["1"], 0),
    ("campaign", "find"): (["9800000001"], 0),
    ("campaign", "report"): (["1"], 0),
    ("audit",): ([], 0),
    ("campaign", "resolve"): (["1", "--drop"], 3),
    ("account", "check"): ([NAME], 2),
    ("account", "balance"): ([], 0),
    ("account", "senders"): ([], 0),
    ("account", "templates"): ([], 0),
    ("account", "list"): ([], 0),
    ("account", "pause"): (["main", "--reason", NAME], 0),
    ("account", "resume"): (["main"], 0),
    ("db", "upgrade"): ([], 0),
    ("db", "current"): ([], 0),
    ("db", "adopt"): (["--restored", "--yes"], 0),
    ("send",): (["9800000001", NAME], 0),
    ("rehearse",): ([f"{NAME}.csv", "--text", NAME], 2),
    ("stop",): (["--reason", NAME], 0),
    ("go",): ([], 0),
    ("explain",): (["E-FILE"], 0),
    ("completion",): (["fish"], 0),
    ("metrics",): (["--once"], 0),
    ("suppression", "add"): (["9800000009", "--reason", NAME], 0),
    ("suppression", "remove"): (["9800000009"], 3),
    ("suppression", "check"): (["9800000009"], 0),
    ("suppression", "list"): ([], 0),
    ("suppression", "import"): (["people.csv", "--source", NAME], 1),
    ("suppression", "export"): (["-o", f"{NAME}.csv"], 0),
    ("campaign", "drop"): (["1", "9800000001"], 0),
    ("purge",): (["--older-than", "0d"], 0),
    ("erase",): (["9800000077"], 0),
    ("db", "backup"): ([f"{NAME}.backup"], 0),
    ("db", "restore"): ([f"{NAME}.backup"], 2),
    ("receiver", "url"): (["main"], 3),
    ("receiver", "revoke"): (["main"], 3),
    ("receiver", "replies"): ([], 0),
    ("notify", "test"): ([], 2),
    ("notify", "list"): ([], 0),
}
#: They run processes: the acceptance tests run them with PYTHONIOENCODING=ascii.
ENDLESS = {("up",), ("demo",), ("rehearse",)}


def built_commands(group=cli, path=()):
    """The names of every command that is built."""
    ctx = click.Context(group)
    for name in group.list_commands(ctx):
        _, command, _ = group.resolve_command(ctx, [name])
        if isinstance(command, click.Group):
            yield from built_commands(command, (*path, name))
        elif not command.help.startswith("Not available yet"):
            yield (*path, name)


def test_every_command_has_a_case():
    assert {*built_commands()} == {*CASES} | ENDLESS


@pytest.fixture(scope="module")
def provider():
    with SimulatorProcess() as started:
        yield started


@pytest.fixture
def folder(sqlite_store, provider, tmp_path, monkeypatch):
    """The current folder, with a configuration and two campaigns whose names are not ASCII."""
    monkeypatch.chdir(tmp_path)
    config = tmp_path / "dispatcher.toml"
    config.touch(mode=0o600)
    config.write_text(
        CONFIG.format(path=sqlite_store.url.database, url=provider.base_url()), encoding="utf-8"
    )
    Path("people.csv").write_text(f"phone,name\n9800000001,{NAME}\n123,{NAME}\n", encoding="utf-8")
    add_account(sqlite_store, paused_by="operator", pause_reason=NAME)
    add_campaign(sqlite_store, name=NAME, source_name=NAME)
    add_campaign(sqlite_store, state=CampaignState.FINISHED, name=NAME, finished_at=NOW)
    return tmp_path


@pytest.fixture
def run(folder):
    """Runs a command whose standard streams have this encoding; its exit code and output."""

    def command(encoding, *args):
        runner = CliRunner(charset=encoding)
        with runner.isolation() as (out, err, _):
            replace_missing_characters()
            with pytest.raises(SystemExit) as ended:
                cli.main(args, prog_name="dispatcher")
            sys.stdout.flush()
            return ended.value.code or 0, (out.getvalue() + err.getvalue()).decode(encoding)

    return command


@pytest.mark.parametrize(
    ("path", "encoding"),
    [*zip(CASES, cycle(["ascii", "iso-8859-1", "koi8-r"]), strict=False)],
)
def test_a_command_replaces_what_the_terminal_lacks(run, path, encoding):
    args, code = CASES[path]
    ended, shown = run(encoding, *path, *args)
    assert ended == code, shown
    assert shown
    assert "bug in dispatcher" not in shown
    assert not any(char in shown for char in "Łनम")


def test_what_is_replaced_can_still_be_read(run):
    shown = run("ascii", "campaign", "show", "1")[1]
    assert "campaign 1  ?ukasz -> ?????? ... x" in shown
    assert "campaign 1  ?ukasz -> ?????? ... ×" in run("iso-8859-1", "campaign", "show", "1")[1]


@pytest.mark.parametrize(
    ("args", "typed", "words"),
    [
        (["campaign", "list"], "", ["?ukasz", "finished"]),
        (["campaign", "watch", "2"], "", ["....", "campaign 2 ?ukasz -> ?"]),
        (
            ["campaign", "submit", "people.csv", "--text", "Dear {{name}}"],
            "n\n",
            ["Dear ?ukasz -> ?", "Send to 1 recipient? [y/N]:", "nothing was sent"],
        ),
    ],
    ids=" ".join,
)
@pytest.mark.parametrize(
    "env", [{"PYTHONIOENCODING": "iso-8859-1"}, {"PYTHONIOENCODING": "ascii"}], ids=str
)
def test_tables_bars_and_questions_are_shown_on_such_a_terminal(folder, args, typed, words, env):
    session = on_terminal(
        ["-m", "dispatcher", *args],
        typed=typed,
        after="[y/N]:" if typed else "",
        columns=120,
        env=clean_environment(folder) | env,
    )
    assert session.code == (3 if typed else 0), session.shown
    flat = " ".join(session.shown.split())
    assert [word for word in words if word not in flat] == [], session.shown
