"""Submissions to contact lists at the provider: one message stands for everybody on them."""

import csv
import io
from dataclasses import replace
from typing import TYPE_CHECKING

import click

from dispatcher.cli.campaign.submit_checks import (
    NOTHING_KEPT,
    accepted_at_the_end,
    print_schedule_note,
)
from dispatcher.cli.campaign.wait import report_submission
from dispatcher.cli.output import print_json, safe_text
from dispatcher.cli.question import require_yes
from dispatcher.errors import Unsupported

if TYPE_CHECKING:
    from collections.abc import Callable

    from dispatcher.cli.campaign.submit_options import SubmitOptions
    from dispatcher.providers.base import Provider, RequestedRoute
    from dispatcher.store.engine import Store
    from dispatcher.submission.request import SubmissionRequest, ValidatedSubmission
    from dispatcher.types import Route


def submit_to_lists(
    store: "Store",
    request: "SubmissionRequest",
    provider: "Provider",
    resolve_route: "Callable[[RequestedRoute], Route]",
    options: "SubmitOptions",
) -> None:
    """Say what cannot be checked for contact lists, ask, and submit to them."""
    from dispatcher.cli.campaign.preflight import run_preflight
    from dispatcher.submission import campaign_import, sameness, validation

    if provider.settings.allow_only is not None:
        raise Unsupported(
            f"account {request.account} sends only to the numbers of its `allow_only`, and nobody "
            "knows the numbers of a contact list",
            "use another account",
        )
    request = _with_list_rows(request, options.name)
    with validation.validated_submission(request, provider, resolve_route) as submission:
        preflight = run_preflight(store, submission, allow_mismatch=options.allow_mismatch)
        if not options.as_json:
            _print_list_notice(submission)
            preflight.print_balances()
        preflight.refuse_empty(submission)
        if options.dry_run:
            _end_dry_run(submission, as_json=options.as_json)
            return
        known = sameness.find_submitted(store, submission)
        if known is None:
            imported = campaign_import.import_lists(store, submission)
            with accepted_at_the_end(store, imported):
                require_yes(
                    "Send to everybody on these lists?", options.yes, otherwise=NOTHING_KEPT
                )
    reference = str(known.id if known is not None else imported.job.campaign_id)
    what = "was submitted before with this key" if known is not None else "is scheduled"
    report_submission(store, reference, options.wait_for, as_json=options.as_json, what=what)


def _with_list_rows(request: "SubmissionRequest", name: str | None) -> "SubmissionRequest":
    """The request with a table of the lists in place of a recipient file."""
    lists = request.content.contact_lists
    table = io.StringIO(newline="")
    csv.writer(table).writerows([("phone", "contact list"), *(("", each) for each in lists)])
    source_name = f"contact lists {', '.join(lists)}"
    return replace(
        request,
        source=io.BytesIO(table.getvalue().encode()),
        source_name=source_name,
        is_generated=True,
        name=name or source_name,
    )


def _end_dry_run(submission: "ValidatedSubmission", *, as_json: bool) -> None:
    if not as_json:
        click.echo("nothing was stored or sent: without --dry-run it is submitted")
        return
    request = submission.request
    print_json(
        {
            "id": None,
            "dry_run": True,
            "account": request.account,
            "contact_lists": list(request.content.contact_lists),
            "text": submission.content.text,
            "start_at": request.timing.start_at,
        }
    )


def _print_list_notice(submission: "ValidatedSubmission") -> None:
    from dispatcher.cli.campaign.preview import print_requested_terms

    request = submission.request
    click.echo(f"to the {safe_text(request.source_name)} of account {request.account}")
    click.echo(f"  text: {safe_text(submission.content.text)}")
    click.secho(
        "  note: only the provider knows who is on these lists. Duplicates and opt-outs are not "
        "removed, and there is one result for all of them, not one for each recipient.",
        fg="yellow",
    )
    print_requested_terms(submission)
    print_schedule_note(submission)
