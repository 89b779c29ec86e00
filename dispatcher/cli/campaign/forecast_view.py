"""The plan of a stored campaign: its terms, and when all of it will have been submitted."""

from typing import TYPE_CHECKING

import click

from dispatcher.cli.context import settings_from

if TYPE_CHECKING:
    from collections.abc import Iterable

    from dispatcher.campaigns.view import CampaignView
    from dispatcher.campaigns.wording import Term
    from dispatcher.forecast.simulation import Forecast
    from dispatcher.store.engine import Store
    from dispatcher.store.table_values import AnyRow


def campaign_terms(ctx: click.Context, campaign: "AnyRow") -> "Iterable[Term]":
    """When, how fast and in what order it may be sent; nothing where its account is not known."""
    from dispatcher.campaigns.wording import terms_in_words

    settings = settings_from(ctx).accounts.get(campaign.account)
    if settings is None:
        return ()
    return terms_in_words(settings, campaign, by_zone=campaign.zones is not None)


def print_terms(terms: "Iterable[Term]") -> None:
    """A line for each."""
    for label, words in terms:
        click.echo(f"{label:<10} {words}")


def find_forecast(ctx: click.Context, store: "Store", shown: "CampaignView") -> "Forecast | None":
    """When everybody will be submitted; None where nothing is left, or a person stopped it."""
    from dispatcher.forecast import service

    settings = settings_from(ctx).accounts.get(shown.campaign.account)
    is_open = shown.campaign.state in {"scheduled", "running"}
    if settings is None or not is_open or not shown.counts["pending"]:
        return None
    return service.forecast_campaign(store, settings, shown.campaign)


def forecast_in_words(ctx: click.Context, store: "Store", shown: "CampaignView") -> str | None:
    """The same as a sentence; times in the account's zone."""
    from zoneinfo import ZoneInfo

    from dispatcher.forecast import service

    found = find_forecast(ctx, store, shown)
    if found is None:
        return None
    account = settings_from(ctx).account(shown.campaign.account)
    return service.describe_forecast(found, ZoneInfo(account.timezone))


def print_forecast(ctx: click.Context, store: "Store", shown: "CampaignView") -> None:
    """A line, where there is one."""
    if (words := forecast_in_words(ctx, store, shown)) is not None:
        click.echo(f"forecast   {words}")
