"""`dispatcher campaign pause | resume | cancel`."""

from typing import TYPE_CHECKING

import click

from dispatcher.cli.context import settings_from
from dispatcher.cli.output import pluralize, print_json, safe_text
from dispatcher.cli.question import require_yes

if TYPE_CHECKING:
    from collections.abc import Callable

    from dispatcher.campaigns.view import CampaignView
    from dispatcher.store.engine import Store
    from dispatcher.store.rows import CampaignRow

    ChangeState = Callable[[Store, str], CampaignRow]


@click.command("pause")
@click.argument("reference", metavar="CAMPAIGN")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_context
def campaign_pause(ctx: click.Context, reference: str, as_json: bool) -> None:
    """Stop sending a campaign. Requests in flight are settled; `campaign resume` continues.

    \b
    Example:
      dispatcher campaign pause 1
    """
    from dispatcher.campaigns.control import pause_campaign

    shown = _change_and_print(ctx, pause_campaign, reference, as_json)
    _print_in_flight(shown, as_json)


@click.command("resume")
@click.argument("reference", metavar="CAMPAIGN")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_context
def campaign_resume(ctx: click.Context, reference: str, as_json: bool) -> None:
    """Continue a paused campaign.

    \b
    Example:
      dispatcher campaign resume 1
    """
    from dispatcher.campaigns.control import resume_campaign
    from dispatcher.cli.campaign.progress import stop_reason

    shown = _change_and_print(ctx, resume_campaign, reference, as_json)
    if not as_json and (reason := stop_reason(shown)) is not None:
        click.echo(safe_text(reason))


@click.command("cancel")
@click.argument("reference", metavar="CAMPAIGN")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_context
def campaign_cancel(ctx: click.Context, reference: str, yes: bool, as_json: bool) -> None:
    """End a campaign for good. Messages that were submitted already cannot be recalled.

    \b
    Example:
      dispatcher campaign cancel 1
    """
    from dispatcher.campaigns.control import cancel_campaign
    from dispatcher.campaigns.view import load_view
    from dispatcher.store.engine import Store

    shown = load_view(Store(settings_from(ctx).store.url), reference)
    left = pluralize(shown.counts["pending"], "recipient is", "recipients are")
    question = f"Cancel campaign {shown.campaign.id} ({left} not submitted yet)?"
    require_yes(question, yes, otherwise="nothing was changed")
    _print_in_flight(_change_and_print(ctx, cancel_campaign, reference, as_json), as_json)


def _change_and_print(
    ctx: click.Context, change: "ChangeState", reference: str, as_json: bool
) -> "CampaignView":
    """Change the state, print the new one, and return the campaign as it is then."""
    from dispatcher.campaigns.view import details_json, load_view
    from dispatcher.store.engine import Store

    store = Store(settings_from(ctx).store.url)
    changed = change(store, reference)
    shown = load_view(store, str(changed.id))
    if as_json:
        print_json(details_json(shown))
    else:
        click.echo(f"campaign {changed.id} is {changed.state}")
    return shown


def _print_in_flight(shown: "CampaignView", as_json: bool) -> None:
    in_flight = shown.batches["claimed"] + shown.batches["submitting"]
    if in_flight and not as_json:
        what = pluralize(in_flight, "batch is", "batches are")
        click.echo(f"{what} in flight; the provider's answers will be stored")
