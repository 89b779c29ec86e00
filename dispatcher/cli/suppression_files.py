"""`dispatcher suppression import | export`: the suppression list from and to CSV files."""

import csv
import io
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from dispatcher.cli.context import refuse_empty_options, settings_from
from dispatcher.cli.numbers import find_country
from dispatcher.cli.output import SafeLines, pluralize, print_json, safe_text
from dispatcher.cli.private_files import open_private
from dispatcher.cli.terminal import is_terminal
from dispatcher.errors import WrongPath

if TYPE_CHECKING:
    from _typeshed import SupportsWrite

    from dispatcher.store.engine import Store
    from dispatcher.submission.suppression_file import ImportedNumbers

#: Public names.
EXPORT_HEADER = ("number", "account", "since", "reason", "source", "by")


@click.command("import")
@click.argument("file", metavar="FILE")
@click.option("--account", help="Only for this account. [default: whichever account would send]")
@click.option("--country", metavar="CC",
              help="Country of numbers without code. [default: the accounts']")  # fmt: skip
@click.option("--column", help="The column with the numbers. [default: found]")
@click.option("--encoding", help="The file's encoding. [default: found]")
@click.option("--delimiter", help="What is between the cells. [default: found]")
@click.option("--sheet", metavar="NAME",
              help="The sheet of a workbook, by name or number.")  # fmt: skip
@click.option("--reason", help="Why; shown by `check`.")
@click.option("--source", help="Where you have it from. [default: the file's name]")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_context
def suppression_import(
    ctx: click.Context,
    file: str,
    account: str | None,
    country: str | None,
    column: str | None,
    encoding: str | None,
    delimiter: str | None,
    sheet: str | None,
    reason: str | None,
    source: str | None,
    as_json: bool,
) -> None:
    """Put all numbers of FILE on the list (CSV, XLSX, ODS or JSON Lines; - reads standard input).

    The column is found as in a recipient file. Exits with 1 if rows have no valid number: those
    people could still be texted.

    \b
    Example:
      dispatcher suppression import optouts.csv --reason "STOP by SMS"
    """
    from dispatcher.cli.campaign.format_report import refuse_unsure_sheet
    from dispatcher.recipients.reader import open_recipients
    from dispatcher.store.audit import current_person
    from dispatcher.store.engine import Store
    from dispatcher.store.migrate import create_tables_if_new
    from dispatcher.store.suppressions import ANY_ACCOUNT, SuppressionOrigin
    from dispatcher.submission.suppression_file import import_suppressions

    refuse_empty_options(ctx)
    settings = settings_from(ctx)
    if account is not None:
        settings.account(account)
    where = find_country(settings, country, account)
    name = "standard input" if file == "-" else Path(file).name
    store = Store(settings.store.url)
    create_tables_if_new(store)
    with open_recipients(
        sys.stdin.buffer if file == "-" else Path(file),
        column=column, encoding=encoding, delimiter=delimiter, country=where, sheet=sheet,
    ) as opened:  # fmt: skip
        refuse_unsure_sheet(opened)
        done = import_suppressions(
            store,
            opened,
            country=where,
            account=account or ANY_ACCOUNT,
            origin=SuppressionOrigin(reason, source or name, current_person()),
        )
        if as_json:
            print_json(_import_json(done, opened.phone_column))
        else:
            _print_import(done, name, opened.phone_column)
    if done.invalid:
        raise click.exceptions.Exit(1)


@click.command("export")
@click.option("--output", "-o", type=click.Path(dir_okay=False, path_type=Path),
              help="The file to write. [default: standard output]")  # fmt: skip
@click.option("--account", help="Only the entries for this account.")
@click.pass_context
def suppression_export(ctx: click.Context, output: Path | None, account: str | None) -> None:
    """Write the list as CSV, in the order of numbers; `import` reads it.

    \b
    Example:
      dispatcher suppression export -o suppressed.csv
    """
    from dispatcher.store.engine import Store

    refuse_empty_options(ctx)
    store = Store(settings_from(ctx).store.url)
    if output is not None:
        with open_private(output) as out:
            count = _write_list(store, out, account)
        click.echo(f"{pluralize(count, 'number')} written to {output}")
        return
    if not isinstance(sys.stdout, io.TextIOWrapper):
        raise WrongPath("the standard output is closed", "give --output FILE")
    sys.stdout.reconfigure(encoding="utf-8", newline="")
    _write_list(store, SafeLines(sys.stdout) if is_terminal(sys.stdout) else sys.stdout, account)


def _write_list(store: "Store", out: "SupportsWrite[str]", account: str | None) -> int:
    from dispatcher.campaigns.wording import iso_time
    from dispatcher.recipients.export_cells import quote_formula
    from dispatcher.store import suppressions

    writer = csv.writer(out)
    writer.writerow(EXPORT_HEADER)
    count, last = 0, None
    while True:
        with store.read() as conn:
            page = suppressions.next_entries(conn, last, account=account)
        if not page:
            return count
        writer.writerows(
            (e.msisdn, e.account, iso_time(e.at), quote_formula(e.reason),
             quote_formula(e.source), quote_formula(e.actor))
            for e in page
        )  # fmt: skip
        count, last = count + len(page), page[-1]


def _import_json(done: "ImportedNumbers", column: str) -> dict[str, object]:
    return {
        "column": column,
        "rows": done.rows,
        "added": done.added,
        "known": done.known,
        "duplicate": done.duplicate,
        "invalid": done.invalid,
        "reasons": dict(done.reasons),
        "rejects": [{"row": row, "reason": reason} for row, reason in done.examples],
    }


def _print_import(done: "ImportedNumbers", name: str, column: str) -> None:
    click.echo(
        safe_text(f"{name}: {pluralize(done.rows, 'row')}, column {column!r}: {done.added} added, ")
        + f"{done.known} on the list before, {done.duplicate} duplicate, {done.invalid} invalid"
    )
    for row, reason in done.examples:
        click.echo(f"  row {row}: {safe_text(reason)}", err=True)
    if done.invalid > len(done.examples):
        click.echo(f"  and {done.invalid - len(done.examples)} other rows", err=True)
    if done.invalid:
        click.echo("these rows are not on the list: correct them and import again", err=True)
