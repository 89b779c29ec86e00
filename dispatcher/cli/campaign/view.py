"""`dispatcher campaign list | show | watch | export`."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from dispatcher.cli.banners import scheduler_warning, warn_if_held
from dispatcher.cli.campaign.forecast_view import (
    campaign_terms,
    find_forecast,
    forecast_in_words,
    print_forecast,
    print_terms,
)
from dispatcher.cli.context import settings_from
from dispatcher.cli.doubt import doubt_in_words
from dispatcher.cli.output import pluralize, print_json, print_table, safe_text
from dispatcher.errors import UsageProblem

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dispatcher.campaigns.view import CampaignView
    from dispatcher.policy.routes import AccountRoute
    from dispatcher.store.engine import Store


@click.command("list")
@click.option(
    "--limit", default=20, show_default=True, type=click.IntRange(1, 10_000), help="How many."
)
@click.option("--state", "states", multiple=True, help="Only campaigns in this state; repeatable.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_context
def campaign_list(ctx: click.Context, limit: int, states: tuple[str, ...], as_json: bool) -> None:
    """The newest campaigns.

    \b
    Example:
      dispatcher campaign list --state running
    """
    from dispatcher.campaigns.view import newest_campaigns, summary_json
    from dispatcher.status import CampaignState

    if unknown := set(states) - set(CampaignState):
        raise UsageProblem(
            f"there is no state {min(unknown)!r}", f"one of {', '.join(CampaignState)}"
        )
    store = _open_store(ctx)
    warn_if_held(store)
    rows = newest_campaigns(store, limit=limit, states=states)
    if as_json:
        print_json([summary_json(campaign, counts) for campaign, counts in rows])
        return
    if not rows:
        click.echo("there are no campaigns yet: `dispatcher campaign submit` makes one")
        return
    columns = ("id", "name", "state", "account", "total", "pending", "submitted", "delivered",
               "not delivered", "in doubt", "created")  # fmt: skip
    print_table(
        columns,
        [
            (
                c.id, c.name, c.state, c.account, n["total"], n["pending"], n["submitted"],
                n["delivered"], n["undelivered"] + n["expired"] + n["rejected"] + n["failed"],
                n["in_doubt"], f"{c.created_at:%Y-%m-%d %H:%M} UTC",
            )
            for c, n in rows
        ],
        spare=("created", "account", "pending", "total"),
    )  # fmt: skip
    if doubtful := [str(c.id) for c, n in rows if n["in_doubt"]]:
        shown = ", ".join(f"`dispatcher campaign show {reference}`" for reference in doubtful[:3])
        click.secho(f"\nrecipients are IN DOUBT in {len(doubtful)} of them: {shown}", fg="red",
                    bold=True)  # fmt: skip


@click.command("show")
@click.argument("reference", metavar="CAMPAIGN")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_context
def campaign_show(ctx: click.Context, reference: str, as_json: bool) -> None:
    """One campaign, with every count.

    \b
    Example:
      dispatcher campaign show 1 --json
    """
    from dispatcher.campaigns.view import details_json, load_view

    store = _open_store(ctx)
    held = warn_if_held(store)
    shown = load_view(store, reference)
    if as_json:
        from dispatcher.forecast import service

        found = find_forecast(ctx, store, shown)
        forecast = None if found is None else service.forecast_to_json(found)
        print_json({**details_json(shown), "held": held, "forecast": forecast})
        return
    print_campaign(ctx, shown)
    print_forecast(ctx, store, shown)
    missing = None if shown.is_over else scheduler_warning(store)
    if missing is not None:
        click.secho(f"\n{missing}", fg="yellow", bold=True)


@click.command("watch")
@click.argument("reference", metavar="CAMPAIGN")
@click.pass_context
def campaign_watch(ctx: click.Context, reference: str) -> None:
    """Follow a campaign until it ends. Ctrl-C stops watching, not the campaign.

    \b
    Example:
      dispatcher campaign watch 1
    """
    from dispatcher.cli.campaign.progress import follow_campaign

    store = _open_store(ctx)

    try:
        shown = follow_campaign(
            store,
            reference,
            lambda view: view.is_over,
            forecast=lambda view: forecast_in_words(ctx, store, view),
        )
    except KeyboardInterrupt:
        click.echo("\nno longer watching; the campaign goes on")
        return
    print_campaign(ctx, shown)
    if shown.counts["in_doubt"]:
        raise click.exceptions.Exit(1)


@click.command("export")
@click.argument("reference", metavar="CAMPAIGN")
@click.option(
    "--output",
    "-o",
    type=click.Path(dir_okay=False, path_type=Path),
    help="The file to write. [default: standard output]",
)
@click.option("--rejects", is_flag=True, help="Only the rows that got no message.")
@click.pass_context
def campaign_export(ctx: click.Context, reference: str, output: Path | None, rejects: bool) -> None:
    """What became of every row of the file, as CSV, in the file's order.

    \b
    Example:
      dispatcher campaign export 1 -o results.csv
    """
    from dispatcher.campaigns.export import write_export
    from dispatcher.campaigns.view import find_campaign

    store = _open_store(ctx)
    with store.read() as conn:
        campaign = find_campaign(conn, reference)
    if output is None:
        sys.stdout.reconfigure(encoding="utf-8", newline="")  # type: ignore[union-attr]
        write_export(store, campaign, sys.stdout, rejects_only=rejects)
        return
    try:
        with output.open("w", encoding="utf-8", newline="") as out:
            count = write_export(store, campaign, out, rejects_only=rejects)
    except OSError as error:
        raise UsageProblem(f"{output} cannot be written: {error.strerror}") from None
    click.echo(f"{pluralize(count, 'row')} written to {output}")


def print_campaign(ctx: click.Context, shown: "CampaignView") -> None:
    """A campaign as a person reads it."""
    from dispatcher.cli.campaign.progress import stop_reason
    from dispatcher.policy.routes import account_routes, route_at
    from dispatcher.store.column_types import format_price

    c, counts = shown.campaign, shown.counts
    reason = stop_reason(shown)
    click.echo(f"campaign {c.id}  {safe_text(c.name)}")
    click.echo(f"state      {c.state}" + (f"  ({safe_text(reason)})" if reason else ""))
    legs = account_routes(c)
    sender = safe_text(route_at(c, c.account).sender)
    click.echo(f"account    {c.account}, sender {sender}, {c.kind}")
    if len(legs) > 1:
        others = (f"{leg.account} (sender {safe_text(leg.route.sender)})" for leg in legs)
        click.echo(f"accounts   {', '.join(others)}")
    print_terms(campaign_terms(ctx, c))
    for move in shown.moves:
        click.echo(f"moved      {move.at:%Y-%m-%d %H:%M:%S} UTC: {safe_text(move.detail)}")
    click.echo(
        f"file       {safe_text(c.source_name)}: {pluralize(c.rows, 'row')}, "
        f"{counts['total']} to send, {counts['invalid']} invalid, {counts['duplicate']} duplicate"
        + (f", {counts['suppressed']} suppressed" if counts["suppressed"] else "")
    )
    for label, at in (
        ("created", c.created_at),
        ("started", c.started_at),
        ("ended", c.finished_at),
    ):
        if at is not None:
            click.echo(f"{label:<10} {at:%Y-%m-%d %H:%M:%S} UTC")
    shown_states = [
        (name.replace("_", " "), count)
        for name, count in counts.items()
        if count and name not in {"total", "invalid", "duplicate", "suppressed", "no_receipt"}
    ]
    if shown.cost is not None:
        click.echo(f"cost       {format_price(shown.cost)}, as the provider states it")
    click.echo("\nmessages")
    for name, count in shown_states or [("none", 0)]:
        click.echo(f"  {count:>9}  {name}")
    if counts["no_receipt"]:
        click.echo(f"  {counts['no_receipt']:>9}  of those submitted: no receipt came")
    states = ", ".join(f"{n} {name}" for name, n in shown.batches.items() if n)
    click.echo(f"batches    {states or 'none'}")
    if (doubt := doubt_in_words(shown, has_list=_has_list(ctx, legs))) is not None:
        click.secho(f"\n{doubt}", fg="red", bold=True)


def _has_list(ctx: click.Context, legs: "Sequence[AccountRoute]") -> bool:
    """Whether a provider of the campaign's lists what it has accepted."""
    from dispatcher.providers import provider_class

    accounts = settings_from(ctx).accounts
    known = [accounts[leg.account].provider for leg in legs if leg.account in accounts]
    return any(provider_class(name).capabilities.lists_accepted for name in known)


def _open_store(ctx: click.Context) -> "Store":
    from dispatcher.store.engine import Store

    return Store(settings_from(ctx).store.url)
