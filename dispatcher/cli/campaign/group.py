"""The table of the commands of `dispatcher campaign`."""

from typing import Final

import click

from dispatcher.cli.lazy import LazyCommand, LazyGroup

_SUBMIT = "dispatcher.cli.campaign.submit"
_VIEW = "dispatcher.cli.campaign.view"
_CONTROL = "dispatcher.cli.campaign.control"
_RESOLVE = "dispatcher.cli.campaign.resolve"
_RETRY = "dispatcher.cli.campaign.retry"

COMMANDS: Final = {
    "submit": LazyCommand(
        f"{_SUBMIT}:campaign_submit", "Send a text to everybody in a recipient file."
    ),
    "list": LazyCommand("dispatcher.cli.campaign.list:campaign_list", "List the newest campaigns."),
    "show": LazyCommand(f"{_VIEW}:campaign_show", "Show one campaign, with every count."),
    "watch": LazyCommand(
        "dispatcher.cli.campaign.watch:campaign_watch", "Follow campaigns until they end."
    ),
    "export": LazyCommand(
        "dispatcher.cli.campaign.export:campaign_export", "Write the result of every row."
    ),
    "pause": LazyCommand(f"{_CONTROL}:campaign_pause", "Stop sending; resume continues."),
    "resume": LazyCommand(f"{_CONTROL}:campaign_resume", "Continue a paused campaign."),
    "cancel": LazyCommand(f"{_CONTROL}:campaign_cancel", "End a campaign for good."),
    "drop": LazyCommand(
        "dispatcher.cli.campaign.drop:campaign_drop", "Take out recipients who are pending."
    ),
    "set": LazyCommand(
        "dispatcher.cli.campaign.set:campaign_set", "Change rate, windows or priority."
    ),
    "failures": LazyCommand(f"{_RETRY}:campaign_failures", "Show who was not reached, and why."),
    "report": LazyCommand(
        "dispatcher.cli.campaign.report:campaign_report", "Report outcomes, delays, rate and cost."
    ),
    "find": LazyCommand(
        "dispatcher.cli.campaign.find:campaign_find", "Show all that was ever sent to a number."
    ),
    "retry": LazyCommand(f"{_RETRY}:campaign_retry", "Try recipients again who were not reached."),
    "resolve": LazyCommand(
        f"{_RESOLVE}:campaign_resolve", "Decide what to do with recipients in doubt."
    ),
}


@click.group("campaign", cls=LazyGroup, table=COMMANDS)
def campaign_group() -> None:
    """Submit, watch and control campaigns. CAMPAIGN is the id or the name of one.

    \b
    Example:
      dispatcher campaign submit people.csv --account main --text "Hello {{name}}"
      dispatcher campaign watch 1
    """
