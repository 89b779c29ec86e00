"""The example in each command's help is run, or, where it needs more than a folder, understood."""

import re
import shlex
import shutil

import click
import pytest

from dispatcher.cli import cli
from tests.documents.test_commands import (  # noqa: F401 - fixtures
    DocumentedShell,
    simulator,
    template,
)
from tests.support.cli import every_command

#: They run until Ctrl-C, start processes, or write outside the folder.
ONLY_UNDERSTOOD = {
    ("demo",), ("up",), ("simulator",), ("rehearse",), ("send",), ("metrics",),
    ("receiver",),
}  # fmt: skip
OUTSIDE = {"dispatcher init /etc/dispatcher/dispatcher.toml"}
#: What does not end with 0 in the folder of these tests, and why.
ENDS_WITH = {
    # Neither a broker nor a worker runs.
    "dispatcher doctor": 1,
    "dispatcher doctor --providers --json": 1,
    # There is one campaign.
    "dispatcher campaign cancel 3 4 5 --yes": 2,
    # Nobody of it was undelivered, and this number is not among those in doubt.
    "dispatcher campaign retry 1 --state undelivered --state expired": 3,
    "dispatcher campaign resolve 1 --resend --recipient +919800000001": 3,
    # Both are in doubt, and nobody is on the list.
    'dispatcher campaign drop 1 +919820011223 "98200 11224"': 3,
    "dispatcher suppression remove +919820011223": 3,
    # Its provider pushes nothing.
    "dispatcher receiver url main": 3,
    "dispatcher receiver revoke main": 3,
    # Recipients in doubt remain.
    "dispatcher campaign watch 1": 1,
    "dispatcher campaign watch": 0,
    # There is no such backup; integration/recovery/test_backup.py restores one.
    "dispatcher db restore store.backup": 2,
    # Nobody is notified in this configuration.
    "dispatcher notify test": 2,
}


def examples(command):
    """The lines below `Example:`, without where their output goes."""
    text = re.sub(r"\n\n[\s\S]*", "", command.help.partition("Example:")[2].strip("\n"))
    text = re.sub(r"\\\n\s*", "", text)
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return [re.sub(r" > \S+$", "", line) for line in lines if line.startswith("dispatcher ")]


COMMANDS = [
    (path, command) for path, command in every_command(cli)
    if not command.help.startswith("Not available yet")
]  # fmt: skip


@pytest.mark.parametrize(("path", "command"), COMMANDS, ids=[" ".join(p) for p, _ in COMMANDS])
def test_every_example_is_of_its_command_and_has_options_that_exist(path, command):
    found = examples(command)
    assert found
    for line in found:
        words = shlex.split(line)[1:]
        assert tuple(words[: len(path)]) == path, line
        with click.Context(cli, info_name="dispatcher") as top:
            command.make_context(path[-1], words[len(path) :], parent=top)


@pytest.mark.parametrize(("path", "command"), COMMANDS, ids=[" ".join(p) for p, _ in COMMANDS])
def test_the_help_is_never_wider_than_a_terminal(path, command):
    with click.Context(cli, info_name="dispatcher") as top:
        context = click.Context(command, info_name=" ".join(path), parent=top, terminal_width=80)
    wide = [line for line in command.get_help(context).splitlines() if len(line) > 80]
    assert wide == []


RUN = [(path, command) for path, command in COMMANDS if path not in ONLY_UNDERSTOOD]


@pytest.mark.timeout(60)
@pytest.mark.parametrize(("path", "command"), RUN, ids=[" ".join(path) for path, _ in RUN])
def test_the_example_runs(path, command, template, simulator, tmp_path):  # noqa: F811
    folder = tmp_path / "here"
    shutil.copytree(template, folder)
    (folder / "optouts.csv").write_text("phone\n+919820011999\n", encoding="utf-8")
    shell = DocumentedShell(folder, simulator.port, ends_with=ENDS_WITH)
    if path == ("campaign", "submit"):
        shell.change_campaigns(name="an earlier one")
    for line in examples(command):
        if line not in OUTSIDE:
            shell.run(line)
