"""What a submission prints at its end: the campaign's id, or its result after waiting."""

from typing import TYPE_CHECKING, Final

import click

from dispatcher.cli.banners import scheduler_warning, warn_if_stopped
from dispatcher.cli.output import print_json
from dispatcher.errors import StoreError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dispatcher.campaigns.view import CampaignView
    from dispatcher.store.engine import Store

SUBMITTED: Final = "submitted"
RECEIPTS: Final = "receipts"

wait_option = click.option(
    "--wait",
    "wait_for",
    is_flag=False,
    flag_value=SUBMITTED,
    metavar="[receipts]",
    type=click.Choice([SUBMITTED, RECEIPTS]),
    help="Wait until all are submitted; --wait=receipts waits for the receipts too.",
)


def report_submission(
    store: "Store",
    reference: str,
    wait_for: str | None,
    *,
    as_json: bool,
    what: str,
    understood: "Mapping[str, object] | None" = None,
) -> None:
    """Print which campaign was created; with `wait_for`, its result.

    Exits with 1 if recipients were missed. Ctrl-C ends the waiting only.

    `what` completes the sentence "campaign 7 …". `understood` says how the file was read, and is
    added to the JSON.
    """
    try:
        _report(store, reference, wait_for, (understood or {}) if as_json else None, what=what)
    except StoreError as error:
        # The store went away after the campaign was accepted: that is not a failed submission.
        words = f"campaign {reference} {what}, but it cannot be shown now"
        if wait_for is None and not as_json:
            click.echo(f"{words}: {error.message}")
            return
        hint = f"when the store is back: `dispatcher campaign show {reference}`"
        raise StoreError(f"{words}: {error.message}", hint) from error


def _report(
    store: "Store",
    reference: str,
    wait_for: str | None,
    added: "Mapping[str, object] | None",
    *,
    what: str,
) -> None:
    """`added` goes into the JSON; None prints none."""
    from dispatcher.campaigns.view import details_json, load_view

    warn_if_stopped(store)
    if (missing := scheduler_warning(store)) is not None:
        click.echo(missing, err=True)
    if wait_for is not None:
        _wait_and_report(store, reference, wait_for, added)
    elif added is not None:
        print_json({**details_json(load_view(store, reference)), **added})
    else:
        click.echo(f"campaign {reference} {what}; `dispatcher campaign watch {reference}`")


def _wait_and_report(
    store: "Store", reference: str, wait_for: str, added: "Mapping[str, object] | None"
) -> None:
    from dispatcher.campaigns.view import details_json
    from dispatcher.cli.campaign.progress import follow_campaign
    from dispatcher.cli.campaign.view import print_campaign

    def is_done(view: "CampaignView") -> bool:
        unsettled = sum(view.batches[s] for s in ("pending", "queued", "claimed", "submitting"))
        return view.is_over or (wait_for == SUBMITTED and not unsettled)

    try:
        shown = follow_campaign(store, reference, is_done, silent=added is not None)
    except KeyboardInterrupt:
        raise KeyboardInterrupt(
            f"no longer waiting; campaign {reference} goes on: "
            f"`dispatcher campaign watch {reference}`"
        ) from None
    if added is not None:
        print_json({**details_json(shown), **added})
    else:
        print_campaign(click.get_current_context(), shown)
    missed = sum(shown.counts[name] for name in ("in_doubt", "failed", "cancelled", "lapsed"))
    # All were refused by the provider, or came onto the suppression list.
    if missed or not shown.total_submitted:
        raise click.exceptions.Exit(1)
