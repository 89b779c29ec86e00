"""The steps of `campaign submit` that read the whole file: the dry run, and import and question."""

import sys
from collections.abc import Callable
from typing import TYPE_CHECKING

import click

from dispatcher.cli.output import print_json
from dispatcher.cli.terminal import is_terminal

if TYPE_CHECKING:
    from dispatcher.cli.campaign.credit import Preflight
    from dispatcher.cli.campaign.submit_options import SubmitOptions
    from dispatcher.local.signals import NotedInterrupts
    from dispatcher.store.engine import Store
    from dispatcher.submission.acceptance import CompleteImport
    from dispatcher.submission.request import ValidatedSubmission

#: A person sees the count of rows after so many.
_SHOWN_EACH = 50_000


def run_dry(
    store: "Store",
    submission: "ValidatedSubmission",
    options: "SubmitOptions",
    preflight: "Preflight",
) -> None:
    """Read the file, show what would be sent, and store nothing. Raises BalanceRefused."""
    from dispatcher.cli.campaign.preview import preview_json, print_preview
    from dispatcher.cli.campaign.rejects import open_rejects
    from dispatcher.submission import validation

    with open_rejects(submission, options.rejects) as rejected:
        preview = validation.dry_run(submission, _row_counter(submission), rejected)
    if options.as_json:
        credit = preflight.to_json(submission, preview)
        print_json({**preview_json(store, submission, preview), **credit})
    else:
        print_preview(store, submission, preview)
        preflight.print_credit(submission, preview)
    preflight.refuse_too_little(submission, preview)
    if not options.as_json:
        click.echo("nothing was stored or sent: without --dry-run it is submitted")


def import_and_ask(
    store: "Store",
    submission: "ValidatedSubmission",
    options: "SubmitOptions",
    preflight: "Preflight",
    *,
    progress: Callable[[int], None] | None = None,
    interrupts: "NotedInterrupts | None" = None,
) -> "CompleteImport":
    """Store the rows, show what they are, and ask. After a no nothing is kept.

    `progress` gets the number of the last row read; by default a terminal shows it. `interrupts`
    are those of a command, which may also fork; None: a program of somebody else calls.
    """
    from dispatcher.cli.campaign.confirmation import check_confirmed, confirm_sending
    from dispatcher.cli.campaign.preview import print_preview
    from dispatcher.cli.campaign.rejects import export_rejects
    from dispatcher.cli.campaign.single_message import send_test_message
    from dispatcher.cli.campaign.submit_checks import (
        NOTHING_KEPT,
        accepted_at_the_end,
        print_schedule_note,
    )
    from dispatcher.submission import campaign_import
    from dispatcher.submission.cost_estimate import estimate_cost

    try:
        imported = campaign_import.import_rows(
            store, submission, progress or _row_counter(submission), may_fork=interrupts is not None
        )
    except KeyboardInterrupt:
        raise KeyboardInterrupt(NOTHING_KEPT) from None
    valid = imported.preview.valid
    with accepted_at_the_end(store, imported, interrupts):
        cost = estimate_cost(store, submission.request.account, imported.preview)
        if not options.as_json:
            print_preview(store, submission, imported.preview)
            preflight.print_credit(submission, imported.preview)
            print_schedule_note(submission)
        if options.rejects is not None:
            export_rejects(store, imported.job.campaign_id, options.rejects)
        preflight.refuse_too_little(submission, imported.preview)
        if valid:
            check_confirmed(submission, options, valid, cost)
        if options.test_to is not None and valid:
            shown = imported.preview.sample or imported.preview.texts[:1]
            for item in shown:
                send_test_message(store, submission, item.text, options.test_to)
        if valid:
            confirm_sending(submission, imported.preview, cost, options)
    return imported


def _row_counter(submission: "ValidatedSubmission") -> Callable[[int], None]:
    """Shows up to which row a large file is read; does nothing without a terminal.

    Rows are numbered as a spreadsheet does: the header is one, so that the last of 150,000
    recipients is in row 150001.
    """
    if not is_terminal(sys.stderr):
        return lambda _row: None

    shown = 0

    def show_rows(row: int) -> None:
        nonlocal shown
        if row // _SHOWN_EACH > shown:
            shown = row // _SHOWN_EACH
            done = submission.file.position * 100 // max(1, submission.file.size)
            click.echo(f"\rread up to row {row} ({done} %)", nl=False, err=True)
            if done >= 100:
                click.echo(err=True)

    return show_rows
