"""`dispatcher campaign export`."""

import io
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final, TextIO

import click

from dispatcher.cli.context import settings_from, with_options
from dispatcher.cli.output import SafeLines, pluralize
from dispatcher.cli.private_files import open_private
from dispatcher.cli.terminal import is_terminal
from dispatcher.errors import WrongOptions, WrongPath, WrongValue

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import tzinfo

    from dispatcher.campaigns.export import ExportPage
    from dispatcher.store.engine import Store
    from dispatcher.store.rows import CampaignRow

_FORMATS: Final = ("csv", "jsonl", "xlsx")


@dataclass(frozen=True, kw_only=True)
class ExportOptions:
    """The options of `campaign export`."""

    reference: str
    output: Path | None
    rejects: bool
    states: tuple[str, ...]
    format: str | None
    excel: bool
    details: bool
    timezone: str | None

    @property
    def chosen_format(self) -> str:
        """The format: as given, else as the file's name ends, else CSV."""
        ending = self.output.suffix.lower().removeprefix(".") if self.output is not None else ""
        return self.format or (ending if ending in _FORMATS else "csv")

    @property
    def is_plain(self) -> bool:
        """Whether it is CSV as programs read it, with all rows or all rejects."""
        is_csv = self.chosen_format == "csv"
        return is_csv and not (self.states or self.excel or self.details)


@click.command("export")
@click.argument("reference", metavar="CAMPAIGN")
@click.option(
    "--output",
    "-o",
    type=click.Path(dir_okay=False, path_type=Path),
    help="The file to write. [default: standard output]",
)
@click.option("--rejects", is_flag=True, help="Only the rows that got no message.")
@click.option("--state", "states", metavar="STATE", multiple=True,
              help="Only rows in this state, such as failed or invalid; repeatable.")  # fmt: skip
@click.option("--format", type=click.Choice(_FORMATS),
              help="[default: as the file's name ends, else csv]")  # fmt: skip
@click.option("--excel", is_flag=True,
              help="CSV that Excel opens right: byte-order mark, numbers as text.")  # fmt: skip
@click.option("--details", is_flag=True,
              help="Campaign, sender and local times too; XLSX and JSON have them.")  # fmt: skip
@click.option("--timezone", metavar="ZONE",
              help="The zone of the local times. [default: the account's]")  # fmt: skip
@with_options(ExportOptions)
def campaign_export(ctx: click.Context, options: ExportOptions) -> None:
    """Write the result of every row, in the order of the file: CSV, JSON Lines or XLSX.

    \b
    Example:
      dispatcher campaign export 1 -o results.csv
      dispatcher campaign export 1 -o results.xlsx --state undelivered
    """
    from dispatcher.campaigns.control import check_not_purged
    from dispatcher.campaigns.view import find_campaign
    from dispatcher.cli.zones import shown_zone
    from dispatcher.store.engine import Store

    _check_export_options(options)
    settings = settings_from(ctx)
    store = Store(settings.store.url)
    with store.read() as conn:
        campaign = find_campaign(conn, options.reference)
    check_not_purged(campaign)
    zone = shown_zone(settings, [campaign.account], options.timezone)
    if options.output is None:
        if not isinstance(sys.stdout, io.TextIOWrapper):
            raise WrongPath("the standard output is closed", "give --output FILE")
        if options.chosen_format == "xlsx" and is_terminal(sys.stdout):
            raise WrongPath("a terminal cannot show XLSX", "give --output FILE")
        sys.stdout.reconfigure(encoding="utf-8", newline="")
        _write_rows(store, campaign, options, zone, sys.stdout)
        sys.stdout.flush()  # here, where a full disk is still an error
        return
    with open_private(options.output) as file:
        count = _write_rows(store, campaign, options, zone, file)
    click.echo(f"{pluralize(count, 'row')} written to {options.output}")


def _check_export_options(options: ExportOptions) -> None:
    """Raise WrongValue for a state that no row has, WrongOptions for those that do not fit."""
    from dispatcher.status import MessageState, RejectKind

    known = list(
        dict.fromkeys(state.label for kind in (MessageState, RejectKind) for state in kind)
    )
    if unknown := set(options.states) - set(known):
        raise WrongValue(
            f"--state {min(unknown)!r} is not a state of a row", f"give one of {', '.join(known)}"
        )
    if options.excel and options.chosen_format != "csv":
        raise WrongOptions(
            f"--excel is for CSV, not for {options.chosen_format}", "leave one of them out"
        )


def _write_rows(
    store: "Store", campaign: "CampaignRow", options: ExportOptions, zone: "tzinfo", out: TextIO
) -> int:
    """Write the rows to a text file, or to its bytes; how many."""
    if options.is_plain:
        from dispatcher.campaigns.export import write_export

        safe = SafeLines(out) if is_terminal(out) else out
        return write_export(store, campaign, safe, rejects_only=options.rejects)
    return _write_formatted(store, campaign, options, zone, out)


def _write_formatted(
    store: "Store", campaign: "CampaignRow", options: ExportOptions, zone: "tzinfo", out: TextIO
) -> int:
    from dispatcher.campaigns.export import read_export
    from dispatcher.recipients.export_cells import EXPORT_COLUMNS, quote_formula
    from dispatcher.reports import export_formats
    from dispatcher.store.json_columns import decode_texts

    is_csv = options.chosen_format == "csv"
    quote = quote_formula if is_csv else _unchanged
    pages: Iterator[ExportPage] = read_export(
        store, campaign, rejects_only=options.rejects, states=options.states, quote=quote
    )
    header = [*EXPORT_COLUMNS, *decode_texts(campaign.columns)]
    if options.details or not is_csv:
        pages = export_formats.add_details(pages, campaign, zone, quote)
        header += export_formats.DETAIL_COLUMNS
    if options.chosen_format == "xlsx":
        out.flush()
        return export_formats.write_xlsx(pages, header, out.buffer)
    safe = SafeLines(out) if is_terminal(out) else out
    if options.chosen_format == "jsonl":
        return export_formats.write_json_lines(pages, header, safe)
    return export_formats.write_csv(pages, header, safe, for_excel=options.excel)


def _unchanged(cell: str | None) -> str | None:
    return cell
