"""What commands print: tables and JSON; text from others is made harmless to a terminal."""

import json
import shutil
import sys
import textwrap
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any, Final, TextIO

import click

from dispatcher.cli.terminal import is_terminal

#: Invisible, but Indic scripts and emoji join letters with them.
_JOINERS: Final = frozenset("\u200c\u200d")
#: A narrower terminal gets lines as if it had this many columns.
_NARROWEST: Final = 40
#: A column that may be cut keeps so many columns of the terminal.
_LEAST_CUT: Final = 16
#: Blanks between two columns of a table.
_BETWEEN: Final = 2


def safe_text(value: object) -> str:
    """`value` on one line, without control, escape and direction characters; None is empty."""
    if value is None:
        return ""
    text = str(value)
    if text.isascii() and text.isprintable():
        return text
    return "".join(_safe_char(char) for char in text)


def name_sender(sender: str) -> str:
    """`sender SENDER`; `no sender` where the provider needs none."""
    return f"sender {safe_text(sender)}" if sender else "no sender"


def _safe_char(char: str) -> str:
    if char.isspace():
        return " "
    if char in _JOINERS or unicodedata.category(char)[0] != "C":
        return char
    return ""


class SafeLines:
    """A terminal to write a line at a time to: line breaks and escapes in a cell do nothing."""

    def __init__(self, terminal: TextIO) -> None:
        self._terminal = terminal

    def write(self, line: str, /) -> int:
        """Write one line; whatever follows it begins the next."""
        return self._terminal.write(f"{safe_text(line.rstrip())}\n")


def pluralize(count: int, one: str, many: str | None = None) -> str:
    """`1 row`, `2 rows`; with `many` given, `1 row is`, `2 rows are`."""
    return f"{count} {one}" if count == 1 else f"{count} {many or f'{one}s'}"


def print_line(text: str, indent: str = "", *, style: Mapping[str, Any] | None = None) -> None:
    """Print a line; on a terminal it is broken between words, and `indent` starts the next."""
    if is_terminal(sys.stdout):
        width = max(_NARROWEST, shutil.get_terminal_size().columns)
        text = textwrap.fill(
            text, width, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False
        )
    click.secho(text, **(style or {}))


def print_table(
    columns: Sequence[str],
    rows: Iterable[Sequence[object]],
    *,
    spare: Sequence[str] = (),
    cut: str | None = None,
) -> None:
    """Print a table, sized to the terminal; elsewhere it is aligned plain text and nothing is cut.

    Cells are `safe_text`; columns of numbers are aligned to the right. On a terminal that is too
    narrow the `spare` columns are left out, in this order, except while the column `cut` can give
    the room by shortening its cells; then the widest column is broken.
    """
    kept = [tuple(row) for row in rows]
    numeric = [
        bool(kept) and all(isinstance(row[index], int | float | Decimal | None) for row in kept)
        for index in range(len(columns))
    ]
    cells = [tuple(safe_text(cell) for cell in row) for row in kept]
    if not is_terminal(sys.stdout):
        _print_plain(columns, cells, numeric)
        return
    from rich.cells import cell_len

    widths = [max(cell_len(line[i]) for line in (columns, *cells)) for i in range(len(columns))]
    room = shutil.get_terminal_size().columns
    shown = list(range(len(columns)))
    cut_at = columns.index(cut) if cut is not None else None
    whole = widths[cut_at] if cut_at is not None else 0
    if cut_at is not None:
        widths[cut_at] = min(whole, _LEAST_CUT)
    for name in spare:
        if sum(widths[index] + _BETWEEN for index in shown) - _BETWEEN > room:
            shown.remove(columns.index(name))
    if cut_at is not None:
        left = room - sum(widths[index] + _BETWEEN for index in shown if index != cut_at)
        widths[cut_at] = min(whole, max(left, _LEAST_CUT))
        cells = [
            tuple(_cut_cell(cell, widths[i]) if i == cut_at else cell for i, cell in enumerate(row))
            for row in cells
        ]
    widest = max(shown, key=lambda index: widths[index])
    _draw_table(columns, cells, numeric, shown, widest)


def _cut_cell(cell: str, width: int) -> str:
    """`cell` in at most `width` columns of a terminal; `…` stands for what is left out."""
    from rich.text import Text

    text = Text(cell)
    text.truncate(width, overflow="ellipsis")
    return text.plain


def _draw_table(
    columns: Sequence[str],
    cells: Sequence[Sequence[str]],
    numeric: Sequence[bool],
    shown: Sequence[int],
    widest: int,
) -> None:
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=SIMPLE_HEAD, pad_edge=False, show_edge=False, collapse_padding=True)
    for index in shown:
        table.add_column(
            columns[index],
            justify="right" if numeric[index] else "left",
            overflow="fold",
            no_wrap=index != widest,
        )
    for row in cells:
        table.add_row(*(Text(row[index]) for index in shown))
    Console().print(table)


def _print_plain(
    columns: Sequence[str], cells: Sequence[Sequence[str]], numeric: Sequence[bool]
) -> None:
    lines = [tuple(columns), *cells]
    widths = [max(len(line[index]) for line in lines) for index in range(len(columns))]
    for line in lines:
        aligned = (
            cell.rjust(width) if right else cell.ljust(width)
            for cell, width, right in zip(line, widths, numeric, strict=True)
        )
        click.echo("  ".join(aligned).rstrip())


def print_json(data: object) -> None:
    """Print indented JSON, ASCII only. Times are `iso_time`, amounts (Decimal) exact strings."""
    click.echo(json.dumps(data, indent=2, default=_json_value))


def _json_value(value: object) -> object:
    if isinstance(value, datetime):
        from dispatcher.campaigns.wording import iso_time

        return iso_time(value)
    if isinstance(value, set | frozenset):
        return sorted(value)
    return str(value)
