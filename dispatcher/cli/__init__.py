"""The command line: the table of its commands, and how it starts.

Commands import what they need when they run, so that `dispatcher --help` is quick.
"""

import atexit
import gc
from typing import Any, Final

import click

from dispatcher import __version__
from dispatcher.cli.exit import report_errors
from dispatcher.cli.lazy import CONFIG, LazyCommand, LazyGroup
from dispatcher.cli.outcome import open_outputs
from dispatcher.cli.terminal import replace_missing_characters
from dispatcher.local.signals import end_as_by_ctrl_c

#: New objects after which Python looks for garbage. With Python's default of 700, a command spends
#: a sixth of its processor time searching the modules that it loads, which hold no garbage.
_OBJECTS_PER_COLLECTION: Final = 100_000

COMMANDS: Final = {
    "init": LazyCommand(
        "dispatcher.cli.init:init_command", "Write a commented configuration file."
    ),
    "doctor": LazyCommand(
        "dispatcher.cli.doctor:doctor_command", "Check the configuration and this machine."
    ),
    "demo": LazyCommand(
        "dispatcher.cli.demo:demo_command",
        "Run a whole campaign on this machine; nothing is sent.",
        configured=False,
    ),
    "up": LazyCommand("dispatcher.cli.up:up_command", "Run a broker, a worker and the scheduler."),
    "stop": LazyCommand("dispatcher.cli.stop:stop_command", "Stop sending with every account."),
    "go": LazyCommand("dispatcher.cli.stop:go_command", "Go on after `dispatcher stop`."),
    "simulator": LazyCommand(
        "dispatcher.cli.simulator:simulator_command",
        "Play the providers on this machine, for tests.",
        configured=False,
    ),
    "campaign": LazyCommand(
        "dispatcher.cli.campaign.group:campaign_group", "Submit, watch and control campaigns."
    ),
    "rehearse": LazyCommand(
        "dispatcher.cli.rehearse:rehearse_command",
        "Try `campaign submit` at simulated providers; nothing is sent.",
    ),
    "account": LazyCommand(
        "dispatcher.cli.account.remote:account_group", "Check the accounts at the providers."
    ),
    "explain": LazyCommand(
        "dispatcher.cli.explain:explain_command",
        "Say what an error's code means, and what to do.",
        configured=False,
    ),
    "completion": LazyCommand(
        "dispatcher.cli.completion:completion_command",
        "Complete commands and names in bash, zsh or fish.",
        configured=False,
    ),
    "db": LazyCommand(
        "dispatcher.cli.db:db_group", "Create, upgrade, back up and restore the store."
    ),
    "send": LazyCommand("dispatcher.cli.send:send_command", "Send one message now."),
    "audit": LazyCommand("dispatcher.cli.audit:audit_command", "List who did what, and when."),
    "notify": LazyCommand(
        "dispatcher.cli.notify:notify_group", "Try the notices of [notify], and list them."
    ),
    "suppression": LazyCommand(
        "dispatcher.cli.suppression:suppression_group", "Keep numbers that must never be texted."
    ),
    "purge": LazyCommand(
        "dispatcher.cli.purge:purge_command", "Drop numbers and texts of old campaigns."
    ),
    "erase": LazyCommand(
        "dispatcher.cli.erase:erase_command", "Drop all that is kept of one number."
    ),
    "metrics": LazyCommand(
        "dispatcher.cli.metrics:metrics_command", "Serve metrics for Prometheus."
    ),
    "receiver": LazyCommand(
        "dispatcher.cli.receiver:receiver_group", "Take receipts and replies that providers push."
    ),
}


class Root(LazyGroup):
    """The `dispatcher` command itself."""

    def make_context(
        self,
        info_name: str | None,
        args: list[str],
        parent: click.Context | None = None,
        **extra: Any,
    ) -> click.Context:
        """Read the options before the command; a mistake there ends as any other."""
        with report_errors():
            return super().make_context(info_name, args, parent, **extra)

    def invoke(self, ctx: click.Context) -> Any:
        """Run a command; its errors become one sentence and an exit code."""
        with report_errors():
            return super().invoke(ctx)


def _print_version(ctx: click.Context, _option: click.Parameter, wanted: bool) -> None:
    if not wanted or ctx.resilient_parsing:
        return
    from dispatcher.store.revisions import newest_revision

    click.echo(f"dispatcher, version {__version__} (tables {newest_revision()})")
    ctx.exit()


@click.group(
    "dispatcher",
    cls=Root,
    params=[CONFIG],
    table=COMMANDS,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.option(
    "--version",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_print_version,
    help="Show the version, and that of the store's tables.",
)
def cli() -> None:
    """Send bulk-SMS campaigns: nobody twice, nobody forgotten, never outside allowed hours.

    \b
    Example:
      dispatcher init
      dispatcher doctor
      dispatcher campaign submit people.csv --account main --text "Hello {{name}}"

    Exit codes: 0 done, 1 failed or in doubt, 2 wrong usage, 3 refused by a check.
    """


def main() -> None:
    """Run the `dispatcher` command."""
    gc.set_threshold(_OBJECTS_PER_COLLECTION)
    # Python looks through every object once more when it ends: a fifth of a short command's time.
    atexit.register(gc.freeze)
    replace_missing_characters()
    open_outputs()
    end_as_by_ctrl_c()
    cli.main(prog_name="dispatcher")
