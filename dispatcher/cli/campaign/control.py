"""`dispatcher campaign pause | resume | cancel`."""

import click

from dispatcher.cli.context import settings_from
from dispatcher.cli.output import confirm, declined_exit, pluralize, print_json


@click.command("pause")
@click.argument("reference", metavar="CAMPAIGN")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_context
def campaign_pause(ctx: click.Context, reference: str, as_json: bool) -> None:
    """Stop sending a campaign. What is at the provider is settled; resume goes on.

    \b
    Example:
      dispatcher campaign pause 1
    """
    _change_and_print(ctx, "pause", reference, as_json)


@click.command("resume")
@click.argument("reference", metavar="CAMPAIGN")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_context
def campaign_resume(ctx: click.Context, reference: str, as_json: bool) -> None:
    """Go on with a paused campaign.

    \b
    Example:
      dispatcher campaign resume 1
    """
    _change_and_print(ctx, "resume", reference, as_json)


@click.command("cancel")
@click.argument("reference", metavar="CAMPAIGN")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_context
def campaign_cancel(ctx: click.Context, reference: str, yes: bool, as_json: bool) -> None:
    """End a campaign for good. What is at the provider already cannot be recalled.

    \b
    Example:
      dispatcher campaign cancel 1
    """
    from dispatcher.campaigns import control
    from dispatcher.store.engine import Store

    shown = control.load_view(Store(settings_from(ctx).store.url), reference)
    left = pluralize(shown.counts["pending"], "recipient is", "recipients are")
    question = f"Cancel campaign {shown.campaign.id} ({left} not submitted yet)?"
    if not confirm(question, yes):
        raise declined_exit("nothing was changed")
    _change_and_print(ctx, "cancel", reference, as_json)


def _change_and_print(ctx: click.Context, action: str, reference: str, as_json: bool) -> None:
    from dispatcher.campaigns import control
    from dispatcher.store.engine import Store

    store = Store(settings_from(ctx).store.url)
    changed = getattr(control, action)(store, reference)
    if as_json:
        print_json(control.details_json(control.load_view(store, str(changed.id))))
        return
    shown = control.load_view(store, str(changed.id))
    flying = shown.batches["claimed"] + shown.batches["submitting"]
    click.echo(f"campaign {changed.id} is {changed.state}")
    if flying and action != "resume":
        what = pluralize(flying, "batch is", "batches are")
        click.echo(f"{what} at the provider; the answers will be stored")
    if action == "resume":
        from dispatcher.cli.campaign.progress import stop_reason

        if (reason := stop_reason(shown)) is not None:
            click.echo(reason)
