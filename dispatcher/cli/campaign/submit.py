"""`dispatcher campaign submit`: shows what will happen, asks, and makes the campaign."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import click

from dispatcher.cli.campaign.wait import report_submission, wait_option
from dispatcher.cli.context import refuse_empty_options, settings_from
from dispatcher.cli.output import confirm, declined_exit, pluralize, print_json
from dispatcher.errors import Refused, UsageProblem

if TYPE_CHECKING:
    from datetime import datetime, tzinfo

    from dispatcher.campaigns.content import Content
    from dispatcher.campaigns.timing import Timing
    from dispatcher.providers.base import Provider, RequestedRoute
    from dispatcher.store.engine import Store
    from dispatcher.submission.request import SubmissionRequest, ValidatedSubmission
    from dispatcher.submission.service import CompleteImport
    from dispatcher.types import Route


@click.command("submit")
@click.argument("file", metavar="FILE", required=False)
@click.option("--account", help="The account to send with. [default: the only one configured]")
@click.option("--text", help="The text; {{name}} and {{name|there}} stand for columns.")
@click.option("--text-file", type=click.Path(path_type=Path), help="A file with the text, UTF-8.")
@click.option("--template", help="The provider's template. [default: the account's]")
@click.option(
    "--template-vars",
    metavar="A,B",
    help="Without a text: the columns of the template's variables.",
)
@click.option("--flash", is_flag=True, help="Show it at once on the handset, and store it nowhere.")
@click.option(
    "--contact-list",
    "contact_lists",
    multiple=True,
    metavar="ID",
    help="Instead of FILE: a list kept at the provider; repeatable.",
)
@click.option(
    "--schedule-at-provider",
    metavar="TIME",
    help="Hand it over now; the provider sends it then. It cannot be recalled from here.",
)
@click.option("--test-to", metavar="NUMBER", help="Send the first text there, and ask again.")
@click.option("--name", help="The campaign's name. [default: the file's]")
@click.option("--sender", help="The sender. [default: the account's]")
@click.option("--column", help="The phone column. [default: found by its name]")
@click.option(
    "--map",
    "mapping",
    metavar='FIELD="HEADER"',
    multiple=True,
    help="A placeholder's column, where the names differ; repeatable.",
)
@click.option(
    "--kind",
    type=click.Choice(["transactional", "promotional", "otp"]),
    default="transactional",
    show_default=True,
    help="What it is: decides the provider's route, and the account's windows.",
)
@click.option(
    "--normalize",
    is_flag=True,
    help="Replace typographic quotes, dashes and spaces, so that fewer parts are needed.",
)
@click.option("--limit", type=click.IntRange(min=1), help="Only the first N valid recipients.")
@click.option("--start-at", metavar="TIME", help="Not before: 2026-12-24T09:00, account's zone.")
@click.option("--expire-at", metavar="TIME", help="What has not left by then is not sent.")
@click.option(
    "--window",
    "windows",
    multiple=True,
    metavar='"mon-fri 09:00-18:00"',
    help="When it may be sent, within the account's windows; repeatable.",
)
@click.option(
    "--blackout", "blackouts", multiple=True, metavar="DATE", help="A date, or a range FROM..TO."
)
@click.option(
    "--timezone",
    "zone",
    metavar="ZONE",
    help="The zone of windows and times, or `recipient` for windows in each recipient's. "
    "[default: the account's]",
)
@click.option("--rate", metavar="100/s", help="Messages per second, minute (/min) or hour (/h).")
@click.option(
    "--priority",
    type=click.IntRange(-100, 100),
    default=0,
    show_default=True,
    help="Higher goes first.",
)
@click.option(
    "--fallback",
    "fallbacks",
    multiple=True,
    metavar="ACCOUNT",
    help="Where it goes on while its account is paused or failing; repeatable, in this order.",
)
@click.option("--no-keep-columns", is_flag=True, help="Do not store the file's other columns.")
@click.option(
    "--on-doubt",
    type=click.Choice(["hold", "resend", "drop"]),
    default="hold",
    show_default=True,
    help="What to do with recipients in doubt whom no list of the provider's settles: keep them "
    "for `campaign resolve`, submit them once more (some may get it twice), or give them up.",
)
@click.option("--idempotency-key", help="Submitting again with the same key changes nothing.")
@click.option("--again", is_flag=True, help="Send the same file and text again within 24 hours.")
@click.option(
    "--rejects",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Write the rows that get no message to this CSV file.",
)
@click.option("--dry-run", is_flag=True, help="Show what would happen, and stop.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@wait_option
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_context
def campaign_submit(ctx: click.Context, /, **given: Any) -> None:
    """Send a text to everybody in FILE (CSV, TSV or semicolons; - reads standard input).

    Shows rows, invalid numbers, duplicates, parts and three texts, and asks before it sends.

    \b
    Example:
      dispatcher campaign submit people.csv --account main --text "Dear {{name|customer}}, …"
    """
    from dispatcher.campaigns.view import details_json, load_view
    from dispatcher.cli.campaign.fallbacks import add_fallbacks
    from dispatcher.cli.campaign.preview import check_writable
    from dispatcher.cli.campaign.submit_checks import (
        check_combinations,
        check_features,
        submit_to_lists,
    )
    from dispatcher.cli.provider_calls import fetch_directory, select_account
    from dispatcher.cli.send import check_test_time
    from dispatcher.store.engine import Store
    from dispatcher.store.migrate import create_tables_if_new
    from dispatcher.submission import service

    refuse_empty_options(ctx, but={"text"})
    check_combinations(given)
    account, provider = select_account(ctx, given["account"])
    check_features(ctx, account, provider, given)
    request = _build_request(
        account, given, _build_timing(provider, given), _build_content(provider, given)
    )
    store = Store(settings_from(ctx).store.url)
    if given["rejects"] is not None:
        check_writable(given["rejects"])

    def resolve(requested: "RequestedRoute") -> "Route":
        return provider.resolve_route(requested, fetch_directory(account, provider))

    if given["contact_lists"]:
        submit_to_lists(store, request, provider, resolve, given)
        return
    with service.validated_submission(request, provider, resolve) as checked:
        submission = add_fallbacks(ctx, checked, given)
        if given["dry_run"]:
            _dry_run(store, submission, given)
            return
        create_tables_if_new(store)
        if (known := service.find_submitted(store, submission)) is not None:
            what = "was submitted before with this key"
            report_submission(
                store, str(known.id), given["wait_for"], as_json=given["as_json"], what=what
            )
            return
        check_test_time(submission, given["test_to"])
        imported = _import_and_ask(store, submission, given)
    reference = str(imported.job.campaign_id)
    if not imported.preview.valid:
        if given["as_json"]:
            print_json(details_json(load_view(store, reference)))
        raise Refused(
            f"campaign {reference} is rejected: no row of the file can be sent",
            f"`dispatcher campaign export {reference} --rejects` says why, row by row",
        )
    report_submission(
        store, reference, given["wait_for"], as_json=given["as_json"], what="is scheduled"
    )


def _dry_run(store: "Store", submission: "ValidatedSubmission", given: dict[str, Any]) -> None:
    from dispatcher.cli.campaign.preview import open_rejects, preview_json, print_preview
    from dispatcher.submission import service

    with open_rejects(submission, given["rejects"]) as rejected:
        preview = service.dry_run(submission, _row_counter(submission), rejected)
    if given["as_json"]:
        print_json(preview_json(store, submission, preview))
    else:
        print_preview(store, submission, preview)


def _import_and_ask(
    store: "Store", submission: "ValidatedSubmission", given: dict[str, Any]
) -> "CompleteImport":
    """Store the rows, show what they are, and ask. On a no, nothing is kept: Refused."""
    from dispatcher.cli.campaign.preview import export_rejects, print_preview
    from dispatcher.cli.campaign.submit_checks import say_scheduled
    from dispatcher.cli.send import send_test_message
    from dispatcher.submission import service

    imported = service.import_rows(store, submission, _row_counter(submission))
    valid = imported.preview.valid
    accepted = False
    try:
        if not given["as_json"]:
            print_preview(store, submission, imported.preview)
            say_scheduled(submission)
        if given["rejects"] is not None:
            export_rejects(store, imported.job.campaign_id, given["rejects"])
        if given["test_to"] is not None and valid:
            send_test_message(store, submission, imported.preview.texts[0].text, given["test_to"])
        if not valid or confirm(f"Send to {pluralize(valid, 'recipient')}?", given["yes"]):
            service.accept_import(store, imported)
            accepted = True
    finally:
        if not accepted:
            service.discard_import(store, imported.job)
    if not accepted:
        raise declined_exit("nothing was sent, and nothing is kept")
    return imported


def _build_timing(provider: "Provider", given: dict[str, Any]) -> "Timing":
    from datetime import UTC, datetime

    from dispatcher.campaigns.timing import Timing, check_start
    from dispatcher.cli.parsing import check_windows, parse_rate, parse_time

    zone = _zone(provider, given)
    start, end = given["start_at"], given["expire_at"]
    timing = Timing(
        start_at=parse_time("--start-at", start, zone) if start else None,
        expire_at=parse_time("--expire-at", end, zone) if end else None,
        rate=parse_rate(given["rate"]) if given["rate"] else None,
        priority=given["priority"],
        windows=given["windows"],
        blackouts=given["blackouts"],
        zone=zone,
        in_recipients_zone=given["zone"] == "recipient",
    )
    check_windows(timing)
    check_start(timing.start_at, datetime.now(UTC))
    timing.check(datetime.now(UTC))
    return timing


def _zone(provider: "Provider", given: dict[str, Any]) -> "tzinfo":
    """The zone of the times given: the account's, unless another is named."""
    from zoneinfo import ZoneInfo

    from dispatcher.cli.parsing import parse_named_zone

    if given["zone"] is None or given["zone"] == "recipient":
        return ZoneInfo(provider.settings.timezone)
    return parse_named_zone(given["zone"])


def _build_content(provider: "Provider", given: dict[str, Any]) -> "Content":
    from dispatcher.campaigns.content import Content
    from dispatcher.cli.parsing import parse_time

    zone, at = _zone(provider, given), given["schedule_at_provider"]
    columns = given["template_vars"] or ""
    return Content(
        text=_read_text(given["text"], given["text_file"], given["template"]),
        normalize=given["normalize"],
        template_columns=tuple(name.strip() for name in columns.split(",") if name.strip()),
        flash=given["flash"],
        schedule_at=_whole_minute(parse_time("--schedule-at-provider", at, zone)) if at else None,
        contact_lists=given["contact_lists"],
    )


def _whole_minute(at: "datetime") -> "datetime":
    """Providers read times to the minute: the one in which it will be sent, never before `at`."""
    from datetime import timedelta

    whole = at.replace(second=0, microsecond=0)
    return whole if whole == at else whole + timedelta(minutes=1)


def _build_request(
    account: str, given: dict[str, Any], timing: "Timing", content: "Content"
) -> "SubmissionRequest":
    from dispatcher.status import Kind
    from dispatcher.submission.request import SubmissionRequest

    file = given["file"]
    if file is None and not given["contact_lists"]:
        raise UsageProblem("give the recipient FILE", "a CSV file, or - for standard input")
    source: Path | BinaryIO = sys.stdin.buffer if file in {None, "-"} else Path(file)
    name = given["name"] or (Path(file).stem if isinstance(source, Path) else "standard input")
    if name.isdigit():
        name = f"campaign {name}"
    return SubmissionRequest(
        source=source,
        source_name=Path(file).name if isinstance(source, Path) else "standard input",
        account=account,
        content=content,
        name=name,
        kind=Kind(given["kind"]),
        sender=given["sender"],
        template=given["template"],
        column=given["column"],
        mapping=_parse_mapping(given["mapping"]),
        limit=given["limit"],
        keep_columns=not given["no_keep_columns"],
        idempotency_key=given["idempotency_key"],
        again=given["again"],
        on_doubt=given["on_doubt"],
        timing=timing,
    )


def _read_text(text: str | None, path: Path | None, template: str | None) -> str | None:
    if text is not None and path is not None:
        raise UsageProblem("give the text once", 'with --text "…", or with --text-file FILE')
    if path is None:
        if text is None and template is None:
            hint = 'with --text "…", with --text-file FILE, or with the --template that says it'
            raise UsageProblem("give the text", hint)
        return text
    try:
        return path.read_text(encoding="utf-8-sig").rstrip("\r\n")
    except OSError as error:
        raise UsageProblem(f"{path} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise UsageProblem(f"{path} is not UTF-8 text", "save it as UTF-8") from None


def _parse_mapping(pairs: tuple[str, ...]) -> dict[str, str]:
    mapping = {}
    for pair in pairs:
        field, equals, header = pair.partition("=")
        if not equals or not field.strip() or not header.strip():
            raise UsageProblem(f"--map {pair}: no field and header", 'as in --map name="Full Name"')
        mapping[field.strip()] = header.strip()
    return mapping


def _row_counter(submission: "ValidatedSubmission") -> Callable[[int], None]:
    """A line that counts rows while a large file is read; nothing without a terminal."""
    if not sys.stderr.isatty():
        return lambda _row: None

    def show(row: int) -> None:
        if row % 50_000 == 0:
            done = submission.file.position * 100 // max(1, submission.file.size)
            click.echo(f"\r{row} rows read ({done} %)", nl=False, err=True)
            if done >= 100:
                click.echo(err=True)

    return show
