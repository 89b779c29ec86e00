"""The command line: its table of commands, and the one place where their errors become exit codes.

Commands import what they need when they run, so that `dispatcher --help` is quick.
"""

from typing import Any, Final

import click

from dispatcher import __version__
from dispatcher.cli.exit import report_errors
from dispatcher.cli.lazy import CONFIG, LazyCommand, LazyGroup

COMMANDS: Final = {
    "init": LazyCommand(
        "dispatcher.cli.init:init_command", "Write a commented configuration file."
    ),
    "doctor": LazyCommand(
        "dispatcher.cli.doctor:doctor_command", "Check the configuration and this machine."
    ),
    "demo": LazyCommand(
        "dispatcher.cli.demo:demo_command",
        "A whole campaign on this machine; nothing is sent.",
        configured=False,
    ),
    "up": LazyCommand("dispatcher.cli.up:up_command", "Run a broker, a worker and the scheduler."),
    "simulator": LazyCommand(
        "dispatcher.cli.simulator:simulator_command",
        "Play the providers, for tests.",
        configured=False,
    ),
    "campaign": LazyCommand(
        "dispatcher.cli.campaign.group:campaign_group", "Submit, watch and steer campaigns."
    ),
    "account": LazyCommand(
        "dispatcher.cli.account.remote:account_group", "Check the accounts at the providers."
    ),
    "db": LazyCommand("dispatcher.cli.db:db_group", "Create and upgrade the store."),
    "send": LazyCommand("dispatcher.cli.send:send_command", "Send one message now."),
    "suppression": LazyCommand(None, "Numbers that must never be texted."),
    "purge": LazyCommand(None, "Drop numbers and texts of old campaigns."),
    "metrics": LazyCommand(None, "Figures for Prometheus."),
    "receiver": LazyCommand(None, "Take delivery reports that providers push."),
}


class Root(LazyGroup):
    """The program itself."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run a command; what it raises ends as one sentence and an exit code."""
        with report_errors():
            return super().invoke(ctx)


@click.group(
    "dispatcher",
    cls=Root,
    params=[CONFIG],
    table=COMMANDS,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(__version__, prog_name="dispatcher")
def cli() -> None:
    """Send bulk-SMS campaigns: nobody twice, nobody lost, never outside the hours.

    \b
    Example:
      dispatcher init
      dispatcher doctor
      dispatcher campaign submit people.csv --account main --text "Hello {{name}}"

    Exit codes: 0 done, 1 failed or in doubt, 2 wrong usage, 3 refused by a check.
    """


def main() -> None:
    """The `dispatcher` command."""
    cli.main(prog_name="dispatcher")
