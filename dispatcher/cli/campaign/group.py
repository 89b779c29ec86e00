"""`dispatcher campaign`: the table of its commands."""

from typing import Final

import click

from dispatcher.cli.lazy import LazyCommand, LazyGroup

_SUBMIT = "dispatcher.cli.campaign.submit"
_VIEW = "dispatcher.cli.campaign.view"
_CONTROL = "dispatcher.cli.campaign.control"
_RESOLVE = "dispatcher.cli.campaign.resolve"

COMMANDS: Final = {
    "submit": LazyCommand(
        f"{_SUBMIT}:campaign_submit", "Send a text to everybody in a recipient file."
    ),
    "list": LazyCommand(f"{_VIEW}:campaign_list", "The newest campaigns."),
    "show": LazyCommand(f"{_VIEW}:campaign_show", "One campaign, with every count."),
    "watch": LazyCommand(f"{_VIEW}:campaign_watch", "Follow a campaign until it ends."),
    "export": LazyCommand(f"{_VIEW}:campaign_export", "What became of every row, as CSV."),
    "pause": LazyCommand(f"{_CONTROL}:campaign_pause", "Stop sending; resume goes on."),
    "resume": LazyCommand(f"{_CONTROL}:campaign_resume", "Go on with a paused campaign."),
    "cancel": LazyCommand(f"{_CONTROL}:campaign_cancel", "End a campaign for good."),
    "set": LazyCommand(
        "dispatcher.cli.campaign.set:campaign_set", "Change rate, window or priority."
    ),
    "retry": LazyCommand(f"{_RESOLVE}:campaign_retry", "Try failed recipients again."),
    "resolve": LazyCommand(
        f"{_RESOLVE}:campaign_resolve", "Decide what to do with recipients in doubt."
    ),
    "report": LazyCommand(None, "A report of a campaign."),
    "failures": LazyCommand(None, "What went wrong, by reason."),
    "find": LazyCommand(None, "What a number got."),
}


@click.group("campaign", cls=LazyGroup, table=COMMANDS)
def campaign_group() -> None:
    """Submit, watch and steer campaigns. A campaign is named by its id or its name.

    \b
    Example:
      dispatcher campaign submit people.csv --account main --text "Dear {{name|customer}}, …"
      dispatcher campaign watch 1
    """
