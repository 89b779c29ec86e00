"""The command line: its table of commands, and the one place where their errors become exit codes.

Commands import what they need when they run, so that `dispatcher --help` is quick.
"""

from typing import Any, Final

import click

from dispatcher import __version__
from dispatcher.cli.exit import explained
from dispatcher.cli.lazy import CONFIG, Lazy, LazyGroup

COMMANDS: Final = {
    "init": Lazy("dispatcher.cli.init:init", "Write a commented configuration file."),
    "doctor": Lazy("dispatcher.cli.doctor:doctor", "Check the configuration and this machine."),
    "demo": Lazy(
        "dispatcher.cli.demo:demo",
        "A whole campaign on this machine; nothing is sent.",
        configured=False,
    ),
    "up": Lazy("dispatcher.cli.up:up", "Run a broker, a worker and the scheduler."),
    "simulator": Lazy(
        "dispatcher.cli.simulator:simulator", "Play the providers, for tests.", configured=False
    ),
    "campaign": Lazy(
        "dispatcher.cli.campaign.group:campaign", "Submit, watch and steer campaigns."
    ),
    "account": Lazy(
        "dispatcher.cli.account.remote:account", "Check the accounts at the providers."
    ),
    "db": Lazy("dispatcher.cli.db:db", "Create and upgrade the store."),
    "send": Lazy("dispatcher.cli.send:send", "Send one message now."),
    "suppression": Lazy(None, "Numbers that must never be texted."),
    "purge": Lazy(None, "Drop numbers and texts of old campaigns."),
    "metrics": Lazy(None, "Figures for Prometheus."),
    "receiver": Lazy(None, "Take delivery reports that providers push."),
}


class Root(LazyGroup):
    """The program itself."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run a command; what it raises ends as one sentence and an exit code."""
        with explained():
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
