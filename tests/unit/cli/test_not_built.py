"""Documented options that are not built yet are refused by name, never ignored."""

import click
import pytest
from click.testing import CliRunner

from dispatcher.cli.exit import report_errors
from dispatcher.cli.not_built import unavailable_command, unavailable_options


@click.command("submit")
@click.argument("file")
@click.option("--known")
@unavailable_options("--rate", "--map", flags=("--flash",))
def submit(file, known):
    """Submit."""
    click.echo(f"{file} {known}")


class Explained(click.Group):
    def invoke(self, ctx):
        with report_errors():
            return super().invoke(ctx)


program = Explained("program", commands=[submit, unavailable_command("retry", "Try again.")])


def test_without_them_the_command_runs_and_gets_none_of_them():
    ended = CliRunner().invoke(program, ["submit", "f", "--known", "x"])
    assert (ended.exit_code, ended.output) == (0, "f x\n")


@pytest.mark.parametrize(
    ("args", "named"),
    [
        (["submit", "f", "--rate", "100/s"], "submit --rate"),
        (["submit", "--rate=100/s"], "submit --rate"),
        (["submit", "f", "--map", "a=b", "--map", "c=d"], "submit --map"),
        (["submit", "f", "--flash"], "submit --flash"),
        (["retry", "7", "--force", "-x"], "retry"),
    ],
)
def test_given_they_are_refused_by_name(args, named):
    ended = CliRunner().invoke(program, args)
    assert ended.exit_code == 2
    assert ended.stderr == f"Error: `program {named}` is not available yet\n"
    assert ended.stdout == ""


def test_the_help_does_not_offer_them():
    out = CliRunner().invoke(submit, ["--help"]).output
    assert "--known" in out
    assert "--rate" not in out
    assert "--flash" not in out


def test_a_command_is_listed_as_not_available():
    assert "(not available yet) Try again." in CliRunner().invoke(program, ["--help"]).output
