"""`dispatcher campaign submit`: shows what will be sent, asks, and creates the campaign."""

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from dispatcher.cli.campaign.submit_options import SubmitOptions
from dispatcher.cli.campaign.wait import report_submission, wait_option
from dispatcher.cli.context import refuse_empty_options, settings_from, with_options
from dispatcher.cli.doubt import warn_of_doubt
from dispatcher.cli.output import print_json
from dispatcher.cli.question import can_ask
from dispatcher.errors import FileRefused

if TYPE_CHECKING:
    from dispatcher.store.engine import Store
    from dispatcher.submission.acceptance import CompleteImport
    from dispatcher.submission.request import ValidatedSubmission


@click.command("submit")
@click.argument("file", metavar="FILE", required=False)
@click.option("--account", help="The account to send with. [default: the only one configured]")
@click.option("--text", help="The text; {{name}} and {{name|there}} are filled from columns.")
@click.option("--text-file", type=click.Path(path_type=Path), help="A file with the text, UTF-8.")
@click.option("--template", help="The provider's template. [default: the account's]")
@click.option(
    "--template-vars",
    metavar="A,B",
    help="Without a text: the columns that fill the template's variables.",
)
@click.option(
    "--flash", is_flag=True, help="Show it on the screen only; the phone does not store it."
)
@click.option(
    "--contact-list",
    "contact_lists",
    multiple=True,
    metavar="ID",
    help="Instead of FILE: a contact list at the provider; repeatable.",
)
@click.option(
    "--schedule-at-provider",
    metavar="TIME",
    help="Submit now, and let the provider send it then. It cannot be recalled.",
)
@click.option(
    "--test-to", metavar="NUMBER", help="Send the first text to this number before asking."
)
@click.option("--name", help="The campaign's name. [default: the file's name]")
@click.option("--sender", help="The sender. [default: the account's]")
@click.option("--column", help="The phone column. [default: found by its name]")
@click.option(
    "--map",
    "mapping",
    metavar='FIELD="HEADER"',
    multiple=True,
    help="The column of a placeholder with another name; repeatable.",
)
@click.option(
    "--encoding",
    metavar="NAME",
    help="The file's encoding, such as windows-1250. [default: found, and shown]",
)
@click.option(
    "--delimiter",
    metavar="CHARACTER",
    help="The character between cells, or `tab`. [default: found, and shown]",
)
@click.option(
    "--sheet",
    metavar="NAME",
    help="The sheet of a workbook, by name or number. [default: the first with data]",
)
@click.option(
    "--hidden-rows",
    type=click.Choice(["send", "skip"]),
    help="Rows that a workbook hides, as a filter does: send to them, or leave them out. [default: "
    "ask; a script is refused]",
)
@click.option(
    "--country",
    metavar="CC",
    help="The country of numbers without a country code, such as IN. [default: the account's]",
)
@click.option(
    "--kind",
    type=click.Choice(["transactional", "promotional", "otp"]),
    default="transactional",
    show_default=True,
    help="The kind of message: sets the provider's route and the account's windows.",
)
@click.option(
    "--normalize",
    is_flag=True,
    help="Replace typographic quotes, dashes and spaces, so that fewer parts are needed.",
)
@click.option("--limit", type=click.IntRange(min=1), help="Only the first N valid recipients.")
@click.option(
    "--sample",
    type=click.IntRange(1, 20),
    metavar="N",
    help="With --test-to: send the texts of N random recipients to it; with --dry-run: show them.",
)
@click.option(
    "--start-at",
    metavar="TIME",
    help="Send nothing before: 2026-12-24T09:00, `tomorrow 09:00`, `mon 9am` or +2h, in the "
    "account's zone.",
)
@click.option("--expire-at", metavar="TIME", help="What is not submitted by then is not sent.")
@click.option(
    "--window",
    "windows",
    multiple=True,
    metavar='"mon-fri 09:00-18:00"',
    help="When messages may be sent, within the account's windows; repeatable.",
)
@click.option(
    "--blackout",
    "blackouts",
    multiple=True,
    metavar="DATE",
    help="No messages on this date, or from FROM..TO.",
)
@click.option(
    "--timezone",
    "zone",
    metavar="ZONE",
    help="The zone of windows and times; `recipient`: windows are in each recipient's zone. "
    "[default: the account's]",
)
@click.option("--rate", metavar="100/s", help="Messages per second, minute (/min) or hour (/h).")
@click.option(
    "--priority",
    type=click.IntRange(-100, 100),
    default=0,
    show_default=True,
    help="Campaigns with a higher one go first.",
)
@click.option(
    "--fallback",
    "fallbacks",
    multiple=True,
    metavar="ACCOUNT",
    help="The account to use while the first is paused or failing; repeatable, in this order.",
)
@click.option("--no-keep-columns", is_flag=True, help="Do not store the file's other columns.")
@click.option(
    "--on-doubt",
    type=click.Choice(["hold", "resend", "drop"]),
    default="hold",
    show_default=True,
    help="What to do with recipients in doubt if the provider's list does not settle them: hold "
    "them for `campaign resolve`, submit them again (some may get it twice), or drop them.",
)
@click.option("--idempotency-key", help="A second submission with this key does nothing.")
@click.option("--again", is_flag=True, help="Allow the same file and text again within 24 hours.")
@click.option(
    "--allow-mismatch",
    is_flag=True,
    help="Send a text that does not fit the provider's registered template.",
)
@click.option(
    "--rejects",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Write the rows that get no message to this CSV file.",
)
@click.option("--dry-run", is_flag=True, help="Show what would be sent, and stop.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option(
    "--confirm",
    type=click.IntRange(min=0),
    metavar="N",
    help="Do not ask, and send only if just N recipients get a message; needed above the account's "
    "`confirm_above_recipients` where nobody can be asked.",
)
@wait_option
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@with_options(SubmitOptions)
def campaign_submit(ctx: click.Context, options: SubmitOptions) -> None:
    """Send a text to everybody in FILE: CSV, XLSX, ODS or JSON Lines; - reads standard input.

    Shows rows, invalid numbers, duplicates, parts and three texts, and asks before it sends.

    \b
    Example:
      dispatcher campaign submit people.csv --account main --text "Hello {{name}}"
    """
    from dispatcher.cli.campaign.contact_lists import submit_to_lists
    from dispatcher.cli.campaign.fallbacks import add_fallbacks
    from dispatcher.cli.campaign.file_report import refuse_unsure_guesses
    from dispatcher.cli.campaign.preflight import find_route, run_preflight
    from dispatcher.cli.campaign.rejects import check_writable
    from dispatcher.cli.campaign.single_message import check_test_time
    from dispatcher.cli.campaign.submit_checks import check_combinations, check_features
    from dispatcher.cli.campaign.submit_options import build_request
    from dispatcher.cli.campaign.submit_steps import import_and_ask, run_dry
    from dispatcher.cli.provider_calls import select_account
    from dispatcher.local.signals import NotedInterrupts
    from dispatcher.store.engine import Store
    from dispatcher.store.migrate import create_tables_if_new
    from dispatcher.submission import validation
    from dispatcher.submission.withheld import WithheldRecipients

    refuse_empty_options(ctx, but={"text"})
    check_combinations(options)
    account, provider = select_account(ctx, options.account)
    check_features(ctx, account, provider, options)
    request = build_request(options, account, provider)
    store = Store(settings_from(ctx).store.url)
    warn_of_doubt(store, to_stderr=True)
    if options.rejects is not None:
        check_writable(options.rejects)
    resolve_route = partial(find_route, request, provider, options)
    if options.contact_lists:
        submit_to_lists(store, request, provider, resolve_route, options)
        return
    withheld = WithheldRecipients(store, account, provider.settings)
    with validation.validated_submission(
        request, provider, resolve_route, withheld=withheld
    ) as checked:
        submission = add_fallbacks(ctx, checked, options)
        preflight = run_preflight(store, submission, allow_mismatch=options.allow_mismatch)
        if options.dry_run:
            run_dry(store, submission, options, preflight)
            return
        create_tables_if_new(store)
        if _report_known(store, submission, options):
            return
        check_test_time(submission, options.test_to)
        if options.as_json or not can_ask(
            options.is_answered, is_piped=options.reads_standard_input
        ):
            refuse_unsure_guesses(submission)
        with NotedInterrupts() as interrupts:
            imported = import_and_ask(store, submission, options, preflight, interrupts=interrupts)
    _report_imported(store, submission, imported, options)


def _report_known(
    store: "Store", submission: "ValidatedSubmission", options: SubmitOptions
) -> bool:
    """Show the campaign that was submitted with this key before; False if there is none."""
    from dispatcher.submission import sameness

    if (known := sameness.find_submitted(store, submission)) is None:
        return False
    what = "was submitted before with this key"
    report_submission(store, str(known.id), options.wait_for, as_json=options.as_json, what=what)
    return True


def _report_imported(
    store: "Store",
    submission: "ValidatedSubmission",
    imported: "CompleteImport",
    options: SubmitOptions,
) -> None:
    """Say that the campaign is scheduled. Raises Refused where none of its rows can be sent."""
    from dispatcher.campaigns.view import details_json, load_view
    from dispatcher.cli.campaign.file_report import file_json

    reference = str(imported.job.campaign_id)
    if not imported.preview.valid:
        if options.as_json:
            print_json(details_json(load_view(store, reference)))
        raise FileRefused(
            f"campaign {reference} is rejected: no row of the file can be sent",
            f"`dispatcher campaign export {reference} --rejects` gives the reason for each row",
        )
    report_submission(
        store,
        reference,
        options.wait_for,
        as_json=options.as_json,
        what="is scheduled",
        understood=file_json(submission, imported.preview),
    )
