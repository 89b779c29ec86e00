"""`dispatcher campaign list`."""

import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

import click

from dispatcher.cli.banners import warn_if_held, warn_if_stopped
from dispatcher.cli.campaign.columns import LIST_COLUMNS
from dispatcher.cli.context import refuse_empty_options, settings_from, with_options
from dispatcher.cli.data import data_options, is_data_asked, print_data
from dispatcher.cli.doubt import warn_of_doubt
from dispatcher.cli.output import print_table
from dispatcher.cli.terminal import is_terminal
from dispatcher.errors import WrongValue

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime, tzinfo

    from dispatcher.campaigns.view import Tally
    from dispatcher.config.settings import Settings
    from dispatcher.store.campaign_search import CampaignFilter
    from dispatcher.store.engine import Store
    from dispatcher.store.rows import CampaignRow


@dataclass(frozen=True, kw_only=True)
class ListOptions:
    """The options of `campaign list`."""

    limit: int
    states: tuple[str, ...]
    account: str | None
    since: str | None
    search: str | None
    timezone: str | None
    sends: bool


@click.command("list")
@click.option(
    "--limit",
    default=20,
    show_default=True,
    type=click.IntRange(1, 10_000),
    help="How many to show.",
)
@click.option("--state", "states", multiple=True, help="Only campaigns in this state; repeatable.")
@click.option("--account", help="Only campaigns of this account.")
@click.option(
    "--since", metavar="TIME", help="Only those made since then: 7d, 12h, 2026-12-24T09:00."
)
@click.option("--search", metavar="TEXT", help="Only with this in their name, text or file name.")
@click.option("--timezone", metavar="ZONE",
              help="Show and read times in this zone. [default: the accounts' zone]")  # fmt: skip
@click.option("--sends", is_flag=True, help="Only single messages: of `send` and `--test-to`.")
@data_options
@with_options(ListOptions)
def campaign_list(ctx: click.Context, options: ListOptions) -> None:
    """List the newest campaigns, and name all that have recipients in doubt.

    The state says what a campaign waits for. Single messages are listed where campaigns leave room.

    \b
    Example:
      dispatcher campaign list --state running
      dispatcher campaign list --since 7d --search spring
    """
    from dispatcher.campaigns.view import newest_campaigns, summary_json, tally_messages
    from dispatcher.cli.zones import shown_zone
    from dispatcher.store.engine import Store, store_now

    refuse_empty_options(ctx)
    is_data = is_data_asked(ctx)
    settings = settings_from(ctx)
    store = Store(settings.store.url)
    warn_if_held(store)
    warn_if_stopped(store)
    accounts = [options.account] if options.account is not None else settings.accounts
    zone = shown_zone(settings, accounts, options.timezone)
    with store.read() as conn:
        now = store_now(conn)
    only = _read_filter(options, zone, now)
    rows = newest_campaigns(store, limit=options.limit, only=only, only_single=options.sends)
    waits = _find_waits(store, settings, rows, zone, now)
    if is_data:
        data = [
            {**summary_json(row, counts), "waits_for": waits.get(row.id)} for row, counts in rows
        ]
        print_data(ctx, data, LIST_COLUMNS, data)
    elif rows:
        _print_list(
            [(campaign, tally_messages(campaign, counts)) for campaign, counts in rows], waits, zone
        )
    elif options.sends or only != type(only)():
        click.echo("no campaign is listed with these options")
    else:
        click.echo("there are no campaigns yet: create one with `dispatcher campaign submit`")
    warn_of_doubt(store, to_stderr=is_data)


def _read_filter(options: ListOptions, zone: "tzinfo", now: "datetime") -> "CampaignFilter":
    """The filter that the options ask for. Raises WrongValue."""
    from dispatcher.cli.parsing import parse_since
    from dispatcher.status import CampaignState
    from dispatcher.store.campaign_search import CampaignFilter

    if unknown := set(options.states) - set(CampaignState):
        raise WrongValue(
            f"--state {min(unknown)!r} is not a campaign's state",
            f"give one of {', '.join(CampaignState)}",
        )
    since = parse_since(options.since, zone, now) if options.since is not None else None
    return CampaignFilter(
        states=options.states, account=options.account, since=since, search=options.search
    )


def _find_waits(
    store: "Store",
    settings: "Settings",
    rows: "Sequence[tuple[CampaignRow, dict[str, int]]]",
    zone: "tzinfo",
    now: "datetime",
) -> dict[int, str]:
    """What each campaign waits for, by id; without those that wait for nothing."""
    from dispatcher.campaigns.waiting import describe_wait
    from dispatcher.store.accounts import all_accounts

    with store.read() as conn:
        accounts = all_accounts(conn)
    found = {}
    for campaign, counts in rows:
        configured = settings.accounts.get(campaign.account)
        account = accounts.get(campaign.account)
        words = describe_wait(campaign, counts, configured, account, now, zone)
        if words is not None:
            found[campaign.id] = words
    return found


def _print_list(
    rows: "Sequence[tuple[CampaignRow, Tally]]", waits: "Mapping[int, str]", zone: "tzinfo"
) -> None:
    from dispatcher.windows.zone_names import zone_name

    zone_label = zone_name(zone)
    columns = ("id", "name", "state", "account", "total", "pending", "submitted", "delivered",
               "not delivered", "in doubt", "not submitted", "created")  # fmt: skip
    print_table(
        columns,
        [
            (
                c.id, c.name, f"waits for {waits[c.id]}" if c.id in waits else c.state, c.account,
                n.total, n.pending, n.submitted, n.delivered, n.not_delivered, n.in_doubt,
                n.not_submitted, f"{c.created_at.astimezone(zone):%Y-%m-%d %H:%M} {zone_label}",
            )
            for c, n in rows
        ],
        spare=("created", "account", "not submitted", "pending", "total", "submitted"),
        cut="name",
    )  # fmt: skip
    if waits and is_terminal(sys.stdout):
        click.echo(f"times in {zone_label}")
