"""`dispatcher campaign report`: figures about one campaign, or about those since a time."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from dispatcher.cli.campaign.columns import REPORT_COLUMNS
from dispatcher.cli.campaign.retry import reasons_of_providers
from dispatcher.cli.context import refuse_empty_options, settings_from
from dispatcher.cli.data import data_options, is_data_asked, print_data
from dispatcher.cli.output import safe_text
from dispatcher.cli.private_files import open_private
from dispatcher.errors import WrongOptions

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dispatcher.config.settings import Settings
    from dispatcher.store.engine import Store
    from dispatcher.store.rows import CampaignRow


@click.command("report")
@click.argument("reference", metavar="[CAMPAIGN]", required=False)
@click.option("--since", metavar="TIME",
              help="All campaigns since then instead: 7d, 12h, or 2026-12-24T09:00.")  # fmt: skip
@click.option("--account", help="With --since: only campaigns of this account.")
@click.option("--timezone", metavar="ZONE",
              help="Show times in this zone. [default: the account's zone]")  # fmt: skip
@click.option("--html", "html_file", metavar="FILE",
              type=click.Path(dir_okay=False, path_type=Path),
              help="Write a page with pictures, to look at, print or send.")  # fmt: skip
@click.option("--force", is_flag=True, help="Replace the file of --html.")
@data_options
@click.pass_context
def campaign_report(
    ctx: click.Context,
    reference: str | None,
    since: str | None,
    account: str | None,
    timezone: str | None,
    html_file: Path | None,
    force: bool,
) -> None:
    """Report on a campaign: outcomes, delays, countries, operators, reasons, rate and cost.

    \b
    Example:
      dispatcher campaign report 1 --html report.html
      dispatcher campaign report --since 7d
    """
    from dispatcher.cli.zones import shown_zone
    from dispatcher.reports.figures import build_figures
    from dispatcher.store.engine import Store
    from dispatcher.windows.zone_names import zone_name

    refuse_empty_options(ctx)
    is_data = is_data_asked(ctx)
    if (reference is None) == (since is None):
        raise WrongOptions("name a campaign, or give --since", "`report 1` or `report --since 7d`")
    if account is not None and since is None:
        raise WrongOptions("--account goes with --since", "leave one of them out")
    settings = settings_from(ctx)
    store = Store(settings.store.url)
    rows, title = _find_rows(store, settings, reference, since, account, timezone)
    zone = shown_zone(settings, {row.account for row in rows}, timezone)
    figures = build_figures(store, settings, rows, zone, reasons_of_providers(settings))
    if html_file is not None:
        from dispatcher.reports.report_page import report_page

        with open_private(html_file, replace=force) as out:
            out.write(report_page(figures, title, zone, zone_name(zone)))
    if is_data:
        from dispatcher.reports.report_json import report_to_json, report_to_rows

        data, lines = report_to_json(figures), report_to_rows(figures)
        print_data(ctx, data, REPORT_COLUMNS, lines)
    else:
        from dispatcher.cli.campaign.report_view import print_report

        print_report(figures, safe_text(title), zone)
        if html_file is not None:
            click.echo(f"\nwritten to {html_file}")


def _find_rows(
    store: "Store",
    settings: "Settings",
    reference: str | None,
    since: str | None,
    account: str | None,
    timezone: str | None,
) -> "tuple[Sequence[CampaignRow], str]":
    """The campaigns that are meant, and the report's title. Raises UsageProblem without any."""
    from dispatcher.campaigns.view import find_campaign
    from dispatcher.cli.parsing import parse_since
    from dispatcher.cli.zones import shown_zone
    from dispatcher.store import campaign_search
    from dispatcher.store.engine import store_now

    if reference is not None:
        with store.read() as conn:
            campaign = find_campaign(conn, reference)
        return [campaign], f"Campaign {campaign.id}: {campaign.name}"
    zone = shown_zone(settings, [account] if account else settings.accounts, timezone)
    with store.read() as conn:
        begin = parse_since(since or "", zone, store_now(conn))
        rows = campaign_search.list_since(conn, begin, account)
    where = f" of {account}" if account is not None else ""
    if not rows:
        raise WrongOptions(
            f"no campaign{where} was created since {begin.astimezone(zone):%Y-%m-%d %H:%M}",
            "give an earlier --since; `dispatcher campaign list` shows all campaigns",
        )
    return rows, f"Campaigns{where} since {begin.astimezone(zone):%Y-%m-%d %H:%M}"
