"""Documented commands that are not built yet are refused by name, never ignored."""

import click
import pytest
from click.testing import CliRunner

from dispatcher.cli.exit import report_errors
from dispatcher.cli.not_built import unavailable_command


class Reporting(click.Group):
    def invoke(self, ctx):
        with report_errors():
            return super().invoke(ctx)


program = Reporting("program", commands=[unavailable_command("retry", "Try again.")])


@pytest.mark.parametrize("args", [["retry"], ["retry", "7", "--force", "-x"]])
def test_whatever_its_arguments_it_is_refused_by_name(args):
    ended = CliRunner().invoke(program, args)
    assert ended.exit_code == 2
    assert ended.stderr == (
        "Error: `program retry` is not available yet\n"
        "Hint: `program --help` lists the commands that are\n"
        "Code: E-NOT-BUILT (`dispatcher explain E-NOT-BUILT` says more)\n"
    )
    assert ended.stdout == ""


def test_a_command_is_listed_as_not_available():
    assert "(not available yet) Try again." in CliRunner().invoke(program, ["--help"]).output
