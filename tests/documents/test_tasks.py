"""The transcripts of the five tasks are what the program prints, line by line."""

import re

import pytest

from tests.documents.test_commands import simulator  # noqa: F401 - a fixture
from tests.support.cli import in_process
from tests.support.tasks import Desk, mask, printed_lines, transcripts

TASKS = [*transcripts()]


@pytest.fixture(scope="module")
def desk(tmp_path_factory, simulator):  # noqa: F811
    """One desk for all: a task may go on where the one before ended."""
    return Desk(tmp_path_factory.mktemp("desk"), simulator)


def test_there_are_five_tasks_of_at_most_two_commands():
    assert [len(steps) for steps in TASKS] == [1, 2, 2, 2, 1]


def test_the_transcripts_are_what_is_printed(desk):
    """Run `python -m tests.support.tasks --write` after changing a text, and read it."""
    for steps in TASKS:
        for command, lines in steps:
            ended = desk.run(command)
            assert ended.code == 0, ended.err
            assert [*map(mask, printed_lines(ended))] == [*map(mask, lines)], command


@pytest.mark.parametrize("steps", TASKS, ids=[steps[0][0][:40] for steps in TASKS])
def test_the_help_leads_to_each_command(steps, tmp_path):
    """From `dispatcher --help` down, the next word of the command stands in the list."""
    for command, _ in steps:
        words = re.findall(r"^dispatcher ((?:campaign |suppression )?[a-z]+)", command)[0].split()
        for place, word in enumerate(words):
            shown = in_process(*words[:place], "--help", folder=tmp_path).out
            listed = re.search(rf"^  {word} +(.+)$", shown, re.MULTILINE)
            assert listed is not None, shown
            assert not listed[1].endswith("...")
