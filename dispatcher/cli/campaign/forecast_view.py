"""What is planned for a stored campaign: its terms, and when all of it will be submitted."""

from typing import TYPE_CHECKING

import click

from dispatcher.cli.context import settings_from
from dispatcher.cli.zones import local_times

if TYPE_CHECKING:
    from collections.abc import Iterable

    from dispatcher.campaigns.view import CampaignView
    from dispatcher.campaigns.wording import Term
    from dispatcher.forecast.simulation import Forecast
    from dispatcher.store.engine import Store
    from dispatcher.store.rows import CampaignRow


def campaign_terms(ctx: click.Context, campaign: "CampaignRow") -> "Iterable[Term]":
    """When, how fast and in what order it may be sent; empty if its account is not configured."""
    from dispatcher.campaigns.wording import terms_in_words

    settings = settings_from(ctx).accounts.get(campaign.account)
    if settings is None:
        return ()
    return terms_in_words(settings, campaign, by_zone=campaign.zones is not None)


def print_terms(terms: "Iterable[Term]") -> None:
    """Print a line for each term."""
    for label, words in terms:
        click.echo(f"{label:<10} {words}")


def find_forecast(ctx: click.Context, store: "Store", shown: "CampaignView") -> "Forecast | None":
    """When all will be submitted; None if nothing is left, or the campaign is stopped or over."""
    from dispatcher.forecast import service

    settings = settings_from(ctx).accounts.get(shown.campaign.account)
    is_open = shown.campaign.state in {"scheduled", "running"}
    if settings is None or not is_open or not shown.counts["pending"]:
        return None
    return service.forecast_campaign(store, settings, shown.campaign)


def forecast_in_words(ctx: click.Context, store: "Store", shown: "CampaignView") -> str | None:
    """The forecast as a sentence, with times in the account's zone; None if there is none."""
    from zoneinfo import ZoneInfo

    from dispatcher.forecast import service

    found = find_forecast(ctx, store, shown)
    if found is None:
        return None
    account_name = shown.campaign.account
    account = settings_from(ctx).account(account_name)
    words = service.describe_forecast(found, ZoneInfo(account.timezone))
    return local_times(words, [account_name])


def print_forecast(ctx: click.Context, store: "Store", shown: "CampaignView") -> None:
    """Print the forecast, if there is one."""
    if (words := forecast_in_words(ctx, store, shown)) is not None:
        click.echo(f"forecast   {words}")
