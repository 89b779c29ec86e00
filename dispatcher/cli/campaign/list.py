"""`dispatcher campaign list`."""

from typing import TYPE_CHECKING

import click

from dispatcher.cli.banners import warn_if_held, warn_if_stopped
from dispatcher.cli.context import settings_from
from dispatcher.cli.doubt import warn_of_doubt
from dispatcher.cli.output import print_json, print_table
from dispatcher.errors import WrongValue

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dispatcher.campaigns.view import Tally
    from dispatcher.store.rows import CampaignRow


@click.command("list")
@click.option(
    "--limit",
    default=20,
    show_default=True,
    type=click.IntRange(1, 10_000),
    help="How many to show.",
)
@click.option("--state", "states", multiple=True, help="Only campaigns in this state; repeatable.")
@click.option("--sends", is_flag=True, help="Only single messages: of `send` and `--test-to`.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_context
def campaign_list(
    ctx: click.Context, limit: int, states: tuple[str, ...], sends: bool, as_json: bool
) -> None:
    """List the newest campaigns, and name all that have recipients in doubt.

    Single messages are listed where campaigns leave room.

    \b
    Example:
      dispatcher campaign list --state running
    """
    from dispatcher.campaigns.view import newest_campaigns, summary_json, tally_messages
    from dispatcher.status import CampaignState

    if unknown := set(states) - set(CampaignState):
        raise WrongValue(
            f"--state {min(unknown)!r} is not a campaign's state",
            f"give one of {', '.join(CampaignState)}",
        )
    from dispatcher.store.engine import Store

    store = Store(settings_from(ctx).store.url)
    warn_if_held(store)
    warn_if_stopped(store)
    rows = newest_campaigns(store, limit=limit, states=states, only_single=sends)
    if as_json:
        print_json([summary_json(campaign, counts) for campaign, counts in rows])
    elif rows:
        _print_list([(campaign, tally_messages(campaign, counts)) for campaign, counts in rows])
    elif states or sends:
        click.echo("no campaign is listed with these options")
    else:
        click.echo("there are no campaigns yet: create one with `dispatcher campaign submit`")
    warn_of_doubt(store, to_stderr=as_json)


def _print_list(rows: "Sequence[tuple[CampaignRow, Tally]]") -> None:
    columns = ("id", "name", "state", "account", "total", "pending", "submitted", "delivered",
               "not delivered", "in doubt", "not submitted", "created")  # fmt: skip
    print_table(
        columns,
        [
            (
                c.id, c.name, c.state, c.account, n.total, n.pending, n.submitted, n.delivered,
                n.not_delivered, n.in_doubt, n.not_submitted, f"{c.created_at:%Y-%m-%d %H:%M} UTC",
            )
            for c, n in rows
        ],
        spare=("created", "account", "pending", "total"),
    )  # fmt: skip
