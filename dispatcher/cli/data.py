"""`--json`, `--csv` and `--tsv`: what a command prints for programs and spreadsheets."""

import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Final, TypeVar

import click

from dispatcher.cli.context import session_of
from dispatcher.cli.output import print_json, safe_text
from dispatcher.errors import WrongOptions

Command = TypeVar("Command", bound=Callable[..., object])

_HELP: Final = {
    "json": "Print JSON; its times are in UTC.",
    "csv": "Print the table as CSV; its columns are the names in JSON.",
    "tsv": "The same, with tabs between the columns.",
}


def data_options(command: Command) -> Command:
    """Give a command `--json`, `--csv` and `--tsv`, which `is_data_asked` and `print_data` read."""
    for name in reversed(_HELP):
        add = click.option(
            f"--{name}", is_flag=True, expose_value=False, callback=_keep_choice, help=_HELP[name]
        )
        command = add(command)
    return command


def _keep_choice(ctx: click.Context, param: click.Parameter, is_given: bool) -> None:
    if is_given:
        session_of(ctx).printed_as.append(str(param.name))


def is_data_asked(ctx: click.Context) -> bool:
    """Whether data is printed instead of words. Raises WrongOptions for two kinds of data."""
    chosen = session_of(ctx).printed_as
    if len(chosen) > 1:
        words = " and ".join(f"--{name}" for name in chosen)
        raise WrongOptions(f"{words} do not go together", "give one of them")
    return bool(chosen)


def print_data(
    ctx: click.Context,
    data: object,
    columns: Sequence[str],
    rows: Iterable[Mapping[str, object]],
) -> None:
    """Print `data` as JSON, or `rows` as the table that was asked for.

    `columns` are names in a row; `counts.pending` is the name `pending` in its `counts`.
    """
    (chosen,) = session_of(ctx).printed_as
    if chosen == "json":
        print_json(data)
        return
    import csv

    delimiter = "\t" if chosen == "tsv" else ","
    writer = csv.writer(sys.stdout, delimiter=delimiter, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows([_cell_of(row, name) for name in columns] for row in rows)


def flat_names(row: Mapping[str, object], prefix: str = "") -> list[str]:
    """The columns that a row has: `counts.pending` for what is inside another."""
    names: list[str] = []
    for name, value in row.items():
        path = f"{prefix}{name}"
        names += flat_names(value, f"{path}.") if isinstance(value, Mapping) else [path]
    return names


def _cell_of(row: Mapping[str, object], name: str) -> object:
    from dispatcher.campaigns.wording import iso_time
    from dispatcher.recipients.export_cells import quote_formula

    value: object = row
    for key in name.split("."):
        value = value.get(key) if isinstance(value, Mapping) else None
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int | float):
        return value
    if isinstance(value, datetime):
        return iso_time(value)
    if isinstance(value, list | tuple):
        value = "; ".join(map(str, value))
    return quote_formula(safe_text(value))
