"""`--json`, `--csv` and `--tsv`: their keys, types and columns stay, and cells harm nobody."""

import csv
import io
import json

import click
import pytest

from dispatcher.cli import cli
from tests.support.after_sending import FIRST, HOSTILE
from tests.support.cli import every_command
from tests.support.json_shapes import ELSEWHERE, FILE, RUNS, Printer, lines_of

TABLES = {
    ("campaign", "list"): None,
    ("campaign", "show", "1"): None,
    ("campaign", "failures", "1"): "failures",
    ("campaign", "find", f"+{FIRST + 8}"): "messages",
    ("account", "list"): None,
    ("account", "check", "main"): None,
    ("account", "balance", "main"): None,
    ("account", "senders", "main"): None,
    ("account", "templates", "main"): None,
    ("suppression", "list"): "newest",
    ("suppression", "check", "+919820021010"): "entries",
    ("notify", "list"): None,
    ("audit",): None,
    ("doctor",): None,
    ("explain",): None,
}
#: What is a list or a table itself, and stands in JSON only.
NESTED = {
    "attempts", "decisions", "retried", "moves", "schedule", "zones", "contact_lists", "held",
    "forecast",
}  # fmt: skip


@pytest.fixture(scope="module")
def printer(tmp_path_factory, process):
    return Printer(tmp_path_factory.mktemp("printed"), process)


def rows_of(ended, delimiter):
    return list(csv.DictReader(io.StringIO(ended.out), delimiter=delimiter))


def test_every_command_with_data_has_its_shape_on_record():
    with_data = {
        " ".join(path)
        for path, command in every_command(cli)
        for param in command.params
        if isinstance(param, click.Option) and "--json" in param.opts
    }
    assert with_data - {*RUNS} == {ELSEWHERE, "simulator"}


def test_no_command_that_prints_a_table_lacks_csv():
    lacking = {
        " ".join(path)
        for path, command in every_command(cli)
        if any("--csv" in param.opts for param in command.params)
    }
    assert lacking == {" ".join(args[:2]) if len(args) > 1 else args[0] for args in TABLES} | {
        "campaign report",
        "receiver replies",
    }


@pytest.mark.parametrize(("args", "at"), TABLES.items(), ids=[" ".join(args) for args in TABLES])
def test_a_table_has_the_names_and_values_of_the_json(printer, args, at):
    printer.run("suppression", "add", "+919820021010", "--reason", HOSTILE)
    printer.run("notify", "test")
    printed = json.loads(printer.run(*args, "--json").out)
    found = printed[at] if at else printed
    found = found if isinstance(found, list) else [found]
    rows = rows_of(printer.run(*args, "--csv"), ",")
    assert [*rows[0]] == [*rows_of(printer.run(*args, "--tsv"), "\t")[0]]
    assert {*found[0]} - {name.partition(".")[0] for name in rows[0]} <= NESTED
    for row, wanted in zip(rows, found, strict=True):
        if args != ("doctor",):  # what it measures changes
            assert row == {name: cell_of(wanted, name) for name in row}


def cell_of(row, name):
    """How the value of a JSON stands in a table."""
    value = row
    for key in name.split("."):
        value = value[key]
    if isinstance(value, bool):
        return str(value).lower()
    text = "; ".join(value) if isinstance(value, list) else str("" if value is None else value)
    plain = "".join(char for char in text if char.isprintable())
    return f"'{plain}" if plain.startswith("=") else plain


def test_the_report_is_one_table_of_all_its_tables(printer):
    printed = json.loads(printer.run("campaign", "report", "1", "--json").out)
    rows = rows_of(printer.run("campaign", "report", "1", "--csv"), ",")
    assert {row["part"] for row in rows} <= {*printed, "delays"}
    (country,) = (row for row in rows if row["part"] == "countries")
    assert country["outcomes.delivered"] == str(printed["countries"][0]["outcomes"]["delivered"])
    assert sum(int(row["total"]) for row in rows if row["part"] == "failures") == 3


def test_a_table_without_rows_has_its_columns(printer):
    ended = printer.run("campaign", "list", "--search", "nothing has this", "--csv")
    assert ended.out.startswith("id,name,state,")
    assert ended.out.count("\n") == 1


def test_nothing_in_a_table_runs_in_a_spreadsheet_or_a_terminal(printer):
    out = printer.run("campaign", "list", "--csv").out
    assert "'=cmd()<script>" in out
    assert all(char.isprintable() for line in out.splitlines() for char in line)
    assert "\u202e" not in out


def test_two_kinds_of_data_at_once_are_refused(printer):
    ended = printer.run("audit", "--csv", "--json")
    assert (ended.code, ended.out) == (2, "")
    assert "--csv and --json do not go together" in ended.err


def test_the_keys_and_types_of_all_json_are_those_on_record(tmp_path, process):
    """Run `python -m tests.support.json_shapes --write` after adding a key. None may go."""
    printed = [*Printer(tmp_path, process).shapes(), *lines_of(ELSEWHERE)]
    assert sorted(printed) == FILE.read_text("utf-8").splitlines()
