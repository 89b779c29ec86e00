"""`dispatcher campaign show | watch`."""

from dataclasses import replace
from typing import TYPE_CHECKING

import click

from dispatcher.cli.banners import scheduler_warning, warn_if_held, warn_if_stopped
from dispatcher.cli.campaign.columns import SHOW_COLUMNS
from dispatcher.cli.campaign.forecast_view import (
    campaign_terms,
    find_forecast,
    print_forecast,
    print_terms,
)
from dispatcher.cli.context import settings_from
from dispatcher.cli.data import data_options, is_data_asked, print_data
from dispatcher.cli.doubt import doubt_in_words
from dispatcher.cli.output import (
    name_sender,
    pluralize,
    print_line,
    safe_text,
)
from dispatcher.cli.zones import local_times, named_time_shower, shown_zone

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import datetime

    from dispatcher.campaigns.view import CampaignView
    from dispatcher.policy.routes import AccountRoute
    from dispatcher.store.engine import Store


@click.command("show")
@click.argument("reference", metavar="CAMPAIGN")
@data_options
@click.pass_context
def campaign_show(ctx: click.Context, reference: str) -> None:
    """Show one campaign, with every count.

    \b
    Example:
      dispatcher campaign show 1 --json
    """
    from dispatcher.campaigns.view import details_json, load_view

    is_data = is_data_asked(ctx)
    store = open_store(ctx)
    held = warn_if_held(store)
    warn_if_stopped(store)
    shown = with_rate_wait(ctx, store, load_view(store, reference))
    if is_data:
        from dispatcher.forecast import service

        found = find_forecast(ctx, store, shown)
        forecast = None if found is None else service.forecast_to_json(found)
        data = {**details_json(shown), "held": held, "forecast": forecast}
        print_data(ctx, data, SHOW_COLUMNS, [data])
        return
    print_campaign(ctx, shown, with_text=True)
    print_forecast(ctx, store, shown)
    missing = None if shown.is_over else scheduler_warning(store)
    if missing is not None:
        click.secho(f"\n{missing}", fg="yellow", bold=True)


def print_campaign(ctx: click.Context, shown: "CampaignView", *, with_text: bool = False) -> None:
    """Print a campaign as a person reads it; the text only where it goes into no log."""
    from dispatcher.policy.routes import account_routes

    routes = account_routes(shown.campaign)
    _print_head(shown, routes)
    if with_text:
        _print_text(shown)
    print_terms(campaign_terms(ctx, shown.campaign))
    show_time = named_time_shower(shown_zone(settings_from(ctx), [shown.campaign.account], None))
    for move in shown.moves:
        click.echo(f"moved      {show_time(move.at)}: {safe_text(move.detail)}")
    _print_file_and_times(shown, show_time)
    _print_counts(shown)
    if (doubt := doubt_in_words(shown, has_list=_has_list(ctx, routes))) is not None:
        words = local_times(doubt, [shown.campaign.account])
        click.secho(f"\n{words}", fg="red", bold=True)


def _print_head(shown: "CampaignView", routes: "Sequence[AccountRoute]") -> None:
    from dispatcher.campaigns.control import IMPORTING_HINT
    from dispatcher.cli.campaign.progress import stop_reason
    from dispatcher.policy.routes import route_at

    campaign, reason = shown.campaign, stop_reason(shown)
    click.echo(f"campaign {campaign.id}  {safe_text(campaign.name)}")
    click.echo(f"state      {campaign.state}" + (f"  ({safe_text(reason)})" if reason else ""))
    if campaign.state == "importing":
        print_line(f"           {IMPORTING_HINT}", " " * 11)
    sender = name_sender(route_at(campaign, campaign.account).sender)
    click.echo(f"account    {campaign.account}, {sender}, {campaign.kind}")
    if len(routes) > 1:
        others = (f"{one.account} ({name_sender(one.route.sender)})" for one in routes)
        click.echo(f"accounts   {', '.join(others)}")


def _print_text(shown: "CampaignView") -> None:
    campaign = shown.campaign
    if campaign.template_columns is not None:
        from dispatcher.store.json_columns import decode_texts

        names = ", ".join(decode_texts(campaign.template_columns)) or "none"
        words = f"the provider's template {campaign.template}, filled with: {names}"
    else:
        words = campaign.text
    if campaign.purged_at is not None:
        words = f"purged on {campaign.purged_at:%Y-%m-%d}, with all numbers: only counts are kept"
    print_line(f"text       {safe_text(words)}", " " * 11)


def _print_file_and_times(shown: "CampaignView", show_time: "Callable[[datetime], str]") -> None:
    campaign, counts = shown.campaign, shown.counts
    click.echo(
        f"file       {safe_text(campaign.source_name)}: {pluralize(campaign.rows, 'row')}, "
        f"{counts['total']} to send, {counts['invalid']} invalid, {counts['duplicate']} duplicate"
        + (f", {campaign.suppressed} suppressed" if campaign.suppressed else "")
    )
    for label, at in (
        ("created", campaign.created_at),
        ("started", campaign.started_at),
        ("ended", campaign.finished_at),
    ):
        if at is not None:
            click.echo(f"{label:<10} {show_time(at)}")


def _print_counts(shown: "CampaignView") -> None:
    """The counts, in the words of `Tally`; the parts of a count are one level deeper."""
    from dispatcher.status import NOT_SUBMITTED, MessageState
    from dispatcher.store.column_types import format_price

    counts, tally = shown.counts, shown.tally
    if shown.cost is not None:
        click.echo(f"cost       {format_price(shown.cost)}, according to the provider")
    # Rows that were suppressed by the import have no message.
    no_messages = {MessageState.SUPPRESSED: shown.campaign.suppressed}
    lines = [
        (1, "pending", tally.pending),
        (1, "submitted", tally.submitted),
        (2, "delivered", tally.delivered),
        (2, "undelivered", counts["undelivered"]),
        (2, "expired", counts["expired"]),
        (2, "waiting for a receipt", tally.waiting),
        (2, "got no receipt", tally.no_receipt),
        (1, "in doubt", tally.in_doubt),
        (1, "not submitted", tally.not_submitted),
        *(
            (2, state.label, counts[state.label] - no_messages.get(state, 0))
            for state in sorted(NOT_SUBMITTED)
        ),
    ]
    click.echo(f"\nmessages   {tally.total}")
    for level, name, count in lines:
        if count or name == "submitted":
            click.echo(f"  {count:>9}{'  ' * level}{name}")
    if shown.retried:
        again = " and ".join(f"{count} {name}" for name, count in shown.retried.items())
        print_line(f"retried    {again.replace('_', ' ')}: submitted again since", " " * 11)
    batches = ", ".join(f"{count} {name}" for name, count in shown.batches.items() if count)
    click.echo(f"batches    {batches or 'none'}")


def with_rate_wait(ctx: click.Context, store: "Store", shown: "CampaignView") -> "CampaignView":
    """The view, with a used-up rate as what is waited for if nothing else is."""
    from dispatcher.outbound.rates import own_rate_wait, rate_wait
    from dispatcher.store import accounts
    from dispatcher.store.engine import store_now

    name = shown.campaign.account
    settings = settings_from(ctx).accounts.get(name)
    is_waiting = shown.campaign.state == "running" and shown.counts["pending"]
    if settings is None or shown.account_waits_for is not None or not is_waiting:
        return shown
    with store.read() as conn:
        account, now = accounts.find_account(conn, name), store_now(conn)
    return replace(
        shown,
        account_waits_for=rate_wait(settings, account, now),
        waits_for=shown.waits_for or own_rate_wait(settings, shown.campaign, now),
    )


def _has_list(ctx: click.Context, routes: "Sequence[AccountRoute]") -> bool:
    """Whether one of the campaign's providers lists the messages that it accepted."""
    from dispatcher.providers import provider_class

    accounts = settings_from(ctx).accounts
    known = [accounts[one.account].provider for one in routes if one.account in accounts]
    return any(provider_class(name).capabilities.lists_accepted for name in known)


def open_store(ctx: click.Context) -> "Store":
    """The configured store."""
    from dispatcher.store.engine import Store

    return Store(settings_from(ctx).store.url)
