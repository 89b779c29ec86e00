"""`dispatcher audit`: who did what, and when."""

from typing import TYPE_CHECKING

import click

from dispatcher.cli.context import refuse_empty_options, settings_from
from dispatcher.cli.data import data_options, is_data_asked, print_data
from dispatcher.cli.output import print_table

if TYPE_CHECKING:
    from datetime import datetime, tzinfo

    from dispatcher.store.audit import AuditRow


@click.command("audit")
@click.option("--campaign", "reference", metavar="CAMPAIGN", help="Only about this campaign.")
@click.option("--account", help="Only about this account and its campaigns.")
@click.option("--since", metavar="TIME", help="Only since then: 7d, 12h, or 2026-12-24T09:00.")
@click.option("--timezone", metavar="ZONE",
              help="Show and read times in this zone. [default: the accounts' zone]")  # fmt: skip
@click.option("--limit", default=100, show_default=True, type=click.IntRange(1, 1_000_000),
              help="How many to show: the newest.")  # fmt: skip
@data_options
@click.pass_context
def audit_command(
    ctx: click.Context,
    reference: str | None,
    account: str | None,
    since: str | None,
    timezone: str | None,
    limit: int,
) -> None:
    """List who did what and when: people's commands, and what the program decided by itself.

    Who is the user of the system and the host, as in asha@mail1.

    \b
    Example:
      dispatcher audit --since 7d
      dispatcher audit --campaign 1 --json
    """
    from dispatcher.campaigns.view import find_campaign
    from dispatcher.cli.zones import shown_zone, time_shower
    from dispatcher.store import audit
    from dispatcher.store.engine import Store, store_now
    from dispatcher.windows.zone_names import zone_name

    refuse_empty_options(ctx)
    settings = settings_from(ctx)
    accounts = [account] if account is not None else list(settings.accounts)
    zone = shown_zone(settings, accounts, timezone)
    with Store(settings.store.url).read() as conn:
        begin = _since(since, zone, store_now(conn)) if since is not None else None
        campaign_id = find_campaign(conn, reference).id if reference is not None else None
        rows = audit.list_audit_rows(
            conn, campaign_id=campaign_id, account=account, since=begin, limit=limit
        )
    rows.reverse()
    if is_data_asked(ctx):
        data = [_audit_json(row) for row in rows]
        print_data(ctx, data, audit.AuditRow._fields, data)
        return
    if not rows:
        click.echo("nothing was recorded with these options")
        return
    show_time = time_shower(zone)
    print_table(
        ("when", "who", "what", "account", "campaign", "detail"),
        [
            (show_time(row.at), row.actor, row.action, row.account, row.campaign_id, row.detail)
            for row in rows
        ],
        spare=("account",),
    )
    click.echo(f"\ntimes in {zone_name(zone)}")


def _since(text: str, zone: "tzinfo", now: "datetime") -> "datetime":
    from dispatcher.cli.parsing import parse_since

    return parse_since(text, zone, now)


def _audit_json(row: "AuditRow") -> dict[str, object]:
    from dispatcher.campaigns.wording import iso_time

    return {**row._asdict(), "at": iso_time(row.at)}
